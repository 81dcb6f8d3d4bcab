/* A log knows its producers: while it runs, after a stop, after a crash, after a cut; and takes no batch twice. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/crc32c.h"
#include "tests/unit/faulty_log.h"

static int setup(void **state)
{
    (void)state;
    faulty_log_init();
    log_fixture_open(&f, NULL);
    return 0;
}

static struct append_batch batch_of(int64_t id, int16_t epoch, int32_t sequence, struct iovec *iov)
{
    *iov = (struct iovec){(void *)(uintptr_t) "123456789\n", 10};
    return (struct append_batch){.iov = iov,
                                 .iovcnt = 1,
                                 .len = 10,
                                 .records = 1,
                                 .crc = crc32c(0, iov->iov_base, 10),
                                 .first_timestamp_ms = f.now_ms,
                                 .last_timestamp_ms = f.now_ms,
                                 .producer_id = id,
                                 .producer_epoch = epoch,
                                 .sequence = sequence};
}

static int append(int64_t id, int16_t epoch, int32_t sequence)
{
    struct iovec iov;
    struct append_batch batch = batch_of(id, epoch, sequence, &iov);
    struct log_append_result result;

    batch.gap = sequence == 0 ? BATCH_GAP_ALL : 0;
    log_fixture_lead(&f);
    return log_append(f.log, &batch, f.epoch, &result, &f.e);
}

static void append_all(int64_t id, int32_t from, int32_t to)
{
    for (; from < to; from++) {
        assert_int_equal(append(id, 0, from), 0);
    }
}

static void expect(int64_t id, int32_t last_sequence, int64_t last_offset)
{
    struct producer_state known;

    assert_int_equal(log_producer(f.log, id, 0, last_sequence + 1, &known), PRODUCER_NEXT);
    assert_int_equal(log_producer(f.log, id, 0, last_sequence, &known), PRODUCER_DUPLICATE);
    assert_int_equal(known.last_sequence, last_sequence);
    assert_int_equal(known.last_offset, last_offset);
}

static void expect_unknown(int64_t id)
{
    struct producer_state known;

    assert_int_equal(log_producer(f.log, id, 0, 0, &known), PRODUCER_UNKNOWN);
}

static void no_batch_is_taken_twice(void **state)
{
    struct iovec iov;
    struct append_batch batch;
    struct log_append_result result;

    (void)state;
    append_all(7, 0, 3);
    assert_int_equal(append(7, 0, 2), 1);
    assert_int_equal(append(7, 0, 0), 1);
    assert_int_equal(append(7, 0, 4), -EILSEQ);
    assert_int_equal(log_end(f.log).offset, 3);
    batch = batch_of(7, 0, 5, &iov);
    batch.gap = 1; /* 4 will not come, but nobody says so of 3 */
    assert_int_equal(log_append(f.log, &batch, f.epoch, &result, &f.e), -EILSEQ);
    batch.sequence = 4;
    assert_int_equal(log_append(f.log, &batch, f.epoch, &result, &f.e), 0);
    assert_int_equal(append(7, 0, 3), 1);
    assert_int_equal(append(7, 1, 0), 0);
    assert_int_equal(append(7, 0, 5), -EACCES);
    /* Of whom nothing is known: what comes before it may be on its way. */
    assert_int_equal(append(8, 5, 1234), -EILSEQ);
    batch = batch_of(8, 5, 1234, &iov);
    batch.gap = BATCH_GAP_ALL;
    assert_int_equal(log_append(f.log, &batch, f.epoch, &result, &f.e), 0);
    assert_int_equal(append(8, 5, 1234), 1);
    assert_int_equal(append(-1, -1, -1), 0); /* without a producer */
    assert_int_equal(append(-1, -1, -1), 0);
    assert_int_equal(log_end(f.log).offset, 8);
    assert_int_equal(log_offline(f.log), 0);
}

static void what_a_full_disk_refused_is_not_known(void **state)
{
    (void)state;
    append_all(7, 0, 2);
    faulty_io_arm(&faulty, FAULTY_PWRITEV, 2, -ENOSPC);
    assert_int_equal(append(7, 0, 2), -ENOSPC);
    faulty_io_disarm(&faulty);
    expect(7, 1, 1);
    append_all(7, 2, 4);
    expect(7, 3, 3);
}

