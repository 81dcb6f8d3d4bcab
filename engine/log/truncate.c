/* engine/log/truncate.c: a log is cut back to a point, or begins anew at another one.
 *
 * The order, under the append lock:
 *   1. what takes the place of the segment that is cut is made beside it, under `.cutting`, and then called
 *      `.<n>.cut`, n being the number that the cut will have
 *      (where nothing stays, the files that say what was known of producers go first: they could be taken for the new
 *      log's)
 *   2. `leader-epochs` says durably that there was a cut, and forgets the epochs behind it; with the same step the
 *      figures that only grow otherwise go back: recovery point, cleaner offset, and what flushes may answer
 *   3. readers see the new list; files are cut, renamed, deleted, and their directory is fsynced; what is known of
 *      producers is made anew
 * A crash before 2 leaves the log as it was: a `.cut` of another number than the last cut has goes. One between 2 and
 * 3, or in the middle of 3, leaves the log cut at some point behind the wanted one, or not at all: nothing that was to
 * stay can be missing, since all that is behind the point counts as never flushed, and what is there of it is checked
 * as a torn tail is. (The epochs of entries that are still there come back with them.)
 *
 * A file of which bytes were shown, or that somebody reads at this moment, is never shortened: its segment is written
 * anew. Only the active segment, and only while nobody else has a hold of it, is cut in place.
 *
 * Failure: until 2 nothing has changed. After it there is little that could be refused for want of room, descriptors or
 * memory: names that are given or taken, and the look at what is known of producers. Those are then gone on with later
 * (log_finish_cut()), by the next call, or by what would make the log longer; the cut is durable once they are done.
 * Any other failure takes the log offline. */
#include "engine/log/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log/log_internal.h"
#include "engine/segment/batch_reader.h"
#include "engine/segment/segment_build.h"

/* What a cut comes to. */
struct cut {
    struct log_point to;
    uint32_t first;                    /* segments [first, …) go … */
    struct segment *by;                /* … and this one comes in their place; NULL: none does */
    uint32_t batches;                  /* of segment `first`: entries that stay */
    bool in_place;                     /* segment `first` stays and loses its end */
    bool anew;                         /* nothing stays: the log begins at `to` */
    int64_t last_append_ms;            /* with that: as log_reset() was told; -1: it was not */
    char suffix[SEGMENT_SUFFIX_BYTES]; /* `.<n>.cut`: of `by`, until it has its names; n as the cut is counted */
};

/* ---- 0: where ---- */

/* Counts the entries of a pinned segment that stay, and moves the point to where a batch begins or ends, or leaves it
 * in a hole. */
static int settle_in(const struct segment_view *view, struct cut *cut, struct err *e)
{
    int64_t target = cut->to.offset - view->base.offset;
    struct log_point kept = view->base, next = view->end;
    struct batch_entry b;
    uint32_t n = 0;
    int rc = target > 0 ? segment_find_offset(view, (uint64_t)target - 1, &n, e) : 0;

    if (rc == 0 && n < view->batches) {
        rc = segment_entry(view->seg, n, &b, e);
        next = (struct log_point){view->base.offset + b.offset, view->base.position + b.position};
    }
    while (rc == 0 && n > 0) {
        rc = segment_entry(view->seg, n - 1, &b, e);
        kept = (struct log_point){view->base.offset + b.offset + b.records, view->base.position + b.position + b.len};
        if (rc < 0 || kept.offset <= cut->to.offset) {
            break;
        }
        /* The batch that holds the point goes as a whole. */
        next = (struct log_point){view->base.offset + b.offset, view->base.position + b.position};
        cut->to = next;
        kept = view->base;
        n--;
    }
    if (rc < 0) {
        return rc;
    }
    cut->batches = n;
    if (cut->to.offset == kept.offset) {
        cut->to = kept;
    } else if (cut->to.offset == next.offset) {
        cut->to = next;
    } else if (cut->to.position - kept.position < cut->to.offset - kept.offset ||
               next.position - cut->to.position < next.offset - cut->to.offset) {
        return err_set(e, -EINVAL, "offset %" PRId64 " is not at position %" PRId64, cut->to.offset, cut->to.position);
    }
    return 0;
}

