/* tests/quorum/cluster.c: what happens next, the network, and each node's part: it tells its machine of one event at a
 * time and does the actions in their order; persisting takes time, in which everything else of that node waits. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/quorum/model.h"

enum { AT_ONCE_MAX = 20000 }; /* happenings in one moment; more are a circle */

/* ---- chance ---- */

static uint64_t next_random(struct chance *chance)
{
    uint64_t z = (chance->state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint32_t chance_below(struct chance *chance, uint32_t below)
{
    return below == 0 ? 0 : (uint32_t)((next_random(chance) >> 32) * below >> 32);
}

bool chance_percent(struct chance *chance, unsigned percent)
{
    return chance_below(chance, 100) < percent;
}

static uint32_t machine_random(void *arg, uint32_t below)
{
    /* Epochs are places in an array here. */
    return chance_below(arg, below == RAFT_RECOVER_CHANCE ? EPOCHS_MAX / 8 : below);
}

/* ---- what happens next: a heap ---- */

static bool is_before(const struct happening *a, const struct happening *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

struct happening *model_plan(struct model *model, int64_t at, enum happening_kind kind, int node)
{
    int i;

    if (model->heap_count == model->heap_size) {
        model->heap_size = model->heap_size == 0 ? 1024 : 2 * model->heap_size;
        model->heap = realloc(model->heap, (size_t)model->heap_size * sizeof *model->heap);
        assert(model->heap != NULL);
    }
    struct happening planned = {
        .at = at > model->now ? at : model->now, .seq = model->seq++, .kind = kind, .node = node};
    planned.run = node >= 0 ? model->nodes[node].run : 0;
    for (i = model->heap_count++; i > 0 && is_before(&planned, &model->heap[(i - 1) / 2]); i = (i - 1) / 2)
        model->heap[i] = model->heap[(i - 1) / 2];
    model->heap[i] = planned;
    return &model->heap[i];
}

static struct happening take_next(struct model *model)
{
    struct happening next = model->heap[0], last = model->heap[--model->heap_count];
    int i = 0, child;

    while ((child = 2 * i + 1) < model->heap_count) {
        if (child + 1 < model->heap_count && is_before(&model->heap[child + 1], &model->heap[child]))
            child++;
        if (!is_before(&model->heap[child], &last))
            break;
        model->heap[i] = model->heap[child];
        i = child;
    }
    model->heap[i] = last;
    return next;
}

void model_trace(const struct model *model, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    if (!model->trace)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    printf("%7lld %s\n", (long long)model->now, line);
}

int node_number(const struct model *model, const struct node *node)
{
    return (int)(node - model->nodes);
}

int16_t model_set(struct model *model, const struct raft_voters *voters, const struct raft_voters *target)
{
    if (model->set_count == model->set_size) {
        model->set_size = model->set_size == 0 ? 64 : 2 * model->set_size;
        model->sets = realloc(model->sets, (size_t)model->set_size * sizeof *model->sets);
        assert(model->sets != NULL);
    }
    model->sets[model->set_count] = (struct raft_change){.voters = *voters, .target = *target};
    return (int16_t)model->set_count++;
}

/* ---- the network ---- */

static struct packet *new_packet(struct model *model, const struct packet *like)
{
    struct packet *packet = model->free_packets;

    if (packet == NULL)
        packet = malloc(sizeof *packet);
    else
        model->free_packets = packet->next;
    assert(packet != NULL);
    packet->message = like->message;
    packet->session = like->session;
    packet->asked = like->asked;
    packet->base = like->base;
    packet->count = like->count;
    packet->set = like->set;
    packet->set_offset = like->set_offset;
    memcpy(packet->records, like->records, (size_t)like->count * sizeof *like->records);
    return packet;
}

static void free_packet(struct model *model, struct packet *packet)
{
    packet->next = model->free_packets;
    model->free_packets = packet;
}

static int64_t delay_of(struct model *model)
{
    if (model->faults && chance_percent(&model->chance, model->late_percent))
        return 1 + chance_below(&model->chance, 3000);
    return 1 + chance_below(&model->chance, (uint32_t)model->delay_ms);
}

void node_send(struct model *model, struct node *node, const struct packet *packet)
{
    int from = node_number(model, node), to = packet->message.to.node - 1;
    int copies = 1;

    if (to < 0 || to >= model->count || model->blocked[from][to])
        return;
    if (model->faults && chance_percent(&model->chance, model->loss_percent))
        return;
    if (model->faults && chance_percent(&model->chance, model->double_percent))
        copies = 2;
    for (int i = 0; i < copies; i++)
        model_plan(model, model->now + delay_of(model), HAPPENS_PACKET, to)->packet = new_packet(model, packet);
}

/* ---- a node's machine ---- */

static const char *const event_names[] = {"start",      "tick",          "connected",     "lost",      "gone",
                                          "message",    "leader record", "voters record", "truncated", "reset",
                                          "trimmed",    "flushed",       "change",        "recover",   "append failed",
                                          "unreadable", "stop"};

void node_event(struct model *model, struct node *node, const struct raft_event *event)
{
    int at = (node->inbox_at + node->inbox_count) % INBOX_MAX;

    (void)model;
    assert(node->inbox_count < INBOX_MAX);
    node->inbox_count++;
    node->inbox[at].event = *event;
    switch (event->type) {
    case RAFT_EVENT_MESSAGE:
        node->inbox[at].message = *event->message;
        node->inbox[at].event.message = &node->inbox[at].message;
        break;
    case RAFT_EVENT_VOTERS_RECORD:
        node->inbox[at].voters = *event->record.voters;
        node->inbox[at].target = *event->record.target;
        node->inbox[at].event.record.voters = &node->inbox[at].voters;
        node->inbox[at].event.record.target = &node->inbox[at].target;
        break;
    case RAFT_EVENT_RESET:
        node->inbox[at].change = *event->change;
        node->inbox[at].event.change = &node->inbox[at].change;
        break;
    case RAFT_EVENT_CHANGE_VOTERS:
        node->inbox[at].peers = *event->peers;
        node->inbox[at].event.peers = &node->inbox[at].peers;
        break;
    default:
        break;
    }
}

/* Tells the machine what the records at and above base are, as far as it wants to know. */
static void tell_records(struct model *model, struct node *node, int64_t base)
{
    for (int64_t at = base; at < node->log.end; at++) {
        const struct record *record = &node->log.records[at];
        struct raft_event event = {.type = RAFT_EVENT_LEADER_RECORD};

        event.record.base_offset = at - record->index;
        event.record.index = record->index;
        event.record.epoch = record->epoch;
        if (record->kind == RECORD_VOTERS) {
            event.type = RAFT_EVENT_VOTERS_RECORD;
            event.record.voters = &model->sets[record->set].voters;
            event.record.target = &model->sets[record->set].target;
        }
        /* Before its start the machine needs no leaders' records. */
        if (record->kind == RECORD_VOTERS || (record->kind == RECORD_LEADER && node->raft.started))
            node_event(model, node, &event);
    }
}

void node_append(struct model *model, struct node *node, struct record *records, int count)
{
    int64_t base = node->log.end;

    toy_log_append(&node->log, records, count);
    for (int64_t at = base; at < node->log.end; at++)
        check_appended(model, node, at);
    tell_records(model, node, base);
    node_flush(model, node);
}

void node_flush(struct model *model, struct node *node)
{
    struct happening *flush;

    if (node->flushing || node->log.flushed == node->log.end)
        return;
    node->flushing = true;
    flush =
        model_plan(model, model->now + 1 + chance_below(&model->chance, chance_percent(&model->chance, 10) ? 200 : 8),
                   HAPPENS_FLUSH, node_number(model, node));
    flush->flush.end = node->log.end;
    flush->flush.generation = node->log.generation;
}

static void append_for_machine(struct model *model, struct node *node, const struct raft_action *action)
{
    struct record batch[3];
    int count = 0, before = (int)chance_below(&model->chance, 3);

    /* Commands that came together with it are in the same batch, before it: its offset is not the batch's. */
    if (action->type == RAFT_APPEND_VOTERS) {
        for (; count < before; count++)
            batch[count] = (struct record){.epoch = action->append.epoch, .value = ++model->next_value};
    }
    batch[count] = (struct record){.epoch = action->append.epoch, .value = ++model->next_value, .kind = RECORD_LEADER};
    if (action->type != RAFT_APPEND_LEADER) {
        batch[count].kind = RECORD_VOTERS;
        batch[count].set = model_set(model, &action->append.voters, &action->append.target);
    }
    for (int i = 0; i <= count; i++)
        batch[i].index = (uint8_t)i;
    node_append(model, node, batch, count + 1);
    if (action->type == RAFT_BOOTSTRAP)
        node->log.flushed = node->log.end;
}

/* false: it takes time, and the rest has to wait. */
static bool do_action(struct model *model, struct node *node, const struct raft_action *action)
{
    struct packet packet;

    switch (action->type) {
    case RAFT_PERSIST:
        if (!node->persisting && chance_percent(&model->chance, 80)) {
            node->persisting = true;
            node->busy_until =
                model->now + 1 + chance_below(&model->chance, chance_percent(&model->chance, 5) ? 300 : 6);
            model_plan(model, node->busy_until, HAPPENS_GO_ON, node_number(model, node));
            return false;
        }
        node->persisting = false;
        node->disk = action->state;
        break;
    case RAFT_APPEND_LEADER:
    case RAFT_APPEND_VOTERS:
    case RAFT_BOOTSTRAP:
        append_for_machine(model, node, action);
        break;
    case RAFT_SEND:
        if (action->message.type == RAFT_FETCH_ANSWER) {
            fetch_complete(model, node, &action->message);
            break;
        }
        packet.message = action->message;
        packet.count = 0;
        packet.session = 0;
        node_send(model, node, &packet);
        break;
    case RAFT_ROLE:
    case RAFT_HIGH_WATERMARK:
        break;
    }
    return true;
}

static void do_actions(struct model *model, struct node *node)
{
    while (node->up && model->failure == NULL && node->action_at < node->actions.count) {
        const struct raft_action *action = &node->actions.actions[node->action_at];

        if (model->faults && chance_below(&model->chance, 20000) < model->crash_permille) {
            node_crash(model, node);
            return;
        }
        if (!node->persisting)
            check_action(model, node, action);
        if (!do_action(model, node, action))
            return;
        node->action_at++;
    }
}

static void step(struct model *model, struct node *node, const struct raft_event *event)
{
    enum raft_role before = node->raft.role;
    int32_t epoch = node->raft.state.epoch;
    int rc = raft_step(&node->raft, model->now, event, &node->actions);

    (void)rc;
    node->action_at = 0;
    model->steps++;
    if (model->trace &&
        (before != node->raft.role || epoch != node->raft.state.epoch || event->type != RAFT_EVENT_MESSAGE)) {
        model_trace(model,
                    "node %d.%d %s: %s %d -> %s %d, leader %d%s, log %lld to %lld, flushed %lld, decided %lld, rc %d",
                    node->self.node, node->run, event_names[event->type], raft_role_name(before), epoch,
                    raft_role_name(node->raft.role), node->raft.state.epoch, node->raft.state.leader.node,
                    node->raft.leader_gone ? " (gone)" : "", (long long)node->log.start, (long long)node->log.end,
                    (long long)node->log.flushed, (long long)node->raft.high_watermark, rc);
    }
    check_step(model, node, event, before, epoch);
}

void node_pump(struct model *model, struct node *node)
{
    int64_t deadline;

    while (node->up && model->failure == NULL) {
        do_actions(model, node);
        if (!node->up || model->failure != NULL || node->action_at < node->actions.count)
            return;
        if (node->inbox_count == 0)
            break;
        step(model, node, &node->inbox[node->inbox_at].event);
        node->inbox_at = (node->inbox_at + 1) % INBOX_MAX;
        node->inbox_count--;
    }
    if (!node->up || model->failure != NULL)
        return;
    fetch_tend(model, node);
    fetch_serve(model, node);
    deadline = raft_deadline_ms(&node->raft);
    if (deadline < node->tick_at) {
        node->tick_at = deadline > model->now ? deadline : model->now;
        model_plan(model, node->tick_at, HAPPENS_TICK, node_number(model, node));
    }
}

/* ---- start and end ---- */

static void plan_event(struct model *model, int node, int64_t at, enum raft_event_type type, int32_t other)
{
    struct happening *happening = model_plan(model, at, HAPPENS_EVENT, node);

    happening->event.type = type;
    happening->event.node = other;
}

void node_start(struct model *model, struct node *node)
{
    struct raft_config config = {.self = node->self,
                                 .log = &node->log.facts,
                                 .peers = node->peers,
                                 .random = machine_random,
                                 .random_arg = &model->chance};
    struct raft_event event = {.type = RAFT_EVENT_START};
    int number = node_number(model, node);

    node->run++;
    node->up = true;
    node->actions.count = node->action_at = 0;
    node->persisting = node->flushing = node->answered = false;
    node->busy_until = node->paused_until = model->now;
    node->inbox_at = node->inbox_count = 0;
    node->tick_at = INT64_MAX;
    node->fetch_from = (struct raft_id){0};
    node->alive_until = node->high_watermark = 0;
    for (int i = 0; i < NODES_MAX; i++)
        node->pending[i].offset = -1;
    raft_init(&node->raft, &config, &node->disk);
    if (node->log.start_set >= 0) {
        struct raft_change change = model->sets[node->log.start_set];

        change.offset = node->log.start_set_offset;
        node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_RESET, .change = &change});
    }
    tell_records(model, node, node->log.start);
    node_event(model, node, &event);
    if (node->recover)
        node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_RECOVER});
    node->recover = false;
    model_trace(model, "node %d.%d starts, incarnation %llu, epoch %d, log %lld to %lld", node->self.node, node->run,
                (unsigned long long)node->self.incarnation, node->disk.epoch, (long long)node->log.start,
                (long long)node->log.end);
    node_pump(model, node);
    for (int i = 0; i < model->count; i++) {
        if (i == number || !model->nodes[i].up || model->blocked[i][number] || model->blocked[number][i])
            continue;
        plan_event(model, i, model->now + 2 + chance_below(&model->chance, 30), RAFT_EVENT_CONNECTED, number + 1);
        plan_event(model, number, model->now + 2 + chance_below(&model->chance, 30), RAFT_EVENT_CONNECTED, i + 1);
    }
}

