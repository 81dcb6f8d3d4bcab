/* replication/node/node_commands.c: the calls of node.h that change the tree. Each builds a command, has it decided,
 * and does what is due after that with no lock held: answering those whom the change sets free. */
#include "replication/node/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/node/node_internal.h"

static int64_t wall_ms(struct node *node)
{
    return node->clock->wall_ms(node->clock);
}

/* name NULL: MOUNT, "". -EINVAL: longer than a topic's name can be. */
static int set_topic(struct command *cmd, const char *name, struct err *e)
{
    if (name == NULL)
        name = "";
    if (strlen(name) >= sizeof cmd->topic)
        return err_set(e, -EINVAL, "%s: not a topic's name", name);
    memcpy(cmd->topic, name, strlen(name) + 1);
    return 0;
}

static struct topic *find(struct node *node, const char *name, struct err *e)
{
    struct topic *topic = catalog_find(&node->catalog, name);
    if (topic == NULL)
        err_set(e, -ENOENT, "no topic %s", name);
    return topic;
}

/* As quorum_propose(), of what can make room. */
static int propose_with_reserve(struct node *node, const struct command *cmd, struct err *e)
{
    int rc = quorum_propose(&node->quorum, cmd, e);
    if (reserve_begin(&node->reserve, rc)) {
        rc = quorum_propose(&node->quorum, cmd, e);
        reserve_end(&node->reserve);
    }
    return rc;
}

/* ---- topics ---- */

/* Replicas for partitions first … first + count - 1: leaders go around the nodes, followers to the nodes behind. */
static int place(struct command *cmd, const struct metadata *meta, int32_t first, int32_t count)
{
    size_t factor = (size_t)cmd->replication_factor;
    cmd->replica_count = count * cmd->replication_factor;
    cmd->replicas = calloc((size_t)cmd->replica_count, sizeof *cmd->replicas);
    if (cmd->replicas == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < (size_t)count; i++)
        for (size_t j = 0; j < factor; j++)
            cmd->replicas[i * factor + j] = meta->nodes[((size_t)first + i + j) % meta->node_count].id;
    return 0;
}

static int32_t cluster_number(const struct metadata *meta, const char *name)
{
    return (int32_t)strtol(config_in_force(&meta->config, NULL, name), NULL, 10);
}

static int plan_topic(struct node *node, struct command *cmd, struct err *e)
{
    const struct metadata *meta = quorum_acquire(&node->quorum);
    int rc;
    cmd->partitions = cluster_number(meta, "num.partitions");
    cmd->replication_factor = cluster_number(meta, "default.replication.factor");
    if ((size_t)cmd->replication_factor > meta->node_count)
        rc = err_set(e, -EINVAL, "default.replication.factor is %d, there are %zu nodes", cmd->replication_factor,
                     meta->node_count);
    else
        rc = place(cmd, meta, 0, cmd->partitions);
    quorum_release(&node->quorum);
    return rc;
}

/* The recovery point of a deleted topic must not be taken for that of a new one with its name. */
static int forget_deleted(struct node *node, struct err *e)
{
    uint64_t deleted = atomic_load(&node->topics_deleted), forgotten = atomic_load(&node->topics_forgotten);
    if (forgotten >= deleted)
        return 0;
    int rc = checkpoints_write_all(node, e);
    /* Of several who write at once the one that looked last counts. */
    while (rc == 0 && forgotten < deleted)
        if (atomic_compare_exchange_weak(&node->topics_forgotten, &forgotten, deleted))
            break;
    return rc;
}

/* Again whenever another topic was deleted between the writing of the checkpoints and the proposal. */
static int propose_topic(struct node *node, const struct command *cmd, struct err *e)
{
    int rc;
    do {
        rc = forget_deleted(node, e);
        if (rc == 0)
            rc = quorum_propose(&node->quorum, cmd, e);
    } while (rc == -EAGAIN);
    return rc;
}

