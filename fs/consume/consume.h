/* fs/consume/consume.h: read(2) of a partition, from its start or from an address.
 *
 * A reader's position is mapped to the partition's (posmap.h), extents are put together over holes, and the bytes go
 * out by splice where one extent of some size is the answer, by copy otherwise. */
#ifndef LOGMNT_FS_CONSUME_CONSUME_H
#define LOGMNT_FS_CONSUME_CONSUME_H

#include "fs/tree/handle.h"

/* Answers a READ. owner 0: it comes through the page cache (architecture.md, Reads). */
void consume_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner);

/* Answers a READ at pos with got bytes, or with a negative errno. */
void consume_answer(fuse_req_t req, struct handle *handle, int64_t pos, const uint8_t *bytes, int64_t got);

/* What a read gets from the log, shared with follow.c. */
struct consume_plan {
    struct handle *handle; /* its map is used and added to; handle's lock */
    int64_t base;          /* partition position of the file's position 0 */
    int64_t pos;           /* file position */
    int64_t limit;         /* the high watermark's position */
    size_t size;
    bool backwards; /* it is the block right before the one that was read last */
};
/* Copies into out (plan.size bytes). Who reads on over a hole gets the next bytes that exist. Who reads backwards,
 * block by block, would get them again and again: he gets what lies before the hole or, if that is nothing, one NUL
 * byte, so that he goes on to where he wants to be (tail(1): to the start, when there are fewer lines than it looks
 * for). Returns the count, 0: nothing below the limit, or a negative errno. */
int64_t consume_copy(const struct consume_plan *plan, uint8_t *out);
/* This thread's buffer of LIMIT_REQUEST_BYTES. NULL: no memory. */
uint8_t *consume_buffer(void);

#endif
