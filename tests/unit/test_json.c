/* tests/unit/test_json.c: one record, one line of JSON, whatever its bytes are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/consume/json.h"
#include "fs/tree/attr.h"

/* What is in front of a record of zeros. */
#define FRONT "{\"partition\":0,\"offset\":0,\"timestamp\":0,"

/* A literal and its length. */
#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

static void expect_record(struct json_record record, const uint8_t *bytes, size_t len, const char *want)
{
    struct json_text text = {0};

    record.bytes = bytes;
    record.len = len;
    assert_int_equal(json_append_record(&text, &record), 0);
    assert_int_equal(json_append_record(&text, &record), 0); /* it appends */
    assert_int_equal(text.len, 2 * strlen(want));
    assert_memory_equal(text.data, want, strlen(want));
    assert_memory_equal(text.data + strlen(want), want, strlen(want));
    free(text.data);
}

/* A line without a key: what follows "value":. */
static void expect_line(const uint8_t *bytes, size_t len, const char *value)
{
    char want[4096];

    snprintf(want, sizeof want, "{\"partition\":0,\"offset\":0,\"timestamp\":0,\"key\":null,\"value\":%s}\n", value);
    expect_record((struct json_record){.framing = FRAMING_LINE}, bytes, len, want);
}

static void expect_msgpack(const uint8_t *bytes, size_t len, const char *value)
{
    char want[4096];

    snprintf(want, sizeof want, "{\"partition\":0,\"offset\":0,\"timestamp\":0,\"key\":null,\"value\":%s}\n", value);
    expect_record((struct json_record){.framing = FRAMING_MSGPACK}, bytes, len, want);
}

static void a_line_is_a_record_with_its_coordinates(void **state)
{
    (void)state;
    expect_record(
        (struct json_record){.partition = 2, .offset = 5, .timestamp_ms = INT64_C(1763800000000)},
        BYTES("hello, world"),
        "{\"partition\":2,\"offset\":5,\"timestamp\":1763800000000,\"key\":null,\"value\":\"hello, world\"}\n");
    expect_record((struct json_record){.partition = INT32_MAX, .offset = INT64_MAX, .timestamp_ms = INT64_MIN},
                  BYTES(""),
                  "{\"partition\":2147483647,\"offset\":9223372036854775807,\"timestamp\":-9223372036854775808,"
                  "\"key\":null,\"value\":\"\"}\n");
}

static void what_json_must_escape_is_escaped(void **state)
{
    (void)state;
    expect_line(BYTES("say \"hi\" \\ bye"), "\"say \\\"hi\\\" \\\\ bye\"");
    expect_line(BYTES("a\tb\rc\bd\fe\nf"), "\"a\\tb\\rc\\bd\\fe\\nf\"");
    expect_line(BYTES("\0\x01\x1f\x7f "), "\"\\u0000\\u0001\\u001f\x7f \"");
    expect_line(BYTES("/bfnrtu"), "\"/bfnrtu\"");
}

/* Wherever in a word the byte is, before and behind what needs no escape. */
static void escapes_are_found_at_every_place(void **state)
{
    (void)state;
    for (size_t at = 0; at < 40; at++) {
        uint8_t bytes[40];
        char want[64];

        memset(bytes, 'x', sizeof bytes);
        bytes[at] = '"';
        memset(want, 'x', sizeof want);
        want[0] = '"';
        want[1 + at] = '\\';
        want[2 + at] = '"';
        want[42] = '"';
        want[43] = '\0';
        expect_line(bytes, sizeof bytes, want);
    }
}

static void utf8_stays_as_it_is(void **state)
{
    (void)state;
    expect_line(BYTES("käse 寿司 🍣 \xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf"),
                "\"käse 寿司 🍣 \xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf\"");
}

