/* tests/fuzz/fuzz_raft_message.c: any bytes as a message of the quorum: refused, or understood, and the same when it is
 * encoded and decoded again; and a machine that is told of it does not fall. */
#include <errno.h>

#include "replication/metadata/raft.h"
#include "replication/wire/raft_message.h"
#include "tests/fuzz/fuzz.h"

static int64_t at_zero(const struct raft_log *log)
{
    (void)log;
    return 0;
}

static int64_t at_nine(const struct raft_log *log)
{
    (void)log;
    return 9;
}

static int32_t in_two(const struct raft_log *log)
{
    (void)log;
    return 2;
}

static uint32_t draw(void *arg, uint32_t below)
{
    (void)arg;
    return below / 2;
}

static const struct raft_log nine_records = {.start = at_zero, .end = at_nine, .flushed = at_nine, .end_epoch = in_two};

/* A voter of three, as what it becomes by nothing but messages and time. */
static void tell(const struct raft_message *msg, size_t times)
{
    static struct raft_actions actions;
    struct raft raft;
    const struct raft_voters voters = {.count = 3, .ids = {{1, 11}, {2, 12}, {3, 13}}};
    const struct raft_config config = {
        .self = {2, 12}, .log = &nine_records, .peers = {.count = 3, .nodes = {1, 2, 3}}, .random = draw};
    struct raft_event event = {.type = RAFT_EVENT_VOTERS_RECORD};

    raft_init(&raft, &config, &(struct raft_state){.epoch = 2});
    event.record.voters = event.record.target = &voters;
    FUZZ_CHECK(raft_step(&raft, 0, &event, &actions) == 0);
    FUZZ_CHECK(raft_step(&raft, 0, &(struct raft_event){.type = RAFT_EVENT_START}, &actions) == 0);
    for (size_t i = 0; i < times; i++) {
        int64_t now_ms = (int64_t)i * 700;
        struct raft_state before = raft.state;

        FUZZ_CHECK(
            raft_step(&raft, now_ms, &(struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = msg}, &actions) == 0);
        FUZZ_CHECK(raft.state.epoch >= before.epoch);
        FUZZ_CHECK(raft_step(&raft, now_ms, &(struct raft_event){.type = RAFT_EVENT_TICK}, &actions) == 0);
    }
    raft_free(&raft);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t out[LIMIT_RAFT_MESSAGE_BYTES], out_again[LIMIT_RAFT_MESSAGE_BYTES];
    struct raft_message msg, again;
    struct err e = {0};
    int rc = raft_message_decode(data, len, &msg, &e);

    if (rc != 0) {
        FUZZ_CHECK(rc == -EBADMSG && e.text[0] != '\0');
        return 0;
    }
    size_t encoded = raft_message_encode(&msg, out);
    FUZZ_CHECK(raft_message_decode(out, encoded, &again, &e) == 0);
    FUZZ_CHECK(raft_message_encode(&again, out_again) == encoded && memcmp(out, out_again, encoded) == 0);
    tell(&msg, 6);
    return 0;
}
