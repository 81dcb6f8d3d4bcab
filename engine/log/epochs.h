/* engine/log/epochs.h: `leader-epochs`, what of one log's past cannot be told from its segments: where each leader
 * epoch began (KIP-101), and to where the log was cut back, how many times.
 *
 * Epochs rise, and so do the points where they began. A cut (log_truncate(), log_reset()) has a number, counted from 1;
 * whoever notes a figure of the log in another file notes with it how many cuts there had been, and epochs_clip() says
 * later what of the figure is left. Kept of the cuts are those that can make a difference: each ends behind the one
 * before it.
 *
 * A list in memory that is changed and then stored as a whole. One owner; no locks of its own. */
#ifndef LOGMNT_ENGINE_LOG_EPOCHS_H
#define LOGMNT_ENGINE_LOG_EPOCHS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/log/log.h"

struct epochs_entry {
    int32_t epoch;
    struct log_point start; /* position -1: a file of version 1 did not say */
};

struct epochs_cut {
    uint32_t number;
    struct log_point to;
};

struct epochs {
    struct epochs_entry *entries;
    struct epochs_cut *cuts;
    uint32_t count;
    uint32_t cut_count;
};

/* Reads dirfd/leader-epochs, of version 1 or 2; none: empty. -EBADMSG: damaged. */
int epochs_load(struct io *io, int dirfd, struct epochs *epochs, struct err *e);
/* Replaces the file, durably. */
int epochs_store(struct io *io, int dirfd, const struct epochs *epochs, struct err *e);
void epochs_free(struct epochs *epochs);
/* -ENOMEM: *to is empty. */
int epochs_copy(const struct epochs *from, struct epochs *to);

int32_t epochs_latest(const struct epochs *epochs); /* -1: none */
/* Adds an entry. An epoch not above the latest is left alone. Entries at or above start go first: they cover no record.
 * -ENOMEM: as it was. */
int epochs_assign(struct epochs *epochs, int32_t epoch, struct log_point start);
/* Where `epoch` ends: the start of the next one, or log_end for the latest (Kafka's OffsetsForLeaderEpoch). {-1, -1}:
 * an epoch above all known ones. *found_epoch is the largest epoch ≤ the asked one (KIP-279); below all, it is the
 * asked one, which ended where the first known one starts; -1: there are none. */
struct log_point epochs_end(const struct epochs *epochs, int32_t epoch, struct log_point log_end, int32_t *found_epoch);
/* Of the record that ends at the offset, or is the last one in front of it; -1: not known. */
int32_t epochs_before(const struct epochs *epochs, int64_t offset);
/* Whether a batch that begins at this offset can have this epoch. */
bool epochs_agree(const struct epochs *epochs, int64_t offset, int32_t epoch);
/* Forgets what begins at or above end (Kafka's truncateFromEnd). */
void epochs_truncate_end(struct epochs *epochs, int64_t end);
/* Forgets what ends at or below start; the epoch that covers start begins there now. */
void epochs_truncate_start(struct epochs *epochs, struct log_point start);

/* The number of the last cut; 0: never cut. */
uint32_t epochs_cuts(const struct epochs *epochs);
/* One more cut, and epochs_truncate_end(). -ENOMEM: as it was. */
int epochs_cut(struct epochs *epochs, struct log_point to);
/* What is left of a point that was noted after `cuts` cuts: where the log was cut before it since then. */
struct log_point epochs_clip(const struct epochs *epochs, uint32_t cuts, struct log_point point);
/* Forgets the cuts that no figure of a log that begins at base can tell apart from a later one. */
void epochs_forget_cuts(struct epochs *epochs, int64_t base);

#endif
