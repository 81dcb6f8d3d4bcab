/* engine/segment.c: the life of a segment and of its open files.
 *
 * pins is the whole state of the files in one word: the number of pins, or SEGMENT_CLOSED. A pin of an open segment is
 * one compare-and-swap. Closing is the cache's: it swaps 0 for SEGMENT_CLOSED, and only then takes open_lock, flushes
 * and closes; a pin that comes in between finds the files still open and takes them back.
 *
 * Failure: a file that cannot be opened or mapped leaves the segment closed and the error with the caller. */
#include "engine/segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/log_internal.h"
#include "engine/segment_cache.h"

static const char *const kind_names[SEGMENT_FILES] = {
    [SEGMENT_LOG] = ".log",
    [SEGMENT_BATCHES] = ".batches",
    [SEGMENT_INDEX] = ".index",
    [SEGMENT_TIMEINDEX] = ".timeindex",
};

/* ---- names ---- */

void segment_name(int64_t base_offset, enum segment_file kind, const char *suffix, char out[SEGMENT_NAME_BYTES])
{
    int len = snprintf(out, SEGMENT_NAME_BYTES, "%020" PRId64 "%s%s", base_offset, kind_names[kind], suffix);

    assert(len > 0 && len < SEGMENT_NAME_BYTES);
}

void log_file_name(int64_t base_offset, enum segment_file kind, char out[40])
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(base_offset, kind, "", name);
    memcpy(out, name, 40);
    assert(memchr(out, '\0', 40) != NULL);
}

bool segment_name_parse(const char *name, int64_t *base_offset, enum segment_file *kind, const char **suffix)
{
    int64_t offset = 0;
    int i;

    for (i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || offset > (INT64_MAX - 9) / 10) {
            return false;
        }
        offset = offset * 10 + (name[i] - '0');
    }
    for (i = 0; i < SEGMENT_FILES; i++) {
        size_t len = strlen(kind_names[i]);

        if (strncmp(name + 20, kind_names[i], len) == 0 && (name[20 + len] == '\0' || name[20 + len] == '.')) {
            *base_offset = offset;
            *kind = (enum segment_file)i;
            *suffix = name + 20 + len;
            return true;
        }
    }
    return false;
}

/* ---- life ---- */

struct segment *segment_new(struct log *log, struct log_point base)
{
    struct segment *seg = calloc(1, sizeof *seg);
    int i;

    if (seg == NULL) {
        return NULL;
    }
    seg->log = log;
    seg->io = log->env->io;
    seg->dirfd = log->dirfd;
    seg->base = base;
    seg->end = base;
    seg->first_timestamp_ms = INDEX_NO_TIMESTAMP;
    seg->last_timestamp_ms = INDEX_NO_TIMESTAMP;
    seg->max_timestamp_ms = INDEX_NO_TIMESTAMP;
    seg->timeindex_last_ms = INDEX_NO_TIMESTAMP;
    index_init(&seg->index, INDEX_ENTRY_BYTES, log->config.segment_index_bytes, 0);
    index_init(&seg->timeindex, TIMEINDEX_ENTRY_BYTES, log->config.segment_index_bytes, 0);
    verify_init(&seg->verify, 0);
    atomic_init(&seg->refs, 1);
    atomic_init(&seg->pins, SEGMENT_CLOSED);
    pthread_mutex_init(&seg->open_lock, NULL);
    for (i = 0; i < SEGMENT_FILES; i++) {
        seg->fd[i] = -1;
    }
    log_segment_born(log);
    return seg;
}

void segment_ref(struct segment *seg)
{
    uint32_t refs = atomic_fetch_add_explicit(&seg->refs, 1, memory_order_relaxed);

    assert(refs > 0);
}

