/* replication/metadata/metadata_apply.c: what each command does to the state. The command fits. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bugs.h"
#include "replication/metadata/metadata_internal.h"

/* ---- nodes ---- */

static void change_partition(struct partition_registration *part, const struct partition_registration *to)
{
    struct partition_registration now = *to;
    now.leader_epoch = part->leader_epoch + (to->leader != part->leader);
    now.partition_epoch = part->partition_epoch + 1;
    *part = now;
}

/* There is no other replica that could have more of it: who leads goes on, in an epoch of its own. */
static bool lead_on(struct partition_registration *part, int32_t id)
{
    if (part->replicas.count != 1 || part->leader != id)
        return false;
    part->leader_epoch++;
    part->partition_epoch++;
    return true;
}

/* A node that stopped uncleanly, or comes with another disk, has lost what was not synced, or all: it is in sync with
 * nothing (REPLICATION.md, rule 11). */
static void forget_node(struct metadata *meta, int32_t id, bool lost)
{
    struct partition_registration to;
    for (size_t i = 0; i < meta->topic_count; i++) {
        for (int32_t p = 0; p < meta->topics[i]->partitions; p++) {
            if ((lost || !lead_on(&meta->topics[i]->parts[p], id)) &&
                election_forget(&meta->topics[i]->parts[p], id, lost, &to))
                change_partition(&meta->topics[i]->parts[p], &to);
        }
    }
}

static int register_node(struct metadata *meta, const struct command *cmd, int64_t offset)
{
    struct node_registration registration = cmd->registration;
    if (registration.epoch < 0)
        registration.epoch = offset;
    for (size_t i = 0; i < meta->node_count; i++) {
        struct node_registration *node = &meta->nodes[i];
        if (node->id != registration.id)
            continue;
        bool lost = node->incarnation != 0 && node->incarnation != registration.incarnation &&
                    node->incarnation != registration.renewed;
        *node = registration;
        if (lost || (registration.unclean && !BUG(leads_on_after_loss)))
            forget_node(meta, registration.id, lost);
        return 0;
    }
    struct node_registration *nodes = realloc(meta->nodes, (meta->node_count + 1) * sizeof *nodes);
    if (nodes == NULL)
        return -ENOMEM;
    meta->nodes = nodes;
    nodes[meta->node_count++] = registration;
    return 0;
}

static void change_node(struct metadata *meta, const struct command *cmd)
{
    for (size_t i = 0; i < meta->node_count; i++) {
        if (meta->nodes[i].id != cmd->registration.id)
            continue;
        meta->nodes[i].fenced = cmd->registration.fenced;
        meta->nodes[i].shutting_down = cmd->registration.shutting_down;
    }
}

/* If it comes back it is a new node, with the offset of that registration for its epoch: above all that it had. */
static void unregister_node(struct metadata *meta, const struct command *cmd)
{
    size_t i = 0;
    while (meta->nodes[i].id != cmd->registration.id)
        i++;
    meta->node_count--;
    memmove(&meta->nodes[i], &meta->nodes[i + 1], (meta->node_count - i) * sizeof *meta->nodes);
}

static void change_partitions(struct metadata *meta, const struct command *cmd)
{
    for (int32_t i = 0; i < cmd->change_count; i++) {
        const struct partition_change *change = &cmd->changes[i];
        bool found;
        size_t place = metadata_id_place(meta, change->topic_id, &found);
        meta->topics_by_id[place]->parts[change->index] = change->to;
    }
}

/* ---- topics ---- */

/* The names in MOUNT changed. */
static void touch_root(struct metadata *meta, int64_t time_ms)
{
    meta->root.mtime_ms = time_ms;
    meta->root.ctime_ms = time_ms;
}

/* New partitions have nothing yet, so whoever lives is in sync; where nobody does, whoever comes first may lead. */
static void new_partition(const struct metadata *meta, const int32_t *replicas, int32_t factor,
                          struct partition_registration *out)
{
    struct election_nodes nodes = metadata_election_nodes(meta);
    *out = (struct partition_registration){.leader = LEADER_NONE};
    for (int32_t i = 0; i < factor; i++) {
        replica_set_add(&out->replicas, replicas[i]);
        replica_set_add(nodes.stays(nodes.arg, replicas[i]) ? &out->isr : &out->elr, replicas[i]);
    }
    if (out->isr.count == 0)
        return;
    out->leader = out->isr.ids[0];
    out->elr.count = 0;
}

static void new_partitions(const struct metadata *meta, const struct command *cmd, struct partition_registration *parts)
{
    for (int32_t i = 0; i < cmd->replica_count / cmd->replication_factor; i++) {
        new_partition(meta, cmd->replicas + (size_t)i * (size_t)cmd->replication_factor, cmd->replication_factor,
                      &parts[i]);
    }
}

