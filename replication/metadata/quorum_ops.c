/* replication/metadata/quorum_ops.c: commands, from their submission to their end.
 *
 *                    a turn: this node leads, or knows who does            its record is applied here
 *   submit ─▶ QUEUED ────────────────────────────────────────▶ GIVEN ───────────────────────────────▶ done(0, a race's)
 *               │ ▲         not taken; or an epoch that began later is applied  │  │
 *               │ └─────────────────────────────────────────────────────────────┘  └─ refused ──────▶ done(why)
 *               └ cancelled, or no room                                    the deadline, in either ─▶ done(-ETIMEDOUT)
 *
 * GIVEN is: appended by this node, or sent to the leader. A leader takes a command only in the epoch that it was sent
 * in, and its record is of that epoch; so once the record that begins a later epoch is applied, and the command's was
 * not, it was not appended and never will be: it is queued again. Otherwise nothing is sent twice (REPLICATION.md,
 * rule 32).
 *
 * The commands of other nodes are proposals here, too, without an op: queued until this node may append, given until
 * they are applied. Who sent one hears from here only that it was not taken, or refused. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "engine/base/container.h"
#include "replication/base/limits.h"
#include "replication/executor/alarms.h"
#include "replication/metadata/proposal.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/wire/command_message.h"

static void on_deadline(struct alarm *alarm);

/* ---- proposals ---- */

static bool is_own(const struct quorum *quorum, const struct proposal *proposal)
{
    return proposal->cmd.origin.node == quorum->self.node;
}

/* Nobody else's any more. No lock held. */
static void tell_over(struct quorum *quorum, struct quorum_op *op, int rc)
{
    latency_note(&quorum->op_times, clock_mono_us(quorum->clock) - op->begun_us, rc);
    op->done(op, rc);
}

/* Back to where it was: this node's commands are in the order of their numbers. */
static void queue_again(struct quorum *quorum, struct proposal *proposal)
{
    struct proposal **link = &quorum->queued;

    while (*link != NULL && (!is_own(quorum, *link) || (*link)->cmd.origin.number < proposal->cmd.origin.number))
        link = &(*link)->next;
    proposal->epoch = 0;
    proposal->next = *link;
    *link = proposal;
    if (proposal->next == NULL)
        quorum->queued_last = &proposal->next;
}

/* Sets the alarm to the earliest deadline, if there is one. */
static void set_deadline(struct quorum *quorum)
{
    int64_t earliest_ms = INT64_MAX;

    for (int i = 0; i < 2; i++) {
        for (struct proposal *p = i == 0 ? quorum->queued : quorum->given; p != NULL; p = p->next) {
            if (p->op != NULL && p->deadline_ms < earliest_ms)
                earliest_ms = p->deadline_ms;
        }
    }
    if (earliest_ms != INT64_MAX)
        alarm_set(quorum->executor, &quorum->deadline, earliest_ms - quorum->clock->mono_ms(quorum->clock));
}

void quorum_ops_init(struct quorum *quorum)
{
    quorum->queued_last = &quorum->queued;
    quorum->given_last = &quorum->given;
    alarm_init(&quorum->deadline, WORK_PROMPT, on_deadline);
}

/* ---- sending ---- */

static int send_command(struct quorum *quorum, int32_t to, const struct command_request *request, uint8_t *data,
                        size_t len)
{
    struct iovec body = {.iov_base = data, .iov_len = len};
    uint8_t header[COMMAND_REQUEST_BYTES];
    size_t header_len = command_request_encode(request, header);

    return network_send(quorum->network, to, CHANNEL_CONTROL, MESSAGE_COMMAND, header, header_len, &body, 1);
}

/* A command that is GIVEN, with its bytes: by the time it is sent it may be over. */
struct sending {
    int32_t to;
    struct command_request request;
    uint8_t *data;
    size_t len;
};

