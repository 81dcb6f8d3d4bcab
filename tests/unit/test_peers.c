/* tests/unit/test_peers.c: what peers send each other, without TLS and with it, and how they lose each other. The
 * program is linked with --wrap for malloc(), so that memory can end for a thread. */
#include "tests/unit/peers_fixture.h"

enum { BIG = 8 << 20, RECORD = 16 << 10 };

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static _Thread_local bool memory_ended;

void *__wrap_malloc(size_t size)
{
    return memory_ended ? NULL : __real_malloc(size);
}

/* A node's certificate and what it trusts, by its id; without TLS none. */
struct certificates {
    struct tls_context *of[3];
};

static struct certificates in_clear, certified;

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

static int make_certificates(void **state)
{
    (void)state;
    return certificates_make(certified.of, 2);
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
        cmocka_unit_test_prestate(a_record_whose_frame_cannot_be_kept_ends_the_connection, &certified),
        cmocka_unit_test_prestate(records_that_are_held_back_go_out_once_the_socket_takes_more, &certified),
        cmocka_unit_test(a_killed_process_is_known_to_be_dead),
    };
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3)
        return run_child(argv[2]);
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
