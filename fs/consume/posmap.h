/* fs/consume/posmap.h: what the positions of one open file mean, once a read has skipped a hole.
 *
 * A program's position moves by the bytes it got, so behind a hole that a read skipped it lags behind the partition's
 * position. A map keeps, for what this open file has read, runs of file position → partition position; it is empty as
 * long as no hole was met. It keeps the last POSMAP_RUNS runs, and all of the last READ until the next one has begun:
 * that may go back to each of its bytes, whatever holes lie between them. Pure; the caller's lock. */
#ifndef LOGMNT_FS_CONSUME_POSMAP_H
#define LOGMNT_FS_CONSUME_POSMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POSMAP_RUNS = 1024 };

struct posmap_run {
    int64_t file_pos;
    int64_t log_pos;
    int64_t len;
    uint64_t stamp; /* when it was last added to: the oldest goes first */
};

struct posmap {
    struct posmap_run *runs; /* ordered by file_pos, not overlapping; NULL while there was no hole */
    uint32_t count, capacity;
    uint64_t clock;
};

/* The partition position that file_pos means: inside a run or right at a run's end it is the run's, anywhere else
 * file_pos itself. *known: it is a run's (so a read that falls into a hole jumps); otherwise the file was not read
 * here. If two runs touch (one ends where another starts) the one that starts there wins. */
int64_t posmap_translate(const struct posmap *map, int64_t file_pos, bool *known);

/* A read begins, whose position was translated: of the runs there are the last POSMAP_RUNS are kept. */
void posmap_begin(struct posmap *map);
/* len bytes were read at file_pos from log_pos. Extends the run that ends there if it is continuous in both, replaces
 * what it overlaps (newest wins). An identity run (file_pos == log_pos) is recorded
 * only if it overlaps or continues a run. 0 or -ENOMEM. */
int posmap_add(struct posmap *map, int64_t file_pos, int64_t log_pos, int64_t len);
void posmap_free(struct posmap *map);

#endif
