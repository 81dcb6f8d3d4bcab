/* fs/consume/passed.h: `user.log.skipped`: how many records the reads of an open `.follow` file have passed over.
 *
 * Of records that are gone nobody can say how many they were, but by the offsets on both sides. So what is read is
 * counted, which gives the offset before a hole, and the first record behind it is asked for. What is counted goes by
 * the partition's positions: what a reader seeks back to is not new, whatever it finds there.
 *
 *   a READ ──→ pieces, the last hole between them is remembered ──no hole──→ counted
 *                                                               └──a hole──→ FIND_POSITION ──→ counted
 *
 * Without an answer the records are counted with those of the next hole. */
#ifndef LOGMNT_FS_CONSUME_PASSED_H
#define LOGMNT_FS_CONSUME_PASSED_H

#include "engine/record/framing.h"
#include "engine/record/log_point.h"
#include "fs/tree/handle.h"

struct reading;

/* Of an open file. handle's lock. */
struct passed {
    struct log_point next;     /* behind what was read, and of the record there, which may be read by half */
    struct framing_state scan; /* of that one */
};

/* Of one READ. Partition positions, but for what is said to be in its buffer. */
struct passing {
    int64_t from;      /* next.position as the READ began */
    int64_t edge;      /* behind what it has got that is new; INT64_MAX: nothing is counted */
    int64_t new_at;    /* in the buffer: where that begins; -1: nothing is new */
    int64_t hole_from; /* the last hole that it has come to, up to hole_to; -1: none */
    int64_t hole_to;
    int64_t hole_at; /* in the buffer */
    bool finding;    /* hole_to was asked for */
};

/* A new open file of `.follow`. */
void passed_open(struct handle *handle);
/* A READ begins. Under the handle's lock. */
void passed_begin(struct reading *reading);
/* It has got the piece that was found, behind `got` bytes. */
void passed_piece(struct reading *reading);
/* It ends, `cut` bytes of what it has got are left to the next one. true: the question is filled in, and
 * passed_found() is to follow. */
bool passed_end(struct reading *reading, int64_t cut);
void passed_found(struct reading *reading);
/* Bytes of it were given, from `into` on, without being read. Under the handle's lock. */
void passed_fresh(struct handle *handle, const struct partition_fresh *fresh, int64_t into, const uint8_t *bytes,
                  size_t len);

#endif
