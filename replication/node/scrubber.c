/* replication/node/scrubber.c: a round: look at the metadata's snapshot, note how many bytes of closed segments each
 * partition has, then every second read the next ones, until each was read once. What does not match is reported by the
 * log itself, once. */
#include "replication/node/scrubber.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "engine/base/limits.h"
#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"

enum { TICK_MS = 1000 };

static void begin_one(struct partition *part, void *arg)
{
    struct log_file *files;
    size_t count;
    (void)arg;
    part->upkeep.scrub_left_bytes = 0;
    if (atomic_load(&part->manager->stopping) || partition_files(part, &files, &count, NULL) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (files[i].kind == SEGMENT_LOG && !files[i].active)
            part->upkeep.scrub_left_bytes += files[i].size;
    }
    free(files);
}

static void scrub_one(struct partition *part, void *arg)
{
    int64_t *budget = arg;
    while (*budget > 0 && part->upkeep.scrub_left_bytes > 0) {
        if (atomic_load(&part->manager->stopping) || partition_usable(part, NULL) != 0)
            return;
        int64_t max = *budget < part->upkeep.scrub_left_bytes ? *budget : part->upkeep.scrub_left_bytes;
        int64_t got = log_scrub(part->log, (size_t)max, NULL);
        if (got <= 0) {
            part->upkeep.scrub_left_bytes = 0;
            return;
        }
        part->upkeep.scrub_left_bytes -= got;
        *budget -= got;
    }
}

static void check_snapshot(struct node *node)
{
    struct err e = {""};
    if (quorum_snapshot_check(&node->quorum, &e) == -EBADMSG)
        log_line(LOG_CRIT, "%s: %s", node->options.data_dir, e.text);
}

static void on_alarm(struct alarm *alarm)
{
    struct scrubber *scrubber = CONTAINER_OF(alarm, struct scrubber, alarm);
    struct node *node = scrubber->node;
    int64_t budget = (int64_t)LIMIT_SCRUB_BYTES_PER_SECOND * TICK_MS / 1000;
    if (!scrubber->begun) {
        check_snapshot(node);
        manager_each_partition(&node->replicas, begin_one, NULL);
    }
    manager_each_partition(&node->replicas, scrub_one, &budget);
    scrubber->begun = budget <= 0;
    if (!scrubber->begun)
        atomic_store(&scrubber->active, false);
    else if (!atomic_load(&node->replicas.stopping))
        alarm_set(node->executor, &scrubber->alarm, TICK_MS);
}

void scrubber_init(struct scrubber *scrubber, struct node *node)
{
    scrubber->node = node;
    alarm_init(&scrubber->alarm, WORK_BULK, on_alarm);
    scrubber->last_round_ms = INT64_MIN;
}

void scrubber_check(struct scrubber *scrubber)
{
    int64_t now_ms = scrubber->node->clock->mono_ms(scrubber->node->clock);
    if (atomic_exchange(&scrubber->active, true))
        return;
    if (scrubber->last_round_ms != INT64_MIN && now_ms - scrubber->last_round_ms < LIMIT_SCRUB_ROUND_MS) {
        atomic_store(&scrubber->active, false);
        return;
    }
    scrubber->last_round_ms = now_ms;
    alarm_set(scrubber->node->executor, &scrubber->alarm, 0);
}
