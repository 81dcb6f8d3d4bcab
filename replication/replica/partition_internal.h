/* replication/replica/partition_internal.h: struct partition, for replication/ alone. partition.c owns its life and
 * what can be asked of it, partition_append.c an append from its submit to its end, partition_hold.c those that wait on
 * the way and what lets them in, partition_role.c what the cluster has decided, partition_epoch.c the leader
 * epoch, partition_flush.c flushes, partition_wait.c readers at the end, partition_delete.c deletion, partition_feed.c
 * what the layer above is told.
 *
 * A partition lives as long as its topic: a reference to it is one to the topic.
 *
 * `lock` is the partition's own: held for a few loads and stores, never through I/O nor a callback. The log below has
 * its own locks; of them the state lock alone is taken under it, for a look at where the log begins and ends
 * (partition_seal.c), and nothing takes `lock` under that one. */
#ifndef LOGMNT_REPLICATION_REPLICA_PARTITION_INTERNAL_H
#define LOGMNT_REPLICATION_REPLICA_PARTITION_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "replication/metadata/config.h"
#include "replication/executor/executor.h"
#include "replication/metadata/election.h"
#include "replication/replica/follower.h"
#include "replication/replica/fetch.h"
#include "replication/replica/isr.h"
#include "replication/replica/manager.h"
#include "replication/replica/partition.h"
#include "replication/replica/partition_parts.h"
#include "replication/replica/partition_read.h"

/* What this node is for the partition; the drawing is in partition_role.c. */
enum partition_role { ROLE_NONE, ROLE_LEADER, ROLE_FOLLOWER };

/* What there is of the partition here, to be read; the drawing is in partition_role.c. */
enum partition_replica { REPLICA_HERE, REPLICA_CATCHING_UP, REPLICA_ELSEWHERE };

/* Places for what a leader sends to followers: those that are, and those that are none any more and that a thread has
 * in hand. */
enum { PARTITION_FOLLOWERS = 2 * LIMIT_REPLICA_SET };

struct isr_rules;
struct metadata;
struct partition_answer;
struct partition_change;
struct partition_request;
struct replica_answer;
struct replica_fetch;
struct replica_mark;
struct serving;

/* Bytes that came from elsewhere, while somebody looks at them. */
struct read_block {
    _Atomic int refs;
    struct frame *frame; /* that they came in; NULL: they are here */
    uint8_t bytes[];
};

struct partition {
    struct topic *topic;
    struct replica_manager *manager;
    int32_t index;
    char name[CHECKPOINT_NAME_BYTES];
    char checkpoint_key[CHECKPOINT_NAME_BYTES]; /* its topic's id and its number */
    struct log *_Atomic log;                    /* NULL: FOREIGN or CLOSED; the life lock */

    pthread_mutex_t life_lock; /* held through I/O */

    /* What the cluster has decided, and what follows from that; partition_role.c's. Changed under the life lock and the
     * lock. */
    _Atomic int role;    /* enum partition_role */
    _Atomic int replica; /* enum partition_replica */
    _Atomic int32_t leader_epoch;
    struct partition_registration registration; /* as applied last; before the first one: of another process */
    bool registered;                            /* there was one */
    _Atomic bool replicated;                    /* there are replicas elsewhere: what is appended here gets a number */

    pthread_mutex_t lock;
    struct isr isr;
    struct follower *_Atomic followers; /* PARTITION_FOLLOWERS, once this node has led with others; in them: lock */
    struct fetch fetch;                 /* FOLLOWER */

    struct partition_disk disk;
    struct partition_settings settings;
    struct partition_busy busy;
    struct partition_damage damage;
    struct partition_refused refused;
    struct partition_holes holes;
    struct partition_upkeep upkeep;
    struct partition_epoch epoch;
    struct partition_shown shown;
    struct partition_seal seal;

    struct partition_hold hold;
    struct partition_forward forward;
    struct partition_late late;
    struct partition_handover handover;
    struct partition_asks asks;
    struct partition_insync insync;
    struct partition_waiters waiters;
    struct partition_remote remote;
    struct partition_flush flush;
    struct partition_deletes deletes;

