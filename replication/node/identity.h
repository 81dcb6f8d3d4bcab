/* replication/node/identity.h: who a data directory belongs to and whether it was left in order: DATA/meta.properties
 * and DATA/clean-shutdown. Small text files; docs/DISK_FORMAT.md. */
#ifndef LOGMNT_REPLICATION_NODE_IDENTITY_H
#define LOGMNT_REPLICATION_NODE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "replication/base/uuid.h"
#include "replication/executor/executor.h"

struct identity {
    int32_t node_id;
    char cluster_id[UUID_TEXT_BYTES]; /* "": of no cluster yet */
    /* Of this data directory, never 0: a random number. In the metadata quorum a server is a node and an incarnation,
     * so that one whose disk was lost is somebody else (KIP-853). */
    uint64_t incarnation;
    uint64_t renewed; /* the one that this directory had before that and was last registered under; 0: none */
};

/* Whether there is a DATA/meta.properties, or may be. */
bool identity_is_there(struct io *io, int dirfd);
/* Reads DATA/meta.properties, or makes it for node_id with a new incarnation and no cluster; what a version that had no
 * incarnations made is given one. All of it is on the disk when this returns.
 * -EINVAL: of another node; -EBADMSG: damaged, by name; errnos of the disk. */
int identity_load(struct io *io, struct executor *executor, int dirfd, int32_t node_id, struct identity *out,
                  struct err *e);
/* The directory is of that cluster from here on, durably: it was of none. Errnos of the disk; *identity is then as it
 * was. */
int identity_join(struct io *io, int dirfd, struct identity *identity, const char *cluster_id, struct err *e);

/* Another incarnation for the same directory, durably: what the old one may have promised binds it no more, and it is
 * no voter where the old one was. The node's registration names both, so that it still has what the directory has.
 * registered: as which one the cluster knows the node; where that is `renewed` still, nobody has heard of the last one,
 * and it stays so. 0: not known. Errnos of the disk; *identity is then as it was. */
int identity_renew(struct io *io, struct executor *executor, int dirfd, struct identity *identity, uint64_t registered,
                   struct err *e);

/* Was the node stopped cleanly? */
int identity_clean(struct io *io, int dirfd, bool *clean, struct err *e);
/* The mark, durably. */
int identity_clean_set(struct io *io, int dirfd, int64_t wall_ms, struct err *e);
/* There is none any more, on the disk; nor is anything else of the directory another one there than a start has read:
 * incarnation, quorum-state, which a process that was killed has renamed, and perhaps no more. */
int identity_clean_clear(struct io *io, int dirfd, struct err *e);

#endif
