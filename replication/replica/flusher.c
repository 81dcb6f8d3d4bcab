/* replication/replica/flusher.c: three alarms, one flushes the partitions that asked, two write checkpoints; and a
 * work that flushes those whose flush.ms is over. Each goes from partition to partition, so that however many there are
 * one thread of the pool waits for the disk. */
#include "replication/replica/flusher.h"

#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

static void flush_one(struct partition *part, void *arg)
{
    (void)arg;
    if (!atomic_load(&part->flush.wanted) || !atomic_exchange(&part->flush.wanted, false))
        return;
    if (partition_usable(part, NULL) == 0 && err_is_passing(partition_flush_now(part)))
        flusher_request(&part->manager->flusher, part); /* nobody else will ask again for what waits now */
}

static void flush_due(struct partition *part, void *arg)
{
    (void)arg;
    if (!atomic_load(&part->flush.due) || !atomic_exchange(&part->flush.due, false))
        return;
    if (partition_usable(part, NULL) == 0 && err_is_passing(partition_flush_now(part)))
        flusher_request(&part->manager->flusher, part); /* not at once, whatever flush.ms is */
}

/* One at a time: what comes meanwhile is met on this way, or has its own. */
static void on_due(struct work *work)
{
    struct flusher *flusher = CONTAINER_OF(work, struct flusher, due);
    uint64_t seen = atomic_load(&flusher->due_count);
    if (manager_each_partition(flusher->manager, flush_due, NULL) != 0) {
        alarm_set(flusher->manager->executor, &flusher->due_again, LIMIT_FLUSH_DELAY_MS);
        return;
    }
    atomic_store(&flusher->due_busy, false);
    if (atomic_load(&flusher->due_count) != seen && !atomic_exchange(&flusher->due_busy, true))
        executor_prompt(flusher->manager->executor, work);
}

static void on_due_again(struct alarm *alarm)
{
    struct flusher *flusher = CONTAINER_OF(alarm, struct flusher, due_again);
    executor_prompt(flusher->manager->executor, &flusher->due);
}

static void request(struct flusher *flusher)
{
    if (!atomic_exchange(&flusher->flush_armed, true))
        alarm_set(flusher->manager->executor, &flusher->flush, LIMIT_FLUSH_DELAY_MS);
}

/* The same failure again is not logged. */
static void tell(_Atomic int *told_rc, int rc, const struct err *e)
{
    if (atomic_exchange(told_rc, rc) != rc && rc != 0)
        log_line(LOG_ERR, "checkpoint: %s", e->text);
}

static void on_flush(struct alarm *alarm)
{
    struct flusher *flusher = CONTAINER_OF(alarm, struct flusher, flush);
    struct err e = {0};
    atomic_store(&flusher->flush_armed, false);
    if (manager_each_partition(flusher->manager, flush_one, NULL) != 0)
        request(flusher);
    tell(&flusher->flush_rc, checkpoints_write(flusher->manager, CHECKPOINT_RECOVERY_POINT, &e), &e);
}

static void on_checkpoint(struct alarm *alarm)
{
    struct flusher *flusher = CONTAINER_OF(alarm, struct flusher, checkpoint);
    struct err e = {0};
    atomic_store(&flusher->checkpoint_armed, false);
    tell(&flusher->checkpoint_rc, checkpoints_write_all(flusher->manager, &e), &e);
}

static void on_decided(struct alarm *alarm)
{
    struct flusher *flusher = CONTAINER_OF(alarm, struct flusher, decided);
    struct err e = {0};
    atomic_store(&flusher->decided_armed, false);
    tell(&flusher->decided_rc, checkpoints_write(flusher->manager, CHECKPOINT_HIGH_WATERMARK, &e), &e);
}

void flusher_init(struct flusher *flusher, struct replica_manager *manager)
{
    flusher->manager = manager;
    alarm_init(&flusher->flush, WORK_PROMPT, on_flush);
    flusher->due.run = on_due;
    alarm_init(&flusher->due_again, WORK_PROMPT, on_due_again);
    alarm_init(&flusher->checkpoint, WORK_PROMPT, on_checkpoint);
    alarm_init(&flusher->decided, WORK_PROMPT, on_decided);
}

void flusher_want(void *flusher)
{
    atomic_fetch_add(&((struct flusher *)flusher)->wanted, 1);
}

uint64_t flusher_wanted(struct flusher *flusher)
{
    return atomic_load_explicit(&flusher->wanted, memory_order_relaxed);
}

void flusher_request(struct flusher *flusher, struct partition *part)
{
    atomic_store(&part->flush.wanted, true);
    request(flusher);
}

void flusher_due(struct flusher *flusher, struct partition *part)
{
    atomic_store(&part->flush.due, true);
    atomic_fetch_add(&flusher->due_count, 1);
    if (!atomic_exchange(&flusher->due_busy, true))
        executor_prompt(flusher->manager->executor, &flusher->due);
}

void flusher_checkpoint_soon(struct flusher *flusher)
{
    if (!atomic_load_explicit(&flusher->checkpoint_armed, memory_order_relaxed) &&
        !atomic_exchange(&flusher->checkpoint_armed, true))
        alarm_set(flusher->manager->executor, &flusher->checkpoint, LIMIT_CHECKPOINT_INTERVAL_MS);
}

void flusher_decided(struct flusher *flusher)
{
    if (!atomic_exchange(&flusher->decided_armed, true))
        alarm_set(flusher->manager->executor, &flusher->decided, LIMIT_DECIDED_CHECKPOINT_MS);
}
