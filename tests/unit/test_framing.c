/* Record ends of both framings: every MessagePack type, every way to cut a stream into pieces, limits, marks. The model
 * for lines is a byte loop; the record lengths of MessagePack come from its specification. */
#include "engine/record/framing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/crc32c.h"

enum { NO_LIMIT = 1 << 30 };

static int scan(enum framing f, struct framing_state *st, const void *data, size_t len, uint64_t max,
                struct framing_result *r)
{
    return framing_scan(f, st, data, len, max, r, NULL, 0, NULL, NULL, 0);
}

/* ---- lines ---- */

static void lines_end_at_newlines(void **state)
{
    struct framing_state st = {0};
    struct framing_result r;

    (void)state;
    assert_int_equal(scan(FRAMING_LINE, &st, "a\n\nbc\nrest", 10, NO_LIMIT, &r), 0);
    assert_int_equal(r.end, 6);
    assert_int_equal(r.records, 3);
    assert_int_equal(st.partial_bytes, 4);
    assert_int_equal(scan(FRAMING_LINE, &st, "more", 4, NO_LIMIT, &r), 0);
    assert_int_equal(r.end, 0);
    assert_int_equal(r.records, 0);
    assert_int_equal(st.partial_bytes, 8);
    assert_int_equal(scan(FRAMING_LINE, &st, "\n", 1, NO_LIMIT, &r), 0);
    assert_int_equal(r.end, 1);
    assert_int_equal(r.records, 1);
    assert_int_equal(st.partial_bytes, 0);
    assert_int_equal(scan(FRAMING_LINE, &st, "", 0, NO_LIMIT, &r), 0);
    assert_int_equal(r.end, 0);
}

static void a_line_is_at_most_max_without_its_newline(void **state)
{
    struct framing_state st = {0};
    struct framing_result r;

    (void)state;
    assert_int_equal(scan(FRAMING_LINE, &st, "12345\n1\n12345\n", 14, 5, &r), 0);
    assert_int_equal(r.records, 3);
    assert_int_equal(scan(FRAMING_LINE, &st, "1\n123456\n1\n", 11, 5, &r), -EMSGSIZE);
    assert_int_equal(scan(FRAMING_LINE, &st, "1\n123456", 8, 5, &r), -EMSGSIZE);
    assert_int_equal(st.partial_bytes, 0);
    assert_int_equal(scan(FRAMING_LINE, &st, "1\n123", 5, 5, &r), 0);
    assert_int_equal(st.partial_bytes, 3);
    assert_int_equal(scan(FRAMING_LINE, &st, "456\n", 4, 5, &r), -EMSGSIZE);
    assert_int_equal(scan(FRAMING_LINE, &st, "456", 3, 5, &r), -EMSGSIZE);
    assert_int_equal(st.partial_bytes, 3);
    assert_int_equal(scan(FRAMING_LINE, &st, "45\n12345\n", 9, 5, &r), 0);
    assert_int_equal(r.records, 2);
}

/* The naive reading of the contract for one piece of lines. */
static int model_lines(uint64_t *partial, const uint8_t *data, size_t len, uint64_t max, struct framing_result *r)
{
    uint64_t line = *partial;

    *r = (struct framing_result){0};
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            r->end = i + 1;
            r->records++;
            line = 0;
        } else if (++line > max) {
            return -EMSGSIZE;
        }
    }
    *partial = line;
    return 0;
}

static void random_lines_agree_with_a_byte_loop(void **state)
{
    unsigned seed = 20261122;
    static uint8_t data[200000];

    (void)state;
    printf("seed %u\n", seed);
    srandom(seed);
    for (int round = 0; round < 300; round++) {
        size_t len = (size_t)random() % sizeof data;
        long sparse = 1 + random() % 400;
        uint64_t max = (uint64_t)(sparse * (1 + random() % 12));
        struct framing_state st = {0};
        uint64_t partial = 0;

        for (size_t i = 0; i < len; i++) {
            data[i] = random() % sparse == 0 ? '\n' : 'x';
        }
        for (size_t at = 0; at < len;) {
            size_t part = 1 + (size_t)random() % (len - at);
            struct framing_result got;
            struct framing_result want;
            uint32_t crc = 5;
            int rc = model_lines(&partial, data + at, part, max, &want);

            assert_int_equal(framing_scan(FRAMING_LINE, &st, data + at, part, max, &got, &crc, 0, NULL, NULL, 0), rc);
            assert_int_equal(st.partial_bytes, partial);
            if (rc == 0) {
                assert_int_equal(got.end, want.end);
                assert_int_equal(got.records, want.records);
                assert_int_equal(crc, crc32c(5, data + at, want.end));
            }
            at += part;
        }
    }
}

