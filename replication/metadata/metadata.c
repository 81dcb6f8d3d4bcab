/* replication/metadata/metadata.c: what there is, and where it is found: topics in an array sorted by name, and once
 * more by id; nodes in the order in which they first registered. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/metadata/metadata_internal.h"

int topic_name_check(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    if (len == 0 || len >= TOPIC_NAME_BYTES || strspn(name, allowed) != len)
        return -EINVAL;
    return name[0] == '.' || strncmp(name, "__", 2) == 0 ? -EINVAL : 0;
}

void metadata_init(struct metadata *meta, const struct tree_attr *root)
{
    *meta = (struct metadata){.root = *root, .voters = {.offset = -1}};
}

void metadata_topic_free(struct metadata_topic *topic)
{
    config_set_free(&topic->config);
    free(topic->parts);
    free(topic);
}

void metadata_free(struct metadata *meta)
{
    for (size_t i = 0; i < meta->topic_count; i++)
        metadata_topic_free(meta->topics[i]);
    free(meta->topics);
    free(meta->topics_by_id);
    free(meta->nodes);
    config_set_free(&meta->config);
    *meta = (struct metadata){0};
}

size_t metadata_topic_place(const struct metadata *meta, const char *name, bool *found)
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

struct metadata_topic *metadata_topic_find(const struct metadata *meta, const char *name)
{
    bool found;
    size_t place = metadata_topic_place(meta, name, &found);
    return found ? meta->topics[place] : NULL;
}

const struct metadata_topic *metadata_topic(const struct metadata *meta, const char *name)
{
    return metadata_topic_find(meta, name);
}

size_t metadata_id_place(const struct metadata *meta, const uint8_t id[UUID_BYTES], bool *found)
{
    size_t low = 0, high = meta->topic_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(meta->topics_by_id[middle]->id, id, UUID_BYTES);
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

const struct metadata_topic *metadata_topic_by_id(const struct metadata *meta, const uint8_t id[UUID_BYTES])
{
    bool found;
    size_t place = metadata_id_place(meta, id, &found);
    return found ? meta->topics_by_id[place] : NULL;
}

const struct node_registration *metadata_node(const struct metadata *meta, int32_t id)
{
    for (size_t i = 0; i < meta->node_count; i++)
        if (meta->nodes[i].id == id)
            return &meta->nodes[i];
    return NULL;
}

static bool node_lives(const void *arg, int32_t id)
{
    const struct node_registration *node = metadata_node(arg, id);
    return node != NULL && !node->fenced;
}

static bool node_stays(const void *arg, int32_t id)
{
    const struct node_registration *node = metadata_node(arg, id);
    return node != NULL && !node->fenced && !node->shutting_down;
}

struct election_nodes metadata_election_nodes(const struct metadata *meta)
{
    return (struct election_nodes){.lives = node_lives, .stays = node_stays, .arg = meta};
}

int32_t metadata_min_insync(const struct metadata *meta, const struct metadata_topic *topic, int32_t replicas)
{
    static const char name[] = "min.insync.replicas";
    const char *value = config_set_get(&topic->config, name);
    if (value == NULL)
        value = config_set_get(&meta->config, name);
    return value != NULL ? (int32_t)strtol(value, NULL, 10) : (replicas + 1) / 2;
}

void metadata_election_rules(const struct metadata *meta, const struct metadata_topic *topic, int32_t index,
                             struct election_rules *out)
{
    const struct partition_registration *part = &topic->parts[index];
    int32_t replicas = part->target.count > 0 ? part->target.count : part->replicas.count;
    const char *unclean = config_in_force(&meta->config, &topic->config, "unclean.leader.election.enable");
    out->min_insync_replicas = metadata_min_insync(meta, topic, replicas);
    out->unclean = strcmp(unclean, "true") == 0;
}
