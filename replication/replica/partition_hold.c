/* replication/replica/partition_hold.c: appends that wait: for enough replicas, before they are in the log (HELD), and
 * for the high watermark, when they are (COMMITTING). Both lists, their deadlines, and what lets the held ones in:
 *
 *     OPEN --- too few in sync --> HOLDING --- one has waited in vain --> FAILING: the next ones fail at once
 *      ^  ^                        |    ^                                    |
 *      |  +--- enough, none held --+    +--- too few ---+                    |
 *      |                           |                    |                    |
 *      |                           +-- enough --> RESUMING <--- enough ------+   (or to OPEN, with none held)
 *      |                                            |
 *      +--------- the last one is in the log -------+
 *
 * update() alone moves it, under the lock. In RESUMING the held ones are put into the log, one after the other, and who
 * comes is held behind them, so their order stays. While it is sealed (partition_seal.c), or another node leads,
 * nothing is enough, for any acks. What was held then with other acks than all need not wait for RESUMING; who comes
 * with such acks is held behind it, too (held_any).
 *
 * They are let in by turns of their topic (topic_resume()): so many, and then those of the next partition. Who is
 * answered comes again with his next one; if that were held behind the others, as many writers as keep a thread busy
 * would be held for ever. So nobody is answered while others are let in (`over`): then all who write are held or in the
 * log by and by, none is left, and it is open again before they come. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bugs.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"

/* ---- the two lists; under the lock ---- */

/* Puts it behind `before` (NULL: at the front). */
static void list_insert(struct append_list *list, struct append_op *before, struct append_op *op)
{
    op->prev = before;
    op->next = before != NULL ? before->next : list->first;
    *(op->prev != NULL ? &op->prev->next : &list->first) = op;
    *(op->next != NULL ? &op->next->prev : &list->last) = op;
}

static void list_remove(struct append_list *list, struct append_op *op)
{
    *(op->prev != NULL ? &op->prev->next : &list->first) = op->next;
    *(op->next != NULL ? &op->next->prev : &list->last) = op->prev;
    op->prev = NULL;
    op->next = NULL;
}

/* Behind `before` (NULL: at the front). */
static void put_held(struct append_op *op, struct append_op *before)
{
    struct partition *part = op->part;

    atomic_fetch_add(&part->manager->parked_bytes, op->batch.len);
    atomic_fetch_add(&part->manager->appends_parked, 1);
    atomic_fetch_add(&part->hold.held_any, op->acks != ACKS_ALL);
    list_insert(&part->hold.held, before, op);
    atomic_store(&op->state, APPEND_HELD);
}

static void take_held(struct append_op *op)
{
    list_remove(&op->part->hold.held, op);
    atomic_fetch_sub(&op->part->hold.held_any, op->acks != ACKS_ALL);
    atomic_fetch_sub(&op->part->manager->parked_bytes, op->batch.len);
    atomic_fetch_sub(&op->part->manager->appends_parked, 1);
    atomic_store(&op->state, APPEND_OVER);
}

static void take_committing(struct append_op *op)
{
    list_remove(&op->part->hold.committing, op);
    atomic_fetch_sub(&op->part->manager->appends_parked, 1);
    atomic_store(&op->state, APPEND_OVER);
}

/* It is over. false: nobody is let in, or too many are over; it is answered now. */
static bool put_over(struct append_op *op, int rc)
{
    struct partition_hold *hold = &op->part->hold;

    if (!atomic_load(&hold->letting_in) || hold->over_count >= LIMIT_RESUMED_ANSWERS) {
        return false;
    }
    op->rc = rc;
    list_insert(&hold->over, hold->over.last, op);
    hold->over_count++;
    return true;
}

/* All that are over, linked by next. */
static struct append_op *take_over(struct partition *part)
{
    struct append_op *first = part->hold.over.first;

    part->hold.over = (struct append_list){0};
    part->hold.over_count = 0;
    return first;
}

/* ---- admission; under the lock ---- */

/* Its leader, and no other can have been elected yet (REPLICATION.md, rule 46); where this is the only replica none
 * can. */
static bool may_lead(const struct partition *part)
{
    bool behind = atomic_load(&part->epoch.wanted) != 0; /* the log waits for a later epoch */

    return partition_leads(part) && !partition_asks_shown(part) &&
           (!atomic_load(&part->replicated) ||
            (!behind && (BUG(lease_not_asked) || part->manager->hooks.has_lease(part->manager->hooks.arg))));
}

