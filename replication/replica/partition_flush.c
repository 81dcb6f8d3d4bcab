/* replication/replica/partition_flush.c: flushes of a partition: who asks for them, and who does them.
 *
 * fsync(2), O_SYNC and flush.messages ask and are answered; flush.ms and the background flusher only want it done. All
 * of them share the log's rounds (engine/log/log_flush.c), in which a thread flushes once for all who wait: when it
 * goes while others wait, a prompt work leads the next round.
 *
 * Failure: after a failed sync the log is offline, and everybody who waits at the partition is told. A flush that could
 * not open what it needed is asked for again by the background flusher. */
#include <errno.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

int partition_flush(struct partition *part, struct log_flush *flush)
{
    int rc = partition_reach(part, NULL);
    if (rc != 0) {
        flush->done(flush, rc);
        return 0;
    }
    partition_ref(part); /* with the flush, which another thread may have done, goes perhaps the last reference */
    rc = log_flush(part->log, flush);
    if (rc == 0)
        partition_fail_if_offline(part);
    partition_unref(part);
    return rc;
}

/* ---- fsync(2) ---- */

/*     this node has sent some with acks=0 ---> they are over (partition_late.c), and where they end is asked for, too
 *     the leader, and its log may be cut when its epoch begins ---> that has begun
 *     the leader, alone in the replicas ---> its log is flushed ---> over
 *     the leader ---> its log is flushed ---> all in sync have committed and flushed it ---> over
 *     elsewhere ---> the leader is asked, over changes of leader ---> over
 * From each to the other when this node comes to lead, or leads no more. What is given up is over where it waits for
 * others. */

static void flush_elsewhere(struct flush_op *op);
static int flush_here(struct flush_op *op);
static void on_flushed_here(struct log_flush *flush, int rc);
static void finish(struct flush_op *op, int rc);

/* Where the log's map says that an epoch ended earlier, what was acknowledged in it behind that is lost (acks 0 and 1
 * may be, and of an only replica all that was not on its disk; KIP-101). The last epoch of the map ends where the log
 * does, as long as the next one has not begun. */
static bool is_lost(const struct flush_op *op)
{
    struct log_point end;
    int32_t found;

    if (op->leader_epoch < 0 || op->leader_epoch >= atomic_load(&op->part->leader_epoch)) {
        return false;
    }
    log_epoch_end(op->part->log, op->leader_epoch, &found, &end);
    if (end.offset < 0)
        end = log_end(op->part->log);
    return end.offset < op->upto;
}

/* What was waited for has come, or not (rc). An epoch that came meanwhile may have cut the log, or will (unsure), and
 * what it has there since is something else. As partition_flush_submit(). */
static int look_again(struct flush_op *op, int rc, bool unsure)
{
    if (rc < 0 || unsure) {
        return rc < 0 ? rc : flush_here(op);
    }
    return is_lost(op) ? -EIO : 1;
}

/* Others may have come to be replicas meanwhile: who joins later flushes what was on this one's disk before that. */
static void on_alone(struct log_flush *flush, int rc)
{
    struct flush_op *op = CONTAINER_OF(flush, struct flush_op, flush);

    if (rc == 0 && atomic_load(&op->part->replicated)) {
        on_flushed_here(flush, rc);
        return;
    }
    rc = look_again(op, rc, partition_shown_unsure(op->part));
    if (rc != 0) {
        finish(op, rc);
    }
}

static void on_insync(struct insync_wait *wait, int rc)
{
    struct flush_op *op = CONTAINER_OF(wait, struct flush_op, wait);

    if (rc == -EREMOTE) {
        flush_elsewhere(op);
        return;
    }
    rc = look_again(op, rc, wait->unsure);
    if (rc != 0) {
        finish(op, rc);
    }
}

/* The epoch can begin, or leads no more. */
static void on_settled(struct insync_wait *wait, int rc)
{
    struct flush_op *op = CONTAINER_OF(wait, struct flush_op, wait);

    if (rc == -EREMOTE) {
        flush_elsewhere(op);
        return;
    }
    rc = rc < 0 ? rc : flush_here(op);
    if (rc != 0) {
        finish(op, rc);
    }
}

