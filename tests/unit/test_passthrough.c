/* tests/unit/test_passthrough.c: a worker of libfuse that reads the next request, and is cancelled as the loop ends: it
 * may be anywhere in our own read, where it must hold nothing. The program is linked with --wrap for read(). */
#include "tests/unit/node_fixture.h"

#include "fs/base/passthrough.h"
#include "fs/base/session.h"

ssize_t __real_read(int fd, void *buffer, size_t len);
ssize_t __wrap_read(int fd, void *buffer, size_t len);

static _Thread_local bool unmounts; /* the next read of this thread: the mount has gone, and libfuse cancels it */

/* What is pending is acted upon at the next cancellation point (pthreads(7)) at which the thread allows it. */
ssize_t __wrap_read(int fd, void *buffer, size_t len)
{
    if (!unmounts)
        return __real_read(fd, buffer, len);
    unmounts = false;
    pthread_cancel(pthread_self());
    errno = ENODEV;
    return -1;
}

static struct fuse_buf request;

/* As libfuse's fuse_do_work(): a worker can be cancelled while it receives a request, and only then. */
static void *work(void *fuse)
{
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    unmounts = true;
    fuse_session_receive_buf(fuse, &request);
    pthread_testcancel();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return NULL;
}

/* A session whose mount was made by somebody else, who has passed the descriptor: there is none. */
static struct fuse_session *open_session(struct session *session, char *name)
{
    static const struct fuse_lowlevel_ops none;
    char *argv[] = {name, NULL}, path[32];
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_session *fuse = fuse_session_new(&args, &none, sizeof none, session);
    fuse_opt_free_args(&args);
    assert_non_null(fuse);
    snprintf(path, sizeof path, "/dev/fd/%d", open("/dev/null", O_RDWR | O_CLOEXEC));
    assert_int_equal(fuse_session_mount(fuse, path), 0);
    assert_int_equal(passthrough_attach(fuse, NULL), 0);
    return fuse;
}

static void a_worker_that_is_cancelled_at_the_unmount_keeps_no_lock(void **state)
{
    struct fixture *f = *state;
    struct session session = {.node = f->node};
    struct data_lock *lock = &f->node->lock;
    struct fuse_session *fuse = open_session(&session, "test_passthrough");
    char path[256], said[64];
    pthread_t thread;
    void *end;
    assert_int_equal(pthread_create(&thread, NULL, work, fuse), 0);
    assert_int_equal(pthread_join(thread, &end), 0);
    int rc = pthread_mutex_trylock(&lock->lock);
    pthread_mutex_unlock(&lock->lock); /* so that the stop does not wait for ever */
    fuse_session_destroy(fuse);
    free(request.mem);
    assert_ptr_equal(end, PTHREAD_CANCELED);
    assert_int_equal(rc, 0);

    /* It has said what it was there to say. */
    path_in(f, "lock", path);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %63s", said), 1);
    fclose(file);
    assert_string_equal(said, "stopping");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_worker_that_is_cancelled_at_the_unmount_keeps_no_lock, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
