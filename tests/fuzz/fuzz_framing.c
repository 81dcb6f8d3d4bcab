/* tests/fuzz/fuzz_framing.c: any bytes, cut into any pieces: a scan of the pieces agrees with one of the whole, and
 * both with going from record to record.
 *
 * Input: framing, longest record (2 bytes, 0: no bound), seed of the cuts (2 bytes), then the stream. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "engine/record/framing.h"
#include "tests/fuzz/fuzz.h"

enum { MARKS = 64, MARK_INTERVAL = 16 };

struct outcome {
    int rc;
    size_t end; /* of the complete records */
    uint64_t records;
    uint32_t crc;
};

static struct outcome scan_whole(enum framing framing, const uint8_t *data, size_t len, uint64_t max)
{
    struct framing_state state = {0};
    struct framing_result result = {0};
    struct framing_mark marks[MARKS];
    uint32_t mark_count = 0;
    struct outcome out = {0};

    out.rc = framing_scan(framing, &state, data, len, max, &result, &out.crc, MARK_INTERVAL, marks, &mark_count, MARKS);
    if (out.rc < 0) {
        return out;
    }
    out.end = result.end;
    out.records = result.records;
    FUZZ_CHECK(state.partial_bytes == len - result.end);
    FUZZ_CHECK(mark_count <= MARKS);
    for (uint32_t i = 0; i < mark_count; i++) {
        FUZZ_CHECK(marks[i].place > 0 && marks[i].place < result.end);
        FUZZ_CHECK(i == 0 || marks[i].place > marks[i - 1].place);
        FUZZ_CHECK(framing_skip(framing, data, len, marks[i].record) == marks[i].place);
    }
    return out;
}

/* As a writer does it: what is not complete waits, and counts for the CRC once it is. */
static struct outcome scan_pieces(enum framing framing, const uint8_t *data, size_t len, uint64_t max, uint32_t seed)
{
    struct framing_state state = {0};
    struct outcome out = {0};

    for (size_t at = 0; at < len && out.rc == 0;) {
        size_t piece = 1 + (seed >> 8) % 23;
        struct framing_state before = state;
        struct framing_result result = {0};
        uint32_t crc = crc32c(out.crc, data + out.end, at - out.end);

        seed = seed * 1103515245 + 12345;
        piece = piece < len - at ? piece : len - at;
        out.rc = framing_scan(framing, &state, data + at, piece, max, &result, &crc, 0, NULL, NULL, 0);
        if (out.rc < 0) {
            FUZZ_CHECK(before.partial_bytes == state.partial_bytes && before.objects == state.objects &&
                       before.skip == state.skip && before.head_len == state.head_len);
            break;
        }
        FUZZ_CHECK(result.end <= piece && (result.end > 0) == (result.records > 0));
        if (result.end > 0) {
            out.end = at + result.end;
            out.records += result.records;
            out.crc = crc;
        }
        at += piece;
        FUZZ_CHECK(state.partial_bytes == at - out.end);
    }
    return out;
}

/* Whether what it says of a record lies in the record. */
static void check_key_value(enum framing framing, const uint8_t *record, size_t len)
{
    struct framing_kv kv;

    framing_key_value(framing, record, len, "=>", 2, &kv);
    FUZZ_CHECK(kv.value >= record && kv.value + kv.value_len <= record + len);
    FUZZ_CHECK(kv.key == NULL || (kv.key >= record && kv.key + kv.key_len <= kv.value));
    FUZZ_CHECK(!kv.tombstone || kv.key != NULL);
}

/* From record to record. */
static struct outcome walk(enum framing framing, const uint8_t *data, size_t len, uint64_t max)
{
    size_t newline = framing == FRAMING_LINE;
    struct outcome out = {0};
    size_t record;

    while (out.end < len && (record = framing_record_len(framing, data + out.end, len - out.end)) > 0) {
        FUZZ_CHECK(record <= len - out.end);
        check_key_value(framing, data + out.end, record - newline);
        out.rc = record - newline > max ? -EMSGSIZE : out.rc;
        out.end += record;
        out.records++;
    }
    out.rc = len - out.end > max ? -EMSGSIZE : out.rc;
    out.crc = crc32c(0, data, out.end);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input in = {data, len};
    enum framing framing = fuzz_take(&in, 1) % 2 == 0 ? FRAMING_LINE : FRAMING_MSGPACK;
    uint64_t max = fuzz_take(&in, 2);
    uint32_t seed = fuzz_take(&in, 2);
    struct outcome whole, pieces, steps;

    max = max == 0 ? UINT64_MAX : max;
    if (in.len == 0) {
        return 0;
    }
    whole = scan_whole(framing, in.data, in.len, max);
    pieces = scan_pieces(framing, in.data, in.len, max, seed);
    steps = walk(framing, in.data, in.len, max);
    FUZZ_CHECK(whole.rc == 0 || whole.rc == -EMSGSIZE || (whole.rc == -EINVAL && framing == FRAMING_MSGPACK));
    FUZZ_CHECK(whole.rc == pieces.rc);
    if (framing == FRAMING_LINE) {
        FUZZ_CHECK(whole.rc == steps.rc);
    }
    if (whole.rc == 0) {
        FUZZ_CHECK(whole.end == pieces.end && whole.records == pieces.records && whole.crc == pieces.crc);
        FUZZ_CHECK(whole.end == steps.end && whole.records == steps.records && whole.crc == steps.crc);
        FUZZ_CHECK(framing_skip(framing, in.data, in.len, whole.records) == whole.end);
        FUZZ_CHECK(framing_skip(framing, in.data, in.len, whole.records + 1) == SIZE_MAX);
    }
    return 0;
}