    struct partition_counts appended;
    struct partition_feed feed;
    struct partition_fetching fetching;
    struct partition_proposal proposal;
    struct partition *manager_next; /* manager.c's */
};

/* ---- life: partition.c ---- */

/* Opens (or makes) the partition's log. *out is there in any case but -ENOMEM; with another error it is offline. */
int partition_open(struct topic *topic, int32_t index, const struct partition_registration *registration,
                   const struct checkpoints *known, bool made, struct partition **out, struct err *e);
/* Closes the log (destroy: removes it) and frees the partition. Nobody uses it any more. */
int partition_free(struct partition *part, bool destroy, struct err *e);
/* Puts in force what the topic's settings are now: they, or the log, are others. Takes the config lock, and under it
 * the lock, and the log's append lock. */
void partition_renew_config(struct partition *part);
/* Takes the directory's name away on the disk; the caller fsyncs DATA/topics. */
void partition_retire(struct partition *part);
/* Tells whoever watches. No lock is held. */
void partition_holes_made(struct partition *part);
/* A log that could not be opened for want of room, memory or descriptors gets another chance. 0 if there is a log now,
 * or the errno why not. */
int partition_reopen(struct partition *part, struct err *e);
/* In the place of a damaged log, which is removed, an empty one. The life lock is held. */
int partition_make_anew(struct partition *part, struct err *e);
/* There is a log, and what it says of itself is so; it may have gone offline since. */
bool partition_is_open(const struct partition *part);
/* 0, -ESTALE, -EIO with the reason. */
int partition_usable(struct partition *part, struct err *e);
/* Likewise, and one whose log could not be opened for want of room, memory or descriptors is opened if it can be now.
 * May wait for the disk then. */
int partition_reach(struct partition *part, struct err *e);
/* Something failed: if the log went offline, whoever waits is told. Calls back: no lock held. */
void partition_fail_if_offline(struct partition *part);

/* ---- its alarms: partition_alarm.c ---- */

/* lock: what the alarm is under; it is set under it alone. ring is called without it, with a reference that is given
 * back behind that, and begins with partition_alarm_rang(). */
void partition_alarm_init(struct partition_alarm *alarm, struct partition *part, pthread_mutex_t *lock,
                          void (*ring)(struct partition *part));
/* To due_ms on the monotonic clock, unless it rings before, or the topic is deleted. Under its lock. */
void partition_alarm_set(struct partition_alarm *alarm, int64_t due_ms);
/* It rings: from here on it can be set again. Under its lock. */
void partition_alarm_rang(struct partition_alarm *alarm);
/* Gives back what alarms hold that will not ring any more. cancel: they may still be set. */
void partition_stop_alarms(struct partition *part, bool cancel);

/* ---- the role: partition_role.c ---- */

/* The applied metadata says this of the partition now: at the start once this node's own registration has been applied,
 * and with each change of it since, in order, by one thread at a time; of a topic made while the node runs, right after
 * its partition_open(). A node's part in a partition follows from nothing else. May use the disk and call back, and
 * waits for no decision and no peer: no lock held. */
void partition_set_registration(struct partition *part, const struct partition_registration *registration);
/* It says that there is a replica here, and the node's registration has not been applied yet: its own log is what is
 * read here, and nothing else follows from it. Likewise. */
void partition_come_back(struct partition *part);
enum partition_role partition_role(const struct partition *part);
/* The epoch in which a log acts by that registration, whose own next one it is. */
int32_t partition_epoch_by(const struct partition_registration *registration, int32_t own);
static inline bool partition_leads(const struct partition *part)
{
    return atomic_load_explicit(&part->role, memory_order_relaxed) == ROLE_LEADER;
}
/* For the node that leads it: *now is the epoch in which it does, *end the offset of the first record behind the epoch
 * `epoch` in its log, or that log's end. 1: so it is; 0: this node does not lead it, or in an earlier epoch, or it is
 * to hear first what was shown of it; or a negative errno. Reads the disk. */
int partition_epoch_end(struct partition *part, int32_t epoch, int32_t *now, int64_t *end);
/* Settings or replicas are others. */
void partition_set_min_insync(struct partition *part);

/* ---- the leader epoch: partition_epoch.c ---- */

