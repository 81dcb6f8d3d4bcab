/* tests/unit/test_sync.c: what fsync(2) and close(2) wait for with linger.ms, and whom they tell what went wrong. */
#include "tests/unit/session_fixture.h"

#include "fs/produce/sync.h"

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

/* Of this thread: so many more are granted, and one is refused; negative: all are. */
static _Thread_local int callocs_left = -1;

void *__wrap_calloc(size_t count, size_t size)
{
    return callocs_left >= 0 && callocs_left-- == 0 ? NULL : __real_calloc(count, size);
}

static void is_answered(struct fuse_req *req, int err)
{
    assert_int_equal(atomic_load(&req->answers), 1);
    assert_int_equal(atomic_load(&req->err), err);
}

/* The last close, of a file in which something waited. */
static void begin_release(struct opened *o)
{
    fence_raise(o->handle->pfile->fence, &o->handle->producer->post);
    sync_last_line_begun(o->handle);
    sync_released(o->handle);
}

static void a_last_line_keeps_the_fence_up_until_it_is_over(void **state)
{
    struct opened o;
    create(*state, "orders");
    open_any(&o, *state, "orders");
    begin_release(&o);
    assert_true(fence_is_up(o.handle->pfile->fence));
    sync_last_line_over(o.handle);
    assert_false(fence_is_up(o.handle->pfile->fence));
    close_any(&o);
}

static void a_last_line_that_lingers_keeps_the_fence_up_until_its_batch_is_over(void **state)
{
    struct opened o;
    create(*state, "orders");
    open_any(&o, *state, "orders");
    begin_release(&o);
    uint64_t batch = sync_batch_begun(o.handle);
    sync_last_line_over(o.handle);
    assert_true(fence_is_up(o.handle->pfile->fence));
    sync_batch_done(o.handle, batch, 0);
    assert_false(fence_is_up(o.handle->pfile->fence));
    close_any(&o);
}

static void begin_close(struct opened *o, struct fuse_req *req)
{
    fake_fuse_request(req, getpid());
    sync_close(req, o->handle);
}

static void nothing_on_its_way_is_answered_at_once(void **state)
{
    struct opened o;
    struct fuse_req req;
    create(*state, "orders");
    open_any(&o, *state, "orders");
    begin_close(&o, &req);
    is_answered(&req, 0);
    close_any(&o);
}

/* Another process goes on writing through the same open file and never pauses. */
static void only_what_was_there_is_waited_for(void **state)
{
    struct opened o;
    struct fuse_req first, second;
    create(*state, "orders");
    open_any(&o, *state, "orders");
    uint64_t a = sync_batch_begun(o.handle), b = sync_batch_begun(o.handle);
    begin_close(&o, &first);
    uint64_t c = sync_batch_begun(o.handle);
    begin_close(&o, &second);
    uint64_t d = sync_batch_begun(o.handle);
    sync_batch_done(o.handle, c, 0); /* partitions do not keep step with each other */
    sync_batch_done(o.handle, b, 0);
    assert_int_equal(atomic_load(&first.answers), 0);
    assert_int_equal(atomic_load(&second.answers), 0);
    sync_batch_done(o.handle, a, 0);
    is_answered(&first, 0);
    is_answered(&second, 0);
    sync_batch_done(o.handle, d, 0);
    close_any(&o);
}

static void each_that_waited_for_it_is_told_of_a_failure_and_nobody_later(void **state)
{
    struct opened o;
    struct fuse_req first, second, third;
    create(*state, "orders");
    open_any(&o, *state, "orders");
    uint64_t a = sync_batch_begun(o.handle);
    begin_close(&o, &first);
    uint64_t b = sync_batch_begun(o.handle);
    begin_close(&o, &second);
    sync_batch_done(o.handle, a, -EROFS);
    is_answered(&first, EROFS);
    assert_int_equal(atomic_load(&second.answers), 0);
    sync_batch_done(o.handle, b, 0);
    is_answered(&second, EROFS);
    begin_close(&o, &third);
    is_answered(&third, 0);
    close_any(&o);
}

static void a_failure_that_nobody_waited_for_is_told_to_the_next_once(void **state)
{
    struct opened o;
    struct fuse_req first, second;
    create(*state, "orders");
    open_any(&o, *state, "orders");
    sync_batch_done(o.handle, sync_batch_begun(o.handle), -ENOSPC);
    begin_close(&o, &first);
    is_answered(&first, ENOSPC);
    begin_close(&o, &second);
    is_answered(&second, 0);
    close_any(&o);
}

