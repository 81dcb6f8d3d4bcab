/* replication/wire/network.c: a table of handlers and a list of listeners. */
#include "replication/wire/network.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "engine/base/err.h"

void network_init(struct network *network, const struct account_bound *bounds)
{
    *network = (struct network){.bounds = bounds != NULL ? bounds : account_bounds};
    network->last = &network->first;
    pthread_mutex_init(&network->event_lock, NULL);
}

void network_free(struct network *network)
{
    for (int i = 0; i < LIMIT_NODES_MET && atomic_load(&network->accounts[i].node) != 0; i++) {
        for (int name = 0; name < ACCOUNTS; name++)
            account_free(&network->accounts[i].accounts[name]);
    }
    pthread_mutex_destroy(&network->event_lock);
}

void network_handle(struct network *network, enum message_kind kind, network_receive *receive, void *arg)
{
    assert((int)kind >= FRAME_MESSAGES && kind < MESSAGE_KINDS && network->handlers[kind].receive == NULL);
    network->handlers[kind] = (struct network_handler){receive, arg};
}

void network_listen(struct network *network, struct network_listener *listener)
{
    listener->next = NULL;
    *network->last = listener;
    network->last = &listener->next;
}

/* ---- what has come and is not done with ---- */

static struct network_accounts *find_accounts(struct network *network, int32_t node)
{
    for (int i = 0; i < LIMIT_NODES_MET && node > 0; i++) {
        int32_t known = atomic_load_explicit(&network->accounts[i].node, memory_order_acquire);
        if (known == node)
            return &network->accounts[i];
        if (known == 0) /* none is given back */
            break;
    }
    return NULL;
}

static void on_go_on(struct account *account)
{
    struct network_accounts *of = CONTAINER_OF(account - account->name, struct network_accounts, accounts[0]);
    struct transport *transport = atomic_load(&of->network->transport);
    if (transport != NULL && transport->look != NULL)
        transport->look(transport, of->node, account->name == ACCOUNT_CONTROL ? CHANNEL_CONTROL : CHANNEL_RECORDS);
}

/* Made when it is to be a peer. NULL: LIMIT_NODES_MET have been met, each with another id. */
static struct network_accounts *make_accounts(struct network *network, int32_t node)
{
    struct network_accounts *accounts = find_accounts(network, node);
    for (int i = 0; i < LIMIT_NODES_MET && accounts == NULL; i++) {
        if (atomic_load(&network->accounts[i].node) != 0)
            continue;
        accounts = &network->accounts[i];
        accounts->network = network;
        for (int name = 0; name < ACCOUNTS; name++)
            account_init(&accounts->accounts[name], (enum account_name)name, &network->bounds[name], on_go_on);
        atomic_store_explicit(&accounts->node, node, memory_order_release);
    }
    return accounts;
}

/* Counts a frame. false: there is no room for it. */
static bool enter(struct network_accounts *accounts, enum channel channel, struct frame *frame)
{
    struct account *account = &accounts->accounts[account_of(frame->kind, channel)];
    enum account_verdict verdict = account_take(account, frame_memory(frame));
    if (verdict != ACCOUNT_TAKES && !accounts->told) {
        accounts->told = true;
        log_line(LOG_WARNING, "node %d sends more messages of kind %d than this node comes to work on",
                 (int)accounts->node, (int)frame->kind);
    }
    frame->refused = verdict == ACCOUNT_REFUSES;
    if (verdict == ACCOUNT_TAKES || verdict == ACCOUNT_STOPS)
        frame->account = account;
    return verdict != ACCOUNT_LOSES;
}

/* ---- what the transport tells: its thread ---- */

/* Only this thread writes the places, so that one which was found free stays so. */
static void set_up(struct network *network, int32_t node, bool up, int32_t level)
{
    int32_t from = up ? 0 : node;
    for (int i = 0; i < LIMIT_NODES; i++) {
        if (atomic_load_explicit(&network->up[i], memory_order_relaxed) == from) {
            atomic_store(&network->levels[i], level);
            atomic_store(&network->links[i], up ? ++network->links_seen : 0);
            atomic_store(&network->up[i], up ? node : 0);
            return;
        }
    }
}

/* Each room keeps a place for it from here on, so that what comes up has one everywhere. */
static int told_takes(struct network *network, int32_t node)
{
    int rc = make_accounts(network, node) != NULL ? 0 : -ENOSPC;
    for (struct network_listener *listener = network->first; listener != NULL && rc == 0; listener = listener->next) {
        if (listener->takes != NULL)
            rc = listener->takes(listener->arg, node);
    }
    return rc;
}

static void told_up(struct network *network, int32_t node, const struct hello *hello)
{
    if (!network_up(network, node))
        set_up(network, node, true, hello->feature_level);
    for (struct network_listener *listener = network->first; listener != NULL; listener = listener->next) {
        if (listener->up != NULL)
            listener->up(listener->arg, node, hello);
    }
}

static void told_down(struct network *network, int32_t node, bool goodbye)
{
    set_up(network, node, false, 0);
    for (struct network_listener *listener = network->first; listener != NULL; listener = listener->next) {
        if (listener->down != NULL)
            listener->down(listener->arg, node, goodbye);
    }
}

static void told_dead(struct network *network, int32_t node, uint64_t process)
{
    for (struct network_listener *listener = network->first; listener != NULL; listener = listener->next) {
        if (listener->dead != NULL)
            listener->dead(listener->arg, node, process);
    }
}

