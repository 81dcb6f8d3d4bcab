/* replication/replica/partition_forward.c: appends on a node that does not lead the partition: a forwarder
 * (forwarder.h) with its lock, its alarm and the frames that it asks for; and the numbers of what is appended here.
 *
 * Where this node leads and nothing is on its way, appends go to its log as they come; with replicas elsewhere they
 * carry the producer id and sequence of this process all the same, so that they can be sent on when another node comes
 * to lead. From the end of a leadership on, until all that was on its way is over, everything goes through the
 * forwarder: its leader may be this node, too, which then sends to itself.
 *
 * Order at the end of a leadership, so that no number is passed over that will still come:
 *   1. handing_over is set before the role changes: from there on the forwarder has nobody to send to.
 *   2. The log follows: no append of the old epoch is under way any more.
 *   3. partition_hand_over() takes what waited at the high watermark, with its numbers, then what was held.
 *   4. What is in the log but was not yet waiting (under_way) hands itself over; the last one lets the forwarder go on.
 *
 * The forward lock is held through a send, which waits for nothing, and through log_append() of what gets a number
 * there. Under it the partition's lock and the log's may be taken; never the other way round. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"
#include "replication/wire/forward_message.h"

/* ---- the alarm: deadlines, and the end of a pause; under the forward lock ---- */

static int64_t now_ms(const struct partition *part)
{
    return part->manager->clock->mono_ms(part->manager->clock);
}

static void set_alarm(struct partition *part)
{
    int64_t due_ms = forwarder_deadline(&part->forward.forwarder), now = now_ms(part);

    if (forwarder_idle(&part->forward.forwarder)) {
        return;
    }
    if (part->forward.forwarder.paused && now + LIMIT_FORWARD_PAUSE_MS < due_ms) {
        due_ms = now + LIMIT_FORWARD_PAUSE_MS;
    }
    partition_alarm_set(&part->forward.alarm, due_ms);
}

/* ---- sending; under the forward lock ---- */

/* What is not in the leader's log by then is told here before the deadline itself: a certain end. */
static int64_t left_ms(const struct forward *forward, int64_t now)
{
    int64_t left = forward->deadline_ms - now;
    int64_t margin = left / 8 < LIMIT_FORWARD_MARGIN_MS ? left / 8 : LIMIT_FORWARD_MARGIN_MS;

    return left > 0 ? left - margin : 0;
}

static int send_request(struct partition *part, int64_t producer_id, const struct forward_request *request)
{
    struct append_request message = {.head = {.number = request->number,
                                              .partition = part->index,
                                              .leader_epoch = part->forward.forwarder.leader_epoch},
                                     .node_epoch = manager_own_epoch(part->manager),
                                     .producer_id = producer_id,
                                     .count = request->count};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];
    struct iovec body[LIMIT_FORWARD_BATCHES];
    int64_t now = now_ms(part);

    memcpy(message.head.topic_id, part->topic->id, UUID_BYTES);
    for (int i = 0; i < request->count; i++) {
        const struct forward *forward = request->batches[i];
        const struct append_op *op = CONTAINER_OF(forward, const struct append_op, forward);

        message.batches[i] = (struct append_request_batch){.sequence = forward->sequence,
                                                           .gap = forward->gap,
                                                           .records = op->batch.records,
                                                           .len = op->batch.len,
                                                           .crc = op->batch.crc,
                                                           .first_timestamp_ms = op->batch.first_timestamp_ms,
                                                           .last_timestamp_ms = op->batch.last_timestamp_ms,
                                                           .framing = op->batch.framing,
                                                           .acks = (int)op->acks,
                                                           .timeout_ms = left_ms(forward, now)};
        body[i] = op->iov;
    }
    return forwarding_send(part->manager, part->forward.forwarder.leader, CHANNEL_RECORDS, MESSAGE_APPEND, header,
                           append_request_encode(&message, header), body, request->count);
}

