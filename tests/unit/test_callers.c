/* Commands of users whose right is taken away while they are on their way: what is decided first counts, on every node
 * (REPLICATION.md, rule 61). */
#include "tests/unit/cluster_fixture.h"

#include "replication/wire/voters_message.h"

enum { COOK = 1000, WAITER = 2000 };

static const struct tree_attr cooks = {.uid = COOK, .gid = COOK, .dir_mode = 0755, .file_mode = 0644};

/* An op of that user, in the group of the same number. */
static struct command_op *by(struct cluster_op *op, uid_t uid)
{
    cluster_op_init(op);
    op->op.caller = (struct command_caller){.is_user = true, .uid = uid, .gid = uid};
    return &op->op;
}

static bool judges(struct cluster *c, int32_t id)
{
    const struct metadata *meta = quorum_acquire(&c->nodes[id].node->quorum);
    bool all = meta->node_count == 3 && metadata_judges(meta);
    quorum_release(&c->nodes[id].node->quorum);
    return all;
}

/* MOUNT is everybody's; COOK's: a topic that goes as it is, and a group. Known everywhere. */
static void set_table(struct cluster *c, int32_t id)
{
    struct node *node = c->nodes[id].node;
    struct cluster_op op;
    for (int32_t other = 1; other <= 3; other++)
        cluster_await(c, 10000, judges(c, other));
    assert_int_equal(cluster_chmod(c, id, 0777), 0);
    assert_int_equal(cluster_op_end(c, &op, node_create_topic(node, by(&op, COOK), "orders", &cooks)), 0);
    assert_int_equal(
        cluster_op_end(c, &op, node_set_config(node, by(&op, COOK), "orders", "delete.topic.enable", "true")), 0);
    assert_int_equal(cluster_op_end(c, &op, node_create_group(node, by(&op, COOK), "kitchen", &cooks)), 0);
    cluster_pass(c, 1000);
}

/* Root gives topic and group to WAITER, and nobody makes topics any more. */
static void take_away(struct cluster *c, int32_t id)
{
    static const struct tree_attr waiters = {.uid = WAITER, .gid = WAITER};
    struct node *node = c->nodes[id].node;
    struct cluster_op op;
    unsigned set = ATTR_UID | ATTR_GID;
    assert_int_equal(cluster_op_end(c, &op, node_set_attr(node, by(&op, 0), "orders", &waiters, set)), 0);
    assert_int_equal(cluster_op_end(c, &op, node_set_group_attr(node, by(&op, 0), "kitchen", &waiters, set)), 0);
    assert_int_equal(cluster_chmod(c, id, 0755), 0);
}

static struct tree_attr attr_at(struct cluster *c, int32_t id)
{
    struct tree_attr attr;
    struct topic *topic = node_topic(c->nodes[id].node, "orders");
    assert_non_null(topic);
    topic_attr(topic, &attr);
    topic_unref(topic);
    return attr;
}

/* Nothing of what COOK asked for has come to be, on any node. */
static void assert_untouched(struct cluster *c)
{
    char value[CONFIG_VALUE_BYTES];
    for (int32_t id = 1; id <= 3; id++) {
        struct node *node = c->nodes[id].node;
        cluster_await(c, 10000, attr_at(c, id).uid == WAITER && cluster_mode(c, id) == 0755);
        assert_int_equal(attr_at(c, id).dir_mode, 0755);
        assert_int_equal(node_get_config(node, "orders", "retention.ms", value), 0);
        assert_string_equal(value, "604800000");
        assert_int_equal(node_get_group_config(node, "kitchen", "max.poll.records", value), 0);
        assert_string_equal(value, "500");
        assert_false(cluster_has(c, id, "more"));
        struct topic *topic = node_topic(node, "orders");
        assert_int_equal(topic_partition_count(topic), 1);
        topic_unref(topic);
    }
}

enum { ASKED = 8 };

/* What COOK asks of that node, which knows of no revocation. */
static void ask_all(struct cluster *c, int32_t id, struct cluster_op ops[ASKED])
{
    static const struct tree_attr open = {.dir_mode = 0777};
    struct node *node = c->nodes[id].node;
    struct replica_set one = {.count = 1, .ids = {1}};
    assert_int_equal(node_set_attr(node, by(&ops[0], COOK), "orders", &open, ATTR_DIR_MODE), 0);
    assert_int_equal(node_set_config(node, by(&ops[1], COOK), "orders", "retention.ms", "5"), 0);
    assert_int_equal(node_create_partitions(node, by(&ops[2], COOK), "orders", 2), 0);
    assert_int_equal(node_assign_replicas(node, by(&ops[3], COOK), "orders", 0, &one), 0);
    assert_int_equal(node_set_group_config(node, by(&ops[4], COOK), "kitchen", "max.poll.records", "7"), 0);
    assert_int_equal(node_set_group_attr(node, by(&ops[5], COOK), "kitchen", &open, ATTR_DIR_MODE), 0);
    assert_int_equal(node_create_topic(node, by(&ops[6], COOK), "more", &cooks), 0);
    assert_int_equal(node_delete_topic(node, by(&ops[7], COOK), "orders"), 0);
}

