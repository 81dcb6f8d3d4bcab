/* replication/wire/network.h: this node's switchboard: what comes from peers goes to the room that it is for, and what
 * rooms send goes to the transport.
 *
 * Rooms enter their handlers and listeners before anything comes. All that a transport tells comes on its one thread,
 * one event at a time, with no lock held: a receiver queues what it got (executor/mailbox.h) and returns; it waits for
 * no disk and no lock that is held through I/O. A node without peers has no transport, and all it sends is -ENOTCONN.
 *
 * What a peer has sent and no room is done with has bounds, each with what becomes of more (account.h). What this node
 * sends to itself counts nowhere: it has no more of that than of those who wait for it. */
#ifndef LOGMNT_REPLICATION_WIRE_NETWORK_H
#define LOGMNT_REPLICATION_WIRE_NETWORK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "replication/base/limits.h"
#include "replication/wire/account.h"
#include "replication/wire/message.h"
#include "replication/wire/transport.h"

/* Embed it, and set what is wanted to hear of; the rest NULL. All rooms hear of an event in the order in which they
 * came to listen; of a peer's end before any of its next beginning. */
struct network_listener {
    int (*takes)(void *arg, int32_t node); /* a node that is to be a peer: as the transport's event */
    void (*up)(void *arg, int32_t node, const struct hello *hello);
    void (*down)(void *arg, int32_t node, bool goodbye);
    void (*dead)(void *arg, int32_t node, uint64_t process);
    void *arg;
    struct network_listener *next; /* the network's */
};

/* frame is the handler's, to be freed by frame_free(). One that is `refused` is to be answered so and freed at once. */
typedef void network_receive(void *arg, int32_t from, enum channel channel, struct frame *frame);

struct network_handler {
    network_receive *receive;
    void *arg;
};

/* What has come from a node; the node stays the same one, and keeps its place after it has gone. */
struct network_accounts {
    struct network *network;
    _Atomic int32_t node; /* 0: a free place */
    bool told;            /* event_lock: that one of them is full was logged */
    struct account accounts[ACCOUNTS];
};

struct network {
    struct transport *_Atomic transport;
    struct network_handler handlers[MESSAGE_KINDS];
    struct network_listener *first, **last;
    _Atomic int32_t up[LIMIT_NODES];     /* the nodes that are; 0: a free place */
    _Atomic uint64_t links[LIMIT_NODES]; /* the numbers of their links, by place in up */
    _Atomic int32_t levels[LIMIT_NODES]; /* likewise: the feature levels that they have said hello with */
    uint64_t links_seen;                 /* the transport's thread: the last number */
    const struct account_bound *bounds;
    struct network_accounts accounts[LIMIT_NODES_MET]; /* by place, the nodes that were ever met */
    pthread_mutex_t event_lock; /* held through an event, and by who has to know that none is under way */
    bool hushed;                /* event_lock */
    bool told_unknown;          /* event_lock: a kind that nobody knows was logged */
};

/* bounds: ACCOUNTS of them, which have to stay; NULL: account_bounds. */
void network_init(struct network *network, const struct account_bound *bounds);
void network_free(struct network *network);

/* ---- entering rooms: before network_start() ---- */

/* From here on frames of that kind are receive's. One a kind. */
void network_handle(struct network *network, enum message_kind kind, network_receive *receive, void *arg);
void network_listen(struct network *network, struct network_listener *listener);

/* What a transport is to tell; good for as long as the network is. */
struct transport_events network_events(struct network *network);
/* The transport that it sends through from here on; NULL: none any more, and none at first. Events may come from before
 * this on. Whoever takes one away ends the transport only when no call is under way. */
void network_attach(struct network *network, struct transport *transport);
/* Starts a source with this node's hello and attaches what it makes before the first event is told. As source->start().
 */
int network_start(struct network *network, struct transport_source *source, const struct hello *ours, struct err *e);
/* When it returns no event is under way, and none comes any more. What is sent still goes out, so that all works can
 * end before the transport does. Not from an event. */
void network_hush(struct network *network);

/* ---- any thread ---- */

/* Sends a frame. Nothing is kept of what the pointers lead to. 0: it is on its way, or will be lost with the channel;
 * -ENOTCONN: the peer is not up; -ENOBUFS: too much waits for it; -ENOMEM. */
int network_send(struct network *network, int32_t to, enum channel channel, enum message_kind kind, const void *header,
                 size_t header_bytes, const struct iovec *body, int body_count);
/* A frame of this node's to itself, whose kind has a handler: as if it had come. */
void network_deliver(struct network *network, int32_t self, enum channel channel, struct frame *frame);
/* Is the peer up, as of the last event? */
bool network_up(const struct network *network, int32_t node);
/* Which link to the peer that is: another number each time it comes up, 0 while it is not. Who only looks now and then
 * sees by it that what was sent is lost: a link may have ended and the next one begun in between. */
uint64_t network_link(const struct network *network, int32_t node);
/* The peer's account of what is no frame; NULL: this is no peer. */
struct account *network_account(struct network *network, int32_t node, enum account_name name);
/* Is that connection of the peer not read, since there is too much of it here? */
bool network_stops(struct network *network, int32_t node, enum channel channel);
/* The feature level of the process at the other end of it; 0 while there is none. */
int32_t network_level(const struct network *network, int32_t node);
/* As the transport's; -ENOTCONN without one. */
int network_meet(struct network *network, int32_t node, const char *host, int port);
void network_forget(struct network *network, int32_t node);
void network_drop(struct network *network, int32_t node);

#endif
