/* engine/segment/segment_files.c: the four files of a segment: made, opened, mapped, renamed, closed, unlinked.
 *
 * The callers (segment.c, segment_cache.c) hold open_lock or are alone with the segment, unless a function here takes
 * it. Failure: what was opened is closed again, what was made is unlinked. */
#include "engine/segment/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "engine/segment/segment_cache.h"

/* ---- sizes ---- */

int64_t segment_file_bytes(const struct segment *seg, enum segment_file kind)
{
    switch (kind) {
    case SEGMENT_LOG:
        return seg->log_bytes;
    case SEGMENT_BATCHES:
        return BATCH_HEADER_BYTES + (int64_t)seg->batches * BATCH_ENTRY_BYTES;
    case SEGMENT_INDEX:
        return index_bytes(&seg->index);
    case SEGMENT_TIMEINDEX:
        return index_bytes(&seg->timeindex);
    case SEGMENT_FILES:
        break;
    }
    return 0;
}

int64_t segment_disk_bytes(const struct segment *seg)
{
    int64_t sum = 0;
    int i;

    for (i = 0; i < SEGMENT_FILES; i++) {
        sum += segment_file_bytes(seg, (enum segment_file)i);
    }
    return sum;
}

/* ---- opening and closing ---- */

bool segment_is_open(const struct segment *seg)
{
    return seg->fd[SEGMENT_LOG] >= 0;
}

static void unmap_files(struct segment *seg)
{
    index_unmap(&seg->index, seg->io);
    index_unmap(&seg->timeindex, seg->io);
    if (seg->batches_map != NULL) {
        seg->io->unmap(seg->io, seg->batches_map, seg->batches_map_bytes);
        seg->batches_map = NULL;
    }
}

void segment_close_files(struct segment *seg)
{
    int i;

    unmap_files(seg);
    for (i = 0; i < SEGMENT_FILES; i++) {
        if (seg->fd[i] >= 0) {
            seg->io->close(seg->io, seg->fd[i]);
            seg->fd[i] = -1;
        }
    }
    if (seg->dir_held) {
        dir_release(seg->env->dir);
        seg->dir_held = false;
    }
}

/* Until segment_close_files(). */
static int hold_directory(struct segment *seg, struct err *e)
{
    int rc = dir_hold(seg->env->dir, e);

    seg->dir_held = rc == 0;
    return rc;
}

static int map_batches(struct segment *seg, struct err *e)
{
    const void *map;
    int rc;

    seg->batches_map_bytes = BATCH_HEADER_BYTES + (size_t)seg->batches * BATCH_ENTRY_BYTES;
    if (!atomic_load_explicit(&seg->sealed, memory_order_relaxed) &&
        seg->batches_map_bytes < LIMIT_BATCHES_FILE_BYTES) {
        seg->batches_map_bytes = LIMIT_BATCHES_FILE_BYTES;
    }
    rc = seg->io->map(seg->io, seg->fd[SEGMENT_BATCHES], seg->batches_map_bytes, &map);
    if (rc < 0) {
        return err_sys(e, rc, "map .batches");
    }
    seg->batches_map = map;
    return 0;
}

static int map_files(struct segment *seg, struct err *e)
{
    bool exact = atomic_load_explicit(&seg->sealed, memory_order_relaxed);
    int rc = map_batches(seg, e);

    if (rc == 0) {
        rc = index_map(&seg->index, seg->io, seg->fd[SEGMENT_INDEX], exact, e);
    }
    if (rc == 0) {
        rc = index_map(&seg->timeindex, seg->io, seg->fd[SEGMENT_TIMEINDEX], exact, e);
    }
    return rc;
}

int segment_remap(struct segment *seg, struct err *e)
{
    unmap_files(seg);
    return map_files(seg, e);
}

/* A file shorter than what it is known to hold would be a SIGBUS later. */
static int check_size(struct segment *seg, enum segment_file kind, struct err *e)
{
    struct stat st;
    int rc = seg->io->fstat(seg->io, seg->fd[kind], &st);

    if (rc < 0) {
        return err_sys(e, rc, "stat");
    }
    if (st.st_size < segment_file_bytes(seg, kind)) {
        return err_set(e, -EIO, "%lld bytes, %lld expected: cut from outside", (long long)st.st_size,
                       (long long)segment_file_bytes(seg, kind));
    }
    return 0;
}

