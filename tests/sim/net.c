/* tests/sim/net.c: what may happen when, what is sent, and what befalls the network.
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
#include "tests/sim/net_internal.h"

enum { DELAY_MS = 4 /* of a frame, at most, on a sound link */ };

enum happening_kind {
    HAPPENS_DIAL,
    HAPPENS_HELLO,
    HAPPENS_ANSWER,
    HAPPENS_END,
    HAPPENS_GIVE_UP,
    HAPPENS_OVERDUE,
    HAPPENS_FRAME
};

/* Something that may happen to one node, with regard to another. */
struct happening {
    enum happening_kind kind;
    int at, other, channel;
    int64_t due_ms;
};

/* ---- what happens ---- */

static bool happens_now(const struct net *net, const struct happening *happening)
{
    return happening->due_ms <= net_now(net);
}

/* Has the node no room for frames of that channel? It is asked each time. */
static bool is_full(const struct net_node *node, int other, enum channel channel)
{
    const struct transport_events *events = &node->events;
    return events->full != NULL && events->full(events->arg, node->net->nodes[other].id, channel);
}

enum { HAPPENINGS_OF_LINK = 6, HAPPENINGS_OF_PAIR = 1 + CHANNELS * HAPPENINGS_OF_LINK };
enum { HAPPENINGS = NET_NODES * NET_NODES * HAPPENINGS_OF_PAIR };

static int add(struct happening *out, enum happening_kind kind, int at, int other, int channel, int64_t due_ms)
{
    *out = (struct happening){kind, at, other, channel, due_ms};
    return due_ms != INT64_MAX;
}

static int look_at_link(const struct net *net, int at, int other, int channel, struct happening *out)
{
    const struct side *side = &net->nodes[at].sides[other];
    const struct net_link *link = &side->links[channel];
    const struct net_link *dialed = &net->nodes[other].sides[at].links[channel];
    bool open = net_open_way(net, other, at);
    int count = 0;
    if (dialed->state == NET_LINK_GREETING && open)
        count += add(out + count, HAPPENS_HELLO, at, other, channel, dialed->hello_ms);
    if (link->state == NET_LINK_DOWN)
        return count;
    count += add(out + count, HAPPENS_GIVE_UP, at, other, channel, link->silence_ms);
    if (link->state != NET_LINK_UP)
        count += add(out + count, HAPPENS_OVERDUE, at, other, channel, link->since_ms + NET_HELLO_MS);
    if (!open)
        return count;
    count += add(out + count, HAPPENS_ANSWER, at, other, channel, link->answer_ms);
    count += add(out + count, HAPPENS_END, at, other, channel, link->end_ms);
    if (side->up && link->in.first != NULL && !is_full(&net->nodes[at], other, (enum channel)channel))
        count += add(out + count, HAPPENS_FRAME, at, other, channel, net_stream_due_ms(&link->in));
    return count;
}

/* Lists what there is to happen to `at` with regard to `other`; what cannot happen for now is left out. */
static int look_at(const struct net *net, int at, int other, struct happening *out)
{
    const struct side *side = &net->nodes[at].sides[other];
    int count = side->known ? add(out, HAPPENS_DIAL, at, other, 0, side->dial_ms) : 0;
    for (int c = 0; c < CHANNELS; c++)
        count += look_at_link(net, at, other, c, out + count);
    return count;
}

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
    struct net_node *node = &net->nodes[it->at];
    struct net_link *link = &node->sides[it->other].links[it->channel];
    switch (it->kind) {
    case HAPPENS_DIAL:
        net_dial(net, it->at, it->other);
        break;
    case HAPPENS_HELLO:
        net_hello_comes(net, it->at, it->other, it->channel);
        break;
    case HAPPENS_ANSWER:
        net_answer_comes(net, it->at, it->other, it->channel);
        break;
    case HAPPENS_END:
        net_end_comes(net, it->at, it->other, it->channel);
        break;
    case HAPPENS_GIVE_UP:
        net_gives_up(net, it->at, it->other, it->channel);
        break;
    case HAPPENS_OVERDUE:
        net_link_overdue(net, it->at, it->other, it->channel);
        break;
    case HAPPENS_FRAME:
        net->frames++;
        node->events.frame(node->events.arg, net->nodes[it->other].id, (enum channel)it->channel,
                           net_stream_take(&link->in));
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
    if (!is_peer(node, id) || !net_side(net, at, other)->up || (node->mute != NULL && *node->mute))
        return -ENOTCONN;
    struct net_link *there = net_far_end(net, at, other, (int)channel);
    uint64_t bytes = out->header_bytes + frame_body_bytes(out);
    /* The other side may have no such connection by now. */
    if (there == NULL || there->state == NET_LINK_DYING || there->end_ms != INT64_MAX)
        return 0;
    if (there->in.bytes > 0 && there->in.bytes + bytes > net->queue_bytes)
        return -ENOBUFS;
    net_stream_add(&there->in, frame_made(out), net_delayed(net, at, other), bytes);
    if (net->sent != NULL)
        net->sent(net->sent_arg, id, out);
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
    node->sides[id - 1].dial_ms = net_now(node->net);
    return 0;
}

