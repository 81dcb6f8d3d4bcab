/* Topics that grow, go, or lose records, and groups that nobody reads, as a coordinator sees them. */
#include "tests/unit/coordinator_fixture.h"

/* The leader epoch of what a member was given last with a partition (KIP-320). */
static int32_t start_epoch(struct cluster *c, uint64_t number, size_t partition)
{
    struct member_id id = {1, 7, number};
    struct group_told told;
    assert_int_equal(coordinator_shares(coordinator_reader(&c->core, &id), &told), 0);
    assert_true(partition < told.share_count);
    int32_t epoch = told.shares[partition].leader_epoch;
    group_told_free(&told);
    return epoch;
}

/* Whoever begins at an offset is told the leader epoch of what is before it, through changes of coordinator. */
static void an_offset_goes_with_its_leader_epoch(void **state)
{
    struct cluster *c = *state;
    c->leader_epoch = 3;
    join(c, 1, 1);
    assert_int_equal(start_epoch(c, 1, 0), 3);
    c->leader_epoch = 5;
    assert_true(commit(c, 1, 1, 0, 1, 1000, false));
    assert_int_equal(start_epoch(c, 1, 0), 3); /* it is told where it began */
    leave(c, 1, 1);
    move(c);
    join(c, 1, 2);
    assert_shares(c, 1, 2, "0:2:1000 1:2:0");
    assert_int_equal(start_epoch(c, 2, 0), 5);
    assert_int_equal(start_epoch(c, 2, 1), 3);
    move(c);
    assert_int_equal(start_epoch(c, 2, 0), 5);
    /* What somebody has set is wherever that is. */
    assert_int_equal(reset(c, 0, 2000000), GROUP_OUTCOME_OK);
    assert_shares(c, 1, 2, "0:3:2000000 1:2:0");
    assert_int_equal(start_epoch(c, 2, 0), -1);
}

/* The power took records that were committed, and others have their offsets by now: its owner has found that. */
static void what_was_committed_and_lost_is_begun_with_again(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 1000, false));
    assert_true(commit(c, 1, 1, 1, 1, 850, false));
    assert_true(lose(c, 1, 1, 0, 1, 900));
    assert_shares(c, 1, 1, "0:2:900 1:1:0");
    assert_offsets(c, "0=900 1=850");
    /* What was read and not committed, too. */
    assert_true(lose(c, 1, 1, 1, 1, 900));
    assert_shares(c, 1, 1, "0:2:900 1:2:850");
    /* Said again, or of what was delivered before. */
    assert_false(lose(c, 1, 1, 0, 1, 900));
    assert_false(commit(c, 1, 1, 0, 1, 1100, false));
    assert_true(commit(c, 1, 1, 0, 2, 910, false));
    assert_offsets(c, "0=910 1=850");
    move(c);
    assert_shares(c, 1, 1, "0:2:910 1:2:850");
}

/* While it is being taken away: whoever is to have it begins there. */
static void what_is_lost_while_it_is_handed_over_goes_to_the_next_one(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 1000, false));
    assert_true(commit(c, 1, 1, 1, 1, 1000, false));
    join(c, 1, 2);
    struct member_id id = {1, 7, 1};
    struct group_told told;
    assert_int_equal(coordinator_shares(coordinator_reader(&c->core, &id), &told), 0);
    uint64_t moves = told.shares[0].revoked ? 0 : 1;
    assert_true(told.shares[moves].revoked);
    group_told_free(&told);
    assert_true(lose(c, 1, 1, moves, 1, 900));
    assert_shares(c, 1, 2, moves == 0 ? "0:2:900" : "1:2:900");
}

/* KAFKA-12478: the group was there when the first record of the partition was written. */
static void an_added_partition_is_read_from_its_first_record(void **state)
{
    struct cluster *c = *state;
    c->rules.from_latest = true;
    join(c, 1, 1);
    c->partitions = 3;
    begin(c);
    coordinator_look(&c->core);
    end(c);
    assert_int_equal(c->core.changes.start_count, 0);
    settle(c, 700);
    assert_shares(c, 1, 1, "0:1:0 1:1:0 2:1:0");
    /* Nor does it matter whether a coordinator saw it. */
    c->partitions = 4;
    move(c);
    assert_int_equal(c->core.changes.start_count, 0);
    assert_shares(c, 1, 1, "0:1:0 1:1:0 2:1:0 3:1:0");
    /* One that reads nothing of the topic begins as all do. */
    leave(c, 1, 1);
    assert_int_equal(reset(c, 3, GROUP_OFFSET_NONE), GROUP_OUTCOME_OK);
    c->partitions = 5;
    struct group_item it = item(GROUP_ITEM_JOIN, 2);
    begin(c);
    coordinator_heard(&c->core, 1, 7);
    assert_int_equal(coordinator_join(&c->core, 1, 7, &it), GROUP_OUTCOME_OK);
    end(c);
    settle(c, 700);
    assert_shares(c, 1, 2, "0:2:0 1:2:0 2:2:0 3:2:700 4:1:700");
}