/* Sends what may go. */
static void pump(struct partition *part)
{
    struct forward_request request;
    int64_t producer_id = forwarder_idle(&part->forward.forwarder) ? -1 : manager_producer_id(part->manager);

    if (producer_id < 0 && !forwarder_idle(&part->forward.forwarder)) {
        forwarder_pause(&part->forward.forwarder); /* until there is one */
    }
    while (producer_id >= 0 && forwarder_next(&part->forward.forwarder, &request)) {
        if (send_request(part, producer_id, &request) != 0) {
            /* The link has ended, which will be told, or too much waits for it. */
            forwarder_unsent(&part->forward.forwarder, &request);
            break;
        }
    }
    set_alarm(part);
}

static void look(struct partition *part)
{
    int32_t self = part->manager->id, leader, epoch;
    bool leads, idle = forwarder_idle(&part->forward.forwarder);
    uint64_t link = 1; /* to itself */

    pthread_mutex_lock(&part->lock);
    leads = partition_leads(part);
    leader = part->registration.leader;
    epoch = leads ? atomic_load(&part->leader_epoch) : part->registration.leader_epoch;
    pthread_mutex_unlock(&part->lock);
    if (atomic_load(&part->forward.handing_over) || atomic_load(&part->forward.under_way) > 0 || (leads && idle)) {
        leader = FORWARD_NOBODY;
    }
    atomic_store(&part->forward.busy, !idle);
    if (!leads) {
        atomic_store(&part->handover.since_ms, 0);
    }
    if (leader != self) {
        link = leader == FORWARD_NOBODY ? 0 : network_link(part->manager->network, leader);
    }
    forwarder_set_leader(&part->forward.forwarder, leader, epoch, link);
    pump(part);
}

void partition_forward_look(struct partition *part)
{
    pthread_mutex_lock(&part->forward.lock);
    look(part);
    pthread_mutex_unlock(&part->forward.lock);
    if (atomic_load(&part->topic->deleted)) { /* what was handed over behind the deletion */
        partition_forward_fail(part, -ESTALE);
    }
}

/* ---- ends ---- */

/* Those that the forwarder has handed back, linked by next. Calls back: no lock held. */
static void finish(struct forward *over)
{
    while (over != NULL) {
        struct append_op *op = CONTAINER_OF(over, struct append_op, forward);
        struct replica_manager *manager = op->part->manager;

        over = over->next;
        atomic_fetch_sub(&manager->parked_bytes, op->batch.len);
        atomic_fetch_sub(&manager->appends_parked, 1);
        if (op->begun_us != 0 && op->forward.rc == 0) {
            histogram_add(&manager->forward_times, clock_mono_us(manager->clock) - op->begun_us);
        }
        op->next = NULL;
        if (op->forward.rc == 0 && op->acks == ACKS_ALL && partition_hold_showing(op)) {
            continue;
        }
        if (op->forward.rc == 0 && op->acks == ACKS_ALL) {
            (void)remote_show(op->part, op->result.end, op->leader_epoch,
                              op->leader_epoch); /* who reads here sees it, from the leader if need be */
        }
        atomic_store(&op->state, APPEND_OVER);
        partition_finish(op, op->forward.rc);
    }
}

static void on_alarm(struct partition *part)
{
    struct forward *over;

    pthread_mutex_lock(&part->forward.lock);
    partition_alarm_rang(&part->forward.alarm);
    over = forwarder_expire(&part->forward.forwarder, now_ms(part));
    forwarder_go_on(&part->forward.forwarder);
    look(part);
    pthread_mutex_unlock(&part->forward.lock);
    finish(over);
}

/* alone: there is no other leader to come. */
static enum forward_answer meaning_of(const struct append_answer_batch *batch, bool alone)
{
    switch (batch->rc) {
    case 0:
        return FORWARD_APPENDED;
    case -EILSEQ:
        return FORWARD_OUT_OF_ORDER;
    case -ETIMEDOUT:
        return FORWARD_UNDECIDED;
    case -EIO:
        if (batch->end.offset > 0) {
            return FORWARD_LOST;
        }
        return alone ? FORWARD_REFUSED : FORWARD_LATER;
    case -EROFS:
    case -ENOSPC:
    case -EDQUOT:
    case -EINVAL:
    case -EAGAIN:
        return FORWARD_REFUSED;
    default:
        return FORWARD_LATER;
    }
}

