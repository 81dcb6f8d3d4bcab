/* engine/recover/recover_segment.c: one segment's `.log` and `.batches`: what of them holds.
 *
 * A trusted segment is asked for its sizes, header and last entry only. In another one each entry above the recovery
 * point must decode, follow the one before it, and match its bytes' CRC; the first that does not ends the segment. Here
 * things are only looked at: recover.c decides whether to cut.
 *
 * Failure: what must hold (trusted, ranged, or below the recovery point) and does not is -EBADMSG. */
#include "engine/recover/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "engine/base/bugs.h"
#include "engine/log/log_internal.h"

/* Where the next entry must begin, relative. */
struct cursor {
    uint64_t offset;
    uint64_t position;
    uint64_t place;
};

static int bad(struct err *e, const struct segment *seg, const char *what)
{
    return err_set(e, -EBADMSG, "%020" PRId64 ".batches: %s", seg->base.offset, what);
}

static int bad_log(struct err *e, const struct segment *seg, const char *what)
{
    return err_set(e, -EBADMSG, "%020" PRId64 ".log: %s", seg->base.offset, what);
}

static bool follows(const struct segment *seg, const struct cursor *at, const struct batch_entry *b)
{
    bool next = seg->gaps ? b->offset >= at->offset && b->position >= at->position
                          : b->offset == at->offset && b->position == at->position;

    return next && b->place == at->place && b->len > 0 && b->records > 0 &&
           (uint64_t)b->offset + b->records <= INT32_MAX && (uint64_t)b->position + b->len <= INT32_MAX &&
           (uint64_t)b->place + b->len <= seg->log_bytes;
}

static void advance(struct cursor *at, const struct batch_entry *b)
{
    at->offset = (uint64_t)b->offset + b->records;
    at->position = (uint64_t)b->position + b->len;
    at->place = (uint64_t)b->place + b->len;
}

static void set_header(struct segment *seg, const struct segment_found *found)
{
    seg->base.position = found->header.base_position;
    seg->gaps = (found->header.flags & BATCH_HEADER_GAPS) != 0;
    seg->producers = (found->header.flags & BATCH_HEADER_PRODUCERS) != 0;
    seg->ranged = found->header.end_offset >= 0;
    seg->generation = seg->ranged ? found->mtime_ns : 0;
    seg->end = seg->base;
}

/* Makes the figures end behind entry `count` - 1, whose end is `at`. */
static int set_figures(struct segment *seg, const struct segment_found *found, uint32_t count, const struct cursor *at,
                       struct recover_load *load, struct err *e)
{
    const struct epochs *epochs = load->epochs;
    struct batch_entry b;
    int rc = 0;

    seg->batches = count;
    seg->log_bytes = (uint32_t)at->place;
    seg->end = (struct log_point){.offset = seg->base.offset + (int64_t)at->offset,
                                  .position = seg->base.position + (int64_t)at->position};
    if (seg->ranged) {
        if (found->header.end_offset < seg->end.offset || found->header.end_position < seg->end.position) {
            return bad(e, seg, "its entries reach past the end in its header");
        }
        seg->end = (struct log_point){.offset = found->header.end_offset, .position = found->header.end_position};
    }
    if (count > 0) {
        rc = segment_entry(seg, 0, &b, e);
        if (rc == 0) {
            seg->first_timestamp_ms = b.last_timestamp_ms;
            load->epochs_agree = epochs_agree(epochs, seg->base.offset + b.offset, b.leader_epoch);
            rc = segment_entry(seg, count - 1, &b, e);
        }
        if (rc == 0) {
            seg->last_timestamp_ms = b.last_timestamp_ms;
            load->epochs_agree =
                load->epochs_agree && epochs_agree(epochs, seg->base.offset + b.offset, b.leader_epoch);
        }
    }
    return rc;
}

/* ---- trusted ---- */

