/* tests/hands/check.h: what is there against what the hands were told. Nobody writes any more. */
#ifndef LOGMNT_TESTS_HANDS_CHECK_H
#define LOGMNT_TESTS_HANDS_CHECK_H

#include "tests/hands/hands.h"

struct content {
    uint8_t *bytes;
    size_t len;
};

/* Reads a whole file of the topic with read(2), through an open file of its own; the bytes are malloc-ed. */
struct content content_read(const struct world *world, const char *name, int partition);

/* Every fragment that was acknowledged is there whole and once, in lines of one open file each, in its hand's order
 * there; nothing else is. false: no, and why not was printed. */
bool check_partitions(struct world *world, const struct content contents[PARTITIONS]);
/* What was read meanwhile is what is there. */
bool check_readings(const struct world *world, const struct content contents[PARTITIONS],
                    const struct content json[PARTITIONS]);
/* The readings by position of all hands. json: NULL where nobody reads that by position. */
bool check_positions(const struct world *world, const struct content contents[PARTITIONS],
                     const struct content json[PARTITIONS]);
/* What the hands got in turn is the whole, each byte once. to_end: all of it was read. */
bool check_turns(const struct world *world, const struct content *content, enum view view, int partition, bool to_end);
/* Kafka's default partitioner, for a fragment's key. */
int check_key_partition(const uint8_t *key, size_t len);

#endif
