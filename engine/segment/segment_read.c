/* engine/segment/segment_read.c: batch entries through the mapping, the search among them, and the check of their
 * bytes.
 *
 * An entry is decoded with its CRC each time it is looked at: a page that rotted under the mapping is told, not obeyed.
 * The bytes are read through io in pieces, so that an I/O error is an errno and not a signal. */
#include "engine/segment/segment.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <syslog.h>

#include "engine/base/crc32c.h"

enum { CHECK_BUFFER_BYTES = 256 << 10 };

int segment_entry(const struct segment *seg, uint32_t i, struct batch_entry *out, struct err *e)
{
    size_t at = BATCH_HEADER_BYTES + (size_t)i * BATCH_ENTRY_BYTES;
    int rc;

    assert(seg->batches_map != NULL && at + BATCH_ENTRY_BYTES <= seg->batches_map_bytes);
    rc = batch_entry_decode(seg->batches_map + at, out);
    return rc < 0 ? err_set(e, rc, "segment %" PRId64 ": entry %u of .batches is damaged", seg->base.offset, i) : 0;
}

enum entry_key { KEY_OFFSET, KEY_POSITION, KEY_PLACE };

static uint32_t entry_key(const struct batch_entry *b, enum entry_key key)
{
    switch (key) {
    case KEY_OFFSET:
        return b->offset;
    case KEY_POSITION:
        return b->position;
    case KEY_PLACE:
        break;
    }
    return b->place;
}