static void told_frame(struct network *network, int32_t node, enum channel channel, struct frame *frame)
{
    const struct network_handler *handler = frame->kind < MESSAGE_KINDS ? &network->handlers[frame->kind] : NULL;
    if (handler != NULL && handler->receive != NULL) {
        struct network_accounts *accounts = make_accounts(network, node);
        if (accounts != NULL && enter(accounts, channel, frame))
            handler->receive(handler->arg, node, channel, frame);
        else
            frame_free(frame);
        return;
    }
    if (!network->told_unknown) {
        log_line(LOG_WARNING, "node %d sends messages of kind %d, which this version does not know", (int)node,
                 (int)frame->kind);
    }
    network->told_unknown = true;
    frame_free(frame);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    struct network *network = arg;
    pthread_mutex_lock(&network->event_lock);
    if (!network->hushed)
        told_up(network, node, hello);
    pthread_mutex_unlock(&network->event_lock);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    struct network *network = arg;
    pthread_mutex_lock(&network->event_lock);
    if (!network->hushed)
        told_down(network, node, goodbye);
    pthread_mutex_unlock(&network->event_lock);
}

static void on_dead(void *arg, int32_t node, uint64_t process)
{
    struct network *network = arg;
    pthread_mutex_lock(&network->event_lock);
    if (!network->hushed)
        told_dead(network, node, process);
    pthread_mutex_unlock(&network->event_lock);
}

static void on_frame(void *arg, int32_t node, enum channel channel, struct frame *frame)
{
    struct network *network = arg;
    pthread_mutex_lock(&network->event_lock);
    if (!network->hushed)
        told_frame(network, node, channel, frame);
    else
        frame_free(frame);
    pthread_mutex_unlock(&network->event_lock);
}

static bool on_full(void *arg, int32_t node, enum channel channel)
{
    return network_stops(arg, node, channel);
}

static int on_takes(void *arg, int32_t node)
{
    struct network *network = arg;
    pthread_mutex_lock(&network->event_lock);
    int rc = network->hushed ? 0 : told_takes(network, node);
    pthread_mutex_unlock(&network->event_lock);
    return rc;
}

struct transport_events network_events(struct network *network)
{
    return (struct transport_events){.arg = network,
                                     .up = on_up,
                                     .down = on_down,
                                     .dead = on_dead,
                                     .frame = on_frame,
                                     .full = on_full,
                                     .takes = on_takes};
}

void network_attach(struct network *network, struct transport *transport)
{
    atomic_store(&network->transport, transport);
}

int network_start(struct network *network, struct transport_source *source, const struct hello *ours, struct err *e)
{
    struct transport *transport;
    struct transport_events events = network_events(network);
    pthread_mutex_lock(&network->event_lock);
    int rc = source->start(source, ours, &events, &transport, e);
    if (rc == 0)
        network_attach(network, transport);
    pthread_mutex_unlock(&network->event_lock);
    return rc;
}

void network_hush(struct network *network)
{
    pthread_mutex_lock(&network->event_lock);
    network->hushed = true;
    pthread_mutex_unlock(&network->event_lock);
}

/* ---- any thread ---- */

int network_send(struct network *network, int32_t to, enum channel channel, enum message_kind kind, const void *header,
                 size_t header_bytes, const struct iovec *body, int body_count)
{
    struct transport *transport = atomic_load(&network->transport);
    struct frame_out out = {.kind = (uint8_t)kind,
                            .header = header,
                            .header_bytes = (uint32_t)header_bytes,
                            .body = body,
                            .body_count = body_count};
    return transport == NULL ? -ENOTCONN : transport->send(transport, to, channel, &out);
}

uint64_t network_link(const struct network *network, int32_t node)
{
    for (int i = 0; i < LIMIT_NODES && node > 0; i++) {
        if (atomic_load(&network->up[i]) == node)
            return atomic_load(&network->links[i]);
    }
    return 0;
}

void network_deliver(struct network *network, int32_t self, enum channel channel, struct frame *frame)
{
    const struct network_handler *handler = &network->handlers[frame->kind];

    handler->receive(handler->arg, self, channel, frame);
}

struct account *network_account(struct network *network, int32_t node, enum account_name name)
{
    struct network_accounts *accounts = find_accounts(network, node);
    return accounts != NULL ? &accounts->accounts[name] : NULL;
}

bool network_stops(struct network *network, int32_t node, enum channel channel)
{
    const struct account *account =
        network_account(network, node, channel == CHANNEL_CONTROL ? ACCOUNT_CONTROL : ACCOUNT_RECORDS);
    return account != NULL && atomic_load(&account->stopped);
}

int32_t network_level(const struct network *network, int32_t node)
{
    for (int i = 0; i < LIMIT_NODES; i++) {
        if (atomic_load(&network->up[i]) == node)
            return atomic_load(&network->levels[i]);
    }
    return 0;
}

bool network_up(const struct network *network, int32_t node)
{
    return network_link(network, node) != 0;
}

int network_meet(struct network *network, int32_t node, const char *host, int port)
{
    struct transport *transport = atomic_load(&network->transport);
    return transport == NULL ? -ENOTCONN : transport->meet(transport, node, host, port);
}

void network_forget(struct network *network, int32_t node)
{
    struct transport *transport = atomic_load(&network->transport);
    if (transport != NULL)
        transport->forget(transport, node);
}

void network_drop(struct network *network, int32_t node)
{
    struct transport *transport = atomic_load(&network->transport);
    if (transport != NULL)
        transport->drop(transport, node);
}
