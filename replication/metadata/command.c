/* replication/metadata/command.c: a command's keys, by its type.
 *
 * Encoding writes exactly the keys that a type has; decoding looks keys up in the map, so their order does not matter
 * and further keys of the same version are ignored. */
#include "replication/metadata/command.h"

#include <errno.h>
#include <inttypes.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "engine/record/framing.h"
#include "replication/metadata/command_fields.h"

enum field {
    FIELD_PROPOSER = 1 << 0,
    FIELD_TOPIC = 1 << 1,
    FIELD_ID = 1 << 2,
    FIELD_ATTR = 1 << 3,
    FIELD_SET = 1 << 4,
    FIELD_PARTITIONS = 1 << 5,
    FIELD_REPLICAS = 1 << 6,
    FIELD_NAME = 1 << 7,
    FIELD_VALUE = 1 << 8,
    FIELD_REGISTRATION = 1 << 9,
    FIELD_STATE = 1 << 10,
    FIELD_CHANGES = 1 << 11,
    FIELD_COUNT = 1 << 12,
    FIELD_EPOCH = 1 << 13,
    FIELD_VOTERS = 1 << 14,
    FIELD_PARTITION = 1 << 15,
    FIELD_GROUP = 1 << 16,
    FIELD_SEALS = 1 << 17,  /* where there are any: in COMMAND_VERSION_SEALS, with the id */
    FIELD_MEANT = 1 << 18,  /* the id, where it is known: for who proposes alone */
    FIELD_CALLER = 1 << 19, /* where there is one: in COMMAND_VERSION_CALLER */
    FIELD_RETIRED = 1 << 20,
    FIELDS_END = 1 << 21,
};

static const struct {
    const char *name;
    unsigned fields;
} types[COMMAND_TYPES] = {
    [COMMAND_REGISTER_NODE] = {"register_node", FIELD_REGISTRATION},
    [COMMAND_CREATE_TOPIC] = {"create_topic",
                              FIELD_TOPIC | FIELD_ID | FIELD_ATTR | FIELD_PARTITIONS | FIELD_REPLICAS | FIELD_CALLER},
    [COMMAND_DELETE_TOPIC] = {"delete_topic", FIELD_TOPIC | FIELD_ID | FIELD_SEALS | FIELD_CALLER},
    [COMMAND_CREATE_PARTITIONS] = {"create_partitions",
                                   FIELD_TOPIC | FIELD_ID | FIELD_PARTITIONS | FIELD_REPLICAS | FIELD_CALLER},
    [COMMAND_SET_ATTR] = {"set_attr", FIELD_TOPIC | FIELD_MEANT | FIELD_ATTR | FIELD_SET | FIELD_CALLER},
    [COMMAND_SET_CONFIG] = {"set_config",
                            FIELD_TOPIC | FIELD_MEANT | FIELD_NAME | FIELD_VALUE | FIELD_SEALS | FIELD_CALLER},
    [COMMAND_REMOVE_CONFIG] = {"remove_config", FIELD_TOPIC | FIELD_MEANT | FIELD_NAME | FIELD_SEALS | FIELD_CALLER},
    [COMMAND_CHANGE_NODE] = {"change_node", FIELD_STATE},
    [COMMAND_CHANGE_PARTITIONS] = {"change_partitions", FIELD_PROPOSER | FIELD_CHANGES | FIELD_CALLER},
    [COMMAND_SET_PARTITIONS] = {"set_partitions", FIELD_CHANGES},
    [COMMAND_PRODUCER_IDS] = {"producer_ids", FIELD_PROPOSER | FIELD_COUNT},
    [COMMAND_BEGIN_EPOCH] = {"begin_epoch", FIELD_EPOCH},
    [COMMAND_ASSIGN_REPLICAS] = {"assign_replicas",
                                 FIELD_TOPIC | FIELD_ID | FIELD_PARTITION | FIELD_REPLICAS | FIELD_CALLER},
    [COMMAND_SET_VOTERS] = {"set_voters", FIELD_VOTERS},
    [COMMAND_CREATE_GROUP] = {"create_group", FIELD_GROUP | FIELD_ID | FIELD_ATTR | FIELD_CALLER},
    [COMMAND_DELETE_GROUP] = {"delete_group", FIELD_GROUP | FIELD_ID | FIELD_CALLER},
    [COMMAND_SET_GROUP_ATTR] = {"set_group_attr", FIELD_GROUP | FIELD_MEANT | FIELD_ATTR | FIELD_SET | FIELD_CALLER},
    [COMMAND_SET_GROUP_CONFIG] = {"set_group_config",
                                  FIELD_GROUP | FIELD_MEANT | FIELD_NAME | FIELD_VALUE | FIELD_CALLER},
    [COMMAND_REMOVE_GROUP_CONFIG] = {"remove_group_config", FIELD_GROUP | FIELD_MEANT | FIELD_NAME | FIELD_CALLER},
    [COMMAND_UNREGISTER_NODE] = {"unregister_node", FIELD_RETIRED | FIELD_CALLER},
};

