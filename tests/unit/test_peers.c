/* tests/unit/test_peers.c: nodes that meet over loopback, each on a loop and a thread of its own, without TLS and with
 * it. The program is linked with --wrap for malloc(), so that memory can end for a thread. */
#include "replication/wire/peers.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "replication/base/limits.h"
#include "tests/unit/scratch.h"

enum { WAIT_S = 20, KIND = FRAME_MESSAGES, BIG = 8 << 20, RECORD = 16 << 10 };

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static _Thread_local bool memory_ended;
static _Atomic size_t largest; /* that was asked for at once, since the test has said 0 */

void *__wrap_malloc(size_t size)
{
    if (size > atomic_load(&largest))
        atomic_store(&largest, size);
    return memory_ended ? NULL : __real_malloc(size);
}

/* A node's certificate and what it trusts, by its id; without TLS none. */
struct certificates {
    struct tls_context *of[3];
};

static struct certificates in_clear, certified;

/* One node. What it was told is counted under the lock. */
struct host {
    int32_t id;
    uv_loop_t loop;
    uv_async_t stop;
    struct peers *peers;
    int port;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ups, downs, goodbyes, deaths, frames[CHANNELS];
    uint64_t frame_bytes, out_of_order, damaged, process, dead_process;
    uint32_t next[CHANNELS];
    atomic_bool full[CHANNELS]; /* it has no room for more */
    unsigned asked;             /* whether it takes somebody */
    atomic_int not_taken;       /* whom it does not */
};

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    struct host *host = arg;
    (void)node;
    pthread_mutex_lock(&host->lock);
    host->ups++;
    host->process = hello->process;
    host->next[0] = host->next[1] = 0;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    struct host *host = arg;
    (void)node;
    pthread_mutex_lock(&host->lock);
    host->downs++;
    host->goodbyes += goodbye;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

static void on_dead(void *arg, int32_t node, uint64_t process)
{
    struct host *host = arg;
    (void)node;
    pthread_mutex_lock(&host->lock);
    host->deaths++;
    host->dead_process = process;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

/* What a frame's body is made of: each byte by its place, and by the frame's number. */
static uint8_t body_byte(uint32_t number, size_t at)
{
    return (uint8_t)(number * 31 + at + (at >> 8) * 7);
}

static bool is_damaged(uint32_t number, const struct frame *frame)
{
    for (size_t i = 0; i < frame->body_bytes; i++) {
        if (frame->body[i] != body_byte(number, i))
            return true;
    }
    return false;
}

static void on_frame(void *arg, int32_t node, enum channel channel, struct frame *frame)
{
    struct host *host = arg;
    uint32_t number;
    (void)node;
    assert_int_equal(frame->header_bytes, sizeof number);
    memcpy(&number, frame->header, sizeof number);
    bool damaged = is_damaged(number, frame);
    pthread_mutex_lock(&host->lock);
    host->damaged += damaged;
    host->out_of_order += number != host->next[channel];
    host->next[channel] = number + 1;
    host->frames[channel]++;
    host->frame_bytes += frame->body_bytes;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
    free(frame);
}

static bool on_full(void *arg, int32_t node, enum channel channel)
{
    (void)node;
    return atomic_load(&((struct host *)arg)->full[channel]);
}

static int on_takes(void *arg, int32_t node)
{
    struct host *host = arg;
    pthread_mutex_lock(&host->lock);
    host->asked++;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->lock);
    return node == atomic_load(&host->not_taken) ? -ENOSPC : 0;
}

