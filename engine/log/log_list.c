/* engine/log/log_list.c: the list of segments: found in, added to, taken out of.
 *
 * The list is what readers see; the directory is what a restart sees. Both move in an order in which a reader always
 * finds files under the names that its segment knows, and a crash always leaves something that recover.c can finish:
 *   deletion  out of the list, rename to `….<n>.deleted`, fsync the directory, unlink when the last reference goes
 *   swap      `.cleaned` → `.swap`, fsync; into the list; the old ones → `….<n>.deleted`, fsync; `.swap` → "", fsync
 *   cut       the same with `.cutting`, `.cut` and `….<n>.truncated` (truncate.c)
 * Failure: a full disk puts the last names of a swap off; what cannot be undone takes the log offline. */
#include "engine/log/log_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding ---- */

void log_view(struct segment *seg, struct segment_view *out)
{
    *out = (struct segment_view){
        .seg = seg,
        .base = seg->base,
        .end = seg->end,
        .gaps = seg->gaps,
        .batches = seg->batches,
        .log_bytes = seg->log_bytes,
        .index_count = index_count(&seg->index),
        .timeindex_count = index_count(&seg->timeindex),
        .max_timestamp_ms = seg->max_timestamp_ms,
    };
}

static int64_t coordinate(const struct log_point *point, bool by_offset)
{
    return by_offset ? point->offset : point->position;
}

