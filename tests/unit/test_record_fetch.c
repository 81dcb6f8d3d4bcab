/* tests/unit/test_record_fetch.c: records that are fetched in pieces, by answers that the test makes up. */
#include "fs/consume/record_fetch.h"

#include "tests/unit/node_fixture.h"

/* A partition's log as it is in a leader epoch: one record, of which an answer brings so many bytes at most. */
struct told_log {
    const char *text;
    int32_t leader_epoch;
    int64_t timestamp_ms;
    size_t at_once;
};

static struct record_fetch fetch_of(struct fixture *f, bool json, int32_t leader_epoch)
{
    struct topic *topic = node_topic(f->node, "orders");
    struct record_fetch fetch = {.part = topic_partition(topic, 0),
                                 .json = json,
                                 .room = 4095,
                                 .max_records = 500,
                                 .placed = true,
                                 .leader_epoch = leader_epoch};
    topic_unref(topic); /* the node has one */
    return fetch;
}

/* What op asks of the log. */
static void answer(struct read_op *op, const struct told_log *log)
{
    int64_t end = (int64_t)strlen(log->text);
    op->high_watermark = (struct log_point){.offset = 1, .position = end};
    op->leader_epoch = log->leader_epoch;
    op->found = op->at < end;
    if (op->kind == FIND_EPOCH_END) {
        op->found = true;
        op->point.offset = 0; /* nothing that was read whole is lost */
    } else if (op->kind == READ_RUN) {
        op->run = (struct log_run){.len = (uint32_t)end, .records = 1, .timestamp_ms = log->timestamp_ms};
    } else {
        size_t len = (size_t)(end - op->at);
        assert_int_equal(op->kind, READ_BYTES);
        op->extent = (struct log_extent){.fd = -1, .position = op->at, .len = len < log->at_once ? len : log->at_once};
        op->bytes = (const uint8_t *)log->text + op->at;
    }
}

static const struct told_log before = {.text = "aaaaaaaa\n", .leader_epoch = 5, .timestamp_ms = 1000, .at_once = 4};
static const struct told_log after = {.text = "bbbbbbbb\n", .leader_epoch = 6, .timestamp_ms = 2000, .at_once = 4};

/* So many questions are answered by the log before, all others by the one that took its place. */
static void fetch_over(struct record_fetch *fetch, int answers_before)
{
    struct read_op op = {0};
    int over = 1;
    for (int asked = 0; record_fetch_go(fetch, &op, 0, &over) == ASKING_READ; asked++) {
        assert_in_range(asked, 0, 20);
        answer(&op, asked < answers_before ? &before : &after);
    }
    assert_int_equal(over, 0);
    assert_int_equal(fetch->count, 1);
    assert_int_equal(fetch->leader_epoch, 6);
}

/* Its first bytes are of a record that is lost: the power took it, or an unclean election, before it was whole here. */
static void a_record_is_torn_by_no_loss(struct fixture *f, int32_t leader_epoch)
{
    struct record_fetch fetch = fetch_of(f, false, leader_epoch);
    fetch_over(&fetch, 1);
    assert_int_equal(fetch.raw_len, 9);
    assert_memory_equal(record_fetch_bytes(&fetch), "bbbbbbbb\n", 9);
    record_fetch_free(&fetch);
}

static void of_a_known_epoch(void **state)
{
    create(*state, "orders");
    a_record_is_torn_by_no_loss(*state, 5);
}

/* That of an offset that somebody has set. */
static void of_an_epoch_that_is_not_known(void **state)
{
    create(*state, "orders");
    a_record_is_torn_by_no_loss(*state, -1);
}

/* The run with its timestamp, and more or less of its bytes. */
static void a_line_of_json_is_of_one_record(void **state)
{
    static const char want[] =
        "{\"partition\":0,\"offset\":0,\"timestamp\":2000,\"key\":null,\"value\":\"bbbbbbbb\"}\n";
    create(*state, "orders");
    for (int answers_before = 1; answers_before <= 2; answers_before++) {
        for (int32_t leader_epoch = -1; leader_epoch <= 5; leader_epoch += 6) {
            struct record_fetch fetch = fetch_of(*state, true, leader_epoch);
            fetch_over(&fetch, answers_before);
            assert_int_equal(fetch.records[0].len, strlen(want));
            assert_memory_equal(record_fetch_bytes(&fetch), want, strlen(want));
            record_fetch_free(&fetch);
        }
    }
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(of_a_known_epoch),
        STORY(of_an_epoch_that_is_not_known),
        STORY(a_line_of_json_is_of_one_record),
    };
    return cmocka_run_group_tests_name("record_fetch", tests, NULL, NULL);
}
