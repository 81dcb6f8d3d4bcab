/* replication/replica/late_replica.c: the op joins the partition's list, and a work of the prompt pool takes the first
 * one there, asks the replica of this node and copies what it gives. One that was cancelled meanwhile is not in the
 * list any more: its work finds another, or none. */
#include "replication/replica/late_replica.h"

#ifdef LOGMNT_LATE_REPLICA

#include <errno.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "replication/replica/partition_internal.h"

/* A prime: pieces end within lines, pages and batches. */
enum { PIECE_BYTES = 65537 };

struct late_read {
    struct work work;
    struct partition *part; /* referenced */
};

static struct read_op *take_first(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    struct read_op *op = part->remote.reads.first;
    if (op != NULL)
        partition_read_take_out(op);
    pthread_mutex_unlock(&part->lock);
    return op;
}

/* The bytes, out of the file. */
static int fetch(struct read_op *op)
{
    struct read_block *block = read_block_new(op->extent.len);
    int rc = block != NULL ? partition_read_copy(op, block->bytes) : -ENOMEM;
    partition_read_release(op);
    if (rc != 0) {
        free(block);
        return rc;
    }
    op->extent.fd = -1;
    op->block = block;
    op->bytes = block->bytes;
    return 0;
}

static void answer(struct work *work)
{
    struct late_read *late = CONTAINER_OF(work, struct late_read, work);
    struct read_op *op = take_first(late->part);
    if (op != NULL) {
        if (op->max > PIECE_BYTES)
            op->max = PIECE_BYTES;
        int rc = partition_read_here(op);
        if (rc > 0 && op->kind == READ_BYTES && op->found)
            rc = fetch(op);
        op->done(op, rc < 0 ? rc : 0);
    }
    partition_unref(late->part);
    free(late);
}

int late_replica_submit(struct read_op *op)
{
    struct late_read *late = calloc(1, sizeof *late);
    if (late == NULL)
        return -ENOMEM;
    struct executor *executor = op->part->manager->executor;
    late->part = partition_ref(op->part);
    late->work.run = answer;
    partition_read_queue(op);
    executor_prompt(executor, &late->work);
    return 0;
}

#endif
