/* engine/log/log_epochs.c: in which epochs a log is led and followed, and what it remembers of earlier ones.
 *
 * Every change of the map is made in a copy, stored durably, and only then seen. Failure: a full disk leaves all as it
 * was; any other error of the disk takes the log offline. */
#include "engine/log/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "engine/log/log_internal.h"

/* Under the state lock. */
static void take_back(struct log *log, const struct log_point *cut)
{
    if (log->recovery_point > cut->offset) {
        log->recovery_point = cut->offset;
    }
    if (log->cleaner_offset > cut->offset) {
        log->cleaner_offset = cut->offset;
    }
    log_flush_cut(log, cut->offset);
}

int log_change_epochs(struct log *log, struct epochs *next, const struct log_point *start, const struct log_point *cut,
                      struct err *e)
{
    struct epochs old;
    int rc = dir_hold(&log->dir, e);

    if (rc == 0) {
        rc = cut != NULL && BUG(cut_epochs_unsynced) ? 0 : epochs_store(log->env->io, log->dir.fd, next, e);
        dir_release(&log->dir);
        rc = rc < 0 ? log_fail(log, rc, e) : 0;
    }
    if (rc < 0) {
        epochs_free(next);
        return rc;
    }
    pthread_mutex_lock(&log->state_lock);
    old = log->epochs;
    log->epochs = *next;
    if (cut != NULL) {
        take_back(log, cut);
    }
    if (start != NULL) {
        log->start = *start;
    }
    pthread_mutex_unlock(&log->state_lock);
    epochs_free(&old);
    *next = (struct epochs){0};
    return 0;
}

/* ---- roles ---- */

static int begin_epoch(struct log *log, int32_t epoch, struct err *e)
{
    struct epochs next;

    if (epoch == epochs_latest(&log->epochs)) {
        return 0;
    }
    if (epochs_copy(&log->epochs, &next) < 0) {
        return err_sys(e, -ENOMEM, "begin epoch %" PRId32, epoch);
    }
    /* Epochs that retention has emptied go, so that the file does not grow with every change of leader. */
    epochs_truncate_start(&next, log->start);
    epochs_forget_cuts(&next, log->segments[0]->base.offset);
    if (epochs_assign(&next, epoch, log->end) < 0) {
        epochs_free(&next);
        return err_sys(e, -ENOMEM, "begin epoch %" PRId32, epoch);
    }
    return log_change_epochs(log, &next, NULL, NULL, e);
}

static int lead_locked(struct log *log, int32_t epoch, struct err *e)
{
    int rc = log_check_online(log, e);

    if (rc < 0) {
        return rc;
    }
    if (epoch < epochs_latest(&log->epochs) || epoch < log->role_epoch ||
        (epoch == log->role_epoch && log->role == LOG_FOLLOWS)) {
        return err_set(e, -ESTALE, "lead %s in epoch %" PRId32 ": it is over", log->name, epoch);
    }
    rc = begin_epoch(log, epoch, e);
    if (rc < 0) {
        return err_wrap(e, rc, "lead %s in epoch %" PRId32, log->name, epoch);
    }
    log->role = LOG_LEADS;
    log->role_epoch = epoch;
    return 0;
}

int log_lead(struct log *log, int32_t epoch, struct err *e)
{
    struct err local = {0};
    int rc;

    assert(epoch >= 0);
    log_lock(log);
    rc = lead_locked(log, epoch, e != NULL ? e : &local);
    log_unlock(log);
    return rc;
}

int log_follow(struct log *log, int32_t epoch, struct err *e)
{
    int rc = 0;

    assert(epoch >= 0);
    log_lock(log);
    if (epoch < log->role_epoch || (epoch == log->role_epoch && log->role == LOG_LEADS)) {
        rc = err_set(e, -ESTALE, "follow in %s in epoch %" PRId32 ": it is over", log->name, epoch);
    } else {
        log->role = LOG_FOLLOWS;
        log->role_epoch = epoch;
    }
    log_unlock(log);
    return rc;
}

/* ---- questions ---- */

int32_t log_latest_epoch(struct log *log)
{
    int32_t epoch;

    pthread_mutex_lock(&log->state_lock);
    epoch = epochs_latest(&log->epochs);
    pthread_mutex_unlock(&log->state_lock);
    return epoch;
}

