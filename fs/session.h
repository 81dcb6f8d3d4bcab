/* fs/session.h: one mount: the FUSE session and what its requests share.
 *
 * session_run() mounts, says so through ready(), serves until the mount goes away or a signal asks it to stop, answers
 * whatever is parked, appends what waits in open files as their last close would have, and returns. */
#ifndef LOGMNT_FS_SESSION_H
#define LOGMNT_FS_SESSION_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/err.h"
#include "fs/fuse.h"
#include "fs/options.h"
#include "fs/park.h"
#include "replication/node.h"

struct accumulators;
struct handles;
struct tree;
struct retries;
struct evictor;
struct waker;

struct session {
    struct fuse_session *fuse;
    struct node *node;
    const struct options *options;
    const char *mountpoint; /* absolute */
    struct tree *tree;
    struct parks parks;
    struct handles *handles;
    struct retries *retries;
    struct waker *waker;
    struct evictor *evictor;
    struct accumulators *accumulators;
    void (*ready)(void *arg); /* the mount answers */
    void *ready_arg;
};

/* 0 after a clean stop; a negative errno with the reason. The main thread; SIGTERM, SIGINT, SIGHUP must be blocked in
 * all threads. */
int session_run(struct session *session, struct err *e);

/* The session a request belongs to. */
static inline struct session *session_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

#endif
