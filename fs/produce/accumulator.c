#include "fs/produce/accumulator.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "engine/base/limits.h"
#include "fs/base/limits.h"
#include "fs/produce/produce_file.h"
#include "fs/produce/producer.h"
#include "fs/produce/sync.h"
#include "fs/tree/handle.h"
#include "fs/tree/tree.h"

/* An open file that has lines in a lot. */
struct lot_owner {
    struct handle *handle; /* referenced */
    uint64_t number;       /* the lot's, among those of this open file (sync.h) */
};

/* Lines on their way to the log as one batch. */
struct lot {
    struct append_op op;
    struct accumulator *accumulator;
    uint8_t *bytes;
    size_t len, capacity;
    uint32_t records;
    int64_t first_timestamp_ms, last_timestamp_ms;
    enum framing framing;
    struct lot_owner *owners;
    size_t owner_count, owner_max;
    struct lot *next;
};

/* One partition's. */
struct accumulator {
    struct session *session;
    struct partition *part;
    pthread_mutex_t lock;
    _Atomic int refs;         /* the pfile's, a set alarm's until it has rung, a lot's under way */
    struct lot *open;         /* collects */
    struct lot *first, *last; /* closed, in order */
    bool sending;
    struct lot *under_way; /* parked with the partition */
    bool alarm_on;
    struct alarm alarm;
    struct accumulator *next; /* accumulators' lock */
};

struct accumulators {
    pthread_mutex_t lock;
    int64_t limit_bytes, used_bytes;
    struct accumulator_waiter *first, *last;
    struct accumulator *all;
};

/* ---- room ---- */

struct accumulators *accumulators_new(int64_t buffer_memory_bytes)
{
    struct accumulators *all = calloc(1, sizeof(*all));
    if (all) {
        pthread_mutex_init(&all->lock, NULL);
        all->limit_bytes = buffer_memory_bytes;
    }
    return all;
}

