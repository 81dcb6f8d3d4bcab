/* fs/tree/asking.h: a request that asks a partition, once or as often as it needs to, and holds no thread while an
 * answer is on its way.
 *
 *   asking_go() ──→ tick() ──ASKING_READ──→ partition_read_submit() ──over──→ tick() …
 *                     │ │                        └──later──→ PARKED ──its answer──→ tick() …
 *                     │ └──ASKING_WAIT──→ partition_wait() ──no need──→ tick() …
 *                     │                        └──queued──→ PARKED ──ready──→ tick() …
 *                     └──ASKING_OVER──→ answer(), free()
 *   PARKED ──a signal, the end of the session──→ aborted(), free()
 *
 * What is over at once is never parked: that costs neither a lock nor an allocation. tick() alone looks at the answers;
 * it may be called by another thread each time, never by two at once, and with no lock held. */
#ifndef LOGMNT_FS_TREE_ASKING_H
#define LOGMNT_FS_TREE_ASKING_H

#include "fs/base/park.h"
#include "replication/replica/partition_read.h"

/* What a tick wants. */
enum asking_next {
    ASKING_READ, /* `op` is filled in, but for `done`: the next tick has its answer, and its errno in `rc` */
    ASKING_WAIT, /* `waiter` is filled in: the next tick is at a higher high watermark, or all has changed */
    ASKING_OVER, /* to be answered */
};

/* Embed it as the first member; zero-initialise; set req, part, kind; it may be used again once free() was called. */
struct asking {
    struct park park; /* once it waits */
    fuse_req_t req;
    struct session *session;
    struct partition *part; /* that ASKING_WAIT waits at */
    const struct asking_kind *kind;
    struct read_op op;
    int rc; /* 0 or a negative errno: how the last question ended */
    struct partition_waiter waiter;
    bool parked;
    /* private: of two, the first answer and who parks the request, one has come to where the other goes on */
    _Atomic bool met;
};

struct asking_kind {
    enum asking_next (*tick)(struct asking *asking);
    /* It is about to be parked: what must last longer than the request's own call is to be referenced. May be NULL. */
    void (*parked)(struct asking *asking);
    /* Answers req. */
    void (*answer)(struct asking *asking);
    /* Answers it instead, parked, with a negative errno. NULL: fuse_reply_err(). */
    void (*aborted)(struct asking *asking, int rc);
    /* Gives back everything, parked or not. */
    void (*free)(struct asking *asking);
    /* The waiter's; NULL: asking_ready(). */
    void (*ready)(struct partition_waiter *waiter);
    /* Instead of partition_wait() at `part`, for what waits in another queue. true: it is in there, and asking_ready()
     * or its two halves will be called; false: no need. NULL: at `part`. */
    bool (*wait)(struct asking *asking);
    /* Takes it out of that queue or takes its question back; true: it was still there. Not NULL where wait is not. */
    bool (*cancel)(struct asking *asking);
    bool fatal_only; /* a signal that the program handles does not end its wait (park.h) */
};

/* Begins. It may be gone when this returns. */
void asking_go(struct asking *asking);
/* What it waited for has come, once a wait. Goes on, on this thread, if it is parked; otherwise whoever parks it does.
 */
void asking_ready(struct asking *asking);

/* asking_ready() in two, for a `ready` of the kind's own. true: it is parked, and nobody else goes on with it: one of
 * the two below follows. */
bool asking_take(struct asking *asking);
void asking_on(struct asking *asking);   /* goes on with the next tick */
void asking_over(struct asking *asking); /* answers it */

#endif
