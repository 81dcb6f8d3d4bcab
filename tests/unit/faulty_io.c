/* tests/unit/faulty_io.c: see the header. */
#include "tests/unit/faulty_io.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>

static struct faulty_io *of(struct io *io)
{
    return (struct faulty_io *)((char *)io - offsetof(struct faulty_io, io));
}

static void wait_at_gate(struct faulty_io *faulty, enum faulty_call call)
{
    pthread_mutex_lock(&faulty->gate_lock);
    while (faulty->gate_shut && faulty->gate == call) {
        faulty->gate_waiting++;
        pthread_cond_broadcast(&faulty->gate_changed);
        pthread_cond_wait(&faulty->gate_changed, &faulty->gate_lock);
        faulty->gate_waiting--;
    }
    pthread_mutex_unlock(&faulty->gate_lock);
}

void faulty_io_shut(struct faulty_io *faulty, enum faulty_call gate)
{
    pthread_mutex_lock(&faulty->gate_lock);
    faulty->gate = gate;
    faulty->gate_shut = true;
    pthread_mutex_unlock(&faulty->gate_lock);
}

void faulty_io_await(struct faulty_io *faulty, int n)
{
    pthread_mutex_lock(&faulty->gate_lock);
    while (faulty->gate_waiting < n) {
        pthread_cond_wait(&faulty->gate_changed, &faulty->gate_lock);
    }
    pthread_mutex_unlock(&faulty->gate_lock);
}

void faulty_io_unshut(struct faulty_io *faulty)
{
    pthread_mutex_lock(&faulty->gate_lock);
    faulty->gate_shut = false;
    pthread_cond_broadcast(&faulty->gate_changed);
    pthread_mutex_unlock(&faulty->gate_lock);
}

/* Counts a call; its error, if it is to fail. */
static int spring(struct io *io, enum faulty_call call)
{
    struct faulty_io *faulty = of(io);
    int left;

    wait_at_gate(faulty, call);
    atomic_fetch_add(&faulty->calls[call], 1);
    if (call != faulty->fail || atomic_load(&faulty->countdown) == 0) {
        return 0;
    }
    left = atomic_fetch_sub(&faulty->countdown, 1);
    if (left != 1) {
        return 0;
    }
    if (faulty->sticky) {
        atomic_store(&faulty->countdown, 1);
    }
    return faulty->rc;
}

static int faulty_open(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    int rc = spring(io, (flags & O_TRUNC) != 0 ? FAULTY_OPEN : FAULTY_REOPEN);

    return rc < 0 ? rc : io_posix()->open(io_posix(), dirfd, name, flags, mode);
}

static ssize_t faulty_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    int rc = spring(io, FAULTY_PREAD);

    return rc < 0 ? rc : io_posix()->pread(io_posix(), fd, buf, len, at);
}

static ssize_t faulty_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    struct faulty_io *faulty = of(io);
    int rc = spring(io, FAULTY_PWRITEV);

    if (rc < 0 && faulty->short_bytes > 0) {
        struct iovec part = {.iov_base = iov[0].iov_base, .iov_len = faulty->short_bytes};

        part.iov_len = part.iov_len < iov[0].iov_len ? part.iov_len : iov[0].iov_len;
        /* It fits so far; what follows does not. */
        atomic_store(&faulty->countdown, 1);
        faulty->short_bytes = 0;
        return io_posix()->pwritev(io_posix(), fd, &part, 1, at);
    }
    return rc < 0 ? rc : io_posix()->pwritev(io_posix(), fd, iov, iovcnt, at);
}

static int faulty_ftruncate(struct io *io, int fd, int64_t size)
{
    int rc = spring(io, FAULTY_FTRUNCATE);

    return rc < 0 ? rc : io_posix()->ftruncate(io_posix(), fd, size);
}

static int faulty_fdatasync(struct io *io, int fd)
{
    int rc = spring(io, FAULTY_FDATASYNC);

    return rc < 0 ? rc : io_posix()->fdatasync(io_posix(), fd);
}

static int faulty_fsync(struct io *io, int fd)
{
    int rc = spring(io, FAULTY_FSYNC);

    return rc < 0 ? rc : io_posix()->fsync(io_posix(), fd);
}

static int faulty_rename(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    int rc = spring(io, FAULTY_RENAME);

    return rc < 0 ? rc : io_posix()->rename(io_posix(), from_dirfd, from, to_dirfd, to);
}

static int faulty_unlink(struct io *io, int dirfd, const char *name, int flags)
{
    int rc = spring(io, FAULTY_UNLINK);

    return rc < 0 ? rc : io_posix()->unlink(io_posix(), dirfd, name, flags);
}

static int faulty_list(struct io *io, int dirfd, int (*each)(void *arg, const char *name), void *arg)
{
    int rc = spring(io, FAULTY_LIST);

    return rc < 0 ? rc : io_posix()->list(io_posix(), dirfd, each, arg);
}

static int faulty_map(struct io *io, int fd, size_t len, const void **out)
{
    int rc = spring(io, FAULTY_MAP);

    return rc < 0 ? rc : io_posix()->map(io_posix(), fd, len, out);
}

void faulty_io_init(struct faulty_io *faulty)
{
    memset(faulty, 0, sizeof *faulty);
    pthread_mutex_init(&faulty->gate_lock, NULL);
    pthread_cond_init(&faulty->gate_changed, NULL);
    faulty->io = *io_posix();
    faulty->io.open = faulty_open;
    faulty->io.pread = faulty_pread;
    faulty->io.pwritev = faulty_pwritev;
    faulty->io.ftruncate = faulty_ftruncate;
    faulty->io.fdatasync = faulty_fdatasync;
    faulty->io.fsync = faulty_fsync;
    faulty->io.rename = faulty_rename;
    faulty->io.unlink = faulty_unlink;
    faulty->io.list = faulty_list;
    faulty->io.map = faulty_map;
}

void faulty_io_arm(struct faulty_io *faulty, enum faulty_call fail, int nth, int rc)
{
    faulty->fail = fail;
    faulty->rc = rc;
    faulty->sticky = false;
    faulty->short_bytes = 0;
    atomic_store(&faulty->countdown, nth);
}

void faulty_io_disarm(struct faulty_io *faulty)
{
    atomic_store(&faulty->countdown, 0);
}
