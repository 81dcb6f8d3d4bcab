/* replication/wire/peer.c: dialing, greeting, the loss of a link, and who is dead. The drawing is in peer.h. */
#include "replication/wire/peer.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/wire/peers_internal.h"

enum {
    /* A hello that comes so soon after a link is up was sent before its sender knew of that link. */
    CROSSING_MS = 1000,
};

static void peer_tick(struct peer *peer);
static void retry_soon(struct peer *peer);
static void on_summary(uv_timer_t *timer);

static uint64_t now_ms(const struct peer *peer)
{
    return uv_now(peer->peers->loop);
}

void peer_log_refusal(struct peer *peer, enum refusal cause, const char *address, const char *text)
{
    if (refusals_log(&peer->refusals, cause, text, now_ms(peer)))
        log_line(LOG_ERR, "peer %d (%s): %s", peer->id, address, text);
}

/* It is connected, or lost: a line, unless there were many of late. */
static void log_flap(struct peer *peer, int level, const char *address, const char *what, const char *reason)
{
    if (flaps_log(&peer->flaps, now_ms(peer)))
        log_line(level, "peer %d (%s): %s%s", peer->id, address, what, reason);
    else if (!uv_is_active((uv_handle_t *)&peer->summary))
        uv_timer_start(&peer->summary, on_summary, LIMIT_REFUSAL_LOG_MS, 0);
}

static void sum_up(struct peer *peer)
{
    unsigned left_out = flaps_left_out(&peer->flaps);
    if (left_out > 0) {
        log_line(LOG_WARNING, "peer %d: %u more lines like these in a minute; it is %s", peer->id, left_out,
                 peer->up ? "connected" : "lost");
    }
}

static void on_summary(uv_timer_t *timer)
{
    sum_up(timer->data);
}

static bool is_one_session(const struct hello *a, const struct hello *b)
{
    return a->process == b->process && a->session == b->session;
}

/* ---- links ---- */

static void link_set(struct link *link, enum link_state state)
{
    link->state = state;
    link->since_ms = now_ms(link->peer);
}

static void drop_early(struct link *link)
{
    for (struct frame *frame = link->early, *next; frame != NULL; frame = next) {
        next = frame->next;
        frame_free(frame);
    }
    link->early = NULL;
    link->early_last = &link->early;
    link->early_count = 0;
    link->early_bytes = 0;
}

/* To DOWN, whatever it was. The connection ends silently. */
static void link_down(struct link *link)
{
    if (link->conn != NULL) {
        conn_end(link->conn);
        conn_unref(link->conn);
        link->conn = NULL;
    }
    drop_early(link);
    link_set(link, LINK_DOWN);
}

/* The peer was up and a link has ended: the session is over, the other link is watched. */
static void lose(struct peer *peer)
{
    peers_publish(peer, false);
    peer->up = false;
    peer->watched = !peer->goodbye;
    peer->refused = false;
    peer->lost_process = peer->links[0].theirs.process;
    peer->session = ++peer->peers->sessions;
    peer->backoff_ms = flaps_down(&peer->flaps, now_ms(peer));
    if (peer->flaps.brief == 0)
        peer->refusals = (struct refusals){.next = 0};
    for (int c = 0; c < CHANNELS; c++) {
        if (peer->links[c].state != LINK_UP)
            continue;
        link_set(&peer->links[c], LINK_DYING);
        conn_look(peer->links[c].conn); /* its end is listened for, whatever was full */
    }
    peers_sweep_soon(peer->peers); /* also where nobody dials it any more */
    if (!peer->left)
        peer->peers->events.down(peer->peers->events.arg, peer->id, peer->goodbye);
}

/* The other side is there: what is left of a lost session goes. */
static void heard_of(struct peer *peer)
{
    peer->watched = false;
    for (int c = 0; c < CHANNELS; c++) {
        if (peer->links[c].state == LINK_DYING)
            link_down(&peer->links[c]);
    }
}

static void link_up(struct link *link, const struct hello *theirs)
{
    struct peer *peer = link->peer;
    heard_of(peer);
    twins_take(&peer->twins, theirs->process, now_ms(peer));
    conn_greet(link->conn, link->channel);
    link->theirs = *theirs;
    link_set(link, LINK_UP);
    if (peer->host[0] == '\0' && theirs->host[0] != '\0')
        peer_set_address(peer, theirs->host, theirs->port);
    peer_tick(peer);
}

