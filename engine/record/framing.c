/* engine/record/framing.c: the interface over both framings, and lines.
 *
 * Every byte that is appended passes through here once, so lines are scanned in blocks that stay in the first-level
 * cache: the last newline is found from the back, then each block has its newlines counted (vectorised), its CRC
 * continued, and its marks found. That no record is too long is checked apart: a piece that is short enough as a whole
 * needs no look, a longer one is crossed in hops of the longest record allowed. framing_msgpack.c does the other
 * framing. Fails only by what the input is. */
#include "engine/record/framing.h"

#include <errno.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "engine/record/framing_msgpack.h"

enum {
    /* Small enough for the first-level cache, large enough that the CRC's folding gets going. */
    BLOCK_BYTES = 32768,
    VECTOR_BYTES = 16,
    /* A lane counts to 255 before it must be emptied: four vectors a round, 63 rounds. */
    LANE_ROUNDS = 63,
    ROUND_BYTES = 4 * VECTOR_BYTES,
};

typedef uint8_t lanes __attribute__((vector_size(VECTOR_BYTES)));

static lanes load(const uint8_t *at)
{
    lanes v;

    memcpy(&v, at, sizeof v);
    return v;
}

/* Newlines in `rounds` times ROUND_BYTES, rounds at most LANE_ROUNDS. A comparison gives 0 or -1 in each lane. */
static uint32_t count_rounds(const uint8_t *data, size_t rounds)
{
    const lanes newline = {'\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n',
                           '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n'};
    lanes sum = {0};
    lanes sum2 = {0};
    uint32_t count = 0;

    for (size_t i = 0; i < rounds; i++, data += ROUND_BYTES) {
        sum -= (lanes)(load(data) == newline);
        sum2 -= (lanes)(load(data + VECTOR_BYTES) == newline);
        sum -= (lanes)(load(data + (size_t)2 * VECTOR_BYTES) == newline);
        sum2 -= (lanes)(load(data + (size_t)3 * VECTOR_BYTES) == newline);
    }
    for (int i = 0; i < VECTOR_BYTES; i++) {
        count += (uint32_t)sum[i] + sum2[i];
    }
    return count;
}

/* Newlines in VECTOR_BYTES: the bytes of both halves, each 0 to 2, are summed by one multiplication. */
static uint32_t count_vector(const uint8_t *data)
{
    const lanes newline = {'\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n',
                           '\n', '\n', '\n', '\n', '\n', '\n', '\n', '\n'};
    lanes found = -(lanes)(load(data) == newline);
    uint64_t half[2];

    memcpy(half, &found, sizeof half);
    return (uint32_t)(((half[0] + half[1]) * UINT64_C(0x0101010101010101)) >> 56);
}

static uint32_t count_newlines(const uint8_t *data, size_t len)
{
    uint32_t count = 0;

    while (len >= ROUND_BYTES) {
        size_t rounds = len / ROUND_BYTES;

        if (rounds > LANE_ROUNDS) {
            rounds = LANE_ROUNDS;
        }
        count += count_rounds(data, rounds);
        data += rounds * ROUND_BYTES;
        len -= rounds * ROUND_BYTES;
    }
    for (; len >= VECTOR_BYTES; data += VECTOR_BYTES, len -= VECTOR_BYTES) {
        count += count_vector(data);
    }
    while (len-- > 0) {
        count += *data++ == '\n';
    }
    return count;
}

/* Is a line of data longer than max? `before` bytes (≤ max) of the first were seen earlier. */
static bool has_long_line(const uint8_t *data, size_t len, uint64_t before, uint64_t max)
{
    size_t start = 0;

    /* From one record's start, the furthest newline that it and its followers may end with is the next start: each
     * two hops pass more than max bytes. */
    while (len - start > max - before) {
        size_t reach = (size_t)(max - before);
        const uint8_t *newline = memrchr(data + start, '\n', reach + 1);

        if (newline == NULL) {
            return true;
        }
        start = (size_t)(newline - data) + 1;
        before = 0;
    }
    return false;
}

/* The start of the first line at or behind `at` and before end; end if there is none. */
static size_t line_start(const uint8_t *data, size_t at, size_t end)
{
    const uint8_t *newline = at < end ? memchr(data + at - 1, '\n', end - at) : NULL;

    return newline != NULL ? (size_t)(newline - data) + 1 : end;
}

/* Counts and marks the lines that end in data[at … stop); those before `at` are `records`. *mark_at is where the next
 * mark is due. Returns the sum. */
static uint32_t walk_block(const uint8_t *data, size_t at, size_t stop, size_t end, uint32_t records,
                           struct framing_marker *marker, size_t *mark_at)
{
    while (*mark_at < stop) {
        records += count_newlines(data + at, *mark_at - at);
        at = *mark_at;
        framing_marker_add(marker, records, at);
        *mark_at = marker->next < end ? line_start(data, (size_t)marker->next, end) : end;
    }
    return records + count_newlines(data + at, stop - at);
}

/* Counts, sums and marks the complete lines in data[0 … end). */
static uint32_t walk_lines(const uint8_t *data, size_t end, uint32_t *crc, struct framing_marker *marker)
{
    size_t mark_at = marker->next < end ? line_start(data, (size_t)marker->next, end) : end;
    uint32_t records = 0;

    for (size_t at = 0; at < end;) {
        size_t stop = end - at > BLOCK_BYTES ? at + BLOCK_BYTES : end;

        records = walk_block(data, at, stop, end, records, marker, &mark_at);
        if (crc != NULL) {
            *crc = crc32c(*crc, data + at, stop - at);
        }
        at = stop;
    }
    return records;
}

