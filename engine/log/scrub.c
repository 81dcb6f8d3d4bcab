/* engine/log/scrub.c: closed segments are read again and their CRCs checked, a little at a time, so that bytes that rot
 * are known while another replica still has them right.
 *
 * It goes through the log by offset and starts over behind the last closed segment. What does not match is reported and
 * passed by, so that the rest is checked too; reads of it are refused where they are made (segment_verify). One thread
 * at a time scrubs a log. */
#include "engine/log/log.h"

#include <errno.h>

#include "engine/log/log_internal.h"

/* Counts from entry `first` on what is to be read now: whole batches up to max_bytes, one at least. */
static int choose(const struct segment_view *view, uint32_t first, size_t max_bytes, uint32_t *last, int64_t *bytes,
                  struct err *e)
{
    struct batch_entry b;

    *bytes = 0;
    for (*last = first; *last < view->batches; (*last)++) {
        int rc = segment_entry(view->seg, *last, &b, e);

        if (rc < 0) {
            /* A damaged entry ends what is checked now; alone it is what is found. */
            return *last > first ? 0 : rc;
        }
        if (*last > first && (uint64_t)*bytes + b.len > max_bytes) {
            break;
        }
        *bytes += b.len;
    }
    return 0;
}

/* The first entry that holds something at or behind the relative offset `from`; view->batches: none. */
static int find_first(const struct segment_view *view, uint64_t from, uint32_t *first, struct err *e)
{
    struct batch_entry b;
    int rc = segment_find_offset(view, from, first, e);

    if (rc < 0 || *first == 0) {
        return rc;
    }
    rc = segment_entry(view->seg, *first - 1, &b, e);
    if (rc == 0 && (uint64_t)b.offset + b.records > from) {
        (*first)--;
    }
    return rc;
}

/* Where scrubbing goes on once entries before `last` were looked at: right behind them, so that a damaged entry that
 * follows is met and told. */
static int64_t offset_behind(const struct segment_view *view, uint32_t last)
{
    struct batch_entry b;

    if (last < view->batches && segment_entry(view->seg, last - 1, &b, NULL) == 0) {
        return view->base.offset + b.offset + b.records;
    }
    return view->end.offset;
}

/* Checks some of one segment from scrub_offset on and moves that on. Returns the bytes read. */
static int64_t scrub_segment(struct log *log, const struct segment_view *view, size_t max_bytes, struct err *e)
{
    int64_t from = log->scrub_offset > view->base.offset ? log->scrub_offset - view->base.offset : 0;
    uint32_t first;
    uint32_t last = 0;
    int64_t bytes = 0;
    int rc = find_first(view, (uint64_t)from, &first, e);

    if (rc == 0) {
        rc = choose(view, first, max_bytes, &last, &bytes, e);
    }
    if (rc < 0 || first == view->batches) {
        /* Entries cannot be told apart any more: the rest of the segment is passed by. */
        log->scrub_offset = view->end.offset;
        return rc;
    }
    log->scrub_offset = offset_behind(view, last);
    rc = segment_check(view, first, last, e);
    return rc < 0 ? rc : bytes;
}

/* One step: some bytes of the next closed segment. *done: behind the last one. */
static int64_t step(struct log *log, size_t max_bytes, bool *done, struct err *e)
{
    struct segment_view view;
    bool found;
    int64_t rc = log_get_by_offset(log, log->scrub_offset, &view, &found, e);

    *done = rc == 0 && !found;
    if (rc < 0 || !found) {
        return rc;
    }
    if (!atomic_load(&view.seg->sealed)) {
        *done = true;
    } else {
        rc = scrub_segment(log, &view, max_bytes, e);
    }
    log_put(&view);
    return rc;
}

int64_t log_scrub(struct log *log, size_t max_bytes, struct err *e)
{
    struct err local = {""};
    bool from_start = log->scrub_offset == 0;
    int64_t bytes = 0;
    bool done = false;
    int64_t rc = log_check_online(log, e);

    if (rc < 0) {
        return rc;
    }
    while (rc >= 0 && !done && (uint64_t)bytes < max_bytes) {
        rc = step(log, max_bytes - (size_t)bytes, &done, &local);
        bytes += rc > 0 ? rc : 0;
        if (done) {
            log->scrub_offset = 0;
            /* Nothing was left behind the last time's end: then this time starts over. */
            done = bytes > 0 || from_start;
            from_start = true;
        }
    }
    if (rc < 0) {
        err_set(e, (int)rc, "scrub %s: %s", log->name, local.text);
    }
    if (rc == -EBADMSG) {
        log_report_corruption(log, &local);
    }
    return rc < 0 ? rc : bytes;
}
