#include "fs/serve/ops.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/statvfs.h>
#include <syslog.h>

#include "fs/base/change.h"
#include "fs/base/limits.h"
#include "fs/base/outside.h"
#include "fs/consume/group_stream.h"
#include "fs/tree/attr.h"
#include "fs/tree/group_attr.h"
#include "fs/tree/group_call.h"
#include "fs/tree/names.h"
#include "fs/tree/pagecache.h"
#include "fs/tree/retry.h"
#include "fs/tree/sharing.h"
#include "fs/tree/status.h"
#include "fs/tree/xattr.h"

struct vnode *ops_vnode(fuse_req_t req, fuse_ino_t ino)
{
    struct vnode *vnode = tree_get(session_of(req)->tree, ino);
    if (!vnode)
        fuse_reply_err(req, ESTALE);
    else
        sharing_look(vnode);
    return vnode;
}

struct vnode *ops_vnode_of(struct session *session, const struct vnode_key *key, pid_t tid)
{
    if (key->kind == VNODE_STATUS)
        return status_vnode(session, key);
    if (vnode_kind_is_stream(key->kind) || key->kind == VNODE_FOLLOW) /* their attributes are an open file's */
        return tree_fresh_vnode(session->tree, key);
    if (!sharing_kind(key))
        return tree_vnode(session->tree, key);
    struct vnode *fresh = retries_lookup(session->retries, tid, key);
    return fresh ? fresh : sharing_lookup(session->tree, key, tid);
}

int ops_entry(fuse_req_t req, struct vnode *vnode, struct fuse_entry_param *entry)
{
    memset(entry, 0, sizeof(*entry));
    int rc = attr_stat(req, vnode, &entry->attr, &entry->attr_timeout);
    if (rc) {
        tree_forget(session_of(req)->tree, vnode->id, 1);
        return rc;
    }
    entry->ino = vnode->id;
    entry->entry_timeout = attr_entry_timeout(vnode);
    return 0;
}

bool ops_pfile_fenced(struct session *session, struct pfile *pfile, const struct fence_request *request)
{
    return fence_wait(pfile->fence, session, request) ||
           (pfile->any && fence_wait(pfile->any->fence, session, request));
}

bool ops_fenced(struct vnode *vnode, const struct fence_request *request)
{
    struct session *session = session_of(request->req);
    if (atomic_load_explicit(&fence_all_raised, memory_order_acquire) == 0 || !vnode->pfile ||
        fuse_req_ctx(request->req)->pid == outside_pid(session->outside))
        return false;
    return ops_pfile_fenced(session, vnode->pfile, request);
}

bool ops_look_fenced(struct vnode *vnode, const struct fence_request *request)
{
    struct session *session = session_of(request->req);
    if (!vnode->pfile || fuse_req_ctx(request->req)->pid == outside_pid(session->outside))
        return false;
    pagecache_look(vnode->pfile);
    struct fence *fence = pagecache_fence(vnode->pfile);
    return ops_fenced(vnode, request) || (fence && fence_wait(fence, session, request));
}

/* A request that needs the topic to be empty: behind the closes of all its partitions and of `.any`. */
static bool topic_fenced(struct session *session, struct topic *topic, const struct fence_request *request)
{
    bool fenced = false;
    if (atomic_load_explicit(&fence_all_raised, memory_order_acquire) == 0)
        return false;
    for (int32_t i = -1; !fenced && i < topic_partition_count(topic); i++) {
        struct pfile *pfile = tree_pfile_find(session->tree, topic, i);
        fenced = pfile && fence_wait(pfile->fence, session, request);
        if (pfile)
            tree_pfile_put(session->tree, pfile);
    }
    return fenced;
}

/* ---- FORGET ---- */

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
    tree_forget(session_of(req)->tree, ino, lookups);
    fuse_reply_none(req);
}

