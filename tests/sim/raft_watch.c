/* tests/sim/raft_watch.c: one server beside what it was, and beside the others. */
#include "tests/sim/raft_watch.h"

#include <inttypes.h>

#include "replication/node/node_internal.h"
#include "tests/sim/world.h"

enum { RESIGNS_MS = 2000 /* so much later than it has to, at most */ };

static struct raft_watch *watch_of(struct world *world, int32_t id)
{
    return &world->watches[id - 1];
}

/* It can be looked at: what it is it was since its last step. NULL: it is down, or in between. */
static const struct raft *server_of(struct world *world, int32_t id)
{
    const struct sim_node *host = &world->nodes[id - 1];
    bool seen = host->node != NULL && !host->in_call && !host->disk.crashed && !host->ended &&
                watch_of(world, id)->mounts == host->mounts;
    return seen ? &host->node->quorum.raft : NULL;
}

/* ---- what goes back nowhere ---- */

static void check_forward(struct sim_node *host, const struct raft *raft, const struct raft_watch *before)
{
    if (raft->high_watermark < before->high_watermark) {
        world_fail(host->world, "node %d: what is decided went back from %" PRId64 " to %" PRId64 " (rule 20)",
                   host->id, before->high_watermark, raft->high_watermark);
    }
    if (raft->role != RAFT_LEADER || before->role != RAFT_LEADER || raft->state.epoch != before->state.epoch)
        return;
    for (int32_t i = 0; i < raft->replica_count; i++) {
        const struct raft_replica *now = &raft->replicas[i];
        for (int32_t j = 0; j < before->replica_count; j++) {
            const struct raft_replica *was = &before->replicas[j];
            if (raft_id_equal(now->id, was->id) && (now->offset < was->offset || now->flushed < was->flushed)) {
                world_fail(host->world,
                           "node %d: node %d had %" PRId64 ", %" PRId64 " of it flushed, and now %" PRId64 ", %" PRId64
                           " (rule 20)",
                           host->id, now->id.node, was->offset, was->flushed, now->offset, now->flushed);
            }
        }
    }
}

/* Who is down, or is another one by now, has it, perhaps. */
static bool has_flushed(struct world *world, struct raft_id voter, int64_t offset)
{
    const struct raft *raft = server_of(world, voter.node);
    return raft == NULL || !raft_id_equal(raft->config.self, voter) || watch_of(world, voter.node)->flushed >= offset ||
           raft->config.log->flushed(raft->config.log) >= offset;
}

static int32_t count_flushed(struct world *world, const struct raft_voters *voters, int64_t offset)
{
    int32_t count = 0;
    for (int32_t i = 0; i < voters->count; i++)
        count += has_flushed(world, voters->ids[i], offset);
    return count;
}

/* The voters may have been changed since it was decided, within the step. */
static void check_decided(struct sim_node *host, const struct raft *raft, const struct raft_watch *before)
{
    const struct raft_voters *voters = raft_voters(raft);
    int32_t count = count_flushed(host->world, voters, raft->high_watermark);
    if (raft->role != RAFT_LEADER || raft->high_watermark <= before->high_watermark || count > voters->count / 2 ||
        count_flushed(host->world, &before->voters, raft->high_watermark) > before->voters.count / 2)
        return;
    world_fail(host->world,
               "node %d takes what is below %" PRId64 " for decided, and %d of %d voters have flushed it (rule 19)",
               host->id, raft->high_watermark, count, voters->count);
}

/* ---- elections ---- */

/* How many voters other than itself have had a leader since then, and so have granted it no pre-vote. */
static int32_t count_led(struct world *world, const struct raft *raft, uint64_t since)
{
    const struct raft_voters *voters = raft_voters(raft);
    int32_t count = 0;
    for (int32_t i = 0; i < voters->count; i++) {
        int32_t id = voters->ids[i].node;
        const struct raft *other = server_of(world, id);
        const struct raft_watch *watch = watch_of(world, id);
        if (id != raft->config.self.node && other != NULL && raft_id_equal(other->config.self, voters->ids[i]) &&
            watch->leader.node != 0 && watch->has_leader <= since)
            count++;
    }
    return count;
}

