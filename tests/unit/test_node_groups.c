/* Consumer groups on a whole node, and on three: made, changed and deleted by commands of any of them, there again
 * after a restart and after a snapshot; and the topic of their offsets, which is not a user's. */
#include "tests/unit/cluster_fixture.h"

static const struct tree_attr group_attr = {.uid = 1000, .gid = 100, .dir_mode = 0750};

static void make(struct fixture *f, const char *name)
{
    struct err e = {0};
    int rc = create_group(f->node, name, &group_attr, &e);
    if (rc != 0)
        fail_msg("create group %s: %d %s", name, rc, e.text);
}

static size_t internal_count(struct node *node)
{
    struct topic **topics;
    size_t count;
    assert_int_equal(node_internal_topics(node, &topics, &count), 0);
    for (size_t i = 0; i < count; i++)
        topic_unref(topics[i]);
    free(topics);
    return count;
}

/* ---- one node ---- */

static void test_a_group_is_made_with_the_topic_of_offsets(void **state)
{
    struct fixture *f = *state;
    struct topic **topics;
    struct tree_attr attr;
    size_t count;
    node_groups_attr(f->node, &attr);
    assert_int_equal(attr.dir_mode, 01777);
    assert_int_equal(internal_count(f->node), 1);
    make(f, "kitchen");
    assert_int_equal(create_group(f->node, "kitchen", &group_attr, NULL), -EEXIST);
    assert_int_equal(create_group(f->node, ".json", &group_attr, NULL), -EINVAL);
    struct node_group *group = node_group(f->node, "kitchen");
    assert_non_null(group);
    node_group_attr(group, &attr);
    assert_int_equal(attr.uid, 1000);
    assert_int_equal(attr.dir_mode, 0750);
    assert_true(attr.mtime_ms > 0);
    node_group_unref(group);
    assert_null(node_group(f->node, "bar"));

    /* Among the cluster's own topics, and not among the users'. */
    assert_int_equal(internal_count(f->node), 2);
    assert_null(node_topic(f->node, "__consumer_offsets"));
    assert_int_equal(node_topics(f->node, &topics, &count), 0);
    assert_int_equal(count, 0);
    free(topics);
    struct topic *offsets = node_internal_topic(f->node, "__consumer_offsets");
    assert_non_null(offsets);
    assert_true(topic_internal(offsets));
    assert_int_equal(topic_partition_count(offsets), 50);
    struct topic_config config;
    topic_config(offsets, &config);
    assert_int_equal(config.log.framing, FRAMING_MSGPACK);
    assert_int_equal(config.log.cleanup_policy, CLEANUP_COMPACT);
    topic_unref(offsets);

    make(f, "bar");
    assert_int_equal(internal_count(f->node), 2);
    struct node_group **groups;
    assert_int_equal(node_group_list(f->node, &groups, &count), 0);
    assert_int_equal(count, 2);
    assert_string_equal(node_group_name(groups[0]), "bar");
    assert_string_equal(node_group_name(groups[1]), "kitchen");
    node_group_unref(groups[0]);
    node_group_unref(groups[1]);
    free(groups);
}

static int append_record(struct partition *part, bool internal, struct err *e)
{
    /* ["kitchen", nil] */
    static const char record[] = "\x92\xa7kitchen\xc0";
    struct iovec iov = {.iov_base = (char *)record, .iov_len = sizeof record - 1};
    struct append_op op = {.part = part,
                           .acks = ACKS_ALL,
                           .internal = internal,
                           .batch = {.iov = &iov,
                                     .iovcnt = 1,
                                     .len = (uint32_t)iov.iov_len,
                                     .records = 1,
                                     .framing = FRAMING_MSGPACK,
                                     .crc = crc32c(0, record, iov.iov_len),
                                     .first_timestamp_ms = 1,
                                     .last_timestamp_ms = 1,
                                     .producer_id = -1,
                                     .sequence = -1}};
    return partition_append_submit(&op, e);
}

