/* engine/segment/segment_append.c: one batch into one segment's files.
 *
 * The order is the crash order: bytes to `.log`, then the entry to `.batches`, then what the sparse indexes get. Only
 * segment_grow() makes it visible. A failed write leaves nothing, over a power cut too: all four files are cut back to
 * the sizes that their counts say, and an entry that goes goes durably. Two system calls in the usual case, and no
 * memory is allocated. */
#include "engine/segment/segment.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "engine/base/limits.h"

/* Which of the batch's record starts the sparse index shall point at: its own, if enough bytes have passed, then marks
 * at that distance. */
static uint32_t choose_points(const struct segment *seg, const struct batch_entry *b, const struct framing_mark *marks,
                              uint32_t mark_count, int64_t interval_bytes, struct index_entry *out, uint32_t *last)
{
    uint32_t room = seg->index.capacity - index_count(&seg->index);
    uint32_t n = 0;
    uint32_t i;

    *last = seg->index_place;
    if (b->place > *last && b->place - *last >= interval_bytes && n < room) {
        out[n++] = (struct index_entry){.offset = b->offset, .place = b->place};
        *last = b->place;
    }
    for (i = 0; i < mark_count && n < room && n < LIMIT_BATCH_MARKS + 1; i++) {
        uint32_t place = b->place + marks[i].place;

        if (place > *last && place - *last >= interval_bytes) {
            out[n++] = (struct index_entry){.offset = b->offset + marks[i].record, .place = place};
            *last = place;
        }
    }
    return n;
}

void segment_choose_points(const struct segment *seg, const struct framing_mark *marks, uint32_t mark_count,
                           int64_t index_interval_bytes, struct segment_growth *growth, struct segment_points *out)
{
    const struct batch_entry *b = &growth->entry;
    struct timeindex_entry *time = &out->time;
    uint32_t last_place;
    uint32_t n = choose_points(seg, b, marks, mark_count, index_interval_bytes, out->points, &last_place);
    bool timed;

    *time = (struct timeindex_entry){.timestamp_ms = seg->max_timestamp_ms, .offset = seg->max_timestamp_offset};
    if (b->last_timestamp_ms > seg->max_timestamp_ms) {
        *time = (struct timeindex_entry){.timestamp_ms = b->last_timestamp_ms, .offset = b->offset};
    }
    timed = time->timestamp_ms > seg->timeindex_last_ms;
    /* A point promises that the latest time so far is in `.timeindex`: where there is no room for it, there is none. */
    if (n == 0 || (timed && index_full(&seg->timeindex))) {
        return;
    }
    growth->index_entries = n;
    growth->index_place = last_place;
    growth->timeindex_entries = timed;
    growth->timeindex_last_ms = time->timestamp_ms;
}

int segment_append_points(struct segment *seg, const struct framing_mark *marks, uint32_t mark_count,
                          int64_t index_interval_bytes, struct segment_growth *growth)
{
    struct segment_points due;
    int rc;

    segment_choose_points(seg, marks, mark_count, index_interval_bytes, growth, &due);
    if (growth->index_entries == 0) {
        return 0;
    }
    atomic_store_explicit(&seg->indexes_flushed, false, memory_order_relaxed);
    rc = index_write(&seg->index, seg->io, seg->fd[SEGMENT_INDEX], due.points, growth->index_entries);
    if (rc == 0 && growth->timeindex_entries > 0) {
        rc = timeindex_write(&seg->timeindex, seg->io, seg->fd[SEGMENT_TIMEINDEX], &due.time);
    }
    return rc;
}

