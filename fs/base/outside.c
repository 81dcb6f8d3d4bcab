#include "fs/base/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "fs/base/child.h"

enum { PATH_BYTES = 4096 };

/* One datagram each way: this, and the errno of what was done. */
struct message {
    enum outside_kind kind;
    struct mounted_device device; /* OUTSIDE_ENTER */
    char path[PATH_BYTES];
};

/* What became of OUTSIDE_ENTER. */
enum entered { ENTERED_PRIVATELY = 0, ENTERED_SHARED = 1 };

struct outside {
    int fd;
    pid_t pid;
    char *mountpoint;
    struct mounted_device device;
    pthread_mutex_t turn; /* held through an act */
    bool entered, lost;   /* turn */
    pthread_mutex_t lock; /* of what follows */
    _Atomic bool acting;
    _Atomic bool ending;
    struct outside_act act;
};

/* ==== the process ==== */

/* Where its acts are done. */
struct inside {
    const char *mountpoint;
    struct mounted_device device; /* of the mount */
    int rootfd;                   /* AT_FDCWD: at the root of a clone of it; -1: on the user's */
};

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int rc = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* user_namespaces(7): who may not map others maps himself, once setgroups(2) is given up. */
static int map_id(const char *path, unsigned id)
{
    char line[64];
    snprintf(line, sizeof line, "%u %u 1", id, id);
    return write_text(path, line);
}

static int new_namespace(void)
{
    unsigned uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWNS) == 0)
        return 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -errno;
    int rc = write_text("/proc/self/setgroups", "deny");
    if (rc == 0)
        rc = map_id("/proc/self/uid_map", uid);
    if (rc == 0)
        rc = map_id("/proc/self/gid_map", gid);
    return rc;
}

/* To a clone of the mount that is in no namespace: with CAP_SYS_ADMIN alone. A descriptor of it stays open, since the
 * clone goes with its last one. */
static int go_to_clone(const struct inside *in)
{
    struct mount_attr attr = {.propagation = MS_PRIVATE};
    int rc = 0;
    int fd = open_tree(AT_FDCWD, in->mountpoint, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (!mounted_is_on(&in->device, fd))
        rc = -ENODEV; /* unmounted, and something else mounted there */
    else if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof attr) != 0 || fchdir(fd) != 0)
        rc = -errno;
    if (rc != 0)
        close(fd);
    return rc;
}

/* Into a namespace with nothing in it but a clone of the mount. For that it holds all mounts of the machine for a
 * moment, and what is unmounted by others just then stays in use as long, unless it is shared (mount_namespaces(7)).
 * The other mounts are slaves until they go, so that one that is unmounted meanwhile goes here too. */
static int go_private(const struct inside *in)
{
    int rc = new_namespace();
    if (rc != 0)
        return rc;
    if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) != 0 ||
        mount(in->mountpoint, in->mountpoint, NULL, MS_BIND, NULL) != 0 ||
        mount("none", in->mountpoint, NULL, MS_PRIVATE, NULL) != 0)
        return -errno;
    if (!mounted_is_at(&in->device, in->mountpoint))
        return -ENODEV; /* unmounted, and something else mounted there */
    /* pivot_root(2), pivot_root(".", "."): the old root lies above the new one then, and goes. */
    if (chdir(in->mountpoint) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 ||
        chdir("/") != 0)
        return -errno;
    return 0;
}

