/* fs/tree/xattr.h: extended attributes: every admin act is a file act (docs/FILESYSTEM.md, Extended attributes). */
#ifndef LOGMNT_FS_TREE_XATTR_H
#define LOGMNT_FS_TREE_XATTR_H

#include <stdio.h>

#include "fs/base/session.h"
#include "fs/tree/tree.h"

void xattr_get(fuse_req_t req, struct vnode *vnode, const char *name, size_t size);
void xattr_list(fuse_req_t req, struct vnode *vnode, size_t size);
void xattr_set(fuse_req_t req, struct vnode *vnode, const char *name, const char *value, size_t size, int flags);
/* For group_xattr.c: the names that take no asking, each with a NUL behind it. */
void xattr_write_names(struct session *session, const struct vnode *vnode, FILE *out);

void xattr_remove(fuse_req_t req, struct vnode *vnode, const char *name);

/* A value or a list of names, as getxattr(2) and listxattr(2) want it. */
void xattr_reply(fuse_req_t req, const char *data, size_t len, size_t size);

#endif
