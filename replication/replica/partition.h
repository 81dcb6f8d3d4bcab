/* replication/replica/partition.h: this node's part in one partition: who leads, who is in sync, how far the high
 * watermark is.
 *
 * fs/ sees partitions through this file and partition_read.h only. An append goes: is the ISR large enough? →
 * log_append() → flush.messages → high watermark (with an ISR of one it passes the append at once) → waiting readers
 * and appends are answered. With fewer than min.insync.replicas in the ISR an acks=all append is held, with its bytes,
 * until there are enough or delivery.timeout.ms has passed (-EROFS: nothing was appended); after one has timed out the
 * next ones fail at once until appending is possible again. What is in the log is answered by the high watermark alone.
 * Where another node leads, an append goes to that one, through changes of leader, and ends as one here would.
 *
 * Any thread. References: partition_ref()/unref(); whoever keeps a pointer beyond a topic reference takes one. */
#ifndef LOGMNT_REPLICATION_REPLICA_PARTITION_H
#define LOGMNT_REPLICATION_REPLICA_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/log/log.h"
#include "replication/metadata/replica_set.h"
#include "replication/replica/forwarder.h"

struct partition;
struct topic;

/* ---- private parts of ops ---- */

/* partition_ask.c: what the leader elsewhere is asked to do. */
struct ask {
    int kind;      /* enum message_kind */
    int32_t epoch; /* forward_message.h's partition_request */
    int64_t upto;
    int64_t deadline_ms;
    bool to_self;                 /* should this node lead, it is asked all the same; else -EREMOTE */
    bool later;                   /* not before LIMIT_FORWARD_PAUSE_MS, or before something changes */
    const _Atomic bool *given_up; /* NULL, or: -EINTR once that is set and somebody looks */
    void (*done)(struct ask *ask, int rc);
    /* done, rc 0: from the answer, with the epoch in which it was asked */
    int32_t leader_epoch;
    int64_t answer_upto, answer_position;
    enum { ASK_OVER, ASK_WAITING, ASK_SENT } state;
    int rc;
    uint64_t number;
    struct ask *prev, *next;
};

/* partition_insync.c: what is waited for of every in-sync replica, as offsets; 0: not that. All 0: that the leader can
 * begin its epoch. */
struct insync_wait {
    int64_t committed, flushed, start;
    int64_t deadline_ms;
    const _Atomic bool *given_up; /* as ask's */
    void (*done)(struct insync_wait *wait, int rc);
    int rc;
    bool unsure; /* out: so it is in a log that may be cut yet, when the leader begins its epoch */
    struct insync_wait *prev, *next;
};

/* partition_late.c: where what was appended elsewhere with acks=0 ends, of one leader epoch. */
struct late_end {
    int64_t upto;
    int32_t leader_epoch;
};

enum acks { ACKS_NONE = 0, ACKS_LEADER = 1, ACKS_ALL = -1 };

struct partition *partition_ref(struct partition *part);
void partition_unref(struct partition *part);
int32_t partition_index(const struct partition *part);
struct topic *partition_topic(const struct partition *part); /* lives as long as the partition */
const char *partition_name(const struct partition *part);    /* "orders-0" */

/* 0; -ESTALE: the topic was deleted; -EIO: the log is offline. One for which there was no room is made now, if there
 * is. */
int partition_state(struct partition *part);

/* ---- points; each is one consistent pair ---- */
struct log_point partition_high_watermark(struct partition *part); /* never goes down */
struct log_point partition_log_start(struct partition *part);
struct log_point partition_log_end(struct partition *part);
int32_t partition_leader_epoch(struct partition *part); /* as far as this node knows */
int64_t partition_mtime_ms(struct partition *part);     /* the last append; -1: there was none, or it is not known */
void partition_size(struct partition *part, struct log_size *out);

/* ---- appending ---- */

