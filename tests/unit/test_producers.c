/* Who is next, who was here before: the table of producers, and its file. Sequences are Kafka's: from 0 to 2^31 - 1,
 * then from 0 again. */
#include "engine/log/producers.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "tests/unit/scratch.h"

static char dir_path[64];
static int dirfd_of_test;
static struct producers producers;
static struct err e;

static int setup(void **state)
{
    (void)state;
    scratch_make(dir_path, sizeof dir_path, "producers");
    dirfd_of_test = open(dir_path, O_RDONLY | O_DIRECTORY);
    return dirfd_of_test < 0;
}

static int teardown(void **state)
{
    char name[PRODUCERS_NAME_BYTES];

    (void)state;
    producers_free(&producers);
    producers_name(7, name);
    unlinkat(dirfd_of_test, name, 0);
    close(dirfd_of_test);
    return rmdir(dir_path);
}

static void note(int64_t id, int16_t epoch, int32_t sequence, uint32_t records, int64_t offset, int64_t ms)
{
    struct batch_entry b = {
        .producer_id = id, .producer_epoch = epoch, .sequence = sequence, .records = records, .last_timestamp_ms = ms};

    assert_int_equal(producers_reserve(&producers, 1), 0);
    producers_note(&producers, &b, offset, ms);
}

static void expect(int64_t id, int16_t epoch, int32_t sequence, enum producer_verdict want)
{
    assert_int_equal(producers_judge(&producers, id, epoch, sequence), want);
}

static void sequences(void **state)
{
    (void)state;
    expect(5, 0, 0, PRODUCER_UNKNOWN);
    expect(5, 3, 17, PRODUCER_UNKNOWN);
    note(5, 3, 17, 10, 100, 1);
    expect(5, 3, 27, PRODUCER_NEXT);
    expect(5, 3, 26, PRODUCER_DUPLICATE);
    expect(5, 3, 17, PRODUCER_DUPLICATE);
    expect(5, 3, 0, PRODUCER_DUPLICATE);
    expect(5, 3, 28, PRODUCER_GAP);
    expect(5, 2, 27, PRODUCER_FENCED);
    expect(5, 4, 0, PRODUCER_NEXT);
    expect(5, 4, 27, PRODUCER_GAP);
    expect(6, 3, 27, PRODUCER_UNKNOWN);
    assert_int_equal(producers_find(&producers, 5)->last_offset, 109);
    assert_int_equal(producers_find(&producers, 5)->last_sequence, 26);
}

static void they_go_round(void **state)
{
    (void)state;
    note(1, 0, INT32_MAX - 4, 5, 0, 1);
    expect(1, 0, 0, PRODUCER_NEXT);
    expect(1, 0, 1, PRODUCER_GAP);
    expect(1, 0, INT32_MAX, PRODUCER_DUPLICATE);
    note(1, 0, INT32_MAX - 1, 5, 5, 1);
    expect(1, 0, 3, PRODUCER_NEXT);
    expect(1, 0, 2, PRODUCER_DUPLICATE);
    expect(1, 0, INT32_MAX, PRODUCER_DUPLICATE);
    expect(1, 0, 4, PRODUCER_GAP);
}

static void what_has_no_producer_is_passed_by(void **state)
{
    (void)state;
    note(-1, -1, -1, 3, 0, 1);
    note(7, 0, -1, 3, 0, 1);
    assert_int_equal(producers.count, 0);
    expect(-1, -1, -1, PRODUCER_UNKNOWN);
}

static void many_are_kept_apart(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        note(i * 1000, 0, i, 1, i, i);
    }
    assert_int_equal(producers.count, 3000);
    for (int i = 0; i < 3000; i++) {
        expect(i * 1000, 0, i + 1, PRODUCER_NEXT);
        expect(i * 1000 + 1, 0, 0, PRODUCER_UNKNOWN);
    }
}

/* Beyond the limit the one that has been silent for longest is forgotten. */
static void they_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT_PRODUCERS + 100; i++) {
        note(i, 0, 0, 1, i, i);
        assert_true(producers.count <= LIMIT_PRODUCERS);
    }
    expect(0, 0, 1, PRODUCER_UNKNOWN);
    expect(99, 0, 1, PRODUCER_UNKNOWN);
    expect(100, 0, 1, PRODUCER_NEXT);
    expect(LIMIT_PRODUCERS + 99, 0, 1, PRODUCER_NEXT);
}

enum { DAY_MS = 86400000, MINUTE_MS = 60000 }; /* producer.id.expiration.ms */

