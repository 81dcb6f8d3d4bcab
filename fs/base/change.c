#include "fs/base/change.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "fs/base/caller.h"
#include "fs/base/limits.h"
#include "fs/base/session.h"

static void over(struct change *change, int rc)
{
    park_answer(&change->park);
    change->answer(change, rc);
    park_unref(&change->park);
}

static void on_done(struct command_op *op, int rc)
{
    over(CONTAINER_OF(op, struct change, op), rc);
}

static bool change_cancel(struct park *park)
{
    return node_command_cancel(&CONTAINER_OF(park, struct change, park)->op);
}

static void change_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void change_free(struct park *park)
{
    free(CONTAINER_OF(park, struct change, park));
}

struct change *change_new(fuse_req_t req, size_t size, void (*answer)(struct change *change, int rc))
{
    struct change *change = calloc(1, size);
    if (change == NULL) {
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    change->answer = answer;
    change->op.timeout_ms = LIMIT_DECISION_MS;
    change->op.done = on_done;
    change->op.node = session_of(req)->node;
    caller_of(req, &change->op.caller);
    change->park.fatal_only = true;
    change->park.cancel = change_cancel;
    change->park.aborted = change_aborted;
    change->park.free = change_free;
    park_begin(&change->park, session_of(req), req);
    return change;
}

void change_begun(struct change *change, int rc)
{
    if (rc != 0)
        over(change, rc);
    park_settle(&change->park);
}