static int find(const struct segment_view *view, enum entry_key key, uint64_t value, uint32_t *out, struct err *e)
{
    uint32_t low = 0, high = view->batches;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct batch_entry b;
        int rc = segment_entry(view->seg, middle, &b, e);

        if (rc < 0) {
            return rc;
        }
        if (entry_key(&b, key) <= value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out = low;
    return 0;
}

int segment_find_offset(const struct segment_view *view, uint64_t offset, uint32_t *out, struct err *e)
{
    return find(view, KEY_OFFSET, offset, out, e);
}

int segment_find_position(const struct segment_view *view, uint64_t position, uint32_t *out, struct err *e)
{
    return find(view, KEY_POSITION, position, out, e);
}

int segment_find_place(const struct segment_view *view, uint64_t place, uint32_t *out, struct err *e)
{
    return find(view, KEY_PLACE, place, out, e);
}

/* A window that moves over `.log`. */
struct window {
    uint8_t *buf;
    size_t buf_bytes;
    uint64_t at; /* place of buf[0] */
    size_t len;
};

/* The CRC of [place, place + len), reading on up to `end` at once. */
static int window_crc(const struct segment *seg, struct window *w, uint64_t place, uint64_t len, uint64_t end,
                      uint32_t *crc)
{
    *crc = 0;
    while (len > 0) {
        size_t have;
        int rc;

        if (place >= w->at + w->len) {
            w->at = place;
            w->len = end - place < w->buf_bytes ? (size_t)(end - place) : w->buf_bytes;
            rc = io_pread_all(seg->io, seg->fd[SEGMENT_LOG], w->buf, w->len, (int64_t)place);
            if (rc < 0) {
                w->len = 0;
                return rc;
            }
        }
        have = (size_t)(w->at + w->len - place);
        have = have < len ? have : (size_t)len;
        *crc = crc32c(*crc, w->buf + (place - w->at), have);
        place += have;
        len -= have;
    }
    return 0;
}

/* *i is the entry under check: where it stops on an error. */
static int check_entries(const struct segment_view *view, uint32_t *i, uint32_t last, struct window *w, uint64_t end,
                         struct err *e)
{
    const struct segment *seg = view->seg;
    uint32_t crc;
    int rc;

    for (; *i < last; *i += 1) {
        struct batch_entry b;

        rc = segment_entry(seg, *i, &b, e);
        if (rc < 0) {
            return rc;
        }
        if ((uint64_t)b.place + b.len > end) {
            return err_set(e, -EBADMSG, "%020" PRId64 ".batches: entry %u is out of order", seg->base.offset, *i);
        }
        rc = window_crc(seg, w, b.place, b.len, end, &crc);
        if (rc < 0) {
            return err_sys(e, rc, "%020" PRId64 ".log: read at %u", seg->base.offset, b.place);
        }
        if (crc != b.crc) {
            return err_set(e, -EBADMSG,
                           "%020" PRId64 ".log: the bytes of offsets %" PRId64 " to %" PRId64
                           " (at %u, %u bytes) do not match their CRC",
                           seg->base.offset, seg->base.offset + b.offset, seg->base.offset + b.offset + b.records - 1,
                           b.place, b.len);
        }
    }
    return 0;
}

int segment_check_each(const struct segment_view *view, uint32_t first, uint32_t last, uint32_t *bad, struct err *e)
{
    struct window w = {0};
    struct batch_entry b;
    uint64_t begin, end;
    int rc;

    *bad = first;
    if (first >= last) {
        return 0;
    }
    rc = segment_entry(view->seg, first, &b, e);
    if (rc < 0) {
        return rc;
    }
    begin = b.place;
    rc = segment_entry(view->seg, last - 1, &b, e);
    if (rc < 0) {
        return rc;
    }
    end = (uint64_t)b.place + b.len;
    if (end > view->log_bytes || begin >= end) {
        return err_set(e, -EBADMSG, "%020" PRId64 ".batches: entry %u is out of order", view->base.offset, last - 1);
    }
    w.buf_bytes = end - begin < CHECK_BUFFER_BYTES ? (size_t)(end - begin) : CHECK_BUFFER_BYTES;
    w.buf = malloc(w.buf_bytes);
    if (w.buf == NULL) {
        return err_sys(e, -ENOMEM, "check segment");
    }
    rc = check_entries(view, bad, last, &w, end, e);
    free(w.buf);
    return rc;
}

int segment_check(const struct segment_view *view, uint32_t first, uint32_t last, struct err *e)
{
    uint32_t bad;

    return segment_check_each(view, first, last, &bad, e);
}

/* Notes that [first, last) hold. */
static int mark(const struct segment_view *view, uint32_t first, uint32_t last, struct err *e)
{
    struct verify *v = &view->seg->verify;
    uint32_t prefix = verify_mark(v, first, last);
    struct batch_entry b = {0};
    int rc;

    if (prefix < v->unchecked) {
        rc = segment_entry(view->seg, prefix, &b, e);
        if (rc < 0) {
            return rc;
        }
    }
    verify_set_place(v, prefix, b.place);
    return 0;
}

int segment_verify(const struct segment_view *view, uint32_t first, uint32_t last, struct err *e)
{
    const struct verify *v = &view->seg->verify;
    uint32_t from = verify_next(v, first, last);

    while (from < last) {
        uint32_t to = from + 1;
        int rc;

        while (to < last && verify_next(v, to, last) == to) {
            to++;
        }
        rc = segment_check(view, from, to, e);
        if (rc == 0) {
            rc = mark(view, from, to, e);
        }
        if (rc < 0) {
            return rc;
        }
        from = verify_next(v, to, last);
    }
    return 0;
}

int segment_find_behind(const struct segment_view *view, uint64_t position, uint32_t *i, struct batch_entry *b,
                        struct err *e)
{
    int rc = segment_find_position(view, position, i, e);

    if (rc < 0) {
        return rc;
    }
    if (*i > 0) {
        rc = segment_entry(view->seg, *i - 1, b, e);
        if (rc < 0) {
            return rc;
        }
        if ((uint64_t)b->position + b->len > position) {
            *i -= 1;
            return 0;
        }
    }
    return *i < view->batches ? segment_entry(view->seg, *i, b, e) : 0;
}

/* ---- the sparse indexes against the entries ---- */

/* The batch that holds a relative offset, and its number; 0: none. The last one is looked at first: that is where the
 * last index entries point, and an open asks for no other. */
static int holder(const struct segment_view *view, uint64_t offset, uint32_t *i, struct batch_entry *b, struct err *e)
{
    int rc;

    if (view->batches == 0) {
        return 0;
    }
    *i = view->batches - 1;
    rc = segment_entry(view->seg, *i, b, e);
    if (rc == 0 && b->offset > offset) {
        rc = segment_find_offset(view, offset, i, e);
        if (rc < 0 || *i == 0) {
            return rc;
        }
        *i -= 1;
        rc = segment_entry(view->seg, *i, b, e);
    }
    return rc < 0 ? rc : offset - b->offset < b->records;
}

int segment_point_holds(const struct segment_view *view, struct index_entry point, struct err *e)
{
    struct batch_entry b;
    uint32_t i;
    int rc = holder(view, point.offset, &i, &b, e);

    if (rc <= 0) {
        return rc;
    }
    return point.place >= b.place && point.place - b.place < b.len &&
           (point.place == b.place) == (point.offset == b.offset);
}

int segment_time_holds(const struct segment_view *view, struct timeindex_entry time, struct err *e)
{
    struct batch_entry b;
    uint32_t i;
    int rc = holder(view, time.offset, &i, &b, e);

    if (rc <= 0) {
        return rc;
    }
    if (time.offset != b.offset || time.timestamp_ms != b.last_timestamp_ms) {
        return 0;
    }
    if (i == 0) {
        return 1;
    }
    rc = segment_entry(view->seg, i - 1, &b, e);
    return rc < 0 ? rc : b.last_timestamp_ms < time.timestamp_ms;
}

void segment_report_index(struct segment *seg, const char *which)
{
    if (!atomic_exchange(&seg->index_reported, true)) {
        log_line(LOG_WARNING, "%s: segment %020" PRId64 ": an entry of %s is wrong, and is done without",
                 seg->env->log_name, seg->base.offset, which);
    }
}
