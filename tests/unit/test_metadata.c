/* The metadata: commands as bytes, what they do to the state, and the snapshot that gives the same state back. */
#include "replication/metadata/metadata.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/metadata_fixture.h"

#include "replication/metadata/snapshot.h"
#include "tests/unit/scratch.h"

static const struct tree_attr root = {.uid = 1, .gid = 2, .dir_mode = 0755, .file_mode = 0644};

static int setup(void **state)
{
    return metadata_setup(state, &root);
}

/* Encodes, decodes and applies, as a command of the log goes. */
static int apply(struct metadata *meta, const struct command *cmd)
{
    struct command decoded = command_as_in_log(cmd);
    int checked = metadata_check(meta, &decoded, NULL);
    int rc = metadata_apply(meta, &decoded, meta->next_offset, NULL);
    command_free(&decoded);
    /* What nobody proposes any more has its own errno where it would be proposed. */
    if (rc == -EBADMSG)
        assert_int_not_equal(checked, 0);
    return rc == -EBADMSG ? checked : rc;
}

static struct command topic_command(enum command_type type, const char *name, uint8_t id, int64_t time_ms)
{
    struct command cmd = {.type = type, .time_ms = time_ms};
    snprintf(cmd.topic, sizeof cmd.topic, "%s", name);
    memset(cmd.id, id, UUID_BYTES);
    return cmd;
}

static int create(struct metadata *meta, const char *name, uint8_t id, int64_t time_ms)
{
    int32_t replicas[] = {1, 1};
    struct command cmd = topic_command(COMMAND_CREATE_TOPIC, name, id, time_ms);
    cmd.attr = (struct tree_attr){.uid = 10, .gid = 20, .dir_mode = 01777, .file_mode = 0640, .mtime_ms = time_ms};
    cmd.partitions = 2;
    cmd.replication_factor = 1;
    cmd.replicas = replicas;
    cmd.replica_count = 2;
    return apply(meta, &cmd);
}

static int set_config(struct metadata *meta, const char *topic, const char *name, const char *value, int64_t time_ms)
{
    struct command cmd = topic_command(value != NULL ? COMMAND_SET_CONFIG : COMMAND_REMOVE_CONFIG, topic, 0, time_ms);
    snprintf(cmd.name, sizeof cmd.name, "%s", name);
    snprintf(cmd.value, sizeof cmd.value, "%s", value != NULL ? value : "");
    return apply(meta, &cmd);
}

static int register_node(struct metadata *meta, int32_t node)
{
    struct command cmd = {.type = COMMAND_REGISTER_NODE,
                          .registration = {.id = node, .epoch = -1, .feature_level = FEATURE_LEVEL}};
    return apply(meta, &cmd);
}

static const char *in_force(const struct metadata *meta, const char *topic, const char *name)
{
    return config_in_force(&meta->config, &metadata_topic(meta, topic)->config, name);
}

/* ---- topics ---- */

static void test_a_topic_is_made_and_deleted(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(create(meta, "orders", 7, 1000), 0);
    const struct metadata_topic *topic = metadata_topic(meta, "orders");
    assert_non_null(topic);
    assert_int_equal(topic->partitions, 2);
    assert_int_equal(topic->replication_factor, 1);
    assert_int_equal(topic->parts[1].replicas.ids[0], 1);
    assert_int_equal(topic->attr.uid, 10);
    assert_int_equal(topic->attr.gid, 20);
    assert_int_equal(topic->attr.dir_mode, 01777);
    assert_int_equal(topic->attr.file_mode, 0640);
    assert_int_equal(topic->attr.ctime_ms, 1000);
    assert_int_equal(topic->attr.mtime_ms, 1000);
    assert_int_equal(topic->id[15], 7);
    assert_int_equal(meta->root.mtime_ms, 1000);
    assert_int_equal(create(meta, "orders", 8, 2000), -EEXIST);
    assert_int_equal(meta->root.mtime_ms, 1000);

    /* By another id it is another topic. */
    struct command cmd = topic_command(COMMAND_DELETE_TOPIC, "orders", 8, 3000);
    assert_int_equal(apply(meta, &cmd), -ENOENT);
    cmd = topic_command(COMMAND_DELETE_TOPIC, "orders", 7, 3000);
    assert_int_equal(apply(meta, &cmd), 0);
    assert_null(metadata_topic(meta, "orders"));
    assert_int_equal(meta->root.mtime_ms, 3000);
    /* Commands that did not fit are counted too. */
    assert_int_equal(meta->next_offset, 4);
}

