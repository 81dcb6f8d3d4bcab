/* tests/unit/test_meeting.c: how a node finds those of its peer= list, by name or by address, and what it says of one
 * that is not who it looks for. Names are looked up in a table of this program's own, so that no server is asked. */
#include "tests/unit/peers_fixture.h"

#include <dlfcn.h>
#include <netdb.h>

/* ---- names ---- */

/* Addresses as they are to be tried. The first of "roads" is one that TCP finds no way to. */
static const struct {
    const char *name, *addresses[2];
} names[] = {
    {"kitchen", {"127.0.0.1", NULL}},
    {"ghost", {NULL, NULL}},
    {"roads", {"224.0.0.1", "127.0.0.1"}},
};

typedef int (*getaddrinfo_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Instead of the C library's, for libuv. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    getaddrinfo_fn system_wide = (getaddrinfo_fn)dlsym(RTLD_NEXT, "getaddrinfo");
    struct addrinfo **last = out;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(host, names[i].name) != 0)
            continue;
        *out = NULL;
        for (int a = 0; a < 2 && names[i].addresses[a] != NULL; a++, last = &(*last)->ai_next)
            assert_int_equal(system_wide(names[i].addresses[a], port, hints, last), 0);
        return *out != NULL ? 0 : EAI_NONAME;
    }
    return system_wide(host, port, hints, out);
}

static void begin(struct host *a, struct host *b)
{
    keep_lines();
    host_start(a, 1, 0, NULL);
    host_start(b, 2, 0, NULL);
}

static void end(struct host *a, struct host *b)
{
    host_stop(a);
    host_stop(b);
    log_sink_set(log_to_stderr);
}

static void a_peer_may_be_given_by_name(void **state)
{
    struct host a, b;
    (void)state;
    begin(&a, &b);
    meet_at(&a, &b, "kitchen");
    await(&a, &a.ups, 1);
    await(&b, &b.ups, 1);
    await_line("peer 2 (127.0.0.1:");
    end(&a, &b);
}

static void a_name_that_leads_nowhere_is_said_and_looked_up_again(void **state)
{
    struct host a, b;
    (void)state;
    begin(&a, &b);
    meet_at(&a, &b, "ghost");
    await_line("peer 2 (ghost): its name cannot be resolved: unknown node or service");
    meet_at(&a, &b, "kitchen");
    await(&a, &a.ups, 1);
    end(&a, &b);
}

/* As it is when it was typed in another encoding. */
static void a_name_that_can_be_none_is_said(void **state)
{
    struct host a, b;
    (void)state;
    begin(&a, &b);
    meet_at(&a, &b, "caf\xe9");
    await_line("its name cannot be resolved: invalid argument");
    end(&a, &b);
}

/* A host has an address of a kind that there is no way to from here: the other one is tried all the same. */
static void all_addresses_of_a_name_are_tried(void **state)
{
    struct host a, b;
    (void)state;
    begin(&a, &b);
    meet_at(&a, &b, "roads");
    await(&a, &a.ups, 1);
    await(&b, &b.ups, 1);
    end(&a, &b);
}

/* Sockets of IPv6 on both sides, and no more of it than any machine has: the address is one of IPv4 in its clothes. */
static void a_peer_may_have_an_address_of_ipv6(void **state)
{
    struct host a, b;
    (void)state;
    keep_lines();
    host_start_at(&a, "::", 1, 0, NULL);
    host_start_at(&b, "::", 2, 0, NULL);
    meet_at(&a, &b, "::ffff:127.0.0.1");
    await(&a, &a.ups, 1);
    await(&b, &b.ups, 1);
    await_line("peer 2 ([::ffff:127.0.0.1]:");
    await_line("peer 1 ([::ffff:127.0.0.1]:");
    end(&a, &b);
}

/* ---- somebody else ---- */

static void another_node_at_a_peers_address_is_said_by_both(void **state)
{
    struct host a, b, peer;
    (void)state;
    keep_lines();
    host_start(&a, 1, 0, NULL);
    host_start(&b, 3, 0, NULL);
    peer = (struct host){.id = 2, .port = b.port};
    meet(&a, &peer);
    await_line("): refuses this node: takes this node for node 2, but it is node 3: correct the peer= list");
    await_line("node 1 (127.0.0.1:");
    end(&a, &b);
    assert_int_equal(a.ups + b.ups, 0);
}

static void send_welcome(int fd, int32_t from, int32_t to)
{
    uint8_t bytes[HELLO_BYTES_MAX], preamble[FRAME_PREAMBLE_BYTES];
    struct hello hello = {.protocol_min = 1, .protocol_max = 1, .from = from, .to = to, .process = 9};
    hello.feature_level = 1;
    struct frame_out out = {.kind = FRAME_WELCOME, .header = bytes};
    out.header_bytes = (uint32_t)hello_encode(&hello, bytes);
    frame_preamble(&out, preamble);
    assert_int_equal(send(fd, preamble, sizeof preamble, MSG_NOSIGNAL), sizeof preamble);
    assert_int_equal(send(fd, bytes, out.header_bytes, MSG_NOSIGNAL), out.header_bytes);
}

/* Who takes everybody in does not say that it is not the one that was meant. */
static void nor_is_another_node_taken_that_says_nothing_of_it(void **state)
{
    struct host a, peer = {.id = 2};
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fds[CHANNELS], listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    peer.port = ntohs(addr.sin_port);
    keep_lines();
    host_start(&a, 1, 0, NULL);
    meet(&a, &peer);
    for (int i = 0; i < CHANNELS; i++) {
        assert_true((fds[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
        send_welcome(fds[i], 3, 1);
    }
    await_line("): is node 3: correct the peer= list");
    for (int i = 0; i < CHANNELS; i++)
        close(fds[i]);
    close(listener);
    host_stop(&a);
    log_sink_set(log_to_stderr);
    assert_int_equal(a.ups, 0);
}

/* Any node of the cluster has a certificate of its CA: that makes it not the one that is looked for. */
static void who_shows_another_nodes_certificate_is_told_nothing(void **state)
{
    struct tls_context *of[4];
    struct host a, b;
    (void)state;
    assert_int_equal(certificates_make(of, 3), 0);
    keep_lines();
    host_start(&a, 1, 0, of[1]);
    host_start(&b, 2, 0, of[3]);
    meet(&a, &b);
    await_line("): its certificate does not name node-2.logmnt: correct the peer= list, or its tls.cert=");
    await_line("a connection from 127.0.0.1:");
    end(&a, &b);
    assert_int_equal(a.ups + b.ups, 0);
    assert_int_equal(b.asked, 0); /* it got no hello */
    assert_int_equal(count_lines("ended it behind the TLS handshake: does it take this node for another one?"), 1);
    for (int32_t id = 1; id <= 3; id++)
        tls_context_unref(of[id]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_may_be_given_by_name),
        cmocka_unit_test(a_name_that_leads_nowhere_is_said_and_looked_up_again),
        cmocka_unit_test(a_name_that_can_be_none_is_said),
        cmocka_unit_test(all_addresses_of_a_name_are_tried),
        cmocka_unit_test(a_peer_may_have_an_address_of_ipv6),
        cmocka_unit_test(another_node_at_a_peers_address_is_said_by_both),
        cmocka_unit_test(nor_is_another_node_taken_that_says_nothing_of_it),
        cmocka_unit_test(who_shows_another_nodes_certificate_is_told_nothing),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("meeting", tests, NULL, NULL);
}
