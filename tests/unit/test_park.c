/* tests/unit/test_park.c: requests that wait, and the signals that come while they do. */
#include "engine/base/container.h"
#include "tests/unit/node_fixture.h"

#include "fs/base/limits.h"
#include "fs/base/park.h"
#include "fs/base/session.h"
#include "replication/base/limits.h"
#include "tests/unit/fake_fuse.h"

/* A wait whose place in a queue the test gives and takes away. */
struct waiting {
    struct park park;
    struct fuse_req req;
    struct session session;
    _Atomic bool queued;
    _Atomic int cancels;
    _Atomic bool freed;
};

static bool waiting_cancel(struct park *park)
{
    struct waiting *w = CONTAINER_OF(park, struct waiting, park);
    bool was = atomic_exchange(&w->queued, false);
    atomic_fetch_add(&w->cancels, 1);
    return was;
}

static void waiting_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void waiting_free(struct park *park)
{
    atomic_store(&CONTAINER_OF(park, struct waiting, park)->freed, true);
}

static void begin_in(struct waiting *w, struct session *session)
{
    fake_fuse_request(&w->req, getpid());
    w->park.cancel = waiting_cancel;
    w->park.aborted = waiting_aborted;
    w->park.free = waiting_free;
    park_begin(&w->park, session, &w->req);
}

static void begin(struct fixture *f, struct waiting *w)
{
    memset(w, 0, sizeof *w);
    w->session.node = f->node;
    parks_init(&w->session.parks);
    begin_in(w, &w->session);
}

static void park_it(struct fixture *f, struct waiting *w)
{
    begin(f, w);
    atomic_store(&w->queued, true);
    park_settle(&w->park);
}

static void a_signal_ends_the_wait(void **state)
{
    struct waiting w;
    park_it(*state, &w);
    fake_fuse_interrupt(&w.req);
    wait_until(atomic_load(&w.session.parks.alive) == 0);
    assert_int_equal(atomic_load(&w.req.answers), 1);
    assert_int_equal(atomic_load(&w.req.err), EINTR);
}

/* Until the pool has done what it was asked before: all of its threads meet. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int arrived, left;
} meeting = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void meet(struct work *work)
{
    (void)work;
    pthread_mutex_lock(&meeting.lock);
    meeting.arrived++;
    pthread_cond_broadcast(&meeting.changed);
    while (meeting.arrived < LIMIT_PROMPT_THREADS)
        pthread_cond_wait(&meeting.changed, &meeting.lock);
    meeting.left++;
    pthread_cond_broadcast(&meeting.changed);
    pthread_mutex_unlock(&meeting.lock);
}

static void let_the_pool_finish(struct fixture *f)
{
    static struct work works[LIMIT_PROMPT_THREADS];
    meeting.arrived = meeting.left = 0;
    for (int i = 0; i < LIMIT_PROMPT_THREADS; i++) {
        works[i].run = meet;
        executor_prompt(node_executor(f->node), &works[i]);
    }
    pthread_mutex_lock(&meeting.lock);
    while (meeting.left < LIMIT_PROMPT_THREADS)
        pthread_cond_wait(&meeting.changed, &meeting.lock);
    pthread_mutex_unlock(&meeting.lock);
}

/* What cancel() looks at need not be there before the request is in its queue. */
static void a_signal_before_it_waits_ends_the_wait_when_it_does(void **state)
{
    struct fixture *f = *state;
    struct waiting w;
    begin(f, &w);
    fake_fuse_interrupt(&w.req);
    let_the_pool_finish(f);
    assert_int_equal(atomic_load(&w.cancels), 0);
    atomic_store(&w.queued, true);
    park_settle(&w.park);
    wait_until((pass_ms(f, LIMIT_LOOK_AGAIN_MS), atomic_load(&w.session.parks.alive) == 0));
    assert_int_equal(atomic_load(&w.req.answers), 1);
    assert_int_equal(atomic_load(&w.req.err), EINTR);
}

/* What it waited for came, and was gone when it was looked at: retention was quicker. */
static void a_signal_that_came_between_the_wake_and_the_second_wait_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct waiting w;
    park_it(f, &w);
    assert_true(atomic_exchange(&w.queued, false)); /* woken */
    fake_fuse_interrupt(&w.req);
    wait_until(atomic_load(&w.cancels) > 0);
    assert_int_equal(atomic_load(&w.req.answers), 0);
    atomic_store(&w.queued, true); /* it waits on */
    wait_until((pass_ms(f, LIMIT_LOOK_AGAIN_MS), atomic_load(&w.session.parks.alive) == 0));
    assert_int_equal(atomic_load(&w.req.answers), 1);
    assert_int_equal(atomic_load(&w.req.err), EINTR);
    assert_true(atomic_load(&w.freed));
}

static void a_signal_that_comes_with_the_answer_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct waiting w;
    park_it(f, &w);
    assert_true(atomic_exchange(&w.queued, false));
    fake_fuse_interrupt(&w.req);
    wait_until(atomic_load(&w.cancels) > 0);
    park_answer(&w.park);
    fuse_reply_err(&w.req, 0);
    park_unref(&w.park);
    wait_until((pass_ms(f, LIMIT_LOOK_AGAIN_MS), atomic_load(&w.session.parks.alive) == 0));
    assert_int_equal(atomic_load(&w.req.answers), 1);
    assert_int_equal(atomic_load(&w.req.err), 0);
}

