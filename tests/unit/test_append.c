/* Appends from their submit to their end: those that wait for replicas, for the high watermark and for a flush. */
#include "tests/unit/node_fixture.h"

/* ---- min.insync.replicas ---- */

struct parked {
    struct append_op op; /* first */
    _Atomic int calls;
    int rc;
    int order;
};

static _Atomic int calls_so_far;

static void on_done(struct append_op *op, int rc)
{
    struct parked *parked = (struct parked *)op;
    parked->rc = rc;
    parked->order = atomic_fetch_add(&calls_so_far, 1);
    atomic_fetch_add(&parked->calls, 1);
}

static struct partition *two_needed(struct fixture *f)
{
    atomic_store(&calls_so_far, 0);
    create(f, "orders");
    set(f, "orders", "min.insync.replicas", "2");
    return get(f, "orders");
}

static int park(struct fixture *f, struct partition *part, struct parked *parked, const char *lines)
{
    *parked = (struct parked){.op.done = on_done};
    return append_to(f, part, lines, ACKS_ALL, &parked->op, NULL);
}

static void test_appends_wait_for_replicas_and_go_on_in_order(void **state)
{
    struct fixture *f = *state;
    struct partition *part = two_needed(f);
    struct parked parked[3];
    struct node_metrics metrics;
    char line[8] = "a\n";
    for (int i = 0; i < 3; i++, line[0]++)
        assert_int_equal(park(f, part, &parked[i], line), 0);
    memset(line, 0, sizeof line); /* the bytes were copied */
    node_metrics(f->node, &metrics);
    assert_int_equal(metrics.appends_parked, 3);
    assert_content(f, "orders", "");
    set(f, "orders", "min.insync.replicas", "1");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(parked[i].calls, 1);
        assert_int_equal(parked[i].rc, 0);
        assert_int_equal(parked[i].order, i);
        assert_int_equal(parked[i].op.result.base.offset, i);
        assert_int_equal(parked[i].op.result.end.position, 2 * (i + 1));
    }
    assert_content(f, "orders", "a\nb\nc\n");
    append(f, "orders", "d\n");
    node_metrics(f->node, &metrics);
    assert_int_equal(metrics.appends_parked, 0);
    assert_int_equal(atomic_load(&f->node->replicas.parked_bytes), 0);
    partition_unref(part);
}

static void test_a_parked_append_times_out(void **state)
{
    struct fixture *f = *state;
    struct partition *part = two_needed(f);
    struct parked first, second, third;
    assert_int_equal(park(f, part, &first, "a\n"), 0);
    pass_ms(f, 20000);
    assert_int_equal(park(f, part, &second, "b\n"), 0);
    pass_ms(f, 9999);
    assert_int_equal(first.calls, 0);
    pass_ms(f, 1);
    wait_until(first.calls == 1);
    assert_int_equal(first.rc, -EROFS);
    assert_int_equal(second.calls, 0);
    /* From here on at once, until it is possible again. */
    assert_int_equal(park(f, part, &third, "c\n"), -EROFS);
    pass_ms(f, 20000);
    wait_until(second.calls == 1);
    assert_int_equal(second.rc, -EROFS);
    assert_content(f, "orders", "");
    set(f, "orders", "min.insync.replicas", "1");
    append(f, "orders", "d\n");
    set(f, "orders", "min.insync.replicas", "2");
    assert_int_equal(park(f, part, &third, "e\n"), 0);
    assert_true(partition_append_cancel(&third.op));
    partition_unref(part);
}

