/* replication/replica/partition_insync.c: waiting, as the leader, for what every in-sync replica has done: committed
 * and flushed it (fsync), or taken over a log start (DeleteRecords).
 *
 *     WAITING --- the high watermark, and what each member of the ISR is known to have, have come so far ---> OVER
 *
 * OVER also: its deadline (-ETIMEDOUT), the end of the leadership (-EREMOTE: whoever waits asks the next leader), the
 * topic's (-ESTALE), the log's (-EIO); nobody wants to know any more (-EINTR).
 *
 * Who is in sync and has not flushed what is waited for is asked to (MESSAGE_FLUSH_INSYNC, with the leader's own
 * epoch), once it holds that, and again when a link came or went, and with the next beat if it could not. So is who is
 * to join the ISR and has not flushed what was promised before. Log starts travel with the replicas' fetches.
 *
 * Under the partition's lock; whatever takes one out of the list ends it, but partition_insync_cancel(). */
#include <errno.h>
#include <string.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/forward_message.h"

/* ---- the list; under the lock ---- */

static void unlink_wait(struct partition *part, struct insync_wait *wait)
{
    *(wait->prev != NULL ? &wait->prev->next : &part->insync.waits) = wait->next;
    if (wait->next != NULL) {
        wait->next->prev = wait->prev;
    }
    wait->prev = NULL;
    wait->next = NULL;
}

static void take(struct partition *part, struct insync_wait *wait, int rc, struct insync_wait ***last)
{
    unlink_wait(part, wait);
    wait->rc = rc;
    wait->unsure = atomic_load(&part->shown.state) != SHOWN_KNOWN;
    **last = wait;
    *last = &wait->next;
}

static bool is_met(const struct partition *part, const struct insync_wait *wait)
{
    if (partition_awaits_epoch(part)) {
        return false;
    }
    return part->isr.high_watermark.offset >= wait->committed && isr_flushed(&part->isr) >= wait->flushed &&
           isr_start(&part->isr, &part->registration.elr, &part->registration.last_isr) >= wait->start;
}

/* 0: it goes on waiting; 1: it is met; or why it ends. */
static int judge(const struct partition *part, const struct insync_wait *wait)
{
    if (atomic_load(&part->topic->deleted)) {
        return -ESTALE;
    }
    if (wait->given_up != NULL && atomic_load(wait->given_up)) {
        return -EINTR;
    }
    if (!partition_leads(part)) {
        return -EREMOTE;
    }
    if (log_offline(part->log) != 0) {
        return -EIO;
    }
    return is_met(part, wait);
}

static struct insync_wait *collect(struct partition *part)
{
    struct insync_wait *over = NULL, **last = &over, *next;

    for (struct insync_wait *wait = part->insync.waits; wait != NULL; wait = next) {
        int rc = judge(part, wait);

        next = wait->next;
        if (rc == 1) {
            isr_promise(&part->isr, wait->flushed);
        }
        if (rc != 0) {
            take(part, wait, rc < 0 ? rc : 0, &last);
        }
    }
    return over;
}

/* Calls back: no lock held. */
static void finish(struct insync_wait *over)
{
    while (over != NULL) {
        struct insync_wait *wait = over;

        over = wait->next;
        wait->next = NULL;
        wait->done(wait, wait->rc);
    }
}

/* Under the lock. */
static void set_alarm(struct partition *part)
{
    int64_t due_ms = INT64_MAX;

    for (const struct insync_wait *wait = part->insync.waits; wait != NULL; wait = wait->next) {
        due_ms = wait->deadline_ms < due_ms ? wait->deadline_ms : due_ms;
    }
    if (part->insync.waits != NULL) {
        partition_alarm_set(&part->insync.alarm, due_ms);
    }
}

/* ---- asking them to flush ---- */

/* Whom to ask, and up to where; under the lock. */
struct asking {
    int32_t leader_epoch;
    int count;
    int32_t nodes[LIMIT_REPLICA_SET];
    int64_t upto[LIMIT_REPLICA_SET];
};

/* What is waited for that is committed. */
static int64_t waited_for(const struct partition *part)
{
    int64_t upto = 0;

    for (const struct insync_wait *wait = part->insync.waits; wait != NULL; wait = wait->next) {
        if (wait->committed <= part->isr.high_watermark.offset && wait->flushed > upto) {
            upto = wait->flushed;
        }
    }
    return upto;
}

/* Who holds what is waited for, or (who is to join) what was promised before, and is not known to have it on its disk.
 */
static void choose(struct partition *part, struct asking *out)
{
    int64_t waited = waited_for(part), promised = partition_promised(part);

    out->leader_epoch = atomic_load(&part->leader_epoch);
    out->count = 0;
    for (int i = 0; i < part->isr.count; i++) {
        struct isr_replica *replica = &part->isr.replicas[i];
        int64_t upto = replica->flushes && promised > waited ? promised : waited;

        if (replica->id == part->manager->id || (!replica->in_sync && !replica->joins && !replica->flushes) ||
            replica->end.offset < upto || replica->flushed >= upto || replica->asked_flush >= upto) {
            continue;
        }
        replica->asked_flush = upto;
        out->upto[out->count] = upto;
        out->nodes[out->count++] = replica->id;
    }
}