/* REPLICATION.md, rule 58. */
static void test_a_topic_that_has_to_be_empty(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(register_node(meta, 1), 0);
    assert_int_equal(create(meta, "orders", 7, 1), 0);
    const struct metadata_topic *topic = metadata_topic(meta, "orders");
    int32_t epoch = topic->parts[0].leader_epoch, change = topic->parts[0].partition_epoch;
    struct command_seal seals[3] = {{epoch, 0}, {epoch, 0}, {epoch, 0}};
    struct command cmd = topic_command(COMMAND_SET_CONFIG, "orders", 7, 1);
    strcpy(cmd.name, "framing");
    strcpy(cmd.value, "msgpack");
    cmd.seals = seals;
    cmd.seal_count = 3;
    assert_int_equal(apply(meta, &cmd), -EAGAIN); /* of other partitions */
    cmd.seal_count = 2;
    seals[1].leader_epoch = epoch + 1;
    assert_int_equal(apply(meta, &cmd), -EAGAIN);
    seals[1].leader_epoch = epoch;
    seals[0].node_epoch = 1; /* of another process */
    assert_int_equal(apply(meta, &cmd), -EAGAIN);
    seals[0].node_epoch = 0;
    cmd.id[0] = 8;
    assert_int_equal(apply(meta, &cmd), -ENOENT);
    cmd.id[0] = 7;
    assert_int_equal(apply(meta, &cmd), 0);
    assert_string_equal(in_force(meta, "orders", "framing"), "msgpack");
    /* Appends go on in the next epoch, and the seals are over. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(topic->parts[i].leader_epoch, epoch + 1);
        assert_int_equal(topic->parts[i].partition_epoch, change + 1);
    }
    cmd.type = COMMAND_DELETE_TOPIC;
    assert_int_equal(apply(meta, &cmd), -EAGAIN);
    seals[0].leader_epoch = seals[1].leader_epoch = epoch + 1;
    assert_int_equal(apply(meta, &cmd), 0);
    assert_null(metadata_topic(meta, "orders"));
}

/* It would stop for good at such a command. */
static void test_no_seals_while_a_node_is_of_an_older_build(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(register_node(meta, 1), 0);
    assert_int_equal(create(meta, "orders", 7, 1), 0);
    int32_t epoch = metadata_topic(meta, "orders")->parts[0].leader_epoch;
    struct command_seal seals[2] = {{epoch, 0}, {epoch, 0}};
    struct command cmd = topic_command(COMMAND_DELETE_TOPIC, "orders", 7, 1), bare = cmd;
    struct command node = {.type = COMMAND_REGISTER_NODE,
                           .registration = {.id = 2, .epoch = -1, .feature_level = FEATURE_LEVEL_SEALS - 1}};
    cmd.seals = seals;
    cmd.seal_count = 2;
    assert_int_equal(metadata_check(meta, &cmd, NULL), 0);
    assert_int_equal(apply(meta, &node), 0);
    assert_int_equal(metadata_check(meta, &cmd, NULL), -ETIMEDOUT);
    assert_int_equal(metadata_check(meta, &bare, NULL), 0);
    struct command fences = {.type = COMMAND_CHANGE_NODE,
                             .registration = {.id = 2, .epoch = metadata_node(meta, 2)->epoch, .fenced = true}};
    assert_int_equal(apply(meta, &fences), 0); /* one that is gone may never come back */
    assert_int_equal(metadata_check(meta, &cmd, NULL), 0);
    fences.registration.fenced = false;
    assert_int_equal(apply(meta, &fences), 0);
    assert_int_equal(metadata_check(meta, &cmd, NULL), -ETIMEDOUT);
    assert_int_equal(register_node(meta, 2), 0); /* it was upgraded */
    assert_int_equal(metadata_check(meta, &cmd, NULL), 0);
    assert_int_equal(apply(meta, &node), 0); /* one that was decided before is a decision */
    struct err e = {""};
    assert_int_equal(metadata_apply(meta, &cmd, meta->next_offset, &e), 0);
    assert_null(metadata_topic(meta, "orders"));
}

static void test_topics_are_kept_in_order(void **state)
{
    struct metadata *meta = *state;
    static const char *const names[] = {"m", "c", "x", "a", "mm"};
    for (uint8_t i = 0; i < 5; i++)
        assert_int_equal(create(meta, names[i], i, 1), 0);
    assert_int_equal(meta->topic_count, 5);
    for (size_t i = 1; i < 5; i++)
        assert_true(strcmp(meta->topics[i - 1]->name, meta->topics[i]->name) < 0);
}

static void test_names_follow_kafka(void **state)
{
    struct metadata *meta = *state;
    char longest[251];
    memset(longest, 'a', 249);
    longest[249] = '\0';
    assert_int_equal(topic_name_check(longest), 0);
    longest[249] = 'a';
    longest[250] = '\0';
    assert_int_equal(topic_name_check(longest), -EINVAL);
    assert_int_equal(topic_name_check("Orders_2.x-y"), 0);
    static const char *const bad[] = {"", ".", "..", ".x", "__x", "a b", "a/b", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(topic_name_check(bad[i]), -EINVAL);
    assert_int_equal(create(meta, ".x", 1, 1), -EINVAL);
}

static void test_partitions_only_grow(void **state)
{
    struct metadata *meta = *state;
    int32_t replicas[] = {1, 1, 1};
    assert_int_equal(create(meta, "orders", 7, 1000), 0);
    struct command cmd = topic_command(COMMAND_CREATE_PARTITIONS, "orders", 7, 2000);
    cmd.replication_factor = 1;
    cmd.replicas = replicas;
    cmd.partitions = 5;
    cmd.replica_count = 3;
    assert_int_equal(apply(meta, &cmd), 0);
    assert_int_equal(metadata_topic(meta, "orders")->partitions, 5);
    assert_int_equal(metadata_topic(meta, "orders")->attr.mtime_ms, 2000);
    assert_int_equal(apply(meta, &cmd), -EEXIST);
    cmd.partitions = 4;
    assert_int_equal(apply(meta, &cmd), -EEXIST);
    cmd.partitions = 7; /* with replicas for three */
    assert_int_equal(apply(meta, &cmd), -EINVAL);
}

static void test_attributes(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(create(meta, "orders", 7, 1000), 0);
    struct command cmd = topic_command(COMMAND_SET_ATTR, "orders", 0, 2000);
    cmd.attr = (struct tree_attr){.uid = 5, .gid = 6, .dir_mode = 0700, .file_mode = 0600};
    cmd.set = ATTR_UID | ATTR_FILE_MODE;
    assert_int_equal(apply(meta, &cmd), 0);
    const struct tree_attr *attr = &metadata_topic(meta, "orders")->attr;
    assert_int_equal(attr->uid, 5);
    assert_int_equal(attr->gid, 20);
    assert_int_equal(attr->dir_mode, 01777);
    assert_int_equal(attr->file_mode, 0600);
    assert_int_equal(attr->ctime_ms, 2000);
    assert_int_equal(attr->mtime_ms, 1000);
    cmd.topic[0] = '\0';
    cmd.set = ATTR_GID | ATTR_DIR_MODE;
    assert_int_equal(apply(meta, &cmd), 0);
    assert_int_equal(meta->root.uid, 1);
    assert_int_equal(meta->root.gid, 6);
    assert_int_equal(meta->root.dir_mode, 0700);
    cmd = topic_command(COMMAND_SET_ATTR, "gone", 0, 1);
    assert_int_equal(apply(meta, &cmd), -ENOENT);
}

/* ---- settings ---- */

static void test_settings(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(register_node(meta, 1), 0);
    assert_int_equal(create(meta, "orders", 7, 1000), 0);
    assert_int_equal(set_config(meta, "orders", "retention.ms", "5", 2000), 0);
    assert_string_equal(in_force(meta, "orders", "retention.ms"), "5");
    assert_int_equal(metadata_topic(meta, "orders")->attr.ctime_ms, 2000);
    assert_int_equal(set_config(meta, "orders", "retention.ms", "-7", 2000), -EINVAL);
    assert_string_equal(in_force(meta, "orders", "retention.ms"), "5");
    assert_int_equal(set_config(meta, "", "retention.ms", "6", 2000), 0);
    assert_int_equal(set_config(meta, "orders", "retention.ms", NULL, 2000), 0);
    assert_string_equal(in_force(meta, "orders", "retention.ms"), "6");
    assert_int_equal(set_config(meta, "orders", "retention.ms", NULL, 2000), -ENODATA);
    assert_int_equal(set_config(meta, "orders", "no.such", "1", 2000), -EINVAL);
    assert_int_equal(set_config(meta, "gone", "retention.ms", "1", 2000), -ENOENT);
    /* The cluster's own are not a topic's. */
    assert_int_equal(set_config(meta, "orders", "num.partitions", "2", 2000), -EINVAL);
    assert_int_equal(set_config(meta, "", "num.partitions", "2", 2000), 0);
    /* One node holds one replica. */
    assert_int_equal(set_config(meta, "", "default.replication.factor", "2", 2000), -EINVAL);
    assert_int_equal(register_node(meta, 2), 0);
    assert_int_equal(set_config(meta, "", "default.replication.factor", "2", 2000), 0);
}

/* Whose setting it is meant to be is asked when it is proposed. What was decided goes by the name: a build that knows
 * no id there does so, and all have to do the same. */
static void test_a_setting_is_proposed_for_the_topic_that_it_is_meant_for(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(create(meta, "orders", 7, 1000), 0);
    struct command cmd = topic_command(COMMAND_SET_CONFIG, "orders", 7, 2000);
    strcpy(cmd.name, "retention.ms");
    strcpy(cmd.value, "5");
    assert_int_equal(metadata_check(meta, &cmd, NULL), 0);
    assert_int_equal(apply(meta, &cmd), 0);
    assert_string_equal(in_force(meta, "orders", "retention.ms"), "5");
    memset(cmd.id, 8, UUID_BYTES);
    strcpy(cmd.value, "6");
    assert_int_equal(metadata_check(meta, &cmd, NULL), -ENOENT);
    assert_int_equal(apply(meta, &cmd), 0);
    assert_string_equal(in_force(meta, "orders", "retention.ms"), "6");
    memset(cmd.id, 0, UUID_BYTES);
    assert_int_equal(metadata_check(meta, &cmd, NULL), 0);
}

static void test_compaction_lags_fit_each_other(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(create(meta, "orders", 7, 1000), 0);
    assert_int_equal(set_config(meta, "orders", "min.compaction.lag.ms", "100", 1), 0);
    assert_int_equal(set_config(meta, "orders", "max.compaction.lag.ms", "99", 1), -EINVAL);
    assert_int_equal(set_config(meta, "orders", "max.compaction.lag.ms", "100", 1), 0);
    assert_int_equal(set_config(meta, "orders", "min.compaction.lag.ms", "101", 1), -EINVAL);
}

static int check_config(struct metadata *meta, const char *topic, const char *name, const char *value)
{
    struct command cmd = topic_command(value != NULL ? COMMAND_SET_CONFIG : COMMAND_REMOVE_CONFIG, topic, 0, 1);
    snprintf(cmd.name, sizeof cmd.name, "%s", name);
    snprintf(cmd.value, sizeof cmd.value, "%s", value != NULL ? value : "");
    return metadata_check(meta, &cmd, NULL);
}

static void test_a_compacted_topic_has_keys(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(create(meta, "orders", 7, 1000), 0);
    assert_int_equal(check_config(meta, "orders", "cleanup.policy", "compact"), -EINVAL);
    assert_int_equal(check_config(meta, "orders", "cleanup.policy", "delete"), 0);
    assert_int_equal(check_config(meta, "", "cleanup.policy", "delete,compact"), -EINVAL);
    assert_int_equal(set_config(meta, "", "key.separator", ":", 1), 0);
    assert_int_equal(check_config(meta, "orders", "cleanup.policy", "compact"), 0);
    assert_int_equal(check_config(meta, "", "cleanup.policy", "compact"), 0);
    assert_int_equal(check_config(meta, "orders", "key.separator", ""), 0);
    assert_int_equal(set_config(meta, "orders", "cleanup.policy", "compact", 1), 0);
    assert_int_equal(check_config(meta, "orders", "key.separator", ""), -EINVAL);
    /* It has its separator from the cluster. */
    assert_int_equal(check_config(meta, "", "key.separator", NULL), -EINVAL);
    assert_int_equal(check_config(meta, "", "key.separator", ""), -EINVAL);
    assert_int_equal(check_config(meta, "", "key.separator", ","), 0);
    assert_int_equal(set_config(meta, "orders", "framing", "msgpack", 1), 0);
    assert_int_equal(check_config(meta, "", "key.separator", NULL), 0);
    assert_int_equal(set_config(meta, "", "key.separator", NULL, 1), 0);
    assert_int_equal(check_config(meta, "orders", "framing", "line"), -EINVAL);
    assert_int_equal(check_config(meta, "orders", "framing", NULL), -EINVAL);
}

/* Versions before the rule have decided such commands: a replay gives what they were answered. */
static void test_what_was_decided_before_a_rule_is_applied(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(create(meta, "orders", 7, 1000), 0);
    assert_int_equal(create(meta, "other", 8, 1000), 0);
    assert_int_equal(set_config(meta, "orders", "cleanup.policy", "compact", 1), 0);
    assert_string_equal(in_force(meta, "orders", "cleanup.policy"), "compact");
    /* It does not hinder what is about others, and a way out is open. */
    assert_int_equal(check_config(meta, "", "cleanup.policy", "delete"), 0);
    assert_int_equal(check_config(meta, "", "key.separator", ":"), 0);
    assert_int_equal(check_config(meta, "other", "key.separator", ":"), 0);
    assert_int_equal(check_config(meta, "orders", "key.separator", ":"), 0);
    assert_int_equal(check_config(meta, "orders", "cleanup.policy", NULL), 0);
    assert_int_equal(check_config(meta, "orders", "retention.ms", "5"), 0);
}

static int apply_as_it_is(struct metadata *meta, const struct command *cmd)
{
    struct err e = {0};
    int64_t next = meta->next_offset;
    int rc = metadata_apply(meta, cmd, next, &e);
    assert_int_equal(meta->next_offset, next + 1);
    assert_true(rc == 0 || strlen(e.text) > 0);
    return rc;
}

static struct command config_command(const char *topic, const char *name, const char *value)
{
    struct command cmd = topic_command(value != NULL ? COMMAND_SET_CONFIG : COMMAND_REMOVE_CONFIG, topic, 0, 1);
    snprintf(cmd.name, sizeof cmd.name, "%s", name);
    snprintf(cmd.value, sizeof cmd.value, "%s", value != NULL ? value : "");
    return cmd;
}

static void test_only_a_race_is_passed_over(void **state)
{
    struct metadata *meta = *state;
    int32_t replicas[] = {1, 1, 1};
    struct command partitions = topic_command(COMMAND_CREATE_PARTITIONS, "orders", 7, 1);
    struct command topic = topic_command(COMMAND_CREATE_TOPIC, "orders", 8, 1), other, setting;
    assert_int_equal(create(meta, "orders", 7, 1000), 0);

    /* Two proposed at once: the second fits no more. */
    topic.partitions = topic.replication_factor = topic.replica_count = 1;
    topic.replicas = partitions.replicas = replicas;
    assert_int_equal(apply_as_it_is(meta, &topic), -EEXIST);
    partitions.replication_factor = 1;
    partitions.partitions = 2; /* as many as it has by now */
    partitions.replica_count = 1;
    assert_int_equal(apply_as_it_is(meta, &partitions), -EEXIST);
    partitions.partitions = 5; /* replicas for 2, 3 and 4, and 2 is there by now */
    partitions.replica_count = 3;
    struct command between = partitions;
    between.partitions = 3;
    between.replica_count = 1;
    assert_int_equal(apply_as_it_is(meta, &between), 0);
    assert_int_equal(apply_as_it_is(meta, &partitions), -EINVAL);
    setting = config_command("orders", "retention.ms", NULL);
    assert_int_equal(apply_as_it_is(meta, &setting), -ENODATA);
    other = topic_command(COMMAND_DELETE_TOPIC, "orders", 9, 1);
    assert_int_equal(apply_as_it_is(meta, &other), -ENOENT);

    /* No race makes these. */
    snprintf(topic.topic, sizeof topic.topic, "__x");
    assert_int_equal(apply_as_it_is(meta, &topic), -EBADMSG);
    snprintf(topic.topic, sizeof topic.topic, "more");
    topic.replica_count = 3;
    assert_int_equal(apply_as_it_is(meta, &topic), -EBADMSG);
    partitions.partitions = LIMIT_TOPIC_PARTITIONS + 1;
    assert_int_equal(apply_as_it_is(meta, &partitions), -EBADMSG);
    setting = config_command("orders", "retention.ms", "soon");
    assert_int_equal(apply_as_it_is(meta, &setting), -EBADMSG);
    setting = config_command("orders", "no.such", "1");
    assert_int_equal(apply_as_it_is(meta, &setting), -EBADMSG);
    setting = config_command("orders", "num.partitions", "2");
    assert_int_equal(apply_as_it_is(meta, &setting), -EBADMSG);
}

static void test_a_topic_keeps_its_framing(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(create(meta, "lines", 1, 1), 0);
    assert_int_equal(set_config(meta, "", "framing", "msgpack", 2), 0);
    assert_int_equal(create(meta, "objects", 2, 3), 0);
    assert_string_equal(in_force(meta, "lines", "framing"), "line");
    assert_string_equal(in_force(meta, "objects", "framing"), "msgpack");
    /* Back to the default, as it is now. */
    assert_int_equal(set_config(meta, "lines", "framing", NULL, 4), 0);
    assert_string_equal(in_force(meta, "lines", "framing"), "msgpack");
}

static void test_a_nodes_epoch_is_its_registrations_offset(void **state)
{
    struct metadata *meta = *state;
    assert_int_equal(register_node(meta, 3), 0);
    assert_int_equal(register_node(meta, 4), 0);
    assert_int_equal(metadata_node(meta, 3)->epoch, 0);
    assert_int_equal(metadata_node(meta, 4)->epoch, 1);
    assert_int_equal(register_node(meta, 3), 0);
    assert_int_equal(metadata_node(meta, 3)->epoch, 2);
    assert_int_equal(meta->node_count, 2);
    assert_null(metadata_node(meta, 5));
}

/* ---- damaged commands ---- */

static int decode(const char *bytes, size_t len)
{
    struct command cmd;
    struct err e = {0};
    int rc = command_decode(bytes, len, &cmd, &e);
    if (rc == 0)
        command_free(&cmd);
    else
        assert_true(strlen(e.text) > 0);
    return rc;
}

#define DECODE(text) decode(text, sizeof text - 1)

static void test_unknown_and_damaged_commands_are_refused(void **state)
{
    (void)state;
    /* {"type":"register_node","version":1,"time":0,"node":1}: what the others are bent from. */
    assert_int_equal(DECODE("\x84\xa4type\xadregister_node\xa7version\x01\xa4time\x00\xa4node\x01"), 0);
    assert_int_equal(DECODE("\x84\xa4type\xadregister_nodX\xa7version\x01\xa4time\x00\xa4node\x01"), -EBADMSG);
    assert_int_equal(DECODE("\x84\xa4type\xadregister_node\xa7version\x02\xa4time\x00\xa4node\x01"), -EBADMSG);
    assert_int_equal(DECODE("\x84\xa4type\xadregister_node\xa7version\x01\xa4time\x00\xa4node\x00"), -EBADMSG);
    assert_int_equal(DECODE("\x83\xa4type\xadregister_node\xa7version\x01\xa4time\x00"), -EBADMSG);
    assert_int_equal(DECODE("\x83\xa4type\xadregister_node\xa7version\x01\xa4node\x01"), -EBADMSG);
    assert_int_equal(DECODE("\x84\xa4type\xadregister_node\xa7version\x01\xa4time\x00\xa4node"), -EBADMSG);
    assert_int_equal(DECODE("\x84\xa4type\xadregister_node\xa7version\x01\xa4time\x00\xa4node\x01\x00"), -EBADMSG);
    assert_int_equal(DECODE("\x80"), -EBADMSG);
    assert_int_equal(DECODE("\x90"), -EBADMSG);
    assert_int_equal(DECODE("\xc1"), -EBADMSG);
    assert_int_equal(DECODE(""), -EBADMSG);
}

static void test_each_prefix_of_a_command_is_refused(void **state)
{
    (void)state;
    int32_t replicas[] = {1, 2, 2, 1};
    struct command cmd = topic_command(COMMAND_CREATE_TOPIC, "orders", 7, 1000);
    cmd.partitions = 2;
    cmd.replication_factor = 2;
    cmd.replicas = replicas;
    cmd.replica_count = 4;
    void *data;
    size_t len;
    assert_int_equal(command_encode(&cmd, &data, &len), 0);
    assert_int_equal(decode(data, len), 0);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(decode(data, cut), -EBADMSG);
    free(data);
}

/* ---- the snapshot ---- */

static void assert_same_attr(const struct tree_attr *a, const struct tree_attr *b)
{
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->dir_mode, b->dir_mode);
    assert_int_equal(a->file_mode, b->file_mode);
    assert_int_equal(a->ctime_ms, b->ctime_ms);
    assert_int_equal(a->mtime_ms, b->mtime_ms);
}

static void assert_same_config(const struct config_set *a, const struct config_set *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_string_equal(a->entries[i].name, b->entries[i].name);
        assert_string_equal(a->entries[i].value, b->entries[i].value);
    }
}

