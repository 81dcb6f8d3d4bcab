/* replication/wire/peers.c: the table of peers, the listening socket, strangers, and what other threads ask for.
 *
 * The happy path: a connection is accepted, is a stranger until its hello has come, and becomes a link of the peer that
 * the hello names. What is in the making (strangers, dials, goodbyes) is looked at each SWEEP_MS while there is any;
 * an idle table has no timer. */
#include "replication/wire/peers.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/container.h"
#include "replication/base/address.h"
#include "replication/wire/peers_internal.h"

enum {
    BACKLOG = 64,
    ACCEPTS = 16, /* in one turn */
    SWEEP_MS = 250,
    FINISH_MS = 500, /* for the other side to end after a goodbye */
    STOP_LOOK_MS = 10,
};

static void sweep(struct peers *peers);

/* ---- small things that peer.c needs ---- */

void peers_hello(struct peers *peers, int32_t to, enum channel channel, struct hello *out)
{
    pthread_mutex_lock(&peers->lock);
    *out = peers->hello;
    pthread_mutex_unlock(&peers->lock);
    out->to = to;
    out->channel = (int32_t)channel;
}

/* xorshift64 (Marsaglia, 2003): the pauses need no better. */
uint64_t peers_chance(struct peers *peers, uint64_t bound)
{
    peers->random ^= peers->random << 13;
    peers->random ^= peers->random >> 7;
    peers->random ^= peers->random << 17;
    return peers->random % bound;
}

static void on_sweep(uv_timer_t *timer)
{
    sweep(timer->data);
}

void peers_sweep_soon(struct peers *peers)
{
    if (!uv_is_active((uv_handle_t *)&peers->sweep) && !uv_is_closing((uv_handle_t *)&peers->sweep))
        uv_timer_start(&peers->sweep, on_sweep, SWEEP_MS, 0);
}

void peers_publish(struct peer *peer, bool up)
{
    pthread_rwlock_wrlock(&peer->peers->table_lock);
    for (int c = 0; c < CHANNELS; c++) {
        if (peer->out[c] != NULL)
            conn_unref(peer->out[c]);
        peer->out[c] = up ? conn_ref(peer->links[c].conn) : NULL;
    }
    pthread_rwlock_unlock(&peer->peers->table_lock);
}

void peers_finish(struct peers *peers, struct conn *conn)
{
    struct finishing *finishing = malloc(sizeof *finishing);
    if (finishing == NULL) {
        conn_end(conn);
        return;
    }
    conn_finish(conn);
    *finishing = (struct finishing){.conn = conn_ref(conn), .since_ms = uv_now(peers->loop), .next = peers->finishing};
    peers->finishing = finishing;
    peers_sweep_soon(peers);
}

/* ---- the table ---- */

static struct peer *find(struct peers *peers, int32_t node)
{
    for (unsigned i = 0; i < peers->count; i++) {
        if (peers->table[i]->id == node)
            return peers->table[i];
    }
    return NULL;
}

static void take_out(struct peers *peers, struct peer *peer)
{
    pthread_rwlock_wrlock(&peers->table_lock);
    for (unsigned i = 0; i < peers->count; i++) {
        if (peers->table[i] != peer)
            continue;
        peers->table[i] = peers->table[--peers->count];
        break;
    }
    pthread_rwlock_unlock(&peers->table_lock);
    peer_leave(peer);
}

/* One that nobody looks for any more gives its place to another. */
static void make_room(struct peers *peers)
{
    for (unsigned i = 0; i < peers->count; i++) {
        if (peer_is_idle(peers->table[i])) {
            take_out(peers, peers->table[i]);
            return;
        }
    }
}

/* Whether there is room for one more, here and in the node; why not, in words for both sides. */
static int take(struct peers *peers, int32_t node, struct err *e)
{
    const struct transport_events *events = &peers->events;
    int self = peers->hello.from, rc;
    if (peers->count == LIMIT_NODES)
        make_room(peers);
    if (peers->count == LIMIT_NODES)
        return err_set(e, -ENOSPC, "node %d has %d peers, and no room for another", self, LIMIT_NODES);
    rc = events->takes != NULL ? events->takes(events->arg, node) : 0;
    if (rc == -ENOSPC)
        return err_set(e, rc, "node %d has met as many ids as it has room for: start it again", self);
    return rc == 0 ? 0 : err_sys(e, rc, "node %d", self);
}

