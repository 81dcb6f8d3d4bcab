/* replication/metadata/raft_change.c: how voters change (KIP-853): one server a step, each step a record of the log.
 *
 * Two sets that differ by one server have a server in common in any two majorities of theirs; so a step may follow when
 * the last is decided, and the first of a leader when a record of its own epoch is (the flaw in single-server changes
 * that Ongaro reported on raft-dev in 2015). Each record names the target too: whoever leads goes on towards it, so
 * that two voters are no resting state.
 *
 * The order of steps: an old incarnation of a target's node goes before the new one comes (a set holds a node once),
 * otherwise servers come before others go, as far as there is room, and the leader goes last. A server comes only when
 * it is caught up, and no step is begun after which no majority of the voters would be.
 *
 * Who asks names nodes; which incarnation a node is now, its fetches tell. So all that are named must fetch: of one
 * that does not, the voter that it was may be gone for good with its disk, and nobody may be told that it is one. */
#include <errno.h>

#include "replication/metadata/raft_internal.h"

/* It fetched just now, and had flushed all that was decided then or not long before. */
static bool is_ready(const struct raft *raft, struct raft_id id)
{
    const struct raft_replica *replica = raft_replica_of(raft, id);

    return raft_id_equal(id, raft->config.self) || (replica != NULL && replica->caught_up_ms != INT64_MIN &&
                                                    raft->now_ms - replica->caught_up_ms <= RAFT_ELECTION_MIN_MS);
}

bool raft_other_is_ready(const struct raft *raft)
{
    const struct raft_voters *voters = raft_voters(raft);
    bool ready = false;

    for (int32_t i = 0; i < voters->count; i++)
        ready = ready || (!raft_id_equal(voters->ids[i], raft->config.self) && is_ready(raft, voters->ids[i]));
    return ready;
}

static bool majority_is_ready(const struct raft *raft, const struct raft_voters *voters)
{
    int ready = 0;

    for (int32_t i = 0; i < voters->count; i++)
        ready += is_ready(raft, voters->ids[i]);
    return ready >= raft_voters_majority(voters);
}

/* The latest change is in the log and not yet decided. */
static bool is_pending(const struct raft *raft)
{
    return raft->change_asked || raft_history_latest(&raft->voters)->offset >= raft->high_watermark;
}

/* Whom to take out next: first who is not there, so that those who are stay a majority, and the leader last. Node 0:
 * nobody. */
static struct raft_id next_to_go(const struct raft *raft, const struct raft_voters *voters,
                                 const struct raft_voters *target)
{
    struct raft_id well = {0}, self = {0};

    for (int32_t i = 0; i < voters->count; i++) {
        if (raft_voters_find(target, voters->ids[i]) >= 0)
            continue;
        if (raft_id_equal(voters->ids[i], raft->config.self))
            self = voters->ids[i];
        else if (!is_ready(raft, voters->ids[i]))
            return voters->ids[i];
        else if (well.node == 0)
            well = voters->ids[i];
    }
    return well.node != 0 ? well : self;
}

/* Whom to take in next, whose place is not taken by another incarnation; node 0: nobody. */
static struct raft_id next_to_come(const struct raft *raft, const struct raft_voters *voters,
                                   const struct raft_voters *target)
{
    for (int32_t i = 0; i < target->count; i++) {
        if (raft_voters_node(voters, target->ids[i].node) == NULL && is_ready(raft, target->ids[i]))
            return target->ids[i];
    }
    return (struct raft_id){0};
}

/* An incarnation of a node of the target that is not the target's. */
static struct raft_id next_replaced(const struct raft_voters *voters, const struct raft_voters *target)
{
    for (int32_t i = 0; i < voters->count; i++) {
        if (raft_voters_find(target, voters->ids[i]) < 0 && raft_voters_node(target, voters->ids[i].node) != NULL)
            return voters->ids[i];
    }
    return (struct raft_id){0};
}

static bool has_all(const struct raft_voters *voters, const struct raft_voters *target)
{
    for (int32_t i = 0; i < target->count; i++) {
        if (raft_voters_find(voters, target->ids[i]) < 0)
            return false;
    }
    return true;
}

/* The next set on the way; false: the target is reached, or no step can be made now. */
static bool next_step(const struct raft *raft, const struct raft_voters *voters, const struct raft_voters *target,
                      struct raft_voters *next)
{
    struct raft_id replaced = next_replaced(voters, target), come = next_to_come(raft, voters, target);
    struct raft_id go = {0};

