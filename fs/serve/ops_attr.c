/* fs/serve/ops_attr.c: GETATTR, SETATTR, STATFS. */
#include <errno.h>
#include <limits.h>
#include <sys/statvfs.h>
#include <syslog.h>

#include "fs/base/change.h"
#include "fs/serve/ops.h"
#include "fs/tree/attr.h"
#include "fs/tree/group_attr.h"

static void reply_attr(fuse_req_t req, struct vnode *vnode)
{
    struct stat st;
    double timeout;
    int rc = attr_stat(req, vnode, &st, &timeout);
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        fuse_reply_attr(req, &st, timeout);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

static void run_getattr(const struct fence_request *request)
{
    do_getattr(request->req, request->ino, NULL);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    struct vnode *vnode = ops_vnode(req, ino);
    struct fence_request request = {.req = req, .ino = ino, .run = run_getattr};
    if (vnode != NULL && !ops_status_asked(vnode, &request) && !ops_look_fenced(vnode, &request))
        reply_attr(req, vnode);
}

/* What chmod and chown of this vnode change; 0: they are not allowed. */
static unsigned changeable(const struct vnode *vnode)
{
    switch (vnode->key.kind) {
    case VNODE_ROOT:
    case VNODE_TOPIC:
    case VNODE_GROUPS_DIR:
    case VNODE_GROUP:
        return ATTR_UID | ATTR_GID | ATTR_DIR_MODE;
    case VNODE_PARTITION:
        return vnode_addressed(vnode) ? 0 : ATTR_UID | ATTR_GID | ATTR_FILE_MODE;
    default:
        return 0;
    }
}

/* What SETATTR asks for, as attributes and ATTR_ bits. 0: nothing is to be changed by a command; a negative errno. */
static int wanted_attr(const struct vnode *vnode, const struct stat *st, int to_set, struct tree_attr *attr)
{
    unsigned set = 0, allowed = changeable(vnode);
    *attr = (struct tree_attr){.uid = st->st_uid, .gid = st->st_gid};
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0)
        return -EPERM; /* truncation */
    if ((to_set & FUSE_SET_ATTR_UID) != 0)
        set |= ATTR_UID;
    if ((to_set & FUSE_SET_ATTR_GID) != 0)
        set |= ATTR_GID;
    if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
        set |= allowed & (ATTR_DIR_MODE | ATTR_FILE_MODE);
        attr->dir_mode = st->st_mode & 07777;
        attr->file_mode = st->st_mode & 07777;
        if (set == 0 || (allowed & (ATTR_DIR_MODE | ATTR_FILE_MODE)) == 0)
            return -EPERM;
        if (vnode->key.kind == VNODE_GROUP)
            attr->dir_mode = group_mode(attr->dir_mode);
    }
    if ((set & ~allowed) != 0 || (set != 0 && vnode->topic != NULL && topic_internal(vnode->topic)))
        return -EPERM;
    return (int)set; /* times: kept by the log itself */
}

struct attr_change {
    struct change change; /* first */
    struct vnode *vnode;  /* alive until the request is answered */
};

/* Below MOUNT; a topic's for all of it. */
static void log_refused(const struct vnode *vnode, int rc, const char *reason)
{
    bool is_groups = vnode->key.kind == VNODE_GROUPS_DIR || vnode->group != NULL;
    const char *name = vnode->group != NULL   ? node_group_name(vnode->group)
                       : vnode->topic != NULL ? topic_name(vnode->topic)
                                              : "";
    log_line(rc == -EPERM ? LOG_NOTICE : LOG_ERR, "chmod or chown of %s%s: %s", is_groups ? "/.groups/" : "/", name,
             reason);
}

static void answer_setattr(struct change *change, int rc)
{
    fuse_req_t req = change->park.req;
    struct vnode *vnode = ((struct attr_change *)change)->vnode;
    if (rc != 0) {
        log_refused(vnode, rc, change->op.e.text);
        fuse_reply_err(req, -rc);
    } else {
        reply_attr(req, vnode);
    }
}

static int begin_setattr(struct node *node, struct change *change, const struct vnode *vnode,
                         const struct tree_attr *attr, unsigned set)
{
    if (vnode->key.kind == VNODE_GROUPS_DIR || vnode->key.kind == VNODE_GROUP) {
        return node_set_group_attr(node, &change->op, vnode->group != NULL ? node_group_name(vnode->group) : NULL, attr,
                                   set);
    }
    return node_set_attr(node, &change->op, vnode->topic != NULL ? topic_name(vnode->topic) : NULL, attr, set);
}

/* By whomever: the kernel takes the set-id bits away where somebody writes. */
static bool only_drops_set_id(const struct vnode *vnode, const struct tree_attr *attr, unsigned set)
{
    struct tree_attr now;
    if (set != ATTR_FILE_MODE)
        return false;
    topic_attr(vnode->topic, &now);
    return (attr->file_mode & ~now.file_mode) == 0 && (now.file_mode & ~attr->file_mode & 01777) == 0;
}

/* Whether the caller may, by what is so now: the kernel judges by what it was told last, and by another look-up of the
 * same file, or on another mount, that may have changed. chown by an owner gives his file to a group that he is in, or
 * leaves it to the one that has it. */
static int check_setattr(fuse_req_t req, const struct vnode *vnode, const struct tree_attr *attr, unsigned set)
{
    uid_t uid = fuse_req_ctx(req)->uid;
    struct tree_attr now;
    if (vnode_deleted(vnode))
        return -ESTALE;
    if (uid == 0 || only_drops_set_id(vnode, attr, set))
        return 0;
    attr_now(session_of(req), vnode, &now);
    if (uid != now.uid || ((set & ATTR_UID) != 0 && attr->uid != uid))
        return -EPERM;
    return (set & ATTR_GID) == 0 || attr->gid == now.gid || attr_in_group(req, attr->gid) ? 0 : -EPERM;
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
    (void)fi;
    struct vnode *vnode = ops_vnode(req, ino);
    struct tree_attr attr;
    if (vnode == NULL)
        return;
    int set = wanted_attr(vnode, st, to_set, &attr);
    if (set < 0) {
        fuse_reply_err(req, -set);
        return;
    }
    if (set == 0) {
        reply_attr(req, vnode);
        return;
    }
    int rc = check_setattr(req, vnode, &attr, (unsigned)set);
    if (rc != 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    struct change *change = change_new(req, sizeof(struct attr_change), answer_setattr);
    if (change == NULL)
        return;
    ((struct attr_change *)change)->vnode = vnode;
    change_begun(change, begin_setattr(session_of(req)->node, change, vnode, &attr, (unsigned)set));
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct statvfs st;
    (void)ino;
    if (fstatvfs(node_data_dirfd(session_of(req)->node), &st) != 0) {
        fuse_reply_err(req, errno);
        return;
    }
    st.f_namemax = NAME_MAX;
    fuse_reply_statfs(req, &st);
}

void ops_attr_register(struct fuse_lowlevel_ops *ops)
{
    ops->getattr = do_getattr;
    ops->setattr = do_setattr;
    ops->statfs = do_statfs;
}
