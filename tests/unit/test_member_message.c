/* tests/unit/test_member_message.c: what nodes and their controller say to each other survives the wire, and nothing
 * else is taken for it. */
#include "replication/metadata/member_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_largest_of_each_come_back(void **state)
{
    (void)state;
    uint8_t bytes[MEMBER_MESSAGE_BYTES];
    struct err e = {""};
    struct heartbeat_message beat = {UINT64_MAX, {0, INT64_MAX, INT64_MAX - 1, true, UINT64_MAX}}, beat_back;
    size_t len = heartbeat_encode(&beat, bytes);
    assert_int_equal(heartbeat_decode(bytes, len, &beat_back, &e), 0);
    assert_true(beat_back.number == UINT64_MAX && beat_back.beat.node_epoch == INT64_MAX);
    assert_true(beat_back.beat.applied_offset == INT64_MAX - 1 && beat_back.beat.wants_stop);
    assert_true(beat_back.beat.acted_count == UINT64_MAX);

    struct heartbeat_answer_message answer = {UINT64_MAX, {true, false, true}}, answer_back;
    len = heartbeat_answer_encode(&answer, bytes);
    assert_int_equal(heartbeat_answer_decode(bytes, len, &answer_back, &e), 0);
    assert_int_equal(answer_back.number, UINT64_MAX);
    assert_true(answer_back.answer.known && !answer_back.answer.fenced && answer_back.answer.may_stop);

    struct gone_message gone = {INT32_MAX, UINT64_MAX}, gone_back;
    len = gone_encode(&gone, bytes);
    assert_int_equal(gone_decode(bytes, len, &gone_back, &e), 0);
    assert_int_equal(gone_back.node, INT32_MAX);
    assert_true(gone_back.process == UINT64_MAX);
}

static void a_full_question_comes_back(void **state)
{
    (void)state;
    static uint8_t bytes[LAST_ISR_MESSAGE_BYTES];
    static struct last_isr_message msg, back;
    struct err e = {""};
    msg = (struct last_isr_message){.round = UINT64_MAX, .node_epoch = INT64_MAX, .count = LAST_ISR_PARTITIONS};
    for (int i = 0; i < LAST_ISR_PARTITIONS; i++) {
        memset(msg.found[i].topic_id, i, UUID_BYTES);
        msg.found[i].index = INT32_MAX - i;
        msg.found[i].epoch = i % 2 != 0 ? INT32_MAX : -1;
        msg.found[i].end_offset = i % 2 != 0 ? INT64_MAX : -1;
    }
    size_t len = last_isr_encode(&msg, bytes);
    assert_int_equal(last_isr_decode(bytes, len, &back, &e), 0);
    assert_true(back.round == msg.round && back.node_epoch == msg.node_epoch);
    assert_int_equal(back.count, LAST_ISR_PARTITIONS);
    for (int i = 0; i < LAST_ISR_PARTITIONS; i++) {
        assert_memory_equal(back.found[i].topic_id, msg.found[i].topic_id, UUID_BYTES);
        assert_int_equal(back.found[i].index, msg.found[i].index);
        assert_int_equal(back.found[i].epoch, msg.found[i].epoch);
        assert_true(back.found[i].end_offset == msg.found[i].end_offset);
    }
}

static void an_older_heartbeat_does_not_say_how_it_gets_on(void **state)
{
    (void)state;
    struct err e = {""};
    struct heartbeat_message beat;
    assert_int_equal(heartbeat_decode((const uint8_t *)"\x94\x01\x02\x03\xc3", 5, &beat, &e), 0);
    assert_true(beat.number == 1 && beat.beat.node_epoch == 2 && beat.beat.applied_offset == 3);
    assert_true(beat.beat.wants_stop && beat.beat.acted_count == 0);
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    struct err e = {""};
    struct heartbeat_message beat;
    struct gone_message gone;
    static struct last_isr_message msg;
    /* a node epoch of -1; a text; too short; more behind it */
    assert_int_equal(heartbeat_decode((const uint8_t *)"\x94\x01\xff\x00\xc2", 5, &beat, &e), -EBADMSG);
    assert_int_equal(heartbeat_decode((const uint8_t *)"\xa1x", 2, &beat, &e), -EBADMSG);
    assert_int_equal(heartbeat_decode((const uint8_t *)"\x93\x01\x01\x01", 4, &beat, &e), -EBADMSG);
    assert_int_equal(heartbeat_decode((const uint8_t *)"\x94\x01\x01\x01\xc2\x00", 6, &beat, &e), -EBADMSG);
    assert_int_equal(heartbeat_decode((const uint8_t *)"\x95\x01\x01\x01\xc2\xc2", 6, &beat, &e), -EBADMSG);
    assert_int_equal(heartbeat_decode((const uint8_t *)"\x96\x01\x01\x01\xc2\x00\x00", 7, &beat, &e),
                     0);                                                                    /* later ones */
    assert_int_equal(gone_decode((const uint8_t *)"\x92\x00\x01", 3, &gone, &e), -EBADMSG); /* there is no node 0 */
    /* 257 partitions, each an empty array */
    uint8_t many[8 + 257] = "\x93\x01\xff\xdc\x01\x01";
    memset(many + 6, 0x90, 257);
    assert_int_equal(last_isr_decode(many, 6 + 257, &msg, &e), -EBADMSG);
    /* one, whose id is of 15 bytes */
    assert_int_equal(last_isr_decode((const uint8_t *)"\x93\x01\xff\x91\x94\xc4\x0f"
                                                      "123456789012345\x00\x00\x00",
                                     7 + 15 + 3, &msg, &e),
                     -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_of_each_come_back),
        cmocka_unit_test(a_full_question_comes_back),
        cmocka_unit_test(an_older_heartbeat_does_not_say_how_it_gets_on),
        cmocka_unit_test(what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
