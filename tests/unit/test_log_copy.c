/* A follower's log: batches come with the offsets, positions and epochs they have elsewhere, with gaps where a leader
 * was compacted, and a call's batches are there all or not at all. */
#include <errno.h>
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
#include "engine/base/limits.h"
#include "tests/unit/faulty_log.h"

static int setup(void **state)
{
    (void)state;
    faulty_log_init();
    log_fixture_open(&f, NULL);
    return log_follow(f.log, 5, &f.e);
}

/* Lines, as a batch of somebody else's log. */
static struct log_copy copy_of(int64_t offset, int64_t position, int32_t epoch, const char *lines)
{
    struct log_copy copy = {.base = {offset, position}, .bytes = lines};

    copy.entry = (struct batch_entry){.len = (uint32_t)strlen(lines),
                                      .leader_epoch = epoch,
                                      .first_timestamp_ms = 1000 + offset % 1000000,
                                      .last_timestamp_ms = 1000 + offset % 1000000,
                                      .producer_id = -1,
                                      .producer_epoch = -1,
                                      .sequence = -1,
                                      .crc = crc32c(0, lines, strlen(lines))};
    for (const char *c = lines; *c != '\0'; c++) {
        copy.entry.records += *c == '\n';
    }
    return copy;
}

static int take(const struct log_copy *copies, uint32_t count)
{
    struct log_append_result result;

    return log_append_copy(f.log, 5, copies, count, &result, &f.e);
}

/* All of them, in as many calls as it takes. Returns the calls. */
static int take_all(const struct log_copy *copies, uint32_t count)
{
    int calls = 0;

    for (uint32_t done = 0; done < count; calls++) {
        int rc = take(copies + done, count - done);

        if (rc <= 0) {
            fail_msg("%d %s", rc, f.e.text);
        }
        done += (uint32_t)rc;
    }
    return calls;
}

static void expect_end(int64_t offset, int64_t position)
{
    assert_int_equal(log_end(f.log).offset, offset);
    assert_int_equal(log_end(f.log).position, position);
}

static void expect_bytes(const char *want)
{
    size_t len;
    char *got = log_fixture_read(&f, &len);

    assert_string_equal(got, want);
    free(got);
}

static void expect_offset(int64_t asked, int64_t offset, int64_t position)
{
    struct log_point got;

    assert_int_equal(log_lookup_offset(f.log, asked, log_end(f.log), &got, &f.e), 0);
    assert_int_equal(got.offset, offset);
    assert_int_equal(got.position, position);
}

static void expect_epoch_end(int32_t asked, int32_t epoch, int64_t offset, int64_t position)
{
    struct log_point end;
    int32_t found;

    log_epoch_end(f.log, asked, &found, &end);
    assert_int_equal(found, epoch);
    assert_int_equal(end.offset, offset);
    assert_int_equal(end.position, position);
}

/* Offsets 3, 4, 10, 20, 21 at 30, 34, 70, 140, 144: holes before the first, the second and the third batch. */
static void make_gaps(void)
{
    const struct log_copy copies[] = {copy_of(3, 30, 1, "3aa\n4aa\n"), copy_of(10, 70, 1, "10a\n"),
                                      copy_of(20, 140, 4, "20a\n21a\n")};

    take_all(copies, 3);
}

static void expect_gaps(void)
{
    struct log_point got;

    expect_end(22, 148);
    expect_bytes("3aa\n4aa\n10a\n20a\n21a\n");
    expect_offset(0, 3, 30);
    expect_offset(4, 4, 34);
    expect_offset(5, 10, 70);
    expect_offset(19, 20, 140);
    expect_offset(21, 21, 144);
    assert_int_equal(log_lookup_last(f.log, 3, log_end(f.log), &got, &f.e), 0);
    assert_int_equal(got.offset, 10);
    assert_int_equal(log_lookup_position(f.log, 100, log_end(f.log), &got, &f.e), 0);
    assert_int_equal(got.offset, 20);
    assert_int_equal(log_lookup_time(f.log, 1004, log_end(f.log), &got, &f.e), 0);
    assert_int_equal(got.offset, 10);
    expect_epoch_end(1, 1, 20, 140);
    expect_epoch_end(4, 4, 22, 148);
}

