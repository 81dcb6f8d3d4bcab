/* Compaction: what stays, when a pass is due, what rotten bytes do to it, how much it writes, and random runs against
 * the model of compact_model.c. test_recover.c breaks it off, test_compact_full.c fills its disk. */
#include "engine/log/log.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "engine/log/compact_group.h"
#include "tests/unit/compact_fixture.h"
#include "tests/unit/compact_model.h"
#include "tests/unit/log_fixture.h"

static void the_last_record_of_a_key_stays(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\nb=1\na=2\nc=1\n");
    roll();
    log_fixture_append(&f, "b=2\n");
    roll();
    log_fixture_append(&f, "a=3\n");
    assert_int_equal(compact(), 1);
    /* The active segment's a=3 is not looked at. */
    expect_bytes("a=2\nc=1\nb=2\na=3\n");
    expect_point(0, 2, 8);
    expect_point(16, 4, 16);
    assert_int_equal(log_cleaner_offset(f.log), 5);
    assert_int_equal(log_start(f.log).offset, 0);
    assert_int_equal(compact(), 0);
    log_fixture_reopen(&f, true);
    expect_bytes("a=2\nc=1\nb=2\na=3\n");
    log_fixture_reopen(&f, false);
    expect_bytes("a=2\nc=1\nb=2\na=3\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("c=1\nb=2\na=3\n");
}

static void records_without_a_key_stay(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "nothing\na=1\nnothing\n\na=2\n=1\n=2\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("nothing\nnothing\n\na=2\n=2\n");
}

static void without_a_separator_everything_stays(void **state)
{
    (void)state;
    f.config.key_separator_len = 0;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=1\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("a=1\na=1\n");
    assert_int_equal(compact(), 0);
}

static void messagepack_keys(void **state)
{
    static const char records[] = "\x92\x01\x0a\x92\xa1k\x0b\x07\x92\x01\x0c\x92\xa1k\xc0";
    static const char want[] = "\x07\x92\x01\x0c\x92\xa1k\xc0";
    size_t len;
    char *got;

    (void)state;
    f.config.framing = FRAMING_MSGPACK;
    f.config.key_separator_len = 0;
    log_fixture_open(&f, NULL);
    log_fixture_append_bytes(&f, records, sizeof records - 1);
    roll();
    assert_int_equal(compact(), 1);
    got = log_fixture_read(&f, &len);
    assert_int_equal(len, sizeof want - 1);
    assert_memory_equal(got, want, len);
    free(got);
}

/* KIP-534: from the pass that first meets it, a tombstone has delete.retention.ms. */
static void a_tombstone_outlives_what_it_deletes(void **state)
{
    (void)state;
    f.config.delete_retention_ms = 1000;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\n");
    log_fixture_append(&f, "a=\nb=1\n");
    roll();
    /* Old as it is, it was never passed over. */
    f.now_ms += 100000;
    assert_int_equal(compact(), 1);
    expect_bytes("a=\nb=1\n");
    f.now_ms += 999;
    log_fixture_append(&f, "c=1\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("a=\nb=1\nc=1\n");
    log_fixture_reopen(&f, false);
    f.now_ms += 1;
    log_fixture_append(&f, "d=1\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("b=1\nc=1\nd=1\n");
    expect_point(0, 2, 7);
}

static void a_tombstone_can_be_superseded(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=\na=2\nb=\nb=\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("a=2\nb=\n");
}

static void a_segment_can_end_up_empty(void **state)
{
    (void)state;
    f.config.delete_retention_ms = 0;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=\n");
    roll();
    log_fixture_append(&f, "x=1\n");
    assert_int_equal(compact(), 1);
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("x=1\n");
    expect_point(0, 2, 7);
    log_fixture_reopen(&f, false);
    expect_bytes("x=1\n");
    log_fixture_append(&f, "x=\n");
    roll();
    assert_int_equal(compact(), 1);
    log_fixture_append(&f, "y=1\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("y=1\n");
    log_fixture_append(&f, "y=\n");
    roll();
    assert_int_equal(compact(), 1);
    log_fixture_append(&f, "no key\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("no key\n");
    log_fixture_reopen(&f, true);
    expect_bytes("no key\n");
    assert_int_equal(log_end(f.log).offset, 7);
}

/* Dirty must be more than the ratio of all: 8 clean bytes and 8 dirty ones are one half. */
static void due_by_dirty_ratio(void **state)
{
    (void)state;
    f.config.min_cleanable_dirty_ratio = 0.5;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\nb=1\n");
    assert_int_equal(compact(), 0);
    roll();
    assert_int_equal(compact(), 1);
    log_fixture_append(&f, "a=2\nb=2\n");
    assert_int_equal(compact(), 0);
    roll();
    assert_int_equal(compact(), 0);
    log_fixture_append(&f, "c=1\n");
    roll();
    assert_int_equal(compact(), 1);
    expect_bytes("a=2\nb=2\nc=1\n");
}

static void young_records_are_not_compacted(void **state)
{
    (void)state;
    f.config.min_compaction_lag_ms = 1000;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=2\n");
    roll();
    f.now_ms += 600;
    log_fixture_append(&f, "a=3\na=4\n");
    roll();
    f.now_ms += 399;
    assert_int_equal(compact(), 0);
    f.now_ms += 1;
    assert_int_equal(compact(), 1);
    expect_bytes("a=2\na=3\na=4\n");
    f.now_ms += 600;
    assert_int_equal(compact(), 1);
    expect_bytes("a=4\n");
}

static void the_largest_lag_rolls_and_compacts(void **state)
{
    (void)state;
    f.config.min_cleanable_dirty_ratio = 1;
    f.config.max_compaction_lag_ms = 1000;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=2\n");
    f.now_ms += 1000;
    assert_int_equal(compact(), 0);
    f.now_ms += 1;
    assert_int_equal(compact(), 1);
    expect_bytes("a=2\n");
    assert_int_equal(log_fixture_segments(&f), 2);
    assert_int_equal(compact(), 0);
}

static void nothing_above_the_high_watermark_counts(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=2\n");
    roll();
    log_fixture_append(&f, "a=3\n");
    roll();
    assert_int_equal(log_compact(f.log, (struct log_point){1, 4}, NULL, &f.e), 0);
    assert_int_equal(log_compact(f.log, (struct log_point){2, 8}, NULL, &f.e), 1);
    expect_bytes("a=2\na=3\n");
}

static void a_topic_that_is_not_compacted(void **state)
{
    (void)state;
    f.config.cleanup_policy = CLEANUP_DELETE;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=2\n");
    roll();
    assert_int_equal(compact(), 0);
    expect_bytes("a=1\na=2\n");
}

static void small_neighbours_become_one(void **state)
{
    char line[32];

    (void)state;
    f.config.segment_bytes = 100;
    log_fixture_open(&f, NULL);
    /* Nine segments of 40 bytes of which 20 stay. */
    for (int i = 0; i < 9; i++) {
        snprintf(line, sizeof line, "k%d=3456789012345678\n", i);
        log_fixture_append(&f, line);
        log_fixture_append(&f, line);
        roll();
    }
    assert_int_equal(log_fixture_segments(&f), 10);
    /* Judged by what they were, two fit into 100 bytes: 2 2 2 2 1. */
    assert_int_equal(compact(), 1);
    assert_int_equal(log_fixture_segments(&f), 6);
    log_fixture_append(&f, "x=1\n");
    /* Now they are 40 40 40 40 20 4: (40 40) (40 40 20) (4). */
    roll();
    assert_int_equal(compact(), 1);
    assert_int_equal(log_fixture_segments(&f), 4);
    assert_int_equal(log_fixture_count_files(&f, ".log"), 4);
    assert_int_equal(log_fixture_count_files(&f, ".deleted"), 0);
    assert_int_equal(log_fixture_count_files(&f, ".cleaned"), 0);
    assert_int_equal(log_fixture_count_files(&f, ".swap"), 0);
    log_fixture_reopen(&f, false);
    assert_int_equal(log_fixture_segments(&f), 4);
    expect_point(0, 1, 20);
    expect_point(321, 17, 340);
}

/* What is replaced may have gone already, by whatever hand; who reads it has it open. */
static void a_file_that_is_gone_is_no_failure(void **state)
{
    (void)state;
    for (int kind = 0; kind < SEGMENT_FILES; kind++) {
        log_fixture_open(&f, NULL);
        log_fixture_append(&f, "a=1\na=2\n");
        roll();
        log_fixture_append(&f, "b=1\n");
        roll();
        expect_bytes("a=1\na=2\nb=1\n");
        log_fixture_unlink(&f, 0, (enum segment_file)kind);
        assert_int_equal(compact(), 1);
        assert_int_equal(log_offline(f.log), 0);
        expect_bytes("a=2\nb=1\n");
        log_fixture_reopen(&f, false);
        expect_bytes("a=2\nb=1\n");
        teardown(NULL);
        setup(NULL);
    }
}

static void what_lies_before_the_log_start_goes(void **state)
{
    struct log_size size;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\nb=1\nc=1\nd=1\n");
    roll();
    assert_int_equal(log_delete_records(f.log, (struct log_point){2, 8}, &f.e), 0);
    assert_int_equal(compact(), 1);
    expect_bytes("c=1\nd=1\n");
    assert_int_equal(log_start(f.log).offset, 2);
    log_size(f.log, &size);
    assert_int_equal(size.retained_bytes, 8);
    log_fixture_reopen(&f, false);
    expect_bytes("c=1\nd=1\n");
}

static void a_reader_keeps_what_it_has_open(void **state)
{
    struct log_extent extent;
    char bytes[8];

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=2\n");
    roll();
    assert_int_equal(log_extent_at(f.log, 0, 8, 8, &extent, &f.e), 1);
    assert_int_equal(compact(), 1);
    expect_bytes("a=2\n");
    assert_int_equal(io_pread_all(io_posix(), extent.fd, bytes, 8, extent.place), 0);
    assert_memory_equal(bytes, "a=1\na=2\n", 8);
    log_extent_release(&extent);
}

static void a_stopped_pass_changes_nothing(void **state)
{
    const _Atomic bool stop = true;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=2\n");
    roll();
    assert_int_equal(log_compact(f.log, log_end(f.log), &stop, &f.e), 0);
    expect_bytes("a=1\na=2\n");
    assert_int_equal(log_fixture_count_files(&f, ".cleaned"), 0);
    assert_int_equal(compact(), 1);
}

static void rotten_bytes_stop_the_log(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\na=2\n");
    roll();
    log_fixture_append(&f, "a=3\n");
    roll();
    log_fixture_reopen(&f, true);
    log_fixture_damage(&f, 2, SEGMENT_LOG, 2);
    assert_int_equal(compact(), -EBADMSG);
    assert_int_equal(log_offline(f.log), -EBADMSG);
    assert_int_equal(f.reports, 1);
    assert_non_null(strstr(f.report, "00000000000000000002.log"));
    assert_int_equal(log_fixture_count_files(&f, ".cleaned"), 0);
    assert_int_equal(log_fixture_count_files(&f, ".log"), 3);
}

/* ---- how much is written ---- */

static struct io counting;
static int writes;
static int64_t written_bytes;

static ssize_t counting_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    ssize_t n = io_posix()->pwritev(io, fd, iov, iovcnt, at);

    writes++;
    written_bytes += n;
    return n;
}

/* Every other record stays: each is a run by itself, with an entry of 64 bytes. The writes are as many as 64 KiB go
 * into the bytes; and what the files begin and end with. */
static void scattered_survivors_are_written_together(void **state)
{
    enum { SURVIVORS = 20000, RECORD_BYTES = 13, BATCH = 100 };
    const int64_t pair_bytes = RECORD_BYTES + 4, pair = 777;
    char batch[BATCH * (RECORD_BYTES + 4) + 1];
    struct log_size size;

    (void)state;
    counting = f.posix;
    counting.pwritev = counting_pwritev;
    f.io = &counting;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < SURVIVORS; i += BATCH) {
        int len = 0;

        for (int j = i; j < i + BATCH; j++) {
            len += snprintf(batch + len, sizeof batch - (size_t)len, "key%06d=ab\nx=1\n", j);
        }
        log_fixture_append(&f, batch);
    }
    roll();
    writes = 0;
    written_bytes = 0;
    assert_int_equal(compact(), 1);
    log_size(f.log, &size);
    /* the last x=1, too */
    assert_int_equal(size.retained_bytes, INT64_C(1) * SURVIVORS * RECORD_BYTES + 4);
    assert_true(written_bytes > INT64_C(1) * SURVIVORS * (RECORD_BYTES + 64));
    assert_in_range(writes, 1, written_bytes / LIMIT_BUILD_BUFFER_BYTES + 8);
    expect_point(0, 0, 0);
    expect_point(pair_bytes * pair + RECORD_BYTES, 2 * (pair + 1), pair_bytes * (pair + 1));
    log_fixture_reopen(&f, true);
    expect_point(pair_bytes * pair + RECORD_BYTES, 2 * (pair + 1), pair_bytes * (pair + 1));
}

/* ---- random runs ---- */

static struct compact_model model;

static int64_t active_base(void)
{
    struct log_file *files;
    size_t count;
    int64_t base;

    assert_int_equal(log_files(f.log, log_end(f.log), &files, &count, &f.e), 0);
    assert_true(count > 0 && files[count - 1].active);
    base = files[count - 1].base_offset;
    free(files);
    return base;
}

static void random_pass(int *cleaner)
{
    int first_dirty = *cleaner > model.start ? *cleaner : model.start;
    size_t max_keys = random() % 3 == 0 ? 1 + (size_t)(random() % 30) : LIMIT_COMPACT_KEYS;
    bool dirty = false;
    int rc = compact_bounded(f.log, log_end(f.log), NULL, max_keys, &f.e);

    if (rc < 0) {
        fail_msg("%s", f.e.text);
    }
    for (int i = first_dirty; i < model.closed; i++) {
        dirty |= !model.records[i].gone;
    }
    if (dirty) {
        assert_int_equal(rc, 1);
    }
    if (rc == 1) {
        *cleaner = compact_model_pass(&model, f.now_ms, f.config.delete_retention_ms, first_dirty, max_keys);
        assert_int_equal(log_cleaner_offset(f.log), *cleaner);
    }
}

static void random_step(int *cleaner, int keys)
{
    long what = random() % 40;

    f.now_ms += random() % 300;
    if (what < 24) {
        compact_model_append(&model, &f, keys);
        model.closed = (int)active_base();
    } else if (what < 28) {
        compact_model_roll(&model, &f);
    } else if (what < 36) {
        random_pass(cleaner);
    } else if (what < 37) {
        compact_model_delete(&model, &f, model.start + (int)(random() % (model.count - model.start + 1)) / 8);
    } else {
        log_fixture_reopen(&f, what == 37);
    }
    compact_model_check(&model, &f);
}

static void random_runs_agree_with_the_model(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 15; seed++) {
        int cleaner = 0;
        int keys;

        printf("seed %u\n", seed);
        srandom(seed);
        memset(&model, 0, sizeof model);
        keys = 1 + (int)(random() % (seed % 2 != 0 ? 20 : 400));
        f.config.delete_retention_ms = random() % 3000;
        f.config.segment_bytes = 500 + random() % 3000;
        f.config.index_interval_bytes = 16 + random() % 200;
        log_fixture_open(&f, NULL);
        for (int step = 0; step < 150; step++) {
            random_step(&cleaner, keys);
        }
        teardown(NULL);
        setup(NULL);
    }
}

/* ---- at the same time ---- */

enum { CONCURRENT_KEYS = 50, CONCURRENT_ROUNDS = 200 };

static _Atomic bool over;
static _Atomic int passes;
static int appended; /* by append_all() */

static void *append_all(void *arg)
{
    int number = 0;

    (void)arg;
    /* On until the others have had their turns, too. */
    for (int i = 0; i < CONCURRENT_ROUNDS || (passes < 3 && i < 100 * CONCURRENT_ROUNDS); i++) {
        char text[20 * 32];
        size_t len = 0;

        for (int k = 0; k < 20; k++, number++) {
            len += (size_t)snprintf(text + len, sizeof text - len, "k%d=%d\n", number % CONCURRENT_KEYS, number);
        }
        log_fixture_append_bytes(&f, text, len);
    }
    appended = number;
    atomic_store(&over, true);
    return NULL;
}

/* Every record says its offset; a reader must see them rise. */
static void *read_all(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        size_t len;
        char *text = log_fixture_read(&f, &len);
        int last = -1;

        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            int key;
            int number;

            assert_int_equal(sscanf(line, "k%d=%d", &key, &number), 2);
            assert_int_equal(key, number % CONCURRENT_KEYS);
            assert_true(number > last);
            last = number;
        }
        free(text);
    }
    return NULL;
}

