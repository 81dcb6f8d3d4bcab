#include "fs/base/caller.h"

#include "replication/base/limits.h"

void caller_of(fuse_req_t req, struct command_caller *out)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    int count = 0;
    *out = (struct command_caller){.is_user = true, .uid = ctx->uid, .gid = ctx->gid};
    if (ctx->uid != 0) /* root needs none */
        count = fuse_req_getgroups(req, LIMIT_CALLER_GROUPS, out->groups);
    out->group_count = count >= 0 && count <= LIMIT_CALLER_GROUPS ? count : -1;
}
