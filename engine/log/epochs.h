/* engine/log/epochs.h: `leader-epochs`, the persistent map epoch → start offset of one log (KIP-101). Monotone in both;
 * every change is fsynced before it is used. One owner; no locks of its own. */
#ifndef LOGMNT_ENGINE_LOG_EPOCHS_H
#define LOGMNT_ENGINE_LOG_EPOCHS_H

#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"

struct epochs_entry {
    int32_t epoch;
    int64_t start_offset;
};

struct epochs {
    struct epochs_entry *entries;
    uint32_t count;
};

/* Reads dirfd/leader-epochs; none: empty. -EBADMSG: damaged. */
int epochs_load(struct io *io, int dirfd, struct epochs *epochs, struct err *e);
void epochs_free(struct epochs *epochs);
int32_t epochs_latest(const struct epochs *epochs); /* -1: none */
/* Adds an entry, durably. An epoch not above the latest is left alone (0). Entries at or above start_offset go first:
 * they cover no record. */
int epochs_assign(struct io *io, int dirfd, struct epochs *epochs, int32_t epoch, int64_t start_offset, struct err *e);
/* Where `epoch` ends: the start of the next one, or log_end for the latest (Kafka's OffsetsForLeaderEpoch). -1: an
 * epoch above all known ones. *found_epoch is the largest epoch ≤ the asked one; below all, it is the asked one, which
 * ended where the first known one starts; -1: there are none. */
int64_t epochs_end_offset(const struct epochs *epochs, int32_t epoch, int64_t log_end, int32_t *found_epoch);
/* Forgets what lies above end / below start, durably. */
int epochs_truncate_end(struct io *io, int dirfd, struct epochs *epochs, int64_t end, struct err *e);
int epochs_truncate_start(struct io *io, int dirfd, struct epochs *epochs, int64_t start, struct err *e);

#endif
