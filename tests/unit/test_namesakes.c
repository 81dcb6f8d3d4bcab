/* Commands about a topic, or a group, that is deleted and made again meanwhile: they are about the one that was there
 * when they were asked for. */
#include "tests/unit/cluster_fixture.h"

static size_t node_count_at(struct cluster *c, int32_t id)
{
    size_t count = quorum_acquire(&c->nodes[id].node->quorum)->node_count;
    quorum_release(&c->nodes[id].node->quorum);
    return count;
}

static int set_at(struct cluster *c, int32_t id, const char *name, const char *value)
{
    struct cluster_op op;
    return cluster_op_end(c, &op, node_set_config(c->nodes[id].node, cluster_op_init(&op), "orders", name, value));
}

static int make_kitchen(struct cluster *c, int32_t id)
{
    struct cluster_op op;
    return cluster_op_end(c, &op, node_create_group(c->nodes[id].node, cluster_op_init(&op), "kitchen", &some_attr));
}

/* A topic that may be deleted as it is and has a setting, and a group: known everywhere. */
static void make_orders_and_kitchen(struct cluster *c, int32_t id)
{
    cluster_await(c, 10000, node_count_at(c, id) == 3);
    assert_int_equal(cluster_mkdir(c, id, "orders"), 0);
    assert_int_equal(set_at(c, id, "delete.topic.enable", "true"), 0);
    assert_int_equal(set_at(c, id, "retention.ms", "5000"), 0);
    assert_int_equal(make_kitchen(c, id), 0);
    cluster_pass(c, 1000);
}

/* Others of these names; the topic has another value of that setting. */
static void make_them_anew(struct cluster *c, int32_t id)
{
    struct cluster_op op;
    assert_int_equal(cluster_rmdir(c, id, "orders"), 0);
    assert_int_equal(cluster_mkdir(c, id, "orders"), 0);
    assert_int_equal(set_at(c, id, "retention.ms", "6000"), 0);
    assert_int_equal(
        cluster_op_end(c, &op, node_delete_group(c->nodes[id].node, cluster_op_init(&op), "kitchen", NULL)), 0);
    assert_int_equal(make_kitchen(c, id), 0);
}

static void assert_config(struct cluster *c, int32_t id, const char *name, const char *expected)
{
    char value[CONFIG_VALUE_BYTES];
    assert_int_equal(node_get_config(c->nodes[id].node, "orders", name, value), 0);
    assert_string_equal(value, expected);
}

/* Who asks does not know yet that there is another one of that name; KIP-516. */
static void test_what_is_meant_for_one_does_not_come_to_its_namesake(void **state)
{
    enum { OPS = 5 };
    struct cluster *c = *state;
    struct tree_attr attr = {.dir_mode = 0777}, now;
    struct cluster_op ops[OPS];
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    struct node *node = c->nodes[away].node;
    make_orders_and_kitchen(c, leader);
    memory_cut(&c->network, leader, away, true);
    assert_int_equal(node_set_config(node, cluster_op_init(&ops[0]), "orders", "retention.bytes", "1"), 0);
    assert_int_equal(node_set_config(node, cluster_op_init(&ops[1]), "orders", "retention.ms", NULL), 0);
    assert_int_equal(node_set_attr(node, cluster_op_init(&ops[2]), "orders", &attr, ATTR_DIR_MODE), 0);
    assert_int_equal(node_set_group_config(node, cluster_op_init(&ops[3]), "kitchen", "max.poll.records", "7"), 0);
    assert_int_equal(node_set_group_attr(node, cluster_op_init(&ops[4]), "kitchen", &attr, ATTR_DIR_MODE), 0);
    make_them_anew(c, leader);
    memory_cut(&c->network, leader, away, false);
    for (int i = 0; i < OPS; i++) {
        cluster_await(c, 2000, ops[i].calls == 1);
        assert_int_equal(ops[i].rc, -ENOENT);
    }
    assert_config(c, leader, "retention.ms", "6000");
    assert_config(c, leader, "retention.bytes", "-1");
    struct topic *topic = node_topic(c->nodes[leader].node, "orders");
    topic_attr(topic, &now);
    topic_unref(topic);
    assert_int_equal(now.dir_mode, some_attr.dir_mode);
}

/* The one that it is meant for is there when it is asked for, and its end is on its way to the log. */
static void test_what_is_meant_for_one_waits_for_what_may_end_it(void **state)
{
    struct cluster *c = *state;
    struct cluster_op removal, made, set;
    int32_t leader = cluster_await_leader(c);
    struct node *node = c->nodes[leader].node;
    make_orders_and_kitchen(c, leader);
    assert_int_equal(node_delete_topic(node, cluster_op_init(&removal), "orders"), 0);
    assert_int_equal(node_create_topic(node, cluster_op_init(&made), "orders", &some_attr), 0);
    assert_int_equal(node_set_config(node, cluster_op_init(&set), "orders", "retention.bytes", "1"), 0);
    cluster_await(c, 2000, removal.calls == 1 && made.calls == 1 && set.calls == 1);
    assert_int_equal(removal.rc, 0);
    assert_int_equal(made.rc, 0);
    assert_int_equal(set.rc, -ENOENT);
    assert_config(c, leader, "retention.bytes", "-1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(test_what_is_meant_for_one_does_not_come_to_its_namesake),
        THREE(test_what_is_meant_for_one_waits_for_what_may_end_it),
    };
    return cmocka_run_group_tests_name("namesakes", tests, NULL, NULL);
}
