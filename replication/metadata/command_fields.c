/* replication/metadata/command_fields.c: registrations and changes of partitions as MessagePack. docs/DISK_FORMAT.md
 * has the keys. */
#include "replication/metadata/command_fields.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/wire/elements.h"

/* The elements of one change. */
enum {
    AT_TOPIC_ID,
    AT_INDEX,
    AT_PARTITION_EPOCH,
    AT_LEADER,
    AT_LEADER_EPOCH,
    AT_REPLICAS,
    AT_TARGET,
    AT_ISR,
    AT_ELR,
    AT_LAST_ISR,
    AT_ISR_EPOCHS,
    CHANGE_ELEMENTS,
};

enum { CALLER_ELEMENTS = 4 };

/* ---- packing ---- */

void pack_text(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str(pk, strlen(text));
    msgpack_pack_str_body(pk, text, strlen(text));
}

void pack_number(msgpack_packer *pk, const char *key, int64_t value)
{
    pack_text(pk, key);
    msgpack_pack_int64(pk, value);
}

void pack_string(msgpack_packer *pk, const char *key, const char *text)
{
    pack_text(pk, key);
    pack_text(pk, text);
}

void pack_registration(msgpack_packer *pk, const struct node_registration *registration)
{
    pack_number(pk, "node", registration->id);
    pack_text(pk, "incarnation");
    msgpack_pack_uint64(pk, registration->incarnation);
    pack_text(pk, "renewed");
    msgpack_pack_uint64(pk, registration->renewed);
    pack_text(pk, "process");
    msgpack_pack_uint64(pk, registration->process);
    pack_string(pk, "host", registration->host);
    pack_number(pk, "port", registration->port);
    pack_number(pk, "feature_level", registration->feature_level);
    pack_text(pk, "fenced");
    elements_pack_bool(pk, registration->fenced);
    pack_text(pk, "shutting_down");
    elements_pack_bool(pk, registration->shutting_down);
    pack_text(pk, "unclean");
    elements_pack_bool(pk, registration->unclean);
}

void pack_retired(msgpack_packer *pk, const struct node_registration *registration)
{
    pack_number(pk, "node", registration->id);
    pack_number(pk, "node_epoch", registration->epoch);
}

void pack_node_state(msgpack_packer *pk, const struct node_registration *registration)
{
    pack_retired(pk, registration);
    pack_text(pk, "fenced");
    elements_pack_bool(pk, registration->fenced);
    pack_text(pk, "shutting_down");
    elements_pack_bool(pk, registration->shutting_down);
}

static void pack_set(msgpack_packer *pk, const struct replica_set *set)
{
    msgpack_pack_array(pk, (size_t)set->count);
    for (int32_t i = 0; i < set->count; i++)
        msgpack_pack_int32(pk, set->ids[i]);
}

static void pack_change(msgpack_packer *pk, const struct partition_change *change)
{
    char id[UUID_TEXT_BYTES];
    msgpack_pack_array(pk, CHANGE_ELEMENTS);
    uuid_text(change->topic_id, id);
    pack_text(pk, id);
    msgpack_pack_int32(pk, change->index);
    msgpack_pack_int32(pk, change->to.partition_epoch);
    msgpack_pack_int32(pk, change->to.leader);
    msgpack_pack_int32(pk, change->to.leader_epoch);
    pack_set(pk, &change->to.replicas);
    pack_set(pk, &change->to.target);
    pack_set(pk, &change->to.isr);
    pack_set(pk, &change->to.elr);
    pack_set(pk, &change->to.last_isr);
    msgpack_pack_array(pk, (size_t)change->to.isr.count);
    for (int32_t i = 0; i < change->to.isr.count; i++)
        msgpack_pack_int64(pk, change->isr_epochs[i]);
}

void pack_changes(msgpack_packer *pk, const struct partition_change *changes, int32_t count)
{
    pack_text(pk, "changes");
    msgpack_pack_array(pk, (size_t)count);
    for (int32_t i = 0; i < count; i++)
        pack_change(pk, &changes[i]);
}

static void pack_server(msgpack_packer *pk, struct raft_id id)
{
    msgpack_pack_array(pk, 2);
    msgpack_pack_int32(pk, id.node);
    msgpack_pack_uint64(pk, id.incarnation);
}

