/* Settings: Kafka's names, defaults and ranges (its LogConfig), and those of ours. */
#include "replication/metadata/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct config_set nothing;

static void takes(const char *name, const char *value)
{
    struct err e = {0};
    if (config_check(name, value, &e) != 0)
        fail_msg("%s=%s refused: %s", name, value, e.text);
}

static void refuses(const char *name, const char *value)
{
    struct err e = {0};
    if (config_check(name, value, &e) != -EINVAL)
        fail_msg("%s=%s taken", name, value);
    assert_true(strlen(e.text) > 0);
}

static void test_names_are_ordered_and_found(void **state)
{
    (void)state;
    size_t count;
    const struct config_def *defs = config_defs(&count);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(config_find(defs[i].name), &defs[i]);
        assert_true(strlen(defs[i].name) < CONFIG_NAME_BYTES);
        if (i > 0)
            assert_true(strcmp(defs[i - 1].name, defs[i].name) < 0);
        takes(defs[i].name, defs[i].value);
    }
    assert_null(config_find("compression.type"));
    assert_null(config_find(""));
}

static void test_the_names_of_the_contract_are_there(void **state)
{
    (void)state;
    static const char *const names[] = {"retention.ms",
                                        "retention.bytes",
                                        "segment.bytes",
                                        "segment.ms",
                                        "cleanup.policy",
                                        "max.message.bytes",
                                        "min.insync.replicas",
                                        "delete.topic.enable",
                                        "flush.messages",
                                        "flush.ms",
                                        "index.interval.bytes",
                                        "key.separator",
                                        "framing",
                                        "num.partitions",
                                        "offsets.retention.minutes",
                                        "message.timestamp.type",
                                        "default.replication.factor",
                                        "delete.retention.ms",
                                        "min.compaction.lag.ms"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (config_find(names[i]) == NULL)
            fail_msg("%s", names[i]);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    struct topic_config config;
    config_parse(&nothing, NULL, &config);
    assert_int_equal(config.log.retention_ms, 604800000);
    assert_int_equal(config.log.retention_bytes, -1);
    assert_int_equal(config.log.segment_bytes, 1 << 30);
    assert_int_equal(config.log.segment_ms, 604800000);
    assert_int_equal(config.log.segment_index_bytes, 10 << 20);
    assert_int_equal(config.log.index_interval_bytes, 4096);
    assert_true(config.log.flush_messages == INT64_MAX);
    assert_true(config.log.flush_ms == INT64_MAX);
    assert_int_equal(config.log.delete_retention_ms, 86400000);
    assert_int_equal(config.log.min_compaction_lag_ms, 0);
    assert_true(config.log.max_compaction_lag_ms == INT64_MAX);
    assert_true(config.log.min_cleanable_dirty_ratio == 0.5);
    assert_int_equal(config.log.cleanup_policy, CLEANUP_DELETE);
    assert_int_equal(config.log.framing, FRAMING_LINE);
    assert_int_equal(config.log.key_separator_len, 0);
    assert_int_equal(config.max_message_bytes, 1 << 20);
    assert_int_equal(config.min_insync_replicas, 0); /* it follows from the replicas */
    assert_false(config.delete_topic_enable);
    assert_false(config.unclean_leader_election_enable);
    assert_false(config.log_append_time);
    assert_string_equal(config_in_force(&nothing, NULL, "num.partitions"), "1");
}

static void test_ranges(void **state)
{
    (void)state;
    takes("retention.ms", "-1");
    takes("retention.ms", "0");
    takes("retention.ms", "9223372036854775807");
    refuses("retention.ms", "-2");
    refuses("retention.ms", "9223372036854775808");
    takes("segment.bytes", "14");
    refuses("segment.bytes", "13");
    takes("segment.bytes", "2147483647");
    refuses("segment.bytes", "2147483648");
    takes("segment.ms", "1");
    refuses("segment.ms", "0");
    takes("flush.messages", "1");
    refuses("flush.messages", "0");
    takes("flush.ms", "0");
    refuses("flush.ms", "-1");
    takes("min.insync.replicas", "1");
    refuses("min.insync.replicas", "0");
    takes("segment.index.bytes", "4");
    refuses("segment.index.bytes", "3");
    takes("min.cleanable.dirty.ratio", "0");
    takes("min.cleanable.dirty.ratio", "1.0");
    takes("min.cleanable.dirty.ratio", "5e-1");
    refuses("min.cleanable.dirty.ratio", "1.1");
    refuses("min.cleanable.dirty.ratio", "-0.1");
    refuses("min.cleanable.dirty.ratio", "nan");
    refuses("min.cleanable.dirty.ratio", "");
    /* Half of the largest batch, 64 MiB. */
    takes("max.message.bytes", "33554432");
    refuses("max.message.bytes", "33554433");
    refuses("num.partitions", "0");
    refuses("offsets.retention.minutes", "0"); /* Kafka's least is 1 */
    refuses("num.partitions", "10001");
}

static void test_values_are_taken_as_they_are(void **state)
{
    (void)state;
    refuses("retention.ms", " 1");
    refuses("retention.ms", "1 ");
    refuses("retention.ms", "1\n");
    refuses("retention.ms", "0x10");
    refuses("retention.ms", "1k");
    refuses("retention.ms", "");
    refuses("retention.ms", "-");
    takes("delete.topic.enable", "TRUE");
    refuses("delete.topic.enable", "yes");
    takes("message.timestamp.type", "LogAppendTime");
    refuses("message.timestamp.type", "logappendtime");
    takes("framing", "msgpack");
    refuses("framing", "json");
    takes("cleanup.policy", "compact");
    takes("cleanup.policy", "compact,delete");
    takes("cleanup.policy", "delete, compact");
    refuses("cleanup.policy", "");
    refuses("cleanup.policy", "compact,");
    refuses("cleanup.policy", "purge");
    refuses("no.such.setting", "1");
    char longest[CONFIG_VALUE_BYTES + 1];
    memset(longest, '0', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    refuses("retention.ms", longest);
}

static void assert_separator(const char *text, const char *bytes, size_t len)
{
    struct config_set set = {0};
    struct topic_config config;
    takes("key.separator", text);
    assert_int_equal(config_set_put(&set, "key.separator", text), 0);
    config_parse(&nothing, &set, &config);
    assert_int_equal(config.log.key_separator_len, len);
    assert_memory_equal(config.log.key_separator, bytes, len);
    config_set_free(&set);
}

static void test_key_separator(void **state)
{
    (void)state;
    assert_separator(":", ":", 1);
    assert_separator("\\t", "\t", 1);
    assert_separator("\\\\", "\\", 1);
    assert_separator("\\x00\\xfF", "\0\xff", 2);
    assert_separator(" => ", " => ", 4);
    assert_separator("", "", 0);
    refuses("key.separator", "\n");
    refuses("key.separator", "\\x0a");
    refuses("key.separator", "\\n");
    refuses("key.separator", "\\");
    refuses("key.separator", "\\x");
    refuses("key.separator", "\\x1");
    takes("key.separator", "12345678901234567890123456789012");
    refuses("key.separator", "123456789012345678901234567890123");
}

static void test_topic_over_cluster_over_default(void **state)
{
    (void)state;
    struct config_set cluster = {0}, topic = {0}, copy;
    assert_int_equal(config_set_put(&cluster, "retention.ms", "1000"), 0);
    assert_int_equal(config_set_put(&cluster, "num.partitions", "3"), 0);
    assert_int_equal(config_set_put(&topic, "segment.ms", "7"), 0);
    assert_int_equal(config_set_put(&topic, "retention.ms", "2000"), 0);
    assert_string_equal(config_in_force(&cluster, &topic, "retention.ms"), "2000");
    assert_string_equal(config_in_force(&cluster, NULL, "retention.ms"), "1000");
    assert_string_equal(config_in_force(&cluster, &topic, "segment.ms"), "7");
    assert_string_equal(config_in_force(&cluster, &topic, "flush.ms"), "9223372036854775807");
    /* Not a topic's setting. */
    assert_null(config_in_force(&cluster, &topic, "num.partitions"));
    assert_string_equal(config_in_force(&cluster, NULL, "num.partitions"), "3");
    assert_null(config_in_force(&cluster, &topic, "no.such.setting"));

    assert_int_equal(config_set_copy(&copy, &topic), 0);
    assert_true(config_set_remove(&topic, "retention.ms"));
    assert_false(config_set_remove(&topic, "retention.ms"));
    assert_string_equal(config_in_force(&cluster, &topic, "retention.ms"), "1000");
    assert_string_equal(config_set_get(&copy, "retention.ms"), "2000");
    config_set_free(&cluster);
    config_set_free(&topic);
    config_set_free(&copy);
}

static void test_a_set_is_ordered_by_name(void **state)
{
    (void)state;
    struct config_set set = {0};
    assert_int_equal(config_set_put(&set, "segment.ms", "1"), 0);
    assert_int_equal(config_set_put(&set, "flush.ms", "2"), 0);
    assert_int_equal(config_set_put(&set, "retention.ms", "3"), 0);
    assert_int_equal(config_set_put(&set, "flush.ms", "4"), 0);
    assert_int_equal(set.count, 3);
    assert_string_equal(set.entries[0].name, "flush.ms");
    assert_string_equal(set.entries[0].value, "4");
    assert_string_equal(set.entries[1].name, "retention.ms");
    assert_string_equal(set.entries[2].name, "segment.ms");
    assert_null(config_set_get(&set, "segment.bytes"));
    config_set_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_ordered_and_found),
        cmocka_unit_test(test_the_names_of_the_contract_are_there),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_values_are_taken_as_they_are),
        cmocka_unit_test(test_key_separator),
        cmocka_unit_test(test_topic_over_cluster_over_default),
        cmocka_unit_test(test_a_set_is_ordered_by_name),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
