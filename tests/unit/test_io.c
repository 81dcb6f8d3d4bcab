/* The disk calls: short reads and writes are looped over, small files replaced whole. A table in front of the real one
 * makes each write short, or fails the n-th call. */
#include "engine/base/io.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int dirfd_of_test = -1;
static char dir_path[64];

static int make_dir(void **state)
{
    (void)state;
    scratch_make(dir_path, sizeof dir_path, "io");
    dirfd_of_test = open(dir_path, O_RDONLY | O_DIRECTORY);
    return dirfd_of_test < 0 ? -1 : 0;
}

static int remove_one(void *arg, const char *name)
{
    (void)arg;
    return unlinkat(dirfd_of_test, name, 0);
}

static int remove_dir(void **state)
{
    (void)state;
    io_posix()->list(io_posix(), dirfd_of_test, remove_one, NULL);
    close(dirfd_of_test);
    return rmdir(dir_path);
}

/* ---- a table in front ---- */

static ssize_t short_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    (void)io;
    for (int i = 0; i < iovcnt; i++) {
        if (iov[i].iov_len > 0) {
            return pwrite(fd, iov[i].iov_base, iov[i].iov_len < 3 ? iov[i].iov_len : 3, at);
        }
    }
    return 0;
}

static ssize_t short_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    (void)io;
    return pread(fd, buf, len < 2 ? len : 2, at);
}

static int fails(struct io *io, int fd)
{
    (void)io;
    (void)fd;
    return -EIO;
}

static ssize_t full_disk(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    (void)io;
    (void)fd;
    (void)iov;
    (void)iovcnt;
    (void)at;
    return -ENOSPC;
}

