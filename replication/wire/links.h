/* replication/wire/links.h: the source of the transport of production: peers.h on the loop of a daemon's executor. */
#ifndef LOGMNT_REPLICATION_WIRE_LINKS_H
#define LOGMNT_REPLICATION_WIRE_LINKS_H

#include "engine/base/err.h"
#include "replication/executor/executor.h"
#include "replication/wire/tls.h"
#include "replication/wire/transport.h"

struct peers;

struct links {
    struct transport_source source;
    struct executor *executor; /* of executor_uv.h */
    const char *host;          /* to listen at; borrowed */
    int port;
    int bound_fd;            /* -1: not yet, or the peers' */
    struct tls_context *tls; /* NULL: tls=off */
    struct peers *peers;     /* between start and stop */
};

/* tls: NULL: tls=off; referenced. */
void links_init(struct links *links, struct executor *executor, const char *host, int port, struct tls_context *tls);
/* Has the address from here on, but lets nobody in before the start, which does so itself otherwise. As peers_bind().
 */
int links_bind(struct links *links, struct err *e);
/* Certificates that were read anew: for the connections to come. Any thread, between start and stop. */
void links_set_tls(struct links *links, struct tls_context *tls);
/* Not started, or stopped. */
void links_free(struct links *links);

#endif
