/* replication/metadata/raft_history.h: the voters as the log's records have set them, one after the other.
 *
 * Voters are in force from the moment that their record is in the log, committed or not, and those before it again when
 * it is truncated (KIP-853). So all sets since the log's start are kept, with their offsets; the one below the start
 * comes from the snapshot. One owner; no locks. */
#ifndef LOGMNT_REPLICATION_METADATA_RAFT_HISTORY_H
#define LOGMNT_REPLICATION_METADATA_RAFT_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "replication/wire/raft_voters.h"

struct raft_change {
    int64_t offset;            /* of the record */
    struct raft_voters voters; /* in force from it on */
    struct raft_voters target; /* what they are to become, one server at a time; the same: they are at rest */
};

struct raft_history {
    struct raft_change *changes; /* rising in offset */
    size_t count, size;
};

/* Zero-initialise. */
void raft_history_free(struct raft_history *history);
/* Room for n more, so that to add them cannot fail. -ENOMEM: nothing has changed. */
int raft_history_reserve(struct raft_history *history, size_t n);
/* Behind all others. -ENOMEM: nothing has changed. */
int raft_history_add(struct raft_history *history, const struct raft_change *change);
/* Forgets the records at or above end. */
void raft_history_truncate(struct raft_history *history, int64_t end);
/* Forgets the records below start, except the last of them, which is still in force there. */
void raft_history_trim(struct raft_history *history, int64_t start);
/* The one in force for a log that ends at offset: of the last record below it. Never NULL; of no voters where there is
 * none. Good until the next change of the history. */
const struct raft_change *raft_history_at(const struct raft_history *history, int64_t offset);
const struct raft_change *raft_history_latest(const struct raft_history *history);

#endif
