/* What was shown stays in view, also where it is lost. */
#include "replication/replica/remote.h"
#include "replication/wire/forward_message.h"
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

/* As the cluster decided it, so many changes later: at this node alone. */
static void decide_at(int32_t id, int changes, int32_t leader)
{
    struct partition *part = partition_at(id);
    struct partition_registration next = part->registration;
    next.leader = leader;
    next.isr = (struct replica_set){.count = 1, .ids = {leader}};
    next.leader_epoch++;
    next.partition_epoch += changes;
    partition_set_registration(part, &next);
}

/* A snapshot in the place of records: who was in sync when the last one was applied need not have been since. */
static void who_missed_a_change_asks(void **state)
{
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), first = leader % 3 + 1, second = first % 3 + 1;
    decide_at(first, 1, first);
    assert_false(partition_at(first)->asks_shown);
    decide_at(second, 2, second);
    assert_true(partition_at(second)->asks_shown);
}

/* Another epoch with the same leader: it has moved nothing yet, and is alone in sync in what it applied last. */
static void an_epoch_that_comes_while_it_asks_asks_anew(void **state)
{
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(leader, 10);
    cluster_await(c, LONG_MS, log_end(partition_at(follower)->log).offset == 1);
    cluster_kill(c, follower);
    cluster_await(c, LONG_MS, isr_at(leader) == 1);
    append_one(elsewhere, 11);
    append_one(elsewhere, 12);
    cluster_kill(c, leader);
    cluster_start(c, follower);
    /* It asks, and is not answered. */
    while (leader_at(follower) != follower || leader_at(elsewhere) != follower)
        if (!hand_step(&c->nodes[follower].hand) && !memory_step(&c->network) && !hand_step(&c->nodes[elsewhere].hand))
            atomic_fetch_add(&c->clock.passed_ms, 5);
    assert_true(partition_at(follower)->asks_shown);
    decide_at(follower, 1, follower);
    assert_true(partition_at(follower)->asks_shown);
    decide_at(elsewhere, 1, follower);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(follower)).position == 9);
    assert_int_equal(partition_own_high_watermark(partition_at(follower)).offset, 3);
}

/* An answer, or an acknowledgement, that a leader gave before: who leads now was told less. */
static void what_earlier_leaders_said_shows_nothing_more(void **state)
{
    struct partition_request request = {.epoch = -1};
    struct log_point out, more = {5, 50};
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(elsewhere, 10);
    struct partition *part = partition_at(elsewhere);
    int32_t epoch = part->registration.leader_epoch;
    request.head.leader_epoch = epoch + 1;
    assert_false(partition_shown_asked(part, &request, &out));
    assert_true(remote_show(part, (struct log_point){2, 6}, epoch));
    request.head.leader_epoch = epoch;
    assert_true(partition_shown_asked(part, &request, &out));
    assert_int_equal(out.position, 6);
    assert_false(remote_show(part, more, epoch - 1));
    assert_int_equal(partition_high_watermark(part).position, 6);
    assert_true(remote_show(part, more, epoch));
    assert_int_equal(partition_high_watermark(part).position, 50);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(a_hole_at_the_end_comes_to_the_followers),
        STORY(what_an_unclean_election_loses_is_a_hole),
        STORY(who_was_in_sync_asks_nobody),
        STORY(who_missed_a_change_asks),
        STORY(an_epoch_that_comes_while_it_asks_asks_anew),
        STORY(what_earlier_leaders_said_shows_nothing_more),
    };
    return cmocka_run_group_tests_name("what was shown", tests, NULL, NULL);
}
