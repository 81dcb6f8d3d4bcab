/* tests/unit/test_verify.c: a bit a batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/segment/verify.h"

static void what_was_appended_needs_no_check(void **state)
{
    struct verify v;

    (void)state;
    verify_init(&v, 0);
    assert_true(verify_done(&v, UINT32_MAX));
    assert_int_equal(verify_next(&v, 0, 1000), 1000);
    verify_free(&v);
}

static void what_was_there_is_checked_once(void **state)
{
    struct verify v;

    (void)state;
    verify_init(&v, 200);
    assert_false(verify_done(&v, 1));
    assert_int_equal(verify_next(&v, 0, 300), 0);
    assert_int_equal(verify_next(&v, 199, 300), 199);
    assert_int_equal(verify_next(&v, 200, 300), 300);
    assert_int_equal(verify_mark(&v, 0, 50), 50);
    verify_set_place(&v, 50, 5000);
    assert_true(verify_done(&v, 5000));
    assert_false(verify_done(&v, 5001));
    assert_int_equal(verify_next(&v, 10, 50), 50);
    assert_int_equal(verify_next(&v, 10, 60), 50);
    /* The mark never goes back. */
    verify_set_place(&v, 10, 1000);
    assert_true(verify_done(&v, 5000));
    verify_free(&v);
}

static void gaps_close(void **state)
{
    struct verify v;

    (void)state;
    verify_init(&v, 200);
    assert_int_equal(verify_mark(&v, 60, 130), 0);
    assert_int_equal(verify_mark(&v, 140, 200), 0);
    assert_int_equal(verify_next(&v, 60, 200), 130);
    assert_int_equal(verify_next(&v, 131, 200), 131);
    assert_int_equal(verify_next(&v, 141, 200), 200);
    assert_int_equal(verify_mark(&v, 0, 60), 130);
    assert_int_equal(verify_mark(&v, 130, 140), 200);
    verify_set_place(&v, 200, 0);
    assert_true(verify_done(&v, UINT32_MAX));
    verify_free(&v);
}

static void random_marks_agree_with_an_array(void **state)
{
    enum { COUNT = 777 };
    static bool model[COUNT];
    struct verify v;

    (void)state;
    srandom(7);
    verify_init(&v, COUNT);
    for (int step = 0; step < 2000; step++) {
        uint32_t first = (uint32_t)(random() % COUNT);
        uint32_t last = first + (uint32_t)(random() % 20);
        uint32_t next = first, prefix = 0;

        last = last < COUNT ? last : COUNT;
        while (next < last && model[next]) {
            next++;
        }
        assert_int_equal(verify_next(&v, first, last), next);
        if (random() % 4 == 0) {
            for (uint32_t i = first; i < last; i++) {
                model[i] = true;
            }
            while (prefix < COUNT && model[prefix]) {
                prefix++;
            }
            /* It may lag behind until a mark touches it, but never be ahead. */
            assert_true(verify_mark(&v, first, last) <= prefix);
        }
    }
    verify_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_appended_needs_no_check),
        cmocka_unit_test(what_was_there_is_checked_once),
        cmocka_unit_test(gaps_close),
        cmocka_unit_test(random_marks_agree_with_an_array),
    };

    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