void accumulators_free(struct accumulators *all)
{
    assert(all->used_bytes == 0 && !all->first);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* Under the lock. */
static bool fits(const struct accumulators *all, size_t len)
{
    return all->used_bytes == 0 || all->used_bytes + (int64_t)len <= all->limit_bytes;
}

bool accumulators_reserve(struct accumulators *all, struct accumulator_waiter *waiter)
{
    pthread_mutex_lock(&all->lock);
    bool now = !all->first && fits(all, waiter->len);
    if (now) {
        all->used_bytes += (int64_t)waiter->len;
    } else {
        waiter->queued = true;
        waiter->next = NULL;
        waiter->prev = all->last;
        if (all->last)
            all->last->next = waiter;
        else
            all->first = waiter;
        all->last = waiter;
    }
    pthread_mutex_unlock(&all->lock);
    return now;
}

/* Under the lock. */
static void dequeue(struct accumulators *all, struct accumulator_waiter *waiter)
{
    waiter->queued = false;
    if (waiter->prev)
        waiter->prev->next = waiter->next;
    else
        all->first = waiter->next;
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    else
        all->last = waiter->prev;
    waiter->prev = waiter->next = NULL;
}

bool accumulators_cancel(struct accumulators *all, struct accumulator_waiter *waiter)
{
    pthread_mutex_lock(&all->lock);
    bool was = waiter->queued;
    if (was)
        dequeue(all, waiter);
    pthread_mutex_unlock(&all->lock);
    return was;
}

/* Set while this thread hands out room: what a waiter sends may be over at once, and the outer call goes on with its
 * room, so that a thousand waiters do not need a thousand frames. */
static _Thread_local bool handing_out;

void accumulators_give_back(struct accumulators *all, size_t len)
{
    pthread_mutex_lock(&all->lock);
    assert(all->used_bytes >= (int64_t)len);
    all->used_bytes -= (int64_t)len;
    while (!handing_out && all->first && fits(all, all->first->len)) {
        struct accumulator_waiter *waiter = all->first;
        dequeue(all, waiter);
        all->used_bytes += (int64_t)waiter->len;
        pthread_mutex_unlock(&all->lock);
        handing_out = true;
        waiter->room(waiter);
        handing_out = false;
        pthread_mutex_lock(&all->lock);
    }
    pthread_mutex_unlock(&all->lock);
}

/* ---- lots ---- */

static void lot_free(struct lot *lot)
{
    topic_unpledge(partition_topic(lot->accumulator->part));
    free(lot->bytes);
    free(lot->owners);
    free(lot);
}

/* Makes room for len more bytes of one more open file. -ENOMEM: the lot is as before. */
static int lot_make_room(struct lot *lot, size_t len)
{
    if (lot->owner_count == lot->owner_max) {
        size_t max = lot->owner_max ? lot->owner_max * 2 : 4;
        struct lot_owner *owners = realloc(lot->owners, max * sizeof(*owners));
        if (!owners)
            return -ENOMEM;
        lot->owners = owners;
        lot->owner_max = max;
    }
    if (lot->len + len > lot->capacity) {
        size_t capacity = lot->capacity ? lot->capacity : 4096;
        while (capacity < lot->len + len)
            capacity *= 2;
        uint8_t *bytes = realloc(lot->bytes, capacity);
        if (!bytes)
            return -ENOMEM;
        lot->bytes = bytes;
        lot->capacity = capacity;
    }
    return 0;
}

static void lot_add_owner(struct lot *lot, struct handle *handle)
{
    for (size_t i = lot->owner_count; i-- > 0;)
        if (lot->owners[i].handle == handle)
            return;
    lot->owners[lot->owner_count++] = (struct lot_owner){handle_ref(handle), sync_lot_begun(handle)};
}

/* There is room for it. */
static void lot_add(struct lot *lot, struct handle *handle, const struct append_batch *batch)
{
    lot_add_owner(lot, handle);
    for (int i = 0; i < batch->iovcnt; i++) {
        memcpy(lot->bytes + lot->len, batch->iov[i].iov_base, batch->iov[i].iov_len);
        lot->len += batch->iov[i].iov_len;
    }
    if (!lot->records)
        lot->first_timestamp_ms = batch->first_timestamp_ms;
    if (!lot->records || lot->last_timestamp_ms < batch->last_timestamp_ms) /* of several writers not the last added */
        lot->last_timestamp_ms = batch->last_timestamp_ms;
    lot->records += batch->records;
}

/* The batch was appended, or failed: tells the open files. */
static void lot_done(struct lot *lot, int rc)
{
    struct session *session = lot->accumulator->session;
    if (rc)
        log_line(LOG_ERR, "%s: %u lingering records could not be appended: %s", partition_name(lot->accumulator->part),
                 lot->records, strerror(-rc));
    for (size_t i = 0; i < lot->owner_count; i++) {
        const struct lot_owner *owner = &lot->owners[i];
        sync_lot_done(owner->handle, owner->number, partition_index(lot->accumulator->part), rc,
                      lot->op.result.end.offset, lot->op.leader_epoch);
        handle_unref(owner->handle);
    }
    size_t len = lot->len;
    lot_free(lot);
    accumulators_give_back(session->accumulators, len);
}

/* ---- sending ---- */

static void accumulator_unref(struct accumulator *acc)
{
    struct accumulators *all = acc->session->accumulators;
    pthread_mutex_lock(&all->lock); /* so that who finds it in the list finds a reference in it */
    bool last = atomic_fetch_sub(&acc->refs, 1) == 1;
    struct accumulator **link = &all->all;
    while (last && *link != acc)
        link = &(*link)->next;
    if (last)
        *link = acc->next;
    pthread_mutex_unlock(&all->lock);
    if (!last)
        return;
    partition_unref(acc->part);
    pthread_mutex_destroy(&acc->lock);
    free(acc);
}

void accumulator_free(struct accumulator *acc)
{
    accumulator_unref(acc);
}

/* Under the lock. */
static void close_open_lot(struct accumulator *acc)
{
    if (!acc->open)
        return;
    if (acc->last)
        acc->last->next = acc->open;
    else
        acc->first = acc->open;
    acc->last = acc->open;
    acc->open = NULL;
}

/* 1: appended; 0: parked, lot_appended() follows; or a negative errno. */
static int lot_append(struct lot *lot)
{
    struct framing_mark marks[LIMIT_BATCH_MARKS];
    struct iovec iov = {lot->bytes, lot->len};
    struct append_batch *batch = &lot->op.batch;
    int rc = append_batch_scan(batch, lot->framing, &iov, lot->first_timestamp_ms, 4096, marks, LIMIT_BATCH_MARKS);
    if (rc)
        return rc;
    batch->last_timestamp_ms = lot->last_timestamp_ms;
    const struct options *options = lot->accumulator->session->options;
    lot->op.part = lot->accumulator->part;
    lot->op.acks = options->acks;
    lot->op.timeout_ms = options->delivery_timeout_ms;
    return partition_append_submit(&lot->op, NULL);
}

static void send_closed(struct accumulator *acc);

/* The lot that was under way is over: it is freed, and the next one may go. */
static void sent(struct accumulator *acc, struct lot *lot, int rc)
{
    pthread_mutex_lock(&acc->lock);
    acc->under_way = NULL; /* before it is freed: drain() looks */
    pthread_mutex_unlock(&acc->lock);
    lot_done(lot, rc);
    pthread_mutex_lock(&acc->lock);
    acc->sending = false;
    pthread_mutex_unlock(&acc->lock);
}

static void lot_appended(struct append_op *op, int rc)
{
    struct lot *lot = CONTAINER_OF(op, struct lot, op);
    struct accumulator *acc = lot->accumulator;
    sent(acc, lot, rc);
    send_closed(acc);
    accumulator_unref(acc); /* the lot's */
}

/* Appends closed lots in order until there is none, one is parked, or somebody else is at it. */
static void send_closed(struct accumulator *acc)
{
    for (;;) {
        pthread_mutex_lock(&acc->lock);
        struct lot *lot = acc->sending ? NULL : acc->first;
        if (lot) {
            acc->sending = true;
            acc->under_way = lot;
            acc->first = lot->next;
            if (!acc->first)
                acc->last = NULL;
        }
        pthread_mutex_unlock(&acc->lock);
        if (!lot)
            return;
        atomic_fetch_add(&acc->refs, 1);
        int rc = lot_append(lot);
        if (rc == 0)
            return; /* the reference is lot_appended()'s now */
        sent(acc, lot, rc < 0 ? rc : 0);
        accumulator_unref(acc);
    }
}

static void linger_over(struct alarm *alarm)
{
    struct accumulator *acc = CONTAINER_OF(alarm, struct accumulator, alarm);
    pthread_mutex_lock(&acc->lock);
    acc->alarm_on = false;
    close_open_lot(acc);
    pthread_mutex_unlock(&acc->lock);
    send_closed(acc);
    accumulator_unref(acc); /* the alarm's */
}

static struct accumulator *accumulator_of(struct session *session, struct pfile *pfile)
{
    pthread_mutex_lock(&pfile->produce->lock);
    struct accumulator *acc = pfile->produce->accumulator;
    if (!acc && (acc = calloc(1, sizeof(*acc)))) {
        acc->session = session;
        acc->part = partition_ref(pfile->part);
        atomic_init(&acc->refs, 1);
        pthread_mutex_init(&acc->lock, NULL);
        alarm_init(&acc->alarm, WORK_PROMPT, linger_over);
        pfile->produce->accumulator = acc;
        struct accumulators *all = session->accumulators;
        pthread_mutex_lock(&all->lock);
        acc->next = all->all;
        all->all = acc;
        pthread_mutex_unlock(&all->lock);
    }
    pthread_mutex_unlock(&pfile->produce->lock);
    return acc;
}

/* Under the lock. NULL: no memory. */
static struct lot *open_lot(struct accumulator *acc, enum framing framing)
{
    if (acc->open)
        return acc->open;
    struct lot *lot = calloc(1, sizeof(*lot));
    if (!lot)
        return NULL;
    lot->accumulator = acc;
    lot->op.done = lot_appended;
    lot->framing = framing;
    bool pledged = topic_pledge(partition_topic(acc->part), framing);
    assert(pledged); /* so has the caller */
    (void)pledged;
    acc->open = lot;
    if (!acc->alarm_on) {
        acc->alarm_on = true;
        atomic_fetch_add(&acc->refs, 1);
        alarm_set(node_executor(acc->session->node), &acc->alarm, acc->session->options->linger_ms);
    }
    return lot;
}

/* Adds to the open lot, or to a new one. Under the lock. -ENOMEM. */
static int add(struct accumulator *acc, struct handle *handle, const struct append_batch *batch)
{
    struct lot *lot = open_lot(acc, handle->producer->config.log.framing);
    int rc = lot ? lot_make_room(lot, batch->len) : -ENOMEM;
    if (rc == 0) {
        lot_add(lot, handle, batch);
    } else if (lot && !lot->len) { /* an empty one is not sent */
        acc->open = NULL;
        lot_free(lot);
    }
    return rc;
}

int accumulator_add(struct session *session, struct pfile *pfile, struct handle *handle,
                    const struct append_batch *batch)
{
    struct accumulator *acc = accumulator_of(session, pfile);
    int64_t batch_size = session->options->batch_size_bytes;
    int rc = -ENOMEM;
    bool full = false;
    if (acc) {
        pthread_mutex_lock(&acc->lock);
        full = acc->open && (int64_t)(acc->open->len + batch->len) > batch_size;
        if (full)
            close_open_lot(acc);
        rc = add(acc, handle, batch);
        if (rc == 0 && (int64_t)acc->open->len >= batch_size) {
            close_open_lot(acc);
            full = true;
        }
        pthread_mutex_unlock(&acc->lock);
    }
    if (rc)
        accumulators_give_back(session->accumulators, batch->len);
    if (full)
        send_closed(acc);
    return rc;
}

void accumulator_send(struct session *session, struct pfile *pfile)
{
    (void)session;
    pthread_mutex_lock(&pfile->produce->lock);
    struct accumulator *acc = pfile->produce->accumulator;
    pthread_mutex_unlock(&pfile->produce->lock);
    if (!acc)
        return;
    pthread_mutex_lock(&acc->lock);
    close_open_lot(acc);
    pthread_mutex_unlock(&acc->lock);
    send_closed(acc);
}

/* ---- the end ---- */

/* Sends, and says whether nothing is left. give_up: what is parked is taken back. */
static bool drain(struct accumulator *acc, bool give_up)
{
    pthread_mutex_lock(&acc->lock);
    close_open_lot(acc);
    bool cancelled = acc->alarm_on && alarm_cancel(node_executor(acc->session->node), &acc->alarm);
    if (cancelled)
        acc->alarm_on = false;
    struct lot *waiting = give_up ? acc->under_way : NULL;
    bool idle = !acc->first && !acc->sending && !acc->alarm_on;
    bool taken = waiting && partition_append_cancel(&waiting->op);
    bool forgotten = waiting && !taken && partition_append_forget(&waiting->op);
    pthread_mutex_unlock(&acc->lock);
    if (taken || forgotten)
        lot_appended(&waiting->op, taken ? -EROFS : -ETIMEDOUT);
    send_closed(acc);
    if (cancelled)
        accumulator_unref(acc);
    return idle;
}

void accumulators_drain(struct accumulators *all, struct node *node)
{
    struct clock *clock = node_clock(node);
    int64_t deadline = clock->mono_ms(clock) + LIMIT_STOP_MS;
    for (;;) {
        bool idle = true;
        bool give_up = clock->mono_ms(clock) > deadline;
        pthread_mutex_lock(&all->lock);
        struct accumulator *acc = all->all;
        if (acc)
            atomic_fetch_add(&acc->refs, 1);
        pthread_mutex_unlock(&all->lock);
        while (acc) {
            idle &= drain(acc, give_up);
            pthread_mutex_lock(&all->lock);
            struct accumulator *next = acc->next;
            if (next)
                atomic_fetch_add(&next->refs, 1);
            pthread_mutex_unlock(&all->lock);
            accumulator_unref(acc);
            acc = next;
        }
        if (idle)
            return;
        executor_pause(node_executor(node), 1);
    }
}
