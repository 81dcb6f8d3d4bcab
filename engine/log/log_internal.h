/* engine/log/log_internal.h: struct log, for engine/log and engine/recover alone.
 *
 * Locks, in the order they are taken: append_lock, then a segment's open_lock or the cache's lock, then state_lock or
 * dir's. The list of segments changes only with both append_lock and state_lock held: who has either may walk it.
 * Under the state lock nothing waits: no I/O, no pin. A reader takes references under the state lock and pins
 * afterwards. */
#ifndef LOGMNT_ENGINE_LOG_LOG_INTERNAL_H
#define LOGMNT_ENGINE_LOG_LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/base/dir.h"
#include "engine/base/limits.h"
#include "engine/log/epochs.h"
#include "engine/log/log.h"
#include "engine/segment/segment.h"
#include "engine/segment/segment_build.h"

enum log_flush_state { FLUSH_IDLE, FLUSH_RUNNING, FLUSH_LEFT };
enum log_role { LOG_IDLE, LOG_LEADS, LOG_FOLLOWS };

struct log {
    struct log_env *env;
    char name[256];
    struct segment_env segment_env;
    struct dir dir; /* DATA/topics/NAME; held by open segments and by calls that need it; log_retire() renames it */

    pthread_mutex_t append_lock;
    struct log_config config;   /* append lock */
    _Atomic int framing;        /* of config, for readers */
    bool obeyed;                /* as it was opened */
    enum log_role role;         /* append lock; in the epoch: */
    int32_t role_epoch;         /* append lock; -1: LOG_IDLE */
    struct producers producers; /* append lock, and: */
    int64_t producers_stored;   /* the offset as of which they were stored last; -1: none */
    bool producers_files;       /* there may be files of them */
    bool names_producers;       /* new segments say in their headers that they do */
    bool cut_due;               /* a cut is decided, and log_finish_cut() has not come to its end */
    bool flush_asked;           /* append lock: on_flush_wanted was called for what waits now */
    int64_t scrub_offset;       /* scrub.c's own: where it goes on; one scrubbing thread */
    bool names_wait;  /* append lock: a segment in the list has `.swap` names that a full disk would not change */
    uint32_t deleted; /* append lock: counts the names given to retired segments' files */
    struct segment *retiring; /* append lock: out of the list, in their order, and their files still have names */
    struct segment *retired;  /* append lock: of those the reference is still to be dropped, by log_unlock() */

    pthread_mutex_t state_lock;
    struct segment **segments; /* ascending; the last one is active; never empty while online */
    uint32_t segment_count;
    uint32_t segment_max;
    struct log_point start;
    struct log_point end;
    _Atomic int64_t recovery_point; /* these three are read without the lock, too */
    _Atomic int64_t cleaner_offset;
    _Atomic int64_t last_append_ms;
    int64_t closed_log_bytes;  /* of all segments but the active one */
    int64_t closed_disk_bytes; /* likewise */
    int64_t cut_bytes;         /* bytes in `.log` files that lie before start */
    struct epochs epochs;      /* as it is on the disk; changes with both locks held */

    /* flushing, log_flush.c: state lock */
    enum log_flush_state flush_state;
    bool flushing;                               /* RUNNING: a round is at the disk; else answers are given */
    int flush_leaders;                           /* RUNNING: threads at it */
    struct log_flush *flush_first, **flush_last; /* who waits for a round that has not begun, in order */
    uint32_t flush_threads;                      /* of them, threads in log_flush_all() */
    uint64_t flush_rounds;                       /* that have begun */
    uint64_t flush_segments;                     /* that rounds have come to */
    int64_t flush_floor;                         /* the lowest offset that the log was cut to in the round under way */
    pthread_cond_t flush_changed;                /* such a thread's answer is there, or the lead was left */
    void (*on_flush_left)(void *arg);
    void *on_flush_left_arg;
    bool directory_dirty; /* a new log: its directory is not yet fsynced, nor its name in DATA/topics */

