/* Members of consumer groups on one node, from joining to leaving, with the coordinator and its records behind them. */
#include "replication/group/member.h"

#include "replication/group/groups_internal.h"
#include "replication/group/listing.h"

#include "replication/replica/partition_read.h"
#include "tests/unit/node_fixture.h"

/* As wait_until(), while time goes by as it does for everybody: what a coordinator was not ready for is asked again. */
#define wait_for(f, condition) wait_until((pass_ms(f, 1), (condition)))

struct reading_member {
    struct group_member *member;
    struct group_shares shares; /* as looked at last */
    _Atomic int told;
};

static void on_changed(void *arg)
{
    struct reading_member *m = arg;
    atomic_fetch_add(&m->told, 1);
}

static int try_join(struct fixture *f, struct reading_member *m, const char *group, const char *topic)
{
    struct group_join join = {.group = group, .topic = topic, .pid = 4711, .changed = on_changed, .arg = m};
    *m = (struct reading_member){0};
    return group_member_join(node_group_room(f->node), &join, &m->member);
}

static void join(struct fixture *f, struct reading_member *m, const char *group, const char *topic)
{
    assert_int_equal(try_join(f, m, group, topic), 0);
}

static size_t look(struct reading_member *m)
{
    free(m->shares.shares);
    assert_int_equal(group_member_shares(m->member, &m->shares), 0);
    return m->shares.count;
}

static void leave(struct reading_member *m)
{
    group_member_leave(m->member);
    free(m->shares.shares);
    m->shares.shares = NULL;
}

/* NULL: it is not this member's. */
static const struct group_share *find_share(struct reading_member *m, int32_t partition)
{
    look(m);
    for (size_t i = 0; i < m->shares.count; i++) {
        if (m->shares.shares[i].partition == partition)
            return &m->shares.shares[i];
    }
    return NULL;
}

static bool has(struct reading_member *m, int32_t partition)
{
    return find_share(m, partition) != NULL;
}

static struct group_share share_of(struct reading_member *m, int32_t partition)
{
    const struct group_share *share = find_share(m, partition);
    if (share == NULL)
        fail_msg("partition %d is not this member's", (int)partition);
    return *share;
}

/* 0: it is not this member's, as for a moment when it is handed over anew. */
static int32_t epoch_of(struct reading_member *m, int32_t partition)
{
    const struct group_share *share = find_share(m, partition);
    return share != NULL ? share->epoch : 0;
}

/* ---- ops that are waited for ---- */

struct waited_commit {
    struct group_commit_op op;
    _Atomic bool over;
    int rc;
};

static void on_committed(struct group_commit_op *op, int rc)
{
    struct waited_commit *waited = CONTAINER_OF(op, struct waited_commit, op);
    waited->rc = rc;
    atomic_store(&waited->over, true);
}

static int commit_one(struct fixture *f, struct reading_member *m, struct group_commit *commit)
{
    struct waited_commit waited = {.op = {.member = m->member,
                                          .commits = commit,
                                          .count = commit != NULL ? 1 : 0,
                                          .timeout_ms = 30000,
                                          .done = on_committed}};
    int rc = group_commit_submit(&waited.op);
    if (rc != 0)
        return rc;
    wait_for(f, atomic_load(&waited.over));
    return waited.rc;
}

static int commit_now(struct fixture *f, struct reading_member *m, int32_t partition, int32_t epoch, int64_t offset)
{
    struct group_commit commit = {.partition = partition, .epoch = epoch, .offset = offset};
    int rc = commit_one(f, m, &commit);
    assert_int_equal(commit.rc, commit.rc != 0 ? rc : 0);
    return rc;
}

struct waited_ask {
    struct group_op op;
    _Atomic bool over;
    int rc;
};

static void on_asked(struct group_op *op, int rc)
{
    struct waited_ask *waited = CONTAINER_OF(op, struct waited_ask, op);
    waited->rc = rc;
    atomic_store(&waited->over, true);
}