/* Where an append is; the drawing is in partition_append.c. */
enum append_state {
    APPEND_OVER,
    APPEND_NEW,
    APPEND_HELD,
    APPEND_FORWARDED,
    APPEND_WRITING,
    APPEND_FLUSHING,
    APPEND_COMMITTING,
};

/* One append. Embed it, zeroed; fill in what is "in"; keep it until it is over; it may be used again then. */
struct append_op {
    struct partition *part;    /* in; the caller's reference lasts until the append is over */
    struct append_batch batch; /* in; what its pointers lead to must be good until submit has returned */
    enum acks acks;            /* in */
    int64_t timeout_ms;        /* in: delivery.timeout.ms, counted from when it begins to wait */
    /* in: another node's, with its producer id and sequence. Where this one does not lead it ends with -EREMOTE: not
     * appended. -EIO: the log is offline, or leads no more; with result.end set it may be in it. */
    bool from_peer;
    /* in: the cluster's own record, for a topic of .internal/ that others may not append to. Never one for the metadata
     * log. */
    bool internal;
    /* in, with from_peer: it is appended in this leader epoch or not at all (-EREMOTE). */
    bool in_epoch;
    int32_t only_epoch;
    bool told;       /* in: the kernel tells watchers of its directory (partition_news), with a write(2)'s end */
    int64_t came_us; /* in: when it came, by clock_wall_us(), if that was looked at already; 0: now */
    /* in: the end of an append that had to wait, with no lock held. rc: 0; -EROFS: too few replicas in sync for all of
     * timeout_ms, nothing was appended; -ETIMEDOUT: it is in the log, or may be, and whether it stays is not known;
     * -ESTALE; -EIO: the log is offline, and it is not in it; -EINVAL: the topic has become a compacted one, or one
     * with another framing; and what else submit may return. */
    void (*done)(struct append_op *op, int rc);
    struct log_append_result result; /* out: where it is in the log, after success and after -ETIMEDOUT */
    int32_t leader_epoch;            /* out: in which it came into the log */
    /* private */
    _Atomic int state; /* enum append_state */
    void *copy;        /* HELD, FORWARDED: the bytes and marks */
    bool duplicate;    /* the log has it already; result.end is at or behind its end */
    bool detached;     /* its caller was answered already, partition_late.c */
    bool acked;        /* the leader elsewhere has acknowledged it: COMMITTING until it shows here */
    bool numbered;     /* it got its sequence here, and is counted as under way */
    struct forward forward;
    struct iovec iov;
    int64_t begun_wall_us; /* came_us, or when it was submitted */
    int64_t begun_us;      /* the same by clock_mono_us(); 0: it has not begun to wait */
    int64_t deadline_ms;
    struct log_flush flush;
    _Atomic bool flush_met; /* of two, the flush and who began it, one has come to where the other goes on */
    int flush_rc;
    int rc;                        /* OVER: what it ends with, once what is held is in the log */
    struct append_op *prev, *next; /* in the list of its state */
};

/* Appends the batch. Returns
 *   1   over: acks holds, op->result is set
 *   0   it waits: op->done will be called, exactly once, perhaps by another thread and before this has returned, but
 *       never by this one; what the batch's pointers lead to is not looked at any more
 *   a negative errno: over, nothing was appended. -EPERM: a topic of .internal/. -EAGAIN: the topic has another framing
 *   than the batch by now, and another config generation: cut its bytes anew. -EINVAL: a record without a key, and the
 *   topic is compacted. -EROFS: as above, after another has waited in vain. -EIO: the log is offline, and it is not in
 *   it. -ETIMEDOUT: it may be in the log, which has failed, or could not be flushed for flush.messages.
 * With acks=all it is over when the high watermark has passed it, and not before. */
int partition_append_submit(struct append_op *op, struct err *e);

/* Takes back what is not in the log yet. true: nothing was appended, and done will not be called. */
bool partition_append_cancel(struct append_op *op);
/* Waits no longer for the high watermark: for who is dying, or stops. true: it is in the log, and done will not be
 * called. */
