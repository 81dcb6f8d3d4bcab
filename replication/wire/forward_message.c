/* replication/wire/forward_message.c: arrays of arrays, packed and taken apart. */
#include "replication/wire/forward_message.h"

#include <errno.h>
#include <stdbool.h>

#include "engine/base/limits.h"
#include "replication/wire/elements.h"

enum { HEAD = 4, REQUEST = HEAD + 3, REQUEST_BATCH = 10, ANSWER = HEAD + 1, ANSWER_BATCH = 6, SHOWN_FROM = 7 };

/* ---- errnos ---- */

/* The index is the number on the wire. */
static const int errnos[] = {0,      EIO,    ENOSPC,  EDQUOT, EINVAL, EROFS, ETIMEDOUT, ESTALE,
                             EAGAIN, EILSEQ, EREMOTE, EACCES, ENOMEM, EPERM, EMFILE,    ENFILE};

enum { ERRNOS = sizeof errnos / sizeof *errnos };

static int errno_number(int rc)
{
    for (int i = 0; i < ERRNOS; i++) {
        if (errnos[i] == -rc) {
            return i;
        }
    }
    return 1;
}

int forward_errno_travels(int rc)
{
    return -errnos[errno_number(rc)];
}

/* ---- encoding ---- */

static void pack_head(struct elements_out *to, const struct forward_head *head)
{
    char text[UUID_TEXT_BYTES];

    uuid_text(head->topic_id, text);
    msgpack_pack_uint64(&to->pk, head->number);
    elements_pack_text(to, text, UUID_TEXT_BYTES - 1);
    msgpack_pack_int32(&to->pk, head->partition);
    msgpack_pack_int32(&to->pk, head->leader_epoch);
}

static void pack_request_batch(msgpack_packer *pk, const struct append_request_batch *batch)
{
    msgpack_pack_array(pk, REQUEST_BATCH);
    msgpack_pack_int32(pk, batch->sequence);
    msgpack_pack_uint32(pk, batch->gap);
    msgpack_pack_uint32(pk, batch->records);
    msgpack_pack_uint32(pk, batch->len);
    msgpack_pack_uint32(pk, batch->crc);
    msgpack_pack_int64(pk, batch->first_timestamp_ms);
    msgpack_pack_int64(pk, batch->last_timestamp_ms);
    msgpack_pack_int(pk, (int)batch->framing);
    msgpack_pack_int(pk, batch->acks);
    msgpack_pack_int64(pk, batch->timeout_ms);
}

size_t append_request_encode(const struct append_request *request, uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_FORWARD_MESSAGE_BYTES, REQUEST);
    pack_head(&to, &request->head);
    msgpack_pack_int64(&to.pk, request->node_epoch);
    msgpack_pack_int64(&to.pk, request->producer_id);
    msgpack_pack_array(&to.pk, (size_t)request->count);
    for (int32_t i = 0; i < request->count; i++) {
        pack_request_batch(&to.pk, &request->batches[i]);
    }
    return to.len;
}

size_t append_answer_encode(const struct append_answer *answer, uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_FORWARD_MESSAGE_BYTES, ANSWER);
    pack_head(&to, &answer->head);
    msgpack_pack_array(&to.pk, (size_t)answer->count);
    for (int32_t i = 0; i < answer->count; i++) {
        const struct append_answer_batch *batch = &answer->batches[i];

        msgpack_pack_array(&to.pk, ANSWER_BATCH);
        msgpack_pack_int32(&to.pk, batch->sequence);
        msgpack_pack_int(&to.pk, errno_number(batch->rc));
        msgpack_pack_int64(&to.pk, batch->base.offset);
        msgpack_pack_int64(&to.pk, batch->base.position);
        msgpack_pack_int64(&to.pk, batch->end.offset);
        msgpack_pack_int64(&to.pk, batch->end.position);
    }
    return to.len;
}

size_t partition_request_encode(const struct partition_request *request, uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_FORWARD_MESSAGE_BYTES, HEAD + 2);
    pack_head(&to, &request->head);
    msgpack_pack_int32(&to.pk, request->epoch);
    msgpack_pack_int64(&to.pk, request->upto);
    return to.len;
}

