/* The quorum's machine: what a leader counts, when it ends, and how voters change. Events against actions. */
#include "replication/metadata/raft.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/raft_fixture.h"

#define GIVES(call, expected) assert_string_equal(call, expected)

/* ---- what is decided ---- */

static void test_what_a_majority_has_flushed_is_decided(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    commands(&m, 1, 8);
    flushed(&m);
    /* It has all of it, but not on its disk. */
    GIVES(fetch(&m, 2, 1, 10, 1), "fetched(0)>2");
    GIVES(fetch(&m, 2, 1, 10, 6), "decided(6) fetched(6)>2");
    GIVES(fetch(&m, 3, 1, 10, 10), "decided(10) fetched(10)>3");
    machine_free(&m);
}

static void test_an_old_record_is_not_decided_by_counting(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_log(&m, 8, 4, voters(1, 2, 3, 0, 0));
    machine_state(&m, 4, 0, 0);
    start(&m);
    tick(&m, RAFT_ELECTION_MIN_MS);
    vote_answer(&m, true, 2, 4, true, 0);
    vote_answer(&m, false, 2, 5, true, 0);
    /* Two of three have all of the old log; the record of epoch 5 is at 8 and not flushed. */
    GIVES(fetch(&m, 2, 5, 8, 8), "fetched(0)>2");
    leader_record(&m, 5);
    GIVES(fetch(&m, 2, 5, 9, 8), "fetched(0)>2");
    GIVES(flushed(&m), "");
    assert_false(raft_may_answer(&m.raft));
    GIVES(fetch(&m, 2, 5, 9, 9), "decided(9) fetched(9)>2");
    assert_true(raft_may_answer(&m.raft));
    machine_free(&m);
}

static void test_a_late_fetch_moves_nothing_back(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    commands(&m, 1, 8);
    flushed(&m);
    fetch(&m, 2, 1, 10, 10);
    GIVES(fetch(&m, 2, 1, 3, 3), "fetched(10)>2");
    assert_int_equal(m.raft.replicas[0].flushed, 10);
    machine_free(&m);
}

static void test_another_incarnation_acknowledges_nothing(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    struct raft_message msg = {.type = RAFT_FETCH, .from = {2, 77}, .to = server(1), .epoch = 1};
    msg.fetch.offset = msg.fetch.flushed = 2;
    GIVES(message(&m, &msg), "fetched(0)>2");
    GIVES(fetch(&m, 2, 1, 2, 2), "decided(2) fetched(2)>2");
    machine_free(&m);
}

static void test_a_follower_goes_by_its_leader_as_far_as_its_log_goes(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 2, 3);
    machine_log(&m, 5, 2, voters(1, 2, 3, 0, 0));
    start(&m);
    begin(&m, 1, 3);
    GIVES(fetch_answer(&m, 1, 3, RAFT_FETCH_OK, 9), "decided(5)");
    GIVES(fetch_answer(&m, 1, 3, RAFT_FETCH_OK, 4), "");
    /* Not when it diverges: what it has may not be what was decided. */
    commands(&m, 3, 4);
    GIVES(fetch_answer(&m, 1, 3, RAFT_FETCH_DIVERGING, 9), "");
    machine_free(&m);
}

/* ---- the end ---- */

/* A fetch that says what its sender has heard. */
static void fetch_heard(struct machine *m, int32_t node, uint64_t heard)
{
    struct raft_message msg = from(m, RAFT_FETCH, node, 1);

    msg.fetch.offset = msg.fetch.flushed = 2;
    msg.fetch.heard = heard;
    message(m, &msg);
}

