/* tests/unit/test_recover.c: a log is opened after its files were cut, torn, damaged or left half renamed. */
#include <dirent.h>
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

#include "engine/log/log_internal.h"
#include "tests/unit/faulty_log.h"

static bool recovered;

static int setup(void **state)
{
    (void)state;
    faulty_log_init();
    f.config.index_interval_bytes = 8;
    return 0;
}

static void close_log(void)
{
    assert_int_equal(log_close(f.log, &f.e), 0);
    f.log = NULL;
}

static int try_open(int64_t recovery_point, bool clean)
{
    struct log_known known = {.recovery_point = recovery_point, .clean_shutdown = clean};

    f.e.text[0] = '\0';
    return log_open(&f.env, "t-0", &f.config, &known, &f.log, &recovered, &f.e);
}

static void open_again(int64_t recovery_point, bool clean)
{
    if (try_open(recovery_point, clean) != 0) {
        fail_msg("%s", f.e.text);
    }
}

static void expect_bytes(const char *want)
{
    size_t len;
    char *got = log_fixture_read(&f, &len);

    assert_string_equal(got, want);
    free(got);
}

static void path_of(int64_t base_offset, enum segment_file kind, const char *suffix, char path[160])
{
    char name[SEGMENT_NAME_BYTES];

    segment_name(base_offset, kind, suffix, name);
    snprintf(path, 160, "%s/t-0/%s", f.path, name);
}

static int64_t file_size(int64_t base_offset, enum segment_file kind)
{
    char path[160];
    struct stat st;

    path_of(base_offset, kind, "", path);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void set_size(int64_t base_offset, enum segment_file kind, int64_t size)
{
    char path[160];

    path_of(base_offset, kind, "", path);
    assert_int_equal(truncate(path, size), 0);
}

static void remove_file(int64_t base_offset, enum segment_file kind)
{
    char path[160];

    path_of(base_offset, kind, "", path);
    assert_int_equal(unlink(path), 0);
}

/* A sum over names, sizes and bytes of all files, to see that nothing was touched. */
static uint64_t fingerprint(void)
{
    uint64_t sum = 0;
    char path[400];
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof path, "%s/t-0", f.path);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        uint64_t hash = 14695981039346656037u;
        FILE *file;
        int c;

        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "%s/t-0/%s", f.path, entry->d_name);
        file = fopen(path, "r");
        assert_non_null(file);
        for (const char *s = entry->d_name; *s != '\0'; s++) {
            hash = (hash ^ (uint8_t)*s) * 1099511628211u;
        }
        while ((c = fgetc(file)) != EOF) {
            hash = (hash ^ (uint8_t)c) * 1099511628211u;
        }
        fclose(file);
        sum += hash;
    }
    closedir(dir);
    return sum;
}

/* Three batches of eight bytes in the first segment, two in the second, closed cleanly: offsets 0 1 2 | 3 4. */
static void make_two_segments(void)
{
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "line 00\n");
    f.now_ms++;
    log_fixture_append(&f, "line 01\n");
    f.now_ms++;
    log_fixture_append(&f, "line 02\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    f.now_ms++;
    log_fixture_append(&f, "line 03\n");
    f.now_ms++;
    log_fixture_append(&f, "line 04\n");
    close_log();
}

static void expect_corrupt(int64_t recovery_point, bool clean)
{
    uint64_t before = fingerprint();

    assert_int_equal(try_open(recovery_point, clean), -EBADMSG);
    assert_non_null(f.log);
    assert_string_equal(log_name(f.log), "t-0");
    assert_true(f.e.text[0] != '\0');
    assert_int_equal(log_offline(f.log), -EBADMSG);
    assert_int_equal(f.reports, 1);
    assert_int_equal(log_roll(f.log, NULL), -EIO);
    close_log();
    assert_true(fingerprint() == before);
    f.reports = 0;
}

/* ---- cuts above the recovery point ---- */

static void nothing_wrong(void **state)
{
    (void)state;
    make_two_segments();
    open_again(5, true);
    assert_false(recovered);
    close_log();
    for (int64_t recovery_point = 0; recovery_point <= 5; recovery_point++) {
        open_again(recovery_point, false);
        assert_true(recovered);
        assert_int_equal(log_recovery_point(f.log), recovery_point);
        expect_bytes("line 00\nline 01\nline 02\nline 03\nline 04\n");
        close_log();
    }
}

