/* replication/replica/manager.h: all topics, partitions and replicas of this node together (Kafka's ReplicaManager):
 * what they stand on, which partition a message is for, the sessions with each peer, and the beat that keeps them.
 *
 *     a peer is up --> fetcher.h asks for all that this node follows there, serving.h answers what it leads
 *     each LIMIT_BEAT_MS --> both sides of each session beat, and each partition is looked at: who lags, what is to be
 *                            tried again
 *
 * A node without peers has no sessions and does not beat. Any thread, unless said otherwise. */
#ifndef LOGMNT_REPLICATION_REPLICA_MANAGER_H
#define LOGMNT_REPLICATION_REPLICA_MANAGER_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/clock.h"
#include "engine/base/container.h"
#include "engine/base/io.h"
#include "engine/log/log.h"
#include "replication/base/latency.h"
#include "replication/base/limits.h"
#include "replication/base/reserve.h"
#include "replication/executor/executor.h"
#include "replication/metadata/quorum.h"
#include "replication/replica/catalog.h"
#include "replication/replica/catch_up.h"
#include "replication/replica/checkpoints.h"
#include "replication/replica/deleter.h"
#include "replication/replica/fetcher.h"
#include "replication/replica/flusher.h"
#include "replication/replica/forwarding.h"
#include "replication/replica/isr_changes.h"
#include "replication/replica/reads.h"
#include "replication/replica/serving.h"
#include "replication/replica/stray.h"
#include "replication/wire/network.h"

enum { MANAGER_BUCKETS = 4096 };

struct node_feed;
struct partition;
struct replica_key;
struct replica_manager;
struct topic;

/* Another node, as long as this one runs. */
struct replica_peer {
    struct replica_manager *manager;
    int32_t id;
    struct serving serving; /* what this node leads and the peer follows */
    struct fetcher fetcher; /* the other way round */
};

/* What the floor above does for partitions. Any thread, no lock held. */
struct manager_hooks {
    bool (*registered)(void *arg); /* this process has its part in partitions */
    bool (*has_lease)(void *arg);  /* it may acknowledge as a leader; for each append that has replicas elsewhere */
    /* It leads the partition, and an append has just failed. true: another node is being asked to lead, and the append
     * is to be tried again. */
    bool (*hand_over)(void *arg, struct partition *part);
    void *arg;
};

struct replica_manager {
    /* What they stand on: the node's, set before anything is opened, and as it is from then on. */
    int32_t id;         /* of this node */
    int64_t lag_max_ms; /* replica.lag.time.max.ms */
    struct io *io;
    struct clock *clock;
    struct executor *executor;
    struct network *network;
    struct quorum *quorum;
    struct reserve *reserve;
    int data_dirfd, topics_dirfd;
    struct manager_hooks hooks;
    struct log_env env;

    struct catalog catalog;
    struct topic *internal_topic; /* __cluster_metadata */
    struct err *internal_reason;  /* while it is opened: why it cannot be, for whoever started us */
    struct flusher flusher;
    struct deleter deleter;
    struct reads reads;
    struct forwarding forwarding;
    struct stray stray;
    pthread_mutex_t checkpoint_lock;
    /* What the start found. Until this node has applied all that was decided before it there may be topics that it does
     * not know yet, whose directories are there, and their lines stay as they are. Under the checkpoint lock, but for
     * the quorum's turn, which alone ends it (node_caught_up()). */
    struct checkpoints known;
    _Atomic bool caught_up;
    _Atomic bool checkpoints_ahead; /* a crash took records below a high watermark that they hold */
    _Atomic bool stopping;
    _Atomic bool left; /* no partition is referenced by anybody anew */
    /* Goes up with each partition that a decided command was acted upon for: one that takes long is not one that hangs.
     */
    _Atomic uint64_t acted_count;
    pthread_rwlock_t feed_lock; /* held for reading while it is called */
    struct node_feed *feed;

    /* figures */
    struct latency append_times[3]; /* appends of this node's own, by acks (partition_append.c), to their answer */
    struct histogram forward_times; /* those of them that a leader elsewhere has appended */
    struct latency flush_times;     /* fsyncs of this node's own */
    _Atomic uint64_t segments_deleted, segments_compacted, appends_parked;
    _Atomic uint64_t batches_gone, records_gone, bytes_gone, flushes_gone; /* of partitions that were deleted */
    _Atomic int64_t parked_bytes;

    struct network_listener listener;
    struct isr_changes changes;
    struct live_traffic live;
    bool started;
    struct alarm tick;
    _Atomic bool looking;     /* at all partitions, in a tick */
    _Atomic uint64_t numbers; /* of sessions and rounds: none is used twice */

    pthread_mutex_t due_lock; /* fetcher.c's: of the lists of all fetchers */
    pthread_mutex_t lock;     /* of what follows; for a few loads and stores */
    struct partition *buckets[MANAGER_BUCKETS];
    struct replica_peer *_Atomic peers[LIMIT_NODES_MET]; /* from the first on; also read without the lock */
    bool ticking;
};

/* Enters its messages and its listener into the network, which is set, as the clock and the io are; the rest may come
 * later. Before the network is attached. -ENOMEM. */
int manager_init(struct replica_manager *manager);
/* The executor is there, and nothing comes from the network yet. */
void manager_start(struct replica_manager *manager);
/* Nothing comes from the network any more, the partitions have quit, and the executor is silenced and settled: gives up
 * what is on its way, and with it the references to partitions. Nobody takes one from here on (partition_ref()). */
void manager_stop(struct replica_manager *manager);
void manager_free(struct replica_manager *manager);

/* Calls each with every partition of the node, internal ones too, while it holds a reference to its topic: for the
 * background. A partition made meanwhile may be left out. -ENOMEM: some were left out. */
int manager_each_partition(struct replica_manager *manager, void (*each)(struct partition *part, void *arg), void *arg);
/* NAME-N of a topic, internal or not, that has a partition N. */
bool manager_has_partition(struct replica_manager *manager, const char *name);
/* One of .internal/, referenced; NULL: none of that name. */
struct topic *manager_internal_topic(struct replica_manager *manager, const char *name);

/* A partition that has replicas elsewhere is known by its key from here on, until it is removed; more than once does
 * nothing. */
void manager_add(struct replica_manager *manager, struct partition *part);
void manager_remove(struct replica_manager *manager, struct partition *part);
/* Referenced; NULL: not known. */
struct partition *manager_find(struct replica_manager *manager, const struct replica_key *key);
/* Each that is known, referenced while it is called. -ENOMEM: some were left out. */
int manager_each_replicated(struct replica_manager *manager, void (*each)(struct partition *part, void *arg),
                            void *arg);
/* The peer with that id, made if need be. NULL: no memory, or LIMIT_NODES_MET others. */
struct replica_peer *manager_peer(struct replica_manager *manager, int32_t id);
/* This node may lead more than before: fetches that came early are looked at again. */
void manager_look_again(struct replica_manager *manager);
/* A number of this process that was never given before. */
uint64_t manager_number(struct replica_manager *manager);
int64_t manager_now_ms(const struct replica_manager *manager);
int64_t manager_lag_max_ms(const struct replica_manager *manager);
/* A node that was told that its append is committed waits for the high watermark to say so. Any thread. */
void manager_tell_now(struct replica_manager *manager, int32_t id);
/* The epoch of this node's registration, as applied; -1: none. */
int64_t manager_node_epoch(struct replica_manager *manager);
/* A registration of this node was applied: leaders hear of its epoch. */
void manager_registered(struct replica_manager *manager);

#endif
