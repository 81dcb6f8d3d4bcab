/* Appends on a node that does not lead the partition: they reach the leader and come back, over links that end and
 * leaders that change. */
#include "replication/wire/forward_message.h"
#include "tests/unit/two_nodes.h"

static const struct replica_set both = {.count = 2, .ids = {1, 2}};

static struct replica_set alone(int32_t id)
{
    return (struct replica_set){.count = 1, .ids = {id}};
}

struct appended {
    struct append_op op;
    int calls, rc;
};

static int order;

static void on_appended(struct append_op *op, int rc)
{
    struct appended *appended = CONTAINER_OF(op, struct appended, op);

    appended->calls++;
    appended->rc = rc;
    order++;
}

static int append_at(struct pair *pair, int id, struct appended *appended, const char *lines, enum acks acks)
{
    *appended = (struct appended){.op.done = on_appended};
    return append_to(&pair->ends[id].f, partition_of(pair, id, "orders"), lines, acks, &appended->op, NULL);
}

static void ends_with(const struct appended *appended, int rc)
{
    assert_int_equal(appended->calls, 1);
    assert_int_equal(appended->rc, rc);
}

/* Node 1 leads, alone in sync. */
static struct pair *led_by_one(void **state)
{
    struct pair *pair = *state;

    make_topic(pair, "orders");
    led_by(pair, 1, "orders", 1, 5, alone(1));
    settle(pair);
    order = 0;
    return pair;
}

static void an_append_reaches_the_leader_and_comes_back(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second;

    assert_int_equal(append_at(pair, 2, &first, "a\nb\n", ACKS_ALL), 0);
    settle(pair);
    ends_with(&first, 0);
    assert_int_equal(first.op.result.base.offset, 0);
    assert_int_equal(first.op.result.end.offset, 2);
    assert_int_equal(first.op.result.end.position, 4);
    assert_int_equal(append_at(pair, 2, &second, "c\n", ACKS_LEADER), 0);
    settle(pair);
    ends_with(&second, 0);
    assert_int_equal(second.op.result.end.offset, 3);
    assert_content(&pair->ends[1].f, "orders", "a\nb\nc\n");
    assert_int_equal(atomic_load(&pair->ends[2].f.node->replicas.parked_bytes), 0);
    assert_int_equal(atomic_load(&pair->ends[2].f.node->replicas.appends_parked), 0);
}

static void acks_0_waits_for_nothing(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended none;

    assert_int_equal(append_at(pair, 2, &none, "a\n", ACKS_NONE), 1);
    settle(pair);
    assert_int_equal(none.calls, 0);
    assert_content(&pair->ends[1].f, "orders", "a\n");
}

/* ---- acks=0 and fsync ---- */

struct flushed {
    struct flush_op op;
    int calls, rc;
};

static void on_flushed(struct flush_op *op, int rc)
{
    struct flushed *flushed = CONTAINER_OF(op, struct flushed, op);

    flushed->calls++;
    flushed->rc = rc;
}

/* By a program that knows of nothing that it has written but that it has. */
static void flush_at(struct pair *pair, int id, struct flushed *flushed)
{
    int rc;

    *flushed = (struct flushed){
        .op = {.part = partition_of(pair, id, "orders"), .leader_epoch = -1, .timeout_ms = 30000, .done = on_flushed}};
    rc = partition_flush_submit(&flushed->op);
    if (rc != 0) {
        on_flushed(&flushed->op, rc < 0 ? rc : 0);
    }
}

static void an_fsync_waits_for_what_acks_0_has_not_sent(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended none;
    struct flushed first, second, third;

    set_link(pair, false);
    assert_int_equal(append_at(pair, 2, &none, "a\n", ACKS_NONE), 1);
    flush_at(pair, 2, &first);
    flush_at(pair, 2, &second);
    settle(pair);
    assert_int_equal(first.calls + second.calls, 0);
    set_link(pair, true);
    settle(pair);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.rc, 0);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.rc, 0);
    assert_int_equal(log_recovery_point(partition_of(pair, 1, "orders")->log), 1);
    /* And for one that was over before it came. */
    assert_int_equal(append_at(pair, 2, &none, "b\n", ACKS_NONE), 1);
    settle(pair);
    assert_int_equal(log_recovery_point(partition_of(pair, 1, "orders")->log), 1);
    flush_at(pair, 2, &third);
    settle(pair);
    assert_int_equal(third.calls, 1);
    assert_int_equal(third.rc, 0);
    assert_int_equal(log_recovery_point(partition_of(pair, 1, "orders")->log), 2);
}

