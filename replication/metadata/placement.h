/* replication/metadata/placement.h: which nodes a new partition's replicas are on: a pure function of how the nodes are
 * laden.
 *
 * Leaders (the first of the replicas) go to the nodes that lead least, followers to those that hold least, so that both
 * stay even whatever was made before; where nodes are equal the lower id comes first, and a topic's partitions go
 * around. Nodes that are fenced come last: they are taken only when there are no others, and never first while another
 * lives. */
#ifndef LOGMNT_REPLICATION_METADATA_PLACEMENT_H
#define LOGMNT_REPLICATION_METADATA_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/replica_set.h"

struct placement_node {
    int32_t id;
    bool stays;       /* registered, not fenced, not shutting down */
    int64_t leaders;  /* partitions that prefer it as leader */
    int64_t replicas; /* partitions that it holds, those among them */
};

/* Places one partition and counts it in. nodes: by id; factor ≤ count and ≤ LIMIT_REPLICAS. */
void placement_choose(struct placement_node *nodes, int32_t count, int32_t factor, struct replica_set *out);
/* Adds to those that are there until they are `factor`. */
void placement_add(struct placement_node *nodes, int32_t count, int32_t factor, struct replica_set *out);

#endif