const char *command_type_name(enum command_type type)
{
    return types[type].name;
}

/* ---- encoding ---- */

static void pack_attr(msgpack_packer *pk, const struct tree_attr *attr)
{
    pack_text(pk, "uid");
    msgpack_pack_uint32(pk, attr->uid);
    pack_text(pk, "gid");
    msgpack_pack_uint32(pk, attr->gid);
    pack_text(pk, "dir_mode");
    msgpack_pack_uint32(pk, attr->dir_mode);
    pack_text(pk, "file_mode");
    msgpack_pack_uint32(pk, attr->file_mode);
    pack_number(pk, "mtime", attr->mtime_ms);
}

static void pack_replicas(msgpack_packer *pk, const struct command *cmd)
{
    int32_t factor = cmd->replication_factor;
    pack_text(pk, "replicas");
    msgpack_pack_array(pk, (size_t)(cmd->replica_count / factor));
    for (int32_t i = 0; i < cmd->replica_count; i++) {
        if (i % factor == 0)
            msgpack_pack_array(pk, (size_t)factor);
        msgpack_pack_int32(pk, cmd->replicas[i]);
    }
}

/* Those of the type, as the version has them. */
static unsigned fields_of(enum command_type type, bool sealed, bool asked)
{
    unsigned fields = types[type].fields;
    if (!asked)
        fields &= ~(unsigned)FIELD_CALLER;
    return sealed ? (fields | FIELD_ID) & ~(unsigned)FIELD_MEANT : fields & ~(unsigned)FIELD_SEALS;
}

bool command_goes_by_name(const struct command *cmd)
{
    return (types[cmd->type].fields & FIELD_MEANT) != 0;
}

bool command_names_one(const struct command *cmd)
{
    static const uint8_t none[UUID_BYTES];
    return memcmp(cmd->id, none, UUID_BYTES) != 0;
}

/* Keys that each field stands for. */
static size_t key_count(unsigned fields)
{
    size_t count = 3; /* version, type, time */
    for (unsigned field = 1; field < FIELDS_END; field <<= 1) {
        if ((fields & field) != 0) {
            count += field == FIELD_ATTR           ? 5
                     : field == FIELD_REGISTRATION ? REGISTRATION_KEYS
                     : field == FIELD_STATE        ? NODE_STATE_KEYS
                     : field == FIELD_RETIRED      ? RETIRED_KEYS
                     : field == FIELD_EPOCH        ? EPOCH_KEYS
                     : field == FIELD_VOTERS       ? VOTERS_KEYS
                                                   : 1;
        }
    }
    return count;
}

