/* What was shown stays in view, also where it is lost. */
#include "tests/unit/cluster_orders.h"

static void append_one(int32_t id, int number)
{
    struct appended appended;
    append_at(id, &appended, number);
    cluster_await(c, LONG_MS, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
}

static void a_hole_at_the_end_comes_to_the_followers(void **state)
{
    (void)state;
    make_orders();
    append_one(1, 10);
    int32_t leader = leader_at(1);
    struct partition *part = partition_at(leader);
    struct log_point to = log_end(part->log);
    to.offset += 5;
    to.position += 50;
    assert_int_equal(log_skip(part->log, part->leader_epoch, to, NULL), 0);
    partition_commit(part, to);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(id)).offset == to.offset);
    append_one(1, 11);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(id)).offset == to.offset + 1);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(a_hole_at_the_end_comes_to_the_followers),
    };
    return cmocka_run_group_tests_name("what was shown", tests, NULL, NULL);
}
