/* Members, who owns what, commits and resets, as a coordinator decides of them. */
#include "tests/unit/coordinator_fixture.h"

static void one_has_all_and_the_second_gets_half_when_it_is_given_up(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_shares(c, 1, 1, "0:1:0 1:1:0");
    assert_offsets(c, "0=0 1=0"); /* where it starts is committed */
    join(c, 2, 1);
    assert_shares(c, 1, 1, "0:1:0 1:1:0r");
    assert_shares(c, 2, 1, "");
    assert_true(commit(c, 1, 1, 1, 1, 4, true));
    assert_shares(c, 1, 1, "0:1:0");
    assert_shares(c, 2, 1, "1:2:4");
    assert_false(commit(c, 1, 1, 1, 1, 5, false)); /* fenced */
    assert_offsets(c, "0=0 1=4");
}

static void who_does_not_give_up_is_fenced_after_rebalance_timeout_ms(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    join(c, 2, 1);
    pass(c, 4999);
    assert_shares(c, 2, 1, "");
    assert_true(commit(c, 1, 1, 1, 1, 3, false)); /* until then it may commit what it still has */
    pass(c, 1);
    assert_shares(c, 2, 1, "1:2:3");
    assert_false(commit(c, 1, 1, 1, 1, 4, false));
    assert_true(commit(c, 1, 1, 0, 1, 4, false)); /* what it kept is not affected */
}

static void what_others_do_makes_no_commit_stale(void **state)
{
    struct cluster *c = *state;
    c->partitions = 4;
    join(c, 1, 1);
    for (uint64_t n = 2; n < 6; n++)
        join(c, 2, n);
    pass(c, 5000);
    leave(c, 2, 2);
    leave(c, 2, 3);
    assert_true(commit(c, 1, 1, 0, 1, 9, false));
    assert_offsets(c, "0=9 1=0 2=0 3=0");
}

static void another_coordinator_moves_nobody(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    join(c, 2, 1);
    assert_true(commit(c, 1, 1, 1, 1, 4, true));
    assert_true(commit(c, 1, 1, 0, 1, 2, false));
    move(c);
    assert_shares(c, 1, 1, "0:1:2");
    assert_shares(c, 2, 1, "1:2:4");
    assert_true(commit(c, 1, 1, 0, 1, 3, false));
    assert_false(commit(c, 1, 1, 1, 1, 5, false));
    /* Each node has a whole session from then on. */
    c->now_ms += 9000;
    begin(c);
    coordinator_heard(&c->core, 1, 7);
    end(c);
    coordinator_clear(&c->core);
    c->now_ms += 900;
    begin(c);
    end(c);
    coordinator_clear(&c->core);
    assert_true(is_member(c, 2, 1));
}

static void what_was_being_handed_over_goes_on_with_the_next_coordinator(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    join(c, 2, 1);
    assert_shares(c, 1, 1, "0:1:0 1:1:0r");
    move(c);
    assert_shares(c, 1, 1, "0:1:0 1:1:0r");
    pass(c, 5000);
    assert_shares(c, 1, 1, "0:1:0");
    assert_shares(c, 2, 1, "1:2:0");
}

/* The owner's end and the coordinator's fall together: the partition is handed over by a later epoch all the same. */
static void a_member_that_left_is_fenced_by_the_next_coordinator_too(void **state)
{
    struct cluster *c = *state;
    c->partitions = 1;
    join(c, 1, 1);
    leave(c, 1, 1);
    move(c);
    join(c, 2, 1);
    assert_shares(c, 2, 1, "0:2:0");
}

static void nodes_that_are_not_heard_of_take_their_members_along(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    join(c, 2, 1);
    for (int i = 0; i < 10; i++) {
        c->now_ms += 1000;
        begin(c);
        coordinator_heard(&c->core, 1, 7);
        end(c);
        coordinator_clear(&c->core);
    }
    assert_true(is_member(c, 2, 1));
    c->now_ms += 1001;
    begin(c);
    coordinator_heard(&c->core, 1, 7);
    end(c);
    coordinator_clear(&c->core);
    assert_false(is_member(c, 2, 1));
    assert_shares(c, 1, 1, "0:1:0 1:3:0");
}