static void assert_same(const struct metadata *a, const struct metadata *b)
{
    assert_int_equal(a->next_offset, b->next_offset);
    assert_same_attr(&a->root, &b->root);
    assert_same_config(&a->config, &b->config);
    assert_int_equal(a->node_count, b->node_count);
    for (size_t i = 0; i < a->node_count; i++) {
        assert_int_equal(a->nodes[i].id, b->nodes[i].id);
        assert_int_equal(a->nodes[i].epoch, b->nodes[i].epoch);
        assert_int_equal(a->nodes[i].incarnation, b->nodes[i].incarnation);
        assert_int_equal(a->nodes[i].renewed, b->nodes[i].renewed);
        assert_int_equal(a->nodes[i].process, b->nodes[i].process);
        assert_string_equal(a->nodes[i].host, b->nodes[i].host);
        assert_int_equal(a->nodes[i].port, b->nodes[i].port);
        assert_int_equal(a->nodes[i].feature_level, b->nodes[i].feature_level);
        assert_int_equal(a->nodes[i].fenced, b->nodes[i].fenced);
        assert_int_equal(a->nodes[i].shutting_down, b->nodes[i].shutting_down);
    }
    assert_int_equal(a->next_producer_id, b->next_producer_id);
    assert_int_equal(a->topic_count, b->topic_count);
    for (size_t i = 0; i < a->topic_count; i++) {
        const struct metadata_topic *s = a->topics[i], *t = b->topics[i];
        assert_string_equal(s->name, t->name);
        assert_memory_equal(s->id, t->id, UUID_BYTES);
        assert_same_attr(&s->attr, &t->attr);
        assert_same_config(&s->config, &t->config);
        assert_int_equal(s->partitions, t->partitions);
        assert_int_equal(s->replication_factor, t->replication_factor);
        for (int32_t j = 0; j < s->partitions; j++)
            assert_true(partition_registration_equal(&s->parts[j], &t->parts[j]));
    }
}

