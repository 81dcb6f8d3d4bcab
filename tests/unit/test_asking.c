/* What a node that does not lead a partition asks its leader to do beside appending: fsync(2) and DeleteRecords; and
 * what a leader waits for of the replicas in sync. */
#include "tests/unit/counted_ops.h"
#include "tests/unit/two_nodes.h"

#include "replication/wire/forward_message.h"

static const struct replica_set both = {.count = 2, .ids = {1, 2}};

static struct replica_set alone(int32_t id)
{
    return (struct replica_set){.count = 1, .ids = {id}};
}

static struct pair *led_by_one(void **state, struct replica_set isr)
{
    struct pair *pair = *state;

    make_topic(pair, "orders");
    led_by(pair, 1, "orders", 1, 5, isr);
    settle(pair);
    return pair;
}

static void ignore(struct append_op *op, int rc)
{
    (void)op;
    (void)rc;
}

static void append_at(struct pair *pair, int id, const char *lines)
{
    struct append_op op = {.done = ignore};

    assert_int_equal(append_to(&pair->ends[id].f, partition_of(pair, id, "orders"), lines, ACKS_LEADER, &op, NULL), 1);
    settle(pair);
}

/* The other node fetches all of it, and says so. */
static void replicate(struct pair *pair)
{
    struct partition *from = partition_of(pair, 1, "orders"), *to = partition_of(pair, 2, "orders");
    struct log_run run;
    struct log_extent extent;
    struct log_append_result result;
    char bytes[1000];

    assert_int_equal(log_run_at(from->log, log_end(to->log).position, INT64_MAX, &run, NULL), 1);
    assert_int_equal(log_extent_at(from->log, run.base.position, INT64_MAX, sizeof bytes, &extent, NULL), 1);
    assert_int_equal(pread(extent.fd, bytes, run.len, extent.place), run.len);
    log_extent_release(&extent);
    struct log_copy copy = {.base = run.base, .entry = run.entry, .bytes = bytes};
    assert_in_range(log_append_copy(to->log, 5, &copy, 1, &result, NULL), 1, 1);
    partition_advance(from, 2, log_end(to->log));
    settle(pair);
}

/* ---- fsync(2) ---- */

static int flush_at(struct pair *pair, int id, struct flushed *flushed, int64_t upto, int32_t epoch)
{
    int rc;

    *flushed = (struct flushed){.op = {.part = partition_of(pair, id, "orders"),
                                       .upto = upto,
                                       .leader_epoch = epoch,
                                       .timeout_ms = 30000,
                                       .done = on_flushed}};
    rc = partition_flush_submit(&flushed->op);
    settle(pair);
    return rc;
}

static int64_t on_disk(struct pair *pair, int id)
{
    return log_recovery_point(partition_of(pair, id, "orders")->log);
}

static void an_fsync_elsewhere_reaches_the_leaders_disk(void **state)
{
    struct pair *pair = led_by_one(state, alone(1));
    struct flushed flushed;

    append_at(pair, 1, "a\nb\n");
    assert_int_equal(on_disk(pair, 1), 0);
    assert_int_equal(flush_at(pair, 2, &flushed, 2, 5), 0);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, 0);
    assert_int_equal(on_disk(pair, 1), 2);
}

static void an_fsync_waits_for_all_in_sync(void **state)
{
    struct pair *pair = led_by_one(state, both);
    struct flushed flushed;

    append_at(pair, 1, "a\n");
    assert_int_equal(flush_at(pair, 1, &flushed, 1, 5), 0);
    assert_int_equal(flushed.calls, 0);
    assert_int_equal(on_disk(pair, 1), 1);
    pair->held = true;
    replicate(pair);
    assert_int_equal(flushed.calls, 0);
    assert_int_equal(on_disk(pair, 2), 0);
    /* The link ends with the question on it: asked again. */
    pair->held = false;
    set_link(pair, false);
    settle(pair);
    assert_int_equal(flushed.calls, 0);
    set_link(pair, true);
    settle(pair);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, 0);
    assert_int_equal(on_disk(pair, 2), 1);
}

