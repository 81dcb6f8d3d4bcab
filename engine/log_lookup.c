/* engine/log_lookup.c: which record is at an offset, at a position, at a time, or the last but n.
 *
 * Each goes down the same stairs: the list of segments, a binary search in `.batches` (for a time narrowed by the two
 * indexes first), the sparse index inside the batch, and from its mark a scan for record ends of at most about
 * index.interval.bytes. The batch is checked before its bytes are obeyed.
 *
 * Failure: a damaged entry or batch is -EIO and reported. */
#include "engine/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/log_internal.h"

enum { SCAN_BUFFER_BYTES = 8 << 10 };

/* A scan for record ends from a place that is a record's start. */
struct scan {
    const struct segment_view *view;
    enum framing framing;
    bool by_place;   /* stop at the record that holds byte `target`, else at record `target` */
    uint64_t target; /* place, or relative offset */
    uint64_t offset; /* relative, of the record at place */
    uint64_t place;
    uint64_t end; /* of the batch */
    uint8_t *buf;
    size_t buf_bytes;
    uint8_t *grown; /* NULL while buf is the caller's */
};

/* Walks over the records in buf. 1: found; 0: s->place has moved to the first record that is not whole in it. */
static int scan_buffer(struct scan *s, size_t len)
{
    size_t at = 0;
    int found = 0;

    while (at < len) {
        size_t record_bytes;

        if (!s->by_place && s->offset == s->target) {
            found = 1;
            break;
        }
        record_bytes = framing_record_len(s->framing, s->buf + at, len - at);
        if (record_bytes == 0) {
            break;
        }
        if (s->by_place && s->place + at + record_bytes > s->target) {
            found = 1;
            break;
        }
        at += record_bytes;
        s->offset++;
    }
    s->place += at;
    return found;
}

/* A record that does not fit. */
static int scan_grow(struct scan *s)
{
    size_t bytes = s->buf_bytes * 8;
    uint8_t *grown = realloc(s->grown, bytes);

    if (grown == NULL) {
        return -ENOMEM;
    }
    s->grown = grown;
    s->buf = grown;
    s->buf_bytes = bytes;
    return 0;
}

static int scan_run(struct scan *s, struct err *e)
{
    struct segment *seg = s->view->seg;

    while (s->place < s->end) {
        uint64_t left = s->end - s->place;
        uint64_t before = s->place;
        size_t len = left < s->buf_bytes ? (size_t)left : s->buf_bytes;
        int rc = io_pread_all(seg->io, seg->fd[SEGMENT_LOG], s->buf, len, (int64_t)s->place);

        if (rc < 0) {
            return err_sys(e, rc, "segment %" PRId64 ": read .log", seg->base.offset);
        }
        if (scan_buffer(s, len) == 1) {
            return 0;
        }
        if (s->place == before) {
            rc = len < left ? scan_grow(s) : -EBADMSG;
            if (rc < 0) {
                break;
            }
        }
    }
    return err_set(e, -EBADMSG, "segment %" PRId64 ": records and bytes of a batch at %" PRIu64 " do not agree",
                   seg->base.offset, s->end);
}

/* Moves the scan to the last index point in the batch at or before what is sought. */
static void scan_from_index(struct scan *s, const struct batch_entry *b)
{
    const struct index *ix = &s->view->seg->index;
    struct index_entry entry;
    uint32_t n = s->by_place ? index_below_place(ix, s->view->index_count, s->target + 1)
                             : index_below_offset(ix, s->view->index_count, s->target + 1);

    if (n == 0) {
        return;
    }
    entry = index_at(ix, n - 1);
    if (entry.offset >= b->offset && entry.place >= b->place && entry.place < s->end) {
        s->offset = entry.offset;
        s->place = entry.place;
    }
}