static void they_are_known_after_any_stop(void **state)
{
    (void)state;
    for (int small = 0; small < 2; small++) {
        f.config.segment_bytes = small != 0 ? 50 : 1 << 20;
        log_set_config(f.log, &f.config);
        append_all(10 + small, 0, 17);
        append_all(20 + small, 0, 3);
        append_all(10 + small, 17, 18);
        for (int again = 0; again < 4; again++) {
            log_fixture_reopen(&f, again % 2 == 0);
            expect(10 + small, 17, 20 + 21 * small);
            expect(20 + small, 2, 19 + 21 * small);
        }
    }
    expect(10, 17, 20);
    expect(20, 2, 19);
}

static void remove_files(const char *suffix)
{
    char command[128];

    snprintf(command, sizeof command, "rm -f %s/t-0/*%s", f.path, suffix);
    assert_int_equal(system(command), 0);
}

/* What the files should say can be had from the entries, too; a damaged one is done without. */
static void without_their_files(void **state)
{
    char command[160];

    (void)state;
    f.config.segment_bytes = 50;
    log_set_config(f.log, &f.config);
    append_all(7, 0, 12);
    append_all(9, 0, 12);
    assert_true(log_fixture_count_files(&f, ".producers") > 0);
    assert_int_equal(log_close(f.log, &f.e), 0);
    snprintf(command, sizeof command, "for p in %s/t-0/*.producers; do truncate -s 40 $p; done", f.path);
    assert_int_equal(system(command), 0);
    log_fixture_open(&f, &(struct log_known){0});
    expect(7, 11, 11);
    expect(9, 11, 23);
    assert_int_equal(log_close(f.log, &f.e), 0);
    remove_files(".producers");
    log_fixture_open(&f, &(struct log_known){.clean_shutdown = true});
    expect(7, 11, 11);
    expect(9, 11, 23);
}

/* A log without any is not looked through, and has no such files. */
static void a_log_without_producers_has_no_files(void **state)
{
    int reads;

    (void)state;
    f.config.segment_bytes = 50;
    log_set_config(f.log, &f.config);
    for (int i = 0; i < 40; i++) {
        log_fixture_append(&f, "line\n");
    }
    log_fixture_reopen(&f, true);
    assert_int_equal(log_fixture_count_files(&f, ".producers"), 0);
    append_all(7, 0, 1);
    log_fixture_reopen(&f, true);
    assert_int_equal(log_fixture_count_files(&f, ".producers"), 1);
    reads = 0;
    (void)reads;
    expect(7, 0, 40);
}

static void retention_takes_their_files(void **state)
{
    (void)state;
    f.config.segment_bytes = 50;
    log_set_config(f.log, &f.config);
    append_all(7, 0, 40);
    assert_int_equal(log_fixture_count_files(&f, ".producers"), 7);
    assert_int_equal(log_delete_records(f.log, (struct log_point){33, 330}, &f.e), 0);
    assert_int_equal(log_fixture_count_files(&f, ".producers"), 2);
    log_fixture_reopen(&f, false);
    expect(7, 39, 39);
    assert_int_equal(log_fixture_count_files(&f, ".producers"), 3); /* and of the stop's own */
}

static void a_cut_takes_back_what_it_takes(void **state)
{
    (void)state;
    for (int small = 0; small < 2; small++) {
        for (int64_t to = 0; to <= 24; to++) {
            teardown(state);
            setup(state);
            f.config.segment_bytes = small != 0 ? 50 : 1 << 20;
            log_set_config(f.log, &f.config);
            append_all(7, 0, 12); /* 0 to 11 */
            append_all(9, 0, 12); /* 12 to 23 */
            assert_int_equal(log_flush_all(f.log), 0);
            assert_int_equal(log_follow(f.log, 5, &f.e), 0);
            assert_int_equal(log_truncate(f.log, 5, (struct log_point){to, to * 10}, &f.e), 0);
            for (int again = 0; again < 3; again++) {
                int64_t first = to < 12 ? to : 12, second = to - 12;

                if (first > 0) {
                    expect(7, (int32_t)first - 1, first - 1);
                } else {
                    expect_unknown(7);
                }
                if (second > 0) {
                    expect(9, (int32_t)second - 1, to - 1);
                } else {
                    expect_unknown(9);
                }
                log_fixture_reopen(&f, again == 0);
            }
            /* Others come in their place; what was known of the old ones at those offsets is not seen again. */
            append_all(11, 0, 30);
            log_fixture_reopen(&f, false);
            expect(11, 29, to + 29);
            if (to <= 12) {
                expect_unknown(9);
            }
        }
    }
}

