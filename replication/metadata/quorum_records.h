/* replication/metadata/quorum_records.h: records of the metadata log on their way to another node: the body of a
 * fetch's answer. Batches one behind the other, each as 16 bytes of offset and position, the 64 bytes of its entry
 * (batch.h), and its own bytes. docs/WIRE.md. Pure but for the reading; no locks. */
#ifndef LOGMNT_REPLICATION_METADATA_QUORUM_RECORDS_H
#define LOGMNT_REPLICATION_METADATA_QUORUM_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/log/log.h"

enum { QUORUM_BATCH_BYTES = 16 + BATCH_ENTRY_BYTES };

struct quorum_records {
    uint8_t *data; /* malloc-ed; the caller's to free */
    size_t len;
};

/* The batches from offset on, at most LIMIT_QUORUM_FETCH_BYTES of them, but for a first one that is longer. None:
 * {NULL, 0}. The first one: -EBADMSG: it is damaged; errnos of the disk; -ENOMEM. *out is empty then. */
int quorum_records_read(struct io *io, struct log *log, int64_t offset, struct quorum_records *out, struct err *e);

/* Takes one batch off the front of what is left; what it points to is in data. 1: *out is one; 0: nothing is left;
 * -EBADMSG: what is left is none, with the reason. */
int quorum_records_next(const uint8_t **data, size_t *len, struct log_copy *out, struct err *e);

#endif