static void entries_are_what_they_were(void **state)
{
    struct log_copy copy = copy_of(0, 0, 2, "a\nb\n");
    struct log_run run;

    (void)state;
    copy.entry.first_timestamp_ms = 77;
    copy.entry.last_timestamp_ms = 99;
    copy.entry.producer_id = 4001;
    copy.entry.producer_epoch = 3;
    copy.entry.sequence = 17;
    copy.entry.attributes = BATCH_LOG_APPEND_TIME;
    assert_int_equal(take(&copy, 1), 1);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(log_run_at(f.log, 0, 4, &run, &f.e), 1);
        assert_int_equal(run.entry.len, 4);
        assert_int_equal(run.entry.records, 2);
        assert_int_equal(run.entry.leader_epoch, 2);
        assert_int_equal(run.entry.first_timestamp_ms, 77);
        assert_int_equal(run.entry.last_timestamp_ms, 99);
        assert_int_equal(run.entry.producer_id, 4001);
        assert_int_equal(run.entry.producer_epoch, 3);
        assert_int_equal(run.entry.sequence, 17);
        assert_int_equal(run.entry.attributes, BATCH_LOG_APPEND_TIME);
        assert_int_equal(run.entry.crc, copy.entry.crc);
        log_fixture_reopen(&f, again == 0);
    }
}

static void gaps_are_kept(void **state)
{
    (void)state;
    make_gaps();
    expect_gaps();
    log_fixture_reopen(&f, true);
    expect_gaps();
    log_fixture_reopen(&f, false);
    expect_gaps();
    /* In the same segment, and behind a roll; as a leader it goes on at the end. */
    assert_int_equal(log_roll(f.log, &f.e), 0);
    expect_gaps();
    assert_int_equal(log_fixture_append(&f, "mine\n").base.offset, 22);
    expect_bytes("3aa\n4aa\n10a\n20a\n21a\nmine\n");
}

/* What lies in the active segment without gaps is not read with a search: the gap begins another one. */
static void a_dense_segment_stays_dense(void **state)
{
    const struct log_copy copies[] = {copy_of(0, 0, 1, "0aa\n"), copy_of(1, 4, 1, "1aa\n"), copy_of(7, 44, 1, "7aa\n"),
                                      copy_of(9, 77, 1, "9aa\n")};

    (void)state;
    assert_int_equal(take_all(copies, 4), 3);
    assert_int_equal(log_fixture_segments(&f), 2);
    for (int again = 0; again < 3; again++) {
        expect_end(10, 81);
        expect_bytes("0aa\n1aa\n7aa\n9aa\n");
        expect_offset(2, 7, 44);
        log_fixture_reopen(&f, again == 0);
    }
}

/* More than 2^31 offsets, or positions, that are no more. */
static void a_gap_can_be_wide(void **state)
{
    const int64_t wide = INT64_C(5000000000);
    const struct log_copy copies[] = {copy_of(0, 0, 1, "0aa\n"), copy_of(wide, 7 * wide, 1, "far\n"),
                                      copy_of(wide + 10, 9 * wide, 2, "further\n")};

    (void)state;
    take_all(copies, 3);
    for (int again = 0; again < 3; again++) {
        expect_end(wide + 11, 9 * wide + 8);
        expect_bytes("0aa\nfar\nfurther\n");
        expect_offset(1, wide, 7 * wide);
        expect_offset(wide + 1, wide + 10, 9 * wide);
        log_fixture_reopen(&f, again == 0);
    }
}

