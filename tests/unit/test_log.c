/* tests/unit/test_log.c: appending, rolling, reading, looking up, listing: what log.h promises when the disk is well.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/log/log_internal.h"
#include "tests/unit/faulty_log.h"

static int setup(void **state)
{
    (void)state;
    faulty_log_init();
    return 0;
}

static void expect_bytes(const char *want)
{
    size_t len;
    char *got = log_fixture_read(&f, &len);

    assert_string_equal(got, want);
    free(got);
}

static void expect_point(struct log_point got, int64_t offset, int64_t position)
{
    assert_int_equal(got.offset, offset);
    assert_int_equal(got.position, position);
}

/* ---- appending and rolling ---- */

static void a_new_log_is_empty(void **state)
{
    struct log_size size;
    struct log_extent extent;

    (void)state;
    log_fixture_open(&f, NULL);
    expect_point(log_start(f.log), 0, 0);
    expect_point(log_end(f.log), 0, 0);
    assert_string_equal(log_name(f.log), "t-0");
    assert_int_equal(log_offline(f.log), 0);
    assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 100, &extent, &f.e), 0);
    log_size(f.log, &size);
    assert_int_equal(size.retained_bytes, 0);
    assert_int_equal(size.segments, 1);
    assert_int_equal(size.disk_bytes, BATCH_HEADER_BYTES);
}

static void offsets_and_positions_are_dense(void **state)
{
    struct log_append_result result;

    (void)state;
    log_fixture_open(&f, NULL);
    result = log_fixture_append(&f, "one\ntwo\n");
    expect_point(result.base, 0, 0);
    expect_point(result.end, 2, 8);
    result = log_fixture_append(&f, "three\n");
    expect_point(result.base, 2, 8);
    expect_point(result.end, 3, 14);
    expect_bytes("one\ntwo\nthree\n");
    assert_int_equal(log_last_append_ms(f.log), f.now_ms);
    log_fixture_reopen(&f, true);
    expect_bytes("one\ntwo\nthree\n");
    assert_int_equal(log_fixture_append(&f, "four\n").base.offset, 3);
    assert_int_equal(log_last_append_ms(f.log), f.now_ms);
}

static void an_append_is_two_writes(void **state)
{
    int calls[FAULTY_CALLS];

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "first\n");
    for (int i = 0; i < FAULTY_CALLS; i++) {
        calls[i] = faulty.calls[i];
    }
    log_fixture_append(&f, "second\n");
    for (int i = 0; i < FAULTY_CALLS; i++) {
        assert_int_equal(faulty.calls[i] - calls[i], i == FAULTY_PWRITEV ? 2 : 0);
    }
}

static void it_rolls_by_bytes(void **state)
{
    (void)state;
    f.config.segment_bytes = 10;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "12345\n");
    log_fixture_append(&f, "123\n");
    assert_int_equal(log_fixture_segments(&f), 1);
    log_fixture_append(&f, "1\n");
    assert_int_equal(log_fixture_segments(&f), 2);
    /* A batch larger than a segment has one to itself. */
    log_fixture_append(&f, "a line that is longer than a segment\n");
    assert_int_equal(log_fixture_segments(&f), 3);
    log_fixture_append(&f, "1\n");
    assert_int_equal(log_fixture_segments(&f), 4);
    expect_bytes("12345\n123\n1\na line that is longer than a segment\n1\n");
}

static void it_rolls_by_age(void **state)
{
    (void)state;
    f.config.segment_ms = 1000;
    log_fixture_open(&f, NULL);
    f.now_ms += 5000;
    log_fixture_append(&f, "1\n");
    f.now_ms += 1000;
    log_fixture_append(&f, "2\n");
    assert_int_equal(log_fixture_segments(&f), 1);
    f.now_ms += 1;
    log_fixture_append(&f, "3\n");
    assert_int_equal(log_fixture_segments(&f), 2);
}

