/* replication/replica/serving.h: one peer that follows what this node leads: its fetches, and what it is sent.
 *
 * The session is the follower's: it begins with the first fetch or beat under a new number, and ends when the peer goes
 * down. Its mailbox takes the fetches, one turn at a time; followers (follower.h) that something is to be sent to queue
 * up for a turn's end, those that are far behind for a turn of the bulk pool, one piece each. Those that nobody waits
 * for are in a lane of their own there, and sent what catch_up.h lets them, so that who catches up delays nobody. A
 * high watermark that moved and goes with no records goes with a beat, gathered, a moment later. */
#ifndef LOGMNT_REPLICATION_REPLICA_SERVING_H
#define LOGMNT_REPLICATION_REPLICA_SERVING_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/histogram.h"
#include "replication/executor/mailbox.h"
#include "replication/replica/catch_up.h"
#include "replication/replica/follower.h"
#include "replication/wire/frame.h"

struct replica_peer;
struct parked_fetch;
struct replica_mark;

/* Where a follower queues up. */
enum serving_lane {
    LANE_NEAR,   /* it is at the end, or near it: the session's own turn */
    LANE_FAR,    /* further behind: the bulk's */
    LANE_BEHIND, /* behind, and nobody waits for it: the bulk's, when there is room */
    SERVING_LANES,
};

struct lane {
    struct follower *first, **last; /* by next */
};

struct serving {
    struct replica_peer *peer;
    struct mailbox box;  /* fetches, beats, what is sent near the end */
    struct mailbox bulk; /* the other two lanes */
    struct catch_up catch_up;
    struct alarm rest;   /* the end of one of its rests */
    _Atomic bool down;   /* the peer went down: for the next turn */
    _Atomic uint64_t id; /* changed by the turn; 0: none */
    _Atomic int64_t heard_ms;
    struct histogram ack_times; /* from a sending near the log's end to its acknowledgement */
    _Atomic bool gathering;     /* the alarm is set */
    _Atomic bool gathered;      /* it has rung: marks go with the next turn */
    struct alarm gather;

    pthread_mutex_t lock; /* of the lists; each follower in one of them holds a reference to its partition */
    struct lane lanes[SERVING_LANES];
    bool taking; /* a turn takes what has come, and sends what is near then: likewise under the lock */
    struct follower *marked, **marked_last; /* by mark_next */

    /* the turn's */
    int64_t node_epoch;                         /* that the follower fetched in last */
    struct parked_fetch *parked, **parked_last; /* fetches in an epoch that this node has not heard of yet */
    int parked_count;
    struct replica_mark *marks;
    uint32_t mark_count;
    uint8_t *out;
};

int serving_init(struct serving *serving, struct replica_peer *peer); /* 0; -ENOMEM */
/* Gives up the references: no turn comes any more. */
void serving_stop(struct serving *serving);
void serving_free(struct serving *serving);

/* The network's thread. 0; -ENOMEM: nothing has happened, and the frame is still the caller's. */
int serving_receive(struct serving *serving, struct frame *frame);
void serving_down(struct serving *serving);

/* There may be records to send to a follower of this session. One that is queued already stays where it is, but goes
 * over to a lane in front of that. Any thread; under the partition's lock, so that the lane is where it belongs. */
void serving_want(struct serving *serving, struct follower *follower, enum serving_lane lane);
/* The high watermark or the log start moved: the follower is told in a moment, if no records went by then. Likewise. */
void serving_mark(struct serving *serving, struct follower *follower);
/* What is marked goes with the next turn: somebody waits for it. Any thread. */
void serving_tell_now(struct serving *serving);
/* This node may lead more than before: what was parked is looked at again. Any thread. */
void serving_look_again(struct serving *serving);
void serving_beat(struct serving *serving);

#endif
