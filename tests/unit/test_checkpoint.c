/* Checkpoints come back as they were, sorted; a damaged file is refused by name and never half believed. */
#include "engine/base/checkpoint.h"
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
static bool by_name;
static char dir_path[64];

static int make_dir(void **state)
{
    (void)state;
    scratch_make(dir_path, sizeof dir_path, "checkpoint");
    dirfd_of_test = open(dir_path, O_RDONLY | O_DIRECTORY);
    return dirfd_of_test < 0 ? -1 : 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlinkat(dirfd_of_test, "c", 0);
    close(dirfd_of_test);
    return rmdir(dir_path);
}

static void no_file_is_no_entries(void **state)
{
    struct checkpoint_entry *entries;
    size_t count = 9;
    struct err e;

    (void)state;
    assert_int_equal(checkpoint_read(io_posix(), dirfd_of_test, "none", &entries, &count, &by_name, &e), 0);
    assert_int_equal(count, 0);
    free(entries);
}

static void come_back_sorted(void **state)
{
    const struct checkpoint_entry in[] = {
        {"orders-10", 5, 500, 7}, {"a", INT64_MAX, 0, UINT32_MAX}, {"orders-1", 0, -1, 0}};
    struct checkpoint_entry *out;
    size_t count;
    struct err e;

    (void)state;
    assert_int_equal(checkpoint_write(io_posix(), dirfd_of_test, "c", in, 3, &e), 0);
    assert_int_equal(checkpoint_read(io_posix(), dirfd_of_test, "c", &out, &count, &by_name, &e), 0);
    assert_int_equal(count, 3);
    assert_string_equal(out[0].key, "a");
    assert_string_equal(out[1].key, "orders-1");
    assert_string_equal(out[2].key, "orders-10");
    assert_true(checkpoint_find(out, count, "a")->offset == INT64_MAX);
    assert_int_equal(checkpoint_find(out, count, "orders-1")->position, -1);
    assert_int_equal(checkpoint_find(out, count, "orders-10")->position, 500);
    assert_int_equal(checkpoint_find(out, count, "orders-10")->cuts, 7);
    assert_true(checkpoint_find(out, count, "a")->cuts == UINT32_MAX);
    assert_false(by_name);
    assert_null(checkpoint_find(out, count, "orders-2"));
    assert_null(checkpoint_find(out, 0, "a"));
    free(out);
}

static void nothing_and_much(void **state)
{
    enum { MANY = 10000 };
    struct checkpoint_entry *in = calloc(MANY, sizeof *in);
    struct checkpoint_entry *out;
    size_t count;
    struct err e;

    (void)state;
    assert_int_equal(checkpoint_write(io_posix(), dirfd_of_test, "c", in, 0, &e), 0);
    assert_int_equal(checkpoint_read(io_posix(), dirfd_of_test, "c", &out, &count, &by_name, &e), 0);
    assert_int_equal(count, 0);
    free(out);
    for (int i = 0; i < MANY; i++) {
        snprintf(in[i].key, sizeof in[i].key, "t-%d", i);
        in[i].offset = i;
    }
    assert_int_equal(checkpoint_write(io_posix(), dirfd_of_test, "c", in, MANY, &e), 0);
    assert_int_equal(checkpoint_read(io_posix(), dirfd_of_test, "c", &out, &count, &by_name, &e), 0);
    assert_int_equal(count, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(checkpoint_find(out, count, in[i].key)->offset, i);
    }
    free(out);
    free(in);
}

static void every_damage_is_refused(void **state)
{
    const struct checkpoint_entry in[] = {{"orders-0", 5, 500, 0}, {"orders-1", 6, 600, 1}};
    struct checkpoint_entry *out;
    size_t count;
    struct err e;
    char text[256];
    ssize_t len;
    int fd;

    (void)state;
    assert_int_equal(checkpoint_write(io_posix(), dirfd_of_test, "c", in, 2, &e), 0);
    fd = openat(dirfd_of_test, "c", O_RDWR);
    len = pread(fd, text, sizeof text, 0);
    assert_true(len > 0 && len < (ssize_t)sizeof text);
    for (ssize_t i = 0; i < len; i++) {
        char bad = (char)(text[i] ^ 1);

        assert_int_equal(pwrite(fd, &bad, 1, i), 1);
        assert_int_equal(checkpoint_read(io_posix(), dirfd_of_test, "c", &out, &count, &by_name, &e), -EBADMSG);
        assert_null(out);
        assert_memory_equal(e.text, "c is damaged", 12);
        assert_int_equal(pwrite(fd, &text[i], 1, i), 1);
    }
    assert_int_equal(pwrite(fd, "x", 1, len), 1);
    assert_int_equal(checkpoint_read(io_posix(), dirfd_of_test, "c", &out, &count, &by_name, &e), -EBADMSG);
    for (ssize_t i = len - 1; i >= 0; i--) {
        assert_int_equal(ftruncate(fd, i), 0);
        assert_int_equal(checkpoint_read(io_posix(), dirfd_of_test, "c", &out, &count, &by_name, &e), -EBADMSG);
    }
    close(fd);
}

static void put_file(const char *text)
{
    int fd = openat(dirfd_of_test, "c", O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* Of docs/DISK_FORMAT.md as it was. */
static void version_1_is_read(void **state)
{
    struct checkpoint_entry *out;
    size_t count;
    struct err e;

    (void)state;
    put_file("logmnt checkpoint 1\norders-0 1 22\ncrc32c a512ec0c\n");
    assert_int_equal(checkpoint_read(io_posix(), dirfd_of_test, "c", &out, &count, &by_name, &e), 0);
    assert_true(by_name);
    assert_int_equal(count, 1);
    assert_string_equal(out[0].key, "orders-0");
    assert_int_equal(out[0].offset, 1);
    assert_int_equal(out[0].position, 22);
    assert_int_equal(out[0].cuts, 0);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_file_is_no_entries), cmocka_unit_test(come_back_sorted),
        cmocka_unit_test(nothing_and_much),      cmocka_unit_test(every_damage_is_refused),
        cmocka_unit_test(version_1_is_read),
    };

    return cmocka_run_group_tests_name("checkpoint", tests, make_dir, remove_dir);
}
