/* tests/unit/coordinator_fixture.h: a coordinator as the pure state machine that it is: records in, events in; records,
 * shares and questions out. */
#ifndef LOGMNT_TESTS_UNIT_COORDINATOR_FIXTURE_H
#define LOGMNT_TESTS_UNIT_COORDINATOR_FIXTURE_H

#include "replication/group/coordinator.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/record/framing.h"

/* ---- a cluster, as the coordinator is told of it ---- */

struct cluster {
    struct group_facts facts;
    struct group_rules rules;
    bool group, topic;
    bool short_of_memory; /* for groups */
    int32_t partitions;
    int32_t fenced;       /* a node */
    uint64_t ended;       /* a process */
    int32_t leader_epoch; /* of what commits say and of starts that are found */
    struct coordinator core;
    struct elements_buffer log; /* the records that were committed */
    int64_t now_ms;
};

static inline int fact_group(void *arg, const char *name, struct group_rules *out)
{
    struct cluster *c = arg;
    *out = c->rules;
    if (c->short_of_memory)
        return -ENOMEM;
    return c->group && strcmp(name, "kitchen") == 0 ? 0 : -ENOENT;
}

static inline int fact_topic(void *arg, const uint8_t id[UUID_BYTES], char name[GROUP_NAME_BYTES], int32_t *partitions)
{
    struct cluster *c = arg;
    strcpy(name, "orders");
    *partitions = c->partitions;
    return c->topic && id[0] == 't' ? 0 : -ENOENT;
}

static inline bool fact_lives(void *arg, int32_t node, uint64_t process)
{
    struct cluster *c = arg;
    return node != c->fenced && process != c->ended;
}

static inline int setup(void **state)
{
    struct cluster *c = calloc(1, sizeof *c);
    c->facts = (struct group_facts){fact_group, fact_topic, fact_lives, c};
    c->rules = (struct group_rules){.id = "kitchen",
                                    .assignor = ASSIGNOR_STICKY,
                                    .session_timeout_ms = 10000,
                                    .rebalance_timeout_ms = 5000,
                                    .offsets_retention_ms = 1000000};
    c->group = c->topic = true;
    c->partitions = 2;
    c->now_ms = 1000;
    coordinator_init(&c->core, &c->facts);
    *state = c;
    return 0;
}

static inline int teardown(void **state)
{
    struct cluster *c = *state;
    coordinator_free(&c->core);
    free(c->log.bytes);
    free(c);
    return 0;
}

static inline void begin(struct cluster *c)
{
    coordinator_begin(&c->core, c->now_ms, 1000000 + c->now_ms);
}

/* The turn's records are committed. */
static inline void end(struct cluster *c)
{
    struct group_changes *changes = &c->core.changes;
    coordinator_tick(&c->core);
    coordinator_end(&c->core);
    assert_false(changes->failed);
    for (size_t i = 0; i < changes->records.len; i++) {
        if (c->log.len == c->log.room)
            c->log.bytes = realloc(c->log.bytes, c->log.room = c->log.room * 2 + 4096);
        c->log.bytes[c->log.len++] = changes->records.bytes[i];
    }
}

/* What was to be found out is found at once: `start`. */
static inline void settle(struct cluster *c, int64_t start)
{
    while (c->core.changes.start_count > 0) {
        struct claim_start wanted = c->core.changes.starts[0];
        size_t count = c->core.changes.start_count;
        struct claim_start all[16];
        assert_true(count <= 16);
        memcpy(all, c->core.changes.starts, count * sizeof wanted);
        coordinator_clear(&c->core);
        begin(c);
        for (size_t i = 0; i < count; i++) {
            if (coordinator_starts(&c->core, &all[i]))
                coordinator_started(&c->core, &all[i], start, c->leader_epoch);
        }
        end(c);
    }
    coordinator_clear(&c->core);
}

static inline struct group_item item(enum group_item_kind kind, uint64_t number)
{
    struct group_item it = {
        .kind = kind, .group = "kitchen", .group_id = "kitchen", .number = number, .topic_id = "t", .partition = -1};
    return it;
}

static inline void join(struct cluster *c, int32_t node, uint64_t number)
{
    struct group_item it = item(GROUP_ITEM_JOIN, number);
    begin(c);
    coordinator_heard(&c->core, node, 7);
    assert_int_equal(coordinator_join(&c->core, node, 7, &it), GROUP_OUTCOME_OK);
    end(c);
    settle(c, 0);
}

