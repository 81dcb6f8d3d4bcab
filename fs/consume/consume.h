/* fs/consume/consume.h: read(2) of a partition, from its start or from an address.
 *
 * A reader's position is mapped to the partition's (posmap.h), pieces are put together over holes, and the bytes go out
 * by splice where one piece of some size of a local file is the answer, by copy otherwise. */
#ifndef LOGMNT_FS_CONSUME_CONSUME_H
#define LOGMNT_FS_CONSUME_CONSUME_H

#include "fs/consume/reading.h"

/* Answers a READ. owner 0: it comes through the page cache (docs/ARCHITECTURE.md, The life of a read). */
void consume_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner);

/* ---- shared with follow.c ---- */

/* The partition's position of an open file's position 0. */
int64_t consume_base(const struct handle *handle);
/* Begins reading->copy: reading->size bytes at reading->pos. Under the handle's lock. */
void consume_begin(struct reading *reading, bool backwards);
/* Goes on with it, and takes in the answer to its last question. Who reads on over a hole gets the next bytes that
 * exist. Who reads backwards, block by block, would get them again and again: he gets what lies before the hole or, if
 * that is nothing, one NUL byte, so that he goes on to where he wants to be (tail(1): to the start, when there are
 * fewer lines than it looks for). ASKING_OVER: reading->got is the count, 0: nothing below the high watermark, or a
 * negative errno. Takes the handle's lock. */
enum asking_next consume_go(struct reading *reading);

#endif
