/* A peer that sends more than this node comes to work on: each kind of message, small ones and large ones, while none
 * of the rooms has a turn, as where a disk stands still. The memory that it takes is bounded, nothing that may not be
 * lost is, and when the rooms work again all of it is given back and what is asked is answered. */
#include "tests/unit/two_nodes.h"

#include <malloc.h>

#include "replication/metadata/member_message.h"
#include "replication/wire/command_message.h"
#include "replication/wire/elements.h"
#include "replication/wire/forward_message.h"
#include "replication/wire/group_message.h"
#include "replication/wire/raft_message.h"
#include "replication/wire/read_message.h"
#include "replication/wire/replica_message.h"
#include "replication/wire/snapshot_message.h"
#include "replication/wire/voters_message.h"

enum {
    FLOOD = 200000,              /* frames, more than any room has place for */
    LARGE = 200,                 /* large ones, likewise */
    LARGE_BYTES = 1 << 20,       /* each */
    SMALL_MOST_BYTES = 16 << 20, /* memory that small ones may take */
    LARGE_MOST_BYTES = 36 << 20, /* memory that large ones may take: 32 MiB, one more, and what goes with them */
    LEFT_MOST_BYTES = 4 << 20,   /* of tables that have grown, when all is done */
    HEADER_BYTES = 32 << 10,
};

/* A kind, where it belongs, and the kind of its answer; 0: it has none. */
static const struct kind {
    enum message_kind kind;
    enum channel channel;
    enum message_kind answer;
    bool each; /* each one that comes has an answer */
} kinds[] = {
    {MESSAGE_RAFT, CHANNEL_CONTROL, 0, false},
    {MESSAGE_SNAPSHOT_FETCH, CHANNEL_RECORDS, MESSAGE_SNAPSHOT_ANSWER, false},
    {MESSAGE_SNAPSHOT_ANSWER, CHANNEL_RECORDS, 0, false},
    {MESSAGE_COMMAND, CHANNEL_CONTROL, 0, false},
    {MESSAGE_COMMAND_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_CHANGE_VOTERS, CHANNEL_CONTROL, MESSAGE_CHANGE_VOTERS_ANSWER, false},
    {MESSAGE_CHANGE_VOTERS_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_HEARTBEAT, CHANNEL_CONTROL, MESSAGE_HEARTBEAT_ANSWER, false},
    {MESSAGE_HEARTBEAT_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_GONE, CHANNEL_CONTROL, 0, false},
    {MESSAGE_LAST_ISR, CHANNEL_CONTROL, 0, false},
    {MESSAGE_LAST_ISR_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_FETCH, CHANNEL_RECORDS, 0, false},
    {MESSAGE_RECORDS, CHANNEL_RECORDS, 0, false},
    {MESSAGE_DIVERGING, CHANNEL_RECORDS, 0, false},
    {MESSAGE_FENCED, CHANNEL_RECORDS, 0, false},
    {MESSAGE_RESET, CHANNEL_RECORDS, 0, false},
    {MESSAGE_BEAT, CHANNEL_RECORDS, 0, false},
    {MESSAGE_APPEND, CHANNEL_RECORDS, MESSAGE_APPEND_ANSWER, true},
    {MESSAGE_APPEND_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_FLUSH, CHANNEL_CONTROL, MESSAGE_FLUSH_ANSWER, true},
    {MESSAGE_FLUSH_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_DELETE_RECORDS, CHANNEL_CONTROL, MESSAGE_DELETE_RECORDS_ANSWER, true},
    {MESSAGE_DELETE_RECORDS_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_FLUSH_INSYNC, CHANNEL_CONTROL, MESSAGE_FLUSH_INSYNC_ANSWER, true},
    {MESSAGE_FLUSH_INSYNC_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_SHOWN, CHANNEL_CONTROL, MESSAGE_SHOWN_ANSWER, false},
    {MESSAGE_SHOWN_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_SEAL, CHANNEL_CONTROL, MESSAGE_SEAL_ANSWER, true},
    {MESSAGE_SEAL_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_READ, CHANNEL_CONTROL, MESSAGE_READ_ANSWER, false},
    {MESSAGE_READ_ANSWER, CHANNEL_RECORDS, 0, false},
    {MESSAGE_LOOKUP, CHANNEL_CONTROL, MESSAGE_LOOKUP_ANSWER, false},
    {MESSAGE_LOOKUP_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_STAT, CHANNEL_CONTROL, MESSAGE_STAT_ANSWER, false},
    {MESSAGE_STAT_ANSWER, CHANNEL_CONTROL, 0, false},
    {MESSAGE_GROUP_REQUEST, CHANNEL_CONTROL, 0, false},
    {MESSAGE_GROUP_ANSWER, CHANNEL_CONTROL, 0, false},
};

