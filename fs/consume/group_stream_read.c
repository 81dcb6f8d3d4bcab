/* fs/consume/group_stream_read.c: READ and POLL of a group's stream.
 *
 *     BEGUN: it is a member; what is before pos is done; what is its no more is withdrawn
 *       │
 *       v         ┌── the answer's records are taken: added to the map, unless another READ was faster ──┐
 *     LOOKING ──→ is something held at pos? ──yes──→ over                                                │
 *       ^         └──no──→ has a part records? ──yes──→ FETCHING (record_fetch.h) ───────────────────────┘
 *       │                     └──no──→ WAITING (-EAGAIN with O_NONBLOCK)
 *       └── stirred: records came, or the coordinator spoke ─┘
 *
 * Whatever fails is told only if no other part has records.
 */
#include "fs/consume/group_stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/consume/group_stream_internal.h"
#include "fs/consume/reader.h"

static struct group_stream *stream_of(const struct reading *reading)
{
    return reading->handle->reader->group;
}

/* ---- FETCHING ---- */

static void end_fetch(struct group_reading *group)
{
    if (group->fetch == NULL)
        return;
    partition_unref(group->fetch->part);
    record_fetch_free(group->fetch);
    free(group->fetch);
    group->fetch = NULL;
}

/* Under the handle's lock, which op.part is under, too. 0 or -ENOMEM. */
static int begin_fetch(struct reading *reading, struct group_part *part)
{
    struct group_reading *group = reading->group;
    group->added = false;
    struct record_fetch *fetch = calloc(1, sizeof *fetch);
    if (fetch == NULL)
        return -ENOMEM;
    fetch->part = partition_ref(part->part);
    fetch->json = stream_of(reading)->json;
    fetch->room = reading->size - 1;
    fetch->max_records = group->max_records;
    fetch->mean_len = part->mean_len;
    fetch->next = part->next;
    fetch->placed = part->placed;
    fetch->leader_epoch = part->leader_epoch;
    group->fetch = fetch;
    group->owner = part->owner;
    group->from_offset = part->next.offset;
    reading->asking.op.part = fetch->part;
    return 0;
}

/* Under the handle's lock. out: where the READ's bytes go; NULL: they are the first ones of the fetch. 0, or a negative
 * errno. */
static int give(struct reading *reading, uint8_t *out)
{
    struct group_stream *stream = stream_of(reading);
    int64_t given = group_map_give(&stream->map, reading->pos, reading->size, reading->group->max_records, out);
    if (given < 0)
        return (int)given;
    reading->got = given;
    if (given > 0)
        stream_polled(stream, true);
    return 0;
}

/* What was fetched is the stream's, if it is still to be delivered by now, and follows what that holds. Under the
 * handle's lock. 0, -ESTALE or -ENOMEM. */
static int accept(struct reading *reading)
{
    struct group_reading *group = reading->group;
    struct group_stream *stream = stream_of(reading);
    struct record_fetch *fetch = group->fetch;
    int rc = stream_update(stream);
    struct group_part *part = rc == 0 ? stream_part(stream, group->owner) : NULL;
    if (rc != 0 || stream->silent)
        return rc;
    if (part == NULL || part->next.offset != group->from_offset || group_map_end(&stream->map) != reading->pos)
        return 0;
    if (fetch->lost_from >= 0) {
        stream_part_lost(part, fetch->lost_from);
        return 0;
    }
    group->added = true;
    if (fetch->count > 0 && fetch->json)
        rc = group_map_add(&stream->map, part->owner, fetch->records, fetch->count, fetch->text.data);
    else if (fetch->count > 0)
        rc = group_map_add_piece(&stream->map, part->owner, fetch->records, fetch->count, fetch->piece);
    if (rc != 0)
        return rc;
    if (fetch->count > 0) {
        part->mean_len = (uint32_t)(fetch->raw_len / fetch->count);
        stream->turn = part->owner.partition;
    } else {
        part->searched = reading->asking.op.high_watermark.offset;
    }
    part->next = fetch->next;
    part->placed = fetch->placed;
    part->leader_epoch = fetch->leader_epoch;
    part->failures = 0;
    stream->skipped += fetch->passed;
    return 0;
}

