/* Consumer groups on three whole nodes: members anywhere, a coordinator that dies or is cut off, a host that is lost.
 */
#include "replication/group/member.h"

#include "engine/log/log_internal.h"
#include "replication/group/groups_internal.h"
#include "tests/unit/cluster_fixture.h"

enum { PARTITIONS = 6, LONG_MS = 20000 };

struct cluster_member {
    struct group_member *member;
    int32_t node;
    struct group_shares shares;
};

static struct cluster *c;
static const char *group_name = "kitchen";

static void on_changed(void *arg)
{
    (void)arg;
}

static void join(struct cluster_member *m, int32_t node)
{
    struct group_join join = {.group = group_name, .topic = "orders", .pid = 4711, .changed = on_changed};
    *m = (struct cluster_member){.node = node};
    assert_int_equal(group_member_join(node_group_room(c->nodes[node].node), &join, &m->member), 0);
}

static size_t look(struct cluster_member *m)
{
    free(m->shares.shares);
    assert_int_equal(group_member_shares(m->member, &m->shares), 0);
    return m->shares.count;
}

static void leave(struct cluster_member *m)
{
    group_member_leave(m->member);
    free(m->shares.shares);
}

/* The node dies, its members with it. */
static void forget(struct cluster_member *m)
{
    free(m->shares.shares);
}

/* What is revoked is given up, as by a reader that reads on. */
static bool gives_up(struct cluster_member *m)
{
    bool revoked = false;
    look(m);
    for (size_t i = 0; i < m->shares.count; i++) {
        if (m->shares.shares[i].revoked) {
            revoked = true;
            group_member_release(m->member, m->shares.shares[i].partition, m->shares.shares[i].epoch);
        }
    }
    return revoked;
}

static bool is_at_rest(struct cluster_member *members, int count)
{
    size_t all = 0, most = 0, least = PARTITIONS;
    bool moves = false;
    for (int i = 0; i < count; i++) {
        moves = gives_up(&members[i]) || moves;
        all += members[i].shares.count;
        most = members[i].shares.count > most ? members[i].shares.count : most;
        least = members[i].shares.count < least ? members[i].shares.count : least;
    }
    return !moves && all == PARTITIONS && most - least <= 1;
}

static int32_t coordinator(void)
{
    for (int32_t id = 1; id <= 3; id++) {
        if (c->nodes[id].node != NULL)
            return group_coordinator(node_group_room(c->nodes[id].node), group_name);
    }
    return 0;
}

struct cluster_commit {
    struct group_commit_op op;
    struct group_commit commit;
    int calls, rc;
};

static void on_committed(struct group_commit_op *op, int rc)
{
    struct cluster_commit *commit = CONTAINER_OF(op, struct cluster_commit, op);
    commit->calls++;
    commit->rc = rc;
}

/* Its first share, up to that offset. */
static void commit_begin(struct cluster_commit *commit, struct cluster_member *m, int64_t offset)
{
    assert_true(look(m) > 0);
    *commit = (struct cluster_commit){
        .commit = {.partition = m->shares.shares[0].partition, .epoch = m->shares.shares[0].epoch, .offset = offset}};
    commit->op = (struct group_commit_op){
        .member = m->member, .commits = &commit->commit, .count = 1, .timeout_ms = 30000, .done = on_committed};
    assert_int_equal(group_commit_submit(&commit->op), 0);
}

static bool all_registered(void)
{
    struct node *node = c->nodes[1].node;
    size_t count = quorum_acquire(&node->quorum)->node_count;
    quorum_release(&node->quorum);
    return count == 3;
}

static void set_up(void **state)
{
    struct cluster_op op;
    struct node *node;
    c = *state;
    cluster_await_leader(c);
    node = c->nodes[1].node;
    cluster_await(c, LONG_MS, all_registered());
    assert_int_equal(cluster_mkdir(c, 1, "orders"), 0);
    assert_int_equal(cluster_op_end(c, &op, node_create_partitions(node, cluster_op_init(&op), "orders", PARTITIONS)),
                     0);
    assert_int_equal(cluster_op_end(c, &op, node_create_group(node, cluster_op_init(&op), "kitchen", &some_attr)), 0);
    cluster_await(c, LONG_MS, coordinator() > 0);
}

