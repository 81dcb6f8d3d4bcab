/* tests/unit/test_cluster_unregister.c: a fourth node beside three that vote: it comes, is gone, and is forgotten on
 * all of them; and one that is only cut off meanwhile comes back as a new one. */
#include "replication/group/member.h"
#include "tests/unit/cluster_orders.h"
#include "tests/unit/group_hands.h"

/* As that node knows it; -1: it knows none. */
static int64_t epoch_of(int32_t seen_from, int32_t id)
{
    const struct node_registration *node = metadata_node(quorum_acquire(&c->nodes[seen_from].node->quorum), id);
    int64_t epoch = node != NULL ? node->epoch : -1;
    quorum_release(&c->nodes[seen_from].node->quorum);
    return epoch;
}

static bool is_fenced(int32_t seen_from, int32_t id)
{
    const struct node_registration *node = metadata_node(quorum_acquire(&c->nodes[seen_from].node->quorum), id);
    bool fenced = node != NULL && node->fenced;
    quorum_release(&c->nodes[seen_from].node->quorum);
    return fenced;
}

static uint64_t fenced_at(int32_t id)
{
    struct node_metrics metrics;
    node_metrics(c->nodes[id].node, &metrics);
    return metrics.nodes_fenced;
}

static int unregister(int32_t from, int32_t id)
{
    struct cluster_op op;
    return cluster_op_end(c, &op, node_unregister(c->nodes[from].node, cluster_op_init(&op), id));
}

static void cut_off_fourth(bool cut)
{
    for (int32_t id = 1; id <= 3; id++)
        memory_cut(&c->network, 4, id, cut);
}

static int setup_four(void **state)
{
    setup_three(state);
    cluster_start(c, 4);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, registered_at(id) == 4);
    return 0;
}

static void one_that_is_gone_is_forgotten_everywhere(void **state)
{
    (void)state;
    assert_int_equal(unregister(1, 5), -ENOENT);
    assert_int_equal(unregister(2, 4), -EBUSY); /* it lives */
    assert_int_equal(unregister(2, 3), -EBUSY); /* it votes, too */
    cluster_stop(c, 4);
    cluster_await(c, LONG_MS, is_fenced(2, 4) && fenced_at(1) == 1);
    assert_int_equal(unregister(2, 4), 0);
    assert_int_equal(epoch_of(2, 4), -1); /* where it was asked for it is so at once */
    for (int32_t id = 1; id <= 3; id++) {
        cluster_await(c, LONG_MS, epoch_of(id, 4) == -1);
        assert_int_equal(fenced_at(id), 0);
        assert_int_equal(c->network.ports[id].forgotten[4], 1);
    }
    assert_int_equal(unregister(3, 4), -ENOENT);
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
}

static struct log *metadata_log(int32_t id)
{
    return c->nodes[id].node->quorum.log;
}

/* It never sees the command. */
static void who_is_told_by_a_snapshot_forgets_it_too(void **state)
{
    (void)state;
    cluster_stop(c, 4);
    cluster_await(c, LONG_MS, is_fenced(3, 4) && is_fenced(1, 4));
    memory_cut(&c->network, 3, 1, true);
    memory_cut(&c->network, 3, 2, true);
    cluster_await(c, LONG_MS, is_fenced(1, 3));
    int64_t end = log_end(metadata_log(3)).offset;
    assert_int_equal(unregister(1, 4), 0);
    for (int32_t id = 1; id <= 2; id++)
        c->nodes[id].node->quorum.snapshot_at = log_end(metadata_log(1)).offset;
    assert_int_equal(cluster_chmod(c, 1, 0711), 0);
    cluster_await(c, LONG_MS,
                  log_start(metadata_log(1)).offset > end && log_start(metadata_log(2)).offset > end &&
                      epoch_of(3, 4) != -1);
    memory_cut(&c->network, 3, 1, false);
    memory_cut(&c->network, 3, 2, false);
    cluster_await(c, LONG_MS, epoch_of(3, 4) == -1);
    assert_int_equal(c->network.ports[3].forgotten[4], 1);
}