static int ask(struct fixture *f, struct waited_ask *waited, enum group_ask kind, const char *group, const char *topic,
               int32_t partition, int64_t offset)
{
    *waited = (struct waited_ask){.op = {.groups = node_group_room(f->node),
                                         .ask = kind,
                                         .group = group,
                                         .topic = topic,
                                         .partition = partition,
                                         .offset = offset,
                                         .timeout_ms = 30000,
                                         .done = on_asked}};
    int rc = group_op_submit(&waited->op);
    if (rc != 0)
        return rc;
    wait_for(f, atomic_load(&waited->over));
    if (kind == GROUP_RESET || kind == GROUP_FORGET) /* there is nothing to look at */
        group_op_free(&waited->op);
    return waited->rc;
}

/* GROUP_OFFSET_NONE: there is none. */
static int64_t committed(struct fixture *f, const char *group, const char *topic, int32_t partition)
{
    struct waited_ask waited;
    int64_t offset = GROUP_OFFSET_NONE;
    assert_int_equal(ask(f, &waited, GROUP_ASK_PARTITION, NULL, topic, partition, 0), 0);
    for (size_t i = 0; i < waited.op.row_count; i++) {
        if (strcmp(waited.op.rows[i].group, group) == 0)
            offset = waited.op.rows[i].committed;
    }
    group_op_free(&waited.op);
    return offset;
}

/* Not at once: the room has its turns meanwhile, and what it takes to wait for them is of that time. */
static void pass_awake_ms(struct fixture *f, int64_t ms)
{
    int64_t until_ms = atomic_load(&f->clock.passed_ms) + ms;
    while (atomic_load(&f->clock.passed_ms) < until_ms) {
        pass_ms(f, 500);
        (void)committed(f, "kitchen", "orders", 0);
    }
}

static void kitchen(struct fixture *f, int32_t partitions)
{
    struct err e = {0};
    create(f, "orders");
    assert_int_equal(partitions > 1 ? create_partitions(f->node, "orders", partitions, &e) : 0, 0);
    append(f, "orders", "one\ntwo\nthree\n");
    assert_int_equal(create_group(f->node, "kitchen", &some_attr, &e), 0);
}

/* ---- the stories ---- */

static void a_member_has_all_and_starts_at_the_log_start(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    kitchen(f, 3);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 3);
    assert_int_equal(a.shares.state, GROUP_MEMBER_STABLE);
    for (int32_t p = 0; p < 3; p++) {
        assert_int_equal(a.shares.shares[p].partition, p);
        assert_int_equal(a.shares.shares[p].epoch, 1);
        assert_int_equal(a.shares.shares[p].start, 0);
        assert_false(a.shares.shares[p].revoked);
        assert_int_equal(committed(f, "kitchen", "orders", p), 0);
    }
    assert_true(atomic_load(&a.told) > 0);
    leave(&a);
}

static void two_share_and_who_leaves_hands_over_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct reading_member a, b;
    kitchen(f, 2);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 2);
    join(f, &b, "kitchen", "orders");
    wait_for(f, share_of(&a, 0).revoked || share_of(&a, 1).revoked);
    int32_t moves = share_of(&a, 0).revoked ? 0 : 1, stays = 1 - moves;
    assert_false(share_of(&a, stays).revoked);
    assert_int_equal(look(&b), 0);
    group_member_release(a.member, moves, 1);
    wait_for(f, has(&b, moves));
    assert_int_equal(share_of(&b, moves).epoch, 2);
    assert_int_equal(share_of(&a, stays).epoch, 1);
    group_member_commit(a.member, stays, 1, stays == 0 ? 2 : 0, 0);
    leave(&a);
    wait_for(f, look(&b) == 2);
    assert_int_equal(share_of(&b, stays).epoch, 2);
    assert_int_equal(share_of(&b, stays).start, stays == 0 ? 2 : 0);
    leave(&b);
}

