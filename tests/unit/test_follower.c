/* What a leader has sent to one follower, and what that one has said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "replication/base/limits.h"
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

/* ---- how long it takes to acknowledge ---- */

static void begin_timed(struct follower *follower, int64_t base, int64_t now_us)
{
    assert_true(follower_take(follower, base, 10));
    assert_true(follower_times(follower));
    follower_time(follower, now_us);
}

static void one_sending_at_a_time_is_timed(void **state)
{
    struct follower follower;

    (void)state;
    memset(&follower, 0, sizeof follower);
    follower_begin(&follower, SESSION, ROUND, at_0, CREDIT);
    begin_timed(&follower, 0, 100);
    follower_sent(&follower, ROUND, &at_1, 0, 0);
    assert_true(follower_take(&follower, 1, 10));
    assert_false(follower_times(&follower)); /* the one before still is */
    follower_sent(&follower, ROUND, &at_2, 0, 0);
    assert_int_equal(follower_timed(&follower), 0);
    assert_true(follower_ack(&follower, SESSION, ROUND, at_1, CREDIT));
    assert_int_equal(follower_timed(&follower), 100);
    assert_int_equal(follower_timed(&follower), 0);
    assert_true(follower_times(&follower));
}

static void an_acknowledgement_that_is_faster_than_its_sender_is_timed_too(void **state)
{
    struct follower follower;

    (void)state;
    memset(&follower, 0, sizeof follower);
    follower_begin(&follower, SESSION, ROUND, at_0, CREDIT);
    begin_timed(&follower, 0, 100);
    assert_int_equal(follower_timed(&follower), 0);
    assert_true(follower_ack(&follower, SESSION, ROUND, at_1, CREDIT));
    assert_int_equal(follower_timed(&follower), 100);
    follower_sent(&follower, ROUND, &at_1, 0, 0);
    begin_timed(&follower, 1, 200);
    follower_sent(&follower, ROUND, &at_2, 0, 0);
    assert_true(follower_ack(&follower, SESSION, ROUND, at_2, CREDIT));
    assert_int_equal(follower_timed(&follower), 200);
}

/* What could not be sent, what held no records, and what a round that is over was sent, is never acknowledged. */
static void what_will_not_be_acknowledged_is_not_waited_for(void **state)
{
    struct follower follower;

    (void)state;
    memset(&follower, 0, sizeof follower);
    follower_begin(&follower, SESSION, ROUND, at_0, CREDIT);
    begin_timed(&follower, 0, 100);
    follower_sent(&follower, ROUND, NULL, 0, 0);
    begin_timed(&follower, -1, 200);
    follower_sent(&follower, ROUND, &at_0, 0, 0);
    begin_timed(&follower, 0, 300);
    follower_sent(&follower, ROUND, &at_1, 0, 0);
    follower_begin(&follower, SESSION, ROUND + 1, at_1, CREDIT);
    assert_int_equal(follower_timed(&follower), 0);
    begin_timed(&follower, 1, 400);
    follower_silence(&follower);
    follower_sent(&follower, ROUND + 1, &at_2, 0, 0);
    follower_begin(&follower, SESSION, ROUND + 2, at_2, CREDIT);
    assert_true(follower_times(&follower));
}

/* ---- what is sent to catch up ---- */

static void send_behind(struct follower *follower, const struct log_point *end, int64_t bytes)
{
    assert_true(follower_take(follower, -1, 1));
    follower_catches_up(follower, ROUND, end, bytes);
    follower_sent(follower, ROUND, end, 0, 0);
}

static void what_it_is_to_catch_up_on_is_under_way_until_it_is_acknowledged(void **state)
{
    struct follower follower;

    (void)state;
    memset(&follower, 0, sizeof follower);
    follower_begin(&follower, SESSION, ROUND, at_0, CREDIT);
    send_behind(&follower, &at_1, 10);
    assert_int_equal(follower_catching_up(&follower), 10);
    send_behind(&follower, &at_2, 10);
    assert_int_equal(follower_catching_up(&follower), 20);
    assert_true(follower_ack(&follower, SESSION, ROUND, at_1, CREDIT));
    assert_int_equal(follower_catching_up(&follower), 10);
    assert_true(follower_take(&follower, 2, 10)); /* what is sent as it is appended is not */
    follower_sent(&follower, ROUND, &(struct log_point){3, 30}, 0, 0);
    assert_int_equal(follower_catching_up(&follower), 10);
    assert_true(follower_ack(&follower, SESSION, ROUND, at_2, CREDIT));
    assert_int_equal(follower_catching_up(&follower), 0);
    follower_begin(&follower, SESSION, ROUND + 1, at_0, CREDIT);
    assert_int_equal(follower_catching_up(&follower), 0);
}

/* Of a compacted log little is left between two positions. */
static void bytes_are_counted_and_not_what_compaction_has_removed(void **state)
{
    struct follower follower;
    const struct log_point far = {1000, 1 << 30};

    (void)state;
    memset(&follower, 0, sizeof follower);
    follower_begin(&follower, SESSION, ROUND, at_0, CREDIT);
    send_behind(&follower, &far, 10);
    assert_int_equal(follower_catching_up(&follower), 10);
    assert_true(follower_ack(&follower, SESSION, ROUND, far, CREDIT));
    send_behind(&follower, &(struct log_point){1001, far.position + 100}, 7);
    assert_int_equal(follower_catching_up(&follower), 7);
}

static void beats(struct follower *follower, int count)
{
    while (count-- > 0)
        follower_beat(follower);
}

static void who_acknowledges_nothing_for_long_is_stuck_until_it_does(void **state)
{
    struct follower follower;

    (void)state;
    memset(&follower, 0, sizeof follower);
    follower_begin(&follower, SESSION, ROUND, at_0, CREDIT);
    beats(&follower, 2 * LIMIT_STUCK_BEATS); /* nothing is under way */
    send_behind(&follower, &at_1, 10);
    beats(&follower, LIMIT_STUCK_BEATS);
    send_behind(&follower, &at_2, 10);
    assert_true(follower_ack(&follower, SESSION, ROUND, at_1, CREDIT));
    beats(&follower, LIMIT_STUCK_BEATS);
    assert_int_equal(follower_catching_up(&follower), 10);
    beats(&follower, 1);
    assert_int_equal(follower_catching_up(&follower), 0);
    assert_false(follower_take(&follower, -1, 1));
    assert_true(follower_ack(&follower, SESSION, ROUND, at_2, CREDIT));
    send_behind(&follower, &(struct log_point){3, 30}, 10);
    assert_int_equal(follower_catching_up(&follower), 10);
    beats(&follower, LIMIT_STUCK_BEATS + 1);
    follower_begin(&follower, SESSION, ROUND + 1, at_2, CREDIT);
    assert_true(follower_take(&follower, -1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_was_never_sent_is_none),
        cmocka_unit_test(what_is_being_sent_may_be_acknowledged),
        cmocka_unit_test(one_sending_at_a_time_is_timed),
        cmocka_unit_test(an_acknowledgement_that_is_faster_than_its_sender_is_timed_too),
        cmocka_unit_test(what_will_not_be_acknowledged_is_not_waited_for),
        cmocka_unit_test(what_it_is_to_catch_up_on_is_under_way_until_it_is_acknowledged),
        cmocka_unit_test(bytes_are_counted_and_not_what_compaction_has_removed),
        cmocka_unit_test(who_acknowledges_nothing_for_long_is_stuck_until_it_does),
    };

    return cmocka_run_group_tests_name("follower", tests, NULL, NULL);
}
