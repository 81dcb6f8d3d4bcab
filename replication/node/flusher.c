/* replication/node/flusher.c: two works of the pool: one flushes the partitions that asked, one writes the checkpoints.
 */
#include "replication/node/flusher.h"

#include <syslog.h>

#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"

static void flush_one(struct partition *part, void *arg)
{
    (void)arg;
    if (!atomic_load(&part->flush_wanted) || !atomic_exchange(&part->flush_wanted, false))
        return;
    if (partition_usable(part, NULL) == 0)
        partition_flush_now(part);
}

static void on_work(struct node_work *work)
{
    struct flusher *flusher = CONTAINER_OF(work, struct flusher, work);
    struct err e = {0};
    atomic_store(&flusher->queued, false);
    node_each_partition(flusher->node, flush_one, NULL);
    if (checkpoints_write(flusher->node, CHECKPOINT_RECOVERY_POINT, &e) != 0)
        log_line(LOG_ERR, "checkpoint: %s", e.text);
}

static void on_checkpoint_work(struct node_work *work)
{
    struct flusher *flusher = CONTAINER_OF(work, struct flusher, checkpoint_work);
    struct err e = {0};
    atomic_store(&flusher->armed, false);
    if (checkpoints_write_all(flusher->node, &e) != 0)
        log_line(LOG_ERR, "checkpoint: %s", e.text);
}

static void on_delay(struct node_timer *timer)
{
    struct flusher *flusher = CONTAINER_OF(timer, struct flusher, delay);
    node_work_submit(flusher->node, &flusher->work);
}

static void on_timer(struct node_timer *timer)
{
    struct flusher *flusher = CONTAINER_OF(timer, struct flusher, timer);
    node_work_submit(flusher->node, &flusher->checkpoint_work);
}

void flusher_init(struct flusher *flusher, struct node *node)
{
    flusher->node = node;
    flusher->work.run = on_work;
    flusher->checkpoint_work.run = on_checkpoint_work;
    flusher->delay.fire = on_delay;
    flusher->timer.fire = on_timer;
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
    atomic_store(&part->flush_wanted, true);
    if (!atomic_exchange(&flusher->queued, true))
        node_timer_start(flusher->node, &flusher->delay, LIMIT_FLUSH_DELAY_MS);
}

void flusher_appended(struct flusher *flusher)
{
    if (!atomic_load_explicit(&flusher->armed, memory_order_relaxed) && !atomic_exchange(&flusher->armed, true))
        node_timer_start(flusher->node, &flusher->timer, LIMIT_CHECKPOINT_INTERVAL_MS);
}
