/* replication/metadata/config.h: topic settings under Kafka's names: what there are, what values they take, what is in
 * force.
 *
 * A setting in force is the topic's own value, else the cluster's default (set on MOUNT), else Kafka's default (ours
 * where docs/FILESYSTEM.md and docs/OPERATIONS.md say so). Values are text, as setfattr gives them. Pure; no locks. */
#ifndef LOGMNT_REPLICATION_METADATA_CONFIG_H
#define LOGMNT_REPLICATION_METADATA_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/log/log.h"

enum { CONFIG_NAME_BYTES = 64, CONFIG_VALUE_BYTES = 256 };

/* A topic's settings in force, parsed. */
struct topic_config {
    struct log_config log;
    int64_t max_message_bytes;
    int32_t min_insync_replicas; /* 0: not set, so that it is (replicas + 1) / 2 */
    bool delete_topic_enable;
    bool unclean_leader_election_enable;
    bool log_append_time; /* message.timestamp.type */
};

enum config_scope {
    CONFIG_TOPIC,   /* on a topic, and on MOUNT as the cluster's default for topics */
    CONFIG_CLUSTER, /* on MOUNT only: num.partitions, default.replication.factor, offsets.retention.minutes */
};

/* One kind of setting. */
struct config_def {
    const char *name;
    enum config_scope scope;
    const char *value; /* the built-in default; metadata_get_config() knows two that depend on more */
};

/* All settings, ordered by name. */
const struct config_def *config_defs(size_t *count);
const struct config_def *config_find(const char *name); /* NULL: unknown */
/* -EINVAL with the reason: not a value this setting takes (Kafka's ranges). Values are used as they are given, but
 * surrounding white space is not accepted. key.separator knows the escapes \t, \\ and \xHH. */
int config_check(const char *name, const char *value, struct err *e);

/* Numbers and truth values as the settings of topics and groups have them. -EINVAL with the reason. */
int config_check_number(const char *name, const char *value, int64_t min, int64_t max, struct err *e);
int config_check_bool(const char *name, const char *value, struct err *e);
int64_t config_number(const char *value); /* a checked one, and so the next */
bool config_bool(const char *value);

/* Overrides: names and values, ordered by name. Zero-initialise. */
struct config_set {
    struct config_override {
        char name[CONFIG_NAME_BYTES];
        char value[CONFIG_VALUE_BYTES];
    } * entries;
    size_t count;
};
int config_set_put(struct config_set *set, const char *name, const char *value); /* checked by the caller; -ENOMEM */
bool config_set_remove(struct config_set *set, const char *name);
const char *config_set_get(const struct config_set *set, const char *name); /* NULL: not overridden */
int config_set_copy(struct config_set *to, const struct config_set *from);
void config_set_free(struct config_set *set);

/* The value in force, as text. topic may be NULL (then: MOUNT's). NULL: unknown name. */
const char *config_in_force(const struct config_set *cluster, const struct config_set *topic, const char *name);
/* -EINVAL with the reason: what is in force contradicts itself: no record of a topic of lines without key.separator has
 * a key, and a compacted topic takes only those that have one. */
int config_check_keys(const struct config_set *cluster, const struct config_set *topic, struct err *e);
/* All of them, parsed. */
void config_parse(const struct config_set *cluster, const struct config_set *topic, struct topic_config *out);

#endif