static void it_rolls_when_an_index_is_full(void **state)
{
    (void)state;
    f.config.segment_index_bytes = 48; /* 6 points, 4 times of which one is kept for the roll */
    f.config.index_interval_bytes = 2;
    log_fixture_open(&f, NULL);
    /* The first batch makes no entry; the same time makes no time index entry. */
    for (int i = 0; i < 7; i++) {
        log_fixture_append(&f, "1\n");
    }
    assert_int_equal(log_fixture_segments(&f), 1);
    log_fixture_append(&f, "1\n");
    assert_int_equal(log_fixture_segments(&f), 2);
    for (int i = 0; i < 3; i++) {
        f.now_ms++;
        log_fixture_append(&f, "2\n");
    }
    assert_int_equal(log_fixture_segments(&f), 2);
    f.now_ms++;
    log_fixture_append(&f, "2\n");
    assert_int_equal(log_fixture_segments(&f), 3);
}

static void an_empty_segment_does_not_roll(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    assert_int_equal(log_roll(f.log, &f.e), 0);
    assert_int_equal(log_fixture_segments(&f), 1);
    log_fixture_append(&f, "1\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    assert_int_equal(log_roll(f.log, &f.e), 0);
    assert_int_equal(log_fixture_segments(&f), 2);
}

static void a_setting_works_from_the_next_append_on(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "12345\n");
    f.config.segment_bytes = 8;
    log_set_config(f.log, &f.config);
    log_fixture_append(&f, "12345\n");
    assert_int_equal(log_fixture_segments(&f), 2);
}

/* ---- reading ---- */

static void an_extent_reaches_to_the_segments_end(void **state)
{
    struct log_extent extent;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\ntwo\n");
    log_fixture_append(&f, "three\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    log_fixture_append(&f, "four\n");
    assert_int_equal(log_extent_at(f.log, 2, INT64_MAX, 100, &extent, &f.e), 1);
    assert_int_equal(extent.position, 2);
    assert_int_equal(extent.place, 2);
    assert_int_equal(extent.len, 12);
    log_extent_release(&extent);
    assert_int_equal(log_extent_at(f.log, 2, 9, 100, &extent, &f.e), 1);
    assert_int_equal(extent.len, 7);
    log_extent_release(&extent);
    assert_int_equal(log_extent_at(f.log, 2, 9, 3, &extent, &f.e), 1);
    assert_int_equal(extent.len, 3);
    log_extent_release(&extent);
    assert_int_equal(log_extent_at(f.log, 15, INT64_MAX, 100, &extent, &f.e), 1);
    assert_int_equal(extent.place, 1);
    assert_int_equal(extent.len, 4);
    log_extent_release(&extent);
    assert_int_equal(log_extent_at(f.log, 9, 9, 100, &extent, &f.e), 0);
    assert_int_equal(log_extent_at(f.log, 19, INT64_MAX, 100, &extent, &f.e), 0);
}

static void reading_again_reads_nothing_else(void **state)
{
    struct log_extent extent;
    int reads;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    log_fixture_append(&f, "two\n");
    reads = faulty.calls[FAULTY_PREAD];
    /* What we wrote ourselves needs no check. */
    assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 100, &extent, &f.e), 1);
    log_extent_release(&extent);
    assert_int_equal(faulty.calls[FAULTY_PREAD], reads);
    log_fixture_reopen(&f, true);
    reads = faulty.calls[FAULTY_PREAD];
    assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 100, &extent, &f.e), 1);
    log_extent_release(&extent);
    assert_int_equal(faulty.calls[FAULTY_PREAD], reads + 1);
    assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 100, &extent, &f.e), 1);
    log_extent_release(&extent);
    assert_int_equal(faulty.calls[FAULTY_PREAD], reads + 1);
}

