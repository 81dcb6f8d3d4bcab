/* fs/produce/any.h: which partition the records of an open file go to: its own, or for `.any` what Kafka's default
 * partitioner says: murmur2 of the key where records have keys (key.separator; a compacted topic of MessagePack
 * arrays), otherwise one partition until batch.size bytes have gone there. */
#ifndef LOGMNT_FS_PRODUCE_ANY_H
#define LOGMNT_FS_PRODUCE_ANY_H

#include "fs/produce/write_op.h"
#include "fs/tree/handle.h"

/* An open `.any` whose records may have keys: use any_split(). */
bool any_keyed(const struct handle *handle);
/* Where len bytes of records without keys go: the open file's partition, or the sticky choice. NULL: no memory. */
struct pfile *any_target(struct handle *handle, size_t len);
/* Where one record goes (without its newline). */
struct pfile *any_target_of(struct handle *handle, const uint8_t *record, size_t len);
/* Whether one of the records that wait and data[0 … end) lacks the key that its topic asks for (cleanup.policy). */
bool any_lacks_key(const struct handle *handle, const uint8_t *data, size_t end);
/* The records that wait and data[0 … end), gathered by partition into the parts of an op. NULL: no memory. */
struct write_op *any_split(struct handle *handle, const uint8_t *data, size_t end);

#endif
