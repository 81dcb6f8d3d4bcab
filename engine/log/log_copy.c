/* engine/log/log_copy.c: another replica's batches at the log's end, as they came.
 *
 * Happy path: append lock; each batch is held against the one before it and its bytes against its CRC, in the pass that
 * finds the marks of its index entries; a roll where one is due; the epoch's entry if it is the first of one; one write
 * each for bytes and entries; a few stores under the state lock. Positions are the leader's, so a segment that is to
 * hold a gap says so in its header; one that is not empty and does not is rolled, and a gap too wide for one segment's
 * relative numbers is a segment of its own, without entries, that has the end of its range.
 *
 * Failure: what a peer sent is checked and refused; a full disk leaves the log as it was, but for an empty segment that
 * may have been made and a gap that may have been taken over; any other write error takes it offline. */
#include "engine/log/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "engine/base/crc32c.h"
#include "engine/log/log_internal.h"

static struct segment *active_segment(const struct log *log)
{
    return log->segments[log->segment_count - 1];
}

/* ---- epochs ---- */

/* That an epoch begins there is on the disk before anything of it is. */
static int begin_epoch(struct log *log, int32_t epoch, struct log_point base, struct err *e)
{
    struct epochs next;

    if (epoch <= epochs_latest(&log->epochs)) {
        return 0;
    }
    if (epochs_copy(&log->epochs, &next) < 0) {
        return err_sys(e, -ENOMEM, "begin epoch %" PRId32, epoch);
    }
    epochs_truncate_start(&next, log->start);
    epochs_forget_cuts(&next, log->segments[0]->base.offset);
    if (epochs_assign(&next, epoch, base) < 0) {
        epochs_free(&next);
        return err_sys(e, -ENOMEM, "begin epoch %" PRId32, epoch);
    }
    return log_change_epochs(log, &next, NULL, NULL, e);
}

/* ---- holes ---- */

/* Whether a point may come behind another: in both coordinates, and of each record there is at least a byte. */
static bool is_behind(struct log_point point, struct log_point end)
{
    return point.offset > end.offset && point.position - end.position >= point.offset - end.offset;
}

static bool is_at(struct log_point point, struct log_point end)
{
    return point.offset == end.offset && point.position == end.position;
}

/* The empty active segment gets the end of its range. */
static int close_at(struct log *log, struct segment *seg, struct log_point to, struct err *e)
{
    bool gaps = seg->gaps;
    int rc;

    pthread_mutex_lock(&log->state_lock);
    seg->gaps = true;
    pthread_mutex_unlock(&log->state_lock);
    seg->ranged = true;
    rc = segment_write_header(seg, to, e);
    if (rc < 0) {
        seg->ranged = false;
        pthread_mutex_lock(&log->state_lock);
        seg->gaps = gaps;
        pthread_mutex_unlock(&log->state_lock);
        /* It may have been written by half. */
        return log_fail(log, segment_restore_header(seg) < 0 ? -EIO : rc, e);
    }
    rc = seg->io->fdatasync(seg->io, seg->fd[SEGMENT_BATCHES]);
    if (rc == 0) {
        rc = seg->io->fsync(seg->io, log->dir.fd); /* a log's first segment: its names */
    }
    if (rc < 0) {
        err_sys(e, rc, "flush segment %" PRId64, seg->base.offset);
        return log_go_offline(log, -EIO, e != NULL ? e->text : "flush a header");
    }
    segment_seal(seg);
    pthread_mutex_lock(&log->state_lock);
    seg->end = to;
    log->end = to;
    pthread_mutex_unlock(&log->state_lock);
    return 0;
}

int log_skip_locked(struct log *log, struct log_point to, struct err *e)
{
    struct segment *seg;
    int rc = log_roll_locked(log, e);

    if (rc < 0) {
        return rc;
    }
    seg = active_segment(log);
    assert(seg->batches == 0 && !atomic_load(&seg->sealed));
    rc = segment_pin(seg, e);
    if (rc < 0) {
        return log_fail(log, rc, e);
    }
    rc = close_at(log, seg, to, e);
    segment_unpin(seg);
    return rc == 0 ? log_settle_directory(log, e) : rc;
}

