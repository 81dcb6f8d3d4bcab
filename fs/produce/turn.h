/* fs/produce/turn.h: one write of an open file after the other.
 *
 * What an open file keeps between its writes (producer.h) belongs to the one that has the turn, until that is settled,
 * on whichever thread, parked or not. Others queue in the order in which they came. The kernel sends one write of an
 * open file at a time, so that nobody queues; what we keep does not rest on that.
 *
 *     FREE ⇄ TAKEN ──somebody queues──→ QUEUED ──given back: the first of them has it──→ TAKEN, or QUEUED with others
 *
 * Any thread. Taking and giving it back where nobody queues is one atomic operation each. */
#ifndef LOGMNT_FS_PRODUCE_TURN_H
#define LOGMNT_FS_PRODUCE_TURN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "replication/executor/executor.h"

/* One that queues; its embedder keeps it until run() or turn_cancel(). */
struct turn_waiter {
    struct work work; /* set run: called once it has the turn, on a thread of the pool */
    /* the turn's lock */
    bool queued;
    struct turn_waiter *prev, *next;
};

struct turn {
    _Atomic int state;    /* enum turn_state */
    pthread_mutex_t lock; /* of the queue, and of any change from or to QUEUED */
    struct turn_waiter *first, *last;
};

void turn_init(struct turn *turn);
void turn_destroy(struct turn *turn); /* nobody has it or queues */
/* true: it is the caller's, who gives it back. */
bool turn_try(struct turn *turn);
/* true: it is the caller's after all; false: the waiter is queued. */
bool turn_wait(struct turn *turn, struct turn_waiter *waiter);
/* true: it was still queued and will not be run. */
bool turn_cancel(struct turn *turn, struct turn_waiter *waiter);
void turn_give(struct turn *turn, struct executor *executor);

#endif
