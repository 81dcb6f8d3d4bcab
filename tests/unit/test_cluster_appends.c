/* Three whole nodes: what is appended anywhere is on all of them, once and in order, whoever leads and whoever dies. */
#include "tests/unit/cluster_orders.h"

#include "engine/log/log_internal.h"

enum { WRITERS = 6 };

static void what_is_appended_anywhere_is_everywhere(void **state)
{
    static char text[1 << 16];
    struct appended all[9];
    (void)state;
    make_orders();
    for (int i = 0; i < 9; i++) {
        cluster_pass(c, 1000);
        append_at(1 + i % 3, &all[i], i);
        /* The high watermark comes by itself, to whoever waits for it: neither a beat nor an alarm is waited for. */
        cluster_settle(c);
        assert_int_equal(all[i].calls, 1);
        assert_int_equal(all[i].rc, 0);
        assert_int_equal(all[i].op.result.base.offset, i);
        /* It shows at once where it was written. */
        assert_true(partition_high_watermark(partition_at(1 + i % 3)).offset > i);
    }
    cluster_await(c, LONG_MS, is_same_everywhere(text, sizeof text) && times(text, "8\n") == 1);
    assert_string_equal(text, "0\n1\n2\n3\n4\n5\n6\n7\n8\n");
}

/* Until nobody has anything to do now; how many works that were for each node. */
static void count_works(int works[4])
{
    bool more = true;
    memset(works, 0, 4 * sizeof *works);
    while (more) {
        more = false;
        for (int32_t id = 1; id <= 3; id++) {
            for (; hand_step(&c->nodes[id].hand); works[id]++)
                more = true;
        }
        more = more || memory_step(&c->network);
    }
}

/* Each is a thread that is woken: one where records came, and one for each acknowledgement. */
static void an_append_costs_no_more_works_than_messages(void **state)
{
    struct appended appended;
    int works[4];
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    append_at(leader, &appended, 1); /* begins the epoch */
    cluster_pass(c, LIMIT_GATHER_MARKS_MS + 5);
    assert_int_equal(appended.calls, 1);
    append_at(leader, &appended, 2);
    count_works(works);
    assert_int_equal(appended.calls, 1);
    for (int32_t id = 1; id <= 3; id++)
        assert_int_equal(works[id], id == leader ? 2 : 1);
}

static void a_leader_knows_how_far_behind_its_replicas_are(void **state)
{
    struct partition_lag lags[LIMIT_REPLICA_SET];
    struct appended appended;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), other = leader % 3 + 1;
    for (int i = 0; i < 3; i++) {
        append_at(leader, &appended, i);
        cluster_await(c, LONG_MS, appended.calls == 1);
    }
    assert_int_equal(partition_lags(partition_at(other), lags), 0);
    assert_int_equal(partition_lags(partition_at(leader), lags), 2);
    assert_int_equal(lags[0].records + lags[1].records, 0);
    cluster_kill(c, other);
    for (int i = 0; i < 4; i++) {
        append_at(leader, &appended, i);
        cluster_await(c, LONG_MS, appended.calls == 1);
        assert_int_equal(appended.rc, 0);
    }
    assert_int_equal(partition_lags(partition_at(leader), lags), 2);
    assert_int_equal(lags[0].records + lags[1].records, 4);
    assert_int_equal(lags[lags[0].records == 0].replica, other);
}

/* Each node's writers write one line after the other, until so many are over. */
struct writers {
    struct appended all[1000];
    int started, over;
    int last[WRITERS];
    int32_t at[WRITERS];
};

static void go_on(struct writers *w, int until)
{
    for (int i = 0; i < WRITERS; i++) {
        if (w->last[i] >= 0 && w->all[w->last[i]].calls == 0)
            continue;
        if (w->started < until && c->nodes[w->at[i]].node != NULL) {
            w->last[i] = w->started++;
            append_at(w->at[i], &w->all[w->last[i]], w->last[i]);
        }
    }
    w->over = 0;
    for (int i = 0; i < w->started; i++)
        w->over += w->all[i].calls;
}

