/* fs/base/mounted.h: whether the mount is still there.
 *
 * The kernel tells a FUSE daemon that its mount has gone by ending the connection. That it does when nothing holds the
 * file system any more: not while a clone of the mount is kept (outside.h), nor after `umount -l` while a file is open.
 * So the mount table is watched: /proc/self/mountinfo tells poll(2) of each change (proc_pid_mountinfo(5)), and a mount
 * of ours is told by its device, wherever it was moved to.
 *
 * A bind mount counts as the mount itself: the daemon serves as long as there is one. In another mount namespace
 * nothing tells of changes, so who is mounted only there looks again from time to time (MOUNTED_ELSEWHERE).
 *
 *     LISTENING --- the table has changed ---> looked at ---> PAUSING --- LIMIT_MOUNT_PAUSE_MS are over ---> LISTENING
 *
 * What changes while it is PAUSING poll(2) tells of at its end. */
#ifndef LOGMNT_FS_BASE_MOUNTED_H
#define LOGMNT_FS_BASE_MOUNTED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "engine/base/err.h"

struct mounted_device {
    unsigned major, minor;
};

enum mounted_where {
    MOUNTED_HERE,      /* in this process's mount namespace */
    MOUNTED_ELSEWHERE, /* only in another one */
    MOUNTED_NOWHERE,
};

struct mounted {
    struct mounted_device device;
    FILE *table;            /* its descriptor is what to poll, for POLLPRI; NULL: there is no /proc */
    int64_t looked_ms;      /* when it was looked at last */
    enum mounted_where was; /* what was found then */
};

/* The device of what is mounted at path, without asking whoever serves that. 0 or a negative errno. */
int mounted_device(const char *path, struct mounted_device *device);
bool mounted_is_at(const struct mounted_device *device, const char *path);
bool mounted_is_on(const struct mounted_device *device, int fd);

/* Begins to watch. 0, or a negative errno: there is no mount table to be read; mounted_look() says MOUNTED_HERE then.
 */
int mounted_open(struct mounted *mounted, const struct mounted_device *device, struct err *e);
/* except: a process whose namespace does not count. *pid: in whose namespace it is, when elsewhere. now_ms: on the
 * monotonic clock. */
enum mounted_where mounted_look(struct mounted *mounted, pid_t except, int64_t now_ms, pid_t *pid);
/* What is waited for after a look: ms as for poll(2), and whether a change of the table ends that. Without one it is
 * looked at again if it was found elsewhere, else only waited on. */
int mounted_wait(const struct mounted *mounted, int64_t now_ms, bool *listens);
void mounted_close(struct mounted *mounted);

#endif
