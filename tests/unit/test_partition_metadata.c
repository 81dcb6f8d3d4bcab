/* What partition.metadata says when a crash has left only some of its bytes. */
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

#include "replication/replica/partition_metadata.h"
#include "tests/unit/scratch.h"

struct place {
    char path[64];
    int dirfd;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    scratch_make(place->path, sizeof place->path, "metadata");
    place->dirfd = open(place->path, O_RDONLY | O_DIRECTORY);
    assert_true(place->dirfd >= 0);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    unlinkat(place->dirfd, "partition.metadata", 0);
    close(place->dirfd);
    rmdir(place->path);
    free(place);
    return 0;
}

static void put(const struct place *place, const char *text, size_t len)
{
    int fd = openat(place->dirfd, "partition.metadata", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static const char whole[] = "# logmnt partition\nversion=1\ntopic.id=AAECAwQFRkeICQoLDA0ODw\n";

/* The disk was full in its middle, and a power cut took its removal: found by the simulator, seed 661 of one node. */
static void test_a_beginning_of_partition_metadata_is_as_none(void **state)
{
    uint8_t id[UUID_BYTES];
    struct err e;
    for (size_t len = 0; len < strlen(whole); len++) {
        put(*state, whole, len);
        assert_int_equal(partition_metadata_read(io_posix(), ((struct place *)*state)->dirfd, id, &e), -ENOENT);
    }
    put(*state, whole, strlen(whole));
    assert_int_equal(partition_metadata_read(io_posix(), ((struct place *)*state)->dirfd, id, &e), 0);
}

static void test_any_other_partition_metadata_is_damaged(void **state)
{
    uint8_t id[UUID_BYTES];
    struct err e;
    char text[sizeof whole];
    for (size_t at = 0; at < strlen(whole); at++) {
        strcpy(text, whole);
        text[at] = '?';
        put(*state, text, strlen(whole));
        assert_int_equal(partition_metadata_read(io_posix(), ((struct place *)*state)->dirfd, id, &e), -EBADMSG);
    }
    put(*state, "# logmnt par?", 13);
    assert_int_equal(partition_metadata_read(io_posix(), ((struct place *)*state)->dirfd, id, &e), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_beginning_of_partition_metadata_is_as_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_any_other_partition_metadata_is_damaged, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