static void *host_run(void *arg)
{
    uv_run(&((struct host *)arg)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void on_stopped(void *arg)
{
    uv_close((uv_handle_t *)&((struct host *)arg)->stop, NULL);
}

static void on_stop(uv_async_t *stop)
{
    struct host *host = stop->data;
    peers_stop(host->peers, on_stopped, host);
}

static void host_start(struct host *host, int32_t id, int port, struct tls_context *tls)
{
    struct err e = {""};
    struct peers_options options = {.loop = &host->loop, .host = "127.0.0.1", .port = port, .tls = tls};
    memset(host, 0, sizeof *host);
    host->id = id;
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->changed, NULL);
    assert_int_equal(uv_loop_init(&host->loop), 0);
    uv_async_init(&host->loop, &host->stop, on_stop);
    host->stop.data = host;
    options.seed = (uint64_t)id;
    options.hello = (struct hello){.protocol_min = 1, .protocol_max = 1, .from = id, .feature_level = 1};
    options.hello.process = ((uint64_t)getpid() << 32) + (uint64_t)id;
    options.events = (struct transport_events){host, on_up, on_down, on_dead, on_frame, on_full, on_takes};
    if (peers_start(&options, &host->peers, &e) != 0)
        fail_msg("%s", e.text);
    host->port = peers_port(host->peers);
    assert_int_equal(pthread_create(&host->thread, NULL, host_run, host), 0);
}

static void host_stop(struct host *host)
{
    uv_async_send(&host->stop);
    pthread_join(host->thread, NULL);
    assert_int_equal(uv_loop_close(&host->loop), 0);
}

static void meet(struct host *host, const struct host *other)
{
    struct transport *transport = peers_transport(host->peers);
    assert_int_equal(transport->meet(transport, other->id, "127.0.0.1", other->port), 0);
}

/* Until *count is at least `least`. */
static void await(struct host *host, const unsigned *count, unsigned least)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_S;
    pthread_mutex_lock(&host->lock);
    while (*count < least) {
        if (pthread_cond_timedwait(&host->changed, &host->lock, &deadline) != 0)
            break;
    }
    unsigned seen = *count;
    pthread_mutex_unlock(&host->lock);
    if (seen < least)
        fail_msg("node %d: %u of %u in %d s", host->id, seen, least, WAIT_S);
}

/* With a body of so many bytes, of which `room` has as many, in so many parts. */
static int send_number(struct host *host, int32_t to, enum channel channel, uint32_t number, uint8_t *room,
                       size_t body_bytes, int parts)
{
    struct transport *transport = peers_transport(host->peers);
    struct frame_out out = {.kind = KIND, .header = &number, .header_bytes = sizeof number};
    struct iovec body[parts + 1];
    size_t from = 0;
    for (size_t i = 0; i < body_bytes; i++)
        room[i] = body_byte(number, i);
    for (int i = 0; i < parts; i++) {
        size_t end =
            i + 1 < parts ? body_bytes * (size_t)(i + 1) * (size_t)(i + 1) / (size_t)(parts * parts) : body_bytes;
        body[i] = (struct iovec){room + from, end - from};
        from = end;
    }
    out.body = body;
    out.body_count = parts;
    return transport->send(transport, to, channel, &out);
}

static void pair_start(struct host *a, struct host *b, const struct certificates *certificates)
{
    host_start(a, 1, 0, certificates->of[1]);
    host_start(b, 2, 0, certificates->of[2]);
    meet(a, b);
    meet(b, a);
    await(a, &a->ups, 1);
    await(b, &b->ups, 1);
}

static void frames_arrive_in_order_on_both_channels(void **state)
{
    struct host a, b;
    pair_start(&a, &b, *state);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(send_number(&a, 2, CHANNEL_CONTROL, i, NULL, 0, 0), 0);
        assert_int_equal(send_number(&a, 2, CHANNEL_RECORDS, i, NULL, 0, 0), 0);
        assert_int_equal(send_number(&b, 1, CHANNEL_RECORDS, i, NULL, 0, 0), 0);
    }
    await(&b, &b.frames[CHANNEL_CONTROL], 1000);
    await(&b, &b.frames[CHANNEL_RECORDS], 1000);
    await(&a, &a.frames[CHANNEL_RECORDS], 1000);
    assert_int_equal(a.out_of_order + b.out_of_order, 0);
    assert_int_equal(a.ups + b.ups, 2);
    host_stop(&a);
    await(&b, &b.goodbyes, 1);
    host_stop(&b);
}

/* Around a TLS record, and what the socket, and the buffers in front of it, take at once. */
static void frames_of_all_sizes_arrive_whole(void **state)
{
    static const size_t sizes[] = {0,         1,          100,        RECORD - 24, RECORD - 1,
                                   RECORD,    RECORD + 1, 2 * RECORD, 64 << 10,    (64 << 10) + 1,
                                   128 << 10, 1000003,    3 << 20};
    enum { SIZES = sizeof sizes / sizeof sizes[0], ROUNDS = 3 };
    struct host a, b;
    uint8_t *room = malloc(3 << 20);
    uint32_t sent = 0;
    uint64_t bytes = 0;
    pair_start(&a, &b, *state);
    for (int parts = 1; parts <= ROUNDS; parts++) {
        for (size_t i = 0; i < SIZES; i++) {
            assert_int_equal(send_number(&a, 2, CHANNEL_RECORDS, sent++, room, sizes[i], parts * parts * parts), 0);
            bytes += sizes[i];
        }
    }
    await(&b, &b.frames[CHANNEL_RECORDS], sent);
    assert_int_equal(b.frame_bytes, bytes);
    assert_int_equal(b.damaged + b.out_of_order, 0);
    free(room);
    host_stop(&a);
    host_stop(&b);
}

