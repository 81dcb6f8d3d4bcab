/* fs/produce/sync.h: fsync(2), O_SYNC and close(2): waiting until what an open file wrote is where it was promised to
 * be.
 *
 * First, with linger.ms, until nothing is on its way any more of what this open file had written when the call came
 * (what is written meanwhile is not waited for: a writer that never pauses holds up nobody's close); then, for fsync
 * and O_SYNC, until every partition it appended to is on the disk. Flushes of one partition share a group commit. Of
 * two that wait at once each is told of a failure of what it waited for.
 * A signal that the program handles does not end these waits (they are bounded); a fatal one does. */
#ifndef LOGMNT_FS_PRODUCE_SYNC_H
#define LOGMNT_FS_PRODUCE_SYNC_H

#include "fs/tree/handle.h"

/* Answers the request when it is done: with the error, or 0. */
void sync_fsync(fuse_req_t req, struct handle *handle);
/* close(2) of one descriptor with linger.ms: waits, reports what went wrong since it was last reported. */
void sync_close(fuse_req_t req, struct handle *handle);
/* FLUSH, before it is answered: looks wait for an unterminated rest; and unless something is on its way still, what was
 * written can be seen. */
void sync_closed(struct handle *handle);
/* RELEASE: the fence that a close has left up goes down as soon as nothing is on its way any more. */
void sync_released(struct handle *handle);
/* The last line is on its way, which sync_released() is to know, and no drain waits for; and is over. */
void sync_last_line_begun(struct handle *handle);
void sync_last_line_over(struct handle *handle);
/* O_SYNC, O_DSYNC: answers a write(2) of len bytes, which are appended, when they are on the disk. ETIMEDOUT: they may
 * not be, for whatever reason, or others that this open file had written before. */
void sync_write(fuse_req_t req, struct handle *handle, size_t len);

/* Waits until what lingers of an open file is over. */
struct sync_drain {
    void (*over)(struct sync_drain *drain); /* once, on the thread that settled the last of it; no lock held */
    bool tells;                             /* of rc; otherwise the next fsync or close of the open file does */
    int rc;                                 /* with `tells`: the first failure that nobody was told of; 0 or an errno */
    /* private, handle's lock */
    bool waits;       /* in the open file's list */
    uint64_t upto;    /* batches up to this number are waited for … */
    int batches_left; /* … and so many of them are not over */
    struct sync_drain *next;
};
/* Whether anything of it is on its way. */
bool sync_lingers(struct handle *handle);
/* Sends what lingers. false: nothing was on its way, and over() is not called; rc is set all the same. */
bool sync_drain(struct handle *handle, struct sync_drain *drain);
/* true: it still waited, and over() is not called any more; what it would have told is for the next one. */
bool sync_drain_cancel(struct handle *handle, struct sync_drain *drain);

/* A record of this open file ends at `end` in this partition, acknowledged in that leader epoch. */
void sync_appended(struct handle *handle, int32_t partition, int64_t end, int32_t leader_epoch);
/* A lingering batch has got its first record of this open file. Returns the batch's number among those of the file. */
uint64_t sync_batch_begun(struct handle *handle);
/* That batch is over. -ETIMEDOUT: what this open file had in it may be in the log, or a part of it. */
void sync_batch_done(struct handle *handle, uint64_t number, int rc);

#endif
