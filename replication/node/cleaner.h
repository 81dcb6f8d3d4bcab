/* replication/node/cleaner.h: retention and compaction of all logs, in the background: every
 * log.retention.check.interval.ms, every log.cleaner.backoff.ms while there is a compacted topic, and at once after a
 * change of settings. */
#ifndef LOGMNT_REPLICATION_NODE_CLEANER_H
#define LOGMNT_REPLICATION_NODE_CLEANER_H

#include <stdatomic.h>

#include "replication/node/node.h"

struct cleaner {
    struct node *node;
    struct alarm retention;
    struct work retention_now;     /* asked for out of turn */
    _Atomic bool retention_queued; /* … and not yet begun */
    struct alarm compaction;
    _Atomic bool compact_armed; /* its alarm is set, waits or rings */
    _Atomic uint64_t compact_kicks;
};

void cleaner_init(struct cleaner *cleaner, struct node *node);
/* The first round, and the timers from then on. */
void cleaner_start(struct cleaner *cleaner);
/* Settings changed: a round of both at once. */
void cleaner_kick(struct cleaner *cleaner);

#endif