static void expect_cut(int64_t recovery_point, const char *want, int64_t end_offset)
{
    uint64_t after;

    open_again(recovery_point, false);
    expect_bytes(want);
    assert_int_equal(log_end(f.log).offset, end_offset);
    assert_int_equal(log_end(f.log).position, strlen(want));
    close_log();
    /* Opening twice gives the same. */
    after = fingerprint();
    open_again(recovery_point, false);
    expect_bytes(want);
    close_log();
    assert_true(fingerprint() == after);
    open_again(end_offset, true);
    assert_int_equal(log_fixture_append(&f, "more\n").base.offset, end_offset);
    close_log();
}

static void a_torn_entry_is_cut(void **state)
{
    (void)state;
    make_two_segments();
    log_fixture_damage(&f, 3, SEGMENT_BATCHES, 64 + 64 + 10);
    expect_cut(4, "line 00\nline 01\nline 02\nline 03\n", 4);
    assert_int_equal(file_size(3, SEGMENT_BATCHES), 64 + 2 * 64); /* with "more" */
}

static void torn_bytes_are_cut(void **state)
{
    (void)state;
    make_two_segments();
    log_fixture_damage(&f, 3, SEGMENT_LOG, 15);
    expect_cut(4, "line 00\nline 01\nline 02\nline 03\n", 4);
}

static void a_partial_entry_is_cut(void **state)
{
    (void)state;
    make_two_segments();
    set_size(3, SEGMENT_BATCHES, 64 + 64 + 63);
    expect_cut(0, "line 00\nline 01\nline 02\nline 03\n", 4);
}

static void missing_bytes_are_cut(void **state)
{
    (void)state;
    make_two_segments();
    set_size(3, SEGMENT_LOG, 15);
    expect_cut(0, "line 00\nline 01\nline 02\nline 03\n", 4);
}

static void bytes_without_an_entry_are_cut(void **state)
{
    (void)state;
    make_two_segments();
    set_size(3, SEGMENT_BATCHES, 64 + 64);
    open_again(4, false);
    assert_int_equal(file_size(3, SEGMENT_LOG), 8);
    close_log();
    expect_cut(4, "line 00\nline 01\nline 02\nline 03\n", 4);
}

/* That of the cut is no append's. */
static void a_cut_that_leaves_nothing_leaves_the_time_of_the_file(void **state)
{
    static const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000}};
    char path[160];

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "torn\n");
    close_log();
    set_size(0, SEGMENT_LOG, 2);
    path_of(0, SEGMENT_LOG, "", path);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    for (int i = 0; i < 3; i++) {
        open_again(0, i == 2);
        assert_int_equal(log_end(f.log).offset, 0);
        assert_int_equal(log_last_append_ms(f.log), INT64_C(1000000000));
        close_log();
    }
}

static void later_segments_go_with_the_cut(void **state)
{
    (void)state;
    make_two_segments();
    log_fixture_damage(&f, 0, SEGMENT_LOG, 17);
    expect_cut(2, "line 00\nline 01\n", 2);
    assert_int_equal(file_size(3, SEGMENT_LOG), -1);
    assert_int_equal(file_size(3, SEGMENT_BATCHES), -1);
}

static void a_segment_without_its_header_goes(void **state)
{
    (void)state;
    make_two_segments();
    set_size(3, SEGMENT_BATCHES, 0);
    expect_cut(3, "line 00\nline 01\nline 02\n", 3);
}

static void a_segment_without_its_log_goes(void **state)
{
    (void)state;
    make_two_segments();
    remove_file(3, SEGMENT_LOG);
    expect_cut(3, "line 00\nline 01\nline 02\n", 3);
}

static void a_lone_first_segment_is_made_again(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "never flushed\n");
    close_log();
    set_size(0, SEGMENT_BATCHES, 20);
    expect_cut(0, "", 0);
}

/* A cut is decided on the disk before anything of the very first segment has to be there, its header either. The second
 * time the process dies when that segment has gone and no other is there yet. */