static void fill(struct metadata *meta)
{
    assert_int_equal(register_node(meta, 1), 0);
    assert_int_equal(register_node(meta, 2), 0);
    assert_int_equal(set_config(meta, "", "default.replication.factor", "2", 10), 0);
    assert_int_equal(create(meta, "a", 1, 100), 0);
    assert_int_equal(set_config(meta, "", "framing", "msgpack", 150), 0);
    assert_int_equal(create(meta, "b", 2, 200), 0);
    assert_int_equal(set_config(meta, "a", "retention.ms", "7", 300), 0);
    assert_int_equal(set_config(meta, "a", "key.separator", "\\t", 400), 0);
    assert_int_equal(create(meta, "b", 2, 500), -EEXIST);
    struct command cmd = topic_command(COMMAND_SET_ATTR, "", 0, 600);
    cmd.attr.dir_mode = 01777;
    cmd.set = ATTR_DIR_MODE;
    assert_int_equal(apply(meta, &cmd), 0);
    struct command node = {.type = COMMAND_REGISTER_NODE,
                           .registration = {.id = 3,
                                            .epoch = -1,
                                            .incarnation = 0xfedcba9876543210u,
                                            .renewed = 0xfedcba9876543211u,
                                            .process = 77,
                                            .host = "c.example",
                                            .port = 9092,
                                            .feature_level = 1,
                                            .fenced = true}};
    assert_int_equal(apply(meta, &node), 0);
    struct partition_change change = {.index = 1, .to = metadata_topic(meta, "a")->parts[1]};
    memcpy(change.topic_id, metadata_topic(meta, "a")->id, UUID_BYTES);
    change.to.partition_epoch++;
    change.to.leader_epoch = 9;
    replica_set_add(&change.to.replicas, 2);
    replica_set_add(&change.to.target, 2);
    replica_set_add(&change.to.last_isr, 2);
    struct command changes = {.type = COMMAND_CHANGE_PARTITIONS, .changes = &change, .change_count = 1};
    assert_int_equal(apply(meta, &changes), 0);
    struct command ids = {.type = COMMAND_PRODUCER_IDS, .node = 1, .count = 1000};
    assert_int_equal(apply(meta, &ids), 0);
}

