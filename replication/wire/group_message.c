/* replication/wire/group_message.c: items, packed and taken apart. */
#include "replication/wire/group_message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/record/framing.h"
#include "replication/wire/elements.h"

/* Of what a coordinator tells 11 elements are from whoever does not know why it is to be asked later; entries and
 * shares of 4 from whoever does not know of leader epochs, and those of a beat have no more. */
enum {
    ITEM = 12,
    ENTRY_LEAST = 4,
    ENTRY = 6,
    TOLD_LEAST = 11,
    TOLD = 12,
    SHARE_LEAST = 4,
    SHARE = 5,
    ROW = 8,
    GROUP = 4
};

void member_id_text(const struct member_id *id, char out[GROUP_MEMBER_ID_BYTES])
{
    out[0] = '\0';
    if (id->node != 0)
        (void)snprintf(out, GROUP_MEMBER_ID_BYTES, "%d-%" PRIx64 "-%" PRIu64, (int)id->node, id->process, id->number);
}

int member_id_compare(const struct member_id *a, const struct member_id *b)
{
    if (a->node != b->node)
        return a->node < b->node ? -1 : 1;
    if (a->process != b->process)
        return a->process < b->process ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return 0;
}

size_t group_head_encode(uint64_t process, uint8_t out[GROUP_HEAD_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, GROUP_HEAD_BYTES, 1);
    msgpack_pack_uint64(&to.pk, process);
    return to.len;
}

int group_head_decode(const uint8_t *data, size_t len, uint64_t *process, struct err *e)
{
    msgpack_unpacked unpacked;

    if (len > LIMIT_FORWARD_MESSAGE_BYTES || elements_take(data, len, 1, &unpacked) != 0)
        return err_set(e, -EBADMSG, "what is no head of a message about groups");
    bool good = elements_uint64(&unpacked.data.via.array.ptr[0], process);
    msgpack_unpacked_destroy(&unpacked);
    return good ? 0 : err_set(e, -EBADMSG, "a head of a message about groups without a process");
}

/* ---- both ways ---- */

static void pack_text(msgpack_packer *pk, const char *text)
{
    msgpack_pack_str(pk, strlen(text));
    msgpack_pack_str_body(pk, text, strlen(text));
}

static void pack_id(msgpack_packer *pk, const uint8_t id[UUID_BYTES])
{
    msgpack_pack_bin(pk, UUID_BYTES);
    msgpack_pack_bin_body(pk, id, UUID_BYTES);
}

static bool take_id(const msgpack_object *o, uint8_t id[UUID_BYTES])
{
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != UUID_BYTES)
        return false;
    memcpy(id, o->via.bin.ptr, UUID_BYTES);
    return true;
}

static bool take_enum(const msgpack_object *o, int32_t count, int32_t *out)
{
    return elements_int32(o, 0, out) && *out < count;
}

static bool is_array(const msgpack_object *o, uint32_t elements)
{
    return o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size >= elements;
}

/* Room for a list. NULL: it is none, is empty (*count 0), or there is no memory, which rc says. */
static void *take_list(const msgpack_object *o, size_t each, size_t *count, int *rc)
{
    *count = 0;
    if (o->type != MSGPACK_OBJECT_ARRAY) {
        *rc = -EBADMSG;
        return NULL;
    }
    if (o->via.array.size == 0 || *rc != 0)
        return NULL;
    void *list = calloc(o->via.array.size, each);
    if (list == NULL)
        *rc = -ENOMEM;
    else
        *count = o->via.array.size;
    return list;
}

/* The first item of a body. */
static int take_item(const uint8_t *data, size_t len, size_t elements, size_t *used, msgpack_unpacked *unpacked)
{
    *used = framing_record_len(FRAMING_MSGPACK, data, len);
    return *used == 0 ? -EBADMSG : elements_take(data, *used, elements, unpacked);
}

/* ---- items ---- */

