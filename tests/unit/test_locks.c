/* tests/unit/test_locks.c: fcntl(2) and flock(2), as their man pages say. Owners are small numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "fs/base/limits.h"
#include "fs/tree/locks.h"

/* A request that remembers whether, when and how it was answered. */
struct waiting {
    struct locks_request request; /* first */
    int calls, rc, turn;
};

static int turns;

static void granted(struct locks_request *request, int rc)
{
    struct waiting *waiting = (struct waiting *)request;

    waiting->calls++;
    waiting->rc = rc;
    waiting->turn = ++turns;
}

static struct waiting posix(uint64_t owner, int type, int64_t start, int64_t end)
{
    return (struct waiting){.request = {.kind = LOCKS_POSIX,
                                        .owner = owner,
                                        .pid = (pid_t)owner * 10,
                                        .type = type,
                                        .start = start,
                                        .end = end,
                                        .granted = granted}};
}

static struct waiting flocked(uint64_t owner, int type)
{
    struct waiting waiting = posix(owner, type, 0, INT64_MAX);

    waiting.request.kind = LOCKS_FLOCK;
    return waiting;
}

static int try(struct locks *locks, struct waiting waiting)
{
    return locks_set(locks, &waiting.request, false);
}

static void unlock(struct locks *locks, uint64_t owner, int64_t start, int64_t end)
{
    assert_int_equal(try(locks, posix(owner, F_UNLCK, start, end)), 1);
}

static void wait_for(struct locks *locks, struct waiting *waiting)
{
    assert_int_equal(locks_set(locks, &waiting->request, true), 0);
    assert_int_equal(waiting->calls, 0);
}

static void expect_granted(const struct waiting *waiting, int rc)
{
    assert_int_equal(waiting->calls, 1);
    assert_int_equal(waiting->rc, rc);
}

/* What F_GETLK says to another owner's write lock of [start, end]. */
static void expect_held(struct locks *locks, int64_t start, int64_t end, int type, int64_t held_start, int64_t held_end)
{
    struct waiting waiting = posix(99, F_WRLCK, start, end);

    locks_get(locks, &waiting.request);
    assert_int_equal(waiting.request.type, type);
    if (type != F_UNLCK) {
        assert_int_equal(waiting.request.start, held_start);
        assert_int_equal(waiting.request.end, held_end);
        assert_int_equal(waiting.request.pid, waiting.request.owner * 10);
    }
}

static void readers_share_and_a_writer_is_alone(void **state)
{
    struct locks *locks = locks_new();

    (void)state;
    assert_true(locks_empty(locks));
    assert_int_equal(try(locks, posix(1, F_RDLCK, 0, 99)), 1);
    assert_int_equal(try(locks, posix(2, F_RDLCK, 50, 149)), 1);
    assert_int_equal(try(locks, posix(3, F_WRLCK, 99, 99)), -EAGAIN);
    assert_int_equal(try(locks, posix(3, F_WRLCK, 150, 199)), 1);
    assert_int_equal(try(locks, posix(1, F_RDLCK, 150, 150)), -EAGAIN);
    assert_false(locks_empty(locks));
    locks_release_owner(locks, LOCKS_POSIX, 1);
    locks_release_owner(locks, LOCKS_POSIX, 2);
    locks_release_owner(locks, LOCKS_POSIX, 3);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

static void unlocking_the_middle_splits(void **state)
{
    struct locks *locks = locks_new();

    (void)state;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 0, 99)), 1);
    unlock(locks, 1, 40, 59);
    expect_held(locks, 0, INT64_MAX, F_WRLCK, 0, 39);
    expect_held(locks, 40, INT64_MAX, F_WRLCK, 60, 99);
    expect_held(locks, 40, 59, F_UNLCK, 0, 0);
    unlock(locks, 1, 0, 0);
    expect_held(locks, 0, 50, F_WRLCK, 1, 39);
    unlock(locks, 1, 39, 60);
    expect_held(locks, 20, 50, F_WRLCK, 1, 38);
    expect_held(locks, 50, INT64_MAX, F_WRLCK, 61, 99);
    unlock(locks, 1, 0, INT64_MAX);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