/* Fills the cut for a point at or above the log start and below the end. */
static int settle(struct log *log, struct cut *cut, struct err *e)
{
    struct segment_view view;
    uint32_t k = 0;
    int rc;

    while (log->segments[k]->end.offset < cut->to.offset) {
        k++;
    }
    if (log->segments[k]->end.offset == cut->to.offset) {
        cut->to = log->segments[k]->end;
        cut->first = k + 1;
        return 0;
    }
    cut->first = k;
    log_view(log->segments[k], &view);
    rc = segment_pin(view.seg, e);
    if (rc < 0) {
        return rc;
    }
    rc = settle_in(&view, cut, e);
    segment_unpin(view.seg);
    if (rc < 0) {
        return rc;
    }
    if (cut->to.offset < log->start.offset) {
        cut->to = log->start; /* within the first batch that is shown of */
        cut->first = 0;
        cut->anew = true;
    } else if (cut->batches == 0 && cut->to.offset == view.base.offset) {
        /* The segment before it ends here: a batch that held the point began it. */
        cut->anew = k == 0;
    }
    return 0;
}

/* Whether all of segment `first` goes, and nothing comes in its place. */
static bool goes_whole(const struct log *log, const struct cut *cut)
{
    return cut->first == log->segment_count ||
           (!cut->anew && cut->batches == 0 && cut->to.offset == log->segments[cut->first]->base.offset);
}

/* ---- 1: what comes in its place ---- */

static int copy_entry(struct log *log, struct batch_reader *reader, struct segment *to, struct err *e)
{
    static const int64_t interval_max = 1 << 30;
    struct framing_mark marks[LIMIT_BATCH_MARKS];
    struct framing_state state = {0};
    struct framing_result scanned;
    struct batch_entry b = reader->entry;
    int64_t interval = log->config.index_interval_bytes;
    uint32_t mark_count = 0;

    interval = interval < 1 ? 1 : interval > interval_max ? interval_max : interval;
    if (b.len > interval && framing_scan(reader->framing, &state, reader->buf, b.len, UINT64_MAX, &scanned, NULL,
                                         (uint32_t)interval, marks, &mark_count, LIMIT_BATCH_MARKS) < 0) {
        mark_count = 0; /* not our framing: the batch's own start must do */
    }
    return segment_build_add(to, &b, reader->buf, marks, mark_count, interval, e);
}

/* The first entries of a segment, written anew, up to the point. */
static int build_copy(struct log *log, struct segment *from, struct cut *cut, struct err *e)
{
    struct batch_reader reader = {.framing = log->config.framing};
    struct segment_view view;
    struct segment *by;
    int rc = segment_build_begin(&log->segment_env, from->base, ".cutting", &by, e);

    if (rc < 0) {
        return rc;
    }
    log_view(from, &view);
    rc = segment_pin(from, e);
    for (uint32_t i = 0; i < cut->batches && rc == 0; i++) {
        rc = batch_reader_load(&reader, &view, i, e);
        if (rc == 0) {
            rc = copy_entry(log, &reader, by, e);
        }
        if (rc < 0) {
            segment_unpin(from);
        }
    }
    batch_reader_free(&reader);
    if (rc == 0) {
        segment_unpin(from);
        by->gaps = from->gaps || by->end.offset != cut->to.offset;
        rc = segment_build_finish(by, cut->to, e);
    }
    if (rc < 0) {
        segment_build_abort(by);
        return rc;
    }
    cut->by = by;
    return 0;
}

/* A crash may leave the old first segment beside the one that takes its place. */
static int settle_first(struct log *log, struct err *e)
{
    int rc;

    if (!log_first_is_unsynced(log)) {
        return 0;
    }
    rc = segment_pin(log->segments[0], e);
    if (rc == 0) {
        rc = log_sync_first(log, e);
        segment_unpin(log->segments[0]);
    }
    return rc;
}

/* An empty one, which takes appends. */
static int build_empty(struct log *log, struct cut *cut, struct err *e)
{
    int64_t last_ms = cut->last_append_ms >= 0 ? cut->last_append_ms : log->last_append_ms;
    struct segment *by;
    int rc = settle_first(log, e);

    if (rc < 0) {
        return rc;
    }
    by = segment_new(&log->segment_env, cut->to);
    if (by == NULL) {
        return err_sys(e, -ENOMEM, "new segment");
    }
    rc = segment_create(by, ".cutting", true, e);
    if (rc < 0) {
        segment_unref(by);
        return rc;
    }
    rc = segment_take_generation(by, e);
    if (rc == 0 && last_ms != INDEX_NO_TIMESTAMP) {
        segment_set_mtime(by, last_ms); /* a start takes no generation from the time of one that grows */
    }
    segment_unpin(by);
    if (rc < 0) {
        segment_build_abort(by);
        return rc;
    }
    cut->by = by;
    return 0;
}

