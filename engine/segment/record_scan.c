/* engine/segment/record_scan.c: a walk over record ends inside one batch.
 *
 * The bytes of the batch and the start that its entry gives have CRCs, the sparse index has none. So its last mark at
 * or before the target is not believed: the walk begins at the mark before that one (at the batch's start if there is
 * none) and must meet the last one, place and number, before it goes on to the target. One wrong mark, whichever of the
 * two it is, makes it stray; then the walk is made again from the batch's own start.
 *
 * Failure: if that does not agree either, the batch does not hold what its entry says. */
#include "engine/segment/record_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum { SCAN_BUFFER_BYTES = 8 << 10 };

struct scan {
    const struct segment_view *view;
    enum framing framing;
    bool by_place;   /* stop at the record that holds byte `target`, else at record `target` */
    uint64_t target; /* place, or relative offset */
    uint64_t offset; /* relative, of the record at place */
    uint64_t place;
    uint64_t end; /* of the batch */
    struct index_entry mark;
    bool mark_due; /* the record at the mark is still to come */
    uint8_t *buf;
    size_t buf_bytes;
    uint8_t *grown; /* NULL while buf is the caller's */
};

/* Whether the walk may be at this record: not when it passes the mark without having met it. */
static bool agrees(struct scan *s)
{
    if (s->mark_due && s->place >= s->mark.place) {
        if (s->place != s->mark.place || s->offset != s->mark.offset) {
            return false;
        }
        s->mark_due = false;
    }
    return true;
}

/* Walks over the records in buf. 1: found; 0: s->place has moved to the first record that is not whole in it; -EBADMSG:
 * it does not agree with the mark. */
static int scan_buffer(struct scan *s, size_t len)
{
    const uint8_t *at = s->buf;

    while (len > 0) {
        size_t record_bytes;
        bool found;

        if (!agrees(s)) {
            return -EBADMSG;
        }
        record_bytes = framing_record_len(s->framing, at, len);
        found = s->by_place ? record_bytes > 0 && s->place + record_bytes > s->target : s->offset == s->target;
        if (found) {
            return s->mark_due ? -EBADMSG : 1;
        }
        if (record_bytes == 0) {
            return 0;
        }
        at += record_bytes;
        len -= record_bytes;
        s->place += record_bytes;
        s->offset++;
    }
    return 0;
}

/* A record that does not fit. */
static int scan_grow(struct scan *s, struct err *e)
{
    size_t bytes = s->buf_bytes * 8;
    uint8_t *grown = realloc(s->grown, bytes);

    if (grown == NULL) {
        return err_sys(e, -ENOMEM, "look for a record");
    }
    s->grown = grown;
    s->buf = grown;
    s->buf_bytes = bytes;
    return 0;
}

static int scan_run(struct scan *s, struct err *e)
{
    struct segment *seg = s->view->seg;
    int rc = 0;

    while (rc == 0 && s->place < s->end) {
        uint64_t left = s->end - s->place;
        uint64_t before = s->place;
        size_t len = left < s->buf_bytes ? (size_t)left : s->buf_bytes;

        rc = io_pread_all(seg->io, seg->fd[SEGMENT_LOG], s->buf, len, (int64_t)s->place);
        if (rc < 0) {
            return err_sys(e, rc, "segment %" PRId64 ": read .log", seg->base.offset);
        }
        rc = scan_buffer(s, len);
        if (rc == 0 && s->place == before) {
            rc = len < left ? scan_grow(s, e) : -EBADMSG;
        }
    }
    if (rc == 0 || rc == -EBADMSG) {
        return err_set(e, -EBADMSG, "segment %" PRId64 ": records and bytes of a batch at %" PRIu64 " do not agree",
                       seg->base.offset, s->end);
    }
    return rc < 0 ? rc : 0;
}

static bool is_inside(const struct batch_entry *b, struct index_entry mark)
{
    return mark.offset > b->offset && mark.offset - b->offset < b->records && mark.place > b->place &&
           mark.place - b->place < b->len;
}

/* The last mark at or before the target, if it is in this batch, and a start before it. False: a mark is there that
 * cannot be right. */
static bool take_marks(struct scan *s, const struct batch_entry *b)
{
    const struct index *ix = &s->view->seg->index;
    uint32_t n = s->by_place ? index_below_place(ix, s->view->index_count, s->target + 1)
                             : index_below_offset(ix, s->view->index_count, s->target + 1);
    struct index_entry before;

    if (n == 0) {
        return true;
    }
    s->mark = index_at(ix, n - 1);
    s->mark_due = is_inside(b, s->mark);
    if (!s->mark_due) {
        return s->by_place ? s->mark.place <= b->place : s->mark.offset <= b->offset;
    }
    before = n > 1 ? index_at(ix, n - 2) : (struct index_entry){0};
    if (is_inside(b, before) && before.offset < s->mark.offset && before.place < s->mark.place) {
        s->offset = before.offset;
        s->place = before.place;
    }
    return true;
}

int record_scan_find(const struct segment_view *view, enum framing framing, const struct batch_entry *b, bool by_place,
                     uint64_t target, struct index_entry *out, struct err *e)
{
    uint8_t buf[SCAN_BUFFER_BYTES];
    struct scan s = {.view = view,
                     .framing = framing,
                     .by_place = by_place,
                     .target = target,
                     .offset = b->offset,
                     .place = b->place,
                     .end = (uint64_t)b->place + b->len,
                     .buf = buf,
                     .buf_bytes = sizeof buf};
    bool good = take_marks(&s, b);
    bool marked = s.mark_due;
    int rc = scan_run(&s, e);

    if (rc == -EBADMSG && marked) {
        good = false;
        s.offset = b->offset;
        s.place = b->place;
        s.mark_due = false;
        rc = scan_run(&s, e);
    }
    if (rc == 0 && !good) {
        segment_report_index(view->seg, ".index");
    }
    free(s.grown);
    *out = (struct index_entry){.offset = (uint32_t)s.offset, .place = (uint32_t)s.place};
    return rc;
}
