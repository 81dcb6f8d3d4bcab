/* engine/recover/recover_index.c: the sparse indexes of a segment that was found.
 *
 * They are not synced with the data, so after an unclean stop their ends may be missing or zero, each file's at another
 * place. What is taken over must be ascending and in the segment, its ends must be about batches as they are, and both
 * must agree: no batch between the last time index entry and the last index point may be later than that entry
 * (log_lookup.c relies on it, and looks at what it uses of the middle). From the last point on both are made again from
 * `.batches` and, for batches longer than an interval, a scan of their bytes.
 *
 * Failure: a full disk ends those of the active segment early, both at the same batch, and empties those of a closed
 * one; look-ups walk over entries then. */
#include "engine/recover/recover.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/log/log_internal.h"

static void set_count(struct index *ix, uint32_t count)
{
    atomic_store_explicit(&ix->count, count, memory_order_release);
}

/* Where entries end (relative offset), and the last one's timestamp. */
static int entries_end(const struct segment *seg, uint64_t *end_offset, int64_t *end_ms, struct err *e)
{
    struct batch_entry b;
    int rc = 0;

    *end_offset = 0;
    *end_ms = INDEX_NO_TIMESTAMP;
    if (seg->batches > 0) {
        rc = segment_entry(seg, seg->batches - 1, &b, e);
        *end_offset = (uint64_t)b.offset + b.records;
        *end_ms = b.last_timestamp_ms;
    }
    return rc;
}

/* ---- trusted ---- */

/* 1 or 0 as they say. A damaged entry of `.batches` is for who reads it: here it only means that nothing can be told.
 */
static bool point_holds(const struct segment_view *view, uint32_t i)
{
    return segment_point_holds(view, index_at(&view->seg->index, i), NULL) != 0;
}

static bool time_holds(const struct segment_view *view, uint32_t i)
{
    return segment_time_holds(view, timeindex_at(&view->seg->timeindex, i), NULL) != 0;
}

/* Whether the last index point will do: the active segment's is where the figures go on from; a closed one's shortens
 * the way within a batch, no more, and need only lie in the segment. */
static bool last_point_holds(const struct segment_view *view, uint64_t end_offset)
{
    struct index_entry last = index_at(&view->seg->index, view->index_count - 1);

    if (atomic_load(&view->seg->sealed)) {
        return last.offset < end_offset && last.place < view->log_bytes;
    }
    return point_holds(view, view->index_count - 1);
}

/* Whether the last entries of both agree with the batches, and none is missing altogether. A closed segment's
 * `.timeindex` ends with the largest timestamp there is: if it is below the last batch's, its rebuilding was broken
 * off.
 */
static bool ends_hold(struct segment *seg, uint64_t end_offset, int64_t end_ms)
{
    bool sealed = atomic_load(&seg->sealed);
    struct segment_view view;
    uint32_t times;

    log_view(seg, &view);
    times = view.timeindex_count;
    if ((view.index_count > 0 && !last_point_holds(&view, end_offset)) ||
        (times > 0 && !time_holds(&view, times - 1))) {
        return false;
    }
    if (times > 0) {
        return !sealed || timeindex_at(&seg->timeindex, times - 1).timestamp_ms >= end_ms;
    }
    return view.index_count == 0 && (seg->batches == 0 || !sealed);
}

/* The running figures as they were at the last index point. */
static void take_figures(struct segment *seg)
{
    uint32_t points = index_count(&seg->index);
    uint32_t times = index_count(&seg->timeindex);

    seg->index_place = points > 0 ? index_at(&seg->index, points - 1).place : 0;
    seg->max_timestamp_ms = INDEX_NO_TIMESTAMP;
    seg->max_timestamp_offset = 0;
    if (times > 0) {
        struct timeindex_entry last = timeindex_at(&seg->timeindex, times - 1);

        seg->max_timestamp_ms = last.timestamp_ms;
        seg->max_timestamp_offset = last.offset;
    }
    seg->timeindex_last_ms = seg->max_timestamp_ms;
}