/* What waits is counted by the clock of timers: the time of day may be set meanwhile. */
static void test_how_long_they_took_is_counted(void **state)
{
    struct fixture *f = *state;
    struct partition *part = two_needed(f);
    struct parked first, second, third = {.calls = 0};
    struct node_metrics metrics;
    assert_int_equal(park(f, part, &first, "a\n"), 0);
    assert_int_equal(park(f, part, &second, "b\n"), 0);
    assert_true(partition_append_cancel(&second.op));
    pass_ms(f, 5000);
    atomic_fetch_add(&f->clock.wall_start_ms, 3600000);
    set(f, "orders", "min.insync.replicas", "1");
    assert_int_equal(first.calls, 1);
    assert_int_equal(append_to(f, part, "c\n", ACKS_LEADER, &third.op, NULL), 1);
    set(f, "orders", "min.insync.replicas", "2");
    assert_int_equal(park(f, part, &second, "d\n"), 0);
    pass_ms(f, 30000);
    wait_until(second.calls == 1);
    assert_int_equal(second.rc, -EROFS);
    node_metrics(f->node, &metrics);
    assert_int_equal(metrics.appends[ACKS_ALL - ACKS_ALL].times.count, 1);
    assert_int_equal(metrics.appends[ACKS_ALL - ACKS_ALL].times.sum_us, 5000000);
    assert_int_equal(metrics.appends[ACKS_ALL - ACKS_ALL].failures, 1);
    assert_int_equal(metrics.appends[ACKS_LEADER - ACKS_ALL].times.count, 1);
    assert_int_equal(metrics.appends[ACKS_LEADER - ACKS_ALL].times.sum_us, 0);
    assert_int_equal(metrics.appends[ACKS_NONE - ACKS_ALL].times.count, 0);
    assert_int_equal(metrics.forwards.count, 0);
    partition_unref(part);
}

static void test_a_parked_append_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct partition *part = two_needed(f);
    struct parked parked[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(park(f, part, &parked[i], "x\n"), 0);
    assert_true(partition_append_cancel(&parked[1].op));
    assert_false(partition_append_cancel(&parked[1].op));
    set(f, "orders", "min.insync.replicas", "1");
    assert_int_equal(parked[1].calls, 0);
    assert_int_equal(parked[2].calls, 1);
    assert_false(partition_append_cancel(&parked[2].op));
    assert_content(f, "orders", "x\nx\n");
    partition_unref(part);
}

static void test_parked_appends_end_with_their_topic(void **state)
{
    struct fixture *f = *state;
    struct partition *part = two_needed(f);
    struct parked parked;
    assert_int_equal(park(f, part, &parked, "x\n"), 0);
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    assert_int_equal(parked.calls, 1);
    assert_int_equal(parked.rc, -ESTALE);
    partition_unref(part);
}

struct appending {
    struct fixture *f;
    struct partition *part;
    struct parked parked;
    const char *lines;
    int rc;
};

static void *append_in_thread(void *arg)
{
    struct appending *appending = arg;
    appending->rc = park(appending->f, appending->part, &appending->parked, appending->lines);
    return NULL;
}

static void *need_two(void *arg)
{
    set(arg, "orders", "min.insync.replicas", "2");
    return NULL;
}

/* The ISR was large enough when the append began and is not when it is in the log: nobody may be told yet. */
static void test_too_few_replicas_while_an_append_is_under_way(void **state)
{
    struct fixture *f = *state;
    atomic_store(&calls_so_far, 0);
    create(f, "orders");
    append(f, "orders", "a\n");
    struct appending b = {.f = f, .part = get(f, "orders"), .lines = "b\n"};
    pthread_t appender, setter;
    atomic_store(&f->disk.pwritev_gate, GATE_SHUT);
    pthread_create(&appender, NULL, append_in_thread, &b);
    wait_until(atomic_load(&f->disk.pwritev_gate) == GATE_WAITED_AT);
    pthread_create(&setter, NULL, need_two, f);
    wait_until(atomic_load(&b.part->settings.min_insync_replicas) == 2);
    atomic_store(&f->disk.pwritev_gate, GATE_OPEN);
    pthread_join(appender, NULL);
    pthread_join(setter, NULL);
    assert_int_equal(b.rc, 0);
    assert_int_equal(b.parked.calls, 0);
    assert_int_equal(partition_log_end(b.part).offset, 2);
    assert_content(f, "orders", "a\n");
    set(f, "orders", "min.insync.replicas", "1");
    assert_int_equal(b.parked.calls, 1);
    assert_int_equal(b.parked.rc, 0);
    assert_content(f, "orders", "a\nb\n");
    partition_unref(b.part);
}

