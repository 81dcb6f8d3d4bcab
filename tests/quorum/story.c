/* tests/quorum/story.c: one seed: a world is drawn, a quorum begins, faults happen; then they end, and all must come to
 * rest under one leader that decides; then one link is cut or one death is falsely told, and nobody may be deposed. */
#include <stdlib.h>
#include <string.h>

#include "tests/quorum/model.h"

enum { CALM_MS = 12000, CUT_MS = 6000, REJOIN_MS = 4000, PROPOSE_MS = 500 };

static void begin(struct model *model, uint64_t seed, bool trace)
{
    static const int list_counts[] = {1, 1, 3, 3, 3, 5};
    struct chance *chance = &model->chance;
    struct happening *heap = model->heap;
    struct raft_change *sets = model->sets;
    struct packet *packets = model->free_packets;
    int heap_size = model->heap_size, set_size = model->set_size;

    memset(model, 0, sizeof *model);
    model->heap = heap;
    model->heap_size = heap_size;
    model->sets = sets;
    model->set_size = set_size;
    model->free_packets = packets;
    model->seed = seed;
    chance->state = seed * 0x2545f4914f6cdd1d + 1;
    model->trace = trace;
    model->peers.count = list_counts[chance_below(chance, 6)];
    model->count = model->peers.count + (int)chance_below(chance, 3);
    if (model->count < 3 && chance_percent(chance, 80))
        model->count = 3;
    if (model->count > NODES_MAX)
        model->count = NODES_MAX;
    for (int i = 0; i < model->peers.count; i++)
        model->peers.nodes[i] = i + 1;
    model->faults = true;
    model->loss_percent = chance_below(chance, 3) == 0 ? chance_below(chance, 25) : chance_below(chance, 3);
    model->double_percent = chance_below(chance, 10);
    model->late_percent = chance_below(chance, 3) == 0 ? chance_below(chance, 10) : 0;
    model->crash_permille = chance_below(chance, 2) == 0 ? chance_below(chance, 100) : 0;
    model->wipe_percent = chance_below(chance, 3) == 0 ? chance_below(chance, 100) : 0;
    model->false_gone_percent = chance_below(chance, 100);
    model->delay_ms = 1 + (int)chance_below(chance, chance_percent(chance, 20) ? 100 : 8);
    model->fault_ms = 50 + (int)chance_below(chance, 1200);
    for (int i = 0; i < EPOCHS_MAX; i++)
        model->epochs[i].answered = -1;
    for (int i = 0; i < model->count; i++) {
        struct node *node = &model->nodes[i];

        node->self.node = i + 1;
        node->self.incarnation = 1 + chance_below(chance, UINT32_MAX - 1);
        node->peers = model->peers;
        toy_log_init(&node->log);
    }
}

/* ---- who can lead ---- */

static bool is_ahead(const struct toy_log *a, const struct toy_log *b)
{
    int32_t ea = toy_log_epoch_at(a, a->end), eb = toy_log_epoch_at(b, b->end);

    return ea != eb ? ea > eb : a->end > b->end;
}

/* A majority of its voters is there with logs that are not ahead of its own. */
static bool can_lead(const struct model *model, const struct node *node)
{
    const struct raft_voters *voters = node->log.set >= 0 ? &model->sets[node->log.set].voters : NULL;
    int votes = 0;

    if (voters == NULL || !raft_may_stand(&node->raft))
        return false;
    for (int i = 0; i < model->count; i++)
        votes += raft_voters_find(voters, model->nodes[i].self) >= 0 && !is_ahead(&model->nodes[i].log, &node->log);
    return votes >= raft_voters_majority(voters);
}

static bool anybody_can_lead(const struct model *model)
{
    bool empty = true;

    for (int i = 0; i < model->count; i++) {
        if (can_lead(model, &model->nodes[i]))
            return true;
        empty = empty && model->nodes[i].log.end == 0;
    }
    return empty;
}

/* ---- rest ---- */

static struct node *leader_of(struct model *model)
{
    struct node *leader = NULL;