void node_crash(struct model *model, struct node *node)
{
    int number = node_number(model, node);

    if (!node->up)
        return;
    model_trace(model, "node %d.%d crashes", node->self.node, node->run);
    /* What was on its way to the disk is there or not. */
    if (node->persisting && chance_percent(&model->chance, 50))
        node->disk = node->actions.actions[node->action_at].state;
    node->up = false;
    toy_log_crash(&node->log, &model->chance);
    raft_free(&node->raft);
    for (int i = 0; i < model->count; i++) {
        if (i != number && model->nodes[i].up) {
            plan_event(model, i, model->now + 1 + chance_below(&model->chance, 20),
                       chance_percent(&model->chance, 60) ? RAFT_EVENT_GONE : RAFT_EVENT_LOST, number + 1);
        }
    }
}

/* ---- what happens ---- */

static bool is_busy(const struct model *model, const struct node *node)
{
    return node->persisting || node->paused_until > model->now;
}

/* Waits until the node has time. */
static void again_later(struct model *model, struct node *node, const struct happening *happening)
{
    int64_t at = node->busy_until > node->paused_until ? node->busy_until : node->paused_until;
    struct happening *later = model_plan(model, at, happening->kind, happening->node);
    struct happening copy = *happening;

    copy.at = later->at;
    copy.seq = later->seq;
    *later = copy;
}