/* The node runs twice: a hello of one process, and what stands is another one's. false: not so. *refused: the other one
 * keeps its place. */
static bool is_twin(const struct peer *peer, const struct hello *theirs, bool *refused, struct err *e)
{
    for (int c = 0; c < CHANNELS && twins_are(&peer->twins, theirs->process); c++) {
        const struct link *link = &peer->links[c];
        if (link->state != LINK_UP || link->theirs.process != peer->twins.current)
            continue;
        err_set(e, 0, "runs twice, also at %s: stop one of them", conn_address(link->conn));
        *refused = twins_refuse(&peer->twins, theirs->process, now_ms(peer));
        return true;
    }
    *refused = false;
    return false;
}

/* ---- what a connection of a link tells ---- */

static void make_hello(const struct link *link, struct hello *out)
{
    peers_hello(link->peer->peers, link->peer->id, link->channel, out);
    out->session = link->peer->session;
}

static void on_open(struct conn *conn)
{
    struct link *link = conn_data(conn);
    struct peer *peer = link->peer;
    struct hello hello;
    uint8_t bytes[HELLO_BYTES_MAX];
    if (!conn_names_node(conn, peer->id)) {
        struct err e;
        err_set(&e, 0,
                "its certificate does not name node-%d.logmnt: correct the peer= list, or its tls.cert=", peer->id);
        peer_log_refusal(peer, REFUSAL_CERTIFICATE, conn_address(conn), e.text);
        link_down(link);
        retry_soon(peer);
        return;
    }
    make_hello(link, &hello);
    struct frame_out out = {.kind = FRAME_HELLO, .header = bytes};
    out.header_bytes = (uint32_t)hello_encode(&hello, bytes);
    conn_send(conn, &out);
    link_set(link, LINK_GREETING);
}

/* The answer to our hello. */
static void greeted(struct link *link, const struct frame *frame)
{
    struct peer *peer = link->peer;
    struct hello ours, theirs;
    struct err e = {""};
    enum refusal cause = REFUSAL_OTHER;
    bool refused;
    char text[HELLO_BYTES_MAX];
    make_hello(link, &ours);
    if (frame->kind == FRAME_REFUSAL) {
        if (refusal_decode(frame->header, frame->header_bytes, &cause, text, &e) == 0)
            err_set(&e, 0, "refuses this node: %s", text);
    } else if (frame->kind != FRAME_WELCOME) {
        err_set(&e, 0, "answered a hello with a frame of kind %u", frame->kind);
    } else if (hello_decode(frame->header, frame->header_bytes, &theirs, &e) == 0) {
        cause = hello_check(&ours, &theirs, &e);
        if (cause == REFUSAL_NONE && theirs.from != peer->id) {
            err_set(&e, 0, "is node %d: correct the peer= list", theirs.from);
        } else if (cause == REFUSAL_NONE) {
            bool twin = is_twin(peer, &theirs, &refused, &e);
            if (twin && !refused)
                peer_log_refusal(peer, REFUSAL_ID, conn_address(link->conn), e.text);
            if (!refused) {
                link_up(link, &theirs);
                return;
            }
        }
    }
    if (cause != REFUSAL_DUPLICATE)
        peer_log_refusal(peer, cause != REFUSAL_NONE ? cause : REFUSAL_ID, conn_address(link->conn), e.text);
    link_down(link);
    retry_soon(peer);
}

static void on_frame(struct conn *conn, struct frame *frame)
{
    struct link *link = conn_data(conn);
    struct peer *peer = link->peer;
    if (link->state == LINK_GREETING) {
        greeted(link, frame);
        frame_free(frame);
    } else if (frame->kind == FRAME_GOODBYE) {
        peer->goodbye = true;
        frame_free(frame);
    } else if (frame->kind < FRAME_MESSAGES || link->state != LINK_UP) {
        frame_free(frame);
    } else if (peer->up) {
        peer->peers->events.frame(peer->peers->events.arg, peer->id, link->channel, frame);
    } else {
        *link->early_last = frame;
        link->early_last = &frame->next;
        link->early_count++;
        link->early_bytes += frame_memory(frame);
    }
}