/* Marks as the header says, found by a byte loop. starts[] are the records' starts but the first. */
static uint32_t model_marks(const size_t *starts, uint32_t count, uint32_t interval, struct framing_mark *out,
                            uint32_t max)
{
    uint32_t n = 0;
    uint64_t next = interval;

    for (uint32_t i = 0; i < count && n < max; i++) {
        if (starts[i] >= next) {
            out[n++] = (struct framing_mark){i + 1, (uint32_t)starts[i]};
            next = (starts[i] / interval + 1) * interval;
        }
    }
    return n;
}

static void check_marks(enum framing framing, const uint8_t *data, size_t len, const size_t *starts, uint32_t count)
{
    const uint32_t intervals[] = {1, 7, 64, 4096, 1 << 20};
    struct framing_mark want[512] = {{0}};
    struct framing_mark got[512] = {{0}};

    for (size_t i = 0; i < sizeof intervals / sizeof *intervals; i++) {
        for (uint32_t max = 0; max <= 512; max = max * 8 + 1) {
            struct framing_state st = {0};
            struct framing_result r;
            uint32_t n = 77;
            uint32_t want_n = model_marks(starts, count, intervals[i], want, max);

            assert_int_equal(framing_scan(framing, &st, data, len, NO_LIMIT, &r, NULL, intervals[i], got, &n, max), 0);
            assert_int_equal(n, want_n);
            for (uint32_t k = 0; k < n; k++) {
                assert_int_equal(got[k].place, want[k].place);
                assert_int_equal(got[k].record, want[k].record);
            }
        }
    }
}

static void marks_of_lines(void **state)
{
    static uint8_t data[100000];
    static size_t starts[100000];
    uint32_t count = 0;
    size_t end = 0;

    (void)state;
    srandom(7);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = random() % (i < 50000 ? 20 : 3000) == 0 ? '\n' : 'x';
        if (data[i] == '\n') {
            starts[count++] = i + 1;
            end = i + 1;
        }
    }
    assert_true(count > 0 && starts[count - 1] == end);
    check_marks(FRAMING_LINE, data, sizeof data, starts, count - 1);
}

/* ---- MessagePack ---- */

struct vector {
    const char *name;
    const char *head; /* the bytes of its beginning */
    size_t head_len;
    size_t len; /* with its body, which is filled with 'x' (or nil for elements) */
};

#define V(name, head, len)                                                                                             \
    {                                                                                                                  \
        name, head, sizeof head - 1, len                                                                               \
    }

