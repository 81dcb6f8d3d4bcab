/* The cache epoch → start offset; expectations follow Kafka's LeaderEpochFileCacheTest. After each change the file is
 * loaded again and must say the same. */
#include "engine/log/epochs.h"

#include <errno.h>
#include <fcntl.h>
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
static char dir_path[] = "/tmp/logmnt-test-epochs-XXXXXX";
static struct epochs epochs;
static struct err e;

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir_path, sizeof dir_path, "/tmp/logmnt-test-epochs-XXXXXX");
    if (mkdtemp(dir_path) == NULL) {
        return -1;
    }
    dirfd_of_test = open(dir_path, O_RDONLY | O_DIRECTORY);
    return dirfd_of_test < 0 ? -1 : epochs_load(io_posix(), dirfd_of_test, &epochs, &e);
}

static int remove_dir(void **state)
{
    (void)state;
    epochs_free(&epochs);
    unlinkat(dirfd_of_test, "leader-epochs", 0);
    close(dirfd_of_test);
    return rmdir(dir_path);
}

static void assign(int32_t epoch, int64_t start)
{
    assert_int_equal(epochs_assign(io_posix(), dirfd_of_test, &epochs, epoch, start, &e), 0);
}

/* Memory and file both hold these pairs of epoch and start. */
static void expect(const int64_t (*want)[2], uint32_t count)
{
    struct epochs loaded;

    assert_int_equal(epochs_load(io_posix(), dirfd_of_test, &loaded, &e), 0);
    assert_int_equal(epochs.count, count);
    assert_int_equal(loaded.count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(epochs.entries[i].epoch, want[i][0]);
        assert_int_equal(epochs.entries[i].start_offset, want[i][1]);
        assert_int_equal(loaded.entries[i].epoch, want[i][0]);
        assert_int_equal(loaded.entries[i].start_offset, want[i][1]);
    }
    epochs_free(&loaded);
}

#define EXPECT(...)                                                                                                    \
    do {                                                                                                               \
        const int64_t want_[][2] = {__VA_ARGS__};                                                                      \
        expect(want_, sizeof want_ / sizeof *want_);                                                                   \
    } while (0)

static void expect_end(int32_t asked, int64_t log_end, int32_t epoch, int64_t offset)
{
    int32_t found = 99;

    assert_int_equal(epochs_end_offset(&epochs, asked, log_end, &found), offset);
    assert_int_equal(found, epoch);
}

static void empty(void **state)
{
    (void)state;
    assert_int_equal(epochs_latest(&epochs), -1);
    expect_end(0, 100, -1, -1);
}

static void assign_adds_rising_epochs(void **state)
{
    (void)state;
    assign(0, 0);
    assign(2, 10);
    assign(2, 12);
    assign(1, 15);
    EXPECT({0, 0}, {2, 10});
    assert_int_equal(epochs_latest(&epochs), 2);
    /* An epoch without records gives way to the one that starts where it did. */
    assign(5, 10);
    EXPECT({0, 0}, {5, 10});
    assign(6, 4);
    EXPECT({0, 0}, {6, 4});
    assign(7, 0);
    EXPECT({7, 0});
}

static void end_offsets(void **state)
{
    (void)state;
    assign(2, 5);
    assign(4, 11);
    assign(7, 20);
    expect_end(7, 33, 7, 33); /* the latest: the log's end */
    expect_end(4, 33, 4, 20); /* the next one's start */
    expect_end(2, 33, 2, 11);
    expect_end(3, 33, 2, 11); /* unknown between two: the lower one's end */
    expect_end(6, 33, 4, 20);
    expect_end(1, 33, 1, 5);  /* below all: ended where the first begins */
    expect_end(8, 33, 7, -1); /* above all: unknown */
}

static void truncate_end(void **state)
{
    (void)state;
    assign(2, 6);
    assign(3, 8);
    assign(4, 11);
    assert_int_equal(epochs_truncate_end(io_posix(), dirfd_of_test, &epochs, 12, &e), 0);
    EXPECT({2, 6}, {3, 8}, {4, 11});
    assert_int_equal(epochs_truncate_end(io_posix(), dirfd_of_test, &epochs, 9, &e), 0);
    EXPECT({2, 6}, {3, 8});
    assert_int_equal(epochs_truncate_end(io_posix(), dirfd_of_test, &epochs, 8, &e), 0);
    EXPECT({2, 6});
    assert_int_equal(epochs_truncate_end(io_posix(), dirfd_of_test, &epochs, 0, &e), 0);
    assert_int_equal(epochs.count, 0);
}

static void truncate_start(void **state)
{
    (void)state;
    assign(2, 6);
    assign(3, 8);
    assign(4, 11);
    assert_int_equal(epochs_truncate_start(io_posix(), dirfd_of_test, &epochs, 5, &e), 0);
    EXPECT({2, 6}, {3, 8}, {4, 11});
    assert_int_equal(epochs_truncate_start(io_posix(), dirfd_of_test, &epochs, 7, &e), 0);
    EXPECT({2, 7}, {3, 8}, {4, 11});
    assert_int_equal(epochs_truncate_start(io_posix(), dirfd_of_test, &epochs, 8, &e), 0);
    EXPECT({3, 8}, {4, 11});
    assert_int_equal(epochs_truncate_start(io_posix(), dirfd_of_test, &epochs, 20, &e), 0);
    EXPECT({4, 20});
}

static int no_rename(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    (void)io;
    (void)from_dirfd;
    (void)from;
    (void)to_dirfd;
    (void)to;
    return -EIO;
}

static void a_failed_change_changes_nothing(void **state)
{
    struct io io = *io_posix();

    (void)state;
    assign(2, 6);
    assign(3, 8);
    io.rename = no_rename;
    assert_int_equal(epochs_assign(&io, dirfd_of_test, &epochs, 4, 9, &e), -EIO);
    assert_int_equal(epochs_truncate_end(&io, dirfd_of_test, &epochs, 7, &e), -EIO);
    assert_int_equal(epochs_truncate_start(&io, dirfd_of_test, &epochs, 7, &e), -EIO);
    EXPECT({2, 6}, {3, 8});
}

static void damage_is_refused(void **state)
{
    struct epochs loaded;
    int fd;

    (void)state;
    assign(2, 6);
    fd = openat(dirfd_of_test, "leader-epochs", O_RDWR);
    assert_int_equal(pwrite(fd, "X", 1, 24), 1);
    close(fd);
    assert_int_equal(epochs_load(io_posix(), dirfd_of_test, &loaded, &e), -EBADMSG);
    assert_memory_equal(e.text, "leader-epochs is damaged", 24);
    assert_int_equal(loaded.count, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty),          TEST(assign_adds_rising_epochs),       TEST(end_offsets),       TEST(truncate_end),
        TEST(truncate_start), TEST(a_failed_change_changes_nothing), TEST(damage_is_refused),
    };

    return cmocka_run_group_tests_name("epochs", tests, NULL, NULL);
}
