/* replication/metadata/raft.c: takes an event to who works on it, and gathers the actions.
 *
 * A step works on its event in memory and pushes actions as it goes; the state to persist is put in front at the end,
 * if it has changed. So within a step everything is sent in the epoch in which the step ended. */
#include "replication/metadata/raft.h"

#include <assert.h>
#include <string.h>

#include "replication/metadata/raft_internal.h"

#ifdef LOGMNT_BUGS
struct raft_bugs raft_bugs;
#endif

/* ---- actions ---- */

struct raft_action *raft_act(struct raft *raft, enum raft_action_type type)
{
    struct raft_action *action;

    /* One place is kept for PERSIST. */
    assert(raft->out->count < RAFT_ACTIONS_MAX - 1);
    action = &raft->out->actions[raft->out->count++];
    memset(action, 0, sizeof *action);
    action->type = type;
    return action;
}

struct raft_message *raft_send(struct raft *raft, enum raft_message_type type, struct raft_id to)
{
    struct raft_message *msg = &raft_act(raft, RAFT_SEND)->message;

    msg->type = type;
    msg->from = raft->config.self;
    msg->to = to;
    msg->epoch = raft->state.epoch;
    return msg;
}

struct raft_message *raft_answer(struct raft *raft, const struct raft_message *msg)
{
    /* Each request's answer is the type behind it. */
    struct raft_message *answer = raft_send(raft, (enum raft_message_type)(msg->type + 1), msg->from);

    answer->leader = raft_leader(raft);
    return answer;
}

static bool states_equal(const struct raft_state *a, const struct raft_state *b)
{
    return a->epoch == b->epoch && raft_id_equal(a->vote, b->vote) && raft_id_equal(a->leader, b->leader);
}

/* REPLICATION.md, rule 15: the state goes in front of all that may depend on it. */
static void persist_first(struct raft *raft)
{
    struct raft_actions *out = raft->out;
    struct raft_action persist = {.type = RAFT_PERSIST, .state = raft->state};

    if (states_equal(&raft->state, &raft->persisted))
        return;
    raft->persisted = raft->state;
    if (RAFT_BUG(vote_not_persisted)) {
        out->actions[out->count++] = persist;
        return;
    }
    memmove(out->actions + 1, out->actions, (size_t)out->count * sizeof *out->actions);
    out->actions[0] = persist;
    out->count++;
}

uint32_t raft_random(struct raft *raft, uint32_t below)
{
    return raft->config.random(raft->config.random_arg, below);
}

int64_t raft_log_end(const struct raft *raft)
{
    return raft->config.log->end(raft->config.log);
}

void raft_advance_high_watermark(struct raft *raft, int64_t offset)
{
    if (offset == raft->high_watermark || (offset < raft->high_watermark && !RAFT_BUG(high_watermark_moves_back)))
        return;
    raft->high_watermark = offset;
    raft_act(raft, RAFT_HIGH_WATERMARK)->offset = offset;
    /* That this server is no voter may be decided now. */
    if (raft->role == RAFT_FOLLOWER)
        raft_voters_changed(raft);
}

/* ---- peers ---- */

static void set_connected(struct raft *raft, int32_t node, bool connected)
{
    int32_t i = 0;

    while (i < raft->connected_count && raft->connected[i] != node)
        i++;
    if (i < raft->connected_count) {
        if (!connected)
            raft->connected[i] = raft->connected[--raft->connected_count];
        return;
    }
    if (connected && raft->connected_count < LIMIT_NODES)
        raft->connected[raft->connected_count++] = node;
}

static void on_connected(struct raft *raft, int32_t node)
{
    set_connected(raft, node, true);
    raft_find_now(raft, node);
    raft_hurry(raft);
}

static void on_lost(struct raft *raft, int32_t node)
{
    set_connected(raft, node, false);
    raft_lead_lost(raft, node);
}

static void on_gone(struct raft *raft, int32_t node)
{
    on_lost(raft, node);
    if (raft->state.leader.node == node && node != raft->config.self.node)
        raft_leader_ended(raft);
}