/* The batch of the last index point; 0 if there is none. */
static int last_point_batch(struct segment *seg, uint32_t *i, struct err *e)
{
    struct segment_view view;
    uint32_t points = index_count(&seg->index);
    int rc;

    *i = 0;
    if (points == 0) {
        return 0;
    }
    log_view(seg, &view);
    rc = segment_find_place(&view, index_at(&seg->index, points - 1).place, i, e);
    *i = *i > 0 ? *i - 1 : 0;
    return rc;
}

/* Takes the timestamps of the batches behind the last index point into account, without writing. */
static int catch_up(struct segment *seg, struct err *e)
{
    struct segment_growth growth = {0};
    uint32_t i;
    int rc = last_point_batch(seg, &i, e);

    growth.index_place = seg->index_place;
    for (; rc == 0 && i < seg->batches; i++) {
        rc = segment_entry(seg, i, &growth.entry, e);
        if (rc == 0) {
            segment_grow_indexes(seg, &growth);
        }
    }
    return rc;
}

/* ---- not trusted ---- */

static uint32_t ascending_points(const struct segment *seg, uint64_t end_offset)
{
    struct index_entry last = {0};
    uint32_t count = index_count(&seg->index);
    uint32_t i;

    for (i = 0; i < count; i++) {
        struct index_entry entry = index_at(&seg->index, i);

        if (entry.offset <= last.offset || entry.place <= last.place || entry.offset >= end_offset ||
            entry.place >= seg->log_bytes) {
            break;
        }
        last = entry;
    }
    return i;
}

static uint32_t ascending_times(const struct segment *seg, uint64_t end_offset)
{
    struct timeindex_entry last = {.timestamp_ms = INDEX_NO_TIMESTAMP};
    uint32_t count = index_count(&seg->timeindex);
    uint32_t i;

    for (i = 0; i < count; i++) {
        struct timeindex_entry entry = timeindex_at(&seg->timeindex, i);

        /* A first entry of zeros is what a lost write leaves; where it is meant, it is made again. */
        if (entry.timestamp_ms <= last.timestamp_ms || entry.offset >= end_offset ||
            (i > 0 ? entry.offset <= last.offset : entry.timestamp_ms == 0 && entry.offset == 0)) {
            break;
        }
        last = entry;
    }
    return i;
}

/* What is at the end after that must be about batches as they are: all that follows is made from there. */
static void drop_wrong_ends(struct segment *seg)
{
    struct segment_view view;
    uint32_t count;

    log_view(seg, &view);
    for (count = index_count(&seg->index); count > 0 && !point_holds(&view, count - 1); count--) {
        set_count(&seg->index, count - 1);
    }
    for (count = index_count(&seg->timeindex); count > 0 && !time_holds(&view, count - 1); count--) {
        set_count(&seg->timeindex, count - 1);
    }
}

/* The first batch in (the last time index entry's, point_batch] that is later than that entry; point_batch + 1: none.
 */
static int first_later(struct segment *seg, uint32_t point_batch, uint32_t *out, struct batch_entry *b, struct err *e)
{
    struct segment_view view;
    struct timeindex_entry last = {.timestamp_ms = INDEX_NO_TIMESTAMP};
    uint32_t times = index_count(&seg->timeindex);
    uint32_t i = 0;
    int rc = 0;

    if (times > 0) {
        last = timeindex_at(&seg->timeindex, times - 1);
        log_view(seg, &view);
        rc = segment_find_offset(&view, last.offset, &i, e);
    }
    for (; rc == 0 && i <= point_batch; i++) {
        rc = segment_entry(seg, i, b, e);
        if (rc == 0 && b->last_timestamp_ms > last.timestamp_ms) {
            break;
        }
    }
    *out = i;
    return rc;
}

/* Shortens both until they agree. */
static int agree(struct segment *seg, struct err *e)
{
    struct batch_entry b = {0};
    uint32_t point_batch, later, times;
    int rc;

    while (index_count(&seg->index) > 0) {
        rc = last_point_batch(seg, &point_batch, e);
        if (rc == 0) {
            rc = segment_entry(seg, point_batch, &b, e);
        }
        if (rc < 0) {
            return rc;
        }
        times = timeindex_below_offset(&seg->timeindex, index_count(&seg->timeindex), (uint64_t)b.offset + 1);
        set_count(&seg->timeindex, times);
        rc = first_later(seg, point_batch, &later, &b, e);
        if (rc < 0 || later > point_batch) {
            return rc;
        }
        times = index_below_place(&seg->index, index_count(&seg->index), b.place);
        set_count(&seg->index, times < index_count(&seg->index) ? times : times - 1);
    }
    set_count(&seg->timeindex, 0);
    return 0;
}

