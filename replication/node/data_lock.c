/* replication/node/data_lock.c: the lock file, and what /proc knows of the holder.
 *
 * Between taking the lock and writing its pid a holder's file is empty or holds its predecessor's lines. So what the
 * file says of a holder is believed for good only when it says "running" and that process lives; a predecessor that is
 * gone looks like a holder that is dying, and is waited for. */
#include "replication/node/data_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* NOTICE_MS: what a holder whose mount has just gone may take to notice and say so. */
enum { RETRY_MS = 20, NOTICE_MS = 200 };
enum { TEXT_BYTES = 8192 }; /* of the lock file at most; with a longer path it does not name its mount */

static bool read_text(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, out, size - 1);
    close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* Gone, or with no memory any more, which is a zombie or on its way out of the kernel; or its core is being dumped, or
 * would be but for a limit; or SIGKILL is pending: kill -9 was sent, the process has not got to dying yet. Not by
 * /proc/PID/stat: whoever has the holder's pid by now may be in an execve(2) that does not come to an end, and that is
 * waited for there. */
static bool process_ending(pid_t pid)
{
    char path[64], text[16384];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (!read_text(path, text, sizeof text))
        return true;
    static const char *const masks[] = {"\nSigPnd:", "\nShdPnd:"};
    if (strstr(text, masks[1]) == NULL) /* it has more groups than there is room for */
        return false;
    for (size_t i = 0; i < 2; i++) {
        const char *line = strstr(text, masks[i]);
        if (line != NULL && (strtoull(line + strlen(masks[i]), NULL, 16) >> (SIGKILL - 1) & 1) != 0)
            return true;
    }
    return strstr(text, "\nVmSize:") == NULL || strstr(text, "\nCoreDumping:\t1\n") != NULL;
}

/* A mount as the mount table of the process has it (proc(5), mountinfo), by its device: what it is mounted at, escaped
 * as there; malloc-ed. at: that one alone counts, as another file system gets the device of one that has gone. NULL:
 * there is none, or (*unknown) it cannot be told. */
static char *find_mount(pid_t pid, unsigned dev_major, unsigned dev_minor, const char *at, bool *unknown)
{
    char path[64], *line = NULL, *found = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)pid);
    FILE *table = fopen(path, "re");
    *unknown = table == NULL;
    while (table != NULL && found == NULL && getline(&line, &size, table) > 0) {
        unsigned has_major, has_minor;
        if (sscanf(line, "%*d %*d %u:%u %*s %ms", &has_major, &has_minor, &found) != 3 || has_major != dev_major ||
            has_minor != dev_minor || (at != NULL && strcmp(found, at) != 0)) {
            free(found);
            found = NULL;
        }
    }
    free(line);
    if (table != NULL)
        fclose(table);
    return found;
}

static bool has_lost_its_mount(pid_t pid, unsigned dev_major, unsigned dev_minor, const char *at)
{
    bool unknown;
    char *found = find_mount(pid, dev_major, dev_minor, at, &unknown);
    free(found);
    return found == NULL && !unknown;
}

/* What the file says. false: nothing. */
static bool read_said(struct io *io, int fd, char text[TEXT_BYTES])
{
    ssize_t got = io->pread(io, fd, text, TEXT_BYTES - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* Will the holder give the lock back on its own? Then how it is, for a message; NULL: it will not. One whose mount has
 * gone has perhaps not noticed yet. *pid: 0 if the file does not say. */
static const char *holder_leaving(struct io *io, int fd, pid_t *pid)
{
    static const char stopping[] = "which is stopping but has not yet ended";
    char text[TEXT_BYTES], state[16], at[TEXT_BYTES];
    unsigned dev_major, dev_minor;
    int number;
    *pid = 0;
    if (!read_said(io, fd, text))
        return stopping;
    int fields = sscanf(text, "%d %15s mount %u:%u %s", &number, state, &dev_major, &dev_minor, at);
    if (fields < 2 || number <= 0)
        return stopping;
    *pid = number;
    if (strcmp(state, "stopping") == 0 || process_ending(number))
        return stopping;
    bool lost = fields == 5 && has_lost_its_mount(number, dev_major, dev_minor, at);
    return lost ? "whose mount has gone but which has not yet ended" : NULL;
}

/* Not what is there already. */
static void write_state(struct io *io, int fd, const char *state)
{
    char text[TEXT_BYTES], said[TEXT_BYTES];
    struct iovec iov = {.iov_base = text};
    iov.iov_len = (size_t)snprintf(text, sizeof text, "%d\n%s\n", (int)getpid(), state);
    if (read_said(io, fd, said) && strcmp(said, text) == 0)
        return;
    int rc = io_pwritev_all(io, fd, &iov, 1, 0);
    if (rc == 0)
        rc = io->ftruncate(io, fd, (int64_t)strlen(text));
    /* A full disk must not keep the node from starting; the lock itself is what counts. */
    if (rc != 0)
        log_line(LOG_WARNING, "lock: cannot write \"%s\": %s", state, strerror(-rc));
}

/* Waits until the lock is ours, as data_lock_take() says. */
static int wait_for_lock(struct io *io, struct executor *executor, int fd, const char *name, int wait_ms, struct err *e)
{
    int rc;
    for (int waited_ms = 0; (rc = io->lock(io, fd)) == -EWOULDBLOCK; waited_ms += RETRY_MS) {
        pid_t pid;
        const char *leaving = holder_leaving(io, fd, &pid);
        if (waited_ms >= (leaving != NULL ? wait_ms : NOTICE_MS)) {
            return err_set(e, -EBUSY, "%s is in use by process %d%s%s", name, (int)pid, leaving != NULL ? ", " : "",
                           leaving != NULL ? leaving : "");
        }
        executor_pause(executor, RETRY_MS);
    }
    return rc == 0 ? 0 : err_sys(e, rc, "lock %s/lock", name);
}

int data_lock_take(struct io *io, struct executor *executor, int dirfd, const char *name, int wait_ms,
                   struct data_lock *out, struct err *e)
{
    int fd = io->open(io, dirfd, "lock", O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return err_sys(e, fd, "open %s/lock", name);
    int rc = wait_for_lock(io, executor, fd, name, wait_ms, e);
    if (rc != 0) {
        io->close(io, fd);
        return rc;
    }
    write_state(io, fd, "running");
    *out = (struct data_lock){.io = io, .fd = fd};
    pthread_mutex_init(&out->lock, NULL);
    return 0;
}

void data_lock_mounted(struct data_lock *lock, unsigned dev_major, unsigned dev_minor)
{
    char state[TEXT_BYTES - 16] = "running";
    bool unknown;
    char *at = find_mount(getpid(), dev_major, dev_minor, NULL, &unknown);
    if (unknown)
        return;
    if (at != NULL &&
        snprintf(state, sizeof state, "running\nmount %u:%u %s", dev_major, dev_minor, at) >= (int)sizeof state)
        strcpy(state, "running");
    free(at);
    pthread_mutex_lock(&lock->lock);
    if (!lock->stopping)
        write_state(lock->io, lock->fd, state);
    pthread_mutex_unlock(&lock->lock);
}

void data_lock_stopping(struct data_lock *lock)
{
    pthread_mutex_lock(&lock->lock);
    lock->stopping = true;
    write_state(lock->io, lock->fd, "stopping");
    pthread_mutex_unlock(&lock->lock);
}

void data_lock_release(struct data_lock *lock)
{
    lock->io->close(lock->io, lock->fd);
    pthread_mutex_destroy(&lock->lock);
}
