/* fs/produce/rest.h: the unterminated rest that waits in an open file. The caller has the open file's turn (turn.h);
 * producer.lock is taken inside. Only rest_reserve() can fail, so that what was accepted is never dropped for want of
 * memory. */
#ifndef LOGMNT_FS_PRODUCE_REST_H
#define LOGMNT_FS_PRODUCE_REST_H

#include "fs/tree/handle.h"

/* Room for len bytes behind the rest, for the newline that a last close puts there, and for that close. -ENOMEM. */
int rest_reserve(struct handle *handle, size_t len);
/* All that follow take what was reserved. Replaces the rest; data may not lie in it. */
void rest_set(struct handle *handle, const uint8_t *data, size_t len, const struct framing_state *scan);
/* Adds to it. */
void rest_append(struct handle *handle, const uint8_t *data, size_t len, const struct framing_state *scan);
/* Puts data behind the rest without being part of it: what a write leaves when it has succeeded. */
void rest_stage(struct handle *handle, const uint8_t *data, size_t len);
/* It has: what was put there, len bytes, replaces the rest. */
void rest_set_staged(struct handle *handle, size_t len, const struct framing_state *scan);
void rest_drop(struct handle *handle);
/* The rest's memory, malloc-ed, with room for a byte more, is the caller's; the open file has none. */
uint8_t *rest_take(struct handle *handle);
/* A close(2) of one of its descriptors is about to return: if something waits, the partition's fence goes up until that
 * close turns out to have been the last one, or not. Any thread, without the turn. */
void rest_fence(struct handle *handle);

#endif