void partition_forward_answer(struct partition *part, const struct append_answer *answer)
{
    struct forward *over = NULL, **last = &over, *forward;
    bool alone;

    pthread_mutex_lock(&part->forward.lock);
    pthread_mutex_lock(&part->lock);
    alone = partition_leads(part) || part->registration.isr.count < 2;
    pthread_mutex_unlock(&part->lock);
    for (int32_t i = 0; i < answer->count; i++) {
        const struct append_answer_batch *batch = &answer->batches[i];
        /* Nobody has its bytes any more to cut them anew. */
        int rc = batch->rc == -EAGAIN ? -EINVAL : batch->rc;

        forward = forwarder_answer(&part->forward.forwarder, answer->head.number, batch->sequence,
                                   meaning_of(batch, alone), rc);
        if (forward == NULL) {
            continue;
        }
        if (forward->rc == 0) {
            struct append_op *op = CONTAINER_OF(forward, struct append_op, forward);

            op->result = (struct log_append_result){batch->base, batch->end};
            op->leader_epoch = answer->head.leader_epoch;
        }
        *last = forward;
        last = &forward->next;
    }
    look(part);
    pthread_mutex_unlock(&part->forward.lock);
    finish(over);
}

void partition_forward_fail(struct partition *part, int rc)
{
    struct forward *over;

    pthread_mutex_lock(&part->forward.lock);
    over = forwarder_fail(&part->forward.forwarder, rc);
    look(part);
    pthread_mutex_unlock(&part->forward.lock);
    finish(over);
}

/* Taken back: nobody is told. */
static void drop(struct append_op *op)
{
    atomic_fetch_sub(&op->part->manager->parked_bytes, op->batch.len);
    atomic_fetch_sub(&op->part->manager->appends_parked, 1);
    atomic_store(&op->state, APPEND_OVER);
    free(op->copy);
    op->copy = NULL;
}

bool partition_forward_cancel(struct append_op *op)
{
    struct partition *part = op->part;
    bool taken;

    pthread_mutex_lock(&part->forward.lock);
    taken = atomic_load(&op->state) == APPEND_FORWARDED && forwarder_cancel(&part->forward.forwarder, &op->forward);
    pthread_mutex_unlock(&part->forward.lock);
    if (taken) {
        drop(op);
    }
    return taken;
}

bool partition_forward_forget(struct append_op *op)
{
    struct partition *part = op->part;
    bool taken;

    pthread_mutex_lock(&part->forward.lock);
    taken = atomic_load(&op->state) == APPEND_FORWARDED && forwarder_forget(&part->forward.forwarder, &op->forward);
    pthread_mutex_unlock(&part->forward.lock);
    if (taken) {
        drop(op);
    }
    return taken;
}

bool partition_forward_is_sent(const struct append_op *op)
{
    bool sent;

    pthread_mutex_lock(&op->part->forward.lock);
    sent = op->forward.state == FORWARD_SENT || op->forward.in_doubt;
    pthread_mutex_unlock(&op->part->forward.lock);
    return sent;
}

/* ---- coming in ---- */

/* It has its copy. Under the forward lock. */
static void enter(struct partition *part, struct append_op *op)
{
    atomic_fetch_add(&part->manager->parked_bytes, op->batch.len);
    atomic_fetch_add(&part->manager->appends_parked, 1);
    op->forward =
        (struct forward){.records = op->batch.records, .bytes = op->batch.len, .deadline_ms = op->deadline_ms};
    atomic_store(&op->state, APPEND_FORWARDED);
    atomic_store(&part->forward.busy, true);
}