    _Atomic int offline; /* 0 or -EIO, -EBADMSG: never back */
    _Atomic bool bad_reported;
};

/* A struct with its name and settings and nothing in its list; the directory is not touched. NULL: no memory. */
struct log *log_new(struct log_env *env, const char *name, const struct log_config *config);
void log_free(struct log *log);
/* Drops the list and waits until nobody else (the cache, closing one) holds a segment. */
void log_drop_segments(struct log *log);

/* The append lock. log_unlock() also drops the list's references on what was deleted meanwhile, after unlocking: to
 * unlink a large file takes its time. */
void log_lock(struct log *log);
void log_unlock(struct log *log);

/* What a failed change means: what is passing (err.h) comes back as it is, anything else takes the log offline with e's
 * reason and is -EIO. Not for syncs. Not under the state lock. */
int log_fail(struct log *log, int rc, struct err *e);

/* Takes the log offline, once, and tells on_offline. Any thread, any locks but state_lock. Returns -EIO. */
int log_go_offline(struct log *log, int rc, const char *reason);
/* 0 or -EIO with the reason "offline". */
int log_check_online(struct log *log, struct err *e);
/* Whether bytes are checked before they are first shown. */
bool log_checks(const struct log *log);
/* Checks what has not been of the batches that hold a piece of `.log` in a pinned segment. len > 0. */
int log_verify_places(const struct segment_view *view, uint64_t place, uint64_t len, struct err *e);
/* Wrong bytes were met while reading: reported through on_offline once a log; the log stays online, the bytes are not
 * shown. Returns -EIO. */
int log_report_corruption(struct log *log, struct err *e);

/* ---- log_epochs.c; append lock, or in log_open() ---- */

/* Stores `next` and makes it the log's. Takes it over, on failure too. With a cut (else NULL) the figures that it takes
 * back go with it, in one step for whoever asks for them and for log_cuts(); start: the new log start, else NULL.
 * Errors: as of log_fail(). */
int log_change_epochs(struct log *log, struct epochs *next, const struct log_point *start, const struct log_point *cut,
                      struct err *e);
/* fsync of a new log's directory and of its name in DATA/topics. -EIO; errnos of open: nothing was done. */
int log_flush_directory(struct log *log, struct err *e);
/* The same if that has not been done yet: for who promises that something is durable without a flush. Append lock;
 * takes the state lock. Errors: as of log_fail(). */
int log_settle_directory(struct log *log, struct err *e);
/* The log is cut back to an offset: what waits for more of it to be flushed will be told -EIO, and the round under way
 * covers no more. Under the state lock. */
void log_flush_cut(struct log *log, int64_t to);
/* What the checkpoints say, as far as cuts have left it. */
struct log_known log_clip_known(const struct log *log, const struct log_known *known);
/* After the segments were found: forgets epochs that begin behind the end, and makes all of them anew from the entries
 * if they did not agree. -EBADMSG: an entry is damaged. */
int log_check_epochs(struct log *log, bool agree, struct err *e);

/* ---- log_append.c; append lock ---- */

/* Before entries are appended: how much of the segment, which is pinned, is on the disk, for them to say so (batch.h).
 */
void log_note_flushed(struct log *log, struct segment *seg);

/* ---- log_producers.c; append lock, or in log_open() ---- */

/* Whether a leader's batch with a producer may be appended: 0, and room for its producer; else as log_append(). */
int log_admit(struct log *log, const struct append_batch *batch, struct err *e);
/* Stores what is known as of the log's end, if there is anything. What is passing (err.h) is no error; others: offline,
 * -EIO. */
int log_store_producers(struct log *log, struct err *e);
/* Those that have been silent for too long are forgotten. */
void log_expire_producers(struct log *log);
int64_t log_producers_now_ms(struct log *log);
/* Removes all files of them, durably: the log is to begin anew. What is known stays, and a start finds it in the
 * entries. The directory is held. Errors: those of list and unlink, and -EIO. */
