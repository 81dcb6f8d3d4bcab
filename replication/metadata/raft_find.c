/* replication/metadata/raft_find.c: who knows no leader looks for one; who knows no cluster may begin one.
 *
 * Find goes to the voters and to the nodes of the `peer=` list. Its answers say who leads, and whether the answerer's
 * log is empty. A cluster begins when the lowest node of the list has heard from each of the others that its log is
 * empty and that it has the same list (docs/REPLICATION.md): it then writes the first record, the voters with their
 * incarnations, and stands. The others vote for it although their logs know no voters. A node that finds a log that is
 * not empty anywhere never begins a cluster: it waits for a leader to fetch from.
 *
 * A log with records but without voters comes from a version that had none: its node ran alone, and is the one voter.
 */
#include "replication/metadata/raft_internal.h"

enum {
    /* An answer that somebody is empty counts for so long: it is asked again before. */
    EMPTY_HOLDS_MS = 4 * RAFT_FIND_MS,
    /* Asked at once; the others have their turn at the next tick. */
    FIND_AT_ONCE = 8,
};

static bool is_looking(const struct raft *raft)
{
    switch (raft->role) {
    case RAFT_UNATTACHED:
    case RAFT_RESIGNED:
        return !raft->stopping;
    case RAFT_PROSPECTIVE:
        return raft->state.leader.node == 0 || raft->leader_gone;
    case RAFT_OBSERVER:
        return raft->state.leader.node == 0 || raft->leader_gone ||
               raft_id_equal(raft->state.leader, raft->config.self);
    default:
        return false;
    }
}

/* ---- asking ---- */

static void ask(struct raft *raft, int32_t node)
{
    struct raft_message *msg = raft_send(raft, RAFT_FIND, (struct raft_id){.node = node});

    msg->find.run = raft->run;
    msg->find.peers = raft->config.peers;
}

/* The i-th node to ask: the list's, then the voters that are not on it. 0: none behind. */
static int32_t node_to_ask(const struct raft *raft, int32_t i)
{
    const struct raft_peers *peers = &raft->config.peers;
    const struct raft_voters *voters = raft_voters(raft);

    if (i < peers->count)
        return peers->nodes[i];
    i -= peers->count;
    return i < voters->count ? voters->ids[i].node : 0;
}

static bool is_on_list(const struct raft *raft, int32_t node)
{
    for (int32_t i = 0; i < raft->config.peers.count; i++) {
        if (raft->config.peers.nodes[i] == node)
            return true;
    }
    return false;
}

static void ask_some(struct raft *raft)
{
    int32_t all = raft->config.peers.count + raft_voters(raft)->count;
    int32_t asked = 0;

    for (int32_t i = 0; i < all && asked < FIND_AT_ONCE; i++) {
        int32_t place = raft->find_next % all;
        int32_t node = node_to_ask(raft, place);

        raft->find_next = place + 1;
        if (node == raft->config.self.node || (place >= raft->config.peers.count && is_on_list(raft, node)))
            continue;
        ask(raft, node);
        asked++;
    }
}

int64_t raft_find_deadline_ms(const struct raft *raft)
{
    return is_looking(raft) ? raft->find_at_ms : INT64_MAX;
}

void raft_find_tick(struct raft *raft)
{
    if (!is_looking(raft) || raft->now_ms < raft->find_at_ms)
        return;
    raft->find_at_ms = raft->now_ms + RAFT_FIND_MS;
    ask_some(raft);
}

void raft_find_now(struct raft *raft, int32_t node)
{
    if (raft->started && is_looking(raft) && node != raft->config.self.node)
        ask(raft, node);
}

/* ---- answering ---- */

static bool is_empty(const struct raft *raft)
{
    return raft_log_end(raft) == 0 && raft_voters(raft)->count == 0;
}

void raft_on_find(struct raft *raft, const struct raft_message *msg)
{
    struct raft_message *answer;

    raft_adopt_epoch(raft, msg->epoch, (struct raft_id){0});
    /* The leader's node lives on as somebody else: it has lost its disk, and with it its leadership. */
    if (msg->from.node == raft->state.leader.node && !raft_id_equal(msg->from, raft->state.leader))
        raft_leader_ended(raft);
    answer = raft_answer(raft, msg);
    /* Who follows somebody is part of a cluster, though nothing of it may have come yet. */
    answer->find_answer.empty = is_empty(raft) && raft_leader(raft).node == 0;
    answer->find_answer.run = msg->find.run;
    answer->find_answer.peers = raft->config.peers;
}