/* ---- the high watermark ---- */

enum { FOLLOWER = 2 };

/* A second replica, in sync with what there is so far. */
static void add_follower(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    part->isr.replicas[part->isr.count++] =
        (struct isr_replica){.id = FOLLOWER, .in_sync = true, .end = part->isr.high_watermark};
    pthread_mutex_unlock(&part->lock);
}

/* It has fetched everything up to the end of this append. */
static void fetched(const struct parked *parked)
{
    partition_advance(parked->op.part, FOLLOWER, parked->op.result.end);
}

static struct partition *followed(struct fixture *f)
{
    atomic_store(&calls_so_far, 0);
    create(f, "orders");
    struct partition *part = get(f, "orders");
    add_follower(part);
    return part;
}

static void test_acks_all_is_answered_by_the_high_watermark(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked parked[4], one = {0};
    struct node_metrics metrics;
    char line[8] = "a\n";
    for (int i = 0; i < 4; i++, line[0]++)
        assert_int_equal(park(f, part, &parked[i], line), 0);
    assert_int_equal(append_to(f, part, "e\n", ACKS_LEADER, &one.op, NULL), 1);
    assert_int_equal(partition_log_end(part).offset, 5);
    assert_int_equal(partition_high_watermark(part).offset, 0);
    node_metrics(f->node, &metrics);
    assert_int_equal(metrics.appends_parked, 4);
    assert_content(f, "orders", "");
    fetched(&parked[1]);
    assert_content(f, "orders", "a\nb\n");
    for (int i = 0; i < 4; i++)
        assert_int_equal(parked[i].calls, i < 2);
    fetched(&parked[0]); /* an old word of it changes nothing */
    fetched(&one);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(parked[i].calls, 1);
        assert_int_equal(parked[i].rc, 0);
        assert_int_equal(parked[i].order, i);
    }
    assert_content(f, "orders", "a\nb\nc\nd\ne\n");
    node_metrics(f->node, &metrics);
    assert_int_equal(metrics.appends_parked, 0);
    partition_unref(part);
}

/* A follower that lags leaves the ISR; what waited for it is answered. */
static void test_a_smaller_isr_lets_the_high_watermark_go_on(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked parked;
    assert_int_equal(park(f, part, &parked, "a\n"), 0);
    pthread_mutex_lock(&part->lock);
    isr_set_in_sync(&part->isr, FOLLOWER, false);
    pthread_mutex_unlock(&part->lock);
    partition_resume(part);
    assert_int_equal(parked.calls, 1);
    assert_int_equal(parked.rc, 0);
    partition_unref(part);
}

static void test_what_is_in_the_log_is_not_taken_back(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked first, second, held;
    assert_int_equal(park(f, part, &first, "a\n"), 0);
    assert_int_equal(park(f, part, &second, "b\n"), 0);
    assert_true(partition_append_is_in_log(&first.op));
    assert_false(partition_append_cancel(&first.op));
    assert_true(partition_append_forget(&first.op));
    assert_false(partition_append_forget(&first.op));
    set(f, "orders", "min.insync.replicas", "3");
    assert_int_equal(park(f, part, &held, "c\n"), 0);
    assert_false(partition_append_is_in_log(&held.op));
    assert_false(partition_append_forget(&held.op));
    assert_true(partition_append_cancel(&held.op));
    set(f, "orders", "min.insync.replicas", "2");
    fetched(&second);
    assert_int_equal(first.calls, 0);
    assert_int_equal(second.calls, 1);
    assert_content(f, "orders", "a\nb\n");
    partition_unref(part);
}

