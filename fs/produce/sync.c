#include "fs/produce/sync.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/produce/accumulator.h"
#include "fs/produce/producer.h"
#include "fs/produce/rest.h"

/*   start ──→ DRAIN (linger.ms: batches under way) ──→ FLUSH (one fdatasync pair a partition) ──→ answered */
struct sync_flush {
    struct flush_op flush;
    struct sync_op *op;
    int32_t partition;
    bool earlier; /* what an earlier leader epoch acknowledged */
};

struct sync_op {
    struct park park;
    struct handle *handle; /* referenced */
    bool to_disk;
    bool closes;     /* a descriptor: FLUSH */
    int64_t written; /* ≥ 0: the answer to a write(2) */
    _Atomic int rc;
    _Atomic int pending;   /* flushes under way, and one for whoever starts them */
    _Atomic bool answered; /* by the end of the waiting, or by a fatal signal */
    struct sync_drain drain;
    int32_t flush_count;
    struct sync_flush *flushes;
    _Atomic bool started; /* all of them */
};

/* What was written is in the log, whatever became of the flush: its writer is told that it may be there. */
static int sync_error(int64_t written, int rc)
{
    return written >= 0 ? ETIMEDOUT : -rc;
}

static void reply(struct sync_op *op, int rc)
{
    if (rc != 0)
        fuse_reply_err(op->park.req, sync_error(op->written, rc));
    else if (op->written >= 0)
        fuse_reply_write(op->park.req, (size_t)op->written);
    else
        fuse_reply_err(op->park.req, 0);
}

/* Drops the reference that the answer holds. */
static void finish(struct sync_op *op)
{
    if (!atomic_exchange(&op->answered, true)) {
        park_answer(&op->park);
        if (op->closes)
            sync_closed(op->handle);
        reply(op, atomic_load(&op->rc));
    }
    park_unref(&op->park);
}

static void drop_pending(struct sync_op *op)
{
    if (atomic_fetch_sub(&op->pending, 1) == 1)
        finish(op);
}

/* It was asked for, and what has become of it is told. */
static void forget_earlier(struct handle *handle, const struct sync_flush *asked)
{
    struct produced *produced = &handle->producer->produced;
    pthread_mutex_lock(&handle->lock);
    for (int32_t i = 0; i < produced->earlier_count; i++) {
        struct produced_end *known = &produced->earlier[i];
        if (known->partition == asked->partition && known->leader_epoch == asked->flush.leader_epoch &&
            known->upto <= asked->flush.upto) {
            *known = produced->earlier[--produced->earlier_count];
            break;
        }
    }
    pthread_mutex_unlock(&handle->lock);
}

static void flush_done(struct flush_op *flush, int rc)
{
    struct sync_flush *asked = CONTAINER_OF(flush, struct sync_flush, flush);
    struct sync_op *op = asked->op;
    int none = 0;
    if (asked->earlier && (rc == 0 || rc == -EIO))
        forget_earlier(op->handle, asked);
    if (rc != 0)
        atomic_compare_exchange_strong(&op->rc, &none, rc);
    drop_pending(op);
}

static void plan(struct sync_op *op, const struct produced_end *end, bool earlier)
{
    struct sync_flush *flush = &op->flushes[op->flush_count++];
    flush->partition = end->partition;
    flush->earlier = earlier;
    flush->flush.upto = end->upto;
    flush->flush.leader_epoch = end->leader_epoch;
}

/* Collects what must be on disk: each partition that was appended to, by each leader epoch in which it was; a file that
 * was only read: all there is. */
