#include "fs/serve/notices.h"

#include <poll.h>
#include <stdlib.h>
#include <syslog.h>

#include "fs/base/guard.h"
#include "fs/base/limits.h"

/* Waits a millisecond for one. */
static void answer_one(struct session *session, struct fuse_buf *buf)
{
    struct pollfd request = {.fd = fuse_session_fd(session->fuse), .events = POLLIN};
    int rc = poll(&request, 1, 1);
    if (rc == 1 && request.revents == POLLIN) {
        /* What a session that has been told to end has read it throws away; libfuse's loop leaves it so, from 3.17 on.
         */
        fuse_session_reset(session->fuse);
        if (fuse_session_receive_buf(session->fuse, buf) > 0)
            fuse_session_process_buf(session->fuse, buf);
    } else if (rc != 0) { /* the connection has ended: they all come back */
        executor_pause(node_executor(session->node), 1);
    }
}

void notices_settle(struct session *session)
{
    struct clock *clock = node_clock(session->node);
    int64_t end_ms = clock->mono_ms(clock) + LIMIT_STOP_MS;
    struct fuse_buf buf = {0};
    bool ended = false;
    atomic_store(&session->ending, true);
    while (guard_notices(session->guard) > 0) {
        answer_one(session, &buf);
        (void)parks_abort_all(session);
        if (!ended && clock->mono_ms(clock) >= end_ms) {
            log_line(LOG_WARNING, "stopping: the kernel waits for a request that is not answered: all are ended");
            guard_end_connection(session->guard);
            ended = true;
        }
    }
    free(buf.mem);
}