/* It is in the log, and may stay or not: not EROFS, after which a program may write it again. */
static void test_the_high_watermark_does_not_come(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked first, second;
    assert_int_equal(park(f, part, &first, "a\n"), 0);
    pass_ms(f, 20000);
    assert_int_equal(park(f, part, &second, "b\n"), 0);
    pass_ms(f, 10000);
    wait_until(first.calls == 1);
    assert_int_equal(first.rc, -ETIMEDOUT);
    assert_int_equal(first.op.result.end.offset, 1);
    assert_int_equal(second.calls, 0);
    assert_content(f, "orders", "");
    /* There are enough replicas: nothing fails at once. */
    struct parked third;
    assert_int_equal(park(f, part, &third, "c\n"), 0);
    fetched(&third);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.rc, 0);
    assert_int_equal(third.rc, 0);
    assert_content(f, "orders", "a\nb\nc\n");
    partition_unref(part);
}

/* Appended while there were enough, then there are too few until it times out: the next ones fail at once. */
static void test_too_few_replicas_behind_an_append(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked first, next;
    set(f, "orders", "min.insync.replicas", "2");
    assert_int_equal(park(f, part, &first, "a\n"), 0);
    set(f, "orders", "min.insync.replicas", "3");
    pass_ms(f, 30000);
    wait_until(first.calls == 1);
    assert_int_equal(first.rc, -ETIMEDOUT);
    assert_int_equal(park(f, part, &next, "b\n"), -EROFS);
    set(f, "orders", "min.insync.replicas", "2");
    assert_int_equal(park(f, part, &next, "c\n"), 0);
    fetched(&next);
    assert_int_equal(next.calls, 1);
    assert_content(f, "orders", "a\nc\n");
    partition_unref(part);
}

static void test_what_is_in_the_log_ends_with_its_topic(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked parked;
    assert_int_equal(park(f, part, &parked, "a\n"), 0);
    set(f, "orders", "delete.topic.enable", "true");
    assert_int_equal(delete_topic(f->node, "orders", NULL), 0);
    assert_int_equal(parked.calls, 1);
    assert_int_equal(parked.rc, -ESTALE);
    partition_unref(part);
}

/* Whoever is in sync may have it, and may come to lead. */
static void test_what_is_in_a_log_that_fails_waits_for_the_next_leader(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked parked, next;
    assert_int_equal(park(f, part, &parked, "a\n"), 0);
    atomic_store(&f->disk.pwritev_rc, -EIO);
    assert_int_equal(park(f, part, &next, "b\n"), -EIO);
    atomic_store(&f->disk.pwritev_rc, 0);
    assert_int_equal(parked.calls, 0);
    fetched(&parked); /* this replica may not hold it any more */
    assert_int_equal(parked.calls, 0);
    pass_ms(f, 30000);
    wait_until(parked.calls == 1);
    assert_int_equal(parked.rc, -ETIMEDOUT);
    partition_unref(part);
}

static void test_what_is_in_the_only_log_may_be_there_when_that_fails(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked parked, held, next = {0};
    set(f, "orders", "min.insync.replicas", "2");
    assert_int_equal(park(f, part, &parked, "a\n"), 0);
    pthread_mutex_lock(&part->lock);
    isr_set_in_sync(&part->isr, FOLLOWER, false);
    partition_hold_look(part);
    pthread_mutex_unlock(&part->lock);
    assert_int_equal(park(f, part, &held, "b\n"), 0);
    assert_false(partition_append_is_in_log(&held.op));
    atomic_store(&f->disk.pwritev_rc, -EIO);
    assert_int_equal(append_to(f, part, "c\n", ACKS_LEADER, &next.op, NULL), -EIO);
    atomic_store(&f->disk.pwritev_rc, 0);
    assert_int_equal(parked.calls, 1);
    assert_int_equal(parked.rc, -ETIMEDOUT);
    assert_int_equal(held.calls, 1);
    assert_int_equal(held.rc, -EIO);
    partition_unref(part);
}

