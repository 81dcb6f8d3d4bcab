/* tests/unit/test_guard.c: a daemon that ends in the moment in which the kernel would never let it.
 *
 * A process mounts a file system, leaves a MKDIR unanswered, and tells the kernel of a name in the same directory: that
 * waits for the directory's lock, which the MKDIR holds. With it the process ends. In a mount namespace of the test's
 * own: for that it has to be root, or to get a user namespace where fusectl is mounted. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs/base/guard.h"
#include "replication/executor/executor_uv.h"
#include "replication/node/data_lock.h"
#include "tests/unit/scratch.h"

enum { DEADLINE_S = 60 };

/* false: in vain. In all processes of a story. */
#define comes(condition)                                                                                               \
    ({                                                                                                                 \
        time_t until_ = time(NULL) + DEADLINE_S;                                                                       \
        bool so_ = (condition);                                                                                        \
        while (!so_ && time(NULL) < until_) {                                                                          \
            usleep(1000);                                                                                              \
            so_ = (condition);                                                                                         \
        }                                                                                                              \
        so_;                                                                                                           \
    })

static char mount_point[64];

/* ---- the daemon ---- */

struct daemon {
    int fuse;
    struct guard guard;
    pthread_t thread;
    _Atomic pid_t teller;
    _Atomic bool told;
};

static void must(bool well, const char *what)
{
    if (!well) {
        fprintf(stderr, "daemon: %s: %s\n", what, strerror(errno));
        _exit(9);
    }
}

static void answer(const struct daemon *d, uint64_t unique, int error, const void *body, size_t len)
{
    char bytes[1024];
    struct fuse_out_header header = {.len = (uint32_t)(sizeof header + len), .error = error, .unique = unique};
    memcpy(bytes, &header, sizeof header);
    if (len > 0)
        memcpy(bytes + sizeof header, body, len);
    must(write(d->fuse, bytes, header.len) == (ssize_t)header.len, "answering");
}

/* Answers what comes before a request of that kind, which it leaves. */
static void serve_until(const struct daemon *d, uint32_t opcode)
{
    _Alignas(8) static char request[FUSE_MIN_READ_BUFFER * 2];
    const struct fuse_in_header *header = (const struct fuse_in_header *)request;
    for (;;) {
        must(read(d->fuse, request, sizeof request) >= (ssize_t)sizeof *header, "reading a request");
        if (header->opcode == FUSE_INIT) {
            struct fuse_init_out init = {
                .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096};
            answer(d, header->unique, 0, &init, sizeof init);
        } else if (header->opcode == opcode) {
            return;
        } else if (header->opcode == FUSE_GETATTR) {
            struct fuse_attr_out attr = {.attr = {.ino = 1, .mode = S_IFDIR | 0777, .nlink = 2}};
            answer(d, header->unique, 0, &attr, sizeof attr);
        } else {
            answer(d, header->unique, -ENOENT, NULL, 0);
        }
    }
}

static void *tell_of_a_name(void *arg)
{
    struct daemon *d = arg;
    struct {
        struct fuse_out_header header;
        struct fuse_notify_inval_entry_out entry;
        char name[2];
    } notice = {.header = {.error = FUSE_NOTIFY_INVAL_ENTRY}, .entry = {.parent = 1, .namelen = 1}, .name = "x"};
    notice.header.len = sizeof notice.header + sizeof notice.entry + sizeof notice.name;
    atomic_store(&d->teller, (pid_t)syscall(SYS_gettid));
    guard_notice_begin(&d->guard);
    ssize_t ignored = write(d->fuse, &notice, notice.header.len);
    (void)ignored;
    guard_notice_end(&d->guard);
    atomic_store(&d->told, true);
    return NULL;
}

/* The first line of a file of /proc that begins so. false: there is none. */
static bool proc_line(pid_t pid, const char *file, const char *start, char line[256])
{
    char path[64];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *text = fopen(path, "re");
    while (text != NULL && !found && fgets(line, 256, text) != NULL)
        found = strncmp(line, start, strlen(start)) == 0;
    if (text != NULL)
        fclose(text);
    return found;
}

/* It waits for signals, for as long as none comes: the third argument of sigtimedwait(2) is how long. */
static bool guard_rests(const struct guard *guard)
{
    char call[16], line[256], how_long[32];
    snprintf(call, sizeof call, "%d ", SYS_rt_sigtimedwait);
    return proc_line(guard->pid, "syscall", call, line) && sscanf(line, "%*d %*s %*s %31s", how_long) == 1 &&
           strcmp(how_long, "0x0") == 0;
}

static bool waits_in_the_kernel(pid_t tid)
{
    char line[256];
    return tid != 0 && proc_line(tid, "status", "State:\tD", line);
}