/* Whether what is in this node's log stays there for as long as it leads in this epoch, or it does not lead: 1, after
 * the epoch has begun if it is to; 0: that waits for what others have shown, or for another epoch; -ESTALE: deleted;
 * errors of log_lead(), and of what is moved then. */
int partition_settle(struct partition *part);
/* It is to wait for that. Under the lock. */
static inline bool partition_awaits_epoch(const struct partition *part)
{
    int state = atomic_load(&part->shown.state);
    return state == SHOWN_ASKING || (state == SHOWN_HEARD && atomic_load(&part->epoch.wanted) != 0);
}
/* Of `__cluster_metadata`, whose log is the quorum's: all below end is decided, and in this epoch `leader` leads
 * (LEADER_NONE: not known). Readers see it. Calls back. */
void partition_quorum_decided(struct partition *part, struct log_point end, int32_t leader, int32_t epoch);
/* This node leads, and that the epoch began is on the disk when this returns. -ESTALE: deleted, or the log knows of a
 * later epoch; errors of log_lead(). May flush, and tells those whose flush that was: no lock held, nor update_lock. */
int partition_begin_leading(struct partition *part, struct err *e);
/* The leader epoch, if its beginning is on the disk; -1: partition_begin_leading() first. */
int32_t partition_begun_epoch(const struct partition *part);
/* Appends in the leader epoch (*epoch: which). The high watermark does not move: that is partition_commit()'s. -ESTALE:
 * it has not begun, or this node does not lead any more; flushes nothing, and calls nobody back. */
int partition_append_leading(struct partition *part, const struct append_batch *batch, int32_t *epoch,
                             struct log_append_result *out, struct err *e);
/* The same, in that epoch or not at all. */
int partition_append_in_epoch(struct partition *part, const struct append_batch *batch, int32_t epoch,
                              struct log_append_result *out, struct err *e);

/* ---- leading, with followers: partition_followers.c ---- */

/* What to do about a fetch. */
enum serve_verdict {
    SERVE_DONE,   /* it was answered, or will be */
    SERVE_LATER,  /* it is of an epoch that this node has not heard of yet */
    SERVE_FENCED, /* it is of an epoch that is over */
};
/* A follower's fetch, by its session's turn. Calls back; uses the disk. */
enum serve_verdict partition_serve(struct partition *part, struct serving *serving, int32_t from, int64_t node_epoch,
                                   const struct replica_fetch *fetch);
/* An append of this node's is in the log: to those that are at the end, from its memory, which is still there. */
void partition_send_fresh(struct append_op *op);
/* Sends what there is to send to one that was taken out of that lane: all (LANE_NEAR), or one piece of about so many
 * bytes at most. If there is more it queues up again where it belongs. */
void partition_follower_next(struct partition *part, struct follower *follower, enum serving_lane lane, uint32_t most);
/* The ISR is another one, or is to be: who is waited for now stands in no other one's way; or the replicas are others:
 * who is none any more is sent nothing. Under the lock. */
void partition_followers_look(struct partition *part);
/* Whether the follower is to be told of high watermark and log start: then it was, by *mark. */
bool partition_follower_mark(struct partition *part, struct follower *follower, struct replica_mark *mark);
/* What it was told in that round could not be sent: the next beat tells it again. */
void partition_follower_unmark(struct partition *part, int32_t id, uint64_t round);
/* The follower's session is over. */
void partition_follower_silence(struct partition *part, int32_t id);
/* Another epoch or other replicas. Under the lock. */
void partition_followers_reset(struct partition *part);
/* The topic is deleted: none is sent anything any more, nor waited for to take it. Takes the lock. */
void partition_followers_stop(struct partition *part);
/* Nobody uses the partition any more. */
void partition_followers_free(struct partition *part);
/* The high watermark moved: the followers will be told. Under the lock. */
void partition_mark_followers(struct partition *part);
/* As of now, but for the nodes. Under the lock. */
void partition_isr_rules(struct partition *part, struct isr_rules *out);
/* Others than those in sync may come to lead, without what is not committed yet: nothing is, until it is decided that
 * they may not. Under the lock. */
