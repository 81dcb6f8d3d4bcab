/* engine/log/log.h: one partition's log on a disk.
 *
 * A log is a row of segments; the last one is active and takes appends. Three coordinates name a byte:
 *   offset    the number of its record, dense as appended, never reused while it is on disk
 *   position  its byte in the partition file, for ever; what retention removes leaves a hole
 *   place     its byte in one segment's `.log`
 *
 * Locks: the append lock orders appends, rolls, retention and settings and is held through disk writes; the state lock
 * guards the list of segments, the ends and the start, and is held for a few loads and stores. Every function here
 * takes what it needs: callers hold none of them. All of it may be called from any thread.
 *
 * After a failed write or fsync the log is offline: everything that touches its bytes returns -EIO, nothing is retried.
 * A write or an open for which there is no room, memory or descriptor (err_is_passing()) is no such failure: what was
 * half written is cut off again and the log goes on. */
#ifndef LOGMNT_ENGINE_LOG_LOG_H
#define LOGMNT_ENGINE_LOG_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/clock.h"
#include "engine/base/err.h"
#include "engine/base/histogram.h"
#include "engine/base/io.h"
#include "engine/log/producers.h"
#include "engine/record/batch.h"
#include "engine/record/framing.h"
#include "engine/record/log_point.h"
#include "engine/segment/segment_cache.h"
#include "engine/segment/segment_name.h"

struct log;

/* What all logs of one data directory share. Lives longer than they do. */
struct log_env {
    struct io *io;
    struct clock *clock;
    struct segment_cache *cache;  /* the LRU of open segment files */
    int topics_dirfd;             /* DATA/topics */
    _Atomic bool check_crcs;      /* check.crcs: batches are checked before they are first shown; see also log_config */
    struct histogram flush_times; /* of rounds of log_flush(): fdatasync of what there is of a log */
    /* Called once when a log goes offline or corruption is met, with the reason; must not call back. May be NULL. */
    void (*on_offline)(void *arg, const char *name, const char *reason);
    /* Called when more than LIMIT_UNFLUSHED_BYTES wait for a flush or a segment rolled: please call log_flush()
     * from a background thread. Under the append lock; must not call back. May be NULL. */
    void (*on_flush_wanted)(void *arg);
    void *arg;
};

enum { LOG_KEY_SEPARATOR_BYTES = 32 };
enum cleanup_policy { CLEANUP_DELETE = 1, CLEANUP_COMPACT = 2 };

/* A topic's settings as far as the log heeds them; Kafka's names and meanings. -1 where Kafka says unlimited. */
struct log_config {
    int64_t retention_ms;
    int64_t retention_bytes;
    int64_t segment_bytes;
    int64_t segment_ms;
    int64_t segment_index_bytes;
    int64_t index_interval_bytes;
    int64_t flush_messages; /* these two are kept here for the layer above, which flushes */
    int64_t flush_ms;
    int64_t delete_retention_ms;
    int64_t min_compaction_lag_ms;
    int64_t max_compaction_lag_ms;
    double min_cleanable_dirty_ratio;
    uint32_t cleanup_policy; /* bits of enum cleanup_policy */
    bool obeyed; /* what its records say is done: they are checked whatever check.crcs says. As it is opened */
    enum framing framing;
    uint32_t key_separator_len;
    char key_separator[LOG_KEY_SEPARATOR_BYTES];
};

/* What the checkpoints said of this log before it is opened. */
struct log_known {
    int64_t recovery_point; /* offset below which everything was flushed; 0 if unknown */
    struct log_point start; /* the log start (DeleteRecords); {0,0} if unknown */
    int64_t cleaner_offset; /* first offset that was never compacted; 0 if unknown */
    /* log_cuts() as it was before each of the three was asked for */
    uint32_t recovery_cuts, start_cuts, cleaner_cuts;
    bool clean_shutdown; /* the mark was there: nothing needs checking */
};

/* How one is opened or made: engine/recover/log_open.h. */

/* Flushes and closes. No call on the log may be under way. Returns the flush's error; the log is gone either way. */
int log_close(struct log *log, struct err *e);

