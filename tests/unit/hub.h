/* tests/unit/hub.h: a network in memory between the nodes of one process: links that the test takes down and up, and
 * one thread that tells all nodes what happens, in order. */
#ifndef LOGMNT_TESTS_UNIT_HUB_H
#define LOGMNT_TESTS_UNIT_HUB_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "replication/wire/network.h"

enum { HUB_NODES = 4 }; /* ids 1 … 3 */

enum hub_kind { HUB_UP, HUB_DOWN, HUB_FRAME, HUB_STOP };

struct hub_event {
    struct hub_event *next;
    enum hub_kind kind;
    int to, from;
    enum channel channel;
    struct frame *frame;
};

struct hub {
    struct hub_port {
        struct transport transport; /* first */
        struct hub *hub;
        int id;
        struct transport_events events;
        bool attached;
    } ports[HUB_NODES];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct hub_event *first, **last;
    bool up[HUB_NODES][HUB_NODES];
    bool busy;                          /* an event is being told */
    long pushed;                        /* events, ever */
    _Atomic long frames[MESSAGE_KINDS]; /* that were sent */
};

static inline void hub_push(struct hub *hub, struct hub_event event)
{
    struct hub_event *pushed = malloc(sizeof *pushed);
    *pushed = event;
    pushed->next = NULL;
    *hub->last = pushed;
    hub->last = &pushed->next;
    hub->pushed++;
    pthread_cond_broadcast(&hub->changed);
}

static inline struct frame *hub_copy(const struct frame_out *out)
{
    size_t body = frame_body_bytes(out);
    struct frame *frame = malloc(sizeof *frame + out->header_bytes + body + 1);
    uint8_t *at = (uint8_t *)(frame + 1);
    *frame = (struct frame){.kind = out->kind,
                            .header_bytes = out->header_bytes,
                            .body_bytes = (uint32_t)body,
                            .header = at,
                            .body = at + out->header_bytes};
    memcpy(at, out->header, out->header_bytes);
    at += out->header_bytes;
    for (int i = 0; i < out->body_count; i++) {
        if (out->body[i].iov_len > 0)
            memcpy(at, out->body[i].iov_base, out->body[i].iov_len);
        at += out->body[i].iov_len;
    }
    return frame;
}

static inline int hub_send(struct transport *transport, int32_t node, enum channel channel, const struct frame_out *out)
{
    struct hub_port *port = (struct hub_port *)transport;
    struct hub *hub = port->hub;
    int rc = -ENOTCONN;
    pthread_mutex_lock(&hub->lock);
    if (hub->up[port->id][node]) {
        hub_push(hub, (struct hub_event){
                          .kind = HUB_FRAME, .to = node, .from = port->id, .channel = channel, .frame = hub_copy(out)});
        hub->frames[out->kind]++;
        rc = 0;
    }
    pthread_mutex_unlock(&hub->lock);
    return rc;
}

static inline int hub_meet(struct transport *transport, int32_t node, const char *host, int port)
{
    (void)transport, (void)node, (void)host, (void)port;
    return 0;
}

static inline void hub_tell(struct hub *hub, struct hub_event *event)
{
    struct transport_events *events = &hub->ports[event->to].events;
    struct hello hello = {.from = event->from, .to = event->to, .process = (uint64_t)event->from};
    switch (event->kind) {
    case HUB_UP:
        events->up(events->arg, event->from, &hello);
        break;
    case HUB_DOWN:
        events->down(events->arg, event->from, false);
        break;
    case HUB_FRAME:
        events->frame(events->arg, event->from, event->channel, event->frame);
        break;
    case HUB_STOP:
        break;
    }
}

