/* tests/unit/test_election.c: who leads a partition, who is in sync, who is eligible. The stories are KIP-966's,
 * KIP-841's and docs/REPLICATION.md's; each letter is a node. */
#include "replication/metadata/election.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Nodes 1 … 5 by what they are: 'L' lives, 'S' is shutting down, '-' is fenced. */
static bool lives(const void *arg, int32_t node)
{
    return ((const char *)arg)[node - 1] != '-';
}

static bool stays(const void *arg, int32_t node)
{
    return ((const char *)arg)[node - 1] == 'L';
}

static struct election_nodes nodes(const char *what)
{
    return (struct election_nodes){lives, stays, what};
}

static struct replica_set set(const char *ids)
{
    struct replica_set out = {0};
    for (; *ids != '\0'; ids++)
        assert_true(replica_set_add(&out, *ids - '0'));
    return out;
}

static void is_set(const struct replica_set *seen, const char *expected)
{
    char text[LIMIT_REPLICA_SET + 1];
    for (int32_t i = 0; i < seen->count; i++)
        text[i] = (char)('0' + seen->ids[i]);
    text[seen->count] = '\0';
    assert_string_equal(text, expected);
}

static struct partition_registration partition(const char *replicas, const char *isr, int32_t leader)
{
    return (struct partition_registration){.replicas = set(replicas), .isr = set(isr), .leader = leader};
}

static const struct election_rules one = {.min_insync_replicas = 1}, two = {.min_insync_replicas = 2};

static void nothing_to_do(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "123", 1), out;
    struct election_nodes all = nodes("LLL");
    assert_false(election_settle(&part, &all, &two, &out));
    assert_true(partition_registration_equal(&part, &out));
}

static void a_dead_leader_is_followed_by_the_next_of_the_isr(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "13", 1), out;
    struct election_nodes left = nodes("-LL");
    assert_true(election_settle(&part, &left, &one, &out));
    assert_int_equal(out.leader, 3);
    is_set(&out.isr, "3");
    is_set(&out.elr, "");
}

static void a_dead_follower_leaves_the_isr_and_the_leader_stays(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "123", 1), out;
    struct election_nodes left = nodes("LL-");
    assert_true(election_settle(&part, &left, &two, &out));
    assert_int_equal(out.leader, 1);
    is_set(&out.isr, "12");
    is_set(&out.elr, "");
}

/* KIP-966: below min.insync.replicas nothing is committed, so who leaves then has all that ever was. */
static void below_the_minimum_who_leaves_stays_eligible(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "12", 1), out, later;
    struct election_nodes left = nodes("L-L"), none = nodes("--L"), back = nodes("-LL");
    assert_true(election_settle(&part, &left, &two, &out));
    is_set(&out.isr, "1");
    is_set(&out.elr, "2");
    assert_true(election_settle(&out, &none, &two, &later));
    assert_int_equal(later.leader, LEADER_NONE);
    is_set(&later.isr, "");
    is_set(&later.elr, "21");
    part = later;
    assert_true(election_settle(&part, &back, &two, &out));
    assert_int_equal(out.leader, 2);
    is_set(&out.isr, "2");
    is_set(&out.elr, "1");
}

static void the_last_member_of_an_isr_is_waited_for(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "1", 1), out, back;
    struct election_nodes left = nodes("-LL"), all = nodes("LLL");
    assert_true(election_settle(&part, &left, &one, &out));
    assert_int_equal(out.leader, LEADER_NONE);
    is_set(&out.elr, "1");
    assert_true(election_settle(&out, &all, &one, &back));
    assert_int_equal(back.leader, 1);
    is_set(&back.isr, "1");
}

