/* replication/metadata/raft_states.c: the roles and what leads from one to the other.
 *
 *                          timeout, or hurry                majority would vote
 *      ┌────────────┐ ─────────────────────▶ ┌─────────────┐ ─────────────────▶ ┌───────────┐
 *      │ UNATTACHED │                        │ PROSPECTIVE │                    │ CANDIDATE │ epoch + 1
 *      └────────────┘ ◀───────────────────── └─────────────┘ ◀───────────────── └───────────┘
 *        │        ▲    majority would not      ▲    ▲   │      lost, timeout         │ majority votes
 *        │ leader │                    timeout │    │   │ leader heard               ▼
 *        ▼        │ higher epoch       or gone │    │   │                       ┌────────┐
 *      ┌────────────┐ ─────────────────────────┘    │   │                       │ LEADER │
 *      │  FOLLOWER  │ ◀─────────────────────────────┼───┘                       └────────┘
 *      └────────────┘                       timeout │       no majority fetches,     │
 *        │        ▲                          ┌────────────┐ stop, cannot append      │
 *        │ voters │ voters with              │  RESIGNED  │ ◀────────────────────────┘
 *        ▼ without│ this server              └────────────┘
 *      ┌────────────┐
 *      │  OBSERVER  │   A higher epoch in any message makes each of them UNATTACHED in it, or FOLLOWER if it names the
 *      └────────────┘   leader; who does not stand is OBSERVER instead of either, and of RESIGNED.
 *
 * Who stands: the voters in force, and those that were before a change that is not known to be decided. The only server
 * that has such a change in its log may be the one that it removes, and nobody else could win (Ongaro's thesis, 4.2.2);
 * it does not count itself. A leader that the voters do not hold any more leads until that is decided, and resigns.
 *
 * FOLLOWER → CANDIDATE: who was named first by the leader that ended the epoch needs nobody's leave, and asks for no
 * pre-vote: the others may not have heard of the end, and would refuse (Ongaro's thesis, 3.10: TimeoutNow). Nobody is
 * deposed: that leader leads no more in its epoch, and who leads in a later one keeps it.
 *
 * CANDIDATE → PROSPECTIVE: an election that failed begins again with a pre-vote, so that nobody who cannot win raises
 * the epoch twice (KIP-996). OBSERVER votes too, when asked by its name (KIP-853).
 *
 * One timer, election_at_ms, belongs to all roles but LEADER, which has its own (raft_leader.c). */
#include <assert.h>

#include "replication/metadata/raft_internal.h"

static void set_role(struct raft *raft, enum raft_role role)
{
    raft->role = role;
}

static int64_t new_timeout(struct raft *raft)
{
    return raft->now_ms + RAFT_ELECTION_MIN_MS + raft_random(raft, RAFT_ELECTION_MAX_MS - RAFT_ELECTION_MIN_MS);
}

static bool leads_or_led(const struct raft *raft)
{
    return raft_id_equal(raft->state.leader, raft->config.self);
}

/* Who was removed goes on as a voter: somebody's error, which the tests must find. */
static bool stands(const struct raft *raft)
{
    return raft_may_stand(raft) || (RAFT_BUG(removed_voter_stands) && raft->role != RAFT_OBSERVER);
}

/* ---- into a role ---- */

void raft_become_leaderless(struct raft *raft)
{
    enum raft_role role = !stands(raft) ? RAFT_OBSERVER : leads_or_led(raft) ? RAFT_RESIGNED : RAFT_UNATTACHED;

    set_role(raft, role);
    raft->leader_heard = false;
    raft->election_at_ms = role == RAFT_OBSERVER ? INT64_MAX : new_timeout(raft);
    raft->find_at_ms = raft->now_ms;
}

void raft_become_prospective(struct raft *raft)
{
    set_role(raft, RAFT_PROSPECTIVE);
    raft->leader_heard = false;
    raft->election_at_ms = new_timeout(raft);
    raft->find_at_ms = raft->now_ms + RAFT_FIND_MS;
    raft->round++;
    if (raft_ask_votes(raft))
        raft_become_candidate(raft);
}

