/* fs/serve/ops.h: the table of requests, and what its files share.
 *
 * ops.c: the table; ops_vnode.c: what all of them begin with; ops_attr.c, ops_xattr.c: attributes; ops_tree.c: names
 * that come and go; ops_lookup.c: names; ops_file.c: open files; ops_dir.c: directories; ops_lock.c: locks;
 * ops_outside.c: what the daemon does to its own mount; ops_past.c: what waits until it is known which names there are.
 */
#ifndef LOGMNT_FS_SERVE_OPS_H
#define LOGMNT_FS_SERVE_OPS_H

#include "fs/base/session.h"
#include "fs/tree/handle.h"
#include "fs/tree/tree.h"

const struct fuse_lowlevel_ops *ops_table(void);

/* The vnode of a request; NULL: the request was answered (ESTALE). */
struct vnode *ops_vnode(fuse_req_t req, fuse_ino_t ino);
/* The vnode of a name that was resolved, given out once. NULL: no memory. */
struct vnode *ops_vnode_of(struct session *session, const struct vnode_key *key, pid_t tid);
/* A vnode, given out once, as the kernel of whoever made the request wants to hear of it. A negative errno: it was
 * taken back. */
int ops_entry(fuse_req_t req, struct vnode *vnode, struct fuse_entry_param *entry);
/* Parks a request that looks at a partition behind a raised fence. false: go on. */
bool ops_fenced(struct vnode *vnode, const struct fence_request *request);
/* Likewise one that is told the size: behind pages of the kernel's cache that are being dropped, too (pagecache.h). */
bool ops_look_fenced(struct vnode *vnode, const struct fence_request *request);

/* The same, whether or not a node is known. */
bool ops_pfile_fenced(struct session *session, struct pfile *pfile, const struct fence_request *request);

/* A request that needs the topic to be empty: behind the closes of all its partitions and of `.any`, for
 * LIMIT_FENCE_POST_MS in all. false also where it has records: whatever they bring. */
bool ops_topic_fenced(struct session *session, struct topic *topic, const struct fence_request *request);

/* Asks how a partition is whose replica is on another node, if what is known is old, and then runs the request again;
 * or answers it: -ETIMEDOUT. false: it is known, or the vnode is of no partition. */
bool ops_status_asked(struct vnode *vnode, const struct fence_request *request);

/* Parks a request that would say that a name is not in this directory, until the node knows what was decided before its
 * start (past.h), and then runs it again. false: it knows, or that is not to be had; or what the directory holds is not
 * the quorum's to decide. */
bool ops_past_awaited(struct vnode *dir, const struct fence_request *request);

/* Asks for the place of a name that resolved to NAMES_ADDRESS, whose key's topic is taken over, and then goes on, on
 * any thread: rc 0: the key is whole, and its topic referenced; or a negative errno. `fi` (NULL: none) is copied. */
typedef void ops_place_then(fuse_req_t req, struct vnode *dir, const char *name, struct fuse_file_info *fi,
                            const struct vnode_key *key, int rc);
void ops_ask_place(fuse_req_t req, struct vnode *dir, const char *name, const struct fuse_file_info *fi,
                   const struct vnode_key *key, ops_place_then *then);

/* For handles_new(): frees what producing and consuming keep with an open file. */
void ops_file_gone(struct handle *handle);
/* Requests of outside.h's process that its act is about: true: answered. */
bool ops_outside_lookup(fuse_req_t req, struct vnode *dir, const char *name);
bool ops_outside_make(fuse_req_t req, fuse_ino_t parent, const char *name);
bool ops_outside_unlink(fuse_req_t req, fuse_ino_t parent);

/* The end of the session: closes what is still open, as its last close would have. */
void ops_file_end(struct session *session);
/* The last close of an open directory. */
void ops_dir_close(struct handle *handle);
/* FLUSH and RELEASE of a file through which locks were taken. */
void ops_lock_flush(struct handle *handle, uint64_t owner);
void ops_lock_release(struct handle *handle);
void ops_attr_register(struct fuse_lowlevel_ops *ops);
void ops_xattr_register(struct fuse_lowlevel_ops *ops);
void ops_tree_register(struct fuse_lowlevel_ops *ops);
void ops_lookup_register(struct fuse_lowlevel_ops *ops);
void ops_file_register(struct fuse_lowlevel_ops *ops);
void ops_dir_register(struct fuse_lowlevel_ops *ops);
void ops_lock_register(struct fuse_lowlevel_ops *ops);

#endif
