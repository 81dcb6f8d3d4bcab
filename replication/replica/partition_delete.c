/* replication/replica/partition_delete.c: DeleteRecords and retention.
 *
 * DeleteRecords is an op that prompt work does: the new log start is in its checkpoint, on the disk, before anything is
 * hidden or deleted: a call that fails has changed nothing. On a full disk both fall back on the reserve. */
#include "replication/replica/partition.h"

#include <errno.h>

#include "replication/node/node_internal.h"
#include "replication/node/topic.h"
#include "replication/replica/partition_internal.h"

struct log_point partition_promised_start(struct partition *part)
{
    struct log_point start = log_start(part->log);
    pthread_mutex_lock(&part->lock);
    if (part->promised_start.offset > start.offset)
        start = part->promised_start;
    pthread_mutex_unlock(&part->lock);
    return start;
}

static void promise(struct partition *part, struct log_point point)
{
    pthread_mutex_lock(&part->lock);
    part->promised_start = point;
    pthread_mutex_unlock(&part->lock);
}

/* log_retain(), with what follows from it. */
static int retain(struct partition *part, struct err *e)
{
    struct node *node = part->node;
    uint64_t wanted = flusher_wanted(&node->flusher);
    int rc = log_retain(part->log, partition_high_watermark(part), e);
    if (flusher_wanted(&node->flusher) != wanted)
        flusher_request(&node->flusher, part);
    if (rc > 0) {
        atomic_fetch_add(&node->segments_deleted, (uint64_t)rc);
        partition_segments_changed(part);
        flusher_appended(&node->flusher);
    } else if (rc < 0) {
        partition_check_failed(part);
    }
    return rc;
}

int partition_retain(struct partition *part, struct err *e)
{
    struct reserve *reserve = &part->node->reserve;
    int rc = retain(part, e);
    if (reserve_begin(reserve, rc)) {
        rc = retain(part, e);
        reserve_end(reserve);
    } else if (rc > 0) {
        reserve_refill(reserve);
    }
    return rc < 0 ? rc : 0;
}

/* Under no lock; one at a time. */
static int delete_promised(struct partition *part, struct log_point point, struct err *e)
{
    promise(part, point);
    int rc = checkpoints_write(part->node, CHECKPOINT_LOG_START, e);
    if (rc == 0)
        rc = log_delete_records(part->log, point, e);
    promise(part, (struct log_point){0, 0});
    return rc;
}

static int delete_to(struct partition *part, struct log_point point, struct err *e)
{
    struct reserve *reserve = &part->node->reserve;
    int rc = delete_promised(part, point, e);
    bool full = reserve_begin(reserve, rc);
    if (full)
        rc = delete_promised(part, point, e);
    if (rc != 0) /* somebody else may have written what was promised */
        (void)checkpoints_write(part->node, CHECKPOINT_LOG_START, NULL);
    /* An active segment that is wholly deleted goes when the disk has room for the next one: now, or with a later look
     * of the retention. */
    if (rc == 0) {
        (void)partition_retain(part, NULL);
        partition_segments_changed(part);
    }
    if (full)
        reserve_end(reserve);
    return rc;
}

/* ---- the op ---- */

/* All that wait, as one: to the furthest point. Ops that come meanwhile are the next work's. */
static void on_delete(struct work *work)
{
    struct partition *part = CONTAINER_OF(work, struct partition, delete_work);
    struct log_point point = {0, 0};
    struct err e = {0};
    pthread_mutex_lock(&part->lock);
    struct delete_records_op *ops = part->deletes;
    part->deletes = NULL;
    pthread_mutex_unlock(&part->lock);
    for (struct delete_records_op *op = ops; op != NULL; op = op->next)
        if (op->point.offset > point.offset)
            point = op->point;
    int rc = ops == NULL ? 0 : partition_usable(part, &e);
    if (ops != NULL && rc == 0)
        rc = delete_to(part, point, &e);
    partition_check_failed(part);
    while (ops != NULL) {
        struct delete_records_op *op = ops;
        ops = op->next;
        op->e = e;
        op->done(op, rc);
    }
    pthread_mutex_lock(&part->lock);
    part->deleting = part->deletes != NULL;
    bool next = part->deleting;
    pthread_mutex_unlock(&part->lock);
    if (next)
        executor_prompt(part->node->executor, work);
    else
        partition_unref(part);
}

void partition_delete_init(struct partition *part)
{
    part->delete_work.run = on_delete;
}

int partition_delete_records(struct partition *part, struct delete_records_op *op)
{
    struct log_point hw = partition_high_watermark(part);
    int rc = partition_usable(part, &op->e);
    op->point = hw;
    if (rc == 0 && part->topic->internal)
        rc = err_set(&op->e, -EPERM, "%s is the node's own", part->name);
    if (rc == 0 && op->position < hw.position)
        rc = log_lookup_position(part->log, op->position, hw, &op->point, &op->e);
    if (rc != 0) {
        partition_check_failed(part);
        return rc;
    }
    pthread_mutex_lock(&part->lock);
    op->next = part->deletes;
    part->deletes = op;
    bool first = !part->deleting;
    part->deleting = true;
    pthread_mutex_unlock(&part->lock);
    if (first) {
        partition_ref(part);
        executor_prompt(part->node->executor, &part->delete_work);
    }
    return 0;
}

bool partition_delete_records_cancel(struct partition *part, struct delete_records_op *op)
{
    pthread_mutex_lock(&part->lock);
    struct delete_records_op **link = &part->deletes;
    while (*link != NULL && *link != op)
        link = &(*link)->next;
    bool taken = *link != NULL;
    if (taken)
        *link = op->next;
    pthread_mutex_unlock(&part->lock);
    return taken;
}
