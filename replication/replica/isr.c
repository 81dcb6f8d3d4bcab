/* replication/replica/isr.c: a few replicas in an array, looked through each time. */
#include "replication/replica/isr.h"

#include <assert.h>
#include <stddef.h>

#include "engine/base/bugs.h"

void isr_init(struct isr *isr, const int32_t *replicas, int count, struct log_point high_watermark)
{
    assert(count >= 1 && count <= LIMIT_REPLICA_SET);
    *isr = (struct isr){.count = count, .high_watermark = high_watermark, .promised = INT64_MAX};
    for (int i = 0; i < count; i++) {
        isr->replicas[i] = (struct isr_replica){
            .id = replicas[i], .in_sync = true, .fetched = true, .node_epoch = -1, .end = high_watermark};
    }
}

struct isr_replica *isr_find(struct isr *isr, int32_t id)
{
    for (int i = 0; i < isr->count; i++) {
        if (isr->replicas[i].id == id)
            return &isr->replicas[i];
    }
    return NULL;
}

void isr_decide(struct isr *isr, const struct replica_set *replicas, const struct replica_set *in_sync)
{
    struct isr before = *isr;
    assert(replicas->count <= LIMIT_REPLICA_SET);
    isr->count = replicas->count;
    for (int i = 0; i < replicas->count; i++) {
        const struct isr_replica *known = isr_find(&before, replicas->ids[i]);
        isr->replicas[i] = known != NULL ? *known : (struct isr_replica){.id = replicas->ids[i], .node_epoch = -1};
        isr->replicas[i].in_sync = replica_set_has(in_sync, replicas->ids[i]);
        isr->replicas[i].joins = false;
        isr->replicas[i].flushes = isr->replicas[i].flushes && !isr->replicas[i].in_sync;
    }
}

void isr_begin(struct isr *isr, int64_t promised, int64_t now_ms)
{
    isr->promised = promised;
    for (int i = 0; i < isr->count; i++) {
        struct isr_replica *replica = &isr->replicas[i];
        *replica = (struct isr_replica){.id = replica->id,
                                        .in_sync = replica->in_sync,
                                        .node_epoch = -1,
                                        .heard_ms = now_ms,
                                        .caught_up_ms = now_ms,
                                        .mark_offset = INT64_MAX};
    }
}

int isr_size(const struct isr *isr)
{
    int size = 0;
    for (int i = 0; i < isr->count; i++)
        size += isr->replicas[i].in_sync;
    return size;
}

bool isr_set_in_sync(struct isr *isr, int32_t id, bool in_sync)
{
    struct isr_replica *replica = isr_find(isr, id);
    if (replica == NULL)
        return false;
    replica->in_sync = in_sync;
    return true;
}

bool isr_advance(struct isr *isr, int32_t id, struct log_point end)
{
    struct isr_replica *replica = isr_find(isr, id);
    if (replica == NULL)
        return false;
    replica->fetched = true;
    if (end.offset > replica->end.offset)
        replica->end = end;
    return true;
}

bool isr_fetched(struct isr *isr, int32_t id, const struct isr_fetch *fetch, int64_t now_ms)
{
    struct isr_replica *replica = isr_find(isr, id);
    if (replica == NULL)
        return false;
    replica->fetched = true;
    replica->full = fetch->full;
    replica->heard_ms = now_ms;
    replica->node_epoch = fetch->node_epoch;
    /* Within one round of fetches nothing goes back (REPLICATION.md, rule 29); a new round may come from a process that
     * has lost what was not on its disk. */
    if ((fetch->first && !BUG(isr_keeps_old_end)) || fetch->end.offset > replica->end.offset)
        replica->end = fetch->end;
    if (fetch->first)
        replica->asked_flush = 0;
    if (fetch->first || fetch->flushed > replica->flushed)
        replica->flushed = fetch->flushed;
    if (fetch->first || fetch->start > replica->start)
        replica->start = fetch->start;
    return true;
}

/* ---- what all of them hold ---- */

static bool counts(const struct isr_replica *replica)
{
    return replica->in_sync || replica->joins;
}

bool isr_update(struct isr *isr, int min_insync)
{
    const struct isr_replica *slowest = NULL;
    int size = 0;
    for (int i = 0; i < isr->count; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        if (!counts(replica))
            continue;
        if (!replica->fetched)
            return false;
        size += replica->in_sync;
        if (slowest == NULL || replica->end.offset < slowest->end.offset)
            slowest = replica;
    }
    if (slowest == NULL || size < min_insync || slowest->end.offset <= isr->high_watermark.offset)
        return false;
    assert(slowest->end.position > isr->high_watermark.position); /* REPLICATION.md, rules 4 and 5 */
    isr->high_watermark = slowest->end;
    return true;
}

int64_t isr_flushed(const struct isr *isr)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < isr->count; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        if ((counts(replica) || replica->flushes) && (!replica->fetched || replica->flushed < least))
            least = replica->fetched ? replica->flushed : 0;
    }
    return least;
}

void isr_promise(struct isr *isr, int64_t flushed)
{
    if (flushed > isr->promised)
        isr->promised = flushed;
}

int64_t isr_start(const struct isr *isr, const struct replica_set *elr, const struct replica_set *last_isr)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < isr->count; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        bool may_lead = replica_set_has(elr, replica->id) || replica_set_has(last_isr, replica->id);
        if ((counts(replica) || may_lead) && (!replica->fetched || replica->start < least))
            least = replica->fetched ? replica->start : 0;
    }
    return least;
}

