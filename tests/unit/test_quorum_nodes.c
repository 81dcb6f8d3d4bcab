/* The metadata quorum of several whole nodes: elections, commands from anywhere, what is decided on one and seen on
 * all, nodes that die, are cut off and come back. */
#include <sys/stat.h>

#include "replication/wire/command_message.h"
#include "replication/wire/message.h"
#include "tests/unit/cluster_fixture.h"

static void test_three_nodes_begin_a_cluster(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c);
    cluster_pass(c, 1000);
    for (int32_t id = 1; id <= 3; id++) {
        struct raft_voters voters;
        quorum_voters(&c->nodes[id].node->quorum, &voters);
        assert_int_equal(voters.count, 3);
        assert_int_equal(quorum_leader(&c->nodes[id].node->quorum), leader);
        assert_int_equal(strlen(node_cluster_id(c->nodes[id].node)), 22);
        assert_string_equal(node_cluster_id(c->nodes[id].node), node_cluster_id(c->nodes[1].node));
        cluster_assert_same_logs(c, 1, id);
    }
}

static void test_a_command_of_any_node_is_seen_on_all(void **state)
{
    struct cluster *c = *state;
    cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++) {
        assert_int_equal(cluster_chmod(c, id, 0700 + (mode_t)id), 0);
        /* At once where it was asked for, soon everywhere else. */
        assert_int_equal(cluster_mode(c, id), 0700 + id);
        for (int32_t other = 1; other <= 3; other++)
            cluster_await(c, 1000, cluster_mode(c, other) == 0700 + (mode_t)id);
    }
    cluster_assert_same_logs(c, 1, 2);
    cluster_assert_same_logs(c, 1, 3);
}

static void test_the_leader_is_killed(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), follower = cluster_follower(c), next;
    assert_int_equal(cluster_chmod(c, follower, 0711), 0);
    cluster_kill(c, leader);
    /* Its kernel tells: nobody waits for a timeout. */
    cluster_await(c, 500, cluster_leader(c) > 0);
    next = cluster_leader(c);
    assert_int_not_equal(next, leader);
    assert_int_equal(cluster_chmod(c, follower, 0722), 0);
    /* It comes back with what it had, and follows. */
    cluster_start(c, leader);
    cluster_await(c, 3000, cluster_mode(c, leader) == 0722);
    assert_int_equal(cluster_leader(c), next);
    cluster_assert_same_logs(c, next, leader);
    assert_int_equal(cluster_chmod(c, leader, 0733), 0);
}

static void test_elections_are_counted_by_who_stood(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), follower = cluster_follower(c);
    struct node_metrics before[4], after;
    cluster_pass(c, 1000);
    for (int32_t id = 1; id <= 3; id++) {
        node_metrics(c->nodes[id].node, &before[id]);
        assert_int_equal(before[id].quorum_epoch, before[leader].quorum_epoch);
    }
    assert_true(before[leader].elections > 0);
    cluster_kill(c, leader);
    cluster_await(c, 5000, cluster_leader(c) > 0);
    assert_int_equal(cluster_chmod(c, follower, 0711), 0);
    node_metrics(c->nodes[cluster_leader(c)].node, &after);
    assert_true(after.quorum_epoch > before[leader].quorum_epoch);
    assert_true(after.elections > before[cluster_leader(c)].elections);
    /* Each raises it by one. */
    assert_true(after.elections <= (uint64_t)after.quorum_epoch);
}

static void test_a_command_survives_the_election(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), follower = cluster_follower(c);
    struct tree_attr attr = {.dir_mode = 0744};
    struct cluster_op op;
    cluster_pass(c, 1000);
    /* On its way to a leader that never gets it. */
    assert_int_equal(node_set_attr(c->nodes[follower].node, cluster_op_init(&op), NULL, &attr, ATTR_DIR_MODE), 0);
    while (hand_step(&c->nodes[follower].hand))
        ;
    assert_int_equal(op.calls, 0);
    cluster_kill(c, leader);
    assert_int_equal(cluster_op_end(c, &op, 0), 0);
    assert_int_equal(cluster_mode(c, follower), 0744);
}