static void pack_command(msgpack_packer *pk, const struct command *cmd)
{
    unsigned fields = fields_of(cmd->type, cmd->seals != NULL, cmd->origin.caller.is_user);
    if (!command_names_one(cmd))
        fields &= ~(unsigned)FIELD_MEANT;
    msgpack_pack_map(pk, key_count(fields) + (cmd->origin.node != 0 ? ORIGIN_KEYS : 0) +
                             (cmd->cluster[0] != '\0' ? CLUSTER_KEYS : 0));
    pack_string(pk, "type", types[cmd->type].name);
    pack_number(pk, "version",
                (fields & FIELD_CALLER) != 0 ? COMMAND_VERSION_CALLER
                : cmd->seals != NULL         ? COMMAND_VERSION_SEALS
                                             : COMMAND_VERSION);
    pack_number(pk, "time", cmd->time_ms);
    if (cmd->origin.node != 0)
        pack_origin(pk, &cmd->origin);
    if ((fields & FIELD_CALLER) != 0)
        pack_caller(pk, &cmd->origin.caller);
    if (cmd->cluster[0] != '\0')
        pack_cluster(pk, cmd->cluster);
    if ((fields & FIELD_PROPOSER) != 0)
        pack_number(pk, "node", cmd->node);
    if ((fields & FIELD_REGISTRATION) != 0)
        pack_registration(pk, &cmd->registration);
    if ((fields & FIELD_STATE) != 0)
        pack_node_state(pk, &cmd->registration);
    if ((fields & FIELD_RETIRED) != 0)
        pack_retired(pk, &cmd->registration);
    if ((fields & FIELD_CHANGES) != 0)
        pack_changes(pk, cmd->changes, cmd->change_count);
    if ((fields & FIELD_EPOCH) != 0)
        pack_epoch(pk, cmd);
    if ((fields & FIELD_VOTERS) != 0)
        pack_voters(pk, cmd);
    if ((fields & FIELD_COUNT) != 0)
        pack_number(pk, "count", cmd->count);
    if ((fields & FIELD_TOPIC) != 0)
        pack_string(pk, "topic", cmd->topic);
    if ((fields & FIELD_GROUP) != 0)
        pack_string(pk, "group", cmd->group);
    if ((fields & (FIELD_ID | FIELD_MEANT)) != 0) {
        char text[UUID_TEXT_BYTES];
        uuid_text(cmd->id, text);
        pack_string(pk, "id", text);
    }
    if ((fields & FIELD_ATTR) != 0)
        pack_attr(pk, &cmd->attr);
    if ((fields & FIELD_SET) != 0)
        pack_number(pk, "set", cmd->set);
    if ((fields & FIELD_PARTITIONS) != 0)
        pack_number(pk, "partitions", cmd->partitions);
    if ((fields & FIELD_PARTITION) != 0)
        pack_number(pk, "partition", cmd->partition);
    if ((fields & FIELD_REPLICAS) != 0)
        pack_replicas(pk, cmd);
    if ((fields & FIELD_SEALS) != 0)
        pack_seals(pk, cmd);
    if ((fields & FIELD_NAME) != 0)
        pack_string(pk, "name", cmd->name);
    if ((fields & FIELD_VALUE) != 0)
        pack_string(pk, "value", cmd->value);
}

/* As msgpack_sbuffer_write(), but a failure is kept, so that it need not be looked for after each of the calls above.
 */
struct sink {
    msgpack_sbuffer buffer;
    bool failed;
};

static int sink_write(void *data, const char *buf, size_t len)
{
    struct sink *sink = data;
    if (!sink->failed && msgpack_sbuffer_write(&sink->buffer, buf, len) != 0)
        sink->failed = true;
    return 0;
}

int command_encode(const struct command *cmd, void **out, size_t *len)
{
    struct sink sink = {.failed = false};
    msgpack_packer pk;
    msgpack_sbuffer_init(&sink.buffer);
    msgpack_packer_init(&pk, &sink, sink_write);
    pack_command(&pk, cmd);
    if (sink.failed) {
        msgpack_sbuffer_destroy(&sink.buffer);
        return -ENOMEM;
    }
    *len = sink.buffer.size;
    *out = msgpack_sbuffer_release(&sink.buffer);
    return 0;
}

/* ---- decoding ---- */

static bool get_id(const msgpack_object *map, uint8_t out[UUID_BYTES])
{
    char text[UUID_TEXT_BYTES];
    return get_text(map, "id", text, sizeof text) && uuid_parse(text, out) == 0;
}

static bool get_attr(const msgpack_object *map, struct tree_attr *attr)
{
    int64_t uid, gid, dir_mode, file_mode;
    if (!get_number(map, "uid", 0, UINT32_MAX, &uid) || !get_number(map, "gid", 0, UINT32_MAX, &gid) ||
        !get_number(map, "dir_mode", 0, 07777, &dir_mode) || !get_number(map, "file_mode", 0, 07777, &file_mode) ||
        !get_number(map, "mtime", INT64_MIN, INT64_MAX, &attr->mtime_ms))
        return false;
    attr->uid = (uid_t)uid;
    attr->gid = (gid_t)gid;
    attr->dir_mode = (mode_t)dir_mode;
    attr->file_mode = (mode_t)file_mode;
    return true;
}