bool partition_append_forget(struct append_op *op);
/* It waits, and is in the log already: no cancel will take it back. */
bool partition_append_is_in_log(const struct append_op *op);

/* fsync(2): one on its way. Embed it, zeroed; fill in what is "in"; keep it until it is over. */
struct flush_op {
    struct partition *part; /* in; the caller's reference lasts until it is over */
    int64_t upto; /* in, an offset: everything below is to be committed and on the disk of every replica in sync */
    int32_t leader_epoch; /* in: append_op's, of what ends there; -1: not known */
    bool from_peer;       /* in: another node's; this one's own is also told of appends with acks=0 that it has sent */
    int64_t timeout_ms;   /* in */
    /* in: once, no lock held, perhaps before the submit has returned. rc: 0; -EIO: not on the disk, or what was
     * acknowledged in that epoch (with acks 0 or 1) is lost; -ETIMEDOUT; -ESTALE; errnos of the disk; and of an append
     * with acks=0 that was sent elsewhere, what append_op's done may be told. */
    void (*done)(struct flush_op *op, int rc);
    /* private to partition_flush.c and partition_late.c */
    uint64_t late_number; /* of appends with acks=0: up to that one they are waited for … */
    int late_left;        /* … and so many of them are not over */
    int late_rc;          /* the first failure of one */
    bool late_asked;      /* upto and leader_epoch are of what came of them */
    int late_count;       /* where they end, what is still to be asked for */
    int64_t begun_us;     /* partition_flush.c's, as append_op's */
    struct late_end late_ends[LIMIT_LATE_EPOCHS];
    struct flush_op *next;
    int64_t deadline_ms;
    _Atomic bool given_up;
    struct log_flush flush;
    struct insync_wait wait;
    struct ask ask;
};
/* 1: it is there already; 0: op->done is or will be called; or a negative errno: over. */
int partition_flush_submit(struct flush_op *op);
/* After the submit: nobody wants to know any more, and what waits for other nodes ends (-EINTR). op->done is called as
 * ever, perhaps before this has returned; a disk is waited for. It may be over already, but op->part is still there. */
void partition_flush_give_up(struct flush_op *op);

/* ---- waiting for records ---- */

/* Bytes that were committed just now and are still in their writer's memory. */
struct partition_fresh {
    int64_t position; /* of the first */
    size_t len;       /* below the high watermark */
    uint32_t records; /* they are whole ones */
    const struct iovec *iov;
    int iovcnt;
};

struct partition_waiter {
    int64_t position;                               /* in: waits for a high watermark above this */
    void (*ready)(struct partition_waiter *waiter); /* once, no lock held, as append_op's done */
    const struct partition_fresh *fresh;            /* while ready() runs: what is at hand; NULL: nothing */
    struct partition_waiter *prev, *next;
    bool queued;
};
/* Queues the waiter. false: no need, the high watermark is above it already, or the partition is deleted or offline. */
bool partition_wait(struct partition *part, struct partition_waiter *waiter);
/* true: it was still queued, ready() will not be called. false: ready() was called or is being called. */
bool partition_unwait(struct partition *part, struct partition_waiter *waiter);

/* ---- what the layer above is told ---- */

/* That a partition is not what it was: the high watermark moved, or segments came or went. One is on its way at a time
 * (node_feed.partition_changed()); until the listener gives it back nothing more is told of that partition. */
struct partition_news {
    struct partition *part;      /* referenced while it is the listener's */
    struct partition_news *next; /* the listener's own */
    int64_t due_ms;              /* likewise */
    bool again;                  /* likewise */
    /* private to partition_feed.c */
    uint64_t seen, seen_untold;
};

/* What is worth telling. At first it is HEAR_UNTOLD. */
enum partition_hear {
    HEAR_NOTHING, /* the news is the listener's */
    HEAR_UNTOLD,  /* but for appends whose `told` is set */
    HEAR_ALL,
};

