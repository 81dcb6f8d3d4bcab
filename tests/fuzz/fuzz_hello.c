/* tests/fuzz/fuzz_hello.c: what a connection begins with, and how it is cut into frames. The first byte says which:
 *
 *   0  any bytes as a hello: refused with the reason, or understood, and the same when it is encoded and decoded again
 *   1  any bytes as a refusal: likewise, and fit to be printed
 *   2  any bytes as what a connection brings: cut into the same frames wherever a read ends
 *   3  frames of any kind and length, likewise: those come out that went in, up to the first that is damaged
 *
 * Of the last two the second byte says which frame the other side is known with, the two behind it where the reads end.
 */
#include <errno.h>

#include "engine/base/crc32c.h"
#include "replication/base/limits.h"
#include "replication/wire/frame.h"
#include "replication/wire/hello.h"
#include "tests/fuzz/fuzz.h"

/* ---- hellos ---- */

static void a_hello(const uint8_t *data, size_t len)
{
    const struct hello ours = {
        .protocol_min = 1, .protocol_max = 1, .from = 1, .to = 2, .cluster_id = "AAAAAAAAAAAAAAAAAAAAAA"};
    uint8_t first[HELLO_BYTES_MAX], second[HELLO_BYTES_MAX];
    struct hello hello, again;
    struct err e = {0};
    int rc = hello_decode(data, len, &hello, &e);
    if (rc != 0) {
        FUZZ_CHECK(rc == -EBADMSG && e.text[0] != '\0');
        return;
    }
    FUZZ_CHECK(memchr(hello.host, '\0', sizeof hello.host) != NULL && hello.from > 0 && hello.channel < CHANNELS);
    size_t encoded = hello_encode(&hello, first);
    FUZZ_CHECK(encoded <= sizeof first && hello_decode(first, encoded, &again, &e) == 0);
    FUZZ_CHECK(hello_encode(&again, second) == encoded && memcmp(first, second, encoded) == 0);
    FUZZ_CHECK(hello_check(&ours, &hello, &e) == REFUSAL_NONE || e.text[0] != '\0');
}

static void a_refusal(const uint8_t *data, size_t len)
{
    uint8_t bytes[HELLO_BYTES_MAX];
    char text[HELLO_BYTES_MAX], text_again[HELLO_BYTES_MAX];
    enum refusal cause, cause_again;
    struct err e = {0};
    int rc = refusal_decode(data, len, &cause, text, &e);
    if (rc != 0) {
        FUZZ_CHECK(rc == -EBADMSG && e.text[0] != '\0');
        return;
    }
    size_t text_len = strnlen(text, sizeof text);
    FUZZ_CHECK(text_len < sizeof text && cause > REFUSAL_NONE && cause <= REFUSAL_OTHER);
    for (size_t i = 0; i < text_len; i++)
        FUZZ_CHECK(text[i] >= ' ' && text[i] <= '~');
    size_t encoded = refusal_encode(cause, text, bytes);
    FUZZ_CHECK(encoded <= sizeof bytes && refusal_decode(bytes, encoded, &cause_again, text_again, &e) == 0);
    FUZZ_CHECK(cause_again == cause && strncmp(text, text_again, strlen(text_again)) == 0);
}

/* ---- frames ---- */

/* Headers on both sides of what a hello may have. */
enum { HEADER_MOST = 2 * HELLO_BYTES_MAX, BODY_MOST = 4096, STREAM_MOST = 64 << 10 };

/* What came out of a stream: as numbers that tell two of them apart. */
struct found {
    unsigned count;
    uint32_t crc;
    int rc;
    struct err e;
};

struct reading {
    struct frame_reader reader;
    unsigned greeted_with;
    struct found found;
};

static void take(struct reading *r, struct frame *frame)
{
    uint32_t numbers[] = {frame->kind, frame->header_bytes, frame->body_bytes};
    FUZZ_CHECK(r->found.count >= r->greeted_with || (frame->header_bytes <= HELLO_BYTES_MAX && frame->body_bytes == 0));
    r->found.crc = crc32c(r->found.crc, numbers, sizeof numbers);
    r->found.crc = crc32c(r->found.crc, frame->header, frame->header_bytes);
    r->found.crc = crc32c(r->found.crc, frame->body, frame->body_bytes);
    r->found.count++;
    frame_free(frame);
    if (r->found.count == r->greeted_with)
        r->reader.greeted = true;
}