/* Flattens the array of arrays, all of one length. */
static int get_replicas(const msgpack_object *map, struct command *cmd)
{
    const msgpack_object *all = get(map, "replicas");
    if (all == NULL || all->type != MSGPACK_OBJECT_ARRAY || all->via.array.size == 0 ||
        all->via.array.size > LIMIT_TOPIC_PARTITIONS || all->via.array.ptr[0].type != MSGPACK_OBJECT_ARRAY)
        return -EBADMSG;
    uint32_t partitions = all->via.array.size, factor = all->via.array.ptr[0].via.array.size;
    if (factor == 0 || factor > LIMIT_REPLICAS)
        return -EBADMSG;
    cmd->replicas = calloc((size_t)partitions * factor, sizeof *cmd->replicas);
    if (cmd->replicas == NULL)
        return -ENOMEM;
    cmd->replication_factor = (int32_t)factor;
    cmd->replica_count = (int32_t)(partitions * factor);
    for (uint32_t i = 0; i < partitions; i++) {
        const msgpack_object *one = &all->via.array.ptr[i];
        if (one->type != MSGPACK_OBJECT_ARRAY || one->via.array.size != factor)
            return -EBADMSG;
        for (uint32_t j = 0; j < factor; j++) {
            int64_t id;
            if (!number_of(&one->via.array.ptr[j], 1, INT32_MAX, &id))
                return -EBADMSG;
            cmd->replicas[i * factor + j] = (int32_t)id;
        }
    }
    return 0;
}

/* The last version of commands of that type. */
static int64_t last_version(unsigned fields)
{
    if ((fields & FIELD_CALLER) != 0)
        return COMMAND_VERSION_CALLER;
    return (fields & FIELD_SEALS) != 0 ? COMMAND_VERSION_SEALS : COMMAND_VERSION;
}

/* *fields: the type's, as the version has them. */
static int decode_type(const msgpack_object *map, struct command *cmd, unsigned *fields, struct err *e)
{
    char name[32];
    int64_t version;
    if (!get_text(map, "type", name, sizeof name) || !get_number(map, "version", 0, INT32_MAX, &version))
        return err_set(e, -EBADMSG, "metadata command without type or version");
    int type = 0;
    while (type < COMMAND_TYPES && strcmp(types[type].name, name) != 0)
        type++;
    if (type == COMMAND_TYPES)
        return err_set(e, -EBADMSG, "unknown metadata command %s", name);
    int64_t last = last_version(types[type].fields);
    bool seals = (types[type].fields & FIELD_SEALS) != 0;
    if (version < COMMAND_VERSION || version > last || (version == COMMAND_VERSION_SEALS && !seals)) {
        return err_set(e, -EBADMSG, "metadata command %s of version %" PRId64 ", this build knows %" PRId64, name,
                       version, last);
    }
    if (version == COMMAND_VERSION_CALLER)
        seals = seals && get(map, "seals") != NULL;
    else
        seals = version == COMMAND_VERSION_SEALS;
    cmd->type = (enum command_type)type;
    *fields = fields_of(cmd->type, seals, version == COMMAND_VERSION_CALLER);
    return 0;
}

/* Each returns the name of one that is not as it has to be; NULL: all are. */
static const char *get_numbers(const msgpack_object *map, unsigned fields, struct command *cmd)
{
    int64_t node = 0, set = 0, partitions = 0, partition = 0;
    if (!get_number(map, "time", INT64_MIN, INT64_MAX, &cmd->time_ms))
        return "time";
    if ((fields & FIELD_PROPOSER) != 0 && !get_number(map, "node", 0, INT32_MAX, &node))
        return "node";
    if ((fields & FIELD_COUNT) != 0 && !get_number(map, "count", 1, INT64_MAX, &cmd->count))
        return "count";
    if ((fields & FIELD_SET) != 0 && !get_number(map, "set", 0, UINT32_MAX, &set))
        return "set";
    if ((fields & FIELD_PARTITIONS) != 0 && !get_number(map, "partitions", 1, LIMIT_TOPIC_PARTITIONS, &partitions))
        return "partitions";
    if ((fields & FIELD_PARTITION) != 0 && !get_number(map, "partition", -1, LIMIT_TOPIC_PARTITIONS - 1, &partition))
        return "partition";
    cmd->node = (int32_t)node;
    cmd->set = (unsigned)set;
    cmd->partitions = (int32_t)partitions;
    cmd->partition = (int32_t)partition;
    return NULL;
}