/* ---- a cluster's beginning ---- */

static bool same_list(const struct raft_peers *a, const struct raft_peers *b)
{
    if (a->count != b->count)
        return false;
    for (int32_t i = 0; i < a->count; i++) {
        if (a->nodes[i] != b->nodes[i])
            return false;
    }
    return true;
}

/* The lowest 1, 3 or 5 of the list. */
static int32_t first_voters(const struct raft_peers *peers)
{
    return peers->count >= 5 ? 5 : peers->count >= 3 ? 3 : 1;
}

static void bootstrap(struct raft *raft, const struct raft_voters *voters)
{
    struct raft_action *action = raft_act(raft, RAFT_BOOTSTRAP);

    /* The log may know of later epochs than its last record's: this one is above none of them. */
    action->append.epoch = raft->state.epoch;
    action->append.voters = action->append.target = *voters;
    raft->change_asked = true;
}

/* REPLICATION.md, rule 25. */
static void bootstrap_if_all_empty(struct raft *raft)
{
    const struct raft_peers *peers = &raft->config.peers;
    struct raft_voters voters = {0};
    int32_t empty = 0;

    if (!is_empty(raft) || raft->change_asked || peers->count == 0 || peers->nodes[0] != raft->config.self.node)
        return;
    for (int32_t i = 0; i < peers->count; i++) {
        bool self = peers->nodes[i] == raft->config.self.node;
        bool answered =
            raft->empty[i].answered_ms != INT64_MIN && raft->now_ms - raft->empty[i].answered_ms <= EMPTY_HOLDS_MS;
        struct raft_id id = {peers->nodes[i], self ? raft->config.self.incarnation : raft->empty[i].incarnation};

        if (!self && !answered && !(RAFT_BUG(bootstrap_by_majority) && peers->count > 1))
            return;
        empty += self || answered;
        if (i < first_voters(peers) && id.incarnation != 0)
            raft_voters_add(&voters, id);
    }
    if (empty > peers->count / 2)
        bootstrap(raft, &voters);
}

void raft_on_find_answer(struct raft *raft, const struct raft_message *msg)
{
    const struct raft_peers *peers = &raft->config.peers;

    for (int32_t i = 0; i < peers->count; i++) {
        /* What was said to an earlier process may have been said when the cluster had not begun. */
        if (peers->nodes[i] != msg->from.node || msg->find_answer.run != raft->run)
            continue;
        raft->empty[i].incarnation = msg->from.incarnation;
        raft->empty[i].answered_ms =
            msg->find_answer.empty && same_list(&msg->find_answer.peers, peers) ? raft->now_ms : INT64_MIN;
    }
    bootstrap_if_all_empty(raft);
    if (!is_looking(raft) || msg->epoch != raft->state.epoch || msg->leader.node == 0 ||
        msg->leader.node == raft->config.self.node)
        return;
    /* There is one leader an epoch: it is the one already known, if any. */
    if (raft->state.leader.node == 0 || raft_id_equal(raft->state.leader, msg->leader))
        raft_become_follower(raft, msg->leader, false);
}

void raft_bootstrap_start(struct raft *raft)
{
    struct raft_voters alone = {.count = 1, .ids = {raft->config.self}};

    if (raft_log_end(raft) > 0)
        bootstrap(raft, &alone);
    else
        bootstrap_if_all_empty(raft);
}

/* ---- a quorum that is lost for good ---- */

/* This server makes itself the only voter, in an epoch of its own (REPLICATION.md, rule 26). */
void raft_recover(struct raft *raft)
{
    struct raft_voters alone = {.count = 1, .ids = {raft->config.self}};
    struct raft_action *action;

    if (raft->role == RAFT_LEADER)
        return;
    raft_become_sole_leader(raft);
    action = raft_act(raft, RAFT_APPEND_VOTERS);
    action->append.epoch = raft->state.epoch;
    action->append.voters = action->append.target = alone;
    raft->change_asked = true;
}
