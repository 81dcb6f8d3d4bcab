/* fs/serve/serve.h: a mount's life: what struct session (fs/base/session.h) names is made, served and taken down.
 *
 * serve_run() mounts, says so through ready(), serves until the mount goes away or a signal asks it to stop, answers
 * whatever is parked, appends what waits in open files as their last close would have, and returns. */
#ifndef LOGMNT_FS_SERVE_SERVE_H
#define LOGMNT_FS_SERVE_SERVE_H

#include "engine/base/err.h"
#include "fs/base/session.h"

/* 0 after a clean stop; a negative errno with the reason. The main thread; SIGTERM, SIGINT, SIGHUP must be blocked in
 * all threads. */
int serve_run(struct session *session, struct err *e);

#endif
