/* replication/wire/read_message.c: arrays, packed and taken apart. */
#include "replication/wire/read_message.h"

#include <errno.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "replication/wire/elements.h"

enum {
    HEAD = 3,
    POINT = 2,
    EPOCHS = 2,
    READ_REQUEST = HEAD + 3,
    READ_ANSWER = HEAD + 1 + POINT + 3,
    LOOKUP_REQUEST = HEAD + 3,
    LOOKUP_ANSWER = HEAD + 1 + 3 * POINT + 4,
    STAT_REQUEST = HEAD + 2,
    STAT_ANSWER = HEAD + 1 + 3 * POINT + 3,
};

/* ---- encoding ---- */

static void pack_head(struct elements_out *to, const struct read_head *head)
{
    char text[UUID_TEXT_BYTES];

    uuid_text(head->topic_id, text);
    msgpack_pack_uint64(&to->pk, head->number);
    elements_pack_text(to, text, UUID_TEXT_BYTES - 1);
    msgpack_pack_int32(&to->pk, head->partition);
}

static void pack_point(struct elements_out *to, struct log_point point)
{
    msgpack_pack_int64(&to->pk, point.offset);
    msgpack_pack_int64(&to->pk, point.position);
}

static void pack_epochs(struct elements_out *to, const struct read_epochs *epochs)
{
    msgpack_pack_int32(&to->pk, epochs->leader);
    msgpack_pack_int32(&to->pk, epochs->record);
}

size_t read_request_encode(const struct read_request *request, uint8_t out[LIMIT_READ_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_READ_MESSAGE_BYTES, READ_REQUEST);
    pack_head(&to, &request->head);
    msgpack_pack_int64(&to.pk, request->shown);
    msgpack_pack_int64(&to.pk, request->position);
    msgpack_pack_uint32(&to.pk, request->max);
    return to.len;
}

size_t read_answer_encode(const struct read_answer *answer, uint8_t out[LIMIT_READ_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_READ_MESSAGE_BYTES, READ_ANSWER + EPOCHS);
    pack_head(&to, &answer->head);
    msgpack_pack_int(&to.pk, (int)answer->outcome);
    pack_point(&to, answer->high_watermark);
    msgpack_pack_int64(&to.pk, answer->end);
    msgpack_pack_uint32(&to.pk, answer->crc);
    msgpack_pack_array(&to.pk, (size_t)answer->count * 2);
    for (uint32_t i = 0; i < answer->count; i++) {
        msgpack_pack_int64(&to.pk, answer->pieces[i].position);
        msgpack_pack_uint32(&to.pk, answer->pieces[i].len);
    }
    pack_epochs(&to, &answer->epochs);
    return to.len;
}

size_t lookup_request_encode(const struct lookup_request *request, uint8_t out[LIMIT_READ_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_READ_MESSAGE_BYTES, LOOKUP_REQUEST + 1);
    pack_head(&to, &request->head);
    msgpack_pack_int64(&to.pk, request->shown);
    msgpack_pack_int(&to.pk, (int)request->kind);
    msgpack_pack_int64(&to.pk, request->at);
    msgpack_pack_int32(&to.pk, request->epoch);
    return to.len;
}

size_t lookup_answer_encode(const struct lookup_answer *answer, uint8_t out[LIMIT_READ_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_READ_MESSAGE_BYTES, LOOKUP_ANSWER + EPOCHS + 1);
    pack_head(&to, &answer->head);
    msgpack_pack_int(&to.pk, (int)answer->outcome);
    pack_point(&to, answer->high_watermark);
    pack_point(&to, answer->point);
    msgpack_pack_int(&to.pk, answer->found ? 1 : 0);
    pack_point(&to, answer->base);
    msgpack_pack_uint32(&to.pk, answer->len);
    msgpack_pack_uint32(&to.pk, answer->records);
    msgpack_pack_int64(&to.pk, answer->timestamp_ms);
    pack_epochs(&to, &answer->epochs);
    msgpack_pack_int64(&to.pk, answer->epoch_end);
    return to.len;
}

size_t stat_request_encode(const struct stat_request *request, uint8_t out[LIMIT_READ_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_READ_MESSAGE_BYTES, STAT_REQUEST);
    pack_head(&to, &request->head);
    msgpack_pack_int64(&to.pk, request->known);
    msgpack_pack_uint32(&to.pk, request->wait_ms);
    return to.len;
}

size_t stat_answer_encode(const struct stat_answer *answer, uint8_t out[LIMIT_READ_MESSAGE_BYTES])
{
    struct elements_out to;

    elements_begin(&to, out, LIMIT_READ_MESSAGE_BYTES, STAT_ANSWER + EPOCHS);
    pack_head(&to, &answer->head);
    msgpack_pack_int(&to.pk, (int)answer->outcome);
    pack_point(&to, answer->high_watermark);
    pack_point(&to, answer->log_start);
    pack_point(&to, answer->log_end);
    msgpack_pack_int64(&to.pk, answer->retained_bytes);
    msgpack_pack_uint32(&to.pk, answer->segments);
    msgpack_pack_int64(&to.pk, answer->mtime_ms);
    pack_epochs(&to, &answer->epochs);
    return to.len;
}

