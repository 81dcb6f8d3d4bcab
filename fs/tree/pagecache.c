#include "fs/tree/pagecache.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/base/container.h"
#include "fs/base/fence.h"
#include "fs/base/limits.h"
#include "fs/base/notice.h"
#include "fs/base/session.h"
#include "fs/tree/tree.h"

struct pages {
    fuse_ino_t nodes[LIMIT_CACHED_NODES];
    int count;
    int64_t end; /* of those that reach their high watermark the lowest; INT64_MAX: there is none */
};

/* A pfile's, from the first READ through the cache on. References: the pfile's, and that of a drop under way. */
struct pagecache {
    _Atomic int refs;
    struct session *session;
    struct partition *part; /* while the pfile is there */
    struct partition_watch watch;
    struct fence *fence;
    struct fence_post post; /* up while dropping */
    struct work work;

    _Atomic int64_t end; /* written under lock; below or at that of each of the pages there are */
    pthread_mutex_t lock;
    int64_t drops_since_ms; /* the second in which … */
    int drops;              /* … so many drops began */
    bool dropping;
    bool again;           /* a hole was made meanwhile */
    struct pages filled;  /* while dropping: since that began */
    struct pages dropped; /* while dropping: the worker's */
};

static const struct pages no_pages = {.end = INT64_MAX};

/* ---- dropping ---- */

/* Under the lock: the pages there are become those to be dropped. */
static void begin(struct pagecache *cache)
{
    cache->dropping = true;
    cache->again = false;
    cache->dropped = cache->filled;
    cache->filled = no_pages;
}

