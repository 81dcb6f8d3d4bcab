/* A log that is cut back: to any point, below what was flushed too, under readers, flushes and compaction. Afterwards
 * nothing of what went is ever seen again. */
#include "tests/unit/cut_log.h"

#include <pthread.h>

struct shape {
    int64_t segment_bytes;
    int batch;
    bool shown;   /* a descriptor of each file was given away */
    bool held;    /* a reader is in the middle of it */
    bool flushed; /* all of it */
};

static const struct shape shapes[] = {
    {1 << 20, 1, false, false, false}, {1 << 20, 3, false, false, true}, {1 << 20, 1, true, false, true},
    {1 << 20, 3, false, true, false},  {40, 1, false, false, true},      {60, 3, false, false, false},
    {60, 2, true, false, true},        {50, 1, false, true, true},
};

static void show_files(void)
{
    struct log_file *files;
    size_t count;

    assert_int_equal(log_files(f.log, log_end(f.log), &files, &count, &f.e), 0);
    for (size_t i = 0; i < count; i++) {
        int fd;

        assert_int_equal(log_file_open(f.log, &files[i], &fd, &f.e), 0);
        close(fd);
    }
    free(files);
}

/* What a reader holds keeps its bytes. */
static void expect_extent(const struct log_extent *extent)
{
    char got[RECORDS * 16], want[RECORDS * 16] = "";

    assert_int_equal(pread(extent->fd, got, extent->len, extent->place), extent->len);
    for (int64_t i = extent->position / 10; i < (extent->position + (int64_t)extent->len) / 10; i++) {
        text_of(i, "old", want + strlen(want));
    }
    assert_memory_equal(got, want, extent->len);
}

static void cut_one(const struct shape *shape, int64_t to)
{
    int64_t kept = to - to % shape->batch;
    struct log_extent extent = {0};
    uint32_t cuts = log_cuts(f.log);

    f.config.segment_bytes = shape->segment_bytes;
    log_set_config(f.log, &f.config);
    append_records(0, RECORDS, shape->batch, "old");
    if (shape->flushed) {
        assert_int_equal(log_flush_all(f.log), 0);
    }
    if (shape->shown) {
        show_files();
    }
    if (shape->held) {
        assert_int_equal(log_extent_at(f.log, 10 * (RECORDS - 2), INT64_MAX, 100, &extent, &f.e), 1);
    }
    expect_truncate(to, to * 10);
    f.now_ms = f.now_ms - (RECORDS / shape->batch - kept / shape->batch) * 1000; /* the last that is left */
    expect_records(0, kept, kept);
    assert_int_equal(log_cuts(f.log), cuts + (to < RECORDS));
    assert_true(log_recovery_point(f.log) <= kept);
    if (shape->held) {
        expect_extent(&extent);
        log_extent_release(&extent);
    }
}

static void any_point_can_be_cut_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *shape = &shapes[i];

        for (int64_t to = 0; to <= RECORDS; to++) {
            int64_t kept = to - to % shape->batch;

            fresh_log();
            cut_one(shape, to);
            /* After a crash, by a checkpoint from before it; it goes on, and what comes is not what was. */
            reopen_by(false, shape->flushed ? RECORDS : 0, 0);
            expect_records(0, kept, kept);
            append_records(kept, kept + 3, 1, "new");
            expect_records(0, kept, kept + 3);
            reopen_by(false, shape->flushed ? RECORDS : 0, 0);
            expect_records(0, kept, kept + 3);
            assert_int_equal(log_flush_all(f.log), 0);
            reopen_by(true, 0, 0);
            expect_records(0, kept, kept + 3);
            reopen_by(false, kept + 3, log_cuts(f.log));
            expect_records(0, kept, kept + 3);
        }
    }
}

static void it_is_cut_again_and_again(void **state)
{
    (void)state;
    f.config.segment_bytes = 100;
    log_set_config(f.log, &f.config);
    append_records(0, 9, 1, "old");
    for (int i = 0; i < 50; i++) {
        expect_truncate(9, 90);
        append_records(9, 9 + i % 14, 1, "new");
        expect_records(0, 9, 9 + i % 14);
    }
    reopen_by(false, 0, 0);
    expect_records(0, 9, 9 + 49 % 14);
}