static void batches_roll_segments(void **state)
{
    struct log_copy copies[200];
    char *want = calloc(1, 200 * 8 + 1);

    (void)state;
    f.config.segment_bytes = 100;
    log_set_config(f.log, &f.config);
    for (int i = 0; i < 200; i++) {
        char *line = want + strlen(want);

        snprintf(line, 9, "line%03u\n", (unsigned)i % 1000U);
        copies[i] = copy_of(i, i * 8, 1 + i / 70, strndup(line, 8));
    }
    /* Twelve go into a segment; 70 and 140, where epochs begin, are five and two calls more in the middle of one. */
    assert_int_equal(take_all(copies, 200), 17 + 2);
    assert_int_equal(log_fixture_segments(&f), 17);
    expect_bytes(want);
    log_fixture_reopen(&f, false);
    expect_bytes(want);
    expect_epoch_end(1, 1, 70, 560);
    expect_epoch_end(2, 2, 140, 1120);
    for (int i = 0; i < 200; i++) {
        expect_offset(i, i, i * 8);
        free((void *)(uintptr_t)copies[i].bytes);
    }
    free(want);
}

/* ---- what is refused ---- */

static void what_does_not_follow_is_refused(void **state)
{
    struct log_copy good = copy_of(0, 0, 3, "0aa\n1aa\n");
    struct log_copy wrong[] = {
        copy_of(1, 8, 3, "x\n"),                 /* within what is there */
        copy_of(2, 7, 3, "x\n"),                 /* at another position */
        copy_of(2, 9, 3, "x\n"),                 /* a hole in positions alone */
        copy_of(9, 14, 3, "x\n"),                /* seven records were in six bytes */
        copy_of(3, 8, 3, "x\n"),                 /* a hole in offsets alone */
        copy_of(2, 8, 2, "x\n"),                 /* an epoch that is over */
        copy_of(2, 8, 6, "x\n"),                 /* one that has not begun */
        copy_of(2, 8, 3, "x\n"),                 /* another CRC */
        copy_of(2, 8, 3, "x\n"),                 /* no records */
        copy_of(2, 8, 3, "x\n"),                 /* more records than bytes */
        copy_of(2, 8, 3, ""),                    /* no bytes */
        copy_of(INT64_MAX, INT64_MAX, 3, "x\n"), /* no end */
    };

    (void)state;
    wrong[7].entry.crc ^= 1;
    wrong[8].entry.records = 0;
    wrong[9].entry.records = 3;
    assert_int_equal(take(&good, 1), 1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct log_copy two[] = {copy_of(2, 8, 3, "2aa\n"), wrong[i]};

        if (take(&wrong[i], 1) != -EBADMSG) {
            fail_msg("wrong batch %zu is taken", i);
        }
        assert_true(strstr(f.e.text, "copy to t-0: the batch at offset") != NULL);
        expect_end(2, 8);
        (void)two;
    }
    assert_int_equal(log_offline(f.log), 0);
    expect_bytes("0aa\n1aa\n");
    assert_int_equal(log_latest_epoch(f.log), 3);
}

/* The first that is wrong ends what is taken. */
static void what_came_before_is_taken(void **state)
{
    struct log_copy copies[] = {copy_of(0, 0, 3, "0aa\n"), copy_of(1, 4, 3, "1aa\n"), copy_of(2, 8, 3, "2aa\n")};

    (void)state;
    copies[2].entry.crc ^= 1;
    assert_int_equal(take(copies, 3), 2);
    expect_end(2, 8);
    assert_int_equal(take(copies + 2, 1), -EBADMSG);
    expect_bytes("0aa\n1aa\n");
}

static void who_does_not_follow_takes_nothing(void **state)
{
    struct log_copy copy = copy_of(0, 0, 5, "0aa\n");
    struct log_append_result result;

    (void)state;
    assert_int_equal(log_append_copy(f.log, 4, &copy, 1, &result, &f.e), -ESTALE);
    assert_int_equal(log_append_copy(f.log, 6, &copy, 1, &result, &f.e), -ESTALE);
    assert_int_equal(log_lead(f.log, 7, &f.e), 0);
    assert_int_equal(log_append_copy(f.log, 7, &copy, 1, &result, &f.e), -ESTALE);
    assert_int_equal(log_append_copy(f.log, 5, &copy, 1, &result, &f.e), -ESTALE);
    expect_end(0, 0);
}