struct directory {
    char name[64];
    int fd;
};

static struct directory make_directory(void)
{
    struct directory dir;
    scratch_make(dir.name, sizeof dir.name, "metadata");
    dir.fd = open(dir.name, O_RDONLY | O_DIRECTORY);
    assert_true(dir.fd >= 0);
    return dir;
}

static void remove_directory(struct directory *dir)
{
    unlinkat(dir->fd, SNAPSHOT_FILE, 0);
    close(dir->fd);
    assert_int_equal(rmdir(dir->name), 0);
}

static int read_snapshot(int dirfd, struct metadata *meta, struct err *e)
{
    struct snapshot_id id;
    int rc = snapshot_read(io_posix(), dirfd, SNAPSHOT_FILE, meta, &id, e);
    if (rc == 0) {
        assert_int_equal(id.end.offset, meta->next_offset);
        assert_int_equal(id.end.position, 77);
        assert_int_equal(id.epoch, meta->epoch);
    }
    return rc;
}

static int write_snapshot(int dirfd, const struct metadata *meta)
{
    struct snapshot snapshot;
    int rc = snapshot_encode(meta, (struct log_point){meta->next_offset, 77}, &snapshot, NULL);
    assert_int_equal(rc, 0);
    rc = snapshot_write(io_posix(), dirfd, SNAPSHOT_FILE, &snapshot, NULL);
    snapshot_free(&snapshot);
    return rc;
}

