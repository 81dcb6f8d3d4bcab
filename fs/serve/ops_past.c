/* fs/serve/ops_past.c: right after a start a node of a cluster may not have heard yet what was decided while it was
 * down. A request that would say that a name is not there is parked until it has, with a copy of what it asked, and run
 * again. Once a start, for a second at most: then what is known counts (past.h). */
#include <stdlib.h>

#include "engine/base/container.h"
#include "fs/serve/ops.h"
#include "replication/node/past.h"

struct past_call {
    struct park park;
    struct past_waiter waiter;
    struct fence_request request;
};

static void on_known(struct past_waiter *waiter)
{
    struct past_call *call = CONTAINER_OF(waiter, struct past_call, waiter);
    park_answer(&call->park);
    call->request.run(&call->request);
    park_unref(&call->park);
}

static bool call_cancel(struct park *park)
{
    struct past_call *call = CONTAINER_OF(park, struct past_call, park);
    return past_cancel(node_past(session_of(call->request.req)->node), &call->waiter);
}

static void call_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void call_free(struct park *park)
{
    struct past_call *call = CONTAINER_OF(park, struct past_call, park);
    fence_request_free(&call->request);
    free(call);
}

/* Topics, groups, and the partitions of a topic in all their views. */
static bool is_decided(const struct vnode *dir)
{
    return dir->key.kind != VNODE_CLUSTER_DIR && dir->key.kind != VNODE_SEGMENTS;
}

bool ops_past_awaited(struct vnode *dir, const struct fence_request *request)
{
    struct session *session = session_of(request->req);
    struct past *past = node_past(session->node);
    if (past_counts(past) || !is_decided(dir))
        return false;
    struct past_call *call = calloc(1, sizeof *call);
    if (call == NULL || !fence_request_copy(&call->request, request)) {
        free(call);
        return false;
    }
    call->waiter.done = on_known;
    call->park.cancel = call_cancel;
    call->park.aborted = call_aborted;
    call->park.free = call_free;
    call->park.fatal_only = true;
    park_begin(&call->park, session, request->req);
    bool waits = past_wait(past, &call->waiter);
    if (!waits) {
        park_answer(&call->park);
        park_unref(&call->park);
    }
    park_settle(&call->park);
    return waits;
}
