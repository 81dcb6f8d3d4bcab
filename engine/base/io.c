/* engine/base/io.c: the system calls behind struct io, and the few loops that everybody needs over them.
 *
 * Nothing is kept: each function is one call, with EINTR retried and errno turned into a negative return. */
#include "engine/base/io.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Evaluates call until it is not interrupted; the value is its result or -errno. */
#define RETRY(type, call)                                                                                              \
    __extension__({                                                                                                    \
        type rc_;                                                                                                      \
        do {                                                                                                           \
            rc_ = (call);                                                                                              \
        } while (rc_ < 0 && errno == EINTR);                                                                           \
        rc_ < 0 ? -(type)errno : rc_;                                                                                  \
    })

/* A file that may not be longer (RLIMIT_FSIZE, or the file system's own limit) is a disk without room for more of it.
 */
static ssize_t no_room(ssize_t rc)
{
    return rc == -EFBIG ? -ENOSPC : rc;
}

static int posix_open(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    (void)io;
    return RETRY(int, openat(dirfd, name, flags | O_CLOEXEC, mode));
}

/* Linux has given the descriptor back even when close(2) says EINTR. */
static int posix_close(struct io *io, int fd)
{
    (void)io;
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static ssize_t posix_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    (void)io;
    return RETRY(ssize_t, pread(fd, buf, len, at));
}

static ssize_t posix_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    (void)io;
    /* The one write that every append does twice, without libc's work for thread cancellation (nobody cancels here). */
    if (iovcnt == 1) {
        return no_room(RETRY(ssize_t, syscall(SYS_pwrite64, fd, iov->iov_base, iov->iov_len, at)));
    }
    return no_room(RETRY(ssize_t, pwritev(fd, iov, iovcnt, at)));
}

static int posix_ftruncate(struct io *io, int fd, int64_t size)
{
    (void)io;
    return (int)no_room(RETRY(int, ftruncate(fd, size)));
}

/* ext4 reserves blocks one by one as a write dirties its pages, which takes 0.4 of a write of 1 MiB; others were not
 * measured, and are not asked. What it cannot give as a whole it takes from others until that is given back: so it is
 * not asked for the last of them. */
static int posix_allocate(struct io *io, int fd, int64_t at, int64_t len)
{
    static const uint64_t spare_bytes = 64 << 20;
    struct statfs fs;

    (void)io;
    if (fstatfs(fd, &fs) < 0) {
        return -errno;
    }
    if (fs.f_type != EXT4_SUPER_MAGIC) {
        return -EOPNOTSUPP;
    }
    if ((uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize < (uint64_t)len + spare_bytes) {
        return -EAGAIN;
    }
    return RETRY(int, fallocate(fd, FALLOC_FL_KEEP_SIZE, at, len));
}

static int posix_fdatasync(struct io *io, int fd)
{
    (void)io;
    return RETRY(int, fdatasync(fd));
}

static int posix_fsync(struct io *io, int fd)
{
    (void)io;
    return RETRY(int, fsync(fd));
}

static int posix_fstat(struct io *io, int fd, struct stat *st)
{
    (void)io;
    return RETRY(int, fstat(fd, st));
}

static int posix_set_mtime(struct io *io, int fd, int64_t mtime_ms)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT},
                                     {.tv_sec = mtime_ms / 1000, .tv_nsec = mtime_ms % 1000 * 1000000}};

    (void)io;
    return RETRY(int, futimens(fd, times));
}

static int posix_rename(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    (void)io;
    return RETRY(int, renameat(from_dirfd, from, to_dirfd, to));
}

static int posix_unlink(struct io *io, int dirfd, const char *name, int flags)
{
    (void)io;
    return RETRY(int, unlinkat(dirfd, name, flags));
}

static int posix_mkdir(struct io *io, int dirfd, const char *name, mode_t mode)
{
    (void)io;
    return RETRY(int, mkdirat(dirfd, name, mode));
}

