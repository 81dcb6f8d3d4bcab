/* fs/tree/group_xattr.h: extended attributes that take asking a group's coordinator: user.group.state, .generation,
 * .members on `.groups/G`, and user.group.G.committed and .lag on a partition and its views.
 *
 * Each request waits parked, LIMIT_GROUP_ANSWER_MS at most: then it is answered by what was known last, or ETIMEDOUT
 * where nothing ever was; an offset that could not be read is never told as none. */
#ifndef LOGMNT_FS_TREE_GROUP_XATTR_H
#define LOGMNT_FS_TREE_GROUP_XATTR_H

#include "fs/base/session.h"
#include "fs/tree/tree.h"

/* Whether the name is one of them here; then one of the calls below answers the request. */
bool group_xattr_is(const struct vnode *vnode, const char *name);
/* Whether a list of names here takes asking. */
bool group_xattr_listed(struct session *session, const struct vnode *vnode);

void group_xattr_get(fuse_req_t req, struct vnode *vnode, const char *name, size_t size);
void group_xattr_list(fuse_req_t req, struct vnode *vnode, size_t size);
/* value NULL: removes it. flags: XATTR_CREATE, XATTR_REPLACE. */
void group_xattr_set(fuse_req_t req, struct vnode *vnode, const char *name, const char *value, int flags);

#endif
