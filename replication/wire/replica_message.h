/* replication/wire/replica_message.h: what a partition's leader and its followers say to each other, as plain structs
 * and as the bytes of MessagePack arrays. docs/WIRE.md lays them down.
 *
 * A follower's Fetch is Kafka's, for all partitions that have something to say; the leader's answers are one
 * partition's each, and name the round of fetches that they belong to. Pure; any thread, no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_REPLICA_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_REPLICA_MESSAGE_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/record/batch.h"
#include "engine/record/log_point.h"
#include "replication/base/uuid.h"

enum {
    /* Partitions of one Fetch or Beat; whoever has more to say sends several. */
    REPLICA_MESSAGE_PARTITIONS = 1024,
    /* One partition in it, encoded, at most; and what comes before them. */
    REPLICA_MESSAGE_PARTITION_BYTES = 128,
    REPLICA_MESSAGE_BYTES = 64 + REPLICA_MESSAGE_PARTITIONS * REPLICA_MESSAGE_PARTITION_BYTES,
    /* Batches of one Records. */
    REPLICA_MESSAGE_BATCHES = 1024,
    REPLICA_BATCH_BYTES = 16 + BATCH_ENTRY_BYTES,
    REPLICA_ANSWER_BYTES = 224, /* an answer without batches */
};

/* Which partition, and in which round of its fetches: a number that is the follower's own and that no other round of
 * its process has; what comes of an earlier one is dropped. */
struct replica_key {
    uint8_t topic_id[UUID_BYTES];
    int32_t index;
    int32_t leader_epoch;
    uint64_t round;
};

/* ---- Fetch ---- */

struct replica_fetch {
    struct replica_key key;
    struct log_point end;   /* of the follower's log: what it wants next, and the ack of all before */
    int32_t last_epoch;     /* of its log's end; -1: none */
    int64_t flushed;        /* offset: as far as it is on its disk */
    int64_t start;          /* offset: its log start, as it is on its disk */
    int64_t high_watermark; /* offset that it knows */
    uint32_t credit;        /* bytes beyond end that it has room for */
    bool full;              /* its disk is: the last records were dropped */
};

/* Packs one partition after the other. */
struct replica_fetch_out {
    uint64_t session; /* in: a number of this pair's connections, the follower's own */
    int64_t node_epoch;
    struct replica_fetch *partitions; /* in */
    uint32_t count;                   /* 1 … REPLICA_MESSAGE_PARTITIONS */
};

/* The bytes of out that are used; out has room for REPLICA_MESSAGE_BYTES. */
size_t replica_fetch_encode(const struct replica_fetch_out *fetch, uint8_t *out);

/* A message that came, with its elements; replica_message_free() it. */
struct replica_message {
    msgpack_unpacked unpacked;
    uint64_t session;
    int64_t node_epoch; /* Fetch */
    bool from_leader;   /* Beat */
    uint32_t count;     /* partitions */
    const msgpack_object *partitions;
};
/* -EBADMSG with the reason. Allocates no more than some times len. */
int replica_fetch_decode(const uint8_t *data, size_t len, struct replica_message *out, struct err *e);
/* The i-th of it. -EBADMSG. */
int replica_fetch_partition(const struct replica_message *msg, uint32_t i, struct replica_fetch *out, struct err *e);
void replica_message_free(struct replica_message *msg);

/* ---- Records, Diverging, Fenced, Reset: one partition's ---- */

/* One batch of Records; its bytes are the frame's body, one batch behind the other. */
struct replica_batch {
    struct log_point base;
    struct batch_entry entry;
};

struct replica_answer {
    uint64_t session;
    struct replica_key key;
    /* Records: where the follower is expected to be; Diverging: where the leader's found_epoch ends; Reset: where the
     * leader's log begins; Fenced: none. */
    struct log_point point;
    /* Diverging: the largest epoch of the leader's log that is not above the asked one; Records: that of what lies
     * right behind the point, a record or a hole; -1: nothing does */
    int32_t found_epoch;
    struct log_point high_watermark; /* Records */
    struct log_point start;          /* Records: the leader's log start */
    struct log_point upto; /* Records: there is nothing but the batches up to here: behind the last of them, or behind
                              a hole in which the leader's log ends, or another of its epochs begins. Reset: see
                              replica_answer_set_last_append_ms() */
    uint32_t batch_count;
    const uint8_t *batches; /* encoded: REPLICA_BATCH_BYTES each */
};

/* Reset: the time of the last append to the leader's log, of which there may be nothing left. -1: it is not said. */
void replica_answer_set_last_append_ms(struct replica_answer *answer, int64_t ms);
int64_t replica_answer_last_append_ms(const struct replica_answer *answer);

/* Packs a batch to where REPLICA_BATCH_BYTES are. */
void replica_batch_encode(const struct replica_batch *batch, uint8_t *out);
/* -EBADMSG: its entry's CRC does not hold, or it is at no possible place. */
int replica_batch_decode(const uint8_t *in, struct replica_batch *out);

/* The bytes of out that are used; it has room for REPLICA_ANSWER_BYTES and the batches. */
size_t replica_answer_encode(const struct replica_answer *answer, uint8_t *out);
/* *out points into data. -EBADMSG with the reason. */
int replica_answer_decode(const uint8_t *data, size_t len, struct replica_answer *out, struct err *e);

/* ---- Beat ---- */

/* A high watermark that moved and went with no records. */
struct replica_mark {
    struct replica_key key;
    struct log_point high_watermark;
    struct log_point start;
};

size_t replica_beat_encode(uint64_t session, bool from_leader, const struct replica_mark *marks, uint32_t count,
                           uint8_t *out);
int replica_beat_decode(const uint8_t *data, size_t len, struct replica_message *out, struct err *e);
int replica_beat_mark(const struct replica_message *msg, uint32_t i, struct replica_mark *out, struct err *e);

#endif