static int plan_flushes(struct sync_op *op)
{
    struct handle *handle = op->handle;
    struct partition *part = handle->pfile->part;
    struct produced *produced = &handle->producer->produced;
    pthread_mutex_lock(&handle->lock);
    op->flushes = calloc((size_t)(1 + produced->any_count + produced->earlier_count), sizeof *op->flushes);
    if (op->flushes != NULL && part != NULL)
        plan(op, &produced->own, false);
    for (int32_t i = 0; op->flushes != NULL && i < produced->any_count; i++) {
        if (produced->any_ends[i].any)
            plan(op, &produced->any_ends[i], false);
    }
    for (int32_t i = 0; op->flushes != NULL && i < produced->earlier_count; i++)
        plan(op, &produced->earlier[i], true);
    bool forgot = produced->forgot;
    produced->forgot = forgot && op->flushes == NULL;
    pthread_mutex_unlock(&handle->lock);
    if (op->flushes == NULL)
        return -ENOMEM;
    if (part != NULL && op->flushes[0].flush.upto == 0) {
        op->flushes[0].flush.upto = partition_high_watermark(part).offset;
        op->flushes[0].flush.leader_epoch = -1;
    }
    return forgot ? -EIO : 0;
}

static void give_up(struct sync_op *op)
{
    for (int32_t i = 0; i < op->flush_count; i++) {
        if (op->flushes[i].flush.part != NULL)
            partition_flush_give_up(&op->flushes[i].flush);
    }
}

static void start_flushes(struct sync_op *op)
{
    atomic_store(&op->pending, 1);
    int rc = op->drain.rc;
    if (rc == 0 && op->to_disk)
        rc = plan_flushes(op);
    atomic_store(&op->rc, rc);
    struct pfile *pfile = op->handle->pfile;
    for (int32_t i = 0; i < op->flush_count; i++) {
        struct sync_flush *flush = &op->flushes[i];
        struct partition *part = pfile->part != NULL ? pfile->part : topic_partition(pfile->topic, flush->partition);
        if (part == NULL)
            continue;
        flush->op = op;
        flush->flush.part = part;
        flush->flush.timeout_ms = op->handle->session->options->delivery_timeout_ms;
        flush->flush.done = flush_done;
        atomic_fetch_add(&op->pending, 1);
        rc = partition_flush_submit(&flush->flush);
        if (rc != 0)
            flush_done(&flush->flush, rc < 0 ? rc : 0);
    }
    atomic_store(&op->started, true);
    if (atomic_load(&op->answered)) /* of this and op_cancel() one at least sees the other's */
        give_up(op);
    drop_pending(op);
}

/* A fatal signal, or the end of the session. Batches go on without it; a flush under way ends it once more, and does
 * not wait for other nodes. */
static bool op_cancel(struct park *park)
{
    struct sync_op *op = CONTAINER_OF(park, struct sync_op, park);
    if (atomic_exchange(&op->answered, true))
        return false;
    if (!sync_drain_cancel(op->handle, &op->drain)) {
        atomic_fetch_add(&park->refs, 1); /* aborted's; finish() drops its own */
        if (atomic_load(&op->started))
            give_up(op);
    }
    return true;
}

static void op_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void op_free(struct park *park)
{
    struct sync_op *op = CONTAINER_OF(park, struct sync_op, park);
    handle_unref(op->handle);
    free(op->flushes);
    free(op);
}

static void send_all(struct handle *handle)
{
    if (handle->pfile->part != NULL) {
        accumulator_send(handle->session, handle->pfile);
        return;
    }
    /* A write(2) may make the array longer meanwhile; what is in it stays as long as the handle. */
    struct producer *producer = handle->producer;
    for (int32_t i = 0;; i++) {
        pthread_mutex_lock(&producer->lock);
        bool over = i >= producer->target_count;
        struct pfile *pfile = over ? NULL : producer->targets[i];
        pthread_mutex_unlock(&producer->lock);
        if (over)
            return;
        if (pfile != NULL)
            accumulator_send(handle->session, pfile);
    }
}

/* ---- what lingers ---- */

/* Of two failures, or 0, the one to tell: the first, but that something may be there after all. */
static int failure(int first, int second)
{
    return first == 0 || second == -ETIMEDOUT ? second : first;
}