size_t partition_answer_encode(const struct partition_answer *answer, uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_FORWARD_MESSAGE_BYTES, HEAD + 3 + SHOWN_FROM);
    pack_head(&to, &answer->head);
    msgpack_pack_int(&to.pk, errno_number(answer->rc));
    msgpack_pack_int64(&to.pk, answer->upto);
    msgpack_pack_int64(&to.pk, answer->position);
    msgpack_pack_int32(&to.pk, answer->from.epoch);
    msgpack_pack_int32(&to.pk, answer->from.record_epoch);
    msgpack_pack_int32(&to.pk, answer->from.found_epoch);
    msgpack_pack_int64(&to.pk, answer->from.end.offset);
    msgpack_pack_int64(&to.pk, answer->from.end.position);
    msgpack_pack_int64(&to.pk, answer->from.own.offset);
    msgpack_pack_int64(&to.pk, answer->from.own.position);
    return to.len;
}

/* ---- decoding ---- */

static bool take_head(const msgpack_object *at, struct forward_head *out)
{
    char text[UUID_TEXT_BYTES];

    return elements_uint64(&at[0], &out->number) && out->number != 0 && elements_text(&at[1], text, sizeof text) &&
           uuid_parse(text, out->topic_id) == 0 && elements_int32(&at[2], 0, &out->partition) &&
           elements_int32(&at[3], -1, &out->leader_epoch);
}

static bool take_errno(const msgpack_object *o, int *rc)
{
    int32_t number;

    if (!elements_int32(o, 0, &number) || number >= ERRNOS) {
        return false;
    }
    *rc = -errnos[number];
    return true;
}

/* An array of at most LIMIT_FORWARD_BATCHES. */
static bool take_count(const msgpack_object *o, int32_t *count)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < 1 || o->via.array.size > LIMIT_FORWARD_BATCHES) {
        return false;
    }
    *count = (int32_t)o->via.array.size;
    return true;
}

static bool take_request_batch(const msgpack_object *o, struct append_request_batch *out)
{
    const msgpack_object *at = o->via.array.ptr;
    int32_t framing, acks;

    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < REQUEST_BATCH) {
        return false;
    }
    if (!elements_int32(&at[0], 0, &out->sequence) || !elements_uint32(&at[1], &out->gap) ||
        !elements_uint32(&at[2], &out->records) || !elements_uint32(&at[3], &out->len) ||
        !elements_uint32(&at[4], &out->crc) || !elements_int64(&at[5], INT64_MIN, &out->first_timestamp_ms) ||
        !elements_int64(&at[6], INT64_MIN, &out->last_timestamp_ms) || !elements_int32(&at[7], 0, &framing) ||
        !elements_int32(&at[8], -1, &acks) || !elements_int64(&at[9], 0, &out->timeout_ms)) {
        return false;
    }
    out->framing = (enum framing)framing;
    out->acks = acks;
    return (framing == FRAMING_LINE || framing == FRAMING_MSGPACK) && acks <= 1 && out->len > 0 &&
           out->len <= LIMIT_BATCH_BYTES && out->records > 0 && out->records <= out->len;
}

static bool take_append_request(const msgpack_object *array, size_t body_bytes, struct append_request *out)
{
    const msgpack_object *at = array->via.array.ptr;
    size_t bytes = 0;

    if (!take_head(at, &out->head) || !elements_int64(&at[HEAD], -1, &out->node_epoch) ||
        !elements_int64(&at[HEAD + 1], 0, &out->producer_id) || !take_count(&at[HEAD + 2], &out->count)) {
        return false;
    }
    for (int32_t i = 0; i < out->count; i++) {
        if (!take_request_batch(&at[HEAD + 2].via.array.ptr[i], &out->batches[i])) {
            return false;
        }
        bytes += out->batches[i].len;
    }
    return bytes == body_bytes;
}

static bool take_answer_batch(const msgpack_object *o, struct append_answer_batch *out)
{
    const msgpack_object *at = o->via.array.ptr;

    return o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size >= ANSWER_BATCH &&
           elements_int32(&at[0], 0, &out->sequence) && take_errno(&at[1], &out->rc) &&
           elements_int64(&at[2], 0, &out->base.offset) && elements_int64(&at[3], 0, &out->base.position) &&
           elements_int64(&at[4], 0, &out->end.offset) && elements_int64(&at[5], 0, &out->end.position);
}

