/* A replica whose log is offline after an error, or whose disk hangs, leads no more and is in sync no more, whether
 * anybody appends or not; what others have goes on: REPLICATION.md, rules 52 and 56. */
#include "tests/unit/cluster_orders.h"

#include "engine/log/log_internal.h"

static int32_t other_than(int32_t id)
{
    return id % 3 + 1;
}

static void fail_log(int32_t id)
{
    atomic_store(&c->nodes[id].disk.fdatasync_rc, -EIO);
    assert_int_equal(log_flush_files(partition_at(id)->log), -EIO);
    atomic_store(&c->nodes[id].disk.fdatasync_rc, 0);
    assert_int_equal(log_offline(partition_at(id)->log), -EIO);
}

static void append_is_there_soon(int32_t at, int number)
{
    struct appended appended;
    append_at(at, &appended, number);
    cluster_await(c, 2000, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
}

static void flush_at(int32_t id, struct flushed *flushed)
{
    *flushed = (struct flushed){.op = {.part = partition_at(id),
                                       .upto = partition_high_watermark(partition_at(id)).offset,
                                       .leader_epoch = -1,
                                       .timeout_ms = 30000,
                                       .done = on_flushed}};
    assert_in_range(partition_flush_submit(&flushed->op), 0, 0);
}

static bool is_in_sync(int32_t id, int32_t as_seen_at)
{
    struct partition_info info;
    partition_info(partition_at(as_seen_at), &info);
    return replica_set_has(&info.isr, id);
}

static void a_follower_leaves_though_nobody_appends(void **state)
{
    struct flushed flushed;
    (void)state;
    make_orders();
    append_is_there_soon(1, 1);
    int32_t leader = leader_at(1), id = other_than(leader);
    fail_log(id);
    cluster_await(c, 2000, !is_in_sync(id, leader));
    assert_int_equal(leader_at(leader), leader);
    flush_at(leader, &flushed);
    cluster_await(c, 2000, flushed.calls == 1);
    assert_int_equal(flushed.rc, 0);
    append_is_there_soon(leader, 2);
    cluster_pass(c, 15000); /* it does not come back by what was known of it */
    assert_false(is_in_sync(id, leader));
    cluster_stop(c, id);
    cluster_start(c, id);
    cluster_await(c, LONG_MS, isr_at(leader) == 3);
    append_is_there_soon(id, 3);
}

/* The leader's question itself meets the error. */
static void an_fsync_does_not_wait_for_a_follower_that_fails_at_it(void **state)
{
    struct flushed flushed;
    (void)state;
    make_orders();
    append_is_there_soon(1, 1);
    int32_t leader = leader_at(1), id = other_than(leader);
    atomic_store(&c->nodes[id].disk.fdatasync_rc, -EIO);
    flush_at(leader, &flushed);
    cluster_await(c, 2000, log_offline(partition_at(id)->log) != 0);
    atomic_store(&c->nodes[id].disk.fdatasync_rc, 0);
    cluster_await(c, 2000, flushed.calls == 1);
    assert_int_equal(flushed.rc, 0);
    assert_int_equal(leader_at(leader), leader);
}

static void a_leader_hands_over_though_nobody_appends(void **state)
{
    struct flushed flushed;
    (void)state;
    make_orders();
    append_is_there_soon(1, 1);
    int32_t leader = leader_at(1), other = other_than(leader);
    fail_log(leader);
    cluster_await(c, 2000, leader_at(other) != leader && leader_at(other) != LEADER_NONE);
    assert_false(is_in_sync(leader, other));
    append_is_there_soon(leader, 2); /* the old leader is not waited for */
    append_is_there_soon(other, 3);
    flush_at(leader, &flushed);
    cluster_await(c, 2000, flushed.calls == 1);
    assert_int_equal(flushed.rc, 0);
}

static void a_leader_that_fails_at_an_append_is_not_waited_for(void **state)
{
    struct appended appended;
    (void)state;
    make_orders();
    append_is_there_soon(1, 1);
    int32_t leader = leader_at(1), other = other_than(leader);
    fail_log(leader);
    append_at(other, &appended, 2); /* before the next beat */
    cluster_await(c, 400, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
    assert_false(is_in_sync(leader, other));
}

/* Of the last ISR, it is asked what its log has, which there was no room to open: the turn that sends its heartbeats
 * opens none, and the answer comes once it is open. */
static void a_log_is_opened_for_an_election_off_the_turn_of_heartbeats(void **state)
{
    static struct last_isr_message msg;
    static uint8_t header[LAST_ISR_MESSAGE_BYTES];
    (void)state;
    int32_t id = cluster_follower(c), leader = cluster_leader(c);
    struct node *node = c->nodes[id].node;
    atomic_store(&c->nodes[id].disk.mkdir_rc, -ENOSPC);
    assert_int_equal(cluster_mkdir(c, leader, "orders"), 0);
    cluster_await(c, LONG_MS, partition_at(id) != NULL);
    assert_null(partition_at(id)->log);
    msg = (struct last_isr_message){.round = 1, .node_epoch = -1, .count = 1};
    memcpy(msg.found[0].topic_id, partition_at(id)->topic->id, UUID_BYTES);
    size_t len = last_isr_encode(&msg, header);
    struct frame *frame = calloc(1, sizeof *frame + len);
    frame->kind = MESSAGE_LAST_ISR;
    frame->header_bytes = (uint32_t)len;
    frame->header = (uint8_t *)(frame + 1);
    memcpy(frame->header, header, len);
    struct transport_events events = network_events(&node->network);
    events.frame(events.arg, leader, CHANNEL_CONTROL, frame);
    atomic_store(&c->nodes[id].disk.mkdir_rc, 0);
    uint64_t frames = c->network.frames;
    assert_true(hand_step(&c->nodes[id].hand));
    assert_null(partition_at(id)->log);
    assert_int_equal(c->network.frames, frames);
    assert_true(hand_step(&c->nodes[id].hand));
    assert_non_null(partition_at(id)->log);
    assert_int_equal(c->network.frames, frames + 1);
}

/* An election that comes before it could withdraw. */
static void who_is_made_leader_hands_over(void **state)
{
    struct cluster_op op;
    (void)state;
    make_orders();
    append_is_there_soon(1, 1);
    int32_t leader = leader_at(1), made = other_than(leader), third = other_than(made);
    fail_log(made);
    assert_int_equal(
        cluster_op_end(c, &op, node_set_leader(c->nodes[third].node, cluster_op_init(&op), "orders", 0, made)), 0);
    append_is_there_soon(third, 2);
    assert_int_not_equal(leader_at(third), made);
    assert_false(is_in_sync(made, third));
}

/* What it has may be nowhere else. */
static void who_is_alone_in_sync_stays_until_it_is_started_again(void **state)
{
    struct appended appended;
    struct cluster_op op;
    (void)state;
    assert_int_equal(
        cluster_op_end(
            c, &op, node_set_config(c->nodes[1].node, cluster_op_init(&op), NULL, "default.replication.factor", "2")),
        0);
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    cluster_await(c, LONG_MS, leader_at(1) != LEADER_NONE);
    int32_t leader = leader_at(1), other = partition_at(1)->registration.replicas.ids[1], third = 6 - leader - other;
    assert_int_not_equal(leader, other);
    fail_log(other);
    cluster_await(c, 2000, isr_at(leader) == 1);
    append_is_there_soon(leader, 1);
    fail_log(leader);
    cluster_pass(c, 3000);
    assert_int_equal(leader_at(other), leader);
    cluster_stop(c, leader);
    cluster_start(c, leader);
    append_at(third, &appended, 2);
    cluster_await(c, LONG_MS, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
}

/* A decision of the controller's. */
static void shrink_isr_to(int32_t id)
{
    struct partition_change change = {.to = partition_at(id)->registration};
    struct command cmd = {.type = COMMAND_CHANGE_PARTITIONS, .changes = &change, .change_count = 1};
    struct quorum_op op = {.timeout_ms = 30000, .done = cluster_registered};
    memcpy(change.topic_id, partition_at(id)->topic->id, UUID_BYTES);
    change.to.isr = (struct replica_set){0};
    replica_set_add(&change.to.isr, id);
    change.to.partition_epoch++;
    for (int i = 0; i < LIMIT_REPLICA_SET; i++)
        change.isr_epochs[i] = -1;
    assert_int_equal(quorum_submit(&c->nodes[id].node->quorum, &op, &cmd), 0);
    cluster_await(c, 1000, op.proposal == NULL);
    cluster_await(c, 1000, isr_at(id) == 1);
}

/* Another leader was to answer it, and there is none to come any more. */
static void who_comes_to_be_alone_in_sync_answers_what_waits(void **state)
{
    struct appended appended;
    (void)state;
    make_orders();
    append_is_there_soon(1, 1);
    int32_t leader = leader_at(1), one = other_than(leader), two = other_than(one);
    fail_log(one);
    fail_log(two);
    append_at(leader, &appended, 2);
    fail_log(leader);
    assert_int_equal(appended.calls, 0);
    shrink_isr_to(leader);
    cluster_await(c, 400, appended.calls == 1);
    assert_int_equal(appended.rc, -ETIMEDOUT);
}

/* So many beats with the log at the same write or flush: whoever is at it has its lock. */
static void hang(int32_t id)
{
    struct partition *part = partition_at(id);
    log_lock(part->log);
    for (int i = 0; i <= LIMIT_STUCK_MS / LIMIT_BEAT_MS; i++)
        partition_replica_tick(part);
    log_unlock(part->log);
    cluster_settle(c);
}

static void a_leader_whose_disk_hangs_is_not_waited_for(void **state)
{
    struct appended appended;
    (void)state;
    make_orders();
    append_is_there_soon(1, 1);
    int32_t leader = leader_at(1), other = other_than(leader);
    hang(leader);
    assert_int_not_equal(leader_at(other), leader);
    assert_false(is_in_sync(leader, other));
    append_at(other, &appended, 2);
    cluster_await(c, 400, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
    cluster_await(c, LONG_MS, isr_at(leader_at(other)) == 3); /* its disk goes on */
}

static void a_follower_whose_disk_hangs_is_not_waited_for(void **state)
{
    (void)state;
    make_orders();
    append_is_there_soon(1, 1);
    int32_t leader = leader_at(1), id = other_than(leader);
    hang(id);
    assert_false(is_in_sync(id, leader));
    append_is_there_soon(leader, 2);
    cluster_await(c, LONG_MS, isr_at(leader) == 3);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(a_follower_leaves_though_nobody_appends),
        STORY(a_log_is_opened_for_an_election_off_the_turn_of_heartbeats),
        STORY(an_fsync_does_not_wait_for_a_follower_that_fails_at_it),
        STORY(a_leader_hands_over_though_nobody_appends),
        STORY(a_leader_that_fails_at_an_append_is_not_waited_for),
        STORY(who_is_made_leader_hands_over),
        STORY(who_is_alone_in_sync_stays_until_it_is_started_again),
        STORY(who_comes_to_be_alone_in_sync_answers_what_waits),
        STORY(a_leader_whose_disk_hangs_is_not_waited_for),
        STORY(a_follower_whose_disk_hangs_is_not_waited_for),
    };
    return cmocka_run_group_tests_name("replicas that are offline", tests, NULL, NULL);
}
