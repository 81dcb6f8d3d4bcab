/* tests/unit/test_write_op.c: a write that some partitions have and others have not, and the signals that come then.
 * The partitions are those of two topics, so that one of them can be held up alone. */
#include "tests/unit/node_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "fs/handle.h"
#include "fs/limits.h"
#include "fs/write_op.h"
#include "tests/unit/fake_fuse.h"

enum { WRITE_BYTES = 8 }; /* "one\n" to each */

struct story {
    struct fixture *f;
    struct options options;
    struct session session;
    struct vnode *vnode;
    struct handle *handle;
    struct fuse_req req;
};

static struct pfile *pfile_of(struct story *s, const char *name)
{
    struct topic *topic = node_topic(s->f->node, name);
    struct pfile *pfile = tree_pfile(s->session.tree, topic, 0);
    topic_unref(topic);
    assert_non_null(pfile);
    return pfile;
}

static void add_part(struct story *s, struct write_op *op, const char *name)
{
    static char line[] = "one\n";
    struct write_part *part = write_op_add(op);
    int64_t now_ms = hand_wall_ms(&s->f->clock.clock);
    part->pfile = pfile_of(s, name);
    part->iov[0] = (struct iovec){line, 4};
    part->batch = (struct append_batch){.iovcnt = 1,
                                        .len = 4,
                                        .records = 1,
                                        .crc = crc32c(0, line, 4),
                                        .first_timestamp_ms = now_ms,
                                        .last_timestamp_ms = now_ms,
                                        .producer_id = -1,
                                        .sequence = -1};
    tree_pfile_put(s->session.tree, part->pfile); /* the story's own references keep it */
}

/* A write of two records: `open` takes its one, `held` has too few in-sync replicas. */
static void begin(struct story *s, struct fixture *f, pid_t tid)
{
    memset(s, 0, sizeof(*s));
    s->f = f;
    create(f, "open");
    create(f, "held");
    set(f, "held", "min.insync.replicas", "2");
    s->options = (struct options){.acks = ACKS_ALL, .delivery_timeout_ms = INT64_C(1) << 40};
    s->session.node = f->node;
    s->session.options = &s->options;
    s->session.tree = tree_new(f->node);
    s->session.handles = handles_new();
    parks_init(&s->session.parks);
    struct topic *topic = node_topic(f->node, "open");
    struct vnode_key key = {.kind = VNODE_ANY, .index = -1, .topic = topic};
    s->vnode = tree_vnode(s->session.tree, &key);
    topic_unref(topic);
    s->handle = handle_new(&s->session, s->vnode);
    s->handle->wakes = false; /* nobody watches */
    struct pfile *open = pfile_of(s, "open"), *held = pfile_of(s, "held");
    fake_fuse_request(&s->req, tid);
    struct write_op *op = write_op_new(s->handle, 2);
    op->len = WRITE_BYTES;
    add_part(s, op, "open");
    add_part(s, op, "held");
    assert_int_equal(write_op_go(op, &s->req), 0);
    assert_int_equal(atomic_load(&s->req.answers), 0);
    assert_content(f, "open", "one\n");
    tree_pfile_put(s->session.tree, open);
    s->handle->producer.targets = malloc(sizeof(struct pfile *)); /* as any_target() keeps it */
    s->handle->producer.targets[0] = held;
    s->handle->producer.target_count = 1;
}

static void over(struct story *s)
{
    wait_until((pass_ms(s->f, LIMIT_LOOK_AGAIN_MS), atomic_load(&s->session.parks.alive) == 0));
    assert_int_equal(atomic_load(&s->req.answers), 1);
    handle_close(s->handle);
    handles_free(s->session.handles);
    tree_forget(s->session.tree, s->vnode->id, 1);
    tree_free(s->session.tree);
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

static void the_end_of_the_session_does_not_wait_for_delivery_timeout(void **state)
{
    struct story s;
    begin(&s, *state, getpid());
    parks_abort(&s.session.parks);
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
        STORY(the_end_of_the_session_does_not_wait_for_delivery_timeout),
    };
    return cmocka_run_group_tests_name("write_op", tests, NULL, NULL);
}