/* This replica leads or follows in that epoch. */
static int check_role(const struct log *log, int32_t leader_epoch, struct err *e)
{
    if (log->role == LOG_IDLE || log->role_epoch != leader_epoch) {
        return err_set(e, -ESTALE, "epoch %" PRId32 " is over", leader_epoch);
    }
    return 0;
}

int log_skip(struct log *log, int32_t leader_epoch, struct log_point to, struct err *e)
{
    int rc;

    log_lock(log);
    rc = log_check_online(log, e);
    if (rc == 0) {
        rc = check_role(log, leader_epoch, e);
    }
    if (rc == 0 && !is_at(to, log->end)) {
        rc = is_behind(to, log->end) ? log_skip_locked(log, to, e)
                                     : err_set(e, -EINVAL, "the end is at offset %" PRId64, log->end.offset);
    } else if (rc == 0) {
        rc = log_settle_directory(log, e); /* of an earlier call */
    }
    log_unlock(log);
    return rc < 0 ? err_wrap(e, rc, "move the end of %s", log->name) : 0;
}

int log_copy_epoch(struct log *log, int32_t leader_epoch, int32_t epoch, struct err *e)
{
    int rc;

    log_lock(log);
    rc = log_check_online(log, e);
    if (rc == 0) {
        rc = check_role(log, leader_epoch, e);
    }
    if (rc == 0 && epoch > leader_epoch) {
        rc = err_set(e, -EBADMSG, "epoch %" PRId32 " in epoch %" PRId32, epoch, leader_epoch);
    }
    if (rc == 0) {
        rc = begin_epoch(log, epoch, log->end, e);
    }
    log_unlock(log);
    return rc < 0 ? err_wrap(e, rc, "copy to %s", log->name) : 0;
}

/* ---- what came ---- */

static int bad(const struct log_copy *copy, const char *what, struct err *e)
{
    return err_set(e, -EBADMSG, "the batch at offset %" PRId64 ": %s", copy->base.offset, what);
}

/* Whether it can come behind `end`, in an epoch from `lowest` on, as far as its entry says. */
static int check(const struct log *log, const struct log_copy *copy, struct log_point end, int32_t lowest,
                 struct err *e)
{
    const struct batch_entry *b = &copy->entry;

    if (b->len == 0 || b->len > LIMIT_BATCH_BYTES || b->records == 0 || b->records > b->len) {
        return bad(copy, "no batch has such a length and so many records", e);
    }
    if (!is_at(copy->base, end) && !is_behind(copy->base, end)) {
        return err_set(e, -EBADMSG,
                       "the batch at offset %" PRId64 ", position %" PRId64 " does not follow the end at %" PRId64
                       ", %" PRId64,
                       copy->base.offset, copy->base.position, end.offset, end.position);
    }
    if (copy->base.offset > INT64_MAX - b->records || copy->base.position > INT64_MAX - b->len) {
        return bad(copy, "it has no end", e);
    }
    if (b->leader_epoch < 0 || b->leader_epoch < lowest || b->leader_epoch > log->role_epoch) {
        return err_set(e, -EBADMSG, "the batch at offset %" PRId64 " has epoch %" PRId32 " in epoch %" PRId32,
                       copy->base.offset, b->leader_epoch, log->role_epoch);
    }
    return 0;
}

/* ---- into the log ---- */

static bool fits(const struct segment *seg, const struct log_copy *copy)
{
    return copy->base.offset - seg->base.offset <= INT32_MAX - (int64_t)copy->entry.records &&
           copy->base.position - seg->base.position <= INT32_MAX - (int64_t)copy->entry.len;
}

