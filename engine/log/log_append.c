/* engine/log/log_append.c: a batch at the log's end, and the roll to a new segment.
 *
 * Happy path: append lock, one pin, two writes, a few stores under the state lock. Failure: a full disk leaves the log
 * as it was, the new segment of a roll included; any other write error takes it offline. */
#include "engine/log/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "engine/log/log_internal.h"
#include "engine/segment/segment_cache.h"

static struct segment *active_segment(const struct log *log)
{
    return log->segments[log->segment_count - 1];
}

int log_make_room(struct log *log, struct err *e)
{
    if (!segment_cache_is_over(log->env->cache)) {
        return 0;
    }
    (void)segment_cache_make_room(log->env->cache);
    return log_check_online(log, e);
}

bool log_first_is_unsynced(const struct log *log)
{
    const struct segment *first = log->segments[0];

    return log->segment_count == 1 && !atomic_load(&first->sealed) && atomic_load(&first->flushed) == 0;
}

int log_sync_first(struct log *log, struct err *e)
{
    struct segment *first = log->segments[0];
    int rc = first->io->fdatasync(first->io, first->fd[SEGMENT_BATCHES]);

    if (rc == 0) {
        rc = first->io->fsync(first->io, log->dir.fd);
    }
    return rc < 0 ? err_set(e, -EIO, "flush segment %" PRId64 " (%s)", first->base.offset, strerror(-rc)) : 0;
}

/* What the old segment needs before another can follow. */
static int close_old(struct log *log, struct segment *old, struct err *e)
{
    int rc;

    if (atomic_load(&old->sealed)) {
        return 0; /* one with the end of its range: all of it is on the disk */
    }
    segment_trim(old);
    rc = segment_finish_timeindex(old, e);
    return rc == 0 && log_first_is_unsynced(log) ? log_sync_first(log, e) : rc;
}

int log_roll_locked(struct log *log, struct err *e)
{
    struct segment *old = active_segment(log);
    struct segment *seg;
    int rc = log_finish_cut(log, e);

    if (rc < 0 || (old->batches == 0 && !atomic_load(&old->sealed))) {
        return rc;
    }
    rc = log_list_reserve(log, e);
    if (rc < 0) {
        return rc;
    }
    rc = segment_pin(old, e);
    if (rc < 0) {
        return log_fail(log, rc, e);
    }
    rc = log_make_room(log, e);
    if (rc == 0) {
        rc = close_old(log, old, e);
    }
    segment_unpin(old);
    if (rc < 0) {
        return log_fail(log, rc, e);
    }
    rc = log_store_producers(log, e);
    if (rc < 0) {
        return rc;
    }
    seg = segment_new(&log->segment_env, old->end);
    if (seg == NULL) {
        return err_sys(e, -ENOMEM, "new segment");
    }
    seg->producers = log->names_producers;
    rc = segment_create(seg, "", true, e);
    if (rc < 0) {
        segment_unref(seg);
        return log_fail(log, rc, e);
    }
    if (log->last_append_ms != INDEX_NO_TIMESTAMP) {
        segment_set_mtime(seg, log->last_append_ms);
    }
    segment_seal(old);
    log_list_push(log, seg, NULL); /* room was reserved */
    segment_unpin(seg);
    if (log->env->on_flush_wanted != NULL) {
        log->env->on_flush_wanted(log->env->arg);
    }
    return 0;
}

int log_roll(struct log *log, struct err *e)
{
    int rc;

    log_lock(log);
    rc = log_check_online(log, e);
    if (rc == 0) {
        rc = log_roll_locked(log, e);
    }
    log_unlock(log);
    return rc;
}

