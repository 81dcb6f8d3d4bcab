/* fs/produce/waker.h: inotify watchers of a partition hear of appends that went past its main node.
 *
 * A contended appender writes through a node of its own, `.any` through another file: watchers sit on the main node and
 * the kernel tells them nothing. A thread of its own has the main node's mtime set from outside (outside.h; utimensat
 * with mtime alone is IN_MODIFY), at most once in LIMIT_WAKE_INTERVAL_MS a partition. */
#ifndef LOGMNT_FS_PRODUCE_WAKER_H
#define LOGMNT_FS_PRODUCE_WAKER_H

#include "fs/tree/handle.h"

struct waker *waker_new(struct session *session); /* NULL: no memory, no thread */
/* After the mount is gone (a call through it has returned by then). */
void waker_free(struct waker *waker);
/* Records of this open file are in the log. Any thread. */
void waker_appended(struct handle *handle, struct pfile *pfile);
/* The pfile goes. */
void waker_forget(struct pfile *pfile);

#endif
