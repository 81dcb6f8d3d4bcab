/* engine/segment/segment.h: one segment: four files of one base offset, open or closed.
 *
 * Its life is counted twice. References (segment_ref) keep the struct; the log's list holds one. Pins (segment_pin)
 * keep the four files open and mapped, and imply that the caller also has a reference or the append lock. A segment
 * without pins may be closed by the cache (segment_cache.h) at any time and is opened again by the next pin.
 *
 * A segment taken out of the list (retired) has its files renamed to `….deleted` and is never opened again: a pin that
 * would have to open it is -ESTALE, and the caller looks into the list anew. Who has it pinned reads on undisturbed.
 * When the last reference goes the files are unlinked.
 *
 * Dense: a segment without gaps, in which place == position - base.position and every offset exists up to its last
 * entry's end. */
#ifndef LOGMNT_ENGINE_SEGMENT_SEGMENT_H
#define LOGMNT_ENGINE_SEGMENT_SEGMENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/limits.h"
#include "engine/record/batch.h"
#include "engine/record/log_point.h"
#include "engine/segment/index.h"
#include "engine/segment/segment_env.h"
#include "engine/segment/segment_name.h"
#include "engine/segment/verify.h"

struct segment {
    /* constant once the segment is in the list */
    struct segment_env *env;
    struct io *io;
    struct log_point base; /* of its range; an entry's offset and position count from here */
    uint64_t generation;   /* 0 as first made; another one each time that the files are written anew */

    /* what its header says beside the base; written under the append lock and the state lock, read under either */
    bool gaps;       /* not dense; only an empty segment becomes so */
    bool ranged;     /* its end is in the header, and nothing is appended any more */
    bool producers;  /* some entry names a producer */
    bool header_due; /* but the header does not say so: a crash has lost that; append lock */

    /* how far it reaches: written under the append lock and the state lock, read under either */
    struct log_point end;          /* of its range: where the next segment begins */
    uint32_t batches;              /* entries in `.batches` */
    _Atomic uint32_t log_bytes;    /* bytes in `.log`; the cache looks at it without a lock */
    int64_t first_timestamp_ms;    /* of its first batch; INDEX_NO_TIMESTAMP: empty */
    int64_t last_timestamp_ms;     /* of its last batch, likewise */
    int64_t max_timestamp_ms;      /* of all its batches, likewise */
    uint32_t max_timestamp_offset; /* where the batch that has it starts, relative */
    uint32_t on_disk;              /* 1 + how many entries are, with all former segments; 0: not known; append lock, */
    int64_t on_disk_point;         /* as of this recovery point */
    uint32_t allocated;            /* bytes of `.log` that have blocks, if more than log_bytes; append lock */
    uint32_t index_place;          /* place of the last index point; append lock */
    int64_t timeindex_last_ms;     /* timestamp of the last time index entry; append lock */
    int64_t mtime_ms;              /* `.log`'s mtime when it was opened or made, or the last append */

    struct index index;
    struct index timeindex;
    struct verify verify;

    _Atomic uint32_t refs;
    _Atomic bool sealed;          /* never appended to again: mapped exactly */
    _Atomic bool retired;         /* out of the list */
    _Atomic bool shown;           /* somebody outside was given a descriptor of one of its files */
    _Atomic uint32_t flushed;     /* bytes of `.log` known to be on disk with their entries; grows, but for a cut */
    _Atomic bool indexes_flushed; /* its indexes are on disk */
    _Atomic bool index_reported;  /* a wrong entry of one was met and told */
    /* of each file's name: "", ".cleaned", ".swap", ".cutting", ".<n>.cut", ".<n>.deleted", ".<n>.truncated"; under
     * open_lock. Renames that a full disk breaks off leave them unlike. */
    char suffix[SEGMENT_FILES][SEGMENT_SUFFIX_BYTES];

    /* the files */
    _Atomic uint32_t pins; /* SEGMENT_CLOSED or the number of pins */
    pthread_mutex_t open_lock;
    int fd[SEGMENT_FILES];
    bool dir_held;              /* while they are open, dir_hold() */
    const uint8_t *batches_map; /* the whole file, from its header on; NULL: empty and sealed */
    size_t batches_map_bytes;