static int look_at(struct segment *seg, const struct segment_found *found, struct recover_load *load, struct err *e)
{
    uint32_t count = seg->batches;
    uint32_t log_bytes = seg->log_bytes;
    struct cursor at = {0};
    struct batch_entry b;
    int rc;

    if (found->bytes_left[SEGMENT_BATCHES] != 0) {
        return bad(e, seg, "it ends within an entry");
    }
    if (count > 0) {
        rc = segment_entry(seg, count - 1, &b, e);
        if (rc < 0) {
            return rc;
        }
        at = (struct cursor){.offset = b.offset, .position = b.position, .place = b.place};
        if (!follows(seg, &at, &b) || (!seg->gaps && b.position != b.place)) {
            return bad_log(e, seg, "it is shorter than its last entry says, or the entry is damaged");
        }
        advance(&at, &b);
    }
    rc = set_figures(seg, found, count, &at, load, e);
    load->trim = load->last && log_bytes > at.place;
    verify_init(&seg->verify, count);
    atomic_store(&seg->flushed, seg->log_bytes);
    atomic_store(&seg->indexes_flushed, true);
    return rc;
}

/* ---- above the recovery point ---- */

/* The number of entries that lie below the recovery point. One that does not decode counts as above: if it is not, the
 * check that starts before it will say so. */
