/* replication/metadata/raft_leader.c: what a leader knows of the others, and what follows from it.
 *
 * It begins with a record of its own epoch. Each fetch says how far the fetcher's log goes and how far it is on its
 * disk; what a majority of the voters has on theirs is decided, from the record of the own epoch on (Raft, 5.4.2): an
 * older record can be on a majority and still be replaced, unless one of the leader's epoch lies behind it.
 *
 * A leader whose node stops appends no more; it resigns when a voter has fetched the whole log, which is then elected
 * at once by whatever majority is there (Ongaro's thesis, 3.10).
 *
 * A leader from which no majority of the voters has fetched for RAFT_ELECTION_MIN_MS resigns; the others do not elect
 * another before that time has passed since they last heard it, unless they know that it has ended. */
#include <assert.h>

#include "replication/metadata/raft_internal.h"

/* ---- the others ---- */

const struct raft_replica *raft_replica_of(const struct raft *raft, struct raft_id id)
{
    for (int32_t i = 0; i < raft->replica_count; i++) {
        if (raft_id_equal(raft->replicas[i].id, id))
            return &raft->replicas[i];
    }
    return NULL;
}

/* The place to use for one that has not fetched yet: a new one, or that of the observer that was silent for longest. */
static struct raft_replica *free_replica(struct raft *raft)
{
    struct raft_replica *oldest = NULL;

    if (raft->replica_count < RAFT_REPLICAS_MAX)
        return &raft->replicas[raft->replica_count++];
    for (int32_t i = 0; i < raft->replica_count; i++) {
        struct raft_replica *replica = &raft->replicas[i];

        if (raft_voters_find(raft_voters(raft), replica->id) < 0 &&
            (oldest == NULL || replica->fetched_ms < oldest->fetched_ms))
            oldest = replica;
    }
    assert(oldest != NULL); /* there are more places than voters */
    return oldest;
}

static struct raft_replica *replica_of(struct raft *raft, struct raft_id id)
{
    struct raft_replica *replica = NULL;

    for (int32_t i = 0; i < raft->replica_count; i++) {
        if (raft_id_equal(raft->replicas[i].id, id))
            return &raft->replicas[i];
    }
    replica = free_replica(raft);
    *replica = (struct raft_replica){.id = id,
                                     .offset = -1,
                                     .flushed = -1,
                                     .fetched_ms = raft->now_ms,
                                     .heard_ms = INT64_MIN,
                                     .decided = raft->high_watermark,
                                     .decided_ms = raft->now_ms,
                                     .caught_up_ms = INT64_MIN};
    return replica;
}

/* The largest value that a majority of the voters reaches; own is this server's. INT64_MIN: some voters have none. */
static int64_t majority_value(const struct raft *raft, int64_t own, int64_t (*value)(const struct raft_replica *))
{
    const struct raft_voters *voters = raft_voters(raft);
    int64_t values[LIMIT_VOTERS];
    int32_t n = 0;

    for (; n < voters->count; n++) {
        const struct raft_replica *replica = raft_replica_of(raft, voters->ids[n]);
        int64_t v = raft_id_equal(voters->ids[n], raft->config.self) ? own
                    : replica == NULL                                ? INT64_MIN
                                                                     : value(replica);
        int32_t at = n;

        /* Descending. */
        for (; at > 0 && values[at - 1] < v; at--)
            values[at] = values[at - 1];
        values[at] = v;
    }
    return n == 0 ? INT64_MIN : values[raft_voters_majority(voters) - 1];
}

/* ---- what is decided ---- */

static int64_t flushed_of(const struct raft_replica *replica)
{
    return RAFT_BUG(ack_before_flush) ? replica->offset : replica->flushed;
}

void raft_count_flushed(struct raft *raft)
{
    int64_t end = raft_log_end(raft), own, decided;

    if (raft->role != RAFT_LEADER)
        return;
    own = RAFT_BUG(ack_before_flush) ? end : raft->config.log->flushed(raft->config.log);
    decided = majority_value(raft, own, flushed_of);
    if (decided > end)
        decided = end;
    /* REPLICATION.md, rule 19: not by counting what is of an earlier epoch alone. */
    if ((decided > raft->epoch_start || RAFT_BUG(old_epoch_counted)) && decided >= 0)
        raft_advance_high_watermark(raft, decided);
    raft_change_step(raft);
}

