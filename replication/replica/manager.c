/* replication/replica/manager.c: a table of partitions by key, a list of peers, and the beat. */
#include "replication/replica/manager.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/replica_message.h"

/* ---- partitions ---- */

static struct partition **bucket_of(struct replica_manager *manager, const uint8_t topic_id[UUID_BYTES], int32_t index)
{
    uint64_t hash = (uint64_t)index * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < UUID_BYTES; i++)
        hash = (hash ^ topic_id[i]) * 0x100000001b3u;
    return &manager->buckets[(hash >> 20) % MANAGER_BUCKETS];
}

/* The link that leads to it, or where it would be. Under the lock. */
static struct partition **link_of(struct replica_manager *manager, const uint8_t topic_id[UUID_BYTES], int32_t index)
{
    struct partition **link = bucket_of(manager, topic_id, index);
    while (*link != NULL && ((*link)->index != index || memcmp((*link)->topic->id, topic_id, UUID_BYTES) != 0))
        link = &(*link)->manager_next;
    return link;
}

void manager_add(struct replica_manager *manager, struct partition *part)
{
    pthread_mutex_lock(&manager->lock);
    struct partition **link = link_of(manager, part->topic->id, part->index);
    bool known = *link != NULL;
    if (!known) {
        part->manager_next = NULL;
        *link = part;
    }
    bool first = !manager->ticking;
    manager->ticking = true;
    pthread_mutex_unlock(&manager->lock);
    if (first)
        alarm_set(manager->executor, &manager->tick, LIMIT_BEAT_MS);
}

void manager_remove(struct replica_manager *manager, struct partition *part)
{
    pthread_mutex_lock(&manager->lock);
    struct partition **link = link_of(manager, part->topic->id, part->index);
    if (*link == part)
        *link = part->manager_next;
    pthread_mutex_unlock(&manager->lock);
}

struct partition *manager_find(struct replica_manager *manager, const struct replica_key *key)
{
    pthread_mutex_lock(&manager->lock);
    struct partition *part = *link_of(manager, key->topic_id, key->index);
    if (part != NULL)
        partition_ref(part);
    pthread_mutex_unlock(&manager->lock);
    return part;
}

int manager_each_replicated(struct replica_manager *manager, void (*each)(struct partition *part, void *arg), void *arg)
{
    struct partition **all = NULL;
    size_t count = 0, room = 0;
    int rc = 0;
    pthread_mutex_lock(&manager->lock);
    for (int i = 0; i < MANAGER_BUCKETS && rc == 0; i++) {
        for (struct partition *part = manager->buckets[i]; part != NULL; part = part->manager_next) {
            if (count == room) {
                room = room == 0 ? 64 : 2 * room;
                struct partition **grown = realloc(all, room * sizeof *grown);
                if (grown == NULL) {
                    rc = -ENOMEM;
                    break;
                }
                all = grown;
            }
            all[count++] = partition_ref(part);
        }
    }
    pthread_mutex_unlock(&manager->lock);
    for (size_t i = 0; i < count; i++) {
        each(all[i], arg);
        partition_unref(all[i]);
    }
    free(all);
    return rc;
}

struct topic *manager_internal_topic(struct replica_manager *manager, const char *name)
{
    if (topic_name_internal(name))
        return catalog_find(&manager->catalog, name);
    return strcmp(name, manager->internal_topic->name) == 0 ? topic_ref(manager->internal_topic) : NULL;
}

int manager_each_partition(struct replica_manager *manager, void (*each)(struct partition *part, void *arg), void *arg)
{
    struct topic **topics;
    size_t count;
    int rc = catalog_list(&manager->catalog, &topics, &count);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i <= count; i++) {
        struct topic *topic = i < count ? topics[i] : topic_ref(manager->internal_topic);
        for (int32_t index = 0; index < topic_partition_count(topic); index++)
            each(topic_partition(topic, index), arg);
        topic_unref(topic);
    }
    free(topics);
    return 0;
}

bool manager_has_partition(struct replica_manager *manager, const char *name)
{
    char topic_name[256];
    char *end;
    const char *dash = strrchr(name, '-');
    if (dash == NULL || dash == name || dash[1] < '0' || dash[1] > '9')
        return false;
    memcpy(topic_name, name, (size_t)(dash - name));
    topic_name[dash - name] = '\0';
    long index = strtol(dash + 1, &end, 10);
    struct topic *topic = catalog_find(&manager->catalog, topic_name);
    if (topic == NULL)
        topic = manager_internal_topic(manager, topic_name);
    if (topic == NULL)
        return false;
    bool has = *end == '\0' && index < topic_partition_count(topic);
    topic_unref(topic);
    return has;
}

/* ---- peers ---- */