static void and_again_when_a_cut_was_under_way(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 3; i++) {
        log_fixture_append(&f, "line 00\n");
    }
    assert_int_equal(log_follow(f.log, f.epoch + 1, &f.e), 0);
    assert_int_equal(log_truncate(f.log, f.epoch + 1, (struct log_point){2, 16}, &f.e), 0);
    close_log();
    set_size(0, SEGMENT_BATCHES, 20);
    open_again(0, false);
    assert_int_equal(log_end(f.log).offset, 0);
    close_log();
    for (enum segment_file kind = 0; kind < SEGMENT_FILES; kind++) {
        remove_file(0, kind);
    }
    open_again(0, false);
    assert_int_equal(log_end(f.log).offset, 0);
    assert_int_equal(log_end(f.log).position, 0);
    log_fixture_append(&f, "anew\n");
    expect_bytes("anew\n");
}

/* ---- corruption ---- */

static void below_the_recovery_point_nothing_is_cut(void **state)
{
    (void)state;
    make_two_segments();
    log_fixture_damage(&f, 3, SEGMENT_BATCHES, 64 + 10);
    expect_corrupt(4, false);
}

static void flushed_bytes_may_not_be_missing(void **state)
{
    (void)state;
    make_two_segments();
    set_size(3, SEGMENT_LOG, 7);
    expect_corrupt(4, false);
    expect_corrupt(5, true);
}

static void flushed_entries_may_not_be_missing(void **state)
{
    (void)state;
    make_two_segments();
    set_size(3, SEGMENT_BATCHES, 64);
    expect_corrupt(4, false);
    expect_corrupt(4, true);
    set_size(3, SEGMENT_BATCHES, 64 + 30);
    expect_corrupt(5, true);
}

static void a_segment_may_not_be_missing(void **state)
{
    (void)state;
    make_two_segments();
    remove_file(0, SEGMENT_LOG);
    expect_corrupt(5, false);
    expect_corrupt(0, false);
    expect_corrupt(5, true);
    remove_file(0, SEGMENT_BATCHES);
    expect_corrupt(5, true);
}

static void a_header_must_be_its_own(void **state)
{
    (void)state;
    make_two_segments();
    log_fixture_damage(&f, 0, SEGMENT_BATCHES, 20);
    expect_corrupt(5, true);
    expect_corrupt(5, false);
    expect_corrupt(0, false);
}

static void a_log_may_not_end_before_what_was_flushed(void **state)
{
    (void)state;
    make_two_segments();
    expect_corrupt(6, true);
    assert_non_null(strstr(f.e.text, "6"));
    expect_corrupt(6, false);
}

static void an_empty_directory_may_not_have_been_flushed(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    close_log();
    for (int kind = 0; kind < SEGMENT_FILES; kind++) {
        remove_file(0, (enum segment_file)kind);
    }
    expect_corrupt(1, true);
    open_again(0, false);
    assert_int_equal(log_end(f.log).offset, 0);
}

/* Bytes without an entry at the end, which an open that succeeds cuts off. */
static void add_surplus(int64_t base_offset)
{
    set_size(base_offset, SEGMENT_LOG, file_size(base_offset, SEGMENT_LOG) + 5);
}

/* The middle of a trusted segment is not looked at, unless its indexes must be made again. */
static void indexes_cannot_be_made_from_damage(void **state)
{
    (void)state;
    make_two_segments();
    log_fixture_damage(&f, 0, SEGMENT_BATCHES, 64 + 64 + 8);
    set_size(0, SEGMENT_TIMEINDEX, 0);
    add_surplus(3);
    expect_corrupt(5, true);
    expect_corrupt(5, false);
}

/* Offsets 0 to 5 compacted into runs of one; the log start lies behind the third, and one of their entries is damaged:
 * how much lies before the start cannot be told. */
