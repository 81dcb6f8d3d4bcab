/* replication/node/node_group.c: live groups in an array sorted by name. */
#include "replication/node/node_group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/base/sorted.h"
#include "replication/node/node_internal.h"

/* ---- one of them ---- */

static struct node_group *group_new(const struct metadata_group *meta)
{
    struct node_group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return NULL;
    memcpy(group->name, meta->name, sizeof group->name);
    memcpy(group->id, meta->id, UUID_BYTES);
    atomic_store(&group->refs, 1);
    pthread_mutex_init(&group->lock, NULL);
    node_group_update(group, meta);
    return group;
}

void node_group_update(struct node_group *group, const struct metadata_group *meta)
{
    struct group_config config;
    group_config_parse(&meta->config, &config);
    pthread_mutex_lock(&group->lock);
    group->attr = meta->attr;
    bool changed = memcmp(&config, &group->config, sizeof config) != 0;
    group->config = config;
    pthread_mutex_unlock(&group->lock);
    if (changed)
        atomic_fetch_add(&group->config_generation, 1);
}

struct node_group *node_group_ref(struct node_group *group)
{
    atomic_fetch_add_explicit(&group->refs, 1, memory_order_relaxed);
    return group;
}

void node_group_unref(struct node_group *group)
{
    if (atomic_fetch_sub_explicit(&group->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&group->lock);
    free(group);
}

const char *node_group_name(const struct node_group *group)
{
    return group->name;
}

const uint8_t *node_group_id(const struct node_group *group)
{
    return group->id;
}

uint64_t node_group_number(const struct node_group *group)
{
    uint64_t number = 0;
    for (int i = 0; i < 5; i++)
        number = number << 8 | group->id[i];
    return number;
}

bool node_group_deleted(const struct node_group *group)
{
    return atomic_load(&group->deleted);
}

void node_group_attr(struct node_group *group, struct tree_attr *out)
{
    pthread_mutex_lock(&group->lock);
    *out = group->attr;
    pthread_mutex_unlock(&group->lock);
}

uint64_t node_group_config_generation(const struct node_group *group)
{
    return atomic_load_explicit(&group->config_generation, memory_order_acquire);
}

void node_group_config(struct node_group *group, struct group_config *out)
{
    pthread_mutex_lock(&group->lock);
    *out = group->config;
    pthread_mutex_unlock(&group->lock);
}

/* ---- all of them ---- */

void group_table_init(struct group_table *table)
{
    *table = (struct group_table){0};
    pthread_rwlock_init(&table->lock, NULL);
}

void group_table_free(struct group_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        node_group_unref(table->groups[i]);
    free(table->groups);
    pthread_rwlock_destroy(&table->lock);
}

static const char *group_name_at(const void *list, size_t i)
{
    return ((struct node_group *const *)list)[i]->name;
}

/* Where the name is, or where it would go. The lock is held. */
static size_t place_of(const struct group_table *table, const char *name, bool *found)
{
    return sorted_place(table->groups, table->count, group_name_at, name, found);
}

struct node_group *group_table_find(struct group_table *table, const char *name)
{
    bool found;
    pthread_rwlock_rdlock(&table->lock);
    size_t place = place_of(table, name, &found);
    struct node_group *group = found ? node_group_ref(table->groups[place]) : NULL;
    pthread_rwlock_unlock(&table->lock);
    return group;
}

struct node_group *group_table_add(struct group_table *table, const struct metadata_group *meta)
{
    bool found;
    struct node_group *group = group_new(meta);
    if (group == NULL)
        return NULL;
    pthread_rwlock_wrlock(&table->lock);
    struct node_group **groups = realloc(table->groups, (table->count + 1) * sizeof(struct node_group *));
    if (groups != NULL) {
        table->groups = groups;
        size_t place = place_of(table, meta->name, &found);
        memmove(&groups[place + 1], &groups[place], (table->count - place) * sizeof(struct node_group *));
        groups[place] = node_group_ref(group);
        table->count++;
    }
    pthread_rwlock_unlock(&table->lock);
    if (groups != NULL)
        return group;
    node_group_unref(group);
    return NULL;
}

struct node_group *group_table_remove(struct group_table *table, const char *name)
{
    bool found;
    pthread_rwlock_wrlock(&table->lock);
    size_t place = place_of(table, name, &found);
    struct node_group *group = found ? table->groups[place] : NULL;
    if (found) {
        table->count--;
        memmove(&table->groups[place], &table->groups[place + 1], (table->count - place) * sizeof(struct node_group *));
        atomic_store(&group->deleted, true);
    }
    pthread_rwlock_unlock(&table->lock);
    return group;
}

/* ---- a node's ---- */

struct node_group *node_group(struct node *node, const char *name)
{
    return group_table_find(&node->groups, name);
}

size_t node_group_count(struct node *node)
{
    pthread_rwlock_rdlock(&node->groups.lock);
    size_t count = node->groups.count;
    pthread_rwlock_unlock(&node->groups.lock);
    return count;
}

int node_group_list(struct node *node, struct node_group ***out, size_t *count)
{
    struct group_table *table = &node->groups;
    pthread_rwlock_rdlock(&table->lock);
    size_t n = table->count;
    struct node_group **list = malloc((n + 1) * sizeof(struct node_group *));
    for (size_t i = 0; list != NULL && i < n; i++)
        list[i] = node_group_ref(table->groups[i]);
    pthread_rwlock_unlock(&table->lock);
    *out = list;
    *count = n;
    return list == NULL ? -ENOMEM : 0;
}

void node_groups_attr(struct node *node, struct tree_attr *out)
{
    *out = quorum_acquire(&node->quorum)->groups_attr;
    quorum_release(&node->quorum);
}

int node_get_group_config(struct node *node, const char *name, const char *setting, char out[CONFIG_VALUE_BYTES])
{
    const struct metadata_group *group = metadata_group(quorum_acquire(&node->quorum), name);
    const char *value = group != NULL ? group_config_in_force(&group->config, setting) : NULL;
    if (value != NULL)
        memcpy(out, value, strlen(value) + 1);
    quorum_release(&node->quorum);
    return value != NULL ? 0 : group != NULL ? -ENODATA : -ENOENT;
}
