#include "fs/serve/serve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "fs/base/limits.h"
#include "fs/produce/accumulator.h"
#include "fs/produce/produce.h"
#include "fs/produce/waker.h"
#include "fs/serve/ops.h"
#include "fs/tree/evictor.h"
#include "fs/tree/handle.h"
#include "fs/tree/retry.h"

/* Waits for a signal that asks to stop, then for the loop to notice: libfuse's loop looks only when its main thread is
 * woken, so that is signalled until it has ended. */
struct stopper {
    struct session *session;
    pthread_t thread;
    pthread_t main;
    _Atomic bool loop_ended;
};

enum { STOP_POKE_NS = 20000000 };

static void poked(int sig)
{
    (void)sig;
}

static void *stopper_run(void *arg)
{
    struct stopper *stopper = arg;
    sigset_t signals;
    int sig;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    do
        sigwait(&signals, &sig);
    while (sig == SIGHUP && !stopper->session->options->foreground); /* a daemon has no terminal to lose */
    if (atomic_load(&stopper->loop_ended))
        return NULL;
    log_line(LOG_INFO, "stopping: %s", strsignal(sig));
    node_stopping(stopper->session->node);
    fuse_session_exit(stopper->session->fuse);
    while (!atomic_load(&stopper->loop_ended)) {
        pthread_kill(stopper->main, SIGUSR1);
        struct timespec pause = {.tv_nsec = STOP_POKE_NS};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static int stopper_start(struct stopper *stopper, struct session *session, struct err *e)
{
    struct sigaction action = {.sa_handler = poked};
    stopper->session = session;
    stopper->main = pthread_self();
    atomic_init(&stopper->loop_ended, false);
    sigaction(SIGUSR1, &action, NULL);
    int rc = pthread_create(&stopper->thread, NULL, stopper_run, stopper);
    return rc ? err_sys(e, -rc, "starting a thread") : 0;
}

static void stopper_end(struct stopper *stopper)
{
    atomic_store(&stopper->loop_ended, true);
    pthread_kill(stopper->thread, SIGTERM);
    pthread_join(stopper->thread, NULL);
}

static int loop(struct session *session, struct err *e)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (!config)
        return err_set(e, -ENOMEM, "no memory");
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, LIMIT_WORKERS);
    fuse_loop_cfg_set_idle_threads(config, LIMIT_WORKERS); /* or libfuse makes and joins threads all the time */
    int rc = fuse_session_loop_mt(session->fuse, config);
    fuse_loop_cfg_destroy(config);
    return rc < 0 ? err_sys(e, rc, "serving the mount") : 0;
}

/* What all requests share. On failure everything made so far is freed again. */
static int make_shared(struct session *session, struct err *e)
{
    parks_init(&session->parks);
    session->handles = handles_new();
    session->tree = tree_new(session->node);
    session->retries = session->tree ? retries_new(session->tree) : NULL;
    session->accumulators = accumulators_new(session->options->buffer_memory_bytes);
    session->waker = waker_new(session);
    session->evictor = evictor_new(session);
    if (session->handles && session->tree && session->retries && session->accumulators && session->waker &&
        session->evictor)
        return 0;
    if (session->evictor)
        evictor_free(session->evictor);
    if (session->waker)
        waker_free(session->waker);
    if (session->accumulators)
        accumulators_free(session->accumulators);
    if (session->retries)
        retries_free(session->retries);
    if (session->tree)
        tree_free(session->tree);
    if (session->handles)
        handles_free(session->handles, node_executor(session->node));
    return err_set(e, -ENOMEM, "no memory for a session");
}

static void free_shared(struct session *session)
{
    handles_free(session->handles, node_executor(session->node)); /* waits for them: they use all the others */
    retries_free(session->retries);
    tree_free(session->tree);
    accumulators_free(session->accumulators);
}

/* Those that call through the mount. */
static void end_threads(struct session *session)
{
    evictor_free(session->evictor);
    waker_free(session->waker);
    session->waker = NULL;
}

static struct fuse_session *new_fuse(struct session *session, struct err *e)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_session *fuse = NULL;
    if (fuse_opt_add_arg(&args, "logmnt") == 0 && fuse_opt_add_arg(&args, "-o") == 0 &&
        fuse_opt_add_arg(&args, session->options->fuse_options) == 0 &&
        (!session->options->debug || fuse_opt_add_arg(&args, "-d") == 0))
        fuse = fuse_session_new(&args, ops_table(), sizeof(struct fuse_lowlevel_ops), session);
    fuse_opt_free_args(&args);
    if (!fuse)
        err_set(e, -EINVAL, "libfuse refused the options '%s'", session->options->fuse_options);
    return fuse;
}

int serve_run(struct session *session, struct err *e)
{
    struct stopper stopper;
    int rc = make_shared(session, e);
    if (rc)
        return rc;
    session->fuse = new_fuse(session, e);
    if (!session->fuse) {
        rc = -EINVAL;
        goto err_after_shared;
    }
    if (fuse_session_mount(session->fuse, session->mountpoint)) {
        rc = err_set(e, -EIO, "cannot mount on %s", session->mountpoint);
        goto err_after_fuse;
    }
    rc = passthrough_attach(session->fuse, e);
    if (rc == 0)
        rc = stopper_start(&stopper, session, e);
    if (rc)
        goto err_after_mount;
    rc = loop(session, e);
    node_stopping(session->node);
    stopper_end(&stopper);
    parks_abort(session);
    ops_file_end(session);
    accumulators_drain(session->accumulators, session->node);
    produce_end(session);
    accumulators_drain(session->accumulators, session->node);
err_after_mount:
    fuse_session_unmount(session->fuse);
err_after_fuse:
    end_threads(session);
    fuse_session_destroy(session->fuse);
    free_shared(session);
    return rc;
err_after_shared:
    end_threads(session);
    free_shared(session);
    return rc;
}
