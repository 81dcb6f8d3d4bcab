/* fs/tree/attr.h: what stat(2) says of each kind of vnode, and how long the kernel may believe it. */
#ifndef LOGMNT_FS_TREE_ATTR_H
#define LOGMNT_FS_TREE_ATTR_H

#include <sys/stat.h>

#include "engine/record/framing.h"
#include "fs/base/limits.h"
#include "fs/base/session.h"
#include "fs/tree/tree.h"

/* What coreutils sizes its buffers by, and so the size of one request: the fastest in both directions (measured:
 * tests/bench). Who appends to a partition that other nodes have, too, waits for them with each request, and is told of
 * the largest one there is. */
enum { ATTR_BLKSIZE = 512 << 10, ATTR_REMOTE_BLKSIZE = LIMIT_REQUEST_BYTES };

/* As whoever made the request sees it, and for how many seconds the kernel may believe it: partitions and what shows
 * them 0, so that a watching program sees growth without delay. 0; -ESTALE: the topic or the group was deleted;
 * -ENOENT: the segment's file is gone. */
int attr_stat(fuse_req_t req, struct vnode *vnode, struct stat *st, double *timeout);
/* A file's times; mtime_ms -1: there is none. */
void attr_set_times(struct stat *st, int64_t mtime_ms, int64_t ctime_ms);
/* The st_size of `.json`: not less than the text of that many records of that many bytes can be, whatever is in them,
 * and whole pages. Its true size is known only to who makes all of it, and each other kind of wrong one fails in
 * silence: with 0 sendfile copies nothing and says that this was all; with one that is too small who announces a size
 * (HTTP) cuts; one that ends within a page is believed by `wc -c`. */
int64_t attr_json_size(enum framing framing, int64_t records, int64_t bytes);
/* Likewise what its name means. */
double attr_entry_timeout(const struct vnode *vnode);
/* The caller is in that group. */
bool attr_in_group(fuse_req_t req, gid_t gid);
/* Owner, group and modes of what the vnode is of (a topic, a group, `.groups`, MOUNT), as this node knows them. */
void attr_now(struct session *session, const struct vnode *vnode, struct tree_attr *attr);
/* Whether the caller of a request is its owner, or root. */
bool attr_is_owner(struct session *session, const struct vnode *vnode, uid_t uid);

#endif
