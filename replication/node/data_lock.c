/* replication/node/data_lock.c: flock(2), and what /proc knows of the holder.
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
#include <sys/file.h>
#include <syslog.h>
#include <time.h>
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

/* Will the holder give the lock back on its own? *pid: 0 if the file does not say. */
static bool holder_leaving(int fd, pid_t *pid)
{
    char text[64], state[16];
    int number;
    *pid = 0;
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    if (got <= 0)
        return true;
    text[got] = '\0';
    if (sscanf(text, "%d %15s", &number, state) != 2 || number <= 0)
        return true;
    *pid = number;
    return strcmp(state, "stopping") == 0 || process_exiting(number) || process_killed(number);
}

static void write_state(int fd, const char *state)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%d\n%s\n", (int)getpid(), state);
    /* A full disk must not keep the node from starting; the lock itself is what counts. */
    if (pwrite(fd, text, (size_t)len, 0) != len || ftruncate(fd, len) != 0)
        log_line(LOG_WARNING, "lock: cannot write \"%s\": %s", state, strerror(errno));
}

int data_lock_take(int dirfd, const char *name, int wait_ms, int *out, struct err *e)
{
    int fd = openat(dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, -errno, "open %s/lock", name);
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ms += RETRY_MS) {
        int rc = -errno;
        pid_t pid;
        if (rc == -EINTR)
            continue;
        if (rc != -EWOULDBLOCK) {
            close(fd);
            return err_sys(e, rc, "lock %s/lock", name);
        }
        bool leaving = holder_leaving(fd, &pid);
        if (waited_ms >= (leaving ? wait_ms : NOTICE_MS)) {
            close(fd);
            return err_set(e, -EBUSY, "%s is in use by process %d%s", name, (int)pid,
                           leaving ? ", which is stopping but has not yet ended" : "");
        }
        nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
    }
    write_state(fd, "running");
    *out = fd;
    return 0;
}

void data_lock_stopping(int fd)
{
    write_state(fd, "stopping");
}
