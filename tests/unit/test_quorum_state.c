/* DATA/quorum-state: what a server of the quorum must not forget. */
#include "replication/metadata/quorum_state.h"

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

#include "engine/base/seal.h"
#include "tests/unit/faulty_io.h"
#include "tests/unit/scratch.h"

static const struct raft_id self = {2, 0x0123456789abcdefu};
static const struct raft_state voted = {.epoch = 7, .vote = {3, UINT64_MAX}};
static const struct raft_state led = {.epoch = 7, .vote = {3, UINT64_MAX}, .leader = {1, 1}};

static char dir_path[64];
static int dirfd_of_test;

static int make_dir(void **state)
{
    (void)state;
    scratch_make(dir_path, sizeof dir_path, "quorum-state");
    dirfd_of_test = open(dir_path, O_RDONLY | O_DIRECTORY);
    return dirfd_of_test < 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlinkat(dirfd_of_test, QUORUM_STATE_FILE, 0);
    unlinkat(dirfd_of_test, QUORUM_STATE_FILE ".tmp", 0);
    close(dirfd_of_test);
    return rmdir(dir_path);
}

static void expect(const struct raft_state *want)
{
    struct raft_state found;
    struct err e = {0};
    if (quorum_state_read(io_posix(), dirfd_of_test, self, &found, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(found.epoch, want->epoch);
    assert_true(raft_id_equal(found.vote, want->vote));
    assert_true(raft_id_equal(found.leader, want->leader));
}

static void test_what_was_written_is_read(void **state)
{
    (void)state;
    struct raft_state found = led;
    struct err e = {0};
    assert_int_equal(quorum_state_read(io_posix(), dirfd_of_test, self, &found, &e), -ENOENT);
    assert_int_equal(found.epoch, 0);
    assert_int_equal(found.vote.node, 0);
    assert_int_equal(quorum_state_write(io_posix(), dirfd_of_test, self, &voted, &e), 0);
    expect(&voted);
    assert_int_equal(quorum_state_write(io_posix(), dirfd_of_test, self, &led, &e), 0);
    expect(&led);
}

static void test_its_bytes_are_those_of_the_document(void **state)
{
    (void)state;
    char text[512] = {0};
    assert_int_equal(quorum_state_write(io_posix(), dirfd_of_test, self, &led, NULL), 0);
    int fd = openat(dirfd_of_test, QUORUM_STATE_FILE, O_RDONLY);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    char *crc = strstr(text, "crc32c ");
    assert_non_null(crc);
    *crc = '\0';
    assert_string_equal(text, "logmnt quorum-state 1\n"
                              "server 2 0123456789abcdef\n"
                              "epoch 7\n"
                              "vote 3 ffffffffffffffff\n"
                              "leader 1 0000000000000001\n");
}

static void test_it_is_on_the_disk_when_the_write_returns(void **state)
{
    (void)state;
    struct faulty_io faulty;
    struct err e = {0};
    faulty_io_init(&faulty);
    assert_int_equal(quorum_state_write(&faulty.io, dirfd_of_test, self, &voted, &e), 0);
    /* The file and, for its name, the directory. */
    assert_int_equal(faulty.calls[FAULTY_FSYNC], 2);
    assert_int_equal(faulty.calls[FAULTY_RENAME], 1);
    static const enum faulty_call calls[] = {FAULTY_OPEN, FAULTY_PWRITEV, FAULTY_FSYNC, FAULTY_RENAME};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        faulty_io_arm(&faulty, calls[i], 1, -EIO);
        e.text[0] = '\0';
        assert_int_equal(quorum_state_write(&faulty.io, dirfd_of_test, self, &led, &e), -EIO);
        assert_string_not_equal(e.text, "");
        faulty_io_disarm(&faulty);
        expect(&voted);
    }
}

static void refused(const char *body, const char *why)
{
    struct seal_text text = {.text = (char *)(uintptr_t)body, .len = strlen(body)};
    struct raft_state found = led;
    struct err e = {0};
    assert_int_equal(seal_write(io_posix(), dirfd_of_test, QUORUM_STATE_FILE, "logmnt quorum-state 1", &text, NULL), 0);
    if (quorum_state_read(io_posix(), dirfd_of_test, self, &found, &e) != -EBADMSG || strstr(e.text, why) == NULL)
        fail_msg("%s: %s", body, e.text);
    assert_int_equal(found.epoch, 0);
}

static void test_what_is_not_it_is_refused(void **state)
{
    (void)state;
    refused("", "damaged");
    refused("server 2 0123456789abcdef\nepoch 7\nvote 3 ffffffffffffffff\n", "damaged");
    refused("server 2 0123456789abcdef\nepoch -7\nvote 3 ffffffffffffffff\nleader 1 0000000000000001\n", "damaged");
    refused("server 2 0123456789abcdef\nepoch 2147483647\nvote 3 ffffffffffffffff\nleader 1 0000000000000001\n",
            "damaged");
    refused("server 2 0123456789abcdef\nepoch 99999999999\nvote 3 ffffffffffffffff\nleader 1 0000000000000001\n",
            "damaged");
    refused("server 2 0123456789abcdef\nepoch 7\nvote 3 ffffffffffffffff\nleader 1 0000000000000001\nmore\n",
            "damaged");
    refused("server 2 0123456789abcdef\nepoch 07\nvote 3 ffffffffffffffff\nleader 1 0000000000000001\n", "damaged");
    /* Copied from another node, or from before the disk was lost. */
    refused("server 3 0123456789abcdef\nepoch 7\nvote 3 ffffffffffffffff\nleader 1 0000000000000001\n", "not of this");
    refused("server 2 0123456789abcdee\nepoch 7\nvote 3 ffffffffffffffff\nleader 1 0000000000000001\n", "not of this");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_is_read, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_its_bytes_are_those_of_the_document, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_it_is_on_the_disk_when_the_write_returns, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_what_is_not_it_is_refused, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
