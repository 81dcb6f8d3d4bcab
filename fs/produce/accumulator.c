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
#include "fs/produce/kept.h"
#include "fs/produce/produce_file.h"
#include "fs/produce/producer.h"
#include "fs/produce/spread.h"
#include "fs/produce/sync.h"
#include "fs/tree/handle.h"
#include "fs/tree/tree.h"

/* An open file that has lines in a batch. */
struct batch_owner {
    struct handle *handle; /* referenced */
    uint64_t number;       /* the batch's, among those of this open file (sync.h) */
    bool torn;             /* a write of it, when the batch is over */
};

/* A write with a part in a batch, and others elsewhere. */
struct batch_part {
    struct spread *spread;
    size_t owner; /* whose it is: among the batch's */
};

/* Lines on their way to the log as one batch: Kafka's ProducerBatch. */
struct producer_batch {
    struct kept kept;
    struct accumulator *accumulator;
    uint8_t *bytes;
    size_t len, capacity;
    uint32_t records;
    int64_t first_timestamp_ms, last_timestamp_ms;
    enum framing framing;
    struct batch_owner *owners;
    size_t owner_count, owner_max;
    struct batch_part *parts;
    size_t part_count, part_max;
    struct producer_batch *next;
};

/* One partition's. */
struct accumulator {
    struct session *session;
    struct partition *part;
    pthread_mutex_t lock;
    _Atomic int refs;                    /* the pfile's, a set alarm's until it has rung, a batch's under way, rest's */
    struct producer_batch *open;         /* collects */
    struct producer_batch *first, *last; /* closed, in order */
    bool sending;
    struct producer_batch *under_way; /* parked with the partition, or to be tried again */
    bool handed_on;                   /* `rest` is queued, and has a reference */
    struct work rest;                 /* sends closed batches */
    bool alarm_on;
    struct alarm alarm;
    struct accumulator *next; /* accumulators' lock */
};

struct accumulators {
    pthread_mutex_t lock;
    int64_t limit_bytes, used_bytes;
    struct accumulator_waiter *first, *last;
    bool granting; /* `grants` is queued or under way */
    struct work grants;
    struct executor *executor;
    struct accumulator *all;
};

/* ---- room ---- */

static void grant(struct work *work);

struct accumulators *accumulators_new(struct executor *executor, int64_t buffer_memory_bytes)
{
    struct accumulators *all = calloc(1, sizeof *all);
    if (all != NULL) {
        pthread_mutex_init(&all->lock, NULL);
        all->executor = executor;
        all->grants.run = grant;
        all->limit_bytes = buffer_memory_bytes;
    }
    return all;
}

static bool any_left(struct accumulators *all)
{
    pthread_mutex_lock(&all->lock);
    bool any = all->all != NULL || all->granting;
    pthread_mutex_unlock(&all->lock);
    return any;
}

