/* replication/replica/partition_delete.c: DeleteRecords and retention.
 *
 * DeleteRecords is an op that the deleter does (replication/node/deleter.h), with those of other partitions: the new
 * log start is in its checkpoint, on the disk, before anything is hidden or deleted: a call that fails has changed
 * nothing. On a full disk both fall back on the reserve. */
#include "replication/replica/partition.h"

#include <errno.h>

#include "replication/node/node_internal.h"
#include "replication/node/topic.h"
#include "replication/replica/partition_internal.h"

void partition_watch(struct partition *part, struct partition_watch *watch)
{
    pthread_mutex_lock(&part->watch_lock);
    part->watch = watch;
    pthread_mutex_unlock(&part->watch_lock);
}

void partition_holes_made(struct partition *part)
{
    pthread_mutex_lock(&part->watch_lock);
    if (part->watch != NULL)
        part->watch->holes_made(part->watch);
    pthread_mutex_unlock(&part->watch_lock);
}

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
        partition_holes_made(part);
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

/* ---- the deleter's round ---- */

void partition_delete_begin(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    part->delete_ops = part->deletes;
    part->deletes = NULL;
    pthread_mutex_unlock(&part->lock);
    part->delete_point = (struct log_point){0, 0};
    for (struct delete_records_op *op = part->delete_ops; op != NULL; op = op->next)
        if (op->point.offset > part->delete_point.offset)
            part->delete_point = op->point;
    part->delete_rc = part->delete_ops == NULL ? 0 : partition_usable(part, &part->delete_ops->e);
    if (part->delete_rc == 0)
        promise(part, part->delete_point);
}

int partition_delete_promised(struct partition *part, int checkpoint_rc, const struct err *e)
{
    struct delete_records_op *op = part->delete_ops; /* has the reason, for all */
    if (op == NULL || (part->delete_rc != 0 && !err_is_full_disk(part->delete_rc)))
        return 0;
    part->delete_rc = checkpoint_rc;
    if (checkpoint_rc != 0)
        err_set(&op->e, checkpoint_rc, "%s", e->text);
    else
        part->delete_rc = log_delete_records(part->log, part->delete_point, &op->e);
    return part->delete_rc;
}

void partition_delete_settle(struct partition *part)
{
    promise(part, (struct log_point){0, 0});
    /* An active segment that is wholly deleted goes when the disk has room for the next one: now, or with a later look
     * of the retention. */
    if (part->delete_ops != NULL && part->delete_rc == 0) {
        partition_holes_made(part);
        (void)partition_retain(part, NULL);
        partition_segments_changed(part);
    }
}

void partition_delete_end(struct partition *part)
{
    struct delete_records_op *ops = part->delete_ops;
    int rc = part->delete_rc;
    struct err e = ops != NULL ? ops->e : (struct err){0};
    part->delete_ops = NULL;
    partition_check_failed(part);
    pthread_mutex_lock(&part->lock);
    part->deleting = part->deletes != NULL;
    bool more = part->deleting;
    pthread_mutex_unlock(&part->lock);
    if (more)
        deleter_request(&part->node->deleter, part);
    while (ops != NULL) {
        struct delete_records_op *op = ops;
        ops = op->next;
        op->e = e;
        op->done(op, rc);
    }
    partition_unref(part);
}

/* ---- the op ---- */

int partition_delete_records(struct partition *part, struct delete_records_op *op)
{
    struct log_point hw = partition_high_watermark(part);
    int rc = partition_reach(part, &op->e);
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
    if (first)
        deleter_request(&part->node->deleter, part);
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
