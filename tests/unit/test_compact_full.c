/* tests/unit/test_compact_full.c: compaction where room, memory or descriptors run out: what it leaves, and that it
 * goes on. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/log/log.h"
#include "tests/unit/compact_fixture.h"
#include "tests/unit/log_fixture.h"

/* ---- at each call that takes room, or a descriptor ---- */

static struct io tight;
static int tight_rc; /* what there is too little of: -ENOSPC, -ENOMEM, -EMFILE */
static int room;     /* calls that still succeed; -1: enough */

static bool has_room(void)
{
    return room < 0 || room-- > 0;
}

static int tight_open(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    bool takes = (flags & O_CREAT) != 0 || tight_rc == -EMFILE;

    return takes && !has_room() ? tight_rc : io_posix()->open(io, dirfd, name, flags, mode);
}

static ssize_t tight_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    return tight_rc == -EMFILE || has_room() ? io_posix()->pwritev(io, fd, iov, iovcnt, at) : tight_rc;
}

/* Five segments, each a group of its own for its size, over a cache of four: what a pass has done with is closed when
 * it is looked at again. The log start lies inside the first, so that it is looked at after each swap. */
static void shortage_is_survived(int rc)
{
    static const char before[] = "b=1\na=2\nb=2\nc=1\nc=2\nd=1\nd=2\ne=1\ne=2\n";
    static const char after[] = "a=2\nb=2\nc=2\nd=2\ne=2\n";
    int tries, got = rc;

    tight = f.posix;
    tight.open = tight_open;
    tight.pwritev = tight_pwritev;
    tight_rc = rc;
    room = -1;
    f.io = &tight;
    f.config.segment_bytes = 8;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\nb=1\na=2\n");
    log_fixture_append(&f, "b=2\nc=1\n");
    log_fixture_append(&f, "c=2\nd=1\n");
    log_fixture_append(&f, "d=2\ne=1\n");
    log_fixture_append(&f, "e=2\n");
    roll();
    assert_int_equal(log_delete_records(f.log, (struct log_point){1, 4}, &f.e), 0);
    for (tries = 0; got == rc; tries++) {
        room = tries;
        got = compact();
        room = -1;
        assert_int_equal(log_offline(f.log), 0);
        assert_int_equal(log_fixture_count_files(&f, ".cleaned"), 0);
        assert_int_equal(log_fixture_count_files(&f, ".swap"), 0);
        if (tries == 0) {
            expect_bytes(before);
        }
    }
    assert_int_equal(got, 1);
    assert_true(tries > 6);
    expect_bytes(after);
    log_fixture_append(&f, "f=1\n");
    log_fixture_reopen(&f, false);
    expect_bytes("a=2\nb=2\nc=2\nd=2\ne=2\nf=1\n");
}

static void shortages_are_survived(void **state)
{
    static const int reasons[] = {-ENOSPC, -ENOMEM, -EMFILE};

    (void)state;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        shortage_is_survived(reasons[i]);
        teardown(NULL);
        setup(NULL);
    }
}

/* ---- names that are refused ---- */

static int names_left;  /* renames from `.swap` to a last name that still succeed; -1: any number */
static int names_until; /* renames of any kind until the process is as dead; -1: it is not to be */

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name);

    return len >= strlen(suffix) && strcmp(name + len - strlen(suffix), suffix) == 0;
}

static int tight_rename(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    if (names_until >= 0 && names_until-- == 0) {
        names_until = 0;
        return -EIO;
    }
    if (ends_with(from, ".swap") && !ends_with(to, ".deleted") && names_left >= 0 && names_left-- == 0) {
        names_left = 0;
        return tight_rc;
    }
    return io_posix()->rename(io, from_dirfd, from, to_dirfd, to);
}

static int tight_unlink(struct io *io, int dirfd, const char *name, int flags)
{
    return names_until == 0 ? -EIO : io_posix()->unlink(io, dirfd, name, flags);
}