static int syncs(void)
{
    int count = 0;
    for (int32_t id = 1; id <= 3; id++)
        count += atomic_load(&c->nodes[id].disk.fsyncs);
    return count;
}

/* It makes 50 partitions: none of their files is waited for, on no node. (Whoever leads one has its epoch on the disk
 * before the first append.) */
static void the_first_group_waits_for_few_syncs(void **state)
{
    struct cluster_op op;
    c = *state;
    cluster_await_leader(c);
    cluster_await(c, LONG_MS, all_registered());
    int before = syncs();
    struct node *node = c->nodes[1].node;
    assert_int_equal(cluster_op_end(c, &op, node_create_group(node, cluster_op_init(&op), "kitchen", &some_attr)), 0);
    assert_in_range(syncs() - before, 1, 3 * LIMIT_OFFSETS_PARTITIONS - 1);
}

static void members_anywhere_share_and_commit(void **state)
{
    struct cluster_member members[3];
    struct cluster_commit commits[3];
    set_up(state);
    for (int i = 0; i < 3; i++)
        join(&members[i], i + 1);
    cluster_await(c, LONG_MS, is_at_rest(members, 3));
    for (int i = 0; i < 3; i++)
        commit_begin(&commits[i], &members[i], 0);
    cluster_await(c, LONG_MS, commits[0].calls + commits[1].calls + commits[2].calls == 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(commits[i].rc, 0);
    /* One leaves: its two go to the others, and theirs stay. */
    struct group_share kept = members[1].shares.shares[0];
    leave(&members[0]);
    cluster_await(c, 1000, is_at_rest(&members[1], 2));
    assert_int_equal(members[1].shares.count, 3);
    bool stayed = false;
    for (size_t i = 0; i < 3; i++) {
        stayed = stayed || (members[1].shares.shares[i].partition == kept.partition &&
                            members[1].shares.shares[i].epoch == kept.epoch);
    }
    assert_true(stayed);
    leave(&members[1]);
    leave(&members[2]);
    cluster_pass(c, 1000);
}

/* What was asked before and not answered yet does not hold up a leave. */
static void who_leaves_with_a_commit_on_its_way_is_gone_at_once(void **state)
{
    struct cluster_member members[2];
    set_up(state);
    int32_t leads = coordinator(), away = leads % 3 + 1;
    join(&members[0], away);
    join(&members[1], leads);
    cluster_await(c, LONG_MS, is_at_rest(members, 2));
    memory_cut(&c->network, leads, away, true);
    const struct group_share *share = &members[0].shares.shares[0];
    group_member_commit(members[0].member, share->partition, share->epoch, 1, 0);
    cluster_pass(c, LIMIT_GROUP_GATHER_MS + 10);
    memory_cut(&c->network, leads, away, false);
    cluster_pass(c, 100);
    leave(&members[0]);
    cluster_await(c, 200, is_at_rest(&members[1], 1));
    leave(&members[1]);
    cluster_pass(c, 1000);
}

/* Kept as they were before: partitions and epochs. */
static bool same(const struct group_shares *a, const struct group_shares *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (a->shares[i].partition != b->shares[i].partition || a->shares[i].epoch != b->shares[i].epoch ||
            b->shares[i].revoked)
            return false;
    }
    return true;
}

static void a_coordinator_that_dies_moves_nobody_and_commits_go_on(void **state)
{
    struct cluster_member members[2];
    struct cluster_commit commit;
    set_up(state);
    int32_t dies = coordinator(), first = dies % 3 + 1, second = first % 3 + 1;
    join(&members[0], first);
    join(&members[1], second);
    cluster_await(c, LONG_MS, is_at_rest(members, 2));
    struct group_shares before = members[0].shares;
    members[0].shares.shares = NULL;
    cluster_kill(c, dies);
    commit_begin(&commit, &members[0], 0);
    cluster_await(c, 5000, commit.calls == 1);
    assert_int_equal(commit.rc, 0);
    assert_int_not_equal(coordinator(), dies);
    cluster_pass(c, 15000); /* sessions are renewed with the next one */
    look(&members[0]);
    assert_true(same(&before, &members[0].shares));
    assert_int_equal(look(&members[1]), 3);
    free(before.shares);
    leave(&members[0]);
    leave(&members[1]);
    cluster_pass(c, 1000);
}

