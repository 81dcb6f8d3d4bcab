/* Snapshots of the metadata between whole nodes: who is behind the log's start, or parts in front of it, has one, and
 * what becomes of one that a kill cuts short. */
#include <sys/stat.h>

#include "replication/wire/command_message.h"
#include "replication/wire/message.h"
#include "tests/unit/cluster_fixture.h"

/* So many commands that a snapshot takes the place of the log's beginning. */
static void fill_until_snapshot(struct cluster *c, int32_t leader)
{
    struct tree_attr attr = {.dir_mode = 0700};
    int64_t start = log_start(cluster_metadata_log(c, leader)).offset;
    for (int i = 0; i < 2 * LIMIT_SNAPSHOT_COMMANDS && log_start(cluster_metadata_log(c, leader)).offset == start;
         i += 64) {
        struct cluster_op ops[64];
        for (int j = 0; j < 64; j++) {
            assert_int_equal(node_set_attr(c->nodes[leader].node, cluster_op_init(&ops[j]), NULL, &attr, ATTR_DIR_MODE),
                             0);
        }
        for (int j = 0; j < 64; j++)
            assert_int_equal(cluster_op_end(c, &ops[j], 0), 0);
    }
    assert_true(log_start(cluster_metadata_log(c, leader)).offset > start);
}

/* What was made, changed and deleted while it was down is so when it has a snapshot, as if it had applied all. */
static void test_who_is_behind_the_logs_start_has_a_snapshot(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    char value[CONFIG_VALUE_BYTES];
    struct cluster_op op;
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    assert_int_equal(cluster_mkdir(c, leader, "gone"), 0);
    assert_int_equal(cluster_mkdir(c, leader, "kept"), 0);
    cluster_pass(c, 1000);
    for (int round = 0; round < 2; round++) {
        /* Down, or only cut off. */
        int32_t other = 6 - leader - away;
        if (round == 0) {
            cluster_kill(c, away);
        } else {
            memory_cut(&c->network, leader, away, true);
            memory_cut(&c->network, other, away, true);
        }
        assert_int_equal(cluster_rmdir(c, leader, round == 0 ? "gone" : "more"), 0);
        assert_int_equal(cluster_mkdir(c, leader, round == 0 ? "more" : "most"), 0);
        assert_int_equal(cluster_op_end(c, &op,
                                        node_set_config(c->nodes[leader].node, cluster_op_init(&op), "kept",
                                                        "retention.ms", round == 0 ? "77" : "88")),
                         0);
        fill_until_snapshot(c, leader);
        if (round == 0) {
            cluster_start(c, away);
        } else {
            memory_cut(&c->network, leader, away, false);
            memory_cut(&c->network, other, away, false);
        }
        cluster_await(c, 5000, cluster_has(c, away, round == 0 ? "more" : "most"));
        assert_false(cluster_has(c, away, round == 0 ? "gone" : "more"));
        assert_true(cluster_has(c, away, "kept"));
        assert_int_equal(node_get_config(c->nodes[away].node, "kept", "retention.ms", value), 0);
        assert_string_equal(value, round == 0 ? "77" : "88");
        if (round == 0)
            cluster_register(c, away);
        cluster_pass(c, 1000);
        assert_false(cluster_has_directory(c, away, round == 0 ? "gone-0" : "more-0"));
        assert_true(log_start(cluster_metadata_log(c, away)).offset > 0);
        cluster_assert_same_logs(c, leader, away);
        assert_int_equal(cluster_chmod(c, away, 0711), 0);
    }
    /* And it is what it starts with. */
    cluster_kill(c, away);
    cluster_start(c, away);
    assert_true(cluster_has(c, away, "most"));
    cluster_await(c, 3000, cluster_mode(c, away) == 0711);
}

