/* The switchboard between a transport and the rooms of a node. */
#include "replication/wire/network.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char told[256];

static void tell(const char *what, int32_t node)
{
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s%d ", what, (int)node);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    (void)hello;
    tell(arg, node);
    tell("up", node);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    tell(arg, node);
    tell(goodbye ? "bye" : "lost", node);
}

static void on_raft(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    assert_int_equal(channel, CHANNEL_CONTROL);
    tell(arg, from);
    frame_free(frame);
}

static struct frame *make_frame(int kind)
{
    struct frame *frame = calloc(1, sizeof *frame);
    frame->kind = (uint8_t)kind;
    return frame;
}

static int send_one(struct transport *transport, int32_t node, enum channel channel, const struct frame_out *out)
{
    (void)transport;
    tell(channel == CHANNEL_RECORDS ? "records" : "control", node);
    tell("kind", out->kind);
    return 0;
}

static void test_events_reach_all_who_listen_and_frames_their_handler(void **state)
{
    struct network network;
    struct network_listener first = {.up = on_up, .down = on_down, .arg = "a"}, second = {.up = on_up, .arg = "b"};
    struct hello hello = {.from = 2};
    (void)state;
    network_init(&network, NULL);
    network_listen(&network, &first);
    network_listen(&network, &second);
    network_handle(&network, MESSAGE_RAFT, on_raft, "raft");
    struct transport_events events = network_events(&network);

    told[0] = '\0';
    assert_false(network_up(&network, 2));
    events.up(events.arg, 2, &hello);
    assert_true(network_up(&network, 2));
    uint64_t first_link = network_link(&network, 2);
    assert_false(network_up(&network, 3));
    events.frame(events.arg, 2, CHANNEL_CONTROL, make_frame(MESSAGE_RAFT));
    events.frame(events.arg, 2, CHANNEL_CONTROL, make_frame(MESSAGE_KINDS - 1)); /* nobody's: dropped */
    events.frame(events.arg, 2, CHANNEL_CONTROL, make_frame(255));
    events.down(events.arg, 2, true);
    events.dead(events.arg, 2, 7); /* nobody listens for it */
    assert_false(network_up(&network, 2));
    assert_false(network_up(&network, 0));
    assert_string_equal(told, "a2 up2 b2 up2 raft2 a2 bye2 ");
    assert_int_equal(network_link(&network, 2), 0);
    events.up(events.arg, 2, &hello);
    assert_true(network_link(&network, 2) > first_link);
}

static void test_who_has_no_transport_reaches_nobody(void **state)
{
    struct network network;
    struct transport transport = {.send = send_one};
    (void)state;
    network_init(&network, NULL);
    told[0] = '\0';
    assert_int_equal(network_send(&network, 2, CHANNEL_CONTROL, MESSAGE_RAFT, "", 0, NULL, 0), -ENOTCONN);
    assert_int_equal(network_meet(&network, 2, "a", 1), -ENOTCONN);
    network_attach(&network, &transport);
    assert_int_equal(network_send(&network, 2, CHANNEL_RECORDS, MESSAGE_FETCH, "", 0, NULL, 0), 0);
    assert_string_equal(told, "records2 kind48 ");
}

static int start_source(struct transport_source *source, const struct hello *ours,
                        const struct transport_events *events, struct transport **out, struct err *e)
{
    static struct transport transport = {.send = send_one};
    (void)source;
    (void)events;
    if (ours->from != 1)
        return err_set(e, -EADDRINUSE, "in use");
    *out = &transport;
    return 0;
}

static void test_a_start_attaches_and_a_hush_ends_all_events(void **state)
{
    struct network network;
    struct network_listener listener = {.up = on_up, .down = on_down, .arg = "a"};
    struct transport_source source = {.start = start_source};
    struct hello one = {.from = 1}, two = {.from = 2};
    struct err e;
    (void)state;
    network_init(&network, NULL);
    network_listen(&network, &listener);
    network_handle(&network, MESSAGE_RAFT, on_raft, "raft");
    struct transport_events events = network_events(&network);
    told[0] = '\0';
    assert_int_equal(network_start(&network, &source, &two, &e), -EADDRINUSE);
    assert_int_equal(network_send(&network, 2, CHANNEL_CONTROL, MESSAGE_RAFT, "", 0, NULL, 0), -ENOTCONN);
    assert_int_equal(network_start(&network, &source, &one, &e), 0);
    events.up(events.arg, 2, &two);
    network_hush(&network);
    events.frame(events.arg, 2, CHANNEL_CONTROL, make_frame(MESSAGE_RAFT));
    events.down(events.arg, 2, false);
    events.up(events.arg, 3, &two);
    assert_int_equal(network_send(&network, 2, CHANNEL_CONTROL, MESSAGE_RAFT, "", 0, NULL, 0), 0);
    assert_string_equal(told, "a2 up2 control2 kind16 ");
    network_free(&network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_reach_all_who_listen_and_frames_their_handler),
        cmocka_unit_test(test_who_has_no_transport_reaches_nobody),
        cmocka_unit_test(test_a_start_attaches_and_a_hush_ends_all_events),
    };
    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
