/* tests/fuzz/fuzz_member_message.c: any bytes as a message between a node and its controller: the first byte chooses
 * which. Refused, or understood, and the same when it is encoded and decoded again. */
#include <errno.h>
#include <string.h>

#include "replication/metadata/member_message.h"
#include "tests/fuzz/fuzz.h"

static void beats(const uint8_t *data, size_t len)
{
    struct heartbeat_message msg, again;
    struct err e = {""};
    uint8_t bytes[MEMBER_MESSAGE_BYTES];
    if (heartbeat_decode(data, len, &msg, &e) != 0)
        return;
    FUZZ_CHECK(msg.beat.node_epoch >= 0 && msg.beat.applied_offset >= 0);
    FUZZ_CHECK(heartbeat_decode(bytes, heartbeat_encode(&msg, bytes), &again, &e) == 0);
    FUZZ_CHECK(again.number == msg.number && again.beat.node_epoch == msg.beat.node_epoch &&
               again.beat.applied_offset == msg.beat.applied_offset && again.beat.wants_stop == msg.beat.wants_stop);
}

static void answers(const uint8_t *data, size_t len)
{
    struct heartbeat_answer_message msg, again;
    struct err e = {""};
    uint8_t bytes[MEMBER_MESSAGE_BYTES];
    if (heartbeat_answer_decode(data, len, &msg, &e) != 0)
        return;
    FUZZ_CHECK(heartbeat_answer_decode(bytes, heartbeat_answer_encode(&msg, bytes), &again, &e) == 0);
    FUZZ_CHECK(again.number == msg.number && again.answer.known == msg.answer.known &&
               again.answer.fenced == msg.answer.fenced && again.answer.may_stop == msg.answer.may_stop);
}

static void ends(const uint8_t *data, size_t len)
{
    struct gone_message msg, again;
    struct err e = {""};
    uint8_t bytes[MEMBER_MESSAGE_BYTES];
    if (gone_decode(data, len, &msg, &e) != 0)
        return;
    FUZZ_CHECK(msg.node >= 1);
    FUZZ_CHECK(gone_decode(bytes, gone_encode(&msg, bytes), &again, &e) == 0);
    FUZZ_CHECK(again.node == msg.node && again.process == msg.process);
}

static void last_isrs(const uint8_t *data, size_t len)
{
    static struct last_isr_message msg, again;
    static uint8_t bytes[LAST_ISR_MESSAGE_BYTES];
    struct err e = {""};
    if (last_isr_decode(data, len, &msg, &e) != 0)
        return;
    FUZZ_CHECK(msg.count >= 0 && msg.count <= LAST_ISR_PARTITIONS);
    FUZZ_CHECK(last_isr_decode(bytes, last_isr_encode(&msg, bytes), &again, &e) == 0);
    FUZZ_CHECK(again.round == msg.round && again.node_epoch == msg.node_epoch && again.count == msg.count);
    for (int32_t i = 0; i < msg.count; i++) {
        FUZZ_CHECK(memcmp(again.found[i].topic_id, msg.found[i].topic_id, UUID_BYTES) == 0 &&
                   again.found[i].index == msg.found[i].index && again.found[i].epoch == msg.found[i].epoch &&
                   again.found[i].end_offset == msg.found[i].end_offset);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(const uint8_t *, size_t) = {beats, answers, ends, last_isrs};
    if (size > 0)
        kinds[data[0] % 4](data + 1, size - 1);
    return 0;
}