void pack_epoch(msgpack_packer *pk, const struct command *cmd)
{
    pack_number(pk, "epoch", cmd->epoch);
    pack_text(pk, "leader");
    pack_server(pk, cmd->leader);
}

static void pack_servers(msgpack_packer *pk, const struct raft_voters *voters)
{
    msgpack_pack_array(pk, (size_t)voters->count);
    for (int32_t i = 0; i < voters->count; i++)
        pack_server(pk, voters->ids[i]);
}

void pack_voters(msgpack_packer *pk, const struct command *cmd)
{
    pack_text(pk, "voters");
    pack_servers(pk, &cmd->voters);
    pack_text(pk, "target");
    pack_servers(pk, &cmd->target);
}

void pack_seals(msgpack_packer *pk, const struct command *cmd)
{
    pack_text(pk, "seals");
    msgpack_pack_array(pk, (size_t)cmd->seal_count);
    for (int32_t i = 0; i < cmd->seal_count; i++) {
        msgpack_pack_array(pk, 2);
        msgpack_pack_int32(pk, cmd->seals[i].leader_epoch);
        msgpack_pack_int64(pk, cmd->seals[i].node_epoch);
    }
}

void pack_origin(msgpack_packer *pk, const struct command_origin *origin)
{
    pack_text(pk, "origin");
    msgpack_pack_array(pk, 3);
    msgpack_pack_int32(pk, origin->node);
    msgpack_pack_int64(pk, origin->node_epoch);
    msgpack_pack_uint64(pk, origin->number);
}

void pack_caller(msgpack_packer *pk, const struct command_caller *caller)
{
    pack_text(pk, "caller");
    msgpack_pack_array(pk, CALLER_ELEMENTS);
    msgpack_pack_uint32(pk, caller->uid);
    msgpack_pack_uint32(pk, caller->gid);
    if (caller->group_count < 0)
        msgpack_pack_nil(pk);
    else
        msgpack_pack_array(pk, (size_t)caller->group_count);
    for (int32_t i = 0; i < caller->group_count; i++)
        msgpack_pack_uint32(pk, caller->groups[i]);
    msgpack_pack_int32(pk, caller->by_attribute);
}

void pack_cluster(msgpack_packer *pk, const char *cluster)
{
    pack_string(pk, "cluster", cluster);
}

/* ---- getting ---- */