static void test_offsets_are_not_a_users_to_write(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    make(f, "kitchen");
    struct topic *offsets = node_internal_topic(f->node, "__consumer_offsets");
    struct partition *part = topic_partition(offsets, 7);
    assert_int_equal(append_record(part, false, &e), -EPERM);
    int rc = append_record(part, true, &e);
    if (rc != 1)
        fail_msg("%d %s", rc, e.text);
    assert_int_equal(partition_log_end(part).offset, 1);
    assert_int_equal(delete_records(part, 10, NULL), -EPERM);
    assert_int_equal(delete_topic(f->node, "__consumer_offsets", NULL), -ENOTEMPTY);
    assert_int_equal(create_topic(f->node, "__consumer_offsets", &some_attr, NULL), -EINVAL);
    topic_unref(offsets);
    /* It is as any topic: it is there again. */
    crash_and_restart(f);
    offsets = node_internal_topic(f->node, "__consumer_offsets");
    assert_int_equal(partition_log_end(topic_partition(offsets, 7)).offset, 1);
    topic_unref(offsets);
}

static void test_settings(void **state)
{
    struct fixture *f = *state;
    struct group_config config;
    char value[CONFIG_VALUE_BYTES];
    struct err e = {0};
    make(f, "kitchen");
    struct node_group *group = node_group(f->node, "kitchen");
    uint64_t generation = node_group_config_generation(group);
    assert_int_equal(set_group_config(f->node, "kitchen", "max.poll.records", "7", NULL), 0);
    assert_true(node_group_config_generation(group) != generation);
    node_group_config(group, &config);
    assert_int_equal(config.max_poll_records, 7);
    assert_int_equal(config.session_timeout_ms, 10000);
    assert_int_equal(node_get_group_config(f->node, "kitchen", "max.poll.records", value), 0);
    assert_string_equal(value, "7");
    assert_int_equal(node_get_group_config(f->node, "kitchen", "retention.ms", value), -ENODATA);
    assert_int_equal(node_get_group_config(f->node, "bar", "max.poll.records", value), -ENOENT);
    assert_int_equal(set_group_config(f->node, "kitchen", "max.poll.records", "0", &e), -EINVAL);
    assert_non_null(strstr(e.text, "max.poll.records"));
    assert_int_equal(set_group_config(f->node, "kitchen", "retention.ms", "1", NULL), -EINVAL);
    assert_int_equal(set_group_config(f->node, "bar", "max.poll.records", "1", NULL), -ENOENT);
    assert_int_equal(set_group_config(f->node, "kitchen", "max.poll.records", NULL, NULL), 0);
    node_group_config(group, &config);
    assert_int_equal(config.max_poll_records, 500);
    /* MOUNT's settings are the topics'. */
    assert_int_equal(set_config(f->node, NULL, "max.poll.records", "7", NULL), -EINVAL);
    node_group_unref(group);
}

static void test_a_name_that_is_used_again_is_another_group(void **state)
{
    struct fixture *f = *state;
    make(f, "kitchen");
    struct node_group *first = node_group(f->node, "kitchen");
    assert_int_equal(delete_group(f->node, "kitchen", NULL), 0);
    assert_int_equal(delete_group(f->node, "kitchen", NULL), -ENOENT);
    assert_true(node_group_deleted(first));
    assert_null(node_group(f->node, "kitchen"));
    make(f, "kitchen");
    struct node_group *second = node_group(f->node, "kitchen");
    assert_false(node_group_deleted(second));
    assert_memory_not_equal(node_group_id(first), node_group_id(second), UUID_BYTES);
    node_group_unref(first);
    node_group_unref(second);
}

static void test_groups_are_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct tree_attr attr = {.uid = 7, .dir_mode = 0711};
    struct group_config config;
    make(f, "kitchen");
    make(f, "gone");
    assert_int_equal(set_group_config(f->node, "kitchen", "enable.auto.commit", "false", NULL), 0);
    assert_int_equal(set_group_attr(f->node, "kitchen", &attr, ATTR_UID | ATTR_DIR_MODE, NULL), 0);
    assert_int_equal(set_group_attr(f->node, NULL, &attr, ATTR_DIR_MODE, NULL), 0);
    assert_int_equal(delete_group(f->node, "gone", NULL), 0);
    for (int round = 0; round < 2; round++) {
        if (round == 0)
            restart(f);
        else
            crash_and_restart(f);
        assert_null(node_group(f->node, "gone"));
        struct node_group *group = node_group(f->node, "kitchen");
        assert_non_null(group);
        node_group_config(group, &config);
        assert_false(config.enable_auto_commit);
        node_group_attr(group, &attr);
        assert_int_equal(attr.uid, 7);
        assert_int_equal(attr.gid, 100);
        assert_int_equal(attr.dir_mode, 0711);
        node_groups_attr(f->node, &attr);
        assert_int_equal(attr.dir_mode, 0711);
        node_group_unref(group);
    }
}