/* false: nothing is waited for, or nothing is on its way. */
static bool begin_drain(struct handle *handle, struct sync_drain *drain, bool waits)
{
    struct produced *produced = &handle->producer->produced;
    pthread_mutex_lock(&handle->lock);
    drain->waits = waits && produced->outstanding > 0;
    if (drain->tells) {
        drain->rc = produced->error;
        produced->error = 0;
    }
    if (drain->waits) {
        drain->upto = produced->batches;
        drain->batches_left = produced->outstanding;
        drain->next = produced->waiters;
        produced->waiters = drain;
    }
    waits = drain->waits; /* without the lock it may be over */
    pthread_mutex_unlock(&handle->lock);
    if (waits)
        send_all(handle);
    return waits;
}

bool sync_lingers(struct handle *handle)
{
    pthread_mutex_lock(&handle->lock);
    bool lingers = handle->producer->produced.outstanding > 0;
    pthread_mutex_unlock(&handle->lock);
    return lingers;
}

void sync_closed(struct handle *handle)
{
    if (!sync_lingers(handle))
        handle_written(handle, false);
    rest_fence(handle);
}

bool sync_drain(struct handle *handle, struct sync_drain *drain)
{
    return begin_drain(handle, drain, true);
}

bool sync_drain_cancel(struct handle *handle, struct sync_drain *drain)
{
    struct produced *produced = &handle->producer->produced;
    pthread_mutex_lock(&handle->lock);
    bool was = drain->waits;
    if (was) {
        drain->waits = false;
        struct sync_drain **link = &produced->waiters;
        while (*link != drain)
            link = &(*link)->next;
        *link = drain->next;
        produced->error = failure(produced->error, drain->rc);
    }
    pthread_mutex_unlock(&handle->lock);
    return was;
}

static void drained(struct sync_drain *drain)
{
    start_flushes(CONTAINER_OF(drain, struct sync_op, drain));
}

/* ---- the requests ---- */

static void start(fuse_req_t req, struct handle *handle, bool to_disk, bool closes, int64_t written)
{
    struct sync_op *op = calloc(1, sizeof *op);
    if (op == NULL) {
        if (closes)
            sync_closed(handle);
        fuse_reply_err(req, sync_error(written, -ENOMEM));
        return;
    }
    op->handle = handle_ref(handle);
    op->to_disk = to_disk;
    op->closes = closes;
    op->written = written;
    op->drain.over = drained;
    op->drain.tells = true;
    op->park.cancel = op_cancel;
    op->park.aborted = op_aborted;
    op->park.free = op_free;
    op->park.fatal_only = true;
    bool lingers = handle->appends && handle->session->options->linger_ms > 0 && written < 0;
    park_begin(&op->park, handle->session, req);
    if (!begin_drain(handle, &op->drain, lingers))
        start_flushes(op);
    park_settle(&op->park);
}

void sync_fsync(fuse_req_t req, struct handle *handle)
{
    start(req, handle, true, false, -1);
}

void sync_close(fuse_req_t req, struct handle *handle)
{
    start(req, handle, false, true, -1);
}

void sync_write(fuse_req_t req, struct handle *handle, size_t len)
{
    start(req, handle, true, false, (int64_t)len);
}

/* Under handle's lock. */
static void note_earlier(struct produced *produced, const struct produced_end *end)
{
    if (end->upto == 0)
        return;
    for (int32_t i = 0; i < produced->earlier_count; i++) {
        struct produced_end *known = &produced->earlier[i];
        if (known->partition == end->partition && known->leader_epoch == end->leader_epoch) {
            known->upto = known->upto < end->upto ? end->upto : known->upto;
            return;
        }
    }
    struct produced_end *grown = NULL;
    if (produced->earlier_count < LIMIT_EARLIER_EPOCHS)
        grown = realloc(produced->earlier, (size_t)(produced->earlier_count + 1) * sizeof *grown);
    if (grown == NULL) {
        produced->forgot = true;
        return;
    }
    produced->earlier = grown;
    grown[produced->earlier_count++] = *end;
}

/* Of `.any`. NULL: no memory. Under handle's lock. */
static struct produced_end *any_end(struct produced *produced, int32_t partition)
{
    if (partition >= produced->any_count) {
        struct produced_end *ends = realloc(produced->any_ends, (size_t)(partition + 1) * sizeof *ends);
        if (ends == NULL)
            return NULL;
        for (int32_t i = produced->any_count; i <= partition; i++)
            ends[i] = (struct produced_end){.partition = i, .leader_epoch = -1};
        produced->any_ends = ends;
        produced->any_count = partition + 1;
    }
    return &produced->any_ends[partition];
}

