/* engine/segment/segment_run.c: several batches into one segment at once, as a follower gets them.
 *
 * One write to `.log` for the bytes of all, one to `.batches` for their entries, then the index entries of each. None
 * is seen before all are in the files: the figures grow in a stand-in, `ahead`, which the segment catches up with.
 * Failure: the files are cut back to what the segment counts. */
#include "engine/segment/segment.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/base/limits.h"

/* A segment that can be asked where the next index entry goes, and which files it goes to. It has no files of its own
 * and is never opened, pinned or freed. */
static void look_ahead(struct segment *ahead, const struct segment *seg)
{
    memset(ahead, 0, sizeof *ahead);
    ahead->io = seg->io;
    ahead->base = seg->base;
    ahead->end = seg->end;
    ahead->batches = seg->batches;
    ahead->log_bytes = seg->log_bytes;
    ahead->first_timestamp_ms = seg->first_timestamp_ms;
    ahead->last_timestamp_ms = seg->last_timestamp_ms;
    ahead->max_timestamp_ms = seg->max_timestamp_ms;
    ahead->max_timestamp_offset = seg->max_timestamp_offset;
    ahead->index_place = seg->index_place;
    ahead->timeindex_last_ms = seg->timeindex_last_ms;
    index_init(&ahead->index, INDEX_ENTRY_BYTES, (int64_t)seg->index.capacity * INDEX_ENTRY_BYTES,
               index_count(&seg->index));
    index_init(&ahead->timeindex, TIMEINDEX_ENTRY_BYTES, (int64_t)seg->timeindex.capacity * TIMEINDEX_ENTRY_BYTES,
               index_count(&seg->timeindex));
    memcpy(ahead->fd, seg->fd, sizeof ahead->fd);
}

static int write_bytes(struct segment *seg, struct segment_batch *batches, uint32_t count)
{
    struct iovec iov[LIMIT_COPY_BATCHES];
    uint32_t place = seg->log_bytes;

    for (uint32_t i = 0; i < count; i++) {
        batches[i].entry.place = place;
        place += batches[i].entry.len;
        iov[i] = (struct iovec){(void *)(uintptr_t)batches[i].bytes, batches[i].entry.len};
    }
    segment_allocate(seg, place - seg->log_bytes);
    return io_pwritev_all(seg->io, seg->fd[SEGMENT_LOG], iov, (int)count, seg->log_bytes);
}

static int write_entries(struct segment *seg, const struct segment_batch *batches, uint32_t count)
{
    uint8_t bytes[LIMIT_COPY_BATCHES * BATCH_ENTRY_BYTES];
    struct iovec iov = {bytes, (size_t)count * BATCH_ENTRY_BYTES};

    for (uint32_t i = 0; i < count; i++) {
        batch_entry_encode_appended(&batches[i].entry, segment_unflushed(seg, seg->batches + i),
                                    bytes + (size_t)i * BATCH_ENTRY_BYTES);
    }
    return io_pwritev_all(seg->io, seg->fd[SEGMENT_BATCHES], &iov, 1, segment_file_bytes(seg, SEGMENT_BATCHES));
}

/* The index entries that are due for one, and its figures. */
static int grow_ahead(struct segment *ahead, const struct segment_batch *batch, int64_t interval_bytes)
{
    struct segment_growth growth = {.entry = batch->entry, .index_place = ahead->index_place};
    int rc = segment_append_points(ahead, batch->marks, batch->mark_count, interval_bytes, &growth);

    if (rc == 0) {
        segment_grow(ahead, &growth);
    }
    return rc;
}

int segment_append_run(struct segment *seg, struct segment_batch *batches, uint32_t count, int64_t index_interval_bytes,
                       struct segment *ahead, struct err *e)
{
    bool entered = false;
    int rc;

    assert(!atomic_load_explicit(&seg->sealed, memory_order_relaxed) && count <= LIMIT_COPY_BATCHES);
    look_ahead(ahead, seg);
    rc = write_bytes(seg, batches, count);
    if (rc == 0) {
        entered = true; /* by half, perhaps: then whole entries of it may be there */
        rc = write_entries(seg, batches, count);
    }
    if (rc == 0) {
        atomic_store_explicit(&seg->indexes_flushed, false, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = grow_ahead(ahead, &batches[i], index_interval_bytes);
    }
    return rc < 0 ? segment_append_failed(seg, rc, entered, e) : 0;
}

void segment_catch_up(struct segment *seg, const struct segment *ahead)
{
    seg->end = ahead->end;
    seg->batches = ahead->batches;
    seg->log_bytes = ahead->log_bytes;
    seg->first_timestamp_ms = ahead->first_timestamp_ms;
    seg->last_timestamp_ms = ahead->last_timestamp_ms;
    seg->max_timestamp_ms = ahead->max_timestamp_ms;
    seg->max_timestamp_offset = ahead->max_timestamp_offset;
    seg->index_place = ahead->index_place;
    seg->timeindex_last_ms = ahead->timeindex_last_ms;
    index_publish(&seg->index, index_count(&ahead->index) - index_count(&seg->index));
    index_publish(&seg->timeindex, index_count(&ahead->timeindex) - index_count(&seg->timeindex));
}