static int posix_list(struct io *io, int dirfd, int (*each)(void *arg, const char *name), void *arg)
{
    int rc = 0;
    DIR *dir;
    /* A descriptor of its own: a directory stream moves the offset that duplicates share. */
    int fd = posix_open(io, dirfd, ".", O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0) {
        return fd;
    }
    dir = fdopendir(fd);
    if (dir == NULL) {
        rc = -errno;
        close(fd);
        return rc;
    }
    while (rc == 0) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(dir);
        if (entry == NULL) {
            rc = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rc = each(arg, entry->d_name);
        }
    }
    closedir(dir);
    return rc;
}

static int posix_map(struct io *io, int fd, size_t len, const void **out)
{
    void *addr;

    (void)io;
    addr = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (addr == MAP_FAILED) {
        return -errno;
    }
    *out = addr;
    return 0;
}

static int posix_unmap(struct io *io, const void *addr, size_t len)
{
    (void)io;
    return munmap((void *)(uintptr_t)addr, len) < 0 ? -errno : 0;
}

static int posix_lock(struct io *io, int fd)
{
    (void)io;
    return RETRY(int, flock(fd, LOCK_EX | LOCK_NB));
}

static struct io posix_io = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwritev = posix_pwritev,
    .ftruncate = posix_ftruncate,
    .allocate = posix_allocate,
    .fdatasync = posix_fdatasync,
    .fsync = posix_fsync,
    .fstat = posix_fstat,
    .set_mtime = posix_set_mtime,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .mkdir = posix_mkdir,
    .list = posix_list,
    .map = posix_map,
    .unmap = posix_unmap,
    .lock = posix_lock,
};

struct io *io_posix(void)
{
    return &posix_io;
}

int io_pread_all(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    uint8_t *to = buf;

    while (len > 0) {
        ssize_t n = io->pread(io, fd, to, len, at);

        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            return -EIO;
        }
        to += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Fills part with what of iov lies behind the first `skip` bytes, as much as fits. Returns how many. */
static int iov_rest(const struct iovec *iov, int iovcnt, size_t skip, struct iovec *part, int part_max)
{
    int count = 0;

    for (int i = 0; i < iovcnt && count < part_max; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        part[count].iov_base = (uint8_t *)iov[i].iov_base + skip;
        part[count].iov_len = iov[i].iov_len - skip;
        skip = 0;
        count++;
    }
    return count;
}

int io_pwritev_all(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    enum { PART_MAX = 128 };
    struct iovec part[PART_MAX];
    size_t total = 0;
    size_t done = 0;

    for (int i = 0; i < iovcnt; i++) {
        total += iov[i].iov_len;
    }
    while (done < total) {
        ssize_t n;

        /* The usual call is one write of the caller's own array. */
        if (done == 0 && iovcnt <= IOV_MAX) {
            n = io->pwritev(io, fd, iov, iovcnt, at);
        } else {
            int count = iov_rest(iov, iovcnt, done, part, PART_MAX);

            n = io->pwritev(io, fd, part, count, at + (int64_t)done);
        }
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            return -EIO;
        }
        done += (size_t)n;
    }
    return 0;
}

/* Writes and fsyncs one new file. On failure it is left behind, to be replaced by the next attempt. */
static int write_synced(struct io *io, int dirfd, const char *name, const void *data, size_t len)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    int rc;
    int fd = io->open(io, dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (fd < 0) {
        return fd;
    }
    rc = io_pwritev_all(io, fd, &iov, 1, 0);
    if (rc == 0) {
        rc = io->fsync(io, fd);
    }
    if (io->close(io, fd) < 0 && rc == 0) {
        rc = -EIO;
    }
    return rc;
}

