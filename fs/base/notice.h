/* fs/base/notice.h: what tells the kernel of names and pages and may wait there for a request of somebody's to be
 * answered: a MKDIR or RMDIR in the directory, a READ of the page. While one is under way a stop answers requests, also
 * when the workers have gone (fs/serve/notices.h); once it does so no more, none begins. (What is killed then:
 * guard.h.) */
#ifndef LOGMNT_FS_BASE_NOTICE_H
#define LOGMNT_FS_BASE_NOTICE_H

#include "fs/base/guard.h"
#include "fs/base/session.h"

/* false: nobody would answer any more. Any thread that answers no requests itself. */
static inline bool notice_begin(struct session *session)
{
    guard_notice_begin(session->guard);
    if (!atomic_load(&session->ending))
        return true;
    guard_notice_end(session->guard);
    return false;
}

static inline void notice_end(struct session *session)
{
    guard_notice_end(session->guard);
}

#endif
