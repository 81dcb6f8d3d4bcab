/* replication/node/checkpoints.h: the four checkpoint files of DATA, together: what they said at the start, and writing
 * them anew from the live partitions.
 *
 * Writing: after a background flush, at most LIMIT_CHECKPOINT_INTERVAL_MS behind while something is appended, at a
 * clean stop, (log starts) before DeleteRecords returns, and before a topic is made when they still name partitions of
 * a deleted one, which may have had the same name. An idle node writes nothing. */
#ifndef LOGMNT_REPLICATION_NODE_CHECKPOINTS_H
#define LOGMNT_REPLICATION_NODE_CHECKPOINTS_H

#include <stdbool.h>

#include "engine/base/checkpoint.h"
#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/log/log.h"

struct node;

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
    bool clean_shutdown;
};

/* -EBADMSG: damaged, by name. */
int checkpoints_read(struct io *io, int dirfd, struct checkpoints *out, struct err *e);
void checkpoints_free(struct checkpoints *checkpoints);
/* What they say of one log. checkpoints may be NULL: nothing is known, because the log is new. */
void checkpoints_known(const struct checkpoints *checkpoints, const char *name, struct log_known *known,
                       struct log_point *high_watermark);

/* Is there a line about a partition that the node does not have? */
bool checkpoints_name_others(const struct checkpoints *checkpoints, struct node *node);

/* Writes one file, or all, from the partitions of the node. Takes the node's checkpoint lock. Not on the loop. */
int checkpoints_write(struct node *node, enum checkpoint_kind kind, struct err *e);
int checkpoints_write_all(struct node *node, struct err *e);

#endif
