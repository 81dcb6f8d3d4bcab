/* Who asks, right after a start, for what was decided while the node was down. */
#include "tests/unit/cluster_orders.h"

#include "fs/base/outside.h"
#include "fs/produce/produce_file.h"
#include "fs/serve/ops.h"
#include "fs/tree/handle.h"
#include "replication/node/past.h"
#include "tests/unit/fake_fuse.h"

struct asked {
    struct past_waiter waiter;
    int32_t at;
    int calls;
    bool there; /* `orders`, when it went on */
};

static void on_known(struct past_waiter *waiter)
{
    struct asked *asked = CONTAINER_OF(waiter, struct asked, waiter);
    asked->calls++;
    asked->there = cluster_has(c, asked->at, "orders");
}

static bool ask(struct asked *asked, int32_t at)
{
    *asked = (struct asked){.waiter.done = on_known, .at = at};
    return past_wait(node_past(c->nodes[at].node), &asked->waiter);
}

static void stop_a_follower_and_make_orders(int32_t *down)
{
    *down = cluster_follower(c);
    cluster_stop(c, *down);
    assert_int_equal(cluster_mkdir(c, cluster_await_leader(c), "orders"), 0);
}

static void what_was_made_meanwhile_is_there_for_who_waits(void **state)
{
    struct asked first, second, late;
    int32_t down;
    (void)state;
    stop_a_follower_and_make_orders(&down);
    cluster_start(c, down);
    assert_false(cluster_has(c, down, "orders"));
    assert_true(ask(&first, down));
    assert_true(ask(&second, down));
    assert_int_equal(first.calls, 0);
    cluster_await(c, LIMIT_METADATA_MS - 5, first.calls == 1 && second.calls == 1);
    assert_true(first.there && second.there);
    assert_false(ask(&late, down));
}

static void a_quorum_that_is_not_to_be_had_is_waited_for_once(void **state)
{
    struct asked first, second, late;
    int32_t down;
    (void)state;
    stop_a_follower_and_make_orders(&down);
    for (int32_t id = 1; id <= 3; id++) {
        if (id != down)
            cluster_kill(c, id);
    }
    cluster_start(c, down);
    cluster_pass(c, 10000); /* nobody has asked yet */
    assert_true(ask(&first, down));
    cluster_pass(c, LIMIT_METADATA_MS / 2);
    assert_true(ask(&second, down));
    cluster_pass(c, LIMIT_METADATA_MS / 2 - 5);
    assert_int_equal(first.calls, 0);
    cluster_pass(c, 5);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    assert_false(first.there);
    assert_false(ask(&late, down));
    for (int32_t id = 1; id <= 3; id++) {
        if (id != down)
            cluster_start(c, id);
    }
    cluster_await(c, LONG_MS, cluster_has(c, down, "orders"));
    assert_false(ask(&late, down));
}

static void who_is_cancelled_is_not_called(void **state)
{
    struct asked first, second;
    int32_t down;
    (void)state;
    stop_a_follower_and_make_orders(&down);
    cluster_start(c, down);
    assert_true(ask(&first, down));
    assert_true(ask(&second, down));
    assert_true(past_cancel(node_past(c->nodes[down].node), &first.waiter));
    cluster_await(c, LIMIT_METADATA_MS - 5, second.calls == 1);
    assert_int_equal(first.calls, 0);
    assert_false(past_cancel(node_past(c->nodes[down].node), &second.waiter));
}

/* ---- what the kernel asks ---- */

static struct session session;

static void begin_session(int32_t at)
{
    struct err e = {""};
    memset(&session, 0, sizeof session);
    session.outside = outside_start(c->dir, &e);
    assert_non_null(session.outside);
    session.node = c->nodes[at].node;
    session.tree = tree_new(session.node, &produce_file_hooks);
    session.handles = handles_new(ops_file_gone);
    parks_init(&session.parks);
}

static void end_session(void)
{
    cluster_settle(c);
    assert_int_equal(atomic_load(&session.parks.alive), 0);
    handles_free(session.handles, node_executor(session.node));
    tree_free(session.tree);
    outside_end(session.outside);
}

static void look_up(struct fuse_req *req, const char *name)
{
    fake_fuse_request(req, getpid());
    req->userdata = &session;
    ops_table()->lookup(req, FUSE_ROOT_ID, name);
}

static void list(struct fuse_req *req)
{
    struct fuse_file_info fi = {0};
    fake_fuse_request(req, getpid());
    req->userdata = &session;
    ops_table()->opendir(req, FUSE_ROOT_ID, &fi);
    fi.fh = req->fh;
    atomic_store(&req->answers, 0);
    ops_table()->readdir(req, FUSE_ROOT_ID, 4096, 0, &fi);
}

static bool lists(const struct fuse_req *req, const char *name)
{
    return memmem(req->bytes, req->len, name, strlen(name)) != NULL;
}

static void end_list(struct fuse_req *req)
{
    struct fuse_file_info fi = {.fh = req->fh};
    ops_table()->releasedir(req, FUSE_ROOT_ID, &fi);
    free(req->bytes);
}

static void look_ups_and_listings_wait(void **state)
{
    struct fuse_req there, never, special, all;
    int32_t down;
    (void)state;
    stop_a_follower_and_make_orders(&down);
    cluster_start(c, down);
    begin_session(down);
    look_up(&there, "orders");
    look_up(&never, "none");
    list(&all);
    look_up(&special, ".groups");
    assert_int_equal(special.answers, 1); /* what is there is said at once */
    assert_int_equal(there.answers + never.answers + all.answers, 0);
    cluster_await(c, LIMIT_METADATA_MS - 5, there.answers + never.answers + all.answers == 3);
    assert_int_equal(there.err, 0);
    assert_int_equal(never.err, ENOENT);
    assert_true(lists(&all, "orders"));
    end_list(&all);
    tree_forget(session.tree, there.ino, 1);
    tree_forget(session.tree, special.ino, 1);
    look_up(&never, "none");
    assert_int_equal(never.answers, 1);
    end_session();
}

/* There is nothing that it has not heard of. */
static void a_node_alone_waits_for_nothing(void **state)
{
    struct asked asked;
    *state = c = cluster_new(1);
    cluster_start(c, 1);
    assert_false(ask(&asked, 1));
    cluster_stop(c, 1);
    cluster_start(c, 1);
    assert_false(ask(&asked, 1));
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(what_was_made_meanwhile_is_there_for_who_waits),
        STORY(a_quorum_that_is_not_to_be_had_is_waited_for_once),
        STORY(who_is_cancelled_is_not_called),
        STORY(look_ups_and_listings_wait),
        cmocka_unit_test_teardown(a_node_alone_waits_for_nothing, cluster_teardown),
    };
    return cmocka_run_group_tests_name("what was decided before the start", tests, NULL, NULL);
}