static void wrong_bytes_are_not_shown(void **state)
{
    struct log_extent extent;
    struct log_point got;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    log_fixture_append(&f, "two\ntoo\n");
    log_fixture_append(&f, "three\n");
    log_fixture_damage(&f, 0, SEGMENT_LOG, 5);
    log_fixture_reopen(&f, true);
    assert_int_equal(log_extent_at(f.log, 0, 4, 100, &extent, &f.e), 1);
    log_extent_release(&extent);
    assert_int_equal(log_extent_at(f.log, 4, INT64_MAX, 1, &extent, &f.e), -EIO);
    assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 100, &extent, &f.e), -EIO);
    assert_int_equal(log_lookup_offset(f.log, 2, log_end(f.log), &got, &f.e), -EIO);
    /* Told once; the rest is readable. */
    assert_int_equal(f.reports, 1);
    assert_int_equal(log_extent_at(f.log, 12, INT64_MAX, 100, &extent, &f.e), 1);
    log_extent_release(&extent);
    assert_int_equal(log_offline(f.log), 0);
    f.env.check_crcs = false;
    assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 100, &extent, &f.e), 1);
    assert_int_equal(extent.len, 18);
    log_extent_release(&extent);
}

static void a_run_is_a_batch(void **state)
{
    struct log_run run;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\ntwo\n");
    f.now_ms++;
    log_fixture_append(&f, "three\n");
    assert_int_equal(log_run_at(f.log, 5, INT64_MAX, &run, &f.e), 1);
    expect_point(run.base, 0, 0);
    assert_int_equal(run.records, 2);
    assert_int_equal(run.len, 8);
    assert_int_equal(run.timestamp_ms, f.now_ms - 1);
    assert_int_equal(log_run_at(f.log, 8, INT64_MAX, &run, &f.e), 1);
    expect_point(run.base, 2, 8);
    assert_int_equal(log_run_at(f.log, 8, 8, &run, &f.e), 0);
    assert_int_equal(log_run_at(f.log, 14, INT64_MAX, &run, &f.e), 0);
}

/* ---- looking up ---- */

static void lookups_find_records(void **state)
{
    struct log_point end, got;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\ntwo\n"); /* offsets 0 1, positions 0 4 */
    assert_int_equal(log_roll(f.log, &f.e), 0);
    f.now_ms += 10;
    log_fixture_append(&f, "three\nfour\n"); /* offsets 2 3, positions 8 14 */
    end = log_end(f.log);
    assert_int_equal(log_lookup_offset(f.log, 1, end, &got, &f.e), 0);
    expect_point(got, 1, 4);
    assert_int_equal(log_lookup_offset(f.log, 3, end, &got, &f.e), 0);
    expect_point(got, 3, 14);
    assert_int_equal(log_lookup_offset(f.log, -5, end, &got, &f.e), 0);
    expect_point(got, 0, 0);
    assert_int_equal(log_lookup_offset(f.log, 4, end, &got, &f.e), 0);
    expect_point(got, 4, 19);
    assert_int_equal(log_lookup_offset(f.log, 3, (struct log_point){2, 8}, &got, &f.e), 0);
    expect_point(got, 2, 8);
    assert_int_equal(log_lookup_position(f.log, 3, end, &got, &f.e), 0);
    expect_point(got, 0, 0);
    assert_int_equal(log_lookup_position(f.log, 4, end, &got, &f.e), 0);
    expect_point(got, 1, 4);
    assert_int_equal(log_lookup_position(f.log, 18, end, &got, &f.e), 0);
    expect_point(got, 3, 14);
    assert_int_equal(log_lookup_time(f.log, f.now_ms - 10, end, &got, &f.e), 0);
    expect_point(got, 0, 0);
    assert_int_equal(log_lookup_time(f.log, f.now_ms - 9, end, &got, &f.e), 0);
    expect_point(got, 2, 8);
    assert_int_equal(log_lookup_time(f.log, f.now_ms + 1, end, &got, &f.e), 0);
    expect_point(got, 4, 19);
    assert_int_equal(log_lookup_last(f.log, 3, end, &got, &f.e), 0);
    expect_point(got, 1, 4);
    assert_int_equal(log_lookup_last(f.log, 0, end, &got, &f.e), 0);
    expect_point(got, 4, 19);
    assert_int_equal(log_lookup_last(f.log, 100, end, &got, &f.e), 0);
    expect_point(got, 0, 0);
}

