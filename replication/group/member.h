/* replication/group/member.h: consumer groups as the layer above sees them: members that read, commits, and questions.
 *
 * A member is one open stream on this node. It joins at its first read or poll; the group's coordinator (the leader of
 * the group's partition of __consumer_offsets, here or elsewhere) gives it partitions of the topic, takes them away
 * again, and keeps what it commits. Nothing here waits, and no call goes to a disk or to a peer: what is asked is
 * queued, sent by the room's turns (groups.h) and repeated until the coordinator has answered, through changes of
 * coordinator.
 *
 *     JOINING --- a coordinator has taken it in ---> STABLE
 *        |                                             |---- it stopped reading for max.poll.interval.ms ---> PUT_OUT
 *        +------- its group or topic was deleted ------+--------------------------------------------------> GONE
 *
 * Any thread, unless said otherwise; no lock of the room is held while something is called back. */
#ifndef LOGMNT_REPLICATION_GROUP_MEMBER_H
#define LOGMNT_REPLICATION_GROUP_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "replication/wire/group_message.h" /* GROUP_NAME_BYTES and the like */

struct groups; /* node_groups(): the room */
struct group_member;

/* ---- members ---- */

enum group_member_state {
    GROUP_MEMBER_JOINING, /* no share yet */
    GROUP_MEMBER_STABLE,  /* the shares are what the coordinator said last; none is a share too */
    GROUP_MEMBER_PUT_OUT, /* it read no more: -ESTALE, and it holds nothing. It joins again only as another member */
    GROUP_MEMBER_GONE,    /* the group or the topic was deleted: -ESTALE */
};

/* One partition of the topic that is this member's, and that this node has: where the coordinator has heard of an added
 * one before, it is shown a little later. */
struct group_share {
    int32_t partition;
    /* The assignment epoch: another one each time that the partition is handed to a member, the same one included: a
     * reset hands it over anew. What was delivered under an epoch that is no longer in the shares is not this member's
     * any more: it is withdrawn, and a commit of it is refused. */
    int32_t epoch;
    /* The record offset to begin at in this epoch. Who has delivered in this epoch already goes on where it is,
     * whatever this says by then. It may be below the log's start (retention), and a high watermark may be below it. */
    int64_t start;
    /* No record in front of start is of a later one (KIP-320): where the partition's log is of a later one by then,
     * that must not have begun before start, or those records are lost (group_member_lost()). -1: not known. */
    int32_t leader_epoch;
    bool revoked; /* deliver no more; group_member_release() once the reader has read on or holds nothing of it */
};

struct group_shares {
    uint64_t version; /* group_member_version() as of these */
    enum group_member_state state;
    int rc;                     /* why it is in no group yet, or no more: -ENOSPC, the coordinator has no room; or 0 */
    struct group_share *shares; /* by partition, each once; malloc-ed. NULL if there are none */
    size_t count;
};

struct group_join {
    const char *group, *topic; /* names; copied */
    /* Those that are meant; NULL: whichever have the names. */
    const uint8_t *group_id, *topic_id;
    pid_t pid; /* the process that opened the stream */
    /* Something in shares() is another than before. By any thread, but never by two at once; perhaps before
     * group_member_join() has returned, but *out is set by then. It queues what is to be done and returns. Not to call
     * group_member_leave(). */
    void (*changed)(void *arg);
    void *arg;
};

/* Joins. 0: *out is the caller's until group_member_leave(). -ENOENT: no such group, or no such topic, or another one
 * has its name; -ENOSPC: too many members on this node (LIMIT_GROUP_MEMBERS); -ENOMEM; -EROFS: the node stops. */
int group_member_join(struct groups *groups, const struct group_join *join, struct group_member **out);
/* Leaves, with what was committed so far. No changed() is under way when it returns, and none comes any more. All ops
 * of the member are over. */
void group_member_leave(struct group_member *member);