static void locks_that_touch_become_one(void **state)
{
    struct locks *locks = locks_new();

    (void)state;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 0, 9)), 1);
    assert_int_equal(try(locks, posix(1, F_WRLCK, 20, 29)), 1);
    expect_held(locks, 0, INT64_MAX, F_WRLCK, 0, 9);
    assert_int_equal(try(locks, posix(1, F_WRLCK, 10, 19)), 1);
    expect_held(locks, 0, INT64_MAX, F_WRLCK, 0, 29);
    assert_int_equal(try(locks, posix(1, F_WRLCK, 25, INT64_MAX)), 1);
    expect_held(locks, 28, 28, F_WRLCK, 0, INT64_MAX);
    assert_int_equal(try(locks, posix(1, F_WRLCK, 5, 5)), 1);
    expect_held(locks, 28, 28, F_WRLCK, 0, INT64_MAX);
    locks_release_owner(locks, LOCKS_POSIX, 1);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

static void another_type_replaces_what_it_covers(void **state)
{
    struct locks *locks = locks_new();

    (void)state;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 0, 99)), 1);
    assert_int_equal(try(locks, posix(1, F_RDLCK, 40, 59)), 1);
    expect_held(locks, 0, 39, F_WRLCK, 0, 39);
    expect_held(locks, 40, 59, F_RDLCK, 40, 59);
    expect_held(locks, 60, 99, F_WRLCK, 60, 99);
    assert_int_equal(try(locks, posix(2, F_RDLCK, 45, 50)), 1);
    assert_int_equal(try(locks, posix(1, F_WRLCK, 45, 50)), -EAGAIN);
    expect_held(locks, 51, 59, F_RDLCK, 40, 59); /* what failed has changed nothing */
    assert_int_equal(try(locks, posix(1, F_RDLCK, 0, 99)), 1);
    expect_held(locks, 60, 99, F_RDLCK, 0, 99);
    locks_release_owner(locks, LOCKS_POSIX, 1);
    locks_release_owner(locks, LOCKS_POSIX, 2);
    locks_free(locks);
}

static void who_waits_is_answered_by_who_unlocks_in_order(void **state)
{
    struct locks *locks = locks_new();
    struct waiting second = posix(2, F_WRLCK, 0, 9);
    struct waiting third = posix(3, F_WRLCK, 0, 9);

    (void)state;
    turns = 0;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 0, 9)), 1);
    wait_for(locks, &second);
    wait_for(locks, &third);
    unlock(locks, 1, 0, 4); /* not enough */
    assert_int_equal(second.calls, 0);
    unlock(locks, 1, 5, 9);
    expect_granted(&second, 0);
    assert_int_equal(third.calls, 0);
    locks_release_owner(locks, LOCKS_POSIX, 2);
    expect_granted(&third, 0);
    assert_true(second.turn < third.turn);
    locks_release_owner(locks, LOCKS_POSIX, 3);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

static void waiting_readers_all_come_in_together(void **state)
{
    struct locks *locks = locks_new();
    struct waiting second = posix(2, F_RDLCK, 0, 9);
    struct waiting third = posix(3, F_RDLCK, 5, 15);

    (void)state;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 0, 9)), 1);
    wait_for(locks, &second);
    wait_for(locks, &third);
    assert_int_equal(try(locks, posix(1, F_RDLCK, 0, 9)), 1); /* a weaker lock lets them in as well */
    expect_granted(&second, 0);
    expect_granted(&third, 0);
    for (uint64_t owner = 1; owner <= 3; owner++) {
        locks_release_owner(locks, LOCKS_POSIX, owner);
    }
    assert_true(locks_empty(locks));
    locks_free(locks);
}

/* 2 waits for a read lock of what it holds for writing and of what 1 holds; 3, queued before, waits for the former. */
static void a_granted_read_lock_may_let_an_earlier_request_in(void **state)
{
    struct locks *locks = locks_new();
    struct waiting third = posix(3, F_RDLCK, 0, 9);
    struct waiting second = posix(2, F_RDLCK, 0, 19);

    (void)state;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 10, 19)), 1);
    assert_int_equal(try(locks, posix(2, F_WRLCK, 0, 9)), 1);
    wait_for(locks, &third);
    wait_for(locks, &second);
    unlock(locks, 1, 0, INT64_MAX);
    expect_granted(&second, 0);
    expect_granted(&third, 0);
    locks_release_owner(locks, LOCKS_POSIX, 2);
    locks_release_owner(locks, LOCKS_POSIX, 3);
    locks_free(locks);
}