void raft_become_candidate(struct raft *raft)
{
    bool keep_epoch = RAFT_BUG(lone_voter_keeps_epoch) && raft_voters(raft)->count == 1 && raft->state.epoch > 0;

    set_role(raft, RAFT_CANDIDATE);
    raft->state = (struct raft_state){.epoch = raft->state.epoch + (keep_epoch ? 0 : 1), .vote = raft->config.self};
    raft->leader_heard = raft->leader_gone = raft->called = false;
    raft->elections++;
    raft->election_at_ms = new_timeout(raft);
    if (raft_ask_votes(raft))
        raft_become_leader(raft);
}

void raft_become_leader(struct raft *raft)
{
    set_role(raft, RAFT_LEADER);
    raft->state.leader = raft->config.self;
    raft->starting = raft->leader_gone = false;
    raft->election_at_ms = INT64_MAX;
    raft_lead(raft);
}

void raft_become_sole_leader(struct raft *raft)
{
    int32_t epoch = raft->state.epoch + RAFT_RECOVER_EPOCHS + (int32_t)raft_random(raft, RAFT_RECOVER_CHANCE);

    raft->state = (struct raft_state){.epoch = epoch, .vote = raft->config.self};
    raft_become_leader(raft);
}

void raft_become_follower(struct raft *raft, struct raft_id leader, bool heard)
{
    assert(leader.node != 0 && !raft_id_equal(leader, raft->config.self));
    assert(raft->state.leader.node == 0 || raft_id_equal(raft->state.leader, leader));
    set_role(raft, stands(raft) ? RAFT_FOLLOWER : RAFT_OBSERVER);
    raft->state.leader = leader;
    raft->leader_heard = heard;
    raft->leader_gone = raft->called = false;
    raft->starting = raft->starting && !heard;
    raft->election_at_ms = new_timeout(raft);
}

void raft_resign(struct raft *raft)
{
    raft_hand_over(raft);
    raft_become_leaderless(raft);
}

void raft_adopt_epoch(struct raft *raft, int32_t epoch, struct raft_id leader)
{
    int64_t election_at_ms = raft->role == RAFT_LEADER ? INT64_MAX : raft->election_at_ms;

    if (epoch <= raft->state.epoch)
        return;
    raft->state = (struct raft_state){.epoch = epoch};
    raft->leader_gone = raft->called = false;
    /* A leader that has this node's id is an earlier incarnation of it. */
    if (leader.node != 0 && leader.node != raft->config.self.node) {
        raft_become_follower(raft, leader, false);
        return;
    }
    raft_become_leaderless(raft);
    /* Who raises the epoch without winning must not keep the others from standing. */
    if (election_at_ms < raft->election_at_ms)
        raft->election_at_ms = election_at_ms;
}

void raft_give_vote(struct raft *raft, struct raft_id candidate)
{
    raft->state.vote = candidate;
    if (raft->role != RAFT_OBSERVER)
        raft->election_at_ms = new_timeout(raft);
}

/* ---- what the leader does ---- */

void raft_leader_lives(struct raft *raft)
{
    if (raft->role == RAFT_FOLLOWER || raft->role == RAFT_OBSERVER || raft->role == RAFT_PROSPECTIVE)
        raft_become_follower(raft, raft->state.leader, true);
}

void raft_leader_ended(struct raft *raft)
{
    if (raft->role != RAFT_FOLLOWER && raft->role != RAFT_OBSERVER && raft->role != RAFT_PROSPECTIVE)
        return;
    raft->leader_gone = true;
    raft->leader_heard = false;
    if (raft->find_at_ms > raft->now_ms + RAFT_STAGGER_MS)
        raft->find_at_ms = raft->now_ms + RAFT_STAGGER_MS;
    raft_hurry(raft);
}