static void test_a_snapshot_gives_the_same_state(void **state)
{
    struct metadata *meta = *state, read;
    struct directory dir = make_directory();
    fill(meta);
    metadata_init(&read, &root);
    assert_int_equal(read_snapshot(dir.fd, &read, NULL), -ENOENT);
    assert_int_equal(read.next_offset, 0);
    assert_int_equal(write_snapshot(dir.fd, meta), 0);
    assert_int_equal(read_snapshot(dir.fd, &read, NULL), 0);
    assert_same(&read, meta);
    metadata_free(&read);
    remove_directory(&dir);
}

static void test_a_damaged_snapshot_is_refused(void **state)
{
    struct metadata *meta = *state;
    struct directory dir = make_directory();
    fill(meta);
    assert_int_equal(write_snapshot(dir.fd, meta), 0);
    int fd = openat(dir.fd, SNAPSHOT_FILE, O_RDWR);
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = 0; at < size; at++) {
        struct metadata read;
        struct err e = {0};
        uint8_t byte, bent;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        bent = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &bent, 1, at), 1);
        metadata_init(&read, &root);
        assert_int_equal(read_snapshot(dir.fd, &read, &e), -EBADMSG);
        assert_non_null(strstr(e.text, SNAPSHOT_FILE));
        metadata_free(&read);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    for (off_t cut = 0; cut < size; cut += 7) {
        struct metadata read;
        assert_int_equal(ftruncate(fd, cut), 0);
        metadata_init(&read, &root);
        assert_int_equal(read_snapshot(dir.fd, &read, NULL), -EBADMSG);
        metadata_free(&read);
        assert_int_equal(write_snapshot(dir.fd, meta), 0);
        close(fd);
        fd = openat(dir.fd, SNAPSHOT_FILE, O_RDWR);
    }
    close(fd);
    remove_directory(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_topic_is_made_and_deleted, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_topic_that_has_to_be_empty, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_no_seals_while_a_node_is_of_an_older_build, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_topics_are_kept_in_order, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_names_follow_kafka, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_partitions_only_grow, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_attributes, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_settings, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_setting_is_proposed_for_the_topic_that_it_is_meant_for, setup,
                                        metadata_teardown),
        cmocka_unit_test_setup_teardown(test_compaction_lags_fit_each_other, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_compacted_topic_has_keys, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_what_was_decided_before_a_rule_is_applied, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_only_a_race_is_passed_over, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_topic_keeps_its_framing, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_nodes_epoch_is_its_registrations_offset, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_unknown_and_damaged_commands_are_refused, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_each_prefix_of_a_command_is_refused, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_snapshot_gives_the_same_state, setup, metadata_teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_snapshot_is_refused, setup, metadata_teardown),
    };
    return cmocka_run_group_tests_name("metadata", tests, NULL, NULL);
}