static void a_clean_stop_of_the_coordinator_moves_nobody(void **state)
{
    struct cluster_member m;
    struct cluster_commit commit;
    set_up(state);
    int32_t stops = coordinator();
    join(&m, stops % 3 + 1);
    cluster_await(c, LONG_MS, is_at_rest(&m, 1));
    struct group_shares before = m.shares;
    m.shares.shares = NULL;
    cluster_stop(c, stops);
    commit_begin(&commit, &m, 0);
    cluster_await(c, 2000, commit.calls == 1);
    assert_int_equal(commit.rc, 0);
    look(&m);
    assert_true(same(&before, &m.shares));
    free(before.shares);
    leave(&m);
    cluster_pass(c, 1000);
}

static void a_host_that_is_lost_gives_its_share_to_the_others(void **state)
{
    struct cluster_member members[3];
    set_up(state);
    int32_t dies = coordinator() % 3 + 1;
    for (int i = 0; i < 3; i++)
        join(&members[i], i + 1);
    cluster_await(c, LONG_MS, is_at_rest(members, 3));
    cluster_kill(c, dies);
    struct cluster_member left[2];
    for (int i = 0, n = 0; i < 3; i++) {
        if (members[i].node != dies)
            left[n++] = members[i];
        else
            forget(&members[i]);
    }
    cluster_await(c, 4000, is_at_rest(left, 2));
    leave(&left[0]);
    leave(&left[1]);
    cluster_pass(c, 1000);
}

/* The coordinator, with a member of its own, is cut off: the others go on with another one, and nothing that it says or
 * writes meanwhile counts. */
static void a_coordinator_that_is_cut_off_decides_nothing(void **state)
{
    struct cluster_member members[3];
    struct cluster_commit alone, others;
    set_up(state);
    int32_t cut = coordinator(), a = cut % 3 + 1, b = a % 3 + 1;
    join(&members[0], cut);
    join(&members[1], a);
    join(&members[2], b);
    cluster_await(c, LONG_MS, is_at_rest(members, 3));
    memory_cut(&c->network, cut, a, true);
    memory_cut(&c->network, cut, b, true);
    cluster_pass(c, 2500); /* its lease is over: what needs no record is not answered either */
    commit_begin(&alone, &members[0], 0);
    cluster_await(c, 8000, is_at_rest(&members[1], 2)); /* fenced after 3 s, and what it had is theirs */
    commit_begin(&others, &members[1], 0);
    cluster_await(c, 5000, others.calls == 1);
    assert_int_equal(others.rc, 0);
    assert_int_equal(alone.calls, 0);
    memory_cut(&c->network, cut, a, false);
    memory_cut(&c->network, cut, b, false);
    cluster_await(c, LONG_MS, alone.calls == 1);
    assert_int_equal(alone.rc, -ESTALE);
    cluster_await(c, LONG_MS, is_at_rest(members, 3)); /* it has joined again */
    for (int i = 0; i < 3; i++)
        leave(&members[i]);
    cluster_pass(c, 1000);
}

/* A group that another node than the metadata quorum's leader coordinates. */
static void pick_group(void)
{
    static char name[16];
    struct cluster_op op;
    for (int i = 0; coordinator() == cluster_leader(c); i++) {
        snprintf(name, sizeof name, "group%d", i);
        group_name = name;
        assert_int_equal(
            cluster_op_end(c, &op, node_create_group(c->nodes[1].node, cluster_op_init(&op), name, &some_attr)), 0);
    }
}

static size_t count_here(int32_t node)
{
    struct topic *topic = node_topic(c->nodes[node].node, "orders");
    int32_t count = topic_partition_count(topic);
    topic_unref(topic);
    return (size_t)count;
}

/* The coordinator hears of added partitions before the member's node does: until that has them, nobody could read them,
 * and once it has, the member is told. */
