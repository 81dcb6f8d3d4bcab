/* tests/unit/test_log_faults.c: a log on a disk that fills up or fails: offline or not, and the cache of open files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "engine/log/log_internal.h"
#include "engine/segment/segment_cache.h"
#include "tests/unit/faulty_log.h"

static int setup(void **state)
{
    (void)state;
    faulty_log_init();
    f.config.index_interval_bytes = 8;
    return 0;
}

/* An append that may fail. */
static int try_append(const char *record)
{
    struct iovec iov = {(void *)(uintptr_t)record, strlen(record)};
    struct append_batch batch = {
        .iov = &iov,
        .iovcnt = 1,
        .len = (uint32_t)strlen(record),
        .records = 1,
        .crc = 0,
        .first_timestamp_ms = f.now_ms,
        .last_timestamp_ms = f.now_ms,
        .producer_id = -1,
        .sequence = -1,
    };
    struct log_append_result result;

    return log_append(f.log, &batch, f.epoch, &result, &f.e);
}

static void expect_bytes(const char *want)
{
    size_t len;
    char *got = log_fixture_read(&f, &len);

    assert_string_equal(got, want);
    free(got);
}

static int64_t file_size(int64_t base_offset, enum segment_file kind)
{
    char name[40];
    char path[160];
    struct stat st;

    log_file_name(base_offset, kind, name);
    snprintf(path, sizeof path, "%s/t-0/%s", f.path, name);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* ---- what is not the disk's fault: no room, no memory, no descriptors ---- */

static void fill_at_write(int nth, size_t short_bytes, int rc)
{
    log_fixture_append(&f, "one one\n");
    f.now_ms++;
    faulty_io_arm(&faulty, FAULTY_PWRITEV, nth, rc);
    faulty.short_bytes = short_bytes;
    assert_int_equal(try_append("two two\n"), rc);
    assert_non_null(strstr(f.e.text, strerror(-rc)));
    assert_int_equal(file_size(0, SEGMENT_LOG), 8);
    assert_int_equal(file_size(0, SEGMENT_BATCHES), 128);
    assert_int_equal(file_size(0, SEGMENT_INDEX), 0);
    assert_int_equal(file_size(0, SEGMENT_TIMEINDEX), 0);
    expect_bytes("one one\n");
    assert_int_equal(log_end(f.log).offset, 1);
    assert_int_equal(log_offline(f.log), 0);
    assert_int_equal(f.reports, 0);
    faulty_io_disarm(&faulty);
    log_fixture_append(&f, "three\n");
    expect_bytes("one one\nthree\n");
    assert_int_equal(file_size(0, SEGMENT_INDEX), 8);
    assert_int_equal(file_size(0, SEGMENT_TIMEINDEX), 12);
    log_fixture_reopen(&f, false);
    expect_bytes("one one\nthree\n");
}

/* The four writes of an append that is due for both indexes, and the first of them short. */
static void a_full_disk_leaves_nothing_half(void **state)
{
    (void)state;
    for (int nth = 1; nth <= 4; nth++) {
        log_fixture_open(&f, NULL);
        fill_at_write(nth, 0, nth % 2 == 0 ? -EDQUOT : -ENOSPC);
        teardown(NULL);
        setup(NULL);
    }
    for (int nth = 1; nth <= 4; nth++) {
        log_fixture_open(&f, NULL);
        fill_at_write(nth, 0, -ENOMEM);
        teardown(NULL);
        setup(NULL);
    }
    for (int nth = 1; nth <= 4; nth++) {
        log_fixture_open(&f, NULL);
        fill_at_write(nth, 3, -ENOSPC);
        teardown(NULL);
        setup(NULL);
    }
}

/* Each call of a roll, failing for want of room: the log is as before, and rolls later. */
static void a_roll_without_room(void **state)
{
    static const struct {
        enum faulty_call call;
        int count;
    } calls[] = {{FAULTY_OPEN, 4}, {FAULTY_PWRITEV, 2}, {FAULTY_FSYNC, 2}};

    static const int reasons[] = {-ENOSPC, -EMFILE, -ENOMEM, -EDQUOT};

    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (int nth = 1; nth <= calls[i].count; nth++) {
            int rc = reasons[nth - 1];

            log_fixture_open(&f, NULL);
            f.config.segment_bytes = 8;
            log_set_config(f.log, &f.config);
            log_fixture_append(&f, "1234567\n");
            assert_int_equal(log_flush_all(f.log), 0);
            faulty_io_arm(&faulty, calls[i].call, nth, rc);
            assert_int_equal(try_append("2\n"), rc);
            assert_int_equal(log_fixture_count_files(&f, ".batches"), 1);
            assert_int_equal(log_fixture_count_files(&f, ".log"), 1);
            assert_int_equal(log_offline(f.log), 0);
            log_fixture_append(&f, "2\n");
            expect_bytes("1234567\n2\n");
            assert_int_equal(log_fixture_segments(&f), 2);
            log_fixture_reopen(&f, true);
            expect_bytes("1234567\n2\n");
            teardown(NULL);
            setup(NULL);
        }
    }
}

