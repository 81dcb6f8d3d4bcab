/* replication/replica/manager.h: all replicas of this node together (Kafka's ReplicaManager): which partition a message
 * is for, the sessions with each peer, and the beat that keeps them.
 *
 *     a peer is up --> fetcher.h asks for all that this node follows there, serving.h answers what it leads
 *     each LIMIT_BEAT_MS --> both sides of each session beat, and each partition is looked at: who lags, what is to be
 *                            tried again
 *
 * A node without peers has no sessions and does not beat. Any thread, unless said otherwise. */
#ifndef LOGMNT_REPLICATION_REPLICA_MANAGER_H
#define LOGMNT_REPLICATION_REPLICA_MANAGER_H

#include "replication/base/limits.h"
#include "replication/replica/fetcher.h"
#include "replication/replica/isr_changes.h"
#include "replication/replica/serving.h"
#include "replication/wire/network.h"

enum { MANAGER_BUCKETS = 4096 };

struct node;
struct partition;
struct replica_key;

/* Another node, as long as this one runs. */
struct replica_peer {
    struct replica_manager *manager;
    int32_t id;
    struct serving serving; /* what this node leads and the peer follows */
    struct fetcher fetcher; /* the other way round */
};

struct replica_manager {
    struct node *node;
    struct network_listener listener;
    struct isr_changes changes;
    bool started;
    struct alarm tick;
    _Atomic uint64_t numbers; /* of sessions and rounds: none is used twice */

    pthread_mutex_t due_lock; /* fetcher.c's: of the lists of all fetchers */
    pthread_mutex_t lock;     /* of what follows; for a few loads and stores */
    struct partition *buckets[MANAGER_BUCKETS];
    struct replica_peer *_Atomic peers[LIMIT_NODES]; /* from the first on; also read without the lock */
    bool ticking;
};

/* Enters its messages and its listener into the node's network. Before that is attached; the executor may come later.
 */
void manager_init(struct replica_manager *manager, struct node *node);
/* The executor is there, and nothing comes from the network yet. */
void manager_start(struct replica_manager *manager);
/* Nothing comes from the network any more, and the executor is silenced and settled: gives up what is on its way, and
 * with it the references to partitions. */
void manager_stop(struct replica_manager *manager);
void manager_free(struct replica_manager *manager);

/* A partition that has replicas elsewhere is known by its key from here on, until it is removed; more than once does
 * nothing. */
void manager_add(struct replica_manager *manager, struct partition *part);
void manager_remove(struct replica_manager *manager, struct partition *part);
/* Referenced; NULL: not known. */
struct partition *manager_find(struct replica_manager *manager, const struct replica_key *key);
/* Each that is known, referenced while it is called. -ENOMEM: some were left out. */
int manager_each(struct replica_manager *manager, void (*each)(struct partition *part, void *arg), void *arg);
/* The peer with that id, made if need be. NULL: no memory. */
struct replica_peer *manager_peer(struct replica_manager *manager, int32_t id);
/* This node may lead more than before: fetches that came early are looked at again. */
void manager_look_again(struct replica_manager *manager);
/* A number of this process that was never given before. */
uint64_t manager_number(struct replica_manager *manager);
int64_t manager_now_ms(const struct replica_manager *manager);
int64_t manager_lag_max_ms(const struct replica_manager *manager);
/* The epoch of this node's registration, as applied; -1: none. */
int64_t manager_node_epoch(struct replica_manager *manager);

#endif