/* Where the other link is to come first, of what waits for that; else of what the rooms have. */
static bool is_full(struct conn *conn)
{
    const struct link *link = conn_data(conn);
    const struct transport_events *events = &link->peer->peers->events;
    if (link->peer->up)
        return events->full != NULL && events->full(events->arg, link->peer->id, link->channel);
    return link->early_count >= LIMIT_EARLY_FRAMES || link->early_bytes >= LIMIT_EARLY_BYTES;
}

/* Its kernel may accept for a process that is about to end: for a while that is nothing to speak of. */
static void log_abrupt(struct peer *peer, const char *address)
{
    if (peer->abrupt_ms == 0)
        peer->abrupt_ms = now_ms(peer) + 1;
    else if (now_ms(peer) + 1 - peer->abrupt_ms >= LIMIT_HELLO_MS)
        peer_log_refusal(peer, REFUSAL_TLS, address, "ended the TLS handshake: has it tls=off?");
}

static void on_ended(struct conn *conn, int rc, const char *reason)
{
    struct link *link = conn_data(conn);
    struct peer *peer = link->peer;
    enum link_state state = link->state;
    if (rc == -ECONNREFUSED) {
        peer->refused = true;
        peer->abrupt_ms = 0;
    }
    if (state == LINK_GREETING && rc == 0) {
        peer_log_refusal(peer, REFUSAL_OTHER, conn_address(conn),
                         "ended the connection without an answer to this node's hello");
    } else if (state == LINK_DIALING && peer->peers->tls != NULL && (rc == 0 || rc == -ECONNRESET)) {
        log_abrupt(peer, conn_address(conn));
    } else if (rc == -EPROTO || rc == -EBADMSG) {
        peer_log_refusal(peer, REFUSAL_TLS, conn_address(conn), reason);
    } else if (peer->up && !peer->goodbye) {
        log_flap(peer, LOG_WARNING, conn_address(conn), "lost: ", reason);
    }
    if (peer->up)
        lose(peer);
    link_down(link);
    /* The next address of its name is tried next. */
    if (state == LINK_DIALING && peer->addr != NULL)
        peer->addr = peer->addr->ai_next;
    if (!peer->left)
        peer_tick(peer);
}

static const struct conn_events link_events = {.open = on_open, .frame = on_frame, .ended = on_ended, .full = is_full};

/* Its sender has said another session since, and lost that one: its segment went astray, and came when it was sent
 * again. */
static bool is_late(const struct peer *peer, const struct hello *theirs)
{
    bool late = false;
    for (int c = 0; c < CHANNELS && theirs->session != 0; c++) {
        const struct link *link = &peer->links[c];
        late |=
            link->state == LINK_UP && link->theirs.process == theirs->process && theirs->session < link->theirs.session;
    }
    return late;
}

enum refusal peer_take(struct peer *peer, struct conn *conn, const struct hello *theirs, struct err *e)
{
    bool refused;
    struct link *link = &peer->links[theirs->channel];
    bool lower = peer->peers->hello.from < peer->id;
    if (is_late(peer, theirs) || (link->state == LINK_GREETING && lower))
        return REFUSAL_DUPLICATE;
    if (link->state == LINK_UP && is_one_session(&link->theirs, theirs) && now_ms(peer) - link->since_ms < CROSSING_MS)
        return REFUSAL_DUPLICATE;
    bool twin = is_twin(peer, theirs, &refused, e);
    if (refused)
        return REFUSAL_ID;
    if (peer->up)
        lose(peer);
    if (twin)
        peer_log_refusal(peer, REFUSAL_ID, conn_address(conn), e->text);
    link_down(link);
    link->conn = conn_ref(conn);
    conn_hand_over(conn, &link_events, link);

    struct hello hello;
    uint8_t bytes[HELLO_BYTES_MAX];
    make_hello(link, &hello);
    struct frame_out out = {.kind = FRAME_WELCOME, .header = bytes};
    out.header_bytes = (uint32_t)hello_encode(&hello, bytes);
    conn_send(conn, &out);
    link_up(link, theirs);
    return REFUSAL_NONE;
}

/* ---- dialing ---- */

static void on_retry(uv_timer_t *timer)
{
    peer_dial(timer->data);
}

