/* fs/produce/kept.h: an append of bytes that a write(2) has taken and returned: nobody has them any more but we.
 *
 * So it is not given up for want of memory, nor of a descriptor (EMFILE, ENFILE): it is tried again until it goes, or
 * for patience_ms.
 *
 *     kept_submit() ──→ TRIED ──→ over: returned, or done()
 *                       ↑   │ nothing of it is in the log, and what is missing may be there a moment later
 *                       └───┘ (LIMIT_APPEND_AGAIN_MS)
 */
#ifndef LOGMNT_FS_PRODUCE_KEPT_H
#define LOGMNT_FS_PRODUCE_KEPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "replication/executor/executor.h"
#include "replication/replica/partition.h"

struct session;

/* Zero-initialise it, set what comes first; kept_init(). It stays until it is over. */
struct kept {
    int64_t patience_ms; /* since it was first tried in vain; INT64_MAX: as long as the session */
    /* Fills append.part (once, and under the lock under which kept_give_up() is called), acks, timeout_ms and batch,
     * and submits it. As partition_append_submit(), or a negative errno with nothing submitted. */
    int (*submit)(struct kept *kept);
    /* Once, unless kept_submit() says that it is over. As append_op.done. */
    void (*done)(struct kept *kept, int rc);
    /* private, but for what came of it: append.result */
    struct append_op append;
    struct session *session;
    struct alarm again;
    int64_t since_ms;     /* 0: not tried in vain yet */
    _Atomic bool no_more; /* it is tried once more at most */
};

void kept_init(struct kept *kept, struct session *session);
/* 1: appended; 0: done() follows, and it may be gone; or a negative errno. */
int kept_submit(struct kept *kept);
/* Likewise on a thread of the pool, which has a stack of its own: done() follows. */
void kept_submit_soon(struct kept *kept);
/* The end of the session. 0: it is being appended, or has its last try in front of it: to be called
 * again until it is over. A negative errno: it was taken back (-EROFS), or is forgotten and may be in the log
 * (-ETIMEDOUT); done() is not called any more. */
int kept_give_up(struct kept *kept);

#endif
