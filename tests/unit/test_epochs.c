/* The cache epoch → start offset; expectations follow Kafka's LeaderEpochFileCacheTest. After each change the file is
 * loaded again and must say the same. */
#include "engine/log/epochs.h"
#include "tests/unit/scratch.h"

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
static char dir_path[64];
static struct epochs epochs;
static struct err e;

static int make_dir(void **state)
{
    (void)state;
    scratch_make(dir_path, sizeof dir_path, "epochs");
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

static void store(void)
{
    assert_int_equal(epochs_store(io_posix(), dirfd_of_test, &epochs, &e), 0);
}

/* Positions are ten times the offsets. */
static struct log_point at(int64_t offset)
{
    return (struct log_point){offset, offset * 10};
}

static void assign(int32_t epoch, int64_t start)
{
    assert_int_equal(epochs_assign(&epochs, epoch, at(start)), 0);
}

/* Memory and file both hold these pairs of epoch and start. */
static void expect(const int64_t (*want)[2], uint32_t count)
{
    struct epochs loaded;

    store();
    assert_int_equal(epochs_load(io_posix(), dirfd_of_test, &loaded, &e), 0);
    assert_int_equal(epochs.count, count);
    assert_int_equal(loaded.count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(epochs.entries[i].epoch, want[i][0]);
        assert_int_equal(epochs.entries[i].start.offset, want[i][1]);
        assert_int_equal(loaded.entries[i].epoch, want[i][0]);
        assert_int_equal(loaded.entries[i].start.offset, want[i][1]);
        assert_int_equal(loaded.entries[i].start.position, want[i][1] * 10);
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
    struct log_point end = epochs_end(&epochs, asked, at(log_end), &found);

    assert_int_equal(end.offset, offset);
    assert_int_equal(end.position, offset < 0 ? -1 : offset * 10);
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
    epochs_truncate_end(&epochs, 12);
    EXPECT({2, 6}, {3, 8}, {4, 11});
    epochs_truncate_end(&epochs, 9);
    EXPECT({2, 6}, {3, 8});
    epochs_truncate_end(&epochs, 8);
    EXPECT({2, 6});
    epochs_truncate_end(&epochs, 0);
    assert_int_equal(epochs.count, 0);
}

static void truncate_start(void **state)
{
    (void)state;
    assign(2, 6);
    assign(3, 8);
    assign(4, 11);
    epochs_truncate_start(&epochs, at(5));
    EXPECT({2, 6}, {3, 8}, {4, 11});
    epochs_truncate_start(&epochs, at(7));
    EXPECT({2, 7}, {3, 8}, {4, 11});
    epochs_truncate_start(&epochs, at(8));
    EXPECT({3, 8}, {4, 11});
    epochs_truncate_start(&epochs, at(20));
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

static void a_failed_store_leaves_the_old_file(void **state)
{
    struct io io = *io_posix();
    struct epochs loaded;

    (void)state;
    assign(2, 6);
    assign(3, 8);
    store();
    io.rename = no_rename;
    assign(4, 9);
    assert_int_equal(epochs_store(&io, dirfd_of_test, &epochs, &e), -EIO);
    assert_int_equal(epochs_load(io_posix(), dirfd_of_test, &loaded, &e), 0);
    assert_int_equal(epochs_latest(&loaded), 3);
    epochs_free(&loaded);
}

static void put_file(const char *text)
{
    int fd = openat(dirfd_of_test, "leader-epochs", O_RDWR | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void damage_is_refused(void **state)
{
    struct epochs loaded;
    int fd;

    (void)state;
    assign(2, 6);
    store();
    fd = openat(dirfd_of_test, "leader-epochs", O_RDWR);
    assert_int_equal(pwrite(fd, "X", 1, 30), 1);
    close(fd);
    assert_int_equal(epochs_load(io_posix(), dirfd_of_test, &loaded, &e), -EBADMSG);
    assert_memory_equal(e.text, "leader-epochs is damaged", 24);
    assert_int_equal(loaded.count, 0);
}

/* Of docs/DISK_FORMAT.md as it was. */
static void version_1_is_read(void **state)
{
    struct epochs loaded;

    (void)state;
    put_file("logmnt leader-epochs 1\n0 0\ncrc32c 950e55fd\n");
    assert_int_equal(epochs_load(io_posix(), dirfd_of_test, &loaded, &e), 0);
    assert_int_equal(loaded.count, 1);
    assert_int_equal(loaded.entries[0].epoch, 0);
    assert_int_equal(loaded.entries[0].start.offset, 0);
    assert_int_equal(loaded.entries[0].start.position, -1);
    assert_int_equal(epochs_cuts(&loaded), 0);
    epochs_free(&loaded);
}

/* A batch has the epoch that had begun last where it begins; before the first one known, it or an earlier one. */
static void agreement(void **state)
{
    (void)state;
    assert_false(epochs_agree(&epochs, 0, 0));
    assign(2, 6);
    assign(4, 11);
    assert_true(epochs_agree(&epochs, 6, 2));
    assert_int_equal(epochs_before(&epochs, 6), -1);
    assert_int_equal(epochs_before(&epochs, 7), 2);
    assert_int_equal(epochs_before(&epochs, 11), 2);
    assert_int_equal(epochs_before(&epochs, 12), 4);
    assert_true(epochs_agree(&epochs, 10, 2));
    assert_false(epochs_agree(&epochs, 11, 2));
    assert_true(epochs_agree(&epochs, 11, 4));
    assert_false(epochs_agree(&epochs, 10, 4));
    assert_true(epochs_agree(&epochs, 3, 1));
    assert_false(epochs_agree(&epochs, 3, 3));
}

/* ---- cuts ---- */

static void cut(int64_t to)
{
    assert_int_equal(epochs_cut(&epochs, at(to)), 0);
}

static void expect_clip(uint32_t cuts, int64_t offset, int64_t want)
{
    struct epochs loaded;

    store();
    assert_int_equal(epochs_load(io_posix(), dirfd_of_test, &loaded, &e), 0);
    assert_int_equal(epochs_clip(&epochs, cuts, at(offset)).offset, want);
    assert_int_equal(epochs_clip(&loaded, cuts, at(offset)).position, want * 10);
    epochs_free(&loaded);
}

/* A figure noted before some cuts is not above the lowest of them; one noted since is what it was. */
static void figures_are_clipped(void **state)
{
    (void)state;
    expect_clip(0, 500, 500);
    cut(100);
    assert_int_equal(epochs_cuts(&epochs), 1);
    expect_clip(0, 500, 100);
    expect_clip(0, 70, 70);
    expect_clip(1, 500, 500);
    cut(300);
    expect_clip(0, 500, 100);
    expect_clip(1, 500, 300);
    expect_clip(1, 200, 200);
    expect_clip(2, 500, 500);
    cut(200);
    assert_int_equal(epochs_cuts(&epochs), 3);
    expect_clip(0, 500, 100);
    expect_clip(1, 500, 200);
    expect_clip(2, 500, 200);
    expect_clip(3, 500, 500);
    assert_int_equal(epochs.cut_count, 2);
    cut(100);
    assert_int_equal(epochs.cut_count, 1);
    expect_clip(0, 500, 100);
    expect_clip(3, 500, 100);
    expect_clip(4, 500, 500);
}

static void cuts_take_epochs_with_them(void **state)
{
    (void)state;
    assign(2, 6);
    assign(3, 8);
    assign(4, 11);
    cut(11);
    EXPECT({2, 6}, {3, 8});
    cut(7);
    EXPECT({2, 6});
    cut(0);
    assert_int_equal(epochs.count, 0);
    assert_int_equal(epochs_cuts(&epochs), 3);
}

/* Below the log's base no figure can be: there one cut is as good as another, but for its number. */
static void old_cuts_are_forgotten(void **state)
{
    (void)state;
    cut(100);
    cut(200);
    cut(300);
    epochs_forget_cuts(&epochs, 99);
    assert_int_equal(epochs.cut_count, 3);
    epochs_forget_cuts(&epochs, 250);
    assert_int_equal(epochs.cut_count, 2);
    expect_clip(0, 500, 200);
    expect_clip(2, 500, 300);
    expect_clip(3, 500, 500);
    epochs_forget_cuts(&epochs, 1000);
    assert_int_equal(epochs.cut_count, 1);
    assert_int_equal(epochs_cuts(&epochs), 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty),
        TEST(assign_adds_rising_epochs),
        TEST(end_offsets),
        TEST(truncate_end),
        TEST(truncate_start),
        TEST(a_failed_store_leaves_the_old_file),
        TEST(damage_is_refused),
        TEST(version_1_is_read),
        TEST(agreement),
        TEST(figures_are_clipped),
        TEST(cuts_take_epochs_with_them),
        TEST(old_cuts_are_forgotten),
    };

    return cmocka_run_group_tests_name("epochs", tests, NULL, NULL);
}