/* Of it ENOSPC would say that all of what failed may be written again. */
static void that_something_may_be_there_goes_in_front_of_other_failures(void **state)
{
    struct opened o;
    struct fuse_req first, second, third;
    create(*state, "orders");
    open_any(&o, *state, "orders");
    sync_batch_done(o.handle, sync_batch_begun(o.handle), -ENOSPC);
    sync_batch_done(o.handle, sync_batch_begun(o.handle), -ETIMEDOUT);
    sync_batch_done(o.handle, sync_batch_begun(o.handle), -EROFS);
    begin_close(&o, &first);
    is_answered(&first, ETIMEDOUT);
    sync_batch_done(o.handle, sync_batch_begun(o.handle), -ENOSPC);
    uint64_t a = sync_batch_begun(o.handle), b = sync_batch_begun(o.handle);
    begin_close(&o, &second);
    sync_batch_done(o.handle, a, -ETIMEDOUT);
    sync_batch_done(o.handle, b, -EROFS);
    is_answered(&second, ETIMEDOUT);
    begin_close(&o, &third);
    is_answered(&third, 0);
    close_any(&o);
}

/* A write(2) that waits for what lingers in front of it: its own failure is none of theirs. */
static void drain_over(struct sync_drain *drain)
{
    drain->upto = UINT64_MAX;
}

static void a_wait_that_does_not_tell_leaves_a_failure_to_the_next(void **state)
{
    struct opened o;
    struct fuse_req next;
    struct sync_drain drain = {.over = drain_over}, given_up = {.over = drain_over};
    create(*state, "orders");
    open_any(&o, *state, "orders");
    assert_false(sync_drain(o.handle, &drain));
    uint64_t a = sync_batch_begun(o.handle);
    assert_true(sync_drain(o.handle, &drain));
    assert_true(sync_drain(o.handle, &given_up));
    assert_true(sync_drain_cancel(o.handle, &given_up));
    sync_batch_done(o.handle, a, -ENOSPC);
    assert_true(drain.upto == UINT64_MAX);
    assert_false(given_up.upto == UINT64_MAX);
    assert_false(sync_drain_cancel(o.handle, &drain));
    begin_close(&o, &next);
    is_answered(&next, ENOSPC);
    close_any(&o);
}

static void what_one_that_was_given_up_would_have_told_is_told_to_the_next(void **state)
{
    struct opened o;
    struct fuse_req killed, next;
    create(*state, "orders");
    open_any(&o, *state, "orders");
    uint64_t a = sync_batch_begun(o.handle), b = sync_batch_begun(o.handle);
    begin_close(&o, &killed);
    sync_batch_done(o.handle, a, -EROFS);
    parks_abort(&o.session);
    is_answered(&killed, ENOTCONN);
    sync_batch_done(o.handle, b, 0);
    begin_close(&o, &next);
    is_answered(&next, EROFS);
    close_any(&o);
}

static void begin_fsync(struct opened *o, struct fuse_req *req)
{
    fake_fuse_request(req, getpid());
    sync_fsync(req, o->handle);
}

/* This node has followed since, and leads again from the start of its log. */
static struct partition *led_in_epoch_6(struct fixture *f, const char *topic)
{
    const struct partition_registration registration = {.replicas = {.count = 2, .ids = {1, 2}},
                                                        .isr = {.count = 1, .ids = {1}},
                                                        .leader = 1,
                                                        .leader_epoch = 6,
                                                        .partition_epoch = 6};
    struct append_op op = {0};
    struct partition *part = get(f, topic);
    partition_set_registration(part, &registration);
    assert_int_equal(append_to(f, part, "one\n", ACKS_LEADER, &op, NULL), 1);
    assert_int_equal(op.leader_epoch, 6);
    return part;
}

/* acks=1: the leader of epoch 5 took it along. That the next one has acknowledged something, too, hides nothing. */
static void what_an_earlier_leader_lost_is_told_once(void **state)
{
    struct opened o;
    struct fuse_req first, second;
    create(*state, "orders");
    struct partition *part = led_in_epoch_6(*state, "orders");
    open_any(&o, *state, "orders");
    sync_appended(o.handle, 0, 101, 5);
    sync_appended(o.handle, 0, 1, 6);
    begin_fsync(&o, &first);
    wait_until(atomic_load(&first.answers) == 1);
    is_answered(&first, EIO);
    begin_fsync(&o, &second);
    wait_until(atomic_load(&second.answers) == 1);
    is_answered(&second, 0);
    close_any(&o);
    partition_unref(part);
}

