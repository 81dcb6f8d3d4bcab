/* Messages of the quorum as bytes. */
#include "replication/wire/raft_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct raft_message of_type(enum raft_message_type type)
{
    return (struct raft_message){
        .type = type, .from = {3, 0xfedcba9876543210u}, .to = {2, 7}, .epoch = 5, .leader = {1, UINT64_MAX}};
}

static void assert_comes_back(const struct raft_message *msg)
{
    uint8_t bytes[LIMIT_RAFT_MESSAGE_BYTES];
    struct raft_message back;
    struct err e = {0};
    size_t len = raft_message_encode(msg, bytes);
    memset(&back, 0xff, sizeof back);
    if (raft_message_decode(bytes, len, &back, &e) != 0)
        fail_msg("%s: %s", raft_message_type_name(msg->type), e.text);
    assert_memory_equal(&back, msg, sizeof back);
    /* Cut anywhere it is none. */
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(raft_message_decode(bytes, cut, &back, &e), -EBADMSG);
}

static void test_each_message_comes_back(void **state)
{
    (void)state;
    for (int type = 0; type < RAFT_MESSAGE_TYPES; type++) {
        struct raft_message msg = of_type((enum raft_message_type)type);
        assert_comes_back(&msg);
    }
    struct raft_message msg = of_type(RAFT_VOTE);
    msg.vote.pre = true;
    msg.vote.round = UINT32_MAX;
    msg.vote.end_epoch = -1;
    msg.vote.end_offset = INT64_MAX;
    assert_comes_back(&msg);
    msg = of_type(RAFT_VOTE_ANSWER);
    msg.leader = (struct raft_id){0};
    msg.vote_answer.granted = true;
    msg.vote_answer.round = 9;
    assert_comes_back(&msg);
    msg = of_type(RAFT_END);
    msg.end.count = 3;
    memcpy(msg.end.successors, (int32_t[]){3, 1, 2}, 3 * sizeof(int32_t));
    assert_comes_back(&msg);
    msg = of_type(RAFT_FETCH);
    msg.fetch.offset = 1LL << 40;
    msg.fetch.flushed = 17;
    msg.fetch.high_watermark = 3;
    msg.fetch.last_epoch = 4;
    msg.fetch.session = UINT64_MAX;
    msg.fetch.heard = 1ULL << 50;
    assert_comes_back(&msg);
    msg = of_type(RAFT_FETCH_ANSWER);
    msg.fetch_answer.outcome = RAFT_FETCH_DIVERGING;
    msg.fetch_answer.end_epoch = 4;
    msg.fetch_answer.end_offset = 88;
    msg.fetch_answer.session = 1ULL << 63;
    msg.fetch_answer.offset = 1LL << 41;
    msg.fetch_answer.sent = 1ULL << 51;
    assert_comes_back(&msg);
}

/* As they were before leaders said when they sent an answer. */
static void test_fetches_of_older_builds_are_taken(void **state)
{
    (void)state;
    uint8_t bytes[LIMIT_RAFT_MESSAGE_BYTES];
    struct raft_message msg = of_type(RAFT_FETCH), back;
    struct err e;
    msg.fetch.session = 5;
    size_t len = raft_message_encode(&msg, bytes);
    assert_int_equal(bytes[0], 0x9e); /* an array of 14, the last of which is one byte, 0 */
    bytes[0] = 0x9d;
    assert_int_equal(raft_message_decode(bytes, len - 1, &back, &e), 0);
    assert_int_equal(back.fetch.session, 5);
    assert_true(back.fetch.heard == RAFT_HEARD_UNSAID);
    msg = of_type(RAFT_FETCH_ANSWER);
    msg.fetch_answer.offset = 7;
    len = raft_message_encode(&msg, bytes);
    assert_int_equal(bytes[0], 0x9f);
    bytes[0] = 0x9e;
    assert_int_equal(raft_message_decode(bytes, len - 1, &back, &e), 0);
    assert_int_equal(back.fetch_answer.offset, 7);
    assert_int_equal(back.fetch_answer.sent, 0);
}

