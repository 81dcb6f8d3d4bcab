/* replication/metadata/quorum_change.c: other voters, asked for on any node (KIP-853).
 *
 *   submit ─▶ CHANGE_QUEUED ─ a turn ─▶ CHANGE_GIVEN ─── judged, here or by who leads: accepted ─▶ CHANGE_ACCEPTED
 *                                        │  ▲  │                                                       │
 *                                        └──┘  └─ refused ─▶ done(why)                                 │
 *                 nobody leads, not taken, or no answer        they are the voters, decided and applied here ─▶ done(0)
 *
 * What is accepted is a target, with the incarnations of the nodes as the leader knows them: it lies in the log, and
 * whoever leads goes on towards it. So it can be asked for again at any time. It is reached when the voters that are
 * applied here are the target, and at rest. The deadline ends each state with -ETIMEDOUT; the change goes on. */
#include <errno.h>
#include <inttypes.h>
#include <syslog.h>

#include "replication/base/limits.h"
#include "replication/executor/alarms.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/wire/voters_message.h"

static int64_t now_ms(const struct quorum *quorum)
{
    return quorum->clock->mono_ms(quorum->clock);
}

/* ---- submitting ---- */

static bool is_list(const struct raft_peers *nodes)
{
    if (nodes->count != 1 && nodes->count != 3 && nodes->count != 5)
        return false;
    for (int32_t i = 0; i < nodes->count; i++) {
        if (nodes->nodes[i] <= (i > 0 ? nodes->nodes[i - 1] : 0))
            return false;
    }
    return true;
}

int quorum_change_voters(struct quorum *quorum, struct quorum_change *change, const struct raft_peers *nodes)
{
    int rc = 0;

    if (!is_list(nodes))
        return err_set(&change->e, -EINVAL, "the voters are 1, 3 or 5 nodes, each of them once");
    change->nodes = *nodes;
    change->state = CHANGE_QUEUED;
    change->again_ms = INT64_MIN;
    change->deadline_ms = alarms_deadline_ms(now_ms(quorum), change->timeout_ms);
    pthread_mutex_lock(&quorum->lock);
    if (quorum->stopped)
        rc = err_set(&change->e, -EROFS, "this node stops");
    else if (quorum->voters.count == 0)
        rc = err_set(&change->e, -EROFS, "there is no cluster yet");
    if (rc == 0) {
        change->number = quorum->next_number++;
        change->next = quorum->changes;
        quorum->changes = change;
    }
    pthread_mutex_unlock(&quorum->lock);
    if (rc == 0)
        mailbox_kick(&quorum->mailbox);
    return rc;
}

/* Out of the list, for its end; the lock is held. */
static void take_out(struct quorum *quorum, struct quorum_change *change)
{
    struct quorum_change **link = &quorum->changes;

    while (*link != change)
        link = &(*link)->next;
    *link = change->next;
    change->state = CHANGE_OVER;
}

bool quorum_change_cancel(struct quorum *quorum, struct quorum_change *change)
{
    bool taken;

    pthread_mutex_lock(&quorum->lock);
    taken = change->state == CHANGE_QUEUED;
    if (taken)
        take_out(quorum, change);
    pthread_mutex_unlock(&quorum->lock);
    return taken;
}

/* ---- the leader's ---- */

static bool is_of(const struct raft_voters *voters, const struct raft_peers *nodes)
{
    bool same = voters->count == nodes->count;

    for (int32_t i = 0; i < nodes->count && same; i++)
        same = voters->ids[i].node == nodes->nodes[i];
    return same;
}

/* May that user have other voters, as of all that is decided? -EINPROGRESS: not all of it is applied here yet. Of his
 * groups nothing is known: MOUNT's owner may, and needs none. */