static void write_until(struct writers *w, int until)
{
    int64_t left_ms = 120000;
    for (; w->over < until && left_ms > 0; left_ms -= 5) {
        go_on(w, until);
        cluster_pass(c, 5);
    }
    assert_int_equal(w->over, until);
}

static void begin(struct writers *w, int32_t not_at)
{
    memset(w, 0, sizeof *w);
    for (int i = 0; i < WRITERS; i++) {
        w->last[i] = -1;
        w->at[i] = 1 + i % 3;
        if (w->at[i] == not_at)
            w->at[i] = 1 + not_at % 3;
    }
}

static void is_all_there(const struct writers *w)
{
    static char text[1 << 16];
    cluster_await(c, LONG_MS, is_same_everywhere(text, sizeof text));
    for (int i = 0; i < w->started; i++) {
        assert_int_equal(w->all[i].calls, 1);
        assert_int_equal(w->all[i].rc, 0);
        if (times(text, w->all[i].line) != 1)
            fail_msg("%d is there %d times", i, times(text, w->all[i].line));
    }
}

static void a_leader_that_dies_costs_no_write_elsewhere(void **state)
{
    static struct writers w;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    begin(&w, leader);
    write_until(&w, 60);
    go_on(&w, 70); /* under way */
    for (int i = 0; i < 3; i++)
        (void)memory_step(&c->network);
    cluster_kill(c, leader);
    write_until(&w, 200);
    cluster_start(c, leader);
    write_until(&w, 260);
    cluster_await(c, LONG_MS, isr_at(leader) == 3);
    is_all_there(&w);
}

static void a_clean_stop_costs_no_write_elsewhere(void **state)
{
    static struct writers w;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    begin(&w, leader);
    write_until(&w, 40);
    go_on(&w, 50);
    cluster_stop(c, leader);
    write_until(&w, 120);
    cluster_start(c, leader);
    write_until(&w, 160);
    cluster_await(c, LONG_MS, isr_at(leader) == 3);
    is_all_there(&w);
}

/* As while the reserve is used up. */
static void a_full_leader_hands_over(void **state)
{
    static struct writers w;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    begin(&w, 0);
    write_until(&w, 30);
    atomic_fetch_add(&c->nodes[leader].node->reserve.users, 1);
    int64_t from_ms = atomic_load(&c->clock.passed_ms);
    write_until(&w, 120);
    assert_in_range(atomic_load(&c->clock.passed_ms) - from_ms, 0, LIMIT_HANDOVER_MS);
    for (int32_t id = 1; id <= 3; id++)
        assert_true(leader_at(id) != leader);
    atomic_fetch_sub(&c->nodes[leader].node->reserve.users, 1);
    is_all_there(&w);
}

/* No command is taken for a while: whoever waits is tried again and again meanwhile, the hand-over now and then. */
static void a_hand_over_that_fails_is_tried_now_and_then(void **state)
{
    static struct writers w;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    struct quorum *quorum = &c->nodes[leader].node->quorum;
    begin(&w, 0);
    write_until(&w, 30);
    atomic_fetch_add(&c->nodes[leader].node->reserve.users, 1);
    quorum->stopped = true; /* it answers at once */
    uint64_t before = quorum->next_number;
    for (int64_t ms = 0; ms < LIMIT_HANDOVER_MS / 2; ms += 5) {
        go_on(&w, 60);
        cluster_pass(c, 5);
    }
    assert_in_range(quorum->next_number - before, 5, 15);
    quorum->stopped = false;
    write_until(&w, 120);
    assert_true(leader_at(1) != leader);
    atomic_fetch_sub(&c->nodes[leader].node->reserve.users, 1);
    is_all_there(&w);
}

