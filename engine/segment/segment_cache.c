/* engine/segment/segment_cache.c: the ring of open segments and the hand that goes round it.
 *
 * A reservation counts before anything is opened, so that two threads that open at once both make room. The victim is
 * taken out of the ring under the lock (its pins go from 0 to SEGMENT_CLOSED) and closed without it, so that a slow
 * fdatasync holds up nobody else but who makes room for what it writes. */
#include "engine/segment/segment_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/segment/segment.h"

struct segment_cache {
    pthread_mutex_t lock;
    struct segment *hand; /* NULL: the ring is empty */
    unsigned in_ring;
    _Atomic unsigned open; /* reserved or open; written under the lock */
    unsigned max_open;
};

struct segment_cache *segment_cache_new(struct io *io, unsigned max_open)
{
    struct segment_cache *cache = calloc(1, sizeof *cache);

    (void)io;
    if (cache == NULL) {
        return NULL;
    }
    pthread_mutex_init(&cache->lock, NULL);
    cache->max_open = max_open;
    return cache;
}

void segment_cache_free(struct segment_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    assert(cache->hand == NULL && cache->open == 0);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static void ring_insert(struct segment_cache *cache, struct segment *seg)
{
    assert(seg->ring_next == NULL);
    if (cache->hand == NULL) {
        seg->ring_next = seg;
        seg->ring_prev = seg;
        cache->hand = seg;
    } else {
        /* Behind the hand: the last one that it comes to. */
        seg->ring_next = cache->hand;
        seg->ring_prev = cache->hand->ring_prev;
        seg->ring_prev->ring_next = seg;
        seg->ring_next->ring_prev = seg;
    }
    cache->in_ring++;
}

static void ring_remove(struct segment_cache *cache, struct segment *seg)
{
    if (seg->ring_next == seg) {
        cache->hand = NULL;
    } else {
        seg->ring_prev->ring_next = seg->ring_next;
        seg->ring_next->ring_prev = seg->ring_prev;
        if (cache->hand == seg) {
            cache->hand = seg->ring_next;
        }
    }
    seg->ring_next = NULL;
    seg->ring_prev = NULL;
    cache->in_ring--;
}

/* Something of it is not on the disk. What is retired never needs to be. Exact while nobody has it pinned. */
static bool is_dirty(const struct segment *seg)
{
    return !atomic_load(&seg->retired) && !segment_is_flushed(seg, atomic_load(&seg->log_bytes));
}

/* An idle segment, out of the ring, marked closed and referenced; NULL: all are pinned, or dirty. Under the lock. */
static struct segment *take_victim(struct segment_cache *cache, bool dirty_too)
{
    unsigned steps;

    for (steps = 2 * cache->in_ring; steps > 0; steps--) {
        struct segment *seg = cache->hand;
        uint32_t idle = 0;

        cache->hand = seg->ring_next;
        if (atomic_exchange_explicit(&seg->used, false, memory_order_relaxed) ||
            atomic_load_explicit(&seg->pins, memory_order_relaxed) != 0) {
            continue;
        }
        if (!dirty_too && is_dirty(seg)) {
            continue;
        }
        /* One whose last reference has gone is being closed by that thread, which waits for our lock. */
        if (!segment_try_ref(seg)) {
            continue;
        }
        if (atomic_compare_exchange_strong_explicit(&seg->pins, &idle, SEGMENT_CLOSED, memory_order_acquire,
                                                    memory_order_relaxed)) {
            ring_remove(cache, seg);
            return seg;
        }
        pthread_mutex_unlock(&cache->lock);
        segment_unref(seg);
        pthread_mutex_lock(&cache->lock);
        if (cache->hand == NULL) {
            return NULL;
        }
    }
    return NULL;
}

/* Whether it was closed: somebody may have taken it back, or closed it first; or made it dirty just before it was
 * taken, and then it goes back into the ring unless dirty ones may be closed too. */
static bool close_victim(struct segment_cache *cache, struct segment *seg, bool dirty_too)
{
    struct err e = {0};
    bool closed = false;

    pthread_mutex_lock(&seg->open_lock);
    /* Acquired: since we took it, it may have been taken back, read, and chosen once more by another thread; who closes
     * the files comes behind all that read them. */
    if (atomic_load_explicit(&seg->pins, memory_order_acquire) == SEGMENT_CLOSED && segment_is_open(seg)) {
        bool dirty = is_dirty(seg);

        if (dirty && dirty_too && segment_flush(seg, seg->log_bytes, &e) < 0) {
            seg->env->failed(seg->env, e.text);
        }
        if (dirty && !dirty_too) {
            atomic_store_explicit(&seg->pins, 0, memory_order_release);
            segment_cache_add(cache, seg);
        } else {
            segment_close_files(seg);
            closed = true;
        }
    }
    pthread_mutex_unlock(&seg->open_lock);
    segment_unref(seg);
    return closed;
}

/* One, if there are too many. false: there is none to be closed. Under the lock, which is given up in between. */
static bool close_one(struct segment_cache *cache, bool dirty_too)
{
    struct segment *victim = cache->open > cache->max_open ? take_victim(cache, dirty_too) : NULL;
    bool closed;

    if (victim == NULL) {
        return false;
    }
    pthread_mutex_unlock(&cache->lock);
    closed = close_victim(cache, victim, dirty_too);
    pthread_mutex_lock(&cache->lock);
    if (closed) {
        cache->open--;
    }
    return true;
}

static void close_clean(struct segment_cache *cache)
{
    while (close_one(cache, false)) {
    }
}

void segment_cache_reserve(struct segment_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    cache->open++;
    close_clean(cache);
    pthread_mutex_unlock(&cache->lock);
}

bool segment_cache_is_over(struct segment_cache *cache)
{
    return atomic_load_explicit(&cache->open, memory_order_relaxed) > cache->max_open;
}

bool segment_cache_make_room(struct segment_cache *cache)
{
    bool closed;

    pthread_mutex_lock(&cache->lock);
    close_clean(cache);
    closed = close_one(cache, true);
    pthread_mutex_unlock(&cache->lock);
    return closed;
}

void segment_cache_cancel(struct segment_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    assert(cache->open > 0);
    cache->open--;
    pthread_mutex_unlock(&cache->lock);
}

void segment_cache_add(struct segment_cache *cache, struct segment *seg)
{
    pthread_mutex_lock(&cache->lock);
    ring_insert(cache, seg);
    pthread_mutex_unlock(&cache->lock);
}

void segment_cache_remove(struct segment_cache *cache, struct segment *seg)
{
    pthread_mutex_lock(&cache->lock);
    if (seg->ring_next != NULL) {
        ring_remove(cache, seg);
        cache->open--;
    }
    pthread_mutex_unlock(&cache->lock);
}

unsigned segment_cache_open(struct segment_cache *cache)
{
    unsigned open;

    pthread_mutex_lock(&cache->lock);
    open = cache->open;
    pthread_mutex_unlock(&cache->lock);
    return open;
}
