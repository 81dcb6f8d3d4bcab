/* engine/log/log_read.c: bytes for readers: extents of `.log`, and the runs of records that they are made of.
 *
 * In a dense segment place and position differ by a constant, so an extent reaches from any position to the segment's
 * end in one piece, and when all of it has been checked nothing is looked up at all. In one with gaps it reaches over
 * neighbouring entries that have the same distance of position and place.
 *
 * Failure: bytes that do not match their CRC are -EIO, are reported once, and are not shown. */
#include "engine/log/log.h"

#include <assert.h>
#include <errno.h>

#include "engine/log/log_internal.h"

/* What is asked for, within one segment, relative to its base. */
struct range {
    uint64_t from; /* position */
    uint64_t to;   /* position, behind the last */
    uint64_t max;  /* bytes */
};

/* A piece of one `.log`. */
struct piece {
    uint64_t position; /* relative */
    uint64_t place;
    uint64_t len;
};

int log_verify_places(const struct segment_view *view, uint64_t place, uint64_t len, struct err *e)
{
    uint32_t first = 0, last = 0;
    int rc;

    if (verify_done(&view->seg->verify, (uint32_t)(place + len))) {
        return 0;
    }
    rc = segment_find_place(view, place, &first, e);
    if (rc == 0) {
        rc = segment_find_place(view, place + len - 1, &last, e);
    }
    if (rc < 0) {
        return rc;
    }
    return segment_verify(view, first > 0 ? first - 1 : 0, last, e);
}

static int dense_piece(const struct segment_view *view, const struct range *range, bool check, struct piece *out,
                       struct err *e)
{
    uint64_t end = range->to < view->log_bytes ? range->to : view->log_bytes;

    *out = (struct piece){.position = range->from, .place = range->from};
    if (range->from >= end) {
        return 0;
    }
    out->len = end - range->from < range->max ? end - range->from : range->max;
    return check ? log_verify_places(view, out->place, out->len, e) : 0;
}

static int piece_of_runs(const struct segment_view *view, const struct range *range, bool check, struct piece *out,
                         struct err *e)
{
    struct batch_entry b = {0};
    uint32_t first, i;
    uint64_t distance, skip;
    int rc = segment_find_behind(view, range->from, &first, &b, e);

    *out = (struct piece){0};
    if (rc < 0 || first == view->batches || b.position >= range->to) {
        return rc;
    }
    skip = range->from > b.position ? range->from - b.position : 0;
    distance = (uint64_t)b.position - b.place;
    *out = (struct piece){.position = b.position + skip, .place = b.place + skip};
    i = first;
    do {
        uint64_t end = (uint64_t)b.position + b.len;

        out->len = (end < range->to ? end : range->to) - out->position;
        i++;
        if (out->len >= range->max || end >= range->to || i == view->batches) {
            break;
        }
        rc = segment_entry(view->seg, i, &b, e);
        if (rc < 0) {
            return rc;
        }
    } while ((uint64_t)b.position - b.place == distance && b.position < range->to);
    out->len = out->len < range->max ? out->len : range->max;
    return check ? segment_verify(view, first, i, e) : 0;
}

static int find_piece(struct log *log, const struct segment_view *view, const struct range *range, struct piece *out,
                      struct err *e)
{
    bool check = log_checks(log);
    int rc;

    if (view->gaps) {
        rc = piece_of_runs(view, range, check, out, e);
    } else {
        rc = dense_piece(view, range, check, out, e);
    }
    return rc == -EBADMSG ? log_report_corruption(log, e) : rc;
}

/* Where reading starts and ends, given what was asked for. */
static void clamp(struct log *log, int64_t *position, int64_t *limit)
{
    pthread_mutex_lock(&log->state_lock);
    if (*position < log->start.position) {
        *position = log->start.position;
    }
    if (*limit > log->end.position) {
        *limit = log->end.position;
    }
    pthread_mutex_unlock(&log->state_lock);
}

/* Finds the segment: log_get_by_position() or log_get_left(). */
typedef int segment_get(struct log *log, int64_t position, struct segment_view *out, bool *found, struct err *e);

