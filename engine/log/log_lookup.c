/* engine/log/log_lookup.c: which record is at an offset, at a position, at a time, or the last but n.
 *
 * Each goes down the same stairs: the list of segments, a binary search in `.batches` (for a time narrowed by the two
 * indexes first), and inside the batch a scan for record ends (record_scan.c) of at most about two index intervals. The
 * batch is checked before its bytes are obeyed; the sparse indexes are hints, which are checked as they are used.
 *
 * Failure: a damaged entry or batch is -EIO and reported. */
#include "engine/log/log.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/log/log_internal.h"
#include "engine/segment/record_scan.h"

/* The record in batch i that has a relative offset, or with by_place holds a place. */
static int record_in(struct log *log, const struct segment_view *view, uint32_t i, const struct batch_entry *b,
                     bool by_place, uint64_t target, struct log_point *out, struct err *e)
{
    struct index_entry at = {0};
    int rc = 0;

    if (log_checks(log)) {
        rc = segment_verify(view, i, i + 1, e);
    }
    if (rc == 0) {
        rc = record_scan_find(view, (enum framing)atomic_load(&log->framing), b, by_place, target, &at, e);
    }
    *out = (struct log_point){.offset = view->base.offset + at.offset,
                              .position = view->base.position + b->position + ((int64_t)at.place - b->place)};
    return rc;
}

static struct log_point entry_point(const struct segment_view *view, const struct batch_entry *b)
{
    return (struct log_point){.offset = view->base.offset + b->offset, .position = view->base.position + b->position};
}

/* 1: found; 0: nothing in this segment. */
static int offset_in(struct log *log, const struct segment_view *view, int64_t offset, struct log_point *out,
                     struct err *e)
{
    uint64_t target = offset > view->base.offset ? (uint64_t)(offset - view->base.offset) : 0;
    struct batch_entry b;
    uint32_t i;
    int rc = segment_find_offset(view, target, &i, e);

    if (rc < 0) {
        return rc;
    }
    if (i > 0) {
        rc = segment_entry(view->seg, i - 1, &b, e);
        if (rc < 0) {
            return rc;
        }
        if (target == b.offset) {
            *out = entry_point(view, &b);
            return 1;
        }
        if (target < (uint64_t)b.offset + b.records) {
            rc = record_in(log, view, i - 1, &b, false, target, out, e);
            return rc < 0 ? rc : 1;
        }
    }
    if (i == view->batches) {
        return 0;
    }
    rc = segment_entry(view->seg, i, &b, e);
    *out = entry_point(view, &b);
    return rc < 0 ? rc : 1;
}

static int position_in(struct log *log, const struct segment_view *view, int64_t position, struct log_point *out,
                       struct err *e)
{
    uint64_t target = position > view->base.position ? (uint64_t)(position - view->base.position) : 0;
    struct batch_entry b = {0};
    uint32_t i;
    int rc = segment_find_behind(view, target, &i, &b, e);

    if (rc < 0 || i == view->batches) {
        return rc;
    }
    if (target <= b.position || b.records == 1) {
        *out = entry_point(view, &b);
        return 1;
    }
    rc = record_in(log, view, i, &b, true, b.place + (target - b.position), out, e);
    return rc < 0 ? rc : 1;
}

/* Up to which relative offset no batch before the one that holds it can be as late as ms.
 *
 * index.h's invariant, for entries and points as they were written: entries ascend in time and offset, and when a point
 * was made, an entry with the latest time so far was there. So with entry k the first that is as late as ms
 *   - no batch before entry k - 1's is as late: that entry is the latest up to its own offset, and earlier than ms;
 *   - no batch up to the last point before entry k's offset is: an entry for a batch as late as ms up to there would be
 *     entry k or one before it, and of a smaller offset.
 * What is read may have rotted, and the search been misled by what it passed. But if entry k - 1 is as it was written
 * and earlier than ms, and entry k is and is not, then k is what it should be, since the entries as written ascend. And
 * where a point's place and offset lie in one batch, that is the batch it was made in, unless both have rotted. So each
 * of the three is held against the batch that it names, and what does not hold is not used, nor what builds on it.
 * Where there is no entry k the last entry has stood at the end since the segment was opened, when its end was looked
 * at. */
