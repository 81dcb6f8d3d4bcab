#include "fs/produce/write_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "engine/base/err.h"
#include "fs/produce/producer.h"
#include "fs/produce/rest.h"
#include "fs/produce/sync.h"

enum write_part_state { PART_NEW, PART_PENDING, PART_APPENDED, PART_FAILED };

struct write_op *write_op_new(struct handle *handle, int parts)
{
    struct write_op *op = malloc(sizeof *op); /* as handle_new() */
    if (op == NULL)
        return NULL;
    *op = (struct write_op){.handle = handle, .max = parts};
    op->parts = parts == 1 ? &op->one : calloc((size_t)parts, sizeof *op->parts);
    if (op->parts == NULL) {
        free(op);
        return NULL;
    }
    return op;
}

void write_op_reset(struct write_op *op)
{
    op->count = 0;
    op->len = 0;
    op->to_disk = false;
    atomic_store_explicit(&op->rc, 0, memory_order_relaxed);
    atomic_store_explicit(&op->appended, false, memory_order_relaxed);
}

void write_op_free(struct write_op *op)
{
    for (int i = 0; i < op->count; i++)
        free(op->parts[i].owned);
    if (op->parts != &op->one)
        free(op->parts);
    free(op);
}

struct write_part *write_op_add(struct write_op *op)
{
    struct write_part *part = &op->parts[op->count++];
    memset(part, 0, sizeof *part);
    part->op = op;
    return part;
}

static void part_settled(struct write_part *part, int rc)
{
    struct write_op *op = part->op;
    if (rc == 0) {
        atomic_store_explicit(&part->state, PART_APPENDED, memory_order_release);
        atomic_store_explicit(&op->appended, true, memory_order_release);
        sync_appended(op->handle, partition_index(part->pfile->part), part->append.result.end.offset,
                      part->append.leader_epoch);
        return;
    }
    if (rc == -ETIMEDOUT)
        atomic_store(&op->appended, true); /* it may be there */
    atomic_store(&part->state, PART_FAILED);
    int none = 0;
    atomic_compare_exchange_strong(&op->rc, &none, rc);
}

/* What a write that reached only some of its partitions answers: it may or may not be there. */
static int result(struct write_op *op)
{
    int rc = atomic_load(&op->rc);
    return rc != 0 && atomic_load(&op->appended) ? -ETIMEDOUT : rc;
}

static void op_free(struct park *park)
{
    struct write_op *op = CONTAINER_OF(park, struct write_op, park);
    struct handle *handle = op->handle;
    write_op_free(op);
    handle_unref(handle);
}

/* All parts of a parked op are settled. */
static void finish(struct write_op *op)
{
    int rc = result(op);
    if (rc == 0)
        rest_set_staged(op->handle, op->tail_len, &op->tail_scan);
    producer_give_turn(op->handle);
    park_answer(&op->park);
    if (rc != 0)
        fuse_reply_err(op->park.req, -rc);
    else if (op->to_disk)
        sync_write(op->park.req, op->handle, op->len);
    else
        fuse_reply_write(op->park.req, op->len);
    park_unref(&op->park);
}

static void part_done(struct append_op *append, int rc)
{
    struct write_part *part = CONTAINER_OF(append, struct write_part, append);
    struct write_op *op = part->op;
    part_settled(part, rc);
    if (atomic_fetch_sub(&op->pending, 1) == 1)
        finish(op);
}

/* Something of it is in the log, answered or not. */
static bool is_in_log(struct write_op *op)
{
    bool in_log = atomic_load(&op->appended);
    for (int i = 0; i < op->count && !in_log; i++) {
        struct write_part *part = &op->parts[i];
        in_log = atomic_load(&part->state) == PART_PENDING && partition_append_is_in_log(&part->append);
    }
    return in_log;
}

/* A signal: takes back what is still held. true: everything was, so nothing is in the log and nobody else answers.
 * Once a part is in the log a program that tries again after EINTR would write it twice: only the dying need no answer.
 */
static bool op_cancel(struct park *park)
{
    struct write_op *op = CONTAINER_OF(park, struct write_op, park);
    bool dying = atomic_load(&park->dying);
    if (!dying && is_in_log(op))
        return false;
    int taken = 0;
    for (int i = 0; i < op->count; i++) {
        struct write_part *part = &op->parts[i];
        if (atomic_load(&part->state) != PART_PENDING)
            continue;
        if (partition_append_cancel(&part->append)) {
            part_settled(part, -EINTR);
            taken++;
        } else if (dying && partition_append_forget(&part->append)) {
            part_settled(part, -ETIMEDOUT);
            taken++;
        }
    }
    if (taken == 0 || atomic_fetch_sub(&op->pending, taken) != taken)
        return false;
    if (!atomic_load(&op->appended))
        return true;
    finish(op); /* another part went into the log meanwhile: that is no EINTR, after which a program tries again */
    return false;
}

static void op_aborted(struct park *park, int rc)
{
    producer_give_turn(CONTAINER_OF(park, struct write_op, park)->handle);
    fuse_reply_err(park->req, -rc);
}

static int park(struct write_op *op, fuse_req_t req)
{
    rest_stage(op->handle, op->tail, op->tail_len); /* the request's buffer is gone when we return */
    handle_ref(op->handle);
    op->park.cancel = op_cancel;
    op->park.aborted = op_aborted;
    op->park.free = op_free;
    park_begin(&op->park, op->handle->session, req);
    if (atomic_fetch_sub(&op->pending, 1) == 1)
        finish(op);
    park_settle(&op->park);
    return 0;
}

int write_op_go(struct write_op *op, fuse_req_t req)
{
    const struct options *options = op->handle->session->options;
    atomic_store_explicit(&op->pending, op->count + 1, memory_order_relaxed);
    for (int i = 0; i < op->count; i++) {
        struct write_part *part = &op->parts[i];
        part->append.part = part->pfile->part;
        part->append.batch.iov = part->iov;
        part->append.acks = options->acks;
        part->append.timeout_ms = options->delivery_timeout_ms;
        part->append.done = part_done;
        part->append.told = op->handle->vnode->key.kind == VNODE_PARTITION;
        atomic_store_explicit(&part->state, PART_PENDING, memory_order_relaxed);
        int rc = partition_append_submit(&part->append, NULL);
        if (rc != 0) {
            part_settled(part, rc < 0 ? rc : 0);
            atomic_fetch_sub(&op->pending, 1);
        }
    }
    if (atomic_load(&op->pending) > 1)
        return park(op, req);
    int rc = result(op);
    return rc != 0 ? rc : 1;
}