bool partition_is_held(const struct partition *part)
{
    return !may_lead(part) || partition_is_sealed(part);
}

static bool enough_in_sync(const struct partition *part)
{
    return may_lead(part) && !partition_has_eligible(part) &&
           isr_size(&part->isr) >= atomic_load(&part->settings.min_insync_replicas);
}

static void update(struct partition *part)
{
    bool enough = enough_in_sync(part) && !partition_is_sealed(part);
    bool held = part->hold.held.first != NULL || part->hold.resumed != NULL;
    int admission = atomic_load_explicit(&part->hold.admission, memory_order_relaxed);

    switch (admission) {
    case ADMISSION_OPEN:
        admission = enough ? ADMISSION_OPEN : ADMISSION_HOLDING;
        break;
    case ADMISSION_HOLDING:
    case ADMISSION_FAILING:
        if (enough) {
            admission = held ? ADMISSION_RESUMING : ADMISSION_OPEN;
        }
        break;
    case ADMISSION_RESUMING:
        if (!enough) {
            admission = ADMISSION_HOLDING;
        } else if (!held) {
            admission = ADMISSION_OPEN;
        }
        break;
    }
    atomic_store(&part->hold.admission, admission);
}

static void set_deadline(struct partition *part, int64_t deadline_ms)
{
    partition_alarm_set(&part->hold.deadline, deadline_ms);
}

/* A leadership ends before what is in this log is answered, or has ended: the next leader answers it (rule 35). The
 * high watermark stands still in a log that is offline (partition_append.c). Under the lock. */
static bool next_leader_answers(const struct partition *part)
{
    return !partition_leads(part) || isr_size(&part->isr) > 1;
}

/* Whether anybody would answer it: whoever told those that wait may have come before. */
static int check_answered(struct partition *part, struct err *e)
{
    if (atomic_load(&part->topic->deleted)) {
        return err_set(e, -ESTALE, "topic %s was deleted", part->topic->name);
    }
    if (part->log == NULL || log_offline(part->log) != 0) {
        return err_set(e, -EIO, "%s is offline after an error", part->name);
    }
    return 0;
}

int64_t partition_deadline_of(struct append_op *op)
{
    int64_t now_ms = op->part->manager->clock->mono_ms(op->part->manager->clock);

    partition_append_waits(op);
    return op->timeout_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + op->timeout_ms;
}

/* ---- held ---- */

