/* tests/fuzz/fuzz_replica_message.c: any bytes as what replicas say to each other: refused, or understood, and the same
 * when it is encoded and decoded again. The first byte says what they are taken for. */
#include <string.h>

#include "replication/wire/replica_message.h"
#include "tests/fuzz/fuzz.h"

static uint8_t out[REPLICA_MESSAGE_BYTES], batches[REPLICA_MESSAGE_BATCHES * REPLICA_BATCH_BYTES],
    answer_out[REPLICA_ANSWER_BYTES + REPLICA_MESSAGE_BATCHES * REPLICA_BATCH_BYTES];

static void fetch(const uint8_t *data, size_t len)
{
    static struct replica_fetch partitions[REPLICA_MESSAGE_PARTITIONS];
    struct replica_message msg;
    struct replica_fetch again;
    uint32_t count = 0;
    if (replica_fetch_decode(data, len, &msg, NULL) != 0)
        return;
    while (count < msg.count && replica_fetch_partition(&msg, count, &partitions[count], NULL) == 0)
        count++;
    struct replica_fetch_out whole = {msg.session, msg.node_epoch, partitions, count};
    replica_message_free(&msg);
    if (count == 0)
        return;
    size_t bytes = replica_fetch_encode(&whole, out);
    FUZZ_CHECK(bytes <= sizeof out && replica_fetch_decode(out, bytes, &msg, NULL) == 0);
    FUZZ_CHECK(msg.session == whole.session && msg.node_epoch == whole.node_epoch && msg.count == count);
    for (uint32_t i = 0; i < count; i++) {
        FUZZ_CHECK(replica_fetch_partition(&msg, i, &again, NULL) == 0);
        FUZZ_CHECK(again.end.offset == partitions[i].end.offset && again.end.position == partitions[i].end.position &&
                   again.key.round == partitions[i].key.round && again.last_epoch == partitions[i].last_epoch &&
                   again.credit == partitions[i].credit && again.full == partitions[i].full);
    }
    replica_message_free(&msg);
}

static void answer(const uint8_t *data, size_t len)
{
    struct replica_answer got, again;
    if (replica_answer_decode(data, len, &got, NULL) != 0)
        return;
    for (uint32_t i = 0; i < got.batch_count; i++) {
        struct replica_batch batch;
        if (replica_batch_decode(got.batches + (size_t)i * REPLICA_BATCH_BYTES, &batch) != 0)
            return;
        replica_batch_encode(&batch, batches + (size_t)i * REPLICA_BATCH_BYTES);
    }
    got.batches = batches;
    size_t bytes = replica_answer_encode(&got, answer_out);
    FUZZ_CHECK(bytes <= sizeof answer_out && replica_answer_decode(answer_out, bytes, &again, NULL) == 0);
    FUZZ_CHECK(again.session == got.session && again.point.offset == got.point.offset &&
               again.found_epoch == got.found_epoch && again.high_watermark.position == got.high_watermark.position &&
               again.start.offset == got.start.offset && again.batch_count == got.batch_count);
    FUZZ_CHECK(memcmp(again.batches, batches, (size_t)got.batch_count * REPLICA_BATCH_BYTES) == 0);
}

static void beat(const uint8_t *data, size_t len)
{
    static struct replica_mark marks[REPLICA_MESSAGE_PARTITIONS];
    struct replica_message msg;
    struct replica_mark again;
    uint32_t count = 0;
    if (replica_beat_decode(data, len, &msg, NULL) != 0)
        return;
    while (count < msg.count && replica_beat_mark(&msg, count, &marks[count], NULL) == 0)
        count++;
    uint64_t session = msg.session;
    bool from_leader = msg.from_leader;
    replica_message_free(&msg);
    size_t bytes = replica_beat_encode(session, from_leader, marks, count, out);
    FUZZ_CHECK(bytes <= sizeof out && replica_beat_decode(out, bytes, &msg, NULL) == 0);
    FUZZ_CHECK(msg.session == session && msg.from_leader == from_leader && msg.count == count);
    for (uint32_t i = 0; i < count; i++) {
        FUZZ_CHECK(replica_beat_mark(&msg, i, &again, NULL) == 0 &&
                   again.high_watermark.offset == marks[i].high_watermark.offset &&
                   again.start.position == marks[i].start.position);
    }
    replica_message_free(&msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        fetch(data + 1, len - 1);
        break;
    case 1:
        answer(data + 1, len - 1);
        break;
    default:
        beat(data + 1, len - 1);
        break;
    }
    return 0;
}