static void a_share_is_shown_once_its_partition_is_there(void **state)
{
    struct cluster_member m;
    struct cluster_op op;
    set_up(state);
    pick_group();
    int32_t leader = cluster_leader(c), node = 6 - leader - coordinator();
    join(&m, node);
    cluster_await(c, LONG_MS, is_at_rest(&m, 1));
    memory_cut(&c->network, node, leader, true);
    assert_int_equal(
        cluster_op_end(c, &op,
                       node_create_partitions(c->nodes[leader].node, cluster_op_init(&op), "orders", PARTITIONS + 1)),
        0);
    cluster_pass(c, 1000);
    assert_int_equal(count_here(node), PARTITIONS);
    assert_int_equal(look(&m), PARTITIONS);
    uint64_t version = group_member_version(m.member);
    memory_cut(&c->network, node, leader, false);
    cluster_await(c, LONG_MS, count_here(node) == PARTITIONS + 1);
    cluster_await(c, LONG_MS, look(&m) == PARTITIONS + 1);
    assert_int_not_equal(group_member_version(m.member), version);
    leave(&m);
    cluster_pass(c, 1000);
}

struct cluster_ask {
    struct group_op op;
    int calls, rc;
};

static void on_asked(struct group_op *op, int rc)
{
    struct cluster_ask *asked = CONTAINER_OF(op, struct cluster_ask, op);
    asked->calls++;
    asked->rc = rc;
}

static int ask_offset(struct cluster_ask *asked, int32_t node, int32_t partition)
{
    *asked = (struct cluster_ask){.op = {.groups = node_group_room(c->nodes[node].node),
                                         .ask = GROUP_ASK_PARTITION,
                                         .topic = "orders",
                                         .partition = partition,
                                         .timeout_ms = 2000,
                                         .done = on_asked}};
    assert_int_equal(group_op_submit(&asked->op), 0);
    cluster_await(c, 3000, asked->calls == 1);
    return asked->rc;
}

/* Two hosts remove it at once: where that is decided before the later one has heard of it, its coordinator, which has,
 * knows of no such group. */
static void who_removes_a_group_that_goes_meanwhile_is_told_so(void **state)
{
    struct cluster_ask asked = {.op = {.ask = GROUP_SEAL, .timeout_ms = 5000, .done = on_asked}};
    struct cluster_op op;
    set_up(state);
    pick_group();
    int32_t controls = cluster_leader(c), later = 6 - controls - coordinator();
    struct node_group *group = node_group(c->nodes[later].node, group_name);
    memory_cut(&c->network, controls, later, true);
    struct node *node = c->nodes[controls].node;
    assert_int_equal(cluster_op_end(c, &op, node_delete_group(node, cluster_op_init(&op), group_name, NULL)), 0);
    asked.op.groups = node_group_room(c->nodes[later].node);
    asked.op.group = group_name;
    assert_int_equal(group_op_submit(&asked.op), 0);
    cluster_pass(c, 500);
    assert_int_equal(asked.calls, 0);
    memory_cut(&c->network, controls, later, false);
    cluster_await(c, LONG_MS, node_group_deleted(group));
    cluster_await(c, LIMIT_GROUP_LATEST_MS + 10, asked.calls == 1);
    assert_int_equal(asked.rc, -ENOENT);
    group_op_free(&asked.op);
    node_group_unref(group);
}

/* Its coordinator is of a build that answers no beats, as far as anybody knows. */
static void register_as_of_an_earlier_build(int32_t id)
{
    struct node *node = c->nodes[id].node;
    struct command cmd = {.type = COMMAND_REGISTER_NODE,
                          .registration = {.id = id,
                                           .epoch = -1,
                                           .incarnation = node->identity.incarnation,
                                           .process = node->process,
                                           .host = "memory",
                                           .port = id,
                                           .feature_level = FEATURE_LEVEL_BEATS - 1}};
    struct quorum_op op = {.timeout_ms = INT64_MAX, .done = cluster_registered};
    assert_int_equal(quorum_submit(&node->quorum, &op, &cmd), 0);
    cluster_await(c, 5000, op.proposal == NULL);
}

