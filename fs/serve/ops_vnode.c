/* fs/serve/ops_vnode.c: from a request to its node, and what a request waits behind. */
#include <errno.h>
#include <string.h>

#include "fs/base/outside.h"
#include "fs/serve/ops.h"
#include "fs/tree/attr.h"
#include "fs/tree/pagecache.h"
#include "fs/tree/retry.h"
#include "fs/tree/sharing.h"
#include "fs/tree/status.h"

struct vnode *ops_vnode(fuse_req_t req, fuse_ino_t ino)
{
    struct vnode *vnode = tree_get(session_of(req)->tree, ino);
    if (vnode == NULL)
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
    return fresh != NULL ? fresh : sharing_lookup(session->tree, key, tid);
}

int ops_entry(fuse_req_t req, struct vnode *vnode, struct fuse_entry_param *entry)
{
    memset(entry, 0, sizeof *entry);
    int rc = vnode_deleted(vnode) ? -ESTALE : attr_stat(req, vnode, &entry->attr, &entry->attr_timeout);
    if (rc != 0) {
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
           (pfile->any != NULL && fence_wait(pfile->any->fence, session, request));
}

bool ops_fenced(struct vnode *vnode, const struct fence_request *request)
{
    if (atomic_load_explicit(&fence_all_raised, memory_order_acquire) == 0 || vnode->pfile == NULL)
        return false;
    struct session *session = session_of(request->req);
    return fuse_req_ctx(request->req)->pid != outside_pid(session->outside) &&
           ops_pfile_fenced(session, vnode->pfile, request);
}

bool ops_look_fenced(struct vnode *vnode, const struct fence_request *request)
{
    struct session *session = session_of(request->req);
    if (vnode->pfile == NULL || fuse_req_ctx(request->req)->pid == outside_pid(session->outside))
        return false;
    pagecache_look(vnode->pfile);
    struct fence *fence = pagecache_fence(vnode->pfile);
    return ops_fenced(vnode, request) || (fence != NULL && fence_wait(fence, session, request));
}

bool ops_topic_fenced(struct session *session, struct topic *topic, const struct fence_request *request)
{
    bool fenced = false;
    if (atomic_load_explicit(&fence_all_raised, memory_order_acquire) == 0 || !topic_empty(topic))
        return false;
    for (int32_t i = -1; !fenced && i < topic_partition_count(topic); i++) {
        struct pfile *pfile = tree_pfile_find(session->tree, topic, i);
        fenced = pfile != NULL && fence_wait(pfile->fence, session, request);
        if (pfile != NULL)
            tree_pfile_put(session->tree, pfile);
    }
    return fenced;
}
