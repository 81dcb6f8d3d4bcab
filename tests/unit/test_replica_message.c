/* What replicas say to each other, as bytes: there and back, and what is refused. */
#include "replication/wire/replica_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct replica_key key = {.topic_id = {1, 2, 3}, .index = 7, .leader_epoch = 4, .round = 1ull << 62};

static void test_a_fetch_there_and_back(void **state)
{
    (void)state;
    static uint8_t bytes[REPLICA_MESSAGE_BYTES];
    static struct replica_fetch partitions[REPLICA_MESSAGE_PARTITIONS];
    struct replica_fetch_out out = {
        .session = UINT64_MAX, .node_epoch = INT64_MAX, .partitions = partitions, .count = REPLICA_MESSAGE_PARTITIONS};
    for (int i = 0; i < REPLICA_MESSAGE_PARTITIONS; i++) {
        partitions[i] = (struct replica_fetch){.key = key,
                                               .end = {INT64_MAX - 1, INT64_MAX},
                                               .last_epoch = i == 0 ? -1 : INT32_MAX,
                                               .flushed = INT64_MAX,
                                               .start = i,
                                               .high_watermark = INT64_MAX,
                                               .credit = UINT32_MAX,
                                               .full = i % 2 == 1};
    }
    size_t len = replica_fetch_encode(&out, bytes);
    assert_true(len <= sizeof bytes);
    struct replica_message msg;
    assert_int_equal(replica_fetch_decode(bytes, len, &msg, NULL), 0);
    assert_true(msg.session == UINT64_MAX && msg.node_epoch == INT64_MAX);
    assert_int_equal(msg.count, REPLICA_MESSAGE_PARTITIONS);
    for (uint32_t i = 0; i < msg.count; i++) {
        struct replica_fetch got;
        assert_int_equal(replica_fetch_partition(&msg, i, &got, NULL), 0);
        assert_memory_equal(got.key.topic_id, key.topic_id, UUID_BYTES);
        assert_true(got.key.round == key.round && got.key.index == 7 && got.key.leader_epoch == 4);
        assert_true(got.end.offset == INT64_MAX - 1 && got.end.position == INT64_MAX);
        assert_int_equal(got.last_epoch, i == 0 ? -1 : INT32_MAX);
        assert_int_equal(got.start, i);
        assert_int_equal(got.full, i % 2 == 1);
        assert_true(got.credit == UINT32_MAX && got.flushed == INT64_MAX && got.high_watermark == INT64_MAX);
    }
    replica_message_free(&msg);
}

static void test_records_there_and_back(void **state)
{
    (void)state;
    uint8_t batches[2 * REPLICA_BATCH_BYTES], bytes[REPLICA_ANSWER_BYTES + sizeof batches];
    struct replica_batch sent = {
        .base = {5, 50}, .entry = {.offset = 9, .position = 9, .place = 9, .len = 12, .records = 3, .leader_epoch = 4}};
    replica_batch_encode(&sent, batches);
    sent.base = (struct log_point){8, 62};
    replica_batch_encode(&sent, batches + REPLICA_BATCH_BYTES);
    struct replica_answer answer = {.session = 70,
                                    .key = key,
                                    .point = {5, 50},
                                    .found_epoch = -1,
                                    .high_watermark = {4, 40},
                                    .start = {1, 10},
                                    .batch_count = 2,
                                    .batches = batches},
                          got;
    size_t len = replica_answer_encode(&answer, bytes);
    assert_int_equal(replica_answer_decode(bytes, len, &got, NULL), 0);
    assert_int_equal(got.batch_count, 2);
    assert_int_equal(got.point.position, 50);
    assert_int_equal(got.found_epoch, -1);
    assert_int_equal(got.high_watermark.offset, 4);
    assert_int_equal(got.start.position, 10);
    struct replica_batch second;
    assert_int_equal(replica_batch_decode(got.batches + REPLICA_BATCH_BYTES, &second), 0);
    assert_int_equal(second.base.position, 62);
    assert_int_equal(second.entry.records, 3);
    assert_int_equal(second.entry.place, 0); /* of another file */
    batches[20] ^= 1;
    assert_int_equal(replica_batch_decode(batches, &second), -EBADMSG);
}

static void test_a_beat_there_and_back(void **state)
{
    (void)state;
    static uint8_t bytes[REPLICA_MESSAGE_BYTES];
    struct replica_mark mark = {.key = key, .high_watermark = {6, 60}, .start = {2, 20}}, got;
    struct replica_message msg;
    size_t len = replica_beat_encode(70, true, &mark, 1, bytes);
    assert_int_equal(replica_beat_decode(bytes, len, &msg, NULL), 0);
    assert_true(msg.from_leader && msg.session == 70 && msg.count == 1);
    assert_int_equal(replica_beat_mark(&msg, 0, &got, NULL), 0);
    assert_int_equal(got.high_watermark.position, 60);
    assert_int_equal(got.start.offset, 2);
    replica_message_free(&msg);
    assert_true(replica_beat_encode(70, false, NULL, 0, bytes) < 64);
}

/* Each byte cut off, and each byte changed: refused, or understood as something else, and never more than that. */
static void test_what_is_cut_is_refused(void **state)
{
    (void)state;
    static uint8_t bytes[REPLICA_MESSAGE_BYTES];
    struct replica_fetch partition = {.key = key, .end = {5, 50}, .last_epoch = 3};
    struct replica_fetch_out out = {.session = 7, .node_epoch = 1, .partitions = &partition, .count = 1};
    struct replica_message msg;
    struct replica_answer answer = {.session = 7, .key = key}, got;
    size_t len = replica_fetch_encode(&out, bytes);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(replica_fetch_decode(bytes, cut, &msg, NULL), -EBADMSG);
    len = replica_answer_encode(&answer, bytes);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(replica_answer_decode(bytes, cut, &got, NULL), -EBADMSG);
    assert_int_equal(replica_fetch_decode(bytes, len, &msg, NULL), -EBADMSG); /* an answer is no fetch */
}

static void test_numbers_below_their_range_are_refused(void **state)
{
    (void)state;
    static uint8_t bytes[REPLICA_MESSAGE_BYTES];
    static const struct replica_fetch bad[] = {
        {.key = {.leader_epoch = -1}},
        {.key = {.index = -1}},
        {.end = {-1, 0}},
        {.end = {5, 4}}, /* of each record there is at least a byte */
        {.last_epoch = -2},
        {.flushed = -1},
        {.start = -1},
        {.high_watermark = -1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct replica_fetch partition = bad[i], got;
        struct replica_fetch_out out = {.session = 7, .node_epoch = 1, .partitions = &partition, .count = 1};
        struct replica_message msg;
        size_t len = replica_fetch_encode(&out, bytes);
        assert_int_equal(replica_fetch_decode(bytes, len, &msg, NULL), 0);
        assert_int_equal(replica_fetch_partition(&msg, 0, &got, NULL), -EBADMSG);
        replica_message_free(&msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fetch_there_and_back),
        cmocka_unit_test(test_records_there_and_back),
        cmocka_unit_test(test_a_beat_there_and_back),
        cmocka_unit_test(test_what_is_cut_is_refused),
        cmocka_unit_test(test_numbers_below_their_range_are_refused),
    };
    return cmocka_run_group_tests_name("replica_message", tests, NULL, NULL);
}
