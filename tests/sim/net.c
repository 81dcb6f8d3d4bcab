/* tests/sim/net.c: sessions, what travels in them, and who notices what when.
 *
 * Everything has its time: what is due and possible is listed (`look`), and chance picks one of it. So the order
 * between channels and between pairs is chance, and the order within a channel is the sender's. */
#include "tests/sim/net.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/base/limits.h"
#include "tests/sim/chance.h"

enum {
    DELAY_MS = 4,            /* of a frame, at most, on a sound link */
    GIVE_UP_FIRST_MS = 5000, /* TCP's user timeout and keepalive */
    GIVE_UP_LAST_MS = 10000,
    BACKOFF_FIRST_MS = 50,
    BACKOFF_LAST_MS = 1000,
};

struct packet {
    struct packet *next;
    int64_t due_ms;
    uint64_t bytes;
    struct frame *frame;
};

enum happening_kind { HAPPENS_FRAME, HAPPENS_UP, HAPPENS_END, HAPPENS_GIVE_UP, HAPPENS_DIAL };

/* Something that may happen to one node, with regard to another. */
struct happening {
    enum happening_kind kind;
    int at, other;
    enum channel channel;
    int64_t due_ms;
};

static int64_t now(const struct net *net)
{
    return *net->now_ms;
}

static int64_t some(struct net *net, int64_t most)
{
    return (int64_t)chance_below(&net->chance, (uint64_t)most + 1);
}

static struct side *side_of(struct net *net, int at, int other)
{
    return &net->nodes[at].sides[other];
}

/* Can frames of `from` come to `to`? */
static bool open_way(const struct net *net, int from, int to)
{
    return !net->cut[from][to] && net->nodes[from].host_up && net->nodes[to].host_up;
}

static int64_t delayed(struct net *net, int from, int to)
{
    return now(net) + some(net, net->delay_ms[from][to]);
}

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

static void stream_add(struct stream *stream, struct frame *frame, int64_t due_ms, uint64_t bytes)
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

static struct frame *stream_take(struct stream *stream)
{
    struct packet *packet = stream->first;
    struct frame *frame = packet->frame;
    stream->first = packet->next;
    stream->bytes -= packet->bytes;
    free(packet);
    return frame;
}

/* ---- sessions ---- */

static void dial_soon(struct net *net, struct side *side)
{
    side->dial_ms = now(net) + side->backoff_ms / 2 + some(net, side->backoff_ms);
    side->backoff_ms = side->backoff_ms == 0 ? BACKOFF_FIRST_MS : 2 * side->backoff_ms;
    if (side->backoff_ms > BACKOFF_LAST_MS)
        side->backoff_ms = BACKOFF_LAST_MS;
}

static void side_clear(struct side *side)
{
    for (int c = 0; c < CHANNELS; c++)
        stream_clear(&side->in[c]);
    side->state = SIDE_OVER;
    side->end_ms = side->silence_ms = INT64_MAX;
}

/* The session is over for this side, and it is told so if it knew of the session. */
static void side_ends(struct net *net, int at, int other, bool goodbye)
{
    struct net_node *node = &net->nodes[at];
    struct side *side = side_of(net, at, other);
    bool was_up = side->state == SIDE_UP;
    side_clear(side);
    side->backoff_ms = 0;
    dial_soon(net, side);
    net->ends++;
    if (!was_up)
        return;
    side->watched = !goodbye;
    side->lost_process = side->theirs.process;
    node->events.down(node->events.arg, net->nodes[other].id, goodbye);
}

/* What is left of a session on the other side hears of its end: soon, if anything can come there; in any case by
 * itself. */
static void tell_end(struct net *net, int from, int to, bool goodbye)
{
    struct side *side = side_of(net, to, from);
    if (side->state == SIDE_OVER)
        return;
    int64_t give_up_ms = now(net) + GIVE_UP_FIRST_MS + some(net, GIVE_UP_LAST_MS - GIVE_UP_FIRST_MS);
    side->end_ms = delayed(net, from, to);
    side->goodbye = goodbye;
    if (give_up_ms < side->silence_ms)
        side->silence_ms = give_up_ms;
}

static void begin_side(struct net *net, int at, int other)
{
    struct side *side = side_of(net, at, other);
    /* A newer process (or connection) takes the place of what is left of the last one. */
    if (side->state != SIDE_OVER)
        side_ends(net, at, other, false);
    side->state = SIDE_COMING;
    side->known = true;
    side->watched = false;
    side->theirs = net->nodes[other].hello;
    side->theirs.to = net->nodes[at].id;
    side->up_ms = delayed(net, other, at);
}

