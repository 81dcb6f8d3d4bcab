/* replication/replica/topic.c: names, references, and the partitions of a topic.
 *
 * A topic that was deleted is taken apart by bulk work once the last reference is gone, whoever gives that back. */
#include "replication/replica/topic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"

/* ---- life ---- */

static void on_reap(struct work *work);
static void on_resume(struct work *work);

struct topic *topic_new(struct replica_manager *manager, const struct metadata_topic *meta,
                        const struct config_set *cluster, bool own)
{
    struct topic *topic = calloc(1, sizeof *topic);
    if (topic == NULL)
        return NULL;
    topic->manager = manager;
    memcpy(topic->name, meta->name, sizeof topic->name);
    memcpy(topic->id, meta->id, UUID_BYTES);
    uuid_text(topic->id, topic->id_text);
    atomic_store(&topic->replication_factor, meta->replication_factor);
    topic->internal = own || topic_name_internal(meta->name);
    topic->own = own;
    atomic_store(&topic->refs, 1);
    topic->reap.run = on_reap;
    topic->resume.run = on_resume;
    topic->attr = meta->attr;
    config_parse(cluster, &meta->config, &topic->config);
    atomic_store(&topic->config_generation, 1);
    pthread_mutex_init(&topic->lock, NULL);

    /* Many appends must not keep an rmdir waiting for ever. */
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&topic->update_lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return topic;
}

static void topic_free(struct topic *topic, bool destroy)
{
    for (int32_t i = 0; i < atomic_load(&topic->partition_count); i++) {
        struct err e = {0};
        if (partition_free(topic->partitions[i], destroy, &e) != 0)
            log_line(LOG_ERR, "%s", e.text);
    }
    free(topic->partitions);
    pthread_rwlock_destroy(&topic->update_lock);
    pthread_mutex_destroy(&topic->lock);
    free(topic);
}

static void on_reap(struct work *work)
{
    struct topic *topic = CONTAINER_OF(work, struct topic, reap);
    struct replica_manager *manager = topic->manager;
    topic_free(topic, true);
    reserve_refill(manager->reserve);
}

struct topic *topic_ref(struct topic *topic)
{
    atomic_fetch_add_explicit(&topic->refs, 1, memory_order_relaxed);
    return topic;
}