/* ---- decoding: each takes elements from *at on, and moves it ---- */

static bool take_int64(const msgpack_object **at, int64_t min, int64_t *out)
{
    return elements_int64((*at)++, min, out);
}

static bool take_uint32(const msgpack_object **at, uint32_t max, uint32_t *out)
{
    return elements_uint32((*at)++, out) && *out <= max;
}

static bool take_head(const msgpack_object **at, struct read_head *out)
{
    char text[UUID_TEXT_BYTES];
    bool ok = elements_uint64((*at)++, &out->number) && out->number != 0;

    ok = ok && elements_text((*at)++, text, sizeof text) && uuid_parse(text, out->topic_id) == 0;
    return ok && elements_int32((*at)++, 0, &out->partition);
}

static bool take_point(const msgpack_object **at, struct log_point *out)
{
    return take_int64(at, 0, &out->offset) && take_int64(at, 0, &out->position);
}

static bool take_outcome(const msgpack_object **at, enum read_outcome *out)
{
    uint32_t number;

    if (!take_uint32(at, READ_OUTCOME_FAILED, &number)) {
        return false;
    }
    *out = (enum read_outcome)number;
    return true;
}

static bool read_head_take(const msgpack_object *at, void *arg)
{
    return take_head(&at, arg);
}

static bool read_request_take(const msgpack_object *at, void *arg)
{
    struct read_request *out = arg;

    return take_head(&at, &out->head) && take_int64(&at, 0, &out->shown) && take_int64(&at, 0, &out->position) &&
           take_uint32(&at, LIMIT_READ_BYTES, &out->max) && out->max > 0;
}

/* The pieces ascend, and none is empty. */
static bool take_pieces(const msgpack_object *o, struct read_answer *out)
{
    int64_t from = 0;

    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size % 2 != 0 || o->via.array.size / 2 > LIMIT_READ_PIECES) {
        return false;
    }
    out->count = o->via.array.size / 2;
    for (uint32_t i = 0; i < out->count; i++) {
        const msgpack_object *at = &o->via.array.ptr[(size_t)i * 2];
        struct read_piece *piece = &out->pieces[i];

        if (!take_int64(&at, from, &piece->position) || !take_uint32(&at, LIMIT_READ_BYTES, &piece->len) ||
            piece->len == 0 || piece->position > INT64_MAX - piece->len) {
            return false;
        }
        from = piece->position + piece->len;
    }
    return out->end >= from;
}

static bool read_answer_take(const msgpack_object *at, void *arg)
{
    struct read_answer *out = arg;

    return take_head(&at, &out->head) && take_outcome(&at, &out->outcome) && take_point(&at, &out->high_watermark) &&
           take_int64(&at, 0, &out->end) && take_uint32(&at, UINT32_MAX, &out->crc) && take_pieces(at, out);
}

static bool lookup_request_take(const msgpack_object *at, void *arg)
{
    struct lookup_request *out = arg;
    uint32_t kind;

    if (!take_head(&at, &out->head) || !take_int64(&at, 0, &out->shown) || !take_uint32(&at, LOOKUP_KINDS - 1, &kind)) {
        return false;
    }
    out->kind = (enum lookup_kind)kind;
    return take_int64(&at, INT64_MIN, &out->at);
}

static bool lookup_answer_take(const msgpack_object *at, void *arg)
{
    struct lookup_answer *out = arg;
    uint32_t found;

    if (!take_head(&at, &out->head) || !take_outcome(&at, &out->outcome) || !take_point(&at, &out->high_watermark) ||
        !take_point(&at, &out->point) || !take_uint32(&at, 1, &found)) {
        return false;
    }
    out->found = found == 1;
    return take_point(&at, &out->base) && take_uint32(&at, INT32_MAX, &out->len) &&
           take_uint32(&at, INT32_MAX, &out->records) && take_int64(&at, INT64_MIN, &out->timestamp_ms) &&
           out->base.position <= INT64_MAX - out->len;
}

static bool stat_request_take(const msgpack_object *at, void *arg)
{
    struct stat_request *out = arg;

    return take_head(&at, &out->head) && take_int64(&at, -1, &out->known) &&
           take_uint32(&at, LIMIT_STAT_LONG_WAIT_MS, &out->wait_ms);
}

static bool stat_answer_take(const msgpack_object *at, void *arg)
{
    struct stat_answer *out = arg;

    return take_head(&at, &out->head) && take_outcome(&at, &out->outcome) && take_point(&at, &out->high_watermark) &&
           take_point(&at, &out->log_start) && take_point(&at, &out->log_end) &&
           take_int64(&at, 0, &out->retained_bytes) && take_uint32(&at, UINT32_MAX, &out->segments) &&
           take_int64(&at, INT64_MIN, &out->mtime_ms);
}

