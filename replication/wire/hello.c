/* replication/wire/hello.c: the bytes of hellos and refusals, and which hellos go together. */
#include "replication/wire/hello.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "replication/wire/elements.h"

/* The elements of a hello's array, in their order. Later versions add behind them, as this one has behind
 * HELLO_ELEMENTS, which the first one had. */
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
    AT_SESSION = HELLO_ELEMENTS,
    HELLO_ELEMENTS_SAID,
};

size_t hello_encode(const struct hello *hello, uint8_t out[HELLO_BYTES_MAX])
{
    struct elements_out to;
    elements_begin(&to, out, HELLO_BYTES_MAX, HELLO_ELEMENTS_SAID);
    msgpack_pack_int32(&to.pk, hello->protocol_min);
    msgpack_pack_int32(&to.pk, hello->protocol_max);
    elements_pack_text(&to, hello->cluster_id, strlen(hello->cluster_id));
    msgpack_pack_int32(&to.pk, hello->from);
    msgpack_pack_int32(&to.pk, hello->to);
    msgpack_pack_uint64(&to.pk, hello->incarnation);
    msgpack_pack_uint64(&to.pk, hello->process);
    msgpack_pack_int32(&to.pk, hello->channel);
    msgpack_pack_int32(&to.pk, hello->feature_level);
    elements_pack_text(&to, hello->host, strlen(hello->host));
    msgpack_pack_int32(&to.pk, hello->port);
    msgpack_pack_uint64(&to.pk, hello->session);
    return to.len;
}

/* ---- decoding ---- */

static bool take_hello(const msgpack_object *o, struct hello *out)
{
    uint8_t id[UUID_BYTES];
    memset(out, 0, sizeof *out);
    const msgpack_object *at = o->via.array.ptr;
    return elements_int32(&at[AT_PROTOCOL_MIN], 1, &out->protocol_min) &&
           elements_int32(&at[AT_PROTOCOL_MAX], out->protocol_min, &out->protocol_max) &&
           elements_text(&at[AT_CLUSTER_ID], out->cluster_id, sizeof out->cluster_id) &&
           (out->cluster_id[0] == '\0' || uuid_parse(out->cluster_id, id) == 0) &&
           elements_int32(&at[AT_FROM], 1, &out->from) && elements_int32(&at[AT_TO], 1, &out->to) &&
           elements_uint64(&at[AT_INCARNATION], &out->incarnation) && elements_uint64(&at[AT_PROCESS], &out->process) &&
           elements_int32(&at[AT_CHANNEL], 0, &out->channel) && out->channel < CHANNELS &&
           elements_int32(&at[AT_FEATURE_LEVEL], 1, &out->feature_level) &&
           elements_text(&at[AT_HOST], out->host, sizeof out->host) && elements_int32(&at[AT_PORT], 0, &out->port) &&
           out->port <= UINT16_MAX &&
           (o->via.array.size <= AT_SESSION || elements_uint64(&at[AT_SESSION], &out->session));
}

int hello_decode(const uint8_t *data, size_t len, struct hello *out, struct err *e)
{
    msgpack_unpacked unpacked;
    if (len > HELLO_BYTES_MAX)
        return err_set(e, -EBADMSG, "a hello of %zu bytes", len);
    int rc = elements_take(data, len, HELLO_ELEMENTS, &unpacked);
    if (rc == 0) {
        rc = take_hello(&unpacked.data, out) ? 0 : -EBADMSG;
        msgpack_unpacked_destroy(&unpacked);
    }
    return rc == 0 ? 0 : err_set(e, rc, "a hello that is none");
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
    struct elements_out to;
    elements_begin(&to, out, HELLO_BYTES_MAX, 2);
    msgpack_pack_int(&to.pk, (int)cause);
    elements_pack_text(&to, text, strnlen(text, ERR_TEXT_BYTES));
    return to.len;
}

int refusal_decode(const uint8_t *data, size_t len, enum refusal *cause, char text[HELLO_BYTES_MAX], struct err *e)
{
    int32_t number = 0;
    msgpack_unpacked unpacked;
    if (len > HELLO_BYTES_MAX)
        return err_set(e, -EBADMSG, "a refusal of %zu bytes", len);
    int rc = elements_take(data, len, 2, &unpacked);
    if (rc == 0) {
        const msgpack_object *at = unpacked.data.via.array.ptr;
        rc = elements_int32(&at[0], 1, &number) && elements_text(&at[1], text, HELLO_BYTES_MAX) ? 0 : -EBADMSG;
        msgpack_unpacked_destroy(&unpacked);
    }
    if (rc != 0)
        return err_set(e, rc, "a refusal that is none");
    *cause = number < REFUSAL_OTHER ? (enum refusal)number : REFUSAL_OTHER;
    return 0;
}
