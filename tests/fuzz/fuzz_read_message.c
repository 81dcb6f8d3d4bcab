/* tests/fuzz/fuzz_read_message.c: any bytes as a message about reading: refused with a reason, or understood, and the
 * same when it is encoded and decoded again. The first byte says which message it is to be; of a read's answer the
 * second one how many bytes at the end are its body. */
#include <errno.h>

#include "engine/base/crc32c.h"
#include "replication/wire/read_message.h"
#include "tests/fuzz/fuzz.h"

#define ROUND(TYPE, DECODE, ENCODE)                                                                                    \
    do {                                                                                                               \
        static struct TYPE message, again;                                                                             \
        int rc = DECODE(data, len, &message, &e);                                                                      \
        FUZZ_CHECK(rc == 0 || (rc == -EBADMSG && e.text[0] != '\0'));                                                  \
        if (rc == 0) {                                                                                                 \
            size_t encoded = ENCODE(&message, out);                                                                    \
            FUZZ_CHECK(DECODE(out, encoded, &again, &e) == 0);                                                         \
            FUZZ_CHECK(ENCODE(&again, out_again) == encoded && memcmp(out, out_again, encoded) == 0);                  \
        }                                                                                                              \
    } while (0)

static const uint8_t *body;
static size_t body_bytes;

static int answer_decode(const uint8_t *data, size_t len, struct read_answer *out, struct err *e)
{
    return read_answer_decode(data, len, body, body_bytes, out, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t out[LIMIT_READ_MESSAGE_BYTES], out_again[LIMIT_READ_MESSAGE_BYTES];
    struct err e = {0};
    uint8_t kind;

    if (len < 2) {
        return 0;
    }
    kind = data[0] % 7;
    body_bytes = data[1] <= len - 2 ? data[1] : len - 2;
    data += 2;
    len -= 2;
    body = data + len - body_bytes;
    switch (kind) {
    case 0:
        ROUND(read_request, read_request_decode, read_request_encode);
        break;
    case 1:
        len -= body_bytes;
        ROUND(read_answer, answer_decode, read_answer_encode);
        break;
    case 2:
        ROUND(lookup_request, lookup_request_decode, lookup_request_encode);
        break;
    case 3:
        ROUND(lookup_answer, lookup_answer_decode, lookup_answer_encode);
        break;
    case 4:
        ROUND(stat_request, stat_request_decode, stat_request_encode);
        break;
    case 5:
        ROUND(stat_answer, stat_answer_decode, stat_answer_encode);
        break;
    default: {
        struct read_head head;
        int rc = read_head_decode(data, len, &head, &e);
        FUZZ_CHECK(rc == 0 || rc == -EBADMSG);
    }
    }
    return 0;
}