static void what_an_fsync_that_is_given_up_was_to_be_told_is_for_the_next(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended none;
    struct flushed flushed;

    led_by(pair, 1, "orders", LEADER_NONE, 6, (struct replica_set){.count = 0});
    assert_int_equal(append_at(pair, 2, &none, "a\n", ACKS_NONE), 1);
    flush_at(pair, 2, &flushed);
    settle(pair);
    assert_int_equal(flushed.calls, 0);
    partition_flush_give_up(&flushed.op);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, -EINTR);
    time_passes(pair, 30000);
    assert_int_equal(flushed.calls, 1);
    flush_at(pair, 2, &flushed);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, -EROFS);
}

static void an_fsync_is_told_once_what_acks_0_has_lost(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended none;
    struct flushed flushed;

    led_by(pair, 1, "orders", LEADER_NONE, 6, (struct replica_set){.count = 0});
    assert_int_equal(append_at(pair, 2, &none, "a\n", ACKS_NONE), 1);
    flush_at(pair, 2, &flushed);
    time_passes(pair, 30000);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, -EROFS);
    led_by(pair, 1, "orders", 1, 7, alone(1));
    flush_at(pair, 2, &flushed);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, 0);
    /* While nobody waits it is for the next one. */
    led_by(pair, 1, "orders", LEADER_NONE, 8, (struct replica_set){.count = 0});
    assert_int_equal(append_at(pair, 2, &none, "b\n", ACKS_NONE), 1);
    time_passes(pair, 30000);
    led_by(pair, 1, "orders", 1, 9, alone(1));
    flush_at(pair, 2, &flushed);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, -EROFS);
    flush_at(pair, 2, &flushed);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, 0);
}

/* The leader that acknowledged it has not told the others: the next one's log has none of it. */
static void an_fsync_tells_what_a_leader_has_taken_along_of_acks_0(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended none;
    struct flushed flushed;

    assert_int_equal(append_at(pair, 2, &none, "a\n", ACKS_NONE), 1);
    settle(pair);
    led_by(pair, 2, "orders", 2, 6, alone(2));
    assert_int_equal(append_at(pair, 2, &none, "b\n", ACKS_NONE), 1);
    settle(pair);
    flush_at(pair, 2, &flushed);
    settle(pair);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, -EIO);
    flush_at(pair, 2, &flushed);
    settle(pair);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, 0);
}

static void what_comes_together_travels_together(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended all[40];
    char expected[200] = "", line[16];

    for (int i = 0; i < 40; i++) {
        snprintf(line, sizeof line, "%d\n", i);
        strcat(expected, line);
        assert_int_equal(append_at(pair, 2, &all[i], line, ACKS_ALL), 0);
    }
    settle(pair);
    for (int i = 0; i < 40; i++) {
        ends_with(&all[i], 0);
        assert_int_equal(all[i].op.result.base.offset, i);
    }
    assert_content(&pair->ends[1].f, "orders", expected);
    assert_int_equal(pair->ends[1].received[MESSAGE_APPEND], LIMIT_FORWARD_REQUESTS + 1);
    assert_int_equal(pair->ends[2].received[MESSAGE_APPEND_ANSWER], LIMIT_FORWARD_REQUESTS + 1);
}

static void an_answer_that_is_lost_doubles_nothing(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second;

    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    assert_int_equal(append_at(pair, 2, &second, "b\n", ACKS_ALL), 0);
    while (wire_deliver(&pair->ends[1])) {
    }
    while (hand_step(&pair->ends[1].hand)) {
    }
    assert_content(&pair->ends[1].f, "orders", "a\nb\n");
    set_link(pair, false);
    settle(pair);
    assert_true(partition_append_is_in_log(&first.op));
    assert_false(partition_append_cancel(&first.op));
    assert_int_equal(first.calls, 0);
    set_link(pair, true);
    settle(pair);
    ends_with(&first, 0);
    ends_with(&second, 0);
    assert_in_range(second.op.result.end.offset, 2, 2);
    assert_content(&pair->ends[1].f, "orders", "a\nb\n");
}