static void on_flushed_here(struct log_flush *flush, int rc)
{
    struct flush_op *op = CONTAINER_OF(flush, struct flush_op, flush);

    if (rc < 0) {
        finish(op, rc);
        return;
    }
    op->wait = (struct insync_wait){.committed = op->upto,
                                    .flushed = op->upto,
                                    .deadline_ms = op->deadline_ms,
                                    .given_up = &op->given_up,
                                    .done = on_insync};
    partition_insync_wait(op->part, &op->wait);
}

static void on_asked(struct ask *ask, int rc)
{
    struct flush_op *op = CONTAINER_OF(ask, struct flush_op, ask);

    if (rc == -EREMOTE) {
        rc = flush_here(op);
        if (rc == 0) {
            return;
        }
        rc = rc > 0 ? 0 : rc;
    }
    finish(op, rc);
}

static void flush_elsewhere(struct flush_op *op)
{
    op->ask = (struct ask){.kind = MESSAGE_FLUSH,
                           .epoch = op->leader_epoch,
                           .upto = op->upto,
                           .deadline_ms = op->deadline_ms,
                           .given_up = &op->given_up,
                           .done = on_asked};
    partition_ask(op->part, &op->ask);
}

/* The log is judged once it stays as it is. As partition_flush_submit(). */
static int flush_here(struct flush_op *op)
{
    struct partition *part = op->part;
    bool alone = !atomic_load(&part->replicated);
    int rc = partition_reach(part, NULL);

    if (rc == 0) {
        rc = partition_settle(part);
        if (rc == 0) {
            op->wait =
                (struct insync_wait){.deadline_ms = op->deadline_ms, .given_up = &op->given_up, .done = on_settled};
            partition_insync_wait(part, &op->wait);
            return 0;
        }
    }
    if (rc < 0 || is_lost(op)) {
        return rc < 0 ? rc : -EIO;
    }
    op->flush = (struct log_flush){.upto = op->upto, .done = alone ? on_alone : on_flushed_here};
    rc = partition_flush(part, &op->flush);
    if (rc == 1 && (!alone || atomic_load(&part->replicated))) {
        on_flushed_here(&op->flush, 0);
        rc = 0;
    }
    return rc == 1 ? look_again(op, 0, partition_shown_unsure(part)) : rc;
}

/* What is to be asked for. As partition_flush_submit(). */
static int ask(struct flush_op *op)
{
    if (op->upto == 0) {
        return 1;
    }
    if (partition_leads(op->part)) {
        return flush_here(op);
    }
    flush_elsewhere(op);
    return 0;
}

/* What was asked for has ended so, not with 0. Likewise. */
static int go_on(struct flush_op *op, int rc)
{
    while (rc != 0) {
        if (op->late_asked && (rc > 0 || rc == -EIO)) {
            partition_late_asked(op);
        }
        if (rc < 0 || op->late_count == 0) {
            return rc;
        }
        op->late_asked = true;
        op->late_count--;
        op->upto = op->late_ends[op->late_count].upto;
        op->leader_epoch = op->late_ends[op->late_count].leader_epoch;
        rc = ask(op);
    }
    return 0;
}

/* It is answered, with rc: 1, or a negative errno; another node's is counted there. Returns what done() is told. */
static int note(const struct flush_op *op, int rc)
{
    struct replica_manager *manager = op->part->manager;

    rc = rc < 0 ? rc : 0;
    if (!op->from_peer) {
        latency_note(&manager->flush_times, clock_mono_us(manager->clock) - op->begun_us, rc);
    }
    return rc;
}

static void finish(struct flush_op *op, int rc)
{
    rc = go_on(op, rc < 0 ? rc : 1);
    if (rc != 0) {
        op->done(op, note(op, rc));
    }
}

/* Likewise. */
static int begin(struct flush_op *op)
{
    int rc = op->late_rc < 0 ? op->late_rc : ask(op);

    return rc == 0 ? 0 : go_on(op, rc);
}