/* After a pause, doubled from one to the next; the first comes at once. */
static void retry_soon(struct peer *peer)
{
    if (peer->left || peer->host[0] == '\0' || uv_is_active((uv_handle_t *)&peer->retry))
        return;
    uint64_t pause_ms = peer->backoff_ms == 0 ? 0 : peer->backoff_ms / 2 + peers_chance(peer->peers, peer->backoff_ms);
    uv_timer_start(&peer->retry, on_retry, pause_ms, 0);
    peer->backoff_ms = peer->backoff_ms == 0 ? LIMIT_BACKOFF_FIRST_MS : 2 * peer->backoff_ms;
    if (peer->backoff_ms > LIMIT_BACKOFF_LAST_MS)
        peer->backoff_ms = LIMIT_BACKOFF_LAST_MS;
}

static void dial(struct link *link)
{
    struct err e = {""};
    struct peer *peer = link->peer;
    int rc = conn_connect(peer->peers->loop, peer->addr->ai_addr, peer->addr->ai_addrlen, peer->peers->tls,
                          &link_events, link, &link->conn, &e);
    if (rc == 0) {
        link_set(link, LINK_DIALING);
        peers_sweep_soon(peer->peers);
        return;
    }
    if (rc == -ECONNREFUSED)
        peer->refused = true;
    else
        peer_log_refusal(peer, REFUSAL_OTHER, peer->host, e.text);
    peer->addr = peer->addr->ai_next;
    retry_soon(peer);
}

static void forget_addresses(struct peer *peer)
{
    if (peer->addrs != NULL)
        uv_freeaddrinfo(peer->addrs);
    peer->addrs = NULL;
    peer->addr = NULL;
}

static void peer_closed(struct peer *peer)
{
    if (--peer->closing > 0)
        return;
    forget_addresses(peer);
    free(peer);
}

static void unresolved(struct peer *peer, int rc)
{
    struct err e;
    err_set(&e, 0, "its name cannot be resolved: %s", uv_strerror(rc));
    peer_log_refusal(peer, REFUSAL_OTHER, peer->host, e.text);
    retry_soon(peer);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct peer *peer = req->data;
    peer->resolving = false;
    if (peer->left) {
        uv_freeaddrinfo(res);
        peer_closed(peer);
        return;
    }
    forget_addresses(peer);
    if (status != 0) {
        unresolved(peer, status);
        return;
    }
    peer->addrs = peer->addr = res;
    peer_dial(peer);
}

static void resolve(struct peer *peer)
{
    char port[16];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (peer->resolving)
        return;
    snprintf(port, sizeof port, "%d", peer->port);
    peer->resolve.data = peer;
    int rc = uv_getaddrinfo(peer->peers->loop, &peer->resolve, on_resolved, peer->host, port, &hints);
    if (rc == 0)
        peer->resolving = true;
    else
        unresolved(peer, rc);
}

void peer_dial(struct peer *peer)
{
    if (peer->left || peer->host[0] == '\0')
        return;
    if (peer->addr == NULL) {
        resolve(peer);
        return;
    }
    for (int c = 0; c < CHANNELS && peer->addr != NULL; c++) {
        if (peer->links[c].state == LINK_DOWN)
            dial(&peer->links[c]);
    }
}

/* ---- the peer ---- */

static void deliver_early(struct link *link)
{
    while (link->early != NULL && link->peer->up) {
        struct frame *frame = link->early;
        link->early = frame->next;
        frame->next = NULL;
        link->peer->peers->events.frame(link->peer->peers->events.arg, link->peer->id, link->channel, frame);
    }
    drop_early(link);
}

static void come_up(struct peer *peer)
{
    const struct hello *hello = &peer->links[CHANNEL_CONTROL].theirs;
    peer->up = true;
    peer->goodbye = false;
    peer->backoff_ms = 0;
    peer->abrupt_ms = 0;
    flaps_up(&peer->flaps, now_ms(peer));
    uv_timer_stop(&peer->retry);
    log_flap(peer, LOG_INFO, conn_address(peer->links[CHANNEL_CONTROL].conn), "connected", "");
    peers_publish(peer, true);
    peer->peers->events.up(peer->peers->events.arg, peer->id, hello);
    for (int c = 0; c < CHANNELS; c++)
        deliver_early(&peer->links[c]);
    for (int c = 0; c < CHANNELS && peer->up; c++)
        conn_look(peer->links[c].conn);
}

/* The other side has lost it, or its process has ended. */
static bool is_older(const struct link *link, const struct link *than)
{
    if (link->theirs.process == than->theirs.process)
        return link->theirs.session < than->theirs.session;
    return link->since_ms <= than->since_ms;
}