static void a_leader_that_changes_gets_what_waits(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second, third;

    led_by(pair, 1, "orders", 1, 6, both); /* and the other fetches nothing */
    assert_int_equal(append_at(pair, 1, &first, "a\n", ACKS_ALL), 0);
    assert_int_equal(append_at(pair, 1, &second, "b\n", ACKS_ALL), 0);
    settle(pair);
    assert_true(partition_append_is_in_log(&first.op));
    led_by(pair, 1, "orders", 2, 7, alone(2));
    assert_int_equal(append_at(pair, 1, &third, "c\n", ACKS_ALL), 0);
    settle(pair);
    time_passes(pair, LIMIT_FORWARD_PAUSE_MS);
    ends_with(&first, 0);
    ends_with(&second, 0);
    ends_with(&third, 0);
    assert_content(&pair->ends[2].f, "orders", "a\nb\nc\n");
}

/* It comes back to lead with what it had: its own log knows them. */
static void a_leader_that_leads_again_takes_nothing_twice(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second, third;

    led_by(pair, 1, "orders", 1, 6, both);
    assert_int_equal(append_at(pair, 1, &first, "a\n", ACKS_ALL), 0);
    set_link(pair, false);
    settle(pair);
    led_by(pair, 1, "orders", 2, 7, both);
    assert_int_equal(append_at(pair, 1, &second, "b\n", ACKS_ALL), 0);
    settle(pair);
    led_by(pair, 1, "orders", 1, 8, alone(1));
    settle(pair);
    ends_with(&first, 0);
    ends_with(&second, 0);
    assert_content(&pair->ends[1].f, "orders", "a\nb\n");
    /* All is over: straight to the log from here on. */
    assert_int_equal(append_at(pair, 1, &third, "c\n", ACKS_ALL), 1);
    assert_content(&pair->ends[1].f, "orders", "a\nb\nc\n");
}

static void without_a_leader_it_waits_and_fails_for_certain(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second, third;

    led_by(pair, 1, "orders", LEADER_NONE, 6, (struct replica_set){.count = 0});
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    assert_int_equal(append_at(pair, 2, &second, "b\n", ACKS_ALL), 0);
    settle(pair);
    assert_false(partition_append_is_in_log(&second.op));
    assert_true(partition_append_cancel(&second.op));
    time_passes(pair, 29999);
    assert_int_equal(first.calls, 0);
    time_passes(pair, 1);
    ends_with(&first, -EROFS);
    assert_int_equal(append_at(pair, 2, &third, "c\n", ACKS_ALL), -EROFS);
    led_by(pair, 1, "orders", 1, 7, alone(1));
    assert_int_equal(append_at(pair, 2, &third, "c\n", ACKS_ALL), 0);
    settle(pair);
    ends_with(&third, 0);
    assert_int_equal(second.calls, 0);
    assert_content(&pair->ends[1].f, "orders", "c\n");
}

static void what_was_sent_and_never_answered_may_be_there(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first;

    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    pair->held = true;
    time_passes(pair, 30000);
    ends_with(&first, -ETIMEDOUT);
    assert_int_equal(append_at(pair, 2, &first, "b\n", ACKS_ALL), -EROFS);
    /* It was only slow. */
    pair->held = false;
    settle(pair);
    assert_int_equal(append_at(pair, 2, &first, "c\n", ACKS_ALL), 0);
    settle(pair);
    ends_with(&first, 0);
    assert_content(&pair->ends[1].f, "orders", "a\nc\n");
}

/* The leader's end of the wait comes first, and is certain. */
static void too_few_in_sync_is_certain(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first;

    atomic_store(&partition_of(pair, 1, "orders")->settings.min_insync_config, 2); /* as a setting */
    led_by(pair, 1, "orders", 1, 6, alone(1));
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    settle(pair);
    time_passes(pair, 29500);
    ends_with(&first, -EROFS);
    assert_content(&pair->ends[1].f, "orders", "");
}

