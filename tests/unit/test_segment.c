/* tests/unit/test_segment.c: names, pins, references, and the cache of open files under many threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/log/log_internal.h"
#include "engine/segment/segment_cache.h"
#include "tests/unit/log_fixture.h"

static struct log_fixture f;

static int setup(void **state)
{
    (void)state;
    log_fixture_init(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_fixture_destroy(&f);
    return 0;
}

static void names_are_kafkas(void **state)
{
    char name[40];

    (void)state;
    log_file_name(0, SEGMENT_LOG, name);
    assert_string_equal(name, "00000000000000000000.log");
    log_file_name(345678, SEGMENT_TIMEINDEX, name);
    assert_string_equal(name, "00000000000000345678.timeindex");
    log_file_name(INT64_MAX, SEGMENT_BATCHES, name);
    assert_string_equal(name, "09223372036854775807.batches");
}

static void expect_parse(const char *name, bool good, int64_t offset, enum segment_file kind, const char *suffix)
{
    enum segment_file got_kind = SEGMENT_FILES;
    const char *got_suffix = "";
    int64_t got = -1;

    assert_int_equal(segment_name_parse(name, &got, &got_kind, &got_suffix), good);
    if (good) {
        assert_int_equal(got, offset);
        assert_int_equal(got_kind, kind);
        assert_string_equal(got_suffix, suffix);
    }
}

static void names_are_read_back(void **state)
{
    (void)state;
    expect_parse("00000000000000345678.log", true, 345678, SEGMENT_LOG, "");
    expect_parse("09223372036854775807.index", true, INT64_MAX, SEGMENT_INDEX, "");
    expect_parse("00000000000000000001.batches.swap", true, 1, SEGMENT_BATCHES, ".swap");
    expect_parse("00000000000000000001.timeindex.7.deleted", true, 1, SEGMENT_TIMEINDEX, ".7.deleted");
    expect_parse("09223372036854775808.log", false, 0, 0, NULL);
    expect_parse("99999999999999999999.log", false, 0, 0, NULL);
    expect_parse("0000000000000034567.log", false, 0, 0, NULL);
    expect_parse("00000000000000345678.logs", false, 0, 0, NULL);
    expect_parse("00000000000000345678", false, 0, 0, NULL);
    expect_parse("partition.metadata", false, 0, 0, NULL);
    expect_parse("", false, 0, 0, NULL);
}

/* The first segment, referenced. */
static struct segment *first_segment(void)
{
    struct segment *seg = f.log->segments[0];

    segment_ref(seg);
    return seg;
}

static void pins_count(void **state)
{
    struct segment *seg;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    seg = first_segment();
    assert_int_equal(segment_pin(seg, &f.e), 0);
    assert_int_equal(segment_pin(seg, &f.e), 0);
    assert_int_equal(atomic_load(&seg->pins), 2);
    segment_unpin(seg);
    segment_unpin(seg);
    assert_int_equal(atomic_load(&seg->pins), 0);
    assert_true(segment_is_open(seg));
    segment_unref(seg);
}

static void a_deleted_segment_is_not_opened_again(void **state)
{
    struct segment *seg;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    seg = first_segment();
    /* The fixture's cache holds four: the first is closed. */
    for (int i = 0; i < 6; i++) {
        assert_int_equal(log_roll(f.log, &f.e), 0);
        log_fixture_append(&f, "one\n");
    }
    assert_int_equal(atomic_load(&seg->pins), SEGMENT_CLOSED);
    assert_int_equal(log_delete_records(f.log, (struct log_point){1, 4}, &f.e), 0);
    /* It is unlinked with the last reference. */
    assert_int_equal(log_fixture_count_files(&f, ".deleted"), 4);
    assert_int_equal(segment_pin(seg, &f.e), -ESTALE);
    segment_unref(seg);
    assert_int_equal(log_fixture_count_files(&f, ".deleted"), 0);
}

static void a_file_cut_from_outside_is_an_error(void **state)
{
    struct log_extent extent;
    char command[160];

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    for (int i = 0; i < 6; i++) {
        assert_int_equal(log_roll(f.log, &f.e), 0);
        log_fixture_append(&f, "one\n");
    }
    snprintf(command, sizeof command, "truncate -s 64 %s/t-0/%020d.batches", f.path, 0);
    assert_int_equal(system(command), 0);
    assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 10, &extent, &f.e), -EIO);
    snprintf(command, sizeof command, "rm %s/t-0/%020d.index", f.path, 1);
    assert_int_equal(system(command), 0);
    assert_int_equal(log_extent_at(f.log, 4, INT64_MAX, 10, &extent, &f.e), -EIO);
}

/* ---- the cache ---- */

enum { THREADS = 4, ROUNDS = 300, SEGMENTS = 12 };

static void *read_about(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < ROUNDS; i++) {
        int64_t n = rand_r(&seed) % SEGMENTS;
        struct log_extent extent;
        char buf[8];

        assert_int_equal(log_extent_at(f.log, 8 * n, INT64_MAX, 8, &extent, NULL), 1);
        /* What was deleted meanwhile is a hole: the next one that exists is shown. */
        n = extent.position / 8;
        assert_int_equal(io_posix()->pread(io_posix(), extent.fd, buf, 8, extent.place), 8);
        assert_int_equal(buf[0], 'a' + n);
        log_extent_release(&extent);
    }
    return NULL;
}

static void *append_and_flush(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS / 3; i++) {
        log_fixture_append(&f, "zzzzzzz\n");
        if (i % 10 == 0) {
            assert_int_equal(log_roll(f.log, NULL), 0);
        }
        if (i % 25 == 0) {
            assert_int_equal(log_flush_all(f.log), 0);
        }
        if (i % 33 == 0) {
            assert_int_equal(log_delete_records(f.log, (struct log_point){i / 33, 8 * (i / 33)}, NULL), 0);
        }
    }
    return NULL;
}

static void many_threads_share_few_open_files(void **state)
{
    pthread_t threads[THREADS + 1];
    char line[] = "a......\n";

    (void)state;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < SEGMENTS; i++) {
        line[0] = (char)('a' + i);
        log_fixture_append(&f, line);
        assert_int_equal(log_roll(f.log, &f.e), 0);
    }
    log_fixture_reopen(&f, true);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_about, (void *)(uintptr_t)(i + 1)), 0);
    }
    assert_int_equal(pthread_create(&threads[THREADS], NULL, append_and_flush, NULL), 0);
    for (int i = 0; i <= THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(log_offline(f.log), 0);
    log_fixture_append(&f, "end....\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    assert_true(segment_cache_open(f.env.cache) <= 4);
}

static void the_bound_is_over_all_logs(void **state)
{
    struct log_known known = {0};
    struct log *logs[10];
    char name[16];

    (void)state;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "u-%d", i);
        assert_int_equal(log_open(&f.env, name, &f.config, &known, &logs[i], NULL, &f.e), 0);
        assert_true(segment_cache_open(f.env.cache) <= 4);
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(log_close(logs[i], &f.e), 0);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_kafkas),
        cmocka_unit_test(names_are_read_back),
        TEST(pins_count),
        TEST(a_deleted_segment_is_not_opened_again),
        TEST(a_file_cut_from_outside_is_an_error),
        TEST(many_threads_share_few_open_files),
        TEST(the_bound_is_over_all_logs),
    };

    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