/* Whether its coordinator has been silent for the group's session.timeout.ms, so that others may have been given what
 * it has: nothing more is to be delivered. Once true, changed() comes when it is heard of again. A look at the clock.
 */
bool group_member_is_silent(struct group_member *member);

/* Moves with each change of what shares() tells: one atomic load. */
uint64_t group_member_version(const struct group_member *member);
/* A consistent snapshot; the caller frees out->shares. -ENOMEM. */
int group_member_shares(struct group_member *member, struct group_shares *out);

/* All records of the partition below `offset` are processed: for a read that went on. leader_epoch: as a share's, of
 * that offset. Gathered for LIMIT_GROUP_GATHER_MS at most, and sent at once by a commit op, a release or leave. Nothing
 * comes back: one that is refused is of a share that shares() will not show any more, and the next commit op says
 * -ESTALE. An offset below one that was committed changes nothing. */
void group_member_commit(struct group_member *member, int32_t partition, int32_t epoch, int64_t offset,
                         int32_t leader_epoch);
/* What was read or committed behind `offset` is in the partition's log no more, and others may have its offsets. The
 * share comes to be another one, of another epoch, which begins there at the latest. */
void group_member_lost(struct group_member *member, int32_t partition, int32_t epoch, int64_t offset);
/* Gives up a revoked share, behind all that was committed before. It is in shares() no more. */
void group_member_release(struct group_member *member, int32_t partition, int32_t epoch);
/* The reader asked for more (a read or a poll). holds_unread: from here on it has records that it has yet to read, or
 * to read on from, so that max.poll.interval.ms counts from now; false: there are none (it waits at the end), and no
 * time counts. */
void group_member_polled(struct group_member *member, bool holds_unread);

/* ---- commits that are answered: fsync(2), user.group.commit ---- */

struct group_commit {
    int32_t partition; /* in, and the next three: as group_member_commit() */
    int32_t epoch;
    int64_t offset;
    int32_t leader_epoch;
    int rc; /* out: 0; -ESTALE: the partition is or was another's since */
};

/* Embed it, zeroed; fill in what is "in"; keep it and what it leads to until it is over. */
struct group_commit_op {
    struct group_member *member;  /* in: not left before it is over */
    struct group_commit *commits; /* in: each partition once */
    size_t count;                 /* in */
    int64_t timeout_ms;           /* in: delivery.timeout.ms */
    /* in: once, no lock held, perhaps before submit has returned. rc: 0: all are in force, and so is what
     * group_member_commit() was told before; -ESTALE: those of commits[] that say so are not, the others are, or some
     * of what group_member_commit() was told since the last op is not, or may not be; -ENOSPC: the
     * coordinator has no room for it, and it may come into force when there is some; -ETIMEDOUT: not known; -EROFS: the
     * node stops. */
    void (*done)(struct group_commit_op *op, int rc);
    /* private */
    struct group_commit_op *prev, *next;
    uint64_t ticket;
    int64_t deadline_ms, again_ms, later_ms;
    bool answered; /* what it asks; it waits for what was committed of shares that were given up since */
    int rc, state;
};

/* 1: over, nothing is to be waited for; 0: op->done is or will be called; or a negative errno: over. -ESTALE: the
 * member is PUT_OUT or GONE; or as done says. */
int group_commit_submit(struct group_commit_op *op);
/* true: done is not called; what was sent may yet come into force. false: done was called or is being called. */
bool group_commit_cancel(struct group_commit_op *op);

/* ---- questions and resets: attributes, .cluster/groups ---- */

/* A group's part in one partition. */
struct group_row {
    char group[GROUP_NAME_BYTES];
    char topic[GROUP_NAME_BYTES];
    int32_t partition;
    int64_t committed;                  /* GROUP_OFFSET_NONE */
    char member[GROUP_MEMBER_ID_BYTES]; /* who owns it; "": nobody */
    char host[GROUP_HOST_BYTES];
    int32_t pid;
};

