/* replication/replica/partition_append.c: an append, from its submit to its end.
 *
 *     NEW --+-- acks=all, too few in sync --> HELD --- enough, and its turn --+
 *           |   or it is sealed                 ^                             |
 *           |                                   +--- it has come to be held --+
 *           |                                                                 |
 *           +-- else ------------------------------------------------> WRITING: log_append()
 *                                                                             |
 *                         FLUSHING <-- flush.messages is due -----------------+
 *                            |                                                |
 *                            +--- it is on the disk ----> the replica's end counts, the high watermark moves
 *                                                                             |
 *                  COMMITTING <-- acks=all, it has not passed the append -----+
 *                       |                                                     |
 *                       +--- it passes it -------------------------------> OVER (0)
 *
 * Where another node leads, NEW or WRITING comes to be FORWARDED (forwarder.h), and its leader's answer is the end;
 * with acks=all at a node in sync COMMITTING comes in between, until it is shown here (partition_hold_showing()). One
 * from another node (from_peer) is not forwarded, but ends (-EREMOTE).
 *
 * Any failure is the end, too: HELD by delivery.timeout.ms (-EROFS) or cancel, COMMITTING by delivery.timeout.ms
 * (-ETIMEDOUT) or forget, both when the topic is deleted (-ESTALE). When the log goes offline, HELD goes to the next
 * leader, or ends where there is none to come (-EIO), and COMMITTING waits for that one, or ends (-ETIMEDOUT). tick()
 * alone moves an append on; what it waits for calls tick() again. Who is in HELD and COMMITTING is in a list of
 * partition_hold.c, and whoever takes it out, under the partition's lock, has it to himself.
 *
 * The short way, with an ISR that has it all: everything on the caller's thread, within submit; no allocation, and no
 * lock held through a callback. */
#include "replication/replica/partition.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

/* ---- how long it takes ---- */

/* Where it was written; another node's is counted there. */
static bool is_counted(const struct append_op *op)
{
    return !op->from_peer && !op->internal && !op->detached;
}

/* The short way has one look at a clock, at its end: at its beginning its batch got its time. That is the wall's, which
 * may be put on or back; so what waits is counted on by the clock of timers. */
void partition_append_waits(struct append_op *op)
{
    struct clock *clock = op->part->manager->clock;
    int64_t passed_us;

    if (op->begun_us == 0 && is_counted(op)) {
        passed_us = clock_wall_us(clock) - op->begun_wall_us;
        op->begun_us = clock_mono_us(clock) - (passed_us > 0 ? passed_us : 0);
    }
}

void partition_append_note(const struct append_op *op, int rc)
{
    struct replica_manager *manager = op->part->manager;
    int64_t us;

    if (is_counted(op)) {
        us = op->begun_us != 0 ? clock_mono_us(manager->clock) - op->begun_us
                               : clock_wall_us(manager->clock) - op->begun_wall_us;
        latency_note(&manager->append_times[op->acks - ACKS_ALL], us, rc);
    }
}

/* ---- into the log ---- */

/* With update_lock held for reading, which is held for writing while the framing changes. */
static int check_framing(const struct partition *part, const struct append_batch *batch, struct err *e)
{
    if (atomic_load_explicit(&part->settings.framing, memory_order_relaxed) == (int)batch->framing) {
        return 0;
    }
    return err_set(e, -EAGAIN, "%s has another framing by now", part->name);
}

/* As Kafka's leader validates what is appended to a compacted topic. */
static int check_keys(struct partition *part, const struct append_batch *batch, struct err *e)
{
    struct topic_config config;
    const struct iovec none = {0};
    const struct iovec *last = &batch->iov[batch->iovcnt - 1];
    const struct iovec *before = batch->iovcnt > 1 ? &batch->iov[0] : &none;

    if (!atomic_load_explicit(&part->settings.compact, memory_order_relaxed)) {
        return 0;
    }
    topic_config(part->topic, &config);
    assert(batch->iovcnt <= 2);
    if (framing_all_keyed(batch->framing, before->iov_base, before->iov_len, last->iov_base, last->iov_len,
                          config.log.key_separator, config.log.key_separator_len)) {
        return 0;
    }
    return err_set(e, -EINVAL, "%s is compacted and takes no record without a key", part->name);
}

