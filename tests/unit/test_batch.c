/* The bytes of `.batches`: where each field is, and that a flipped bit anywhere is noticed. */
#include "engine/record/batch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/crc32c.h"

static const struct batch_entry sample = {
    .offset = 0x01020304,
    .position = 0x05060708,
    .records = 0x090a0b0c,
    .place = 0x0d0e0f10,
    .len = 0x11121314,
    .first_timestamp_ms = 0x15161718191a1b1c,
    .last_timestamp_ms = 0x1d1e1f2021222324,
    .leader_epoch = 0x25262728,
    .producer_id = 0x292a2b2c2d2e2f30,
    .producer_epoch = 0x3132,
    .sequence = 0x33343536,
    .attributes = 0x38,
    .crc = 0x393a3b3c,
};

/* Appends v little-endian. */
static uint8_t *put(uint8_t *at, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        *at++ = (uint8_t)(v >> (8 * i));
    }
    return at;
}

static void entry_bytes_are_in_the_documented_order(void **state)
{
    uint8_t want[BATCH_ENTRY_BYTES];
    uint8_t got[BATCH_ENTRY_BYTES];
    uint8_t *at = want;

    (void)state;
    at = put(at, 0x01020304, 4);
    at = put(at, 0x05060708, 4);
    at = put(at, 0x090a0b0c, 4);
    at = put(at, 0x0d0e0f10, 4);
    at = put(at, 0x11121314, 4);
    at = put(at, 0x15161718191a1b1c, 8);
    at = put(at, 0x1d1e1f2021222324, 8);
    at = put(at, 0x25262728, 4);
    at = put(at, 0x292a2b2c2d2e2f30, 8);
    at = put(at, 0x3132, 2);
    at = put(at, 0x33343536, 4);
    at = put(at, 0x38, 1);
    at = put(at, 0, 1);
    at = put(at, 0x393a3b3c, 4);
    assert_int_equal(at - want, 60);
    put(at, crc32c(0, want, 60), 4);
    batch_entry_encode(&sample, got);
    assert_memory_equal(got, want, sizeof want);
}

static void entry_says_how_much_before_it_is_not_on_the_disk(void **state)
{
    static const uint32_t numbers[] = {0, 1, 254, 255, 256, UINT32_MAX};
    uint8_t bytes[BATCH_ENTRY_BYTES];
    struct batch_entry b;

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        batch_entry_encode_appended(&sample, numbers[i], bytes);
        assert_int_equal(bytes[55], numbers[i] < 255 ? numbers[i] + 1 : 0);
        assert_int_equal(batch_entry_unflushed(bytes), numbers[i] < 255 ? numbers[i] : BATCH_UNFLUSHED_MANY);
        assert_int_equal(batch_entry_decode(bytes, &b), 0);
        assert_int_equal(b.attributes, sample.attributes);
    }
    batch_entry_encode_appended(&sample, 3, bytes);
    bytes[0] ^= 1;
    assert_int_equal(batch_entry_unflushed(bytes), BATCH_UNFLUSHED_MANY);
    batch_entry_encode(&sample, bytes);
    assert_int_equal(batch_entry_unflushed(bytes), BATCH_UNFLUSHED_MANY);
}

static void entry_comes_back(void **state)
{
    uint8_t bytes[BATCH_ENTRY_BYTES];
    uint8_t again[BATCH_ENTRY_BYTES];
    struct batch_entry b = sample;

    (void)state;
    b.producer_id = -1;
    b.sequence = -1;
    b.producer_epoch = -1;
    b.leader_epoch = -1;
    batch_entry_encode(&b, bytes);
    memset(&b, 0, sizeof b);
    assert_int_equal(batch_entry_decode(bytes, &b), 0);
    assert_int_equal(b.producer_id, -1);
    assert_int_equal(b.sequence, -1);
    assert_int_equal(b.producer_epoch, -1);
    assert_int_equal(b.leader_epoch, -1);
    assert_int_equal(b.offset, sample.offset);
    assert_true(b.last_timestamp_ms == sample.last_timestamp_ms);
    batch_entry_encode(&b, again);
    assert_memory_equal(again, bytes, sizeof bytes);
}

static void header_bytes(void **state)
{
    struct batch_header h = {.base_offset = 7, .base_position = 8, .end_offset = -1, .end_position = -1};
    struct batch_header back;
    uint8_t want[BATCH_HEADER_BYTES] = "LOGMNTB1";
    uint8_t got[BATCH_HEADER_BYTES];

    (void)state;
    want[8] = 2;
    want[16] = 7;
    want[24] = 8;
    memset(want + 32, 0xff, 16);
    put(want + 60, crc32c(0, want, 60), 4);
    batch_header_encode(&h, got);
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(batch_header_decode(got, &back), 0);
    assert_true(back.base_offset == 7 && back.base_position == 8 && back.end_offset == -1 && back.end_position == -1);
    assert_int_equal(back.flags, 0);
    for (uint32_t flags = 0; flags < 4; flags++) {
        want[12] = (uint8_t)flags;
        put(want + 60, crc32c(0, want, 60), 4);
        h.flags = flags;
        batch_header_encode(&h, got);
        assert_memory_equal(got, want, sizeof want);
        assert_int_equal(batch_header_decode(got, &back), 0);
        assert_int_equal(back.flags, flags);
    }
}