/* Renames the directory to NAME.<n>-delete, so that the name is free at once; the log works on under it. Once; the
 * rename is durable when the caller has fsynced topics_dirfd. Any thread, calls may be under way. */
int log_retire(struct log *log, struct err *e);

/* Closes and removes the directory of a log that was log_retire()d, and all in it; one that was not is only closed:
 * -EINVAL. A directory that is gone already is no failure. No call on the log may be under way. Views that hold an open
 * file of it keep it readable. */
int log_destroy(struct log *log, struct err *e);

void log_set_config(struct log *log, const struct log_config *config);

/* ---- leading and following ---- */

/* The leader epoch is checked under the append lock by everything that makes a log longer or shorter: whoever was sent
 * on its way in an epoch that is over by then changes nothing. A log that was just opened is led by nobody. */

/* This replica leads in `epoch` from now on: log_append() takes this epoch only. That the epoch begins at the log's end
 * is on the disk when this returns, records or none (KIP-101); an epoch that began earlier is led on. -ESTALE: the log
 * knows of a later epoch, or it follows in this one. Passing errnos (err.h): nothing has changed; other errors of the
 * disk: offline, -EIO. */
int log_lead(struct log *log, int32_t epoch, struct err *e);

/* This replica follows in `epoch` from now on: appends of any epoch are refused, and none is under way when this has
 * returned. -ESTALE: it leads in this epoch, or leads or follows in a later one. */
int log_follow(struct log *log, int32_t epoch, struct err *e);

int32_t log_latest_epoch(struct log *log);   /* the last one that has begun in this log; -1: none */
int32_t log_earliest_epoch(struct log *log); /* the first one that is known: earlier ones lie before the log start */

/* Where an epoch ends (Kafka's OffsetsForLeaderEpoch, KIP-279): *end belongs to *found_epoch, the largest known epoch
 * at or below the asked one. Below all known ones it is the asked one, which ended where the first known one begins.
 * Above all of them, and in a log without epochs, *end is {-1, -1}. Takes the state lock. */
void log_epoch_end(struct log *log, int32_t epoch, int32_t *found_epoch, struct log_point *end);

/* The epoch of the record that ends at the offset, or is the last one in front of it; -1: not known. */
int32_t log_epoch_before(struct log *log, int64_t offset);

/* How many times the log was cut back (log_truncate(), log_reset()). Whoever notes a figure of the log in a file, for a
 * struct log_known or for log_clip(), asks for this first and notes it too. */
uint32_t log_cuts(struct log *log);
/* What is left of a point that was noted after `cuts` cuts. */
struct log_point log_clip(struct log *log, uint32_t cuts, struct log_point point);

/* ---- appending ---- */

struct log_append_result {
    struct log_point base; /* of the first record */
    struct log_point end;  /* behind the last */
};

/* A leader's: appends one batch at the log's end, all or nothing, and rolls first when a segment is full. On return the
 * bytes are in the page cache and visible to log_extent_at(). leader_epoch is stored in the entry.
 * A batch with a producer's id is judged by what the log has of it, under the append lock too: 1: a duplicate, nothing
 * was appended, *out is not set; -EILSEQ: it leaves out sequences that batch->gap does not cover; -EACCES: its producer
 * epoch is over. -ESTALE: leader_epoch is not the epoch that this replica leads in, and passing errnos
 * (err.h): nothing was appended. -EIO: offline; with out->end set the batch may be there after the next start. -EFBIG:
 * larger than a segment can hold. */
int log_append(struct log *log, const struct append_batch *batch, int32_t leader_epoch, struct log_append_result *out,
               struct err *e);

/* One batch of another replica's log. */
struct log_copy {
    struct log_point base;    /* of its first record */
    struct batch_entry entry; /* as the leader has it; offset, position and place in it are not looked at */
    const void *bytes;        /* entry.len of them */
};