static void unclean_elections_are_among_those_that_live_and_only_when_allowed(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "1", 1), out;
    struct election_rules unclean = {.min_insync_replicas = 1, .unclean = true};
    struct election_nodes left = nodes("-LL"), back = nodes("LLL"), none = nodes("---");
    struct replica_set asked;
    assert_false(election_needs_unclean(&part, &left, &unclean, &asked)); /* it has a leader, as far as is decided */
    assert_true(election_settle(&part, &left, &unclean, &out));
    assert_int_equal(out.leader, LEADER_NONE);
    assert_true(election_needs_unclean(&out, &left, &unclean, &asked));
    is_set(&asked, "23");
    assert_false(election_needs_unclean(&out, &left, &one, &asked));
    assert_false(election_needs_unclean(&out, &none, &unclean, &asked));
    assert_false(election_needs_unclean(&out, &back, &unclean, &asked)); /* who has all of it is back */
}

/* KIP-841's and Kafka's controlled shutdown: leadership goes first, then the place in the ISR. */
static void a_leader_that_shuts_down_hands_over(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "123", 1), alone = partition("1", "1", 1), out;
    struct election_nodes stopping = nodes("SLL");
    assert_true(election_settle(&part, &stopping, &two, &out));
    assert_int_equal(out.leader, 2);
    is_set(&out.isr, "23");
    assert_false(election_settle(&alone, &stopping, &one, &out));
    assert_int_equal(out.leader, 1);
}

static void an_unclean_stop_strikes_from_isr_and_eligible(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "1", 1), out, all;
    struct election_nodes none = nodes("---");
    part.elr = set("2");
    assert_true(election_settle(&part, &none, &two, &out));
    is_set(&out.elr, "21");
    part = out;
    /* Both had all that was committed, and neither knows whether it still has: both have to be heard. */
    part.isr = set("1");
    part.elr = set("2");
    assert_true(election_forget(&part, 1, false, &out));
    is_set(&out.isr, "");
    is_set(&out.last_isr, "1");
    assert_true(election_forget(&out, 2, false, &all));
    is_set(&all.elr, "");
    is_set(&all.last_isr, "12");
    assert_true(election_needs_last_isr(&all));
    election_appoint(&all, 1, &out);
    assert_int_equal(out.leader, 1);
    is_set(&out.isr, "1");
    is_set(&out.last_isr, "2"); /* it may yet have what 1 loses before anybody follows it */
}

/* REPLICATION.md, rule 11: a power cut of all does not elect whoever registered last. Who has not come back yet still
 * looks alive and in sync, is elected, and turns out to have stopped uncleanly, too. */
static void who_is_elected_before_it_is_heard_of_settles_nothing(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "12", 1), one_back, elected, both_back;
    struct election_nodes all = nodes("LLL");
    assert_true(election_forget(&part, 1, false, &one_back));
    assert_true(election_settle(&one_back, &all, &one, &elected));
    assert_int_equal(elected.leader, 2);
    assert_true(election_forget(&elected, 2, false, &both_back));
    assert_true(election_needs_last_isr(&both_back));
    is_set(&both_back.last_isr, "12");
}

static void a_leader_with_enough_others_in_sync_settles_what_was_feared(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "2", 2), out;
    struct replica_set alone = set("2"), more = set("23");
    part.last_isr = set("1");
    election_set_isr(&part, &alone, &one, &out);
    is_set(&out.last_isr, "1");
    election_set_isr(&part, &more, &two, &out);
    is_set(&out.last_isr, "");
}

static void another_disk_is_no_member_of_the_last_isr(void **state)
{
    (void)state;
    struct partition_registration part = partition("12", "", LEADER_NONE), out;
    part.last_isr = set("12");
    assert_true(election_forget(&part, 2, true, &out));
    is_set(&out.last_isr, "1");
}

