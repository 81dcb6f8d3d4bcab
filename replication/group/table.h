/* replication/group/table.h: a hash table of what embeds its links: groups by name, members by id.
 *
 * It grows by doubling; without memory for that its chains become longer, and nothing fails. No locks: its owner's
 * thread. */
#ifndef LOGMNT_REPLICATION_GROUP_TABLE_H
#define LOGMNT_REPLICATION_GROUP_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_link {
    struct table_link *next; /* in its bucket */
    uint64_t hash;
};

enum { TABLE_FIRST_BUCKETS = 16 };

/* Zero-initialise. */
struct table {
    struct table_link **buckets; /* NULL: `first` */
    size_t bucket_count;         /* a power of two */
    size_t count;
    struct table_link *first[TABLE_FIRST_BUCKETS];
};

/* Nothing is left in it that anybody looks at. */
void table_free(struct table *table);
void table_add(struct table *table, struct table_link *link, uint64_t hash);
void table_remove(struct table *table, struct table_link *link);
/* The first link of that hash, and the next one behind `link`; NULL: none. */
struct table_link *table_find(struct table *table, uint64_t hash);
struct table_link *table_find_next(struct table_link *link);
/* All of them, in any order: the first, and the one behind `link`. `link` may be removed once the next one is known; no
 * other may be added or removed meanwhile. */
struct table_link *table_begin(struct table *table);
struct table_link *table_next(struct table *table, const struct table_link *link);

uint64_t table_hash(const void *bytes, size_t len, uint64_t seed);

#endif