/* Lengths by https://github.com/msgpack/msgpack/blob/master/spec.md. */
static const struct vector vectors[] = {
    V("positive fixint", "\x00", 1),
    V("positive fixint 127", "\x7f", 1),
    V("fixmap 0", "\x80", 1),
    V("fixmap 15", "\x8f", 31),
    V("fixarray 0", "\x90", 1),
    V("fixarray 15", "\x9f", 16),
    V("fixstr 0", "\xa0", 1),
    V("fixstr 31", "\xbf", 32),
    V("nil", "\xc0", 1),
    V("false", "\xc2", 1),
    V("true", "\xc3", 1),
    V("bin 8", "\xc4\x05", 7),
    V("bin 8 empty", "\xc4\x00", 2),
    V("bin 16", "\xc5\x01\x00", 259),
    V("bin 32", "\xc6\x00\x01\x00\x00", 65541),
    V("ext 8", "\xc7\x05\x01", 8),
    V("ext 8 empty", "\xc7\x00\x01", 3),
    V("ext 16", "\xc8\x01\x00\x01", 260),
    V("ext 32", "\xc9\x00\x01\x00\x00\x01", 65542),
    V("float 32", "\xca", 5),
    V("float 64", "\xcb", 9),
    V("uint 8", "\xcc", 2),
    V("uint 16", "\xcd", 3),
    V("uint 32", "\xce", 5),
    V("uint 64", "\xcf", 9),
    V("int 8", "\xd0", 2),
    V("int 16", "\xd1", 3),
    V("int 32", "\xd2", 5),
    V("int 64", "\xd3", 9),
    V("fixext 1", "\xd4\x01", 3),
    V("fixext 2", "\xd5\x01", 4),
    V("fixext 4", "\xd6\x01", 6),
    V("fixext 8", "\xd7\x01", 10),
    V("fixext 16", "\xd8\x01", 18),
    V("str 8", "\xd9\x20", 34),
    V("str 16", "\xda\x01\x00", 259),
    V("str 32", "\xdb\x00\x01\x00\x00", 65541),
    V("array 16", "\xdc\x01\x00", 259),
    V("array 32", "\xdd\x00\x01\x00\x00", 65541),
    V("map 16", "\xde\x01\x00", 515),
    V("map 32", "\xdf\x00\x01\x00\x00", 131077),
    V("negative fixint", "\xe0", 1),
    V("negative fixint -1", "\xff", 1),
};

enum { VECTORS = sizeof vectors / sizeof *vectors, VECTOR_MAX = 131077 };

/* 'x' (0x78) is a fixint, so it serves as a body byte and as an element. */
static size_t fill(uint8_t *out, const struct vector *v)
{
    memset(out, 'x', v->len);
    memcpy(out, v->head, v->head_len);
    return v->len;
}

static void every_type_has_its_length(void **state)
{
    static uint8_t data[VECTOR_MAX];

    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        struct framing_state st = {0};
        struct framing_result r;
        size_t len = fill(data, &vectors[i]);

        if (framing_record_len(FRAMING_MSGPACK, data, len) != len) {
            fail_msg("%s: length %zu, expected %zu", vectors[i].name, framing_record_len(FRAMING_MSGPACK, data, len),
                     len);
        }
        assert_int_equal(framing_record_len(FRAMING_MSGPACK, data, len - 1), 0);
        assert_int_equal(scan(FRAMING_MSGPACK, &st, data, len, len, &r), 0);
        assert_int_equal(r.end, len);
        assert_int_equal(r.records, 1);
        assert_int_equal(st.partial_bytes, 0);
        assert_int_equal(scan(FRAMING_MSGPACK, &st, data, len, len - 1, &r), -EMSGSIZE);
        assert_int_equal(scan(FRAMING_MSGPACK, &st, data, len - 1, len, &r), 0);
        assert_int_equal(r.end, 0);
        assert_int_equal(st.partial_bytes, len - 1);
    }
}

/* All types but the longest, one behind the other. */
static size_t fill_all(uint8_t *out, size_t *ends, uint32_t *count)
{
    size_t len = 0;

    *count = 0;
    for (size_t i = 0; i < VECTORS; i++) {
        if (vectors[i].len < 1000) {
            len += fill(out + len, &vectors[i]);
            ends[(*count)++] = len;
        }
    }
    return len;
}

/* What must be known after `fed` bytes. */
static void expect_at(const struct framing_state *st, size_t fed, const size_t *ends, uint32_t count, uint32_t records)
{
    uint32_t complete = 0;
    size_t last = 0;

    while (complete < count && ends[complete] <= fed) {
        last = ends[complete++];
    }
    assert_int_equal(records, complete);
    assert_int_equal(st->partial_bytes, fed - last);
}

static void cut_anywhere_in_up_to_three_pieces(void **state)
{
    static uint8_t data[8192];
    size_t ends[VECTORS];
    uint32_t count;
    size_t len = fill_all(data, ends, &count);

    (void)state;
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b += b < a + 12 ? 1 : 97) {
            const size_t cuts[] = {0, a, b, len};
            struct framing_state st = {0};
            uint32_t records = 0;

            for (int i = 0; i < 3; i++) {
                struct framing_result r;

                assert_int_equal(scan(FRAMING_MSGPACK, &st, data + cuts[i], cuts[i + 1] - cuts[i], NO_LIMIT, &r), 0);
                records += r.records;
                expect_at(&st, cuts[i + 1], ends, count, records);
            }
            assert_int_equal(records, count);
        }
    }
}

