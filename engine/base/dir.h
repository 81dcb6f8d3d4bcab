/* engine/base/dir.h: a directory that is open only while somebody holds it, and that may be renamed meanwhile: a log at
 * rest has no descriptor.
 *
 * Any thread; the lock is its own, and nothing else is taken under it. */
#ifndef LOGMNT_ENGINE_BASE_DIR_H
#define LOGMNT_ENGINE_BASE_DIR_H

#include <pthread.h>
#include <stdbool.h>

#include "engine/base/err.h"
#include "engine/base/io.h"

struct dir {
    struct io *io;
    int parent_fd;
    int fd; /* -1 unless held; who holds it reads it without the lock */
    pthread_mutex_t lock;
    unsigned holds;
    bool aside; /* its name is one that dir_put_aside() gave */
    char name[IO_NAME_BYTES];
};

/* parent_fd stays the caller's and outlives it. The name has less than IO_NAME_BYTES. */
void dir_init(struct dir *dir, struct io *io, int parent_fd, const char *name);
void dir_destroy(struct dir *dir); /* nobody holds it */

/* Opens it, unless it is open, for as long as it is held. Errors: those of open. */
int dir_hold(struct dir *dir, struct err *e);
void dir_release(struct dir *dir);

/* Gives up its name: it goes on as NAME.<n>-SUFFIX, also one that is not there any more. The caller fsyncs the parent.
 * Errors: those of rename. */
int dir_put_aside(struct dir *dir, const char *suffix);

#endif
