/* fs/produce/write_op.h: the batches of one write(2) on their way to their partitions, and its answer.
 *
 *   write_op_new() → write_op_add() … → write_op_go() ──→ all appended at once: write_op_go() returns the result
 *                                         └─ some parked: so is the request, answered when all are settled
 *
 * A signal that comes while nothing was appended takes everything back: EINTR. What is in the log, of one partition or
 * of some of `.any`, is waited for all the same; only the death of the process ends that: what is not in the log is
 * taken back then, and what is in it stays. */
#ifndef LOGMNT_FS_PRODUCE_WRITE_OP_H
#define LOGMNT_FS_PRODUCE_WRITE_OP_H

#include "fs/tree/handle.h"

/* One batch of it: append.batch. */
struct write_part {
    struct append_op append;
    struct write_op *op;
    struct pfile *pfile;
    struct iovec iov[2];
    void *owned;       /* freed with the part: gathered lines of `.any` */
    _Atomic int state; /* enum write_part_state */
};

struct write_op {
    struct park park;
    struct handle *handle; /* referenced while parked */
    size_t len;            /* what the write(2) returns */
    bool to_disk;          /* O_SYNC, O_DSYNC */
    const uint8_t *tail;   /* what becomes the rest when it has succeeded; it is in the open file while it parks */
    size_t tail_len;
    struct framing_state tail_scan;
    _Atomic int pending; /* parts under way, and one for write_op_go() */
    _Atomic int rc;
    _Atomic bool appended; /* a part is in the log */
    int count, max;
    struct write_part *parts;
    struct write_part one; /* parts points here for a partition's own file */
};

struct write_op *write_op_new(struct handle *handle, int parts); /* NULL: no memory */
void write_op_free(struct write_op *op);
/* Room for one more batch, zeroed; the caller fills pfile, append.batch and iov (the batch's iov is set to it by
 * write_op_go()). */
struct write_part *write_op_add(struct write_op *op);

/* Appends all parts. Returns 1: appended; a negative errno: it failed; 0: parked, and answered later (the rest is set
 * and the turn given back then): the op is no longer the caller's. */
int write_op_go(struct write_op *op, fuse_req_t req);
/* Makes one that is over, with one part, as new. */
void write_op_reset(struct write_op *op);

#endif
