/* tests/sim/net_link.c: how connections begin and end, as each of their sides has it: replication/wire/peer.c with
 * chance in place of sockets. */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/net_internal.h"

enum {
    GIVE_UP_FIRST_MS = 5000, /* TCP's user timeout and keepalive */
    GIVE_UP_LAST_MS = 10000,
    BACKOFF_FIRST_MS = 50,
    BACKOFF_LAST_MS = 1000,
    CROSSING_MS = 1000,
};

struct packet {
    struct packet *next;
    int64_t due_ms;
    uint64_t bytes;
    struct frame *frame;
};

static void tick(struct net *net, int at, int other);

/* ---- streams ---- */

static void stream_clear(struct stream *stream)
{
    for (struct packet *packet = stream->first, *next; packet != NULL; packet = next) {
        next = packet->next;
        free(packet->frame);
        free(packet);
    }
    *stream = (struct stream){0};
}

void net_stream_add(struct stream *stream, struct frame *frame, int64_t due_ms, uint64_t bytes)
{
    struct packet *packet = malloc(sizeof *packet);
    assert(packet != NULL);
    if (due_ms < stream->last_ms)
        due_ms = stream->last_ms;
    *packet = (struct packet){.due_ms = due_ms, .bytes = bytes, .frame = frame};
    if (stream->first == NULL)
        stream->last = &stream->first;
    *stream->last = packet;
    stream->last = &packet->next;
    stream->last_ms = due_ms;
    stream->bytes += bytes;
}

struct frame *net_stream_take(struct stream *stream)
{
    struct packet *packet = stream->first;
    struct frame *frame = packet->frame;
    stream->first = packet->next;
    stream->bytes -= packet->bytes;
    free(packet);
    return frame;
}

int64_t net_stream_due_ms(const struct stream *stream)
{
    return stream->first->due_ms;
}

/* ---- links ---- */

static struct net_link *link_of(struct net *net, int at, int other, int channel)
{
    return &net_side(net, at, other)->links[channel];
}

static void link_clear(struct net_link *link)
{
    stream_clear(&link->in);
    *link =
        (struct net_link){.hello_ms = INT64_MAX, .answer_ms = INT64_MAX, .end_ms = INT64_MAX, .silence_ms = INT64_MAX};
}

static void link_set(struct net *net, struct net_link *link, enum net_link_state state)
{
    link->state = state;
    link->since_ms = net_now(net);
}

struct net_link *net_far_end(struct net *net, int at, int other, int channel)
{
    struct net_link *near = link_of(net, at, other, channel), *far = link_of(net, other, at, channel);
    return near->state != NET_LINK_DOWN && far->state != NET_LINK_DOWN && near->number == far->number ? far : NULL;
}

void net_give_up_soon(struct net *net, struct net_link *link)
{
    int64_t give_up_ms = net_now(net) + GIVE_UP_FIRST_MS + net_some(net, GIVE_UP_LAST_MS - GIVE_UP_FIRST_MS);
    if (link->state != NET_LINK_DOWN && give_up_ms < link->silence_ms)
        link->silence_ms = give_up_ms;
}

void net_link_lose(struct net *net, struct net_link *link, int64_t within_ms)
{
    int64_t at_ms = net_now(net) + net_some(net, within_ms);
    if (link->state == NET_LINK_DOWN || link->silence_ms < at_ms)
        return;
    link->silence_ms = at_ms;
    link->quiet = chance_in(&net->chance, 3);
}

/* The connection ends here; who has its other end hears of that soon, if anything can come there; in any case by
 * itself. */
static void link_down(struct net *net, int at, int other, int channel, bool goodbye)
{
    struct net_link *link = link_of(net, at, other, channel), *far = net_far_end(net, at, other, channel);
    if (far != NULL && !link->quiet && far->end_ms == INT64_MAX) {
        far->end_ms = net_delayed(net, at, other);
        far->goodbye = goodbye;
    }
    if (far != NULL)
        net_give_up_soon(net, far);
    if (link->state != NET_LINK_DOWN)
        net->ends++;
    link_clear(link);
}

