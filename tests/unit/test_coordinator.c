/* A coordinator as the pure state machine that it is: records in, events in; records, shares and questions out. */
#include "replication/group/coordinator.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/record/framing.h"

/* ---- a cluster, as the coordinator is told of it ---- */

struct cluster {
    struct group_facts facts;
    struct group_rules rules;
    bool group, topic;
    bool short_of_memory; /* for groups */
    int32_t partitions;
    int32_t fenced; /* a node */
    uint64_t ended; /* a process */
    /* Of all partitions, which this node leads: the epoch, and where the one before it ended. */
    int32_t leader_epoch;
    int64_t epoch_start;
    bool led_elsewhere;
    struct coordinator core;
    struct elements_buffer log; /* the records that were committed */
    int64_t now_ms;
};

static int fact_group(void *arg, const char *name, struct group_rules *out)
{
    struct cluster *c = arg;
    *out = c->rules;
    if (c->short_of_memory)
        return -ENOMEM;
    return c->group && strcmp(name, "kitchen") == 0 ? 0 : -ENOENT;
}

static int fact_topic(void *arg, const uint8_t id[UUID_BYTES], char name[GROUP_NAME_BYTES], int32_t *partitions)
{
    struct cluster *c = arg;
    strcpy(name, "orders");
    *partitions = c->partitions;
    return c->topic && id[0] == 't' ? 0 : -ENOENT;
}

static bool fact_lives(void *arg, int32_t node, uint64_t process)
{
    struct cluster *c = arg;
    return node != c->fenced && process != c->ended;
}

static bool fact_led_end(void *arg, const uint8_t id[UUID_BYTES], int32_t partition, int32_t epoch, int32_t *now,
                         int64_t *end)
{
    struct cluster *c = arg;
    (void)id, (void)partition;
    *now = c->leader_epoch;
    *end = epoch < c->leader_epoch ? c->epoch_start : 1000000;
    return !c->led_elsewhere;
}

static int setup(void **state)
{
    struct cluster *c = calloc(1, sizeof *c);
    c->facts = (struct group_facts){fact_group, fact_topic, fact_lives, fact_led_end, c};
    c->rules = (struct group_rules){.id = "kitchen",
                                    .assignor = ASSIGNOR_STICKY,
                                    .session_timeout_ms = 10000,
                                    .rebalance_timeout_ms = 5000,
                                    .offsets_retention_ms = 1000000};
    c->group = c->topic = true;
    c->partitions = 2;
    c->now_ms = 1000;
    coordinator_init(&c->core, &c->facts);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct cluster *c = *state;
    coordinator_free(&c->core);
    free(c->log.bytes);
    free(c);
    return 0;
}

static void begin(struct cluster *c)
{
    coordinator_begin(&c->core, c->now_ms, 1000000 + c->now_ms);
}

/* The turn's records are committed. */
static void end(struct cluster *c)
{
    struct group_changes *changes = &c->core.changes;
    coordinator_tick(&c->core);
    coordinator_end(&c->core);
    assert_false(changes->failed);
    for (size_t i = 0; i < changes->records.len; i++) {
        if (c->log.len == c->log.room)
            c->log.bytes = realloc(c->log.bytes, c->log.room = c->log.room * 2 + 4096);
        c->log.bytes[c->log.len++] = changes->records.bytes[i];
    }
}

/* What was to be found out is found at once: `start`. */
static void settle(struct cluster *c, int64_t start)
{
    while (c->core.changes.start_count > 0) {
        struct claim_start wanted = c->core.changes.starts[0];
        size_t count = c->core.changes.start_count;
        struct claim_start all[16];
        assert_true(count <= 16);
        memcpy(all, c->core.changes.starts, count * sizeof wanted);
        coordinator_clear(&c->core);
        begin(c);
        for (size_t i = 0; i < count; i++)
            if (coordinator_starts(&c->core, &all[i]))
                coordinator_started(&c->core, &all[i], start);
        end(c);
    }
    coordinator_clear(&c->core);
}

static struct group_item item(enum group_item_kind kind, uint64_t number)
{
    struct group_item it = {
        .kind = kind, .group = "kitchen", .group_id = "kitchen", .number = number, .topic_id = "t", .partition = -1};
    return it;
}

static void join(struct cluster *c, int32_t node, uint64_t number)
{
    struct group_item it = item(GROUP_ITEM_JOIN, number);
    begin(c);
    coordinator_heard(&c->core, node, 7);
    assert_int_equal(coordinator_join(&c->core, node, 7, &it), GROUP_OUTCOME_OK);
    end(c);
    settle(c, 0);
}

static void leave(struct cluster *c, int32_t node, uint64_t number)
{
    struct group_item it = item(GROUP_ITEM_LEAVE, number);
    bool refused[1];
    begin(c);
    assert_int_equal(coordinator_leave(&c->core, node, 7, &it, refused), GROUP_OUTCOME_OK);
    end(c);
    settle(c, 0);
}

/* true: accepted. */
static bool commit(struct cluster *c, int32_t node, uint64_t number, uint64_t partition, int32_t epoch, int64_t offset,
                   bool release)
{
    struct group_entry entry = {.key = partition, .epoch = epoch, .value = offset, .release = release};
    struct group_item it = item(GROUP_ITEM_COMMIT, number);
    bool refused[1];
    it.entries = &entry;
    it.entry_count = 1;
    begin(c);
    coordinator_heard(&c->core, node, 7);
    (void)coordinator_commit(&c->core, node, 7, &it, refused);
    end(c);
    settle(c, 0);
    return !refused[0];
}

