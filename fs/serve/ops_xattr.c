/* fs/serve/ops_xattr.c: extended attributes: of an open stream (group_stream.h), or of a node (xattr.h). */
#include <string.h>

#include "fs/consume/group_stream.h"
#include "fs/serve/ops.h"
#include "fs/tree/xattr.h"

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);

static void run_getxattr(const struct fence_request *request)
{
    do_getxattr(request->req, request->ino, request->name, request->size);
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct vnode *vnode = ops_vnode(req, ino);
    struct fence_request request = {.req = req, .ino = ino, .name = name, .size = size, .run = run_getxattr};
    size_t len = strlen(name), lag = strlen(".lag");
    bool of_log = strncmp(name, "user.log.", strlen("user.log.")) == 0 ||
                  (len > lag && strcmp(name + len - lag, ".lag") == 0); /* user.group.G.lag */
    if (vnode != NULL && vnode_kind_is_stream(vnode->key.kind))
        group_stream_getxattr(req, vnode, name, size);
    else if (vnode != NULL && !(of_log && ops_status_asked(vnode, &request)) && !ops_fenced(vnode, &request))
        xattr_get(req, vnode, name, size);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (vnode != NULL && vnode_kind_is_stream(vnode->key.kind))
        group_stream_listxattr(req, vnode, size);
    else if (vnode != NULL)
        xattr_list(req, vnode, size);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

static void run_setxattr(const struct fence_request *request)
{
    do_setxattr(request->req, request->ino, request->name, request->data, request->size, request->arg);
}

static void run_removexattr(const struct fence_request *request)
{
    do_removexattr(request->req, request->ino, request->name);
}

/* A topic's framing, which it keeps once it has a record. */
static bool framing_fenced(struct vnode *vnode, const struct fence_request *request)
{
    return vnode->key.kind == VNODE_TOPIC && strcmp(request->name, "user.config.framing") == 0 &&
           ops_topic_fenced(session_of(request->req), vnode->topic, request);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    struct vnode *vnode = ops_vnode(req, ino);
    struct fence_request request = {
        .req = req, .ino = ino, .name = name, .data = value, .size = size, .arg = flags, .run = run_setxattr};
    if (vnode != NULL && framing_fenced(vnode, &request))
        return;
    if (vnode != NULL && vnode_kind_is_stream(vnode->key.kind))
        group_stream_setxattr(req, vnode, name, value, size);
    else if (vnode != NULL)
        xattr_set(req, vnode, name, value, size, flags);
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct vnode *vnode = ops_vnode(req, ino);
    struct fence_request request = {.req = req, .ino = ino, .name = name, .run = run_removexattr};
    if (vnode != NULL && framing_fenced(vnode, &request))
        return;
    if (vnode != NULL && vnode_kind_is_stream(vnode->key.kind))
        group_stream_removexattr(req, vnode, name);
    else if (vnode != NULL)
        xattr_remove(req, vnode, name);
}

void ops_xattr_register(struct fuse_lowlevel_ops *ops)
{
    ops->getxattr = do_getxattr;
    ops->listxattr = do_listxattr;
    ops->setxattr = do_setxattr;
    ops->removexattr = do_removexattr;
}
