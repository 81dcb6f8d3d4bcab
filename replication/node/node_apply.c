/* replication/node/node_apply.c: what a decided command does to this node: the only place where it acts, whoever
 * proposed it. Metadata is as it says already; here the live topics follow, whoever waits for it goes on, and the layer
 * above hears of it.
 *
 * Runs on the quorum's applier, one command after the other, with no lock held: nobody else changes the metadata
 * meanwhile. What it calls back may use the disk and must not wait for a decision. */
#include "replication/group/groups.h"
#include "replication/node/node_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

/* ---- the feed ---- */

void node_set_feed(struct node *node, struct node_feed *feed)
{
    pthread_rwlock_wrlock(&node->replicas.feed_lock);
    node->replicas.feed = feed;
    pthread_rwlock_unlock(&node->replicas.feed_lock);
}

static void tell_changed(struct node *node, struct topic *topic)
{
    pthread_rwlock_rdlock(&node->replicas.feed_lock);
    if (node->replicas.feed != NULL)
        node->replicas.feed->topic_changed(node->replicas.feed, topic);
    pthread_rwlock_unlock(&node->replicas.feed_lock);
}

static void tell_gone(struct node *node, struct topic *topic)
{
    pthread_rwlock_rdlock(&node->replicas.feed_lock);
    if (node->replicas.feed != NULL)
        node->replicas.feed->topic_gone(node->replicas.feed, topic);
    pthread_rwlock_unlock(&node->replicas.feed_lock);
}

static void tell_group(struct node *node, struct node_group *group, bool gone)
{
    pthread_rwlock_rdlock(&node->replicas.feed_lock);
    if (node->replicas.feed != NULL)
        (gone ? node->replicas.feed->group_gone : node->replicas.feed->group_changed)(node->replicas.feed, group);
    pthread_rwlock_unlock(&node->replicas.feed_lock);
}

/* ---- before the decision ---- */

/* Files of version 1 go by name: the recovery point of a deleted topic must not be taken for that of a new one with its
 * name. Written once, they go by id. */
static int leave_names(struct node *node, struct err *e)
{
    int rc = node->checkpoints_by_name ? checkpoints_write_all(&node->replicas, e) : 0;
    if (rc == 0)
        node->checkpoints_by_name = false;
    return rc;
}

int node_prepare(void *arg, const struct command *cmd, struct err *e)
{
    return cmd->type == COMMAND_CREATE_TOPIC ? leave_names(arg, e) : 0;
}

/* ---- after it ---- */

/* REPLICATION.md, rule 10: it would be hidden here, and be as if it had never been acknowledged. */
static void __attribute__((noreturn)) end_without_memory(const char *what, const char *name)
{
    log_line(LOG_CRIT, "%s %s was decided, and there is no memory for it", what, name);
    abort();
}

/* Those that the topic has not yet. They are new, or were decided before this start, and then they may be on the disk.
 */
static void open_partitions(struct node *node, struct topic *topic, const struct metadata_topic *meta)
{
    bool new = atomic_load(&node->replicas.caught_up);
    if (topic_open_partitions(topic, meta, new ? NULL : &node->replicas.known, new) != 0)
        end_without_memory("topic", meta->name);
}

static void create_topic(struct node *node, const struct command *cmd)
{
    const struct metadata *meta = &node->quorum.meta;
    const struct metadata_topic *made = metadata_topic(meta, cmd->topic);
    struct err e = {""};
    /* Where another node leads the quorum nobody has asked node_prepare() here. */
    if (leave_names(node, &e) != 0)
        log_line(LOG_ERR, "%s: the checkpoints of version 1 are still there: %s", node->options.data_dir, e.text);
    struct topic *topic = topic_new(&node->replicas, made, &meta->config, false);
    if (topic == NULL)
        end_without_memory("topic", cmd->topic);
    open_partitions(node, topic, made);
    catalog_add(&node->replicas.catalog, topic_ref(topic));
    tell_changed(node, topic);
    topic_unref(topic);
}

static void delete_topic(struct node *node, const struct command *cmd)
{
    struct topic *topic = catalog_remove(&node->replicas.catalog, cmd->topic);
    if (topic == NULL)
        return;
    topic_retire(topic);
    topic_wake_all(topic);
    tell_gone(node, topic);
    topic_unref(topic);
}