static int time_floor(const struct segment_view *view, int64_t ms, uint32_t *floor, struct err *e)
{
    const struct index *ix = &view->seg->index;
    const struct index *times = &view->seg->timeindex;
    uint32_t k = timeindex_below_time(times, view->timeindex_count, ms);
    uint32_t points = view->timeindex_count > 0 ? view->index_count : 0;
    int holds = 1;

    *floor = 0;
    if (k > 0) {
        holds = segment_time_holds(view, timeindex_at(times, k - 1), e);
        *floor = holds == 1 ? timeindex_at(times, k - 1).offset : 0;
    }
    if (holds == 1 && k < view->timeindex_count) {
        holds = segment_time_holds(view, timeindex_at(times, k), e);
        points = index_below_offset(ix, points, timeindex_at(times, k).offset);
    }
    if (holds == 1 && points > 0) {
        struct index_entry point = index_at(ix, points - 1);

        holds = segment_point_holds(view, point, e);
        *floor = holds == 1 && point.offset > *floor ? point.offset : *floor;
    }
    if (holds == 0) {
        segment_report_index(view->seg, ".timeindex or .index");
    }
    return holds < 0 ? holds : 0;
}

/* The first batch as late as ms that ends behind `from`. */
static int time_in(const struct segment_view *view, int64_t ms, struct log_point from, struct log_point *out,
                   struct err *e)
{
    uint64_t from_offset = (uint64_t)(from.offset - view->base.offset);
    struct batch_entry b;
    uint32_t floor, i = 0;
    int rc = time_floor(view, ms, &floor, e);

    if (rc == 0) {
        rc = segment_find_offset(view, floor > from_offset ? floor : from_offset, &i, e);
    }
    for (i = i > 0 ? i - 1 : 0; rc == 0 && i < view->batches; i++) {
        rc = segment_entry(view->seg, i, &b, e);
        if (rc == 0 && b.last_timestamp_ms >= ms && view->base.offset + b.offset + (int64_t)b.records > from.offset) {
            *out = entry_point(view, &b);
            if (out->offset < from.offset) {
                *out = from;
            }
            return 1;
        }
    }
    return rc;
}

static int finish(struct log *log, int rc, struct log_point limit, struct log_point *out, struct err *e)
{
    if (rc < 0) {
        *out = limit;
        rc = rc == -EBADMSG ? log_report_corruption(log, e) : rc;
        return err_wrap(e, rc, "look up in %s", log->name);
    }
    if (rc == 0 || out->offset >= limit.offset) {
        *out = limit;
    }
    if (rc == 1 && out->offset < limit.offset && out->position >= limit.position) {
        *out = limit;
        return log_report_corruption(log, e);
    }
    return 0;
}

/* By offset, or by position. */
struct axis {
    int64_t (*of)(struct log_point point);
    int (*get)(struct log *log, int64_t value, struct segment_view *view, bool *found, struct err *e);
    int (*in)(struct log *log, const struct segment_view *view, int64_t value, struct log_point *out, struct err *e);
};

static int64_t offset_of(struct log_point point)
{
    return point.offset;
}

static int64_t position_of(struct log_point point)
{
    return point.position;
}

static int lookup(struct log *log, const struct axis *axis, int64_t value, struct log_point limit,
                  struct log_point *out, struct err *e)
{
    struct err local = {0};
    int64_t start = axis->of(log_start(log));
    struct segment_view view;
    bool found = true;
    int rc = log_check_online(log, e);

    e = e != NULL ? e : &local;
    value = value > start ? value : start;
    while (rc == 0 && found && value < axis->of(limit)) {
        rc = axis->get(log, value, &view, &found, e);
        if (rc == 0 && found) {
            rc = axis->in(log, &view, value, out, e);
            value = axis->of(view.end);
            log_put(&view);
        }
    }
    return finish(log, rc, limit, out, e);
}