static int prepare(struct log *log, struct cut *cut, struct err *e)
{
    if (cut->first == log->segment_count) {
        return 0;
    }
    if (cut->anew) {
        return build_empty(log, cut, e);
    }
    if (goes_whole(log, cut)) {
        return 0;
    }
    return cut->in_place ? 0 : build_copy(log, log->segments[cut->first], cut, e);
}

/* ---- 2: the cut is decided ---- */

/* Where nothing stays, also nothing below the point, the log is cut back to its beginning first: so no figure of the
 * old one counts for what a crash in step 3 leaves of it. */
static bool takes_two(const struct log *log, const struct cut *cut, bool all)
{
    return all && cut->to.offset > log->start.offset;
}

/* The epochs as a cut leaves them; all: none is left. */
static int change_epochs(struct log *log, const struct cut *cut, bool all, struct err *e)
{
    struct epochs next;

    if (epochs_copy(&log->epochs, &next) < 0) {
        return err_sys(e, -ENOMEM, "leader-epochs");
    }
    if ((takes_two(log, cut, all) && epochs_cut(&next, log->start) < 0) || epochs_cut(&next, cut->to) < 0) {
        epochs_free(&next);
        return err_sys(e, -ENOMEM, "leader-epochs");
    }
    if (all) {
        next.count = 0;
    }
    epochs_forget_cuts(&next, log->segments[0]->base.offset);
    return log_change_epochs(log, &next, cut->anew ? &cut->to : NULL, &cut->to, e);
}

/* ---- 3: it is done ---- */

/* Under the state lock. */
static void set_figures(struct log *log, const struct cut *cut)
{
    log->end = cut->to;
    if (cut->anew) {
        log->start = cut->to;
        log->cut_bytes = 0;
    }
    log_list_sum(log);
    log->last_append_ms = log_list_last_append_ms(log);
}

/* The directory is held; `gone` has room for all that go. */
static int change_list(struct log *log, const struct cut *cut, struct segment **gone, struct err *e)
{
    uint32_t n = log->segment_count - cut->first;
    int rc;

    pthread_mutex_lock(&log->state_lock);
    memcpy(gone, log->segments + cut->first, n * sizeof(struct segment *));
    log->segment_count = cut->first;
    if (cut->by != NULL) {
        log->segments[log->segment_count++] = cut->by;
    }
    set_figures(log, cut);
    pthread_mutex_unlock(&log->state_lock);
    log->names_wait = cut->by != NULL;
    rc = log_retire_segments(log, gone, n, ".truncated", e);
    if (rc == 0 && cut->by != NULL) {
        struct segment *by = cut->by;

        rc = log_swap_finish(log, &by, 1, e);
        rc = err_is_passing(rc) ? 0 : rc;
    }
    return rc < 0 ? log_fail(log, rc, e) : 0;
}

/* The cut is decided; the directory is held. */
static int decide(struct log *log, struct cut *cut, bool all, struct err *e)
{
    int rc = 0;

    snprintf(cut->suffix, sizeof cut->suffix, ".%" PRIu32 ".cut",
             epochs_cuts(&log->epochs) + (takes_two(log, cut, all) ? 2 : 1));
    if (cut->by != NULL) {
        rc = log_swap_prepare(log, cut->by, cut->suffix, e);
        if (rc < 0) {
            return rc; /* and it was given up */
        }
    }
    rc = change_epochs(log, cut, all, e);
    if (rc < 0 && cut->by != NULL && log_swap_abandon(log, cut->by, cut->suffix) < 0) {
        return log_go_offline(log, -EIO, "what a cut would have been cannot be taken back");
    }
    log->cut_due = log->cut_due || rc == 0;
    return rc;
}

/* What an earlier call could not take the names from. The directory is held. */
static int finish_retiring(struct log *log, struct err *e)
{
    int rc = log_retire_segments(log, NULL, 0, NULL, e);

    return rc < 0 ? log_fail(log, rc, e) : 0;
}

