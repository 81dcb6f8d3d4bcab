/* replication/metadata/quorum.h: the metadata quorum: commands in, decided in one order by a majority of the voters,
 * applied by every node.
 *
 * Who decides is raft.h's: this node's server of the quorum is told what happens to the log and to its peers, and does
 * what it asks. All of that is done in turns of one mailbox: frames from peers, links that come and go, alarms, flushes
 * that have ended, commands that were submitted. Alone a node is the only voter: it leads from the start on, in a new
 * epoch each time, and what its own disk has is decided.
 *
 * A command is an op. The leader appends it to `__cluster_metadata-0` as one record; another node sends it to the
 * leader. Its record carries who proposed it: the node that did answers its caller when it has applied the record
 * itself. So a command that was refused before it was appended is answered by the leader, and one that was appended by
 * what became of it, on the node where it was asked for.
 *
 * Flushing and applying are works of their own: a slow disk holds up no turn. What is decided is read from the log and
 * applied in order, on the leader and on all others by the same code. When snapshot_commands were applied since
 * the last snapshot a new one is written by bulk work, and the log before it dropped.
 *
 * Failing: a command that does not fit, or that the disk has no room for, changes nothing. A full disk ends a
 * leadership where there are others, and holds up the only voter's commands (-ENOSPC) until there is room. After a
 * failed write or flush of the log the server takes no part any more and every command is -EIO. What was decided and
 * cannot be applied ends the process (rule 10). */
#ifndef LOGMNT_REPLICATION_METADATA_QUORUM_H
#define LOGMNT_REPLICATION_METADATA_QUORUM_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/log/log.h"
#include "replication/base/latency.h"
#include "replication/executor/executor.h"
#include "replication/executor/mailbox.h"
#include "replication/metadata/metadata.h"
#include "replication/metadata/raft.h"
#include "replication/metadata/snapshot.h"
#include "replication/wire/network.h"

struct proposal;

/* One command on its way; the caller embeds it, zeroed, and keeps it until it is over. It may be submitted again then.
 */
struct quorum_op {
    int64_t timeout_ms; /* in; INT64_MAX: none */
    /* The end of what was submitted: once, no lock held, by a prompt work. rc: 0: applied here; a race's errno
     * (metadata.h); -ENOSPC, -EDQUOT: not appended; -EIO; -EROFS: the node stops, and it was not appended; -ETIMEDOUT:
     * it is not applied here, and perhaps will be. */
    void (*done)(struct quorum_op *op, int rc);
    struct err e; /* why not */
    /* private */
    int64_t begun_us;
    struct proposal *proposal; /* the lock; NULL: it is over, or was not submitted */
};

/* Other voters, on their way; the drawing is in quorum_change.c. The caller embeds it and keeps it until it is over. */
enum quorum_change_state { CHANGE_OVER, CHANGE_QUEUED, CHANGE_GIVEN, CHANGE_ACCEPTED };

struct quorum_change {
    int64_t timeout_ms;           /* in; INT64_MAX: none */
    struct command_caller caller; /* in: who asks, as of a command */
    /* Once, no lock held, by a prompt work. rc: 0: these are the voters, decided, and the node has applied it; -EAGAIN:
     * not all of them are connected and caught up, or another change is under way: nothing has changed; -EINVAL;
     * -EPERM, -EACCES: the caller may not; -ETIMEDOUT: not yet, and if it was accepted it goes on; -EROFS: the node
     * stops; -EIO. */
    void (*done)(struct quorum_change *change, int rc);
    struct err e; /* why not */
    /* private */
    enum quorum_change_state state; /* the lock where it is QUEUED; then the turn's */
    uint64_t number;
    struct raft_peers nodes;
    struct raft_voters target;
    int64_t deadline_ms, again_ms;
    struct quorum_change *next;
};

/* Whom a leader has yet to answer: its last fetch. */
struct quorum_pending {
    struct raft_id from; /* node 0: a free place */
    uint64_t session;
    int64_t offset, flushed, high_watermark;
    int32_t last_epoch;
    bool answer; /* at once, with records or without */
};

/* What this server fetches, and from whom. */
struct quorum_fetcher {
    struct raft_id from; /* node 0: nobody */
    int32_t epoch;
    uint64_t session;
    int64_t at_ms;        /* when the next fetch is due */
    int64_t told_flushed; /* by the last one */
    uint64_t heard;       /* `sent` of the last answer; 0: there was none */
    bool told_why;        /* it was logged why what came is not taken */
};

