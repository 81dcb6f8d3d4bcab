/* fs/consume/record_fetch.c: the bytes lie in one buffer, whatever lies between them in the partition; `next` is the
 * record at `used`.
 *
 *     NEW ──place known──→ BYTES ──some records, and more are wanted──→ BYTES … ──enough, or no more──→ over
 *      │                   ^   │
 *      └──→ OFFSET ────────┤   └──found behind a hole──→ POSITION ──→ BYTES
 *                          │
 *     .json: NEW, OFFSET ──→ RUN ──→ BYTES … ──its end──→ RUN …
 *
 * Of a hole only what retention made of it counts as passed, so it takes the log's start as it was when that hole was
 * found. Answers to OFFSET and POSITION from another node do not tell it, and what this node has heard of it before is
 * older: the run behind the hole is asked for then (START), whose answer does.
 *
 * An answer out of a log that has come to a later leader epoch than the one that `next` is of says nothing yet: the
 * power, or an unclean election, may have taken what is before `next`, and others may have its offsets (KIP-320). So
 * the leader is asked first where that epoch ended (EPOCH), and the question is asked again; or it is over, and
 * lost_from says from where on all is to be read again. What was fetched by then is given first.
 *
 * A record whose beginning was read in another epoch than what follows it is read anew: both may be halves of others.
 *
 * Retention and compaction may make a hole between two questions: what was not whole by then is gone, and looked for
 * behind it.
 */
#include "fs/consume/record_fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/base/limits.h"

/* Of a question; and of records at first. */
enum { FETCH_LEAST_BYTES = 4096, FETCH_RECORDS = 512 };

void record_fetch_free(struct record_fetch *fetch)
{
    free(fetch->records);
    history_piece_unref(fetch->piece);
    free(fetch->text.data);
}

/* ---- the buffer ---- */

/* For what the question has brought; a new one is as large as what was asked for, and a little more, so that records
 * that are longer than was guessed still come into it. 0 or -ENOMEM. */
static int make_room(struct record_fetch *fetch, const struct read_op *op)
{
    int64_t there = op->high_watermark.position - op->extent.position;
    size_t need = fetch->have + op->extent.len, capacity = need > 2 * fetch->have ? need : 2 * fetch->have;
    if (fetch->piece != NULL && need <= fetch->piece->capacity)
        return 0;
    if (there > (int64_t)op->extent.len)
        capacity += ((int64_t)op->max < there ? op->max : (size_t)there) - op->extent.len;
    struct history_piece *piece = history_piece_new(capacity + FETCH_LEAST_BYTES);
    if (piece == NULL)
        return -ENOMEM;
    if (fetch->have > 0)
        memcpy(piece->bytes, fetch->piece->bytes, fetch->have);
    history_piece_unref(fetch->piece);
    fetch->piece = piece;
    return 0;
}

const uint8_t *record_fetch_bytes(const struct record_fetch *fetch)
{
    return fetch->json ? (const uint8_t *)fetch->text.data : fetch->piece->bytes;
}

/* ---- taking records out of it ---- */

/* How much the stream shows so far. */
static size_t shown(const struct record_fetch *fetch)
{
    return fetch->json ? fetch->text.len : fetch->used;
}

/* Room for one more. 0 or -ENOMEM. */
static int reserve(struct record_fetch *fetch)
{
    if (fetch->count < fetch->capacity)
        return 0;
    size_t capacity = fetch->capacity > 0 ? fetch->capacity * 2 : FETCH_RECORDS;
    struct group_record *records = realloc(fetch->records, capacity * sizeof *records);
    if (records == NULL)
        return -ENOMEM;
    fetch->records = records;
    fetch->capacity = capacity;
    return 0;
}

/* The record at `used`, which is `shown_len` long in the stream. */
static void note_record(struct record_fetch *fetch, size_t len, size_t shown_len)
{
    fetch->records[fetch->count++] = (struct group_record){.offset = fetch->next.offset, .len = (uint32_t)shown_len};
    fetch->used += len;
    fetch->raw_len += len;
    fetch->next.offset++;
    fetch->next.position += (int64_t)len;
}

