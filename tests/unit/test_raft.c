/* The quorum's machine: who stands, who votes, who begins. Events against actions. */
#include "replication/metadata/raft.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/raft_fixture.h"

#define GIVES(call, expected) assert_string_equal(call, expected)

/* ---- one voter ---- */

static void test_a_lone_node_begins_a_cluster_leads_and_decides(void **state)
{
    (void)state;
    struct machine m;
    struct raft_voters alone = voters(1, 0, 0, 0, 0);
    machine_init(&m, 1, 1);
    GIVES(start(&m), "bootstrap(1)");
    GIVES(voters_record(&m, 0, 0, alone, alone), "role(unattached)");
    m.flushed = m.end;
    assert_int_equal(raft_deadline_ms(&m.raft), m.now_ms);
    GIVES(tick(&m, 0), "persist(1,1,1) lead(1) role(leader)");
    GIVES(leader_record(&m, 1), "");
    assert_false(raft_may_answer(&m.raft));
    GIVES(flushed(&m), "decided(2)");
    assert_true(raft_may_answer(&m.raft));
    commands(&m, 1, 3);
    GIVES(flushed(&m), "decided(5)");
    machine_free(&m);
}

static void test_each_start_of_a_lone_voter_is_a_new_epoch(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 1);
    machine_state(&m, 7, 1, 1);
    machine_log(&m, 20, 7, voters(1, 0, 0, 0, 0));
    GIVES(start(&m), "persist(8,1,1) lead(8) role(leader)");
    machine_free(&m);
}

static void test_a_log_of_a_version_without_voters_is_of_one(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    m.end = m.flushed = 9;
    m.end_epoch = 4;
    machine_state(&m, 6, 0, 0);
    GIVES(start(&m), "bootstrap(2) find>1 find>3");
    /* Epochs 5 and 6 began and have no records. */
    assert_int_equal(m.actions.actions[0].append.epoch, 6);
    machine_free(&m);
}

/* ---- an election ---- */

static void test_an_election_from_the_timeout_on(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 0, voters(1, 2, 3, 0, 0));
    GIVES(start(&m), "find>1 find>3 role(unattached)");
    GIVES(tick(&m, RAFT_ELECTION_MIN_MS), "prevote>1 prevote>3 role(prospective)");
    GIVES(vote_answer(&m, true, 3, 0, true, 0), "persist(1,2,0) vote>1 vote>3 role(candidate)");
    GIVES(vote_answer(&m, false, 1, 1, true, 0), "persist(1,2,2) lead(1) begin>1 begin>3 role(leader)");
    /* The third one's vote changes nothing any more. */
    GIVES(vote_answer(&m, false, 3, 1, true, 0), "");
    machine_free(&m);
}

static void test_an_old_rounds_pre_vote_does_not_count(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 0, voters(1, 2, 3, 0, 0));
    start(&m);
    tick(&m, RAFT_ELECTION_MIN_MS);
    m.raft.round--; /* what vote_answer() puts in */
    struct raft_message old = {.type = RAFT_VOTE_ANSWER, .from = server(1), .to = server(2)};
    old.vote_answer.pre = old.vote_answer.granted = true;
    old.vote_answer.round = m.raft.round;
    m.raft.round++;
    GIVES(message(&m, &old), "");
    /* Nor does one of another incarnation. */
    old.vote_answer.round = m.raft.round;
    old.from.incarnation = 7;
    GIVES(message(&m, &old), "");
    machine_free(&m);
}

static void test_a_failed_election_begins_with_pre_votes_again(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 0, voters(1, 2, 3, 0, 0));
    start(&m);
    tick(&m, RAFT_ELECTION_MIN_MS);
    vote_answer(&m, true, 3, 0, true, 0);
    assert_int_equal(m.raft.role, RAFT_CANDIDATE);
    assert_int_equal(m.raft.elections, 1);
    GIVES(vote_answer(&m, false, 1, 1, false, 0), "");
    GIVES(vote_answer(&m, false, 3, 1, false, 0), "");
    GIVES(tick(&m, RAFT_RETRY_MS), "prevote>1 prevote>3 role(prospective)");
    assert_int_equal(m.raft.state.epoch, 1);
    assert_int_equal(m.raft.elections, 1); /* a pre-vote is none */
    machine_free(&m);
}

