#include "fs/produce/produce.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "engine/base/crc32c.h"
#include "engine/base/limits.h"
#include "fs/base/process.h"
#include "fs/produce/accumulator.h"
#include "fs/produce/any.h"
#include "fs/produce/last_line.h"
#include "fs/produce/producer.h"
#include "fs/produce/rest.h"
#include "fs/produce/spread.h"
#include "fs/produce/sync.h"
#include "fs/produce/write_op.h"

/* One write(2), scanned. */
struct scanned {
    struct framing_state scan; /* behind it */
    struct framing_result result;
    uint32_t crc;
    uint32_t mark_count;
    struct framing_mark marks[LIMIT_BATCH_MARKS];
};

/* A writer that waits for room in buffer.memory, with its bytes. */
struct room_op {
    struct park park;
    struct accumulator_waiter waiter;
    struct handle *handle;
    int flags;
    size_t len;
    char data[];
};

/* One that waits, for its turn or with the turn for what lingers in front of it, with its bytes. */
struct waiting_write {
    struct park park;
    struct turn_waiter waiter;
    struct sync_drain drain;
    struct handle *handle; /* referenced */
    int flags;
    size_t len;
    char data[];
};

/* Gives the turn back, and answers: rc 0 with len. */
static void answer(fuse_req_t req, struct handle *handle, int rc, size_t len)
{
    producer_give_turn(handle);
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        fuse_reply_write(req, len);
}

static void refresh_config(struct handle *handle)
{
    struct producer *producer = handle->producer;
    uint64_t generation = topic_config_generation(handle->pfile->topic);
    if (generation == producer->generation)
        return;
    enum framing framing = producer->config.log.framing;
    topic_config(handle->pfile->topic, &producer->config);
    bool first = producer->generation == UINT64_MAX;
    producer->generation = generation;
    if (first || framing == producer->config.log.framing)
        return;
    /* What was read as part of a line is not part of an object, nor the other way round. */
    if (producer->rest_len != 0) {
        log_line(LOG_WARNING, "%s: its framing was changed while %zu bytes waited for the end of their record: dropped",
                 topic_name(handle->pfile->topic), producer->rest_len);
    }
    rest_drop(handle);
    producer->refusing = false;
}

/* ---- lines that are too long ---- */

/* Where the record that waits, continued by this write, ends: its whole length, or as far as it goes. */
static uint64_t first_record_len(const struct producer *producer, const uint8_t *data, size_t len)
{
    struct framing_state scan = producer->scan;
    struct framing_result r;
    struct framing_mark mark;
    uint32_t mark_count = 0;
    if (framing_scan(producer->config.log.framing, &scan, data, len, UINT64_MAX, &r, NULL, 1, &mark, &mark_count, 1) !=
        0)
        return producer->rest_len;
    size_t end = mark_count != 0 ? mark.place : r.records != 0 ? r.end : len;
    size_t newline = producer->config.log.framing == FRAMING_LINE && r.records != 0;
    return producer->rest_len + end - newline;
}

/* A record of this write is too long. If it began before, what waited goes, and what follows of it is refused. */
static void refuse_long(struct handle *handle, const uint8_t *data, size_t len)
{
    struct producer *producer = handle->producer;
    if (producer->rest_len == 0 ||
        first_record_len(producer, data, len) <= (uint64_t)producer->config.max_message_bytes)
        return;
    struct framing_state scan = producer->scan;
    struct framing_result r = {0};
    rest_drop(handle);
    producer->refusing = true;
    /* An object may end in this very write; a line is refused until a later write brings a newline. */
    if (producer->config.log.framing == FRAMING_MSGPACK &&
        framing_scan(FRAMING_MSGPACK, &scan, data, len, UINT64_MAX, &r, NULL, 0, NULL, NULL, 0) == 0) {
        producer->scan = scan;
        producer->refusing = scan.partial_bytes > 0;
    }
}