/* The entry is there when a write of the index fails, and the next start finds it. */
static void test_what_a_failed_write_has_left_may_be_there(void **state)
{
    struct fixture *f = *state;
    struct append_op op = {0};
    create(f, "orders");
    set(f, "orders", "index.interval.bytes", "0");
    append(f, "orders", "a\n");
    struct partition *part = get(f, "orders");
    atomic_store(&f->disk.pwritev_left, 2);
    atomic_store(&f->disk.pwritev_rc, -EIO);
    assert_int_equal(append_to(f, part, "b\n", ACKS_ALL, &op, NULL), -ETIMEDOUT);
    assert_int_equal(append_to(f, part, "c\n", ACKS_ALL, &op, NULL), -EIO);
    atomic_store(&f->disk.pwritev_rc, 0);
    partition_unref(part);
    node_close(f->node, NULL);
    start(f);
    assert_content(f, "orders", "a\nb\n");
}

/* What was held goes into the log when there are enough, and waits there for the followers. */
static void test_what_was_held_waits_for_the_high_watermark(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked held[2];
    set(f, "orders", "min.insync.replicas", "3");
    assert_int_equal(park(f, part, &held[0], "a\n"), 0);
    assert_int_equal(park(f, part, &held[1], "b\n"), 0);
    assert_int_equal(partition_log_end(part).offset, 0);
    set(f, "orders", "min.insync.replicas", "2");
    assert_int_equal(partition_log_end(part).offset, 2);
    assert_int_equal(held[0].calls + held[1].calls, 0);
    assert_int_equal(atomic_load(&f->node->replicas.parked_bytes), 0);
    fetched(&held[1]);
    assert_int_equal(held[0].order, 0);
    assert_int_equal(held[1].order, 1);
    assert_content(f, "orders", "a\nb\n");
    partition_unref(part);
}

/* ---- flush.messages ---- */

