/* replication/replica/partition_forwarded.c: the leader's side of a forwarder elsewhere: a request's batches become
 * appends (append_op) like any other, in their order, and each one's end goes back.
 *
 *     received --- this node leads in the epoch that it is for ---> each batch is submitted ---> all are over: answered
 *        |                                                                  |
 *        +--- it does not: all are -EREMOTE                                 +--- some wait: those that are over are
 *                                                                                answered, the others when they are
 *
 * Each batch is scanned here: that its bytes are what the sender counted and summed is not believed. The log says which
 * of them it has already (log_append()); such a one is answered when the high watermark has passed it.
 *
 * Failing: an answer that the link cannot take ends the link, so that the sender asks again. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "engine/base/limits.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/forward_message.h"

struct forwarded_batch {
    struct append_op op;
    struct forwarded *of;
    /* of's lock */
    bool over, answered;
    int rc;
};

struct forwarded {
    struct partition *part; /* referenced */
    int32_t from;
    struct account *account; /* where its memory counts, which is so much; NULL: nowhere, it is this node's own */
    size_t bytes;
    struct forward_head head;
    pthread_mutex_t lock; /* for a few loads and stores, and through an answer's being sent */
    int left;             /* not over */
    int users;            /* of those who are yet to come by: batches, whoever submits, the work */
    bool submitting;      /* whoever submits answers what is over by then */
    bool queued;          /* the work */
    struct work work;     /* answers what is over while others wait */
    int32_t count;
    struct forwarded_batch batches[];
};

/* ---- answering ---- */

/* What is over and was not answered: as many as came into the log in one epoch, which is told with them, since an
 * fsync(2) asks for what was acknowledged in it. false: that was all. Under the lock. */
static bool answer_some(struct forwarded *all)
{
    struct append_answer message = {.head = all->head};
    uint8_t header[LIMIT_FORWARD_MESSAGE_BYTES];
    int32_t epoch = -1;
    bool more = false;
    int rc;

    for (int32_t i = 0; i < all->count; i++) {
        struct forwarded_batch *batch = &all->batches[i];

        if (!batch->over || batch->answered) {
            continue;
        }
        if (batch->rc == 0 && epoch >= 0 && batch->op.leader_epoch != epoch) {
            more = true;
            continue;
        }
        epoch = batch->rc == 0 ? batch->op.leader_epoch : epoch;
        batch->answered = true;
        message.batches[message.count++] = (struct append_answer_batch){.sequence = batch->op.batch.sequence,
                                                                        .rc = batch->rc,
                                                                        .base = batch->op.result.base,
                                                                        .end = batch->op.result.end};
    }
    if (message.count == 0) {
        return false;
    }
    if (epoch >= 0) {
        message.head.leader_epoch = epoch;
    }
    rc = forwarding_send(all->part->manager, all->from, CHANNEL_CONTROL, MESSAGE_APPEND_ANSWER, header,
                         append_answer_encode(&message, header), NULL, 0);
    if (rc < 0 && rc != -ENOTCONN) {
        network_drop(all->part->manager->network, all->from);
    }
    /* Its writer goes on when its own replica shows what was written. */
    manager_tell_now(all->part->manager, all->from);
    return more;
}

/* Under the lock. */
static void answer(struct forwarded *all)
{
    while (answer_some(all)) {
    }
}

