/* fs/tree/group_call.h: a request that asks the coordinators of consumer groups (group/member.h), parked until they
 * have answered or its time is over: it holds no worker meanwhile, and a fatal signal ends it.
 *
 *     struct group_call *call = group_call_new(req, sizeof *call, answer);
 *     if (call != NULL)
 *         group_call_begin(call, GROUP_ASK_GROUP, "kitchen", NULL, -1); */
#ifndef LOGMNT_FS_TREE_GROUP_CALL_H
#define LOGMNT_FS_TREE_GROUP_CALL_H

#include "fs/base/park.h"
#include "replication/group/member.h"

/* Embed it as the first member. */
struct group_call {
    struct park park;
    struct group_op op; /* what was asked and what it brought: until answer() has returned */
    /* Answers park.req, or goes on with it, on any thread; rc: how the question ended. */
    void (*answer)(struct group_call *call, int rc);
    char group[GROUP_NAME_BYTES], topic[GROUP_NAME_BYTES]; /* that op points to */
};

/* `size` bytes, zeroed but for the call at their begin. NULL: no memory; the request was answered so. */
struct group_call *group_call_new(fuse_req_t req, size_t size, void (*answer)(struct group_call *call, int rc));
/* Asks; group and topic are copied, NULL where `ask` has no need of them; op.offset is the caller's. The call may be
 * gone afterwards. */
void group_call_begin(struct group_call *call, enum group_ask ask, const char *group, const char *topic,
                      int32_t partition);

#endif
