/* tests/unit/test_strangers.c: who connects before it is a peer: what it is given, whether it is let in, and what is
 * said of it if not. The program is linked with --wrap for malloc(), so that it is seen what is asked for. */
#include "tests/unit/peers_fixture.h"

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static _Atomic size_t largest; /* that was asked for at once, since the test has said 0 */

void *__wrap_malloc(size_t size)
{
    if (size > atomic_load(&largest))
        atomic_store(&largest, size);
    return __real_malloc(size);
}

/* ---- who has not said a hello, or has with one connection alone ---- */

/* The preamble of a frame of a whole frame's length, and what the other side does of it: it ends the connection. */
static void announce_much(int fd, uint8_t kind)
{
    static uint8_t header[LIMIT_FRAME_HEADER_BYTES], body[1];
    uint8_t preamble[FRAME_PREAMBLE_BYTES], answer[64];
    struct iovec long_body = {body, LIMIT_FRAME_BODY_BYTES};
    struct frame_out out = {
        .kind = kind, .header = header, .header_bytes = sizeof header, .body = &long_body, .body_count = 1};
    frame_preamble(&out, preamble);
    atomic_store(&largest, 0);
    assert_int_equal(send(fd, preamble, sizeof preamble, 0), sizeof preamble);
    while (recv(fd, answer, sizeof answer, 0) > 0) {
    }
    assert_true(atomic_load(&largest) < 64 << 10);
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

static void a_stranger_is_given_no_memory(void **state)
{
    (void)state;
    struct host a;
    host_start(&a, 1, 0, NULL);
    struct sockaddr_in addr = loopback(a.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    announce_much(fd, FRAME_HELLO);
    close(fd);
    host_stop(&a);
}

static void send_raw(int fd, uint8_t kind, const void *header, size_t header_bytes)
{
    uint8_t preamble[FRAME_PREAMBLE_BYTES];
    struct frame_out out = {.kind = kind, .header = header, .header_bytes = (uint32_t)header_bytes};
    frame_preamble(&out, preamble);
    assert_int_equal(send(fd, preamble, sizeof preamble, MSG_NOSIGNAL), sizeof preamble);
    assert_int_equal(send(fd, header, header_bytes, MSG_NOSIGNAL), header_bytes);
}

/* A connection of that process of a node, of one of its sessions, whose hello was answered by a frame of that kind. */
static int greet_of(const struct host *host, int32_t from, uint64_t process, uint64_t session, enum channel channel,
                    uint8_t kind)
{
    uint8_t bytes[HELLO_BYTES_MAX], preamble[FRAME_PREAMBLE_BYTES];
    struct hello hello = {.protocol_min = 1, .protocol_max = 1, .from = from, .to = host->id, .feature_level = 1};
    struct sockaddr_in addr = loopback(host->port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hello.process = process;
    hello.session = session;
    hello.channel = (int32_t)channel;
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    send_raw(fd, FRAME_HELLO, bytes, hello_encode(&hello, bytes));
    assert_int_equal(recv(fd, preamble, sizeof preamble, MSG_WAITALL), sizeof preamble);
    assert_int_equal(preamble[3], kind);
    return fd;
}

static int greet(const struct host *host, int32_t from, uint64_t session, enum channel channel, uint8_t kind)
{
    return greet_of(host, from, 7, session, channel, kind);
}

/* One of node 2 that was let in. */
static int greet_in(const struct host *host, enum channel channel, uint64_t session)
{
    return greet(host, 2, session, channel, FRAME_WELCOME);
}

/* The session stands: what is said on its connection arrives, and nothing was lost before. */
static void assert_stands(struct host *host, int control)
{
    send_raw(control, KIND, &(uint32_t){0}, sizeof(uint32_t));
    await(host, &host->frames[CHANNEL_CONTROL], 1);
    pthread_mutex_lock(&host->lock);
    unsigned downs = host->downs;
    pthread_mutex_unlock(&host->lock);
    assert_int_equal(downs, 0);
}

/* The other side has lost the session of the first one, and keeps that only to see it end: it would go as soon as this
 * node took it for a half of the next session, which would be lost with it, and so on for ever. */
static void connections_of_two_sessions_make_no_peer(void **state)
{
    (void)state;
    struct timeval patience = {.tv_sec = WAIT_S};
    uint8_t welcome[HELLO_BYTES_MAX];
    ssize_t left;
    struct host a;
    host_start(&a, 1, 0, NULL);
    int lost = greet_in(&a, CHANNEL_CONTROL, 1);
    int records = greet_in(&a, CHANNEL_RECORDS, 2);
    assert_int_equal(setsockopt(lost, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    do
        left = recv(lost, welcome, sizeof welcome, 0);
    while (left > 0);
    assert_int_equal(left, 0); /* ended */
    int control = greet_in(&a, CHANNEL_CONTROL, 2);
    await(&a, &a.ups, 1);
    assert_stands(&a, control);
    close(lost);
    close(control);
    close(records);
    host_stop(&a);
}

/* Nor does it say anything of what stands if it comes after the next one, since its segment was lost on the way. */
static void a_hello_of_an_earlier_session_ends_no_later_one(void **state)
{
    (void)state;
    struct host a;
    host_start(&a, 1, 0, NULL);
    int control = greet_in(&a, CHANNEL_CONTROL, 2);
    close(greet(&a, 2, 1, CHANNEL_RECORDS, FRAME_REFUSAL));
    int records = greet_in(&a, CHANNEL_RECORDS, 2);
    await(&a, &a.ups, 1);
    close(greet(&a, 2, 1, CHANNEL_CONTROL, FRAME_REFUSAL));
    close(greet(&a, 2, 1, CHANNEL_RECORDS, FRAME_REFUSAL));
    assert_stands(&a, control);
    close(control);
    close(records);
    host_stop(&a);
}

/* It knows more of its own than this node does. */
static void a_hello_of_a_later_session_is_taken_at_once(void **state)
{
    static const struct {
        uint64_t process, session;
    } next[] = {{7, 3}, {7, 0} /* an earlier build's */, {8, 1}, {6, 1}};
    (void)state;
    struct host a;
    int fds[2 + 2 * 4], count = 0;
    host_start(&a, 1, 0, NULL);
    fds[count++] = greet_in(&a, CHANNEL_CONTROL, 2);
    fds[count++] = greet_in(&a, CHANNEL_RECORDS, 2);
    await(&a, &a.ups, 1);
    for (unsigned i = 0; i < 4; i++) {
        fds[count++] = greet_of(&a, 2, next[i].process, next[i].session, CHANNEL_RECORDS, FRAME_WELCOME);
        await(&a, &a.downs, i + 1);
        fds[count++] = greet_of(&a, 2, next[i].process, next[i].session, CHANNEL_CONTROL, FRAME_WELCOME);
        await(&a, &a.ups, i + 2);
    }
    while (count > 0)
        close(fds[--count]);
    host_stop(&a);
}

/* ---- a node that runs twice ---- */

static unsigned downs_of(struct host *host)
{
    pthread_mutex_lock(&host->lock);
    unsigned downs = host->downs;
    pthread_mutex_unlock(&host->lock);
    return downs;
}

/* The younger one has its place for as long as the elder needs to come back; and is let in when that has gone. */
static void of_two_processes_of_one_id_the_elder_stays_and_both_are_said(void **state)
{
    (void)state;
    enum { ELDER = 7, YOUNGER = 8, TIMES = 20 };
    struct host a;
    int elder[CHANNELS], younger[CHANNELS];
    keep_lines();
    host_start(&a, 1, 0, NULL);
    close(greet_of(&a, 2, ELDER, 1, CHANNEL_CONTROL, FRAME_WELCOME));
    close(greet_of(&a, 2, ELDER, 1, CHANNEL_RECORDS, FRAME_WELCOME));
    younger[0] = greet_of(&a, 2, YOUNGER, 1, CHANNEL_CONTROL, FRAME_WELCOME);
    younger[1] = greet_of(&a, 2, YOUNGER, 1, CHANNEL_RECORDS, FRAME_WELCOME);
    elder[0] = greet_of(&a, 2, ELDER, 2, CHANNEL_CONTROL, FRAME_WELCOME);
    close(greet_of(&a, 2, YOUNGER, 2, CHANNEL_RECORDS, FRAME_REFUSAL));
    elder[1] = greet_of(&a, 2, ELDER, 2, CHANNEL_RECORDS, FRAME_WELCOME);
    await_line("): runs twice, also at 127.0.0.1:");
    unsigned downs = downs_of(&a);
    for (unsigned i = 0; i < TIMES; i++)
        close(greet_of(&a, 2, YOUNGER, 2 + i, i % CHANNELS, FRAME_REFUSAL));
    send_raw(elder[0], KIND, &(uint32_t){0}, sizeof(uint32_t));
    await(&a, &a.frames[CHANNEL_CONTROL], 1);
    assert_int_equal(downs_of(&a), downs);
    assert_int_equal(count_lines("runs twice"), 1);
    close(elder[0]);
    close(elder[1]);
    await(&a, &a.downs, downs + 1);
    unsigned ups = a.ups;
    close(younger[0]);
    close(younger[1]);
    younger[0] = greet_of(&a, 2, YOUNGER, 2 + TIMES, CHANNEL_CONTROL, FRAME_WELCOME);
    younger[1] = greet_of(&a, 2, YOUNGER, 2 + TIMES, CHANNEL_RECORDS, FRAME_WELCOME);
    await(&a, &a.ups, ups + 1);
    close(younger[0]);
    close(younger[1]);
    host_stop(&a);
    log_sink_set(log_to_stderr);
}

static void who_is_started_with_the_id_of_another_node_hears_so(void **state)
{
    (void)state;
    struct host a, b, twin;
    keep_lines();
    host_start(&a, 1, 0, NULL);
    host_start(&b, 2, 0, NULL);
    host_start(&twin, 2, 0, NULL);
    meet(&a, &b);
    meet(&b, &a);
    await(&b, &b.ups, 1);
    meet(&twin, &a);
    await_line("): refuses this node: runs twice, also at 127.0.0.1:");
    await_line("peer 2 (127.0.0.1:");
    host_stop(&twin);
    host_stop(&b);
    host_stop(&a);
    log_sink_set(log_to_stderr);
    assert_int_equal(count_lines("): runs twice, also at 127.0.0.1:"), 1);
}

/* However often it comes and goes. */
static void a_peer_that_comes_and_goes_is_a_few_lines(void **state)
{
    (void)state;
    enum { TIMES = 30 };
    struct host a;
    keep_lines();
    host_start(&a, 1, 0, NULL);
    for (unsigned i = 0; i < TIMES; i++) {
        int control = greet_in(&a, CHANNEL_CONTROL, 1 + i), records = greet_in(&a, CHANNEL_RECORDS, 1 + i);
        await(&a, &a.ups, 1 + i);
        close(control);
        close(records);
        await(&a, &a.downs, 1 + i);
    }
    host_stop(&a);
    log_sink_set(log_to_stderr);
    assert_int_equal(count_lines("peer 2 (127.0.0.1:"), LIMIT_FLAP_LINES);
    assert_int_equal(count_lines("peer 2: 50 more lines like these in a minute; it is lost"), 1);
    assert_int_equal(line_count, LIMIT_FLAP_LINES + 1);
}

/* Its frames wait for the other connection: more of them than are kept for that. */
static void what_comes_before_the_other_connection_waits_for_it(void **state)
{
    (void)state;
    enum { MANY = 2 * LIMIT_EARLY_FRAMES };
    struct host a;
    host_start(&a, 1, 0, NULL);
    int control = greet_in(&a, CHANNEL_CONTROL, 1);
    for (uint32_t i = 0; i < MANY; i++)
        send_raw(control, KIND, &i, sizeof i);
    int records = greet_in(&a, CHANNEL_RECORDS, 1);
    await(&a, &a.frames[CHANNEL_CONTROL], MANY);
    assert_int_equal(a.ups, 1);
    assert_int_equal(a.out_of_order, 0);
    close(control);
    close(records);
    host_stop(&a);
}

static void nor_is_who_was_connected_to(void **state)
{
    (void)state;
    struct host a, other = {.id = 2};
    uint8_t hello[HELLO_BYTES_MAX];
    struct sockaddr_in addr = loopback(0);
    socklen_t len = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    other.port = ntohs(addr.sin_port);
    host_start(&a, 1, 0, NULL);
    meet(&a, &other);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(recv(fd, hello, FRAME_PREAMBLE_BYTES, MSG_WAITALL) == FRAME_PREAMBLE_BYTES);
    assert_int_equal(hello[3], FRAME_HELLO);
    announce_much(fd, FRAME_WELCOME);
    close(fd);
    close(listener);
    host_stop(&a);
}

/* ---- who has a place ---- */

/* Places are for those that are in the cluster, not for all that have ever been. */
static void who_is_forgotten_gives_its_place_to_another(void **state)
{
    (void)state;
    struct host a, b, nobody;
    host_start(&nobody, 3, 0, NULL);
    host_stop(&nobody); /* its port refuses */
    host_start(&a, 1, 0, NULL);
    host_start(&b, 2, 0, NULL);
    struct transport *transport = peers_transport(a.peers);
    for (int32_t id = 3; id < 3 + LIMIT_NODES; id++) {
        nobody.id = id;
        meet(&a, &nobody);
    }
    transport->forget(transport, 7);
    meet(&a, &b);
    await(&a, &a.ups, 1);
    await(&b, &b.ups, 1);
    /* What stands goes on, and who comes back by itself is there. */
    transport->forget(transport, 2);
    transport->drop(transport, 2);
    await(&a, &a.downs, 1);
    meet(&b, &a);
    await(&a, &a.ups, 2);
    host_stop(&a);
    host_stop(&b);
}

/* ---- who is refused ---- */

/* However often it comes again. */
static void who_is_not_taken_is_refused_with_a_line_on_both_sides(void **state)
{
    struct host a, b;
    (void)state;
    keep_lines();
    host_start(&a, 1, 0, NULL);
    host_start(&b, 2, 0, NULL);
    atomic_store(&a.not_taken, 2);
    meet(&a, &b);
    meet(&b, &a);
    await(&a, &a.asked, 8);
    host_stop(&b);
    host_stop(&a);
    log_sink_set(log_to_stderr);
    assert_int_equal(a.ups + b.ups, 0);
    assert_int_equal(count_lines("node 2 (127.0.0.1"), 1);
    assert_int_equal(count_lines("peer 1 (127.0.0.1"), 1);
    assert_int_equal(count_lines("node 1 has met as many ids as it has room for: start it again"), 2);
    assert_int_equal(line_count, 2);
}

/* As many as a cluster has nodes are peers, and one more is to be met, and comes. */
static void who_finds_no_place_is_refused_with_one_line(void **state)
{
    enum { LAST = 3 + LIMIT_NODES };
    struct host a, nobody;
    (void)state;
    host_start(&nobody, 3, 0, NULL);
    host_stop(&nobody); /* its port refuses */
    keep_lines();
    host_start(&a, 1, 0, NULL);
    for (int32_t id = 3; id <= LAST; id++) {
        nobody.id = id;
        meet(&a, &nobody);
    }
    for (int i = 0; i < 4; i++) {
        close(greet(&a, LAST, 1, CHANNEL_CONTROL, FRAME_REFUSAL));
        meet(&a, &nobody);
    }
    host_stop(&a);
    log_sink_set(log_to_stderr);
    assert_int_equal(line_count, 1);
    assert_int_equal(count_lines("node 67 (127.0.0.1"), 1);
    assert_int_equal(count_lines("node 1 has 64 peers, and no room for another"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stranger_is_given_no_memory),
        cmocka_unit_test(nor_is_who_was_connected_to),
        cmocka_unit_test(what_comes_before_the_other_connection_waits_for_it),
        cmocka_unit_test(connections_of_two_sessions_make_no_peer),
        cmocka_unit_test(a_hello_of_an_earlier_session_ends_no_later_one),
        cmocka_unit_test(a_hello_of_a_later_session_is_taken_at_once),
        cmocka_unit_test(of_two_processes_of_one_id_the_elder_stays_and_both_are_said),
        cmocka_unit_test(who_is_started_with_the_id_of_another_node_hears_so),
        cmocka_unit_test(a_peer_that_comes_and_goes_is_a_few_lines),
        cmocka_unit_test(who_is_forgotten_gives_its_place_to_another),
        cmocka_unit_test(who_is_not_taken_is_refused_with_a_line_on_both_sides),
        cmocka_unit_test(who_finds_no_place_is_refused_with_one_line),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("strangers", tests, NULL, NULL);
}
