/* engine/record/key_map.h: which record of a key is the last one: a map from a key's 128-bit hash to an offset.
 *
 * Keys are not kept, only their XXH3 hashes, as Kafka's cleaner keeps MD5s (SkimpyOffsetMap): two keys with one hash
 * would be taken for one, which 128 bits put out of reach of accidents. Open addressing, grows as keys come, never
 * above the limit it is given. One thread. */
#ifndef LOGMNT_ENGINE_RECORD_KEY_MAP_H
#define LOGMNT_ENGINE_RECORD_KEY_MAP_H

#include <stddef.h>
#include <stdint.h>

struct key_map {
    struct key_map_slot *slots;
    size_t slot_count;
    size_t keys;
    size_t max_keys;
};

/* Takes no memory yet. */
void key_map_init(struct key_map *map, size_t max_keys);
void key_map_free(struct key_map *map);

/* The key's last offset so far is now this one (≥ 0). 0; -ENOBUFS: the map holds max_keys keys and this is another;
 * -ENOMEM. On failure nothing has changed. */
int key_map_put(struct key_map *map, const void *key, size_t key_len, int64_t offset);

/* -1: not there. */
int64_t key_map_get(const struct key_map *map, const void *key, size_t key_len);

#endif
