/* replication/wire/conn.h: one connection: a socket, with TLS or not, frames in and out.
 *
 * A connection lives on one libuv loop, whose thread reads it and closes it. Any thread that has a reference may send:
 * what the socket takes at once goes out from the sender's memory on the sender's thread, the rest is copied and sent
 * by the loop. So nobody waits for a socket. docs/WIRE.md has the bytes. */
#ifndef LOGMNT_REPLICATION_WIRE_CONN_H
#define LOGMNT_REPLICATION_WIRE_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "engine/base/err.h"
#include "replication/wire/frame.h"
#include "replication/wire/hello.h"
#include "replication/wire/tls.h"

struct conn;

/* All on the loop's thread, with no lock held. */
struct conn_events {
    void (*open)(struct conn *conn);                       /* connected, and TLS has shaken hands */
    void (*frame)(struct conn *conn, struct frame *frame); /* after open; frame is the callee's to free */
    /* Once, as the last event of all, unless conn_end() or conn_finish() came before it. rc: 0 for an end of file,
     * -ECONNREFUSED, …, with a reason in words. Its socket is being closed. */
    void (*ended)(struct conn *conn, int rc, const char *reason);
    /* Asked before each read: is there no room for more? Then it is asked again after conn_look(). NULL: never. */
    bool (*full)(struct conn *conn);
};

/* Begins to connect, or takes over an accepted fd (on success). tls: NULL for none; referenced. *out is the caller's
 * reference; the loop has one of its own until the socket is closed. data is the events' own (conn_data()). The loop's
 * thread. Errors: those of socket(2) and connect(2) that come at once; -ENOMEM; of libuv. */
int conn_connect(uv_loop_t *loop, const struct sockaddr *addr, socklen_t addr_len, struct tls_context *tls,
                 const struct conn_events *events, void *data, struct conn **out, struct err *e);
int conn_accept(uv_loop_t *loop, int fd, struct tls_context *tls, const struct conn_events *events, void *data,
                struct conn **out, struct err *e);

void *conn_data(const struct conn *conn); /* loop thread */
/* Somebody else's from here on: events and data. The loop's thread. */
void conn_hand_over(struct conn *conn, const struct conn_events *events, void *data);
/* The other side is known, and what it is for: its frames may be as long as frames are, before they are hellos; and who
 * does not read records may have no room for them. The loop's thread. */
void conn_greet(struct conn *conn, enum channel channel);
/* full() is asked again. Any thread that has a reference, with any lock held. */
void conn_look(struct conn *conn);
bool conn_names_node(struct conn *conn, int32_t node_id); /* by its certificate; true without TLS. After open */
bool conn_has_tls(const struct conn *conn);
const char *conn_address(const struct conn *conn); /* of the other side, as text */

/* Sends a frame, after all those that were sent before it. 0: it is on its way, or will be lost with the connection;
 * -ENOTCONN: not open, or it has ended; -ENOBUFS: LIMIT_CONN_QUEUE_BYTES are waiting; -ENOMEM. Any thread that has a
 * reference; its lock is never held through anything that waits. */
int conn_send(struct conn *conn, const struct frame_out *out);

/* No event comes any more; what is queued is lost. The loop's thread. */
void conn_end(struct conn *conn);
/* No event comes any more, but it ends by itself only once what is queued is out and the other side has ended, too;
 * what comes in is thrown away. The loop's thread. */
void conn_finish(struct conn *conn);

/* Its socket is closed, or is being closed. The loop's thread. */
bool conn_ended(const struct conn *conn);

struct conn *conn_ref(struct conn *conn);
void conn_unref(struct conn *conn); /* any thread */

#endif