/* ---- making anew ---- */

/* Where records start inside a batch, for the sparse index. */
static int scan_marks(struct segment *seg, const struct log_config *config, const struct batch_entry *b,
                      struct framing_mark *marks, uint32_t *count, struct err *e)
{
    int64_t interval_bytes = config->index_interval_bytes;
    struct framing_state state = {0};
    struct framing_result result;
    uint8_t *bytes;
    int rc;

    *count = 0;
    if (b->len <= interval_bytes || b->len > LIMIT_BATCH_BYTES) {
        return 0;
    }
    bytes = malloc(b->len);
    if (bytes == NULL) {
        return err_sys(e, -ENOMEM, "rebuild index");
    }
    rc = io_pread_all(seg->io, seg->fd[SEGMENT_LOG], bytes, b->len, b->place);
    if (rc < 0) {
        err_sys(e, rc, "rebuild index of segment %020" PRId64, seg->base.offset);
    } else if (framing_scan(config->framing, &state, bytes, b->len, UINT64_MAX, &result, NULL, (uint32_t)interval_bytes,
                            marks, count, LIMIT_BATCH_MARKS) < 0) {
        *count = 0; /* not our framing: the batch's own start must do */
    }
    free(bytes);
    return rc;
}

static int cut_to_counts(struct segment *seg, struct err *e)
{
    static const enum segment_file kinds[] = {SEGMENT_INDEX, SEGMENT_TIMEINDEX};
    int i, rc = 0;

    for (i = 0; i < 2 && rc == 0; i++) {
        rc = seg->io->ftruncate(seg->io, seg->fd[kinds[i]], segment_file_bytes(seg, kinds[i]));
    }
    return rc < 0 ? err_sys(e, rc, "cut the indexes of segment %020" PRId64, seg->base.offset) : 0;
}

/* Durably: entries of records that were cut must not come back beside the ones that take their place, and would pass
 * for good then. */
static int forget_rest(struct segment *seg, struct err *e)
{
    int rc = cut_to_counts(seg, e);

    if (rc == 0) {
        atomic_store(&seg->indexes_flushed, false);
        rc = segment_flush_indexes(seg, e);
    }
    return rc;
}

/* Goes over the batches from the last index point on. */
static int extend(struct segment *seg, const struct log_config *config, struct err *e)
{
    struct framing_mark *marks = malloc(LIMIT_BATCH_MARKS * sizeof *marks);
    bool full_disk = false;
    uint32_t i = 0, count = 0;
    int rc = marks == NULL ? err_sys(e, -ENOMEM, "rebuild index") : last_point_batch(seg, &i, e);

    for (; rc == 0 && i < seg->batches; i++) {
        struct segment_growth growth = {.index_place = seg->index_place};

        rc = segment_entry(seg, i, &growth.entry, e);
        if (rc == 0 && !full_disk) {
            rc = scan_marks(seg, config, &growth.entry, marks, &count, e);
            if (rc == 0) {
                rc = segment_append_points(seg, marks, count, config->index_interval_bytes, &growth);
            }
            if (err_is_full_disk(rc)) {
                full_disk = true;
                growth.index_entries = 0;
                growth.timeindex_entries = 0;
                rc = cut_to_counts(seg, e);
            }
        }
        if (rc == 0) {
            segment_grow_indexes(seg, &growth);
        }
    }
    if (rc == 0 && atomic_load(&seg->sealed)) {
        rc = full_disk ? -ENOSPC : segment_finish_timeindex(seg, e);
        if (err_is_full_disk(rc)) {
            /* A closed segment's must end with the latest time: without, they are made again at the next open. */
            set_count(&seg->index, 0);
            set_count(&seg->timeindex, 0);
            rc = cut_to_counts(seg, e);
        }
    }
    free(marks);
    return rc;
}