static void note_fetch(struct raft *raft, struct raft_replica *replica, const struct raft_message *msg)
{
    int64_t offset = msg->fetch.offset;
    int64_t flushed = msg->fetch.flushed < offset ? msg->fetch.flushed : offset;

    /* Fetches come late and twice. What a follower had it still has: within an epoch it truncates nothing that is the
     * leader's, and what it has flushed outlives its crash. */
    if (offset > replica->offset || RAFT_BUG(ack_moves_back))
        replica->offset = offset;
    if (flushed > replica->flushed || RAFT_BUG(ack_moves_back))
        replica->flushed = flushed;
    if (replica->flushed < replica->decided)
        return;
    replica->caught_up_ms = replica->flushed >= raft->high_watermark ? raft->now_ms : replica->decided_ms;
    replica->decided = raft->high_watermark;
    replica->decided_ms = raft->now_ms;
}

/* What a leader that stands still is sent meanwhile it reads when it goes on, and somebody else may lead by then: it
 * counts from when that was sent which the fetch is known to come after. */
static void note_heard(const struct raft *raft, struct raft_replica *replica, uint64_t heard)
{
    if (heard == RAFT_HEARD_UNSAID || RAFT_BUG(lease_from_arrival))
        replica->heard_ms = raft->now_ms;
    else if (heard != 0 && heard <= (uint64_t)raft->now_ms && (int64_t)heard > replica->heard_ms)
        replica->heard_ms = (int64_t)heard;
}

/* ---- on the way out ---- */

static bool is_connected(const struct raft *raft, int32_t node)
{
    for (int32_t i = 0; i < raft->connected_count; i++) {
        if (raft->connected[i] == node)
            return true;
    }
    return false;
}

/* Is there a voter to wait for: one that can be talked to, and none yet that has all of this log? */
static bool may_wait(const struct raft *raft)
{
    const struct raft_voters *voters = raft_voters(raft);
    bool wait = false;

    for (int32_t i = 0; i < voters->count; i++) {
        const struct raft_replica *replica = raft_replica_of(raft, voters->ids[i]);

        if (raft_id_equal(voters->ids[i], raft->config.self) || !is_connected(raft, voters->ids[i].node))
            continue;
        if (replica != NULL && replica->offset >= raft_log_end(raft))
            return false;
        wait = true;
    }
    return wait;
}

static void leave_if_due(struct raft *raft)
{
    if (raft->now_ms >= raft->leave_at_ms || !may_wait(raft))
        raft_resign(raft);
}

void raft_leave(struct raft *raft)
{
    raft->leave_at_ms = raft->now_ms + RAFT_LEAVE_MS;
    leave_if_due(raft);
}

bool raft_is_leaving(const struct raft *raft)
{
    return raft->role == RAFT_LEADER && raft->stopping;
}

void raft_on_fetch(struct raft *raft, const struct raft_message *msg, bool diverging)
{
    struct raft_message *answer;
    struct raft_replica *replica;

    raft_adopt_epoch(raft, msg->epoch, (struct raft_id){0});
    if (raft->role != RAFT_LEADER || msg->epoch < raft->state.epoch) {
        answer = raft_answer(raft, msg);
        answer->fetch_answer.outcome = RAFT_FETCH_NOT_LEADER;
        return;
    }
    replica = replica_of(raft, msg->from);
    replica->fetched_ms = raft->now_ms;
    note_heard(raft, replica, msg->fetch.heard);
    if (!diverging) {
        note_fetch(raft, replica, msg);
        raft_count_flushed(raft);
    }
    if (raft_is_leaving(raft))
        leave_if_due(raft);
    /* The answer may be a resignation: a change of voters that leaves this server out was decided just now, or the
     * successor has come that it waited for. */
    answer = raft_answer(raft, msg);
    answer->fetch_answer.outcome = raft->role == RAFT_LEADER ? RAFT_FETCH_OK : RAFT_FETCH_NOT_LEADER;
    answer->fetch_answer.high_watermark = raft->high_watermark;
}

void raft_lead_lost(struct raft *raft, int32_t node)
{
    for (int32_t i = 0; i < raft->replica_count; i++) {
        if (raft->replicas[i].id.node == node)
            raft->replicas[i].caught_up_ms = INT64_MIN;
    }
}

/* ---- a leader's time ---- */

