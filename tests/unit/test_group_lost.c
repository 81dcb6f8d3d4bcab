/* Records that a group has committed, and that the power took, or an unclean election, where the partition has another
 * leader than the group's coordinator is: what is written then has their offsets, and is given out (KIP-320). */
#include "tests/unit/group_orders.h"

/* The power: the disk has so many bytes of orders. */
static void lose_power(int32_t id, int64_t kept_bytes)
{
    char path[256];
    cluster_kill(c, id);
    snprintf(path, sizeof path, "%s/recovery-point-offset-checkpoint", c->nodes[id].dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/topics/orders-0/00000000000000000000.log", c->nodes[id].dir);
    assert_int_equal(truncate(path, kept_bytes), 0);
}

/* A member on a node without a replica has read three records before it can have heard of more, and has committed
 * them. */
static void read_three(struct stream *s, int32_t leader, int32_t node)
{
    struct fuse_req req;
    open_stream(s, c->nodes[node].node, group);
    begin_read(s, &req, 4096, 0);
    cluster_pass(c, LIMIT_STAT_IDLE_MS + 2 * LIMIT_STAT_WAIT_MS); /* the coordinator has asked where it begins */
    append_some(leader, 10, 10);
    cluster_await(c, LONG_MS, is_answered(&req));
    assert_given(&req, "10\n");
    append_some(leader, 11, 12);
    int64_t pos = 3;
    while (pos < 9) {
        begin_read(s, &req, 4096, pos);
        cluster_await(c, LONG_MS, is_answered(&req));
        assert_int_equal(atomic_load(&req.err), 0);
        pos += (int64_t)req.len;
        free(req.bytes);
    }
    assert_int_equal(commits(s), 0);
}

/* Nobody who lives was shown them but as an offset. */
static void lose_two(struct stream *s, int32_t leader, int32_t node)
{
    close_stream(s);
    cluster_pass(c, 100);
    cluster_kill(c, node);
    lose_power(leader, 3);
    cluster_start(c, node);
    cluster_start(c, leader);
    cluster_await(c, LONG_MS, leader_at(node) == leader && registered_at(node) == 3);
}

static void what_took_the_place_of_lost_records_is_given_out(void **state)
{
    struct stream s;
    int32_t leader, coordinates, elsewhere;
    (void)state;
    make_orders_and_group("1", &leader, &coordinates, &elsewhere);
    read_three(&s, leader, elsewhere);
    lose_two(&s, leader, elsewhere);
    /* The first one comes while there are fewer than were committed. */
    append_some(leader, 20, 20);
    open_stream(&s, c->nodes[elsewhere].node, group);
    reads(&s, 0, "20\n");
    append_some(leader, 21, 23);
    reads(&s, 3, "21\n22\n23\n");
    assert_int_equal(commits(&s), 0);
    close_stream(&s);
    cluster_pass(c, 100);
    /* What is committed by now stays so. */
    open_stream(&s, c->nodes[elsewhere].node, group);
    append_some(leader, 24, 24);
    reads(&s, 0, "24\n");
    close_stream(&s);
}

static void more_that_took_their_place_is_given_out(void **state)
{
    struct stream s;
    int32_t leader, coordinates, elsewhere;
    (void)state;
    make_orders_and_group("1", &leader, &coordinates, &elsewhere);
    read_three(&s, leader, elsewhere);
    lose_two(&s, leader, elsewhere);
    append_some(leader, 20, 24);
    open_stream(&s, c->nodes[elsewhere].node, group);
    reads(&s, 0, "20\n21\n22\n23\n24\n");
    close_stream(&s);
}

/* As long as the leader cannot be asked nothing is given that may be behind what nobody was given. */
static void nothing_is_passed_over_while_the_leader_is_cut_off(void **state)
{
    struct stream s;
    struct fuse_req req;
    int32_t leader, coordinates, elsewhere;
    (void)state;
    make_orders_and_group("1", &leader, &coordinates, &elsewhere);
    read_three(&s, leader, elsewhere);
    lose_two(&s, leader, elsewhere);
    append_some(leader, 20, 20);
    memory_cut(&c->network, leader, elsewhere, true);
    open_stream(&s, c->nodes[elsewhere].node, group);
    begin_read(&s, &req, 4096, 0);
    cluster_pass(c, 2000);
    assert_false(is_answered(&req));
    memory_cut(&c->network, leader, elsewhere, false);
    cluster_await(c, LONG_MS, is_answered(&req));
    assert_given(&req, "20\n");
    close_stream(&s);
}

/* Who was shown them and lives says so: they are a hole, and who was given them goes on behind it. */
static void what_is_lost_behind_a_hole_is_no_reason_to_go_back(void **state)
{
    struct stream s;
    struct group_shares shares;
    int32_t leader, coordinates, elsewhere;
    (void)state;
    make_orders_and_group("1", &leader, &coordinates, &elsewhere);
    read_three(&s, leader, elsewhere);
    lose_power(leader, 3);
    cluster_start(c, leader);
    cluster_await(c, LONG_MS, leader_at(elsewhere) == leader && registered_at(elsewhere) == 3);
    append_some(leader, 20, 21);
    reads(&s, 9, "20\n21\n");
    assert_int_equal(commits(&s), 0);
    assert_int_equal(group_member_shares(s.handle->reader->group->member, &shares), 0);
    assert_int_equal(shares.count, 1);
    assert_int_equal(shares.shares[0].epoch, 1); /* it was not handed over anew */
    free(shares.shares);
    close_stream(&s);
}

/* What was asked about the place where it waited says nothing of where a READ has gone meanwhile. */
static void a_late_answer_takes_nothing_for_lost(void **state)
{
    struct stream s;
    struct fuse_req req;
    int32_t leader, coordinates, elsewhere;
    (void)state;
    make_orders_and_group("1", &leader, &coordinates, &elsewhere);
    open_stream(&s, c->nodes[leader].node, group);
    append_some(leader, 10, 10);
    reads(&s, 0, "10\n");
    struct partition_registration next = partition_at(leader)->registration;
    next.leader_epoch++;
    next.partition_epoch++;
    partition_set_registration(partition_at(leader), &next);
    begin_read(&s, &req, 4096, 3);
    struct group_part *part = s.handle->reader->group->parts[0];
    struct log_point waits = part->next;
    pthread_mutex_lock(&s.handle->lock);
    assert_true(part->probing);
    part->next.offset = 50;
    part->leader_epoch = next.leader_epoch;
    pthread_mutex_unlock(&s.handle->lock);
    cluster_await(c, LONG_MS, !part->probing);
    assert_false(part->lost);
    assert_int_equal(part->leader_epoch, next.leader_epoch);
    part->next = waits;
    append_some(leader, 11, 11);
    cluster_await(c, LONG_MS, is_answered(&req));
    assert_given(&req, "11\n");
    close_stream(&s);
}

/* Likewise of its lines of JSON. */
static void the_epoch_of_lines_of_json_is_known(void **state)
{
    struct stream s;
    struct fuse_req req;
    int32_t leader, coordinates, elsewhere;
    (void)state;
    make_orders_and_group("1", &leader, &coordinates, &elsewhere);
    append_some(leader, 10, 12);
    open_stream_as(&s, c->nodes[elsewhere].node, group, VNODE_GROUP_JSON);
    begin_read(&s, &req, 4096, 0);
    cluster_await(c, LONG_MS, is_answered(&req));
    assert_int_equal(atomic_load(&req.err), 0);
    free(req.bytes);
    assert_int_equal(s.handle->reader->group->parts[0]->leader_epoch, log_epoch_before(partition_at(leader)->log, 3));
    close_stream(&s);
}

/* A member reads its own node's replica, which follows. */
static void what_followers_have_lost_with_their_leader_is_given_out(void **state)
{
    struct stream s;
    int32_t leader, coordinates, follower;
    (void)state;
    make_orders_and_group("2", &leader, &coordinates, &follower);
    read_three(&s, leader, follower);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(follower)).offset == 3);
    close_stream(&s);
    cluster_pass(c, 100);
    lose_power(leader, 3);
    lose_power(follower, 3);
    cluster_start(c, leader);
    cluster_start(c, follower);
    cluster_await(c, LONG_MS, leader_at(coordinates) != LEADER_NONE && isr_at(coordinates) == 2);
    append_some(coordinates, 20, 23);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(follower)).offset == 5);
    open_stream(&s, c->nodes[follower].node, group);
    reads(&s, 0, "20\n21\n22\n23\n");
    close_stream(&s);
}

#define story(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        story(what_took_the_place_of_lost_records_is_given_out),
        story(more_that_took_their_place_is_given_out),
        story(nothing_is_passed_over_while_the_leader_is_cut_off),
        story(what_is_lost_behind_a_hole_is_no_reason_to_go_back),
        story(a_late_answer_takes_nothing_for_lost),
        story(the_epoch_of_lines_of_json_is_known),
        story(what_followers_have_lost_with_their_leader_is_given_out),
    };
    return cmocka_run_group_tests_name("group_lost", tests, NULL, NULL);
}