/* Offsets 0 to 4 in two segments, compacted into one of which `named` of the four files have got their names. */
static void make_waiting(int named)
{
    tight = f.posix;
    tight.rename = tight_rename;
    tight.unlink = tight_unlink;
    f.io = &tight;
    names_left = -1;
    names_until = -1;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a=1\nb=1\na=2\n");
    roll();
    log_fixture_append(&f, "b=2\nc=1\n");
    roll();
    names_left = named;
    tight_rc = named % 2 == 0 ? -ENOSPC : -ENOMEM;
    assert_int_equal(compact(), tight_rc);
    assert_non_null(strstr(f.e.text, ".swap"));
    assert_int_equal(log_offline(f.log), 0);
    assert_int_equal(log_fixture_count_files(&f, ".swap"), 4 - named);
    assert_int_equal(log_fixture_count_files(&f, ".cleaned"), 0);
    expect_bytes("a=2\nb=2\nc=1\n");
}

static int first_names_left; /* renames from `.cleaned` to `.swap` that still succeed */

static int refuse_first_names(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    if (ends_with(to, ".swap") && first_names_left-- == 0) {
        return tight_rc;
    }
    return io_posix()->rename(io, from_dirfd, from, to_dirfd, to);
}

/* Before the first of the old segments is touched, so the pass is as if it had not been. The log start lies inside. */
static void first_names_may_be_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        tight = f.posix;
        tight.rename = refuse_first_names;
        tight_rc = i % 2 == 0 ? -ENOMEM : -EDQUOT;
        f.io = &tight;
        log_fixture_open(&f, NULL);
        log_fixture_append(&f, "a=1\nb=1\na=2\n");
        roll();
        assert_int_equal(log_delete_records(f.log, (struct log_point){1, 4}, &f.e), 0);
        first_names_left = i;
        assert_int_equal(compact(), tight_rc);
        assert_int_equal(log_offline(f.log), 0);
        assert_int_equal(log_fixture_count_files(&f, ".swap"), 0);
        assert_int_equal(log_fixture_count_files(&f, ".cleaned"), 0);
        expect_bytes("b=1\na=2\n");
        first_names_left = 100;
        log_fixture_append(&f, "b=2\n");
        roll();
        assert_int_equal(compact(), 1);
        expect_bytes("a=2\nb=2\n");
        teardown(NULL);
        setup(NULL);
    }
}

static int old_names_left; /* renames to `.deleted`, and unlinks, that still succeed; -1: any number */

static int refuse_old_names(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    if (ends_with(to, ".deleted") && old_names_left >= 0 && old_names_left-- == 0) {
        old_names_left = 0;
        return tight_rc;
    }
    return io_posix()->rename(io, from_dirfd, from, to_dirfd, to);
}

static int refuse_unlink(struct io *io, int dirfd, const char *name, int flags)
{
    if (old_names_left >= 0 && old_names_left-- == 0) {
        old_names_left = 0;
        return tight_rc;
    }
    return io_posix()->unlink(io, dirfd, name, flags);
}

/* Neither renamed nor unlinked, as on a file system that takes room for both: the new ones keep `.swap` for so long, in
 * this process and over a restart. */