/* What was decided could not be made on this disk: no room, most likely. The topic goes again. */
static int undo_if_not_made(struct node *node, const struct command *made, struct err *e)
{
    struct topic *topic = catalog_find(&node->catalog, made->topic);
    int rc = topic == NULL ? -ENOMEM : topic->open_rc;
    if (rc != 0) {
        struct command cmd = {.type = COMMAND_DELETE_TOPIC, .time_ms = wall_ms(node)};
        memcpy(cmd.topic, made->topic, sizeof cmd.topic);
        memcpy(cmd.id, made->id, UUID_BYTES);
        if (quorum_propose(&node->quorum, &cmd, e) == 0)
            err_sys(e, rc, "make the directories of topic %s", made->topic);
        if (topic != NULL)
            topic_wake_all(topic);
    }
    if (topic != NULL)
        topic_unref(topic);
    return rc;
}

int node_create_topic(struct node *node, const char *name, const struct tree_attr *attr, struct err *e)
{
    struct command cmd = {.type = COMMAND_CREATE_TOPIC, .time_ms = wall_ms(node), .attr = *attr};
    int rc = set_topic(&cmd, name, e);
    if (rc != 0)
        return rc;
    cmd.attr.mtime_ms = cmd.attr.ctime_ms = cmd.time_ms;
    rc = executor_uuid(node->executor, cmd.id);
    if (rc != 0)
        return err_sys(e, rc, "choose a topic id");
    rc = plan_topic(node, &cmd, e);
    if (rc == 0)
        rc = propose_topic(node, &cmd, e);
    if (rc == 0)
        rc = undo_if_not_made(node, &cmd, e);
    command_free(&cmd);
    return rc;
}

int node_delete_topic(struct node *node, const char *name, struct err *e)
{
    struct command cmd = {.type = COMMAND_DELETE_TOPIC, .time_ms = wall_ms(node)};
    struct topic_config config;
    struct topic *topic = find(node, name, e);
    if (topic == NULL)
        return -ENOENT;
    memcpy(cmd.topic, topic->name, sizeof cmd.topic);
    memcpy(cmd.id, topic->id, UUID_BYTES);
    topic_config(topic, &config);
    int rc = 0;
    /* Once with the gate open, so that a topic in use is not disturbed, once with nobody appending. */
    bool guarded = !config.delete_topic_enable;
    if (guarded && !topic_empty(topic))
        rc = -ENOTEMPTY;
    if (rc == 0) {
        if (guarded)
            pthread_rwlock_wrlock(&topic->gate);
        if (guarded && !topic_empty(topic))
            rc = -ENOTEMPTY;
        if (rc == 0)
            rc = propose_with_reserve(node, &cmd, e);
        if (guarded)
            pthread_rwlock_unlock(&topic->gate);
    }
    if (rc == -ENOTEMPTY)
        err_set(e, rc, "topic %s holds records and its delete.topic.enable is false", name);
    if (rc == 0)
        topic_wake_all(topic);
    topic_unref(topic);
    return rc;
}

int node_create_partitions(struct node *node, const char *name, int32_t count, struct err *e)
{
    struct command cmd = {.type = COMMAND_CREATE_PARTITIONS, .time_ms = wall_ms(node), .partitions = count};
    struct topic *topic = find(node, name, e);
    if (topic == NULL)
        return -ENOENT;
    memcpy(cmd.topic, topic->name, sizeof cmd.topic);
    memcpy(cmd.id, topic->id, UUID_BYTES);
    cmd.replication_factor = topic->replication_factor;
    int rc = 0;
    int32_t have = topic_partition_count(topic);
    if (count <= have || count > LIMIT_TOPIC_PARTITIONS) {
        rc = err_set(e, -EINVAL, "topic %s: %d partitions, it has %d and can have %d", name, count, have,
                     LIMIT_TOPIC_PARTITIONS);
        goto out;
    }
    rc = place(&cmd, quorum_acquire(&node->quorum), have, count - have);
    quorum_release(&node->quorum);
    if (rc == 0)
        rc = quorum_propose(&node->quorum, &cmd, e);
    if (rc == 0 && topic->open_rc != 0)
        rc = err_sys(e, topic->open_rc, "make the new partitions of topic %s", name);
    command_free(&cmd);
out:
    topic_unref(topic);
    return rc;
}