static void who_is_damaged_resigns_where_others_have_it_all(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "123", 1), out;
    struct election_nodes all = nodes("LLL");
    part.leader_epoch = 4;
    assert_true(election_resign(&part, 1, &all, &two, &out)); /* the leader */
    assert_int_equal(out.leader, 2);
    assert_int_equal(out.leader_epoch, 5);
    is_set(&out.isr, "23");
    assert_true(election_resign(&part, 3, &all, &two, &out)); /* a follower: the leader forgets what it knew */
    assert_int_equal(out.leader, 1);
    assert_int_equal(out.leader_epoch, 5);
    is_set(&out.isr, "12");
    part = partition("123", "12", 1);
    assert_true(election_resign(&part, 3, &all, &two, &out)); /* one that is in no set */
    is_set(&out.isr, "12");
    assert_int_equal(out.leader_epoch, 1);
    part = partition("123", "1", 1);
    part.elr = set("2");
    assert_false(election_resign(&part, 1, &all, &two, &out)); /* the only one in sync */
    part = partition("123", "", LEADER_NONE);
    part.last_isr = set("13");
    assert_true(election_resign(&part, 3, &all, &two, &out)); /* the last ISR waits for it no more */
    is_set(&out.last_isr, "1");
    part.last_isr = set("3");
    assert_false(election_resign(&part, 3, &all, &two, &out));
}

static void who_cannot_write_withdraws_where_others_can_go_on(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "123", 1), out;
    struct election_nodes all = nodes("LLL"), no_second = nodes("L-L"), alone = nodes("L--");
    part.leader_epoch = 4;
    assert_true(election_withdraw(&part, 1, &all, &two, &out)); /* the leader */
    assert_int_equal(out.leader, 2);
    assert_int_equal(out.leader_epoch, 5);
    is_set(&out.isr, "23");
    is_set(&out.last_isr, "");
    assert_true(election_withdraw(&part, 1, &no_second, &two, &out));
    assert_int_equal(out.leader, 3);
    is_set(&out.isr, "3");
    is_set(&out.elr, "2");
    is_set(&out.last_isr, "1");
    assert_false(election_withdraw(&part, 1, &alone, &two, &out)); /* nobody else could */
    assert_true(election_withdraw(&part, 3, &all, &two, &out));    /* a follower: the leader forgets what it knew */
    assert_int_equal(out.leader, 1);
    assert_int_equal(out.leader_epoch, 5);
    is_set(&out.isr, "12");
    is_set(&out.last_isr, "");

    /* Its disk may have lost what is committed: it is not eligible. */
    part = partition("123", "12", 1);
    assert_true(election_withdraw(&part, 2, &all, &two, &out));
    assert_int_equal(out.leader, 1);
    is_set(&out.isr, "1");
    is_set(&out.elr, "");
    is_set(&out.last_isr, "2");

    part = partition("123", "12", 1);
    assert_true(election_withdraw(&part, 2, &all, &one, &out)); /* what is committed from here on it does not have */
    is_set(&out.isr, "1");
    is_set(&out.last_isr, "");

    part = partition("123", "12", 1);
    assert_false(election_withdraw(&part, 3, &all, &two, &out)); /* in no set */
    part = partition("123", "1", 1);
    assert_false(election_withdraw(&part, 1, &all, &two, &out)); /* what it has may be nowhere else */
    part.elr = set("2");
    assert_true(election_withdraw(&part, 1, &all, &two, &out)); /* KIP-966: the other has all that was committed */
    assert_int_equal(out.leader, 2);
    is_set(&out.isr, "2");
    is_set(&out.last_isr, "1");

    struct election_rules unclean = {.min_insync_replicas = 2, .unclean = true};
    part = partition("123", "12", 1);
    assert_false(election_withdraw(&part, 1, &alone, &unclean, &out));
}

static void a_leaders_change_of_the_isr(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "123", 1), shrunk, grown;
    struct replica_set isr = set("1"), both = set("13");
    election_set_isr(&part, &isr, &two, &shrunk);
    is_set(&shrunk.isr, "1");
    is_set(&shrunk.elr, "23");
    election_set_isr(&shrunk, &both, &two, &grown);
    is_set(&grown.isr, "13");
    is_set(&grown.elr, "");
}

static void the_preferred_replica_leads_again_once_it_is_in_sync(void **state)
{
    (void)state;
    struct partition_registration part = partition("123", "23", 2), out;
    struct election_nodes all = nodes("LLL");
    assert_false(election_prefer(&part, &all, &two, &out));
    part.isr = set("231");
    assert_true(election_prefer(&part, &all, &two, &out));
    assert_int_equal(out.leader, 1);
    is_set(&out.isr, "231");
}

