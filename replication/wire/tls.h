/* replication/wire/tls.h: mutual TLS 1.3 between nodes, by OpenSSL. The only user of its headers.
 *
 * A context holds certificate, key and CA; it is counted, so that one which was read anew (SIGHUP) serves the
 * connections to come while the old ones go on. A session is one connection's, over a non-blocking socket; its caller
 * lets one thread at a time into it. */
#ifndef LOGMNT_REPLICATION_WIRE_TLS_H
#define LOGMNT_REPLICATION_WIRE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/err.h"

struct tls_context;
struct tls_session;

struct tls_files {
    const char *cert, *key, *ca; /* PEM; paths */
};

/* Reads the files. Refused with one clear line: -EINVAL: a file that is no certificate or key, a key that is not the
 * certificate's, a certificate that does not name `DNS:node-ID.logmnt`; errnos of opening them; -ENOMEM. An expired
 * certificate, or one not valid yet, is logged and taken: the node's mount comes up without peers. One reference. */
int tls_context_new(const struct tls_files *files, int32_t node_id, struct tls_context **out, struct err *e);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is allowed */

/* fd stays the caller's. NULL: no memory. */
struct tls_session *tls_session_new(struct tls_context *context, int fd, bool accepts);
void tls_session_free(struct tls_session *session); /* NULL is allowed; says nothing to the other side */

/* What the session waits for when a call returned -EAGAIN. */
bool tls_wants_write(const struct tls_session *session);

/* 0: done, the other side's certificate is valid under the CA; -EAGAIN; -EPROTO with the reason (unknown CA, expired,
 * no certificate, not TLS at all, …), or the errno of the socket. */
int tls_handshake(struct tls_session *session, struct err *e);
/* Does the other side's certificate name the node? After the handshake. */
bool tls_names_node(const struct tls_session *session, int32_t node_id);
/* Bytes (0: a clean end); -EAGAIN; -EPROTO, -ECONNRESET, … with the reason. A write of -EAGAIN has to be repeated with
 * the same bytes. */
ssize_t tls_read(struct tls_session *session, void *data, size_t len, struct err *e);
ssize_t tls_write(struct tls_session *session, const void *data, size_t len, struct err *e);
/* What was written is held back until there is more; this sends it. 0; -EAGAIN: the socket took not all of it; the
 * errno of the socket. */
int tls_flush(struct tls_session *session, struct err *e);
bool tls_holds(const struct tls_session *session);

#endif