/* A group as its coordinator has it. */
struct group_described {
    char group[GROUP_NAME_BYTES];
    enum group_phase { GROUP_EMPTY, GROUP_REBALANCING, GROUP_STABLE, GROUP_DEAD } phase;
    int32_t generation; /* the group epoch */
    int32_t members;
};

/* What is to be told. */
enum group_ask {
    GROUP_ASK_GROUP,     /* of `group`: its description, and a row for each of its partitions */
    GROUP_ASK_PARTITION, /* of `topic` and `partition`: the row of each group that has an offset there */
    GROUP_ASK_ALL,       /* everything */
    GROUP_SEAL,          /* as ASK_GROUP, and if nobody is in it nobody joins it for LIMIT_GROUP_SEAL_MS; never stale */
    GROUP_RESET,  /* sets the group's offset of the partition, in force when it is over: the owner goes on there */
    GROUP_FORGET, /* removes it: -ENODATA if there is none */
};

/* How far the answer of one coordinator has come: the pieces of one asking, in order. */
struct group_pieces {
    uint64_t asking; /* 0: none came yet */
    uint32_t next;
};

/* Embed it, zeroed; fill in what is "in"; keep it until it is over; group_op_free() then. */
struct group_op {
    struct groups *groups;     /* in */
    enum group_ask ask;        /* in */
    const char *group, *topic; /* in: names, as `ask` needs them; good until it is over */
    int32_t partition;         /* in, likewise */
    int64_t offset;            /* in: RESET */
    int64_t timeout_ms;        /* in */
    /* in: once, no lock held, perhaps before submit has returned. rc: 0; -ENOENT: no such group, topic or partition;
     * -ENODATA; -ENOSPC: of a RESET or FORGET, as of a commit; -ETIMEDOUT: a coordinator did not answer and nothing was
     * known of what it keeps (of a RESET or FORGET: not known what became of it); -EROFS: the node stops; -ENOMEM. */
    void (*done)(struct group_op *op, int rc);
    struct group_row *rows; /* out: by group, topic and partition; malloc-ed */
    size_t row_count;
    struct group_described *described; /* out: by group; malloc-ed. With ASK_GROUP one, with ASK_ALL all; of a
                                        * stale ASK_GROUP none, if only the rows that came are known */
    size_t described_count;
    bool stale; /* out: some of it is what was known last, since a coordinator did not answer in time */
    uint8_t group_id[UUID_BYTES]; /* out: of `group`, as of the submit */
    /* private */
    struct group_op *prev, *next;
    uint64_t ticket;
    int64_t deadline_ms, again_ms, later_ms;
    uint64_t waits_for; /* a bit a partition of __consumer_offsets that has yet to answer */
    uint64_t askings;   /* how often it was asked */
    struct group_pieces pieces[LIMIT_OFFSETS_PARTITIONS];
    uint8_t topic_id[UUID_BYTES];
    int rc, state;
};

/* 0: op->done is or will be called; or a negative errno: over. */
int group_op_submit(struct group_op *op);
/* As group_commit_cancel(). */
bool group_op_cancel(struct group_op *op);
/* What it brought. */
void group_op_free(struct group_op *op);

/* The node that is the group's coordinator, as this node knows it; 0: none. Asks nobody. */
int32_t group_coordinator(struct groups *groups, const char *group);

/* ---- figures for .cluster/metrics ---- */
struct group_metrics {
    uint64_t members;     /* of this node */
    uint64_t coordinated; /* groups with something here, as coordinator */
    uint64_t commits;     /* partitions' offsets that were committed here */
    uint64_t fenced;      /* likewise, refused */
    uint64_t handovers;   /* partitions given to a member here */
    uint64_t loads;       /* of coordinators */
};
void group_metrics(struct groups *groups, struct group_metrics *out);

#endif
