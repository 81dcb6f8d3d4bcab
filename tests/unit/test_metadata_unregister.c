/* tests/unit/test_metadata_unregister.c: nodes that the cluster forgets: whom it may, what was decided at the same
 * moment, and one that comes back. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/metadata_fixture.h"

#include "replication/metadata/snapshot.h"

static const struct tree_attr root = {.dir_mode = 0755, .file_mode = 0644};
static const uint8_t orders_id[UUID_BYTES] = {7};

static int enrol_level(struct metadata *meta, int32_t id, int32_t level)
{
    struct command cmd = {.type = COMMAND_REGISTER_NODE};
    cmd.registration = (struct node_registration){
        .id = id, .epoch = -1, .incarnation = 100 + (uint64_t)id, .feature_level = level, .fenced = true};
    return metadata_apply_as_in_log(meta, &cmd);
}

static int enrol(struct metadata *meta, int32_t id)
{
    return enrol_level(meta, id, FEATURE_LEVEL);
}

static void set_fenced(struct metadata *meta, int32_t id, bool fenced)
{
    struct command cmd = {.type = COMMAND_CHANGE_NODE};
    cmd.registration = (struct node_registration){.id = id, .epoch = metadata_node(meta, id)->epoch, .fenced = fenced};
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
}

static struct command unregister_command(const struct metadata *meta, int32_t id)
{
    struct command cmd = {.type = COMMAND_UNREGISTER_NODE};
    const struct node_registration *node = metadata_node(meta, id);
    cmd.registration.id = id;
    cmd.registration.epoch = node != NULL ? node->epoch : 0;
    return cmd;
}

static int unregister(struct metadata *meta, int32_t id)
{
    struct command cmd = unregister_command(meta, id);
    return metadata_apply_as_in_log(meta, &cmd);
}

static int assign(struct metadata *meta, int32_t *replicas, int32_t count)
{
    struct command cmd = {.type = COMMAND_ASSIGN_REPLICAS,
                          .topic = "orders",
                          .replicas = replicas,
                          .replication_factor = count,
                          .replica_count = count};
    memcpy(cmd.id, orders_id, UUID_BYTES);
    return metadata_apply_as_in_log(meta, &cmd);
}

static const struct partition_registration *orders(const struct metadata *meta)
{
    return &metadata_topic(meta, "orders")->parts[0];
}

/* The controller ends the move: those that shall be there are in sync. */
static void end_move(struct metadata *meta, int32_t gone)
{
    struct partition_change change = {.to = *orders(meta)};
    struct command cmd = {.type = COMMAND_CHANGE_PARTITIONS, .changes = &change, .change_count = 1};
    memcpy(change.topic_id, orders_id, UUID_BYTES);
    for (int i = 0; i < LIMIT_REPLICA_SET; i++)
        change.isr_epochs[i] = -1;
    change.to.partition_epoch++;
    change.to.target.count = 0;
    replica_set_remove(&change.to.replicas, gone);
    replica_set_remove(&change.to.isr, gone);
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
}

/* Nodes 1 to 4, 1 to 3 of them live, 1 votes; orders is on 1 to 3. */
static int setup(void **state)
{
    struct metadata *meta = calloc(1, sizeof *meta);
    int32_t replicas[] = {1, 2, 3};
    struct command topic = {.type = COMMAND_CREATE_TOPIC, .topic = "orders", .partitions = 1, .replication_factor = 3};
    struct command voters = {.type = COMMAND_SET_VOTERS, .voters = {.count = 1, .ids = {{1, 101}}}};
    metadata_init(meta, &root);
    for (int32_t id = 1; id <= 4; id++) {
        assert_int_equal(enrol(meta, id), 0);
        if (id < 4)
            set_fenced(meta, id, false);
    }
    voters.target = voters.voters;
    assert_int_equal(metadata_apply_as_in_log(meta, &voters), 0);
    memcpy(topic.id, orders_id, UUID_BYTES);
    topic.replicas = replicas;
    topic.replica_count = 3;
    assert_int_equal(metadata_apply_as_in_log(meta, &topic), 0);
    *state = meta;
    return 0;
}

static int teardown(void **state)
{
    metadata_free(*state);
    free(*state);
    return 0;
}