bool segment_try_ref(struct segment *seg)
{
    uint32_t refs = atomic_load_explicit(&seg->refs, memory_order_relaxed);

    while (refs > 0) {
        if (atomic_compare_exchange_weak_explicit(&seg->refs, &refs, refs + 1, memory_order_acquire,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

static void unlink_files(struct segment *seg)
{
    char name[SEGMENT_NAME_BYTES];
    int i, rc;

    for (i = SEGMENT_FILES - 1; i >= 0; i--) {
        segment_name(seg->base.offset, (enum segment_file)i, seg->suffix, name);
        rc = seg->io->unlink(seg->io, seg->dirfd, name, 0);
        if (rc < 0 && rc != -ENOENT) {
            log_line(LOG_WARNING, "%s: unlink %s: %s", seg->log->name, name, strerror(-rc));
        }
    }
}

void segment_unref(struct segment *seg)
{
    struct log *log = seg->log;

    if (atomic_fetch_sub_explicit(&seg->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    assert((atomic_load(&seg->pins) & ~SEGMENT_CLOSED) == 0);
    segment_cache_remove(log->env->cache, seg);
    if (segment_is_open(seg)) {
        segment_close_files(seg);
    }
    if (atomic_load(&seg->retired)) {
        unlink_files(seg);
    }
    verify_free(&seg->verify);
    pthread_mutex_destroy(&seg->open_lock);
    free(seg);
    log_segment_gone(log);
}

/* ---- files ---- */

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

static int open_files(struct segment *seg, struct err *e)
{
    char name[SEGMENT_NAME_BYTES];
    int i, rc;

    for (i = 0; i < SEGMENT_FILES; i++) {
        segment_name(seg->base.offset, (enum segment_file)i, seg->suffix, name);
        rc = seg->io->open(seg->io, seg->dirfd, name, O_RDWR, 0);
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

/* Under open_lock. 1: pinned, and the room that was reserved is used; 0: pinned, it was open already. */
static int pin_locked(struct segment *seg, struct err *e)
{
    struct segment_cache *cache = seg->log->env->cache;
    uint32_t pins = atomic_load_explicit(&seg->pins, memory_order_relaxed);
    int rc;

    while ((pins & SEGMENT_CLOSED) == 0) {
        if (atomic_compare_exchange_weak_explicit(&seg->pins, &pins, pins + 1, memory_order_acquire,
                                                  memory_order_relaxed)) {
            return 0;
        }
    }
    if (segment_is_open(seg)) {
        /* Chosen by the cache, but not closed yet: taken back. */
        atomic_store_explicit(&seg->pins, 1, memory_order_release);
        segment_cache_add(cache, seg);
        return 0;
    }
    if (atomic_load(&seg->retired)) {
        return err_set(e, -ESTALE, "segment %" PRId64 " was deleted", seg->base.offset);
    }
    rc = open_files(seg, e);
    if (rc < 0) {
        return rc;
    }
    atomic_store_explicit(&seg->pins, 1, memory_order_release);
    segment_cache_add(cache, seg);
    return 1;
}

int segment_pin(struct segment *seg, struct err *e)
{
    uint32_t pins = atomic_load_explicit(&seg->pins, memory_order_relaxed);
    int rc;

    while ((pins & SEGMENT_CLOSED) == 0) {
        if (atomic_compare_exchange_weak_explicit(&seg->pins, &pins, pins + 1, memory_order_acquire,
                                                  memory_order_relaxed)) {
            if (!atomic_load_explicit(&seg->used, memory_order_relaxed)) {
                atomic_store_explicit(&seg->used, true, memory_order_relaxed);
            }
            return 0;
        }
    }
    segment_cache_reserve(seg->log->env->cache);
    pthread_mutex_lock(&seg->open_lock);
    rc = pin_locked(seg, e);
    pthread_mutex_unlock(&seg->open_lock);
    if (rc != 1) {
        segment_cache_cancel(seg->log->env->cache);
    }
    atomic_store_explicit(&seg->used, true, memory_order_relaxed);
    return rc < 0 ? rc : 0;
}

void segment_unpin(struct segment *seg)
{
    uint32_t pins = atomic_fetch_sub_explicit(&seg->pins, 1, memory_order_release);

    assert(pins != 0 && (pins & SEGMENT_CLOSED) == 0);
}

/* The figures that the files' sizes give. */
static int count_sizes(struct segment *seg, const int64_t sizes[SEGMENT_FILES], uint32_t left[SEGMENT_FILES],
                       struct err *e)
{
    int64_t entries = sizes[SEGMENT_BATCHES] - BATCH_HEADER_BYTES;
    int64_t capacity = seg->log->config.segment_index_bytes;
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
    int i, rc;

    for (i = 0; i < SEGMENT_FILES; i++) {
        int flags = i == SEGMENT_INDEX || i == SEGMENT_TIMEINDEX ? O_RDWR | O_CREAT : O_RDWR;

        segment_name(seg->base.offset, (enum segment_file)i, seg->suffix, name);
        rc = seg->io->open(seg->io, seg->dirfd, name, flags, 0600);
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
        }
    }
    rc = count_sizes(seg, sizes, found->bytes_left, e);
    if (rc == 0) {
        rc = read_header(seg, sizes[SEGMENT_BATCHES], found, e);
    }
    return rc < 0 ? rc : map_files(seg, e);
}

int segment_open_found(struct segment *seg, bool sealed, struct segment_found *found, struct err *e)
{
    int rc;

    segment_cache_reserve(seg->log->env->cache);
    pthread_mutex_lock(&seg->open_lock);
    atomic_store(&seg->sealed, sealed);
    rc = open_found(seg, found, e);
    if (rc < 0) {
        segment_close_files(seg);
    } else {
        atomic_store_explicit(&seg->pins, 1, memory_order_release);
        segment_cache_add(seg->log->env->cache, seg);
    }
    pthread_mutex_unlock(&seg->open_lock);
    if (rc < 0) {
        segment_cache_cancel(seg->log->env->cache);
    }
    return rc;
}

static int write_header(struct segment *seg, struct log_point end)
{
    struct batch_header header = {.base_offset = seg->base.offset,
                                  .base_position = seg->base.position,
                                  .end_offset = end.offset,
                                  .end_position = end.position};
    uint8_t bytes[BATCH_HEADER_BYTES];
    struct iovec iov = {.iov_base = bytes, .iov_len = sizeof bytes};

    batch_header_encode(&header, bytes);
    return io_pwritev_all(seg->io, seg->fd[SEGMENT_BATCHES], &iov, 1, 0);
}

static int create_files(struct segment *seg, bool durable, struct err *e)
{
    char name[SEGMENT_NAME_BYTES];
    int i, rc;

    for (i = 0; i < SEGMENT_FILES; i++) {
        segment_name(seg->base.offset, (enum segment_file)i, seg->suffix, name);
        rc = seg->io->open(seg->io, seg->dirfd, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (rc < 0) {
            return err_sys(e, rc, "create %s", name);
        }
        seg->fd[i] = rc;
    }
    rc = write_header(seg, (struct log_point){-1, -1});
    if (rc == 0 && durable) {
        rc = seg->io->fsync(seg->io, seg->fd[SEGMENT_BATCHES]);
    }
    if (rc == 0 && durable) {
        rc = seg->io->fsync(seg->io, seg->dirfd);
    }
    if (rc < 0) {
        return err_sys(e, rc, "create %s", name);
    }
    return map_files(seg, e);
}

int segment_create(struct segment *seg, const char *suffix, bool durable, struct err *e)
{
    int rc;

    segment_cache_reserve(seg->log->env->cache);
    pthread_mutex_lock(&seg->open_lock);
    snprintf(seg->suffix, sizeof seg->suffix, "%s", suffix);
    seg->mtime_ms = seg->log->env->clock->wall_ms(seg->log->env->clock);
    rc = create_files(seg, durable, e);
    if (rc < 0) {
        segment_close_files(seg);
        unlink_files(seg);
    } else {
        atomic_store_explicit(&seg->pins, 1, memory_order_release);
        segment_cache_add(seg->log->env->cache, seg);
    }
    pthread_mutex_unlock(&seg->open_lock);
    if (rc < 0) {
        segment_cache_cancel(seg->log->env->cache);
    }
    return rc;
}

int segment_write_range(struct segment *seg, struct log_point end, struct err *e)
{
    int rc = write_header(seg, end);

    return rc < 0 ? err_sys(e, rc, "write header") : 0;
}

static int rename_file(struct segment *seg, enum segment_file kind, const char *suffix, struct err *e)
{
    char from[SEGMENT_NAME_BYTES];
    char to[SEGMENT_NAME_BYTES];
    int rc;

    segment_name(seg->base.offset, kind, seg->suffix, from);
    segment_name(seg->base.offset, kind, suffix, to);
    rc = seg->io->rename(seg->io, seg->dirfd, from, seg->dirfd, to);
    return rc < 0 ? err_sys(e, rc, "rename %s to %s", from, to) : 0;
}

int segment_rename(struct segment *seg, const char *suffix, bool batches_first, struct err *e)
{
    static const enum segment_file first[] = {SEGMENT_BATCHES, SEGMENT_LOG, SEGMENT_INDEX, SEGMENT_TIMEINDEX};
    static const enum segment_file last[] = {SEGMENT_LOG, SEGMENT_INDEX, SEGMENT_TIMEINDEX, SEGMENT_BATCHES};
    int i, rc = 0;

    pthread_mutex_lock(&seg->open_lock);
    for (i = 0; i < SEGMENT_FILES && rc == 0; i++) {
        rc = rename_file(seg, batches_first ? first[i] : last[i], suffix, e);
    }
    if (rc == 0) {
        snprintf(seg->suffix, sizeof seg->suffix, "%s", suffix);
    }
    pthread_mutex_unlock(&seg->open_lock);
    return rc;
}

int segment_retire(struct segment *seg, const char *suffix, struct err *e)
{
    atomic_store(&seg->retired, true);
    return segment_rename(seg, suffix, true, e);
}

int segment_open_copy(struct segment *seg, enum segment_file kind, int *fd, struct err *e)
{
    char name[SEGMENT_NAME_BYTES];
    int rc;

    pthread_mutex_lock(&seg->open_lock);
    segment_name(seg->base.offset, kind, seg->suffix, name);
    rc = seg->io->open(seg->io, seg->dirfd, name, O_RDONLY, 0);
    pthread_mutex_unlock(&seg->open_lock);
    if (rc < 0) {
        return err_sys(e, rc, "open %s", name);
    }
    *fd = rc;
    return 0;
}

/* ---- flushing ---- */

static int sync_pair(struct segment *seg, enum segment_file a, enum segment_file b, struct err *e)
{
    int rc = seg->io->fdatasync(seg->io, seg->fd[a]);

    if (rc == 0) {
        rc = seg->io->fdatasync(seg->io, seg->fd[b]);
    }
    return rc < 0 ? err_sys(e, -EIO, "flush segment %" PRId64 " (%s)", seg->base.offset, strerror(-rc)) : 0;
}

bool segment_is_flushed(const struct segment *seg, uint32_t upto)
{
    return atomic_load_explicit(&seg->flushed, memory_order_acquire) >= upto &&
           (!atomic_load(&seg->sealed) || atomic_load(&seg->indexes_flushed));
}

int segment_flush(struct segment *seg, uint32_t upto, struct err *e)
{
    uint32_t flushed = atomic_load_explicit(&seg->flushed, memory_order_acquire);
    int rc;

    if (flushed < upto) {
        rc = sync_pair(seg, SEGMENT_LOG, SEGMENT_BATCHES, e);
        if (rc < 0) {
            return rc;
        }
        while (flushed < upto && !atomic_compare_exchange_weak(&seg->flushed, &flushed, upto)) {
        }
    }
    if (atomic_load(&seg->sealed) && !atomic_load(&seg->indexes_flushed)) {
        rc = sync_pair(seg, SEGMENT_INDEX, SEGMENT_TIMEINDEX, e);
        if (rc < 0) {
            return rc;
        }
        atomic_store(&seg->indexes_flushed, true);
    }
    return 0;
}

void segment_seal(struct segment *seg)
{
    atomic_store(&seg->sealed, true);
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