static void pack_entry(msgpack_packer *pk, const struct group_entry *entry, bool of_partition)
{
    msgpack_pack_array(pk, of_partition ? ENTRY : ENTRY_LEAST);
    msgpack_pack_uint64(pk, entry->key);
    msgpack_pack_int32(pk, entry->epoch);
    msgpack_pack_int64(pk, entry->value);
    elements_pack_bool(pk, entry->release);
    if (!of_partition)
        return;
    msgpack_pack_int32(pk, entry->leader_epoch);
    elements_pack_bool(pk, entry->lost);
}

void group_item_encode(const struct group_item *item, struct elements_buffer *to)
{
    msgpack_packer pk;

    elements_append(to, &pk, ITEM);
    msgpack_pack_int(&pk, (int)item->kind);
    msgpack_pack_uint64(&pk, item->ticket);
    msgpack_pack_int32(&pk, item->index);
    pack_text(&pk, item->group);
    pack_id(&pk, item->group_id);
    msgpack_pack_uint64(&pk, item->number);
    pack_id(&pk, item->topic_id);
    msgpack_pack_int32(&pk, item->partition);
    msgpack_pack_int64(&pk, item->offset);
    msgpack_pack_int32(&pk, item->pid);
    pack_text(&pk, item->host);
    msgpack_pack_array(&pk, item->entry_count);
    for (size_t i = 0; i < item->entry_count; i++)
        pack_entry(&pk, &item->entries[i], item->kind != GROUP_ITEM_BEAT);
}

static bool take_entry(const msgpack_object *o, bool of_partition, struct group_entry *entry)
{
    const msgpack_object *at = o->via.array.ptr;
    bool good = is_array(o, ENTRY_LEAST) && elements_uint64(&at[0], &entry->key) &&
                elements_int32(&at[1], -1, &entry->epoch) && elements_int64(&at[2], 0, &entry->value) &&
                elements_bool(&at[3], &entry->release);

    entry->leader_epoch = -1;
    if (!good || !of_partition)
        return good;
    return entry->key < LIMIT_TOPIC_PARTITIONS &&
           (!is_array(o, ENTRY) ||
            (elements_int32(&at[4], -1, &entry->leader_epoch) && elements_bool(&at[5], &entry->lost)));
}

static int take_entries(const msgpack_object *o, struct group_item *item)
{
    int rc = 0;

    item->entries = take_list(o, sizeof *item->entries, &item->entry_count, &rc);
    for (size_t i = 0; i < item->entry_count && rc == 0; i++) {
        if (!take_entry(&o->via.array.ptr[i], item->kind != GROUP_ITEM_BEAT, &item->entries[i]))
            rc = -EBADMSG;
    }
    return rc;
}

int group_item_decode(const uint8_t *data, size_t len, size_t *used, struct group_item *item, struct err *e)
{
    msgpack_unpacked unpacked;
    int32_t kind = 0;

    *item = (struct group_item){0};
    if (take_item(data, len, ITEM, used, &unpacked) != 0)
        return err_set(e, -EBADMSG, "what is no message to a group's coordinator");
    const msgpack_object *at = unpacked.data.via.array.ptr;
    bool good = take_enum(&at[0], GROUP_ITEM_KINDS, &kind) && elements_uint64(&at[1], &item->ticket) &&
                take_enum(&at[2], LIMIT_OFFSETS_PARTITIONS, &item->index) &&
                elements_text(&at[3], item->group, sizeof item->group) && take_id(&at[4], item->group_id) &&
                elements_uint64(&at[5], &item->number) && take_id(&at[6], item->topic_id) &&
                elements_int32(&at[7], -1, &item->partition) && item->partition < LIMIT_TOPIC_PARTITIONS &&
                elements_int64(&at[8], 0, &item->offset) && elements_int32(&at[9], 0, &item->pid) &&
                elements_text(&at[10], item->host, sizeof item->host);
    item->kind = (enum group_item_kind)kind;
    int rc = good ? take_entries(&at[11], item) : -EBADMSG;
    msgpack_unpacked_destroy(&unpacked);
    if (rc == 0)
        return 0;
    free(item->entries);
    *item = (struct group_item){0};
    return err_set(e, rc, "a message to a group's coordinator that is damaged");
}

