/* fs/serve/ops_lock.c: fcntl(2) and flock(2): requests to locks.h, parked while somebody else holds the lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "engine/base/container.h"
#include "fs/serve/ops.h"

struct lock_op {
    struct park park;
    struct locks_request request;
};

/* The table of what was opened: a partition's is that of its addresses and views, too. NULL: nothing was ever locked.
 */
static struct locks *known_table_of(struct vnode *vnode)
{
    switch (vnode->key.kind) {
    case VNODE_PARTITION:
    case VNODE_ANY:
    case VNODE_FOLLOW:
    case VNODE_JSON:
        return vnode->pfile->locks;
    default:
        return atomic_load(&vnode->locks);
    }
}

/* NULL: no memory. */
static struct locks *table_of(struct vnode *vnode)
{
    struct locks *locks = known_table_of(vnode), *none = NULL;
    if (locks != NULL)
        return locks;
    locks = locks_new();
    if (locks != NULL && !atomic_compare_exchange_strong(&vnode->locks, &none, locks)) {
        locks_free(locks);
        return none;
    }
    return locks;
}

static bool op_cancel(struct park *park)
{
    return locks_cancel(&CONTAINER_OF(park, struct lock_op, park)->request);
}

static void op_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void op_free(struct park *park)
{
    free(CONTAINER_OF(park, struct lock_op, park));
}

static void granted(struct locks_request *request, int rc)
{
    struct lock_op *op = CONTAINER_OF(request, struct lock_op, request);
    park_answer(&op->park);
    fuse_reply_err(op->park.req, -rc);
    park_unref(&op->park);
}

static void set_lock(fuse_req_t req, struct vnode *vnode, const struct locks_request *request, bool wait)
{
    struct locks *locks = table_of(vnode);
    struct lock_op *op = calloc(1, sizeof *op);
    if (locks == NULL || op == NULL) {
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
    if (rc != 0)
        granted(&op->request, rc < 0 ? rc : 0);
    park_settle(&op->park);
}

static struct locks_request posix_request(fuse_req_t req, const struct fuse_file_info *fi, const struct flock *lock)
{
    return (struct locks_request){
        .kind = LOCKS_POSIX,
        .owner = fi->lock_owner,
        .pid = lock->l_pid != 0 ? lock->l_pid : fuse_req_ctx(req)->pid,
        .type = lock->l_type,
        .start = lock->l_start,
        .end = lock->l_len != 0 ? lock->l_start + lock->l_len - 1 : INT64_MAX,
    };
}

static void do_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (vnode == NULL)
        return;
    struct locks *locks = table_of(vnode);
    if (locks == NULL) {
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

/* Remembers who locked through an open file. -ENOMEM. */
static int note_owner(struct handle *handle, const struct locks_request *request)
{
    struct held_locks *held = &handle->held;
    int rc = 0;
    if (request->type == F_UNLCK)
        return 0;
    pthread_mutex_lock(&handle->lock);
    size_t i = 0;
    if (request->kind == LOCKS_FLOCK) {
        held->flocked = true;
        held->flock_owner = request->owner;
        i = SIZE_MAX;
    }
    while (i < held->owner_count && held->owners[i] != request->owner)
        i++;
    if (i == held->owner_count) {
        uint64_t *owners = realloc(held->owners, (i + 1) * sizeof *owners);
        if (owners != NULL) {
            owners[i] = request->owner;
            held->owners = owners;
            held->owner_count++;
        }
        rc = owners != NULL ? 0 : -ENOLCK;
    }
    pthread_mutex_unlock(&handle->lock);
    return rc;
}

void ops_lock_flush(struct handle *handle, uint64_t owner)
{
    struct held_locks *held = &handle->held;
    pthread_mutex_lock(&handle->lock);
    bool others = held->flocked;
    for (size_t i = 0; i < held->owner_count; i++)
        others |= held->owners[i] != owner;
    pthread_mutex_unlock(&handle->lock);
    struct locks *locks = known_table_of(handle->vnode);
    /* fcntl(2): a process loses its locks with any close of the file, through whichever open file they were taken. */
    if (locks != NULL && locks_any(locks))
        locks_release_owner(locks, LOCKS_POSIX, owner);
    if (others && handle->pfile != NULL)
        fence_raise(handle->pfile->lock_fence, &held->post);
}

void ops_lock_release(struct handle *handle)
{
    struct held_locks *held = &handle->held;
    struct locks *locks = held->flocked || held->owner_count != 0 ? table_of(handle->vnode) : NULL;
    for (size_t i = 0; locks != NULL && i < held->owner_count; i++)
        locks_release_owner(locks, LOCKS_POSIX, held->owners[i]);
    if (locks != NULL && held->flocked)
        locks_release_owner(locks, LOCKS_FLOCK, held->flock_owner);
    if (handle->pfile != NULL)
        fence_lower(handle->pfile->lock_fence, &held->post);
}

/* A lock wanted right after a close waits for the RELEASE that frees it. */
static bool fenced(fuse_req_t req, struct vnode *vnode, const struct fuse_file_info *fi, const struct flock *lock,
                   int arg, void (*run)(const struct fence_request *request))
{
    if (atomic_load_explicit(&fence_all_raised, memory_order_acquire) == 0 || vnode->pfile == NULL)
        return false;
    struct fence_request request = {.req = req, .ino = vnode->id, .fi = *fi, .has_fi = true, .arg = arg, .run = run};
    if (lock != NULL)
        request.lock = *lock;
    return fence_wait(vnode->pfile->lock_fence, session_of(req), &request);
}

static void do_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep);

static void run_setlk(const struct fence_request *request)
{
    struct fuse_file_info fi = request->fi;
    struct flock lock = request->lock;
    do_setlk(request->req, request->ino, &fi, &lock, request->arg);
}

static void do_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (vnode == NULL || fenced(req, vnode, fi, lock, sleep, run_setlk))
        return;
    struct locks_request request = posix_request(req, fi, lock);
    int rc = note_owner(handle_of(fi), &request);
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        set_lock(req, vnode, &request, sleep != 0);
}

static void do_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);

static void run_flock(const struct fence_request *request)
{
    struct fuse_file_info fi = request->fi;
    do_flock(request->req, request->ino, &fi, request->arg);
}

static void do_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (vnode == NULL || fenced(req, vnode, fi, NULL, op, run_flock))
        return;
    struct locks_request request = {
        .kind = LOCKS_FLOCK,
        .owner = fi->lock_owner,
        .pid = fuse_req_ctx(req)->pid,
        .type = (op & LOCK_SH) != 0   ? F_RDLCK
                : (op & LOCK_EX) != 0 ? F_WRLCK
                                      : F_UNLCK,
        .end = INT64_MAX,
    };
    int rc = note_owner(handle_of(fi), &request);
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        set_lock(req, vnode, &request, (op & LOCK_NB) == 0);
}

void ops_lock_register(struct fuse_lowlevel_ops *ops)
{
    ops->getlk = do_getlk;
    ops->setlk = do_setlk;
    ops->flock = do_flock;
}
