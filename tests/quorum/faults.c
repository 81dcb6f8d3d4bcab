/* tests/quorum/faults.c: what goes wrong, and who asks for what; then the healing, and what must come of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/quorum/model.h"

/* ---- faults ---- */

void faults_block(struct model *model, int from, int to, bool blocked)
{
    struct happening *happening;

    if (model->blocked[from][to] == blocked)
        return;
    model->blocked[from][to] = blocked;
    /* Connections are both ways: they end and come as a whole. */
    if (!blocked && model->blocked[to][from])
        return;
    happening =
        model_plan(model, model->now + 5 + chance_below(&model->chance, blocked ? 2000 : 100), HAPPENS_EVENT, from);
    happening->event.type = blocked ? RAFT_EVENT_LOST : RAFT_EVENT_CONNECTED;
    happening->event.node = to + 1;
    happening =
        model_plan(model, model->now + 5 + chance_below(&model->chance, blocked ? 2000 : 100), HAPPENS_EVENT, to);
    happening->event.type = blocked ? RAFT_EVENT_LOST : RAFT_EVENT_CONNECTED;
    happening->event.node = from + 1;
}

static struct node *any_node(struct model *model)
{
    return &model->nodes[chance_below(&model->chance, (uint32_t)model->count)];
}

/* Nobody else has anything on its disk: all would be lost, and nobody could know that there had been a cluster. */
static bool has_the_only_log(const struct model *model, const struct node *node)
{
    for (int i = 0; i < model->count; i++) {
        if (&model->nodes[i] != node && model->nodes[i].log.flushed > 0)
            return false;
    }
    return true;
}

static void give_incarnation(struct model *model, struct node *node)
{
    node->self.incarnation = 1 + chance_below(&model->chance, UINT32_MAX - 1);
}

/* The disk is lost: what comes back is somebody else. */
static void wipe(struct model *model, struct node *node)
{
    if (node->up || has_the_only_log(model, node))
        return;
    model_trace(model, "node %d loses its disk", node->self.node);
    model->wiped = true;
    toy_log_init(&node->log);
    node->disk = (struct raft_state){0};
    give_incarnation(model, node);
    /* It comes back with a list that names all whom it can ask, as a node that joins. */
    node->peers.count = model->count;
    for (int i = 0; i < model->count; i++)
        node->peers.nodes[i] = i + 1;
}

static void partition(struct model *model)
{
    unsigned side = chance_below(&model->chance, 1U << model->count);

    for (int i = 0; i < model->count; i++) {
        for (int j = 0; j < model->count; j++) {
            if (i != j)
                faults_block(model, i, j, ((side >> i) & 1) != ((side >> j) & 1));
        }
    }
}

static void heal(struct model *model)
{
    for (int i = 0; i < model->count; i++) {
        for (int j = 0; j < model->count; j++) {
            if (i != j)
                faults_block(model, i, j, false);
        }
    }
}

static void change_voters(struct model *model)
{
    struct raft_peers peers = {0};
    unsigned wanted = 1 + 2 * chance_below(&model->chance, model->count >= 5 ? 3 : 2);
    struct node *node;

    if (chance_percent(&model->chance, 40))
        wanted = (unsigned)model->peers.count;
    for (int i = 0; i < model->count && peers.count < (int)wanted; i++) {
        if (chance_below(&model->chance, (uint32_t)(model->count - i)) < wanted - (unsigned)peers.count)
            peers.nodes[peers.count++] = i + 1;
    }
    for (int i = 0; i < model->count; i++) {
        node = &model->nodes[i];
        if (node->up && node->raft.role == RAFT_LEADER && node->inbox_count == 0 && !node->persisting) {
            node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_CHANGE_VOTERS, .peers = &peers});
            node_pump(model, node);
        }
    }
}

/* A snapshot of what is decided lets the log before it go. */
static void trim(struct model *model, struct node *node)
{
    int64_t start = node->raft.high_watermark;

    if (!node->up || node->inbox_count > 0 || node->persisting || start <= node->log.start)
        return;
    start -= (int64_t)chance_below(&model->chance, (uint32_t)(start - node->log.start));
    while (start < node->raft.high_watermark && node->log.records[start].index > 0)
        start++;
    if (start > node->log.flushed || (start < node->log.end && node->log.records[start].index > 0))
        return;
    toy_log_trim(&node->log, start);
    node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_TRIMMED, .offset = start});
    node_pump(model, node);
}