static void a_coordinator_that_stood_still_takes_that_for_nobodys_silence(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    c->now_ms += 60000;
    begin(c);
    end(c);
    coordinator_clear(&c->core);
    assert_true(is_member(c, 1, 1));
}

static void a_fenced_node_takes_its_members_along_at_once(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    join(c, 2, 1);
    c->fenced = 1;
    begin(c);
    coordinator_look(&c->core);
    end(c);
    settle(c, 0);
    assert_false(is_member(c, 1, 1));
    assert_shares(c, 2, 1, "0:2:0 1:2:0");
    /* It is not taken in again, to be put out with the next news, before it is there again. */
    struct group_item it = item(GROUP_ITEM_JOIN, 1);
    begin(c);
    assert_int_equal(coordinator_join(&c->core, 1, 7, &it), GROUP_OUTCOME_LATER);
    end(c);
    settle(c, 0);
    assert_false(is_member(c, 1, 1));
    assert_shares(c, 2, 1, "0:2:0 1:2:0");
    c->fenced = 0;
    join(c, 1, 1);
    assert_true(is_member(c, 1, 1));
}

/* A node began anew just before the coordinator moved: the records know members of both processes. */
static void a_move_keeps_the_members_of_the_process_that_lives(void **state)
{
    enum { MEMBERS = 8 };
    struct cluster *c = *state;
    for (uint64_t process = 8; process < 10; process++) {
        begin(c);
        coordinator_heard(&c->core, 2, process);
        for (uint64_t n = 1; n <= MEMBERS; n++) {
            struct group_item it = item(GROUP_ITEM_JOIN, n);
            assert_int_equal(coordinator_join(&c->core, 2, process, &it), GROUP_OUTCOME_OK);
        }
        end(c);
        settle(c, 0);
    }
    for (c->ended = 8; c->ended < 10; c->ended++) {
        struct elements_buffer log = c->log; /* each from the same records */
        c->log.bytes = malloc(log.room = log.len + 65536);
        memcpy(c->log.bytes, log.bytes, log.len);
        move(c);
        for (uint64_t n = 1; n <= MEMBERS; n++) {
            for (uint64_t process = 8; process < 10; process++) {
                struct member_id id = {2, process, n};
                assert_int_equal(coordinator_reader(&c->core, &id) != NULL, process != c->ended);
            }
        }
        free(c->log.bytes);
        c->log = log;
    }
}

static void a_reset_hands_over_anew(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 8, false));
    assert_int_equal(reset(c, 0, 2), GROUP_OUTCOME_OK);
    assert_shares(c, 1, 1, "0:2:2 1:1:0");
    assert_false(commit(c, 1, 1, 0, 1, 9, false));
    assert_offsets(c, "0=2 1=0");
    assert_int_equal(reset(c, 0, GROUP_OFFSET_NONE), GROUP_OUTCOME_OK);
    assert_shares(c, 1, 1, "0:3:0 1:1:0"); /* auto.offset.reset again */
    move(c);
    assert_shares(c, 1, 1, "0:3:0 1:1:0");
    assert_int_equal(reset(c, 2, 1), GROUP_OUTCOME_LATER); /* no such partition, here and now */
}

/* The answer was lost, or comes too late: the same question comes again, and what has happened since stays. */
static void a_reset_that_is_asked_for_again_is_done_once(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 8, false));
    assert_int_equal(reset_by(c, 900, 0, 2), GROUP_OUTCOME_OK);
    assert_shares(c, 1, 1, "0:2:2 1:1:0");
    assert_true(commit(c, 1, 1, 0, 2, 5, false));
    assert_int_equal(reset_by(c, 900, 0, 2), GROUP_OUTCOME_OK);
    assert_offsets(c, "0=5 1=0");
    assert_true(commit(c, 1, 1, 0, 2, 6, false));
    leave(c, 1, 1);
    assert_int_equal(reset_by(c, 901, 0, GROUP_OFFSET_NONE), GROUP_OUTCOME_OK);
    assert_int_equal(reset_by(c, 901, 0, GROUP_OFFSET_NONE), GROUP_OUTCOME_OK);
    assert_int_equal(reset_by(c, 902, 0, GROUP_OFFSET_NONE), GROUP_OUTCOME_NONE);
}

