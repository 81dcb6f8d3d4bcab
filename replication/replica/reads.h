/* replication/replica/reads.h: this node's room for reads from other nodes: what peers ask goes to the partitions that
 * they ask about, what they answer to those that have asked (replica/remote.h), and time, links and leaders are watched
 * for the partitions that wait for an answer.
 *
 * A request is a work of the prompt pool, side by side with others, since it reads the disk; answers are taken one
 * after the other (mailbox). One that waits for news (MESSAGE_STAT) waits with its partition, and holds no thread. */
#ifndef LOGMNT_REPLICATION_REPLICA_READS_H
#define LOGMNT_REPLICATION_REPLICA_READS_H

#include <pthread.h>
#include <stdatomic.h>

#include "replication/executor/mailbox.h"
#include "replication/wire/network.h"

struct held_stat;
struct replica_manager;
struct partition;

struct reads {
    struct replica_manager *manager;
    struct mailbox mailbox;
    struct network_listener listener;
    struct alarm alarm;
    _Atomic uint64_t numbers;
    _Atomic int64_t ahead_bytes; /* in all caches */
    _Atomic int held_count;      /* questions that wait for news */
    _Atomic int64_t news_second; /* of the monotonic clock: in which reads_may_ask_for_news() was asked last … */
    _Atomic int news_asked;      /* … and so often */
    pthread_mutex_t lock;
    struct partition *active, *resting; /* referenced; by remote.next; remote.h has the drawing. lock */
    int64_t rest_ms;                    /* lock: no later than any of the resting ones is due */
    struct held_stat *held;             /* lock */
    bool alarm_set;                     /* lock */
    int64_t alarm_ms;                   /* lock: when it rings */
};

/* Enters the room; nothing comes yet. */
void reads_init(struct reads *reads, struct replica_manager *manager);
/* Nothing comes any more, no alarm rings, all is settled: gives back what is held. */
void reads_stop(struct reads *reads);
void reads_free(struct reads *reads);

/* Whether one more partition that somebody may watch may be asked for news now. */
bool reads_may_ask_for_news(struct reads *reads, int64_t now_ms);
/* Numbers for questions and ops, ascending. */
uint64_t reads_number(struct reads *reads);
/* The partition is looked at in the next turn. soon: within milliseconds; else when there is one. */
void reads_activate(struct reads *reads, struct partition *part, bool soon);
/* It has another leader. */
void reads_moved(struct reads *reads, struct partition *part);

#endif
