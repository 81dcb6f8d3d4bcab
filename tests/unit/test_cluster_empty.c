/* Three whole nodes: what has to be empty to be deleted, or to get another framing, is so at the leaders of its
 * partitions, and stays so until that is decided: no record that anybody was told of is lost. */
#include "tests/unit/cluster_orders.h"

#include <errno.h>

#include "replication/wire/forward_message.h"

static void set_at(int32_t id, const char *topic, const char *name, const char *value)
{
    struct cluster_op op;
    assert_int_equal(
        cluster_op_end(c, &op, node_set_config(c->nodes[id].node, cluster_op_init(&op), topic, name, value)), 0);
}

static int set_framing(int32_t id)
{
    struct cluster_op op;
    return cluster_op_end(c, &op,
                          node_set_config(c->nodes[id].node, cluster_op_init(&op), "orders", "framing", "msgpack"));
}

/* On one node alone, as every node knows; returns which. */
static int32_t make_lone_orders(void)
{
    set_at(1, NULL, "default.replication.factor", "1");
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE);
    return leader_at(1);
}

/* By a node's own account. */
static int32_t led_by(int32_t id, int32_t index)
{
    struct topic *topic = node_topic(c->nodes[id].node, "orders");
    struct partition *part = topic_partition(topic, index);
    pthread_mutex_lock(&part->lock);
    int32_t leader = part->registration.leader;
    pthread_mutex_unlock(&part->lock);
    topic_unref(topic);
    return leader;
}

/* Two partitions, each on one node alone; returns where the first one is. */
static int32_t make_two(void)
{
    set_at(1, NULL, "num.partitions", "2");
    int32_t first = make_lone_orders();
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, led_by(id, 1) != LEADER_NONE);
    assert_int_not_equal(led_by(first, 1), first);
    return first;
}

static void append_all(int32_t id, int count)
{
    for (int i = 0; i < count; i++) {
        struct appended appended;
        append_at(id, &appended, i);
        cluster_await(c, LONG_MS, appended.calls == 1);
        assert_int_equal(appended.rc, 0);
    }
}

static int32_t epoch_at(int32_t id)
{
    struct partition *part = partition_at(id);
    pthread_mutex_lock(&part->lock);
    int32_t epoch = part->registration.leader_epoch;
    pthread_mutex_unlock(&part->lock);
    return epoch;
}

/* ---- who is asked ---- */

static void where_it_was_never_heard_of_it_is_not_empty(void **state)
{
    (void)state;
    int32_t leader = make_lone_orders();
    append_all(leader, 3);
    for (int32_t id = 1; id <= 3; id++) {
        assert_int_equal(cluster_rmdir(c, id, "orders"), -ENOTEMPTY);
        assert_int_equal(set_framing(id), -EBUSY);
    }
    assert_int_equal(partition_at(leader)->log != NULL ? log_end(partition_at(leader)->log).offset : -1, 3);
    append_all(leader % 3 + 1, 1); /* nor is it held */
}

static void an_empty_one_goes_from_any_node(void **state)
{
    (void)state;
    for (int32_t id = 1; id <= 3; id++) {
        make_lone_orders();
        assert_int_equal(cluster_rmdir(c, id, "orders"), 0);
        for (int32_t other = 1; other <= 3; other++)
            cluster_await(c, LONG_MS, !cluster_has(c, other, "orders"));
    }
}

static void register_fourth(int32_t feature_level, bool fenced)
{
    struct command cmd = {.type = COMMAND_REGISTER_NODE,
                          .registration = {.id = 4, .epoch = -1, .fenced = fenced, .feature_level = feature_level}};
    struct quorum_op op = {.timeout_ms = INT64_MAX, .done = cluster_registered};
    assert_int_equal(quorum_submit(&c->nodes[1].node->quorum, &op, &cmd), 0);
    cluster_await(c, 5000, op.proposal == NULL);
}

