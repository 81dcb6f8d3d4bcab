/* fs/base/guard.h: ends the connection of a daemon that was killed and cannot end.
 *
 * Some of what the daemon tells the kernel of names and pages waits for a lock there that somebody holds until his
 * request is answered (fuse_reverse_inval_entry(): a directory's, during mkdir(2) and rmdir(2) in it;
 * fuse_reverse_inval_inode(): a page's, during a read). While the daemon lives it answers. Killed in that moment, the
 * thread waits unkillable for what nobody answers any more, and holds /dev/fuse open, whose closing would have ended
 * the request: the process never ends, nor does any call on its mount.
 *
 * So a process of its own waits for the daemon's death, and when that has not come to its end after GUARD_PATIENCE_MS,
 * it ends the connection by fusectl, as an administrator would (Documentation/filesystems/fuse: "Aborting a filesystem
 * connection"): of /sys/fs/fuse/connections, or, with CAP_SYS_ADMIN, of one that is mounted nowhere. Where there is
 * neither, it can do nothing.
 *
 * The kernel tells it when the daemon's first thread has ended (PR_SET_PDEATHSIG). It does not when a signal that dumps
 * the core has ended it (SIGABRT, SIGSEGV): then all threads wait for that one, the first, too (process_life()). No
 * other event tells of that, so it looks every GUARD_LOOK_MS; but only while something of that kind is under way, and
 * once behind it. The next one to begin wakes it: a daemon that tells the kernel nothing costs nothing.
 *
 *   rests ── guard_notice_begin() wakes it ──→ looks every GUARD_LOOK_MS ── no notice is under way ──→ rests
 *     └──── death ───┬──────────────────────────────┘
 *                    └──→ GUARD_PATIENCE_MS ──→ it is still there: the connection is ended */
#ifndef LOGMNT_FS_BASE_GUARD_H
#define LOGMNT_FS_BASE_GUARD_H

#include <sys/types.h>

#include "engine/base/err.h"
#include "fs/base/mounted.h"

enum { GUARD_PATIENCE_MS = 500, GUARD_LOOK_MS = 1000 };

struct guard_page;

struct guard {
    pid_t pid;
    int fd; /* tells it the device */
    struct guard_page *page;
};

/* Forks the process, from the thread that lives as long as the daemon does. No other thread runs yet. 0, or a negative
 * errno. */
int guard_start(struct guard *guard, struct err *e);
/* What was mounted: the connection to end. */
void guard_mounted(struct guard *guard, const struct mounted_device *device);
/* The kernel is told something that may wait there, and has been (notice.h). Any thread. */
void guard_notice_begin(struct guard *guard);
void guard_notice_end(struct guard *guard);
int guard_notices(const struct guard *guard); /* under way */
/* Has it end the connection of a daemon that lives. */
void guard_end_connection(struct guard *guard);
/* Ends it, and waits for its end. */
void guard_end(struct guard *guard);

#endif