static void a_reset_forgets_all(void **state)
{
    (void)state;
    f.config.segment_bytes = 50;
    log_set_config(f.log, &f.config);
    append_all(7, 0, 12);
    assert_int_equal(log_follow(f.log, 5, &f.e), 0);
    assert_int_equal(log_reset(f.log, 5, (struct log_point){10, 100}, -1, &f.e), 0);
    expect_unknown(7);
    assert_int_equal(log_fixture_count_files(&f, ".producers"), 0);
    log_fixture_reopen(&f, false);
    expect_unknown(7);
    append_all(7, 0, 1);
    expect(7, 0, 10);
}

/* ---- a cut for which there is no descriptor, no memory or no room ---- */

static const int passing[] = {-EMFILE, -ENOMEM, -ENOSPC};
static const enum faulty_call refused[] = {FAULTY_OPEN,    FAULTY_REOPEN, FAULTY_LIST,  FAULTY_MAP,
                                           FAULTY_PWRITEV, FAULTY_RENAME, FAULTY_UNLINK};

/* Segments of five records each, most of them closed: 0 to 11 are producer 7's, 12 to 23 producer 9's. */
static void two_producers(void **state)
{
    teardown(state);
    setup(state);
    f.config.segment_bytes = 50;
    log_set_config(f.log, &f.config);
    append_all(7, 0, 12);
    append_all(9, 0, 12);
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_follow(f.log, 5, &f.e), 0);
}

/* From the nth call of a kind on each one fails, until it is disarmed. */
static void arm_all(enum faulty_call kind, int n, int rc)
{
    faulty_io_arm(&faulty, kind, n, rc);
    faulty.sticky = true;
}

/* While it lasts this node comes to lead, and what is in the log is sent again. */
static void expect_not_taken(int64_t id, int32_t sequence)
{
    struct iovec iov;
    struct append_batch batch = batch_of(id, 0, sequence, &iov);
    struct log_append_result result;
    int64_t end = log_end(f.log).offset;
    int rc = log_lead(f.log, 6, &f.e);

    batch.gap = BATCH_GAP_ALL; /* as of a sender who knows that nothing before it will come */
    if (rc == 0) {
        rc = log_append(f.log, &batch, 6, &result, &f.e);
    }
    assert_true(rc == 1 || err_is_passing(rc));
    assert_int_equal(log_end(f.log).offset, end);
    assert_int_equal(log_offline(f.log), 0);
}

/* Each call in turn: false when none was left to be refused. */
static bool cut_refused(void **state, enum faulty_call kind, int n, int why)
{
    int rc, before;

    two_producers(state);
    before = faulty.calls[kind];
    arm_all(kind, n, why);
    rc = log_truncate(f.log, 5, (struct log_point){18, 180}, &f.e);
    assert_true(rc == 0 || rc == why);
    assert_int_equal(log_offline(f.log), 0);
    assert_true(log_end(f.log).offset == 18 || (rc != 0 && log_end(f.log).offset == 24));
    expect_not_taken(9, 5);
    bool hit = faulty.calls[kind] - before >= n;

    faulty_io_disarm(&faulty);
    if (rc != 0) {
        assert_int_equal(log_follow(f.log, 7, &f.e), 0);
        assert_int_equal(log_truncate(f.log, 7, (struct log_point){18, 180}, &f.e), 0);
    }
    assert_int_equal(append(9, 0, 5), 1);
    assert_int_equal(append(9, 0, 6), 0); /* what went is not known */
    expect(7, 11, 11);
    expect(9, 6, 18);
    log_fixture_reopen(&f, n % 2 == 0);
    expect(7, 11, 11);
    expect(9, 6, 18);
    assert_int_equal(log_end(f.log).offset, 19);
    return hit;
}