static inline bool partition_has_eligible(const struct partition *part)
{
    return part->registration.elr.count > 0;
}
/* That is asked for, where those in sync are enough by now: settings or the replicas to be are others. */
void partition_look_at_eligible(struct partition *part);
/* Each LIMIT_BEAT_MS. */
void partition_replica_tick(struct partition *part);

/* ---- following: partition_fetch.c; by the turn of the fetcher ---- */

/* Follows in that session from here on, if it follows that leader. true: something is to be said. */
bool partition_fetch_session(struct partition *part, int32_t leader, uint64_t session);
/* What is to be said to the leader now. false: nothing. */
bool partition_fetch(struct partition *part, int32_t leader, uint64_t session, struct replica_fetch *out);
/* It could not be sent: the next beat says it again. */
void partition_fetch_unsaid(struct partition *part, uint64_t round);
/* An answer of the kind (message.h), with the bytes of its batches. true: something is to be said. */
bool partition_take_answer(struct partition *part, int kind, const struct replica_answer *answer, const uint8_t *bytes,
                           size_t len);
bool partition_take_mark(struct partition *part, uint64_t session, const struct replica_mark *mark);

/* What is not there any more cannot be read here; what was shown stays in view (partition_shown_keep()). Takes the
 * lock.
 */
void partition_lower_mark(struct partition *part, struct log_point end, struct log_point start);
/* The log, which follows in that epoch, ends there from now on, or begins there. Errors of log_truncate(). */
int partition_cut(struct partition *part, int32_t epoch, struct log_point to, struct err *e);

/* ---- what was shown: partition_shown.c ---- */

void partition_shown_init(struct partition *part);
/* The registration is of a new leader epoch. was_in_sync: as this process knew it before. Under the lock. */
void partition_shown_begin(struct partition *part, bool was_in_sync);
/* A leader may have lost some of what was shown, and does not know yet how far that was. */
static inline bool partition_asks_shown(const struct partition *part)
{
    return atomic_load_explicit(&part->shown.state, memory_order_acquire) == SHOWN_ASKING;
}
/* Its epoch is to begin with a look at what others have shown, and has not: its log may be cut yet. Takes the lock. */
bool partition_shown_unsure(struct partition *part);
/* A node's answer. Calls back. */
void partition_shown_answer(struct partition *part, int32_t from, const struct partition_answer *answer);
/* Before this node's log is cut, or is none any more: what its own high watermark has shown is remembered. Uses the
 * log.
 */
void partition_shown_keep(struct partition *part);
/* It is to lead in the epoch, in which its log does not yet: what may differ from what was shown is cut off. Errors of
 * log_truncate(). */
int partition_shown_cut(struct partition *part, int32_t epoch, struct err *e);
/* It leads in the epoch, in which nothing was appended yet: its log's end goes to where something was shown, and is to
 * be flushed (skipped_to). Errors of log_skip(). The life lock is held. */
int partition_shown_skip(struct partition *part, int32_t epoch, struct err *e);
/* That epoch has begun, with the end where it is to be. Under the lock. */
void partition_shown_begun(struct partition *part);
/* A leader asks: the furthest that this node has shown, in *out. false: it has not applied the leader's epoch yet.
 * Calls back. */
bool partition_shown_asked(struct partition *part, const struct partition_request *request,
                           struct partition_answer *out);

/* ---- a seal: partition_seal.c ---- */

void partition_seal_init(struct partition *part);
/* As the leader: is it empty? If so seals it for request->upto ms, unless it only looks; 0 ms: ends that. answer->upto
 * and position. 0, or -EREMOTE: not the leader in that epoch, or it cannot tell yet. Waits for the appends that are
 * under way where there seem to be none. */
int partition_seal(struct partition *part, const struct partition_request *request, struct partition_answer *answer);
static inline bool partition_is_sealed(const struct partition *part)
{
    return atomic_load_explicit(&part->seal.sealed, memory_order_relaxed);
}
/* The leader epoch that is to come before it takes appends in again; 0: it is not sealed, or still wanted. Under the
 * lock. */
