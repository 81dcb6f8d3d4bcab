/* fs/serve/feed.h: what this node's commands do to topics, whoever proposed them, as the kernel has to hear of it; and
 * what becomes of partitions, as inotify watchers have to. */
#ifndef LOGMNT_FS_SERVE_FEED_H
#define LOGMNT_FS_SERVE_FEED_H

#include "fs/base/session.h"

/* From here on; the session's tree, orphans and waker are there. */
void feed_begin(struct session *session);
/* No call is under way any more. */
void feed_end(struct session *session);

#endif