/* The peer of that id, made if there is none. NULL: no memory, no room. */
static struct peer *find_or_make(struct peers *peers, int32_t node, struct err *e)
{
    struct peer *peer = find(peers, node);
    if (peer != NULL)
        return peer;
    if (take(peers, node, e) != 0)
        return NULL;
    peer = peer_new(peers, node);
    if (peer == NULL) {
        err_sys(e, -ENOMEM, "node %d", peers->hello.from);
        return NULL;
    }
    pthread_rwlock_wrlock(&peers->table_lock);
    peers->table[peers->count++] = peer;
    pthread_rwlock_unlock(&peers->table_lock);
    return peer;
}

/* A reference to the connection of a peer that is up; NULL: it is not. Any thread. */
static struct conn *find_conn(struct peers *peers, int32_t node, enum channel channel)
{
    pthread_rwlock_rdlock(&peers->table_lock);
    struct peer *peer = find(peers, node);
    struct conn *conn = peer != NULL && peer->out[channel] != NULL ? conn_ref(peer->out[channel]) : NULL;
    pthread_rwlock_unlock(&peers->table_lock);
    return conn;
}

static int send_frame(struct transport *transport, int32_t node, enum channel channel, const struct frame_out *out)
{
    struct conn *conn = find_conn(CONTAINER_OF(transport, struct peers, transport), node, channel);
    if (conn == NULL)
        return -ENOTCONN;
    int rc = conn_send(conn, out);
    conn_unref(conn);
    return rc;
}

/* Whom senders find is who is read. */
static void look(struct transport *transport, int32_t node, enum channel channel)
{
    struct conn *conn = find_conn(CONTAINER_OF(transport, struct peers, transport), node, channel);
    if (conn == NULL)
        return; /* it is asked when it comes up */
    conn_look(conn);
    conn_unref(conn);
}

/* ---- what other threads ask for ---- */

static int ask(struct peers *peers, const struct request *what)
{
    struct request *request = malloc(sizeof *request);
    if (request == NULL)
        return -ENOMEM;
    *request = *what;
    request->next = NULL;
    pthread_mutex_lock(&peers->lock);
    *peers->last = request;
    peers->last = &request->next;
    pthread_mutex_unlock(&peers->lock);
    uv_async_send(&peers->wake);
    return 0;
}

static void meet_node(struct peers *peers, const struct request *request)
{
    struct err e = {""};
    struct peer *peer = find_or_make(peers, request->node, &e);
    if (peer != NULL) {
        peer_set_address(peer, request->host, request->port);
        peer_dial(peer);
    } else if (refusals_log(&peers->refusals, REFUSAL_OTHER, e.text, uv_now(peers->loop))) {
        log_line(LOG_ERR, "node %d (%s) is not connected to: %s", request->node,
                 address_text(request->host, request->port).text, e.text);
    }
}

static void serve(struct peers *peers, struct request *request)
{
    struct peer *peer;
    switch (request->kind) {
    case REQUEST_MEET:
        meet_node(peers, request);
        break;
    case REQUEST_FORGET:
        peer = find(peers, request->node);
        if (peer != NULL)
            peer_forget(peer);
        break;
    case REQUEST_DROP:
        peer = find(peers, request->node);
        if (peer != NULL)
            peer_drop(peer);
        break;
    case REQUEST_TLS:
        tls_context_unref(peers->tls);
        peers->tls = request->tls;
        request->tls = NULL;
        break;
    }
}

static struct request *next_request(struct peers *peers)
{
    pthread_mutex_lock(&peers->lock);
    struct request *request = peers->first;
    if (request != NULL) {
        peers->first = request->next;
        if (peers->first == NULL)
            peers->last = &peers->first;
    }
    pthread_mutex_unlock(&peers->lock);
    return request;
}