/* Of which a node may see more than one thing happen within a step: that it had a leader again, and was called. */
static bool is_called(const struct raft *raft, const struct raft_watch *before)
{
    return raft->state.epoch > 1 && before->called_epoch == raft->state.epoch - 1;
}

static void check_stands(struct sim_node *host, const struct raft *raft, const struct raft_watch *before)
{
    int32_t voters = raft_voters(raft)->count, led;
    if (raft->role != RAFT_CANDIDATE || voters < 2 ||
        (before->role == RAFT_CANDIDATE && before->state.epoch == raft->state.epoch) || is_called(raft, before))
        return;
    if (before->role != RAFT_PROSPECTIVE) {
        world_fail(host->world, "node %d stands in epoch %d, and has asked nobody first (rule 17)", host->id,
                   raft->state.epoch);
        return;
    }
    led = count_led(host->world, raft, before->asks);
    if (voters - led <= voters / 2) {
        world_fail(host->world,
                   "node %d stands in epoch %d, and %d of %d voters have had a leader since it asked (rule 17)",
                   host->id, raft->state.epoch, led, voters);
    }
}

/* It has voted for the leader, or may have. */
static bool has_voted(struct world *world, struct raft_id voter, const struct raft *leader, uint64_t stands)
{
    const struct raft *raft = server_of(world, voter.node);
    if (raft == NULL)
        return true;
    if (!raft_id_equal(raft->config.self, voter))
        return watch_of(world, voter.node)->since > stands; /* it has lost its disk since, perhaps */
    return raft->state.epoch > leader->state.epoch ||
           (raft->state.epoch == leader->state.epoch && raft_id_equal(raft->state.vote, leader->config.self));
}

static void check_elected(struct sim_node *host, const struct raft *raft, const struct raft_watch *before)
{
    const struct raft_voters *voters = raft_voters(raft);
    int32_t votes = 0;
    if (raft->role != RAFT_LEADER || before->role != RAFT_CANDIDATE)
        return;
    for (int32_t i = 0; i < voters->count; i++)
        votes += has_voted(host->world, voters->ids[i], raft, before->stands);
    if (votes <= voters->count / 2) {
        world_fail(host->world, "node %d leads in epoch %d, and %d of %d voters have voted for it (rule 16)", host->id,
                   raft->state.epoch, votes, voters->count);
    }
}

/* Of its own, which its epoch's first record is not. */
static void check_changes(struct sim_node *host, const struct raft *raft)
{
    int undecided = 0;
    for (size_t i = 0; i < raft->voters.count && raft->role == RAFT_LEADER; i++) {
        int64_t offset = raft->voters.changes[i].offset;
        undecided += offset > raft->epoch_start && offset >= raft->high_watermark;
    }
    if (undecided > 1 || (undecided > 0 && raft->high_watermark <= raft->epoch_start)) {
        world_fail(host->world, "node %d: %d changes of the voters are not decided, and %s (rule 23)", host->id,
                   undecided, undecided > 1 ? "one at a time may be" : "nor is the record of its epoch");
    }
}

static bool is_same(const struct raft_voters *a, const struct raft_voters *b)
{
    bool same = a->count == b->count;
    for (int32_t i = 0; i < a->count && same; i++)
        same = raft_id_equal(a->ids[i], b->ids[i]);
    return same;
}

