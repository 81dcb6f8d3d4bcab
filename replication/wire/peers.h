/* replication/wire/peers.h: the transport of production: a listening socket and, for each peer, two connections.
 *
 * Both sides connect; where both have done so at once, the connection that the node with the lower id began stays. A
 * peer that cannot be reached is tried again with a growing pause, for ever. Who connects without being known is let in
 * when its hello (and its certificate) is right, and is a peer from then on. A refusal is logged on both sides with the
 * peer, its address and the cause, once in LIMIT_REFUSAL_LOG_MS. */
#ifndef LOGMNT_REPLICATION_WIRE_PEERS_H
#define LOGMNT_REPLICATION_WIRE_PEERS_H

#include <uv.h>

#include "engine/base/err.h"
#include "replication/wire/tls.h"
#include "replication/wire/transport.h"

struct peers;

struct peers_options {
    uv_loop_t *loop;
    const char *host; /* as peers_bind() was given it: for what is said */
    int port;
    int bound_fd;            /* by peers_bind(); the peers' own from a start on that succeeded */
    struct tls_context *tls; /* NULL: tls=off; referenced */
    struct hello hello;      /* this node's; to and channel are filled in. cluster_id may change: peers_set_cluster() */
    uint64_t seed;           /* chance for the pauses */
    struct transport_events events;
};

/* Has the address to itself, where nobody is let in yet: who connects is refused by the host, as if there were nothing.
 * So a start that cannot have it ends before anything is touched. The caller closes *out. Any thread; waits for the
 * name to be resolved. One clear line in e: "listen=HOST:PORT: Address already in use". Errnos of bind(2); -EINVAL: the
 * host cannot be resolved. */
int peers_bind(const char *host, int port, int *out, struct err *e);
/* Listens. On the loop's thread, or before it runs. Errnos of listen(2), with a line as above. */
int peers_start(const struct peers_options *options, struct peers **out, struct err *e);
/* Says goodbye, ends all connections, and calls done when everything is closed and nothing comes any more. The loop's
 * thread; peers is freed by then. No other call is being made, or will be. */
void peers_stop(struct peers *peers, void (*done)(void *arg), void *arg);

struct transport *peers_transport(struct peers *peers);
/* The node is of a cluster now: in the hellos to come. Any thread. */
void peers_set_cluster(struct peers *peers, const char *cluster_id);
/* Certificates that were read anew: for the connections to come. Any thread. */
void peers_set_tls(struct peers *peers, struct tls_context *tls);
/* The port that is listened at: for a test that asked for port 0. */
int peers_port(const struct peers *peers);

#endif