/* What a leader of an earlier epoch had to say comes when another one has the command already. */
static void test_a_late_answer_doubles_no_command(void **state)
{
    struct cluster *c = *state;
    int32_t before = cluster_await_leader(c), leader, follower;
    struct tree_attr attr = {.dir_mode = 0744};
    struct cluster_op op;
    cluster_kill(c, before);
    leader = cluster_await_leader(c);
    follower = 6 - before - leader;
    cluster_start(c, before);
    cluster_pass(c, 1000);
    struct quorum *quorum = &c->nodes[follower].node->quorum;
    for (int outcome = 0; outcome < COMMAND_OUTCOMES; outcome++) {
        struct command_answer answer = {.epoch = quorum->raft.state.epoch - 1,
                                        .outcome = (enum command_outcome)outcome,
                                        .error = EROFS,
                                        .reason = {"it stops"}};
        uint8_t header[COMMAND_ANSWER_BYTES];
        struct frame_out late = {.kind = MESSAGE_COMMAND_ANSWER, .header = header};
        int64_t end = log_end(cluster_metadata_log(c, leader)).offset;
        assert_true(answer.epoch > 0);
        assert_int_equal(node_set_attr(c->nodes[follower].node, cluster_op_init(&op), NULL, &attr, ATTR_DIR_MODE), 0);
        while (hand_step(&c->nodes[follower].hand))
            ;
        answer.number = quorum->next_number - 1;
        late.header_bytes = (uint32_t)command_answer_encode(&answer, header);
        assert_int_equal(memory_send(&c->network.ports[before].transport, follower, CHANNEL_CONTROL, &late), 0);
        assert_int_equal(cluster_op_end(c, &op, 0), 0);
        cluster_pass(c, 1000);
        assert_int_equal(log_end(cluster_metadata_log(c, leader)).offset, end + 1);
    }
}

static void test_a_leader_that_is_cut_off_decides_nothing(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), follower = cluster_follower(c);
    int32_t other = 6 - leader - follower;
    struct tree_attr lost = {.dir_mode = 0755};
    struct cluster_op op;
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    cluster_pass(c, 1000);
    memory_cut(&c->network, leader, follower, true);
    memory_cut(&c->network, leader, other, true);
    assert_int_equal(node_set_attr(c->nodes[leader].node, cluster_op_init(&op), NULL, &lost, ATTR_DIR_MODE), 0);
    cluster_await(c, 2000, op.calls > 0);
    assert_int_equal(op.rc, -ETIMEDOUT);
    cluster_await(c, 5000, cluster_leader(c) > 0 && cluster_leader(c) != leader);
    assert_int_equal(cluster_chmod(c, follower, 0722), 0);
    /* Nothing of it was decided; the next ones there do not wait. */
    assert_int_equal(cluster_mode(c, leader), 0711);
    assert_int_equal(cluster_chmod(c, leader, 0755), -EROFS);
    memory_cut(&c->network, leader, follower, false);
    memory_cut(&c->network, leader, other, false);
    cluster_await(c, 5000, cluster_mode(c, leader) == 0722);
    cluster_pass(c, 1000);
    cluster_assert_same_logs(c, follower, leader);
    cluster_assert_same_logs(c, follower, other);
    assert_int_equal(cluster_chmod(c, leader, 0733), 0);
}

/* A command's time ends before the turn comes in which it would have been appended: the machine stood still. */
static void test_a_leader_whose_turn_came_late_takes_the_next_command(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c);
    struct quorum *quorum = &c->nodes[leader].node->quorum;
    struct tree_attr attr = {.dir_mode = 0722};
    struct cluster_op op;
    cluster_pass(c, 1000);
    cluster_op_init(&op);
    op.op.timeout_ms = 100;
    assert_int_equal(node_set_attr(c->nodes[leader].node, &op.op, NULL, &attr, ATTR_DIR_MODE), 0);
    atomic_fetch_add(&c->clock.passed_ms, 150);
    quorum->deadline.ring(&quorum->deadline);
    assert_int_equal(op.calls, 1);
    assert_int_equal(op.rc, -ETIMEDOUT);
    assert_int_equal(cluster_chmod(c, leader, 0733), 0);
    assert_int_equal(cluster_leader(c), leader);
}

