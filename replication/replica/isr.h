/* replication/replica/isr.h: the in-sync replicas of one partition: how far each one holds the log, and from that how
 * far the high watermark is. An ISR of one is the case in which the leader's own end is the high watermark.
 *
 * Pure: no I/O, no clock, no locks; the partition's lock guards it. */
#ifndef LOGMNT_REPLICATION_REPLICA_ISR_H
#define LOGMNT_REPLICATION_REPLICA_ISR_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/log/log.h"
#include "replication/base/limits.h"

struct isr_replica {
    int32_t id;
    bool in_sync;
    struct log_point end; /* everything below is held by this replica */
};

struct isr {
    struct isr_replica replicas[LIMIT_REPLICAS];
    int count;
    struct log_point high_watermark; /* never goes down */
};

/* All replicas in sync, with nothing known to be held beyond the high watermark. count: 1 … LIMIT_REPLICAS. */
void isr_init(struct isr *isr, const int32_t *replicas, int count, struct log_point high_watermark);

/* How many are in sync. */
int isr_size(const struct isr *isr);

/* A replica leaves or joins. false: no such replica. */
bool isr_set_in_sync(struct isr *isr, int32_t id, bool in_sync);

/* A replica holds everything below end. An end below what it is known to hold changes nothing: two appends may report
 * out of order. false: no such replica. */
bool isr_advance(struct isr *isr, int32_t id, struct log_point end);

/* Moves the high watermark up to what every in-sync replica holds, if at least min_insync of them are in sync (KIP-966:
 * a smaller ISR commits nothing). true: it moved. */
bool isr_update(struct isr *isr, int min_insync);

#endif
