/* replication/wire/frame.c: the preamble, and the reader that fills frames.
 *
 * The happy path: 16 bytes of preamble are gathered, its lengths checked against the limits, the frame allocated, and
 * header and body filled; then the CRC over preamble and header must hold. The body has no CRC of its own here: record
 * bytes carry theirs (in their batch's entry), and TLS covers all of it. */
#include "replication/wire/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/crc32c.h"
#include "replication/base/limits.h"
#include "replication/wire/account.h"
#include "replication/wire/hello.h"

/* Byte 0 differs from 0x16, with which a TLS handshake begins: each side can tell that the other has TLS and it not. */
static const uint8_t magic[2] = {'L', 'M'};

enum { TLS_HANDSHAKE = 0x16 }; /* RFC 8446, 5.1: the content type that a TLS connection begins with */

enum { AT_VERSION = 2, AT_KIND = 3, AT_HEADER_BYTES = 4, AT_BODY_BYTES = 8, AT_CRC = 12 };

size_t frame_body_bytes(const struct frame_out *out)
{
    size_t bytes = 0;
    for (int i = 0; i < out->body_count; i++)
        bytes += out->body[i].iov_len;
    return bytes;
}

void frame_preamble(const struct frame_out *out, uint8_t preamble[FRAME_PREAMBLE_BYTES])
{
    size_t body_bytes = frame_body_bytes(out);
    assert(out->header_bytes <= LIMIT_FRAME_HEADER_BYTES && body_bytes <= LIMIT_FRAME_BODY_BYTES);
    memcpy(preamble, magic, sizeof magic);
    preamble[AT_VERSION] = FRAME_VERSION;
    preamble[AT_KIND] = out->kind;
    put32(preamble + AT_HEADER_BYTES, out->header_bytes);
    put32(preamble + AT_BODY_BYTES, (uint32_t)body_bytes);
    put32(preamble + AT_CRC, crc32c(crc32c(0, preamble, AT_CRC), out->header, out->header_bytes));
}

size_t frame_memory(const struct frame *frame)
{
    return sizeof *frame + frame->header_bytes + frame->body_bytes;
}

void frame_settle(struct frame *frame)
{
    struct account *account = frame->account;
    frame->account = NULL;
    if (account != NULL)
        account_give(account, frame_memory(frame));
}

void frame_free(struct frame *frame)
{
    if (frame != NULL)
        frame_settle(frame);
    free(frame);
}

static size_t frame_bytes(const struct frame *frame)
{
    return (size_t)frame->header_bytes + frame->body_bytes;
}

/* The preamble is whole: what it announces is allocated. */
static int begin_frame(struct frame_reader *reader, struct err *e)
{
    const uint8_t *preamble = reader->preamble;
    uint32_t header_bytes = get32(preamble + AT_HEADER_BYTES), body_bytes = get32(preamble + AT_BODY_BYTES);
    if (preamble[0] == TLS_HANDSHAKE)
        return err_set(e, -EPROTO, "the other side speaks TLS, this one without it");
    if (memcmp(preamble, magic, sizeof magic) != 0)
        return err_set(e, -EBADMSG, "what came is no frame of logmnt");
    if (preamble[AT_VERSION] != FRAME_VERSION)
        return err_set(e, -EBADMSG, "frames of version %u, known is %d", preamble[AT_VERSION], FRAME_VERSION);
    if (header_bytes > LIMIT_FRAME_HEADER_BYTES || body_bytes > LIMIT_FRAME_BODY_BYTES)
        return err_set(e, -EBADMSG, "a frame of %u + %u bytes, more than is allowed", header_bytes, body_bytes);
    if (!reader->greeted && (header_bytes > HELLO_BYTES_MAX || body_bytes > 0))
        return err_set(e, -EBADMSG, "a frame of %u + %u bytes before a hello", header_bytes, body_bytes);
    struct frame *frame = malloc(sizeof *frame + (size_t)header_bytes + body_bytes);
    if (frame == NULL)
        return err_sys(e, -ENOMEM, "a frame of %u + %u bytes", header_bytes, body_bytes);
    *frame = (struct frame){.kind = preamble[AT_KIND], .header_bytes = header_bytes, .body_bytes = body_bytes};
    frame->header = (uint8_t *)(frame + 1);
    frame->body = frame->header + header_bytes;
    reader->frame = frame;
    reader->filled = 0;
    return 0;
}

/* 1 when the frame that is being filled is whole and its CRC holds. */
static int end_frame(struct frame_reader *reader, struct frame **out, struct err *e)
{
    struct frame *frame = reader->frame;
    if (reader->filled < frame_bytes(frame))
        return 0;
    uint32_t crc = crc32c(crc32c(0, reader->preamble, AT_CRC), frame->header, frame->header_bytes);
    if (crc != get32(reader->preamble + AT_CRC))
        return err_set(e, -EBADMSG, "the CRC of a frame does not hold");
    reader->frame = NULL;
    reader->preamble_len = 0;
    *out = frame;
    return 1;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

int frame_feed(struct frame_reader *reader, const uint8_t *data, size_t len, size_t *used, struct frame **out,
               struct err *e)
{
    int rc;
    *used = 0;
    if (reader->frame == NULL) {
        size_t some = smaller(len, FRAME_PREAMBLE_BYTES - reader->preamble_len);
        memcpy(reader->preamble + reader->preamble_len, data, some);
        reader->preamble_len += some;
        *used = some;
        if (reader->preamble_len < FRAME_PREAMBLE_BYTES)
            return 0;
        rc = begin_frame(reader, e);
        if (reader->frame == NULL)
            return rc;
    }
    size_t some = smaller(len - *used, frame_bytes(reader->frame) - reader->filled);
    memcpy(reader->frame->header + reader->filled, data + *used, some);
    *used += some;
    reader->filled += some;
    return end_frame(reader, out, e);
}

uint8_t *frame_space(struct frame_reader *reader, size_t *room)
{
    if (reader->frame == NULL)
        return NULL;
    *room = frame_bytes(reader->frame) - reader->filled;
    return reader->frame->header + reader->filled;
}

int frame_filled(struct frame_reader *reader, size_t len, struct frame **out, struct err *e)
{
    reader->filled += len;
    assert(reader->filled <= frame_bytes(reader->frame));
    return end_frame(reader, out, e);
}

void frame_reader_free(struct frame_reader *reader)
{
    free(reader->frame);
    reader->frame = NULL;
    reader->preamble_len = 0;
}
