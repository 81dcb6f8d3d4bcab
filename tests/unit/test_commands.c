/* Commands as ops: nobody waits for the disk, what comes together is flushed together, and a topic that has to be empty
 * stays so without anybody waiting at its gate. */
#include "tests/unit/node_fixture.h"

/* ---- a disk that takes its time ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool shut;
    int waiting;        /* for it to open */
    int syncs;          /* that were let through */
    int rc;             /* what they return */
    bool pass_metadata; /* the metadata log's are not held up */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static bool is_metadata(int fd)
{
    char link[32], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[len > 0 ? len : 0] = '\0';
    return strstr(path, "__cluster_metadata") != NULL;
}

static int gated_fdatasync(struct io *io, int fd)
{
    int rc = 0;
    (void)io;
    pthread_mutex_lock(&gate.lock);
    if (!gate.pass_metadata || !is_metadata(fd)) {
        gate.waiting++;
        pthread_cond_broadcast(&gate.changed);
        while (gate.shut)
            pthread_cond_wait(&gate.changed, &gate.lock);
        gate.waiting--;
        gate.syncs++;
        rc = gate.rc;
    }
    pthread_mutex_unlock(&gate.lock);
    return rc != 0 ? rc : io_posix()->fdatasync(io_posix(), fd);
}

static void close_gate(bool pass_metadata)
{
    pthread_mutex_lock(&gate.lock);
    gate.shut = true;
    gate.waiting = gate.syncs = gate.rc = 0;
    gate.pass_metadata = pass_metadata;
    pthread_mutex_unlock(&gate.lock);
}

static void shut(struct fixture *f)
{
    replace_disk_call(f, fdatasync, gated_fdatasync);
    close_gate(false);
}

/* Those who have been let through, or who wait. */
static int gate_count(const int *count)
{
    pthread_mutex_lock(&gate.lock);
    int counted = *count;
    pthread_mutex_unlock(&gate.lock);
    return counted;
}

