/* tests/unit/memory_network.h: transports in one process: frames and events between a few nodes, in the order in which
 * they came to be, delivered when the test lets them. Links can be cut, nodes be dead. */
#ifndef LOGMNT_TESTS_UNIT_MEMORY_NETWORK_H
#define LOGMNT_TESTS_UNIT_MEMORY_NETWORK_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/wire/frame.h"
#include "replication/wire/transport.h"

enum { MEMORY_NODES = 8 };

enum memory_event_type { MEMORY_UP, MEMORY_DOWN, MEMORY_DEAD, MEMORY_FRAME };

struct memory_event {
    struct memory_event *next;
    enum memory_event_type type;
    int to, from;
    int link; /* FRAME: of this life of the link */
    bool goodbye;
    enum channel channel;
    struct hello hello;
    struct frame *frame;
};

struct memory_network;

struct memory_port {
    struct memory_network *network;
    int node;
    struct transport_source source;
    struct transport transport;
    struct transport_events events;
    struct hello hello;
    bool started;
    bool begun;                  /* between start and stop, also when it was taken off */
    int forgotten[MEMORY_NODES]; /* how often it was told so of that node */
};

struct memory_network {
    struct memory_port ports[MEMORY_NODES]; /* by node id */
    bool up[MEMORY_NODES][MEMORY_NODES], cut[MEMORY_NODES][MEMORY_NODES];
    int links[MEMORY_NODES][MEMORY_NODES]; /* how often it came up */
    struct memory_event *first, **last;
    uint64_t frames;
    int lost_kind;            /* of frames that never arrive; 0: none */
    size_t largest[CHANNELS]; /* body of a frame that was sent */
};

static inline struct memory_event *memory_tell(struct memory_network *network, enum memory_event_type type, int to,
                                               int from)
{
    struct memory_event *event = calloc(1, sizeof *event);
    event->type = type;
    event->to = to;
    event->from = from;
    *network->last = event;
    network->last = &event->next;
    return event;
}

/* Connects who can be, and ends what cannot. */
static inline void memory_connect(struct memory_network *network)
{
    for (int a = 1; a < MEMORY_NODES; a++) {
        for (int b = a + 1; b < MEMORY_NODES; b++) {
            bool both = network->ports[a].started && network->ports[b].started;
            bool can = both && !network->cut[a][b];
            if (can == network->up[a][b])
                continue;
            network->up[a][b] = network->up[b][a] = can;
            network->links[b][a] = ++network->links[a][b];
            if (can) {
                memory_tell(network, MEMORY_UP, a, b)->hello = network->ports[b].hello;
                memory_tell(network, MEMORY_UP, b, a)->hello = network->ports[a].hello;
            } else if (both) {
                memory_tell(network, MEMORY_DOWN, a, b);
                memory_tell(network, MEMORY_DOWN, b, a);
            }
        }
    }
}

static inline int memory_send(struct transport *transport, int32_t node, enum channel channel,
                              const struct frame_out *out)
{
    struct memory_port *port = CONTAINER_OF(transport, struct memory_port, transport);
    size_t body = frame_body_bytes(out);
    struct memory_event *event;
    uint8_t *at;
    if (!port->started || node < 1 || node >= MEMORY_NODES || !port->network->up[port->node][node])
        return -ENOTCONN;
    if (out->kind == port->network->lost_kind)
        return 0;
    event = memory_tell(port->network, MEMORY_FRAME, node, port->node);
    event->channel = channel;
    if (body > port->network->largest[channel])
        port->network->largest[channel] = body;
    event->link = port->network->links[port->node][node];
    event->frame = calloc(1, sizeof *event->frame + out->header_bytes + body);
    event->frame->kind = out->kind;
    event->frame->header_bytes = out->header_bytes;
    event->frame->body_bytes = (uint32_t)body;
    event->frame->header = (uint8_t *)(event->frame + 1);
    event->frame->body = at = event->frame->header + out->header_bytes;
    memcpy(event->frame->header, out->header, out->header_bytes);
    for (int i = 0; i < out->body_count; i++) {
        if (out->body[i].iov_len > 0)
            memcpy(at, out->body[i].iov_base, out->body[i].iov_len);
        at += out->body[i].iov_len;
    }
    port->network->frames++;
    return 0;
}

