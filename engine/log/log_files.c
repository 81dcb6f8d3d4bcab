/* engine/log/log_files.c: the segments' files as they lie on the disk, for `.segments`.
 *
 * A file's size is what lies below the high watermark: all of it for a segment wholly below, and for the one that
 * holds the high watermark the entries and index points before it. */
#include "engine/log/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "engine/log/log_internal.h"

void log_file_name(int64_t base_offset, enum segment_file kind, char out[40])
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(base_offset, kind, "", name);
    memcpy(out, name, 40);
    assert(memchr(out, '\0', 40) != NULL);
}

/* What of one segment lies below the limit. */
struct shown {
    struct segment_view view;
    bool active;
    int64_t mtime_ms;
    int64_t sizes[SEGMENT_FILES];
};

/* The sizes of a segment that the limit cuts. */
static int cut_sizes(const struct segment_view *view, struct log_point limit, int64_t sizes[SEGMENT_FILES],
                     struct err *e)
{
    struct batch_entry b = {0};
    uint64_t end_offset = 0, end_place = 0;
    uint32_t i;
    int rc = segment_find_position(view, (uint64_t)(limit.position - view->base.position), &i, e);

    /* *i counts a batch that begins at the limit, too: that one is not below it. */
    for (; rc == 0 && i > 0; i--) {
        rc = segment_entry(view->seg, i - 1, &b, e);
        if (rc == 0 && view->base.position + b.position + (int64_t)b.len <= limit.position) {
            end_offset = (uint64_t)b.offset + b.records;
            end_place = (uint64_t)b.place + b.len;
            break;
        }
    }
    sizes[SEGMENT_LOG] = (int64_t)end_place;
    sizes[SEGMENT_BATCHES] = BATCH_HEADER_BYTES + (int64_t)i * BATCH_ENTRY_BYTES;
    sizes[SEGMENT_INDEX] =
        (int64_t)index_below_offset(&view->seg->index, view->index_count, end_offset) * INDEX_ENTRY_BYTES;
    sizes[SEGMENT_TIMEINDEX] =
        (int64_t)timeindex_below_offset(&view->seg->timeindex, view->timeindex_count, end_offset) *
        TIMEINDEX_ENTRY_BYTES;
    return rc;
}

/* Under the state lock: which segments there are, each with a reference. */
static int snapshot(struct log *log, struct log_point limit, struct shown **out, uint32_t *count)
{
    struct shown *shown = malloc((log->segment_count + 1) * sizeof *shown);
    uint32_t i;
    int kind;

    *count = 0;
    *out = shown;
    if (shown == NULL) {
        return -ENOMEM;
    }
    for (i = 0; i < log->segment_count; i++) {
        struct segment *seg = log->segments[i];
        struct shown *one = &shown[*count];

        if (i > 0 && seg->base.position > limit.position) {
            break;
        }
        log_view(seg, &one->view);
        one->active = i + 1 == log->segment_count || seg->end.position > limit.position;
        one->mtime_ms = seg->mtime_ms;
        for (kind = 0; kind < SEGMENT_FILES; kind++) {
            one->sizes[kind] = segment_file_bytes(seg, (enum segment_file)kind);
        }
        segment_ref(seg);
        *count += 1;
    }
    return 0;
}

static int show(struct log *log, struct shown *one, struct log_point limit, struct err *e)
{
    int rc;

    if (one->view.end.position <= limit.position) {
        return 0;
    }
    if (limit.position <= one->view.base.position) {
        one->sizes[SEGMENT_LOG] = 0;
        one->sizes[SEGMENT_BATCHES] = BATCH_HEADER_BYTES;
        one->sizes[SEGMENT_INDEX] = 0;
        one->sizes[SEGMENT_TIMEINDEX] = 0;
        return 0;
    }
    rc = segment_pin(one->view.seg, e);
    if (rc < 0) {
        return rc;
    }
    rc = cut_sizes(&one->view, limit, one->sizes, e);
    segment_unpin(one->view.seg);
    return rc == -EBADMSG ? log_report_corruption(log, e) : rc;
}

static void fill(const struct shown *one, struct log_file *files)
{
    int kind;

    for (kind = 0; kind < SEGMENT_FILES; kind++) {
        files[kind] = (struct log_file){.base_offset = one->view.base.offset,
                                        .kind = (enum segment_file)kind,
                                        .generation = one->view.seg->generation,
                                        .size = one->sizes[kind],
                                        .mtime_ms = one->mtime_ms,
                                        .active = one->active};
    }
}

