/* replication/node/membership.h: this node as one of the cluster's: its registration, its heartbeats, its lease, and
 * how it leaves.
 *
 *     NEW --- registers ---> REGISTERING --- applied here ---> MEMBER --- stops ---> LEAVING --- handed over ---> LEFT
 *      ^                          |                              |                      |
 *      +--- failed: again soon ---+                              |                      +--- nobody answers -----^
 *      +--- the controller knows another registration of it -----+
 *
 * Every start registers anew: the offset of that record is the node epoch (REPLICATION.md). Until it has been applied
 * here this process has a part in no partition. A member sends heartbeats to the controller and says which processes of
 * other nodes it found gone; each answer carries its lease on. A node that is the only voter is the controller itself
 * and has its lease for good. Everything happens in turns of a mailbox (urgent work). */
#ifndef LOGMNT_REPLICATION_NODE_MEMBERSHIP_H
#define LOGMNT_REPLICATION_NODE_MEMBERSHIP_H

#include <stdatomic.h>

#include "replication/executor/mailbox.h"
#include "replication/metadata/command.h"
#include "replication/metadata/member_message.h"
#include "replication/metadata/quorum.h"
#include "replication/wire/network.h"

struct node;

enum {
    HEARTBEAT_MS = 500,
    HEARTBEAT_NUMBERS = 16, /* so many heartbeats may be on their way; the answer to an older one counts no more */
};

enum member_state { MEMBER_NEW, MEMBER_REGISTERING, MEMBER_IN, MEMBER_LEAVING, MEMBER_LEFT };

/* What was seen of a peer's processes. */
struct member_peer {
    int32_t node;      /* 0: a free place */
    uint64_t process;  /* of when it was up last */
    bool gone;         /* it said goodbye, or was found dead */
    uint64_t replaced; /* registered when `process` came up, which is therefore a later one; 0: none */
};

struct membership {
    struct node *node;
    int64_t session_timeout_ms;
    struct mailbox turns;
    struct alarm alarm;
    struct network_listener listener;

    _Atomic int state;              /* enum member_state; changed by turns */
    _Atomic bool registered;        /* a registration of this process was applied */
    _Atomic int64_t node_epoch;     /* of this process; -1: its registration was not applied yet */
    _Atomic int64_t lease_until_ms; /* on the clock of timers */
    _Atomic bool leaving;           /* a clean stop has begun */
    _Atomic bool beat_now;          /* what is decided on this node has changed */
    _Atomic bool over;              /* the registration's op, with rc */
    int rc;

    /* turns only */
    bool unclean;
    bool carrying;           /* what is on its way is not the registration yet, but what comes before it */
    bool reserved;           /* between reserve_begin() and reserve_end() */
    _Atomic bool resume_due; /* what was held for want of a lease is still to go on */
    struct quorum_op op;
    int64_t next_ms;       /* the next heartbeat, or attempt to register */
    uint64_t number;       /* of the last heartbeat */
    uint64_t first_number; /* of the first one in the registration in force */
    int64_t sent_ms[HEARTBEAT_NUMBERS];
    int64_t answered_ms;
    struct member_peer peers[LIMIT_NODES];
};

/* Enters its room on the node's network. Nothing comes yet. */
void membership_init(struct membership *member, struct node *node, int64_t session_timeout_ms);
void membership_free(struct membership *member);

/* Metadata and topics are there. unclean: the last process of this directory left no clean mark. Where this node is the
 * only voter it returns once the registration and all that follows from it are applied (a full disk is no error where
 * the node was registered before: it is tried again), else at once. Not from a work. -ETIMEDOUT, -EIO, -ENOSPC. */
int membership_start(struct membership *member, bool unclean, struct err *e);
/* A clean stop: other nodes lead what this one led (REPLICATION.md, rule 49). Returns when they do, when nobody answers
 * for a session, or after 10 s. Not from a work. */
void membership_leave(struct membership *member);

/* Silenced and settled, the logs still open: a registration that is not decided is given up. */
void membership_stop(struct membership *member);

/* Right after each command was applied, in the quorum's turn, before anybody else acts on it. */
void membership_applied(struct membership *member, const struct command *cmd);

/* Whether this node may acknowledge as a leader: it heard the controller within three quarters of
 * node.session.timeout.ms, counted from when the heartbeat was sent that was answered last (REPLICATION.md, rule 46). A
 * load, and the clock where there are other nodes; any thread. Once it has a lease again what is held in its partitions
 * goes on. */
bool membership_has_lease(const struct membership *member);

#endif