static void byte_by_byte(void **state)
{
    static uint8_t data[8192];
    size_t ends[VECTORS];
    uint32_t count;
    uint32_t records = 0;
    size_t len = fill_all(data, ends, &count);
    struct framing_state st = {0};

    (void)state;
    for (size_t i = 0; i < len; i++) {
        struct framing_result r;

        assert_int_equal(scan(FRAMING_MSGPACK, &st, data + i, 1, NO_LIMIT, &r), 0);
        records += r.records;
        expect_at(&st, i + 1, ends, count, records);
    }
}

static void marks_of_msgpack(void **state)
{
    static uint8_t data[8192];
    size_t ends[VECTORS];
    uint32_t count;
    size_t len = fill_all(data, ends, &count);

    (void)state;
    check_marks(FRAMING_MSGPACK, data, len, ends, count - 1);
}

static void c1_is_refused_and_changes_nothing(void **state)
{
    struct framing_state st = {0};
    struct framing_state before;
    struct framing_result r;

    (void)state;
    assert_int_equal(scan(FRAMING_MSGPACK, &st, "\xc1", 1, NO_LIMIT, &r), -EINVAL);
    assert_int_equal(scan(FRAMING_MSGPACK, &st, "\x92\x01", 2, NO_LIMIT, &r), 0);
    before = st;
    assert_int_equal(scan(FRAMING_MSGPACK, &st, "\xc1", 1, NO_LIMIT, &r), -EINVAL);
    assert_memory_equal(&st, &before, sizeof st);
    assert_int_equal(scan(FRAMING_MSGPACK, &st, "\x02", 1, NO_LIMIT, &r), 0);
    assert_int_equal(r.records, 1);
    /* As body, any byte may be. */
    assert_int_equal(scan(FRAMING_MSGPACK, &st, "\xa1\xc1\xcc\xc1\xc4\x01\xc1", 7, NO_LIMIT, &r), 0);
    assert_int_equal(r.records, 3);
}

static void a_length_that_cannot_fit_is_refused_at_once(void **state)
{
    const char *heads[] = {"\xdb\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff",
                           "\xc9\xff\xff\xff\xff"};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct framing_state st = {0};
        struct framing_result r;

        assert_int_equal(scan(FRAMING_MSGPACK, &st, heads[i], 5, 1 << 20, &r), -EMSGSIZE);
        assert_int_equal(st.partial_bytes, 0);
    }
}

static void a_million_nested_arrays_need_no_stack(void **state)
{
    enum { DEPTH = 1000000 };
    uint8_t *data = malloc(DEPTH + 1);
    struct framing_state st = {0};
    struct framing_result r;

    (void)state;
    assert_non_null(data);
    memset(data, 0x91, DEPTH);
    data[DEPTH] = 0xc0;
    assert_int_equal(framing_record_len(FRAMING_MSGPACK, data, DEPTH), 0);
    assert_int_equal(framing_record_len(FRAMING_MSGPACK, data, DEPTH + 1), DEPTH + 1);
    assert_int_equal(scan(FRAMING_MSGPACK, &st, data, DEPTH, NO_LIMIT, &r), 0);
    assert_int_equal(r.records, 0);
    assert_int_equal(scan(FRAMING_MSGPACK, &st, data + DEPTH, 1, NO_LIMIT, &r), 0);
    assert_int_equal(r.records, 1);
    free(data);
}

/* ---- skip, key and value ---- */

