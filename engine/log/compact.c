/* engine/log/compact.c: one pass of compaction: when, over what, and the swap.
 *
 * Kafka's log cleaner: what lies before the cleaner offset is clean, closed segments behind it are dirty. When enough
 * is dirty, the dirty part is read into a map from key to last offset, then everything from the start on is rewritten
 * by it, group by group, small neighbours together (compact_group.c). Records without a key stay. The active segment is
 * never touched; it is rolled first when max.compaction.lag.ms has passed over it.
 *
 * Reading and writing take no lock: the segments are held by references and pins, and the append lock is taken to
 * choose them and for each swap. Groups go in ascending order, so that wherever a pass ends, nothing has gone whose
 * successor is not in the log.
 *
 * Failure: the group under work is thrown away, what was swapped stays, the cleaner offset stays where it was. A full
 * disk is -ENOSPC and no error of the log (names that it refused are finished by the next pass); damaged bytes take it
 * offline. */
#include "engine/log/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/bugs.h"
#include "engine/log/compact_group.h"
#include "engine/log/log_internal.h"

/* The segments of a pass, referenced. */
struct choice {
    struct segment_view *views;
    uint32_t count;
    int64_t first_dirty; /* offset */
};

/* ---- choosing; append lock ---- */

/* The first offset that was never compacted. What the checkpoint says is good only if it lies in the closed part. */
static int64_t first_dirty_offset(const struct log *log)
{
    const struct segment *active = log->segments[log->segment_count - 1];
    int64_t from = log->cleaner_offset;

    return from > log->start.offset && from <= active->base.offset ? from : log->start.offset;
}

static bool is_past_max_lag(const struct log_config *config, int64_t first_timestamp_ms, int64_t now_ms)
{
    return config->max_compaction_lag_ms > 0 && first_timestamp_ms != INDEX_NO_TIMESTAMP &&
           first_timestamp_ms < now_ms - config->max_compaction_lag_ms;
}

static int roll_if_lagging(struct log *log, int64_t now_ms, struct err *e)
{
    const struct segment *active = log->segments[log->segment_count - 1];

    return is_past_max_lag(&log->config, active->first_timestamp_ms, now_ms) ? log_roll_locked(log, e) : 0;
}

/* How many of the first segments may be compacted at all: closed, committed, and old enough where not yet clean. */
static uint32_t count_cleanable(const struct log *log, struct log_point limit, int64_t first_dirty, int64_t now_ms)
{
    int64_t lag_ms = log->config.min_compaction_lag_ms;
    uint32_t n;

    for (n = 0; n + 1 < log->segment_count; n++) {
        const struct segment *seg = log->segments[n];
        bool too_young = lag_ms > 0 && seg->end.offset > first_dirty && seg->max_timestamp_ms > now_ms - lag_ms;

        if ((seg->end.offset > limit.offset && !BUG(compacts_undecided)) || too_young) {
            break;
        }
    }
    return n;
}

/* Is it worth while? Kafka: dirty / (clean + dirty) above the ratio, or something dirty past its largest lag. */
static bool is_due(const struct log *log, uint32_t count, int64_t first_dirty, int64_t now_ms)
{
    int64_t clean = 0;
    int64_t dirty = 0;
    bool lagging = false;

    for (uint32_t i = 0; i < count; i++) {
        const struct segment *seg = log->segments[i];

        if (seg->end.offset <= first_dirty) {
            clean += seg->log_bytes;
        } else {
            dirty += seg->log_bytes;
            lagging |= is_past_max_lag(&log->config, seg->first_timestamp_ms, now_ms);
        }
    }
    return dirty > 0 && (lagging || (double)dirty > log->config.min_cleanable_dirty_ratio * (double)(clean + dirty));
}

static int choose(struct log *log, struct log_point limit, int64_t now_ms, struct choice *choice, struct err *e)
{
    uint32_t count;

    *choice = (struct choice){.first_dirty = first_dirty_offset(log)};
    count = count_cleanable(log, limit, choice->first_dirty, now_ms);
    if (!is_due(log, count, choice->first_dirty, now_ms)) {
        return 0;
    }
    choice->views = calloc(count, sizeof *choice->views);
    if (choice->views == NULL) {
        return err_sys(e, -ENOMEM, "compact %s", log->name);
    }
    for (uint32_t i = 0; i < count; i++) {
        segment_ref(log->segments[i]);
        log_view(log->segments[i], &choice->views[i]);
    }
    choice->count = count;
    return 0;
}

/* Settings and segments of the pass to come; choice->count is 0 when there is none. */
static int begin(struct log *log, struct log_point limit, struct compact_pass *pass, struct choice *choice,
                 struct err *e)
{
    int rc;