/* Whether this write still belongs to what is refused. */
static bool still_refused(struct handle *handle, const uint8_t *data, size_t len)
{
    struct producer *producer = handle->producer;
    if (!producer->refusing)
        return false;
    struct framing_result r = {0};
    if (producer->config.log.framing == FRAMING_LINE) {
        producer->refusing = memchr(data, '\n', len) == NULL;
    } else if (framing_scan(FRAMING_MSGPACK, &producer->scan, data, len, UINT64_MAX, &r, NULL, 0, NULL, NULL, 0) != 0 ||
               producer->scan.partial_bytes == 0) {
        producer->refusing = false;
        memset(&producer->scan, 0, sizeof producer->scan);
    }
    return true;
}

/* ---- one partition ---- */

static int scan_write(struct handle *handle, const uint8_t *data, size_t len, struct scanned *out)
{
    struct producer *producer = handle->producer;
    int64_t interval = producer->config.log.index_interval_bytes;
    out->scan = producer->scan;
    out->crc = producer->rest_len != 0 ? crc32c(0, producer->rest, producer->rest_len) : 0;
    int rc = framing_scan(producer->config.log.framing, &out->scan, data, len,
                          (uint64_t)producer->config.max_message_bytes, &out->result, &out->crc,
                          interval < 1 ? 1 : (uint32_t)interval, out->marks, &out->mark_count, LIMIT_BATCH_MARKS);
    if (rc == -EMSGSIZE)
        refuse_long(handle, data, len);
    return rc;
}

/* Returns its time in µs. */
static int64_t fill_batch(struct handle *handle, const uint8_t *data, struct scanned *scanned, struct iovec iov[2],
                          struct append_batch *batch)
{
    struct producer *producer = handle->producer;
    int64_t now_us = clock_wall_us(node_clock(handle->session->node));
    int n = 0;
    if (producer->rest_len != 0)
        iov[n++] = (struct iovec){producer->rest, producer->rest_len};
    iov[n++] = (struct iovec){(void *)data, scanned->result.end};
    for (uint32_t i = 0; producer->rest_len != 0 && i < scanned->mark_count; i++)
        scanned->marks[i].place += (uint32_t)producer->rest_len;
    append_batch_init(batch, producer->config.log.framing, iov, n, now_us / 1000);
    batch->records = scanned->result.records;
    batch->crc = scanned->crc;
    batch->marks = scanned->marks;
    batch->mark_count = scanned->mark_count;
    return now_us;
}

static struct write_op *take_op(struct handle *handle)
{
    struct write_op *op = handle->producer->spare;
    handle->producer->spare = NULL;
    return op != NULL ? op : write_op_new(handle, 1);
}

/* Appends and answers. false: the framing was changed meanwhile: nothing has happened. */
static bool append_now(fuse_req_t req, struct handle *handle, const uint8_t *data, size_t len, bool to_disk,
                       struct scanned *scanned)
{
    struct write_op *op = any_keyed(handle) ? NULL : take_op(handle);
    if (op != NULL) {
        struct write_part *part = write_op_add(op);
        part->pfile = any_target(handle, scanned->result.end);
        part->append.came_us = fill_batch(handle, data, scanned, part->iov, &part->append.batch);
    } else {
        op = any_split(handle, data, scanned->result.end);
    }
    if (op == NULL || op->parts[0].pfile == NULL) {
        if (op != NULL)
            write_op_free(op);
        answer(req, handle, -ENOMEM, 0);
        return true;
    }
    op->len = len;
    op->to_disk = to_disk;
    op->tail = data + scanned->result.end;
    op->tail_len = len - scanned->result.end;
    op->tail_scan = scanned->scan;
    int rc = write_op_go(op, req);
    if (rc == 0)
        return true;
    if (rc > 0)
        rest_set(handle, op->tail, op->tail_len, &scanned->scan);
    if (op->parts == &op->one) {
        write_op_reset(op);
        handle->producer->spare = op;
    } else {
        write_op_free(op);
    }
    if (rc == -EAGAIN)
        return false;
    if (rc < 0 || !to_disk) {
        answer(req, handle, rc < 0 ? rc : 0, len);
        return true;
    }
    producer_give_turn(handle);
    sync_write(req, handle, len);
    return true;
}