bool log_roll_due(const struct log *log, const struct log_point *base, uint32_t len, uint32_t records, int64_t now_ms)
{
    const struct segment *seg = active_segment(log);
    const struct log_config *config = &log->config;

    if (atomic_load_explicit(&seg->sealed, memory_order_relaxed)) {
        return true;
    }
    if (seg->batches == 0) {
        return false;
    }
    if ((int64_t)seg->log_bytes + len > config->segment_bytes || index_full(&seg->index) ||
        index_count(&seg->timeindex) + 1 >= seg->timeindex.capacity ||
        segment_file_bytes(seg, SEGMENT_BATCHES) + BATCH_ENTRY_BYTES > LIMIT_BATCHES_FILE_BYTES ||
        base->offset - seg->base.offset + records > INT32_MAX ||
        base->position - seg->base.position + len > INT32_MAX) {
        return true;
    }
    return config->segment_ms >= 0 && now_ms - seg->first_timestamp_ms > config->segment_ms;
}

int log_name_producers(struct log *log, struct err *e)
{
    const struct segment *seg = active_segment(log);

    log->names_producers = true;
    return seg->producers || seg->batches == 0 ? 0 : log_roll_locked(log, e);
}

int log_mark_segment(struct log *log, struct segment *seg, bool gaps, bool producers, struct err *e)
{
    bool had_gaps = seg->gaps, had_producers = seg->producers;
    int rc;

    pthread_mutex_lock(&log->state_lock);
    seg->gaps = had_gaps || gaps;
    seg->producers = had_producers || producers;
    pthread_mutex_unlock(&log->state_lock);
    rc = segment_write_header(seg, seg->end, e);
    if (rc < 0) {
        pthread_mutex_lock(&log->state_lock);
        seg->gaps = had_gaps;
        seg->producers = had_producers;
        pthread_mutex_unlock(&log->state_lock);
        /* It may have been written by half. */
        return segment_restore_header(seg) < 0 ? err_set(e, -EIO, "a header is damaged") : rc;
    }
    return 0;
}

static struct batch_entry make_entry(const struct segment *seg, const struct append_batch *batch, int32_t leader_epoch)
{
    return (struct batch_entry){
        .offset = (uint32_t)(seg->end.offset - seg->base.offset),
        .position = (uint32_t)(seg->end.position - seg->base.position),
        .len = batch->len,
        .records = batch->records,
        .leader_epoch = leader_epoch,
        .first_timestamp_ms = batch->first_timestamp_ms,
        .last_timestamp_ms = batch->last_timestamp_ms,
        .producer_id = batch->producer_id,
        .producer_epoch = batch->producer_epoch,
        .attributes = batch->attributes,
        .sequence = batch->sequence,
        .crc = batch->crc,
    };
}

/* Entries that end at or below the point. */
static int count_below(struct segment *seg, int64_t point, uint32_t *count)
{
    struct segment_view view;
    struct batch_entry b;
    int rc = 0;

    log_view(seg, &view);
    *count = 0;
    if (point > seg->base.offset) {
        rc = segment_find_offset(&view, (uint64_t)(point - seg->base.offset) - 1, count, NULL);
    }
    if (rc == 0 && *count > 0) {
        rc = segment_entry(seg, *count - 1, &b, NULL);
        *count -= rc == 0 && seg->base.offset + b.offset + (int64_t)b.records > point;
    }
    return rc;
}

void log_note_flushed(struct log *log, struct segment *seg)
{
    uint32_t count;
    int64_t point = atomic_load(&log->recovery_point); /* goes down with the append lock alone, and up at any time */

    if (point >= seg->end.offset) {
        seg->on_disk = 1 + seg->batches;
    } else if (point < seg->base.offset) {
        seg->on_disk = 0;
    } else if (seg->on_disk == 0 || point != seg->on_disk_point) {
        seg->on_disk = count_below(seg, point, &count) == 0 ? 1 + count : 0;
    }
    seg->on_disk_point = point;
}

