/* fs/tree/told.h: the files of `.segments/N` that its watchers know of, and how they are told of others.
 *
 * The list is kept from the first LOOKUP of the directory on, and compared when the partition has changed: IN_DELETE
 * for a file that has gone, IN_CREATE for one that came (both for one that compaction has rewritten), IN_MODIFY for the
 * active `.log` when the high watermark has moved, and for a new one: it can be found, read and watched before it is
 * told of, and has grown since. The events come of acts from outside (outside.h: unlink(2), mknod(2) and utimensat(2)),
 * which are answered without anything being done (fs/serve/ops_outside.c). */
#ifndef LOGMNT_FS_TREE_TOLD_H
#define LOGMNT_FS_TREE_TOLD_H

#include "fs/base/session.h"
#include "fs/tree/tree.h"

struct told;

/* The directory is being shown to somebody. */
void told_begin(struct tree *tree, struct pfile *pfile);
void told_free(struct told *told);

/* The partition has changed, and it was told_begin(); dir is the path of `.segments/N`. false: there was no memory or
 * no descriptor to look, and it is to be called again. The waker's thread. */
bool told_update(struct session *session, struct pfile *pfile, const char *dir);

#endif
