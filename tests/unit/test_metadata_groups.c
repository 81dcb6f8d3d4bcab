/* Consumer groups in the metadata: commands as bytes, what they do to the state, the snapshot that gives it back, and
 * the topic of their offsets. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/metadata_fixture.h"

#include "replication/metadata/snapshot.h"

static const struct tree_attr root = {.uid = 1, .gid = 2, .dir_mode = 0755, .file_mode = 0644};

static int setup(void **state)
{
    return metadata_setup(state, &root);
}

/* Encodes, decodes and applies, as a command of the log goes. What nobody would propose is answered as there. */
static int apply(struct metadata *meta, const struct command *cmd)
{
    struct command decoded = command_as_in_log(cmd);
    int checked = metadata_check(meta, &decoded, NULL);
    int rc = metadata_apply(meta, &decoded, meta->next_offset, NULL);
    command_free(&decoded);
    assert_true(rc == checked || rc == -EBADMSG);
    return checked;
}

static int create_topic(struct metadata *meta, const char *name, uint8_t id, int64_t time_ms)
{
    int32_t replicas[METADATA_OFFSETS_PARTITIONS];
    struct command cmd = {.type = COMMAND_CREATE_TOPIC, .time_ms = time_ms};
    snprintf(cmd.topic, sizeof cmd.topic, "%s", name);
    memset(cmd.id, id, UUID_BYTES);
    for (int32_t i = 0; i < METADATA_OFFSETS_PARTITIONS; i++)
        replicas[i] = 1;
    cmd.partitions = cmd.replica_count = METADATA_OFFSETS_PARTITIONS;
    cmd.replication_factor = 1;
    cmd.replicas = replicas;
    return apply(meta, &cmd);
}

/* With the topic that groups need. */
static int setup_with_topic(void **state)
{
    setup(state);
    assert_int_equal(create_topic(*state, "__consumer_offsets", 7, 0), 0);
    return 0;
}

static struct command group_command(enum command_type type, const char *name, uint8_t id, int64_t time_ms)
{
    struct command cmd = {.type = type, .time_ms = time_ms};
    snprintf(cmd.group, sizeof cmd.group, "%s", name);
    memset(cmd.id, id, UUID_BYTES);
    return cmd;
}

static int create(struct metadata *meta, const char *name, uint8_t id, int64_t time_ms)
{
    struct command cmd = group_command(COMMAND_CREATE_GROUP, name, id, time_ms);
    cmd.attr = (struct tree_attr){.uid = 10, .gid = 20, .dir_mode = 0750, .mtime_ms = time_ms};
    return apply(meta, &cmd);
}

static int drop(struct metadata *meta, const char *name, uint8_t id, int64_t time_ms)
{
    struct command cmd = group_command(COMMAND_DELETE_GROUP, name, id, time_ms);
    return apply(meta, &cmd);
}

static int set(struct metadata *meta, const char *group, const char *name, const char *value)
{
    struct command cmd =
        group_command(value != NULL ? COMMAND_SET_GROUP_CONFIG : COMMAND_REMOVE_GROUP_CONFIG, group, 0, 2000);
    snprintf(cmd.name, sizeof cmd.name, "%s", name);
    snprintf(cmd.value, sizeof cmd.value, "%s", value != NULL ? value : "");
    return apply(meta, &cmd);
}

static const char *in_force(const struct metadata *meta, const char *group, const char *name)
{
    return group_config_in_force(&metadata_group(meta, group)->config, name);
}

/* ---- groups ---- */

