/* fs/consume/follow.h: `.follow`: the partition's bytes, where a read at the end waits for more.
 *
 * A waiting read is parked with the partition and answered by the appender that makes the next record visible; many
 * waiters are answered by a pool thread instead, so that the appender does not pay for them. A program may seek back
 * over the last MiB it read (what retention removed meanwhile is skipped). */
#ifndef LOGMNT_FS_CONSUME_FOLLOW_H
#define LOGMNT_FS_CONSUME_FOLLOW_H

#include "fs/tree/handle.h"

void follow_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner, bool nonblock);
/* Answers a POLL; ph is taken over (NULL: nobody waits). */
void follow_poll(fuse_req_t req, struct handle *handle, struct fuse_pollhandle *ph);
/* RELEASE: takes back what poll registered. */
void follow_release(struct handle *handle);

#endif