static void test_a_refusal_brings_the_refusers_epoch(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 0, voters(1, 2, 3, 0, 0));
    start(&m);
    tick(&m, RAFT_ELECTION_MIN_MS);
    GIVES(vote_answer(&m, true, 3, 6, false, 0), "persist(6,0,0) role(unattached)");
    machine_free(&m);
}

static void test_a_refusal_names_the_leader(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 0, voters(1, 2, 3, 0, 0));
    machine_state(&m, 4, 0, 0);
    start(&m);
    tick(&m, RAFT_ELECTION_MIN_MS);
    GIVES(vote_answer(&m, true, 3, 4, false, 1), "persist(4,0,1) role(follower)");
    /* It has not heard of it itself, and tells nobody. */
    assert_int_equal(raft_leader(&m.raft).node, 0);
    assert_int_equal(raft_fetch_from(&m.raft).node, 1);
    GIVES(fetch_answer(&m, 1, 4, RAFT_FETCH_OK, 3), "decided(3)");
    assert_int_equal(raft_leader(&m.raft).node, 1);
    machine_free(&m);
}

/* ---- votes: the state of a voter of 1 2 3 whose log ends at 5 in epoch 2, and what it answers ---- */

struct vote_case {
    const char *what;
    int32_t epoch, vote, leader; /* persisted */
    bool pre;
    int32_t from, asked_epoch, end_epoch;
    int64_t end_offset;
    const char *expected;
};

static const struct vote_case votes[] = {
    {"a first vote", 2, 0, 0, false, 1, 3, 2, 5, "persist(3,1,0) yes>1"},
    {"the same again", 3, 1, 0, false, 1, 3, 2, 5, "yes>1"},
    {"another has it", 3, 1, 0, false, 3, 3, 2, 5, "no>3"},
    {"there is a leader in that epoch", 3, 0, 1, false, 3, 3, 2, 5, "no>3"},
    {"an old epoch", 4, 0, 0, false, 1, 3, 2, 5, "no>1"},
    {"a shorter log", 2, 0, 0, false, 1, 3, 2, 4, "persist(3,0,0) no>1"},
    {"a longer log of an older epoch", 2, 0, 0, false, 1, 3, 1, 9, "persist(3,0,0) no>1"},
    {"a shorter log of a newer epoch", 2, 0, 0, false, 1, 4, 3, 1, "persist(4,1,0) yes>1"},
    {"one that is no voter here", 2, 0, 0, false, 9, 3, 2, 5, "persist(3,9,0) yes>9"},
    {"a pre-vote raises nothing", 2, 1, 0, true, 3, 2, 2, 5, "preyes>3"},
    {"a pre-vote of an old epoch", 2, 0, 0, true, 3, 1, 2, 5, "preno>3"},
    {"a pre-vote with a shorter log", 2, 0, 0, true, 3, 2, 2, 4, "preno>3"},
    {"a pre-vote of a newer epoch", 2, 1, 0, true, 3, 6, 2, 5, "persist(6,0,0) preyes>3"},
};

static void test_votes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof votes / sizeof *votes; i++) {
        const struct vote_case *c = &votes[i];
        struct machine m;
        machine_init(&m, 2, 3);
        machine_state(&m, c->epoch, c->vote, c->leader);
        machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
        start(&m);
        vote(&m, c->pre, c->from, c->asked_epoch, c->end_epoch, c->end_offset);
        /* The role stays what it is; a new epoch is told of. */
        const char *with_role = strstr(m.text, " role(unattached)");
        char text[256];
        snprintf(text, sizeof text, "%.*s", with_role == NULL ? (int)strlen(m.text) : (int)(with_role - m.text),
                 m.text);
        if (strcmp(text, c->expected) != 0)
            fail_msg("%s: %s, not %s", c->what, text, c->expected);
        machine_free(&m);
    }
}