int32_t partition_seal_wants(const struct partition *part);
/* The registration is of another leader epoch. Under the lock. */
void partition_seal_broken(struct partition *part);
/* What its leader was asked for is not wanted any more: once, and if that gets lost the seal ends by itself. */
void partition_seal_give_back(struct partition *part);
/* A mkdir is taken back, and this node, which has led the partition since it is there, had no room for its log: from
 * here on none is made. *seal: as whose leader, for the command. false: it is to be asked for like any other.
 * Then partition_release_unmade(); doubtful: the command may yet be decided, so that it waits for the next epoch as one
 * that was sealed. */
bool partition_hold_unmade(struct partition *part, struct command_seal *seal);
void partition_release_unmade(struct partition *part, bool doubtful);
/* Nothing is retained in this node's own log; or it leads since it was made, and could not make one yet. false also of
 * what cannot be looked at. */
bool partition_is_empty(struct partition *part);

/* ---- a log that is damaged, or cannot be written to: partition_damage.c ---- */

/* Its disk has not finished a write or a flush for LIMIT_STUCK_MS, as the beat finds. */
bool partition_hangs(const struct partition *part);
/* This replica's log is offline or was not to be opened, or its disk hangs. */
bool partition_cannot_write(const struct partition *part);
/* Each LIMIT_BEAT_MS: one that is damaged proposes to resign, one that cannot write to withdraw. */
void partition_damage_tick(struct partition *part);
/* What such a replica proposes, by the metadata as it is: that it is in no set any more, or neither leader nor in sync
 * nor eligible; *change lacks the partition's names and its epoch. false: nothing. Under the lock. */
bool partition_resign(struct partition *part, const struct metadata *meta, const struct election_rules *rules,
                      struct partition_change *change);
/* The registration is another one. new_epoch: this process of the node has said nothing in its leader epoch yet. Under
 * the lock. */
void partition_damage_decided(struct partition *part, bool new_epoch);
/* RESIGNED, a follower in that epoch: the log is empty when this returns 0. The life lock is held. */
int partition_drop(struct partition *part, int32_t epoch, struct err *e);

/* ---- appending: partition_append.c ---- */

/* A replica (this one, for partition_commit()) holds everything below end: the high watermark moves if it can, readers
 * and appends that it passes are answered. Calls back. */
void partition_advance(struct partition *part, int32_t replica, struct log_point end);
void partition_commit(struct partition *part, struct log_point end);
/* The ISR or a setting has changed, or a replica has fetched. Likewise. */
void partition_recommit(struct partition *part);
/* What was held goes into the log; it is HELD no more and in no list. Calls back, but hardly ever for itself
 * (partition_end()). */
void partition_append_resume(struct append_op *op);
/* From here on somebody else will answer it. Each time but the first does nothing. */
void partition_append_waits(struct append_op *op);
/* It is answered with rc now: how long it took is counted, if it is this node's own. */
void partition_append_note(const struct append_op *op, int rc);

/* ---- appends that wait: partition_hold.c ---- */

/* Copies the bytes and queues the append if it cannot go into the log now. 1: it can; 0: HELD, it may be over already;
 * or a negative errno. */
int partition_hold(struct append_op *op, struct err *e);
/* One that was held, and was to go into the log when its partition came to be sealed: back to its place. It may be over
 * already when this returns. */
void partition_hold_again(struct append_op *op);
/* Queues one that is in the log until the high watermark has passed it. 0; -ESTALE, or partition_doubt(): nobody would
 * answer it. Under the lock. */
int partition_hold_committing(struct append_op *op);
/* Takes out those that the high watermark has passed. Under the lock; the caller then calls partition_finish(). Not
 * among them is what is answered by who lets others in. */
struct append_op *partition_collect_committed(struct partition *part);
/* Ends them, linked by next, with rc. Calls back: no lock held. */
void partition_finish(struct append_op *ops, int rc);
/* The same of one that has waited, and is not in a list any more; while what is held is let in, at the end of that. */
void partition_end(struct append_op *op, int rc);
/* The role, the ISR or a setting changed: who may go on is due after that. Under the lock. */
void partition_hold_look(struct partition *part);
/* Settings or the ISR changed: the high watermark is looked at again; what is held is to be let in after that. Calls
 * back. */
