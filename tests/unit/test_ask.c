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

static void begin_asking(struct asked *asked, struct fixture *f)
{
    *asked = (struct asked){.op = {.groups = node_group_room(f->node),
                                   .ask = GROUP_ASK_GROUP,
                                   .group = "kitchen",
                                   .timeout_ms = 1000,
                                   .done = on_asked}};
    assert_int_equal(group_op_submit(&asked->op), 0);
}

/* Before whichever of its works. */
static void who_asks_is_answered_however_long_the_node_stands_still(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    int works = 0, done;
    make(f, "orders");
    make_group(f);
    do {
        begin_asking(&asked, f);
        for (done = 0; done < works && asked.calls == 0; done++)
            assert_true(hand_step(&hand));
        pass(f, 5000);
        executor_settle(&hand.executor);
        assert_int_equal(asked.calls, 1);
        assert_int_equal(asked.rc, 0);
        group_op_free(&asked.op);
        works++;
    } while (done == works - 1);
    assert_true(works > 2);
}

static void who_is_not_answered_waits_no_longer_than_he_said(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    make(f, "orders");
    make_group(f);
    group_hands_lose(node_group_room(f->node), true, false);
    int64_t begun_ms = f->clock.clock.mono_ms(&f->clock.clock);
    begin_asking(&asked, f);
    pass_until(asked.calls == 1);
    assert_int_equal(asked.rc, -ETIMEDOUT);
    assert_in_range(f->clock.clock.mono_ms(&f->clock.clock) - begun_ms, 1000, 1100);
    group_op_free(&asked.op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_asks_is_answered_however_long_the_node_stands_still, setup_one,
                                        teardown_one),
        cmocka_unit_test_setup_teardown(who_is_not_answered_waits_no_longer_than_he_said, setup_one, teardown_one),
        cmocka_unit_test_setup_teardown(an_answer_that_lost_a_piece_is_not_taken_for_whole, setup_one, teardown_one),
    };
    return cmocka_run_group_tests_name("ask", tests, NULL, NULL);
}
