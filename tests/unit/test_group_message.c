/* What members' nodes and groups' coordinators say to each other survives the wire, and nothing else is taken for it;
 * the same of records of __consumer_offsets. */
#include "replication/wire/group_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replication/group/groups.h"
#include "replication/group/offsets_record.h"
#include "replication/wire/elements.h"

static void the_largest_request_comes_back(void **state)
{
    (void)state;
    struct group_entry entries[] = {{LIMIT_TOPIC_PARTITIONS - 1, INT32_MAX, INT64_MAX, true, INT32_MAX, true},
                                    {0, -1, 0, false, -1, false}};
    struct group_item item = {.kind = GROUP_ITEM_COMMIT,
                              .ticket = UINT64_MAX,
                              .index = LIMIT_OFFSETS_PARTITIONS - 1,
                              .number = UINT64_MAX,
                              .partition = LIMIT_TOPIC_PARTITIONS - 1,
                              .offset = INT64_MAX,
                              .pid = INT32_MAX,
                              .entries = entries,
                              .entry_count = 2},
                      back;
    struct elements_buffer body = {0};
    struct err e = {""};
    size_t used;
    memset(item.group, 'g', sizeof item.group - 1);
    memset(item.host, 'h', sizeof item.host - 1);
    memset(item.topic_id, 0xff, sizeof item.topic_id);
    group_item_encode(&item, &body);
    size_t first = body.len;
    group_item_encode(&item, &body); /* another one behind it */
    assert_int_equal(group_item_decode(body.bytes, body.len, &used, &back, &e), 0);
    assert_int_equal(used, first);
    assert_string_equal(back.group, item.group);
    assert_string_equal(back.host, item.host);
    assert_memory_equal(back.topic_id, item.topic_id, UUID_BYTES);
    assert_true(back.ticket == item.ticket && back.number == item.number && back.offset == item.offset);
    assert_int_equal(back.entry_count, 2);
    assert_true(back.entries[0].value == INT64_MAX && back.entries[0].release && !back.entries[1].release);
    assert_true(back.entries[0].leader_epoch == INT32_MAX && back.entries[0].lost && !back.entries[1].lost);
    assert_int_equal(back.entries[1].leader_epoch, -1);
    free(back.entries);
    assert_int_equal(group_item_decode(body.bytes, first - 1, &used, &back, &e), -EBADMSG);
    free(body.bytes);
}

/* Who is of an earlier build hears "later", and what that says is no full disk's. */
static void a_full_disk_is_later_to_who_does_not_know_it(void **state)
{
    (void)state;
    struct group_told told = {.outcome = GROUP_OUTCOME_FULL, .version = 3}, back;
    struct elements_buffer body = {0};
    struct err e = {""};
    size_t used;
    group_told_encode(&told, &body);
    assert_int_equal(group_told_decode(body.bytes, body.len, &used, &back, &e), 0);
    assert_int_equal(back.outcome, GROUP_OUTCOME_FULL);
    group_told_free(&back);
    assert_int_equal(body.bytes[0], 0x9c); /* an array of 12: here the last one goes */
    body.bytes[0] = 0x9b;
    assert_int_equal(group_told_decode(body.bytes, body.len - 1, &used, &back, &e), 0);
    assert_int_equal(back.outcome, GROUP_OUTCOME_LATER);
    group_told_free(&back);
    free(body.bytes);
}

static void an_answer_with_all_there_is_comes_back(void **state)
{
    (void)state;
    bool refused[] = {true, false};
    struct group_told_row row = {
        .group = "g", .partition = 3, .committed = -1, .owner = {1, 2, 3}, .pid = 4, .host = "h"};
    struct group_told_group group = {.group = "g", .phase = 2, .generation = 5, .members = 6};
    struct group_told_share share = {.partition = 7, .epoch = 8, .start = 9, .revoked = true, .leader_epoch = 10};
    struct group_told told = {.kind = GROUP_TOLD_SHARES,
                              .ticket = 1,
                              .index = 2,
                              .outcome = GROUP_OUTCOME_NONE,
                              .refused = refused,
                              .refused_count = 2,
                              .more = true,
                              .rows = &row,
                              .row_count = 1,
                              .groups = &group,
                              .group_count = 1,
                              .epoch = 3,
                              .version = 4,
                              .shares = &share,
                              .share_count = 1},
                      back;
    struct elements_buffer body = {0};
    struct err e = {""};
    size_t used;
    group_told_encode(&told, &body);
    assert_int_equal(group_told_decode(body.bytes, body.len, &used, &back, &e), 0);
    assert_int_equal(used, body.len);
    assert_true(back.more && back.refused[0] && !back.refused[1] && back.outcome == GROUP_OUTCOME_NONE);
    assert_true(back.rows[0].committed == -1 && back.rows[0].owner.number == 3);
    assert_int_equal(back.groups[0].members, 6);
    assert_true(back.shares[0].start == 9 && back.shares[0].revoked && back.shares[0].leader_epoch == 10);
    assert_true(back.epoch == 3 && back.version == 4);
    group_told_free(&back);
    free(body.bytes);
}

