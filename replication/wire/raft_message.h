/* replication/wire/raft_message.h: what the members of the metadata quorum say to each other, as plain structs and as
 * the bytes of one MessagePack array. docs/WIRE.md lays them down.
 *
 * The requests are KRaft's: Vote (KIP-595, with the pre-vote of KIP-996), BeginQuorumEpoch, EndQuorumEpoch and the
 * quorum's part of Fetch. Find is ours: a node that knows no leader asks who leads, and a node whose data directory is
 * empty whether there is a cluster yet. Each request has an answer. Pure; any thread, no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_RAFT_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_RAFT_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/limits.h"
#include "replication/wire/raft_voters.h"

/* The nodes of a `peer=` list, ascending. */
struct raft_peers {
    int32_t count;
    int32_t nodes[LIMIT_NODES];
};

/* An epoch above this is nobody's: it could not be raised any more. */
enum { RAFT_EPOCH_MAX = 1 << 30 };

/* A fetch of an older build, which does not say what it has heard. */
#define RAFT_HEARD_UNSAID UINT64_MAX

enum raft_message_type {
    RAFT_VOTE,
    RAFT_VOTE_ANSWER,
    RAFT_BEGIN,
    RAFT_BEGIN_ANSWER,
    RAFT_END,
    RAFT_END_ANSWER,
    RAFT_FETCH,
    RAFT_FETCH_ANSWER,
    RAFT_FIND,
    RAFT_FIND_ANSWER,
    RAFT_MESSAGE_TYPES,
};

/* How a fetch was answered. */
enum raft_fetch_outcome {
    RAFT_FETCH_OK,         /* records, or none: the follower's log is the leader's up to its fetch offset */
    RAFT_FETCH_NOT_LEADER, /* the answerer does not lead in the asker's epoch */
    RAFT_FETCH_DIVERGING,  /* the follower is to truncate (KIP-595, DivergingEpoch) */
    RAFT_FETCH_SNAPSHOT,   /* the follower is behind the log's start (KIP-630, SnapshotId) */
    RAFT_FETCH_OUTCOMES,
};

struct raft_message {
    enum raft_message_type type;
    struct raft_id from, to; /* a Vote is for `to` alone; others reach who has the node id */
    int32_t epoch;           /* the sender's own, in requests and answers alike */
    struct raft_id leader;   /* in answers: whom the sender knows to lead in that epoch */
    union {
        struct {
            bool pre;          /* asks whether it would be voted for in epoch + 1 */
            uint32_t round;    /* comes back in the answer */
            int32_t end_epoch; /* of the last record of the sender's log, -1: none */
            int64_t end_offset;
        } vote;
        struct {
            bool pre, granted;
            uint32_t round;
        } vote_answer;
        struct {
            int32_t count;
            int32_t successors[LIMIT_VOTERS]; /* node ids, the most caught-up one first */
        } end;
        struct {
            int64_t offset;         /* the end of the follower's log */
            int64_t flushed;        /* as far as it is on the follower's disk */
            int64_t high_watermark; /* that the follower knows */
            int32_t last_epoch;     /* of the record before offset, -1: none */
            uint64_t session;       /* of the follower with this leader; comes back in the answer */
            uint64_t heard;         /* `sent` of the last answer in this session; 0: none yet; RAFT_HEARD_UNSAID */
        } fetch;
        struct {
            enum raft_fetch_outcome outcome;
            int32_t end_epoch;      /* DIVERGING: the largest epoch not above the asked one; SNAPSHOT: its epoch */
            int64_t end_offset;     /* DIVERGING: where that one ends; SNAPSHOT: where it does */
            int64_t high_watermark; /* OK */
            uint64_t session;       /* of the fetch */
            int64_t offset;         /* likewise: where what is answered begins */
            uint64_t sent;          /* the leader's clock; comes back in the next fetch. 0: not said */
        } fetch_answer;
        struct {
            uint32_t run;            /* of the asker's process; comes back in the answer */
            struct raft_peers peers; /* the asker's list */
        } find;
        struct {
            uint32_t run;
            bool empty; /* no record in the log, and no leader */
            struct raft_peers peers;
        } find_answer;
    };
};

/* The text of a type, for logs. */
const char *raft_message_type_name(enum raft_message_type type);

/* The bytes of out that are used. What is counted in *msg is within its limits. */
size_t raft_message_encode(const struct raft_message *msg, uint8_t out[LIMIT_RAFT_MESSAGE_BYTES]);
/* -EBADMSG with the reason: longer than LIMIT_RAFT_MESSAGE_BYTES, not one array, an unknown type, too few elements, one
 * that is not what it should be, no memory. Allocates no more than some times len. *out is undefined then. */
int raft_message_decode(const uint8_t *data, size_t len, struct raft_message *out, struct err *e);

#endif
