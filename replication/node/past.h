/* replication/node/past.h: whether this node knows all that was decided before its start, and who waits until it does.
 *
 *     UNKNOWN ──the first one waits──▶ AWAITED ──LIMIT_METADATA_MS──▶ GIVEN_UP
 *        │                                │                              │
 *        └──────────── heard ─────────────┴──────────── heard ───────────┴──▶ KNOWN
 *
 * It does once it has applied a registration of this process: that was appended after the start, behind all that was
 * decided before (REPLICATION.md, rule 60). The only voter knows it from the start on. Until then nobody is told that a
 * name is not there. A quorum that is not to be had is waited for once a start, for LIMIT_METADATA_MS from the first
 * who waits on; then what is known counts.
 *
 * Any thread; its lock is held for a few loads and stores. */
#ifndef LOGMNT_REPLICATION_NODE_PAST_H
#define LOGMNT_REPLICATION_NODE_PAST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "replication/executor/executor.h"

enum past_state { PAST_UNKNOWN, PAST_AWAITED, PAST_KNOWN, PAST_GIVEN_UP };

/* Embed it, zeroed, set done, and keep it until that was called or past_cancel() has said true. */
struct past_waiter {
    /* Once, no lock held, by a prompt work: what is known from now on counts. */
    void (*done)(struct past_waiter *waiter);
    /* private; the lock */
    bool queued;
    struct past_waiter *next;
};

struct past {
    struct executor *executor; /* the owner's, set before anybody waits */
    pthread_mutex_t lock;
    _Atomic int state; /* enum past_state; changed under the lock */
    struct past_waiter *waiters;
    struct alarm alarm; /* ends all waits, when the time is over or it was heard */
};

void past_init(struct past *past);
/* Nobody waits. */
void past_free(struct past *past);
/* All that was decided before the start is applied. */
void past_heard(struct past *past);
/* What is known counts: there is nothing to wait for, or not any more. One load. */
bool past_counts(const struct past *past);
/* true: it waits, and done will be called, perhaps before this returns; false: what is known counts. */
bool past_wait(struct past *past, struct past_waiter *waiter);
/* true: it waited still, and done is not called. */
bool past_cancel(struct past *past, struct past_waiter *waiter);

#endif
