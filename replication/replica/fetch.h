/* replication/replica/fetch.h: what a follower asks its leader next, for one partition.
 *
 *      IDLE ------ it follows a leader that is up ------> DUE ------ asked, in a new round ------> ASKED
 *       ^                                                ^  ^                                     |     |
 *       |                                                |  +-- cut back: it diverged, or reset --+     | records or a
 *       +--- the leader is not up, or another one,       |                                        |     | mark
 *            or none (from anywhere)                     +-- the pause is over --- PAUSED <-------+     v
 *                                                        |                            ^ failed    |    FED
 *                                                        |                            +-----------|-----+
 *                                                        +--- what comes is not what is expected -+-----+
 *
 * In ASKED and FED the fetch is open: the leader answers it as often as it has something, and each further fetch of the
 * same round is an ack. What comes of another session, epoch or round is dropped. Nothing that an answer says of high
 * watermark and log start is taken over before the log is known to agree, which records and marks say (KAFKA-14704).
 *
 * Pure: no I/O, no clock, no locks; the partition's lock guards it. */
#ifndef LOGMNT_REPLICATION_REPLICA_FETCH_H
#define LOGMNT_REPLICATION_REPLICA_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/record/log_point.h"

enum {
    /* After a failure of the disk, and after records that do not fit, until the next fetch. */
    FETCH_PAUSE_MS = 1000,
    /* A fetch that has no answer for so long is asked anew. */
    FETCH_ANSWER_MS = 3000,
};

enum fetch_state { FETCH_IDLE, FETCH_DUE, FETCH_ASKED, FETCH_FED, FETCH_PAUSED };

struct fetch {
    enum fetch_state state;
    int32_t leader;       /* node id; 0: none */
    int32_t leader_epoch; /* in which it is followed */
    uint64_t session;     /* of the pair; 0: the leader is not up */
    uint64_t round;       /* the last one */
    int64_t next;         /* FED: the offset that is expected */
    int64_t since_ms;     /* ASKED, PAUSED: since when */
    bool ack;             /* FED: something is to be said */
    bool full;            /* the disk was, when records came last */
};

/* How an answer is to be taken. */
enum fetch_verdict {
    FETCH_DROP, /* it is of another session, epoch or round, or nothing is asked */
    FETCH_TAKE,
    FETCH_ANEW, /* something was lost or is not possible: a new round is due */
};

/* Follows that leader from here on; leader 0: nobody. session 0: it is not up. */
void fetch_follow(struct fetch *fetch, int32_t leader, int32_t leader_epoch, uint64_t session);
/* The leader is up, in a new session; or down: 0. */
void fetch_session(struct fetch *fetch, uint64_t session);

/* An answer with those, of a log that begins where expected or not (records alone: from; else -1). REPLICATION.md,
 * rule 43. */
enum fetch_verdict fetch_judge(const struct fetch *fetch, uint64_t session, int32_t leader_epoch, uint64_t round,
                               int64_t from);
/* Records (or none) were taken over, and the log ends at next now: the log agrees. acks: that is to be said. */
void fetch_took(struct fetch *fetch, int64_t next, bool acks);
/* A new round is due: the log was cut, or something unexpected came. */
void fetch_anew(struct fetch *fetch);
/* It could not be taken over: again in a while. full: for want of room, which the leader is told. */
void fetch_failed(struct fetch *fetch, bool full, int64_t now_ms);
/* How far this replica is is to be said once more: its leader may have forgotten it. */
void fetch_repeat(struct fetch *fetch);
/* Time passes. true: something is to be said. */
bool fetch_tick(struct fetch *fetch, int64_t now_ms);

/* What is to be said now: FETCH_DUE begins the round `round` with a log that ends at `end`. false: nothing. */
bool fetch_say(struct fetch *fetch, uint64_t round, int64_t end, int64_t now_ms);
/* What was to be said in that round could not be sent: it is due again. */
void fetch_unsaid(struct fetch *fetch, uint64_t round);

#endif
