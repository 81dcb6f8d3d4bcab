/* tests/unit/raft_fixture.h: a machine to tell of events, and its actions as a line of text.
 *
 * Node n has incarnation 100 n. Chance always draws 0, so timeouts are RAFT_ELECTION_MIN_MS and rank alone staggers.
 * Actions read, in their order:
 *   persist(EPOCH,VOTE,LEADER)  lead(EPOCH)  voters(1 2->1 2 3)  bootstrap(1 2 3)  role(NAME)  decided(OFFSET)
 *   and messages as NAME>NODE:
 *   prevote vote  yes no preyes preno  begin begun  end[2 3] ended  fetched(HIGH_WATERMARK) notleader  find found empty
 */
#ifndef LOGMNT_TESTS_UNIT_RAFT_FIXTURE_H
#define LOGMNT_TESTS_UNIT_RAFT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "replication/metadata/raft.h"

struct machine {
    struct raft_log log; /* first */
    int64_t start, end, flushed;
    int32_t end_epoch;
    struct raft raft;
    int64_t now_ms;
    struct raft_actions actions;
    char text[2048]; /* of the last step */
    int rc;
};

/* A machine of node `id` that has not started, in epoch 0 with an empty log; its peers are 1 to `count`. */
static inline void machine_init(struct machine *m, int32_t id, int32_t count);
static inline void machine_free(struct machine *m);
/* Before the start: the log ends at `end` in `epoch` and is flushed; its first record sets the voters. */
static inline void machine_log(struct machine *m, int64_t end, int32_t epoch, struct raft_voters voters);
/* Before the start: what was persisted. */
static inline void machine_state(struct machine *m, int32_t epoch, int32_t vote, int32_t leader);

static inline struct raft_id server(int32_t node);
/* Up to five node ids, the first 0 ends them. */
static inline struct raft_voters voters(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e);

/* Each tells of one event and gives m->text. */
static inline const char *start(struct machine *m);
static inline const char *tick(struct machine *m, int64_t after_ms); /* so much later */
static inline const char *about(struct machine *m, enum raft_event_type type, int32_t node);
static inline const char *at_offset(struct machine *m, enum raft_event_type type, int64_t offset);
static inline const char *message(struct machine *m, const struct raft_message *msg);
/* Records reach the log: one that begins an epoch, one that sets voters, so many commands. They are flushed by
 * flushed(). */
static inline const char *leader_record(struct machine *m, int32_t epoch);
static inline const char *voters_record(struct machine *m, int32_t epoch, int32_t index, struct raft_voters set,
                                        struct raft_voters target);
static inline void commands(struct machine *m, int32_t epoch, int count);
static inline const char *flushed(struct machine *m);
static inline const char *truncated(struct machine *m, int64_t end, int32_t epoch);
static inline const char *change(struct machine *m, struct raft_voters nodes);

/* Messages to this machine from a node in an epoch. */
static inline const char *vote(struct machine *m, bool pre, int32_t from, int32_t epoch, int32_t end_epoch,
                               int64_t end_offset);
static inline const char *vote_answer(struct machine *m, bool pre, int32_t from, int32_t epoch, bool granted,
                                      int32_t leader);
static inline const char *begin(struct machine *m, int32_t from, int32_t epoch);
static inline const char *end(struct machine *m, int32_t from, int32_t epoch, int32_t first, int32_t second);
static inline const char *fetch(struct machine *m, int32_t from, int32_t epoch, int64_t offset, int64_t flushed_offset);
static inline const char *fetch_answer(struct machine *m, int32_t from, int32_t epoch, enum raft_fetch_outcome outcome,
                                       int64_t high_watermark);
static inline const char *find_answer(struct machine *m, int32_t from, int32_t epoch, int32_t leader, bool empty,
                                      int32_t peers);

/* One of three voters that has become leader of epoch 1, with a log of two records: the voters, and its own. */
static inline void machine_lead(struct machine *m);

