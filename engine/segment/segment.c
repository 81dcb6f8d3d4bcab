/* engine/segment/segment.c: the life of a segment and of its open files.
 *
 * pins is the whole state of the files in one word: the number of pins, or SEGMENT_CLOSED. A pin of an open segment is
 * one compare-and-swap. Closing is the cache's: it swaps 0 for SEGMENT_CLOSED, and only then takes open_lock, flushes
 * and closes; a pin that comes in between finds the files still open and takes them back.
 *
 * Failure: a file that cannot be opened or mapped leaves the segment closed and the error with the caller. */
#include "engine/segment/segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/segment/segment_cache.h"

/* ---- life ---- */

struct segment *segment_new(struct segment_env *env, struct log_point base)
{
    struct segment *seg = calloc(1, sizeof *seg);
    int i;

    if (seg == NULL) {
        return NULL;
    }
    seg->env = env;
    seg->io = env->io;
    seg->base = base;
    seg->end = base;
    seg->first_timestamp_ms = INDEX_NO_TIMESTAMP;
    seg->last_timestamp_ms = INDEX_NO_TIMESTAMP;
    seg->max_timestamp_ms = INDEX_NO_TIMESTAMP;
    seg->timeindex_last_ms = INDEX_NO_TIMESTAMP;
    index_init(&seg->index, INDEX_ENTRY_BYTES, atomic_load(&env->index_bytes), 0);
    index_init(&seg->timeindex, TIMEINDEX_ENTRY_BYTES, atomic_load(&env->index_bytes), 0);
    verify_init(&seg->verify, 0);
    atomic_init(&seg->refs, 1);
    atomic_init(&seg->pins, SEGMENT_CLOSED);
    pthread_mutex_init(&seg->open_lock, NULL);
    for (i = 0; i < SEGMENT_FILES; i++) {
        seg->fd[i] = -1;
    }
    segment_env_born(env);
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

void segment_unref(struct segment *seg)
{
    struct segment_env *env = seg->env;

    if (atomic_fetch_sub_explicit(&seg->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    assert((atomic_load(&seg->pins) & ~SEGMENT_CLOSED) == 0);
    segment_cache_remove(env->cache, seg);
    if (segment_is_open(seg)) {
        segment_close_files(seg);
    }
    if (atomic_load(&seg->retired)) {
        segment_unlink_files(seg);
    }
    verify_free(&seg->verify);
    pthread_mutex_destroy(&seg->open_lock);
    free(seg);
    segment_env_gone(env);
}

/* ---- pins ---- */

/* Under open_lock. 1: pinned, and the room that was reserved is used; 0: pinned, it was open already. */
static int pin_locked(struct segment *seg, struct err *e)
{
    struct segment_cache *cache = seg->env->cache;
    uint32_t pins = atomic_load_explicit(&seg->pins, memory_order_acquire); /* who read before is behind us */
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
    rc = segment_open_files(seg, e);
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
    segment_cache_reserve(seg->env->cache);
    pthread_mutex_lock(&seg->open_lock);
    rc = pin_locked(seg, e);
    pthread_mutex_unlock(&seg->open_lock);
    if (rc != 1) {
        segment_cache_cancel(seg->env->cache);
    }
    atomic_store_explicit(&seg->used, true, memory_order_relaxed);
    return rc < 0 ? rc : 0;
}

void segment_unpin(struct segment *seg)
{
    uint32_t pins = atomic_fetch_sub_explicit(&seg->pins, 1, memory_order_release);

    assert(pins != 0 && (pins & SEGMENT_CLOSED) == 0);
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
    return atomic_load(&seg->sealed) ? segment_flush_indexes(seg, e) : 0;
}

int segment_flush_indexes(struct segment *seg, struct err *e)
{
    int rc;

    if (atomic_load(&seg->indexes_flushed)) {
        return 0;
    }
    rc = sync_pair(seg, SEGMENT_INDEX, SEGMENT_TIMEINDEX, e);
    if (rc == 0) {
        atomic_store(&seg->indexes_flushed, true);
    }
    return rc;
}

void segment_seal(struct segment *seg)
{
    atomic_store(&seg->sealed, true);
}