/* Records that an action has appended: raft is told once the actions before and behind are done. */
struct quorum_told {
    struct raft_event event;
    struct raft_voters voters, target;
};

/* A snapshot on its way here; the drawing is in quorum_install.c. */
enum quorum_install_state { INSTALL_NONE, INSTALL_FETCHING, INSTALL_KEEPING, INSTALL_READY, INSTALL_REPLACING };

struct quorum_install {
    enum quorum_install_state state; /* the turn's */
    struct raft_id from;
    int32_t epoch;         /* in which that one led when it said so */
    struct snapshot_id id; /* its position and epoch are known once it is kept */
    uint64_t session;
    struct snapshot snapshot; /* of which so much is here */
    size_t have;
    int64_t at_ms;         /* when to ask for more, or to try again */
    int64_t not_before_ms; /* the next one, after one that failed */
    /* The work's while it is KEEPING or REPLACING. */
    struct work work;
    struct metadata meta;
    int rc;
    struct err e;
};

enum { QUORUM_TOLD_MAX = 8 };

/* Whether this server does its part. */
enum quorum_state {
    QUORUM_WELL,
    QUORUM_STALLED, /* an action waits for room on the disk, and everything behind it */
    QUORUM_FAILED,  /* its disk failed, or what it has is not the cluster's: it never acts again */
};

struct quorum {
    /* The owner's, set before quorum_open(). */
    struct io *io;
    struct clock *clock;
    struct executor *executor;
    struct network *network;
    struct reserve *reserve;   /* DATA's */
    int dirfd;                 /* DATA, for the snapshot and the server's state */
    struct raft_id self;       /* this node and the incarnation of its data directory */
    struct raft_peers peers;   /* the first members, this node included */
    struct log *log;           /* of __cluster_metadata-0 */
    const char *name;          /* its name, for messages */
    bool recover;              /* make the quorum anew of this node alone */
    bool in_cluster;           /* it was of a cluster before: there is something of that in the log, or a snapshot */
    int64_t snapshot_commands; /* from one snapshot to the next; 0: LIMIT_SNAPSHOT_COMMANDS */
    int64_t known_offset;      /* offset: all below it, as far as the log holds it, is known to have been decided */

    /* What it tells, with no lock held. The first four by one thread at a time, and they may use the disk; those that
     * tell of the log come from others.
     * prepare: before a command that the metadata allows is appended here: 0, or why it cannot be. */
    int (*prepare)(void *arg, const struct command *cmd, struct err *e);
    /* For each applied command, in order; the metadata is already as it says, and nobody else changes it. */
    void (*applied)(void *arg, const struct command *cmd);
    /* Likewise for those that quorum_open() replays, in place of applied. 0 or -ENOMEM. */
    int (*replayed)(void *arg, const struct command *cmd);
    /* This topic is no more, and no record will ever say so: a snapshot of another node takes their place. By a turn,
     * or quorum_open(). 0 or -ENOMEM. */
    int (*gone)(void *arg, const char *topic, const uint8_t id[UUID_BYTES]);
    /* Before a snapshot takes the place of records: what they have decided and is not carried out has to be known to a
     * start without them. By a turn, bulk work or quorum_open(), one at a time. 0 or a negative errno. */
    int (*keep)(void *arg, struct err *e);
    /* The metadata is another one, in place of many commands: old is what it was. Instead of applied. */
    void (*replaced)(void *arg, const struct metadata *old);
    /* All below end is applied; epoch: the last one of which anything is. */
    void (*committed)(void *arg, struct log_point end, int32_t epoch);
    /* The cluster's id, for a record of this server's: where the cluster begins with this node a new one, in
     * cluster_id. It is kept when a record that says it is on the disk and applied. 0 or a negative errno. */
    int (*found_cluster)(void *arg, char id[UUID_TEXT_BYTES], struct err *e);
    /* recover: another incarnation for this node's data directory, durably: the old one may have promised something to
     * those that are lost. registered: the one that the log's last registration of the node names; 0: none. 0 or a
     * negative errno. */
    int (*renew)(void *arg, uint64_t registered, uint64_t *incarnation, struct err *e);
    /* This node leads and knows all that was ever decided, or does no more (it may be told again of what it knows). By
     * a turn: it waits for nothing. */
    void (*led)(void *arg, bool leads);
    /* The log went offline. */
    void (*failed)(void *arg);
    void *arg;