/* Until somebody waits for the disk. */
static void wait_for_sync(void)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.waiting == 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void open_gate(int rc)
{
    pthread_mutex_lock(&gate.lock);
    gate.shut = false;
    gate.rc = rc;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

/* ---- commands under way ---- */

struct counted {
    struct command_op op;
    _Atomic int calls;
    _Atomic int rc;
};

static void on_over(struct command_op *op, int rc)
{
    struct counted *counted = CONTAINER_OF(op, struct counted, op);
    atomic_store(&counted->rc, rc);
    atomic_fetch_add(&counted->calls, 1);
}

static struct command_op *begin_of(struct counted *counted)
{
    *counted = (struct counted){.op = {.timeout_ms = INT64_MAX, .done = on_over}};
    return &counted->op;
}

static bool is_over(struct counted *counted)
{
    return atomic_load(&counted->calls) > 0;
}

static int end_of(struct counted *counted)
{
    wait_until(is_over(counted));
    assert_int_equal(atomic_load(&counted->calls), 1);
    return atomic_load(&counted->rc);
}

static bool setting_is(struct fixture *f, const char *topic, const char *name, const char *expected)
{
    char value[CONFIG_VALUE_BYTES];
    assert_int_equal(node_get_config(f->node, topic, name, value), 0);
    return strcmp(value, expected) == 0;
}

static void test_what_comes_while_one_is_flushed_shares_the_next_flush(void **state)
{
    struct fixture *f = *state;
    enum { TOPICS = 12 };
    struct counted first, others[TOPICS];
    char name[16];
    for (int i = 0; i < TOPICS; i++) {
        snprintf(name, sizeof name, "t%d", i);
        create(f, name);
    }
    append(f, "t0", "one\n");
    shut(f);
    assert_int_equal(node_set_config(f->node, begin_of(&first), NULL, "num.partitions", "2"), 0);
    wait_for_sync();
    for (int i = 0; i < TOPICS; i++) {
        snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(node_set_config(f->node, begin_of(&others[i]), name, "retention.ms", "77000"), 0);
    }
    /* This thread waits for none of them, and everything else goes on. */
    assert_false(is_over(&first));
    append(f, "t0", "two\n");
    assert_content(f, "t0", "one\ntwo\n");
    assert_true(setting_is(f, "t0", "retention.ms", "604800000"));
    open_gate(0);
    assert_int_equal(end_of(&first), 0);
    for (int i = 0; i < TOPICS; i++) {
        assert_int_equal(end_of(&others[i]), 0);
        snprintf(name, sizeof name, "t%d", i);
        assert_true(setting_is(f, name, "retention.ms", "77000"));
    }
    /* Each flush is a pair of calls: of `.log` and of `.batches`. */
    assert_int_equal(gate_count(&gate.syncs), 2 * 2);
}

static void test_of_two_that_want_the_same_name_one_loses(void **state)
{
    struct fixture *f = *state;
    struct counted first, one, two;
    shut(f);
    assert_int_equal(node_set_config(f->node, begin_of(&first), NULL, "num.partitions", "2"), 0);
    wait_for_sync();
    assert_int_equal(node_create_topic(f->node, begin_of(&one), "orders", &some_attr), 0);
    assert_int_equal(node_create_topic(f->node, begin_of(&two), "orders", &some_attr), 0);
    open_gate(0);
    assert_int_equal(end_of(&one), 0);
    assert_int_equal(end_of(&two), -EEXIST);
    assert_non_null(strstr(two.op.e.text, "orders"));
    restart(f);
    append(f, "orders", "x\n");
}

/* Each is right by itself, both together are not. */
static void test_settings_that_contradict_each_other_are_not_decided_together(void **state)
{
    struct fixture *f = *state;
    struct counted first, min, max;
    create(f, "orders");
    struct partition *metadata = topic_partition(f->node->replicas.internal_topic, 0);
    int64_t before = partition_log_end(metadata).offset;
    shut(f);
    assert_int_equal(node_set_config(f->node, begin_of(&first), NULL, "num.partitions", "2"), 0);
    wait_for_sync();
    assert_int_equal(node_set_config(f->node, begin_of(&min), "orders", "min.compaction.lag.ms", "100"), 0);
    assert_int_equal(node_set_config(f->node, begin_of(&max), "orders", "max.compaction.lag.ms", "99"), 0);
    open_gate(0);
    assert_int_equal(end_of(&min), 0);
    assert_int_equal(end_of(&max), -EINVAL);
    assert_int_equal(partition_log_end(metadata).offset, before + 2);
}

static void test_cancelling(void **state)
{
    struct fixture *f = *state;
    struct counted first, second, third;
    create(f, "orders");
    shut(f);
    assert_int_equal(node_set_config(f->node, begin_of(&first), "orders", "retention.ms", "1000"), 0);
    wait_for_sync();
    assert_int_equal(node_set_config(f->node, begin_of(&second), "orders", "retention.bytes", "2000"), 0);
    assert_int_equal(node_set_config(f->node, begin_of(&third), "orders", "segment.ms", "3000"), 0);
    assert_false(node_command_cancel(&first.op)); /* it is in the log */
    assert_true(node_command_cancel(&second.op));
    assert_false(node_command_cancel(&second.op));
    open_gate(0);
    assert_int_equal(end_of(&first), 0);
    assert_int_equal(end_of(&third), 0);
    assert_false(node_command_cancel(&third.op));
    assert_int_equal(atomic_load(&second.calls), 0);
    assert_true(setting_is(f, "orders", "retention.bytes", "-1"));
    assert_true(setting_is(f, "orders", "segment.ms", "3000"));
}

static void test_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct counted first, second;
    create(f, "orders");
    shut(f);
    begin_of(&first)->timeout_ms = 1000;
    assert_int_equal(node_set_config(f->node, &first.op, "orders", "retention.ms", "1000"), 0);
    wait_for_sync();
    begin_of(&second)->timeout_ms = 2000;
    assert_int_equal(node_set_config(f->node, &second.op, "orders", "retention.bytes", "2000"), 0);
    pass_ms(f, 1000);
    assert_int_equal(end_of(&first), -ETIMEDOUT);
    assert_false(is_over(&second));
    wait_until(executor_uv_is_set(f->node->executor, &f->node->quorum.deadline));
    pass_ms(f, 1000);
    assert_int_equal(end_of(&second), -ETIMEDOUT);
    assert_true(strlen(second.op.e.text) > 0);
    open_gate(0);
    /* The first was in the log, and comes into force; the second never does. */
    wait_until(setting_is(f, "orders", "retention.ms", "1000"));
    set(f, "orders", "segment.ms", "3000");
    assert_true(setting_is(f, "orders", "retention.bytes", "-1"));
}

/* ---- a topic that has to be empty ---- */

