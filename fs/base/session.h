/* fs/base/session.h: one mount: the FUSE session and what its requests share. */
#ifndef LOGMNT_FS_BASE_SESSION_H
#define LOGMNT_FS_BASE_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "fs/base/fuse.h"
#include "fs/base/options.h"
#include "fs/base/park.h"
#include "replication/node/node.h"

struct accumulators;
struct handles;
struct tree;
struct retries;
struct evictor;
struct waker;
struct orphans;
struct outside;
struct guard;

struct session {
    struct fuse_session *fuse;
    struct node *node;
    const struct options *options;
    const char *mountpoint; /* absolute */
    struct tree *tree;
    struct parks parks;
    struct handles *handles;
    struct retries *retries;
    struct orphans *orphans;
    struct node_feed feed;
    struct outside *outside;
    struct guard *guard;
    struct waker *waker;
    struct evictor *evictor;
    struct accumulators *accumulators;
    _Atomic bool ending;      /* no other notice begins (notice.h) */
    void (*ready)(void *arg); /* the mount answers */
    void *ready_arg;
};

/* The session a request belongs to. */
static inline struct session *session_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

#endif