static int64_t end_at(struct pair *pair, int id)
{
    return log_end(partition_of(pair, id, "orders")->log).offset;
}

/* What is under way to a node arrives, and that node does what there is to be done; the other one stands still. */
static void arrive(struct pair *pair, int id)
{
    pair->held = false;
    do {
        while (hand_step(&pair->ends[id].hand)) {
        }
    } while (wire_deliver(&pair->ends[id]));
}

/* REPLICATION.md, rule 37: it was sent to the leader of the epoch before, and is taken once, in the one in which it is
 * sent again. */
static void what_was_meant_for_an_earlier_epoch_is_not_taken(void **state)
{
    struct pair *pair = led_by_one(state);
    const struct partition_registration next = {
        .replicas = both, .isr = alone(1), .leader = 1, .leader_epoch = 6, .partition_epoch = 6};
    struct appended first;

    pair->held = true;
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    settle(pair);
    partition_set_registration(partition_of(pair, 1, "orders"), &next);
    arrive(pair, 1);
    assert_true(partition_leads(partition_of(pair, 1, "orders")));
    assert_int_equal(pair->ends[1].received[MESSAGE_APPEND], 1);
    assert_int_equal(end_at(pair, 1), 0);
    partition_set_registration(partition_of(pair, 2, "orders"), &next);
    settle(pair);
    ends_with(&first, 0);
    assert_content(&pair->ends[1].f, "orders", "a\n");
}

static void register_at(struct pair *pair, int id, int32_t registered)
{
    decide(pair, id, &(struct command){.type = COMMAND_REGISTER_NODE, .registration = {.id = registered, .epoch = -1}});
}

/* The same rule: its node runs as another process by now. */
static void a_process_that_was_replaced_appends_no_more(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second;

    register_at(pair, 1, 2);
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    settle(pair);
    assert_true(pair->ends[1].received[MESSAGE_APPEND] > 0);
    assert_int_equal(end_at(pair, 1), 0);
    time_passes(pair, 30000);
    ends_with(&first, -EROFS);
    /* As the later one. */
    while (manager_node_epoch(&pair->ends[2].f.node->replicas) <
           metadata_node(&pair->ends[1].f.node->quorum.meta, 2)->epoch) {
        register_at(pair, 2, 2);
    }
    led_by(pair, 1, "orders", 1, 6, alone(1));
    settle(pair);
    assert_int_equal(append_at(pair, 2, &second, "b\n", ACKS_ALL), 0);
    settle(pair);
    ends_with(&second, 0);
    assert_content(&pair->ends[1].f, "orders", "b\n");
}

static void one_that_is_refused_holds_up_no_other(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second, third;

    atomic_store(&partition_of(pair, 1, "orders")->settings.compact, true);
    assert_int_equal(append_at(pair, 2, &first, "no key\n", ACKS_ALL), 0);
    assert_int_equal(append_at(pair, 2, &second, "neither\n", ACKS_ALL), 0);
    settle(pair);
    ends_with(&first, -EINVAL);
    ends_with(&second, -EINVAL);
    atomic_store(&partition_of(pair, 1, "orders")->settings.compact, false);
    assert_int_equal(append_at(pair, 2, &third, "c\n", ACKS_ALL), 0);
    settle(pair);
    ends_with(&third, 0);
    assert_content(&pair->ends[1].f, "orders", "c\n");
}

static void a_topic_that_is_deleted_ends_them(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first;
    struct command cmd = {.type = COMMAND_DELETE_TOPIC, .topic = "orders", .id = {7, 7, 7}, .time_ms = 1764201600000};

    pair->held = true;
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    decide(pair, 2, &cmd);
    ends_with(&first, -ESTALE);
    pair->held = false;
    settle(pair);
}

static void the_dying_need_not_wait(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second;

    pair->held = true;
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    assert_int_equal(append_at(pair, 2, &second, "b\n", ACKS_ALL), 0);
    assert_true(partition_append_forget(&first.op));
    pair->held = false;
    settle(pair);
    assert_int_equal(first.calls, 0);
    ends_with(&second, 0);
    assert_content(&pair->ends[1].f, "orders", "a\nb\n");
}