static uint32_t entries_below(const struct segment *seg, int64_t recovery_point)
{
    int64_t target = recovery_point - seg->base.offset;
    uint32_t low = 0, high = seg->batches;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct batch_entry b;

        if (segment_entry(seg, middle, &b, NULL) == 0 && (int64_t)b.offset + b.records <= target) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The end of the entries from `first` on that decode and follow each other. */
static uint32_t check_order(struct segment *seg, uint32_t first, const struct cursor *from, struct err *e)
{
    struct cursor at = *from;
    struct batch_entry b;
    uint32_t i;

    for (i = first; i < seg->batches; i++) {
        if (segment_entry(seg, i, &b, e) < 0) {
            return i;
        }
        if (!follows(seg, &at, &b)) {
            err_set(e, 0, "segment %020" PRId64 ": entry %u does not follow the one before it, or `.log` is too short",
                    seg->base.offset, i);
            return i;
        }
        advance(&at, &b);
        if (b.producer_id >= 0 && !seg->producers) {
            seg->producers = true;
            seg->header_due = true;
        }
    }
    return i;
}

static int cursor_behind(const struct segment *seg, uint32_t count, struct cursor *at, struct err *e)
{
    struct batch_entry b;
    int rc = 0;

    *at = (struct cursor){0};
    if (count > 0) {
        rc = segment_entry(seg, count - 1, &b, e);
        if (rc == 0) {
            advance(at, &b);
        }
    }
    return rc;
}

static int check(struct segment *seg, const struct segment_found *found, struct recover_load *load, struct err *e)
{
    struct err why = {0};
    uint32_t all = seg->batches;
    uint32_t log_bytes = seg->log_bytes;
    uint32_t first = entries_below(seg, load->recovery_point);
    struct segment_view view;
    struct cursor from, at;
    uint32_t holds;
    int rc = cursor_behind(seg, first, &from, e);

    if (rc < 0) {
        return rc;
    }
    if (from.place > seg->log_bytes) {
        return bad_log(e, seg, "it is shorter than what was flushed of it");
    }
    if (!seg->gaps && from.position != from.place) {
        return bad(e, seg, "the last entry below the recovery point is damaged");
    }
    holds = check_order(seg, first, &from, &why);
    log_view(seg, &view);
    view.batches = holds;
    rc = segment_check_each(&view, first, holds, &holds, &why);
    if (rc < 0 && rc != -EBADMSG) {
        return err_set(e, rc, "%s", why.text);
    }
    rc = cursor_behind(seg, holds, &at, e);
    if (rc == 0) {
        rc = set_figures(seg, found, holds, &at, load, e);
    }
    if (rc < 0) {
        return rc;
    }
    if (seg->ranged && (holds < all || found->bytes_left[SEGMENT_BATCHES] != 0)) {
        return err_set(e, -EBADMSG, "%s",
                       why.text[0] != '\0' ? why.text : "a segment with the end of its range ends within an entry");
    }
    load->trim = holds < all || log_bytes > at.place || found->bytes_left[SEGMENT_BATCHES] != 0;
    snprintf(load->reason, sizeof load->reason, "%s", why.text);
    verify_init(&seg->verify, first);
    atomic_store(&seg->flushed, BUG(recovery_point_ahead) ? seg->log_bytes : (uint32_t)from.place);
    return 0;
}

/* ---- both ---- */

/* Whether the segment begins where it must. */
static int check_header(struct segment *seg, const struct segment_found *found, const struct recover_load *load,
                        struct err *e)
{
    if (!found->has_header) {
        return bad(e, seg, "its header is missing or damaged");
    }
    if (found->header.base_offset != seg->base.offset || found->header.base_position < 0) {
        return bad(e, seg, "its header belongs to another segment");
    }
    if (load->expected != NULL && (load->expected->offset != found->header.base_offset ||
                                   load->expected->position != found->header.base_position)) {
        return err_set(e, -EBADMSG,
                       "segment %020" PRId64 ": the one before it ends at offset %" PRId64 ", position %" PRId64
                       ", but it begins at position %" PRId64,
                       seg->base.offset, load->expected->offset, load->expected->position, found->header.base_position);
    }
    return 0;
}

static int open_one(struct segment *seg, const struct recover_files *files, const struct recover_load *load,
                    struct segment_found *found, struct err *e)
{
    unsigned needed = 1u << SEGMENT_LOG | 1u << SEGMENT_BATCHES;

    if ((files->present & needed) != needed) {
        return bad(e, seg, "it or its `.log` is missing");
    }
    return segment_open_found(seg, load->trusted && !load->last, found, e);
}

int recover_segment(struct log *log, const struct recover_files *files, struct recover_load *load, struct err *e)
{
    struct segment_found found = {0};
    struct segment *seg = segment_new(&log->segment_env, (struct log_point){.offset = files->base_offset});
    int rc;

    load->seg = NULL;
    load->trim = false;
    load->epochs_agree = true;
    load->reason[0] = '\0';
    if (seg == NULL) {
        return err_sys(e, -ENOMEM, "new segment");
    }
    rc = open_one(seg, files, load, &found, e);
    if (rc < 0) {
        goto err_after_new;
    }
    rc = check_header(seg, &found, load, e);
    if (rc == 0) {
        set_header(seg, &found);
        rc = load->trusted ? look_at(seg, &found, load, e) : check(seg, &found, load, e);
    }
    if (rc < 0) {
        segment_unpin(seg);
        goto err_after_new;
    }
    load->seg = seg;
    return 0;

err_after_new:
    segment_unref(seg);
    if (rc == -EBADMSG && !load->trusted && files->base_offset >= load->recovery_point) {
        /* Nothing of it was ever promised: the log ends before it. */
        snprintf(load->reason, sizeof load->reason, "%s", e != NULL ? e->text : "");
        return 0;
    }
    return rc;
}

int recover_segment_trim(struct segment *seg, struct err *e)
{
    static const enum segment_file kinds[] = {SEGMENT_LOG, SEGMENT_BATCHES};
    struct io *io = seg->io;
    int i, rc = 0;

    for (i = 0; i < 2 && rc == 0; i++) {
        rc = io->ftruncate(io, seg->fd[kinds[i]], segment_file_bytes(seg, kinds[i]));
        if (rc == 0) {
            rc = io->fsync(io, seg->fd[kinds[i]]);
        }
    }
    if (rc == 0 && seg->batches == 0 && !seg->ranged) {
        segment_set_mtime(seg, seg->mtime_ms); /* as it was found, not that of this cut */
    }
    return rc < 0 ? err_sys(e, rc, "cut segment %020" PRId64, seg->base.offset) : 0;
}