/* From here on all is to be heard of (if it is the listener's now, that is for it to say). */
void partition_hear_all(struct partition *part);
/* The other way: who wanted all does not. */
void partition_hear_untold(struct partition *part);
/* The listener looks at the partition now: only what changes from here on is news. true: a change since the last look
 * was not `told`. */
bool partition_news_seen(struct partition_news *news);
/* Gives the news back. false: there is a later one already, and it stays the caller's. Drops a reference: of a topic
 * that was deleted perhaps the last one. */
bool partition_news_return(struct partition_news *news, enum partition_hear hear);
/* The same, whatever has changed. */
void partition_news_drop(struct partition_news *news);
/* How often segments went or were rewritten (they come with appends). */
uint64_t partition_segment_changes(struct partition *part);

/* ---- holes ---- */

/* Whoever keeps what was read hears of each hole, right behind its being made: by DeleteRecords, retention, compaction,
 * the topic's deletion. The call is short and waits for nothing; no lock of the log's or the partition's is held. */
struct partition_watch {
    void (*holes_made)(struct partition_watch *watch);
};
/* One a partition. NULL: nobody listens any more; a call that was under way is over. */
void partition_watch(struct partition *part, struct partition_watch *watch);

/* DeleteRecords (fallocate -p -o 0 -l position): one on its way; the caller embeds it, sets the first two and keeps it
 * until it is over. */
struct delete_records_op {
    int64_t position; /* up to the last record that ends at or before this */
    /* Once, no lock held, on a prompt work's thread, perhaps before partition_delete_records() has returned. rc: 0: the
     * new log start is on the disk; -ESTALE, -EIO, -ENOSPC, …: nothing has changed. */
    void (*done)(struct delete_records_op *op, int rc);
    struct err e; /* why not */
    /* private to partition_delete.c */
    struct partition *part;
    struct log_point point;
    struct insync_wait wait;
    struct ask ask;
    struct delete_records_op *next;
};
/* 0: op->done will be called; or a negative errno with the reason in op->e, and nothing has happened (-EPERM: a topic
 * of .internal/). Those that come together share one checkpoint. */
int partition_delete_records(struct partition *part, struct delete_records_op *op);
/* true: done is not called. It may have begun, at another node or here, and then it may yet be done. false: it is over,
 * or at this node's disk, or on its way from one to the other. */
bool partition_delete_records_cancel(struct partition *part, struct delete_records_op *op);

/* .segments */
int partition_files(struct partition *part, struct log_file **out, size_t *count, struct err *e);
int partition_file_find(struct partition *part, int64_t base_offset, enum segment_file kind, struct log_file *out,
                        struct err *e);
/* *unchecked: log.h's, to be given back before the partition is; each read of it asks log_file_check() first, and the
 * kernel must not read it without us. NULL: all of it may be read. */
int partition_file_open(struct partition *part, const struct log_file *file, int *fd, struct segment **unchecked,
                        struct err *e);

/* ---- what .cluster/ and the attributes show ---- */
struct partition_info {
    int32_t leader; /* node id; -1: none, or this one, and its log is offline */
    int32_t leader_epoch;
    struct replica_set replicas; /* whom to prefer as the leader first */
    struct replica_set isr;      /* by id */
};
void partition_info(struct partition *part, struct partition_info *out);
/* Another node has a replica: it may lead. Takes the lock. */
bool partition_has_others(struct partition *part);

/* How far behind a replica is, as this node knows it that leads. */
struct partition_lag {
    int32_t replica;  /* node id */
    int64_t records;  /* between its log's end and this one's; of one not heard of in this epoch: all there are */
    int64_t heard_ms; /* since its last sign of life; -1: none in this epoch */
};
/* Of each of the others; returns how many, 0 where this node does not lead. Any thread. */
int partition_lags(struct partition *part, struct partition_lag out[LIMIT_REPLICA_SET]);

#endif