/* Without room for the offsets there is no group; with it there is one. */
static void test_a_full_disk(void **state)
{
    struct fixture *f = *state;
    atomic_store(&f->disk.mkdir_rc, -ENOSPC);
    assert_int_equal(create_group(f->node, "kitchen", &group_attr, NULL), -ENOSPC);
    assert_null(node_group(f->node, "kitchen"));
    atomic_store(&f->disk.mkdir_rc, 0);
    make(f, "kitchen");
    restart(f);
    struct topic *offsets = node_internal_topic(f->node, "__consumer_offsets");
    assert_int_equal(append_record(topic_partition(offsets, 49), true, NULL), 1);
    topic_unref(offsets);
}

struct listener {
    struct node_feed feed;
    char heard[256];
};

static void hear(struct node_feed *feed, const char *what, struct node_group *group)
{
    struct listener *listener = CONTAINER_OF(feed, struct listener, feed);
    size_t len = strlen(listener->heard);
    snprintf(listener->heard + len, sizeof listener->heard - len, "%s %s;", node_group_name(group), what);
}

static void on_changed(struct node_feed *feed, struct node_group *group)
{
    hear(feed, "changed", group);
}

static void on_gone(struct node_feed *feed, struct node_group *group)
{
    assert_true(node_group_deleted(group));
    hear(feed, "gone", group);
}

static void ignore_topic(struct node_feed *feed, struct topic *topic)
{
    (void)feed;
    (void)topic;
}

static void test_the_feed_tells_what_commands_do(void **state)
{
    struct fixture *f = *state;
    struct listener listener = {
        .feed = {.topic_changed = ignore_topic, .group_changed = on_changed, .group_gone = on_gone}};
    node_set_feed(f->node, &listener.feed);
    make(f, "a");
    make(f, "b");
    assert_int_equal(set_group_attr(f->node, "a", &group_attr, ATTR_UID, NULL), 0);
    assert_int_equal(set_group_config(f->node, "b", "max.poll.records", "1", NULL), 0);
    assert_int_equal(delete_group(f->node, "a", NULL), 0);
    node_set_feed(f->node, NULL);
    assert_string_equal(listener.heard, "a changed;b changed;a changed;b changed;a gone;");
}

/* ---- three nodes ---- */

static int setup_three(void **state)
{
    struct cluster *c = cluster_new(3);
    for (int32_t id = 1; id <= 3; id++)
        cluster_start(c, id);
    cluster_await_leader(c);
    for (int32_t id = 1; id <= 3; id++)
        cluster_register(c, id);
    cluster_pass(c, 2000);
    *state = c;
    return 0;
}

static int teardown_cluster(void **state)
{
    cluster_free(*state);
    return 0;
}

static int make_on(struct cluster *c, int32_t id, const char *name)
{
    struct cluster_op op;
    return cluster_op_end(c, &op, node_create_group(c->nodes[id].node, cluster_op_init(&op), name, &group_attr));
}

static int delete_on(struct cluster *c, int32_t id, const char *name)
{
    struct cluster_op op;
    return cluster_op_end(c, &op, node_delete_group(c->nodes[id].node, cluster_op_init(&op), name, NULL));
}

static int set_on(struct cluster *c, int32_t id, const char *name, const char *records)
{
    struct cluster_op op;
    return cluster_op_end(
        c, &op, node_set_group_config(c->nodes[id].node, cluster_op_init(&op), name, "max.poll.records", records));
}

/* max.poll.records of the group as that node knows it; -1: it knows no such group. */
static int64_t records_on(struct cluster *c, int32_t id, const char *name)
{
    struct group_config config = {.max_poll_records = -1};
    struct node_group *group = node_group(c->nodes[id].node, name);
    if (group == NULL)
        return -1;
    node_group_config(group, &config);
    node_group_unref(group);
    return config.max_poll_records;
}

