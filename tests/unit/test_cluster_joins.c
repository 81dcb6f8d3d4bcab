/* Who may come to lead next has all that anybody was promised: who is in sync or eligible, and who comes to be. */
#include "tests/unit/cluster_orders.h"

static void put_config(const char *name, const char *value)
{
    struct cluster_op op;
    bool topic = cluster_has(c, 1, "orders");
    assert_int_equal(cluster_op_end(c, &op,
                                    node_set_config(c->nodes[cluster_leader(c)].node, cluster_op_init(&op),
                                                    topic ? "orders" : NULL, name, value)),
                     0);
}

/* Two of the nodes have a replica, the third has none. */
static void make_orders_of_two(int32_t *leader, int32_t *follower, int32_t *elsewhere)
{
    put_config("default.replication.factor", "2");
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE && isr_at(id) == 2);
    *leader = leader_at(1);
    *follower = partition_at(1)->registration.replicas.ids[1];
    *elsewhere = 6 - *leader - *follower;
}

static void append_one(int32_t id, int number)
{
    struct appended appended;
    append_at(id, &appended, number);
    cluster_await(c, LONG_MS, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
}

/* KIP-966: who left the ISR while that was too small to commit anything may lead as long as nothing is committed
 * without it. A smaller min.insync.replicas makes it large enough. */
static void what_is_committed_by_fewer_is_not_lost_to_who_was_eligible(void **state)
{
    struct appended tail;
    int32_t leader, follower, elsewhere;
    char text[64];
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    put_config("min.insync.replicas", "2");
    append_one(leader, 10);
    cluster_stop(c, follower);
    cluster_await(c, LONG_MS, isr_at(leader) == 1);
    assert_true(replica_set_has(&partition_at(leader)->registration.elr, follower));
    append_acks_at(leader, &tail, 11, ACKS_LEADER);
    assert_int_equal(tail.rc, 0);
    cluster_pass(c, 1000);
    assert_int_equal(partition_own_high_watermark(partition_at(leader)).offset, 1);
    put_config("min.insync.replicas", "1");
    append_one(elsewhere, 12);
    assert_int_equal(partition_own_high_watermark(partition_at(leader)).offset, 3);
    cluster_kill(c, leader);
    cluster_start(c, follower);
    cluster_pass(c, 10000);
    assert_int_equal(leader_at(elsewhere), LEADER_NONE);
    cluster_start(c, leader);
    cluster_await(c, LONG_MS, leader_at(elsewhere) == leader && isr_at(leader) == 2);
    text_of(partition_at(leader), text, sizeof text);
    assert_string_equal(text, "10\n11\n12\n");
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(what_is_committed_by_fewer_is_not_lost_to_who_was_eligible),
    };
    return cmocka_run_group_tests_name("who comes to be in sync", tests, NULL, NULL);
}
