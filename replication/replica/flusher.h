/* replication/replica/flusher.h: the background flush, so that recovery has little to check, and the checkpoints in its
 * wake. It is asked, it does not look around: an idle node is not woken.
 *
 * It begins LIMIT_FLUSH_DELAY_MS after it was asked: an append that meets a flush waits as long as that takes (it needs
 * the inode's block, which the journal is just writing), so one burst of appends is not to be stopped in its middle.
 * What recovery may have to check is thus LIMIT_UNFLUSHED_BYTES and what a second brings. */
#ifndef LOGMNT_REPLICATION_REPLICA_FLUSHER_H
#define LOGMNT_REPLICATION_REPLICA_FLUSHER_H

#include <stdatomic.h>

#include "replication/executor/executor.h"

struct partition;
struct replica_manager;

struct flusher {
    struct replica_manager *manager;
    _Atomic uint64_t wanted; /* counts the logs' calls of on_flush_wanted */
    struct alarm flush;
    _Atomic bool flush_armed; /* from when it is set until it rings */
    struct work due;
    _Atomic uint64_t due_count; /* calls of flusher_due() */
    _Atomic bool due_busy;      /* the work is queued or under way, or due_again is set */
    struct alarm due_again;     /* there was no memory to look for them */
    struct alarm checkpoint;
    _Atomic bool checkpoint_armed;
    struct alarm decided;
    _Atomic bool decided_armed;
    _Atomic int flush_rc, checkpoint_rc, decided_rc; /* how each alarm's checkpoints failed last; 0: they did not */
};

void flusher_init(struct flusher *flusher, struct replica_manager *manager);
/* log_env.on_flush_wanted: only counts, since it is called under the append lock. */
void flusher_want(void *flusher);
/* The count. Whoever calls into a log compares it before and after: if it changed, flusher_request(). (It may have been
 * another log that called: then one flush too many is done.) */
uint64_t flusher_wanted(struct flusher *flusher);
void flusher_request(struct flusher *flusher, struct partition *part);
/* flush.ms is over: as soon as those before it are flushed. */
void flusher_due(struct flusher *flusher, struct partition *part);
/* Something that the checkpoints do not say yet: they are written within LIMIT_CHECKPOINT_INTERVAL_MS. */
void flusher_checkpoint_soon(struct flusher *flusher);
/* The metadata quorum has decided something: the high watermarks are written within LIMIT_DECIDED_CHECKPOINT_MS, so
 * that a node that is killed and finds no majority shows nearly all that it showed before. */
void flusher_decided(struct flusher *flusher);

#endif