static void test_a_vote_is_for_one_incarnation(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    start(&m);
    struct raft_message msg = {.type = RAFT_VOTE, .from = server(1), .to = {2, 77}, .epoch = 5};
    msg.vote.end_epoch = 2;
    msg.vote.end_offset = 5;
    GIVES(message(&m, &msg), "no>1");
    machine_free(&m);
}

static void test_who_knows_no_voters_votes_when_it_is_named(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 3, 3);
    GIVES(start(&m), "find>1 find>2");
    GIVES(vote(&m, true, 1, 0, 0, 1), "preyes>1");
    GIVES(vote(&m, false, 1, 1, 0, 1), "persist(1,1,0) yes>1 role(observer)");
    machine_free(&m);
}

static void test_who_has_a_leader_refuses_pre_votes(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    machine_state(&m, 2, 0, 0);
    start(&m);
    GIVES(begin(&m, 1, 3), "persist(3,0,1) begun>1 role(follower)");
    GIVES(vote(&m, true, 3, 3, 3, 9), "preno>3");
    /* As long as its timeout. */
    GIVES(tick(&m, RAFT_ELECTION_MIN_MS), "prevote>1 prevote>3 role(prospective)");
    GIVES(vote(&m, true, 3, 3, 3, 9), "preyes>3");
    /* Or until it answers. */
    GIVES(fetch_answer(&m, 1, 3, RAFT_FETCH_OK, 0), "role(follower)");
    GIVES(vote(&m, true, 3, 3, 3, 9), "preno>3");
    machine_free(&m);
}

/* ---- the leader's end ---- */

static void test_a_leader_that_is_known_to_be_dead_is_not_waited_for(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 3, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    machine_state(&m, 2, 0, 0);
    start(&m);
    about(&m, RAFT_EVENT_CONNECTED, 1);
    about(&m, RAFT_EVENT_CONNECTED, 2);
    begin(&m, 1, 3);
    GIVES(about(&m, RAFT_EVENT_GONE, 1), "role(follower)");
    /* The second of those that are left: after one step of the stagger. */
    assert_int_equal(raft_deadline_ms(&m.raft), m.now_ms + RAFT_STAGGER_MS);
    GIVES(vote(&m, true, 2, 3, 2, 5), "preyes>2");
    GIVES(tick(&m, RAFT_STAGGER_MS), "");
    GIVES(tick(&m, RAFT_RETRY_MS), "prevote>1 prevote>2 role(prospective)");
    machine_free(&m);
}

static void test_a_connection_that_is_lost_is_no_death(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 3, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    start(&m);
    begin(&m, 1, 3);
    GIVES(about(&m, RAFT_EVENT_LOST, 1), "");
    assert_int_equal(raft_deadline_ms(&m.raft), m.now_ms + RAFT_ELECTION_MIN_MS);
    GIVES(vote(&m, true, 2, 3, 2, 5), "preno>2");
    machine_free(&m);
}

static void test_one_voters_firewall_deposes_nobody(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    start(&m);
    about(&m, RAFT_EVENT_CONNECTED, 1);
    about(&m, RAFT_EVENT_CONNECTED, 3);
    begin(&m, 1, 3);
    about(&m, RAFT_EVENT_GONE, 1);
    GIVES(tick(&m, 0), "prevote>1 prevote>3 role(prospective)");
    GIVES(vote_answer(&m, true, 3, 3, false, 1), "");
    GIVES(vote_answer(&m, true, 1, 3, false, 1), "role(follower)");
    assert_int_equal(m.raft.state.epoch, 3);
    machine_free(&m);
}

static void test_who_the_leader_names_first_stands_at_once(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 3, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    start(&m);
    begin(&m, 1, 3);
    GIVES(end(&m, 1, 3, 3, 2), "ended>1 role(follower)");
    /* The others may not have heard of the end, and would refuse a pre-vote. */
    GIVES(tick(&m, 0), "persist(4,3,0) vote>1 vote>2 role(candidate)");
    machine_free(&m);
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    start(&m);
    begin(&m, 1, 3);
    GIVES(end(&m, 1, 3, 3, 2), "ended>1 role(follower)");
    GIVES(tick(&m, 0), "");
    GIVES(tick(&m, RAFT_STAGGER_MS), "prevote>1 prevote>3 role(prospective)");
    machine_free(&m);
}