/* ---- attributes ---- */

int node_set_attr(struct node *node, const char *name, const struct tree_attr *attr, unsigned set, struct err *e)
{
    struct command cmd = {.type = COMMAND_SET_ATTR, .time_ms = wall_ms(node), .attr = *attr, .set = set};
    int rc = set_topic(&cmd, name, e);
    return rc != 0 ? rc : quorum_propose(&node->quorum, &cmd, e);
}

void node_root_attr(struct node *node, struct tree_attr *out)
{
    *out = quorum_acquire(&node->quorum)->root;
    quorum_release(&node->quorum);
}

/* ---- settings ---- */

/* framing says how to read what is there, so it changes only while nothing is. */
static int propose_framing(struct node *node, const struct command *cmd, struct err *e)
{
    struct topic *topic = find(node, cmd->topic, e);
    if (topic == NULL)
        return -ENOENT;
    pthread_rwlock_wrlock(&topic->gate);
    int rc = topic_awaits_none(topic) ? quorum_propose(&node->quorum, cmd, e) : -EBUSY;
    pthread_rwlock_unlock(&topic->gate);
    if (rc == -EBUSY)
        err_set(e, rc, "framing: topic %s is not empty, or records are on their way to it", cmd->topic);
    topic_unref(topic);
    return rc;
}

/* Parked appends, waiting readers and expired segments may all have been waiting for this. */
static void settings_changed(struct node *node, const char *name)
{
    struct topic **topics = NULL;
    size_t count = 0;
    if (name[0] == '\0') {
        node_topics(node, &topics, &count);
        for (size_t i = 0; i < count; i++) {
            topic_resume(topics[i]);
            topic_unref(topics[i]);
        }
        free(topics);
    } else {
        struct topic *topic = catalog_find(&node->catalog, name);
        if (topic != NULL) {
            topic_resume(topic);
            topic_unref(topic);
        }
    }
    cleaner_kick(&node->cleaner);
}

int node_set_config(struct node *node, const char *topic, const char *name, const char *value, struct err *e)
{
    struct command cmd = {.type = value != NULL ? COMMAND_SET_CONFIG : COMMAND_REMOVE_CONFIG, .time_ms = wall_ms(node)};
    int rc = set_topic(&cmd, topic, e);
    if (rc != 0)
        return rc;
    if (config_find(name) == NULL)
        return err_set(e, -EINVAL, "%s: no such setting", name);
    memcpy(cmd.name, name, strlen(name) + 1);
    if (value != NULL) {
        rc = config_check(name, value, e);
        if (rc != 0)
            return rc;
        memcpy(cmd.value, value, strlen(value) + 1);
    }
    if (topic != NULL && strcmp(name, "framing") == 0)
        rc = propose_framing(node, &cmd, e);
    else
        rc = propose_with_reserve(node, &cmd, e);
    if (rc == 0)
        settings_changed(node, cmd.topic);
    return rc;
}

int node_get_config(struct node *node, const char *topic, const char *name, char out[CONFIG_VALUE_BYTES])
{
    const struct metadata *meta = quorum_acquire(&node->quorum);
    const struct config_set *set = NULL;
    int rc = 0;
    if (topic != NULL && strcmp(topic, node->internal_topic->name) == 0) {
        set = &node->internal_meta.config;
    } else if (topic != NULL) {
        const struct metadata_topic *found = metadata_topic(meta, topic);
        if (found == NULL)
            rc = -ENOENT;
        else
            set = &found->config;
    }
    const char *value = rc == 0 ? config_in_force(&meta->config, set, name) : NULL;
    if (value != NULL)
        memcpy(out, value, strlen(value) + 1);
    else if (rc == 0)
        rc = -ENODATA;
    quorum_release(&node->quorum);
    return rc;
}
