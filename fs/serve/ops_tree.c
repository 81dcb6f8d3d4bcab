/* fs/serve/ops_tree.c: names that come and go: topics and groups; nothing else is made or removed by name. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <syslog.h>

#include "fs/base/change.h"
#include "fs/serve/ops.h"
#include "fs/tree/group_attr.h"
#include "fs/tree/group_call.h"
#include "fs/tree/names.h"

struct name_change {
    struct change change; /* first */
    struct vnode *dir;    /* alive until the request is answered */
    char name[NAME_MAX + 1];
};

static struct change *new_name_change(fuse_req_t req, struct vnode *dir, const char *name,
                                      void (*answer)(struct change *change, int rc))
{
    struct change *change = change_new(req, sizeof(struct name_change), answer);
    if (change == NULL)
        return NULL;
    ((struct name_change *)change)->dir = dir;
    strncpy(((struct name_change *)change)->name, name, NAME_MAX);
    return change;
}

static void answer_mkdir(struct change *change, int rc)
{
    fuse_req_t req = change->park.req;
    struct session *session = session_of(req);
    const char *name = ((struct name_change *)change)->name;
    struct vnode_key key;
    struct fuse_entry_param entry;
    if (rc == 0)
        rc = names_resolve(session, ((struct name_change *)change)->dir, name, &key);
    if (rc == 0) {
        struct vnode *vnode = tree_vnode(session->tree, &key);
        vnode_key_unref(&key);
        rc = vnode != NULL ? ops_entry(req, vnode, &entry) : -ENOMEM;
    }
    if (rc != 0 && rc != -EEXIST)
        log_line(LOG_NOTICE, "mkdir %s: %s", name, change->op.e.text[0] != '\0' ? change->op.e.text : strerror(-rc));
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else if (fuse_reply_entry(req, &entry) == -ENOENT)
        tree_forget(session->tree, entry.ino, 1);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct session *session = session_of(req);
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    if (ops_outside_make(req, parent, name))
        return;
    struct vnode *dir = ops_vnode(req, parent);
    if (dir == NULL)
        return;
    bool is_group = dir->key.kind == VNODE_GROUPS_DIR;
    if (dir->key.kind != VNODE_ROOT && !is_group) {
        fuse_reply_err(req, EPERM);
        return;
    }
    struct tree_attr parent_attr;
    (is_group ? node_groups_attr : node_root_attr)(session->node, &parent_attr);
    bool inherit = (parent_attr.dir_mode & S_ISGID) != 0; /* as mkdir(2) in a set-group-ID directory */
    struct tree_attr attr = {
        .uid = ctx->uid,
        .gid = inherit ? parent_attr.gid : ctx->gid,
        .dir_mode = (mode & 07777 & ~ctx->umask) | (inherit ? S_ISGID : 0),
        .file_mode = 0666 & ~ctx->umask,
    };
    struct change *change = new_name_change(req, dir, name, answer_mkdir);
    if (change == NULL)
        return;
    if (is_group)
        attr.dir_mode = group_mode(attr.dir_mode);
    change_begun(change, (is_group ? node_create_group : node_create_topic)(session->node, &change->op, name, &attr));
}

static void answer_rmdir(struct change *change, int rc)
{
    bool refused = rc == -EPERM || rc == -EACCES;
    if (rc != 0 && rc != -ENOTEMPTY) {
        log_line(refused ? LOG_NOTICE : LOG_ERR, "rmdir %s: %s", ((struct name_change *)change)->name,
                 change->op.e.text);
    }
    fuse_reply_err(change->park.req, -rc);
}

struct members_call {
    struct group_call call; /* first */
    struct vnode *dir;      /* alive until the request is answered */
};

/* What its coordinator says of the group: it goes if nobody is in it, and nobody comes meanwhile. */
static void answer_members(struct group_call *call, int rc)
{
    fuse_req_t req = call->park.req;
    struct members_call *members = (struct members_call *)call;
    if (rc == 0 && call->op.described[0].members > 0)
        rc = -EBUSY;
    if (rc != 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    struct change *change = new_name_change(req, members->dir, call->group, answer_rmdir);
    if (change != NULL)
        change_begun(change, node_delete_group(session_of(req)->node, &change->op, call->group, call->op.group_id));
}

static void begin_rmdir_group(fuse_req_t req, struct vnode *dir, const char *name)
{
    struct group_call *call = group_call_new(req, sizeof(struct members_call), answer_members);
    if (call == NULL)
        return;
    ((struct members_call *)call)->dir = dir;
    group_call_begin(call, GROUP_SEAL, name, NULL, -1);
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);

static void run_rmdir(const struct fence_request *request)
{
    do_rmdir(request->req, request->ino, request->name);
}

/* What goes with all that it holds waits for no more of it. */
static bool rmdir_fenced(struct session *session, struct topic *topic, const struct fence_request *request)
{
    struct topic_config config;
    topic_config(topic, &config);
    return !config.delete_topic_enable && ops_topic_fenced(session, topic, request);
}

static void begin_rmdir_topic(fuse_req_t req, struct vnode *dir, const char *name)
{
    struct session *session = session_of(req);
    struct fence_request request = {.req = req, .ino = dir->id, .name = name, .run = run_rmdir};
    struct topic *topic = node_topic(session->node, name);
    bool fenced = topic != NULL && rmdir_fenced(session, topic, &request);
    if (topic != NULL)
        topic_unref(topic);
    struct change *change = fenced ? NULL : new_name_change(req, dir, name, answer_rmdir);
    if (change != NULL)
        change_begun(change, node_delete_topic(session->node, &change->op, name));
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct vnode *dir = ops_vnode(req, parent);
    if (dir == NULL)
        return;
    bool is_group = dir->key.kind == VNODE_GROUPS_DIR;
    if ((dir->key.kind != VNODE_ROOT && !is_group) || name[0] == '.') {
        fuse_reply_err(req, EPERM);
        return;
    }
    if (is_group)
        begin_rmdir_group(req, dir, name);
    else
        begin_rmdir_topic(req, dir, name);
}

static void refuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    (void)name;
    if (!ops_outside_unlink(req, parent))
        fuse_reply_err(req, EPERM);
}

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    (void)mode, (void)rdev;
    if (!ops_outside_make(req, parent, name))
        fuse_reply_err(req, EPERM);
}

static void refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
    (void)link, (void)parent, (void)name;
    fuse_reply_err(req, EPERM);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                          const char *newname, unsigned int flags)
{
    (void)parent, (void)name, (void)newparent, (void)newname, (void)flags;
    fuse_reply_err(req, EPERM);
}

static void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
    (void)ino, (void)newparent, (void)newname;
    fuse_reply_err(req, EPERM);
}

void ops_tree_register(struct fuse_lowlevel_ops *ops)
{
    ops->mkdir = do_mkdir;
    ops->rmdir = do_rmdir;
    ops->unlink = refuse_unlink;
    ops->mknod = refuse_mknod;
    ops->symlink = refuse_symlink;
    ops->rename = refuse_rename;
    ops->link = refuse_link;
}