static void what_the_socket_does_not_take_is_sent_later(void **state)
{
    struct host a, b;
    uint8_t *room = malloc(BIG);
    uint32_t sent = 0;
    pair_start(&a, &b, *state);
    for (uint32_t i = 0; i < 12; i++) {
        if (send_number(&a, 2, CHANNEL_RECORDS, sent, room, BIG, 1) == 0)
            sent++;
    }
    assert_true(sent >= 8);
    assert_int_equal(send_number(&a, 2, CHANNEL_CONTROL, 0, NULL, 0, 0), 0);
    await(&b, &b.frames[CHANNEL_CONTROL], 1);
    await(&b, &b.frames[CHANNEL_RECORDS], sent);
    assert_int_equal(b.frame_bytes, (uint64_t)sent * BIG);
    assert_int_equal(b.damaged + b.out_of_order, 0);
    free(room);
    host_stop(&b);
    await(&a, &a.goodbyes, 1);
    host_stop(&a);
}

static void have_room(struct host *host, int32_t node, enum channel channel)
{
    struct transport *transport = peers_transport(host->peers);
    atomic_store(&host->full[channel], false);
    transport->look(transport, node, channel);
}

/* Its connection is not read any more, while the other one goes on; and it is read once there is room. So little is
 * sent that the sockets hold it: nobody's patience ends. */
static void a_connection_for_which_there_is_no_room_is_not_read(void **state)
{
    enum { FEW = 8, BYTES = 2000 };
    struct host a, b;
    uint8_t room[BYTES];
    pair_start(&a, &b, *state);
    atomic_store(&b.full[CHANNEL_RECORDS], true);
    for (uint32_t i = 0; i < FEW; i++) {
        assert_int_equal(send_number(&a, 2, CHANNEL_RECORDS, i, room, BYTES, 1), 0);
        assert_int_equal(send_number(&a, 2, CHANNEL_CONTROL, i, NULL, 0, 0), 0);
        await(&b, &b.frames[CHANNEL_CONTROL], i + 1);
    }
    assert_int_equal(b.frames[CHANNEL_RECORDS], 0);
    have_room(&b, 1, CHANNEL_RECORDS);
    await(&b, &b.frames[CHANNEL_RECORDS], FEW);
    assert_int_equal(b.damaged + b.out_of_order, 0);
    assert_int_equal(a.downs + b.downs, 0);
    host_stop(&a);
    host_stop(&b);
}

/* Both ends of the connections to that port that wait so long for what they have sent to be acknowledged (tcp(7)). */
static int patient_sockets(int port, unsigned timeout_ms)
{
    int found = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in own, other;
        unsigned ms = 0;
        socklen_t own_len = sizeof own, other_len = sizeof other, len = sizeof ms;
        if (getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
            getpeername(fd, (struct sockaddr *)&other, &other_len) == 0 && own.sin_family == AF_INET &&
            (ntohs(own.sin_port) == port || ntohs(other.sin_port) == port) &&
            getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &len) == 0)
            found += ms == timeout_ms;
    }
    return found;
}

/* A window that is shut counts as unacknowledged there. Who is not read for want of room is not dead: a disk may stand
 * still for longer than a host that is gone is waited for, which the other connection tells. */