    for (int i = 0; i < model->count; i++) {
        struct node *node = &model->nodes[i];

        if (node->raft.role == RAFT_LEADER && (leader == NULL || node->raft.state.epoch > leader->raft.state.epoch))
            leader = node;
    }
    return leader;
}

static bool is_there(const struct model *model, struct raft_id id)
{
    return raft_id_equal(model->nodes[id.node - 1].self, id);
}

static void check_rest(struct model *model)
{
    struct node *leader = leader_of(model);
    const struct raft_change *latest;
    bool all_there = true;

    if (leader == NULL) {
        check_failed(model, "they come to rest", "nobody leads");
        return;
    }
    if (leader->raft.high_watermark < leader->log.end || !raft_may_answer(&leader->raft)) {
        check_failed(model, "a leader decides", "node %d, epoch %d: %lld of %lld", leader->self.node,
                     leader->raft.state.epoch, (long long)leader->raft.high_watermark, (long long)leader->log.end);
    }
    for (int i = 0; i < model->count; i++) {
        const struct node *node = &model->nodes[i];

        if (node != leader && !raft_id_equal(raft_leader(&node->raft), leader->self)) {
            check_failed(model, "they come to rest", "node %d, %s of epoch %d, does not follow node %d of %d", i + 1,
                         raft_role_name(node->raft.role), node->raft.state.epoch, leader->self.node,
                         leader->raft.state.epoch);
        } else if (node->log.end != leader->log.end || node->raft.high_watermark != leader->raft.high_watermark) {
            check_failed(model, "they come to rest", "node %d ends at %lld, decided %lld; the leader at %lld, %lld",
                         i + 1, (long long)node->log.end, (long long)node->raft.high_watermark,
                         (long long)leader->log.end, (long long)leader->raft.high_watermark);
        }
    }
    latest = raft_history_latest(&leader->raft.voters);
    for (int32_t i = 0; i < latest->target.count; i++)
        all_there = all_there && is_there(model, latest->target.ids[i]);
    if (all_there && !raft_voters_equal(&latest->voters, &latest->target))
        check_failed(model, "voters reach their target", "%d of %d", latest->voters.count, latest->target.count);
}

/* Lets the commands come, and stop before the end, so that all can be decided. */
static void calm(struct model *model, int64_t ms)
{
    int64_t until = model->now + ms;

    for (int64_t at = model->now + PROPOSE_MS; at < until - 2000; at += PROPOSE_MS)
        model_plan(model, at, HAPPENS_CLIENT, -1);
    model_until(model, until);
}

/* ---- the parts of a story ---- */

/* What was decided and is not in this log is gone: on none of the disks that are left is there more. */
static void forget_lost(struct model *model, const struct toy_log *log)
{
    int64_t end = log->start;

    while (end < log->end && end < model->decided_end && log->records[end].value == model->decided[end].value)
        end++;
    model->decided_end = end;
    for (int32_t epoch = 0; epoch <= model->epoch_max; epoch++) {
        if (model->epochs[epoch].high_watermark > end)
            model->epochs[epoch].high_watermark = end;
    }
}

/* All that is left of the quorum is too little: it is made anew from the best of what is there. */
static void recover(struct model *model)
{
    struct node *best = &model->nodes[0];

    for (int i = 1; i < model->count; i++) {
        if (is_ahead(&model->nodes[i].log, &best->log))
            best = &model->nodes[i];
    }
    model_trace(model, "recover node %d", best->self.node);
    /* That no other voter answers is its owner's to find out. What a crash loses here was not decided. */
    for (int i = 0; i < model->count; i++) {
        model->nodes[i].log.flushed = model->nodes[i].log.end;
        node_crash(model, &model->nodes[i]);
    }
    /* Nor may anything that they have sent still be on its way. */
    model_until(model, model->now + 100);
    best->self.incarnation++;
    best->recover = true;
    model->lost_for_good = true;
    forget_lost(model, &best->log);
    node_start(model, best);
    model_until(model, model->now + 200);
    for (int i = 0; i < model->count; i++) {
        if (!model->nodes[i].up)
            node_start(model, &model->nodes[i]);
    }
}