int log_forget_producers(struct log *log, struct err *e);
/* Removes what was known at the beginning of a segment that goes. The directory is held. Errors: those of unlink. */
int log_drop_producers(struct log *log, int64_t base_offset);
/* Makes all of it anew, from files and entries, for the end that the log has now; files that lie behind it are gone
 * durably when this returns. -EBADMSG: an entry is damaged; errnos of the disk, and passing ones: it holds nothing that
 * counts. */
int log_load_producers(struct log *log, struct err *e);

/* ---- truncate.c ---- */

/* What a cut leaves to be done once it is decided: what went loses its names, what is left of producers is known again,
 * and all of it is durable. Before that the log does not grow: a start would find both, and nobody knew what is there
 * twice. Append lock. Passing errnos: to be called again; others: offline, -EIO. */
int log_finish_cut(struct log *log, struct err *e);

/* ---- the list ---- */

/* How far a segment reaches now; no reference is taken. Under the state lock or the append lock. */
void log_view(struct segment *seg, struct segment_view *out);

/* The segment whose range holds the position (offset), or the first one behind it; referenced and pinned. False in
 * *found: there is none. Retries over -ESTALE. The caller gives it back with log_put(). Takes the state lock. */
int log_get_by_position(struct log *log, int64_t position, struct segment_view *out, bool *found, struct err *e);
/* The same, also of a log that is offline. */
int log_get_left(struct log *log, int64_t position, struct segment_view *out, bool *found, struct err *e);
int log_get_by_offset(struct log *log, int64_t offset, struct segment_view *out, bool *found, struct err *e);
/* The first segment that ends behind from_offset and holds a batch at least as late as ms. */
int log_get_by_time(struct log *log, int64_t ms, int64_t from_offset, struct segment_view *out, bool *found,
                    struct err *e);
void log_put(struct segment_view *view); /* unpins and drops the reference */

/* Appends a segment to the list and makes it the active one. Append lock; takes the state lock. -ENOMEM. */
int log_list_push(struct log *log, struct segment *seg, struct err *e);
/* Counts the closed segments' bytes anew, after the figures of one have changed. Under the state lock, or in
 * log_open(). */
void log_list_sum(struct log *log);
/* What log_last_append_ms() is to say: the last batch's timestamp, or where there is none the time of the active file.
 * Likewise. */
int64_t log_list_last_append_ms(const struct log *log);
/* Room for one more, so that the next push cannot fail. Append lock. */
int log_list_reserve(struct log *log, struct err *e);

/* Takes segments [0, n) out, where n < segment_count (the active one stays), renames their files to `.deleted` and
 * fsyncs the directory; the log start moves to the new first segment's base if it was below. They are unlinked when
 * nobody reads them any more, log_unlock() at the earliest. Append lock; takes the state lock. A crash leaves the old
 * or the new state, or one with some of the first segments gone. Failure: offline, -EIO. */
int log_delete_front(struct log *log, uint32_t n, struct err *e);

/* Swaps segments [first, first + n), none of them active, for `by`, which segment_build_finish() gave and which covers
 * exactly their range. The list takes over the caller's reference on `by`, on failure too. `.swap` protocol: a crash
 * leaves the old or the new. Append lock; takes the state lock. Passing errnos (err.h): nothing has changed, or all but
 * the new files' last names, which then wait for log_finish_names(). Other failures: offline, -EIO. */
int log_replace(struct log *log, uint32_t first, uint32_t n, struct segment *by, struct err *e);

/* Marks segments that are out of the list retired, gives their files names of their own that end in `ending`,
 * `.deleted` (which for recover_dir.c means that they and all before them went) or `.truncated` (they and all behind
 * them, if it was not finished), hands their references to log_unlock(), and fsyncs the directory, which is held.
 * Append lock. Passing errnos: the rest keep their names until the next call, for 0 segments too, has succeeded: none
 * behind them may lose its own before, and no other be made in their place, since a start must not find a gap. Others:
 * the caller takes the log offline. */
