/* tests/sim/net_check.c: toys send numbered frames to each other and look at what comes.
 *
 * Between an up() and the next down(), what comes of a channel is what the other side has sent in that session, from
 * the first on, without a gap; what is dead was ended; and once everything is whole, everybody is up with everybody,
 * and what is sent comes. */
#include "tests/sim/net_check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/chance.h"
#include "tests/sim/net.h"

enum { TOYS = 4, TURNS = 3000, REST_MS = 20000 };

struct numbered {
    uint64_t process; /* of the sender */
    uint64_t session; /* counts its up()s of that peer */
    uint64_t number;  /* in the channel */
};

struct toy {
    struct check *check;
    struct transport *transport; /* NULL: not running */
    int32_t id;
    uint64_t process;
    struct {
        bool up;
        uint64_t process; /* the other's, of this session */
        uint64_t ups;
        uint64_t sent[CHANNELS];
        struct numbered last[CHANNELS]; /* that came */
        bool came[CHANNELS];
        uint64_t received;
    } peers[TOYS];
};

struct check {
    struct net net;
    int64_t now_ms;
    uint64_t chance, processes;
    struct toy toys[TOYS];
    char *failure;
    size_t size;
};

static void fail(struct check *check, const char *what, int32_t at, int32_t other)
{
    if (check->failure[0] == '\0')
        snprintf(check->failure, check->size, "node %d, of node %d: %s", (int)at, (int)other, what);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    struct toy *toy = arg;
    if (toy->peers[node - 1].up)
        fail(toy->check, "up twice", toy->id, node);
    if (hello->from != node || hello->to != toy->id)
        fail(toy->check, "another's hello", toy->id, node);
    toy->peers[node - 1].up = true;
    toy->peers[node - 1].ups++;
    toy->peers[node - 1].process = hello->process;
    memset(toy->peers[node - 1].sent, 0, sizeof toy->peers[0].sent);
    memset(toy->peers[node - 1].came, 0, sizeof toy->peers[0].came);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    struct toy *toy = arg;
    if (!toy->peers[node - 1].up)
        fail(toy->check, "down, and it was not up", toy->id, node);
    if (goodbye && toy->check->toys[node - 1].process == toy->peers[node - 1].process &&
        toy->check->toys[node - 1].transport != NULL)
        fail(toy->check, "a goodbye of one that lives", toy->id, node);
    toy->peers[node - 1].up = false;
}

static void on_dead(void *arg, int32_t node, uint64_t process)
{
    struct toy *toy = arg;
    const struct toy *other = &toy->check->toys[node - 1];
    if (toy->peers[node - 1].up || (other->transport != NULL && other->process == process))
        fail(toy->check, "dead, and it lives", toy->id, node);
}

static void on_frame(void *arg, int32_t node, enum channel channel, struct frame *frame)
{
    struct toy *toy = arg;
    struct numbered it, *last = &toy->peers[node - 1].last[channel];
    assert(frame->body_bytes == sizeof it);
    memcpy(&it, frame->body, sizeof it);
    free(frame);
    if (!toy->peers[node - 1].up || it.process != toy->peers[node - 1].process)
        fail(toy->check, "a frame of another session", toy->id, node);
    else if (!toy->peers[node - 1].came[channel] ? it.number != 0
                                                 : it.session != last->session || it.number != last->number + 1)
        fail(toy->check, "a frame is missing, doubled or out of order", toy->id, node);
    toy->peers[node - 1].came[channel] = true;
    toy->peers[node - 1].received++;
    *last = it;
}

static void start(struct check *check, struct toy *toy)
{
    struct transport_events events = {toy, on_up, on_down, on_dead, on_frame, NULL, NULL};
    struct hello hello = {.protocol_min = HELLO_PROTOCOL_MIN, .protocol_max = HELLO_PROTOCOL_MAX, .from = toy->id};
    struct transport_source *source = net_source(&check->net, toy->id);
    struct err e;
    net_host_up(&check->net, toy->id);
    for (int i = 0; i < TOYS; i++)
        toy->peers[i].up = false;
    toy->process = hello.process = ++check->processes;
    int rc = source->start(source, &hello, &events, &toy->transport, &e);
    assert(rc == 0);
    for (int32_t id = 1; id <= TOYS; id++) {
        if (id != toy->id)
            toy->transport->meet(toy->transport, id, "", NET_PORT);
    }
}

