/* fs/tree/names.h: the names of the tree: from a directory and a name to what it means, and what a directory lists. */
#ifndef LOGMNT_FS_TREE_NAMES_H
#define LOGMNT_FS_TREE_NAMES_H

#include "fs/base/session.h"
#include "fs/tree/tree.h"

/* What a name means. key->topic is referenced on success (the caller unrefs), NULL above topics. -ENOENT: nothing;
 * -ENAMETOOLONG: above NAME_MAX; -EIO and others of the disk for addresses. An address is resolved now. */
int names_resolve(struct session *session, const struct vnode *dir, const char *name, struct vnode_key *key);

/* The partition that a name in a directory is about (0, 0@5, …); -1: none. */
int32_t names_partition(const struct vnode *dir, const char *name);
/* A segment file's name: sets start and extra of its key, whether it exists or not. false: it is none. */
bool names_segment(const char *name, struct vnode_key *key);

/* Calls each() for all that a directory lists (not . and ..), in order; key as above, its topic borrowed. A non-zero
 * return ends it. */
int names_list(struct session *session, const struct vnode *dir,
               int (*each)(void *arg, const char *name, const struct vnode_key *key), void *arg);

#endif