struct appended {
    struct append_op op;
    _Atomic int calls;
    _Atomic int rc;
};

static void on_appended(struct append_op *op, int rc)
{
    struct appended *appended = CONTAINER_OF(op, struct appended, op);
    atomic_store(&appended->rc, rc);
    atomic_fetch_add(&appended->calls, 1);
}

static int append_rc(struct fixture *f, struct appended *appended, struct partition *part, enum acks acks)
{
    struct err e = {0};
    *appended = (struct appended){.op.done = on_appended};
    return append_to(f, part, "late\n", acks, &appended->op, &e);
}

static int end_of_append(struct appended *appended)
{
    wait_until(atomic_load(&appended->calls) > 0);
    assert_int_equal(atomic_load(&appended->calls), 1);
    return atomic_load(&appended->rc);
}

static void test_appends_wait_for_an_rmdir_without_a_thread(void **state)
{
    struct fixture *f = *state;
    struct counted removal;
    struct appended all, leader, none;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    shut(f);
    assert_int_equal(node_delete_topic(f->node, begin_of(&removal), "orders"), 0);
    wait_for_sync();
    assert_int_equal(append_rc(f, &all, part, ACKS_ALL), 0);
    assert_int_equal(append_rc(f, &leader, part, ACKS_LEADER), 0);
    assert_int_equal(append_rc(f, &none, part, ACKS_NONE), 0);
    assert_true(partition_append_cancel(&none.op));
    assert_int_equal(partition_log_end(part).offset, 0);
    open_gate(0);
    assert_int_equal(end_of(&removal), 0);
    assert_int_equal(end_of_append(&all), -ESTALE);
    assert_int_equal(end_of_append(&leader), -ESTALE);
    assert_int_equal(atomic_load(&none.calls), 0);
    partition_unref(part);
}

static void test_no_append_goes_on_while_an_rmdir_may_have_been_decided(void **state)
{
    struct fixture *f = *state;
    struct counted removal;
    struct appended first, second;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    shut(f);
    assert_int_equal(node_delete_topic(f->node, begin_of(&removal), "orders"), 0);
    wait_for_sync();
    assert_int_equal(append_rc(f, &first, part, ACKS_ALL), 0);
    assert_int_equal(append_rc(f, &second, part, ACKS_LEADER), 0);
    open_gate(-EIO); /* the metadata log is offline from here on, and the next start may find the command in it */
    assert_int_equal(end_of(&removal), -EIO);
    pass_ms(f, 30000);
    assert_int_equal(end_of_append(&first), -EROFS);
    assert_int_equal(end_of_append(&second), -EROFS);
    assert_content(f, "orders", "");
    partition_unref(part);
}

static void test_no_append_goes_on_before_an_rmdir_that_nobody_waits_for_is_decided(void **state)
{
    struct fixture *f = *state;
    struct counted removal;
    struct appended first, second;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    shut(f);
    begin_of(&removal)->timeout_ms = 1000;
    assert_int_equal(node_delete_topic(f->node, &removal.op, "orders"), 0);
    wait_for_sync();
    assert_int_equal(append_rc(f, &first, part, ACKS_LEADER), 0);
    pass_ms(f, 1000);
    assert_int_equal(end_of(&removal), -ETIMEDOUT);
    pass_ms(f, LIMIT_SEAL_MS);
    int rc = append_rc(f, &second, part, ACKS_LEADER);
    open_gate(0);
    assert_int_equal(rc, 0);
    assert_int_equal(end_of_append(&first), -ESTALE);
    assert_int_equal(end_of_append(&second), -ESTALE);
    partition_unref(part);
}

/* And what takes the topic back waits for the disk. */
static int mkdir_without_room(struct io *io, int dirfd, const char *name, mode_t mode)
{
    (void)io, (void)dirfd, (void)name, (void)mode;
    close_gate(false);
    return -ENOSPC;
}

/* Nobody waits for it any more, and it may be decided: until it is, what comes once there is room waits. */
static void test_no_append_goes_on_before_a_mkdir_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct counted making;
    struct appended late;
    open_gate(0);
    replace_disk_call(f, fdatasync, gated_fdatasync);
    replace_disk_call(f, mkdir, mkdir_without_room);
    begin_of(&making)->timeout_ms = 1000;
    assert_int_equal(node_create_topic(f->node, &making.op, "orders", &some_attr), 0);
    wait_for_sync();
    struct partition *part = get(f, "orders");
    f->disk.io.mkdir = bad_mkdir; /* who called the other one waits at the gate */
    assert_int_equal(append_rc(f, &late, part, ACKS_LEADER), -ENOSPC);
    pass_ms(f, 1000);
    assert_int_equal(end_of(&making), -ETIMEDOUT);
    pass_ms(f, LIMIT_SEAL_MS);
    int rc = append_rc(f, &late, part, ACKS_LEADER);
    open_gate(0);
    assert_int_equal(rc, 0);
    assert_int_equal(end_of_append(&late), -ESTALE);
    partition_unref(part);
}

