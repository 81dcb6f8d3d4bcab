/* replication/node/node_apply.c: from the metadata to the live topics. Runs for each applied command, in order, under
 * the quorum's lock; so nobody else changes the metadata meanwhile, and nothing here may call back into fs/. */
#include "replication/node/node_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

static void apply_create_topic(struct node *node, const struct command *cmd)
{
    const struct metadata *meta = &node->quorum.meta;
    const struct metadata_topic *made = metadata_topic(meta, cmd->topic);
    struct topic *topic = topic_new(node, made, &meta->config, false);
    if (topic == NULL) {
        log_line(LOG_CRIT, "topic %s: out of memory", cmd->topic);
        return;
    }
    topic_open_partitions(topic, made, NULL, true);
    catalog_add(&node->catalog, topic);
}

static void apply_delete_topic(struct node *node, const struct command *cmd)
{
    struct topic *topic = catalog_remove(&node->catalog, cmd->topic);
    if (topic == NULL)
        return;
    topic_retire(topic);
    atomic_fetch_add(&node->topics_deleted, 1);
    topic_unref(topic);
}

int node_check(void *arg, const struct command *cmd)
{
    struct node *node = arg;
    bool stale = atomic_load(&node->topics_forgotten) < atomic_load(&node->topics_deleted);
    return cmd->type == COMMAND_CREATE_TOPIC && stale ? -EAGAIN : 0;
}

/* Brings one topic, or all, up to date. */
static void apply_update(struct node *node, const char *name)
{
    const struct metadata *meta = &node->quorum.meta;
    for (size_t i = 0; i < meta->topic_count; i++) {
        const struct metadata_topic *changed = meta->topics[i];
        if (name[0] != '\0' && strcmp(changed->name, name) != 0)
            continue;
        struct topic *topic = catalog_find(&node->catalog, changed->name);
        if (topic == NULL)
            continue;
        if (topic_partition_count(topic) < changed->partitions)
            topic_open_partitions(topic, changed, NULL, true);
        topic_update(topic, changed, &meta->config);
        topic_unref(topic);
    }
}

void node_replay(void *arg, const struct command *cmd)
{
    struct node *node = arg;
    if (cmd->type == COMMAND_DELETE_TOPIC)
        stray_note(&node->stray, cmd->topic, cmd->id);
}

void node_apply(void *arg, const struct command *cmd)
{
    struct node *node = arg;
    switch (cmd->type) {
    case COMMAND_CREATE_TOPIC:
        apply_create_topic(node, cmd);
        break;
    case COMMAND_DELETE_TOPIC:
        apply_delete_topic(node, cmd);
        break;
    case COMMAND_SET_ATTR:
        if (cmd->topic[0] != '\0')
            apply_update(node, cmd->topic);
        break;
    case COMMAND_CREATE_PARTITIONS:
    case COMMAND_SET_CONFIG:
    case COMMAND_REMOVE_CONFIG:
        apply_update(node, cmd->topic);
        break;
    case COMMAND_REGISTER_NODE:
    case COMMAND_CHANGE_NODE:
    case COMMAND_CHANGE_PARTITIONS:
    case COMMAND_SET_PARTITIONS:
    case COMMAND_PRODUCER_IDS:
    case COMMAND_TYPES:
        break;
    }
}
