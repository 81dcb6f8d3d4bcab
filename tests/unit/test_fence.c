/* tests/unit/test_fence.c: looks at a partition between a close and what follows from it. */
#include "tests/unit/node_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "fs/base/fence.h"
#include "fs/base/limits.h"
#include "fs/base/session.h"
#include "tests/unit/fake_fuse.h"

/* A look at a partition, behind its own fence and `.any`'s, as ops_fenced() does it. */
static struct look {
    struct session session;
    struct fence *own, *any;
    struct fence_post post, any_post;
    struct fuse_req req;
} look;

static void run(const struct fence_request *request)
{
    if (!fence_wait(look.own, &look.session, request) && !fence_wait(look.any, &look.session, request))
        fuse_reply_err(request->req, 0);
}

static int begin(void **state)
{
    if (setup(state))
        return -1;
    struct fixture *f = *state;
    memset(&look, 0, sizeof(look));
    look.session.node = f->node;
    parks_init(&look.session.parks);
    look.own = fence_new(f->node);
    look.any = fence_new(f->node);
    fake_fuse_request(&look.req, getpid());
    return 0;
}

static int end(void **state)
{
    fence_lower(look.own, &look.post);
    fence_lower(look.any, &look.any_post);
    wait_until((pass_ms(*state, LIMIT_LOOK_AGAIN_MS), atomic_load(&look.session.parks.alive) == 0));
    fence_free(look.own);
    fence_free(look.any);
    assert_int_equal(atomic_load(&fence_all_raised), 0);
    return teardown(state);
}

static void begin_look(void)
{
    struct fence_request request = {.req = &look.req, .run = run};
    run(&request);
}

static void without_a_fence_a_look_goes_on(void **state)
{
    (void)state;
    begin_look();
    assert_int_equal(atomic_load(&look.req.answers), 1);
}

static void a_look_waits_for_the_close(void **state)
{
    (void)state;
    fence_raise(look.own, &look.post);
    begin_look();
    assert_int_equal(atomic_load(&look.req.answers), 0);
    fence_lower(look.own, &look.post);
    assert_int_equal(atomic_load(&look.req.answers), 1);
}

static void a_look_waits_for_a_close_of_each_kind(void **state)
{
    (void)state;
    fence_raise(look.own, &look.post);
    fence_raise(look.any, &look.any_post);
    begin_look();
    fence_lower(look.own, &look.post);
    assert_int_equal(atomic_load(&look.req.answers), 0);
    fence_raise(look.own, &look.post); /* a later close is not its business */
    fence_lower(look.any, &look.any_post);
    assert_int_equal(atomic_load(&look.req.answers), 1);
}

static void nobody_waits_longer_than_the_limit(void **state)
{
    struct fixture *f = *state;
    fence_raise(look.own, &look.post);
    begin_look();
    assert_int_equal(atomic_load(&look.req.answers), 0);
    wait_until((pass_ms(f, LIMIT_FENCE_MS), atomic_load(&look.req.answers) == 1));
}

/* stat(2) and open(2) do not fail for a timer's tick. */
static void a_handled_signal_does_not_end_the_look(void **state)
{
    (void)state;
    fence_raise(look.own, &look.post);
    begin_look();
    fake_fuse_interrupt(&look.req);
    fence_lower(look.own, &look.post);
    wait_until(atomic_load(&look.req.answers) == 1);
    assert_int_equal(atomic_load(&look.req.err), 0);
}

static void a_fatal_signal_ends_the_look(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, WUNTRACED), child);
    kill(child, SIGTERM); /* a stopped process keeps it pending */
    fence_raise(look.own, &look.post);
    fake_fuse_request(&look.req, child);
    begin_look();
    fake_fuse_interrupt(&look.req);
    wait_until(atomic_load(&look.req.answers) == 1);
    assert_int_equal(atomic_load(&look.req.err), EINTR);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(without_a_fence_a_look_goes_on),         STORY(a_look_waits_for_the_close),
        STORY(a_look_waits_for_a_close_of_each_kind),  STORY(nobody_waits_longer_than_the_limit),
        STORY(a_handled_signal_does_not_end_the_look), STORY(a_fatal_signal_ends_the_look),
    };
    return cmocka_run_group_tests_name("fence", tests, NULL, NULL);
}