static void on_wake(uv_async_t *wake)
{
    struct peers *peers = wake->data;
    struct request *request;
    while ((request = next_request(peers)) != NULL) {
        if (!peers->stopping)
            serve(peers, request);
        tls_context_unref(request->tls);
        free(request);
    }
}

static int meet(struct transport *transport, int32_t node, const char *host, int port)
{
    struct request request = {.kind = REQUEST_MEET, .node = node, .port = port};
    if (strlen(host) >= sizeof request.host)
        return -ENAMETOOLONG;
    strcpy(request.host, host);
    return ask(CONTAINER_OF(transport, struct peers, transport), &request);
}

static void forget(struct transport *transport, int32_t node)
{
    struct request request = {.kind = REQUEST_FORGET, .node = node};
    ask(CONTAINER_OF(transport, struct peers, transport), &request);
}

static void drop(struct transport *transport, int32_t node)
{
    struct request request = {.kind = REQUEST_DROP, .node = node};
    ask(CONTAINER_OF(transport, struct peers, transport), &request);
}

void peers_set_tls(struct peers *peers, struct tls_context *tls)
{
    struct request request = {.kind = REQUEST_TLS, .tls = tls_context_ref(tls)};
    if (ask(peers, &request) != 0)
        tls_context_unref(tls);
}

void peers_set_cluster(struct peers *peers, const char *cluster_id)
{
    pthread_mutex_lock(&peers->lock);
    strncpy(peers->hello.cluster_id, cluster_id, sizeof peers->hello.cluster_id - 1);
    pthread_mutex_unlock(&peers->lock);
}

/* ---- strangers ---- */

static void forget_stranger(struct stranger *stranger)
{
    struct peers *peers = stranger->peers;
    if (stranger->prev != NULL)
        stranger->prev->next = stranger->next;
    else
        peers->strangers = stranger->next;
    if (stranger->next != NULL)
        stranger->next->prev = stranger->prev;
    peers->stranger_count--;
    conn_unref(stranger->conn);
    free(stranger);
}

static void refuse(struct stranger *stranger, enum refusal cause, const char *text)
{
    uint8_t bytes[HELLO_BYTES_MAX];
    struct frame_out out = {.kind = FRAME_REFUSAL, .header = bytes};
    out.header_bytes = (uint32_t)refusal_encode(cause, text, bytes);
    conn_send(stranger->conn, &out);
    peers_finish(stranger->peers, stranger->conn);
}

/* A hello came. The peer that it names is right, or the cause. */
static enum refusal judge(struct stranger *stranger, const struct hello *theirs, struct err *e)
{
    struct peers *peers = stranger->peers;
    struct hello ours;
    peers_hello(peers, theirs->from, (enum channel)theirs->channel, &ours);
    enum refusal cause = hello_check(&ours, theirs, e);
    if (cause == REFUSAL_NONE && !conn_names_node(stranger->conn, theirs->from)) {
        err_set(e, 0, "its certificate does not name node-%d.logmnt", theirs->from);
        cause = REFUSAL_CERTIFICATE;
    }
    if (cause != REFUSAL_NONE)
        return cause;
    struct peer *peer = find_or_make(peers, theirs->from, e);
    if (peer == NULL)
        return REFUSAL_OTHER;
    return peer_take(peer, stranger->conn, theirs, e);
}

/* A refusal is logged for the peer that it is about, or for the id that it claims when that is none of ours. */
static void log_refusal(struct stranger *stranger, enum refusal cause, const struct hello *theirs, const char *text)
{
    struct peer *peer = find(stranger->peers, theirs->from);
    if (peer != NULL)
        peer_log_refusal(peer, cause, conn_address(stranger->conn), text);
    else if (refusals_log(&stranger->peers->refusals, cause, text, uv_now(stranger->peers->loop)))
        log_line(LOG_ERR, "node %d (%s) is refused: %s", theirs->from, conn_address(stranger->conn), text);
}

