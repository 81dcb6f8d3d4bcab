#include "fs/serve/stopper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "fs/base/limits.h"
#include "fs/base/outside.h"

enum { STOP_POKE_NS = 20000000 };

static void poked(int sig)
{
    (void)sig;
}

/* Until the loop has noticed. */
static void end_loop(struct stopper *stopper)
{
    node_stopping(stopper->session->node);
    fuse_session_exit(stopper->session->fuse);
    while (!atomic_load(&stopper->loop_ended)) {
        pthread_kill(stopper->main, SIGUSR1);
        struct timespec pause = {.tv_nsec = STOP_POKE_NS};
        nanosleep(&pause, NULL);
    }
}

static void reload(const struct stopper *stopper)
{
    struct err e = {0};
    int rc = node_reload_tls(stopper->session->node, &e);
    if (rc < 0)
        log_line(LOG_ERR, "SIGHUP: the certificates stay as they were: %s", e.text);
    else if (rc > 0)
        log_line(LOG_INFO, "SIGHUP: the certificates were read anew");
}

/* A signal came: does it end the session? */
static bool signal_ends(const struct stopper *stopper)
{
    struct signalfd_siginfo info;
    if (read(stopper->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    if (info.ssi_signo == SIGHUP) {
        reload(stopper);
        return false;
    }
    log_line(LOG_INFO, "stopping: %s", strsignal((int)info.ssi_signo));
    return true;
}

static int64_t now_ms(const struct stopper *stopper)
{
    struct clock *clock = node_clock(stopper->session->node);
    return clock->mono_ms(clock);
}

static enum mounted_where look(struct stopper *stopper, pid_t *pid)
{
    return mounted_look(&stopper->mounted, outside_pid(stopper->session->outside), now_ms(stopper), pid);
}

static bool mount_is_gone(struct stopper *stopper)
{
    pid_t pid;
    enum mounted_where where = look(stopper, &pid);
    if (where == MOUNTED_NOWHERE) {
        log_line(LOG_INFO, "stopping: the mount is gone");
        return true;
    }
    if (where == MOUNTED_ELSEWHERE && !stopper->elsewhere)
        log_line(LOG_NOTICE, "unmounted here, but not in the mount namespace of process %d: served on", (int)pid);
    stopper->elsewhere = where == MOUNTED_ELSEWHERE;
    node_mounted(stopper->session->node, stopper->mounted.device.major, stopper->mounted.device.minor);
    return false;
}

/* Waits for the end, a signal, or a look at the mount table that is due: *looks. false: poll(2) has failed. */
static bool wait_for(const struct stopper *stopper, struct pollfd fds[3], bool *looks)
{
    bool listens;
    int ms = mounted_wait(&stopper->mounted, now_ms(stopper), &listens);
    FILE *table = listens ? stopper->mounted.table : NULL;
    fds[0] = (struct pollfd){.fd = stopper->end_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = stopper->signal_fd, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = table != NULL ? fileno(table) : -1, .events = POLLPRI};
    int rc = poll(fds, 3, ms);
    *looks = rc >= 0 && (fds[2].revents != 0 || (rc == 0 && stopper->elsewhere));
    return rc >= 0 || errno == EINTR;
}

static void *stopper_run(void *arg)
{
    struct stopper *stopper = arg;
    struct pollfd fds[3];
    bool looks;
    /* A change before the table was opened tells of none. */
    for (bool ends = mount_is_gone(stopper); !ends;) {
        if (!wait_for(stopper, fds, &looks))
            break;
        if (fds[0].revents != 0)
            return NULL;
        ends = (fds[1].revents != 0 && signal_ends(stopper)) || (looks && mount_is_gone(stopper));
    }
    end_loop(stopper);
    return NULL;
}

static int open_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static void close_all(struct stopper *stopper)
{
    if (stopper->signal_fd >= 0)
        close(stopper->signal_fd);
    if (stopper->end_fd >= 0)
        close(stopper->end_fd);
    mounted_close(&stopper->mounted);
}

int stopper_start(struct stopper *stopper, struct session *session, const struct mounted_device *device, struct err *e)
{
    struct sigaction action = {.sa_handler = poked};
    struct err unwatched = {0};
    *stopper = (struct stopper){.session = session, .main = pthread_self()};
    sigaction(SIGUSR1, &action, NULL);
    if (mounted_open(&stopper->mounted, device, &unwatched) != 0)
        log_line(LOG_WARNING, "an unmount by force will not be noticed: %s", unwatched.text);
    stopper->signal_fd = open_signals();
    stopper->end_fd = eventfd(0, EFD_CLOEXEC);
    int rc = stopper->signal_fd < 0 ? stopper->signal_fd : stopper->end_fd < 0 ? -errno : 0;
    if (rc == 0)
        rc = -pthread_create(&stopper->thread, NULL, stopper_run, stopper);
    if (rc != 0) {
        close_all(stopper);
        return err_sys(e, rc, "starting a thread");
    }
    return 0;
}

void stopper_join(struct stopper *stopper)
{
    uint64_t one = 1;
    atomic_store(&stopper->loop_ended, true);
    if (write(stopper->end_fd, &one, sizeof one) != (ssize_t)sizeof one)
        log_line(LOG_WARNING, "the thread that waits for signals could not be told to end: %s", strerror(errno));
    pthread_join(stopper->thread, NULL);
}

bool stopper_end(struct stopper *stopper)
{
    pid_t pid;
    bool here = look(stopper, &pid) == MOUNTED_HERE;
    close_all(stopper);
    return here;
}
