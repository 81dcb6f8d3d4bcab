#include "fs/consume/follow.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/consume/consume.h"
#include "fs/consume/reader.h"

/* Somebody polls. */
struct poll_watch {
    struct partition_waiter waiter;
    struct handle *handle; /* referenced */
};

/* A read may be more than one READ: the kernel puts so many pages, or ends of segments, into each, and sends the next
 * one, which waits, where a READ was filled. Nothing tells whether a READ is the last. So what could be filled with the
 * last byte that there is keeps that for the next READ; one of fewer bytes than segments make a READ is never cut.
 * at_end: nothing is behind what was got. */
static int64_t leave_one(int64_t got, size_t size, bool at_end)
{
    bool cut = size >= LIMIT_REQUEST_BYTES / (size_t)getpagesize();
    return cut && at_end && got == (int64_t)size ? got - 1 : got;
}

/* Begins at the open file's position, or says that it is none from which reading goes on. 0 or -EINVAL. */
static int begin(struct reading *reading)
{
    struct handle *handle = reading->handle;
    pthread_mutex_lock(&handle->lock);
    int64_t next_pos = handle->reader->next_pos;
    int rc = reading->pos > next_pos || reading->pos < next_pos - LIMIT_STREAM_BACK_BYTES ? -EINVAL : 0;
    if (rc == 0) {
        consume_begin(reading, false);
        passed_begin(reading);
    }
    pthread_mutex_unlock(&handle->lock);
    return rc;
}

/* What was got is shown from here on. true: a question is to be asked first. */
static bool end(struct reading *reading)
{
    struct handle *handle = reading->handle;
    const struct copying *copy = &reading->copy;
    int64_t got = reading->got;
    if (!reading->nonblock)
        reading->got = leave_one(reading->got, reading->size, copy->at >= copy->limit);
    pthread_mutex_lock(&handle->lock);
    if (reading->pos + reading->got > handle->reader->next_pos)
        handle->reader->next_pos = reading->pos + reading->got;
    pthread_mutex_unlock(&handle->lock);
    return passed_end(reading, got - reading->got);
}

/* Reads, or waits on. */
static enum asking_next follow_tick(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    if (reading->copy.begun && reading->copy.passing.finding) {
        passed_found(reading);
        return ASKING_OVER;
    }
    int rc = reading->copy.begun ? 0 : begin(reading);
    if (rc != 0) {
        reading->got = rc;
        return ASKING_OVER;
    }
    if (consume_go(reading) == ASKING_READ)
        return ASKING_READ;
    if (reading->got > 0 && end(reading))
        return ASKING_READ;
    if (reading->got == 0 && reading->nonblock)
        reading->got = -EAGAIN;
    if (reading->got != 0)
        return ASKING_OVER;
    asking->waiter.position = asking->op.high_watermark.position;
    reading->copy.begun = false;
    if (!reading->counted) {
        reading->counted = true;
        atomic_fetch_add(&reading->handle->pfile->followers, 1);
    }
    return ASKING_WAIT;
}

/* A reader that has caught up and met no hole is answered out of the memory of the batch that woke it. false: it is
 * not such a one. */
static bool take_fresh(struct reading *reading, const struct partition_fresh *fresh)
{
    struct handle *handle = reading->handle;
    int64_t into = consume_base(handle) + reading->pos - fresh->position;
    uint8_t *buffer = reading_bytes(reading);
    if (into < 0 || into >= (int64_t)fresh->len || buffer == NULL)
        return false;
    size_t skip = (size_t)into, left = fresh->len - skip, got = 0;
    if (left > reading->size)
        left = reading->size;
    pthread_mutex_lock(&handle->lock);
    bool plain = handle->reader->map.runs == NULL && reading->pos == handle->reader->next_pos;
    for (int i = 0; plain && got < left; i++) {
        const struct iovec *piece = &fresh->iov[i];
        size_t from = skip < piece->iov_len ? skip : piece->iov_len;
        size_t len = piece->iov_len - from < left - got ? piece->iov_len - from : left - got;
        memcpy(buffer + got, (const uint8_t *)piece->iov_base + from, len);
        got += len;
        skip -= from;
    }
    reading->got = leave_one((int64_t)got, reading->size, into + (int64_t)got == (int64_t)fresh->len);
    handle->reader->next_pos += reading->got;
    if (reading->got > 0)
        passed_fresh(handle, fresh, into, buffer, (size_t)reading->got);
    pthread_mutex_unlock(&handle->lock);
    return reading->got > 0;
}

static void go_work(struct work *work)
{
    asking_on(&CONTAINER_OF(work, struct reading, work)->asking);
}

static void ready(struct partition_waiter *waiter)
{
    struct asking *asking = CONTAINER_OF(waiter, struct asking, waiter);
    struct reading *reading = reading_of(asking);
    if (!asking_take(asking))
        return;
    bool inlined = atomic_load(&reading->handle->pfile->followers) <= LIMIT_FOLLOW_INLINE;
    if (!inlined) {
        reading->work.run = go_work;
        executor_prompt(node_executor(asking->session->node), &reading->work);
    } else if (waiter->fresh != NULL && take_fresh(reading, waiter->fresh)) {
        asking_over(asking);
    } else {
        asking_on(asking);
    }
}

