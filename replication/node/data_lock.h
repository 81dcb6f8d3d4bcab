/* replication/node/data_lock.h: the lock on the data directory: flock(2) on DATA/lock, which says "pid\nstate\n", state
 * being running or stopping, and behind running, once there is a mount, "mount major:minor path\n". A lock belongs to
 * the open file, so it goes with its process, whatever ends it. Whether a holder is about to go /proc knows: it is a
 * process of this machine. */
#ifndef LOGMNT_REPLICATION_NODE_DATA_LOCK_H
#define LOGMNT_REPLICATION_NODE_DATA_LOCK_H

#include <pthread.h>
#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/base/io.h"
#include "replication/executor/executor.h"

struct data_lock {
    struct io *io;
    int fd;
    pthread_mutex_t lock; /* over what the file says */
    bool stopping;        /* which is its last word */
};

/* Takes the lock of the directory (name for the messages). A holder that is stopping, exiting, about to be killed or
 * gone, or whose mount is, is waited for, wait_ms at most. -EBUSY with the holder's pid; errnos of open(2) and
 * flock(2). Not from a work. */
int data_lock_take(struct io *io, struct executor *executor, int dirfd, const char *name, int wait_ms,
                   struct data_lock *out, struct err *e);
/* Says in the file what the holder serves: a mount of that device, at a path that its own mount table has by now.
 * Served where that has none (in another namespace), it says nothing of it: a start does not wait for such a one. To be
 * said again when the table has changed. Any thread. */
void data_lock_mounted(struct data_lock *lock, unsigned dev_major, unsigned dev_minor);
/* Says "stopping" in the file. Any thread. */
void data_lock_stopping(struct data_lock *lock);
void data_lock_release(struct data_lock *lock);

#endif