    struct segment *retired_next;     /* in log.retiring, then log.retired */
    const char *retire_ending;        /* of its names, when log.retiring has come to it */
    struct segment_buffers *building; /* segment_build.c's; NULL: it is not being built */

    /* in the cache's ring, under its lock */
    struct segment *ring_prev, *ring_next;
    _Atomic bool used; /* pinned since the cache's hand last passed */
};

#define SEGMENT_CLOSED UINT32_C(0x80000000)

/* What a reader may look at: a copy made under the state lock. */
struct segment_view {
    struct segment *seg;
    struct log_point base;
    struct log_point end;
    bool gaps;
    uint32_t batches;
    uint32_t log_bytes;
    uint32_t index_count;
    uint32_t timeindex_count;
    int64_t max_timestamp_ms;
};

/* ---- life ---- */

/* A struct for files that exist or are about to be made; closed, one reference, nothing in it. NULL: no memory. */
struct segment *segment_new(struct segment_env *env, struct log_point base);
void segment_ref(struct segment *seg);
bool segment_try_ref(struct segment *seg); /* false: the last reference has gone; for segment_cache.c */
/* The last one frees it and, if it is retired, unlinks its files (an error there is logged: the next open finishes). */
void segment_unref(struct segment *seg);

/* Makes the four files, the header in `.batches`, and leaves the segment open with one pin. Old files of these names
 * are emptied. durable: header and directory are fsynced too. On failure what was made is unlinked. Errors: passing
 * ones (err.h) and others of the disk. */
int segment_create(struct segment *seg, const char *suffix, bool durable, struct err *e);

/* When the last append was that came before this segment, which is empty: where nothing else of the log is left, the
 * file's time tells it after a restart. Nothing else depends on that, so a failure is none of the caller's. Pinned. */
void segment_set_mtime(struct segment *seg, int64_t mtime_ms);

/* Writes the header anew, as the struct has it; nothing is synced. end: of its range, if it is ranged. Pinned. */
int segment_write_header(struct segment *seg, struct log_point end, struct err *e);
/* After that has failed and the struct is what it was: puts back the header as it was, unless it still is. -EIO: it may
 * be damaged. */
int segment_restore_header(struct segment *seg);

/* What opening found beside whole entries. */
struct segment_found {
    bool has_header;
    struct batch_header header;
    uint32_t bytes_left[SEGMENT_FILES]; /* behind the last whole entry */
    uint64_t mtime_ns;                  /* of `.log` */
};

/* Opens files that were found in the directory, for recover.c: makes indexes that are missing, takes the figures from
 * the files' sizes, maps all of it and leaves one pin. sealed: it will not grow. -ENOENT: `.log` or `.batches` is
 * missing; -EBADMSG: one is too large to be a segment's. */
int segment_open_found(struct segment *seg, bool sealed, struct segment_found *found, struct err *e);

/* Renames to another suffix what of the four files does not have it yet. The directory is not fsynced: the caller's
 * care. The order is `.log`, `.index`, `.timeindex`, and `.batches` first or last. A failure leaves those behind it as
 * they were; called again, it goes on there. */
int segment_rename(struct segment *seg, const char *suffix, bool batches_first, struct err *e);

/* In place of a segment_rename() that a full disk has broken off: unlinks what does not have the suffix, `.batches`
 * first. What is unlinked counts as renamed: its old name may soon be another's. Returns 0 or the errno of unlink;
 * called again, it goes on there. */
int segment_unlink_instead(struct segment *seg, const char *suffix);

/* Marks it retired and renames its files to suffix, `.batches` first. One that is not there is no failure: somebody
 * else has removed what is to go. */
int segment_retire(struct segment *seg, const char *suffix, struct err *e);

/* A read-only descriptor of the caller's own for one of its files. Referenced. */
int segment_open_copy(struct segment *seg, enum segment_file kind, int *fd, struct err *e);

/* ---- files ---- */

/* Opens the files if they are closed and keeps them open. The usual case is one atomic add. Errors: -ESTALE (retired;
 * look again), those of open and mmap. No lock held but possibly the append lock. */
int segment_pin(struct segment *seg, struct err *e);
void segment_unpin(struct segment *seg);

