/* tests/unit/fake_fuse.h: libfuse's part in a request that is parked, for tests of fs/ without a mount: the answer is
 * kept to be looked at, and an interrupt comes when the test says so. Stands in for the shared library's functions. */
#ifndef LOGMNT_TESTS_UNIT_FAKE_FUSE_H
#define LOGMNT_TESTS_UNIT_FAKE_FUSE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/base/fuse.h"

struct fuse_req {
    struct fuse_ctx ctx;
    const gid_t *groups;  /* the caller's supplementary ones; the test's to set */
    int group_count;      /* negative: an errno */
    void *userdata;       /* the session's; the test's to set */
    pthread_mutex_t lock; /* as in libfuse: held while the interrupt function runs and while it changes */
    fuse_interrupt_func_t interrupt;
    void *interrupt_arg;
    _Atomic int answers; /* how often it was answered */
    _Atomic int err;     /* an errno, or 0 */
    _Atomic size_t written;
    char *bytes; /* of an answer that is some, with a '\0' behind them; the test's to free. Set before `answers` */
    size_t len;
    fuse_ino_t ino; /* of an answer that is a node */
    uint64_t fh;    /* of one that is an open file */
};

/* A request of the thread tid. */
void fake_fuse_request(struct fuse_req *req, pid_t tid);
/* FUSE_INTERRUPT. */
void fake_fuse_interrupt(struct fuse_req *req);

#endif