static void over_once(struct appended *all, int count)
{
    static char text[1 << 16];
    for (int i = 0; i < count; i++) {
        cluster_await(c, LONG_MS, all[i].calls == 1);
        assert_int_equal(all[i].rc, 0);
    }
    cluster_pass(c, 1000);
    for (int i = 0; i < count; i++) {
        text_of(partition_at(leader_at(1)), text, sizeof text);
        assert_int_equal(times(text, all[i].line), 1);
    }
}

/* The first one is on its way to the others when the second one meets the disk's error: the next leader has it. */
static void what_is_in_a_log_that_fails_is_answered_by_the_next_leader(void **state)
{
    struct appended all[2];
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    append_at(leader, &all[0], 1);
    assert_int_equal(all[0].calls, 0);
    atomic_store(&c->nodes[leader].disk.pwritev_rc, -EIO);
    append_at(leader, &all[1], 2);
    atomic_store(&c->nodes[leader].disk.pwritev_rc, 0);
    assert_int_equal(all[0].calls + all[1].calls, 0);
    over_once(all, 2);
    assert_true(leader_at(1) != leader);
}

/* The same, of one that another node has sent. */
static void what_others_sent_to_a_log_that_fails_is_answered_by_the_next_leader(void **state)
{
    struct appended all[2];
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    struct partition *part = partition_at(leader);
    append_at(leader % 3 + 1, &all[0], 1);
    while (partition_log_end(part).offset == 0)
        assert_true(memory_step(&c->network) || hand_step(&c->nodes[leader].hand));
    assert_int_equal(all[0].calls, 0);
    atomic_store(&c->nodes[leader].disk.pwritev_rc, -EIO);
    append_at(leader, &all[1], 2);
    atomic_store(&c->nodes[leader].disk.pwritev_rc, 0);
    over_once(all, 2);
    assert_true(leader_at(1) != leader);
}

static void what_cannot_be_flushed_is_answered_by_the_next_leader(void **state)
{
    struct appended all[2];
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    atomic_store(&partition_at(leader)->settings.flush_messages, 1); /* as a setting */
    atomic_store(&c->nodes[leader].disk.fdatasync_rc, -EIO);
    append_at(leader, &all[0], 1);
    atomic_store(&c->nodes[leader].disk.fdatasync_rc, 0);
    assert_int_equal(all[0].calls, 0);
    append_at(leader, &all[1], 2);
    over_once(all, 2);
    assert_true(leader_at(1) != leader);
}

static void where_nobody_has_room_it_is_said_at_once(void **state)
{
    struct appended appended;
    (void)state;
    make_orders();
    int32_t leader = leader_at(1);
    struct partition *part = partition_at(leader);
    for (int i = 0; i < part->isr.count; i++)
        part->isr.replicas[i].full = true;
    atomic_fetch_add(&c->nodes[leader].node->reserve.users, 1);
    append_at(leader, &appended, 1);
    assert_int_equal(appended.calls, 1);
    assert_int_equal(appended.rc, -ENOSPC);
    atomic_fetch_sub(&c->nodes[leader].node->reserve.users, 1);
}

static int hand_overs;

static bool count_hand_over(void *arg, struct partition *part)
{
    (void)arg;
    hand_overs += part == partition_at(leader_at(1));
    return true;
}

/* A write or a flush that does not end, as of a disk that hangs: whoever is at it has the log's lock. */
static void a_disk_that_hangs_costs_the_leadership_after_a_while(void **state)
{
    struct appended appended;
    (void)state;
    make_orders();
    struct partition *part = partition_at(leader_at(1));
    part->manager->hooks.hand_over = count_hand_over;
    hand_overs = 0;
    for (int i = 0; i < 3 * LIMIT_STUCK_MS / LIMIT_BEAT_MS; i++) { /* one that is only busy */
        append_at(leader_at(1), &appended, i);
        cluster_await(c, LONG_MS, appended.calls == 1);
        log_lock(part->log);
        partition_replica_tick(part);
        log_unlock(part->log);
    }
    assert_int_equal(hand_overs, 0);
    log_lock(part->log);
    for (int i = 1; i < LIMIT_STUCK_MS / LIMIT_BEAT_MS; i++)
        partition_replica_tick(part);
    int early = hand_overs;
    partition_replica_tick(part);
    log_unlock(part->log);
    assert_int_equal(early, 0);
    assert_int_equal(hand_overs, 1);
    partition_replica_tick(part);
    assert_int_equal(hand_overs, 1);
}