/* ---- linger.ms ---- */

/* Each record to its key's partition. -ETIMEDOUT: some are on their way and some are not. */
static int linger_split(struct handle *handle, const uint8_t *data, size_t end)
{
    struct session *session = handle->session;
    size_t reserved = handle->producer->rest_len + end;
    struct write_op *op = any_split(handle, data, end);
    struct spread *spread = op != NULL && op->count > 1 ? spread_new(op->count) : NULL;
    if (op == NULL || (op->count > 1 && spread == NULL)) {
        if (op != NULL)
            write_op_free(op);
        accumulators_give_back(session->accumulators, reserved);
        return -ENOMEM;
    }
    int rc = 0, added = 0;
    for (int i = 0; i < op->count; i++) {
        struct write_part *part = &op->parts[i];
        part->append.batch.iov = part->iov;
        int one = accumulator_add(session, part->pfile, handle, &part->append.batch, spread);
        if (one != 0 && spread != NULL)
            spread_drop(spread);
        added += one == 0;
        rc = rc != 0 ? rc : one;
    }
    write_op_free(op);
    return rc != 0 && added != 0 ? -ETIMEDOUT : rc;
}

static int linger_whole(struct handle *handle, const uint8_t *data, struct scanned *scanned)
{
    struct session *session = handle->session;
    struct iovec iov[2];
    struct append_batch batch;
    struct pfile *pfile = any_target(handle, scanned->result.end);
    (void)fill_batch(handle, data, scanned, iov, &batch);
    if (pfile != NULL)
        return accumulator_add(session, pfile, handle, &batch, NULL);
    accumulators_give_back(session->accumulators, batch.len);
    return -ENOMEM;
}

static void linger_reserved(fuse_req_t req, struct handle *handle, const uint8_t *data, size_t len,
                            struct scanned *scanned)
{
    int rc = any_keyed(handle) ? linger_split(handle, data, scanned->result.end) : linger_whole(handle, data, scanned);
    if (rc == 0)
        rest_set(handle, data + scanned->result.end, len - scanned->result.end, &scanned->scan);
    answer(req, handle, rc, len);
}

static void room_free(struct park *park)
{
    struct room_op *op = CONTAINER_OF(park, struct room_op, park);
    topic_end_flight(op->handle->pfile->topic);
    handle_unref(op->handle);
    free(op);
}

static bool room_cancel(struct park *park)
{
    struct room_op *op = CONTAINER_OF(park, struct room_op, park);
    return accumulators_cancel(op->handle->session->accumulators, &op->waiter);
}

static void room_aborted(struct park *park, int rc)
{
    answer(park->req, CONTAINER_OF(park, struct room_op, park)->handle, rc, 0);
}

static void room_granted(struct accumulator_waiter *waiter)
{
    struct room_op *op = CONTAINER_OF(waiter, struct room_op, waiter);
    struct scanned scanned;
    const uint8_t *data = (const uint8_t *)op->data;
    park_answer(&op->park);
    scan_write(op->handle, data, op->len, &scanned); /* as before: it has had the turn since */
    linger_reserved(op->park.req, op->handle, data, op->len, &scanned);
    park_unref(&op->park);
}

