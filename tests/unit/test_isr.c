/* The high watermark of an ISR: the least of what its members hold, once there are min.insync.replicas of them. */
#include "replication/replica/isr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int32_t three[] = {1, 2, 3};

/* Positions are ten times the offset here. */
static struct log_point at(int64_t offset)
{
    return (struct log_point){offset, 10 * offset};
}

static void assert_at(const struct isr *isr, int64_t offset)
{
    assert_int_equal(isr->high_watermark.offset, offset);
    assert_int_equal(isr->high_watermark.position, 10 * offset);
}

static void test_of_one_follows_its_log(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 1, at(5));
    assert_int_equal(isr_size(&isr), 1);
    assert_at(&isr, 5);
    assert_true(isr_advance(&isr, 1, at(7)));
    assert_true(isr_update(&isr, 1));
    assert_at(&isr, 7);
    assert_false(isr_update(&isr, 1));
}

static void test_appends_that_report_out_of_order(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 1, at(0));
    isr_advance(&isr, 1, at(9));
    assert_true(isr_update(&isr, 1));
    isr_advance(&isr, 1, at(4));
    assert_false(isr_update(&isr, 1));
    assert_at(&isr, 9);
}

static void test_the_slowest_decides(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 3, at(0));
    isr_advance(&isr, 1, at(10));
    assert_false(isr_update(&isr, 2));
    isr_advance(&isr, 2, at(8));
    assert_false(isr_update(&isr, 2));
    isr_advance(&isr, 3, at(6));
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 6);
}

static void test_who_leaves_no_longer_counts(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 3, at(0));
    isr_advance(&isr, 1, at(10));
    isr_advance(&isr, 2, at(8));
    assert_true(isr_set_in_sync(&isr, 3, false));
    assert_int_equal(isr_size(&isr), 2);
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 8);
    /* Back again, behind: the high watermark stays where it is. */
    isr_set_in_sync(&isr, 3, true);
    assert_false(isr_update(&isr, 2));
    assert_at(&isr, 8);
}

static void test_too_few_commit_nothing(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 1, at(0));
    isr_advance(&isr, 1, at(3));
    assert_false(isr_update(&isr, 2));
    assert_at(&isr, 0);
    assert_true(isr_update(&isr, 1));
    assert_at(&isr, 3);
    isr_set_in_sync(&isr, 1, false);
    isr_advance(&isr, 1, at(4));
    assert_false(isr_update(&isr, 0));
    assert_at(&isr, 3);
}

static void test_strangers_are_refused(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 2, at(0));
    assert_false(isr_advance(&isr, 3, at(1)));
    assert_false(isr_set_in_sync(&isr, 3, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_one_follows_its_log), cmocka_unit_test(test_appends_that_report_out_of_order),
        cmocka_unit_test(test_the_slowest_decides),    cmocka_unit_test(test_who_leaves_no_longer_counts),
        cmocka_unit_test(test_too_few_commit_nothing), cmocka_unit_test(test_strangers_are_refused),
    };
    return cmocka_run_group_tests_name("isr", tests, NULL, NULL);
}