int segment_open_files(struct segment *seg, struct err *e)
{
    char name[SEGMENT_NAME_BYTES];
    int i, rc = hold_directory(seg, e);

    if (rc < 0) {
        return rc;
    }
    for (i = 0; i < SEGMENT_FILES; i++) {
        segment_name(seg->base.offset, (enum segment_file)i, seg->suffix[i], name);
        rc = seg->io->open(seg->io, seg->env->dir->fd, name, O_RDWR, 0);
        if (rc < 0) {
            /* ENOENT would read as "no such record" further up. */
            err_sys(e, rc, "open %s", name);
            rc = rc == -ENOENT ? -EIO : rc;
            goto err_after_open;
        }
        seg->fd[i] = rc;
        rc = check_size(seg, (enum segment_file)i, e);
        if (rc < 0) {
            err_wrap(e, rc, "%s", name);
            goto err_after_open;
        }
    }
    rc = map_files(seg, e);
    if (rc == 0) {
        return 0;
    }
err_after_open:
    segment_close_files(seg);
    return rc;
}

/* ---- as found in a directory ---- */

/* The figures that the files' sizes give. */
static int count_sizes(struct segment *seg, const int64_t sizes[SEGMENT_FILES], uint32_t left[SEGMENT_FILES],
                       struct err *e)
{
    int64_t entries = sizes[SEGMENT_BATCHES] - BATCH_HEADER_BYTES;
    int64_t capacity = atomic_load(&seg->env->index_bytes);
    int i;

    for (i = 0; i < SEGMENT_FILES; i++) {
        if (sizes[i] > (i == SEGMENT_BATCHES ? LIMIT_COMPACTED_BATCHES_BYTES : INT32_MAX)) {
            return err_set(e, -EBADMSG, "segment %" PRId64 ": a file of %" PRId64 " bytes", seg->base.offset, sizes[i]);
        }
    }
    seg->log_bytes = (uint32_t)sizes[SEGMENT_LOG];
    seg->batches = entries < 0 ? 0 : (uint32_t)(entries / BATCH_ENTRY_BYTES);
    index_init(&seg->index, INDEX_ENTRY_BYTES, capacity, (uint32_t)(sizes[SEGMENT_INDEX] / INDEX_ENTRY_BYTES));
    index_init(&seg->timeindex, TIMEINDEX_ENTRY_BYTES, capacity,
               (uint32_t)(sizes[SEGMENT_TIMEINDEX] / TIMEINDEX_ENTRY_BYTES));
    left[SEGMENT_LOG] = 0;
    left[SEGMENT_BATCHES] = (uint32_t)(sizes[SEGMENT_BATCHES] % BATCH_ENTRY_BYTES);
    left[SEGMENT_INDEX] = (uint32_t)(sizes[SEGMENT_INDEX] % INDEX_ENTRY_BYTES);
    left[SEGMENT_TIMEINDEX] = (uint32_t)(sizes[SEGMENT_TIMEINDEX] % TIMEINDEX_ENTRY_BYTES);
    return 0;
}

static int read_header(struct segment *seg, int64_t batches_bytes, struct segment_found *found, struct err *e)
{
    uint8_t bytes[BATCH_HEADER_BYTES];
    int rc;

    found->has_header = false;
    if (batches_bytes < BATCH_HEADER_BYTES) {
        return 0;
    }
    rc = io_pread_all(seg->io, seg->fd[SEGMENT_BATCHES], bytes, sizeof bytes, 0);
    if (rc < 0) {
        return err_sys(e, rc, "read header");
    }
    found->has_header = batch_header_decode(bytes, &found->header) == 0;
    return 0;
}

static int open_found(struct segment *seg, struct segment_found *found, struct err *e)
{
    char name[SEGMENT_NAME_BYTES];
    int64_t sizes[SEGMENT_FILES];
    struct stat st;
    int i, rc = hold_directory(seg, e);

    if (rc < 0) {
        return rc;
    }
    for (i = 0; i < SEGMENT_FILES; i++) {
        int flags = i == SEGMENT_INDEX || i == SEGMENT_TIMEINDEX ? O_RDWR | O_CREAT : O_RDWR;

        segment_name(seg->base.offset, (enum segment_file)i, seg->suffix[i], name);
        rc = seg->io->open(seg->io, seg->env->dir->fd, name, flags, 0600);
        if (rc < 0) {
            return err_sys(e, rc, "open %s", name);
        }
        seg->fd[i] = rc;
        rc = seg->io->fstat(seg->io, seg->fd[i], &st);
        if (rc < 0) {
            return err_sys(e, rc, "stat %s", name);
        }
        sizes[i] = st.st_size;
        if (i == SEGMENT_LOG) {
            found->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
            seg->mtime_ms = (int64_t)(found->mtime_ns / 1000000);
            segment_note_allocated(seg, &st);
        }
    }
    rc = count_sizes(seg, sizes, found->bytes_left, e);
    if (rc == 0) {
        rc = read_header(seg, sizes[SEGMENT_BATCHES], found, e);
    }
    return rc < 0 ? rc : map_files(seg, e);
}