/* It is the same process, and hears of it with its first heartbeat. */
static void one_that_was_only_cut_off_comes_back_as_a_new_one(void **state)
{
    (void)state;
    int64_t before = epoch_of(1, 4);
    cut_off_fourth(true);
    cluster_await(c, LONG_MS, is_fenced(1, 4));
    assert_int_equal(unregister(1, 4), 0);
    cluster_pass(c, 1000);
    assert_int_equal(epoch_of(1, 4), -1);
    assert_int_equal(epoch_of(4, 4), before); /* it has heard nothing */
    cut_off_fourth(false);
    cluster_await(c, LONG_MS, registered_at(1) == 4 && registered_at(4) == 4);
    assert_true(epoch_of(1, 4) > before);
    assert_int_equal(atomic_load(&c->nodes[4].node->membership.node_epoch), epoch_of(1, 4));
    assert_int_equal(cluster_mkdir(c, 4, "orders"), 0);
}

/* ---- its members of groups ---- */

static char group[16];

/* The first group that another node than the controller coordinates, which is returned. */
static int32_t make_group(int32_t controller)
{
    int32_t coordinates = 0;
    for (int i = 0; coordinates == 0 || coordinates == controller; i++) {
        struct cluster_op op;
        snprintf(group, sizeof group, "group%d", i);
        assert_int_equal(
            cluster_op_end(c, &op, node_create_group(c->nodes[1].node, cluster_op_init(&op), group, &some_attr)), 0);
        cluster_await(c, LONG_MS, group_coordinator(node_group_room(c->nodes[1].node), group) > 0);
        coordinates = group_coordinator(node_group_room(c->nodes[1].node), group);
    }
    return coordinates;
}

static size_t members_at(int32_t id)
{
    return group_hands_readers(node_group_room(c->nodes[id].node), group);
}

static void on_changed(void *arg)
{
    (void)arg;
}

/* It reaches the coordinator, and the controller not: what the cluster does not have has no share of anything. */
static void one_that_was_only_cut_off_has_no_members_meanwhile(void **state)
{
    struct group_join join = {.group = group, .topic = "orders", .pid = 4711, .changed = on_changed};
    struct group_member *member;
    int32_t controller, coordinates;
    setup_three(state);
    controller = cluster_leader(c);
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    coordinates = make_group(controller);
    cluster_start(c, 4);
    cluster_await(c, LONG_MS,
                  registered_at(coordinates) == 4 &&
                      group_coordinator(node_group_room(c->nodes[4].node), group) == coordinates);
    assert_int_equal(group_member_join(node_group_room(c->nodes[4].node), &join, &member), 0);
    cluster_await(c, LONG_MS, members_at(coordinates) == 1);

    cut_off_fourth(true);
    memory_cut(&c->network, 4, coordinates, false);
    cluster_await(c, LONG_MS, is_fenced(coordinates, 4) && members_at(coordinates) == 0);
    assert_int_equal(unregister(1, 4), 0);
    cluster_await(c, LONG_MS, epoch_of(coordinates, 4) == -1);
    for (int i = 0; i < 20; i++) {
        cluster_pass(c, 500);
        assert_int_equal(members_at(coordinates), 0);
    }

    cut_off_fourth(false);
    cluster_await(c, LONG_MS, members_at(coordinates) == 1);
    group_member_leave(member);
    cluster_await(c, LONG_MS, members_at(coordinates) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_is_gone_is_forgotten_everywhere, setup_four, cluster_teardown),
        cmocka_unit_test_setup_teardown(who_is_told_by_a_snapshot_forgets_it_too, setup_four, cluster_teardown),
        cmocka_unit_test_setup_teardown(one_that_was_only_cut_off_comes_back_as_a_new_one, setup_four,
                                        cluster_teardown),
        cmocka_unit_test_teardown(one_that_was_only_cut_off_has_no_members_meanwhile, cluster_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
