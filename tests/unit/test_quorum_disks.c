/* What the voters' disks do to the metadata quorum: one is full, one is slow, one hangs, one is damaged. */
#include "tests/unit/cluster_fixture.h"

static void test_a_full_voter_stops_no_decision(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), full = cluster_follower(c);
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    atomic_store(&c->nodes[full].disk.pwritev_rc, -ENOSPC);
    assert_int_equal(cluster_chmod(c, leader, 0722), 0);
    assert_int_equal(cluster_chmod(c, 6 - leader - full, 0733), 0);
    cluster_pass(c, 3000);
    assert_int_equal(cluster_leader(c), leader);
    /* It acknowledges nothing that it has not: the other one is needed. */
    assert_int_equal(cluster_mode(c, full), 0711);
    atomic_store(&c->nodes[full].disk.pwritev_rc, 0);
    cluster_await(c, 3000, cluster_mode(c, full) == 0733);
    assert_int_equal(cluster_chmod(c, full, 0744), 0);
}

static struct reserve *reserve;

/* A disk that has the room of the reserve, and no other. */
static ssize_t pwritev_into_reserve(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    (void)io;
    return reserve_in_use(reserve) ? io_posix()->pwritev(io_posix(), fd, iov, iovcnt, at) : -ENOSPC;
}

static void test_a_full_voter_learns_what_is_decided(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), full = cluster_follower(c);
    cluster_pass(c, 1000);
    reserve = &c->nodes[full].node->reserve;
    c->nodes[full].disk.io.pwritev = pwritev_into_reserve;
    assert_int_equal(cluster_chmod(c, leader, 0722), 0);
    cluster_await(c, 1000, cluster_mode(c, full) == 0722);
    assert_false(reserve_in_use(reserve));
    c->nodes[full].disk.io.pwritev = bad_pwritev;
}

static void test_a_full_leader_lets_another_lead(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), follower = cluster_follower(c);
    cluster_pass(c, 1000);
    atomic_store(&c->nodes[leader].disk.pwritev_rc, -ENOSPC);
    /* Nobody sees an error. */
    assert_int_equal(cluster_chmod(c, follower, 0722), 0);
    assert_int_not_equal(cluster_leader(c), leader);
    atomic_store(&c->nodes[leader].disk.pwritev_rc, 0);
    cluster_await(c, 4000, cluster_mode(c, leader) == 0722);
    assert_int_equal(cluster_chmod(c, leader, 0733), 0);
}

static bool stuck;

static void flush_when_it_can(struct work *work)
{
    struct quorum *quorum = CONTAINER_OF(work, struct quorum, flush_work);
    if (stuck) { /* the disk has not answered */
        executor_bulk(quorum->executor, work);
        return;
    }
    quorum->flush.upto = log_end(quorum->log).offset;
    if (log_flush(quorum->log, &quorum->flush) == 1)
        quorum->flush.done(&quorum->flush, 0);
}

/* As cluster_pass(), one work a node at a time: one that waits for a disk is always there. */
static void pass_with_a_stuck_disk(struct cluster *c, int64_t ms)
{
    for (; ms > 0; ms -= 5) {
        atomic_fetch_add(&c->clock.passed_ms, 5);
        for (int i = 0; i < 60; i++) {
            for (int32_t id = 1; id <= 3; id++)
                hand_step(&c->nodes[id].hand);
            while (memory_step(&c->network))
                ;
        }
    }
}

static void test_a_slow_disk_costs_no_leadership(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), follower = cluster_follower(c);
    struct tree_attr attr = {.dir_mode = 0722};
    struct cluster_op op;
    cluster_pass(c, 1000);
    c->nodes[leader].node->quorum.flush_work.run = flush_when_it_can;
    stuck = true;
    assert_int_equal(node_set_attr(c->nodes[follower].node, cluster_op_init(&op), NULL, &attr, ATTR_DIR_MODE), 0);
    pass_with_a_stuck_disk(c, 500);
    /* The disks of the two others are a majority. */
    assert_int_equal(op.calls, 1);
    assert_int_equal(op.rc, 0);
    assert_int_equal(cluster_mode(c, leader), 0722);
    pass_with_a_stuck_disk(c, 5000);
    assert_int_equal(cluster_leader(c), leader);
    stuck = false;
    assert_int_equal(cluster_chmod(c, leader, 0733), 0);
    assert_int_equal(cluster_leader(c), leader);
}

