/* Who may come to lead next has all that anybody was promised: who is in sync or eligible, and who comes to be. And
 * what a node knows that comes back. */
#include "tests/unit/cluster_orders.h"

#include "engine/log/log_internal.h"

static void put_config(const char *name, const char *value)
{
    struct cluster_op op;
    bool topic = cluster_has(c, 1, "orders");
    assert_int_equal(cluster_op_end(c, &op,
                                    node_set_config(c->nodes[cluster_leader(c)].node, cluster_op_init(&op),
                                                    topic ? "orders" : NULL, name, value)),
                     0);
}

/* Two of the nodes have a replica, the third has none. */
static void make_orders_of_two(int32_t *leader, int32_t *follower, int32_t *elsewhere)
{
    put_config("default.replication.factor", "2");
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE && isr_at(id) == 2);
    *leader = leader_at(1);
    *follower = partition_at(1)->registration.replicas.ids[1];
    *elsewhere = 6 - *leader - *follower;
}

static void append_one(int32_t id, int number)
{
    struct appended appended;
    append_at(id, &appended, number);
    cluster_await(c, LONG_MS, appended.calls == 1);
    assert_int_equal(appended.rc, 0);
}

/* KIP-966: who left the ISR while that was too small to commit anything may lead as long as nothing is committed
 * without it. A smaller min.insync.replicas makes it large enough. */
static void what_is_committed_by_fewer_is_not_lost_to_who_was_eligible(void **state)
{
    struct appended tail;
    int32_t leader, follower, elsewhere;
    char text[64];
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    put_config("min.insync.replicas", "2");
    append_one(leader, 10);
    cluster_stop(c, follower);
    cluster_await(c, LONG_MS, isr_at(leader) == 1);
    assert_true(replica_set_has(&partition_at(leader)->registration.elr, follower));
    append_acks_at(leader, &tail, 11, ACKS_LEADER);
    assert_int_equal(tail.rc, 0);
    cluster_pass(c, 1000);
    assert_int_equal(partition_own_high_watermark(partition_at(leader)).offset, 1);
    put_config("min.insync.replicas", "1");
    append_one(elsewhere, 12);
    assert_int_equal(partition_own_high_watermark(partition_at(leader)).offset, 3);
    cluster_kill(c, leader);
    cluster_start(c, follower);
    cluster_pass(c, 10000);
    assert_int_equal(leader_at(elsewhere), LEADER_NONE);
    cluster_start(c, leader);
    cluster_await(c, LONG_MS, leader_at(elsewhere) == leader && isr_at(leader) == 2);
    text_of(partition_at(leader), text, sizeof text);
    assert_string_equal(text, "10\n11\n12\n");
}

static void flush_at(int32_t id, struct flushed *flushed)
{
    *flushed = (struct flushed){.op = {.part = partition_at(id),
                                       .upto = partition_own_high_watermark(partition_at(id)).offset,
                                       .leader_epoch = -1,
                                       .timeout_ms = 30000,
                                       .done = on_flushed}};
    int rc = partition_flush_submit(&flushed->op);
    if (rc != 0)
        on_flushed(&flushed->op, rc < 0 ? rc : 0);
}

/* What stat(2) tells is the same everywhere, also of a partition of which nothing is left to go by. */
static void a_replica_that_is_made_of_nothing_knows_when_the_last_append_was(void **state)
{
    struct cluster_op op;
    struct deleted deleted = {.op = {.position = INT64_MAX, .done = on_deleted}};
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    for (int32_t id = 1; id <= 3; id++)
        assert_int_equal(partition_mtime_ms(partition_at(id)), -1);
    cluster_pass(c, 5000);
    int64_t before_ms = hand_wall_ms(&c->clock.clock);
    append_one(leader, 10);
    int64_t last_ms = partition_mtime_ms(partition_at(leader));
    assert_in_range(last_ms, before_ms, hand_wall_ms(&c->clock.clock));
    cluster_pass(c, 5000);
    assert_int_equal(partition_delete_records(partition_at(leader), &deleted.op), 0);
    cluster_await(c, LONG_MS, deleted.calls == 1);
    assert_int_equal(deleted.rc, 0);
    const struct replica_set to = {.count = 3, .ids = {leader, follower, elsewhere}};
    assert_int_equal(node_assign_replicas(c->nodes[leader].node, cluster_op_init(&op), "orders", 0, &to), 0);
    cluster_await(c, LONG_MS, isr_at(elsewhere) == 3);
    for (int32_t id = 1; id <= 3; id++) {
        assert_int_equal(log_start(partition_at(id)->log).offset, 1);
        assert_int_equal(partition_mtime_ms(partition_at(id)), last_ms);
    }
    cluster_stop(c, elsewhere);
    cluster_start(c, elsewhere);
    cluster_await(c, LONG_MS, isr_at(elsewhere) == 3);
    assert_int_equal(partition_mtime_ms(partition_at(elsewhere)), last_ms);
}