/* The last question of a part was answered with an error. */
static void failed(struct reading *reading, int rc)
{
    struct group_reading *group = reading->group;
    struct group_part *part = stream_part(stream_of(reading), group->owner);
    if (part != NULL)
        stream_part_failed(part);
    bool again = rc == -ETIMEDOUT && part != NULL && part->failures < LIMIT_ANSWER_MS / LIMIT_STREAM_ANSWER_MS;
    group->failed = again ? 0 : rc;
}

/* Goes on fetching. ASKING_OVER: it is over, by whichever way. */
static enum asking_next fetch(struct reading *reading)
{
    struct group_reading *group = reading->group;
    struct asking *asking = &reading->asking;
    int rc;
    if (record_fetch_go(group->fetch, &asking->op, asking->rc, &rc) == ASKING_READ)
        return ASKING_READ;
    pthread_mutex_lock(&reading->handle->lock);
    if (rc == 0)
        rc = accept(reading);
    if (rc != 0)
        failed(reading, rc);
    if (rc == 0 && group->fetch->count > 0 && group->added) /* the READ is given what is at hand */
        (void)give(reading, NULL);                          /* it follows what the stream holds */
    pthread_mutex_unlock(&reading->handle->lock);
    if (reading->got == 0)
        end_fetch(group);
    return ASKING_OVER;
}

/* ---- LOOKING ---- */

/* What its reader has yet to read on from is withdrawn, if it is delivered no more: by this member only if it keeps the
 * partition after all. */
static void withdraw(struct group_stream *stream)
{
    struct group_owner owner;
    if (!group_map_last_owner(&stream->map, &owner) || stream_part(stream, owner) != NULL)
        return;
    int64_t offset = group_map_withdraw(&stream->map, owner);
    struct group_part *part = offset >= 0 ? stream_any_part(stream, owner) : NULL;
    if (part == NULL)
        return;
    part->next = (struct log_point){.offset = offset};
    part->placed = false;
    part->searched = 0;
}

static void commit_one(void *arg, const struct group_offset *upto)
{
    struct group_stream *stream = arg;
    const struct group_part *part = stream_any_part(stream, upto->owner);
    group_member_commit(stream->member, upto->owner.partition, upto->owner.epoch, upto->offset,
                        part != NULL ? part->leader_epoch : -1);
    stream_committed(stream, upto);
}

/* Under the handle's lock, as the next one. 0 or a negative errno. */
static int begin(struct reading *reading)
{
    struct group_stream *stream = stream_of(reading);
    struct group_config config;
    int rc = stream_join(stream);
    if (rc == 0)
        rc = group_map_read_at(&stream->map, reading->pos);
    if (rc != 0)
        return rc;
    node_group_config(reading->handle->vnode->group, &config); /* as of now: a change works at once */
    reading->group->max_records = config.max_poll_records;
    stream->by_hand = !config.enable_auto_commit;
    if (config.enable_auto_commit)
        group_map_commit(&stream->map, reading->pos, commit_one, stream);
    rc = stream_update(stream);
    if (rc == 0)
        withdraw(stream);
    return rc;
}

/* 0: over, or a fetch has begun; 1: there is nothing; or a negative errno. */
static int look(struct reading *reading)
{
    struct group_stream *stream = stream_of(reading);
    struct group_reading *group = reading->group;
    int rc = group->begun ? stream_update(stream) : begin(reading);
    group->begun = true;
    if (rc != 0)
        return rc;
    stream_give_up(stream);
    uint8_t *out = reading_bytes(reading);
    if (out == NULL)
        return -ENOMEM;
    rc = give(reading, out);
    if (rc != 0 || reading->got > 0)
        return rc;
    group->stirs = stream->stirs;
    struct group_part *part = stream_next_part(stream);
    if (part != NULL && (part->failures == 0 || group->failed == 0))
        return begin_fetch(reading, part);
    stream_polled(stream, false);
    group_map_rest(&stream->map);
    if (stream->refused != 0)
        return stream->refused;
    return group->failed != 0 ? group->failed : reading->nonblock ? -EAGAIN : 1;
}

static enum asking_next group_tick(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    struct group_reading *group = reading->group;
    int rc = 0;
    do {
        if (group->fetch != NULL && fetch(reading) == ASKING_READ)
            return ASKING_READ;
        if (reading->got > 0)
            break;
        pthread_mutex_lock(&reading->handle->lock);
        rc = look(reading);
        pthread_mutex_unlock(&reading->handle->lock);
    } while (rc == 0 && reading->got == 0);
    if (rc == 1)
        return ASKING_WAIT;
    if (rc < 0)
        reading->got = rc;
    return ASKING_OVER;
}

