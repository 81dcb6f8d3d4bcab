/* replication/group/offsets_record.c: arrays in arrays. */
#include "replication/group/offsets_record.h"

#include <errno.h>
#include <string.h>

#include "replication/wire/elements.h"

enum { GROUP_KEY = 1, PARTITION_KEY = 3, MEMBER_KEY = 4 };
/* With key and version. */
enum { GROUP_ELEMENTS = 5, MEMBER_ELEMENTS = 7, PARTITION_ELEMENTS = 13 };
/* What has fewer is of an earlier build. */
enum { MEMBER_LEAST = 6, PARTITION_LEAST = 9 };

static void pack_text(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str(pk, strlen(text));
    msgpack_pack_str_body(pk, text, strlen(text));
}

static void pack_id(msgpack_packer *pk, const uint8_t id[UUID_BYTES])
{
    char text[UUID_TEXT_BYTES];

    uuid_text(id, text);
    pack_text(pk, text);
}

static void pack_member(msgpack_packer *pk, const struct member_id *member)
{
    msgpack_pack_int32(pk, member->node);
    msgpack_pack_uint64(pk, member->process);
    msgpack_pack_uint64(pk, member->number);
}

static void pack_key(msgpack_packer *pk, const struct offsets_record *record)
{
    static const size_t elements[] = {
        [OFFSETS_GROUP] = GROUP_KEY, [OFFSETS_MEMBER] = MEMBER_KEY, [OFFSETS_PARTITION] = PARTITION_KEY};

    msgpack_pack_array(pk, elements[record->kind]);
    pack_text(pk, record->group);
    if (record->kind == OFFSETS_MEMBER)
        pack_member(pk, &record->member);
    if (record->kind == OFFSETS_PARTITION) {
        pack_id(pk, record->topic_id);
        msgpack_pack_int32(pk, record->partition);
    }
}

void offsets_record_encode(const struct offsets_record *record, struct elements_buffer *to)
{
    static const size_t elements[] = {
        [OFFSETS_GROUP] = GROUP_ELEMENTS, [OFFSETS_MEMBER] = MEMBER_ELEMENTS, [OFFSETS_PARTITION] = PARTITION_ELEMENTS};
    msgpack_packer pk;

    elements_append(to, &pk, record->tombstone ? 2 : elements[record->kind]);
    pack_key(&pk, record);
    if (record->tombstone) {
        msgpack_pack_nil(&pk);
        return;
    }
    msgpack_pack_int(&pk, OFFSETS_RECORD_VERSION);
    pack_id(&pk, record->group_id);
    switch (record->kind) {
    case OFFSETS_GROUP:
        msgpack_pack_int32(&pk, record->generation);
        msgpack_pack_int64(&pk, record->empty_since_ms);
        break;
    case OFFSETS_MEMBER:
        pack_id(&pk, record->topic_id);
        pack_text(&pk, record->host);
        msgpack_pack_int32(&pk, record->pid);
        msgpack_pack_int32(&pk, record->partitions);
        break;
    case OFFSETS_PARTITION:
        msgpack_pack_int64(&pk, record->committed);
        msgpack_pack_int64(&pk, record->commit_ms);
        msgpack_pack_int32(&pk, record->epoch);
        pack_member(&pk, &record->member);
        msgpack_pack_int32(&pk, record->leader_epoch);
        pack_member(&pk, &record->reset);
        break;
    }
}

static bool take_id(const msgpack_object *o, uint8_t id[UUID_BYTES])
{
    char text[UUID_TEXT_BYTES];

    return elements_text(o, text, sizeof text) && uuid_parse(text, id) == 0;
}

static bool take_member(const msgpack_object *at, int32_t least_node, struct member_id *member)
{
    return elements_int32(&at[0], least_node, &member->node) && elements_uint64(&at[1], &member->process) &&
           elements_uint64(&at[2], &member->number);
}

static bool take_key(const msgpack_object *o, struct offsets_record *record)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size == 0)
        return false;
    const msgpack_object *at = o->via.array.ptr;
    if (!elements_text(&at[0], record->group, sizeof record->group))
        return false;
    switch (o->via.array.size) {
    case GROUP_KEY:
        record->kind = OFFSETS_GROUP;
        return true;
    case MEMBER_KEY:
        record->kind = OFFSETS_MEMBER;
        return take_member(&at[1], 1, &record->member);
    case PARTITION_KEY:
        record->kind = OFFSETS_PARTITION;
        return take_id(&at[1], record->topic_id) && elements_int32(&at[2], 0, &record->partition) &&
               record->partition < LIMIT_TOPIC_PARTITIONS;
    default:
        return false;
    }
}

static bool take_value(const msgpack_object *at, uint32_t count, struct offsets_record *record)
{
    if (!take_id(&at[2], record->group_id))
        return false;
    switch (record->kind) {
    case OFFSETS_GROUP:
        return count >= GROUP_ELEMENTS && elements_int32(&at[3], 0, &record->generation) &&
               elements_int64(&at[4], -1, &record->empty_since_ms);
    case OFFSETS_MEMBER:
        return count >= MEMBER_LEAST && take_id(&at[3], record->topic_id) &&
               elements_text(&at[4], record->host, sizeof record->host) && elements_int32(&at[5], 0, &record->pid) &&
               (count < MEMBER_ELEMENTS ||
                (elements_int32(&at[6], 0, &record->partitions) && record->partitions <= LIMIT_TOPIC_PARTITIONS));
    case OFFSETS_PARTITION:
        return count >= PARTITION_LEAST && elements_int64(&at[3], GROUP_OFFSET_NONE, &record->committed) &&
               elements_int64(&at[4], 0, &record->commit_ms) && elements_int32(&at[5], 0, &record->epoch) &&
               take_member(&at[6], 0, &record->member) &&
               (count < PARTITION_ELEMENTS ||
                (elements_int32(&at[9], -1, &record->leader_epoch) && take_member(&at[10], 0, &record->reset)));
    }
    return false;
}

int offsets_record_decode(const uint8_t *data, size_t len, struct offsets_record *record, struct err *e)
{
    msgpack_unpacked unpacked;
    int32_t version;

    *record = (struct offsets_record){.committed = GROUP_OFFSET_NONE, .leader_epoch = -1};
    if (elements_take(data, len, 2, &unpacked) != 0)
        return err_set(e, -EBADMSG, "a record that is no array of key and value");
    const msgpack_object *at = unpacked.data.via.array.ptr;
    uint32_t count = unpacked.data.via.array.size;
    int rc = 0;
    if (!take_key(&at[0], record))
        rc = err_set(e, -EBADMSG, "a record with a key that is none of a group's");
    else if (count == 2 && at[1].type == MSGPACK_OBJECT_NIL)
        record->tombstone = true;
    else if (!elements_int32(&at[1], 1, &version) || version != OFFSETS_RECORD_VERSION)
        rc = err_set(e, -EBADMSG, "a record of group %s of a version that this build does not know", record->group);
    else if (count < 3 || !take_value(at, count, record))
        rc = err_set(e, -EBADMSG, "a record of group %s that is damaged", record->group);
    msgpack_unpacked_destroy(&unpacked);
    return rc;
}