/* REPLICATION.md, rule 46: the lease of the controller's own node. */
static void test_what_lay_in_a_socket_carries_no_lease_on(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    int64_t led_ms = m.now_ms, sent_ms;
    m.now_ms += 100;
    fetch_heard(&m, 3, 0);
    assert_int_equal(raft_majority_fetched_ms(&m.raft), m.now_ms);
    assert_int_equal(raft_majority_heard_ms(&m.raft), led_ms);
    sent_ms = m.now_ms += 400;
    m.now_ms += 20;
    fetch_heard(&m, 3, (uint64_t)sent_ms);
    assert_int_equal(raft_majority_heard_ms(&m.raft), sent_ms);
    /* It stands still, and then reads what both had sent before they elected another one. */
    m.now_ms += 6000;
    fetch_heard(&m, 3, (uint64_t)sent_ms);
    fetch_heard(&m, 2, (uint64_t)sent_ms);
    assert_int_equal(raft_majority_fetched_ms(&m.raft), m.now_ms);
    assert_int_equal(raft_majority_heard_ms(&m.raft), sent_ms);
    /* Later ones do not take it back, and nobody hears what was not sent yet. */
    fetch_heard(&m, 3, (uint64_t)led_ms);
    fetch_heard(&m, 3, (uint64_t)m.now_ms + 1);
    assert_int_equal(raft_majority_heard_ms(&m.raft), sent_ms);
    /* Builds that do not say it count as they did. */
    fetch_heard(&m, 3, RAFT_HEARD_UNSAID);
    assert_int_equal(raft_majority_heard_ms(&m.raft), m.now_ms);
    machine_free(&m);
}

static void test_a_leader_that_nobody_fetches_from_resigns(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    fetch(&m, 3, 1, 2, 2);
    fetch(&m, 2, 1, 2, 1);
    m.now_ms += 600;
    fetch(&m, 3, 1, 2, 2);
    assert_int_equal(raft_majority_fetched_ms(&m.raft), m.now_ms);
    GIVES(tick(&m, RAFT_ELECTION_MIN_MS - 1), "begin>2 begin>3");
    GIVES(tick(&m, 1), "end[3 2]>3 end[3 2]>2 find>2 find>3 role(resigned)");
    GIVES(fetch(&m, 3, 1, 2, 2), "notleader>3");
    machine_free(&m);
}

static void test_a_clean_stop_hands_over_to_the_most_caught_up(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    fetch(&m, 2, 1, 2, 1);
    fetch(&m, 3, 1, 2, 2);
    GIVES(at_offset(&m, RAFT_EVENT_STOP, 0), "end[3 2]>3 end[3 2]>2 role(resigned)");
    /* It votes until it is gone, and stands no more. */
    GIVES(vote(&m, true, 3, 1, 1, 2), "preyes>3");
    GIVES(tick(&m, INT64_C(2) * RAFT_ELECTION_MAX_MS), "");
    GIVES(vote(&m, false, 3, 2, 1, 2), "persist(2,3,0) yes>3 role(unattached)");
    GIVES(tick(&m, INT64_C(2) * RAFT_ELECTION_MAX_MS), "");
    machine_free(&m);
}

static void test_a_leader_that_stops_waits_for_who_has_all_of_its_log(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    about(&m, RAFT_EVENT_CONNECTED, 2);
    about(&m, RAFT_EVENT_CONNECTED, 3);
    fetch(&m, 2, 1, 2, 2);
    fetch(&m, 3, 1, 2, 2);
    commands(&m, 1, 2);
    GIVES(at_offset(&m, RAFT_EVENT_STOP, 0), "");
    assert_true(raft_is_leaving(&m.raft));
    assert_int_equal(change(&m, voters(1, 0, 0, 0, 0)) == NULL ? 0 : m.rc, -EAGAIN); /* it appends no more */
    GIVES(fetch(&m, 2, 1, 3, 3), "fetched(2)>2");
    GIVES(fetch(&m, 3, 1, 4, 3), "decided(3) end[3 2]>3 end[3 2]>2 notleader>3 role(resigned)");
    assert_false(raft_is_leaving(&m.raft));
    machine_free(&m);
}

