/* DATA/meta.properties: whose a data directory is, and which incarnation. */
#include "replication/node/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/faulty_io.h"
#include "tests/unit/scratch.h"

static char dir_path[64];
static int dirfd_of_test;

/* 1, 2, 3 … in the first byte, zeros else; a first 0 is drawn when it is asked for. */
static uint8_t drawn;

static int draw(struct executor *executor, void *out, size_t len)
{
    (void)executor;
    memset(out, 0, len);
    *(uint8_t *)out = drawn++;
    return 0;
}

static struct executor chance = {.random = draw};

static int make_dir(void **state)
{
    (void)state;
    drawn = 1;
    scratch_make(dir_path, sizeof dir_path, "identity");
    dirfd_of_test = open(dir_path, O_RDONLY | O_DIRECTORY);
    return dirfd_of_test < 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlinkat(dirfd_of_test, "meta.properties", 0);
    unlinkat(dirfd_of_test, "meta.properties.tmp", 0);
    close(dirfd_of_test);
    return rmdir(dir_path);
}

static void write_text(const char *text)
{
    int fd = openat(dirfd_of_test, "meta.properties", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static struct identity load(int32_t node_id)
{
    struct identity found;
    struct err e = {0};
    if (identity_load(io_posix(), &chance, dirfd_of_test, node_id, &found, &e) != 0)
        fail_msg("%s", e.text);
    return found;
}

static void test_a_new_directory_is_given_both_once(void **state)
{
    (void)state;
    struct identity made = load(3), again = load(3);
    assert_int_equal(made.node_id, 3);
    assert_int_not_equal(made.incarnation, 0);
    assert_int_equal(again.incarnation, made.incarnation);
    assert_string_equal(again.cluster_id, made.cluster_id);
}

static void test_no_incarnation_is_0(void **state)
{
    (void)state;
    drawn = 0;
    load(3);
    drawn = 0;
    struct identity found = load(3);
    struct err e;
    assert_int_equal(identity_renew(io_posix(), &chance, dirfd_of_test, &found, 0, &e), 0);
    assert_int_not_equal(found.incarnation, 0);
}

static void test_a_directory_of_a_version_without_is_given_one(void **state)
{
    (void)state;
    write_text("# logmnt node\nversion=1\nnode.id=1\ncluster.id=BXGcS-YbRwS1gO79iX-tIQ\n");
    struct identity found = load(1);
    assert_string_equal(found.cluster_id, "BXGcS-YbRwS1gO79iX-tIQ");
    assert_int_not_equal(found.incarnation, 0);
    assert_int_equal(load(1).incarnation, found.incarnation);
}

static void test_a_renewed_one_is_on_the_disk_or_nothing_has_changed(void **state)
{
    (void)state;
    struct identity found = load(1);
    uint64_t first = found.incarnation;
    struct faulty_io faulty;
    struct err e = {0};
    faulty_io_init(&faulty);
    faulty_io_arm(&faulty, FAULTY_FSYNC, 1, -EIO);
    assert_int_equal(identity_renew(&faulty.io, &chance, dirfd_of_test, &found, first, &e), -EIO);
    assert_int_equal(found.incarnation, first);
    assert_int_equal(load(1).incarnation, first);
    faulty_io_disarm(&faulty);
    assert_int_equal(identity_renew(&faulty.io, &chance, dirfd_of_test, &found, first, &e), 0);
    assert_int_not_equal(found.incarnation, first);
    assert_int_equal(load(1).incarnation, found.incarnation);
    assert_int_equal(found.renewed, first);
    assert_int_equal(load(1).renewed, first);
    /* Nobody has heard of the second: the first is what the cluster knows. */
    assert_int_equal(identity_renew(&faulty.io, &chance, dirfd_of_test, &found, first, &e), 0);
    assert_int_equal(load(1).renewed, first);
    /* It has; and of one that another disk had it has heard of old. */
    for (int i = 0; i < 2; i++) {
        uint64_t last = found.incarnation;
        assert_int_equal(identity_renew(&faulty.io, &chance, dirfd_of_test, &found, i == 0 ? last : 77, &e), 0);
        assert_int_not_equal(found.incarnation, last);
        assert_int_equal(load(1).renewed, last);
    }
}

static void test_what_is_damaged_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {"incarnation=", "incarnation=0000000000000000", "incarnation=12",
                                        "incarnation=0123456789ABCDEF", "incarnation=0123456789abcdef0"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char text[256];
        struct identity found;
        struct err e = {0};
        snprintf(text, sizeof text, "# logmnt node\nversion=1\nnode.id=1\ncluster.id=BXGcS-YbRwS1gO79iX-tIQ\n%s\n",
                 lines[i]);
        write_text(text);
        assert_int_equal(identity_load(io_posix(), &chance, dirfd_of_test, 1, &found, &e), -EBADMSG);
        assert_non_null(strstr(e.text, "incarnation"));
    }
}

/* A process that was killed between the two has taken the mark away, and not put that on the disk. */
static void test_a_mark_that_is_gone_is_gone_on_the_disk(void **state)
{
    struct faulty_io faulty;
    struct err e = {""};
    (void)state;
    faulty_io_init(&faulty);
    assert_int_equal(identity_clean_clear(&faulty.io, dirfd_of_test, &e), 0);
    assert_int_equal(faulty.calls[FAULTY_FSYNC], 1);
    faulty_io_arm(&faulty, FAULTY_FSYNC, 1, -EIO);
    assert_int_equal(identity_clean_clear(&faulty.io, dirfd_of_test, &e), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_new_directory_is_given_both_once, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_no_incarnation_is_0, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_directory_of_a_version_without_is_given_one, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_renewed_one_is_on_the_disk_or_nothing_has_changed, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_what_is_damaged_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_a_mark_that_is_gone_is_gone_on_the_disk, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