/* ---- what a coordinator tells ---- */

enum { PIECE_BITS = 24 };

int64_t group_piece(uint64_t asking, uint32_t piece)
{
    return (int64_t)((asking & INT32_MAX) << PIECE_BITS | (piece & ((1U << PIECE_BITS) - 1)));
}

static void pack_row(msgpack_packer *pk, const struct group_told_row *row)
{
    msgpack_pack_array(pk, ROW);
    pack_text(pk, row->group);
    pack_id(pk, row->topic_id);
    msgpack_pack_int32(pk, row->partition);
    msgpack_pack_int64(pk, row->committed);
    msgpack_pack_int32(pk, row->owner.node);
    msgpack_pack_array(pk, 2);
    msgpack_pack_uint64(pk, row->owner.process);
    msgpack_pack_uint64(pk, row->owner.number);
    msgpack_pack_int32(pk, row->pid);
    pack_text(pk, row->host);
}

void group_told_encode(const struct group_told *told, struct elements_buffer *to)
{
    msgpack_packer pk;

    elements_append(to, &pk, TOLD);
    msgpack_pack_int(&pk, (int)told->kind);
    msgpack_pack_uint64(&pk, told->ticket);
    msgpack_pack_int32(&pk, told->index);
    bool full = told->outcome == GROUP_OUTCOME_FULL;
    msgpack_pack_int(&pk, (int)(full ? GROUP_OUTCOME_LATER : told->outcome));
    msgpack_pack_array(&pk, told->refused_count);
    for (size_t i = 0; i < told->refused_count; i++)
        elements_pack_bool(&pk, told->refused[i]);
    elements_pack_bool(&pk, told->more);
    msgpack_pack_array(&pk, told->row_count);
    for (size_t i = 0; i < told->row_count; i++)
        pack_row(&pk, &told->rows[i]);
    msgpack_pack_array(&pk, told->group_count);
    for (size_t i = 0; i < told->group_count; i++) {
        msgpack_pack_array(&pk, GROUP);
        pack_text(&pk, told->groups[i].group);
        msgpack_pack_int32(&pk, told->groups[i].phase);
        msgpack_pack_int32(&pk, told->groups[i].generation);
        msgpack_pack_int32(&pk, told->groups[i].members);
    }
    msgpack_pack_int32(&pk, told->epoch);
    msgpack_pack_int64(&pk, told->version);
    msgpack_pack_array(&pk, told->share_count);
    for (size_t i = 0; i < told->share_count; i++) {
        msgpack_pack_array(&pk, SHARE);
        msgpack_pack_int32(&pk, told->shares[i].partition);
        msgpack_pack_int32(&pk, told->shares[i].epoch);
        msgpack_pack_int64(&pk, told->shares[i].start);
        elements_pack_bool(&pk, told->shares[i].revoked);
        msgpack_pack_int32(&pk, told->shares[i].leader_epoch);
    }
    elements_pack_bool(&pk, full);
}

static bool take_partition(const msgpack_object *o, int32_t *out)
{
    return elements_int32(o, 0, out) && *out < LIMIT_TOPIC_PARTITIONS;
}

static bool take_row(const msgpack_object *o, struct group_told_row *row)
{
    const msgpack_object *at = o->via.array.ptr;

    return is_array(o, ROW) && elements_text(&at[0], row->group, sizeof row->group) && take_id(&at[1], row->topic_id) &&
           take_partition(&at[2], &row->partition) && elements_int64(&at[3], GROUP_OFFSET_NONE, &row->committed) &&
           elements_int32(&at[4], 0, &row->owner.node) && is_array(&at[5], 2) &&
           elements_uint64(&at[5].via.array.ptr[0], &row->owner.process) &&
           elements_uint64(&at[5].via.array.ptr[1], &row->owner.number) && elements_int32(&at[6], 0, &row->pid) &&
           elements_text(&at[7], row->host, sizeof row->host);
}