/* The log has the batch. Where it ends is not known; where its producer's last one does is. */
static void note_duplicate(struct append_op *op)
{
    struct log *log = op->part->log;
    struct log_point end = log_end(log);
    struct producer_state known;

    op->duplicate = true;
    if (log_producer(log, op->batch.producer_id, op->batch.producer_epoch, op->batch.sequence, &known) !=
            PRODUCER_UNKNOWN &&
        known.last_offset + 1 < end.offset) {
        (void)log_lookup_offset(log, known.last_offset + 1, end, &end, NULL);
    }
    op->result = (struct log_append_result){end, end};
}

/* Another epoch, or it is sealed, or this node leads no more: it comes again. */
static int come_again(const struct partition *part, int rc)
{
    return rc == -ESTALE && !atomic_load(&part->topic->deleted) ? 1 : rc;
}

/* Before update_lock is taken, since that may tell others, who append. 1: as write_locked(). */
static int begin_epoch(struct partition *part, struct err *e)
{
    if (partition_begun_epoch(part) >= 0 || partition_is_held(part)) {
        return 0;
    }
    return come_again(part, partition_begin_leading(part, e));
}

/* 1: it is sealed, or this node leads no more, or in an epoch that has not begun; nothing was done. */
static int write_locked(struct append_op *op, struct err *e)
{
    struct partition *part = op->part;
    int rc;

    /* Looked at under update_lock, which is held for writing for a moment when a partition comes to be sealed. */
    if (partition_is_held(part) || partition_begun_epoch(part) < 0) {
        return 1;
    }
    rc = partition_usable(part, e);
    if (rc == 0 && reserve_in_use(part->manager->reserve)) {
        rc = err_set(e, -ENOSPC, "%s: the disk is full", part->name);
    }
    if (rc == 0) {
        rc = check_framing(part, &op->batch, e);
    }
    if (rc == 0) {
        rc = check_keys(part, &op->batch, e);
    }
    if (rc < 0) {
        return rc;
    }
    if (atomic_load_explicit(&part->settings.log_append_time, memory_order_relaxed)) {
        op->batch.first_timestamp_ms = part->manager->clock->wall_ms(part->manager->clock);
        op->batch.last_timestamp_ms = op->batch.first_timestamp_ms;
        op->batch.attributes |= BATCH_LOG_APPEND_TIME;
    }
    rc = partition_append_own(op, e);
    if (rc == 1) {
        note_duplicate(op);
        return 0;
    }
    return come_again(part, rc);
}

/* This node cannot append. -EREMOTE: another one is to lead; or rc. */
static int hand_over(struct partition *part, int rc, struct err *e)
{
    if (!err_is_full_disk(rc) && rc != -EIO) {
        return rc;
    }
    return part->manager->hooks.hand_over(part->manager->hooks.arg, part)
               ? err_set(e, -EREMOTE, "%s is to be led by another node", part->name)
               : rc;
}

/* The log has failed, and may have it after the next start. Of this node's own nobody asks then any more, so that the
 * next leader takes it as any other; another node's is to get there under its number. */
static int hand_over_in_doubt(struct append_op *op, struct err *e)
{
    int rc = hand_over(op->part, -EIO, e);

    return op->from_peer ? -EIO : rc == -EIO ? -ETIMEDOUT : rc;
}

static int write_batch(struct append_op *op, struct err *e)
{
    struct partition *part = op->part;
    int rc;

    rc = begin_epoch(part, e);
    if (rc == 0) {
        pthread_rwlock_rdlock(&part->topic->update_lock);
        rc = write_locked(op, e);
        pthread_rwlock_unlock(&part->topic->update_lock);
    }
    if (rc < 0) {
        partition_fail_if_offline(part);
        return rc == -EIO && op->result.end.offset > 0 ? hand_over_in_doubt(op, e) : hand_over(part, rc, e);
    }
    if (atomic_load_explicit(&part->handover.since_ms, memory_order_relaxed) != 0) {
        atomic_store(&part->handover.since_ms, 0);
    }
    return rc;
}

/* ---- onto the disk ---- */

static int tick(struct append_op *op, struct err *e);

/* Goes on with an append that has waited. */
static void go_on(struct append_op *op)
{
    int rc = tick(op, NULL);

    if (rc != 0) {
        partition_end(op, rc < 0 ? rc : 0);
    }
}

