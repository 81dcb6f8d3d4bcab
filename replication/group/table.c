/* replication/group/table.c: chains in buckets. */
#include "replication/group/table.h"

#include <assert.h>
#include <stdlib.h>

static struct table_link **bucket(struct table *table, uint64_t hash)
{
    if (table->buckets == NULL)
        return &table->first[hash & (TABLE_FIRST_BUCKETS - 1)];
    return &table->buckets[hash & (table->bucket_count - 1)];
}

static size_t bucket_count(const struct table *table)
{
    return table->buckets == NULL ? TABLE_FIRST_BUCKETS : table->bucket_count;
}

static void grow(struct table *table)
{
    size_t before = bucket_count(table), after = before * 2;
    struct table_link **from = table->buckets == NULL ? table->first : table->buckets;
    struct table_link **to = calloc(after, sizeof *to);

    if (to == NULL)
        return; /* longer chains */
    for (size_t i = 0; i < before; i++) {
        for (struct table_link *link = from[i], *next; link != NULL; link = next) {
            struct table_link **place = &to[link->hash & (after - 1)];
            next = link->next;
            link->next = *place;
            *place = link;
        }
    }
    free(table->buckets);
    table->buckets = to;
    table->bucket_count = after;
}

void table_free(struct table *table)
{
    free(table->buckets);
    *table = (struct table){0};
}

void table_add(struct table *table, struct table_link *link, uint64_t hash)
{
    if (table->count >= bucket_count(table))
        grow(table);
    struct table_link **place = bucket(table, hash);
    link->hash = hash;
    link->next = *place;
    *place = link;
    table->count++;
}

void table_remove(struct table *table, struct table_link *link)
{
    struct table_link **place = bucket(table, link->hash);

    while (*place != link) {
        assert(*place != NULL);
        place = &(*place)->next;
    }
    *place = link->next;
    table->count--;
}

static struct table_link *from_here(struct table_link *link, uint64_t hash)
{
    while (link != NULL && link->hash != hash)
        link = link->next;
    return link;
}

struct table_link *table_find(struct table *table, uint64_t hash)
{
    return from_here(*bucket(table, hash), hash);
}

struct table_link *table_find_next(struct table_link *link)
{
    return from_here(link->next, link->hash);
}

static struct table_link *from_bucket(struct table *table, size_t at)
{
    struct table_link **buckets = table->buckets == NULL ? table->first : table->buckets;

    for (; at < bucket_count(table); at++) {
        if (buckets[at] != NULL)
            return buckets[at];
    }
    return NULL;
}

struct table_link *table_begin(struct table *table)
{
    return from_bucket(table, 0);
}

struct table_link *table_next(struct table *table, const struct table_link *link)
{
    if (link->next != NULL)
        return link->next;
    return from_bucket(table, (size_t)(link->hash & (bucket_count(table) - 1)) + 1);
}

/* FNV-1a. */
uint64_t table_hash(const void *bytes, size_t len, uint64_t seed)
{
    const uint8_t *at = bytes;
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}