static bool take_group(const msgpack_object *o, struct group_told_group *group)
{
    const msgpack_object *at = o->via.array.ptr;

    return is_array(o, GROUP) && elements_text(&at[0], group->group, sizeof group->group) &&
           take_enum(&at[1], GROUP_PHASES, &group->phase) && elements_int32(&at[2], 0, &group->generation) &&
           elements_int32(&at[3], 0, &group->members);
}

static bool take_share(const msgpack_object *o, struct group_told_share *share)
{
    const msgpack_object *at = o->via.array.ptr;

    share->leader_epoch = -1;
    return is_array(o, SHARE_LEAST) && take_partition(&at[0], &share->partition) &&
           elements_int32(&at[1], 0, &share->epoch) && elements_int64(&at[2], 0, &share->start) &&
           elements_bool(&at[3], &share->revoked) &&
           (!is_array(o, SHARE) || elements_int32(&at[4], -1, &share->leader_epoch));
}

static int take_lists(const msgpack_object *at, struct group_told *told)
{
    int rc = 0;
    bool good = true;

    told->refused = take_list(&at[4], sizeof *told->refused, &told->refused_count, &rc);
    for (size_t i = 0; i < told->refused_count && good; i++)
        good = elements_bool(&at[4].via.array.ptr[i], &told->refused[i]);
    told->rows = take_list(&at[6], sizeof *told->rows, &told->row_count, &rc);
    for (size_t i = 0; i < told->row_count && good; i++)
        good = take_row(&at[6].via.array.ptr[i], &told->rows[i]);
    told->groups = take_list(&at[7], sizeof *told->groups, &told->group_count, &rc);
    for (size_t i = 0; i < told->group_count && good; i++)
        good = take_group(&at[7].via.array.ptr[i], &told->groups[i]);
    told->shares = take_list(&at[10], sizeof *told->shares, &told->share_count, &rc);
    for (size_t i = 0; i < told->share_count && good; i++)
        good = take_share(&at[10].via.array.ptr[i], &told->shares[i]);
    return good ? rc : -EBADMSG;
}

int group_told_decode(const uint8_t *data, size_t len, size_t *used, struct group_told *told, struct err *e)
{
    msgpack_unpacked unpacked;
    int32_t kind = 0, outcome = 0;
    bool full = false;

    *told = (struct group_told){0};
    if (take_item(data, len, TOLD_LEAST, used, &unpacked) != 0)
        return err_set(e, -EBADMSG, "what is no message of a group's coordinator");
    const msgpack_object *at = unpacked.data.via.array.ptr;
    bool good = take_enum(&at[0], GROUP_TOLD_KINDS, &kind) && elements_uint64(&at[1], &told->ticket) &&
                take_enum(&at[2], LIMIT_OFFSETS_PARTITIONS, &told->index) &&
                take_enum(&at[3], GROUP_OUTCOME_FULL, &outcome) && elements_bool(&at[5], &told->more) &&
                elements_int32(&at[8], 0, &told->epoch) && elements_int64(&at[9], 0, &told->version);
    if (unpacked.data.via.array.size >= TOLD)
        good = good && elements_bool(&at[11], &full);
    told->kind = (enum group_told_kind)kind;
    told->outcome = full && outcome == GROUP_OUTCOME_LATER ? GROUP_OUTCOME_FULL : (enum group_outcome)outcome;
    int rc = good ? take_lists(at, told) : -EBADMSG;
    msgpack_unpacked_destroy(&unpacked);
    if (rc == 0)
        return 0;
    group_told_free(told);
    return err_set(e, rc, "a message of a group's coordinator that is damaged");
}

void group_told_free(struct group_told *told)
{
    free(told->refused);
    free(told->rows);
    free(told->groups);
    free(told->shares);
    *told = (struct group_told){0};
}