/* ---- WAITING ---- */

static bool group_wait(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    struct group_reading *group = reading->group;
    struct group_stream *stream = stream_of(reading);
    pthread_mutex_lock(&reading->handle->lock);
    bool waits = group->waits = stream->stirs == group->stirs;
    if (waits) {
        group->prev = NULL;
        group->next = stream->waiting;
        if (group->next != NULL)
            group->next->prev = group;
        stream->waiting = group;
    }
    pthread_mutex_unlock(&reading->handle->lock);
    return waits;
}

static bool group_cancel(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    struct group_reading *group = reading->group;
    pthread_mutex_lock(&reading->handle->lock);
    bool taken = group->waits;
    if (taken) {
        if (group->prev != NULL)
            group->prev->next = group->next;
        else
            stream_of(reading)->waiting = group->next;
        if (group->next != NULL)
            group->next->prev = group->prev;
        group->waits = false;
    } else {
        taken = partition_read_cancel(&asking->op);
    }
    pthread_mutex_unlock(&reading->handle->lock);
    return taken;
}

static void go_work(struct work *work)
{
    asking_on(&CONTAINER_OF(work, struct reading, work)->asking);
}

void stream_wake(struct group_reading *readings)
{
    while (readings != NULL) {
        struct reading *reading = readings->reading;
        readings = readings->next; /* it may be gone at once */
        struct executor *executor = node_executor(reading->asking.session->node);
        reading->work.run = go_work;
        if (asking_take(&reading->asking))
            executor_prompt(executor, &reading->work);
    }
}

/* ---- the request ---- */

static void group_parked(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    handle_ref(reading->handle);
}

static void group_answer(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    const struct record_fetch *fetch = reading->group->fetch;
    reading_reply(asking->req, reading->handle, reading->pos,
                  fetch != NULL ? record_fetch_bytes(fetch) : reading_bytes(reading), reading->got);
}

static void group_free(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    end_fetch(reading->group);
    free(reading->group);
    reading_free(asking);
}

static const struct asking_kind group_kind = {
    .tick = group_tick,
    .parked = group_parked,
    .answer = group_answer,
    .free = group_free,
    .wait = group_wait,
    .cancel = group_cancel,
};

void group_stream_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner, bool nonblock)
{
    struct group_reading *group = owner != 0 && size > 0 ? calloc(1, sizeof *group) : NULL;
    if (group == NULL) {
        reading_reply(req, handle, pos, NULL, owner == 0 ? -EINVAL : size == 0 ? 0 : -ENOMEM);
        return;
    }
    struct reading *reading = reading_new(req, handle, size, pos, &group_kind);
    if (reading == NULL) {
        free(group);
        return;
    }
    reading->group = group;
    group->reading = reading;
    reading->nonblock = nonblock;
    reading->asking.op.timeout_ms = LIMIT_STREAM_ANSWER_MS;
    asking_go(&reading->asking);
}

/* ---- poll ---- */

void group_stream_poll(fuse_req_t req, struct handle *handle, struct fuse_pollhandle *ph)
{
    struct group_stream *stream = handle->reader->group;
    struct fuse_pollhandle *old = ph;
    pthread_mutex_lock(&handle->lock);
    int rc = stream_join(stream);
    if (rc == 0)
        rc = stream_update(stream);
    if (rc == 0)
        stream_give_up(stream);
    bool now = rc != 0 || stream->refused != 0 || stream->map.given_pos < group_map_end(&stream->map) ||
               stream_next_part(stream) != NULL;
    if (rc == 0)
        stream_polled(stream, now);
    if (!now)
        group_map_rest(&stream->map);
    /* Also where there is something by now: who is told of changes alone (EPOLLET, as Go does) asks again at each. */
    if (rc == 0 && ph != NULL) {
        old = stream->poll_handle;
        stream->poll_handle = ph;
    }
    pthread_mutex_unlock(&handle->lock);
    if (old != NULL)
        fuse_pollhandle_destroy(old);
    fuse_reply_poll(req, now ? POLLIN | POLLRDNORM : 0);
}
