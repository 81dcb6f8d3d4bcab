/* replication/replica/catalog.h: the topics of a node by name: a hash table under a reader-writer lock, since every
 * lookup of a name in the tree comes here. It holds one reference to each topic. */
#ifndef LOGMNT_REPLICATION_REPLICA_CATALOG_H
#define LOGMNT_REPLICATION_REPLICA_CATALOG_H

#include <pthread.h>
#include <stddef.h>

struct topic;

struct catalog {
    pthread_rwlock_t lock;
    struct topic **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
};

int catalog_init(struct catalog *catalog);  /* -ENOMEM */
void catalog_free(struct catalog *catalog); /* must be empty */

/* With a reference for the caller; NULL: none. */
struct topic *catalog_find(struct catalog *catalog, const char *name);
/* Takes over the caller's reference. The name is not in it. */
void catalog_add(struct catalog *catalog, struct topic *topic);
/* Gives the catalog's reference to the caller; NULL: none of that name. */
struct topic *catalog_remove(struct catalog *catalog, const char *name);
/* All by name, each with a reference. *out is malloc-ed. -ENOMEM. */
int catalog_list(struct catalog *catalog, struct topic ***out, size_t *count);
size_t catalog_count(struct catalog *catalog);

#endif
