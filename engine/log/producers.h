/* engine/log/producers.h: of each producer whose batches are in a log, how far it got (Kafka's ProducerStateManager, of
 * which this is as much as the idempotent producer needs): epoch, last sequence, last offset.
 *
 * A sequence number counts a producer's records, from 0 to 2^31 - 1 and then from 0 again. What is known is what the
 * batches in the log say, from the first one on that is there: an id without any is unknown, and may begin anywhere
 * where nothing before that will come.
 *
 * An id is forgotten when this replica has taken no batch of it for LIMIT_PRODUCER_SILENT_MS by its own monotonic
 * clock, counted anew from a start on: the batches' timestamps are their senders' clocks, of which one that is a day
 * ahead would have all others forgotten, and a batch that is sent again taken twice. So replicas do not forget at the
 * same time, and need not: only a leader judges, and what it has taken its followers take. One owner; no locks of its
 * own. */
#ifndef LOGMNT_ENGINE_LOG_PRODUCERS_H
#define LOGMNT_ENGINE_LOG_PRODUCERS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "engine/record/batch.h"

struct producer_state {
    int64_t id;
    int64_t last_offset; /* of its last record */
    int64_t last_ms;     /* of its last batch: its timestamp */
    int64_t seen_ms;     /* when that was taken, or read again, on the monotonic clock; not in the file */
    int32_t last_sequence;
    int16_t epoch;
};

struct producers {
    struct producer_state *slots; /* open addressing; id -1: free */
    uint32_t count;
    uint32_t size;   /* a power of two, or 0 */
    int64_t look_ms; /* producers_expire() has nothing to do before */
};

/* What a batch is to what is known of its producer. */
enum producer_verdict {
    PRODUCER_UNKNOWN,   /* nothing is known of the id */
    PRODUCER_NEXT,      /* it goes on where the last one ended, or begins at 0 in a later epoch */
    PRODUCER_DUPLICATE, /* it, or one behind it, is in the log */
    PRODUCER_GAP,       /* some are missing before it */
    PRODUCER_FENCED,    /* of an epoch that is over */
};

void producers_free(struct producers *producers);
/* NULL: unknown. */
const struct producer_state *producers_find(const struct producers *producers, int64_t id);
enum producer_verdict producers_judge(const struct producers *producers, int64_t id, int16_t epoch, int32_t sequence);
/* How many sequences a batch would leave out. Of an id of which nothing is known, or a new epoch that does not begin at
 * 0, it would leave out all before its own, however many they were: BATCH_GAP_ALL. */
uint32_t producers_missing(const struct producers *producers, int64_t id, int16_t epoch, int32_t sequence);
/* Room for n more, so that the next n times producers_note() cannot fail. Of LIMIT_PRODUCERS those go whose last batch
 * is the oldest. -ENOMEM. */
int producers_reserve(struct producers *producers, uint32_t n);
/* A batch is in the log, `offset` that of its first record. Batches without a producer are passed by. */
void producers_note(struct producers *producers, const struct batch_entry *b, int64_t offset, int64_t now_ms);
/* Those go that were silent for too long. Without memory none does, for a while. */
void producers_expire(struct producers *producers, int64_t now_ms);

/* ---- `<offset>.producers`: what was known when the log ended at that offset ---- */

enum { PRODUCERS_NAME_BYTES = 40 };

void producers_name(int64_t offset, char out[PRODUCERS_NAME_BYTES]);
bool producers_name_parse(const char *name, int64_t *offset); /* also of what is left of writing one */
/* Durably. */
int producers_store(struct io *io, int dirfd, int64_t offset, const struct producers *producers, struct err *e);
/* -ENOENT; -EBADMSG: damaged. *producers is empty then. */
int producers_load(struct io *io, int dirfd, int64_t offset, int64_t now_ms, struct producers *producers,
                   struct err *e);

#endif
