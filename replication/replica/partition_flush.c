/* replication/replica/partition_flush.c: flushes of a partition: who asks for them, and who does them.
 *
 * fsync(2), O_SYNC and flush.messages ask and are answered; flush.ms and the background flusher only want it done. All
 * of them share the log's rounds (engine/log/log_flush.c), in which a thread flushes once for all who wait: when it
 * goes while others wait, a prompt work leads the next round.
 *
 * Failure: after a failed sync the log is offline, and everybody who waits at the partition is told. A flush that could
 * not open what it needed is asked for again by the background flusher. */
#include "replication/node/node_internal.h"
#include "replication/node/topic.h"
#include "replication/replica/partition_internal.h"

int partition_flush(struct partition *part, struct log_flush *flush)
{
    int rc = partition_reach(part, NULL);
    if (rc != 0) {
        flush->done(flush, rc);
        return 0;
    }
    rc = log_flush(part->log, flush);
    if (rc == 0)
        partition_check_failed(part);
    return rc;
}

int partition_flush_now(struct partition *part)
{
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
    flusher_due(&part->node->flusher, part);
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

bool partition_flush_due(struct partition *part, int64_t end_offset)
{
    int64_t messages = atomic_load_explicit(&part->flush_messages, memory_order_relaxed);
    return messages != INT64_MAX && end_offset - log_recovery_point(part->log) >= messages;
}

void partition_flush_init(struct partition *part)
{
    alarm_init(&part->flush_alarm, WORK_PROMPT, on_flush_alarm);
    part->flush_next.run = on_flush_next;
}

void partition_flush_stop(struct partition *part, bool cancel)
{
    bool armed = cancel ? alarm_cancel(part->node->executor, &part->flush_alarm) : atomic_load(&part->flush_armed);
    if (!armed)
        return;
    atomic_store(&part->flush_armed, false);
    partition_unref(part);
}
