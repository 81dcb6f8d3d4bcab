/* replication/metadata/raft_compare.h: what the leader of the quorum tells who fetches: that its log goes on from where
 * the follower's ends, that they part, or that the follower needs a snapshot first. Pure. */
#ifndef LOGMNT_REPLICATION_METADATA_RAFT_COMPARE_H
#define LOGMNT_REPLICATION_METADATA_RAFT_COMPARE_H

#include "replication/wire/raft_message.h"

/* The leader's log. */
struct raft_compared {
    int64_t start;          /* its first offset */
    int32_t snapshot_epoch; /* start > 0: of the last record in its snapshot, which ends there or further on */
    /* Kafka's OffsetsForLeaderEpoch for the follower's last epoch: the largest one here that is not above it, and the
     * offset behind its last record. Below all that are known: the one that was asked for, and where the log begins. */
    int32_t epoch;
    int64_t end;
};

/* The follower's log ends at offset, its last record is of last_epoch (-1: there was never one). OK, DIVERGING, which
 * is at leader->epoch and ->end, or SNAPSHOT. REPLICATION.md, rule 57. */
enum raft_fetch_outcome raft_compare(const struct raft_compared *leader, int64_t offset, int32_t last_epoch);

#endif
