/* tests/unit/test_log_flush.c: group commit: who flushes for whom, and that nobody does without end. The gate before
 * fdatasync is the test's, so that what comes meanwhile comes when the test says. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/log/log_internal.h"
#include "tests/unit/faulty_log.h"

static _Atomic int left; /* calls of on_flush_left */

static void on_left(void *arg)
{
    assert_ptr_equal(arg, &f);
    atomic_fetch_add(&left, 1);
}

static int setup(void **state)
{
    (void)state;
    faulty_log_init();
    log_fixture_open(&f, NULL);
    atomic_store(&left, 0);
    return 0;
}

/* ---- requests, and threads that make them ---- */

struct request {
    struct log_flush flush; /* first */
    _Atomic int answers;
    _Atomic int rc;
    int again; /* so often it is made once more, by whoever answers it */
};

static void on_done(struct log_flush *flush, int rc)
{
    struct request *req = (struct request *)flush;

    atomic_store(&req->rc, rc);
    atomic_fetch_add(&req->answers, 1);
    if (req->again > 0) {
        req->again--;
        flush->upto = log_fixture_append(&f, "again\n").end.offset;
        assert_int_equal(log_flush(f.log, flush), 0);
    }
}

static struct request of_all(void)
{
    return (struct request){.flush = {.upto = log_end(f.log).offset, .done = on_done}};
}

static void *flush_thread(void *arg)
{
    struct request *req = arg;

    assert_int_equal(log_flush(f.log, &req->flush), 0);
    return NULL;
}

static void *flush_all_thread(void *arg)
{
    *(int *)arg = log_flush_all(f.log);
    return NULL;
}

/* Waits until a thread of log_flush_all() is in the queue. */
static void await_thread(void)
{
    for (bool there = false; !there;) {
        pthread_mutex_lock(&f.log->state_lock);
        there = f.log->flush_threads > 0;
        pthread_mutex_unlock(&f.log->state_lock);
    }
}

struct held {
    struct log_flush flush; /* first */
    _Atomic bool told, free;
};

static void on_held(struct log_flush *flush, int rc)
{
    struct held *held = (struct held *)flush;

    assert_int_equal(rc, 0);
    atomic_store(&held->told, true);
    while (!atomic_load(&held->free))
        ;
}

static void *held_thread(void *arg)
{
    assert_int_equal(log_flush(f.log, &((struct held *)arg)->flush), 0);
    return NULL;
}

/* ---- stories ---- */

static void a_flush_is_one_pair(void **state)
{
    struct request req;
    int fsyncs;

    (void)state;
    log_fixture_append(&f, "one\n");
    log_fixture_append(&f, "two\n");
    req = of_all();
    fsyncs = faulty.calls[FAULTY_FSYNC];
    assert_int_equal(log_flush(f.log, &req.flush), 0);
    assert_int_equal(req.answers, 1);
    assert_int_equal(req.rc, 0);
    assert_int_equal(log_recovery_point(f.log), 2);
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 2);
    /* A new log's directory and its name, once. */
    assert_int_equal(faulty.calls[FAULTY_FSYNC], fsyncs + 2);
    assert_int_equal(log_flush(f.log, &req.flush), 1);
    assert_int_equal(req.answers, 1);
    log_fixture_append(&f, "three\n");
    req.flush.upto = 3;
    assert_int_equal(log_flush(f.log, &req.flush), 0);
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 4);
    assert_int_equal(faulty.calls[FAULTY_FSYNC], fsyncs + 2);
}

static void who_comes_meanwhile_shares_the_next(void **state)
{
    struct request first, late[3];
    pthread_t thread;

    (void)state;
    log_fixture_append(&f, "one\n");
    first = of_all();
    faulty_io_shut(&faulty, FAULTY_FDATASYNC);
    pthread_create(&thread, NULL, flush_thread, &first);
    faulty_io_await(&faulty, 1);
    log_fixture_append(&f, "two\n");
    for (int i = 0; i < 3; i++) {
        late[i] = of_all();
        assert_int_equal(log_flush(f.log, &late[i].flush), 0);
        assert_int_equal(late[i].answers, 0);
    }
    faulty_io_unshut(&faulty);
    pthread_join(thread, NULL); /* there is nobody to leave them to */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(late[i].answers, 1);
        assert_int_equal(late[i].rc, 0);
    }
    assert_int_equal(log_recovery_point(f.log), 2);
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 4);
}