static int append_to(struct log *log, struct segment *seg, const struct append_batch *batch, int32_t leader_epoch,
                     int64_t now_ms, struct log_append_result *out, struct err *e)
{
    struct batch_entry b = make_entry(seg, batch, leader_epoch);
    struct segment_growth growth = {0};
    int rc = segment_pin(seg, e);

    if (rc < 0) {
        return rc;
    }
    if (seg->log_bytes == atomic_load_explicit(&seg->flushed, memory_order_relaxed)) {
        rc = log_make_room(log, e);
    }
    if (rc == 0 && batch->producer_id >= 0 && !seg->producers) {
        rc = log_mark_segment(log, seg, false, true, e);
    }
    if (rc == 0) {
        log_note_flushed(log, seg);
        rc = segment_append(seg, &b, batch->iov, batch->iovcnt, batch->marks, batch->mark_count,
                            log->config.index_interval_bytes, &growth, e);
    }
    if (rc < 0 && growth.left) {
        out->base = seg->end;
        out->end = (struct log_point){.offset = seg->end.offset + b.records, .position = seg->end.position + b.len};
    }
    if (rc == 0) {
        pthread_mutex_lock(&log->state_lock);
        out->base = seg->end;
        segment_grow(seg, &growth);
        seg->mtime_ms = now_ms;
        out->end = seg->end;
        log->end = seg->end;
        atomic_store_explicit(&log->last_append_ms, batch->last_timestamp_ms, memory_order_relaxed);
        pthread_mutex_unlock(&log->state_lock);
        if (batch->producer_id >= 0) {
            producers_note(&log->producers, &b, out->base.offset, log_producers_now_ms(log));
        }
    }
    segment_unpin(seg);
    return rc;
}

void log_want_flush(struct log *log, const struct segment *seg)
{
    uint32_t unflushed = seg->log_bytes - atomic_load_explicit(&seg->flushed, memory_order_relaxed);

    if (unflushed <= LIMIT_UNFLUSHED_BYTES) {
        log->flush_asked = false;
    } else if (!log->flush_asked && log->env->on_flush_wanted != NULL) {
        log->flush_asked = true;
        log->env->on_flush_wanted(log->env->arg);
    }
}

static int append_locked(struct log *log, const struct append_batch *batch, int32_t leader_epoch,
                         struct log_append_result *out, struct err *e)
{
    int64_t now_ms = batch->last_timestamp_ms; /* as Kafka, which rolls by the records' time */
    struct segment *seg;
    int rc = log_check_online(log, e);

    if (rc < 0) {
        return rc;
    }
    if (log->role != LOG_LEADS || log->role_epoch != leader_epoch) {
        return err_set(e, -ESTALE, "epoch %" PRId32 " is over", leader_epoch);
    }
    rc = log_finish_cut(log, e);
    if (rc < 0) {
        return rc;
    }
    if (batch->producer_id >= 0) {
        rc = log_admit(log, batch, e);
        if (rc == 0) {
            rc = log_name_producers(log, e);
        }
        if (rc != 0) {
            return rc;
        }
    }
    if (log_roll_due(log, &log->end, batch->len, batch->records, now_ms)) {
        rc = log_roll_locked(log, e);
        if (rc < 0) {
            return rc;
        }
    }
    seg = active_segment(log);
    rc = append_to(log, seg, batch, leader_epoch, now_ms, out, e);
    if (rc < 0) {
        return log_fail(log, rc, e);
    }
    log_want_flush(log, seg);
    return 0;
}

int log_append(struct log *log, const struct append_batch *batch, int32_t leader_epoch, struct log_append_result *out,
               struct err *e)
{
    struct err local;
    int rc;

    assert(batch->len > 0 && batch->records > 0);
    if (batch->len > INT32_MAX || batch->records > INT32_MAX) {
        return err_set(e, -EFBIG, "append to %s: %u bytes in one batch", log->name, batch->len);
    }
    local.text[0] = '\0';
    log_lock(log);
    rc = append_locked(log, batch, leader_epoch, out, e != NULL ? e : &local);
    log_unlock(log);
    return rc < 0 ? err_wrap(e, rc, "append to %s", log->name) : rc;
}
