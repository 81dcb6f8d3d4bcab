/* replication/node/data_lock.h: the lock on the data directory: flock(2) on DATA/lock, which says "pid\nstate\n", state
 * being running or stopping, and behind running, once there is a mount, "mount major:minor path\n". A lock belongs to
 * the open file, so it goes with its process, whatever ends it. Whether a holder is about to go /proc knows: it is a
 * process of this machine. */
#ifndef LOGMNT_REPLICATION_NODE_DATA_LOCK_H
#define LOGMNT_REPLICATION_NODE_DATA_LOCK_H

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "replication/executor/executor.h"

/* Takes the lock of the directory (name for the messages). A holder that is stopping, exiting, about to be killed or
 * gone, or whose mount is, is waited for, wait_ms at most. *fd is the lock: close it to give the lock back. -EBUSY with
 * the holder's pid; errnos of open(2) and flock(2). Not from a work. */
int data_lock_take(struct io *io, struct executor *executor, int dirfd, const char *name, int wait_ms, int *fd,
                   struct err *e);
/* Says in the file what the holder serves: a mount of that device, at the path that its mount table has. */
void data_lock_mounted(struct io *io, int fd, unsigned dev_major, unsigned dev_minor);
/* Says "stopping" in the file. */
void data_lock_stopping(struct io *io, int fd);

#endif
