/* fs/base/guard.h: ends the connection of a daemon that was killed and cannot end.
 *
 * Some of what the daemon tells the kernel of names and pages waits for a lock there that somebody holds until his
 * request is answered (fuse_reverse_inval_entry(): a directory's, during mkdir(2) and rmdir(2) in it;
 * fuse_reverse_inval_inode(): a page's, during a read). While the daemon lives it answers. Killed in that moment, the
 * thread waits unkillable for what nobody answers any more, and holds /dev/fuse open, whose closing would have ended
 * the request: the process never ends, nor does any call on its mount.
 *
 * So a process of its own is told by the kernel when the daemon's first thread has ended (PR_SET_PDEATHSIG), and when
 * the others have not after GUARD_PATIENCE_MS, it ends the connection by fusectl, as an administrator would
 * (Documentation/filesystems/fuse: "Aborting a filesystem connection"): of /sys/fs/fuse/connections, or, with
 * CAP_SYS_ADMIN, of one that is mounted nowhere. Where there is neither, it can do nothing. */
#ifndef LOGMNT_FS_BASE_GUARD_H
#define LOGMNT_FS_BASE_GUARD_H

#include <sys/types.h>

#include "engine/base/err.h"
#include "fs/base/mounted.h"

enum { GUARD_PATIENCE_MS = 500 };

struct guard {
    pid_t pid;
    int fd; /* tells it the device */
};

/* Forks the process, from the thread that lives as long as the daemon does. No other thread runs yet. 0, or a negative
 * errno. */
int guard_start(struct guard *guard, struct err *e);
/* What was mounted: the connection to end. */
void guard_mounted(struct guard *guard, const struct mounted_device *device);
/* Ends it, and waits for its end. */
void guard_end(struct guard *guard);

#endif
