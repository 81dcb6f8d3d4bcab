/* fs/tree/sharing.h: who shares a node id of a partition (or `.any`) with whom: an appender with nobody.
 *
 * The kernel holds an inode's lock through a FUSE write, however long that waits, and chmod(2), setxattr(2) and whoever
 * appends to the same inode wait for it. So an open for writing has its node for itself: nobody else was ever given it
 * who may still have it open, watched or in hand.
 *
 * A LOOKUP gives the node that the name gave last, unless that has a writer: then a new one. An open for writing may
 * have the node if it was shown to its own thread alone, by the LOOKUPs right before; with its close the node is as
 * new. So `echo >>` after `echo >>` goes to one node and costs nothing more. If anybody else was shown it the open is
 * answered ESTALE once (retry.h), and its retry gets a node that nobody has seen.
 *
 *   unseen --LOOKUP by a thread--> its --that thread opens it for writing--> a writer's --its close--> unseen
 *                                   \--a look by it, then any LOOKUP--> shared (for ever)
 *                                   \--a LOOKUP by another-----------> shared
 *
 * A node that the name gave and that was replaced lives on while the kernel needs it: open, or watched by inotify. */
#ifndef LOGMNT_FS_TREE_SHARING_H
#define LOGMNT_FS_TREE_SHARING_H

#include "fs/tree/tree.h"

enum { SHARING_EVERYBODY = -1 };

static inline bool sharing_kind(const struct vnode_key *key)
{
    return key->kind == VNODE_ANY || (key->kind == VNODE_PARTITION && key->extra == 0);
}

/* The vnode for a LOOKUP by a thread (SHARING_EVERYBODY: a listing), given out once more. NULL: no memory. */
struct vnode *sharing_lookup(struct tree *tree, const struct vnode_key *key, pid_t tid);
/* One that nobody but the thread was shown. NULL: no memory. */
struct vnode *sharing_fresh(struct tree *tree, const struct vnode_key *key, pid_t tid);
/* One that nobody was shown, for outside.h's process. NULL: no memory. */
struct vnode *sharing_unseen(struct tree *tree, const struct vnode_key *key);
/* Gives out a vnode known to be alive once more, to that thread. */
void sharing_again(struct tree *tree, struct vnode *vnode, pid_t tid);

/* The thread opens it for writing: it is the writer's, or (false) somebody else has it, too. */
bool sharing_take(struct tree *tree, struct vnode *vnode, pid_t tid);
/* A writer that shares the node all the same. */
void sharing_join(struct tree *tree, struct vnode *vnode);
void sharing_leave(struct vnode *vnode);

/* A request for it, other than the LOOKUP and OPEN that made it known. */
static inline void sharing_look(struct vnode *vnode)
{
    if (!atomic_load_explicit(&vnode->looked_at, memory_order_relaxed))
        atomic_store_explicit(&vnode->looked_at, true, memory_order_relaxed);
}

/* A walk over the nodes of a partition that somebody may watch. Zero-initialise. */
struct sharing_walk {
    fuse_ino_t after, end; /* ids rise; those at or behind `end` came later than the walk began */
};

enum { SHARING_WALK_IDS = 64 };

/* The ids of the next ones, ascending; 0: there are no more. It needs no memory, so that nobody who watches is passed
 * over for want of it. */
size_t sharing_watched(struct tree *tree, const struct pfile *pfile, struct sharing_walk *walk,
                       fuse_ino_t ids[SHARING_WALK_IDS]);
/* Watchers of `.segments` are told from here on. false: they are already, and told stays the caller's. */
bool sharing_begin_told(struct tree *tree, struct pfile *pfile, struct told *told);

/* Gives back the news of a partition (partition_news_return()), to be heard of again as its watchers need it: all of it
 * where there may be some, of its nodes or of `.segments`. false: there is a later one, and it stays the caller's. */
bool sharing_return(struct tree *tree, struct partition_news *news);
/* The name gives another one from here on. true: nobody has it open. */
bool sharing_retire(struct tree *tree, fuse_ino_t id);
/* The vnode of an id, given out once more, nobody shown; NULL: the kernel has forgotten it. */
struct vnode *sharing_reach(struct tree *tree, fuse_ino_t id);

#endif
