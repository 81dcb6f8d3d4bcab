/* replication/wire/tls.c: contexts and sessions.
 *
 * OpenSSL's errors are a queue of the thread: it is emptied before each call that can fail, and its first entry, the
 * cause, is what the reason says. */
#include "replication/wire/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

struct tls_context {
    SSL_CTX *ssl;
    _Atomic unsigned refs;
};

struct tls_session {
    SSL *ssl;
    struct tls_context *context;
    bool wants_write;
};

enum {
    NODE_NAME_BYTES = 32,
    /* What came and what goes, of a connection, as TLS records: in one system call. Kept as long as it lives. */
    IN_BYTES = 128 << 10,
    OUT_BYTES = 64 << 10,
};

static void node_name(int32_t node_id, char name[NODE_NAME_BYTES])
{
    snprintf(name, NODE_NAME_BYTES, "node-%d.logmnt", node_id);
}

/* The first error of this thread's queue, in words. */
static const char *reason(void)
{
    unsigned long code = ERR_get_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    return text != NULL ? text : "no reason given";
}

/* ---- contexts ---- */

static int load_files(SSL_CTX *ssl, const struct tls_files *files, struct err *e)
{
    if (SSL_CTX_use_certificate_chain_file(ssl, files->cert) != 1)
        return err_set(e, -EINVAL, "tls.cert=%s: %s", files->cert, reason());
    if (SSL_CTX_use_PrivateKey_file(ssl, files->key, SSL_FILETYPE_PEM) != 1) {
        unsigned long code = ERR_peek_error();
        if (ERR_GET_LIB(code) == ERR_LIB_X509 &&
            (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH || ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH))
            return err_set(e, -EINVAL, "tls.key=%s is not the key of tls.cert=%s", files->key, files->cert);
        return err_set(e, -EINVAL, "tls.key=%s: %s", files->key, reason());
    }
    if (SSL_CTX_load_verify_file(ssl, files->ca) != 1)
        return err_set(e, -EINVAL, "tls.ca=%s: %s", files->ca, reason());
    return 0;
}

static int check_certificate(SSL_CTX *ssl, const struct tls_files *files, int32_t node_id, struct err *e)
{
    char name[NODE_NAME_BYTES];
    X509 *cert = SSL_CTX_get0_certificate(ssl);
    node_name(node_id, name);
    if (cert == NULL || X509_check_host(cert, name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) != 1) {
        return err_set(e, -EINVAL, "tls.cert=%s does not name this node: it needs the alternative name DNS:%s",
                       files->cert, name);
    }
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        log_line(LOG_ERR, "tls.cert=%s has expired: other nodes will refuse this one until it is renewed (SIGHUP)",
                 files->cert);
    } else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        log_line(LOG_ERR, "tls.cert=%s is not valid yet: other nodes will refuse this one until it is", files->cert);
    }
    return 0;
}

/* A file that cannot be opened is said with its errno; OpenSSL would say "no start line". */
static int check_readable(const char *option, const char *path, struct err *e)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return err_sys(e, -errno, "%s%s", option, path);
    fclose(file);
    return 0;
}

int tls_context_new(const struct tls_files *files, int32_t node_id, struct tls_context **out, struct err *e)
{
    int rc;
    struct tls_context *context;
    if ((rc = check_readable("tls.cert=", files->cert, e)) != 0 ||
        (rc = check_readable("tls.key=", files->key, e)) != 0 || (rc = check_readable("tls.ca=", files->ca, e)) != 0)
        return rc;
    ERR_clear_error();
    context = calloc(1, sizeof *context);
    if (context == NULL)
        return err_sys(e, -ENOMEM, "TLS");
    context->ssl = SSL_CTX_new(TLS_method());
    if (context->ssl == NULL) {
        rc = err_sys(e, -ENOMEM, "TLS");
        goto err_after_context;
    }
    SSL_CTX_set_min_proto_version(context->ssl, TLS1_3_VERSION);
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Without it each record takes two system calls. Who reads goes on until there is nothing (conn.c), so that none is
     * left in the buffer unseen. */
    SSL_CTX_set_read_ahead(context->ssl, 1);
    SSL_CTX_set_default_read_buffer_len(context->ssl, IN_BYTES);
    /* Connections are few and long: a ticket would only be a secret more. */
    SSL_CTX_set_num_tickets(context->ssl, 0);
    SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
    rc = load_files(context->ssl, files, e);
    if (rc == 0)
        rc = check_certificate(context->ssl, files, node_id, e);
    if (rc != 0)
        goto err_after_ssl;
    context->refs = 1;
    *out = context;
    return 0;

err_after_ssl:
    SSL_CTX_free(context->ssl);
err_after_context:
    free(context);
    return rc;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add(&context->refs, 1);
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context == NULL || atomic_fetch_sub(&context->refs, 1) > 1)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}

