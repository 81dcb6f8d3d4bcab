/* engine/segment/segment_cut.c: the end of a segment that nobody else looks at, cut off in place.
 *
 * Two steps, with whatever must be durable first between them: segment_measure() and segment_set_figures() make readers
 * see less, segment_cut_files() makes the files shorter. A mapping reaches behind the end of its file as that of any
 * active segment does, and nobody looks there.
 * Failure of the second: the files may be cut or not, and the log goes offline. */
#include "engine/segment/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

bool segment_is_private(const struct segment *seg)
{
    return atomic_load(&seg->refs) == 1 && !atomic_load(&seg->shown);
}

void segment_figures(const struct segment *seg, struct segment_figures *out)
{
    *out = (struct segment_figures){
        .end = seg->end,
        .batches = seg->batches,
        .log_bytes = seg->log_bytes,
        .first_timestamp_ms = seg->first_timestamp_ms,
        .last_timestamp_ms = seg->last_timestamp_ms,
        .max_timestamp_ms = seg->max_timestamp_ms,
        .max_timestamp_offset = seg->max_timestamp_offset,
        .index_place = seg->index_place,
        .timeindex_last_ms = seg->timeindex_last_ms,
        .index_count = index_count(&seg->index),
        .timeindex_count = index_count(&seg->timeindex),
    };
}

void segment_set_figures(struct segment *seg, const struct segment_figures *figures)
{
    uint32_t flushed = atomic_load(&seg->flushed);

    seg->end = figures->end;
    seg->batches = figures->batches;
    atomic_store(&seg->log_bytes, figures->log_bytes);
    seg->first_timestamp_ms = figures->first_timestamp_ms;
    seg->last_timestamp_ms = figures->last_timestamp_ms;
    seg->max_timestamp_ms = figures->max_timestamp_ms;
    seg->max_timestamp_offset = figures->max_timestamp_offset;
    seg->index_place = figures->index_place;
    seg->timeindex_last_ms = figures->timeindex_last_ms;
    atomic_store_explicit(&seg->index.count, figures->index_count, memory_order_release);
    atomic_store_explicit(&seg->timeindex.count, figures->timeindex_count, memory_order_release);
    if (flushed > figures->log_bytes) {
        atomic_store(&seg->flushed, figures->log_bytes);
    }
}

int segment_measure(const struct segment_view *view, uint32_t batches, struct segment_figures *out, struct err *e)
{
    const struct segment *seg = view->seg;
    struct batch_entry b = {0};
    uint64_t end_offset = 0;

    *out = (struct segment_figures){.end = view->base,
                                    .batches = batches,
                                    .first_timestamp_ms = INDEX_NO_TIMESTAMP,
                                    .last_timestamp_ms = INDEX_NO_TIMESTAMP,
                                    .max_timestamp_ms = INDEX_NO_TIMESTAMP,
                                    .timeindex_last_ms = INDEX_NO_TIMESTAMP};
    for (uint32_t i = 0; i < batches; i++) {
        int rc = segment_entry(seg, i, &b, e);

        if (rc < 0) {
            return rc;
        }
        if (i == 0) {
            out->first_timestamp_ms = b.last_timestamp_ms;
        }
        if (b.last_timestamp_ms > out->max_timestamp_ms) {
            out->max_timestamp_ms = b.last_timestamp_ms;
            out->max_timestamp_offset = b.offset;
        }
        out->last_timestamp_ms = b.last_timestamp_ms;
    }
    if (batches > 0) {
        end_offset = (uint64_t)b.offset + b.records;
        out->log_bytes = b.place + b.len;
        out->end = (struct log_point){view->base.offset + (int64_t)end_offset,
                                      view->base.position + b.position + (int64_t)b.len};
    }
    /* What a point or a time says of batches before it goes on to be so. */
    out->index_count = index_below_offset(&seg->index, view->index_count, end_offset);
    out->timeindex_count = timeindex_below_offset(&seg->timeindex, view->timeindex_count, end_offset);
    if (out->index_count > 0) {
        out->index_place = index_at(&seg->index, out->index_count - 1).place;
    }
    if (out->timeindex_count > 0) {
        out->timeindex_last_ms = timeindex_at(&seg->timeindex, out->timeindex_count - 1).timestamp_ms;
    }
    return 0;
}

int segment_cut_files(struct segment *seg, struct err *e)
{
    int rc = 0;

    verify_cut(&seg->verify, seg->batches);
    seg->allocated = 0;
    /* Entries first: one that outlives its bytes would only be found not to hold, but need not be there at all. */
    for (int i = SEGMENT_FILES; i > 0 && rc == 0; i--) {
        int kind = i - 1;

        rc = seg->io->ftruncate(seg->io, seg->fd[kind], segment_file_bytes(seg, (enum segment_file)kind));
        if (rc == 0) {
            rc = seg->io->fsync(seg->io, seg->fd[kind]);
        }
    }
    return rc < 0 ? err_sys(e, rc, "cut segment %020" PRId64, seg->base.offset) : 0;
}