/* There, what has the end of a range has gaps. */
static void version_1_is_read(void **state)
{
    struct batch_header back;
    uint8_t bytes[BATCH_HEADER_BYTES] = "LOGMNTB1";

    (void)state;
    bytes[8] = 1;
    bytes[16] = 7;
    bytes[24] = 8;
    memset(bytes + 32, 0xff, 16);
    put(bytes + 60, crc32c(0, bytes, 60), 4);
    assert_int_equal(batch_header_decode(bytes, &back), 0);
    assert_true(back.base_offset == 7 && back.base_position == 8 && back.end_offset == -1 && back.end_position == -1);
    assert_int_equal(back.flags, 0);
    put(bytes + 32, 9, 8);
    put(bytes + 40, 10, 8);
    put(bytes + 60, crc32c(0, bytes, 60), 4);
    assert_int_equal(batch_header_decode(bytes, &back), 0);
    assert_true(back.end_offset == 9 && back.end_position == 10);
    assert_int_equal(back.flags, BATCH_HEADER_GAPS);
}

static void any_flipped_bit_is_noticed(void **state)
{
    struct batch_header h = {.base_offset = 7, .base_position = 8, .end_offset = 9, .end_position = 10};
    struct batch_entry b;
    uint8_t header[BATCH_HEADER_BYTES];
    uint8_t entry[BATCH_ENTRY_BYTES];

    (void)state;
    batch_header_encode(&h, header);
    batch_entry_encode(&sample, entry);
    for (int bit = 0; bit < 64 * 8; bit++) {
        uint8_t flip = (uint8_t)(1 << bit % 8);

        header[bit / 8] ^= flip;
        entry[bit / 8] ^= flip;
        assert_int_equal(batch_header_decode(header, &h), -EBADMSG);
        assert_int_equal(batch_entry_decode(entry, &b), -EBADMSG);
        header[bit / 8] ^= flip;
        entry[bit / 8] ^= flip;
    }
}

/* What a file system shows where a size was extended and no data came. */
static void zeros_are_neither(void **state)
{
    uint8_t zeros[64] = {0};
    struct batch_header h;
    struct batch_entry b;

    (void)state;
    assert_int_equal(batch_header_decode(zeros, &h), -EBADMSG);
    assert_int_equal(batch_entry_decode(zeros, &b), -EBADMSG);
}

static void another_version_is_refused(void **state)
{
    struct batch_header h = {0};
    uint8_t bytes[BATCH_HEADER_BYTES];

    (void)state;
    for (uint8_t version = 0; version < 5; version++) {
        batch_header_encode(&h, bytes);
        bytes[8] = version;
        put(bytes + 60, crc32c(0, bytes, 60), 4);
        assert_int_equal(batch_header_decode(bytes, &h), version == 1 || version == 2 ? 0 : -EBADMSG);
    }
    batch_header_encode(&h, bytes);
    bytes[12] = 4; /* a flag that nobody knows */
    put(bytes + 60, crc32c(0, bytes, 60), 4);
    assert_int_equal(batch_header_decode(bytes, &h), -EBADMSG);
}

/* Two lines of 6 and 3 bytes and one of 1, cut by hand. */
static void a_batch_is_made_of_records(void **state)
{
    struct iovec iov = {(void *)(uintptr_t) "first\nab\n\n", 10};
    struct iovec pieces[] = {{(void *)(uintptr_t) "fi", 2}, {(void *)(uintptr_t) "rst\nab\n\n", 8}};
    struct framing_mark marks[4];
    struct append_batch batch;

    (void)state;
    assert_int_equal(append_batch_scan(&batch, FRAMING_LINE, &iov, 5000, 2, marks, 4), 0);
    assert_int_equal(batch.len, 10);
    assert_int_equal(batch.records, 3);
    assert_int_equal(batch.crc, crc32c(0, "first\nab\n\n", 10));
    assert_int_equal(batch.first_timestamp_ms, 5000);
    assert_int_equal(batch.last_timestamp_ms, 5000);
    assert_int_equal(batch.producer_id, -1);
    assert_int_equal(batch.producer_epoch, -1);
    assert_int_equal(batch.sequence, -1);
    assert_int_equal(batch.attributes, 0);
    assert_int_equal(batch.mark_count, 2);
    assert_int_equal(marks[0].record, 1);
    assert_int_equal(marks[0].place, 6);
    assert_int_equal(marks[1].record, 2);
    assert_int_equal(marks[1].place, 9);
    iov = (struct iovec){(void *)(uintptr_t) "\xc1", 1};
    assert_int_equal(append_batch_scan(&batch, FRAMING_MSGPACK, &iov, 5000, 0, NULL, 0), -EINVAL);

    append_batch_init(&batch, FRAMING_MSGPACK, pieces, 2, 7);
    assert_int_equal(batch.len, 10);
    assert_int_equal(batch.framing, FRAMING_MSGPACK);
    assert_int_equal(batch.records, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_bytes_are_in_the_documented_order),
        cmocka_unit_test(entry_says_how_much_before_it_is_not_on_the_disk),
        cmocka_unit_test(entry_comes_back),
        cmocka_unit_test(header_bytes),
        cmocka_unit_test(version_1_is_read),
        cmocka_unit_test(any_flipped_bit_is_noticed),
        cmocka_unit_test(zeros_are_neither),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(a_batch_is_made_of_records),
    };

    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
