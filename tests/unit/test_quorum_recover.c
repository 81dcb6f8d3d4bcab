/* quorum.recover: a metadata quorum that is lost for good is made anew of one whole node, and what may come in between.
 */
#include "tests/unit/cluster_fixture.h"

/* Two of three disks are gone for good. */
static void test_a_lost_quorum_is_made_anew(void **state)
{
    struct cluster *c = *state;
    struct err e = {0};
    cluster_await_leader(c);
    assert_int_equal(cluster_chmod(c, 2, 0711), 0);
    cluster_pass(c, 1000);
    uint64_t incarnation = c->nodes[2].node->identity.incarnation;
    cluster_kill(c, 2);
    /* While others are there it is refused, and nothing has changed. */
    c->nodes[2].recover = true;
    assert_int_equal(cluster_try_start(c, 2, &e), -EBUSY);
    assert_non_null(strstr(e.text, "quorum.recover"));
    hand_executor_free(&c->nodes[2].hand);
    c->nodes[2].node = NULL;
    c->nodes[2].recover = false;
    cluster_start(c, 2);
    assert_true(c->nodes[2].node->identity.incarnation == incarnation);
    cluster_await(c, 3000, raft_is_voter(&c->nodes[2].node->quorum.raft) && cluster_leader(c) > 0);
    assert_int_equal(cluster_chmod(c, 2, 0722), 0);
    cluster_pass(c, 1000);
    int64_t next_producer_id = c->nodes[2].node->quorum.meta.next_producer_id;
    for (int32_t id = 1; id <= 3; id++)
        cluster_kill(c, id);
    c->nodes[2].recover = true;
    int64_t began_ms = c->clock.clock.mono_ms(&c->clock.clock);
    cluster_start(c, 2);
    assert_int_equal(cluster_leader(c), 2);
    /* Once it is another one nothing can refuse it any more. */
    assert_in_range(c->clock.clock.mono_ms(&c->clock.clock) - began_ms, RAFT_ELECTION_MAX_MS,
                    RAFT_ELECTION_MAX_MS + 200);
    assert_true(c->nodes[2].node->identity.incarnation != incarnation);
    assert_int_equal(raft_voters(&c->nodes[2].node->quorum.raft)->count, 1);
    assert_int_equal(cluster_mode(c, 2), 0722);
    /* Those that are lost may have given some of which nothing is left here but batches. */
    assert_true(c->nodes[2].node->quorum.meta.next_producer_id > next_producer_id + INT32_MAX);
    assert_int_equal(cluster_chmod(c, 2, 0733), 0);
    /* The option may stay. */
    cluster_stop(c, 2);
    cluster_start(c, 2);
    assert_int_equal(cluster_chmod(c, 2, 0744), 0);
}

/* Its host has no time for it right at the start, and it has asked nobody by then. */
static void test_a_node_that_stood_still_has_not_listened(void **state)
{
    struct cluster *c = *state;
    struct err e = {0};
    cluster_await_leader(c);
    cluster_pass(c, 1000);
    cluster_kill(c, 2);
    c->nodes[2].recover = true;
    c->nodes[2].stall_ms = 10 * RAFT_ELECTION_MAX_MS;
    assert_int_equal(cluster_try_start(c, 2, &e), -EBUSY);
    assert_non_null(strstr(e.text, "quorum.recover"));
    hand_executor_free(&c->nodes[2].hand);
    c->nodes[2].node = NULL;
}

/* Of the only topic, as that node knows it. */
static bool is_in_sync(struct cluster *c, int32_t id, int32_t node)
{
    const struct metadata *meta = &c->nodes[id].node->quorum.meta;
    return meta->topic_count == 1 && replica_set_has(&meta->topics[0]->parts[0].isr, node);
}

/* It may have lost the end of what it had, but it counts: the start that failed was no clean stop. */
static bool still_counts(struct cluster *c, int32_t id)
{
    return is_in_sync(c, id, id) || replica_set_has(&c->nodes[id].node->quorum.meta.topics[0]->parts[0].last_isr, id);
}

