/* replication/wire/voters_message.c: the headers as arrays. */
#include "replication/wire/voters_message.h"

#include <errno.h>

#include "replication/wire/elements.h"

enum { REQUEST_ELEMENTS_MIN = 3, REQUEST_ELEMENTS = 4, ANSWER_ELEMENTS = 4, SERVER_ELEMENTS = 2, ERROR_MAX = 4095 };

size_t voters_request_encode(const struct voters_request *request, uint8_t out[VOTERS_REQUEST_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, VOTERS_REQUEST_BYTES, REQUEST_ELEMENTS);
    msgpack_pack_uint64(&to.pk, request->number);
    msgpack_pack_int32(&to.pk, request->epoch);
    msgpack_pack_array(&to.pk, (size_t)request->nodes.count);
    for (int32_t i = 0; i < request->nodes.count; i++)
        msgpack_pack_int32(&to.pk, request->nodes.nodes[i]);
    msgpack_pack_int64(&to.pk, request->uid);
    return to.len;
}

static bool take_nodes(const msgpack_object *o, struct raft_peers *out)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size == 0 || o->via.array.size > LIMIT_NODES)
        return false;
    out->count = (int32_t)o->via.array.size;
    for (int32_t i = 0; i < out->count; i++) {
        if (!elements_int32(&o->via.array.ptr[i], i > 0 ? out->nodes[i - 1] + 1 : 1, &out->nodes[i]) ||
            (i + 1 < out->count && out->nodes[i] == INT32_MAX))
            return false;
    }
    return true;
}

int voters_request_decode(const uint8_t *data, size_t len, struct voters_request *out, struct err *e)
{
    msgpack_unpacked unpacked;
    const msgpack_object *at;
    int rc = elements_take(data, len, REQUEST_ELEMENTS_MIN, &unpacked);

    if (rc != 0)
        return err_set(e, rc, "a request for voters that is none");
    at = unpacked.data.via.array.ptr;
    out->uid = -1;
    if (!elements_uint64(&at[0], &out->number) || !elements_int32(&at[1], 1, &out->epoch) ||
        !take_nodes(&at[2], &out->nodes) ||
        (unpacked.data.via.array.size > REQUEST_ELEMENTS_MIN &&
         (!elements_int64(&at[3], -1, &out->uid) || out->uid > UINT32_MAX)))
        rc = err_set(e, -EBADMSG, "a request for voters with a bad number");
    msgpack_unpacked_destroy(&unpacked);
    return rc;
}

size_t voters_answer_encode(const struct voters_answer *answer, uint8_t out[VOTERS_ANSWER_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, VOTERS_ANSWER_BYTES, ANSWER_ELEMENTS);
    msgpack_pack_uint64(&to.pk, answer->number);
    msgpack_pack_int32(&to.pk, (int32_t)answer->outcome);
    msgpack_pack_int32(&to.pk, answer->error);
    msgpack_pack_array(&to.pk, (size_t)answer->target.count);
    for (int32_t i = 0; i < answer->target.count; i++) {
        msgpack_pack_array(&to.pk, SERVER_ELEMENTS);
        msgpack_pack_int32(&to.pk, answer->target.ids[i].node);
        msgpack_pack_uint64(&to.pk, answer->target.ids[i].incarnation);
    }
    return to.len;
}

static bool take_voters(const msgpack_object *o, struct raft_voters *out)
{
    *out = (struct raft_voters){0};
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > LIMIT_VOTERS)
        return false;
    for (uint32_t i = 0; i < o->via.array.size; i++) {
        const msgpack_object *server = &o->via.array.ptr[i];

        if (server->type != MSGPACK_OBJECT_ARRAY || server->via.array.size < SERVER_ELEMENTS ||
            !elements_int32(&server->via.array.ptr[0], 1, &out->ids[i].node) ||
            !elements_uint64(&server->via.array.ptr[1], &out->ids[i].incarnation))
            return false;
    }
    out->count = (int32_t)o->via.array.size;
    return out->count == 0 || raft_voters_valid(out);
}

int voters_answer_decode(const uint8_t *data, size_t len, struct voters_answer *out, struct err *e)
{
    msgpack_unpacked unpacked;
    const msgpack_object *at;
    int32_t outcome = 0;
    int rc = elements_take(data, len, ANSWER_ELEMENTS, &unpacked);

    if (rc != 0)
        return err_set(e, rc, "an answer on voters that is none");
    at = unpacked.data.via.array.ptr;
    if (!elements_uint64(&at[0], &out->number) || !elements_int32(&at[1], 0, &outcome) || outcome >= VOTERS_OUTCOMES ||
        !elements_int32(&at[2], 0, &out->error) || out->error > ERROR_MAX || !take_voters(&at[3], &out->target) ||
        (outcome == VOTERS_REFUSED && out->error == 0) || (outcome == VOTERS_ACCEPTED && out->target.count == 0))
        rc = err_set(e, -EBADMSG, "an answer on voters with a bad number");
    out->outcome = (enum voters_outcome)outcome;
    msgpack_unpacked_destroy(&unpacked);
    return rc;
}