/* This node is in sync: what its mount has written shows on it at once, so the answer waits for that. */
static void what_was_acknowledged_waits_until_it_shows_here(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first, second;

    /* As the other node knows it; the leader commits by itself. */
    led_by(pair, 2, "orders", 1, 6, both);
    const struct partition_registration alone_there = {
        .replicas = both, .isr = alone(1), .leader = 1, .leader_epoch = 6, .partition_epoch = 7};
    partition_set_registration(partition_of(pair, 1, "orders"), &alone_there);
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    settle(pair);
    assert_int_equal(first.calls, 0);
    time_passes(pair, LIMIT_SHOW_MS);
    ends_with(&first, 0);
    assert_int_equal(append_at(pair, 2, &second, "b\n", ACKS_LEADER), 0);
    settle(pair);
    ends_with(&second, 0);
}

/* The sender has not heard yet that others are in sync with the leader, nor that one of them leads now. */
static void what_is_in_the_log_of_a_leader_that_is_deposed_may_be_there(void **state)
{
    struct pair *pair = led_by_one(state);
    struct partition *leader = partition_of(pair, 1, "orders");
    struct partition_registration registration = {
        .replicas = both, .isr = both, .leader = 1, .leader_epoch = 5, .partition_epoch = 6};
    struct appended first;

    partition_set_registration(leader, &registration);
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    settle(pair);
    assert_int_equal(partition_log_end(leader).offset, 1);
    registration.leader = 2;
    registration.leader_epoch = 6;
    registration.partition_epoch = 7;
    partition_set_registration(leader, &registration);
    settle(pair);
    assert_int_equal(first.calls, 0);
    assert_true(partition_append_is_in_log(&first.op));
    time_passes(pair, 30000);
    ends_with(&first, -ETIMEDOUT);
}

/* What is not in its log is for when it is back. */
static void what_a_leader_that_stops_has_held_waits_for_the_next_one(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first;

    atomic_store(&partition_of(pair, 1, "orders")->settings.min_insync_config, 2);
    led_by(pair, 1, "orders", 1, 6, alone(1));
    assert_int_equal(append_at(pair, 2, &first, "a\n", ACKS_ALL), 0);
    settle(pair);
    partition_quit(partition_of(pair, 1, "orders"));
    while (wire_deliver(&pair->ends[2]) || hand_step(&pair->ends[2].hand)) {
    }
    assert_int_equal(first.calls, 0);
    assert_false(partition_append_is_in_log(&first.op));
    atomic_store(&partition_of(pair, 1, "orders")->settings.min_insync_config, 1);
    led_by(pair, 1, "orders", 1, 7, alone(1));
    time_passes(pair, LIMIT_FORWARD_PAUSE_MS);
    ends_with(&first, 0);
    assert_content(&pair->ends[1].f, "orders", "a\n");
}

/* ---- a leadership that ends while an append is about to be held ---- */

static struct pair *deposed_pair;

/* As hand_mono_ms(). The clock is read right before an append is put where it waits: meanwhile another one leads. */
static int64_t deposed_now(struct clock *clock)
{
    struct pair *pair = deposed_pair;

    pair->ends[1].f.clock.clock.mono_ms = hand_mono_ms;
    led_by(pair, 1, "orders", 2, 7, alone(2));
    return hand_mono_ms(clock);
}

static void what_comes_to_be_held_as_the_leadership_ends_is_sent_on(void **state)
{
    struct pair *pair = led_by_one(state);
    struct appended first;

    atomic_store(&partition_of(pair, 1, "orders")->settings.min_insync_config, 2);
    led_by(pair, 1, "orders", 1, 6, alone(1));
    deposed_pair = pair;
    pair->ends[1].f.clock.clock.mono_ms = deposed_now;
    assert_int_equal(append_at(pair, 1, &first, "a\n", ACKS_ALL), 0);
    settle(pair);
    time_passes(pair, LIMIT_FORWARD_PAUSE_MS);
    ends_with(&first, 0);
    assert_content(&pair->ends[2].f, "orders", "a\n");
}

