/* replication/metadata/config.c: the table of settings and the parsers of their values.
 *
 * Ranges and defaults are those of Kafka's LogConfig; what is ours (max.message.bytes, delete.topic.enable,
 * key.separator, framing) is as docs/FILESYSTEM.md says. A value is checked once, when it is set; what is kept was
 * checked and parses. */
#include "replication/metadata/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/limits.h"
#include "replication/base/limits.h"
#include "replication/base/sorted.h"

enum value_kind { NUMBER, RATIO, BOOL, POLICY, TIMESTAMP_TYPE, FRAMING, SEPARATOR };

/* What a value may be; min and max are for numbers. */
struct rule {
    enum value_kind kind;
    int64_t min, max;
};

#define LONG_MAX_TEXT "9223372036854775807"

/* Ordered by name: name, scope, default, kind, min, max. */
#define SETTINGS(X)                                                                                                    \
    X("cleanup.policy", CONFIG_TOPIC, "delete", POLICY, 0, 0)                                                          \
    X("default.replication.factor", CONFIG_CLUSTER, "1", NUMBER, 1, LIMIT_REPLICAS)                                    \
    X("delete.retention.ms", CONFIG_TOPIC, "86400000", NUMBER, 0, INT64_MAX)                                           \
    X("delete.topic.enable", CONFIG_TOPIC, "false", BOOL, 0, 0)                                                        \
    X("flush.messages", CONFIG_TOPIC, LONG_MAX_TEXT, NUMBER, 1, INT64_MAX)                                             \
    X("flush.ms", CONFIG_TOPIC, LONG_MAX_TEXT, NUMBER, 0, INT64_MAX)                                                   \
    X("framing", CONFIG_TOPIC, "line", FRAMING, 0, 0)                                                                  \
    X("index.interval.bytes", CONFIG_TOPIC, "4096", NUMBER, 0, INT32_MAX)                                              \
    X("key.separator", CONFIG_TOPIC, "", SEPARATOR, 0, 0)                                                              \
    X("max.compaction.lag.ms", CONFIG_TOPIC, LONG_MAX_TEXT, NUMBER, 1, INT64_MAX)                                      \
    X("max.message.bytes", CONFIG_TOPIC, "1048576", NUMBER, 1, LIMIT_BATCH_BYTES / 2)                                  \
    X("message.timestamp.type", CONFIG_TOPIC, "CreateTime", TIMESTAMP_TYPE, 0, 0)                                      \
    X("min.cleanable.dirty.ratio", CONFIG_TOPIC, "0.5", RATIO, 0, 0)                                                   \
    X("min.compaction.lag.ms", CONFIG_TOPIC, "0", NUMBER, 0, INT64_MAX)                                                \
    X("min.insync.replicas", CONFIG_TOPIC, "1", NUMBER, 1, INT32_MAX)                                                  \
    X("num.partitions", CONFIG_CLUSTER, "1", NUMBER, 1, LIMIT_TOPIC_PARTITIONS)                                        \
    X("offsets.retention.minutes", CONFIG_CLUSTER, "10080", NUMBER, 1, INT32_MAX)                                      \
    X("retention.bytes", CONFIG_TOPIC, "-1", NUMBER, -1, INT64_MAX)                                                    \
    X("retention.ms", CONFIG_TOPIC, "604800000", NUMBER, -1, INT64_MAX)                                                \
    X("segment.bytes", CONFIG_TOPIC, "1073741824", NUMBER, 14, INT32_MAX)                                              \
    X("segment.index.bytes", CONFIG_TOPIC, "10485760", NUMBER, 4, INT32_MAX)                                           \
    X("segment.ms", CONFIG_TOPIC, "604800000", NUMBER, 1, INT64_MAX)                                                   \
    X("unclean.leader.election.enable", CONFIG_TOPIC, "false", BOOL, 0, 0)

#define AS_DEF(name_, scope_, value_, kind_, min_, max_) {.name = name_, .scope = scope_, .value = value_},
#define AS_RULE(name_, scope_, value_, kind_, min_, max_) {.kind = kind_, .min = min_, .max = max_},

