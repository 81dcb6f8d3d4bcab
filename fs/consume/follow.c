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

/* A parked read. */
struct follow_op {
    struct park park;
    struct partition_waiter waiter;
    struct work work;
    struct handle *handle; /* referenced */
    size_t size;
    int64_t pos;
};

/* Somebody polls. */
struct poll_watch {
    struct partition_waiter waiter;
    struct handle *handle; /* referenced */
};

static int64_t base_of(const struct handle *handle)
{
    return vnode_addressed(handle->vnode) ? handle->vnode->start.position : 0;
}

/* A read may be more than one READ: the kernel puts so many pages, or ends of segments, into each, and sends the next
 * one, which waits, where a READ was filled. Nothing tells whether a READ is the last. So what could be filled with the
 * last byte that there is keeps that for the next READ; one of fewer bytes than segments make a READ is never cut.
 * at_end: nothing is behind what was got. */
static int64_t leave_one(int64_t got, size_t size, bool at_end)
{
    bool cut = size >= LIMIT_REQUEST_BYTES / (size_t)getpagesize();
    return cut && at_end && got == (int64_t)size ? got - 1 : got;
}

/* Bytes into this thread's buffer. Returns the count; 0: none yet, *limit is how far was looked; or a negative errno.
 * waits: the next READ may have to. */
static int64_t try_read(struct handle *handle, size_t size, int64_t pos, bool waits, int64_t *limit)
{
    struct partition *part = handle->pfile->part;
    int rc = partition_state(part);
    uint8_t *buffer = consume_buffer();
    if (rc || !buffer)
        return rc ? rc : -ENOMEM;
    *limit = partition_high_watermark(part).position;
    struct consume_plan plan = {.handle = handle, .base = base_of(handle), .pos = pos, .limit = *limit, .size = size};
    pthread_mutex_lock(&handle->lock);
    int64_t got = pos > handle->reader->next_pos || pos < handle->reader->next_pos - LIMIT_STREAM_BACK_BYTES
                      ? -EINVAL
                      : consume_copy(&plan, buffer);
    bool known;
    int64_t end = got > 0 ? plan.base + posmap_translate(&handle->reader->map, pos + got, &known) : 0;
    if (waits)
        got = leave_one(got, size, end >= *limit);
    if (got > 0 && pos + got > handle->reader->next_pos)
        handle->reader->next_pos = pos + got;
    pthread_mutex_unlock(&handle->lock);
    return got;
}

/* A reader that has caught up and met no hole is answered out of the memory of the batch that woke it. As try_read();
 * 0: it is not such a one. */
static int64_t try_fresh(struct handle *handle, size_t size, int64_t pos, const struct partition_fresh *fresh)
{
    int64_t into = base_of(handle) + pos - fresh->position;
    uint8_t *buffer = consume_buffer();
    if (into < 0 || into >= (int64_t)fresh->len || !buffer)
        return 0;
    size_t skip = (size_t)into, left = fresh->len - skip, got = 0;
    if (left > size)
        left = size;
    pthread_mutex_lock(&handle->lock);
    bool plain = !handle->reader->map.runs && pos == handle->reader->next_pos;
    for (int i = 0; plain && got < left; i++) {
        const struct iovec *piece = &fresh->iov[i];
        size_t from = skip < piece->iov_len ? skip : piece->iov_len;
        size_t len = piece->iov_len - from < left - got ? piece->iov_len - from : left - got;
        memcpy(buffer + got, (const uint8_t *)piece->iov_base + from, len);
        got += len;
        skip -= from;
    }
    got = (size_t)leave_one((int64_t)got, size, into + (int64_t)got == (int64_t)fresh->len);
    handle->reader->next_pos += (int64_t)got;
    pthread_mutex_unlock(&handle->lock);
    return (int64_t)got;
}

static void answer(struct follow_op *op, int64_t got)
{
    park_answer(&op->park);
    consume_answer(op->park.req, op->handle, op->pos, consume_buffer(), got);
    atomic_fetch_sub(&op->handle->pfile->followers, 1);
    park_unref(&op->park);
}

/* Reads, or waits on. */
static void go(struct follow_op *op)
{
    for (;;) {
        int64_t limit = 0;
        int64_t got = try_read(op->handle, op->size, op->pos, true, &limit);
        if (got != 0) {
            answer(op, got);
            return;
        }
        op->waiter.position = limit;
        if (partition_wait(op->handle->pfile->part, &op->waiter))
            return;
    }
}

static void go_work(struct work *work)
{
    go(CONTAINER_OF(work, struct follow_op, work));
}

