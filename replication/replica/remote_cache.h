/* replication/replica/remote_cache.h: bytes of a partition that came from another node, for a moment: what was read
 * ahead of a reader that goes on, so that it is bound by the link and not by round trips.
 *
 * A chunk is one answer: pieces, and between them and up to its end nothing. It is given out for LIMIT_CHUNK_MS at
 * most, since retention may remove what it holds, and goes as soon as a reader has passed it. The window doubles while
 * one goes on where the last one stopped, and is nothing for who jumps. No locks: the remote's. */
#ifndef LOGMNT_REPLICATION_REPLICA_REMOTE_CACHE_H
#define LOGMNT_REPLICATION_REPLICA_REMOTE_CACHE_H

#include "replication/replica/partition_read.h"
#include "replication/wire/frame.h"
#include "replication/wire/read_message.h"

struct chunk;

struct remote_cache {            /* zero-initialise, set held_bytes */
    _Atomic int64_t *held_bytes; /* in all caches of the node */
    struct chunk *chunks;
    int count;
    int64_t next;   /* where the last reader stopped */
    int64_t window; /* how far behind that is wanted; 0: nothing */
};

void remote_cache_clear(struct remote_cache *cache);
/* An answer to a read at `from`, with bytes. 0: the frame is the cache's; -ENOMEM. */
int remote_cache_add(struct remote_cache *cache, int64_t from, const struct read_answer *answer, struct frame *frame,
                     int64_t now_ms);
/* Answers a READ_BYTES from op->from on, or moves that over what is known to be nothing. true: answered, or op->from is
 * at the op's limit. */
bool remote_cache_serve(struct remote_cache *cache, struct read_op *op, int64_t now_ms);
/* The end of the chunk that holds a position; the position itself: none does. */
int64_t remote_cache_covers(const struct remote_cache *cache, int64_t position, int64_t now_ms);
/* How many bytes a read for this op asks for. */
uint32_t remote_cache_ask(const struct remote_cache *cache, const struct read_op *op);
/* Up to where bytes are wanted before they are asked for. */
int64_t remote_cache_wants(const struct remote_cache *cache);
/* There is nothing ahead, for now. */
void remote_cache_stop(struct remote_cache *cache);
void remote_cache_expire(struct remote_cache *cache, int64_t now_ms);

#endif