static void on_flushed(struct log_flush *flush, int rc)
{
    struct append_op *op = CONTAINER_OF(flush, struct append_op, flush);

    op->flush_rc = rc;
    if (atomic_exchange(&op->flush_met, true)) {
        go_on(op); /* who asked has gone */
    }
}

/* flush.messages. 1: it is on the disk, or need not be, or the flush has failed with flush_rc; 0: on_flushed() goes on,
 * and the op may be gone. */
static int flush_batch(struct append_op *op)
{
    const struct iovec *iov = op->batch.iov;

    op->flush_rc = 0;
    if (!partition_flush_due(op->part, op->result.end.offset)) {
        return 1;
    }
    op->flush = (struct log_flush){.upto = op->result.end.offset, .done = on_flushed};
    partition_append_waits(op);
    atomic_store(&op->flush_met, false);
    op->batch.iov = NULL; /* should the caller be gone when it is flushed */
    if (partition_flush(op->part, &op->flush) == 0 && !atomic_exchange(&op->flush_met, true)) {
        return 0;
    }
    op->batch.iov = iov;
    return 1;
}

/* ---- to the high watermark ---- */

/* Whom the high watermark passes, and is to be told. */
struct passed {
    struct partition_waiter *waiters;
    struct append_op *committed;
    bool moved;
    bool waits; /* somebody waits for the in-sync replicas */
};

/* What the high watermark passes; it stands still while nobody knows what this replica still holds. Under the lock. */
static void look(struct partition *part, bool told, struct passed *passed)
{
    *passed = (struct passed){.waits = part->insync.waits != NULL};
    if (!partition_leads(part)) {
        return; /* a follower's high watermark is its leader's to say */
    }
    if (part->log != NULL && log_offline(part->log) != 0) {
        return;
    }
    if (!partition_has_eligible(part) &&
        isr_update(&part->isr, atomic_load_explicit(&part->settings.min_insync_replicas, memory_order_relaxed))) {
        passed->waiters = partition_collect(part, part->isr.high_watermark.position);
        passed->committed = partition_collect_committed(part);
        passed->moved = true;
        partition_change(part, told);
        partition_mark_followers(part);
    }
}

/* A replica holds everything below end. Under the lock. */
static void advance(struct partition *part, int32_t replica, struct log_point end, bool told, struct passed *passed)
{
    if (partition_leads(part)) {
        isr_advance(&part->isr, replica, end);
    }
    look(part, told, passed);
}

/* Calls back. */
static void tell_passed(struct partition *part, const struct passed *passed)
{
    partition_wake(passed->waiters, NULL);
    partition_finish(passed->committed, 0);
    if (passed->moved) {
        partition_tell(part, false);
    }
    if (passed->waits) {
        partition_insync_look(part, false);
    }
}

void partition_advance(struct partition *part, int32_t replica, struct log_point end)
{
    struct passed passed;

    pthread_mutex_lock(&part->lock);
    advance(part, replica, end, false, &passed);
    pthread_mutex_unlock(&part->lock);
    tell_passed(part, &passed);
}

void partition_recommit(struct partition *part)
{
    struct passed passed;

    pthread_mutex_lock(&part->lock);
    look(part, false, &passed);
    pthread_mutex_unlock(&part->lock);
    tell_passed(part, &passed);
}

void partition_commit(struct partition *part, struct log_point end)
{
    partition_advance(part, part->manager->id, end);
}

/* Not under way any more: over, or waiting where the end of a leadership finds it. */
static void settle_number(struct partition *part, bool numbered)
{
    if (numbered) {
        partition_forward_settled(part);
    }
}

/* The leadership in which it came into the log is over. As tick(). */
static int send_on(struct append_op *op)
{
    if (op->acks == ACKS_NONE) {
        return 1;
    }
    if (partition_forward_numbered(op)) {
        return 0;
    }
    return partition_doubt(op);
}

/* Another node has led since it came into the log, or leads now. Under the lock. */
static bool is_deposed(const struct append_op *op)
{
    return !partition_leads(op->part) || op->leader_epoch < op->part->epoch.led_since;
}