static void test_a_call_to_stand_is_over_with_its_epoch_and_not_for_who_stops(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 3, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    start(&m);
    begin(&m, 1, 3);
    end(&m, 1, 3, 3, 2);
    begin(&m, 2, 4);
    about(&m, RAFT_EVENT_CONNECTED, 1);
    about(&m, RAFT_EVENT_GONE, 2);
    GIVES(tick(&m, RAFT_STAGGER_MS), "prevote>1 prevote>2 role(prospective)");
    machine_free(&m);
    machine_init(&m, 3, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    start(&m);
    begin(&m, 1, 3);
    at_offset(&m, RAFT_EVENT_STOP, 0);
    end(&m, 1, 3, 3, 2);
    GIVES(tick(&m, INT64_C(2) * RAFT_ELECTION_MAX_MS), "");
    machine_free(&m);
}

/* ---- a start ---- */

static void test_a_voter_stands_when_a_majority_is_connected(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_state(&m, 2, 0, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    GIVES(start(&m), "find>2 find>3 role(unattached)");
    assert_true(raft_deadline_ms(&m.raft) > m.now_ms);
    GIVES(about(&m, RAFT_EVENT_CONNECTED, 2), "find>2");
    GIVES(tick(&m, 0), "prevote>2 prevote>3 role(prospective)");
    machine_free(&m);
}

static void test_a_restarted_leader_has_resigned(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_state(&m, 2, 1, 1);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    GIVES(start(&m), "find>2 find>3 role(resigned)");
    GIVES(fetch(&m, 2, 2, 5, 5), "notleader>2");
    GIVES(vote(&m, false, 2, 2, 2, 9), "no>2");
    machine_free(&m);
}

/* ---- a cluster's beginning ---- */

static void test_the_lowest_node_begins_when_all_are_empty(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 4);
    GIVES(start(&m), "find>2 find>3 find>4");
    GIVES(find_answer(&m, 2, 0, 0, true, 4), "");
    GIVES(find_answer(&m, 3, 0, 0, true, 4), "");
    GIVES(find_answer(&m, 4, 0, 0, true, 4), "bootstrap(1 2 3)");
    machine_free(&m);
}

static void test_nobody_begins_where_a_log_or_a_list_is_another(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    start(&m);
    find_answer(&m, 2, 0, 0, true, 3);
    GIVES(find_answer(&m, 3, 0, 0, false, 3), "");
    GIVES(find_answer(&m, 3, 0, 0, true, 2), "");
    /* What was said long ago is asked again. */
    GIVES(tick(&m, INT64_C(2) * RAFT_ELECTION_MIN_MS), "find>2 find>3");
    GIVES(find_answer(&m, 3, 0, 0, true, 3), "");
    GIVES(find_answer(&m, 2, 0, 0, true, 3), "bootstrap(1 2 3)");
    machine_free(&m);
    machine_init(&m, 2, 3);
    start(&m);
    find_answer(&m, 1, 0, 0, true, 3);
    GIVES(find_answer(&m, 3, 0, 0, true, 3), "");
    machine_free(&m);
}

static void test_an_empty_node_joins_the_cluster_that_it_finds(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    start(&m);
    find_answer(&m, 2, 0, 0, true, 3);
    GIVES(find_answer(&m, 3, 5, 3, false, 3), "persist(5,0,3) role(observer)");
    assert_int_equal(raft_fetch_from(&m.raft).node, 3);
    machine_free(&m);
}

static void test_what_was_said_to_an_earlier_process_begins_nothing(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 2);
    start(&m);
    struct raft_message msg = {.type = RAFT_FIND_ANSWER, .from = server(2), .to = server(1)};
    msg.find_answer.run = m.raft.run + 1;
    msg.find_answer.empty = true;
    msg.find_answer.peers = m.raft.config.peers;
    GIVES(message(&m, &msg), "");
    machine_free(&m);
}