/* ---- what node 1 says ---- */

static long said[MESSAGE_KINDS];

static int count_sent(struct transport *transport, int32_t node, enum channel channel, const struct frame_out *out)
{
    (void)transport, (void)channel;
    assert_int_equal(node, 2);
    said[out->kind]++;
    return 0;
}

/* What is no message of its kind. */
static void drop_nothing(struct transport *transport, int32_t node)
{
    (void)transport, (void)node;
}

static void keep_silent(int level, const char *line)
{
    (void)level, (void)line;
}

/* ---- what node 2 says ---- */

static uint8_t header[HEADER_BYTES];
static uint8_t *body;

static size_t quorum_header(int kind)
{
    const struct raft_message raft = {.type = RAFT_BEGIN_ANSWER, .from = {2, 7}, .to = {1, 0}, .epoch = 1};
    const struct snapshot_message snapshot = {.session = 1, .offset = 5, .epoch = 1, .size = -1};
    const struct command_request command = {.number = 7, .epoch = 99};
    const struct command_answer command_answer = {.number = 7, .epoch = 99, .outcome = COMMAND_NOT_TAKEN};
    const struct voters_request voters = {.number = 7, .epoch = 99, .nodes = {.count = 1, .nodes = {1}}};
    const struct voters_answer voters_answer = {.number = 7, .outcome = VOTERS_NOT_TAKEN};

    switch (kind) {
    case MESSAGE_RAFT:
        return raft_message_encode(&raft, header);
    case MESSAGE_COMMAND:
        return command_request_encode(&command, header);
    case MESSAGE_COMMAND_ANSWER:
        return command_answer_encode(&command_answer, header);
    case MESSAGE_CHANGE_VOTERS:
        return voters_request_encode(&voters, header);
    case MESSAGE_CHANGE_VOTERS_ANSWER:
        return voters_answer_encode(&voters_answer, header);
    default:
        return snapshot_message_encode(&snapshot, header);
    }
}

static size_t member_header(int kind)
{
    const struct heartbeat_message beat = {.number = 7, .beat = {.node_epoch = 3}};
    const struct heartbeat_answer_message answer = {.number = 7};
    const struct gone_message gone = {.node = 3, .process = 9};
    static const struct last_isr_message last_isr = {.round = 7, .node_epoch = -1, .count = 1};

    switch (kind) {
    case MESSAGE_HEARTBEAT:
        return heartbeat_encode(&beat, header);
    case MESSAGE_HEARTBEAT_ANSWER:
        return heartbeat_answer_encode(&answer, header);
    case MESSAGE_GONE:
        return gone_encode(&gone, header);
    default:
        return last_isr_encode(&last_isr, header);
    }
}

static size_t replica_header(int kind, const uint8_t *topic_id)
{
    struct replica_fetch one = {.key = {.leader_epoch = 5, .round = 1}, .last_epoch = -1};
    struct replica_fetch_out fetch = {.session = 7, .node_epoch = 1, .partitions = &one, .count = 1};
    struct replica_answer answer = {.session = 7, .key = one.key, .found_epoch = -1};

    memcpy(one.key.topic_id, topic_id, UUID_BYTES);
    if (kind == MESSAGE_FETCH) {
        return replica_fetch_encode(&fetch, header);
    }
    return kind == MESSAGE_BEAT ? replica_beat_encode(7, true, NULL, 0, header)
                                : replica_answer_encode(&answer, header);
}

/* One line, again and again: to the log it is one, and those behind it are that one once more. */
static size_t append_header(const struct forward_head *head, size_t body_bytes)
{
    struct append_request request = {.head = *head, .node_epoch = -1, .producer_id = 102, .count = 1};

    request.batches[0] = (struct append_request_batch){.sequence = 0,
                                                       .gap = UINT32_MAX,
                                                       .records = 1,
                                                       .len = (uint32_t)body_bytes,
                                                       .crc = crc32c(0, body, body_bytes),
                                                       .first_timestamp_ms = 1764201600000,
                                                       .last_timestamp_ms = 1764201600000,
                                                       .framing = FRAMING_LINE,
                                                       .acks = -1,
                                                       .timeout_ms = 120000};
    return append_request_encode(&request, header);
}

static size_t forward_header(int kind, const uint8_t *topic_id, size_t body_bytes)
{
    struct forward_head head = {.number = 7, .leader_epoch = 5};
    struct append_answer append_answer = {.count = 1};
    struct partition_request request = {.epoch = -1};
    struct partition_answer answer = {.rc = -EREMOTE, .from = SHOWN_FROM_NOTHING};

    memcpy(head.topic_id, topic_id, UUID_BYTES);
    append_answer.head = request.head = answer.head = head;
    switch (kind) {
    case MESSAGE_APPEND:
        return append_header(&head, body_bytes);
    case MESSAGE_APPEND_ANSWER:
        return append_answer_encode(&append_answer, header);
    case MESSAGE_FLUSH:
    case MESSAGE_DELETE_RECORDS:
    case MESSAGE_FLUSH_INSYNC:
    case MESSAGE_SHOWN:
    case MESSAGE_SEAL:
        return partition_request_encode(&request, header);
    default:
        return partition_answer_encode(&answer, header);
    }
}

