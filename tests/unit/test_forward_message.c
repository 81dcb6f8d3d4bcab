/* What a node asks a partition's leader to do, and the answers, as bytes. */
#include "replication/wire/forward_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/limits.h"

#define HEAD                                                                                                           \
    {                                                                                                                  \
        .number = UINT64_MAX, .topic_id = {1, 2, 3, 0xff}, .partition = 7, .leader_epoch = INT32_MAX                   \
    }

static struct append_request request_of(int32_t count)
{
    struct append_request request = {.head = HEAD, .node_epoch = INT64_MAX, .producer_id = 12, .count = count};

    for (int32_t i = 0; i < count; i++) {
        request.batches[i] = (struct append_request_batch){.sequence = INT32_MAX - i,
                                                           .gap = i == 0 ? UINT32_MAX : (uint32_t)i,
                                                           .records = 3,
                                                           .len = 1000,
                                                           .crc = 0xdeadbeef,
                                                           .first_timestamp_ms = INT64_MIN,
                                                           .last_timestamp_ms = INT64_MAX,
                                                           .framing = i % 2 == 0 ? FRAMING_LINE : FRAMING_MSGPACK,
                                                           .acks = i % 3 - 1,
                                                           .timeout_ms = INT64_MAX};
    }
    return request;
}

static void an_append_comes_back(void **state)
{
    uint8_t bytes[LIMIT_FORWARD_MESSAGE_BYTES];
    struct append_request request, back;
    struct err e = {0};
    size_t len;

    (void)state;
    for (int32_t count = 1; count <= LIMIT_FORWARD_BATCHES; count += LIMIT_FORWARD_BATCHES - 1) {
        request = request_of(count);
        len = append_request_encode(&request, bytes);
        memset(&back, 0, sizeof back);
        assert_int_equal(append_request_decode(bytes, len, 1000 * (size_t)count, &back, &e), 0);
        assert_memory_equal(&back, &request, sizeof back);
        assert_int_equal(append_request_decode(bytes, len, 1000 * (size_t)count - 1, &back, &e), -EBADMSG);
        for (size_t cut = 0; cut < len; cut += 7) {
            assert_int_equal(append_request_decode(bytes, cut, 1000 * (size_t)count, &back, &e), -EBADMSG);
        }
    }
}

static int decode(const struct append_request *request, size_t body_bytes)
{
    uint8_t bytes[LIMIT_FORWARD_MESSAGE_BYTES];
    struct append_request back;
    struct err e = {0};
    size_t len = append_request_encode(request, bytes);

    return append_request_decode(bytes, len, body_bytes, &back, &e);
}

static void an_append_that_cannot_be_is_refused(void **state)
{
    struct append_request request;

    (void)state;
#define REFUSED(change, body)                                                                                          \
    request = request_of(2);                                                                                           \
    change;                                                                                                            \
    assert_int_equal(decode(&request, body), -EBADMSG)
    REFUSED(request.head.number = 0, 2000);
    REFUSED(request.head.partition = -1, 2000);
    REFUSED(request.producer_id = -1, 2000);
    REFUSED(request.count = 0, 0);
    REFUSED(request.batches[1].len = 0, 1000);
    REFUSED(request.batches[1].len = LIMIT_BATCH_BYTES + 1, 1000 + (size_t)LIMIT_BATCH_BYTES + 1);
    REFUSED(request.batches[1].records = 0, 2000);
    REFUSED(request.batches[1].records = 1001, 2000);
    REFUSED(request.batches[1].sequence = -1, 2000);
    REFUSED(request.batches[1].acks = 2, 2000);
    REFUSED(request.batches[1].acks = -2, 2000);
    REFUSED(request.batches[1].framing = (enum framing)77, 2000);
    REFUSED(request.batches[1].timeout_ms = -1, 2000);
#undef REFUSED
}

static void answers_come_back(void **state)
{
    uint8_t bytes[LIMIT_FORWARD_MESSAGE_BYTES];
    static struct append_answer answer = {.head = HEAD, .count = LIMIT_FORWARD_BATCHES}, back;
    static struct partition_request request = {.head = HEAD, .epoch = -1, .upto = INT64_MAX}, request_back;
    static struct partition_answer done = {.head = HEAD, .rc = -ETIMEDOUT}, done_back;
    struct err e = {0};
    size_t len;

    (void)state;
    for (int i = 0; i < LIMIT_FORWARD_BATCHES; i++) {
        answer.batches[i] = (struct append_answer_batch){
            .sequence = INT32_MAX, .rc = -EROFS, .base = {INT64_MAX, INT64_MAX}, .end = {INT64_MAX, INT64_MAX}};
    }
    len = append_answer_encode(&answer, bytes);
    memset(&back, 0, sizeof back);
    assert_int_equal(append_answer_decode(bytes, len, &back, &e), 0);
    assert_memory_equal(&back, &answer, sizeof back);
    len = partition_request_encode(&request, bytes);
    memset(&request_back, 0, sizeof request_back);
    assert_int_equal(partition_request_decode(bytes, len, &request_back, &e), 0);
    assert_memory_equal(&request_back, &request, sizeof request_back);
    len = partition_answer_encode(&done, bytes);
    memset(&done_back, 0, sizeof done_back);
    assert_int_equal(partition_answer_decode(bytes, len, &done_back, &e), 0);
    assert_memory_equal(&done_back, &done, sizeof done_back);
}

static void what_does_not_travel_is_an_error_of_the_disk(void **state)
{
    (void)state;
    assert_int_equal(forward_errno_travels(0), 0);
    assert_int_equal(forward_errno_travels(-ENOSPC), -ENOSPC);
    assert_int_equal(forward_errno_travels(-EXDEV), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_comes_back),
        cmocka_unit_test(an_append_that_cannot_be_is_refused),
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(what_does_not_travel_is_an_error_of_the_disk),
    };

    return cmocka_run_group_tests_name("forward_message", tests, NULL, NULL);
}
