/* replication/metadata/group_config.h: a consumer group's settings under Kafka's names: what there are, what values
 * they take, what is in force: the group's own value, or Kafka's default (ours where interface.md says so). A group
 * takes no defaults from MOUNT. Values are text, as setfattr gives them. Pure; no locks. */
#ifndef LOGMNT_REPLICATION_METADATA_GROUP_CONFIG_H
#define LOGMNT_REPLICATION_METADATA_GROUP_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/metadata/config.h"

/* partition.assignment.strategy: range, roundrobin, sticky. */
enum group_strategy { GROUP_STRATEGY_RANGE, GROUP_STRATEGY_ROUNDROBIN, GROUP_STRATEGY_STICKY };

/* A group's settings in force, parsed. */
struct group_config {
    int64_t max_poll_records;
    int64_t max_poll_interval_ms;
    int64_t session_timeout_ms;
    int64_t rebalance_timeout_ms;
    bool enable_auto_commit;
    bool reset_to_latest; /* auto.offset.reset: latest instead of earliest */
    enum group_strategy strategy;
};

/* The names of all settings, in order. */
const char *const *group_config_names(size_t *count);
/* -EINVAL with the reason: no such setting, or not a value that it takes. */
int group_config_check(const char *name, const char *value, struct err *e);
/* The value in force, as text. NULL: no such setting. */
const char *group_config_in_force(const struct config_set *group, const char *name);
/* All of them, parsed. */
void group_config_parse(const struct config_set *group, struct group_config *out);

#endif
