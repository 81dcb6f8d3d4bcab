/* fs/serve/notices.h: what is told to the kernel still when the loop has ended (fs/base/notice.h).
 *
 * It may wait for a request that the workers have left in the queue, or that is parked. So requests are answered on,
 * and those that are parked ended, until nothing is being told any more. What is not over after LIMIT_STOP_MS waits for
 * a request that nobody answers: then the connection is ended (guard.h), and with it all that wait. */
#ifndef LOGMNT_FS_SERVE_NOTICES_H
#define LOGMNT_FS_SERVE_NOTICES_H

#include "fs/base/session.h"

/* Lets no other one begin, and returns when there is none. The thread of the loop, after it; nobody else ends the
 * session meanwhile: libfuse would read a request and lose it. */
void notices_settle(struct session *session);

#endif