static void old_names_may_stay(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * 10; i++) {
        tight = f.posix;
        tight.rename = refuse_old_names;
        tight.unlink = refuse_unlink;
        tight_rc = i % 2 == 0 ? -ENOSPC : -ENOMEM;
        f.io = &tight;
        old_names_left = -1;
        log_fixture_open(&f, NULL);
        log_fixture_append(&f, "a=1\nb=1\na=2\n");
        roll();
        log_fixture_append(&f, "b=2\nc=1\n");
        roll();
        old_names_left = i / 3;
        if (compact() != 1) {
            assert_int_equal(log_fixture_count_files(&f, ".swap"), 4);
            assert_int_equal(compact(), tight_rc);
        }
        assert_int_equal(log_offline(f.log), 0);
        expect_bytes("a=2\nb=2\nc=1\n");
        log_fixture_append(&f, "d=1\n");
        old_names_left = -1;
        if (i % 3 == 0) {
            roll();
            assert_int_equal(compact(), 1);
            assert_int_equal(log_fixture_count_files(&f, ".swap"), 0);
        }
        log_fixture_reopen(&f, i % 3 == 1);
        expect_bytes("a=2\nb=2\nc=1\nd=1\n");
        assert_int_equal(log_fixture_count_files(&f, ".swap"), 0);
        assert_int_equal(log_fixture_count_files(&f, ".deleted"), 0);
        assert_int_equal(f.reports, 0);
        teardown(NULL);
        setup(NULL);
    }
}

static void names_may_wait_for_room(void **state)
{
    struct log_file file;
    int fd;

    (void)state;
    for (int named = 0; named < 4; named++) {
        make_waiting(named);
        /* Closed by the cache and opened again, and by others, under the names that they have. */
        for (int i = 0; i < 6; i++) {
            log_fixture_append(&f, "no key\n");
            roll();
        }
        log_fixture_append(&f, "d=1\n");
        expect_point(0, 2, 8);
        for (int kind = 0; kind < SEGMENT_FILES; kind++) {
            assert_int_equal(log_file_find(f.log, 0, (enum segment_file)kind, log_end(f.log), &file, &f.e), 0);
            assert_int_equal(log_file_open(f.log, &file, &fd, &f.e), 0);
            close(fd);
        }
        /* No pass begins before. */
        assert_int_equal(compact(), tight_rc);
        assert_int_equal(log_fixture_count_files(&f, ".cleaned"), 0);
        names_left = -1;
        assert_int_equal(compact(), 1);
        assert_int_equal(log_fixture_count_files(&f, ".swap"), 0);
        expect_point(0, 2, 8);
        assert_int_equal(f.reports, 0);
        teardown(NULL);
        setup(NULL);
    }
}

/* The process ends while they wait, cleanly or not: the next open gives them. */
static void names_wait_over_a_restart(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        make_waiting(i / 2);
        names_left = -1;
        log_fixture_reopen(&f, i % 2 == 0);
        assert_int_equal(log_fixture_count_files(&f, ".swap"), 0);
        assert_int_equal(log_fixture_count_files(&f, ".log"), 2);
        expect_bytes("a=2\nb=2\nc=1\n");
        teardown(NULL);
        setup(NULL);
    }
}

/* Retention takes the segment meanwhile, and may be broken off after any of its renames: all of it is there or none. */
static void what_waits_may_be_deleted(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * 5; i++) {
        int named = i / 5, until = i % 5;
        struct log_known known = {0};
        int rc;

        make_waiting(named);
        log_fixture_append(&f, "d=1\n");
        names_until = until < 4 ? until : -1;
        rc = log_delete_records(f.log, (struct log_point){5, 20}, &f.e);
        assert_int_equal(rc, until < 4 ? -EIO : 0);
        log_close(f.log, NULL);
        names_until = -1;
        names_left = -1;
        log_fixture_open(&f, &known);
        expect_bytes(until == 0 ? "a=2\nb=2\nc=1\nd=1\n" : "d=1\n");
        assert_int_equal(log_fixture_count_files(&f, ".swap"), 0);
        assert_int_equal(log_fixture_count_files(&f, ".deleted"), 0);
        teardown(NULL);
        setup(NULL);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(shortages_are_survived),  TEST(first_names_may_be_refused), TEST(old_names_may_stay),
        TEST(names_may_wait_for_room), TEST(names_wait_over_a_restart),  TEST(what_waits_may_be_deleted),
    };

    return cmocka_run_group_tests_name("compact_full", tests, NULL, NULL);
}
