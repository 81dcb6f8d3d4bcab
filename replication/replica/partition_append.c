/* replication/replica/partition_append.c: appending to a partition and flushing it.
 *
 * The short way, always taken while enough replicas are in sync: log_append() on the caller's thread, high watermark,
 * readers woken. No allocation and no lock held through a callback.
 *
 * The long way, for acks=all with fewer than min.insync.replicas in sync: the batch is copied and parked. A parked
 * append ends in one of five ways, each under the lock first and its callback after:
 *
 *     parked --+-- enough in sync: partition_resume() appends them in order     --> done(0 or an errno)
 *              +-- delivery.timeout.ms: the partition's alarm                   --> done(-EROFS), later ones fail at
 * once
 *              +-- the topic is deleted or the log goes offline                 --> done(-ESTALE, -EIO)
 *              +-- partition_append_cancel()                                    --> no call
 */
#include "replication/replica/partition.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "replication/node/node_internal.h"
#include "replication/node/topic.h"
#include "replication/replica/partition_internal.h"

/* ---- the leader epoch ---- */

static int begin_leading(struct partition *part, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&part->epoch_lock);
    if (part->retired)
        rc = err_set(e, -ESTALE, "topic %s was deleted", part->topic->name);
    else if (!atomic_load(&part->epoch_assigned))
        rc = log_lead(part->log, atomic_load(&part->leader_epoch), e);
    if (rc == 0)
        atomic_store(&part->epoch_assigned, true);
    pthread_mutex_unlock(&part->epoch_lock);
    return rc;
}

/* ---- the short way ---- */

int partition_append_uncommitted(struct partition *part, const struct append_batch *batch,
                                 struct log_append_result *out, struct err *e)
{
    if (!atomic_load_explicit(&part->epoch_assigned, memory_order_acquire)) {
        int rc = begin_leading(part, e);
        if (rc != 0)
            return rc;
    }
    assert(atomic_load_explicit(&part->epoch_assigned, memory_order_relaxed)); /* REPLICATION.md, rules 1 and 2 */
    uint64_t wanted = flusher_wanted(&part->node->flusher);
    int rc = log_append(part->log, batch, atomic_load_explicit(&part->leader_epoch, memory_order_relaxed), out, e);
    if (flusher_wanted(&part->node->flusher) != wanted)
        flusher_request(&part->node->flusher, part);
    return rc;
}

void partition_commit(struct partition *part, struct log_point end)
{
    struct partition_waiter *waiters = NULL;
    pthread_mutex_lock(&part->lock);
    isr_advance(&part->isr, part->node->options.id, end);
    if (isr_update(&part->isr, atomic_load_explicit(&part->min_insync_replicas, memory_order_relaxed)))
        waiters = partition_collect(part, part->isr.high_watermark.position);
    pthread_mutex_unlock(&part->lock);
    partition_wake(waiters, NULL);
}

/* flush.messages: before the append is answered. */
static int flush_if_due(struct partition *part, int64_t end_offset)
{
    int64_t messages = atomic_load_explicit(&part->flush_messages, memory_order_relaxed);
    if (messages == INT64_MAX || end_offset - log_recovery_point(part->log) < messages)
        return 0;
    return partition_flush_now(part);
}

/* Within the gate, which who changes the framing has shut. */
static int check_framing(const struct partition *part, const struct append_batch *batch, struct err *e)
{
    if (atomic_load_explicit(&part->framing, memory_order_relaxed) == (int)batch->framing)
        return 0;
    return err_set(e, -EAGAIN, "%s has another framing by now", part->name);
}

