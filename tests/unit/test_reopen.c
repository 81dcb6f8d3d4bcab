/* tests/unit/test_reopen.c: a log for which there was no descriptor at the start is opened when somebody asks for it,
 * and its recovery takes its time. */
#include "tests/unit/node_fixture.h"

#include "engine/log/log_internal.h"

static struct {
    _Atomic int rc;    /* what opening anything of orders-1 fails with; 0: nothing */
    _Atomic int opens; /* of its directory: first it is looked whose that is, then the log is recovered */
    _Atomic int gate;  /* in front of that: enum gate_state */
} second;

static int open_of_second(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    (void)io;
    if (strncmp(name, "orders-1", strlen("orders-1")) == 0) {
        if (atomic_load(&second.rc) != 0)
            return atomic_load(&second.rc);
        if (atomic_fetch_add(&second.opens, 1) == 1)
            pass_gate(&second.gate);
    }
    return io_posix()->open(io_posix(), dirfd, name, flags, mode);
}

static struct partition *second_of(struct fixture *f)
{
    struct topic *topic = node_topic(f->node, "orders");
    assert_non_null(topic);
    return topic_partition(topic, 1); /* the topic's reference is the partition's */
}

/* Two partitions with a record each; the second one's log is not there after the start. */
static int setup_closed(void **state)
{
    struct append_op op = {0};
    struct err e = {0};
    setup(state);
    struct fixture *f = *state;
    create(f, "orders");
    assert_int_equal(create_partitions(f->node, "orders", 2, &e), 0);
    append(f, "orders", "one\n");
    struct partition *part = second_of(f);
    assert_int_equal(append_to(f, part, "two\n", ACKS_ALL, &op, &e), 1);
    partition_unref(part);
    replace_disk_call(f, open, open_of_second);
    atomic_store(&second.rc, -EMFILE);
    crash_and_restart(f);
    executor_settle(f->node->executor); /* what the start has begun asks for it, too */
    atomic_store(&second.rc, 0);
    return 0;
}

static void *reach(void *part)
{
    return (void *)(intptr_t)partition_reach(part, NULL);
}

static pthread_t begin_recovery(struct partition *part)
{
    pthread_t thread;
    assert_null(part->log);
    atomic_store(&second.opens, 0);
    atomic_store(&second.gate, GATE_SHUT);
    assert_int_equal(pthread_create(&thread, NULL, reach, part), 0);
    wait_until(atomic_load(&second.gate) == GATE_WAITED_AT);
    return thread;
}

static void end_recovery(pthread_t thread)
{
    void *rc;
    atomic_store(&second.gate, GATE_OPEN);
    assert_int_equal(pthread_join(thread, &rc), 0);
    assert_int_equal((intptr_t)rc, 0);
}

/* Who seals a partition, or changes the framing, waits for the appends under way, and all others for him. */
static void the_recovery_of_one_log_holds_up_no_other_partition(void **state)
{
    struct fixture *f = *state;
    struct partition *part = second_of(f);
    char text[64];
    pthread_t thread = begin_recovery(part);
    int rc = pthread_rwlock_trywrlock(&part->topic->update_lock);
    if (rc == 0)
        pthread_rwlock_unlock(&part->topic->update_lock);
    append(f, "orders", "three\n");
    end_recovery(thread);
    assert_int_equal(text_of(part, text, sizeof text), 0);
    partition_unref(part);
    assert_string_equal(text, "two\n");
    assert_int_equal(rc, 0);
}

/* It was begun with the old ones. */
static void settings_that_change_meanwhile_are_in_force_in_it(void **state)
{
    struct fixture *f = *state;
    struct partition *part = second_of(f);
    pthread_t thread = begin_recovery(part);
    int rc = set_config(f->node, "orders", "segment.bytes", "1048576", NULL);
    if (rc == 0)
        rc = set_config(f->node, "orders", "flush.messages", "7", NULL);
    end_recovery(thread);
    int64_t segment_bytes = (int64_t)part->log->config.segment_bytes;
    int64_t flush_messages = (int64_t)atomic_load(&part->settings.flush_messages);
    partition_unref(part);
    assert_int_equal(rc, 0);
    assert_int_equal(segment_bytes, 1048576);
    assert_int_equal(flush_messages, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_recovery_of_one_log_holds_up_no_other_partition, setup_closed, teardown),
        cmocka_unit_test_setup_teardown(settings_that_change_meanwhile_are_in_force_in_it, setup_closed, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