/* false: nothing is to be sent to another node, as far as the last turn knew. */
static bool take_past_turn(struct quorum *quorum, struct sending *out)
{
    struct proposal *proposal;
    bool takes;

    pthread_mutex_lock(&quorum->lock);
    proposal = quorum->queued;
    takes = proposal != NULL && is_own(quorum, proposal) && quorum->leader != 0 && quorum->leader != quorum->self.node;
    out->data = takes ? malloc(proposal->len) : NULL;
    takes = out->data != NULL;
    if (takes) {
        proposal_take_out(proposal, &quorum->queued, &quorum->queued_last);
        proposal->epoch = quorum->leader_epoch;
        proposal_put_last(proposal, &quorum->given_last);
        out->to = quorum->leader;
        out->request = (struct command_request){.number = proposal->cmd.origin.number, .epoch = proposal->epoch};
        out->len = proposal->len;
        memcpy(out->data, proposal->data, proposal->len);
    }
    pthread_mutex_unlock(&quorum->lock);
    return takes;
}

/* It did not go out, and is queued as if nothing had been tried; unless it is over by now. */
static void not_sent(struct quorum *quorum, const struct command_request *request)
{
    struct proposal *proposal;

    pthread_mutex_lock(&quorum->lock);
    proposal = proposal_find(quorum->given, quorum->self.node, request->number);
    if (proposal != NULL && proposal->epoch == request->epoch) {
        proposal_take_out(proposal, &quorum->given, &quorum->given_last);
        queue_again(quorum, proposal);
    }
    pthread_mutex_unlock(&quorum->lock);
}

/* A turn may wait for a disk that hangs: just then this node has leaderships to hand over. */
static void give_past_turn(struct quorum *quorum)
{
    int64_t since_ms = atomic_load(&quorum->turn_ms);
    struct sending sending;
    int rc = 0;

    if (since_ms == 0 || quorum->clock->mono_ms(quorum->clock) - since_ms < LIMIT_QUORUM_TURN_MS)
        return;
    while (rc == 0 && take_past_turn(quorum, &sending)) {
        rc = send_command(quorum, sending.to, &sending.request, sending.data, sending.len);
        free(sending.data);
        if (rc != 0)
            not_sent(quorum, &sending.request);
    }
}

/* ---- submitting ---- */

/* Where it makes no sense to wait; under the lock. */
static int check_open(struct quorum *quorum, struct err *e)
{
    if (quorum->stopped)
        return err_set(e, -EROFS, "this node stops");
    if (quorum->voters.count == 0 && quorum->peers.count > 1)
        return err_set(e, -EROFS, "there is no cluster yet: not all of its first nodes are here");
    /* Who leads waits for no answer of another: a late turn of its own was all that it met. */
    if (quorum->refusing && !quorum->leading)
        return err_set(e, -EROFS, "no controller has answered since a command timed out");
    return 0;
}

/* The origin of a new command. Where not all know what a caller is this node alone has judged. */
static struct command_origin new_origin(struct quorum *quorum, const struct command_caller *caller)
{
    struct command_origin origin = {.node = quorum->self.node, .node_epoch = -1};
    const struct metadata *meta = quorum_acquire(quorum);
    const struct node_registration *node = metadata_node(meta, quorum->self.node);

    if (node != NULL)
        origin.node_epoch = node->epoch;
    if (metadata_judges(meta) && !BUG(judged_by_asker))
        origin.caller = *caller;
    quorum_release(quorum);
    pthread_mutex_lock(&quorum->lock);
    origin.number = quorum->next_number++;
    pthread_mutex_unlock(&quorum->lock);
    return origin;
}

