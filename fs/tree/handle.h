/* fs/tree/handle.h: one open file, shared by all descriptors that fork and dup make of it: what fi->fh points to. */
#ifndef LOGMNT_FS_TREE_HANDLE_H
#define LOGMNT_FS_TREE_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/base/fence.h"
#include "fs/base/fuse.h"
#include "fs/base/reread.h"
#include "fs/base/session.h"
#include "fs/tree/tree.h"

struct listing;
struct producer;
struct reader;

/* The locks that were taken through an open file: its last close drops them (those of a process go with each close of
 * its own). handle's lock. */
struct held_locks {
    uint64_t *owners; /* of fcntl(2) locks: processes, or this open file (F_OFD_SETLK) */
    size_t owner_count;
    bool flocked;
    uint64_t flock_owner;
    struct fence_post post; /* up between a FLUSH and the RELEASE that may follow */
};

/* Whether READs that come through the kernel's cache are answered: decided at the first one, so that a program that
 * falls back to read(2) when its first sendfile fails is not served half by the one and half by the other. */
enum handle_cached { CACHED_ASKED_NEVER, CACHED_SERVED, CACHED_REFUSED };

/* Requests of one open file may come side by side, from as many threads as use it. What has no lock here is set at open
 * and stays. */
struct handle {
    struct session *session;
    struct vnode *vnode; /* alive until RELEASE */
    struct pfile *pfile; /* referenced; NULL where there is none */
    _Atomic int refs;
    bool appends;
    bool outside;              /* outside.h's: no open file of anybody's */
    _Atomic int writing;       /* handle.c's: WRITEs under way; whether it is counted in its node and pfile */
    _Atomic int cached;        /* enum handle_cached: partitions */
    int fd;                    /* segment files; -1 */
    int32_t backing_id;        /* likewise: the kernel reads it without us; 0 */
    struct segment *unchecked; /* likewise: what its reads look at first (log_file_check()); NULL */
    pthread_mutex_t lock;
    struct producer *producer; /* producer.h: partitions and .any; who has the turn, and locks of its own */
    struct reader *reader;     /* reader.h: partitions and their views, open for reading; handle's lock */
    struct held_locks held;    /* handle's lock */
    _Atomic int64_t skipped;   /* .follow: records that its reads passed over */
    struct rereads rereads;    /* who reads it by io_uring; its own lock */
    struct listing *listing;   /* directories: ops_dir.c's; handle's lock */
    /* handles' lock */
    struct handle *prev, *next;
};

/* All open handles of a session. gone() frees what the floors above keep with one whose last reference goes. */
struct handles *handles_new(void (*gone)(struct handle *handle));
/* How many there are: open, or closed and still needed by something under way. */
int handles_count(struct handles *handles);
/* Waits for what still refers to a handle. */
void handles_free(struct handles *handles, struct executor *executor);
/* Calls close_one(), which ends in handle_close(), for each; no request is being served any more. */
void handles_close_all(struct handles *handles, void (*close_one)(struct handle *handle));

/* How many open files a node has. *only: that one, referenced, if it is one. */
int handles_of(struct handles *handles, const struct vnode *vnode, struct handle **only);

struct handle *handle_new(struct session *session, struct vnode *vnode); /* NULL: no memory; one reference */
struct handle *handle_ref(struct handle *handle);
void handle_unref(struct handle *handle);
/* A WRITE has come: the open file is being appended to, and counted so in its node and pfile, from here on. */
void handle_write_begun(struct handle *handle);
/* It is settled, and answered after this: the FLUSH that may follow on the answer knows. */
void handle_write_over(struct handle *handle);
/* What was written can be seen (FLUSH): it is being appended to no more, unless a WRITE is under way, through another
 * descriptor. `last`: there is none any more (RELEASE). */
void handle_written(struct handle *handle, bool last);
/* The open file is gone: takes it off the list and drops its reference. */
void handle_close(struct handle *handle);

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct handle *)(uintptr_t)fi->fh;
}

#endif
