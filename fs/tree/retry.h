/* fs/tree/retry.h: opens that were answered ESTALE once, so that an appender gets a node of its own (sharing.h).
 *
 * An open for writing of a node that others have seen is answered ESTALE; the kernel walks the path again, asking anew
 * for every component, and the LOOKUPs of that walk (told by their thread) get a fresh node (docs/ARCHITECTURE.md,
 * The life of a write). ESTALE twice would be the caller's: while as many retries are expected as can be kept, an open
 * shares its node instead. */
#ifndef LOGMNT_FS_TREE_RETRY_H
#define LOGMNT_FS_TREE_RETRY_H

#include <stdbool.h>
#include <sys/types.h>

#include "fs/tree/tree.h"

struct retries;

struct retries *retries_new(struct tree *tree);
void retries_free(struct retries *retries);

/* The thread's fresh node for its LOOKUP of that key, given out once more. NULL: no retry is expected, or no memory. */
struct vnode *retries_lookup(struct retries *retries, pid_t tid, const struct vnode_key *key);
/* An open for writing by this thread; alone: sharing_take(). true: answer ESTALE, its retry is expected. false: go on;
 * a retry is over. */
bool retries_open(struct retries *retries, pid_t tid, const struct vnode *vnode, bool alone);
/* Those of a topic that was deleted are over: their threads may never open anything again, and the fresh nodes hold the
 * topic. */
void retries_drop(struct retries *retries, const struct topic *topic);

#endif
