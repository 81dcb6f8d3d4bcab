/* tests/quorum/check.c: what must hold, whatever happens. Looked at after each step, each action, each record. The
 * rules are those of REPLICATION.md. */
#include <stdarg.h>
#include <stdio.h>

#include "tests/quorum/model.h"

void check_failed(struct model *model, const char *failure, const char *fmt, ...)
{
    va_list ap;

    if (model->failure != NULL)
        return;
    model->failure = failure;
    va_start(ap, fmt);
    vsnprintf(model->text, sizeof model->text, fmt, ap);
    va_end(ap);
    model_trace(model, "FAILED: %s: %s", failure, model->text);
}

/* ---- logs ---- */

/* Log matching: offset and epoch name one record, and all that lies before it (Raft, 5.3). */
void check_appended(struct model *model, const struct node *node, int64_t offset)
{
    const struct record *record = &node->log.records[offset];
    int32_t before = toy_log_epoch_at(&node->log, offset);
    struct seen *seen = model->seen[offset];

    for (int i = 0; i < SEEN_MAX; i++, seen++) {
        if (seen->value == 0) {
            *seen = (struct seen){record->epoch, record->value, before};
            return;
        }
        if (seen->epoch != record->epoch)
            continue;
        if (seen->value != record->value || seen->epoch_before != before) {
            check_failed(model, "log matching",
                         "node %d: offset %lld, epoch %d: record %d behind epoch %d, elsewhere %d behind %d",
                         node->self.node, (long long)offset, record->epoch, record->value, before, seen->value,
                         seen->epoch_before);
        }
        return;
    }
}

/* Rule 33. */
void check_truncated(struct model *model, const struct node *node, int64_t end)
{
    if (end < node->raft.high_watermark) {
        check_failed(model, "nothing decided is lost", "node %d truncates to %lld below %lld", node->self.node,
                     (long long)end, (long long)node->raft.high_watermark);
    }
}

/* Records below end are those that were decided (rules 9 and 33). */
static void check_decided(struct model *model, const struct node *node, int64_t from, int64_t end)
{
    for (int64_t at = from > node->log.start ? from : node->log.start; at < end && at < model->decided_end; at++) {
        if (at >= node->log.end) {
            check_failed(model, "nothing decided is lost", "node %d, %s of epoch %d: ends at %lld, decided up to %lld",
                         node->self.node, raft_role_name(node->raft.role), node->raft.state.epoch,
                         (long long)node->log.end, (long long)model->decided_end);
        } else if (model->decided[at].value != node->log.records[at].value) {
            check_failed(model, "nothing decided is changed",
                         "node %d, %s of epoch %d: record %lld is %d, decided was %d", node->self.node,
                         raft_role_name(node->raft.role), node->raft.state.epoch, (long long)at,
                         node->log.records[at].value, model->decided[at].value);
        }
        if (model->failure != NULL)
            return;
    }
}

static void note_decided(struct model *model, const struct node *node, int64_t end)
{
    check_decided(model, node, node->high_watermark, end);
    for (int64_t at = model->decided_end > node->log.start ? model->decided_end : node->log.start; at < end; at++) {
        model->decided[at].epoch = node->log.records[at].epoch;
        model->decided[at].value = node->log.records[at].value;
    }
    if (end > model->decided_end)
        model->decided_end = end;
}

/* What a leader decides is on the disks of a majority of the voters that it goes by, and its last record is its own
 * (rules 9 and 19). */
static void check_leader_decides(struct model *model, const struct node *node, int64_t end)
{
    const struct raft_voters *voters = raft_voters(&node->raft);
    int have = 0, majority = raft_voters_majority(voters);

    if (node->log.records[end - 1].epoch != node->raft.state.epoch) {
        check_failed(model, "old epochs are not decided by counting", "node %d decides %lld of epoch %d in epoch %d",
                     node->self.node, (long long)end, node->log.records[end - 1].epoch, node->raft.state.epoch);
    }
    for (int32_t i = 0; i < voters->count; i++) {
        const struct node *other = &model->nodes[voters->ids[i].node - 1];

        have += raft_id_equal(other->self, voters->ids[i]) && other->log.flushed >= end &&
                (other->log.start >= end || other->log.records[end - 1].value == node->log.records[end - 1].value);
        /* A voter whose disk was lost since had it before. */
        majority -= !raft_id_equal(other->self, voters->ids[i]);
    }
    if (have < majority) {
        check_failed(model, "decided is what a majority has flushed",
                     "node %d decides %lld in epoch %d, %d of %d have it", node->self.node, (long long)end,
                     node->raft.state.epoch, have, voters->count);
    }
}