/* Writes the line of the record at `used`. 0; 1: it does not fit any more; or -ENOMEM. */
static int write_line(struct record_fetch *fetch, size_t len)
{
    const struct log_config *config = &fetch->config.log;
    size_t before = fetch->text.len;
    struct json_record record = {
        .partition = partition_index(fetch->part),
        .offset = fetch->next.offset,
        .timestamp_ms = fetch->run.timestamp_ms,
        .framing = config->framing,
        .separator = config->key_separator,
        .separator_len = config->key_separator_len,
        .bytes = fetch->piece->bytes + fetch->used,
        .len = len - (config->framing == FRAMING_LINE),
    };
    int rc = json_append_record(&fetch->text, &record);
    if (rc == 0 && fetch->text.len > fetch->room && fetch->count > 0) {
        fetch->text.len = before;
        rc = 1;
    }
    return rc;
}

/* Takes the record at `used`. 0; 1: it does not fit any more; or a negative errno. */
static int take_record(struct record_fetch *fetch, size_t len)
{
    size_t before = shown(fetch);
    int rc = reserve(fetch);
    if (rc == 0 && fetch->json)
        rc = write_line(fetch, len);
    else if (rc == 0)
        rc = before + len > fetch->room && fetch->count > 0;
    if (rc == 0)
        note_record(fetch, len, fetch->json ? fetch->text.len - before : len);
    return rc;
}

/* All that there are. 0: more may be wanted; 1: it is enough; or a negative errno. */
static int take_records(struct record_fetch *fetch)
{
    int rc = 0;
    while (rc == 0) {
        const uint8_t *at = fetch->piece->bytes + fetch->used;
        size_t left = fetch->have - fetch->used;
        if ((int64_t)fetch->count == fetch->max_records || (fetch->count > 0 && shown(fetch) >= fetch->room))
            return 1;
        size_t len = framing_record_len(fetch->config.log.framing, at, left);
        if (len == 0) /* longer than what is left of the room: none, or the next one does not fit */
            return !fetch->json && fetch->count > 0 && shown(fetch) + left >= fetch->room;
        rc = take_record(fetch, len);
    }
    return rc;
}

/* ---- questions ---- */

static void ask(struct record_fetch *fetch, struct read_op *op, enum record_fetch_stage stage)
{
    static const enum read_kind kinds[] = {
        [FETCH_OFFSET] = FIND_OFFSET, [FETCH_POSITION] = FIND_POSITION, [FETCH_START] = READ_RUN,
        [FETCH_RUN] = READ_RUN,       [FETCH_BYTES] = READ_BYTES,       [FETCH_EPOCH] = FIND_EPOCH_END};
    fetch->stage = stage;
    op->kind = kinds[stage];
    op->at = stage == FETCH_OFFSET ? fetch->next.offset : fetch->next.position;
    op->limit = INT64_MAX;
    op->max = 1;
    op->of_leader = stage == FETCH_START;
}

/* How many bytes to ask for: as many as the records that are wanted may come to; of a record that is longer than what
 * is there, four times that. */
static size_t wanted(const struct record_fetch *fetch)
{
    size_t pending = fetch->have - fetch->used;
    size_t room = fetch->room > shown(fetch) ? fetch->room - shown(fetch) : 0;
    uint64_t records = (uint64_t)fetch->max_records - fetch->count;
    uint64_t want = room;
    if (fetch->mean_len > 0 && records < room / fetch->mean_len)
        want = records * fetch->mean_len * 33 / 32;
    if (want < pending * 4)
        want = pending * 4;
    want = want > pending ? want - pending : 0;
    return want > FETCH_LEAST_BYTES ? (size_t)want : FETCH_LEAST_BYTES;
}

static void ask_bytes(struct record_fetch *fetch, struct read_op *op)
{
    ask(fetch, op, FETCH_BYTES);
    op->at += (int64_t)(fetch->have - fetch->used);
    op->max = wanted(fetch);
    if (!fetch->json)
        return;
    op->limit = fetch->run_end;
    if (op->max > LIMIT_JSON_CHUNK_BYTES)
        op->max = LIMIT_JSON_CHUNK_BYTES;
}

