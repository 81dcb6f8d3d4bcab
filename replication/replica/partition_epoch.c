/* replication/replica/partition_epoch.c: the epoch in which this node leads, and appends in it.
 *
 * The log leads in it from the first append on: that it begins there is on the disk before (log_lead(); REPLICATION.md,
 * rules 1 to 3). A failure is the append's: nothing was appended, and the next one tries again. */
#include <assert.h>
#include <errno.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

/* What its end was moved to is not all on the disk. The life lock is held. */
static bool is_skip_unflushed(const struct partition *part)
{
    int64_t end = log_end(part->log).offset;

    return log_recovery_point(part->log) < (part->shown.skipped_to < end ? part->shown.skipped_to : end);
}

/* The life lock is held. 1: the log is to be flushed first (flush_skip()). */
static int begin_leading(struct partition *part, struct err *e)
{
    struct log_point start, end, begin;
    int32_t before;
    int rc;

    if (part->log == NULL) {
        return err_set(e, -EIO, "%s is offline after an error", part->name);
    }
    if (atomic_load(&part->disk.life) == LIFE_RETIRED) {
        return err_set(e, -ESTALE, "topic %s was deleted", part->topic->name);
    }
    if (!partition_leads(part)) {
        return err_set(e, -ESTALE, "%s is not led by this node", part->name);
    }
    if (atomic_load(&part->epoch.assigned)) {
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
    if (rc != 0 || is_skip_unflushed(part)) {
        return rc != 0 ? rc : 1;
    }
    /* From here on only log_append() makes the log longer, and each says so itself. */
    end = log_end(part->log);
    log_epoch_end(part->log, atomic_load(&part->leader_epoch) - 1, &before, &start);
    begin = log_start(part->log);
    pthread_mutex_lock(&part->lock);
    partition_removal_heed(part, begin, atomic_load(&part->leader_epoch));
    isr_advance(&part->isr, part->manager->id, end);
    part->epoch.start = start.offset; /* it may have begun before this node was started */
    if (part->isr.promised == INT64_MAX)
        part->isr.promised = end.offset; /* that all of it was committed, and flushed by others, may be */
    partition_shown_begun(part);
    pthread_mutex_unlock(&part->lock);
    atomic_store(&part->epoch.assigned, true);
    return 0;
}

/* It was led in later epochs than the cluster's, which does not know of them: when this node was alone. It waits for a
 * later one (REPLICATION.md, rule 51). */
static bool is_behind(struct partition *part)
{
    int32_t latest = part->log != NULL ? log_latest_epoch(part->log) : -1;
    bool behind =
        partition_leads(part) && part->registration.replicas.count > 1 && latest > atomic_load(&part->leader_epoch);

    pthread_mutex_lock(&part->lock);
    atomic_store(&part->epoch.wanted, behind ? latest + 1 : 0);
    partition_hold_look(part); /* until then appends wait */
    pthread_mutex_unlock(&part->lock);
    return behind;
}

/* That may answer others, who come here themselves, or append: no lock is held. 1, or why not. */
static int flush_skip(struct partition *part, struct err *e)
{
    int rc = partition_flush_now(part);

    if (rc == -EIO && log_offline(part->log) == 0) {
        return 1; /* some of it was cut off meanwhile, in another epoch */
    }
    return rc != 0 ? err_sys(e, rc, "%s: flush what is in front of a hole", part->name) : 1;
}

int partition_begin_leading(struct partition *part, struct err *e)
{
    bool behind;
    int rc;

    do {
        pthread_mutex_lock(&part->life_lock);
        rc = begin_leading(part, e);
        behind = rc == -ESTALE && is_behind(part);
        pthread_mutex_unlock(&part->life_lock);
        rc = rc == 1 ? flush_skip(part, e) : rc;
    } while (rc == 1);
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
        unsure = atomic_load(&part->shown.state) != SHOWN_KNOWN;
        waits = partition_awaits_epoch(part);
        pthread_mutex_unlock(&part->lock);
        if (!unsure || waits) {
            return !unsure;
        }
        rc = partition_begin_leading(part, NULL);
    } while (rc == 0 || (rc == -ESTALE && (!partition_leads(part) || atomic_load(&part->leader_epoch) != epoch ||
                                           atomic_load(&part->epoch.wanted) != 0)));
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

static int not_begun(const struct partition *part, struct err *e)
{
    return err_set(e, -ESTALE, "%s is not led in that epoch", part->name);
}

int32_t partition_begun_epoch(const struct partition *part)
{
    int32_t epoch = atomic_load(&part->leader_epoch); /* first: an earlier one the log refuses */

    return atomic_load_explicit(&part->epoch.assigned, memory_order_acquire) ? epoch : -1;
}

int partition_append_leading(struct partition *part, const struct append_batch *batch, int32_t *epoch,
                             struct log_append_result *out, struct err *e)
{
    *epoch = partition_begun_epoch(part);
    return *epoch < 0 ? not_begun(part, e) : append(part, batch, *epoch, out, e);
}

int partition_append_in_epoch(struct partition *part, const struct append_batch *batch, int32_t epoch,
                              struct log_append_result *out, struct err *e)
{
    return partition_begun_epoch(part) != epoch ? not_begun(part, e) : append(part, batch, epoch, out, e);
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
