/* fs/base/park.h: requests that wait without a thread.
 *
 * A request that has to wait for a record, a lock, an ack or a close is parked: its struct embeds a park, and whoever
 * makes it ready answers it. Three may want to: the one it waits for, a signal (FUSE_INTERRUPT), and the end of the
 * session. Exactly one gets it, by taking it out of the queue that it waits in (cancel()).
 *
 *   park_begin() → put into its queue → park_settle()
 *        ├── ready ──→ taken out of the queue → park_answer(), fuse_reply_…, park_unref()
 *        └── INTERRUPT, stop ──→ cancel() says true → aborted(rc) answers it
 *
 * libfuse calls the interrupt function with the request's lock held, so that only submits work; park_answer()
 * unregisters it first. The kernel sends one INTERRUPT a request, for a handled signal as for a fatal one, so one that
 * does not end the wait is remembered: from then on it is looked again, at /proc for a wait that only death may end
 * (docs/FILESYSTEM.md, Interrupted and stopped), and whether what was just taken out of its queue is back in there. */
#ifndef LOGMNT_FS_BASE_PARK_H
#define LOGMNT_FS_BASE_PARK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fs/base/fuse.h"
#include "replication/node/node.h"

struct session;

/* Embed it; zero-initialise; set cancel, aborted and free. */
struct park {
    fuse_req_t req;
    /* Takes it out of its queue; never called before park_settle(). true: it was still in there, and now nobody else
     * will answer it. false: somebody else answers, or it goes on waiting: then it is called again. Any thread, called
     * with no lock held. */
    bool (*cancel)(struct park *park);
    /* Answers a cancelled request. rc: -EINTR, or -ENOTCONN when the session ends. */
    void (*aborted)(struct park *park, int rc);
    void (*free)(struct park *park);
    bool fatal_only; /* a signal that the program handles does not end this wait */
    /* For cancel(): the process is ending, or the session is. Never goes back. */
    _Atomic bool dying;
    /* private */
    struct session *session;
    _Atomic int refs;
    _Atomic pid_t tid;
    _Atomic bool answered;
    _Atomic bool settled; /* it is in its queue: cancel() may be called */
    _Atomic bool interrupt_queued;
    struct work work;
    struct alarm look_again;
    bool listed; /* like prev and next under the lock of the list */
    struct park *prev, *next;
};

/* All that are parked. */
struct parks {
    pthread_mutex_t lock;
    struct park *first, *last; /* in the order in which a stop looks at them: the oldest first */
    size_t count;
    _Atomic int alive; /* in the list, or not yet freed */
};
void parks_init(struct parks *parks);
/* Ends each of them with -ENOTCONN; not those that somebody will answer who has them already, nor what is parked
 * meanwhile: somebody may come again and again. false: none. No request is being served meanwhile. */
bool parks_abort_all(struct session *session);
/* Likewise, and waits until none is left. */
void parks_abort(struct session *session);
/* Between two parks, on its way to another thread, a request is held so: parks_abort() waits until it is let go. */
void parks_hold(struct session *session);
void parks_let_go(struct session *session);

/* Registers the request, before it goes into its queue. park_settle() follows once it is in there, and catches an
 * interrupt that came in between; after park_settle() the park may be gone. */
void park_begin(struct park *park, struct session *session, fuse_req_t req);
void park_settle(struct park *park);
/* The one it waited for takes it: after this, answer park->req. */
void park_answer(struct park *park);
void park_unref(struct park *park);

#endif
