/* replication/wire/command_message.c: the headers as arrays. */
#include "replication/wire/command_message.h"

#include <errno.h>
#include <string.h>

#include "replication/wire/elements.h"

enum { REQUEST_ELEMENTS = 2, ANSWER_ELEMENTS = 5, ERROR_MAX = 4095 };

static int take(const uint8_t *data, size_t len, size_t elements, msgpack_unpacked *unpacked, struct err *e)
{
    int rc = elements_take(data, len, elements, unpacked);

    return rc == 0 ? 0 : err_set(e, rc, "a command's header that is none");
}

size_t command_request_encode(const struct command_request *request, uint8_t out[COMMAND_REQUEST_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, COMMAND_REQUEST_BYTES, REQUEST_ELEMENTS);
    msgpack_pack_uint64(&to.pk, request->number);
    msgpack_pack_int32(&to.pk, request->epoch);
    return to.len;
}

int command_request_decode(const uint8_t *data, size_t len, struct command_request *out, struct err *e)
{
    msgpack_unpacked unpacked;
    const msgpack_object *at;
    int rc = take(data, len, REQUEST_ELEMENTS, &unpacked, e);

    if (rc != 0)
        return rc;
    at = unpacked.data.via.array.ptr;
    if (!elements_uint64(&at[0], &out->number) || !elements_int32(&at[1], 1, &out->epoch))
        rc = err_set(e, -EBADMSG, "a command without number or epoch");
    msgpack_unpacked_destroy(&unpacked);
    return rc;
}

size_t command_answer_encode(const struct command_answer *answer, uint8_t out[COMMAND_ANSWER_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, COMMAND_ANSWER_BYTES, ANSWER_ELEMENTS);
    msgpack_pack_uint64(&to.pk, answer->number);
    msgpack_pack_int32(&to.pk, answer->epoch);
    msgpack_pack_int32(&to.pk, (int32_t)answer->outcome);
    msgpack_pack_int32(&to.pk, answer->error);
    elements_pack_text(&to, answer->reason.text, strlen(answer->reason.text));
    return to.len;
}

/* What another node wrote goes to the log of this one: no control characters. Bytes above ASCII pass. */
static bool take_reason(const msgpack_object *o, struct err *out)
{
    if (o->type != MSGPACK_OBJECT_STR || o->via.str.size >= sizeof out->text)
        return false;
    for (uint32_t i = 0; i < o->via.str.size; i++) {
        char c = o->via.str.ptr[i];

        out->text[i] = (unsigned char)c < ' ' || c == 127 ? '?' : c;
    }
    out->text[o->via.str.size] = '\0';
    return true;
}

int command_answer_decode(const uint8_t *data, size_t len, struct command_answer *out, struct err *e)
{
    msgpack_unpacked unpacked;
    const msgpack_object *at;
    int32_t outcome = 0, error = 0;
    int rc = take(data, len, ANSWER_ELEMENTS, &unpacked, e);

    if (rc != 0)
        return rc;
    at = unpacked.data.via.array.ptr;
    if (!elements_uint64(&at[0], &out->number) || !elements_int32(&at[1], 1, &out->epoch) ||
        !elements_int32(&at[2], 0, &outcome) || outcome >= COMMAND_OUTCOMES || !elements_int32(&at[3], 0, &error) ||
        error > ERROR_MAX || !take_reason(&at[4], &out->reason) || (outcome == COMMAND_REFUSED && error == 0))
        rc = err_set(e, -EBADMSG, "an answer to a command that is none");
    out->outcome = (enum command_outcome)outcome;
    out->error = error;
    msgpack_unpacked_destroy(&unpacked);
    return rc;
}
