/* replication/wire/snapshot_message.h: a snapshot of the metadata on its way to another node, in pieces (KIP-630's
 * FetchSnapshot): the headers of the question and of its answer, whose body is the piece. docs/WIRE.md lays them down.
 * Pure; any thread, no locks. */
#ifndef LOGMNT_REPLICATION_WIRE_SNAPSHOT_MESSAGE_H
#define LOGMNT_REPLICATION_WIRE_SNAPSHOT_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

enum { SNAPSHOT_MESSAGE_BYTES = 64 };

struct snapshot_message {
    uint64_t session; /* of who asks; comes back */
    int64_t offset;   /* which snapshot: of the records below it */
    int32_t epoch;    /* likewise: of the last of those */
    int64_t at;       /* the piece's first byte in the file */
    int64_t size;     /* an answer: of the whole file; -1: that snapshot is not there any more */
};

size_t snapshot_message_encode(const struct snapshot_message *msg, uint8_t out[SNAPSHOT_MESSAGE_BYTES]);
/* -EBADMSG with the reason: not one array, too few elements, one that is not what it should be, no memory. */
int snapshot_message_decode(const uint8_t *data, size_t len, struct snapshot_message *out, struct err *e);

#endif