/* ---- the quorum lost ---- */

static void test_a_quorum_is_made_anew(void **state)
{
    (void)state;
    struct machine m;
    struct raft_voters alone = voters(1, 0, 0, 0, 0);
    machine_init(&m, 1, 3);
    machine_state(&m, 4, 0, 3);
    machine_log(&m, 9, 4, voters(1, 2, 3, 0, 0));
    start(&m);
    GIVES(at_offset(&m, RAFT_EVENT_RECOVER, 0), "persist(1004,1,1) lead(1004) begin>2 begin>3 voters(1) role(leader)");
    leader_record(&m, 1004);
    voters_record(&m, 1004, 0, alone, alone);
    GIVES(flushed(&m), "decided(11)");
    machine_free(&m);
}

static uint32_t draw_seven(void *arg, uint32_t below)
{
    (void)arg;
    return 7 % below;
}

/* From the same past: what they append at the same offsets is told apart by its epoch. */
static void test_two_that_make_it_anew_do_so_in_two_epochs(void **state)
{
    (void)state;
    struct machine m[2];
    for (int i = 0; i < 2; i++) {
        machine_init(&m[i], 1 + i, 3);
        machine_state(&m[i], 4, 0, 3);
        machine_log(&m[i], 9, 4, voters(1, 2, 3, 0, 0));
        m[i].raft.config.random = i == 0 ? draw_zero : draw_seven;
        start(&m[i]);
        at_offset(&m[i], RAFT_EVENT_RECOVER, 0);
        assert_int_equal(m[i].raft.role, RAFT_LEADER);
        assert_int_equal(m[i].raft.state.epoch, 4 + RAFT_RECOVER_EPOCHS + (i == 0 ? 0 : 7));
        machine_free(&m[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lone_node_begins_a_cluster_leads_and_decides),
        cmocka_unit_test(test_each_start_of_a_lone_voter_is_a_new_epoch),
        cmocka_unit_test(test_a_log_of_a_version_without_voters_is_of_one),
        cmocka_unit_test(test_an_election_from_the_timeout_on),
        cmocka_unit_test(test_an_old_rounds_pre_vote_does_not_count),
        cmocka_unit_test(test_a_failed_election_begins_with_pre_votes_again),
        cmocka_unit_test(test_a_refusal_brings_the_refusers_epoch),
        cmocka_unit_test(test_a_refusal_names_the_leader),
        cmocka_unit_test(test_votes),
        cmocka_unit_test(test_a_vote_is_for_one_incarnation),
        cmocka_unit_test(test_who_knows_no_voters_votes_when_it_is_named),
        cmocka_unit_test(test_who_has_a_leader_refuses_pre_votes),
        cmocka_unit_test(test_a_leader_that_is_known_to_be_dead_is_not_waited_for),
        cmocka_unit_test(test_a_connection_that_is_lost_is_no_death),
        cmocka_unit_test(test_one_voters_firewall_deposes_nobody),
        cmocka_unit_test(test_who_the_leader_names_first_stands_at_once),
        cmocka_unit_test(test_a_call_to_stand_is_over_with_its_epoch_and_not_for_who_stops),
        cmocka_unit_test(test_a_voter_stands_when_a_majority_is_connected),
        cmocka_unit_test(test_a_restarted_leader_has_resigned),
        cmocka_unit_test(test_the_lowest_node_begins_when_all_are_empty),
        cmocka_unit_test(test_nobody_begins_where_a_log_or_a_list_is_another),
        cmocka_unit_test(test_an_empty_node_joins_the_cluster_that_it_finds),
        cmocka_unit_test(test_what_was_said_to_an_earlier_process_begins_nothing),
        cmocka_unit_test(test_a_quorum_is_made_anew),
        cmocka_unit_test(test_two_that_make_it_anew_do_so_in_two_epochs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
