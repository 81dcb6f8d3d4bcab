/* tests/quorum/fetch.c: a model of fetching (KIP-595, 630): a follower asks from its end, the leader answers with
 * records, with a point of divergence, with its snapshot, or, when there is nothing new, later. */
#include <string.h>

#include "replication/metadata/raft_compare.h"
#include "tests/quorum/model.h"

enum { BEAT_MS = 500 };

/* ---- the follower ---- */

static void send_fetch(struct model *model, struct node *node)
{
    struct packet packet;
    struct raft_message *msg = &packet.message;

    memset(msg, 0, sizeof *msg);
    msg->type = RAFT_FETCH;
    msg->from = node->self;
    msg->to = node->fetch_from;
    msg->epoch = node->raft.state.epoch;
    msg->fetch.offset = node->log.end;
    msg->fetch.flushed = node->log.flushed;
    msg->fetch.last_epoch = toy_log_epoch_at(&node->log, node->log.end);
    msg->fetch.high_watermark = node->raft.high_watermark;
    packet.session = node->session;
    packet.count = 0;
    node_send(model, node, &packet);
    node->fetch_at = model->now + BEAT_MS;
    model_plan(model, node->fetch_at, HAPPENS_FETCH, node_number(model, node))->session = node->session;
}

static void new_session(struct model *model, struct node *node)
{
    node->session = ++model->next_session;
    node->fetch_at = model->now;
}

void fetch_tend(struct model *model, struct node *node)
{
    struct raft_id from = raft_fetch_from(&node->raft);

    if (!raft_id_equal(from, node->fetch_from) || node->fetch_epoch != node->raft.state.epoch) {
        node->fetch_from = from;
        node->fetch_epoch = node->raft.state.epoch;
        new_session(model, node);
    }
    if (node->fetch_from.node != 0 && node->fetch_at <= model->now)
        send_fetch(model, node);
}

void fetch_beat(struct model *model, struct node *node, int64_t session)
{
    /* fetch_tend() does what is due. */
    (void)model, (void)node, (void)session;
}

static void append_records(struct model *model, struct node *node, const struct packet *packet)
{
    struct record records[FETCH_MAX];

    memcpy(records, packet->records, (size_t)packet->count * sizeof *records);
    if (packet->count > 0)
        node_append(model, node, records, packet->count);
}

static void diverge(struct model *model, struct node *node, const struct raft_message *msg)
{
    int64_t end;

    /* To the end of the largest epoch that both have, or what the follower has of it (KIP-279). */
    toy_log_epoch_end(&node->log, msg->fetch_answer.end_epoch, &end);
    if (msg->fetch_answer.end_offset < end)
        end = msg->fetch_answer.end_offset;
    if (end < node->log.start)
        end = node->log.start;
    if (end < node->log.end) {
        check_truncated(model, node, end);
        toy_log_truncate(&node->log, end);
        model->truncations++;
        node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_TRUNCATED, .offset = end});
    }
    new_session(model, node);
}

static void reset(struct model *model, struct node *node, const struct packet *packet)
{
    struct raft_change change = model->sets[packet->set];

    change.offset = packet->set_offset;
    check_truncated(model, node, packet->base);
    toy_log_reset(&node->log, packet->base, packet->message.fetch_answer.end_epoch, packet->set, packet->set_offset);
    model->resets++;
    node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_RESET, .change = &change});
    new_session(model, node);
}

void fetch_answer(struct model *model, struct node *node, const struct packet *packet)
{
    const struct raft_message *msg = &packet->message;
    bool ours = packet->session == node->session && msg->epoch == node->raft.state.epoch &&
                raft_id_equal(msg->from, node->fetch_from);

    /* What belongs to no fetch of this session brings nothing but its epoch. */
    if (!ours && msg->epoch <= node->raft.state.epoch && msg->from.node != node->raft.state.leader.node)
        return;
    if (!ours && msg->epoch == node->raft.state.epoch && msg->fetch_answer.outcome != RAFT_FETCH_NOT_LEADER)
        return;
    /* An answer is for one offset: a late one can still be of this session. */
    if (ours && msg->fetch_answer.outcome != RAFT_FETCH_NOT_LEADER && packet->asked != node->log.end)
        return;
    if (ours && msg->fetch_answer.outcome == RAFT_FETCH_OK)
        append_records(model, node, packet);
    if (ours && msg->fetch_answer.outcome == RAFT_FETCH_DIVERGING)
        diverge(model, node, msg);
    if (ours && msg->fetch_answer.outcome == RAFT_FETCH_SNAPSHOT)
        reset(model, node, packet);
    node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = msg});
    if (ours)
        node->fetch_at = model->now;
}

