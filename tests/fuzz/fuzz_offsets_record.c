/* tests/fuzz/fuzz_offsets_record.c: any bytes as records of __consumer_offsets: each is refused, or understood and the
 * same when it is encoded and decoded again; and what a coordinator makes of all of them holds together. */
#include <stdlib.h>
#include <string.h>

#include "engine/record/framing.h"
#include "replication/group/coordinator.h"
#include "tests/fuzz/fuzz.h"

static int fact_group(void *arg, const char *name, struct group_rules *out)
{
    (void)arg;
    *out = (struct group_rules){.assignor = ASSIGNOR_STICKY, .session_timeout_ms = 10000, .offsets_retention_ms = 1};
    return name[0] == 'g' ? 0 : -1;
}

static int fact_topic(void *arg, const uint8_t id[UUID_BYTES], char name[GROUP_NAME_BYTES], int32_t *partitions)
{
    (void)arg;
    memcpy(name, "t", 2);
    *partitions = 4;
    return (id[0] & 1) != 0 ? 0 : -1;
}

static bool fact_lives(void *arg, int32_t node, uint64_t process)
{
    (void)arg;
    return (node & 1) != 0 || process != 0;
}

static void check_record(const uint8_t *data, size_t len)
{
    struct offsets_record record, again;
    struct elements_buffer bytes = {0};
    struct err e = {""};

    if (offsets_record_decode(data, len, &record, &e) != 0)
        return;
    offsets_record_encode(&record, &bytes);
    FUZZ_CHECK(!bytes.failed && offsets_record_decode(bytes.bytes, bytes.len, &again, &e) == 0);
    FUZZ_CHECK(memcmp(&record, &again, sizeof record) == 0);
    free(bytes.bytes);
}

/* Who owns a partition is a member that reads its topic; each member's shares are in order. */
static void check_shares(struct coordinator *core)
{
    for (struct table_link *link = table_begin(&core->readers); link != NULL; link = table_next(&core->readers, link)) {
        const struct reader *reader = (const struct reader *)link; /* its first member */
        struct group_told told;
        if (coordinator_shares(reader, &told) != 0)
            continue;
        for (size_t i = 0; i < told.share_count; i++) {
            FUZZ_CHECK(told.shares[i].epoch >= 0 &&
                       (i == 0 || told.shares[i].partition > told.shares[i - 1].partition));
        }
        group_told_free(&told);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct group_facts facts = {fact_group, fact_topic, fact_lives, NULL};
    struct coordinator core;
    struct err e = {""};
    int rc = 0;

    coordinator_init(&core, &facts);
    for (size_t at = 0, len; at < size && rc == 0; at += len) {
        len = framing_record_len(FRAMING_MSGPACK, data + at, size - at);
        if (len == 0)
            break;
        check_record(data + at, len);
        rc = coordinator_replay(&core, data + at, len, &e);
    }
    coordinator_begin(&core, 100000, 100000);
    coordinator_loaded(&core);
    coordinator_tick(&core);
    coordinator_end(&core);
    check_shares(&core);
    coordinator_clear(&core);
    coordinator_free(&core);
    return 0;
}
