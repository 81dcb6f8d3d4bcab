/* The high watermark of an ISR: the least of what its members hold, once there are min.insync.replicas of them. */
#include "replication/replica/isr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int32_t three[] = {1, 2, 3};

/* Positions are ten times the offset here. */
static struct log_point at(int64_t offset)
{
    return (struct log_point){offset, 10 * offset};
}

static void assert_at(const struct isr *isr, int64_t offset)
{
    assert_int_equal(isr->high_watermark.offset, offset);
    assert_int_equal(isr->high_watermark.position, 10 * offset);
}

static void test_of_one_follows_its_log(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 1, at(5));
    assert_int_equal(isr_size(&isr), 1);
    assert_at(&isr, 5);
    assert_true(isr_advance(&isr, 1, at(7)));
    assert_true(isr_update(&isr, 1));
    assert_at(&isr, 7);
    assert_false(isr_update(&isr, 1));
}

static void test_appends_that_report_out_of_order(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 1, at(0));
    isr_advance(&isr, 1, at(9));
    assert_true(isr_update(&isr, 1));
    isr_advance(&isr, 1, at(4));
    assert_false(isr_update(&isr, 1));
    assert_at(&isr, 9);
}

static void test_the_slowest_decides(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 3, at(0));
    isr_advance(&isr, 1, at(10));
    assert_false(isr_update(&isr, 2));
    isr_advance(&isr, 2, at(8));
    assert_false(isr_update(&isr, 2));
    isr_advance(&isr, 3, at(6));
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 6);
}

static void test_who_leaves_no_longer_counts(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 3, at(0));
    isr_advance(&isr, 1, at(10));
    isr_advance(&isr, 2, at(8));
    assert_true(isr_set_in_sync(&isr, 3, false));
    assert_int_equal(isr_size(&isr), 2);
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 8);
    /* Back again, behind: the high watermark stays where it is. */
    isr_set_in_sync(&isr, 3, true);
    assert_false(isr_update(&isr, 2));
    assert_at(&isr, 8);
}

static void test_too_few_commit_nothing(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 1, at(0));
    isr_advance(&isr, 1, at(3));
    assert_false(isr_update(&isr, 2));
    assert_at(&isr, 0);
    assert_true(isr_update(&isr, 1));
    assert_at(&isr, 3);
    isr_set_in_sync(&isr, 1, false);
    isr_advance(&isr, 1, at(4));
    assert_false(isr_update(&isr, 0));
    assert_at(&isr, 3);
}

static void test_strangers_are_refused(void **state)
{
    (void)state;
    struct isr isr;
    isr_init(&isr, three, 2, at(0));
    assert_false(isr_advance(&isr, 3, at(1)));
    assert_false(isr_set_in_sync(&isr, 3, true));
}

/* ---- a leader's: fetches, who joins, who leaves ---- */

static struct replica_set ids(int count, const int32_t *of)
{
    struct replica_set set = {.count = 0};
    for (int i = 0; i < count; i++)
        replica_set_add(&set, of[i]);
    return set;
}

/* 1 leads; of 1, 2, 3 the first `in_sync` are in sync. Its own log ends at 10, the high watermark is 4. */
static struct isr led(int in_sync)
{
    struct isr isr;
    struct replica_set all = ids(3, three), some = ids(in_sync, three);
    isr_init(&isr, three, 3, at(4));
    isr_decide(&isr, &all, &some);
    isr_begin(&isr, 0, 0);
    isr_advance(&isr, 1, at(10));
    return isr;
}

static void fetch(struct isr *isr, int32_t id, int64_t end, int64_t now_ms)
{
    struct isr_fetch said = {.first = true, .node_epoch = 100 + id, .end = at(end), .flushed = end};
    assert_true(isr_fetched(isr, id, &said, now_ms));
}

/* What the metadata says of the nodes. */
struct nodes {
    int64_t epochs[4];
};

static int64_t node_epoch(const void *arg, int32_t node)
{
    const struct nodes *nodes = arg;
    return nodes->epochs[node];
}

static const struct nodes all_live = {{0, 101, 102, 103}};

static struct isr_rules rules_at(int64_t now_ms, const struct nodes *nodes)
{
    return (struct isr_rules){.self = 1,
                              .leader_end = 10,
                              .epoch_start = 6,
                              .lag_max_ms = 10000,
                              .now_ms = now_ms,
                              .node_epoch = node_epoch,
                              .arg = nodes};
}

