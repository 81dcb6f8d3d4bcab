/* tests/unit/test_write_op.c: a write that some partitions have and others have not, and the signals that come then.
 * The partitions are those of two topics, so that one of them can be held up alone. */
#include "tests/unit/session_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "fs/produce/write_op.h"

enum { WRITE_BYTES = 8 }; /* "one\n" to each */

struct story {
    struct opened any;
    struct fixture *f;
    struct fuse_req req;
};

static struct pfile *pfile_of(struct story *s, const char *name)
{
    struct topic *topic = node_topic(s->f->node, name);
    struct pfile *pfile = tree_pfile(s->any.session.tree, topic, 0);
    topic_unref(topic);
    assert_non_null(pfile);
    return pfile;
}

static void add_part(struct story *s, struct write_op *op, struct pfile *pfile)
{
    static char line[] = "one\n";
    struct write_part *part = write_op_add(op);
    int64_t now_ms = hand_wall_ms(&s->f->clock.clock);
    part->pfile = pfile;
    part->iov[0] = (struct iovec){line, 4};
    part->append.batch = (struct append_batch){.iovcnt = 1,
                                               .len = 4,
                                               .records = 1,
                                               .crc = crc32c(0, line, 4),
                                               .first_timestamp_ms = now_ms,
                                               .last_timestamp_ms = now_ms,
                                               .producer_id = -1,
                                               .sequence = -1};
}

/* A write of two records: `open` takes its one, `held` has too few in-sync replicas. */
static void begin(struct story *s, struct fixture *f, pid_t tid)
{
    s->f = f;
    create(f, "open");
    create(f, "held");
    set(f, "held", "min.insync.replicas", "2");
    open_any(&s->any, f, "open");
    struct producer *producer = s->any.handle->producer;
    producer->targets = malloc(2 * sizeof(struct pfile *)); /* as any_target() keeps them */
    producer->targets[0] = pfile_of(s, "open");
    producer->targets[1] = pfile_of(s, "held");
    producer->target_count = 2;
    fake_fuse_request(&s->req, tid);
    assert_true(turn_try(&producer->turn));
    struct write_op *op = write_op_new(s->any.handle, 2);
    op->len = WRITE_BYTES;
    add_part(s, op, producer->targets[0]);
    add_part(s, op, producer->targets[1]);
    assert_int_equal(write_op_go(op, &s->req), 0);
    assert_int_equal(atomic_load(&s->req.answers), 0);
    assert_content(f, "open", "one\n");
}

static void over(struct story *s)
{
    close_any(&s->any);
    assert_int_equal(atomic_load(&s->req.answers), 1);
}

static pid_t stopped_child(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
    return pid;
}

