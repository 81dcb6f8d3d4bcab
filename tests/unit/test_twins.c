/* tests/unit/test_twins.c: which of two processes of one id is let in, and how much is said of, and done for, a peer
 * that comes and goes. */
#include "replication/wire/flaps.h"
#include "replication/wire/twins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replication/base/limits.h"

/* ---- twins ---- */

enum { FIRST = 70, SECOND = 8, THIRD = 900 };

static bool is_let_in(struct twins *twins, uint64_t process, uint64_t now_ms)
{
    if (twins_refuse(twins, process, now_ms))
        return false;
    twins_take(twins, process, now_ms);
    return true;
}

static void a_start_anew_takes_the_place_at_once(void **state)
{
    (void)state;
    struct twins twins = {.count = 0};
    for (uint64_t process = 1000; process > 0; process--) {
        assert_false(twins_are(&twins, process));
        assert_true(is_let_in(&twins, process, 5));
        assert_true(is_let_in(&twins, process, 6)); /* its other connection */
    }
}

static void of_two_that_live_the_elder_has_the_place(void **state)
{
    (void)state;
    struct twins twins = {.count = 0};
    assert_true(is_let_in(&twins, FIRST, 0));
    assert_true(is_let_in(&twins, SECOND, 5000));
    assert_true(twins_are(&twins, FIRST));
    assert_true(is_let_in(&twins, FIRST, 5000 + LIMIT_SETTLED_MS - 1));
    for (uint64_t ms = 20000; ms < 100000; ms += 500) {
        assert_true(twins_are(&twins, SECOND));
        assert_false(is_let_in(&twins, SECOND, ms));
        assert_true(is_let_in(&twins, FIRST, ms));
    }
}

/* A host that stood still, and was replaced. */
static void who_was_away_for_long_finds_it_taken(void **state)
{
    (void)state;
    struct twins twins = {.count = 0};
    assert_true(is_let_in(&twins, FIRST, 0));
    assert_true(is_let_in(&twins, SECOND, 5000));
    assert_false(is_let_in(&twins, FIRST, 5000 + LIMIT_SETTLED_MS));
    assert_true(twins_are(&twins, FIRST));
    /* Who finds that the place is not held asks nobody. */
    twins_take(&twins, FIRST, 30000);
    assert_true(is_let_in(&twins, THIRD, 30001));
}

/* It is another process each time. */
static void a_twin_that_is_started_again_and_again_wears_nobody_out(void **state)
{
    (void)state;
    struct twins twins = {.count = 0};
    for (uint64_t process = 1; process <= 3 * TWINS_KEPT; process++)
        assert_true(is_let_in(&twins, process, process));
    assert_true(is_let_in(&twins, FIRST, 100000));
    for (uint64_t i = 0; i < 5 * TWINS_KEPT; i++) {
        assert_true(is_let_in(&twins, 1000 + i, 200000 + i * 3000));
        assert_true(is_let_in(&twins, FIRST, 200001 + i * 3000));
        assert_false(is_let_in(&twins, 1000 + i, 200002 + i * 3000));
    }
}

/* ---- flaps ---- */

static void a_peer_that_comes_and_goes_is_left_alone_for_longer_each_time(void **state)
{
    static const uint64_t pauses[] = {0, 0, 0, 50, 100, 200, 400, 800, 1000, 1000};
    (void)state;
    struct flaps flaps = {.said = 0};
    uint64_t ms = 77;
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
            flaps_up(&flaps, ms);
            assert_int_equal(flaps_down(&flaps, ms += LIMIT_BRIEF_MS - 1), pauses[i]);
        }
        flaps_up(&flaps, ms);
        assert_int_equal(flaps_down(&flaps, ms += LIMIT_BRIEF_MS), 0);
    }
}

static void ten_lines_in_a_minute_and_the_number_of_the_others(void **state)
{
    (void)state;
    struct flaps flaps = {.said = 0};
    for (uint64_t minute = 0; minute < 3; minute++) {
        unsigned logged = 0;
        for (uint64_t i = 0; i < 500; i++)
            logged += flaps_log(&flaps, minute * LIMIT_REFUSAL_LOG_MS + i);
        assert_int_equal(logged, 10);
        assert_int_equal(flaps_left_out(&flaps), 490);
        assert_int_equal(flaps_left_out(&flaps), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_anew_takes_the_place_at_once),
        cmocka_unit_test(of_two_that_live_the_elder_has_the_place),
        cmocka_unit_test(who_was_away_for_long_finds_it_taken),
        cmocka_unit_test(a_twin_that_is_started_again_and_again_wears_nobody_out),
        cmocka_unit_test(a_peer_that_comes_and_goes_is_left_alone_for_longer_each_time),
        cmocka_unit_test(ten_lines_in_a_minute_and_the_number_of_the_others),
    };
    return cmocka_run_group_tests_name("twins", tests, NULL, NULL);
}