/* As soon as it is known anywhere. */
static bool is_in_sync(int32_t id)
{
    for (int32_t at = 1; at <= 3; at++) {
        if (c->nodes[at].node != NULL && replica_set_has(&partition_at(at)->registration.isr, id))
            return true;
    }
    return false;
}

/* One thing happens, of each node and of the network in turn; time goes by where there is none, and now and then. */
static void step(void)
{
    static int turn;
    bool done = false;
    for (int tries = 0; tries < 4 && !done; tries++) {
        int which = turn++ % 4;
        done = which == 0 ? memory_step(&c->network) : c->nodes[which].node != NULL && hand_step(&c->nodes[which].hand);
    }
    if (!done || turn % 50 == 0)
        atomic_fetch_add(&c->clock.passed_ms, 1);
}

/* Who had it on their disks are replicas no more then. */
static void a_replica_that_comes_has_on_its_disk_what_was_flushed(void **state)
{
    struct cluster_op op;
    struct flushed flushed;
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(leader, 10);
    flush_at(leader, &flushed);
    cluster_await(c, LONG_MS, flushed.calls == 1);
    assert_int_equal(flushed.rc, 0);
    append_one(leader, 11); /* nobody asked for this one */
    const struct replica_set to = {.count = 1, .ids = {elsewhere}};
    assert_int_equal(node_assign_replicas(c->nodes[leader].node, cluster_op_init(&op), "orders", 0, &to), 0);
    while (partition_at(elsewhere)->log == NULL || log_end(partition_at(elsewhere)->log).offset < 2)
        step();
    struct log *log = partition_at(elsewhere)->log;
    assert_false(is_in_sync(elsewhere));
    assert_int_equal(log_recovery_point(log), 0);
    log->flush_state = FLUSH_RUNNING; /* and it goes on and on */
    cluster_pass(c, 2000);
    assert_false(is_in_sync(elsewhere));
    log->flush_state = FLUSH_LEFT;
    log_flush_next(log);
    cluster_await(c, LONG_MS, op.calls == 1 && leader_at(leader) == elsewhere);
    assert_in_range(log_recovery_point(log), 1, 2);
}

/* Nothing is committed yet: it could be in sync before it has what it is to flush. */
static void a_replica_that_comes_is_asked_to_flush_what_it_has(void **state)
{
    struct cluster_op op;
    struct appended tail;
    (void)state;
    put_config("default.replication.factor", "1");
    put_config("min.insync.replicas", "2");
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, LONG_MS, leader_at(id) != LEADER_NONE);
    int32_t leader = leader_at(1), other = leader % 3 + 1;
    cluster_await(c, LONG_MS, !partition_asks_shown(partition_at(leader)));
    append_acks_at(leader, &tail, 10, ACKS_LEADER);
    assert_int_equal(tail.rc, 0);
    assert_int_equal(log_flush_all(partition_at(leader)->log), 0);
    assert_int_equal(partition_own_high_watermark(partition_at(leader)).offset, 0);
    const struct replica_set to = {.count = 2, .ids = {leader, other}};
    assert_int_equal(node_assign_replicas(c->nodes[leader].node, cluster_op_init(&op), "orders", 0, &to), 0);
    cluster_await(c, 5000, is_in_sync(other));
    assert_int_equal(log_recovery_point(partition_at(other)->log), 1);
}

/* Deleted, while it was away; and while it was none. */
static void a_replica_that_comes_has_deleted_what_was_deleted(void **state)
{
    struct deleted deleted = {.op = {.position = 3, .done = on_deleted}};
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(leader, 10);
    append_one(leader, 11);
    cluster_stop(c, follower);
    cluster_await(c, LONG_MS, isr_at(leader) == 1);
    assert_int_equal(partition_delete_records(partition_at(leader), &deleted.op), 0);
    cluster_await(c, LONG_MS, deleted.calls == 1);
    assert_int_equal(deleted.rc, 0);
    cluster_start(c, follower);
    partition_at(follower)->deletes.follows_start = true; /* it is at it, and has no room */
    cluster_pass(c, 2000);
    assert_false(is_in_sync(follower));
    partition_at(follower)->deletes.follows_start = false;
    cluster_await(c, LONG_MS, is_in_sync(follower));
    assert_int_equal(log_start(partition_at(follower)->log).offset, 1);
}

