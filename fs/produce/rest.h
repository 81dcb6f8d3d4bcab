/* fs/produce/rest.h: the unterminated rest that waits in an open file. Caller: the one write(2), or RELEASE, of the
 * open file; producer.lock is taken inside. */
#ifndef LOGMNT_FS_PRODUCE_REST_H
#define LOGMNT_FS_PRODUCE_REST_H

#include "fs/tree/handle.h"

/* Makes room for len bytes, so that a rest_set() of as many cannot fail. -ENOMEM. */
int rest_reserve(struct handle *handle, size_t len);
/* Replaces the rest. 0 or -ENOMEM (then it is as before). data may not lie in the rest. */
int rest_set(struct handle *handle, const uint8_t *data, size_t len, const struct framing_state *scan);
/* Adds to it. 0 or -ENOMEM, likewise. */
int rest_append(struct handle *handle, const uint8_t *data, size_t len, const struct framing_state *scan);
void rest_drop(struct handle *handle);
/* A close(2) of one of its descriptors is about to return: if something waits, the partition's fence goes up until that
 * close turns out to have been the last one, or not. Any thread. */
void rest_fence(struct handle *handle);

#endif