/* Where more replicas are wanted than there are, a high watermark stands still from here on, and is after a crash what
 * the checkpoint says: so that nothing which was shown is hidden then, it says how far it is now. */
static void keep_high_watermarks(struct node *node)
{
    struct err e = {""};
    int rc = checkpoints_write(&node->replicas, CHECKPOINT_HIGH_WATERMARK, &e);
    if (reserve_begin(&node->reserve, rc)) {
        rc = checkpoints_write(&node->replicas, CHECKPOINT_HIGH_WATERMARK, &e);
        reserve_end(&node->reserve);
    }
    if (rc != 0)
        log_line(LOG_ERR, "min.insync.replicas: the high watermarks are not on the disk: %s", e.text);
}

/* Brings one topic, or all, up to date. Parked appends, waiting readers and expired segments may all have been waiting
 * for a setting. */
static void update_topics(struct node *node, const struct command *cmd)
{
    const struct metadata *meta = &node->quorum.meta;
    bool config = cmd->type == COMMAND_SET_CONFIG || cmd->type == COMMAND_REMOVE_CONFIG;
    if (config && strcmp(cmd->name, "min.insync.replicas") == 0)
        keep_high_watermarks(node);
    for (size_t i = 0; i < meta->topic_count; i++) {
        const struct metadata_topic *changed = meta->topics[i];
        if (cmd->topic[0] != '\0' && strcmp(changed->name, cmd->topic) != 0)
            continue;
        struct topic *topic = catalog_find(&node->replicas.catalog, changed->name);
        if (topic == NULL)
            continue;
        bool more = topic_partition_count(topic) < changed->partitions;
        if (more)
            open_partitions(node, topic, changed);
        if (more) /* one speaks for all that came: whoever watches looks for them */
            partition_segments_changed(topic_partition(topic, changed->partitions - 1));
        topic_update(topic, changed, &meta->config);
        if (config)
            topic_resume(topic);
        tell_changed(node, topic);
        topic_unref(topic);
    }
    if (config)
        cleaner_kick(&node->cleaner);
}

/* ---- registrations of partitions ---- */

static void count_change(struct node *node, struct partition *part, const struct partition_registration *to)
{
    pthread_mutex_lock(&part->lock);
    bool leader = to->leader != LEADER_NONE && to->leader_epoch != part->registration.leader_epoch;
    struct replica_set before = part->registration.isr;
    pthread_mutex_unlock(&part->lock);
    atomic_fetch_add(&node->leader_changes, leader);
    atomic_fetch_add(&node->isr_shrinks, !replica_set_within(&before, &to->isr));
    atomic_fetch_add(&node->isr_expands, !replica_set_within(&to->isr, &before));
}

/* What was decided on an earlier process of this node gives this one a part in nothing (REPLICATION.md, rule 48). Where
 * nobody else ever was, nobody else could lead what is only here; elsewhere it may have been copied since, and be led
 * by another node by now. That there is no replica here any more is so whichever process this is. */
static bool may_act_on(struct node *node, const struct partition_registration *registration)
{
    return atomic_load(&node->membership.registered) || !replica_set_has(&registration->replicas, node->options.id) ||
           (registration->replicas.count == 1 && !quorum_has_peers(&node->quorum));
}

/* Hands the live partition the registration that the metadata has. */
static void set_registration(struct node *node, struct topic *topic, const struct metadata_topic *meta, int32_t index)
{
    struct partition *part = topic_partition(topic, index);
    if (!may_act_on(node, &meta->parts[index])) {
        partition_come_back(part);
        return;
    }
    count_change(node, part, &meta->parts[index]);
    partition_set_registration(part, &meta->parts[index]);
    atomic_fetch_add(&node->replicas.acted_count, 1);
}

static void change_partitions(struct node *node, const struct command *cmd)
{
    for (int32_t i = 0; i < cmd->change_count; i++) {
        const struct metadata_topic *meta = metadata_topic_by_id(&node->quorum.meta, cmd->changes[i].topic_id);
        struct topic *topic = catalog_find(&node->replicas.catalog, meta->name);
        if (topic == NULL)
            continue;
        set_registration(node, topic, meta, cmd->changes[i].index);
        topic_unref(topic);
    }
}