static void mount_it(struct daemon *d)
{
    char options[128];
    struct err e;
    struct mounted_device device;
    must(guard_start(&d->guard, &e) == 0, "starting the guard");
    d->fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    must(d->fuse >= 0, "/dev/fuse");
    snprintf(options, sizeof options, "fd=%d,rootmode=40777,user_id=%d,group_id=%d", d->fuse, (int)getuid(),
             (int)getgid());
    must(mount("test", mount_point, "fuse", MS_NOSUID | MS_NODEV, options) == 0, "mount");
    must(mounted_device(mount_point, &device) == 0, "the mount");
    guard_mounted(&d->guard, &device);
}

/* Says by its exit status what it was answered. */
static pid_t start_mkdir(void)
{
    char path[80];
    pid_t pid = fork();
    if (pid == 0) {
        snprintf(path, sizeof path, "%s/t", mount_point);
        _exit(mkdir(path, 0777) == 0 ? 0 : errno);
    }
    return pid;
}

/* Up to where the kernel would never let it end. */
static pid_t begin(struct daemon *d)
{
    struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    mount_it(d);
    pid_t maker = start_mkdir();
    serve_until(d, FUSE_MKDIR);
    must(comes(guard_rests(&d->guard)), "the guard rests");
    must(pthread_create(&d->thread, NULL, tell_of_a_name, d) == 0, "a thread");
    must(comes(waits_in_the_kernel(atomic_load(&d->teller))), "the notice waits");
    return maker;
}

/* ---- the stories ---- */

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool well = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return well;
}

/* user_namespaces(7): who may not map others maps himself. */
static bool own_namespace(void)
{
    char users[64], groups[64];
    snprintf(users, sizeof users, "0 %u 1", geteuid());
    snprintf(groups, sizeof groups, "0 %u 1", getegid());
    return unshare(CLONE_NEWNS) == 0 ||
           (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_text("/proc/self/setgroups", "deny") &&
            write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups));
}

static int setup(void **state)
{
    (void)state;
    if (!own_namespace())
        return -1;
    scratch_make(mount_point, sizeof mount_point, "guard");
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int teardown(void **state)
{
    (void)state;
    umount2(mount_point, MNT_FORCE | MNT_DETACH);
    return rmdir(mount_point);
}

static bool has_ended(pid_t pid, int *status)
{
    return waitpid(pid, status, WNOHANG) != 0;
}

static void ends_by(int sig)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        static struct daemon d;
        begin(&d);
        signal(sig, SIG_DFL); /* not a sanitizer's */
        raise(sig);
        _exit(8);
    }
    bool ended = comes(status != 0 || has_ended(pid, &status));
    if (!ended) {
        umount2(mount_point, MNT_FORCE);
        waitpid(pid, &status, 0);
        fail_msg("it never ended");
    }
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), sig);
}

static void a_daemon_that_is_killed_ends(void **state)
{
    (void)state;
    ends_by(SIGKILL);
}

static void one_that_aborts_ends(void **state)
{
    (void)state;
    ends_by(SIGABRT);
}

static void one_whose_memory_was_bad_ends(void **state)
{
    (void)state;
    ends_by(SIGSEGV);
}

/* Also one that has a data directory, which is free when it has ended and not before. */
static void the_next_start_waits_for_one_that_aborts(void **state)
{
    (void)state;
    char dir[64];
    int status = 0, fds[2];
    char byte;
    struct data_lock lock;
    struct executor *executor;
    scratch_make(dir, sizeof dir, "guard-data");
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        static struct daemon d;
        begin(&d);
        must(data_lock_take(io_posix(), NULL, dirfd, dir, 0, &lock, NULL) == 0, "the lock");
        must(write(fds[1], "", 1) == 1, "a word");
        abort();
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    assert_int_equal(executor_uv_start(clock_system(), &executor, NULL), 0);
    assert_int_equal(data_lock_take(io_posix(), executor, dirfd, dir, DEADLINE_S * 1000, &lock, NULL), 0);
    data_lock_release(&lock);
    executor_uv_stop(executor);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGABRT);
    unlinkat(dirfd, "lock", 0);
    close(dirfd);
    assert_int_equal(rmdir(dir), 0);
}

/* It lives on, and so does its guard. */
static void a_connection_is_ended_for_who_asks(void **state)
{
    (void)state;
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        static struct daemon d;
        pid_t maker = begin(&d);
        guard_end_connection(&d.guard);
        must(comes(atomic_load(&d.told)) && pthread_join(d.thread, NULL) == 0, "the notice comes back");
        must(waitpid(maker, &status, 0) == maker, "mkdir(2) comes back");
        must(WIFEXITED(status) && WEXITSTATUS(status) == ECONNABORTED, "its answer");
        must(comes(guard_rests(&d.guard)), "the guard rests again");
        guard_end(&d.guard);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_daemon_that_is_killed_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_aborts_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(one_whose_memory_was_bad_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(the_next_start_waits_for_one_that_aborts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_connection_is_ended_for_who_asks, setup, teardown),
    };
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
