/* replication/replica/isr.h: the in-sync replicas of one partition, as its leader sees them: how far each one holds the
 * log, from that how far the high watermark is, and who is to join or to leave.
 *
 * Each replica is judged on one state, its last fetch in this epoch (REPLICATION.md, rules 27 to 30). The committed ISR
 * is the cluster's; a replica that was proposed for it counts already, and one that was proposed to leave still does,
 * until that is decided: together the maximal ISR (KIP-497). An ISR of one is the case in which the leader's own end is
 * the high watermark.
 *
 * Pure: no I/O, no clock, no locks; the partition's lock guards it. */
#ifndef LOGMNT_REPLICATION_REPLICA_ISR_H
#define LOGMNT_REPLICATION_REPLICA_ISR_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/record/log_point.h"
#include "replication/base/limits.h"
#include "replication/metadata/replica_set.h"

struct isr_replica {
    int32_t id;
    bool in_sync;         /* as decided */
    bool joins;           /* proposed: not in sync yet, but counts */
    bool fetched;         /* in this epoch, and its log agrees with the leader's up to end */
    bool full;            /* its disk is: as its last fetch says */
    int64_t node_epoch;   /* that it last fetched in; -1: not known */
    struct log_point end; /* everything below is held by this replica */
    int64_t flushed;      /* offset: likewise, on its disk */
    int64_t start;        /* offset: its log start, on its disk */
    int64_t asked_flush;  /* offset: it was asked to flush up to here; partition_insync.c's */
    bool flushes;         /* it is to join, and has not flushed yet what was promised: counts for what will be */
    int64_t flushes_ms;   /* since then; else: not before */
    int64_t heard_ms;     /* the last sign of its life */
    int64_t caught_up_ms; /* when it was last known to be at the leader's end */
    /* Where the leader's end was at mark_ms: who gets there was caught up then. */
    int64_t mark_offset, mark_ms;
};

struct isr {
    struct isr_replica replicas[LIMIT_REPLICA_SET];
    int count;
    struct log_point high_watermark; /* never goes down while this replica leads */
    /* The offset up to which it was said, or may have been, that all in sync have it on their disks; INT64_MAX: not
     * known in this epoch. */
    int64_t promised;
};

/* All replicas in sync, with nothing known to be held beyond the high watermark. count: 1 … LIMIT_REPLICA_SET. */
void isr_init(struct isr *isr, const int32_t *replicas, int count, struct log_point high_watermark);

/* What the cluster has decided: who are replicas, and who of them is in sync. What is known of those that stay stays;
 * proposals are over. */
void isr_decide(struct isr *isr, const struct replica_set *replicas, const struct replica_set *in_sync);
/* A leadership begins: nothing is known in this epoch of anybody, the leader included until isr_advance() says where
 * its log ends; each of the others has the time of a lag to show itself. promised: what earlier leaders may have; only
 * what is on this one's disk, if it was in sync with them; INT64_MAX: not known. */
void isr_begin(struct isr *isr, int64_t promised, int64_t now_ms);

/* How many are in sync, as decided. */
int isr_size(const struct isr *isr);
/* NULL: no such replica. */
struct isr_replica *isr_find(struct isr *isr, int32_t id);

/* A replica leaves or joins. false: no such replica. */
bool isr_set_in_sync(struct isr *isr, int32_t id, bool in_sync);

/* A replica holds everything below end, as of this epoch. An end below what it is known to hold changes nothing: two
 * appends may report out of order. false: no such replica. */
bool isr_advance(struct isr *isr, int32_t id, struct log_point end);

/* What a follower's fetch says. */
struct isr_fetch {
    bool first; /* its log was found to agree with the leader's just now: what was known of it before is over */
    bool full;
    int64_t node_epoch;
    struct log_point end;
    int64_t flushed;
    int64_t start;
};
/* false: no such replica. */
bool isr_fetched(struct isr *isr, int32_t id, const struct isr_fetch *fetch, int64_t now_ms);

/* Moves the high watermark up to what every replica of the maximal ISR holds, if each has fetched in this epoch and at
 * least min_insync of them are in sync as decided (KIP-966: a smaller ISR commits nothing). true: it moved. */
bool isr_update(struct isr *isr, int min_insync);

/* The least offset that all of the maximal ISR, and those who are to join, have on their disks. */
int64_t isr_flushed(const struct isr *isr);
/* So much is said to be on the disks of all in sync. */
void isr_promise(struct isr *isr, int64_t flushed);
/* The least log start that all of the maximal ISR, and those who may lead next beside it, have on their disks. */
int64_t isr_start(const struct isr *isr, const struct replica_set *elr, const struct replica_set *last_isr);

/* ---- who is to join, who to leave ---- */

struct isr_rules {
    int32_t self;
    int64_t leader_end;  /* offset */
    int64_t epoch_start; /* offset where the leader's epoch begins */
    int64_t flushed;     /* offset: who joins has this on its disk, and so has the leader */
    int64_t start;       /* offset: and has removed what is in front of this */
    int64_t lag_max_ms;  /* replica.lag.time.max.ms */
    int64_t now_ms;
    /* The epoch of a node that is registered, not fenced and not shutting down; else -1. NULL: nobody joins. */
    int64_t (*node_epoch)(const void *arg, int32_t node);
    const void *arg;
};

/* Notes who is caught up: before isr_propose(), and now and then at least every third of the lag. */
void isr_look(struct isr *isr, const struct isr_rules *rules);
/* Who could join but for what it has on its disk counts from here on for what is promised, for LIMIT_STUCK_MS at the
 * longest, and then again after as long. */
void isr_prepare(struct isr *isr, const struct isr_rules *rules);
/* There is somebody of that kind, who is to be asked to flush. */
bool isr_has_joiners(const struct isr *isr);
/* Whether isr_propose() may have something to say, whatever the nodes are. */
bool isr_is_due(struct isr *isr, const struct isr_rules *rules);
/* What the ISR should be. true: *out differs from what is decided, and from here on counts as proposed; epochs are the
 * node epochs of out's members as they were judged, -1 for those that were in it. Not while one is proposed. */
bool isr_propose(struct isr *isr, const struct isr_rules *rules, struct replica_set *out,
                 int64_t epochs[LIMIT_REPLICA_SET]);
/* The proposal was refused, for certain. */
void isr_take_back(struct isr *isr);

#endif
