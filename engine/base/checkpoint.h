/* engine/base/checkpoint.h: the small files of DATA that say where each log stood: Kafka's
 * recovery-point-offset-checkpoint, log-start-offset-checkpoint, replication-offset-checkpoint (the high watermarks)
 * and cleaner-offset-checkpoint.
 *
 * Text, one line a log, as in Kafka, but with a magic first line and a CRC-32C last line; a file whose CRC does not
 * hold is refused by name. A log is known by the id of its topic and its number, so that a name used again is another
 * key; with each figure stands how many times the log had been cut back then. Replaced as a whole, atomically. One
 * thread writes a file at a time (the caller's care). */
#ifndef LOGMNT_ENGINE_BASE_CHECKPOINT_H
#define LOGMNT_ENGINE_BASE_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"

enum { CHECKPOINT_NAME_BYTES = 264 };

struct checkpoint_entry {
    char key[CHECKPOINT_NAME_BYTES]; /* TOPIC-ID-0; of version 1 orders-0 */
    int64_t offset;
    int64_t position; /* 0 where the file keeps offsets only */
    uint32_t cuts;    /* log_cuts(), asked for before them */
};

/* *out is malloc-ed and sorted by key; no file: no entries, 0. *by_name: it is of version 1, whose keys are names.
 * -EBADMSG: damaged. */
int checkpoint_read(struct io *io, int dirfd, const char *file, struct checkpoint_entry **out, size_t *count,
                    bool *by_name, struct err *e);
int checkpoint_write(struct io *io, int dirfd, const char *file, const struct checkpoint_entry *entries, size_t count,
                     struct err *e);
/* By key in what checkpoint_read() gave; NULL: not there. */
const struct checkpoint_entry *checkpoint_find(const struct checkpoint_entry *entries, size_t count, const char *key);

#endif
