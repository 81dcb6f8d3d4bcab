/* fs/consume/history.h: the last MiB of what a stream has shown, so that a program may seek back over what it did not
 * use. Grows as needed up to twice LIMIT_STREAM_BACK_BYTES and what was not shown yet, at rest (history_rest()) a
 * quarter beyond it; keeps the newest. Pure; the caller's lock. */
#ifndef LOGMNT_FS_CONSUME_HISTORY_H
#define LOGMNT_FS_CONSUME_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/base/limits.h"

/* Memory that bytes of a stream are in. Who reads records into one answers from it and lets the history have it, so
 * that they are not copied once more: what was put into one does not change. */
struct history_piece {
    _Atomic int refs;
    size_t capacity; /* of bytes */
    /* private to the history that has it; the caller's lock */
    struct history_piece *prev, *next;
    int64_t pos; /* in the stream */
    size_t len;
    bool closed; /* nothing is added to it any more */
    uint8_t bytes[];
};

struct history { /* zero-initialise */
    struct history_piece *first, *last;
    size_t capacity; /* of all pieces */
    int64_t end;     /* stream position behind the newest byte */
    size_t len;      /* bytes kept */
};

struct history_piece *history_piece_new(size_t capacity); /* with one reference; NULL: no memory */
void history_piece_unref(struct history_piece *piece);    /* NULL: nothing */

int history_append(struct history *history, const void *data, size_t len); /* 0 or -ENOMEM (then nothing changed) */
/* The same for bytes that are not all shown yet: the stream was shown up to shown_pos, which may lie before or behind
 * the bytes, and the last MiB before that is kept beside what follows it. */
int history_append_unread(struct history *history, const void *data, size_t len, int64_t shown_pos);
/* The same for the first len bytes of a piece that is in no history: takes a reference of its own, where that saves
 * more than it wastes, and copies them otherwise. */
int history_append_piece(struct history *history, struct history_piece *piece, size_t len, int64_t shown_pos);
/* The stream was shown up to there since: what is not needed any more goes. */
void history_shown(struct history *history, int64_t shown_pos);
/* Nothing more is to come for a while: much that is not kept any more, and shares a piece with what is, goes. */
void history_rest(struct history *history);
/* Takes back what lies at or behind stream position pos, which is kept still. */
void history_cut(struct history *history, int64_t pos);
/* Copies up to len bytes from stream position pos. Returns the count, 0 at the end, or -EINVAL: not kept any more, or
 * beyond the end. */
int64_t history_read(const struct history *history, int64_t pos, void *out, size_t len);
void history_free(struct history *history);

#endif