int io_replace_file(struct io *io, int dirfd, const char *name, const void *data, size_t len, struct err *e)
{
    char tmp[NAME_MAX + 1];
    int rc;

    rc = snprintf(tmp, sizeof tmp, "%s.tmp", name);
    assert(rc > 0 && (size_t)rc < sizeof tmp);
    rc = write_synced(io, dirfd, tmp, data, len);
    if (rc < 0) {
        err_sys(e, rc, "write %s", tmp);
        goto err_after_create;
    }
    rc = io->rename(io, dirfd, tmp, dirfd, name);
    if (rc < 0) {
        err_sys(e, rc, "rename %s to %s", tmp, name);
        goto err_after_create;
    }
    rc = io->fsync(io, dirfd);
    return rc < 0 ? err_sys(e, rc, "fsync the directory of %s", name) : 0;

err_after_create:
    /* On a full disk the half-written file would only be in the way. */
    (void)io->unlink(io, dirfd, tmp, 0);
    return rc;
}

static int exists(struct io *io, int dirfd, const char *name)
{
    int fd = io->open(io, dirfd, name, O_RDONLY, 0);

    if (fd < 0) {
        return fd == -ENOENT ? 0 : fd;
    }
    (void)io->close(io, fd);
    return 1;
}

int io_put_aside(struct io *io, int dirfd, const char *from, const char *stem, const char *suffix,
                 char to[IO_NAME_BYTES])
{
    unsigned n = 0;
    int rc;

    /* rename(2) would replace an empty directory, so it does not do to try. */
    do {
        rc = snprintf(to, IO_NAME_BYTES, "%s.%u-%s", stem, n++, suffix);
        rc = rc < IO_NAME_BYTES ? exists(io, dirfd, to) : -ENAMETOOLONG;
        if (rc == 0) {
            rc = io->rename(io, dirfd, from, dirfd, to);
            if (rc == 0) {
                return 0;
            }
        }
    } while (rc == 1 || rc == -ENOTEMPTY || rc == -EEXIST);
    return rc;
}

struct directory {
    struct io *io;
    int fd;
};

static int unlink_in(void *arg, const char *name)
{
    const struct directory *directory = arg;
    int rc = directory->io->unlink(directory->io, directory->fd, name, 0);

    return rc == -ENOENT ? 0 : rc;
}

int io_remove_dir(struct io *io, int dirfd, const char *name)
{
    struct directory directory = {io, io->open(io, dirfd, name, O_RDONLY | O_DIRECTORY, 0)};
    int rc;

    if (directory.fd < 0) {
        return directory.fd == -ENOENT ? 0 : directory.fd;
    }
    rc = io->list(io, directory.fd, unlink_in, &directory);
    (void)io->close(io, directory.fd);
    if (rc == 0) {
        rc = io->unlink(io, dirfd, name, AT_REMOVEDIR);
    }
    return rc == -ENOENT ? 0 : rc;
}

static int read_open_file(struct io *io, int fd, size_t max, char **out, size_t *out_len)
{
    struct stat st;
    char *text;
    int rc = io->fstat(io, fd, &st);

    if (rc < 0) {
        return rc;
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > max) {
        return -EFBIG;
    }
    text = malloc((size_t)st.st_size + 1);
    if (text == NULL) {
        return -ENOMEM;
    }
    rc = io_pread_all(io, fd, text, (size_t)st.st_size, 0);
    if (rc < 0) {
        free(text);
        return rc;
    }
    text[st.st_size] = '\0';
    *out = text;
    *out_len = (size_t)st.st_size;
    return 0;
}

int io_read_file(struct io *io, int dirfd, const char *name, size_t max, char **out, size_t *out_len, struct err *e)
{
    int rc;
    int fd = io->open(io, dirfd, name, O_RDONLY, 0);

    *out = NULL;
    *out_len = 0;
    if (fd < 0) {
        return err_sys(e, fd, "open %s", name);
    }
    rc = read_open_file(io, fd, max, out, out_len);
    if (rc < 0) {
        err_sys(e, rc, "read %s", name);
    }
    (void)io->close(io, fd);
    return rc;
}