/* It ends at some time, or the appends do; what waits for it waits for longer than that. */
static void a_flush_that_hangs_costs_the_leadership_too(void **state)
{
    struct appended appended;
    (void)state;
    make_orders();
    struct partition *part = partition_at(leader_at(1));
    part->manager->hooks.hand_over = count_hand_over;
    hand_overs = 0;
    part->log->flush_state = FLUSH_RUNNING;
    int appends = 0, early = 0;
    for (int i = 0; i <= LIMIT_STUCK_MS / LIMIT_BEAT_MS; i++) {
        append_at(leader_at(1), &appended, i); /* which goes on */
        cluster_settle(c);
        appends += appended.calls;
        early = hand_overs;
        part->log->flush_segments += i == 0; /* the round has come further */
        partition_replica_tick(part);
    }
    part->log->flush_state = FLUSH_IDLE;
    assert_int_equal(appends, LIMIT_STUCK_MS / LIMIT_BEAT_MS + 1);
    assert_int_equal(early, 0);
    assert_int_equal(hand_overs, 1);
    partition_replica_tick(part);
    assert_false(partition_hangs(part));
}

/* ---- fsync(2), DeleteRecords ---- */

static void an_fsync_is_on_all_disks(void **state)
{
    struct appended appended;
    (void)state;
    make_orders();
    for (int32_t id = 1; id <= 3; id++) {
        append_at(id, &appended, id);
        cluster_await(c, LONG_MS, appended.calls == 1);
        assert_int_equal(appended.rc, 0);
        struct flushed flushed = {.op = {.part = partition_at(id),
                                         .upto = appended.op.result.end.offset,
                                         .leader_epoch = appended.op.leader_epoch,
                                         .timeout_ms = 30000,
                                         .done = on_flushed}};
        assert_in_range(partition_flush_submit(&flushed.op), 0, 0);
        cluster_await(c, LONG_MS, flushed.calls == 1);
        assert_int_equal(flushed.rc, 0);
        for (int32_t at = 1; at <= 3; at++)
            assert_true(log_recovery_point(partition_at(at)->log) >= id);
    }
}

/* Where it was asked for, and there alone; a leader counts what its replicas acknowledge. */
static void how_long_they_took_is_counted_where_they_came(void **state)
{
    enum { HERE = 3, ELSEWHERE = 4, UNANSWERED = 2 };
    struct appended appended;
    struct node_metrics at_leader, at_other;
    struct node_acks acks[LIMIT_NODES];
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), other = leader % 3 + 1;
    for (int i = 0; i < HERE + ELSEWHERE; i++) {
        append_at(i < HERE ? leader : other, &appended, i);
        cluster_await(c, LONG_MS, appended.calls == 1);
        assert_int_equal(appended.rc, 0);
    }
    struct flushed flushed = {.op = {.part = partition_at(other),
                                     .upto = appended.op.result.end.offset,
                                     .leader_epoch = appended.op.leader_epoch,
                                     .timeout_ms = 30000,
                                     .done = on_flushed}};
    assert_in_range(partition_flush_submit(&flushed.op), 0, 0);
    cluster_await(c, LONG_MS, flushed.calls == 1);
    for (int i = 0; i < UNANSWERED; i++) {
        append_acks_at(other, &appended, i, ACKS_NONE);
        assert_int_equal(appended.calls, 1);
        cluster_await(c, LONG_MS,
                      partition_high_watermark(partition_at(leader)).offset == HERE + ELSEWHERE + i + 1 &&
                          !atomic_load(&partition_at(other)->forward.busy));
    }
    node_metrics(c->nodes[leader].node, &at_leader);
    node_metrics(c->nodes[other].node, &at_other);
    assert_int_equal(at_leader.appends[ACKS_ALL - ACKS_ALL].times.count, HERE);
    assert_int_equal(at_leader.appends[ACKS_NONE - ACKS_ALL].times.count, 0);
    assert_int_equal(at_leader.forwards.count, 0);
    assert_int_equal(at_leader.fsyncs.times.count, 0);
    assert_int_equal(at_other.appends[ACKS_ALL - ACKS_ALL].times.count, ELSEWHERE);
    assert_int_equal(at_other.appends[ACKS_NONE - ACKS_ALL].times.count, UNANSWERED);
    assert_int_equal(at_other.forwards.count, ELSEWHERE + UNANSWERED);
    assert_int_equal(at_other.fsyncs.times.count, 1);
    assert_int_equal(node_acks(c->nodes[other].node, acks), 0);
    assert_int_equal(node_acks(c->nodes[leader].node, acks), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_not_equal(acks[i].replica, leader);
        assert_int_equal(acks[i].times.count, HERE + ELSEWHERE + UNANSWERED);
    }
    assert_int_not_equal(acks[0].replica, acks[1].replica);
}

