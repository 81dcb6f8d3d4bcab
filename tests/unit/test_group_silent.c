/* A member that does not hear its coordinator: what it has may be others' by now, so that after session.timeout.ms it
 * delivers no more (GROUPS.md, rule 14). */
#include "tests/unit/group_hands.h"
#include "tests/unit/group_orders.h"

enum { SESSION_TIMEOUT_MS = 10000 };

static void cut_off(int32_t id, bool cut)
{
    for (int32_t other = 1; other <= 3; other++) {
        if (other != id)
            memory_cut(&c->network, id, other, cut);
    }
}

/* All that there is is on this node, too: without the bound it would go on for ever. */
static void who_is_cut_off_delivers_no_more_after_a_while(void **state)
{
    struct stream s;
    struct fuse_req req;
    int32_t leader, coordinates, follower;
    (void)state;
    make_orders_and_group("2", &leader, &coordinates, &follower);
    append_some(leader, 10, 11);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(follower)).offset == 2);
    open_stream(&s, c->nodes[follower].node, group);
    begin_read(&s, &req, 4, 0); /* less than both come to */
    cluster_await(c, LONG_MS, is_answered(&req));
    assert_given(&req, "10\n");
    cut_off(follower, true);
    cluster_pass(c, SESSION_TIMEOUT_MS + LIMIT_GROUP_BEAT_MS);
    begin_read(&s, &req, 4, 3);
    cluster_pass(c, 60000);
    assert_false(is_answered(&req));
    cut_off(follower, false);
    cluster_await(c, LONG_MS, is_answered(&req));
    /* Others were given the first one again, and so is it: nothing was committed. */
    assert_given(&req, "10\n");
    close_stream(&s);
}

static void up_to_then_it_goes_on_with_what_it_has(void **state)
{
    struct stream s;
    struct fuse_req req;
    int32_t leader, coordinates, follower;
    (void)state;
    make_orders_and_group("2", &leader, &coordinates, &follower);
    append_some(leader, 10, 11);
    cluster_await(c, LONG_MS, partition_own_high_watermark(partition_at(follower)).offset == 2);
    open_stream(&s, c->nodes[follower].node, group);
    begin_read(&s, &req, 4, 0);
    cluster_await(c, LONG_MS, is_answered(&req));
    assert_given(&req, "10\n");
    cut_off(follower, true);
    cluster_pass(c, SESSION_TIMEOUT_MS - LIMIT_GROUP_BEAT_MS - 100);
    begin_read(&s, &req, 4, 3);
    assert_true(is_answered(&req));
    assert_given(&req, "11\n");
    close_stream(&s);
    cut_off(follower, false);
    cluster_pass(c, 1000);
}

/* It has asked for them when it was not silent yet. */
static void what_comes_when_it_is_silent_is_not_delivered(void **state)
{
    struct stream s;
    struct fuse_req req;
    int32_t leader, coordinates, elsewhere;
    (void)state;
    make_orders_and_group("1", &leader, &coordinates, &elsewhere);
    append_some(leader, 10, 10);
    open_stream(&s, c->nodes[elsewhere].node, group);
    reads(&s, 0, "10\n");
    append_some(leader, 11, 11);
    cluster_await(c, LONG_MS, partition_high_watermark(partition_at(elsewhere)).offset == 2);
    struct groups *room = node_group_room(c->nodes[elsewhere].node);
    cluster_await(c, LONG_MS, group_hands_unheard_ms(room, group) < LIMIT_GROUP_BEAT_MS);
    cut_off(elsewhere, true);
    cluster_await(c, SESSION_TIMEOUT_MS,
                  group_hands_unheard_ms(room, group) > SESSION_TIMEOUT_MS - LIMIT_STREAM_ANSWER_MS / 4);
    begin_read(&s, &req, 4096, 3);
    cluster_pass(c, LIMIT_STREAM_ANSWER_MS / 2);
    memory_cut(&c->network, elsewhere, leader, false);
    cluster_pass(c, 5000);
    assert_false(is_answered(&req));
    cut_off(elsewhere, false);
    cluster_await(c, LONG_MS, is_answered(&req));
    assert_given(&req, "10\n11\n"); /* to who has joined anew */
    close_stream(&s);
}

/* The coordinator dies, and nobody can take its place: that is known, and nobody is given anything meanwhile. */
static void where_nobody_coordinates_nobody_is_waited_for(void **state)
{
    struct stream s;
    int32_t leader, coordinates, elsewhere;
    (void)state;
    make_orders_and_group("1", &leader, &coordinates, &elsewhere);
    append_some(leader, 10, 10);
    open_stream(&s, c->nodes[leader].node, group);
    reads(&s, 0, "10\n");
    cluster_kill(c, coordinates); /* the only replica of the group's partition */
    cluster_pass(c, 3 * SESSION_TIMEOUT_MS);
    append_some(leader, 11, 11);
    reads(&s, 3, "11\n");
    close_stream(&s);
    cluster_pass(c, 1000);
}

#define story(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        story(who_is_cut_off_delivers_no_more_after_a_while),
        story(up_to_then_it_goes_on_with_what_it_has),
        story(what_comes_when_it_is_silent_is_not_delivered),
        story(where_nobody_coordinates_nobody_is_waited_for),
    };
    return cmocka_run_group_tests_name("group_silent", tests, NULL, NULL);
}