static inline int memory_meet(struct transport *transport, int32_t node, const char *host, int port)
{
    (void)transport, (void)node, (void)host, (void)port;
    return 0;
}

static inline void memory_forget(struct transport *transport, int32_t node)
{
    CONTAINER_OF(transport, struct memory_port, transport)->forgotten[node]++;
}

static inline void memory_drop(struct transport *transport, int32_t node)
{
    struct memory_port *port = CONTAINER_OF(transport, struct memory_port, transport);
    struct memory_network *network = port->network;
    if (!network->up[port->node][node])
        return;
    network->up[port->node][node] = network->up[node][port->node] = false;
    memory_tell(network, MEMORY_DOWN, port->node, node);
    memory_tell(network, MEMORY_DOWN, node, port->node);
    memory_connect(network);
}

static inline int memory_start(struct transport_source *source, const struct hello *ours,
                               const struct transport_events *events, struct transport **out, struct err *e)
{
    struct memory_port *port = CONTAINER_OF(source, struct memory_port, source);
    (void)e;
    port->hello = *ours;
    port->events = *events;
    port->started = port->begun = true;
    *out = &port->transport;
    memory_connect(port->network);
    return 0;
}

/* Takes a node off. Its peers hear a goodbye, or that it is dead. */
static inline void memory_take_off(struct memory_port *port, bool goodbye)
{
    struct memory_network *network = port->network;
    if (!port->started)
        return;
    port->started = false;
    for (int node = 1; node < MEMORY_NODES; node++) {
        if (!network->up[port->node][node])
            continue;
        network->up[port->node][node] = network->up[node][port->node] = false;
        memory_tell(network, MEMORY_DOWN, node, port->node)->goodbye = goodbye;
        if (!goodbye)
            memory_tell(network, MEMORY_DEAD, node, port->node)->hello = port->hello;
    }
}

static inline void memory_stop(struct transport_source *source)
{
    struct memory_port *port = CONTAINER_OF(source, struct memory_port, source);
    memory_take_off(port, true);
    port->begun = false;
}

static inline void memory_set_cluster(struct transport_source *source, const char *cluster_id)
{
    struct memory_port *port = CONTAINER_OF(source, struct memory_port, source);
    assert_true(port->begun);
    strncpy(port->hello.cluster_id, cluster_id, sizeof port->hello.cluster_id - 1);
}

static inline void memory_network_init(struct memory_network *network)
{
    *network = (struct memory_network){.first = NULL};
    network->last = &network->first;
    for (int node = 0; node < MEMORY_NODES; node++) {
        network->ports[node] = (struct memory_port){
            .network = network,
            .node = node,
            .source = {.start = memory_start, .stop = memory_stop, .set_cluster = memory_set_cluster},
            .transport = {.send = memory_send, .meet = memory_meet, .forget = memory_forget, .drop = memory_drop}};
    }
}

/* Delivers the next event. false: there is none. */
static inline bool memory_step(struct memory_network *network)
{
    struct memory_event *event = network->first;
    if (event == NULL)
        return false;
    network->first = event->next;
    if (network->first == NULL)
        network->last = &network->first;
    const struct memory_port *to = &network->ports[event->to];
    bool lost = event->type == MEMORY_FRAME && event->link != network->links[event->from][event->to];
    if (to->started && !lost) {
        switch (event->type) {
        case MEMORY_UP:
            to->events.up(to->events.arg, event->from, &event->hello);
            break;
        case MEMORY_DOWN:
            to->events.down(to->events.arg, event->from, event->goodbye);
            break;
        case MEMORY_DEAD:
            to->events.dead(to->events.arg, event->from, event->hello.process);
            break;
        case MEMORY_FRAME:
            to->events.frame(to->events.arg, event->from, event->channel, event->frame);
            event->frame = NULL;
            break;
        }
    }
    free(event->frame);
    free(event);
    return true;
}

static inline void memory_cut(struct memory_network *network, int a, int b, bool cut)
{
    network->cut[a][b] = network->cut[b][a] = cut;
    network->cut[a < b ? a : b][a < b ? b : a] = cut;
    memory_connect(network);
}

#endif
