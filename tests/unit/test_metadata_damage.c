/* Metadata that is damaged or lost on a disk: what is found out, what is said, and what comes back by itself. */
#include "tests/unit/cluster_fixture.h"

#include "replication/base/limits.h"

#define METADATA_LOG "topics/__cluster_metadata-0"

/* The first place in a file at which it says `what` says `instead`. */
static void alter(const char *dir, const char *name, const char *what, const char *instead)
{
    char path[256], bytes[65536];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    ssize_t len = pread(fd, bytes, sizeof bytes, 0);
    const char *at = memmem(bytes, (size_t)len, what, strlen(what));
    assert_non_null(at);
    assert_int_equal(pwrite(fd, instead, strlen(instead), at - bytes), strlen(instead));
    close(fd);
}

static void remove_in(const char *dir, const char *names)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s/%s", dir, names);
    assert_int_equal(system(command), 0);
}

/* ---- check.crcs=false ---- */

static void refuses_to_start(struct fixture *f, const char *says)
{
    struct err e = {0};
    int rc = try_open(f, 1, &e);
    f->node = rc == 0 ? f->node : NULL;
    assert_int_equal(rc, -EBADMSG);
    if (strstr(e.text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

/* A topic of another name, as the record would have it. */
static void what_metadata_says_is_checked_in_any_case(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    stop(f);
    f->unchecked = true;
    alter(f->dir, METADATA_LOG "/00000000000000000000.log", "orders", "ordert");
    refuses_to_start(f, "do not match their CRC");
    alter(f->dir, METADATA_LOG "/00000000000000000000.log", "ordert", "orders");
    start(f);
    assert_content(f, "orders", "");
}

/* A record as far as its framing goes: a key and a value, [5] and 7. */
static int append_no_record(struct fixture *f, struct topic *offsets, struct append_op *op)
{
    static const char record[] = "\x92\x91\x05\x07";
    struct iovec iov = {.iov_base = (char *)(uintptr_t)record, .iov_len = sizeof record - 1};
    *op = (struct append_op){.part = topic_partition(offsets, 7), .acks = ACKS_ALL, .internal = true};
    append_batch_init(&op->batch, FRAMING_MSGPACK, &iov, 1, hand_wall_ms(&f->clock.clock));
    op->batch.records = 1;
    op->batch.crc = crc32c(0, record, iov.iov_len);
    return partition_append_submit(op, NULL);
}

static void what_groups_coordinators_say_is_checked_in_any_case(void **state)
{
    struct fixture *f = *state;
    struct append_op op;
    struct err e = {0};
    char text[64];
    create(f, "orders");
    append(f, "orders", "one\n");
    assert_int_equal(create_group(f->node, "kitchen", &some_attr, &e), 0);
    struct topic *offsets = node_internal_topic(f->node, METADATA_OFFSETS_TOPIC);
    assert_int_equal(append_no_record(f, offsets, &op), 1);
    topic_unref(offsets);
    stop(f);
    f->unchecked = true;
    alter(f->dir, "topics/" METADATA_OFFSETS_TOPIC "-7/00000000000000000000.log", "\x05", "\x06");
    alter(f->dir, "topics/orders-0/00000000000000000000.log", "one", "two");
    start(f);
    offsets = node_internal_topic(f->node, METADATA_OFFSETS_TOPIC);
    assert_int_equal(text_of(topic_partition(offsets, 7), text, sizeof text), -EIO);
    topic_unref(offsets);
    assert_content(f, "orders", "two\n");
}

/* ---- the log is gone ---- */

/* As if none of them had been written since: the log alone could have told. */
static void lose_log(const char *dir)
{
    remove_in(dir, METADATA_LOG);
    remove_in(dir, "*-checkpoint");
}

static void who_has_lost_the_metadata_does_not_begin_anew(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    append(f, "orders", "one\n");
    stop(f);
    lose_log(f->dir);
    for (int i = 0; i < 2; i++) /* the first has made an empty one */
        refuses_to_start(f, "its log and its snapshot are gone");
    assert_true(exists(f, "topics/orders-0"));
    remove_in(f->dir, "*");
    start(f);
    create(f, "more");
}

static void snapshot_at_next_command(struct node *node)
{
    executor_settle(node->executor); /* the applier's */
    node->quorum.snapshot_at = log_end(node->quorum.log).offset + 1;
}

static bool has_snapshot(struct node *node)
{
    struct quorum *quorum = &node->quorum;
    pthread_mutex_lock(&quorum->lock);
    bool has = quorum->snapshot_id.end.offset > 0 && !atomic_load(&quorum->snapshotting);
    pthread_mutex_unlock(&quorum->lock);
    return has;
}

static void a_snapshot_without_its_log_is_not_all(void **state)
{
    struct fixture *f = *state;
    snapshot_at_next_command(f->node);
    create(f, "orders");
    wait_until(has_snapshot(f->node));
    stop(f);
    lose_log(f->dir);
    refuses_to_start(f, "in front of where its snapshot does");
}

/* It would vote for whoever asks, having forgotten what it has promised. */
static void a_voter_that_has_lost_its_log_is_none(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), lost = cluster_follower(c);
    struct err e = {0};
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    cluster_pass(c, 1000);
    cluster_kill(c, lost);
    lose_log(c->nodes[lost].dir);
    assert_int_equal(cluster_try_start(c, lost, &e), -EBADMSG);
    assert_non_null(strstr(e.text, "its log and its snapshot are gone"));
    hand_executor_free(&c->nodes[lost].hand);
    c->nodes[lost].node = NULL;
    /* What it says to do. */
    remove_in(c->nodes[lost].dir, "");
    cluster_start(c, lost);
    cluster_await(c, 3000, cluster_mode(c, lost) == 0711);
    assert_false(raft_is_voter(&c->nodes[lost].node->quorum.raft));
}

static void no_flush(struct work *work)
{
    (void)work;
}

/* Its disk is slow, and what the two others have is decided: after a power cut nothing of it may be here. */
static void who_knows_its_cluster_has_a_record_of_it(void **state)
{
    struct cluster *c = *state;
    for (int32_t id = 1; id <= 3; id++)
        cluster_start(c, id);
    struct node *slow = c->nodes[3].node;
    slow->quorum.flush_work.run = no_flush;
    cluster_await(c, 10000, atomic_load(&slow->in_cluster));
    assert_true(log_recovery_point(slow->quorum.log) > 0);
}

static void a_snapshot_ends_in_front_of_what_is_flushed(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), slow = cluster_follower(c);
    struct quorum *quorum = &c->nodes[slow].node->quorum;
    cluster_pass(c, 1000);
    quorum->flush_work.run = no_flush;
    snapshot_at_next_command(c->nodes[slow].node);
    assert_int_equal(cluster_chmod(c, leader, 0711), 0);
    cluster_await(c, 1000, has_snapshot(c->nodes[slow].node));
    assert_true(log_recovery_point(quorum->log) >= quorum->snapshot_id.end.offset);
}

/* ---- a snapshot is damaged ---- */

enum damage { BODY, HEADER, LENGTH, GONE, DAMAGES };

static void damage_snapshot(const char *dir, enum damage damage)
{
    char path[256];
    snprintf(path, sizeof path, "%s/metadata.snapshot", dir);
    switch (damage) {
    case BODY:
        alter(dir, "metadata.snapshot", "create_topic", "create_tipic");
        return;
    case HEADER:
        alter(dir, "metadata.snapshot", "LOGMNTMS", "LOGMNTSM");
        return;
    case LENGTH:
        assert_int_equal(truncate(path, 100), 0);
        return;
    default:
        assert_int_equal(unlink(path), 0);
    }
}

static int look_at_snapshot(const char *dir)
{
    int dirfd = open(dir, O_RDONLY | O_DIRECTORY);
    int rc = snapshot_check(io_posix(), dirfd, NULL);
    close(dirfd);
    return rc;
}

/* Who is behind the log's start asks for it: it is written anew, and only that one is given. */
static void a_damaged_snapshot_is_written_anew_before_it_is_given(void **state)
{
    struct cluster *c = *state;
    int32_t leader = cluster_await_leader(c), away = cluster_follower(c);
    cluster_pass(c, 1000);
    assert_int_equal(cluster_mkdir(c, leader, "orders"), 0);
    for (int damage = 0; damage < DAMAGES; damage++) {
        mode_t mode = (mode_t)(0711 + damage);
        cluster_kill(c, away);
        cluster_pass(c, 5000);
        leader = cluster_await_leader(c);
        for (int32_t id = 1; id <= 3; id++) {
            if (id != away)
                snapshot_at_next_command(c->nodes[id].node);
        }
        assert_int_equal(cluster_chmod(c, leader, mode), 0);
        for (int32_t id = 1; id <= 3; id++) {
            if (id == away)
                continue;
            cluster_await(c, 1000, log_start(c->nodes[id].node->quorum.log).offset > 0);
            cluster_await(c, 1000, has_snapshot(c->nodes[id].node));
            damage_snapshot(c->nodes[id].dir, damage);
        }
        cluster_start(c, away);
        cluster_await(c, 10000, cluster_mode(c, away) == mode);
        assert_int_equal(look_at_snapshot(c->nodes[cluster_leader(c)].dir), 0);
        assert_int_equal(look_at_snapshot(c->nodes[away].dir), 0);
        assert_true(cluster_has(c, away, "orders"));
    }
}

/* A node would not start with it. */
static void a_damaged_snapshot_is_found_by_the_scrub(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    snapshot_at_next_command(f->node);
    set(f, "orders", "retention.ms", "77");
    wait_until(has_snapshot(f->node));
    for (int damage = 0; damage < DAMAGES; damage++) {
        damage_snapshot(f->dir, damage);
        assert_int_not_equal(look_at_snapshot(f->dir), 0);
        wait_until(!atomic_load(&f->node->scrubber.active));
        pass_ms(f, LIMIT_SCRUB_ROUND_MS);
        scrubber_check(&f->node->scrubber);
        pass_ms(f, 0);
        wait_until(look_at_snapshot(f->dir) == 0);
        wait_until(has_snapshot(f->node));
    }
    crash_and_restart(f);
    assert_content(f, "orders", "");
}

static void a_start_with_a_damaged_snapshot_says_what_to_do(void **state)
{
    struct fixture *f = *state;
    create(f, "orders");
    snapshot_at_next_command(f->node);
    set(f, "orders", "retention.ms", "77");
    wait_until(has_snapshot(f->node));
    stop(f);
    damage_snapshot(f->dir, BODY);
    refuses_to_start(f, "metadata.snapshot: CRC does not match: put it back; or, where other nodes hold the metadata, "
                        "take this node's data directory away");
}

/* ---- the main ---- */

static int setup_none(void **state)
{
    *state = cluster_new(3);
    return 0;
}

#define ONE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(what_metadata_says_is_checked_in_any_case),
        ONE(what_groups_coordinators_say_is_checked_in_any_case),
        ONE(who_has_lost_the_metadata_does_not_begin_anew),
        ONE(a_snapshot_without_its_log_is_not_all),
        THREE(a_voter_that_has_lost_its_log_is_none),
        cmocka_unit_test_setup_teardown(who_knows_its_cluster_has_a_record_of_it, setup_none, cluster_teardown),
        THREE(a_snapshot_ends_in_front_of_what_is_flushed),
        THREE(a_damaged_snapshot_is_written_anew_before_it_is_given),
        ONE(a_damaged_snapshot_is_found_by_the_scrub),
        ONE(a_start_with_a_damaged_snapshot_says_what_to_do),
    };
    return cmocka_run_group_tests_name("metadata_damage", tests, NULL, NULL);
}
