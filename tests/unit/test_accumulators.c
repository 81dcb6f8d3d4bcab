/* tests/unit/test_accumulators.c: the end of a session in which lines lingered. */
#include "tests/unit/one_thread.h"

#include "fs/produce/produce.h"
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
    produce_write(&req, o.handle, "one\n", 4, O_WRONLY | O_APPEND);
    assert_int_equal(atomic_load(&req.written), 4);
    accumulators_drain(o.session.accumulators, f->node);
    assert_content(f, "orders", "one\n");
    struct last last = {f, o.session.tree, tree_pfile_ref(o.session.tree, o.handle->producer->targets[0])};
    handle_close(o.handle);
    handles_free(o.session.handles, &hand.executor);
    tree_forget(o.session.tree, o.vnode->id, 1);
    hand.pass = go_on;
    hand.arg = &last;
    accumulators_free(o.session.accumulators, &hand.executor);
    hand.pass = pass;
    hand.arg = f;
    assert_null(last.pfile);
    tree_free(o.session.tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_at_the_end_of_the_last_batch_is_waited_for, setup_one, teardown_one),
    };
    return cmocka_run_group_tests_name("accumulators", tests, NULL, NULL);
}