static void one_that_nothing_stands_on_is_forgotten(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(unregister(meta, 5), -ENOENT);
    assert_int_equal(unregister(meta, 4), 0);
    assert_null(metadata_node(meta, 4));
    assert_int_equal(meta->node_count, 3);
    for (int32_t id = 1; id <= 3; id++)
        assert_int_equal(metadata_node(meta, id)->epoch, metadata_node(meta, 1)->epoch + 2 * (id - 1));
    assert_int_equal(unregister(meta, 4), -ENOENT);
}

/* KIP-903: whatever was meant for the earlier one is not for this one. */
static void one_that_comes_back_is_new_and_above_all_that_it_was(void **state)
{
    struct metadata *meta = *state;
    struct command before = unregister_command(meta, 4);
    struct command fence = {.type = COMMAND_CHANGE_NODE, .registration = before.registration};
    assert_int_equal(metadata_apply_as_in_log(meta, &before), 0);
    assert_int_equal(metadata_apply_as_in_log(meta, &fence), -ESTALE);
    assert_int_equal(enrol(meta, 4), 0);
    assert_true(metadata_node(meta, 4)->epoch > before.registration.epoch);
    assert_int_equal(metadata_apply_as_in_log(meta, &before), -EAGAIN);
    assert_int_equal(metadata_apply_as_in_log(meta, &fence), -ESTALE);
    assert_non_null(metadata_node(meta, 4));
}

static void places_are_free_again(void **state)
{
    struct metadata *meta = *state;
    for (int32_t id = 5; id <= LIMIT_NODES; id++)
        assert_int_equal(enrol(meta, id), 0);
    assert_int_equal(enrol(meta, LIMIT_NODES + 1), -ENOSPC);
    assert_int_equal(unregister(meta, 17), 0);
    assert_int_equal(enrol(meta, LIMIT_NODES + 1), 0);
    assert_null(metadata_node(meta, 17));
}

static void who_lives_stays(void **state)
{
    struct metadata *meta = *state;
    set_fenced(meta, 4, false);
    assert_int_equal(unregister(meta, 4), -EBUSY);
    set_fenced(meta, 4, true);
    assert_int_equal(unregister(meta, 4), 0);
}

static void a_voter_stays_and_so_does_who_is_to_be_one(void **state)
{
    struct metadata *meta = *state;
    struct command more = {.type = COMMAND_SET_VOTERS, .voters = meta->voters.voters, .target = meta->voters.voters};
    more.target.ids[more.target.count++] = (struct raft_id){4, 104};
    assert_int_equal(metadata_apply_as_in_log(meta, &more), 0);
    assert_int_equal(unregister(meta, 4), -EBUSY);
    more.voters = more.target;
    more.target.count = 1;
    assert_int_equal(metadata_apply_as_in_log(meta, &more), 0);
    assert_int_equal(unregister(meta, 4), -EBUSY);
    more.voters = more.target;
    assert_int_equal(metadata_apply_as_in_log(meta, &more), 0);
    assert_int_equal(unregister(meta, 4), 0);
}

static void who_has_a_replica_stays_until_it_is_moved_away(void **state)
{
    struct metadata *meta = *state;
    int32_t with_4[] = {1, 2, 4}, without[] = {1, 2, 3};
    set_fenced(meta, 3, true);
    assert_int_equal(unregister(meta, 3), -EBUSY);
    assert_int_equal(assign(meta, with_4, 3), 0);
    assert_int_equal(unregister(meta, 4), -EBUSY); /* it is to have one */
    assert_int_equal(unregister(meta, 3), -EBUSY); /* it has one still */
    end_move(meta, 3);
    assert_int_equal(unregister(meta, 4), -EBUSY);
    assert_int_equal(unregister(meta, 3), 0);
    assert_int_equal(assign(meta, without, 3), -EINVAL);
}

/* A snapshot names its nodes first: a setting that wants more of them could not be read again. */
static void a_setting_that_wants_so_many_nodes_keeps_them(void **state)
{
    struct metadata *meta = *state;
    struct command four = {.type = COMMAND_SET_CONFIG, .name = "default.replication.factor", .value = "4"};
    struct command three = {.type = COMMAND_SET_CONFIG, .name = "default.replication.factor", .value = "3"};
    assert_int_equal(metadata_apply_as_in_log(meta, &four), 0);
    assert_int_equal(unregister(meta, 4), -EBUSY);
    assert_int_equal(metadata_apply_as_in_log(meta, &three), 0);
    assert_int_equal(unregister(meta, 4), 0);
}

