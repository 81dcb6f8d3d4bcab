/* tests/unit/test_fence.c: looks at a partition between a close and what follows from it. */
#include "tests/unit/node_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "fs/base/fence.h"
#include "fs/base/limits.h"
#include "fs/base/session.h"
#include "fs/base/workers.h"
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
    if (setup(state) != 0)
        return -1;
    struct fixture *f = *state;
    memset(&look, 0, sizeof look);
    look.session.node = f->node;
    parks_init(&look.session.parks);
    look.own = fence_new(f->node);
    look.any = fence_new(f->node);
    fake_fuse_request(&look.req, getpid());
    /* As a worker that has taken a RELEASE and not come to it yet. */
    workers_read_begin();
    workers_read_end(true);
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
    wait_until((pass_ms(f, LIMIT_FENCE_POST_MS), atomic_load(&look.req.answers) == 1));
}

static void nobody_waits_when_no_worker_may_have_a_release(void **state)
{
    (void)state;
    workers_read_begin();
    workers_read_end(false);
    fence_raise(look.own, &look.post); /* one of several descriptors was closed */
    begin_look();
    assert_int_equal(atomic_load(&look.req.answers), 1);
}

static void a_look_waits_only_for_what_was_taken_before_it(void **state)
{
    struct fixture *f = *state;
    fence_raise(look.own, &look.post);
    begin_look();
    for (int i = 0; i < 10; i++) { /* a machine so busy that the worker does not run */
        pass_ms(f, LIMIT_FENCE_POST_MS / 20);
        usleep(1000);
    }
    assert_int_equal(atomic_load(&look.req.answers), 0);
    workers_read_begin();
    workers_read_end(true); /* the next one */
    wait_until((pass_ms(f, LIMIT_FENCE_LOOK_MS), atomic_load(&look.req.answers) == 1));
}

static void what_lingers_is_waited_for_for_a_while(void **state)
{
    struct fixture *f = *state;
    fence_raise(look.own, &look.post);
    fence_keep(look.own, &look.post);
    workers_read_begin();
    workers_read_end(false);
    begin_look();
    pass_ms(f, LIMIT_FENCE_LOOK_MS);
    assert_int_equal(atomic_load(&look.req.answers), 0);
    wait_until((pass_ms(f, LIMIT_FENCE_MS), atomic_load(&look.req.answers) == 1));
}

/* The last line was acknowledged, and its file's last user went, before the request could look again. */
static void who_waits_is_answered_though_the_fence_is_given_up(void **state)
{
    struct fixture *f = *state;
    fence_raise(look.own, &look.post);
    fence_keep(look.own, &look.post);
    begin_look();
    assert_int_equal(atomic_load(&look.req.answers), 0);
    fence_lower_soon(look.own, &look.post);
    fence_free(look.own);
    look.own = fence_new(f->node);
    wait_until((pass_ms(f, LIMIT_FENCE_LOOK_MS), atomic_load(&look.req.answers) == 1));
}

static void a_look_waits_only_for_what_was_closed_before_it(void **state)
{
    struct fence_post later = {0};
    (void)state;
    fence_raise(look.own, &look.post);
    fence_keep(look.own, &look.post);
    workers_read_begin();
    workers_read_end(false);
    begin_look();
    fence_raise(look.own, &later); /* one of many that write and close all the time */
    fence_keep(look.own, &later);
    assert_int_equal(atomic_load(&look.req.answers), 0);
    fence_lower(look.own, &look.post);
    assert_int_equal(atomic_load(&look.req.answers), 1);
    fence_lower(look.own, &later);
}

/* ---- workers ---- */

static int ends[2];

static void *sleep_in_read(void *arg)
{
    char byte;
    (void)arg;
    workers_read_begin();
    while (read(ends[0], &byte, 1) < 0)
        ;
    workers_read_end(true);
    return NULL;
}

static void a_worker_that_sleeps_in_its_read_has_nothing(void **state)
{
    struct workers_look hands;
    pthread_t thread;
    (void)state;
    workers_read_begin();
    workers_read_end(false);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pthread_create(&thread, NULL, sleep_in_read, NULL), 0);
    wait_until(!workers_look(&hands));
    assert_true(workers_done(&hands));
    assert_int_equal(write(ends[1], "", 1), 1);
    wait_until(workers_look(&hands)); /* it has taken a RELEASE, and ended with it in hand */
    assert_false(workers_done(&hands));
    pthread_join(thread, NULL);
    close(ends[0]);
    close(ends[1]);
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
        STORY(without_a_fence_a_look_goes_on),
        STORY(a_look_waits_for_the_close),
        STORY(a_look_waits_for_a_close_of_each_kind),
        STORY(nobody_waits_longer_than_the_limit),
        STORY(nobody_waits_when_no_worker_may_have_a_release),
        STORY(a_look_waits_only_for_what_was_taken_before_it),
        STORY(what_lingers_is_waited_for_for_a_while),
        STORY(who_waits_is_answered_though_the_fence_is_given_up),
        STORY(a_look_waits_only_for_what_was_closed_before_it),
        STORY(a_handled_signal_does_not_end_the_look),
        STORY(a_fatal_signal_ends_the_look),
        STORY(a_worker_that_sleeps_in_its_read_has_nothing), /* the last one: that worker has its RELEASE for ever */
    };
    return cmocka_run_group_tests_name("fence", tests, NULL, NULL);
}