static void test_who_has_not_fetched_in_this_epoch_holds_the_high_watermark(void **state)
{
    (void)state;
    struct isr isr = led(3);
    fetch(&isr, 2, 10, 1);
    assert_false(isr_update(&isr, 2));
    fetch(&isr, 3, 7, 2);
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 7);
}

/* It has followed since it led last, and was cut. */
static void test_a_leader_begins_with_the_end_that_its_log_has_now(void **state)
{
    (void)state;
    struct isr isr = led(1); /* its log ends at 10 */
    isr_begin(&isr, 0, 5);
    assert_false(isr_update(&isr, 1));
    isr_advance(&isr, 1, at(7));
    assert_true(isr_update(&isr, 1));
    assert_at(&isr, 7);
}

static void test_within_a_round_nothing_goes_back(void **state)
{
    (void)state;
    struct isr isr = led(2);
    struct isr_fetch older = {.node_epoch = 102, .end = at(5), .flushed = 2};
    fetch(&isr, 2, 8, 1);
    isr_fetched(&isr, 2, &older, 2);
    assert_int_equal(isr_find(&isr, 2)->end.offset, 8);
    assert_int_equal(isr_find(&isr, 2)->flushed, 8);
    /* A new round is what a process says that knows no more. */
    older.first = true;
    isr_fetched(&isr, 2, &older, 3);
    assert_int_equal(isr_find(&isr, 2)->end.offset, 5);
    assert_int_equal(isr_find(&isr, 2)->flushed, 2);
}

/* KIP-497: who is proposed counts already, and who is to leave still does. */
static void test_the_maximal_isr_decides(void **state)
{
    (void)state;
    struct isr isr = led(2);
    struct replica_set proposed;
    int64_t epochs[LIMIT_REPLICA_SET];
    struct isr_rules rules = rules_at(5, &all_live);
    fetch(&isr, 2, 10, 1);
    fetch(&isr, 3, 8, 1);
    assert_true(isr_propose(&isr, &rules, &proposed, epochs));
    assert_int_equal(proposed.count, 3);
    assert_int_equal(epochs[1], -1);
    assert_int_equal(epochs[2], 103);
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 8); /* not 10: the third counts */
    isr_take_back(&isr);
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 10);
}

/* But a proposal makes no ISR large enough. */
static void test_who_is_only_proposed_makes_no_minimum(void **state)
{
    (void)state;
    struct isr isr = led(1);
    struct replica_set proposed;
    int64_t epochs[LIMIT_REPLICA_SET];
    struct isr_rules rules = rules_at(5, &all_live);
    fetch(&isr, 2, 10, 1);
    fetch(&isr, 3, 10, 1);
    assert_true(isr_propose(&isr, &rules, &proposed, epochs));
    assert_false(isr_update(&isr, 2));
    struct replica_set all = ids(3, three);
    isr_decide(&isr, &all, &proposed);
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 10);
}

static void test_who_may_join(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int64_t end, hw;
        struct nodes nodes;
        bool full, joins;
        int64_t now_ms;
    } cases[] = {
        {"at the high watermark, past the epoch's start", 8, 8, {{0, 101, 102, 103}}, false, true, 5},
        {"behind the high watermark", 7, 8, {{0, 101, 102, 103}}, false, false, 5},
        {"before the epoch's start", 5, 4, {{0, 101, 102, 103}}, false, false, 5},
        {"fenced, or shutting down", 8, 8, {{0, 101, 102, -1}}, false, false, 5},
        {"registered anew since it fetched", 8, 8, {{0, 101, 102, 104}}, false, false, 5},
        {"its disk is full", 8, 8, {{0, 101, 102, 103}}, true, false, 5},
        {"silent for a lag", 8, 8, {{0, 101, 102, 103}}, false, false, 10002},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct isr isr = led(1);
        struct replica_set proposed;
        int64_t epochs[LIMIT_REPLICA_SET];
        struct isr_rules rules = rules_at(cases[i].now_ms, &cases[i].nodes);
        struct isr_fetch said = {.first = true, .full = cases[i].full, .node_epoch = 103, .end = at(cases[i].end)};
        isr.high_watermark = at(cases[i].hw);
        isr_fetched(&isr, 3, &said, 1);
        if (isr_propose(&isr, &rules, &proposed, epochs) != cases[i].joins)
            fail_msg("%s", cases[i].what);
    }
}

