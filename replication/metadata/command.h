/* replication/metadata/command.h: one decision of the metadata quorum, in memory and as the bytes of one record of
 * `__cluster_metadata`: a MessagePack map with short text keys, readable as it lies there. docs/DISK_FORMAT.md lays the
 * keys down.
 *
 * Each command carries a version. One that this build does not know, or that misses a key, is -EBADMSG with the reason,
 * never skipped: what follows may depend on it. Pure; no locks. */
#ifndef LOGMNT_REPLICATION_METADATA_COMMAND_H
#define LOGMNT_REPLICATION_METADATA_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "replication/base/limits.h"
#include "replication/base/uuid.h"
#include "replication/metadata/config.h"
#include "replication/node/node.h"

enum { COMMAND_VERSION = 1, TOPIC_NAME_BYTES = 250 };

enum command_type {
    COMMAND_REGISTER_NODE,     /* node */
    COMMAND_CREATE_TOPIC,      /* topic, id, attr, partitions, replication_factor, replicas */
    COMMAND_DELETE_TOPIC,      /* topic, id */
    COMMAND_CREATE_PARTITIONS, /* topic, id, partitions (the new count), replicas (of the added ones) */
    COMMAND_SET_ATTR,          /* topic or "" for MOUNT, attr, set */
    COMMAND_SET_CONFIG,        /* topic or "", name, value */
    COMMAND_REMOVE_CONFIG,     /* topic or "", name */
    COMMAND_TYPES,
};

/* Beside the ATTR_ bits of node.h: the directory's mtime, as a snapshot sets it. */
enum { COMMAND_ATTR_MTIME = 16 };

struct command {
    enum command_type type;
    int64_t time_ms; /* when it was proposed */
    char topic[TOPIC_NAME_BYTES];
    uint8_t id[UUID_BYTES];
    struct tree_attr attr; /* ctime_ms is time_ms; mtime_ms where set says so */
    unsigned set;
    int32_t node;
    int32_t partitions;
    int32_t replication_factor;
    int32_t *replicas; /* replication_factor ids for each partition, one partition behind the other; malloc-ed */
    int32_t replica_count;
    char name[CONFIG_NAME_BYTES];
    char value[CONFIG_VALUE_BYTES];
};

/* *out is malloc-ed, the caller's. -ENOMEM. */
int command_encode(const struct command *cmd, void **out, size_t *len);
/* On success the caller frees *cmd by command_free(). -EBADMSG, -ENOMEM. */
int command_decode(const void *data, size_t len, struct command *cmd, struct err *e);
void command_free(struct command *cmd);
const char *command_type_name(enum command_type type);

#endif