/* One attempt of a node to connect to a peer. */
static void dial(struct net *net, int at, int other)
{
    struct net_node *node = &net->nodes[at], *peer = &net->nodes[other];
    struct side *side = side_of(net, at, other);
    struct err e;
    dial_soon(net, side);
    if (!open_way(net, at, other) || !open_way(net, other, at))
        return;
    if (!peer->running) {
        if (!side->watched)
            return;
        side->watched = false;
        net->deaths++;
        node->events.dead(node->events.arg, peer->id, side->lost_process);
        return;
    }
    struct hello ours = node->hello;
    ours.to = peer->id;
    if (hello_check(&peer->hello, &ours, &e) != REFUSAL_NONE)
        return;
    net->sessions++;
    begin_side(net, at, other);
    begin_side(net, other, at);
}

/* ---- what happens ---- */

static bool happens_now(const struct net *net, const struct happening *happening)
{
    return happening->due_ms <= now(net);
}

/* Has the node no room for frames of that channel? It is asked each time. */
static bool is_full(const struct net_node *node, int other, enum channel channel)
{
    const struct transport_events *events = &node->events;
    return events->full != NULL && events->full(events->arg, node->net->nodes[other].id, channel);
}

/* Lists what there is to happen to `at` with regard to `other`; what cannot happen for now is left out. */
static int look_at(const struct net *net, int at, int other, struct happening *out)
{
    const struct net_node *node = &net->nodes[at];
    const struct side *side = &node->sides[other];
    bool open = open_way(net, other, at);
    int count = 0;
    if (side->state == SIDE_OVER) {
        if (side->known)
            out[count++] = (struct happening){HAPPENS_DIAL, at, other, 0, side->dial_ms};
        return count;
    }
    if (side->silence_ms != INT64_MAX)
        out[count++] = (struct happening){HAPPENS_GIVE_UP, at, other, 0, side->silence_ms};
    if (side->end_ms != INT64_MAX && open)
        out[count++] = (struct happening){HAPPENS_END, at, other, 0, side->end_ms};
    if (side->state == SIDE_COMING)
        out[count++] = (struct happening){HAPPENS_UP, at, other, 0, side->up_ms};
    for (int c = 0; c < CHANNELS && side->state == SIDE_UP && open; c++) {
        if (side->in[c].first != NULL && !is_full(node, other, (enum channel)c))
            out[count++] = (struct happening){HAPPENS_FRAME, at, other, (enum channel)c, side->in[c].first->due_ms};
    }
    return count;
}

enum { HAPPENINGS_OF_PAIR = 3 + CHANNELS, HAPPENINGS = NET_NODES * NET_NODES * HAPPENINGS_OF_PAIR };

static int look(const struct net *net, unsigned skipped, struct happening out[HAPPENINGS])
{
    int count = 0;
    for (int at = 0; at < net->node_count; at++) {
        if (!net->nodes[at].running || (skipped >> at & 1) != 0)
            continue;
        for (int other = 0; other < net->node_count; other++) {
            if (other != at)
                count += look_at(net, at, other, out + count);
        }
    }
    return count;
}

bool net_ready(struct net *net, unsigned skipped)
{
    struct happening some[HAPPENINGS_OF_PAIR];
    for (int at = 0; at < net->node_count; at++) {
        for (int other = 0; other < net->node_count && net->nodes[at].running && (skipped >> at & 1) == 0; other++) {
            for (int i = other != at ? look_at(net, at, other, some) : 0; i-- > 0;) {
                if (happens_now(net, &some[i]))
                    return true;
            }
        }
    }
    return false;
}

int64_t net_next_ms(const struct net *net)
{
    struct happening all[HAPPENINGS];
    int count = look(net, 0, all);
    int64_t next_ms = INT64_MAX;
    for (int i = 0; i < count; i++) {
        if (all[i].due_ms < next_ms)
            next_ms = all[i].due_ms;
    }
    return next_ms;
}