/* From what has been taken over to whole indexes, mapped anew where the mapping had the old size. */
static int complete(struct segment *seg, const struct log_config *config, struct err *e)
{
    bool sealed = atomic_load(&seg->sealed);
    int rc = 0;

    take_figures(seg);
    rc = cut_to_counts(seg, e);
    if (rc == 0) {
        rc = extend(seg, config, e);
    }
    if (rc < 0) {
        return rc;
    }
    atomic_store(&seg->indexes_flushed, false);
    index_unmap(&seg->index, seg->io);
    index_unmap(&seg->timeindex, seg->io);
    rc = index_map(&seg->index, seg->io, seg->fd[SEGMENT_INDEX], sealed, e);
    return rc < 0 ? rc : index_map(&seg->timeindex, seg->io, seg->fd[SEGMENT_TIMEINDEX], sealed, e);
}

/* Forgets both. */
static void drop(struct segment *seg)
{
    int64_t capacity = atomic_load(&seg->env->index_bytes);

    index_unmap(&seg->index, seg->io);
    index_unmap(&seg->timeindex, seg->io);
    index_init(&seg->index, INDEX_ENTRY_BYTES, capacity, 0);
    index_init(&seg->timeindex, TIMEINDEX_ENTRY_BYTES, capacity, 0);
}

int recover_index_look(struct segment *seg, bool *whole, struct err *e)
{
    uint64_t end_offset;
    int64_t end_ms;
    int rc = entries_end(seg, &end_offset, &end_ms, e);

    *whole = rc == 0 && ends_hold(seg, end_offset, end_ms);
    if (!*whole) {
        return rc;
    }
    take_figures(seg);
    return atomic_load(&seg->sealed) ? 0 : catch_up(seg, e);
}

/* Takes over what holds of the indexes of a segment that was checked: their counts say how much. */
static int take_over(struct segment *seg, struct err *e)
{
    uint64_t end_offset;
    int64_t end_ms;
    int rc = entries_end(seg, &end_offset, &end_ms, e);

    if (rc < 0) {
        return rc;
    }
    set_count(&seg->index, ascending_points(seg, end_offset));
    set_count(&seg->timeindex, ascending_times(seg, end_offset));
    drop_wrong_ends(seg);
    return agree(seg, e);
}

int recover_index_plan(struct segment *seg, bool anew, struct err *e)
{
    struct batch_entry b;
    uint32_t i = 0;
    int rc = 0;

    if (!anew) {
        rc = take_over(seg, e);
        if (rc == 0) {
            rc = last_point_batch(seg, &i, e);
        }
    }
    for (; rc == 0 && i < seg->batches; i++) {
        rc = segment_entry(seg, i, &b, e);
        if (rc == 0 && (uint64_t)b.place + b.len > seg->log_bytes) {
            rc = err_set(e, -EBADMSG, "segment %020" PRId64 ": an entry reaches past `.log`", seg->base.offset);
        }
    }
    return rc;
}

/* Whether more is in the files than was taken over. */
static int are_longer(struct segment *seg, bool *longer, struct err *e)
{
    static const enum segment_file kinds[] = {SEGMENT_INDEX, SEGMENT_TIMEINDEX};
    struct stat st;

    *longer = false;
    for (int i = 0; i < 2; i++) {
        int rc = seg->io->fstat(seg->io, seg->fd[kinds[i]], &st);

        if (rc < 0) {
            return err_sys(e, rc, "stat the indexes of segment %020" PRId64, seg->base.offset);
        }
        *longer = *longer || st.st_size > segment_file_bytes(seg, kinds[i]);
    }
    return 0;
}

int recover_index_mend(struct segment *seg, const struct log_config *config, bool anew, struct err *e)
{
    bool longer;
    int rc;

    if (anew) {
        drop(seg);
        rc = complete(seg, config, e);
        if (rc < 0) {
            /* What is half made must not pass for whole at the next open. */
            set_count(&seg->index, 0);
            set_count(&seg->timeindex, 0);
            (void)cut_to_counts(seg, NULL);
        }
        /* Nobody will look at a segment below the recovery point again: on the disk now. */
        return rc == 0 ? segment_flush(seg, seg->log_bytes, e) : rc;
    }
    rc = are_longer(seg, &longer, e);
    if (rc == 0 && longer) {
        rc = forget_rest(seg, e);
    }
    return rc == 0 ? complete(seg, config, e) : rc;
}