static void deleted_anywhere_is_deleted_everywhere(void **state)
{
    struct appended appended;
    (void)state;
    make_orders();
    for (int i = 0; i < 4; i++) {
        append_at(1, &appended, i);
        cluster_await(c, LONG_MS, appended.calls == 1);
    }
    for (int32_t id = 1; id <= 3; id++) {
        struct deleted deleted = {.op = {.position = 2 * id, .done = on_deleted}};
        assert_int_equal(partition_delete_records(partition_at(id), &deleted.op), 0);
        cluster_await(c, LONG_MS, deleted.calls == 1);
        assert_int_equal(deleted.rc, 0);
        for (int32_t at = 1; at <= 3; at++)
            assert_int_equal(partition_log_start(partition_at(at)).offset, id);
    }
}

/* In one leader epoch: what it says before the leader has heard that it is one again counts nowhere. */
static void who_is_a_replica_again_is_heard(void **state)
{
    (void)state;
    make_orders();
    int32_t leader = leader_at(1), other = leader % 3 + 1;
    struct partition *led = partition_at(leader), *follows = partition_at(other);
    struct partition_registration next = led->registration;
    next.replicas = next.isr = (struct replica_set){.count = 1, .ids = {leader}};
    next.partition_epoch++;
    partition_set_registration(follows, &next);
    partition_set_registration(led, &next);
    cluster_pass(c, 100);
    next.replicas = (struct replica_set){.count = 2, .ids = {leader, other}};
    next.partition_epoch++;
    partition_set_registration(follows, &next);
    cluster_pass(c, 100);
    partition_set_registration(led, &next);
    assert_non_null(isr_find(&led->isr, other));
    cluster_await(c, LONG_MS, isr_find(&led->isr, other)->fetched);
}

/* ---- between two looks ---- */

/* Something that happens right behind a look at the clock, or at the lease. */
static struct {
    struct membership *member;
    int64_t answered_ms, until_ms; /* before the answer that is waited for */
    struct partition *part;
    struct appended appended;
    int32_t at;
    bool lapsed;
} between;

/* The lease that was in force when the answer came runs out, and an append comes. */
static int64_t mono_ms_and_it_lapses(struct clock *clock)
{
    int64_t now_ms = hand_mono_ms(clock);
    if (between.member->answered_ms == between.answered_ms || between.appended.op.part != NULL)
        return now_ms;
    assert_true(between.until_ms > now_ms);
    atomic_fetch_add(&c->clock.passed_ms, between.until_ms - now_ms);
    append_acks_at(between.at, &between.appended, 7, ACKS_LEADER);
    return now_ms;
}