/* Killed when the log has begun behind the snapshot, and what that does not know any more was not taken away yet. */
static void test_what_a_snapshot_does_not_know_goes_also_after_a_kill(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c), other = 6 - leader - away;
    struct quorum_install *install = &c->nodes[away].node->quorum.install;
    char command[400];
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    assert_int_equal(cluster_mkdir(c, leader, "gone"), 0);
    cluster_pass(c, 1000);
    assert_true(cluster_has_directory(c, away, "gone-0"));
    memory_cut(&c->network, leader, away, true);
    memory_cut(&c->network, other, away, true);
    assert_int_equal(cluster_rmdir(c, leader, "gone"), 0);
    fill_until_snapshot(c, leader);
    memory_cut(&c->network, leader, away, false);
    memory_cut(&c->network, other, away, false);
    while (install->state != INSTALL_REPLACING) {
        if (!hand_step(&c->nodes[leader].hand) && !hand_step(&c->nodes[other].hand) && !memory_step(&c->network) &&
            !hand_step(&c->nodes[away].hand))
            atomic_fetch_add(&c->clock.passed_ms, 5);
    }
    assert_true(cluster_has_directory(c, away, "gone-0"));
    snprintf(command, sizeof command, "cp -r %s %s.killed", c->nodes[away].dir, c->nodes[away].dir);
    assert_int_equal(system(command), 0);
    cluster_kill(c, away);
    snprintf(command, sizeof command, "rm -r %s && mv %s.killed %s", c->nodes[away].dir, c->nodes[away].dir,
             c->nodes[away].dir);
    assert_int_equal(system(command), 0);
    cluster_start(c, away);
    cluster_register(c, away);
    cluster_pass(c, 1000);
    assert_false(cluster_has(c, away, "gone"));
    assert_false(cluster_has_directory(c, away, "gone-0"));
}

/* Killed before it had kept how much of its log was decided: when it is back its snapshot comes before it has applied
 * that the topic was made. */
static void test_what_a_snapshot_does_not_know_goes_if_it_was_not_applied_again(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c), other = 6 - leader - away;
    char kept[160], command[400];
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    cluster_pass(c, 1000);
    snprintf(kept, sizeof kept, "%s/replication-offset-checkpoint", c->nodes[away].dir);
    snprintf(command, sizeof command, "cp %s %s.killed", kept, c->nodes[away].dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(cluster_mkdir(c, leader, "gone"), 0);
    cluster_await(c, 1000, cluster_has_directory(c, away, "gone-0"));
    cluster_kill(c, away);
    snprintf(command, sizeof command, "mv %s.killed %s", c->nodes[away].dir, kept);
    assert_int_equal(system(command), 0);
    assert_int_equal(cluster_rmdir(c, leader, "gone"), 0);
    fill_until_snapshot(c, leader);
    memory_cut(&c->network, leader, away, true);
    memory_cut(&c->network, other, away, true);
    cluster_start(c, away);
    cluster_settle(c);
    assert_false(cluster_has(c, away, "gone"));
    memory_cut(&c->network, leader, away, false);
    memory_cut(&c->network, other, away, false);
    cluster_await(c, 5000, log_start(cluster_metadata_log(c, away)).offset > 0);
    cluster_register(c, away);
    cluster_pass(c, 1000);
    assert_false(cluster_has(c, away, "gone"));
    assert_false(cluster_has_directory(c, away, "gone-0"));
}

/* Between the moment at which a snapshot is on the disk and that at which the log begins behind it. */
static void test_a_snapshot_that_was_not_adopted_is_at_the_next_start(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    char from[160], to[160], command[400];
    cluster_pass(c, 1000);
    cluster_kill(c, away);
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    fill_until_snapshot(c, leader);
    snprintf(from, sizeof from, "%s/metadata.snapshot", c->nodes[leader].dir);
    snprintf(to, sizeof to, "%s/metadata.snapshot.new", c->nodes[away].dir);
    snprintf(command, sizeof command, "cp %s %s", from, to);
    assert_int_equal(system(command), 0);
    cluster_start(c, away);
    assert_true(log_start(cluster_metadata_log(c, away)).offset > 0);
    assert_int_not_equal(access(to, F_OK), 0);
    assert_int_equal(cluster_mode(c, away), 0700);
    assert_int_equal(cluster_chmod(c, away, 0733), 0);
    cluster_pass(c, 1000);
    cluster_assert_same_logs(c, leader, away);
}

