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
enum { RETRY_MS = 20, NOTICE_MS = 200, TASK_EXITING = 0x4 /* PF_EXITING in the flags of /proc/PID/stat */ };

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

/* Gone, a zombie, or on its way out of the kernel (proc(5): state and flags follow the name in parentheses). */
static bool process_exiting(pid_t pid)
{
    char path[64], text[1024], state;
    unsigned flags;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!read_text(path, text, sizeof text))
        return true;
    const char *fields = strrchr(text, ')');
    if (fields == NULL || sscanf(fields + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
        return false;
    return state == 'Z' || state == 'X' || (flags & TASK_EXITING) != 0;
}

/* SIGKILL is pending: kill -9 was sent, the process has not got to dying yet. */
static bool process_killed(pid_t pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (!read_text(path, text, sizeof text))
        return true;
    static const char *const masks[] = {"\nSigPnd:", "\nShdPnd:"};
    for (size_t i = 0; i < 2; i++) {
        const char *line = strstr(text, masks[i]);
        if (line != NULL && (strtoull(line + strlen(masks[i]), NULL, 16) >> (SIGKILL - 1) & 1) != 0)
            return true;
    }
    return false;
}

/* Whether there is a mount of that device where the process is (proc(5), mountinfo); true also where it cannot be told.
 */
static bool process_sees(pid_t pid, unsigned dev_major, unsigned dev_minor)
{
    char path[64], *line = NULL;
    size_t size = 0;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)pid);
    FILE *table = fopen(path, "re");
    if (table == NULL)
        return true;
    while (!found && getline(&line, &size, table) > 0) {
        unsigned has_major, has_minor;
        found = sscanf(line, "%*d %*d %u:%u", &has_major, &has_minor) == 2 && has_major == dev_major &&
                has_minor == dev_minor;
    }
    free(line);
    fclose(table);
    return found;
}

/* Will the holder give the lock back on its own? One whose mount has gone has perhaps not noticed yet. *pid: 0 if the
 * file does not say. */
static bool holder_leaving(struct io *io, int fd, pid_t *pid)
{
    char text[64], state[16];
    unsigned dev_major, dev_minor;
    int number;
    *pid = 0;
    ssize_t got = io->pread(io, fd, text, sizeof text - 1, 0);
    if (got <= 0)
        return true;
    text[got] = '\0';
    int fields = sscanf(text, "%d %15s mount %u:%u", &number, state, &dev_major, &dev_minor);
    if (fields < 2 || number <= 0)
        return true;
    *pid = number;
    return strcmp(state, "stopping") == 0 || process_exiting(number) || process_killed(number) ||
           (fields == 4 && !process_sees(number, dev_major, dev_minor));
}

static void write_state(struct io *io, int fd, const char *state)
{
    char text[64];
    struct iovec iov = {.iov_base = text};
    iov.iov_len = (size_t)snprintf(text, sizeof text, "%d\n%s\n", (int)getpid(), state);
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
        bool leaving = holder_leaving(io, fd, &pid);
        if (waited_ms >= (leaving ? wait_ms : NOTICE_MS)) {
            return err_set(e, -EBUSY, "%s is in use by process %d%s", name, (int)pid,
                           leaving ? ", which is stopping but has not yet ended" : "");
        }
        executor_pause(executor, RETRY_MS);
    }
    return rc == 0 ? 0 : err_sys(e, rc, "lock %s/lock", name);
}

int data_lock_take(struct io *io, struct executor *executor, int dirfd, const char *name, int wait_ms, int *out,
                   struct err *e)
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
    *out = fd;
    return 0;
}

void data_lock_mounted(struct io *io, int fd, unsigned dev_major, unsigned dev_minor)
{
    char state[48];
    snprintf(state, sizeof state, "running\nmount %u:%u", dev_major, dev_minor);
    write_state(io, fd, state);
}

void data_lock_stopping(struct io *io, int fd)
{
    write_state(io, fd, "stopping");
}
