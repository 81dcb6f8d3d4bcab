/* tests/sim/net.h: the network between the nodes of a simulation: a struct transport for each, with the promises of
 * replication/wire/transport.h and no other.
 *
 * Two processes have two connections, one a channel, each dialed by either side, with an end at each. Frames of one
 * come in order, at most once, and late. As in replication/wire/peer.c a side is up while both of its connections
 * stand, and has lost the other when one of them ends; but each side has its own view of that:
 *
 *   delay: each frame, hello and end takes its own time; channels and pairs overtake each other
 *
 *   cut, one way or both: frames wait, and go on when it heals; a connection that was cut for too long ends, for each
 *   side when that side notices
 *
 *   lost: one connection, or both, ended by chance, in the middle of what was on its way, once or again and again
 *   (frail). The other side hears of it soon, or not at all: until it gives up by itself, or the next connection comes
 *
 *   full: frames of one channel wait while the node says that it has no room for them
 *
 *   the process ends: killed (its host resets what comes, and refuses who connects: the others get to know that it is
 *   dead), with its host (silence, until they notice by themselves), or stopped (a goodbye)
 *
 * So the two sides learn of a beginning and of an end each at a time of its own; each hears of two ends, one a
 * connection; one side may be up, and down, and up again while the other knows of one beginning, or of none; and it may
 * be up with a connection that the other side has given up by then.
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

/* The drawing is in replication/wire/peer.h; DIALING is no state of its own here. */
enum net_link_state { NET_LINK_DOWN, NET_LINK_GREETING, NET_LINK_UP, NET_LINK_DYING };

/* One end of a connection, or of what one node has tried to begin. INT64_MAX of each time: never. */
struct net_link {
    enum net_link_state state;
    uint64_t number; /* of the connection, at both of its ends */
    int64_t since_ms;
    int64_t hello_ms;    /* GREETING: when the other side gets the hello */
    int64_t answer_ms;   /* GREETING: when the answer comes back, */
    bool welcome;        /* and which */
    int64_t end_ms;      /* an end that travels from the other side, like a frame */
    bool goodbye;        /* and what it is */
    int64_t silence_ms;  /* when this side gives the connection up by itself */
    bool quiet;          /* whoever it ends for does not tell the other side */
    struct hello theirs; /* UP, and of a welcome */
    struct stream in;
};

/* What one node has of another. */
struct side {
    struct net_link links[CHANNELS];
    bool up;          /* both links are, and the node was told */
    uint64_t session; /* what its hellos say */
    bool goodbye;
    bool known;            /* a peer: connected to */
    bool watched, refused; /* lost, and not heard of since: is that process dead? And its host refused a connection */
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
    void (*sent)(void *arg, int32_t to, const struct frame_out *out); /* of each that is on its way; NULL: nobody's */
    void *sent_arg;
    bool cut[NET_NODES][NET_NODES];          /* from, to */
    int32_t frail_ms[NET_NODES][NET_NODES];  /* a connection's end at the former lasts so long at most; 0: it lasts */
    int32_t delay_ms[NET_NODES][NET_NODES];  /* the most that a frame takes, from, to */
    uint64_t queue_bytes;                    /* of a channel: what does not fit is -ENOBUFS */
    uint64_t connections;                    /* so many were tried: the last one's number */
    uint64_t session_numbers;                /* likewise, of all sides */
    uint64_t frames, sessions, ends, deaths; /* how much was proved */
    uint64_t crossed; /* sessions that began with a connection which the other side had lost by then */
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
/* What stands between the two ends by chance: one connection, or both. */
void net_lose(struct net *net, int32_t a, int32_t b);

/* Is there something that happens now? Of a node that is skipped nothing does (bits by place). */
bool net_ready(struct net *net, unsigned skipped);
/* One thing happens; there is one. Returns the node to which it happened. */
int32_t net_step(struct net *net, unsigned skipped);
/* When the next thing happens; INT64_MAX: nothing ever does. */
int64_t net_next_ms(const struct net *net);

#endif