/* Between the two alone nothing comes through. */
static void a_coordinator_of_an_earlier_build_is_not_waited_for(void **state)
{
    struct cluster_member m;
    set_up(state);
    pick_group();
    int32_t leads = coordinator(), node = 6 - cluster_leader(c) - leads;
    join(&m, node);
    cluster_await(c, LONG_MS, is_at_rest(&m, 1));
    memory_cut(&c->network, node, leads, true);
    cluster_pass(c, 11000);
    assert_true(group_member_is_silent(m.member));
    memory_cut(&c->network, node, leads, false);
    cluster_await(c, LONG_MS, !group_member_is_silent(m.member));
    register_as_of_an_earlier_build(leads);
    cluster_await(c, LONG_MS, coordinator() == leads && is_at_rest(&m, 1));
    memory_cut(&c->network, node, leads, true);
    cluster_pass(c, 11000);
    assert_int_equal(coordinator(), leads);
    assert_false(group_member_is_silent(m.member));
    memory_cut(&c->network, node, leads, false);
    leave(&m);
    cluster_pass(c, 1000);
}

static int64_t committed_of(int32_t node, int32_t partition)
{
    struct cluster_ask asked;
    assert_int_equal(ask_offset(&asked, node, partition), 0);
    assert_int_equal(asked.op.row_count, 1);
    int64_t offset = asked.op.rows[0].committed;
    group_op_free(&asked.op);
    return offset;
}

/* Records that were read and not processed are in the log no more, behind the fifth. It would take that for a commit of
 * the first five; so it is told once it is of a build that knows better. */
static void a_coordinator_of_an_earlier_build_is_told_of_no_loss(void **state)
{
    struct cluster_member m;
    struct cluster_commit commit;
    set_up(state);
    pick_group();
    int32_t leads = coordinator(), node = 6 - cluster_leader(c) - leads;
    join(&m, node);
    cluster_await(c, LONG_MS, is_at_rest(&m, 1));
    commit_begin(&commit, &m, 1);
    cluster_await(c, LONG_MS, commit.calls == 1);
    assert_int_equal(commit.rc, 0);
    const struct group_share share = m.shares.shares[0];
    register_as_of_an_earlier_build(leads);
    cluster_await(c, LONG_MS, coordinator() == leads && is_at_rest(&m, 1));
    group_member_lost(m.member, share.partition, share.epoch, 5);
    cluster_pass(c, 2000);
    assert_int_equal(coordinator(), leads);
    assert_int_equal(committed_of(node, share.partition), 1);
    look(&m);
    assert_int_equal(m.shares.shares[0].epoch, share.epoch); /* nobody has heard of it */
    commit_begin(&commit, &m, 2);
    cluster_await(c, LONG_MS, commit.calls == 1);
    assert_int_equal(commit.rc, 0);
    cluster_register(c, leads);
    cluster_await(c, LONG_MS, look(&m) == PARTITIONS && m.shares.shares[0].epoch == share.epoch + 1);
    assert_int_equal(m.shares.shares[0].start, 2);
    leave(&m);
    cluster_pass(c, 1000);
}

/* Nobody can read the offsets: what was known last is told, and where nothing was, that is no "none". */
static void offsets_that_cannot_be_read_are_not_taken_for_none(void **state)
{
    struct cluster_member m;
    struct cluster_ask asked;
    set_up(state);
    join(&m, 1);
    cluster_await(c, LONG_MS, is_at_rest(&m, 1));
    assert_int_equal(ask_offset(&asked, 1, 0), 0);
    assert_int_equal(asked.op.row_count, 1);
    assert_int_equal(asked.op.rows[0].committed, 0);
    assert_false(asked.op.stale);
    group_op_free(&asked.op);
    cluster_kill(c, 2);
    cluster_kill(c, 3);
    cluster_pass(c, 3000);
    assert_int_equal(ask_offset(&asked, 1, 0), 0);
    assert_int_equal(asked.op.row_count, 1);
    assert_int_equal(asked.op.rows[0].committed, 0);
    assert_true(asked.op.stale);
    group_op_free(&asked.op);
    assert_int_equal(ask_offset(&asked, 1, 1), -ETIMEDOUT);
    group_op_free(&asked.op);
    assert_int_equal(look(&m), PARTITIONS); /* and what it has it keeps */
    leave(&m);
}

/* Asks on that node, and says how long that took. */
static int64_t asked_for_ms(struct cluster_ask *asked, int32_t node, int rc)
{
    int64_t begun_ms = groups_now_ms(node_group_room(c->nodes[node].node));
    assert_int_equal(ask_offset(asked, node, 0), rc);
    group_op_free(&asked->op);
    return groups_now_ms(node_group_room(c->nodes[node].node)) - begun_ms;
}