    *choice = (struct choice){0};
    log_lock(log);
    rc = log_check_online(log, e);
    if (rc == 0) {
        rc = log_finish_names(log, e);
    }
    if (rc == 0 && (log->config.cleanup_policy & CLEANUP_COMPACT) != 0) {
        rc = roll_if_lagging(log, pass->now_ms, e);
        if (rc == 0) {
            rc = choose(log, limit, pass->now_ms, choice, e);
        }
        pass->config = log->config;
        pass->cuts = epochs_cuts(&log->epochs);
        pass->reader.framing = log->config.framing;
        pass->start_offset = log->start.offset;
    }
    log_unlock(log);
    return rc;
}

static void end(struct compact_pass *pass, struct choice *choice)
{
    for (uint32_t i = 0; i < choice->count; i++) {
        segment_unref(choice->views[i].seg);
    }
    free(choice->views);
    key_map_free(&pass->map);
    batch_reader_free(&pass->reader);
}

/* ---- the map ---- */

/* Takes the keys of the batch in the reader. 1: the map is full; map_end is the record that found no room. */
static int map_batch(struct compact_pass *pass, const struct segment_view *view, int64_t first_dirty, struct err *e)
{
    struct batch_reader *reader = &pass->reader;
    struct batch_record record;
    int rc;

    while ((rc = batch_reader_next(reader, &record, e)) > 0) {
        int64_t offset = view->base.offset + reader->entry.offset + record.number;
        struct framing_kv kv;

        pass->map_end = offset;
        if (offset < first_dirty) {
            continue;
        }
        compact_key_value(pass, &record, &kv);
        if (kv.key == NULL) {
            continue;
        }
        rc = key_map_put(&pass->map, kv.key, kv.key_len, offset);
        if (rc < 0) {
            return rc == -ENOBUFS ? 1 : err_sys(e, rc, "map the keys");
        }
    }
    return rc;
}

static int map_segment(struct compact_pass *pass, const struct segment_view *view, int64_t first_dirty, struct err *e)
{
    uint32_t first = 0;
    int rc = 0;

    if (first_dirty > view->base.offset) {
        rc = segment_find_offset(view, (uint64_t)(first_dirty - view->base.offset), &first, e);
        first -= first > 0;
    }
    for (uint32_t i = first; i < view->batches && rc == 0; i++) {
        if (compact_is_stopped(pass)) {
            return err_set(e, -ECANCELED, "stopped");
        }
        rc = batch_reader_load(&pass->reader, view, i, e);
        if (rc == 0) {
            rc = map_batch(pass, view, first_dirty, e);
        }
    }
    if (rc == 0) {
        pass->map_end = view->end.offset;
    }
    return rc;
}

static int map_pinned(struct compact_pass *pass, const struct segment_view *view, int64_t first_dirty, struct err *e)
{
    int rc = segment_pin(view->seg, e);

    if (rc < 0) {
        return rc;
    }
    rc = map_segment(pass, view, first_dirty, e);
    segment_unpin(view->seg);
    return rc;
}

/* Reads the dirty part. Afterwards map_end says how far it came. What retention takes meanwhile is passed by. */
static int map_dirty(struct compact_pass *pass, const struct choice *choice, struct err *e)
{
    int rc = 0;

    for (uint32_t i = 0; i < choice->count && rc == 0; i++) {
        if (choice->views[i].end.offset > choice->first_dirty) {
            rc = map_pinned(pass, &choice->views[i], choice->first_dirty, e);
            rc = rc == -ESTALE ? 0 : rc;
        }
    }
    return rc < 0 ? rc : 0;
}

/* ---- groups ---- */

/* How many of the segments from `first` on become one: what they hold must fit one segment in every way (Kafka's
 * groupSegmentsBySize). A segment alone always does. */
static uint32_t group_len(const struct compact_pass *pass, const struct choice *choice, uint32_t first)
{
    const struct segment_view *views = choice->views + first;
    uint32_t count = choice->count - first;
    int64_t bytes = 0;
    int64_t batches = 0;
    int64_t index = 0;
    int64_t timeindex = 0;
    uint32_t n;

    for (n = 0; n < count && views[n].base.offset < pass->map_end; n++) {
        bytes += views[n].log_bytes;
        batches += views[n].batches;
        index += index_bytes(&views[n].seg->index);
        timeindex += index_bytes(&views[n].seg->timeindex);
        if (n > 0 &&
            (bytes > pass->config.segment_bytes || bytes > INT32_MAX ||
             batches > LIMIT_BATCHES_FILE_BYTES / BATCH_ENTRY_BYTES - 1 || index > pass->config.segment_index_bytes ||
             timeindex > pass->config.segment_index_bytes || views[n].end.offset - views[0].base.offset > INT32_MAX ||
             views[n].end.position - views[0].base.position > INT32_MAX)) {
            break;
        }
    }
    return n;
}

/* Whether the log was cut back since the pass began: then the successor for which a record would go may be gone, too.
 */
static bool is_overtaken(const struct compact_pass *pass)
{
    return log_cuts(pass->log) != pass->cuts;
}