void partition_flush_late_over(struct flush_op *op)
{
    int rc = begin(op);

    if (rc != 0) {
        op->done(op, note(op, rc));
    }
}

int partition_flush_submit(struct flush_op *op)
{
    struct clock *clock = op->part->manager->clock;
    int64_t now_ms;
    int rc;

    op->begun_us = clock_mono_us(clock);
    now_ms = op->begun_us / 1000;
    op->deadline_ms = op->timeout_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + op->timeout_ms;
    op->late_asked = false;
    op->late_rc = 0;
    op->late_count = 0;
    atomic_store(&op->given_up, false);
    if (!op->from_peer && partition_late_wait(op)) {
        return 0;
    }
    rc = begin(op);
    if (rc != 0) {
        (void)note(op, rc);
    }
    return rc;
}

void partition_flush_give_up(struct flush_op *op)
{
    struct partition *part = partition_ref(op->part); /* the caller's may go with the op */

    atomic_store(&op->given_up, true);
    if (partition_late_give_up(op)) {
        partition_flush_late_over(op);
    }
    partition_ask_look(part, false);
    partition_insync_look(part, false);
    partition_unref(part);
}

/* ---- this replica's ---- */

int partition_flush_now(struct partition *part)
{
    int rc = log_flush_all(part->log);
    if (rc != 0)
        partition_fail_if_offline(part);
    return rc;
}

/* Requests for a flush wait and whoever flushed is gone: a work leads the next round. It may find that somebody came
 * before it, or that more have come and it is called again. */
static void on_flush_left(void *arg)
{
    struct partition *part = arg;
    if (atomic_exchange(&part->flush.next_queued, true))
        return;
    partition_ref(part);
    executor_prompt(part->manager->executor, &part->flush.next);
}

static void on_flush_next(struct work *work)
{
    struct partition *part = CONTAINER_OF(work, struct partition, flush.next);
    atomic_store(&part->flush.next_queued, false);
    log_flush_next(part->log);
    partition_fail_if_offline(part);
    partition_unref(part);
}

void partition_flush_begin(struct partition *part, struct log *log)
{
    log_set_on_flush_left(log, on_flush_left, part);
}

/* flush.ms has passed since the first append that was not flushed. */
static void on_flush_alarm(struct alarm *alarm)
{
    struct partition *part = CONTAINER_OF(alarm, struct partition, flush.alarm);
    atomic_store(&part->flush.armed, false);
    flusher_due(&part->manager->flusher, part);
    partition_unref(part);
}

void partition_arm_flush(struct partition *part)
{
    int64_t flush_ms = atomic_load_explicit(&part->settings.flush_ms, memory_order_relaxed);
    if (flush_ms == INT64_MAX || atomic_load_explicit(&part->flush.armed, memory_order_relaxed) ||
        partition_usable(part, NULL) != 0 || log_recovery_point(part->log) >= log_end(part->log).offset ||
        atomic_exchange(&part->flush.armed, true))
        return;
    partition_ref(part);
    alarm_set(part->manager->executor, &part->flush.alarm, flush_ms);
    /* Deleted meanwhile: whoever stops the alarms may have been here before it was set. */
    if (atomic_load(&part->topic->deleted) && alarm_cancel(part->manager->executor, &part->flush.alarm))
        partition_unref(part);
}

bool partition_flush_due(struct partition *part, int64_t end_offset)
{
    int64_t messages = atomic_load_explicit(&part->settings.flush_messages, memory_order_relaxed);
    return messages != INT64_MAX && end_offset - log_recovery_point(part->log) >= messages;
}

void partition_flush_init(struct partition *part)
{
    alarm_init(&part->flush.alarm, WORK_PROMPT, on_flush_alarm);
    part->flush.next.run = on_flush_next;
}

void partition_flush_stop(struct partition *part, bool cancel)
{
    bool armed = cancel ? alarm_cancel(part->manager->executor, &part->flush.alarm) : atomic_load(&part->flush.armed);
    if (!armed)
        return;
    atomic_store(&part->flush.armed, false);
    partition_unref(part);
}
