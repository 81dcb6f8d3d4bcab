/* fs/serve/ops_file.c: open files: OPEN decides what a file may be opened for; the rest goes to who knows the kind. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "engine/base/container.h"
#include "fs/base/change.h"
#include "fs/base/limits.h"
#include "fs/base/outside.h"
#include "fs/base/process.h"
#include "fs/consume/consume.h"
#include "fs/consume/follow.h"
#include "fs/consume/group_stream.h"
#include "fs/consume/json_view.h"
#include "fs/consume/reader.h"
#include "fs/consume/reading.h"
#include "fs/produce/produce.h"
#include "fs/produce/producer.h"
#include "fs/produce/sync.h"
#include "fs/serve/ops.h"
#include "fs/tree/address.h"
#include "fs/tree/attr.h"
#include "fs/tree/names.h"
#include "fs/tree/pagecache.h"
#include "fs/tree/retry.h"
#include "fs/tree/sharing.h"

/* ---- OPEN ---- */

/* May it be opened like this? O_TRUNC asks for w, of an open for reading, too. */
static int check_flags(const struct vnode *vnode, int flags)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
    switch (vnode->key.kind) {
    case VNODE_PARTITION:
        if (vnode_addressed(vnode))
            return writes ? -EACCES : 0;
        if ((flags & O_TRUNC) != 0)
            return -EPERM;
        return (flags & O_ACCMODE) == O_WRONLY && (flags & O_APPEND) == 0 ? -EPERM : 0;
    case VNODE_ANY:
        if ((flags & O_ACCMODE) != O_WRONLY)
            return -EACCES;
        return (flags & O_TRUNC) != 0 || (flags & O_APPEND) == 0 ? -EPERM : 0;
    default:
        return writes ? -EACCES : 0;
    }
}

/* What a segment's file is by now. -ENOENT, -ESTALE: it is gone, or another one has its name. */
static int find_file(const struct vnode *vnode, struct log_file *file)
{
    struct err e = {0};
    int rc = partition_file_find(vnode->pfile->part, vnode->key.start, (enum segment_file)vnode->key.extra, file, &e);
    return rc == 0 && file->generation != vnode->key.generation ? -ENOENT : rc;
}

/* A closed segment goes to the kernel, if all of it has been checked, or its pages are kept. An active one never comes
 * out of the kernel's cache: that believes a new size before it drops the page that ended at the old one, and shows
 * NULs to who reads in between. */
static int open_segment(struct session *session, struct handle *handle, struct fuse_file_info *fi)
{
    struct vnode *vnode = handle->vnode;
    struct log_file file;
    struct err e = {0};
    int rc = find_file(vnode, &file);
    if (rc == 0)
        rc = partition_file_open(vnode->pfile->part, &file, &handle->fd, &handle->unchecked, &e);
    if (rc != 0)
        return rc;
    bool whole = !file.active && handle->unchecked == NULL;
    handle->backing_id = passthrough_open(&vnode->pass, session->fuse, handle->fd, whole);
    fi->keep_cache = !file.active;
    fi->direct_io = file.active;
    return 0;
}

static int open_kind(struct session *session, struct handle *handle, struct fuse_file_info *fi, pid_t tid)
{
    const struct vnode *vnode = handle->vnode;
    switch (vnode->key.kind) {
    case VNODE_JSON:
    case VNODE_FOLLOW:
        fi->direct_io = 1;
        return reader_open(handle);
    case VNODE_GROUP_STREAM:
    case VNODE_GROUP_JSON: {
        fi->direct_io = 1;
        int rc = reader_open(handle);
        return rc != 0 ? rc : group_stream_open(handle, process_of(tid));
    }
    case VNODE_SEGMENT_FILE:
        return open_segment(session, handle, fi);
    case VNODE_STATUS:
        fi->keep_cache = 1; /* its pages never change */
        return 0;
    case VNODE_PARTITION: {
        fi->direct_io = 1;
        int rc = (fi->flags & O_ACCMODE) == O_WRONLY ? 0 : reader_open(handle);
        return rc != 0 ? rc : producer_open(handle);
    }
    case VNODE_ANY:
        fi->direct_io = 1;
        return producer_open(handle);
    default:
        fi->direct_io = 1;
        return 0;
    }
}

static void abandon(struct handle *handle)
{
    if (!handle->outside)
        atomic_fetch_sub(&handle->vnode->opens, 1);
    if (handle->appends)
        sharing_leave(handle->vnode);
    if (handle->unchecked != NULL)
        log_file_checked(handle->unchecked);
    if (handle->fd >= 0)
        passthrough_release(&handle->vnode->pass, handle->session->fuse);
    handle_close(handle);
}

