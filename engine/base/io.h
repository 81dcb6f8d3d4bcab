/* engine/base/io.h: the only way to the disk.
 *
 * A table of functions over real descriptors. In production they are the system calls; tests put a table in front that
 * records, fails, tears or stops (tests/fault). All return a count, a descriptor or 0, or a negative errno; EINTR is
 * retried inside. Any thread. */
#ifndef LOGMNT_ENGINE_BASE_IO_H
#define LOGMNT_ENGINE_BASE_IO_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "engine/base/err.h"

enum { IO_NAME_BYTES = 256 }; /* NAME_MAX and a NUL */

struct io {
    int (*open)(struct io *io, int dirfd, const char *name, int flags, mode_t mode); /* O_CLOEXEC is added */
    int (*close)(struct io *io, int fd);
    ssize_t (*pread)(struct io *io, int fd, void *buf, size_t len, int64_t at);
    ssize_t (*pwritev)(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at); /* may be short */
    int (*ftruncate)(struct io *io, int fd, int64_t size);
    /* Blocks for [at, at + len), the file's size as it is; ftruncate() gives back those behind its end. -EOPNOTSUPP: no
     * write is known to be faster for it; -EAGAIN: the disk has little left: these two take nothing. */
    int (*allocate)(struct io *io, int fd, int64_t at, int64_t len);
    int (*fdatasync)(struct io *io, int fd);
    int (*fsync)(struct io *io, int fd); /* files and directories */
    int (*fstat)(struct io *io, int fd, struct stat *st);
    int (*set_mtime)(struct io *io, int fd, int64_t mtime_ms);
    int (*rename)(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to);
    int (*unlink)(struct io *io, int dirfd, const char *name, int flags); /* flags: AT_REMOVEDIR or 0 */
    int (*mkdir)(struct io *io, int dirfd, const char *name, mode_t mode);
    /* Calls each() for every name but . and ..; a non-zero return of each() ends it and is returned. */
    int (*list)(struct io *io, int dirfd, int (*each)(void *arg, const char *name), void *arg);
    /* A read-only shared mapping of [0, len) of fd; the file may be shorter and grow into it. */
    int (*map)(struct io *io, int fd, size_t len, const void **out);
    int (*unmap)(struct io *io, const void *addr, size_t len);
    int (*lock)(struct io *io, int fd); /* flock(2), LOCK_EX: -EWOULDBLOCK when another open file has it */
};

/* The system calls. */
struct io *io_posix(void);

/* Loops over short reads and writes. io_pread_all returns -EIO when the file ends first. io_pwritev_all: what was
 * written before a failure stays in the file; the caller cuts it off. */
int io_pread_all(struct io *io, int fd, void *buf, size_t len, int64_t at);
int io_pwritev_all(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at);

/* Replaces a small file atomically: name.tmp, write, fsync, rename, fsync of the directory. */
int io_replace_file(struct io *io, int dirfd, const char *name, const void *data, size_t len, struct err *e);

/* Gives the directory `from` the first name STEM.N-SUFFIX, N from 0, that is not there, and tells it in `to`. Such
 * names come into being here alone, so that one whose directory is just being removed is never another's. The caller
 * fsyncs dirfd. */
int io_put_aside(struct io *io, int dirfd, const char *from, const char *stem, const char *suffix,
                 char to[IO_NAME_BYTES]);

/* Removes a directory that holds files only. What goes meanwhile is gone, and so is one that is not there. */
int io_remove_dir(struct io *io, int dirfd, const char *name);

/* Reads a whole small file, at most max bytes (-EFBIG above). *out is malloc-ed, with a NUL behind it; the caller
 * frees it. -ENOENT leaves *out NULL. */
int io_read_file(struct io *io, int dirfd, const char *name, size_t max, char **out, size_t *out_len, struct err *e);

#endif