int quorum_submit(struct quorum *quorum, struct quorum_op *op, const struct command *cmd)
{
    struct command named = *cmd;
    struct proposal *proposal;
    int rc;

    if (log_offline(quorum->log) != 0)
        return err_set(&op->e, -EIO, "%s is offline after an error", quorum->name);
    rc = metadata_check(quorum_acquire(quorum), cmd, &op->e);
    quorum_release(quorum);
    if (rc != 0 && rc != -EEXIST) /* decided, and perhaps not yet there for who would look for it: append() */
        return rc;
    named.origin = new_origin(quorum, &cmd->origin.caller);
    proposal = proposal_new(&named);
    if (proposal == NULL)
        return err_sys(&op->e, -ENOMEM, "metadata command");
    proposal->op = op;
    op->begun_us = clock_mono_us(quorum->clock);
    proposal->deadline_ms = alarms_deadline_ms(op->begun_us / 1000, op->timeout_ms);

    pthread_mutex_lock(&quorum->lock);
    rc = check_open(quorum, &op->e);
    if (rc == 0) {
        op->proposal = proposal;
        proposal_put_last(proposal, &quorum->queued_last);
        if (proposal->deadline_ms != INT64_MAX)
            set_deadline(quorum);
    }
    pthread_mutex_unlock(&quorum->lock);
    if (rc == 0) {
        mailbox_kick(&quorum->mailbox);
        give_past_turn(quorum);
    } else {
        proposal_free(proposal);
    }
    return rc;
}

bool quorum_cancel(struct quorum *quorum, struct quorum_op *op)
{
    struct proposal *proposal;
    bool taken;

    pthread_mutex_lock(&quorum->lock);
    proposal = op->proposal;
    taken = proposal != NULL && proposal->epoch == 0;
    if (taken) {
        proposal_detach(proposal);
        proposal_take_out(proposal, &quorum->queued, &quorum->queued_last);
    }
    pthread_mutex_unlock(&quorum->lock);
    if (taken)
        proposal_free(proposal);
    return taken;
}

/* ---- the end ---- */

static void send_answer(struct quorum *quorum, int32_t to, const struct command_answer *answer)
{
    uint8_t header[COMMAND_ANSWER_BYTES];
    size_t len = command_answer_encode(answer, header);

    /* One that is lost is a command that times out. */
    (void)network_send(quorum->network, to, CHANNEL_CONTROL, MESSAGE_COMMAND_ANSWER, header, len, NULL, 0);
}

/* Out of no list any more: tells whoever submitted it, here or elsewhere, that it is not appended, and why. */
static void refuse(struct quorum *quorum, struct proposal *proposal, int rc, const struct err *e)
{
    struct command_answer answer = {.number = proposal->cmd.origin.number,
                                    .epoch = proposal->asked,
                                    .outcome = COMMAND_REFUSED,
                                    .error = -rc,
                                    .reason = *e};
    struct quorum_op *op;

    if (!is_own(quorum, proposal)) {
        send_answer(quorum, proposal->cmd.origin.node, &answer);
    } else {
        pthread_mutex_lock(&quorum->lock);
        op = proposal_detach(proposal);
        pthread_mutex_unlock(&quorum->lock);
        if (op != NULL) {
            op->e = *e;
            tell_over(quorum, op, rc);
        }
    }
    proposal_free(proposal);
}

static void not_taken(struct quorum *quorum, int32_t to, uint64_t number, int32_t epoch)
{
    send_answer(quorum, to, &(struct command_answer){.number = number, .epoch = epoch, .outcome = COMMAND_NOT_TAKEN});
}

/* Time in which this node stood still is nobody's silence: the answer may lie in a socket. Once a proposal. */
static void forgive(struct proposal *proposal, int64_t now_ms)
{
    int64_t late_ms = now_ms - proposal->deadline_ms;

    if (late_ms < LIMIT_STOOD_STILL_MS || proposal->forgiven)
        return;
    proposal->forgiven = true;
    proposal->deadline_ms = now_ms + (late_ms < LIMIT_FORGIVEN_MS ? late_ms : LIMIT_FORGIVEN_MS);
}

