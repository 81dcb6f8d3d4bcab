/* engine/segment/segment_allocate.c: blocks for what is going to be appended.
 *
 * Only `.log`, and only for large appends (LIMIT_ALLOCATE_LEAST_BYTES): the others are written faster without. What is
 * more than the file has bytes nobody sees; it goes when the segment is rolled or closed, with each look of the
 * retention, and after a crash at the next open. Failure: the write does without. */
#include "engine/segment/segment.h"

#include <errno.h>

#include "engine/base/limits.h"

enum { STAT_BLOCK_BYTES = 512 }; /* st_blocks counts in these */

void segment_allocate(struct segment *seg, size_t len)
{
    int64_t place = seg->log_bytes, end = place + (int64_t)len, ahead = place / 4;
    int rc;

    if (len < LIMIT_ALLOCATE_LEAST_BYTES || end <= (int64_t)seg->allocated) {
        return;
    }
    if (ahead > LIMIT_ALLOCATE_AHEAD_BYTES) {
        ahead = LIMIT_ALLOCATE_AHEAD_BYTES;
    }
    rc = seg->io->allocate(seg->io, seg->fd[SEGMENT_LOG], place, end + ahead - place);
    if (rc == -EOPNOTSUPP || rc == -EAGAIN) {
        return;
    }
    seg->allocated = (uint32_t)(end + ahead);
    if (rc < 0) {
        segment_trim(seg); /* what it got before the disk was full is others', and the other files' */
    }
}

void segment_note_allocated(struct segment *seg, const struct stat *st)
{
    int64_t room = (int64_t)st->st_blocks * STAT_BLOCK_BYTES;

    if (room - st->st_size >= LIMIT_ALLOCATE_LEAST_BYTES) {
        seg->allocated = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
    }
}

void segment_trim(struct segment *seg)
{
    if (seg->allocated <= seg->log_bytes) {
        return;
    }
    seg->allocated = 0;
    if (seg->io->ftruncate(seg->io, seg->fd[SEGMENT_LOG], seg->log_bytes) == 0) {
        (void)seg->io->set_mtime(seg->io, seg->fd[SEGMENT_LOG], seg->mtime_ms); /* that of the last append, as it was */
    }
}
