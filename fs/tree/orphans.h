/* fs/tree/orphans.h: what is still open in a topic that was deleted goes with its last close.
 *
 * rmdir(2) drops the names below a directory, but not those of open files: the kernel would keep these, our nodes, and
 * with them the topic's data on the disk, until it runs short of memory. Once the rmdir is answered (so that nobody who
 * waits for us holds the directory's lock) it is told to drop them now.
 *
 * Telling it waits for the lock of the directory that was deleted, and somebody who looks a name up in there may hold
 * that while he waits for an answer of ours: so it is one worker at a time, and the others answer. */
#ifndef LOGMNT_FS_TREE_ORPHANS_H
#define LOGMNT_FS_TREE_ORPHANS_H

#include "fs/base/session.h"

/* topic was deleted, and the kernel knows. */
void orphans_drop(struct session *session, struct topic *topic);

#endif
