/* replication/replica/follower.h: what a leader has sent to one follower of a partition, and may send now.
 *
 *     SILENT --- a round whose log agrees ---> SERVED --- the session ends, or another epoch begins ---> SILENT
 *       |  ^                                    |  ^
 *       |  +--- the session ends ---+           |  | its next round agrees
 *       v                           |           v  |
 *     CUTTING <--- a round whose log diverges, or begins before the leader's: told so, its next round is awaited
 *
 * SERVED, what lies between `acked` and `sent` is on its way; of that there may be as much as the follower's credit
 * says, or one piece. While `sending` some thread is about to send, and it alone moves `sent`; whoever comes meanwhile
 * leaves, and that thread looks again. How long the follower takes is measured of one sending at a time. Positions may
 * be far apart where little is left of a compacted log: what is counted to catch up are bytes.
 *
 * Pure: no I/O, no clock, no locks; the partition's lock guards it. */
#ifndef LOGMNT_REPLICATION_REPLICA_FOLLOWER_H
#define LOGMNT_REPLICATION_REPLICA_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/record/log_point.h"

enum follower_state { FOLLOWER_SILENT, FOLLOWER_CUTTING, FOLLOWER_SERVED };

struct partition;

struct follower {
    int32_t id; /* the follower; 0: the place is free */
    enum follower_state state;
    uint64_t session, round;
    struct log_point sent, acked;
    uint32_t credit;
    bool sending;
    bool answered;     /* the round has had an answer */
    int64_t told_mark; /* the high watermark and the log start that it was told, offsets */
    int64_t told_start;
    int64_t timed_us;     /* since when an acknowledgement is timed; 0: none is */
    int64_t timed_offset; /* of all below; -1: it is being sent, and its end is not known yet */
    /* what is sent to catch up: */
    struct log_point caught_to; /* the last of it ends here */
    int64_t caught_bytes;       /* so many bytes of records, and those in front that were under way with it */
    int64_t counted;            /* as catch_up.h has it under way; partition_followers.c's */
    int still_beats;            /* since something of it was acknowledged */
    bool stuck;                 /* that is too long: nothing is sent before something is */
    /* serving.c's, under its lock: in the lists of those that something is to be sent to */
    _Atomic bool queued, marked;
    int lane; /* where it is queued */
    struct follower *next, **link, *mark_next;
    struct partition *part;
};

/* Of a new leader epoch, or a follower that is none any more, or whose session is over: nothing is sent. */
void follower_silence(struct follower *follower);
/* The round diverges. */
void follower_cut(struct follower *follower, uint64_t session, uint64_t round);
/* The round agrees up to end, which the follower has. */
void follower_begin(struct follower *follower, uint64_t session, uint64_t round, struct log_point end, uint32_t credit);
/* Of what is about to be sent by who has that right the acknowledgement is timed, if that of nothing sent earlier is.
 */
bool follower_times(const struct follower *follower);
void follower_time(struct follower *follower, int64_t now_us);
/* What was timed is acknowledged: since when it was; 0: it is not, or nothing is timed. */
int64_t follower_timed(struct follower *follower);
/* A further fetch of the round. false: of another one, or an end that was neither sent nor is being sent: nothing
 * has changed. */
bool follower_ack(struct follower *follower, uint64_t session, uint64_t round, struct log_point end, uint32_t credit);

/* Bytes on their way that were sent to catch up, at the most; none of who is stuck. */
int64_t follower_catching_up(const struct follower *follower);
/* A beat has passed. Who has acknowledged nothing of that for LIMIT_STUCK_BEATS may never do so, as its log may be
 * offline: it is stuck, and holds up nobody else. */
void follower_beat(struct follower *follower);

/* Takes the right to send `bytes` that begin at offset base (-1: whatever comes next). false: it is not its turn,
 * somebody is sending, or there is no credit for so many. */
bool follower_take(struct follower *follower, int64_t base, uint32_t bytes);
/* Bytes that may be sent by who has that right; at least 1. */
uint32_t follower_room(const struct follower *follower);
/* Gives it back. What was sent ends at `end` (NULL: nothing was), with that mark and log start. Not if the round has
 * changed meanwhile: then only the right is given back. */
void follower_sent(struct follower *follower, uint64_t round, const struct log_point *end, int64_t mark, int64_t start);
/* And it was to catch up: so many bytes of records. Before that. */
void follower_catches_up(struct follower *follower, uint64_t round, const struct log_point *end, int64_t bytes);

#endif
