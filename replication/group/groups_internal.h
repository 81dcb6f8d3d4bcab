/* replication/group/groups_internal.h: struct groups, for this folder alone.
 *
 * What is marked "lock" is under groups->lock, which is held for a few loads and stores, and never while anything is
 * called. All else is the turn's. */
#ifndef LOGMNT_REPLICATION_GROUP_GROUPS_INTERNAL_H
#define LOGMNT_REPLICATION_GROUP_GROUPS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "replication/executor/mailbox.h"
#include "replication/group/groups.h"
#include "replication/group/outbox.h"
#include "replication/group/remembered.h"
#include "replication/group/seat.h"

/* ---- members ---- */

struct member_share {
    struct group_share share;
    int64_t committed;    /* by the reader; GROUP_OFFSET_NONE: nothing yet */
    int32_t leader_epoch; /* of that */
    int64_t lost_from;    /* group_member_lost(); GROUP_OFFSET_NONE: nothing is. It goes when this share does */
    int64_t answered;     /* so far the coordinator has answered, whatever it said */
    bool here;            /* this node has the partition, too: until then it is not shown. Set by turns */
    bool released;        /* the reader has given it up: not shown any more */
    bool gave_up;         /* and the coordinator knows */
};

/* Where a member is with its coordinator.
 *
 *     OUTSIDE --- JOIN is answered ---> INSIDE --- left, or put out ---> LEAVING --- LEAVE is answered ---> (freed)
 *        ^                                 |
 *        +---- the coordinator says that it has no such member */
enum member_session { SESSION_OUTSIDE, SESSION_INSIDE, SESSION_LEAVING, SESSION_OVER };

/* One request of a member's is under way at a time. */
enum member_request { REQUEST_NONE, REQUEST_JOIN, REQUEST_COMMIT, REQUEST_LEAVE };

struct group_member {
    struct groups *groups;
    struct table_link link; /* groups->members, by number. lock */
    uint64_t number;
    char group[GROUP_NAME_BYTES];
    uint8_t group_id[UUID_BYTES];
    uint8_t topic_id[UUID_BYTES];
    int32_t index;
    int32_t pid;
    pthread_mutex_t event_lock; /* held through changed(), and by who has to know that none is under way */
    void (*changed)(void *arg);
    void *arg;

    _Atomic int64_t inside_ms; /* when it was asked for what its coordinator took it in by last */
    _Atomic bool doubtful;     /* the coordinator was silent, and has not said since that it knows all; set by turns */
    _Atomic int64_t session_timeout_ms;
    _Atomic uint64_t shown_version;
    _Atomic int64_t unread_since_ms; /* on the clock of timers; 0: nothing is unread */

    /* lock */
    enum group_member_state state;
    struct member_share *shares; /* by partition */
    size_t share_count;
    bool left;      /* by its owner: nothing is called any more */
    bool wants_out; /* or it was put out */
    bool gathering; /* something was committed, and waits for more until gather_ms */
    bool hurried;   /* and is not to wait */
    bool refused;   /* what was committed without an op is not in force, or may not be: the next op says so */
    int64_t gather_ms;
    struct group_commit_op *ops; /* that are not over */
    bool due;                    /* in groups->due */
    struct group_member *next_due;

    /* the turn's */
    enum member_session session;
    enum member_request request;
    bool was_sent; /* a coordinator may know of it */
    uint64_t ticket;
    int32_t sent_to;
    int64_t join_ms;          /* JOIN: sent first then, of those that are not answered */
    int64_t again_ms;         /* when the request is sent again; with none under way: not before */
    int64_t later_ms;         /* so long it was told to wait last; 0: it was not */
    int why;                  /* it is not inside: -ENOSPC, its coordinator has no room. lock */
    struct group_entry *sent; /* COMMIT, LEAVE: what it holds; malloc-ed */
    size_t sent_count;
    int32_t told_epoch; /* what the coordinator said last; -1: nothing */
    int64_t told_version;
    int64_t max_poll_interval_ms;
    bool tell; /* changed() is to be called at the end of the turn */
    struct group_member *next_told;
};

/* BUSY: a turn is looking at it; UNWANTED: and it was cancelled meanwhile, so that it ends. */
enum op_state { OP_OVER, OP_WAITING, OP_BUSY, OP_UNWANTED };

/* ---- the room ---- */

struct groups {
    struct group_env env;
    char host[GROUP_HOST_BYTES];
    struct mailbox mailbox;
    struct alarm alarm;
    struct network_listener listener;
    _Atomic uint64_t numbers; /* of members and tickets */
    int64_t versions;         /* of what members are told; the turn's */
    _Atomic bool look;        /* the metadata is another */
    _Atomic bool stopping;
    _Atomic uint64_t member_count;
    _Atomic uint64_t coordinated, commits, fenced, handovers, loads;
    /* Of each coordinator: when the last beat that it answered was sent, whether a member of its has been told that it
     * is silent, and is to be told of the next one, and whether any is doubtful. */
    _Atomic int64_t heard_ms[LIMIT_OFFSETS_PARTITIONS];
    _Atomic bool silent[LIMIT_OFFSETS_PARTITIONS];
    bool doubted[LIMIT_OFFSETS_PARTITIONS]; /* the turn's */

