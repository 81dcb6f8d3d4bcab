/* replication/wire/elements.c: packing into a fixed buffer or a growing one, and taking arrays apart. */
#include "replication/wire/elements.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/record/framing.h"

static int write_fixed(void *data, const char *bytes, size_t len)
{
    struct elements_out *to = data;

    assert(len <= to->room - to->len);
    memcpy(to->out + to->len, bytes, len);
    to->len += len;
    return 0;
}

void elements_begin(struct elements_out *to, uint8_t *out, size_t room, size_t elements)
{
    to->out = out;
    to->room = room;
    to->len = 0;
    msgpack_packer_init(&to->pk, to, write_fixed);
    msgpack_pack_array(&to->pk, elements);
}

void elements_pack_text(struct elements_out *to, const char *text, size_t len)
{
    msgpack_pack_str(&to->pk, len);
    msgpack_pack_str_body(&to->pk, text, len);
}

void elements_pack_bool(msgpack_packer *pk, bool value)
{
    if (value)
        msgpack_pack_true(pk);
    else
        msgpack_pack_false(pk);
}

static int write_growing(void *data, const char *bytes, size_t len)
{
    struct elements_buffer *to = data;

    if (to->failed || len > SIZE_MAX / 4 - to->len) {
        to->failed = true;
        return -1;
    }
    if (len > to->room - to->len) {
        size_t room = (to->len + len) * 2;
        uint8_t *more = realloc(to->bytes, room);
        if (more == NULL) {
            to->failed = true;
            return -1;
        }
        to->bytes = more;
        to->room = room;
    }
    memcpy(to->bytes + to->len, bytes, len);
    to->len += len;
    return 0;
}

void elements_append(struct elements_buffer *to, msgpack_packer *pk, size_t elements)
{
    msgpack_packer_init(pk, to, write_growing);
    msgpack_pack_array(pk, elements);
}

int elements_take(const uint8_t *data, size_t len, size_t elements, msgpack_unpacked *unpacked)
{
    size_t used = 0;

    /* msgpack-c makes room for as many elements as an array says that it has; so they have to be there. */
    if (framing_record_len(FRAMING_MSGPACK, data, len) != len)
        return -EBADMSG;
    msgpack_unpacked_init(unpacked);
    if (msgpack_unpack_next(unpacked, (const char *)data, len, &used) == MSGPACK_UNPACK_SUCCESS && used == len &&
        unpacked->data.type == MSGPACK_OBJECT_ARRAY && unpacked->data.via.array.size >= elements)
        return 0;
    msgpack_unpacked_destroy(unpacked);
    return -EBADMSG;
}

bool elements_int64(const msgpack_object *o, int64_t min, int64_t *out)
{
    if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *out = o->via.i64;
    else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX)
        *out = (int64_t)o->via.u64;
    else
        return false;
    return *out >= min;
}

bool elements_int32(const msgpack_object *o, int32_t min, int32_t *out)
{
    int64_t value;

    if (!elements_int64(o, min, &value) || value > INT32_MAX)
        return false;
    *out = (int32_t)value;
    return true;
}

bool elements_uint64(const msgpack_object *o, uint64_t *out)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    *out = o->via.u64;
    return true;
}

bool elements_uint32(const msgpack_object *o, uint32_t *out)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > UINT32_MAX)
        return false;
    *out = (uint32_t)o->via.u64;
    return true;
}

bool elements_bool(const msgpack_object *o, bool *out)
{
    if (o->type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *out = o->via.boolean;
    return true;
}

bool elements_text(const msgpack_object *o, char *out, size_t room)
{
    if (o->type != MSGPACK_OBJECT_STR || o->via.str.size >= room)
        return false;
    for (uint32_t i = 0; i < o->via.str.size; i++) {
        if (o->via.str.ptr[i] < 0x20 || o->via.str.ptr[i] > 0x7e)
            return false;
    }
    if (o->via.str.size > 0) /* msgpack-c gives no pointer for none */
        memcpy(out, o->via.str.ptr, o->via.str.size);
    out[o->via.str.size] = '\0';
    return true;
}