static void cache_unref(struct pagecache *cache)
{
    if (atomic_fetch_sub(&cache->refs, 1) != 1)
        return;
    fence_free(cache->fence);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static int64_t now_ms(const struct pagecache *cache)
{
    struct clock *clock = node_clock(cache->session->node);

    return clock->mono_ms(clock);
}

static bool same_second(const struct pagecache *cache)
{
    return cache->drops > 0 && now_ms(cache) - cache->drops_since_ms < 1000;
}

static void count_drop(struct pagecache *cache)
{
    if (!same_second(cache)) {
        cache->drops_since_ms = now_ms(cache);
        cache->drops = 0;
    }
    cache->drops++;
}

/* Under the lock. */
static void start(struct pagecache *cache)
{
    struct session *session = cache->session;

    if (!notice_begin(session))
        return;
    begin(cache);
    count_drop(cache);
    atomic_fetch_add(&cache->refs, 1);
    fence_raise(cache->fence, &cache->post);
    executor_prompt(node_executor(session->node), &cache->work);
}

static void drop(struct work *work)
{
    struct pagecache *cache = CONTAINER_OF(work, struct pagecache, work);
    struct session *session = cache->session;
    bool again;

    do {
        for (int i = 0; i < cache->dropped.count; i++) /* one that is forgotten by now has no pages either */
            (void)fuse_lowlevel_notify_inval_inode(session->fuse, cache->dropped.nodes[i], 0, 0);
        pthread_mutex_lock(&cache->lock);
        again = cache->again;
        if (again) {
            begin(cache);
        } else {
            cache->dropping = false;
            atomic_store(&cache->end, cache->filled.end);
        }
        pthread_mutex_unlock(&cache->lock);
    } while (again);
    fence_lower(cache->fence, &cache->post);
    cache_unref(cache);
    notice_end(session);
}

static void holes_made(struct partition_watch *watch)
{
    struct pagecache *cache = CONTAINER_OF(watch, struct pagecache, watch);

    pthread_mutex_lock(&cache->lock);
    if (cache->dropping)
        cache->again = true;
    else if (cache->filled.count > 0)
        start(cache);
    pthread_mutex_unlock(&cache->lock);
}

/* ---- a pfile's ---- */

static struct pagecache *cache_of(struct pfile *pfile)
{
    return atomic_load_explicit(&pfile->pagecache, memory_order_acquire);
}

void pagecache_free(struct pagecache *cache)
{
    if (cache == NULL)
        return;
    partition_watch(cache->part, NULL);
    cache_unref(cache);
}

static struct pagecache *cache_new(const struct pfile *pfile, struct session *session)
{
    struct pagecache *cache = calloc(1, sizeof *cache);

    if (cache == NULL)
        return NULL;
    cache->fence = fence_new(session->node);
    if (cache->fence == NULL) {
        free(cache);
        return NULL;
    }
    atomic_init(&cache->refs, 1);
    cache->fence->patience_ms = LIMIT_DROP_MS;
    cache->session = session;
    cache->part = pfile->part;
    cache->filled = no_pages;
    cache->work.run = drop;
    cache->watch.holes_made = holes_made;
    atomic_init(&cache->end, INT64_MAX);
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

/* The pfile's, made when it is first needed. NULL: no memory. */
static struct pagecache *cache_make(struct pfile *pfile, struct session *session)
{
    static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
    struct pagecache *cache = cache_of(pfile);

    if (cache != NULL)
        return cache;
    pthread_mutex_lock(&making);
    cache = cache_of(pfile);
    if (cache == NULL) {
        cache = cache_new(pfile, session);
        if (cache != NULL)
            partition_watch(pfile->part, &cache->watch);
        atomic_store(&pfile->pagecache, cache);
    }
    pthread_mutex_unlock(&making);
    return cache;
}

/* ---- filling ---- */

static bool has_node(const struct pages *pages, fuse_ino_t id)
{
    for (int i = 0; i < pages->count; i++) {
        if (pages->nodes[i] == id)
            return true;
    }
    return false;
}

/* Under the lock. false: the list is full. */
static bool note_node(struct pages *pages, fuse_ino_t id)
{
    if (has_node(pages, id))
        return true;
    if (pages->count == LIMIT_CACHED_NODES)
        return false;
    pages->nodes[pages->count++] = id;
    return true;
}

int pagecache_fill(struct pfile *pfile, struct session *session, fuse_ino_t id, int64_t end, int64_t *limit)
{
    struct pagecache *cache = cache_make(pfile, session);
    bool too_fast, noted;

    if (cache == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&cache->lock);
    too_fast =
        cache->drops >= LIMIT_DROPS && same_second(cache) && end > partition_high_watermark(pfile->part).position;
    noted = !too_fast && note_node(&cache->filled, id);
    if (noted) {
        /* Whoever has read a greater high watermark than the one below reads `end` behind that (pagecache_shown()),
         * so either sees this, and comes for the lock, or read his before this and so before the one below. */
        if (!cache->dropping)
            atomic_store(&cache->end, 0);
        *limit = partition_high_watermark(pfile->part).position;
        if (end > *limit && *limit < cache->filled.end)
            cache->filled.end = *limit;
        if (!cache->dropping)
            atomic_store(&cache->end, cache->filled.end);
    } else if (!too_fast && !cache->dropping) {
        start(cache);
    }
    pthread_mutex_unlock(&cache->lock);
    return noted ? 0 : -EINVAL;
}

int64_t pagecache_shown(struct pfile *pfile, int64_t position)
{
    struct pagecache *cache = cache_of(pfile);
    int64_t end;

    if (cache == NULL || position <= atomic_load(&cache->end))
        return position;
    pthread_mutex_lock(&cache->lock);
    end = atomic_load(&cache->end);
    pthread_mutex_unlock(&cache->lock);
    return position < end ? position : end;
}

void pagecache_look(struct pfile *pfile)
{
    struct pagecache *cache = cache_of(pfile);
    int64_t position;

    if (cache == NULL || atomic_load(&cache->end) == INT64_MAX)
        return;
    position = partition_high_watermark(pfile->part).position;
    pthread_mutex_lock(&cache->lock);
    if (!cache->dropping && position > atomic_load(&cache->end))
        start(cache);
    pthread_mutex_unlock(&cache->lock);
}

void pagecache_append(struct pfile *pfile, fuse_ino_t id)
{
    struct pagecache *cache = cache_of(pfile);

    if (cache == NULL)
        return;
    pthread_mutex_lock(&cache->lock);
    if (has_node(&cache->filled, id) && cache->filled.end != INT64_MAX) {
        if (cache->dropping)
            cache->again = true;
        else
            start(cache);
    }
    pthread_mutex_unlock(&cache->lock);
}

struct fence *pagecache_fence(struct pfile *pfile)
{
    struct pagecache *cache = cache_of(pfile);

    return cache != NULL ? cache->fence : NULL;
}