static void what_is_refused_changes_nothing(void **state)
{
    struct log_point to = {6, 60};

    (void)state;
    append_records(0, 12, 3, "old");
    assert_int_equal(log_truncate(f.log, f.epoch, to, &f.e), -ESTALE); /* it leads */
    follow();
    assert_int_equal(log_truncate(f.log, follower_epoch - 1, to, &f.e), -ESTALE);
    assert_int_equal(log_truncate(f.log, follower_epoch + 1, to, &f.e), -ESTALE);
    assert_int_equal(log_delete_records(f.log, (struct log_point){5, 50}, &f.e), 0);
    assert_int_equal(truncate_to(4, 40), -EINVAL);
    assert_int_equal(truncate_to(-1, 0), -EINVAL);
    expect_records(5, 12, 12);
    assert_int_equal(log_cuts(f.log), 0);
}

/* What is to go may have gone already, by whatever hand. */
static void a_file_that_is_gone_is_no_failure(void **state)
{
    (void)state;
    for (int kind = 0; kind < SEGMENT_FILES; kind++) {
        for (int64_t base = 4; base < 12; base += 4) { /* a closed one and the active one */
            fresh_log();
            f.config.segment_bytes = 40;
            log_set_config(f.log, &f.config);
            append_records(0, 12, 1, "old");
            assert_int_equal(log_fixture_segments(&f), 3);
            log_fixture_unlink(&f, base, (enum segment_file)kind);
            expect_truncate(4, 40);
            expect_records(0, 4, 4);
            assert_int_equal(log_offline(f.log), 0);
            append_records(4, 6, 1, "new");
            reopen_by(false, 4, 0);
            expect_records(0, 4, 6);
        }
    }
}

/* The start may lie within the batch that goes: then nothing is left, and it goes on at the start. */
static void the_start_is_kept(void **state)
{
    (void)state;
    append_records(0, 12, 4, "old");
    assert_int_equal(log_delete_records(f.log, (struct log_point){5, 50}, &f.e), 0);
    expect_truncate(7, 70);
    assert_int_equal(log_start(f.log).offset, 5);
    expect_end(5, 50);
    expect_bytes("");
    append_records(5, 6, 1, "new");
    reopen_by(false, 0, 0);
    expect_records(5, 5, 6);
}

/* ---- holes ---- */

static void copy_one(int64_t offset, int64_t position, const char *line)
{
    struct log_copy copy = {.base = {offset, position}, .bytes = line};
    struct log_append_result result;

    copy.entry = (struct batch_entry){.len = (uint32_t)strlen(line),
                                      .records = 1,
                                      .leader_epoch = 3,
                                      .first_timestamp_ms = 1,
                                      .last_timestamp_ms = 1,
                                      .producer_id = -1,
                                      .sequence = -1,
                                      .crc = crc32c(0, line, strlen(line))};
    assert_int_equal(log_append_copy(f.log, 9, &copy, 1, &result, &f.e), 1);
}

/* Offsets 0, 10 and 20 at 0, 50 and 100, a byte's line each. */
static void make_holes(void)
{
    assert_int_equal(log_follow(f.log, 9, &f.e), 0);
    copy_one(0, 0, "a\n");
    copy_one(10, 50, "b\n");
    copy_one(20, 100, "c\n");
}

/* Compaction took records that existed: their offsets and positions are not used again (KAFKA-17076 lost such an end).
 */
