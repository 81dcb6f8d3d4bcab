/* replication/wire/raft_message.c: the quorum's messages as arrays: what all have, then what each type has. */
#include "replication/wire/raft_message.h"

#include <errno.h>

#include "replication/wire/elements.h"

enum {
    AT_TYPE,
    AT_FROM,
    AT_FROM_INCARNATION,
    AT_TO,
    AT_TO_INCARNATION,
    AT_EPOCH,
    AT_LEADER,
    AT_LEADER_INCARNATION,
    AT_BODY,
};

static const struct {
    const char *name;
    size_t elements; /* of the body */
    size_t later;    /* behind those, that builds have added */
} types[RAFT_MESSAGE_TYPES] = {
    [RAFT_VOTE] = {"vote", 4, 0},   [RAFT_VOTE_ANSWER] = {"vote answer", 3, 0},
    [RAFT_BEGIN] = {"begin", 0, 0}, [RAFT_BEGIN_ANSWER] = {"begin answer", 0, 0},
    [RAFT_END] = {"end", 1, 0},     [RAFT_END_ANSWER] = {"end answer", 0, 0},
    [RAFT_FETCH] = {"fetch", 5, 1}, [RAFT_FETCH_ANSWER] = {"fetch answer", 6, 1},
    [RAFT_FIND] = {"find", 2, 0},   [RAFT_FIND_ANSWER] = {"find answer", 3, 0},
};

const char *raft_message_type_name(enum raft_message_type type)
{
    return types[type].name;
}

/* ---- encoding ---- */

static void pack_id(msgpack_packer *pk, struct raft_id id)
{
    msgpack_pack_int32(pk, id.node);
    msgpack_pack_uint64(pk, id.incarnation);
}

static void pack_nodes(msgpack_packer *pk, const int32_t *nodes, int32_t count)
{
    msgpack_pack_array(pk, (size_t)count);
    for (int32_t i = 0; i < count; i++)
        msgpack_pack_int32(pk, nodes[i]);
}

static void pack_body(msgpack_packer *pk, const struct raft_message *msg)
{
    switch (msg->type) {
    case RAFT_VOTE:
        elements_pack_bool(pk, msg->vote.pre);
        msgpack_pack_uint32(pk, msg->vote.round);
        msgpack_pack_int32(pk, msg->vote.end_epoch);
        msgpack_pack_int64(pk, msg->vote.end_offset);
        break;
    case RAFT_VOTE_ANSWER:
        elements_pack_bool(pk, msg->vote_answer.pre);
        msgpack_pack_uint32(pk, msg->vote_answer.round);
        elements_pack_bool(pk, msg->vote_answer.granted);
        break;
    case RAFT_END:
        pack_nodes(pk, msg->end.successors, msg->end.count);
        break;
    case RAFT_FETCH:
        msgpack_pack_int64(pk, msg->fetch.offset);
        msgpack_pack_int32(pk, msg->fetch.last_epoch);
        msgpack_pack_int64(pk, msg->fetch.flushed);
        msgpack_pack_int64(pk, msg->fetch.high_watermark);
        msgpack_pack_uint64(pk, msg->fetch.session);
        msgpack_pack_uint64(pk, msg->fetch.heard);
        break;
    case RAFT_FETCH_ANSWER:
        msgpack_pack_int(pk, (int)msg->fetch_answer.outcome);
        msgpack_pack_int32(pk, msg->fetch_answer.end_epoch);
        msgpack_pack_int64(pk, msg->fetch_answer.end_offset);
        msgpack_pack_int64(pk, msg->fetch_answer.high_watermark);
        msgpack_pack_uint64(pk, msg->fetch_answer.session);
        msgpack_pack_int64(pk, msg->fetch_answer.offset);
        msgpack_pack_uint64(pk, msg->fetch_answer.sent);
        break;
    case RAFT_FIND:
        msgpack_pack_uint32(pk, msg->find.run);
        pack_nodes(pk, msg->find.peers.nodes, msg->find.peers.count);
        break;
    case RAFT_FIND_ANSWER:
        msgpack_pack_uint32(pk, msg->find_answer.run);
        elements_pack_bool(pk, msg->find_answer.empty);
        pack_nodes(pk, msg->find_answer.peers.nodes, msg->find_answer.peers.count);
        break;
    case RAFT_BEGIN:
    case RAFT_BEGIN_ANSWER:
    case RAFT_END_ANSWER:
    case RAFT_MESSAGE_TYPES:
        break;
    }
}

size_t raft_message_encode(const struct raft_message *msg, uint8_t out[LIMIT_RAFT_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_RAFT_MESSAGE_BYTES, AT_BODY + types[msg->type].elements + types[msg->type].later);
    msgpack_pack_int(&to.pk, (int)msg->type);
    pack_id(&to.pk, msg->from);
    pack_id(&to.pk, msg->to);
    msgpack_pack_int32(&to.pk, msg->epoch);
    pack_id(&to.pk, msg->leader);
    pack_body(&to.pk, msg);
    return to.len;
}

/* ---- decoding ---- */

/* A server, or none: node 0, and then incarnation 0. */
static bool take_id(const msgpack_object *at, struct raft_id *out)
{
    return elements_int32(&at[0], 0, &out->node) && elements_uint64(&at[1], &out->incarnation) &&
           (out->node != 0 || out->incarnation == 0);
}

