/* fs/consume/json_view.c: text is made in a `struct making` of the READ's own, without a lock, since what it is made of
 * may have to be waited for; and becomes the open file's when it is done. Of two READs that make the same piece side by
 * side the first one's counts, and the other takes from that.
 *
 *   SHOWING ──there is text──→ SHOWING … ──READ filled──→ over
 *      │ ^
 *      │ └─── the text is long enough, or there is no more ───┐
 *      v                                                      │
 *   RUN: finds the run that holds the next record ──→ BYTES: fetches some of it ──→ its records become text
 *      ^                                                │                             │
 *      └──── a hole was made meanwhile: look again ─────┴──── more text is wanted ────┘
 */
#include "fs/consume/json_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/base/limits.h"
#include "fs/consume/json.h"
#include "fs/consume/reader.h"
#include "fs/consume/reading.h"

enum making_stage { MAKING_RUN, MAKING_BYTES };

/* A piece of text under way. */
struct making {
    enum making_stage stage;
    bool asked;                 /* the stage's question */
    uint64_t made;              /* json_view.made when it began */
    struct topic_config config; /* how records are cut into key and value: as it was when this began */
    struct log_point next;      /* the record to show next */
    struct log_run run;         /* that it is in */
    int64_t run_end;            /* a position */
    uint8_t *bytes;             /* from `next` on: `have` of the `want` that are fetched before they are looked at */
    size_t have, want, capacity;
    struct json_text text;
};

static void making_free(struct making *making)
{
    if (making == NULL)
        return;
    free(making->bytes);
    free(making->text.data);
    free(making);
}

/* Under the handle's lock. 0 or -ENOMEM. */
static int making_begin(struct reading *reading)
{
    const struct json_view *json = reading->handle->reader->json;
    struct making *making = calloc(1, sizeof *making);
    if (making == NULL)
        return -ENOMEM;
    making->made = json->made;
    making->next = json->next;
    topic_config(reading->handle->pfile->topic, &making->config);
    reading->making = making;
    return 0;
}

/* It is done: the open file's, unless another READ was faster. */
static void making_end(struct reading *reading)
{
    struct json_view *json = reading->handle->reader->json;
    struct making *making = reading->making;
    pthread_mutex_lock(&reading->handle->lock);
    if (json->made == making->made) {
        free(json->text);
        json->text = making->text.data;
        json->text_len = making->text.len;
        json->text_used = 0;
        json->next = making->next;
        json->made++;
        making->text.data = NULL;
    }
    pthread_mutex_unlock(&reading->handle->lock);
    making_free(making);
    reading->making = NULL;
}

/* ---- RUN ---- */

