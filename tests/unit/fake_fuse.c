#include "tests/unit/fake_fuse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void fake_fuse_request(struct fuse_req *req, pid_t tid)
{
    memset(req, 0, sizeof *req);
    pthread_mutex_init(&req->lock, NULL);
    req->ctx.pid = tid;
}

void fake_fuse_interrupt(struct fuse_req *req)
{
    pthread_mutex_lock(&req->lock);
    if (req->interrupt != NULL)
        req->interrupt(req, req->interrupt_arg);
    pthread_mutex_unlock(&req->lock);
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
    return &req->ctx;
}

int fuse_req_getgroups(fuse_req_t req, int size, gid_t list[])
{
    for (int i = 0; i < req->group_count && i < size; i++)
        list[i] = req->groups[i];
    return req->group_count;
}

void *fuse_req_userdata(fuse_req_t req)
{
    return req->userdata;
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

int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
    req->ino = entry->ino;
    atomic_fetch_add(&req->answers, 1);
    return 0;
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
    req->fh = fi->fh;
    atomic_fetch_add(&req->answers, 1);
    return 0;
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
    atomic_store(&req->written, count);
    atomic_fetch_add(&req->answers, 1);
    return 0;
}

int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
    req->bytes = malloc(size + 1);
    assert(req->bytes != NULL);
    if (size > 0)
        memcpy(req->bytes, buf, size);
    req->bytes[size] = '\0';
    req->len = size;
    atomic_fetch_add(&req->answers, 1);
    return 0;
}