static enum group_outcome reset_by(struct cluster *c, uint64_t ticket, int32_t partition, int64_t offset)
{
    struct group_item it = item(offset >= 0 ? GROUP_ITEM_RESET : GROUP_ITEM_FORGET, 0);
    enum group_outcome outcome;
    it.ticket = ticket;
    it.partition = partition;
    it.offset = offset >= 0 ? offset : 0;
    begin(c);
    outcome = coordinator_reset(&c->core, 1, 7, &it);
    end(c);
    settle(c, 0);
    return outcome;
}

static enum group_outcome reset(struct cluster *c, int32_t partition, int64_t offset)
{
    static uint64_t tickets;
    return reset_by(c, ++tickets, partition, offset);
}

static void pass(struct cluster *c, int64_t ms)
{
    c->now_ms += ms;
    begin(c);
    end(c);
    settle(c, 0);
}

/* "0:1:0 1:1:0r": what a member has: partition, epoch, start, revoked. */
static void assert_shares(struct cluster *c, int32_t node, uint64_t number, const char *expected)
{
    struct member_id id = {node, 7, number};
    const struct reader *reader = coordinator_reader(&c->core, &id);
    struct group_told told;
    char text[256] = "";
    size_t len = 0;
    assert_non_null(reader);
    assert_int_equal(coordinator_shares(reader, &told), 0);
    for (size_t i = 0; i < told.share_count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%d:%d:%d%s", i > 0 ? " " : "",
                                (int)told.shares[i].partition, (int)told.shares[i].epoch, (int)told.shares[i].start,
                                told.shares[i].revoked ? "r" : "");
    group_told_free(&told);
    assert_string_equal(text, expected);
}

static bool is_member(struct cluster *c, int32_t node, uint64_t number)
{
    struct member_id id = {node, 7, number};
    return coordinator_reader(&c->core, &id) != NULL;
}

/* "0=5 1=-": offsets of partitions. */
static void assert_offsets(struct cluster *c, const char *expected)
{
    struct group_item it = item(GROUP_ITEM_ASK, 0);
    struct group_told told;
    char text[256] = "";
    size_t len = 0;
    assert_int_equal(coordinator_ask(&c->core, &it, &told), 0);
    for (size_t i = 0; i < told.row_count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%d=%d", i > 0 ? " " : "", (int)told.rows[i].partition,
                                (int)told.rows[i].committed);
    group_told_free(&told);
    assert_string_equal(text, expected);
}

/* Another node begins to lead: all that it knows is what the records say. */
static void move(struct cluster *c)
{
    struct err e = {""};
    coordinator_free(&c->core);
    coordinator_init(&c->core, &c->facts);
    for (size_t at = 0; at < c->log.len;) {
        size_t len = framing_record_len(FRAMING_MSGPACK, c->log.bytes + at, c->log.len - at);
        assert_true(len > 0);
        if (coordinator_replay(&c->core, c->log.bytes + at, len, &e) != 0)
            fail_msg("replay: %s", e.text);
        at += len;
    }
    begin(c);
    coordinator_loaded(&c->core);
    end(c);
    settle(c, 0);
}

/* ---- the stories ---- */

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
        for (uint64_t n = 1; n <= MEMBERS; n++)
            for (uint64_t process = 8; process < 10; process++) {
                struct member_id id = {2, process, n};
                assert_int_equal(coordinator_reader(&c->core, &id) != NULL, process != c->ended);
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

/* The power took records that were committed, and others have their offsets by now (KIP-320). */
static void what_was_committed_and_lost_is_begun_with_again(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    assert_true(commit(c, 1, 1, 0, 1, 1000, false));
    assert_true(commit(c, 1, 1, 1, 1, 900, false));
    c->leader_epoch = 1;
    c->epoch_start = 900;
    leave(c, 1, 1);
    move(c);
    assert_offsets(c, "0=1000 1=900");
    join(c, 1, 2);
    assert_shares(c, 1, 2, "0:2:900 1:2:900");
    assert_offsets(c, "0=900 1=900");
    /* What is processed of those that took their place is nobody's loss; nor is what somebody has set. */
    assert_true(commit(c, 1, 2, 0, 2, 1100, false));
    assert_int_equal(reset(c, 1, 2000000), GROUP_OUTCOME_OK);
    leave(c, 1, 2);
    move(c);
    join(c, 1, 3);
    assert_shares(c, 1, 3, "0:3:1100 1:4:2000000");
}

/* Which epoch that was is not known where another node leads, nor of what an earlier build wrote. */
static void what_cannot_be_known_to_be_lost_stays_committed(void **state)
{
    struct cluster *c = *state;
    join(c, 1, 1);
    c->led_elsewhere = true;
    assert_true(commit(c, 1, 1, 0, 1, 1000, true));
    c->led_elsewhere = false;
    c->leader_epoch = 1;
    c->epoch_start = 900;
    leave(c, 1, 1);
    join(c, 1, 2);
    assert_shares(c, 1, 2, "0:3:1000 1:2:0");
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
    coordinator_started(&c->core, &first, 3);
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

#define story(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        story(what_was_committed_and_lost_is_begun_with_again),
        story(what_cannot_be_known_to_be_lost_stays_committed),
        story(an_added_partition_is_read_from_its_first_record),
        story(added_partitions_are_shared_out),
        story(added_partitions_are_shared_out_whoever_finds_them_first),
        story(a_deleted_topic_and_a_deleted_group_leave_nothing),
        story(a_group_that_there_is_no_memory_for_is_not_taken_for_deleted),
        story(what_is_no_more_is_found_when_records_are_read),
        story(offsets_of_an_empty_group_expire),
        story(a_group_that_nobody_saw_empty_is_empty_from_when_it_is_read),
        story(a_start_that_is_not_known_holds_up_no_other_partition),
        story(who_is_no_member_is_told_so),
        story(records_of_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
