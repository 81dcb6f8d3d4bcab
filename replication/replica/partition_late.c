/* replication/replica/partition_late.c: appends with acks=0 that go to a leader elsewhere by themselves: their caller
 * was told at once that they are over, and only fsync(2) waits for them.
 *
 *     detached --- it leaves the forwarder, within its deadline ---> appended: where it ends, and in which epoch, is
 * kept
 *                                                               |
 *                                                               +---> not: told to the fsyncs that waited, or to the
 *                                                                     next one, once
 *
 * An fsync (partition_flush.c) waits first for those that came before it, and asks then for what is kept here beside
 * what it was told of itself: by each epoch, since what a leader has acknowledged with acks=0 may be lost with it. What
 * an fsync has asked for is forgotten.
 *
 * Under the forward lock. */
#include <errno.h>
#include <stdlib.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

struct detached {
    struct append_op op;
    uint64_t number;
};

/* ---- where they end ---- */

/* One was not appended, or what became of it is not known any more, and nobody waits for that. */
static void note_failure(struct partition_late *late, int rc)
{
    if (late->rc == 0) {
        late->rc = rc;
    }
}

static void note_end(struct partition_late *late, int64_t upto, int32_t leader_epoch)
{
    for (int i = 0; i < late->count; i++) {
        if (late->ends[i].leader_epoch == leader_epoch) {
            late->ends[i].upto = late->ends[i].upto < upto ? upto : late->ends[i].upto;
            return;
        }
    }
    if (late->count == LIMIT_LATE_EPOCHS) {
        note_failure(late, -EIO);
        late->count--;
    }
    late->ends[late->count++] = (struct late_end){.upto = upto, .leader_epoch = leader_epoch};
}

void partition_late_asked(struct flush_op *op)
{
    struct partition *part = op->part;
    struct partition_late *late = &part->late;

    pthread_mutex_lock(&part->forward.lock);
    for (int i = 0; i < late->count; i++) {
        if (late->ends[i].leader_epoch == op->leader_epoch && late->ends[i].upto <= op->upto) {
            late->ends[i] = late->ends[--late->count];
            break;
        }
    }
    pthread_mutex_unlock(&part->forward.lock);
}

/* ---- who waits ---- */

/* Nothing that it waits for is under way any more. */
static void let_go(struct partition_late *late, struct flush_op *op)
{
    op->late_count = late->count;
    for (int i = 0; i < late->count; i++) {
        op->late_ends[i] = late->ends[i];
    }
    if (op->late_rc == 0) {
        op->late_rc = late->rc;
        late->rc = 0;
    }
}

bool partition_late_wait(struct flush_op *op)
{
    struct partition *part = op->part;
    struct partition_late *late = &part->late;
    bool waits;

    op->late_rc = 0;
    op->late_count = 0;
    pthread_mutex_lock(&part->forward.lock);
    waits = late->under_way > 0;
    if (waits) {
        op->late_number = late->number;
        op->late_left = late->under_way;
        op->next = late->flushes;
        late->flushes = op;
    } else {
        let_go(late, op);
    }
    pthread_mutex_unlock(&part->forward.lock);
    return waits;
}

bool partition_late_give_up(struct flush_op *op)
{
    struct partition *part = op->part;
    struct flush_op **link = &part->late.flushes;
    bool waits;

    pthread_mutex_lock(&part->forward.lock);
    while (*link != NULL && *link != op) {
        link = &(*link)->next;
    }
    waits = *link != NULL;
    if (waits) {
        *link = op->next;
        if (op->late_rc < 0) {
            note_failure(&part->late, op->late_rc); /* for the next one that asks */
        }
        op->late_rc = -EINTR;
    }
    pthread_mutex_unlock(&part->forward.lock);
    return waits;
}

/* One is over. Returns the fsyncs that wait for no other, linked by next. */
static struct flush_op *tell(struct partition_late *late, uint64_t number, int rc)
{
    struct flush_op *ready = NULL, **link = &late->flushes;
    bool told = false;

    while (*link != NULL) {
        struct flush_op *op = *link;
        bool waits = number <= op->late_number;

        told = told || waits;
        if (waits && rc < 0 && op->late_rc == 0) {
            op->late_rc = rc;
        }
        if (waits && --op->late_left == 0) {
            *link = op->next;
            op->next = ready;
            ready = op;
        } else {
            link = &op->next;
        }
    }
    if (rc < 0 && !told) {
        note_failure(late, rc);
    }
    return ready;
}

static void on_done(struct append_op *op, int rc)
{
    struct detached *own = CONTAINER_OF(op, struct detached, op);
    struct partition *part = op->part;
    struct partition_late *late = &part->late;
    struct flush_op *ready;

    pthread_mutex_lock(&part->forward.lock);
    late->under_way--;
    if (rc == 0) {
        note_end(late, op->result.end.offset, op->leader_epoch);
    }
    ready = tell(late, own->number, rc);
    for (struct flush_op *flush = ready; flush != NULL; flush = flush->next) {
        let_go(late, flush);
    }
    pthread_mutex_unlock(&part->forward.lock);
    while (ready != NULL) {
        struct flush_op *next = ready->next;

        partition_flush_late_over(ready);
        ready = next;
    }
    free(own);
    partition_unref(part);
}

struct append_op *partition_late_detach(struct append_op *op)
{
    struct detached *detached = calloc(1, sizeof *detached);
    struct append_op *own = detached != NULL ? &detached->op : NULL;
    struct partition_late *late = &op->part->late;

    if (own == NULL) {
        return NULL;
    }
    detached->number = ++late->number;
    late->under_way++;
    own->part = partition_ref(op->part);
    own->batch = op->batch;
    own->acks = op->acks;
    own->begun_us = op->begun_us;
    own->detached = true;
    own->deadline_ms = op->deadline_ms;
    own->done = on_done;
    own->copy = op->copy;
    own->iov = op->iov;
    own->batch.iov = &own->iov;
    op->copy = NULL;
    return own;
}