/* ---- the log ---- */

static inline int64_t log_start(const struct raft_log *log)
{
    return ((const struct machine *)log)->start;
}

static inline int64_t log_end(const struct raft_log *log)
{
    return ((const struct machine *)log)->end;
}

static inline int64_t log_flushed(const struct raft_log *log)
{
    return ((const struct machine *)log)->flushed;
}

static inline int32_t log_end_epoch(const struct raft_log *log)
{
    return ((const struct machine *)log)->end_epoch;
}

static inline uint32_t draw_zero(void *arg, uint32_t below)
{
    (void)arg, (void)below;
    return 0;
}

static inline struct raft_id server(int32_t node)
{
    return (struct raft_id){node, node == 0 ? 0 : 100 * (uint64_t)node};
}

static inline struct raft_voters voters(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e)
{
    const int32_t nodes[] = {a, b, c, d, e};
    struct raft_voters set = {0};

    for (int i = 0; i < 5 && nodes[i] != 0; i++)
        raft_voters_add(&set, server(nodes[i]));
    return set;
}

static inline struct raft_peers peers_to(int32_t count)
{
    struct raft_peers peers = {.count = count};

    for (int32_t i = 0; i < count; i++)
        peers.nodes[i] = i + 1;
    return peers;
}

static inline void machine_init(struct machine *m, int32_t id, int32_t count)
{
    memset(m, 0, sizeof *m);
    m->log = (struct raft_log){.start = log_start, .end = log_end, .flushed = log_flushed, .end_epoch = log_end_epoch};
    m->end_epoch = -1;
    struct raft_config config = {.self = server(id), .log = &m->log, .peers = peers_to(count), .random = draw_zero};
    raft_init(&m->raft, &config, &(struct raft_state){0});
}

static inline void machine_free(struct machine *m)
{
    raft_free(&m->raft);
}

static inline void machine_log(struct machine *m, int64_t end_offset, int32_t epoch, struct raft_voters set)
{
    voters_record(m, epoch, 0, set, set);
    assert_string_equal(m->text, "");
    m->end = m->flushed = end_offset;
    m->end_epoch = epoch;
}

static inline void machine_state(struct machine *m, int32_t epoch, int32_t voted, int32_t leader)
{
    m->raft.state = m->raft.persisted =
        (struct raft_state){.epoch = epoch, .vote = server(voted), .leader = server(leader)};
}

/* ---- actions as text ---- */

__attribute__((format(printf, 2, 3))) static inline void put(struct machine *m, const char *fmt, ...)
{
    size_t len = strlen(m->text);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(m->text + len, sizeof m->text - len, fmt, ap);
    va_end(ap);
}

static inline void put_set(struct machine *m, const struct raft_voters *set)
{
    for (int32_t i = 0; i < set->count; i++)
        put(m, i == 0 ? "%d" : " %d", set->ids[i].node);
}

static inline void put_message(struct machine *m, const struct raft_message *msg)
{
    assert_true(raft_id_equal(msg->from, m->raft.config.self));
    assert_int_equal(msg->epoch, m->raft.state.epoch);
    switch (msg->type) {
    case RAFT_VOTE:
        put(m, msg->vote.pre ? "prevote" : "vote");
        break;
    case RAFT_VOTE_ANSWER:
        put(m, "%s%s", msg->vote_answer.pre ? "pre" : "", msg->vote_answer.granted ? "yes" : "no");
        break;
    case RAFT_BEGIN:
        put(m, "begin");
        break;
    case RAFT_BEGIN_ANSWER:
        put(m, "begun");
        break;
    case RAFT_END:
        put(m, "end[");
        for (int32_t i = 0; i < msg->end.count; i++)
            put(m, i == 0 ? "%d" : " %d", msg->end.successors[i]);
        put(m, "]");
        break;
    case RAFT_END_ANSWER:
        put(m, "ended");
        break;
    case RAFT_FETCH_ANSWER:
        if (msg->fetch_answer.outcome == RAFT_FETCH_OK)
            put(m, "fetched(%lld)", (long long)msg->fetch_answer.high_watermark);
        else
            put(m, "notleader");
        break;
    case RAFT_FIND:
        put(m, "find");
        break;
    case RAFT_FIND_ANSWER:
        put(m, msg->find_answer.empty ? "empty" : "found");
        break;
    default:
        fail();
    }
    put(m, ">%d", msg->to.node);
}