static void insert(struct metadata_topic **topics, size_t count, size_t place, struct metadata_topic *topic)
{
    memmove(&topics[place + 1], &topics[place], (count - place) * sizeof(struct metadata_topic *));
    topics[place] = topic;
}

static int grow(struct metadata_topic ***topics, size_t count)
{
    struct metadata_topic **grown = realloc(*topics, count * sizeof(struct metadata_topic *));
    if (grown == NULL)
        return -ENOMEM;
    *topics = grown;
    return 0;
}

/* Its settings as it is made. */
static int set_up(const struct metadata *meta, struct metadata_topic *topic, const struct command *cmd)
{
    /* Kafka's for its own, and what no default for users' topics may change. */
    static const char *const internal[][2] = {
        {"cleanup.policy", "compact"},
        {"framing", "msgpack"},
        {"max.message.bytes", "1048576"},
        {"segment.bytes", "104857600"},
    };
    /* A topic keeps the framing it was made with when the cluster's default changes: its records have it. */
    if (!topic_name_internal(cmd->topic))
        return config_set_put(&topic->config, "framing", config_in_force(&meta->config, NULL, "framing"));
    for (size_t i = 0; i < sizeof internal / sizeof internal[0]; i++) {
        if (config_set_put(&topic->config, internal[i][0], internal[i][1]) != 0)
            return -ENOMEM;
    }
    return 0;
}

static int create_topic(struct metadata *meta, const struct command *cmd)
{
    bool found;
    struct metadata_topic *topic = calloc(1, sizeof *topic);
    if (topic == NULL)
        return -ENOMEM;
    topic->parts = calloc((size_t)cmd->partitions, sizeof *topic->parts);
    if (topic->parts == NULL)
        goto err_after_topic;
    if (set_up(meta, topic, cmd) != 0)
        goto err_after_topic;
    if (grow(&meta->topics, meta->topic_count + 1) != 0 || grow(&meta->topics_by_id, meta->topic_count + 1) != 0)
        goto err_after_topic;

    new_partitions(meta, cmd, topic->parts);
    memcpy(topic->name, cmd->topic, sizeof topic->name);
    memcpy(topic->id, cmd->id, UUID_BYTES);
    topic->attr = cmd->attr;
    topic->partitions = cmd->partitions;
    topic->replication_factor = cmd->replication_factor;
    insert(meta->topics, meta->topic_count, metadata_topic_place(meta, cmd->topic, &found), topic);
    insert(meta->topics_by_id, meta->topic_count, metadata_id_place(meta, cmd->id, &found), topic);
    meta->topic_count++;
    if (!topic_name_internal(topic->name))
        touch_root(meta, cmd->time_ms);
    return 0;

err_after_topic:
    metadata_topic_free(topic);
    return -ENOMEM;
}

static void take_out(struct metadata_topic **topics, size_t count, size_t place)
{
    memmove(&topics[place], &topics[place + 1], (count - place - 1) * sizeof(struct metadata_topic *));
}

static void delete_topic(struct metadata *meta, const struct command *cmd)
{
    bool found;
    size_t place = metadata_topic_place(meta, cmd->topic, &found);
    struct metadata_topic *topic = meta->topics[place];
    take_out(meta->topics, meta->topic_count, place);
    take_out(meta->topics_by_id, meta->topic_count, metadata_id_place(meta, topic->id, &found));
    meta->topic_count--;
    metadata_topic_free(topic);
    touch_root(meta, cmd->time_ms);
}

static int create_partitions(struct metadata *meta, const struct command *cmd)
{
    struct metadata_topic *topic = metadata_topic_find(meta, cmd->topic);
    struct partition_registration *parts = realloc(topic->parts, (size_t)cmd->partitions * sizeof *parts);
    if (parts == NULL)
        return -ENOMEM;
    topic->parts = parts;
    new_partitions(meta, cmd, parts + topic->partitions);
    topic->partitions = cmd->partitions;
    topic->attr.mtime_ms = cmd->time_ms;
    topic->attr.ctime_ms = cmd->time_ms;
    return 0;
}

/* The controller goes on with the moves. */
static void assign_replicas(struct metadata *meta, const struct command *cmd)
{
    struct metadata_topic *topic = metadata_topic_find(meta, cmd->topic);
    int32_t factor = cmd->replication_factor, first = cmd->partition < 0 ? 0 : cmd->partition;
    for (int32_t i = 0; i < cmd->replica_count / factor; i++) {
        struct partition_registration *part = &topic->parts[first + i];
        struct partition_registration to;
        struct replica_set target = {.count = factor};
        memcpy(target.ids, cmd->replicas + (size_t)i * (size_t)factor, (size_t)factor * sizeof target.ids[0]);
        election_move(part, &target, &to);
        change_partition(part, &to);
    }
    if (cmd->partition < 0)
        topic->replication_factor = factor;
    topic->attr.ctime_ms = cmd->time_ms;
}

