/* replication/metadata/quorum.h: the metadata quorum: commands in, decided in one order, on the disk before they are
 * applied.
 *
 * Who decides is raft.h's: this node's server of the quorum is told what happens to the log and does what it asks
 * (quorum_server.c). Alone it is the only voter: it leads from the start on, in a new epoch each time, and what its own
 * disk has is decided.
 *
 * A command is an op: checked when it is submitted, appended to `__cluster_metadata-0` as one record, flushed and
 * applied by prompt work, one turn after the other; commands that come while a turn is under way share the next one,
 * and its flush. At the start snapshot and log are replayed. When LIMIT_SNAPSHOT_COMMANDS were applied since the last
 * snapshot a new one is written and the log before it dropped.
 *
 * Failing: a command that does not fit, or that the disk has no room for, changes nothing. After a failed flush the log
 * is offline and every command is -EIO. What was decided and cannot be applied ends the process (rule 10). */
#ifndef LOGMNT_REPLICATION_METADATA_QUORUM_H
#define LOGMNT_REPLICATION_METADATA_QUORUM_H

#include <pthread.h>

#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/log/log.h"
#include "replication/executor/executor.h"
#include "replication/metadata/metadata.h"
#include "replication/metadata/raft.h"
#include "replication/replica/partition.h"

struct proposal;

/* One command on its way; the caller embeds it and keeps it until it is over. */
struct quorum_op {
    int64_t timeout_ms; /* in; INT64_MAX: none */
    /* The end of what was submitted: once, no lock held, by a prompt work. rc: 0: applied; a race's errno (metadata.h);
     * -ENOSPC, -EDQUOT: not appended; -EIO; -ETIMEDOUT: it is not applied, and perhaps will be. */
    void (*done)(struct quorum_op *op, int rc);
    struct err e; /* why not */
    /* private */
    struct proposal *proposal; /* NULL: it is over */
};

struct quorum {
    struct io *io;
    struct clock *clock;
    struct executor *executor;
    int dirfd;               /* DATA, for the snapshot and the server's state */
    struct raft_id self;     /* this node and the incarnation of its data directory */
    struct raft_peers peers; /* the first members, this node included */
    struct partition *part;  /* __cluster_metadata-0 */
    /* All three are called by one thread at a time, with no lock held but for `replayed`, and may use the disk.
     * prepare: before a command that the metadata allows is appended: 0, or why it cannot be. */
    int (*prepare)(void *arg, const struct command *cmd, struct err *e);
    /* For each applied command, in order; the metadata is already as it says, and nobody else changes it. */
    void (*applied)(void *arg, const struct command *cmd);
    /* Likewise for those that quorum_open() replays, in place of applied. */
    void (*replayed)(void *arg, const struct command *cmd);
    void *arg;

    pthread_mutex_t lock;           /* of the lists below and what ops say of themselves; never held through I/O */
    struct proposal *queue, **last; /* submitted */
    struct proposal *turn;          /* taken by the turn that is under way */
    bool busy;                      /* a turn is queued or under way */
    struct work work;               /* a turn's beginning */
    struct log_flush flush;         /* the turn's, and then its end */
    struct log_point flushing;      /* where the turn's records end */
    struct alarm again;             /* a flush that failed for want of descriptors or memory */
    struct alarm deadline;          /* the earliest op's */
    int64_t snapshot_at;            /* the turn's: the next snapshot, when next_offset gets there */

    /* The server: whoever has the turn. */
    struct raft raft;
    bool leads;           /* false: there was no room to begin an epoch; the next command tries again */
    bool state_lost;      /* at the start: no quorum-state, or one older than the log */
    struct raft_log view; /* the log as raft asks for it */
    int32_t end_epoch;    /* of the log's last record; -1: there was never one */
    int64_t decided;      /* offset: everything below is */

    pthread_rwlock_t meta_lock; /* held for writing while a command is applied, for reading by who looks */
    struct metadata meta;
};

/* Replays. All up to arg are set; prepare and applied are not called. -EBADMSG: damaged, of a newer version, or decided
 * by other rules; errnos of the disk. */
int quorum_open(struct quorum *quorum, const struct tree_attr *root, struct err *e);
/* The executor is silenced and settled. */
void quorum_close(struct quorum *quorum);

/* Submits a command, which is copied. 0: op->done will be called, perhaps before this returns; or a negative errno, and
 * nothing has happened: those of metadata_check(), -EIO, -ENOMEM. Any thread, not from prepare or applied. */
int quorum_submit(struct quorum *quorum, struct quorum_op *op, const struct command *cmd);
/* true: it was not yet appended and never will be; done is not called. */
bool quorum_cancel(struct quorum *quorum, struct quorum_op *op);

/* The metadata, to look at until quorum_release(). */
const struct metadata *quorum_acquire(struct quorum *quorum);
void quorum_release(struct quorum *quorum);

#endif