static void a_cut_without_descriptors_or_memory_knows_what_is_left(void **state)
{
    for (size_t k = 0; k < sizeof refused / sizeof refused[0]; k++) {
        for (size_t w = 0; w < sizeof passing / sizeof passing[0]; w++) {
            int n = 1;

            while (cut_refused(state, refused[k], n, passing[w])) {
                n++;
            }
        }
    }
}

static bool reset_refused(void **state, enum faulty_call kind, int n, int why)
{
    int rc, before;

    two_producers(state);
    before = faulty.calls[kind];
    arm_all(kind, n, why);
    /* Where a file says what was known. */
    rc = log_reset(f.log, 5, (struct log_point){15, 150}, -1, &f.e);
    assert_true(rc == 0 || rc == why);
    assert_int_equal(log_offline(f.log), 0);
    if (log_end(f.log).offset == 24) {
        expect_not_taken(9, 5);
    }
    bool hit = faulty.calls[kind] - before >= n;

    faulty_io_disarm(&faulty);
    if (rc != 0) {
        assert_int_equal(log_follow(f.log, 7, &f.e), 0);
        assert_int_equal(log_reset(f.log, 7, (struct log_point){15, 150}, -1, &f.e), 0);
    }
    assert_int_equal(append(7, 0, 0), 0);
    expect(7, 0, 15);
    expect_unknown(9);
    log_fixture_reopen(&f, n % 2 == 0);
    expect(7, 0, 15);
    expect_unknown(9);
    return hit;
}

static void a_reset_without_descriptors_or_memory_forgets_all(void **state)
{
    for (size_t k = 0; k < sizeof refused / sizeof refused[0]; k++) {
        for (size_t w = 0; w < sizeof passing / sizeof passing[0]; w++) {
            int n = 1;

            while (reset_refused(state, refused[k], n, passing[w])) {
                n++;
            }
        }
    }
}

/* What is left is not known yet: nobody makes the log longer, or writes down what is known. */
static void nothing_comes_behind_a_cut_that_is_not_finished(void **state)
{
    struct log_copy copy = {.base = {18, 180}, .bytes = "123456789\n"};
    struct log_append_result result;

    copy.entry = (struct batch_entry){.len = 10,
                                      .records = 1,
                                      .leader_epoch = 5,
                                      .producer_id = 9,
                                      .sequence = 6,
                                      .crc = crc32c(0, "123456789\n", 10)};
    for (int stops = 0; stops < 2; stops++) {
        two_producers(state);
        arm_all(FAULTY_LIST, 1, -EMFILE);
        assert_int_equal(log_truncate(f.log, 5, (struct log_point){18, 180}, &f.e), -EMFILE);
        assert_int_equal(log_end(f.log).offset, 18);
        assert_int_equal(log_append_copy(f.log, 5, &copy, 1, &result, &f.e), -EMFILE);
        assert_int_equal(log_skip(f.log, 5, (struct log_point){19, 190}, &f.e), -EMFILE);
        assert_int_equal(log_roll(f.log, &f.e), -EMFILE);
        assert_int_equal(log_truncate(f.log, 5, (struct log_point){18, 180}, &f.e), -EMFILE);
        assert_int_equal(log_end(f.log).offset, 18);
        assert_int_equal(log_offline(f.log), 0);
        if (stops != 0) {
            assert_int_equal(log_close(f.log, &f.e), -EMFILE); /* no clean stop: a start looks for what is left */
            f.log = NULL;
            faulty_io_disarm(&faulty);
            log_fixture_open(&f, NULL);
            expect(9, 5, 17);
            assert_int_equal(log_follow(f.log, 8, &f.e), 0);
            copy.entry.leader_epoch = 7;
            assert_int_equal(log_append_copy(f.log, 8, &copy, 1, &result, &f.e), 1);
        } else {
            faulty_io_disarm(&faulty);
            assert_int_equal(log_append_copy(f.log, 5, &copy, 1, &result, &f.e), 1);
        }
        expect(7, 11, 11);
        expect(9, 6, 18);
        log_fixture_reopen(&f, false);
        expect(9, 6, 18);
    }
}