/* A node was cut off, and its member does not know yet that it was put out: what it has is of an epoch that does not
 * come again. */
/* Its coordinator died before it could say so. */
static void a_reset_that_is_asked_for_again_of_the_next_coordinator_is_done_once(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_int_equal(reset_by(c, 5000, 0, 3), GROUP_OUTCOME_OK);
    assert_true(commit(c, 1, 1, 0, 2, 8, false));
    move(c);
    assert_int_equal(reset_by(c, 5000, 0, 3), GROUP_OUTCOME_OK);
    assert_offsets(c, "0=8 1=0");
    assert_int_equal(reset_by(c, 5001, 0, 3), GROUP_OUTCOME_OK);
    assert_offsets(c, "0=3 1=0");
}

static void a_forgotten_offset_lets_no_epoch_come_again(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 8, false));
    c->fenced = 1;
    begin(c);
    coordinator_look(&c->core);
    end(c);
    settle(c, 0);
    assert_int_equal(reset(c, 0, GROUP_OFFSET_NONE), GROUP_OUTCOME_OK);
    assert_offsets(c, "1=0");
    move(c);
    c->fenced = 0;
    join(c, 1, 1);
    assert_false(commit(c, 1, 1, 0, 1, 9, false));
    assert_shares(c, 1, 1, "0:2:0 1:2:0");
}

static void a_reset_while_it_is_handed_over_goes_to_the_next_one(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    join(c, 2, 1);
    assert_shares(c, 1, 1, "0:1:0 1:1:0r");
    assert_int_equal(reset(c, 1, 6), GROUP_OUTCOME_OK);
    assert_shares(c, 1, 1, "0:1:0");
    assert_shares(c, 2, 1, "1:2:6");
}

static void a_group_without_members_can_be_set(void **state)
{
    struct cluster *c = *state;
    assert_int_equal(reset(c, 1, GROUP_OFFSET_NONE), GROUP_OUTCOME_NONE);
    assert_int_equal(reset(c, 1, 5), GROUP_OUTCOME_OK);
    assert_offsets(c, "1=5");
    assert_int_equal(reset(c, 1, GROUP_OFFSET_NONE), GROUP_OUTCOME_OK);
    assert_offsets(c, "");
    move(c);
    assert_offsets(c, "");
}

static void offsets_never_go_back_but_by_a_reset(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 8, false));
    assert_true(commit(c, 1, 1, 0, 1, 3, false));
    assert_offsets(c, "0=8 1=0");
}

/* The start cannot be found out: the partition waits, others are handed out. */
static void a_start_that_is_not_known_holds_up_no_other_partition(void **state)
{
    struct cluster *c = *state;
    struct group_item it = item(GROUP_ITEM_JOIN, 1);
    begin(c);
    coordinator_heard(&c->core, 1, 7);
    assert_int_equal(coordinator_join(&c->core, 1, 7, &it), GROUP_OUTCOME_OK);
    end(c);
    assert_int_equal(c->core.changes.start_count, 2);
    struct claim_start first = c->core.changes.starts[1];
    coordinator_clear(&c->core);
    begin(c);
    coordinator_started(&c->core, &first, 3, -1);
    end(c);
    coordinator_clear(&c->core);
    char expected[16];
    snprintf(expected, sizeof expected, "%d:1:3", (int)first.partition);
    assert_shares(c, 1, 1, expected);
}

static void who_is_no_member_is_told_so(void **state)
{
    struct cluster *c = *state;
    struct group_entry entry = {.key = 0, .epoch = 1, .value = 1};
    struct group_item it = item(GROUP_ITEM_COMMIT, 9);
    bool refused[1] = {false};
    it.entries = &entry;
    it.entry_count = 1;
    begin(c);
    assert_int_equal(coordinator_commit(&c->core, 1, 7, &it, refused), GROUP_OUTCOME_UNKNOWN);
    assert_true(refused[0]);
    it.kind = GROUP_ITEM_JOIN;
    strcpy(it.group, "unheard");
    assert_int_equal(coordinator_join(&c->core, 1, 7, &it), GROUP_OUTCOME_LATER);
    end(c);
}