static void test_no_append_goes_on_when_one_of_two_is_cancelled(void **state)
{
    struct fixture *f = *state;
    struct counted other, removal, change;
    struct appended late;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    shut(f);
    assert_int_equal(node_set_config(f->node, begin_of(&other), "orders", "retention.ms", "1000"), 0);
    wait_for_sync();
    assert_int_equal(node_delete_topic(f->node, begin_of(&removal), "orders"), 0);
    wait_until(partition_is_sealed(part));
    assert_int_equal(node_set_config(f->node, begin_of(&change), "orders", "framing", "msgpack"), 0);
    wait_until(node_command_cancel(&change.op));
    int rc = append_rc(f, &late, part, ACKS_LEADER);
    open_gate(0);
    assert_int_equal(rc, 0);
    assert_int_equal(end_of(&removal), 0);
    assert_int_equal(end_of_append(&late), -ESTALE);
    assert_int_equal(end_of(&other), 0);
    partition_unref(part);
}

static bool is_queued(struct node *node)
{
    pthread_mutex_lock(&node->quorum.lock);
    bool queued = node->quorum.queued != NULL;
    pthread_mutex_unlock(&node->quorum.lock);
    return queued;
}

static void test_appends_go_on_when_a_framing_is_cancelled(void **state)
{
    struct fixture *f = *state;
    struct counted other, change;
    struct appended first, second;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    shut(f);
    assert_int_equal(node_set_config(f->node, begin_of(&other), "orders", "retention.ms", "1000"), 0);
    wait_for_sync();
    assert_int_equal(node_set_config(f->node, begin_of(&change), "orders", "framing", "msgpack"), 0);
    wait_until(is_queued(f->node)); /* sealed, and found to be empty */
    assert_int_equal(append_rc(f, &first, part, ACKS_ALL), 0);
    assert_int_equal(append_rc(f, &second, part, ACKS_LEADER), 0);
    wait_until(node_command_cancel(&change.op));
    open_gate(0);
    assert_int_equal(end_of_append(&first), 0);
    assert_int_equal(end_of_append(&second), 0);
    assert_int_equal(end_of(&other), 0);
    assert_content(f, "orders", "late\nlate\n");
    partition_unref(part);
}

static void test_an_append_cut_by_the_old_framing_is_refused(void **state)
{
    struct fixture *f = *state;
    struct counted change;
    struct appended late;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    shut(f);
    assert_int_equal(node_set_config(f->node, begin_of(&change), "orders", "framing", "msgpack"), 0);
    wait_for_sync();
    assert_int_equal(append_rc(f, &late, part, ACKS_ALL), 0);
    open_gate(0);
    assert_int_equal(end_of(&change), 0);
    assert_int_equal(end_of_append(&late), -EINVAL);
    assert_int_equal(append_rc(f, &late, part, ACKS_ALL), -EAGAIN); /* cut anew, as ever */
    partition_unref(part);
}

/* The first of those that a setting lets go on has a flush to wait for, and the next decision has not. */
static void test_a_decision_does_not_wait_for_what_the_last_one_set_free(void **state)
{
    struct fixture *f = *state;
    struct appended late;
    create(f, "orders");
    set(f, "orders", "flush.messages", "1");
    set(f, "orders", "min.insync.replicas", "2");
    struct partition *part = get(f, "orders");
    assert_int_equal(append_rc(f, &late, part, ACKS_ALL), 0);
    replace_disk_call(f, fdatasync, gated_fdatasync);
    close_gate(true);
    assert_int_equal(set_config(f->node, "orders", "min.insync.replicas", "1", NULL), 0);
    wait_for_sync();
    assert_int_equal(set_config(f->node, "orders", "retention.ms", "77000", NULL), 0);
    assert_int_equal(atomic_load(&late.calls), 0);
    open_gate(0);
    assert_int_equal(end_of_append(&late), 0);
    partition_unref(part);
}

