#include "fs/base/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/base/child.h"
#include "fs/base/process.h"

/* What both see. */
struct guard_page {
    _Atomic int notices; /* under way */
    _Atomic bool rests;  /* the guard looks no more until the next one begins */
    _Atomic bool ends;   /* the connection is to be ended, now */
};

/* What the guard waits for. */
enum { SIGNAL_DEATH = SIGUSR1, SIGNAL_LOOK = SIGUSR2 };

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

/* Of this and guard_notice_begin() one at least sees the other's. */
static bool may_rest(struct guard_page *page)
{
    atomic_store(&page->rests, true);
    if (atomic_load(&page->notices) == 0)
        return true;
    atomic_store(&page->rests, false);
    return false;
}

static bool is_over(int pidfd, int wait_ms)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    return poll(&end, 1, wait_ms) != 0;
}

/* told: the kernel has said so, or seems to have. Who sent a signal is not asked: the kernel does not always say. */
static bool is_dying(pid_t daemon, int pidfd, bool told)
{
    enum process_life life = process_life(daemon);
    return is_over(pidfd, 0) || life == PROCESS_ENDS || (life == PROCESS_UNKNOWN && told);
}

/* Until it dies, or (true) asks for the end of its connection. */
static bool await_death(pid_t daemon, int pidfd, struct guard_page *page)
{
    const struct timespec pause = {.tv_sec = GUARD_LOOK_MS / 1000, .tv_nsec = GUARD_LOOK_MS % 1000 * 1000000L};
    sigset_t signals;
    bool rests = false;
    int sig = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGNAL_DEATH);
    sigaddset(&signals, SIGNAL_LOOK);
    while (!is_dying(daemon, pidfd, sig == SIGNAL_DEATH)) {
        if (atomic_exchange(&page->ends, false))
            return true;
        rests = !rests && may_rest(page); /* between two rests it looks: notices wake it that often at most */
        sig = sigtimedwait(&signals, NULL, rests ? NULL : &pause);
    }
    return false;
}

static void end_connection(int fd)
{
    ssize_t ignored = write(fd, "1", 1);
    (void)ignored;
}

static _Noreturn void run_process(pid_t daemon, int fd, struct guard_page *page)
{
    struct mounted_device device;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    (void)setpgid(0, 0); /* what is sent to the daemon's group is not meant */
    prctl(PR_SET_PDEATHSIG, SIGNAL_DEATH);
    child_become("guard", fd);
    int pidfd = (int)syscall(SYS_pidfd_open, daemon, 0);
    if (pidfd < 0 || getppid() != daemon || read(fd, &device, sizeof device) != (ssize_t)sizeof device)
        _exit(0);
    int end = open_abort(&device);
    while (await_death(daemon, pidfd, page))
        end_connection(end);
    while (end >= 0 && !is_over(pidfd, GUARD_PATIENCE_MS))
        end_connection(end);
    _exit(0);
}

/* ==== the daemon ==== */

int guard_start(struct guard *guard, struct err *e)
{
    int fds[2];
    pid_t daemon = getpid();
    guard->page = mmap(NULL, sizeof *guard->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (guard->page == MAP_FAILED)
        return err_sys(e, -errno, "a page to share");
    int rc = pipe2(fds, O_CLOEXEC) != 0 ? err_sys(e, -errno, "making a pipe") : 0;
    if (rc != 0)
        goto err_after_page;
    guard->pid = _Fork();
    if (guard->pid == 0)
        run_process(daemon, fds[0], guard->page);
    close(fds[0]);
    guard->fd = fds[1];
    if (guard->pid > 0)
        return 0;
    rc = err_sys(e, -errno, "forking a process");
    close(fds[1]);
err_after_page:
    munmap(guard->page, sizeof *guard->page);
    return rc;
}

void guard_mounted(struct guard *guard, const struct mounted_device *device)
{
    ssize_t ignored = write(guard->fd, device, sizeof *device); /* somebody may have killed it */
    (void)ignored;
}

void guard_notice_begin(struct guard *guard)
{
    atomic_fetch_add(&guard->page->notices, 1);
    if (atomic_load(&guard->page->rests) && atomic_exchange(&guard->page->rests, false))
        kill(guard->pid, SIGNAL_LOOK);
}

void guard_notice_end(struct guard *guard)
{
    atomic_fetch_sub(&guard->page->notices, 1);
}

int guard_notices(const struct guard *guard)
{
    return atomic_load(&guard->page->notices);
}

void guard_end_connection(struct guard *guard)
{
    atomic_store(&guard->page->ends, true);
    kill(guard->pid, SIGNAL_LOOK);
}

void guard_end(struct guard *guard)
{
    kill(guard->pid, SIGKILL);
    close(guard->fd);
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    munmap(guard->page, sizeof *guard->page);
}