static void test_a_leader_that_stops_waits_for_nobody_who_is_away_and_not_for_ever(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    about(&m, RAFT_EVENT_CONNECTED, 3);
    fetch(&m, 2, 1, 2, 2); /* has all, but cannot be told */
    commands(&m, 1, 1);
    fetch(&m, 2, 1, 3, 3);
    fetch(&m, 3, 1, 2, 2);
    GIVES(at_offset(&m, RAFT_EVENT_STOP, 0), "");
    assert_true(raft_deadline_ms(&m.raft) <= m.now_ms + RAFT_LEAVE_MS);
    GIVES(tick(&m, RAFT_LEAVE_MS), "end[2 3]>2 end[2 3]>3 role(resigned)");
    machine_free(&m);
    machine_init(&m, 1, 3);
    machine_lead(&m);
    commands(&m, 1, 1);
    GIVES(at_offset(&m, RAFT_EVENT_STOP, 0), "end[2 3]>2 end[2 3]>3 role(resigned)");
    machine_free(&m);
}

static void test_a_leader_that_cannot_append_resigns(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    GIVES(at_offset(&m, RAFT_EVENT_APPEND_FAILED, 0), "end[2 3]>2 end[2 3]>3 role(resigned)");
    machine_free(&m);
}

/* Another one that has it all may be able to read it. */
static void test_a_leader_that_cannot_read_its_log_lets_another_lead(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    GIVES(at_offset(&m, RAFT_EVENT_UNREADABLE, 0), "");
    fetch(&m, 2, 1, 2, 2);
    about(&m, RAFT_EVENT_LOST, 2);
    GIVES(at_offset(&m, RAFT_EVENT_UNREADABLE, 0), "");
    fetch(&m, 2, 1, 2, 2);
    GIVES(at_offset(&m, RAFT_EVENT_UNREADABLE, 0), "end[2 3]>2 end[2 3]>3 role(resigned)");
    machine_free(&m);
}

static void test_a_higher_epoch_ends_a_leader(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    GIVES(fetch(&m, 2, 3, 2, 2), "persist(3,0,0) notleader>2 role(unattached)");
    machine_free(&m);
}

/* ---- voters ---- */

/* Node 1 alone, leader of epoch 1, with the observers 2 and 3 at its end. */
static void lead_alone(struct machine *m)
{
    machine_init(m, 1, 1);
    machine_log(m, 1, 0, voters(1, 0, 0, 0, 0));
    start(m);
    leader_record(m, 1);
    flushed(m);
    fetch(m, 2, 1, 2, 2);
    fetch(m, 3, 1, 2, 2);
}

static void test_one_voter_grows_to_three_in_two_steps(void **state)
{
    (void)state;
    struct machine m;
    struct raft_voters one = voters(1, 2, 0, 0, 0), all = voters(1, 2, 3, 0, 0);
    lead_alone(&m);
    GIVES(change(&m, all), "voters(1 2->1 2 3)");
    assert_int_equal(m.rc, 0);
    /* In force at once: it needs the new one's disk. */
    GIVES(voters_record(&m, 1, 0, one, all), "");
    GIVES(flushed(&m), "");
    GIVES(change(&m, all), "");
    assert_int_equal(m.rc, 0);
    GIVES(fetch(&m, 3, 1, 3, 3), "fetched(2)>3");
    /* Decided; the second step follows by itself. */
    GIVES(fetch(&m, 2, 1, 3, 3), "decided(3) voters(1 2 3) fetched(3)>2");
    GIVES(voters_record(&m, 1, 0, all, all), "");
    GIVES(flushed(&m), "");
    GIVES(fetch(&m, 3, 1, 4, 4), "decided(4) fetched(4)>3");
    machine_free(&m);
}