static void set_registrations(struct node *node, const char *name)
{
    const struct metadata_topic *meta = metadata_topic(&node->quorum.meta, name);
    struct topic *topic = catalog_find(&node->replicas.catalog, name);
    if (topic == NULL)
        return;
    for (int32_t p = 0; p < meta->partitions; p++)
        set_registration(node, topic, meta, p);
    topic_unref(topic);
}

/* Another target moves them all. */
static void assign_replicas(struct node *node, const struct command *cmd)
{
    set_registrations(node, cmd->topic);
    update_topics(node, cmd);
}

/* What was sealed goes on only when the setting is in force. */
static void change_config(struct node *node, const struct command *cmd)
{
    update_topics(node, cmd);
    if (cmd->seals != NULL)
        set_registrations(node, cmd->topic);
}

void node_apply_registrations(struct node *node, int32_t replica)
{
    const struct metadata *meta = &node->quorum.meta;
    for (size_t i = 0; i < meta->topic_count; i++) {
        struct topic *topic = catalog_find(&node->replicas.catalog, meta->topics[i]->name);
        if (topic == NULL)
            continue;
        for (int32_t p = 0; p < meta->topics[i]->partitions; p++) {
            if (replica == 0 || replica_set_has(&meta->topics[i]->parts[p].replicas, replica))
                set_registration(node, topic, meta->topics[i], p);
        }
        topic_unref(topic);
    }
}

/* This node's own is where its part in partitions begins; another's may have taken it out of some ISRs. */
static void register_node(struct node *node, const struct command *cmd)
{
    bool self = cmd->registration.id == node->options.id;
    node_links_meet(node, cmd->registration.id, cmd->registration.host, cmd->registration.port);
    if (self && cmd->registration.process == node->process && !atomic_load(&node->replicas.caught_up))
        node_caught_up(node);
    if (self) {
        forwarding_registered(&node->replicas.forwarding,
                              metadata_node(&node->quorum.meta, cmd->registration.id)->epoch);
    }
    node_apply_registrations(node, self ? 0 : cmd->registration.id);
    if (self)
        manager_registered(&node->replicas);
    if (self && cmd->registration.process == node->process)
        past_heard(&node->past);
}

/* ---- consumer groups ---- */

static void create_group(struct node *node, const struct metadata_group *meta)
{
    struct node_group *group = group_table_add(&node->groups, meta);
    if (group == NULL)
        end_without_memory("group", meta->name);
    tell_group(node, group, false);
    node_group_unref(group);
}

static void delete_group(struct node *node, const char *name)
{
    struct node_group *group = group_table_remove(&node->groups, name);
    if (group == NULL)
        return;
    tell_group(node, group, true);
    node_group_unref(group);
}

static void update_group(struct node *node, const char *name)
{
    struct node_group *group = group_table_find(&node->groups, name);
    if (group == NULL) /* `.groups` itself */
        return;
    node_group_update(group, metadata_group(&node->quorum.meta, name));
    tell_group(node, group, false);
    node_group_unref(group);
}

static void apply(struct node *node, const struct command *cmd)
{
    switch (cmd->type) {
    case COMMAND_CREATE_TOPIC:
        create_topic(node, cmd);
        break;
    case COMMAND_DELETE_TOPIC:
        delete_topic(node, cmd);
        break;
    case COMMAND_SET_ATTR:
        if (cmd->topic[0] != '\0')
            update_topics(node, cmd);
        break;
    case COMMAND_CREATE_PARTITIONS:
        update_topics(node, cmd);
        break;
    case COMMAND_SET_CONFIG:
    case COMMAND_REMOVE_CONFIG:
        change_config(node, cmd);
        break;
    case COMMAND_REGISTER_NODE:
        register_node(node, cmd);
        break;
    case COMMAND_ASSIGN_REPLICAS:
        assign_replicas(node, cmd);
        break;
    case COMMAND_CHANGE_PARTITIONS:
    case COMMAND_SET_PARTITIONS:
        change_partitions(node, cmd);
        break;
    case COMMAND_PRODUCER_IDS:
        if (cmd->node == node->options.id)
            forwarding_granted(&node->replicas.forwarding, node->quorum.meta.next_producer_id - cmd->count);
        break;
    case COMMAND_BEGIN_EPOCH:
    case COMMAND_SET_VOTERS:
        (void)node_join_cluster(node, &(struct err){""});
        break;
    case COMMAND_CREATE_GROUP:
        create_group(node, metadata_group(&node->quorum.meta, cmd->group));
        break;
    case COMMAND_DELETE_GROUP:
        delete_group(node, cmd->group);
        break;
    case COMMAND_SET_GROUP_ATTR:
    case COMMAND_SET_GROUP_CONFIG:
    case COMMAND_REMOVE_GROUP_CONFIG:
        update_group(node, cmd->group);
        break;
    case COMMAND_UNREGISTER_NODE:
        node_links_forget(node, cmd->registration.id);
        break;
    case COMMAND_CHANGE_NODE:
    case COMMAND_TYPES:
        break;
    }
}

