/* tests/unit/test_notices.c: a stop while the kernel is being told something that waits for a request. */
#include "tests/unit/node_fixture.h"

#include "fs/base/guard.h"
#include "fs/base/limits.h"
#include "fs/serve/notices.h"

/* ---- libfuse's session, as far as it is used here ---- */

struct fuse_session {
    int fds[2]; /* a pipe: a byte is a request */
    _Atomic bool exited;
    _Atomic int looks, answers;
};

int fuse_session_fd(struct fuse_session *fuse)
{
    atomic_fetch_add(&fuse->looks, 1);
    return fuse->fds[0];
}

void fuse_session_reset(struct fuse_session *fuse)
{
    atomic_store(&fuse->exited, false);
}

/* As libfuse does (fuse_session_receive_buf_int(), 3.14): it reads first. */
int fuse_session_receive_buf(struct fuse_session *fuse, struct fuse_buf *buf)
{
    if (buf->mem == NULL)
        buf->mem = malloc(1);
    ssize_t len = read(fuse->fds[0], buf->mem, 1);
    return atomic_load(&fuse->exited) ? 0 : (int)len;
}

void fuse_session_process_buf(struct fuse_session *fuse, const struct fuse_buf *buf)
{
    (void)buf;
    atomic_fetch_add(&fuse->answers, 1);
}

/* ---- a guard, and what the kernel is being told ---- */

static struct {
    struct fuse_session fuse;
    struct session session;
    int waits_for; /* so many answers */
    _Atomic int connection_ends;
} it;

int guard_notices(const struct guard *guard)
{
    (void)guard;
    return atomic_load(&it.connection_ends) == 0 && atomic_load(&it.fuse.answers) < it.waits_for;
}

void guard_end_connection(struct guard *guard)
{
    (void)guard;
    atomic_fetch_add(&it.connection_ends, 1);
}

/* ---- the stories ---- */

static void *settle_it(void *arg)
{
    notices_settle(arg);
    return NULL;
}

static pthread_t stop_begins(struct fixture *f, int requests, int waits_for)
{
    pthread_t thread;
    memset(&it, 0, sizeof it);
    it.session.fuse = &it.fuse;
    it.session.node = f->node;
    it.waits_for = waits_for;
    parks_init(&it.session.parks);
    assert_int_equal(pipe(it.fuse.fds), 0);
    for (int i = 0; i < requests; i++)
        assert_int_equal(write(it.fuse.fds[1], "", 1), 1);
    atomic_store(&it.fuse.exited, true);
    assert_int_equal(pthread_create(&thread, NULL, settle_it, &it.session), 0);
    return thread;
}

static void stop_ends(pthread_t thread)
{
    pthread_join(thread, NULL);
    close(it.fuse.fds[0]);
    close(it.fuse.fds[1]);
}

static void it_looks_again(void)
{
    int looks = atomic_load(&it.fuse.looks);
    wait_until(atomic_load(&it.fuse.looks) > looks + 2);
}

static void requests_are_answered_by_a_session_that_was_told_to_end(void **state)
{
    pthread_t thread = stop_begins(*state, 3, 3);
    wait_until(guard_notices(NULL) == 0);
    stop_ends(thread);
    assert_int_equal(atomic_load(&it.fuse.answers), 3);
    assert_int_equal(atomic_load(&it.connection_ends), 0);
    assert_true(atomic_load(&it.session.ending));
}

static void a_request_that_nobody_answers_is_ended_after_a_while(void **state)
{
    struct fixture *f = *state;
    pthread_t thread = stop_begins(f, 1, 2);
    it_looks_again();
    pass_ms(f, LIMIT_STOP_MS - 1);
    it_looks_again();
    assert_int_equal(atomic_load(&it.connection_ends), 0);
    pass_ms(f, 1);
    wait_until(atomic_load(&it.connection_ends) > 0);
    stop_ends(thread);
    assert_int_equal(atomic_load(&it.connection_ends), 1);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(requests_are_answered_by_a_session_that_was_told_to_end),
        STORY(a_request_that_nobody_answers_is_ended_after_a_while),
    };
    return cmocka_run_group_tests_name("notices", tests, NULL, NULL);
}