static struct replica_peer *find_peer(struct replica_manager *manager, int32_t id)
{
    for (int i = 0; i < LIMIT_NODES_MET; i++) {
        struct replica_peer *peer = atomic_load(&manager->peers[i]);
        if (peer == NULL || peer->id == id)
            return peer;
    }
    return NULL;
}

static struct replica_peer *make_peer(struct replica_manager *manager, int32_t id)
{
    struct replica_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    peer->manager = manager;
    peer->id = id;
    if (serving_init(&peer->serving, peer) != 0)
        goto err_after_peer;
    if (fetcher_init(&peer->fetcher, peer) != 0)
        goto err_after_serving;
    return peer;

err_after_serving:
    serving_free(&peer->serving);
err_after_peer:
    free(peer);
    return NULL;
}

struct replica_peer *manager_peer(struct replica_manager *manager, int32_t id)
{
    struct replica_peer *peer = find_peer(manager, id);
    if (peer != NULL)
        return peer;
    pthread_mutex_lock(&manager->lock);
    peer = find_peer(manager, id);
    for (int i = 0; i < LIMIT_NODES_MET && peer == NULL; i++) {
        if (atomic_load(&manager->peers[i]) != NULL)
            continue;
        peer = make_peer(manager, id);
        atomic_store(&manager->peers[i], peer);
        break;
    }
    pthread_mutex_unlock(&manager->lock);
    return peer;
}

void manager_look_again(struct replica_manager *manager)
{
    for (int i = 0; i < LIMIT_NODES_MET; i++) {
        struct replica_peer *peer = atomic_load(&manager->peers[i]);
        if (peer == NULL)
            break;
        serving_look_again(&peer->serving);
    }
}

/* ---- what the network tells: its thread ---- */

static void lost(struct replica_manager *manager, int32_t id)
{
    /* What comes after it could not be told from what comes instead of it. */
    log_line(LOG_ERR, "node %d: out of memory: its connections begin anew", (int)id);
    network_drop(manager->network, id);
}

static int on_takes(void *arg, int32_t id)
{
    struct replica_manager *manager = arg;
    if (manager_peer(manager, id) != NULL)
        return 0;
    return atomic_load(&manager->peers[LIMIT_NODES_MET - 1]) != NULL ? -ENOSPC : -ENOMEM;
}

static void on_up(void *arg, int32_t id, const struct hello *hello)
{
    struct replica_manager *manager = arg;
    struct replica_peer *peer = manager_peer(manager, id);
    (void)hello;
    if (peer == NULL || fetcher_up(&peer->fetcher) != 0)
        lost(manager, id);
}

static void on_down(void *arg, int32_t id, bool goodbye)
{
    struct replica_manager *manager = arg;
    struct replica_peer *peer = find_peer(manager, id);
    (void)goodbye;
    if (peer == NULL)
        return;
    serving_down(&peer->serving);
    fetcher_down(&peer->fetcher);
}

static void on_leaders(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    struct replica_manager *manager = arg;
    struct replica_peer *peer = find_peer(manager, from);
    (void)channel;
    if (peer != NULL && fetcher_receive(&peer->fetcher, frame) == 0)
        return;
    frame_free(frame);
    lost(manager, from);
}

static void on_followers(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    struct replica_manager *manager = arg;
    struct replica_peer *peer = manager_peer(manager, from);
    (void)channel;
    if (peer != NULL && serving_receive(&peer->serving, frame) == 0)
        return;
    frame_free(frame);
    lost(manager, from);
}

/* A beat is whose its sender says. */
static void on_beat(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    struct replica_manager *manager = arg;
    struct replica_message msg;
    struct err e = {0};
    if (replica_beat_decode(frame->header, frame->header_bytes, &msg, &e) != 0) {
        log_line(LOG_ERR, "node %d sends %s", (int)from, e.text);
        network_drop(manager->network, from);
        frame_free(frame);
        return;
    }
    bool from_leader = msg.from_leader;
    replica_message_free(&msg);
    if (from_leader)
        on_leaders(arg, from, channel, frame);
    else
        on_followers(arg, from, channel, frame);
}

/* ---- the beat ---- */

static void look(struct partition *part, void *arg)
{
    (void)arg;
    partition_replica_tick(part);
}

static void on_tick(struct alarm *alarm)
{
    struct replica_manager *manager = CONTAINER_OF(alarm, struct replica_manager, tick);
    alarm_set(manager->executor, &manager->tick, LIMIT_BEAT_MS);
    live_traffic_beat(&manager->live);
    for (int i = 0; i < LIMIT_NODES_MET; i++) {
        struct replica_peer *peer = atomic_load(&manager->peers[i]);
        if (peer == NULL)
            break;
        serving_beat(&peer->serving);
        fetcher_beat(&peer->fetcher);
    }
    /* One at a time: a look that is held up holds up no beat, and no second look. */
    if (atomic_exchange(&manager->looking, true))
        return;
    (void)manager_each_replicated(manager, look, NULL);
    atomic_store(&manager->looking, false);
}

