#include "fs/serve/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "fs/base/guard.h"
#include "fs/base/limits.h"
#include "fs/base/mounted.h"
#include "fs/base/outside.h"
#include "fs/produce/accumulator.h"
#include "fs/produce/last_line.h"
#include "fs/produce/produce_file.h"
#include "fs/serve/feed.h"
#include "fs/serve/notices.h"
#include "fs/serve/ops.h"
#include "fs/serve/stopper.h"
#include "fs/tree/evictor.h"
#include "fs/tree/handle.h"
#include "fs/tree/orphans.h"
#include "fs/tree/retry.h"
#include "fs/tree/waker.h"

static int loop(struct session *session, struct err *e)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (config == NULL)
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
    session->handles = handles_new(ops_file_gone);
    session->tree = tree_new(session->node, &produce_file_hooks);
    session->retries = session->tree != NULL ? retries_new(session->tree) : NULL;
    session->accumulators = accumulators_new(node_executor(session->node), session->options->buffer_memory_bytes);
    session->orphans = orphans_new(session);
    session->waker = waker_new(session);
    session->evictor = evictor_new(session);
    if (session->handles != NULL && session->tree != NULL && session->retries != NULL &&
        session->accumulators != NULL && session->orphans != NULL && session->waker != NULL && session->evictor != NULL)
        return 0;
    if (session->evictor != NULL)
        evictor_free(session->evictor);
    if (session->waker != NULL)
        waker_free(session->waker);
    if (session->orphans != NULL)
        orphans_free(session->orphans);
    if (session->accumulators != NULL)
        accumulators_free(session->accumulators);
    if (session->retries != NULL)
        retries_free(session->retries);
    if (session->tree != NULL)
        tree_free(session->tree);
    if (session->handles != NULL)
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
    outside_stop(session->outside);
    orphans_free(session->orphans);
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
    if (fuse == NULL)
        err_set(e, -EINVAL, "libfuse refused the options '%s'", session->options->fuse_options);
    return fuse;
}

/* fuse_session_mount(). What fusermount3 says on stderr meanwhile, and nobody else does, is in said, for the one line
 * that a start may fail with; its last line, if there are more. In front it stays where it is: others log there. */
static int mount_fuse(struct session *session, char *said, size_t size)
{
    int caught = -1, caller = -1;
    if (!session->options->foreground) {
        caught = memfd_create("stderr", MFD_CLOEXEC);
        caller = caught >= 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0) : -1;
    }
    if (caller >= 0)
        dup2(caught, STDERR_FILENO);
    int rc = fuse_session_mount(session->fuse, session->mountpoint);
    ssize_t len = 0;
    if (caller >= 0) {
        dup2(caller, STDERR_FILENO);
        close(caller);
        off_t end = lseek(caught, 0, SEEK_END);
        len = pread(caught, said, size - 1, end < (off_t)size ? 0 : end - (off_t)size + 1);
    }
    if (caught >= 0)
        close(caught);
    while (len > 0 && said[len - 1] == '\n')
        len--;
    said[len > 0 ? len : 0] = '\0';
    char *before = strrchr(said, '\n');
    if (before != NULL)
        memmove(said, before + 1, strlen(before));
    return rc;
}

static int mount_it(struct session *session, struct mounted_device *device, struct err *e)
{
    char said[256];
    if (mount_fuse(session, said, sizeof said) != 0)
        return err_set(e, -EIO, "cannot mount on %s%s%s", session->mountpoint, said[0] != '\0' ? ": " : "", said);
    if (said[0] != '\0')
        log_line(LOG_WARNING, "%s", said);
    int rc = mounted_device(session->mountpoint, device);
    if (rc != 0) {
        fuse_session_unmount(session->fuse);
        return err_sys(e, rc, "mount point %s", session->mountpoint);
    }
    outside_mounted(session->outside, device);
    guard_mounted(session->guard, device);
    node_mounted(session->node, device->major, device->minor);
    return 0;
}

/* The mount has gone, and somebody still holds the file system: fuse_session_unmount() would take away, by its path,
 * whatever is mounted there by now. It does not when poll(2) of its descriptor says POLLERR, as of a connection that
 * has ended: so does a pipe without a reader. Its own descriptor, the last one, is closed by that: the connection ends.
 */
static void leave_mount_point(struct fuse_session *fuse)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        log_line(LOG_ERR, "no descriptor left to let the mount go: %m");
        return;
    }
    close(fds[0]);
    if (dup3(fds[1], fuse_session_fd(fuse), O_CLOEXEC) < 0)
        log_line(LOG_ERR, "the mount could not be let go: %m");
    close(fds[1]);
}

/* An INTERRUPT that was read behind its request's end lies with libfuse until one more request comes, which takes one
 * out; what lies there at the end it never frees. These are such requests, of a kind that no op is for, and their
 * answers go nowhere. For LeakSanitizer: the process ends anyway. */
static void take_interrupts(struct fuse_session *fuse)
{
#ifdef __SANITIZE_ADDRESS__
    struct fuse_in_header header = {
        .len = sizeof header + sizeof(struct fuse_bmap_in), .opcode = FUSE_BMAP, .unique = UINT64_MAX - 1};
    char bytes[sizeof header + sizeof(struct fuse_bmap_in)] = {0};
    struct fuse_buf buf = {.mem = bytes, .size = sizeof bytes};
    memcpy(bytes, &header, sizeof header);
    for (int i = 0; i < 8192; i++)
        fuse_session_process_buf(fuse, &buf);
#else
    (void)fuse;
#endif
}

int serve_run(struct session *session, struct err *e)
{
    struct stopper stopper;
    int rc = make_shared(session, e);
    if (rc != 0)
        return rc;
    session->fuse = new_fuse(session, e);
    if (session->fuse == NULL) {
        rc = -EINVAL;
        goto err_after_shared;
    }
    struct mounted_device device;
    rc = mount_it(session, &device, e);
    if (rc != 0)
        goto err_after_fuse;
    bool mounted = true;
    feed_begin(session);
    rc = passthrough_attach(session->fuse, e);
    if (rc == 0)
        rc = stopper_start(&stopper, session, &device, e);
    if (rc != 0)
        goto err_after_mount;
    rc = loop(session, e);
    stopper_join(&stopper);
    notices_settle(session);
    node_stopping(session->node);
    mounted = stopper_end(&stopper);
    parks_abort(session);
    ops_file_end(session);
    accumulators_drain(session->accumulators, session->node);
    last_lines_end(session);
err_after_mount:
    feed_end(session);
    take_interrupts(session->fuse);
    if (!mounted)
        leave_mount_point(session->fuse);
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
