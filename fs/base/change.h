/* fs/base/change.h: a request that changes the tree, parked until its command is decided: it holds no worker and no
 * lock meanwhile.
 *
 *     struct change *change = change_new(req, sizeof *change, answer);
 *     if (change)
 *         change_begun(change, node_set_attr(node, &change->op, …));
 *
 * A signal that the program handles does not end the wait, and a fatal one only what has not begun: a decision takes no
 * longer than LIMIT_DECISION_MS. */
#ifndef LOGMNT_FS_BASE_CHANGE_H
#define LOGMNT_FS_BASE_CHANGE_H

#include "fs/base/park.h"
#include "replication/node/node_commands.h"

/* Embed it as the first member. */
struct change {
    struct park park;
    struct command_op op;
    /* Answers park.req, on any thread; rc: of the command, its reason in op.e. */
    void (*answer)(struct change *change, int rc);
};

/* `size` bytes, zeroed but for the change at their begin. NULL: no memory; the request was answered so. */
struct change *change_new(fuse_req_t req, size_t size, void (*answer)(struct change *change, int rc));
/* rc: what the call with &change->op has returned. The change may be gone afterwards. */
void change_begun(struct change *change, int rc);

#endif