/* It stands still with its turn and its peers' answers before it: those end the command, not the time in which nobody
 * could have answered. */
static void test_time_in_which_a_node_stood_still_is_nobodys_silence(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c);
    struct quorum *quorum = &c->nodes[leader].node->quorum;
    struct tree_attr attr = {.dir_mode = 0722};
    struct cluster_op op;
    cluster_pass(c, 1000);
    cluster_op_init(&op);
    op.op.timeout_ms = 100;
    assert_int_equal(node_set_attr(c->nodes[leader].node, &op.op, NULL, &attr, ATTR_DIR_MODE), 0);
    atomic_fetch_add(&c->clock.passed_ms, 600);
    quorum->deadline.ring(&quorum->deadline);
    assert_int_equal(op.calls, 0);
    cluster_await(c, 400, op.calls > 0);
    assert_int_equal(op.rc, 0);
    assert_int_equal(cluster_mode(c, leader), 0722);
}

static size_t metadata_node_count(struct cluster *c, int32_t id)
{
    size_t count = quorum_acquire(&c->nodes[id].node->quorum)->node_count;
    quorum_release(&c->nodes[id].node->quorum);
    return count;
}

struct second_op {
    struct command_op op;
    int32_t partitions; /* that its node has when it is over */
    int calls, rc;
};

static void on_second(struct command_op *op, int rc)
{
    struct second_op *second = CONTAINER_OF(op, struct second_op, op);
    struct topic *topic = node_topic(op->node, "orders");
    second->partitions = topic != NULL ? topic_partition_count(topic) : 0;
    second->calls++;
    second->rc = rc;
    if (topic != NULL)
        topic_unref(topic);
}

/* Of all that make the same one is first, and to the others it is there. */
static void make_everywhere(struct cluster *c, int32_t partitions)
{
    struct second_op ops[3];
    int made = 0;
    for (int32_t id = 1; id <= 3; id++) {
        struct second_op *op = &ops[id - 1];
        *op = (struct second_op){.op = {.timeout_ms = 30000, .done = on_second}};
        assert_int_equal(partitions == 1 ? node_create_topic(c->nodes[id].node, &op->op, "orders", &some_attr)
                                         : node_create_partitions(c->nodes[id].node, &op->op, "orders", partitions),
                         0);
    }
    for (int i = 0; i < 3; i++) {
        cluster_await(c, 10000, ops[i].calls == 1);
        assert_int_equal(ops[i].partitions, partitions);
        assert_true(ops[i].rc == 0 || ops[i].rc == -EEXIST);
        made += ops[i].rc == 0;
    }
    assert_int_equal(made, 1);
}

static void test_what_another_node_has_just_made_is_there(void **state)
{
    struct cluster *c = *state;
    (void)cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, 10000, metadata_node_count(c, id) == 3);
    make_everywhere(c, 1);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, 10000, cluster_has(c, id, "orders"));
    make_everywhere(c, 2);
}

/* ---- a leader that has not applied yet what it has decided ---- */

static struct work *kept;

static void keep(struct work *work)
{
    kept = work;
}

/* Whoever sends a command may have acted upon what its leader has decided, and not applied yet. */
static void test_who_has_applied_less_refuses_nothing(void **state)
{
    struct cluster *c = *state;
    struct quorum *leader = &c->nodes[cluster_await_leader(c)].node->quorum;
    int32_t follower = cluster_follower(c);
    struct cluster_op op;
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    void (*apply)(struct work * work) = leader->apply_work.run;
    kept = NULL;
    leader->apply_work.run = keep;
    assert_int_equal(cluster_mkdir(c, follower, "orders"), 0);
    assert_true(cluster_has(c, follower, "orders"));
    assert_false(cluster_has(c, leader->self.node, "orders"));
    assert_int_equal(node_create_partitions(c->nodes[follower].node, cluster_op_init(&op), "orders", 2), 0);
    cluster_pass(c, 50);
    assert_int_equal(op.calls, 0);
    assert_non_null(kept);
    leader->apply_work.run = apply;
    apply(kept);
    assert_int_equal(cluster_op_end(c, &op, 0), 0);
    /* What is really not there is refused still. */
    assert_int_equal(cluster_rmdir(c, follower, "nothing"), -ENOENT);
}

