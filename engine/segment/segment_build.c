/* engine/segment/segment_build.c: a compacted segment, made beside the log under `.cleaned`.
 *
 * Happy path: begin, add runs in ascending order, finish (which syncs everything), then log_replace(). Nobody else sees
 * it meanwhile, so the order of its writes means nothing: each file's are gathered, since runs may be a few bytes each.
 * Failure at any step: abort unlinks what there is; a crash leaves `.cleaned` files, which the next open removes. */
#include "engine/segment/segment_build.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What is not written yet of one file. */
struct buffer {
    int64_t at; /* where in the file it goes */
    size_t len;
    uint8_t bytes[LIMIT_BUILD_BUFFER_BYTES];
};

struct segment_buffers {
    struct buffer of[SEGMENT_FILES];
};

/* Writes what waits, and `more` behind it. */
static int write_out(struct segment *seg, enum segment_file kind, const void *more, size_t more_len)
{
    struct buffer *buf = &seg->building->of[kind];
    struct iovec iov[] = {{buf->bytes, buf->len}, {(void *)(uintptr_t)more, more_len}};
    int rc = io_pwritev_all(seg->io, seg->fd[kind], iov, more_len > 0 ? 2 : 1, buf->at);

    if (rc == 0) {
        buf->at += (int64_t)(buf->len + more_len);
        buf->len = 0;
    }
    return rc;
}

static int put(struct segment *seg, enum segment_file kind, const void *bytes, size_t len)
{
    struct buffer *buf = &seg->building->of[kind];

    if (buf->len + len > sizeof buf->bytes) {
        return write_out(seg, kind, bytes, len);
    }
    memcpy(buf->bytes + buf->len, bytes, len);
    buf->len += len;
    return 0;
}

static int put_points(struct segment *seg, const struct segment_growth *growth, const struct segment_points *due)
{
    uint8_t point[INDEX_ENTRY_BYTES];
    uint8_t time[TIMEINDEX_ENTRY_BYTES];
    int rc = 0;

    for (uint32_t i = 0; i < growth->index_entries && rc == 0; i++) {
        index_entry_encode(&due->points[i], point);
        rc = put(seg, SEGMENT_INDEX, point, sizeof point);
    }
    if (rc == 0 && growth->timeindex_entries > 0) {
        timeindex_entry_encode(&due->time, time);
        rc = put(seg, SEGMENT_TIMEINDEX, time, sizeof time);
    }
    return rc;
}

static int write_error(const struct segment *seg, int rc, struct err *e)
{
    if (!err_is_passing(rc)) {
        return err_sys(e, -EIO, "write segment %020" PRId64 " (%s)", seg->base.offset, strerror(-rc));
    }
    return err_sys(e, rc, "write segment %020" PRId64, seg->base.offset);
}

int segment_build_begin(struct segment_env *env, struct log_point base, const char *suffix, struct segment **out,
                        struct err *e)
{
    struct segment *seg = segment_new(env, base);
    int rc = -ENOMEM;

    if (seg == NULL) {
        return err_sys(e, -ENOMEM, "new segment");
    }
    seg->gaps = true;
    seg->building = malloc(sizeof *seg->building);
    if (seg->building == NULL) {
        err_sys(e, rc, "new segment");
        goto err_after_new;
    }
    for (int i = 0; i < SEGMENT_FILES; i++) {
        seg->building->of[i].at = i == SEGMENT_BATCHES ? BATCH_HEADER_BYTES : 0;
        seg->building->of[i].len = 0;
    }
    rc = segment_create(seg, suffix, false, e);
    if (rc < 0) {
        goto err_after_malloc;
    }
    *out = seg;
    return 0;

err_after_malloc:
    free(seg->building);
err_after_new:
    segment_unref(seg);
    return rc;
}

int segment_build_add(struct segment *seg, struct batch_entry *b, const void *bytes, const struct framing_mark *marks,
                      uint32_t mark_count, int64_t index_interval_bytes, struct err *e)
{
    struct segment_growth growth;
    struct segment_points due;
    uint8_t entry[BATCH_ENTRY_BYTES];
    int rc;

    assert(seg->base.offset + b->offset >= seg->end.offset && seg->base.position + b->position >= seg->end.position);
    if ((uint64_t)b->offset + b->records > INT32_MAX || (uint64_t)b->position + b->len > INT32_MAX ||
        segment_file_bytes(seg, SEGMENT_BATCHES) + BATCH_ENTRY_BYTES > LIMIT_COMPACTED_BATCHES_BYTES) {
        return err_set(e, -EFBIG, "segment %020" PRId64 ": more than one segment can hold", seg->base.offset);
    }
    b->place = seg->log_bytes;
    growth = (struct segment_growth){.entry = *b, .index_place = seg->index_place};
    batch_entry_encode(b, entry);
    segment_choose_points(seg, marks, mark_count, index_interval_bytes, &growth, &due);
    rc = put(seg, SEGMENT_LOG, bytes, b->len);
    if (rc == 0) {
        rc = put(seg, SEGMENT_BATCHES, entry, sizeof entry);
    }
    if (rc == 0) {
        rc = put_points(seg, &growth, &due);
    }
    if (rc < 0) {
        return write_error(seg, rc, e);
    }
    seg->producers = seg->producers || b->producer_id >= 0;
    segment_grow(seg, &growth);
    return 0;
}

static int write_rest(struct segment *seg, struct err *e)
{
    int i, rc = 0;

    for (i = 0; i < SEGMENT_FILES && rc == 0; i++) {
        rc = write_out(seg, (enum segment_file)i, NULL, 0);
    }
    return rc < 0 ? write_error(seg, rc, e) : 0;
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
        rc = seg->io->fsync(seg->io, seg->env->dir->fd);
    }
    return rc < 0 ? err_sys(e, rc, "fsync segment %020" PRId64, seg->base.offset) : 0;
}

int segment_take_generation(struct segment *seg, struct err *e)
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
    int rc = write_rest(seg, e);

    assert(end.offset >= seg->end.offset && end.position >= seg->end.position);
    if (rc == 0) {
        rc = segment_finish_timeindex(seg, e);
    }
    if (rc == 0) {
        seg->ranged = true;
        rc = segment_write_header(seg, end, e);
    }
    if (rc == 0) {
        rc = sync_all(seg, e);
    }
    if (rc == 0) {
        rc = segment_take_generation(seg, e);
    }
    if (rc < 0) {
        return rc;
    }
    segment_seal(seg);
    rc = segment_remap(seg, e);
    if (rc < 0) {
        return rc;
    }
    free(seg->building);
    seg->building = NULL;
    seg->end = end;
    atomic_store(&seg->flushed, seg->log_bytes);
    atomic_store(&seg->indexes_flushed, true);
    segment_unpin(seg);
    return 0;
}

void segment_build_abort(struct segment *seg)
{
    if (seg->building != NULL) { /* not finished: the builder's pin */
        segment_unpin(seg);
    }
    free(seg->building);
    seg->building = NULL;
    atomic_store(&seg->retired, true); /* unlinked with the last reference */
    segment_unref(seg);
}