/* Gives the lock back, and a user with it. */
static void leave(struct forwarded *all)
{
    bool last = --all->users == 0;

    pthread_mutex_unlock(&all->lock);
    if (!last) {
        return;
    }
    if (all->account != NULL) {
        account_give(all->account, all->bytes);
    }
    partition_unref(all->part);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static void on_work(struct work *work)
{
    struct forwarded *all = CONTAINER_OF(work, struct forwarded, work);

    pthread_mutex_lock(&all->lock);
    all->queued = false;
    answer(all);
    leave(all);
}

/* Under the lock. */
static void over(struct forwarded_batch *batch, int rc)
{
    struct forwarded *all = batch->of;

    batch->over = true;
    batch->rc = rc;
    all->left--;
    if (all->submitting) {
        return;
    }
    if (all->left == 0) {
        answer(all); /* with those that were over in the same moment */
        return;
    }
    if (!all->queued) {
        all->queued = true;
        all->users++;
        executor_prompt(all->part->manager->executor, &all->work);
    }
}

static void on_done(struct append_op *op, int rc)
{
    struct forwarded_batch *batch = CONTAINER_OF(op, struct forwarded_batch, op);
    struct forwarded *all = batch->of;

    pthread_mutex_lock(&all->lock);
    over(batch, rc);
    leave(all);
}

/* ---- appending ---- */

/* The batch as a local append would have it. -EREMOTE: its bytes are not what was sent, and are to be sent again. */
static int scan(struct forwarded *all, const struct append_request_batch *from, const struct iovec *iov,
                struct framing_mark *marks, struct append_batch *batch)
{
    int rc = append_batch_scan(batch, from->framing, iov, from->first_timestamp_ms, LIMIT_FORWARD_MARK_BYTES, marks,
                               LIMIT_BATCH_MARKS);

    if (rc != 0 || batch->records != from->records || batch->crc != from->crc) {
        log_line(LOG_WARNING, "%s: records from node %d are not what it sent", all->part->name, (int)all->from);
        return -EREMOTE;
    }
    batch->last_timestamp_ms = from->last_timestamp_ms;
    batch->sequence = from->sequence;
    batch->producer_epoch = 0;
    batch->gap = from->gap;
    return 0;
}

/* 1: over; 0: it waits, on_done() follows; negative: over. */
static int submit(struct forwarded_batch *batch, const struct append_request *request,
                  const struct append_request_batch *from, const struct iovec *iov)
{
    struct framing_mark marks[LIMIT_BATCH_MARKS];
    struct append_op *op = &batch->op;
    int rc = scan(batch->of, from, iov, marks, &op->batch);

    if (rc < 0) {
        return rc;
    }
    op->batch.producer_id = request->producer_id;
    op->part = batch->of->part;
    op->acks = (enum acks)from->acks;
    op->timeout_ms = from->timeout_ms;
    op->from_peer = true;
    op->done = on_done;
    return partition_append_submit(op, NULL);
}

static bool may_append(struct partition *part, const struct append_request *request)
{
    return partition_leads(part) && request->head.leader_epoch == atomic_load(&part->leader_epoch);
}

/* Its own errno for the topic's end, so that the sender goes by what it knows of the topic itself. */
static int told(int rc)
{
    return rc == -ESTALE ? -EREMOTE : rc;
}

static void submit_all(struct forwarded *all, const struct append_request *request, const uint8_t *body)
{
    for (int32_t i = 0; i < request->count; i++) {
        const struct append_request_batch *from = &request->batches[i];
        struct forwarded_batch *batch = &all->batches[i];
        const struct iovec iov = {.iov_base = (void *)(uintptr_t)body, .iov_len = from->len};
        int rc = -EREMOTE;

        body += from->len;
        batch->op.batch.sequence = from->sequence;
        if (may_append(all->part, request)) {
            rc = submit(batch, request, from, &iov);
        }
        if (rc != 0) {
            pthread_mutex_lock(&all->lock);
            over(batch, rc < 0 ? told(rc) : 0);
            leave(all);
        }
    }
}

int partition_forwarded(struct partition *part, int32_t from, const struct append_request *request, const uint8_t *body)
{
    size_t bytes = sizeof(struct forwarded) + (size_t)request->count * sizeof(struct forwarded_batch);
    struct account *account = network_account(part->manager->network, from, ACCOUNT_APPENDS);
    struct forwarded *all;

    if (account != NULL && account_take(account, bytes) != ACCOUNT_TAKES) {
        return -EBUSY;
    }
    all = calloc(1, bytes);
    if (all == NULL) {
        if (account != NULL) {
            account_give(account, bytes);
        }
        return -ENOMEM;
    }
    all->account = account;
    all->bytes = bytes;
    all->part = partition_ref(part);
    all->from = from;
    all->head = request->head;
    all->count = request->count;
    all->left = request->count;
    all->users = request->count + 1;
    all->submitting = true;
    all->work.run = on_work;
    pthread_mutex_init(&all->lock, NULL);
    for (int32_t i = 0; i < request->count; i++) {
        all->batches[i].of = all;
    }
    submit_all(all, request, body);
    pthread_mutex_lock(&all->lock);
    all->submitting = false;
    answer(all);
    leave(all);
    return 0;
}
