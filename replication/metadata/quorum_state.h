/* replication/metadata/quorum_state.h: DATA/quorum-state, what a server of the quorum must not forget: its epoch, its
 * vote and the leader that it knows (KIP-595). A sealed text file, replaced as a whole and fsynced. */
#ifndef LOGMNT_REPLICATION_METADATA_QUORUM_STATE_H
#define LOGMNT_REPLICATION_METADATA_QUORUM_STATE_H

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "replication/metadata/raft.h"

#define QUORUM_STATE_FILE "quorum-state"

/* self: the server that the directory is of, to be told apart from a file that was copied from another's.
 * -ENOENT: there is none, *out is zero: nothing was ever voted, unless it is lost (the log's last epoch, which is never
 * above the state's, tells). -EBADMSG: damaged, or another server's. Errnos of the disk. */
int quorum_state_read(struct io *io, int dirfd, struct raft_id self, struct raft_state *out, struct err *e);
/* Durable when it returns 0; after a failure the file is the old or the new one, and the node must not go on. */
int quorum_state_write(struct io *io, int dirfd, struct raft_id self, const struct raft_state *state, struct err *e);

#endif