static bool writes(const struct fuse_file_info *fi)
{
    return (fi->flags & O_ACCMODE) != O_RDONLY;
}

/* An open for writing gets the node. false: answer ESTALE, so that it gets another one. */
static bool take_node(struct session *session, struct vnode *vnode, pid_t tid)
{
    bool alone = sharing_take(session->tree, vnode, tid);
    if (retries_open(session->retries, tid, vnode, alone))
        return false;
    if (!alone)
        sharing_join(session->tree, vnode);
    return true;
}

/* A handle for an open that was found allowed, and has the node if it writes. NULL: *rc says why not. */
static struct handle *open_handle(struct session *session, struct vnode *vnode, struct fuse_file_info *fi, pid_t tid,
                                  int *rc)
{
    bool outside = tid == outside_pid(session->outside);
    struct handle *handle = handle_new(session, vnode);
    if (handle == NULL) {
        if (writes(fi) && !outside)
            sharing_leave(vnode);
        *rc = -ENOMEM;
        return NULL;
    }
    handle->outside = outside;
    handle->appends = writes(fi) && !outside;
    if (outside)
        fi->noflush = 1;
    else
        atomic_fetch_add(&vnode->opens, 1);
    *rc = open_kind(session, handle, fi, tid);
    if (*rc != 0) {
        abandon(handle);
        return NULL;
    }
    fi->fh = (uintptr_t)handle;
    return handle;
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

static void run_open(const struct fence_request *request)
{
    struct fuse_file_info fi = request->fi;
    do_open(request->req, request->ino, &fi);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    struct vnode *vnode = ops_vnode(req, ino);
    struct fence_request request = {.req = req, .ino = ino, .fi = *fi, .has_fi = true, .run = run_open};
    if (vnode == NULL || ops_fenced(vnode, &request))
        return;
    pid_t tid = fuse_req_ctx(req)->pid;
    bool outside = tid == outside_pid(session->outside);
    int rc = vnode_deleted(vnode) ? -ESTALE : check_flags(vnode, fi->flags);
    if (rc == 0 && writes(fi) && !outside && !take_node(session, vnode, tid))
        rc = -ESTALE;
    struct handle *handle = rc != 0 ? NULL : open_handle(session, vnode, fi, tid, &rc);
    if (handle == NULL)
        fuse_reply_err(req, -rc);
    else if ((handle->backing_id != 0 ? passthrough_reply_open(req, fi->fh, handle->backing_id)
                                      : fuse_reply_open(req, fi)) == -ENOENT)
        abandon(handle);
}

/* ---- CREATE: touch orders/3 ---- */

struct create_change {
    struct change change; /* first */
    struct vnode *dir;    /* alive until the request is answered */
    struct fuse_file_info fi;
    char name[NAME_MAX + 1];
};

/* The number of the partition that CREATE may make; or a negative errno. */
static int32_t creatable(const struct vnode *dir, const char *name, int flags)
{
    int32_t index = dir->key.kind == VNODE_TOPIC ? address_partition(name) : -1;
    if ((flags & O_APPEND) != 0)
        return -ENOENT; /* nothing makes a partition by mistake */
    if (index < 0 || (flags & (O_TRUNC | O_EXCL)) != 0 || topic_internal(dir->topic) ||
        index != topic_partition_count(dir->topic))
        return -EPERM;
    return index;
}

/* Opens what is there by now; what key points to is given back. made: by this request; otherwise by somebody else since
 * the LOOKUP, and this is an open like any other. */
static void open_created(fuse_req_t req, const struct vnode_key *key, struct fuse_file_info *fi, bool made)
{
    struct session *session = session_of(req);
    struct fuse_entry_param entry;
    pid_t tid = fuse_req_ctx(req)->pid;
    bool appends = writes(fi) && sharing_kind(key);
    struct vnode *vnode = appends ? sharing_fresh(session->tree, key, tid) : ops_vnode_of(session, key, tid);
    vnode_key_unref(key);
    int rc = vnode != NULL ? ops_entry(req, vnode, &entry) : -ENOMEM;
    if (rc != 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    if (!made)
        rc = (fi->flags & O_EXCL) != 0 ? -EEXIST : check_flags(vnode, fi->flags);
    if (rc == 0 && appends && !sharing_take(session->tree, vnode, tid))
        sharing_join(session->tree, vnode);
    struct handle *handle = rc != 0 ? NULL : open_handle(session, vnode, fi, tid, &rc);
    bool taken = handle != NULL && fuse_reply_create(req, &entry, fi) != -ENOENT;
    if (handle == NULL)
        fuse_reply_err(req, -rc);
    else if (!taken)
        abandon(handle);
    if (!taken)
        tree_forget(session->tree, entry.ino, 1);
}

static void answer_create(struct change *change, int rc)
{
    struct create_change *create = (struct create_change *)change;
    struct vnode_key key;
    bool made = rc == 0;
    if (rc != 0 && rc != -EEXIST) /* somebody else was first */
        log_line(LOG_ERR, "touch %s/%s: %s", topic_name(create->dir->topic), create->name, change->op.e.text);
    else
        rc = names_resolve(session_of(change->park.req), create->dir, create->name, &key);
    if (rc != 0)
        fuse_reply_err(change->park.req, -rc);
    else
        open_created(change->park.req, &key, &create->fi, made);
}

/* An address, of which LOOKUP has said ENOENT. */
static void place_created(fuse_req_t req, struct vnode *dir, const char *name, struct fuse_file_info *fi,
                          const struct vnode_key *key, int rc)
{
    if (rc == -ENOENT)
        rc = creatable(dir, name, fi->flags);
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        open_created(req, key, fi, false);
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    struct vnode *dir = ops_vnode(req, parent);
    struct vnode_key key;
    (void)mode;
    if (dir == NULL)
        return;
    int rc = names_resolve(session, dir, name, &key);
    if (rc == NAMES_ADDRESS) {
        ops_ask_place(req, dir, name, fi, &key, place_created);
        return;
    }
    if (rc == 0 && key.kind == VNODE_STATUS) {
        fuse_reply_err(req, ESTALE); /* it is found by LOOKUP, which the kernel does again */
        return;
    }
    if (rc == 0) {
        open_created(req, &key, fi, false);
        return;
    }
    int32_t index = rc == -ENOENT ? creatable(dir, name, fi->flags) : rc;
    if (index < 0) {
        fuse_reply_err(req, -index);
        return;
    }
    struct change *change = change_new(req, sizeof(struct create_change), answer_create);
    if (change == NULL)
        return;
    struct create_change *create = (struct create_change *)change;
    create->dir = dir;
    create->fi = *fi;
    strncpy(create->name, name, NAME_MAX);
    change_begun(change, node_create_partitions(session->node, &change->op, topic_name(dir->topic), index + 1));
}

/* ---- READ ---- */

static void read_fd(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner)
{
    struct log_file file;
    uint8_t *buffer = reading_buffer();
    if (size > LIMIT_REQUEST_BYTES)
        size = LIMIT_REQUEST_BYTES;
    /* An active segment ends at the high watermark; a deleted or rewritten one is read as it was. */
    if (find_file(handle->vnode, &file) == 0) {
        if (owner == 0 && file.active) {
            fuse_reply_err(req, EINVAL); /* sendfile, splice or a mapping: as open_segment() says */
            return;
        }
        size = pos >= file.size ? 0 : pos + (int64_t)size > file.size ? (size_t)(file.size - pos) : size;
    }
    struct err e = {0};
    int rc = handle->unchecked != NULL ? log_file_check(handle->unchecked, pos, size, &e) : 0;
    if (rc != 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    ssize_t got = buffer != NULL ? pread(handle->fd, buffer, size, pos) : -1;
    reading_reply(req, handle, pos, buffer, got >= 0 ? got : buffer != NULL ? -errno : -ENOMEM);
}

static void read_text(fuse_req_t req, struct handle *handle, size_t size, int64_t pos)
{
    const struct vnode *vnode = handle->vnode;
    size_t at = pos < (int64_t)vnode->text_len ? (size_t)pos : vnode->text_len;
    size_t left = vnode->text_len - at;
    uint8_t *buffer = reading_buffer(); /* the answer may be the last that is asked, and the text is freed meanwhile */
    size = size < left ? size : left;
    size = size < LIMIT_REQUEST_BYTES ? size : LIMIT_REQUEST_BYTES;
    if (buffer == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    memcpy(buffer, vnode->text + at, size);
    reading_reply(req, handle, pos, buffer, (int64_t)size);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);

static void run_read(const struct fence_request *request)
{
    struct fuse_file_info fi = request->fi;
    do_read(request->req, request->ino, request->size, request->off, &fi);
}

/* Whether a read reaches the end of what there is. */
static bool reaches_end(struct handle *handle, size_t size, off_t off)
{
    if (handle->vnode->key.kind == VNODE_JSON)
        return true;
    return reader_position(handle, off) + (int64_t)size >= partition_high_watermark(handle->pfile->part).position;
}

/* A read at the end waits for a RELEASE that may be on its way. */
static bool read_fenced(fuse_req_t req, struct handle *handle, size_t size, off_t off, const struct fuse_file_info *fi)
{
    if (atomic_load_explicit(&fence_all_raised, memory_order_acquire) == 0 || !reaches_end(handle, size, off))
        return false;
    struct fence_request request = {.req = req, .ino = handle->vnode->id, .size = size, .off = off, .run = run_read};
    request.fi = *fi;
    request.has_fi = true;
    return ops_fenced(handle->vnode, &request);
}

/* So far out that its end, as the partition's position, has no number. */
static bool beyond_all(const struct handle *handle, size_t size, off_t off)
{
    int64_t base = vnode_addressed(handle->vnode) ? handle->vnode->start.position : 0;
    return off > INT64_MAX - base - (int64_t)size;
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct handle *handle = handle_of(fi);
    (void)ino;
    int rc = rereads_read(&handle->rereads, fuse_req_ctx(req)->pid, off, (fi->flags & O_NONBLOCK) != 0);
    if (rc != 0) {
        reading_reply(req, handle, off, NULL, rc < 0 ? rc : 0);
        return;
    }
    switch (handle->vnode->key.kind) {
    case VNODE_PARTITION:
        if (beyond_all(handle, size, off))
            fuse_reply_buf(req, NULL, 0);
        else if (!read_fenced(req, handle, size, off, fi))
            consume_read(req, handle, size, off, fi->lock_owner);
        return;
    case VNODE_FOLLOW:
        follow_read(req, handle, size, off, fi->lock_owner, (fi->flags & O_NONBLOCK) != 0);
        return;
    case VNODE_GROUP_STREAM:
    case VNODE_GROUP_JSON:
        group_stream_read(req, handle, size, off, fi->lock_owner, (fi->flags & O_NONBLOCK) != 0);
        return;
    case VNODE_JSON:
        if (!read_fenced(req, handle, size, off, fi))
            json_view_read(req, handle, size, off, fi->lock_owner);
        return;
    case VNODE_SEGMENT_FILE:
        read_fd(req, handle, size, off, fi->lock_owner);
        return;
    case VNODE_STATUS:
        read_text(req, handle, size, off);
        return;
    default:
        fuse_reply_err(req, EACCES);
    }
}

/* ---- WRITE, FLUSH, RELEASE, FSYNC ---- */

static void run_write(const struct fence_request *request)
{
    produce_write(request->req, handle_of(&request->fi), request->data, request->size, request->fi.flags);
}

static void write_aborted(const struct fence_request *request)
{
    handle_write_over(handle_of(&request->fi));
}

/* Whether a WRITE waits for pages of its node to be dropped. */
static bool write_fenced(fuse_req_t req, struct handle *handle, const char *data, size_t size,
                         const struct fuse_file_info *fi)
{
    pagecache_append(handle->pfile, handle->vnode->id);
    struct fence *fence = pagecache_fence(handle->pfile);
    if (fence == NULL || !fence_is_up(fence))
        return false;
    struct fence_request request = {.req = req, .data = data, .size = size, .fi = *fi, .has_fi = true};
    request.run = run_write;
    request.aborted = write_aborted;
    return fence_wait(fence, handle->session, &request);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    struct handle *handle = handle_of(fi);
    (void)ino, (void)off; /* the offset is the kernel's guess of the end */
    handle_write_begun(handle);
    if (!write_fenced(req, handle, data, size, fi))
        produce_write(req, handle, data, size, fi->flags);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct handle *handle = handle_of(fi);
    (void)ino;
    ops_lock_flush(handle, fi->lock_owner);
    if (handle->appends) {
        produce_flush(req, handle);
    } else {
        handle_written(handle, false);
        fuse_reply_err(req, 0);
    }
}

static void close_handle(struct handle *handle)
{
    ops_lock_release(handle);
    handle_written(handle, true);
    if (handle->appends)
        produce_release(handle);
    if (handle->vnode->key.kind == VNODE_FOLLOW)
        follow_release(handle);
    if (vnode_kind_is_stream(handle->vnode->key.kind))
        group_stream_release(handle);
    abandon(handle);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    close_handle(handle_of(fi));
    fuse_reply_err(req, 0);
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct handle *handle = handle_of(fi);
    (void)ino, (void)datasync;
    if (vnode_deleted(handle->vnode) && handle->vnode->key.kind != VNODE_SEGMENT_FILE)
        fuse_reply_err(req, ESTALE); /* what it wrote, if anything, went with its topic */
    else if (handle->vnode->key.kind == VNODE_PARTITION || handle->vnode->key.kind == VNODE_ANY)
        sync_fsync(req, handle);
    else if (vnode_kind_is_stream(handle->vnode->key.kind))
        group_stream_fsync(req, handle);
    else
        fuse_reply_err(req, 0);
}

/* ---- fallocate -p: DeleteRecords ---- */

struct delete_change {
    struct park park;
    struct delete_records_op op;
    struct handle *handle; /* referenced */
};

static void reply_done(const struct fence_request *request)
{
    fuse_reply_err(request->req, 0);
}

/* What the kernel has of the removed ones is being dropped: it does not show them behind the answer. */
static void reply_deleted(fuse_req_t req, struct handle *handle)
{
    struct fence_request request = {.req = req, .ino = handle->vnode->id, .run = reply_done};
    struct fence *fence = pagecache_fence(handle->pfile);
    if (fence == NULL || !fence_wait(fence, handle->session, &request))
        fuse_reply_err(req, 0);
}

static void delete_over(struct delete_change *change, int rc)
{
    park_answer(&change->park);
    if (rc != 0 && change->op.e.text[0] != '\0')
        log_line(LOG_NOTICE, "DeleteRecords of %s: %s", partition_name(change->handle->pfile->part), change->op.e.text);
    if (rc != 0)
        fuse_reply_err(change->park.req, -rc);
    else
        reply_deleted(change->park.req, change->handle);
    park_unref(&change->park);
}

static void delete_done(struct delete_records_op *op, int rc)
{
    delete_over(CONTAINER_OF(op, struct delete_change, op), rc);
}

static bool delete_cancel(struct park *park)
{
    struct delete_change *change = CONTAINER_OF(park, struct delete_change, park);
    return partition_delete_records_cancel(change->handle->pfile->part, &change->op);
}

static void delete_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void delete_free(struct park *park)
{
    struct delete_change *change = CONTAINER_OF(park, struct delete_change, park);
    handle_unref(change->handle);
    free(change);
}

static void delete_records(fuse_req_t req, struct handle *handle, int64_t position)
{
    struct delete_change *change = calloc(1, sizeof *change);
    if (change == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    change->handle = handle_ref(handle);
    change->op.position = position;
    change->op.done = delete_done;
    change->park.fatal_only = true;
    change->park.cancel = delete_cancel;
    change->park.aborted = delete_aborted;
    change->park.free = delete_free;
    park_begin(&change->park, handle->session, req);
    int rc = partition_delete_records(handle->pfile->part, &change->op);
    if (rc != 0)
        delete_over(change, rc);
    park_settle(&change->park);
}

static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
    struct handle *handle = handle_of(fi);
    (void)ino;
    int rc = 0;
    if (mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
        rc = -EOPNOTSUPP;
    else if (handle->vnode->key.kind != VNODE_PARTITION)
        rc = -EPERM;
    else if (!attr_is_owner(handle->session, handle->vnode, fuse_req_ctx(req)->uid))
        rc = -EPERM;
    else if (off > partition_log_start(handle->pfile->part).position)
        rc = -EINVAL; /* records go from the front only */
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        delete_records(req, handle, off + len);
}

static void do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
    struct handle *handle = handle_of(fi);
    (void)ino;
    int again = rereads_poll(&handle->rereads, fuse_req_ctx(req)->pid, fi->poll_events);
    if (handle->vnode->key.kind == VNODE_FOLLOW && again == 0) {
        follow_poll(req, handle, ph);
        return;
    }
    if (vnode_kind_is_stream(handle->vnode->key.kind) && again == 0) {
        group_stream_poll(req, handle, ph);
        return;
    }
    if (ph != NULL)
        fuse_pollhandle_destroy(ph);
    if (again < 0)
        fuse_reply_err(req, -again);
    else
        fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}

/* One that is still open at the end of the session; a directory too: its listing refers to topics. */
static void end_handle(struct handle *handle)
{
    if (handle->listing != NULL)
        ops_dir_close(handle);
    else
        close_handle(handle);
}

void ops_file_gone(struct handle *handle)
{
    producer_free(handle);
    reader_free(handle);
}

void ops_file_end(struct session *session)
{
    handles_close_all(session->handles, end_handle);
}

void ops_file_register(struct fuse_lowlevel_ops *ops)
{
    ops->open = do_open;
    ops->create = do_create;
    ops->read = do_read;
    ops->write = do_write;
    ops->flush = do_flush;
    ops->release = do_release;
    ops->fsync = do_fsync;
    ops->fallocate = do_fallocate;
    ops->poll = do_poll;
}