/* What came with it. Under the lock. */
static void count(struct append_op *op, bool told, struct passed *passed)
{
    struct partition *part = op->part;

    if (op->duplicate) {
        look(part, told, passed);
        return;
    }
    part->appended.batches++;
    part->appended.records += op->batch.records;
    part->appended.bytes += op->batch.len;
    if (is_deposed(op)) {
        look(part, told, passed); /* the log may have been cut since, and end before this one did */
    } else {
        advance(part, part->manager->id, op->result.end, told, passed);
    }
}

/* This replica holds it. Returns as tick(): after 0 the op may be gone. */
static int commit_batch(struct append_op *op)
{
    struct partition *part = op->part;
    struct partition_fresh fresh = {.position = op->result.base.position,
                                    .records = op->batch.records,
                                    .iov = op->batch.iov,
                                    .iovcnt = op->batch.iovcnt};
    struct passed passed;
    bool waits, deposed, told = op->told, numbered = op->numbered;
    int rc = 1;

    pthread_mutex_lock(&part->lock);
    told = told && part->isr.high_watermark.offset == op->result.base.offset; /* nobody else's are committed with it */
    count(op, told, &passed);
    deposed = is_deposed(op);
    if (!deposed && part->isr.high_watermark.offset >= op->result.end.offset) {
        fresh.len = op->duplicate ? 0 : op->batch.len;
    } else if (!deposed && op->acks == ACKS_ALL) {
        rc = partition_hold_committing(op);
    }
    waits = rc == 0 || deposed;
    if (waits) {
        partition_ref(part); /* with the lock goes the op, and perhaps the last reference */
    }
    pthread_mutex_unlock(&part->lock);
    partition_wake(passed.waiters, fresh.len > 0 && fresh.iov != NULL ? &fresh : NULL);
    partition_finish(passed.committed, 0);
    if (passed.moved) {
        partition_tell(part, told);
    }
    if (passed.waits) {
        partition_insync_look(part, false);
    }
    partition_arm_flush(part);
    flusher_checkpoint_soon(&part->manager->flusher);
    if (deposed) {
        rc = send_on(op);
    }
    settle_number(part, numbered);
    if (waits) {
        partition_unref(part);
    }
    return rc;
}

/* It is in the log, and its flush has failed: the log is offline, and the next leader answers it; or what had to be
 * opened could not be, and then nobody can say what will become of it. As tick(). */
static int flush_failed(struct append_op *op, struct err *e)
{
    struct partition *part = partition_ref(op->part); /* with the lock goes the op, and perhaps the last reference */
    bool numbered = op->numbered, deposed;
    int rc = -ETIMEDOUT;

    pthread_mutex_lock(&part->lock);
    deposed = is_deposed(op);
    if (!err_is_passing(op->flush_rc) && !deposed) {
        rc = partition_hold_committing(op);
    }
    pthread_mutex_unlock(&part->lock);
    if (deposed) {
        rc = send_on(op);
    }
    settle_number(part, numbered);
    if (rc < 0) {
        err_sys(e, rc, "%s: flush.messages: flush", part->name);
    }
    partition_unref(part);
    return rc;
}

/* ---- the whole way ---- */

/* It has come to be held since. As tick(). */
static int hold_again(struct append_op *op)
{
    if (op->copy != NULL) {
        partition_hold_again(op);
        return 0;
    }
    atomic_store_explicit(&op->state, APPEND_NEW, memory_order_relaxed);
    return 1;
}

/* It goes where the partition is led from, which is not to be here any more. As tick(), but that 1 is over. */
static int forward_away(struct append_op *op, struct err *e)
{
    int rc = partition_forward_away(op, e);

    if (rc == 2) {
        atomic_store_explicit(&op->state, APPEND_OVER, memory_order_relaxed);
    }
    return rc;
}