/* A flush is under way: who appends meanwhile leaves its request there, and its thread is free. */
static void test_flush_messages_holds_no_thread(void **state)
{
    struct fixture *f = *state;
    atomic_store(&calls_so_far, 0);
    create(f, "orders");
    append(f, "orders", "a\n");
    set(f, "orders", "flush.messages", "1");
    struct appending b = {.f = f, .part = get(f, "orders"), .lines = "b\n"};
    struct parked others[3];
    pthread_t appender;
    assert_int_equal(partition_flush_now(b.part), 0); /* the directory of the new log is not counted below */
    struct node_metrics before, after;
    node_metrics(f->node, &before);
    atomic_store(&f->disk.fdatasync_gate, GATE_SHUT);
    pthread_create(&appender, NULL, append_in_thread, &b);
    wait_until(atomic_load(&f->disk.fdatasync_gate) == GATE_WAITED_AT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(park(f, b.part, &others[i], "c\n"), 0);
    assert_content(f, "orders", "a\n"); /* nobody sees what flush.messages has not on the disk */
    /* Nor does who wants to change the topic wait for it. */
    assert_int_equal(pthread_rwlock_trywrlock(&b.part->topic->update_lock), 0);
    pthread_rwlock_unlock(&b.part->topic->update_lock);
    int fsyncs = f->disk.fsyncs;
    atomic_store(&f->disk.fdatasync_gate, GATE_OPEN);
    pthread_join(appender, NULL);
    assert_int_equal(b.rc, 1);
    for (int i = 0; i < 3; i++) {
        wait_until(atomic_load(&others[i].calls) == 1);
        assert_int_equal(others[i].rc, 0);
    }
    assert_int_equal(f->disk.fsyncs - fsyncs, 3); /* the second one of b's pair, and one pair for the others */
    node_metrics(f->node, &after);
    assert_int_equal(after.flushes - before.flushes, 2);
    assert_int_equal(log_recovery_point(b.part->log), 5);
    assert_content(f, "orders", "a\nb\nc\nc\nc\n");
    partition_unref(b.part);
}

static void test_flush_messages_on_a_disk_that_fails(void **state)
{
    struct fixture *f = *state;
    struct append_op op = {0};
    create(f, "orders");
    append(f, "orders", "a\n");
    set(f, "orders", "flush.messages", "1");
    struct partition *part = get(f, "orders");
    atomic_store(&f->disk.fdatasync_rc, -EIO);
    assert_int_equal(append_to(f, part, "b\n", ACKS_ALL, &op, NULL), -ETIMEDOUT);
    atomic_store(&f->disk.fdatasync_rc, 0);
    assert_int_equal(append_to(f, part, "c\n", ACKS_ALL, &op, NULL), -EIO);
    assert_int_equal(partition_state(part), -EIO);
    assert_int_equal(partition_high_watermark(part).offset, 1);
    partition_unref(part);
}

/* ---- many at once ---- */

/* A writer that comes again as soon as it is answered, for as long as it is held again, so many times at most. */
struct comer {
    struct append_op op; /* first */
    struct fixture *f;
    int times;
    int answers, failures; /* so far */
    int held;              /* again */
    int first_order;
    _Atomic bool over;
};

static void comer_done(struct append_op *op, int rc)
{
    struct comer *comer = (struct comer *)op;
    int order = atomic_fetch_add(&calls_so_far, 1);
    if (comer->answers++ == 0)
        comer->first_order = order;
    comer->failures += rc != 0;
    rc = comer->answers <= comer->times ? append_to(comer->f, op->part, "again\n", op->acks, op, NULL) : 1;
    comer->failures += rc < 0;
    comer->held += rc == 0;
    if (rc != 0)
        atomic_store(&comer->over, true);
}

/* `count` of them are held, each with a line of its own. */
static struct comer *come(struct fixture *f, struct partition *part, int count, enum acks acks, int times)
{
    struct comer *comers = calloc((size_t)count, sizeof *comers);
    char line[16];
    assert_non_null(comers);
    for (int i = 0; i < count; i++) {
        comers[i] = (struct comer){.op.done = comer_done, .f = f, .times = times};
        snprintf(line, sizeof line, "%d\n", i);
        assert_int_equal(append_to(f, part, line, acks, &comers[i].op, NULL), 0);
    }
    return comers;
}

/* Returns how often one of them was held again. */
static int all_over(struct comer *comers, int count)
{
    int held = 0;
    for (int i = 0; i < count; i++) {
        wait_until(atomic_load(&comers[i].over));
        assert_int_equal(comers[i].failures, 0);
        assert_true(i == 0 || comers[i - 1].first_order < comers[i].first_order);
        held += comers[i].held;
    }
    free(comers);
    return held;
}

/* The lines that were held come first, in the order in which they came. */
static void assert_in_order(struct fixture *f, int count)
{
    struct partition *part = get(f, "orders");
    size_t size = (size_t)partition_high_watermark(part).position + 1;
    char *text = malloc(size), *at = text, line[16];
    partition_unref(part);
    assert_non_null(text);
    assert_int_equal(content(f, "orders", text, size), 0);
    for (int i = 0; i < count; i++) {
        int len = snprintf(line, sizeof line, "%d\n", i);
        assert_memory_equal(at, line, (size_t)len);
        at += len;
    }
    free(text);
}

/* Who was held, is answered and comes again does not keep the partition from being open to all again; nor does it hold
 * up what is held in another partition. */
static void test_writers_that_come_again_are_not_held_again(void **state)
{
    struct fixture *f = *state;
    enum { COMERS = 3 * LIMIT_RESUME_APPENDS };
    struct partition *part = two_needed(f);
    partition_unref(part); /* its topic's is enough, should this fail */
    struct parked other;
    assert_int_equal(create_partitions(f->node, "orders", 2, NULL), 0);
    assert_int_equal(park(f, topic_partition(part->topic, 1), &other, "x\n"), 0);
    struct comer *comers = come(f, part, COMERS, ACKS_ALL, 20);
    set(f, "orders", "min.insync.replicas", "1");
    assert_int_equal(other.calls, 1);
    assert_int_equal(other.rc, 0);
    assert_in_range(other.order, 0, COMERS - 1);
    assert_int_equal(all_over(comers, COMERS), 0);
    assert_in_order(f, COMERS);
}

/* Nor those that wait for the leadership alone, while there are too few in sync for others. */
static void test_writers_with_other_acks_are_not_held_again(void **state)
{
    struct fixture *f = *state;
    enum { COMERS = 3 * LIMIT_RESUME_APPENDS };
    struct partition *part = two_needed(f);
    partition_unref(part); /* its topic's is enough, should this fail */
    struct parked other;
    atomic_store(&part->seal.sealed, true);
    struct comer *comers = come(f, part, COMERS, ACKS_LEADER, 20);
    assert_int_equal(park(f, part, &other, "x\n"), 0);
    atomic_store(&part->seal.sealed, false);
    topic_resume(part->topic);
    executor_settle(f->node->executor);
    assert_int_equal(all_over(comers, COMERS), 0);
    assert_int_equal(other.calls, 0);
    set(f, "orders", "min.insync.replicas", "1"); /* nothing is shown before */
    assert_int_equal(other.calls, 1);
    assert_int_equal(other.rc, 0);
    assert_in_order(f, COMERS);
}

/* Where each is flushed a turn lets in fewer. */
static void test_what_is_held_where_flushes_are_due_does_not_hold_up_others(void **state)
{
    struct fixture *f = *state;
    enum { COMERS = 2 * LIMIT_RESUME_FLUSHES };
    struct partition *part = two_needed(f);
    partition_unref(part);
    struct parked other;
    assert_int_equal(create_partitions(f->node, "orders", 2, NULL), 0);
    set(f, "orders", "flush.messages", "1");
    assert_int_equal(park(f, topic_partition(part->topic, 1), &other, "x\n"), 0);
    struct comer *comers = come(f, part, COMERS, ACKS_ALL, 0);
    set(f, "orders", "min.insync.replicas", "1");
    assert_int_equal(other.calls, 1);
    assert_int_equal(other.rc, 0);
    assert_in_range(other.order, 0, COMERS - 1);
    assert_int_equal(all_over(comers, COMERS), 0);
    assert_in_order(f, COMERS);
}

/* Nor those whom followers answer meanwhile. */
static void test_the_high_watermark_answers_nobody_while_others_are_held(void **state)
{
    struct fixture *f = *state;
    struct partition *part = followed(f);
    struct parked held[3];
    partition_unref(part);
    set(f, "orders", "min.insync.replicas", "3");
    for (int i = 0; i < 3; i++)
        assert_int_equal(park(f, part, &held[i], "x\n"), 0);
    atomic_store(&part->settings.min_insync_config, 2);
    partition_set_min_insync(part);
    assert_int_equal(partition_let_in(part, 2), 2);
    fetched(&held[1]);
    assert_content(f, "orders", "x\nx\n");
    assert_int_equal(held[0].calls + held[1].calls, 0);
    assert_false(partition_append_cancel(&held[0].op));
    assert_false(partition_append_forget(&held[0].op));
    assert_int_equal(partition_let_in(part, 2), 1);
    assert_int_equal(held[0].order, 0);
    assert_int_equal(held[1].order, 1);
    assert_int_equal(held[0].rc + held[1].rc, 0);
    assert_int_equal(held[2].calls, 0);
    fetched(&held[2]);
    assert_int_equal(held[2].calls, 1);
}

/* Those that are in the log wait for so many others, and not for more. */
static void test_not_all_answers_wait_for_all_that_is_held(void **state)
{
    struct fixture *f = *state;
    enum { COMERS = LIMIT_RESUMED_ANSWERS + LIMIT_RESUME_APPENDS };
    struct partition *part = two_needed(f);
    partition_unref(part); /* its topic's is enough, should this fail */
    struct comer *comers = come(f, part, COMERS, ACKS_ALL, 1);
    set(f, "orders", "min.insync.replicas", "1");
    assert_in_range(all_over(comers, COMERS), LIMIT_RESUMED_ANSWERS, COMERS);
    assert_in_order(f, COMERS);
}

enum { WRITERS = 8 };

struct writer {
    struct fixture *f;
    struct partition *part;
    _Atomic int appended;
};

/* Appends that come, wait, are taken back and go on, while the setting flips under them. */
static void *append_somehow(void *arg)
{
    struct writer *writer = arg;
    for (int i = 0; i < 200; i++) {
        struct parked parked = {.op.done = on_done};
        int rc = append_to(writer->f, writer->part, "x\n", ACKS_ALL, &parked.op, NULL);
        if (rc == 0 && i % 3 == 0 && partition_append_cancel(&parked.op))
            continue;
        while (rc == 0 && atomic_load(&parked.calls) == 0)
            sched_yield();
        assert_int_equal(rc == 0 ? parked.rc : rc, rc == 0 ? 0 : 1);
        atomic_fetch_add(&writer->appended, 1);
    }
    return NULL;
}

static void test_settings_that_flip_under_appends(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    assert_int_equal(create_partitions(f->node, "orders", 2, NULL), 0);
    struct topic *topic = node_topic(f->node, "orders");
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.f = f, .part = topic_partition(topic, i % 2)};
        pthread_create(&threads[i], NULL, append_somehow, &writers[i]);
    }
    for (int i = 0; i < 20; i++) {
        set(f, "orders", "min.insync.replicas", i % 2 == 0 ? "2" : "1");
        sched_yield();
    }
    int64_t appended[2] = {0};
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        appended[i % 2] += writers[i].appended;
    }
    executor_settle(f->node->executor);
    for (int i = 0; i < 2; i++) {
        struct partition *part = topic_partition(topic, i);
        assert_int_equal(partition_high_watermark(part).offset, appended[i]);
        assert_int_equal(atomic_load(&part->hold.admission), ADMISSION_OPEN);
        assert_false(atomic_load(&part->hold.letting_in));
        assert_null(part->hold.over.first);
    }
    assert_int_equal(atomic_load(&f->node->replicas.parked_bytes), 0);
    topic_unref(topic);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_appends_wait_for_replicas_and_go_on_in_order),
        STORY(test_a_parked_append_times_out),
        STORY(test_how_long_they_took_is_counted),
        STORY(test_a_parked_append_is_taken_back),
        STORY(test_parked_appends_end_with_their_topic),
        STORY(test_too_few_replicas_while_an_append_is_under_way),
        STORY(test_acks_all_is_answered_by_the_high_watermark),
        STORY(test_a_smaller_isr_lets_the_high_watermark_go_on),
        STORY(test_what_is_in_the_log_is_not_taken_back),
        STORY(test_the_high_watermark_does_not_come),
        STORY(test_too_few_replicas_behind_an_append),
        STORY(test_what_is_in_the_log_ends_with_its_topic),
        STORY(test_what_is_in_a_log_that_fails_waits_for_the_next_leader),
        STORY(test_what_is_in_the_only_log_may_be_there_when_that_fails),
        STORY(test_what_a_failed_write_has_left_may_be_there),
        STORY(test_what_was_held_waits_for_the_high_watermark),
        STORY(test_flush_messages_holds_no_thread),
        STORY(test_flush_messages_on_a_disk_that_fails),
        STORY(test_writers_that_come_again_are_not_held_again),
        STORY(test_writers_with_other_acks_are_not_held_again),
        STORY(test_what_is_held_where_flushes_are_due_does_not_hold_up_others),
        STORY(test_the_high_watermark_answers_nobody_while_others_are_held),
        STORY(test_not_all_answers_wait_for_all_that_is_held),
        STORY(test_settings_that_flip_under_appends),
    };
    return cmocka_run_group_tests_name("append", tests, NULL, NULL);
}
