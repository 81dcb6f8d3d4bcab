/* fs/tree/handle.h: one open file, shared by all descriptors that fork and dup make of it: what fi->fh points to. */
#ifndef LOGMNT_FS_TREE_HANDLE_H
#define LOGMNT_FS_TREE_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/base/fence.h"
#include "fs/base/fuse.h"
#include "fs/base/session.h"
#include "fs/consume/history.h"
#include "fs/consume/posmap.h"
#include "fs/tree/tree.h"

struct listing;
struct sync_op;

/* What an open file that appends keeps between writes. The kernel lets one write(2) of an open file through at a time;
 * the lock is against its FLUSH and RELEASE. */
struct producer {
    pthread_mutex_t lock;
    struct topic_config config; /* a copy, as of generation */
    uint64_t generation;
    struct framing_state scan; /* of the unfinished record */
    uint8_t *rest;             /* its bytes */
    size_t rest_len, rest_capacity;
    bool refusing;          /* a line was too long and came in pieces: refuse up to the next newline */
    struct fence_post post; /* up between a FLUSH that left a rest and the RELEASE or WRITE that follows */
    struct write_op *spare; /* one that is not in use */
    struct pfile **targets; /* `.any`: by partition, referenced; NULL entries: not yet written to */
    int32_t target_count;
};

/* What was appended through an open file, and with linger.ms what is still on its way. handle's lock but for upto. */
struct produced {
    _Atomic int64_t upto; /* a partition's own file: behind the last record; 0: nothing yet */
    int64_t *any_upto;    /* `.any`: likewise, by partition */
    int32_t any_count;
    uint64_t lots;   /* lingering batches that ever got records of this open file: the number of the last one */
    int outstanding; /* those of them that are not over */
    int error;       /* the first failure that nobody waited for and nobody was told of; 0 or a negative errno */
    bool released;   /* closed for good with something on its way: the fence (producer.post) goes down behind it */
    struct sync_op *waiters;
};

/* `.json`: text is generated as it is read. handle's lock. */
struct json_view {
    struct history history; /* what was read */
    char *text;             /* what was made and not yet read */
    size_t text_len, text_used;
    struct log_point next; /* the record to show next */
    struct log_run run;    /* that it is in; len 0: none yet */
};

/* The locks that were taken through an open file: its last close drops them (those of a process go with each close of
 * its own). handle's lock. */
struct held_locks {
    uint64_t *owners; /* of fcntl(2) locks: processes, or this open file (F_OFD_SETLK) */
    size_t owner_count;
    bool flocked;
    uint64_t flock_owner;
    struct fence_post post; /* up between a FLUSH and the RELEASE that may follow */
};

struct handle {
    struct session *session;
    struct vnode *vnode; /* alive until RELEASE */
    struct pfile *pfile; /* referenced; NULL where there is none */
    _Atomic int refs;
    bool appends;
    bool wakes; /* its appends go past the main node: inotify watchers must be told */
    pthread_mutex_t lock;
    struct producer producer;
    struct produced produced;
    struct held_locks held;
    struct posmap map; /* partitions, .follow */
    int64_t read_pos;  /* partitions: where the last read began. handle's lock */
    int64_t next_pos;  /* .follow: file position behind what was read */
    struct fuse_pollhandle *poll_handle;
    struct poll_watch *poll_watch;
    struct json_view *json;
    int fd;                  /* segment files; -1 */
    int32_t backing_id;      /* likewise: the kernel reads it without us; 0 */
    struct listing *listing; /* directories: ops_dir.c's */
    /* handles' lock */
    struct handle *prev, *next;
};

/* All open handles of a session. */
struct handles *handles_new(void);
/* How many there are: open, or closed and still needed by something under way. */
int handles_count(struct handles *handles);
/* Waits for what still refers to a handle. */
void handles_free(struct handles *handles, struct executor *executor);
/* Calls close_one(), which ends in handle_close(), for each; no request is being served any more. */
void handles_close_all(struct handles *handles, void (*close_one)(struct handle *handle));

struct handle *handle_new(struct session *session, struct vnode *vnode); /* NULL: no memory; one reference */
struct handle *handle_ref(struct handle *handle);
void handle_unref(struct handle *handle);
/* The open file is gone: takes it off the list and drops its reference. */
void handle_close(struct handle *handle);

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
    return (struct handle *)(uintptr_t)fi->fh;
}

#endif
