/* tests/sim/net.h: the network between the nodes of a simulation: a struct transport for each, with the promises of
 * replication/wire/transport.h and no other.
 *
 * Each pair of processes that found each other has a session: two channels each way, in which frames come in order, at
 * most once, and late. What may happen to it:
 *   delay       each frame takes its own time; channels and pairs overtake each other
 *   cut         one way or both: frames wait, and go on when it heals; a session that was cut for too long ends, for
 *               each side when that side notices
 *   lost        ended by chance, in the middle of what was on its way
 *   full        frames of one channel wait while the node says that it has no room for them
 *   the process ends: killed (its host resets what comes, and refuses who connects: the others get to know that it is
 *               dead), with its host (silence, until they notice by themselves), or stopped (a goodbye)
 * The two sides of a session learn of its beginning and its end each at a time of its own.
 *
 * One thread. Nothing happens from within a call of a transport: events come from net_step() alone. */
#ifndef LOGMNT_TESTS_SIM_NET_H
#define LOGMNT_TESTS_SIM_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/wire/transport.h"

enum { NET_NODES = 5, NET_PORT = 7000 };

struct net;
struct packet;

/* Frames of one channel to one side. */
struct stream {
    struct packet *first, **last;
    int64_t last_ms; /* when the last one is due */
    uint64_t bytes;
};

enum side_state { SIDE_OVER, SIDE_COMING, SIDE_UP };

/* What one node has of another. */
struct side {
    enum side_state state;
    int64_t up_ms;       /* COMING: when it is told */
    int64_t end_ms;      /* an end that travels from the other side, like a frame; INT64_MAX: none */
    int64_t silence_ms;  /* when this side gives the session up by itself */
    bool goodbye;        /* what end_ms is */
    struct hello theirs; /* of the session */
    struct stream in[CHANNELS];
    /* Between sessions. */
    bool known;   /* a peer: connected to */
    bool watched; /* its last session was lost: is that process dead? */
    uint64_t lost_process;
    int64_t dial_ms; /* the next attempt */
    int64_t backoff_ms;
};

struct net_node {
    struct transport_source source; /* first: what the node is given */
    struct transport transport;
    struct net *net;
    int32_t id;
    bool running; /* its process */
    bool host_up;
    const bool *mute; /* what it sends is lost: it has crashed, and not come to its end yet; NULL: never */
    struct hello hello;
    struct transport_events events;
    struct side sides[NET_NODES]; /* by place of the other */
};

struct net {
    const int64_t *now_ms;
    uint64_t chance;
    int node_count;
    struct net_node nodes[NET_NODES];
    bool cut[NET_NODES][NET_NODES];          /* from, to */
    int32_t delay_ms[NET_NODES][NET_NODES];  /* the most that a frame takes, from, to */
    uint64_t queue_bytes;                    /* of a channel: what does not fit is -ENOBUFS */
    uint64_t frames, sessions, ends, deaths; /* how much was proved */
};

/* Nodes 1 to node_count, none running. now_ms: the simulation's time. */
void net_init(struct net *net, uint64_t seed, const int64_t *now_ms, int node_count);
void net_free(struct net *net);

struct transport_source *net_source(struct net *net, int32_t node);

/* The process of the node has ended without a stop. with_host: and so has its host, until net_host_up(). */
void net_end(struct net *net, int32_t node, bool with_host);
void net_host_up(struct net *net, int32_t node);
void net_cut(struct net *net, int32_t from, int32_t to, bool cut);
/* Everything is whole and fast again. */
void net_heal(struct net *net);
/* The session of the two, if there is one, ends by chance. */
void net_lose(struct net *net, int32_t a, int32_t b);

/* Is there something that happens now? Of a node that is skipped nothing does (bits by place). */
bool net_ready(struct net *net, unsigned skipped);
/* One thing happens; there is one. Returns the node to which it happened. */
int32_t net_step(struct net *net, unsigned skipped);
/* When the next thing happens; INT64_MAX: nothing ever does. */
int64_t net_next_ms(const struct net *net);

#endif