static void ready(struct partition_waiter *waiter)
{
    struct follow_op *op = CONTAINER_OF(waiter, struct follow_op, waiter);
    bool inlined = atomic_load(&op->handle->pfile->followers) <= LIMIT_FOLLOW_INLINE;
    int64_t got = inlined && waiter->fresh ? try_fresh(op->handle, op->size, op->pos, waiter->fresh) : 0;
    if (got > 0)
        answer(op, got);
    else if (inlined)
        go(op);
    else
        executor_prompt(node_executor(op->handle->session->node), &op->work);
}

static bool op_cancel(struct park *park)
{
    struct follow_op *op = CONTAINER_OF(park, struct follow_op, park);
    return partition_unwait(op->handle->pfile->part, &op->waiter);
}

static void op_aborted(struct park *park, int rc)
{
    struct follow_op *op = CONTAINER_OF(park, struct follow_op, park);
    atomic_fetch_sub(&op->handle->pfile->followers, 1);
    fuse_reply_err(park->req, -rc);
}

static void op_free(struct park *park)
{
    struct follow_op *op = CONTAINER_OF(park, struct follow_op, park);
    handle_unref(op->handle);
    free(op);
}

void follow_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner, bool nonblock)
{
    if (size > LIMIT_REQUEST_BYTES)
        size = LIMIT_REQUEST_BYTES;
    int64_t limit = 0;
    int64_t got = owner == 0 ? -EINVAL : try_read(handle, size, pos, !nonblock, &limit);
    if (got == 0 && nonblock)
        got = -EAGAIN;
    if (got != 0) {
        consume_answer(req, handle, pos, consume_buffer(), got);
        return;
    }
    struct follow_op *op = calloc(1, sizeof(*op));
    if (!op) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    op->handle = handle_ref(handle);
    op->size = size;
    op->pos = pos;
    op->waiter.ready = ready;
    op->waiter.position = limit;
    op->work.run = go_work;
    op->park.cancel = op_cancel;
    op->park.aborted = op_aborted;
    op->park.free = op_free;
    atomic_fetch_add(&handle->pfile->followers, 1);
    park_begin(&op->park, handle->session, req);
    if (!partition_wait(handle->pfile->part, &op->waiter))
        go(op);
    park_settle(&op->park);
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
    if (ph) {
        fuse_lowlevel_notify_poll(ph);
        fuse_pollhandle_destroy(ph);
    }
    handle_unref(handle);
    free(watch);
}

/* Whether a read would return now (data, or an error). */
static bool readable(struct handle *handle, int64_t *limit)
{
    struct partition *part = handle->pfile->part;
    *limit = partition_high_watermark(part).position;
    if (partition_state(part))
        return true;
    bool known;
    pthread_mutex_lock(&handle->lock);
    int64_t at = base_of(handle) + posmap_translate(&handle->reader->map, handle->reader->next_pos, &known);
    pthread_mutex_unlock(&handle->lock);
    struct log_extent extent;
    struct err e = {0};
    int rc = at < *limit ? partition_extent_at(part, at, *limit, 1, &extent, &e) : 0;
    if (rc > 0)
        log_extent_release(&extent);
    return rc != 0;
}

/* Takes a registered watch back; one that is being called frees itself. Under handle's lock: of two that poll the same
 * open file none may leave a watch behind. The caller has a reference to the handle. */
static void unwatch(struct handle *handle)
{
    struct poll_watch *watch = handle->reader->poll_watch;
    handle->reader->poll_watch = NULL;
    if (watch && partition_unwait(handle->pfile->part, &watch->waiter)) {
        handle_unref(watch->handle);
        free(watch);
    }
}

static bool watch(struct handle *handle, struct fuse_pollhandle *ph, int64_t limit)
{
    struct poll_watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return false;
    watch->handle = handle_ref(handle);
    watch->waiter.ready = poll_ready;
    watch->waiter.position = limit;
    pthread_mutex_lock(&handle->lock);
    unwatch(handle);
    if (handle->reader->poll_handle)
        fuse_pollhandle_destroy(handle->reader->poll_handle);
    handle->reader->poll_handle = ph;
    handle->reader->poll_watch = watch;
    bool waits = partition_wait(handle->pfile->part, &watch->waiter);
    pthread_mutex_unlock(&handle->lock);
    if (!waits)
        poll_ready(&watch->waiter);
    return true;
}

void follow_poll(fuse_req_t req, struct handle *handle, struct fuse_pollhandle *ph)
{
    int64_t limit;
    bool now = readable(handle, &limit);
    if (ph && (now || !watch(handle, ph, limit)))
        fuse_pollhandle_destroy(ph);
    fuse_reply_poll(req, now ? POLLIN | POLLRDNORM : 0);
}

void follow_release(struct handle *handle)
{
    pthread_mutex_lock(&handle->lock);
    unwatch(handle);
    pthread_mutex_unlock(&handle->lock);
}
