/* What a leader has sent to one follower, and what that one has said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "replication/replica/follower.h"

enum { SESSION = 3, ROUND = 7, CREDIT = 1000 };

static const struct log_point at_0 = {0, 0}, at_1 = {1, 10}, at_2 = {2, 20};

static void an_end_that_was_never_sent_is_none(void **state)
{
    struct follower follower;

    (void)state;
    memset(&follower, 0, sizeof follower);
    follower_begin(&follower, SESSION, ROUND, at_0, CREDIT);
    assert_false(follower_ack(&follower, SESSION, ROUND, at_1, CREDIT));
    assert_int_equal(follower.acked.offset, 0);
}

/* The other side and its answer can be faster than the thread that has sent. */
static void what_is_being_sent_may_be_acknowledged(void **state)
{
    struct follower follower;

    (void)state;
    memset(&follower, 0, sizeof follower);
    follower_begin(&follower, SESSION, ROUND, at_0, CREDIT);
    assert_true(follower_take(&follower, 0, 10));
    assert_true(follower_ack(&follower, SESSION, ROUND, at_1, CREDIT));
    assert_int_equal(follower.acked.offset, 1);
    assert_true(follower_room(&follower) >= CREDIT);
    follower_sent(&follower, ROUND, &at_1, 0, 0);
    assert_int_equal(follower.sent.offset, 1);
    assert_int_equal(follower_room(&follower), CREDIT);
    assert_true(follower_take(&follower, 1, 10));
    follower_sent(&follower, ROUND, &at_2, 0, 0);
    assert_int_equal(follower_room(&follower), CREDIT - 10);
    assert_true(follower_ack(&follower, SESSION, ROUND, at_2, CREDIT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_was_never_sent_is_none),
        cmocka_unit_test(what_is_being_sent_may_be_acknowledged),
    };

    return cmocka_run_group_tests_name("follower", tests, NULL, NULL);
}
