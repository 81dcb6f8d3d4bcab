/* The loop's timers and works, under a clock that the test moves. */
#include "replication/executor/node_loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- a clock by hand, and a list of what happened that can be waited for ---- */

struct hand_clock {
    struct clock clock;
    _Atomic int64_t now_ms;
};

static int64_t hand_now(struct clock *clock)
{
    return atomic_load(&((struct hand_clock *)clock)->now_ms);
}

static struct hand_clock hand = {.clock = {.wall_ms = hand_now, .mono_ms = hand_now}};

enum { EVENTS = 4096 };
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int ids[EVENTS];
    int count;
} happened = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note(int id)
{
    pthread_mutex_lock(&happened.lock);
    assert_true(happened.count < EVENTS);
    happened.ids[happened.count++] = id;
    pthread_cond_broadcast(&happened.changed);
    pthread_mutex_unlock(&happened.lock);
}

static void wait_for(int count)
{
    pthread_mutex_lock(&happened.lock);
    while (happened.count < count)
        pthread_cond_wait(&happened.changed, &happened.lock);
    pthread_mutex_unlock(&happened.lock);
}

static int count_now(void)
{
    pthread_mutex_lock(&happened.lock);
    int count = happened.count;
    pthread_mutex_unlock(&happened.lock);
    return count;
}

struct numbered_timer {
    struct node_timer timer; /* first */
    int id;
};

static void on_fire(struct node_timer *timer)
{
    note(((struct numbered_timer *)timer)->id);
}

struct numbered_work {
    struct node_work work; /* first */
    int id;
};

static void on_run(struct node_work *work)
{
    note(((struct numbered_work *)work)->id);
}

static int setup(void **state)
{
    struct node_loop *loop;
    atomic_store(&hand.now_ms, 1000);
    happened.count = 0;
    assert_int_equal(node_loop_start(&hand.clock, &loop, NULL), 0);
    *state = loop;
    return 0;
}

static int teardown(void **state)
{
    if (*state != NULL)
        node_loop_stop(*state);
    return 0;
}

/* The clock goes on and the loop looks. */
static void advance(struct node_loop *loop, int64_t ms)
{
    atomic_fetch_add(&hand.now_ms, ms);
    node_loop_wake(loop);
}

/* ---- tests ---- */

static void test_fire_in_order_of_their_deadlines(void **state)
{
    struct node_loop *loop = *state;
    struct numbered_timer timers[100] = {0};
    for (int i = 0; i < 100; i++) {
        timers[i].timer.fire = on_fire;
        timers[i].id = i * 37 % 100;
        node_loop_timer_start(loop, &timers[i].timer, 10 + timers[i].id);
    }
    advance(loop, 1000);
    wait_for(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(happened.ids[i], i);
}

static void test_fire_when_due_and_not_before(void **state)
{
    struct node_loop *loop = *state;
    struct numbered_timer early = {.timer.fire = on_fire, .id = 1}, late = {.timer.fire = on_fire, .id = 2};
    node_loop_timer_start(loop, &late.timer, 200);
    node_loop_timer_start(loop, &early.timer, 100);
    advance(loop, 100);
    wait_for(1);
    assert_int_equal(happened.ids[0], 1);
    /* The loop has been round by the time the early one has fired; the late one waits for its time. */
    assert_true(node_loop_timer_cancel(loop, &late.timer));
    assert_false(node_loop_timer_cancel(loop, &late.timer));
    assert_int_equal(count_now(), 1);
}

static void test_starting_again_moves(void **state)
{
    struct node_loop *loop = *state;
    struct numbered_timer moved = {.timer.fire = on_fire, .id = 1}, other = {.timer.fire = on_fire, .id = 2};
    node_loop_timer_start(loop, &moved.timer, 10);
    node_loop_timer_start(loop, &other.timer, 50);
    node_loop_timer_start(loop, &moved.timer, 100);
    advance(loop, 100);
    wait_for(2);
    assert_int_equal(happened.ids[0], 2);
    assert_int_equal(happened.ids[1], 1);
    assert_false(node_loop_timer_cancel(loop, &moved.timer));
}

/* Random starts, moves and cancels, against an array that knows what must fire. The seed is fixed. */
static void test_a_thousand_random_steps(void **state)
{
    struct node_loop *loop = *state;
    enum { TIMERS = 64 };
    struct numbered_timer timers[TIMERS] = {0};
    int64_t deadlines[TIMERS];
    unsigned seed = 20261122;
    print_message("seed %u\n", seed);
    for (int i = 0; i < TIMERS; i++) {
        timers[i] = (struct numbered_timer){.timer.fire = on_fire, .id = i};
        deadlines[i] = -1;
    }
    for (int step = 0; step < 1000; step++) {
        int i = rand_r(&seed) % TIMERS;
        if (rand_r(&seed) % 3 == 0) {
            assert_int_equal(node_loop_timer_cancel(loop, &timers[i].timer), deadlines[i] >= 0);
            deadlines[i] = -1;
        } else {
            int64_t after = 1 + rand_r(&seed) % 1000;
            node_loop_timer_start(loop, &timers[i].timer, after);
            deadlines[i] = 1000 + after;
        }
    }
    int running = 0;
    for (int i = 0; i < TIMERS; i++)
        running += deadlines[i] >= 0;
    advance(loop, 2000);
    wait_for(running);
    for (int i = 1; i < running; i++)
        assert_true(deadlines[happened.ids[i - 1]] <= deadlines[happened.ids[i]]);
}

static void test_each_submit_runs_once(void **state)
{
    struct node_loop *loop = *state;
    struct numbered_work works[1000] = {0};
    bool seen[1000] = {false};
    for (int i = 0; i < 1000; i++) {
        works[i] = (struct numbered_work){.work.run = on_run, .id = i};
        node_loop_submit(loop, &works[i].work);
    }
    wait_for(1000);
    node_loop_stop(loop);
    *state = NULL;
    assert_int_equal(happened.count, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_false(seen[happened.ids[i]]);
        seen[happened.ids[i]] = true;
    }
}

static void test_a_stop_runs_what_was_submitted_and_drops_timers(void **state)
{
    struct node_loop *loop = *state;
    struct numbered_timer timer = {.timer.fire = on_fire, .id = 1};
    struct numbered_work works[50];
    node_loop_timer_start(loop, &timer.timer, 5);
    for (int i = 0; i < 50; i++) {
        works[i] = (struct numbered_work){.work.run = on_run, .id = 2};
        node_loop_submit(loop, &works[i].work);
    }
    node_loop_stop(loop);
    *state = NULL;
    assert_int_equal(happened.count, 50);
    assert_int_equal(timer.timer.heap_index, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fire_in_order_of_their_deadlines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fire_when_due_and_not_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_starting_again_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_thousand_random_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_submit_runs_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stop_runs_what_was_submitted_and_drops_timers, setup, teardown),
    };
    return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