static void a_lease_that_runs_out_as_the_next_one_comes_holds_nothing(void **state)
{
    (void)state;
    make_orders();
    memset(&between, 0, sizeof between);
    between.at = leader_at(1);
    between.member = &c->nodes[between.at].node->membership;
    cluster_pass(c, 1000);
    between.answered_ms = between.member->answered_ms;
    between.until_ms = atomic_load(&between.member->lease_until_ms);
    c->clock.clock.mono_ms = mono_ms_and_it_lapses;
    cluster_await(c, LONG_MS, between.appended.op.part != NULL);
    c->clock.clock.mono_ms = hand_mono_ms;
    assert_true(membership_has_lease(between.member));
    cluster_settle(c);
    assert_int_equal(between.appended.calls, 1);
    assert_int_equal(between.appended.rc, 0);
}

/* Behind the last look in front of the log, under update_lock and not under the lock. */
static bool lapses_and_is_deleted(void *arg)
{
    (void)arg;
    if (between.lapsed)
        return false;
    if (between.part->hold.resumed == NULL || pthread_mutex_trylock(&between.part->lock) != 0)
        return true;
    pthread_mutex_unlock(&between.part->lock);
    between.lapsed = true;
    atomic_store(&between.part->topic->deleted, true);
    partition_hold_deleted(between.part);
    return false;
}

static void what_is_put_back_into_a_topic_that_was_deleted_is_over(void **state)
{
    (void)state;
    make_orders();
    memset(&between, 0, sizeof between);
    between.at = leader_at(1);
    struct partition *part = between.part = partition_at(between.at);
    bool (*has_lease)(void *arg) = part->manager->hooks.has_lease;
    atomic_store(&part->seal.sealed, true);
    append_acks_at(between.at, &between.appended, 7, ACKS_LEADER);
    assert_int_equal(atomic_load(&between.appended.op.state), APPEND_HELD);
    atomic_store(&part->seal.sealed, false);
    part->manager->hooks.has_lease = lapses_and_is_deleted;
    partition_resume(part);
    (void)partition_let_in(part, LIMIT_RESUME_APPENDS);
    part->manager->hooks.has_lease = has_lease;
    atomic_store(&part->topic->deleted, false); /* it was not, for the rest of the story */
    assert_int_equal(between.appended.calls, 1);
    assert_int_equal(between.appended.rc, -ESTALE);
    assert_int_equal(log_end(part->log).offset, 0);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_three, cluster_teardown)
    const struct CMUnitTest tests[] = {
        STORY(what_is_appended_anywhere_is_everywhere),
        STORY(an_append_costs_no_more_works_than_messages),
        STORY(a_leader_knows_how_far_behind_its_replicas_are),
        STORY(a_leader_that_dies_costs_no_write_elsewhere),
        STORY(a_clean_stop_costs_no_write_elsewhere),
        STORY(a_full_leader_hands_over),
        STORY(who_is_a_replica_again_is_heard),
        STORY(a_hand_over_that_fails_is_tried_now_and_then),
        STORY(what_is_in_a_log_that_fails_is_answered_by_the_next_leader),
        STORY(what_others_sent_to_a_log_that_fails_is_answered_by_the_next_leader),
        STORY(what_cannot_be_flushed_is_answered_by_the_next_leader),
        STORY(where_nobody_has_room_it_is_said_at_once),
        STORY(a_disk_that_hangs_costs_the_leadership_after_a_while),
        STORY(a_flush_that_hangs_costs_the_leadership_too),
        STORY(an_fsync_is_on_all_disks),
        STORY(a_lease_that_runs_out_as_the_next_one_comes_holds_nothing),
        STORY(what_is_put_back_into_a_topic_that_was_deleted_is_over),
        STORY(how_long_they_took_is_counted_where_they_came),
        STORY(deleted_anywhere_is_deleted_everywhere),
    };
    return cmocka_run_group_tests_name("appends in a cluster", tests, NULL, NULL);
}
