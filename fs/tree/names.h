/* fs/tree/names.h: the names of the tree: from a directory and a name to what it means, and what a directory lists. */
#ifndef LOGMNT_FS_TREE_NAMES_H
#define LOGMNT_FS_TREE_NAMES_H

#include "fs/base/session.h"
#include "fs/tree/tree.h"
#include "replication/replica/partition_read.h"

/* What a name means. 0: what key points to is referenced (the caller's vnode_key_unref()). NAMES_ADDRESS: likewise, and
 * the place is to be asked for. -ENOENT: nothing; -ENAMETOOLONG: above NAME_MAX; -ESTALE: dir was deleted. Of -ENOENT
 * the kernel would keep the name, and with it the directory, our node and the topic's data on the disk, until it runs
 * short of memory. */
enum { NAMES_ADDRESS = 1 };
int names_resolve(struct session *session, const struct vnode *dir, const char *name, struct vnode_key *key);
/* The question for an address's place: part, kind and at of the op; the key's topic holds the partition. */
void names_ask(struct session *session, const struct vnode_key *key, const char *name, struct read_op *op);
/* The key is whole, by the answer. 0, or -ENOENT: there is no such place. */
int names_found(const char *name, const struct read_op *op, struct vnode_key *key);

/* The partition that a name in a directory is about (0, 0@5, …); -1: none. */
int32_t names_partition(const struct vnode *dir, const char *name);
/* A segment file's name: sets start and extra of its key, whether it exists or not. false: it is none. */
bool names_segment(const char *name, struct vnode_key *key);

/* Calls each() for all that a directory lists (not . and ..), in order; key as above, borrowed. A non-zero
 * return ends it. */
int names_list(struct session *session, const struct vnode *dir,
               int (*each)(void *arg, const char *name, const struct vnode_key *key), void *arg);

#endif