/* The two others alone. */
static void settle_without(struct cluster *c, int32_t id)
{
    bool more = true;
    while (more) {
        more = false;
        for (int32_t other = 1; other <= 3; other++) {
            while (other != id && hand_step(&c->nodes[other].hand))
                more = true;
        }
        while (memory_step(&c->network))
            more = true;
    }
}

static void test_a_turn_that_hangs_holds_no_command_back(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), hung = cluster_follower(c);
    struct quorum *quorum = &c->nodes[hung].node->quorum;
    struct tree_attr attr = {.dir_mode = 0722};
    struct cluster_op op;
    cluster_pass(c, 1000);
    atomic_store(&quorum->turn_ms, hand_mono_ms(&c->clock.clock) - LIMIT_QUORUM_TURN_MS);
    assert_int_equal(node_set_attr(c->nodes[hung].node, cluster_op_init(&op), NULL, &attr, ATTR_DIR_MODE), 0);
    for (int i = 0; i < 200 && cluster_mode(c, leader) != 0722; i++) {
        atomic_fetch_add(&c->clock.passed_ms, 5);
        settle_without(c, hung);
    }
    assert_int_equal(cluster_mode(c, leader), 0722);
    assert_int_equal(op.calls, 0);
    cluster_await(c, 1000, op.calls == 1); /* its disk goes on */
    assert_int_equal(op.rc, 0);
    assert_int_equal(cluster_mode(c, hung), 0722);
    cluster_pass(c, 1000);
    assert_int_equal(op.calls, 1);
}

/* A byte of the beginning of its metadata log, which it read long ago. */
static void damage_metadata(struct cluster *c, int32_t id)
{
    char path[256];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/topics/__cluster_metadata-0/00000000000000000000.log", c->nodes[id].dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 20), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 20), 1);
    close(fd);
}

static void test_a_leader_whose_log_is_damaged_is_not_the_only_one_to_ask(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), lost = cluster_follower(c);
    char command[200];
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    cluster_pass(c, 1000);
    cluster_kill(c, lost);
    snprintf(command, sizeof command, "rm -rf %s", c->nodes[lost].dir);
    assert_int_equal(system(command), 0);
    damage_metadata(c, leader);
    cluster_start(c, lost);
    cluster_await(c, 5000, cluster_mode(c, lost) == 0711);
    assert_int_equal(cluster_leader(c), 6 - leader - lost);
    assert_int_equal(cluster_chmod(c, lost, 0722), 0);
    /* It has a snapshot in the place of what is damaged, and starts with that. */
    assert_true(log_start(c->nodes[leader].node->quorum.log).offset > 0);
    cluster_kill(c, leader);
    cluster_start(c, leader);
    cluster_await(c, 3000, cluster_mode(c, leader) == 0722);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_voter_stops_no_decision, cluster_setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(test_a_full_voter_learns_what_is_decided, cluster_setup_three,
                                        cluster_teardown),
        cmocka_unit_test_setup_teardown(test_a_full_leader_lets_another_lead, cluster_setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(test_a_slow_disk_costs_no_leadership, cluster_setup_three, cluster_teardown),
        cmocka_unit_test_setup_teardown(test_a_turn_that_hangs_holds_no_command_back, cluster_setup_three,
                                        cluster_teardown),
        cmocka_unit_test_setup_teardown(test_a_leader_whose_log_is_damaged_is_not_the_only_one_to_ask,
                                        cluster_setup_three, cluster_teardown),
    };
    return cmocka_run_group_tests_name("quorum_disks", tests, NULL, NULL);
}