/* From here on the framing stays what it is until the records are in the log. false: it was changed meanwhile. */
static bool linger(fuse_req_t req, struct handle *handle, const uint8_t *data, size_t len, struct scanned *scanned)
{
    struct accumulators *all = handle->session->accumulators;
    if (!topic_begin_flight(handle->pfile->topic, handle->producer->config.log.framing))
        return false;
    struct room_op *op = malloc(sizeof *op + len);
    if (op == NULL) {
        topic_end_flight(handle->pfile->topic);
        answer(req, handle, -ENOMEM, 0);
        return true;
    }
    memset(op, 0, sizeof *op);
    op->waiter.len = handle->producer->rest_len + scanned->result.end;
    op->waiter.room = room_granted;
    op->handle = handle_ref(handle);
    op->len = len;
    memcpy(op->data, data, len);
    op->park.cancel = room_cancel;
    op->park.aborted = room_aborted;
    op->park.free = room_free;
    park_begin(&op->park, handle->session, req);
    if (accumulators_reserve(all, &op->waiter))
        room_granted(&op->waiter);
    park_settle(&op->park);
    return true;
}

/* ---- a write that has the turn ---- */

/* With the settings as they are now. false: the framing was changed before the records were in the log: cut anew. */
static bool try_write(fuse_req_t req, struct handle *handle, const uint8_t *data, size_t len, int flags)
{
    refresh_config(handle);
    if (still_refused(handle, data, len)) {
        answer(req, handle, -EMSGSIZE, 0);
        return true;
    }
    struct scanned scanned;
    bool lingers = handle->session->options->linger_ms > 0 && (flags & (O_SYNC | O_DSYNC)) == 0;
    int rc = topic_deleted(handle->pfile->topic) ? -ESTALE : scan_write(handle, data, len, &scanned);
    if (rc == 0 && scanned.result.end != 0 && (lingers || handle->pfile->part == NULL) &&
        any_lacks_key(handle, data, scanned.result.end))
        rc = -EINVAL;
    if (rc == 0)
        rc = rest_reserve(handle, len - scanned.result.end);
    if (rc == 0 && scanned.result.end == 0)
        rest_append(handle, data, len, &scanned.scan);
    if (rc == 0 && scanned.result.end != 0) {
        return lingers ? linger(req, handle, data, len, &scanned)
                       : append_now(req, handle, data, len, (flags & (O_SYNC | O_DSYNC)) != 0, &scanned);
    }
    answer(req, handle, rc, len);
    return true;
}

static bool wait_for_lingering(fuse_req_t req, struct handle *handle, const char *bytes, size_t len, int flags);

/* It has the turn. O_SYNC, O_DSYNC: what lingers goes first. */
static void write_now(fuse_req_t req, struct handle *handle, const char *bytes, size_t len, int flags)
{
    struct fence *fence = handle->pfile->fence;
    if (fence_is_up(fence))
        fence_lower(fence, &handle->producer->post);
    if (handle->session->options->linger_ms > 0 && (flags & (O_SYNC | O_DSYNC)) != 0 &&
        wait_for_lingering(req, handle, bytes, len, flags))
        return;
    while (!try_write(req, handle, (const uint8_t *)bytes, len, flags))
        ;
}

/* ---- waiting ---- */

static void waiting_run(struct work *work)
{
    struct turn_waiter *waiter = CONTAINER_OF(work, struct turn_waiter, work);
    struct waiting_write *op = CONTAINER_OF(waiter, struct waiting_write, waiter);
    park_answer(&op->park);
    write_now(op->park.req, op->handle, op->data, op->len, op->flags);
    park_unref(&op->park);
}

static void waiting_free(struct park *park)
{
    struct waiting_write *op = CONTAINER_OF(park, struct waiting_write, park);
    handle_unref(op->handle);
    free(op);
}

/* NULL: no memory. The caller sets what cancels it. */
static struct waiting_write *waiting_new(struct handle *handle, const char *bytes, size_t len, int flags)
{
    struct waiting_write *op = malloc(sizeof *op + len);
    if (op == NULL)
        return NULL;
    memset(op, 0, sizeof *op);
    op->waiter.work.run = waiting_run;
    op->handle = handle_ref(handle);
    op->flags = flags;
    op->len = len;
    memcpy(op->data, bytes, len);
    op->park.free = waiting_free;
    return op;
}