static void check_high_watermark(struct model *model, struct node *node, int64_t offset)
{
    int32_t epoch = node->raft.state.epoch;

    if (offset < node->high_watermark) { /* rule 20 */
        check_failed(model, "the high watermark does not go back", "node %d: %lld after %lld", node->self.node,
                     (long long)offset, (long long)node->high_watermark);
    }
    if (offset > node->log.end) {
        check_failed(model, "the high watermark is in the log", "node %d: %lld, the log ends at %lld", node->self.node,
                     (long long)offset, (long long)node->log.end);
    }
    if (model->failure != NULL)
        return;
    if (node->raft.role == RAFT_LEADER && offset > node->log.start) {
        check_leader_decides(model, node, offset);
        if (offset > model->epochs[epoch].high_watermark)
            model->epochs[epoch].high_watermark = offset;
        for (int32_t later = epoch + 1; later <= model->epoch_max; later++) {
            if (model->epochs[later].answered >= 0 && model->epochs[later].answered < offset) {
                check_failed(model, "who answers knows what was decided",
                             "node %d decides %lld in epoch %d, but the leader of %d answered at %lld", node->self.node,
                             (long long)offset, epoch, later, (long long)model->epochs[later].answered);
            }
        }
    }
    note_decided(model, node, offset);
    node->high_watermark = offset;
}

/* ---- leaders ---- */

/* Its state is on the disk, and it is about to append: one leader an epoch, since a server votes once in it, and for
 * who has all that was decided (rules 15 and 16). */
static void check_leads(struct model *model, struct node *node)
{
    int32_t epoch = node->raft.state.epoch;
    int64_t decided = 0;

    model->elections++;
    if (model->epochs[epoch].id.node != 0 &&
        !(raft_id_equal(model->epochs[epoch].id, node->self) && model->epochs[epoch].run == node->run)) {
        check_failed(model, "one leader an epoch", "node %d.%d leads in epoch %d, as node %d.%d did", node->self.node,
                     node->run, epoch, model->epochs[epoch].id.node, model->epochs[epoch].run);
    }
    model->epochs[epoch].id = node->self;
    model->epochs[epoch].run = node->run;
    if (epoch > model->epoch_max)
        model->epoch_max = epoch;
    /* All that was decided in the epochs before it (leader completeness; Raft, 5.4). */
    for (int32_t earlier = 0; earlier < epoch; earlier++) {
        if (model->epochs[earlier].high_watermark > decided)
            decided = model->epochs[earlier].high_watermark;
    }
    check_decided(model, node, 0, decided);
}

static void note_new_leader(struct model *model, struct node *node)
{
    node->answered = false;
    for (int i = 0; i < NODES_MAX; i++) {
        node->fetched_ms[i] = model->now;
        node->fetched_id[i] = (struct raft_id){0};
        node->acked[i] = -1;
    }
}

/* A leader that a majority of the voters did not fetch from in time has resigned (rule 21). */
static void check_lease(struct model *model, const struct node *node)
{
    const struct raft_voters *voters = raft_voters(&node->raft);
    int have = 0;

    for (int32_t i = 0; i < voters->count; i++) {
        int other = voters->ids[i].node - 1;

        have +=
            raft_id_equal(voters->ids[i], node->self) || model->now - node->fetched_ms[other] <= RAFT_ELECTION_MIN_MS;
    }
    if (have < raft_voters_majority(voters)) {
        check_failed(model, "a leader without a majority resigns", "node %d leads on in epoch %d, %d of %d fetch",
                     node->self.node, node->raft.state.epoch, have, voters->count);
    }
}

void check_fetch(struct model *model, struct node *node, const struct raft_message *fetch, bool diverging)
{
    int from = fetch->from.node - 1;

    if (node->raft.role != RAFT_LEADER || fetch->epoch != node->raft.state.epoch)
        return;
    if (!raft_id_equal(node->fetched_id[from], fetch->from))
        node->acked[from] = -1;
    node->fetched_id[from] = fetch->from;
    node->fetched_ms[from] = model->now;
    if (!diverging && fetch->fetch.flushed > node->acked[from])
        node->acked[from] = fetch->fetch.flushed;
}