/* What was promised to be on the disks of all in sync is on those of who comes, too. While that flushes it counts for
 * what is promised then, so that it gets there. */
static void test_who_joins_has_flushed_what_was_promised(void **state)
{
    (void)state;
    struct isr isr = led(2);
    struct replica_set proposed;
    int64_t epochs[LIMIT_REPLICA_SET];
    struct isr_rules rules = rules_at(5, &all_live);
    struct isr_fetch said = {.first = true, .node_epoch = 103, .end = at(10), .flushed = 3, .start = 2};
    isr_find(&isr, 1)->flushed = 9;
    fetch(&isr, 2, 10, 1);
    assert_int_equal(isr_flushed(&isr), 9);
    isr_promise(&isr, 9);
    rules.flushed = isr.promised;
    isr_fetched(&isr, 3, &said, 5);
    assert_false(isr_is_due(&isr, &rules));
    assert_false(isr_propose(&isr, &rules, &proposed, epochs));
    assert_false(isr_has_joiners(&isr));
    isr_prepare(&isr, &rules);
    assert_true(isr_has_joiners(&isr));
    assert_int_equal(isr_flushed(&isr), 3);
    said = (struct isr_fetch){.node_epoch = 103, .end = at(10), .flushed = 9, .start = 2};
    isr_fetched(&isr, 3, &said, 5);
    assert_int_equal(isr_flushed(&isr), 9);
    rules.start = 3; /* and has removed what was */
    assert_false(isr_propose(&isr, &rules, &proposed, epochs));
    rules.start = 2;
    assert_true(isr_is_due(&isr, &rules));
    assert_true(isr_propose(&isr, &rules, &proposed, epochs));
    assert_int_equal(proposed.count, 3);
}

/* The leader itself, who was not in sync when it was promised. */
static void test_nobody_joins_before_the_leader_has_flushed(void **state)
{
    (void)state;
    struct isr isr = led(1);
    struct replica_set proposed;
    int64_t epochs[LIMIT_REPLICA_SET];
    struct isr_rules rules = rules_at(5, &all_live);
    rules.flushed = 8;
    fetch(&isr, 3, 10, 5);
    assert_false(isr_propose(&isr, &rules, &proposed, epochs));
    isr_prepare(&isr, &rules);
    assert_true(isr_has_joiners(&isr));
    isr_find(&isr, 1)->flushed = 8;
    assert_true(isr_propose(&isr, &rules, &proposed, epochs));
}

/* One that never gets there holds fsyncs up for ten seconds, and then for as long not. */
static void test_who_does_not_flush_is_not_waited_for_without_end(void **state)
{
    (void)state;
    struct isr isr = led(1);
    struct isr_fetch said = {.first = true, .node_epoch = 103, .end = at(10), .flushed = 3};
    bool waited[42];
    isr_find(&isr, 1)->flushed = 10;
    for (int s = 0; s <= 41; s++) {
        struct isr_rules rules = rules_at(1000 * s, &all_live);
        rules.flushed = 9;
        isr_fetched(&isr, 3, &said, 1000 * s);
        isr_prepare(&isr, &rules);
        waited[s] = isr_flushed(&isr) == 3;
    }
    assert_true(waited[0] && waited[10] && !waited[11] && !waited[20] && waited[21] && waited[31] && !waited[32]);
    /* Who is not there any more is not waited for either. */
    struct isr_rules rules = rules_at(41000, &all_live);
    isr = led(1);
    isr_find(&isr, 1)->flushed = 10;
    isr_fetched(&isr, 3, &said, 41000);
    rules.flushed = 9;
    isr_prepare(&isr, &rules);
    assert_true(isr_has_joiners(&isr));
    said.full = true;
    isr_fetched(&isr, 3, &said, 41000);
    isr_prepare(&isr, &rules);
    assert_false(isr_has_joiners(&isr));
    assert_int_equal(isr_flushed(&isr), 10);
}