/* A segment that nobody else knows is about to be opened. */
static void begin_opening(struct segment *seg)
{
    segment_cache_reserve(seg->env->cache);
    pthread_mutex_lock(&seg->open_lock);
}

/* rc: how it went. Leaves one pin, or what was opened closed again; returns rc. */
static int end_opening(struct segment *seg, int rc)
{
    if (rc < 0) {
        segment_close_files(seg);
    } else {
        atomic_store_explicit(&seg->pins, 1, memory_order_release);
        segment_cache_add(seg->env->cache, seg);
    }
    pthread_mutex_unlock(&seg->open_lock);
    if (rc < 0) {
        segment_cache_cancel(seg->env->cache);
    }
    return rc;
}

int segment_open_found(struct segment *seg, bool sealed, struct segment_found *found, struct err *e)
{
    begin_opening(seg);
    atomic_store(&seg->sealed, sealed);
    return end_opening(seg, open_found(seg, found, e));
}

/* ---- making and naming ---- */

static void make_header(const struct segment *seg, struct log_point end, uint8_t bytes[BATCH_HEADER_BYTES])
{
    struct batch_header header = {.base_offset = seg->base.offset,
                                  .base_position = seg->base.position,
                                  .end_offset = seg->ranged ? end.offset : -1,
                                  .end_position = seg->ranged ? end.position : -1,
                                  .flags = (seg->gaps ? BATCH_HEADER_GAPS : 0u) |
                                           (seg->producers ? BATCH_HEADER_PRODUCERS : 0u)};

    batch_header_encode(&header, bytes);
}

static int write_header(struct segment *seg, struct log_point end)
{
    uint8_t bytes[BATCH_HEADER_BYTES];
    struct iovec iov = {.iov_base = bytes, .iov_len = sizeof bytes};

    make_header(seg, end, bytes);
    return io_pwritev_all(seg->io, seg->fd[SEGMENT_BATCHES], &iov, 1, 0);
}