/* All of these fitted where they were asked for, and come behind it in the log: they change nothing, and no node ends
 * because of them. */
static void what_was_meant_for_it_at_the_same_moment_comes_to_nothing(void **state)
{
    struct metadata *meta = *state;
    int32_t replicas[] = {1, 4, 1, 2, 4};
    struct command_origin origin = {.node = 2, .number = 1};
    struct command made = {.type = COMMAND_CREATE_TOPIC,
                           .origin = origin,
                           .topic = "bills",
                           .id = {8},
                           .partitions = 1,
                           .replication_factor = 2,
                           .replicas = replicas,
                           .replica_count = 2};
    struct command more = {.type = COMMAND_CREATE_PARTITIONS,
                           .origin = origin,
                           .topic = "orders",
                           .partitions = 2,
                           .replication_factor = 3,
                           .replicas = replicas + 2,
                           .replica_count = 3};
    struct command moved = {.type = COMMAND_ASSIGN_REPLICAS,
                            .origin = origin,
                            .topic = "orders",
                            .replication_factor = 2,
                            .replicas = replicas,
                            .replica_count = 2};
    struct command four = {
        .type = COMMAND_SET_CONFIG, .origin = origin, .name = "default.replication.factor", .value = "4"};
    memcpy(more.id, orders_id, UUID_BYTES);
    memcpy(moved.id, orders_id, UUID_BYTES);
    assert_int_equal(metadata_check(meta, &made, NULL), 0);
    assert_int_equal(metadata_check(meta, &more, NULL), 0);
    assert_int_equal(metadata_check(meta, &moved, NULL), 0);
    assert_int_equal(metadata_check(meta, &four, NULL), 0);
    assert_int_equal(unregister(meta, 4), 0);
    assert_int_equal(metadata_apply_as_in_log(meta, &made), -EAGAIN);
    assert_int_equal(metadata_apply_as_in_log(meta, &more), -EAGAIN);
    assert_int_equal(metadata_apply_as_in_log(meta, &moved), -EINVAL);
    assert_int_equal(metadata_apply_as_in_log(meta, &four), -EINVAL);
    assert_null(metadata_topic(meta, "bills"));
    assert_int_equal(metadata_topic(meta, "orders")->partitions, 1);
    assert_int_equal(orders(meta)->replicas.count, 3);
    assert_int_equal(metadata_default_factor(meta), 3);
}

/* It would stop for good at such a command. */
static void not_while_a_node_is_of_an_older_build(void **state)
{
    struct metadata *meta = *state;
    struct command cmd = unregister_command(meta, 4);
    assert_int_equal(metadata_check(meta, &cmd, NULL), 0);
    assert_int_equal(enrol_level(meta, 3, FEATURE_LEVEL_UNREGISTER - 1), 0);
    assert_int_equal(metadata_check(meta, &cmd, NULL), 0); /* one that is gone may never come back */
    set_fenced(meta, 3, false);
    assert_int_equal(metadata_check(meta, &cmd, NULL), -ETIMEDOUT);
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0); /* one that was decided before is a decision */
    assert_null(metadata_node(meta, 4));
}

static void a_snapshot_knows_nothing_of_it(void **state)
{
    struct metadata *meta = *state, read;
    struct snapshot first, second;
    struct snapshot_id id;
    struct err e = {""};
    assert_int_equal(unregister(meta, 4), 0);
    struct log_point end = {meta->next_offset, 0};
    assert_int_equal(snapshot_encode(meta, end, &first, &e), 0);
    metadata_init(&read, &root);
    if (snapshot_decode(&first, &read, &id, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(read.node_count, 3);
    assert_null(metadata_node(&read, 4));
    assert_int_equal(snapshot_encode(&read, end, &second, &e), 0);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    snapshot_free(&first);
    snapshot_free(&second);
    metadata_free(&read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_nothing_stands_on_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_comes_back_is_new_and_above_all_that_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(places_are_free_again, setup, teardown),
        cmocka_unit_test_setup_teardown(who_lives_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_voter_stays_and_so_does_who_is_to_be_one, setup, teardown),
        cmocka_unit_test_setup_teardown(who_has_a_replica_stays_until_it_is_moved_away, setup, teardown),
        cmocka_unit_test_setup_teardown(a_setting_that_wants_so_many_nodes_keeps_them, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_meant_for_it_at_the_same_moment_comes_to_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(not_while_a_node_is_of_an_older_build, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_knows_nothing_of_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