static void a_cut_within_a_hole_keeps_the_hole(void **state)
{
    static const struct {
        struct log_point to, end;
        const char *left;
        int rc;
    } cases[] = {
        {{11, 52}, {11, 52}, "a\nb\n", 0}, {{20, 100}, {20, 100}, "a\nb\n", 0},
        {{15, 70}, {15, 70}, "a\nb\n", 0}, {{15, 53}, {0, 0}, NULL, -EINVAL}, /* four records in one byte */
        {{15, 98}, {0, 0}, NULL, -EINVAL},                                    /* five records in two bytes behind it */
        {{10, 50}, {10, 50}, "a\n", 0},    {{5, 30}, {5, 30}, "a\n", 0},
        {{1, 2}, {1, 2}, "a\n", 0},        {{0, 0}, {0, 0}, "", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fresh_log();
        make_holes();
        assert_int_equal(log_truncate(f.log, 9, cases[i].to, &f.e), cases[i].rc);
        if (cases[i].rc != 0) {
            expect_bytes("a\nb\nc\n");
            continue;
        }
        for (int again = 0; again < 3; again++) {
            expect_end(cases[i].end.offset, cases[i].end.position);
            expect_bytes(cases[i].left);
            reopen_by(again == 0, 0, 0);
        }
        assert_int_equal(log_fixture_append(&f, "x\n").base.position, cases[i].end.position);
        reopen_by(false, 0, 0);
        expect_end(cases[i].end.offset + 1, cases[i].end.position + 2);
    }
}

/* ---- epochs ---- */

static void lead(int32_t epoch)
{
    assert_int_equal(log_lead(f.log, epoch, &f.e), 0);
}

static void epochs_behind_the_point_go(void **state)
{
    struct log_point end;
    int32_t found;

    (void)state;
    append_records(0, 4, 1, "old");
    lead(2);
    append_records(4, 8, 1, "old");
    lead(5);
    append_records(8, 12, 1, "old");
    expect_truncate(8, 80);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(log_latest_epoch(f.log), 2);
        log_epoch_end(f.log, 2, &found, &end);
        assert_int_equal(end.offset, 8);
        reopen_by(again == 0, 0, 0);
    }
    expect_truncate(6, 60);
    assert_int_equal(log_latest_epoch(f.log), 2);
    expect_truncate(4, 40);
    assert_int_equal(log_latest_epoch(f.log), 0);
    /* One that began at the end, of which no record came, may be another leader's: it goes, too. */
    lead(7);
    expect_truncate(4, 40);
    assert_int_equal(log_latest_epoch(f.log), 0);
    expect_records(0, 4, 4);
}

/* ---- those who are under way ---- */

struct late {
    struct log_flush flush;
    int calls, rc;
};

static void note(struct log_flush *flush, int rc)
{
    struct late *late = (struct late *)flush;

    late->calls++;
    late->rc = rc;
}

static struct late in_round = {.flush.done = note}, in_queue = {.flush.done = note}, below = {.flush.done = note};
static int (*real_fdatasync)(struct io *io, int fd);

/* In the middle of a flush others ask for one, and the log is cut back and grows again. */
static int cut_meanwhile(struct io *io, int fd)
{
    faulty.io.fdatasync = real_fdatasync;
    in_queue.flush.upto = 12;
    below.flush.upto = 4;
    assert_int_equal(log_flush(f.log, &in_queue.flush), 0);
    assert_int_equal(log_flush(f.log, &below.flush), 0);
    expect_truncate(6, 60);
    append_records(6, 20, 1, "new");
    return real_fdatasync(io, fd);
}

static void a_flush_promises_nothing_that_was_cut(void **state)
{
    (void)state;
    append_records(0, 12, 1, "old");
    in_round = in_queue = below = (struct late){.flush.done = note};
    real_fdatasync = faulty.io.fdatasync;
    faulty.io.fdatasync = cut_meanwhile;
    in_round.flush.upto = 12;
    assert_int_equal(log_flush(f.log, &in_round.flush), 0);
    assert_int_equal(in_round.calls, 1);
    assert_int_equal(in_round.rc, -EIO);
    assert_int_equal(in_queue.calls, 1);
    assert_int_equal(in_queue.rc, -EIO); /* although the log reaches over 12 again */
    assert_int_equal(below.calls, 1);
    assert_int_equal(below.rc, 0);
    assert_int_equal(log_offline(f.log), 0);
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_recovery_point(f.log), 20);
    expect_records(0, 6, 20);
}

/* The flush under way may only have what was there when it began (KAFKA-10101 moved a recovery point over more). */
static int cut_and_stay(struct io *io, int fd)
{
    faulty.io.fdatasync = real_fdatasync;
    expect_truncate(6, 60);
    append_records(6, 20, 1, "new");
    return real_fdatasync(io, fd);
}