/* ---- messages ---- */

static void on_begin(struct raft *raft, const struct raft_message *msg)
{
    raft_adopt_epoch(raft, msg->epoch, msg->from);
    if (msg->epoch == raft->state.epoch && msg->from.node != raft->config.self.node &&
        (raft->state.leader.node == 0 || raft_id_equal(raft->state.leader, msg->from)))
        raft_become_follower(raft, msg->from, true);
    raft_answer(raft, msg);
}

static void on_end(struct raft *raft, const struct raft_message *msg)
{
    int32_t place = 0;
    bool known;

    raft_adopt_epoch(raft, msg->epoch, (struct raft_id){0});
    known = msg->epoch == raft->state.epoch && raft_id_equal(raft->state.leader, msg->from) &&
            raft->role != RAFT_LEADER && raft->role != RAFT_RESIGNED;
    if (known) {
        raft_leader_ended(raft);
        while (place < msg->end.count && msg->end.successors[place] != raft->config.self.node)
            place++;
        if (raft->role == RAFT_FOLLOWER && place < msg->end.count)
            raft->election_at_ms = raft->now_ms + (int64_t)place * RAFT_STAGGER_MS;
        raft->called = place == 0 && msg->end.count > 0;
    }
    raft_answer(raft, msg);
}

static void on_fetch_answer(struct raft *raft, const struct raft_message *msg)
{
    int64_t end = raft_log_end(raft);

    /* The leader's node answers as somebody else: it has lost its disk. */
    if (msg->from.node == raft->state.leader.node && !raft_id_equal(msg->from, raft->state.leader))
        raft_leader_ended(raft);
    if (msg->epoch != raft->state.epoch)
        return;
    if (!raft_id_equal(msg->from, raft->state.leader)) {
        if (raft->state.leader.node == 0 && msg->leader.node != 0 && msg->leader.node != raft->config.self.node)
            raft_become_follower(raft, msg->leader, false);
        return;
    }
    if (msg->fetch_answer.outcome == RAFT_FETCH_NOT_LEADER) {
        raft_leader_ended(raft);
        return;
    }
    raft_leader_lives(raft);
    /* Only an answer without divergence says that what lies below the leader's high watermark is the leader's. */
    if (msg->fetch_answer.outcome == RAFT_FETCH_OK) {
        raft_advance_high_watermark(raft,
                                    msg->fetch_answer.high_watermark < end ? msg->fetch_answer.high_watermark : end);
    }
}

static void on_message(struct raft *raft, const struct raft_message *msg, bool diverging)
{
    switch (msg->type) {
    case RAFT_VOTE:
        raft_on_vote(raft, msg);
        break;
    case RAFT_BEGIN:
        on_begin(raft, msg);
        break;
    case RAFT_END:
        on_end(raft, msg);
        break;
    case RAFT_FETCH:
        raft_on_fetch(raft, msg, diverging);
        break;
    case RAFT_FIND:
        raft_on_find(raft, msg);
        break;
    case RAFT_VOTE_ANSWER:
        raft_adopt_epoch(raft, msg->epoch, msg->leader);
        raft_on_vote_answer(raft, msg);
        break;
    case RAFT_FETCH_ANSWER:
        /* One of a later epoch answers no fetch of this server: it brings the epoch and no more. */
        if (msg->epoch > raft->state.epoch)
            raft_adopt_epoch(raft, msg->epoch, msg->leader);
        else
            on_fetch_answer(raft, msg);
        break;
    case RAFT_FIND_ANSWER:
        raft_adopt_epoch(raft, msg->epoch, msg->leader);
        raft_on_find_answer(raft, msg);
        break;
    case RAFT_BEGIN_ANSWER:
    case RAFT_END_ANSWER:
        raft_adopt_epoch(raft, msg->epoch, msg->leader);
        break;
    case RAFT_MESSAGE_TYPES:
        break;
    }
}