/* Half-way in there is no way back: so a child tries first. */
static bool can_go_private(const struct inside *in)
{
    int status = -1;
    pid_t pid = _Fork();
    if (pid == 0)
        _exit(go_private(in) == 0 ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int enter(struct inside *in)
{
    int rc = go_to_clone(in);
    if (rc != 0) {
        if (!can_go_private(in))
            return ENTERED_SHARED;
        rc = go_private(in);
    }
    in->rootfd = AT_FDCWD;
    return rc == 0 ? ENTERED_PRIVATELY : rc;
}

/* mtime alone: with atime it would be IN_ATTRIB. */
static const struct timespec mtime_now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};

static int touch(int rootfd, const char *path)
{
    return utimensat(rootfd, path, mtime_now, 0) != 0 ? -errno : 0;
}

static int write_nothing(int rootfd, const char *path)
{
    int fd = openat(rootfd, path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? touch(rootfd, path) : -errno; /* w was taken away, from its owner, too */
    int rc = futimens(fd, mtime_now) != 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int do_act(int rootfd, const struct message *message)
{
    struct stat st;
    switch (message->kind) {
    case OUTSIDE_LOOK:
        return fstatat(rootfd, message->path, &st, AT_SYMLINK_NOFOLLOW) != 0 ? -errno : 0;
    case OUTSIDE_TOUCH:
        return touch(rootfd, message->path);
    case OUTSIDE_WRITE:
        return write_nothing(rootfd, message->path);
    case OUTSIDE_MAKE:
        return mknodat(rootfd, message->path, S_IFREG | 0444, 0) != 0 ? -errno : 0;
    case OUTSIDE_MKDIR:
        return mkdirat(rootfd, message->path, 0555) != 0 ? -errno : 0;
    case OUTSIDE_REMOVE:
        return unlinkat(rootfd, message->path, 0) != 0 ? -errno : 0;
    default:
        return -EINVAL;
    }
}

/* On the user's mount, if it is still there. */
static int do_shared(const struct inside *in, const struct message *message)
{
    if (!mounted_is_at(&in->device, in->mountpoint))
        return -ENODEV;
    int rootfd = open(in->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (rootfd < 0)
        return -errno;
    int rc = do_act(rootfd, message);
    close(rootfd);
    return rc;
}

static int answer(struct inside *in, const struct message *message)
{
    if (message->kind == OUTSIDE_ENTER) {
        in->device = message->device;
        return enter(in);
    }
    return in->rootfd == AT_FDCWD ? do_act(AT_FDCWD, message) : do_shared(in, message);
}

/* Until the daemon is gone. */
static _Noreturn void run_process(int fd, struct inside *in)
{
    static struct message message;
    child_become("outside", fd);
    in->rootfd = -1;
    for (;;) {
        ssize_t len = recv(fd, &message, sizeof message, 0);
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= (ssize_t)offsetof(struct message, path))
            _exit(0);
        int rc = answer(in, &message);
        if (send(fd, &rc, sizeof rc, MSG_NOSIGNAL) != (ssize_t)sizeof rc)
            _exit(0);
    }
}

/* ==== the daemon ==== */

struct outside *outside_start(const char *mountpoint, struct err *e)
{
    int fds[2];
    struct outside *outside = calloc(1, sizeof *outside);
    if (outside == NULL || (outside->mountpoint = strdup(mountpoint)) == NULL) {
        err_set(e, -ENOMEM, "no memory");
        goto err_after_alloc;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
        err_sys(e, -errno, "making a socket pair");
        goto err_after_alloc;
    }
    /* Without fork(3)'s handlers: a sanitizer's would start a thread, and a process with two gets no user namespace. */
    outside->pid = _Fork();
    if (outside->pid == 0) {
        struct inside in = {.mountpoint = outside->mountpoint};
        run_process(fds[1], &in);
    }
    close(fds[1]);
    if (outside->pid < 0) {
        err_sys(e, -errno, "forking a process");
        close(fds[0]);
        goto err_after_alloc;
    }
    outside->fd = fds[0];
    pthread_mutex_init(&outside->turn, NULL);
    pthread_mutex_init(&outside->lock, NULL);
    return outside;

err_after_alloc:
    if (outside != NULL)
        free(outside->mountpoint);
    free(outside);
    return NULL;
}

void outside_mounted(struct outside *outside, const struct mounted_device *device)
{
    outside->device = *device;
}

/* The turn is the caller's. */
static int ask(struct outside *outside, enum outside_kind kind, const char *path)
{
    struct message message = {.kind = kind, .device = outside->device};
    size_t len = strlen(path) + 1;
    int rc;
    if (len > sizeof message.path)
        return -ENAMETOOLONG;
    memcpy(message.path, path, len);
    len += offsetof(struct message, path);
    if (send(outside->fd, &message, len, MSG_NOSIGNAL) != (ssize_t)len)
        return -EPIPE;
    for (;;) {
        ssize_t got = recv(outside->fd, &rc, sizeof rc, 0);
        if (got == (ssize_t)sizeof rc)
            return rc;
        if (got >= 0 || errno != EINTR)
            return -EPIPE;
    }
}

static int ask_to_enter(struct outside *outside)
{
    int rc = ask(outside, OUTSIDE_ENTER, "");
    if (rc == ENTERED_SHARED) {
        log_line(LOG_NOTICE, "no clone of the mount for what wakes inotify watchers: an unmount that meets it is "
                             "EBUSY");
    }
    outside->entered = rc >= 0;
    return rc < 0 ? rc : 0;
}

static void set_act(struct outside *outside, const struct outside_act *act)
{
    pthread_mutex_lock(&outside->lock);
    outside->act = act != NULL ? *act : (struct outside_act){.kind = OUTSIDE_ENTER};
    outside->act.path = NULL; /* the caller's: gone before a late request is */
    pthread_mutex_unlock(&outside->lock);
    atomic_store(&outside->acting, act != NULL);
}

int outside_act(struct outside *outside, const struct outside_act *act)
{
    int rc = 0;
    pthread_mutex_lock(&outside->turn);
    if (!outside->entered && !outside->lost)
        rc = ask_to_enter(outside);
    if (rc == 0 && !outside->lost) {
        set_act(outside, act);
        rc = ask(outside, act->kind, act->path);
        set_act(outside, NULL);
    }
    if (rc == -EPIPE && !outside->lost) {
        if (!atomic_load(&outside->ending))
            log_line(LOG_WARNING, "the process that wakes inotify watchers is gone: they are not told any more");
        outside->lost = true;
    }
    rc = outside->lost ? -EPIPE : rc;
    pthread_mutex_unlock(&outside->turn);
    return rc;
}

bool outside_asks(struct outside *outside, pid_t pid, struct outside_act *act)
{
    if (pid != outside->pid || !atomic_load(&outside->acting))
        return false;
    pthread_mutex_lock(&outside->lock);
    *act = outside->act;
    pthread_mutex_unlock(&outside->lock);
    return true;
}

pid_t outside_pid(const struct outside *outside)
{
    return outside->pid;
}

void outside_stop(struct outside *outside)
{
    atomic_store(&outside->ending, true);
    kill(outside->pid, SIGKILL);
}

void outside_end(struct outside *outside)
{
    outside_stop(outside);
    close(outside->fd);
    while (waitpid(outside->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    pthread_mutex_destroy(&outside->turn);
    pthread_mutex_destroy(&outside->lock);
    free(outside->mountpoint);
    free(outside);
}