void net_side_clear(struct net *net, struct side *side)
{
    for (int c = 0; c < CHANNELS; c++)
        link_clear(&side->links[c]);
    side->up = side->goodbye = side->known = side->watched = side->refused = false;
    side->dial_ms = INT64_MAX;
    side->backoff_ms = 0;
    side->session = ++net->session_numbers;
}

void net_side_abandon(struct net *net, int at, int other, bool goodbye)
{
    for (int c = 0; c < CHANNELS; c++) {
        struct net_link *dialed = link_of(net, other, at, c);
        link_down(net, at, other, c, goodbye);
        if (dialed->state == NET_LINK_GREETING && dialed->end_ms == INT64_MAX)
            dialed->end_ms = net_delayed(net, at, other); /* its hello meets nobody */
    }
    net_side_clear(net, net_side(net, at, other));
}

/* ---- the peer ---- */

static void retry_soon(struct net *net, struct side *side)
{
    if (!side->known || side->dial_ms != INT64_MAX)
        return;
    side->dial_ms = net_now(net) + side->backoff_ms / 2 + net_some(net, side->backoff_ms);
    side->backoff_ms = side->backoff_ms == 0 ? BACKOFF_FIRST_MS : 2 * side->backoff_ms;
    if (side->backoff_ms > BACKOFF_LAST_MS)
        side->backoff_ms = BACKOFF_LAST_MS;
}

/* One of its connections has ended: the session is over, the other one is watched. */
static void lose(struct net *net, int at, int other)
{
    struct net_node *node = &net->nodes[at];
    struct side *side = net_side(net, at, other);
    side->up = false;
    side->watched = !side->goodbye;
    side->refused = false;
    side->lost_process = side->links[0].theirs.process;
    side->session = ++net->session_numbers;
    side->backoff_ms = 0;
    for (int c = 0; c < CHANNELS; c++) {
        if (side->links[c].state != NET_LINK_UP)
            continue;
        stream_clear(&side->links[c].in);
        link_set(net, &side->links[c], NET_LINK_DYING);
    }
    node->events.down(node->events.arg, net->nodes[other].id, side->goodbye);
}

/* Has the other side lost one of the two connections already? */
static bool is_crossed(struct net *net, int at, int other)
{
    bool crossed = false;
    for (int c = 0; c < CHANNELS; c++) {
        const struct net_link *far = net_far_end(net, at, other, c);
        crossed = crossed || far == NULL || far->state == NET_LINK_DYING;
    }
    return crossed;
}

static void come_up(struct net *net, int at, int other)
{
    struct net_node *node = &net->nodes[at];
    struct side *side = net_side(net, at, other);
    side->up = true;
    side->goodbye = false;
    side->backoff_ms = 0;
    side->dial_ms = INT64_MAX;
    net->sessions++;
    net->crossed += is_crossed(net, at, other);
    node->events.up(node->events.arg, net->nodes[other].id, &side->links[CHANNEL_CONTROL].theirs);
}

static bool is_one_session(const struct hello *a, const struct hello *b)
{
    return a->process == b->process && a->session == b->session;
}

static bool is_older(const struct net_link *link, const struct net_link *than)
{
    if (link->theirs.process == than->theirs.process)
        return link->theirs.session < than->theirs.session;
    return link->since_ms <= than->since_ms;
}

/* The links have changed: is the peer up, is it dead, is there something to dial? */
static void tick(struct net *net, int at, int other)
{
    struct side *side = net_side(net, at, other);
    struct net_link *control = &side->links[CHANNEL_CONTROL], *records = &side->links[CHANNEL_RECORDS];
    if (control->state == NET_LINK_UP && records->state == NET_LINK_UP && !side->up) {
        if (is_one_session(&control->theirs, &records->theirs)) {
            come_up(net, at, other);
            return;
        }
        link_down(net, at, other, is_older(control, records) ? CHANNEL_CONTROL : CHANNEL_RECORDS, false);
    }
    if (side->watched && side->refused && control->state == NET_LINK_DOWN && records->state == NET_LINK_DOWN) {
        struct net_node *node = &net->nodes[at];
        side->watched = false;
        net->deaths++;
        node->events.dead(node->events.arg, net->nodes[other].id, side->lost_process);
    }
    if (control->state == NET_LINK_DOWN || records->state == NET_LINK_DOWN)
        retry_soon(net, side);
}

