/* fs/produce/accumulator.h: linger.ms: lines wait here for company, as in Kafka's RecordAccumulator.
 *
 * With linger.ms above 0 a write(2) returns as soon as its lines are in here. They leave for the log when batch.size
 * bytes have come, when linger.ms have passed, or when somebody asks (fsync, close). buffer.memory bounds what all
 * accumulators of the mount hold; writers then wait (delivery.timeout.ms at most). A batch that finds no memory is
 * tried again for as long (kept.h). One that fails is dropped and its error goes to every open file that had a line in
 * it: fsync(2) and close(2) report it.
 *
 * Per partition batches are appended in order, one at a time. Any thread. Who finds one to send sends one, and hands
 * the others on to a work of the prompt pool: no request waits for what others write meanwhile. Such a work sends some,
 * and hands on in turn. Room that comes free is given out by a work likewise. */
#ifndef LOGMNT_FS_PRODUCE_ACCUMULATOR_H
#define LOGMNT_FS_PRODUCE_ACCUMULATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/record/batch.h"

struct accumulator;
struct accumulators;
struct executor;
struct handle;
struct node;
struct pfile;
struct session;
struct spread;

/* NULL: no memory. */
struct accumulators *accumulators_new(struct executor *executor, int64_t buffer_memory_bytes);
/* Drained: nothing is reserved, and no file has one any more. Waits for who is through with the last batch but for the
 * accumulator that it was in. */
void accumulators_free(struct accumulators *accumulators);
/* The end of the session: sends everything and waits for it, LIMIT_STOP_MS at most; what is parked then is given up and
 * logged. Nobody adds any more. */
void accumulators_drain(struct accumulators *accumulators, struct node *node);

/* A writer that waits for room. */
struct accumulator_waiter {
    size_t len;
    /* Once, by a work: len bytes are reserved for it now. No lock held. */
    void (*room)(struct accumulator_waiter *waiter);
    struct accumulator_waiter *prev, *next;
    bool queued;
};
/* true: len bytes are reserved now. false: the waiter is queued (in order). More than buffer.memory can hold is granted
 * when nothing else is in it. */
bool accumulators_reserve(struct accumulators *accumulators, struct accumulator_waiter *waiter);
bool accumulators_cancel(struct accumulators *accumulators, struct accumulator_waiter *waiter);
/* Gives back room that was reserved and not used: who waits for it is called, by a work. */
void accumulators_give_back(struct accumulators *accumulators, size_t len);

/* Adds complete records, whose room was reserved and which are in flight (topic_begin_flight(); once they are in, the
 * accumulator has begun one of its own). The room is given back when they are in the log or have failed. spread: the
 * write that they are a part of, which is settled then, too; NULL: they are all of it. -ENOMEM (nothing was added, and
 * the room is given back). */
int accumulator_add(struct session *session, struct pfile *pfile, struct handle *handle,
                    const struct append_batch *added, struct spread *spread);
/* Sends what is in there now; may be under way when it returns. */
void accumulator_send(struct session *session, struct pfile *pfile);
void accumulator_free(struct accumulator *accumulator);

#endif
