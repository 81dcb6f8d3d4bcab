/* tests/fuzz/fuzz_forward_message.c: any bytes as what one node asks another one about a partition, and as the answers:
 * refused, or understood, and the same when encoded and decoded again. The first byte says which, the next three how
 * long the body is. */
#include <errno.h>

#include "engine/base/limits.h"
#include "replication/wire/forward_message.h"
#include "tests/fuzz/fuzz.h"

static uint8_t out[LIMIT_FORWARD_MESSAGE_BYTES], out_again[LIMIT_FORWARD_MESSAGE_BYTES];

static void refused(int rc, const struct err *e)
{
    FUZZ_CHECK(rc == -EBADMSG && e->text[0] != '\0');
}

static void same(size_t encoded, size_t again)
{
    FUZZ_CHECK(encoded == again && memcmp(out, out_again, encoded) == 0);
}

static void an_append(const uint8_t *data, size_t len, size_t body_bytes)
{
    static struct append_request request, again;
    struct err e = {0};
    size_t encoded, bytes = 0;
    int rc = append_request_decode(data, len, body_bytes, &request, &e);

    if (rc != 0) {
        refused(rc, &e);
        return;
    }
    for (int32_t i = 0; i < request.count; i++) {
        FUZZ_CHECK(request.batches[i].len <= LIMIT_BATCH_BYTES);
        bytes += request.batches[i].len;
    }
    FUZZ_CHECK(bytes == body_bytes && request.count >= 1 && request.count <= LIMIT_FORWARD_BATCHES);
    encoded = append_request_encode(&request, out);
    FUZZ_CHECK(append_request_decode(out, encoded, body_bytes, &again, &e) == 0);
    same(encoded, append_request_encode(&again, out_again));
}

static void its_answer(const uint8_t *data, size_t len)
{
    static struct append_answer answer, again;
    struct err e = {0};
    size_t encoded;
    int rc = append_answer_decode(data, len, &answer, &e);

    if (rc != 0) {
        refused(rc, &e);
        return;
    }
    encoded = append_answer_encode(&answer, out);
    FUZZ_CHECK(append_answer_decode(out, encoded, &again, &e) == 0);
    same(encoded, append_answer_encode(&again, out_again));
}

static void a_request(const uint8_t *data, size_t len)
{
    struct partition_request request, again;
    struct err e = {0};
    size_t encoded;
    int rc = partition_request_decode(data, len, &request, &e);

    if (rc != 0) {
        refused(rc, &e);
        return;
    }
    encoded = partition_request_encode(&request, out);
    FUZZ_CHECK(partition_request_decode(out, encoded, &again, &e) == 0);
    same(encoded, partition_request_encode(&again, out_again));
}

static void an_answer(const uint8_t *data, size_t len)
{
    struct partition_answer answer, again;
    struct err e = {0};
    size_t encoded;
    int rc = partition_answer_decode(data, len, &answer, &e);

    if (rc != 0) {
        refused(rc, &e);
        return;
    }
    encoded = partition_answer_encode(&answer, out);
    FUZZ_CHECK(partition_answer_decode(out, encoded, &again, &e) == 0);
    same(encoded, partition_answer_encode(&again, out_again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input in = {data, len};
    uint32_t kind = fuzz_take(&in, 1), body_bytes = fuzz_take(&in, 3);

    switch (kind % 4) {
    case 0:
        an_append(in.data, in.len, body_bytes);
        break;
    case 1:
        its_answer(in.data, in.len);
        break;
    case 2:
        a_request(in.data, in.len);
        break;
    default:
        an_answer(in.data, in.len);
    }
    return 0;
}