static void a_start_behind_damage(void **state)
{
    struct log_known known = {.recovery_point = 8, .start = {4, 16}, .clean_shutdown = true};
    uint64_t before;

    (void)state;
    f.config.cleanup_policy = CLEANUP_COMPACT;
    f.config.min_cleanable_dirty_ratio = 0;
    f.config.key_separator[0] = '=';
    f.config.key_separator_len = 1;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\nx=1\nb=1\nx=2\nc=1\nx=3\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    log_fixture_append(&f, "x=4\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    log_fixture_append(&f, "end\n");
    assert_int_equal(log_compact(f.log, log_end(f.log), NULL, &f.e), 1);
    expect_bytes("a=1\nb=1\nc=1\nx=4\nend\n");
    close_log();
    log_fixture_damage(&f, 0, SEGMENT_BATCHES, 64 + 2 * 64 + 8);
    add_surplus(7);
    before = fingerprint();
    for (int clean = 0; clean < 2; clean++) {
        known.clean_shutdown = clean != 0;
        assert_int_equal(log_open(&f.env, "t-0", &f.config, &known, &f.log, NULL, &f.e), -EBADMSG);
        close_log();
        assert_true(fingerprint() == before);
    }
}

/* ---- indexes ---- */

static void expect_lookups(void)
{
    for (int64_t i = 0; i < 5; i++) {
        struct log_point got;

        assert_int_equal(log_lookup_time(f.log, 1700000000000 + i, log_end(f.log), &got, &f.e), 0);
        assert_int_equal(got.offset, i);
        assert_int_equal(log_lookup_offset(f.log, i, log_end(f.log), &got, &f.e), 0);
        assert_int_equal(got.position, 8 * i);
    }
}

static void missing_indexes_are_made_again(void **state)
{
    (void)state;
    make_two_segments();
    assert_int_equal(file_size(0, SEGMENT_INDEX), 2 * 8);
    assert_int_equal(file_size(0, SEGMENT_TIMEINDEX), 2 * 12);
    for (int clean = 0; clean < 2; clean++) {
        remove_file(0, SEGMENT_INDEX);
        remove_file(0, SEGMENT_TIMEINDEX);
        remove_file(3, SEGMENT_INDEX);
        open_again(5, clean != 0);
        assert_int_equal(file_size(0, SEGMENT_INDEX), 2 * 8);
        assert_int_equal(file_size(0, SEGMENT_TIMEINDEX), 2 * 12);
        expect_lookups();
        close_log();
    }
    for (int clean = 0; clean < 2; clean++) {
        remove_file(3, SEGMENT_TIMEINDEX);
        if (clean != 0) {
            remove_file(3, SEGMENT_INDEX); /* as in a segment that has no entries yet, but for the files */
        }
        open_again(5, clean != 0);
        assert_int_equal(file_size(3, SEGMENT_INDEX), 8);
        assert_int_equal(file_size(3, SEGMENT_TIMEINDEX), 12);
        expect_lookups();
        close_log();
    }
}

static void index_entries_above_the_cut_go(void **state)
{
    (void)state;
    make_two_segments();
    log_fixture_damage(&f, 3, SEGMENT_LOG, 15);
    assert_int_equal(file_size(3, SEGMENT_INDEX), 8);
    open_again(4, false);
    assert_int_equal(file_size(3, SEGMENT_INDEX), 0);
    assert_int_equal(file_size(3, SEGMENT_TIMEINDEX), 0);
}

static void a_wild_index_is_not_believed(void **state)
{
    uint8_t wild[8];
    char path[160];
    int fd;

    (void)state;
    make_two_segments();
    memset(wild, 0x7f, sizeof wild);
    path_of(0, SEGMENT_INDEX, "", path);
    fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, wild, 8, 8), 8);
    close(fd);
    open_again(5, true);
    expect_lookups();
}

/* Closed and flushed segments cost a look, not a read: their bytes are not touched. */
static void the_work_is_what_was_not_flushed(void **state)
{
    int reads;

    (void)state;
    f.config.segment_bytes = 64;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 800; i++) {
        log_fixture_append(&f, "line 00\n");
    }
    close_log();
    faulty.calls[FAULTY_PREAD] = 0;
    open_again(800, false);
    reads = faulty.calls[FAULTY_PREAD];
    /* One header each of 100 segments, and leader-epochs. */
    assert_int_equal(log_fixture_segments(&f), 100);
    assert_int_equal(reads, 101);
    close_log();
    faulty.calls[FAULTY_PREAD] = 0;
    open_again(796, false);
    assert_int_equal(faulty.calls[FAULTY_PREAD], reads + 1);
}

