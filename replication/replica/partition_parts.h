/* replication/replica/partition_parts.h: the parts of struct partition (partition_internal.h): what one file has of a
 * partition, with the lock that it is under. For replication/ alone.
 *
 * What is not said to be under another lock is under the partition's own (partition_internal.h), and an _Atomic field
 * is changed under its part's lock and looked at without. */
#ifndef LOGMNT_REPLICATION_REPLICA_PARTITION_PARTS_H
#define LOGMNT_REPLICATION_REPLICA_PARTITION_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/checkpoint.h"
#include "replication/executor/executor.h"
#include "replication/replica/checkpoints.h"
#include "replication/replica/partition.h"
#include "replication/replica/partition_read.h"

struct damaged_log;
struct shown_round;

/* What there is of the partition on the disk; the drawing is in partition.c. */
enum partition_life { LIFE_FOREIGN, LIFE_CLOSED, LIFE_OPEN, LIFE_DAMAGED, LIFE_RETIRED };

/* Whether its log is still to be made for the first time; the drawing is in partition_seal.c. */
enum partition_making { MAKING_OVER, MAKING_DUE, MAKING_HELD };

/* Whether a leader knows how far its partition was shown; the drawing is in partition_shown.c. */
enum shown_state { SHOWN_KNOWN, SHOWN_ASKING, SHOWN_HEARD };

/* Whether appends with acks=all may go into the log; the drawing is in partition_hold.c. */
enum admission { ADMISSION_OPEN, ADMISSION_HOLDING, ADMISSION_FAILING, ADMISSION_RESUMING };

/* One of the partition's alarms; partition_alarm.c's, which has the drawing: the lock that it names. */
struct partition_alarm {
    struct alarm alarm;
    struct partition *part;
    pthread_mutex_t *lock;
    void (*ring)(struct partition *part);
    bool set; /* and it holds a reference */
};

/* A list of appends, linked by prev and next. */
struct append_list {
    struct append_op *first, *last;
};

/* A list of reads, likewise. */
struct read_list {
    struct read_op *first, *last;
};

/* ---- its log ---- */

/* Beside the log itself; partition.c's: the life lock. */
struct partition_disk {
    _Atomic int life;                 /* enum partition_life */
    struct damaged_log *damaged_logs; /* whose place the log has taken; offline, and kept for who still looks */
    /* what the checkpoints said: they go on saying it of a log that could not be opened */
    struct log_known known;
    struct checkpoint_entry known_high_watermark;
    int open_rc;        /* why there is no log */
    _Atomic int making; /* enum partition_making */
};

/* The topic's settings in force, as the append path needs them; partition.c's. Looked at without a lock. */
struct partition_settings {
    pthread_mutex_t lock;              /* held while they are put in force; waits for an append that is under way */
    _Atomic int32_t min_insync_config; /* as set; 0: it follows from the replicas */
    _Atomic int32_t min_insync_replicas;
    _Atomic bool log_append_time;
    _Atomic int framing; /* changes with the topic's update_lock held for writing */
    _Atomic int64_t flush_messages;
    _Atomic int64_t flush_ms;
    _Atomic bool compact;
};

/* What was appended since the node started, as the leader; partition_append.c's. */
struct partition_counts {
    uint64_t batches, records, bytes;
};

/* The beat's (partition_followers.c), which alone changes it: what the log was at, for how many beats it has been at
 * the same write and at the same flush, and the greater of the two. */
struct partition_busy {
    struct log_busy last;
    int write_beats, flush_beats;
    _Atomic int beats;
};

/* A log that is damaged; partition_damage.c's, which has the drawing. */
struct partition_damage {
    _Atomic bool resigned; /* it is to be dropped before anything is fetched */
    _Atomic bool failed;   /* the disk failed at that: it is not until the next start */
    bool told;             /* that it is damaged and stays so */
};

/* FOLLOWER: what its disk refused last, which is logged once: errnos; 0: it did not. partition_fetch.c's, and of its
 * log start partition_delete.c's. */
struct partition_refused {
    _Atomic int cut_rc, drop_rc, start_rc;
};

/* Who is told of what goes from the log; partition_delete.c's. */
struct partition_holes {
    pthread_mutex_t lock; /* held while watch is called */
    struct partition_watch *watch;
};

/* The node's upkeep of the log: each is its one work's alone. */
struct partition_upkeep {
    int64_t scrub_left_bytes; /* node/scrubber.c's: of this round still to read */
    bool clean_failed;        /* node/cleaner.c's: the last compaction failed, and that was logged */
    _Atomic int retain_rc;    /* its too: how the last retention failed, which was logged; 0: it did not */
};

/* ---- its epoch ---- */

/* How the leader epoch is led in; partition_epoch.c's. */
struct partition_epoch {
    _Atomic bool assigned;  /* the log leads or follows in it: from the first append or fetch on; life lock */
    _Atomic int32_t wanted; /* LEADER: the cluster is to say this one, before it can be led; 0: not so */
    int32_t led_since;      /* LEADER: in this one it became so, and has been without a break */
    int64_t start;          /* offset where the one began that is led in */
};

/* What of the partition any mount was shown, and, as a leader that may have lost some of it, asking others for that;
 * partition_shown.c's, which has the drawing. */
struct partition_shown {
    struct log_point point;       /* the furthest high watermark that was heard of; never goes down */
    _Atomic int64_t position;     /* its position */
    int32_t epoch;                /* the leader epoch in which it was said, at the latest */
    int32_t record_epoch;         /* that of the last record in front of it; -1: not known */
    int32_t told;                 /* the last epoch whose leader was told what was shown here; -1: none */
    _Atomic int state;            /* enum shown_state */
    struct shown_round *round;    /* while it asks */
    struct log_point heard;       /* the furthest that was heard of in this epoch */
    struct log_point cut;         /* from here on the log may differ from what was shown; INT64_MAX: nowhere */
    int64_t skipped_to;           /* life lock: its end was moved there, behind what was shown */
    struct partition_alarm alarm; /* to ask again */
};