static inline void leave(struct cluster *c, int32_t node, uint64_t number)
{
    struct group_item it = item(GROUP_ITEM_LEAVE, number);
    bool refused[1];
    begin(c);
    assert_int_equal(coordinator_leave(&c->core, node, 7, &it, refused), GROUP_OUTCOME_OK);
    end(c);
    settle(c, 0);
}

/* true: accepted. */
static inline bool commit_entry(struct cluster *c, int32_t node, uint64_t number, struct group_entry *entry)
{
    struct group_item it = item(GROUP_ITEM_COMMIT, number);
    bool refused[1];
    entry->leader_epoch = c->leader_epoch;
    it.entries = entry;
    it.entry_count = 1;
    begin(c);
    coordinator_heard(&c->core, node, 7);
    (void)coordinator_commit(&c->core, node, 7, &it, refused);
    end(c);
    settle(c, 0);
    return !refused[0];
}

static inline bool commit(struct cluster *c, int32_t node, uint64_t number, uint64_t partition, int32_t epoch,
                          int64_t offset, bool release)
{
    struct group_entry entry = {.key = partition, .epoch = epoch, .value = offset, .release = release};
    return commit_entry(c, node, number, &entry);
}

/* Its reader finds that nothing is there from that offset on of what it has read. */
static inline bool lose(struct cluster *c, int32_t node, uint64_t number, uint64_t partition, int32_t epoch,
                        int64_t offset)
{
    struct group_entry entry = {.key = partition, .epoch = epoch, .value = offset, .lost = true};
    return commit_entry(c, node, number, &entry);
}

static inline enum group_outcome reset_by(struct cluster *c, uint64_t ticket, int32_t partition, int64_t offset)
{
    struct group_item it = item(offset >= 0 ? GROUP_ITEM_RESET : GROUP_ITEM_FORGET, 0);
    enum group_outcome outcome;
    it.ticket = ticket;
    it.partition = partition;
    it.offset = offset >= 0 ? offset : 0;
    begin(c);
    outcome = coordinator_reset(&c->core, 1, 7, &it);
    end(c);
    settle(c, 0);
    return outcome;
}

static inline enum group_outcome reset(struct cluster *c, int32_t partition, int64_t offset)
{
    static uint64_t tickets;
    return reset_by(c, ++tickets, partition, offset);
}

static inline void pass(struct cluster *c, int64_t ms)
{
    c->now_ms += ms;
    begin(c);
    end(c);
    settle(c, 0);
}

/* "0:1:0 1:1:0r": what a member has: partition, epoch, start, revoked. */
static inline void assert_shares(struct cluster *c, int32_t node, uint64_t number, const char *expected)
{
    struct member_id id = {node, 7, number};
    const struct reader *reader = coordinator_reader(&c->core, &id);
    struct group_told told;
    char text[256] = "";
    size_t len = 0;
    assert_non_null(reader);
    assert_int_equal(coordinator_shares(reader, &told), 0);
    for (size_t i = 0; i < told.share_count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%d:%d:%d%s", i > 0 ? " " : "",
                                (int)told.shares[i].partition, (int)told.shares[i].epoch, (int)told.shares[i].start,
                                told.shares[i].revoked ? "r" : "");
    }
    group_told_free(&told);
    assert_string_equal(text, expected);
}

static inline bool is_member(struct cluster *c, int32_t node, uint64_t number)
{
    struct member_id id = {node, 7, number};
    return coordinator_reader(&c->core, &id) != NULL;
}

/* "0=5 1=-": offsets of partitions. */
static inline void assert_offsets(struct cluster *c, const char *expected)
{
    struct group_item it = item(GROUP_ITEM_ASK, 0);
    struct group_told told;
    char text[256] = "";
    size_t len = 0;
    assert_int_equal(coordinator_ask(&c->core, &it, &told), 0);
    for (size_t i = 0; i < told.row_count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%d=%d", i > 0 ? " " : "", (int)told.rows[i].partition,
                                (int)told.rows[i].committed);
    }
    group_told_free(&told);
    assert_string_equal(text, expected);
}

/* Another node begins to lead: all that it knows is what the records say. */
static inline void move(struct cluster *c)
{
    struct err e = {""};
    coordinator_free(&c->core);
    coordinator_init(&c->core, &c->facts);
    for (size_t at = 0; at < c->log.len;) {
        size_t len = framing_record_len(FRAMING_MSGPACK, c->log.bytes + at, c->log.len - at);
        assert_true(len > 0);
        if (coordinator_replay(&c->core, c->log.bytes + at, len, &e) != 0)
            fail_msg("replay: %s", e.text);
        at += len;
    }
    begin(c);
    coordinator_loaded(&c->core);
    end(c);
    settle(c, 0);
}

#define story(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