/* The first segment that ends behind value. */
static uint32_t find_segment(const struct log *log, int64_t value, bool by_offset)
{
    uint32_t low = 0, high = log->segment_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (coordinate(&log->segments[middle]->end, by_offset) <= value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* What a reader looks for. */
struct query {
    int64_t value; /* an offset, or with by_position a position */
    bool by_position;
    bool by_time; /* and a batch at least as late as ms */
    int64_t ms;
    bool offline; /* also while the log is */
};

/* Under the state lock. */
static uint32_t answer(const struct log *log, const struct query *query)
{
    uint32_t i = find_segment(log, query->value, !query->by_position);

    while (query->by_time && i < log->segment_count && log->segments[i]->max_timestamp_ms < query->ms) {
        i++;
    }
    return i;
}

static int get(struct log *log, const struct query *query, struct segment_view *out, bool *found, struct err *e)
{
    uint32_t i;
    int rc = query->offline ? 0 : log_check_online(log, e);

    while (rc == 0) {
        pthread_mutex_lock(&log->state_lock);
        i = answer(log, query);
        *found = i < log->segment_count;
        if (*found) {
            log_view(log->segments[i], out);
            segment_ref(out->seg);
        }
        pthread_mutex_unlock(&log->state_lock);
        if (!*found) {
            return 0;
        }
        rc = segment_pin(out->seg, e);
        if (rc == 0) {
            return 0;
        }
        segment_unref(out->seg);
        /* Deleted between the look and the pin: another one stands there now. */
        rc = rc == -ESTALE ? 0 : rc;
    }
    *found = false;
    return rc;
}

int log_get_by_position(struct log *log, int64_t position, struct segment_view *out, bool *found, struct err *e)
{
    return get(log, &(struct query){.value = position, .by_position = true}, out, found, e);
}

int log_get_left(struct log *log, int64_t position, struct segment_view *out, bool *found, struct err *e)
{
    return get(log, &(struct query){.value = position, .by_position = true, .offline = true}, out, found, e);
}

int log_get_by_offset(struct log *log, int64_t offset, struct segment_view *out, bool *found, struct err *e)
{
    return get(log, &(struct query){.value = offset}, out, found, e);
}

int log_get_by_time(struct log *log, int64_t ms, int64_t from_offset, struct segment_view *out, bool *found,
                    struct err *e)
{
    return get(log, &(struct query){.value = from_offset, .by_time = true, .ms = ms}, out, found, e);
}

void log_put(struct segment_view *view)
{
    segment_unpin(view->seg);
    segment_unref(view->seg);
}

/* ---- changing; append lock ---- */

void log_list_sum(struct log *log)
{
    uint32_t i;

    log->closed_log_bytes = 0;
    log->closed_disk_bytes = 0;
    for (i = 0; i + 1 < log->segment_count; i++) {
        log->closed_log_bytes += log->segments[i]->log_bytes;
        log->closed_disk_bytes += segment_disk_bytes(log->segments[i]);
    }
}

int64_t log_list_last_append_ms(const struct log *log)
{
    for (uint32_t i = log->segment_count; i > 0; i--) {
        if (log->segments[i - 1]->batches > 0) {
            return log->segments[i - 1]->last_timestamp_ms;
        }
    }
    return log->segments[log->segment_count - 1]->mtime_ms;
}

int log_list_reserve(struct log *log, struct err *e)
{
    uint32_t max = log->segment_max == 0 ? 4 : log->segment_max * 2;
    struct segment **grown;

    if (log->segment_count < log->segment_max) {
        return 0;
    }
    grown = malloc(max * sizeof(struct segment *));
    if (grown == NULL) {
        return err_sys(e, -ENOMEM, "list of segments");
    }
    pthread_mutex_lock(&log->state_lock);
    if (log->segment_count > 0) {
        memcpy(grown, log->segments, log->segment_count * sizeof(struct segment *));
    }
    free(log->segments);
    log->segments = grown;
    log->segment_max = max;
    pthread_mutex_unlock(&log->state_lock);
    return 0;
}

int log_list_push(struct log *log, struct segment *seg, struct err *e)
{
    int rc = log_list_reserve(log, e);

    if (rc < 0) {
        return rc;
    }
    pthread_mutex_lock(&log->state_lock);
    log->segments[log->segment_count++] = seg;
    log->end = seg->end;
    log_list_sum(log);
    pthread_mutex_unlock(&log->state_lock);
    return 0;
}

/* Takes the names away from one segment's files. */
static int retire_one(struct log *log, struct segment *seg, struct err *e)
{
    char suffix[SEGMENT_SUFFIX_BYTES];
    int rc;

    snprintf(suffix, sizeof suffix, ".%u%s", log->deleted++, seg->retire_ending);
    rc = segment_retire(seg, suffix, e);
    if (err_is_passing(rc)) {
        /* A full disk may refuse a longer name; the file can be unlinked at once all the same. */
        rc = segment_unlink_instead(seg, suffix);
    }
    return rc < 0 ? err_sys(e, rc, "delete segment %020" PRId64, seg->base.offset) : 0;
}

int log_retire_segments(struct log *log, struct segment **segs, uint32_t n, const char *ending, struct err *e)
{
    struct segment **last = &log->retiring;
    struct segment *seg;
    uint32_t i;
    int rc = 0;

    while (*last != NULL) {
        last = &(*last)->retired_next;
    }
    for (i = 0; i < n; i++) {
        segs[i]->retire_ending = ending;
        segs[i]->retired_next = NULL;
        *last = segs[i];
        last = &segs[i]->retired_next;
    }
    if (log->retiring == NULL) {
        return 0;
    }
    while (rc == 0 && (seg = log->retiring) != NULL) {
        rc = retire_one(log, seg, e);
        if (rc == 0) {
            log->retiring = seg->retired_next;
            seg->retired_next = log->retired;
            log->retired = seg;
        }
    }
    if (rc == 0) {
        rc = log->env->io->fsync(log->env->io, log->dir.fd);
        rc = rc < 0 ? err_sys(e, -EIO, "delete segments (%s)", strerror(-rc)) : 0;
    }
    return rc;
}

/* What becomes the first segment is on the disk before those in front of it go: a log that lost both would not know
 * where it is. */
static int secure_front(struct log *log, uint32_t n, struct err *e)
{
    struct segment *seg = log->segments[n];
    int rc;

    if (n + 1 < log->segment_count || log->recovery_point > seg->base.offset) {
        return 0; /* closed ones were flushed, and this one was since it was made */
    }
    rc = log->env->io->fdatasync(log->env->io, seg->fd[SEGMENT_BATCHES]);
    /* A failed sync is the disk's fault, whatever it says. */
    return rc < 0 ? err_set(e, -EIO, "flush segment %" PRId64 ": %s", seg->base.offset, strerror(-rc)) : 0;
}

int log_delete_front(struct log *log, uint32_t n, struct err *e)
{
    struct segment **gone;
    struct log_point base;
    int64_t bytes = 0;
    uint32_t i;
    int rc;

    assert(n < log->segment_count);
    if (n == 0) {
        return 0;
    }
    rc = dir_hold(&log->dir, e);
    if (rc < 0) {
        return rc;
    }
    gone = malloc(n * sizeof(struct segment *));
    rc = secure_front(log, n, e);
    if (rc == 0) {
        rc = gone != NULL ? log_retire_segments(log, NULL, 0, NULL, e) : err_sys(e, -ENOMEM, "delete segments");
    }
    if (rc < 0) {
        dir_release(&log->dir);
        free(gone);
        return log_fail(log, rc, e);
    }
    pthread_mutex_lock(&log->state_lock);
    memcpy(gone, log->segments, n * sizeof(struct segment *));
    log->segment_count -= n;
    memmove(log->segments, log->segments + n, log->segment_count * sizeof(struct segment *));
    for (i = 0; i < n; i++) {
        bytes += gone[i]->log_bytes;
    }
    base = log->segments[0]->base;
    if (log->start.offset < base.offset) {
        log->start = base;
    }
    log->cut_bytes = log->cut_bytes > bytes ? log->cut_bytes - bytes : 0;
    log_list_sum(log);
    pthread_mutex_unlock(&log->state_lock);
    rc = log_retire_segments(log, gone, n, ".deleted", e);
    for (i = 0; i < n && rc == 0; i++) {
        rc = log_drop_producers(log, gone[i]->base.offset);
        if (rc < 0) {
            err_sys(e, rc, "delete segments");
        }
    }
    dir_release(&log->dir);
    free(gone);
    return rc < 0 ? log_fail(log, rc, e) : 0;
}

int log_bytes_before(struct log *log, struct log_point point, int64_t *out, struct err *e)
{
    struct segment_view view;
    struct batch_entry b = {0};
    int64_t bytes = 0;
    uint32_t i, n = 0;
    int rc = 0;

    for (i = 0; i < log->segment_count && log->segments[i]->end.position <= point.position; i++) {
        bytes += log->segments[i]->log_bytes;
    }
    *out = bytes;
    if (i == log->segment_count || log->segments[i]->base.position >= point.position) {
        return 0;
    }
    log_view(log->segments[i], &view);
    if (!view.gaps) {
        int64_t into = point.position - view.base.position;

        *out = bytes + (into < view.log_bytes ? into : view.log_bytes);
        return 0;
    }
    rc = segment_pin(view.seg, e);
    if (rc < 0) {
        return rc;
    }
    rc = segment_find_position(&view, (uint64_t)(point.position - view.base.position), &n, e);
    if (rc == 0 && n > 0) {
        rc = segment_entry(view.seg, n - 1, &b, e);
    }
    segment_unpin(view.seg);
    if (rc == 0 && n > 0) {
        int64_t into = point.position - view.base.position - b.position;

        *out = bytes + b.place + (into < b.len ? into : b.len);
    }
    return rc;
}

int log_set_start(struct log *log, struct log_point start, struct err *e)
{
    int64_t before;
    int rc;

    if (start.offset <= log->start.offset) {
        return 0;
    }
    rc = log_bytes_before(log, start, &before, e);
    if (rc < 0) {
        return rc;
    }
    pthread_mutex_lock(&log->state_lock);
    log->start = start;
    log->cut_bytes = before;
    pthread_mutex_unlock(&log->state_lock);
    return 0;
}

/* Puts `by` where [first, first + n) were, under the state lock. */
static void list_swap(struct log *log, uint32_t first, uint32_t n, struct segment *by)
{
    uint32_t behind = log->segment_count - first - n;

    log->segments[first] = by;
    memmove(log->segments + first + 1, log->segments + first + n, behind * sizeof(struct segment *));
    log->segment_count -= n - 1;
    log_list_sum(log);
}

/* One of the names was refused, by a full disk most likely. Those that were given go first: with all of
 * `.cleaned` gone before, they would pass for a complete segment. */
int log_swap_abandon(struct log *log, struct segment *by, const char *suffix)
{
    struct io *io = log->env->io;
    char name[SEGMENT_NAME_BYTES];
    int i, rc = 0;

    for (i = 0; i < SEGMENT_FILES && (rc == 0 || rc == -ENOENT); i++) {
        segment_name(by->base.offset, (enum segment_file)i, suffix, name);
        rc = io->unlink(io, log->dir.fd, name, 0);
    }
    if (rc == 0 || rc == -ENOENT) {
        rc = io->fsync(io, log->dir.fd);
    }
    if (rc == 0) {
        segment_build_abort(by);
    } else {
        segment_unref(by);
    }
    return rc;
}

int log_swap_prepare(struct log *log, struct segment *by, const char *suffix, struct err *e)
{
    int abandon_rc, rc = segment_rename(by, suffix, false, e);

    if (err_is_passing(rc)) {
        abandon_rc = log_swap_abandon(log, by, suffix);
        if (abandon_rc == 0) {
            return rc;
        }
        err_sys(e, abandon_rc, "take a segment back");
    } else {
        if (rc == 0) {
            rc = log->env->io->fsync(log->env->io, log->dir.fd);
            if (rc == 0) {
                return 0;
            }
            err_sys(e, rc, "fsync a segment's names");
        }
        segment_unref(by);
    }
    return log_go_offline(log, -EIO, e != NULL ? e->text : "swap in a segment");
}

/* The last step of a swap, for all that are due. A full disk that refuses a name costs nothing but that the name stays
 * `.swap`: the files are found by the names they have, and an open finishes the swap. But no other segment may be made
 * in its place before: its `.cleaned` would tell an open that this `.swap` is not complete. */
int log_swap_finish(struct log *log, struct segment **segs, uint32_t n, struct err *e)
{
    int rc = 0;
    uint32_t i;

    for (i = 0; i < n && rc == 0; i++) {
        rc = segment_rename(segs[i], "", false, e);
    }
    log->names_wait = err_is_passing(rc);
    if (rc == 0) {
        rc = log->env->io->fsync(log->env->io, log->dir.fd);
        if (rc < 0) {
            return err_sys(e, -EIO, "fsync a segment's names (%s)", strerror(-rc));
        }
    }
    return rc;
}

int log_finish_names(struct log *log, struct err *e)
{
    int rc;

    if (!log->names_wait && log->retiring == NULL) {
        return 0;
    }
    rc = dir_hold(&log->dir, e);
    if (rc == 0) {
        rc = log_retire_segments(log, NULL, 0, NULL, e); /* what was replaced loses its names first */
        if (rc == 0 && log->names_wait) {
            rc = log_swap_finish(log, log->segments, log->segment_count, e);
        }
        dir_release(&log->dir);
    }
    return rc < 0 ? log_fail(log, rc, e) : 0;
}

/* Which segment the log start lies in when `by` has come in for [first, first + n). */
static struct segment *start_holder(const struct log *log, uint32_t first, uint32_t n, struct segment *by)
{
    uint32_t i = find_segment(log, log->start.position, false);

    if (i >= log->segment_count) {
        i = log->segment_count - 1;
    }
    return i >= first && i < first + n ? by : log->segments[i];
}

/* The directory is held, and the files that log_bytes_before() will look at are pinned: once the list has changed
 * nothing has to be opened any more. */
static int replace(struct log *log, uint32_t first, uint32_t n, struct segment *by, struct err *e)
{
    struct segment **gone = malloc(n * sizeof(struct segment *));
    int64_t cut = 0;
    int names_rc, rc;

    assert(n > 0 && first + n < log->segment_count && !log->names_wait);
    assert(log->segments[first]->base.offset == by->base.offset);
    assert(log->segments[first + n - 1]->end.offset == by->end.offset);
    rc = gone != NULL ? log_retire_segments(log, NULL, 0, NULL, e) : err_sys(e, -ENOMEM, "swap segments");
    if (rc < 0) {
        segment_build_abort(by);
        rc = log_fail(log, rc, e);
        goto err_after_malloc;
    }
    rc = log_swap_prepare(log, by, ".swap", e);
    if (rc < 0) {
        goto err_after_malloc;
    }
    memcpy(gone, log->segments + first, n * sizeof(struct segment *));
    pthread_mutex_lock(&log->state_lock);
    list_swap(log, first, n, by);
    pthread_mutex_unlock(&log->state_lock);
    log->names_wait = true;
    names_rc = log_retire_segments(log, gone, n, ".deleted", e);
    if (names_rc == 0) {
        names_rc = log_swap_finish(log, &by, 1, e);
    }
    rc = err_is_passing(names_rc) ? 0 : names_rc;
    if (rc == 0) {
        rc = log_bytes_before(log, log->start, &cut, e);
    }
    if (rc < 0) {
        rc = log_go_offline(log, -EIO, e != NULL ? e->text : "swap segments");
        goto err_after_malloc;
    }
    pthread_mutex_lock(&log->state_lock);
    log->cut_bytes = cut;
    pthread_mutex_unlock(&log->state_lock);
    rc = names_rc;
err_after_malloc:
    free(gone);
    return rc;
}

int log_replace(struct log *log, uint32_t first, uint32_t n, struct segment *by, struct err *e)
{
    struct segment *holder = start_holder(log, first, n, by);
    int rc = dir_hold(&log->dir, e);

    if (rc < 0) {
        goto err_after_build;
    }
    rc = segment_pin(holder, e);
    if (rc < 0) {
        goto err_after_hold;
    }
    segment_ref(holder); /* `by` may be given up */
    rc = replace(log, first, n, by, e);
    segment_unpin(holder);
    segment_unref(holder);
    dir_release(&log->dir);
    return rc;

err_after_hold:
    dir_release(&log->dir);
err_after_build:
    segment_build_abort(by);
    return rc;
}