static void test_voters_that_cannot_be(void **state)
{
    (void)state;
    struct machine m;
    lead_alone(&m);
    change(&m, voters(1, 2, 0, 0, 0));
    assert_int_equal(m.rc, -EINVAL);
    /* Nobody has heard of 4; 3 was silent for too long. */
    GIVES(change(&m, voters(1, 2, 4, 0, 0)), "");
    assert_int_equal(m.rc, -EAGAIN);
    m.now_ms += RAFT_ELECTION_MIN_MS + 1;
    fetch(&m, 2, 1, 2, 2);
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "");
    assert_int_equal(m.rc, -EAGAIN);
    /* 3 is there and behind. */
    commands(&m, 1, 5);
    flushed(&m);
    fetch(&m, 3, 1, 2, 2);
    fetch(&m, 2, 1, 7, 7);
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "");
    assert_int_equal(m.rc, -EAGAIN);
    machine_free(&m);
}

static void test_no_change_before_a_record_of_the_own_epoch_is_decided(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    GIVES(change(&m, voters(1, 0, 0, 0, 0)), "");
    assert_int_equal(m.rc, -EAGAIN);
    fetch(&m, 2, 1, 2, 2);
    fetch(&m, 3, 1, 2, 2);
    GIVES(change(&m, voters(1, 0, 0, 0, 0)), "voters(1 3->1)");
    machine_free(&m);
}

static void test_who_is_not_there_goes_first_and_the_leader_last(void **state)
{
    (void)state;
    struct machine m;
    struct raft_voters two = voters(1, 2, 0, 0, 0), target = voters(2, 0, 0, 0, 0);
    machine_init(&m, 1, 3);
    machine_lead(&m);
    fetch(&m, 2, 1, 2, 2);
    GIVES(change(&m, target), "voters(1 2->2)");
    voters_record(&m, 1, 0, two, target);
    flushed(&m);
    GIVES(fetch(&m, 2, 1, 3, 3), "decided(3) voters(2) fetched(3)>2");
    voters_record(&m, 1, 0, target, target);
    flushed(&m);
    /* It does not count itself; decided, it ends. */
    GIVES(fetch(&m, 2, 1, 4, 4), "decided(4) end[2]>2 notleader>2 role(observer)");
    machine_free(&m);
}

static void test_a_replaced_disk_is_another_voter(void **state)
{
    (void)state;
    struct machine m;
    struct raft_voters without = voters(1, 2, 0, 0, 0), target = voters(1, 2, 0, 0, 0);
    struct raft_message msg = {.type = RAFT_FETCH, .from = {3, 77}, .to = server(1), .epoch = 1};
    raft_voters_add(&target, msg.from);
    machine_init(&m, 1, 3);
    machine_lead(&m);
    fetch(&m, 2, 1, 2, 2);
    msg.fetch.offset = msg.fetch.flushed = 2;
    message(&m, &msg);
    /* The same list names the new incarnation; the old one goes first. */
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "voters(1 2->1 2 3)");
    GIVES(voters_record(&m, 1, 0, without, target), "");
    flushed(&m);
    GIVES(fetch(&m, 2, 1, 3, 3), "decided(3) voters(1 2 3) fetched(3)>2");
    assert_int_equal(m.actions.actions[1].append.voters.ids[2].incarnation, 77);
    machine_free(&m);
}

/* Its successor has not fetched yet: to say that it is a voter would be to count on a disk that is gone. */
static void test_who_does_not_fetch_is_not_said_to_be_a_voter(void **state)
{
    (void)state;
    struct machine m;
    struct raft_message msg = {.type = RAFT_FETCH, .from = {3, 77}, .to = server(1), .epoch = 1};
    machine_init(&m, 1, 3);
    machine_lead(&m);
    fetch(&m, 2, 1, 2, 2);
    fetch(&m, 3, 1, 2, 2);
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "");
    assert_int_equal(m.rc, 0);
    about(&m, RAFT_EVENT_GONE, 3);
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "");
    assert_int_equal(m.rc, -EAGAIN);
    msg.fetch.offset = msg.fetch.flushed = 2;
    message(&m, &msg);
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "voters(1 2->1 2 3)");
    machine_free(&m);
}