/* Makes the active segment one that can take the batch. */
static int make_place(struct log *log, const struct log_copy *copy, struct err *e)
{
    bool gap = !is_at(copy->base, log->end);
    int rc = 0;

    if (log_roll_due(log, &copy->base, copy->entry.len, copy->entry.records, copy->entry.last_timestamp_ms) ||
        (gap && !active_segment(log)->gaps)) {
        rc = log_roll_locked(log, e);
    }
    if (rc == 0 && copy->entry.producer_id >= 0) {
        rc = log_name_producers(log, e);
    }
    if (rc == 0 && !fits(active_segment(log), copy)) {
        rc = log_skip_locked(log, copy->base, e);
        if (rc == 0) {
            rc = log_roll_locked(log, e);
        }
    }
    return rc;
}

struct copying {
    struct segment *seg;
    struct segment_batch batches[LIMIT_COPY_BATCHES];
    uint32_t count;
    struct framing_mark marks[LIMIT_BATCH_MARKS]; /* of all of them */
    uint32_t mark_count;
    struct log_point end; /* behind the last of them */
    uint64_t bytes;
    bool producers;
};

/* Of an index interval as the settings have it. */
static uint32_t mark_interval(const struct log *log)
{
    static const int64_t interval_max = 1 << 30;
    int64_t interval = log->config.index_interval_bytes;

    return interval < 1 ? 1 : interval > interval_max ? (uint32_t)interval_max : (uint32_t)interval;
}

/* How many marks a batch may have. */
static uint32_t marks_of(const struct log *log, uint32_t len)
{
    uint32_t most = len / mark_interval(log);

    return most < LIMIT_BATCH_MARKS ? most : LIMIT_BATCH_MARKS;
}

/* Its bytes against their CRC, and in the same pass the marks of what comes next; there is room for them. Bytes that
 * are not of this framing have none: the batch's own start must do. */
static bool scan(const struct log *log, struct copying *c, const struct log_copy *copy)
{
    const struct batch_entry *b = &copy->entry;
    struct segment_batch *to = &c->batches[c->count];
    struct framing_state state = {0};
    struct framing_result scanned = {0};
    uint32_t crc = 0, room = marks_of(log, b->len);
    int rc = -EINVAL;

    *to = (struct segment_batch){.bytes = copy->bytes, .marks = c->marks + c->mark_count};
    if (room > 0) {
        rc = framing_scan(log->config.framing, &state, copy->bytes, b->len, UINT64_MAX, &scanned, &crc,
                          mark_interval(log), c->marks + c->mark_count, &to->mark_count, room);
    }
    if (rc < 0 || scanned.end != b->len || scanned.records != b->records) {
        to->mark_count = 0;
        crc = crc32c(0, copy->bytes, b->len);
    }
    return crc == b->crc;
}

/* One that was scanned. */
static void add(struct copying *c, const struct log_copy *copy)
{
    struct segment_batch *to = &c->batches[c->count++];

    c->mark_count += to->mark_count;
    to->entry = copy->entry;
    to->entry.offset = (uint32_t)(copy->base.offset - c->seg->base.offset);
    to->entry.position = (uint32_t)(copy->base.position - c->seg->base.position);
    c->end = (struct log_point){copy->base.offset + copy->entry.records, copy->base.position + copy->entry.len};
    c->bytes += copy->entry.len;
    c->producers = c->producers || copy->entry.producer_id >= 0;
}

/* Whether the batch can go along with those before it: into the same segment, in the same epoch. What does not hold by
 * itself is for the next call to say. */
static bool goes_along(const struct log *log, struct copying *c, const struct log_copy *copy)
{
    const struct segment *seg = c->seg;

    return c->count < LIMIT_COPY_BATCHES && copy->entry.leader_epoch == c->batches[0].entry.leader_epoch &&
           check(log, copy, c->end, copy->entry.leader_epoch, NULL) == 0 &&
           (copy->entry.producer_id < 0 || c->producers || seg->producers) &&
           (seg->gaps || is_at(copy->base, c->end)) && fits(seg, copy) &&
           (int64_t)(seg->log_bytes + c->bytes + copy->entry.len) <= log->config.segment_bytes &&
           segment_file_bytes(seg, SEGMENT_BATCHES) + ((int64_t)c->count + 1) * BATCH_ENTRY_BYTES <=
               LIMIT_BATCHES_FILE_BYTES &&
           marks_of(log, copy->entry.len) <= LIMIT_BATCH_MARKS - c->mark_count && scan(log, c, copy);
}