/* The Unicode standard's own example, table 3-8, and the neighbours of what is well-formed. */
static void each_maximal_ill_formed_part_is_one_replacement(void **state)
{
    (void)state;
    expect_line(BYTES("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64"),
                "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                "b\xef\xbf\xbd"
                "c\xef\xbf\xbd\xef\xbf\xbd"
                "d\",\"value_base64\":\"YfGAgOGAwmKAY4C/ZA==\"");
    expect_line(BYTES("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\",\"value_base64\":\"wK8=\"");
    expect_line(BYTES("\xe0\x9f"), "\"\xef\xbf\xbd\xef\xbf\xbd\",\"value_base64\":\"4J8=\"");
    expect_line(BYTES("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\"value_base64\":\"7aCA\"");
    expect_line(BYTES("\xf4\x90"), "\"\xef\xbf\xbd\xef\xbf\xbd\",\"value_base64\":\"9JA=\"");
    expect_line(BYTES("\xf5"), "\"\xef\xbf\xbd\",\"value_base64\":\"9Q==\"");
    expect_line(BYTES("\xff"), "\"\xef\xbf\xbd\",\"value_base64\":\"/w==\"");
    expect_line(BYTES("x\xe2\x82"), "\"x\xef\xbf\xbd\",\"value_base64\":\"eOKC\"");
}

static void with_a_separator_there_is_a_key(void **state)
{
    struct json_record tab = {.separator = "\t", .separator_len = 1};
    struct json_record arrow = {.separator = "=>", .separator_len = 2};

    (void)state;
    expect_record(tab, BYTES("ada\t36\tx"), FRONT "\"key\":\"ada\",\"value\":\"36\\tx\"}\n");
    expect_record(tab, BYTES("no key here"), FRONT "\"key\":null,\"value\":\"no key here\"}\n");
    expect_record(tab, BYTES("\tv"), FRONT "\"key\":\"\",\"value\":\"v\"}\n");
    expect_record(tab, BYTES("k\t"), FRONT "\"key\":\"k\",\"value\":\"\"}\n");
    expect_record(tab, BYTES(""), FRONT "\"key\":null,\"value\":\"\"}\n");
    expect_record(arrow, BYTES("a=b=>c"), FRONT "\"key\":\"a=b\",\"value\":\"c\"}\n");
    expect_record(tab, BYTES("k\xff\tv"), FRONT "\"key\":\"k\xef\xbf\xbd\",\"value\":\"v\",\"key_base64\":\"a/8=\"}\n");
    expect_record(tab, BYTES("\xff\t\xfe"),
                  FRONT "\"key\":\"\xef\xbf\xbd\",\"value\":\"\xef\xbf\xbd\","
                        "\"key_base64\":\"/w==\",\"value_base64\":\"/g==\"}\n");
}

/* RFC 4648, section 10. */
static void base64_is_that_of_the_rfc(void **state)
{
    static const char *const cases[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bin[32] = {0xc4, (uint8_t)strlen(cases[i][0])};
        char want[32];

        memcpy(bin + 2, cases[i][0], strlen(cases[i][0]));
        snprintf(want, sizeof want, "\"%s\"", cases[i][1]);
        expect_msgpack(bin, 2 + strlen(cases[i][0]), want);
    }
}

static void msgpack_scalars(void **state)
{
    (void)state;
    expect_msgpack(BYTES("\xc0"), "null");
    expect_msgpack(BYTES("\xc2"), "false");
    expect_msgpack(BYTES("\xc3"), "true");
    expect_msgpack(BYTES("\x00"), "0");
    expect_msgpack(BYTES("\x7f"), "127");
    expect_msgpack(BYTES("\xe0"), "-32");
    expect_msgpack(BYTES("\xff"), "-1");
    expect_msgpack(BYTES("\xcc\xff"), "255");
    expect_msgpack(BYTES("\xcd\xff\xfe"), "65534");
    expect_msgpack(BYTES("\xce\xff\xff\xff\xff"), "4294967295");
    expect_msgpack(BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615");
    expect_msgpack(BYTES("\xd0\x80"), "-128");
    expect_msgpack(BYTES("\xd1\x80\x00"), "-32768");
    expect_msgpack(BYTES("\xd2\x80\x00\x00\x00"), "-2147483648");
    expect_msgpack(BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), "-9223372036854775808");
    expect_msgpack(BYTES("\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"), "9223372036854775807");
    expect_msgpack(BYTES("\xca\x3f\x80\x00\x00"), "1");
    expect_msgpack(BYTES("\xca\x3d\xcc\xcc\xcd"), "0.1");
    expect_msgpack(BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1");
    expect_msgpack(BYTES("\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18"), "3.141592653589793");
    expect_msgpack(BYTES("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), "null");
    expect_msgpack(BYTES("\xca\xff\x80\x00\x00"), "null");
}

static void msgpack_texts_bytes_and_extensions(void **state)
{
    (void)state;
    expect_msgpack(BYTES("\xa0"), "\"\"");
    expect_msgpack(BYTES("\xa3w\"x"), "\"w\\\"x\"");
    expect_msgpack(BYTES("\xd9\x03xyz"), "\"xyz\"");
    expect_msgpack(BYTES("\xda\x00\x03xyz"), "\"xyz\"");
    expect_msgpack(BYTES("\xdb\x00\x00\x00\x03xyz"), "\"xyz\"");
    expect_msgpack(BYTES("\xa1\xff"), "\"\xef\xbf\xbd\",\"value_base64\":\"of8=\"");
    expect_msgpack(BYTES("\xc5\x00\x03"
                         "foo"),
                   "\"Zm9v\"");
    expect_msgpack(BYTES("\xc6\x00\x00\x00\x03"
                         "foo"),
                   "\"Zm9v\"");
    expect_msgpack(BYTES("\xd4\xff\x01"), "{\"type\":-1,\"data\":\"AQ==\"}");
    expect_msgpack(BYTES("\xd8\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
                   "{\"type\":5,\"data\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}");
    expect_msgpack(BYTES("\xc7\x00\x07"), "{\"type\":7,\"data\":\"\"}");
    expect_msgpack(BYTES("\xc8\x00\x01\x07Z"), "{\"type\":7,\"data\":\"Wg==\"}");
    expect_msgpack(BYTES("\xc9\x00\x00\x00\x01\x07Z"), "{\"type\":7,\"data\":\"Wg==\"}");
}

static void msgpack_containers(void **state)
{
    (void)state;
    expect_msgpack(BYTES("\x90"), "[]");
    expect_msgpack(BYTES("\x80"), "{}");
    expect_msgpack(BYTES("\x93\x01\x02\x03"), "[1,2,3]");
    expect_msgpack(BYTES("\x92\x90\x91\x80"), "[[],[{}]]");
    expect_msgpack(BYTES("\x82\xa1"
                         "a\x01\xa1"
                         "b\x92\xc0\xc3"),
                   "{\"a\":1,\"b\":[null,true]}");
    expect_msgpack(BYTES("\xdc\x00\x02\x01\x02"), "[1,2]");
    expect_msgpack(BYTES("\xdd\x00\x00\x00\x01\x01"), "[1]");
    expect_msgpack(BYTES("\xde\x00\x01\xa1x\x01"), "{\"x\":1}");
    expect_msgpack(BYTES("\xdf\x00\x00\x00\x01\xa1x\x01"), "{\"x\":1}");
}

static void map_keys_that_are_not_text_are_their_json_text(void **state)
{
    (void)state;
    expect_msgpack(BYTES("\x84\x01\x0a\xc0\x0b\xc2\x0c\xff\x0d"), "{\"1\":10,\"null\":11,\"false\":12,\"-1\":13}");
    expect_msgpack(BYTES("\x81\xc4\x03"
                         "foo\x01"),
                   "{\"Zm9v\":1}");
    expect_msgpack(BYTES("\x82\x92\x01\xa1x\x02\x90\x03"), "{\"[1,\\\"x\\\"]\":2,\"[]\":3}");
    expect_msgpack(BYTES("\x81\xd4\x01\x02\x03"), "{\"{\\\"type\\\":1,\\\"data\\\":\\\"Ag==\\\"}\":3}");
    /* A key's own key that is a container is base64: {{1: 2}: 3} as a key, whose key is 81 01 02. */
    expect_msgpack(BYTES("\x81\x81\x81\x01\x02\x03\x04"), "{\"{\\\"gQEC\\\":3}\":4}");
    expect_msgpack(BYTES("\x82\x81\x07\x08\x01\x81\x07\x08\x02"), "{\"{\\\"7\\\":8}\":1,\"{\\\"7\\\":8}\":2}");
}

/* docs/FILESYSTEM.md: key is what key.separator cuts off, and null otherwise. */
static void an_object_has_no_key(void **state)
{
    struct json_record record = {.framing = FRAMING_MSGPACK, .separator = "=", .separator_len = 1};

    (void)state;
    expect_record(record, BYTES("\x92\xa1k\x05"), FRONT "\"key\":null,\"value\":[\"k\",5]}\n");
    expect_record(record,
                  BYTES("\xa3"
                        "k=v"),
                  FRONT "\"key\":null,\"value\":\"k=v\"}\n");
}

static void what_is_not_one_object_is_null_and_its_bytes(void **state)
{
    (void)state;
    expect_msgpack(BYTES(""), "null,\"value_base64\":\"\"");
    expect_msgpack(BYTES("\xc1"), "null,\"value_base64\":\"wQ==\"");
    expect_msgpack(BYTES("\x92\x01"), "null,\"value_base64\":\"kgE=\"");
    expect_msgpack(BYTES("\x01\x02"), "null,\"value_base64\":\"AQI=\"");
    expect_msgpack(BYTES("\xa5"
                         "abc"),
                   "null,\"value_base64\":\"pWFiYw==\"");
    expect_msgpack(BYTES("\xdd\xff\xff\xff\xff"), "null,\"value_base64\":\"3f////8=\"");
    expect_msgpack(BYTES("\xcb\x00"), "null,\"value_base64\":\"ywA=\"");
    expect_msgpack(BYTES("\xd4"), "null,\"value_base64\":\"1A==\"");
    expect_msgpack(BYTES("\x81\x90\xc1"), "null,\"value_base64\":\"gZDB\"");
}

/* A million arrays, one inside the other, need no stack. */
static void nesting_is_as_deep_as_the_record_is_long(void **state)
{
    enum { DEPTH = 1000000 };
    uint8_t *bytes = malloc(DEPTH);
    struct json_text text = {0};
    struct json_record record = {.framing = FRAMING_MSGPACK, .bytes = bytes, .len = DEPTH};
    size_t front = strlen(FRONT "\"key\":null,\"value\":");

    (void)state;
    memset(bytes, 0x91, DEPTH - 1);
    bytes[DEPTH - 1] = 0x90;
    assert_int_equal(json_append_record(&text, &record), 0);
    assert_int_equal(text.len, front + 2 * (size_t)DEPTH + 2);
    for (size_t i = 0; i < DEPTH; i++) {
        assert_true(text.data[front + i] == '[' && text.data[front + DEPTH + i] == ']');
    }
    free(text.data);
    free(bytes);
}

/* Maps whose keys are maps, a hundred deep: the text grows with the record, not by quotes upon quotes. */
static void keys_in_keys_do_not_explode(void **state)
{
    enum { DEPTH = 100 };
    uint8_t bytes[2 * DEPTH + 1];
    struct json_text text = {0};
    struct json_record record = {.framing = FRAMING_MSGPACK, .bytes = bytes, .len = sizeof bytes};

    (void)state;
    memset(bytes, 0x81, DEPTH);
    memset(bytes + DEPTH, 0x01, DEPTH + 1);
    assert_int_equal(json_append_record(&text, &record), 0);
    assert_true(text.len < 10 * sizeof bytes);
    free(text.data);
}

/* ---- st_size ---- */

static void expect_fits(enum framing framing, const char *separator, const uint8_t *bytes, size_t len)
{
    /* What a log keeps of a line has its newline. */
    int64_t stored = (int64_t)len + (framing == FRAMING_LINE);
    struct json_text text = {0};
    struct json_record record = {.partition = INT32_MAX,
                                 .offset = INT64_MAX,
                                 .timestamp_ms = INT64_MIN,
                                 .framing = framing,
                                 .separator = separator,
                                 .separator_len = strlen(separator),
                                 .bytes = bytes,
                                 .len = len};

    /* A thousand of them, so that what rounding adds does not hide one that is too long. */
    assert_int_equal(json_append_record(&text, &record), 0);
    assert_true((int64_t)text.len * 1000 <= attr_json_size(framing, 1000, 1000 * stored));
    free(text.data);
}

static void repeat(enum framing framing, const char *separator, const uint8_t *front, size_t front_len,
                   const uint8_t *one, size_t one_len, size_t times)
{
    uint8_t *bytes = malloc(front_len + one_len * times);

    assert_non_null(bytes);
    memcpy(bytes, front, front_len);
    for (size_t i = 0; i < times; i++) {
        memcpy(bytes + front_len + i * one_len, one, one_len);
    }
    expect_fits(framing, separator, bytes, front_len + one_len * times);
    free(bytes);
}

static void the_longest_texts_are_within_the_size_that_stat_shows(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } costly[] = {
        {"\xc0", 1},         /* null */
        {"\xc2", 1},         /* false */
        {"\xe0", 1},         /* -32 */
        {"\xa0", 1},         /* "" */
        {"\xa1\x01", 2},     /* "\u0001" */
        {"\xa1\xff", 2},     /* not UTF-8: and all of it once more in base64 */
        {"\xd4\x80\x00", 3}, /* ext: {"type":-128,"data":"AA=="} */
        {"\xc7\x00\x80", 3}, /* an empty one */
        {"\xca\x80\x00\x00\x01", 5},
        {"\x90", 1},
        {"\x80", 1},
    };

    (void)state;
    for (size_t times = 0; times <= 3; times++) {
        repeat(FRAMING_LINE, "", BYTES(""), BYTES("\x01"), times);
        repeat(FRAMING_LINE, "", BYTES("\xff"), BYTES("\x01"), times);
        repeat(FRAMING_LINE, "=", BYTES("\xff\x01=\xff"), BYTES("\x01"), times);
    }
    repeat(FRAMING_LINE, "", BYTES("\xff"), BYTES("\x01"), 100000);
    repeat(FRAMING_LINE, "\x02", BYTES("\xff\x01\x02\xff"), BYTES("\x01"), 100000);
    for (size_t i = 0; i < sizeof costly / sizeof *costly; i++) {
        uint8_t pair[16];
        size_t len = costly[i].len;

        memcpy(pair, costly[i].bytes, len);
        repeat(FRAMING_MSGPACK, "", BYTES("\xdc\x03\xe8"), pair, len, 1000); /* an array of them */
        memcpy(pair + len, costly[i].bytes, len);
        repeat(FRAMING_MSGPACK, "", BYTES("\xde\x01\xf4"), pair, 2 * len, 500);  /* keys and values of a map */
        repeat(FRAMING_MSGPACK, "", BYTES("\x81\xdc\x03\xe8"), pair, len, 1001); /* in a map's key */
        repeat(FRAMING_MSGPACK, "", BYTES("\x82\xa1\xff\xc0\xdc\x03\xe8"), pair, len, 1001); /* and not UTF-8 */
    }
}

static void no_records_have_no_size_and_the_most_have_the_greatest(void **state)
{
    (void)state;
    assert_int_equal(attr_json_size(FRAMING_LINE, 0, 0), 0);
    assert_int_equal(attr_json_size(FRAMING_LINE, 1, 1) % 4096, 0);
    assert_int_equal(attr_json_size(FRAMING_MSGPACK, INT64_MAX, INT64_MAX), INT64_MAX - 4095);
    assert_int_equal(attr_json_size(FRAMING_LINE, 5, INT64_MAX / 8), INT64_MAX - 4095);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_texts_are_within_the_size_that_stat_shows),
        cmocka_unit_test(no_records_have_no_size_and_the_most_have_the_greatest),
        cmocka_unit_test(a_line_is_a_record_with_its_coordinates),
        cmocka_unit_test(what_json_must_escape_is_escaped),
        cmocka_unit_test(escapes_are_found_at_every_place),
        cmocka_unit_test(utf8_stays_as_it_is),
        cmocka_unit_test(each_maximal_ill_formed_part_is_one_replacement),
        cmocka_unit_test(with_a_separator_there_is_a_key),
        cmocka_unit_test(base64_is_that_of_the_rfc),
        cmocka_unit_test(msgpack_scalars),
        cmocka_unit_test(msgpack_texts_bytes_and_extensions),
        cmocka_unit_test(msgpack_containers),
        cmocka_unit_test(map_keys_that_are_not_text_are_their_json_text),
        cmocka_unit_test(an_object_has_no_key),
        cmocka_unit_test(what_is_not_one_object_is_null_and_its_bytes),
        cmocka_unit_test(nesting_is_as_deep_as_the_record_is_long),
        cmocka_unit_test(keys_in_keys_do_not_explode),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