/* fdatasync of `.log`, then `.batches`, if anything in them is not known to be on disk; of a sealed segment the indexes
 * too. Pinned. upto: segment.log_bytes when the caller looked. */
int segment_flush(struct segment *seg, uint32_t upto, struct err *e);

/* fdatasync of both indexes, if anything in them is not known to be on disk. Pinned; no append under way. */
int segment_flush_indexes(struct segment *seg, struct err *e);

bool segment_is_flushed(const struct segment *seg, uint32_t upto); /* segment_flush() would do nothing */

/* Nothing is appended any more: mapped exactly from the next opening on. */
void segment_seal(struct segment *seg);
/* Maps the files anew, as they are now: a compacted one may have outgrown what an active one maps. Pinned, by nobody
 * else. Errors: those of mmap; nothing is mapped then. */
int segment_remap(struct segment *seg, struct err *e);

/* The files' sizes by what is counted in them; under a lock that guards the figures. */
int64_t segment_file_bytes(const struct segment *seg, enum segment_file kind);
int64_t segment_disk_bytes(const struct segment *seg);

/* For segment.c and segment_cache.c, under open_lock, unpinned. */
int segment_open_files(struct segment *seg, struct err *e);
void segment_unlink_files(struct segment *seg); /* an error is logged */
bool segment_is_open(const struct segment *seg);
void segment_close_files(struct segment *seg);

/* ---- entries; the files are pinned ---- */

/* Entry i < view.batches. -EBADMSG: its own CRC does not hold. */
int segment_entry(const struct segment *seg, uint32_t i, struct batch_entry *out, struct err *e);

/* Binary search over entries [0, view->batches): *out is the number of entries that begin at or before the given
 * relative offset, position, or place; the one that may hold it is *out - 1, and 0 means that all begin behind it.
 * -EBADMSG as above. */
int segment_find_offset(const struct segment_view *view, uint64_t offset, uint32_t *out, struct err *e);
int segment_find_position(const struct segment_view *view, uint64_t position, uint32_t *out, struct err *e);
int segment_find_place(const struct segment_view *view, uint64_t place, uint32_t *out, struct err *e);

/* The first entry that ends behind the relative position: *i and *b; *i == view->batches: there is none. */
int segment_find_behind(const struct segment_view *view, uint64_t position, uint32_t *i, struct batch_entry *b,
                        struct err *e);

/* The sparse indexes have no CRC: whether an entry of one is about a batch as it is. A point: its offset and its place
 * lie in one batch, both at its start or neither. A time: a batch begins there, has it, and comes first with it. 1, 0;
 * -EBADMSG: an entry of `.batches` is damaged. */
int segment_point_holds(const struct segment_view *view, struct index_entry point, struct err *e);
int segment_time_holds(const struct segment_view *view, struct timeindex_entry time, struct err *e);
/* Tells, once a segment, that an index of it is wrong somewhere. Any thread. */
void segment_report_index(struct segment *seg, const char *which);

/* Checks entries [first, last) and their bytes: the CRC of each, read through io. -EBADMSG: one does not match, named
 * in e. Other errors: of the disk. */
int segment_check(const struct segment_view *view, uint32_t first, uint32_t last, struct err *e);

/* As segment_check(); on -EBADMSG *bad is the first entry that does not hold. */
int segment_check_each(const struct segment_view *view, uint32_t first, uint32_t last, uint32_t *bad, struct err *e);

/* As segment_check(), but only of those not checked yet, which are then marked. */
int segment_verify(const struct segment_view *view, uint32_t first, uint32_t last, struct err *e);

/* ---- cutting off the end; append lock, pinned ---- */

/* What counts in a segment, but for what is never taken back. */
struct segment_figures {
    struct log_point end;
    uint32_t batches, log_bytes;
    int64_t first_timestamp_ms, last_timestamp_ms, max_timestamp_ms;
    uint32_t max_timestamp_offset, index_place;
    int64_t timeindex_last_ms;
    uint32_t index_count, timeindex_count;
};

/* Nobody but the caller's list has a reference, and of none of its files was a descriptor given away. Under the state
 * lock it stays so until that is let go. */
