/* replication/metadata/raft_votes.c: votes asked for, given and counted.
 *
 * A vote names the server that is asked, with its incarnation: who lost its disk is somebody else and cannot vote for
 * what it has forgotten. Whoever is named votes, whatever its own log says of the voters (KIP-853).
 *
 * A pre-vote asks "would you vote for me in the next epoch?" and changes nothing. It is refused by a leader and by who
 * has one that it has heard of itself and that is not known to have ended. */
#include <assert.h>

#include "replication/metadata/raft_internal.h"

/* ---- asked for ---- */

static int count_bits(unsigned bits)
{
    return __builtin_popcount(bits);
}

static bool won(const struct raft *raft)
{
    return count_bits(raft->granted) >= raft_voters_majority(raft_voters(raft));
}

/* So many have refused that the rest is no majority. */
static bool lost(const struct raft *raft)
{
    const struct raft_voters *voters = raft_voters(raft);

    return voters->count - count_bits(raft->refused) < raft_voters_majority(voters);
}

bool raft_ask_votes(struct raft *raft)
{
    const struct raft_voters *voters = raft_voters(raft);
    struct raft_message *msg;

    raft->granted = raft->refused = 0;
    raft->leader_named = false;
    for (int32_t i = 0; i < voters->count; i++) {
        if (raft_id_equal(voters->ids[i], raft->config.self)) {
            raft->granted |= 1U << i;
            continue;
        }
        msg = raft_send(raft, RAFT_VOTE, voters->ids[i]);
        msg->vote.pre = raft->role == RAFT_PROSPECTIVE;
        msg->vote.round = raft->round;
        msg->vote.end_epoch = raft->config.log->end_epoch(raft->config.log);
        msg->vote.end_offset = raft_log_end(raft);
    }
    return won(raft);
}

/* ---- given ---- */

/* The candidate's log holds all that this one does (Raft, 5.4.1). */
static bool is_up_to_date(const struct raft *raft, const struct raft_message *msg)
{
    int32_t end_epoch = raft->config.log->end_epoch(raft->config.log);

    return RAFT_BUG(votes_for_behind) || msg->vote.end_epoch > end_epoch ||
           (msg->vote.end_epoch == end_epoch && msg->vote.end_offset >= raft_log_end(raft));
}

static bool may_vote(const struct raft *raft, const struct raft_message *msg)
{
    if (msg->epoch != raft->state.epoch)
        return false;
    if (raft_id_equal(raft->state.vote, msg->from))
        return true;
    return raft->state.vote.node == 0 && raft->state.leader.node == 0 && is_up_to_date(raft, msg);
}

static bool may_pre_vote(const struct raft *raft, const struct raft_message *msg)
{
    return msg->epoch == raft->state.epoch && is_up_to_date(raft, msg) &&
           (raft_leader(raft).node == 0 || (RAFT_BUG(pre_vote_with_leader) && raft->role != RAFT_LEADER));
}

static void answer(struct raft *raft, const struct raft_message *msg, bool granted)
{
    struct raft_message *ans = raft_answer(raft, msg);

    ans->vote_answer.pre = msg->vote.pre;
    ans->vote_answer.round = msg->vote.round;
    ans->vote_answer.granted = granted;
    if (RAFT_BUG(answer_echoes_epoch) && msg->vote.pre)
        ans->epoch = msg->epoch;
}

void raft_on_vote(struct raft *raft, const struct raft_message *msg)
{
    bool granted;

    if (!raft_id_equal(msg->to, raft->config.self) &&
        !(RAFT_BUG(wiped_voter_votes) && msg->to.node == raft->config.self.node)) {
        answer(raft, msg, false);
        return;
    }
    raft_adopt_epoch(raft, msg->epoch, (struct raft_id){0});
    if (msg->vote.pre) {
        granted = may_pre_vote(raft, msg);
        /* Lets the asker go first. */
        if (granted && raft->role != RAFT_OBSERVER && raft->election_at_ms < raft->now_ms + RAFT_RETRY_MS)
            raft->election_at_ms = raft->now_ms + RAFT_RETRY_MS;
    } else {
        granted = may_vote(raft, msg);
        if (granted)
            raft_give_vote(raft, msg->from);
    }
    answer(raft, msg, granted);
    if (RAFT_BUG(wiped_voter_votes))
        raft->out->actions[raft->out->count - 1].message.from = msg->to;
}

/* ---- counted ---- */

/* An election that cannot be won any more. */
static void give_up(struct raft *raft)
{
    if (raft->role == RAFT_CANDIDATE) {
        /* Soon again, but not at the moment at which the others try again too. */
        raft->election_at_ms = raft->now_ms + RAFT_RETRY_MS + raft_random(raft, 4 * RAFT_RETRY_MS);
        return;
    }
    if (raft->leader_named) {
        raft_become_follower(raft, raft->state.leader, false);
        return;
    }
    raft_become_leaderless(raft);
    raft_hurry(raft);
    /* Not before the others have had their turn. */
    if (raft->election_at_ms < raft->now_ms + RAFT_RETRY_MS)
        raft->election_at_ms = raft->now_ms + RAFT_RETRY_MS + raft_random(raft, RAFT_RETRY_MS);
}

/* Somebody who refused has heard of the leader itself. true: this server knew of none, and follows it. */
static bool names_leader(struct raft *raft, struct raft_id leader)
{
    if (leader.node == 0 || leader.node == raft->config.self.node)
        return false;
    if (raft->state.leader.node == 0) {
        raft_become_follower(raft, leader, false);
        return true;
    }
    raft->leader_named = raft->leader_named || raft_id_equal(raft->state.leader, leader);
    return false;
}

void raft_on_vote_answer(struct raft *raft, const struct raft_message *msg)
{
    enum raft_role role = msg->vote_answer.pre ? RAFT_PROSPECTIVE : RAFT_CANDIDATE;
    int place = raft_voters_find(raft_voters(raft), msg->from);

    /* A candidate's votes hold for its whole epoch; a pre-vote is for one round. */
    if (raft->role != role || place < 0 || msg->epoch > raft->state.epoch ||
        (msg->vote_answer.pre && msg->vote_answer.round != raft->round))
        return;
    if (msg->vote_answer.granted && msg->epoch == raft->state.epoch) {
        raft->granted |= 1U << place;
    } else {
        raft->refused |= 1U << place;
        if (msg->epoch == raft->state.epoch && names_leader(raft, msg->leader))
            return;
    }
    if (won(raft)) {
        if (role == RAFT_PROSPECTIVE)
            raft_become_candidate(raft);
        else
            raft_become_leader(raft);
    } else if (lost(raft)) {
        give_up(raft);
    }
}
