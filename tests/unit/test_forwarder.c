/* Appends on their way to a leader elsewhere: what is sent, what is sent again, and how each ends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replication/replica/forwarder.h"

static struct forwarder forwarder;
static struct forward batches[200];
static struct forward_request request;

static int setup(void **state)
{
    (void)state;
    forwarder_init(&forwarder);
    memset(batches, 0, sizeof batches);
    for (int i = 0; i < 200; i++) {
        batches[i] = (struct forward){.records = 10, .bytes = 100, .deadline_ms = 30000};
    }
    return 0;
}

static void add(int from, int to)
{
    for (; from < to; from++) {
        forwarder_add(&forwarder, &batches[from]);
    }
}

/* The next request has these batches, and no others. */
static uint64_t sends(int from, int to)
{
    assert_true(forwarder_next(&forwarder, &request));
    assert_int_equal(request.count, to - from);
    for (int i = 0; i < request.count; i++) {
        assert_ptr_equal(request.batches[i], &batches[from + i]);
    }
    return request.number;
}

static void sends_nothing(void)
{
    assert_false(forwarder_next(&forwarder, &request));
}

static void led_by(int32_t leader, int32_t epoch)
{
    forwarder_set_leader(&forwarder, leader, epoch, 1);
}

static void ends(uint64_t number, int i, enum forward_answer answer, int rc, int end)
{
    assert_ptr_equal(forwarder_answer(&forwarder, number, batches[i].sequence, answer, rc), &batches[i]);
    assert_int_equal(batches[i].rc, end);
    assert_int_equal(batches[i].state, FORWARD_OVER);
}

static void goes_on(uint64_t number, int i, enum forward_answer answer)
{
    assert_null(forwarder_answer(&forwarder, number, batches[i].sequence, answer, 0));
    assert_int_equal(batches[i].state, FORWARD_WAITING);
}

/* ---- the happy path ---- */

static void what_comes_together_travels_together(void **state)
{
    uint64_t numbers[LIMIT_FORWARD_REQUESTS];

    (void)state;
    led_by(2, 7);
    for (int i = 0; i < LIMIT_FORWARD_REQUESTS; i++) {
        add(i, i + 1);
        numbers[i] = sends(i, i + 1);
        assert_int_equal(batches[i].sequence, 10 * i);
        assert_int_equal(batches[i].gap, i == 0 ? FORWARD_GAP_ALL : 0);
    }
    add(5, 100);
    sends_nothing();
    ends(numbers[3], 3, FORWARD_APPENDED, 0, 0);
    numbers[3] = sends(5, 5 + LIMIT_FORWARD_BATCHES);
    sends_nothing();
    for (int i = 0; i < LIMIT_FORWARD_BATCHES; i++) {
        ends(numbers[3], 5 + i, FORWARD_APPENDED, 0, 0);
    }
    sends(5 + LIMIT_FORWARD_BATCHES, 100);
}

static void a_request_has_a_limit_of_bytes_but_takes_any_one_batch(void **state)
{
    (void)state;
    led_by(2, 7);
    batches[1].bytes = LIMIT_FORWARD_BYTES - 100;
    batches[2].bytes = LIMIT_FORWARD_BYTES + 1;
    add(0, 4);
    sends(0, 2);
    sends(2, 3);
    sends(3, 4);
}

static void nothing_is_sent_to_nobody(void **state)
{
    (void)state;
    add(0, 2);
    sends_nothing();
    forwarder_set_leader(&forwarder, 2, 7, 0);
    sends_nothing();
    assert_int_equal(batches[0].sequence, FORWARD_UNNUMBERED);
    assert_true(forwarder_cancel(&forwarder, &batches[0]));
    forwarder_set_leader(&forwarder, 2, 7, 2);
    sends(1, 2);
    assert_int_equal(batches[1].sequence, 0);
}

/* ---- other leaders ---- */

static void a_new_leader_gets_all_that_is_not_over_in_order(void **state)
{
    uint64_t first, second;

    (void)state;
    led_by(2, 7);
    add(0, 3);
    first = sends(0, 3);
    add(3, 4);
    second = sends(3, 4);
    ends(first, 1, FORWARD_APPENDED, 0, 0);
    led_by(3, 8);
    /* What the old one says counts no more. */
    assert_null(forwarder_answer(&forwarder, second, 30, FORWARD_APPENDED, 0));
    assert_true(forwarder_next(&forwarder, &request));
    assert_int_equal(request.count, 3);
    assert_ptr_equal(request.batches[0], &batches[0]);
    assert_ptr_equal(request.batches[1], &batches[2]);
    assert_ptr_equal(request.batches[2], &batches[3]);
    assert_int_equal(batches[0].gap, FORWARD_GAP_ALL);
    assert_int_equal(batches[2].sequence, 20);
    assert_int_equal(batches[2].gap, 10); /* of the one between them nobody knows whether this log has it */
    assert_int_equal(batches[3].gap, 0);
}