static void follow_free(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    if (reading->counted)
        atomic_fetch_sub(&reading->handle->pfile->followers, 1);
    reading_free(asking);
}

static const struct asking_kind follow = {
    .tick = follow_tick,
    .parked = reading_parked,
    .answer = reading_answer,
    .free = follow_free,
    .ready = ready,
};

void follow_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner, bool nonblock)
{
    if (owner == 0) {
        reading_reply(req, handle, pos, NULL, -EINVAL);
        return;
    }
    struct reading *reading = reading_new(req, handle, size, pos, &follow);
    if (reading == NULL)
        return;
    reading->nonblock = nonblock;
    reading->copy.begun = false;
    asking_go(&reading->asking);
}

/* ---- poll ---- */

static void poll_ready(struct partition_waiter *waiter)
{
    struct poll_watch *watch = CONTAINER_OF(waiter, struct poll_watch, waiter);
    struct handle *handle = watch->handle;
    pthread_mutex_lock(&handle->lock);
    struct fuse_pollhandle *ph = NULL;
    if (handle->reader->poll_watch == watch) {
        handle->reader->poll_watch = NULL;
        ph = handle->reader->poll_handle;
        handle->reader->poll_handle = NULL;
    }
    pthread_mutex_unlock(&handle->lock);
    if (ph != NULL) {
        fuse_lowlevel_notify_poll(ph);
        fuse_pollhandle_destroy(ph);
    }
    handle_unref(handle);
    free(watch);
}

/* Takes a registered watch back; one that is being called frees itself. Under handle's lock: of two that poll the same
 * open file none may leave a watch behind. The caller has a reference to the handle. */
static void unwatch(struct handle *handle)
{
    struct poll_watch *watch = handle->reader->poll_watch;
    handle->reader->poll_watch = NULL;
    if (watch != NULL && partition_unwait(handle->pfile->part, &watch->waiter)) {
        handle_unref(watch->handle);
        free(watch);
    }
}

static bool watch(struct handle *handle, struct fuse_pollhandle *ph, int64_t limit)
{
    struct poll_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return false;
    watch->handle = handle_ref(handle);
    watch->waiter.ready = poll_ready;
    watch->waiter.position = limit;
    pthread_mutex_lock(&handle->lock);
    unwatch(handle);
    if (handle->reader->poll_handle != NULL)
        fuse_pollhandle_destroy(handle->reader->poll_handle);
    handle->reader->poll_handle = ph;
    handle->reader->poll_watch = watch;
    bool waits = partition_wait(handle->pfile->part, &watch->waiter);
    pthread_mutex_unlock(&handle->lock);
    if (!waits)
        poll_ready(&watch->waiter);
    return true;
}

/* Whether a read would return now: asks for the next byte. */
static enum asking_next poll_tick(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    struct handle *handle = reading->handle;
    struct read_op *op = &asking->op;
    bool known;
    if (reading->copy.begun)
        return ASKING_OVER;
    pthread_mutex_lock(&handle->lock);
    op->at = consume_base(handle) + posmap_translate(&handle->reader->map, handle->reader->next_pos, &known);
    pthread_mutex_unlock(&handle->lock);
    op->kind = READ_BYTES;
    op->limit = INT64_MAX;
    op->max = 1;
    reading->copy.begun = true;
    return ASKING_READ;
}

static void poll_answer(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    bool now = asking->rc != 0 || asking->op.found; /* data, or an error */
    if (asking->rc == 0 && asking->op.found)
        partition_read_release(&asking->op);
    /* Also where there is something by now: who is told of changes alone (EPOLLET, as Go does) asks again at each. */
    if (reading->ph != NULL &&
        (asking->rc != 0 || !watch(reading->handle, reading->ph, asking->op.high_watermark.position)))
        fuse_pollhandle_destroy(reading->ph);
    fuse_reply_poll(asking->req, now ? POLLIN | POLLRDNORM : 0);
}

static void poll_aborted(struct asking *asking, int rc)
{
    if (reading_of(asking)->ph != NULL)
        fuse_pollhandle_destroy(reading_of(asking)->ph);
    fuse_reply_err(asking->req, -rc);
}

static const struct asking_kind polling = {
    .tick = poll_tick,
    .parked = reading_parked,
    .answer = poll_answer,
    .aborted = poll_aborted,
    .free = reading_free,
};

void follow_poll(fuse_req_t req, struct handle *handle, struct fuse_pollhandle *ph)
{
    struct reading *reading = reading_new(req, handle, 0, 0, &polling);
    if (reading == NULL) {
        if (ph != NULL)
            fuse_pollhandle_destroy(ph);
        return;
    }
    reading->ph = ph;
    reading->copy.begun = false;
    asking_go(&reading->asking);
}

void follow_release(struct handle *handle)
{
    pthread_mutex_lock(&handle->lock);
    unwatch(handle);
    pthread_mutex_unlock(&handle->lock);
}