/* No descriptors, say. */
static void who_could_not_flush_is_asked_again_by_the_beat(void **state)
{
    struct pair *pair = led_by_one(state, both);
    struct partition *leading = partition_of(pair, 1, "orders");
    struct flushed flushed;
    const struct partition_answer failed = {.head.leader_epoch = 5, .rc = -EMFILE};

    append_at(pair, 1, "a\n");
    assert_int_equal(flush_at(pair, 1, &flushed, 1, 5), 0);
    pair->held = true;
    replicate(pair);
    partition_insync_flushed(leading, 2, &failed);
    partition_replica_tick(leading);
    pair->held = false;
    settle(pair);
    assert_int_equal(pair->ends[2].received[MESSAGE_FLUSH_INSYNC], 2);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, 0);
}

static void it_has_fetched(struct partition *leading, int64_t end)
{
    const struct isr_fetch said = {.first = true, .node_epoch = 1, .end = {end, 2 * end}};

    assert_true(isr_fetched(&leading->isr, 2, &said, manager_now_ms(leading->manager)));
    partition_replica_tick(leading);
}

/* Nothing is committed yet: it could be in sync before it has what it is to flush. */
static void who_is_to_join_is_asked_to_flush_what_it_has(void **state)
{
    struct pair *pair = led_by_one(state, alone(1));
    struct partition *leading = partition_of(pair, 1, "orders");

    atomic_store(&leading->settings.min_insync_config, 2);
    led_by(pair, 1, "orders", 1, 5, alone(1));
    partition_set_min_insync(leading);
    append_at(pair, 1, "a\n");
    assert_int_equal(log_flush_all(leading->log), 0);
    isr_promise(&leading->isr, 1);
    it_has_fetched(leading, 0);
    settle(pair);
    assert_int_equal(pair->ends[2].received[MESSAGE_FLUSH_INSYNC], 0);
    replicate(pair);
    it_has_fetched(leading, 1);
    assert_true(isr_has_joiners(&leading->isr));
    settle(pair);
    assert_int_equal(pair->ends[2].received[MESSAGE_FLUSH_INSYNC], 1);
    assert_int_equal(on_disk(pair, 2), 1);
    assert_int_equal(isr_find(&leading->isr, 2)->flushed, 1);
}

static void who_leaves_the_isr_is_not_waited_for(void **state)
{
    struct pair *pair = led_by_one(state, both);
    struct flushed flushed;

    append_at(pair, 1, "a\n");
    assert_int_equal(flush_at(pair, 2, &flushed, 1, 5), 0);
    assert_int_equal(flushed.calls, 0);
    const struct partition_registration left = {
        .replicas = both, .isr = alone(1), .leader = 1, .leader_epoch = 5, .partition_epoch = 6};
    partition_set_registration(partition_of(pair, 1, "orders"), &left);
    settle(pair);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, 0);
}

static void what_a_later_leader_has_not_is_lost(void **state)
{
    struct pair *pair = led_by_one(state, alone(1));
    struct flushed here, there;

    append_at(pair, 1, "a\nb\n"); /* acks=1 */
    led_by(pair, 1, "orders", 2, 6, alone(2));
    settle(pair);
    assert_int_equal(flush_at(pair, 1, &there, 2, 5), 0);
    assert_int_equal(there.calls, 1);
    assert_int_equal(there.rc, -EIO);
    assert_int_equal(flush_at(pair, 2, &here, 2, 5), -EIO);
}

static void an_fsync_without_a_leader_ends(void **state)
{
    struct pair *pair = led_by_one(state, alone(1));
    struct flushed flushed;

    append_at(pair, 1, "a\n");
    led_by(pair, 1, "orders", LEADER_NONE, 6, (struct replica_set){.count = 0});
    assert_int_equal(flush_at(pair, 2, &flushed, 1, 5), 0);
    time_passes(pair, 29999);
    assert_int_equal(flushed.calls, 0);
    time_passes(pair, 1);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, -ETIMEDOUT);
}

