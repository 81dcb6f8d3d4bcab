/* tests/unit/test_refusals.c: one line a cause a minute. */
#include "replication/wire/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "replication/base/limits.h"

static void one_cause_is_one_line_whichever_side_found_it(void **state)
{
    (void)state;
    struct refusals refusals = {.next = 0};
    assert_true(refusals_log(&refusals, REFUSAL_CLUSTER, "is of cluster A", 0));
    for (uint64_t ms = 0; ms < LIMIT_REFUSAL_LOG_MS; ms += 500) {
        assert_false(refusals_log(&refusals, REFUSAL_CLUSTER, "is of cluster A", ms));
        assert_false(refusals_log(&refusals, REFUSAL_CLUSTER, "refuses this node: is of cluster B", ms));
    }
    assert_true(refusals_log(&refusals, REFUSAL_ID, "is node 4", 500)); /* another cause */
    assert_true(refusals_log(&refusals, REFUSAL_CLUSTER, "is of cluster A", LIMIT_REFUSAL_LOG_MS));
}

static void other_words_are_another_cause_where_they_tell_it(void **state)
{
    (void)state;
    struct refusals refusals = {.next = 0};
    assert_true(refusals_log(&refusals, REFUSAL_TLS, "TLS: certificate has expired", 0));
    assert_true(refusals_log(&refusals, REFUSAL_TLS, "TLS: unknown ca", 1));
    assert_false(refusals_log(&refusals, REFUSAL_TLS, "TLS: certificate has expired", 2));
    assert_false(refusals_log(&refusals, REFUSAL_TLS, "TLS: unknown ca", 3));
}

static void more_causes_than_are_kept_are_logged_all_the_same(void **state)
{
    (void)state;
    char text[32];
    struct refusals refusals = {.next = 0};
    for (int i = 0; i < 3 * REFUSALS_KEPT; i++) {
        snprintf(text, sizeof text, "cause %d", i);
        assert_true(refusals_log(&refusals, REFUSAL_OTHER, text, 0));
        assert_false(refusals_log(&refusals, REFUSAL_OTHER, text, 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_cause_is_one_line_whichever_side_found_it),
        cmocka_unit_test(other_words_are_another_cause_where_they_tell_it),
        cmocka_unit_test(more_causes_than_are_kept_are_logged_all_the_same),
    };
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
