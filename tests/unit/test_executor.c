/* The executor of a daemon: alarms under a clock that the test moves, works, and that bulk never holds up prompt. */
#include "replication/executor/executor_uv.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "replication/base/limits.h"
#include "replication/executor/alarms.h"

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

struct numbered_alarm {
    struct alarm alarm; /* first */
    int id;
};

static void on_ring(struct alarm *alarm)
{
    note(((struct numbered_alarm *)alarm)->id);
}

static struct numbered_alarm numbered_alarm(int id)
{
    struct numbered_alarm numbered = {.id = id};
    alarm_init(&numbered.alarm, WORK_PROMPT, on_ring);
    return numbered;
}

struct numbered_work {
    struct work work; /* first */
    int id;
};

static void on_run(struct work *work)
{
    note(((struct numbered_work *)work)->id);
}

/* A work that says that it has begun and goes on when it is let. */
struct held_work {
    struct work work; /* first */
    sem_t *let_go;
};

static void on_held(struct work *work)
{
    note(-1);
    sem_wait(((struct held_work *)work)->let_go);
}

static int setup(void **state)
{
    struct executor *executor;
    atomic_store(&hand.now_ms, 1000);
    happened.count = 0;
    assert_int_equal(executor_uv_start(&hand.clock, &executor, NULL), 0);
    *state = executor;
    return 0;
}

static int teardown(void **state)
{
    if (*state != NULL)
        executor_uv_stop(*state);
    return 0;
}

/* The clock goes on and the loop looks. */
static void advance(struct executor *executor, int64_t ms)
{
    atomic_fetch_add(&hand.now_ms, ms);
    executor_uv_look(executor);
}

/* ---- the heap ---- */

/* Random additions and removals, against an array that knows what is in it. The seed is fixed. */
static void test_a_thousand_random_steps(void **state)
{
    enum { COUNT = 64 };
    struct alarms alarms = {0};
    struct alarm all[COUNT] = {0};
    unsigned seed = 20261122;
    int set = 0;
    (void)state;
    print_message("seed %u\n", seed);
    for (int step = 0; step < 1000; step++) {
        struct alarm *alarm = &all[rand_r(&seed) % COUNT];
        if (alarms_hold(alarm)) {
            alarms_remove(&alarms, alarm);
            set--;
        } else {
            alarm->deadline_ms = rand_r(&seed) % 1000;
            alarms_add(&alarms, alarm);
            set++;
        }
        int64_t earliest = INT64_MAX;
        for (int i = 0; i < COUNT; i++) {
            if (alarms_hold(&all[i]) && all[i].deadline_ms < earliest)
                earliest = all[i].deadline_ms;
        }
        struct alarm *first = alarms_first(&alarms);
        assert_int_equal(first != NULL ? first->deadline_ms : INT64_MAX, earliest);
    }
    for (int64_t last = 0; set > 0; set--) {
        struct alarm *first = alarms_first(&alarms);
        assert_true(first->deadline_ms >= last);
        last = first->deadline_ms;
        alarms_remove(&alarms, first);
    }
    assert_null(alarms_first(&alarms));
    assert_int_equal(alarms_deadline_ms(5, INT64_MAX), INT64_MAX);
    alarms_free(&alarms);
}

/* ---- alarms ---- */

static void test_rings_when_due_and_not_before(void **state)
{
    struct executor *executor = *state;
    struct numbered_alarm early = numbered_alarm(1), late = numbered_alarm(2);
    alarm_set(executor, &late.alarm, 200);
    alarm_set(executor, &early.alarm, 100);
    advance(executor, 100);
    wait_for(1);
    assert_int_equal(happened.ids[0], 1);
    /* The loop has been round by the time the early one has rung; the late one waits for its time. */
    assert_true(alarm_cancel(executor, &late.alarm));
    assert_false(alarm_cancel(executor, &late.alarm));
    assert_int_equal(count_now(), 1);
}

static void test_setting_again_moves(void **state)
{
    struct executor *executor = *state;
    struct numbered_alarm moved = numbered_alarm(1), other = numbered_alarm(2);
    alarm_set(executor, &moved.alarm, 10);
    alarm_set(executor, &other.alarm, 50);
    alarm_set(executor, &moved.alarm, 100);
    advance(executor, 50);
    wait_for(1);
    assert_int_equal(happened.ids[0], 2);
    advance(executor, 50);
    wait_for(2);
    assert_int_equal(happened.ids[1], 1);
    assert_false(alarm_cancel(executor, &moved.alarm));
    /* No time at all is at once: nothing has to look at the clock. */
    alarm_set(executor, &moved.alarm, 0);
    wait_for(3);
}

/* ---- works ---- */