static void skip_passes_so_many_records(void **state)
{
    enum { LINES = 20000 };
    static uint8_t data[LINES * 9];
    size_t at = 0;
    size_t ends[LINES + 1];

    (void)state;
    ends[0] = 0;
    for (size_t i = 0; i < LINES; i++) {
        memset(data + at, 'x', i % 9);
        at += i % 9;
        data[at++] = '\n';
        ends[i + 1] = at;
    }
    for (size_t n = 0; n <= LINES; n += n < 100 ? 1 : 331) {
        assert_int_equal(framing_skip(FRAMING_LINE, data, at, n), ends[n]);
    }
    assert_true(framing_skip(FRAMING_LINE, data, at, LINES + 1) == SIZE_MAX);
    assert_true(framing_skip(FRAMING_LINE, data, at - 1, LINES) == SIZE_MAX);
    assert_int_equal(framing_skip(FRAMING_MSGPACK, (const uint8_t *)"\x93\x01\x02\x03\xa1x\xc0", 7, 2), 6);
    assert_true(framing_skip(FRAMING_MSGPACK, (const uint8_t *)"\x93\x01\x02", 3, 1) == SIZE_MAX);
}

static void check_kv(enum framing framing, const char *record, size_t len, const char *sep, const char *key,
                     const char *value, size_t value_len, bool tombstone)
{
    struct framing_kv kv;

    framing_key_value(framing, (const uint8_t *)record, len, sep, strlen(sep), &kv);
    if (key == NULL) {
        assert_null(kv.key);
    } else {
        assert_non_null(kv.key);
        assert_int_equal(kv.key_len, strlen(key));
        assert_memory_equal(kv.key, key, kv.key_len);
    }
    assert_int_equal(kv.value_len, value_len);
    assert_memory_equal(kv.value, value, value_len);
    assert_int_equal(kv.tombstone, tombstone);
}

static void keys_of_lines(void **state)
{
    (void)state;
    check_kv(FRAMING_LINE, "user=id=7", 9, "=", "user", "id=7", 4, false);
    check_kv(FRAMING_LINE, "user=", 5, "=", "user", "", 0, true);
    check_kv(FRAMING_LINE, "=x", 2, "=", "", "x", 1, false);
    check_kv(FRAMING_LINE, "=", 1, "=", "", "", 0, true);
    check_kv(FRAMING_LINE, "nothing", 7, "=", NULL, "nothing", 7, false);
    check_kv(FRAMING_LINE, "", 0, "=", NULL, "", 0, false);
    check_kv(FRAMING_LINE, "a::b:c", 6, "::", "a", "b:c", 3, false);
    check_kv(FRAMING_LINE, "a=b", 3, "", NULL, "a=b", 3, false);
}

static void keys_of_msgpack(void **state)
{
    (void)state;
    check_kv(FRAMING_MSGPACK, "\x92\xa1k\xa1v", 5, "", "\xa1k", "\xa1v", 2, false);
    check_kv(FRAMING_MSGPACK, "\x93\x01\x02\x03", 4, "", "\x01", "\x02\x03", 2, false);
    check_kv(FRAMING_MSGPACK, "\x92\x01\xc0", 3, "", "\x01", "\xc0", 1, true);
    check_kv(FRAMING_MSGPACK, "\x91\x01", 2, "", "\x01", "", 0, true);
    check_kv(FRAMING_MSGPACK, "\x93\x01\xc0\xc0", 4, "", "\x01", "\xc0\xc0", 2, false);
    check_kv(FRAMING_MSGPACK, "\xdc\x00\x02\x01\xc0", 5, "", "\x01", "\xc0", 1, true);
    check_kv(FRAMING_MSGPACK, "\x92\x92\x01\x02\x03", 5, "", "\x92\x01\x02", "\x03", 1, false);
    check_kv(FRAMING_MSGPACK, "\x90", 1, "", NULL, "\x90", 1, false);
    check_kv(FRAMING_MSGPACK, "\x81\x01\x02", 3, "", NULL, "\x81\x01\x02", 3, false);
    check_kv(FRAMING_MSGPACK, "\x07", 1, "", NULL, "\x07", 1, false);
    check_kv(FRAMING_MSGPACK, "\xdc\x00", 2, "", NULL, "\xdc\x00", 2, false);
    check_kv(FRAMING_MSGPACK, "\x92\xa5x", 3, "", NULL, "\x92\xa5x", 3, false);
}

static void nil_is_no_key(void **state)
{
    (void)state;
    check_kv(FRAMING_MSGPACK, "\x92\xc0\x01", 3, "", NULL, "\x92\xc0\x01", 3, false);
    check_kv(FRAMING_MSGPACK, "\x91\xc0", 2, "", NULL, "\x91\xc0", 2, false);
}

