/* tests/fault/recorder.c: each function asks admit() first, does the call under the lock, and notes what it changed. */
#include "tests/fault/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const io_call_names[CALLS] = {
    [CALL_OPEN] = "open",       [CALL_CLOSE] = "close",         [CALL_PREAD] = "pread",
    [CALL_PWRITEV] = "pwritev", [CALL_FTRUNCATE] = "ftruncate", [CALL_FDATASYNC] = "fdatasync",
    [CALL_FSYNC] = "fsync",     [CALL_FSTAT] = "fstat",         [CALL_RENAME] = "rename",
    [CALL_UNLINK] = "unlink",   [CALL_MKDIR] = "mkdir",         [CALL_LIST] = "list",
    [CALL_MAP] = "map",         [CALL_UNMAP] = "unmap",
};

bool io_call_needs_room(enum io_call call)
{
    return call == CALL_OPEN || call == CALL_PWRITEV || call == CALL_RENAME || call == CALL_MKDIR;
}

bool io_call_mutates(enum io_call call)
{
    switch (call) {
    case CALL_PWRITEV:
    case CALL_FTRUNCATE:
    case CALL_FDATASYNC:
    case CALL_FSYNC:
    case CALL_RENAME:
    case CALL_UNLINK:
    case CALL_MKDIR:
        return true;
    default:
        return false;
    }
}

static struct recorder *of(struct io *io)
{
    return (struct recorder *)io;
}

/* ---- writing down ---- */

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static void note_call(struct recorder *r, enum io_call call)
{
    if (r->call_count == r->call_max) {
        r->call_max = r->call_max == 0 ? 256 : 2 * r->call_max;
        r->calls = must(realloc(r->calls, r->call_max));
    }
    r->calls[r->call_count++] = (uint8_t)call;
}

static struct record *note(struct recorder *r, enum record_kind kind, uint64_t file)
{
    if (!r->recording) {
        return NULL;
    }
    if (r->count == r->max) {
        r->max = r->max == 0 ? 256 : 2 * r->max;
        r->records = must(realloc(r->records, r->max * sizeof *r->records));
    }
    r->records[r->count] = (struct record){.kind = kind, .file = file};
    return &r->records[r->count++];
}

static uint64_t inode_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        abort();
    }
    return st.st_ino;
}

/* 0: no such name. */
static uint64_t inode_at(int dirfd, const char *name)
{
    struct stat st;

    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : st.st_ino;
}

/* The directory that a name, which may be a path, lies in. */
static uint64_t inode_of_parent(int dirfd, const char *name)
{
    char path[PATH_MAX];

    if (strchr(name, '/') == NULL) {
        return dirfd == AT_FDCWD ? inode_at(AT_FDCWD, ".") : inode_of(dirfd);
    }
    snprintf(path, sizeof path, "%s", name);
    return inode_at(dirfd, dirname(path));
}

static char *last_of(const char *name)
{
    const char *slash = strrchr(name, '/');

    return must(strdup(slash != NULL ? slash + 1 : name));
}

static void note_name(struct recorder *r, enum record_kind kind, uint64_t file, int dirfd, const char *name)
{
    struct record *record = note(r, kind, file);

    if (record != NULL) {
        record->dir = inode_of_parent(dirfd, name);
        record->name = last_of(name);
    }
}

static void note_size(struct recorder *r, uint64_t file, int64_t size)
{
    struct record *record = note(r, RECORD_TRUNCATE, file);

    if (record != NULL) {
        record->at = size;
    }
}

static void note_write(struct recorder *r, uint64_t file, const struct iovec *iov, int iovcnt, int64_t at, size_t len)
{
    struct record *record = note(r, RECORD_WRITE, file);
    size_t done = 0;

    if (record == NULL) {
        return;
    }
    record->at = at;
    record->len = len;
    record->bytes = must(malloc(len + 1));
    for (int i = 0; i < iovcnt && done < len; i++) {
        size_t n = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;

        memcpy(record->bytes + done, iov[i].iov_base, n);
        done += n;
    }
}

