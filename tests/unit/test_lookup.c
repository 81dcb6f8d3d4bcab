/* tests/unit/test_lookup.c: look-ups through sparse indexes of which something is wrong. They have no CRC: a wrong
 * entry of a segment that is trusted must cost time, not truth. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/log/log_internal.h"
#include "tests/unit/faulty_io.h"
#include "tests/unit/log_fixture.h"

enum { INTERVAL_BYTES = 16, MAX_RECORDS = 64, MAX_FILE_BYTES = 512, FIRST_MS = 1000, LAST_MS = 8000 };
enum { FIRST_SEGMENT_RECORDS = 34 };

static struct log_fixture f;
static struct faulty_io faulty;
static _Atomic int told; /* lines about a wrong entry */

/* What was appended, by arithmetic. */
static struct {
    struct log_point point;
    int64_t len;
    int64_t timestamp_ms;
} records[MAX_RECORDS];
static int record_count;
static struct log_point end;

static void count_line(int level, const char *line)
{
    (void)level;
    atomic_fetch_add(&told, strstr(line, "is wrong") != NULL);
}

static int setup(void **state)
{
    (void)state;
    log_fixture_init(&f);
    faulty_io_init(&faulty);
    f.io = &faulty.io;
    f.config.index_interval_bytes = INTERVAL_BYTES;
    record_count = 0;
    end = (struct log_point){0, 0};
    atomic_store(&told, 0);
    log_sink_set(count_line);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_sink_set(NULL);
    log_fixture_destroy(&f);
    return 0;
}

/* One batch of lines with one time. */
static void append(int64_t ms, const char *lines)
{
    atomic_store(&f.now_ms, ms);
    log_fixture_append(&f, lines);
    for (const char *at = lines; *at != '\0';) {
        int64_t len = strchr(at, '\n') + 1 - at;

        assert_true(record_count < MAX_RECORDS);
        records[record_count].point = end;
        records[record_count].len = len;
        records[record_count++].timestamp_ms = ms;
        end.offset++;
        end.position += len;
        at += len;
    }
}

/* Two segments whose batches are longer and shorter than an interval, and whose times go back within it. */
static void make(void)
{
    static const char long_batch[] = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\neleven\ntwelve\n";

    log_fixture_open(&f, NULL);
    append(2000, long_batch);
    append(1000, "earlier\n");
    append(3000, "x\n");
    append(3600, "y\nz\n");
    append(3000, "as late as the one before the last\n");
    append(4000, long_batch);
    append(3500, "\n\n\n");
    append(4500, "\n");
    append(4200, "a line that is longer than the interval of the index\n");
    assert_int_equal(end.offset, FIRST_SEGMENT_RECORDS);
    assert_int_equal(log_roll(f.log, &f.e), 0);
    append(5000, long_batch);
    append(6500, "p\n");
    append(5500, "q\nr\ns\n");
    append(7000, long_batch);
    append(6000, "the end\n");
}

static struct log_point point_of(int record)
{
    return record < record_count ? records[record].point : end;
}

static void expect(int rc, struct log_point got, int record)
{
    assert_int_equal(rc, 0);
    assert_int_equal(got.offset, point_of(record).offset);
    assert_int_equal(got.position, point_of(record).position);
}

static void expect_lookups(void)
{
    struct log_point got = {0};
    int rc;

    for (int64_t offset = 0; offset <= end.offset; offset++) {
        rc = log_lookup_offset(f.log, offset, end, &got, &f.e);
        expect(rc, got, (int)offset);
    }
    for (int64_t position = 0; position < end.position; position++) {
        int record = 0;

        while (records[record].point.position + records[record].len <= position) {
            record++;
        }
        rc = log_lookup_position(f.log, position, end, &got, &f.e);
        expect(rc, got, record);
    }
    for (int64_t ms = FIRST_MS; ms <= LAST_MS; ms += 100) {
        int record = 0;

        while (record < record_count && records[record].timestamp_ms < ms) {
            record++;
        }
        rc = log_lookup_time(f.log, ms, end, &got, &f.e);
        expect(rc, got, record);
    }
    assert_int_equal(atomic_load(&f.reports), 0);
}

/* ---- files ---- */