/* Entries of 4 elements, and a share of 4: leader epochs are not known. */
static void what_an_earlier_build_says_is_understood(void **state)
{
    (void)state;
    struct group_entry entry = {.key = 5, .epoch = 6, .value = 7, .leader_epoch = 8};
    struct group_item item = {.kind = GROUP_ITEM_COMMIT, .partition = -1, .entries = &entry, .entry_count = 1}, back;
    struct group_told_share share = {.partition = 7, .epoch = 8, .start = 9, .revoked = true, .leader_epoch = 10};
    struct group_told told = {.kind = GROUP_TOLD_SHARES, .shares = &share, .share_count = 1}, heard;
    struct elements_buffer body = {0};
    struct err e = {""};
    size_t used;
    group_item_encode(&item, &body);
    uint8_t *at = body.bytes + body.len - 7; /* 0x96 5 6 7 false 8 false */
    assert_int_equal(at[0], 0x96);
    at[0] = 0x94;
    assert_int_equal(group_item_decode(body.bytes, body.len - 2, &used, &back, &e), 0);
    assert_true(back.entries[0].value == 7 && back.entries[0].leader_epoch == -1 && !back.entries[0].lost);
    free(back.entries);
    body.len = 0;
    group_told_encode(&told, &body);
    at = body.bytes + body.len - 7; /* 0x95 7 8 9 true 10, and the last element of all */
    assert_int_equal(at[0], 0x95);
    at[0] = 0x94;
    at[5] = at[6];
    assert_int_equal(group_told_decode(body.bytes, body.len - 1, &used, &heard, &e), 0);
    assert_true(heard.shares[0].start == 9 && heard.shares[0].revoked && heard.shares[0].leader_epoch == -1);
    group_told_free(&heard);
    free(body.bytes);
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    struct group_item item = {.kind = GROUP_ITEM_JOIN, .index = LIMIT_OFFSETS_PARTITIONS}, back;
    struct group_told told;
    struct elements_buffer body = {0};
    struct err e = {""};
    size_t used;
    uint64_t process;
    group_item_encode(&item, &body); /* an index that there is not */
    assert_int_equal(group_item_decode(body.bytes, body.len, &used, &back, &e), -EBADMSG);
    assert_null(back.entries);
    free(body.bytes);
    body = (struct elements_buffer){0};
    struct group_told_group group = {.group = "g", .phase = GROUP_PHASES};
    told = (struct group_told){.groups = &group, .group_count = 1};
    group_told_encode(&told, &body); /* a state that there is not */
    assert_int_equal(group_told_decode(body.bytes, body.len, &used, &told, &e), -EBADMSG);
    free(body.bytes);
    assert_int_equal(group_item_decode((const uint8_t *)"\x93\x01\x02\x03", 4, &used, &back, &e), -EBADMSG);
    assert_int_equal(group_told_decode((const uint8_t *)"\xc0", 1, &used, &told, &e), -EBADMSG);
    assert_int_equal(group_head_decode((const uint8_t *)"\x91\xa1x", 3, &process, &e), -EBADMSG);
}

static void records_come_back(void **state)
{
    (void)state;
    for (int kind = OFFSETS_GROUP; kind <= OFFSETS_PARTITION; kind++) {
        for (int tombstone = 0; tombstone < 2; tombstone++) {
            struct offsets_record record = {.kind = (enum offsets_record_kind)kind, .tombstone = tombstone != 0}, back;
            struct elements_buffer bytes = {0};
            struct err e = {""};
            memset(record.group, 'g', sizeof record.group - 1);
            record.committed = GROUP_OFFSET_NONE;
            record.leader_epoch = -1;
            if (kind == OFFSETS_MEMBER || (kind == OFFSETS_PARTITION && tombstone == 0))
                record.member = (struct member_id){INT32_MAX, UINT64_MAX, UINT64_MAX};
            if (kind == OFFSETS_PARTITION) {
                record.partition = LIMIT_TOPIC_PARTITIONS - 1;
                memset(record.topic_id, 7, UUID_BYTES);
            }
            if (tombstone == 0) {
                memset(record.group_id, 8, UUID_BYTES);
                if (kind == OFFSETS_GROUP) {
                    record.generation = INT32_MAX;
                    record.empty_since_ms = INT64_MAX;
                }
                if (kind == OFFSETS_MEMBER) {
                    memset(record.topic_id, 9, UUID_BYTES);
                    memset(record.host, 'h', sizeof record.host - 1);
                    record.pid = INT32_MAX;
                    record.partitions = LIMIT_TOPIC_PARTITIONS;
                }
                if (kind == OFFSETS_PARTITION) {
                    record.committed = INT64_MAX;
                    record.commit_ms = INT64_MAX;
                    record.epoch = INT32_MAX;
                    record.leader_epoch = INT32_MAX;
                    record.reset = (struct member_id){INT32_MAX, UINT64_MAX, UINT64_MAX};
                }
            }
            offsets_record_encode(&record, &bytes);
            if (offsets_record_decode(bytes.bytes, bytes.len, &back, &e) != 0)
                fail_msg("kind %d, tombstone %d: %s", kind, tombstone, e.text);
            assert_memory_equal(&record, &back, sizeof record);
            free(bytes.bytes);
        }
    }
}

/* Java: "kitchen".hashCode() is -705112156, "" is 0, "a" is 97; Kafka takes it & 0x7fffffff, modulo 50. */
static void groups_go_where_kafka_puts_them(void **state)
{
    (void)state;
    assert_int_equal(group_index(""), 0);
    assert_int_equal(group_index("a"), 97 % 50);
    assert_int_equal(group_index("kitchen"), (int32_t)((uint32_t)-705112156 & 0x7fffffff) % 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_request_comes_back),
        cmocka_unit_test(a_full_disk_is_later_to_who_does_not_know_it),
        cmocka_unit_test(an_answer_with_all_there_is_comes_back),
        cmocka_unit_test(what_an_earlier_build_says_is_understood),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(groups_go_where_kafka_puts_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