/* As Kafka's leader validates what is appended to a compacted topic. */
static int check_keys(struct partition *part, const struct append_batch *batch, struct err *e)
{
    if (!atomic_load_explicit(&part->compact, memory_order_relaxed))
        return 0;
    struct topic_config config;
    topic_config(part->topic, &config);
    const struct iovec none = {0};
    const struct iovec *last = &batch->iov[batch->iovcnt - 1], *before = batch->iovcnt > 1 ? &batch->iov[0] : &none;
    assert(batch->iovcnt <= 2);
    if (framing_all_keyed(batch->framing, before->iov_base, before->iov_len, last->iov_base, last->iov_len,
                          config.log.key_separator, config.log.key_separator_len))
        return 0;
    return err_set(e, -EINVAL, "%s is compacted and takes no record without a key", part->name);
}

static int append_in_gate(struct partition *part, const struct append_batch *batch, struct log_append_result *out,
                          struct err *e)
{
    /* Looked at within the gate: who deletes an empty topic has shut it meanwhile. */
    int rc = partition_usable(part, e);
    if (rc == 0 && reserve_in_use(&part->node->reserve))
        rc = err_set(e, -ENOSPC, "%s: the disk is full", part->name);
    if (rc == 0)
        rc = check_framing(part, batch, e);
    if (rc == 0)
        rc = check_keys(part, batch, e);
    if (rc != 0)
        return rc;
    if (!atomic_load_explicit(&part->log_append_time, memory_order_relaxed))
        return partition_append_uncommitted(part, batch, out, e);
    struct append_batch stamped = *batch;
    stamped.first_timestamp_ms = stamped.last_timestamp_ms = part->node->clock->wall_ms(part->node->clock);
    stamped.attributes |= BATCH_LOG_APPEND_TIME;
    return partition_append_uncommitted(part, &stamped, out, e);
}

static int append_now(struct partition *part, const struct append_batch *batch, struct log_append_result *out,
                      struct err *e)
{
    pthread_rwlock_rdlock(&part->topic->gate);
    int rc = append_in_gate(part, batch, out, e);
    pthread_rwlock_unlock(&part->topic->gate);
    if (rc == 0) {
        rc = flush_if_due(part, out->end.offset);
        if (rc != 0)
            err_sys(e, rc, "%s: flush.messages: flush", part->name);
    }
    if (rc != 0) {
        partition_check_failed(part);
        return rc;
    }
    struct partition_waiter *waiters = NULL;
    pthread_mutex_lock(&part->lock);
    part->batches_appended++;
    part->records_appended += batch->records;
    part->bytes_appended += batch->len;
    isr_advance(&part->isr, part->node->options.id, out->end);
    if (isr_update(&part->isr, atomic_load_explicit(&part->min_insync_replicas, memory_order_relaxed)))
        waiters = partition_collect(part, part->isr.high_watermark.position);
    int64_t committed = part->isr.high_watermark.position - out->base.position;
    pthread_mutex_unlock(&part->lock);
    struct partition_fresh fresh = {.position = out->base.position,
                                    .len = committed < (int64_t)batch->len ? (size_t)(committed < 0 ? 0 : committed)
                                                                           : batch->len,
                                    .iov = batch->iov,
                                    .iovcnt = batch->iovcnt};
    partition_wake(waiters, &fresh);
    partition_arm_flush(part);
    flusher_appended(&part->node->flusher);
    return 0;
}

/* ---- parked appends; each static function here is called under the partition's lock ---- */

static bool enough_in_sync(const struct partition *part)
{
    return isr_size(&part->isr) >= atomic_load(&part->min_insync_replicas);
}

static void update_must_park(struct partition *part)
{
    bool enough = enough_in_sync(part);
    if (enough && part->parked_first == NULL)
        part->failing = false;
    atomic_store(&part->must_park, !enough || part->parked_first != NULL || part->resuming);
}

static void unpark(struct partition *part, struct append_op *op)
{
    if (op->prev != NULL)
        op->prev->next = op->next;
    else
        part->parked_first = op->next;
    if (op->next != NULL)
        op->next->prev = op->prev;
    else
        part->parked_last = op->prev;
    op->part = NULL;
    atomic_fetch_sub(&part->node->parked_bytes, op->batch.len);
    atomic_fetch_sub(&part->node->appends_parked, 1);
}