/* Where views[0 … n) are in the list now; -1: retention has taken some of them. Append lock. */
static int64_t find_in_list(const struct log *log, const struct segment_view *views, uint32_t n)
{
    for (uint32_t i = 0; i + n < log->segment_count; i++) {
        if (log->segments[i] == views[0].seg) {
            /* The list was cut in front only, and only this pass swaps: the others follow it. */
            return i;
        }
    }
    return -1;
}

/* 0; -ESTALE: the segments are no longer there; -ECANCELED: the log was cut. Gives `by` up in any case. */
static int swap(const struct compact_pass *pass, const struct segment_view *views, uint32_t n, struct segment *by,
                struct err *e)
{
    struct log *log = pass->log;
    int64_t first;
    int rc;

    log_lock(log);
    rc = log_check_online(log, e);
    if (rc == 0 && is_overtaken(pass)) {
        rc = err_set(e, -ECANCELED, "the log was cut back");
    }
    first = find_in_list(log, views, n);
    if (rc == 0 && first < 0) {
        rc = err_set(e, -ESTALE, "the segments were deleted meanwhile");
    }
    if (rc == 0) {
        rc = log_replace(log, (uint32_t)first, n, by, e);
        by = NULL;
    }
    log_unlock(log);
    if (by != NULL) {
        segment_build_abort(by);
    }
    return rc;
}

static void unpin(const struct segment_view *views, uint32_t n)
{
    while (n > 0) {
        segment_unpin(views[--n].seg);
    }
}

static int pin(const struct segment_view *views, uint32_t n, struct err *e)
{
    for (uint32_t i = 0; i < n; i++) {
        int rc = segment_pin(views[i].seg, e);

        if (rc < 0) {
            unpin(views, i);
            return rc;
        }
    }
    return 0;
}

/* One group, rewritten and swapped in. *did is set if it was. */
static int clean_group(struct compact_pass *pass, const struct segment_view *views, uint32_t n, bool *did,
                       struct err *e)
{
    struct segment *by;
    int rc = pin(views, n, e);

    if (rc < 0) {
        return rc;
    }
    rc = compact_group(pass, views, n, &by, e);
    unpin(views, n);
    if (rc == 0 && by != NULL) {
        rc = swap(pass, views, n, by, e);
        *did |= rc == 0;
    }
    return rc;
}

/* The first of the segments from `first` on that retention has not taken. */
static uint32_t skip_retired(const struct choice *choice, uint32_t first)
{
    while (first < choice->count && atomic_load(&choice->views[first].seg->retired)) {
        first++;
    }
    return first;
}

/* A record may go only for one that is on the disk: a power cut must not take both. */
static int flush_successors(struct compact_pass *pass, struct err *e)
{
    int rc;

    if (log_recovery_point(pass->log) >= pass->map_end) {
        return 0;
    }
    rc = log_flush_all(pass->log);
    if (is_overtaken(pass)) {
        return err_set(e, -ECANCELED, "the log was cut back");
    }
    return rc < 0 ? err_sys(e, rc, "flush") : 0;
}

static int clean(struct compact_pass *pass, const struct choice *choice, bool *did, struct err *e)
{
    uint32_t first = 0;
    int rc = map_dirty(pass, choice, e);

    if (rc == 0) {
        rc = flush_successors(pass, e);
    }
    while (rc == 0) {
        uint32_t n;

        if (is_overtaken(pass)) {
            return err_set(e, -ECANCELED, "the log was cut back");
        }
        first = skip_retired(choice, first);
        n = group_len(pass, choice, first);
        if (n == 0) {
            break;
        }
        rc = clean_group(pass, choice->views + first, n, did, e);
        if (rc == 0) {
            first += n;
        } else if (rc == -ESTALE) {
            /* Some of them went meanwhile: grouped anew without them. */
            rc = 0;
        }
    }
    if (rc == 0 && pass->map_end > choice->first_dirty) {
        *did |= log_set_cleaner_offset(pass->log, pass->map_end, pass->cuts);
    }
    return rc;
}

int compact_bounded(struct log *log, struct log_point limit, const _Atomic bool *stop, size_t max_keys, struct err *e)
{
    struct err local = {""};
    struct compact_pass pass = {.log = log, .now_ms = log->env->clock->wall_ms(log->env->clock), .stop = stop};
    struct choice choice;
    bool did = false;
    int rc;

    key_map_init(&pass.map, max_keys);
    rc = begin(log, limit, &pass, &choice, &local);
    if (rc == 0 && choice.count > 0) {
        rc = clean(&pass, &choice, &did, &local);
    }
    end(&pass, &choice);
    if (rc == -ECANCELED) {
        rc = 0;
    }
    if (rc < 0) {
        err_wrap(&local, rc, "compact %s", log->name);
        err_set(e, rc, "%s", local.text);
    }
    if (rc == -EBADMSG) {
        log_go_offline(log, -EBADMSG, local.text);
    }
    return rc < 0 ? rc : did;
}

int log_compact(struct log *log, struct log_point limit, const _Atomic bool *stop, struct err *e)
{
    return compact_bounded(log, limit, stop, LIMIT_COMPACT_KEYS, e);
}