/* Each write in turn finds no room: nothing of the call is there, nor after a restart, and then it goes well. */
static void a_full_disk_takes_none(void **state)
{
    struct log_copy copies[8];
    char line[300];

    (void)state;
    f.config.index_interval_bytes = 100;
    log_set_config(f.log, &f.config);
    memset(line, 'x', sizeof line);
    memcpy(line + sizeof line - 2, "\n", 2);
    for (int i = 0; i < 8; i++) {
        copies[i] = copy_of(2 * i, 1000 * i, 5, line);
    }
    take_all(copies, 1);
    for (int n = 1;; n++) {
        int rc;

        faulty_io_arm(&faulty, FAULTY_PWRITEV, n, -ENOSPC);
        faulty.short_bytes = 10;
        rc = take(copies + 1, 7);
        faulty_io_disarm(&faulty);
        if (rc > 0) {
            /* The new segment and its flag stay from earlier tries: bytes, entries, and both indexes of each but the
             * first. */
            assert_int_equal(n, 2 + 2 * 6 + 1);
            assert_int_equal(rc, 7);
            break;
        }
        assert_int_equal(rc, -ENOSPC);
        expect_end(1, 299);
        expect_bytes(line);
        assert_int_equal(log_offline(f.log), 0);
    }
    expect_end(15, 7299);
    log_fixture_reopen(&f, false);
    expect_end(15, 7299);
    expect_offset(5, 6, 3000);
}

static void a_failed_write_is_the_end(void **state)
{
    struct log_copy copy = copy_of(0, 0, 5, "0aa\n");

    (void)state;
    faulty_io_arm(&faulty, FAULTY_PWRITEV, 2, -EIO);
    assert_int_equal(take(&copy, 1), -EIO);
    faulty_io_disarm(&faulty);
    assert_true(log_offline(f.log) != 0);
    assert_int_equal(take(&copy, 1), -EIO);
}

/* ---- holes at the end ---- */

static void the_end_can_be_moved_on(void **state)
{
    const struct log_point to = {100, 5000};

    (void)state;
    log_fixture_reopen(&f, true);
    log_fixture_append(&f, "mine\n");
    assert_int_equal(log_skip(f.log, 6, to, &f.e), -ESTALE);
    assert_int_equal(log_skip(f.log, f.epoch, (struct log_point){0, 5000}, &f.e), -EINVAL);
    assert_int_equal(log_skip(f.log, f.epoch, (struct log_point){100, 5}, &f.e), -EINVAL);
    assert_int_equal(log_skip(f.log, f.epoch, to, &f.e), 0);
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_recovery_point(f.log), 100); /* "mine" too: a hole behind what is lost would be lost */
    for (int again = 0; again < 3; again++) {
        expect_end(100, 5000);
        expect_bytes("mine\n");
        expect_offset(1, 100, 5000);
        log_fixture_reopen(&f, again == 0);
    }
    assert_int_equal(log_fixture_append(&f, "behind\n").base.position, 5000);
    log_fixture_reopen(&f, false);
    expect_bytes("mine\nbehind\n");
    expect_offset(1, 100, 5000);
    expect_end(101, 5007);
}

static void an_epoch_may_begin_with_a_hole(void **state)
{
    const struct log_copy copies[] = {copy_of(0, 0, 2, "a\n"), copy_of(6, 60, 4, "b\n")};

    (void)state;
    assert_int_equal(take(&copies[0], 1), 1);
    assert_int_equal(log_copy_epoch(f.log, 5, 6, &f.e), -EBADMSG);
    assert_int_equal(log_copy_epoch(f.log, 4, 4, &f.e), -ESTALE);
    assert_int_equal(log_copy_epoch(f.log, 5, 2, &f.e), 0);
    assert_int_equal(log_copy_epoch(f.log, 5, 4, &f.e), 0);
    expect_epoch_end(2, 2, 1, 2);
    assert_int_equal(take(&copies[1], 1), 1);
    expect_epoch_end(2, 2, 1, 2);
    expect_epoch_end(4, 4, 7, 62);
}