static void forget(struct transport *transport, int32_t id)
{
    struct net_node *node = of(transport);
    if (!is_peer(node, id))
        return;
    node->sides[id - 1].known = false;
    node->sides[id - 1].dial_ms = INT64_MAX;
}

static void drop(struct transport *transport, int32_t id)
{
    struct net_node *node = of(transport);
    for (int c = 0; c < CHANNELS && is_peer(node, id); c++) {
        struct net_link *link = &node->sides[id - 1].links[c];
        if (link->state != NET_LINK_DOWN)
            link->silence_ms = net_now(node->net);
    }
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
    for (int other = 0; other < node->net->node_count; other++)
        net_side_clear(node->net, &node->sides[other]);
    *out = &node->transport;
    return 0;
}

static void process_ends(struct net_node *node, bool goodbye)
{
    node->running = false;
    for (int other = 0; other < node->net->node_count; other++) {
        if (other != place(node))
            net_side_abandon(node->net, place(node), other, goodbye);
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
            net_side_clear(net, &node->sides[other]);
    }
    net_heal(net);
}

void net_free(struct net *net)
{
    for (int i = 0; i < net->node_count; i++) {
        for (int other = 0; other < net->node_count; other++)
            net_side_clear(net, net_side(net, i, other));
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
static void heal_side(struct net *net, int at, int other)
{
    for (int c = 0; c < CHANNELS; c++) {
        struct net_link *link = &net_side(net, at, other)->links[c];
        if (net_far_end(net, at, other, c) != NULL && link->end_ms == INT64_MAX && link->silence_ms > net_now(net))
            link->silence_ms = INT64_MAX;
    }
}

void net_cut(struct net *net, int32_t from, int32_t to, bool cut)
{
    int a = from - 1, b = to - 1;
    net->cut[a][b] = cut;
    if (!cut && !net->cut[b][a]) {
        heal_side(net, a, b);
        heal_side(net, b, a);
    }
    for (int c = 0; c < CHANNELS && cut; c++) {
        net_give_up_soon(net, &net_side(net, a, b)->links[c]);
        net_give_up_soon(net, &net_side(net, b, a)->links[c]);
    }
}

void net_heal(struct net *net)
{
    for (int a = 0; a < net->node_count; a++) {
        for (int b = 0; b < net->node_count; b++) {
            net->delay_ms[a][b] = DELAY_MS;
            net->frail_ms[a][b] = 0;
            if (net->cut[a][b])
                net_cut(net, a + 1, b + 1, false);
        }
    }
    net->queue_bytes = LIMIT_CONN_QUEUE_BYTES;
}

void net_lose(struct net *net, int32_t a, int32_t b)
{
    uint64_t which = chance_below(&net->chance, 3);
    for (int c = 0; c < CHANNELS; c++) {
        if (which == 2 || (int)which == c)
            net_link_lose(net, &net_side(net, a - 1, b - 1)->links[c], 20);
    }
}