static void what_was_appended_here_is_sent_on_before_all_else(void **state)
{
    (void)state;
    assert_int_equal(forwarder_take_sequence(&forwarder, 10), 0);
    assert_int_equal(forwarder_take_sequence(&forwarder, 10), 10);
    add(2, 3); /* came when the leadership had ended */
    forwarder_add_numbered(&forwarder, &batches[0], 0);
    forwarder_add_numbered(&forwarder, &batches[1], 10);
    assert_false(forwarder_cancel(&forwarder, &batches[0]));
    led_by(2, 8);
    sends(0, 3);
    assert_int_equal(batches[2].sequence, 20);
}

/* The threads that appended them come one after the other, in no order. A later one that went first would say that
 * nothing before it will come, and the earlier one pass for a duplicate. */
static void what_was_appended_here_goes_by_its_numbers(void **state)
{
    (void)state;
    forwarder.next_sequence = INT32_MAX - 4;
    assert_int_equal(forwarder_take_sequence(&forwarder, 10), INT32_MAX - 4);
    assert_int_equal(forwarder_take_sequence(&forwarder, 10), 5); /* they went round */
    assert_int_equal(forwarder_take_sequence(&forwarder, 10), 15);
    forwarder_add_numbered(&forwarder, &batches[1], 5);
    add(3, 4);
    forwarder_add_numbered(&forwarder, &batches[2], 15);
    forwarder_add_numbered(&forwarder, &batches[0], INT32_MAX - 4);
    led_by(2, 8);
    sends(0, 4);
    assert_int_equal(batches[0].gap, FORWARD_GAP_ALL);
    assert_int_equal(batches[1].gap, 0);
    assert_int_equal(batches[2].gap, 0);
    assert_int_equal(batches[3].gap, 0);
    assert_int_equal(batches[3].sequence, 25);
}

static void the_numbers_go_round(void **state)
{
    (void)state;
    forwarder.next_sequence = INT32_MAX - 14;
    led_by(2, 7);
    add(0, 3);
    sends(0, 3);
    assert_int_equal(batches[1].sequence, INT32_MAX - 4);
    assert_int_equal(batches[2].sequence, 5);
    assert_int_equal(batches[2].gap, 0);
    assert_true(forwarder_forget(&forwarder, &batches[1]));
    led_by(3, 8);
    assert_true(forwarder_next(&forwarder, &request));
    assert_int_equal(batches[2].gap, 10);
}

/* ---- refusals ---- */

static void one_that_fails_holds_up_no_other(void **state)
{
    uint64_t numbers[4];

    (void)state;
    led_by(2, 7);
    for (int i = 0; i < 3; i++) {
        add(i, i + 1);
        numbers[i] = sends(i, i + 1);
    }
    /* The first waits for its replicas; the second is refused, and so the third is out of order. */
    ends(numbers[1], 1, FORWARD_REFUSED, -EINVAL, -EINVAL);
    goes_on(numbers[2], 2, FORWARD_OUT_OF_ORDER);
    numbers[3] = sends(2, 3);
    assert_int_equal(batches[2].gap, 10);
    ends(numbers[3], 2, FORWARD_APPENDED, 0, 0);
    ends(numbers[0], 0, FORWARD_APPENDED, 0, 0);
}

static void out_of_order_waits_for_the_one_before(void **state)
{
    uint64_t first, second;

    (void)state;
    led_by(2, 7);
    add(0, 1);
    first = sends(0, 1);
    add(1, 2);
    second = sends(1, 2);
    goes_on(second, 1, FORWARD_OUT_OF_ORDER);
    sends_nothing();
    goes_on(first, 0, FORWARD_LATER);
    sends_nothing();
    forwarder_go_on(&forwarder);
    sends(0, 2);
}

static void what_cannot_be_sent_was_not(void **state)
{
    (void)state;
    led_by(2, 7);
    add(0, 2);
    sends(0, 2);
    forwarder_unsent(&forwarder, &request);
    assert_true(forwarder_cancel(&forwarder, &batches[0]));
    sends_nothing();
    forwarder_go_on(&forwarder);
    sends(1, 2);
    assert_int_equal(batches[1].gap, FORWARD_GAP_ALL);
}

/* ---- ends ---- */