/* REPLICATION.md, rule 6: .segments ends at the limit, which is the high watermark. */
int log_files(struct log *log, struct log_point limit, struct log_file **out, size_t *count, struct err *e)
{
    struct err local = {0};
    struct shown *shown;
    struct log_file *files = NULL;
    uint32_t i, n;
    int rc = log_check_online(log, e);

    e = e != NULL ? e : &local;
    *out = NULL;
    *count = 0;
    if (rc < 0) {
        return rc;
    }
    pthread_mutex_lock(&log->state_lock);
    rc = snapshot(log, limit, &shown, &n);
    pthread_mutex_unlock(&log->state_lock);
    if (rc == 0) {
        files = malloc(((size_t)n * SEGMENT_FILES + 1) * sizeof *files);
        rc = files == NULL ? -ENOMEM : 0;
    }
    for (i = 0; i < n; i++) {
        if (rc == 0) {
            rc = show(log, &shown[i], limit, e);
            /* Deleted while we looked: it is not listed. */
            if (rc == 0) {
                fill(&shown[i], files + *count);
                *count += SEGMENT_FILES;
            }
            rc = rc == -ESTALE ? 0 : rc;
        }
        segment_unref(shown[i].view.seg);
    }
    free(shown);
    if (rc < 0) {
        free(files);
        *count = 0;
        return err_wrap(e, rc, "list the files of %s", log->name);
    }
    *out = files;
    return 0;
}

/* The segment of a base offset, referenced; NULL: none. */
static struct segment *find(struct log *log, int64_t base_offset)
{
    struct segment *seg = NULL;
    uint32_t low = 0, high;

    pthread_mutex_lock(&log->state_lock);
    high = log->segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (log->segments[middle]->base.offset < base_offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < log->segment_count && log->segments[low]->base.offset == base_offset) {
        seg = log->segments[low];
        segment_ref(seg);
    }
    pthread_mutex_unlock(&log->state_lock);
    return seg;
}

int log_file_find(struct log *log, int64_t base_offset, enum segment_file kind, struct log_point limit,
                  struct log_file *out, struct err *e)
{
    struct err local = {0};
    struct log_file files[SEGMENT_FILES];
    struct shown one;
    struct segment *seg;
    int i, rc = log_check_online(log, e);

    e = e != NULL ? e : &local;
    if (rc < 0) {
        return rc;
    }
    seg = find(log, base_offset);
    if (seg == NULL) {
        return err_set(e, -ENOENT, "%s has no segment %" PRId64, log->name, base_offset);
    }
    pthread_mutex_lock(&log->state_lock);
    log_view(seg, &one.view);
    one.active = seg == log->segments[log->segment_count - 1] || seg->end.position > limit.position;
    one.mtime_ms = seg->mtime_ms;
    for (i = 0; i < SEGMENT_FILES; i++) {
        one.sizes[i] = segment_file_bytes(seg, (enum segment_file)i);
    }
    /* As in log_files(): what begins behind the limit is not there yet. */
    rc = seg != log->segments[0] && seg->base.position > limit.position ? -ENOENT : 0;
    pthread_mutex_unlock(&log->state_lock);
    if (rc == 0) {
        rc = show(log, &one, limit, e);
        rc = rc == -ESTALE ? -ENOENT : rc;
    }
    if (rc == 0) {
        fill(&one, files);
        *out = files[kind];
    }
    segment_unref(seg);
    return rc;
}

int log_file_open(struct log *log, const struct log_file *file, int *fd, struct err *e)
{
    struct segment *seg;
    int rc = log_check_online(log, e);

    if (rc < 0) {
        return rc;
    }
    seg = find(log, file->base_offset);
    if (seg == NULL || seg->generation != file->generation) {
        rc = err_set(e, -ENOENT, "segment %" PRId64 " of %s is gone", file->base_offset, log->name);
    } else {
        rc = segment_open_copy(seg, file->kind, fd, e);
    }
    if (seg != NULL) {
        segment_unref(seg);
    }
    return rc;
}

struct segment *log_file_unchecked(struct log *log, const struct log_file *file)
{
    struct segment *seg;

    if (file->kind != SEGMENT_LOG || !log_checks(log)) {
        return NULL;
    }
    seg = find(log, file->base_offset);
    if (seg != NULL && (seg->generation != file->generation || verify_done(&seg->verify, UINT32_MAX))) {
        segment_unref(seg);
        return NULL;
    }
    return seg;
}

int log_file_check(struct segment *seg, int64_t place, size_t len, struct err *e)
{
    struct log *log = CONTAINER_OF(seg->env, struct log, segment_env);
    struct segment_view view;
    int64_t left;
    int rc;

    pthread_mutex_lock(&log->state_lock);
    log_view(seg, &view);
    pthread_mutex_unlock(&log->state_lock);
    left = view.log_bytes - place;
    len = left > 0 && (uint64_t)left < len ? (size_t)left : len;
    if (left <= 0 || len == 0 || verify_done(&seg->verify, (uint32_t)(place + (int64_t)len))) {
        return 0;
    }
    rc = log_check_online(log, e);
    if (rc == 0) {
        rc = segment_pin(seg, e);
    }
    if (rc < 0) {
        return rc;
    }
    rc = log_verify_places(&view, (uint64_t)place, len, e);
    segment_unpin(seg);
    if (rc == -EBADMSG) {
        /* What has gone from the log is no damage of it any more. */
        rc = atomic_load(&seg->retired) ? -EIO : log_report_corruption(log, e);
    }
    return rc;
}

void log_file_checked(struct segment *seg)
{
    segment_unref(seg);
}
