/* fs/consume/history.c: a list of pieces, the oldest first; each goes when all of it is older than what is kept. Small
 * pieces of the stream share one, so that there are never many.
 */
#include "fs/consume/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A piece that small ones share has between these; what comes to the larger one is worth a piece of its own. */
enum { PIECE_LEAST_BYTES = 4096, PIECE_BYTES = 16384 };

/* While nothing comes a piece holds less than so much beside what is kept of it, or than a quarter of that: so of a
 * stream of which little comes at a time four times as much is copied at most. */
enum { REST_BYTES = 65536, REST_SHARE = 4 };

/* ---- pieces ---- */

struct history_piece *history_piece_new(size_t capacity)
{
    struct history_piece *piece = malloc(sizeof *piece + capacity);
    if (piece == NULL)
        return NULL;
    atomic_init(&piece->refs, 1);
    piece->capacity = capacity;
    return piece;
}

void history_piece_unref(struct history_piece *piece)
{
    if (piece != NULL && atomic_fetch_sub(&piece->refs, 1) == 1)
        free(piece);
}

/* The history's reference goes with it. */
static void add_piece(struct history *history, struct history_piece *piece, size_t len)
{
    piece->pos = history->end;
    piece->len = len;
    piece->closed = false;
    piece->next = NULL;
    piece->prev = history->last;
    if (piece->prev != NULL)
        piece->prev->next = piece;
    else
        history->first = piece;
    history->last = piece;
    history->capacity += piece->capacity;
}

static void take_out(struct history *history, struct history_piece *piece)
{
    if (piece->prev != NULL)
        piece->prev->next = piece->next;
    else
        history->first = piece->next;
    if (piece->next != NULL)
        piece->next->prev = piece->prev;
    else
        history->last = piece->prev;
    history->capacity -= piece->capacity;
    history_piece_unref(piece);
}

/* ---- appending ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many bytes are kept when the stream ends at `end`, and was shown up to shown_pos. */
static size_t limit(int64_t end, int64_t shown_pos)
{
    return LIMIT_STREAM_BACK_BYTES + (end > shown_pos ? (size_t)(end - shown_pos) : 0);
}

/* What is kept of the first piece, and where it begins. */
static size_t kept_of_first(const struct history *history, int64_t *start)
{
    const struct history_piece *first = history->first;
    *start = history->end - (int64_t)history->len;
    return first->len - (size_t)(*start - first->pos);
}

/* Of a large piece little may be kept, as of one that a long record was read into: if it holds more than `spare` bytes
 * beside, that is copied, unless there is no memory. */
static void shrink_first(struct history *history, size_t spare)
{
    struct history_piece *first = history->first;
    int64_t start;
    if (first == NULL)
        return;
    size_t kept = kept_of_first(history, &start), skip = first->len - kept;
    if (skip == 0 || first->capacity - kept <= spare)
        return;
    struct history_piece *piece = history_piece_new(kept);
    if (piece == NULL)
        return;
    memcpy(piece->bytes, first->bytes + skip, kept);
    piece->pos = start;
    piece->len = kept;
    piece->closed = first->closed;
    piece->prev = NULL;
    piece->next = first->next;
    if (piece->next != NULL)
        piece->next->prev = piece;
    else
        history->last = piece;
    history->first = piece;
    history->capacity -= first->capacity - kept;
    history_piece_unref(first);
}

void history_shown(struct history *history, int64_t shown_pos)
{
    history->len = least(history->len, limit(history->end, shown_pos));
    int64_t start = history->end - (int64_t)history->len;
    while (history->first != NULL && history->first->pos + (int64_t)history->first->len <= start)
        take_out(history, history->first);
    shrink_first(history, LIMIT_STREAM_BACK_BYTES);
}

void history_rest(struct history *history)
{
    int64_t start;
    size_t share = history->first != NULL ? kept_of_first(history, &start) / REST_SHARE : 0;
    shrink_first(history, share > REST_BYTES ? share : REST_BYTES);
}

/* len bytes were added behind its end, of which the last `kept` are there. */
static void ends_at(struct history *history, int64_t end, size_t kept, int64_t shown_pos)
{
    history->len = (size_t)(end - history->end) > kept ? kept : history->len + kept;
    history->end = end;
    history_shown(history, shown_pos);
}

static size_t room(const struct history_piece *piece)
{
    return piece == NULL || piece->closed ? 0 : piece->capacity - piece->len;
}

/* The capacity of a new piece for so many bytes: as they come, so much of them is still to come. */
static size_t capacity_for(const struct history *history, size_t len)
{
    size_t capacity = least(history->len, PIECE_BYTES);
    if (capacity < PIECE_LEAST_BYTES)
        capacity = PIECE_LEAST_BYTES;
    return len > capacity ? len : capacity;
}

int history_append_unread(struct history *history, const void *data, size_t len, int64_t shown_pos)
{
    int64_t end = history->end + (int64_t)len;
    size_t kept = least(len, limit(end, shown_pos));
    const uint8_t *from = (const uint8_t *)data + (len - kept);
    size_t here = kept == len ? least(kept, room(history->last)) : 0;
    struct history_piece *piece = NULL;
    if (here < kept) {
        piece = history_piece_new(capacity_for(history, kept - here));
        if (piece == NULL)
            return -ENOMEM;
    }
    if (here > 0) {
        memcpy(history->last->bytes + history->last->len, from, here);
        history->last->len += here;
    }
    if (piece != NULL) {
        memcpy(piece->bytes, from + here, kept - here);
        add_piece(history, piece, kept - here);
        piece->pos = end - (int64_t)piece->len;
    }
    ends_at(history, end, kept, shown_pos);
    return 0;
}

int history_append(struct history *history, const void *data, size_t len)
{
    return history_append_unread(history, data, len, history->end + (int64_t)len);
}

int history_append_piece(struct history *history, struct history_piece *piece, size_t len, int64_t shown_pos)
{
    int64_t end = history->end + (int64_t)len;
    if (len < PIECE_BYTES || len < piece->capacity / 2)
        return history_append_unread(history, piece->bytes, len, shown_pos);
    atomic_fetch_add(&piece->refs, 1);
    add_piece(history, piece, len);
    ends_at(history, end, len, shown_pos);
    return 0;
}

void history_cut(struct history *history, int64_t pos)
{
    while (history->last != NULL && history->last->pos >= pos)
        take_out(history, history->last);
    if (history->last != NULL) {
        history->last->len = least(history->last->len, (size_t)(pos - history->last->pos));
        history->last->closed = true; /* somebody may still answer with what was behind that */
    }
    history->len -= (size_t)(history->end - pos);
    history->end = pos;
}

/* ---- reading ---- */

int64_t history_read(const struct history *history, int64_t pos, void *out, size_t len)
{
    if (pos > history->end || pos < history->end - (int64_t)history->len)
        return -EINVAL;
    len = least(len, (size_t)(history->end - pos));
    const struct history_piece *piece = history->last;
    while (len > 0 && piece->pos > pos)
        piece = piece->prev;
    for (size_t done = 0; done < len; piece = piece->next) {
        size_t skip = (size_t)(pos + (int64_t)done - piece->pos);
        size_t part = least(len - done, piece->len - skip);
        memcpy((uint8_t *)out + done, piece->bytes + skip, part);
        done += part;
    }
    return (int64_t)len;
}

void history_free(struct history *history)
{
    while (history->first != NULL)
        take_out(history, history->first);
    *history = (struct history){0};
}