static void on_packet(struct model *model, struct node *node, const struct packet *packet)
{
    if (packet->message.type == RAFT_FETCH) {
        fetch_request(model, node, packet);
    } else if (packet->message.type == RAFT_FETCH_ANSWER) {
        fetch_answer(model, node, packet);
    } else {
        node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = &packet->message});
    }
}

static void on_flushed(struct model *model, struct node *node, const struct happening *happening)
{
    node->flushing = false;
    if (happening->flush.generation == node->log.generation && happening->flush.end > node->log.flushed) {
        node->log.flushed = happening->flush.end;
        node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_FLUSHED});
        /* The leader is told at once. */
        if (node->fetch_from.node != 0)
            node->fetch_at = model->now;
    }
    node_flush(model, node);
}

static void happen_to(struct model *model, struct node *node, const struct happening *happening)
{
    switch (happening->kind) {
    case HAPPENS_PACKET:
        on_packet(model, node, happening->packet);
        break;
    case HAPPENS_TICK:
        node->tick_at = INT64_MAX;
        if (raft_deadline_ms(&node->raft) <= model->now)
            node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_TICK});
        break;
    case HAPPENS_FLUSH:
        on_flushed(model, node, happening);
        break;
    case HAPPENS_FETCH:
        fetch_beat(model, node, happening->session);
        break;
    case HAPPENS_EVENT:
        node_event(model, node, &(struct raft_event){.type = happening->event.type, .node = happening->event.node});
        break;
    case HAPPENS_GO_ON:
    case HAPPENS_FAULT:
    case HAPPENS_CLIENT:
        break;
    }
    node_pump(model, node);
}