static bool turn_wait_cancel(struct park *park)
{
    struct waiting_write *op = CONTAINER_OF(park, struct waiting_write, park);
    return turn_cancel(&op->handle->producer->turn, &op->waiter);
}

static void turn_wait_aborted(struct park *park, int rc)
{
    handle_write_over(CONTAINER_OF(park, struct waiting_write, park)->handle);
    fuse_reply_err(park->req, -rc);
}

static void wait_for_turn(fuse_req_t req, struct handle *handle, const char *bytes, size_t len, int flags)
{
    struct waiting_write *op = waiting_new(handle, bytes, len, flags);
    if (op == NULL) {
        handle_write_over(handle);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    op->park.cancel = turn_wait_cancel;
    op->park.aborted = turn_wait_aborted;
    park_begin(&op->park, handle->session, req);
    if (turn_wait(&handle->producer->turn, &op->waiter))
        waiting_run(&op->waiter.work);
    park_settle(&op->park);
}

/* It comes from the end of an append, and this is another one: it has a stack of its own. */
static void lingering_over(struct sync_drain *drain)
{
    struct waiting_write *op = CONTAINER_OF(drain, struct waiting_write, drain);
    executor_prompt(node_executor(op->handle->session->node), &op->waiter.work);
}

static bool drain_wait_cancel(struct park *park)
{
    struct waiting_write *op = CONTAINER_OF(park, struct waiting_write, park);
    return sync_drain_cancel(op->handle, &op->drain);
}

static void drain_wait_aborted(struct park *park, int rc)
{
    answer(park->req, CONTAINER_OF(park, struct waiting_write, park)->handle, rc, 0);
}

/* So that records of one open file keep their order. Nothing else of it begins to linger while this one has the turn.
 * false: nothing lingers. */
static bool wait_for_lingering(fuse_req_t req, struct handle *handle, const char *bytes, size_t len, int flags)
{
    if (!sync_lingers(handle))
        return false;
    struct waiting_write *op = waiting_new(handle, bytes, len, flags);
    if (op == NULL) {
        answer(req, handle, -ENOMEM, 0);
        return true;
    }
    op->drain.over = lingering_over;
    op->park.cancel = drain_wait_cancel;
    op->park.aborted = drain_wait_aborted;
    park_begin(&op->park, handle->session, req);
    if (!sync_drain(handle, &op->drain)) /* it is over by now */
        waiting_run(&op->waiter.work);
    park_settle(&op->park);
    return true;
}

/* ---- the three requests ---- */

void produce_write(fuse_req_t req, struct handle *handle, const char *bytes, size_t len, int flags)
{
    if (!handle->appends || (flags & O_APPEND) == 0) {
        handle_write_over(handle);
        fuse_reply_err(req, EPERM);
    } else if (turn_try(&handle->producer->turn)) {
        write_now(req, handle, bytes, len, flags);
    } else {
        wait_for_turn(req, handle, bytes, len, flags);
    }
}

void produce_flush(fuse_req_t req, struct handle *handle)
{
    if (handle->session->options->linger_ms > 0 && !process_exiting(fuse_req_ctx(req)->pid)) {
        sync_close(req, handle);
        return;
    }
    sync_closed(handle);
    fuse_reply_err(req, 0);
}

/* ---- the last close ---- */

void produce_release(struct handle *handle)
{
    struct producer *producer = handle->producer;
    if (producer->rest_len != 0 && !producer->refusing)
        refresh_config(handle);
    if (producer->rest_len != 0 && !producer->refusing) {
        if (producer->config.log.framing == FRAMING_LINE) {
            last_line_append(handle);
        } else {
            log_line(LOG_WARNING, "%s: an object still incomplete at the last close was dropped (%zu bytes)",
                     topic_name(handle->pfile->topic), producer->rest_len);
        }
        rest_drop(handle);
    }
    sync_released(handle);
}
