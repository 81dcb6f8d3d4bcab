/* fs/serve/ops_status.c: a request that tells how a partition is waits until that is known, where the replica is on
 * another node: it is parked (asking.h) with a copy of what it asked, and run again. */
#include <errno.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/serve/ops.h"
#include "fs/tree/asking.h"

struct status_call {
    struct asking asking; /* first */
    struct fence_request request;
    struct partition *part; /* referenced */
    bool asked;
};

static enum asking_next status_tick(struct asking *asking)
{
    struct status_call *call = CONTAINER_OF(asking, struct status_call, asking);
    if (call->asked)
        return ASKING_OVER;
    call->asked = true;
    return ASKING_READ;
}

static void status_answer(struct asking *asking)
{
    struct status_call *call = CONTAINER_OF(asking, struct status_call, asking);
    if (asking->rc != 0)
        fuse_reply_err(asking->req, -asking->rc);
    else
        call->request.run(&call->request);
}

static void status_free(struct asking *asking)
{
    struct status_call *call = CONTAINER_OF(asking, struct status_call, asking);
    partition_unref(call->part);
    fence_request_free(&call->request);
    free(call);
}

static const struct asking_kind status_kind = {
    .tick = status_tick,
    .answer = status_answer,
    .free = status_free,
    .fatal_only = true,
};

bool ops_status_asked(struct vnode *vnode, const struct fence_request *request)
{
    struct partition *part = vnode->pfile != NULL ? vnode->pfile->part : NULL;
    if (part == NULL || partition_is_known(part))
        return false;
    struct status_call *call = calloc(1, sizeof *call);
    if (call == NULL || !fence_request_copy(&call->request, request)) {
        free(call);
        fuse_reply_err(request->req, ENOMEM);
        return true;
    }
    call->part = partition_ref(part);
    call->asking.req = request->req;
    call->asking.session = session_of(request->req);
    call->asking.kind = &status_kind;
    call->asking.op = (struct read_op){.part = part, .kind = READ_STATUS, .timeout_ms = LIMIT_ANSWER_MS};
    asking_go(&call->asking);
    return true;
}