/* What later versions have put behind: elements from `from` on. Where they are not there *out says so. */
static bool take_epochs(const msgpack_object_array *all, size_t from, struct read_epochs *out)
{
    *out = (struct read_epochs){-1, -1};
    return all->size < from + EPOCHS ||
           (elements_int32(&all->ptr[from], -1, &out->leader) && elements_int32(&all->ptr[from + 1], -1, &out->record));
}

static bool read_answer_more(const msgpack_object_array *all, size_t from, void *arg)
{
    return take_epochs(all, from, &((struct read_answer *)arg)->epochs);
}

static bool lookup_request_more(const msgpack_object_array *all, size_t from, void *arg)
{
    struct lookup_request *out = arg;

    out->epoch = -1;
    return all->size <= from || elements_int32(&all->ptr[from], -1, &out->epoch);
}

static bool lookup_answer_more(const msgpack_object_array *all, size_t from, void *arg)
{
    struct lookup_answer *out = arg;

    out->epoch_end = -1;
    return take_epochs(all, from, &out->epochs) &&
           (all->size <= from + EPOCHS || elements_int64(&all->ptr[from + EPOCHS], -1, &out->epoch_end));
}

static bool stat_answer_more(const msgpack_object_array *all, size_t from, void *arg)
{
    return take_epochs(all, from, &((struct stat_answer *)arg)->epochs);
}

/* A message of some kind: at least so many elements, of which take() makes *out; more() looks behind them, NULL: that
 * is for later versions. */
struct form {
    const char *name;
    size_t elements;
    bool (*take)(const msgpack_object *at, void *out);
    bool (*more)(const msgpack_object_array *all, size_t from, void *out);
};

static int decode(const struct form *form, const uint8_t *data, size_t len, void *out, struct err *e)
{
    msgpack_unpacked unpacked;
    int rc = len <= LIMIT_READ_MESSAGE_BYTES ? elements_take(data, len, form->elements, &unpacked) : -EBADMSG;

    if (rc == 0) {
        const msgpack_object_array *all = &unpacked.data.via.array;
        bool ok = form->take(all->ptr, out) && (form->more == NULL || form->more(all, form->elements, out));

        rc = ok ? 0 : -EBADMSG;
        msgpack_unpacked_destroy(&unpacked);
    }
    return rc != 0 ? err_set(e, rc, "not a %s", form->name) : 0;
}

int read_head_decode(const uint8_t *data, size_t len, struct read_head *out, struct err *e)
{
    static const struct form form = {"message about reading", HEAD, read_head_take, NULL};

    return decode(&form, data, len, out, e);
}

int read_request_decode(const uint8_t *data, size_t len, struct read_request *out, struct err *e)
{
    static const struct form form = {"read", READ_REQUEST, read_request_take, NULL};

    return decode(&form, data, len, out, e);
}

int read_answer_decode(const uint8_t *data, size_t len, const uint8_t *body, size_t body_bytes, struct read_answer *out,
                       struct err *e)
{
    static const struct form form = {"read's answer", READ_ANSWER, read_answer_take, read_answer_more};
    size_t bytes = 0;
    int rc = decode(&form, data, len, out, e);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < out->count; i++) {
        bytes += out->pieces[i].len;
    }
    if (bytes != body_bytes) {
        return err_set(e, -EBADMSG, "a read's answer of %zu bytes that says that it has %zu", body_bytes, bytes);
    }
    if (crc32c(0, body, body_bytes) != out->crc) {
        return err_set(e, -EBADMSG, "a read's answer whose bytes were damaged on their way");
    }
    return 0;
}

int lookup_request_decode(const uint8_t *data, size_t len, struct lookup_request *out, struct err *e)
{
    static const struct form form = {"look-up", LOOKUP_REQUEST, lookup_request_take, lookup_request_more};

    return decode(&form, data, len, out, e);
}

int lookup_answer_decode(const uint8_t *data, size_t len, struct lookup_answer *out, struct err *e)
{
    static const struct form form = {"look-up's answer", LOOKUP_ANSWER, lookup_answer_take, lookup_answer_more};

    return decode(&form, data, len, out, e);
}

int stat_request_decode(const uint8_t *data, size_t len, struct stat_request *out, struct err *e)
{
    static const struct form form = {"question how a partition is", STAT_REQUEST, stat_request_take, NULL};

    return decode(&form, data, len, out, e);
}

int stat_answer_decode(const uint8_t *data, size_t len, struct stat_answer *out, struct err *e)
{
    static const struct form form = {"word on how a partition is", STAT_ANSWER, stat_answer_take, stat_answer_more};

    return decode(&form, data, len, out, e);
}