/* ---- the log ---- */

static int on_voters_record(struct raft *raft, const struct raft_event *event)
{
    struct raft_change change = {.offset = event->record.base_offset + event->record.index,
                                 .voters = *event->record.voters,
                                 .target = *event->record.target};
    int rc;

    if (RAFT_BUG(change_at_batch_offset))
        change.offset = event->record.base_offset;
    rc = raft_history_add(&raft->voters, &change);
    if (rc != 0)
        return rc;
    raft->change_asked = false;
    raft_voters_changed(raft);
    return 0;
}

static void on_leader_record(struct raft *raft, const struct raft_event *event)
{
    if (raft->role != RAFT_LEADER || event->record.epoch != raft->state.epoch)
        return;
    raft->epoch_start = event->record.base_offset + event->record.index;
    raft_count_flushed(raft);
}

static void on_truncated(struct raft *raft, int64_t end)
{
    size_t before = raft->voters.count;

    raft_history_truncate(&raft->voters, end);
    if (RAFT_BUG(voters_before_lost) && before != raft->voters.count)
        raft->voters.count = raft->voters.count > 1 ? 1 : 0;
    if (before != raft->voters.count)
        raft_voters_changed(raft);
}

static int on_reset(struct raft *raft, const struct raft_change *change)
{
    int rc;

    raft->voters.count = 0;
    rc = raft_history_add(&raft->voters, change);
    if (rc != 0)
        return rc;
    /* A snapshot holds only what is decided. */
    if (raft->started)
        raft_advance_high_watermark(raft, raft_log_end(raft));
    raft_voters_changed(raft);
    return 0;
}

/* ---- the machine ---- */

int raft_make_room(struct raft *raft, size_t records)
{
    return raft_history_reserve(&raft->voters, records);
}

static void on_start(struct raft *raft)
{
    raft->started = raft->starting = true;
    raft->run = raft_random(raft, UINT32_MAX);
    raft_advance_high_watermark(raft, raft->config.log->start(raft->config.log));
    raft_become_leaderless(raft);
    if (raft_voters(raft)->count == 0)
        raft_bootstrap_start(raft);
    raft_hurry(raft);
    raft_tick(raft);
}

static void on_stop(struct raft *raft)
{
    raft->stopping = true;
    if (raft->role == RAFT_LEADER)
        raft_leave(raft);
}

static int work(struct raft *raft, const struct raft_event *event)
{
    switch (event->type) {
    case RAFT_EVENT_START:
        on_start(raft);
        return 0;
    case RAFT_EVENT_TICK:
        raft_tick(raft);
        return 0;
    case RAFT_EVENT_CONNECTED:
        on_connected(raft, event->node);
        return 0;
    case RAFT_EVENT_LOST:
        on_lost(raft, event->node);
        return 0;
    case RAFT_EVENT_GONE:
        on_gone(raft, event->node);
        return 0;
    case RAFT_EVENT_MESSAGE:
        on_message(raft, event->message, event->diverging);
        return 0;
    case RAFT_EVENT_LEADER_RECORD:
        on_leader_record(raft, event);
        return 0;
    case RAFT_EVENT_VOTERS_RECORD:
        return on_voters_record(raft, event);
    case RAFT_EVENT_TRUNCATED:
        on_truncated(raft, event->offset);
        return 0;
    case RAFT_EVENT_RESET:
        return on_reset(raft, event->change);
    case RAFT_EVENT_TRIMMED:
        raft_history_trim(&raft->voters, event->offset);
        return 0;
    case RAFT_EVENT_FLUSHED:
        raft_count_flushed(raft);
        return 0;
    case RAFT_EVENT_CHANGE_VOTERS:
        return raft_change_to(raft, event->peers);
    case RAFT_EVENT_RECOVER:
        raft_recover(raft);
        return 0;
    case RAFT_EVENT_APPEND_FAILED:
        if (raft->role == RAFT_LEADER)
            raft_resign(raft);
        return 0;
    case RAFT_EVENT_UNREADABLE:
        if (raft->role == RAFT_LEADER && raft_other_is_ready(raft))
            raft_resign(raft);
        return 0;
    case RAFT_EVENT_STOP:
        on_stop(raft);
        return 0;
    }
    return 0;
}