/* One node loses the leader from its sight, or is told falsely that it is dead: the leader leads on. */
static void cut_one(struct model *model)
{
    struct node *leader = leader_of(model);
    int at = node_number(model, leader), other = (int)chance_below(&model->chance, (uint32_t)model->count);
    int32_t epoch = leader->raft.state.epoch;
    bool cut = chance_percent(&model->chance, 70);
    struct happening *happening;

    if (other == at || raft_voters(&leader->raft)->count == 2)
        return;
    /* Without the one that is cut off, and those that are not there, a majority must be left. */
    if (raft_voters_find(raft_voters(&leader->raft), model->nodes[other].self) >= 0) {
        int left = -1;

        for (int i = 0; i < raft_voters(&leader->raft)->count; i++)
            left += is_there(model, raft_voters(&leader->raft)->ids[i]);
        if (left < raft_voters_majority(raft_voters(&leader->raft)))
            return;
    }
    model_trace(model, "node %d %s", other + 1, cut ? "is cut off from the leader" : "is told that the leader is dead");
    if (cut) {
        faults_block(model, at, other, true);
        faults_block(model, other, at, true);
    }
    if (!cut || chance_percent(&model->chance, 50)) {
        happening = model_plan(model, model->now, HAPPENS_EVENT, other);
        happening->event.type = RAFT_EVENT_GONE;
        happening->event.node = at + 1;
    }
    calm(model, CUT_MS);
    if (model->failure == NULL && (leader->raft.role != RAFT_LEADER || leader->raft.state.epoch != epoch)) {
        check_failed(model, "one that does not see the leader deposes nobody", "node %d led in epoch %d, is %s of %d",
                     leader->self.node, epoch, raft_role_name(leader->raft.role), leader->raft.state.epoch);
    }
    faults_block(model, at, other, false);
    faults_block(model, other, at, false);
}

static void story(struct model *model)
{
    struct chance *chance = &model->chance;
    int64_t until = 6000 + chance_below(chance, 24000);

    for (int i = 0; i < model->count; i++) {
        if (chance_percent(chance, 90))
            node_start(model, &model->nodes[i]);
    }
    model_plan(model, chance_below(chance, 3000), HAPPENS_FAULT, -1);
    for (int64_t at = 0; at < until; at += 1 + chance_below(chance, 400))
        model_plan(model, at, HAPPENS_CLIENT, -1);
    model_until(model, until);
    if (model->failure != NULL)
        return;

    faults_end(model);
    calm(model, CALM_MS);
    /* Lost disks can leave too few; one that was lost in the moment of a step of the voters counted as there. */
    if (model->failure == NULL && leader_of(model) == NULL && !anybody_can_lead(model)) {
        if (!model->wiped)
            check_failed(model, "a majority of the voters is left", "no disk was lost");
        else
            recover(model);
        calm(model, CALM_MS);
    }
    if (model->failure == NULL)
        check_rest(model);
    if (model->failure == NULL)
        cut_one(model);
    if (model->failure == NULL)
        calm(model, REJOIN_MS);
    if (model->failure == NULL)
        check_rest(model);
}

int model_run(struct model *model, uint64_t seed, bool trace)
{
    begin(model, seed, trace);
    story(model);
    for (int i = 0; i < model->count; i++) {
        if (model->nodes[i].up)
            raft_free(&model->nodes[i].raft);
    }
    /* Packets that never arrived are not needed any more. */
    for (int i = 0; i < model->heap_count; i++) {
        if (model->heap[i].kind == HAPPENS_PACKET) {
            model->heap[i].packet->next = model->free_packets;
            model->free_packets = model->heap[i].packet;
        }
    }
    model->heap_count = 0;
    return model->failure != NULL;
}

void model_free(struct model *model)
{
    while (model->free_packets != NULL) {
        struct packet *packet = model->free_packets;

        model->free_packets = packet->next;
        free(packet);
    }
    free(model->heap);
    free(model->sets);
}