static size_t read_header(int kind, const uint8_t *topic_id)
{
    struct read_head head = {.number = 7};
    struct read_request read = {.max = 16};
    struct lookup_request lookup = {.kind = LOOKUP_END, .epoch = -1};
    struct stat_request stat = {.known = -1};
    struct lookup_answer lookup_answer = {.epochs = {-1, -1}, .epoch_end = -1};
    struct stat_answer stat_answer = {.epochs = {-1, -1}};
    static struct read_answer read_answer;

    memcpy(head.topic_id, topic_id, UUID_BYTES);
    read.head = lookup.head = stat.head = lookup_answer.head = stat_answer.head = read_answer.head = head;
    switch (kind) {
    case MESSAGE_READ:
        return read_request_encode(&read, header);
    case MESSAGE_READ_ANSWER:
        return read_answer_encode(&read_answer, header);
    case MESSAGE_LOOKUP:
        return lookup_request_encode(&lookup, header);
    case MESSAGE_LOOKUP_ANSWER:
        return lookup_answer_encode(&lookup_answer, header);
    case MESSAGE_STAT:
        return stat_request_encode(&stat, header);
    default:
        return stat_answer_encode(&stat_answer, header);
    }
}

static size_t make_header(int kind, const uint8_t *topic_id, size_t body_bytes)
{
    if (kind < MESSAGE_HEARTBEAT) {
        return quorum_header(kind);
    }
    if (kind < MESSAGE_FETCH) {
        return member_header(kind);
    }
    if (kind < MESSAGE_APPEND) {
        return replica_header(kind, topic_id);
    }
    if (kind < MESSAGE_READ) {
        return forward_header(kind, topic_id, body_bytes);
    }
    return kind < MESSAGE_GROUP_REQUEST ? read_header(kind, topic_id) : group_head_encode(7, header);
}

static void say(struct node *node, const struct kind *what, size_t header_bytes, size_t body_bytes)
{
    struct transport_events events = network_events(&node->network);
    struct frame *frame = malloc(sizeof *frame + header_bytes + body_bytes);

    assert_non_null(frame);
    *frame = (struct frame){.kind = (uint8_t)what->kind,
                            .header_bytes = (uint32_t)header_bytes,
                            .body_bytes = (uint32_t)body_bytes,
                            .header = (uint8_t *)(frame + 1)};
    frame->body = frame->header + header_bytes;
    memcpy(frame->header, header, header_bytes);
    if (what->kind == MESSAGE_APPEND) { /* else it has no meaning, and its pages need not be there */
        memcpy(frame->body, body, body_bytes);
    }
    events.frame(events.arg, 2, what->channel, frame);
}

/* ---- the story ---- */

