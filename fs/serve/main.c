/* fs/serve/main.c: from the command line to a mount, and out again.
 *
 * What mounts keeps nothing of its caller, in front or not: it works in `/` and closes every descriptor but those that
 * its words go to (a daemon's until the mount answers). So no directory is kept busy, no lock is held and no pipe kept
 * open by it. All paths are absolute before. Nor does what the caller was (umask, soft limits, signals blocked or
 * ignored) end it, or leave it without what it makes.
 *
 * What ends it before the mount answers does so in front of the user: the child that becomes the daemon keeps stderr
 * until then and the parent waits for it, so that one clear line and the exit status tell. All that a daemon says goes
 * to syslog. A start that is called off leaves neither a mount nor a daemon: of a signal the parent tells the child,
 * and waits for its end; a child whose parent has gone ends, too. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "fs/base/fuse.h"
#include "fs/base/guard.h"
#include "fs/base/options.h"
#include "fs/base/outside.h"
#include "fs/base/session.h"
#include "fs/serve/serve.h"
#include "fs/serve/mountpoint.h"
#include "replication/base/limits.h"
#include "replication/node/node.h"

/* What glibc does with what was freed. */
enum {
    /* Up to this size it is kept for the next one as it is. libfuse allocates 128 bytes with calloc() for each request,
     * just above the default, and merging and splitting them is a tenth of what a small request costs. */
    FAST_BYTES = 160,
    /* From this size on it goes back to the system at once, and so does what lies free at the end of the heap beyond
     * the second. Frames of records are up to a MiB; with the defaults, which follow what was freed last, half of the
     * pages that came from another node with TLS were given back and faulted in anew, a quarter of its loop's time. */
    MAPPED_BYTES = 4 << 20,
    SPARE_BYTES = 16 << 20,
};

/* The way to the waiting parent; -1: there is none. */
static int parent_fd = -1;
static char fuse_said[256]; /* libfuse's last word before the mount answered */
static _Atomic bool answering;

/* Warnings of the start, for who waits for the mount: they are said with it, so that a start that fails is one line.
 * More of them are in syslog. */
static struct {
    pthread_mutex_t lock;
    size_t len;
    char text[4096];
} warnings = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void keep_warning(const char *line)
{
    size_t len = strlen(line);
    pthread_mutex_lock(&warnings.lock);
    if (!atomic_load(&answering) && len < sizeof warnings.text - warnings.len) {
        memcpy(warnings.text + warnings.len, line, len);
        warnings.text[warnings.len + len] = '\n';
        warnings.len += len + 1;
    }
    pthread_mutex_unlock(&warnings.lock);
}

static void say_warnings(void)
{
    pthread_mutex_lock(&warnings.lock);
    atomic_store(&answering, true);
    fwrite(warnings.text, 1, warnings.len, stderr);
    pthread_mutex_unlock(&warnings.lock);
}

static void to_syslog(int level, const char *line)
{
    syslog(level, "%s", line);
    if (level <= LOG_WARNING)
        keep_warning(line);
}

/* From the start on. */
static void log_to_syslog(void)
{
    openlog("logmnt", LOG_PID, LOG_DAEMON);
    log_sink_set(to_syslog);
}

static void fuse_log_line(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char line[256];
    vsnprintf(line, sizeof line, fmt, ap);
    line[strcspn(line, "\n")] = '\0';
    if (atomic_load(&answering) || level >= FUSE_LOG_DEBUG)
        log_line((int)level, "%s", line);
    else
        memcpy(fuse_said, line, sizeof line);
}

/* By a signal that nobody has read yet, or because nobody waits for the mount any more. */
static bool is_called_off(void)
{
    struct pollfd parent = {.fd = parent_fd, .events = POLLOUT};
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1 ||
           (poll(&parent, 1, 0) == 1 && (parent.revents & POLLERR) != 0);
}