static inline void put_action(struct machine *m, const struct raft_action *action)
{
    switch (action->type) {
    case RAFT_PERSIST:
        put(m, "persist(%d,%d,%d)", action->state.epoch, action->state.vote.node, action->state.leader.node);
        break;
    case RAFT_APPEND_LEADER:
        put(m, "lead(%d)", action->append.epoch);
        break;
    case RAFT_APPEND_VOTERS:
    case RAFT_BOOTSTRAP:
        put(m, action->type == RAFT_BOOTSTRAP ? "bootstrap(" : "voters(");
        put_set(m, &action->append.voters);
        if (!raft_voters_equal(&action->append.voters, &action->append.target)) {
            put(m, "->");
            put_set(m, &action->append.target);
        }
        put(m, ")");
        break;
    case RAFT_SEND:
        put_message(m, &action->message);
        break;
    case RAFT_ROLE:
        put(m, "role(%s)", raft_role_name(m->raft.role));
        break;
    case RAFT_HIGH_WATERMARK:
        put(m, "decided(%lld)", (long long)action->offset);
        break;
    }
}

static inline const char *tell(struct machine *m, const struct raft_event *event)
{
    m->rc = raft_step(&m->raft, m->now_ms, event, &m->actions);
    m->text[0] = '\0';
    for (int i = 0; i < m->actions.count; i++) {
        if (i > 0)
            put(m, " ");
        put_action(m, &m->actions.actions[i]);
    }
    return m->text;
}

/* ---- events ---- */

static inline const char *start(struct machine *m)
{
    return tell(m, &(struct raft_event){.type = RAFT_EVENT_START});
}

static inline const char *tick(struct machine *m, int64_t after_ms)
{
    m->now_ms += after_ms;
    return tell(m, &(struct raft_event){.type = RAFT_EVENT_TICK});
}

static inline const char *about(struct machine *m, enum raft_event_type type, int32_t node)
{
    return tell(m, &(struct raft_event){.type = type, .node = node});
}

static inline const char *at_offset(struct machine *m, enum raft_event_type type, int64_t offset)
{
    return tell(m, &(struct raft_event){.type = type, .offset = offset});
}

static inline const char *message(struct machine *m, const struct raft_message *msg)
{
    return tell(m, &(struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = msg});
}

static inline void commands(struct machine *m, int32_t epoch, int count)
{
    m->end += count;
    m->end_epoch = epoch;
}

static inline const char *leader_record(struct machine *m, int32_t epoch)
{
    struct raft_event event = {.type = RAFT_EVENT_LEADER_RECORD};

    event.record.base_offset = m->end;
    event.record.epoch = epoch;
    commands(m, epoch, 1);
    return tell(m, &event);
}

static inline const char *voters_record(struct machine *m, int32_t epoch, int32_t index, struct raft_voters set,
                                        struct raft_voters target)
{
    struct raft_event event = {.type = RAFT_EVENT_VOTERS_RECORD};

    event.record.base_offset = m->end;
    event.record.index = index;
    event.record.epoch = epoch;
    event.record.voters = &set;
    event.record.target = &target;
    commands(m, epoch, 1 + index);
    return tell(m, &event);
}

static inline const char *flushed(struct machine *m)
{
    m->flushed = m->end;
    return tell(m, &(struct raft_event){.type = RAFT_EVENT_FLUSHED});
}

