/* replication/metadata/snapshot.h: the metadata as one file, so that the log before it can be dropped.
 *
 * The body is a row of commands which, applied to nothing, give the state: the same encoding and the same checks as the
 * log's. In front of it a header of 32 bytes (docs/DISK_FORMAT.md). Replaced as a whole, durably. */
#ifndef LOGMNT_REPLICATION_METADATA_SNAPSHOT_H
#define LOGMNT_REPLICATION_METADATA_SNAPSHOT_H

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "replication/metadata/metadata.h"

#define SNAPSHOT_FILE "metadata.snapshot"

/* The file's bytes. Zero-initialise. */
struct snapshot {
    void *data; /* malloc-ed */
    size_t len;
};

/* The metadata as it is. -ENOMEM: *out is empty. */
int snapshot_encode(const struct metadata *meta, struct snapshot *out, struct err *e);
void snapshot_free(struct snapshot *snapshot);
/* Errnos of the disk; the old file stays then. */
int snapshot_write(struct io *io, int dirfd, const struct snapshot *snapshot, struct err *e);
/* Into *meta, fresh from metadata_init(). No file: 0 and *meta as it was. -EBADMSG: damaged. */
int snapshot_read(struct io *io, int dirfd, struct metadata *meta, struct err *e);

#endif
