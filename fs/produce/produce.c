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
#include "fs/produce/producer.h"
#include "fs/produce/rest.h"
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
    if (producer->rest_len)
        log_line(LOG_WARNING, "%s: its framing was changed while %zu bytes waited for the end of their record: dropped",
                 topic_name(handle->pfile->topic), producer->rest_len);
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
    if (framing_scan(producer->config.log.framing, &scan, data, len, UINT64_MAX, &r, NULL, 1, &mark, &mark_count, 1))
        return producer->rest_len;
    size_t end = mark_count ? mark.place : r.records ? r.end : len;
    size_t newline = producer->config.log.framing == FRAMING_LINE && r.records;
    return producer->rest_len + end - newline;
}

/* A record of this write is too long. If it began before, what waited goes, and what follows of it is refused. */
static void refuse_long(struct handle *handle, const uint8_t *data, size_t len)
{
    struct producer *producer = handle->producer;
    if (!producer->rest_len || first_record_len(producer, data, len) <= (uint64_t)producer->config.max_message_bytes)
        return;
    struct framing_state scan = producer->scan;
    struct framing_result r = {0};
    rest_drop(handle);
    producer->refusing = true;
    /* An object may end in this very write; a line is refused until a later write brings a newline. */
    if (producer->config.log.framing == FRAMING_MSGPACK &&
        !framing_scan(FRAMING_MSGPACK, &scan, data, len, UINT64_MAX, &r, NULL, 0, NULL, NULL, 0)) {
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
        producer->refusing = !memchr(data, '\n', len);
    } else if (framing_scan(FRAMING_MSGPACK, &producer->scan, data, len, UINT64_MAX, &r, NULL, 0, NULL, NULL, 0) ||
               producer->scan.partial_bytes == 0) {
        producer->refusing = false;
        memset(&producer->scan, 0, sizeof(producer->scan));
    }
    return true;
}

/* ---- one partition ---- */

static int scan_write(struct handle *handle, const uint8_t *data, size_t len, struct scanned *out)
{
    struct producer *producer = handle->producer;
    int64_t interval = producer->config.log.index_interval_bytes;
    out->scan = producer->scan;
    out->crc = producer->rest_len ? crc32c(0, producer->rest, producer->rest_len) : 0;
    int rc = framing_scan(producer->config.log.framing, &out->scan, data, len,
                          (uint64_t)producer->config.max_message_bytes, &out->result, &out->crc,
                          interval < 1 ? 1 : (uint32_t)interval, out->marks, &out->mark_count, LIMIT_BATCH_MARKS);
    if (rc == -EMSGSIZE)
        refuse_long(handle, data, len);
    return rc;
}

static void fill_batch(struct handle *handle, const uint8_t *data, struct scanned *scanned, struct iovec iov[2],
                       struct append_batch *batch)
{
    struct producer *producer = handle->producer;
    struct clock *clock = node_clock(handle->session->node);
    int n = 0;
    if (producer->rest_len)
        iov[n++] = (struct iovec){producer->rest, producer->rest_len};
    iov[n++] = (struct iovec){(void *)data, scanned->result.end};
    for (uint32_t i = 0; producer->rest_len && i < scanned->mark_count; i++)
        scanned->marks[i].place += (uint32_t)producer->rest_len;
    append_batch_init(batch, producer->config.log.framing, iov, n, clock->wall_ms(clock));
    batch->records = scanned->result.records;
    batch->crc = scanned->crc;
    batch->marks = scanned->marks;
    batch->mark_count = scanned->mark_count;
}

/* Whether this write has a record without a key that its topic, a compacted one, would refuse. The partition asks by
 * itself; here it is asked for what must be refused as a whole before anything of it goes on its way. */
static bool lacks_key(const struct handle *handle, const uint8_t *data, size_t end)
{
    const struct producer *producer = handle->producer;
    const struct log_config *config = &producer->config.log;
    return (config->cleanup_policy & CLEANUP_COMPACT) != 0 &&
           !framing_all_keyed(config->framing, producer->rest, producer->rest_len, data, end, config->key_separator,
                              config->key_separator_len);
}