/* ---- life ---- */

int manager_init(struct replica_manager *manager)
{
    struct network *network = manager->network;
    static const enum message_kind from_leaders[] = {MESSAGE_RECORDS, MESSAGE_DIVERGING, MESSAGE_FENCED, MESSAGE_RESET};
    int rc = catalog_init(&manager->catalog);
    if (rc != 0)
        return rc;
    manager->listener = (struct network_listener){.takes = on_takes, .up = on_up, .down = on_down, .arg = manager};
    pthread_mutex_init(&manager->checkpoint_lock, NULL);
    stray_init(&manager->stray);
    pthread_rwlock_init(&manager->feed_lock, NULL);
    pthread_mutex_init(&manager->due_lock, NULL);
    pthread_mutex_init(&manager->lock, NULL);
    flusher_init(&manager->flusher, manager);
    deleter_init(&manager->deleter, manager);
    alarm_init(&manager->tick, WORK_URGENT, on_tick);
    for (size_t i = 0; i < sizeof from_leaders / sizeof *from_leaders; i++)
        network_handle(network, from_leaders[i], on_leaders, manager);
    network_handle(network, MESSAGE_FETCH, on_followers, manager);
    network_handle(network, MESSAGE_BEAT, on_beat, manager);
    network_listen(network, &manager->listener);
    return 0;
}

void manager_start(struct replica_manager *manager)
{
    uint64_t first = 0;
    /* Without chance they are still this process's own, for as long as a connection ends with its process. */
    (void)executor_random(manager->executor, &first, sizeof first);
    atomic_store(&manager->numbers, (first >> 2) + 1);
    isr_changes_init(&manager->changes, manager);
    forwarding_init(&manager->forwarding, manager);
    reads_init(&manager->reads, manager);
    manager->started = true;
}

void manager_stop(struct replica_manager *manager)
{
    atomic_store(&manager->left, true);
    for (int i = 0; i < LIMIT_NODES_MET; i++) {
        struct replica_peer *peer = atomic_load(&manager->peers[i]);
        if (peer == NULL)
            break;
        serving_stop(&peer->serving);
        fetcher_stop(&peer->fetcher);
    }
    if (!manager->started)
        return;
    isr_changes_stop(&manager->changes);
    reads_stop(&manager->reads);
}

void manager_free(struct replica_manager *manager)
{
    for (int i = 0; i < LIMIT_NODES_MET; i++) {
        struct replica_peer *peer = atomic_load(&manager->peers[i]);
        if (peer == NULL)
            break;
        serving_free(&peer->serving);
        fetcher_free(&peer->fetcher);
        free(peer);
    }
    if (manager->started)
        isr_changes_free(&manager->changes);
    checkpoints_free(&manager->known);
    deleter_free(&manager->deleter);
    stray_free(&manager->stray);
    catalog_free(&manager->catalog);
    pthread_mutex_destroy(&manager->lock);
    pthread_mutex_destroy(&manager->due_lock);
    pthread_rwlock_destroy(&manager->feed_lock);
    pthread_mutex_destroy(&manager->checkpoint_lock);
}

/* ---- questions ---- */

uint64_t manager_number(struct replica_manager *manager)
{
    return atomic_fetch_add(&manager->numbers, 1);
}

int64_t manager_now_ms(const struct replica_manager *manager)
{
    return manager->clock->mono_ms(manager->clock);
}

int64_t manager_lag_max_ms(const struct replica_manager *manager)
{
    return manager->lag_max_ms > 0 ? manager->lag_max_ms : LIMIT_REPLICA_LAG_MS;
}

void manager_tell_now(struct replica_manager *manager, int32_t id)
{
    struct replica_peer *peer = find_peer(manager, id);
    if (peer != NULL)
        serving_tell_now(&peer->serving);
}

void manager_registered(struct replica_manager *manager)
{
    for (int i = 0; i < LIMIT_NODES_MET; i++) {
        struct replica_peer *peer = atomic_load(&manager->peers[i]);
        if (peer == NULL)
            break;
        fetcher_anew(&peer->fetcher);
    }
}

int64_t manager_node_epoch(struct replica_manager *manager)
{
    struct quorum *quorum = manager->quorum;
    const struct node_registration *node = metadata_node(quorum_acquire(quorum), manager->id);
    int64_t epoch = node != NULL ? node->epoch : -1;
    quorum_release(quorum);
    return epoch;
}