    *next = *voters;
    if (replaced.node != 0 && voters->count > 1)
        go = replaced;
    else if (come.node != 0 && voters->count < LIMIT_VOTERS)
        go.node = 0;
    else if (has_all(voters, target) || voters->count == LIMIT_VOTERS)
        go = next_to_go(raft, voters, target);
    else
        return false;
    if (go.node != 0)
        raft_voters_remove(next, go);
    else if (come.node != 0)
        raft_voters_add(next, come);
    return next->count > 0 && !raft_voters_equal(next, voters) && majority_is_ready(raft, next);
}

static void ask_append(struct raft *raft, const struct raft_voters *voters, const struct raft_voters *target)
{
    struct raft_action *action = raft_act(raft, RAFT_APPEND_VOTERS);

    action->append.epoch = raft->state.epoch;
    action->append.voters = *voters;
    action->append.target = *target;
    raft->change_asked = true;
}

void raft_change_step(struct raft *raft)
{
    const struct raft_change *latest = raft_history_latest(&raft->voters);
    struct raft_voters next;

    if (raft->role != RAFT_LEADER)
        return;
    if (!RAFT_BUG(change_before_own_epoch) && raft->high_watermark <= raft->epoch_start)
        return;
    if (RAFT_BUG(two_changes_at_once) ? raft->change_asked : is_pending(raft))
        return;
    /* Decided, and without this server: its time is over. A lone leader's first record has no voters at all. */
    if (latest->voters.count > 0 && !raft_is_voter(raft) && !is_pending(raft)) {
        raft_resign(raft);
        return;
    }
    /* Who leaves appends no more. */
    if (!raft->stopping && next_step(raft, &latest->voters, &latest->target, &next))
        ask_append(raft, &next, &latest->target);
}

/* The server that the node is now: the one that fetched last, or the voter that it was. */
static struct raft_id server_of(const struct raft *raft, int32_t node)
{
    const struct raft_id *voter = raft_voters_node(raft_voters(raft), node);
    const struct raft_replica *last = NULL;

    if (node == raft->config.self.node)
        return raft->config.self;
    for (int32_t i = 0; i < raft->replica_count; i++) {
        const struct raft_replica *replica = &raft->replicas[i];

        if (replica->id.node == node && (last == NULL || replica->fetched_ms >= last->fetched_ms))
            last = replica;
    }
    return last != NULL ? last->id : voter != NULL ? *voter : (struct raft_id){0};
}

static bool is_size(int32_t count)
{
    return count == 1 || count == 3 || count == 5;
}

/* The servers that the nodes are now. */
static int target_of(const struct raft *raft, const struct raft_peers *nodes, struct raft_voters *target)
{
    for (int32_t i = 0; i < nodes->count; i++) {
        struct raft_id id = server_of(raft, nodes->nodes[i]);

        if (id.node == 0)
            return -EAGAIN;
        if (raft_voters_node(target, id.node) != NULL)
            return -EINVAL;
        raft_voters_add(target, id);
    }
    return 0;
}

static bool all_are_ready(const struct raft *raft, const struct raft_voters *voters)
{
    for (int32_t i = 0; i < voters->count; i++) {
        if (!is_ready(raft, voters->ids[i]))
            return false;
    }
    return true;
}

int raft_change_to(struct raft *raft, const struct raft_peers *nodes)
{
    const struct raft_change *latest = raft_history_latest(&raft->voters);
    struct raft_voters target = {0}, next;
    int rc;

    if (!is_size(nodes->count))
        return -EINVAL;
    if (!raft_may_answer(raft) || raft->stopping)
        return -EAGAIN;
    rc = target_of(raft, nodes, &target);
    if (rc != 0)
        return rc;
    /* Also of a target that is on its way: those who are voters already may be gone by now. */
    if (!all_are_ready(raft, &target))
        return -EAGAIN;
    if (raft_voters_equal(&target, &latest->target))
        return 0;
    if (is_pending(raft))
        return -EAGAIN;
    /* Another target for the voters that are is a record too, so that who leads next knows it. */
    if (!raft_voters_equal(&target, &latest->voters) && !next_step(raft, &latest->voters, &target, &next))
        return -EAGAIN;
    ask_append(raft, raft_voters_equal(&target, &latest->voters) ? &latest->voters : &next, &target);
    return 0;
}
