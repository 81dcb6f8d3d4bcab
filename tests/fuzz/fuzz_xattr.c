/* tests/fuzz/fuzz_xattr.c: any value for any setting of a topic or a group, as setfattr gives it: it is refused with a
 * reason, or what is in force afterwards is in range.
 *
 * Input: lines NAME=VALUE, where a line that starts with a byte below 0x40 means the topic's setting of that number,
 * and one from 0x80 to 0xbf a group's. */
#include <errno.h>
#include <string.h>

#include "engine/base/limits.h"
#include "replication/metadata/config.h"
#include "replication/metadata/group_config.h"
#include "tests/fuzz/fuzz.h"

static const struct config_set no_defaults;

static void check_in_force(const struct config_set *set)
{
    struct topic_config config;
    const struct log_config *log = &config.log;

    config_parse(&no_defaults, set, &config);
    FUZZ_CHECK(log->retention_ms >= -1 && log->retention_bytes >= -1);
    FUZZ_CHECK(log->segment_bytes > 0 && log->segment_ms > 0 && log->segment_index_bytes >= 0);
    FUZZ_CHECK(log->index_interval_bytes >= 0);
    FUZZ_CHECK(log->flush_messages >= 1 && log->flush_ms >= 0);
    FUZZ_CHECK(log->delete_retention_ms >= 0 && log->min_compaction_lag_ms >= 0 && log->max_compaction_lag_ms >= 1);
    FUZZ_CHECK(log->min_cleanable_dirty_ratio >= 0 && log->min_cleanable_dirty_ratio <= 1);
    FUZZ_CHECK(log->cleanup_policy >= 1 && log->cleanup_policy <= (CLEANUP_DELETE | CLEANUP_COMPACT));
    FUZZ_CHECK(log->framing == FRAMING_LINE || log->framing == FRAMING_MSGPACK);
    FUZZ_CHECK(log->key_separator_len <= sizeof log->key_separator);
    FUZZ_CHECK(memchr(log->key_separator, '\n', log->key_separator_len) == NULL);
    FUZZ_CHECK(config.max_message_bytes >= 0 && config.max_message_bytes <= LIMIT_BATCH_BYTES / 2);
    FUZZ_CHECK(config.min_insync_replicas >= 0);
}

/* Ordered, each name once. */
static void check_order(const struct config_set *set)
{
    for (size_t i = 1; i < set->count; i++) {
        FUZZ_CHECK(strcmp(set->entries[i - 1].name, set->entries[i].name) < 0);
    }
}

static const char *name_of(const char *name)
{
    size_t count;
    const struct config_def *defs = config_defs(&count);
    unsigned char first = (unsigned char)name[0];
    const char *const *of_groups;

    if (first >= 0x80 && first < 0xc0) {
        of_groups = group_config_names(&count);
        return of_groups[first % count];
    }
    return first > 0 && first < 0x40 ? defs[first % count].name : name;
}

static void one_line(struct config_set *set, const char *name, const char *value)
{
    struct err e = {0};
    int rc = config_check(name, value, &e);

    FUZZ_CHECK(rc == 0 || (rc == -EINVAL && e.text[0] != '\0'));
    if (rc < 0) {
        return;
    }
    FUZZ_CHECK(config_set_put(set, name, value) == 0);
    FUZZ_CHECK(strcmp(config_set_get(set, name), value) == 0);
    FUZZ_CHECK(strcmp(config_in_force(set, NULL, name), value) == 0);
    if (config_find(name)->scope == CONFIG_TOPIC) {
        FUZZ_CHECK(strcmp(config_in_force(&no_defaults, set, name), value) == 0);
    }
    check_order(set);
    check_in_force(set);
}

static void one_line_of_group(struct config_set *set, const char *name, const char *value)
{
    struct group_config config;
    struct err e = {0};
    int rc = group_config_check(name, value, &e);

    FUZZ_CHECK(rc == 0 || (rc == -EINVAL && e.text[0] != '\0'));
    if (rc < 0) {
        return;
    }
    FUZZ_CHECK(config_set_put(set, name, value) == 0);
    FUZZ_CHECK(strcmp(group_config_in_force(set, name), value) == 0);
    group_config_parse(set, &config);
    FUZZ_CHECK(config.max_poll_records >= 1 && config.max_poll_interval_ms >= 1 && config.session_timeout_ms >= 1);
    FUZZ_CHECK(config.rebalance_timeout_ms >= 1 && config.rebalance_timeout_ms <= INT32_MAX);
    FUZZ_CHECK(config.strategy <= GROUP_STRATEGY_STICKY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config_set set = {0}, of_group = {0};
    char *text = fuzz_text(data, len);
    char *rest = text;

    while (rest != NULL) {
        char *value = strsep(&rest, "\n");
        const char *name = strsep(&value, "=");

        if (value != NULL) {
            one_line(&set, name_of(name), value);
            one_line_of_group(&of_group, name_of(name), value);
        } else if (config_set_get(&set, name) != NULL) {
            FUZZ_CHECK(config_set_remove(&set, name) && config_set_get(&set, name) == NULL);
        }
    }
    config_set_free(&set);
    config_set_free(&of_group);
    free(text);
    return 0;
}
