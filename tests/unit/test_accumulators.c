/* tests/unit/test_accumulators.c: lines that linger: whose thread sends them, and the end of a session. */
#include "tests/unit/one_thread.h"

#include "tests/unit/session_fixture.h"

/* The last one to have an accumulator, who is at the end of its batch still. */
struct last {
    struct fixture *f;
    struct tree *tree;
    struct pfile *pfile; /* NULL: it is through */
};

static void go_on(void *arg, int64_t ms)
{
    struct last *last = arg;
    pass(last->f, ms);
    if (last->pfile != NULL)
        tree_pfile_put(last->tree, last->pfile);
    last->pfile = NULL;
}

static void who_is_at_the_end_of_the_last_batch_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct opened o;
    struct fuse_req req;
    make(f, "orders");
    open_any(&o, f, "orders");
    fake_fuse_request(&req, getpid());
    write_to(&req, o.handle, "one\n", 4, O_WRONLY | O_APPEND);
    assert_int_equal(atomic_load(&req.written), 4);
    accumulators_drain(o.session.accumulators, f->node);
    assert_content(f, "orders", "one\n");
    struct last last = {f, o.session.tree, tree_pfile_ref(o.session.tree, o.handle->producer->targets[0])};
    handle_close(o.handle);
    handles_free(o.session.handles, &hand.executor);
    tree_forget(o.session.tree, o.vnode->id, 1);
    hand.pass = go_on;
    hand.arg = &last;
    accumulators_free(o.session.accumulators);
    hand.pass = pass;
    hand.arg = f;
    assert_null(last.pfile);
    tree_free(o.session.tree);
}

/* ---- whose thread ---- */

enum { OTHERS = 3 * LIMIT_SEND_BATCHES };

/* Another open file of the same topic, which is written to whenever something comes to the disk: each line is a batch.
 */
static struct other {
    struct handle *handle;
    struct fuse_req reqs[OTHERS];
    int count;
} other;

static void *write_one(void *req)
{
    fake_fuse_request(req, getpid());
    write_to(req, other.handle, "two\n", 4, O_WRONLY | O_APPEND);
    return NULL;
}

/* On a thread of its own, which has none of the locks that are held here. */
static ssize_t write_of_another(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    if (other.count < OTHERS) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, write_one, &other.reqs[other.count++]), 0);
        pthread_join(thread, NULL);
    }
    return bad_pwritev(io, fd, iov, iovcnt, at);
}

static void open_both(struct opened *o, struct fixture *f)
{
    make(f, "orders");
    open_any(o, f, "orders");
    o->options.batch_size_bytes = 4;
    other.count = 0;
    other.handle = handle_new(&o->session, o->vnode);
    other.handle->appends = true;
    assert_int_equal(producer_open(other.handle), 0);
    replace_disk_call(f, pwritev, write_of_another);
}

/* Every request of it has been answered. */
static void close_one(struct opened *o)
{
    assert_int_equal(atomic_load(&o->session.parks.alive), 0);
    handle_close(o->handle);
    handles_free(o->session.handles, &hand.executor);
    tree_forget(o->session.tree, o->vnode->id, 1);
    tree_free(o->session.tree);
    accumulators_free(o->session.accumulators);
}

static void close_both(struct opened *o)
{
    accumulators_drain(o->session.accumulators, o->f->node);
    handle_close(other.handle);
    close_one(o);
}

/* What a thread has done: the answer of its request, and how many lines are in the log then. */
struct done {
    int answers, err;
    int64_t sent;
};

static struct done done_by(struct partition *part, struct fuse_req *req)
{
    return (struct done){atomic_load(&req->answers), atomic_load(&req->err), partition_log_end(part).offset};
}

/* Does all works. Returns how many lines the one that sent most has sent. */
static int64_t most_of_one_work(struct partition *part)
{
    int64_t before = partition_log_end(part).offset, most = 0;
    while (hand_step(&hand)) {
        int64_t end = partition_log_end(part).offset;
        most = end - before > most ? end - before : most;
        before = end;
    }
    return most;
}