/* Every segment of the fixture's log is closed afterwards, the active one too: those of `other` have taken their places
 * in the cache. */
static void close_all(struct log **other)
{
    struct log_known nothing = {.clean_shutdown = true};
    struct log *fixtures = f.log;

    assert_int_equal(log_open(&f.env, "u-0", &f.config, &nothing, other, NULL, &f.e), 0);
    f.log = *other;
    for (int i = 0; i < 5; i++) {
        log_fixture_append(&f, "other\n");
        assert_int_equal(log_roll(f.log, &f.e), 0);
    }
    assert_int_equal(log_flush_all(f.log), 0);
    f.log = fixtures;
}

/* A flush that cannot open what it is to flush has done nothing and harmed nothing: it can be asked for again. */
static void a_flush_without_descriptors(void **state)
{
    static const int reasons[] = {-EMFILE, -ENFILE, -ENOMEM};

    (void)state;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        struct log *other;
        int fsyncs;

        log_fixture_open(&f, NULL);
        close_all(&other);
        fsyncs = faulty.calls[FAULTY_FSYNC];
        faulty_io_arm(&faulty, FAULTY_REOPEN, 1, reasons[i]);
        assert_int_equal(log_flush_all(f.log), reasons[i]); /* of a new log: its header, its directory */
        assert_int_equal(log_offline(f.log), 0);
        assert_int_equal(f.reports, 0);
        assert_int_equal(faulty.calls[FAULTY_FSYNC], fsyncs);
        assert_int_equal(log_flush_all(f.log), 0);
        assert_int_equal(faulty.calls[FAULTY_FSYNC], fsyncs + 2);
        log_fixture_append(&f, "one\n");
        expect_bytes("one\n");
        assert_int_equal(log_close(other, &f.e), 0);
        teardown(NULL);
        setup(NULL);
    }
}

/* ---- a disk that fails ---- */

static void a_failed_write_is_offline(void **state)
{
    struct log_extent extent;
    struct log_point got;
    int writes;

    (void)state;
    for (int nth = 1; nth <= 2; nth++) {
        log_fixture_open(&f, NULL);
        log_fixture_append(&f, "one\n");
        faulty_io_arm(&faulty, FAULTY_PWRITEV, nth, -EIO);
        assert_int_equal(try_append("two\n"), -EIO);
        assert_int_equal(f.reports, 1);
        assert_int_equal(log_offline(f.log), -EIO);
        writes = faulty.calls[FAULTY_PWRITEV];
        assert_int_equal(try_append("two\n"), -EIO);
        assert_int_equal(log_extent_at(f.log, 0, INT64_MAX, 10, &extent, &f.e), -EIO);
        assert_int_equal(log_lookup_offset(f.log, 0, log_end(f.log), &got, &f.e), -EIO);
        assert_int_equal(log_roll(f.log, &f.e), -EIO);
        assert_int_equal(log_flush_all(f.log), -EIO);
        assert_int_equal(faulty.calls[FAULTY_PWRITEV], writes);
        assert_int_equal(f.reports, 1);
        teardown(NULL);
        setup(NULL);
    }
}