/* Who is told may wait for a thread that flushes meanwhile. */
static void who_waits_waits_for_no_answers_of_others(void **state)
{
    struct held held = {.flush = {.upto = 1, .done = on_held}};
    struct request late;
    pthread_t thread;

    (void)state;
    log_set_on_flush_left(f.log, on_left, &f);
    log_fixture_append(&f, "one\n");
    pthread_create(&thread, NULL, held_thread, &held);
    while (!atomic_load(&held.told))
        ;
    log_fixture_append(&f, "two\n");
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_recovery_point(f.log), 2);
    /* Who does not wait himself waits for the one who gives answers still, and that one leaves. */
    log_fixture_append(&f, "three\n");
    late = of_all();
    assert_int_equal(log_flush(f.log, &late.flush), 0);
    assert_int_equal(late.answers, 0);
    assert_int_equal(left, 0);
    atomic_store(&held.free, true);
    pthread_join(thread, NULL);
    assert_int_equal(left, 1);
    log_flush_next(f.log);
    assert_int_equal(late.answers, 1);
    assert_int_equal(log_recovery_point(f.log), 3);
}

/* The others write on and on: the thread that flushed for all is gone when its own is answered, all the same. */
/* The clock stands still but while the first one waits for the disk. */
static void a_round_is_timed_once_whoever_shares_it(void **state)
{
    struct request first, late[3];
    struct histogram_view times;
    pthread_t thread;

    (void)state;
    log_fixture_append(&f, "one\n");
    first = of_all();
    faulty_io_shut(&faulty, FAULTY_FDATASYNC);
    pthread_create(&thread, NULL, flush_thread, &first);
    faulty_io_await(&faulty, 1);
    log_fixture_append(&f, "two\n");
    for (int i = 0; i < 3; i++) {
        late[i] = of_all();
        assert_int_equal(log_flush(f.log, &late[i].flush), 0);
    }
    atomic_fetch_add(&f.now_ms, 250);
    faulty_io_unshut(&faulty);
    pthread_join(thread, NULL);
    assert_int_equal(log_flush(f.log, &first.flush), 1); /* it is there: no round */
    histogram_read(&f.env.flush_times, &times);
    assert_int_equal(times.count, 2);
    assert_int_equal(times.sum_us, 250000);
}

static void the_lead_is_handed_on(void **state)
{
    struct request mine, others[2];
    pthread_t thread;

    (void)state;
    log_set_on_flush_left(f.log, on_left, &f);
    log_fixture_append(&f, "one\n");
    mine = of_all();
    faulty_io_shut(&faulty, FAULTY_FDATASYNC);
    pthread_create(&thread, NULL, flush_thread, &mine);
    faulty_io_await(&faulty, 1);
    log_fixture_append(&f, "two\n");
    for (int i = 0; i < 2; i++) {
        others[i] = of_all();
        others[i].again = 100;
        assert_int_equal(log_flush(f.log, &others[i].flush), 0);
    }
    faulty_io_unshut(&faulty);
    pthread_join(thread, NULL);
    assert_int_equal(mine.answers, 1);
    assert_int_equal(left, 1);
    assert_int_equal(others[0].answers + others[1].answers, 0);
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 2);
    /* Who was called does one round a call. */
    for (int round = 1; round <= 101; round++) {
        log_flush_next(f.log);
        assert_int_equal(others[0].answers, round);
        assert_int_equal(others[1].answers, round);
        assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 2 + 2 * round);
    }
    assert_int_equal(left, 101);
    log_flush_next(f.log);
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 204);
}

/* Before the one that was called has come: no hop for who needs a flush himself. */
static void who_comes_next_takes_the_lead(void **state)
{
    struct request mine, other, next;
    pthread_t thread;

    (void)state;
    log_set_on_flush_left(f.log, on_left, &f);
    log_fixture_append(&f, "one\n");
    mine = of_all();
    faulty_io_shut(&faulty, FAULTY_FDATASYNC);
    pthread_create(&thread, NULL, flush_thread, &mine);
    faulty_io_await(&faulty, 1);
    log_fixture_append(&f, "two\n");
    other = of_all();
    assert_int_equal(log_flush(f.log, &other.flush), 0);
    faulty_io_unshut(&faulty);
    pthread_join(thread, NULL);
    log_fixture_append(&f, "three\n");
    next = of_all();
    assert_int_equal(log_flush(f.log, &next.flush), 0);
    assert_int_equal(other.answers, 1);
    assert_int_equal(next.answers, 1);
    log_flush_next(f.log);
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 4);
}

/* A thread that waits anyway leads before one has to be found; and two who write on and on do not keep it. */
static void two_writers_do_not_capture_a_thread(void **state)
{
    struct request mine, others[2];
    pthread_t leader, waiter;
    int rc = 1;

    (void)state;
    log_set_on_flush_left(f.log, on_left, &f);
    log_fixture_append(&f, "one\n");
    mine = of_all();
    faulty_io_shut(&faulty, FAULTY_FDATASYNC);
    pthread_create(&leader, NULL, flush_thread, &mine);
    faulty_io_await(&faulty, 1);
    log_fixture_append(&f, "two\n");
    for (int i = 0; i < 2; i++) {
        others[i] = of_all();
        others[i].again = 100;
        assert_int_equal(log_flush(f.log, &others[i].flush), 0);
    }
    pthread_create(&waiter, NULL, flush_all_thread, &rc);
    await_thread();
    faulty_io_unshut(&faulty);
    pthread_join(leader, NULL);
    pthread_join(waiter, NULL);
    assert_int_equal(rc, 0);
    assert_int_equal(others[0].answers, 1);
    assert_int_equal(others[1].answers, 1);
    assert_int_equal(left, 1); /* by the waiting one, when it went */
    while (others[0].answers + others[1].answers < 202) {
        log_flush_next(f.log);
    }
}

