/* What a follower asks next, and what it takes of the answers: fetch.h, event by event. */
#include "replication/replica/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LEADER = 2, EPOCH = 5, SESSION = 70, ROUND = 900 };

/* It has asked, its log ends at 10. */
static struct fetch asked(void)
{
    struct fetch fetch = {.state = FETCH_IDLE};
    fetch_follow(&fetch, LEADER, EPOCH, SESSION);
    assert_true(fetch_say(&fetch, ROUND, 10, 0));
    assert_int_equal(fetch.state, FETCH_ASKED);
    return fetch;
}

static struct fetch fed(void)
{
    struct fetch fetch = asked();
    fetch_took(&fetch, 12, false);
    assert_int_equal(fetch.state, FETCH_FED);
    return fetch;
}

static void test_nothing_is_asked_of_who_is_not_up(void **state)
{
    (void)state;
    struct fetch fetch = {.state = FETCH_IDLE};
    fetch_follow(&fetch, LEADER, EPOCH, 0);
    assert_int_equal(fetch.state, FETCH_IDLE);
    assert_false(fetch_say(&fetch, ROUND, 10, 0));
    fetch_session(&fetch, SESSION);
    assert_true(fetch_say(&fetch, ROUND, 10, 0));
    assert_false(fetch_say(&fetch, ROUND + 1, 10, 0));
    assert_int_equal(fetch.round, ROUND);
}

static void test_what_is_taken(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint64_t session, round;
        int32_t epoch;
        int64_t from;
        enum fetch_verdict verdict;
    } cases[] = {
        {"what is expected", SESSION, ROUND, EPOCH, 12, FETCH_TAKE},
        {"a mark, which begins nowhere", SESSION, ROUND, EPOCH, -1, FETCH_TAKE},
        {"of an earlier session", SESSION - 1, ROUND, EPOCH, 12, FETCH_DROP},
        {"of an earlier round", SESSION, ROUND - 1, EPOCH, 12, FETCH_DROP},
        {"of an earlier epoch", SESSION, ROUND, EPOCH - 1, 12, FETCH_DROP},
        {"of a later epoch", SESSION, ROUND, EPOCH + 1, 12, FETCH_DROP},
        {"something before it was lost", SESSION, ROUND, EPOCH, 13, FETCH_ANEW},
        {"it comes again", SESSION, ROUND, EPOCH, 10, FETCH_ANEW},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fetch fetch = fed();
        if (fetch_judge(&fetch, cases[i].session, cases[i].epoch, cases[i].round, cases[i].from) != cases[i].verdict)
            fail_msg("%s", cases[i].what);
    }
}

static void test_an_ack_is_said_once_in_its_round(void **state)
{
    (void)state;
    struct fetch fetch = fed();
    fetch_took(&fetch, 15, true);
    assert_true(fetch_say(&fetch, ROUND + 1, 15, 1));
    assert_int_equal(fetch.round, ROUND);
    assert_false(fetch_say(&fetch, ROUND + 2, 15, 1));
}

static void test_a_new_session_asks_anew(void **state)
{
    (void)state;
    struct fetch fetch = fed();
    fetch_session(&fetch, 0);
    assert_int_equal(fetch.state, FETCH_IDLE);
    assert_int_equal(fetch_judge(&fetch, SESSION, EPOCH, ROUND, 12), FETCH_DROP);
    fetch_session(&fetch, SESSION + 1);
    assert_int_equal(fetch_judge(&fetch, SESSION + 1, EPOCH, ROUND, 12), FETCH_DROP);
    assert_true(fetch_say(&fetch, ROUND + 1, 12, 0));
    assert_int_equal(fetch.round, ROUND + 1);
}

static void test_after_a_cut_the_logs_are_compared_again(void **state)
{
    (void)state;
    struct fetch fetch = asked();
    fetch_anew(&fetch);
    assert_int_equal(fetch_judge(&fetch, SESSION, EPOCH, ROUND, 10), FETCH_DROP);
    assert_true(fetch_say(&fetch, ROUND + 1, 7, 0));
    assert_int_equal(fetch_judge(&fetch, SESSION, EPOCH, ROUND + 1, 7), FETCH_TAKE);
}