static int no_cut(struct io *io, int fd, int64_t size)
{
    (void)io;
    (void)fd;
    (void)size;
    return -EIO;
}

static void a_failed_cut_is_offline(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\n");
    faulty_io_arm(&faulty, FAULTY_PWRITEV, 2, -ENOSPC);
    faulty.io.ftruncate = no_cut;
    assert_int_equal(try_append("two\n"), -EIO);
    assert_int_equal(log_offline(f.log), -EIO);
    assert_int_equal(f.reports, 1);
}

static int no_sync(struct io *io, int fd)
{
    (void)io;
    (void)fd;
    return -EIO;
}

/* An entry that was written, or begun, and is cut off again must not come back with the power. */
static void a_refused_entry_is_cut_durably(void **state)
{
    static const int syncs[] = {0, 1, 1, 1}; /* bytes, entry, index, time index: the one that fails */

    (void)state;
    for (int nth = 1; nth <= 4; nth++) {
        int before;

        log_fixture_open(&f, NULL);
        log_fixture_append(&f, "one\n");
        f.now_ms++;
        log_fixture_append(&f, "one one\n");
        before = atomic_load(&faulty.calls[FAULTY_FDATASYNC]);
        faulty_io_arm(&faulty, FAULTY_PWRITEV, nth, -ENOSPC);
        f.now_ms++;
        assert_int_equal(try_append("two two\n"), -ENOSPC);
        assert_int_equal(atomic_load(&faulty.calls[FAULTY_FDATASYNC]) - before, syncs[nth - 1]);
        teardown(NULL);
        setup(NULL);
    }
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one one\n");
    faulty_io_arm(&faulty, FAULTY_PWRITEV, 3, -ENOSPC);
    faulty.io.fdatasync = no_sync;
    assert_int_equal(try_append("two two\n"), -EIO);
    assert_int_equal(log_offline(f.log), -EIO);
    assert_int_equal(f.reports, 1);
}

static int last_rc;
static int answers;

static void note_answer(struct log_flush *flush, int rc)
{
    (void)flush;
    last_rc = rc;
    answers++;
}

static void a_failed_flush_is_offline_and_not_repeated(void **state)
{
    (void)state;
    for (int nth = 1; nth <= 2; nth++) {
        struct log_flush flush = {.upto = 1, .done = note_answer};

        answers = 0;
        log_fixture_open(&f, NULL);
        log_fixture_append(&f, "one\n");
        faulty_io_arm(&faulty, FAULTY_FDATASYNC, nth, -EIO);
        assert_int_equal(log_flush(f.log, &flush), 0);
        assert_int_equal(answers, 1);
        assert_int_equal(last_rc, -EIO);
        assert_int_equal(log_offline(f.log), -EIO);
        assert_int_equal(faulty.calls[FAULTY_FDATASYNC], nth);
        assert_int_equal(log_recovery_point(f.log), 0);
        assert_int_equal(log_flush_all(f.log), -EIO);
        assert_int_equal(log_close(f.log, &f.e), 0);
        f.log = NULL;
        assert_int_equal(faulty.calls[FAULTY_FDATASYNC], nth);
        teardown(NULL);
        setup(NULL);
    }
}

/* ---- the cache ---- */

static void open_files_are_bounded(void **state)
{
    struct log_extent extents[6];

    (void)state;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 6; i++) {
        log_fixture_append(&f, "one\n");
        assert_int_equal(log_roll(f.log, &f.e), 0);
        assert_true(segment_cache_open(f.env.cache) <= 4 + 1); /* a new one is clean */
    }
    /* What is pinned is never closed, so the bound can be passed. */
    for (int i = 0; i < 6; i++) {
        assert_int_equal(log_extent_at(f.log, INT64_C(4) * i, INT64_MAX, 4, &extents[i], &f.e), 1);
    }
    assert_true(segment_cache_open(f.env.cache) >= 6);
    for (int i = 0; i < 6; i++) {
        char buf[4];

        assert_int_equal(io_posix()->pread(io_posix(), extents[i].fd, buf, 4, extents[i].place), 4);
        log_extent_release(&extents[i]);
    }
    log_fixture_append(&f, "one\n");
    expect_bytes("one\none\none\none\none\none\none\n");
    assert_true(segment_cache_open(f.env.cache) <= 4 + 1);
}