static void test_each_submit_runs_once(void **state)
{
    struct executor *executor = *state;
    struct numbered_work works[1000] = {0};
    bool seen[1000] = {false};
    for (int i = 0; i < 1000; i++) {
        works[i] = (struct numbered_work){.work.run = on_run, .id = i};
        executor->submit(executor, i % 2 == 0 ? WORK_PROMPT : WORK_BULK, &works[i].work);
    }
    executor_settle(executor);
    assert_int_equal(happened.count, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_false(seen[happened.ids[i]]);
        seen[happened.ids[i]] = true;
    }
}

/* Each thread of the pool holds a work: what comes then waits, and only that. */
static void hold_all(struct executor *executor, enum work_kind kind, struct held_work *held, int count, sem_t *let_go)
{
    sem_init(let_go, 0, 0);
    for (int i = 0; i < count; i++) {
        held[i] = (struct held_work){.work.run = on_held, .let_go = let_go};
        executor->submit(executor, kind, &held[i].work);
    }
    wait_for(count);
}

static void let_all_go(struct executor *executor, int count, sem_t *let_go)
{
    for (int i = 0; i < count; i++)
        sem_post(let_go);
    executor_settle(executor);
    sem_destroy(let_go);
}

static void test_bulk_never_holds_up_prompt(void **state)
{
    struct executor *executor = *state;
    enum { HELD = LIMIT_BULK_THREADS };
    struct held_work held[HELD];
    sem_t let_go;
    hold_all(executor, WORK_BULK, held, HELD, &let_go);
    struct numbered_work waits = {.work.run = on_run, .id = 1}, prompt = {.work.run = on_run, .id = 2};
    struct numbered_alarm alarm = numbered_alarm(3);
    executor_bulk(executor, &waits.work);
    executor_prompt(executor, &prompt.work);
    wait_for(HELD + 1);
    alarm_set(executor, &alarm.alarm, 5);
    advance(executor, 5);
    wait_for(HELD + 2);
    assert_int_equal(happened.ids[HELD], 2);
    assert_int_equal(happened.ids[HELD + 1], 3);
    let_all_go(executor, HELD, &let_go);
    assert_int_equal(happened.count, HELD + 3);
    assert_int_equal(happened.ids[HELD + 2], 1);
}

/* Slow work of every other kind holds up no heartbeat. */
static void test_nothing_holds_up_what_is_urgent(void **state)
{
    struct executor *executor = *state;
    enum { HELD = LIMIT_BULK_THREADS + LIMIT_PROMPT_THREADS };
    struct held_work held[HELD];
    sem_t bulk, prompt;
    hold_all(executor, WORK_BULK, held, LIMIT_BULK_THREADS, &bulk);
    hold_all(executor, WORK_PROMPT, held + LIMIT_BULK_THREADS, LIMIT_PROMPT_THREADS, &prompt);
    wait_for(HELD);
    struct numbered_work urgent = {.work.run = on_run, .id = 1};
    struct numbered_alarm alarm = numbered_alarm(2);
    alarm_init(&alarm.alarm, WORK_URGENT, on_ring);
    executor->submit(executor, WORK_URGENT, &urgent.work);
    wait_for(HELD + 1);
    alarm_set(executor, &alarm.alarm, 5);
    advance(executor, 5);
    wait_for(HELD + 2);
    assert_int_equal(happened.ids[HELD], 1);
    assert_int_equal(happened.ids[HELD + 1], 2);
    for (int i = 0; i < LIMIT_BULK_THREADS; i++)
        sem_post(&bulk);
    let_all_go(executor, LIMIT_PROMPT_THREADS, &prompt);
    sem_destroy(&bulk);
}

static void test_works_begin_in_their_order(void **state)
{
    struct executor *executor = *state;
    enum { HELD = LIMIT_PROMPT_THREADS, WAIT = 100 };
    struct held_work held[HELD];
    struct numbered_work works[WAIT];
    sem_t let_go;
    hold_all(executor, WORK_PROMPT, held, HELD, &let_go);
    for (int i = 0; i < WAIT; i++) {
        works[i] = (struct numbered_work){.work.run = on_run, .id = i};
        executor_prompt(executor, &works[i].work);
    }
    sem_post(&let_go); /* one thread does them all */
    wait_for(HELD + WAIT);
    for (int i = 0; i < WAIT; i++)
        assert_int_equal(happened.ids[HELD + i], i);
    let_all_go(executor, HELD - 1, &let_go);
}

static void test_an_alarm_that_is_kept_waiting_rings_once(void **state)
{
    struct executor *executor = *state;
    enum { HELD = LIMIT_PROMPT_THREADS };
    struct held_work held[HELD];
    sem_t let_go;
    hold_all(executor, WORK_PROMPT, held, HELD, &let_go);
    struct numbered_alarm alarm = numbered_alarm(1);
    for (int i = 0; i < 3; i++)
        alarm_set(executor, &alarm.alarm, 0);
    let_all_go(executor, HELD, &let_go);
    assert_int_equal(happened.count, HELD + 1);
}