/* What a leader knows of a follower never goes back (rule 20). */
static void check_acks(struct model *model, const struct node *node)
{
    for (int i = 0; i < model->count; i++) {
        const struct raft_replica *found = NULL;

        for (int32_t j = 0; j < node->raft.replica_count; j++) {
            if (raft_id_equal(node->raft.replicas[j].id, node->fetched_id[i]))
                found = &node->raft.replicas[j];
        }
        if (found != NULL && found->flushed < node->acked[i]) {
            check_failed(model, "an old fetch moves nothing back", "node %d: node %d flushed %lld, taken for %lld",
                         node->self.node, i + 1, (long long)node->acked[i], (long long)found->flushed);
        }
    }
}

/* ---- voters ---- */

/* Rule 22. */
static void check_voters(struct model *model, const struct node *node)
{
    const struct raft_change *latest = raft_history_latest(&node->raft.voters);
    const struct toy_log *log = &node->log;

    if (latest->offset != log->set_offset ||
        (log->set >= 0 && (!raft_voters_equal(&latest->voters, &model->sets[log->set].voters) ||
                           !raft_voters_equal(&latest->target, &model->sets[log->set].target)))) {
        check_failed(model, "the voters are those of the log",
                     "node %d: %d voters of offset %lld, its log has those of %lld", node->self.node,
                     latest->voters.count, (long long)latest->offset, (long long)log->set_offset);
    }
}

static int differing(const struct raft_voters *a, const struct raft_voters *b)
{
    int n = 0;

    for (int32_t i = 0; i < a->count; i++)
        n += raft_voters_find(b, a->ids[i]) < 0;
    for (int32_t i = 0; i < b->count; i++)
        n += raft_voters_find(a, b->ids[i]) < 0;
    return n;
}

/* Rules 23 and 26. */
static void check_change(struct model *model, const struct node *node, const struct raft_action *action)
{
    const struct toy_log *log = &node->log;
    static const struct raft_voters none;
    const struct raft_voters *before = log->set >= 0 ? &model->sets[log->set].voters : &none;
    int32_t epoch = node->raft.state.epoch;
    bool own = false;

    model->changes++;
    /* A recovered quorum is made by force. */
    if (action->append.voters.count == 1 && model->lost_for_good && model->epochs[epoch].high_watermark == 0)
        return;
    for (int64_t at = node->high_watermark; at > log->start && log->records[at - 1].epoch == epoch; at--)
        own = true;
    if (!own && node->high_watermark > log->start) {
        check_failed(model, "voters change after a record of the own epoch is decided", "node %d, epoch %d",
                     node->self.node, epoch);
    }
    if (log->set_offset >= node->high_watermark) {
        check_failed(model, "one change at a time", "node %d, epoch %d: that of %lld is not decided", node->self.node,
                     epoch, (long long)log->set_offset);
    }
    if (action->append.voters.count < 1 || differing(before, &action->append.voters) > 1) {
        check_failed(model, "voters change by one", "node %d, epoch %d: %d differ", node->self.node, epoch,
                     differing(before, &action->append.voters));
    }
}

/* ---- steps and actions ---- */

static void check_heard(struct model *model, struct node *node, const struct raft_event *event)
{
    const struct raft_message *msg = event->message;

    if (node->raft.leader_gone || node->raft.state.leader.node == 0)
        node->alive_until = 0;
    if (event->type == RAFT_EVENT_MESSAGE && msg->type == RAFT_END && msg->end.successors[0] == node->self.node)
        node->called_in = msg->epoch;
    if (event->type != RAFT_EVENT_MESSAGE || (node->raft.role != RAFT_FOLLOWER && node->raft.role != RAFT_OBSERVER) ||
        msg->epoch != node->raft.state.epoch || !raft_id_equal(msg->from, node->raft.state.leader))
        return;
    if (msg->type == RAFT_BEGIN ||
        (msg->type == RAFT_FETCH_ANSWER && msg->fetch_answer.outcome != RAFT_FETCH_NOT_LEADER))
        node->alive_until = model->now + RAFT_ELECTION_MIN_MS;
}

