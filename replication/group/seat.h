/* replication/group/seat.h: this node as the coordinator of one partition of __consumer_offsets: what reads it, writes
 * it, and lets coordinator.h decide in between.
 *
 *     AWAY --- leads it ---> LOADING --- all is read ---> READY --- a turn has records ---> WRITING <--+ after a
 *      ^                      ^   |                        ^                                  |  |  |    | while
 *      |                      |   |                        +------- they are committed -------+  |  |    |
 *      |                      |   |                                                              |  +-> STALLED
 *      |                      +---|----------------- it is not known whether they are -----------+    they are not in
 *      |                          |                                                                   the log
 *      +--- leads no more, or in another epoch, from anywhere (WRITING: once the append is over)
 *
 * LOADING waits first until the high watermark is where the log ended when the epoch began: until then nobody can say
 * what the groups' offsets are. It reads off the turns (seat_load.c). What is asked of a seat that is LOADING is
 * answered "later", of one that is AWAY "elsewhere"; what comes while it is WRITING waits for the next turn, so that
 * nothing is told before it is committed, in this epoch. Where a group is to begin on a partition is asked of that
 * partition, here or elsewhere (seat_start.c).
 *
 * STALLED: the log has refused the records, for want of room or of replicas in sync, so that all that is known still
 * holds, and they are handed to it again and again. Where there is no room, whoever asks for something that takes a
 * record is told so at once; what else is asked is not answered, and asked again. */
#ifndef LOGMNT_REPLICATION_GROUP_SEAT_H
#define LOGMNT_REPLICATION_GROUP_SEAT_H

#include "replication/group/coordinator.h"
#include "replication/group/outbox.h"
#include "replication/replica/partition.h"

struct groups;
struct group_load;
struct start_find;

enum seat_state { SEAT_AWAY, SEAT_LOADING, SEAT_READY, SEAT_WRITING, SEAT_STALLED };

/* One that waits. */
struct seat_item {
    struct seat_item *next;
    int32_t node;
    uint64_t process;
    struct group_item item; /* its entries are owned */
};

struct seat {
    struct groups *groups;
    int32_t index;
    enum seat_state state;
    int32_t epoch;           /* not AWAY */
    struct partition *part;  /* not AWAY; referenced */
    struct coordinator core; /* READY, WRITING, STALLED */
    struct seat_item *first, **last;
    struct seat_item *acted;    /* WRITING, STALLED: whose records these are, that have no answer yet */
    size_t inbox_bytes;         /* of memory */
    int32_t beats[LIMIT_NODES]; /* the nodes of which a BEAT waits */
    int beat_count;
    bool look;             /* the metadata is another since the last turn */
    struct outbox answers; /* of what is being written */
    struct append_op op;   /* WRITING: of a piece of the turn's records */
    size_t written;        /* so many of their bytes are appended, or being appended */
    struct iovec iov;
    _Atomic bool append_over;
    int append_rc;
    bool full;        /* STALLED: for want of room */
    int64_t retry_ms; /* STALLED: the next attempt */
    int logged_rc;    /* of a failed append that was logged, at logged_ms */
    int64_t logged_ms;
    int64_t load_wait_ms;     /* LOADING: so long the last attempt that failed was waited behind */
    struct group_load *load;  /* LOADING: under way */
    int64_t load_ms;          /* LOADING: the next attempt */
    struct start_find *finds; /* under way */
};

void seat_init(struct seat *seat, struct groups *groups, int32_t index);
/* The executor is settled, and its append over. */
void seat_free(struct seat *seat);

/* All within a turn. The partition may have another leader. */
void seat_look(struct seat *seat);
/* An item, whose entries are the seat's from here on. */
void seat_take(struct seat *seat, int32_t node, uint64_t process, struct group_item *item);
/* Acts on what has come, by what is due, and by what has ended. */
void seat_run(struct seat *seat);

/* ---- seat_load.c ---- */

/* Begins to read the seat's partition. What comes of it is in load once load->over: then seat_load_take() takes it. */
struct group_load *seat_load_begin(struct seat *seat);
bool seat_load_over(struct group_load *load);
/* 0: *out is what the records say; or a negative errno with the reason. Frees load. */
int seat_load_take(struct group_load *load, struct coordinator *out, struct err *e);
/* Nobody wants it any more. */
void seat_load_cancel(struct group_load *load);

/* ---- seat_start.c ---- */

/* Finds out what changes.starts asks. */
void seat_starts_begin(struct seat *seat);
/* Tells the core of those that were found; within its turn. */
void seat_starts_take(struct seat *seat);
/* All are over, or will be soon, and nobody hears of them. */
void seat_starts_cancel(struct seat *seat);

#endif