void raft_voters_changed(struct raft *raft)
{
    if (!raft->started)
        return;
    switch (raft->role) {
    case RAFT_LEADER:
        raft_count_flushed(raft);
        break;
    case RAFT_CANDIDATE:
    case RAFT_PROSPECTIVE:
    case RAFT_UNATTACHED:
    case RAFT_RESIGNED:
        /* The ballot was another electorate's. */
        if (raft->state.leader.node != 0 && !leads_or_led(raft) && !raft->leader_gone)
            raft_become_follower(raft, raft->state.leader, false);
        else
            raft_become_leaderless(raft);
        raft_hurry(raft);
        break;
    case RAFT_FOLLOWER:
        if (!stands(raft))
            set_role(raft, RAFT_OBSERVER);
        break;
    case RAFT_OBSERVER:
        if (!stands(raft))
            break;
        if (raft->state.leader.node != 0 && !leads_or_led(raft) && !raft->leader_gone)
            set_role(raft, RAFT_FOLLOWER);
        else
            raft_become_leaderless(raft);
        raft_hurry(raft);
        break;
    case RAFT_ROLES:
        break;
    }
}

/* ---- time ---- */

/* This server and those that it is connected to are a majority of the voters. */
static bool majority_connected(const struct raft *raft)
{
    const struct raft_voters *voters = raft_voters(raft);
    int count = raft_is_voter(raft) ? 1 : 0;

    for (int32_t i = 0; i < raft->connected_count; i++)
        count += raft->connected[i] != raft->config.self.node && raft_voters_node(voters, raft->connected[i]) != NULL;
    return count >= raft_voters_majority(voters);
}

/* The place of this server among the voters that may stand: the first one stands first. */
static int64_t rank_of(const struct raft *raft)
{
    const struct raft_voters *voters = raft_voters(raft);
    int64_t rank = 0;

    for (int32_t i = 0; i < voters->count && voters->ids[i].node < raft->config.self.node; i++)
        rank += !(raft->leader_gone && raft_id_equal(voters->ids[i], raft->state.leader));
    return rank;
}

/* REPLICATION.md, rule 18. */
void raft_hurry(struct raft *raft)
{
    bool leaderless = raft->role == RAFT_UNATTACHED || raft->role == RAFT_RESIGNED || raft->role == RAFT_FOLLOWER;
    int64_t at;

    if (!leaderless || !raft_may_stand(raft) || raft->stopping || !(raft->starting || raft->leader_gone) ||
        (raft->role == RAFT_FOLLOWER && !raft->leader_gone) || !majority_connected(raft))
        return;
    at = raft->now_ms;
    /* A lone voter has nobody to be in the way of. */
    if (raft_voters(raft)->count > 1)
        at += rank_of(raft) * RAFT_STAGGER_MS + raft_random(raft, RAFT_STAGGER_MS);
    if (at < raft->election_at_ms)
        raft->election_at_ms = at;
}

static void on_timeout(struct raft *raft)
{
    switch (raft->role) {
    case RAFT_OBSERVER:
        /* Looks for another, or for the same one anew. */
        raft->election_at_ms = INT64_MAX;
        raft_leader_ended(raft);
        return;
    case RAFT_CANDIDATE:
        if (RAFT_BUG(candidate_skips_pre_vote)) {
            raft_become_candidate(raft);
            return;
        }
        break;
    case RAFT_FOLLOWER:
        if (RAFT_BUG(removed_voter_stands) && !raft_may_stand(raft)) {
            raft_become_candidate(raft);
            return;
        }
        if (raft->called && !raft->stopping) {
            raft_become_candidate(raft);
            return;
        }
        break;
    default:
        break;
    }
    if (raft->stopping)
        raft->election_at_ms = INT64_MAX;
    else
        raft_become_prospective(raft);
}

void raft_tick(struct raft *raft)
{
    if (raft->role == RAFT_LEADER)
        raft_lead_tick(raft);
    else if (raft->now_ms >= raft->election_at_ms)
        on_timeout(raft);
    raft_find_tick(raft);
}
