#include "fs/base/passthrough.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/base/session.h"
#include "fs/base/workers.h"

/* The kernel's ABI (include/uapi/linux/fuse.h, 7.40), which Debian 12's header does not have yet. */
enum {
    INIT_FLAG_EXT = 1 << 30,         /* FUSE_INIT_EXT: flags2 is heeded */
    INIT_FLAG2_PASSTHROUGH = 1 << 5, /* FUSE_PASSTHROUGH, bit 37 of flags and flags2 */
    OPEN_PASSTHROUGH = 1 << 7,
};

struct init_answer {
    uint32_t major, minor, max_readahead, flags;
    uint16_t max_background, congestion_threshold;
    uint32_t max_write, time_gran;
    uint16_t max_pages, map_alignment;
    uint32_t flags2, max_stack_depth;
};

struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

struct open_answer {
    uint64_t fh;
    uint32_t open_flags;
    int32_t backing_id;
};

/* One session a process. The INIT request's id while it is being answered; 0: not yet, or over. */
static _Atomic uint64_t init_unique;
static _Atomic bool accepted;

static ssize_t read_request(int fd, void *buffer, size_t len, void *userdata)
{
    workers_read_begin();
    ssize_t got = read(fd, buffer, len);
    int error = errno;
    workers_read_end(got >= (ssize_t)sizeof(struct fuse_in_header) &&
                     ((const struct fuse_in_header *)buffer)->opcode == FUSE_RELEASE);
    errno = error;
    if (got < 0 && errno == ENODEV) {
        /* Unmounted: said before the loop has ended, since a start may come right behind. libfuse cancels its threads
         * in here once the loop ends, and one that is cancelled would not give back the lock that this takes. */
        int state;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
        node_stopping(((struct session *)userdata)->node);
        pthread_setcancelstate(state, NULL);
        errno = ENODEV;
    }
    const struct fuse_in_header *in = buffer;
    const struct fuse_init_in *init = (const void *)((const char *)buffer + sizeof *in);
    if (got >= (ssize_t)(sizeof *in + offsetof(struct fuse_init_in, flags2) + sizeof init->flags2) &&
        in->opcode == FUSE_INIT && (init->flags & INIT_FLAG_EXT) != 0 && (init->flags2 & INIT_FLAG2_PASSTHROUGH) != 0)
        atomic_store(&init_unique, in->unique);
    return got;
}

static ssize_t write_answer(int fd, struct iovec *iov, int count, void *userdata)
{
    (void)userdata;
    uint64_t unique = atomic_load_explicit(&init_unique, memory_order_relaxed);
    const struct fuse_out_header *out = iov[0].iov_base;
    if (unique != 0 && out->unique == unique && count == 2 && iov[1].iov_len >= sizeof(struct init_answer) &&
        out->error == 0) {
        struct init_answer *answer = iov[1].iov_base;
        answer->flags |= INIT_FLAG_EXT;
        answer->flags2 |= INIT_FLAG2_PASSTHROUGH;
        answer->max_stack_depth = 1; /* the backing file system is not itself a stacked one */
        atomic_store(&init_unique, 0);
        atomic_store(&accepted, true);
    }
#if defined(__SANITIZE_THREAD__)
    return writev(fd, iov, count); /* it sees what comes before what by the calls of the C library */
#else
    return syscall(SYS_writev, fd, iov, count); /* never cancelled: only a read of the next request is */
#endif
}

static ssize_t splice_answer(int from, off_t *from_off, int to, off_t *to_off, size_t len, unsigned flags,
                             void *userdata)
{
    (void)userdata;
    return splice(from, from_off, to, to_off, len, flags);
}

int passthrough_attach(struct fuse_session *fuse, struct err *e)
{
    static const struct fuse_custom_io io = {
        .read = read_request,
        .writev = write_answer,
        .splice_send = splice_answer,
    };
    int rc = fuse_session_custom_io(fuse, &io, fuse_session_fd(fuse));
    return rc != 0 ? err_sys(e, rc < 0 ? rc : -EIO, "attaching to the mount") : 0;
}

void passthrough_init(struct passthrough *pass)
{
    memset(pass, 0, sizeof *pass);
    pass->fd = -1;
    pthread_mutex_init(&pass->lock, NULL);
}

int32_t passthrough_open(struct passthrough *pass, struct fuse_session *fuse, int fd, bool wanted)
{
    pthread_mutex_lock(&pass->lock);
    if (pass->opens++ == 0) {
        pass->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        wanted = wanted && atomic_load(&accepted);
    } else {
        wanted = false;
    }
    if (wanted) {
        struct backing_map map = {.fd = fd};
        int id = ioctl(fuse_session_fd(fuse), BACKING_OPEN, &map);
        pass->backing_id = id > 0 ? id : 0; /* not allowed, or a file system that cannot: cached */
    }
    int32_t id = pass->backing_id;
    pthread_mutex_unlock(&pass->lock);
    return id;
}

bool passthrough_stat(struct passthrough *pass, struct stat *st)
{
    pthread_mutex_lock(&pass->lock);
    bool known = pass->fd >= 0 && fstat(pass->fd, st) == 0;
    pthread_mutex_unlock(&pass->lock);
    return known;
}

void passthrough_release(struct passthrough *pass, struct fuse_session *fuse)
{
    pthread_mutex_lock(&pass->lock);
    bool last = --pass->opens == 0;
    if (last && pass->backing_id != 0) {
        uint32_t id = (uint32_t)pass->backing_id;
        ioctl(fuse_session_fd(fuse), BACKING_CLOSE, &id);
        pass->backing_id = 0;
    }
    if (last && pass->fd >= 0) {
        close(pass->fd);
        pass->fd = -1;
    }
    pthread_mutex_unlock(&pass->lock);
}

int passthrough_reply_open(fuse_req_t req, uint64_t fh, int32_t backing_id)
{
    struct open_answer answer = {.fh = fh, .open_flags = OPEN_PASSTHROUGH, .backing_id = backing_id};
    return fuse_reply_buf(req, (const char *)&answer, sizeof answer);
}
