/* replication/node/node_stop.c: a node's stop, of one that runs and of one whose start has failed. What it led others
 * lead first, while it can still speak; then, in this order:
 *
 *     1. nothing comes: no message, no alarm; what has come is worked off
 *     2. the quorum ends what it was asked for, and takes no more
 *     3. goodbye: nothing is sent any more
 *     4. the partitions end what waits at them, and whoever hears of that goes on: rooms are all still there
 *     5. the room of groups goes, which is told of its appends' ends until then
 *     6. lists and alarms give back their references, and nobody takes one any more (manager.h)
 *     7. each topic's reference is the last one: logs are closed, and what they stand on goes
 *
 * Each step is settled before the next. Where it ran, before the 7th every log is flushed, the checkpoints are written,
 * and behind it, if all of that went well and no log is offline, the clean-shutdown mark. What fails is noted and the
 * rest goes on. */
#include "replication/node/node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "replication/executor/executor_uv.h"
#include "replication/node/data_lock.h"
#include "replication/group/groups.h"
#include "replication/node/node_internal.h"

void node_mounted(struct node *node, unsigned dev_major, unsigned dev_minor)
{
    data_lock_mounted(&node->lock, dev_major, dev_minor);
}

void node_stopping(struct node *node)
{
    data_lock_stopping(&node->lock);
}

void node_close_topics(struct node *node)
{
    struct topic **topics;
    size_t count;
    if (catalog_list(&node->replicas.catalog, &topics, &count) != 0)
        abort();
    for (size_t i = 0; i < count; i++) {
        topic_unref(catalog_remove(&node->replicas.catalog, topics[i]->name));
        assert(atomic_load(&topics[i]->refs) == 1);
        topic_unref(topics[i]);
    }
    free(topics);
}

/* All partitions, flushed by some works at once; the topics are the catalog's until then. */
struct flushes {
    struct partition **parts;
    size_t count, room;
    _Atomic size_t next;
    pthread_mutex_t lock;
    int rc; /* the first error */
    struct err e;
    bool clean; /* every log is in order */
};

static void quit_one(struct partition *part, void *arg)
{
    (void)arg;
    partition_quit(part);
}

static void stop_alarms(struct partition *part, void *arg)
{
    (void)arg;
    partition_stop_alarms(part, false);
}

int node_stop_rooms(struct node *node)
{
    struct executor *executor = node->executor;
    int rc;
    atomic_store(&node->replicas.stopping, true);
    node_links_hush(node);
    executor_silence(executor);
    executor_settle(executor);
    quorum_stop(&node->quorum);
    executor_settle(executor);
    node_links_stop(node);
    rc = manager_each_partition(&node->replicas, quit_one, NULL);
    /* What ended there may have more to do here, with any partition: a command gives back its seals. */
    executor_settle(executor);
    groups_free(node->group_room);
    node->group_room = NULL;
    membership_stop(&node->membership);
    manager_stop(&node->replicas);
    if (rc == 0)
        rc = manager_each_partition(&node->replicas, stop_alarms, NULL);
    return rc;
}

static void collect_one(struct partition *part, void *arg)
{
    struct flushes *all = arg;
    if (all->count == all->room) {
        size_t room = all->room == 0 ? 64 : 2 * all->room;
        struct partition **parts = realloc(all->parts, room * sizeof(struct partition *));
        if (parts == NULL) {
            all->clean = false;
            all->rc = -ENOMEM;
            return;
        }
        all->parts = parts;
        all->room = room;
    }
    all->parts[all->count++] = part;
}

static void flush_one(struct flushes *all, struct partition *part)
{
    bool offline = !partition_is_open(part) || log_offline(part->log) != 0;
    int rc = offline ? 0 : log_flush_files(part->log);
    if (!offline && rc == 0)
        return;
    pthread_mutex_lock(&all->lock);
    all->clean = false;
    if (rc != 0 && all->rc == 0)
        all->rc = err_set(&all->e, rc, "%s: its flush failed", part->name);
    pthread_mutex_unlock(&all->lock);
}

struct flush_work {
    struct work work;
    struct flushes *all;
};

static void flush_some(struct work *work)
{
    struct flushes *all = CONTAINER_OF(work, struct flush_work, work)->all;
    for (size_t i; (i = atomic_fetch_add(&all->next, 1)) < all->count;)
        flush_one(all, all->parts[i]);
}

static void flush_all(struct node *node, struct flushes *all)
{
    struct flush_work works[LIMIT_PROMPT_THREADS];
    for (size_t i = 0; i < LIMIT_PROMPT_THREADS && i < all->count; i++) {
        works[i] = (struct flush_work){.work.run = flush_some, .all = all};
        executor_prompt(node->executor, &works[i].work);
    }
    executor_settle(node->executor);
}

void node_stop_executor(struct node *node)
{
    reads_free(&node->replicas.reads);
    if (node->options.executor == NULL)
        executor_uv_stop(node->executor);
    forwarding_free(&node->replicas.forwarding);
}

int node_close(struct node *node, struct err *e)
{
    struct flushes all = {.lock = PTHREAD_MUTEX_INITIALIZER, .clean = true};
    struct err local = {0};
    atomic_store(&node->replicas.stopping, true);
    node_stopping(node);
    groups_stop(node->group_room);
    membership_leave(&node->membership);
    controller_driver_stop(&node->controller);
    quorum_resign(&node->quorum);
    int rc = node_stop_rooms(node);

    /* What an unclean stop before this start left may not have been looked at. */
    if (!atomic_load(&node->replicas.caught_up) && !node->replicas.known.clean_shutdown)
        all.clean = false;
    if (rc == 0)
        rc = manager_each_partition(&node->replicas, collect_one, &all);
    flush_all(node, &all);
    free(all.parts);
    if (rc == 0)
        rc = checkpoints_write_all(&node->replicas, &local);
    node_close_topics(node);
    quorum_close(&node->quorum);
    controller_driver_free(&node->controller);
    membership_free(&node->membership);
    topic_unref(node->replicas.internal_topic);
    config_set_free(&node->internal_meta.config);
    node_links_close(node);
    node_stop_executor(node); /* before the lock is another's */
    if (rc == 0 && all.clean)
        rc = identity_clean_set(node->io, node->data_dirfd, node->clock->wall_ms(node->clock), &local);

    reserve_close(&node->reserve);
    segment_cache_free(node->replicas.env.cache);
    node_close_data(node);
    node_free(node);
    if (all.rc != 0)
        return err_set(e, all.rc, "%s", all.e.text);
    return rc != 0 ? err_set(e, rc, "%s", local.text) : 0;
}