static void records_may_go_unread_for_a_minute(void **state)
{
    struct certificates *certificates = *state;
    struct host a, b;
    host_start(&a, 1, 0, certificates->of[1]);
    host_start(&b, 2, 0, certificates->of[2]);
    meet(&a, &b);
    await(&a, &a.ups, 1);
    await(&b, &b.ups, 1);
    assert_int_equal(patient_sockets(b.port, 10000), 2);
    assert_int_equal(patient_sockets(b.port, 60000), 2);
    host_stop(&a);
    host_stop(&b);
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

/* A connection of that node, of one of its sessions, whose hello was answered by a frame of that kind. */
static int greet(const struct host *host, int32_t from, uint64_t session, enum channel channel, uint8_t kind)
{
    uint8_t bytes[HELLO_BYTES_MAX], preamble[FRAME_PREAMBLE_BYTES];
    struct hello hello = {.protocol_min = 1, .protocol_max = 1, .from = from, .to = host->id, .feature_level = 1};
    struct sockaddr_in addr = loopback(host->port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hello.process = 7;
    hello.session = session;
    hello.channel = (int32_t)channel;
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    send_raw(fd, FRAME_HELLO, bytes, hello_encode(&hello, bytes));
    assert_int_equal(recv(fd, preamble, sizeof preamble, MSG_WAITALL), sizeof preamble);
    assert_int_equal(preamble[3], kind);
    return fd;
}

/* One of node 2 that was let in. */
static int greet_in(const struct host *host, enum channel channel, uint64_t session)
{
    return greet(host, 2, session, channel, FRAME_WELCOME);
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
    send_raw(control, KIND, &(uint32_t){0}, sizeof(uint32_t));
    await(&a, &a.frames[CHANNEL_CONTROL], 1);
    assert_int_equal(a.downs, 0);
    close(lost);
    close(control);
    close(records);
    host_stop(&a);
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

enum { SMALL = 4000 };

/* Small frames while the other side does not read, until one would have to be kept, for which there is no memory.
 * Returns how many went out before. */
static uint32_t fill(struct host *a, struct host *b)
{
    uint8_t room[SMALL];
    uint32_t sent = 0;
    int rc = 0;
    pthread_mutex_lock(&b->lock); /* its loop waits for it with the first frame */
    while (rc == 0) {
        memory_ended = true;
        rc = send_number(a, 2, CHANNEL_RECORDS, sent, room, SMALL, 1);
        memory_ended = false;
        sent += rc == 0;
    }
    pthread_mutex_unlock(&b->lock);
    assert_int_equal(rc, -ENOMEM);
    return sent;
}

/* OpenSSL has the record, and sends it in front of what comes next: so the connection has to end. */
static void a_record_whose_frame_cannot_be_kept_ends_the_connection(void **state)
{
    struct host a, b;
    pair_start(&a, &b, *state);
    fill(&a, &b);
    await(&a, &a.ups, 2);
    await(&b, &b.ups, 2);
    assert_int_equal(b.damaged, 0);
    host_stop(&a);
    host_stop(&b);
}

/* About as many as the socket takes, and a few more or less: with some of these numbers the last records have gone no
 * further than into the buffer in front of it. */
static void records_that_are_held_back_go_out_once_the_socket_takes_more(void **state)
{
    enum { TURNS = 24 };
    struct host a, b;
    uint8_t room[SMALL];
    pair_start(&a, &b, *state);
    uint32_t most = fill(&a, &b), number = 0;
    await(&a, &a.ups, 2);
    await(&b, &b.ups, 2);
    pthread_mutex_lock(&b.lock);
    b.frames[CHANNEL_RECORDS] = 0;
    pthread_mutex_unlock(&b.lock);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        pthread_mutex_lock(&b.lock);
        for (uint32_t i = turn; i < most; i++)
            assert_int_equal(send_number(&a, 2, CHANNEL_RECORDS, number++, room, SMALL, 1), 0);
        pthread_mutex_unlock(&b.lock);
        await(&b, &b.frames[CHANNEL_RECORDS], number);
    }
    assert_int_equal(b.damaged + b.out_of_order, 0);
    host_stop(&a);
    host_stop(&b);
}

static void a_dropped_peer_is_connected_anew(void **state)
{
    struct host a, b;
    pair_start(&a, &b, *state);
    struct transport *transport = peers_transport(a.peers);
    transport->drop(transport, 2);
    await(&a, &a.ups, 2);
    await(&b, &b.ups, 2);
    assert_int_equal(a.deaths + b.deaths, 0);
    host_stop(&a);
    host_stop(&b);
}

/* A node in a process of its own that says its port and runs until it is killed: this program once more, since a fork
 * of one with threads is no place to make others. */
static int run_child(const char *id)
{
    struct host host;
    host_start(&host, atoi(id), 0, NULL);
    printf("%d\n", host.port);
    fflush(stdout);
    pause();
    return 0;
}

static FILE *spawn_host(const char *id, struct host *out, pid_t *pid)
{
    char port[16];
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    *pid = fork();
    if (*pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_peers", "node", id, NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *said = fdopen(ends[0], "r");
    assert_non_null(fgets(port, sizeof port, said));
    out->id = atoi(id);
    out->port = atoi(port);
    return said;
}

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

static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[32][256];
static int line_count;

static void keep_line(int level, const char *line)
{
    (void)level;
    pthread_mutex_lock(&lines_lock);
    if (line_count < 32)
        snprintf(lines[line_count], sizeof lines[0], "%s", line);
    line_count++;
    pthread_mutex_unlock(&lines_lock);
}

/* The lines with these words. */
static int count_lines(const char *words)
{
    int found = 0;
    pthread_mutex_lock(&lines_lock);
    assert_true(line_count < 32);
    for (int i = 0; i < line_count; i++)
        found += strstr(lines[i], words) != NULL;
    pthread_mutex_unlock(&lines_lock);
    return found;
}

/* However often it comes again. */
static void who_is_not_taken_is_refused_with_a_line_on_both_sides(void **state)
{
    struct host a, b;
    (void)state;
    line_count = 0;
    log_sink_set(keep_line);
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
    line_count = 0;
    log_sink_set(keep_line);
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

static void a_killed_process_is_known_to_be_dead(void **state)
{
    (void)state;
    struct host a, other;
    pid_t pid;
    FILE *said = spawn_host("2", &other, &pid);
    host_start(&a, 1, 0, NULL);
    meet(&a, &other);
    await(&a, &a.ups, 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    await(&a, &a.deaths, 1);
    assert_int_equal(a.dead_process, a.process);
    assert_int_equal(a.downs, 1);
    assert_int_equal(a.goodbyes, 0);
    host_stop(&a);
    fclose(said);
}

/* What a cluster has: mount-scripts/logmnt-ca makes it. */
static int make_certificates(void **state)
{
    char dir[64], command[256], cert[128], key[128], ca[128];
    struct err e = {""};
    (void)state;
    scratch_make(dir, sizeof dir, "peers");
    snprintf(command, sizeof command, "mount-scripts/logmnt-ca %s 1 2 >%s/said 2>&1 || { cat %s/said; false; }", dir,
             dir, dir);
    assert_int_equal(system(command), 0);
    for (int32_t id = 1; id <= 2; id++) {
        snprintf(cert, sizeof cert, "%s/node-%d.crt", dir, id);
        snprintf(key, sizeof key, "%s/node-%d.key", dir, id);
        snprintf(ca, sizeof ca, "%s/ca.crt", dir);
        struct tls_files files = {cert, key, ca};
        if (tls_context_new(&files, id, &certified.of[id], &e) != 0)
            fail_msg("%s", e.text);
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static int free_certificates(void **state)
{
    (void)state;
    tls_context_unref(certified.of[1]);
    tls_context_unref(certified.of[2]);
    return 0;
}

#define STORY(function)                                                                                                \
    {#function, function, NULL, NULL, &in_clear},                                                                      \
    {                                                                                                                  \
#function ", with TLS", function, NULL, NULL, &certified                                                       \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        STORY(frames_arrive_in_order_on_both_channels),
        STORY(frames_of_all_sizes_arrive_whole),
        STORY(what_the_socket_does_not_take_is_sent_later),
        STORY(a_dropped_peer_is_connected_anew),
        STORY(a_connection_for_which_there_is_no_room_is_not_read),
        STORY(records_may_go_unread_for_a_minute),
        cmocka_unit_test(a_stranger_is_given_no_memory),
        cmocka_unit_test(nor_is_who_was_connected_to),
        cmocka_unit_test(what_comes_before_the_other_connection_waits_for_it),
        cmocka_unit_test(connections_of_two_sessions_make_no_peer),
        cmocka_unit_test_prestate(a_record_whose_frame_cannot_be_kept_ends_the_connection, &certified),
        cmocka_unit_test_prestate(records_that_are_held_back_go_out_once_the_socket_takes_more, &certified),
        cmocka_unit_test(who_is_forgotten_gives_its_place_to_another),
        cmocka_unit_test(who_is_not_taken_is_refused_with_a_line_on_both_sides),
        cmocka_unit_test(who_finds_no_place_is_refused_with_one_line),
        cmocka_unit_test(a_killed_process_is_known_to_be_dead),
    };
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3)
        return run_child(argv[2]);
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