static void a_commit_is_by_the_epoch_of_its_partition(void **state)
{
    struct fixture *f = *state;
    struct reading_member a, b;
    struct waited_ask waited;
    kitchen(f, 2);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 2);
    assert_int_equal(commit_now(f, &a, 0, 1, 1), 0);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 1);
    assert_int_equal(commit_now(f, &a, 0, 1, 0), 0); /* before what is committed: nothing changes */
    assert_int_equal(committed(f, "kitchen", "orders", 0), 1);
    assert_int_equal(commit_now(f, &a, 0, 7, 2), -ESTALE);
    /* Others come and go: what it still owns it still commits. */
    join(f, &b, "kitchen", "orders");
    wait_for(f, share_of(&a, 0).revoked || share_of(&a, 1).revoked);
    assert_int_equal(commit_now(f, &a, 0, 1, 2), 0);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 2);
    /* A reset hands it over anew, to the same one too. */
    leave(&b);
    wait_for(f, look(&a) == 2 && !share_of(&a, 0).revoked && !share_of(&a, 1).revoked);
    int32_t epoch = share_of(&a, 0).epoch;
    assert_int_equal(ask(f, &waited, GROUP_RESET, "kitchen", "orders", 0, 0), 0);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 0);
    assert_int_equal(commit_now(f, &a, 0, epoch, 3), -ESTALE);
    wait_for(f, epoch_of(&a, 0) == epoch + 1);
    assert_int_equal(share_of(&a, 0).start, 0);
    leave(&a);
}

static int commit_nothing(struct fixture *f, struct reading_member *m)
{
    return commit_one(f, m, NULL);
}

/* What a read "committed" that went on, after the partition was taken away and before it looked. */
static void a_commit_without_an_answer_that_was_refused_is_told_by_the_next_one(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    struct waited_ask waited;
    kitchen(f, 2);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 2);
    assert_int_equal(commit_nothing(f, &a), 1);
    assert_int_equal(ask(f, &waited, GROUP_RESET, "kitchen", "orders", 0, 0), 0);
    wait_for(f, epoch_of(&a, 0) == 2);
    group_member_commit(a.member, 0, 1, 3, 0);
    assert_int_equal(commit_now(f, &a, 1, 1, 0), -ESTALE);
    assert_int_equal(commit_now(f, &a, 1, 1, 0), 0);
    group_member_commit(a.member, 0, 1, 3, 0);
    assert_int_equal(commit_nothing(f, &a), -ESTALE);
    assert_int_equal(commit_nothing(f, &a), 1);
    leave(&a);
}

/* Nobody holds the partition any more when its commit is asked about, which is on its way still. */
static void a_commit_waits_for_what_was_given_up(void **state)
{
    struct fixture *f = *state;
    struct reading_member a, b;
    kitchen(f, 2);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 2);
    join(f, &b, "kitchen", "orders");
    wait_for(f, share_of(&a, 0).revoked || share_of(&a, 1).revoked);
    int32_t moves = share_of(&a, 0).revoked ? 0 : 1;
    int64_t offset = moves == 0 ? 2 : 0; /* the other one is empty */
    group_member_commit(a.member, moves, 1, offset, 0);
    group_member_release(a.member, moves, 1);
    int rc = commit_nothing(f, &a); /* 1: the turn was faster */
    assert_true(rc == 0 || rc == 1);
    assert_int_equal(committed(f, "kitchen", "orders", moves), offset);
    leave(&a);
    leave(&b);
}

/* Whoever took it away, and was not heard. */
static void what_was_committed_and_not_answered_is_not_taken_for_committed(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    struct waited_ask reset = {.op = {.groups = node_group_room(f->node),
                                      .ask = GROUP_RESET,
                                      .group = "kitchen",
                                      .topic = "orders",
                                      .timeout_ms = 30000,
                                      .done = on_asked}};
    kitchen(f, 1);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    group_member_commit(a.member, 0, 1, 3, 0); /* gathered: it waits, as no time passes */
    assert_int_equal(group_op_submit(&reset.op), 0);
    wait_until(epoch_of(&a, 0) == 2);
    assert_int_equal(commit_now(f, &a, 0, 2, 0), -ESTALE);
    assert_int_equal(commit_now(f, &a, 0, 2, 0), 0);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 0);
    wait_for(f, atomic_load(&reset.over));
    leave(&a);
}