static void end(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_handled_signal_does_not_end_a_write_that_is_partly_there(void **state)
{
    struct story s;
    begin(&s, *state, getpid());
    fake_fuse_interrupt(&s.req);
    for (int i = 0; i < 5; i++)
        pass_ms(s.f, LIMIT_LOOK_AGAIN_MS);
    set(s.f, "held", "min.insync.replicas", "1");
    wait_until(atomic_load(&s.req.answers) == 1);
    assert_int_equal(atomic_load(&s.req.err), 0);
    assert_int_equal(atomic_load(&s.req.written), WRITE_BYTES);
    assert_content(s.f, "open", "one\n");
    assert_content(s.f, "held", "one\n");
    over(&s);
}

static void a_fatal_signal_takes_back_what_is_parked_and_leaves_what_was_appended(void **state)
{
    struct story s;
    pid_t child = stopped_child();
    begin(&s, *state, child);
    kill(child, SIGTERM); /* a stopped process keeps it pending */
    fake_fuse_interrupt(&s.req);
    wait_until(atomic_load(&s.req.answers) == 1);
    assert_int_equal(atomic_load(&s.req.err), ETIMEDOUT);
    set(s.f, "held", "min.insync.replicas", "1");
    assert_content(s.f, "open", "one\n");
    assert_content(s.f, "held", "");
    over(&s);
    end(child);
}

/* The kernel sends one INTERRUPT a request. */
static void a_fatal_signal_after_a_handled_one_is_seen(void **state)
{
    struct story s;
    pid_t child = stopped_child();
    begin(&s, *state, child);
    fake_fuse_interrupt(&s.req);
    pass_ms(s.f, LIMIT_LOOK_AGAIN_MS);
    assert_int_equal(atomic_load(&s.req.answers), 0);
    kill(child, SIGTERM);
    wait_until((pass_ms(s.f, LIMIT_LOOK_AGAIN_MS), atomic_load(&s.req.answers) == 1));
    assert_int_equal(atomic_load(&s.req.err), ETIMEDOUT);
    over(&s);
    end(child);
}

/* ---- a write that is in the log and waits for a follower ---- */

/* One record to `open`, which has a second replica that never fetches. */
static void begin_followed(struct story *s, struct fixture *f, pid_t tid)
{
    s->f = f;
    create(f, "open");
    open_any(&s->any, f, "open");
    struct producer *producer = s->any.handle->producer;
    producer->targets = malloc(sizeof(struct pfile *));
    producer->targets[0] = pfile_of(s, "open");
    producer->target_count = 1;
    struct partition *part = producer->targets[0]->part;
    pthread_mutex_lock(&part->lock);
    part->isr.replicas[part->isr.count++] = (struct isr_replica){.id = 2, .in_sync = true};
    pthread_mutex_unlock(&part->lock);
    fake_fuse_request(&s->req, tid);
    assert_true(turn_try(&producer->turn));
    struct write_op *op = write_op_new(s->any.handle, 1);
    op->len = 4;
    add_part(s, op, producer->targets[0]);
    assert_int_equal(write_op_go(op, &s->req), 0);
    assert_int_equal(partition_log_end(part).offset, 1);
}

static void what_reached_the_log_is_never_eintr(void **state)
{
    struct story s;
    begin_followed(&s, *state, getpid());
    fake_fuse_interrupt(&s.req);
    for (int i = 0; i < 5; i++)
        pass_ms(s.f, LIMIT_LOOK_AGAIN_MS);
    assert_int_equal(atomic_load(&s.req.answers), 0);
    struct partition *part = s.any.handle->producer->targets[0]->part;
    partition_advance(part, 2, partition_log_end(part));
    wait_until(atomic_load(&s.req.answers) == 1);
    assert_int_equal(atomic_load(&s.req.err), 0);
    assert_int_equal(atomic_load(&s.req.written), 4);
    over(&s);
}

static void the_dying_wait_for_no_follower(void **state)
{
    struct story s;
    pid_t child = stopped_child();
    begin_followed(&s, *state, child);
    kill(child, SIGTERM);
    fake_fuse_interrupt(&s.req);
    wait_until((pass_ms(s.f, LIMIT_LOOK_AGAIN_MS), atomic_load(&s.req.answers) == 1));
    assert_int_equal(atomic_load(&s.req.err), ETIMEDOUT);
    over(&s);
    end(child);
}

static void the_end_of_the_session_does_not_wait_for_delivery_timeout(void **state)
{
    struct story s;
    begin(&s, *state, getpid());
    parks_abort(&s.any.session);
    assert_int_equal(atomic_load(&s.req.answers), 1);
    assert_int_equal(atomic_load(&s.req.err), ETIMEDOUT);
    over(&s);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_handled_signal_does_not_end_a_write_that_is_partly_there),
        STORY(a_fatal_signal_takes_back_what_is_parked_and_leaves_what_was_appended),
        STORY(a_fatal_signal_after_a_handled_one_is_seen),
        STORY(what_reached_the_log_is_never_eintr),
        STORY(the_dying_wait_for_no_follower),
        STORY(the_end_of_the_session_does_not_wait_for_delivery_timeout),
    };
    return cmocka_run_group_tests_name("write_op", tests, NULL, NULL);
}
