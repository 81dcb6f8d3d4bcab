/* fs/serve/ops_outside.c: the daemon's own acts on its mount (fs/base/outside.h), as they come back as requests.
 *
 * They are for what the kernel does on the way: events for inotify, names that it drops. Nothing is done here. A
 * request is told by its process and by the last name of the act's path, which nobody else's requests can be taken for;
 * what leads there is answered as to anybody. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/base/outside.h"
#include "fs/serve/ops.h"
#include "fs/tree/address.h"
#include "fs/tree/names.h"
#include "fs/tree/sharing.h"

static void reply_entry(fuse_req_t req, struct vnode *vnode)
{
    struct fuse_entry_param entry;
    struct session *session = session_of(req);
    int rc = vnode != NULL ? ops_entry(req, vnode, &entry) : -ENOENT;
    entry.entry_timeout = 0; /* whoever comes to it next asks, and is known from there on (told.h) */
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else if (fuse_reply_entry(req, &entry) == -ENOENT)
        tree_forget(session->tree, entry.ino, 1);
}

/* OUTSIDE_WRITE: the node that is to be visited; without one, any that nobody has. */
static void reply_node(fuse_req_t req, const struct vnode *dir, const char *name, fuse_ino_t id)
{
    struct session *session = session_of(req);
    struct vnode_key key;
    struct vnode *vnode = NULL;
    if (id != 0) {
        vnode = sharing_reach(session->tree, id);
    } else if (names_resolve(session, dir, name, &key) == 0) {
        vnode = sharing_unseen(session->tree, &key);
        topic_unref(key.topic);
    }
    reply_entry(req, vnode);
}

/* OUTSIDE_REMOVE: a file that is gone, by a node that nobody has: those who have it open keep its size. */
static void reply_gone(fuse_req_t req, const struct vnode *dir, const char *name, uint64_t generation)
{
    struct session *session = session_of(req);
    struct fuse_entry_param entry = {0};
    struct vnode_key key = {.kind = VNODE_SEGMENT_FILE, .index = dir->key.index, .topic = dir->topic};
    key.generation = generation;
    if (!names_segment(name, &key)) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    struct vnode *vnode = sharing_unseen(session->tree, &key);
    if (vnode == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    entry.ino = vnode->id;
    entry.attr.st_ino = tree_ino(&key);
    entry.attr.st_mode = S_IFREG | 0444;
    entry.attr.st_nlink = 1;
    if (fuse_reply_entry(req, &entry) == -ENOENT)
        tree_forget(session->tree, entry.ino, 1);
}

bool ops_outside_lookup(fuse_req_t req, struct vnode *dir, const char *name)
{
    struct outside_act act;
    if (!outside_asks(session_of(req)->outside, fuse_req_ctx(req)->pid, &act))
        return false;
    bool partition = dir->key.kind != VNODE_SEGMENTS && names_partition(dir, name) >= 0;
    bool segment = dir->key.kind == VNODE_SEGMENTS;
    bool segments = dir->key.kind == VNODE_SEGMENTS_DIR && address_partition(name) >= 0;
    if (vnode_deleted(dir) && act.kind != OUTSIDE_REMOVE)
        fuse_reply_err(req, ESTALE); /* as names_resolve() says */
    else if ((act.kind == OUTSIDE_LOOK && partition) || (act.kind == OUTSIDE_MAKE && segment) ||
             (act.kind == OUTSIDE_MKDIR && segments))
        fuse_reply_err(req, ENOENT);
    else if (act.kind == OUTSIDE_WRITE && partition)
        reply_node(req, dir, name, act.subject);
    else if (act.kind == OUTSIDE_REMOVE && segment)
        reply_gone(req, dir, name, act.subject);
    else
        return false;
    return true;
}

bool ops_outside_make(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct session *session = session_of(req);
    struct outside_act act;
    struct vnode_key key;
    const struct vnode *dir = tree_get(session->tree, parent);
    if (!outside_asks(session->outside, fuse_req_ctx(req)->pid, &act) ||
        (act.kind != OUTSIDE_MAKE && act.kind != OUTSIDE_MKDIR) || dir == NULL)
        return false;
    struct vnode *vnode = NULL;
    if (names_resolve(session, dir, name, &key) == 0) {
        vnode = tree_vnode(session->tree, &key);
        topic_unref(key.topic);
    }
    reply_entry(req, vnode);
    return true;
}

bool ops_outside_unlink(fuse_req_t req, fuse_ino_t parent)
{
    struct session *session = session_of(req);
    struct outside_act act;
    const struct vnode *dir = tree_get(session->tree, parent);
    if (!outside_asks(session->outside, fuse_req_ctx(req)->pid, &act) || act.kind != OUTSIDE_REMOVE || dir == NULL)
        return false;
    fuse_reply_err(req, 0);
    return true;
}