static void what_was_never_sent_is_certain(void **state)
{
    struct forward *over;

    (void)state;
    for (int i = 0; i < 4; i++) {
        batches[i].deadline_ms = 100 + i / 3;
    }
    led_by(2, 7);
    add(0, 1);
    sends(0, 1);
    forwarder_set_leader(&forwarder, 2, 7, 0); /* in doubt */
    add(1, 4);
    assert_int_equal(forwarder_deadline(&forwarder), 100);
    assert_null(forwarder_expire(&forwarder, 99));
    over = forwarder_expire(&forwarder, 100);
    assert_ptr_equal(over, &batches[0]);
    assert_int_equal(over->rc, -ETIMEDOUT);
    assert_ptr_equal(over->next, &batches[1]);
    assert_int_equal(over->next->rc, -EROFS);
    assert_ptr_equal(over->next->next, &batches[2]);
    assert_null(over->next->next->next);
    assert_true(forwarder.failing);
    led_by(3, 8);
    assert_false(forwarder.failing);
}

static void a_refusal_is_certain_only_of_what_is_not_in_doubt(void **state)
{
    uint64_t number;

    (void)state;
    led_by(2, 7);
    add(0, 1);
    sends(0, 1);
    led_by(3, 8);
    add(1, 2);
    number = sends(0, 2);
    ends(number, 0, FORWARD_REFUSED, -EROFS, -ETIMEDOUT);
    ends(number, 1, FORWARD_REFUSED, -EROFS, -EROFS);
}

static void a_log_that_failed_leaves_doubt(void **state)
{
    uint64_t number;

    (void)state;
    led_by(2, 7);
    add(0, 2);
    number = sends(0, 2);
    goes_on(number, 0, FORWARD_LOST);
    assert_false(forwarder_cancel(&forwarder, &batches[0]));
    goes_on(number, 1, FORWARD_LATER);
    assert_true(forwarder_cancel(&forwarder, &batches[1]));
}

static void one_that_is_silent_fails_the_next_until_it_speaks(void **state)
{
    uint64_t number;

    (void)state;
    led_by(2, 7);
    add(0, 2);
    number = sends(0, 2);
    forwarder_expire(&forwarder, 30000);
    assert_true(forwarder.failing);
    assert_true(forwarder_idle(&forwarder));
    assert_null(forwarder_answer(&forwarder, number, 0, FORWARD_APPENDED, 0));
    assert_false(forwarder.failing);
}

/* It ended and came up again before anybody looked. */
static void what_was_sent_over_another_link_is_sent_again(void **state)
{
    uint64_t first, second;

    (void)state;
    led_by(2, 7);
    add(0, 2);
    first = sends(0, 2);
    forwarder_set_leader(&forwarder, 2, 7, 2);
    second = sends(0, 2);
    assert_true(second > first);
    forwarder_expire(&forwarder, 30000);
    assert_true(forwarder.failing);
    forwarder_set_leader(&forwarder, 2, 7, 3);
    assert_false(forwarder.failing);
}

static void a_topic_that_is_gone_ends_all(void **state)
{
    struct forward *over;

    (void)state;
    led_by(2, 7);
    add(0, 1);
    sends(0, 1);
    add(1, 2);
    over = forwarder_fail(&forwarder, -ESTALE);
    assert_ptr_equal(over, &batches[0]);
    assert_ptr_equal(over->next, &batches[1]);
    assert_null(over->next->next);
    assert_int_equal(batches[1].rc, -ESTALE);
    assert_false(forwarder_forget(&forwarder, &batches[1]));
    assert_true(forwarder_idle(&forwarder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_comes_together_travels_together, setup),
        cmocka_unit_test_setup(a_request_has_a_limit_of_bytes_but_takes_any_one_batch, setup),
        cmocka_unit_test_setup(nothing_is_sent_to_nobody, setup),
        cmocka_unit_test_setup(a_new_leader_gets_all_that_is_not_over_in_order, setup),
        cmocka_unit_test_setup(what_was_appended_here_is_sent_on_before_all_else, setup),
        cmocka_unit_test_setup(what_was_appended_here_goes_by_its_numbers, setup),
        cmocka_unit_test_setup(the_numbers_go_round, setup),
        cmocka_unit_test_setup(one_that_fails_holds_up_no_other, setup),
        cmocka_unit_test_setup(out_of_order_waits_for_the_one_before, setup),
        cmocka_unit_test_setup(what_cannot_be_sent_was_not, setup),
        cmocka_unit_test_setup(what_was_never_sent_is_certain, setup),
        cmocka_unit_test_setup(a_refusal_is_certain_only_of_what_is_not_in_doubt, setup),
        cmocka_unit_test_setup(a_log_that_failed_leaves_doubt, setup),
        cmocka_unit_test_setup(one_that_is_silent_fails_the_next_until_it_speaks, setup),
        cmocka_unit_test_setup(what_was_sent_over_another_link_is_sent_again, setup),
        cmocka_unit_test_setup(a_topic_that_is_gone_ends_all, setup),
    };

    return cmocka_run_group_tests_name("forwarder", tests, NULL, NULL);
}