static inline void *hub_run(void *arg)
{
    struct hub *hub = arg;
    bool stop = false;
    pthread_mutex_lock(&hub->lock);
    while (!stop) {
        struct hub_event *event = hub->first;
        if (event == NULL) {
            pthread_cond_wait(&hub->changed, &hub->lock);
            continue;
        }
        hub->first = event->next;
        if (hub->first == NULL)
            hub->last = &hub->first;
        stop = event->kind == HUB_STOP;
        bool tells = hub->ports[event->to].attached;
        hub->busy = true;
        pthread_mutex_unlock(&hub->lock);
        if (tells)
            hub_tell(hub, event);
        else
            free(event->frame);
        free(event);
        pthread_mutex_lock(&hub->lock);
        hub->busy = false;
        pthread_cond_broadcast(&hub->changed);
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

static inline void hub_drop(struct transport *transport, int32_t node);

static inline void hub_init(struct hub *hub)
{
    *hub = (struct hub){.busy = false};
    hub->last = &hub->first;
    pthread_mutex_init(&hub->lock, NULL);
    pthread_cond_init(&hub->changed, NULL);
    for (int i = 0; i < HUB_NODES; i++) {
        hub->ports[i].transport = (struct transport){.send = hub_send, .meet = hub_meet, .drop = hub_drop};
        hub->ports[i].hub = hub;
        hub->ports[i].id = i;
    }
    pthread_create(&hub->thread, NULL, hub_run, hub);
}

static inline void hub_free(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub_push(hub, (struct hub_event){.kind = HUB_STOP});
    pthread_mutex_unlock(&hub->lock);
    pthread_join(hub->thread, NULL);
    pthread_mutex_destroy(&hub->lock);
    pthread_cond_destroy(&hub->changed);
}

/* What is on its way between the two is lost. Under the lock. */
static inline void hub_lose(struct hub *hub, int a, int b)
{
    struct hub_event **link = &hub->first;
    while (*link != NULL) {
        struct hub_event *event = *link;
        if (event->kind == HUB_FRAME &&
            ((event->to == a && event->from == b) || (event->to == b && event->from == a))) {
            *link = event->next;
            free(event->frame);
            free(event);
        } else {
            link = &event->next;
        }
    }
    hub->last = link;
}

static inline void hub_link(struct hub *hub, int a, int b, bool up)
{
    pthread_mutex_lock(&hub->lock);
    bool changes = hub->up[a][b] != up && (!up || (hub->ports[a].attached && hub->ports[b].attached));
    if (changes) {
        hub->up[a][b] = hub->up[b][a] = up;
        if (!up)
            hub_lose(hub, a, b);
        hub_push(hub, (struct hub_event){.kind = up ? HUB_UP : HUB_DOWN, .to = a, .from = b});
        hub_push(hub, (struct hub_event){.kind = up ? HUB_UP : HUB_DOWN, .to = b, .from = a});
    }
    pthread_mutex_unlock(&hub->lock);
}

static inline void hub_drop(struct transport *transport, int32_t node)
{
    struct hub_port *port = (struct hub_port *)transport;
    hub_link(port->hub, port->id, node, false);
    hub_link(port->hub, port->id, node, true);
}

static inline void hub_attach(struct hub *hub, int id, struct network *network)
{
    hub->ports[id].events = network_events(network);
    network_attach(network, &hub->ports[id].transport);
    pthread_mutex_lock(&hub->lock);
    hub->ports[id].attached = true;
    pthread_mutex_unlock(&hub->lock);
}

/* Until all has been told that came. Under the lock. */
static inline void hub_await_idle(struct hub *hub)
{
    while (hub->first != NULL || hub->busy)
        pthread_cond_wait(&hub->changed, &hub->lock);
}

/* Likewise; returns how many events that were, ever. */
static inline long hub_drain(struct hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub_await_idle(hub);
    long pushed = hub->pushed;
    pthread_mutex_unlock(&hub->lock);
    return pushed;
}

/* Nothing comes to the node any more once this has returned. */
static inline void hub_detach(struct hub *hub, int id, struct network *network)
{
    for (int other = 1; other < HUB_NODES; other++) {
        if (other != id)
            hub_link(hub, id, other, false);
    }
    pthread_mutex_lock(&hub->lock);
    hub_await_idle(hub);
    hub->ports[id].attached = false;
    pthread_mutex_unlock(&hub->lock);
    network_attach(network, NULL);
}

#endif
