#include "replication/replica/remote_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/replica/partition_internal.h"

enum { LEAST_ASK_BYTES = 64 << 10 };

struct chunk {
    struct chunk *next;
    struct read_block *block; /* its frame's body */
    int64_t from, end;
    int64_t born_ms;
    int32_t leader_epoch; /* read_op's */
    uint32_t count;
    struct {
        int64_t position;
        uint32_t len;
        uint32_t at; /* in the body */
    } pieces[];
};

static void chunk_free(struct remote_cache *cache, struct chunk *chunk)
{
    atomic_fetch_sub(cache->held_bytes, chunk->block->frame->body_bytes);
    read_block_unref(chunk->block);
    free(chunk);
}

/* Takes out those for which gone() says so. */
static void sweep(struct remote_cache *cache, bool (*gone)(const struct chunk *chunk, int64_t arg), int64_t arg)
{
    for (struct chunk **link = &cache->chunks; *link != NULL;) {
        struct chunk *chunk = *link;
        if (!gone(chunk, arg)) {
            link = &chunk->next;
            continue;
        }
        *link = chunk->next;
        cache->count--;
        chunk_free(cache, chunk);
    }
}

static bool any(const struct chunk *chunk, int64_t arg)
{
    (void)chunk, (void)arg;
    return true;
}

static bool is_old(const struct chunk *chunk, int64_t now_ms)
{
    return now_ms - chunk->born_ms >= LIMIT_CHUNK_MS;
}

static bool is_passed(const struct chunk *chunk, int64_t position)
{
    return chunk->end <= position;
}

void remote_cache_clear(struct remote_cache *cache)
{
    sweep(cache, any, 0);
}

void remote_cache_stop(struct remote_cache *cache)
{
    cache->window = 0;
}

void remote_cache_expire(struct remote_cache *cache, int64_t now_ms)
{
    sweep(cache, is_old, now_ms);
}

/* The oldest goes when there are too many: it is the last one. */
static void make_room(struct remote_cache *cache)
{
    struct chunk **link = &cache->chunks;
    if (cache->count < LIMIT_CHUNKS)
        return;
    while ((*link)->next != NULL)
        link = &(*link)->next;
    chunk_free(cache, *link);
    *link = NULL;
    cache->count--;
}

int remote_cache_add(struct remote_cache *cache, int64_t from, const struct read_answer *answer, struct frame *frame,
                     int64_t now_ms)
{
    struct chunk *chunk = malloc(sizeof *chunk + answer->count * sizeof *chunk->pieces);
    struct read_block *block = chunk != NULL ? read_block_new(0) : NULL;
    uint32_t at = 0;
    if (block == NULL) {
        free(chunk);
        return -ENOMEM;
    }
    block->frame = frame;
    *chunk = (struct chunk){.block = block,
                            .from = from,
                            .end = answer->end,
                            .born_ms = now_ms,
                            .leader_epoch = answer->epochs.record,
                            .count = answer->count};
    for (uint32_t i = 0; i < answer->count; i++) {
        chunk->pieces[i].position = answer->pieces[i].position;
        chunk->pieces[i].len = answer->pieces[i].len;
        chunk->pieces[i].at = at;
        at += answer->pieces[i].len;
    }
    make_room(cache);
    atomic_fetch_add(cache->held_bytes, frame->body_bytes);
    chunk->next = cache->chunks;
    cache->chunks = chunk;
    cache->count++;
    return 0;
}

static const struct chunk *chunk_at(const struct remote_cache *cache, int64_t position, int64_t now_ms)
{
    for (const struct chunk *chunk = cache->chunks; chunk != NULL; chunk = chunk->next) {
        if (chunk->from <= position && position < chunk->end && !is_old(chunk, now_ms))
            return chunk;
    }
    return NULL;
}

int64_t remote_cache_covers(const struct remote_cache *cache, int64_t position, int64_t now_ms)
{
    const struct chunk *chunk = chunk_at(cache, position, now_ms);
    return chunk != NULL ? chunk->end : position;
}

/* The first piece that ends behind a position; count: none. */
static uint32_t piece_at(const struct chunk *chunk, int64_t position)
{
    uint32_t low = 0, high = chunk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->pieces[middle].position + chunk->pieces[middle].len <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A reader got the bytes of [at, end). */
static void note_reader(struct remote_cache *cache, int64_t at, int64_t end)
{
    bool goes_on = at == cache->next;
    cache->window = !goes_on                                     ? 0
                    : cache->window == 0                         ? LIMIT_READ_CHUNK_BYTES
                    : cache->window < LIMIT_READ_AHEAD_BYTES / 2 ? cache->window * 2
                                                                 : LIMIT_READ_AHEAD_BYTES;
    cache->next = end;
    if (goes_on)
        sweep(cache, is_passed, end);
}

bool remote_cache_serve(struct remote_cache *cache, struct read_op *op, int64_t now_ms)
{
    const struct chunk *chunk;
    while ((chunk = chunk_at(cache, op->from, now_ms)) != NULL && op->from < op->limit) {
        uint32_t i = piece_at(chunk, op->from);
        int64_t start = i < chunk->count ? chunk->pieces[i].position : chunk->end;
        if (start > op->from)
            op->from = start;
        if (i == chunk->count || op->from >= op->limit)
            continue;
        uint32_t skip = (uint32_t)(op->from - chunk->pieces[i].position);
        size_t len = chunk->pieces[i].len - skip;
        if (len > op->max)
            len = op->max;
        if (op->limit - op->from < (int64_t)len)
            len = (size_t)(op->limit - op->from);
        op->extent = (struct log_extent){.fd = -1, .position = op->from, .len = len};
        op->block = chunk->block;
        atomic_fetch_add(&op->block->refs, 1);
        op->bytes = chunk->block->frame->body + chunk->pieces[i].at + skip;
        op->found = true;
        op->leader_epoch = chunk->leader_epoch;
        note_reader(cache, op->at, op->from + (int64_t)len);
        return true;
    }
    return op->from >= op->limit;
}

uint32_t remote_cache_ask(const struct remote_cache *cache, const struct read_op *op)
{
    size_t max = op->max > LEAST_ASK_BYTES ? op->max : LEAST_ASK_BYTES;
    if (op->at == cache->next && max < LIMIT_READ_CHUNK_BYTES)
        max = LIMIT_READ_CHUNK_BYTES;
    return (uint32_t)(max < LIMIT_READ_BYTES ? max : LIMIT_READ_BYTES);
}

int64_t remote_cache_wants(const struct remote_cache *cache)
{
    return cache->next + cache->window;
}
