/* replication/replica/checkpoints.h: the four checkpoint files of DATA, together: what they said at the start, and
 * writing them anew from the live partitions.
 *
 * Writing: after a background flush, at most LIMIT_CHECKPOINT_INTERVAL_MS behind while something is appended, at a
 * clean stop, and (log starts) before DeleteRecords returns. An idle node writes nothing. A partition is known by its
 * topic's id and its number; files of version 1, which go by name, are read, and replaced before a topic is made. */
#ifndef LOGMNT_REPLICATION_REPLICA_CHECKPOINTS_H
#define LOGMNT_REPLICATION_REPLICA_CHECKPOINTS_H

#include <stdbool.h>

#include "engine/base/checkpoint.h"
#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/log/log.h"

struct replica_manager;

enum checkpoint_kind {
    CHECKPOINT_RECOVERY_POINT,
    CHECKPOINT_LOG_START,
    CHECKPOINT_HIGH_WATERMARK,
    CHECKPOINT_CLEANER,
    CHECKPOINT_KINDS,
};

/* As read at the start. */
struct checkpoints {
    struct checkpoint_entry *entries[CHECKPOINT_KINDS];
    size_t counts[CHECKPOINT_KINDS];
    bool by_name[CHECKPOINT_KINDS]; /* of version 1 */
    bool clean_shutdown;
};

/* -EBADMSG: damaged, by name. */
int checkpoints_read(struct io *io, int dirfd, struct checkpoints *out, struct err *e);
void checkpoints_free(struct checkpoints *checkpoints);
/* What they say of one partition, by its name and its key. checkpoints may be NULL: nothing is known, because it is
 * new. */
void checkpoints_known(const struct checkpoints *checkpoints, const char *name, const char *key,
                       struct log_known *known, struct checkpoint_entry *high_watermark);

/* Is any of the files of version 1? */
bool checkpoints_are_by_name(const struct checkpoints *checkpoints);

/* Writes one file, or all, from the partitions of the node. Takes the node's checkpoint lock. Not on the loop. */
int checkpoints_write(struct replica_manager *manager, enum checkpoint_kind kind, struct err *e);
int checkpoints_write_all(struct replica_manager *manager, struct err *e);

#endif
