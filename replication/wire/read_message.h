/* replication/wire/read_message.h: what a node without the replica that a read needs asks the partition's leader, and
 * the answers. docs/WIRE.md lays the bytes down.
 *
 * What comes from a peer is checked before it is believed: counts against their limits, pieces against the body's
 * length and its CRC, and that they ascend. Pure; any thread, no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_READ_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_READ_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/record/log_point.h"
#include "replication/base/limits.h"
#include "replication/base/uuid.h"

/* What a question is about, and by which number its answer is known. */
struct read_head {
    uint64_t number; /* of the asking process, and never used again by it; not 0 */
    uint8_t topic_id[UUID_BYTES];
    int32_t partition;
};

/* How a question ended. */
enum read_outcome {
    READ_OUTCOME_OK,
    READ_OUTCOME_LATER,  /* who was asked is not in sync, or does not know yet that all is committed that was shown */
    READ_OUTCOME_FAILED, /* its log is offline, or the bytes do not match their CRC: -EIO */
};

/* MESSAGE_READ: the first bytes at or behind a position. */
struct read_request {
    struct read_head head;
    int64_t shown; /* a position that the asking node has shown as the high watermark's: never an end before that */
    int64_t position;
    uint32_t max; /* bytes; 1 … LIMIT_READ_BYTES */
};

/* Of an answer's high watermark. */
struct read_epochs {
    int32_t leader; /* in which who answers knew it; -1: not said */
    int32_t record; /* that of the last record in front of it; -1: not known */
};

/* MESSAGE_READ_ANSWER: its body is the pieces' bytes, one behind the other. */
struct read_answer {
    struct read_head head;
    enum read_outcome outcome;
    struct read_epochs epochs;
    struct log_point high_watermark;
    int64_t end; /* from the asked position to here there is nothing but the pieces */
    uint32_t crc;
    uint32_t count;
    struct read_piece {
        int64_t position;
        uint32_t len;
    } pieces[LIMIT_READ_PIECES];
};

/* MESSAGE_LOOKUP: a run of records, or a place. The numbers are those on the wire. */
enum lookup_kind { LOOKUP_RUN, LOOKUP_OFFSET, LOOKUP_TIME, LOOKUP_LAST, LOOKUP_POSITION, LOOKUP_END, LOOKUP_KINDS };

struct lookup_request {
    struct read_head head;
    int64_t shown;
    enum lookup_kind kind;
    int64_t at;
    int32_t epoch; /* LOOKUP_END: asked is where this leader epoch ended, of the leader alone; -1: it is not */
};

struct lookup_answer {
    struct read_head head;
    enum read_outcome outcome;
    struct read_epochs epochs;
    struct log_point high_watermark;
    struct log_point point; /* the place; of LOOKUP_RUN the log start */
    bool found;             /* LOOKUP_RUN: there is one, and the rest is it */
    struct log_point base;
    uint32_t len, records;
    int64_t timestamp_ms;
    int64_t epoch_end; /* the offset of the first record behind the epoch that was asked about; -1: not said */
};

/* MESSAGE_STAT: how the partition is; held back, for as long as wait_ms, while its high watermark is not above `known`.
 */
struct stat_request {
    struct read_head head;
    int64_t known; /* a position; -1: answered at once */
    uint32_t wait_ms;
};

struct stat_answer {
    struct read_head head;
    enum read_outcome outcome;
    struct read_epochs epochs;
    struct log_point high_watermark, log_start, log_end;
    int64_t retained_bytes;
    uint32_t segments;
    int64_t mtime_ms;
};

/* Each returns the bytes written. */
size_t read_request_encode(const struct read_request *request, uint8_t out[LIMIT_READ_MESSAGE_BYTES]);
size_t read_answer_encode(const struct read_answer *answer, uint8_t out[LIMIT_READ_MESSAGE_BYTES]);
size_t lookup_request_encode(const struct lookup_request *request, uint8_t out[LIMIT_READ_MESSAGE_BYTES]);
size_t lookup_answer_encode(const struct lookup_answer *answer, uint8_t out[LIMIT_READ_MESSAGE_BYTES]);
size_t stat_request_encode(const struct stat_request *request, uint8_t out[LIMIT_READ_MESSAGE_BYTES]);
size_t stat_answer_encode(const struct stat_answer *answer, uint8_t out[LIMIT_READ_MESSAGE_BYTES]);

/* Each returns 0 or -EBADMSG with the reason. */
int read_head_decode(const uint8_t *data, size_t len, struct read_head *out, struct err *e); /* of any of them */
int read_request_decode(const uint8_t *data, size_t len, struct read_request *out, struct err *e);
int read_answer_decode(const uint8_t *data, size_t len, const uint8_t *body, size_t body_bytes, struct read_answer *out,
                       struct err *e);
int lookup_request_decode(const uint8_t *data, size_t len, struct lookup_request *out, struct err *e);
int lookup_answer_decode(const uint8_t *data, size_t len, struct lookup_answer *out, struct err *e);
int stat_request_decode(const uint8_t *data, size_t len, struct stat_request *out, struct err *e);
int stat_answer_decode(const uint8_t *data, size_t len, struct stat_answer *out, struct err *e);

#endif
