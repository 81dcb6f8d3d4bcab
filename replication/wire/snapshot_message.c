/* replication/wire/snapshot_message.c: one array for both. */
#include "replication/wire/snapshot_message.h"

#include <errno.h>

#include "replication/wire/elements.h"

enum { ELEMENTS = 5 };

size_t snapshot_message_encode(const struct snapshot_message *msg, uint8_t out[SNAPSHOT_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, SNAPSHOT_MESSAGE_BYTES, ELEMENTS);
    msgpack_pack_uint64(&to.pk, msg->session);
    msgpack_pack_int64(&to.pk, msg->offset);
    msgpack_pack_int32(&to.pk, msg->epoch);
    msgpack_pack_int64(&to.pk, msg->at);
    msgpack_pack_int64(&to.pk, msg->size);
    return to.len;
}

int snapshot_message_decode(const uint8_t *data, size_t len, struct snapshot_message *out, struct err *e)
{
    msgpack_unpacked unpacked;
    const msgpack_object *at;
    int rc = elements_take(data, len, ELEMENTS, &unpacked);

    if (rc != 0)
        return err_set(e, rc, "a snapshot's header that is none");
    at = unpacked.data.via.array.ptr;
    if (!elements_uint64(&at[0], &out->session) || !elements_int64(&at[1], 0, &out->offset) ||
        !elements_int32(&at[2], -1, &out->epoch) || !elements_int64(&at[3], 0, &out->at) ||
        !elements_int64(&at[4], -1, &out->size))
        rc = err_set(e, -EBADMSG, "a snapshot's header with a bad number");
    msgpack_unpacked_destroy(&unpacked);
    return rc;
}
