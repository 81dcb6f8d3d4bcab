/* replication/replica/partition_read.h: asking what is in a partition, wherever its replica is.
 *
 * One op for all of it: bytes, the runs of records that they are in, and places by offset, time and position. A replica
 * on this node answers inside partition_read_submit(), with no allocation, lock held or other thread, and bytes are
 * then a piece of a file; what has to be fetched from elsewhere comes later, and bytes are in memory. Who asks cannot
 * tell which before it is over, and need not: partition_read_copy() takes both.
 *
 * Nothing at or behind the high watermark is ever answered, but that an epoch ended there. Any thread. */
#ifndef LOGMNT_REPLICATION_REPLICA_PARTITION_READ_H
#define LOGMNT_REPLICATION_REPLICA_PARTITION_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replication/replica/partition.h"

/* What is asked for; `at` is what its name says. */
enum read_kind {
    READ_BYTES,    /* a position: the first bytes at or behind it, before `limit`, at most `max` of them */
    READ_RUN,      /* a position: the run of records that holds it, or the next one behind it, before `limit` */
    FIND_OFFSET,   /* the first record with at least this offset; in all that follow the high watermark if there is none
                    */
    FIND_TIME,     /* ms since 1970: the first record at or after that */
    FIND_LAST,     /* a number: the record that so many ones begin with, the last of them at the high watermark */
    FIND_POSITION, /* the first record that ends behind this position */
    FIND_END,      /* the high watermark; `at` is not looked at */
    FIND_EPOCH_END, /* a leader epoch: the first record behind it in the leader's log, as far as that reaches, committed
                       or not; point.offset alone. INT64_MAX: who leads cannot say */
    READ_STATUS,    /* how it is, as partition.h's points, size and time tell from then on; likewise */
};

struct read_block;

/* Embed it, zeroed; fill in what is "in"; keep it until it is over; it may be used again then. */
struct read_op {
    struct partition *part; /* in; the caller's reference lasts until it is over */
    enum read_kind kind;    /* in */
    int64_t at;             /* in */
    int64_t limit;          /* in: a position; INT64_MAX: up to the high watermark */
    size_t max;             /* in: more than 0 */
    int64_t timeout_ms;     /* in: how long an answer from elsewhere is waited for */
    bool more;              /* in: who asks has something already, and does without while nobody can be asked, or
                               LIMIT_READ_AGAIN_MS have brought no answer: -ETIMEDOUT */
    bool of_leader;         /* in: by the leader alone: what it removes a follower hears of later */
    /* in: the end of one that had to wait, with no lock held. rc: 0, or a negative errno: what submit may return, and
     * -ETIMEDOUT: nobody who has the bytes was reached in time. */
    void (*done)(struct read_op *op, int rc);
    struct log_point high_watermark; /* out: as it was when this was answered */
    bool found;                      /* out, READ_*: there is something; FIND_EPOCH_END: that is known */
    struct log_point point;          /* out, FIND_* */
    /* out, but of READ_STATUS: the log that this is from has no record of a later leader epoch below that high
     * watermark; -1: not known. FIND_EPOCH_END: the epoch in which its leader said so. */
    int32_t leader_epoch;
    struct log_run run; /* out, READ_RUN */
    /* out, READ_RUN, found or not, FIND_OFFSET and FIND_POSITION: nothing that lies before it is there any more. Offset
     * -1: an answer to one of the latter two from another node, which does not tell it. */
    struct log_point log_start;
    /* out, READ_BYTES: where they are. fd -1: in `bytes`. To be given back by partition_read_release(), if found. */
    struct log_extent extent;
    const uint8_t *bytes;
    /* private */
    struct read_block *block; /* what holds `bytes` */
    uint64_t number;          /* remote.c: it came before the questions of higher numbers; the partition's lock */
    int64_t from;             /* likewise: between `at` and here there is nothing */
    int64_t deadline_ms;      /* likewise */
    bool forgiven;            /* likewise: it waits longer, since this node stood still */
    int rc;                   /* likewise: how it ended */
    bool lost;                /* what this node has of it is damaged */
    bool queued;              /* in the partition's list of those that wait; its lock, as the next two */
    struct read_op *prev, *next;
};

/* 1: over, the answer is in op; 0: op->done will be called, exactly once, perhaps by another thread and before this has
 * returned, but never by this one; or a negative errno: over. -ESTALE: the topic was deleted; -EIO: the log is offline,
 * or the bytes do not match their CRC; other errnos of the disk. */
int partition_read_submit(struct read_op *op);
/* true: it was not answered yet and will not be: done is not called. false: done was called or is being called, or
 * nothing was asked. */
bool partition_read_cancel(struct read_op *op);

/* Whether partition.h's points, size and time are as they are now, or as good as can be told: always so where the
 * replica is here. Otherwise a READ_STATUS makes it so: 0; -ETIMEDOUT: its leader was never heard of. */
bool partition_is_known(struct partition *part);

/* A position: where what is shown ends, as far as is known once the op is over. Behind the answer's high watermark, if
 * that is of a replica here that is behind: then the rest is the leader's. */
int64_t partition_read_shown(const struct read_op *op);

/* The bytes of a READ_BYTES that found some, extent.len of them, from wherever they are. 0 or -EIO, which is logged. */
int partition_read_copy(const struct read_op *op, void *out);
void partition_read_release(struct read_op *op);

#endif