static void test_a_group_is_made_and_deleted(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(meta->groups_attr.dir_mode, 01777);
    assert_int_equal(meta->groups_attr.uid, 1);
    assert_int_equal(create(meta, "kitchen", 7, 1000), 0);
    const struct metadata_group *group = metadata_group(meta, "kitchen");
    assert_non_null(group);
    assert_int_equal(group->attr.uid, 10);
    assert_int_equal(group->attr.gid, 20);
    assert_int_equal(group->attr.dir_mode, 0750);
    assert_int_equal(group->attr.ctime_ms, 1000);
    assert_int_equal(group->attr.mtime_ms, 1000);
    assert_int_equal(group->id[15], 7);
    assert_int_equal(meta->groups_attr.mtime_ms, 1000);
    assert_int_equal(meta->root.mtime_ms, 0);
    assert_int_equal(create(meta, "kitchen", 8, 2000), -EEXIST);
    assert_int_equal(meta->groups_attr.mtime_ms, 1000);

    /* By another id it is another group. */
    assert_int_equal(drop(meta, "kitchen", 8, 3000), -ENOENT);
    assert_int_equal(drop(meta, "bar", 7, 3000), -ENOENT);
    assert_int_equal(drop(meta, "kitchen", 7, 3000), 0);
    assert_null(metadata_group(meta, "kitchen"));
    assert_int_equal(meta->groups_attr.mtime_ms, 3000);
    assert_int_equal(create(meta, "kitchen", 8, 4000), 0);
    assert_int_equal(metadata_group(meta, "kitchen")->id[0], 8);
}

static void test_groups_are_kept_in_order(void **state)
{
    struct metadata *meta = *state;
    static const char *const names[] = {"m", "c", "x", "a", "mm"};
    for (uint8_t i = 0; i < 5; i++)
        assert_int_equal(create(meta, names[i], i, 1), 0);
    assert_int_equal(drop(meta, "c", 1, 1), 0);
    assert_int_equal(meta->group_count, 4);
    for (size_t i = 1; i < 4; i++)
        assert_true(strcmp(meta->groups[i - 1]->name, meta->groups[i]->name) < 0);
}

