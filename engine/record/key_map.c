/* engine/record/key_map.c: open addressing with linear probing, at most three quarters full.
 *
 * The slot of a hash is its high half scaled to the table, so that the table may have any size. Growing makes a table
 * twice as large and moves everything; the old one stays good until that has worked. */
#include "engine/record/key_map.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* The functions are compiled in: there is nothing to link. */
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS_MIN = 1024 };

struct key_map_slot {
    XXH128_hash_t hash;
    int64_t offset; /* -1: free */
};

void key_map_init(struct key_map *map, size_t max_keys)
{
    *map = (struct key_map){.max_keys = max_keys};
}

void key_map_free(struct key_map *map)
{
    free(map->slots);
    map->slots = NULL;
}

/* The slot that has this hash, or the free one where it belongs. There is always a free one. */
static struct key_map_slot *find(struct key_map_slot *slots, size_t slot_count, XXH128_hash_t hash)
{
    size_t i = (size_t)(((unsigned __int128)hash.high64 * slot_count) >> 64);

    while (slots[i].offset >= 0 && !XXH128_isEqual(slots[i].hash, hash)) {
        i = i + 1 < slot_count ? i + 1 : 0;
    }
    return &slots[i];
}

static bool is_crowded(const struct key_map *map)
{
    return map->keys >= map->slot_count / 4 * 3;
}

static int grow(struct key_map *map)
{
    size_t most = (map->max_keys / 3 + 1) * 4;
    size_t slot_count = map->slot_count > 0 ? map->slot_count * 2 : SLOTS_MIN;
    struct key_map_slot *slots;

    if (slot_count > most) {
        slot_count = most;
    }
    slots = malloc(slot_count * sizeof *slots);
    if (slots == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < slot_count; i++) {
        slots[i].offset = -1;
    }
    for (size_t i = 0; i < map->slot_count; i++) {
        if (map->slots[i].offset >= 0) {
            *find(slots, slot_count, map->slots[i].hash) = map->slots[i];
        }
    }
    free(map->slots);
    map->slots = slots;
    map->slot_count = slot_count;
    return 0;
}

int key_map_put(struct key_map *map, const void *key, size_t key_len, int64_t offset)
{
    XXH128_hash_t hash = XXH3_128bits(key, key_len);
    struct key_map_slot *slot = map->slots != NULL ? find(map->slots, map->slot_count, hash) : NULL;

    assert(offset >= 0);
    if (slot != NULL && slot->offset >= 0) {
        slot->offset = offset;
        return 0;
    }
    if (map->keys == map->max_keys) {
        return -ENOBUFS;
    }
    if (is_crowded(map)) {
        int rc = grow(map);

        if (rc < 0) {
            return rc;
        }
        slot = find(map->slots, map->slot_count, hash);
    }
    *slot = (struct key_map_slot){hash, offset};
    map->keys++;
    return 0;
}

int64_t key_map_get(const struct key_map *map, const void *key, size_t key_len)
{
    const struct key_map_slot *slot;

    if (map->slots == NULL) {
        return -1;
    }
    slot = find(map->slots, map->slot_count, XXH3_128bits(key, key_len));
    return slot->offset;
}
