/* replication/wire/conn.c: the states of a connection, its reading and its writing.
 *
 *   CONNECTING ──► HANDSHAKE ──► OPEN ──► FINISHING ──┐
 *       │              │           │                  ▼
 *       └──────────────┴───────────┴──────────────► ENDED
 *
 * An accepted one begins in HANDSHAKE, one without TLS passes through it. The loop's thread makes all transitions
 * (tick()); the lock guards the queue, the socket's writing side and the TLS session, into which readers and writers
 * both go. A sender that meets an error of the socket leaves it in `broken` and wakes the loop, which ends the
 * connection.
 *
 * uv_poll_t, and not uv_tcp_t: a uv_tcp_t may only be written by the loop's thread, and a record's way would cost a
 * hop. The descriptor is closed when libuv has let go of both handles. */
#include "replication/wire/conn.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replication/base/limits.h"

enum {
    IN_BYTES = 64 << 10,     /* read at once */
    DIRECT_BYTES = 16 << 10, /* of a frame still missing: read into the frame itself */
    OUT_BYTES = 16 << 10,    /* a TLS record: made at once */
    ADDRESS_BYTES = NI_MAXHOST + NI_MAXSERV + 4,
    SMALL_BODY = 64, /* parts of a frame's body that need no memory of their own to be sent */
    /* A host that is gone is known after KEEPALIVE_IDLE_S + KEEPALIVE_COUNT × KEEPALIVE_INTERVAL_S without traffic, or
     * USER_TIMEOUT_MS with something unacknowledged. The controller notices earlier, by heartbeats that do not come.
     * Linux counts what waits for a window likewise, though the other side answers each probe. So records, which are
     * not read while a disk stands still, wait longer: that the host is gone tells the other connection. */
    KEEPALIVE_IDLE_S = 5,
    KEEPALIVE_INTERVAL_S = 1,
    KEEPALIVE_COUNT = 5,
    USER_TIMEOUT_MS = 10000,
    RECORDS_TIMEOUT_MS = 60000,
};

enum conn_state { CONN_CONNECTING, CONN_HANDSHAKE, CONN_OPEN, CONN_FINISHING, CONN_ENDED };

/* Bytes that wait for the socket. */
struct chunk {
    struct chunk *next;
    size_t len, sent;
    uint8_t bytes[];
};

struct conn {
    uv_poll_t poll;
    uv_async_t wake;
    int closing; /* handles that libuv still has; loop thread */
    int polled;  /* what it polls for, which costs system calls to say; 0: nothing, or not known; loop thread */
    int fd;
    enum conn_state state; /* written by the loop's thread, under the lock */
    bool silent;           /* conn_end(): no event any more; loop thread */
    bool checked_tls;      /* loop thread: the first byte was looked at */
    bool failed;           /* loop thread: the socket has an error, which is behind what is to be read */
    const struct conn_events *events;
    void *data;
    char address[ADDRESS_BYTES];
    _Atomic unsigned refs;

    pthread_mutex_t lock;
    struct tls_session *tls;
    struct chunk *first, **last;
    size_t queued_bytes;
    int broken; /* errno that a sender met; 0 */

    struct frame_reader reader; /* loop thread */
};

static void tick(struct conn *conn);

/* ---- life ---- */

struct conn *conn_ref(struct conn *conn)
{
    atomic_fetch_add(&conn->refs, 1);
    return conn;
}