/* Those whose time is over: out of the queue, or, if they were given to a leader, without their op. */
static void on_deadline(struct alarm *alarm)
{
    struct quorum *quorum = CONTAINER_OF(alarm, struct quorum, deadline);
    int64_t now_ms = quorum->clock->mono_ms(quorum->clock);
    struct quorum_op *op;

    do {
        struct proposal *over = NULL, *unused = NULL;

        op = NULL;
        pthread_mutex_lock(&quorum->lock);
        for (int i = 0; i < 2 && over == NULL; i++) {
            for (struct proposal *p = i == 0 ? quorum->queued : quorum->given; p != NULL && over == NULL; p = p->next) {
                if (p->op == NULL || p->deadline_ms > now_ms)
                    continue;
                if (quorum->voters.count > 1)
                    forgive(p, now_ms);
                if (p->deadline_ms <= now_ms)
                    over = p;
            }
        }
        if (over != NULL) {
            op = proposal_detach(over);
            if (over->epoch == 0)
                proposal_take_out(unused = over, &quorum->queued, &quorum->queued_last);
            quorum->refusing = quorum->voters.count > 1;
        } else {
            set_deadline(quorum);
        }
        pthread_mutex_unlock(&quorum->lock);
        if (unused != NULL)
            proposal_free(unused);
        if (op != NULL)
            tell_over(quorum, op, err_set(&op->e, -ETIMEDOUT, "no decision in %" PRId64 " ms", op->timeout_ms));
    } while (op != NULL);
}

void quorum_ops_end(struct quorum *quorum, int queued_rc, int given_rc, const char *reason)
{
    struct proposal *proposal;

    do {
        struct quorum_op *op = NULL;
        int rc;

        pthread_mutex_lock(&quorum->lock);
        proposal = quorum->queued != NULL ? quorum->queued : quorum->given;
        rc = quorum->queued != NULL ? queued_rc : given_rc;
        if (quorum->queued != NULL)
            proposal_take_out(proposal, &quorum->queued, &quorum->queued_last);
        else if (proposal != NULL)
            proposal_take_out(proposal, &quorum->given, &quorum->given_last);
        if (proposal != NULL)
            op = proposal_detach(proposal);
        pthread_mutex_unlock(&quorum->lock);
        if (op != NULL)
            tell_over(quorum, op, err_set(&op->e, rc, "%s: %s", quorum->name, reason));
        if (proposal != NULL)
            proposal_free(proposal);
    } while (proposal != NULL);
}

void quorum_ops_skipped(struct quorum *quorum)
{
    struct proposal *list, *next;
    struct quorum_op *op;

    pthread_mutex_lock(&quorum->lock);
    list = quorum->given;
    quorum->given = NULL;
    quorum->given_last = &quorum->given;
    pthread_mutex_unlock(&quorum->lock);
    for (; list != NULL; list = next) {
        next = list->next;
        pthread_mutex_lock(&quorum->lock);
        op = proposal_detach(list);
        pthread_mutex_unlock(&quorum->lock);
        if (op != NULL)
            tell_over(quorum, op, err_set(&op->e, -ETIMEDOUT, "what became of it is in a snapshot, and not known"));
        proposal_free(list);
    }
}

void quorum_ops_answered(struct quorum *quorum)
{
    pthread_mutex_lock(&quorum->lock);
    quorum->refusing = false;
    pthread_mutex_unlock(&quorum->lock);
    quorum->refused_by = 0;
}

/* ---- applied ---- */

void quorum_ops_applied(struct quorum *quorum, const struct command *cmd, int rc, const struct err *e)
{
    struct proposal *proposal = NULL;
    struct quorum_op *op = NULL;

    if (cmd->origin.node == 0)
        return;
    pthread_mutex_lock(&quorum->lock);
    proposal = proposal_find(quorum->given, cmd->origin.node, cmd->origin.number);
    if (proposal != NULL) {
        proposal_take_out(proposal, &quorum->given, &quorum->given_last);
        op = proposal_detach(proposal);
    }
    pthread_mutex_unlock(&quorum->lock);
    if (op != NULL) {
        op->e = *e;
        tell_over(quorum, op, rc);
    }
    if (proposal != NULL)
        proposal_free(proposal);
}