static void ask_to_flush(struct partition *part, const struct asking *asking, int i)
{
    struct network *network = part->manager->network;
    struct partition_request request = {.head = {.number = 1, /* its answer says of itself how far */
                                                 .partition = part->index,
                                                 .leader_epoch = asking->leader_epoch},
                                        .epoch = -1,
                                        .upto = asking->upto[i]};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];
    int rc;

    memcpy(request.head.topic_id, part->topic->id, UUID_BYTES);
    rc = network_send(network, asking->nodes[i], CHANNEL_CONTROL, MESSAGE_FLUSH_INSYNC, header,
                      partition_request_encode(&request, header), NULL, 0);
    /* What cannot be sent now is when the link is up again. */
    if (rc < 0 && rc != -ENOTCONN) {
        network_drop(network, asking->nodes[i]);
    }
}

static void send_all(struct partition *part, const struct asking *asking)
{
    for (int i = 0; i < asking->count; i++) {
        ask_to_flush(part, asking, i);
    }
}

int64_t partition_promised(const struct partition *part)
{
    int64_t messages = atomic_load_explicit(&part->settings.flush_messages, memory_order_relaxed);
    int64_t unflushed = messages != INT64_MAX ? part->isr.high_watermark.offset - messages + 1 : 0;

    return unflushed > part->isr.promised ? unflushed : part->isr.promised;
}

void partition_note_own(struct partition *part)
{
    int64_t flushed = part->log != NULL ? log_recovery_point(part->log) : 0;
    int64_t start = part->log != NULL ? log_start(part->log).offset : 0;
    struct isr_replica *own;

    pthread_mutex_lock(&part->lock);
    own = isr_find(&part->isr, part->manager->id);
    if (own != NULL) {
        own->flushed = flushed;
        own->start = start;
    }
    pthread_mutex_unlock(&part->lock);
}

void partition_insync_look(struct partition *part, bool again)
{
    const struct isr_replica *own;
    struct insync_wait *over;
    struct asking asking;
    bool waits, joiners, lacks;

    pthread_mutex_lock(&part->lock);
    joiners = isr_has_joiners(&part->isr);
    waits = part->insync.waits != NULL;
    pthread_mutex_unlock(&part->lock);
    if (!waits && !joiners) {
        return;
    }
    partition_note_own(part);
    pthread_mutex_lock(&part->lock);
    for (int i = 0; i < part->isr.count && again; i++) {
        part->isr.replicas[i].asked_flush = 0;
    }
    over = collect(part);
    choose(part, &asking);
    own = isr_find(&part->isr, part->manager->id);
    lacks = joiners && partition_leads(part) && own != NULL && own->flushed < partition_promised(part);
    pthread_mutex_unlock(&part->lock);
    if (lacks) { /* who was not in sync when it was promised */
        flusher_due(&part->manager->flusher, part);
    }
    send_all(part, &asking);
    finish(over);
}

void partition_insync_flushed(struct partition *part, int32_t node, const struct partition_answer *answer)
{
    struct isr_replica *replica;
    struct isr_rules rules;
    bool joins;

    pthread_mutex_lock(&part->lock);
    replica = partition_leads(part) && atomic_load(&part->leader_epoch) == answer->head.leader_epoch
                  ? isr_find(&part->isr, node)
                  : NULL;
    if (replica != NULL && (answer->rc != 0 || answer->upto < replica->asked_flush)) {
        replica->asked_flush = 0; /* the beat asks again */
    }
    if (replica != NULL && answer->rc == 0 && answer->upto > replica->flushed) {
        replica->flushed = answer->upto;
    }
    partition_isr_rules(part, &rules);
    joins = replica != NULL && replica->flushes && !part->proposal.pending && isr_is_due(&part->isr, &rules);
    pthread_mutex_unlock(&part->lock);
    if (answer->rc == 0) {
        partition_insync_look(part, false);
    }
    if (joins) {
        isr_changes_want(&part->manager->changes, part);
    }
}

/* ---- waiting ---- */

void partition_insync_wait(struct partition *part, struct insync_wait *wait)
{
    partition_ref(part); /* with the lock goes the op, and perhaps the last reference */
    pthread_mutex_lock(&part->lock);
    wait->prev = NULL;
    wait->next = part->insync.waits;
    if (part->insync.waits != NULL) {
        part->insync.waits->prev = wait;
    }
    part->insync.waits = wait;
    set_alarm(part);
    pthread_mutex_unlock(&part->lock);
    partition_insync_look(part, false);
    partition_unref(part);
}

bool partition_insync_cancel(struct partition *part, struct insync_wait *wait)
{
    const struct insync_wait *found;

    pthread_mutex_lock(&part->lock);
    found = part->insync.waits;
    while (found != NULL && found != wait) {
        found = found->next;
    }
    if (found != NULL) {
        unlink_wait(part, wait);
    }
    pthread_mutex_unlock(&part->lock);
    return found != NULL;
}

void partition_insync_fail(struct partition *part, int rc)
{
    struct insync_wait *over = NULL, **last = &over;

    pthread_mutex_lock(&part->lock);
    while (part->insync.waits != NULL) {
        take(part, part->insync.waits, rc, &last);
    }
    pthread_mutex_unlock(&part->lock);
    finish(over);
}

static void on_alarm(struct partition *part)
{
    int64_t now_ms = part->manager->clock->mono_ms(part->manager->clock);
    struct insync_wait *over = NULL, **last = &over, *next;

    pthread_mutex_lock(&part->lock);
    partition_alarm_rang(&part->insync.alarm);
    for (struct insync_wait *wait = part->insync.waits; wait != NULL; wait = next) {
        next = wait->next;
        if (wait->deadline_ms <= now_ms) {
            take(part, wait, -ETIMEDOUT, &last);
        }
    }
    set_alarm(part);
    pthread_mutex_unlock(&part->lock);
    finish(over);
}

void partition_insync_init(struct partition *part)
{
    partition_alarm_init(&part->insync.alarm, part, &part->lock, on_alarm);
}