static void stop(struct model *model, struct node *node)
{
    if (!node->up || node->inbox_count > 0 || node->persisting)
        return;
    model_trace(model, "node %d.%d is asked to stop", node->self.node, node->run);
    node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_STOP});
    node_pump(model, node);
}

static void false_gone(struct model *model)
{
    struct happening *happening =
        model_plan(model, model->now, HAPPENS_EVENT, (int)chance_below(&model->chance, (uint32_t)model->count));

    happening->event.type = RAFT_EVENT_GONE;
    happening->event.node = 1 + (int32_t)chance_below(&model->chance, (uint32_t)model->count);
}

static void one_fault(struct model *model)
{
    struct node *node = any_node(model);

    switch (chance_below(&model->chance, 20)) {
    case 0:
    case 1:
        node_crash(model, node);
        break;
    case 2:
    case 3:
    case 4:
        for (int i = 0; i < model->count; i++) {
            if (!model->nodes[i].up && chance_percent(&model->chance, 60))
                node_start(model, &model->nodes[i]);
        }
        break;
    case 5:
        faults_block(model, (int)chance_below(&model->chance, (uint32_t)model->count), node_number(model, node),
                     node_number(model, node) != 0 || chance_percent(&model->chance, 50));
        break;
    case 6:
        partition(model);
        break;
    case 7:
    case 8:
    case 9:
        heal(model);
        break;
    case 10:
        if (chance_percent(&model->chance, model->wipe_percent)) {
            node_crash(model, node);
            wipe(model, node);
        }
        break;
    case 11:
    case 12:
    case 13:
        change_voters(model);
        break;
    case 14:
        trim(model, node);
        break;
    case 15:
        if (chance_percent(&model->chance, 30)) {
            for (int i = 0; i < model->count; i++)
                node_crash(model, &model->nodes[i]);
        }
        break;
    case 16:
        if (node->up && node->paused_until <= model->now)
            node->paused_until = model->now + chance_below(&model->chance, 4000);
        break;
    case 17:
        stop(model, node);
        break;
    case 18:
        if (chance_percent(&model->chance, model->false_gone_percent))
            false_gone(model);
        break;
    default:
        /* A crash in the middle of what was just asked for. */
        for (int i = 0; i < model->count; i++) {
            if (model->nodes[i].up && model->nodes[i].raft.role == RAFT_LEADER && chance_percent(&model->chance, 50))
                node_crash(model, &model->nodes[i]);
        }
        break;
    }
}

/* Somebody who may be the leader is asked to decide something. */
void faults_propose(struct model *model)
{
    struct record batch[3] = {0};
    int count = 1 + (int)chance_below(&model->chance, 3);

    for (int i = 0; i < model->count; i++) {
        struct node *node = &model->nodes[i];

        if (!node->up || node->raft.role != RAFT_LEADER || node->persisting || node->inbox_count > 0 ||
            node->raft.epoch_start == INT64_MAX || node->paused_until > model->now || node->log.end > LOG_MAX - 200)
            continue;
        for (int j = 0; j < count; j++) {
            batch[j] =
                (struct record){.epoch = node->raft.state.epoch, .value = ++model->next_value, .index = (uint8_t)j};
        }
        node_append(model, node, batch, count);
        node_pump(model, node);
    }
}

void faults_happen(struct model *model)
{
    if (!model->faults)
        return;
    one_fault(model);
    model_plan(model, model->now + 1 + chance_below(&model->chance, (uint32_t)model->fault_ms), HAPPENS_FAULT, -1);
}

void faults_end(struct model *model)
{
    model->faults = false;
    model->delay_ms = 3;
    heal(model);
    for (int i = 0; i < model->count; i++) {
        struct node *node = &model->nodes[i];

        /* One that was asked to stop is started again. */
        if (node->up && node->raft.stopping)
            node_crash(model, node);
    }
    for (int i = 0; i < model->count; i++) {
        if (!model->nodes[i].up)
            node_start(model, &model->nodes[i]);
    }
}