static void happen(struct net *net, const struct happening *it)
{
    struct net_node *node = &net->nodes[it->at], *peer = &net->nodes[it->other];
    struct side *side = side_of(net, it->at, it->other);
    switch (it->kind) {
    case HAPPENS_DIAL:
        dial(net, it->at, it->other);
        break;
    case HAPPENS_UP:
        side->state = SIDE_UP;
        side->backoff_ms = 0;
        node->events.up(node->events.arg, peer->id, &side->theirs);
        break;
    case HAPPENS_END:
        side_ends(net, it->at, it->other, side->goodbye);
        break;
    case HAPPENS_GIVE_UP:
        tell_end(net, it->at, it->other, false);
        side_ends(net, it->at, it->other, false);
        break;
    case HAPPENS_FRAME:
        net->frames++;
        node->events.frame(node->events.arg, peer->id, it->channel, stream_take(&side->in[it->channel]));
        break;
    }
}

int32_t net_step(struct net *net, unsigned skipped)
{
    struct happening all[HAPPENINGS], due[HAPPENINGS];
    int count = look(net, skipped, all), due_count = 0;
    for (int i = 0; i < count; i++) {
        if (happens_now(net, &all[i]))
            due[due_count++] = all[i];
    }
    assert(due_count > 0);
    struct happening it = due[chance_below(&net->chance, (uint64_t)due_count)];
    happen(net, &it);
    return net->nodes[it.at].id;
}

/* ---- struct transport ---- */

static struct net_node *of(struct transport *transport)
{
    return CONTAINER_OF(transport, struct net_node, transport);
}

static int place(const struct net_node *node)
{
    return node->id - 1;
}

static bool is_peer(const struct net_node *node, int32_t id)
{
    return id >= 1 && id <= node->net->node_count && id != node->id;
}

static struct frame *frame_made(const struct frame_out *out)
{
    size_t body_bytes = frame_body_bytes(out);
    uint8_t preamble[FRAME_PREAMBLE_BYTES];
    frame_preamble(out, preamble); /* asserts its limits */
    struct frame *frame = malloc(sizeof *frame + out->header_bytes + body_bytes);
    assert(frame != NULL);
    *frame = (struct frame){.kind = out->kind, .header_bytes = out->header_bytes, .body_bytes = (uint32_t)body_bytes};
    frame->header = (uint8_t *)(frame + 1);
    frame->body = frame->header + out->header_bytes;
    if (out->header_bytes > 0)
        memcpy(frame->header, out->header, out->header_bytes);
    size_t done = 0;
    for (int i = 0; i < out->body_count; i++) {
        if (out->body[i].iov_len > 0)
            memcpy(frame->body + done, out->body[i].iov_base, out->body[i].iov_len);
        done += out->body[i].iov_len;
    }
    return frame;
}

static int send_frame(struct transport *transport, int32_t id, enum channel channel, const struct frame_out *out)
{
    struct net_node *node = of(transport);
    struct net *net = node->net;
    int at = place(node), other = id - 1;
    if (!is_peer(node, id) || side_of(net, at, other)->state != SIDE_UP || (node->mute != NULL && *node->mute))
        return -ENOTCONN;
    struct side *there = side_of(net, other, at);
    uint64_t bytes = out->header_bytes + frame_body_bytes(out);
    /* The other side may be of another session by now, or of none. */
    if (there->state == SIDE_OVER || there->theirs.process != node->hello.process || there->end_ms != INT64_MAX)
        return 0;
    if (there->in[channel].bytes > 0 && there->in[channel].bytes + bytes > net->queue_bytes)
        return -ENOBUFS;
    stream_add(&there->in[channel], frame_made(out), delayed(net, at, other), bytes);
    return 0;
}

static int meet(struct transport *transport, int32_t id, const char *host, int port)
{
    struct net_node *node = of(transport);
    (void)host;
    assert(port == NET_PORT);
    if (!is_peer(node, id) || node->sides[id - 1].known)
        return 0;
    node->sides[id - 1].known = true;
    node->sides[id - 1].dial_ms = now(node->net);
    return 0;
}

static void forget(struct transport *transport, int32_t id)
{
    struct net_node *node = of(transport);
    if (is_peer(node, id))
        node->sides[id - 1].known = false;
}

static void drop(struct transport *transport, int32_t id)
{
    struct net_node *node = of(transport);
    struct side *side = is_peer(node, id) ? &node->sides[id - 1] : NULL;
    if (side == NULL || side->state == SIDE_OVER)
        return;
    side->silence_ms = now(node->net);
}

