/* engine/segment/segment_cache.h: the LRU of open segment files, for segment.c alone (log.h declares new and free).
 *
 * A ring with a clock hand: a segment that was pinned since the hand last passed gets another round. */
#ifndef LOGMNT_ENGINE_SEGMENT_SEGMENT_CACHE_H
#define LOGMNT_ENGINE_SEGMENT_SEGMENT_CACHE_H

#include "engine/segment/segment.h"

/* Makes room for one more open segment, closing an idle one where needed (a dirty one is fdatasync-ed first; if that
 * fails its log goes offline). Counts the caller in. No segment's open_lock is held. */
void segment_cache_reserve(struct segment_cache *cache);
/* The caller counted in but opened nothing. */
void segment_cache_cancel(struct segment_cache *cache);
/* An opened segment joins; one that is closed by other means leaves (and is counted out). Under its open_lock. */
void segment_cache_add(struct segment_cache *cache, struct segment *seg);
void segment_cache_remove(struct segment_cache *cache, struct segment *seg);
/* How many are open now: for tests and status. */
unsigned segment_cache_open(struct segment_cache *cache);

#endif