const msgpack_object *get(const msgpack_object *map, const char *key)
{
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *k = &map->via.map.ptr[i].key;
        if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == strlen(key) &&
            memcmp(k->via.str.ptr, key, k->via.str.size) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

bool number_of(const msgpack_object *value, int64_t min, int64_t max, int64_t *out)
{
    if (value == NULL)
        return false;
    if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER && value->via.u64 <= INT64_MAX)
        *out = (int64_t)value->via.u64;
    else if (value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *out = value->via.i64;
    else
        return false;
    return *out >= min && *out <= max;
}

bool get_number(const msgpack_object *map, const char *key, int64_t min, int64_t max, int64_t *out)
{
    return number_of(get(map, key), min, max, out);
}

static bool int32_of(const msgpack_object *value, int32_t min, int32_t *out)
{
    int64_t number;
    if (!number_of(value, min, INT32_MAX, &number))
        return false;
    *out = (int32_t)number;
    return true;
}

static bool text_of(const msgpack_object *value, char *out, size_t size)
{
    if (value == NULL || value->type != MSGPACK_OBJECT_STR || value->via.str.size >= size)
        return false;
    uint32_t len = value->via.str.size;
    if (len > 0 && memchr(value->via.str.ptr, '\0', len) != NULL)
        return false;
    if (len > 0) /* msgpack-c gives no pointer for none */
        memcpy(out, value->via.str.ptr, len);
    out[len] = '\0';
    return true;
}

bool get_text(const msgpack_object *map, const char *key, char *out, size_t size)
{
    return text_of(get(map, key), out, size);
}

static bool get_bool(const msgpack_object *map, const char *key, bool *out)
{
    const msgpack_object *value = get(map, key);
    if (value == NULL || value->type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *out = value->via.boolean;
    return true;
}

static bool get_uint64(const msgpack_object *map, const char *key, uint64_t *out)
{
    const msgpack_object *value = get(map, key);
    if (value == NULL || value->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    *out = value->via.u64;
    return true;
}

bool get_registration(const msgpack_object *map, struct node_registration *out)
{
    int64_t node;
    if (!get_number(map, "node", 1, INT32_MAX, &node))
        return false;
    out->id = (int32_t)node;
    out->epoch = -1;
    if (get(map, "incarnation") == NULL)
        return true;
    /* What an earlier version wrote was never renewed. */
    if (get(map, "renewed") != NULL && !get_uint64(map, "renewed", &out->renewed))
        return false;
    return get_uint64(map, "incarnation", &out->incarnation) && get_uint64(map, "process", &out->process) &&
           get_text(map, "host", out->host, sizeof out->host) && int32_of(get(map, "port"), 0, &out->port) &&
           out->port <= UINT16_MAX && int32_of(get(map, "feature_level"), 0, &out->feature_level) &&
           get_bool(map, "fenced", &out->fenced) && get_bool(map, "shutting_down", &out->shutting_down) &&
           get_bool(map, "unclean", &out->unclean);
}

bool get_retired(const msgpack_object *map, struct node_registration *out)
{
    return int32_of(get(map, "node"), 1, &out->id) && get_number(map, "node_epoch", 0, INT64_MAX, &out->epoch);
}

bool get_node_state(const msgpack_object *map, struct node_registration *out)
{
    return get_retired(map, out) && get_bool(map, "fenced", &out->fenced) &&
           get_bool(map, "shutting_down", &out->shutting_down);
}

static bool server_of(const msgpack_object *value, struct raft_id *out)
{
    if (value == NULL || value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size != 2 ||
        !int32_of(&value->via.array.ptr[0], 1, &out->node) ||
        value->via.array.ptr[1].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    out->incarnation = value->via.array.ptr[1].via.u64;
    return out->incarnation != 0;
}

bool get_epoch(const msgpack_object *map, struct command *out)
{
    return int32_of(get(map, "epoch"), 1, &out->epoch) && server_of(get(map, "leader"), &out->leader);
}

static bool servers_of(const msgpack_object *value, struct raft_voters *out)
{
    if (value == NULL || value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size == 0 ||
        value->via.array.size > LIMIT_VOTERS)
        return false;
    for (uint32_t i = 0; i < value->via.array.size; i++) {
        if (!server_of(&value->via.array.ptr[i], &out->ids[i]))
            return false;
    }
    out->count = (int32_t)value->via.array.size;
    return raft_voters_valid(out);
}

bool get_voters(const msgpack_object *map, struct command *out)
{
    return servers_of(get(map, "voters"), &out->voters) && servers_of(get(map, "target"), &out->target);
}

bool get_origin(const msgpack_object *map, struct command_origin *out)
{
    const msgpack_object *value = get(map, "origin"), *at;
    *out = (struct command_origin){.node_epoch = -1};
    if (value == NULL)
        return true;
    if (value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size < 3)
        return false;
    at = value->via.array.ptr;
    out->number = at[2].via.u64;
    return int32_of(&at[0], 1, &out->node) && number_of(&at[1], -1, INT64_MAX, &out->node_epoch) &&
           at[2].type == MSGPACK_OBJECT_POSITIVE_INTEGER;
}

static bool uint32_of(const msgpack_object *value, uint32_t *out)
{
    int64_t number;
    if (!number_of(value, 0, UINT32_MAX, &number))
        return false;
    *out = (uint32_t)number;
    return true;
}

static bool groups_of(const msgpack_object *value, struct command_caller *out)
{
    out->group_count = -1;
    if (value->type == MSGPACK_OBJECT_NIL)
        return true;
    if (value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size > LIMIT_CALLER_GROUPS)
        return false;
    for (uint32_t i = 0; i < value->via.array.size; i++) {
        if (!uint32_of(&value->via.array.ptr[i], &out->groups[i]))
            return false;
    }
    out->group_count = (int32_t)value->via.array.size;
    return true;
}

bool get_caller(const msgpack_object *map, struct command_caller *out)
{
    const msgpack_object *value = get(map, "caller"), *at;
    int64_t by_attribute;
    if (value == NULL || value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size < CALLER_ELEMENTS)
        return false;
    at = value->via.array.ptr;
    if (!uint32_of(&at[0], &out->uid) || !uint32_of(&at[1], &out->gid) || !groups_of(&at[2], out) ||
        !number_of(&at[3], 0, 1, &by_attribute))
        return false;
    out->by_attribute = by_attribute != 0;
    out->is_user = true;
    return true;
}

bool get_cluster(const msgpack_object *map, char out[UUID_TEXT_BYTES])
{
    uint8_t id[UUID_BYTES];
    out[0] = '\0';
    return get(map, "cluster") == NULL || (get_text(map, "cluster", out, UUID_TEXT_BYTES) && uuid_parse(out, id) == 0);
}

static bool set_of(const msgpack_object *value, struct replica_set *out)
{
    if (value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size > LIMIT_REPLICA_SET)
        return false;
    out->count = 0;
    for (uint32_t i = 0; i < value->via.array.size; i++) {
        int32_t id;
        if (!int32_of(&value->via.array.ptr[i], 1, &id) || replica_set_has(out, id))
            return false;
        replica_set_add(out, id);
    }
    return true;
}

static bool epochs_of(const msgpack_object *value, int32_t count, int64_t *out)
{
    if (value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size != (uint32_t)count)
        return false;
    for (int32_t i = 0; i < count; i++) {
        if (!number_of(&value->via.array.ptr[i], -1, INT64_MAX, &out[i]))
            return false;
    }
    return true;
}

static bool change_of(const msgpack_object *value, struct partition_change *out)
{
    if (value->type != MSGPACK_OBJECT_ARRAY || value->via.array.size < CHANGE_ELEMENTS)
        return false;
    const msgpack_object *at = value->via.array.ptr;
    char id[UUID_TEXT_BYTES];
    return text_of(&at[AT_TOPIC_ID], id, sizeof id) && uuid_parse(id, out->topic_id) == 0 &&
           int32_of(&at[AT_INDEX], 0, &out->index) && int32_of(&at[AT_PARTITION_EPOCH], 0, &out->to.partition_epoch) &&
           int32_of(&at[AT_LEADER], LEADER_NONE, &out->to.leader) && out->to.leader != 0 &&
           int32_of(&at[AT_LEADER_EPOCH], 0, &out->to.leader_epoch) && set_of(&at[AT_REPLICAS], &out->to.replicas) &&
           set_of(&at[AT_TARGET], &out->to.target) && set_of(&at[AT_ISR], &out->to.isr) &&
           set_of(&at[AT_ELR], &out->to.elr) && set_of(&at[AT_LAST_ISR], &out->to.last_isr) &&
           epochs_of(&at[AT_ISR_EPOCHS], out->to.isr.count, out->isr_epochs);
}

int get_changes(const msgpack_object *map, struct partition_change **out, int32_t *count)
{
    const msgpack_object *all = get(map, "changes");
    if (all == NULL || all->type != MSGPACK_OBJECT_ARRAY || all->via.array.size == 0 ||
        all->via.array.size > LIMIT_COMMAND_CHANGES)
        return -EBADMSG;
    struct partition_change *changes = calloc(all->via.array.size, sizeof *changes);
    if (changes == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < all->via.array.size; i++) {
        if (!change_of(&all->via.array.ptr[i], &changes[i])) {
            free(changes);
            return -EBADMSG;
        }
    }
    *out = changes;
    *count = (int32_t)all->via.array.size;
    return 0;
}

int get_seals(const msgpack_object *map, struct command *cmd)
{
    const msgpack_object *all = get(map, "seals");
    if (all == NULL || all->type != MSGPACK_OBJECT_ARRAY || all->via.array.size == 0 ||
        all->via.array.size > LIMIT_TOPIC_PARTITIONS)
        return -EBADMSG;
    cmd->seals = calloc(all->via.array.size, sizeof *cmd->seals);
    if (cmd->seals == NULL)
        return -ENOMEM;
    cmd->seal_count = (int32_t)all->via.array.size;
    for (uint32_t i = 0; i < all->via.array.size; i++) {
        const msgpack_object *one = &all->via.array.ptr[i];
        if (one->type != MSGPACK_OBJECT_ARRAY || one->via.array.size < 2 ||
            !int32_of(&one->via.array.ptr[0], 0, &cmd->seals[i].leader_epoch) ||
            !number_of(&one->via.array.ptr[1], 0, INT64_MAX, &cmd->seals[i].node_epoch))
            return -EBADMSG;
    }
    return 0;
}
