/* Which partitions a fetcher has something to say of. */
#include "tests/unit/two_nodes.h"

/* The leader was one peer and is another now: what the first one's fetcher had in its list comes to the second one's,
 * and is in one list at a time. */
static void what_changes_leader_is_said_to_the_next(void **state)
{
    struct pair *pair = *state;
    struct node *node = pair->ends[1].f.node;
    struct transport_events events = network_events(&node->network);
    const struct hello third = {.from = 3};

    make_topic(pair, "orders");
    settle(pair);
    events.up(events.arg, 3, &third);
    settle(pair);
    struct fetcher *before = &manager_peer(&node->replicas, 2)->fetcher;
    struct fetcher *after = &manager_peer(&node->replicas, 3)->fetcher;
    struct partition *part = partition_of(pair, 1, "orders");
    fetcher_want(before, part);
    fetcher_want(after, part);
    fetcher_want(before, part);
    assert_ptr_equal(before->due, part);
    assert_null(part->fetch_next);
    while (before->due != NULL)
        assert_true(hand_step(&pair->ends[1].hand));
    assert_ptr_equal(after->due, part);
    settle(pair);
    assert_null(after->due);
    events.down(events.arg, 3, false);
    settle(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_changes_leader_is_said_to_the_next, pair_setup, pair_teardown),
    };

    return cmocka_run_group_tests_name("fetcher", tests, NULL, NULL);
}
