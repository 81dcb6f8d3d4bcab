/* replication/replica/forwarder.h: the appends of one partition that are on their way to a leader elsewhere.
 *
 * A pure machine: what happens is told to it, and it says what is to be sent and what is over. Each batch gets a
 * sequence number when it is first sent (producers.h), counted by records, and keeps it over all leaders. Those that
 * are not over yet lie in one list, in the order of their numbers; each is sent with the gap in front of it: how many
 * numbers right before its own will not come any more.
 *
 *     WAITING --- in a request, as long as LIMIT_FORWARD_REQUESTS are not answered ---> SENT
 *        ^                                                                             |  |
 *        +--- refused, and may be sent again; the link or the leader is another -------+  |
 *        |                                                                                |
 *        +--- deadline; taken back; the topic is gone ---> OVER <--- answered, or likewise +
 *
 * The happy path: added, sent with all that had come meanwhile, answered. A link that ends leaves in doubt what was
 * sent over it: it may lie in a log, and is sent again under its number, which a log takes once. What is over while it
 * is in doubt is -ETIMEDOUT, and what never was is -EROFS: nothing was appended.
 *
 * No I/O, no clock, no locks, no memory of its own. */
#ifndef LOGMNT_REPLICATION_REPLICA_FORWARDER_H
#define LOGMNT_REPLICATION_REPLICA_FORWARDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replication/base/limits.h"

enum { FORWARD_NOBODY = -1, FORWARD_UNNUMBERED = -1 };

/* A gap: nothing before it will come. */
#define FORWARD_GAP_ALL UINT32_MAX

enum forward_state { FORWARD_OVER, FORWARD_WAITING, FORWARD_SENT };

/* One batch; embed it, zeroed. It is the forwarder's from when it was added until it is handed back. */
struct forward {
    uint32_t records;    /* in */
    uint32_t bytes;      /* in */
    int64_t deadline_ms; /* in */
    int rc;              /* out: how it ended, where the forwarder knows: when it expired or was refused */
    /* private */
    enum forward_state state;
    int32_t sequence; /* of its first record; FORWARD_UNNUMBERED */
    bool in_doubt;    /* it was sent, and no answer will come */
    uint64_t request; /* SENT: in which one */
    uint32_t gap;     /* as it was sent last */
    uint64_t behind;  /* it came out of order: the one before it has to be sent in this request or a later one; 0 */
    struct forward *prev, *next;
};

/* What the leader says of a batch. */
enum forward_answer {
    FORWARD_APPENDED,     /* acks holds */
    FORWARD_REFUSED,      /* it is not appended and never will be: rc */
    FORWARD_UNDECIDED,    /* it is in the log, and will stay or not: -ETIMEDOUT */
    FORWARD_OUT_OF_ORDER, /* not appended: some before it are missing */
    FORWARD_LATER,        /* not appended: not the leader (yet, or any more), no memory */
    FORWARD_LOST,         /* the leader's log has failed: nobody knows */
};

struct forwarder {
    int32_t leader;       /* node id; FORWARD_NOBODY */
    int32_t leader_epoch; /* as the registration says */
    uint64_t link;        /* to the leader: another one's number is another; 0: it cannot be sent to */
    bool paused;          /* the leader wants to be asked later: until forwarder_go_on() */
    bool failing;         /* one has waited in vain, and nothing has changed since */
    int32_t next_sequence;
    uint64_t next_request;
    struct forward *first, *last;
    uint32_t count;
    struct forward_request_state {
        uint64_t number; /* 0: free */
        int32_t left;    /* batches without an answer */
    } requests[LIMIT_FORWARD_REQUESTS];
};

void forwarder_init(struct forwarder *forwarder);

/* Behind all others. */
void forwarder_add(struct forwarder *forwarder, struct forward *forward);
/* One that this node appended to its own log under this number when it led: in doubt. They may come in any order, and
 * get their places by their numbers; before any was sent that is not such a one. */
void forwarder_add_numbered(struct forwarder *forwarder, struct forward *forward, int32_t sequence);
/* The numbers of that many records, for an append to this node's own log. */
int32_t forwarder_take_sequence(struct forwarder *forwarder, uint32_t records);

/* A request that is to go to the leader now. */
struct forward_request {
    uint64_t number;
    int count;
    uint32_t bytes;
    struct forward *batches[LIMIT_FORWARD_BATCHES]; /* their sequence and gap go with them */
};
/* true: *out is to be sent, and counts as sent. false: there is nothing, or it has to wait. */
bool forwarder_next(struct forwarder *forwarder, struct forward_request *out);
/* It could not be sent after all, and nothing of it has left: a pause. */
void forwarder_unsent(struct forwarder *forwarder, const struct forward_request *request);

/* The leader's word on the batch of a request that begins with a sequence; rc: why it was refused. Returns the batch if
 * it is over, with its rc: 0 where it was appended. NULL: it is sent again, or nobody waits for it any more. */
struct forward *forwarder_answer(struct forwarder *forwarder, uint64_t request, int32_t sequence,
                                 enum forward_answer answer, int rc);
/* Nothing is to be sent for now. */
void forwarder_pause(struct forwarder *forwarder);
/* Ends a pause: its time is over. */
void forwarder_go_on(struct forwarder *forwarder);

/* Who leads, in which epoch, and by which link it can be sent to now (0: none). Any change leaves in doubt what is
 * under way. */
void forwarder_set_leader(struct forwarder *forwarder, int32_t leader, int32_t leader_epoch, uint64_t link);

/* Those whose deadline is at or before now, handed back in order, linked by next, with their rc. */
struct forward *forwarder_expire(struct forwarder *forwarder, int64_t now_ms);
/* All of them, likewise, each with rc, or, unless that is -ESTALE, with -ETIMEDOUT where it is in doubt. */
struct forward *forwarder_fail(struct forwarder *forwarder, int rc);
int64_t forwarder_deadline(const struct forwarder *forwarder); /* the earliest; INT64_MAX: none */

/* true: nothing of it was appended, it is handed back and never sent. */
bool forwarder_cancel(struct forwarder *forwarder, struct forward *forward);
/* Hands it back, whatever becomes of it. false: it is over already. */
bool forwarder_forget(struct forwarder *forwarder, struct forward *forward);

/* Nothing is waiting or sent. */
bool forwarder_idle(const struct forwarder *forwarder);

#endif
