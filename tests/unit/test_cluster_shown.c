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

/* Three nodes, two of which have a replica: *elsewhere has none. */
static void make_orders_of_two(int32_t *leader, int32_t *follower, int32_t *elsewhere)
{
    struct cluster_op op;
    assert_int_equal(
        cluster_op_end(
            c, &op, node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL, "default.replication.factor", "2")),
        0);
    assert_int_equal(cluster_op_end(c, &op,
                                    node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL,
                                                    "unclean.leader.election.enable", "true")),
                     0);
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE && isr_at(id) == 2);
    *leader = leader_at(1);
    *follower = partition_at(1)->registration.replicas.ids[1];
    *elsewhere = 6 - *leader - *follower;
}

static void what_an_unclean_election_loses_is_a_hole(void **state)
{
    char text[64];
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(leader, 10);
    cluster_await(c, LONG_MS, log_end(partition_at(follower)->log).offset == 1);
    cluster_kill(c, follower);
    cluster_await(c, LONG_MS, isr_at(leader) == 1);
    append_one(elsewhere, 11);
    append_one(elsewhere, 12);
    assert_int_equal(partition_high_watermark(partition_at(elsewhere)).position, 9);
    cluster_kill(c, leader);
    cluster_start(c, follower);
    cluster_await(c, LONG_MS, leader_at(elsewhere) == follower);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(follower)).offset == 3);
    assert_int_equal(partition_own_high_watermark(partition_at(follower)).position, 9);
    assert_int_equal(partition_high_watermark(partition_at(elsewhere)).position, 9);
    append_one(elsewhere, 13);
    assert_int_equal(partition_own_high_watermark(partition_at(follower)).position, 12);
    text_of(partition_at(follower), text, sizeof text);
    assert_string_equal(text, "10\n13\n");
    /* Who had it has it no more: no position has two contents. */
    cluster_start(c, leader);
    cluster_await(c, LONG_MS, isr_at(follower) == 2);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(leader)).position == 12);
    text_of(partition_at(leader), text, sizeof text);
    assert_string_equal(text, "10\n13\n");
}

/* Who is elected from the ISR has all of it, and asks nobody. */
static void who_was_in_sync_asks_nobody(void **state)
{
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(elsewhere, 10);
    cluster_kill(c, leader);
    cluster_await(c, LONG_MS, leader_at(follower) == follower);
    assert_false(partition_at(follower)->asks_shown);
    append_one(elsewhere, 11);
    assert_int_equal(partition_own_high_watermark(partition_at(follower)).position, 6);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(a_hole_at_the_end_comes_to_the_followers),
        STORY(what_an_unclean_election_loses_is_a_hole),
        STORY(who_was_in_sync_asks_nobody),
    };
    return cmocka_run_group_tests_name("what was shown", tests, NULL, NULL);
}
