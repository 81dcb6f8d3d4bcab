/* fs/produce/produce.h: write(2) → records → batches.
 *
 * The complete records of one write, with what waited in the open file in front of them, become one batch (for `.any`
 * one for each partition that a key or the sticky choice picks); the unterminated rest waits in the open file. Nothing
 * of a write that fails has happened. Fences and lingering are settled here. */
#ifndef LOGMNT_FS_PRODUCE_PRODUCE_H
#define LOGMNT_FS_PRODUCE_PRODUCE_H

#include "fs/tree/handle.h"

/* Answers a WRITE, for which handle_write_begun() was called; flags are the open file's at the time of the write
 * (F_SETFL changes them). */
void produce_write(fuse_req_t req, struct handle *handle, const char *data, size_t len, int flags);
/* FLUSH: a descriptor of the open file was closed. */
void produce_flush(fuse_req_t req, struct handle *handle);
/* RELEASE, or the end of the session: the rest becomes a record (line), or is dropped and logged (msgpack). */
void produce_release(struct handle *handle);

#endif
