/* replication/wire/hello.c: the bytes of hellos and refusals, and which hellos go together. */
#include "replication/wire/hello.h"

#include <errno.h>
#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

/* The elements of a hello's array, in their order. Later versions add behind them. */
enum {
    AT_PROTOCOL_MIN,
    AT_PROTOCOL_MAX,
    AT_CLUSTER_ID,
    AT_FROM,
    AT_TO,
    AT_INCARNATION,
    AT_PROCESS,
    AT_CHANNEL,
    AT_FEATURE_LEVEL,
    AT_HOST,
    AT_PORT,
    HELLO_ELEMENTS,
};

/* Where msgpack-c writes to: room for all of it is there. */
struct fixed {
    uint8_t *out;
    size_t len;
};

static int fixed_write(void *data, const char *bytes, size_t len)
{
    struct fixed *fixed = data;
    if (len > HELLO_BYTES_MAX - fixed->len)
        return -1;
    memcpy(fixed->out + fixed->len, bytes, len);
    fixed->len += len;
    return 0;
}

static void pack_text(msgpack_packer *pk, const char *text, size_t len)
{
    msgpack_pack_str(pk, len);
    msgpack_pack_str_body(pk, text, len);
}

size_t hello_encode(const struct hello *hello, uint8_t out[HELLO_BYTES_MAX])
{
    struct fixed fixed = {.out = out};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &fixed, fixed_write);
    msgpack_pack_array(&pk, HELLO_ELEMENTS);
    msgpack_pack_int32(&pk, hello->protocol_min);
    msgpack_pack_int32(&pk, hello->protocol_max);
    pack_text(&pk, hello->cluster_id, strlen(hello->cluster_id));
    msgpack_pack_int32(&pk, hello->from);
    msgpack_pack_int32(&pk, hello->to);
    msgpack_pack_bin(&pk, UUID_BYTES);
    msgpack_pack_bin_body(&pk, hello->incarnation, UUID_BYTES);
    msgpack_pack_uint64(&pk, hello->process);
    msgpack_pack_int32(&pk, hello->channel);
    msgpack_pack_int32(&pk, hello->feature_level);
    pack_text(&pk, hello->host, strlen(hello->host));
    msgpack_pack_int32(&pk, hello->port);
    return fixed.len;
}

/* ---- decoding: each takes one element and says whether it is what it should be ---- */

static bool take_int32(const msgpack_object *o, int32_t min, int32_t *out)
{
    if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        if (o->via.i64 < min)
            return false;
        *out = (int32_t)o->via.i64;
        return true;
    }
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > INT32_MAX || (int32_t)o->via.u64 < min)
        return false;
    *out = (int32_t)o->via.u64;
    return true;
}

static bool take_uint64(const msgpack_object *o, uint64_t *out)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    *out = o->via.u64;
    return true;
}

/* Printable ASCII, so that it can be logged and resolved. */
static bool take_text(const msgpack_object *o, char *out, size_t room)
{
    if (o->type != MSGPACK_OBJECT_STR || o->via.str.size >= room)
        return false;
    for (uint32_t i = 0; i < o->via.str.size; i++)
        if (o->via.str.ptr[i] < 0x20 || o->via.str.ptr[i] > 0x7e)
            return false;
    if (o->via.str.size > 0) /* msgpack-c gives no pointer for none */
        memcpy(out, o->via.str.ptr, o->via.str.size);
    out[o->via.str.size] = '\0';
    return true;
}

static bool take_bytes(const msgpack_object *o, uint8_t *out, size_t len)
{
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != len)
        return false;
    memcpy(out, o->via.bin.ptr, len);
    return true;
}