/* Cuts all files to what is counted. */
static int cut_back(struct segment *seg)
{
    int i, rc;

    seg->allocated = 0;
    for (i = 0; i < SEGMENT_FILES; i++) {
        rc = seg->io->ftruncate(seg->io, seg->fd[i], segment_file_bytes(seg, (enum segment_file)i));
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* `entered`: the entry was written, or a part of it. Then its end in `.batches` is synced before anybody is told: else
 * the power may go, the cut be lost, and what was refused be there again; or half an entry lie behind what was flushed,
 * in a segment that is closed by then. Bytes without an entry are nothing, and cut at the next open. */
int segment_append_failed(struct segment *seg, int rc, bool entered, struct err *e)
{
    int cut_rc;

    if (!err_is_passing(rc)) {
        return err_sys(e, -EIO, "write segment %" PRId64 " (%s)", seg->base.offset, strerror(-rc));
    }
    cut_rc = cut_back(seg);
    if (cut_rc == 0 && entered) {
        cut_rc = seg->io->fdatasync(seg->io, seg->fd[SEGMENT_BATCHES]);
    }
    if (cut_rc < 0) {
        return err_sys(e, -EIO, "cut segment %" PRId64 " back (%s)", seg->base.offset, strerror(-cut_rc));
    }
    return err_sys(e, rc, "write segment %" PRId64, seg->base.offset);
}

uint32_t segment_unflushed(const struct segment *seg, uint32_t count)
{
    return seg->on_disk > 0 ? count + 1 - seg->on_disk : BATCH_UNFLUSHED_MANY;
}

int segment_append(struct segment *seg, struct batch_entry *b, const struct iovec *iov, int iovcnt,
                   const struct framing_mark *marks, uint32_t mark_count, int64_t index_interval_bytes,
                   struct segment_growth *growth, struct err *e)
{
    uint8_t bytes[BATCH_ENTRY_BYTES];
    struct iovec entry = {.iov_base = bytes, .iov_len = sizeof bytes};
    int rc;

    assert(!atomic_load_explicit(&seg->sealed, memory_order_relaxed));
    b->place = seg->log_bytes;
    *growth = (struct segment_growth){.entry = *b, .index_place = seg->index_place};
    segment_allocate(seg, b->len);
    rc = io_pwritev_all(seg->io, seg->fd[SEGMENT_LOG], iov, iovcnt, b->place);
    if (rc < 0) {
        return segment_append_failed(seg, rc, false, e);
    }
    batch_entry_encode_appended(b, segment_unflushed(seg, seg->batches), bytes);
    rc = io_pwritev_all(seg->io, seg->fd[SEGMENT_BATCHES], &entry, 1, segment_file_bytes(seg, SEGMENT_BATCHES));
    if (rc == 0) {
        rc = segment_append_points(seg, marks, mark_count, index_interval_bytes, growth);
    }
    if (rc < 0) {
        rc = segment_append_failed(seg, rc, true, e);
        growth->left = rc == -EIO;
    }
    return rc;
}

void segment_grow_indexes(struct segment *seg, const struct segment_growth *growth)
{
    const struct batch_entry *b = &growth->entry;

    if (growth->index_entries > 0) {
        index_publish(&seg->index, growth->index_entries);
        seg->index_place = growth->index_place;
    }
    if (growth->timeindex_entries > 0) {
        index_publish(&seg->timeindex, growth->timeindex_entries);
        seg->timeindex_last_ms = growth->timeindex_last_ms;
    }
    if (b->last_timestamp_ms > seg->max_timestamp_ms) {
        seg->max_timestamp_ms = b->last_timestamp_ms;
        seg->max_timestamp_offset = b->offset;
    }
}

void segment_grow(struct segment *seg, const struct segment_growth *growth)
{
    const struct batch_entry *b = &growth->entry;

    segment_grow_indexes(seg, growth);
    if (seg->batches == 0) {
        seg->first_timestamp_ms = b->last_timestamp_ms;
    }
    seg->last_timestamp_ms = b->last_timestamp_ms;
    seg->batches++;
    atomic_store_explicit(&seg->log_bytes, seg->log_bytes + b->len, memory_order_release);
    seg->end.offset = seg->base.offset + b->offset + b->records;
    seg->end.position = seg->base.position + b->position + b->len;
}

int segment_finish_timeindex(struct segment *seg, struct err *e)
{
    struct timeindex_entry entry = {.timestamp_ms = seg->max_timestamp_ms, .offset = seg->max_timestamp_offset};
    int rc;

    if (entry.timestamp_ms <= seg->timeindex_last_ms || index_full(&seg->timeindex)) {
        return 0;
    }
    atomic_store_explicit(&seg->indexes_flushed, false, memory_order_relaxed);
    rc = timeindex_write(&seg->timeindex, seg->io, seg->fd[SEGMENT_TIMEINDEX], &entry);
    if (rc < 0) {
        return segment_append_failed(seg, rc, false, e);
    }
    index_publish(&seg->timeindex, 1);
    seg->timeindex_last_ms = entry.timestamp_ms;
    return 0;
}