/* The other side is there: what is left of a lost session goes. */
static void link_up(struct net *net, int at, int other, int channel)
{
    struct side *side = net_side(net, at, other);
    side->watched = false;
    for (int c = 0; c < CHANNELS; c++) {
        if (side->links[c].state == NET_LINK_DYING)
            link_down(net, at, other, c, false);
    }
    link_set(net, &side->links[channel], NET_LINK_UP);
    if (net->frail_ms[at][other] > 0)
        net_link_lose(net, &side->links[channel], net->frail_ms[at][other]);
    side->known = true;
    tick(net, at, other);
}

/* ---- what happens ---- */

/* One attempt to connect what is down. */
void net_dial(struct net *net, int at, int other)
{
    struct side *side = net_side(net, at, other);
    bool open = net_open_way(net, at, other) && net_open_way(net, other, at);
    side->dial_ms = INT64_MAX;
    for (int c = 0; c < CHANNELS && open; c++) {
        struct net_link *link = &side->links[c];
        if (link->state != NET_LINK_DOWN)
            continue;
        if (!net->nodes[other].running) {
            side->refused = true;
            continue;
        }
        link_set(net, link, NET_LINK_GREETING);
        link->number = ++net->connections;
        link->hello_ms = net_delayed(net, at, other);
    }
    tick(net, at, other);
}

/* What the one says to the other, as long as it is in that session. */
static struct hello hello_of(struct net *net, int from, int to)
{
    struct hello hello = net->nodes[from].hello;
    hello.to = net->nodes[to].id;
    hello.session = net_side(net, from, to)->session;
    return hello;
}

/* That of a connection which the other side has dialed. None is late (is_late, peer.c): it is what that side says when
 * it comes, and one whose connection has ended meanwhile never does. */
static bool is_taken(const struct net *net, int at, const struct net_link *link, const struct hello *theirs)
{
    const struct net_node *node = &net->nodes[at];
    struct err e;
    if (hello_check(&node->hello, theirs, &e) != REFUSAL_NONE)
        return false;
    if (link->state == NET_LINK_GREETING && node->id < theirs->from)
        return false; /* its own goes on */
    return link->state != NET_LINK_UP || !is_one_session(&link->theirs, theirs) ||
           net_now(net) - link->since_ms >= CROSSING_MS;
}

void net_hello_comes(struct net *net, int at, int other, int channel)
{
    struct net_link *link = link_of(net, at, other, channel), *dialed = link_of(net, other, at, channel);
    struct hello theirs = hello_of(net, other, at); /* which has lost nothing since it said that */
    dialed->hello_ms = INT64_MAX;
    dialed->welcome = is_taken(net, at, link, &theirs);
    dialed->answer_ms = net_delayed(net, at, other);
    if (!dialed->welcome)
        return;
    if (net_side(net, at, other)->up)
        lose(net, at, other);
    link_down(net, at, other, channel, false);
    dialed->theirs = hello_of(net, at, other);
    link->number = dialed->number;
    link->theirs = theirs;
    dialed->in.last_ms = dialed->answer_ms; /* nothing comes before it */
    link_up(net, at, other, channel);
}

void net_answer_comes(struct net *net, int at, int other, int channel)
{
    struct net_link *link = link_of(net, at, other, channel);
    link->answer_ms = INT64_MAX;
    if (link->welcome) {
        link_up(net, at, other, channel);
        return;
    }
    link_down(net, at, other, channel, false);
    retry_soon(net, net_side(net, at, other));
}

/* It has ended, on the other side or by itself. */
static void ended(struct net *net, int at, int other, int channel)
{
    struct side *side = net_side(net, at, other);
    if (side->up)
        lose(net, at, other);
    link_down(net, at, other, channel, false);
    tick(net, at, other);
}

void net_end_comes(struct net *net, int at, int other, int channel)
{
    struct side *side = net_side(net, at, other);
    side->goodbye |= side->links[channel].goodbye;
    ended(net, at, other, channel);
}

void net_gives_up(struct net *net, int at, int other, int channel)
{
    ended(net, at, other, channel);
}

void net_link_overdue(struct net *net, int at, int other, int channel)
{
    link_down(net, at, other, channel, false);
    tick(net, at, other);
}
