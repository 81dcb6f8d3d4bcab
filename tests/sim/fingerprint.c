/* tests/sim/fingerprint.c: the bytes of a snapshot, written to a disk that only adds them up. */
#include "tests/sim/fingerprint.h"

#include <assert.h>

#include "engine/base/container.h"
#include "replication/metadata/snapshot.h"

struct sink {
    struct io io;
    uint64_t sum;
    int64_t size;
};

static int sink_open(struct io *io, int dirfd, const char *path, int flags, mode_t mode)
{
    (void)io, (void)dirfd, (void)path, (void)flags, (void)mode;
    return 0;
}

static ssize_t sink_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    struct sink *sink = CONTAINER_OF(io, struct sink, io);
    ssize_t len = 0;
    (void)fd, (void)at;
    for (int i = 0; i < iovcnt; i++) {
        const uint8_t *bytes = iov[i].iov_base;
        for (size_t b = 0; b < iov[i].iov_len; b++)
            sink->sum = (sink->sum ^ bytes[b]) * 0x100000001b3u;
        len += (ssize_t)iov[i].iov_len;
    }
    return len;
}

static int sink_fd(struct io *io, int fd)
{
    (void)io, (void)fd;
    return 0;
}

static int sink_truncate(struct io *io, int fd, int64_t size)
{
    (void)io, (void)fd, (void)size;
    return 0;
}

static int sink_rename(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    (void)io, (void)from_dirfd, (void)from, (void)to_dirfd, (void)to;
    return 0;
}

static int sink_unlink(struct io *io, int dirfd, const char *path, int flags)
{
    (void)io, (void)dirfd, (void)path, (void)flags;
    return 0;
}

uint64_t fingerprint(const struct metadata *meta)
{
    struct sink sink = {.io = {.open = sink_open,
                               .close = sink_fd,
                               .pwritev = sink_pwritev,
                               .ftruncate = sink_truncate,
                               .fdatasync = sink_fd,
                               .fsync = sink_fd,
                               .rename = sink_rename,
                               .unlink = sink_unlink},
                        .sum = 0xcbf29ce484222325u};
    struct err e;
    int rc = snapshot_write(&sink.io, 0, meta, &e);
    assert(rc == 0);
    return sink.sum | 1;
}