/* ---- letting through ---- */

/* Whether this one call can fail that way; threads may have put another one where it was expected. */
static bool can_hit(const struct fault *fault, enum io_call call, bool mutates)
{
    switch (fault->kind) {
    case FAULT_ERROR:
        /* Only what changes something can find no room. */
        return fault->error != -ENOSPC || mutates;
    case FAULT_SHORT:
        return call == CALL_PREAD || call == CALL_PWRITEV;
    case FAULT_SHORT_STOP:
        return call == CALL_PWRITEV;
    default:
        return false;
    }
}

/* 0: do it. Otherwise what to return; -EAGAIN: do half of it. Under the lock. */
static int admit(struct recorder *r, enum io_call call, bool mutates)
{
    uint32_t number = r->call_count;
    const struct fault *fault = &r->fault;

    note_call(r, call);
    if (mutates && r->stop_in == 0) {
        r->stopped = true;
    }
    if (mutates && r->stopped) {
        r->refused++;
        return -EIO;
    }
    if (r->stop_due && call == CALL_PWRITEV) {
        r->stop_due = false;
        return fault->error;
    }
    if (fault->kind == FAULT_FULL && number >= fault->call && mutates && io_call_needs_room(call)) {
        r->hit = true;
        return fault->error;
    }
    if (number == fault->call && can_hit(fault, call, mutates)) {
        r->hit = true;
        r->stop_due = fault->kind == FAULT_SHORT_STOP;
        return fault->kind == FAULT_ERROR ? fault->error : -EAGAIN;
    }
    if (mutates && r->stop_in != UINT32_MAX) {
        r->stop_in--;
    }
    return 0;
}

static int record_open(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    struct recorder *r = of(io);
    uint64_t before;
    struct stat st;
    bool makes;
    int rc;

    pthread_mutex_lock(&r->lock);
    before = (flags & O_CREAT) != 0 ? inode_at(dirfd, name) : 1;
    makes = before == 0 || (flags & O_TRUNC) != 0;
    rc = admit(r, CALL_OPEN, makes);
    if (rc == 0) {
        st.st_size = 0;
        if (before != 0 && (flags & O_TRUNC) != 0 && fstatat(dirfd, name, &st, 0) < 0) {
            st.st_size = 0;
        }
        rc = io_posix()->open(io_posix(), dirfd, name, flags, mode);
        if (rc >= 0 && before == 0) {
            note_name(r, RECORD_CREATE, inode_of(rc), dirfd, name);
        } else if (rc >= 0 && makes && st.st_size > 0) {
            note_size(r, inode_of(rc), 0);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int record_close(struct io *io, int fd)
{
    struct recorder *r = of(io);
    int rc, done;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_CLOSE, false);
    done = io_posix()->close(io_posix(), fd);
    pthread_mutex_unlock(&r->lock);
    return rc < 0 && rc != -EAGAIN ? rc : done;
}

static ssize_t record_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    struct recorder *r = of(io);
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_PREAD, false);
    pthread_mutex_unlock(&r->lock);
    if (rc < 0 && rc != -EAGAIN) {
        return rc;
    }
    return io_posix()->pread(io_posix(), fd, buf, rc == -EAGAIN ? (len + 1) / 2 : len, at);
}

static ssize_t write_half(int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    struct iovec part;
    size_t total = 0;

    for (int i = 0; i < iovcnt; i++) {
        total += iov[i].iov_len;
    }
    part = iov[0];
    if (part.iov_len > (total + 1) / 2) {
        part.iov_len = (total + 1) / 2;
    }
    return io_posix()->pwritev(io_posix(), fd, &part, 1, at);
}