/* The place of the next record is known. */
static void ask_placed(struct record_fetch *fetch, struct read_op *op)
{
    fetch->placed = true;
    if (fetch->json)
        ask(fetch, op, FETCH_RUN);
    else
        ask_bytes(fetch, op);
}

/* ---- the log of another epoch ---- */

static bool is_later(const struct record_fetch *fetch, const struct read_op *op)
{
    return fetch->stage != FETCH_NEW && fetch->stage != FETCH_EPOCH && fetch->leader_epoch >= 0 &&
           op->leader_epoch > fetch->leader_epoch;
}

/* The answer is not looked at. Returns as answers do. */
static int ask_epoch(struct record_fetch *fetch, struct read_op *op)
{
    if (fetch->stage == FETCH_BYTES && op->found)
        partition_read_release(op);
    if (fetch->count > 0)
        return 1;
    fetch->again.stage = fetch->stage;
    fetch->again.at = op->at;
    fetch->again.limit = op->limit;
    fetch->again.max = op->max;
    fetch->again.leader_epoch = op->leader_epoch;
    ask(fetch, op, FETCH_EPOCH);
    op->at = fetch->leader_epoch;
    return 0;
}

static int take_epoch(struct record_fetch *fetch, struct read_op *op)
{
    if (!op->found || op->leader_epoch < fetch->again.leader_epoch)
        return -ETIMEDOUT; /* the leader is another one by now */
    if (op->point.offset < fetch->begun_at) {
        fetch->lost_from = op->point.offset;
        return 1;
    }
    fetch->leader_epoch = op->leader_epoch;
    ask(fetch, op, fetch->again.stage);
    op->at = fetch->again.at;
    op->limit = fetch->again.limit;
    op->max = fetch->again.max;
    return 0;
}

/* ---- answers; each returns 0: the next question is asked; 1: over; or a negative errno ---- */

/* The next record is this one: those between were removed, by retention if they are before the log's start. */
static void pass_to(struct record_fetch *fetch, struct log_point point, int64_t start_offset)
{
    int64_t gone = (point.offset < start_offset ? point.offset : start_offset) - fetch->next.offset;
    if (gone > 0)
        fetch->passed += gone;
    fetch->next = point;
}

/* It is `behind`, and the log's start is known. */
static int take_start(struct record_fetch *fetch, struct read_op *op)
{
    pass_to(fetch, fetch->behind, op->log_start.offset);
    if (fetch->next.position >= op->high_watermark.position) {
        fetch->placed = true;
        return 1;
    }
    ask_placed(fetch, op);
    return 0;
}

static int take_place(struct record_fetch *fetch, struct read_op *op)
{
    if (op->point.offset < fetch->next.offset)
        return 1; /* what is here lags behind what was committed elsewhere */
    fetch->behind = op->point;
    if (op->point.offset == fetch->next.offset || op->log_start.offset >= 0)
        return take_start(fetch, op);
    ask(fetch, op, FETCH_START);
    op->at = fetch->behind.position;
    return 0;
}

static int take_run(struct record_fetch *fetch, struct read_op *op)
{
    int64_t start = op->log_start.position;
    if (!op->found)
        return 1;
    fetch->run = op->run;
    fetch->run_end = op->run.base.position + op->run.len;
    if (fetch->run_end > op->high_watermark.position)
        fetch->run_end = op->high_watermark.position;
    if (fetch->next.position < start)
        pass_to(fetch, op->log_start, op->log_start.offset);
    if (fetch->next.position < op->run.base.position)
        pass_to(fetch, op->run.base, op->log_start.offset);
    fetch->have = fetch->used = 0;
    if (fetch->next.position >= fetch->run_end)
        ask(fetch, op, FETCH_RUN); /* the log begins behind it by now */
    else
        ask_bytes(fetch, op);
    return 0;
}