static bool take_hello(const msgpack_object *o, struct hello *out)
{
    uint8_t id[UUID_BYTES];
    memset(out, 0, sizeof *out);
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < HELLO_ELEMENTS)
        return false;
    const msgpack_object *at = o->via.array.ptr;
    return take_int32(&at[AT_PROTOCOL_MIN], 1, &out->protocol_min) &&
           take_int32(&at[AT_PROTOCOL_MAX], out->protocol_min, &out->protocol_max) &&
           take_text(&at[AT_CLUSTER_ID], out->cluster_id, sizeof out->cluster_id) &&
           (out->cluster_id[0] == '\0' || uuid_parse(out->cluster_id, id) == 0) &&
           take_int32(&at[AT_FROM], 1, &out->from) && take_int32(&at[AT_TO], 1, &out->to) &&
           take_bytes(&at[AT_INCARNATION], out->incarnation, UUID_BYTES) &&
           take_uint64(&at[AT_PROCESS], &out->process) && take_int32(&at[AT_CHANNEL], 0, &out->channel) &&
           out->channel < CHANNELS && take_int32(&at[AT_FEATURE_LEVEL], 1, &out->feature_level) &&
           take_text(&at[AT_HOST], out->host, sizeof out->host) && take_int32(&at[AT_PORT], 0, &out->port) &&
           out->port <= UINT16_MAX;
}

int hello_decode(const uint8_t *data, size_t len, struct hello *out, struct err *e)
{
    int rc = 0;
    size_t used = 0;
    msgpack_unpacked unpacked;
    if (len > HELLO_BYTES_MAX)
        return err_set(e, -EBADMSG, "a hello of %zu bytes", len);
    msgpack_unpacked_init(&unpacked);
    if (msgpack_unpack_next(&unpacked, (const char *)data, len, &used) != MSGPACK_UNPACK_SUCCESS || used != len ||
        !take_hello(&unpacked.data, out))
        rc = err_set(e, -EBADMSG, "a hello that is none");
    msgpack_unpacked_destroy(&unpacked);
    return rc;
}

enum refusal hello_check(const struct hello *ours, const struct hello *theirs, struct err *e)
{
    if (theirs->protocol_min > ours->protocol_max || theirs->protocol_max < ours->protocol_min) {
        err_set(e, 0, "speaks protocol %d to %d, this node %d to %d: upgrade the older one", theirs->protocol_min,
                theirs->protocol_max, ours->protocol_min, ours->protocol_max);
        return REFUSAL_VERSION;
    }
    if (theirs->from == ours->from) {
        err_set(e, 0, "has this node's own id %d: give each node an id= of its own", ours->from);
        return REFUSAL_ID;
    }
    if (theirs->to != ours->from) {
        err_set(e, 0, "takes this node for node %d, but it is node %d: correct the peer= list", theirs->to, ours->from);
        return REFUSAL_ID;
    }
    if (theirs->cluster_id[0] != '\0' && ours->cluster_id[0] != '\0' &&
        strcmp(theirs->cluster_id, ours->cluster_id) != 0) {
        err_set(e, 0, "is of cluster %s, this node of %s: correct the peer= list or the data= directory",
                theirs->cluster_id, ours->cluster_id);
        return REFUSAL_CLUSTER;
    }
    return REFUSAL_NONE;
}

/* ---- refusals ---- */

size_t refusal_encode(enum refusal cause, const char *text, uint8_t out[HELLO_BYTES_MAX])
{
    struct fixed fixed = {.out = out};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &fixed, fixed_write);
    msgpack_pack_array(&pk, 2);
    msgpack_pack_int(&pk, (int)cause);
    pack_text(&pk, text, strnlen(text, ERR_TEXT_BYTES));
    return fixed.len;
}

int refusal_decode(const uint8_t *data, size_t len, enum refusal *cause, char text[HELLO_BYTES_MAX], struct err *e)
{
    int rc = -EBADMSG;
    int32_t number = 0;
    size_t used = 0;
    msgpack_unpacked unpacked;
    if (len > HELLO_BYTES_MAX)
        return err_set(e, -EBADMSG, "a refusal of %zu bytes", len);
    msgpack_unpacked_init(&unpacked);
    if (msgpack_unpack_next(&unpacked, (const char *)data, len, &used) == MSGPACK_UNPACK_SUCCESS && used == len &&
        unpacked.data.type == MSGPACK_OBJECT_ARRAY && unpacked.data.via.array.size >= 2 &&
        take_int32(&unpacked.data.via.array.ptr[0], 1, &number) &&
        take_text(&unpacked.data.via.array.ptr[1], text, HELLO_BYTES_MAX)) {
        *cause = number < REFUSAL_OTHER ? (enum refusal)number : REFUSAL_OTHER;
        rc = 0;
    }
    msgpack_unpacked_destroy(&unpacked);
    return rc == 0 ? 0 : err_set(e, rc, "a refusal that is none");
}
