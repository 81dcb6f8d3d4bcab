/* Reading on where something is there already, and what follows is at a leader that may not be reached. */
#include "tests/unit/reads_fixture.h"

#include "fs/consume/consume.h"
#include "fs/consume/reader.h"
#include "fs/produce/produce_file.h"
#include "fs/tree/handle.h"
#include "tests/unit/fake_fuse.h"

static struct asked more_of(struct partition *part, enum read_kind kind, int64_t at)
{
    struct asked asked = question(part, kind, at);
    asked.op.more = true;
    return asked;
}

static void test_nobody_to_be_asked_is_not_waited_for(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 1);
    link_down(wire);
    struct asked more = more_of(wire->here, READ_BYTES, 9), run = more_of(wire->here, READ_RUN, 9);
    assert_false(begin(&more) || begin(&run));
    assert_int_equal(more.rc, -ETIMEDOUT);
    assert_int_equal(run.rc, -ETIMEDOUT);
}

static void test_who_is_lost_is_waited_for_no_longer(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 1);
    atomic_store(&wire->deaf, true);
    struct asked more = more_of(wire->here, READ_BYTES, 9), first = question(wire->here, READ_BYTES, 0);
    assert_true(begin(&more));
    assert_true(begin(&first));
    link_down(wire);
    wait_until(atomic_load(&more.over));
    assert_int_equal(more.rc, -ETIMEDOUT);
    assert_false(atomic_load(&first.over));
    atomic_store(&wire->deaf, false);
    link_up(wire);
    wait_until(atomic_load(&first.over));
    assert_true(first.op.found);
    partition_read_release(&first.op);
}

static void test_who_is_silent_is_waited_for_as_long_as_one_answer_takes(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 1);
    atomic_store(&wire->deaf, true);
    struct asked more = more_of(wire->here, READ_BYTES, 9);
    assert_true(begin(&more));
    pass_ms(wire->reader, LIMIT_READ_AGAIN_MS - 1);
    await_alarms(wire->reader);
    executor_settle(wire->reader->node->executor);
    assert_false(atomic_load(&more.over));
    pass_ms(wire->reader, 1);
    wait_until(atomic_load(&more.over));
    assert_int_equal(more.rc, -ETIMEDOUT);
}

static void test_who_can_be_asked_is(void **state)
{
    struct wire *wire = *state;
    append_lines(wire->leader, 0, 2);
    struct asked more = more_of(wire->here, READ_BYTES, 9);
    if (begin(&more))
        wait_until(atomic_load(&more.over));
    assert_int_equal(more.rc, 0);
    assert_memory_equal(more.op.bytes, "record 1\n", 9);
    partition_read_release(&more.op);
}

/* ---- a READ ---- */

static struct story {
    struct session session;
    struct vnode *vnode;
    struct handle *handle;
    struct fuse_req req;
} story;

static void open_file(struct fixture *f)
{
    struct topic *topic = node_topic(f->node, "orders");
    struct vnode_key key = {.kind = VNODE_PARTITION, .topic = topic};
    memset(&story, 0, sizeof story);
    story.session.node = f->node;
    story.session.tree = tree_new(f->node, &produce_file_hooks);
    story.session.handles = handles_new(reader_free);
    parks_init(&story.session.parks);
    story.vnode = tree_vnode(story.session.tree, &key);
    topic_unref(topic);
    story.handle = handle_new(&story.session, story.vnode);
    assert_int_equal(reader_open(story.handle), 0);
}

static void close_file(struct fixture *f)
{
    handle_close(story.handle);
    handles_free(story.session.handles, node_executor(f->node));
    tree_forget(story.session.tree, story.vnode->id, 1);
    tree_free(story.session.tree);
}

static void read_file(int64_t pos)
{
    fake_fuse_request(&story.req, getpid());
    consume_read(&story.req, story.handle, 4096, pos, 1);
}

/* Its replica has one of the two records that this mount was shown. */
static void fall_behind(struct wire *wire)
{
    struct partition_registration led = {.leader = 1, .leader_epoch = 6, .partition_epoch = 6};
    struct partition_registration follows = {.leader = 2, .leader_epoch = 7, .partition_epoch = 7};
    led.replicas = led.isr = (struct replica_set){.count = 1, .ids = {1}};
    follows.replicas = follows.isr = (struct replica_set){.count = 2, .ids = {2, 1}};
    partition_set_registration(wire->here, &led);
    append_lines(wire->reader, 0, 1);
    partition_set_registration(wire->here, &follows);
    append_lines(wire->leader, 0, 2);
    assert_true(remote_show(wire->here, (struct log_point){2, 18}, 7, 7));
}

static void test_a_read_gives_what_is_here_where_the_rest_cannot_be_had(void **state)
{
    struct wire *wire = *state;
    fall_behind(wire);
    link_down(wire);
    open_file(wire->reader);
    read_file(0);
    assert_int_equal(story.req.answers, 1);
    assert_string_equal(story.req.bytes, "record 0\n");
    free(story.req.bytes);
    read_file(9); /* it has nothing, and waits */
    assert_int_equal(story.req.answers, 0);
    link_up(wire);
    wait_until(atomic_load(&story.req.answers) == 1);
    assert_string_equal(story.req.bytes, "record 1\n");
    free(story.req.bytes);
    close_file(wire->reader);
}

static void test_a_read_is_filled_from_elsewhere(void **state)
{
    struct wire *wire = *state;
    fall_behind(wire);
    open_file(wire->reader);
    read_file(0);
    wait_until(atomic_load(&story.req.answers) == 1);
    assert_string_equal(story.req.bytes, "record 0\nrecord 1\n");
    free(story.req.bytes);
    close_file(wire->reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nobody_to_be_asked_is_not_waited_for),
        TEST(test_who_is_lost_is_waited_for_no_longer),
        TEST(test_who_is_silent_is_waited_for_as_long_as_one_answer_takes),
        TEST(test_who_can_be_asked_is),
        TEST(test_a_read_gives_what_is_here_where_the_rest_cannot_be_had),
        TEST(test_a_read_is_filled_from_elsewhere),
    };
    return cmocka_run_group_tests_name("reads that have something already", tests, NULL, NULL);
}
