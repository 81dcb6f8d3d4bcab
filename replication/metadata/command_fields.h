/* replication/metadata/command_fields.h: parts of a command as MessagePack: what command.c is made of.
 *
 * Each pack_…() writes one key and its value, or as many keys as its constant says. Each get_…() returns false when a
 * key is missing, not of its kind, or out of its range. */
#ifndef LOGMNT_REPLICATION_METADATA_COMMAND_FIELDS_H
#define LOGMNT_REPLICATION_METADATA_COMMAND_FIELDS_H

#include <msgpack.h>
#include <stdbool.h>
#include <stdint.h>

#include "replication/metadata/command.h"

enum {
    REGISTRATION_KEYS = 10,
    NODE_STATE_KEYS = 4,
    RETIRED_KEYS = 2,
    EPOCH_KEYS = 2,
    VOTERS_KEYS = 2,
    ORIGIN_KEYS = 1,
    CLUSTER_KEYS = 1
};

void pack_text(msgpack_packer *pk, const char *text);
/* A key and its value. */
void pack_number(msgpack_packer *pk, const char *key, int64_t value);
void pack_string(msgpack_packer *pk, const char *key, const char *text);
void pack_registration(msgpack_packer *pk, const struct node_registration *registration);
void pack_node_state(msgpack_packer *pk, const struct node_registration *registration);
/* Which registration of which node. */
void pack_retired(msgpack_packer *pk, const struct node_registration *registration);
void pack_changes(msgpack_packer *pk, const struct partition_change *changes, int32_t count);
void pack_epoch(msgpack_packer *pk, const struct command *cmd);
void pack_voters(msgpack_packer *pk, const struct command *cmd);
void pack_origin(msgpack_packer *pk, const struct command_origin *origin); /* without its caller */
void pack_caller(msgpack_packer *pk, const struct command_caller *caller);
void pack_seals(msgpack_packer *pk, const struct command *cmd);
void pack_cluster(msgpack_packer *pk, const char *cluster);

const msgpack_object *get(const msgpack_object *map, const char *key); /* NULL: missing */
bool number_of(const msgpack_object *value, int64_t min, int64_t max, int64_t *out);
bool get_number(const msgpack_object *map, const char *key, int64_t min, int64_t max, int64_t *out);
bool get_text(const msgpack_object *map, const char *key, char *out, size_t size);
/* One of a build that knew nothing of clusters has the node alone: it lives, and it lost nothing. */
bool get_registration(const msgpack_object *map, struct node_registration *out);
bool get_node_state(const msgpack_object *map, struct node_registration *out);
bool get_retired(const msgpack_object *map, struct node_registration *out);
bool get_epoch(const msgpack_object *map, struct command *out);
bool get_voters(const msgpack_object *map, struct command *out);
/* Without the key it is not known. */
bool get_origin(const msgpack_object *map, struct command_origin *out);
bool get_caller(const msgpack_object *map, struct command_caller *out);
/* Without the key "". */
bool get_cluster(const msgpack_object *map, char out[UUID_TEXT_BYTES]);
/* Of each it makes cmd->seals. 0, -EBADMSG, -ENOMEM. */
int get_seals(const msgpack_object *map, struct command *cmd);
/* *out is malloc-ed. 0, -EBADMSG, -ENOMEM. */
int get_changes(const msgpack_object *map, struct partition_change **out, int32_t *count);

#endif
