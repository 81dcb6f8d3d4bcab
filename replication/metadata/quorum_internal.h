/* replication/metadata/quorum_internal.h: what the files of the quorum share.
 *
 * quorum.c has the turns, quorum_server.c the machine's events and actions, quorum_fetch.c what this node fetches,
 * quorum_serve.c what others fetch from it, quorum_install.c snapshots between nodes, quorum_ops.c the commands,
 * quorum_apply.c what is decided, and quorum_replay.c reads the log record by record. */
#ifndef LOGMNT_REPLICATION_METADATA_QUORUM_INTERNAL_H
#define LOGMNT_REPLICATION_METADATA_QUORUM_INTERNAL_H

#include "replication/metadata/quorum.h"

/* What the loop's thread has for a turn; malloc-ed. */
enum quorum_mail_type { QUORUM_MAIL_FRAME, QUORUM_MAIL_UP, QUORUM_MAIL_DOWN, QUORUM_MAIL_GONE };

struct quorum_mail {
    struct mail mail;
    enum quorum_mail_type type;
    int32_t node;
    uint64_t process;    /* UP */
    bool goodbye;        /* DOWN */
    struct frame *frame; /* FRAME; owned */
};

/* ---- the server: quorum_server.c; a turn's, or before the start ---- */

/* Tells the server of the log, begins it, and does what it asks for. The snapshot has been read. The only voter leads
 * when this returns, or is stalled, and in both cases all of its log is decided. -EBADMSG; errnos of the disk. */
int quorum_server_start(struct quorum *quorum, struct err *e);
/* Tells one event, does all that follows from it, the events of records that were appended included. Only while WELL;
 * may leave it in another state. 0, or what CHANGE_VOTERS is answered with. */
int quorum_step(struct quorum *quorum, const struct raft_event *event);
/* recover: once no other voter was heard for long enough, another incarnation of this server is told to make the quorum
 * anew; one that is heard refuses it. */
void quorum_recover_tend(struct quorum *quorum);
void quorum_recover_heard(struct quorum *quorum, struct raft_id from);
/* STALLED: tries what was to be done again. */
void quorum_unstall(struct quorum *quorum);
/* It takes no part from here on. */
void quorum_fail(struct quorum *quorum, int rc, const struct err *e);
/* There is nobody to hand over to: the only voter, or a log that knows of none. */
bool quorum_is_alone(const struct quorum *quorum);
/* Appends one record in the leader's epoch. As log_append(). */
int quorum_append_record(struct quorum *quorum, const void *data, size_t len, int64_t time_ms,
                         struct log_append_result *out, struct err *e);
/* The epoch of the log's last record, looked up; of an empty log, the snapshot's. */
int quorum_find_end_epoch(struct quorum *quorum, struct err *e);
/* Sends it, if it can be sent. */
void quorum_send(struct quorum *quorum, const struct raft_message *msg, const struct iovec *body, int body_count);

/* ---- fetching: quorum_fetch.c; a turn's ---- */

/* Asks for more, if that is due. */
void quorum_fetch_tend(struct quorum *quorum);
/* When it is due next; INT64_MAX: never. */
int64_t quorum_fetch_deadline_ms(const struct quorum *quorum);
/* Cuts the log that follows back to that offset, which is not decided, or to its end. Errnos of the log. */
int quorum_cut(struct quorum *quorum, int64_t offset, struct err *e);
void quorum_on_fetch_answer(struct quorum *quorum, const struct raft_message *msg, const struct frame *frame);

/* ---- being fetched from: quorum_serve.c; a turn's ---- */

void quorum_on_fetch(struct quorum *quorum, const struct raft_message *msg);
/* What the machine says to a fetch. */
void quorum_serve_answer(struct quorum *quorum, const struct raft_message *msg);
/* Answers those for whom there is something. */
void quorum_serve(struct quorum *quorum);

/* ---- commands: quorum_ops.c ---- */

void quorum_ops_init(struct quorum *quorum);
/* A turn's: gives what is queued to the leader, if there is one to give it to. */
void quorum_ops_give(struct quorum *quorum);
void quorum_on_command(struct quorum *quorum, int32_t from, const struct frame *frame);
void quorum_on_command_answer(struct quorum *quorum, int32_t from, const struct frame *frame);
/* The applier's: the command was applied with that outcome; an epoch has begun. */
void quorum_ops_applied(struct quorum *quorum, const struct command *cmd, int rc, const struct err *e);
void quorum_ops_epoch(struct quorum *quorum, int32_t epoch);
/* Ends all that wait, for ever; the latter what was given to a leader. */
void quorum_ops_end(struct quorum *quorum, int queued_rc, int given_rc, const char *reason);
/* Any: a controller has answered. */
void quorum_ops_answered(struct quorum *quorum);

/* The applier's: what was given to a leader may have been among records that are never read here. */
void quorum_ops_skipped(struct quorum *quorum);

/* ---- snapshots from and for others: quorum_install.c; a turn's but for the first ---- */

/* Before the snapshot is read: one that was kept and not yet adopted. */
int quorum_install_resume(struct quorum *quorum, struct err *e);
/* A fetch was answered so. */
void quorum_install_begin(struct quorum *quorum, const struct raft_message *msg);
void quorum_install_tend(struct quorum *quorum);
int64_t quorum_install_deadline_ms(const struct quorum *quorum);
/* The work that keeps it has ended. */
void quorum_install_kept(struct quorum *quorum);
void quorum_install_free(struct quorum *quorum);
void quorum_on_snapshot_answer(struct quorum *quorum, int32_t from, const struct frame *frame);
void quorum_on_snapshot_fetch(struct quorum *quorum, int32_t from, const struct frame *frame);

/* ---- other voters: quorum_change.c; a turn's but for the last ---- */

void quorum_change_tend(struct quorum *quorum);
int64_t quorum_change_deadline_ms(struct quorum *quorum);
void quorum_on_change(struct quorum *quorum, int32_t from, const struct frame *frame);
void quorum_on_change_answer(struct quorum *quorum, int32_t from, const struct frame *frame);
/* Ends all: there are no turns any more. */
void quorum_change_end(struct quorum *quorum);

/* ---- applying: quorum_apply.c ---- */

void quorum_apply_init(struct quorum *quorum);
/* A turn's: sees to it that what is decided is applied. */
void quorum_apply(struct quorum *quorum);
/* A turn's: an apply has ended. */
void quorum_apply_over(struct quorum *quorum);
/* Any thread: a new snapshot is to be written, of what is in memory. */
void quorum_snapshot_want(struct quorum *quorum);

/* ---- reading the log: quorum_replay.c ---- */

/* Decodes the records from offset `from` to offset `to` and calls each() for them, in order, with where each of them
 * ends; a non-zero return ends it and is returned. -EBADMSG: damaged, or not all there; errnos of the disk. */
int quorum_each_record(struct quorum *quorum, int64_t from, int64_t to,
                       int (*each)(struct quorum *quorum, const struct command *cmd, struct log_point end,
                                   struct err *e),
                       struct err *e);
/* Applies what is decided and not yet applied, at the start. -EBADMSG: also what was decided by other rules. */
int quorum_replay(struct quorum *quorum, struct err *e);

#endif