static void test_two_of_three_are_enough_and_one_is_not(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), follower = cluster_follower(c), other = 6 - leader - follower;
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    cluster_kill(c, other);
    assert_int_equal(cluster_chmod(c, follower, 0722), 0);
    cluster_kill(c, follower);
    assert_int_equal(cluster_chmod(c, leader, 0733), -ETIMEDOUT);
    assert_int_equal(cluster_mode(c, leader), 0722);
    cluster_start(c, other);
    cluster_await_leader(c);
    cluster_await(c, 3000, cluster_mode(c, other) >= 0722);
    assert_int_equal(cluster_chmod(c, other, 0744), 0);
}

/* The sizes of the metadata log's bytes and entries, or, cut, these sizes again: what came behind was not on the disk
 * when the power went. */
static void metadata_files(struct cluster *c, int32_t id, off_t sizes[2], bool cut)
{
    static const char *const ends[] = {"log", "batches"};
    char path[256];
    for (int i = 0; i < 2; i++) {
        struct stat st;
        snprintf(path, sizeof path, "%s/topics/__cluster_metadata-0/00000000000000000000.%s", c->nodes[id].dir,
                 ends[i]);
        if (cut)
            assert_int_equal(truncate(path, sizes[i]), 0);
        else
            assert_int_equal(stat(path, &st), 0);
        sizes[i] = cut ? sizes[i] : st.st_size;
    }
    snprintf(path, sizeof path, "rm -f %s/*-checkpoint", c->nodes[id].dir);
    assert_true(!cut || system(path) == 0);
}

/* So a heartbeat, which goes the same way, waits behind little of it. */
static void test_who_is_behind_is_sent_a_piece_at_a_time(void **state)
{
    enum { BEHIND = 160 << 10, PIECE = 64 << 10 };
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), behind = cluster_follower(c);
    cluster_pass(c, 1000);
    cluster_cut_off(c, behind, true);
    int64_t from = log_end(cluster_metadata_log(c, leader)).position;
    for (mode_t mode = 0; log_end(cluster_metadata_log(c, leader)).position < from + BEHIND; mode++)
        assert_int_equal(cluster_chmod(c, leader, 0700 | (mode & 077)), 0);
    memset(c->network.largest, 0, sizeof c->network.largest);
    cluster_cut_off(c, behind, false);
    cluster_await(c, 5000, cluster_mode(c, behind) == cluster_mode(c, leader));
    cluster_assert_same_logs(c, leader, behind);
    assert_in_range(c->network.largest[CHANNEL_CONTROL], PIECE / 2, PIECE);
}

/* A leader writes down its epoch before the record that begins it. One that died in between has to take what another
 * one had there before. */
static void test_an_epoch_that_got_no_record_is_forgotten(void **state)
{
    struct cluster *c = *state;
    int32_t first = cluster_await_leader(c), behind = cluster_follower(c), third = 6 - first - behind;
    struct tree_attr attr = {.dir_mode = 0744};
    struct cluster_op op;
    off_t sizes[2];
    cluster_pass(c, 1000);
    metadata_files(c, behind, sizes, false);
    int32_t epoch = log_latest_epoch(cluster_metadata_log(c, behind));
    /* A record that its followers never get. */
    memory_take_off(&c->network.ports[first], false);
    assert_int_equal(node_set_attr(c->nodes[first].node, cluster_op_init(&op), NULL, &attr, ATTR_DIR_MODE), 0);
    while (hand_step(&c->nodes[first].hand))
        ;
    assert_int_equal(log_end(cluster_metadata_log(c, behind)).offset,
                     log_end(cluster_metadata_log(c, first)).offset - 1);
    cluster_kill(c, first);
    (void)cluster_await_leader(c);
    cluster_pass(c, 1000);
    assert_true(log_latest_epoch(cluster_metadata_log(c, behind)) > epoch);
    cluster_kill(c, third);
    cluster_kill(c, behind);
    metadata_files(c, behind, sizes, true);
    cluster_start(c, first);
    cluster_start(c, behind);
    assert_int_equal(cluster_await_leader(c), first);
    cluster_await(c, 3000, cluster_mode(c, behind) == 0744);
    cluster_assert_same_logs(c, first, behind);
}