/* LEADER: it was found empty, and is to stay so in the registration's leader epoch; partition_seal.c's, which has the
 * drawing. */
struct partition_seal {
    _Atomic bool sealed; /* set with the topic's update_lock held for writing */
    int64_t until_ms;    /* from then on it asks for another epoch: BREAKING */
    struct partition_alarm alarm;
};

/* ---- appends that wait ---- */

/* In this node; partition_hold.c's, which has the drawing. */
struct partition_hold {
    _Atomic int admission;     /* enum admission */
    struct append_list held;   /* in the order in which they came */
    struct append_op *resumed; /* of them, the one that a thread is putting into the log */
    bool resumes_any;          /* acks of that one are not all */
    _Atomic int held_any;      /* how many of them have such acks, with it */
    _Atomic bool letting_in;   /* a turn of the topic lets them in, or is queued to go on with that */
    struct append_list over;   /* while it does: what is over, and is answered at the end of it */
    int over_count;
    struct append_list committing;   /* in the log; ascending */
    struct partition_alarm deadline; /* the first of them */
};

/* On their way to a leader elsewhere, and the numbers of those that are appended here; partition_forward.c's. */
struct partition_forward {
    pthread_mutex_t lock; /* the forward lock */
    struct forwarder forwarder;
    struct partition_alarm alarm;
    _Atomic bool busy;         /* not all that was on its way is over: none goes to the log past it */
    _Atomic bool handing_over; /* a leadership has ended, and what waited for it is not in the forwarder yet */
    _Atomic int under_way;     /* numbered here, and neither over nor waiting for the high watermark yet */
};

/* What went to a leader elsewhere with acks=0; partition_late.c's: the forward lock. */
struct partition_late {
    uint64_t number; /* the last one's */
    int under_way;
    int rc; /* the first failure that no fsync was told of */
    int count;
    struct late_end ends[LIMIT_LATE_EPOCHS];
    struct flush_op *flushes; /* that wait */
};

/* This node leads and cannot append; node/handover.c's, under no lock. */
struct partition_handover {
    _Atomic int64_t since_ms; /* since when another leader is asked for; 0: it can append */
    _Atomic int64_t next_ms;  /* when to ask next */
    _Atomic bool under_way;
    _Atomic bool told, failure_told; /* what was logged since then */
};

/* ---- others that wait ---- */

/* What the leader elsewhere is asked to do; partition_ask.c's: the forward lock. */
struct partition_asks {
    struct ask *first;
    uint64_t number; /* the last one's */
    struct partition_alarm alarm;
};

/* What is waited for of the in-sync replicas; partition_insync.c's. */
struct partition_insync {
    struct insync_wait *waits;
    struct partition_alarm alarm;
};

/* Readers at the end; partition_wait.c's. */
struct partition_waiters {
    struct partition_waiter *first; /* in no order */
    int64_t lowest_position;        /* at or below that of each; INT64_MAX: none */
};

/* In which list of reads.h a partition is, and when it is looked at; remote.h has the drawing. */
enum remote_turn { REMOTE_IDLE, REMOTE_ACTIVE, REMOTE_RESTING };

/* What is known of a replica elsewhere, and who waits for its answer; remote.h. */
struct partition_remote {
    struct remote *_Atomic replica; /* NULL: nothing was ever asked */
    struct read_list reads;
    _Atomic int turn;              /* enum remote_turn; changed under reads' lock, as what follows is */
    struct partition *prev, *next; /* in that list */
    int64_t due_ms;                /* REMOTE_RESTING */
};

/* flush.ms, and a flushing thread that goes; partition_flush.c's, under no lock. */
struct partition_flush {
    struct alarm alarm; /* not as the others: an append sets it, without a lock */
    _Atomic bool armed; /* and it holds a reference */
    struct work next;   /* leads a round for those whom a flushing thread left; holds a reference while queued */
    _Atomic bool next_queued;
    _Atomic bool wanted, due; /* flusher.c's: with its next round; at once */
};

/* DeleteRecords; partition_delete.c's. */
struct partition_deletes {
    struct delete_records_op *first;   /* that have not begun */
    bool busy;                         /* the deleter has the partition in its list or in hand */
    bool follows_start;                /* one of them is a follower's */
    struct log_point checkpoint_start; /* what the checkpoint is to say before it happens */
    struct log_point removed;          /* this node's mount has deleted what is before it; partition_removal_heed() */
    int32_t removed_epoch;             /* as the leader of that epoch has said */
    /* the deleter's, while it has the partition in its list, or in hand: what it is at, and how that has ended */
    struct partition *next;
    struct delete_records_op *ops;
    struct log_point point;
    int rc;
};

/* ---- who is told of it ---- */

/* The layer above; partition_feed.c's, which has the drawing. */
struct partition_feed {
    uint64_t changes, untold_changes; /* how often there was something to be told */
    _Atomic uint64_t segment_changes; /* likewise: but for rolls */
    _Atomic int hear;                 /* enum partition_hear */
    struct partition_news news;       /* the listener's while hear is HEAR_NOTHING */
};

/* In the list of a fetcher; fetcher.c's, under its lock. */
struct partition_fetching {
    struct partition *next;
    struct fetcher *in, *then; /* in whose list it is; in whose it is to be next */
};

/* A change of its registration that this node proposes; isr_changes.c's. */
struct partition_proposal {
    bool pending; /* it is proposed, and not decided */
    bool queued;  /* in isr_changes' list, under its lock: there may be something to propose */
    struct partition *next;
};

#endif
