/* replication/metadata/member_message.c: the messages as arrays, element by element. */
#include "replication/metadata/member_message.h"

#include <errno.h>
#include <string.h>

#include "replication/wire/elements.h"

enum { HEARTBEAT_ELEMENTS = 4, ANSWER_ELEMENTS = 4, GONE_ELEMENTS = 2, LAST_ISR_ELEMENTS = 3, FOUND_ELEMENTS = 4 };

/* ---- heartbeats ---- */

size_t heartbeat_encode(const struct heartbeat_message *msg, uint8_t out[MEMBER_MESSAGE_BYTES])
{
    struct elements_out to;
    elements_begin(&to, out, MEMBER_MESSAGE_BYTES, HEARTBEAT_ELEMENTS + 1);
    msgpack_pack_uint64(&to.pk, msg->number);
    msgpack_pack_int64(&to.pk, msg->beat.node_epoch);
    msgpack_pack_int64(&to.pk, msg->beat.applied_offset);
    elements_pack_bool(&to.pk, msg->beat.wants_stop);
    msgpack_pack_uint64(&to.pk, msg->beat.acted_count);
    return to.len;
}

int heartbeat_decode(const uint8_t *data, size_t len, struct heartbeat_message *out, struct err *e)
{
    msgpack_unpacked unpacked;
    *out = (struct heartbeat_message){0};
    if (elements_take(data, len, HEARTBEAT_ELEMENTS, &unpacked) != 0)
        return err_set(e, -EBADMSG, "a heartbeat that is none");
    const msgpack_object *at = unpacked.data.via.array.ptr;
    bool good = elements_uint64(&at[0], &out->number) && elements_int64(&at[1], 0, &out->beat.node_epoch) &&
                elements_int64(&at[2], 0, &out->beat.applied_offset) && elements_bool(&at[3], &out->beat.wants_stop);
    /* Who is of an older build does not say how it gets on. */
    if (good && unpacked.data.via.array.size > HEARTBEAT_ELEMENTS)
        good = elements_uint64(&at[HEARTBEAT_ELEMENTS], &out->beat.acted_count);
    msgpack_unpacked_destroy(&unpacked);
    return good ? 0 : err_set(e, -EBADMSG, "a heartbeat that is none");
}

size_t heartbeat_answer_encode(const struct heartbeat_answer_message *msg, uint8_t out[MEMBER_MESSAGE_BYTES])
{
    struct elements_out to;
    elements_begin(&to, out, MEMBER_MESSAGE_BYTES, ANSWER_ELEMENTS);
    msgpack_pack_uint64(&to.pk, msg->number);
    elements_pack_bool(&to.pk, msg->answer.known);
    elements_pack_bool(&to.pk, msg->answer.fenced);
    elements_pack_bool(&to.pk, msg->answer.may_stop);
    return to.len;
}

int heartbeat_answer_decode(const uint8_t *data, size_t len, struct heartbeat_answer_message *out, struct err *e)
{
    msgpack_unpacked unpacked;
    *out = (struct heartbeat_answer_message){0};
    if (elements_take(data, len, ANSWER_ELEMENTS, &unpacked) != 0)
        return err_set(e, -EBADMSG, "a heartbeat's answer that is none");
    const msgpack_object *at = unpacked.data.via.array.ptr;
    bool good = elements_uint64(&at[0], &out->number) && elements_bool(&at[1], &out->answer.known) &&
                elements_bool(&at[2], &out->answer.fenced) && elements_bool(&at[3], &out->answer.may_stop);
    msgpack_unpacked_destroy(&unpacked);
    return good ? 0 : err_set(e, -EBADMSG, "a heartbeat's answer that is none");
}

/* ---- processes that have gone ---- */

size_t gone_encode(const struct gone_message *msg, uint8_t out[MEMBER_MESSAGE_BYTES])
{
    struct elements_out to;
    elements_begin(&to, out, MEMBER_MESSAGE_BYTES, GONE_ELEMENTS);
    msgpack_pack_int32(&to.pk, msg->node);
    msgpack_pack_uint64(&to.pk, msg->process);
    return to.len;
}

int gone_decode(const uint8_t *data, size_t len, struct gone_message *out, struct err *e)
{
    msgpack_unpacked unpacked;
    *out = (struct gone_message){0};
    if (elements_take(data, len, GONE_ELEMENTS, &unpacked) != 0)
        return err_set(e, -EBADMSG, "the end of a process that is none");
    const msgpack_object *at = unpacked.data.via.array.ptr;
    bool good = elements_int32(&at[0], 1, &out->node) && elements_uint64(&at[1], &out->process);
    msgpack_unpacked_destroy(&unpacked);
    return good ? 0 : err_set(e, -EBADMSG, "the end of a process that is none");
}

/* ---- last ISRs ---- */

size_t last_isr_encode(const struct last_isr_message *msg, uint8_t out[LAST_ISR_MESSAGE_BYTES])
{
    struct elements_out to;
    elements_begin(&to, out, LAST_ISR_MESSAGE_BYTES, LAST_ISR_ELEMENTS);
    msgpack_pack_uint64(&to.pk, msg->round);
    msgpack_pack_int64(&to.pk, msg->node_epoch);
    msgpack_pack_array(&to.pk, (size_t)msg->count);
    for (int32_t i = 0; i < msg->count; i++) {
        const struct last_isr_found *found = &msg->found[i];
        msgpack_pack_array(&to.pk, FOUND_ELEMENTS);
        msgpack_pack_bin(&to.pk, UUID_BYTES);
        msgpack_pack_bin_body(&to.pk, found->topic_id, UUID_BYTES);
        msgpack_pack_int32(&to.pk, found->index);
        msgpack_pack_int32(&to.pk, found->epoch);
        msgpack_pack_int64(&to.pk, found->end_offset);
    }
    return to.len;
}

static bool take_found(const msgpack_object *o, struct last_isr_found *out)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < FOUND_ELEMENTS)
        return false;
    const msgpack_object *at = o->via.array.ptr;
    if (at[0].type != MSGPACK_OBJECT_BIN || at[0].via.bin.size != UUID_BYTES)
        return false;
    memcpy(out->topic_id, at[0].via.bin.ptr, UUID_BYTES);
    return elements_int32(&at[1], 0, &out->index) && elements_int32(&at[2], -1, &out->epoch) &&
           elements_int64(&at[3], -1, &out->end_offset);
}

static bool take_all(const msgpack_object *o, struct last_isr_message *out)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > LAST_ISR_PARTITIONS)
        return false;
    out->count = (int32_t)o->via.array.size;
    for (int32_t i = 0; i < out->count; i++) {
        if (!take_found(&o->via.array.ptr[i], &out->found[i]))
            return false;
    }
    return true;
}

int last_isr_decode(const uint8_t *data, size_t len, struct last_isr_message *out, struct err *e)
{
    msgpack_unpacked unpacked;
    *out = (struct last_isr_message){0};
    if (len > LAST_ISR_MESSAGE_BYTES || elements_take(data, len, LAST_ISR_ELEMENTS, &unpacked) != 0)
        return err_set(e, -EBADMSG, "a message about last ISRs that is none");
    const msgpack_object *at = unpacked.data.via.array.ptr;
    bool good =
        elements_uint64(&at[0], &out->round) && elements_int64(&at[1], -1, &out->node_epoch) && take_all(&at[2], out);
    msgpack_unpacked_destroy(&unpacked);
    return good ? 0 : err_set(e, -EBADMSG, "a message about last ISRs that is none");
}