/* KIP-854: counted from an id's last batch. */
static void who_is_silent_for_a_day_is_forgotten(void **state)
{
    int64_t begin_ms = 5000000;

    (void)state;
    note(1, 0, 0, 1, 0, begin_ms);
    note(2, 0, 0, 1, 1, begin_ms + MINUTE_MS);
    producers_expire(&producers, begin_ms + MINUTE_MS);
    note(1, 0, 1, 1, 2, begin_ms + 30 * MINUTE_MS);
    producers_expire(&producers, begin_ms + MINUTE_MS + DAY_MS - 1);
    expect(2, 0, 0, PRODUCER_DUPLICATE);
    /* Looked for once in ten minutes at most. */
    producers_expire(&producers, begin_ms + MINUTE_MS + DAY_MS - 1 + 10 * MINUTE_MS);
    expect(2, 0, 0, PRODUCER_UNKNOWN);
    expect(1, 0, 1, PRODUCER_DUPLICATE);
    assert_int_equal(producers.count, 1);
    producers_expire(&producers, begin_ms + 30 * MINUTE_MS + DAY_MS - 1);
    expect(1, 0, 1, PRODUCER_DUPLICATE);
    producers_expire(&producers, begin_ms + 30 * MINUTE_MS + DAY_MS);
    expect(1, 0, 1, PRODUCER_UNKNOWN);
    assert_int_equal(producers.count, 0);
    note(1, 0, 7, 1, 3, begin_ms + 3LL * DAY_MS);
    expect(1, 0, 8, PRODUCER_NEXT);
}

static void they_come_back_from_the_file(void **state)
{
    struct producers loaded;

    (void)state;
    note(5, 3, 17, 10, 100, 1700000000000);
    note(INT64_MAX, INT16_MAX, INT32_MAX, 1, INT64_MAX - 1, INT64_MAX);
    note(0, 0, 0, 1, 0, -1);
    assert_int_equal(producers_load(io_posix(), dirfd_of_test, 7, 0, &loaded, &e), -ENOENT);
    assert_int_equal(producers_store(io_posix(), dirfd_of_test, 7, &producers, &e), 0);
    assert_int_equal(producers_load(io_posix(), dirfd_of_test, 7, 0, &loaded, &e), 0);
    assert_int_equal(loaded.count, 3);
    for (int i = 0; i < 3; i++) {
        int64_t id = i == 0 ? 5 : i == 1 ? INT64_MAX : 0;

        const struct producer_state *got = producers_find(&loaded, id), *want = producers_find(&producers, id);

        assert_int_equal(got->last_offset, want->last_offset);
        assert_int_equal(got->last_ms, want->last_ms);
        assert_int_equal(got->last_sequence, want->last_sequence);
        assert_int_equal(got->epoch, want->epoch);
    }
    producers_free(&loaded);
}

static void damage_is_refused(void **state)
{
    struct producers loaded;
    char name[PRODUCERS_NAME_BYTES], text[256];
    ssize_t len;
    int fd;

    (void)state;
    note(5, 3, 17, 10, 100, 1);
    assert_int_equal(producers_store(io_posix(), dirfd_of_test, 7, &producers, &e), 0);
    producers_name(7, name);
    assert_string_equal(name, "00000000000000000007.producers");
    fd = openat(dirfd_of_test, name, O_RDWR);
    len = pread(fd, text, sizeof text, 0);
    for (ssize_t i = 0; i < len; i++) {
        char bad = (char)(text[i] ^ 1);

        assert_int_equal(pwrite(fd, &bad, 1, i), 1);
        assert_int_equal(producers_load(io_posix(), dirfd_of_test, 7, 0, &loaded, &e), -EBADMSG);
        assert_int_equal(loaded.count, 0);
        assert_int_equal(pwrite(fd, &text[i], 1, i), 1);
    }
    close(fd);
}

static void names(void **state)
{
    int64_t offset;

    (void)state;
    assert_true(producers_name_parse("00000000000000000123.producers", &offset));
    assert_int_equal(offset, 123);
    assert_true(producers_name_parse("00000000000000000123.producers.tmp", &offset));
    assert_false(producers_name_parse("00000000000000000123.log", &offset));
    assert_false(producers_name_parse("123.producers", &offset));
    assert_false(producers_name_parse("99999999999999999999.producers", &offset));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sequences),
        TEST(they_go_round),
        TEST(what_has_no_producer_is_passed_by),
        TEST(many_are_kept_apart),
        TEST(they_are_bounded),
        TEST(who_is_silent_for_a_day_is_forgotten),
        TEST(they_come_back_from_the_file),
        TEST(damage_is_refused),
        TEST(names),
    };

    return cmocka_run_group_tests_name("producers", tests, NULL, NULL);
}