static const struct config_def defs[] = {SETTINGS(AS_DEF)};
static const struct rule rules[] = {SETTINGS(AS_RULE)};
enum { DEFS = sizeof defs / sizeof defs[0] };

const struct config_def *config_defs(size_t *count)
{
    *count = DEFS;
    return defs;
}

static int def_compare(const void *name, const void *def)
{
    return strcmp(name, ((const struct config_def *)def)->name);
}

const struct config_def *config_find(const char *name)
{
    return bsearch(name, defs, DEFS, sizeof defs[0], def_compare);
}

/* ---- values; each parser returns false for what the setting does not take ---- */

static bool parse_number(const char *s, int64_t *out)
{
    const char *digits = s + (*s == '-' || *s == '+');
    if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits))
        return false;
    errno = 0;
    long long v = strtoll(s, NULL, 10);
    *out = v;
    return errno == 0;
}

static bool parse_ratio(const char *s, double *out)
{
    if (*s == '\0' || strspn(s, "0123456789.eE+-") != strlen(s))
        return false;
    char *end;
    *out = strtod(s, &end);
    return *end == '\0' && *out >= 0 && *out <= 1;
}

static bool parse_bool(const char *s, bool *out)
{
    *out = strcasecmp(s, "true") == 0;
    return *out || strcasecmp(s, "false") == 0;
}

/* A list of delete and compact, in any order, as Kafka splits it: at commas, with white space around them. */
static bool parse_policy(const char *s, uint32_t *out)
{
    *out = 0;
    for (;;) {
        size_t len = strcspn(s, ", \t");
        if (len == 6 && strncmp(s, "delete", len) == 0)
            *out |= CLEANUP_DELETE;
        else if (len == 7 && strncmp(s, "compact", len) == 0)
            *out |= CLEANUP_COMPACT;
        else
            return false;
        s += len;
        if (*s == '\0')
            return true;
        s += strspn(s, " \t");
        if (*s++ != ',')
            return false;
        s += strspn(s, " \t");
    }
}

static bool parse_timestamp_type(const char *s, bool *log_append_time)
{
    *log_append_time = strcmp(s, "LogAppendTime") == 0;
    return *log_append_time || strcmp(s, "CreateTime") == 0;
}

