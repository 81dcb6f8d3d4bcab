/* replication/wire/replica_message.c: packing, and taking apart with every field checked. */
#include "replication/wire/replica_message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "replication/wire/elements.h"

enum {
    FETCH_ELEMENTS = 3,
    FETCH_PARTITION_ELEMENTS = 12,
    KEY_ELEMENTS = 4,
    ANSWER_ELEMENTS = 15,
    BEAT_ELEMENTS = 3,
    MARK_ELEMENTS = 8,
};

static int bad(struct err *e, const char *what)
{
    return err_set(e, -EBADMSG, "%s of a replica that is none", what);
}

/* ---- what all have ---- */

static void pack_key(msgpack_packer *pk, const struct replica_key *key)
{
    msgpack_pack_bin(pk, UUID_BYTES);
    msgpack_pack_bin_body(pk, key->topic_id, UUID_BYTES);
    msgpack_pack_int32(pk, key->index);
    msgpack_pack_int32(pk, key->leader_epoch);
    msgpack_pack_uint64(pk, key->round);
}

static bool take_key(const msgpack_object *o, struct replica_key *key)
{
    if (o[0].type != MSGPACK_OBJECT_BIN || o[0].via.bin.size != UUID_BYTES)
        return false;
    memcpy(key->topic_id, o[0].via.bin.ptr, UUID_BYTES);
    return elements_int32(&o[1], 0, &key->index) && elements_int32(&o[2], 0, &key->leader_epoch) &&
           elements_uint64(&o[3], &key->round);
}

static void pack_point(msgpack_packer *pk, struct log_point point)
{
    msgpack_pack_int64(pk, point.offset);
    msgpack_pack_int64(pk, point.position);
}

/* Of each record there is at least a byte. */
static bool take_point(const msgpack_object *o, struct log_point *point)
{
    return elements_int64(&o[0], 0, &point->offset) && elements_int64(&o[1], 0, &point->position) &&
           point->position >= point->offset;
}

static bool is_array(const msgpack_object *o, uint32_t least)
{
    return o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size >= least;
}

/* The array of partitions, which is element i. */
static bool take_partitions(struct replica_message *msg, uint32_t i)
{
    const msgpack_object *list = &msg->unpacked.data.via.array.ptr[i];
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size > REPLICA_MESSAGE_PARTITIONS)
        return false;
    msg->count = list->via.array.size;
    msg->partitions = list->via.array.ptr;
    return true;
}

void replica_message_free(struct replica_message *msg)
{
    msgpack_unpacked_destroy(&msg->unpacked);
}

/* ---- Fetch ---- */

size_t replica_fetch_encode(const struct replica_fetch_out *fetch, uint8_t *out)
{
    struct elements_out to;
    assert(fetch->count >= 1 && fetch->count <= REPLICA_MESSAGE_PARTITIONS);
    elements_begin(&to, out, REPLICA_MESSAGE_BYTES, FETCH_ELEMENTS);
    msgpack_pack_uint64(&to.pk, fetch->session);
    msgpack_pack_int64(&to.pk, fetch->node_epoch);
    msgpack_pack_array(&to.pk, fetch->count);
    for (uint32_t i = 0; i < fetch->count; i++) {
        const struct replica_fetch *partition = &fetch->partitions[i];
        msgpack_pack_array(&to.pk, FETCH_PARTITION_ELEMENTS);
        pack_key(&to.pk, &partition->key);
        pack_point(&to.pk, partition->end);
        msgpack_pack_int32(&to.pk, partition->last_epoch);
        msgpack_pack_int64(&to.pk, partition->flushed);
        msgpack_pack_int64(&to.pk, partition->start);
        msgpack_pack_int64(&to.pk, partition->high_watermark);
        msgpack_pack_uint32(&to.pk, partition->credit);
        elements_pack_bool(&to.pk, partition->full);
    }
    return to.len;
}

int replica_fetch_decode(const uint8_t *data, size_t len, struct replica_message *out, struct err *e)
{
    *out = (struct replica_message){.session = 0};
    if (elements_take(data, len, FETCH_ELEMENTS, &out->unpacked) != 0)
        return bad(e, "a fetch");
    const msgpack_object *o = out->unpacked.data.via.array.ptr;
    if (elements_uint64(&o[0], &out->session) && elements_int64(&o[1], 0, &out->node_epoch) && take_partitions(out, 2))
        return 0;
    replica_message_free(out);
    return bad(e, "a fetch");
}

int replica_fetch_partition(const struct replica_message *msg, uint32_t i, struct replica_fetch *out, struct err *e)
{
    const msgpack_object *list = &msg->partitions[i], *o;
    assert(i < msg->count);
    if (!is_array(list, FETCH_PARTITION_ELEMENTS))
        return bad(e, "a fetch");
    o = list->via.array.ptr;
    if (take_key(&o[0], &out->key) && take_point(&o[4], &out->end) && elements_int32(&o[6], -1, &out->last_epoch) &&
        elements_int64(&o[7], 0, &out->flushed) && elements_int64(&o[8], 0, &out->start) &&
        elements_int64(&o[9], 0, &out->high_watermark) && elements_uint32(&o[10], &out->credit) &&
        elements_bool(&o[11], &out->full))
        return 0;
    return bad(e, "a fetch");
}

/* ---- one partition's ---- */

