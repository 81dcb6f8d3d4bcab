/* engine/base/checkpoint.h: the small files of DATA that say where each log stood: Kafka's
 * recovery-point-offset-checkpoint, log-start-offset-checkpoint, replication-offset-checkpoint (the high watermarks)
 * and cleaner-offset-checkpoint.
 *
 * Text, one line a log, as in Kafka, but with a magic first line and a CRC-32C last line; a file whose CRC does not
 * hold is refused by name. Replaced as a whole, atomically. One thread writes a file at a time (the caller's care). */
#ifndef LOGMNT_ENGINE_BASE_CHECKPOINT_H
#define LOGMNT_ENGINE_BASE_CHECKPOINT_H

#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"

enum { CHECKPOINT_NAME_BYTES = 264 };

struct checkpoint_entry {
    char name[CHECKPOINT_NAME_BYTES]; /* "orders-0" */
    int64_t offset;
    int64_t position; /* 0 where the file keeps offsets only */
};

/* *out is malloc-ed and sorted by name; no file: no entries, 0. -EBADMSG: damaged. */
int checkpoint_read(struct io *io, int dirfd, const char *file, struct checkpoint_entry **out, size_t *count,
                    struct err *e);
int checkpoint_write(struct io *io, int dirfd, const char *file, const struct checkpoint_entry *entries, size_t count,
                     struct err *e);
/* By name in what checkpoint_read() gave; NULL: not there. */
const struct checkpoint_entry *checkpoint_find(const struct checkpoint_entry *entries, size_t count, const char *name);

#endif
