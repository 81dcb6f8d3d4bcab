/* replication/replica/partition_delete.c: DeleteRecords and retention.
 *
 * DeleteRecords: the new log start is in its checkpoint, on the disk, before anything is hidden or deleted: a call that
 * fails has changed nothing. On a full disk both fall back on the reserve. */
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

/* The delete lock is held. */
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
    pthread_mutex_lock(&part->delete_lock);
    int rc = delete_promised(part, point, e);
    bool full = reserve_begin(reserve, rc);
    if (full)
        rc = delete_promised(part, point, e);
    if (rc != 0) /* somebody else may have written what was promised */
        (void)checkpoints_write(part->node, CHECKPOINT_LOG_START, NULL);
    pthread_mutex_unlock(&part->delete_lock);
    /* An active segment that is wholly deleted goes when the disk has room for the next one: now, or with a later look
     * of the retention. */
    if (rc == 0)
        (void)partition_retain(part, NULL);
    if (full)
        reserve_end(reserve);
    return rc;
}

int partition_delete_records(struct partition *part, int64_t position, struct err *e)
{
    struct log_point hw = partition_high_watermark(part), point = hw;
    int rc = partition_usable(part, e);
    if (rc == 0 && part->topic->internal)
        rc = err_set(e, -EPERM, "%s is the node's own", part->name);
    if (rc == 0 && position < hw.position)
        rc = log_lookup_position(part->log, position, hw, &point, e);
    if (rc == 0)
        rc = delete_to(part, point, e);
    partition_check_failed(part);
    return rc;
}
