/* replication/wire/forward_message.h: what a node that does not lead a partition asks its leader to do: append batches,
 * flush, delete records; and the answers. docs/WIRE.md lays the bytes down.
 *
 * What comes from a peer is checked before it is believed: counts and lengths against their limits, and a request's
 * lengths against its body. Pure; any thread, no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_FORWARD_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_FORWARD_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/record/framing.h"
#include "engine/record/log_point.h"
#include "replication/base/limits.h"
#include "replication/base/uuid.h"

/* What a request is about, and by which number its answer is known. */
struct forward_head {
    uint64_t number; /* of the sender's process, and never used again by it; not 0 */
    uint8_t topic_id[UUID_BYTES];
    int32_t partition;
    int32_t leader_epoch; /* in requests: in which the sender takes the receiver for the leader; in answers: its own */
};

/* MESSAGE_APPEND: batches of one producer, whose bytes are the body, one behind the other. */
struct append_request_batch {
    int32_t sequence;
    uint32_t gap; /* append_batch's */
    uint32_t records;
    uint32_t len;
    uint32_t crc;
    int64_t first_timestamp_ms, last_timestamp_ms;
    enum framing framing;
    int acks;           /* -1, 0, 1 */
    int64_t timeout_ms; /* after which what is not in the log is not to come into it any more */
};

struct append_request {
    struct forward_head head;
    int64_t node_epoch; /* the sender's */
    int64_t producer_id;
    int32_t count;
    struct append_request_batch batches[LIMIT_FORWARD_BATCHES];
};

/* MESSAGE_APPEND_ANSWER: of one request's batches those that are over since the last answer. */
struct append_answer {
    struct forward_head head;
    int32_t count;
    struct append_answer_batch {
        int32_t sequence;
        int rc;                     /* 0 or a negative errno, one of those that travel (forward_errno_travels()) */
        struct log_point base, end; /* where it is; rc 0 */
    } batches[LIMIT_FORWARD_BATCHES];
};

/* MESSAGE_FLUSH: everything below an end offset of an epoch on the disk of every in-sync replica. MESSAGE_FLUSH_INSYNC:
 * on that of the receiver, which follows the sender. MESSAGE_DELETE_RECORDS: up to a position. MESSAGE_SHOWN: how far
 * was it shown? MESSAGE_SEAL: is it empty, and stays so? */
enum seal_request {
    SEAL_EMPTY = -1,      /* it has no records */
    SEAL_LOOK = 0,        /* likewise, now: it is not sealed */
    SEAL_AWAITS_NONE = 1, /* nor does one wait to get in */
};

struct partition_request {
    struct forward_head head;
    /* FLUSH: in which the record before `upto` was acknowledged; SHOWN: of the sender's log; SEAL: enum seal_request */
    int32_t epoch;
    int64_t upto; /* an offset, or DELETE_RECORDS's position, or for how many ms to SEAL, 0: no longer */
};

/* SHOWN: what tells whether a log may go on behind what was shown. All -1: it tells nothing. */
struct shown_from {
    int32_t epoch;        /* the leader's when it was; -1: it was by the sender's own high watermark */
    int32_t record_epoch; /* that of the last record in front; -1: not known */
    int32_t found_epoch;  /* the largest one in its log that is not above the asked one, */
    struct log_point end; /* and where that ends */
    struct log_point own; /* its own high watermark; -1: it has no replica */
};

#define SHOWN_FROM_NOTHING ((struct shown_from){-1, -1, -1, {-1, -1}, {-1, -1}})

struct partition_answer {
    struct forward_head head;
    int rc;
    /* FLUSH_INSYNC: how far the sender's log is on its disk, SHOWN: how far it was shown, offset; SEAL: 1: it is not
     * empty; DELETE_RECORDS: the log start then, offset, 0: not known; else 0 */
    int64_t upto;
    int64_t position; /* SHOWN, DELETE_RECORDS: that of upto; SEAL: the sender's node epoch; else 0 */
    struct shown_from from;
};

/* An errno that is none of these travels as -EIO. Their numbers on the wire are no machine's. */
int forward_errno_travels(int rc);

/* Each returns the bytes written. */
size_t append_request_encode(const struct append_request *request, uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES]);
size_t append_answer_encode(const struct append_answer *answer, uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES]);
size_t partition_request_encode(const struct partition_request *request, uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES]);
size_t partition_answer_encode(const struct partition_answer *answer, uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES]);

/* Each returns 0 or -EBADMSG with the reason. */
int append_request_decode(const uint8_t *data, size_t len, size_t body_bytes, struct append_request *out,
                          struct err *e);
int append_answer_decode(const uint8_t *data, size_t len, struct append_answer *out, struct err *e);
int partition_request_decode(const uint8_t *data, size_t len, struct partition_request *out, struct err *e);
int partition_answer_decode(const uint8_t *data, size_t len, struct partition_answer *out, struct err *e);

#endif