static void the_recovery_point_does_not_pass_the_cut(void **state)
{
    (void)state;
    append_records(0, 12, 1, "old");
    in_round = (struct late){.flush.done = note};
    real_fdatasync = faulty.io.fdatasync;
    faulty.io.fdatasync = cut_and_stay;
    in_round.flush.upto = 5;
    assert_int_equal(log_flush(f.log, &in_round.flush), 0);
    assert_int_equal(in_round.rc, 0);
    assert_int_equal(log_recovery_point(f.log), 6);
}

static void compaction_under_way_ends(void **state)
{
    char *before, *after;
    size_t len;

    (void)state;
    f.config.cleanup_policy = CLEANUP_COMPACT;
    f.config.min_cleanable_dirty_ratio = 0.01;
    f.config.segment_bytes = 30;
    strcpy(f.config.key_separator, "=");
    f.config.key_separator_len = 1;
    log_set_config(f.log, &f.config);
    for (int i = 0; i < 12; i++) {
        char line[24];

        snprintf(line, sizeof line, "k%d=%05d\n", i % 3, i);
        log_fixture_append(&f, line);
    }
    before = log_fixture_read(&f, &len);
    /* In the flush with which compaction brings the successors to the disk, they are cut off. */
    real_fdatasync = faulty.io.fdatasync;
    faulty.io.fdatasync = cut_and_stay;
    assert_int_equal(log_compact(f.log, log_end(f.log), NULL, &f.e), 0);
    after = log_fixture_read(&f, &len);
    assert_memory_equal(after, before, 54); /* six records: each superseded only by what went */
    assert_int_equal(log_cleaner_offset(f.log), 0);
    free(before);
    free(after);
}

/* ---- the disk ---- */

/* Each call in turn fails for want of room: nothing has changed, or all has; and then it goes well. */
static void a_full_disk_cuts_all_or_nothing(void **state)
{
    static const enum faulty_call kinds[] = {FAULTY_PWRITEV, FAULTY_OPEN, FAULTY_RENAME};

    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (int shown = 0; shown < 2; shown++) {
            for (int n = 1;; n++) {
                int rc;

                fresh_log();
                f.config.segment_bytes = 50;
                log_set_config(f.log, &f.config);
                append_records(0, 12, 1, "old");
                if (shown != 0) {
                    show_files();
                }
                faulty_io_arm(&faulty, kinds[k], n, -ENOSPC);
                rc = truncate_to(7, 70);
                bool hit = faulty.fail != kinds[k] || atomic_load(&faulty.countdown) <= 0;
                faulty_io_disarm(&faulty);
                assert_int_equal(log_offline(f.log), 0);
                if (rc != 0) {
                    assert_int_equal(rc, -ENOSPC);
                    expect_records(0, 12, 12);
                    assert_int_equal(log_latest_epoch(f.log), 0);
                    reopen_by(false, 0, 0);
                    expect_records(0, 12, 12);
                    expect_truncate(7, 70);
                }
                f.now_ms -= 5000;
                expect_records(0, 7, 7);
                reopen_by(false, 12, 0);
                expect_records(0, 7, 7);
                append_records(7, 9, 1, "new");
                expect_records(0, 7, 9);
                if (!hit) {
                    break;
                }
            }
        }
    }
}

static int keep_old_name(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    (void)io;
    return strstr(to, ".truncated") != NULL ? -ENOSPC : io_posix()->rename(io_posix(), from_dirfd, from, to_dirfd, to);
}

static int keep_file(struct io *io, int dirfd, const char *name, int flags)
{
    (void)io;
    (void)dirfd;
    (void)name;
    (void)flags;
    return -ENOSPC;
}

/* What went keeps its names for a while, and what has come in its place the one that says so: nothing is appended
 * before, no later cut takes it for one that was given up, and a start has all of it. */