/* One read's bytes, as conn.c takes them. */
static void read_some(struct reading *r, const uint8_t *data, size_t len, bool direct)
{
    struct frame *frame;
    size_t used, room;
    while (len > 0 && r->found.rc == 0) {
        uint8_t *space = direct ? frame_space(&r->reader, &room) : NULL;
        if (space != NULL && room > 0) {
            used = len < room ? len : room;
            memcpy(space, data, used);
            r->found.rc = frame_filled(&r->reader, used, &frame, &r->found.e);
        } else {
            r->found.rc = frame_feed(&r->reader, data, len, &used, &frame, &r->found.e);
        }
        FUZZ_CHECK(used <= len && (used > 0 || r->found.rc != 0));
        if (r->found.rc == 1) {
            r->found.rc = 0;
            take(r, frame);
        }
        data += used;
        len -= used;
    }
}

/* chance 0: all at once. */
static struct found cut(const uint8_t *data, size_t len, unsigned greeted_with, uint32_t chance)
{
    struct reading r = {.greeted_with = greeted_with, .reader = {.greeted = greeted_with == 0}};
    while (len > 0 && r.found.rc == 0) {
        size_t some = len;
        bool direct = false;
        if (chance != 0) {
            chance = chance * 1664525 + 1013904223; /* Numerical Recipes */
            some = chance >> 28 == 0 ? len : 1 + (chance >> 16) % 40;
            direct = (chance >> 15 & 1) != 0;
        }
        some = some < len ? some : len;
        read_some(&r, data, some, direct);
        data += some;
        len -= some;
    }
    frame_reader_free(&r.reader);
    FUZZ_CHECK(r.found.rc == 0 || ((r.found.rc == -EBADMSG || r.found.rc == -EPROTO) && r.found.e.text[0] != '\0'));
    return r.found;
}

static struct found must_be_the_same(const uint8_t *data, size_t len, unsigned greeted_with, uint32_t chance)
{
    struct found whole = cut(data, len, greeted_with, 0), sliced = cut(data, len, greeted_with, chance | 1);
    FUZZ_CHECK(whole.count == sliced.count && whole.crc == sliced.crc && whole.rc == sliced.rc);
    FUZZ_CHECK(strcmp(whole.e.text, sliced.e.text) == 0);
    return whole;
}

/* Frames one behind the other; each takes eight bytes of the input: kind, header, body, damage. */
static void frames(struct fuzz_input *in, unsigned greeted_with, uint32_t chance)
{
    static uint8_t stream[STREAM_MOST], bytes[HEADER_MOST + BODY_MOST];
    unsigned sound = 0;
    bool damaged = false;
    size_t len = 0;
    while (in->len > 0) {
        uint8_t kind = (uint8_t)fuzz_take(in, 1);
        uint32_t header_bytes = fuzz_take(in, 2) % HEADER_MOST, body_bytes = fuzz_take(in, 2) % BODY_MOST;
        uint32_t damage = fuzz_take(in, 3);
        struct iovec body = {bytes + header_bytes, body_bytes};
        struct frame_out out = {
            .kind = kind, .header = bytes, .header_bytes = header_bytes, .body = &body, .body_count = 1};
        if (sizeof stream - len < FRAME_PREAMBLE_BYTES + header_bytes + body_bytes)
            break;
        for (size_t i = 0; i < header_bytes + body_bytes; i++)
            bytes[i] = (uint8_t)(i * kind + len);
        frame_preamble(&out, stream + len);
        memcpy(stream + len + FRAME_PREAMBLE_BYTES, bytes, header_bytes + body_bytes);
        /* Of the preamble and the header, which the CRC covers. */
        if ((damage & 1) != 0)
            stream[len + (damage >> 4) % (FRAME_PREAMBLE_BYTES + header_bytes)] ^= (uint8_t)(1 << (damage >> 1 & 7));
        damaged = damaged || (damage & 1) != 0 ||
                  (sound < greeted_with && (header_bytes > HELLO_BYTES_MAX || body_bytes > 0));
        sound += !damaged;
        len += FRAME_PREAMBLE_BYTES + header_bytes + body_bytes;
    }
    struct found found = must_be_the_same(stream, len, greeted_with, chance);
    FUZZ_CHECK(found.count == sound && (damaged || found.rc == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input in = {data, len};
    uint32_t what = fuzz_take(&in, 1) % 4;
    if (what == 0) {
        a_hello(in.data, in.len);
    } else if (what == 1) {
        a_refusal(in.data, in.len);
    } else {
        unsigned greeted_with = fuzz_take(&in, 1) % 4;
        uint32_t chance = fuzz_take(&in, 2);
        if (what == 2)
            must_be_the_same(in.data, in.len, greeted_with, chance);
        else
            frames(&in, greeted_with, chance);
    }
    return 0;
}