static struct write_op *take_op(struct handle *handle)
{
    struct write_op *op = handle->producer->spare;
    handle->producer->spare = NULL;
    return op ? op : write_op_new(handle, 1);
}

/* Appends and answers. false: the framing was changed meanwhile: nothing has happened. */
static bool append_now(fuse_req_t req, struct handle *handle, const uint8_t *data, size_t len, bool to_disk,
                       struct scanned *scanned)
{
    struct write_op *op = any_keyed(handle) ? NULL : take_op(handle);
    if (op) {
        struct write_part *part = write_op_add(op);
        part->pfile = any_target(handle, scanned->result.end);
        fill_batch(handle, data, scanned, part->iov, &part->append.batch);
    } else {
        op = any_split(handle, data, scanned->result.end);
    }
    if (!op || !op->parts[0].pfile) {
        if (op)
            write_op_free(op);
        fuse_reply_err(req, ENOMEM);
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
    if (rc < 0)
        fuse_reply_err(req, -rc);
    else if (to_disk)
        sync_write(req, handle, len);
    else
        fuse_reply_write(req, len);
    return true;
}

/* ---- linger.ms ---- */

/* Each record to its key's partition. -ETIMEDOUT: some are on their way and some are not. */
static int linger_split(struct handle *handle, const uint8_t *data, size_t end)
{
    struct session *session = handle->session;
    size_t reserved = handle->producer->rest_len + end;
    struct write_op *op = any_split(handle, data, end);
    if (!op) {
        accumulators_give_back(session->accumulators, reserved);
        return -ENOMEM;
    }
    int rc = 0, added = 0;
    for (int i = 0; i < op->count; i++) {
        struct write_part *part = &op->parts[i];
        part->append.batch.iov = part->iov;
        int one = accumulator_add(session, part->pfile, handle, &part->append.batch);
        added += one == 0;
        rc = rc ? rc : one;
    }
    write_op_free(op);
    return rc && added ? -ETIMEDOUT : rc;
}

static int linger_whole(struct handle *handle, const uint8_t *data, struct scanned *scanned)
{
    struct session *session = handle->session;
    struct iovec iov[2];
    struct append_batch batch;
    struct pfile *pfile = any_target(handle, scanned->result.end);
    fill_batch(handle, data, scanned, iov, &batch);
    if (pfile)
        return accumulator_add(session, pfile, handle, &batch);
    accumulators_give_back(session->accumulators, batch.len);
    return -ENOMEM;
}

static void linger_reserved(fuse_req_t req, struct handle *handle, const uint8_t *data, size_t len,
                            struct scanned *scanned)
{
    int rc = any_keyed(handle) ? linger_split(handle, data, scanned->result.end) : linger_whole(handle, data, scanned);
    if (rc == 0)
        rest_set(handle, data + scanned->result.end, len - scanned->result.end, &scanned->scan);
    if (rc)
        fuse_reply_err(req, -rc);
    else
        fuse_reply_write(req, len);
}

static void room_free(struct park *park)
{
    struct room_op *op = CONTAINER_OF(park, struct room_op, park);
    topic_unpledge(op->handle->pfile->topic);
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
    fuse_reply_err(park->req, -rc);
}

static void room_granted(struct accumulator_waiter *waiter)
{
    struct room_op *op = CONTAINER_OF(waiter, struct room_op, waiter);
    struct scanned scanned;
    const uint8_t *data = (const uint8_t *)op->data;
    park_answer(&op->park);
    scan_write(op->handle, data, op->len, &scanned); /* as before: nothing has changed since */
    linger_reserved(op->park.req, op->handle, data, op->len, &scanned);
    park_unref(&op->park);
}

/* From here on the framing stays what it is until the records are in the log. false: it was changed meanwhile. */
static bool linger(fuse_req_t req, struct handle *handle, const uint8_t *data, size_t len, struct scanned *scanned)
{
    struct accumulators *all = handle->session->accumulators;
    if (!topic_pledge(handle->pfile->topic, handle->producer->config.log.framing))
        return false;
    struct room_op *op = malloc(sizeof(*op) + len);
    if (!op) {
        topic_unpledge(handle->pfile->topic);
        fuse_reply_err(req, ENOMEM);
        return true;
    }
    memset(op, 0, sizeof(*op));
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

/* ---- the three requests ---- */

/* With the settings as they are now. false: the framing was changed before the records were in the log: cut anew. */
static bool try_write(fuse_req_t req, struct handle *handle, const uint8_t *data, size_t len, int flags)
{
    refresh_config(handle);
    if (still_refused(handle, data, len)) {
        fuse_reply_err(req, EMSGSIZE);
        return true;
    }
    struct scanned scanned;
    bool lingers = handle->session->options->linger_ms > 0 && !(flags & (O_SYNC | O_DSYNC));
    int rc = topic_deleted(handle->pfile->topic) ? -ESTALE : scan_write(handle, data, len, &scanned);
    if (rc == 0 && scanned.result.end && (lingers || !handle->pfile->part) &&
        lacks_key(handle, data, scanned.result.end))
        rc = -EINVAL;
    if (rc == 0)
        rc = rest_reserve(handle, scanned.result.end ? len - scanned.result.end : 0);
    if (rc == 0 && scanned.result.end == 0)
        rc = rest_append(handle, data, len, &scanned.scan);
    if (rc)
        fuse_reply_err(req, -rc);
    else if (scanned.result.end == 0)
        fuse_reply_write(req, len);
    else if (lingers)
        return linger(req, handle, data, len, &scanned);
    else
        return append_now(req, handle, data, len, flags & (O_SYNC | O_DSYNC), &scanned);
    return true;
}

void produce_write(fuse_req_t req, struct handle *handle, const char *bytes, size_t len, int flags)
{
    struct fence *fence = handle->pfile->fence;
    if (!handle->appends || !(flags & O_APPEND)) {
        fuse_reply_err(req, EPERM);
        return;
    }
    if (fence_is_up(fence))
        fence_lower(fence, &handle->producer->post);
    while (!try_write(req, handle, (const uint8_t *)bytes, len, flags))
        ;
}

void produce_flush(fuse_req_t req, struct handle *handle)
{
    if (handle->session->options->linger_ms > 0 && !process_exiting(fuse_req_ctx(req)->pid)) {
        sync_close(req, handle);
        return;
    }
    rest_fence(handle);
    fuse_reply_err(req, 0);
}

/* ---- the last close ---- */

/* The last line of an open file on its way to the log. */
struct last_line {
    struct append_op append;
    struct accumulator_waiter waiter;
    struct handle *handle; /* referenced */
    struct pfile *pfile;
    struct last_line *prev, *next; /* last_lines */
    bool pledged;                  /* linger.ms: topic_pledge() */
    size_t len;
    uint8_t bytes[];
};

/* Those under way. */
static struct {
    pthread_mutex_t lock;
    struct last_line *head;
} last_lines = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void last_line_over(struct last_line *last, int rc)
{
    if (rc)
        log_line(LOG_ERR, "%s: a last line of %zu bytes %s: %s", partition_name(last->pfile->part), last->len,
                 rc == -ETIMEDOUT ? "was appended, but not acknowledged" : "could not be appended",
                 rc == -EAGAIN ? "the framing was changed" : strerror(-rc));
    pthread_mutex_lock(&last_lines.lock);
    if (last->prev)
        last->prev->next = last->next;
    else
        last_lines.head = last->next;
    if (last->next)
        last->next->prev = last->prev;
    pthread_mutex_unlock(&last_lines.lock);
    if (last->pledged)
        topic_unpledge(last->handle->pfile->topic);
    handle_unref(last->handle);
    free(last);
}

static void last_line_done(struct append_op *append, int rc)
{
    last_line_over(CONTAINER_OF(append, struct last_line, append), rc);
}

static void last_line_batch(struct last_line *last, struct iovec *iov, struct append_batch *batch)
{
    struct clock *clock = node_clock(last->handle->session->node);
    *iov = (struct iovec){last->bytes, last->len};
    append_batch_scan(batch, FRAMING_LINE, iov, clock->wall_ms(clock), 0, NULL, 0);
}

static void last_line_room(struct accumulator_waiter *waiter)
{
    struct last_line *last = CONTAINER_OF(waiter, struct last_line, waiter);
    struct iovec iov;
    struct append_batch batch;
    last_line_batch(last, &iov, &batch);
    int rc = accumulator_add(last->handle->session, last->pfile, last->handle, &batch);
    if (rc == 0) /* a look after the close is to find it */
        accumulator_send(last->handle->session, last->pfile);
    last_line_over(last, rc);
}

static void append_last_line(struct handle *handle)
{
    struct producer *producer = handle->producer;
    const struct options *options = handle->session->options;
    struct last_line *last = calloc(1, sizeof(*last) + producer->rest_len + 1);
    if (!last) {
        log_line(LOG_ERR, "%s: no memory for a last line", topic_name(handle->pfile->topic));
        return;
    }
    memcpy(last->bytes, producer->rest, producer->rest_len);
    last->bytes[producer->rest_len] = '\n';
    last->len = producer->rest_len + 1;
    last->handle = handle_ref(handle);
    last->pfile = any_target_of(handle, last->bytes, producer->rest_len);
    last->append.done = last_line_done;
    last->waiter.len = last->len;
    last->waiter.room = last_line_room;
    if (!last->pfile) {
        log_line(LOG_ERR, "%s: no memory for a last line", topic_name(handle->pfile->topic));
        handle_unref(handle);
        free(last);
        return;
    }
    pthread_mutex_lock(&last_lines.lock);
    last->next = last_lines.head;
    if (last->next)
        last->next->prev = last;
    last_lines.head = last;
    pthread_mutex_unlock(&last_lines.lock);
    if (options->linger_ms > 0) {
        last->pledged = topic_pledge(handle->pfile->topic, FRAMING_LINE);
        if (!last->pledged)
            last_line_over(last, -EAGAIN);
        else if (lacks_key(handle, (const uint8_t *)"\n", 1)) /* the rest, and what ends it */
            last_line_over(last, -EINVAL);
        else if (accumulators_reserve(handle->session->accumulators, &last->waiter))
            last_line_room(&last->waiter);
        return;
    }
    struct iovec iov;
    last->append.part = last->pfile->part;
    last->append.acks = options->acks;
    last->append.timeout_ms = options->delivery_timeout_ms;
    last_line_batch(last, &iov, &last->append.batch);
    int rc = partition_append_submit(&last->append, NULL);
    if (rc)
        last_line_over(last, rc < 0 ? rc : 0);
}

void produce_release(struct handle *handle)
{
    struct producer *producer = handle->producer;
    if (producer->rest_len && !producer->refusing)
        refresh_config(handle);
    if (producer->rest_len && !producer->refusing) {
        if (producer->config.log.framing == FRAMING_LINE)
            append_last_line(handle);
        else
            log_line(LOG_WARNING, "%s: an object still incomplete at the last close was dropped (%zu bytes)",
                     topic_name(handle->pfile->topic), producer->rest_len);
        rest_drop(handle);
    }
    sync_released(handle);
}

void produce_end(struct session *session)
{
    for (;;) {
        pthread_mutex_lock(&last_lines.lock);
        struct last_line *last = last_lines.head;
        bool lingers = session->options->linger_ms > 0;
        bool taken = last && (lingers ? accumulators_cancel(session->accumulators, &last->waiter)
                                      : partition_append_cancel(&last->append));
        bool forgotten = last && !lingers && !taken && partition_append_forget(&last->append);
        pthread_mutex_unlock(&last_lines.lock);
        if (!last)
            return;
        if (taken || forgotten)
            last_line_over(last, taken ? -EROFS : -ETIMEDOUT);
        else
            executor_pause(node_executor(session->node), 1); /* it is being appended */
    }
}
