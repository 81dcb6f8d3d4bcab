/* engine/recover/recover.h: what a log's directory holds, made into its list of segments.
 *
 *   recover.c          the order of things, and where a log is cut
 *   recover_dir.c      the names in the directory; swaps and deletions that a crash interrupted
 *   recover_segment.c  one segment: what of it holds
 *   recover_flushed.c  what entries say of those before them: that they were on the disk
 *   recover_index.c    its two sparse indexes: taken over, mended or made anew
 *
 * All of it runs in log_open(), before anybody else knows the log. */
#ifndef LOGMNT_ENGINE_RECOVER_RECOVER_H
#define LOGMNT_ENGINE_RECOVER_RECOVER_H

#include <stdint.h>

#include "engine/log/log.h"
#include "engine/segment/segment.h"

/* For log_open() alone: finishes what a crash interrupted, loads every segment, checks and cuts above the recovery
 * point unless the shutdown was clean, and fills the log's list, start, end and recovery point. A directory without any
 * segment gets its first one, where the log was last cut back. *recovered: it was not a clean shutdown, so things were
 * checked. *agree: the entries that were looked at have the epochs that the log's map says.
 * -EBADMSG: corruption below the recovery point, the segments untouched. -ENOSPC and others of the disk. */
int recover_log(struct log *log, const struct log_known *known, bool *recovered, bool *agree, struct err *e);

/* ---- recover_dir.c ---- */

/* What makes a segment that takes the place of others: compaction, and a cut. */
enum recover_builder { RECOVER_COMPACTION, RECOVER_CUT, RECOVER_BUILDERS };

/* The files of one base offset: a bit (1 << enum segment_file) for each that is there. */
struct recover_files {
    int64_t base_offset;
    unsigned present;
    unsigned made[RECOVER_BUILDERS];     /* as `.cleaned`, as `.cutting` */
    unsigned complete[RECOVER_BUILDERS]; /* as `.swap`, as `.<n>.cut` */
    bool stale;                          /* a file of it is there as that of another cut */
    unsigned deleted;
    bool truncated;   /* a file of it is there as `.<n>.truncated` */
    bool bad_indexes; /* recover.c's: a trusted segment whose indexes must be made anew */
};

struct recover_dir {
    char complete_suffix[RECOVER_BUILDERS][SEGMENT_SUFFIX_BYTES]; /* `.swap`; `.<n>.cut` of the last cut */
    struct recover_files *files;                                  /* ascending; owned */
    uint32_t count;
    uint32_t max;
};

/* Lists the directory, completes or takes back what is under `.swap`, `.cleaned`, `.cutting`, `.cut`, `.truncated` and
 * `.deleted`, and leaves in dir what has files under their own names. recover_dir_free() also after an error. */
int recover_dir_read(struct log *log, struct recover_dir *dir, struct err *e);
void recover_dir_free(struct recover_dir *dir);
/* Unlinks all files of dir->files[first …] and fsyncs the directory. */
int recover_dir_drop(struct log *log, const struct recover_dir *dir, uint32_t first, struct err *e);

/* ---- recover_segment.c ---- */

struct recover_load {
    /* in */
    int64_t recovery_point;
    bool trusted;                     /* nothing above the recovery point is in it, or the shutdown was clean */
    bool last;                        /* of the directory */
    const struct epochs *epochs;      /* the log's */
    const struct log_point *expected; /* where it must begin; NULL: the first one, anywhere */
    /* out */
    struct segment *seg;         /* pinned, with one reference; NULL: it does not hold at all, reason says why */
    bool trim;                   /* its files are longer than what holds */
    bool epochs_agree;           /* its first and last entry have the epochs that the log's map says */
    char reason[ERR_TEXT_BYTES]; /* "" or why it ends where it does */
};

/* Opens one segment and finds out what of it holds. Nothing is written. -EBADMSG: something that must hold does not. */
int recover_segment(struct log *log, const struct recover_files *files, struct recover_load *load, struct err *e);
/* Cuts `.log` and `.batches` to what holds, and fsyncs them. */
int recover_segment_trim(struct segment *seg, struct err *e);

/* ---- recover_flushed.c ---- */

/* Reads all entries of a segment, whether they follow each other or not. *entries: so many of its first ones were on
 * the disk, and so was all in front of the segment; -1: none of them says anything. Errnos of the disk, -ENOMEM. */
int recover_flushed(struct log *log, const struct recover_files *files, int64_t *entries, struct err *e);

/* ---- recover_index.c ---- */

/* Of a trusted segment: a look at their ends, from which the running figures are taken. False in *whole: they are
 * missing or do not fit. Nothing is written. Pinned. */
int recover_index_look(struct segment *seg, bool *whole, struct err *e);
/* What recover_index_mend() will need: takes over what holds of both (nothing, with anew), and looks at the entries
 * that the rest will be made from. Nothing is written. Pinned. -EBADMSG: an entry is damaged. */
int recover_index_plan(struct segment *seg, bool anew, struct err *e);
/* After recover_index_plan(): makes both fit the entries. Pinned. A full disk leaves them short, which costs look-ups
 * time, and is no error. */
int recover_index_mend(struct segment *seg, const struct log_config *config, bool anew, struct err *e);

#endif