static int write_all(struct log *log, struct copying *c, struct log_append_result *out, struct err *e)
{
    struct segment *seg = c->seg;
    bool gaps = c->batches[0].entry.offset != seg->end.offset - seg->base.offset && !seg->gaps;
    bool producers = c->producers && !seg->producers;
    struct segment ahead;
    int rc = 0;

    if (gaps || producers) {
        rc = log_mark_segment(log, seg, gaps, producers, e);
    }
    if (rc == 0 && seg->log_bytes == atomic_load_explicit(&seg->flushed, memory_order_relaxed)) {
        rc = log_make_room(log, e);
    }
    if (c->producers) {
        log_expire_producers(log);
    }
    if (rc == 0 && c->producers && producers_reserve(&log->producers, c->count) < 0) {
        rc = err_sys(e, -ENOMEM, "producers");
    }
    if (rc == 0) {
        log_note_flushed(log, seg);
        rc = segment_append_run(seg, c->batches, c->count, log->config.index_interval_bytes, &ahead, e);
    }
    if (rc < 0) {
        return rc;
    }
    out->base = (struct log_point){seg->base.offset + c->batches[0].entry.offset,
                                   seg->base.position + c->batches[0].entry.position};
    out->end = c->end;
    pthread_mutex_lock(&log->state_lock);
    segment_catch_up(seg, &ahead);
    seg->mtime_ms = seg->last_timestamp_ms;
    log->end = seg->end;
    log->last_append_ms = seg->last_timestamp_ms;
    pthread_mutex_unlock(&log->state_lock);
    for (uint32_t i = 0; i < c->count && c->producers; i++) {
        producers_note(&log->producers, &c->batches[i].entry, seg->base.offset + c->batches[i].entry.offset,
                       log_producers_now_ms(log));
    }
    return 0;
}

static int copy_locked(struct log *log, int32_t leader_epoch, const struct log_copy *copies, uint32_t count,
                       struct log_append_result *out, struct err *e)
{
    struct copying c;
    int rc = log_check_online(log, e);

    if (rc < 0) {
        return rc;
    }
    if (log->role != LOG_FOLLOWS || log->role_epoch != leader_epoch) {
        return err_set(e, -ESTALE, "epoch %" PRId32 " is over", leader_epoch);
    }
    c.count = c.mark_count = 0;
    c.bytes = 0;
    c.producers = false;
    rc = check(log, &copies[0], log->end, epochs_latest(&log->epochs), e);
    if (rc == 0 && !scan(log, &c, &copies[0])) {
        rc = bad(&copies[0], "its bytes do not match their CRC", e);
    }
    if (rc == 0) {
        rc = log_finish_cut(log, e);
    }
    if (rc == 0) {
        rc = make_place(log, &copies[0], e);
    }
    if (rc == 0) {
        rc = begin_epoch(log, copies[0].entry.leader_epoch, copies[0].base, e);
    }
    if (rc < 0) {
        return rc;
    }
    c.seg = active_segment(log);
    do {
        add(&c, &copies[c.count]);
    } while (c.count < count && goes_along(log, &c, &copies[c.count]));
    rc = segment_pin(c.seg, e);
    if (rc == 0) {
        rc = write_all(log, &c, out, e);
        segment_unpin(c.seg);
    }
    if (rc < 0) {
        return log_fail(log, rc, e);
    }
    log_want_flush(log, c.seg);
    return (int)c.count;
}

int log_append_copy(struct log *log, int32_t leader_epoch, const struct log_copy *copies, uint32_t count,
                    struct log_append_result *out, struct err *e)
{
    struct err local = {0};
    int rc;

    assert(count > 0);
    e = e != NULL ? e : &local;
    log_lock(log);
    rc = copy_locked(log, leader_epoch, copies, count, out, e);
    log_unlock(log);
    return rc < 0 ? err_wrap(e, rc, "copy to %s", log->name) : rc;
}