/* The kernel may forget a write error with the last descriptor: so the data is synced before. Whoever makes another one
 * dirty does that. */
static void a_dirty_segment_is_synced_before_it_is_closed(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 4; i++) {
        log_fixture_append(&f, "one\n");
        assert_int_equal(log_roll(f.log, &f.e), 0);
    }
    assert_int_equal(segment_cache_open(f.env.cache), 5);
    faulty.calls[FAULTY_FDATASYNC] = 0;
    log_fixture_append(&f, "one\n");
    assert_int_equal(segment_cache_open(f.env.cache), 4);
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 4);
    assert_int_equal(log_roll(f.log, &f.e), 0);
    faulty_io_arm(&faulty, FAULTY_FDATASYNC, 1, -EIO);
    assert_int_equal(try_append("one\n"), -EIO);
    assert_int_equal(log_offline(f.log), -EIO);
    assert_int_equal(f.reports, 1);
}

/* However many there are too many: who appends waits for one of them. Segments that readers hold make them many. */
static void an_append_pays_for_one(void **state)
{
    struct log_extent extents[6];

    (void)state;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 6; i++) {
        log_fixture_append(&f, "one\n");
        assert_int_equal(log_extent_at(f.log, INT64_C(4) * i, INT64_MAX, 4, &extents[i], &f.e), 1);
        assert_int_equal(log_roll(f.log, &f.e), 0);
    }
    for (int i = 0; i < 6; i++) {
        log_extent_release(&extents[i]);
    }
    assert_int_equal(segment_cache_open(f.env.cache), 7);
    faulty.calls[FAULTY_FDATASYNC] = 0;
    log_fixture_append(&f, "one\n");
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 4);
    assert_int_equal(segment_cache_open(f.env.cache), 6);
    /* Dirty ones that a start finds are as many as there may be, however long that takes. */
    log_fixture_reopen(&f, false);
    assert_true(segment_cache_open(f.env.cache) <= 4);
}

/* A reader opens what was closed while all that is open is dirty: it waits for no fdatasync, and the bound holds again
 * as soon as somebody writes. */
static void readers_never_sync(void **state)
{
    char buf[4];
    int syncs;

    (void)state;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 6; i++) {
        log_fixture_append(&f, "one\n");
        assert_int_equal(log_roll(f.log, &f.e), 0);
    }
    log_fixture_append(&f, "one\n");
    syncs = faulty.calls[FAULTY_FDATASYNC];
    for (int i = 0; i < 6; i++) {
        struct log_extent extent;

        assert_int_equal(log_extent_at(f.log, INT64_C(4) * i, INT64_MAX, 4, &extent, &f.e), 1);
        assert_int_equal(io_posix()->pread(io_posix(), extent.fd, buf, 4, extent.place), 4);
        log_extent_release(&extent);
    }
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], syncs);
    /* Those that they opened are clean, and make room for one another. */
    assert_int_equal(segment_cache_open(f.env.cache), 5);
    assert_int_equal(log_roll(f.log, &f.e), 0);
    log_fixture_append(&f, "one\n");
    assert_int_equal(segment_cache_open(f.env.cache), 4);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_leaves_nothing_half),
        TEST(a_failed_cut_is_offline),
        TEST(a_refused_entry_is_cut_durably),
        TEST(a_roll_without_room),
        TEST(a_flush_without_descriptors),
        TEST(a_failed_write_is_offline),
        TEST(a_failed_flush_is_offline_and_not_repeated),
        TEST(open_files_are_bounded),
        TEST(a_dirty_segment_is_synced_before_it_is_closed),
        TEST(readers_never_sync),
        TEST(an_append_pays_for_one),
    };

    return cmocka_run_group_tests_name("log_faults", tests, NULL, NULL);
}