static void an_fsync_that_is_given_up_waits_for_nobody_elsewhere(void **state)
{
    struct pair *pair = led_by_one(state, both);
    struct flushed asking, waiting;

    append_at(pair, 1, "a\n");
    pair->held = true;
    assert_int_equal(flush_at(pair, 2, &asking, 1, 5), 0);  /* asks, and has no answer */
    assert_int_equal(flush_at(pair, 1, &waiting, 1, 5), 0); /* the other one does not have it */
    partition_flush_give_up(&waiting.op);
    assert_int_equal(waiting.calls, 1);
    assert_int_equal(waiting.rc, -EINTR);
    assert_int_equal(asking.calls, 0);
    partition_flush_give_up(&asking.op);
    partition_flush_give_up(&asking.op);
    assert_int_equal(asking.calls, 1);
    assert_int_equal(asking.rc, -EINTR);
    pair->held = false;
    wire_clear(&pair->ends[1]);
    settle(pair);
    assert_int_equal(asking.calls + waiting.calls, 2);
}

static void an_fsync_goes_on_where_the_leader_is(void **state)
{
    struct pair *pair = led_by_one(state, both);
    struct flushed flushed;

    append_at(pair, 1, "a\n");
    replicate(pair);
    pair->held = true;
    assert_int_equal(flush_at(pair, 1, &flushed, 1, 5), 0); /* asks the other one, which does not hear */
    assert_int_equal(flushed.calls, 0);
    pair->held = false;
    wire_clear(&pair->ends[2]);
    led_by(pair, 1, "orders", 2, 6, alone(2));
    settle(pair);
    time_passes(pair, LIMIT_FORWARD_PAUSE_MS);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.rc, 0);
    assert_int_equal(on_disk(pair, 2), 1);
}

/* ---- DeleteRecords ---- */

static int delete_at(struct pair *pair, int id, struct deleted *deleted, int64_t position)
{
    int rc;

    *deleted = (struct deleted){.op = {.position = position, .done = on_deleted}};
    rc = partition_delete_records(partition_of(pair, id, "orders"), &deleted->op);
    settle(pair);
    return rc;
}

static void records_are_deleted_from_anywhere(void **state)
{
    struct pair *pair = led_by_one(state, alone(1));
    struct deleted deleted;

    append_at(pair, 1, "a\n");
    append_at(pair, 1, "b\n");
    assert_int_equal(delete_at(pair, 2, &deleted, 3), 0);
    assert_int_equal(deleted.calls, 1);
    assert_int_equal(deleted.rc, 0);
    assert_int_equal(partition_log_start(partition_of(pair, 1, "orders")).offset, 1);
    assert_content(&pair->ends[1].f, "orders", "b\n");
}

static void a_deletion_waits_for_all_in_sync(void **state)
{
    struct pair *pair = led_by_one(state, both);
    struct partition *part = partition_of(pair, 1, "orders");
    struct deleted deleted;

    append_at(pair, 1, "a\n");
    replicate(pair);
    assert_int_equal(delete_at(pair, 2, &deleted, 2), 0);
    assert_int_equal(deleted.calls, 0);
    assert_int_equal(partition_log_start(part).offset, 1);
    /* Its fetches say that it has the new start on its disk. */
    const struct isr_fetch said = {.end = {1, 2}, .start = 1, .node_epoch = -1};
    pthread_mutex_lock(&part->lock);
    isr_fetched(&part->isr, 2, &said, 0);
    pthread_mutex_unlock(&part->lock);
    partition_recommit(part);
    settle(pair);
    assert_int_equal(deleted.calls, 1);
    assert_int_equal(deleted.rc, 0);
}

