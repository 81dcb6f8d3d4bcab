/* replication/metadata/snapshot.h: the metadata as one file, so that the log before it can be dropped.
 *
 * The body is a row of commands which, applied to nothing, give the state: the same encoding and the same checks as the
 * log's. In front of it a header of 32 bytes (docs/DISK_FORMAT.md). Replaced as a whole, durably. */
#ifndef LOGMNT_REPLICATION_METADATA_SNAPSHOT_H
#define LOGMNT_REPLICATION_METADATA_SNAPSHOT_H

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/log/log.h"
#include "replication/metadata/metadata.h"

#define SNAPSHOT_FILE "metadata.snapshot"
/* One that came from another node, complete, and whose log has yet to begin behind it. */
#define SNAPSHOT_NEW_FILE "metadata.snapshot.new"

/* The file's bytes. Zero-initialise. */
struct snapshot {
    void *data; /* malloc-ed */
    size_t len;
};

/* Which one it is: all records of the metadata log below end are in it. */
struct snapshot_id {
    struct log_point end; /* position -1: not known, of a build that kept none */
    int32_t epoch;        /* of the last of those records */
};

/* The metadata as it is; end: of the log below it. -ENOMEM: *out is empty. */
int snapshot_encode(const struct metadata *meta, struct log_point end, struct snapshot *out, struct err *e);
void snapshot_free(struct snapshot *snapshot);
/* Into *meta, fresh from metadata_init(). -EBADMSG: damaged; -ENOMEM. */
int snapshot_decode(const struct snapshot *snapshot, struct metadata *meta, struct snapshot_id *id, struct err *e);

/* Errnos of the disk; the old file of that name stays then. */
int snapshot_write(struct io *io, int dirfd, const char *name, const struct snapshot *snapshot, struct err *e);
/* Likewise, and decodes it. -ENOENT: no such file, and *meta is as it was. */
int snapshot_read(struct io *io, int dirfd, const char *name, struct metadata *meta, struct snapshot_id *id,
                  struct err *e);
/* Reads all of the file and holds it against its CRC. -EBADMSG: damaged; -ENOENT: no such file; errnos of the disk,
 * -ENOMEM. */
int snapshot_check(struct io *io, int dirfd, struct err *e);
/* Reads some bytes of the file of that offset and epoch: *size is its whole length, *got how many there were. -ENOENT:
 * it is another one by now, or there is none; errnos of the disk. */
int snapshot_read_piece(struct io *io, int dirfd, const struct snapshot_id *id, int64_t at, void *out, size_t room,
                        size_t *got, int64_t *size, struct err *e);
/* The new one takes the old one's place, durably. */
int snapshot_adopt(struct io *io, int dirfd, struct err *e);

#endif