/* ---- sessions ---- */

/* Where records go: through a buffer that is written when it is full, and by BIO_flush(). NULL: no memory. */
static BIO *way_out(int fd)
{
    BIO *buffer = BIO_new(BIO_f_buffer()), *out = BIO_new_socket(fd, BIO_NOCLOSE);
    if (buffer != NULL && out != NULL && BIO_set_write_buffer_size(buffer, OUT_BYTES) == 1)
        return BIO_push(buffer, out);
    BIO_free(buffer);
    BIO_free(out);
    return NULL;
}

struct tls_session *tls_session_new(struct tls_context *context, int fd, bool accepts)
{
    struct tls_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->ssl = SSL_new(context->ssl);
    BIO *out = session->ssl != NULL ? way_out(fd) : NULL;
    if (out == NULL || SSL_set_rfd(session->ssl, fd) != 1) {
        BIO_free_all(out);
        SSL_free(session->ssl);
        free(session);
        return NULL;
    }
    SSL_set0_wbio(session->ssl, out);
    session->context = tls_context_ref(context);
    if (accepts)
        SSL_set_accept_state(session->ssl);
    else
        SSL_set_connect_state(session->ssl);
    return session;
}

void tls_session_free(struct tls_session *session)
{
    if (session == NULL)
        return;
    SSL_free(session->ssl);
    tls_context_unref(session->context);
    free(session);
}

bool tls_wants_write(const struct tls_session *session)
{
    return session->wants_write;
}

/* The cause of a failed handshake or of an alert, as a person would say it. */
static const char *cause(const struct tls_session *session)
{
    long verdict = SSL_get_verify_result(session->ssl);
    return verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : reason();
}

/* What a call that did not succeed means. rc: what it returned; errno is still the call's. */
static int failed(struct tls_session *session, int rc, const char *what, struct err *e)
{
    int system = errno;
    switch (SSL_get_error(session->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        session->wants_write = false;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        session->wants_write = true;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return err_sys(e, system != 0 ? -system : -ECONNRESET, "%s", what);
    default:
        /* An end without TLS's own is how a process that was killed ends: no breach of the protocol. */
        if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return err_sys(e, -ECONNRESET, "%s", what);
        return err_set(e, -EPROTO, "%s: %s", what, cause(session));
    }
}

int tls_handshake(struct tls_session *session, struct err *e)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(session->ssl);
    if (rc == 1)
        return 0;
    rc = failed(session, rc, "TLS", e);
    return rc == 0 ? err_set(e, -ECONNRESET, "TLS: the other side ended the handshake") : rc;
}

bool tls_names_node(const struct tls_session *session, int32_t node_id)
{
    char name[NODE_NAME_BYTES];
    X509 *cert = SSL_get0_peer_certificate(session->ssl);
    node_name(node_id, name);
    return cert != NULL && X509_check_host(cert, name, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
}

static int capped(size_t len)
{
    return len < INT_MAX ? (int)len : INT_MAX;
}

ssize_t tls_read(struct tls_session *session, void *data, size_t len, struct err *e)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read(session->ssl, data, capped(len));
    return rc > 0 ? rc : failed(session, rc, "read", e);
}

ssize_t tls_write(struct tls_session *session, const void *data, size_t len, struct err *e)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write(session->ssl, data, capped(len));
    if (rc > 0)
        return rc;
    rc = failed(session, rc, "write", e);
    return rc == 0 ? err_sys(e, -EPIPE, "write") : rc;
}

bool tls_holds(const struct tls_session *session)
{
    return BIO_wpending(SSL_get_wbio(session->ssl)) > 0;
}

int tls_flush(struct tls_session *session, struct err *e)
{
    BIO *out = SSL_get_wbio(session->ssl);
    ERR_clear_error();
    errno = 0;
    if (BIO_flush(out) > 0)
        return 0;
    return BIO_should_retry(out) ? -EAGAIN : err_sys(e, errno != 0 ? -errno : -EPIPE, "write");
}