/* Nothing, of a build with a sanitizer's malloc. */
static size_t memory_used(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static size_t memory_since(size_t before)
{
    size_t now = memory_used();

    return now > before ? now - before : 0;
}

static void work_on_all(struct pair *pair)
{
    while (hand_step(&pair->ends[1].hand)) {
    }
}

static void must_be_empty(struct node *node, const struct kind *what)
{
    struct transport_events events = network_events(&node->network);

    for (int name = 0; name < ACCOUNTS; name++) {
        const struct account *account = network_account(&node->network, 2, (enum account_name)name);

        if (account->count != 0 || account->bytes != 0) {
            fail_msg("kind %d: %u of account %d were not given back", what->kind, account->count, name);
        }
    }
    assert_false(events.full(events.arg, 2, CHANNEL_CONTROL));
    assert_false(events.full(events.arg, 2, CHANNEL_RECORDS));
}

static void flood_with(struct pair *pair, const struct kind *what, int frames, size_t body_bytes, size_t most)
{
    struct node *node = pair->ends[1].f.node;
    const uint8_t *topic_id = partition_of(pair, 1, "orders")->topic->id;
    struct transport_events events = network_events(&node->network);
    long before_said = said[what->answer];
    int sent = 0;

    body = malloc(body_bytes);
    memset(body, 'x', body_bytes);
    body[body_bytes - 1] = '\n';
    size_t header_bytes = make_header(what->kind, topic_id, body_bytes), before = memory_used();
    /* As a transport does. */
    while (sent < frames && !events.full(events.arg, 2, what->channel)) {
        say(node, what, header_bytes, body_bytes);
        sent++;
    }
    size_t taken = memory_since(before);
    work_on_all(pair);
    if (taken > most) {
        fail_msg("kind %d: %d frames took %zu bytes", what->kind, sent, taken);
    }
    if (memory_since(before) > LEFT_MOST_BYTES) {
        fail_msg("kind %d: %zu bytes are left of %d frames", what->kind, memory_since(before), sent);
    }
    must_be_empty(node, what);
    if (what->each && said[what->answer] - before_said != sent) {
        fail_msg("kind %d: %ld answers to %d", what->kind, said[what->answer] - before_said, sent);
    }
    before_said = said[what->answer];
    say(node, what, header_bytes, body_bytes);
    work_on_all(pair);
    if (what->answer != 0 && said[what->answer] - before_said != 1) {
        fail_msg("kind %d: %ld answers to one when all was done", what->kind, said[what->answer] - before_said);
    }
    free(body);
}

static struct pair *flooded(void **state)
{
    struct pair *pair = *state;

    make_topic(pair, "orders");
    led_by(pair, 1, "orders", 1, 5, (struct replica_set){.count = 1, .ids = {1}});
    settle(pair);
    pair->ends[1].transport.send = count_sent;
    pair->ends[1].transport.drop = drop_nothing;
    log_sink_set(keep_silent);
    return pair;
}

static void over(struct pair *pair)
{
    log_sink_set(NULL);
    pair->ends[1].transport.send = wire_send;
    pair->ends[1].transport.drop = wire_drop;
}

/* On the connection where it belongs, and on the other one. */
static void flood_with_all(struct pair *pair, int frames, size_t body_bytes, size_t most)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct kind astray = kinds[i];

        astray.channel = astray.channel == CHANNEL_CONTROL ? CHANNEL_RECORDS : CHANNEL_CONTROL;
        flood_with(pair, &kinds[i], frames, body_bytes, most);
        flood_with(pair, &astray, frames, body_bytes, most);
    }
}

static void small_messages_of_each_kind_take_bounded_memory(void **state)
{
    struct pair *pair = flooded(state);

    flood_with_all(pair, FLOOD, 2, SMALL_MOST_BYTES);
    over(pair);
}

static void large_messages_of_each_kind_take_bounded_memory(void **state)
{
    struct pair *pair = flooded(state);

    flood_with_all(pair, LARGE, LARGE_BYTES, LARGE_MOST_BYTES);
    over(pair);
}

/* What waits for another replica is no more than that, and holds up nothing that comes behind it: not what it waits
 * for.
 */
static void appends_that_wait_for_replicas_take_bounded_memory(void **state)
{
    struct pair *pair = flooded(state);
    struct node *node = pair->ends[1].f.node;
    struct transport_events events = network_events(&node->network);
    static const struct kind append = {MESSAGE_APPEND, CHANNEL_RECORDS, MESSAGE_APPEND_ANSWER, true};
    uint8_t line[] = "x\n";
    long answered = said[MESSAGE_APPEND_ANSWER], sent = 0;

    led_by(pair, 1, "orders", 1, 6, (struct replica_set){.count = 2, .ids = {1, 2}});
    work_on_all(pair);
    body = line;
    struct forward_head head = {.number = 7, .leader_epoch = 6};
    memcpy(head.topic_id, partition_of(pair, 1, "orders")->topic->id, UUID_BYTES);
    size_t header_bytes = append_header(&head, 2), before = memory_used();
    for (int turn = 0; turn < 12; turn++) {
        for (int i = 0; i < LIMIT_RECORDS_FRAMES; i++, sent++) {
            say(node, &append, header_bytes, 2);
        }
        work_on_all(pair);
        assert_false(events.full(events.arg, 2, CHANNEL_RECORDS));
    }
    assert_true(memory_since(before) <= LARGE_MOST_BYTES);
    long waiting = sent - (said[MESSAGE_APPEND_ANSWER] - answered);
    assert_true(waiting > LIMIT_RECORDS_FRAMES && waiting <= LIMIT_APPENDS_SERVED);
    led_by(pair, 1, "orders", 1, 7, (struct replica_set){.count = 1, .ids = {1}});
    work_on_all(pair);
    assert_int_equal(said[MESSAGE_APPEND_ANSWER] - answered, sent);
    must_be_empty(node, &append);
    assert_content(&pair->ends[1].f, "orders", "x\n");
    over(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_messages_of_each_kind_take_bounded_memory, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(large_messages_of_each_kind_take_bounded_memory, pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(appends_that_wait_for_replicas_take_bounded_memory, pair_setup, pair_teardown),
    };

    return cmocka_run_group_tests_name("flood", tests, NULL, NULL);
}
