/* replication/metadata/metadata.c: what there is, and where it is found: topics in an array sorted by name, and once
 * more by id; nodes in the order in which they first registered. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/base/sorted.h"
#include "replication/metadata/metadata_internal.h"

int topic_name_check(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    if (len == 0 || len >= TOPIC_NAME_BYTES || strspn(name, allowed) != len)
        return -EINVAL;
    return name[0] == '.' || strncmp(name, "__", 2) == 0 ? -EINVAL : 0;
}

bool topic_name_internal(const char *name)
{
    return strcmp(name, METADATA_OFFSETS_TOPIC) == 0;
}

void metadata_init(struct metadata *meta, const struct tree_attr *root)
{
    *meta = (struct metadata){.root = *root, .groups_attr = *root, .voters = {.offset = -1}};
    meta->groups_attr.dir_mode = 01777;
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
    for (size_t i = 0; i < meta->group_count; i++)
        metadata_group_free(meta->groups[i]);
    free(meta->groups);
    free(meta->nodes);
    config_set_free(&meta->config);
    *meta = (struct metadata){0};
}

static const char *topic_name_at(const void *list, size_t i)
{
    return ((struct metadata_topic *const *)list)[i]->name;
}

size_t metadata_topic_place(const struct metadata *meta, const char *name, bool *found)
{
    return sorted_place(meta->topics, meta->topic_count, topic_name_at, name, found);
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
    for (size_t i = 0; i < meta->node_count; i++) {
        if (meta->nodes[i].id == id)
            return &meta->nodes[i];
    }
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

static int by_id(const void *a, const void *b)
{
    const struct placement_node *first = a, *second = b;
    return first->id < second->id ? -1 : first->id > second->id;
}

static void count_in(struct placement_node *nodes, size_t count, const struct replica_set *replicas)
{
    for (int32_t i = 0; i < replicas->count; i++) {
        struct placement_node key = {.id = replicas->ids[i]};
        struct placement_node *node = bsearch(&key, nodes, count, sizeof *nodes, by_id);
        if (node == NULL)
            continue;
        node->replicas++;
        node->leaders += i == 0;
    }
}

void metadata_load(const struct metadata *meta, struct placement_node *nodes)
{
    for (size_t i = 0; i < meta->node_count; i++)
        nodes[i] = (struct placement_node){.id = meta->nodes[i].id, .stays = node_stays(meta, meta->nodes[i].id)};
    if (meta->node_count < 2) /* nothing to choose */
        return;
    qsort(nodes, meta->node_count, sizeof *nodes, by_id);
    for (size_t i = 0; i < meta->topic_count; i++) {
        for (int32_t p = 0; p < meta->topics[i]->partitions; p++) {
            const struct partition_registration *part = &meta->topics[i]->parts[p];
            count_in(nodes, meta->node_count, part->target.count > 0 ? &part->target : &part->replicas);
        }
    }
}

static int32_t replicas_wanted(const struct partition_registration *part)
{
    return part->target.count > 0 ? part->target.count : part->replicas.count;
}

int32_t metadata_factor(const struct metadata_topic *topic)
{
    int32_t factor = replicas_wanted(&topic->parts[0]);
    for (int32_t p = 1; p < topic->partitions; p++) {
        if (replicas_wanted(&topic->parts[p]) < factor)
            factor = replicas_wanted(&topic->parts[p]);
    }
    return factor;
}

int32_t metadata_min_insync(const struct metadata *meta, const struct metadata_topic *topic, int32_t replicas)
{
    static const char name[] = "min.insync.replicas";
    const char *value = topic != NULL ? config_set_get(&topic->config, name) : NULL;
    if (value == NULL)
        value = config_set_get(&meta->config, name);
    return value != NULL ? (int32_t)strtol(value, NULL, 10) : (replicas + 1) / 2;
}

int32_t metadata_known_nodes(const struct metadata *meta)
{
    int32_t count = (int32_t)meta->node_count;
    for (int32_t i = 0; i < meta->voters.voters.count; i++) {
        if (metadata_node(meta, meta->voters.voters.ids[i].node) == NULL)
            count++;
    }
    return count;
}

int32_t metadata_default_factor(const struct metadata *meta)
{
    enum { USUAL_FACTOR = 3 };
    const char *value = config_set_get(&meta->config, "default.replication.factor");
    int32_t known = metadata_known_nodes(meta);
    if (value != NULL)
        return (int32_t)strtol(value, NULL, 10);
    if (known >= USUAL_FACTOR)
        return USUAL_FACTOR;
    return known > 0 ? known : 1;
}

int metadata_get_config(const struct metadata *meta, const struct metadata_topic *topic, const char *name,
                        char out[CONFIG_VALUE_BYTES])
{
    const char *value = config_in_force(&meta->config, topic != NULL ? &topic->config : NULL, name);
    int32_t number;
    if (value == NULL)
        return -ENODATA;
    if (strcmp(name, "default.replication.factor") == 0) {
        number = metadata_default_factor(meta);
    } else if (strcmp(name, "min.insync.replicas") == 0) {
        number =
            metadata_min_insync(meta, topic, topic != NULL ? metadata_factor(topic) : metadata_default_factor(meta));
    } else {
        memcpy(out, value, strlen(value) + 1);
        return 0;
    }
    snprintf(out, CONFIG_VALUE_BYTES, "%" PRId32, number);
    return 0;
}

void metadata_election_rules(const struct metadata *meta, const struct metadata_topic *topic, int32_t index,
                             struct election_rules *out)
{
    const char *unclean = config_in_force(&meta->config, &topic->config, "unclean.leader.election.enable");
    out->min_insync_replicas = metadata_min_insync(meta, topic, replicas_wanted(&topic->parts[index]));
    out->unclean = strcmp(unclean, "true") == 0;
}
