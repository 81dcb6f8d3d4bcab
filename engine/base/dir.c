/* engine/base/dir.c: the descriptor is opened by the first who holds the directory and closed by the last. */
#include "engine/base/dir.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { NAME_CUT = 230 }; /* of the name, in the new one, as Kafka does, so that it always fits */

void dir_init(struct dir *dir, struct io *io, int parent_fd, const char *name)
{
    *dir = (struct dir){.io = io, .parent_fd = parent_fd, .fd = -1};
    assert(strlen(name) < sizeof dir->name);
    memcpy(dir->name, name, strlen(name) + 1);
    pthread_mutex_init(&dir->lock, NULL);
}

void dir_destroy(struct dir *dir)
{
    assert(dir->holds == 0);
    pthread_mutex_destroy(&dir->lock);
}

int dir_hold(struct dir *dir, struct err *e)
{
    int rc = 0;

    pthread_mutex_lock(&dir->lock);
    if (dir->holds == 0) {
        rc = dir->io->open(dir->io, dir->parent_fd, dir->name, O_RDONLY | O_DIRECTORY, 0);
        dir->fd = rc < 0 ? -1 : rc;
    }
    if (rc >= 0) {
        dir->holds++;
    }
    pthread_mutex_unlock(&dir->lock);
    return rc < 0 ? err_sys(e, rc, "open the directory %s", dir->name) : 0;
}

void dir_release(struct dir *dir)
{
    pthread_mutex_lock(&dir->lock);
    assert(dir->holds > 0);
    if (--dir->holds == 0) {
        dir->io->close(dir->io, dir->fd);
        dir->fd = -1;
    }
    pthread_mutex_unlock(&dir->lock);
}

int dir_put_aside(struct dir *dir, const char *suffix)
{
    char stem[NAME_CUT + 1];
    char name[IO_NAME_BYTES];
    int rc;

    pthread_mutex_lock(&dir->lock);
    snprintf(stem, sizeof stem, "%.*s", NAME_CUT, dir->name);
    rc = io_put_aside(dir->io, dir->parent_fd, dir->name, stem, suffix, name);
    rc = rc == -ENOENT ? 0 : rc; /* somebody has removed it: what has its name next is another one */
    if (rc == 0) {
        memcpy(dir->name, name, sizeof name);
        dir->aside = true;
    }
    pthread_mutex_unlock(&dir->lock);
    return rc;
}