/* The links have changed: is the peer up, is it dead, is there something to dial? */
static void peer_tick(struct peer *peer)
{
    struct link *control = &peer->links[CHANNEL_CONTROL], *records = &peer->links[CHANNEL_RECORDS];
    if (control->state == LINK_UP && records->state == LINK_UP && !peer->up) {
        if (is_one_session(&control->theirs, &records->theirs)) {
            come_up(peer);
            return;
        }
        link_down(is_older(control, records) ? control : records);
    }
    if (peer->watched && peer->refused && control->state == LINK_DOWN && records->state == LINK_DOWN) {
        peer->watched = false;
        peer->peers->events.dead(peer->peers->events.arg, peer->id, peer->lost_process);
    }
    if (control->state == LINK_DOWN || records->state == LINK_DOWN)
        retry_soon(peer);
}

void peer_drop(struct peer *peer)
{
    if (peer->up)
        lose(peer);
    for (int c = 0; c < CHANNELS; c++)
        link_down(&peer->links[c]);
    peer_tick(peer);
}

bool peer_sweep(struct peer *peer, uint64_t now)
{
    bool making = false;
    for (int c = 0; c < CHANNELS; c++) {
        struct link *link = &peer->links[c];
        if (link->state != LINK_DIALING && link->state != LINK_GREETING && link->state != LINK_DYING)
            continue;
        if (now - link->since_ms < LIMIT_HELLO_MS) {
            making = true;
            continue;
        }
        if (link->state == LINK_DIALING && peer->addr != NULL)
            peer->addr = peer->addr->ai_next;
        link_down(link);
        peer_tick(peer);
    }
    return making;
}

void peer_set_address(struct peer *peer, const char *host, int port)
{
    if (strcmp(peer->host, host) == 0 && peer->port == port)
        return;
    strncpy(peer->host, host, sizeof peer->host - 1);
    peer->host[sizeof peer->host - 1] = '\0';
    peer->port = port;
    forget_addresses(peer);
}

void peer_forget(struct peer *peer)
{
    peer->host[0] = '\0';
    peer->port = 0;
    forget_addresses(peer);
    uv_timer_stop(&peer->retry);
}

bool peer_is_idle(const struct peer *peer)
{
    for (int c = 0; c < CHANNELS; c++) {
        if (peer->links[c].state != LINK_DOWN && peer->links[c].state != LINK_DIALING)
            return false;
    }
    return peer->host[0] == '\0';
}

struct peer *peer_new(struct peers *peers, int32_t id)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    peer->peers = peers;
    peer->id = id;
    peer->session = ++peers->sessions;
    for (int c = 0; c < CHANNELS; c++) {
        peer->links[c].peer = peer;
        peer->links[c].channel = (enum channel)c;
        peer->links[c].early_last = &peer->links[c].early;
    }
    uv_timer_init(peers->loop, &peer->retry);
    uv_timer_init(peers->loop, &peer->summary);
    peer->retry.data = peer->summary.data = peer;
    return peer;
}

static void on_timer_closed(uv_handle_t *handle)
{
    peer_closed(handle->data);
}

/* Says goodbye through what is up and lets the connections end by themselves. */
static void bid_goodbye(struct peer *peer)
{
    static const struct frame_out goodbye = {.kind = FRAME_GOODBYE};
    for (int c = 0; c < CHANNELS; c++) {
        struct link *link = &peer->links[c];
        if (link->state == LINK_UP && conn_send(link->conn, &goodbye) == 0)
            peers_finish(peer->peers, link->conn);
        else if (link->conn != NULL)
            conn_end(link->conn);
        if (link->conn != NULL)
            conn_unref(link->conn);
        link->conn = NULL;
        drop_early(link);
        link->state = LINK_DOWN;
    }
}

void peer_leave(struct peer *peer)
{
    sum_up(peer);
    peer->left = true;
    if (peer->up) {
        peers_publish(peer, false);
        peer->up = false;
    }
    bid_goodbye(peer);
    peer->closing = 2 + (peer->resolving ? 1 : 0);
    if (peer->resolving)
        uv_cancel((uv_req_t *)&peer->resolve);
    uv_close((uv_handle_t *)&peer->retry, on_timer_closed);
    uv_close((uv_handle_t *)&peer->summary, on_timer_closed);
}