static void a_node_of_an_older_build_is_not_stopped(void **state)
{
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), epoch = epoch_at(leader);
    register_fourth(FEATURE_LEVEL_SEALS - 1, false);
    assert_int_equal(cluster_rmdir(c, leader, "orders"), -ETIMEDOUT);
    assert_int_equal(set_framing(leader), -ETIMEDOUT);
    append_all(leader, 1);
    assert_int_equal(epoch_at(leader), epoch); /* nothing was sealed */
    assert_int_equal(cluster_mkdir(c, 1, "bills"), 0);
    register_fourth(FEATURE_LEVEL_SEALS - 1, true); /* it is gone, and may never come back */
    assert_int_equal(cluster_rmdir(c, leader, "bills"), 0);
}

static void what_was_emptied_is_empty(void **state)
{
    (void)state;
    make_orders();
    append_all(1, 3);
    int32_t leader = leader_at(1);
    struct deleted deleted = {.op = {.position = INT64_MAX, .done = on_deleted}};
    assert_int_equal(partition_delete_records(partition_at(leader), &deleted.op), 0);
    cluster_await(c, LONG_MS, deleted.calls == 1);
    assert_int_equal(deleted.rc, 0);
    assert_int_equal(cluster_rmdir(c, leader % 3 + 1, "orders"), 0);
}

static void without_its_leader_nobody_knows(void **state)
{
    (void)state;
    int32_t leader = make_lone_orders(), other = leader % 3 + 1;
    append_all(leader, 3);
    cluster_kill(c, leader);
    cluster_await(c, LONG_MS, cluster_leader(c) > 0 && leader_at(other) == LEADER_NONE);
    assert_int_equal(cluster_rmdir(c, other, "orders"), -ETIMEDOUT);
    assert_true(cluster_has(c, other, "orders"));
    cluster_start(c, leader);
    cluster_await(c, LONG_MS, leader_at(leader) == leader);
    assert_int_equal(log_end(partition_at(leader)->log).offset, 3);
}

static void a_replica_that_is_behind_is_not_asked(void **state)
{
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), behind = leader % 3 + 1, third = behind % 3 + 1;
    cluster_kill(c, behind);
    append_all(leader, 3);
    cluster_kill(c, leader);
    cluster_start(c, behind);
    cluster_await(c, LONG_MS, cluster_leader(c) > 0 && cluster_has(c, behind, "orders"));
    int rc = cluster_rmdir(c, behind, "orders");
    assert_true(rc == -ENOTEMPTY || rc == -ETIMEDOUT || rc == -EROFS);
    cluster_await(c, LONG_MS, leader_at(third) == third && leader_at(behind) == third);
    assert_int_equal(log_end(partition_at(third)->log).offset, 3);
}

/* ---- what is bound to fail ---- */

/* It is over when the one that has records has answered; the other one, whose leader is asked as soon, was not sealed.
 */
static void where_one_has_records_the_others_are_not_sealed(void **state)
{
    (void)state;
    int32_t first = make_two(), second = led_by(first, 1), epoch;
    struct topic *topic = node_topic(c->nodes[second].node, "orders");
    struct partition *empty = topic_partition(topic, 1);
    append_all(first, 1);
    epoch = empty->registration.leader_epoch;
    for (int32_t id = 1; id <= 3; id++) {
        assert_int_equal(cluster_rmdir(c, id, "orders"), -ENOTEMPTY);
        assert_int_equal(set_framing(id), -EBUSY);
        assert_false(partition_is_sealed(empty));
    }
    cluster_pass(c, 2 * LIMIT_SEAL_AGAIN_MS);
    assert_int_equal(empty->registration.leader_epoch, epoch);
    topic_unref(topic);
}

static void where_one_cannot_be_asked_the_others_are_not_sealed(void **state)
{
    (void)state;
    int32_t first = make_two(), second = led_by(first, 1), third = 6 - first - second;
    int32_t epoch = epoch_at(first);
    cluster_kill(c, second);
    cluster_await(c, LONG_MS, cluster_leader(c) > 0);
    assert_int_equal(cluster_rmdir(c, third, "orders"), -ETIMEDOUT);
    assert_false(partition_is_sealed(partition_at(first)));
    cluster_pass(c, 2 * LIMIT_SEAL_AGAIN_MS);
    assert_int_equal(epoch_at(first), epoch);
}