/* REPLICATION.md, rule 33: whoever says so is not of this cluster, or this node is not any more. */
static void test_who_is_told_to_cut_off_what_is_decided_takes_no_part_any_more(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), told = cluster_follower(c), third = 6 - leader - told;
    cluster_pass(c, 1000);
    struct quorum *quorum = &c->nodes[told].node->quorum;
    struct log_point end = log_end(cluster_metadata_log(c, told));
    assert_int_equal(quorum->decided_offset, end.offset);
    struct raft_message msg = {.type = RAFT_FETCH_ANSWER,
                               .from = quorum->fetcher.from,
                               .to = quorum->self,
                               .epoch = quorum->raft.state.epoch,
                               .fetch_answer = {.outcome = RAFT_FETCH_DIVERGING,
                                                .end_epoch = quorum->end_epoch,
                                                .end_offset = end.offset - 1,
                                                .session = quorum->fetcher.session,
                                                .offset = end.offset}};
    uint8_t header[LIMIT_RAFT_MESSAGE_BYTES];
    struct frame_out cut = {.kind = MESSAGE_RAFT, .header = header};
    cut.header_bytes = (uint32_t)raft_message_encode(&msg, header);
    assert_int_equal(memory_send(&c->network.ports[leader].transport, told, CHANNEL_CONTROL, &cut), 0);
    cluster_settle(c);
    assert_int_equal(log_end(cluster_metadata_log(c, told)).offset, end.offset);
    assert_int_equal(cluster_chmod(c, told, 0711), -EIO);
    /* Two of three go on without it, and it votes for nobody. */
    assert_int_equal(cluster_chmod(c, leader, 0722), 0);
    cluster_await(c, 1000, cluster_mode(c, third) == 0722);
    cluster_kill(c, leader);
    cluster_pass(c, 10000);
    assert_int_equal(cluster_leader(c), 0);
    assert_int_equal(log_end(cluster_metadata_log(c, told)).offset, end.offset);
}

struct changed {
    struct quorum_change change;
    int calls, rc;
};

static void on_changed(struct quorum_change *change, int rc)
{
    struct changed *changed = CONTAINER_OF(change, struct changed, change);
    changed->calls++;
    changed->rc = rc;
}

/* setfattr user.cluster.voters on node `id`: nodes first … first + count - 1. */
static int change_voters(struct cluster *c, int32_t id, int32_t first, int32_t count)
{
    struct changed changed = {.change = {.timeout_ms = 1000, .done = on_changed}};
    struct raft_peers nodes = {.count = count};
    for (int32_t i = 0; i < count; i++)
        nodes.nodes[i] = first + i;
    int rc = quorum_change_voters(&c->nodes[id].node->quorum, &changed.change, &nodes);
    if (rc != 0)
        return rc;
    cluster_await(c, 5000, changed.calls > 0);
    assert_int_equal(changed.calls, 1);
    return changed.rc;
}

static struct raft_voters voters_of(struct cluster *c, int32_t id)
{
    struct raft_voters voters;
    quorum_voters(&c->nodes[id].node->quorum, &voters);
    return voters;
}

static int setup_one(void **state)
{
    struct cluster *c = cluster_new(1);
    cluster_start(c, 1);
    cluster_await(c, 1000, cluster_leader(c) == 1);
    *state = c;
    return 0;
}