int partition_copy_batch(struct append_op *op, struct append_batch *out)
{
    const struct append_batch *batch = &op->batch;
    size_t marks_at = (batch->len + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
    size_t marks_bytes = batch->mark_count * sizeof *batch->marks;
    char *copy = malloc(marks_at + marks_bytes + 1);
    size_t len = 0;

    if (copy == NULL) {
        return -ENOMEM;
    }
    for (int i = 0; i < batch->iovcnt; i++) {
        memcpy(copy + len, batch->iov[i].iov_base, batch->iov[i].iov_len);
        len += batch->iov[i].iov_len;
    }
    if (marks_bytes > 0) {
        memcpy(copy + marks_at, batch->marks, marks_bytes);
    }
    op->copy = copy;
    op->iov = (struct iovec){.iov_base = copy, .iov_len = len};
    *out = *batch;
    out->iov = &op->iov;
    out->iovcnt = 1;
    out->marks = marks_bytes > 0 ? (const struct framing_mark *)(const void *)(copy + marks_at) : NULL;
    return 0;
}

/* Not held: this node leads no more, and whoever sends on what is held may have been here. */
enum { HOLD_DEPOSED = 2 };

/* Under the lock. As partition_hold(), or HOLD_DEPOSED. */
static int hold_locked(struct append_op *op, const struct append_batch *copied, struct err *e)
{
    struct partition *part = op->part;
    int rc = check_answered(part, e);

    update(part);
    if (rc < 0) {
        return rc;
    }
    if (!partition_leads(part)) {
        return HOLD_DEPOSED;
    }
    if (op->acks != ACKS_ALL && !partition_holds_any(part)) {
        return 1;
    }
    switch (atomic_load_explicit(&part->hold.admission, memory_order_relaxed)) {
    case ADMISSION_OPEN:
        return 1;
    case ADMISSION_FAILING:
        if (op->acks == ACKS_ALL) {
            return err_set(e, -EROFS, "%s: fewer than min.insync.replicas are in sync", part->name);
        }
        break;
    default:
        break;
    }
    if (atomic_load(&part->manager->parked_bytes) + op->batch.len > LIMIT_PARKED_BYTES) {
        return err_set(e, -EROFS, "too many bytes wait for min.insync.replicas");
    }
    op->batch = *copied;
    put_held(op, part->hold.held.last);
    update(part);
    set_deadline(part, op->deadline_ms);
    return 0;
}

/* As hold_locked(), with a copy of its bytes. */
static int hold_here(struct append_op *op, struct err *e)
{
    struct partition *part = op->part;
    struct append_batch copied;
    void *copy;
    int rc = partition_copy_batch(op, &copied);

    if (rc < 0) {
        return err_sys(e, rc, "%s", part->name);
    }
    copy = op->copy;
    op->deadline_ms = partition_deadline_of(op);
    partition_ref(part); /* with the lock goes the op, and perhaps the last reference */
    pthread_rwlock_rdlock(&part->topic->update_lock);
    if (atomic_load_explicit(&part->settings.framing, memory_order_relaxed) != (int)op->batch.framing) {
        rc = err_set(e, -EAGAIN, "%s has another framing by now", part->name);
    }
    if (rc == 0) {
        pthread_mutex_lock(&part->lock);
        rc = hold_locked(op, &copied, e);
        pthread_mutex_unlock(&part->lock);
    }
    pthread_rwlock_unlock(&part->topic->update_lock);
    if (rc != 0) {
        op->copy = NULL;
        free(copy);
    }
    partition_unref(part);
    return rc;
}

int partition_hold(struct append_op *op, struct err *e)
{
    struct partition *part = op->part;
    int rc;

    do {
        op->deadline_ms = 0; /* not read yet: the clock is for who waits */
        if (!op->from_peer && partition_forwards(part)) {
            rc = partition_forward(op, e);
            if (rc != 1) {
                return rc;
            }
        }
        if (op->from_peer && !partition_leads(part)) {
            return err_set(e, -EREMOTE, "%s is not led by this node", part->name);
        }
        if (atomic_load_explicit(&part->hold.admission, memory_order_acquire) == ADMISSION_OPEN &&
            !partition_is_held(part)) {
            return 1;
        }
        rc = hold_here(op, e);
    } while (rc == HOLD_DEPOSED);
    return rc;
}

/* This node leads no more. false: it leads after all. */
static bool send_on(struct append_op *op)
{
    int rc = op->from_peer ? -EREMOTE : partition_forward(op, NULL);

    if (rc == 1) {
        return false;
    }
    if (rc != 0) {
        atomic_store(&op->state, APPEND_OVER);
        op->next = NULL;
        partition_finish(op, rc < 0 ? rc : 0);
    }
    return true;
}

/* 0; or HOLD_DEPOSED or a negative errno, as hold_locked(). Of a log that went offline it is told as the others. */
static int put_back(struct append_op *op)
{
    struct partition *part = partition_ref(op->part); /* with the lock goes the op, and perhaps the last reference */
    int rc = 0;

    pthread_mutex_lock(&part->lock);
    if (atomic_load(&part->topic->deleted)) {
        rc = -ESTALE;
    } else if (!partition_leads(part)) {
        rc = HOLD_DEPOSED;
    } else {
        put_held(op, NULL);
        update(part);
        set_deadline(part, op->deadline_ms);
    }
    pthread_mutex_unlock(&part->lock);
    if (rc == 0) {
        partition_fail_if_offline(part); /* whoever told those that wait may have come before */
    }
    partition_unref(part);
    return rc;
}

void partition_hold_again(struct append_op *op)
{
    int rc;

    do {
        if (partition_forwards(op->part) && send_on(op)) {
            return;
        }
        rc = put_back(op);
    } while (rc == HOLD_DEPOSED);
    if (rc < 0) {
        atomic_store(&op->state, APPEND_OVER);
        op->next = NULL;
        partition_finish(op, rc);
    }
}

bool partition_append_cancel(struct append_op *op)
{
    struct partition *part = op->part;
    void *copy = NULL;
    bool held;

    pthread_mutex_lock(&part->lock);
    held = atomic_load(&op->state) == APPEND_HELD;
    if (held) {
        take_held(op);
        copy = op->copy;
        op->copy = NULL;
        update(part);
    }
    pthread_mutex_unlock(&part->lock);
    free(copy);
    return held || partition_forward_cancel(op);
}

bool partition_has_held(struct partition *part)
{
    bool held;

    pthread_mutex_lock(&part->lock);
    held = part->hold.held.first != NULL || part->hold.resumed != NULL;
    pthread_mutex_unlock(&part->lock);
    return held;
}

/* ---- in the log ---- */

int partition_doubt(const struct append_op *op)
{
    return op->from_peer ? -EIO : -ETIMEDOUT; /* the other node asks the next leader */
}

int partition_hold_committing(struct append_op *op)
{
    struct partition *part = op->part;
    struct append_op *before = part->hold.committing.last;

    if (atomic_load(&part->topic->deleted)) {
        return -ESTALE;
    }
    if (log_offline(part->log) != 0 && (op->acked || !next_leader_answers(part))) {
        return partition_doubt(op);
    }
    if (op->deadline_ms == 0) {
        op->deadline_ms = partition_deadline_of(op);
    }
    /* Two threads come here in another order than they came into the log, now and then. */
    while (before != NULL && before->result.end.offset > op->result.end.offset) {
        before = before->prev;
    }
    list_insert(&part->hold.committing, before, op);
    atomic_fetch_add(&part->manager->appends_parked, 1);
    atomic_store(&op->state, APPEND_COMMITTING);
    set_deadline(part, op->deadline_ms);
    return 0;
}

struct append_op *partition_collect_committed(struct partition *part)
{
    struct append_op *first = NULL, **last = &first, *op;

    while ((op = part->hold.committing.first) != NULL && op->result.end.offset <= part->isr.high_watermark.offset) {
        take_committing(op);
        if (!put_over(op, 0)) {
            *last = op;
            last = &op->next;
        }
    }
    assert(op == NULL || op->result.end.offset > part->isr.high_watermark.offset); /* REPLICATION.md, rule 7 */
    return first;
}

bool partition_append_forget(struct append_op *op)
{
    struct partition *part = op->part;
    bool committing;

    pthread_mutex_lock(&part->lock);
    committing = atomic_load(&op->state) == APPEND_COMMITTING;
    if (committing) {
        take_committing(op);
    }
    pthread_mutex_unlock(&part->lock);
    return committing || partition_forward_forget(op);
}

bool partition_hold_showing(struct append_op *op)
{
    struct partition *part = op->part;
    int32_t self = part->manager->id;
    int64_t show_ms = part->manager->clock->mono_ms(part->manager->clock) + LIMIT_SHOW_MS;
    bool waits;

    pthread_mutex_lock(&part->lock);
    waits = partition_role(part) == ROLE_FOLLOWER && replica_set_has(&part->registration.isr, self) &&
            part->isr.high_watermark.offset < op->result.end.offset && part->log != NULL;
    if (waits) {
        op->acked = true;
        op->deadline_ms = show_ms < op->deadline_ms ? show_ms : op->deadline_ms;
        waits = partition_hold_committing(op) == 0;
    }
    pthread_mutex_unlock(&part->lock);
    return waits;
}

/* ---- ends ---- */

void partition_finish(struct append_op *ops, int rc)
{
    while (ops != NULL) {
        struct append_op *op = ops;

        ops = op->next;
        op->next = NULL;
        free(op->copy);
        op->copy = NULL;
        if (op->acked) {
            (void)remote_show(op->part, op->result.end, op->leader_epoch,
                              op->leader_epoch); /* its time may be over before this replica has it */
        }
        partition_append_note(op, op->acked ? 0 : rc);
        op->done(op, op->acked ? 0 : rc);
    }
}

void partition_end(struct append_op *op, int rc)
{
    struct partition *part = partition_ref(op->part); /* with the lock goes the op, and perhaps the last reference */
    bool later = false;

    if (atomic_load(&part->hold.letting_in)) {
        pthread_mutex_lock(&part->lock);
        later = put_over(op, rc);
        pthread_mutex_unlock(&part->lock);
    }
    if (!later) {
        op->next = NULL;
        partition_finish(op, rc);
    }
    partition_unref(part);
}

/* Each with what it ends with, linked by next. Calls back. */
static void finish_over(struct append_op *over)
{
    while (over != NULL) {
        struct append_op *op = over;

        over = op->next;
        op->next = NULL;
        partition_finish(op, op->rc);
    }
}

/* Takes out those whose deadline is at or before now, in order, linked by next. Under the lock. */
static struct append_op *take_expired(struct append_list *list, void (*take)(struct append_op *op), int64_t now_ms)
{
    struct append_op *first = NULL, **last = &first, *op, *next;

    for (op = list->first; op != NULL; op = next) {
        next = op->next;
        if (op->deadline_ms <= now_ms) {
            take(op);
            *last = op;
            last = &op->next;
        }
    }
    return first;
}

static int64_t first_deadline(const struct append_list *list, int64_t least_ms)
{
    const struct append_op *op;

    for (op = list->first; op != NULL; op = op->next) {
        least_ms = op->deadline_ms < least_ms ? op->deadline_ms : least_ms;
    }
    return least_ms;
}

static void on_deadline(struct partition *part)
{
    int64_t now_ms = part->manager->clock->mono_ms(part->manager->clock);
    struct append_op *held, *committing;

    pthread_mutex_lock(&part->lock);
    held = take_expired(&part->hold.held, take_held, now_ms);
    committing = take_expired(&part->hold.committing, take_committing, now_ms);
    update(part);
    if ((held != NULL || committing != NULL) && atomic_load(&part->hold.admission) == ADMISSION_HOLDING &&
        !enough_in_sync(part)) {
        atomic_store(&part->hold.admission, ADMISSION_FAILING);
    }
    partition_alarm_rang(&part->hold.deadline);
    if (part->hold.held.first != NULL || part->hold.committing.first != NULL) {
        set_deadline(part, first_deadline(&part->hold.committing, first_deadline(&part->hold.held, INT64_MAX)));
    }
    pthread_mutex_unlock(&part->lock);
    partition_finish(held, -EROFS);
    partition_finish(committing, -ETIMEDOUT);
}

/* Ends those that are in a log, linked by next. Calls back. */
static void finish_in_doubt(struct append_op *committing)
{
    while (committing != NULL) {
        struct append_op *op = committing;

        committing = op->next;
        op->next = NULL;
        partition_finish(op, partition_doubt(op));
    }
}

void partition_hold_deleted(struct partition *part)
{
    struct append_op *held, *committing;

    pthread_mutex_lock(&part->lock);
    held = take_expired(&part->hold.held, take_held, INT64_MAX);
    committing = take_expired(&part->hold.committing, take_committing, INT64_MAX);
    update(part);
    pthread_mutex_unlock(&part->lock);
    partition_finish(committing, -ESTALE);
    partition_finish(held, -ESTALE);
    partition_forward_fail(part, -ESTALE);
    partition_ask_look(part, true);
    partition_insync_look(part, false);
}

/* Of those that are in the log, whom a leader elsewhere has acknowledged: they wait for this replica alone. Under the
 * lock. */
static struct append_op *take_acked(struct partition *part)
{
    struct append_op *first = NULL, **last = &first, *op, *next;

    for (op = part->hold.committing.first; op != NULL; op = next) {
        next = op->next;
        if (op->acked) {
            take_committing(op);
            *last = op;
            last = &op->next;
        }
    }
    return first;
}

void partition_hold_offline(struct partition *part)
{
    struct append_op *held, *committing;
    bool next;

    pthread_mutex_lock(&part->lock);
    next = next_leader_answers(part);
    held = take_expired(&part->hold.held, take_held, INT64_MAX);
    committing = next ? take_acked(part) : take_expired(&part->hold.committing, take_committing, INT64_MAX);
    update(part);
    pthread_mutex_unlock(&part->lock);
    finish_in_doubt(committing);
    if (next) {
        partition_send_on(part, held);
    } else {
        partition_finish(held, -EIO);
    }
    partition_insync_look(part, false);
}

void partition_quit(struct partition *part)
{
    struct append_op *held, *committing, *op;

    pthread_mutex_lock(&part->lock);
    held = take_expired(&part->hold.held, take_held, INT64_MAX);
    committing = take_expired(&part->hold.committing, take_committing, INT64_MAX);
    update(part);
    pthread_mutex_unlock(&part->lock);
    finish_in_doubt(committing);
    while ((op = held) != NULL) {
        held = op->next;
        op->next = NULL;
        partition_finish(op, op->from_peer ? -EREMOTE : -EIO);
    }
    partition_insync_look(part, false);
    partition_forward_fail(part, -EIO);
    partition_ask_fail(part, -EIO);
    partition_insync_fail(part, -EIO);
}

void partition_hold_look(struct partition *part)
{
    update(part);
}

void partition_depose(struct partition *part)
{
    struct append_op *committing, *held;

    pthread_mutex_lock(&part->lock);
    committing = take_expired(&part->hold.committing, take_committing, INT64_MAX);
    held = take_expired(&part->hold.held, take_held, INT64_MAX);
    update(part);
    pthread_mutex_unlock(&part->lock);
    partition_hand_over(part, committing, held);
}

/* ---- going on ---- */

/* The first that may go into the log; NULL: none. Under the lock. */
static struct append_op *may_resume(struct partition *part)
{
    struct append_op *op = part->hold.held.first;

    if (atomic_load(&part->hold.admission) == ADMISSION_RESUMING) {
        assert(op != NULL);
        return op;
    }
    /* They waited for a seal's end or the leadership alone. */
    while (op != NULL && (op->acks == ACKS_ALL || partition_is_held(part))) {
        op = op->next;
    }
    return op;
}

/* The next held one that may go into the log; NULL: none, or another thread is at it. `finished`: this thread is, and
 * has put the one before it in. Without `goes_on` it takes none, and another turn goes on. *over: those that are to be
 * answered now. */
static struct append_op *next_to_resume(struct partition *part, bool finished, bool goes_on, struct append_op **over)
{
    struct partition_hold *hold = &part->hold;
    struct append_op *op = NULL;

    *over = NULL;
    pthread_mutex_lock(&part->lock);
    if (finished) {
        hold->resumed = NULL;
        atomic_fetch_sub(&hold->held_any, hold->resumes_any);
    }
    update(part);
    if (hold->resumed == NULL) {
        op = may_resume(part);
        atomic_store(&hold->letting_in, op != NULL);
        if (op == NULL || hold->over_count >= LIMIT_RESUMED_ANSWERS) {
            *over = take_over(part);
        }
    }
    if (!goes_on) {
        op = NULL;
    }
    if (op != NULL) {
        hold->resumed = op;
        hold->resumes_any = op->acks != ACKS_ALL;
        atomic_fetch_add(&hold->held_any, hold->resumes_any); /* at no time fewer */
        take_held(op);
    }
    pthread_mutex_unlock(&part->lock);
    return op;
}

/* As how many it counts when one is let in. */
static int cost_of_one(const struct partition *part)
{
    bool flushes = atomic_load_explicit(&part->settings.flush_messages, memory_order_relaxed) != INT64_MAX;

    return flushes ? LIMIT_RESUME_APPENDS / LIMIT_RESUME_FLUSHES : 1;
}

int partition_let_in(struct partition *part, int most)
{
    struct append_op *over, *op = next_to_resume(part, false, most > 0, &over);
    int count = 0;

    finish_over(over);
    while (op != NULL) {
        partition_append_resume(op);
        count += cost_of_one(part);
        op = next_to_resume(part, true, count < most, &over);
        finish_over(over);
    }
    return count < most ? count : most;
}

/* Who followed before does not know as a leader where its log ends until it has begun. */
static bool knows_its_end(struct partition *part)
{
    const struct isr_replica *self;
    bool knows;

    pthread_mutex_lock(&part->lock);
    self = isr_find(&part->isr, part->manager->id);
    knows = self == NULL || self->fetched;
    pthread_mutex_unlock(&part->lock);
    return knows;
}

void partition_resume(struct partition *part)
{
    if (partition_leads(part) && (atomic_load(&part->replicated) || !knows_its_end(part))) {
        (void)partition_begin_leading(part, NULL);
    }
    partition_recommit(part);
    partition_arm_flush(part);
    partition_look_at_eligible(part);
    pthread_mutex_lock(&part->lock);
    update(part);
    pthread_mutex_unlock(&part->lock);
}

/* ---- start ---- */

void partition_hold_init(struct partition *part)
{
    partition_alarm_init(&part->hold.deadline, part, &part->lock, on_deadline);
    pthread_mutex_lock(&part->lock);
    update(part);
    pthread_mutex_unlock(&part->lock);
}
