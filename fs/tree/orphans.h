/* fs/tree/orphans.h: what the kernel knows of a topic that was deleted goes, and what is open with its last close.
 *
 * rmdir(2) drops the names below a directory, but not those of open files, nor a group's stream of the topic; where
 * another host removed it nothing is dropped at all. The kernel would keep these, our nodes, and with them the topic's
 * data on the disk, until it runs short of memory. So it is told to drop them.
 *
 * Telling it waits for the lock of the directory that has the name, and somebody may hold that while he waits for an
 * answer of ours: whoever removes it, makes another one beside it, or looks a name up in there. So it is one work at a
 * time, and nobody waits for it. */
#ifndef LOGMNT_FS_TREE_ORPHANS_H
#define LOGMNT_FS_TREE_ORPHANS_H

#include "fs/base/session.h"

struct orphans *orphans_new(struct session *session); /* NULL: no memory */
/* Waits for the last one. While the session's connection lives. */
void orphans_free(struct orphans *orphans);

/* topic was deleted. Any thread, which does not wait. */
void orphans_drop(struct orphans *orphans, struct topic *topic);

#endif