static void what_went_may_keep_its_names_for_a_while(void **state)
{
    struct io real = faulty.io;
    struct log_copy copy = {.base = {7, 70}, .bytes = "new   007\n"};
    struct log_append_result result;

    copy.entry = (struct batch_entry){
        .len = 10, .records = 1, .leader_epoch = 0, .producer_id = -1, .crc = crc32c(0, copy.bytes, 10)};
    for (int later = 0; later < 2; later++) {
        teardown(state);
        setup(state);
        f.config.segment_bytes = 50;
        log_set_config(f.log, &f.config);
        append_records(0, 12, 1, "old");
        show_files();
        faulty.io.rename = keep_old_name;
        faulty.io.unlink = keep_file;
        assert_int_equal(truncate_to(7, 70), -ENOSPC);
        assert_int_equal(log_append_copy(f.log, follower_epoch, &copy, 1, &result, &f.e), -ENOSPC);
        expect_end(7, 70);
        faulty.io.rename = real.rename;
        faulty.io.unlink = real.unlink;
        assert_int_equal(log_truncate(f.log, follower_epoch, (struct log_point){7, 70}, &f.e), 0);
        f.now_ms -= 5000;
        if (later != 0) {
            append_records(7, 9, 1, "new");
            expect_truncate(8, 80);
            f.now_ms -= 1000;
        }
        expect_records(0, 7, later != 0 ? 8 : 7);
        reopen_by(false, 0, 0);
        expect_records(0, 7, later != 0 ? 8 : 7);
    }
}

static void a_failed_sync_takes_it_offline(void **state)
{
    (void)state;
    for (int n = 1; n < 6; n++) {
        fresh_log();
        append_records(0, 12, 1, "old");
        faulty_io_arm(&faulty, FAULTY_FSYNC, n, -EIO);
        assert_int_equal(truncate_to(7, 70), -EIO);
        faulty_io_disarm(&faulty);
        assert_true(log_offline(f.log) != 0);
        assert_int_equal(log_truncate(f.log, follower_epoch, (struct log_point){6, 60}, &f.e), -EIO);
    }
}

/* ---- files that were shown ---- */

static void a_shown_file_is_not_shortened(void **state)
{
    struct log_file file, after;
    struct stat st;
    int fd, again;

    (void)state;
    append_records(0, 12, 1, "old");
    assert_int_equal(log_file_find(f.log, 0, SEGMENT_LOG, log_end(f.log), &file, &f.e), 0);
    assert_int_equal(log_file_open(f.log, &file, &fd, &f.e), 0);
    expect_truncate(5, 50);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 120);
    assert_int_equal(log_file_find(f.log, 0, SEGMENT_LOG, log_end(f.log), &after, &f.e), 0);
    assert_true(after.generation != file.generation);
    assert_int_equal(after.size, 50);
    assert_int_equal(log_file_open(f.log, &file, &again, &f.e), -ENOENT);
    close(fd);
    /* Nobody has seen this one: it is cut as it is. */
    append_records(5, 9, 1, "new");
    assert_int_equal(log_file_find(f.log, 5, SEGMENT_LOG, log_end(f.log), &file, &f.e), 0);
    expect_truncate(7, 70);
    assert_int_equal(log_file_find(f.log, 5, SEGMENT_LOG, log_end(f.log), &after, &f.e), 0);
    assert_true(after.generation == file.generation);
    expect_bytes("old   000\nold   001\nold   002\nold   003\nold   004\nnew   005\nnew   006\n");
}

/* Reads some of it, without a look at what. */
static int read_from(int64_t position, int64_t limit)
{
    struct log_extent extent;
    int rc = log_extent_at(f.log, position, limit, 1000, &extent, &f.e);

    if (rc == 1) {
        log_extent_release(&extent);
    }
    return rc;
}

/* After a start each batch is checked before it is first shown: what was cut is none of those any more, and what was
 * left is. read: up to where that was done before the cut. */
static void what_was_to_be_checked_is_cut_as_well(void **state)
{
    static const int64_t read[] = {0, 3, 5, 8, 12};

    (void)state;
    for (size_t i = 0; i < sizeof read / sizeof read[0]; i++) {
        struct log_file before, after;

        fresh_log();
        append_records(0, 12, 1, "old");
        log_fixture_reopen(&f, true);
        assert_int_equal(read_from(0, read[i] * 10), read[i] > 0);
        assert_int_equal(log_file_find(f.log, 0, SEGMENT_LOG, log_end(f.log), &before, &f.e), 0);
        expect_truncate(5, 50);
        assert_int_equal(log_file_find(f.log, 0, SEGMENT_LOG, log_end(f.log), &after, &f.e), 0);
        assert_true(after.generation == before.generation); /* in place */
        expect_records(0, 5, 5);
        append_records(5, 9, 1, "new");
        expect_records(0, 5, 9);
        assert_int_equal(atomic_load(&f.reports), 0);
    }
}