void conn_unref(struct conn *conn)
{
    if (atomic_fetch_sub(&conn->refs, 1) > 1)
        return;
    for (struct chunk *chunk = conn->first, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    frame_reader_free(&conn->reader);
    tls_session_free(conn->tls);
    pthread_mutex_destroy(&conn->lock);
    free(conn);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    if (--conn->closing > 0)
        return;
    /* A sender that looked before the state was ENDED is out by now: it holds the lock while it uses the fd. */
    pthread_mutex_lock(&conn->lock);
    close(conn->fd);
    conn->fd = -1;
    pthread_mutex_unlock(&conn->lock);
    conn_unref(conn);
}

/* To ENDED: senders are refused, the handles are given back, and whoever listens is told. */
static void end(struct conn *conn, int rc, const char *reason)
{
    if (conn->state == CONN_ENDED)
        return;
    pthread_mutex_lock(&conn->lock);
    conn->state = CONN_ENDED;
    pthread_mutex_unlock(&conn->lock);
    uv_poll_stop(&conn->poll);
    conn_ref(conn);
    conn->closing = 2;
    uv_close((uv_handle_t *)&conn->poll, on_closed);
    uv_close((uv_handle_t *)&conn->wake, on_closed);
    if (!conn->silent)
        conn->events->ended(conn, rc, reason);
    conn_unref(conn);
}

void conn_end(struct conn *conn)
{
    conn->silent = true;
    end(conn, 0, "");
}

static void set_state(struct conn *conn, enum conn_state state)
{
    pthread_mutex_lock(&conn->lock);
    conn->state = state;
    pthread_mutex_unlock(&conn->lock);
}

/* ---- the socket ---- */

static ssize_t socket_read(struct conn *conn, void *data, size_t len, struct err *e)
{
    if (conn->tls != NULL) {
        pthread_mutex_lock(&conn->lock);
        ssize_t n = tls_read(conn->tls, data, len, e);
        pthread_mutex_unlock(&conn->lock);
        return n;
    }
    ssize_t n = recv(conn->fd, data, len, MSG_DONTWAIT);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? -EAGAIN : err_sys(e, -errno, "read");
}

/* One call's worth. Under the lock. */
static ssize_t socket_write(struct conn *conn, const void *data, size_t len, struct err *e)
{
    if (conn->tls != NULL)
        return tls_write(conn->tls, data, len < OUT_BYTES ? len : OUT_BYTES, e);
    ssize_t n = send(conn->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? -EAGAIN : err_sys(e, -errno, "write");
}

/* ---- writing ---- */

/* The last records of TLS go out with those before them. 0, also if the socket takes no more, or a negative errno.
 * Under the lock. */
static int flush_records(struct conn *conn, struct err *e)
{
    int rc = conn->tls != NULL ? tls_flush(conn->tls, e) : 0;
    return rc == -EAGAIN ? 0 : rc;
}

/* Nothing waits for the socket. Under the lock. */
static bool is_drained(const struct conn *conn)
{
    return conn->first == NULL && (conn->tls == NULL || !tls_holds(conn->tls));
}

/* Sends what is queued until the socket takes no more. 0 or a negative errno. Under the lock. */
static int flush_queue(struct conn *conn, struct err *e)
{
    while (conn->first != NULL) {
        struct chunk *chunk = conn->first;
        ssize_t n = socket_write(conn, chunk->bytes + chunk->sent, chunk->len - chunk->sent, e);
        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        chunk->sent += (size_t)n;
        conn->queued_bytes -= (size_t)n;
        if (chunk->sent < chunk->len)
            continue;
        conn->first = chunk->next;
        if (conn->first == NULL)
            conn->last = &conn->first;
        free(chunk);
    }
    return flush_records(conn, e);
}

static size_t parts_bytes(const struct iovec *parts, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    return bytes;
}

/* Copies up to len bytes from place `from` of the parts on. */
static size_t parts_copy(const struct iovec *parts, int count, size_t from, uint8_t *out, size_t len)
{
    size_t copied = 0;
    for (int i = 0; i < count && copied < len; i++) {
        if (from >= parts[i].iov_len) {
            from -= parts[i].iov_len;
            continue;
        }
        size_t some = parts[i].iov_len - from;
        if (some > len - copied)
            some = len - copied;
        memcpy(out + copied, (const uint8_t *)parts[i].iov_base + from, some);
        copied += some;
        from = 0;
    }
    return copied;
}

/* Up to a TLS record from place `from` of the parts on: where it lies, or a copy of it in `record`. */
static const uint8_t *parts_record(const struct iovec *parts, int count, size_t from, uint8_t record[OUT_BYTES],
                                   size_t *len)
{
    size_t at = from;
    int i = 0;
    while (i < count && at >= parts[i].iov_len)
        at -= parts[i++].iov_len;
    if (i < count && parts[i].iov_len - at >= OUT_BYTES) {
        *len = OUT_BYTES;
        return (const uint8_t *)parts[i].iov_base + at;
    }
    *len = parts_copy(parts, count, from, record, OUT_BYTES);
    return record;
}

/* What the socket takes at once, from the sender's own memory. *sent counts. Under the lock. */
static int send_now(struct conn *conn, const struct iovec *parts, int count, size_t bytes, size_t *sent, struct err *e)
{
    uint8_t record[OUT_BYTES];
    *sent = 0;
    if (conn->tls == NULL) {
        /* Parts beyond IOV_MAX are copied, as any rest is. */
        struct msghdr message = {.msg_iov = (struct iovec *)parts,
                                 .msg_iovlen = count < IOV_MAX ? (size_t)count : IOV_MAX};
        ssize_t n = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : err_sys(e, -errno, "write");
        *sent = (size_t)n;
        return 0;
    }
    while (*sent < bytes) {
        size_t some;
        const uint8_t *piece = parts_record(parts, count, *sent, record, &some);
        ssize_t n = socket_write(conn, piece, some, e);
        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        *sent += (size_t)n;
    }
    return flush_records(conn, e);
}

/* The rest of a frame, copied. Under the lock. */
static int enqueue(struct conn *conn, const struct iovec *parts, int count, size_t from, size_t bytes)
{
    struct chunk *chunk = malloc(sizeof *chunk + bytes - from);
    if (chunk == NULL)
        return -ENOMEM;
    chunk->next = NULL;
    chunk->sent = 0;
    chunk->len = parts_copy(parts, count, from, chunk->bytes, bytes - from);
    *conn->last = chunk;
    conn->last = &chunk->next;
    conn->queued_bytes += chunk->len;
    return 0;
}

static int send_parts(struct conn *conn, const struct iovec *parts, int count)
{
    struct err e;
    int rc = 0;
    size_t sent = 0, bytes = parts_bytes(parts, count);
    pthread_mutex_lock(&conn->lock);
    if (conn->state != CONN_OPEN || conn->broken != 0) {
        rc = -ENOTCONN;
        goto out;
    }
    if (conn->queued_bytes + bytes > LIMIT_CONN_QUEUE_BYTES && conn->first != NULL) {
        rc = -ENOBUFS;
        goto out;
    }
    if (conn->first == NULL)
        conn->broken = send_now(conn, parts, count, bytes, &sent, &e);
    if (conn->broken == 0 && sent < bytes) {
        rc = enqueue(conn, parts, count, sent, bytes);
        /* Half a frame is out, or TLS has a record of it that has to go next, and the other half is not to be had: the
         * stream is of no more use. */
        if (rc != 0 && (sent > 0 || conn->tls != NULL))
            conn->broken = rc;
    }
    if (conn->broken != 0 || !is_drained(conn))
        uv_async_send(&conn->wake);
out:
    pthread_mutex_unlock(&conn->lock);
    return rc;
}

int conn_send(struct conn *conn, const struct frame_out *out)
{
    uint8_t preamble[FRAME_PREAMBLE_BYTES];
    struct iovec few[SMALL_BODY + 2], *parts = few;
    int rc, count = 2;
    if (out->body_count > SMALL_BODY) {
        parts = malloc(((size_t)out->body_count + 2) * sizeof *parts);
        if (parts == NULL)
            return -ENOMEM;
    }
    frame_preamble(out, preamble);
    parts[0] = (struct iovec){preamble, sizeof preamble};
    parts[1] = (struct iovec){(void *)(uintptr_t)out->header, out->header_bytes};
    for (int i = 0; i < out->body_count; i++)
        parts[count++] = out->body[i];
    rc = send_parts(conn, parts, count);
    if (parts != few)
        free(parts);
    return rc;
}

/* ---- reading ---- */

static void deliver(struct conn *conn, struct frame *frame)
{
    if (conn->state == CONN_OPEN)
        conn->events->frame(conn, frame);
    else
        frame_free(frame);
}

/* Cuts bytes that were read into frames. 0 or a negative errno. */
static int feed(struct conn *conn, const uint8_t *data, size_t len, struct err *e)
{
    size_t used;
    struct frame *frame;
    while (len > 0 && conn->state != CONN_ENDED) {
        int rc = frame_feed(&conn->reader, data, len, &used, &frame, e);
        if (rc < 0)
            return rc;
        if (rc == 1)
            deliver(conn, frame);
        data += used;
        len -= used;
    }
    return 0;
}

/* One read: into the frame that is being filled, or through a buffer. Bytes, 0 for the end, or a negative errno. *more:
 * there may be more; else the loop tells when there is. */
static ssize_t read_some(struct conn *conn, bool *more, struct err *e)
{
    uint8_t buffer[IN_BYTES];
    struct frame *frame;
    size_t room = 0;
    uint8_t *space = frame_space(&conn->reader, &room);
    bool direct = space != NULL && room >= DIRECT_BYTES;
    size_t asked = direct ? room : sizeof buffer;
    ssize_t n = socket_read(conn, direct ? space : buffer, asked, e);
    *more = conn->tls != NULL || n == (ssize_t)asked;
    if (n <= 0)
        return n;
    if (!direct) {
        int rc = feed(conn, buffer, (size_t)n, e);
        return rc < 0 ? rc : n;
    }
    int rc = frame_filled(&conn->reader, (size_t)n, &frame, e);
    if (rc < 0)
        return rc;
    if (rc == 1)
        deliver(conn, frame);
    return n;
}

/* Nobody listens to the end of one that is full: the other connection of the pair, or what is sent here, will tell. */
static bool is_full(struct conn *conn)
{
    return conn->state == CONN_OPEN && !conn->failed && conn->events->full != NULL && conn->events->full(conn);
}

/* Reads what is there, up to one turn's share. */
static void read_turn(struct conn *conn)
{
    struct err e = {""};
    size_t bytes = 0;
    bool more = true;
    while (more && (conn->state == CONN_OPEN || conn->state == CONN_FINISHING) && !is_full(conn)) {
        ssize_t n = read_some(conn, &more, &e);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            end(conn, (int)n, n == 0 ? "the other side has ended the connection" : e.text);
            return;
        }
        bytes += (size_t)n;
        if (bytes >= LIMIT_CONN_TURN_BYTES) {
            uv_async_send(&conn->wake); /* TLS may hold bytes that the socket no longer has */
            return;
        }
    }
}

/* ---- the states ---- */

/* CONNECTING → HANDSHAKE, when connect(2) is over. */
static void tick_connecting(struct conn *conn)
{
    struct err e;
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        err_sys(&e, -error, "connect");
        end(conn, -error, e.text);
        return;
    }
    set_state(conn, CONN_HANDSHAKE);
}