static int scan_lines(struct framing_state *st, const uint8_t *data, size_t len, uint64_t max, struct framing_result *r,
                      uint32_t *crc, struct framing_marker *marker)
{
    const uint8_t *last = len > 0 ? memrchr(data, '\n', len) : NULL;

    if (st->partial_bytes > max || has_long_line(data, len, st->partial_bytes, max)) {
        return -EMSGSIZE;
    }
    if (last == NULL) {
        st->partial_bytes += len;
        return 0;
    }
    r->end = (size_t)(last - data) + 1;
    r->records = walk_lines(data, r->end, crc, marker);
    st->partial_bytes = len - r->end;
    return 0;
}

int framing_scan(enum framing framing, struct framing_state *st, const uint8_t *data, size_t len,
                 uint64_t max_record_bytes, struct framing_result *r, uint32_t *crc, uint32_t mark_interval,
                 struct framing_mark *marks, uint32_t *mark_count, uint32_t mark_max)
{
    struct framing_marker marker = {
        .interval = mark_interval,
        .next = marks != NULL && mark_interval > 0 && mark_max > 0 ? mark_interval : UINT64_MAX,
        .marks = marks,
        .max = mark_max,
    };
    int rc;

    *r = (struct framing_result){0};
    if (framing == FRAMING_MSGPACK) {
        rc = framing_msgpack_scan(st, data, len, max_record_bytes, r, &marker);
        if (rc == 0 && crc != NULL) {
            *crc = crc32c(*crc, data, r->end);
        }
    } else {
        rc = scan_lines(st, data, len, max_record_bytes, r, crc, &marker);
    }
    if (mark_count != NULL) {
        *mark_count = rc == 0 ? marker.count : 0;
    }
    return rc;
}

size_t framing_record_len(enum framing framing, const uint8_t *data, size_t len)
{
    const uint8_t *newline;

    if (framing == FRAMING_MSGPACK) {
        return framing_msgpack_record_len(data, len);
    }
    newline = len > 0 ? memchr(data, '\n', len) : NULL;
    return newline != NULL ? (size_t)(newline - data) + 1 : 0;
}

size_t framing_skip(enum framing framing, const uint8_t *data, size_t len, uint64_t records)
{
    size_t at = 0;

    /* Whole blocks of lines are skipped by counting, which is faster than stopping at each newline. */
    while (framing == FRAMING_LINE && records > 0 && len - at >= BLOCK_BYTES) {
        uint32_t count = count_newlines(data + at, BLOCK_BYTES);

        if (count >= records) {
            break;
        }
        records -= count;
        at += BLOCK_BYTES;
    }
    while (records > 0) {
        size_t record_len = framing_record_len(framing, data + at, len - at);

        if (record_len == 0) {
            return SIZE_MAX;
        }
        at += record_len;
        records--;
    }
    return at;
}

void framing_key_value(enum framing framing, const uint8_t *record, size_t len, const char *sep, size_t sep_len,
                       struct framing_kv *kv)
{
    const uint8_t *found;

    *kv = (struct framing_kv){.value = record, .value_len = len};
    if (framing == FRAMING_MSGPACK) {
        framing_msgpack_key_value(record, len, kv);
        return;
    }
    found = sep_len > 0 && len > 0 ? memmem(record, len, sep, sep_len) : NULL;
    if (found == NULL) {
        return;
    }
    kv->key = record;
    kv->key_len = (size_t)(found - record);
    kv->value = found + sep_len;
    kv->value_len = len - kv->key_len - sep_len;
    kv->tombstone = kv->value_len == 0;
}

/* Does sep begin at the end of before and end at the beginning of data? */
static bool straddles(const uint8_t *before, size_t before_len, const uint8_t *data, size_t len, const char *sep,
                      size_t sep_len)
{
    for (size_t head = 1; head < sep_len; head++) {
        size_t tail = sep_len - head;

        if (head <= before_len && tail <= len && memcmp(before + before_len - head, sep, head) == 0 &&
            memcmp(data, sep + head, tail) == 0) {
            return true;
        }
    }
    return false;
}

static bool lines_keyed(const uint8_t *before, size_t before_len, const uint8_t *data, size_t len, const char *sep,
                        size_t sep_len)
{
    bool found = before_len > 0 && memmem(before, before_len, sep, sep_len) != NULL;

    for (size_t at = 0; at < len;) {
        const uint8_t *newline = memchr(data + at, '\n', len - at);
        size_t line_len = newline != NULL ? (size_t)(newline - (data + at)) : len - at;

        if (at == 0 && before_len > 0 && !found) {
            found = straddles(before, before_len, data, line_len, sep, sep_len);
        }
        if (!found && memmem(data + at, line_len, sep, sep_len) == NULL) {
            return false;
        }
        found = false;
        at += line_len + 1;
    }
    return true;
}

bool framing_all_keyed(enum framing framing, const uint8_t *before, size_t before_len, const uint8_t *data, size_t len,
                       const char *sep, size_t sep_len)
{
    if (framing == FRAMING_MSGPACK) {
        return framing_msgpack_all_keyed(before, before_len, data, len);
    }
    return sep_len > 0 && lines_keyed(before, before_len, data, len, sep, sep_len);
}