/* ---- attributes and settings ---- */

void metadata_set_attr(struct tree_attr *attr, const struct command *cmd)
{
    if ((cmd->set & ATTR_UID) != 0)
        attr->uid = cmd->attr.uid;
    if ((cmd->set & ATTR_GID) != 0)
        attr->gid = cmd->attr.gid;
    if ((cmd->set & ATTR_DIR_MODE) != 0)
        attr->dir_mode = cmd->attr.dir_mode;
    if ((cmd->set & ATTR_FILE_MODE) != 0)
        attr->file_mode = cmd->attr.file_mode;
    if ((cmd->set & COMMAND_ATTR_MTIME) != 0)
        attr->mtime_ms = cmd->attr.mtime_ms;
    attr->ctime_ms = cmd->time_ms;
}

bool metadata_says_all(const struct command *cmd)
{
    static const unsigned all = ATTR_UID | ATTR_GID | ATTR_DIR_MODE | ATTR_FILE_MODE | COMMAND_ATTR_MTIME;

    return (cmd->set & all) == all;
}

/* MOUNT's. What nobody has said of `.groups` is said with it. */
static void set_root(struct metadata *meta, const struct command *cmd)
{
    mode_t groups_mode = meta->groups_attr.dir_mode;

    metadata_set_attr(&meta->root, cmd);
    if (!metadata_says_all(cmd))
        return;
    meta->root_said = true;
    if (meta->groups_said)
        return;
    meta->groups_attr = meta->root;
    meta->groups_attr.dir_mode = groups_mode;
    meta->groups_said = true;
}

int metadata_change_set(struct config_set *set, const struct config_set *cluster, const struct command *cmd)
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
    struct metadata_topic *topic = cmd->topic[0] != '\0' ? metadata_topic_find(meta, cmd->topic) : NULL;
    if (BUG(later_clock_wins) && topic != NULL && cmd->time_ms < topic->attr.ctime_ms)
        return 0;
    int rc =
        metadata_change_set(topic != NULL ? &topic->config : &meta->config, topic != NULL ? &meta->config : NULL, cmd);
    for (int32_t i = 0; rc == 0 && cmd->seals != NULL && i < topic->partitions; i++) {
        topic->parts[i].leader_epoch++; /* appends go on */
        topic->parts[i].partition_epoch++;
    }
    if (rc == 0)
        *(topic != NULL ? &topic->attr.ctime_ms : &meta->root.ctime_ms) = cmd->time_ms;
    return rc;
}

int metadata_apply(struct metadata *meta, const struct command *cmd, int64_t offset, struct err *e)
{
    struct verdict verdict = {.e = e};
    int rc = metadata_fits(meta, cmd, &verdict);
    meta->next_offset = offset + 1;
    if (rc != 0)
        return verdict.race ? rc : err_wrap(e, -EBADMSG, "%s that cannot be applied", command_type_name(cmd->type));
    if (cmd->cluster[0] != '\0' && meta->cluster_id[0] == '\0')
        memcpy(meta->cluster_id, cmd->cluster, sizeof meta->cluster_id);
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
    case COMMAND_ASSIGN_REPLICAS:
        assign_replicas(meta, cmd);
        break;
    case COMMAND_SET_ATTR:
        if (cmd->topic[0] != '\0')
            metadata_set_attr(&metadata_topic_find(meta, cmd->topic)->attr, cmd);
        else
            set_root(meta, cmd);
        break;
    case COMMAND_SET_CONFIG:
    case COMMAND_REMOVE_CONFIG:
        rc = change_config(meta, cmd);
        break;
    case COMMAND_CHANGE_NODE:
        change_node(meta, cmd);
        break;
    case COMMAND_UNREGISTER_NODE:
        unregister_node(meta, cmd);
        break;
    case COMMAND_CHANGE_PARTITIONS:
    case COMMAND_SET_PARTITIONS:
        change_partitions(meta, cmd);
        break;
    case COMMAND_PRODUCER_IDS:
        meta->next_producer_id += cmd->count;
        break;
    case COMMAND_BEGIN_EPOCH:
        meta->epoch = cmd->epoch;
        break;
    case COMMAND_SET_VOTERS:
        meta->voters = (struct metadata_voters){.offset = offset, .voters = cmd->voters, .target = cmd->target};
        break;
    case COMMAND_CREATE_GROUP:
    case COMMAND_DELETE_GROUP:
    case COMMAND_SET_GROUP_ATTR:
    case COMMAND_SET_GROUP_CONFIG:
    case COMMAND_REMOVE_GROUP_CONFIG:
        rc = metadata_group_apply(meta, cmd);
        break;
    case COMMAND_TYPES:
        break;
    }
    return rc == 0 ? 0 : err_sys(e, rc, "metadata command %s", command_type_name(cmd->type));
}