static void who_gives_up_is_not_answered(void **state)
{
    struct locks *locks = locks_new();
    struct waiting second = posix(2, F_WRLCK, 0, 9);
    struct waiting third = posix(3, F_RDLCK, 0, 9);

    (void)state;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 0, 9)), 1);
    wait_for(locks, &second);
    wait_for(locks, &third);
    assert_true(locks_cancel(&second.request));
    assert_false(locks_cancel(&second.request));
    locks_release_owner(locks, LOCKS_POSIX, 1);
    assert_int_equal(second.calls, 0);
    expect_granted(&third, 0);
    assert_false(locks_cancel(&third.request));
    locks_release_owner(locks, LOCKS_POSIX, 3);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

static void a_circle_of_two_files_is_a_deadlock(void **state)
{
    struct locks *orders = locks_new();
    struct locks *returns = locks_new();
    struct waiting first = posix(1, F_WRLCK, 0, 0);

    (void)state;
    assert_int_equal(try(orders, posix(1, F_WRLCK, 0, 0)), 1);
    assert_int_equal(try(returns, posix(2, F_WRLCK, 0, 0)), 1);
    wait_for(returns, &first);
    {
        struct waiting second = posix(2, F_WRLCK, 0, 0);

        assert_int_equal(locks_set(orders, &second.request, true), -EDEADLK);
    }
    assert_int_equal(first.calls, 0);
    locks_release_owner(returns, LOCKS_POSIX, 2);
    expect_granted(&first, 0);
    locks_release_owner(returns, LOCKS_POSIX, 1);
    locks_release_owner(orders, LOCKS_POSIX, 1);
    locks_free(orders);
    locks_free(returns);
}

static void a_circle_of_three_owners_is_found_too(void **state)
{
    struct locks *locks = locks_new();
    struct waiting first = posix(1, F_WRLCK, 2, 2);
    struct waiting second = posix(2, F_WRLCK, 3, 3);
    struct waiting third = posix(3, F_WRLCK, 1, 1);

    (void)state;
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(try(locks, posix((uint64_t)i, F_WRLCK, i, i)), 1);
    }
    wait_for(locks, &first);
    wait_for(locks, &second);
    assert_int_equal(locks_set(locks, &third.request, true), -EDEADLK);
    locks_release_owner(locks, LOCKS_POSIX, 3);
    expect_granted(&second, 0);
    locks_release_owner(locks, LOCKS_POSIX, 2);
    expect_granted(&first, 0);
    locks_release_owner(locks, LOCKS_POSIX, 1);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

/* 1 waits for 2 and, once 2 has gone, for 3, which waits for 1: whoever closes the circle is told, also when it closes
 * only then. */
static void a_circle_that_closes_while_waiting_is_found(void **state)
{
    struct locks *locks = locks_new();
    struct waiting first = posix(1, F_WRLCK, 10, 29);
    struct waiting third = posix(3, F_WRLCK, 0, 0);

    (void)state;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 0, 0)), 1);
    assert_int_equal(try(locks, posix(2, F_WRLCK, 10, 19)), 1);
    assert_int_equal(try(locks, posix(3, F_WRLCK, 20, 29)), 1);
    wait_for(locks, &first);
    wait_for(locks, &third);
    locks_release_owner(locks, LOCKS_POSIX, 2);
    expect_granted(&first, -EDEADLK);
    locks_release_owner(locks, LOCKS_POSIX, 1);
    expect_granted(&third, 0);
    locks_release_owner(locks, LOCKS_POSIX, 3);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

