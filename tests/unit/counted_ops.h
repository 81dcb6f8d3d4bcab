/* tests/unit/counted_ops.h: ops of a partition that count how often they were called back, and with what. */
#ifndef LOGMNT_TESTS_UNIT_COUNTED_OPS_H
#define LOGMNT_TESTS_UNIT_COUNTED_OPS_H

#include "engine/base/container.h"
#include "replication/replica/partition.h"

struct flushed {
    struct flush_op op;
    int calls, rc;
};

static inline void on_flushed(struct flush_op *op, int rc)
{
    struct flushed *flushed = CONTAINER_OF(op, struct flushed, op);
    flushed->calls++;
    flushed->rc = rc;
}

struct deleted {
    struct delete_records_op op;
    int calls, rc;
};

static inline void on_deleted(struct delete_records_op *op, int rc)
{
    struct deleted *deleted = CONTAINER_OF(op, struct deleted, op);
    deleted->calls++;
    deleted->rc = rc;
}

#endif
