#include "fs/tree/group_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/base/session.h"

static void over(struct group_call *call, int rc)
{
    park_answer(&call->park);
    call->answer(call, rc);
    park_unref(&call->park);
}

static void on_done(struct group_op *op, int rc)
{
    over(CONTAINER_OF(op, struct group_call, op), rc);
}

static bool call_cancel(struct park *park)
{
    return group_op_cancel(&CONTAINER_OF(park, struct group_call, park)->op);
}

static void call_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void call_free(struct park *park)
{
    struct group_call *call = CONTAINER_OF(park, struct group_call, park);

    group_op_free(&call->op);
    free(call);
}

struct group_call *group_call_new(fuse_req_t req, size_t size, void (*answer)(struct group_call *call, int rc))
{
    struct group_call *call = calloc(1, size);

    if (call == NULL) {
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    call->answer = answer;
    call->op.groups = node_group_room(session_of(req)->node);
    call->op.timeout_ms = LIMIT_GROUP_ANSWER_MS;
    call->op.done = on_done;
    call->park.fatal_only = true;
    call->park.cancel = call_cancel;
    call->park.aborted = call_aborted;
    call->park.free = call_free;
    park_begin(&call->park, session_of(req), req);
    return call;
}

static const char *keep(char to[GROUP_NAME_BYTES], const char *name)
{
    if (name == NULL)
        return NULL;
    strncpy(to, name, GROUP_NAME_BYTES - 1);
    return to;
}

void group_call_begin(struct group_call *call, enum group_ask ask, const char *group, const char *topic,
                      int32_t partition)
{
    int rc;

    call->op.ask = ask;
    call->op.group = keep(call->group, group);
    call->op.topic = keep(call->topic, topic);
    call->op.partition = partition;
    rc = group_op_submit(&call->op);
    if (rc != 0)
        over(call, rc);
    park_settle(&call->park);
}