static int finish_retiring_held(struct log *log, struct err *e)
{
    int rc = log->retiring != NULL ? dir_hold(&log->dir, e) : 0;

    if (rc == 0 && log->retiring != NULL) {
        rc = finish_retiring(log, e);
        dir_release(&log->dir);
    }
    return rc;
}

static int cut_list(struct log *log, struct cut *cut, bool all, struct err *e)
{
    struct segment **gone = malloc((log->segment_count - cut->first + 1) * sizeof(struct segment *));
    int rc = gone != NULL ? dir_hold(&log->dir, e) : err_sys(e, -ENOMEM, "cut %s", log->name);

    if (rc == 0) {
        rc = finish_retiring(log, e);
        if (rc == 0 && all) {
            rc = log_forget_producers(log, e);
            rc = rc < 0 ? log_fail(log, rc, e) : 0;
        }
        if (rc < 0) {
            dir_release(&log->dir);
        }
    }
    if (rc < 0) {
        if (cut->by != NULL) {
            segment_build_abort(cut->by);
        }
        free(gone);
        return rc;
    }
    rc = decide(log, cut, all, e);
    if (rc == 0) {
        rc = change_list(log, cut, gone, e);
    }
    dir_release(&log->dir);
    free(gone);
    return rc;
}

/* The active segment, pinned. 1: somebody else has a hold of it, and nothing was done. */
static int cut_in_place(struct log *log, struct segment *seg, struct cut *cut, struct err *e)
{
    struct segment_figures before, after;
    struct segment_view view;
    bool alone;
    int rc;

    log_view(seg, &view);
    rc = segment_measure(&view, cut->batches, &after, e);
    if (rc < 0) {
        return rc;
    }
    segment_figures(seg, &before);
    pthread_mutex_lock(&log->state_lock);
    /* Whoever looks for a segment takes its reference under this lock: who comes later sees the lower figures. */
    alone = segment_is_private(seg);
    if (alone) {
        segment_set_figures(seg, &after);
        set_figures(log, cut);
    }
    pthread_mutex_unlock(&log->state_lock);
    if (!alone) {
        return 1;
    }
    rc = change_epochs(log, cut, false, e);
    if (rc < 0) {
        pthread_mutex_lock(&log->state_lock);
        segment_set_figures(seg, &before);
        log->end = seg->end;
        log->last_append_ms = before.last_timestamp_ms;
        log_list_sum(log);
        pthread_mutex_unlock(&log->state_lock);
        return rc;
    }
    log->cut_due = true;
    rc = segment_cut_files(seg, e);
    return rc < 0 ? log_go_offline(log, -EIO, e->text) : 0;
}

static int try_in_place(struct log *log, struct cut *cut, struct err *e)
{
    struct segment *seg = log->segments[cut->first];
    int rc = segment_pin(seg, e);

    if (rc == 0) {
        rc = cut_in_place(log, seg, cut, e);
        segment_unpin(seg);
    }
    return rc;
}

/* Whether only an end goes that nobody else has seen, and that needs no word in the header. */
static bool can_be_in_place(const struct log *log, const struct cut *cut)
{
    const struct segment *seg;
    struct batch_entry last;

    if (cut->anew || cut->batches == 0 || cut->first + 1 != log->segment_count) {
        return false;
    }
    seg = log->segments[cut->first];
    return !atomic_load(&seg->sealed) && segment_is_private(seg) &&
           segment_entry(seg, cut->batches - 1, &last, NULL) == 0 &&
           seg->base.offset + last.offset + last.records == cut->to.offset;
}

int log_finish_cut(struct log *log, struct err *e)
{
    int rc;

    if (!log->cut_due) {
        return 0;
    }
    rc = finish_retiring_held(log, e);
    if (rc == 0) {
        rc = log_settle_directory(log, e);
    }
    if (rc == 0 && (log->producers.count > 0 || log->producers_files)) {
        rc = log_load_producers(log, e);
        rc = rc < 0 ? log_fail(log, rc, e) : 0;
    }
    log->cut_due = rc < 0;
    return rc;
}