static int refuse(struct partition *part, const struct append_op *op, struct err *e)
{
    if (atomic_load(&part->topic->deleted)) {
        return err_set(e, -ESTALE, "topic %s was deleted", part->topic->name);
    }
    if (atomic_load_explicit(&part->settings.framing, memory_order_relaxed) != (int)op->batch.framing) {
        return err_set(e, -EAGAIN, "%s has another framing by now", part->name);
    }
    if (part->forward.forwarder.failing) {
        return err_set(e, -EROFS, "%s has no leader that can be reached", part->name);
    }
    if (atomic_load(&part->manager->parked_bytes) + op->batch.len > LIMIT_PARKED_BYTES) {
        return err_set(e, -EROFS, "too many bytes wait for %s", part->name);
    }
    return 0;
}

/* Under the forward lock. As partition_forward(). */
static int forward_locked(struct append_op *op, bool away, struct err *e)
{
    struct partition *part = op->part;
    struct append_op *own = op;
    int rc;

    if (!away && partition_leads(part) && forwarder_idle(&part->forward.forwarder) &&
        !atomic_load(&part->forward.handing_over)) {
        return 1;
    }
    rc = refuse(part, op, e);
    if (rc != 0) {
        return rc;
    }
    /* While few wait nobody waits for them; more of them wait for the leader, so that they do not pile up. */
    if (op->acks == ACKS_NONE && part->forward.forwarder.count < LIMIT_FORWARD_BATCHES) {
        own = partition_late_detach(op);
        if (own == NULL) {
            return err_sys(e, -ENOMEM, "%s", part->name);
        }
    }
    enter(part, own);
    forwarder_add(&part->forward.forwarder, &own->forward);
    look(part);
    return own == op ? 0 : 2;
}

static int forward(struct append_op *op, bool away, struct err *e)
{
    struct partition *part = op->part;
    struct append_batch copied, borrowed = op->batch;
    bool had_copy = op->copy != NULL;
    int rc = had_copy ? 0 : partition_copy_batch(op, &copied);

    if (rc < 0) {
        return err_sys(e, rc, "%s", part->name);
    }
    if (!had_copy) {
        op->batch = copied;
        op->deadline_ms = partition_deadline_of(op);
    }
    partition_ref(part); /* with the lock goes the op, and perhaps the last reference */
    pthread_mutex_lock(&part->forward.lock);
    rc = forward_locked(op, away, e);
    pthread_mutex_unlock(&part->forward.lock);
    if (rc != 0 && !had_copy) {
        free(op->copy);
        op->copy = NULL;
        op->batch = borrowed;
    }
    partition_unref(part);
    return rc;
}

int partition_forward(struct append_op *op, struct err *e)
{
    return forward(op, false, e);
}

int partition_forward_away(struct append_op *op, struct err *e)
{
    return forward(op, true, e);
}

/* ---- appended here ---- */

int partition_append_own(struct append_op *op, struct err *e)
{
    struct partition *part = op->part;
    struct append_batch *batch = &op->batch;
    int64_t producer_id = -1;
    int rc;

    if (op->in_epoch) {
        rc = partition_append_in_epoch(part, batch, op->only_epoch, &op->result, e);
        op->leader_epoch = op->only_epoch;
        return rc == -ESTALE && !atomic_load(&part->topic->deleted) ? -EREMOTE : rc;
    }
    if (batch->producer_id < 0 && atomic_load_explicit(&part->replicated, memory_order_relaxed)) {
        producer_id = manager_producer_id(part->manager);
    }
    if (producer_id < 0) { /* another node's with its number, or one that cannot be sent on */
        return partition_append_leading(part, batch, &op->leader_epoch, &op->result, e);
    }
    pthread_mutex_lock(&part->forward.lock);
    op->leader_epoch = partition_begun_epoch(part);
    if (op->leader_epoch < 0 || !forwarder_idle(&part->forward.forwarder)) {
        pthread_mutex_unlock(&part->forward.lock);
        return err_set(e, -ESTALE, "%s: some are on their way to another leader, or its epoch ends", part->name);
    }
    batch->producer_id = producer_id;
    batch->producer_epoch = 0;
    batch->sequence = forwarder_take_sequence(&part->forward.forwarder, batch->records);
    batch->gap = BATCH_GAP_ALL;
    atomic_fetch_add(&part->forward.under_way, 1);
    rc = partition_append_in_epoch(part, batch, op->leader_epoch, &op->result, e);
    pthread_mutex_unlock(&part->forward.lock);
    op->numbered = rc == 0;
    if (rc != 0) {
        batch->producer_id = -1;
        batch->sequence = -1;
        partition_forward_settled(part);
    }
    return rc;
}