void quorum_ops_epoch(struct quorum *quorum, int32_t epoch)
{
    struct proposal *lost = NULL, *next;

    pthread_mutex_lock(&quorum->lock);
    for (struct proposal *p = quorum->given; p != NULL; p = next) {
        next = p->next;
        if (p->epoch >= epoch)
            continue;
        proposal_take_out(p, &quorum->given, &quorum->given_last);
        if (p->op != NULL) {
            queue_again(quorum, p);
        } else {
            p->next = lost;
            lost = p;
        }
    }
    pthread_mutex_unlock(&quorum->lock);
    for (; lost != NULL; lost = next) {
        next = lost->next;
        proposal_free(lost);
    }
}

/* ---- given: by who leads, to its log ---- */

static bool is_config(const struct command *cmd)
{
    return cmd->type == COMMAND_SET_CONFIG || cmd->type == COMMAND_REMOVE_CONFIG;
}

/* Whose name it is in may change by it. */
static bool renames(const struct command *given, const struct command *cmd)
{
    switch (given->type) {
    case COMMAND_CREATE_TOPIC:
    case COMMAND_DELETE_TOPIC:
        return strcmp(given->topic, cmd->topic) == 0;
    case COMMAND_CREATE_GROUP:
    case COMMAND_DELETE_GROUP:
        return strcmp(given->group, cmd->group) == 0;
    default:
        return false;
    }
}

/* May only be judged on the state that it will be applied to: the rules about settings that contradict each other ask
 * for more than one setting, and what goes by a name is meant for who has it now. Under the lock. */
static bool has_to_wait(const struct quorum *quorum, const struct command *cmd)
{
    if (!command_goes_by_name(cmd))
        return false;
    for (const struct proposal *p = quorum->given; p != NULL; p = p->next) {
        bool same = p->cmd.topic[0] == '\0' || cmd->topic[0] == '\0' || strcmp(p->cmd.topic, cmd->topic) == 0;
        if ((is_config(&p->cmd) && is_config(cmd) && same) || renames(&p->cmd, cmd))
            return true;
    }
    return false;
}

/* The next one to be given; it is GIVEN then. NULL: there is none for now. */
static struct proposal *take_next(struct quorum *quorum, bool appends)
{
    struct proposal *proposal;

    pthread_mutex_lock(&quorum->lock);
    proposal = quorum->queued;
    if (proposal != NULL && appends && has_to_wait(quorum, &proposal->cmd))
        proposal = NULL;
    if (proposal != NULL) {
        proposal_take_out(proposal, &quorum->queued, &quorum->queued_last);
        proposal->epoch = quorum->raft.state.epoch;
        proposal_put_last(proposal, &quorum->given_last);
    }
    pthread_mutex_unlock(&quorum->lock);
    return proposal;
}

static void take_back(struct quorum *quorum, struct proposal *proposal, bool again)
{
    pthread_mutex_lock(&quorum->lock);
    proposal_take_out(proposal, &quorum->given, &quorum->given_last);
    if (again)
        queue_again(quorum, proposal);
    pthread_mutex_unlock(&quorum->lock);
}

/* As metadata_check(). A node of an older build may have come since it was asked for. */
static int judge(const struct metadata *meta, const struct command *cmd, struct err *e)
{
    int rc = metadata_check(meta, cmd, e), level_rc = 0;

    if (cmd->origin.caller.is_user && (rc == 0 || rc == -EEXIST))
        level_rc = metadata_check_level(meta, FEATURE_LEVEL_CALLERS, e);
    return level_rc != 0 ? level_rc : rc;
}

