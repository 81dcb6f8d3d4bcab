#include "tests/unit/fake_fuse.h"

#include <string.h>

void fake_fuse_request(struct fuse_req *req, pid_t tid)
{
    memset(req, 0, sizeof(*req));
    pthread_mutex_init(&req->lock, NULL);
    req->ctx.pid = tid;
}

void fake_fuse_interrupt(struct fuse_req *req)
{
    pthread_mutex_lock(&req->lock);
    if (req->interrupt)
        req->interrupt(req, req->interrupt_arg);
    pthread_mutex_unlock(&req->lock);
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
    return &req->ctx;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
    pthread_mutex_lock(&req->lock);
    req->interrupt = func;
    req->interrupt_arg = data;
    pthread_mutex_unlock(&req->lock);
}

int fuse_reply_err(fuse_req_t req, int err)
{
    atomic_store(&req->err, err);
    atomic_fetch_add(&req->answers, 1);
    return 0;
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
    atomic_store(&req->written, count);
    atomic_fetch_add(&req->answers, 1);
    return 0;
}
