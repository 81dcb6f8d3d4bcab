/* replication/node/cleaner.c: two works of the pool, each going over all partitions, each with its timer. Retention is
 * quick and must not wait for a compaction; so they are two. */
#include "replication/node/cleaner.h"

#include <syslog.h>

#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"

/* ---- retention ---- */

static void retain_one(struct partition *part, void *arg)
{
    struct node *node = part->node;
    struct err e = {0};
    (void)arg;
    if (atomic_load(&node->stopping))
        return;
    if (part->log == NULL)
        partition_reopen(part, NULL);
    if (partition_usable(part, NULL) != 0)
        return;
    if (partition_retain(part, &e) != 0)
        log_line(LOG_ERR, "%s: retention: %s", part->name, e.text);
}

static void on_work(struct node_work *work)
{
    struct cleaner *cleaner = CONTAINER_OF(work, struct cleaner, work);
    struct node *node = cleaner->node;
    atomic_store(&cleaner->queued, false);
    node_each_partition(node, retain_one, NULL);
    reserve_refill(&node->reserve);
    if (!atomic_load(&node->stopping))
        node_timer_start(node, &cleaner->timer, node->options.log_retention_check_interval_ms);
}

static void kick_retention(struct cleaner *cleaner)
{
    if (!atomic_exchange(&cleaner->queued, true))
        node_work_submit(cleaner->node, &cleaner->work);
}

static void on_timer(struct node_timer *timer)
{
    struct cleaner *cleaner = CONTAINER_OF(timer, struct cleaner, timer);
    kick_retention(cleaner);
    scrubber_check(&cleaner->node->scrubber);
}

/* ---- compaction ---- */

struct pass {
    bool any;  /* there is a compacted partition */
    bool done; /* something was cleaned: there may be more */
};

static void compact_one(struct partition *part, void *arg)
{
    struct pass *pass = arg;
    struct node *node = part->node;
    struct err e = {0};
    if (!atomic_load(&part->compact) || atomic_load(&node->stopping) || partition_usable(part, NULL) != 0)
        return;
    pass->any = true;
    int rc = log_compact(part->log, partition_high_watermark(part), &node->stopping, &e);
    if (rc > 0) {
        pass->done = true;
        atomic_fetch_add(&node->segments_compacted, 1);
        flusher_appended(&node->flusher);
    } else if (rc < 0) {
        if (!part->clean_failed)
            log_line(LOG_ERR, "%s: compaction: %s", part->name, e.text);
        partition_check_failed(part);
    }
    part->clean_failed = rc < 0;
}

static void on_compact_work(struct node_work *work)
{
    struct cleaner *cleaner = CONTAINER_OF(work, struct cleaner, compact_work);
    struct node *node = cleaner->node;
    uint64_t kicks = atomic_load(&cleaner->compact_kicks);
    struct pass pass = {false, false};
    node_each_partition(node, compact_one, &pass);
    if (atomic_load(&node->stopping))
        return;
    if (pass.done) {
        node_work_submit(node, work);
    } else if (pass.any) {
        int64_t pause_ms = node->options.log_cleaner_backoff_ms;
        node_timer_start(node, &cleaner->compact_timer,
                         pause_ms < LIMIT_CLEANER_PAUSE_MS ? LIMIT_CLEANER_PAUSE_MS : pause_ms);
    } else {
        atomic_store(&cleaner->compact_armed, false);
        /* A kick that came while this pass was under way saw it armed and went. */
        if (atomic_load(&cleaner->compact_kicks) != kicks && !atomic_exchange(&cleaner->compact_armed, true))
            node_work_submit(node, work);
    }
}

static void on_compact_timer(struct node_timer *timer)
{
    struct cleaner *cleaner = CONTAINER_OF(timer, struct cleaner, compact_timer);
    node_work_submit(cleaner->node, &cleaner->compact_work);
}

/* A timer that waits is cut short; a pass that is under way will be followed by its timer. */
static void kick_compaction(struct cleaner *cleaner)
{
    atomic_fetch_add(&cleaner->compact_kicks, 1);
    if (!atomic_exchange(&cleaner->compact_armed, true) || node_timer_cancel(cleaner->node, &cleaner->compact_timer))
        node_work_submit(cleaner->node, &cleaner->compact_work);
}

void cleaner_init(struct cleaner *cleaner, struct node *node)
{
    cleaner->node = node;
    cleaner->timer.fire = on_timer;
    cleaner->work.run = on_work;
    cleaner->compact_timer.fire = on_compact_timer;
    cleaner->compact_work.run = on_compact_work;
}

void cleaner_start(struct cleaner *cleaner)
{
    cleaner_kick(cleaner);
}

void cleaner_kick(struct cleaner *cleaner)
{
    kick_retention(cleaner);
    kick_compaction(cleaner);
}