static enum asking_next ask_run(struct reading *reading)
{
    struct making *making = reading->making;
    struct read_op *op = &reading->asking.op;
    making->stage = MAKING_RUN;
    making->asked = true;
    op->kind = READ_RUN;
    op->at = making->next.position;
    op->limit = INT64_MAX;
    op->max = 1;
    return ASKING_READ;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void take_run(struct reading *reading)
{
    struct making *making = reading->making;
    const struct read_op *op = &reading->asking.op;
    making->run = op->run;
    making->run_end = op->run.base.position + op->run.len;
    if (making->run_end > op->high_watermark.position)
        making->run_end = op->high_watermark.position;
    if (making->next.position < op->log_start.position)
        making->next = op->log_start;
    if (making->next.position <= making->run.base.position)
        making->next = making->run.base;
    making->asked = false;
    if (making->next.position >= making->run_end)
        return; /* the log begins behind it by now: another one */
    making->stage = MAKING_BYTES;
    making->have = 0;
    making->want = least(LIMIT_JSON_CHUNK_BYTES, (size_t)(making->run_end - making->next.position));
}

/* ---- BYTES ---- */

static enum asking_next ask_bytes(struct reading *reading)
{
    struct making *making = reading->making;
    struct read_op *op = &reading->asking.op;
    making->asked = true;
    op->kind = READ_BYTES;
    op->at = making->next.position + (int64_t)making->have;
    op->limit = making->run_end;
    op->max = making->want - making->have;
    return ASKING_READ;
}

static int make_room(struct making *making)
{
    if (making->capacity >= making->want)
        return 0;
    uint8_t *bytes = realloc(making->bytes, making->want);
    if (bytes == NULL)
        return -ENOMEM;
    making->bytes = bytes;
    making->capacity = making->want;
    return 0;
}

/* A piece was found. 0; -EAGAIN: not where it was looked for, retention or compaction came between; or a negative
 * errno. */
static int take_bytes(struct reading *reading)
{
    struct making *making = reading->making;
    const struct read_op *op = &reading->asking.op;
    if (op->extent.position != op->at)
        return -EAGAIN;
    int rc = make_room(making);
    if (rc == 0)
        rc = partition_read_copy(op, making->bytes + making->have);
    if (rc == 0)
        making->have += op->extent.len;
    return rc;
}

/* Whether there is a whole record in what is wanted; otherwise more is wanted. */
static bool has_record(struct making *making)
{
    size_t left = (size_t)(making->run_end - making->next.position);
    if (making->want == left || framing_record_len(making->config.log.framing, making->bytes, making->have) > 0)
        return true;
    making->want = least(making->want * 4, left);
    return false;
}

/* The records that are there become text, until there is enough of it. 0, -ENOMEM or -EIO. */
static int show_bytes(struct reading *reading)
{
    struct making *making = reading->making;
    const struct log_config *config = &making->config.log;
    struct json_record record = {
        .partition = partition_index(reading->handle->pfile->part),
        .timestamp_ms = making->run.timestamp_ms,
        .framing = config->framing,
        .separator = config->key_separator,
        .separator_len = config->key_separator_len,
    };
    for (size_t at = 0; at < making->have && making->text.len < LIMIT_JSON_TEXT_BYTES;) {
        size_t record_len = framing_record_len(config->framing, making->bytes + at, making->have - at);
        if (record_len == 0)
            return at > 0 ? 0 : -EIO;
        record.offset = making->next.offset;
        record.bytes = making->bytes + at;
        record.len = record_len - (config->framing == FRAMING_LINE);
        int rc = json_append_record(&making->text, &record);
        if (rc != 0)
            return rc;
        at += record_len;
        making->next.offset++;
        making->next.position += (int64_t)record_len;
    }
    return 0;
}

/* Takes in the answer to the last question. 0: goes on; 1: there is no more; or a negative errno. */
static int take_answer(struct reading *reading)
{
    struct making *making = reading->making;
    struct read_op *op = &reading->asking.op;
    int rc = reading->asking.rc;
    if (rc != 0)
        return rc;
    if (making->stage == MAKING_RUN) {
        if (op->found)
            take_run(reading);
        return op->found ? 0 : 1;
    }
    rc = op->found ? take_bytes(reading) : -EAGAIN;
    if (op->found)
        partition_read_release(op);
    if (rc == 0 && making->have == making->want && has_record(making))
        rc = show_bytes(reading);
    else if (rc == 0)
        return 0;
    if (rc == -EAGAIN)
        rc = 0;
    making->stage = MAKING_RUN;
    making->asked = false;
    return rc;
}

/* Goes on making. ASKING_OVER: it is the open file's, or *rc says why nothing was made: 1: there is no more. */
static enum asking_next make(struct reading *reading, int *rc)
{
    struct making *making = reading->making;
    *rc = making->asked ? take_answer(reading) : 0;
    if (*rc == 0 && making->text.len < LIMIT_JSON_TEXT_BYTES)
        return making->stage == MAKING_RUN ? ask_run(reading) : ask_bytes(reading);
    if (making->text.len > 0)
        *rc = 0; /* what was made is shown first; the error comes again */
    if (*rc == 0) {
        making_end(reading);
    } else {
        making_free(making);
        reading->making = NULL;
    }
    return ASKING_OVER;
}

/* ---- SHOWING ---- */

/* What was made goes where it can be read, and read again. 0 or -ENOMEM. */
static int take_text(struct json_view *json, size_t size)
{
    size_t len = least(size, json->text_len - json->text_used);
    int rc = history_append(&json->history, json->text + json->text_used, len);
    if (rc == 0)
        json->text_used += len;
    return rc;
}

/* Copies what there is, until the READ is filled. 0: it is, or cannot be; 1: text is to be made, and reading->making is
 * begun; or a negative errno. */
static int show(struct reading *reading)
{
    struct json_view *json = reading->handle->reader->json;
    uint8_t *out = reading_bytes(reading);
    int64_t got = 0;
    int rc = out == NULL ? -ENOMEM : 0;
    pthread_mutex_lock(&reading->handle->lock);
    while (rc == 0 && (size_t)reading->got < reading->size) {
        size_t left = reading->size - (size_t)reading->got;
        got = history_read(&json->history, reading->pos + reading->got, out + reading->got, left);
        if (got > 0)
            reading->got += got;
        else if (got < 0)
            rc = (int)got;
        else if (json->text_used < json->text_len)
            rc = take_text(json, left);
        else
            rc = making_begin(reading) == 0 ? 1 : -ENOMEM;
    }
    pthread_mutex_unlock(&reading->handle->lock);
    return rc;
}

static enum asking_next json_tick(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    int rc = 0;
    if (reading->making != NULL && make(reading, &rc) == ASKING_READ)
        return ASKING_READ;
    while (rc == 0 && (rc = show(reading)) == 1) {
        rc = asking->parked ? reading_keep(reading) : 0;
        if (rc == 0 && make(reading, &rc) == ASKING_READ)
            return ASKING_READ;
    }
    if (rc < 0 && reading->got <= 0)
        reading->got = rc;
    return ASKING_OVER;
}

static void json_free(struct asking *asking)
{
    making_free(reading_of(asking)->making);
    reading_free(asking);
}

static const struct asking_kind json_kind = {
    .tick = json_tick,
    .parked = reading_parked,
    .answer = reading_answer,
    .free = json_free,
    .fatal_only = true,
};

void json_view_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner)
{
    int rc = partition_state(handle->pfile->part);
    if (rc == 0 && owner == 0)
        rc = -EINVAL;
    if (rc != 0) {
        reading_reply(req, handle, pos, NULL, rc);
        return;
    }
    struct reading *reading = reading_new(req, handle, size, pos, &json_kind);
    if (reading == NULL)
        return;
    reading->making = NULL;
    asking_go(&reading->asking);
}
