/* replication/replica/catalog.c: chained buckets, doubled as they fill; a table that cannot grow for want of memory
 * works on, slower. */
#include "replication/replica/catalog.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replication/replica/topic_internal.h"

enum { FIRST_BUCKETS = 64 };

/* FNV-1a. */
static uint64_t hash_of(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return hash;
}

static struct topic **bucket_of(struct catalog *catalog, const char *name)
{
    return &catalog->buckets[hash_of(name) & (catalog->bucket_count - 1)];
}

int catalog_init(struct catalog *catalog)
{
    *catalog = (struct catalog){.bucket_count = FIRST_BUCKETS};
    catalog->buckets = calloc(FIRST_BUCKETS, sizeof(struct topic *));
    if (catalog->buckets == NULL)
        return -ENOMEM;
    pthread_rwlock_init(&catalog->lock, NULL);
    return 0;
}

void catalog_free(struct catalog *catalog)
{
    assert(catalog->count == 0);
    pthread_rwlock_destroy(&catalog->lock);
    free(catalog->buckets);
}

struct topic *catalog_find(struct catalog *catalog, const char *name)
{
    pthread_rwlock_rdlock(&catalog->lock);
    struct topic *topic = *bucket_of(catalog, name);
    while (topic != NULL && strcmp(topic->name, name) != 0)
        topic = topic->hash_next;
    if (topic != NULL)
        topic_ref(topic);
    pthread_rwlock_unlock(&catalog->lock);
    return topic;
}

/* The lock is held for writing. */
static void grow(struct catalog *catalog)
{
    struct topic **old = catalog->buckets;
    size_t old_count = catalog->bucket_count;
    struct topic **buckets = calloc(2 * old_count, sizeof(struct topic *));
    if (buckets == NULL)
        return;
    catalog->buckets = buckets;
    catalog->bucket_count = 2 * old_count;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct topic *topic = old[i];
            struct topic **bucket = bucket_of(catalog, topic->name);
            old[i] = topic->hash_next;
            topic->hash_next = *bucket;
            *bucket = topic;
        }
    }
    free(old);
}

void catalog_add(struct catalog *catalog, struct topic *topic)
{
    pthread_rwlock_wrlock(&catalog->lock);
    if (catalog->count >= catalog->bucket_count)
        grow(catalog);
    struct topic **bucket = bucket_of(catalog, topic->name);
    topic->hash_next = *bucket;
    *bucket = topic;
    catalog->count++;
    pthread_rwlock_unlock(&catalog->lock);
}

struct topic *catalog_remove(struct catalog *catalog, const char *name)
{
    pthread_rwlock_wrlock(&catalog->lock);
    struct topic **at = bucket_of(catalog, name);
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->hash_next;
    struct topic *topic = *at;
    if (topic != NULL) {
        *at = topic->hash_next;
        catalog->count--;
    }
    pthread_rwlock_unlock(&catalog->lock);
    return topic;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct topic *const *)a)->name, (*(struct topic *const *)b)->name);
}

int catalog_list(struct catalog *catalog, struct topic ***out, size_t *count)
{
    pthread_rwlock_rdlock(&catalog->lock);
    size_t n = 0;
    struct topic **list = malloc((catalog->count + 1) * sizeof(struct topic *));
    for (size_t i = 0; list != NULL && i < catalog->bucket_count; i++) {
        for (struct topic *topic = catalog->buckets[i]; topic != NULL; topic = topic->hash_next)
            list[n++] = topic_ref(topic);
    }
    pthread_rwlock_unlock(&catalog->lock);
    if (list == NULL)
        return -ENOMEM;
    qsort(list, n, sizeof(struct topic *), by_name);
    *out = list;
    *count = n;
    return 0;
}

size_t catalog_count(struct catalog *catalog)
{
    pthread_rwlock_rdlock(&catalog->lock);
    size_t count = catalog->count;
    pthread_rwlock_unlock(&catalog->lock);
    return count;
}