/* A seal holds all acks, and ends with the leader's next epoch: what comes before the held ones have gone on comes
 * behind them, and so does what comes when too few are in sync for acks=all. */
static void what_was_held_goes_before_what_comes_when_nothing_is_held_any_more(void **state)
{
    struct pair *pair = led_by_one(state);
    struct partition *leader = partition_of(pair, 1, "orders");
    struct partition_request request = {.head = {.leader_epoch = 5}, .epoch = SEAL_EMPTY, .upto = LIMIT_SEAL_MS};
    struct partition_answer answer;
    struct appended first, none, second, third;

    assert_int_equal(partition_seal(leader, &request, &answer), 0);
    assert_int_equal(answer.upto, 0);
    assert_int_equal(append_at(pair, 1, &first, "a\n", ACKS_LEADER), 0);
    assert_int_equal(append_at(pair, 1, &none, "b\n", ACKS_NONE), 0);
    atomic_store(&leader->settings.min_insync_config, 2);
    led_by(pair, 1, "orders", 1, 6, alone(1));
    assert_false(partition_is_held(leader));
    assert_int_equal(append_at(pair, 1, &second, "c\n", ACKS_LEADER), 0);
    settle(pair);
    ends_with(&first, 0);
    ends_with(&none, 0);
    ends_with(&second, 0);
    assert_int_equal(append_at(pair, 1, &third, "d\n", ACKS_LEADER), 1);
    atomic_store(&leader->settings.min_insync_config, 1); /* so that it shows */
    led_by(pair, 1, "orders", 1, 7, alone(1));
    settle(pair);
    assert_content(&pair->ends[1].f, "orders", "a\nb\nc\nd\n");
}

/* As the teardown does: what others wait for there ends with it. */
static void a_leader_that_stops_lets_go(void **state)
{
    struct pair *pair = led_by_one(state);
    static struct appended held, sent;

    led_by(pair, 1, "orders", 1, 6, both);
    assert_int_equal(append_at(pair, 2, &sent, "a\n", ACKS_ALL), 0);
    settle(pair);
    atomic_store(&partition_of(pair, 1, "orders")->settings.min_insync_config, 2);
    led_by(pair, 1, "orders", 1, 7, alone(1));
    assert_int_equal(append_at(pair, 2, &held, "b\n", ACKS_ALL), 0);
    settle(pair);
    assert_int_equal(sent.calls + held.calls, 0);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)
    const struct CMUnitTest tests[] = {
        STORY(an_append_reaches_the_leader_and_comes_back),
        STORY(acks_0_waits_for_nothing),
        STORY(an_fsync_waits_for_what_acks_0_has_not_sent),
        STORY(an_fsync_is_told_once_what_acks_0_has_lost),
        STORY(what_an_fsync_that_is_given_up_was_to_be_told_is_for_the_next),
        STORY(an_fsync_tells_what_a_leader_has_taken_along_of_acks_0),
        STORY(what_comes_together_travels_together),
        STORY(an_answer_that_is_lost_doubles_nothing),
        STORY(a_leader_that_changes_gets_what_waits),
        STORY(a_leader_that_leads_again_takes_nothing_twice),
        STORY(without_a_leader_it_waits_and_fails_for_certain),
        STORY(what_was_sent_and_never_answered_may_be_there),
        STORY(what_was_meant_for_an_earlier_epoch_is_not_taken),
        STORY(a_process_that_was_replaced_appends_no_more),
        STORY(too_few_in_sync_is_certain),
        STORY(one_that_is_refused_holds_up_no_other),
        STORY(a_topic_that_is_deleted_ends_them),
        STORY(the_dying_need_not_wait),
        STORY(what_was_acknowledged_waits_until_it_shows_here),
        STORY(what_is_in_the_log_of_a_leader_that_is_deposed_may_be_there),
        STORY(what_a_leader_that_stops_has_held_waits_for_the_next_one),
        STORY(what_comes_to_be_held_as_the_leadership_ends_is_sent_on),
        STORY(what_was_held_goes_before_what_comes_when_nothing_is_held_any_more),
        STORY(a_leader_that_stops_lets_go),
    };

    return cmocka_run_group_tests_name("forwarding", tests, NULL, NULL);
}
