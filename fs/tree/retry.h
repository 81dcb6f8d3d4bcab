/* fs/tree/retry.h: opens that were answered ESTALE once, so that a contended appender gets a node of its own.
 *
 * The kernel holds an inode's lock through a FUSE write, so appenders of one node wait for each other. An open for
 * appending of a node that has a writer is answered ESTALE; the kernel walks the path again, asking anew for every
 * component, and the LOOKUPs of that walk (told by their thread) get a fresh node (architecture.md, Node ids). */
#ifndef LOGMNT_FS_TREE_RETRY_H
#define LOGMNT_FS_TREE_RETRY_H

#include <stdbool.h>
#include <sys/types.h>

#include "fs/tree/tree.h"

struct retries;

struct retries *retries_new(struct tree *tree);
void retries_free(struct retries *retries);

/* The node to answer a LOOKUP of `main` with, given out once more: main itself, or the thread's fresh one (main, given
 * out once, is taken back then). */
struct vnode *retries_lookup(struct retries *retries, pid_t tid, struct vnode *main);
/* An open for appending by this thread. true: answer ESTALE, its retry is expected. false: go on; a retry is over. */
bool retries_open(struct retries *retries, pid_t tid, struct vnode *vnode);

#endif