static void assert_refused(struct cluster *c, struct cluster_op ops[ASKED])
{
    static const int expected[ASKED] = {-EPERM, -EACCES, -EACCES, -EACCES, -EACCES, -EPERM, -EACCES, -EACCES};
    for (int i = 0; i < ASKED; i++) {
        cluster_await(c, 2000, ops[i].calls == 1);
        if (ops[i].rc != expected[i])
            fail_msg("op %d: %d %s, not %d", i, ops[i].rc, ops[i].op.e.text, expected[i]);
        assert_true(ops[i].op.e.text[0] != '\0');
    }
}

/* A node that does not hear of the revocation; who leads has applied it. */
static void test_who_has_not_heard_of_a_revocation_does_not_undo_it(void **state)
{
    struct cluster *c = *state;
    struct cluster_op ops[ASKED];
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    set_table(c, leader);
    memory_cut(&c->network, leader, away, true);
    ask_all(c, away, ops);
    take_away(c, leader);
    memory_cut(&c->network, leader, away, false);
    assert_refused(c, ops);
    assert_untouched(c);
}

/* Revocations that are on their way to the disk: nobody has applied them when who leads takes in what comes next. */
static void test_what_is_in_the_log_behind_a_revocation_changes_nothing(void **state)
{
    static const struct tree_attr waiters = {.uid = WAITER, .gid = WAITER}, closed = {.dir_mode = 0755};
    struct cluster *c = *state;
    struct cluster_op taken[3], ops[ASKED];
    int32_t leader = cluster_await_leader(c);
    struct node *node = c->nodes[leader].node;
    set_table(c, leader);
    int64_t before = log_end(node->quorum.log).offset;
    assert_int_equal(node_set_attr(node, by(&taken[0], 0), "orders", &waiters, ATTR_UID | ATTR_GID), 0);
    assert_int_equal(node_set_group_attr(node, by(&taken[1], 0), "kitchen", &waiters, ATTR_UID | ATTR_GID), 0);
    assert_int_equal(node_set_attr(node, by(&taken[2], 0), NULL, &closed, ATTR_DIR_MODE), 0);
    ask_all(c, leader, ops);
    assert_refused(c, ops);
    for (int i = 0; i < 3; i++)
        assert_int_equal(taken[i].rc, 0);
    /* They were decided, each of them: it was not who leads that refused them. */
    assert_true(log_end(node->quorum.log).offset >= before + 3 + ASKED);
    assert_untouched(c);
    /* And a replay of them comes to the same. */
    int32_t again = cluster_follower(c);
    cluster_kill(c, again);
    cluster_start(c, again);
    assert_untouched(c);
}

/* As a start registers. */
static void register_fourth(struct cluster *c, int32_t id, int32_t feature_level)
{
    struct command cmd = {.type = COMMAND_REGISTER_NODE,
                          .registration = {.id = 4, .epoch = -1, .feature_level = feature_level}};
    struct quorum_op op = {.timeout_ms = INT64_MAX, .done = cluster_registered};
    assert_int_equal(quorum_submit(&c->nodes[id].node->quorum, &op, &cmd), 0);
    cluster_await(c, 5000, op.proposal == NULL);
}

/* It would stop for good at a command with a caller: so they go out as before, and each node judges its own. */
static void test_a_node_of_an_older_build_is_told_of_no_caller(void **state)
{
    static const struct tree_attr waiters = {.uid = WAITER, .gid = WAITER}, open = {.dir_mode = 0777};
    struct cluster *c = *state;
    struct cluster_op taken, late, op;
    int32_t leader = cluster_await_leader(c);
    struct node *node = c->nodes[leader].node;
    set_table(c, leader);
    register_fourth(c, leader, FEATURE_LEVEL_CALLERS - 1);
    assert_int_equal(node_set_attr(node, by(&taken, 0), "orders", &waiters, ATTR_UID), 0);
    assert_int_equal(node_set_attr(node, by(&late, COOK), "orders", &open, ATTR_DIR_MODE), 0);
    cluster_await(c, 2000, taken.calls == 1 && late.calls == 1);
    assert_int_equal(late.rc, 0);
    assert_int_equal(attr_at(c, leader).dir_mode, 0777);
    assert_int_equal(node_set_attr(node, by(&op, COOK), "orders", &cooks, ATTR_DIR_MODE), -EPERM);
}

