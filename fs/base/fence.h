/* fs/base/fence.h: a look right after a close finds the record that the close made.
 *
 * The kernel sends FLUSH when a descriptor is closed and RELEASE when it was the last one, and waits for the answer of
 * the first only. A FLUSH that leaves an unterminated rest raises the partition's fence; that open file's RELEASE (the
 * rest is a record now) or next WRITE (it was not the last close) lowers it. While it is up, a request that looks at
 * the partition is parked if a worker may have a RELEASE in hand that was sent before it (workers.h), until none has
 * any more. A RELEASE that has come and waits for its record to be acknowledged is waited for, too, but no longer than
 * LIMIT_FENCE_MS; and no look waits for a close that came after it, so that many that write and close hold up nobody.
 *
 * Pages of the kernel's cache that are being dropped (pagecache.h) are waited for in the same way, behind a fence whose
 * patience is longer: what waits for a close may come early, and what waits for them may not.
 *
 * Any thread; each fence has a mutex, never held while a parked request runs. */
#ifndef LOGMNT_FS_BASE_FENCE_H
#define LOGMNT_FS_BASE_FENCE_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/base/fuse.h"
#include "replication/node/node.h"

struct fence_call;
struct node;
struct session;

/* An open file's part in a fence; embed it in the handle, zero-initialise. */
struct fence_post {
    bool raised;     /* the fence's lock */
    bool certain;    /* its RELEASE has come */
    uint64_t number; /* of those that were ever up in its fence */
    int64_t deadline_ms;
    struct fence_post *prev, *next;
};

/* Reference-counted: its owner's, each set alarm's and each parked request's. */
struct fence {
    _Atomic int refs;
    pthread_mutex_t lock;
    _Atomic int raised; /* how many posts are up */
    uint64_t ever;      /* how many were */
    struct fence_post *posts;
    struct fence_call *calls;
    struct node *node;
    int64_t patience_ms; /* LIMIT_FENCE_MS, or what the owner sets right after fence_new() */
    struct alarm alarm;  /* for posts */
    bool alarm_on;
    struct alarm look; /* for calls */
    bool look_on;
};

struct fence *fence_new(struct node *node); /* NULL: no memory */
void fence_unref(struct fence *fence);
/* The owner gives it up: no post is up, so nobody need look for any (nor would the alarm ring, at the end). Who waits
 * still, since the last post went down a moment ago (fence_lower_soon()), looks again as it would have. */
void fence_free(struct fence *fence);
void fence_raise(struct fence *fence, struct fence_post *post);
/* Its RELEASE has come, and fence_lower() will when its record is in the log. */
void fence_keep(struct fence *fence, struct fence_post *post);
void fence_lower(struct fence *fence, struct fence_post *post);
/* The same by a thread that has no time for the requests that waited: they run a little later. */
void fence_lower_soon(struct fence *fence, struct fence_post *post);

/* How many posts are up in all fences: one load says that there is nothing to look for. */
extern _Atomic int fence_all_raised;

/* One atomic load when nothing is raised. */
static inline bool fence_is_up(struct fence *fence)
{
    return atomic_load_explicit(&fence->raised, memory_order_acquire) > 0;
}

/* A request as libfuse handed it over, to be run again. */
struct fence_request {
    fuse_req_t req;
    fuse_ino_t ino;
    const char *name; /* copied; NULL: none */
    const char *data; /* WRITE, SETXATTR: size bytes, copied; NULL: none */
    size_t size;
    off_t off;
    struct fuse_file_info fi;
    bool has_fi;
    struct flock lock; /* SETLK */
    int arg;           /* SETLK: whether it may wait; FLOCK: its operation; SETXATTR: flags; READDIR: with nodes */
    void (*run)(const struct fence_request *request);
    void (*aborted)(
        const struct fence_request *request); /* NULL, or: it is not run any more; before it is answered so */
};

/* For whoever parks one: with copies of name and data. false: no memory. */
bool fence_request_copy(struct fence_request *to, const struct fence_request *from);
void fence_request_free(struct fence_request *copy);

/* Parks the request until what it must not overtake is done. false: there is nothing, or this request has waited for
 * this fence already, or for as long as it may: go on. One that looks behind several waits no longer for all than for
 * one. */
bool fence_wait(struct fence *fence, struct session *session, const struct fence_request *request);
/* Whether this thread is running a request that has waited, which may be one of the pool's. */
bool fence_runs_again(void);

#endif