/* Given up, and there again after a power cut: what the log has behind it may be decided because it is there. */
static void test_a_snapshot_that_the_log_has_passed_is_none_to_start_with(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    char from[160], to[160], command[400];
    cluster_pass(c, 1000);
    fill_until_snapshot(c, leader);
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    cluster_pass(c, 1000);
    struct log_point end = log_end(cluster_metadata_log(c, away));
    cluster_kill(c, away);
    snprintf(from, sizeof from, "%s/metadata.snapshot", c->nodes[leader].dir);
    snprintf(to, sizeof to, "%s/metadata.snapshot.new", c->nodes[away].dir);
    snprintf(command, sizeof command, "cp %s %s", from, to);
    assert_int_equal(system(command), 0);
    cluster_start(c, away);
    assert_int_equal(log_end(cluster_metadata_log(c, away)).offset, end.offset);
    assert_int_not_equal(access(to, F_OK), 0);
    cluster_await(c, 3000, cluster_mode(c, away) == 0711);
    cluster_assert_same_logs(c, leader, away);
}

/* It appends what nobody will decide. */
static void append_in_vain(struct cluster *c, int32_t id, struct cluster_op ops[], int count)
{
    struct tree_attr lost = {.dir_mode = 0755};
    int64_t end = log_end(cluster_metadata_log(c, id)).offset;
    for (int i = 0; i < count; i++)
        assert_int_equal(node_set_attr(c->nodes[id].node, cluster_op_init(&ops[i]), NULL, &lost, ATTR_DIR_MODE), 0);
    cluster_settle(c);
    assert_int_equal(log_end(cluster_metadata_log(c, id)).offset, end + count);
}

/* Its log parts from the others' where theirs begin no more, and ends in an epoch that they know nothing of. */
static void test_who_parts_before_the_logs_start_has_a_snapshot(void **state)
{
    struct cluster *c = *state;
    int32_t first = cluster_await_leader(c), second, third;
    struct cluster_op ops[3];
    cluster_pass(c, 1000);
    int64_t parts = log_end(cluster_metadata_log(c, first)).offset;
    cluster_cut_off(c, first, true);
    append_in_vain(c, first, ops, 3);
    cluster_await(c, 5000, cluster_leader(c) > 0 && cluster_leader(c) != first);
    second = cluster_leader(c);
    third = 6 - first - second;
    assert_int_equal(log_end(cluster_metadata_log(c, second)).offset, parts + 1);
    for (int32_t id = 1; id <= 3; id++) {
        if (id != first)
            c->nodes[id].node->quorum.snapshot_at = parts + 2;
    }
    assert_int_equal(cluster_chmod(c, second, 0711), 0);
    cluster_await(c, 1000,
                  log_start(cluster_metadata_log(c, second)).offset == parts + 2 &&
                      log_start(cluster_metadata_log(c, third)).offset == parts + 2);
    /* The next epoch begins right where the logs do. */
    cluster_kill(c, second);
    cluster_pass(c, 100);
    cluster_start(c, second);
    cluster_await_leader(c);
    cluster_cut_off(c, first, false);
    cluster_await(c, 5000, cluster_mode(c, first) == 0711);
    cluster_pass(c, 1000);
    cluster_assert_same_logs(c, second, first);
    cluster_assert_same_logs(c, third, first);
    assert_true(log_start(cluster_metadata_log(c, first)).offset == parts + 2);
    assert_int_equal(cluster_chmod(c, first, 0722), 0);
    cluster_await(c, 1000, cluster_mode(c, third) == 0722);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(test_who_is_behind_the_logs_start_has_a_snapshot),
        THREE(test_what_a_snapshot_does_not_know_goes_also_after_a_kill),
        THREE(test_what_a_snapshot_does_not_know_goes_if_it_was_not_applied_again),
        THREE(test_a_snapshot_that_was_not_adopted_is_at_the_next_start),
        THREE(test_a_snapshot_that_the_log_has_passed_is_none_to_start_with),
        THREE(test_who_parts_before_the_logs_start_has_a_snapshot),
    };
    return cmocka_run_group_tests_name("quorum_snapshots", tests, NULL, NULL);
}
