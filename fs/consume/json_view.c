/* fs/consume/json_view.c: text is made of records that a READ fetches of its own (record_fetch.h), without a lock,
 * since they may have to be waited for; and becomes the open file's when it is done. Of two READs that make the same
 * piece side by side the first one's counts, and the other takes from that.
 *
 *   SHOWING ──there is text──→ SHOWING … ──READ filled, or no more──→ over
 *      │ ^
 *      v └─── the text is long enough, or there are no more ───┐
 *   FETCHING ── what a question of the fetch has brought ──→ FETCHING …
 */
#include "fs/consume/json_view.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/base/limits.h"
#include "fs/consume/reader.h"
#include "fs/consume/reading.h"
#include "fs/consume/record_fetch.h"

/* A piece of text under way. */
struct making {
    struct record_fetch fetch;
    uint64_t made; /* json_view.made when it began */
};

static void making_free(struct reading *reading)
{
    if (reading->making == NULL)
        return;
    record_fetch_free(&reading->making->fetch);
    free(reading->making);
    reading->making = NULL;
}

/* Under the handle's lock. 0 or -ENOMEM. */
static int making_begin(struct reading *reading)
{
    const struct json_view *json = reading->handle->reader->json;
    struct making *making = calloc(1, sizeof *making);
    if (making == NULL)
        return -ENOMEM;
    making->made = json->made;
    making->fetch.part = reading->handle->pfile->part;
    making->fetch.json = making->fetch.placed = true;
    making->fetch.room = LIMIT_JSON_TEXT_BYTES;
    making->fetch.max_records = INT64_MAX;
    making->fetch.next = json->next;
    making->fetch.leader_epoch = -1;
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
        json->text = making->fetch.text.data;
        json->text_len = making->fetch.text.len;
        json->text_used = 0;
        json->next = making->fetch.next;
        json->made++;
        making->fetch.text.data = NULL;
    }
    pthread_mutex_unlock(&reading->handle->lock);
}

/* Goes on making. ASKING_OVER: it is the open file's, or *rc says why nothing was made: 1: there is no more. */
static enum asking_next make(struct reading *reading, int *rc)
{
    struct record_fetch *fetch = &reading->making->fetch;
    struct asking *asking = &reading->asking;
    if (record_fetch_go(fetch, &asking->op, asking->rc, rc) == ASKING_READ) {
        asking->op.more = asking->op.more || reading->got > 0;
        return ASKING_READ;
    }
    if (fetch->count > 0)
        making_end(reading);
    else if (*rc == 0)
        *rc = 1;
    making_free(reading);
    return ASKING_OVER;
}

/* ---- SHOWING ---- */

/* What was made goes where it can be read, and read again. 0 or -ENOMEM. */
static int take_text(struct json_view *json, size_t size)
{
    size_t left = json->text_len - json->text_used;
    size_t len = size < left ? size : left;
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
    making_free(reading_of(asking));
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