static void send_to(struct check *check, struct toy *toy, int32_t to, enum channel channel)
{
    struct numbered it = {toy->process, toy->peers[to - 1].ups, toy->peers[to - 1].sent[channel]};
    struct iovec body = {&it, sizeof it};
    struct frame_out out = {.kind = FRAME_MESSAGES, .body = &body, .body_count = 1};
    int rc = toy->transport->send(toy->transport, to, channel, &out);
    if ((rc == 0) != toy->peers[to - 1].up)
        fail(check, "what it says of sending is not what it says of the peer", toy->id, to);
    toy->peers[to - 1].sent[channel] += rc == 0;
}

static void send_one(struct check *check, struct toy *toy, int32_t to)
{
    send_to(check, toy, to, (enum channel)chance_below(&check->chance, CHANNELS));
}

static void befall(struct check *check, struct toy *toy, int32_t other)
{
    struct net *net = &check->net;
    struct transport_source *source = net_source(net, toy->id);
    switch (chance_below(&check->chance, 9)) {
    case 0:
        net_cut(net, toy->id, other, true);
        break;
    case 1:
        net_lose(net, toy->id, other);
        break;
    case 2:
        toy->transport->drop(toy->transport, other);
        break;
    case 3:
        source->stop(source);
        toy->transport = NULL;
        break;
    case 4:
        net_end(net, toy->id, chance_in(&check->chance, 2));
        toy->transport = NULL;
        break;
    case 5:
        net->frail_ms[toy->id - 1][other - 1] = (int32_t)chance_below(&check->chance, 500);
        break;
    case 6:
        net->delay_ms[toy->id - 1][other - 1] = (int32_t)chance_below(&check->chance, 800);
        break;
    default:
        net_heal(net);
    }
}

static void take_turn(struct check *check)
{
    struct toy *toy = &check->toys[chance_below(&check->chance, TOYS)];
    int32_t other = 1 + (int32_t)chance_below(&check->chance, TOYS - 1);
    if (other >= toy->id)
        other++;
    if (toy->transport == NULL) {
        if (chance_in(&check->chance, 4))
            start(check, toy);
    } else if (chance_in(&check->chance, 20)) {
        befall(check, toy, other);
    } else {
        send_one(check, toy, other);
    }
}

static void pass(struct check *check, int64_t ms)
{
    int64_t until_ms = check->now_ms + ms;
    while (check->failure[0] == '\0') {
        if (net_ready(&check->net, 0)) {
            net_step(&check->net, 0);
            continue;
        }
        int64_t next_ms = net_next_ms(&check->net);
        if (next_ms > until_ms)
            break;
        check->now_ms = next_ms;
    }
    check->now_ms = until_ms;
}

/* Everybody is up with everybody, and means the same connections by that. */
static void check_whole(struct check *check)
{
    uint64_t before[TOYS][TOYS];
    for (int i = 0; i < TOYS; i++) {
        for (int other = 0; other < TOYS; other++) {
            before[i][other] = check->toys[i].peers[other].received;
            if (other != i && !check->toys[i].peers[other].up)
                fail(check, "not up in the end", i + 1, other + 1);
            for (int c = 0; c < CHANNELS && other != i; c++)
                send_to(check, &check->toys[i], other + 1, (enum channel)c);
        }
    }
    pass(check, REST_MS);
    for (int i = 0; i < TOYS; i++) {
        for (int other = 0; other < TOYS; other++) {
            if (other != i && check->toys[i].peers[other].received != before[i][other] + CHANNELS)
                fail(check, "in the end what was sent does not come", i + 1, other + 1);
        }
    }
}

void net_check(uint64_t seed, char *failure, size_t size)
{
    static struct check check;
    check = (struct check){.chance = chance_seed(seed, 500), .failure = failure, .size = size};
    failure[0] = '\0';
    net_init(&check.net, chance_seed(seed, 501), &check.now_ms, TOYS);
    for (int i = 0; i < TOYS; i++)
        check.toys[i] = (struct toy){.check = &check, .id = i + 1};
    for (int i = 0; i < TURNS && failure[0] == '\0'; i++) {
        take_turn(&check);
        pass(&check, (int64_t)chance_below(&check.chance, chance_in(&check.chance, 50) ? 4000 : 5));
    }
    net_heal(&check.net);
    for (int i = 0; i < TOYS; i++) {
        if (check.toys[i].transport == NULL)
            start(&check, &check.toys[i]);
    }
    pass(&check, REST_MS);
    check_whole(&check);
    net_free(&check.net);
}
