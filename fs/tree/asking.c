#include "fs/tree/asking.h"

#include <string.h>

#include "engine/base/container.h"

static bool cancel(struct park *park)
{
    struct asking *asking = CONTAINER_OF(park, struct asking, park);
    if (asking->kind->cancel != NULL)
        return asking->kind->cancel(asking);
    return partition_read_cancel(&asking->op) ||
           (asking->part != NULL && partition_unwait(asking->part, &asking->waiter));
}

static void aborted(struct park *park, int rc)
{
    struct asking *asking = CONTAINER_OF(park, struct asking, park);
    if (asking->kind->aborted != NULL)
        asking->kind->aborted(asking, rc);
    else
        fuse_reply_err(asking->req, -rc);
}

static void park_free(struct park *park)
{
    struct asking *asking = CONTAINER_OF(park, struct asking, park);
    asking->kind->free(asking);
}

static void park(struct asking *asking)
{
    asking->parked = true;
    if (asking->kind->parked != NULL)
        asking->kind->parked(asking);
    memset(&asking->park, 0, sizeof asking->park);
    asking->park.cancel = cancel;
    asking->park.aborted = aborted;
    asking->park.free = park_free;
    asking->park.fatal_only = asking->kind->fatal_only;
    park_begin(&asking->park, asking->session, asking->req);
}

void asking_over(struct asking *asking)
{
    if (!asking->parked) {
        asking->kind->answer(asking);
        asking->kind->free(asking);
        return;
    }
    park_answer(&asking->park);
    asking->kind->answer(asking);
    park_unref(&asking->park);
}

bool asking_take(struct asking *asking)
{
    return atomic_exchange(&asking->met, true);
}

void asking_ready(struct asking *asking)
{
    if (asking_take(asking))
        asking_on(asking);
}

static void read_done(struct read_op *op, int rc)
{
    struct asking *asking = CONTAINER_OF(op, struct asking, op);
    asking->rc = rc;
    asking_ready(asking);
}

static void wait_ready(struct partition_waiter *waiter)
{
    asking_ready(CONTAINER_OF(waiter, struct asking, waiter));
}

/* Begins what the tick wants. true: over already, or there was no need to wait. */
static bool begin(struct asking *asking, enum asking_next next)
{
    int rc;
    if (next == ASKING_WAIT && asking->kind->wait != NULL)
        return !asking->kind->wait(asking);
    if (next == ASKING_WAIT) {
        asking->waiter.ready = asking->kind->ready != NULL ? asking->kind->ready : wait_ready;
        return !partition_wait(asking->part, &asking->waiter);
    }
    asking->op.done = read_done;
    rc = partition_read_submit(&asking->op);
    if (rc != 0)
        asking->rc = rc < 0 ? rc : 0;
    return rc != 0;
}

/* Until it is over or waits. Returns whether this has parked it: then park_settle() is the caller's. What waits and was
 * parked before is another thread's by then, and perhaps gone. */
static bool run(struct asking *asking)
{
    bool was_parked = asking->parked;
    for (;;) {
        bool parked = asking->parked;
        enum asking_next next = asking->kind->tick(asking);
        if (next == ASKING_OVER) {
            asking_over(asking);
            return parked && !was_parked;
        }
        /* Whoever answers sees it behind the lock of the list that the op goes into. */
        atomic_store_explicit(&asking->met, parked, memory_order_relaxed);
        if (begin(asking, next))
            continue;
        if (parked)
            return !was_parked;
        park(asking);
        if (!atomic_exchange(&asking->met, true))
            return true;
    }
}

void asking_on(struct asking *asking)
{
    (void)run(asking);
}

void asking_go(struct asking *asking)
{
    if (run(asking))
        park_settle(&asking->park);
}