/* Those that are in force are from the record that has been applied last, or from a later one. */
static void check_voters(struct sim_node *host, const struct raft *raft)
{
    const struct metadata *meta = &host->node->quorum.meta;
    const struct raft_change *last = NULL;
    for (size_t i = 0; i < raft->voters.count; i++) {
        if (raft->voters.changes[i].offset < meta->next_offset)
            last = &raft->voters.changes[i];
    }
    if (meta->voters.offset < 0 || (last == NULL && raft->voters.count > 0) ||
        (last != NULL && is_same(&last->voters, &meta->voters.voters)))
        return;
    world_fail(host->world, "node %d: it knows other voters than those of %" PRId64 ", which it has applied (rule 22)",
               host->id, meta->voters.offset);
}

static void check_resigns(struct sim_node *host, const struct raft *raft, const struct raft_watch *watch)
{
    int64_t fetched_ms = raft_majority_fetched_ms(raft);
    int64_t now_ms = host->clock.clock.mono_ms(&host->clock.clock);
    if (raft->role != RAFT_LEADER || host->node->quorum.state != QUORUM_WELL || fetched_ms == INT64_MAX ||
        watch->awake_ms + RESIGNS_MS > host->world->now_ms)
        return;
    if (now_ms - fetched_ms > RAFT_ELECTION_MIN_MS + RESIGNS_MS) {
        world_fail(host->world, "node %d leads in epoch %d, and for %" PRId64 " ms no majority has fetched (rule 21)",
                   host->id, raft->state.epoch, now_ms - fetched_ms);
    }
}

/* ---- the whole ---- */

static void keep(struct raft_watch *watch, const struct raft *raft, uint64_t step, bool anew)
{
    struct raft_id leader = raft_leader(raft);
    int64_t flushed = raft->config.log->flushed(raft->config.log);
    if (!raft_id_equal(raft->config.self, watch->self) || flushed > watch->flushed)
        watch->flushed = flushed;
    watch->self = raft->config.self;
    watch->voters = *raft_voters(raft);
    if (anew || !raft_id_equal(leader, watch->leader) || raft->state.epoch != watch->state.epoch)
        watch->has_leader = step;
    if (anew || (raft->role == RAFT_PROSPECTIVE && watch->role != RAFT_PROSPECTIVE))
        watch->asks = step;
    if (anew ||
        (raft->role == RAFT_CANDIDATE && (watch->role != RAFT_CANDIDATE || watch->state.epoch != raft->state.epoch)))
        watch->stands = step;
    watch->leader = leader;
    watch->role = raft->role;
    watch->state = raft->state;
    watch->high_watermark = raft->high_watermark;
    watch->replica_count = raft->role == RAFT_LEADER ? raft->replica_count : 0;
    for (int32_t i = 0; i < watch->replica_count; i++)
        watch->replicas[i] = raft->replicas[i];
}

void raft_watch_look(struct sim_node *host)
{
    struct world *world = host->world;
    const struct raft *raft = &host->node->quorum.raft;
    struct raft_watch *watch = watch_of(world, host->id);
    bool anew = watch->mounts != host->mounts;
    if (anew) {
        watch->since = world->steps;
        watch->mounts = host->mounts;
    }
    if (anew || world->now_ms - watch->seen_ms > RESIGNS_MS / 2) /* it has paused */
        watch->awake_ms = world->now_ms;
    watch->seen_ms = world->now_ms;
    if (!anew) {
        check_forward(host, raft, watch);
        check_decided(host, raft, watch);
        check_stands(host, raft, watch);
        check_elected(host, raft, watch);
        check_changes(host, raft);
        check_voters(host, raft);
        check_resigns(host, raft, watch);
    }
    keep(watch, raft, world->steps, anew);
}

void raft_watch_sent(void *arg, int32_t to, const struct frame_out *out)
{
    struct raft_watch *watch = watch_of(arg, to);
    struct raft_message msg;
    struct err e;
    if (out->kind == MESSAGE_RAFT && raft_message_decode(out->header, out->header_bytes, &msg, &e) == 0 &&
        msg.type == RAFT_END && msg.end.count > 0 && msg.end.successors[0] == to && msg.epoch > watch->called_epoch)
        watch->called_epoch = msg.epoch;
}