void raft_init(struct raft *raft, const struct raft_config *config, const struct raft_state *state)
{
    memset(raft, 0, sizeof *raft);
    raft->config = *config;
    raft->role = RAFT_OBSERVER;
    raft->state = raft->persisted = *state;
    raft->election_at_ms = raft->find_at_ms = raft->epoch_start = INT64_MAX;
    for (int i = 0; i < LIMIT_NODES; i++)
        raft->empty[i].answered_ms = INT64_MIN;
}

void raft_set_state(struct raft *raft, const struct raft_state *state)
{
    assert(!raft->started);
    raft->state = raft->persisted = *state;
}

void raft_free(struct raft *raft)
{
    raft_history_free(&raft->voters);
}

int raft_step(struct raft *raft, int64_t now_ms, const struct raft_event *event, struct raft_actions *out)
{
    struct raft_state state = raft->state;
    enum raft_role role = raft->role;
    bool gone = raft->leader_gone;
    int rc;

    assert(now_ms >= raft->now_ms);
    raft->now_ms = now_ms;
    raft->out = out;
    out->count = 0;
    rc = work(raft, event);
    if (role != raft->role || gone != raft->leader_gone || state.epoch != raft->state.epoch ||
        !raft_id_equal(state.leader, raft->state.leader))
        raft_act(raft, RAFT_ROLE);
    persist_first(raft);
    raft->out = NULL;
    return rc;
}

int64_t raft_deadline_ms(const struct raft *raft)
{
    int64_t at = raft->role == RAFT_LEADER ? raft_lead_deadline_ms(raft) : raft->election_at_ms;
    int64_t find = raft_find_deadline_ms(raft);

    return find < at ? find : at;
}

const struct raft_voters *raft_voters(const struct raft *raft)
{
    return &raft_history_latest(&raft->voters)->voters;
}

bool raft_is_voter(const struct raft *raft)
{
    return raft_voters_find(raft_voters(raft), raft->config.self) >= 0;
}

/* REPLICATION.md, rule 24. */
bool raft_may_stand(const struct raft *raft)
{
    const struct raft_history *history = &raft->voters;

    for (size_t i = history->count; i > 0; i--) {
        if (raft_voters_find(&history->changes[i - 1].voters, raft->config.self) >= 0)
            return true;
        if (history->changes[i - 1].offset < raft->high_watermark)
            return false;
    }
    return false;
}

struct raft_id raft_leader(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER)
        return raft->config.self;
    if ((raft->role == RAFT_FOLLOWER || raft->role == RAFT_OBSERVER) && raft->leader_heard && !raft->leader_gone)
        return raft->state.leader;
    return (struct raft_id){0};
}

struct raft_id raft_fetch_from(const struct raft *raft)
{
    if ((raft->role == RAFT_FOLLOWER || raft->role == RAFT_OBSERVER || raft->role == RAFT_PROSPECTIVE) &&
        !raft->leader_gone && raft->state.leader.node != raft->config.self.node)
        return raft->state.leader;
    return (struct raft_id){0};
}

/* REPLICATION.md, rule 19. */
bool raft_may_answer(const struct raft *raft)
{
    return raft->role == RAFT_LEADER && (raft->high_watermark > raft->epoch_start || RAFT_BUG(answers_early));
}

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[RAFT_ROLES] = {
        [RAFT_UNATTACHED] = "unattached", [RAFT_PROSPECTIVE] = "prospective", [RAFT_CANDIDATE] = "candidate",
        [RAFT_LEADER] = "leader",         [RAFT_FOLLOWER] = "follower",       [RAFT_OBSERVER] = "observer",
        [RAFT_RESIGNED] = "resigned"};

    return names[role];
}