int32_t log_earliest_epoch(struct log *log)
{
    int32_t epoch;

    pthread_mutex_lock(&log->state_lock);
    epoch = log->epochs.count > 0 ? log->epochs.entries[0].epoch : -1;
    pthread_mutex_unlock(&log->state_lock);
    return epoch;
}

void log_epoch_end(struct log *log, int32_t epoch, int32_t *found_epoch, struct log_point *end)
{
    pthread_mutex_lock(&log->state_lock);
    *end = epochs_end(&log->epochs, epoch, log->end, found_epoch);
    pthread_mutex_unlock(&log->state_lock);
}

int32_t log_epoch_before(struct log *log, int64_t offset)
{
    int32_t epoch;

    pthread_mutex_lock(&log->state_lock);
    epoch = epochs_before(&log->epochs, offset);
    pthread_mutex_unlock(&log->state_lock);
    return epoch;
}

uint32_t log_cuts(struct log *log)
{
    uint32_t cuts;

    pthread_mutex_lock(&log->state_lock);
    cuts = epochs_cuts(&log->epochs);
    pthread_mutex_unlock(&log->state_lock);
    return cuts;
}

struct log_point log_clip(struct log *log, uint32_t cuts, struct log_point point)
{
    pthread_mutex_lock(&log->state_lock);
    point = epochs_clip(&log->epochs, cuts, point);
    pthread_mutex_unlock(&log->state_lock);
    return point;
}

struct log_known log_clip_known(const struct log *log, const struct log_known *known)
{
    struct log_known left = *known;

    left.recovery_point =
        epochs_clip(&log->epochs, known->recovery_cuts, (struct log_point){known->recovery_point, 0}).offset;
    left.start = epochs_clip(&log->epochs, known->start_cuts, known->start);
    left.cleaner_offset =
        epochs_clip(&log->epochs, known->cleaner_cuts, (struct log_point){known->cleaner_offset, 0}).offset;
    return left;
}

/* ---- at an open ---- */

/* The epochs of the entries of one segment join the map. */
static int collect(struct segment *seg, struct epochs *epochs, struct err *e)
{
    struct batch_entry b;
    int rc = segment_pin(seg, e);

    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < seg->batches && rc == 0; i++) {
        rc = segment_entry(seg, i, &b, e);
        if (rc == 0 && b.leader_epoch > epochs_latest(epochs)) {
            rc = epochs_assign(epochs, b.leader_epoch,
                               (struct log_point){seg->base.offset + b.offset, seg->base.position + b.position});
            rc = rc < 0 ? err_sys(e, rc, "leader-epochs") : 0;
        }
    }
    segment_unpin(seg);
    return rc;
}

/* Epochs that began without a record are lost: nobody can ask for a record of theirs. */
static int collect_all(struct log *log, struct epochs *next, struct err *e)
{
    int rc = 0;

    log_line(LOG_WARNING, "%s: leader-epochs does not agree with the entries and is made again", log->name);
    next->count = 0;
    for (uint32_t i = 0; i < log->segment_count && rc == 0; i++) {
        rc = collect(log->segments[i], next, e);
    }
    return rc;
}

/* A file of version 1 has no positions. Where an entry is damaged it stays unknown. */
static void find_positions(struct log *log, struct epochs *next)
{
    struct log_point found;

    for (uint32_t i = 0; i < next->count; i++) {
        struct log_point *start = &next->entries[i].start;

        if (start->position < 0 && log_lookup_offset(log, start->offset, log->end, &found, NULL) == 0) {
            start->position = found.position;
        }
    }
}

int log_check_epochs(struct log *log, bool agree, struct err *e)
{
    struct epochs next;
    bool changed = !agree;
    uint32_t before = log->epochs.count;
    int rc = epochs_copy(&log->epochs, &next);

    if (rc < 0) {
        return err_sys(e, rc, "leader-epochs");
    }
    epochs_truncate_end(&next, log->end.offset + 1);
    changed = changed || next.count < before;
    if (!agree) {
        rc = collect_all(log, &next, e);
    } else {
        find_positions(log, &next);
    }
    if (rc < 0) {
        epochs_free(&next);
        return rc;
    }
    if (changed) {
        return log_change_epochs(log, &next, NULL, NULL, e);
    }
    epochs_free(&log->epochs);
    log->epochs = next;
    return 0;
}
