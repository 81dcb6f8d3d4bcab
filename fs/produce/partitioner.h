/* fs/produce/partitioner.h: which partition a record of `.any` goes to: Kafka's default partitioner. Pure. */
#ifndef LOGMNT_FS_PRODUCE_PARTITIONER_H
#define LOGMNT_FS_PRODUCE_PARTITIONER_H

#include <stddef.h>
#include <stdint.h>

/* Kafka's Utils.murmur2, bit for bit. */
int32_t partitioner_murmur2(const void *key, size_t len);
/* Kafka's BuiltInPartitioner.partitionForKey: toPositive(murmur2(key)) % partitions. */
int32_t partitioner_for_key(const void *key, size_t len, int32_t partitions);

/* Records without a key stick to one partition until batch_size_bytes have gone there, then move on (KIP-480, KIP-794).
 * Zero-initialise with partition -1; the caller's lock. seed: any random number for the first choice. */
struct partitioner_sticky {
    int32_t partition;
    int64_t bytes;
};
int32_t partitioner_sticky_next(struct partitioner_sticky *sticky, int32_t partitions, size_t len,
                                int64_t batch_size_bytes, uint32_t seed);

#endif
