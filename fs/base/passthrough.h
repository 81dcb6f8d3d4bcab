/* fs/base/passthrough.h: closed segments are read and mapped without us: FUSE passthrough (Linux 6.9).
 *
 * The kernel's page cache for FUSE works in single pages and the file system's below in large folios; a second `cat` of
 * a segment costs 1.3 times the plain file through the first and exactly as much through the second (tests/bench). So a
 * closed segment's descriptor is handed to the kernel as the backing file of an OPEN. libfuse has a call for this from
 * 3.17 on; with older ones the INIT answer gets its two bits on the way out, through libfuse's custom I/O.
 *
 * It needs CAP_SYS_ADMIN and a kernel that offers it; without, and for one of which not all has been checked, a file
 * is cached as any FUSE file; an active segment's, whose end is the high watermark and not the file's, is not at all.
 * An inode must not be open in both ways at once: the first open decides until the last close. */
#ifndef LOGMNT_FS_BASE_PASSTHROUGH_H
#define LOGMNT_FS_BASE_PASSTHROUGH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "engine/base/err.h"
#include "fs/base/fuse.h"

/* How a file is open; embed it in its vnode. */
struct passthrough {
    pthread_mutex_t lock;
    int opens;
    int fd;             /* while it is open: the file, also when it was deleted; -1 */
    int32_t backing_id; /* 0: cached */
};

/* After fuse_session_mount(), before the loop: sees whether the kernel offers it, and accepts. */
int passthrough_attach(struct fuse_session *fuse, struct err *e);

void passthrough_init(struct passthrough *pass);
/* One more open of the file behind fd. wanted: it may be handed to the kernel. Returns the backing id, or 0: cached. */
int32_t passthrough_open(struct passthrough *pass, struct fuse_session *fuse, int fd, bool wanted);
/* The size and times of a file that is open. false: it is not. */
bool passthrough_stat(struct passthrough *pass, struct stat *st);
void passthrough_release(struct passthrough *pass, struct fuse_session *fuse);
/* Answers an OPEN with a backing id, as fuse_reply_open() would. */
int passthrough_reply_open(fuse_req_t req, uint64_t fh, int32_t backing_id);

#endif
