/* replication/base/reserve.h: a piece of the disk that is kept for what makes room.
 *
 * Deleting needs room itself: a checkpoint, a metadata record, the files of a new active segment, the epochs of a log
 * that is cut or begins anew; and a full node must learn what was decided. So DATA/reserve holds some bytes for
 * nothing. When a deletion finds the disk full the file is emptied, appends are refused (-ENOSPC) for the moment, a
 * leader's records, too, lest they take what is free now, and the deletion is tried once more:
 *
 *     rc = work();
 *     if (reserve_begin(reserve, rc)) {
 *         rc = work();
 *         reserve_end(reserve);
 *     }
 *
 * Filling it again is tried at reserve_end(), appends still held off, after deletions and with each look of the
 * retention; what could be had is kept. That it cannot be filled harms nobody; the node goes on without. Any
 * thread. */
#ifndef LOGMNT_REPLICATION_BASE_RESERVE_H
#define LOGMNT_REPLICATION_BASE_RESERVE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/io.h"

struct reserve {
    struct io *io;
    int dirfd;     /* DATA */
    int64_t bytes; /* 0: there is none */
    pthread_mutex_t lock;
    bool filled, empty; /* the file: whole; of no use */
    bool given;         /* given up, for the users there are now */
    _Atomic int users;  /* between reserve_begin() and reserve_end() */
};

/* Makes or fills the file if it is not whole. */
void reserve_open(struct reserve *reserve, struct io *io, int dirfd, int64_t bytes);
void reserve_close(struct reserve *reserve);

/* rc is what the work returned. true: the disk was full, and now there is some room. */
bool reserve_begin(struct reserve *reserve, int rc);
void reserve_end(struct reserve *reserve);
/* Fills it if it was used up and there is room now. Appends go on: whose disk has room must not be told that it is
 * full. */
void reserve_refill(struct reserve *reserve);

/* Whether appends are to be refused: one load. */
static inline bool reserve_in_use(const struct reserve *reserve)
{
    return atomic_load_explicit(&reserve->users, memory_order_relaxed) > 0;
}

#endif
