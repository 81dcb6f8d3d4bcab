/* The scrub: it reads all of the closed segments in steps of the size asked for, starts over, tells damage once and
 * goes on behind it. */
#include "engine/log/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/record/batch.h"
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

/* Three closed segments of five batches of 10 bytes, and an active one of one batch. */
static void open_with_segments(void)
{
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 16; i++) {
        log_fixture_append(&f, "123456789\n");
        if (i % 5 == 4) {
            assert_int_equal(log_roll(f.log, &f.e), 0);
        }
    }
    assert_int_equal(log_fixture_segments(&f), 4);
}

static void an_active_segment_is_left_alone(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    assert_int_equal(log_scrub(f.log, 1000, &f.e), 0);
    log_fixture_append(&f, "a\n");
    assert_int_equal(log_scrub(f.log, 1000, &f.e), 0);
}

static void everything_closed_is_read_and_read_again(void **state)
{
    (void)state;
    open_with_segments();
    for (int round = 0; round < 3; round++) {
        /* 25 bytes: two whole batches and, as one fits always, a third one's start is not split. */
        int64_t sum = 0;

        while (sum < 150) {
            int64_t bytes = log_scrub(f.log, 25, &f.e);

            assert_true(bytes > 0 && bytes <= 30);
            sum += bytes;
        }
        assert_int_equal(sum, 150);
    }
    assert_int_equal(log_scrub(f.log, 1000, &f.e), 150);
    assert_int_equal(log_scrub(f.log, 1000, &f.e), 150);
    assert_int_equal(f.reports, 0);
}

static void one_batch_at_least_is_read(void **state)
{
    (void)state;
    open_with_segments();
    for (int i = 0; i < 40; i++) {
        assert_int_equal(log_scrub(f.log, 1, &f.e), 10);
    }
}

static void rotten_bytes_are_told_once_and_passed_by(void **state)
{
    int64_t sum = 0;
    int bad = 0;

    (void)state;
    open_with_segments();
    log_fixture_reopen(&f, true);
    log_fixture_damage(&f, 5, SEGMENT_LOG, 23);
    for (int i = 0; i < 15; i++) {
        int64_t bytes = log_scrub(f.log, 1, &f.e);

        if (bytes < 0) {
            assert_int_equal(bytes, -EBADMSG);
            bad++;
        } else {
            sum += bytes;
        }
    }
    assert_int_equal(bad, 1);
    assert_int_equal(sum, 140);
    assert_int_equal(f.reports, 1);
    assert_non_null(strstr(f.report, "00000000000000000005.log"));
    assert_int_equal(log_offline(f.log), 0);
    /* Another round meets it again, and says so to its caller alone. */
    for (int i = 0; i < 15; i++) {
        bad += log_scrub(f.log, 1, &f.e) == -EBADMSG;
    }
    assert_int_equal(bad, 2);
    assert_int_equal(f.reports, 1);
}

static void a_rotten_entry_is_told(void **state)
{
    int64_t sum = 0;
    int bad = 0;

    (void)state;
    open_with_segments();
    log_fixture_reopen(&f, true);
    log_fixture_damage(&f, 5, SEGMENT_BATCHES, BATCH_HEADER_BYTES + 3 * BATCH_ENTRY_BYTES + 1);
    for (int i = 0; i < 15; i++) {
        int64_t bytes = log_scrub(f.log, 1, &f.e);

        if (bytes < 0) {
            assert_int_equal(bytes, -EBADMSG);
            bad++;
        } else {
            sum += bytes;
        }
    }
    assert_true(bad > 0);
    assert_true(sum >= 100);
    assert_int_equal(f.reports, 1);
}

static void goes_on_where_segments_were_deleted(void **state)
{
    (void)state;
    open_with_segments();
    assert_int_equal(log_scrub(f.log, 10, &f.e), 10);
    assert_int_equal(log_delete_records(f.log, (struct log_point){10, 100}, &f.e), 0);
    assert_int_equal(log_scrub(f.log, 1000, &f.e), 50);
    assert_int_equal(log_scrub(f.log, 1000, &f.e), 50);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_active_segment_is_left_alone), TEST(everything_closed_is_read_and_read_again),
        TEST(one_batch_at_least_is_read),      TEST(rotten_bytes_are_told_once_and_passed_by),
        TEST(a_rotten_entry_is_told),          TEST(goes_on_where_segments_were_deleted),
    };

    return cmocka_run_group_tests_name("scrub", tests, NULL, NULL);
}
