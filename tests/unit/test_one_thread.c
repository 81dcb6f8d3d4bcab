/* A whole node on one thread: nothing in it waits for another thread, and nothing happens but when it is let. */
#include "tests/unit/one_thread.h"

#include <dirent.h>

static int threads(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static int setting(struct fixture *f, const char *topic, const char *name, const char *value)
{
    struct counted counted;
    return end_of(&counted, node_set_config(f->node, begin_of(&counted), topic, name, value));
}

struct appended {
    struct append_op op;
    int calls, rc;
};

static void on_appended(struct append_op *op, int rc)
{
    struct appended *appended = CONTAINER_OF(op, struct appended, op);
    appended->calls++;
    appended->rc = rc;
}

static void on_deleted(struct delete_records_op *op, int rc)
{
    assert_int_equal(rc, 0);
    op->position = -1;
}

/* ---- tests ---- */

static void test_a_nodes_life(void **state)
{
    struct fixture *f = *state;
    struct counted counted;
    struct appended late = {.op.done = on_appended};
    int before = threads();
    make(f, "orders");
    make(f, "state");
    append(f, "orders", "one\ntwo\n");
    struct partition *part = get(f, "orders");

    /* Too few in sync, then enough; then nobody for as long as it may take. */
    assert_int_equal(setting(f, "orders", "min.insync.replicas", "2"), 0);
    assert_int_equal(append_to(f, part, "three\n", ACKS_ALL, &late.op, NULL), 0);
    assert_int_equal(setting(f, "orders", "min.insync.replicas", "1"), 0);
    assert_int_equal(late.calls, 1);
    assert_int_equal(late.rc, 0);
    assert_int_equal(setting(f, "orders", "min.insync.replicas", "2"), 0);
    assert_int_equal(append_to(f, part, "four\n", ACKS_ALL, &late.op, NULL), 0);
    executor_pause(&hand.executor, 30000);
    assert_int_equal(late.calls, 2);
    assert_int_equal(late.rc, -EROFS);
    assert_content(f, "orders", "one\ntwo\nthree\n");

    /* Retention, compaction, the flush of flush.ms and the checkpoints, each when its time has come. */
    struct delete_records_op deletion = {.position = 4, .done = on_deleted};
    assert_int_equal(partition_delete_records(part, &deletion), 0);
    executor_settle(&hand.executor);
    assert_int_equal(deletion.position, -1);
    assert_content(f, "orders", "two\nthree\n");
    assert_int_equal(setting(f, "state", "segment.bytes", "14"), 0);
    assert_int_equal(setting(f, "state", "key.separator", ":"), 0);
    assert_int_equal(setting(f, "state", "flush.ms", "1000"), 0);
    append(f, "state", "a:1 .........\n");
    append(f, "state", "b:1 .........\n");
    append(f, "state", "a:2 .........\n");
    append(f, "state", "c:1 .........\n");
    struct partition *compacted = get(f, "state");
    int64_t flushed = log_recovery_point(compacted->log);
    executor_pause(&hand.executor, 1000);
    assert_true(log_recovery_point(compacted->log) == 4 && flushed < 4);
    partition_unref(compacted);
    assert_int_equal(setting(f, "state", "cleanup.policy", "compact"), 0);
    assert_content(f, "state", "b:1 .........\na:2 .........\nc:1 .........\n");
    executor_pause(&hand.executor, 600000);

    assert_int_equal(setting(f, "orders", "delete.topic.enable", "true"), 0);
    assert_int_equal(end_of(&counted, node_delete_topic(f->node, begin_of(&counted), "orders")), 0);
    partition_unref(part);
    executor_settle(&hand.executor); /* the last reference has gone: so do the files */
    assert_int_equal(threads(), before);

    close_on_one(f);
    assert_int_equal(open_on_one(f), 0);
    assert_content(f, "state", "b:1 .........\na:2 .........\nc:1 .........\n");
    assert_int_equal(threads(), before);
}

/* What is under way when the node stops is brought to its end. */
static void test_a_stop_in_the_middle(void **state)
{
    struct fixture *f = *state;
    struct counted first, second;
    make(f, "orders");
    append(f, "orders", "one\n");
    assert_int_equal(node_set_config(f->node, begin_of(&first), "orders", "retention.ms", "77000"), 0);
    assert_int_equal(node_create_topic(f->node, begin_of(&second), "more", &some_attr), 0);
    assert_int_equal(first.calls + second.calls, 0);
    close_on_one(f);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    assert_int_equal(open_on_one(f), 0);
    append(f, "more", "two\n");
    assert_content(f, "orders", "one\n");
}

/* No descriptor for a flush of the metadata log, so many times. */
static int refusals;
static void (*on_flushed)(struct log_flush *flush, int rc);

static void refuse_flush(struct log_flush *flush, int rc)
{
    on_flushed(flush, refusals-- > 0 ? -EMFILE : rc);
}

static void test_what_is_in_the_log_is_decided_as_soon_as_it_can_be_flushed(void **state)
{
    struct fixture *f = *state;
    struct counted first, second;
    on_flushed = f->node->quorum.flush.done;
    f->node->quorum.flush.done = refuse_flush;
    refusals = 2;
    assert_int_equal(node_create_topic(f->node, begin_of(&first), "orders", &some_attr), 0);
    executor_settle(&hand.executor);
    assert_int_equal(first.calls, 0);
    assert_int_equal(node_create_topic(f->node, begin_of(&second), "orders", &some_attr), 0);
    assert_false(node_command_cancel(&first.op)); /* it would be found by the next start */
    executor_pause(&hand.executor, LIMIT_DECIDE_AGAIN_MS);
    assert_int_equal(first.calls, 0);
    executor_pause(&hand.executor, LIMIT_DECIDE_AGAIN_MS);
    assert_int_equal(first.calls, 1);
    assert_int_equal(first.rc, 0);
    assert_int_equal(second.rc, -EEXIST);
}

/* The same chance and the same time give the same node. */
static void test_it_repeats_itself(void **state)
{
    struct fixture *f = *state;
    char ids[2][UUID_TEXT_BYTES];
    for (int round = 0; round < 2; round++) {
        struct counted counted;
        make(f, "orders");
        struct topic *topic = node_topic(f->node, "orders");
        strcpy(ids[round], topic_id(topic));
        topic_unref(topic);
        assert_int_equal(end_of(&counted, node_delete_topic(f->node, begin_of(&counted), "orders")), 0);
        close_on_one(f);
        assert_int_equal(open_on_one(f), 0);
    }
    assert_string_equal(ids[0], ids[1]);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_a_nodes_life),
        STORY(test_a_stop_in_the_middle),
        STORY(test_what_is_in_the_log_is_decided_as_soon_as_it_can_be_flushed),
        STORY(test_it_repeats_itself),
    };
    return cmocka_run_group_tests_name("one_thread", tests, NULL, NULL);
}