/* The mount answers: the parent may go, and has the terminal to itself. */
static void ready(void *arg)
{
    const struct options *options = arg;
    say_warnings();
    if (options->foreground)
        return;
    /* Which is /dev/null, by leave_caller(). */
    dup2(STDIN_FILENO, STDOUT_FILENO);
    dup2(STDIN_FILENO, STDERR_FILENO);
    if (write(parent_fd, "", 1) != 1) {
        log_line(LOG_WARNING, "nobody waits for the mount any more");
        kill(getpid(), SIGTERM);
    }
    close(parent_fd);
    parent_fd = -1;
}

/* Descriptors 0 to 2 are there, so that nothing that is opened later takes their places. */
static void open_standard(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd < STDERR_FILENO)
        fd = open("/dev/null", O_RDWR);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* 0 or a negative errno. */
static int leave_caller(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || chdir("/") != 0)
        return -errno;
    int first = STDERR_FILENO + 1;
    if (parent_fd >= 0) {
        int moved = parent_fd == first ? first : dup3(parent_fd, first, O_CLOEXEC);
        if (moved < 0)
            return -errno;
        parent_fd = moved;
        first++;
    }
    closefrom(first);
    return 0;
}

/* ---- the parent ---- */

static const int calling_off[] = {SIGTERM, SIGINT, SIGHUP};
enum { CALLING_OFF = sizeof calling_off / sizeof calling_off[0] };

static volatile sig_atomic_t called_off_by;
static volatile pid_t child_pid;

/* Pending there, it ends the start before the mount, or the daemon right behind it. */
static void call_off(int sig)
{
    called_off_by = sig;
    kill(child_pid, SIGTERM);
}

static void block_calling_off(sigset_t *before)
{
    sigset_t signals;
    sigemptyset(&signals);
    for (int i = 0; i < CALLING_OFF; i++)
        sigaddset(&signals, calling_off[i]);
    sigprocmask(SIG_BLOCK, &signals, before);
}