/* A record longer than any buffer of the scan, in a batch whose marks are further apart than that. */
static void lookups_cross_long_records(void **state)
{
    size_t len = 300000;
    char *batch = malloc(len + 9);
    struct log_point got;

    (void)state;
    log_fixture_open(&f, NULL);
    assert_non_null(batch);
    memset(batch, 'x', len);
    memcpy(batch + len, "\nlast\n", 7);
    memcpy(batch, "a\nb\n", 4);
    log_fixture_append(&f, batch);
    free(batch);
    assert_int_equal(log_lookup_position(f.log, 200000, log_end(f.log), &got, &f.e), 0);
    expect_point(got, 2, 4);
    assert_int_equal(log_lookup_offset(f.log, 3, log_end(f.log), &got, &f.e), 0);
    expect_point(got, 3, 300001);
}

/* The time index alone must not be what decides: batches that are late by the clock lie between its entries. */
static void a_time_that_went_back(void **state)
{
    int64_t t = f.now_ms;
    struct log_point got;

    (void)state;
    f.config.index_interval_bytes = 6;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 20; i++) {
        f.now_ms = i == 7 ? t + 1000 : t + i;
        log_fixture_append(&f, "12345\n");
    }
    assert_int_equal(log_lookup_time(f.log, t + 8, log_end(f.log), &got, &f.e), 0);
    assert_int_equal(got.offset, 7);
    assert_int_equal(log_lookup_time(f.log, t + 6, log_end(f.log), &got, &f.e), 0);
    assert_int_equal(got.offset, 6);
    assert_int_equal(log_lookup_time(f.log, t + 1001, log_end(f.log), &got, &f.e), 0);
    assert_int_equal(got.offset, 20);
}

/* ---- files ---- */

static void files_end_at_the_high_watermark(void **state)
{
    struct log_file *files, file;
    char byte;
    size_t count;
    int fd;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    log_fixture_append(&f, "two\n");
    log_fixture_append(&f, "three\n");
    assert_int_equal(log_files(f.log, (struct log_point){2, 8}, &files, &count, &f.e), 0);
    assert_int_equal(count, 8);
    assert_int_equal(files[0].base_offset, 0);
    assert_int_equal(files[0].kind, SEGMENT_LOG);
    assert_int_equal(files[0].size, 4);
    assert_false(files[0].active);
    assert_int_equal(files[4].base_offset, 1);
    assert_int_equal(files[4].size, 4);
    assert_int_equal(files[5].size, 128);
    assert_true(files[4].active);
    free(files);
    assert_int_equal(log_file_find(f.log, 1, SEGMENT_LOG, log_end(f.log), &file, &f.e), 0);
    assert_int_equal(file.size, 10);
    assert_int_equal(log_file_find(f.log, 2, SEGMENT_LOG, log_end(f.log), &file, &f.e), -ENOENT);
    /* One that is open stays readable after it was deleted. */
    assert_int_equal(log_file_find(f.log, 0, SEGMENT_LOG, log_end(f.log), &file, &f.e), 0);
    assert_int_equal(log_file_open(f.log, &file, &fd, &f.e), 0);
    assert_int_equal(log_delete_records(f.log, (struct log_point){1, 4}, &f.e), 0);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    assert_int_equal(byte, 'o');
    close(fd);
    assert_int_equal(log_file_open(f.log, &file, &fd, &f.e), -ENOENT);
}

static struct segment *unchecked_file(int64_t base_offset)
{
    struct log_file file;

    assert_int_equal(log_file_find(f.log, base_offset, SEGMENT_LOG, log_end(f.log), &file, &f.e), 0);
    return log_file_unchecked(f.log, &file);
}

