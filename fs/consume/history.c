/* fs/consume/history.c: a ring in which the byte of stream position P is at P modulo the capacity, so that nothing
 * moves when bytes come and go. A ring that is too small doubles until it holds what is to be kept; then the newest
 * bytes overwrite the oldest.
 */
#include "fs/consume/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORY_FIRST_BYTES = 4096 };

/* Copies len bytes of the stream from or to the ring, around its end if need be. */
static void ring_put(uint8_t *ring, size_t capacity, int64_t pos, const uint8_t *data, size_t len)
{
    size_t at = (size_t)pos & (capacity - 1);
    size_t first = len < capacity - at ? len : capacity - at;

    memcpy(ring + at, data, first);
    memcpy(ring, data + first, len - first);
}

static void ring_get(const struct history *history, int64_t pos, uint8_t *out, size_t len)
{
    size_t at = (size_t)pos & (history->capacity - 1);
    size_t first = len < history->capacity - at ? len : history->capacity - at;

    memcpy(out, history->ring + at, first);
    memcpy(out + first, history->ring, len - first);
}

/* Makes room for `need` bytes. 0 or -ENOMEM. */
static int grow(struct history *history, size_t need)
{
    size_t capacity = history->capacity > 0 ? history->capacity : HISTORY_FIRST_BYTES;
    uint8_t *ring;

    while (capacity < need) {
        capacity *= 2;
    }
    if (capacity == history->capacity) {
        return 0;
    }
    ring = malloc(capacity);
    if (ring == NULL) {
        return -ENOMEM;
    }
    if (history->len > 0) {
        int64_t start = history->end - (int64_t)history->len;
        size_t at = (size_t)start & (history->capacity - 1);
        size_t first = history->len < history->capacity - at ? history->len : history->capacity - at;

        ring_put(ring, capacity, start, history->ring + at, first);
        ring_put(ring, capacity, start + (int64_t)first, history->ring, history->len - first);
    }
    free(history->ring);
    history->ring = ring;
    history->capacity = capacity;
    return 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

int history_append_unread(struct history *history, const void *data, size_t len, int64_t shown_pos)
{
    int64_t end = history->end + (int64_t)len;
    size_t unread = end > shown_pos ? (size_t)(end - shown_pos) : 0;
    size_t limit = LIMIT_STREAM_BACK_BYTES + unread;
    size_t keep = least(len, limit);
    const uint8_t *from = (const uint8_t *)data + (len - keep);
    int rc;

    if (len == 0) {
        return 0;
    }
    rc = grow(history, least(history->len + keep, limit));
    if (rc < 0) {
        return rc;
    }
    history->end = end;
    ring_put(history->ring, history->capacity, end - (int64_t)keep, from, keep);
    history->len = least(history->len + keep, history->capacity);
    return 0;
}

int history_append(struct history *history, const void *data, size_t len)
{
    return history_append_unread(history, data, len, history->end + (int64_t)len);
}

void history_cut(struct history *history, int64_t pos)
{
    history->len -= (size_t)(history->end - pos);
    history->end = pos;
}

int64_t history_read(const struct history *history, int64_t pos, void *out, size_t len)
{
    int64_t left;

    if (pos > history->end || pos < history->end - (int64_t)history->len) {
        return -EINVAL;
    }
    left = history->end - pos;
    if (left == 0) {
        return 0;
    }
    if (len > (size_t)left) {
        len = (size_t)left;
    }
    ring_get(history, pos, out, len);
    return (int64_t)len;
}

void history_free(struct history *history)
{
    free(history->ring);
    *history = (struct history){0};
}
