/* replication/metadata/quorum.h: the metadata quorum, of one voter: commands in, decided in one order, on the disk
 * before they are applied.
 *
 * A command is checked, appended to `__cluster_metadata-0` as one record, flushed (commands that come together share
 * one flush) and applied. At the start snapshot and log are replayed. When LIMIT_SNAPSHOT_COMMANDS were applied since
 * the last snapshot a new one is written and the log before it dropped.
 *
 * Failing: a command that does not fit, or that the disk has no room for, changes nothing. After a failed flush the log
 * is offline and every command is -EIO. */
#ifndef LOGMNT_REPLICATION_METADATA_QUORUM_H
#define LOGMNT_REPLICATION_METADATA_QUORUM_H

#include <pthread.h>

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "replication/metadata/metadata.h"
#include "replication/replica/partition.h"

struct quorum {
    struct io *io;
    int dirfd;              /* DATA, for the snapshot */
    struct partition *part; /* __cluster_metadata-0 */
    /* Called under the quorum's lock before a command that the metadata allows is appended: 0, or why not now. */
    int (*check)(void *arg, const struct command *cmd);
    /* Called for each applied command, in order, under the quorum's lock; the metadata is already as it says. */
    void (*applied)(void *arg, const struct command *cmd);
    /* Likewise for those that quorum_open() replays, in place of applied. */
    void (*replayed)(void *arg, const struct command *cmd);
    void *arg;

    pthread_mutex_t lock; /* orders commands */
    pthread_cond_t decided;
    struct proposal *first, **last; /* appended, not yet applied */
    struct log_point applied_end;
    int64_t snapshot_at; /* the next snapshot, when next_offset gets there */

    pthread_rwlock_t meta_lock; /* held for writing while a command is applied, for reading by who looks */
    struct metadata meta;
};

/* Replays. io, dirfd, part, check, applied, replayed and arg are set; check and applied are not called. -EBADMSG:
 * damaged, or of a newer version; errnos of the disk. */
int quorum_open(struct quorum *quorum, const struct tree_attr *root, struct err *e);
void quorum_close(struct quorum *quorum);

/* Returns when the command was applied, or why not: the errnos of metadata_check() and check, -ENOSPC, -EDQUOT, -EIO.
 * Waits for the disk. Any thread, not from check or applied. */
int quorum_propose(struct quorum *quorum, const struct command *cmd, struct err *e);

/* The metadata, to look at until quorum_release(). */
const struct metadata *quorum_acquire(struct quorum *quorum);
void quorum_release(struct quorum *quorum);

#endif