static int open_file(int64_t base_offset, enum segment_file kind)
{
    char name[40], path[128];
    int fd;

    log_file_name(base_offset, kind, name);
    snprintf(path, sizeof path, "%s/t-0/%s", f.path, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static size_t read_file(int64_t base_offset, enum segment_file kind, uint8_t bytes[MAX_FILE_BYTES])
{
    int fd = open_file(base_offset, kind);
    ssize_t len = read(fd, bytes, MAX_FILE_BYTES);

    assert_in_range(len, 1, MAX_FILE_BYTES - 1);
    close(fd);
    return (size_t)len;
}

static void write_file(int64_t base_offset, enum segment_file kind, const uint8_t *bytes, size_t len)
{
    int fd = open_file(base_offset, kind);

    assert_int_equal(ftruncate(fd, 0), 0);
    assert_true(len == 0 || pwrite(fd, bytes, len, 0) == (ssize_t)len);
    close(fd);
}

static void close_log(void)
{
    assert_int_equal(log_close(f.log, &f.e), 0);
    f.log = NULL;
}

/* Opened after a clean stop with these bytes in that file, every look-up is right, and it is told at most once. */
static void expect_right_with(int64_t base_offset, enum segment_file kind, const uint8_t *bytes, size_t len)
{
    struct log_known known = {.clean_shutdown = true};

    write_file(base_offset, kind, bytes, len);
    atomic_store(&told, 0);
    log_fixture_open(&f, &known);
    expect_lookups();
    assert_in_range(atomic_load(&told), 0, 1);
    close_log();
}

/* ---- the tests ---- */

static void whole_indexes(void **state)
{
    (void)state;
    make();
    expect_lookups();
    log_fixture_reopen(&f, true);
    expect_lookups();
    assert_int_equal(atomic_load(&told), 0);
}

static void any_wrong_byte(void **state)
{
    static const uint8_t flips[] = {0x01, 0x02, 0x04, 0x10, 0x80, 0xff};
    static const enum segment_file kinds[] = {SEGMENT_INDEX, SEGMENT_TIMEINDEX};
    uint8_t bytes[MAX_FILE_BYTES];
    static const int64_t bases[] = {0, FIRST_SEGMENT_RECORDS};

    (void)state;
    make();
    close_log();
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            size_t len = read_file(bases[i], kinds[k], bytes);

            for (size_t at = 0; at < len; at++) {
                for (size_t flip = 0; flip < sizeof flips; flip++) {
                    bytes[at] ^= flips[flip];
                    expect_right_with(bases[i], kinds[k], bytes, len);
                    bytes[at] ^= flips[flip];
                }
            }
            write_file(bases[i], kinds[k], bytes, len);
        }
    }
}

static void entries_of_zeros(void **state)
{
    static const enum segment_file kinds[] = {SEGMENT_INDEX, SEGMENT_TIMEINDEX};
    uint8_t bytes[MAX_FILE_BYTES], zeroed[MAX_FILE_BYTES];

    (void)state;
    make();
    close_log();
    for (int k = 0; k < 2; k++) {
        size_t len = read_file(0, kinds[k], bytes);

        for (size_t from = 0; from < len; from += 4) {
            for (size_t to = from + 4; to <= len; to += 4) {
                memcpy(zeroed, bytes, len);
                memset(zeroed + from, 0, to - from);
                expect_right_with(0, kinds[k], zeroed, len);
            }
        }
        write_file(0, kinds[k], bytes, len);
    }
}

/* `.index` full of room, `.timeindex` without: no point without its time. */
static void a_full_time_index(void **state)
{
    char line[] = "sixteen bytes .\n";

    (void)state;
    f.config.segment_index_bytes = 1 << 20;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 30; i++) {
        append(FIRST_MS + i * 100, line);
    }
    close_log();
    write_file(0, SEGMENT_INDEX, NULL, 0);
    write_file(0, SEGMENT_TIMEINDEX, NULL, 0);
    f.config.segment_index_bytes = 120; /* 15 points, 10 times */
    log_fixture_open(&f, &(struct log_known){0});
    expect_lookups();
    close_log();
    log_fixture_open(&f, &(struct log_known){.clean_shutdown = true});
    expect_lookups();
}

/* Less room than an entry needs, down to Kafka's least. */
static void indexes_without_room(void **state)
{
    static const int64_t index_bytes[] = {4, 7, 8, 11, 12, 23, 24};

    for (size_t i = 0; i < sizeof index_bytes / sizeof index_bytes[0]; i++) {
        f.config.segment_index_bytes = index_bytes[i];
        make();
        expect_lookups();
        log_fixture_reopen(&f, true);
        expect_lookups();
        log_fixture_reopen(&f, false);
        expect_lookups();
        close_log();
        /* What a build without room for a time has left. */
        write_file(0, SEGMENT_INDEX, NULL, 0);
        write_file(0, SEGMENT_TIMEINDEX, NULL, 0);
        log_fixture_open(&f, &(struct log_known){.clean_shutdown = true});
        expect_lookups();
        teardown(state);
        setup(state);
    }
}

/* A batch of 1 MiB that has been checked: two intervals of it are read, not half of it. */
static void a_lookup_reads_two_intervals(void **state)
{
    enum { LINES = 1 << 14, LINE_BYTES = 64, ALL_BYTES = LINES * LINE_BYTES, INTERVAL = 4096 };
    char *lines = malloc(ALL_BYTES + 1);
    struct log_point got;

    (void)state;
    assert_non_null(lines);
    f.config.index_interval_bytes = INTERVAL;
    memset(lines, 'x', ALL_BYTES);
    for (size_t at = LINE_BYTES - 1; at < ALL_BYTES; at += LINE_BYTES) {
        lines[at] = '\n';
    }
    lines[ALL_BYTES] = '\0';
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, lines);
    free(lines);
    assert_int_equal(log_lookup_offset(f.log, 1, log_end(f.log), &got, &f.e), 0);
    for (int64_t offset = 1; offset < LINES; offset += 97) {
        int before = atomic_load(&faulty.calls[FAULTY_PREAD]);

        assert_int_equal(log_lookup_offset(f.log, offset, log_end(f.log), &got, &f.e), 0);
        assert_int_equal(got.position, offset * LINE_BYTES);
        assert_int_equal(log_lookup_position(f.log, offset * LINE_BYTES + 1, log_end(f.log), &got, &f.e), 0);
        assert_int_equal(got.offset, offset);
        /* 8 KiB at a time, and the last record may reach over. */
        assert_in_range(atomic_load(&faulty.calls[FAULTY_PREAD]) - before, 2, 4);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whole_indexes),     TEST(any_wrong_byte),       TEST(entries_of_zeros),
        TEST(a_full_time_index), TEST(indexes_without_room), TEST(a_lookup_reads_two_intervals),
    };

    return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