static void test_who_lags_leaves(void **state)
{
    (void)state;
    struct isr isr = led(3);
    struct replica_set proposed;
    int64_t epochs[LIMIT_REPLICA_SET];
    struct isr_rules rules = rules_at(1000, &all_live);
    fetch(&isr, 2, 10, 1000);
    fetch(&isr, 3, 9, 1000);
    isr_look(&isr, &rules);
    assert_false(isr_propose(&isr, &rules, &proposed, epochs));
    /* 2 beats, at the end; 3 beats too, and does not move. */
    isr_find(&isr, 2)->heard_ms = isr_find(&isr, 3)->heard_ms = 10000;
    rules.now_ms = 10000;
    isr_look(&isr, &rules);
    assert_false(isr_propose(&isr, &rules, &proposed, epochs));
    rules.now_ms = 10001;
    assert_true(isr_propose(&isr, &rules, &proposed, epochs));
    assert_int_equal(proposed.count, 2);
    assert_true(replica_set_has(&proposed, 2));
    /* It still counts until that is decided. */
    assert_true(isr_update(&isr, 2));
    assert_at(&isr, 9);
}

/* Where nothing is appended, too. */
static void test_who_is_silent_leaves(void **state)
{
    (void)state;
    struct isr isr = led(2);
    struct replica_set proposed;
    int64_t epochs[LIMIT_REPLICA_SET];
    fetch(&isr, 2, 10, 100);
    for (int64_t ms = 500; ms <= 10000; ms += 500) {
        struct isr_rules rules = rules_at(ms, &all_live);
        isr_look(&isr, &rules);
        assert_false(isr_propose(&isr, &rules, &proposed, epochs));
    }
    struct isr_rules rules = rules_at(10101, &all_live);
    isr_look(&isr, &rules);
    assert_true(isr_propose(&isr, &rules, &proposed, epochs));
}

/* Under load a follower is never at the end; it is in sync as long as it gets to where the end was. */
static void test_who_follows_a_moving_end_stays(void **state)
{
    (void)state;
    struct isr isr = led(2);
    struct replica_set proposed;
    int64_t epochs[LIMIT_REPLICA_SET];
    for (int64_t ms = 500; ms <= 60000; ms += 500) {
        struct isr_rules rules = rules_at(ms, &all_live);
        rules.leader_end = 10 + ms;
        isr_advance(&isr, 1, at(rules.leader_end));
        fetch(&isr, 2, rules.leader_end - 400, ms);
        isr_look(&isr, &rules);
        assert_false(isr_propose(&isr, &rules, &proposed, epochs));
    }
}

static void test_a_full_disk_leaves_at_once(void **state)
{
    (void)state;
    struct isr isr = led(2);
    struct replica_set proposed;
    int64_t epochs[LIMIT_REPLICA_SET];
    struct isr_rules rules = rules_at(2, &all_live);
    struct isr_fetch said = {.first = true, .full = true, .node_epoch = 102, .end = at(10)};
    isr_fetched(&isr, 2, &said, 2);
    assert_true(isr_propose(&isr, &rules, &proposed, epochs));
    assert_int_equal(proposed.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_one_follows_its_log),
        cmocka_unit_test(test_appends_that_report_out_of_order),
        cmocka_unit_test(test_the_slowest_decides),
        cmocka_unit_test(test_who_leaves_no_longer_counts),
        cmocka_unit_test(test_too_few_commit_nothing),
        cmocka_unit_test(test_strangers_are_refused),
        cmocka_unit_test(test_who_has_not_fetched_in_this_epoch_holds_the_high_watermark),
        cmocka_unit_test(test_a_leader_begins_with_the_end_that_its_log_has_now),
        cmocka_unit_test(test_within_a_round_nothing_goes_back),
        cmocka_unit_test(test_the_maximal_isr_decides),
        cmocka_unit_test(test_who_is_only_proposed_makes_no_minimum),
        cmocka_unit_test(test_who_may_join),
        cmocka_unit_test(test_who_joins_has_flushed_what_was_promised),
        cmocka_unit_test(test_nobody_joins_before_the_leader_has_flushed),
        cmocka_unit_test(test_who_does_not_flush_is_not_waited_for_without_end),
        cmocka_unit_test(test_who_lags_leaves),
        cmocka_unit_test(test_who_is_silent_leaves),
        cmocka_unit_test(test_who_follows_a_moving_end_stays),
        cmocka_unit_test(test_a_full_disk_leaves_at_once),
    };
    return cmocka_run_group_tests_name("isr", tests, NULL, NULL);
}
