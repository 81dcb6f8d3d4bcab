/* replication/wire/raft_voters.h: the servers of the metadata quorum, and sets of them. Pure values. */
#ifndef LOGMNT_REPLICATION_WIRE_RAFT_VOTERS_H
#define LOGMNT_REPLICATION_WIRE_RAFT_VOTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/base/limits.h"

/* A server of the quorum: a node and the incarnation of its data directory (KIP-853's directory id). Node 0: none.
 * Incarnation 0: not known. */
struct raft_id {
    int32_t node;
    uint64_t incarnation;
};

/* The voters, ascending by node, each node once. */
struct raft_voters {
    int32_t count;
    struct raft_id ids[LIMIT_VOTERS];
};

static inline bool raft_id_equal(struct raft_id a, struct raft_id b)
{
    return a.node == b.node && a.incarnation == b.incarnation;
}

bool raft_voters_equal(const struct raft_voters *a, const struct raft_voters *b);
/* Where id is in the set; -1: not in it. */
int raft_voters_find(const struct raft_voters *voters, struct raft_id id);
/* By node id, of whatever incarnation; NULL: not in it. */
const struct raft_id *raft_voters_node(const struct raft_voters *voters, int32_t node);
/* The smallest number of them that is more than half. */
int raft_voters_majority(const struct raft_voters *voters);
/* Adds in order. The node is not in it, and there is room. */
void raft_voters_add(struct raft_voters *voters, struct raft_id id);
void raft_voters_remove(struct raft_voters *voters, struct raft_id id);
/* Ascending, no node twice, each with a node id and an incarnation, at most LIMIT_VOTERS. */
bool raft_voters_valid(const struct raft_voters *voters);

#endif