void partition_forward_settled(struct partition *part)
{
    if (atomic_fetch_sub(&part->forward.under_way, 1) == 1 &&
        (!partition_leads(part) || atomic_load(&part->forward.busy))) {
        partition_forward_look(part);
    }
}

/* ---- the end of a leadership ---- */

/* The bytes of an append that is in this node's log, offline or not, as they lie there. false: they cannot be read. */
static bool read_back(struct append_op *op)
{
    struct partition *part = op->part;
    struct io *io = part->manager->io;
    int64_t position = op->result.base.position, end = op->result.end.position;
    struct log_extent extent;
    size_t len = 0;
    char *copy = malloc(op->batch.len);

    while (copy != NULL && len < op->batch.len &&
           log_extent_left_at(part->log, position, end, op->batch.len - len, &extent, NULL) == 1) {
        int rc = extent.position == position ? io_pread_all(io, extent.fd, copy + len, extent.len, extent.place) : -EIO;

        log_extent_release(&extent);
        if (rc != 0) {
            break;
        }
        len += extent.len;
        position += (int64_t)extent.len;
    }
    if (len != op->batch.len || crc32c(0, copy, len) != op->batch.crc) {
        free(copy);
        return false;
    }
    op->copy = copy;
    op->iov = (struct iovec){.iov_base = copy, .iov_len = len};
    op->batch.iov = &op->iov;
    op->batch.iovcnt = 1;
    op->batch.marks = NULL;
    op->batch.mark_count = 0;
    return true;
}

bool partition_forward_numbered(struct append_op *op)
{
    struct partition *part = op->part;

    if (op->batch.producer_id < 0 || op->from_peer || (op->copy == NULL && !read_back(op))) {
        return false;
    }
    if (op->deadline_ms == 0) {
        op->deadline_ms = partition_deadline_of(op);
    }
    pthread_mutex_lock(&part->forward.lock);
    enter(part, op);
    forwarder_add_numbered(&part->forward.forwarder, &op->forward, op->batch.sequence);
    pthread_mutex_unlock(&part->forward.lock);
    return true;
}

void partition_send_on(struct partition *part, struct append_op *held)
{
    struct append_op *next;

    for (struct append_op *op = held; op != NULL; op = next) {
        next = op->next;
        op->next = NULL;
        if (op->from_peer) {
            partition_finish(op, -EREMOTE);
            continue;
        }
        pthread_mutex_lock(&part->forward.lock);
        enter(part, op);
        forwarder_add(&part->forward.forwarder, &op->forward);
        pthread_mutex_unlock(&part->forward.lock);
    }
    partition_forward_look(part);
}

void partition_hand_over(struct partition *part, struct append_op *committing, struct append_op *held)
{
    struct append_op *next;

    for (struct append_op *op = committing; op != NULL; op = next) {
        next = op->next;
        op->next = NULL;
        if (op->acked || !partition_forward_numbered(op)) {
            partition_finish(op, partition_doubt(op));
        }
    }
    partition_send_on(part, held);
    atomic_store(&part->forward.handing_over, false);
    partition_forward_look(part);
}

/* ---- start ---- */

void partition_forward_init(struct partition *part)
{
    pthread_mutex_init(&part->forward.lock, NULL);
    forwarder_init(&part->forward.forwarder);
    /* No number of an earlier process: a leader may answer that one's requests when this one is up. */
    part->forward.forwarder.next_request = manager_number(part->manager);
    partition_alarm_init(&part->forward.alarm, part, &part->forward.lock, on_alarm);
}