    /* The turn's alone. */
    struct mailbox mailbox;
    bool started;
    bool recovering;                /* quorum.recover: it listens, then makes the quorum anew; until it leads */
    uint64_t registered;            /* recovering: the incarnation as which the log knows this node; 0: it does not */
    int64_t recover_at_ms;          /* listens until then; INT64_MAX: no more */
    int recover_times;              /* and so many times more */
    bool knows_all;                 /* at the start: all of the log is decided */
    struct mail *held, **held_last; /* links that came or went while the server was stalled */
    enum quorum_state state;
    struct raft raft;
    struct raft_log view; /* the log as raft asks for it */
    struct raft_actions actions;
    int action_at; /* the first of them that is not done */
    struct quorum_told told[QUORUM_TOLD_MAX];
    int told_count;
    char cluster_id[UUID_TEXT_BYTES]; /* in the log's records, decided or not, or chosen for them; "": none */
    bool state_lost;                  /* at the start: no quorum-state, or one older than the log */
    int32_t end_epoch;                /* of the log's last record; -1: there was never one */
    int32_t follows;                  /* the epoch that the log follows in; -1: none */
    int stall_rc;                     /* STALLED, FAILED: why */
    struct err stall_e;
    int64_t retry_at_ms;
    uint64_t tried_number; /* commands below it came before the last try */
    bool flushing, applying;
    bool leads;         /* as led() was told last */
    bool stop_begun;    /* the machine was told that the node stops */
    _Atomic int pieces; /* any thread: of snapshots, that bulk works send */
    struct quorum_pending pending[LIMIT_NODES];
    int64_t unreadable_ms; /* not said before that what is asked for cannot be read */
    struct quorum_fetcher fetcher;
    uint64_t next_session;
    struct quorum_install install;
    uint64_t processes[LIMIT_NODES_MET]; /* by place in nodes: the process that a peer was last up as */
    int32_t nodes[LIMIT_NODES_MET];
    int32_t refused_by; /* the node that did not take commands in refused_epoch; 0: none */
    int32_t refused_epoch;

    struct latency op_times; /* any thread: from quorum_submit() to done() */

    struct alarm tick; /* whatever is due next */
    /* A flush, and an apply, that failed for want of descriptors or memory. */
    struct alarm again, apply_again;
    struct alarm snapshot_again; /* a snapshot of commands that are not acted on yet */
    struct network_listener listener;
    _Atomic int64_t turn_ms;      /* since when a turn is under way; 0: none is */
    _Atomic int64_t acted_offset; /* everything below was applied, and the node was told of it and has returned */

    struct work flush_work;
    struct log_flush flush;
    struct work apply_work;
    struct work snapshot_work;
    struct snapshot snapshot; /* snapshot_work's, until it is written; and which one it will be: */
    struct snapshot_id snapshot_next;

    pthread_mutex_t lock; /* of what follows; never held through I/O nor a callback */
    bool stopped;
    bool resigning;                         /* asked for, and no turn has seen it yet */
    bool resigned;                          /* done */
    struct proposal *queued, **queued_last; /* not yet given to a leader */
    struct proposal *given, **given_last;   /* given to one: this node, or another */
    struct quorum_change *changes;
    uint64_t next_number;
    struct alarm deadline; /* the earliest op's */
    bool flush_over;
    int flush_rc;
    int64_t decided_offset; /* everything below is */
    int64_t applied_offset; /* likewise */
    bool apply_over;
    int apply_rc;
    bool kept;                      /* install.work has kept it, or failed */
    struct snapshot_id snapshot_id; /* of the file; offset 0: there is none */
    bool trimmed;                   /* a snapshot was written, and the log before it dropped */
    bool refusing;                  /* a command has timed out, and no controller has answered since */
    int recover_rc;                 /* why the quorum is not made anew; 0: no reason yet */
    struct err recover_e;
    /* as of the last turn, for those who ask */
    int32_t leader, leader_epoch;
    uint64_t elections;
    struct raft_voters voters;
    bool leading;
    int64_t majority_ms;

