/* Blocks for large appends: where they are looked for, how far ahead, and that none is left behind a segment that is
 * not appended to. The table does what ext4 would be asked for on whatever file system this is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "tests/unit/log_fixture.h"

enum { KIB = 1 << 10, MIB = 1 << 20, LINE = 1 * KIB };

static struct log_fixture f;
static struct {
    int calls;
    int64_t at, len; /* of the last one */
    int rc;          /* what they end in, after half of it */
} asked;

static int allocate(struct io *io, int fd, int64_t at, int64_t len)
{
    (void)io;
    asked.calls++;
    asked.at = at;
    asked.len = len;
    assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, at, asked.rc != 0 ? len / 2 : len), 0);
    return asked.rc;
}

static int setup(void **state)
{
    (void)state;
    memset(&asked, 0, sizeof asked);
    log_fixture_init(&f);
    f.posix.allocate = allocate;
    f.config.segment_bytes = 64 * MIB;
    log_fixture_open(&f, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_fixture_destroy(&f);
    return 0;
}

static void append(size_t len)
{
    char *lines = malloc(len);

    assert_non_null(lines);
    memset(lines, 'x', len);
    for (size_t i = LINE; i <= len; i += LINE) {
        lines[i - 1] = '\n';
    }
    log_fixture_append_bytes(&f, lines, len);
    free(lines);
}

static void path_of(int64_t base_offset, char *path, size_t size)
{
    int len = snprintf(path, size, "%s/t-0/%020lld.log", f.path, (long long)base_offset);

    assert_true(len > 0 && (size_t)len < size);
}

static struct stat stat_of(int64_t base_offset)
{
    char path[128];
    struct stat st;

    path_of(base_offset, path, sizeof path);
    assert_int_equal(stat(path, &st), 0);
    return st;
}

static int64_t blocks_bytes(int64_t base_offset)
{
    return (int64_t)stat_of(base_offset).st_blocks * 512;
}

static void small_appends_are_written_as_they_are(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        append(LIMIT_ALLOCATE_LEAST_BYTES - LINE);
    }
    assert_int_equal(asked.calls, 0);
}

static void a_large_append_asks_once_for_itself_and_for_what_follows(void **state)
{
    (void)state;
    append(MIB);
    assert_int_equal(asked.calls, 1);
    assert_int_equal(asked.at, 0);
    assert_int_equal(asked.len, MIB); /* nothing was there, and nothing is ahead */
    append(3 * MIB);
    assert_int_equal(asked.calls, 2);
    assert_int_equal(asked.at, MIB);
    assert_int_equal(asked.len, 3 * MIB + MIB / 4);
    append(MIB / 4); /* as many as there are */
    assert_int_equal(asked.calls, 2);
    append(MIB);
    assert_int_equal(asked.calls, 3);
    assert_int_equal(asked.at, 4 * MIB + MIB / 4);
    for (int i = 0; i < 35; i++) {
        append(MIB);
    }
    append(LIMIT_ALLOCATE_AHEAD_BYTES + MIB); /* what is ahead does not do */
    assert_int_equal(asked.at, 40 * MIB + MIB / 4);
    assert_int_equal(asked.len, 2 * LIMIT_ALLOCATE_AHEAD_BYTES + MIB);
    assert_int_equal(stat_of(0).st_size, 40 * MIB + MIB / 4 + LIMIT_ALLOCATE_AHEAD_BYTES + MIB);
}

static void grow(void)
{
    append(8 * MIB);
    append(MIB);
    assert_int_equal(asked.len, 3 * MIB);
    assert_true(blocks_bytes(0) >= 11 * MIB);
}

static void a_roll_gives_back_what_is_behind_the_end(void **state)
{
    (void)state;
    grow();
    int64_t last_ms = f.now_ms;
    f.now_ms += 5000;
    assert_int_equal(log_roll(f.log, &f.e), 0);
    assert_int_equal(stat_of(0).st_size, 9 * MIB);
    assert_in_range(blocks_bytes(0), 9 * MIB, 9 * MIB + 64 * KIB);
    assert_int_equal(stat_of(0).st_mtim.tv_sec, last_ms / 1000); /* as of its last append */
}

static void a_look_at_an_idle_log_does(void **state)
{
    (void)state;
    grow();
    log_trim(f.log);
    assert_int_equal(stat_of(0).st_size, 9 * MIB);
    assert_in_range(blocks_bytes(0), 9 * MIB, 9 * MIB + 64 * KIB);
    append(MIB);
    assert_int_equal(asked.at, 9 * MIB); /* anew */
}

static void a_clean_stop_does(void **state)
{
    (void)state;
    grow();
    assert_int_equal(log_close(f.log, &f.e), 0);
    f.log = NULL;
    assert_in_range(blocks_bytes(0), 9 * MIB, 9 * MIB + 64 * KIB);
}

static void leave_behind(int64_t base_offset)
{
    char path[128];
    int fd;

    path_of(base_offset, path, sizeof path);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 12 * MIB), 0);
    close(fd);
    assert_true(blocks_bytes(base_offset) >= 12 * MIB);
}

/* Also from a segment that was rolled: the crash has lost that it was cut. Of what the disk knows already, too. */
static void an_open_after_a_crash_does(void **state)
{
    (void)state;
    grow();
    assert_int_equal(log_roll(f.log, &f.e), 0);
    append(9 * MIB);
    assert_int_equal(log_flush_all(f.log), 0);
    struct log_known known = {.recovery_point = log_recovery_point(f.log), .start = log_start(f.log)};
    assert_int_equal(known.recovery_point, 18 * KIB);
    assert_int_equal(log_close(f.log, &f.e), 0);
    f.log = NULL;
    leave_behind(0);
    leave_behind(9 * KIB);
    log_fixture_open(&f, &known);
    for (int64_t base = 0; base <= 9 * KIB; base += 9 * KIB) {
        assert_int_equal(stat_of(base).st_size, 9 * MIB);
        assert_in_range(blocks_bytes(base), 9 * MIB, 9 * MIB + 64 * KIB);
    }
    assert_int_equal(log_end(f.log).offset, 18 * KIB);
}

static void a_disk_with_little_left_is_not_asked_to_take_back(void **state)
{
    (void)state;
    append(MIB);
    asked.rc = -EAGAIN;
    append(4 * MIB);
    assert_int_equal(asked.calls, 2);
    assert_int_equal(stat_of(0).st_size, 5 * MIB);
}

/* Of a disk that has not as much as that: all of what it gave goes back, and the append takes what it needs. */
static void a_full_disk_has_what_it_had(void **state)
{
    (void)state;
    append(8 * MIB);
    asked.rc = -ENOSPC;
    append(MIB);
    assert_int_equal(asked.calls, 2);
    assert_in_range(blocks_bytes(0), 9 * MIB, 9 * MIB + 64 * KIB);
    append(MIB);
    assert_int_equal(asked.calls, 3);
    assert_int_equal(stat_of(0).st_size, 10 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_appends_are_written_as_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(a_large_append_asks_once_for_itself_and_for_what_follows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_roll_gives_back_what_is_behind_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_look_at_an_idle_log_does, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clean_stop_does, setup, teardown),
        cmocka_unit_test_setup_teardown(an_open_after_a_crash_does, setup, teardown),
        cmocka_unit_test_setup_teardown(a_disk_with_little_left_is_not_asked_to_take_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_has_what_it_had, setup, teardown),
    };

    return cmocka_run_group_tests_name("allocate", tests, NULL, NULL);
}