static void assert_all_are_there(struct fixture *f)
{
    char expected[OTHERS * 4 + 5] = "one\n";
    for (int i = 0; i < OTHERS; i++) {
        assert_int_equal(atomic_load(&other.reqs[i].written), 4);
        strcat(expected, "two\n");
    }
    assert_content(f, "orders", expected);
}

/* It sends its own and is answered; the others' go by turns of the pool, in their order. */
static void who_writes_does_not_send_what_others_write_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct opened o;
    struct fuse_req req;
    open_both(&o, f);
    struct partition *part = get(f, "orders");
    fake_fuse_request(&req, getpid());
    write_to(&req, o.handle, "one\n", 4, O_WRONLY | O_APPEND);
    struct done done = done_by(part, &req);
    int64_t most = most_of_one_work(part);
    partition_unref(part);
    close_both(&o);
    assert_int_equal(done.answers, 1);
    assert_int_equal(done.err, 0);
    assert_int_equal(done.sent, 1);
    assert_in_range(most, 1, LIMIT_SEND_BATCHES);
    assert_all_are_there(f);
}

/* Nor does who waits for what he wrote. */
static void who_closes_does_not_send_what_others_write_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct opened o;
    struct fuse_req req, close;
    open_both(&o, f);
    struct partition *part = get(f, "orders");
    o.options.batch_size_bytes = 8;
    fake_fuse_request(&req, getpid());
    write_to(&req, o.handle, "one\n", 4, O_WRONLY | O_APPEND);
    o.options.batch_size_bytes = 4;
    fake_fuse_request(&close, getpid());
    produce_flush(&close, o.handle);
    struct done done = done_by(part, &close);
    int64_t most = most_of_one_work(part);
    partition_unref(part);
    close_both(&o);
    assert_int_equal(done.answers, 1);
    assert_int_equal(done.err, 0);
    assert_int_equal(done.sent, 1);
    assert_in_range(most, 1, LIMIT_SEND_BATCHES);
    assert_all_are_there(f);
}

/* The end of the session sends what others were to send. */
static void a_drain_waits_for_what_was_handed_on(void **state)
{
    struct fixture *f = *state;
    struct opened o;
    struct fuse_req req;
    open_both(&o, f);
    fake_fuse_request(&req, getpid());
    write_to(&req, o.handle, "one\n", 4, O_WRONLY | O_APPEND);
    close_both(&o);
    assert_all_are_there(f);
}

/* ---- room ---- */

enum { WAITERS = 3 * LIMIT_ROOM_GRANTS };

static int granted[WAITERS], grants;

static void room_is_there(struct accumulator_waiter *waiter)
{
    granted[grants++] = (int)waiter->len;
}

static void who_gives_back_room_does_not_serve_all_that_wait_for_it(void **state)
{
    struct fixture *f = *state;
    struct opened o;
    struct accumulator_waiter all, waiters[WAITERS];
    size_t len = 0;
    int most = 0;
    make(f, "orders");
    open_any(&o, f, "orders");
    struct accumulators *accs = o.session.accumulators;
    grants = 0;
    all = (struct accumulator_waiter){.len = (size_t)o.options.buffer_memory_bytes};
    assert_true(accumulators_reserve(accs, &all));
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct accumulator_waiter){.len = (size_t)i + 1, .room = room_is_there};
        assert_false(accumulators_reserve(accs, &waiters[i]));
        len += waiters[i].len;
    }
    accumulators_give_back(accs, all.len);
    int at_once = grants;
    for (int before = grants; hand_step(&hand); before = grants)
        most = grants - before > most ? grants - before : most;
    accumulators_give_back(accs, len);
    close_one(&o);
    assert_int_equal(at_once, 0);
    assert_in_range(most, 1, LIMIT_ROOM_GRANTS);
    assert_int_equal(grants, WAITERS);
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(granted[i], i + 1);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(who_is_at_the_end_of_the_last_batch_is_waited_for),
        STORY(who_writes_does_not_send_what_others_write_meanwhile),
        STORY(who_closes_does_not_send_what_others_write_meanwhile),
        STORY(a_drain_waits_for_what_was_handed_on),
        STORY(who_gives_back_room_does_not_serve_all_that_wait_for_it),
    };
    return cmocka_run_group_tests_name("accumulators", tests, NULL, NULL);
}