static bool take_append_answer(const msgpack_object *array, struct append_answer *out)
{
    const msgpack_object *at = array->via.array.ptr;

    if (!take_head(at, &out->head) || !take_count(&at[HEAD], &out->count)) {
        return false;
    }
    for (int32_t i = 0; i < out->count; i++) {
        if (!take_answer_batch(&at[HEAD].via.array.ptr[i], &out->batches[i])) {
            return false;
        }
    }
    return true;
}

static int none(bool ok, const char *what, msgpack_unpacked *unpacked, struct err *e)
{
    msgpack_unpacked_destroy(unpacked);
    return ok ? 0 : err_set(e, -EBADMSG, "%s that is none", what);
}

/* An array of at least so many elements. */
static int take(const uint8_t *data, size_t len, size_t elements, const char *what, msgpack_unpacked *unpacked,
                struct err *e)
{
    if (len > LIMIT_FORWARD_MESSAGE_BYTES) {
        return err_set(e, -EBADMSG, "%s of %zu bytes", what, len);
    }
    return elements_take(data, len, elements, unpacked) == 0 ? 0 : err_set(e, -EBADMSG, "%s that is none", what);
}

int append_request_decode(const uint8_t *data, size_t len, size_t body_bytes, struct append_request *out, struct err *e)
{
    msgpack_unpacked unpacked;
    int rc = take(data, len, REQUEST, "an append", &unpacked, e);

    return rc < 0 ? rc : none(take_append_request(&unpacked.data, body_bytes, out), "an append", &unpacked, e);
}

int append_answer_decode(const uint8_t *data, size_t len, struct append_answer *out, struct err *e)
{
    msgpack_unpacked unpacked;
    int rc = take(data, len, ANSWER, "an append's answer", &unpacked, e);

    return rc < 0 ? rc : none(take_append_answer(&unpacked.data, out), "an append's answer", &unpacked, e);
}

int partition_request_decode(const uint8_t *data, size_t len, struct partition_request *out, struct err *e)
{
    msgpack_unpacked unpacked;
    const msgpack_object *at;
    bool ok;
    int rc = take(data, len, HEAD + 2, "a partition's request", &unpacked, e);

    if (rc < 0) {
        return rc;
    }
    at = unpacked.data.via.array.ptr;
    ok = take_head(at, &out->head) && elements_int32(&at[HEAD], -1, &out->epoch) &&
         elements_int64(&at[HEAD + 1], 0, &out->upto);
    return none(ok, "a partition's request", &unpacked, e);
}

/* They came later, and may not be there. */
static bool take_shown_from(const msgpack_object_array *all, struct shown_from *out)
{
    const msgpack_object *at = &all->ptr[HEAD + 3];

    *out = SHOWN_FROM_NOTHING;
    return all->size < HEAD + 3 + SHOWN_FROM ||
           (elements_int32(&at[0], -1, &out->epoch) && elements_int32(&at[1], -1, &out->record_epoch) &&
            elements_int32(&at[2], -1, &out->found_epoch) && elements_int64(&at[3], -1, &out->end.offset) &&
            elements_int64(&at[4], -1, &out->end.position) && elements_int64(&at[5], -1, &out->own.offset) &&
            elements_int64(&at[6], -1, &out->own.position));
}

int partition_answer_decode(const uint8_t *data, size_t len, struct partition_answer *out, struct err *e)
{
    msgpack_unpacked unpacked;
    const msgpack_object *at;
    bool ok;
    int rc = take(data, len, HEAD + 3, "a partition's answer", &unpacked, e);

    if (rc < 0) {
        return rc;
    }
    at = unpacked.data.via.array.ptr;
    ok = take_head(at, &out->head) && take_errno(&at[HEAD], &out->rc) && elements_int64(&at[HEAD + 1], 0, &out->upto) &&
         elements_int64(&at[HEAD + 2], 0, &out->position) && take_shown_from(&unpacked.data.via.array, &out->from);
    return none(ok, "a partition's answer", &unpacked, e);
}