void check_step(struct model *model, struct node *node, const struct raft_event *event, enum raft_role before,
                int32_t epoch_before)
{
    const struct raft *raft = &node->raft;

    if (raft->state.epoch < epoch_before)
        check_failed(model, "epochs rise", "node %d: %d after %d", node->self.node, raft->state.epoch, epoch_before);
    if (raft->state.epoch != epoch_before)
        node->alive_until = 0;
    if (raft->state.epoch >= EPOCHS_MAX) {
        check_failed(model, "epochs are not raised in vain", "node %d: %d", node->self.node, raft->state.epoch);
        return;
    }
    if (raft->role == RAFT_LEADER && (before != RAFT_LEADER || epoch_before != raft->state.epoch))
        note_new_leader(model, node);
    /* Rules 17 and 49. */
    if (raft->role == RAFT_CANDIDATE && raft->state.epoch != epoch_before && before != RAFT_PROSPECTIVE &&
        (before != RAFT_FOLLOWER || node->called_in != epoch_before)) {
        check_failed(model, "who raises the epoch was promised votes, or called by who ended the last one",
                     "node %d, %s, epoch %d", node->self.node, raft_role_name(before), raft->state.epoch);
    }
    check_heard(model, node, event);
    if (event->type == RAFT_EVENT_TICK && raft->role == RAFT_LEADER)
        check_lease(model, node);
    /* All records of a batch are told of before it can be looked at. */
    if (node->inbox_count <= 1)
        check_voters(model, node);
    if (raft->role != RAFT_LEADER)
        return;
    check_acks(model, node);
    if (raft_may_answer(raft) && !node->answered) { /* rule 19 */
        int32_t epoch = raft->state.epoch;

        node->answered = true;
        model->epochs[epoch].answered = raft->high_watermark;
        for (int32_t earlier = 1; earlier < epoch; earlier++) {
            if (model->epochs[earlier].high_watermark > raft->high_watermark) {
                check_failed(model, "who answers knows what was decided",
                             "node %d answers at %lld in epoch %d, %lld was decided in %d", node->self.node,
                             (long long)raft->high_watermark, epoch, (long long)model->epochs[earlier].high_watermark,
                             earlier);
            }
        }
    }
}

/* Rule 15: a message is of what is on the disk; and rule 17: a pre-vote. */
static void check_message(struct model *model, const struct node *node, const struct raft_message *msg)
{
    if (msg->epoch != node->disk.epoch) {
        check_failed(model, "a message has its sender's epoch, which is on its disk",
                     "node %d sends type %d in %d, has %d", node->self.node, (int)msg->type, msg->epoch,
                     node->disk.epoch);
    }
    if (msg->type == RAFT_VOTE && !msg->vote.pre && !raft_id_equal(node->disk.vote, node->self))
        check_failed(model, "a vote is on the disk", "node %d stands in %d", node->self.node, msg->epoch);
    if (msg->type != RAFT_VOTE_ANSWER || !msg->vote_answer.granted)
        return;
    if (!msg->vote_answer.pre && !raft_id_equal(node->disk.vote, msg->to)) {
        check_failed(model, "a vote is on the disk", "node %d votes for %d in %d", node->self.node, msg->to.node,
                     msg->epoch);
    }
    if (msg->vote_answer.pre && (node->raft.role == RAFT_LEADER || node->alive_until > model->now)) {
        check_failed(model, "who has a leader refuses pre-votes", "node %d grants one to %d in %d", node->self.node,
                     msg->to.node, msg->epoch);
    }
}

void check_action(struct model *model, struct node *node, const struct raft_action *action)
{
    switch (action->type) {
    case RAFT_SEND:
        check_message(model, node, &action->message);
        break;
    case RAFT_HIGH_WATERMARK:
        check_high_watermark(model, node, action->offset);
        break;
    case RAFT_APPEND_LEADER:
        check_leads(model, node);
        break;
    case RAFT_APPEND_VOTERS:
        check_change(model, node, action);
        break;
    case RAFT_BOOTSTRAP: /* rule 25 */
        if (model->decided_end > 0)
            check_failed(model, "a cluster begins once", "node %d begins another", node->self.node);
        break;
    default:
        break;
    }
}
