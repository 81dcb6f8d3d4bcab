/* fs/tree/status.h: the files of `.cluster/`: plain columns that sort, awk and column -t like, and Prometheus text.
 * A look-up makes the text, and its node has that text for as long as it lives: so the size that a program was told is
 * that of what it reads, by whatever call, and no page of it ever changes. */
#ifndef LOGMNT_FS_TREE_STATUS_H
#define LOGMNT_FS_TREE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/base/session.h"

struct vnode;
struct vnode_key;

const char *status_name(int64_t which); /* NULL: there are no more */
int64_t status_find(const char *name);  /* -1: none */
/* Whether the text tells of groups, which takes asking their coordinators: then status_ask() makes it, and only that.
 */
bool status_asks(int64_t which);
/* A node with the text as it is now, given out once. NULL: no memory. */
struct vnode *status_vnode(struct session *session, const struct vnode_key *key);
/* Likewise once that is there, perhaps by another thread: rc 0; -ENOMEM; -ETIMEDOUT: coordinators did not answer, and
 * of what they keep nothing is known. */
void status_ask(fuse_req_t req, const struct vnode_key *key,
                void (*reply)(fuse_req_t req, struct vnode *vnode, int rc));

#endif
