/* fs/produce/partitioner.c: Kafka's default partitioner, so that a key finds the same partition through `.any` as
 * through any Kafka client. MurmurHash2 is Austin Appleby's (public domain), with the seed and the signed arithmetic of
 * Kafka's Utils.murmur2. Nothing here can fail. */
#include "fs/produce/partitioner.h"

#include <assert.h>

enum { MURMUR2_SHIFT = 24 };

static const uint32_t murmur2_seed = 0x9747b28c;
static const uint32_t murmur2_m = 0x5bd1e995;

int32_t partitioner_murmur2(const void *key, size_t len)
{
    const uint8_t *at = key;
    uint32_t h = murmur2_seed ^ (uint32_t)len;

    for (; len >= 4; at += 4, len -= 4) {
        uint32_t k = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;

        k *= murmur2_m;
        k ^= k >> MURMUR2_SHIFT;
        h = h * murmur2_m ^ k * murmur2_m;
    }
    if (len == 3) {
        h ^= (uint32_t)at[2] << 16;
    }
    if (len >= 2) {
        h ^= (uint32_t)at[1] << 8;
    }
    if (len >= 1) {
        h = (h ^ at[0]) * murmur2_m;
    }
    h = (h ^ h >> 13) * murmur2_m;
    return (int32_t)(h ^ h >> 15);
}

int32_t partitioner_for_key(const void *key, size_t len, int32_t partitions)
{
    assert(partitions > 0);
    /* Kafka's toPositive() drops the sign bit; it does not negate. */
    return (partitioner_murmur2(key, len) & INT32_MAX) % partitions;
}

int32_t partitioner_sticky_next(struct partitioner_sticky *sticky, int32_t partitions, size_t len,
                                int64_t batch_size_bytes, uint32_t seed)
{
    assert(partitions > 0);
    if (sticky->partition < 0 || sticky->partition >= partitions) {
        sticky->partition = (int32_t)(seed % (uint32_t)partitions);
        sticky->bytes = 0;
    } else if (sticky->bytes > 0 && sticky->bytes >= batch_size_bytes) {
        sticky->partition = (sticky->partition + 1) % partitions;
        sticky->bytes = 0;
    }
    sticky->bytes += (int64_t)len;
    return sticky->partition;
}