static void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        tree_forget(session_of(req)->tree, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

/* ---- attributes ---- */

static void reply_attr(fuse_req_t req, struct vnode *vnode)
{
    struct stat st;
    double timeout;
    int rc = attr_stat(req, vnode, &st, &timeout);
    if (rc)
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
    if (vnode && !ops_status_asked(vnode, &request) && !ops_look_fenced(vnode, &request))
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
    if (to_set & FUSE_SET_ATTR_SIZE)
        return -EPERM; /* truncation */
    if (to_set & FUSE_SET_ATTR_UID)
        set |= ATTR_UID;
    if (to_set & FUSE_SET_ATTR_GID)
        set |= ATTR_GID;
    if (to_set & FUSE_SET_ATTR_MODE) {
        set |= allowed & (ATTR_DIR_MODE | ATTR_FILE_MODE);
        attr->dir_mode = st->st_mode & 07777;
        attr->file_mode = st->st_mode & 07777;
        if (!set || !(allowed & (ATTR_DIR_MODE | ATTR_FILE_MODE)))
            return -EPERM;
        if (vnode->key.kind == VNODE_GROUP)
            attr->dir_mode = group_mode(attr->dir_mode);
    }
    if (set & ~allowed || (set && vnode->topic && topic_internal(vnode->topic)))
        return -EPERM;
    return (int)set; /* times: kept by the log itself */
}

struct attr_change {
    struct change change; /* first */
    struct vnode *vnode;  /* alive until the request is answered */
};

static void answer_setattr(struct change *change, int rc)
{
    fuse_req_t req = change->park.req;
    if (rc) {
        log_line(LOG_ERR, "chmod or chown: %s", change->op.e.text);
        fuse_reply_err(req, -rc);
    } else {
        reply_attr(req, ((struct attr_change *)change)->vnode);
    }
}

static int begin_setattr(struct node *node, struct change *change, const struct vnode *vnode,
                         const struct tree_attr *attr, unsigned set)
{
    if (vnode->key.kind == VNODE_GROUPS_DIR || vnode->key.kind == VNODE_GROUP)
        return node_set_group_attr(node, &change->op, vnode->group ? node_group_name(vnode->group) : NULL, attr, set);
    return node_set_attr(node, &change->op, vnode->topic ? topic_name(vnode->topic) : NULL, attr, set);
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
 * same file, or on another mount, that may have changed. chown by an owner gives his file to a group that he is in. */
static int check_setattr(fuse_req_t req, const struct vnode *vnode, const struct tree_attr *attr, unsigned set)
{
    uid_t uid = fuse_req_ctx(req)->uid;
    if (vnode_deleted(vnode))
        return -ESTALE;
    if (uid == 0 || only_drops_set_id(vnode, attr, set))
        return 0;
    if (!attr_is_owner(session_of(req), vnode, uid) || ((set & ATTR_UID) && attr->uid != uid))
        return -EPERM;
    return !(set & ATTR_GID) || attr_in_group(req, attr->gid) ? 0 : -EPERM;
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
    (void)fi;
    struct vnode *vnode = ops_vnode(req, ino);
    struct tree_attr attr;
    if (!vnode)
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
    if (rc) {
        fuse_reply_err(req, -rc);
        return;
    }
    struct change *change = change_new(req, sizeof(struct attr_change), answer_setattr);
    if (!change)
        return;
    ((struct attr_change *)change)->vnode = vnode;
    change_begun(change, begin_setattr(session_of(req)->node, change, vnode, &attr, (unsigned)set));
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct statvfs st;
    (void)ino;
    if (fstatvfs(node_data_dirfd(session_of(req)->node), &st)) {
        fuse_reply_err(req, errno);
        return;
    }
    st.f_namemax = NAME_MAX;
    fuse_reply_statfs(req, &st);
}

/* ---- the tree ---- */

struct name_change {
    struct change change; /* first */
    struct vnode *dir;    /* alive until the request is answered */
    char name[NAME_MAX + 1];
};

static struct change *new_name_change(fuse_req_t req, struct vnode *dir, const char *name,
                                      void (*answer)(struct change *change, int rc))
{
    struct change *change = change_new(req, sizeof(struct name_change), answer);
    if (!change)
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
        rc = vnode ? ops_entry(req, vnode, &entry) : -ENOMEM;
    }
    if (rc && rc != -EEXIST)
        log_line(LOG_NOTICE, "mkdir %s: %s", name, change->op.e.text[0] ? change->op.e.text : strerror(-rc));
    if (rc)
        fuse_reply_err(req, -rc);
    else if (fuse_reply_entry(req, &entry) == -ENOENT)
        tree_forget(session->tree, entry.ino, 1);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct session *session = session_of(req);
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct vnode *dir = ops_vnode(req, parent);
    if (!dir)
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
    if (!change)
        return;
    if (is_group)
        attr.dir_mode = group_mode(attr.dir_mode);
    change_begun(change, (is_group ? node_create_group : node_create_topic)(session->node, &change->op, name, &attr));
}

static void answer_rmdir(struct change *change, int rc)
{
    if (rc && rc != -ENOTEMPTY)
        log_line(LOG_ERR, "rmdir %s: %s", ((struct name_change *)change)->name, change->op.e.text);
    fuse_reply_err(change->park.req, -rc);
}

struct members_call {
    struct group_call call; /* first */
    struct vnode *dir;      /* alive until the request is answered */
};

/* What its coordinator says of the group: it goes if nobody is in it. */
static void answer_members(struct group_call *call, int rc)
{
    fuse_req_t req = call->park.req;
    struct members_call *members = (struct members_call *)call;
    if (rc == 0 && call->op.stale)
        rc = -ETIMEDOUT; /* who was there last may not be all who are */
    if (rc == 0 && call->op.described[0].members > 0)
        rc = -EBUSY;
    if (rc) {
        fuse_reply_err(req, -rc);
        return;
    }
    struct change *change = new_name_change(req, members->dir, call->group, answer_rmdir);
    if (change)
        change_begun(change, node_delete_group(session_of(req)->node, &change->op, call->group));
}

static void begin_rmdir_group(fuse_req_t req, struct vnode *dir, const char *name)
{
    struct group_call *call = group_call_new(req, sizeof(struct members_call), answer_members);
    if (!call)
        return;
    ((struct members_call *)call)->dir = dir;
    group_call_begin(call, GROUP_ASK_GROUP, name, NULL, -1);
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);

static void run_rmdir(const struct fence_request *request)
{
    do_rmdir(request->req, request->ino, request->name);
}

static void begin_rmdir_topic(fuse_req_t req, struct vnode *dir, const char *name)
{
    struct session *session = session_of(req);
    struct fence_request request = {.req = req, .ino = dir->id, .name = name, .run = run_rmdir};
    struct topic *topic = node_topic(session->node, name);
    bool fenced = topic && topic_fenced(session, topic, &request);
    if (topic)
        topic_unref(topic);
    struct change *change = fenced ? NULL : new_name_change(req, dir, name, answer_rmdir);
    if (change)
        change_begun(change, node_delete_topic(session->node, &change->op, name));
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct vnode *dir = ops_vnode(req, parent);
    if (!dir)
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
    if (!ops_outside_mknod(req, parent, name))
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

/* ---- extended attributes ---- */

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
    if (vnode && vnode_kind_is_stream(vnode->key.kind))
        group_stream_getxattr(req, vnode, name, size);
    else if (vnode && !(of_log && ops_status_asked(vnode, &request)) && !ops_fenced(vnode, &request))
        xattr_get(req, vnode, name, size);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (vnode && vnode_kind_is_stream(vnode->key.kind))
        group_stream_listxattr(req, vnode, size);
    else if (vnode)
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
           topic_fenced(session_of(request->req), vnode->topic, request);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    struct vnode *vnode = ops_vnode(req, ino);
    struct fence_request request = {
        .req = req, .ino = ino, .name = name, .data = value, .size = size, .arg = flags, .run = run_setxattr};
    if (vnode && framing_fenced(vnode, &request))
        return;
    if (vnode && vnode_kind_is_stream(vnode->key.kind))
        group_stream_setxattr(req, vnode, name, value, size);
    else if (vnode)
        xattr_set(req, vnode, name, value, size, flags);
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct vnode *vnode = ops_vnode(req, ino);
    struct fence_request request = {.req = req, .ino = ino, .name = name, .run = run_removexattr};
    if (vnode && framing_fenced(vnode, &request))
        return;
    if (vnode && vnode_kind_is_stream(vnode->key.kind))
        group_stream_removexattr(req, vnode, name);
    else if (vnode)
        xattr_remove(req, vnode, name);
}

/* ---- INIT ---- */

static void do_init(void *userdata, struct fuse_conn_info *conn)
{
    struct session *session = userdata;
    conn->max_write = LIMIT_REQUEST_BYTES;
    conn->max_background = 65535; /* a RELEASE is not to wait in the kernel's queue (fence.h) */
    conn->congestion_threshold = 65535;
    if (conn->capable & FUSE_CAP_SPLICE_WRITE)
        conn->want |= FUSE_CAP_SPLICE_WRITE;
    conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ | FUSE_CAP_ASYNC_DIO);
    if (session->ready)
        session->ready(session->ready_arg);
}

static struct fuse_lowlevel_ops table;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void)
{
    table = (struct fuse_lowlevel_ops){
        .init = do_init,
        .forget = do_forget,
        .forget_multi = do_forget_multi,
        .getattr = do_getattr,
        .setattr = do_setattr,
        .statfs = do_statfs,
        .mkdir = do_mkdir,
        .rmdir = do_rmdir,
        .unlink = refuse_unlink,
        .mknod = refuse_mknod,
        .symlink = refuse_symlink,
        .rename = refuse_rename,
        .link = refuse_link,
        .getxattr = do_getxattr,
        .listxattr = do_listxattr,
        .setxattr = do_setxattr,
        .removexattr = do_removexattr,
    };
    ops_lookup_register(&table);
    ops_file_register(&table);
    ops_dir_register(&table);
    ops_lock_register(&table);
}

const struct fuse_lowlevel_ops *ops_table(void)
{
    pthread_once(&table_once, fill_table);
    return &table;
}