static bool parse_framing(const char *s, enum framing *out)
{
    *out = strcmp(s, "msgpack") == 0 ? FRAMING_MSGPACK : FRAMING_LINE;
    return *out == FRAMING_MSGPACK || strcmp(s, "line") == 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Plain bytes and the escapes \t, \\ and \xHH. A newline cannot occur in a line and is refused. */
static bool parse_separator(const char *s, char out[LOG_KEY_SEPARATOR_BYTES], uint32_t *len)
{
    for (*len = 0; *s != '\0'; s++, (*len)++) {
        char c = *s;
        if (c == '\\') {
            c = *++s;
            if (c == 't') {
                c = '\t';
            } else if (c == 'x') {
                int high = hex_digit(s[1]);
                int low = high < 0 ? -1 : hex_digit(s[2]);
                if (low < 0)
                    return false;
                c = (char)(high << 4 | low);
                s += 2;
            } else if (c != '\\') {
                return false;
            }
        }
        if (c == '\n' || *len == LOG_KEY_SEPARATOR_BYTES)
            return false;
        out[*len] = c;
    }
    return true;
}

int config_check_number(const char *name, const char *value, int64_t min, int64_t max, struct err *e)
{
    int64_t number;
    if (!parse_number(value, &number))
        return err_set(e, -EINVAL, "%s: not a whole number: %s", name, value);
    if (number < min || number > max)
        return err_set(e, -EINVAL, "%s: %s is not between %" PRId64 " and %" PRId64, name, value, min, max);
    return 0;
}

int config_check_bool(const char *name, const char *value, struct err *e)
{
    bool scratch;
    return parse_bool(value, &scratch) ? 0 : err_set(e, -EINVAL, "%s: neither true nor false: %s", name, value);
}

int64_t config_number(const char *value)
{
    int64_t number = 0;
    parse_number(value, &number);
    return number;
}

bool config_bool(const char *value)
{
    bool on;
    parse_bool(value, &on);
    return on;
}

int config_check(const char *name, const char *value, struct err *e)
{
    const struct config_def *def = config_find(name);
    if (def == NULL)
        return err_set(e, -EINVAL, "%s: no such setting", name);
    if (strlen(value) >= CONFIG_VALUE_BYTES)
        return err_set(e, -EINVAL, "%s: longer than %d bytes", name, CONFIG_VALUE_BYTES - 1);

    const struct rule *rule = &rules[def - defs];
    struct topic_config scratch;
    switch (rule->kind) {
    case NUMBER:
        return config_check_number(name, value, rule->min, rule->max, e);
    case RATIO:
        if (!parse_ratio(value, &scratch.log.min_cleanable_dirty_ratio))
            return err_set(e, -EINVAL, "%s: not a number between 0 and 1: %s", name, value);
        return 0;
    case BOOL:
        return config_check_bool(name, value, e);
    case POLICY:
        if (!parse_policy(value, &scratch.log.cleanup_policy))
            return err_set(e, -EINVAL, "%s: not a list of delete and compact: %s", name, value);
        return 0;
    case TIMESTAMP_TYPE:
        if (!parse_timestamp_type(value, &scratch.log_append_time))
            return err_set(e, -EINVAL, "%s: neither CreateTime nor LogAppendTime: %s", name, value);
        return 0;
    case FRAMING:
        if (!parse_framing(value, &scratch.log.framing))
            return err_set(e, -EINVAL, "%s: neither line nor msgpack: %s", name, value);
        return 0;
    case SEPARATOR:
        if (!parse_separator(value, scratch.log.key_separator, &scratch.log.key_separator_len)) {
            return err_set(e, -EINVAL, "%s: not at most %d bytes, with \\t, \\\\ and \\xHH: %s", name,
                           LOG_KEY_SEPARATOR_BYTES, value);
        }
        return 0;
    }
    return -EINVAL;
}

/* ---- overrides ---- */

static const char *name_at(const void *list, size_t i)
{
    return ((const struct config_override *)list)[i].name;
}

static size_t set_place(const struct config_set *set, const char *name, bool *found)
{
    return sorted_place(set->entries, set->count, name_at, name, found);
}

int config_set_put(struct config_set *set, const char *name, const char *value)
{
    bool found;
    size_t place = set_place(set, name, &found);
    if (!found) {
        struct config_override *entries = realloc(set->entries, (set->count + 1) * sizeof *entries);
        if (entries == NULL)
            return -ENOMEM;
        memmove(&entries[place + 1], &entries[place], (set->count - place) * sizeof *entries);
        memset(&entries[place], 0, sizeof entries[place]);
        memcpy(entries[place].name, name, strnlen(name, CONFIG_NAME_BYTES - 1));
        set->entries = entries;
        set->count++;
    }
    struct config_override *entry = &set->entries[place];
    memset(entry->value, 0, sizeof entry->value);
    memcpy(entry->value, value, strnlen(value, CONFIG_VALUE_BYTES - 1));
    return 0;
}

bool config_set_remove(struct config_set *set, const char *name)
{
    bool found;
    size_t place = set_place(set, name, &found);
    if (!found)
        return false;
    set->count--;
    memmove(&set->entries[place], &set->entries[place + 1], (set->count - place) * sizeof *set->entries);
    return true;
}

const char *config_set_get(const struct config_set *set, const char *name)
{
    bool found;
    size_t place = set_place(set, name, &found);
    return found ? set->entries[place].value : NULL;
}

int config_set_copy(struct config_set *to, const struct config_set *from)
{
    *to = (struct config_set){0};
    if (from->count == 0)
        return 0;
    to->entries = malloc(from->count * sizeof *to->entries);
    if (to->entries == NULL)
        return -ENOMEM;
    memcpy(to->entries, from->entries, from->count * sizeof *to->entries);
    to->count = from->count;
    return 0;
}

void config_set_free(struct config_set *set)
{
    free(set->entries);
    *set = (struct config_set){0};
}

/* ---- what is in force ---- */

const char *config_in_force(const struct config_set *cluster, const struct config_set *topic, const char *name)
{
    const struct config_def *def = config_find(name);
    if (def == NULL || (topic != NULL && def->scope == CONFIG_CLUSTER))
        return NULL;
    const char *value = topic != NULL ? config_set_get(topic, name) : NULL;
    if (value == NULL)
        value = config_set_get(cluster, name);
    return value != NULL ? value : def->value;
}

/* Both sets together, while they are parsed. */
struct both {
    const struct config_set *cluster, *topic;
};

static int64_t number_in_force(struct both both, const char *name)
{
    return config_number(config_in_force(both.cluster, both.topic, name));
}

static bool bool_in_force(struct both both, const char *name)
{
    return config_bool(config_in_force(both.cluster, both.topic, name));
}

void config_parse(const struct config_set *cluster, const struct config_set *topic, struct topic_config *out)
{
    struct both both = {cluster, topic};
    struct log_config *log = &out->log;
    memset(out, 0, sizeof *out); /* the holes too: callers compare whole structs */
    log->retention_ms = number_in_force(both, "retention.ms");
    log->retention_bytes = number_in_force(both, "retention.bytes");
    log->segment_bytes = number_in_force(both, "segment.bytes");
    log->segment_ms = number_in_force(both, "segment.ms");
    log->segment_index_bytes = number_in_force(both, "segment.index.bytes");
    log->index_interval_bytes = number_in_force(both, "index.interval.bytes");
    log->flush_messages = number_in_force(both, "flush.messages");
    log->flush_ms = number_in_force(both, "flush.ms");
    log->delete_retention_ms = number_in_force(both, "delete.retention.ms");
    log->min_compaction_lag_ms = number_in_force(both, "min.compaction.lag.ms");
    log->max_compaction_lag_ms = number_in_force(both, "max.compaction.lag.ms");
    parse_ratio(config_in_force(cluster, topic, "min.cleanable.dirty.ratio"), &log->min_cleanable_dirty_ratio);
    parse_policy(config_in_force(cluster, topic, "cleanup.policy"), &log->cleanup_policy);
    parse_framing(config_in_force(cluster, topic, "framing"), &log->framing);
    parse_separator(config_in_force(cluster, topic, "key.separator"), log->key_separator, &log->key_separator_len);
    out->max_message_bytes = number_in_force(both, "max.message.bytes");
    /* Its default depends on what no setting says: how many replicas a partition has. */
    if (config_set_get(topic != NULL ? topic : cluster, "min.insync.replicas") != NULL ||
        config_set_get(cluster, "min.insync.replicas") != NULL)
        out->min_insync_replicas = (int32_t)number_in_force(both, "min.insync.replicas");
    out->delete_topic_enable = bool_in_force(both, "delete.topic.enable");
    out->unclean_leader_election_enable = bool_in_force(both, "unclean.leader.election.enable");
    parse_timestamp_type(config_in_force(cluster, topic, "message.timestamp.type"), &out->log_append_time);
}

int config_check_keys(const struct config_set *cluster, const struct config_set *topic, struct err *e)
{
    uint32_t policy;
    enum framing framing;
    parse_policy(config_in_force(cluster, topic, "cleanup.policy"), &policy);
    parse_framing(config_in_force(cluster, topic, "framing"), &framing);
    if ((policy & CLEANUP_COMPACT) == 0 || framing != FRAMING_LINE ||
        config_in_force(cluster, topic, "key.separator")[0] != '\0')
        return 0;
    return err_set(e, -EINVAL, "cleanup.policy=compact needs key.separator: without one no line has a key");
}