void topic_unref(struct topic *topic)
{
    if (atomic_fetch_sub_explicit(&topic->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (atomic_load(&topic->deleted))
        executor_bulk(topic->manager->executor, &topic->reap);
    else
        topic_free(topic, false);
}

/* ---- partitions ---- */

/* -ENOMEM: it is not there. */
static int open_one(struct topic *topic, const struct metadata_topic *meta, const struct checkpoints *known, bool made)
{
    int32_t index = atomic_load(&topic->partition_count);
    struct partition *part;
    struct err e = {0};
    int rc = partition_open(topic, index, &meta->parts[index], known, made, &part, &e);
    atomic_fetch_add(&topic->manager->acted_count, 1);
    /* Corruption was logged by the log that went offline. */
    if (rc != 0 && (part == NULL || part->log == NULL) && topic->own)
        err_set(topic->manager->internal_reason, rc, "%s", e.text);
    else if (rc != 0 && (part == NULL || part->log == NULL))
        log_line(LOG_ERR, "%s-%" PRId32 " is offline: %s", topic->name, index, e.text);
    if (rc != 0 && topic->open_rc == 0)
        topic->open_rc = rc;
    if (part == NULL)
        return rc;
    if ((made && topic->manager->hooks.registered(topic->manager->hooks.arg)) || topic->own)
        partition_set_registration(part, &meta->parts[index]);
    pthread_mutex_lock(&topic->lock);
    topic->partitions[index] = part;
    atomic_store(&topic->partition_count, index + 1);
    pthread_mutex_unlock(&topic->lock);
    if (topic_is_heard(topic))
        partition_listen(part);
    return 0;
}

int topic_open_partitions(struct topic *topic, const struct metadata_topic *meta, const struct checkpoints *known,
                          bool made)
{
    int rc = 0;
    size_t size = (size_t)meta->partitions * sizeof(struct partition *);
    pthread_mutex_lock(&topic->lock);
    struct partition **partitions = realloc(topic->partitions, size);
    if (partitions != NULL)
        topic->partitions = partitions;
    pthread_mutex_unlock(&topic->lock);
    if (partitions == NULL)
        rc = -ENOMEM;
    topic->open_rc = 0;
    while (rc == 0 && atomic_load(&topic->partition_count) < meta->partitions)
        rc = open_one(topic, meta, known, made);
    return rc;
}

struct partition *topic_partition(struct topic *topic, int32_t index)
{
    pthread_mutex_lock(&topic->lock);
    bool there = index >= 0 && index < atomic_load(&topic->partition_count);
    struct partition *part = there ? topic->partitions[index] : NULL;
    pthread_mutex_unlock(&topic->lock);
    return part;
}

void topic_hear(struct topic *topic)
{
    bool first = atomic_fetch_add(&topic->heard, 1) == 0;
    for (int32_t i = 0; first && i < topic_partition_count(topic); i++)
        partition_listen(topic_partition(topic, i));
}

void topic_hear_no_more(struct topic *topic)
{
    atomic_fetch_sub(&topic->heard, 1);
}

bool topic_empty(struct topic *topic)
{
    for (int32_t i = 0; i < topic_partition_count(topic); i++) {
        struct partition *part = topic_partition(topic, i);
        if (partition_leads(part) && !partition_is_empty(part))
            return false;
    }
    return true;
}

bool topic_awaits_none(struct topic *topic)
{
    bool none = topic_empty(topic) && atomic_load(&topic->in_flight) == 0;
    for (int32_t i = 0; none && i < topic_partition_count(topic); i++)
        none = !partition_has_held(topic_partition(topic, i));
    return none;
}

bool topic_begin_flight(struct topic *topic, enum framing framing)
{
    pthread_rwlock_rdlock(&topic->update_lock);
    pthread_mutex_lock(&topic->lock);
    bool same = topic->config.log.framing == framing;
    pthread_mutex_unlock(&topic->lock);
    if (same)
        atomic_fetch_add(&topic->in_flight, 1);
    pthread_rwlock_unlock(&topic->update_lock);
    return same;
}

void topic_end_flight(struct topic *topic)
{
    atomic_fetch_sub(&topic->in_flight, 1);
}

/* ---- changes ---- */

void topic_update(struct topic *topic, const struct metadata_topic *meta, const struct config_set *cluster)
{
    struct topic_config config;
    config_parse(cluster, &meta->config, &config);
    atomic_store(&topic->replication_factor, meta->replication_factor);
    pthread_mutex_lock(&topic->lock);
    topic->attr = meta->attr;
    bool changed = memcmp(&config, &topic->config, sizeof config) != 0;
    bool framing = config.log.framing != topic->config.log.framing;
    pthread_mutex_unlock(&topic->lock);
    if (!changed)
        return;
    /* No append is between its look at the framing and the log. */
    if (framing)
        pthread_rwlock_wrlock(&topic->update_lock);
    pthread_mutex_lock(&topic->lock);
    topic->config = config;
    pthread_mutex_unlock(&topic->lock);
    for (int32_t i = 0; i < topic_partition_count(topic); i++)
        partition_renew_config(topic_partition(topic, i));
    if (framing)
        pthread_rwlock_unlock(&topic->update_lock);
    atomic_fetch_add(&topic->config_generation, 1);
}

static void queue_resume(struct topic *topic)
{
    if (atomic_exchange(&topic->resume_queued, true))
        return;
    topic_ref(topic);
    executor_prompt(topic->manager->executor, &topic->resume);
}

/* Lets in LIMIT_RESUME_APPENDS at most, from the partition on whose turn it is: the next turn begins behind the one
 * with which this one ends. true: there may be more. */
static bool let_in(struct topic *topic)
{
    int32_t count = topic_partition_count(topic), first = atomic_load(&topic->resume_at);
    int left = LIMIT_RESUME_APPENDS;
    for (int32_t i = 0; i < count && left > 0; i++) {
        int32_t at = (int32_t)(((int64_t)first + i) % count);
        atomic_store(&topic->resume_at, (at + 1) % count);
        left -= partition_let_in(topic_partition(topic, at), left);
    }
    return left == 0;
}

static void on_resume(struct work *work)
{
    struct topic *topic = CONTAINER_OF(work, struct topic, resume);
    atomic_store(&topic->resume_queued, false);
    bool looks = atomic_exchange(&topic->resume_looks, false);
    for (int32_t i = 0; looks && i < topic_partition_count(topic); i++)
        partition_resume(topic_partition(topic, i));
    if (let_in(topic))
        queue_resume(topic);
    topic_unref(topic);
}

void topic_resume(struct topic *topic)
{
    atomic_store(&topic->resume_looks, true);
    queue_resume(topic);
}

void topic_retire(struct topic *topic)
{
    struct replica_manager *manager = topic->manager;
    atomic_store(&topic->deleted, true);
    for (int32_t i = 0; i < topic_partition_count(topic); i++)
        partition_retire(topic_partition(topic, i));
    int rc = manager->io->fsync(manager->io, manager->topics_dirfd);
    if (rc != 0) {
        log_line(LOG_ERR, "delete topic %s: fsync of topics: %s", topic->name, strerror(-rc));
        (void)stray_note(&manager->stray, topic->name, topic->id); /* a power cut may bring the names back */
    }
}

void topic_wake_all(struct topic *topic)
{
    for (int32_t i = 0; i < topic_partition_count(topic); i++) {
        struct partition *part = topic_partition(topic, i);
        partition_stop_alarms(part, true);
        pthread_mutex_lock(&part->lock);
        struct partition_waiter *waiters = partition_collect(part, INT64_MAX);
        pthread_mutex_unlock(&part->lock);
        partition_wake(waiters, NULL);
        partition_hold_deleted(part);
    }
}

/* ---- what there is to ask ---- */

const char *topic_name(const struct topic *topic)
{
    return topic->name;
}

const char *topic_id(const struct topic *topic)
{
    return topic->id_text;
}

const uint8_t *topic_uuid(const struct topic *topic)
{
    return topic->id;
}

uint64_t topic_number(const struct topic *topic)
{
    /* The first five bytes are random in full (the version is in the seventh). */
    uint64_t number = 0;
    for (int i = 0; i < 5; i++)
        number = number << 8 | topic->id[i];
    return number;
}

bool topic_deleted(const struct topic *topic)
{
    return atomic_load(&topic->deleted);
}

bool topic_internal(const struct topic *topic)
{
    return topic->internal;
}

int32_t topic_partition_count(const struct topic *topic)
{
    return atomic_load(&topic->partition_count);
}

int topic_replication_factor(const struct topic *topic)
{
    struct quorum *quorum = topic->manager->quorum;
    const struct metadata_topic *known = metadata_topic_by_id(quorum_acquire(quorum), topic->id);
    int factor = known != NULL ? metadata_factor(known) : atomic_load(&topic->replication_factor);
    quorum_release(quorum);
    return factor;
}

void topic_attr(struct topic *topic, struct tree_attr *out)
{
    pthread_mutex_lock(&topic->lock);
    *out = topic->attr;
    pthread_mutex_unlock(&topic->lock);
}

uint64_t topic_config_generation(const struct topic *topic)
{
    return atomic_load_explicit(&topic->config_generation, memory_order_acquire);
}

void topic_config(struct topic *topic, struct topic_config *out)
{
    pthread_mutex_lock(&topic->lock);
    *out = topic->config;
    pthread_mutex_unlock(&topic->lock);
    out->log.obeyed = topic->internal;
}
