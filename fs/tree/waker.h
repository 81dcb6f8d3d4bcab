/* fs/tree/waker.h: inotify watchers of a partition hear when its high watermark has moved, whoever moved it.
 *
 * An event comes of a system call alone, and appenders have nodes of their own (sharing.h), write through `.any`,
 * linger, or sit on another host. So a thread listens to the node's feed (partition_news) and has each node that
 * somebody may watch opened, touched and closed from outside (outside.h): IN_OPEN, IN_MODIFY, IN_CLOSE_WRITE, there and
 * in the directory. Where nobody may watch a partition itself, watchers of its directory are told of what the kernel
 * does not tell them itself (append_op.told). Watchers of `.segments` have told.h; of a partition that came since it
 * was shown they are told in `.segments` itself, IN_CREATE.
 *
 * Who may watch: whom the kernel still needs the node for. After a visit its name is looked up once more and answered
 * ENOENT: then the kernel forgets the node, unless it is watched or open, and the next visit knows.
 *
 *   heard --> queued --> visited --> resting --later news--> queued
 *                                       \--none--> given back: the next change is heard
 *
 * A partition rests LIMIT_WAKE_INTERVAL_MS; all visits together take a tenth of the time at most, but that no pause is
 * longer than LIMIT_WAKE_PAUSE_MS. */
#ifndef LOGMNT_FS_TREE_WAKER_H
#define LOGMNT_FS_TREE_WAKER_H

#include "fs/base/session.h"

struct waker;

struct waker *waker_new(struct session *session); /* NULL: no memory, no thread */
/* After the mount is gone (an act through it has returned by then) and nothing is heard any more. */
void waker_free(struct waker *waker);
/* node_feed.partition_changed(). */
void waker_hear(struct waker *waker, struct partition_news *news);

#endif
