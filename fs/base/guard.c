#include "fs/base/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/base/child.h"

/* ==== the process ==== */

/* fusectl, mounted nowhere. */
static int mount_connections(void)
{
    int mount = -1, context = fsopen("fusectl", FSOPEN_CLOEXEC);
    if (context < 0)
        return -1;
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mount = fsmount(context, FSMOUNT_CLOEXEC, 0);
    close(context);
    return mount;
}

/* A connection's directory is named after the minor number of its file system (fuse_ctl_add_conn()). That number is
 * another's soon after the mount has gone, so the file is opened while it is there, and does nothing once its
 * connection has ended (fuse_conn_abort_write()). -1: it cannot be. */
static int open_abort(const struct mounted_device *device)
{
    char path[64];
    snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/abort", device->minor);
    int fd = open(path, O_WRONLY | O_CLOEXEC), mount = fd < 0 ? mount_connections() : -1;
    if (mount >= 0) {
        snprintf(path, sizeof path, "%u/abort", device->minor);
        fd = openat(mount, path, O_WRONLY | O_CLOEXEC);
        close(mount);
    }
    return fd;
}

static void await_death(pid_t daemon, const sigset_t *signals)
{
    siginfo_t info = {0};
    while (sigwaitinfo(signals, &info) < 0 || info.si_pid != daemon) {
    }
}

static bool has_ended(int daemon)
{
    struct pollfd end = {.fd = daemon, .events = POLLIN};
    return poll(&end, 1, GUARD_PATIENCE_MS) != 0;
}

static _Noreturn void run_process(pid_t daemon, int fd)
{
    struct mounted_device device;
    sigset_t all, death;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    sigemptyset(&death);
    sigaddset(&death, SIGUSR1);
    (void)setpgid(0, 0); /* what is sent to the daemon's group is not meant */
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    child_become("guard", fd);
    int pidfd = (int)syscall(SYS_pidfd_open, daemon, 0);
    if (pidfd < 0 || getppid() != daemon || read(fd, &device, sizeof device) != (ssize_t)sizeof device)
        _exit(0);
    int end = open_abort(&device);
    await_death(daemon, &death);
    while (end >= 0 && !has_ended(pidfd)) {
        ssize_t ignored = write(end, "1", 1);
        (void)ignored;
    }
    _exit(0);
}

/* ==== the daemon ==== */

int guard_start(struct guard *guard, struct err *e)
{
    int fds[2];
    pid_t daemon = getpid();
    if (pipe2(fds, O_CLOEXEC) != 0)
        return err_sys(e, -errno, "making a pipe");
    guard->pid = _Fork();
    if (guard->pid == 0)
        run_process(daemon, fds[0]);
    close(fds[0]);
    guard->fd = fds[1];
    if (guard->pid > 0)
        return 0;
    int rc = err_sys(e, -errno, "forking a process");
    close(fds[1]);
    return rc;
}

void guard_mounted(struct guard *guard, const struct mounted_device *device)
{
    ssize_t ignored = write(guard->fd, device, sizeof *device); /* somebody may have killed it */
    (void)ignored;
}

void guard_end(struct guard *guard)
{
    kill(guard->pid, SIGKILL);
    close(guard->fd);
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR) {
    }
}
