/* fs/consume/record_fetch.h: the next records of a partition, whole, as their bytes or as lines of `.json`, and where
 * each one ends.
 *
 * The caller asks what record_fetch_go() wants to be asked (partition_read.h), as often as it wants, and then has them
 * in memory. Nobody else sees them: what becomes of them is for the caller to say. One READ's; no lock. */
#ifndef LOGMNT_FS_CONSUME_RECORD_FETCH_H
#define LOGMNT_FS_CONSUME_RECORD_FETCH_H

#include "fs/consume/group_map.h"
#include "fs/consume/json.h"
#include "fs/tree/asking.h"

enum record_fetch_stage {
    FETCH_NEW,
    FETCH_OFFSET,   /* where the record with next.offset is */
    FETCH_POSITION, /* which record is behind a hole */
    FETCH_START,    /* how much of the hole retention has made */
    FETCH_RUN,      /* .json: which records have one timestamp */
    FETCH_BYTES,
    FETCH_EPOCH, /* whether the log has what is before next.offset still */
};

struct record_fetch {
    struct partition *part; /* in; the caller's reference */
    bool json;              /* in */
    size_t room;            /* in: no further than what comes to this, unless a first record alone is longer */
    int64_t max_records;    /* in: more than 0 */
    uint32_t mean_len;      /* in: of a record's bytes, by guess; 0: no idea */
    struct log_point next;  /* in: the record to begin with; out: the one behind those that were fetched */
    bool placed;            /* likewise: next.position is known */
    int32_t leader_epoch;   /* likewise: no record before next is of a later one; -1: not known */
    int64_t lost_from;      /* out: where the log parts from the one that next was of, before that; -1: it does not */
    int64_t passed;         /* out: records that retention had removed */
    size_t raw_len;         /* out: how many bytes of the partition they are */
    struct group_record *records;
    size_t count;
    /* private */
    enum record_fetch_stage stage;
    struct topic_config config; /* as it was when this began */
    size_t capacity;            /* of records */
    int64_t begun_at;           /* next.offset, as it came */
    struct log_point behind;    /* FETCH_START: the record behind the hole */
    int32_t epoch_now;          /* of the last answer, leader_epoch's kind */
    struct {                    /* the question that waits for FETCH_EPOCH's answer */
        enum record_fetch_stage stage;
        int64_t at, limit;
        size_t max;
        int32_t leader_epoch; /* of its answer */
    } again;
    struct history_piece *piece; /* the partition's bytes; NULL: none yet */
    size_t have, used;           /* of those bytes, and how many of them are records that were taken */
    struct log_run run;
    int64_t run_end;
    struct json_text text;
};

/* Fill in what is "in" of a zeroed one. Takes the answer to the last question, if there was one, of which rc was the
 * outcome, and goes on. ASKING_READ: op's kind, at, limit and max are what is to be asked. ASKING_OVER: *over is 0,
 * with count records, or none if there are none there now; or a negative errno with none. */
enum asking_next record_fetch_go(struct record_fetch *fetch, struct read_op *op, int rc, int *over);
/* What was fetched, as the stream shows it: but for `.json` the first bytes of fetch->piece. */
const uint8_t *record_fetch_bytes(const struct record_fetch *fetch);
void record_fetch_free(struct record_fetch *fetch);

#endif