/* -EINPROGRESS: it cannot be judged before more is applied here. */
static int append(struct quorum *quorum, struct proposal *proposal, struct err *e)
{
    struct log_append_result at;
    const struct metadata *meta = quorum_acquire(quorum);
    bool behind = meta->next_offset < proposal->seen_offset;
    int rc = judge(meta, &proposal->cmd, e);

    quorum_release(quorum);
    if (rc != 0 && behind)
        return -EINPROGRESS;
    /* What is decided already is refused where it was asked for, by a record that changes nothing: behind that of what
     * exists, which the node has acted upon by then. */
    if (rc == -EEXIST)
        rc = 0;
    if (rc == 0)
        rc = quorum->prepare(quorum->arg, &proposal->cmd, e);
    if (rc == 0)
        rc = quorum_append_record(quorum, proposal->data, proposal->len, proposal->cmd.time_ms, &at, e);
    return rc;
}

static void give_to_log(struct quorum *quorum)
{
    struct raft_event failed = {.type = RAFT_EVENT_APPEND_FAILED};
    struct proposal *proposal;

    while (quorum->raft.role == RAFT_LEADER && (proposal = take_next(quorum, true)) != NULL) {
        struct err e = {""};
        int rc = append(quorum, proposal, &e);
        /* Another voter may have room. */
        bool elsewhere = err_is_full_disk(rc) && !quorum_is_alone(quorum);

        if (rc == 0)
            continue;
        take_back(quorum, proposal, elsewhere || rc == -EINPROGRESS);
        if (rc == -EINPROGRESS) /* the end of the apply is another turn */
            return;
        if (elsewhere)
            quorum_step(quorum, &failed);
        else
            refuse(quorum, proposal, rc, &e);
        if (log_offline(quorum->log) != 0) {
            quorum_fail(quorum, -EIO, &e);
            return;
        }
    }
}

/* ---- given: to who leads ---- */

static void give_to_leader(struct quorum *quorum, struct raft_id leader)
{
    struct proposal *proposal;

    if (quorum->refused_by == leader.node && quorum->refused_epoch == quorum->raft.state.epoch)
        return;
    while ((proposal = take_next(quorum, false)) != NULL) {
        if (!is_own(quorum, proposal)) {
            take_back(quorum, proposal, false);
            not_taken(quorum, proposal->cmd.origin.node, proposal->cmd.origin.number, proposal->asked);
            proposal_free(proposal);
        } else if (send_command(quorum, leader.node,
                                &(struct command_request){proposal->cmd.origin.number, proposal->epoch}, proposal->data,
                                proposal->len) != 0) {
            /* It is not on its way; when the link is there again, or the next turn comes, it is tried again. */
            take_back(quorum, proposal, true);
            return;
        }
    }
}

/* Those of other nodes, which can ask elsewhere. */
static void give_back(struct quorum *quorum)
{
    struct proposal *proposal;

    do {
        pthread_mutex_lock(&quorum->lock);
        proposal = quorum->queued;
        while (proposal != NULL && is_own(quorum, proposal))
            proposal = proposal->next;
        if (proposal != NULL)
            proposal_take_out(proposal, &quorum->queued, &quorum->queued_last);
        pthread_mutex_unlock(&quorum->lock);
        if (proposal != NULL) {
            not_taken(quorum, proposal->cmd.origin.node, proposal->cmd.origin.number, proposal->asked);
            proposal_free(proposal);
        }
    } while (proposal != NULL);
}

/* Nothing can be given: this server is stalled. What came since it last tried has a try of its own. */
static void refuse_queued(struct quorum *quorum)
{
    struct proposal *proposal;

    do {
        pthread_mutex_lock(&quorum->lock);
        proposal = quorum->queued;
        if (proposal != NULL && is_own(quorum, proposal) && proposal->cmd.origin.number >= quorum->tried_number)
            proposal = NULL;
        if (proposal != NULL)
            proposal_take_out(proposal, &quorum->queued, &quorum->queued_last);
        pthread_mutex_unlock(&quorum->lock);
        if (proposal != NULL)
            refuse(quorum, proposal, quorum->stall_rc, &quorum->stall_e);
    } while (proposal != NULL);
}