static void added_partitions_are_shared_out(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    join(c, 2, 1);
    assert_true(commit(c, 1, 1, 1, 1, 0, true));
    c->partitions = 4;
    begin(c);
    coordinator_look(&c->core);
    end(c);
    settle(c, 0);
    assert_shares(c, 1, 1, "0:1:0 2:1:0");
    assert_shares(c, 2, 1, "1:2:0 3:1:0");
}

/* Whoever asks for something brings the news of added partitions: they are shared out all the same. */
static void added_partitions_are_shared_out_whoever_finds_them_first(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    c->partitions = 3;
    assert_int_equal(reset(c, 0, 5), GROUP_OUTCOME_OK);
    assert_shares(c, 1, 1, "0:2:5 1:1:0 2:1:0");
    c->partitions = 4;
    join(c, 1, 1); /* asked again */
    assert_shares(c, 1, 1, "0:2:5 1:1:0 2:1:0 3:1:0");
    c->partitions = 5;
    c->ended = 8;
    struct group_item it = item(GROUP_ITEM_JOIN, 2);
    begin(c);
    assert_int_equal(coordinator_join(&c->core, 2, 8, &it), GROUP_OUTCOME_LATER); /* its process is no more */
    end(c);
    settle(c, 0);
    assert_shares(c, 1, 1, "0:2:5 1:1:0 2:1:0 3:1:0 4:1:0");
}

static void a_deleted_topic_and_a_deleted_group_leave_nothing(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    c->topic = false;
    begin(c);
    coordinator_look(&c->core);
    end(c);
    settle(c, 0);
    assert_false(is_member(c, 1, 1));
    assert_offsets(c, "");
    c->topic = true;
    move(c);
    assert_offsets(c, "");
    assert_int_equal(reset(c, 1, 5), GROUP_OUTCOME_OK);
    memcpy(c->rules.id, "another", 8); /* the name is used again */
    begin(c);
    coordinator_look(&c->core);
    end(c);
    settle(c, 0);
    assert_int_equal(c->core.groups.count, 0);
    move(c);
    assert_int_equal(c->core.groups.count, 0);
}

/* What the last coordinator did not live to do the next one does. */
static void a_group_that_there_is_no_memory_for_is_not_taken_for_deleted(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 8, false));
    c->short_of_memory = true;
    begin(c);
    coordinator_look(&c->core);
    end(c);
    assert_int_equal(c->core.changes.record_count, 0);
    coordinator_clear(&c->core);
    assert_true(is_member(c, 1, 1));
    assert_offsets(c, "0=8 1=0");
    leave(c, 1, 1);
    move(c); /* nor is its retention known then */
    pass(c, 2000);
    assert_offsets(c, "0=8 1=0");
    c->short_of_memory = false;
    move(c);
    pass(c, 2000000);
    assert_offsets(c, "");
}

static void what_is_no_more_is_found_when_records_are_read(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    memcpy(c->rules.id, "another", 8);
    move(c);
    assert_int_equal(c->core.groups.count, 0);
    assert_false(is_member(c, 1, 1));
}

static void offsets_of_an_empty_group_expire(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 8, false));
    for (int i = 0; i < 3; i++) {
        c->now_ms += 999999;
        begin(c);
        coordinator_heard(&c->core, 1, 7);
        end(c);
        coordinator_clear(&c->core);
    }
    assert_offsets(c, "0=8 1=0"); /* not while it has members */
    leave(c, 1, 1);
    pass(c, 999999);
    assert_offsets(c, "0=8 1=0");
    pass(c, COORDINATOR_TICK_MS);
    assert_offsets(c, "");
    move(c);
    assert_offsets(c, "");
}

/* The last member's leave was written but for its last record, which says since when the group is empty. */
static void a_group_that_nobody_saw_empty_is_empty_from_when_it_is_read(void **state)
{
    struct cluster *c = *state;
    size_t last = 0;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 8, false));
    for (int i = 0; i < 3; i++) {
        c->now_ms += 999999;
        begin(c);
        coordinator_heard(&c->core, 1, 7);
        end(c);
        coordinator_clear(&c->core);
    }
    leave(c, 1, 1);
    for (size_t at = 0; at < c->log.len; at += framing_record_len(FRAMING_MSGPACK, c->log.bytes + at, c->log.len - at))
        last = at;
    c->log.len = last;
    move(c);
    assert_false(is_member(c, 1, 1));
    assert_offsets(c, "0=8 1=0");
    move(c);
    pass(c, 999999);
    assert_offsets(c, "0=8 1=0");
    pass(c, COORDINATOR_TICK_MS);
    assert_offsets(c, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story(an_offset_goes_with_its_leader_epoch),
        story(what_was_committed_and_lost_is_begun_with_again),
        story(what_is_lost_while_it_is_handed_over_goes_to_the_next_one),
        story(an_added_partition_is_read_from_its_first_record),
        story(added_partitions_are_shared_out),
        story(added_partitions_are_shared_out_whoever_finds_them_first),
        story(a_deleted_topic_and_a_deleted_group_leave_nothing),
        story(a_group_that_there_is_no_memory_for_is_not_taken_for_deleted),
        story(what_is_no_more_is_found_when_records_are_read),
        story(offsets_of_an_empty_group_expire),
        story(a_group_that_nobody_saw_empty_is_empty_from_when_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
