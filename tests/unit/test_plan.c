/* tests/unit/test_plan.c: which replicas stay when a topic shall have fewer, and who comes when it shall have more. */
#include "replication/metadata/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "tests/unit/metadata_fixture.h"

/* Four nodes that live, and orders, whose three partitions have their replicas on 1, 2 and 3, each list in another
 * order. */
static int setup(void **state)
{
    static const struct tree_attr root = {.dir_mode = 0755, .file_mode = 0644};
    int32_t replicas[] = {1, 2, 3, 2, 3, 1, 3, 1, 2};
    struct command make = {.type = COMMAND_CREATE_TOPIC, .topic = "orders", .id = {7}, .partitions = 3};
    metadata_setup(state, &root);
    for (int32_t id = 1; id <= 4; id++) {
        struct command cmd = {.type = COMMAND_REGISTER_NODE,
                              .registration = {.id = id, .epoch = -1, .feature_level = FEATURE_LEVEL}};
        assert_int_equal(metadata_apply_as_in_log(*state, &cmd), 0);
    }
    make.replication_factor = 3;
    make.replicas = replicas;
    make.replica_count = 9;
    assert_int_equal(metadata_apply_as_in_log(*state, &make), 0);
    return 0;
}

static struct command on_orders(enum command_type type)
{
    return (struct command){.type = type, .topic = "orders", .id = {7}};
}

static void lead(struct metadata *meta, int32_t index, int32_t leader)
{
    struct command cmd = on_orders(COMMAND_CHANGE_PARTITIONS);
    struct err e = {""};
    assert_int_equal(plan_leader(&cmd, meta, index, leader, &e), 0);
    assert_int_equal(metadata_apply_as_in_log(meta, &cmd), 0);
    command_free(&cmd);
    assert_int_equal(metadata_topic(meta, "orders")->parts[index].leader, leader);
}

/* ids: of the three partitions' lists, one behind the other. */
static void factor_gives(struct metadata *meta, int32_t factor, ...)
{
    struct command cmd = on_orders(COMMAND_ASSIGN_REPLICAS);
    struct err e = {""};
    va_list ids;
    if (plan_factor(&cmd, meta, factor, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(metadata_check(meta, &cmd, &e), 0);
    assert_int_equal(cmd.replica_count, 3 * factor);
    va_start(ids, factor);
    for (int32_t i = 0; i < 3 * factor; i++)
        assert_int_equal(cmd.replicas[i], va_arg(ids, int));
    va_end(ids);
    command_free(&cmd);
}

/* interface.md: the last in the list that is not the leader goes first. */
static void fewer_are_without_the_last_that_does_not_lead(void **state)
{
    struct metadata *meta = *state;
    factor_gives(meta, 2, 1, 2, 2, 3, 3, 1);
    factor_gives(meta, 1, 1, 2, 3);
    lead(meta, 0, 3); /* the last one of 1, 2, 3 */
    lead(meta, 1, 3); /* the middle one of 2, 3, 1 */
    factor_gives(meta, 2, 1, 3, 2, 3, 3, 1);
    factor_gives(meta, 1, 3, 3, 3);
    factor_gives(meta, 3, 1, 2, 3, 2, 3, 1, 3, 1, 2);
}

/* Those that it shall have count, while it moves to them. */
static void a_move_that_is_under_way_is_gone_on_with(void **state)
{
    struct metadata *meta = *state;
    int32_t target[] = {4, 2};
    struct command move = on_orders(COMMAND_ASSIGN_REPLICAS);
    move.partition = 0;
    move.replication_factor = move.replica_count = 2;
    move.replicas = target;
    assert_int_equal(metadata_apply_as_in_log(meta, &move), 0);
    assert_int_equal(metadata_topic(meta, "orders")->parts[0].target.count, 2);
    factor_gives(meta, 2, 4, 2, 2, 3, 3, 1);
    factor_gives(meta, 1, 4, 2, 3);
}

static void more_come_behind_those_that_are_there(void **state)
{
    struct metadata *meta = *state;
    factor_gives(meta, 4, 1, 2, 3, 4, 2, 3, 1, 4, 3, 1, 2, 4);
}

static void what_there_cannot_be_is_refused(void **state)
{
    struct metadata *meta = *state;
    struct command cmd = on_orders(COMMAND_ASSIGN_REPLICAS);
    struct err e = {""};
    assert_int_equal(plan_factor(&cmd, meta, 0, &e), -EINVAL);
    assert_int_equal(plan_factor(&cmd, meta, 5, &e), -EINVAL);
    assert_string_equal(e.text, "replication factor 5 is more than the number of nodes, 4");
    assert_int_equal(plan_factor(&cmd, meta, LIMIT_REPLICAS + 1, &e), -EINVAL);
    cmd.id[0] = 8;
    assert_int_equal(plan_factor(&cmd, meta, 1, &e), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fewer_are_without_the_last_that_does_not_lead, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(a_move_that_is_under_way_is_gone_on_with, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(more_come_behind_those_that_are_there, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(what_there_cannot_be_is_refused, setup, metadata_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
