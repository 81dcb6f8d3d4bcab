/* A log that begins anew, at any point: nothing of the old one is ever seen again, nor counts for the new one. */
#include "tests/unit/cut_log.h"

static void expect_reset(int64_t offset, int64_t position)
{
    follow();
    if (log_reset(f.log, follower_epoch, (struct log_point){offset, position}, -1, &f.e) != 0) {
        fail_msg("%s", f.e.text);
    }
}

static void it_begins_anew_anywhere(void **state)
{
    static const int64_t points[] = {0, 5, 12, 40, INT64_C(6000000000)};

    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        int64_t to = points[i];

        for (int rolled = 0; rolled < 2; rolled++) {
            fresh_log();
            f.config.segment_bytes = rolled != 0 ? 40 : 1 << 20;
            log_set_config(f.log, &f.config);
            append_records(0, 12, 1, "old");
            assert_int_equal(log_flush_all(f.log), 0);
            assert_int_equal(log_delete_records(f.log, (struct log_point){3, 30}, &f.e), 0);
            expect_reset(to, to * 10);
            for (int again = 0; again < 3; again++) {
                assert_int_equal(log_start(f.log).offset, to);
                expect_end(to, to * 10);
                expect_bytes("");
                assert_int_equal(log_fixture_segments(&f), 1);
                assert_int_equal(log_latest_epoch(f.log) <= 0, 1);
                assert_int_equal(log_close(f.log, &f.e), 0);
                /* By checkpoints from before it. */
                log_fixture_open(&f, &(struct log_known){.recovery_point = 12, .start = {3, 30}});
            }
            assert_int_equal(log_fixture_append(&f, "new\n").base.offset, to);
            reopen_by(false, 12, 0);
            expect_bytes("new\n");
            expect_end(to + 1, to * 10 + 4);
        }
    }
}

/* What a crash leaves of the old one was never flushed, as far as any checkpoint knows, but starts where it did: also
 * where the new one begins behind all of it. */
static void no_figure_of_the_old_log_counts_for_the_new(void **state)
{
    uint32_t cuts = log_cuts(f.log);

    (void)state;
    append_records(0, 12, 1, "old");
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_delete_records(f.log, (struct log_point){3, 30}, &f.e), 0);
    expect_reset(40, 400);
    assert_int_equal(log_clip(f.log, cuts, (struct log_point){12, 120}).offset, 3);
    assert_int_equal(log_clip(f.log, log_cuts(f.log), (struct log_point){40, 400}).offset, 40);
}

static void expect_last_append(int64_t want_ms)
{
    assert_int_equal(log_last_append_ms(f.log), want_ms);
    log_fixture_reopen(&f, true);
    assert_int_equal(log_last_append_ms(f.log), want_ms);
    log_fixture_reopen(&f, false);
    assert_int_equal(log_last_append_ms(f.log), want_ms);
}

/* The clock of these tests is another one than that of the files. */
static void the_last_append_is_known_when_no_record_is_left(void **state)
{
    (void)state;
    append_records(0, 12, 1, "old");
    expect_truncate(5, 50);
    expect_last_append(f.now_ms - 7000);
    append_records(5, 7, 1, "new");
    expect_truncate(0, 0);
    expect_last_append(f.now_ms);
    append_records(0, 3, 1, "new");
    expect_last_append(f.now_ms);
    expect_reset(40, 400);
    expect_last_append(f.now_ms);
    /* A follower that begins where its leader does knows it of that one. */
    follow();
    assert_int_equal(log_reset(f.log, follower_epoch, (struct log_point){50, 500}, INT64_C(123456789000), &f.e), 0);
    expect_last_append(INT64_C(123456789000));
}

static void a_reset_is_a_followers(void **state)
{
    struct log_point to = {5, 50};

    (void)state;
    append_records(0, 12, 1, "old");
    assert_int_equal(log_reset(f.log, f.epoch, to, -1, &f.e), -ESTALE);
    follow();
    assert_int_equal(log_reset(f.log, follower_epoch + 1, to, -1, &f.e), -ESTALE);
    assert_int_equal(log_reset(f.log, follower_epoch, (struct log_point){-1, 0}, -1, &f.e), -EINVAL);
    expect_records(0, 12, 12);
}

/* What is to go may have gone already, by whatever hand. */
static void a_file_that_is_gone_is_no_failure(void **state)
{
    (void)state;
    for (int kind = 0; kind < SEGMENT_FILES; kind++) {
        for (int64_t base = 0; base < 12; base += 4) { /* the first one, one in the middle, the active one */
            fresh_log();
            f.config.segment_bytes = 40;
            log_set_config(f.log, &f.config);
            append_records(0, 12, 1, "old");
            assert_int_equal(log_fixture_segments(&f), 3);
            log_fixture_unlink(&f, base, (enum segment_file)kind);
            expect_reset(40, 400);
            assert_int_equal(log_offline(f.log), 0);
            assert_int_equal(log_fixture_count_files(&f, ".log"), 1);
            assert_int_equal(log_fixture_count_files(&f, ".truncated"), 0);
            assert_int_equal(log_fixture_append(&f, "new\n").base.offset, 40);
            reopen_by(false, 12, 0);
            expect_bytes("new\n");
        }
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_begins_anew_anywhere),
        TEST(no_figure_of_the_old_log_counts_for_the_new),
        TEST(the_last_append_is_known_when_no_record_is_left),
        TEST(a_reset_is_a_followers),
        TEST(a_file_that_is_gone_is_no_failure),
    };

    return cmocka_run_group_tests_name("log_reset", tests, NULL, NULL);
}