void accumulators_free(struct accumulators *all)
{
    while (any_left(all))
        executor_pause(all->executor, 1);
    assert(all->used_bytes == 0 && all->first == NULL);
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
    bool now = all->first == NULL && fits(all, waiter->len);
    if (now) {
        all->used_bytes += (int64_t)waiter->len;
    } else {
        waiter->queued = true;
        waiter->next = NULL;
        waiter->prev = all->last;
        if (all->last != NULL)
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
    if (waiter->prev != NULL)
        waiter->prev->next = waiter->next;
    else
        all->first = waiter->next;
    if (waiter->next != NULL)
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

/* Under the lock. */
static bool may_grant(const struct accumulators *all)
{
    return all->first != NULL && fits(all, all->first->len);
}

/* The next one to go on, with its room; NULL: none, and this work is over. */
static struct accumulator_waiter *next_granted(struct accumulators *all)
{
    struct accumulator_waiter *waiter = NULL;
    pthread_mutex_lock(&all->lock);
    all->granting = may_grant(all);
    if (all->granting) {
        waiter = all->first;
        dequeue(all, waiter);
        all->used_bytes += (int64_t)waiter->len;
    }
    pthread_mutex_unlock(&all->lock);
    return waiter;
}

static void grant(struct work *work)
{
    struct accumulators *all = CONTAINER_OF(work, struct accumulators, grants);
    for (int i = 0; i < LIMIT_ROOM_GRANTS; i++) {
        struct accumulator_waiter *waiter = next_granted(all);
        if (waiter == NULL)
            return;
        waiter->room(waiter);
    }
    executor_prompt(all->executor, &all->grants);
}

void accumulators_give_back(struct accumulators *all, size_t len)
{
    pthread_mutex_lock(&all->lock);
    assert(all->used_bytes >= (int64_t)len);
    all->used_bytes -= (int64_t)len;
    bool begins = !all->granting && may_grant(all);
    all->granting |= begins;
    pthread_mutex_unlock(&all->lock);
    if (begins)
        executor_prompt(all->executor, &all->grants);
}

/* ---- batches ---- */

static void batch_free(struct producer_batch *batch)
{
    topic_end_flight(partition_topic(batch->accumulator->part));
    free(batch->bytes);
    free(batch->owners);
    free(batch->parts);
    free(batch);
}

/* Makes room for len more bytes of one more open file, and for one more part. -ENOMEM: the batch is as before. */
static int batch_make_room(struct producer_batch *batch, size_t len)
{
    if (batch->part_count == batch->part_max) {
        size_t max = batch->part_max != 0 ? batch->part_max * 2 : 4;
        struct batch_part *parts = realloc(batch->parts, max * sizeof *parts);
        if (parts == NULL)
            return -ENOMEM;
        batch->parts = parts;
        batch->part_max = max;
    }
    if (batch->owner_count == batch->owner_max) {
        size_t max = batch->owner_max != 0 ? batch->owner_max * 2 : 4;
        struct batch_owner *owners = realloc(batch->owners, max * sizeof *owners);
        if (owners == NULL)
            return -ENOMEM;
        batch->owners = owners;
        batch->owner_max = max;
    }
    if (batch->len + len > batch->capacity) {
        size_t capacity = batch->capacity != 0 ? batch->capacity : 4096;
        while (capacity < batch->len + len)
            capacity *= 2;
        uint8_t *bytes = realloc(batch->bytes, capacity);
        if (bytes == NULL)
            return -ENOMEM;
        batch->bytes = bytes;
        batch->capacity = capacity;
    }
    return 0;
}

/* Returns its place. */
static size_t batch_add_owner(struct producer_batch *batch, struct handle *handle)
{
    for (size_t i = batch->owner_count; i-- > 0;) {
        if (batch->owners[i].handle == handle)
            return i;
    }
    batch->owners[batch->owner_count] =
        (struct batch_owner){.handle = handle_ref(handle), .number = sync_batch_begun(handle)};
    return batch->owner_count++;
}

/* There is room for it. */
static void batch_add(struct producer_batch *batch, struct handle *handle, const struct append_batch *added,
                      struct spread *spread)
{
    size_t owner = batch_add_owner(batch, handle);
    if (spread != NULL)
        batch->parts[batch->part_count++] = (struct batch_part){spread, owner};
    for (int i = 0; i < added->iovcnt; i++) {
        memcpy(batch->bytes + batch->len, added->iov[i].iov_base, added->iov[i].iov_len);
        batch->len += added->iov[i].iov_len;
    }
    if (batch->records == 0)
        batch->first_timestamp_ms = added->first_timestamp_ms;
    if (batch->records == 0 ||
        batch->last_timestamp_ms < added->last_timestamp_ms) /* of several writers not the last added */
        batch->last_timestamp_ms = added->last_timestamp_ms;
    batch->records += added->records;
}

/* The batch was appended, or failed: tells the open files. */
static void batch_done(struct producer_batch *batch, int rc)
{
    struct session *session = batch->accumulator->session;
    if (rc != 0) {
        log_line(LOG_ERR, "%s: %u lingering record%s could not be appended: %s",
                 partition_name(batch->accumulator->part), batch->records, batch->records != 1 ? "s" : "",
                 strerror(-rc));
    }
    for (size_t i = 0; i < batch->part_count; i++) {
        if (spread_settle(batch->parts[i].spread, rc))
            batch->owners[batch->parts[i].owner].torn = true;
    }
    for (size_t i = 0; i < batch->owner_count; i++) {
        const struct batch_owner *owner = &batch->owners[i];
        if (rc == 0) {
            sync_appended(owner->handle, partition_index(batch->accumulator->part),
                          batch->kept.append.result.end.offset, batch->kept.append.leader_epoch);
        }
        sync_batch_done(owner->handle, owner->number, owner->torn ? -ETIMEDOUT : rc);
        handle_unref(owner->handle);
    }
    size_t len = batch->len;
    batch_free(batch);
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
static void close_open_batch(struct accumulator *acc)
{
    if (acc->open == NULL)
        return;
    if (acc->last != NULL)
        acc->last->next = acc->open;
    else
        acc->first = acc->open;
    acc->last = acc->open;
    acc->open = NULL;
}

static int batch_submit(struct kept *kept)
{
    struct producer_batch *batch = CONTAINER_OF(kept, struct producer_batch, kept);
    const struct options *options = batch->accumulator->session->options;
    struct framing_mark marks[LIMIT_BATCH_MARKS];
    struct iovec iov = {batch->bytes, batch->len};
    struct append_batch *framed = &kept->append.batch;
    int rc = append_batch_scan(framed, batch->framing, &iov, batch->first_timestamp_ms, 4096, marks, LIMIT_BATCH_MARKS);
    if (rc != 0)
        return rc;
    framed->last_timestamp_ms = batch->last_timestamp_ms;
    kept->append.acks = options->acks;
    kept->append.timeout_ms = options->delivery_timeout_ms;
    return partition_append_submit(&kept->append, NULL);
}

static void send_closed(struct accumulator *acc);

/* The batch that was under way is over: it is freed, and the next one may go. true: there is one. */
static bool sent(struct accumulator *acc, struct producer_batch *batch, int rc)
{
    pthread_mutex_lock(&acc->lock);
    acc->under_way = NULL; /* before it is freed: drain() looks */
    pthread_mutex_unlock(&acc->lock);
    batch_done(batch, rc);
    pthread_mutex_lock(&acc->lock);
    acc->sending = false;
    bool more = acc->first != NULL;
    pthread_mutex_unlock(&acc->lock);
    return more;
}

static void batch_appended(struct kept *kept, int rc)
{
    struct producer_batch *batch = CONTAINER_OF(kept, struct producer_batch, kept);
    struct accumulator *acc = batch->accumulator;
    (void)sent(acc, batch, rc);
    send_closed(acc);
    accumulator_unref(acc); /* the batch's */
}

/* Appends the first closed batch, unless somebody else is at it. true: it is over, and there is another one. */
static bool send_one(struct accumulator *acc)
{
    pthread_mutex_lock(&acc->lock);
    struct producer_batch *batch = acc->sending ? NULL : acc->first;
    if (batch != NULL) {
        acc->sending = true;
        acc->under_way = batch;
        acc->first = batch->next;
        if (acc->first == NULL)
            acc->last = NULL;
    }
    pthread_mutex_unlock(&acc->lock);
    if (batch == NULL)
        return false;
    atomic_fetch_add(&acc->refs, 1);
    int rc = kept_submit(&batch->kept);
    if (rc == 0)
        return false; /* the reference is batch_appended()'s now, which goes on */
    bool more = sent(acc, batch, rc < 0 ? rc : 0);
    accumulator_unref(acc);
    return more;
}

/* A work goes on. */
static void hand_on(struct accumulator *acc)
{
    pthread_mutex_lock(&acc->lock);
    bool queues = !acc->handed_on;
    acc->handed_on = true;
    if (queues)
        atomic_fetch_add(&acc->refs, 1);
    pthread_mutex_unlock(&acc->lock);
    if (queues)
        executor_prompt(node_executor(acc->session->node), &acc->rest);
}

static void send_rest(struct work *work)
{
    struct accumulator *acc = CONTAINER_OF(work, struct accumulator, rest);
    bool more = true;
    pthread_mutex_lock(&acc->lock);
    acc->handed_on = false;
    pthread_mutex_unlock(&acc->lock);
    for (int i = 0; i < LIMIT_SEND_BATCHES && more; i++)
        more = send_one(acc);
    if (more)
        hand_on(acc);
    accumulator_unref(acc); /* the work's */
}

/* Whoever comes by sends one: what others close meanwhile is not for its thread, nor for its request to wait for. */
static void send_closed(struct accumulator *acc)
{
    if (send_one(acc))
        hand_on(acc);
}

static void linger_over(struct alarm *alarm)
{
    struct accumulator *acc = CONTAINER_OF(alarm, struct accumulator, alarm);
    pthread_mutex_lock(&acc->lock);
    acc->alarm_on = false;
    close_open_batch(acc);
    pthread_mutex_unlock(&acc->lock);
    send_closed(acc);
    accumulator_unref(acc); /* the alarm's */
}

static struct accumulator *accumulator_of(struct session *session, struct pfile *pfile)
{
    pthread_mutex_lock(&pfile->produce->lock);
    struct accumulator *acc = pfile->produce->accumulator;
    if (acc == NULL && (acc = calloc(1, sizeof *acc)) != NULL) {
        acc->session = session;
        acc->part = partition_ref(pfile->part);
        atomic_init(&acc->refs, 1);
        pthread_mutex_init(&acc->lock, NULL);
        acc->rest.run = send_rest;
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
static struct producer_batch *open_batch(struct accumulator *acc, enum framing framing)
{
    if (acc->open != NULL)
        return acc->open;
    struct producer_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL)
        return NULL;
    batch->accumulator = acc;
    batch->kept.append.part = acc->part; /* before drain() may look */
    batch->kept.patience_ms = acc->session->options->delivery_timeout_ms;
    batch->kept.submit = batch_submit;
    batch->kept.done = batch_appended;
    kept_init(&batch->kept, acc->session);
    batch->framing = framing;
    bool in_flight = topic_begin_flight(partition_topic(acc->part), framing);
    assert(in_flight); /* so has the caller */
    (void)in_flight;
    acc->open = batch;
    if (!acc->alarm_on) {
        acc->alarm_on = true;
        atomic_fetch_add(&acc->refs, 1);
        alarm_set(node_executor(acc->session->node), &acc->alarm, acc->session->options->linger_ms);
    }
    return batch;
}

/* Adds to the open batch, or to a new one. Under the lock. -ENOMEM. */
static int add(struct accumulator *acc, struct handle *handle, const struct append_batch *added, struct spread *spread)
{
    struct producer_batch *batch = open_batch(acc, handle->producer->config.log.framing);
    int rc = batch != NULL ? batch_make_room(batch, added->len) : -ENOMEM;
    if (rc == 0) {
        batch_add(batch, handle, added, spread);
    } else if (batch != NULL && batch->len == 0) { /* an empty one is not sent */
        acc->open = NULL;
        batch_free(batch);
    }
    return rc;
}

int accumulator_add(struct session *session, struct pfile *pfile, struct handle *handle,
                    const struct append_batch *added, struct spread *spread)
{
    struct accumulator *acc = accumulator_of(session, pfile);
    int64_t batch_size = session->options->batch_size_bytes;
    int rc = -ENOMEM;
    bool full = false;
    if (acc != NULL) {
        pthread_mutex_lock(&acc->lock);
        full = acc->open != NULL && (int64_t)(acc->open->len + added->len) > batch_size;
        if (full)
            close_open_batch(acc);
        rc = add(acc, handle, added, spread);
        if (rc == 0 && (int64_t)acc->open->len >= batch_size) {
            close_open_batch(acc);
            full = true;
        }
        pthread_mutex_unlock(&acc->lock);
    }
    if (rc != 0)
        accumulators_give_back(session->accumulators, added->len);
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
    if (acc == NULL)
        return;
    pthread_mutex_lock(&acc->lock);
    close_open_batch(acc);
    pthread_mutex_unlock(&acc->lock);
    send_closed(acc);
}

/* ---- the end ---- */

/* Sends, and says whether nothing is left. give_up: what is parked is taken back. */
static bool drain(struct accumulator *acc, bool give_up)
{
    pthread_mutex_lock(&acc->lock);
    close_open_batch(acc);
    bool cancelled = acc->alarm_on && alarm_cancel(node_executor(acc->session->node), &acc->alarm);
    if (cancelled)
        acc->alarm_on = false;
    struct producer_batch *waiting = give_up ? acc->under_way : NULL;
    bool idle = acc->first == NULL && !acc->sending && !acc->alarm_on;
    int rc = waiting != NULL ? kept_give_up(&waiting->kept) : 0;
    pthread_mutex_unlock(&acc->lock);
    if (rc < 0)
        batch_appended(&waiting->kept, rc);
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
        if (acc != NULL)
            atomic_fetch_add(&acc->refs, 1);
        pthread_mutex_unlock(&all->lock);
        while (acc != NULL) {
            idle &= drain(acc, give_up);
            pthread_mutex_lock(&all->lock);
            struct accumulator *next = acc->next;
            if (next != NULL)
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
