/* replication/replica/topic_internal.h: a topic while the node runs: what metadata.h says of it, in the form that
 * requests need, with its partitions. For replication/ alone; fs/ sees topic.h.
 *
 * Locks: `lock` guards attr, config and the array of partitions, for a few loads and stores. `update_lock` (as
 * Kafka's leaderIsrUpdateLock) is held for reading
 * by each append while it is under way, and for writing, for a moment, by whoever seals a partition of it or changes
 * its framing; never over a decision. Counted: the catalog, callers, timers and works of its partitions hold
 * references. */
#ifndef LOGMNT_REPLICATION_REPLICA_TOPIC_INTERNAL_H
#define LOGMNT_REPLICATION_REPLICA_TOPIC_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/checkpoint.h"
#include "replication/metadata/config.h"
#include "replication/metadata/metadata.h"
#include "replication/executor/executor.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/topic.h"

struct topic {
    struct replica_manager *manager;
    char name[TOPIC_NAME_BYTES];
    uint8_t id[UUID_BYTES];
    char id_text[UUID_TEXT_BYTES];
    _Atomic int32_t replication_factor; /* the target, where partitions move */
    bool internal;                      /* one of .internal/: not a user's to write or to change */
    bool own;                           /* the node's own, which no decision makes: the metadata log. Also internal */
    _Atomic uint64_t refs;
    _Atomic bool deleted;
    struct topic *hash_next; /* catalog.c's, under its lock */
    struct work reap;        /* takes a deleted topic apart after the last reference */
    struct work resume;      /* lets go on what waits in it; holds a reference while it is queued */
    _Atomic bool resume_queued;
    _Atomic bool resume_looks; /* something has changed: it looks at each partition first */
    _Atomic int32_t resume_at; /* the partition whose turn it is then */
    int open_rc;               /* why a partition could not be made */
    _Atomic int heard;         /* so often topic_hear() was called, and not taken back */

    pthread_rwlock_t update_lock;
    pthread_mutex_t lock;
    struct tree_attr attr;
    struct topic_config config;
    _Atomic uint64_t config_generation;
    _Atomic uint64_t
        in_flight; /* records on their way that are cut by this framing; rises with update_lock held for reading */
    struct partition **partitions;
    _Atomic int32_t partition_count;
};

/* A topic without partitions, one reference. NULL: no memory. */
struct topic *topic_new(struct replica_manager *manager, const struct metadata_topic *meta,
                        const struct config_set *cluster, bool own);

/* Opens the partitions that meta has and the topic has not yet. made: they are new; a directory that is there already
 * belongs to something else. One that cannot be opened is there all the same, offline, and was logged; open_rc is the
 * first reason. -ENOMEM: some are not there, and who has read of them must not go on without. One caller at a time. */
int topic_open_partitions(struct topic *topic, const struct metadata_topic *meta, const struct checkpoints *known,
                          bool made);

/* The metadata changed: attributes and settings. topic_resume() is due after that. */
void topic_update(struct topic *topic, const struct metadata_topic *meta, const struct config_set *cluster);
/* Appends and readers that the settings held up go on, by prompt work: there may be many, and decisions do not wait for
 * them. Nor does other work: a turn lets so many into the log, and others go on, round the partitions. */
void topic_resume(struct topic *topic);

static inline bool topic_is_heard(const struct topic *topic)
{
    return atomic_load_explicit(&topic->heard, memory_order_relaxed) > 0;
}

/* As topic_empty(), and none are on their way to it from this node. */
bool topic_awaits_none(struct topic *topic);

/* Takes the names away on the disk: from here on its directories are called …-delete, and calls answer -ESTALE. */
void topic_retire(struct topic *topic);
/* Wakes everybody who waits in it. No lock held: calls back. */
void topic_wake_all(struct topic *topic);

#endif
