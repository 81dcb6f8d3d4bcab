/* Which partitions a fetcher has something to say of. */
#include "tests/unit/two_nodes.h"

#include "replication/wire/replica_message.h"

/* The leader was one peer and is another now: what the first one's fetcher had in its list comes to the second one's,
 * and is in one list at a time. */
static void what_changes_leader_is_said_to_the_next(void **state)
{
    struct pair *pair = *state;
    struct node *node = pair->ends[1].f.node;
    struct transport_events events = network_events(&node->network);
    const struct hello third = {.from = 3};

    make_topic(pair, "orders");
    settle(pair);
    events.up(events.arg, 3, &third);
    settle(pair);
    struct fetcher *before = &manager_peer(&node->replicas, 2)->fetcher;
    struct fetcher *after = &manager_peer(&node->replicas, 3)->fetcher;
    struct partition *part = partition_of(pair, 1, "orders");
    fetcher_want(before, part);
    fetcher_want(after, part);
    fetcher_want(before, part);
    assert_ptr_equal(before->due, part);
    assert_null(part->fetching.next);
    while (before->due != NULL)
        assert_true(hand_step(&pair->ends[1].hand));
    assert_ptr_equal(after->due, part);
    settle(pair);
    assert_null(after->due);
    events.down(events.arg, 3, false);
    settle(pair);
}

/* ---- a leader that falls silent ---- */

static int dropped;

static void count_drop(struct transport *transport, int32_t node)
{
    (void)transport;
    assert_int_equal(node, 2);
    dropped++;
}

/* Node 2 beats, as the leader of a session. */
static void say_beat(struct pair *pair)
{
    struct transport_events events = network_events(&pair->ends[1].f.node->network);
    struct frame *frame = calloc(1, sizeof *frame + 64);
    frame->kind = MESSAGE_BEAT;
    frame->header = (uint8_t *)(frame + 1);
    frame->header_bytes = (uint32_t)replica_beat_encode(1, true, NULL, 0, frame->header);
    events.frame(events.arg, 2, CHANNEL_RECORDS, frame);
}

static void beat_from_two(struct pair *pair)
{
    say_beat(pair);
    settle(pair);
}

/* Its link is up all the while: its process is stopped, or stuck. One that has never beaten has nothing to say. */
static void who_beats_no_more_has_its_connections_ended(void **state)
{
    struct pair *pair = *state;
    struct fetcher *fetcher;
    dropped = 0;
    pair->ends[1].transport.drop = count_drop;
    fetcher = &manager_peer(&pair->ends[1].f.node->replicas, 2)->fetcher;
    assert_true(atomic_load(&fetcher->session) != 0);
    for (int i = 0; i < 3 * LIMIT_SILENT_BEATS; i++)
        fetcher_beat(fetcher);
    assert_int_equal(dropped, 0);
    for (int i = 0; i < 3 * LIMIT_SILENT_BEATS; i++) {
        if (i % LIMIT_SILENT_BEATS == 0)
            beat_from_two(pair);
        fetcher_beat(fetcher);
    }
    assert_int_equal(dropped, 0);
    beat_from_two(pair);
    for (int i = 0; i < LIMIT_SILENT_BEATS; i++)
        fetcher_beat(fetcher);
    assert_int_equal(dropped, 0);
    fetcher_beat(fetcher);
    assert_int_equal(dropped, 1);
}

/* Its beats lie in the socket, since this node's disk holds up what came before them. */
static void who_is_not_read_is_not_silent(void **state)
{
    struct pair *pair = *state;
    struct node *node = pair->ends[1].f.node;
    struct transport_events events = network_events(&node->network);
    struct fetcher *fetcher = &manager_peer(&node->replicas, 2)->fetcher;

    dropped = 0;
    pair->ends[1].transport.drop = count_drop;
    while (!events.full(events.arg, 2, CHANNEL_RECORDS))
        say_beat(pair);
    for (int i = 0; i < 3 * LIMIT_SILENT_BEATS; i++)
        fetcher_beat(fetcher);
    assert_int_equal(dropped, 0);
    settle(pair);
    assert_false(events.full(events.arg, 2, CHANNEL_RECORDS));
    for (int i = 0; i < LIMIT_SILENT_BEATS; i++)
        fetcher_beat(fetcher);
    assert_int_equal(dropped, 0);
    fetcher_beat(fetcher);
    assert_int_equal(dropped, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_changes_leader_is_said_to_the_next, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(who_beats_no_more_has_its_connections_ended, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(who_is_not_read_is_not_silent, pair_setup, pair_teardown),
    };

    return cmocka_run_group_tests_name("fetcher", tests, NULL, NULL);
}
