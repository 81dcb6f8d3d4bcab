/* replication/replica/fetcher.h: what this node follows at one peer: one session for all the partitions that the peer
 * leads.
 *
 * The session begins with the peer's coming up and ends with its going down; its number is this node's. Its mailbox
 * takes what the leader sends, one turn at a time: into the logs, and at the end of the turn one Fetch for all that is
 * to be said. */
#ifndef LOGMNT_REPLICATION_REPLICA_FETCHER_H
#define LOGMNT_REPLICATION_REPLICA_FETCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/executor/mailbox.h"
#include "replication/wire/frame.h"

struct partition;
struct replica_fetch;
struct replica_peer;

struct fetcher {
    struct replica_peer *peer;
    struct mailbox box;
    _Atomic bool down;        /* the peer went down: for the next turn */
    _Atomic bool anew;        /* a new session is to begin, if the peer is up: for the next turn */
    _Atomic int silent_beats; /* since the peer's last frame; -1: none of this session has come */
    _Atomic uint64_t session; /* changed by the turn; 0: the peer is not up */

    struct partition *due, **due_last; /* by fetching.next; each holds a reference */

    /* the turn's */
    struct replica_fetch *said;
    uint32_t said_count;
    uint8_t *out;
};

int fetcher_init(struct fetcher *fetcher, struct replica_peer *peer); /* 0; -ENOMEM */
/* Gives up the references: no turn comes any more. */
void fetcher_stop(struct fetcher *fetcher);
void fetcher_free(struct fetcher *fetcher);

/* The network's thread. 0; -ENOMEM: nothing has happened, and the frame is still the caller's. */
int fetcher_up(struct fetcher *fetcher);
void fetcher_down(struct fetcher *fetcher);
int fetcher_receive(struct fetcher *fetcher, struct frame *frame);

/* Says all fetches once more: what they say beside the logs has changed. Any thread. */
void fetcher_anew(struct fetcher *fetcher);
/* The partition follows this peer and may have something to say. Any thread; not under the partition's lock. */
void fetcher_want(struct fetcher *fetcher, struct partition *part);
void fetcher_beat(struct fetcher *fetcher);

#endif