/* So that a list of attributes on a host that is cut off does not take as many timeouts as there are attributes. */
static void what_no_coordinator_answers_is_waited_out_once(void **state)
{
    struct cluster_member m;
    struct cluster_ask asked;
    set_up(state);
    int32_t node = cluster_leader(c) % 3 + 1;
    join(&m, node);
    cluster_await(c, LONG_MS, is_at_rest(&m, 1));
    assert_true(asked_for_ms(&asked, node, 0) < LIMIT_GROUP_GRACE_MS);
    for (int32_t other = 1; other <= 3; other++) {
        if (other != node)
            memory_cut(&c->network, node, other, true);
    }
    cluster_pass(c, 1000);
    assert_true(asked_for_ms(&asked, node, 0) >= asked.op.timeout_ms);
    assert_true(asked.op.stale);
    assert_true(asked_for_ms(&asked, node, 0) <= 2 * LIMIT_GROUP_GRACE_MS);
    assert_true(asked.op.stale);
    for (int32_t other = 1; other <= 3; other++) {
        if (other != node)
            memory_cut(&c->network, node, other, false);
    }
    cluster_await(c, LONG_MS, asked_for_ms(&asked, node, 0) >= 0 && !asked.op.stale);
    leave(&m);
    cluster_pass(c, 1000);
}

static int teardown_cluster(void **state)
{
    group_name = "kitchen";
    cluster_free(*state);
    return 0;
}

#define story(name) cmocka_unit_test_setup_teardown(name, cluster_setup_three, teardown_cluster)

/* Ends a flush that somebody seemed to be at, when the room has had its last turn. */
struct late_flush {
    struct work work;
    struct executor *executor;
    struct log *log;
    bool again;
};

static void end_flush(struct work *work)
{
    struct late_flush *late = CONTAINER_OF(work, struct late_flush, work);
    if (!late->again) {
        late->again = true;
        executor_prompt(late->executor, work);
        return;
    }
    late->log->flush_state = FLUSH_LEFT;
    log_flush_next(late->log);
}

static void an_append_of_the_room_that_comes_to_wait_at_a_stop_ends_with_it(void **state)
{
    struct cluster_member member;
    struct cluster_commit commit;
    set_up(state);
    int32_t id = coordinator(), other = id % 3 + 1, index = group_index(group_name);
    struct node *node = c->nodes[id].node;
    struct seat *seat = &node_group_room(node)->seats[index];
    join(&member, other);
    cluster_await(c, LONG_MS, is_at_rest(&member, 1));
    cluster_await(c, LONG_MS, seat->state == SEAT_READY);
    atomic_store(&seat->part->settings.flush_messages, 1);
    seat->part->log->flush_state = FLUSH_RUNNING;
    commit_begin(&commit, &member, 1);
    cluster_await(c, LONG_MS, atomic_load(&seat->op.state) == APPEND_FLUSHING);
    struct late_flush late = {.work.run = end_flush, .executor = &c->nodes[id].hand.executor, .log = seat->part->log};
    atomic_store(&seat->part->settings.min_insync_replicas, 4); /* it is committed no more */
    executor_prompt(late.executor, &late.work);
    cluster_kill(c, id);
    cluster_await(c, LONG_MS, commit.calls == 1);
    assert_int_equal(commit.rc, 0);
    leave(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story(the_first_group_waits_for_few_syncs),
        story(members_anywhere_share_and_commit),
        story(who_leaves_with_a_commit_on_its_way_is_gone_at_once),
        story(a_coordinator_that_dies_moves_nobody_and_commits_go_on),
        story(a_clean_stop_of_the_coordinator_moves_nobody),
        story(a_host_that_is_lost_gives_its_share_to_the_others),
        story(a_coordinator_that_is_cut_off_decides_nothing),
        story(a_share_is_shown_once_its_partition_is_there),
        story(who_removes_a_group_that_goes_meanwhile_is_told_so),
        story(a_coordinator_of_an_earlier_build_is_not_waited_for),
        story(a_coordinator_of_an_earlier_build_is_told_of_no_loss),
        story(offsets_that_cannot_be_read_are_not_taken_for_none),
        story(what_no_coordinator_answers_is_waited_out_once),
        story(an_append_of_the_room_that_comes_to_wait_at_a_stop_ends_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