/* Before it is in a queue, while it comes to be, and behind that: signals come from threads of their own. */
static void test_it_may_be_cancelled_at_any_moment(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 100 };
    for (int i = 0; i < ROUNDS; i++) {
        struct counted change;
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        create(f, name);
        assert_int_equal(node_set_config(f->node, begin_of(&change), name, "framing", "msgpack"), 0);
        bool cancelled = false;
        while (!cancelled && !is_over(&change))
            cancelled = node_command_cancel(&change.op);
        executor_settle(f->node->executor);
        assert_int_equal(atomic_load(&change.calls), !cancelled);
        assert_int_equal(atomic_load(&change.rc), 0);
        assert_true(setting_is(f, name, "framing", cancelled ? "line" : "msgpack"));
    }
}

/* ---- DeleteRecords ---- */

struct deleted {
    struct delete_records_op op;
    _Atomic int calls;
    _Atomic int rc;
};

static void on_deleted(struct delete_records_op *op, int rc)
{
    struct deleted *deleted = CONTAINER_OF(op, struct deleted, op);
    atomic_store(&deleted->rc, rc);
    atomic_fetch_add(&deleted->calls, 1);
}

static int delete_rc(struct deleted *deleted, struct partition *part, int64_t position)
{
    *deleted = (struct deleted){.op = {.position = position, .done = on_deleted}};
    return partition_delete_records(part, &deleted->op);
}

static int gated_fsync(struct io *io, int fd)
{
    return gated_fdatasync(io, fd);
}

static void test_delete_records_holds_no_thread(void **state)
{
    struct fixture *f = *state;
    struct deleted first, second, third, cancelled;
    create(f, "orders");
    append(f, "orders", "1\n2\n3\n4\n5\n");
    struct partition *part = get(f, "orders");
    shut(f);
    replace_disk_call(f, fsync, gated_fsync); /* of the checkpoint */
    assert_int_equal(delete_rc(&first, part, 2), 0);
    wait_for_sync();
    assert_int_equal(delete_rc(&second, part, 8), 0);
    assert_int_equal(delete_rc(&third, part, 4), 0);
    assert_int_equal(delete_rc(&cancelled, part, 10), 0);
    assert_false(partition_delete_records_cancel(part, &first.op));
    assert_true(partition_delete_records_cancel(part, &cancelled.op));
    append(f, "orders", "6\n");
    assert_content(f, "orders", "1\n2\n3\n4\n5\n6\n");
    open_gate(0);
    wait_until(atomic_load(&first.calls) + atomic_load(&second.calls) + atomic_load(&third.calls) == 3);
    assert_int_equal(atomic_load(&first.rc) | atomic_load(&second.rc) | atomic_load(&third.rc), 0);
    assert_int_equal(atomic_load(&cancelled.calls), 0);
    assert_content(f, "orders", "5\n6\n");
    partition_unref(part);
    crash_and_restart(f);
    assert_content(f, "orders", "5\n6\n");
}

struct seen_work {
    struct work work;
    _Atomic bool ran;
};

static void on_run(struct work *work)
{
    atomic_store(&CONTAINER_OF(work, struct seen_work, work)->ran, true);
}

static void test_deletions_of_many_partitions_share_a_checkpoint_and_hold_one_thread(void **state)
{
    struct fixture *f = *state;
    enum { PARTS = 2 * LIMIT_PROMPT_THREADS };
    static struct deleted ops[PARTS];
    struct seen_work seen = {.work = {.run = on_run}};
    create(f, "orders");
    assert_int_equal(create_partitions(f->node, "orders", PARTS, NULL), 0);
    struct topic *topic = node_topic(f->node, "orders");
    for (int i = 0; i < PARTS; i++) {
        struct append_op op = {0};
        assert_int_equal(append_to(f, topic_partition(topic, i), "1\n2\n", ACKS_ALL, &op, NULL), 1);
    }
    shut(f);
    replace_disk_call(f, fsync, gated_fsync);
    for (int i = 0; i < PARTS; i++) {
        assert_int_equal(delete_rc(&ops[i], topic_partition(topic, i), 2), 0);
        if (i == 0)
            wait_for_sync();
    }
    executor_prompt(f->node->executor, &seen.work);
    wait_until(atomic_load(&seen.ran));
    open_gate(0);
    for (int i = 0; i < PARTS; i++) {
        wait_until(atomic_load(&ops[i].calls) == 1);
        assert_int_equal(atomic_load(&ops[i].rc), 0);
        assert_int_equal(partition_log_start(topic_partition(topic, i)).offset, 1);
    }
    /* Two checkpoints, each of them a file and the directory that it is renamed in. */
    assert_int_equal(gate_count(&gate.syncs), 2 * 2);
    topic_unref(topic);
}

