/* replication/replica/partition_epoch.c: the epoch in which this node leads, and appends in it.
 *
 * The log leads in it from the first append on: that it begins there is on the disk before (log_lead(); REPLICATION.md,
 * rules 1 to 3). A failure is the append's: nothing was appended, and the next one tries again. */
#include <assert.h>
#include <errno.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

/* The life lock is held. */
static int begin_leading(struct partition *part, struct err *e)
{
    struct log_point start, end;
    int32_t before;
    int rc;

    if (part->log == NULL) {
        return err_set(e, -EIO, "%s is offline after an error", part->name);
    }
    if (atomic_load(&part->life) == LIFE_RETIRED) {
        return err_set(e, -ESTALE, "topic %s was deleted", part->topic->name);
    }
    if (!partition_leads(part)) {
        return err_set(e, -ESTALE, "%s is not led by this node", part->name);
    }
    if (atomic_load(&part->epoch_assigned)) {
        return 0;
    }
    if (partition_asks_shown(part)) {
        return err_set(e, -ESTALE, "%s: what was shown of it is asked for", part->name);
    }
    rc = partition_shown_cut(part, atomic_load(&part->leader_epoch), e);
    if (rc == 0) {
        rc = log_lead(part->log, atomic_load(&part->leader_epoch), e);
    }
    if (rc == 0) {
        rc = partition_shown_skip(part, atomic_load(&part->leader_epoch), e);
    }
    if (rc != 0) {
        return rc;
    }
    /* From here on only log_append() makes the log longer, and each says so itself. */
    end = log_end(part->log);
    log_epoch_end(part->log, atomic_load(&part->leader_epoch) - 1, &before, &start);
    pthread_mutex_lock(&part->lock);
    isr_advance(&part->isr, part->manager->id, end);
    part->epoch_start = start.offset; /* it may have begun before this node was started */
    if (part->isr.promised == INT64_MAX)
        part->isr.promised = end.offset; /* that all of it was committed, and flushed by others, may be */
    part->shown_unsure = false;
    pthread_mutex_unlock(&part->lock);
    atomic_store(&part->epoch_assigned, true);
    return 0;
}

/* It was led in later epochs than the cluster's, which does not know of them: when this node was alone. */
static bool is_behind(struct partition *part)
{
    int32_t latest = part->log != NULL ? log_latest_epoch(part->log) : -1;
    bool behind =
        partition_leads(part) && part->registration.replicas.count > 1 && latest > atomic_load(&part->leader_epoch);

    pthread_mutex_lock(&part->lock);
    atomic_store(&part->epoch_wanted, behind ? latest + 1 : 0);
    partition_hold_look(part); /* until then appends wait */
    pthread_mutex_unlock(&part->lock);
    return behind;
}

int partition_begin_leading(struct partition *part, struct err *e)
{
    bool behind;
    int rc;

    pthread_mutex_lock(&part->life_lock);
    rc = begin_leading(part, e);
    behind = rc == -ESTALE && is_behind(part);
    pthread_mutex_unlock(&part->life_lock);
    if (behind) {
        isr_changes_want(&part->manager->changes, part);
    }
    return rc;
}

int partition_settle(struct partition *part)
{
    bool unsure, waits;
    int32_t epoch;
    int rc;

    do {
        pthread_mutex_lock(&part->lock);
        epoch = atomic_load(&part->leader_epoch);
        unsure = part->shown_unsure;
        waits = partition_awaits_epoch(part);
        pthread_mutex_unlock(&part->lock);
        if (!unsure || waits) {
            return !unsure;
        }
        rc = partition_begin_leading(part, NULL);
    } while (rc == 0 || (rc == -ESTALE && (!partition_leads(part) || atomic_load(&part->leader_epoch) != epoch ||
                                           atomic_load(&part->epoch_wanted) != 0)));
    return rc;
}

/* Should the epoch have ended since, the log refuses it. */
static int append(struct partition *part, const struct append_batch *batch, int32_t epoch,
                  struct log_append_result *out, struct err *e)
{
    uint64_t wanted = flusher_wanted(&part->manager->flusher);
    int rc = log_append(part->log, batch, epoch, out, e);
    if (flusher_wanted(&part->manager->flusher) != wanted)
        flusher_request(&part->manager->flusher, part);
    return rc;
}

int partition_append_leading(struct partition *part, const struct append_batch *batch, int32_t *epoch,
                             struct log_append_result *out, struct err *e)
{
    if (!atomic_load_explicit(&part->epoch_assigned, memory_order_acquire)) {
        int rc = partition_begin_leading(part, e);
        if (rc != 0)
            return rc;
    }
    *epoch = atomic_load_explicit(&part->leader_epoch, memory_order_relaxed);
    return append(part, batch, *epoch, out, e);
}

int32_t partition_begun_epoch(const struct partition *part)
{
    int32_t epoch = atomic_load(&part->leader_epoch); /* first: an earlier one the log refuses */

    return atomic_load_explicit(&part->epoch_assigned, memory_order_acquire) ? epoch : -1;
}

int partition_append_begun(struct partition *part, const struct append_batch *batch, int32_t epoch,
                           struct log_append_result *out, struct err *e)
{
    return append(part, batch, epoch, out, e);
}

int partition_append_in_epoch(struct partition *part, const struct append_batch *batch, int32_t epoch,
                              struct log_append_result *out, struct err *e)
{
    if (!atomic_load_explicit(&part->epoch_assigned, memory_order_acquire)) {
        int rc = partition_begin_leading(part, e);
        if (rc != 0)
            return rc;
    }
    if (atomic_load_explicit(&part->leader_epoch, memory_order_relaxed) != epoch)
        return err_set(e, -ESTALE, "%s is led in another epoch", part->name);
    return append(part, batch, epoch, out, e);
}

void partition_quorum_decided(struct partition *part, struct log_point end, int32_t leader, int32_t epoch)
{
    pthread_mutex_lock(&part->lock);
    part->registration.leader = leader;
    part->registration.leader_epoch = epoch;
    pthread_mutex_unlock(&part->lock);
    atomic_store(&part->leader_epoch, epoch);
    partition_commit(part, end);
}