/* Tells a side without TLS why it is not let in; in clear, since that is what it reads. */
static void refuse_clear(int fd)
{
    uint8_t preamble[FRAME_PREAMBLE_BYTES], text[HELLO_BYTES_MAX];
    size_t len = refusal_encode(REFUSAL_TLS, "has TLS, this node has not: set tls.cert=, tls.key= and tls.ca=", text);
    struct frame_out out = {.kind = FRAME_REFUSAL, .header = text, .header_bytes = (uint32_t)len};
    frame_preamble(&out, preamble);
    struct iovec parts[] = {{preamble, sizeof preamble}, {text, len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A side with TLS and one without would each wait for bytes that make sense: the first byte tells. false: it ended. */
static bool check_first_byte(struct conn *conn)
{
    uint8_t first;
    if (conn->checked_tls || conn->tls == NULL)
        return true;
    ssize_t n = recv(conn->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 1)
        return true; /* the handshake itself will say what is wrong, or wait */
    conn->checked_tls = true;
    if (first != 'L')
        return true;
    refuse_clear(conn->fd);
    end(conn, -EPROTO, "the other side speaks without TLS, this one with it");
    return false;
}

/* HANDSHAKE → OPEN. */
static void tick_handshake(struct conn *conn)
{
    struct err e = {""};
    int rc = 0;
    if (!check_first_byte(conn))
        return;
    if (conn->tls != NULL) {
        pthread_mutex_lock(&conn->lock);
        rc = tls_handshake(conn->tls, &e);
        pthread_mutex_unlock(&conn->lock);
    }
    if (rc == -EAGAIN)
        return;
    if (rc != 0) {
        end(conn, rc, e.text);
        return;
    }
    set_state(conn, CONN_OPEN);
    conn->events->open(conn);
}

static void tick_open(struct conn *conn)
{
    struct err e = {""};
    read_turn(conn);
    if (conn->state == CONN_ENDED)
        return;
    pthread_mutex_lock(&conn->lock);
    int rc = conn->broken != 0 ? conn->broken : flush_queue(conn, &e);
    bool drained = is_drained(conn);
    pthread_mutex_unlock(&conn->lock);
    if (rc != 0)
        end(conn, rc, e.text[0] != '\0' ? e.text : strerror(-rc));
    else if (conn->state == CONN_FINISHING && drained)
        shutdown(conn->fd, SHUT_WR);
}

/* What the loop has to wake for. */
static int wanted(struct conn *conn)
{
    if (conn->state == CONN_CONNECTING)
        return UV_WRITABLE;
    pthread_mutex_lock(&conn->lock);
    bool write = conn->state == CONN_HANDSHAKE ? conn->tls != NULL && tls_wants_write(conn->tls) : !is_drained(conn);
    pthread_mutex_unlock(&conn->lock);
    return (is_full(conn) ? 0 : UV_READABLE) | (write ? UV_WRITABLE : 0);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_for(struct conn *conn, int events)
{
    if (events == 0)
        uv_poll_stop(&conn->poll);
    else if (events != conn->polled)
        uv_poll_start(&conn->poll, events, on_poll);
    conn->polled = events;
}

static void tick(struct conn *conn)
{
    conn_ref(conn);
    if (conn->state == CONN_CONNECTING)
        tick_connecting(conn);
    if (conn->state == CONN_HANDSHAKE)
        tick_handshake(conn);
    if (conn->state == CONN_OPEN || conn->state == CONN_FINISHING)
        tick_open(conn);
    if (conn->state != CONN_ENDED)
        poll_for(conn, wanted(conn));
    conn_unref(conn);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct conn *conn = poll->data;
    (void)events;
    conn->failed = status < 0;
    if (status < 0)
        conn->polled = 0; /* then libuv has stopped */
    conn_ref(conn);
    tick(conn);
    /* libuv calls any error of a socket a bad descriptor: reading says what it is, behind what came before it. */
    if (status < 0 && conn->state != CONN_ENDED)
        end(conn, status, uv_strerror(status));
    conn_unref(conn);
}

static void on_wake(uv_async_t *wake)
{
    struct conn *conn = wake->data;
    if (conn->state != CONN_ENDED && conn->state != CONN_CONNECTING)
        tick(conn);
}

void conn_finish(struct conn *conn)
{
    conn->silent = true;
    if (conn->state != CONN_OPEN) {
        end(conn, 0, "");
        return;
    }
    set_state(conn, CONN_FINISHING);
    uv_async_send(&conn->wake);
}

/* ---- making one ---- */

static void set_options(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
    };
    /* Each is a help, none is needed for what is right. */
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

static void set_address(struct conn *conn, const struct sockaddr *addr, socklen_t addr_len)
{
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    getnameinfo(addr, addr_len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(conn->address, sizeof conn->address, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

/* fd is the connection's from here on only on success. */
static int make(uv_loop_t *loop, int fd, enum conn_state state, struct tls_context *tls,
                const struct conn_events *events, void *data, struct conn **out, struct err *e)
{
    struct conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return err_sys(e, -ENOMEM, "a connection");
    conn->refs = 1;
    conn->fd = fd;
    conn->state = state;
    conn->events = events;
    conn->data = data;
    conn->last = &conn->first;
    pthread_mutex_init(&conn->lock, NULL);
    set_options(fd);
    if (tls != NULL && (conn->tls = tls_session_new(tls, fd, state == CONN_HANDSHAKE)) == NULL) {
        conn_unref(conn);
        return err_sys(e, -ENOMEM, "TLS");
    }
    int rc = uv_poll_init(loop, &conn->poll, fd);
    if (rc != 0) {
        conn_unref(conn);
        return err_sys(e, rc, "a connection");
    }
    conn->poll.data = conn;
    conn->wake.data = conn;
    uv_async_init(loop, &conn->wake, on_wake);
    *out = conn_ref(conn); /* one for the loop, one for the caller */
    return 0;
}

int conn_connect(uv_loop_t *loop, const struct sockaddr *addr, socklen_t addr_len, struct tls_context *tls,
                 const struct conn_events *events, void *data, struct conn **out, struct err *e)
{
    int rc, fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(e, -errno, "socket");
    if (connect(fd, addr, addr_len) != 0 && errno != EINPROGRESS) {
        rc = err_sys(e, -errno, "connect");
        goto err_after_socket;
    }
    rc = make(loop, fd, CONN_CONNECTING, tls, events, data, out, e);
    if (rc != 0)
        goto err_after_socket;
    set_address(*out, addr, addr_len);
    poll_for(*out, UV_WRITABLE);
    return 0;

err_after_socket:
    close(fd);
    return rc;
}

int conn_accept(uv_loop_t *loop, int fd, struct tls_context *tls, const struct conn_events *events, void *data,
                struct conn **out, struct err *e)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof addr;
    if (getpeername(fd, (struct sockaddr *)&addr, &addr_len) != 0)
        return err_sys(e, -errno, "accept");
    int rc = make(loop, fd, CONN_HANDSHAKE, tls, events, data, out, e);
    if (rc != 0)
        return rc;
    set_address(*out, (struct sockaddr *)&addr, addr_len);
    /* Not ticked here: no event comes before this call has returned. */
    poll_for(*out, UV_READABLE);
    if (tls == NULL)
        uv_async_send(&(*out)->wake);
    return 0;
}

void *conn_data(const struct conn *conn)
{
    return conn->data;
}

void conn_greet(struct conn *conn, enum channel channel)
{
    const int ms = RECORDS_TIMEOUT_MS;
    conn->reader.greeted = true;
    if (channel == CHANNEL_RECORDS)
        setsockopt(conn->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

void conn_look(struct conn *conn)
{
    /* Its handles go after the state, which needs the lock. */
    pthread_mutex_lock(&conn->lock);
    if (conn->state == CONN_OPEN)
        uv_async_send(&conn->wake);
    pthread_mutex_unlock(&conn->lock);
}

void conn_hand_over(struct conn *conn, const struct conn_events *events, void *data)
{
    conn->events = events;
    conn->data = data;
}

bool conn_ended(const struct conn *conn)
{
    return conn->state == CONN_ENDED;
}

const char *conn_address(const struct conn *conn)
{
    return conn->address;
}

bool conn_has_tls(const struct conn *conn)
{
    return conn->tls != NULL;
}

bool conn_names_node(struct conn *conn, int32_t node_id)
{
    if (conn->tls == NULL)
        return true;
    pthread_mutex_lock(&conn->lock);
    bool names = tls_names_node(conn->tls, node_id);
    pthread_mutex_unlock(&conn->lock);
    return names;
}