static void who_keeps_a_partition_loses_it_after_rebalance_timeout_ms(void **state)
{
    struct fixture *f = *state;
    struct reading_member a, b;
    kitchen(f, 1);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    join(f, &b, "kitchen", "orders"); /* one partition: the second one has nothing */
    wait_for(f, look(&b) == 0 && b.shares.state == GROUP_MEMBER_STABLE);
    assert_int_equal(look(&a), 1);
    struct err e = {0};
    assert_int_equal(create_partitions(f->node, "orders", 2, &e), 0);
    wait_for(f, look(&b) == 1);
    assert_int_equal(b.shares.shares[0].partition, 1);
    leave(&b);
    wait_for(f, look(&a) == 2);
    join(f, &b, "kitchen", "orders");
    wait_for(f, share_of(&a, 0).revoked || share_of(&a, 1).revoked);
    pass_ms(f, 5000);
    wait_for(f, look(&b) == 1);
    wait_for(f, look(&a) == 1);
    leave(&a);
    leave(&b);
}

static void offsets_and_members_are_read_again_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    kitchen(f, 1);
    for (int round = 0; round < 2; round++) {
        join(f, &a, "kitchen", "orders");
        wait_for(f, look(&a) == 1);
        assert_int_equal(share_of(&a, 0).start, round);
        group_member_commit(a.member, 0, share_of(&a, 0).epoch, round + 1, 0);
        leave(&a);
        if (round == 0)
            restart(f);
        else
            crash_and_restart(f);
        assert_int_equal(committed(f, "kitchen", "orders", 0), round + 1);
    }
}

/* Its reader finds that the log has less than was committed (KIP-320): it is given the partition anew, what was read on
 * from in the meantime is committed first, and nothing of what it had counts any more. */
static void what_a_reader_finds_lost_is_handed_over_anew(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    kitchen(f, 1);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    assert_int_equal(share_of(&a, 0).leader_epoch, 0); /* the log's first */
    assert_int_equal(commit_now(f, &a, 0, 1, 2), 0);
    group_member_commit(a.member, 0, 1, 3, 7);
    group_member_lost(a.member, 0, 1, 1);
    wait_for(f, epoch_of(&a, 0) == 2);
    assert_int_equal(share_of(&a, 0).start, 1);
    assert_int_equal(share_of(&a, 0).leader_epoch, 7);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 1);
    assert_int_equal(commit_now(f, &a, 0, 1, 3), -ESTALE);
    assert_int_equal(commit_now(f, &a, 0, 2, 2), 0);
    leave(&a);
}

/* Its last member's process dies: from then on a week, and not from the last commit on. */
static void offsets_outlive_a_quiet_week_and_the_end_of_who_read(void **state)
{
    static const int64_t week_ms = INT64_C(7) * 24 * 60 * 60 * 1000;
    struct fixture *f = *state;
    struct reading_member a;
    kitchen(f, 1);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    assert_int_equal(commit_now(f, &a, 0, 1, 3), 0);
    pass_ms(f, week_ms + 1000);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 3);
    free(a.shares.shares);
    crash_and_restart(f);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 3);
    pass_ms(f, week_ms - 60000);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 3);
    pass_ms(f, 120000);
    wait_for(f, committed(f, "kitchen", "orders", 0) == GROUP_OFFSET_NONE);
}

static void a_group_that_is_made_anew_knows_nothing_of_the_old_one(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    struct err e = {0};
    kitchen(f, 1);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    assert_int_equal(commit_now(f, &a, 0, 1, 3), 0);
    assert_int_equal(delete_group(f->node, "kitchen", &e), 0);
    wait_for(f, look(&a) == 0 && a.shares.state == GROUP_MEMBER_GONE);
    assert_int_equal(commit_now(f, &a, 0, 1, 3), -ESTALE);
    leave(&a);
    assert_int_equal(try_join(f, &a, "kitchen", "orders"), -ENOENT);
    assert_int_equal(create_group(f->node, "kitchen", &some_attr, &e), 0);
    assert_int_equal(committed(f, "kitchen", "orders", 0), GROUP_OFFSET_NONE);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    assert_int_equal(share_of(&a, 0).start, 0);
    leave(&a);
}