    pthread_mutex_t lock;
    /* lock */
    struct table members;     /* changed by turns; others add */
    struct group_member *due; /* something of theirs is to be sent */
    struct group_op *ops;     /* that are not over */
    int64_t alarm_ms;         /* when it rings; INT64_MAX: it is not set */

    /* the turn's */
    int64_t now_ms;
    struct seat seats[LIMIT_OFFSETS_PARTITIONS];
    int32_t leaders[LIMIT_OFFSETS_PARTITIONS];    /* node ids, as of the last look; 0: none */
    bool answers_beats[LIMIT_OFFSETS_PARTITIONS]; /* likewise: whether they are of a build that does */
    int64_t beat_ms;
    int64_t looked_ms;            /* when the last turn looked at the ops */
    struct outbox requests;       /* of members here, on their way out */
    struct outbox answers;        /* that need not wait for records */
    struct group_member *told;    /* to be called, or freed, at the end of the turn */
    struct group_commit_op *over; /* likewise: their ends */
    struct remembered remembered;
    uint64_t unanswered; /* a bit a coordinator: it let the time of a question pass, and was not heard of since */
    int64_t next_ms;     /* when a turn is due, as the turn finds it out */
};

/* A turn comes at that time, or before. Any thread. */
void groups_wake_at(struct groups *groups, int64_t at_ms);
static inline int64_t groups_now_ms(const struct groups *groups)
{
    return groups->env.clock->mono_ms(groups->env.clock);
}
/* For the turn itself. */
static inline void groups_due(struct groups *groups, int64_t at_ms)
{
    if (at_ms < groups->next_ms)
        groups->next_ms = at_ms;
}
/* When what was to be asked later is asked again: after a while that doubles. */
static inline int64_t groups_later(const struct groups *groups, int64_t *later_ms)
{
    *later_ms = *later_ms == 0                          ? LIMIT_GROUP_LATER_MS
                : *later_ms * 2 < LIMIT_GROUP_LATEST_MS ? *later_ms * 2
                                                        : LIMIT_GROUP_LATEST_MS;
    return groups->now_ms + *later_ms;
}
static inline uint64_t groups_number(struct groups *groups)
{
    return atomic_fetch_add(&groups->numbers, 1) + 1;
}

/* ---- member_turn.c: within a turn ---- */

/* What a coordinator has told. */
void members_told(struct groups *groups, int32_t from, const struct group_told *told);
/* The metadata is another, or a link ended (lost: a node; 0: none): what was sent in vain is sent again. */
void members_look(struct groups *groups, int32_t lost);
/* What is due goes into requests. */
void members_send(struct groups *groups);
/* Calls changed() and ends of ops, with nothing held. */
void members_call(struct groups *groups);
/* A stop: what still waits ends with rc. */
void members_end_ops(struct groups *groups, int rc);
/* The room's end: all that there is. */
void members_free(struct groups *groups);

/* Where what a coordinator is asked goes; NULL: nobody is it, or there is no memory. */
struct elements_buffer *members_way_to(struct groups *groups, int32_t index);
/* Under the lock: what shares() tells is another. */
void member_show(struct group_member *member);

/* ---- member_beat.c: within a turn ---- */

/* The coordinator of that index has answered a beat that was sent then, or there is none to answer. all_told: as of
 * that its members know all; else who was taken for cut off by then does not go on: it may be out, and hear of it next.
 */
void members_heard(struct groups *groups, int32_t index, int64_t sent_ms, bool all_told);
/* Time has gone on: members that do not read, beats. */
void members_tick(struct groups *groups);

/* ---- member.c ---- */

/* Whether session.timeout.ms has passed since its coordinator was heard of then, or took it in. Any thread, as the next
 * one: group_member_is_silent(), and it is not told when it is heard of again. */
bool member_is_late(const struct group_member *member, int64_t heard_ms);
bool member_is_silent(const struct group_member *member);

/* The rest under the lock. */

void member_due(struct groups *groups, struct group_member *member);
/* The share by which it has the partition in that epoch; NULL: it has it no more. */
struct member_share *member_find_share(struct group_member *member, int32_t partition, int32_t epoch);
/* Whether what was committed of a share that it has given up since is still to be answered. */
bool member_owes(const struct group_member *member);
/* The result of an op of which the coordinator has said rc, with what it said of other commits since the last one. */
int member_take_refused(struct group_member *member, int rc);

/* ---- ask.c: within a turn ---- */

/* true: the result is of an op. */
bool ops_told(struct groups *groups, const struct group_told *told);
void ops_send(struct groups *groups);
void ops_end_all(struct groups *groups, int rc);

#endif