/* ---- a stop ---- */

static void test_a_stop_runs_what_was_submitted_and_drops_alarms(void **state)
{
    struct executor *executor = *state;
    struct numbered_alarm before = numbered_alarm(1), after = numbered_alarm(1);
    struct numbered_work works[50];
    alarm_set(executor, &before.alarm, 5);
    for (int i = 0; i < 50; i++) {
        works[i] = (struct numbered_work){.work.run = on_run, .id = 2};
        executor_bulk(executor, &works[i].work);
    }
    executor_silence(executor);
    alarm_set(executor, &after.alarm, 0);
    assert_false(alarm_cancel(executor, &before.alarm));
    executor_settle(executor);
    assert_int_equal(happened.count, 50);
    executor_prompt(executor, &works[0].work); /* works are still done */
    executor_uv_stop(executor);
    *state = NULL;
    assert_int_equal(happened.count, 51);
    for (int i = 0; i < 51; i++)
        assert_int_equal(happened.ids[i], 2);
}

/* A work that submits the next, as often as it is told. */
struct chain {
    struct work work; /* first */
    struct executor *executor;
    int left;
};

static void on_chain(struct work *work)
{
    struct chain *chain = (struct chain *)work;
    note(chain->left);
    if (--chain->left > 0)
        chain->executor->submit(chain->executor, chain->left % 2 == 0 ? WORK_PROMPT : WORK_BULK, work);
}

static void test_settling_waits_for_what_works_submit(void **state)
{
    struct chain chain = {.work.run = on_chain, .executor = *state, .left = 100};
    executor_prompt(*state, &chain.work);
    executor_settle(*state);
    assert_int_equal(happened.count, 100);
}

/* ---- calls on the loop's thread ---- */

struct timed_call {
    struct loop_call call; /* first */
    struct executor *executor;
    uv_timer_t timer;
    pthread_t thread;
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct timed_call *timed = handle->data;
    note(2);
    executor_uv_called(timed->executor, &timed->call);
}

static void on_timed(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void run_timed(struct loop_call *call, struct uv_loop_s *loop)
{
    struct timed_call *timed = (struct timed_call *)call;
    note(1);
    timed->thread = pthread_self();
    uv_timer_init(loop, &timed->timer);
    timed->timer.data = timed;
    uv_timer_start(&timed->timer, on_timed, 1, 0);
}

static void test_a_call_on_the_loop_ends_when_the_loop_says_so(void **state)
{
    struct timed_call timed[2] = {{.call.run = run_timed, .executor = *state},
                                  {.call.run = run_timed, .executor = *state}};
    for (int i = 0; i < 2; i++) {
        executor_uv_call(*state, &timed[i].call);
        assert_int_equal(happened.count, 2 * (i + 1));
        assert_int_equal(happened.ids[2 * i + 1], 2);
    }
    assert_true(pthread_equal(timed[0].thread, timed[1].thread));
    assert_false(pthread_equal(timed[0].thread, pthread_self()));
}

/* ---- chance ---- */

static void test_ids_differ_and_can_be_typed(void **state)
{
    struct executor *executor = *state;
    uint8_t ids[100][UUID_BYTES];
    for (int i = 0; i < 100; i++) {
        char text[UUID_TEXT_BYTES];
        assert_int_equal(executor_uuid(executor, ids[i]), 0);
        uuid_text(ids[i], text);
        assert_int_not_equal(text[0], '-');
        assert_int_equal(ids[i][6] >> 4, 4); /* RFC 4122: the version */
        for (int j = 0; j < i; j++)
            assert_int_not_equal(memcmp(ids[i], ids[j], UUID_BYTES), 0);
    }
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thousand_random_steps),
        STORY(test_rings_when_due_and_not_before),
        STORY(test_setting_again_moves),
        STORY(test_each_submit_runs_once),
        STORY(test_bulk_never_holds_up_prompt),
        STORY(test_nothing_holds_up_what_is_urgent),
        STORY(test_works_begin_in_their_order),
        STORY(test_an_alarm_that_is_kept_waiting_rings_once),
        STORY(test_a_stop_runs_what_was_submitted_and_drops_alarms),
        STORY(test_settling_waits_for_what_works_submit),
        STORY(test_a_call_on_the_loop_ends_when_the_loop_says_so),
        STORY(test_ids_differ_and_can_be_typed),
    };
    return cmocka_run_group_tests_name("executor", tests, NULL, NULL);
}