/* A node that ran alone is the first of a cluster; the others join empty, and become voters when that is asked for. */
static void test_one_grows_to_three(void **state)
{
    struct cluster *c = *state;
    assert_int_equal(cluster_chmod(c, 1, 0711), 0);
    cluster_stop(c, 1);
    for (int i = 0; i < 3; i++)
        c->peers[i] = (struct node_peer){.id = i + 1, .host = "memory", .port = i + 1};
    c->peer_count = 3;
    cluster_start(c, 1);
    cluster_await(c, 1000, cluster_leader(c) == 1);
    cluster_pass(c, 500);
    assert_int_equal(voters_of(c, 1).count, 1); /* the list makes none */
    /* Those that are not there are refused, and nothing has changed. */
    assert_int_equal(change_voters(c, 1, 1, 3), -EAGAIN);
    assert_int_equal(change_voters(c, 1, 1, 2), -EINVAL);
    cluster_start(c, 2);
    cluster_start(c, 3);
    cluster_await(c, 2000, cluster_mode(c, 2) == 0711 && cluster_mode(c, 3) == 0711);
    assert_string_equal(node_cluster_id(c->nodes[2].node), node_cluster_id(c->nodes[1].node));
    assert_int_equal(cluster_chmod(c, 3, 0722), 0); /* an observer asks as well as any */
    assert_int_equal(voters_of(c, 2).count, 1);
    cluster_pass(c, 1000);
    assert_int_equal(change_voters(c, 2, 1, 3), 0);
    assert_int_equal(voters_of(c, 2).count, 3);
    assert_int_equal(change_voters(c, 3, 1, 3), 0); /* so already */
    /* And they are: the first one is not needed any more. */
    cluster_kill(c, 1);
    cluster_await_leader(c);
    assert_int_equal(cluster_chmod(c, 2, 0733), 0);
    cluster_start(c, 1);
    cluster_await(c, 3000, cluster_mode(c, 1) == 0733);
    cluster_pass(c, 1000);
    cluster_assert_same_logs(c, 1, 2);
}

/* A node that comes back with another disk is an observer until the voters are set again. */
static void test_a_disk_is_replaced(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), lost = cluster_follower(c);
    struct raft_voters before = voters_of(c, leader), after;
    char command[200];
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    cluster_kill(c, lost);
    snprintf(command, sizeof command, "rm -rf %s", c->nodes[lost].dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(change_voters(c, leader, 1, 3), -EAGAIN);
    cluster_start(c, lost);
    cluster_await(c, 3000, cluster_mode(c, lost) == 0711);
    assert_false(raft_is_voter(&c->nodes[lost].node->quorum.raft));
    after = voters_of(c, leader);
    assert_true(raft_voters_equal(&before, &after));
    cluster_pass(c, 1000);
    assert_int_equal(change_voters(c, lost, 1, 3), 0);
    assert_true(raft_is_voter(&c->nodes[lost].node->quorum.raft));
    after = voters_of(c, leader);
    assert_int_equal(after.count, 3);
    assert_false(raft_voters_equal(&before, &after));
    cluster_kill(c, 6 - leader - lost);
    assert_int_equal(cluster_chmod(c, lost, 0722), 0);
}

/* ---- starts and stops ---- */

static void test_a_clean_stop_hands_over(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), follower = cluster_follower(c);
    cluster_pass(c, 1000);
    cluster_stop(c, leader);
    cluster_await(c, 200, cluster_leader(c) > 0);
    assert_int_equal(cluster_chmod(c, follower, 0722), 0);
}

static int setup_none(void **state)
{
    *state = cluster_new(3);
    return 0;
}

static void test_the_first_start_needs_all_of_them(void **state)
{
    struct cluster *c = *state;
    cluster_start(c, 1);
    cluster_start(c, 2);
    cluster_pass(c, 5000);
    assert_int_equal(cluster_leader(c), 0);
    assert_string_equal(node_cluster_id(c->nodes[1].node), "");
    assert_int_equal(cluster_chmod(c, 1, 0711), -EROFS);
    cluster_start(c, 3);
    cluster_await_leader(c);
    assert_int_equal(cluster_chmod(c, 2, 0711), 0);
    assert_int_equal(strlen(node_cluster_id(c->nodes[2].node)), 22);
}