/* What the caller ignores stays ignored. */
static void catch_calling_off(void)
{
    const struct sigaction action = {.sa_handler = call_off};
    struct sigaction before;
    for (int i = 0; i < CALLING_OFF; i++) {
        if (sigaction(calling_off[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(calling_off[i], &action, NULL);
    }
}

/* Waits for the mount, or for the child's end; called off, it ends as the signal would have ended it. Returns the exit
 * status. */
static int await_mount(int fd)
{
    char byte;
    ssize_t len;
    while ((len = read(fd, &byte, 1)) < 0 && errno == EINTR) {
    }
    if (len == 1 && called_off_by == 0)
        return EXIT_SUCCESS;
    while (waitpid(child_pid, NULL, 0) < 0 && errno == EINTR) {
    }
    if (called_off_by != 0) {
        signal(called_off_by, SIG_DFL);
        raise(called_off_by);
    }
    return EXIT_FAILURE;
}

/* 1: this is the daemon; 0: the parent, *status is its exit status; or a negative errno. */
static int become_daemon(int *status)
{
    int fds[2];
    sigset_t before;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    block_calling_off(&before);
    pid_t pid = fork();
    if (pid == 0) { /* they stay blocked: take_signals() */
        close(fds[0]);
        parent_fd = fds[1];
        setsid();
        return 1;
    }
    int rc = pid < 0 ? -errno : 0;
    close(fds[1]);
    if (rc == 0) {
        child_pid = pid;
        catch_calling_off();
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        *status = await_mount(fds[0]);
    close(fds[0]);
    return rc;
}

/* ---- the daemon ---- */

/* Blocked are those that the stopper reads, and no others: SIGUSR1 ends its loop. */
static void take_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* the write fails instead */
    signal(SIGCHLD, SIG_DFL); /* ignored, it leaves waitpid(2) nothing to wait for (wait(2)) */
    pthread_sigmask(SIG_SETMASK, &signals, NULL);
}

static void raise_limit(int resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(resource, &limit); /* what is granted anyway cannot be refused */
}

/* The umask keeps others out as the caller wants it, but not the daemon itself. */
static void leave_limits(void)
{
    raise_limit(RLIMIT_FSIZE);
    raise_limit(RLIMIT_CPU);
    umask(umask(0) & (S_IRWXG | S_IRWXO));
}

static int serve(const struct options *options, const char *mountpoint, struct err *e)
{
    struct node *node;
    struct node_options node_options = {
        .data_dir = options->data_dir,
        .id = options->id,
        .check_crcs = options->check_crcs,
        .log_retention_check_interval_ms = options->log_retention_check_interval_ms,
        .log_cleaner_backoff_ms = options->log_cleaner_backoff_ms,
        .node_session_timeout_ms = options->node_session_timeout_ms,
        .replica_lag_time_max_ms = options->replica_lag_time_max_ms,
        .reserve_bytes = LIMIT_RESERVE_BYTES,
        .listen_host = options->cluster.listen_host,
        .listen_port = options->cluster.listen_port,
        .peers = options->cluster.peers,
        .peer_count = options->cluster.peer_count,
        .tls = options->cluster.tls_off ? NULL : &options->cluster.tls,
        .quorum_recover = options->cluster.quorum_recover,
    };
    int rc = mountpoint_check(mountpoint, options->data_dir, e);
    struct guard guard;
    if (rc == 0)
        rc = guard_start(&guard, e); /* like the next one before there are threads */
    if (rc != 0)
        return rc;
    struct outside *outside = outside_start(mountpoint, e);
    rc = outside != NULL ? node_open(&node_options, &node, e) : -EAGAIN;
    if (rc != 0) {
        if (outside != NULL)
            outside_end(outside);
        guard_end(&guard);
        return rc;
    }
    struct session session = {.node = node,
                              .options = options,
                              .mountpoint = mountpoint,
                              .outside = outside,
                              .guard = &guard,
                              .ready = ready,
                              .ready_arg = (void *)options};
    rc = mountpoint_prepare(mountpoint, options->data_dir, e);
    if (rc == 0 && is_called_off())
        rc = err_set(e, -EINTR, "called off before the mount");
    if (rc == 0)
        rc = serve_run(&session, e);
    outside_end(outside);
    guard_end(&guard); /* nothing tells the kernel anything any more */
    if (rc != 0 && fuse_said[0] != '\0')
        err_wrap(e, rc, "%s", fuse_said);
    struct err closing = {0};
    int close_rc = node_close(node, &closing);
    if (rc == 0 && close_rc != 0) {
        *e = closing;
        rc = close_rc;
    }
    return rc;
}

static int run(const struct options *options)
{
    struct err e = {0};
    int status = EXIT_SUCCESS;
    char *mountpoint = mountpoint_path(options->mountpoint, &e);
    int rc = mountpoint != NULL ? 1 : -EINVAL;
    if (rc > 0 && !options->foreground) {
        rc = become_daemon(&status);
        if (rc < 0)
            err_sys(&e, rc, "going to the background");
    }
    if (rc > 0) {
        int left = leave_caller();
        if (left != 0)
            rc = err_sys(&e, left, "leaving the caller's directory and descriptors");
    }
    if (rc > 0) {
        if (!options->foreground)
            log_to_syslog();
        leave_limits();
        take_signals();
        fuse_set_log_func(fuse_log_line);
        rc = serve(options, mountpoint, &e);
    }
    if (rc < 0) {
        if (answering)
            log_line(LOG_ERR, "%s", e.text);
        else
            fprintf(stderr, "logmnt: %s\n", e.text);
        status = EXIT_FAILURE;
    }
    free(mountpoint);
    return status;
}

static void set_memory(void)
{
    mallopt(M_MXFAST, FAST_BYTES);
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    mallopt(M_TRIM_THRESHOLD, SPARE_BYTES);
}

int main(int argc, char **argv)
{
    struct options options;
    struct err e = {0};
    set_memory();
    open_standard();
    if (options_parse(argc, argv, &options, &e) != 0) {
        fprintf(stderr, "logmnt: %s\n", e.text);
        return EXIT_FAILURE;
    }
    int status = EXIT_SUCCESS;
    if (options.help)
        fputs(options_usage(), stdout);
    else if (options.version)
        printf("%s\n", options_version());
    else
        status = run(&options);
    options_free(&options);
    return status;
}