static void followers_know_them_too(void **state)
{
    struct log_copy copies[3];
    struct log_append_result result;

    (void)state;
    assert_int_equal(log_follow(f.log, 5, &f.e), 0);
    for (int i = 0; i < 3; i++) {
        copies[i] = (struct log_copy){.base = {20 * i, 200 * i}, .bytes = "123456789\n"};
        copies[i].entry = (struct batch_entry){.len = 10,
                                               .records = 1,
                                               .leader_epoch = 1,
                                               .producer_id = 7 + i / 2,
                                               .sequence = 40 + i,
                                               .crc = crc32c(0, "123456789\n", 10)};
    }
    for (uint32_t done = 0; done < 3;) {
        int rc = log_append_copy(f.log, 5, copies + done, 3 - done, &result, &f.e);

        assert_true(rc > 0);
        done += (uint32_t)rc;
    }
    expect(7, 41, 20);
    expect(8, 42, 40);
    log_fixture_reopen(&f, false);
    expect(7, 41, 20);
    expect(8, 42, 40);
}

enum { DAY_MS = 86400000 }; /* producer.id.expiration.ms */

/* No batch is taken twice within a day of the last one, whatever senders' clocks say; after it, of an id that
 * has said nothing, the next one is taken as a stranger's is. */
static void who_is_silent_for_a_day_is_a_stranger(void **state)
{
    struct iovec iov;
    struct append_batch batch;
    struct log_append_result result;

    (void)state;
    append_all(7, 0, 3);
    f.now_ms += DAY_MS / 2;
    append_all(8, 0, 1);
    batch = batch_of(8, 0, 1, &iov);
    batch.first_timestamp_ms = batch.last_timestamp_ms = f.now_ms + INT64_C(40) * DAY_MS;
    assert_int_equal(log_append(f.log, &batch, f.epoch, &result, &f.e), 0);
    batch = batch_of(9, 0, 0, &iov);
    batch.gap = BATCH_GAP_ALL;
    batch.first_timestamp_ms = batch.last_timestamp_ms = f.now_ms - INT64_C(40) * DAY_MS;
    assert_int_equal(log_append(f.log, &batch, f.epoch, &result, &f.e), 0);
    f.now_ms += DAY_MS / 2 - 1;
    assert_int_equal(append(9, 0, 0), 1);
    assert_int_equal(append(7, 0, 2), 1);
    expect(7, 2, 2);
    f.now_ms += 1; /* what was sent again is no batch of its */
    expect_unknown(7);
    expect(8, 1, 4);
    expect(9, 0, 5);
    assert_int_equal(append(7, 0, 4), -EILSEQ);
    batch = batch_of(7, 0, 4, &iov);
    batch.gap = BATCH_GAP_ALL;
    assert_int_equal(log_append(f.log, &batch, f.epoch, &result, &f.e), 0);
    expect(7, 4, 6);
    assert_int_equal(log_close(f.log, &f.e), 0);
    f.now_ms += DAY_MS;
    log_fixture_open(&f, NULL); /* from a start on it is counted anew: when the last batch came is not known there */
    expect(7, 4, 6);
    f.now_ms += DAY_MS;
    expect_unknown(7);
    expect_unknown(8);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_batch_is_taken_twice),
        TEST(what_a_full_disk_refused_is_not_known),
        TEST(they_are_known_after_any_stop),
        TEST(without_their_files),
        TEST(a_log_without_producers_has_no_files),
        TEST(retention_takes_their_files),
        TEST(a_cut_takes_back_what_it_takes),
        TEST(a_reset_forgets_all),
        TEST(a_cut_without_descriptors_or_memory_knows_what_is_left),
        TEST(a_reset_without_descriptors_or_memory_forgets_all),
        TEST(nothing_comes_behind_a_cut_that_is_not_finished),
        TEST(followers_know_them_too),
        TEST(who_is_silent_for_a_day_is_a_stranger),
    };

    return cmocka_run_group_tests_name("log_producers", tests, NULL, NULL);
}