static void a_move_ends_when_the_target_is_in_sync(void **state)
{
    (void)state;
    struct partition_registration part = partition("1234", "12", 1), out;
    struct election_nodes all = nodes("LLLL");
    part.target = set("34");
    assert_false(election_settle(&part, &all, &one, &out));
    part.isr = set("1234");
    assert_true(election_settle(&part, &all, &one, &out));
    is_set(&out.replicas, "34");
    is_set(&out.isr, "34");
    is_set(&out.target, "");
    assert_int_equal(out.leader, 3);
}

static struct replica_set set_of(int count, const int32_t *ids)
{
    struct replica_set set = {0};
    for (int i = 0; i < count; i++)
        replica_set_add(&set, ids[i]);
    return set;
}

#define SET(...) set_of((int)(sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)), (int32_t[]){__VA_ARGS__})

/* Adding comes first: nobody goes before all that shall be there are in sync. */
static void a_move_adds_first_and_drops_what_nothing_depends_on(void **state)
{
    (void)state;
    struct partition_registration part = {.replicas = SET(1, 2, 3),
                                          .isr = SET(1, 2),
                                          .leader = 1,
                                          .leader_epoch = 4,
                                          .partition_epoch = 9},
                                  out;
    struct replica_set target = SET(2, 4), added = SET(1, 2, 4);
    assert_true(election_move(&part, &target, &out));
    assert_true(replica_set_equal(&out.replicas, &added));
    assert_true(replica_set_equal(&out.target, &target));
    assert_true(replica_set_equal(&out.isr, &part.isr));
    assert_int_equal(out.leader, 1);
}

static void a_move_that_is_taken_back_is_over_at_once(void **state)
{
    (void)state;
    struct partition_registration part = {.replicas = SET(1, 2, 5, 6),
                                          .target = SET(5, 6),
                                          .isr = SET(1, 2),
                                          .leader = 1},
                                  out;
    struct replica_set back = SET(1, 2);
    assert_true(election_move(&part, &back, &out));
    assert_true(replica_set_equal(&out.replicas, &back));
    assert_int_equal(out.target.count, 0);
}

static void another_order_is_no_move(void **state)
{
    (void)state;
    struct partition_registration part = {.replicas = SET(1, 2, 3), .isr = SET(1, 2, 3), .leader = 1}, out;
    struct replica_set order = SET(3, 1, 2);
    assert_true(election_move(&part, &order, &out));
    assert_true(replica_set_equal(&out.replicas, &order));
    assert_int_equal(out.target.count, 0);
    assert_int_equal(out.leader, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(a_dead_leader_is_followed_by_the_next_of_the_isr),
        cmocka_unit_test(a_dead_follower_leaves_the_isr_and_the_leader_stays),
        cmocka_unit_test(below_the_minimum_who_leaves_stays_eligible),
        cmocka_unit_test(the_last_member_of_an_isr_is_waited_for),
        cmocka_unit_test(unclean_elections_are_among_those_that_live_and_only_when_allowed),
        cmocka_unit_test(a_leader_that_shuts_down_hands_over),
        cmocka_unit_test(an_unclean_stop_strikes_from_isr_and_eligible),
        cmocka_unit_test(who_is_elected_before_it_is_heard_of_settles_nothing),
        cmocka_unit_test(a_leader_with_enough_others_in_sync_settles_what_was_feared),
        cmocka_unit_test(another_disk_is_no_member_of_the_last_isr),
        cmocka_unit_test(who_is_damaged_resigns_where_others_have_it_all),
        cmocka_unit_test(who_cannot_write_withdraws_where_others_can_go_on),
        cmocka_unit_test(a_leaders_change_of_the_isr),
        cmocka_unit_test(the_preferred_replica_leads_again_once_it_is_in_sync),
        cmocka_unit_test(a_move_ends_when_the_target_is_in_sync),
        cmocka_unit_test(a_move_adds_first_and_drops_what_nothing_depends_on),
        cmocka_unit_test(a_move_that_is_taken_back_is_over_at_once),
        cmocka_unit_test(another_order_is_no_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