/* A follower's: takes over batches with the offsets, positions, epochs and all else that they have, in order, behind
 * the log's end; gaps between them are a compacted leader's. Returns how many of the first ones it took, at least one:
 * as many as go into one segment and are of one epoch. These become visible together; the rest is for the next call.
 * That their epoch began is on the disk before they are written.
 * -EBADMSG: the first one not taken does not follow what is there, or its bytes do not match its CRC; -ESTALE: this
 * replica does not follow in leader_epoch; passing errnos (err.h). With each of these nothing has become visible. -EIO:
 * offline. */
int log_append_copy(struct log *log, int32_t leader_epoch, const struct log_copy *copies, uint32_t count,
                    struct log_append_result *out, struct err *e);

/* Moves the log's end to a later point, whoever leads or follows in leader_epoch: what lies between is a hole, and its
 * offsets and positions are never used, once the log has been flushed: where something in front of the hole is lost,
 * the hole is cut away with it. -EINVAL: the point lies before the end, or in one of the two; -ESTALE, -EIO as above;
 * passing errnos: the end may have moved already, but a power cut could take it back: to be called again. */
int log_skip(struct log *log, int32_t leader_epoch, struct log_point to, struct err *e);
/* As a follower, before what comes next: in the leader's log that epoch begins here, if no later one is known here. It
 * is on the disk when this returns. -EBADMSG: an epoch above leader_epoch; -ESTALE, -EIO, passing errnos as above. */
int log_copy_epoch(struct log *log, int32_t leader_epoch, int32_t epoch, struct err *e);

/* ---- producers ---- */

/* What a batch would be to the log now, and what is known of its producer: *out, unless PRODUCER_UNKNOWN. Takes the
 * append lock. For who was told of it by log_append(): between a cut and what finishes it nothing is known. */
enum producer_verdict log_producer(struct log *log, int64_t id, int16_t epoch, int32_t sequence,
                                   struct producer_state *out);

/* ---- cutting back; a follower's ---- */

/* Everything at or behind a point above or at the log start goes, for good: durable when this returns, after a crash
 * and for every reader that looks again. (Who has bytes of it in hand keeps them.) The caller says where; a batch that
 * holds the point goes as a whole. A point in a hole leaves the hole: the log then ends at the point. Behind the end
 * nothing happens, but that an epoch that began at the end is forgotten. The epochs behind the point go, recovery point
 * and cleaner offset come down, flushes that wait for what goes are told -EIO. -ESTALE: this replica does not follow in
 * leader_epoch; -EINVAL: the point lies before the log start, or the offset is not at that position; passing errnos:
 * nothing has changed, or the log ends there, and the names of what went could not be taken away yet, or what is left
 * of producers not be looked up: to be called again. Until then the log does not grow: what would append finishes it
 * first, or fails likewise. -EIO: offline. */
int log_truncate(struct log *log, int32_t leader_epoch, struct log_point to, struct err *e);

/* The log is emptied and begins anew at any point, without epochs (Kafka's truncateFullyAndStartAt: the leader begins
 * later, or a snapshot does). last_append_ms: what log_last_append_ms() is to say, as the leader does; -1: as before.
 * Durable; errors as above. A crash on the way leaves the new log, or the old one or some of it. */
int log_reset(struct log *log, int32_t leader_epoch, struct log_point to, int64_t last_append_ms, struct err *e);

/* ---- flushing ---- */

/* One waiter of a flush; embed it. */
struct log_flush {
    int64_t upto;                                  /* in: everything below this offset is to be on disk; not kept */
    void (*done)(struct log_flush *flush, int rc); /* called exactly once, on a flushing thread, no lock held */
    struct log_flush *next;
};

/* Group commit. Returns 1 if everything below flush->upto is on disk already (done is not called). Otherwise the
 * request is queued: if no flush is under way the calling thread does one fdatasync pair for all who are queued and
 * calls their done functions, its own among them, before this returns 0; if one is under way this returns 0 at once and
 * another thread will answer. done(0, -EIO): flushed, or the log is offline; done(-EMFILE, -ENFILE, -ENOMEM): what had
 * to be opened could not be, and nothing has changed. The caller keeps the log until this has returned. */
int log_flush(struct log *log, struct log_flush *flush);