static void send_begin(struct raft *raft)
{
    const struct raft_voters *voters = raft_voters(raft);

    for (int32_t i = 0; i < voters->count; i++) {
        const struct raft_replica *replica = raft_replica_of(raft, voters->ids[i]);

        if (!raft_id_equal(voters->ids[i], raft->config.self) &&
            (replica == NULL || replica->offset < 0 || raft->now_ms - replica->fetched_ms >= RAFT_BEGIN_MS))
            raft_send(raft, RAFT_BEGIN, voters->ids[i]);
    }
    /* A lone voter has nobody to tell. */
    raft->begin_at_ms = raft_majority_fetched_ms(raft) == INT64_MAX ? INT64_MAX : raft->now_ms + RAFT_BEGIN_MS;
}

void raft_lead(struct raft *raft)
{
    raft->epoch_start = INT64_MAX;
    raft->change_asked = false;
    raft->replica_count = 0;
    raft->lead_ms = raft->now_ms;
    raft_act(raft, RAFT_APPEND_LEADER)->append.epoch = raft->state.epoch;
    send_begin(raft);
}

static int64_t fetched_of(const struct raft_replica *replica)
{
    return replica->fetched_ms;
}

int64_t raft_majority_fetched_ms(const struct raft *raft)
{
    int64_t at = majority_value(raft, INT64_MAX, fetched_of);

    /* Its electors have heard of it when they voted. */
    return at < raft->lead_ms ? raft->lead_ms : at;
}

static int64_t heard_of(const struct raft_replica *replica)
{
    return replica->heard_ms;
}

int64_t raft_majority_heard_ms(const struct raft *raft)
{
    int64_t at = majority_value(raft, INT64_MAX, heard_of);

    /* It decides nothing, and has no use for a lease, before a majority has fetched in its epoch. */
    return at < raft->lead_ms ? raft->lead_ms : at;
}

static int64_t resign_at_ms(const struct raft *raft)
{
    int64_t at = raft_majority_fetched_ms(raft);

    return at == INT64_MAX || RAFT_BUG(never_resigns) ? INT64_MAX : at + RAFT_ELECTION_MIN_MS;
}

int64_t raft_lead_deadline_ms(const struct raft *raft)
{
    int64_t at = resign_at_ms(raft);

    if (raft->begin_at_ms < at)
        at = raft->begin_at_ms;
    return raft_is_leaving(raft) && raft->leave_at_ms < at ? raft->leave_at_ms : at;
}

void raft_lead_tick(struct raft *raft)
{
    if (raft->now_ms >= resign_at_ms(raft))
        raft_resign(raft);
    else if (raft_is_leaving(raft))
        leave_if_due(raft);
    if (raft->role != RAFT_LEADER)
        return;
    if (raft->now_ms >= raft->begin_at_ms)
        send_begin(raft);
    raft_change_step(raft);
}

/* a is to be asked to stand before b. */
static bool is_ahead(const struct raft *raft, struct raft_id a, struct raft_id b)
{
    const struct raft_replica *ra = raft_replica_of(raft, a), *rb = raft_replica_of(raft, b);
    int64_t fa = ra == NULL ? -1 : ra->flushed, fb = rb == NULL ? -1 : rb->flushed;
    int64_t oa = ra == NULL ? -1 : ra->offset, ob = rb == NULL ? -1 : rb->offset;

    return fa != fb ? fa > fb : oa > ob;
}

/* EndQuorumEpoch (KIP-595): tells the voters that this leader ends, and in which order they are to stand. */
void raft_hand_over(struct raft *raft)
{
    const struct raft_voters *voters = raft_voters(raft);
    struct raft_id order[LIMIT_VOTERS];
    int32_t count = 0;

    for (int32_t i = 0; i < voters->count; i++) {
        int32_t at = count;

        if (raft_id_equal(voters->ids[i], raft->config.self))
            continue;
        for (; at > 0 && is_ahead(raft, voters->ids[i], order[at - 1]); at--)
            order[at] = order[at - 1];
        order[at] = voters->ids[i];
        count++;
    }
    for (int32_t i = 0; i < count; i++) {
        struct raft_message *msg = raft_send(raft, RAFT_END, order[i]);

        msg->end.count = count;
        for (int32_t j = 0; j < count; j++)
            msg->end.successors[j] = order[j].node;
    }
}