/* Who it is was not said. */
static void log_unknown(struct stranger *stranger, const char *text)
{
    if (refusals_log(&stranger->peers->refusals, REFUSAL_OTHER, text, uv_now(stranger->peers->loop)))
        log_line(LOG_ERR, "a connection from %s is refused: %s", conn_address(stranger->conn), text);
}

static void on_stranger_frame(struct conn *conn, struct frame *frame)
{
    struct stranger *stranger = conn_data(conn);
    struct hello theirs;
    struct err e = {""};
    if (frame->kind != FRAME_HELLO || hello_decode(frame->header, frame->header_bytes, &theirs, &e) != 0) {
        log_unknown(stranger, e.text[0] != '\0' ? e.text : "its first frame is no hello");
        conn_end(conn);
    } else {
        enum refusal cause = judge(stranger, &theirs, &e);
        if (cause != REFUSAL_NONE && cause != REFUSAL_DUPLICATE)
            log_refusal(stranger, cause, &theirs, e.text);
        if (cause != REFUSAL_NONE)
            refuse(stranger, cause, e.text);
    }
    frame_free(frame);
    forget_stranger(stranger);
}

/* Its hello will come. */
static void on_stranger_open(struct conn *conn)
{
    struct stranger *stranger = conn_data(conn);
    stranger->opened = true;
}

/* Without a hello: behind a handshake it has seen this node's certificate, and looked for another one. */
static void log_silent(struct stranger *stranger)
{
    static const char text[] = "ended it behind the TLS handshake: does it take this node for another one?";
    if (refusals_log(&stranger->peers->refusals, REFUSAL_OTHER, text, uv_now(stranger->peers->loop)))
        log_line(LOG_WARNING, "a connection from %s: %s", conn_address(stranger->conn), text);
}

static void on_stranger_ended(struct conn *conn, int rc, const char *reason)
{
    struct stranger *stranger = conn_data(conn);
    if (rc == -EPROTO || rc == -EBADMSG)
        log_unknown(stranger, reason);
    else if (stranger->opened && conn_has_tls(conn))
        log_silent(stranger);
    forget_stranger(stranger);
}

static const struct conn_events stranger_events = {
    .open = on_stranger_open, .frame = on_stranger_frame, .ended = on_stranger_ended};

static void accept_one(struct peers *peers, int fd)
{
    struct err e = {""};
    struct stranger *stranger = peers->stranger_count < LIMIT_STRANGERS ? calloc(1, sizeof *stranger) : NULL;
    if (stranger == NULL ||
        conn_accept(peers->loop, fd, peers->tls, &stranger_events, stranger, &stranger->conn, &e) != 0) {
        close(fd);
        free(stranger);
        return;
    }
    stranger->peers = peers;
    stranger->since_ms = uv_now(peers->loop);
    stranger->next = peers->strangers;
    if (stranger->next != NULL)
        stranger->next->prev = stranger;
    peers->strangers = stranger;
    peers->stranger_count++;
    peers_sweep_soon(peers);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct peers *peers = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(peers->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        accept_one(peers, fd);
    }
}

/* ---- what is in the making ---- */

static bool sweep_finishing(struct peers *peers, uint64_t now_ms)
{
    struct finishing **at = &peers->finishing;
    while (*at != NULL) {
        struct finishing *finishing = *at;
        if (!conn_ended(finishing->conn) && now_ms - finishing->since_ms < FINISH_MS) {
            at = &finishing->next;
            continue;
        }
        *at = finishing->next;
        conn_end(finishing->conn);
        conn_unref(finishing->conn);
        free(finishing);
    }
    return peers->finishing != NULL;
}

static void sweep(struct peers *peers)
{
    uint64_t now_ms = uv_now(peers->loop);
    bool making = sweep_finishing(peers, now_ms);
    for (struct stranger *stranger = peers->strangers, *next; stranger != NULL; stranger = next) {
        next = stranger->next;
        if (now_ms - stranger->since_ms < LIMIT_HELLO_MS)
            continue;
        conn_end(stranger->conn);
        forget_stranger(stranger);
    }
    for (unsigned i = 0; i < peers->count; i++)
        making |= peer_sweep(peers->table[i], now_ms);
    if (making || peers->strangers != NULL)
        peers_sweep_soon(peers);
}

