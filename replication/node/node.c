/* replication/node/node.c: a node's start, and what can be asked of it.
 *
 * Start: executor → directory → lock → address → identity → what the last stop said (clean or not, checkpoints) →
 * metadata log and its replay → topics → background. Everything that can be refused is read before anything is changed;
 * if the metadata turns out damaged after a clean stop the mark is put back. Stop: the reverse, with everything
 * flushed.
 */
#include "replication/node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <syslog.h>
#include <unistd.h>

#include "engine/base/bugs.h"
#include "engine/base/limits.h"
#include "replication/executor/executor_uv.h"
#include "replication/node/data_lock.h"
#include "replication/group/groups.h"
#include "replication/node/group_room.h"
#include "replication/node/handover.h"
#include "replication/node/node_internal.h"

/* ---- the directory ---- */

/* Calls step with a path and with each that leads to it. 0, or what step returned. */
static int each_part(struct io *io, const char *path,
                     int (*step)(struct io *io, const char *part, bool last, struct err *e), struct err *e)
{
    size_t len = strlen(path);
    char part[4096];
    if (len >= sizeof part)
        return err_sys(e, -ENAMETOOLONG, "%s", path);
    for (size_t end = 1; end <= len; end++) {
        if (path[end] != '/' && path[end] != '\0')
            continue;
        memcpy(part, path, end);
        part[end] = '\0';
        int rc = step(io, part, path[end] == '\0', e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static bool is_refused(int rc)
{
    return rc == -EROFS || rc == -EACCES || rc == -EPERM;
}

/* mkdir -p, mode 0700. */
static int make_part(struct io *io, const char *part, bool last, struct err *e)
{
    int rc = io->mkdir(io, AT_FDCWD, part, 0700);
    return rc == 0 || rc == -EEXIST || (!last && is_refused(rc)) ? 0 : err_sys(e, rc, "make %s", part);
}

/* Its name is on the disk. What a node may not read it has not made. */
static int sync_part(struct io *io, const char *part, bool last, struct err *e)
{
    const char *slash = strrchr(part, '/');
    char parent[4096];
    (void)last;
    snprintf(parent, sizeof parent, "%.*s", slash == NULL ? 1 : (int)(slash - part + 1), slash == NULL ? "." : part);
    int fd = io->open(io, AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return is_refused(fd) ? 0 : err_sys(e, fd, "open %s", parent);
    int rc = io->fsync(io, fd);
    io->close(io, fd);
    return rc == 0 || rc == -EROFS || rc == -EINVAL ? 0 : err_sys(e, rc, "fsync %s", parent);
}

/* Before the directory has an identity: its name may be that of an earlier start, which came no further. */
static int settle_path(struct node *node, struct err *e)
{
    return identity_is_there(node->io, node->data_dirfd) ? 0
                                                         : each_part(node->io, node->options.data_dir, sync_part, e);
}

static int open_directory(struct io *io, int dirfd, const char *name, int *out, struct err *e)
{
    int fd = io->open(io, dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_sys(e, fd, "open %s", name);
    *out = fd;
    return 0;
}

static int open_topics_directory(struct node *node, struct err *e)
{
    int rc = node->io->mkdir(node->io, node->data_dirfd, "topics", 0700);
    if (rc == 0)
        rc = node->io->fsync(node->io, node->data_dirfd);
    if (rc != 0 && rc != -EEXIST)
        return err_sys(e, rc, "make %s/topics", node->options.data_dir);
    return open_directory(node->io, node->data_dirfd, "topics", &node->replicas.topics_dirfd, e);
}

/* As many open segments as half of the descriptors that the system grants are good for: four files each and their
 * directory. */
static unsigned open_segments(void)
{
    enum { SEGMENT_DESCRIPTORS = SEGMENT_FILES + 1, LEAST_SEGMENTS = 8 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return LEAST_SEGMENTS;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t granted = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            limit.rlim_cur = granted;
    }
    rlim_t segments = limit.rlim_cur / 2 / SEGMENT_DESCRIPTORS;
    if (segments < LEAST_SEGMENTS)
        return LEAST_SEGMENTS;
    return segments < LIMIT_OPEN_SEGMENTS ? (unsigned)segments : LIMIT_OPEN_SEGMENTS;
}

/* ---- start ---- */

static void on_offline(void *arg, const char *name, const char *reason)
{
    struct node *node = arg;
    if (node->replicas.internal_reason == NULL)
        log_line(LOG_CRIT, "%s: %s", name, reason);
    else if (reason != node->replicas.internal_reason->text)
        err_set(node->replicas.internal_reason, -EBADMSG, "%s", reason);
}

static void on_flush_wanted(void *arg)
{
    flusher_want(&((struct node *)arg)->replicas.flusher);
}

static int open_env(struct node *node, struct err *e)
{
    node->replicas.env.io = node->io;
    node->replicas.env.clock = node->clock;
    node->replicas.env.topics_dirfd = node->replicas.topics_dirfd;
    atomic_store(&node->replicas.env.check_crcs, node->options.check_crcs);
    node->replicas.env.on_offline = on_offline;
    node->replicas.env.on_flush_wanted = on_flush_wanted;
    node->replicas.env.arg = node;
    node->replicas.env.cache = segment_cache_new(node->io, open_segments());
    return node->replicas.env.cache == NULL ? err_sys(e, -ENOMEM, "open %s", node->options.data_dir) : 0;
}

/* All of them, or the start fails: what is not there could be made again, and its checkpoints would be lost. -ENOMEM.
 */
static int open_groups(struct node *node, struct err *e)
{
    const struct metadata *meta = quorum_acquire(&node->quorum);
    int rc = 0;
    for (size_t i = 0; i < meta->group_count && rc == 0; i++) {
        struct node_group *group = group_table_add(&node->groups, meta->groups[i]);
        if (group == NULL)
            rc = err_sys(e, -ENOMEM, "group %s", meta->groups[i]->name);
        else
            node_group_unref(group);
    }
    quorum_release(&node->quorum);
    return rc;
}

/* Likewise. */
static int open_topics(struct node *node, const struct checkpoints *known, struct err *e)
{
    const struct metadata *meta = quorum_acquire(&node->quorum);
    int rc = 0;
    for (size_t i = 0; i < meta->topic_count && rc == 0; i++) {
        struct topic *topic = topic_new(&node->replicas, meta->topics[i], &meta->config, false);
        rc = topic == NULL ? -ENOMEM : topic_open_partitions(topic, meta->topics[i], known, false);
        if (topic != NULL)
            catalog_add(&node->replicas.catalog, topic);
        if (rc != 0)
            err_sys(e, rc, "topic %s", meta->topics[i]->name);
    }
    quorum_release(&node->quorum);
    return rc;
}

/* Where a log ends below its checkpointed high watermark, that is brought down before anything is appended: after the
 * next crash new records would pass for committed ones (rule 5). */
static void lower_checkpoints(struct node *node)
{
    struct err e = {""};
    int rc = atomic_load(&node->replicas.checkpoints_ahead) ? checkpoints_write_all(&node->replicas, &e) : 0;
    if (reserve_begin(&node->reserve, rc)) {
        rc = checkpoints_write_all(&node->replicas, &e);
        reserve_end(&node->reserve);
    }
    if (rc != 0)
        log_line(LOG_ERR, "%s: the checkpoints are ahead of the logs: %s", node->options.data_dir, e.text);
}

void node_caught_up(struct node *node)
{
    struct err e = {""};
    /* What it cannot see it leaves for the next start. */
    if (stray_look(&node->replicas, &e) != 0)
        log_line(LOG_ERR, "%s: %s", node->options.data_dir, e.text);
    pthread_mutex_lock(&node->replicas.checkpoint_lock);
    checkpoints_free(&node->replicas.known);
    atomic_store(&node->replicas.caught_up, true);
    pthread_mutex_unlock(&node->replicas.checkpoint_lock);
}

/* From the checkpoints on; the caller has the directory and its lock. *of_data: what fails has to do with that. */
static int open_state(struct node *node, bool *of_data, struct err *e)
{
    struct checkpoints *known = &node->replicas.known;
    int rc = checkpoints_read(node->io, node->data_dirfd, known, e);
    if (rc != 0)
        return rc;
    rc = identity_clean(node->io, node->data_dirfd, &known->clean_shutdown, e);
    bool clean = known->clean_shutdown; /* longer than `known` */
    if (rc == 0)
        rc = stray_load(&node->replicas, e);
    if (rc == 0 && !BUG(clean_mark_late))
        rc = identity_clean_clear(node->io, node->data_dirfd, e);
    if (rc != 0)
        goto err_after_known;
    rc = node_quorum_open(node, known, e);
    if (rc != 0)
        goto err_after_mark;
    rc = open_topics(node, known, e);
    if (rc == 0)
        rc = open_groups(node, e);
    if (rc != 0)
        goto err_after_quorum;
    node->checkpoints_by_name = checkpoints_are_by_name(known);
    lower_checkpoints(node);
    if (quorum_knows_all(&node->quorum)) {
        node_caught_up(node);
        past_heard(&node->past);
    }
    quorum_start(&node->quorum);
    *of_data = false;
    rc = node_links_start(node, e);
    if (rc != 0)
        goto err_after_quorum;
    *of_data = true;
    if (node->options.quorum_recover == node->options.id && (rc = node_quorum_recover(node, e)) != 0)
        goto err_after_quorum;
    rc = membership_start(&node->membership, !clean, e);
    if (rc != 0)
        goto err_after_quorum;
    return 0;

err_after_quorum:
    groups_stop(node->group_room);
    controller_driver_stop(&node->controller);
    (void)node_stop_rooms(node);
    node_close_topics(node);
    quorum_close(&node->quorum);
err_after_mark:
    if (node->replicas.internal_topic != NULL)
        topic_unref(node->replicas.internal_topic);
    config_set_free(&node->internal_meta.config);
    if (clean)
        identity_clean_set(node->io, node->data_dirfd, node->clock->wall_ms(node->clock), NULL);
err_after_known:
    checkpoints_free(known);
    return rc;
}

static bool is_registered(void *arg)
{
    return atomic_load(&((struct node *)arg)->membership.registered);
}

static bool has_lease(void *arg)
{
    return membership_has_lease(&((struct node *)arg)->membership);
}

static bool hand_over(void *arg, struct partition *part)
{
    return node_hand_over(arg, part);
}

static void init_replicas(struct node *node)
{
    struct replica_manager *replicas = &node->replicas;
    replicas->id = node->options.id;
    replicas->lag_max_ms = node->options.replica_lag_time_max_ms;
    replicas->io = node->io;
    replicas->clock = node->clock;
    replicas->network = &node->network;
    replicas->quorum = &node->quorum;
    replicas->reserve = &node->reserve;
    replicas->hooks = (struct manager_hooks){is_registered, has_lease, hand_over, node};
}

static int init(struct node *node, const struct node_options *options)
{
    node->options = *options;
    node->io = options->io != NULL ? options->io : io_posix();
    node->clock = options->clock != NULL ? options->clock : clock_system();
    int64_t now_ms = node->clock->wall_ms(node->clock);
    node->root_before = (struct tree_attr){.uid = geteuid(),
                                           .gid = getegid(),
                                           .dir_mode = 0755,
                                           .file_mode = 0644,
                                           .ctime_ms = now_ms,
                                           .mtime_ms = now_ms};
    node->options.data_dir = strdup(options->data_dir);
    if (node->options.data_dir == NULL)
        return -ENOMEM;
    init_replicas(node);
    network_init(&node->network, node->options.bounds);
    if (manager_init(&node->replicas) != 0) {
        network_free(&node->network);
        free((char *)node->options.data_dir);
        return -ENOMEM;
    }
    group_table_init(&node->groups);
    past_init(&node->past);
    cleaner_init(&node->cleaner, node);
    scrubber_init(&node->scrubber, node);
    return 0;
}

void node_free(struct node *node)
{
    manager_free(&node->replicas);
    network_free(&node->network);
    group_table_free(&node->groups);
    past_free(&node->past);
    free((char *)node->options.data_dir);
    free(node);
}

static int open_executor(struct node *node, struct err *e)
{
    node->executor = node->options.executor;
    int rc = node->executor != NULL ? 0 : executor_uv_start(node->clock, &node->executor, e);
    node->replicas.executor = node->past.executor = node->executor;
    return rc;
}

static int64_t session_timeout_ms(const struct node *node)
{
    enum { SESSION_TIMEOUT_MS = 3000 };
    return node->options.node_session_timeout_ms > 0 ? node->options.node_session_timeout_ms : SESSION_TIMEOUT_MS;
}

void node_close_data(struct node *node)
{
    node->io->close(node->io, node->replicas.topics_dirfd);
    node->io->close(node->io, node->data_dirfd);
    data_lock_release(&node->lock);
}

/* What may be wrong with this start and not with the directory, before that is given an identity: another one may be
 * meant for it. The address is free once the last daemon has given back the lock. */
static int check_start(struct node *node, bool *of_data, struct err *e)
{
    bool recovers = node->options.quorum_recover == node->options.id;
    if (recovers && !identity_is_there(node->io, node->data_dirfd))
        return err_set(e, -EINVAL, "quorum.recover: this node holds no metadata to make a quorum of");
    *of_data = false;
    int rc = node_links_bind(node, e);
    *of_data = rc == 0;
    return rc;
}

/* DATA, its lock, whose it is, and topics/ in it. Then node_close_data(); after a failure nothing of it is held.
 * *of_data: what fails has to do with the directory. */
static int open_data(struct node *node, bool *of_data, struct err *e)
{
    struct io *io = node->io;
    const char *path = node->options.data_dir;
    int rc = each_part(io, path, make_part, e);
    if (rc == 0)
        rc = open_directory(io, AT_FDCWD, path, &node->data_dirfd, e);
    if (rc != 0)
        return rc;
    node->replicas.data_dirfd = node->data_dirfd;
    rc = data_lock_take(io, node->executor, node->data_dirfd, path, LIMIT_LOCK_WAIT_MS, &node->lock, e);
    if (rc != 0)
        goto err_after_directory;
    rc = check_start(node, of_data, e);
    if (rc == 0)
        rc = settle_path(node, e);
    if (rc == 0)
        rc = identity_load(io, node->executor, node->data_dirfd, node->options.id, &node->identity, e);
    atomic_store(&node->in_cluster, rc == 0 && node->identity.cluster_id[0] != '\0');
    if (rc == 0)
        rc = open_topics_directory(node, e);
    if (rc == 0)
        return 0;
    if (*of_data)
        err_wrap(e, rc, "%s", path);
    data_lock_release(&node->lock);
err_after_directory:
    io->close(io, node->data_dirfd);
    return rc;
}

int node_open(const struct node_options *options, struct node **out, struct err *e)
{
    struct node *node = calloc(1, sizeof *node);
    if (node == NULL || init(node, options) != 0) {
        free(node);
        return err_sys(e, -ENOMEM, "open %s", options->data_dir);
    }
    bool of_data = true; /* what fails, from open_data() on */
    int rc = open_executor(node, e);
    if (rc != 0)
        goto err_after_init;
    manager_start(&node->replicas);
    rc = node_links_open(node, e);
    if (rc != 0)
        goto err_after_executor;
    rc = open_data(node, &of_data, e);
    if (rc != 0)
        goto err_after_links;
    rc = open_env(node, e);
    if (rc != 0)
        goto err_after_data;
    membership_init(&node->membership, node, session_timeout_ms(node));
    own_logs_init(&node->own_logs, node);
    controller_driver_init(&node->controller, node, session_timeout_ms(node));
    reserve_open(&node->reserve, node->io, node->data_dirfd, options->reserve_bytes);
    rc = group_room_open(node, e);
    if (rc == 0)
        rc = open_state(node, &of_data, e);
    if (rc != 0)
        goto err_after_env;
    cleaner_start(&node->cleaner);
    *out = node;
    return 0;

err_after_env:
    atomic_store(&node->replicas.stopping, true);
    executor_silence(node->executor);
    executor_settle(node->executor);
    groups_free(node->group_room); /* if it got so far that the room is gone, NULL */
    controller_driver_free(&node->controller);
    membership_free(&node->membership);
    reserve_close(&node->reserve);
    segment_cache_free(node->replicas.env.cache);
err_after_data:
    if (of_data)
        err_wrap(e, rc, "%s", node->options.data_dir);
    node_close_data(node);
err_after_links:
    node_links_close(node);
err_after_executor:
    node_stop_executor(node);
err_after_init:
    node_free(node);
    return rc;
}

/* ---- what there is to ask ---- */

int32_t node_id(const struct node *node)
{
    return node->options.id;
}

const char *node_cluster_id(const struct node *node)
{
    return atomic_load(&node->in_cluster) ? node->identity.cluster_id : "";
}

int node_data_dirfd(const struct node *node)
{
    return node->data_dirfd;
}

struct clock *node_clock(const struct node *node)
{
    return node->clock;
}

struct executor *node_executor(const struct node *node)
{
    return node->executor;
}

struct past *node_past(struct node *node)
{
    return &node->past;
}

struct topic *node_topic(struct node *node, const char *name)
{
    return topic_name_internal(name) ? NULL : catalog_find(&node->replicas.catalog, name);
}

struct topic *node_internal_topic(struct node *node, const char *name)
{
    return manager_internal_topic(&node->replicas, name);
}

int node_topics(struct node *node, struct topic ***out, size_t *count)
{
    size_t all, kept = 0;
    int rc = catalog_list(&node->replicas.catalog, out, &all);
    for (size_t i = 0; rc == 0 && i < all; i++) {
        if (topic_internal((*out)[i]))
            topic_unref((*out)[i]);
        else
            (*out)[kept++] = (*out)[i];
    }
    *count = kept;
    return rc;
}

int node_internal_topics(struct node *node, struct topic ***out, size_t *count)
{
    struct topic *offsets = catalog_find(&node->replicas.catalog, METADATA_OFFSETS_TOPIC);
    *out = malloc(2 * sizeof(struct topic *));
    if (*out == NULL) {
        if (offsets != NULL)
            topic_unref(offsets);
        return -ENOMEM;
    }
    (*out)[0] = topic_ref(node->replicas.internal_topic);
    (*out)[1] = offsets;
    *count = offsets != NULL ? 2 : 1;
    return 0;
}

static void each_of(struct topic *topic, void (*each)(struct partition *part, void *arg), void *arg)
{
    for (int32_t p = 0; p < topic_partition_count(topic); p++)
        each(topic_partition(topic, p), arg);
    topic_unref(topic);
}

int node_each_partition(struct node *node, void (*each)(struct partition *part, void *arg), void *arg)
{
    struct topic *offsets = node_internal_topic(node, METADATA_OFFSETS_TOPIC), **topics;
    size_t count;
    int rc = node_topics(node, &topics, &count);
    if (offsets != NULL)
        each_of(offsets, each, arg);
    for (size_t i = 0; rc == 0 && i < count; i++)
        each_of(topics[i], each, arg);
    if (rc == 0)
        free(topics);
    return rc;
}

/* ---- what commands have made ---- */

void node_root_attr(struct node *node, struct tree_attr *out)
{
    *out = quorum_acquire(&node->quorum)->root;
    quorum_release(&node->quorum);
}

int node_get_config(struct node *node, const char *topic, const char *name, char out[CONFIG_VALUE_BYTES])
{
    const struct metadata *meta = quorum_acquire(&node->quorum);
    const struct metadata_topic *found = NULL;
    if (topic != NULL && strcmp(topic, node->replicas.internal_topic->name) == 0)
        found = &node->internal_meta;
    else if (topic != NULL)
        found = metadata_topic(meta, topic);
    int rc = topic != NULL && found == NULL ? -ENOENT : metadata_get_config(meta, found, name, out);
    quorum_release(&node->quorum);
    return rc;
}