/* KIP-966: below min.insync.replicas who has left the ISR may be elected. */
static void a_deletion_waits_for(struct pair *pair, struct replica_set *(*who)(struct partition_registration *))
{
    struct partition *part = partition_of(pair, 1, "orders");
    struct partition_registration left = part->registration;
    struct deleted deleted;

    append_at(pair, 1, "a\n");
    replicate(pair);
    left.isr = alone(1);
    *who(&left) = alone(2);
    left.partition_epoch++;
    partition_set_registration(part, &left);
    assert_int_equal(delete_at(pair, 1, &deleted, 2), 0);
    assert_int_equal(deleted.calls, 0);
    who(&left)->count = 0;
    left.partition_epoch++;
    partition_set_registration(part, &left);
    settle(pair);
    assert_int_equal(deleted.calls, 1);
    assert_int_equal(deleted.rc, 0);
}

static struct replica_set *eligible(struct partition_registration *part)
{
    return &part->elr;
}

static void a_deletion_waits_for_who_is_eligible(void **state)
{
    a_deletion_waits_for(led_by_one(state, both), eligible);
}

static struct replica_set *last_in_sync(struct partition_registration *part)
{
    return &part->last_isr;
}

static void a_deletion_waits_for_the_last_isr(void **state)
{
    a_deletion_waits_for(led_by_one(state, both), last_in_sync);
}

static void a_deletion_that_waits_for_others_is_taken_back(void **state)
{
    struct pair *pair = led_by_one(state, both);
    struct deleted asking, waiting;

    append_at(pair, 1, "a\n");
    replicate(pair);
    pair->held = true;
    assert_int_equal(delete_at(pair, 2, &asking, 2), 0); /* is sent, and has no answer */
    assert_true(partition_delete_records_cancel(partition_of(pair, 2, "orders"), &asking.op));
    assert_false(partition_delete_records_cancel(partition_of(pair, 2, "orders"), &asking.op));
    assert_int_equal(delete_at(pair, 1, &waiting, 2), 0); /* the other one does not have the new start */
    assert_true(partition_delete_records_cancel(partition_of(pair, 1, "orders"), &waiting.op));
    assert_false(partition_delete_records_cancel(partition_of(pair, 1, "orders"), &waiting.op));
    pair->held = false;
    settle(pair);
    time_passes(pair, LIMIT_ASK_MS);
    assert_int_equal(asking.calls + waiting.calls, 0);
    assert_int_equal(partition_log_start(partition_of(pair, 1, "orders")).offset, 1);
}

static void a_deletion_that_was_not_sent_is_taken_back(void **state)
{
    struct pair *pair = led_by_one(state, alone(1));
    struct deleted deleted;

    append_at(pair, 1, "a\n");
    set_link(pair, false);
    settle(pair);
    assert_int_equal(delete_at(pair, 2, &deleted, 2), 0);
    assert_true(partition_delete_records_cancel(partition_of(pair, 2, "orders"), &deleted.op));
    set_link(pair, true);
    settle(pair);
    assert_int_equal(deleted.calls, 0);
    assert_content(&pair->ends[1].f, "orders", "a\n");
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)
    const struct CMUnitTest tests[] = {
        STORY(an_fsync_elsewhere_reaches_the_leaders_disk),
        STORY(an_fsync_waits_for_all_in_sync),
        STORY(who_could_not_flush_is_asked_again_by_the_beat),
        STORY(who_is_to_join_is_asked_to_flush_what_it_has),
        STORY(who_leaves_the_isr_is_not_waited_for),
        STORY(what_a_later_leader_has_not_is_lost),
        STORY(an_fsync_without_a_leader_ends),
        STORY(an_fsync_that_is_given_up_waits_for_nobody_elsewhere),
        STORY(an_fsync_goes_on_where_the_leader_is),
        STORY(records_are_deleted_from_anywhere),
        STORY(a_deletion_waits_for_all_in_sync),
        STORY(a_deletion_waits_for_who_is_eligible),
        STORY(a_deletion_waits_for_the_last_isr),
        STORY(a_deletion_that_waits_for_others_is_taken_back),
        STORY(a_deletion_that_was_not_sent_is_taken_back),
    };

    return cmocka_run_group_tests_name("asking", tests, NULL, NULL);
}