/* Cut at every place at which the first record is not complete. */
static void check_keyed(enum framing framing, const char *records, size_t len, size_t first_len, const char *sep,
                        bool expected)
{
    const uint8_t *data = (const uint8_t *)records;

    for (size_t cut = 0; cut < first_len; cut++) {
        assert_int_equal(framing_all_keyed(framing, data, cut, data + cut, len - cut, sep, strlen(sep)), expected);
    }
}

static void all_keyed_finds_a_line_without_a_key(void **state)
{
    (void)state;
    check_keyed(FRAMING_LINE, "a:1\n", 4, 4, ":", true);
    check_keyed(FRAMING_LINE, ":\nb:\n", 5, 2, ":", true);
    check_keyed(FRAMING_LINE, "a:1\nb\nc:2\n", 10, 4, ":", false);
    check_keyed(FRAMING_LINE, "a\nc:2\n", 6, 2, ":", false);
    check_keyed(FRAMING_LINE, "a:1\n\n", 5, 4, ":", false);
    check_keyed(FRAMING_LINE, "\n", 1, 1, ":", false);
    check_keyed(FRAMING_LINE, "a:1\n", 4, 4, "", false);
    check_keyed(FRAMING_LINE, "key=:=value\nk=:=\n", 17, 12, "=:=", true);
    check_keyed(FRAMING_LINE, "=:=\n", 4, 4, "=:=", true);
    check_keyed(FRAMING_LINE, "=:\n=:=\n", 7, 3, "=:=", false);
    check_keyed(FRAMING_LINE, "a==:\n=\n", 7, 5, "=:=", false);
    check_keyed(FRAMING_LINE, "a==:=b\n", 7, 7, "=:=", true);
    check_keyed(FRAMING_LINE, "aabaac\n", 7, 7, "aac", true);
}

static void all_keyed_finds_an_object_without_a_key(void **state)
{
    (void)state;
    check_keyed(FRAMING_MSGPACK, "\x92\xa1k\xa1v\x91\x07", 7, 5, "", true);
    check_keyed(FRAMING_MSGPACK, "\xdd\x00\x00\x00\x02\x01\xc0\x91\x07", 9, 7, "", true);
    check_keyed(FRAMING_MSGPACK, "\xdd\x00\x00\x00\x02\xc0\x01\x91\x07", 9, 7, "", false);
    check_keyed(FRAMING_MSGPACK, "\xdc\x00\x00\x91\x07", 5, 3, "", false);
    check_keyed(FRAMING_MSGPACK, "\x92\xa1k\xa1v\xc3", 6, 5, "", false);
    check_keyed(FRAMING_MSGPACK, "\x92\xa1k\xa1v\x90\x91\x01", 8, 5, "", false);
    check_keyed(FRAMING_MSGPACK, "\x82\x01\x02\x03\x04", 5, 5, "", false);
    check_keyed(FRAMING_MSGPACK, "\x93\x92\x01\xc0\x02\x03", 6, 6, "", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_at_newlines),
        cmocka_unit_test(a_line_is_at_most_max_without_its_newline),
        cmocka_unit_test(random_lines_agree_with_a_byte_loop),
        cmocka_unit_test(marks_of_lines),
        cmocka_unit_test(every_type_has_its_length),
        cmocka_unit_test(cut_anywhere_in_up_to_three_pieces),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(marks_of_msgpack),
        cmocka_unit_test(c1_is_refused_and_changes_nothing),
        cmocka_unit_test(a_length_that_cannot_fit_is_refused_at_once),
        cmocka_unit_test(a_million_nested_arrays_need_no_stack),
        cmocka_unit_test(skip_passes_so_many_records),
        cmocka_unit_test(keys_of_lines),
        cmocka_unit_test(keys_of_msgpack),
        cmocka_unit_test(nil_is_no_key),
        cmocka_unit_test(all_keyed_finds_a_line_without_a_key),
        cmocka_unit_test(all_keyed_finds_an_object_without_a_key),
    };

    return cmocka_run_group_tests_name("framing", tests, NULL, NULL);
}