/* Each node has an idea of its own of when MOUNT was made, until that is decided. */
static void test_mount_is_the_same_on_all_nodes(void **state)
{
    struct cluster *c = *state;
    struct tree_attr one, other;
    for (int32_t id = 1; id <= 3; id++) {
        cluster_start(c, id);
        c->nodes[id].node->quorum.meta.root.uid = 1000 + (uid_t)id;
        cluster_pass(c, 500);
    }
    cluster_await_leader(c);
    cluster_await(c, 5000,
                  c->nodes[1].node->quorum.meta.root_said && c->nodes[2].node->quorum.meta.root_said &&
                      c->nodes[3].node->quorum.meta.root_said);
    node_root_attr(c->nodes[1].node, &one);
    assert_in_range(one.uid, 1001, 1003);
    for (int32_t id = 2; id <= 3; id++) {
        node_root_attr(c->nodes[id].node, &other);
        assert_memory_equal(&one, &other, sizeof one);
    }
}

static struct cluster *dying;

/* Of node 1: nothing that its log of the metadata holds gets to the disk. */
static int dying_fdatasync(struct io *io, int fd)
{
    const struct node *node = dying->nodes[1].node;
    (void)io;
    return node != NULL && log_end(node->quorum.log).offset > 0 ? -EIO : io_posix()->fdatasync(io_posix(), fd);
}

/* Killed between the first record's append and its flush: found by the simulator, seed 8 of clusters. */
static void test_a_beginning_that_was_cut_short_is_gone_on_with(void **state)
{
    struct cluster *c = *state;
    dying = c;
    c->nodes[1].disk.io.fdatasync = dying_fdatasync;
    for (int32_t id = 1; id <= 3; id++)
        cluster_start(c, id);
    cluster_await(c, 10000, log_end(cluster_metadata_log(c, 1)).offset > 0);
    memory_take_off(&c->network.ports[1], false);
    (void)node_close(c->nodes[1].node, NULL);
    hand_executor_free(&c->nodes[1].hand);
    c->nodes[1].node = NULL;
    c->nodes[1].disk.io.fdatasync = bad_fdatasync;
    cluster_pass(c, 1000);
    cluster_start(c, 1);
    cluster_await_leader(c);
    assert_int_equal(cluster_chmod(c, 1, 0711), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(test_three_nodes_begin_a_cluster),
        THREE(test_a_command_of_any_node_is_seen_on_all),
        THREE(test_the_leader_is_killed),
        THREE(test_elections_are_counted_by_who_stood),
        THREE(test_a_command_survives_the_election),
        THREE(test_a_late_answer_doubles_no_command),
        THREE(test_a_leader_that_is_cut_off_decides_nothing),
        THREE(test_a_leader_whose_turn_came_late_takes_the_next_command),
        THREE(test_time_in_which_a_node_stood_still_is_nobodys_silence),
        THREE(test_what_another_node_has_just_made_is_there),
        THREE(test_who_has_applied_less_refuses_nothing),
        THREE(test_two_of_three_are_enough_and_one_is_not),
        THREE(test_who_is_told_to_cut_off_what_is_decided_takes_no_part_any_more),
        THREE(test_who_is_behind_is_sent_a_piece_at_a_time),
        THREE(test_an_epoch_that_got_no_record_is_forgotten),
        cmocka_unit_test_setup_teardown(test_one_grows_to_three, setup_one, cluster_teardown),
        THREE(test_a_disk_is_replaced),
        THREE(test_a_clean_stop_hands_over),
        cmocka_unit_test_setup_teardown(test_mount_is_the_same_on_all_nodes, setup_none, cluster_teardown),
        cmocka_unit_test_setup_teardown(test_the_first_start_needs_all_of_them, setup_none, cluster_teardown),
        cmocka_unit_test_setup_teardown(test_a_beginning_that_was_cut_short_is_gone_on_with, setup_none,
                                        cluster_teardown),
    };
    return cmocka_run_group_tests_name("quorum_nodes", tests, NULL, NULL);
}