/* An append that is under way holds update_lock: one with records answers without it. */
static void one_with_records_waits_for_no_append(void **state)
{
    (void)state;
    int32_t leader = make_lone_orders();
    append_all(leader, 1);
    struct partition *part = partition_at(leader);
    struct partition_request request = {.head.leader_epoch = epoch_at(leader), .epoch = SEAL_EMPTY, .upto = 1};
    struct partition_answer answer = {.upto = 0};
    pthread_rwlock_rdlock(&part->topic->update_lock);
    assert_int_equal(partition_seal(part, &request, &answer), 0);
    pthread_rwlock_unlock(&part->topic->update_lock);
    assert_int_equal(answer.upto, 1);
    assert_false(partition_is_sealed(part));
}

/* ---- at the same moment ---- */

static bool step(void)
{
    bool more = false;
    for (int id = 1; id <= 3; id++)
        more = (c->nodes[id].node != NULL && hand_step(&c->nodes[id].hand)) || more;
    return memory_step(&c->network) || more;
}

/* So many steps are between the two. */
static void race(int32_t at, int32_t from, int steps, bool rmdir_first, enum acks acks)
{
    struct appended appended = {.calls = 0};
    struct cluster_op op;
    bool gone = false;
    int rc = 0;
    make_orders();
    for (int i = 0; i < 2; i++) {
        if ((i == 0) == rmdir_first)
            rc = node_delete_topic(c->nodes[from].node, cluster_op_init(&op), "orders");
        else if (partition_at(at) == NULL)
            gone = true;
        else
            append_acks_at(at, &appended, 1, acks);
        for (int k = 0; i == 0 && k < steps; k++)
            (void)step();
    }
    rc = cluster_op_end(c, &op, rc);
    if (!gone)
        cluster_await(c, 40000, appended.calls == 1);
    if (rc == 0) {
        assert_true(gone || appended.rc == -ESTALE);
    } else {
        assert_int_equal(rc, -ENOTEMPTY);
        assert_int_equal(appended.rc, 0);
        set_at(1, "orders", "delete.topic.enable", "true");
        assert_int_equal(cluster_rmdir(c, 1, "orders"), 0);
    }
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, !cluster_has(c, id, "orders"));
}

static void an_append_and_an_rmdir_at_the_same_moment(void **state)
{
    (void)state;
    for (int steps = 0; steps < 24; steps++) {
        for (int32_t at = 1; at <= 3; at++)
            race(at, at % 3 + 1, steps, steps % 2 == 0, (steps / 2 + at) % 2 == 0 ? ACKS_LEADER : ACKS_ALL);
    }
}

static void of_two_rmdirs_one_finds_nothing(void **state)
{
    (void)state;
    for (int steps = 0; steps < 24; steps++) {
        int32_t from = steps % 3 + 1, other = from % 3 + 1;
        struct cluster_op first, second;
        make_orders();
        int rc = node_delete_topic(c->nodes[from].node, cluster_op_init(&first), "orders");
        for (int k = 0; k < steps; k++)
            (void)step();
        int other_rc = node_delete_topic(c->nodes[other].node, cluster_op_init(&second), "orders");
        rc = cluster_op_end(c, &first, rc);
        other_rc = cluster_op_end(c, &second, other_rc);
        assert_int_equal(rc == 0 ? other_rc : rc, -ENOENT);
        assert_int_equal(rc + other_rc, -ENOENT);
        for (int32_t id = 1; id <= 3; id++)
            cluster_await(c, LONG_MS, !cluster_has(c, id, "orders"));
    }
}

/* ---- what a mkdir takes back ---- */

