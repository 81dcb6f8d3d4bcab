/* tests/unit/test_reread.c: which READs are io_uring's second try, by what Linux 6.18 was seen to ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>

#include "fs/base/limits.h"
#include "fs/base/reread.h"

enum {
    PROBE = POLLIN,                                   /* may it be read without waiting? */
    ARM = POLLIN | POLLRDNORM | POLLPRI | POLLERR,    /* before it tries again */
    SELECT = POLLIN | POLLRDNORM | POLLERR | POLLHUP, /* a program's own */
    SELECT_WRITING = POLLPRI | POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
    ME = 7,
    OTHER = 8,
};

static int setup(void **state)
{
    static struct rereads rereads;

    rereads_init(&rereads);
    *state = &rereads;
    return 0;
}

static int teardown(void **state)
{
    rereads_free(*state);
    return 0;
}

static void give(struct rereads *rereads, pid_t tid, int64_t pos, size_t given)
{
    assert_int_equal(rereads_read(rereads, tid, pos, false), 0);
    rereads_given(rereads, tid, pos, given);
}

static void the_second_try_gets_nothing_and_the_third_read_is_new(void **state)
{
    assert_int_equal(rereads_poll(*state, ME, PROBE), 0);
    give(*state, ME, 100, 6);
    assert_int_equal(rereads_poll(*state, ME, ARM), 1);
    assert_int_equal(rereads_poll(*state, ME, PROBE), 0);
    assert_int_equal(rereads_read(*state, ME, 100, false), 1);
    assert_int_equal(rereads_read(*state, ME, 100, false), 0);
}

/* A read of more than one READ, the last of which got nothing: it begins again at the first. */
static void a_read_in_pieces_is_tried_again_from_its_start(void **state)
{
    assert_int_equal(rereads_poll(*state, ME, PROBE), 0);
    give(*state, ME, 100, 4096);
    give(*state, ME, 4196, 0);
    assert_int_equal(rereads_poll(*state, ME, ARM), 1);
    assert_int_equal(rereads_poll(*state, ME, PROBE), 0);
    assert_int_equal(rereads_read(*state, ME, 100, false), 1);
}

static void a_kernel_that_moves_the_position_is_answered(void **state)
{
    assert_int_equal(rereads_poll(*state, ME, PROBE), 0);
    give(*state, ME, 100, 6);
    assert_int_equal(rereads_poll(*state, ME, ARM), 1);
    assert_int_equal(rereads_read(*state, ME, 106, false), 0);
}

static void reads_without_io_uring_are_never_repetitions(void **state)
{
    give(*state, ME, 100, 6);
    assert_int_equal(rereads_poll(*state, ME, SELECT), 0);
    assert_int_equal(rereads_poll(*state, ME, ARM), 0);
    assert_int_equal(rereads_read(*state, ME, 100, false), 0);
    assert_int_equal(rereads_read(*state, ME, 100, true), 0);
    rereads_given(*state, ME, 100, 6);
    assert_int_equal(rereads_read(*state, ME, 100, true), 0);
}

/* fs/select.c in Linux: of what is to be written only, POLLHUP is not asked for. */
static void a_select_for_writing_alone_is_a_programs_own(void **state)
{
    assert_int_equal(rereads_read(*state, ME, 100, true), 0);
    rereads_given(*state, ME, 100, 6);
    assert_int_equal(rereads_poll(*state, ME, SELECT_WRITING), 0);
    assert_int_equal(rereads_poll(*state, ME, POLLPRI), 0); /* for exceptions alone */
    assert_int_equal(rereads_read(*state, ME, 100, true), 0);
}

static void another_thread_reads_for_itself(void **state)
{
    assert_int_equal(rereads_poll(*state, ME, PROBE), 0);
    give(*state, ME, 100, 6);
    assert_int_equal(rereads_poll(*state, OTHER, ARM), 0);
    assert_int_equal(rereads_poll(*state, ME, ARM), 1);
    assert_int_equal(rereads_read(*state, OTHER, 100, false), 0);
    assert_int_equal(rereads_read(*state, ME, 100, false), 1);
}

/* Nothing was given yet: it waits for something, and then wants it. */
static void a_read_that_waits_is_not_one_that_repeats(void **state)
{
    assert_int_equal(rereads_read(*state, ME, 100, true), 0); /* O_NONBLOCK: EAGAIN */
    assert_int_equal(rereads_poll(*state, ME, ARM), 0);
    assert_int_equal(rereads_read(*state, ME, 100, true), 0);
    rereads_given(*state, ME, 100, 6);
    assert_int_equal(rereads_poll(*state, ME, ARM), 1);
    assert_int_equal(rereads_read(*state, ME, 100, true), 1);
}

/* Between its two tries a thread may read elsewhere. */
static void several_of_one_thread_are_told_apart(void **state)
{
    for (int64_t pos = 0; pos < 3000; pos += 1000) {
        assert_int_equal(rereads_poll(*state, ME, PROBE), 0);
        give(*state, ME, pos, 6);
        assert_int_equal(rereads_poll(*state, ME, ARM), 1);
    }
    for (int64_t pos = 2000; pos >= 0; pos -= 1000) {
        assert_int_equal(rereads_read(*state, ME, pos, false), 1);
        assert_int_equal(rereads_read(*state, ME, pos, false), 0);
    }
}

static void the_oldest_of_too_many_is_forgotten(void **state)
{
    for (pid_t tid = 1; tid <= LIMIT_REREADS + 1; tid++) {
        assert_int_equal(rereads_poll(*state, tid, PROBE), 0);
        give(*state, tid, 0, 6);
        assert_int_equal(rereads_poll(*state, tid, ARM), 1);
    }
    assert_int_equal(rereads_read(*state, 1, 0, false), 0);
    for (pid_t tid = 2; tid <= LIMIT_REREADS + 1; tid++) {
        assert_int_equal(rereads_read(*state, tid, 0, false), 1);
    }
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(the_second_try_gets_nothing_and_the_third_read_is_new),
        STORY(a_read_in_pieces_is_tried_again_from_its_start),
        STORY(a_kernel_that_moves_the_position_is_answered),
        STORY(reads_without_io_uring_are_never_repetitions),
        STORY(a_select_for_writing_alone_is_a_programs_own),
        STORY(another_thread_reads_for_itself),
        STORY(a_read_that_waits_is_not_one_that_repeats),
        STORY(several_of_one_thread_are_told_apart),
        STORY(the_oldest_of_too_many_is_forgotten),
    };
    return cmocka_run_group_tests_name("reread", tests, NULL, NULL);
}