static inline const char *truncated(struct machine *m, int64_t end_offset, int32_t epoch)
{
    m->end = end_offset;
    m->end_epoch = epoch;
    m->flushed = m->flushed < end_offset ? m->flushed : end_offset;
    return at_offset(m, RAFT_EVENT_TRUNCATED, end_offset);
}

static inline const char *change(struct machine *m, struct raft_voters nodes)
{
    struct raft_peers peers = {.count = nodes.count};

    for (int32_t i = 0; i < nodes.count; i++)
        peers.nodes[i] = nodes.ids[i].node;
    return tell(m, &(struct raft_event){.type = RAFT_EVENT_CHANGE_VOTERS, .peers = &peers});
}

/* ---- messages ---- */

static inline struct raft_message from(struct machine *m, enum raft_message_type type, int32_t node, int32_t epoch)
{
    return (struct raft_message){.type = type, .from = server(node), .to = m->raft.config.self, .epoch = epoch};
}

static inline const char *vote(struct machine *m, bool pre, int32_t node, int32_t epoch, int32_t end_epoch,
                               int64_t end_offset)
{
    struct raft_message msg = from(m, RAFT_VOTE, node, epoch);

    msg.vote.pre = pre;
    msg.vote.end_epoch = end_epoch;
    msg.vote.end_offset = end_offset;
    return message(m, &msg);
}

static inline const char *vote_answer(struct machine *m, bool pre, int32_t node, int32_t epoch, bool granted,
                                      int32_t leader)
{
    struct raft_message msg = from(m, RAFT_VOTE_ANSWER, node, epoch);

    msg.leader = server(leader);
    msg.vote_answer.pre = pre;
    msg.vote_answer.granted = granted;
    msg.vote_answer.round = m->raft.round;
    return message(m, &msg);
}

static inline const char *begin(struct machine *m, int32_t node, int32_t epoch)
{
    struct raft_message msg = from(m, RAFT_BEGIN, node, epoch);

    return message(m, &msg);
}

static inline const char *end(struct machine *m, int32_t node, int32_t epoch, int32_t first, int32_t second)
{
    struct raft_message msg = from(m, RAFT_END, node, epoch);

    msg.end.count = 2;
    msg.end.successors[0] = first;
    msg.end.successors[1] = second;
    return message(m, &msg);
}

static inline const char *fetch(struct machine *m, int32_t node, int32_t epoch, int64_t offset, int64_t flushed_offset)
{
    struct raft_message msg = from(m, RAFT_FETCH, node, epoch);

    msg.fetch.offset = offset;
    msg.fetch.flushed = flushed_offset;
    return message(m, &msg);
}

static inline const char *fetch_answer(struct machine *m, int32_t node, int32_t epoch, enum raft_fetch_outcome outcome,
                                       int64_t high_watermark)
{
    struct raft_message msg = from(m, RAFT_FETCH_ANSWER, node, epoch);

    if (outcome == RAFT_FETCH_OK)
        msg.leader = server(node);
    msg.fetch_answer.outcome = outcome;
    msg.fetch_answer.high_watermark = high_watermark;
    return message(m, &msg);
}

static inline const char *find_answer(struct machine *m, int32_t node, int32_t epoch, int32_t leader, bool empty,
                                      int32_t peers)
{
    struct raft_message msg = from(m, RAFT_FIND_ANSWER, node, epoch);

    msg.leader = server(leader);
    msg.find_answer.run = m->raft.run;
    msg.find_answer.empty = empty;
    msg.find_answer.peers = peers_to(peers);
    return message(m, &msg);
}

static inline void machine_lead(struct machine *m)
{
    machine_log(m, 1, 0, voters(1, 2, 3, 0, 0));
    start(m);
    tick(m, RAFT_ELECTION_MIN_MS);
    vote_answer(m, true, 2, 0, true, 0);
    vote_answer(m, false, 2, 1, true, 0);
    assert_int_equal(m->raft.role, RAFT_LEADER);
    leader_record(m, 1);
    flushed(m);
}

#endif