static void test_a_full_disk_is_said_once_and_tried_again_after_a_second(void **state)
{
    (void)state;
    struct fetch fetch = fed();
    fetch_failed(&fetch, true, 100);
    assert_int_equal(fetch.state, FETCH_PAUSED);
    assert_true(fetch_say(&fetch, ROUND + 1, 12, 100));
    assert_true(fetch.full);
    assert_int_equal(fetch.round, ROUND);
    assert_false(fetch_tick(&fetch, 100 + FETCH_PAUSE_MS - 1));
    assert_true(fetch_tick(&fetch, 100 + FETCH_PAUSE_MS));
    assert_true(fetch_say(&fetch, ROUND + 1, 12, 1100));
    assert_true(fetch.full); /* until something has been taken over */
    fetch_failed(&fetch, true, 1200);
    assert_false(fetch_say(&fetch, ROUND + 2, 12, 1200));
    assert_true(fetch_tick(&fetch, 1200 + FETCH_PAUSE_MS));
    assert_true(fetch_say(&fetch, ROUND + 2, 12, 2200));
    fetch_took(&fetch, 14, true);
    assert_false(fetch.full);
}

static void test_what_could_not_be_sent_is_said_again(void **state)
{
    (void)state;
    struct fetch fetch = asked();
    fetch_unsaid(&fetch, ROUND - 1); /* of an earlier round */
    assert_int_equal(fetch.state, FETCH_ASKED);
    fetch_unsaid(&fetch, ROUND);
    assert_true(fetch_tick(&fetch, 500));
    assert_true(fetch_say(&fetch, ROUND + 1, 10, 500));
    fetch_took(&fetch, 12, true);
    assert_true(fetch_say(&fetch, ROUND + 2, 12, 600)); /* the ack, in its round */
    assert_false(fetch_tick(&fetch, 1000));
    fetch_unsaid(&fetch, ROUND + 1);
    assert_true(fetch_tick(&fetch, 1500));
    assert_true(fetch_say(&fetch, ROUND + 3, 12, 1500));
    assert_int_equal(fetch.round, ROUND + 1);
    fetch_session(&fetch, 0);
    fetch_unsaid(&fetch, ROUND + 1); /* lost with its session */
    assert_int_equal(fetch.state, FETCH_IDLE);
    assert_false(fetch_tick(&fetch, 2000));
}

static void test_what_is_not_answered_is_asked_anew(void **state)
{
    (void)state;
    struct fetch fetch = asked();
    assert_false(fetch_tick(&fetch, FETCH_ANSWER_MS - 1));
    assert_true(fetch_tick(&fetch, FETCH_ANSWER_MS));
    assert_int_equal(fetch.state, FETCH_DUE);
    fetch = fed();
    assert_false(fetch_tick(&fetch, 10 * FETCH_ANSWER_MS));
}

static void test_what_was_said_is_repeated_in_its_round(void **state)
{
    (void)state;
    struct fetch fetch = asked();
    fetch_repeat(&fetch); /* it is on its way */
    assert_false(fetch_tick(&fetch, 500));
    fetch = fed();
    assert_false(fetch_tick(&fetch, 500));
    fetch_repeat(&fetch);
    assert_true(fetch_tick(&fetch, 1000));
    assert_true(fetch_say(&fetch, ROUND + 1, 12, 1000));
    assert_int_equal(fetch.round, ROUND);
    assert_false(fetch_tick(&fetch, 1500));
}

static void test_another_leader_is_another_fetch(void **state)
{
    (void)state;
    struct fetch fetch = fed();
    fetch_follow(&fetch, LEADER + 1, EPOCH + 1, 0);
    assert_int_equal(fetch.state, FETCH_IDLE);
    assert_int_equal(fetch_judge(&fetch, SESSION, EPOCH, ROUND, 12), FETCH_DROP);
    fetch_follow(&fetch, 0, EPOCH + 2, 0);
    fetch_failed(&fetch, false, 0);
    assert_int_equal(fetch.state, FETCH_IDLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_asked_of_who_is_not_up),
        cmocka_unit_test(test_what_is_taken),
        cmocka_unit_test(test_an_ack_is_said_once_in_its_round),
        cmocka_unit_test(test_a_new_session_asks_anew),
        cmocka_unit_test(test_after_a_cut_the_logs_are_compared_again),
        cmocka_unit_test(test_a_full_disk_is_said_once_and_tried_again_after_a_second),
        cmocka_unit_test(test_what_could_not_be_sent_is_said_again),
        cmocka_unit_test(test_what_is_not_answered_is_asked_anew),
        cmocka_unit_test(test_what_was_said_is_repeated_in_its_round),
        cmocka_unit_test(test_another_leader_is_another_fetch),
    };
    return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}
