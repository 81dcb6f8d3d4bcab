/* How long something took, counted within bounds that double, 16 µs the first. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/histogram.h"
#include "replication/base/latency.h"

/* Within which bound one is counted. */
static int counted_at(int64_t us)
{
    struct histogram histogram;
    struct histogram_view view;
    int at = -1;

    memset(&histogram, 0, sizeof histogram);
    histogram_add(&histogram, us);
    histogram_read(&histogram, &view);
    assert_int_equal(view.count, 1);
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        if (view.counts[i] == 1)
            at = i;
    }
    return at;
}

static void the_bounds_double_from_16_us_to_over_half_a_minute(void **state)
{
    (void)state;
    assert_int_equal(histogram_bound_us(0), 16);
    for (int i = 1; i < HISTOGRAM_BOUNDS; i++)
        assert_int_equal(histogram_bound_us(i), 2 * histogram_bound_us(i - 1));
    assert_int_equal(histogram_bound_us(HISTOGRAM_BOUNDS - 1), 33554432); /* 2^25 */
}

/* As Prometheus has it: what is equal to a bound is within it. */
static void each_is_within_the_least_bound_that_it_does_not_exceed(void **state)
{
    (void)state;
    assert_int_equal(counted_at(0), 0);
    assert_int_equal(counted_at(1), 0);
    for (int i = 0; i < HISTOGRAM_BOUNDS; i++) {
        assert_int_equal(counted_at(histogram_bound_us(i) - 1), i);
        assert_int_equal(counted_at(histogram_bound_us(i)), i);
        assert_int_equal(counted_at(histogram_bound_us(i) + 1), i + 1);
    }
    assert_int_equal(counted_at(INT64_MAX), HISTOGRAM_BOUNDS);
}

static void a_clock_that_was_put_back_took_no_time(void **state)
{
    struct histogram histogram;
    struct histogram_view view;

    (void)state;
    memset(&histogram, 0, sizeof histogram);
    histogram_add(&histogram, -5000);
    histogram_add(&histogram, INT64_MIN);
    histogram_add(&histogram, 7);
    histogram_read(&histogram, &view);
    assert_int_equal(view.counts[0], 3);
    assert_int_equal(view.sum_us, 7);
}

enum { THREADS = 4, ADDS = 100000 };

static void *add_many(void *arg)
{
    for (int64_t i = 0; i < ADDS; i++)
        histogram_add(arg, i % 100);
    return NULL;
}

/* 0 … 16 are within the first bound, 17 … 32 within the second, 33 … 64, 65 … 99. */
static void nothing_that_threads_count_beside_each_other_is_lost(void **state)
{
    static struct histogram histogram;
    struct histogram_view view;
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &histogram), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    histogram_read(&histogram, &view);
    assert_int_equal(view.count, THREADS * ADDS);
    assert_int_equal(view.counts[0], THREADS * ADDS / 100 * 17);
    assert_int_equal(view.counts[1], THREADS * ADDS / 100 * 16);
    assert_int_equal(view.counts[2], THREADS * ADDS / 100 * 32);
    assert_int_equal(view.counts[3], THREADS * ADDS / 100 * 35);
    assert_int_equal(view.sum_us, (int64_t)THREADS * ADDS / 100 * (99 * 100 / 2));
}

static void what_fails_is_counted_apart(void **state)
{
    struct latency latency;
    struct latency_view view;

    (void)state;
    memset(&latency, 0, sizeof latency);
    latency_note(&latency, 20, 0);
    latency_note(&latency, 30000000, -ETIMEDOUT);
    latency_read(&latency, &view);
    assert_int_equal(view.times.count, 1);
    assert_int_equal(view.times.sum_us, 20);
    assert_int_equal(view.failures, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bounds_double_from_16_us_to_over_half_a_minute),
        cmocka_unit_test(each_is_within_the_least_bound_that_it_does_not_exceed),
        cmocka_unit_test(a_clock_that_was_put_back_took_no_time),
        cmocka_unit_test(nothing_that_threads_count_beside_each_other_is_lost),
        cmocka_unit_test(what_fails_is_counted_apart),
    };

    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