static bool take_nodes(const msgpack_object *o, int32_t *nodes, uint32_t max, bool ascending, int32_t *count)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > max)
        return false;
    for (uint32_t i = 0; i < o->via.array.size; i++) {
        if (!elements_int32(&o->via.array.ptr[i], 1, &nodes[i]))
            return false;
        if (ascending && i > 0 && nodes[i] <= nodes[i - 1])
            return false;
    }
    *count = (int32_t)o->via.array.size;
    return true;
}

static bool take_peers(const msgpack_object *o, struct raft_peers *out)
{
    return take_nodes(o, out->nodes, LIMIT_NODES, true, &out->count);
}

static bool take_fetch_answer(const msgpack_object *at, struct raft_message *out)
{
    int32_t outcome;

    if (!elements_int32(&at[0], 0, &outcome) || outcome >= RAFT_FETCH_OUTCOMES)
        return false;
    out->fetch_answer.outcome = (enum raft_fetch_outcome)outcome;
    return elements_int32(&at[1], -1, &out->fetch_answer.end_epoch) &&
           elements_int64(&at[2], 0, &out->fetch_answer.end_offset) &&
           elements_int64(&at[3], 0, &out->fetch_answer.high_watermark) &&
           elements_uint64(&at[4], &out->fetch_answer.session) && elements_int64(&at[5], 0, &out->fetch_answer.offset);
}

static bool take_body(const msgpack_object *at, struct raft_message *out)
{
    switch (out->type) {
    case RAFT_VOTE:
        return elements_bool(&at[0], &out->vote.pre) && elements_uint32(&at[1], &out->vote.round) &&
               elements_int32(&at[2], -1, &out->vote.end_epoch) && elements_int64(&at[3], 0, &out->vote.end_offset);
    case RAFT_VOTE_ANSWER:
        return elements_bool(&at[0], &out->vote_answer.pre) && elements_uint32(&at[1], &out->vote_answer.round) &&
               elements_bool(&at[2], &out->vote_answer.granted);
    case RAFT_END:
        return take_nodes(&at[0], out->end.successors, LIMIT_VOTERS, false, &out->end.count);
    case RAFT_FETCH:
        out->fetch.heard = RAFT_HEARD_UNSAID;
        return elements_int64(&at[0], 0, &out->fetch.offset) && elements_int32(&at[1], -1, &out->fetch.last_epoch) &&
               elements_int64(&at[2], 0, &out->fetch.flushed) &&
               elements_int64(&at[3], 0, &out->fetch.high_watermark) && elements_uint64(&at[4], &out->fetch.session);
    case RAFT_FETCH_ANSWER:
        return take_fetch_answer(at, out);
    case RAFT_FIND:
        return elements_uint32(&at[0], &out->find.run) && take_peers(&at[1], &out->find.peers);
    case RAFT_FIND_ANSWER:
        return elements_uint32(&at[0], &out->find_answer.run) && elements_bool(&at[1], &out->find_answer.empty) &&
               take_peers(&at[2], &out->find_answer.peers);
    case RAFT_BEGIN:
    case RAFT_BEGIN_ANSWER:
    case RAFT_END_ANSWER:
        return true;
    case RAFT_MESSAGE_TYPES:
        break;
    }
    return false;
}

/* What older builds leave out. */
static bool take_later(const msgpack_object *at, struct raft_message *out)
{
    if (out->type == RAFT_FETCH)
        return elements_uint64(&at[types[RAFT_FETCH].elements], &out->fetch.heard);
    if (out->type == RAFT_FETCH_ANSWER)
        return elements_uint64(&at[types[RAFT_FETCH_ANSWER].elements], &out->fetch_answer.sent);
    return true;
}

static bool take_message(const msgpack_object *array, struct raft_message *out)
{
    const msgpack_object *at = array->via.array.ptr;
    int32_t type;

    if (!elements_int32(&at[AT_TYPE], 0, &type) || type >= RAFT_MESSAGE_TYPES)
        return false;
    out->type = (enum raft_message_type)type;
    return array->via.array.size >= AT_BODY + types[type].elements && take_id(&at[AT_FROM], &out->from) &&
           out->from.node != 0 && out->from.incarnation != 0 && take_id(&at[AT_TO], &out->to) && out->to.node != 0 &&
           elements_int32(&at[AT_EPOCH], 0, &out->epoch) && out->epoch <= RAFT_EPOCH_MAX &&
           take_id(&at[AT_LEADER], &out->leader) && take_body(&at[AT_BODY], out) &&
           (array->via.array.size == AT_BODY + types[type].elements || take_later(&at[AT_BODY], out));
}

int raft_message_decode(const uint8_t *data, size_t len, struct raft_message *out, struct err *e)
{
    msgpack_unpacked unpacked;
    int rc;

    if (len > LIMIT_RAFT_MESSAGE_BYTES)
        return err_set(e, -EBADMSG, "a message of the quorum of %zu bytes", len);
    *out = (struct raft_message){0};
    rc = elements_take(data, len, AT_BODY, &unpacked);
    if (rc == 0) {
        if (!take_message(&unpacked.data, out))
            rc = -EBADMSG;
        msgpack_unpacked_destroy(&unpacked);
    }
    return rc == 0 ? 0 : err_set(e, rc, "a message of the quorum that is none");
}