/* At a node without room for it. `writes`: somebody does as soon as another node leads it. */
static void mkdir_without_room(int32_t id, bool writes)
{
    struct appended appended = {.calls = 0};
    struct cluster_op op;
    int32_t leader = LEADER_NONE;
    atomic_store(&c->nodes[id].disk.mkdir_rc, -ENOSPC);
    int rc = node_create_topic(c->nodes[id].node, cluster_op_init(&op), "orders", &some_attr);
    while (leader == LEADER_NONE && op.calls == 0) {
        assert_true(step());
        for (int32_t other = 1; other <= 3; other++)
            leader = leader_at(other) == other && other != id ? other : leader;
    }
    if (writes && leader != LEADER_NONE)
        append_acks_at(leader, &appended, 1, ACKS_LEADER);
    rc = cluster_op_end(c, &op, rc);
    atomic_store(&c->nodes[id].disk.mkdir_rc, 0);
    if (writes && leader != LEADER_NONE) {
        assert_int_equal(appended.calls, 1);
        assert_int_equal(appended.rc, 0);
        assert_int_equal(rc, 0);
        assert_int_equal(log_end(partition_at(leader)->log).offset, 1);
        set_at(id, "orders", "delete.topic.enable", "true");
        assert_int_equal(cluster_rmdir(c, id, "orders"), 0);
    } else {
        assert_int_equal(rc, -ENOSPC);
    }
    for (int32_t other = 1; other <= 3; other++)
        cluster_await(c, LONG_MS, !cluster_has(c, other, "orders"));
}

static void what_a_mkdir_takes_back_is_empty(void **state)
{
    (void)state;
    for (int32_t id = 1; id <= 3; id++) {
        mkdir_without_room(id, false);
        mkdir_without_room(id, true);
    }
}

/* ---- how it ends ---- */

static void a_leader_that_changes_meanwhile_is_asked_again(void **state)
{
    struct cluster_op op, moved;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), other = leader % 3 + 1;
    int rc = node_set_leader(c->nodes[other].node, cluster_op_init(&moved), "orders", 0, other);
    for (int i = 0; i < 3; i++)
        (void)step();
    int deleted = node_delete_topic(c->nodes[other % 3 + 1].node, cluster_op_init(&op), "orders");
    (void)cluster_op_end(c, &moved, rc);
    assert_int_equal(cluster_op_end(c, &op, deleted), 0);
}

static void who_asked_dies_and_appends_go_on(void **state)
{
    struct appended appended;
    struct cluster_op op;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), asker = leader % 3 + 1;
    if (asker == cluster_leader(c))
        asker = asker % 3 + 1;
    assert_int_equal(node_delete_topic(c->nodes[asker].node, cluster_op_init(&op), "orders"), 0);
    while (!partition_is_sealed(partition_at(leader)))
        assert_true(step());
    cluster_kill(c, asker);
    append_at(leader, &appended, 1);
    cluster_await(c, LONG_MS, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
}

/* The seal ends, and what it held is not in the log yet. */
static void who_was_held_is_not_overtaken(void **state)
{
    struct appended first, second;
    struct cluster_op op;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), asker = leader % 3 + 1;
    struct partition *part = partition_at(leader);
    if (asker == cluster_leader(c))
        asker = asker % 3 + 1;
    assert_int_equal(node_delete_topic(c->nodes[asker].node, cluster_op_init(&op), "orders"), 0);
    while (!partition_is_sealed(part))
        assert_true(step());
    cluster_kill(c, asker);
    append_acks_at(leader, &first, 1, ACKS_NONE);
    assert_int_equal(first.calls, 0);
    while (partition_is_sealed(part)) {
        if (!step())
            atomic_fetch_add(&c->clock.passed_ms, 5);
    }
    assert_int_equal(first.calls, 0);
    append_acks_at(leader, &second, 2, ACKS_LEADER);
    cluster_await(c, LONG_MS, first.calls == 1 && second.calls == 1);
    assert_int_equal(first.rc, 0);
    assert_int_equal(second.rc, 0);
    assert_int_equal(first.op.result.base.offset, 0);
    assert_int_equal(second.op.result.base.offset, 1);
}

