/* replication/replica/partition_read.c: what is in a partition, from this node's own replica.
 *
 * Where the replica is elsewhere, or behind what was shown here, the leader is asked (remote.h).
 *
 * The happy path: is it usable? → its high watermark → the log's own look-up, below that. All of it on the caller's
 * thread, which waits for the disk at most. A build with LOGMNT_LATE_REPLICA answers everything later instead, as if it
 * came from another node (late_replica.h). */
#include "replication/replica/partition_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/late_replica.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"

bool partition_is_elsewhere(const struct partition *part, const struct partition_registration *registration)
{
    return !part->topic->own && registration->replicas.count > 0 &&
           !replica_set_has(&registration->replicas, part->manager->id);
}

static int64_t lower(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t higher(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- this node's replica ---- */

/* As partition_read_here(); 0: another node is to be asked. */
static int find_epoch_end(struct read_op *op)
{
    op->high_watermark = partition_own_high_watermark(op->part);
    int rc = partition_epoch_end(op->part, (int32_t)op->at, &op->leader_epoch, &op->point.offset);
    op->found = rc > 0;
    return rc;
}

int partition_read_here(struct read_op *op)
{
    struct partition *part = op->part;
    if (op->kind == FIND_EPOCH_END)
        return find_epoch_end(op);
    int rc = partition_reach(part, NULL);
    if (rc != 0)
        return rc;
    struct log *log = part->log;
    struct log_point from, hw; /* REPLICATION.md, rule 6: nothing at or above hw */
    partition_own_range(part, &from, &hw);
    op->high_watermark = hw;
    op->leader_epoch = log_epoch_before(log, hw.offset); /* first: what is replaced meanwhile is of a later one */
    switch (op->kind) {
    case READ_BYTES:
        rc = log_extent_at(log, higher(op->at, from.position), lower(op->limit, hw.position), op->max, &op->extent,
                           NULL);
        break;
    case READ_RUN:
        rc = log_run_at(log, higher(op->at, from.position), lower(op->limit, hw.position), &op->run, NULL);
        op->log_start = partition_shown_start(part);
        break;
    case FIND_OFFSET:
        rc = log_lookup_offset(log, higher(op->at, from.offset), hw, &op->point, NULL);
        op->log_start = partition_shown_start(part);
        break;
    case FIND_TIME:
        rc = log_lookup_time(log, op->at, hw, &op->point, NULL);
        break;
    case FIND_LAST:
        rc = log_lookup_last(log, op->at, hw, &op->point, NULL);
        break;
    case FIND_POSITION:
        rc = log_lookup_position(log, higher(op->at, from.position), hw, &op->point, NULL);
        op->log_start = partition_shown_start(part);
        break;
    case FIND_END:
        op->point = hw;
        break;
    case READ_STATUS:
    case FIND_EPOCH_END:
        break;
    }
    if (op->kind >= FIND_OFFSET && op->kind <= FIND_END && op->point.offset < from.offset)
        op->point = from;
    op->found = rc > 0;
    return rc < 0 ? rc : 1;
}

/* ---- those that wait ---- */

void partition_read_queue(struct read_op *op)
{
    struct partition *part = op->part;
    pthread_mutex_lock(&part->lock);
    op->queued = true;
    op->next = NULL;
    op->prev = part->remote.reads.last;
    if (op->prev != NULL)
        op->prev->next = op;
    else
        part->remote.reads.first = op;
    part->remote.reads.last = op;
    pthread_mutex_unlock(&part->lock);
}

void partition_read_take_out(struct read_op *op)
{
    struct partition *part = op->part;
    if (op->prev != NULL)
        op->prev->next = op->next;
    else
        part->remote.reads.first = op->next;
    if (op->next != NULL)
        op->next->prev = op->prev;
    else
        part->remote.reads.last = op->prev;
    op->queued = false;
}

bool partition_read_cancel(struct read_op *op)
{
    struct partition *part = op->part;
    if (part == NULL)
        return false;
    pthread_mutex_lock(&part->lock);
    bool queued = op->queued;
    if (queued)
        partition_read_take_out(op);
    pthread_mutex_unlock(&part->lock);
    return queued;
}

/* ---- an op ---- */

/* Whether more was shown than this replica knows to be committed, and the answer may lie there. */
static bool is_behind(const struct read_op *op)
{
    int64_t own = op->high_watermark.position;
    if (atomic_load_explicit(&op->part->shown.position, memory_order_acquire) <= own)
        return false;
    return op->kind > READ_RUN || (!op->found && op->limit > own);
}

int partition_read_submit(struct read_op *op)
{
    if (op->kind == FIND_EPOCH_END) {
        int rc = find_epoch_end(op);
        return rc != 0 ? rc : remote_submit(op);
    }
    if (atomic_load_explicit(&op->part->replica, memory_order_acquire) == REPLICA_ELSEWHERE)
        return remote_submit(op);
    if (op->of_leader && partition_role(op->part) == ROLE_FOLLOWER)
        return remote_submit(op);
#ifdef LOGMNT_LATE_REPLICA
    return late_replica_submit(op);
#endif
    int rc = partition_read_here(op);
    op->lost = rc == -EIO && partition_role(op->part) == ROLE_FOLLOWER; /* others have it */
    return op->lost || (rc > 0 && is_behind(op)) ? remote_submit(op) : rc;
}

bool partition_is_known(struct partition *part)
{
    return atomic_load_explicit(&part->replica, memory_order_acquire) != REPLICA_ELSEWHERE || remote_is_known(part);
}

int64_t partition_read_shown(const struct read_op *op)
{
    int64_t shown = atomic_load_explicit(&op->part->shown.position, memory_order_acquire);
    return shown > op->high_watermark.position ? shown : op->high_watermark.position;
}

int partition_read_copy(const struct read_op *op, void *out)
{
    struct err e;
    if (op->extent.fd < 0) {
        memcpy(out, op->bytes, op->extent.len);
        return 0;
    }
    if (log_extent_read(&op->extent, out, &e) == 0)
        return 0;
    log_line(LOG_ERR, "%s", e.text);
    return -EIO;
}

/* ---- bytes in memory ---- */

struct read_block *read_block_new(size_t len)
{
    struct read_block *block = malloc(sizeof *block + len);
    if (block != NULL) {
        atomic_init(&block->refs, 1);
        block->frame = NULL;
    }
    return block;
}

void read_block_unref(struct read_block *block)
{
    if (atomic_fetch_sub(&block->refs, 1) != 1)
        return;
    frame_free(block->frame);
    free(block);
}

void partition_read_release(struct read_op *op)
{
    if (op->extent.fd >= 0)
        log_extent_release(&op->extent);
    else if (op->block != NULL)
        read_block_unref(op->block);
    op->block = NULL;
    op->bytes = NULL;
}
