/* replication/group/listing.h: how far each group is in each partition, for `.cluster/groups` and the attributes of
 * lag: what the coordinators keep, beside what the partitions have.
 *
 * First all coordinators, or the one that is asked about, are asked (group_op); then each partition, all side by side,
 * where it ends and begins, and for the time of the oldest record that is not committed. What a partition's leader does
 * not answer in time is told as it was heard last, or not at all.
 *
 * Partitions are asked by works of its own, a few each, so that disks hold up neither the room's turns nor other works
 * that somebody waits for. */
#ifndef LOGMNT_REPLICATION_GROUP_LISTING_H
#define LOGMNT_REPLICATION_GROUP_LISTING_H

#include <stdatomic.h>

#include "replication/executor/executor.h"
#include "replication/group/member.h"

struct group_look;

/* One row with what its partition says; -1: not known. */
struct group_line {
    const struct group_row *row;
    int64_t end;    /* the high watermark, an offset */
    int64_t lag;    /* records from the larger of committed and log start to the end */
    int64_t lag_ms; /* the age of the first of them; 0: there are none */
    int64_t lost;   /* records below the log start that were not committed */
};

/* Embed it, zeroed; fill in what is "in"; keep it until it is over; group_listing_free() then. */
struct group_listing {
    struct group_op op; /* in: all of its "in" but done: an ASK_* */
    /* in: as group_op's, and like that perhaps before submit has returned; from a work. */
    void (*done)(struct group_listing *listing, int rc);
    struct group_line *lines; /* out: one for each row of op; malloc-ed */
    /* private */
    int rc; /* of the rows */
    struct group_look *looks;
    struct work work;
    size_t begun;
    _Atomic size_t left;
    _Atomic bool unwanted;
};

/* As group_op_submit(). */
int group_listing_submit(struct group_listing *listing);
/* As group_op_cancel(); false too while partitions are asked: those that were not yet are not any more, and it ends by
 * op.timeout_ms. */
bool group_listing_cancel(struct group_listing *listing);
void group_listing_free(struct group_listing *listing);

#endif