static void damage_in_front_of_a_cut_is_found(void **state)
{
    (void)state;
    append_records(0, 12, 1, "old");
    log_fixture_reopen(&f, true);
    assert_int_equal(read_from(50, 120), 1);
    log_fixture_damage(&f, 0, SEGMENT_LOG, 33);
    expect_truncate(8, 80);
    append_records(8, 12, 1, "new");
    assert_int_equal(read_from(40, 120), 1);
    assert_int_equal(read_from(0, 120), -EIO);
}

/* ---- readers that run meanwhile ---- */

static _Atomic bool done;

/* Below the point everything is always there, and as it was. */
static void *read_below(void *arg)
{
    (void)arg;
    while (!atomic_load(&done)) {
        int64_t position = 0;

        while (position < 60) {
            struct log_extent extent;
            char got[64];
            int rc = log_extent_at(f.log, position, 60, 60, &extent, NULL);

            if (rc != 1 || extent.position != position ||
                pread(extent.fd, got, extent.len, extent.place) != (ssize_t)extent.len || got[0] != 'o') {
                return (void *)(uintptr_t) "bytes below the point are not there";
            }
            position += (int64_t)extent.len;
            log_extent_release(&extent);
        }
    }
    return NULL;
}

static void *ask_anywhere(void *arg)
{
    (void)arg;
    while (!atomic_load(&done)) {
        struct log_point end = log_end(f.log), got;
        struct log_extent extent;

        if (log_lookup_offset(f.log, end.offset - 2, end, &got, NULL) != 0 ||
            log_lookup_time(f.log, 1, end, &got, NULL) != 0) {
            return (void *)(uintptr_t) "a look-up fails";
        }
        if (log_extent_at(f.log, 60, end.position, 1000, &extent, NULL) == 1) {
            log_extent_release(&extent);
        }
        log_flush_all(f.log);
    }
    return NULL;
}

static void readers_go_on_meanwhile(void **state)
{
    pthread_t threads[3];
    void *why;

    (void)state;
    f.config.segment_bytes = 150;
    log_set_config(f.log, &f.config);
    append_records(0, 6, 1, "old");
    atomic_store(&done, false);
    assert_int_equal(pthread_create(&threads[0], NULL, read_below, NULL), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, read_below, NULL), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, ask_anywhere, NULL), 0);
    for (int i = 0; i < 300; i++) {
        append_records(6, 7 + i % 17, 1, "new");
        expect_truncate(6, 60);
    }
    atomic_store(&done, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], &why), 0);
        if (why != NULL) {
            fail_msg("%s", (const char *)why);
        }
    }
    assert_int_equal(atomic_load(&f.reports), 0);
    expect_records(0, 6, 6);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_point_can_be_cut_to),
        TEST(it_is_cut_again_and_again),
        TEST(what_is_refused_changes_nothing),
        TEST(a_file_that_is_gone_is_no_failure),
        TEST(the_start_is_kept),
        TEST(a_cut_within_a_hole_keeps_the_hole),
        TEST(epochs_behind_the_point_go),
        TEST(a_flush_promises_nothing_that_was_cut),
        TEST(the_recovery_point_does_not_pass_the_cut),
        TEST(compaction_under_way_ends),
        TEST(a_full_disk_cuts_all_or_nothing),
        TEST(what_went_may_keep_its_names_for_a_while),
        TEST(a_failed_sync_takes_it_offline),
        TEST(a_shown_file_is_not_shortened),
        TEST(what_was_to_be_checked_is_cut_as_well),
        TEST(damage_in_front_of_a_cut_is_found),
        TEST(readers_go_on_meanwhile),
    };

    return cmocka_run_group_tests_name("log_truncate", tests, NULL, NULL);
}