/* ---- who is to join, who to leave ---- */

void isr_look(struct isr *isr, const struct isr_rules *rules)
{
    for (int i = 0; i < isr->count; i++) {
        struct isr_replica *replica = &isr->replicas[i];
        if (replica->id == rules->self || !replica->fetched)
            continue;
        bool marked = replica->mark_offset != INT64_MAX;
        bool got_there = marked && replica->end.offset >= replica->mark_offset && replica->heard_ms >= replica->mark_ms;
        if (replica->end.offset >= rules->leader_end && replica->heard_ms > replica->caught_up_ms)
            replica->caught_up_ms = replica->heard_ms;
        else if (got_there && replica->mark_ms > replica->caught_up_ms)
            replica->caught_up_ms = replica->mark_ms;
        else if (marked && !got_there)
            continue; /* it is still on its way to the mark, or silent */
        replica->mark_offset = rules->leader_end;
        replica->mark_ms = rules->now_ms;
    }
}

/* REPLICATION.md, rule 28, but for what the metadata has to say. */
static bool is_there(const struct isr *isr, const struct isr_replica *replica, const struct isr_rules *rules)
{
    return replica->fetched && !replica->full && replica->end.offset >= isr->high_watermark.offset &&
           replica->end.offset >= rules->epoch_start && rules->now_ms - replica->heard_ms <= rules->lag_max_ms;
}

static bool has_flushed(struct isr *isr, const struct isr_replica *replica, const struct isr_rules *rules)
{
    const struct isr_replica *self = isr_find(isr, rules->self);
    return replica->flushed >= rules->flushed && self != NULL && self->flushed >= rules->flushed;
}

/* What was promised, by fsync or DeleteRecords, holds with it, too (rules 39 and 40). */
static bool is_ready(struct isr *isr, const struct isr_replica *replica, const struct isr_rules *rules)
{
    return is_there(isr, replica, rules) && has_flushed(isr, replica, rules) && replica->start >= rules->start;
}

static bool may_join(struct isr *isr, const struct isr_replica *replica, const struct isr_rules *rules)
{
    return is_ready(isr, replica, rules) && rules->node_epoch != NULL && replica->node_epoch >= 0 &&
           (rules->node_epoch(rules->arg, replica->id) == replica->node_epoch || BUG(stale_epoch_joins));
}

/* While it flushes others may promise more and more: so it counts for that, but not without end. */
static void prepare(struct isr *isr, struct isr_replica *replica, const struct isr_rules *rules)
{
    if (replica->flushes && rules->now_ms - replica->flushes_ms > LIMIT_STUCK_MS) {
        replica->flushes = false;
        replica->flushes_ms = rules->now_ms + LIMIT_STUCK_MS;
    }
    if (replica->in_sync || replica->joins || !is_there(isr, replica, rules)) {
        replica->flushes = false;
    } else if (!replica->flushes && !has_flushed(isr, replica, rules) && rules->now_ms >= replica->flushes_ms) {
        replica->flushes = true;
        replica->flushes_ms = rules->now_ms;
    }
}

void isr_prepare(struct isr *isr, const struct isr_rules *rules)
{
    for (int i = 0; i < isr->count; i++) {
        if (isr->replicas[i].id != rules->self)
            prepare(isr, &isr->replicas[i], rules);
    }
}

bool isr_has_joiners(const struct isr *isr)
{
    for (int i = 0; i < isr->count; i++) {
        if (isr->replicas[i].flushes)
            return true;
    }
    return false;
}

/* REPLICATION.md, rule 27. */
static bool must_leave(const struct isr_replica *replica, const struct isr_rules *rules)
{
    return replica->full || rules->now_ms - replica->caught_up_ms > rules->lag_max_ms;
}

bool isr_is_due(struct isr *isr, const struct isr_rules *rules)
{
    bool due = false;
    for (int i = 0; i < isr->count && !due; i++) {
        const struct isr_replica *replica = &isr->replicas[i];
        if (replica->id != rules->self)
            due = replica->in_sync ? must_leave(replica, rules) : is_ready(isr, replica, rules);
    }
    return due;
}

bool isr_propose(struct isr *isr, const struct isr_rules *rules, struct replica_set *out,
                 int64_t epochs[LIMIT_REPLICA_SET])
{
    bool differs = false;
    *out = (struct replica_set){.count = 0};
    for (int i = 0; i < isr->count; i++) {
        struct isr_replica *replica = &isr->replicas[i];
        bool in = replica->in_sync;
        assert(!replica->joins);
        if (replica->id == rules->self)
            in = true;
        else if (in)
            in = !must_leave(replica, rules);
        else
            in = may_join(isr, replica, rules);
        differs = differs || in != replica->in_sync;
        if (!in)
            continue;
        epochs[out->count] = replica->in_sync ? -1 : replica->node_epoch;
        replica_set_add(out, replica->id);
    }
    for (int i = 0; i < isr->count && differs; i++)
        isr->replicas[i].joins = !isr->replicas[i].in_sync && replica_set_has(out, isr->replicas[i].id);
    return differs;
}

void isr_take_back(struct isr *isr)
{
    for (int i = 0; i < isr->count; i++)
        isr->replicas[i].joins = false;
}