static void flock_is_of_the_whole_file_and_of_the_open_file(void **state)
{
    struct locks *locks = locks_new();
    struct waiting third = flocked(3, F_WRLCK);

    (void)state;
    assert_int_equal(try(locks, flocked(1, F_RDLCK)), 1);
    assert_int_equal(try(locks, flocked(2, F_RDLCK)), 1);
    assert_int_equal(try(locks, flocked(3, F_WRLCK)), -EAGAIN);
    wait_for(locks, &third);
    locks_release_owner(locks, LOCKS_FLOCK, 1);
    assert_int_equal(third.calls, 0);
    assert_int_equal(try(locks, flocked(2, F_UNLCK)), 1);
    expect_granted(&third, 0);
    assert_int_equal(try(locks, flocked(1, F_RDLCK)), -EAGAIN);
    locks_release_owner(locks, LOCKS_FLOCK, 3);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

/* flock(2): converting removes the existing lock first, and it stays removed when the new one cannot be had. */
static void converting_a_flock_is_not_atomic(void **state)
{
    struct locks *locks = locks_new();
    struct waiting first = flocked(1, F_WRLCK);

    (void)state;
    assert_int_equal(try(locks, flocked(1, F_RDLCK)), 1);
    assert_int_equal(try(locks, flocked(2, F_RDLCK)), 1);
    wait_for(locks, &first);
    /* The first one's read lock went when it began to wait, so the second is alone. */
    assert_int_equal(try(locks, flocked(2, F_WRLCK)), 1);
    assert_int_equal(first.calls, 0);
    assert_int_equal(try(locks, flocked(3, F_RDLCK)), -EAGAIN);
    assert_int_equal(try(locks, flocked(2, F_RDLCK)), 1);
    assert_int_equal(first.calls, 0);
    locks_release_owner(locks, LOCKS_FLOCK, 2);
    expect_granted(&first, 0);
    locks_release_owner(locks, LOCKS_FLOCK, 1);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

static void the_two_kinds_do_not_see_each_other(void **state)
{
    struct locks *locks = locks_new();

    (void)state;
    assert_int_equal(try(locks, posix(1, F_WRLCK, 0, INT64_MAX)), 1);
    assert_int_equal(try(locks, flocked(2, F_WRLCK)), 1);
    locks_release_owner(locks, LOCKS_POSIX, 2);
    assert_int_equal(try(locks, flocked(3, F_WRLCK)), -EAGAIN);
    locks_release_owner(locks, LOCKS_POSIX, 1);
    locks_release_owner(locks, LOCKS_FLOCK, 2);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

static void too_many_locks_are_enolck_and_harm_nothing(void **state)
{
    struct locks *locks = locks_new();
    int64_t count = 0;

    (void)state;
    while (count <= LIMIT_LOCKS && try(locks, posix(1, F_RDLCK, count * 2, count * 2)) == 1) {
        count++;
    }
    assert_in_range(count, LIMIT_LOCKS - 8, LIMIT_LOCKS);
    assert_int_equal(try(locks, posix(1, F_RDLCK, INT64_MAX, INT64_MAX)), -ENOLCK);
    expect_held(locks, 0, 0, F_RDLCK, 0, 0);
    locks_release_owner(locks, LOCKS_POSIX, 1);
    assert_true(locks_empty(locks));
    locks_free(locks);
}

/* Random requests of four owners against a table of one type a byte and owner. */
static void it_agrees_with_a_table(void **state)
{
    enum { BYTES = 24, OWNERS = 4 };
    unsigned seed = 20261122;

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct locks *locks = locks_new();
        int model[OWNERS][BYTES];

        for (int i = 0; i < OWNERS * BYTES; i++) {
            model[i / BYTES][i % BYTES] = F_UNLCK;
        }
        for (int step = 0; step < 200; step++) {
            static const int types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
            int owner = rand_r(&seed) % OWNERS;
            int type = types[rand_r(&seed) % 3];
            int start = rand_r(&seed) % BYTES;
            int end = start + rand_r(&seed) % (BYTES - start);
            bool free_of_others = true;

            for (int other = 0; other < OWNERS; other++) {
                for (int at = start; at <= end; at++) {
                    int held = model[other][at];

                    if (other != owner && type != F_UNLCK && held != F_UNLCK && (held == F_WRLCK || type == F_WRLCK)) {
                        free_of_others = false;
                    }
                }
            }
            assert_int_equal(try(locks, posix((uint64_t)owner, type, start, end)), free_of_others ? 1 : -EAGAIN);
            for (int at = start; at <= end && free_of_others; at++) {
                model[owner][at] = type;
            }
            for (int at = 0; at < BYTES; at++) {
                struct waiting asked = posix(99, F_WRLCK, at, at);
                bool held = false;

                for (int other = 0; other < OWNERS; other++) {
                    held = held || model[other][at] != F_UNLCK;
                }
                locks_get(locks, &asked.request);
                assert_int_equal(asked.request.type != F_UNLCK, held);
            }
        }
        for (uint64_t owner = 0; owner < OWNERS; owner++) {
            locks_release_owner(locks, LOCKS_POSIX, owner);
        }
        assert_true(locks_empty(locks));
        locks_free(locks);
    }
}

/* ---- threads: a counter that only the lock protects ---- */

enum { THREADS = 8, ROUNDS = 500 };

struct herd {
    struct locks *locks[2];
    int counter;
};

struct sleeper {
    struct locks_request request; /* first */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    int rc;
};

static void wake(struct locks_request *request, int rc)
{
    struct sleeper *sleeper = (struct sleeper *)request;

    pthread_mutex_lock(&sleeper->mutex);
    sleeper->done = true;
    sleeper->rc = rc;
    pthread_cond_signal(&sleeper->cond);
    pthread_mutex_unlock(&sleeper->mutex);
}

static int lock_and_wait(struct locks *locks, enum locks_kind kind, uint64_t owner)
{
    struct sleeper sleeper = {
        .request = {.kind = kind, .owner = owner, .type = F_WRLCK, .start = 0, .end = INT64_MAX, .granted = wake},
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .cond = PTHREAD_COND_INITIALIZER};
    int rc = locks_set(locks, &sleeper.request, true);

    if (rc != 0) {
        return rc;
    }
    pthread_mutex_lock(&sleeper.mutex);
    while (!sleeper.done) {
        pthread_cond_wait(&sleeper.cond, &sleeper.mutex);
    }
    pthread_mutex_unlock(&sleeper.mutex);
    return sleeper.rc == 0 ? 1 : sleeper.rc;
}

static struct herd herd;
static _Atomic uint64_t next_owner = 1;

static void *count_up(void *arg)
{
    uint64_t owner = next_owner++;

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        enum locks_kind kind = LOCKS_POSIX;

        if (lock_and_wait(herd.locks[0], kind, owner) != 1 || lock_and_wait(herd.locks[1], kind, owner) != 1) {
            return "a lock was refused";
        }
        herd.counter++;
        locks_release_owner(herd.locks[1], kind, owner);
        locks_release_owner(herd.locks[0], kind, owner);
    }
    return NULL;
}

static void threads_take_turns(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    herd = (struct herd){.locks = {locks_new(), locks_new()}};
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failure = NULL;

        assert_int_equal(pthread_join(threads[i], &failure), 0);
        assert_null(failure);
    }
    assert_int_equal(herd.counter, THREADS * ROUNDS);
    assert_true(locks_empty(herd.locks[0]) && locks_empty(herd.locks[1]));
    locks_free(herd.locks[0]);
    locks_free(herd.locks[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_share_and_a_writer_is_alone),
        cmocka_unit_test(unlocking_the_middle_splits),
        cmocka_unit_test(locks_that_touch_become_one),
        cmocka_unit_test(another_type_replaces_what_it_covers),
        cmocka_unit_test(who_waits_is_answered_by_who_unlocks_in_order),
        cmocka_unit_test(waiting_readers_all_come_in_together),
        cmocka_unit_test(a_granted_read_lock_may_let_an_earlier_request_in),
        cmocka_unit_test(who_gives_up_is_not_answered),
        cmocka_unit_test(a_circle_of_two_files_is_a_deadlock),
        cmocka_unit_test(a_circle_of_three_owners_is_found_too),
        cmocka_unit_test(a_circle_that_closes_while_waiting_is_found),
        cmocka_unit_test(flock_is_of_the_whole_file_and_of_the_open_file),
        cmocka_unit_test(converting_a_flock_is_not_atomic),
        cmocka_unit_test(the_two_kinds_do_not_see_each_other),
        cmocka_unit_test(too_many_locks_are_enolck_and_harm_nothing),
        cmocka_unit_test(it_agrees_with_a_table),
        cmocka_unit_test(threads_take_turns),
    };

    return cmocka_run_group_tests_name("locks", tests, NULL, NULL);
}