/* ---- a whole log ---- */

/* Copies everything of `from` that is not in f.log yet. */
static void replicate(struct log *from)
{
    struct log_run run;

    while (log_run_at(from, log_end(f.log).position, log_end(from).position, &run, &f.e) == 1) {
        struct log_copy copy = {.base = run.base, .entry = run.entry};
        struct log_extent extent;
        char bytes[4096];

        assert_int_equal(log_extent_at(from, run.base.position, log_end(from).position, run.len, &extent, &f.e), 1);
        assert_int_equal(extent.len, run.len);
        assert_int_equal(pread(extent.fd, bytes, extent.len, extent.place), extent.len);
        log_extent_release(&extent);
        copy.bytes = bytes;
        assert_int_equal(take(&copy, 1), 1);
    }
}

static void a_compacted_leader_is_copied_as_it_is(void **state)
{
    struct log_known known = {.clean_shutdown = true};
    struct log *follower = f.log, *leader;
    char *theirs, *ours;
    size_t len;

    (void)state;
    f.config.cleanup_policy = CLEANUP_COMPACT;
    f.config.min_cleanable_dirty_ratio = 0.01;
    f.config.segment_bytes = 60;
    strcpy(f.config.key_separator, "=");
    f.config.key_separator_len = 1;
    log_set_config(follower, &f.config);
    assert_int_equal(log_open(&f.env, "u-0", &f.config, &known, &leader, NULL, &f.e), 0);
    f.log = leader;
    for (int i = 0; i < 30; i++) {
        char line[32];

        snprintf(line, sizeof line, "%c=%d\n%c=%d\n", 'a' + i % 7, i, 'a' + i % 3, i);
        log_fixture_append(&f, line);
        f.now_ms += 1000;
    }
    assert_int_equal(log_compact(leader, log_end(leader), NULL, &f.e), 1);
    theirs = log_fixture_read(&f, &len);
    f.log = follower;
    replicate(leader);
    ours = log_fixture_read(&f, &len);
    assert_string_equal(ours, theirs);
    expect_end(log_end(leader).offset, log_end(leader).position);
    for (int64_t offset = 0; offset <= log_end(leader).offset; offset++) {
        struct log_point a, b;

        assert_int_equal(log_lookup_offset(leader, offset, log_end(leader), &a, &f.e), 0);
        assert_int_equal(log_lookup_offset(follower, offset, log_end(leader), &b, &f.e), 0);
        assert_int_equal(a.offset, b.offset);
        assert_int_equal(a.position, b.position);
        assert_int_equal(log_lookup_last(leader, offset, log_end(leader), &a, &f.e), 0);
        assert_int_equal(log_lookup_last(follower, offset, log_end(leader), &b, &f.e), 0);
        /* With more than there are, each begins at its own start. */
        assert_true(a.offset == b.offset || (a.offset == 0 && b.offset == 0));
    }
    free(theirs);
    free(ours);
    assert_int_equal(log_close(leader, &f.e), 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(entries_are_what_they_were),
        TEST(gaps_are_kept),
        TEST(a_dense_segment_stays_dense),
        TEST(a_gap_can_be_wide),
        TEST(batches_roll_segments),
        TEST(what_does_not_follow_is_refused),
        TEST(what_came_before_is_taken),
        TEST(who_does_not_follow_takes_nothing),
        TEST(a_full_disk_takes_none),
        TEST(a_failed_write_is_the_end),
        TEST(the_end_can_be_moved_on),
        TEST(an_epoch_may_begin_with_a_hole),
        TEST(a_compacted_leader_is_copied_as_it_is),
    };

    return cmocka_run_group_tests_name("log_copy", tests, NULL, NULL);
}
