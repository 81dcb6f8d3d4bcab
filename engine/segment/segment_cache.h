/* engine/segment/segment_cache.h: the LRU of open segment files, one for all logs.
 *
 * A ring with a clock hand: a segment that was pinned since the hand last passed gets another round. What is not on the
 * disk is open: the kernel may forget a write error with the last descriptor of a file. */
#ifndef LOGMNT_ENGINE_SEGMENT_SEGMENT_CACHE_H
#define LOGMNT_ENGINE_SEGMENT_SEGMENT_CACHE_H

#include "engine/base/io.h"

struct segment;
struct segment_cache;

struct segment_cache *segment_cache_new(struct io *io, unsigned max_open);
void segment_cache_free(struct segment_cache *cache); /* after the last log_close() */

/* The rest is for segment*.c. */

/* Counts the caller in, who is about to open a segment, and closes idle ones where there are more open than there
 * should be; only such as are on the disk, since whoever opens one may be a reader, who waits for nobody's fdatasync.
 * Where all idle ones are dirty the bound is passed for now. No segment's open_lock is held. */
void segment_cache_reserve(struct segment_cache *cache);
/* More are open than there should be: one load. */
bool segment_cache_is_over(struct segment_cache *cache);
/* Closes idle ones as above, and if there are too many still, one dirty one, which is fdatasync-ed first; if that fails
 * its log goes offline. For who is about to make a clean segment dirty while segment_cache_is_over(): each pays for
 * one, so their number does not grow. false: there was nothing to be done. No segment's open_lock is held. */
bool segment_cache_make_room(struct segment_cache *cache);
/* The caller counted in but opened nothing. */
void segment_cache_cancel(struct segment_cache *cache);
/* An opened segment joins; one that is closed by other means leaves (and is counted out). Under its open_lock. */
void segment_cache_add(struct segment_cache *cache, struct segment *seg);
void segment_cache_remove(struct segment_cache *cache, struct segment *seg);
/* How many are open now: for tests and status. */
unsigned segment_cache_open(struct segment_cache *cache);

#endif