/* ---- the leader ---- */

/* What the follower is to be told, by the product's own comparison. */
static enum raft_fetch_outcome compare(const struct node *node, int64_t offset, int32_t last_epoch, int32_t *epoch,
                                       int64_t *end)
{
    struct raft_compared leader = {.start = node->log.start, .snapshot_epoch = node->log.start_epoch};
    enum raft_fetch_outcome outcome;

    leader.epoch = toy_log_epoch_end(&node->log, last_epoch, &leader.end);
    outcome = raft_compare(&leader, offset, last_epoch);
    *epoch = outcome == RAFT_FETCH_SNAPSHOT ? node->log.start_epoch : leader.epoch;
    *end = outcome == RAFT_FETCH_SNAPSHOT ? node->log.start : leader.end;
    return outcome;
}

void fetch_request(struct model *model, struct node *node, const struct packet *packet)
{
    const struct raft_message *msg = &packet->message;
    int from = msg->from.node - 1;
    int32_t epoch;
    int64_t end;
    bool diverging = compare(node, msg->fetch.offset, msg->fetch.last_epoch, &epoch, &end) != RAFT_FETCH_OK;

    /* A beat: the one before it was kept back for as long as that. */
    node->pending[from].beat = node->pending[from].offset >= 0 && node->pending[from].session == packet->session;
    node->pending[from].offset = msg->fetch.offset;
    node->pending[from].high_watermark = msg->fetch.high_watermark;
    node->pending[from].session = packet->session;
    node->pending[from].from = msg->from;
    node->pending[from].last_epoch = msg->fetch.last_epoch;
    check_fetch(model, node, msg, diverging);
    node_event(model, node, &(struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = msg, .diverging = diverging});
}

static void send_answer(struct model *model, struct node *node, const struct raft_message *answer)
{
    struct packet packet;
    int to = answer->to.node - 1;
    int64_t offset = node->pending[to].offset, end;
    enum raft_fetch_outcome outcome;
    int32_t epoch;

    packet.message = *answer;
    packet.session = node->pending[to].session;
    packet.count = 0;
    packet.base = packet.asked = offset;
    if (answer->fetch_answer.outcome == RAFT_FETCH_NOT_LEADER) {
        node_send(model, node, &packet);
        node->pending[to].offset = -1;
        return;
    }
    outcome = compare(node, offset, node->pending[to].last_epoch, &epoch, &end);
    if (outcome != RAFT_FETCH_OK) {
        packet.message.fetch_answer.outcome = outcome;
        packet.message.fetch_answer.end_epoch = epoch;
        packet.message.fetch_answer.end_offset = packet.base = end;
        packet.set = node->log.start_set;
        packet.set_offset = node->log.start_set_offset;
    } else {
        /* Whole batches. */
        for (int64_t at = offset; at < node->log.end && packet.count < FETCH_MAX; at++)
            packet.records[packet.count++] = node->log.records[at];
        while (packet.count > 0 && offset + packet.count < node->log.end &&
               node->log.records[offset + packet.count].index > 0)
            packet.count--;
        if (packet.count == 0 && node->raft.high_watermark <= node->pending[to].high_watermark &&
            !node->pending[to].beat)
            return;
        packet.message.fetch_answer.high_watermark = node->raft.high_watermark;
    }
    node->pending[to].offset = -1;
    node_send(model, node, &packet);
}

void fetch_complete(struct model *model, struct node *node, const struct raft_message *message)
{
    if (node->pending[message->to.node - 1].offset >= 0)
        send_answer(model, node, message);
}

void fetch_serve(struct model *model, struct node *node)
{
    if (node->raft.role != RAFT_LEADER) {
        /* Whom it kept waiting asks another. */
        for (int i = 0; i < model->count; i++)
            node->pending[i].offset = -1;
        return;
    }
    for (int i = 0; i < model->count; i++) {
        struct raft_message answer = {.type = RAFT_FETCH_ANSWER,
                                      .from = node->self,
                                      .to = node->pending[i].from,
                                      .epoch = node->raft.state.epoch,
                                      .leader = node->self};

        if (node->pending[i].offset >= 0 &&
            (node->log.end > node->pending[i].offset || node->raft.high_watermark > node->pending[i].high_watermark))
            send_answer(model, node, &answer);
    }
}