bool segment_is_private(const struct segment *seg);
void segment_figures(const struct segment *seg, struct segment_figures *out);
/* Under the state lock. */
void segment_set_figures(struct segment *seg, const struct segment_figures *figures);
/* What they would be if its first `batches` entries were all there are. -EBADMSG: one is damaged. */
int segment_measure(const struct segment_view *view, uint32_t batches, struct segment_figures *out, struct err *e);
/* Cuts all four files to the figures, durably. */
int segment_cut_files(struct segment *seg, struct err *e);

/* ---- appending; append lock, pinned ---- */

/* Blocks for an append of so many bytes, and some for those behind it, if it is a large one. A hint to the disk, which
 * says with the write whether there is room. */
void segment_allocate(struct segment *seg, size_t len);
/* `.log` as it was found: a crash may have left some. */
void segment_note_allocated(struct segment *seg, const struct stat *st);
/* Gives back what there is behind the segment's end: nothing is appended to it for a while. That it cannot be is only
 * room that is not there for others. */
void segment_trim(struct segment *seg);

/* What one append adds to the figures. */
struct segment_growth {
    struct batch_entry entry;
    uint32_t index_entries;
    uint32_t timeindex_entries;
    uint32_t index_place;
    int64_t timeindex_last_ms;
    bool left; /* of one that failed: its entry may be there still, for the next open to find */
};

/* What an entry says that comes to be number `count` of the segment (batch_entry_encode_appended()). Append lock. */
uint32_t segment_unflushed(const struct segment *seg, uint32_t count);
/* Writes one batch behind what is there: bytes, then the entry, then the index entries where due. b's place is set
 * here; offset and position are the caller's, at or above the segment's end. Nobody sees it before segment_grow(). A
 * write error cuts the files back to what they were, durably if the entry had been written: passing ones (err.h) come
 * back as they are; any other error, or one in cutting, is -EIO, and growth->left says whether it may be there. */
int segment_append(struct segment *seg, struct batch_entry *b, const struct iovec *iov, int iovcnt,
                   const struct framing_mark *marks, uint32_t mark_count, int64_t index_interval_bytes,
                   struct segment_growth *growth, struct err *e);

/* The index entries that are due for a batch. */
struct segment_points {
    struct index_entry points[LIMIT_BATCH_MARKS + 1];
    struct timeindex_entry time;
};

/* Chooses them for the batch in growth, which says afterwards how many there are of each. Nothing is written. */
void segment_choose_points(const struct segment *seg, const struct framing_mark *marks, uint32_t mark_count,
                           int64_t index_interval_bytes, struct segment_growth *growth, struct segment_points *out);

/* Writes only the index entries that are due for a batch that is in the files already, into a growth whose entry is
 * that batch: for rebuilding. Counted by segment_grow_indexes(). Errors: those of pwritev. */
int segment_append_points(struct segment *seg, const struct framing_mark *marks, uint32_t mark_count,
                          int64_t index_interval_bytes, struct segment_growth *growth);
void segment_grow_indexes(struct segment *seg, const struct segment_growth *growth);

/* One of several batches that are appended together. */
struct segment_batch {
    struct batch_entry entry; /* place is set here; offset and position as of segment_append() */
    const void *bytes;
    const struct framing_mark *marks;
    uint32_t mark_count;
};

/* segment_append() of several, at most LIMIT_COPY_BATCHES. They are in the files then, and `ahead` has the figures that
 * the segment gets by segment_catch_up(). On an error none of them is there, as of segment_append(). */
int segment_append_run(struct segment *seg, struct segment_batch *batches, uint32_t count, int64_t index_interval_bytes,
                       struct segment *ahead, struct err *e);
/* Counts them. Under the state lock. */
void segment_catch_up(struct segment *seg, const struct segment *ahead);

/* After a failed append: cuts the files back to what is counted. rc: what failed; entered: an entry may be in
 * `.batches`. Returns the error that the append ends in. */
int segment_append_failed(struct segment *seg, int rc, bool entered, struct err *e);

/* Counts it. Under the state lock if the segment is in the list. */
void segment_grow(struct segment *seg, const struct segment_growth *growth);

/* Makes the last time index entry, so that the largest timestamp of a closed segment is in its file. Errors as of
 * segment_append(). */
int segment_finish_timeindex(struct segment *seg, struct err *e);

#endif