/* A new leader, of which the old disk's voter has heard nothing. */
static void test_who_has_not_fetched_yet_is_not_said_to_be_a_voter(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    fetch(&m, 2, 1, 2, 2);
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "");
    assert_int_equal(m.rc, -EAGAIN);
    machine_free(&m);
}

/* That the way to them goes on says nothing of those who were voters before. */
static void test_who_is_gone_is_not_said_to_be_a_voter_on_the_way(void **state)
{
    (void)state;
    struct machine m;
    struct raft_voters four = voters(1, 2, 3, 4, 0), target = voters(1, 2, 3, 4, 5);
    machine_init(&m, 1, 5);
    machine_lead(&m);
    for (int32_t node = 2; node <= 5; node++)
        fetch(&m, node, 1, 2, 2);
    GIVES(change(&m, target), "voters(1 2 3 4->1 2 3 4 5)");
    voters_record(&m, 1, 0, four, target);
    flushed(&m);
    GIVES(change(&m, target), "");
    assert_int_equal(m.rc, 0);
    about(&m, RAFT_EVENT_GONE, 3);
    GIVES(change(&m, target), "");
    assert_int_equal(m.rc, -EAGAIN);
    /* It goes on without being asked. */
    fetch(&m, 2, 1, 3, 3);
    GIVES(fetch(&m, 4, 1, 3, 3), "decided(3) voters(1 2 3 4 5) fetched(3)>4");
    machine_free(&m);
}

/* Each time that the one further off says what it has, more has been decided. */
static void under_load(struct machine *m, int rounds, int behind)
{
    for (int i = 0; i < rounds; i++) {
        commands(m, 1, 3);
        flushed(m);
        fetch(m, 2, 1, m->end, m->end);
        m->now_ms += 5;
        if (m->end - 3 * (int64_t)behind > 0)
            fetch(m, 3, 1, m->end - 3 * (int64_t)behind, m->end - 3 * (int64_t)behind);
    }
}

static void test_who_follows_decisions_that_never_end_is_caught_up(void **state)
{
    (void)state;
    struct machine m;
    machine_init(&m, 1, 3);
    machine_lead(&m);
    fetch(&m, 2, 1, 2, 2);
    under_load(&m, 400, 10);
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "");
    assert_int_equal(m.rc, 0);
    /* Who is further behind than an election's time is not. */
    under_load(&m, 600, 300);
    GIVES(change(&m, voters(1, 2, 3, 0, 0)), "");
    assert_int_equal(m.rc, -EAGAIN);
    machine_free(&m);
}

static void test_truncated_voters_are_those_before(void **state)
{
    (void)state;
    struct machine m;
    struct raft_voters two = voters(1, 2, 0, 0, 0), all = voters(1, 2, 3, 0, 0);
    machine_init(&m, 3, 3);
    machine_log(&m, 5, 2, two);
    start(&m);
    assert_int_equal(m.raft.role, RAFT_OBSERVER);
    begin(&m, 1, 3);
    /* In a batch behind two commands: at 7. */
    GIVES(voters_record(&m, 3, 2, all, all), "role(follower)");
    assert_int_equal(raft_voters(&m.raft)->count, 3);
    GIVES(truncated(&m, 7, 3), "role(observer)");
    assert_true(raft_voters_equal(raft_voters(&m.raft), &two));
    GIVES(truncated(&m, 5, 2), "");
    machine_free(&m);
}

