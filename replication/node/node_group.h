/* replication/node/node_group.h: consumer groups as the metadata has them, in the form that requests need: names,
 * owners, modes and settings. For replication/ alone; fs/ sees node.h. Who is in a group, and how far it has come, its
 * coordinator knows.
 *
 * A group's lock guards attr and config, for a few loads and stores. Counted: the table and callers hold references. */
#ifndef LOGMNT_REPLICATION_NODE_NODE_GROUP_H
#define LOGMNT_REPLICATION_NODE_NODE_GROUP_H

#include <pthread.h>
#include <stdatomic.h>

#include "replication/metadata/metadata.h"
#include "replication/node/node.h"

struct node_group {
    char name[GROUP_NAME_BYTES];
    uint8_t id[UUID_BYTES];
    _Atomic uint64_t refs;
    _Atomic bool deleted;
    pthread_mutex_t lock;
    struct tree_attr attr;
    struct group_config config;
    _Atomic uint64_t config_generation;
};

/* All of a node by name, under a reader-writer lock. It holds one reference to each. */
struct group_table {
    pthread_rwlock_t lock;
    struct node_group **groups;
    size_t count;
};

void group_table_init(struct group_table *table);
void group_table_free(struct group_table *table);
/* With a reference for the caller; NULL: none. */
struct node_group *group_table_find(struct group_table *table, const char *name);
/* Makes the live group, whose name is free. With a reference for the caller; NULL: no memory. */
struct node_group *group_table_add(struct group_table *table, const struct metadata_group *meta);
/* It is deleted; the table's reference is the caller's. NULL: none of that name. */
struct node_group *group_table_remove(struct group_table *table, const char *name);
/* Attributes and settings are as the metadata says now. */
void node_group_update(struct node_group *group, const struct metadata_group *meta);

#endif
