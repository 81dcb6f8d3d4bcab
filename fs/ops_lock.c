/* fs/ops_lock.c: fcntl(2) and flock(2): requests to locks.h, parked while somebody else holds the lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "fs/container.h"
#include "fs/ops.h"

struct lock_op {
    struct park park;
    struct locks_request request;
};

/* The table of what was opened: a partition's is shared by all its nodes. NULL: no memory. */
static struct locks *table_of(struct vnode *vnode)
{
    if (vnode->pfile && (vnode->key.kind == VNODE_PARTITION || vnode->key.kind == VNODE_ANY))
        return vnode->pfile->locks;
    struct locks *locks = atomic_load(&vnode->locks), *none = NULL;
    if (locks)
        return locks;
    locks = locks_new();
    if (locks && !atomic_compare_exchange_strong(&vnode->locks, &none, locks)) {
        locks_free(locks);
        return none;
    }
    return locks;
}

static bool op_cancel(struct park *park)
{
    return locks_cancel(&container_of(park, struct lock_op, park)->request);
}

static void op_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void op_free(struct park *park)
{
    free(container_of(park, struct lock_op, park));
}

static void granted(struct locks_request *request, int rc)
{
    struct lock_op *op = container_of(request, struct lock_op, request);
    park_answer(&op->park);
    fuse_reply_err(op->park.req, -rc);
    park_unref(&op->park);
}

static void set_lock(fuse_req_t req, struct vnode *vnode, const struct locks_request *request, bool wait)
{
    struct locks *locks = table_of(vnode);
    struct lock_op *op = calloc(1, sizeof(*op));
    if (!locks || !op) {
        free(op);
        fuse_reply_err(req, ENOLCK);
        return;
    }
    op->request = *request;
    op->request.granted = granted;
    op->park.cancel = op_cancel;
    op->park.aborted = op_aborted;
    op->park.free = op_free;
    if (!wait) {
        int rc = locks_set(locks, &op->request, false);
        fuse_reply_err(req, rc < 0 ? -rc : 0);
        free(op);
        return;
    }
    park_begin(&op->park, session_of(req), req);
    int rc = locks_set(locks, &op->request, true);
    if (rc)
        granted(&op->request, rc < 0 ? rc : 0);
    park_settle(&op->park);
}

static struct locks_request posix_request(fuse_req_t req, const struct fuse_file_info *fi, const struct flock *lock)
{
    return (struct locks_request){
        .kind = LOCKS_POSIX,
        .owner = fi->lock_owner,
        .pid = lock->l_pid ? lock->l_pid : fuse_req_ctx(req)->pid,
        .type = lock->l_type,
        .start = lock->l_start,
        .end = lock->l_len ? lock->l_start + lock->l_len - 1 : INT64_MAX,
    };
}

static void do_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (!vnode)
        return;
    struct locks *locks = table_of(vnode);
    if (!locks) {
        fuse_reply_err(req, ENOLCK);
        return;
    }
    struct locks_request request = posix_request(req, fi, lock);
    locks_get(locks, &request);
    lock->l_type = (short)request.type;
    lock->l_whence = SEEK_SET;
    lock->l_start = request.start;
    lock->l_len = request.end == INT64_MAX ? 0 : request.end - request.start + 1;
    lock->l_pid = request.pid;
    fuse_reply_lock(req, lock);
}

static void do_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (!vnode)
        return;
    struct locks_request request = posix_request(req, fi, lock);
    set_lock(req, vnode, &request, sleep);
}

static void do_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (!vnode)
        return;
    struct locks_request request = {
        .kind = LOCKS_FLOCK,
        .owner = fi->lock_owner,
        .pid = fuse_req_ctx(req)->pid,
        .type = op & LOCK_SH ? F_RDLCK : op & LOCK_EX ? F_WRLCK : F_UNLCK,
        .end = INT64_MAX,
    };
    set_lock(req, vnode, &request, !(op & LOCK_NB));
}

void ops_lock_register(struct fuse_lowlevel_ops *ops)
{
    ops->getlk = do_getlk;
    ops->setlk = do_setlk;
    ops->flock = do_flock;
}
