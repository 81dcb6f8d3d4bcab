/* replication/node/cleaner.h: retention and compaction of all logs, in the background: every
 * log.retention.check.interval.ms, every log.cleaner.backoff.ms while there is a compacted topic, and at once after a
 * change of settings. */
#ifndef LOGMNT_REPLICATION_NODE_CLEANER_H
#define LOGMNT_REPLICATION_NODE_CLEANER_H

#include <stdatomic.h>

#include "replication/node/node.h"

struct cleaner {
    struct node *node;
    struct node_timer timer;
    struct node_work work;
    _Atomic bool queued;
    struct node_timer compact_timer;
    struct node_work compact_work;
    _Atomic bool compact_armed; /* its timer runs, or its work is queued or under way */
    _Atomic uint64_t compact_kicks;
};

void cleaner_init(struct cleaner *cleaner, struct node *node);
/* The first round, and the timers from then on. */
void cleaner_start(struct cleaner *cleaner);
/* Settings changed: a round of both at once. */
void cleaner_kick(struct cleaner *cleaner);

#endif