static int create(const char *name)
{
    int fd = io_posix()->open(io_posix(), dirfd_of_test, name, O_RDWR | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    return fd;
}

static void short_writes_and_reads_are_completed(void **state)
{
    struct io io = *io_posix();
    struct iovec iov[] = {{"hello", 5}, {"", 0}, {", wor", 5}, {"ld!!", 4}};
    char back[14];
    int fd = create("short");

    (void)state;
    io.pwritev = short_pwritev;
    io.pread = short_pread;
    assert_int_equal(io_pwritev_all(&io, fd, iov, 4, 10), 0);
    assert_int_equal(io_pread_all(&io, fd, back, 14, 10), 0);
    assert_memory_equal(back, "hello, world!!", 14);
    assert_int_equal(io_pread_all(&io, fd, back, 14, 11), -EIO);
    close(fd);
}

static void more_pieces_than_one_call_takes(void **state)
{
    enum { PIECES = IOV_MAX + 500 };
    static struct iovec iov[PIECES];
    static uint8_t data[PIECES * 3];
    static uint8_t back[PIECES * 3];
    int fd = create("pieces");

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (size_t i = 0; i < PIECES; i++) {
        iov[i] = (struct iovec){data + 3 * i, 3};
    }
    assert_int_equal(io_pwritev_all(io_posix(), fd, iov, PIECES, 0), 0);
    assert_int_equal(io_pread_all(io_posix(), fd, back, sizeof back, 0), 0);
    assert_memory_equal(back, data, sizeof data);
    close(fd);
}

static int64_t blocks_bytes(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (int64_t)st.st_blocks * 512;
}

/* Of the file system of /var/tmp, which is a disk's. */
static int create_on_disk(void)
{
    char path[] = "/var/tmp/logmnt-test-io-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

/* What the engine rests on, on a file system for which it asks. */
static void blocks_ahead_go_with_a_cut_to_the_size_that_there_is(void **state)
{
    enum { HALF = 512 << 10, SLACK = 64 << 10 };
    static uint8_t data[HALF];
    const struct iovec half = {data, HALF};
    int rc, fd = create_on_disk();

    (void)state;
    assert_int_equal(io_pwritev_all(io_posix(), fd, &half, 1, 0), 0);
    rc = io_posix()->allocate(io_posix(), fd, HALF, 2 * HALF);
    assert_true(rc == 0 || rc == -EOPNOTSUPP);
    assert_int_equal(lseek(fd, 0, SEEK_END), HALF);
    assert_true(rc != 0 || blocks_bytes(fd) >= 3 * HALF);
    assert_int_equal(io_posix()->ftruncate(io_posix(), fd, HALF), 0);
    assert_in_range(blocks_bytes(fd), 0, HALF + SLACK);
    close(fd);
}

static void replace_and_read(void **state)
{
    struct err e;
    char *text;
    size_t len;

    (void)state;
    assert_int_equal(io_replace_file(io_posix(), dirfd_of_test, "f", "one", 3, &e), 0);
    assert_int_equal(io_replace_file(io_posix(), dirfd_of_test, "f", "two!", 4, &e), 0);
    assert_int_equal(io_read_file(io_posix(), dirfd_of_test, "f", 4, &text, &len, &e), 0);
    assert_int_equal(len, 4);
    assert_string_equal(text, "two!");
    free(text);
    assert_int_equal(io_read_file(io_posix(), dirfd_of_test, "f", 3, &text, &len, &e), -EFBIG);
    assert_null(text);
    assert_int_equal(io_read_file(io_posix(), dirfd_of_test, "none", 3, &text, &len, &e), -ENOENT);
    assert_null(text);
    assert_string_equal(e.text, "open none: No such file or directory");
    assert_int_equal(faccessat(dirfd_of_test, "f.tmp", F_OK, 0), -1);
}

static void failed_replacement_leaves_the_old_file(void **state)
{
    struct io io = *io_posix();
    struct err e;
    char *text;
    size_t len;

    (void)state;
    assert_int_equal(io_replace_file(io_posix(), dirfd_of_test, "g", "old", 3, &e), 0);
    io.pwritev = full_disk;
    assert_int_equal(io_replace_file(&io, dirfd_of_test, "g", "new", 3, &e), -ENOSPC);
    assert_string_equal(e.text, "write g.tmp: No space left on device");
    io = *io_posix();
    io.fsync = fails;
    assert_int_equal(io_replace_file(&io, dirfd_of_test, "g", "new", 3, &e), -EIO);
    assert_int_equal(io_read_file(io_posix(), dirfd_of_test, "g", 10, &text, &len, &e), 0);
    assert_string_equal(text, "old");
    free(text);
    assert_int_equal(faccessat(dirfd_of_test, "g.tmp", F_OK, 0), -1);
}

struct listing {
    int count;
    int stop_at;
};

static int count_name(void *arg, const char *name)
{
    struct listing *l = arg;

    assert_string_not_equal(name, ".");
    assert_string_not_equal(name, "..");
    return ++l->count == l->stop_at ? 42 : 0;
}

static void list_names_all_twice_over(void **state)
{
    struct listing l = {0, -1};
    int before;

    (void)state;
    assert_int_equal(io_posix()->list(io_posix(), dirfd_of_test, count_name, &l), 0);
    before = l.count;
    close(create("another"));
    l.count = 0;
    assert_int_equal(io_posix()->list(io_posix(), dirfd_of_test, count_name, &l), 0);
    assert_int_equal(l.count, before + 1);
    l = (struct listing){0, 1};
    assert_int_equal(io_posix()->list(io_posix(), dirfd_of_test, count_name, &l), 42);
}

static void map_sees_later_writes(void **state)
{
    int fd = create("map");
    const void *addr;

    (void)state;
    assert_int_equal(io_posix()->map(io_posix(), fd, 8192, &addr), 0);
    assert_int_equal(pwrite(fd, "later", 5, 0), 5);
    assert_memory_equal(addr, "later", 5);
    assert_int_equal(io_posix()->unmap(io_posix(), addr, 8192), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_writes_and_reads_are_completed),
        cmocka_unit_test(more_pieces_than_one_call_takes),
        cmocka_unit_test(blocks_ahead_go_with_a_cut_to_the_size_that_there_is),
        cmocka_unit_test(replace_and_read),
        cmocka_unit_test(failed_replacement_leaves_the_old_file),
        cmocka_unit_test(list_names_all_twice_over),
        cmocka_unit_test(map_sees_later_writes),
    };

    return cmocka_run_group_tests_name("io", tests, make_dir, remove_dir);
}