static int permit(struct quorum *quorum, int64_t uid)
{
    struct command cmd = {
        .type = COMMAND_SET_VOTERS,
        .origin.caller = {.is_user = uid >= 0, .uid = (uid_t)uid, .gid = (gid_t)-1, .group_count = 0}};
    const struct metadata *meta = quorum_acquire(quorum);
    bool behind = meta->next_offset < quorum->decided_offset;
    int rc = uid <= 0 ? 0 : behind ? -EINPROGRESS : metadata_permit(meta, &cmd, NULL);

    quorum_release(quorum);
    return rc;
}

static void judge(struct quorum *quorum, const struct raft_peers *nodes, int64_t uid, struct voters_answer *answer)
{
    struct raft_event event = {.type = RAFT_EVENT_CHANGE_VOTERS, .peers = nodes};
    int rc = permit(quorum, uid);

    if (rc == -EINPROGRESS) { /* it is asked again in its time */
        answer->outcome = VOTERS_NOT_TAKEN;
        return;
    }
    if (rc == 0)
        rc = quorum_step(quorum, &event);
    *answer = (struct voters_answer){.number = answer->number, .error = -rc};
    answer->outcome = rc == 0 ? VOTERS_ACCEPTED : VOTERS_REFUSED;
    if (rc == 0)
        answer->target = raft_history_latest(&quorum->raft.voters)->target;
    /* There was no room for its record: another leads soon. */
    if (rc == 0 && (quorum->state != QUORUM_WELL || !is_of(&answer->target, nodes)))
        answer->outcome = VOTERS_NOT_TAKEN;
}

void quorum_on_change(struct quorum *quorum, int32_t from, const struct frame *frame)
{
    struct voters_request request;
    struct voters_answer answer = {.outcome = VOTERS_NOT_TAKEN};
    uint8_t header[VOTERS_ANSWER_BYTES];
    struct err e = {""};

    if (voters_request_decode(frame->header, frame->header_bytes, &request, &e) != 0) {
        log_line(LOG_ERR, "node %" PRId32 ": %s", from, e.text);
        network_drop(quorum->network, from);
        return;
    }
    answer.number = request.number;
    if (quorum->leads && request.epoch == quorum->raft.state.epoch)
        judge(quorum, &request.nodes, request.uid, &answer);
    (void)network_send(quorum->network, from, CHANNEL_CONTROL, MESSAGE_CHANGE_VOTERS_ANSWER, header,
                       voters_answer_encode(&answer, header), NULL, 0);
}

/* ---- the asker's: a turn's ---- */

static void end(struct quorum *quorum, struct quorum_change *change, int rc, const char *reason)
{
    pthread_mutex_lock(&quorum->lock);
    take_out(quorum, change);
    pthread_mutex_unlock(&quorum->lock);
    if (rc != 0)
        err_set(&change->e, rc, "%s", reason);
    change->done(change, rc);
}

static const char *reason(int error)
{
    if (error == EAGAIN)
        return "not all of them are connected and caught up, or another change is under way";
    if (error == EPERM || error == EACCES)
        return "they are MOUNT's owner's and root's to set";
    return "the controller refuses these voters";
}

static void take_answer(struct quorum *quorum, struct quorum_change *change, const struct voters_answer *answer)
{
    switch (answer->outcome) {
    case VOTERS_NOT_TAKEN:
        return; /* it is asked again in its time */
    case VOTERS_REFUSED:
        end(quorum, change, -answer->error, reason(answer->error));
        return;
    case VOTERS_ACCEPTED:
        change->target = answer->target;
        pthread_mutex_lock(&quorum->lock);
        change->state = CHANGE_ACCEPTED;
        pthread_mutex_unlock(&quorum->lock);
        return;
    case VOTERS_OUTCOMES:
        return;
    }
}

void quorum_on_change_answer(struct quorum *quorum, int32_t from, const struct frame *frame)
{
    struct voters_answer answer;
    struct quorum_change *change;
    struct err e = {""};

    if (voters_answer_decode(frame->header, frame->header_bytes, &answer, &e) != 0) {
        log_line(LOG_ERR, "node %" PRId32 ": %s", from, e.text);
        network_drop(quorum->network, from);
        return;
    }
    pthread_mutex_lock(&quorum->lock);
    change = quorum->changes;
    while (change != NULL && (change->number != answer.number || change->state != CHANGE_GIVEN))
        change = change->next;
    pthread_mutex_unlock(&quorum->lock);
    if (change != NULL)
        take_answer(quorum, change, &answer);
}