/* Under handle's lock. */
static void note(struct handle *handle, const struct produced_end *end)
{
    struct produced *produced = &handle->producer->produced;
    struct produced_end *last = handle->pfile->part != NULL ? &produced->own : any_end(produced, end->partition);
    if (last == NULL) { /* an fsync could not promise anything */
        produced->error = -ENOMEM;
        return;
    }
    last->any = true;
    if (end->leader_epoch < last->leader_epoch) {
        note_earlier(produced, end);
    } else if (end->leader_epoch > last->leader_epoch) {
        note_earlier(produced, last);
        *last = *end;
        last->any = true;
    } else if (last->upto < end->upto) {
        last->upto = end->upto;
    }
}

void sync_appended(struct handle *handle, int32_t partition, int64_t end, int32_t leader_epoch)
{
    pthread_mutex_lock(&handle->lock);
    note(handle, &(struct produced_end){.partition = partition, .leader_epoch = leader_epoch, .upto = end});
    pthread_mutex_unlock(&handle->lock);
}

static bool is_under_way(const struct produced *produced)
{
    return produced->outstanding > 0 || produced->last_line;
}

void sync_released(struct handle *handle)
{
    pthread_mutex_lock(&handle->lock);
    bool waits = is_under_way(&handle->producer->produced);
    handle->producer->produced.released = waits;
    pthread_mutex_unlock(&handle->lock);
    if (!waits)
        fence_lower(handle->pfile->fence, &handle->producer->post);
    else
        fence_keep(handle->pfile->fence, &handle->producer->post);
}

void sync_last_line_begun(struct handle *handle)
{
    pthread_mutex_lock(&handle->lock);
    handle->producer->produced.last_line = true;
    pthread_mutex_unlock(&handle->lock);
}

void sync_last_line_over(struct handle *handle)
{
    pthread_mutex_lock(&handle->lock);
    struct produced *produced = &handle->producer->produced;
    produced->last_line = false;
    bool lower = produced->released && !is_under_way(produced);
    pthread_mutex_unlock(&handle->lock);
    if (lower)
        fence_lower_soon(handle->pfile->fence, &handle->producer->post);
}

uint64_t sync_batch_begun(struct handle *handle)
{
    pthread_mutex_lock(&handle->lock);
    uint64_t number = ++handle->producer->produced.batches;
    handle->producer->produced.outstanding++;
    pthread_mutex_unlock(&handle->lock);
    return number;
}

/* One of the batches that it waits for is over. Under handle's lock. true: it was the last one. */
static bool batch_over(struct sync_drain *drain, int rc)
{
    if (drain->tells)
        drain->rc = failure(drain->rc, rc);
    drain->waits = --drain->batches_left > 0;
    return !drain->waits;
}

void sync_batch_done(struct handle *handle, uint64_t number, int rc)
{
    struct produced *produced = &handle->producer->produced;
    struct sync_drain *ready = NULL;
    bool told = false;
    pthread_mutex_lock(&handle->lock);
    produced->outstanding--;
    bool lower = produced->released && !is_under_way(produced);
    for (struct sync_drain **link = &produced->waiters; *link != NULL;) {
        struct sync_drain *drain = *link;
        bool waits = number <= drain->upto;
        told |= waits && drain->tells;
        if (waits && batch_over(drain, rc)) {
            *link = drain->next;
            drain->next = ready;
            ready = drain;
        } else {
            link = &drain->next;
        }
    }
    if (!told)
        produced->error = failure(produced->error, rc);
    pthread_mutex_unlock(&handle->lock);
    if (lower)
        fence_lower_soon(handle->pfile->fence, &handle->producer->post);
    while (ready != NULL) {
        struct sync_drain *next = ready->next;
        ready->over(ready);
        ready = next;
    }
}