/* Who comes while a round is under way is flushed by another one, and its thread is gone: `left` is called, on a
 * flushing thread with no lock held, when such requests wait and nobody flushes. It sees to it that some thread calls
 * log_flush_next() soon, which does one round. Without it (NULL, as at first) a flushing thread goes on until nobody
 * waits. Before the log has other users. */
void log_set_on_flush_left(struct log *log, void (*left)(void *arg), void *arg);
void log_flush_next(struct log *log);

/* As log_flush() of all that is there, waiting for it: 0, or what done() would be given. The thread leads one round at
 * most. Also from within a done(). */
int log_flush_all(struct log *log);

/* As log_flush_all(), and the sparse indexes: what must have succeeded before the clean-shutdown mark is written, which
 * lets the next start trust them. No other call on the log may be under way. log_close() does it too. */
int log_flush_files(struct log *log);

/* ---- where things are ---- */

struct log_point log_start(struct log *log);
struct log_point log_end(struct log *log);
int64_t log_recovery_point(struct log *log); /* the flushed offset */
uint64_t log_flushes(struct log *log);       /* fdatasync pairs (rounds) since it was opened */
int64_t log_cleaner_offset(struct log *log);

/* Gives back the blocks that the disk holds for large appends to come; the next one looks for them again. Waits for
 * appends under way. */
void log_trim(struct log *log);
/* The last batch's timestamp; with no batch left the active file's mtime, which is that of the last one that went. */
int64_t log_last_append_ms(struct log *log);
const char *log_name(struct log *log);
int log_offline(struct log *log); /* 0, or the negative errno it is offline with; -EBADMSG: damaged */
/* What it is at: each of the numbers is another one once something of that has ended. */
struct log_busy {
    bool writes, flushes;
    uint64_t written, flushed;
};
/* As at this moment. Waits for nothing; takes the state lock. */
void log_busy(struct log *log, struct log_busy *out);
bool log_is_damaged(struct log *log); /* wrong bytes were met in it, since it was opened or reset */

/* All of one moment. */
struct log_size {
    struct log_point start, end;
    int64_t retained_bytes; /* bytes a reader of the whole would get: less than lies between the two where holes are */
    int64_t disk_bytes;     /* of all files */
    uint32_t segments;
};
void log_size(struct log *log, struct log_size *out);

/* Lookups, each O(log n). limit is the high watermark: nothing at or behind it is found, and *out is then limit.
 * offset: the first surviving record with at least this offset.
 * time: the first record whose timestamp is at least ms. A record's timestamp is its batch's last_timestamp_ms.
 * last: the point that n surviving records lie behind, up to limit; the log start if there are fewer.
 * position: the first surviving record that ends behind this position. */
int log_lookup_offset(struct log *log, int64_t offset, struct log_point limit, struct log_point *out, struct err *e);
int log_lookup_time(struct log *log, int64_t ms, struct log_point limit, struct log_point *out, struct err *e);
int log_lookup_last(struct log *log, int64_t n, struct log_point limit, struct log_point *out, struct err *e);
int log_lookup_position(struct log *log, int64_t position, struct log_point limit, struct log_point *out,
                        struct err *e);

/* ---- reading ---- */

/* Bytes that lie one behind the other in one segment's `.log`. Holds the segment's files open until released. */
struct log_extent {
    struct segment *seg;
    struct log *log;
    int fd; /* of `.log`: pread or splice from it, at place */
    int64_t place;
    int64_t position; /* of the first byte; ≥ what was asked for when there is a hole */
    size_t len;
};

/* The first bytes at or behind position and before limit (a position), at most max of them. Their batches' CRCs have
 * been checked, since the start or now. Returns 1; 0: there are none; -EIO: offline, or bytes that do not match (which
 * is logged once); other negative errnos of the disk. */
int log_extent_at(struct log *log, int64_t position, int64_t limit, size_t max, struct log_extent *out, struct err *e);
/* The same, also of a log that is offline. */
int log_extent_left_at(struct log *log, int64_t position, int64_t limit, size_t max, struct log_extent *out,
                       struct err *e);
/* Its bytes, extent->len of them (which may have been made less). 0, -EIO: the file ends before them, or another errno.
 */
