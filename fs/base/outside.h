/* fs/base/outside.h: what the daemon does to its own mount as anybody outside would.
 *
 * inotify events come of system calls alone, and the kernel drops a name when a look-up of it fails: for both the mount
 * has to be used. That is done by a process of its own, which is forked before there are threads:
 *
 * - A thread of the daemon, killed with its request on the way, would wait unkillable for an answer that only the
 *   closing of /dev/fuse brings, and hold that open itself. The process has its way to the daemon and nothing else.
 * - Whoever uses a mount makes its unmount EBUSY. The process uses a private clone of it, which the user's unmount
 * never meets: open_tree(2) makes it for CAP_SYS_ADMIN; without that it is the only mount of a namespace of the
 * process's own, in a user namespace of its own. Where the kernel allows neither, it uses the user's mount, for the
 * length of an act.
 *
 * The clone keeps the file system alive when the user's mount has gone: the daemon has to see that by itself
 * (mounted.h).
 *
 *   outside_start() -> outside_act() ... -> outside_end()
 *
 * The process goes into its namespace with the first act, since that takes a mount that answers. When it is lost, acts
 * fail with -EPIPE, which is logged once. */
#ifndef LOGMNT_FS_BASE_OUTSIDE_H
#define LOGMNT_FS_BASE_OUTSIDE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/base/err.h"
#include "fs/base/mounted.h"

enum outside_kind {
    OUTSIDE_ENTER,  /* outside.c's own */
    OUTSIDE_LOOK,   /* lstat(2) */
    OUTSIDE_TOUCH,  /* mtime alone is set: IN_MODIFY */
    OUTSIDE_WRITE,  /* opened for appending, touched and closed: IN_OPEN, IN_MODIFY, IN_CLOSE_WRITE */
    OUTSIDE_MAKE,   /* mknod(2) of a regular file: IN_CREATE */
    OUTSIDE_MKDIR,  /* mkdir(2): the same for a directory */
    OUTSIDE_REMOVE, /* unlink(2): IN_DELETE */
};

struct outside_act {
    enum outside_kind kind;
    const char *path; /* from the mount's root on, without a leading slash; under 4096 bytes */
    uint64_t subject; /* for whoever answers its requests (outside_asks()): a node id; 0 */
};

struct outside;

/* Forks the process. No other thread runs yet. NULL: e says why. */
struct outside *outside_start(const char *mountpoint, struct err *e);
/* What was mounted; before the first act. */
void outside_mounted(struct outside *outside, const struct mounted_device *device);
/* Does it, and waits until it is done: it takes requests of ours, so never on a FUSE worker nor with a lock that one
 * takes. One act at a time: other threads wait for their turn. 0, or the errno of the act, or -EPIPE. */
int outside_act(struct outside *outside, const struct outside_act *act);
/* Whether a request of process pid belongs to the act that is being done; which is copied then (its path is not to be
 * looked at). Any thread. */
bool outside_asks(struct outside *outside, pid_t pid, struct outside_act *act);
pid_t outside_pid(const struct outside *outside);
/* After the connection has ended, so that no call of the process waits for an answer of ours: ends it, whatever it does
 * and also when somebody has stopped it (SIGSTOP). An act that another thread waits for is -EPIPE. */
void outside_stop(struct outside *outside);
/* No thread acts any more. Stops it, and waits for its end. */
void outside_end(struct outside *outside);

#endif