/* `.segments`: as reads of the partition are, a batch at a time, and whatever has become of the segment. */
static void a_file_is_checked_before_it_is_shown(void **state)
{
    struct segment *first, *second, *third;
    int rc;

    (void)state;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 3; i++) {
        log_fixture_append(&f, "one\n");
        log_fixture_append(&f, "two\n");
        assert_int_equal(log_roll(f.log, &f.e), 0);
    }
    assert_null(unchecked_file(0)); /* this process wrote it */
    log_fixture_reopen(&f, true);
    log_fixture_damage(&f, 2, SEGMENT_LOG, 5);
    log_fixture_damage(&f, 4, SEGMENT_LOG, 5);
    first = unchecked_file(0);
    second = unchecked_file(2);
    third = unchecked_file(4);
    assert_null(unchecked_file(6)); /* empty */
    assert_int_equal(log_file_check(first, 0, 0, &f.e), 0);
    assert_non_null(unchecked_file(0));
    log_file_checked(first); /* the one just taken */
    assert_int_equal(log_file_check(first, 0, 1 << 20, &f.e), 0);
    assert_int_equal(log_file_check(first, 8, 1, &f.e), 0);
    assert_int_equal(log_file_check(first, INT64_MAX - 1, 1, &f.e), 0);
    assert_null(unchecked_file(0));
    assert_int_equal(log_file_check(third, 0, 4, &f.e), 0);
    assert_int_equal(log_file_check(second, 0, 8, &f.e), -EIO);
    assert_int_equal(f.reports, 1);
    assert_int_equal(log_delete_records(f.log, (struct log_point){6, 24}, &f.e), 0);
    atomic_store(&f.log->bad_reported, false);
    rc = log_file_check(third, 4, 4, &f.e);
    log_file_checked(first); /* the log's end waits for them */
    log_file_checked(second);
    log_file_checked(third);
    assert_int_equal(rc, -EIO);
    assert_int_equal(f.reports, 1); /* it is no damage of the log any more */
}

static void an_extent_outlives_its_segment(void **state)
{
    struct log_extent extent;
    char buf[8];

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\ntwo\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 100, &extent, &f.e), 1);
    assert_int_equal(log_delete_records(f.log, log_end(f.log), &f.e), 0);
    assert_int_equal(pread(extent.fd, buf, 8, extent.place), 8);
    assert_memory_equal(buf, "one\ntwo\n", 8);
    log_extent_release(&extent);
    assert_int_equal(log_fixture_count_files(&f, ".deleted"), 0);
    assert_int_equal(log_fixture_count_files(&f, ".log"), 1);
}

static void destroying_frees_the_name(void **state)
{
    char path[128];

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    assert_int_equal(log_retire(f.log, &f.e), 0);
    assert_int_equal(log_destroy(f.log, &f.e), 0);
    f.log = NULL;
    snprintf(path, sizeof path, "%s/t-0", f.path);
    assert_int_equal(access(path, F_OK), -1);
    log_fixture_open(&f, NULL);
    expect_point(log_end(f.log), 0, 0);
}

/* By hand, before or in between: another one may have its name by then, and keeps it. */
static void a_log_whose_directory_is_gone_is_destroyed(void **state)
{
    char command[128];
    struct log *first;

    (void)state;
    for (int aside = 0; aside < 2; aside++) {
        log_fixture_open(&f, NULL);
        first = f.log;
        if (aside == 1) {
            assert_int_equal(log_retire(first, &f.e), 0);
        }
        snprintf(command, sizeof command, "rm -r %s/t-0*", f.path);
        assert_int_equal(system(command), 0);
        if (aside == 0) {
            assert_int_equal(log_retire(first, &f.e), 0);
        }
        log_fixture_open(&f, NULL);
        log_fixture_append(&f, "two\n");
        assert_int_equal(log_destroy(first, &f.e), 0);
        log_fixture_reopen(&f, true);
        expect_point(log_end(f.log), 1, 4);
        assert_int_equal(log_retire(f.log, &f.e), 0);
        assert_int_equal(log_destroy(f.log, &f.e), 0);
        f.log = NULL;
    }
}

