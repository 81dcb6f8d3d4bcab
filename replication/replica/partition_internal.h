/* replication/replica/partition_internal.h: struct partition, for replication/ alone. partition.c owns its life and
 * what can be asked of it, partition_append.c appending and flushing, partition_wait.c those who wait.
 *
 * A partition lives as long as its topic: a reference to it is one to the topic.
 *
 * `lock` is the partition's own: held for a few loads and stores, never through I/O nor a callback. The log below has
 * its own locks; none of them is taken under it. */
#ifndef LOGMNT_REPLICATION_REPLICA_PARTITION_INTERNAL_H
#define LOGMNT_REPLICATION_REPLICA_PARTITION_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/checkpoint.h"
#include "replication/metadata/config.h"
#include "replication/node/checkpoints.h"
#include "replication/node/node.h"
#include "replication/replica/isr.h"
#include "replication/replica/partition.h"

struct partition {
    struct topic *topic;
    struct node *node;
    int32_t index;
    char name[CHECKPOINT_NAME_BYTES];
    struct log *_Atomic log; /* NULL: it could not be opened; set once, under epoch_lock */

    /* what the checkpoints said: they go on saying it of a log that could not be opened */
    struct log_known known;
    struct log_point known_high_watermark;
    _Atomic bool opened;
    int open_rc;  /* epoch_lock: why log is NULL */
    bool claimed; /* epoch_lock: its directory is its own, or not there */
    bool retired; /* epoch_lock: its directory has given up its name */

    /* settings in force, as the append path needs them */
    _Atomic int32_t min_insync_replicas;
    _Atomic bool log_append_time;
    _Atomic int framing; /* changes with the topic's gate shut */
    _Atomic int64_t flush_messages;
    _Atomic int64_t flush_ms;
    _Atomic bool compact;

    /* the leader epoch: the log leads in it (log_lead) from the first append on. The lock is held through I/O. */
    pthread_mutex_t epoch_lock;
    _Atomic int32_t leader_epoch;
    _Atomic bool epoch_assigned;

    pthread_mutex_t lock;
    struct isr isr;
    struct partition_waiter *waiters; /* a list, in no order */
    int64_t lowest_position;          /* at or below that of each waiter; INT64_MAX: none */
    struct append_op *parked_first, *parked_last;
    bool resuming;    /* a thread is appending what was parked … */
    bool resuming_op; /* … and has one in hand */
    bool failing;     /* a parked append has timed out: the next ones fail at once */
    uint64_t batches_appended, records_appended, bytes_appended;
    _Atomic bool must_park; /* acks=all cannot go the short way: too small an ISR, or others are parked before it */

    struct alarm parked_alarm; /* holds a reference from when it is set until it has rung; set under lock */
    bool parked_alarm_set;

    /* flush.ms and the background flusher */
    struct alarm flush_alarm; /* holds a reference from when it is set until it has rung */
    _Atomic bool flush_armed;
    _Atomic bool flush_wanted;
    struct work flush_next; /* leads a round for those whom a flushing thread left; holds a reference while queued */
    _Atomic bool flush_next_queued;
    /* DeleteRecords: one at a time, and what the checkpoint is to say before it happens. */
    pthread_mutex_t delete_lock;
    struct log_point promised_start; /* lock */

    int64_t scrub_left; /* scrubber.c's: bytes of this round still to read */
    bool clean_failed;  /* cleaner.c's: the last compaction failed, and that was logged */
};

/* ---- life: partition.c ---- */

/* Opens (or makes) the partition's log. *out is there in any case but -ENOMEM; with another error it is offline. */
int partition_open(struct topic *topic, int32_t index, const int32_t *replicas, int replica_count,
                   const struct checkpoints *known, bool made, struct partition **out, struct err *e);
/* Closes the log (destroy: removes it) and frees the partition. Nobody uses it any more. */
int partition_free(struct partition *part, bool destroy, struct err *e);
void partition_set_config(struct partition *part, const struct topic_config *config);
/* Takes the directory's name away on the disk; the caller fsyncs DATA/topics. */
void partition_retire(struct partition *part);
/* Gives back what alarms hold that will not ring any more. cancel: they may still be set. */
void partition_stop_alarms(struct partition *part, bool cancel);
/* A log that could not be opened for want of room, memory or descriptors gets another chance. 0 if there is a log now,
 * or the errno why not. */
int partition_reopen(struct partition *part, struct err *e);
/* 0, -ESTALE, -EIO with the reason. */
int partition_usable(struct partition *part, struct err *e);
/* Something failed: if the log went offline, whoever waits is told. Calls back: no lock held. */
void partition_check_failed(struct partition *part);

/* ---- appending: partition_append.c ---- */

/* Appends without moving the high watermark: the metadata quorum's own way. */
int partition_append_uncommitted(struct partition *part, const struct append_batch *batch,
                                 struct log_append_result *out, struct err *e);
/* This replica holds everything below end: the high watermark moves if it can, readers are woken. Calls back. */
void partition_commit(struct partition *part, struct log_point end);
/* Settings or the ISR changed: the high watermark is looked at again and what is parked goes on. Calls back. */
void partition_resume(struct partition *part);
/* Ends every parked append with rc. Calls back. */
void partition_fail_parked(struct partition *part, int rc);
/* Flushes what is there, waiting for it; the thread leads one round at most. */
int partition_flush_now(struct partition *part);
/* A log that was opened just now, which nobody else knows yet: no thread flushes for others without end. */
void partition_flush_begin(struct partition *part, struct log *log);
/* Appends are parked, or one that was is on its way into the log. */
bool partition_has_parked(struct partition *part);
/* Arms flush.ms if something is unflushed. */
void partition_arm_flush(struct partition *part);
void partition_append_init(struct partition *part);

/* ---- deleting: partition_delete.c ---- */

/* The log start, or a later one that a DeleteRecords under way has promised. */
struct log_point partition_promised_start(struct partition *part);
/* log_retain() below the high watermark, counted; on a full disk with the help of the reserve. 0 or its errno. */
int partition_retain(struct partition *part, struct err *e);

/* ---- waiting: partition_wait.c ---- */

/* Takes out the waiters below position, under the lock; the caller then calls partition_wake() without it. */
struct partition_waiter *partition_collect(struct partition *part, int64_t position);
void partition_wake(struct partition_waiter *waiters, const struct partition_fresh *fresh);

#endif