static ssize_t record_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    struct recorder *r = of(io);
    ssize_t n;

    pthread_mutex_lock(&r->lock);
    n = admit(r, CALL_PWRITEV, true);
    if (n == 0 || n == -EAGAIN) {
        n = n == 0 ? io_posix()->pwritev(io_posix(), fd, iov, iovcnt, at) : write_half(fd, iov, iovcnt, at);
        if (n > 0) {
            note_write(r, inode_of(fd), iov, iovcnt, at, (size_t)n);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return n;
}

static int record_ftruncate(struct io *io, int fd, int64_t size)
{
    struct recorder *r = of(io);
    struct stat st;
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_FTRUNCATE, true);
    if (rc == 0) {
        if (fstat(fd, &st) < 0) {
            abort();
        }
        rc = io_posix()->ftruncate(io_posix(), fd, size);
        if (rc == 0 && st.st_size != size) {
            note_size(r, st.st_ino, size);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int sync_as(struct io *io, int fd, enum io_call call)
{
    struct recorder *r = of(io);
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, call, true);
    if (rc == 0) {
        note(r, RECORD_SYNC, inode_of(fd));
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int record_fdatasync(struct io *io, int fd)
{
    return sync_as(io, fd, CALL_FDATASYNC);
}

static int record_fsync(struct io *io, int fd)
{
    return sync_as(io, fd, CALL_FSYNC);
}

static int record_fstat(struct io *io, int fd, struct stat *st)
{
    struct recorder *r = of(io);
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_FSTAT, false);
    pthread_mutex_unlock(&r->lock);
    return rc < 0 ? rc : io_posix()->fstat(io_posix(), fd, st);
}

static int record_rename(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    struct recorder *r = of(io);
    uint64_t file;
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_RENAME, true);
    if (rc == 0) {
        file = inode_at(from_dirfd, from);
        rc = io_posix()->rename(io_posix(), from_dirfd, from, to_dirfd, to);
        if (rc == 0 && r->recording) {
            note_name(r, RECORD_RENAME, file, from_dirfd, from);
            r->records[r->count - 1].to_dir = inode_of_parent(to_dirfd, to);
            r->records[r->count - 1].to_name = last_of(to);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int record_unlink(struct io *io, int dirfd, const char *name, int flags)
{
    struct recorder *r = of(io);
    uint64_t file;
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_UNLINK, true);
    if (rc == 0) {
        file = inode_at(dirfd, name);
        rc = io_posix()->unlink(io_posix(), dirfd, name, flags);
        if (rc == 0) {
            note_name(r, RECORD_UNLINK, file, dirfd, name);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int record_mkdir(struct io *io, int dirfd, const char *name, mode_t mode)
{
    struct recorder *r = of(io);
    bool there;
    int rc;

    pthread_mutex_lock(&r->lock);
    there = inode_at(dirfd, name) != 0;
    rc = admit(r, CALL_MKDIR, !there);
    if (rc == 0) {
        rc = io_posix()->mkdir(io_posix(), dirfd, name, mode);
        if (rc == 0) {
            note_name(r, RECORD_MKDIR, inode_at(dirfd, name), dirfd, name);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

static int record_list(struct io *io, int dirfd, int (*each)(void *arg, const char *name), void *arg)
{
    struct recorder *r = of(io);
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_LIST, false);
    pthread_mutex_unlock(&r->lock);
    return rc < 0 ? rc : io_posix()->list(io_posix(), dirfd, each, arg);
}

static int record_map(struct io *io, int fd, size_t len, const void **out)
{
    struct recorder *r = of(io);
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_MAP, false);
    pthread_mutex_unlock(&r->lock);
    return rc < 0 ? rc : io_posix()->map(io_posix(), fd, len, out);
}

static int record_unmap(struct io *io, const void *addr, size_t len)
{
    struct recorder *r = of(io);
    int rc, done;

    pthread_mutex_lock(&r->lock);
    rc = admit(r, CALL_UNMAP, false);
    pthread_mutex_unlock(&r->lock);
    done = io_posix()->unmap(io_posix(), addr, len);
    return rc < 0 ? rc : done;
}

/* Nothing that a start after a crash relies on. */
static int record_set_mtime(struct io *io, int fd, int64_t mtime_ms)
{
    (void)io;
    return io_posix()->set_mtime(io_posix(), fd, mtime_ms);
}

/* A hint, after which a disk has what it had before. */
static int record_allocate(struct io *io, int fd, int64_t at, int64_t len)
{
    (void)io, (void)fd, (void)at, (void)len;
    return -EOPNOTSUPP;
}

/* No matter of the disk: it goes with the process. */
static int record_lock(struct io *io, int fd)
{
    (void)io;
    return io_posix()->lock(io_posix(), fd);
}

/* ---- life ---- */

void recorder_init(struct recorder *r, bool recording)
{
    *r = (struct recorder){
        .io =
            {
                .open = record_open,
                .close = record_close,
                .pread = record_pread,
                .pwritev = record_pwritev,
                .ftruncate = record_ftruncate,
                .allocate = record_allocate,
                .fdatasync = record_fdatasync,
                .fsync = record_fsync,
                .fstat = record_fstat,
                .set_mtime = record_set_mtime,
                .rename = record_rename,
                .unlink = record_unlink,
                .mkdir = record_mkdir,
                .list = record_list,
                .map = record_map,
                .unmap = record_unmap,
                .lock = record_lock,
            },
        .recording = recording,
        .stop_in = UINT32_MAX,
    };
    pthread_mutex_init(&r->lock, NULL);
}

void recorder_free(struct recorder *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        free(r->records[i].name);
        free(r->records[i].to_name);
        free(r->records[i].bytes);
    }
    free(r->records);
    free(r->calls);
    pthread_mutex_destroy(&r->lock);
}

void record_print(const struct record *record)
{
    static const char *const kinds[] = {"create", "mkdir", "write", "truncate", "sync", "rename", "unlink"};
    bool renamed = record->to_name != NULL;

    fprintf(stderr, "%s inode %" PRIu64 " %s%s%s at %" PRId64 ", %zu bytes\n", kinds[record->kind], record->file,
            record->name != NULL ? record->name : "", renamed ? " to " : "", renamed ? record->to_name : "", record->at,
            record->len);
}

uint32_t recorder_count(struct recorder *r)
{
    uint32_t count;

    pthread_mutex_lock(&r->lock);
    count = r->count;
    pthread_mutex_unlock(&r->lock);
    return count;
}

void recorder_stop_after(struct recorder *r, uint32_t n)
{
    pthread_mutex_lock(&r->lock);
    r->stop_in = n;
    pthread_mutex_unlock(&r->lock);
}

void recorder_stop(struct recorder *r)
{
    recorder_stop_after(r, 0);
}

void recorder_resume(struct recorder *r)
{
    pthread_mutex_lock(&r->lock);
    r->stopped = false;
    r->stop_in = UINT32_MAX;
    pthread_mutex_unlock(&r->lock);
}

void recorder_arm(struct recorder *r, const struct fault *fault)
{
    pthread_mutex_lock(&r->lock);
    r->fault = *fault;
    r->hit = false;
    r->stop_due = false;
    r->call_count = 0;
    r->refused = 0;
    pthread_mutex_unlock(&r->lock);
}

void recorder_clear(struct recorder *r)
{
    pthread_mutex_lock(&r->lock);
    r->fault = (struct fault){0};
    r->stop_due = false;
    pthread_mutex_unlock(&r->lock);
}

bool recorder_hit(struct recorder *r)
{
    bool hit;

    pthread_mutex_lock(&r->lock);
    hit = r->hit;
    pthread_mutex_unlock(&r->lock);
    return hit;
}

uint32_t recorder_calls(struct recorder *r, uint8_t **out)
{
    uint32_t count;

    pthread_mutex_lock(&r->lock);
    count = r->call_count;
    *out = must(malloc(count + 1));
    memcpy(*out, r->calls, count);
    pthread_mutex_unlock(&r->lock);
    return count;
}

enum io_call recorder_call(struct recorder *r, uint32_t number)
{
    enum io_call call;

    pthread_mutex_lock(&r->lock);
    call = (enum io_call)r->calls[number];
    pthread_mutex_unlock(&r->lock);
    return call;
}