int log_extent_read(const struct log_extent *extent, void *out, struct err *e);
void log_extent_release(struct log_extent *extent);

/* The run of records that holds position, or the next one behind it (before limit). offset is that of its first
 * record. Returns 1, 0 or a negative errno. */
struct log_run {
    struct log_point base;
    uint32_t len;
    uint32_t records;
    int64_t timestamp_ms;     /* of its records */
    struct batch_entry entry; /* all of it: what log_append_copy() is given elsewhere */
};
int log_run_at(struct log *log, int64_t position, int64_t limit, struct log_run *out, struct err *e);
/* Bytes of a run that log_run_at() has found, from position on: as log_extent_at(), but also those in front of a log
 * start within the run. For replicas, which take whole runs. */
int log_run_extent_at(struct log *log, const struct log_run *run, int64_t position, struct log_extent *out,
                      struct err *e);

/* ---- retention, compaction, scrub: background threads; `limit` is the high watermark ---- */

/* DeleteRecords: nothing before point is shown any more, segments wholly before it are deleted at once. Not below the
 * present start (then nothing happens) nor above limit (-EINVAL). */
int log_delete_records(struct log *log, struct log_point point, struct err *e);

/* Segments before the log start, as log_retain(), and no others: what log_delete_records() found no room to do without.
 * For who follows. Returns likewise. */
int log_delete_rest(struct log *log, struct err *e);

/* retention.ms, retention.bytes (cleanup.policy delete), segments before the log start, and the roll of an active
 * segment that is past segment.ms or wholly expired. Returns the number of segments deleted or a negative errno. */
int log_retain(struct log *log, struct log_point limit, struct err *e);

/* One pass of compaction if cleanup.policy has compact and min.cleanable.dirty.ratio (or max.compaction.lag.ms) says
 * so. Returns 1 if it did something, 0 or a negative errno. *stop is polled. */
int log_compact(struct log *log, struct log_point limit, const _Atomic bool *stop, struct err *e);

/* Checks the CRCs of closed segments' next bytes, at most max_bytes; goes on where it left off and starts over at the
 * end. Returns the bytes read (0: nothing to scrub), -EBADMSG: corruption, reported through on_offline's log line. */
int64_t log_scrub(struct log *log, size_t max_bytes, struct err *e);

/* Rolls the active segment if it holds anything. */
int log_roll(struct log *log, struct err *e);

/* ---- the files as they are, for .segments ---- */

struct log_file {
    int64_t base_offset;
    enum segment_file kind;
    uint64_t generation; /* another one after compaction has rewritten it */
    int64_t size;        /* of an active one: what lies below the high watermark */
    int64_t mtime_ms;
    bool active;
};

/* The name of a segment's file ("00000000000000000000.log"). */
void log_file_name(int64_t base_offset, enum segment_file kind, char out[40]);

/* All files, ascending by base offset. *out is malloc-ed, the caller frees it. */
int log_files(struct log *log, struct log_point limit, struct log_file **out, size_t *count, struct err *e);

/* One file by its base offset and kind; -ENOENT. */
int log_file_find(struct log *log, int64_t base_offset, enum segment_file kind, struct log_point limit,
                  struct log_file *out, struct err *e);

/* Opens it for reading: a descriptor of the caller's, good after the file was deleted. -ENOENT: that generation is
 * gone. */
int log_file_open(struct log *log, const struct log_file *file, int *fd, struct err *e);

/* The segment of a `.log` of which something has not been checked since the start, and is to be before it is shown;
 * referenced, for the caller to give back with log_file_checked(), before the log is closed. NULL: all of it has been,
 * check.crcs is off, it is another file, or gone. */
struct segment *log_file_unchecked(struct log *log, const struct log_file *file);
/* Checks what has not been of the batches that hold bytes of its `.log`. -EIO: they do not match (reported as by any
 * read), or the log is offline; -ESTALE: it was deleted, and its files are closed; those of open. */
int log_file_check(struct segment *seg, int64_t place, size_t len, struct err *e);
void log_file_checked(struct segment *seg);

#endif
