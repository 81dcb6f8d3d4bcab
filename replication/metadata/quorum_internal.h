/* replication/metadata/quorum_internal.h: what quorum.c, quorum_replay.c and quorum_server.c share. */
#ifndef LOGMNT_REPLICATION_METADATA_QUORUM_INTERNAL_H
#define LOGMNT_REPLICATION_METADATA_QUORUM_INTERNAL_H

#include "replication/metadata/quorum.h"

/* ---- reading the log: quorum_replay.c ---- */

/* Decodes the records from offset `from` to offset `to` and calls each() for them, in order; a non-zero return ends it
 * and is returned. -EBADMSG: damaged, or not all there; errnos of the disk. */
int quorum_each_record(struct quorum *quorum, int64_t from, int64_t to,
                       int (*each)(struct quorum *quorum, const struct command *cmd, int64_t offset, struct err *e),
                       struct err *e);
/* Applies what is decided and not yet applied. -EBADMSG: also what was decided by other rules. */
int quorum_replay(struct quorum *quorum, struct err *e);

/* ---- the server: quorum_server.c; each by whoever has the turn ---- */

/* Tells the server of the log, begins it, and does what it asks for: when it returns 0, what is decided is known. The
 * snapshot has been read. -EBADMSG; -EROFS: it is not the only voter; errnos of the disk. */
int quorum_server_start(struct quorum *quorum, struct err *e);
/* After that was -ENOSPC or -EDQUOT: this server does not lead, and what is decided is known all the same, if it is the
 * only voter: all of the log. quorum_server_start() is to be tried again. -ENOSPC: it is not; errnos of the disk. */
int quorum_server_wait(struct quorum *quorum, struct err *e);
/* More of the log is on the disk. */
void quorum_server_flushed(struct quorum *quorum);
/* A snapshot holds all that was applied. */
void quorum_server_trimmed(struct quorum *quorum);
/* Appends one record of the quorum's leader. As log_append(). */
int quorum_append_record(struct quorum *quorum, const void *data, size_t len, int64_t time_ms,
                         struct log_append_result *out, struct err *e);

#endif