void node_apply(void *arg, const struct command *cmd)
{
    struct node *node = arg;
    membership_applied(&node->membership, cmd);
    controller_driver_applied(&node->controller, cmd); /* first: what an election takes, no lease is carried on past */
    apply(node, cmd);
    groups_changed(node->group_room);
}

/* ---- a snapshot in place of commands ---- */

/* Topics of `old` that are no more. (Where they were not live yet, the look at strays knows of them: node_gone().) */
static void delete_others(struct node *node, const struct metadata *old)
{
    for (size_t i = 0; i < old->topic_count; i++) {
        struct command cmd = {.type = COMMAND_DELETE_TOPIC};
        if (metadata_topic_by_id(&node->quorum.meta, old->topics[i]->id) != NULL)
            continue;
        memcpy(cmd.topic, old->topics[i]->name, sizeof cmd.topic);
        delete_topic(node, &cmd);
    }
}

static void forget_others(struct node *node, const struct metadata *old)
{
    for (size_t i = 0; i < old->node_count; i++) {
        if (metadata_node(&node->quorum.meta, old->nodes[i].id) == NULL)
            node_links_forget(node, old->nodes[i].id);
    }
}

static void replace_groups(struct node *node, const struct metadata *old)
{
    const struct metadata *meta = &node->quorum.meta;
    for (size_t i = 0; i < old->group_count; i++) {
        const struct metadata_group *now = metadata_group(meta, old->groups[i]->name);
        if (now == NULL || memcmp(now->id, old->groups[i]->id, UUID_BYTES) != 0)
            delete_group(node, old->groups[i]->name);
    }
    for (size_t i = 0; i < meta->group_count; i++) {
        struct node_group *group = group_table_find(&node->groups, meta->groups[i]->name);
        if (group == NULL) {
            create_group(node, meta->groups[i]);
            continue;
        }
        node_group_unref(group);
        update_group(node, meta->groups[i]->name);
    }
}

void node_replace(void *arg, const struct metadata *old)
{
    struct node *node = arg;
    const struct metadata *meta = &node->quorum.meta;
    const struct node_registration *self = metadata_node(meta, node->options.id);
    struct command all = {.type = COMMAND_SET_CONFIG};
    delete_others(node, old);
    forget_others(node, old);
    for (size_t i = 0; i < meta->node_count; i++)
        node_links_meet(node, meta->nodes[i].id, meta->nodes[i].host, meta->nodes[i].port);
    for (size_t i = 0; i < meta->topic_count; i++) {
        struct command cmd = {.type = COMMAND_CREATE_TOPIC};
        struct topic *topic = catalog_find(&node->replicas.catalog, meta->topics[i]->name);
        memcpy(cmd.topic, meta->topics[i]->name, sizeof cmd.topic);
        if (topic != NULL)
            topic_unref(topic);
        else
            create_topic(node, &cmd);
    }
    update_topics(node, &all);
    replace_groups(node, old);
    (void)node_join_cluster(node, &(struct err){""});
    if (self != NULL && self->process == node->process) {
        struct command cmd = {.type = COMMAND_REGISTER_NODE, .registration = *self};
        membership_applied(&node->membership, &cmd);
        register_node(node, &cmd);
    }
    groups_changed(node->group_room);
}

int node_replay(void *arg, const struct command *cmd)
{
    struct node *node = arg;
    return cmd->type == COMMAND_DELETE_TOPIC ? stray_note(&node->replicas.stray, cmd->topic, cmd->id) : 0;
}

int node_gone(void *arg, const char *topic, const uint8_t id[UUID_BYTES])
{
    return stray_note(&((struct node *)arg)->replicas.stray, topic, id);
}

int node_keep(void *arg, struct err *e)
{
    return stray_keep(&((struct node *)arg)->replicas, e);
}