static void test_a_group_of_one_node_is_a_group_of_all(void **state)
{
    struct cluster *c = *state;
    assert_int_equal(make_on(c, 2, "kitchen"), 0);
    assert_int_equal(records_on(c, 2, "kitchen"), 500); /* at once where it was asked for, soon everywhere else */
    cluster_await(c, 2000, records_on(c, 1, "kitchen") == 500 && records_on(c, 3, "kitchen") == 500);
    assert_int_equal(make_on(c, 3, "kitchen"), -EEXIST);
    assert_int_equal(set_on(c, 3, "kitchen", "9"), 0);
    assert_int_equal(records_on(c, 3, "kitchen"), 9);
    cluster_await(c, 2000, records_on(c, 1, "kitchen") == 9 && records_on(c, 2, "kitchen") == 9);
    for (int32_t id = 1; id <= 3; id++) {
        const struct metadata *meta = quorum_acquire(&c->nodes[id].node->quorum);
        const struct metadata_topic *offsets = metadata_topic(meta, "__consumer_offsets");
        assert_int_equal(offsets->replication_factor, 3);
        for (int32_t p = 0; p < 50; p++)
            assert_int_equal(offsets->parts[p].replicas.count, 3);
        quorum_release(&c->nodes[id].node->quorum);
    }
    assert_int_equal(delete_on(c, 1, "kitchen"), 0);
    cluster_await(c, 2000, records_on(c, 2, "kitchen") == -1 && records_on(c, 3, "kitchen") == -1);
}

/* So many commands that a snapshot takes the place of the log's beginning. */
static void fill_until_snapshot(struct cluster *c, int32_t id)
{
    struct tree_attr attr = {.dir_mode = 0700};
    struct log *log = c->nodes[id].node->quorum.log;
    int64_t start = log_start(log).offset;
    for (int i = 0; i < 2 * LIMIT_SNAPSHOT_COMMANDS && log_start(log).offset == start; i += 64) {
        struct cluster_op ops[64];
        for (int j = 0; j < 64; j++)
            assert_int_equal(node_set_attr(c->nodes[id].node, cluster_op_init(&ops[j]), NULL, &attr, ATTR_DIR_MODE), 0);
        for (int j = 0; j < 64; j++)
            assert_int_equal(cluster_op_end(c, &ops[j], 0), 0);
    }
    assert_true(log_start(log).offset > start);
}

/* What became of groups while a node was down is so when it has a snapshot. */
static void test_who_is_behind_the_logs_start_has_a_snapshot(void **state)
{
    struct cluster *c = *state;
    int32_t away = cluster_follower(c), here = cluster_leader(c);
    assert_int_equal(make_on(c, here, "kept"), 0);
    assert_int_equal(make_on(c, here, "gone"), 0);
    assert_int_equal(make_on(c, here, "again"), 0);
    assert_int_equal(set_on(c, here, "again", "3"), 0);
    cluster_await(c, 2000, records_on(c, away, "again") == 3);
    struct node_group *old = node_group(c->nodes[away].node, "again");
    memory_cut(&c->network, away, 1 + away % 3, true);
    memory_cut(&c->network, away, 1 + (away + 1) % 3, true);
    assert_int_equal(delete_on(c, here, "gone"), 0);
    assert_int_equal(delete_on(c, here, "again"), 0);
    assert_int_equal(make_on(c, here, "again"), 0);
    assert_int_equal(make_on(c, here, "new"), 0);
    assert_int_equal(set_on(c, here, "kept", "5"), 0);
    fill_until_snapshot(c, here);
    memory_cut(&c->network, away, 1 + away % 3, false);
    memory_cut(&c->network, away, 1 + (away + 1) % 3, false);
    cluster_await(c, 5000, records_on(c, away, "new") == 500);
    assert_int_equal(records_on(c, away, "gone"), -1);
    assert_int_equal(records_on(c, away, "kept"), 5);
    assert_int_equal(records_on(c, away, "again"), 500); /* another one with that name */
    assert_true(node_group_deleted(old));
    node_group_unref(old);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define THREE_NODES(name) cmocka_unit_test_setup_teardown(name, setup_three, teardown_cluster)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(test_a_group_is_made_with_the_topic_of_offsets),
        STORY(test_offsets_are_not_a_users_to_write),
        STORY(test_settings),
        STORY(test_a_name_that_is_used_again_is_another_group),
        STORY(test_groups_are_there_after_a_restart),
        STORY(test_a_full_disk),
        STORY(test_the_feed_tells_what_commands_do),
        THREE_NODES(test_a_group_of_one_node_is_a_group_of_all),
        THREE_NODES(test_who_is_behind_the_logs_start_has_a_snapshot),
    };
    return cmocka_run_group_tests_name("node_groups", tests, NULL, NULL);
}
