/* tests/unit/one_thread.h: a node whose works the test does itself (hand_executor.h): nothing happens but when it is
 * let.
 */
#ifndef LOGMNT_TESTS_UNIT_ONE_THREAD_H
#define LOGMNT_TESTS_UNIT_ONE_THREAD_H

#include "tests/unit/node_fixture.h"

#include "tests/unit/hand_executor.h"

static struct hand_executor hand;

static inline void pass(void *arg, int64_t ms)
{
    struct fixture *f = arg;
    atomic_fetch_add(&f->clock.passed_ms, ms);
}

static inline int open_on_one(struct fixture *f)
{
    struct node_options options = {.data_dir = f->dir,
                                   .id = 1,
                                   .check_crcs = true,
                                   .log_retention_check_interval_ms = 300000,
                                   .log_cleaner_backoff_ms = 15000,
                                   .reserve_bytes = 65536,
                                   .io = &f->disk.io,
                                   .clock = &f->clock.clock,
                                   .executor = &hand.executor};
    hand_executor_init(&hand, &f->clock.clock, pass, f);
    return node_open(&options, &f->node, NULL);
}

static inline void close_on_one(struct fixture *f)
{
    assert_int_equal(node_close(f->node, NULL), 0);
    f->node = NULL;
    hand_executor_free(&hand);
}

static inline int setup_one(void **state)
{
    if (setup(state) != 0)
        return -1;
    struct fixture *f = *state;
    stop(f);
    return open_on_one(f);
}

static inline int teardown_one(void **state)
{
    struct fixture *f = *state;
    if (f->node != NULL)
        close_on_one(f);
    return teardown(state);
}

/* ---- ops that the test lets go on ---- */

struct counted {
    struct command_op op;
    int calls, rc;
};

static inline void on_over(struct command_op *op, int rc)
{
    struct counted *counted = CONTAINER_OF(op, struct counted, op);
    counted->calls++;
    counted->rc = rc;
}

static inline struct command_op *begin_of(struct counted *counted)
{
    *counted = (struct counted){.op = {.timeout_ms = INT64_MAX, .done = on_over}};
    return &counted->op;
}

static inline int end_of(struct counted *counted, int rc)
{
    if (rc != 0)
        return rc;
    executor_settle(&hand.executor);
    assert_int_equal(counted->calls, 1);
    return counted->rc;
}

static inline void make(struct fixture *f, const char *name)
{
    struct counted counted;
    assert_int_equal(end_of(&counted, node_create_topic(f->node, begin_of(&counted), name, &some_attr)), 0);
}

/* Time passes until the condition holds. */
#define pass_until(condition)                                                                                          \
    for (int passed_ms = 0; !(condition); passed_ms += 10) {                                                           \
        if (passed_ms > 60000)                                                                                         \
            fail_msg("waited in vain for %s", #condition);                                                             \
        executor_pause(&hand.executor, 10);                                                                            \
    }

/* ---- the topic and the group ---- */

static inline void make_group(struct fixture *f)
{
    struct counted counted;
    assert_int_equal(end_of(&counted, node_create_group(f->node, begin_of(&counted), "kitchen", &some_attr)), 0);
}

static inline void add_partitions(struct fixture *f, int32_t count)
{
    struct counted counted;
    assert_int_equal(end_of(&counted, node_create_partitions(f->node, begin_of(&counted), "orders", count)), 0);
}

static inline void append_at(struct fixture *f, int32_t index, const char *lines)
{
    struct topic *topic = node_topic(f->node, "orders");
    struct partition *part = topic_partition(topic, index);
    struct append_op op = {0};
    assert_non_null(part);
    assert_int_equal(append_to(f, part, lines, ACKS_ALL, &op, NULL), 1);
    topic_unref(topic); /* the partition's reference */
}

#endif
