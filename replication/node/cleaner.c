/* replication/node/cleaner.c: two alarms, each going over all partitions. Retention is quick and must not wait for a
 * compaction; so they are two. */
#include "replication/node/cleaner.h"

#include <syslog.h>

#include "engine/base/bugs.h"
#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"

/* ---- retention ---- */

static void retain_one(struct partition *part, void *arg)
{
    struct err e = {0};
    (void)arg;
    if (atomic_load(&part->manager->stopping))
        return;
    if (part->log == NULL)
        partition_reopen(part, NULL);
    if (partition_usable(part, NULL) != 0)
        return;
    log_trim(part->log);
    int rc = partition_retain(part, &e);
    if (atomic_exchange(&part->upkeep.retain_rc, rc) != rc && rc != 0)
        log_line(LOG_ERR, "%s: retention: %s", part->name, e.text);
}

static void retain_all(struct node *node)
{
    manager_each_partition(&node->replicas, retain_one, NULL);
    reserve_refill(&node->reserve);
    if (BUG(clean_mark_late))
        (void)identity_clean_clear(node->io, node->data_dirfd, NULL);
    alarm_set(node->executor, &node->cleaner.retention, node->options.log_retention_check_interval_ms);
}

static void on_retention_now(struct work *work)
{
    struct cleaner *cleaner = CONTAINER_OF(work, struct cleaner, retention_now);
    atomic_store(&cleaner->retention_queued, false);
    retain_all(cleaner->node);
}

static void kick_retention(struct cleaner *cleaner)
{
    if (!atomic_exchange(&cleaner->retention_queued, true))
        executor_bulk(cleaner->node->executor, &cleaner->retention_now);
}

static void on_retention(struct alarm *alarm)
{
    struct node *node = CONTAINER_OF(alarm, struct cleaner, retention)->node;
    scrubber_check(&node->scrubber);
    retain_all(node);
}

/* ---- compaction ---- */

struct pass {
    bool any;  /* there is a compacted partition */
    bool done; /* something was cleaned: there may be more */
};

static void compact_one(struct partition *part, void *arg)
{
    struct pass *pass = arg;
    struct replica_manager *manager = part->manager;
    struct err e = {0};
    if (!atomic_load(&part->settings.compact) || atomic_load(&manager->stopping) || partition_usable(part, NULL) != 0)
        return;
    pass->any = true;
    int rc = log_compact(part->log, partition_own_high_watermark(part), &manager->stopping, &e);
    partition_holes_made(part); /* a pass that was cut short may have made some, too */
    if (rc > 0) {
        pass->done = true;
        atomic_fetch_add(&manager->segments_compacted, 1);
        partition_segments_changed(part);
        flusher_checkpoint_soon(&manager->flusher);
    } else if (rc < 0) {
        if (!part->upkeep.clean_failed)
            log_line(LOG_ERR, "%s: compaction: %s", part->name, e.text);
        partition_fail_if_offline(part);
    }
    part->upkeep.clean_failed = rc < 0;
}

static void on_compaction(struct alarm *alarm)
{
    struct cleaner *cleaner = CONTAINER_OF(alarm, struct cleaner, compaction);
    struct node *node = cleaner->node;
    uint64_t kicks = atomic_load(&cleaner->compact_kicks);
    struct pass pass = {false, false};
    manager_each_partition(&node->replicas, compact_one, &pass);
    if (atomic_load(&node->replicas.stopping))
        return;
    if (pass.done) {
        alarm_set(node->executor, alarm, 0);
    } else if (pass.any) {
        int64_t pause_ms = node->options.log_cleaner_backoff_ms;
        alarm_set(node->executor, alarm, pause_ms < LIMIT_CLEANER_PAUSE_MS ? LIMIT_CLEANER_PAUSE_MS : pause_ms);
    } else {
        atomic_store(&cleaner->compact_armed, false);
        /* A kick that came while this pass was under way saw it armed and went. */
        if (atomic_load(&cleaner->compact_kicks) != kicks && !atomic_exchange(&cleaner->compact_armed, true))
            alarm_set(node->executor, alarm, 0);
    }
}

/* An alarm that waits is cut short; a pass that is under way will be followed by its alarm. */
static void kick_compaction(struct cleaner *cleaner)
{
    atomic_fetch_add(&cleaner->compact_kicks, 1);
    struct executor *executor = cleaner->node->executor;
    if (!atomic_exchange(&cleaner->compact_armed, true) || alarm_cancel(executor, &cleaner->compaction))
        alarm_set(executor, &cleaner->compaction, 0);
}

void cleaner_init(struct cleaner *cleaner, struct node *node)
{
    cleaner->node = node;
    alarm_init(&cleaner->retention, WORK_BULK, on_retention);
    cleaner->retention_now.run = on_retention_now;
    alarm_init(&cleaner->compaction, WORK_BULK, on_compaction);
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
