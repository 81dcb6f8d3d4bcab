/* replication/metadata/metadata.c: one function for each kind of command; topics in an array sorted by name. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/base/limits.h"

void metadata_init(struct metadata *meta, const struct tree_attr *root)
{
    *meta = (struct metadata){.root = *root};
}

static void topic_free(struct metadata_topic *topic)
{
    config_set_free(&topic->config);
    free(topic->replicas);
    free(topic);
}

void metadata_free(struct metadata *meta)
{
    for (size_t i = 0; i < meta->topic_count; i++)
        topic_free(meta->topics[i]);
    free(meta->topics);
    free(meta->nodes);
    config_set_free(&meta->config);
    *meta = (struct metadata){0};
}

/* Where name is, or where it would go. */
static size_t topic_place(const struct metadata *meta, const char *name, bool *found)
{
    size_t low = 0, high = meta->topic_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(meta->topics[middle]->name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

static struct metadata_topic *topic_find(const struct metadata *meta, const char *name)
{
    bool found;
    size_t place = topic_place(meta, name, &found);
    return found ? meta->topics[place] : NULL;
}

const struct metadata_topic *metadata_topic(const struct metadata *meta, const char *name)
{
    return topic_find(meta, name);
}

const struct metadata_node *metadata_node(const struct metadata *meta, int32_t id)
{
    for (size_t i = 0; i < meta->node_count; i++)
        if (meta->nodes[i].id == id)
            return &meta->nodes[i];
    return NULL;
}

/* ---- checks ---- */

/* A command is checked when it is proposed and again when it is applied. In between others may have been applied, and
 * with one of them it may have lost a race: that is a verdict's `race`. What is refused without one has never fitted,
 * and was not proposed by this build. */
struct verdict {
    bool race;
    struct err *e;
};

/* A race's errno, which is returned. */
#define LOST(verdict, rc, ...) ((verdict)->race = true, err_set((verdict)->e, rc, __VA_ARGS__))

static int check_create_topic(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    struct err *e = verdict->e;
    if (topic_name_check(cmd->topic) != 0)
        return err_set(e, -EINVAL, "%s: not a topic's name", cmd->topic);
    if (topic_find(meta, cmd->topic) != NULL)
        return LOST(verdict, -EEXIST, "topic %s exists", cmd->topic);
    if (meta->topic_count >= LIMIT_TOPICS)
        return LOST(verdict, -ENOSPC, "there are %d topics already", LIMIT_TOPICS);
    if (cmd->partitions < 1 || cmd->partitions > LIMIT_TOPIC_PARTITIONS)
        return err_set(e, -EINVAL, "topic %s: %d partitions", cmd->topic, cmd->partitions);
    if (cmd->replica_count != cmd->partitions * cmd->replication_factor)
        return err_set(e, -EINVAL, "topic %s: %d replicas for %d partitions", cmd->topic, cmd->replica_count,
                       cmd->partitions);
    return 0;
}

/* The topic a command is about; one made again under the same name is another one. */
static int check_same_topic(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    const struct metadata_topic *topic = topic_find(meta, cmd->topic);
    if (topic == NULL || memcmp(topic->id, cmd->id, UUID_BYTES) != 0)
        return LOST(verdict, -ENOENT, "no topic %s", cmd->topic);
    return 0;
}

static int check_create_partitions(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    int rc = check_same_topic(meta, cmd, verdict);
    if (rc != 0)
        return rc;
    const struct metadata_topic *topic = topic_find(meta, cmd->topic);
    int32_t factor = topic->replication_factor;
    if (cmd->partitions > LIMIT_TOPIC_PARTITIONS)
        return err_set(verdict->e, -EINVAL, "topic %s: more than %d partitions", cmd->topic, LIMIT_TOPIC_PARTITIONS);
    if (cmd->replication_factor != factor || cmd->replica_count % factor != 0)
        return err_set(verdict->e, -EINVAL, "topic %s: replicas do not match its partitions", cmd->topic);
    if (cmd->partitions <= topic->partitions || cmd->replica_count != (cmd->partitions - topic->partitions) * factor)
        return LOST(verdict, -EINVAL, "topic %s has %d partitions already", cmd->topic, topic->partitions);
    return 0;
}

/* Of the pairs that Kafka checks against each other there is one here. */
static int check_lags(const struct config_set *cluster, const struct config_set *topic, const struct command *cmd,
                      struct verdict *verdict)
{
    static const char min_name[] = "min.compaction.lag.ms", max_name[] = "max.compaction.lag.ms";
    bool is_min = strcmp(cmd->name, min_name) == 0;
    if (!is_min && strcmp(cmd->name, max_name) != 0)
        return 0;
    const char *min = is_min ? cmd->value : config_in_force(cluster, topic, min_name);
    const char *max = is_min ? config_in_force(cluster, topic, max_name) : cmd->value;
    if (strtoll(min, NULL, 10) > strtoll(max, NULL, 10))
        return LOST(verdict, -EINVAL, "%s (%s) would be above %s (%s)", min_name, min, max_name, max);
    return 0;
}

static int check_config(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    struct err *e = verdict->e;
    const struct metadata_topic *topic = NULL;
    if (cmd->topic[0] != '\0' && (topic = topic_find(meta, cmd->topic)) == NULL)
        return LOST(verdict, -ENOENT, "no topic %s", cmd->topic);
    const struct config_def *def = config_find(cmd->name);
    if (def == NULL)
        return err_set(e, -EINVAL, "%s: no such setting", cmd->name);
    if (def->scope == CONFIG_CLUSTER && topic != NULL)
        return err_set(e, -EINVAL, "%s: a setting of the cluster, not of a topic", cmd->name);
    if (cmd->type == COMMAND_REMOVE_CONFIG) {
        if (config_set_get(topic != NULL ? &topic->config : &meta->config, cmd->name) == NULL)
            return LOST(verdict, -ENODATA, "%s: not set", cmd->name);
        return 0;
    }
    int rc = config_check(cmd->name, cmd->value, e);
    if (rc == 0)
        rc = check_lags(&meta->config, topic != NULL ? &topic->config : NULL, cmd, verdict);
    if (rc == 0 && strcmp(cmd->name, "default.replication.factor") == 0 &&
        strtoull(cmd->value, NULL, 10) > meta->node_count)
        rc = err_set(e, -EINVAL, "%s: %s is more than the number of nodes, %zu", cmd->name, cmd->value,
                     meta->node_count);
    return rc;
}

static int change_set(struct config_set *set, const struct config_set *cluster, const struct command *cmd);

/* Would the settings of this topic (NULL: the cluster's) contradict themselves? */
static int check_keys_of(const struct metadata_topic *topic, const struct config_set *before,
                         const struct config_set *after, struct err *e)
{
    const struct config_set *own = topic != NULL ? &topic->config : NULL;
    int rc = config_check_keys(after, own, e);
    if (rc == 0 || config_check_keys(before, own, NULL) != 0) /* not by this command */
        return 0;
    return topic != NULL ? err_wrap(e, rc, "topic %s", topic->name) : rc;
}

/* A compacted topic has to know where a key ends, whichever of the settings this command changes. */
static int check_keys(const struct metadata *meta, const struct command *cmd, struct err *e)
{
    if (strcmp(cmd->name, "cleanup.policy") != 0 && strcmp(cmd->name, "key.separator") != 0 &&
        strcmp(cmd->name, "framing") != 0)
        return 0;
    const struct metadata_topic *topic = cmd->topic[0] != '\0' ? topic_find(meta, cmd->topic) : NULL;
    struct config_set after;
    int rc = config_set_copy(&after, topic != NULL ? &topic->config : &meta->config);
    if (rc == 0)
        rc = change_set(&after, topic != NULL ? &meta->config : NULL, cmd);
    if (rc != 0) {
        err_sys(e, rc, "%s", cmd->name);
    } else if (topic != NULL) {
        rc = config_check_keys(&meta->config, &after, e);
    } else {
        rc = check_keys_of(NULL, &meta->config, &after, e);
        for (size_t i = 0; rc == 0 && i < meta->topic_count; i++)
            rc = check_keys_of(meta->topics[i], &meta->config, &after, e);
    }
    config_set_free(&after);
    return rc;
}

/* What every replay of the command asks, too. */
static int check(const struct metadata *meta, const struct command *cmd, struct verdict *verdict)
{
    switch (cmd->type) {
    case COMMAND_REGISTER_NODE:
        if (metadata_node(meta, cmd->node) == NULL && meta->node_count >= LIMIT_NODES)
            return LOST(verdict, -ENOSPC, "there are %d nodes already", LIMIT_NODES);
        return 0;
    case COMMAND_CREATE_TOPIC:
        return check_create_topic(meta, cmd, verdict);
    case COMMAND_DELETE_TOPIC:
        return check_same_topic(meta, cmd, verdict);
    case COMMAND_CREATE_PARTITIONS:
        return check_create_partitions(meta, cmd, verdict);
    case COMMAND_SET_ATTR:
        if (cmd->topic[0] != '\0' && topic_find(meta, cmd->topic) == NULL)
            return LOST(verdict, -ENOENT, "no topic %s", cmd->topic);
        return 0;
    case COMMAND_SET_CONFIG:
    case COMMAND_REMOVE_CONFIG:
        return check_config(meta, cmd, verdict);
    case COMMAND_TYPES:
        break;
    }
    return err_set(verdict->e, -EINVAL, "no such command");
}

int metadata_check(const struct metadata *meta, const struct command *cmd, struct err *e)
{
    struct verdict verdict = {.e = e};
    int rc = check(meta, cmd, &verdict);
    if (rc == 0 && (cmd->type == COMMAND_SET_CONFIG || cmd->type == COMMAND_REMOVE_CONFIG))
        rc = check_keys(meta, cmd, e);
    return rc;
}

/* ---- changes; the command was checked ---- */

static int register_node(struct metadata *meta, const struct command *cmd, int64_t offset)
{
    for (size_t i = 0; i < meta->node_count; i++) {
        if (meta->nodes[i].id == cmd->node) {
            meta->nodes[i].epoch = offset;
            return 0;
        }
    }
    struct metadata_node *nodes = realloc(meta->nodes, (meta->node_count + 1) * sizeof *nodes);
    if (nodes == NULL)
        return -ENOMEM;
    meta->nodes = nodes;
    nodes[meta->node_count++] = (struct metadata_node){.id = cmd->node, .epoch = offset};
    return 0;
}

/* The names in MOUNT changed. */
static void touch_root(struct metadata *meta, int64_t time_ms)
{
    meta->root.mtime_ms = time_ms;
    meta->root.ctime_ms = time_ms;
}

static int create_topic(struct metadata *meta, const struct command *cmd)
{
    bool found;
    size_t place = topic_place(meta, cmd->topic, &found);
    struct metadata_topic *topic = calloc(1, sizeof *topic);
    if (topic == NULL)
        return -ENOMEM;
    size_t replicas_bytes = (size_t)cmd->replica_count * sizeof *topic->replicas;
    topic->replicas = malloc(replicas_bytes);
    if (topic->replicas == NULL)
        goto err_after_topic;
    /* A topic keeps the framing it was made with when the cluster's default changes: its records have it. */
    if (config_set_put(&topic->config, "framing", config_in_force(&meta->config, NULL, "framing")) != 0)
        goto err_after_replicas;
    struct metadata_topic **topics = realloc(meta->topics, (meta->topic_count + 1) * sizeof *topics);
    if (topics == NULL)
        goto err_after_config;
    meta->topics = topics;

    memcpy(topic->replicas, cmd->replicas, replicas_bytes);
    memcpy(topic->name, cmd->topic, sizeof topic->name);
    memcpy(topic->id, cmd->id, UUID_BYTES);
    topic->attr = cmd->attr;
    topic->partitions = cmd->partitions;
    topic->replication_factor = cmd->replication_factor;
    memmove(&topics[place + 1], &topics[place], (meta->topic_count - place) * sizeof *topics);
    topics[place] = topic;
    meta->topic_count++;
    touch_root(meta, cmd->time_ms);
    return 0;

err_after_config:
    config_set_free(&topic->config);
err_after_replicas:
    free(topic->replicas);
err_after_topic:
    free(topic);
    return -ENOMEM;
}

static void delete_topic(struct metadata *meta, const struct command *cmd)
{
    bool found;
    size_t place = topic_place(meta, cmd->topic, &found);
    topic_free(meta->topics[place]);
    meta->topic_count--;
    memmove(&meta->topics[place], &meta->topics[place + 1], (meta->topic_count - place) * sizeof *meta->topics);
    touch_root(meta, cmd->time_ms);
}

static int create_partitions(struct metadata *meta, const struct command *cmd)
{
    struct metadata_topic *topic = topic_find(meta, cmd->topic);
    size_t have = (size_t)topic->partitions * (size_t)topic->replication_factor, more = (size_t)cmd->replica_count;
    int32_t *replicas = realloc(topic->replicas, (have + more) * sizeof *replicas);
    if (replicas == NULL)
        return -ENOMEM;
    memcpy(replicas + have, cmd->replicas, more * sizeof *replicas);
    topic->replicas = replicas;
    topic->partitions = cmd->partitions;
    topic->attr.mtime_ms = cmd->time_ms;
    topic->attr.ctime_ms = cmd->time_ms;
    return 0;
}

static void set_attr(struct metadata *meta, const struct command *cmd)
{
    struct tree_attr *attr = cmd->topic[0] != '\0' ? &topic_find(meta, cmd->topic)->attr : &meta->root;
    if (cmd->set & ATTR_UID)
        attr->uid = cmd->attr.uid;
    if (cmd->set & ATTR_GID)
        attr->gid = cmd->attr.gid;
    if (cmd->set & ATTR_DIR_MODE)
        attr->dir_mode = cmd->attr.dir_mode;
    if (cmd->set & ATTR_FILE_MODE)
        attr->file_mode = cmd->attr.file_mode;
    if (cmd->set & COMMAND_ATTR_MTIME)
        attr->mtime_ms = cmd->attr.mtime_ms;
    attr->ctime_ms = cmd->time_ms;
}

/* cluster: NULL for the cluster's own settings. */
static int change_set(struct config_set *set, const struct config_set *cluster, const struct command *cmd)
{
    if (cmd->type == COMMAND_SET_CONFIG)
        return config_set_put(set, cmd->name, cmd->value);
    if (cluster != NULL && strcmp(cmd->name, "framing") == 0)
        return config_set_put(set, cmd->name, config_in_force(cluster, NULL, cmd->name));
    config_set_remove(set, cmd->name);
    return 0;
}

static int change_config(struct metadata *meta, const struct command *cmd)
{
    struct metadata_topic *topic = cmd->topic[0] != '\0' ? topic_find(meta, cmd->topic) : NULL;
    int rc = change_set(topic != NULL ? &topic->config : &meta->config, topic != NULL ? &meta->config : NULL, cmd);
    if (rc == 0)
        *(topic != NULL ? &topic->attr.ctime_ms : &meta->root.ctime_ms) = cmd->time_ms;
    return rc;
}

int metadata_apply(struct metadata *meta, const struct command *cmd, int64_t offset, struct err *e)
{
    struct verdict verdict = {.e = e};
    int rc = check(meta, cmd, &verdict);
    meta->next_offset = offset + 1;
    if (rc != 0)
        return verdict.race ? rc : err_wrap(e, -EBADMSG, "%s that cannot be applied", command_type_name(cmd->type));
    switch (cmd->type) {
    case COMMAND_REGISTER_NODE:
        rc = register_node(meta, cmd, offset);
        break;
    case COMMAND_CREATE_TOPIC:
        rc = create_topic(meta, cmd);
        break;
    case COMMAND_DELETE_TOPIC:
        delete_topic(meta, cmd);
        break;
    case COMMAND_CREATE_PARTITIONS:
        rc = create_partitions(meta, cmd);
        break;
    case COMMAND_SET_ATTR:
        set_attr(meta, cmd);
        break;
    case COMMAND_SET_CONFIG:
    case COMMAND_REMOVE_CONFIG:
        rc = change_config(meta, cmd);
        break;
    case COMMAND_TYPES:
        break;
    }
    return rc == 0 ? 0 : err_sys(e, rc, "metadata command %s", command_type_name(cmd->type));
}
