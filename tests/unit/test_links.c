/* tests/unit/test_links.c: two networks whose links meet over loopback, on executors as a daemon has them. */
#include "replication/wire/links.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "replication/executor/executor_uv.h"
#include "replication/wire/network.h"
#include "replication/wire/peers.h"

enum { WAIT_S = 60 };

struct side {
    int32_t id;
    struct executor *executor;
    struct links links;
    struct network network;
    struct network_listener listener;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ups, goodbyes, messages;
};

static void count(struct side *side, unsigned *what)
{
    pthread_mutex_lock(&side->lock);
    (*what)++;
    pthread_cond_broadcast(&side->changed);
    pthread_mutex_unlock(&side->lock);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    struct side *side = arg;
    assert_int_equal(hello->from, node);
    /* What is sent from the first event on is not lost: the transport is attached. */
    assert_int_equal(network_send(&side->network, node, CHANNEL_CONTROL, MESSAGE_RAFT, "hi", 2, NULL, 0), 0);
    count(side, &side->ups);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    struct side *side = arg;
    (void)node;
    assert_true(goodbye);
    count(side, &side->goodbyes);
}

static void on_message(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    struct side *side = arg;
    (void)from;
    assert_int_equal(channel, CHANNEL_CONTROL);
    assert_memory_equal(frame->header, "hi", 2);
    free(frame);
    count(side, &side->messages);
}

static void await(struct side *side, const unsigned *what, unsigned least)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    pthread_mutex_lock(&side->lock);
    while (*what < least) {
        if (pthread_cond_timedwait(&side->changed, &side->lock, &deadline) != 0)
            break;
    }
    unsigned seen = *what;
    pthread_mutex_unlock(&side->lock);
    assert_true(seen >= least);
}

static struct hello hello_of(const struct side *side)
{
    return (struct hello){.protocol_min = HELLO_PROTOCOL_MIN,
                          .protocol_max = HELLO_PROTOCOL_MAX,
                          .from = side->id,
                          .process = (uint64_t)side->id,
                          .incarnation = (uint64_t)side->id,
                          .feature_level = 1};
}

static void side_start(struct side *side, int32_t id)
{
    struct err e = {""};
    *side = (struct side){.id = id, .listener = {.up = on_up, .down = on_down, .arg = side}};
    pthread_mutex_init(&side->lock, NULL);
    pthread_cond_init(&side->changed, NULL);
    assert_int_equal(executor_uv_start(clock_system(), &side->executor, &e), 0);
    links_init(&side->links, side->executor, "127.0.0.1", 0, NULL);
    network_init(&side->network, NULL);
    network_listen(&side->network, &side->listener);
    network_handle(&side->network, MESSAGE_RAFT, on_message, side);
    struct hello hello = hello_of(side);
    if (network_start(&side->network, &side->links.source, &hello, &e) != 0)
        fail_msg("%s", e.text);
}

static void side_stop(struct side *side)
{
    network_hush(&side->network);
    network_attach(&side->network, NULL);
    side->links.source.stop(&side->links.source);
    links_free(&side->links);
    executor_uv_stop(side->executor);
    network_free(&side->network);
}

static void two_sides_meet_and_part(void **state)
{
    (void)state;
    struct side a, b;
    side_start(&a, 1);
    side_start(&b, 2);
    assert_int_equal(network_meet(&a.network, 2, "127.0.0.1", peers_port(b.links.peers)), 0);
    await(&a, &a.messages, 1);
    await(&b, &b.messages, 1);
    side_stop(&a);
    await(&b, &b.goodbyes, 1);
    assert_int_equal(network_send(&b.network, 1, CHANNEL_CONTROL, MESSAGE_RAFT, "hi", 2, NULL, 0), -ENOTCONN);
    side_stop(&b);
    assert_int_equal(a.ups + b.ups, 2);
}

static void an_address_that_is_in_use_is_one_clear_line(void **state)
{
    (void)state;
    struct side a;
    struct links second;
    struct network network;
    struct err e = {""};
    side_start(&a, 1);
    struct hello hello = hello_of(&a);
    network_init(&network, NULL);
    links_init(&second, a.executor, "127.0.0.1", peers_port(a.links.peers), NULL);
    assert_int_equal(network_start(&network, &second.source, &hello, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, "listen=127.0.0.1:"));
    assert_non_null(strstr(e.text, "Address already in use"));
    links_free(&second);
    links_init(&second, a.executor, "no-such-host.invalid", 9, NULL);
    assert_int_equal(network_start(&network, &second.source, &hello, &e), -EINVAL);
    assert_non_null(strstr(e.text, "listen=no-such-host.invalid:9: "));
    links_free(&second);
    network_free(&network);
    side_stop(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sides_meet_and_part),
        cmocka_unit_test(an_address_that_is_in_use_is_one_clear_line),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
