/* tests/unit/test_recover_flushed.c: above the recovery point, too, what was flushed is told from a torn tail, by what
 * was appended behind it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/crc32c.h"
#include "engine/log/log_internal.h"
#include "tests/unit/faulty_log.h"

static int setup(void **state)
{
    (void)state;
    faulty_log_init();
    return 0;
}

static void close_log(void)
{
    assert_int_equal(log_close(f.log, &f.e), 0);
    f.log = NULL;
}

/* As a crash leaves it, no recovery point having been written down. */
static int try_open(void)
{
    struct log_known known = {.recovery_point = 0};

    f.e.text[0] = '\0';
    return log_open(&f.env, "t-0", &f.config, &known, &f.log, NULL, &f.e);
}

static void expect_corrupt(void)
{
    assert_int_equal(try_open(), -EBADMSG);
    assert_non_null(strstr(f.e.text, "was on the disk"));
    assert_int_equal(log_offline(f.log), -EBADMSG);
    close_log();
}

static void expect_cut(const char *want, int64_t end_offset)
{
    size_t len;
    char *got;

    if (try_open() != 0) {
        fail_msg("%s", f.e.text);
    }
    got = log_fixture_read(&f, &len);
    assert_string_equal(got, want);
    free(got);
    assert_int_equal(log_end(f.log).offset, end_offset);
    close_log();
}

static void what_was_flushed_is_not_cut(void **state)
{
    static const struct {
        enum segment_file kind;
        int64_t at;
    } damage[] = {{SEGMENT_LOG, 3}, {SEGMENT_LOG, 15}, {SEGMENT_BATCHES, 64 + 10}, {SEGMENT_BATCHES, 64 + 64 + 10}};

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "line 00\n");
    log_fixture_append(&f, "line 01\n");
    assert_int_equal(log_flush_all(f.log), 0);
    log_fixture_append(&f, "line 02\n");
    log_fixture_append(&f, "line 03\n");
    close_log();
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        log_fixture_damage(&f, 0, damage[i].kind, damage[i].at);
        expect_corrupt();
        log_fixture_damage(&f, 0, damage[i].kind, damage[i].at);
    }
    log_fixture_damage(&f, 0, SEGMENT_LOG, 17);
    expect_cut("line 00\nline 01\n", 2);
}

static void what_was_flushed_before_a_roll_is_not_cut(void **state)
{
    char path[160];

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "line 00\n");
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_roll(f.log, &f.e), 0);
    log_fixture_append(&f, "line 01\n");
    close_log();
    log_fixture_damage(&f, 0, SEGMENT_LOG, 3);
    expect_corrupt();
    log_fixture_damage(&f, 0, SEGMENT_LOG, 3);
    snprintf(path, sizeof path, "%s/t-0/00000000000000000000.batches", f.path);
    assert_int_equal(truncate(path, BATCH_HEADER_BYTES), 0);
    expect_corrupt();
}

static void a_header_that_was_never_flushed_goes_with_its_segment(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "line 00\n");
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_roll(f.log, &f.e), 0);
    log_fixture_append(&f, "line 01\n");
    log_fixture_append(&f, "line 02\n");
    close_log();
    log_fixture_damage(&f, 1, SEGMENT_BATCHES, 20);
    expect_cut("line 00\n", 1);
}

/* As from a leader that had flushed it: that is not said to a follower. */
static void what_a_follower_has_not_flushed_is_cut(void **state)
{
    enum { COPIES = 3 };
    struct log_copy copies[COPIES];
    struct log_append_result at;

    (void)state;
    log_fixture_open(&f, NULL);
    assert_int_equal(log_follow(f.log, f.epoch + 1, &f.e), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COPIES; i++) {
            int64_t offset = round * COPIES + i;

            copies[i] = (struct log_copy){.base = {offset, 8 * offset},
                                          .entry = {.len = 8,
                                                    .records = 1,
                                                    .leader_epoch = f.epoch,
                                                    .producer_id = -1,
                                                    .producer_epoch = -1,
                                                    .sequence = -1,
                                                    .crc = crc32c(0, "line 00\n", 8)},
                                          .bytes = "line 00\n"};
        }
        assert_int_equal(log_append_copy(f.log, f.epoch + 1, copies, COPIES, &at, &f.e), COPIES);
        if (round == 0) {
            assert_int_equal(log_flush_all(f.log), 0);
        }
    }
    close_log();
    log_fixture_damage(&f, 0, SEGMENT_LOG, 17);
    expect_corrupt();
    log_fixture_damage(&f, 0, SEGMENT_LOG, 17);
    log_fixture_damage(&f, 0, SEGMENT_LOG, 33);
    expect_cut("line 00\nline 00\nline 00\nline 00\n", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_flushed_is_not_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_flushed_before_a_roll_is_not_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(a_header_that_was_never_flushed_goes_with_its_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_follower_has_not_flushed_is_cut, setup, teardown),
    };
    return cmocka_run_group_tests_name("recover_flushed", tests, NULL, NULL);
}