int log_retire_segments(struct log *log, struct segment **segs, uint32_t n, const char *ending, struct err *e);
/* The first step of a swap: a segment that was built gets the suffix that says it is complete, `.swap` or `.cut`, and
 * the directory, which is held, is fsynced. Passing errors: all is as before, and the segment is given up; others:
 * offline, -EIO, given up. Append lock. */
int log_swap_prepare(struct log *log, struct segment *by, const char *suffix, struct err *e);
/* Takes that step back, durably, and gives the segment up. Errors: those of unlink and fsync. */
int log_swap_abandon(struct log *log, struct segment *by, const char *suffix);
/* The last step of a swap: their own names for segments that are in the list. Append lock, the directory is held. A
 * passing error puts it off, until log_finish_names(). */
int log_swap_finish(struct log *log, struct segment **segs, uint32_t n, struct err *e);

/* Gives compacted segments the names that a full disk refused, if there are any such. Append lock; nothing may be built
 * or swapped in before it has succeeded. Passing errnos: they still wait. Other failures: offline, -EIO. */
int log_finish_names(struct log *log, struct err *e);

/* Moves the log start up (never down), under the state lock, and counts what lies before it in its segment. Append
 * lock. Nothing is deleted. */
int log_set_start(struct log *log, struct log_point start, struct err *e);

/* Bytes in `.log` files that lie before a point at or above the first segment's base. Append lock. */
int log_bytes_before(struct log *log, struct log_point point, int64_t *out, struct err *e);

/* Compaction got as far as offset, unless the log was cut since there were so many cuts. Takes the state lock. */
bool log_set_cleaner_offset(struct log *log, int64_t offset, uint32_t cuts);

/* The header and the names of a log's first segment are not synced when it is made; all others' are. They have to be
 * before there is another one beside it: by that an open tells a header that a power cut has lost from a damaged one.
 * Append lock. log_sync_first(): it is pinned; -EIO. */
bool log_first_is_unsynced(const struct log *log);
int log_sync_first(struct log *log, struct err *e);

/* Seals the active segment, if it holds anything, and begins the next one. Append lock. Errors: as of log_fail();
 * unless -EIO nothing has changed. */
int log_roll_locked(struct log *log, struct err *e);

/* Whether the active segment has no room for a batch that begins at base, or is too old for it. Append lock. */
bool log_roll_due(const struct log *log, const struct log_point *base, uint32_t len, uint32_t records, int64_t now_ms);
/* Before a clean segment, which is pinned, is made dirty: it pays for its place among the open ones. Append lock. -EIO:
 * that was one of this log's own, and it went offline. */
int log_make_room(struct log *log, struct err *e);
/* Gives back blocks behind the ends of segments. Append lock, or nobody else is at the log. */
void log_trim_segments(struct log *log);
/* Asks for a flush once for each LIMIT_UNFLUSHED_BYTES; a flush arms it again. Append lock. */
void log_want_flush(struct log *log, const struct segment *seg);
/* A batch with a producer is to come: the active segment says in its header that it has some, or is empty yet. The
 * header of a segment with entries is never written again. Append lock. Errors: as of log_roll_locked(). */
int log_name_producers(struct log *log, struct err *e);
/* Sets flags in the header of an empty segment, which is written with the next flush at the latest. Append lock,
 * pinned; takes the state lock. Errors: those of pwritev; nothing has changed then. */
int log_mark_segment(struct log *log, struct segment *seg, bool gaps, bool producers, struct err *e);
/* log_skip() under the append lock, by whoever has checked that it may. */
int log_skip_locked(struct log *log, struct log_point to, struct err *e);

#endif