/* To the leader, if there is one. */
static void give(struct quorum *quorum, struct quorum_change *change)
{
    struct voters_request request = {.number = change->number,
                                     .epoch = quorum->raft.state.epoch,
                                     .nodes = change->nodes,
                                     .uid = change->caller.is_user ? (int64_t)change->caller.uid : -1};
    struct voters_answer answer = {.number = change->number};
    uint8_t header[VOTERS_REQUEST_BYTES];
    int32_t leader = raft_leader(&quorum->raft).node;

    if (quorum->raft.role == RAFT_LEADER ? !quorum->leads : leader == 0) {
        change->again_ms = INT64_MIN; /* once somebody leads, which is a turn */
        return;
    }
    change->again_ms = now_ms(quorum) + LIMIT_CHANGE_AGAIN_MS;
    if (quorum->raft.role != RAFT_LEADER) {
        (void)network_send(quorum->network, leader, CHANNEL_CONTROL, MESSAGE_CHANGE_VOTERS, header,
                           voters_request_encode(&request, header), NULL, 0);
        return;
    }
    judge(quorum, &change->nodes, request.uid, &answer);
    take_answer(quorum, change, &answer);
}

static bool is_reached(struct quorum *quorum, const struct raft_voters *target)
{
    const struct metadata_voters *applied = &quorum_acquire(quorum)->voters;
    bool reached = raft_voters_equal(&applied->voters, target) && raft_voters_equal(&applied->target, target);

    quorum_release(quorum);
    return reached;
}

/* The next one by number, which from here on nobody else takes out. */
static struct quorum_change *take_next(struct quorum *quorum, uint64_t *number)
{
    struct quorum_change *next = NULL;

    pthread_mutex_lock(&quorum->lock);
    for (struct quorum_change *change = quorum->changes; change != NULL; change = change->next) {
        if (change->number >= *number && (next == NULL || change->number < next->number))
            next = change;
    }
    if (next != NULL) {
        *number = next->number + 1;
        if (next->state == CHANGE_QUEUED)
            next->state = CHANGE_GIVEN;
    }
    pthread_mutex_unlock(&quorum->lock);
    return next;
}

void quorum_change_tend(struct quorum *quorum)
{
    struct quorum_change *change;
    uint64_t number = 0;

    while ((change = take_next(quorum, &number)) != NULL) {
        if (quorum->state == QUORUM_FAILED)
            end(quorum, change, -EIO, quorum->stall_e.text);
        else if (change->state == CHANGE_ACCEPTED && is_reached(quorum, &change->target))
            end(quorum, change, 0, NULL);
        else if (now_ms(quorum) >= change->deadline_ms)
            end(quorum, change, -ETIMEDOUT, "the voters are not what was asked for yet");
        else if (quorum->state == QUORUM_WELL && change->state == CHANGE_GIVEN && now_ms(quorum) >= change->again_ms)
            give(quorum, change);
    }
}

int64_t quorum_change_deadline_ms(struct quorum *quorum)
{
    int64_t at = INT64_MAX;

    pthread_mutex_lock(&quorum->lock);
    for (const struct quorum_change *change = quorum->changes; change != NULL; change = change->next) {
        if (change->deadline_ms < at)
            at = change->deadline_ms;
        if (quorum->state == QUORUM_WELL && change->state == CHANGE_GIVEN && change->again_ms > INT64_MIN &&
            change->again_ms < at)
            at = change->again_ms;
    }
    pthread_mutex_unlock(&quorum->lock);
    return at;
}

void quorum_change_end(struct quorum *quorum)
{
    struct quorum_change *change;

    while ((change = quorum->changes) != NULL)
        end(quorum, change, change->state == CHANGE_QUEUED ? -EROFS : -ETIMEDOUT, "this node stops");
}