/* ---- the log start ---- */

static void the_start_is_kept_in_bounds(void **state)
{
    struct log_known known = {.recovery_point = 5, .start = {4, 32}, .clean_shutdown = true};
    struct log_size size;

    (void)state;
    make_two_segments();
    assert_int_equal(log_open(&f.env, "t-0", &f.config, &known, &f.log, NULL, &f.e), 0);
    expect_bytes("line 04\n");
    log_size(f.log, &size);
    assert_int_equal(size.retained_bytes, 8);
    close_log();
    /* A clean stop loses nothing, so it cannot lie behind the end. */
    known = (struct log_known){.start = {9, 72}, .clean_shutdown = true};
    assert_int_equal(log_open(&f.env, "t-0", &f.config, &known, &f.log, NULL, &f.e), -EBADMSG);
    close_log();
    /* A crash may lose what it pointed to. No offset and no position before it is used again. */
    known = (struct log_known){.start = {9, 72}};
    assert_int_equal(log_open(&f.env, "t-0", &f.config, &known, &f.log, NULL, &f.e), 0);
    assert_int_equal(log_start(f.log).offset, 9);
    assert_int_equal(log_end(f.log).position, 72);
    expect_bytes("");
    assert_int_equal(log_fixture_append(&f, "line\n").base.offset, 9);
    log_fixture_reopen(&f, true);
    assert_int_equal(log_start(f.log).offset, 9);
    expect_bytes("line\n");
}

/* ---- swaps and deletions that were interrupted ---- */

static int list_leftovers(void)
{
    return log_fixture_count_files(&f, ".cleaned") + log_fixture_count_files(&f, ".swap") +
           log_fixture_count_files(&f, ".deleted");
}

/* One segment more than `keys` to compact, each record superseded by the next. */
static void make_compactable(void)
{
    f.config.cleanup_policy = CLEANUP_COMPACT;
    f.config.min_cleanable_dirty_ratio = 0;
    f.config.key_separator_len = 1;
    f.config.key_separator[0] = '=';
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 4; i++) {
        log_fixture_append(&f, "a=1\nb=1\n");
        log_fixture_append(&f, i == 1 ? "c=1\n" : "b=2\n");
        assert_int_equal(log_roll(f.log, &f.e), 0);
    }
    log_fixture_append(&f, "end\n");
    assert_int_equal(log_flush_all(f.log), 0);
}

static void a_swap_stops_at(enum faulty_call call, int nth, bool *stopped)
{
    static const char *const whole = "a=1\nb=1\nb=2\na=1\nb=1\nc=1\na=1\nb=1\nb=2\na=1\nb=1\nb=2\nend\n";
    static const char *const compacted = "c=1\na=1\nb=2\nend\n";
    _Atomic bool stop = false;
    size_t len;
    char *got;

    make_compactable();
    faulty_io_arm(&faulty, call, nth, -EIO);
    log_compact(f.log, log_end(f.log), &stop, &f.e);
    *stopped = faulty.countdown == 0;
    faulty_io_disarm(&faulty);
    log_close(f.log, NULL);
    f.log = NULL;
    open_again(13, false);
    assert_int_equal(list_leftovers(), 0);
    got = log_fixture_read(&f, &len);
    if (strcmp(got, whole) != 0 && strcmp(got, compacted) != 0) {
        fail_msg("stopped at call %d of kind %d: %s", nth, call, got);
    }
    assert_true(*stopped || strcmp(got, compacted) == 0);
    free(got);
    assert_int_equal(log_end(f.log).offset, 13);
    assert_int_equal(log_end(f.log).position, 52);
    close_log();
    open_again(13, true);
    teardown(NULL);
    setup(NULL);
}

static void a_swap_may_stop_anywhere(void **state)
{
    static const enum faulty_call calls[] = {FAULTY_RENAME, FAULTY_FSYNC, FAULTY_PWRITEV};

    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        bool stopped = true;
        int nth;

        for (nth = 1; stopped; nth++) {
            assert_true(nth < 100);
            a_swap_stops_at(calls[i], nth, &stopped);
        }
        assert_true(nth > 2);
    }
}

