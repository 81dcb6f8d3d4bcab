/* replication/metadata/group_config.c: the table of a group's settings. */
#include "replication/metadata/group_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum value_kind { NUMBER, BOOL, RESET, STRATEGY };

/* Ordered by name: name, default, kind. Numbers are 1 to INT32_MAX, as Kafka's. */
#define SETTINGS(X)                                                                                                    \
    X("auto.offset.reset", "earliest", RESET)                                                                          \
    X("enable.auto.commit", "true", BOOL)                                                                              \
    X("max.poll.interval.ms", "300000", NUMBER)                                                                        \
    X("max.poll.records", "500", NUMBER)                                                                               \
    X("partition.assignment.strategy", "sticky", STRATEGY)                                                             \
    X("rebalance.timeout.ms", "5000", NUMBER)                                                                          \
    X("session.timeout.ms", "10000", NUMBER)

#define AS_NAME(name_, value_, kind_) name_,
#define AS_RULE(name_, value_, kind_) {.value = value_, .kind = kind_},

static const char *const names[] = {SETTINGS(AS_NAME)};
static const struct {
    const char *value; /* the built-in default */
    enum value_kind kind;
} rules[] = {SETTINGS(AS_RULE)};
enum { SETTING_COUNT = sizeof names / sizeof names[0] };

const char *const *group_config_names(size_t *count)
{
    *count = SETTING_COUNT;
    return names;
}

static int name_compare(const void *name, const void *at)
{
    return strcmp(name, *(const char *const *)at);
}

/* Its place in the tables; negative: there is none of that name. */
static int find(const char *name)
{
    const char *const *at = bsearch(name, names, SETTING_COUNT, sizeof names[0], name_compare);
    return at == NULL ? -1 : (int)(at - names);
}

static bool parse_strategy(const char *value, enum group_strategy *out)
{
    static const char *const strategies[] = {
        [GROUP_STRATEGY_RANGE] = "range",
        [GROUP_STRATEGY_ROUNDROBIN] = "roundrobin",
        [GROUP_STRATEGY_STICKY] = "sticky",
    };
    for (int i = 0; i <= GROUP_STRATEGY_STICKY; i++) {
        *out = (enum group_strategy)i;
        if (strcmp(value, strategies[i]) == 0)
            return true;
    }
    return false;
}

static bool parse_reset(const char *value, bool *latest)
{
    *latest = strcmp(value, "latest") == 0;
    return *latest || strcmp(value, "earliest") == 0;
}

int group_config_check(const char *name, const char *value, struct err *e)
{
    int at = find(name);
    struct group_config scratch;
    if (at < 0)
        return err_set(e, -EINVAL, "%s: no such setting of a group", name);
    switch (rules[at].kind) {
    case NUMBER:
        return config_check_number(name, value, 1, INT32_MAX, e);
    case BOOL:
        return config_check_bool(name, value, e);
    case RESET:
        if (!parse_reset(value, &scratch.reset_to_latest))
            return err_set(e, -EINVAL, "%s: neither earliest nor latest: %s", name, value);
        return 0;
    case STRATEGY:
        if (!parse_strategy(value, &scratch.strategy))
            return err_set(e, -EINVAL, "%s: none of range, roundrobin and sticky: %s", name, value);
        return 0;
    }
    return -EINVAL;
}

const char *group_config_in_force(const struct config_set *group, const char *name)
{
    int at = find(name);
    const char *value = at >= 0 ? config_set_get(group, name) : NULL;
    return at >= 0 && value == NULL ? rules[at].value : value;
}

void group_config_parse(const struct config_set *group, struct group_config *out)
{
    memset(out, 0, sizeof *out); /* the holes too: callers compare whole structs */
    out->max_poll_records = config_number(group_config_in_force(group, "max.poll.records"));
    out->max_poll_interval_ms = config_number(group_config_in_force(group, "max.poll.interval.ms"));
    out->session_timeout_ms = config_number(group_config_in_force(group, "session.timeout.ms"));
    out->rebalance_timeout_ms = config_number(group_config_in_force(group, "rebalance.timeout.ms"));
    out->enable_auto_commit = config_bool(group_config_in_force(group, "enable.auto.commit"));
    parse_reset(group_config_in_force(group, "auto.offset.reset"), &out->reset_to_latest);
    parse_strategy(group_config_in_force(group, "partition.assignment.strategy"), &out->strategy);
}