/* user.group.NAME.committed has 255 bytes at most. */
static void test_names(void **state)
{
    struct metadata *meta = *state;
    char longest[236];
    memset(longest, 'a', 234);
    longest[234] = '\0';
    assert_int_equal(group_name_check(longest), 0);
    assert_int_equal(create(meta, longest, 1, 1), 0);
    longest[234] = 'a';
    longest[235] = '\0';
    assert_int_equal(group_name_check(longest), -EINVAL);
    assert_int_equal(create(meta, longest, 2, 1), -EINVAL);
    assert_int_equal(group_name_check("Kitchen_2.x-y"), 0);
    static const char *const bad[] = {"", ".", "..", ".json", "__x", "a b", "a/b", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(group_name_check(bad[i]), -EINVAL);
    assert_int_equal(create(meta, ".json", 1, 1), -EINVAL);
}

static void test_attributes(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(create(meta, "kitchen", 7, 1000), 0);
    struct command cmd = group_command(COMMAND_SET_GROUP_ATTR, "kitchen", 0, 2000);
    cmd.attr = (struct tree_attr){.uid = 5, .gid = 6, .dir_mode = 0700};
    cmd.set = ATTR_UID | ATTR_DIR_MODE;
    assert_int_equal(apply(meta, &cmd), 0);
    const struct tree_attr *attr = &metadata_group(meta, "kitchen")->attr;
    assert_int_equal(attr->uid, 5);
    assert_int_equal(attr->gid, 20);
    assert_int_equal(attr->dir_mode, 0700);
    assert_int_equal(attr->ctime_ms, 2000);
    assert_int_equal(attr->mtime_ms, 1000);
    cmd.group[0] = '\0';
    cmd.set = ATTR_GID | ATTR_DIR_MODE;
    assert_int_equal(apply(meta, &cmd), 0);
    assert_int_equal(meta->groups_attr.uid, 1);
    assert_int_equal(meta->groups_attr.gid, 6);
    assert_int_equal(meta->groups_attr.dir_mode, 0700);
    assert_int_equal(meta->root.dir_mode, 0755);
    cmd = group_command(COMMAND_SET_GROUP_ATTR, "gone", 0, 1);
    assert_int_equal(apply(meta, &cmd), -ENOENT);
}

/* interface.md, "Settings of a group". */
static void test_settings(void **state)
{
    struct metadata *meta = *state;
    static const char *const defaults[][2] = {
        {"max.poll.records", "500"},
        {"max.poll.interval.ms", "300000"},
        {"session.timeout.ms", "10000"},
        {"rebalance.timeout.ms", "5000"},
        {"enable.auto.commit", "true"},
        {"auto.offset.reset", "earliest"},
        {"partition.assignment.strategy", "sticky"},
    };
    static const char *const good[][2] = {
        {"max.poll.records", "1"},
        {"max.poll.interval.ms", "2147483647"},
        {"session.timeout.ms", "6000"},
        {"rebalance.timeout.ms", "100"},
        {"enable.auto.commit", "false"},
        {"auto.offset.reset", "latest"},
        {"partition.assignment.strategy", "roundrobin"},
        {"partition.assignment.strategy", "range"},
    };
    static const char *const bad[][2] = {
        {"max.poll.records", "0"},
        {"max.poll.records", "2147483648"},
        {"max.poll.records", ""},
        {"max.poll.records", "5x"},
        {"session.timeout.ms", "-1"},
        {"rebalance.timeout.ms", "soon"},
        {"enable.auto.commit", "yes"},
        {"auto.offset.reset", "Latest"},
        {"partition.assignment.strategy", "fair"},
        {"retention.ms", "1"},
        {"", ""},
    };
    size_t count;
    group_config_names(&count);
    assert_int_equal(count, sizeof defaults / sizeof defaults[0]);
    assert_int_equal(create(meta, "kitchen", 7, 1000), 0);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(in_force(meta, "kitchen", defaults[i][0]), defaults[i][1]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(set(meta, "kitchen", bad[i][0], bad[i][1]), -EINVAL);
    assert_int_equal(metadata_group(meta, "kitchen")->attr.ctime_ms, 1000);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(set(meta, "kitchen", good[i][0], good[i][1]), 0);
        assert_string_equal(in_force(meta, "kitchen", good[i][0]), good[i][1]);
    }
    assert_int_equal(metadata_group(meta, "kitchen")->attr.ctime_ms, 2000);
    assert_int_equal(set(meta, "kitchen", "max.poll.records", NULL), 0);
    assert_string_equal(in_force(meta, "kitchen", "max.poll.records"), "500");
    assert_int_equal(set(meta, "kitchen", "max.poll.records", NULL), -ENODATA);
    assert_int_equal(set(meta, "kitchen", "retention.ms", NULL), -EINVAL);
    assert_int_equal(set(meta, "gone", "max.poll.records", "1"), -ENOENT);

    struct group_config config;
    group_config_parse(&metadata_group(meta, "kitchen")->config, &config);
    assert_int_equal(config.max_poll_records, 500);
    assert_int_equal(config.max_poll_interval_ms, INT32_MAX);
    assert_int_equal(config.session_timeout_ms, 6000);
    assert_int_equal(config.rebalance_timeout_ms, 100);
    assert_false(config.enable_auto_commit);
    assert_true(config.reset_to_latest);
    assert_int_equal(config.strategy, GROUP_STRATEGY_RANGE);
}

/* ---- the topic of their offsets ---- */

/* Whatever users' topics are like by default. */
static void test_offsets_are_kept_in_a_topic_of_its_own_kind(void **state)
{
    struct metadata *meta = *state;
    struct command cmd = {.type = COMMAND_SET_CONFIG, .name = "max.message.bytes", .value = "10"};
    assert_int_equal(apply(meta, &cmd), 0);
    assert_int_equal(create_topic(meta, "__consumer_offset", 7, 1000), -EINVAL);
    assert_int_equal(create(meta, "kitchen", 1, 1000), -EINVAL); /* its offsets would be nowhere */
    assert_int_equal(create_topic(meta, "__consumer_offsets", 7, 1000), 0);
    const struct metadata_topic *topic = metadata_topic(meta, "__consumer_offsets");
    assert_non_null(topic);
    assert_int_equal(topic->partitions, 50);
    struct topic_config config;
    config_parse(&meta->config, &topic->config, &config);
    assert_int_equal(config.log.cleanup_policy, CLEANUP_COMPACT);
    assert_int_equal(config.log.framing, FRAMING_MSGPACK);
    assert_int_equal(config.max_message_bytes, 1048576);
    assert_int_equal(config.log.segment_bytes, 104857600);
    assert_int_equal(meta->root.mtime_ms, 0); /* no name came into MOUNT */
    assert_int_equal(create_topic(meta, "__consumer_offsets", 8, 2000), -EEXIST);
    assert_int_equal(create(meta, "kitchen", 1, 3000), 0);
    cmd = (struct command){.type = COMMAND_DELETE_TOPIC, .topic = "__consumer_offsets"};
    memset(cmd.id, 7, UUID_BYTES);
    assert_int_equal(apply(meta, &cmd), -EINVAL);
    assert_true(topic_name_internal("__consumer_offsets"));
    assert_int_equal(topic_name_check("__consumer_offsets"), -EINVAL);
}

/* ---- the snapshot ---- */

static void encode(const struct metadata *meta, struct snapshot *out)
{
    assert_int_equal(snapshot_encode(meta, (struct log_point){meta->next_offset, 77}, out, NULL), 0);
}

static void test_a_snapshot_gives_the_same_state(void **state)
{
    struct metadata *meta = *state, read;
    struct snapshot first, second;
    struct snapshot_id id;
    struct err e = {0};
    assert_int_equal(create(meta, "kitchen", 7, 100), 0);
    assert_int_equal(create(meta, "bar", 8, 200), 0);
    assert_int_equal(create(meta, "gone", 9, 300), 0);
    assert_int_equal(set(meta, "kitchen", "max.poll.records", "7"), 0);
    assert_int_equal(set(meta, "kitchen", "auto.offset.reset", "latest"), 0);
    assert_int_equal(drop(meta, "gone", 9, 400), 0);
    struct command cmd = group_command(COMMAND_SET_GROUP_ATTR, "", 0, 600);
    cmd.attr.dir_mode = 0755;
    cmd.set = ATTR_DIR_MODE;
    assert_int_equal(apply(meta, &cmd), 0);

    encode(meta, &first);
    metadata_init(&read, &root);
    if (snapshot_decode(&first, &read, &id, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(read.group_count, 2);
    assert_string_equal(read.groups[0]->name, "bar");
    assert_string_equal(read.groups[1]->name, "kitchen");
    assert_memory_equal(&read.groups[1]->attr, &meta->groups[1]->attr, sizeof read.groups[1]->attr);
    assert_memory_equal(read.groups[1]->id, meta->groups[1]->id, UUID_BYTES);
    assert_string_equal(in_force(&read, "kitchen", "max.poll.records"), "7");
    assert_string_equal(in_force(&read, "kitchen", "auto.offset.reset"), "latest");
    assert_string_equal(in_force(&read, "bar", "max.poll.records"), "500");
    assert_memory_equal(&read.groups_attr, &meta->groups_attr, sizeof read.groups_attr);
    assert_int_equal(read.groups_attr.mtime_ms, 400);
    assert_int_equal(read.groups_attr.ctime_ms, 600);
    assert_memory_equal(&read.root, &meta->root, sizeof read.root);
    encode(&read, &second);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    snapshot_free(&first);
    snapshot_free(&second);
    metadata_free(&read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_group_is_made_and_deleted, setup_with_topic, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_groups_are_kept_in_order, setup_with_topic, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_names, setup_with_topic, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_attributes, setup_with_topic, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_settings, setup_with_topic, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_offsets_are_kept_in_a_topic_of_its_own_kind, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_snapshot_gives_the_same_state, setup_with_topic, metadata_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