static void *retain_all(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        struct err e;
        struct log_point end = log_end(f.log);
        struct log_point to;

        assert_true(log_retain(f.log, end, &e) >= 0);
        if (end.offset > 1000 && log_lookup_offset(f.log, end.offset - 1000, end, &to, &e) == 0) {
            assert_int_equal(log_delete_records(f.log, to, &e), 0);
        }
        assert_true(log_scrub(f.log, 4096, &e) >= 0);
    }
    return NULL;
}

static void everything_at_the_same_time(void **state)
{
    pthread_t threads[3];
    int last = -1;
    size_t len;
    char *text;

    (void)state;
    f.config.segment_bytes = 3000;
    f.config.cleanup_policy = CLEANUP_COMPACT | CLEANUP_DELETE;
    log_fixture_open(&f, NULL);
    assert_int_equal(pthread_create(&threads[0], NULL, append_all, NULL), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, read_all, NULL), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, retain_all, NULL), 0);
    while (!atomic_load(&over)) {
        struct err e;
        int rc = log_compact(f.log, log_end(f.log), NULL, &e);

        if (rc < 0) {
            fail_msg("%s", e.text);
        }
        passes += rc;
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(passes >= 3);
    roll();
    assert_true(compact() >= 0);
    text = log_fixture_read(&f, &len);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int key;

        assert_int_equal(sscanf(line, "k%d=%d", &key, &last), 2);
        assert_true(last >= appended - CONCURRENT_KEYS);
    }
    assert_int_equal(last, appended - 1);
    free(text);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_record_of_a_key_stays),
        TEST(records_without_a_key_stay),
        TEST(without_a_separator_everything_stays),
        TEST(messagepack_keys),
        TEST(a_tombstone_outlives_what_it_deletes),
        TEST(a_tombstone_can_be_superseded),
        TEST(a_segment_can_end_up_empty),
        TEST(due_by_dirty_ratio),
        TEST(young_records_are_not_compacted),
        TEST(the_largest_lag_rolls_and_compacts),
        TEST(nothing_above_the_high_watermark_counts),
        TEST(a_topic_that_is_not_compacted),
        TEST(small_neighbours_become_one),
        TEST(a_file_that_is_gone_is_no_failure),
        TEST(what_lies_before_the_log_start_goes),
        TEST(a_reader_keeps_what_it_has_open),
        TEST(a_stopped_pass_changes_nothing),
        TEST(rotten_bytes_stop_the_log),
        TEST(scattered_survivors_are_written_together),
        TEST(random_runs_agree_with_the_model),
        TEST(everything_at_the_same_time),
    };

    return cmocka_run_group_tests_name("compact", tests, NULL, NULL);
}