static void test_the_longest_lists_fit(void **state)
{
    (void)state;
    struct raft_message msg = of_type(RAFT_FIND_ANSWER);
    msg.to.incarnation = UINT64_MAX;
    msg.epoch = RAFT_EPOCH_MAX;
    msg.find_answer.run = UINT32_MAX;
    msg.find_answer.empty = true;
    msg.find_answer.peers.count = LIMIT_NODES;
    for (int32_t i = 0; i < LIMIT_NODES; i++)
        msg.find_answer.peers.nodes[i] = INT32_MAX - LIMIT_NODES + i;
    assert_comes_back(&msg);
}

static void test_further_elements_of_later_versions_are_passed_over(void **state)
{
    (void)state;
    uint8_t bytes[LIMIT_RAFT_MESSAGE_BYTES];
    struct raft_message msg = of_type(RAFT_BEGIN), back;
    struct err e;
    size_t len = raft_message_encode(&msg, bytes);
    assert_int_equal(bytes[0], 0x98); /* an array of 8 */
    bytes[0] = 0x99;
    bytes[len] = 0xc0;
    assert_int_equal(raft_message_decode(bytes, len + 1, &back, &e), 0);
    assert_memory_equal(&back, &msg, sizeof back);
}

static void test_what_is_no_message(void **state)
{
    (void)state;
    static const struct {
        const char *what, *bytes;
        size_t len;
    } cases[] = {
        {"a map", "\x80", 1},
        {"too few elements", "\x97\x02\x03\x09\x02\x07\x05\x00", 8},
        {"an unknown type", "\x98\x0a\x03\x09\x02\x07\x05\x00\x00", 9},
        {"a type that is text", "\x98\xa1v\x03\x09\x02\x07\x05\x00\x00", 10},
        {"from nobody", "\x98\x02\x00\x00\x02\x07\x05\x00\x00", 9},
        {"from no incarnation", "\x98\x02\x03\x00\x02\x07\x05\x00\x00", 9},
        {"to nobody", "\x98\x02\x03\x09\x00\x00\x05\x00\x00", 9},
        {"a negative epoch", "\x98\x02\x03\x09\x02\x07\xff\x00\x00", 9},
        {"an epoch that cannot be raised", "\x98\x02\x03\x09\x02\x07\xce\x7f\xff\xff\xff\x00\x00", 13},
        {"an incarnation of nobody", "\x98\x02\x03\x09\x02\x07\x05\x00\x01", 9},
        {"an unknown outcome", "\x9c\x07\x03\x09\x02\x07\x05\x00\x00\x04\x00\x00\x00", 13},
        {"six successors", "\x99\x04\x03\x09\x02\x07\x05\x00\x00\x96\x01\x02\x03\x04\x05\x06", 16},
        {"peers that do not rise", "\x9a\x08\x03\x09\x02\x07\x05\x00\x00\x01\x92\x02\x02", 13},
        {"more behind it", "\x98\x02\x03\x09\x02\x07\x05\x00\x00\x00", 10},
        {"an array that claims to be long", "\xdd\xff\xff\xff\xff\x02\x03\x09\x02\x07\x05\x00\x00", 13},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct raft_message msg;
        struct err e = {0};
        if (raft_message_decode((const uint8_t *)cases[i].bytes, cases[i].len, &msg, &e) != -EBADMSG ||
            e.text[0] == '\0')
            fail_msg("%s was taken", cases[i].what);
    }
    struct raft_message msg;
    struct err e = {0};
    static const uint8_t zeros[LIMIT_RAFT_MESSAGE_BYTES + 1];
    assert_int_equal(raft_message_decode(zeros, sizeof zeros, &msg, &e), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_message_comes_back),
        cmocka_unit_test(test_fetches_of_older_builds_are_taken),
        cmocka_unit_test(test_the_longest_lists_fit),
        cmocka_unit_test(test_further_elements_of_later_versions_are_passed_over),
        cmocka_unit_test(test_what_is_no_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