void partition_resume(struct partition *part);
/* Lets into the log what was held and may go there now, in order, so many at most; one that is flushed counts as
 * several. Returns how many it were. As many as it may be: there may be more, and it is to be called again. Fewer: none
 * is left, or another thread is at it. Those in the log are answered with the last of them. Calls back. */
int partition_let_in(struct partition *part, int most);
/* The same at the start. */
void partition_hold_init(struct partition *part);
/* What one ends with that is in a log, or may be, of which nobody knows what will become (REPLICATION.md, rule 36). */
int partition_doubt(const struct append_op *op);
/* The topic is deleted: ends every append that waits with -ESTALE. Calls back. */
void partition_hold_deleted(struct partition *part);
/* The log is offline: what is held goes to the next leader, who is to be one of those in sync, and what is in the log
 * waits for that; where there is nobody else they end. Calls back. */
void partition_hold_offline(struct partition *part);
/* The node stops, and its own appends are over: ends all that others wait for here, and all that nobody waits for.
 * Calls back. */
void partition_quit(struct partition *part);
/* This node leads no more: those that wait are sent on to the next leader. Calls back. */
void partition_depose(struct partition *part);
/* Appends of any acks are held: it is sealed, or this node does not lead, or has no lease. */
bool partition_is_held(const struct partition *part);
/* One with other acks than all has to wait: likewise, or others of them were held, and are not all in the log yet. */
static inline bool partition_holds_any(const struct partition *part)
{
    return partition_is_held(part) || atomic_load_explicit(&part->hold.held_any, memory_order_acquire) > 0;
}
/* Appends are held, or one that was is on its way into the log. */
bool partition_has_held(struct partition *part);

/* ---- reading: partition_read.c ---- */

/* Whether this node is no replica by that registration. */
bool partition_is_elsewhere(const struct partition *part, const struct partition_registration *registration);
/* Whether growth is heard of from the leader before it comes into this node's own replica, if there is one. */
static inline bool partition_listens(const struct partition *part)
{
    return atomic_load(&part->replica) != REPLICA_HERE;
}
/* Where it is so, growth is asked for, if somebody wants to hear of it. */
void partition_listen(struct partition *part);
/* The high watermark that this node's own replica knows. */
struct log_point partition_own_high_watermark(struct partition *part);
/* What of this node's replica is shown: up to its high watermark, and from what this node's mount has deleted on. A
 * replica that is not in sync was not waited for, and may have that still. */
void partition_own_range(struct partition *part, struct log_point *from, struct log_point *to);
/* Where that begins, and whether it is behind where the log does. There is a log. */
struct log_point partition_shown_start(struct partition *part);
bool partition_hides(struct partition *part);
/* This node's mount has deleted what is before it, as the leader of that epoch has said. Whoever waits is answered
 * anew, and the layer above told. Calls back: no lock held. */
void partition_removed(struct partition *part, struct log_point start, int32_t leader_epoch);
/* The log of the leader of that epoch begins there. Who is elected from those in sync has removed what an earlier one
 * said it had; where this one begins in front of it, that was of records that an unclean election has lost, and others
 * may be in their place. Under the lock. */
void partition_removal_heed(struct partition *part, struct log_point start, int32_t leader_epoch);

/* What this node's own replica has, at once, below its high watermark; the op is over when this returns: 1 or a
 * negative errno, as log.h says; -ESTALE when deleted. */
int partition_read_here(struct read_op *op);
/* Puts an op behind those that wait. Takes the lock. */
void partition_read_queue(struct read_op *op);
/* Takes one out, under the lock. Whoever does so calls its done. */
void partition_read_take_out(struct read_op *op);
/* len bytes of memory, one reference; NULL: there is none. */
struct read_block *read_block_new(size_t len);
void read_block_unref(struct read_block *block);

/* A copy of the batch in one piece, with its marks behind the bytes. op->copy and op->iov are its memory. -ENOMEM. */
int partition_copy_batch(struct append_op *op, struct append_batch *out);
int64_t partition_deadline_of(struct append_op *op);
/* One that the leader elsewhere has acknowledged and that is not below this replica's high watermark yet, though it is
 * in sync: COMMITTING until it is, or LIMIT_SHOW_MS have passed (REPLICATION.md, rule 38). false: it need not wait. */
