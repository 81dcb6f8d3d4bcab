/* tests/sim/net_internal.h: what net.c and net_link.c share. */
#ifndef LOGMNT_TESTS_SIM_NET_INTERNAL_H
#define LOGMNT_TESTS_SIM_NET_INTERNAL_H

#include "tests/sim/chance.h"
#include "tests/sim/net.h"

static inline int64_t net_now(const struct net *net)
{
    return *net->now_ms;
}

static inline int64_t net_some(struct net *net, int64_t most)
{
    return (int64_t)chance_below(&net->chance, (uint64_t)most + 1);
}

static inline struct side *net_side(struct net *net, int at, int other)
{
    return &net->nodes[at].sides[other];
}

/* Can frames of `from` come to `to`? */
static inline bool net_open_way(const struct net *net, int from, int to)
{
    return !net->cut[from][to] && net->nodes[from].host_up && net->nodes[to].host_up;
}

/* When something that is sent now gets there. */
static inline int64_t net_delayed(struct net *net, int from, int to)
{
    return net_now(net) + net_some(net, net->delay_ms[from][to]);
}

/* ---- net_link.c: by places ---- */

void net_stream_add(struct stream *stream, struct frame *frame, int64_t due_ms, uint64_t bytes);
struct frame *net_stream_take(struct stream *stream);
/* Of its first frame; there is one. */
int64_t net_stream_due_ms(const struct stream *stream);

/* The other end of at's connection; NULL: there is none any more, or not yet. */
struct net_link *net_far_end(struct net *net, int at, int other, int channel);
/* All of it is as if nothing had ever been. */
void net_side_clear(struct net *net, struct side *side);
/* Its process has ended: what stood with the other ends, and the other side hears of it, or will notice. */
void net_side_abandon(struct net *net, int at, int other, bool goodbye);
/* That end of a connection ends by chance within so long, and perhaps the other side is not told. */
void net_link_lose(struct net *net, struct net_link *link, int64_t within_ms);
/* By itself, since it hears nothing. */
void net_give_up_soon(struct net *net, struct net_link *link);
/* Things that happen to a node, with regard to another. */
void net_dial(struct net *net, int at, int other);
void net_hello_comes(struct net *net, int at, int other, int channel);
void net_answer_comes(struct net *net, int at, int other, int channel);
void net_end_comes(struct net *net, int at, int other, int channel);
void net_gives_up(struct net *net, int at, int other, int channel);
void net_link_overdue(struct net *net, int at, int other, int channel);

enum { NET_HELLO_MS = 5000 /* GREETING and DYING take no longer */ };

#endif