/* 1: over; 0: it waits, and may be over already; or a negative errno: over. */
static int tick(struct append_op *op, struct err *e)
{
    int rc = 1;

    while (rc > 0) {
        switch (atomic_load_explicit(&op->state, memory_order_relaxed)) {
        case APPEND_NEW:
            rc = op->acks == ACKS_ALL || partition_holds_any(op->part) || partition_forwards(op->part)
                     ? partition_hold(op, e)
                     : 1;
            if (rc == 2) {
                atomic_store_explicit(&op->state, APPEND_OVER, memory_order_relaxed);
                break;
            }
            if (rc > 0) {
                atomic_store_explicit(&op->state, APPEND_WRITING, memory_order_relaxed);
            }
            break;
        case APPEND_WRITING:
            rc = write_batch(op, e);
            if (rc > 0) {
                rc = hold_again(op);
                break;
            }
            if (rc == -EREMOTE && !op->from_peer) {
                rc = forward_away(op, e);
                break;
            }
            if (rc == 0 && !op->duplicate && atomic_load_explicit(&op->part->followers, memory_order_relaxed) != NULL) {
                partition_send_fresh(op);
            }
            if (op->copy != NULL) { /* it was held */
                free(op->copy);
                op->copy = NULL;
                op->batch.iov = NULL;
                rc = rc == -EAGAIN ? -EINVAL : rc; /* nobody has its bytes any more to cut them anew */
            }
            if (rc == 0) {
                atomic_store_explicit(&op->state, APPEND_FLUSHING, memory_order_relaxed);
                rc = flush_batch(op);
            }
            break;
        case APPEND_FLUSHING:
            rc = op->flush_rc < 0 ? flush_failed(op, e) : commit_batch(op);
            if (rc > 0) {
                atomic_store_explicit(&op->state, APPEND_OVER, memory_order_relaxed);
            }
            break;
        case APPEND_COMMITTING: /* taken out of its list */
        case APPEND_FORWARDED:
        case APPEND_HELD:
        case APPEND_OVER:
            return 1;
        }
    }
    if (rc < 0) {
        atomic_store_explicit(&op->state, APPEND_OVER, memory_order_relaxed);
    }
    return rc;
}

/* Its log, if it goes there. -EREMOTE: it is to go elsewhere, though this node leads. */
static int check_log(struct append_op *op, struct err *e)
{
    struct partition *part = op->part;
    int rc = partition_usable(part, e);

    if (rc != -EIO) {
        return rc;
    }
    if (!partition_leads(part) && partition_has_others(part)) {
        return op->from_peer ? rc : 0; /* it goes to another one's */
    }
    if (part->log == NULL) {
        rc = partition_reopen(part, e);
    }
    return rc < 0 && partition_leads(part) ? hand_over(part, rc, e) : rc;
}

static int submit(struct append_op *op, struct err *e)
{
    int rc;

    assert(atomic_load_explicit(&op->state, memory_order_relaxed) == APPEND_OVER && op->copy == NULL);
    assert(!op->internal || !op->part->topic->own);
    if (op->part->topic->internal && !op->internal && !atomic_load(&op->part->topic->deleted)) {
        return err_set(e, -EPERM, "%s is the cluster's own", op->part->name);
    }
    rc = check_log(op, e);
    if (rc < 0 && (rc != -EREMOTE || op->from_peer)) {
        return rc;
    }
    op->result = (struct log_append_result){0};
    op->leader_epoch = -1;
    op->duplicate = false;
    op->acked = false;
    op->numbered = false;
    atomic_store_explicit(&op->state, APPEND_NEW, memory_order_relaxed);
    if (rc == -EREMOTE) {
        rc = forward_away(op, e);
        if (rc < 0) {
            atomic_store_explicit(&op->state, APPEND_OVER, memory_order_relaxed);
        }
        return rc > 0 ? 1 : rc;
    }
    return tick(op, e);
}

int partition_append_submit(struct append_op *op, struct err *e)
{
    int rc;

    op->begun_us = 0;
    op->begun_wall_us = op->came_us == 0 && is_counted(op) ? clock_wall_us(op->part->manager->clock) : op->came_us;
    rc = submit(op, e);
    if (rc != 0 && rc != -EAGAIN) { /* that is no answer: it comes again */
        partition_append_note(op, rc < 0 ? rc : 0);
    }
    return rc;
}

void partition_append_resume(struct append_op *op)
{
    atomic_store_explicit(&op->state, APPEND_WRITING, memory_order_relaxed);
    go_on(op);
}

bool partition_append_is_in_log(const struct append_op *op)
{
    int state = atomic_load(&op->state);

    if (state == APPEND_FORWARDED) {
        return partition_forward_is_sent(op);
    }
    return state == APPEND_FLUSHING || state == APPEND_COMMITTING;
}