static void a_member_that_holds_what_it_does_not_read_is_put_out(void **state)
{
    struct fixture *f = *state;
    struct reading_member a, b;
    kitchen(f, 1);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    group_member_polled(a.member, true);
    join(f, &b, "kitchen", "orders");
    pass_ms(f, 400000); /* the node stood still: that is nobody's silence */
    assert_int_equal(commit_now(f, &a, 0, 1, 1), 0);
    pass_awake_ms(f, 240000);
    wait_for(f, look(&b) == 0 && b.shares.state == GROUP_MEMBER_STABLE);
    pass_awake_ms(f, 61000);
    wait_for(f, look(&a) == 0 && a.shares.state == GROUP_MEMBER_PUT_OUT);
    wait_for(f, look(&b) == 1);
    assert_int_equal(commit_now(f, &a, 0, 1, 3), -ESTALE);
    leave(&a);
    group_member_polled(b.member, false); /* it waits at the end: no time counts */
    pass_ms(f, 400000);
    assert_int_equal(commit_now(f, &b, 0, share_of(&b, 0).epoch, 3), 0);
    leave(&b);
}

static void what_is_asked_of_a_group(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    struct waited_ask waited;
    kitchen(f, 2);
    assert_int_equal(ask(f, &waited, GROUP_ASK_GROUP, "kitchen", NULL, 0, 0), 0);
    assert_int_equal(waited.op.described_count, 1);
    assert_int_equal(waited.op.described[0].phase, GROUP_EMPTY);
    assert_int_equal(waited.op.row_count, 0);
    group_op_free(&waited.op);
    assert_int_equal(ask(f, &waited, GROUP_FORGET, "kitchen", "orders", 0, 0), -ENODATA);
    assert_int_equal(ask(f, &waited, GROUP_RESET, "kitchen", "orders", 0, 2), 0);
    assert_int_equal(ask(f, &waited, GROUP_RESET, "none", "orders", 0, 2), -ENOENT);
    assert_int_equal(ask(f, &waited, GROUP_RESET, "kitchen", "orders", 2, 2), -ENOENT);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 2);
    assert_int_equal(share_of(&a, 0).start, 2);
    assert_int_equal(ask(f, &waited, GROUP_ASK_ALL, NULL, NULL, 0, 0), 0);
    assert_int_equal(waited.op.described_count, 1);
    assert_int_equal(waited.op.described[0].phase, GROUP_STABLE);
    assert_int_equal(waited.op.described[0].members, 1);
    assert_true(waited.op.described[0].generation > 0);
    assert_int_equal(waited.op.row_count, 2);
    assert_string_equal(waited.op.rows[1].topic, "orders");
    assert_int_equal(waited.op.rows[0].committed, 2);
    assert_int_equal(waited.op.rows[1].pid, 4711);
    assert_int_not_equal(waited.op.rows[1].member[0], '\0');
    group_op_free(&waited.op);
    assert_int_equal(ask(f, &waited, GROUP_FORGET, "kitchen", "orders", 0, 0), 0);
    wait_for(f, epoch_of(&a, 0) == 2);
    assert_int_equal(share_of(&a, 0).start, 0); /* auto.offset.reset applies again */
    leave(&a);
}

struct waited_listing {
    struct group_listing listing;
    _Atomic bool over;
    int rc;
};

static void on_listed(struct group_listing *listing, int rc)
{
    struct waited_listing *waited = CONTAINER_OF(listing, struct waited_listing, listing);
    waited->rc = rc;
    atomic_store(&waited->over, true);
}

static void the_listing_says_how_far_behind_a_group_is(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    kitchen(f, 1);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    assert_int_equal(commit_now(f, &a, 0, 1, 1), 0);
    int64_t passed_ms = atomic_load(&f->clock.passed_ms);
    pass_ms(f, 5000);
    struct waited_listing waited = {
        .listing = {.op = {.groups = node_group_room(f->node), .ask = GROUP_ASK_ALL, .timeout_ms = 30000},
                    .done = on_listed}};
    assert_int_equal(group_listing_submit(&waited.listing), 0);
    wait_for(f, atomic_load(&waited.over));
    assert_int_equal(waited.rc, 0);
    assert_int_equal(waited.listing.op.row_count, 1);
    const struct group_line *line = &waited.listing.lines[0];
    assert_int_equal(line->row->committed, 1);
    assert_int_equal(line->end, 3);
    assert_int_equal(line->lag, 2);
    assert_int_equal(line->lost, 0);
    /* The records were appended before time passed. */
    assert_true(line->lag_ms >= passed_ms && line->lag_ms >= 5000 && line->lag_ms <= atomic_load(&f->clock.passed_ms));
    group_listing_free(&waited.listing);
    leave(&a);
}

