/* replication/wire/peers_internal.h: what peers.c and peer.c share. */
#ifndef LOGMNT_REPLICATION_WIRE_PEERS_INTERNAL_H
#define LOGMNT_REPLICATION_WIRE_PEERS_INTERNAL_H

#include <pthread.h>

#include "replication/base/limits.h"
#include "replication/wire/peer.h"

/* A connection whose hello has not come. */
struct stranger {
    struct peers *peers;
    struct conn *conn; /* referenced */
    uint64_t since_ms;
    bool opened;
    struct stranger *prev, *next;
};

/* A connection that said goodbye and waits for the other side's end. */
struct finishing {
    struct conn *conn; /* referenced */
    uint64_t since_ms;
    struct finishing *next;
};

/* What another thread asked for. */
struct request {
    struct request *next;
    enum { REQUEST_MEET, REQUEST_FORGET, REQUEST_DROP, REQUEST_TLS } kind;
    int32_t node;
    char host[HELLO_HOST_BYTES];
    int port;
    struct tls_context *tls;
};

struct peers {
    struct transport transport;
    struct transport_events events;
    uv_loop_t *loop;
    uv_poll_t listener;
    uv_async_t wake;
    uv_timer_t sweep;
    int listen_fd;
    int port;
    uint64_t sessions;       /* the last one's number, of all peers; loop thread */
    uint64_t random;         /* state of the pauses' chance; loop thread */
    struct tls_context *tls; /* loop thread */
    struct stranger *strangers;
    unsigned stranger_count;
    struct refusals refusals; /* of those that are no peers; loop thread */
    struct finishing *finishing;
    bool stopping;
    int closing;
    void (*done)(void *arg);
    void *done_arg;

    pthread_mutex_t lock;
    struct hello hello; /* lock: cluster_id */
    struct request *first, **last;

    pthread_rwlock_t table_lock; /* the loop's thread reads without it */
    struct peer *table[LIMIT_NODES];
    unsigned count;
};

/* This node's hello, to a node, on a channel. */
void peers_hello(struct peers *peers, int32_t to, enum channel channel, struct hello *out);
/* A number below bound. */
uint64_t peers_chance(struct peers *peers, uint64_t bound);
/* Lets a connection end by itself, within FINISH_MS. */
void peers_finish(struct peers *peers, struct conn *conn);
/* Something is in the making: it will be looked at. */
void peers_sweep_soon(struct peers *peers);
/* What senders find for the peer changes. */
void peers_publish(struct peer *peer, bool up);

#endif
