/* engine/segment_build.c: a compacted segment, made beside the log under `.cleaned`.
 *
 * Happy path: begin, add runs in ascending order, finish (which syncs everything), then log_replace(). Nobody else sees
 * it meanwhile. Failure at any step: abort unlinks what there is; a crash leaves `.cleaned` files, which the next open
 * removes. */
#include "engine/log_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int segment_build_begin(struct log *log, struct log_point base, struct segment **out, struct err *e)
{
    struct segment *seg = segment_new(log, base);
    int rc;

    if (seg == NULL) {
        return err_sys(e, -ENOMEM, "new segment");
    }
    seg->compacted = true;
    rc = segment_create(seg, ".cleaned", false, e);
    if (rc < 0) {
        segment_unref(seg);
        return rc;
    }
    *out = seg;
    return 0;
}

int segment_build_add(struct segment *seg, struct batch_entry *b, const struct iovec *iov, int iovcnt,
                      const struct framing_mark *marks, uint32_t mark_count, int64_t index_interval_bytes,
                      struct err *e)
{
    struct segment_growth growth;
    int rc;

    assert(seg->base.offset + b->offset >= seg->end.offset && seg->base.position + b->position >= seg->end.position);
    if ((uint64_t)b->offset + b->records > INT32_MAX || (uint64_t)b->position + b->len > INT32_MAX ||
        segment_file_bytes(seg, SEGMENT_BATCHES) + BATCH_ENTRY_BYTES > LIMIT_COMPACTED_BATCHES_BYTES) {
        return err_set(e, -EFBIG, "segment %020" PRId64 ": more than one segment can hold", seg->base.offset);
    }
    rc = segment_append(seg, b, iov, iovcnt, marks, mark_count, index_interval_bytes, &growth, e);
    if (rc == 0) {
        segment_grow(seg, &growth);
    }
    return rc;
}

static int sync_all(struct segment *seg, struct err *e)
{
    int i, rc = 0;

    for (i = 0; i < SEGMENT_FILES && rc == 0; i++) {
        rc = seg->io->fsync(seg->io, seg->fd[i]);
    }
    /* All four names, before any of them becomes `.swap`: a crash must find either `.cleaned` ones or all of `.swap`.
     */
    if (rc == 0) {
        rc = seg->io->fsync(seg->io, seg->dirfd);
    }
    return rc < 0 ? err_sys(e, rc, "fsync segment %020" PRId64, seg->base.offset) : 0;
}

/* Another one each time that the segment is compacted: its `.log` has a later mtime than the one before it. */
static int take_generation(struct segment *seg, struct err *e)
{
    struct stat st;
    int rc = seg->io->fstat(seg->io, seg->fd[SEGMENT_LOG], &st);

    if (rc < 0) {
        return err_sys(e, rc, "stat segment %020" PRId64, seg->base.offset);
    }
    seg->generation = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
    seg->mtime_ms = (int64_t)(seg->generation / 1000000);
    return 0;
}

int segment_build_finish(struct segment *seg, struct log_point end, struct err *e)
{
    int rc = segment_finish_timeindex(seg, e);

    assert(end.offset >= seg->end.offset && end.position >= seg->end.position);
    if (rc == 0) {
        rc = segment_write_range(seg, end, e);
    }
    if (rc == 0) {
        rc = sync_all(seg, e);
    }
    if (rc == 0) {
        rc = take_generation(seg, e);
    }
    if (rc < 0) {
        return rc;
    }
    segment_seal(seg);
    rc = segment_remap(seg, e);
    if (rc < 0) {
        return rc;
    }
    seg->end = end;
    atomic_store(&seg->flushed, seg->log_bytes);
    atomic_store(&seg->indexes_flushed, true);
    segment_unpin(seg);
    return 0;
}

void segment_build_abort(struct segment *seg)
{
    if ((atomic_load(&seg->pins) & ~SEGMENT_CLOSED) != 0) {
        segment_unpin(seg);
    }
    atomic_store(&seg->retired, true); /* unlinked with the last reference */
    segment_unref(seg);
}