/* The first one's directory is empty and not yet gone when the second one is put away. */
static void a_log_put_away_within_the_removal_of_its_predecessor_is_another_directory(void **state)
{
    char command[128];
    struct log *first;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    first = f.log;
    assert_int_equal(log_retire(first, &f.e), 0);
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "two\n");
    snprintf(command, sizeof command, "rm %s/t-0.*-delete/*", f.path);
    assert_int_equal(system(command), 0);
    assert_int_equal(log_retire(f.log, &f.e), 0);
    assert_int_equal(log_destroy(first, &f.e), 0);
    assert_int_equal(log_destroy(f.log, &f.e), 0);
    f.log = NULL;
}

/* ---- everybody at once ---- */

enum { WRITERS = 3, LINES = 400 };

static void *write_lines(void *arg)
{
    int writer = *(int *)arg;
    char line[32];

    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "%d %d\n", writer, i);
        log_fixture_append(&f, line);
        if (i % 50 == 0) {
            assert_int_equal(log_flush_all(f.log), 0);
        }
    }
    return NULL;
}

static void *read_lines(void *arg)
{
    struct log_point got;
    struct log_extent extent;
    char buf[4096];
    int64_t position = 0;

    (void)arg;
    while (log_end(f.log).offset < WRITERS * LINES) {
        struct log_point end = log_end(f.log);

        if (log_extent_at(f.log, position, end.position, sizeof buf, &extent, NULL) == 1) {
            assert_int_equal(pread(extent.fd, buf, extent.len, extent.place), extent.len);
            assert_int_equal(buf[extent.len - 1], '\n');
            position = extent.position + (int64_t)extent.len;
            log_extent_release(&extent);
            position = extent.len < sizeof buf ? position : end.position;
        }
        assert_int_equal(log_lookup_offset(f.log, end.offset / 2, end, &got, NULL), 0);
        assert_int_equal(got.offset, end.offset / 2);
        assert_int_equal(log_lookup_last(f.log, 3, end, &got, NULL), 0);
        assert_int_equal(log_lookup_time(f.log, f.now_ms + 1, end, &got, NULL), 0);
        assert_int_equal(got.offset, end.offset);
    }
    return NULL;
}

static void writers_keep_their_order(void **state)
{
    int numbers[WRITERS];
    int next[WRITERS] = {0};
    pthread_t threads[WRITERS + 1];
    char *bytes, *line, *rest;
    size_t len;

    (void)state;
    f.config.segment_bytes = 500;
    f.config.index_interval_bytes = 40;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    assert_int_equal(pthread_create(&threads[WRITERS], NULL, read_lines, NULL), 0);
    for (int i = 0; i <= WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    bytes = log_fixture_read(&f, &len);
    for (line = strtok_r(bytes, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        int writer, number;

        assert_int_equal(sscanf(line, "%d %d", &writer, &number), 2);
        assert_int_equal(number, next[writer]++);
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(next[i], LINES);
    }
    free(bytes);
    /* The fixture's cache keeps four segments open, whatever the number of files. */
    assert_true(log_fixture_segments(&f) > 10);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_log_is_empty),
        TEST(offsets_and_positions_are_dense),
        TEST(an_append_is_two_writes),
        TEST(it_rolls_by_bytes),
        TEST(it_rolls_by_age),
        TEST(it_rolls_when_an_index_is_full),
        TEST(an_empty_segment_does_not_roll),
        TEST(a_setting_works_from_the_next_append_on),
        TEST(an_extent_reaches_to_the_segments_end),
        TEST(reading_again_reads_nothing_else),
        TEST(wrong_bytes_are_not_shown),
        TEST(a_run_is_a_batch),
        TEST(lookups_find_records),
        TEST(lookups_cross_long_records),
        TEST(a_time_that_went_back),
        TEST(files_end_at_the_high_watermark),
        TEST(a_file_is_checked_before_it_is_shown),
        TEST(an_extent_outlives_its_segment),
        TEST(destroying_frees_the_name),
        TEST(a_log_whose_directory_is_gone_is_destroyed),
        TEST(a_log_put_away_within_the_removal_of_its_predecessor_is_another_directory),
        TEST(writers_keep_their_order),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