/* ---- what nobody waits for ---- */

static void test_flush_ms_of_many_partitions_holds_one_thread(void **state)
{
    struct fixture *f = *state;
    enum { PARTS = 2 * LIMIT_PROMPT_THREADS };
    struct seen_work seen = {.work = {.run = on_run}};
    create(f, "orders");
    assert_int_equal(create_partitions(f->node, "orders", PARTS, NULL), 0);
    set(f, "orders", "flush.ms", "1000");
    struct topic *topic = node_topic(f->node, "orders");
    for (int i = 0; i < PARTS; i++) {
        struct append_op op = {0};
        assert_int_equal(append_to(f, topic_partition(topic, i), "1\n2\n", ACKS_ALL, &op, NULL), 1);
    }
    shut(f);
    pass_ms(f, 1000);
    wait_for_sync();
    executor_prompt(f->node->executor, &seen.work);
    wait_until(atomic_load(&seen.ran));
    assert_int_equal(gate_count(&gate.waiting), 1);
    open_gate(0);
    for (int i = 0; i < PARTS; i++)
        wait_until(log_recovery_point(topic_partition(topic, i)->log) == 2);
    topic_unref(topic);
}

/* ---- the feed ---- */

struct listener {
    struct node_feed feed;
    char heard[256];
};

static void hear(struct node_feed *feed, const char *what, struct topic *topic)
{
    struct listener *listener = CONTAINER_OF(feed, struct listener, feed);
    size_t len = strlen(listener->heard);
    snprintf(listener->heard + len, sizeof listener->heard - len, "%s %s;", topic_name(topic), what);
}

static void on_changed(struct node_feed *feed, struct topic *topic)
{
    hear(feed, "changed", topic);
}

static void on_gone(struct node_feed *feed, struct topic *topic)
{
    assert_true(topic_deleted(topic));
    hear(feed, "gone", topic);
}

static void test_the_feed_tells_what_commands_do(void **state)
{
    struct fixture *f = *state;
    struct listener listener = {.feed = {.topic_changed = on_changed, .topic_gone = on_gone}};
    node_set_feed(f->node, &listener.feed);
    create(f, "a");
    create(f, "b");
    assert_int_equal(set_attr(f->node, "a", &some_attr, ATTR_UID, NULL), 0);
    assert_int_equal(create_partitions(f->node, "b", 2, NULL), 0);
    set(f, NULL, "retention.ms", "5000");
    assert_int_equal(delete_topic(f->node, "a", NULL), 0);
    node_set_feed(f->node, NULL);
    assert_int_equal(delete_topic(f->node, "b", NULL), 0);
    assert_string_equal(listener.heard, "a changed;b changed;a changed;b changed;a changed;b changed;a gone;");
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_what_comes_while_one_is_flushed_shares_the_next_flush),
        STORY(test_of_two_that_want_the_same_name_one_loses),
        STORY(test_settings_that_contradict_each_other_are_not_decided_together),
        STORY(test_cancelling),
        STORY(test_the_deadline),
        STORY(test_appends_wait_for_an_rmdir_without_a_thread),
        STORY(test_no_append_goes_on_while_an_rmdir_may_have_been_decided),
        STORY(test_no_append_goes_on_before_an_rmdir_that_nobody_waits_for_is_decided),
        STORY(test_no_append_goes_on_before_a_mkdir_is_taken_back),
        STORY(test_no_append_goes_on_when_one_of_two_is_cancelled),
        STORY(test_appends_go_on_when_a_framing_is_cancelled),
        STORY(test_an_append_cut_by_the_old_framing_is_refused),
        STORY(test_a_decision_does_not_wait_for_what_the_last_one_set_free),
        STORY(test_it_may_be_cancelled_at_any_moment),
        STORY(test_delete_records_holds_no_thread),
        STORY(test_deletions_of_many_partitions_share_a_checkpoint_and_hold_one_thread),
        STORY(test_flush_ms_of_many_partitions_holds_one_thread),
        STORY(test_the_feed_tells_what_commands_do),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
