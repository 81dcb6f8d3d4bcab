/* A metadata quorum all of whose nodes are killed: what each knows at its next start, alone and with the others. */
#include "tests/unit/cluster_fixture.h"

static void test_all_are_killed_and_come_back(void **state)
{
    struct cluster *c = *state;
    cluster_await_leader(c);
    assert_int_equal(cluster_chmod(c, 2, 0711), 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_kill(c, id);
    for (int32_t id = 1; id <= 3; id++)
        cluster_start(c, id);
    cluster_await(c, 500, cluster_leader(c) > 0);
    for (int32_t id = 1; id <= 3; id++)
        cluster_await(c, 1000, cluster_mode(c, id) == 0711);
    assert_int_equal(cluster_chmod(c, 3, 0722), 0);
}

/* What was decided is not yet known to be when a node starts; the directories are there. */
static void test_topics_of_a_moment_before_all_died_are_there_again(void **state)
{
    struct cluster *c = *state;
    cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    assert_int_equal(cluster_mkdir(c, 2, "orders"), 0);
    assert_int_equal(cluster_mkdir(c, 2, "gone"), 0);
    assert_int_equal(cluster_rmdir(c, 3, "gone"), 0);
    cluster_pass(c, 1000);
    for (int32_t id = 1; id <= 3; id++) {
        char path[160];
        cluster_kill(c, id);
        snprintf(path, sizeof path, "%s/replication-offset-checkpoint", c->nodes[id].dir);
        unlink(path); /* kill -9 comes before it is written */
    }
    for (int32_t id = 1; id <= 3; id++)
        cluster_start(c, id);
    cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++) {
        cluster_register(c, id);
        cluster_await(c, 1000, cluster_has(c, id, "orders"));
        assert_false(cluster_has(c, id, "gone"));
        assert_true(cluster_has_directory(c, id, "orders-0"));
        assert_false(cluster_has_directory(c, id, "gone-0"));
        assert_false(cluster_has_directory(c, id, "orders-0.unknown.0-stray"));
    }
}

/* Nobody is there to say what is decided, and no clean stop has kept it. */
static void test_who_is_killed_and_finds_no_majority_shows_what_it_showed(void **state)
{
    struct cluster *c = *state;
    char file[160], aside[160];
    (void)cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    assert_int_equal(cluster_mkdir(c, 2, "orders"), 0);
    cluster_pass(c, 2 * LIMIT_DECIDED_CHECKPOINT_MS);
    for (int32_t id = 1; id <= 3; id++) {
        snprintf(file, sizeof file, "%s/replication-offset-checkpoint", c->nodes[id].dir);
        snprintf(aside, sizeof aside, "%s/aside", c->nodes[id].dir);
        assert_int_equal(rename(file, aside), 0);
        cluster_kill(c, id);
        assert_int_equal(rename(aside, file), 0);
    }
    for (int32_t id = 1; id <= 3; id++) {
        cluster_start(c, id);
        assert_true(cluster_has(c, id, "orders"));
        cluster_kill(c, id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(test_all_are_killed_and_come_back),
        THREE(test_topics_of_a_moment_before_all_died_are_there_again),
        THREE(test_who_is_killed_and_finds_no_majority_shows_what_it_showed),
    };
    return cmocka_run_group_tests_name("quorum_killed", tests, NULL, NULL);
}