void quorum_ops_give(struct quorum *quorum)
{
    struct raft_id leader = raft_leader(&quorum->raft);

    if (quorum->state == QUORUM_FAILED) {
        quorum_ops_end(quorum, -EIO, -EIO, quorum->stall_e.text);
    } else if (quorum->state == QUORUM_STALLED) {
        refuse_queued(quorum);
    } else if (quorum->raft.role == RAFT_LEADER) {
        if (quorum->leads)
            give_to_log(quorum);
    } else {
        give_back(quorum);
        if (leader.node != 0)
            give_to_leader(quorum, leader);
    }
}

/* ---- what came ---- */

static size_t count_remote(struct quorum *quorum)
{
    size_t count = 0;

    pthread_mutex_lock(&quorum->lock);
    for (struct proposal *p = quorum->queued; p != NULL; p = p->next)
        count += !is_own(quorum, p);
    pthread_mutex_unlock(&quorum->lock);
    return count;
}

void quorum_on_command(struct quorum *quorum, int32_t from, const struct frame *frame)
{
    struct command_request request;
    struct command cmd;
    struct proposal *proposal;
    struct err e = {""};
    int rc = command_request_decode(frame->header, frame->header_bytes, &request, &e);

    if (rc == 0 && frame->body_bytes > LIMIT_COMMAND_BYTES)
        rc = err_set(&e, -EBADMSG, "a command of %u bytes", (unsigned)frame->body_bytes);
    if (rc == 0)
        rc = command_decode(frame->body, frame->body_bytes, &cmd, &e);
    if (rc == 0 && (cmd.origin.node != from || cmd.origin.number != request.number)) {
        rc = err_set(&e, -EBADMSG, "a command in the name of node %" PRId32, cmd.origin.node);
        command_free(&cmd);
    }
    if (rc != 0) {
        log_line(LOG_ERR, "node %" PRId32 ": %s", from, e.text);
        network_drop(quorum->network, from);
        return;
    }
    proposal = NULL;
    if (quorum->raft.role == RAFT_LEADER && request.epoch == quorum->raft.state.epoch &&
        count_remote(quorum) < LIMIT_QUORUM_COMMANDS)
        proposal = proposal_new(&cmd);
    command_free(&cmd);
    if (proposal == NULL) {
        not_taken(quorum, from, request.number, request.epoch);
        return;
    }
    proposal->asked = request.epoch;
    pthread_mutex_lock(&quorum->lock);
    proposal->seen_offset = quorum->decided_offset;
    proposal_put_last(proposal, &quorum->queued_last);
    pthread_mutex_unlock(&quorum->lock);
}

void quorum_on_command_answer(struct quorum *quorum, int32_t from, const struct frame *frame)
{
    struct command_answer answer;
    struct proposal *proposal;
    struct err e = {""};
    bool again = false;

    if (command_answer_decode(frame->header, frame->header_bytes, &answer, &e) != 0) {
        log_line(LOG_ERR, "node %" PRId32 ": %s", from, e.text);
        network_drop(quorum->network, from);
        return;
    }
    pthread_mutex_lock(&quorum->lock);
    proposal = proposal_find(quorum->given, quorum->self.node, answer.number);
    /* A leader of before may have been late with it: this one has it by now, and may append it. */
    if (proposal != NULL && proposal->epoch != answer.epoch)
        proposal = NULL;
    if (proposal != NULL) {
        proposal_take_out(proposal, &quorum->given, &quorum->given_last);
        again = answer.outcome == COMMAND_NOT_TAKEN && proposal->op != NULL;
        if (answer.outcome == COMMAND_NOT_TAKEN) {
            quorum->refused_by = from;
            quorum->refused_epoch = proposal->epoch;
        }
        if (again)
            queue_again(quorum, proposal);
    }
    pthread_mutex_unlock(&quorum->lock);
    if (proposal == NULL || again)
        return;
    if (answer.outcome == COMMAND_REFUSED)
        refuse(quorum, proposal, -answer.error, &answer.reason);
    else
        proposal_free(proposal);
}