static void records_of_others_are_refused(void **state)
{
    struct cluster *c = *state;
    struct err e = {""};
    /* a map; a key of two; a version that is to come */
    assert_int_equal(coordinator_replay(&c->core, (const uint8_t *)"\x80", 1, &e), -EBADMSG);
    assert_int_equal(coordinator_replay(&c->core, (const uint8_t *)"\x92\x92\xa1g\x01\xc0", 6, &e), -EBADMSG);
    assert_int_equal(coordinator_replay(&c->core, (const uint8_t *)"\x93\x91\xa1g\x02\xa1i", 7, &e), -EBADMSG);
    assert_int_equal(coordinator_replay(&c->core, (const uint8_t *)"\x92\x91\xa1g\xc0", 5, &e), 0); /* a tombstone */
}

/* ---- beats ---- */

/* Node 1 says which members it has, up to a number. */
static void beat(struct cluster *c, uint64_t upto, size_t count, const uint64_t *numbers)
{
    struct group_item it = item(GROUP_ITEM_BEAT, upto);
    struct group_entry entries[4];
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct group_entry){.key = numbers[i], .release = i > 0};
    it.entries = entries;
    it.entry_count = count;
    begin(c);
    coordinator_heard(&c->core, 1, 7);
    coordinator_drop_unlisted(&c->core, 1, 7, &it);
    end(c);
    settle(c, 0);
}

/* However it came to be: a member that its node has not, while that lives, would have its share for ever. */
static void a_member_that_its_node_has_not_is_none(void **state)
{
    struct cluster *c = *state;
    c->partitions = 3;
    join(c, 1, 1);
    join(c, 1, 2);
    join(c, 1, 9);
    join(c, 2, 3);
    beat(c, 8, 2, (const uint64_t[]){1, 2}); /* it has one, and another on its way; the last one has come since */
    assert_true(is_member(c, 1, 1) && is_member(c, 1, 2) && is_member(c, 1, 9) && is_member(c, 2, 3));
    beat(c, 0, 1, (const uint64_t[]){1}); /* an earlier build, which does not say */
    assert_true(is_member(c, 1, 2));
    beat(c, 8, 1, (const uint64_t[]){1});
    assert_true(is_member(c, 1, 1) && is_member(c, 1, 9) && is_member(c, 2, 3));
    assert_false(is_member(c, 1, 2));
    beat(c, 9, 1, (const uint64_t[]){1});
    assert_false(is_member(c, 1, 9));
    leave(c, 2, 3);
    assert_shares(c, 1, 1, "0:1:0 1:1:0 2:1:0"); /* what was to be theirs stays its own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story(one_has_all_and_the_second_gets_half_when_it_is_given_up),
        story(who_does_not_give_up_is_fenced_after_rebalance_timeout_ms),
        story(what_others_do_makes_no_commit_stale),
        story(another_coordinator_moves_nobody),
        story(what_was_being_handed_over_goes_on_with_the_next_coordinator),
        story(a_member_that_left_is_fenced_by_the_next_coordinator_too),
        story(nodes_that_are_not_heard_of_take_their_members_along),
        story(a_coordinator_that_stood_still_takes_that_for_nobodys_silence),
        story(a_fenced_node_takes_its_members_along_at_once),
        story(a_move_keeps_the_members_of_the_process_that_lives),
        story(a_reset_hands_over_anew),
        story(a_reset_that_is_asked_for_again_is_done_once),
        story(a_reset_that_is_asked_for_again_of_the_next_coordinator_is_done_once),
        story(a_forgotten_offset_lets_no_epoch_come_again),
        story(a_reset_while_it_is_handed_over_goes_to_the_next_one),
        story(a_group_without_members_can_be_set),
        story(offsets_never_go_back_but_by_a_reset),
        story(a_start_that_is_not_known_holds_up_no_other_partition),
        story(who_is_no_member_is_told_so),
        story(records_of_others_are_refused),
        story(a_member_that_its_node_has_not_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
