/* replication/wire/peer.h: one peer of peers.c: its two links, how they come to stand, and what their loss means.
 *
 * All of it belongs to the loop's thread, but for `out`, which senders read under the table's lock.
 *
 * A link:
 *
 *   DOWN ──► DIALING ──► GREETING ──► UP ──► (the peer is lost) DYING ──► DOWN
 *     ▲          │           │         ▲
 *     └──────────┴───────────┘         └── a stranger's hello was right
 *
 * Its two links make it up when they are of one session of the other side, too. That may have lost one of them, and
 * with it the session, before the other one was up here: it keeps what is left only to see it end (DYING), and dials
 * anew. What is left would be a half here, and go as soon as the other half has come; and that for ever, for then this
 * side has lost a session, and has a half. So both say in their hellos which of their sessions it is.
 *
 * DIALING: connecting and TLS; GREETING: our hello is out. DYING: the other link of a lost peer, kept to see whether it
 * ends, too: both ended, and connecting refused, is a process that no longer exists. */
#ifndef LOGMNT_REPLICATION_WIRE_PEER_H
#define LOGMNT_REPLICATION_WIRE_PEER_H

#include <netdb.h>
#include <uv.h>

#include "replication/wire/conn.h"
#include "replication/wire/flaps.h"
#include "replication/wire/hello.h"
#include "replication/wire/peers.h"
#include "replication/wire/refusals.h"
#include "replication/wire/twins.h"

enum link_state { LINK_DOWN, LINK_DIALING, LINK_GREETING, LINK_UP, LINK_DYING };

struct peer;

struct link {
    struct peer *peer;
    enum channel channel;
    enum link_state state;
    struct conn *conn;   /* referenced; NULL: DOWN */
    struct hello theirs; /* UP */
    uint64_t since_ms;   /* of the state; loop's time */
    struct frame *early; /* frames that came before the other link was up, in order */
    struct frame **early_last;
    unsigned early_count;
    size_t early_bytes;
};

struct peer {
    struct peers *peers;
    int32_t id;
    char host[HELLO_HOST_BYTES]; /* "": not known */
    int port;
    struct link links[CHANNELS];
    bool up;                    /* both links UP, told through events.up */
    uint64_t session;           /* what our hellos say: another one once it was lost */
    bool goodbye;               /* it said that it stops; until it is up again */
    struct conn *out[CHANNELS]; /* the table's lock: while up, for senders; referenced */

    bool watched; /* lost without a goodbye, and not heard of since: is it dead? */
    bool refused; /* its host refused a connection since */
    uint64_t lost_process;

    uv_timer_t retry; /* dials what is DOWN */
    uint64_t backoff_ms;
    uv_getaddrinfo_t resolve;
    bool resolving;
    struct addrinfo *addrs, *addr; /* all, and the one to try next */

    bool left;   /* no peer any more: freed when libuv has let go */
    int closing; /* handles and requests that libuv still has, once left */

    struct refusals refusals; /* that were logged since it was up for longer than a moment */
    struct twins twins;
    struct flaps flaps;
    uv_timer_t summary; /* says how many lines were left out */
    uint64_t abrupt_ms; /* since when it ends TLS handshakes without a word; 0: it does not */
};

/* NULL: no memory. */
struct peer *peer_new(struct peers *peers, int32_t id);
/* Goodbye, and no event any more. Frees itself by and by. It is in no table. */
void peer_leave(struct peer *peer);
void peer_set_address(struct peer *peer, const char *host, int port);
/* It is to be found nowhere, until it comes by itself or is given an address again. */
void peer_forget(struct peer *peer);
/* Forgotten, and it has not answered. */
bool peer_is_idle(const struct peer *peer);
/* Connects what is down, now. */
void peer_dial(struct peer *peer);
/* As if both connections had been lost. */
void peer_drop(struct peer *peer);
/* Ends what has been in the making for too long. true: something still is. */
bool peer_sweep(struct peer *peer, uint64_t now_ms);
/* A stranger's hello named this peer and was found right. Takes the connection (a reference) or refuses it:
 * REFUSAL_NONE, REFUSAL_DUPLICATE, or REFUSAL_ID with the reason in words: the node runs twice. */
enum refusal peer_take(struct peer *peer, struct conn *conn, const struct hello *theirs, struct err *e);
/* Logs why a hello, theirs or ours, was refused; not the same again within LIMIT_REFUSAL_LOG_MS. */
void peer_log_refusal(struct peer *peer, enum refusal cause, const char *address, const char *text);

#endif
