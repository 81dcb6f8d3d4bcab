/* tests/unit/test_ask.c: what is asked of a coordinator whose answers the test gives: within a turn, as nothing else
 * happens meanwhile. */
#include "tests/unit/one_thread.h"

#include "replication/group/groups_internal.h"
#include "tests/unit/group_hands.h"

struct asked {
    struct group_op op;
    int calls, rc;
};

static void on_asked(struct group_op *op, int rc)
{
    struct asked *asked = CONTAINER_OF(op, struct asked, op);
    asked->calls++;
    asked->rc = rc;
}

/* A piece of the coordinator's answer, as it comes: with the row of one partition. */
static void tell_piece(struct fixture *f, struct asked *asked, uint32_t piece, int32_t partition, bool more)
{
    struct topic *topic = node_topic(f->node, "orders");
    struct group_told_row row = {.group = "kitchen", .partition = partition, .committed = 7};
    struct group_told told = {.ticket = asked->op.ticket,
                              .index = group_index("kitchen"),
                              .more = more,
                              .rows = &row,
                              .row_count = 1,
                              .version = group_piece(1, piece)};
    memcpy(row.topic_id, topic->id, UUID_BYTES);
    topic_unref(topic);
    assert_true(ops_told(asked->op.groups, &told));
}

static void an_answer_that_lost_a_piece_is_not_taken_for_whole(void **state)
{
    struct fixture *f = *state;
    struct groups *groups = node_group_room(f->node);
    struct asked asked = {
        .op = {.groups = groups, .ask = GROUP_ASK_GROUP, .group = "kitchen", .timeout_ms = 30000, .done = on_asked}};
    make(f, "orders");
    make_group(f);
    add_partitions(f, 3);
    group_hands_lose(groups, true, false);
    assert_int_equal(group_op_submit(&asked.op), 0);
    executor_settle(&hand.executor);
    assert_int_equal(asked.op.askings, 1);
    tell_piece(f, &asked, 0, 0, true);
    tell_piece(f, &asked, 2, 2, false);
    assert_int_equal(asked.calls, 0);
    tell_piece(f, &asked, 0, 0, true); /* what comes twice is there once */
    tell_piece(f, &asked, 1, 1, true);
    tell_piece(f, &asked, 2, 2, false);
    assert_int_equal(asked.calls, 1);
    assert_int_equal(asked.rc, 0);
    assert_int_equal(asked.op.row_count, 3);
    group_op_free(&asked.op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_that_lost_a_piece_is_not_taken_for_whole, setup_one, teardown_one),
    };
    return cmocka_run_group_tests_name("ask", tests, NULL, NULL);
}