static int start(struct transport_source *source, const struct hello *ours, const struct transport_events *events,
                 struct transport **out, struct err *e)
{
    struct net_node *node = CONTAINER_OF(source, struct net_node, source);
    (void)e;
    assert(!node->running && node->host_up);
    node->running = true;
    node->hello = *ours;
    snprintf(node->hello.host, sizeof node->hello.host, "node-%d", node->id);
    node->hello.port = NET_PORT;
    node->events = *events;
    for (int other = 0; other < node->net->node_count; other++) {
        side_clear(&node->sides[other]);
        node->sides[other].known = node->sides[other].watched = false;
        node->sides[other].backoff_ms = 0;
    }
    *out = &node->transport;
    return 0;
}

static void process_ends(struct net_node *node, bool goodbye)
{
    node->running = false;
    for (int other = 0; other < node->net->node_count; other++) {
        if (other != place(node) && node->sides[other].state != SIDE_OVER)
            tell_end(node->net, place(node), other, goodbye);
        side_clear(&node->sides[other]);
    }
}

static void stop(struct transport_source *source)
{
    struct net_node *node = CONTAINER_OF(source, struct net_node, source);
    if (node->running)
        process_ends(node, true);
}

static void set_cluster(struct transport_source *source, const char *cluster_id)
{
    struct net_node *node = CONTAINER_OF(source, struct net_node, source);
    snprintf(node->hello.cluster_id, sizeof node->hello.cluster_id, "%s", cluster_id);
}

/* ---- the whole ---- */

void net_init(struct net *net, uint64_t seed, const int64_t *now_ms, int node_count)
{
    *net = (struct net){.now_ms = now_ms, .chance = seed, .node_count = node_count};
    for (int i = 0; i < node_count; i++) {
        struct net_node *node = &net->nodes[i];
        node->source = (struct transport_source){.start = start, .stop = stop, .set_cluster = set_cluster};
        node->transport = (struct transport){.send = send_frame, .meet = meet, .forget = forget, .drop = drop};
        node->net = net;
        node->id = i + 1;
        node->host_up = true;
        for (int other = 0; other < node_count; other++)
            side_clear(&node->sides[other]);
    }
    net_heal(net);
}

void net_free(struct net *net)
{
    for (int i = 0; i < net->node_count; i++) {
        for (int other = 0; other < net->node_count; other++)
            side_clear(side_of(net, i, other));
    }
}

struct transport_source *net_source(struct net *net, int32_t node)
{
    return &net->nodes[node - 1].source;
}

void net_end(struct net *net, int32_t node, bool with_host)
{
    struct net_node *ended = &net->nodes[node - 1];
    if (ended->running)
        process_ends(ended, false);
    if (with_host)
        ended->host_up = false;
}

void net_host_up(struct net *net, int32_t node)
{
    net->nodes[node - 1].host_up = true;
}

/* Both ways are open: nobody has a reason any more to give up. */
static void heal_pair(struct net *net, int a, int b)
{
    if (net->cut[a][b] || net->cut[b][a])
        return;
    for (int i = 0; i < 2; i++) {
        struct side *side = i == 0 ? side_of(net, a, b) : side_of(net, b, a);
        if (side->end_ms == INT64_MAX && side->silence_ms > now(net))
            side->silence_ms = INT64_MAX;
    }
}

void net_cut(struct net *net, int32_t from, int32_t to, bool cut)
{
    int a = from - 1, b = to - 1;
    net->cut[a][b] = cut;
    if (!cut) {
        heal_pair(net, a, b);
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct side *side = i == 0 ? side_of(net, a, b) : side_of(net, b, a);
        int64_t give_up_ms = now(net) + GIVE_UP_FIRST_MS + some(net, GIVE_UP_LAST_MS - GIVE_UP_FIRST_MS);
        if (side->state != SIDE_OVER && give_up_ms < side->silence_ms)
            side->silence_ms = give_up_ms;
    }
}

void net_heal(struct net *net)
{
    for (int a = 0; a < net->node_count; a++) {
        for (int b = 0; b < net->node_count; b++) {
            net->delay_ms[a][b] = DELAY_MS;
            if (net->cut[a][b])
                net_cut(net, a + 1, b + 1, false);
        }
    }
    net->queue_bytes = LIMIT_CONN_QUEUE_BYTES;
}

void net_lose(struct net *net, int32_t a, int32_t b)
{
    struct side *side = side_of(net, a - 1, b - 1);
    if (side->state != SIDE_OVER)
        side->silence_ms = now(net) + some(net, 20);
}