/* Threads of log_flush_all() alone, many at once: each comes back, and none needs anybody else. */
static void threads_that_wait_lead_each_other(void **state)
{
    enum { THREADS = 8, TIMES = 50 };
    pthread_t threads[THREADS];
    int rcs[THREADS];

    (void)state;
    log_set_on_flush_left(f.log, on_left, &f);
    for (int n = 0; n < TIMES; n++) {
        log_fixture_append(&f, "one\n");
        for (int i = 0; i < THREADS; i++) {
            rcs[i] = 1;
            pthread_create(&threads[i], NULL, flush_all_thread, &rcs[i]);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(rcs[i], 0);
        }
        assert_int_equal(log_recovery_point(f.log), n + 1);
    }
    assert_int_equal(left, 0);
}

/* Those who come while a flush fails are answered too, and nothing is synced again. */
static void a_failure_is_everybodys(void **state)
{
    struct request mine, other;
    pthread_t thread;

    (void)state;
    log_set_on_flush_left(f.log, on_left, &f);
    log_fixture_append(&f, "one\n");
    mine = of_all();
    faulty_io_arm(&faulty, FAULTY_FDATASYNC, 1, -EIO);
    faulty_io_shut(&faulty, FAULTY_FDATASYNC);
    pthread_create(&thread, NULL, flush_thread, &mine);
    faulty_io_await(&faulty, 1);
    other = of_all();
    assert_int_equal(log_flush(f.log, &other.flush), 0);
    faulty_io_unshut(&faulty);
    pthread_join(thread, NULL);
    assert_int_equal(mine.rc, -EIO);
    assert_int_equal(left, 1);
    log_flush_next(f.log);
    assert_int_equal(other.answers, 1);
    assert_int_equal(other.rc, -EIO);
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 1);
    assert_int_equal(f.reports, 1);
}

static void a_closed_segment_is_flushed_with_its_indexes(void **state)
{
    (void)state;
    log_fixture_append(&f, "one\n");
    assert_int_equal(log_flush_all(f.log), 0);
    log_fixture_append(&f, "two\n");
    assert_int_equal(log_roll(f.log, &f.e), 0);
    log_fixture_append(&f, "three\n");
    faulty.calls[FAULTY_FDATASYNC] = 0;
    assert_int_equal(log_flush_all(f.log), 0);
    /* The old one's four files, the new one's two. */
    assert_int_equal(faulty.calls[FAULTY_FDATASYNC], 6);
    assert_int_equal(log_recovery_point(f.log), 3);
}

/* While a round is on its way the segment that it flushes is closed and others begin: they are the next one's. */
static void rolls_under_a_flush(void **state)
{
    struct request mine;
    pthread_t thread;

    (void)state;
    log_fixture_append(&f, "one\n");
    mine = of_all();
    faulty_io_shut(&faulty, FAULTY_FDATASYNC);
    pthread_create(&thread, NULL, flush_thread, &mine);
    faulty_io_await(&faulty, 1);
    faulty_io_unshut(&faulty);
    for (int i = 0; i < 3; i++) {
        log_fixture_append(&f, "more\n");
        assert_int_equal(log_roll(f.log, &f.e), 0);
    }
    pthread_join(thread, NULL);
    assert_true(log_recovery_point(f.log) >= 1);
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_recovery_point(f.log), 4);
    for (uint32_t i = 0; i < f.log->segment_count; i++) {
        assert_true(segment_is_flushed(f.log->segments[i], f.log->segments[i]->log_bytes) ||
                    f.log->segments[i]->batches == 0);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_flush_is_one_pair),
        TEST(who_comes_meanwhile_shares_the_next),
        TEST(a_round_is_timed_once_whoever_shares_it),
        TEST(the_lead_is_handed_on),
        TEST(who_comes_next_takes_the_lead),
        TEST(two_writers_do_not_capture_a_thread),
        TEST(threads_that_wait_lead_each_other),
        TEST(who_waits_waits_for_no_answers_of_others),
        TEST(a_failure_is_everybodys),
        TEST(a_closed_segment_is_flushed_with_its_indexes),
        TEST(rolls_under_a_flush),
    };

    return cmocka_run_group_tests_name("log_flush", tests, NULL, NULL);
}