int log_lookup_offset(struct log *log, int64_t offset, struct log_point limit, struct log_point *out, struct err *e)
{
    static const struct axis axis = {offset_of, log_get_by_offset, offset_in};

    return lookup(log, &axis, offset, limit, out, e);
}

int log_lookup_position(struct log *log, int64_t position, struct log_point limit, struct log_point *out, struct err *e)
{
    static const struct axis axis = {position_of, log_get_by_position, position_in};

    return lookup(log, &axis, position, limit, out, e);
}

int log_lookup_time(struct log *log, int64_t ms, struct log_point limit, struct log_point *out, struct err *e)
{
    struct err local = {0};
    struct log_point from = log_start(log);
    struct segment_view view;
    bool found = true;
    int rc = log_check_online(log, e);

    e = e != NULL ? e : &local;
    while (rc == 0 && found && from.offset < limit.offset) {
        rc = log_get_by_time(log, ms, from.offset, &view, &found, e);
        if (rc == 0 && found) {
            from = from.offset > view.base.offset ? from : view.base;
            rc = time_in(&view, ms, from, out, e);
            from = view.end;
            log_put(&view);
        }
    }
    return finish(log, rc, limit, out, e);
}

/* ---- the last n ---- */

/* Goes back over dense segments by arithmetic: *at moves down to where *n records lie behind it, or to the end of a
 * segment with gaps, which is returned referenced. */
static struct segment *back_over_dense(struct log *log, int64_t *at, int64_t *n)
{
    struct segment *met = NULL;
    uint32_t i;

    pthread_mutex_lock(&log->state_lock);
    for (i = log->segment_count; i > 0 && *n > 0 && met == NULL; i--) {
        struct segment *seg = log->segments[i - 1];
        int64_t records = *at - seg->base.offset;

        if (records <= 0) {
            continue;
        }
        if (seg->gaps) {
            segment_ref(seg);
            met = seg;
        } else {
            records = records < *n ? records : *n;
            *at -= records;
            *n -= records;
        }
    }
    pthread_mutex_unlock(&log->state_lock);
    return met;
}

/* Likewise within one with gaps, run by run. */
static int back_over_runs(struct log *log, struct segment *seg, int64_t *at, int64_t *n, struct err *e)
{
    struct segment_view view;
    struct batch_entry b;
    uint32_t i;
    int rc = segment_pin(seg, e);

    if (rc < 0) {
        return rc == -ESTALE ? 0 : rc; /* swapped meanwhile: the list has another one for the same range */
    }
    pthread_mutex_lock(&log->state_lock);
    log_view(seg, &view);
    pthread_mutex_unlock(&log->state_lock);
    rc = segment_find_offset(&view, (uint64_t)(*at - view.base.offset), &i, e);
    for (; rc == 0 && i > 0 && *n > 0; i--) {
        int64_t end, first, records;

        rc = segment_entry(seg, i - 1, &b, e);
        if (rc < 0) {
            break;
        }
        first = view.base.offset + b.offset;
        end = first + b.records < *at ? first + b.records : *at;
        records = end - first < *n ? end - first : *n;
        *at = end - records;
        *n -= records;
    }
    if (rc == 0 && *n > 0) {
        *at = view.base.offset;
    }
    segment_unpin(seg);
    return rc;
}

int log_lookup_last(struct log *log, int64_t n, struct log_point limit, struct log_point *out, struct err *e)
{
    struct err local = {0};
    struct log_point start = log_start(log);
    struct segment *seg;
    int64_t at = limit.offset;
    int rc = log_check_online(log, e);

    e = e != NULL ? e : &local;
    if (n <= 0) {
        *out = limit;
        return rc;
    }
    while (rc == 0 && n > 0 && at > start.offset && (seg = back_over_dense(log, &at, &n)) != NULL) {
        if (at > start.offset) {
            rc = back_over_runs(log, seg, &at, &n, e);
        }
        segment_unref(seg);
    }
    if (rc == 0 && n == 0 && at > start.offset) {
        return log_lookup_offset(log, at, limit, out, e);
    }
    *out = start;
    return finish(log, rc < 0 ? rc : 1, limit, out, e);
}
