/* fs/serve/stopper.h: what ends a session: a signal, or that the mount has gone.
 *
 * A thread waits for SIGTERM, SIGINT and SIGHUP (which ends nothing: certificates are read anew) and watches the mount
 * table (mounted.h). When the last mount of ours has left it, the session ends as by SIGTERM, whatever is still
 * open in there (`umount -l`): what waits is answered ENOTCONN. While it is still mounted in another mount namespace it
 * is served on, and looked at again every LIMIT_MOUNT_LOOK_MS. */
#ifndef LOGMNT_FS_SERVE_STOPPER_H
#define LOGMNT_FS_SERVE_STOPPER_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/err.h"
#include "fs/base/mounted.h"
#include "fs/base/session.h"

struct stopper {
    struct session *session;
    pthread_t thread;
    pthread_t main; /* libfuse's loop looks at what we set only when this is woken */
    struct mounted mounted;
    int signal_fd, end_fd;
    bool elsewhere;
    _Atomic bool loop_ended;
};

/* The thread that will run the loop. The signals are blocked in all threads. 0 or a negative errno. */
int stopper_start(struct stopper *stopper, struct session *session, const struct mounted_device *device, struct err *e);
/* The loop has ended. Behind this nobody tells the session to end any more. */
void stopper_join(struct stopper *stopper);
/* Behind that. true: the mount is still there, to be unmounted. */
bool stopper_end(struct stopper *stopper);

#endif