/* Who asks does not know yet that such a node has come; who leads does. */
static void test_a_caller_is_not_appended_once_a_node_is_of_an_older_build(void **state)
{
    static const struct tree_attr open = {.dir_mode = 0777};
    struct cluster *c = *state;
    struct cluster_op op;
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    set_table(c, leader);
    memory_cut(&c->network, leader, away, true);
    assert_int_equal(node_set_attr(c->nodes[away].node, by(&op, COOK), "orders", &open, ATTR_DIR_MODE), 0);
    register_fourth(c, leader, FEATURE_LEVEL_CALLERS - 1);
    memory_cut(&c->network, leader, away, false);
    cluster_await(c, 2000, op.calls == 1);
    assert_int_equal(op.rc, -ETIMEDOUT);
    assert_non_null(strstr(op.op.e.text, "older build"));
    assert_int_equal(attr_at(c, leader).dir_mode, 0755);
}

/* Voters are judged by who leads, before their first record is in the log. */
static void test_voters_are_mounts_owners_as_who_leads_knows_it(void **state)
{
    struct cluster *c = *state;
    struct cluster_op op;
    struct tree_attr cook = {.uid = COOK, .gid = COOK}, waiter = {.uid = WAITER, .gid = WAITER};
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    int32_t one[] = {leader}, all[] = {1, 2, 3};
    struct node *node = c->nodes[leader].node;
    set_table(c, leader);
    assert_int_equal(cluster_op_end(c, &op, node_set_attr(node, by(&op, 0), NULL, &cook, ATTR_UID)), 0);
    cluster_pass(c, 1000);
    for (int32_t id = 1; id <= 3; id++) /* as they are: decided at once */
        assert_int_equal(cluster_op_end(c, &op, node_change_voters(c->nodes[id].node, by(&op, COOK), all, 3)), 0);
    memory_cut(&c->network, leader, away, true);
    assert_int_equal(node_change_voters(c->nodes[away].node, by(&op, COOK), one, 1), 0);
    struct cluster_op taken;
    assert_int_equal(cluster_op_end(c, &taken, node_set_attr(node, by(&taken, 0), NULL, &waiter, ATTR_UID)), 0);
    memory_cut(&c->network, leader, away, false);
    cluster_await(c, 2000, op.calls == 1);
    assert_int_equal(op.rc, -EPERM);
    assert_int_equal(cluster_op_end(c, &op, node_change_voters(node, by(&op, COOK), one, 1)), -EPERM);
    struct raft_voters voters;
    quorum_voters(&node->quorum, &voters);
    assert_int_equal(voters.count, 3);
}

/* docs/WIRE.md, kind 21: the element came later. */
static void test_a_request_for_voters_with_and_without_who_asks(void **state)
{
    static const uint8_t before[] = {0x93, 17, 5, 0x93, 1, 2, 3};
    static const uint8_t cook[] = {0x94, 17, 5, 0x93, 1, 2, 3, 0xcd, 0x03, 0xe8};
    static const uint8_t none[] = {0x94, 17, 5, 0x93, 1, 2, 3, 0xff}, bad[] = {0x94, 17, 5, 0x93, 1, 2, 3, 0xfe};
    static const uint8_t large[] = {0x94, 17, 5, 0x93, 1, 2, 3, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0};
    struct voters_request request;
    uint8_t out[VOTERS_REQUEST_BYTES];
    struct err e = {""};
    (void)state;
    assert_int_equal(voters_request_decode(before, sizeof before, &request, &e), 0);
    assert_int_equal(request.uid, -1);
    assert_int_equal(request.nodes.count, 3);
    assert_int_equal(voters_request_decode(none, sizeof none, &request, &e), 0);
    assert_int_equal(request.uid, -1);
    assert_int_equal(voters_request_decode(cook, sizeof cook, &request, &e), 0);
    assert_int_equal(request.uid, COOK);
    size_t len = voters_request_encode(&request, out);
    assert_int_equal(voters_request_decode(out, len, &request, &e), 0);
    assert_int_equal(request.uid, COOK);
    assert_int_equal(voters_request_decode(bad, sizeof bad, &request, &e), -EBADMSG);
    assert_int_equal(voters_request_decode(large, sizeof large, &request, &e), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(test_who_has_not_heard_of_a_revocation_does_not_undo_it),
        THREE(test_what_is_in_the_log_behind_a_revocation_changes_nothing),
        THREE(test_a_node_of_an_older_build_is_told_of_no_caller),
        THREE(test_a_caller_is_not_appended_once_a_node_is_of_an_older_build),
        THREE(test_voters_are_mounts_owners_as_who_leads_knows_it),
        cmocka_unit_test(test_a_request_for_voters_with_and_without_who_asks),
    };
    return cmocka_run_group_tests_name("callers", tests, NULL, NULL);
}