/* The record in batch i that has a relative offset, or with by_place holds a place. */
static int record_in(struct log *log, const struct segment_view *view, uint32_t i, const struct batch_entry *b,
                     bool by_place, uint64_t target, struct log_point *out, struct err *e)
{
    uint8_t buf[SCAN_BUFFER_BYTES];
    struct scan s = {.view = view,
                     .framing = (enum framing)atomic_load(&log->framing),
                     .by_place = by_place,
                     .target = target,
                     .offset = b->offset,
                     .place = b->place,
                     .end = (uint64_t)b->place + b->len,
                     .buf = buf,
                     .buf_bytes = sizeof buf};
    int rc = 0;

    if (atomic_load_explicit(&log->env->check_crcs, memory_order_relaxed)) {
        rc = segment_verify(view, i, i + 1, e);
    }
    if (rc == 0) {
        scan_from_index(&s, b);
        rc = scan_run(&s, e);
    }
    free(s.grown);
    *out = (struct log_point){.offset = view->base.offset + (int64_t)s.offset,
                              .position = view->base.position + b->position + (int64_t)(s.place - b->place)};
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

/* Up to which relative offset no batch can be as late as ms; index.h says why. */
static uint32_t time_floor(const struct segment_view *view, int64_t ms)
{
    const struct index *ix = &view->seg->index;
    const struct index *times = &view->seg->timeindex;
    uint32_t k = timeindex_below_time(times, view->timeindex_count, ms);
    uint32_t points = view->index_count;
    uint32_t floor = k > 0 ? timeindex_at(times, k - 1).offset : 0;

    if (k < view->timeindex_count) {
        points = index_below_offset(ix, points, timeindex_at(times, k).offset);
    }
    if (points > 0) {
        uint32_t offset = index_at(ix, points - 1).offset;

        floor = offset > floor ? offset : floor;
    }
    return floor;
}

/* The first batch as late as ms that ends behind `from`. */
static int time_in(const struct segment_view *view, int64_t ms, struct log_point from, struct log_point *out,
                   struct err *e)
{
    int64_t floor = view->base.offset + time_floor(view, ms);
    struct batch_entry b;
    uint32_t i;
    int rc;

    floor = floor > from.offset ? floor : from.offset;
    rc = segment_find_offset(view, (uint64_t)(floor - view->base.offset), &i, e);
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

int log_lookup_offset(struct log *log, int64_t offset, struct log_point limit, struct log_point *out, struct err *e)
{
    struct err local = {0};
    struct log_point start = log_start(log);
    struct segment_view view;
    bool found = true;
    int rc = log_check_online(log, e);

    e = e != NULL ? e : &local;
    offset = offset > start.offset ? offset : start.offset;
    while (rc == 0 && found && offset < limit.offset) {
        rc = log_get_by_offset(log, offset, &view, &found, e);
        if (rc == 0 && found) {
            rc = offset_in(log, &view, offset, out, e);
            offset = view.end.offset;
            log_put(&view);
        }
    }
    return finish(log, rc, limit, out, e);
}

int log_lookup_position(struct log *log, int64_t position, struct log_point limit, struct log_point *out, struct err *e)
{
    struct err local = {0};
    struct log_point start = log_start(log);
    struct segment_view view;
    bool found = true;
    int rc = log_check_online(log, e);

    e = e != NULL ? e : &local;
    position = position > start.position ? position : start.position;
    while (rc == 0 && found && position < limit.position) {
        rc = log_get_by_position(log, position, &view, &found, e);
        if (rc == 0 && found) {
            rc = position_in(log, &view, position, out, e);
            position = view.end.position;
            log_put(&view);
        }
    }
    return finish(log, rc, limit, out, e);
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
 * compacted segment, which is returned referenced. */
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
        if (seg->compacted) {
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

/* Likewise within a compacted one, run by run. */
static int back_in_compacted(struct segment *seg, int64_t *at, int64_t *n, struct err *e)
{
    struct segment_view view;
    struct batch_entry b;
    uint32_t i;
    int rc = segment_pin(seg, e);

    if (rc < 0) {
        return rc == -ESTALE ? 0 : rc; /* swapped meanwhile: the list has another one for the same range */
    }
    pthread_mutex_lock(&seg->log->state_lock);
    log_view(seg, &view);
    pthread_mutex_unlock(&seg->log->state_lock);
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
            rc = back_in_compacted(seg, &at, &n, e);
        }
        segment_unref(seg);
    }
    if (rc == 0 && n == 0 && at > start.offset) {
        return log_lookup_offset(log, at, limit, out, e);
    }
    *out = start;
    return finish(log, rc < 0 ? rc : 1, limit, out, e);
}
