/* replication/replica/partition_metadata.h: partition.metadata in each partition's directory: which topic it belongs
 * to. docs/DISK_FORMAT.md. */
#ifndef LOGMNT_REPLICATION_REPLICA_PARTITION_METADATA_H
#define LOGMNT_REPLICATION_REPLICA_PARTITION_METADATA_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "replication/base/uuid.h"

#define PARTITION_METADATA_FILE "partition.metadata"

/* The topic id that a partition's directory says it belongs to. -ENOENT: no file, or one of which a power cut
 * left only a beginning; -EBADMSG: damaged. */
int partition_metadata_read(struct io *io, int partition_dirfd, uint8_t id[UUID_BYTES], struct err *e);
/* Not durable by itself: it is on the disk with the first fsync of the directory, which comes before the first record
 * is acknowledged as durable. */
int partition_metadata_write(struct io *io, int partition_dirfd, const uint8_t id[UUID_BYTES], bool durable,
                             struct err *e);

#endif