static int extent_between(struct log *log, segment_get *get, int64_t position, int64_t limit, size_t max,
                          struct log_extent *out, struct err *e)
{
    struct segment_view view;
    struct piece piece;
    bool found;
    int rc;

    while (position < limit && max > 0) {
        struct range range = {.max = max};

        rc = get(log, position, &view, &found, e);
        if (rc < 0 || !found || view.base.position >= limit) {
            if (rc == 0 && found) {
                log_put(&view);
            }
            return rc;
        }
        range.from = position > view.base.position ? (uint64_t)(position - view.base.position) : 0;
        range.to = (uint64_t)(limit - view.base.position);
        rc = find_piece(log, &view, &range, &piece, e);
        if (rc == 0 && piece.len > 0) {
            *out = (struct log_extent){.seg = view.seg,
                                       .log = log,
                                       .fd = view.seg->fd[SEGMENT_LOG],
                                       .place = (int64_t)piece.place,
                                       .position = view.base.position + (int64_t)piece.position,
                                       .len = (size_t)piece.len};
            return 1;
        }
        position = view.end.position;
        log_put(&view);
        if (rc < 0) {
            return err_wrap(e, rc, "read %s", log->name);
        }
    }
    return log_check_online(log, e);
}

int log_extent_at(struct log *log, int64_t position, int64_t limit, size_t max, struct log_extent *out, struct err *e)
{
    struct err local = {0};

    clamp(log, &position, &limit);
    return extent_between(log, log_get_by_position, position, limit, max, out, e != NULL ? e : &local);
}

int log_extent_left_at(struct log *log, int64_t position, int64_t limit, size_t max, struct log_extent *out,
                       struct err *e)
{
    struct err local = {0};

    clamp(log, &position, &limit);
    return extent_between(log, log_get_left, position, limit, max, out, e != NULL ? e : &local);
}

int log_run_extent_at(struct log *log, const struct log_run *run, int64_t position, struct log_extent *out,
                      struct err *e)
{
    struct err local = {0};
    int64_t end = run->base.position + run->len;

    assert(position >= run->base.position && position < end);
    return extent_between(log, log_get_by_position, position, end, (size_t)(end - position), out,
                          e != NULL ? e : &local);
}

int log_extent_read(const struct log_extent *extent, void *out, struct err *e)
{
    struct io *io = extent->log->env->io;
    int rc = io_pread_all(io, extent->fd, out, extent->len, extent->place);

    if (rc != 0) {
        return err_sys(e, rc, "read %zu bytes of %s at place %lld", extent->len, extent->log->name,
                       (long long)extent->place);
    }
    return 0;
}

void log_extent_release(struct log_extent *extent)
{
    segment_unpin(extent->seg);
    segment_unref(extent->seg);
    extent->seg = NULL;
    extent->fd = -1;
}

int log_run_at(struct log *log, int64_t position, int64_t limit, struct log_run *out, struct err *e)
{
    struct err local = {0};
    struct segment_view view;
    struct batch_entry b = {0};
    uint64_t from;
    uint32_t i;
    bool found;
    int rc;

    e = e != NULL ? e : &local;
    clamp(log, &position, &limit);
    while (position < limit) {
        rc = log_get_by_position(log, position, &view, &found, e);
        if (rc < 0 || !found) {
            return rc;
        }
        from = position > view.base.position ? (uint64_t)(position - view.base.position) : 0;
        rc = segment_find_behind(&view, from, &i, &b, e);
        if (rc == 0 && i < view.batches) {
            *out = (struct log_run){
                .base = {.offset = view.base.offset + b.offset, .position = view.base.position + b.position},
                .len = b.len,
                .records = b.records,
                .timestamp_ms = b.last_timestamp_ms,
                .entry = b};
            log_put(&view);
            return out->base.position < limit;
        }
        position = view.end.position;
        log_put(&view);
        if (rc < 0) {
            rc = rc == -EBADMSG ? log_report_corruption(log, e) : rc;
            return err_wrap(e, rc, "read %s", log->name);
        }
    }
    return log_check_online(log, e);
}