bool partition_hold_showing(struct append_op *op);

/* ---- appends elsewhere: partition_forward.c ---- */

struct append_answer;
struct append_request;

void partition_forward_init(struct partition *part);
/* Appends of this node's own go to the forwarder. */
static inline bool partition_forwards(const struct partition *part)
{
    return !partition_leads(part) || atomic_load_explicit(&part->forward.busy, memory_order_acquire);
}
/* Puts an append into the forwarder, with a copy of its bytes. 1: this node leads and nothing is on its way: to its
 * log; 0: FORWARDED, it may be over already; 2: over (acks=0); or a negative errno. */
int partition_forward(struct append_op *op, struct err *e);
/* The same, also where this node leads: it cannot append, and hands the partition over. Never 1. */
int partition_forward_away(struct append_op *op, struct err *e);
/* The registration, the role or a link is another: who leads is looked at again, and what waits for that goes on. */
void partition_forward_look(struct partition *part);
/* A leader's answer. Calls back. */
void partition_forward_answer(struct partition *part, const struct append_answer *answer);
/* Ends all of them with rc. Calls back. */
void partition_forward_fail(struct partition *part, int rc);
/* As partition_append_cancel(), forget() and is_in_log(), of one that is or was FORWARDED. */
bool partition_forward_cancel(struct append_op *op);
bool partition_forward_forget(struct append_op *op);
bool partition_forward_is_sent(const struct append_op *op);
/* log_append() as the leader, of one of this node's own with a number, if there is one to be had. As
 * partition_append_leading(). */
int partition_append_own(struct append_op *op, struct err *e);
/* One that got its number here is over, or waits at the high watermark, or in the forwarder. */
void partition_forward_settled(struct partition *part);
/* One that has its number and is in this node's log, which leads no more: sent on. false: it cannot be. */
bool partition_forward_numbered(struct append_op *op);
/* Those that were held, linked by next, are for who leads next. Calls back. */
void partition_send_on(struct partition *part, struct append_op *held);
/* This node leads no more: what waited at the high watermark, in its order, and what was held are sent on, or end.
 * Before anything of the log is cut. Calls back. */
void partition_hand_over(struct partition *part, struct append_op *committing, struct append_op *held);

/* ---- appends with acks=0 that nobody waits for: partition_late.c ---- */

/* One of its own, with the bytes, for the forwarder; the caller's is over. NULL: no memory. Under the forward lock. */
struct append_op *partition_late_detach(struct append_op *op);
/* An fsync comes. true: some are under way, partition_flush_late_over() follows. */
bool partition_late_wait(struct flush_op *op);
/* true: it waited, and does no more; it has failed. */
bool partition_late_give_up(struct flush_op *op);
/* What it has asked for is answered. */
void partition_late_asked(struct flush_op *op);

/* ---- appends from elsewhere: partition_forwarded.c ---- */

/* A request's batches, whose bytes are in body, are appended in their order; the answers go to node `from`. -ENOMEM;
 * -EBUSY: too many of that node wait (LIMIT_APPENDS_SERVED). */
int partition_forwarded(struct partition *part, int32_t from, const struct append_request *request,
                        const uint8_t *body);

/* The same for MESSAGE_FLUSH, _FLUSH_INSYNC, _DELETE_RECORDS and _SEAL: the answer goes to node `from`. 0: the frame,
 * which is one of those, is taken. -ENOMEM. */
int partition_asked(struct partition *part, int32_t from, const struct partition_request *request, struct frame *frame);

/* ---- asking the leader: partition_ask.c ---- */

void partition_ask_init(struct partition *part);
/* kind, epoch, upto, deadline_ms and done are set; done is called once, perhaps before this returns. */
void partition_ask(struct partition *part, struct ask *ask);
/* true: it is not waited for any more, done is not called; what was sent may be done all the same. ask itself is not
 * looked at: it may be about to wait, or over. */
bool partition_ask_cancel(struct partition *part, struct ask *ask);
/* The registration, the role or a link is another (again: what was sent is sent once more), the topic is gone, or one
 * is given up. Calls back. */