static void happen(struct model *model, const struct happening *happening)
{
    struct node *node = happening->node >= 0 ? &model->nodes[happening->node] : NULL;
    /* A packet finds whoever is there; all else belongs to one run. */
    bool ours = node != NULL && node->up && (happening->kind == HAPPENS_PACKET || happening->run == node->run);

    if (node == NULL && happening->kind == HAPPENS_CLIENT) {
        faults_propose(model);
    } else if (node == NULL) {
        faults_happen(model);
    } else if (ours && happening->kind == HAPPENS_GO_ON && node->persisting) {
        if (node->paused_until > model->now)
            again_later(model, node, happening);
        else
            node_pump(model, node);
        return;
    } else if (ours && is_busy(model, node)) {
        again_later(model, node, happening);
        return;
    } else if (ours) {
        happen_to(model, node, happening);
    }
    if (happening->kind == HAPPENS_PACKET)
        free_packet(model, happening->packet);
}

void model_until(struct model *model, int64_t until)
{
    int at_once = 0;

    while (model->failure == NULL && model->heap_count > 0 && model->heap[0].at <= until) {
        struct happening next = take_next(model);

        at_once = next.at == model->now ? at_once + 1 : 0;
        if (at_once > AT_ONCE_MAX)
            check_failed(model, "time goes on", "it does not");
        model->now = next.at;
        happen(model, &next);
    }
    if (model->failure == NULL)
        model->now = until;
}