static void a_deletion_may_stop_anywhere(void **state)
{
    static const enum faulty_call calls[] = {FAULTY_RENAME, FAULTY_FSYNC, FAULTY_UNLINK};
    static const char *const all = "line 00\nline 01\nline 02\nline 03\nline 04\n";

    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        bool stopped = true;

        for (int nth = 1; stopped; nth++) {
            struct log_extent extent;
            size_t len;
            char *got;

            assert_true(nth < 100);
            make_two_segments();
            open_again(5, true);
            assert_int_equal(log_roll(f.log, &f.e), 0);
            faulty_io_arm(&faulty, calls[i], nth, -EIO);
            log_delete_records(f.log, log_end(f.log), &f.e);
            stopped = faulty.countdown == 0;
            faulty_io_disarm(&faulty);
            log_close(f.log, NULL);
            f.log = NULL;
            open_again(5, false);
            got = log_fixture_read(&f, &len);
            /* All, or some of the first ones gone. */
            assert_string_equal(got, all + 40 - len);
            free(got);
            assert_int_equal(list_leftovers(), 0);
            assert_int_equal(log_end(f.log).offset, 5);
            assert_true(len > 0 || log_extent_at(f.log, 0, INT64_MAX, 1, &extent, &f.e) == 0);
            teardown(NULL);
            setup(NULL);
        }
    }
}

static void rename_to(int64_t base_offset, enum segment_file kind, const char *suffix)
{
    char from[160];
    char to[160];

    path_of(base_offset, kind, "", from);
    path_of(base_offset, kind, suffix, to);
    assert_int_equal(rename(from, to), 0);
}

/* The directory was not synced yet: any of the renames may have reached the disk, the others not. */
static void any_of_the_renames_of_a_deletion(void **state)
{
    (void)state;
    for (unsigned subset = 0; subset < 1u << 8; subset++) {
        bool any_first = (subset & 0xf) != 0, any_second = (subset & 0xf0) != 0;

        make_two_segments();
        open_again(5, true);
        assert_int_equal(log_roll(f.log, &f.e), 0);
        close_log();
        for (unsigned bit = 0; bit < 8; bit++) {
            if ((subset & 1u << bit) != 0) {
                rename_to(bit < 4 ? 0 : 3, (enum segment_file)(bit % 4), ".0.deleted");
            }
        }
        open_again(5, false);
        expect_bytes(any_second  ? ""
                     : any_first ? "line 03\nline 04\n"
                                 : "line 00\nline 01\nline 02\nline 03\nline 04\n");
        assert_int_equal(log_end(f.log).offset, 5);
        assert_int_equal(list_leftovers(), 0);
        teardown(NULL);
        setup(NULL);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_wrong),
        TEST(a_torn_entry_is_cut),
        TEST(torn_bytes_are_cut),
        TEST(a_partial_entry_is_cut),
        TEST(missing_bytes_are_cut),
        TEST(bytes_without_an_entry_are_cut),
        TEST(a_cut_that_leaves_nothing_leaves_the_time_of_the_file),
        TEST(later_segments_go_with_the_cut),
        TEST(a_segment_without_its_header_goes),
        TEST(a_segment_without_its_log_goes),
        TEST(a_lone_first_segment_is_made_again),
        TEST(and_again_when_a_cut_was_under_way),
        TEST(below_the_recovery_point_nothing_is_cut),
        TEST(flushed_bytes_may_not_be_missing),
        TEST(flushed_entries_may_not_be_missing),
        TEST(a_segment_may_not_be_missing),
        TEST(a_header_must_be_its_own),
        TEST(a_log_may_not_end_before_what_was_flushed),
        TEST(an_empty_directory_may_not_have_been_flushed),
        TEST(indexes_cannot_be_made_from_damage),
        TEST(a_start_behind_damage),
        TEST(missing_indexes_are_made_again),
        TEST(index_entries_above_the_cut_go),
        TEST(a_wild_index_is_not_believed),
        TEST(the_work_is_what_was_not_flushed),
        TEST(the_start_is_kept_in_bounds),
        TEST(a_swap_may_stop_anywhere),
        TEST(a_deletion_may_stop_anywhere),
        TEST(any_of_the_renames_of_a_deletion),
    };

    return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}