/* It is not where it was looked for. */
static int find_behind(struct record_fetch *fetch, struct read_op *op, int64_t position)
{
    fetch->have = fetch->used;
    if (fetch->json) {
        ask(fetch, op, FETCH_RUN);
    } else {
        ask(fetch, op, FETCH_POSITION);
        op->at = position;
    }
    return 0;
}

/* Bytes were found. */
static int take_bytes(struct record_fetch *fetch, struct read_op *op)
{
    if (op->extent.position != op->at)
        return find_behind(fetch, op, op->extent.position);
    int rc = make_room(fetch, op);
    if (rc == 0)
        rc = partition_read_copy(op, fetch->piece->bytes + fetch->have);
    if (rc != 0)
        return rc;
    fetch->have += op->extent.len;
    rc = take_records(fetch);
    if (rc != 0)
        return rc;
    int64_t behind = fetch->next.position + (int64_t)(fetch->have - fetch->used);
    bool run_over = fetch->json && behind >= fetch->run_end;
    if ((run_over || behind >= op->high_watermark.position) && fetch->used < fetch->have)
        return -EIO; /* half a record, where only whole ones are */
    if (behind >= op->high_watermark.position)
        return 1;
    if (run_over)
        ask(fetch, op, FETCH_RUN);
    else
        ask_bytes(fetch, op);
    return 0;
}

/* Whether the bytes are of another log, perhaps, than those that lie in front of them, or of `.json` than the run. */
static bool is_torn(const struct record_fetch *fetch, const struct read_op *op)
{
    return fetch->stage == FETCH_BYTES && op->found && op->leader_epoch != fetch->epoch_now &&
           (fetch->json || fetch->used < fetch->have);
}

/* The answer is not looked at, and neither is the half of a record that was there. */
static int begin_record_anew(struct record_fetch *fetch, struct read_op *op)
{
    partition_read_release(op);
    fetch->have = fetch->used;
    fetch->epoch_now = op->leader_epoch;
    ask_placed(fetch, op);
    return 0;
}

static int take_answer(struct record_fetch *fetch, struct read_op *op)
{
    int rc;
    if (is_later(fetch, op))
        return ask_epoch(fetch, op);
    if (is_torn(fetch, op))
        return begin_record_anew(fetch, op);
    if (fetch->stage != FETCH_NEW && fetch->stage != FETCH_EPOCH)
        fetch->epoch_now = op->leader_epoch;
    switch (fetch->stage) {
    case FETCH_NEW:
        fetch->begun_at = fetch->next.offset;
        fetch->lost_from = -1;
        fetch->epoch_now = fetch->leader_epoch;
        topic_config(partition_topic(fetch->part), &fetch->config);
        if (fetch->placed)
            ask_placed(fetch, op);
        else
            ask(fetch, op, FETCH_OFFSET);
        return 0;
    case FETCH_OFFSET:
    case FETCH_POSITION:
        return take_place(fetch, op);
    case FETCH_START:
        return take_start(fetch, op);
    case FETCH_RUN:
        return take_run(fetch, op);
    case FETCH_EPOCH:
        return take_epoch(fetch, op);
    case FETCH_BYTES:
        if (!op->found && fetch->json)
            return find_behind(fetch, op, 0);
        if (!op->found) { /* a hole up to the end, perhaps */
            if (fetch->count == 0 && fetch->next.position < op->high_watermark.position)
                pass_to(fetch, op->high_watermark, op->high_watermark.offset);
            return 1;
        }
        rc = take_bytes(fetch, op);
        partition_read_release(op);
        return rc;
    }
    return -EIO;
}

enum asking_next record_fetch_go(struct record_fetch *fetch, struct read_op *op, int rc, int *over)
{
    if (fetch->stage == FETCH_NEW || rc == 0)
        rc = take_answer(fetch, op);
    op->more = fetch->count > 0;
    if (rc == 0)
        return ASKING_READ;
    *over = rc < 0 && fetch->count == 0 ? rc : 0; /* records first; the error comes again */
    fetch->leader_epoch = fetch->epoch_now;
    return ASKING_OVER;
}