static void the_end_of_the_session_ends_what_only_death_may_end(void **state)
{
    struct waiting w;
    park_it(*state, &w);
    w.park.fatal_only = true;
    parks_abort(&w.session);
    assert_int_equal(atomic_load(&w.req.answers), 1);
    assert_int_equal(atomic_load(&w.req.err), ENOTCONN);
}

/* ---- the end of the session, with several ---- */

/* Those of one session: `others` wait before and behind it. */
struct crowd {
    struct session session;
    struct waiting old, others[8];
    int came;
};

static void crowd_begin(struct fixture *f, struct crowd *crowd)
{
    memset(crowd, 0, sizeof *crowd);
    crowd->session.node = f->node;
    parks_init(&crowd->session.parks);
}

static void wait_in(struct crowd *crowd, struct waiting *w)
{
    begin_in(w, &crowd->session);
    atomic_store(&w->queued, true);
    park_settle(&w->park);
}

/* A program that reads again whatever it was answered: up to the last of `others`, the end of this test's patience. */
static void aborted_comes_again(struct park *park, int rc)
{
    struct crowd *crowd = CONTAINER_OF(park->session, struct crowd, session);
    fuse_reply_err(park->req, -rc);
    if (crowd->came < 8) {
        struct waiting *w = &crowd->others[crowd->came++];
        wait_in(crowd, w);
        w->park.aborted = aborted_comes_again;
    }
}

static void who_comes_again_and_again_keeps_nobody_from_the_end(void **state)
{
    struct crowd crowd;
    crowd_begin(*state, &crowd);
    wait_in(&crowd, &crowd.old);
    struct waiting *first = &crowd.others[crowd.came++];
    wait_in(&crowd, first);
    first->park.aborted = aborted_comes_again;
    assert_true(parks_abort_all(&crowd.session));
    assert_int_equal(atomic_load(&crowd.old.req.answers), 1);
    assert_true(crowd.came < 8);
    parks_abort(&crowd.session);
    assert_int_equal(atomic_load(&crowd.session.parks.alive), 0);
}

static void nor_do_those_that_somebody_else_will_answer(void **state)
{
    struct crowd crowd;
    crowd_begin(*state, &crowd);
    for (int i = 0; i < 8; i++) {
        if (i == 4)
            wait_in(&crowd, &crowd.old);
        wait_in(&crowd, &crowd.others[i]);
        assert_true(atomic_exchange(&crowd.others[i].queued, false));
    }
    assert_true(parks_abort_all(&crowd.session));
    assert_int_equal(atomic_load(&crowd.old.req.answers), 1);
    assert_int_equal(atomic_load(&crowd.old.req.err), ENOTCONN);
    assert_false(parks_abort_all(&crowd.session));
    for (int i = 0; i < 8; i++) {
        assert_int_equal(atomic_load(&crowd.others[i].cancels), 2); /* each time */
        park_answer(&crowd.others[i].park);
        fuse_reply_err(&crowd.others[i].req, 0);
        park_unref(&crowd.others[i].park);
    }
    parks_abort(&crowd.session);
    assert_int_equal(atomic_load(&crowd.session.parks.alive), 0);
}

/* ---- beside what takes long ---- */

/* A disk on which nothing is removed until the test lets it. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int waiting;
    bool open;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int unlink_behind_gate(struct io *io, int dirfd, const char *name, int flags)
{
    (void)io;
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    return io_posix()->unlink(io_posix(), dirfd, name, flags);
}

static void a_signal_ends_the_wait_while_topics_are_being_removed(void **state)
{
    struct fixture *f = *state;
    enum { TOPICS = 8, BUSY = 4 };
    struct waiting w;
    char name[16];
    gate.waiting = 0;
    gate.open = false;
    for (int i = 0; i < TOPICS; i++) {
        snprintf(name, sizeof name, "t%d", i);
        create(f, name);
    }
    replace_disk_call(f, unlink, unlink_behind_gate);
    for (int i = 0; i < TOPICS; i++) {
        snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(delete_topic(f->node, name, NULL), 0);
    }
    pthread_mutex_lock(&gate.lock);
    while (gate.waiting < BUSY)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);

    park_it(f, &w);
    fake_fuse_interrupt(&w.req);
    wait_until(atomic_load(&w.session.parks.alive) == 0);
    assert_int_equal(atomic_load(&w.req.err), EINTR);

    pthread_mutex_lock(&gate.lock);
    assert_int_equal(gate.waiting, BUSY); /* all that may be at it at once still are */
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_signal_ends_the_wait),
        STORY(a_signal_before_it_waits_ends_the_wait_when_it_does),
        STORY(a_signal_that_came_between_the_wake_and_the_second_wait_is_not_lost),
        STORY(a_signal_that_comes_with_the_answer_changes_nothing),
        STORY(the_end_of_the_session_ends_what_only_death_may_end),
        STORY(who_comes_again_and_again_keeps_nobody_from_the_end),
        STORY(nor_do_those_that_somebody_else_will_answer),
        STORY(a_signal_ends_the_wait_while_topics_are_being_removed),
    };
    return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