/* ---- life ---- */

int peers_bind(const char *host, int port_number, int *out, struct err *e)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    char port[16];
    int on = 1, rc = -EINVAL;
    snprintf(port, sizeof port, "%d", port_number);
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed != 0)
        return err_set(e, -EINVAL, "listen=%s: %s", address_text(host, port_number).text, gai_strerror(failed));
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            bind(fd, at->ai_addr, at->ai_addrlen) == 0) {
            *out = fd;
            rc = 0;
            break;
        }
        rc = err_sys(e, -errno, "listen=%s", address_text(host, port_number).text);
        if (fd >= 0)
            close(fd);
    }
    freeaddrinfo(found);
    return rc;
}

static int bound_port(int fd)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    char port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0 ||
        getnameinfo((struct sockaddr *)&addr, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
        return 0;
    return atoi(port);
}

int peers_start(const struct peers_options *options, struct peers **out, struct err *e)
{
    struct peers *peers = calloc(1, sizeof *peers);
    if (peers == NULL)
        return err_sys(e, -ENOMEM, "peers");
    peers->transport =
        (struct transport){.send = send_frame, .meet = meet, .forget = forget, .drop = drop, .look = look};
    peers->events = options->events;
    peers->loop = options->loop;
    peers->hello = options->hello;
    peers->random = options->seed | 1;
    peers->last = &peers->first;
    peers->listen_fd = options->bound_fd;
    peers->port = bound_port(peers->listen_fd);
    /* Somebody else may have bound it, too, and listened first. */
    int rc = listen(peers->listen_fd, BACKLOG) == 0 ? 0 : -errno;
    if (rc == 0)
        rc = uv_poll_init(peers->loop, &peers->listener, peers->listen_fd);
    if (rc != 0) {
        free(peers);
        return err_sys(e, rc, "listen=%s", address_text(options->host, options->port).text);
    }
    if (options->tls != NULL)
        peers->tls = tls_context_ref(options->tls);
    pthread_mutex_init(&peers->lock, NULL);
    pthread_rwlock_init(&peers->table_lock, NULL);
    uv_async_init(peers->loop, &peers->wake, on_wake);
    uv_timer_init(peers->loop, &peers->sweep);
    peers->listener.data = peers->wake.data = peers->sweep.data = peers;
    uv_poll_start(&peers->listener, UV_READABLE, on_listener);
    *out = peers;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct peers *peers = handle->data;
    if (--peers->closing > 0)
        return;
    close(peers->listen_fd);
    tls_context_unref(peers->tls);
    pthread_rwlock_destroy(&peers->table_lock);
    pthread_mutex_destroy(&peers->lock);
    peers->done(peers->done_arg);
    free(peers);
}

/* The goodbyes are through, or had their time. */
static void on_finished(uv_timer_t *timer)
{
    struct peers *peers = timer->data;
    if (sweep_finishing(peers, uv_now(peers->loop)))
        return;
    uv_close((uv_handle_t *)&peers->sweep, on_closed);
}

void peers_stop(struct peers *peers, void (*done)(void *arg), void *arg)
{
    peers->stopping = true;
    peers->done = done;
    peers->done_arg = arg;
    on_wake(&peers->wake);
    while (peers->strangers != NULL) {
        conn_end(peers->strangers->conn);
        forget_stranger(peers->strangers);
    }
    while (peers->count > 0)
        take_out(peers, peers->table[0]);
    peers->closing = 3;
    uv_poll_stop(&peers->listener);
    uv_close((uv_handle_t *)&peers->listener, on_closed);
    uv_close((uv_handle_t *)&peers->wake, on_closed);
    uv_timer_start(&peers->sweep, on_finished, 0, STOP_LOOK_MS);
}

struct transport *peers_transport(struct peers *peers)
{
    return &peers->transport;
}

int peers_port(const struct peers *peers)
{
    return peers->port;
}