/* That it is not wanted any more is heard when the topic is gone: nothing keeps that. */
static void a_seal_that_is_given_back_late_holds_no_topic(void **state)
{
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    struct topic *topic = node_topic(c->nodes[leader].node, "orders");
    struct partition *part = topic_partition(topic, 0);
    struct partition_request request = {
        .head.leader_epoch = epoch_at(leader), .epoch = SEAL_EMPTY, .upto = LIMIT_SEAL_MS};
    struct partition_answer answer = {.upto = 0};
    assert_int_equal(partition_seal(part, &request, &answer), 0);
    set_at(leader, "orders", "delete.topic.enable", "true");
    assert_int_equal(cluster_rmdir(c, leader, "orders"), 0);
    request.upto = 0;
    assert_int_equal(partition_seal(part, &request, &answer), 0);
    cluster_pass(c, 2 * LIMIT_SEAL_AGAIN_MS);
    assert_int_equal(atomic_load(&topic->refs), 1);
    topic_unref(topic);
}

struct insync_told {
    struct insync_wait wait;
    int calls, rc;
};

static void on_insync_told(struct insync_wait *wait, int rc)
{
    struct insync_told *told = CONTAINER_OF(wait, struct insync_told, wait);
    told->calls++;
    told->rc = rc;
}

/* DeleteRecords that the deletion overtakes comes to wait for its replicas when nobody waits any more: it is told so,
 * and nothing keeps the topic until its deadline. */
static void what_waits_for_replicas_too_late_holds_no_topic(void **state)
{
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    struct topic *topic = node_topic(c->nodes[leader].node, "orders");
    struct partition *part = topic_partition(topic, 0);
    struct clock *clock = part->manager->clock;
    struct insync_told told = {.wait = {.start = 1, .done = on_insync_told}};
    set_at(leader, "orders", "delete.topic.enable", "true");
    assert_int_equal(cluster_rmdir(c, leader, "orders"), 0);
    told.wait.deadline_ms = clock->mono_ms(clock) + LIMIT_ASK_MS;
    partition_insync_wait(part, &told.wait);
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.rc, -ESTALE);
    cluster_pass(c, LIMIT_BEAT_MS);
    assert_int_equal(atomic_load(&topic->refs), 1);
    topic_unref(topic);
}

static void who_asked_stops_before_all_have_answered(void **state)
{
    struct cluster_op op;
    (void)state;
    int32_t asker = make_two(), other = led_by(asker, 1);
    assert_int_equal(node_delete_topic(c->nodes[asker].node, cluster_op_init(&op), "orders"), 0);
    while (op.op.state != COMMAND_SEALING) {
        if (!step())
            atomic_fetch_add(&c->clock.passed_ms, 5);
    }
    memory_cut(&c->network, asker, other, true);
    while (!partition_is_sealed(partition_at(asker)))
        assert_true(hand_step(&c->nodes[asker].hand));
    cluster_kill(c, asker);
    assert_int_equal(op.calls, 1);
    assert_int_equal(op.rc, -EIO);
}

static void another_framing_and_appends_go_on(void **state)
{
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), epoch = epoch_at(1);
    assert_int_equal(set_framing(leader % 3 + 1), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, epoch_at(id) == epoch + 1);
    assert_false(partition_is_sealed(partition_at(leader)));
    assert_int_equal(set_framing(leader % 3 + 1), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, epoch_at(id) == epoch + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(where_it_was_never_heard_of_it_is_not_empty, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(an_empty_one_goes_from_any_node, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(what_was_emptied_is_empty, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(a_node_of_an_older_build_is_not_stopped, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(without_its_leader_nobody_knows, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(a_replica_that_is_behind_is_not_asked, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(where_one_has_records_the_others_are_not_sealed, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(where_one_cannot_be_asked_the_others_are_not_sealed, setup_three,
                                        cluster_teardown),
        cmocka_unit_test_setup_teardown(one_with_records_waits_for_no_append, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(an_append_and_an_rmdir_at_the_same_moment, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(of_two_rmdirs_one_finds_nothing, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(what_a_mkdir_takes_back_is_empty, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(a_leader_that_changes_meanwhile_is_asked_again, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(who_asked_dies_and_appends_go_on, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(who_was_held_is_not_overtaken, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(a_seal_that_is_given_back_late_holds_no_topic, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(what_waits_for_replicas_too_late_holds_no_topic, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(who_asked_stops_before_all_have_answered, setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(another_framing_and_appends_go_on, setup_three, cluster_teardown),
    };
    return cmocka_run_group_tests_name("cluster_empty", tests, NULL, NULL);
}
