/* tests/sim/raft_watch.h: what must hold of the quorum's servers, seen from inside after each step (docs/REPLICATION.md
 * has the rules).
 *
 *   what a leader takes for decided a majority of its voters has flushed
 *   what a server knows to be decided goes back nowhere while it lives; nor does what a leader knows of a follower, in
 *   its epoch
 *   nobody stands while a majority has had a leader since before it asked for pre-votes; nor without having asked,
 *   unless the leader of the epoch before has called it
 *   who leads was elected: a majority of its voters, as those that they are named as, have voted so or gone on
 *   a leader from which no majority fetches leads no longer than an election takes
 *   the voters are those of the last record that says so, as far as it is applied
 *   one change of the voters at a time, and none before a record of the leader's epoch is decided */
#ifndef LOGMNT_TESTS_SIM_RAFT_WATCH_H
#define LOGMNT_TESTS_SIM_RAFT_WATCH_H

#include "replication/metadata/raft.h"

struct frame_out;
struct sim_node;

/* One server, as of its last step. Times are the world's steps. */
struct raft_watch {
    int64_t mounts; /* in which life of the node */
    uint64_t since; /* when that was first seen */
    enum raft_role role;
    struct raft_state state;
    struct raft_id leader;     /* that it has, */
    uint64_t has_leader;       /* and since when */
    uint64_t asks, stands;     /* since when it is PROSPECTIVE, CANDIDATE */
    int32_t called_epoch;      /* the last one whose leader has named it first among its successors; 0: none */
    int64_t seen_ms, awake_ms; /* when it took its last step; since when it has not paused */
    int64_t high_watermark;
    struct raft_voters voters; /* in force */
    struct raft_id self;
    int64_t flushed; /* the most that it had flushed as that, over all its lives */
    struct raft_replica replicas[RAFT_REPLICAS_MAX];
    int32_t replica_count;
};

/* After a step of the node, which lives. */
void raft_watch_look(struct sim_node *host);
/* arg: the world. A frame is on its way to that node. */
void raft_watch_sent(void *arg, int32_t to, const struct frame_out *out);

#endif
