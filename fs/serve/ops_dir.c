/* fs/serve/ops_dir.c: directories. What one lists is taken down at the first read of an open directory (and again when
 * it is rewound), so that names that come and go meanwhile neither repeat nor hide others. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/base/limits.h"
#include "fs/consume/reading.h"
#include "fs/serve/ops.h"
#include "fs/tree/attr.h"
#include "fs/tree/names.h"
#include "fs/tree/sharing.h"

/* One name of a listing. */
struct listed {
    struct vnode_key key; /* referenced */
    char name[256];
};

struct listing {
    struct listed *all;
    size_t count, max;
};

static void listing_clear(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        vnode_key_unref(&listing->all[i].key);
    listing->count = 0;
}

static int take_down(void *arg, const char *name, const struct vnode_key *key)
{
    struct listing *listing = arg;
    if (listing->count == listing->max) {
        size_t max = listing->max != 0 ? listing->max * 2 : 16;
        struct listed *all = realloc(listing->all, max * sizeof *all);
        if (all == NULL)
            return -ENOMEM;
        listing->all = all;
        listing->max = max;
    }
    struct listed *listed = &listing->all[listing->count++];
    listed->key = *key;
    vnode_key_ref(key);
    strncpy(listed->name, name, sizeof listed->name - 1);
    listed->name[sizeof listed->name - 1] = '\0';
    return 0;
}

void ops_dir_close(struct handle *handle)
{
    ops_lock_release(handle);
    listing_clear(handle->listing);
    free(handle->listing->all);
    free(handle->listing);
    handle_close(handle);
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct vnode *vnode = ops_vnode(req, ino);
    if (vnode == NULL)
        return;
    struct listing *listing = calloc(1, sizeof *listing);
    struct handle *handle = listing != NULL ? handle_new(session_of(req), vnode) : NULL;
    if (handle == NULL) {
        free(listing);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    handle->listing = listing;
    fi->fh = (uintptr_t)handle;
    if (fuse_reply_open(req, fi) == -ENOENT)
        ops_dir_close(handle);
}

static void do_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    ops_dir_close(handle_of(fi));
    fuse_reply_err(req, 0);
}

static mode_t type_of(enum vnode_kind kind)
{
    switch (kind) {
    case VNODE_PARTITION:
    case VNODE_ANY:
    case VNODE_FOLLOW:
    case VNODE_JSON:
    case VNODE_SEGMENT_FILE:
    case VNODE_STATUS:
    case VNODE_GROUP_STREAM:
    case VNODE_GROUP_JSON:
        return S_IFREG;
    default:
        return S_IFDIR;
    }
}

/* Adds entry i (0 and 1 are . and ..) to the buffer. Returns its size, or 0: it does not fit. */
static size_t add(fuse_req_t req, struct vnode *dir, struct listing *listing, size_t i, char *at, size_t left,
                  bool plus)
{
    struct session *session = session_of(req);
    struct fuse_entry_param entry = {0};
    const struct listed *listed = i < 2 ? NULL : &listing->all[i - 2];
    const char *name = i == 0 ? "." : i == 1 ? ".." : listed->name;
    entry.attr.st_ino = listed != NULL ? tree_ino(&listed->key) : i == 0 ? tree_ino(&dir->key) : FUSE_ROOT_ID;
    entry.attr.st_mode = listed != NULL ? type_of(listed->key.kind) : S_IFDIR;
    if (!plus) {
        size_t size = fuse_add_direntry(req, at, left, name, &entry.attr, (off_t)i + 1);
        return size <= left ? size : 0;
    }
    if (fuse_add_direntry_plus(req, NULL, 0, name, &entry, 0) > left)
        return 0;
    /* Others' nodes come with their look-up, which the kernel makes before it believes anything of them: it matters who
     * was shown one (sharing.h, waker.h), or when (a status file). */
    bool known = listed != NULL && listed->key.kind != VNODE_STATUS && listed->key.kind != VNODE_SEGMENTS &&
                 !vnode_kind_is_stream(listed->key.kind) && !sharing_kind(&listed->key);
    struct vnode *vnode = known ? tree_vnode(session->tree, &listed->key) : NULL;
    if (vnode != NULL && ops_entry(req, vnode, &entry) != 0) { /* gone meanwhile: name and type only */
        memset(&entry, 0, sizeof entry);
        entry.attr.st_mode = type_of(listed->key.kind);
    }
    return fuse_add_direntry_plus(req, at, left, name, &entry, (off_t)i + 1);
}

static void run_read_dir(const struct fence_request *request);

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
    struct vnode *dir = ops_vnode(req, ino);
    struct handle *handle = handle_of(fi);
    struct listing *listing = handle->listing;
    char *buffer = (char *)reading_buffer();
    size_t used = 0;
    struct fence_request request = {
        .req = req, .ino = ino, .size = size, .off = off, .fi = *fi, .has_fi = true, .arg = plus, .run = run_read_dir};
    if (dir == NULL || (off == 0 && ops_past_awaited(dir, &request)))
        return;
    int rc = buffer != NULL ? 0 : -ENOMEM;
    if (size > LIMIT_REQUEST_BYTES)
        size = LIMIT_REQUEST_BYTES;
    pthread_mutex_lock(&handle->lock);
    if (rc == 0 && off == 0) {
        listing_clear(listing);
        rc = names_list(session_of(req), dir, take_down, listing);
    }
    for (size_t i = (size_t)off; rc == 0 && i < listing->count + 2; i++) {
        size_t added = add(req, dir, listing, i, buffer + used, size - used, plus);
        if (added == 0)
            break;
        used += added;
    }
    pthread_mutex_unlock(&handle->lock);
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        fuse_reply_buf(req, buffer, used);
}

static void run_read_dir(const struct fence_request *request)
{
    struct fuse_file_info fi = request->fi;
    read_dir(request->req, request->ino, request->size, request->off, &fi, request->arg != 0);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    read_dir(req, ino, size, off, fi, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    read_dir(req, ino, size, off, fi, true);
}

static void do_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino, (void)datasync, (void)fi;
    fuse_reply_err(req, 0); /* what changes the tree is on the disk when it returns */
}

void ops_dir_register(struct fuse_lowlevel_ops *ops)
{
    ops->opendir = do_opendir;
    ops->releasedir = do_releasedir;
    ops->readdir = do_readdir;
    ops->readdirplus = do_readdirplus;
    ops->fsyncdir = do_fsyncdir;
}