static const char *get_names(const msgpack_object *map, unsigned fields, struct command *cmd)
{
    if ((fields & FIELD_TOPIC) != 0 && !get_text(map, "topic", cmd->topic, sizeof cmd->topic))
        return "topic";
    if ((fields & FIELD_GROUP) != 0 && !get_text(map, "group", cmd->group, sizeof cmd->group))
        return "group";
    if ((fields & FIELD_ID) != 0 && !get_id(map, cmd->id))
        return "id";
    if ((fields & FIELD_MEANT) != 0 && get(map, "id") != NULL && !get_id(map, cmd->id))
        return "id";
    if ((fields & FIELD_NAME) != 0 && !get_text(map, "name", cmd->name, sizeof cmd->name))
        return "name";
    if ((fields & FIELD_VALUE) != 0 && !get_text(map, "value", cmd->value, sizeof cmd->value))
        return "value";
    return NULL;
}

static const char *get_parts(const msgpack_object *map, unsigned fields, struct command *cmd)
{
    if (!get_origin(map, &cmd->origin))
        return "origin";
    if ((fields & FIELD_CALLER) != 0 && !get_caller(map, &cmd->origin.caller))
        return "caller";
    if ((fields & (FIELD_EPOCH | FIELD_VOTERS)) != 0 && !get_cluster(map, cmd->cluster))
        return "cluster";
    if ((fields & FIELD_REGISTRATION) != 0 && !get_registration(map, &cmd->registration))
        return "registration";
    if ((fields & FIELD_STATE) != 0 && !get_node_state(map, &cmd->registration))
        return "node state";
    if ((fields & FIELD_RETIRED) != 0 && !get_retired(map, &cmd->registration))
        return "node";
    if ((fields & FIELD_EPOCH) != 0 && !get_epoch(map, cmd))
        return "epoch";
    if ((fields & FIELD_VOTERS) != 0 && !get_voters(map, cmd))
        return "voters";
    if ((fields & FIELD_ATTR) != 0 && !get_attr(map, &cmd->attr))
        return "attributes";
    cmd->attr.ctime_ms = cmd->time_ms;
    return NULL;
}

/* What is malloc-ed. *rc: -EBADMSG or -ENOMEM. */
static const char *get_lists(const msgpack_object *map, unsigned fields, struct command *cmd, int *rc)
{
    if ((fields & FIELD_REPLICAS) != 0 && (*rc = get_replicas(map, cmd)) != 0)
        return "replicas";
    if ((fields & FIELD_SEALS) != 0 && (*rc = get_seals(map, cmd)) != 0)
        return "seals";
    if ((fields & FIELD_CHANGES) != 0 && (*rc = get_changes(map, &cmd->changes, &cmd->change_count)) != 0)
        return "changes";
    return NULL;
}

static int decode_fields(const msgpack_object *map, struct command *cmd, unsigned fields, struct err *e)
{
    int rc = -EBADMSG;
    const char *bad = get_numbers(map, fields, cmd);
    if (bad == NULL)
        bad = get_names(map, fields, cmd);
    if (bad == NULL)
        bad = get_parts(map, fields, cmd);
    if (bad == NULL)
        bad = get_lists(map, fields, cmd, &rc);
    if (bad == NULL)
        return 0;
    if (rc == -ENOMEM)
        return err_sys(e, rc, "metadata command %s", types[cmd->type].name);
    return err_set(e, -EBADMSG, "metadata command %s: bad %s", types[cmd->type].name, bad);
}

int command_decode(const void *data, size_t len, struct command *cmd, struct err *e)
{
    msgpack_unpacked unpacked;
    size_t used = 0;
    unsigned fields = 0;
    int rc;
    *cmd = (struct command){0};
    msgpack_unpacked_init(&unpacked);
    /* Complete, as far as the lengths in it go: so the library cannot be made to allocate more than some times len. */
    if (framing_record_len(FRAMING_MSGPACK, data, len) != len ||
        msgpack_unpack_next(&unpacked, data, len, &used) != MSGPACK_UNPACK_SUCCESS ||
        unpacked.data.type != MSGPACK_OBJECT_MAP)
        rc = err_set(e, -EBADMSG, "metadata command is not one MessagePack map");
    else
        rc = decode_type(&unpacked.data, cmd, &fields, e);
    if (rc == 0)
        rc = decode_fields(&unpacked.data, cmd, fields, e);
    msgpack_unpacked_destroy(&unpacked);
    if (rc != 0)
        command_free(cmd);
    return rc;
}

void command_free(struct command *cmd)
{
    free(cmd->replicas);
    free(cmd->changes);
    free(cmd->seals);
    cmd->seals = NULL;
    cmd->replicas = NULL;
    cmd->changes = NULL;
}