    /* The applier's; before the start quorum_open()'s. */
    int64_t snapshot_at; /* the next snapshot, when next_offset gets there */
    _Atomic bool
        snapshotting; /* snapshot_work is queued or under way; set by the applier, or by a turn while it rests */
    _Atomic bool snapshot_wanted; /* what is on the disk is damaged */
    pthread_rwlock_t meta_lock;   /* held for writing while a command is applied, for reading by who looks */
    struct metadata meta;
    struct log_point applied_point; /* meta.next_offset and its position */
};

/* Reads what is there, and applies what is known to be decided: all of the log, if this node is the only voter. All up
 * to arg are set; of the callbacks only replayed, gone, keep and found_cluster are called. -EBADMSG: damaged, of a
 * newer version, or decided by other rules; errnos of the disk. */
int quorum_open(struct quorum *quorum, const struct tree_attr *root, struct err *e);
/* After quorum_open(): all that was ever decided is applied, for this node is the only voter. */
bool quorum_knows_all(const struct quorum *quorum);
/* recover, after quorum_start(): 1: it is made anew, or needed not to be; 0: not yet, perhaps for want of room on the
 * disk; -EBUSY: another voter is there; errnos of the disk: with the reason, and the node must not go on. Any thread.
 */
int quorum_recovered(struct quorum *quorum, struct err *e);
/* From here on it takes part, and calls back. Once; the network has no transport yet. */
void quorum_start(struct quorum *quorum);
/* For a clean stop, while the network still stands: a leader takes no more commands and hands over to a voter that has
 * all of its log. Returns when it has, or after a second. Not from the executor's threads. */
void quorum_resign(struct quorum *quorum);
/* Ends all ops: -EROFS what is certain not to have been appended, -ETIMEDOUT what may have been. The executor is
 * silenced and settled, nothing comes from the network any more. */
void quorum_stop(struct quorum *quorum);
/* After quorum_stop(), and the executor settled anew. */
void quorum_close(struct quorum *quorum);

/* Submits a command, which is copied. 0: op->done will be called, perhaps before this returns; or a negative errno, and
 * nothing has happened: those of metadata_check(), -EROFS (there is no cluster yet; or a command has timed out and no
 * controller has answered since), -EIO, -ENOMEM. Any thread, not from prepare or applied. */
int quorum_submit(struct quorum *quorum, struct quorum_op *op, const struct command *cmd);
/* true: it was not yet appended and never will be; done is not called. */
bool quorum_cancel(struct quorum *quorum, struct quorum_op *op);

/* Makes these nodes the voters, ascending: 1, 3 or 5. Each is the server that it is now: one whose disk was replaced
 * comes back so. 0: change->done will be called; -EINVAL, -EROFS: nothing has happened. Any thread. */
int quorum_change_voters(struct quorum *quorum, struct quorum_change *change, const struct raft_peers *nodes);
/* true: it was not yet asked for, and never will be; done is not called. */
bool quorum_change_cancel(struct quorum *quorum, struct quorum_change *change);

/* The metadata, to look at until quorum_release(). */
const struct metadata *quorum_acquire(struct quorum *quorum);
void quorum_release(struct quorum *quorum);

/* ---- what the server knows, as of its last turn; any thread ---- */

int32_t quorum_leader(struct quorum *quorum);                       /* the node that leads the quorum; 0: not known */
void quorum_voters(struct quorum *quorum, struct raft_voters *out); /* in force, decided or not */
/* The quorum's epoch, and in how many elections this server stood since its start: with each it raised the epoch. */
void quorum_elections(struct quorum *quorum, int32_t *epoch, uint64_t *elections);
/* Others are needed, or will be, for a decision. */
bool quorum_has_peers(struct quorum *quorum);
/* This node leads, and when it last sent what a majority of the voters is known to have heard (INT64_MAX: it is the
 * only one): raft.h. */
bool quorum_leads(struct quorum *quorum, int64_t *majority_heard_ms);

/* Reads the snapshot. One that is damaged, or has gone, is written anew from what is in memory: -EBADMSG. 0: it is
 * well; -ENOENT: there was never one; passing errnos. Any thread that may wait for a disk. */
int quorum_snapshot_check(struct quorum *quorum, struct err *e);

/* That process of the node is known to have ended. Any thread. */
void quorum_peer_gone(struct quorum *quorum, int32_t node);

#endif