/* A topic with a replica on each node, all of them in sync, and then no node any more. */
static void leave_a_topic_behind(struct cluster *c)
{
    cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    cluster_await(c, 10000,
                  !metadata_node(&c->nodes[2].node->quorum.meta, 1)->fenced &&
                      !metadata_node(&c->nodes[2].node->quorum.meta, 2)->fenced &&
                      !metadata_node(&c->nodes[2].node->quorum.meta, 3)->fenced);
    assert_int_equal(cluster_mkdir(c, 2, "orders"), 0);
    cluster_await(c, 10000, is_in_sync(c, 2, 1) && is_in_sync(c, 2, 2) && is_in_sync(c, 2, 3));
    cluster_pass(c, 1000);
    for (int32_t id = 1; id <= 3; id++) {
        memory_take_off(&c->network.ports[id], false);
        atomic_store(&c->nodes[id].node->membership.state, MEMBER_LEFT);
    }
    for (int32_t id = 1; id <= 3; id++)
        cluster_stop(c, id);
}

/* Nothing is written any more once the directory has another incarnation. */
static int rename_and_break(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    if (strcmp(to, "meta.properties") == 0)
        atomic_store(&((struct bad_disk *)io)->pwritev_rc, -EIO);
    return io_posix()->rename(io_posix(), from_dirfd, from, to_dirfd, to);
}

static void fail_to_start(struct cluster *c, int32_t id, int expected)
{
    struct err e = {0};
    assert_int_equal(cluster_try_start(c, id, &e), expected);
    assert_non_null(strstr(e.text, "quorum.recover"));
    hand_executor_free(&c->nodes[id].hand);
    c->nodes[id].node = NULL;
    atomic_store(&c->nodes[id].disk.pwritev_rc, 0);
}

/* Two new incarnations, of which the cluster has heard of none: the directory is still the one that it knows. */
static void test_a_recovery_that_came_to_nothing_loses_nothing(void **state)
{
    struct cluster *c = *state;
    leave_a_topic_behind(c);
    c->nodes[2].recover = true;
    c->nodes[2].disk.io.rename = rename_and_break;
    fail_to_start(c, 2, -EIO);
    c->nodes[2].disk.io.rename = io_posix()->rename;
    cluster_start(c, 2);
    cluster_await(c, 10000,
                  metadata_node(&c->nodes[2].node->quorum.meta, 2)->incarnation ==
                      c->nodes[2].node->identity.incarnation);
    assert_true(still_counts(c, 2));
}

static int short_appends;

/* A few times there is no room for the metadata log, though for smaller files. */
static ssize_t short_pwritev(struct io *io, int fd, const struct iovec *iov, int iovcnt, int64_t at)
{
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[len < 0 ? 0 : len] = '\0';
    if (short_appends > 0 && strstr(path, "__cluster_metadata-0") != NULL) {
        short_appends--;
        return -ENOSPC;
    }
    return bad_pwritev(io, fd, iov, iovcnt, at);
}

static void test_a_recovery_waits_for_room(void **state)
{
    struct cluster *c = *state;
    leave_a_topic_behind(c);
    c->nodes[2].recover = true;
    atomic_store(&c->nodes[2].disk.pwritev_rc, -ENOSPC);
    fail_to_start(c, 2, -ENOSPC);
    short_appends = 3;
    c->nodes[2].disk.io.pwritev = short_pwritev;
    cluster_start(c, 2);
    assert_int_equal(short_appends, 0);
    assert_int_equal(cluster_leader(c), 2);
    assert_int_equal(cluster_chmod(c, 2, 0733), 0);
    cluster_pass(c, 5000);
    assert_true(still_counts(c, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(test_a_lost_quorum_is_made_anew),
        THREE(test_a_node_that_stood_still_has_not_listened),
        THREE(test_a_recovery_that_came_to_nothing_loses_nothing),
        THREE(test_a_recovery_waits_for_room),
    };
    return cmocka_run_group_tests_name("quorum_recover", tests, NULL, NULL);
}
