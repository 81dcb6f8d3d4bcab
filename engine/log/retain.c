/* engine/log/retain.c: what goes when it is old, too much, or no longer wanted.
 *
 * Whole segments go, from the oldest on, never anything at or above the high watermark (Kafka's deleteOldSegments). The
 * active one goes like the others once all of it has expired: it is rolled first, so that an idle topic expires too.
 * Closed ones are deleted before that, so that a full disk has room for the roll.
 *
 * Failure: a full disk leaves the roll for another time; anything else that fails in between has taken the log offline
 * (log_delete_front, log_roll_locked). */
#include "engine/log/log.h"

#include <errno.h>

#include "engine/log/log_internal.h"

/* The last moment that any record of the segment speaks of; what compaction emptied has only its file's time. */
static int64_t latest_ms(const struct segment *seg)
{
    return seg->max_timestamp_ms != INDEX_NO_TIMESTAMP ? seg->max_timestamp_ms : seg->mtime_ms;
}

/* More than ms before now; -1: never. */
static bool is_older(int64_t timestamp_ms, int64_t now_ms, int64_t ms)
{
    return ms >= 0 && timestamp_ms < now_ms - ms;
}

/* Deletes the first n segments. n may count the active one in, which is rolled then. */
static int delete_segments(struct log *log, uint32_t n, struct err *e)
{
    uint32_t closed = n < log->segment_count ? n : log->segment_count - 1;
    int rc = closed > 0 ? log_delete_front(log, closed, e) : 0;

    if (rc == 0 && n > closed) {
        rc = log_roll_locked(log, e);
        if (rc == 0) {
            rc = log_delete_front(log, 1, e);
        }
    }
    return rc;
}

/* How many of the first segments lie wholly before offset, an empty active one not counted. */
static uint32_t count_before(const struct log *log, int64_t offset)
{
    uint32_t n = 0;

    while (n < log->segment_count && log->segments[n]->end.offset <= offset) {
        n++;
    }
    if (n == log->segment_count && log->segments[n - 1]->batches == 0) {
        n--;
    }
    return n;
}

int log_delete_records(struct log *log, struct log_point point, struct err *e)
{
    int rc;

    log_lock(log);
    rc = log_check_online(log, e);
    if (rc < 0 || point.offset <= log->start.offset) {
        goto out;
    }
    if (point.offset > log->end.offset || point.position > log->end.position) {
        rc = err_set(e, -EINVAL, "delete records of %s: behind its end", log->name);
        goto out;
    }
    rc = log_set_start(log, point, e);
    if (rc < 0) {
        goto out;
    }
    rc = delete_segments(log, count_before(log, point.offset), e);
    if (rc < 0 && rc != -EIO) {
        /* The records are gone; the files go with the next log_delete_rest() or log_retain() that finds room
         * (descriptors, memory). */
        rc = 0;
    }
out:
    log_unlock(log);
    return rc;
}

int log_delete_rest(struct log *log, struct err *e)
{
    uint32_t n = 0;
    int rc;

    log_lock(log);
    rc = log_check_online(log, e);
    if (rc == 0) {
        n = count_before(log, log->start.offset);
        rc = delete_segments(log, n, e);
    }
    log_unlock(log);
    return rc < 0 ? rc : (int)n;
}

/* How many of the first segments are to go. */
static uint32_t count_expired(const struct log *log, struct log_point limit, int64_t now_ms)
{
    const struct log_config *config = &log->config;
    bool may_expire = (config->cleanup_policy & CLEANUP_DELETE) != 0;
    uint32_t before_start = count_before(log, log->start.offset);
    int64_t bytes = 0;
    uint32_t n;

    for (n = 0; n < log->segment_count; n++) {
        bytes += log->segments[n]->log_bytes;
    }
    for (n = 0; n < log->segment_count; n++) {
        const struct segment *seg = log->segments[n];
        bool active = n == log->segment_count - 1;
        bool too_old = is_older(latest_ms(seg), now_ms, config->retention_ms);
        bool too_much = config->retention_bytes >= 0 && bytes - seg->log_bytes >= config->retention_bytes;

        if (seg->end.offset > limit.offset || (active && seg->batches == 0)) {
            break;
        }
        if (n >= before_start && !(may_expire && (too_old || too_much))) {
            break;
        }
        bytes -= seg->log_bytes;
    }
    return n;
}

/* segment.ms rolls a segment that nobody appends to, too. */
static int roll_if_old(struct log *log, int64_t now_ms, struct err *e)
{
    const struct segment *active = log->segments[log->segment_count - 1];

    if (active->batches == 0 || !is_older(active->first_timestamp_ms, now_ms, log->config.segment_ms)) {
        return 0;
    }
    return log_roll_locked(log, e);
}

int log_retain(struct log *log, struct log_point limit, struct err *e)
{
    int64_t now_ms = log->env->clock->wall_ms(log->env->clock);
    uint32_t n = 0;
    int rc;

    log_lock(log);
    rc = log_check_online(log, e);
    if (rc == 0) {
        n = count_expired(log, limit, now_ms);
        rc = delete_segments(log, n, e);
    }
    if (rc == 0) {
        rc = roll_if_old(log, now_ms, e);
    }
    log_unlock(log);
    return rc < 0 ? rc : (int)n;
}