/* The longest batch of all partitions of __consumer_offsets. */
static uint32_t longest_batch(struct fixture *f)
{
    struct topic *offsets = node_internal_topic(f->node, "__consumer_offsets");
    uint32_t longest = 0;
    for (int32_t p = 0; p < topic_partition_count(offsets); p++) {
        struct read_op read = {.part = topic_partition(offsets, p), .kind = READ_RUN, .limit = INT64_MAX, .max = 1};
        while (partition_read_submit(&read) == 1 && read.found) {
            longest = read.run.len > longest ? read.run.len : longest;
            read.at = read.run.base.position + read.run.len;
        }
    }
    topic_unref(offsets);
    return longest;
}

/* However much a turn brings, its records come in batches that a log and its followers take. */
static void a_turn_of_many_records_is_appended_in_pieces(void **state)
{
    enum { PARTITIONS = 800 };
    struct fixture *f = *state;
    struct reading_member a, b;
    struct err e = {0};
    char name[GROUP_NAME_BYTES - 16] = "";
    memset(name, 'g', sizeof name - 16);
    kitchen(f, PARTITIONS);
    assert_int_equal(create_group(f->node, name, &some_attr, &e), 0);
    join(f, &a, name, "orders");
    wait_for(f, look(&a) == PARTITIONS);
    join(f, &b, name, "orders");
    wait_for(f, look(&b) == 0 && b.shares.state == GROUP_MEMBER_STABLE);
    leave(&a);
    wait_for(f, look(&b) == PARTITIONS);
    assert_in_range(longest_batch(f), LIMIT_GROUP_APPEND_BYTES / 2, LIMIT_GROUP_APPEND_BYTES);
    crash_and_restart(f);
    assert_int_equal(committed(f, name, "orders", PARTITIONS - 1), 0);
    free(b.shares.shares);
}

static void offsets_of_a_deleted_topic_go_with_it(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    struct waited_ask waited;
    struct err e = {0};
    kitchen(f, 1);
    set(f, "orders", "delete.topic.enable", "true");
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    assert_int_equal(delete_topic(f->node, "orders", &e), 0);
    wait_for(f, look(&a) == 0 && a.shares.state == GROUP_MEMBER_GONE);
    leave(&a);
    assert_int_equal(ask(f, &waited, GROUP_ASK_GROUP, "kitchen", NULL, 0, 0), 0);
    while (waited.op.described[0].members > 0) {
        group_op_free(&waited.op);
        assert_int_equal(ask(f, &waited, GROUP_ASK_GROUP, "kitchen", NULL, 0, 0), 0);
    }
    assert_int_equal(waited.op.row_count, 0);
    group_op_free(&waited.op);
}

static uint64_t loads(struct fixture *f)
{
    struct group_metrics metrics;
    group_metrics(node_group_room(f->node), &metrics);
    return metrics.loads;
}

/* Whoever asks for what takes a record is told at once, and it is not begun anew for as long as there is no room. */
static void a_full_disk_is_said_at_once(void **state)
{
    struct fixture *f = *state;
    struct reading_member a, b;
    struct waited_ask waited;
    kitchen(f, 2);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 2);
    executor_settle(f->node->executor); /* those of the other partitions, too */
    uint64_t before = loads(f);
    atomic_store(&f->disk.pwritev_rc, -ENOSPC);
    int64_t since_ms = atomic_load(&f->clock.passed_ms);
    assert_int_equal(commit_now(f, &a, 0, 1, 1), -ENOSPC);
    assert_int_equal(commit_now(f, &a, 0, 1, 2), -ENOSPC);
    assert_int_equal(ask(f, &waited, GROUP_RESET, "kitchen", "orders", 1, 0), -ENOSPC);
    assert_true(atomic_load(&f->clock.passed_ms) - since_ms < 10000); /* no time-out was waited for */
    join(f, &b, "kitchen", "orders");
    wait_for(f, look(&b) == 0 && b.shares.rc == -ENOSPC);
    assert_int_equal(b.shares.state, GROUP_MEMBER_JOINING);
    pass_ms(f, 9000); /* many attempts, no silence of anybody's */
    assert_int_equal(commit_now(f, &a, 0, 1, 2), -ENOSPC);
    atomic_store(&f->disk.pwritev_rc, 0);
    wait_for(f, look(&b) == 0 && b.shares.state == GROUP_MEMBER_STABLE);
    assert_int_equal(b.shares.rc, 0);
    assert_int_equal(commit_now(f, &a, 0, 1, 2), 0);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 2);
    assert_true(loads(f) == before);
    leave(&a);
    leave(&b);
    crash_and_restart(f);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 2);
}