static void test_who_leaves_may_be_the_only_one_that_can_win(void **state)
{
    (void)state;
    struct machine m;
    struct raft_voters two = voters(1, 2, 0, 0, 0), other = voters(2, 0, 0, 0, 0);
    machine_init(&m, 1, 2);
    machine_log(&m, 5, 2, two);
    machine_state(&m, 2, 1, 1);
    voters_record(&m, 2, 0, other, other);
    m.flushed = m.end;
    start(&m);
    assert_int_equal(m.raft.role, RAFT_RESIGNED);
    GIVES(tick(&m, RAFT_ELECTION_MIN_MS), "prevote>2 role(prospective)");
    GIVES(vote_answer(&m, true, 2, 2, true, 0), "persist(3,1,0) vote>2 role(candidate)");
    GIVES(vote_answer(&m, false, 2, 3, true, 0), "persist(3,1,1) lead(3) begin>2 role(leader)");
    machine_free(&m);
}

static void test_a_snapshot_brings_its_voters(void **state)
{
    (void)state;
    struct machine m;
    struct raft_change change_at = {.offset = 40, .voters = voters(1, 2, 3, 0, 0), .target = voters(1, 2, 3, 0, 0)};
    struct raft_event reset = {.type = RAFT_EVENT_RESET, .change = &change_at};
    machine_init(&m, 3, 3);
    start(&m);
    begin(&m, 1, 6);
    m.start = m.end = m.flushed = 50;
    m.end_epoch = 5;
    raft_step(&m.raft, m.now_ms, &reset, &m.actions);
    assert_int_equal(m.raft.role, RAFT_FOLLOWER);
    assert_int_equal(m.raft.high_watermark, 50);
    /* As of any offset from there on. */
    voters_record(&m, 6, 0, voters(1, 2, 0, 0, 0), voters(1, 2, 0, 0, 0));
    assert_int_equal(raft_history_at(&m.raft.voters, 50)->voters.count, 3);
    assert_int_equal(raft_history_at(&m.raft.voters, 51)->voters.count, 2);
    at_offset(&m, RAFT_EVENT_TRIMMED, 51);
    assert_int_equal(m.raft.voters.count, 1);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_majority_has_flushed_is_decided),
        cmocka_unit_test(test_an_old_record_is_not_decided_by_counting),
        cmocka_unit_test(test_a_late_fetch_moves_nothing_back),
        cmocka_unit_test(test_another_incarnation_acknowledges_nothing),
        cmocka_unit_test(test_a_follower_goes_by_its_leader_as_far_as_its_log_goes),
        cmocka_unit_test(test_what_lay_in_a_socket_carries_no_lease_on),
        cmocka_unit_test(test_a_leader_that_nobody_fetches_from_resigns),
        cmocka_unit_test(test_a_clean_stop_hands_over_to_the_most_caught_up),
        cmocka_unit_test(test_a_leader_that_stops_waits_for_who_has_all_of_its_log),
        cmocka_unit_test(test_a_leader_that_stops_waits_for_nobody_who_is_away_and_not_for_ever),
        cmocka_unit_test(test_a_leader_that_cannot_append_resigns),
        cmocka_unit_test(test_a_leader_that_cannot_read_its_log_lets_another_lead),
        cmocka_unit_test(test_a_higher_epoch_ends_a_leader),
        cmocka_unit_test(test_one_voter_grows_to_three_in_two_steps),
        cmocka_unit_test(test_voters_that_cannot_be),
        cmocka_unit_test(test_no_change_before_a_record_of_the_own_epoch_is_decided),
        cmocka_unit_test(test_who_is_not_there_goes_first_and_the_leader_last),
        cmocka_unit_test(test_a_replaced_disk_is_another_voter),
        cmocka_unit_test(test_who_does_not_fetch_is_not_said_to_be_a_voter),
        cmocka_unit_test(test_who_has_not_fetched_yet_is_not_said_to_be_a_voter),
        cmocka_unit_test(test_who_is_gone_is_not_said_to_be_a_voter_on_the_way),
        cmocka_unit_test(test_who_follows_decisions_that_never_end_is_caught_up),
        cmocka_unit_test(test_truncated_voters_are_those_before),
        cmocka_unit_test(test_who_leaves_may_be_the_only_one_that_can_win),
        cmocka_unit_test(test_a_snapshot_brings_its_voters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