static int create_files(struct segment *seg, bool durable, struct err *e)
{
    char name[SEGMENT_NAME_BYTES];
    int i, rc = hold_directory(seg, e);

    if (rc < 0) {
        return rc;
    }
    for (i = 0; i < SEGMENT_FILES; i++) {
        segment_name(seg->base.offset, (enum segment_file)i, seg->suffix[i], name);
        rc = seg->io->open(seg->io, seg->env->dir->fd, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (rc < 0) {
            return err_sys(e, rc, "create %s", name);
        }
        seg->fd[i] = rc;
    }
    rc = write_header(seg, seg->end);
    if (rc == 0 && durable) {
        rc = seg->io->fsync(seg->io, seg->fd[SEGMENT_BATCHES]);
    }
    if (rc == 0 && durable) {
        rc = seg->io->fsync(seg->io, seg->env->dir->fd);
    }
    if (rc < 0) {
        return err_sys(e, rc, "create %s", name);
    }
    return map_files(seg, e);
}

static void set_suffix(struct segment *seg, const char *suffix)
{
    for (int i = 0; i < SEGMENT_FILES; i++) {
        snprintf(seg->suffix[i], sizeof seg->suffix[i], "%s", suffix);
    }
}

void segment_set_mtime(struct segment *seg, int64_t mtime_ms)
{
    if (seg->io->set_mtime(seg->io, seg->fd[SEGMENT_LOG], mtime_ms) == 0) {
        seg->mtime_ms = mtime_ms;
    }
}

int segment_create(struct segment *seg, const char *suffix, bool durable, struct err *e)
{
    int rc, sync_rc;

    begin_opening(seg);
    set_suffix(seg, suffix);
    seg->mtime_ms = seg->env->clock->wall_ms(seg->env->clock);
    rc = create_files(seg, durable, e);
    if (rc < 0) {
        segment_close_files(seg);
        segment_unlink_files(seg);
        /* Another fsync may have covered the names already: back after a power cut they would be a segment that begins
         * in the middle of the one which goes on now. */
        sync_rc = seg->io->fsync(seg->io, seg->env->dir->fd);
        if (sync_rc < 0) {
            rc = err_set(e, -EIO, "fsync the directory: %s", strerror(-sync_rc));
        }
    }
    return end_opening(seg, rc);
}

int segment_write_header(struct segment *seg, struct log_point end, struct err *e)
{
    int rc = write_header(seg, end);

    return rc < 0 ? err_sys(e, rc, "write header") : 0;
}

int segment_restore_header(struct segment *seg)
{
    uint8_t want[BATCH_HEADER_BYTES], found[BATCH_HEADER_BYTES];

    make_header(seg, seg->end, want);
    if (io_pread_all(seg->io, seg->fd[SEGMENT_BATCHES], found, sizeof found, 0) == 0 &&
        memcmp(found, want, sizeof want) == 0) {
        return 0;
    }
    return write_header(seg, seg->end) < 0 ? -EIO : 0;
}

/* goes: what is not there any more is as good as renamed. */
static int rename_file(struct segment *seg, enum segment_file kind, const char *suffix, bool goes, struct err *e)
{
    char from[SEGMENT_NAME_BYTES];
    char to[SEGMENT_NAME_BYTES];
    int rc;

    if (strcmp(seg->suffix[kind], suffix) == 0) {
        return 0;
    }
    segment_name(seg->base.offset, kind, seg->suffix[kind], from);
    segment_name(seg->base.offset, kind, suffix, to);
    rc = seg->io->rename(seg->io, seg->env->dir->fd, from, seg->env->dir->fd, to);
    if (rc < 0 && !(goes && rc == -ENOENT)) {
        return err_sys(e, rc, "rename %s to %s", from, to);
    }
    snprintf(seg->suffix[kind], sizeof seg->suffix[kind], "%s", suffix);
    return 0;
}

static const enum segment_file batches_before[] = {SEGMENT_BATCHES, SEGMENT_LOG, SEGMENT_INDEX, SEGMENT_TIMEINDEX};
static const enum segment_file batches_behind[] = {SEGMENT_LOG, SEGMENT_INDEX, SEGMENT_TIMEINDEX, SEGMENT_BATCHES};

static int rename_files(struct segment *seg, const char *suffix, bool batches_first, bool goes, struct err *e)
{
    int i, rc = dir_hold(seg->env->dir, e);

    if (rc < 0) {
        return rc;
    }
    pthread_mutex_lock(&seg->open_lock);
    for (i = 0; i < SEGMENT_FILES && rc == 0; i++) {
        rc = rename_file(seg, batches_first ? batches_before[i] : batches_behind[i], suffix, goes, e);
    }
    pthread_mutex_unlock(&seg->open_lock);
    dir_release(seg->env->dir);
    return rc;
}

int segment_rename(struct segment *seg, const char *suffix, bool batches_first, struct err *e)
{
    return rename_files(seg, suffix, batches_first, false, e);
}

int segment_unlink_instead(struct segment *seg, const char *suffix)
{
    char name[SEGMENT_NAME_BYTES];
    int i, rc = 0;

    pthread_mutex_lock(&seg->open_lock);
    for (i = 0; i < SEGMENT_FILES && rc == 0; i++) {
        enum segment_file kind = batches_before[i];

        if (strcmp(seg->suffix[kind], suffix) != 0) {
            segment_name(seg->base.offset, kind, seg->suffix[kind], name);
            rc = seg->io->unlink(seg->io, seg->env->dir->fd, name, 0);
            rc = rc == -ENOENT ? 0 : rc;
            if (rc == 0) {
                snprintf(seg->suffix[kind], sizeof seg->suffix[kind], "%s", suffix);
            }
        }
    }
    pthread_mutex_unlock(&seg->open_lock);
    return rc;
}

int segment_retire(struct segment *seg, const char *suffix, struct err *e)
{
    atomic_store(&seg->retired, true);
    return rename_files(seg, suffix, true, true, e);
}

int segment_open_copy(struct segment *seg, enum segment_file kind, int *fd, struct err *e)
{
    char name[SEGMENT_NAME_BYTES];
    int rc = dir_hold(seg->env->dir, e);

    if (rc < 0) {
        return rc;
    }
    atomic_store(&seg->shown, true);
    pthread_mutex_lock(&seg->open_lock);
    segment_name(seg->base.offset, kind, seg->suffix[kind], name);
    rc = seg->io->open(seg->io, seg->env->dir->fd, name, O_RDONLY, 0);
    pthread_mutex_unlock(&seg->open_lock);
    dir_release(seg->env->dir);
    if (rc < 0) {
        return err_sys(e, rc, "open %s", name);
    }
    *fd = rc;
    return 0;
}

void segment_unlink_files(struct segment *seg)
{
    char name[SEGMENT_NAME_BYTES];
    struct err e = {0};
    int i, rc = dir_hold(seg->env->dir, &e);

    if (rc < 0) {
        log_line(LOG_WARNING, "%s: unlink segment %020" PRId64 ": %s", seg->env->log_name, seg->base.offset, e.text);
        return;
    }
    for (i = SEGMENT_FILES - 1; i >= 0; i--) {
        segment_name(seg->base.offset, (enum segment_file)i, seg->suffix[i], name);
        rc = seg->io->unlink(seg->io, seg->env->dir->fd, name, 0);
        if (rc < 0 && rc != -ENOENT) {
            log_line(LOG_WARNING, "%s: unlink %s: %s", seg->env->log_name, name, strerror(-rc));
        }
    }
    dir_release(seg->env->dir);
}