void replica_batch_encode(const struct replica_batch *batch, uint8_t *out)
{
    struct batch_entry entry = batch->entry;
    entry.offset = entry.position = entry.place = 0; /* those of another file */
    put64(out, (uint64_t)batch->base.offset);
    put64(out + 8, (uint64_t)batch->base.position);
    batch_entry_encode(&entry, out + 16);
}

int replica_batch_decode(const uint8_t *in, struct replica_batch *out)
{
    out->base = (struct log_point){(int64_t)get64(in), (int64_t)get64(in + 8)};
    if (out->base.offset < 0 || out->base.position < out->base.offset)
        return -EBADMSG;
    return batch_entry_decode(in + 16, &out->entry);
}

/* As a point, which no such answer has need of. Builds that know nothing of it send zeros. */
void replica_answer_set_last_append_ms(struct replica_answer *answer, int64_t ms)
{
    answer->upto = ms > 0 ? (struct log_point){ms, ms} : (struct log_point){0, 0};
}

int64_t replica_answer_last_append_ms(const struct replica_answer *answer)
{
    return answer->upto.offset > 0 ? answer->upto.offset : -1;
}

size_t replica_answer_encode(const struct replica_answer *answer, uint8_t *out)
{
    struct elements_out to;
    size_t batch_bytes = (size_t)answer->batch_count * REPLICA_BATCH_BYTES;
    assert(answer->batch_count <= REPLICA_MESSAGE_BATCHES);
    elements_begin(&to, out, REPLICA_ANSWER_BYTES + batch_bytes, ANSWER_ELEMENTS);
    msgpack_pack_uint64(&to.pk, answer->session);
    pack_key(&to.pk, &answer->key);
    pack_point(&to.pk, answer->point);
    msgpack_pack_int32(&to.pk, answer->found_epoch);
    pack_point(&to.pk, answer->high_watermark);
    pack_point(&to.pk, answer->start);
    pack_point(&to.pk, answer->upto);
    msgpack_pack_bin(&to.pk, batch_bytes);
    msgpack_pack_bin_body(&to.pk, answer->batches != NULL ? answer->batches : (const uint8_t *)"", batch_bytes);
    return to.len;
}

/* The bytes of the batches lie in data itself, as msgpack-c leaves them there. */
static bool take_batches(const msgpack_object *o, struct replica_answer *out)
{
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size % REPLICA_BATCH_BYTES != 0 ||
        o->via.bin.size / REPLICA_BATCH_BYTES > REPLICA_MESSAGE_BATCHES)
        return false;
    out->batch_count = o->via.bin.size / REPLICA_BATCH_BYTES;
    out->batches = (const uint8_t *)o->via.bin.ptr;
    return true;
}

int replica_answer_decode(const uint8_t *data, size_t len, struct replica_answer *out, struct err *e)
{
    msgpack_unpacked unpacked;
    *out = (struct replica_answer){.session = 0};
    if (elements_take(data, len, ANSWER_ELEMENTS, &unpacked) != 0)
        return bad(e, "an answer");
    const msgpack_object *o = unpacked.data.via.array.ptr;
    bool good = elements_uint64(&o[0], &out->session) && take_key(&o[1], &out->key) && take_point(&o[5], &out->point) &&
                elements_int32(&o[7], -1, &out->found_epoch) && take_point(&o[8], &out->high_watermark) &&
                take_point(&o[10], &out->start) && take_point(&o[12], &out->upto) && take_batches(&o[14], out);
    msgpack_unpacked_destroy(&unpacked);
    return good ? 0 : bad(e, "an answer");
}

/* ---- Beat ---- */

size_t replica_beat_encode(uint64_t session, bool from_leader, const struct replica_mark *marks, uint32_t count,
                           uint8_t *out)
{
    struct elements_out to;
    assert(count <= REPLICA_MESSAGE_PARTITIONS);
    elements_begin(&to, out, REPLICA_MESSAGE_BYTES, BEAT_ELEMENTS);
    msgpack_pack_uint64(&to.pk, session);
    elements_pack_bool(&to.pk, from_leader);
    msgpack_pack_array(&to.pk, count);
    for (uint32_t i = 0; i < count; i++) {
        msgpack_pack_array(&to.pk, MARK_ELEMENTS);
        pack_key(&to.pk, &marks[i].key);
        pack_point(&to.pk, marks[i].high_watermark);
        pack_point(&to.pk, marks[i].start);
    }
    return to.len;
}

int replica_beat_decode(const uint8_t *data, size_t len, struct replica_message *out, struct err *e)
{
    *out = (struct replica_message){.session = 0};
    if (elements_take(data, len, BEAT_ELEMENTS, &out->unpacked) != 0)
        return bad(e, "a beat");
    const msgpack_object *o = out->unpacked.data.via.array.ptr;
    if (elements_uint64(&o[0], &out->session) && elements_bool(&o[1], &out->from_leader) && take_partitions(out, 2))
        return 0;
    replica_message_free(out);
    return bad(e, "a beat");
}

int replica_beat_mark(const struct replica_message *msg, uint32_t i, struct replica_mark *out, struct err *e)
{
    const msgpack_object *list = &msg->partitions[i], *o;
    assert(i < msg->count);
    if (!is_array(list, MARK_ELEMENTS))
        return bad(e, "a beat");
    o = list->via.array.ptr;
    if (take_key(&o[0], &out->key) && take_point(&o[4], &out->high_watermark) && take_point(&o[6], &out->start))
        return 0;
    return bad(e, "a beat");
}