/* What is flushed goes on and on meanwhile. */
static void a_replica_comes_while_others_flush_without_end(void **state)
{
    struct appended appended = {.calls = 1};
    struct flushed flushed = {.calls = 1};
    int32_t leader, follower, elsewhere;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(leader, 10);
    cluster_stop(c, follower);
    cluster_await(c, LONG_MS, isr_at(leader) == 1);
    append_one(leader, 11);
    cluster_start(c, follower);
    int steps = 0;
    for (int64_t until_ms = atomic_load(&c->clock.passed_ms) + 5000; !is_in_sync(follower); step()) {
        assert_true(atomic_load(&c->clock.passed_ms) < until_ms);
        if (++steps % 40 == 0 && appended.calls == 1 && flushed.calls == 1) {
            append_acks_at(leader, &appended, 12, ACKS_LEADER);
            flush_at(leader, &flushed);
        }
    }
    cluster_await(c, LONG_MS, appended.calls == 1 && flushed.calls == 1);
    assert_int_equal(flushed.rc, 0);
}

static struct partition_info info_at(int32_t id)
{
    struct partition_info info = {0};
    if (partition_at(id) != NULL)
        partition_info(partition_at(id), &info);
    return info;
}

struct looked {
    struct read_op op;
    int calls, rc;
};

static void on_looked(struct read_op *op, int rc)
{
    struct looked *looked = CONTAINER_OF(op, struct looked, op);
    looked->calls++;
    looked->rc = rc;
}

/* The end that a reader on that node meets. */
static int64_t end_seen_at(int32_t id)
{
    struct looked looked = {.op = {.part = partition_at(id),
                                   .kind = FIND_END,
                                   .limit = INT64_MAX,
                                   .max = 1,
                                   .timeout_ms = 5000,
                                   .done = on_looked}};
    int rc = partition_read_submit(&looked.op);
    if (rc == 0)
        cluster_await(c, LONG_MS, looked.calls == 1);
    assert_true(rc >= 0);
    assert_int_equal(looked.rc, 0);
    return looked.op.point.offset;
}

/* Its replica was moved away while it was down, and its registration takes its time. */
static void who_is_not_registered_yet_knows_that_it_has_no_replica(void **state)
{
    int32_t leader, follower, elsewhere;
    struct cluster_op op;
    (void)state;
    make_orders_of_two(&leader, &follower, &elsewhere);
    append_one(leader, 10);
    cluster_kill(c, follower);
    struct replica_set alone = {.count = 1, .ids = {leader}};
    assert_int_equal(cluster_op_end(c, &op,
                                    node_assign_replicas(c->nodes[cluster_await_leader(c)].node, cluster_op_init(&op),
                                                         "orders", 0, &alone)),
                     0);
    cluster_await(c, LONG_MS, info_at(leader).replicas.count == 1);
    append_one(leader, 11);
    c->network.lost_kind = MESSAGE_COMMAND;
    cluster_start(c, follower);
    cluster_await(c, LONG_MS,
                  c->nodes[follower].node->quorum.meta.next_offset == c->nodes[leader].node->quorum.meta.next_offset);
    assert_false(atomic_load(&c->nodes[follower].node->membership.registered));
    assert_int_equal(info_at(follower).replicas.count, 1);
    assert_int_equal(info_at(follower).leader, leader);
    assert_int_equal(end_seen_at(follower), 2);
    /* Where it has one again by what is decided its own log is what is read, though it has no part in anything yet. */
    struct replica_set both = {.count = 2, .ids = {leader, follower}};
    assert_int_equal(
        cluster_op_end(
            c, &op, node_assign_replicas(c->nodes[cluster_leader(c)].node, cluster_op_init(&op), "orders", 0, &both)),
        0);
    cluster_await(c, LONG_MS,
                  c->nodes[follower].node->quorum.meta.next_offset == c->nodes[leader].node->quorum.meta.next_offset);
    assert_false(atomic_load(&c->nodes[follower].node->membership.registered));
    assert_int_equal(partition_role(partition_at(follower)), ROLE_NONE);
    assert_int_equal(partition_log_end(partition_at(follower)).offset, 1);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(what_is_committed_by_fewer_is_not_lost_to_who_was_eligible),
        STORY(a_replica_that_is_made_of_nothing_knows_when_the_last_append_was),
        STORY(a_replica_that_comes_has_on_its_disk_what_was_flushed),
        STORY(a_replica_that_comes_is_asked_to_flush_what_it_has),
        STORY(a_replica_that_comes_has_deleted_what_was_deleted),
        STORY(a_replica_comes_while_others_flush_without_end),
        STORY(who_is_not_registered_yet_knows_that_it_has_no_replica),
    };
    return cmocka_run_group_tests_name("who comes to be in sync", tests, NULL, NULL);
}