/* The answers do not come in the order of the epochs. */
static void an_earlier_leader_that_answers_late_is_asked_for_too(void **state)
{
    struct opened o;
    struct fuse_req first, second;
    create(*state, "orders");
    struct partition *part = led_in_epoch_6(*state, "orders");
    open_any(&o, *state, "orders");
    sync_appended(o.handle, 0, 1, 6);
    begin_fsync(&o, &first);
    wait_until(atomic_load(&first.answers) == 1);
    is_answered(&first, 0);
    sync_appended(o.handle, 0, 101, 5);
    begin_fsync(&o, &second);
    wait_until(atomic_load(&second.answers) == 1);
    is_answered(&second, EIO);
    close_any(&o);
    partition_unref(part);
}

/* It was written to in one epoch more than are kept. */
static struct partition *open_with_too_many_epochs(struct opened *o, struct fixture *f)
{
    create(f, "orders");
    struct partition *part = led_in_epoch_6(f, "orders");
    open_any(o, f, "orders");
    for (int i = 0; i <= LIMIT_EARLIER_EPOCHS + 1; i++)
        sync_appended(o->handle, 0, 1, 6 + i);
    return part;
}

static void more_epochs_than_are_kept_are_told_of(void **state)
{
    struct opened o;
    struct fuse_req first, second;
    struct partition *part = open_with_too_many_epochs(&o, *state);
    begin_fsync(&o, &first);
    wait_until(atomic_load(&first.answers) == 1);
    is_answered(&first, EIO);
    begin_fsync(&o, &second);
    wait_until(atomic_load(&second.answers) == 1);
    is_answered(&second, 0);
    close_any(&o);
    partition_unref(part);
}

/* That something was forgotten is told by an fsync that had the memory to look. */
static void an_fsync_without_memory_hides_nothing_from_the_next(void **state)
{
    struct opened o;
    struct fuse_req first, second;
    struct partition *part = open_with_too_many_epochs(&o, *state);
    callocs_left = 1; /* the wait itself */
    begin_fsync(&o, &first);
    assert_int_equal(callocs_left, -1);
    wait_until(atomic_load(&first.answers) == 1);
    is_answered(&first, ENOMEM);
    begin_fsync(&o, &second);
    wait_until(atomic_load(&second.answers) == 1);
    is_answered(&second, EIO);
    close_any(&o);
    partition_unref(part);
}

static void begin_write(struct opened *o, struct fuse_req *req, size_t len)
{
    fake_fuse_request(req, getpid());
    sync_write(req, o->handle, len);
}

/* O_SYNC: EIO would say that nothing of it is in the log, and that it may be written again. */
static void a_write_whose_flush_fails_may_be_there(void **state)
{
    struct fixture *f = *state;
    struct opened o;
    struct fuse_req first, second;
    create(f, "orders");
    struct partition *part = get(f, "orders");
    struct append_op op = {0};
    assert_int_equal(append_to(f, part, "one\n", ACKS_LEADER, &op, NULL), 1);
    open_any(&o, f, "orders");
    sync_appended(o.handle, 0, 1, op.leader_epoch);
    atomic_store(&f->disk.fdatasync_rc, -EIO);
    begin_write(&o, &first, 4);
    wait_until(atomic_load(&first.answers) == 1);
    is_answered(&first, ETIMEDOUT);
    atomic_store(&f->disk.fdatasync_rc, 0);
    sync_batch_done(o.handle, sync_batch_begun(o.handle), -ENOSPC);
    begin_write(&o, &second, 4);
    wait_until(atomic_load(&second.answers) == 1);
    is_answered(&second, ETIMEDOUT);
    close_any(&o);
    partition_unref(part);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(nothing_on_its_way_is_answered_at_once),
        STORY(a_last_line_keeps_the_fence_up_until_it_is_over),
        STORY(a_last_line_that_lingers_keeps_the_fence_up_until_its_batch_is_over),
        STORY(only_what_was_there_is_waited_for),
        STORY(each_that_waited_for_it_is_told_of_a_failure_and_nobody_later),
        STORY(a_failure_that_nobody_waited_for_is_told_to_the_next_once),
        STORY(that_something_may_be_there_goes_in_front_of_other_failures),
        STORY(a_wait_that_does_not_tell_leaves_a_failure_to_the_next),
        STORY(what_an_earlier_leader_lost_is_told_once),
        STORY(an_earlier_leader_that_answers_late_is_asked_for_too),
        STORY(a_write_whose_flush_fails_may_be_there),
        STORY(more_epochs_than_are_kept_are_told_of),
        STORY(an_fsync_without_memory_hides_nothing_from_the_next),
        STORY(what_one_that_was_given_up_would_have_told_is_told_to_the_next),
    };
    return cmocka_run_group_tests_name("sync", tests, NULL, NULL);
}