static _Atomic int complaints;

static void count_complaint(int level, const char *line)
{
    (void)level;
    atomic_fetch_add(&complaints, strstr(line, "reading it failed: position ") != NULL);
}

/* Of a build that is to come, in a partition that is read again and again: a line a minute says where it lies. */
static void a_record_that_cannot_be_read_is_told_of_once_a_minute(void **state)
{
    static const char record[] = "\x93\x91\xa1g\x02\xa1i";
    struct fixture *f = *state;
    struct iovec iov = {(void *)(uintptr_t)record, sizeof record - 1};
    struct append_op op = {.acks = ACKS_ALL, .timeout_ms = 30000, .internal = true};
    kitchen(f, 1);
    struct topic *offsets = node_internal_topic(f->node, "__consumer_offsets");
    op.part = topic_partition(offsets, group_index("kitchen"));
    assert_int_equal(append_batch_scan(&op.batch, FRAMING_MSGPACK, &iov, hand_wall_ms(&f->clock.clock), 4096, NULL, 0),
                     0);
    assert_int_equal(partition_append_submit(&op, NULL), 1);
    topic_unref(offsets);
    log_sink_set(count_complaint);
    crash_and_restart(f);
    wait_for(f, atomic_load(&complaints) == 1);
    for (int i = 0; i < 80; i++) {
        pass_ms(f, 500);
        executor_settle(f->node->executor);
    }
    assert_int_equal(atomic_load(&complaints), 1);
    log_sink_set(NULL);
}

/* Its creation, as this node applied it, found no memory; the cluster has it. */
static void a_group_that_the_node_has_no_memory_for_keeps_its_offsets(void **state)
{
    struct fixture *f = *state;
    struct reading_member a;
    kitchen(f, 1);
    join(f, &a, "kitchen", "orders");
    wait_for(f, look(&a) == 1);
    assert_int_equal(commit_now(f, &a, 0, 1, 2), 0);
    node_group_unref(group_table_remove(&f->node->groups, "kitchen"));
    groups_changed(node_group_room(f->node));
    assert_int_equal(commit_now(f, &a, 0, 1, 3), 0);
    assert_int_equal(committed(f, "kitchen", "orders", 0), 3);
    assert_int_equal(look(&a), 1);
    leave(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_member_has_all_and_starts_at_the_log_start, setup, teardown),
        cmocka_unit_test_setup_teardown(two_share_and_who_leaves_hands_over_where_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_is_by_the_epoch_of_its_partition, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_without_an_answer_that_was_refused_is_told_by_the_next_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_commit_waits_for_what_was_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_committed_and_not_answered_is_not_taken_for_committed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_keeps_a_partition_loses_it_after_rebalance_timeout_ms, setup, teardown),
        cmocka_unit_test_setup_teardown(offsets_and_members_are_read_again_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_reader_finds_lost_is_handed_over_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(offsets_outlive_a_quiet_week_and_the_end_of_who_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_that_is_made_anew_knows_nothing_of_the_old_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_member_that_holds_what_it_does_not_read_is_put_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_asked_of_a_group, setup, teardown),
        cmocka_unit_test_setup_teardown(the_listing_says_how_far_behind_a_group_is, setup, teardown),
        cmocka_unit_test_setup_teardown(a_turn_of_many_records_is_appended_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(offsets_of_a_deleted_topic_go_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_that_the_node_has_no_memory_for_keeps_its_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_that_cannot_be_read_is_told_of_once_a_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_is_said_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