static int run(struct log *log, struct cut *cut, bool all, struct err *e)
{
    int rc = log_finish_names(log, e); /* with another number of cuts those of the last one say nothing */

    if (rc < 0) {
        return rc;
    }
    rc = 1;
    if (cut->first < log->segment_count && !cut->anew) {
        rc = segment_pin(log->segments[cut->first], e);
        if (rc < 0) {
            return rc;
        }
        cut->in_place = can_be_in_place(log, cut);
        segment_unpin(log->segments[cut->first]);
        rc = cut->in_place ? try_in_place(log, cut, e) : 1;
        cut->in_place = false;
    }
    if (rc == 1) {
        rc = prepare(log, cut, e);
        if (rc == 0) {
            rc = cut_list(log, cut, all, e);
        }
    }
    return rc == 0 ? log_finish_cut(log, e) : rc;
}

/* What is wrong with the bytes that were to stay is no matter of this cut. */
static int failed(struct log *log, int rc, struct err *e)
{
    if (rc == -EBADMSG) {
        return log_go_offline(log, -EBADMSG, e->text);
    }
    return rc == -EINVAL || rc == -ESTALE || rc == -EFBIG ? rc : log_fail(log, rc, e);
}

/* ---- the calls ---- */

static int check_follows(struct log *log, int32_t leader_epoch, struct err *e)
{
    int rc = log_check_online(log, e);

    if (rc == 0 && (log->role != LOG_FOLLOWS || log->role_epoch != leader_epoch)) {
        rc = err_set(e, -ESTALE, "epoch %" PRId32 " is over", leader_epoch);
    }
    return rc;
}

/* Nothing is to be cut; but an epoch that began at the end, and of which nothing came, is forgotten all the same: it
 * may be another leader's (as Kafka's truncateTo). */
static int forget_epoch_at_end(struct log *log, struct err *e)
{
    struct epochs next;

    if (log->epochs.count == 0 || log->epochs.entries[log->epochs.count - 1].start.offset < log->end.offset) {
        return 0;
    }
    if (epochs_copy(&log->epochs, &next) < 0) {
        return err_sys(e, -ENOMEM, "leader-epochs");
    }
    epochs_truncate_end(&next, log->end.offset);
    return log_change_epochs(log, &next, NULL, NULL, e);
}

static int truncate_locked(struct log *log, int32_t leader_epoch, struct log_point to, struct err *e)
{
    struct cut cut = {.to = to, .last_append_ms = -1};
    int rc = check_follows(log, leader_epoch, e);

    if (rc < 0) {
        return rc;
    }
    rc = finish_retiring_held(log, e);
    if (rc == 0) {
        rc = log_finish_cut(log, e);
    }
    if (rc < 0) {
        return rc;
    }
    if (to.offset >= log->end.offset) {
        return forget_epoch_at_end(log, e);
    }
    if (to.offset < log->start.offset) {
        return err_set(e, -EINVAL, "offset %" PRId64 " lies before the start, %" PRId64, to.offset, log->start.offset);
    }
    rc = settle(log, &cut, e);
    if (rc == 0) {
        rc = run(log, &cut, false, e);
    }
    return rc < 0 ? failed(log, rc, e) : 0;
}

int log_truncate(struct log *log, int32_t leader_epoch, struct log_point to, struct err *e)
{
    struct err local = {0};
    int rc;

    e = e != NULL ? e : &local;
    log_lock(log);
    rc = truncate_locked(log, leader_epoch, to, e);
    log_unlock(log);
    return rc < 0 ? err_wrap(e, rc, "truncate %s", log->name) : 0;
}

int log_reset(struct log *log, int32_t leader_epoch, struct log_point to, int64_t last_append_ms, struct err *e)
{
    struct cut cut = {.to = to, .anew = true, .last_append_ms = last_append_ms};
    struct err local = {0};
    int rc;

    e = e != NULL ? e : &local;
    if (to.offset < 0 || to.position < 0) {
        return err_set(e, -EINVAL, "reset %s: no log begins at offset %" PRId64, log->name, to.offset);
    }
    log_lock(log);
    rc = check_follows(log, leader_epoch, e);
    if (rc == 0) {
        rc = run(log, &cut, true, e);
        rc = rc < 0 ? failed(log, rc, e) : 0;
        if (rc == 0) {
            atomic_store(&log->bad_reported, false); /* what was damaged is gone */
        }
    }
    log_unlock(log);
    return rc < 0 ? err_wrap(e, rc, "reset %s", log->name) : 0;
}