/* The alarm holds a reference from when it is set until it has rung or was stopped. */
static void set_parked_alarm(struct partition *part, int64_t deadline_ms)
{
    if (part->parked_alarm_set && part->parked_alarm.deadline_ms <= deadline_ms)
        return;
    if (!part->parked_alarm_set)
        partition_ref(part);
    part->parked_alarm_set = true;
    alarm_set(part->node->executor, &part->parked_alarm, deadline_ms - part->node->clock->mono_ms(part->node->clock));
}

/* Copies the bytes, and the marks behind them. */
static int copy_batch(struct append_op *op, const struct append_batch *batch)
{
    size_t marks_at = (batch->len + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
    size_t marks_bytes = batch->mark_count * sizeof *batch->marks;
    char *copy = malloc(marks_at + marks_bytes + 1);
    if (copy == NULL)
        return -ENOMEM;
    size_t len = 0;
    for (int i = 0; i < batch->iovcnt; i++) {
        memcpy(copy + len, batch->iov[i].iov_base, batch->iov[i].iov_len);
        len += batch->iov[i].iov_len;
    }
    if (marks_bytes > 0)
        memcpy(copy + marks_at, batch->marks, marks_bytes);
    op->copy = copy;
    op->iov = (struct iovec){.iov_base = copy, .iov_len = len};
    op->batch = *batch;
    op->batch.iov = &op->iov;
    op->batch.iovcnt = 1;
    op->batch.marks = marks_bytes > 0 ? (const struct framing_mark *)(const void *)(copy + marks_at) : NULL;
    return 0;
}

/* Puts the op at the end of the queue if it has to wait. 1: it has not; 0: parked; or a negative errno. */
static int park(struct partition *part, struct append_op *op, struct err *e)
{
    if (atomic_load(&part->topic->deleted))
        return err_set(e, -ESTALE, "topic %s was deleted", part->topic->name);
    if (log_offline(part->log) != 0) /* whoever told the others may have come before us */
        return err_set(e, -EIO, "%s is offline after an error", part->name);
    if (enough_in_sync(part) && part->parked_first == NULL && !part->resuming)
        return 1;
    if (part->failing)
        return err_set(e, -EROFS, "%s: fewer than min.insync.replicas are in sync", part->name);
    if (atomic_fetch_add(&part->node->parked_bytes, op->batch.len) + op->batch.len > LIMIT_PARKED_BYTES) {
        atomic_fetch_sub(&part->node->parked_bytes, op->batch.len);
        return err_set(e, -EROFS, "too many bytes wait for min.insync.replicas");
    }
    atomic_fetch_add(&part->node->appends_parked, 1);
    op->part = part;
    op->next = NULL;
    op->prev = part->parked_last;
    if (part->parked_last != NULL)
        part->parked_last->next = op;
    else
        part->parked_first = op;
    part->parked_last = op;
    update_must_park(part);
    set_parked_alarm(part, op->deadline_ms);
    return 0;
}

/* ---- parked appends: the calls ---- */

static int append_or_park(struct partition *part, const struct append_batch *batch, int64_t timeout_ms,
                          struct append_op *op, struct err *e)
{
    int64_t now_ms = part->node->clock->mono_ms(part->node->clock);
    int rc = copy_batch(op, batch);
    if (rc != 0)
        return err_sys(e, rc, "%s", part->name);
    void *copy = op->copy;
    op->deadline_ms = timeout_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + timeout_ms;
    pthread_rwlock_rdlock(&part->topic->gate);
    rc = check_framing(part, batch, e);
    if (rc == 0)
        rc = check_keys(part, batch, e);
    if (rc == 0) {
        pthread_mutex_lock(&part->lock);
        rc = park(part, op, e);
        pthread_mutex_unlock(&part->lock);
    }
    pthread_rwlock_unlock(&part->topic->gate);
    /* Once parked the op may be over already: it is not looked at again. */
    if (rc != 0)
        free(copy);
    return rc;
}

int partition_append(struct partition *part, const struct append_batch *batch, enum acks acks, int64_t timeout_ms,
                     struct append_op *op, struct err *e)
{
    int rc = partition_usable(part, e);
    if (rc == -EIO && part->log == NULL)
        rc = partition_reopen(part, e);
    if (rc != 0)
        return rc;
    if (part->topic->internal)
        return err_set(e, -EPERM, "%s is the node's own", part->name);
    op->part = NULL;
    op->acks = acks;
    if (acks == ACKS_ALL && atomic_load_explicit(&part->must_park, memory_order_acquire)) {
        rc = append_or_park(part, batch, timeout_ms, op, e);
        if (rc <= 0)
            return rc;
    }
    rc = append_now(part, batch, &op->result, e);
    return rc == 0 ? 1 : rc;
}

bool partition_append_cancel(struct partition *part, struct append_op *op)
{
    pthread_mutex_lock(&part->lock);
    bool parked = op->part != NULL;
    if (parked)
        unpark(part, op);
    update_must_park(part);
    pthread_mutex_unlock(&part->lock);
    if (parked)
        free(op->copy);
    return parked;
}

bool partition_has_parked(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    bool parked = part->parked_first != NULL || part->resuming_op;
    pthread_mutex_unlock(&part->lock);
    return parked;
}

/* Frees the copies and answers a list that was unparked; next links it. */
static void finish_all(struct append_op *op, int rc)
{
    while (op != NULL) {
        struct append_op *next = op->next;
        free(op->copy);
        op->done(op, rc);
        op = next;
    }
}

/* Takes out those whose deadline is at or before now; under the lock. In order, linked by next. */
static struct append_op *take_expired(struct partition *part, int64_t now_ms)
{
    struct append_op *first = NULL, **last = &first;
    for (struct append_op *op = part->parked_first, *next; op != NULL; op = next) {
        next = op->next;
        if (op->deadline_ms > now_ms)
            continue;
        unpark(part, op);
        op->next = NULL;
        *last = op;
        last = &op->next;
    }
    return first;
}

static void on_parked_alarm(struct alarm *alarm)
{
    struct partition *part = CONTAINER_OF(alarm, struct partition, parked_alarm);
    pthread_mutex_lock(&part->lock);
    struct append_op *expired = take_expired(part, part->node->clock->mono_ms(part->node->clock));
    if (expired != NULL)
        part->failing = true;
    update_must_park(part);
    int64_t next_ms = INT64_MAX;
    for (struct append_op *op = part->parked_first; op != NULL; op = op->next)
        if (op->deadline_ms < next_ms)
            next_ms = op->deadline_ms;
    part->parked_alarm_set = false;
    if (part->parked_first != NULL)
        set_parked_alarm(part, next_ms);
    pthread_mutex_unlock(&part->lock);
    finish_all(expired, -EROFS);
    partition_unref(part);
}

void partition_fail_parked(struct partition *part, int rc)
{
    pthread_mutex_lock(&part->lock);
    struct append_op *ops = take_expired(part, INT64_MAX);
    update_must_park(part);
    pthread_mutex_unlock(&part->lock);
    finish_all(ops, rc);
}

/* One parked append goes on; false: there is none that can. */
static bool resume_one(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    struct append_op *op = enough_in_sync(part) ? part->parked_first : NULL;
    if (op != NULL)
        unpark(part, op);
    part->resuming = part->resuming_op = op != NULL;
    update_must_park(part);
    pthread_mutex_unlock(&part->lock);
    if (op == NULL)
        return false;
    struct err e = {0};
    int rc = append_now(part, &op->batch, &op->result, &e);
    free(op->copy);
    op->done(op, rc);
    return true;
}

void partition_resume(struct partition *part)
{
    partition_commit(part, (struct log_point){0, 0});
    partition_arm_flush(part);
    pthread_mutex_lock(&part->lock);
    bool ours = !part->resuming;
    part->resuming = true;
    pthread_mutex_unlock(&part->lock);
    while (ours && resume_one(part))
        ;
}

/* ---- flushing ---- */

int partition_flush(struct partition *part, struct log_flush *flush)
{
    int rc = partition_usable(part, NULL);
    if (rc != 0) {
        flush->done(flush, rc);
        return 0;
    }
    rc = log_flush(part->log, flush);
    if (rc == 0) {
        atomic_fetch_add_explicit(&part->node->flushes, 1, memory_order_relaxed);
        partition_check_failed(part);
    }
    return rc;
}

int partition_flush_now(struct partition *part)
{
    atomic_fetch_add_explicit(&part->node->flushes, 1, memory_order_relaxed);
    int rc = log_flush_all(part->log);
    if (rc != 0)
        partition_check_failed(part);
    return rc;
}

/* Requests for a flush wait and whoever flushed is gone: a work leads the next round. It may find that somebody came
 * before it, or that more have come and it is called again. */
static void on_flush_left(void *arg)
{
    struct partition *part = arg;
    if (atomic_exchange(&part->flush_next_queued, true))
        return;
    partition_ref(part);
    executor_prompt(part->node->executor, &part->flush_next);
}

static void on_flush_next(struct work *work)
{
    struct partition *part = CONTAINER_OF(work, struct partition, flush_next);
    atomic_store(&part->flush_next_queued, false);
    log_flush_next(part->log);
    partition_check_failed(part);
    partition_unref(part);
}

void partition_flush_begin(struct partition *part, struct log *log)
{
    log_set_on_flush_left(log, on_flush_left, part);
}

/* flush.ms has passed since the first append that was not flushed. */
static void on_flush_alarm(struct alarm *alarm)
{
    struct partition *part = CONTAINER_OF(alarm, struct partition, flush_alarm);
    atomic_store(&part->flush_armed, false);
    if (partition_usable(part, NULL) == 0 && err_is_passing(partition_flush_now(part)))
        flusher_request(&part->node->flusher, part); /* not at once, whatever flush.ms is */
    partition_unref(part);
}

void partition_arm_flush(struct partition *part)
{
    int64_t flush_ms = atomic_load_explicit(&part->flush_ms, memory_order_relaxed);
    if (flush_ms == INT64_MAX || atomic_load_explicit(&part->flush_armed, memory_order_relaxed) ||
        partition_usable(part, NULL) != 0 || log_recovery_point(part->log) >= log_end(part->log).offset ||
        atomic_exchange(&part->flush_armed, true))
        return;
    partition_ref(part);
    alarm_set(part->node->executor, &part->flush_alarm, flush_ms);
    /* Deleted meanwhile: whoever stops the alarms may have been here before it was set. */
    if (atomic_load(&part->topic->deleted) && alarm_cancel(part->node->executor, &part->flush_alarm))
        partition_unref(part);
}

void partition_append_init(struct partition *part)
{
    alarm_init(&part->parked_alarm, WORK_PROMPT, on_parked_alarm);
    alarm_init(&part->flush_alarm, WORK_PROMPT, on_flush_alarm);
    part->flush_next.run = on_flush_next;
}

void partition_stop_alarms(struct partition *part, bool cancel)
{
    pthread_mutex_lock(&part->lock);
    bool parked = part->parked_alarm_set && (!cancel || alarm_cancel(part->node->executor, &part->parked_alarm));
    if (parked)
        part->parked_alarm_set = false;
    pthread_mutex_unlock(&part->lock);
    bool flush = cancel ? alarm_cancel(part->node->executor, &part->flush_alarm) : atomic_load(&part->flush_armed);
    if (flush)
        atomic_store(&part->flush_armed, false);
    if (parked)
        partition_unref(part);
    if (flush)
        partition_unref(part);
}