void partition_ask_look(struct partition *part, bool again);
void partition_ask_answer(struct partition *part, const struct partition_answer *answer);
void partition_ask_fail(struct partition *part, int rc); /* ends all of them; calls back */

/* ---- waiting for the in-sync replicas: partition_insync.c ---- */

void partition_insync_init(struct partition *part);
/* All but rc, prev and next are set; done is called once, perhaps before this returns. */
void partition_insync_wait(struct partition *part, struct insync_wait *wait);
/* Anything that is waited for may have come. again: a link came or went: who was asked to flush is asked again. Calls
 * back. */
void partition_insync_look(struct partition *part, bool again);
void partition_insync_fail(struct partition *part, int rc);                     /* ends all of them; calls back */
bool partition_insync_cancel(struct partition *part, struct insync_wait *wait); /* as partition_ask_cancel() */
/* What this replica has on its own disk goes into its ISR. Takes the log's locks and the lock. */
void partition_note_own(struct partition *part);
/* The offset that who joins the ISR has to have on its disk: so far fsync or flush.messages has promised it. Under the
 * lock. */
int64_t partition_promised(const struct partition *part);
/* A replica says how far its log is on its disk, in an epoch; or that it could not flush. */
void partition_insync_flushed(struct partition *part, int32_t node, const struct partition_answer *answer);

/* ---- flushing: partition_flush.c ---- */

/* Everything below flush->upto on the disk of this replica. As log_flush(): 1: it is there already; 0: flush->done is
 * or will be called. */
int partition_flush(struct partition *part, struct log_flush *flush);

/* Those with acks=0 that it waited for are over. Calls back. */
void partition_flush_late_over(struct flush_op *op);

void partition_flush_init(struct partition *part);
/* A log that was opened just now, which nobody else knows yet: no thread flushes for others without end. */
void partition_flush_begin(struct partition *part, struct log *log);
/* flush.messages: whether an append up to end_offset is to be flushed before it is answered. */
bool partition_flush_due(struct partition *part, int64_t end_offset);
/* Flushes what is there, waiting for it; the thread leads one round at most. */
int partition_flush_now(struct partition *part);
/* flush.ms: arms it if something is unflushed. */
void partition_arm_flush(struct partition *part);
void partition_flush_stop(struct partition *part, bool cancel); /* as partition_stop_alarms() */

/* ---- deleting: partition_delete.c ---- */

/* The deleter's round, in this order. Takes the ops that have not begun, and promises the furthest log start. */
void partition_delete_begin(struct partition *part);
/* The promise is on the disk (checkpoint_rc 0), or could not be written: then e says why. Deletes; may be called again
 * after a failure. Returns what has become of it. */
int partition_delete_checkpointed(struct partition *part, int checkpoint_rc, const struct err *e);
/* It is done, or will not be: promises nothing any more, and retention goes on from there. */
void partition_delete_settle(struct partition *part);
/* Ends the ops. Calls back, gives back the deleter's reference, or the partition to the deleter: more have come. */
void partition_delete_end(struct partition *part);
/* A follower's log start goes to its leader's, durably; the next fetch says so. One at a time: what comes meanwhile
 * comes again. -ENOMEM. */
int partition_follow_start(struct partition *part, struct log_point start, struct err *e);
/* The log start, or a later one that a DeleteRecords under way has promised. */
struct log_point partition_checkpoint_start(struct partition *part);
/* log_retain() below the high watermark, counted; on a full disk with the help of the reserve. 0 or its errno. */
int partition_retain(struct partition *part, struct err *e);

/* ---- the layer above: partition_feed.c ---- */

void partition_feed_init(struct partition *part);
/* Under the lock: something has changed. told: see append_op. */
void partition_change(struct partition *part, bool told);
/* And without it, after that: whoever listens is told. Calls back. */
void partition_tell(struct partition *part, bool told);
/* Both: segments came, went or were rewritten, other than by an append. */
void partition_segments_changed(struct partition *part);

/* ---- waiting: partition_wait.c ---- */

/* Takes out the waiters below position, under the lock; the caller then calls partition_wake() without it. */
struct partition_waiter *partition_collect(struct partition *part, int64_t position);
void partition_wake(struct partition_waiter *waiters, const struct partition_fresh *fresh);

#endif
