/* engine/log/log_producers.c: what a log knows of the producers of its batches.
 *
 * It is kept in memory, and in `<offset>.producers` as of the beginning of each segment and of a clean stop, where
 * there are any; an open takes the last file that holds, and what the entries behind it say. A file is durable before
 * the segment that begins there is made, and is gone, durably, before a log that was cut back below it grows again.
 *
 * Failure: a file that a full disk refuses is done without, and costs the next open time; a damaged one likewise. What
 * a cut has left can only be told with descriptors and memory: without them it is told before the log grows again. */
#include "engine/log/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "engine/log/log_internal.h"

/* ---- time ---- */

int64_t log_producers_now_ms(struct log *log)
{
    return log->env->clock->mono_ms(log->env->clock);
}

void log_expire_producers(struct log *log)
{
    producers_expire(&log->producers, log_producers_now_ms(log));
}

/* ---- questions ---- */

enum producer_verdict log_producer(struct log *log, int64_t id, int16_t epoch, int32_t sequence,
                                   struct producer_state *out)
{
    const struct producer_state *known;
    enum producer_verdict verdict;

    log_lock(log);
    log_expire_producers(log);
    verdict = producers_judge(&log->producers, id, epoch, sequence);
    known = producers_find(&log->producers, id);
    if (known != NULL) {
        *out = *known;
    }
    log_unlock(log);
    return verdict;
}

int log_admit(struct log *log, const struct append_batch *batch, struct err *e)
{
    log_expire_producers(log);
    switch (producers_judge(&log->producers, batch->producer_id, batch->producer_epoch, batch->sequence)) {
    case PRODUCER_NEXT:
        break;
    case PRODUCER_DUPLICATE:
        if (BUG(appends_twice)) {
            break;
        }
        return 1;
    case PRODUCER_UNKNOWN:
    case PRODUCER_GAP:
        if (producers_missing(&log->producers, batch->producer_id, batch->producer_epoch, batch->sequence) >
                batch->gap &&
            !BUG(gaps_taken)) {
            return err_set(e, -EILSEQ, "producer %" PRId64 ": sequence %" PRId32 " leaves some out", batch->producer_id,
                           batch->sequence);
        }
        break;
    case PRODUCER_FENCED:
        return err_set(e, -EACCES, "producer %" PRId64 ": epoch %d is over", batch->producer_id, batch->producer_epoch);
    }
    return producers_reserve(&log->producers, 1) < 0 ? err_sys(e, -ENOMEM, "producers") : 0;
}

/* ---- files ---- */

struct listing {
    int64_t *offsets;
    uint32_t count, max;
};

static int list_one(void *arg, const char *name)
{
    struct listing *listing = arg;
    int64_t offset;

    if (!producers_name_parse(name, &offset)) {
        return 0;
    }
    if (listing->count == listing->max) {
        uint32_t max = listing->max == 0 ? 16 : 2 * listing->max;
        int64_t *grown = realloc(listing->offsets, max * sizeof *grown);

        if (grown == NULL) {
            return -ENOMEM;
        }
        listing->offsets = grown;
        listing->max = max;
    }
    listing->offsets[listing->count++] = offset;
    return 0;
}

static int descending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x > y ? -1 : x < y;
}

/* The directory is held. */
static int unlink_one(struct log *log, int64_t offset)
{
    char name[PRODUCERS_NAME_BYTES];
    int rc;

    producers_name(offset, name);
    rc = log->env->io->unlink(log->env->io, log->dir.fd, name, 0);
    return rc == -ENOENT ? 0 : rc;
}

int log_store_producers(struct log *log, struct err *e)
{
    int64_t offset = log->end.offset;
    int rc;

    rc = log_finish_cut(log, e);
    if (rc < 0) {
        return err_is_passing(rc) ? 0 : rc;
    }
    log_expire_producers(log);
    if (log->producers.count == 0 || log->producers_stored == offset) {
        return 0;
    }
    rc = dir_hold(&log->dir, e);
    if (rc == 0) {
        rc = producers_store(log->env->io, log->dir.fd, offset, &log->producers, e);
        dir_release(&log->dir);
    }
    if (rc == 0) {
        log->producers_stored = offset;
        log->producers_files = true;
    }
    return rc < 0 && !err_is_passing(rc) ? log_fail(log, rc, e) : 0;
}

static int unlink_any(void *arg, const char *name)
{
    struct log *log = arg;
    int64_t offset;
    int rc;

    if (!producers_name_parse(name, &offset)) {
        return 0;
    }
    rc = log->env->io->unlink(log->env->io, log->dir.fd, name, 0);
    return rc == -ENOENT ? 0 : rc;
}

int log_forget_producers(struct log *log, struct err *e)
{
    int rc = 0;

    if (log->producers_files) {
        log->producers_stored = -1;
        rc = log->env->io->list(log->env->io, log->dir.fd, unlink_any, log);
        if (rc == 0) {
            rc = log->env->io->fsync(log->env->io, log->dir.fd) < 0 ? -EIO : 0; /* whatever it said */
        }
        log->producers_files = rc < 0;
    }
    return rc < 0 ? err_sys(e, rc, "remove what was known of producers") : 0;
}

int log_drop_producers(struct log *log, int64_t base_offset)
{
    return log->producers_files ? unlink_one(log, base_offset) : 0;
}

/* ---- from the entries ---- */

static int replay_segment(struct log *log, struct segment *seg, int64_t from, struct err *e)
{
    struct segment_view view;
    struct batch_entry b;
    uint32_t i = 0;
    int rc = 0;

    log_view(seg, &view);
    if (from > view.base.offset) {
        rc = segment_find_offset(&view, (uint64_t)(from - view.base.offset) - 1, &i, e);
    }
    for (; rc == 0 && i < view.batches; i++) {
        rc = segment_entry(seg, i, &b, e);
        if (rc == 0 && producers_reserve(&log->producers, 1) < 0) {
            rc = err_sys(e, -ENOMEM, "producers");
        }
        if (rc == 0) {
            producers_note(&log->producers, &b, view.base.offset + b.offset, log_producers_now_ms(log));
        }
    }
    return rc;
}

/* What lies behind an offset, up to the end. */
static int replay(struct log *log, int64_t from, struct err *e)
{
    int rc = 0;

    for (uint32_t i = 0; i < log->segment_count && rc == 0; i++) {
        struct segment *seg = log->segments[i];

        if (!seg->producers || (seg->end.offset <= from && !seg->header_due)) {
            continue;
        }
        rc = segment_pin(seg, e);
        if (rc == 0) {
            rc = replay_segment(log, seg, from, e);
            if (rc == 0 && seg->header_due) {
                rc = segment_write_header(seg, seg->end, e); /* flushed with the entries, which are not yet */
                seg->header_due = rc < 0;
            }
            segment_unpin(seg);
        }
    }
    return rc;
}

/* The last file that holds; *from is its offset, 0 without any. */
static int take_file(struct log *log, const struct listing *listing, int64_t *from, struct err *e)
{
    *from = 0;
    for (uint32_t i = 0; i < listing->count; i++) {
        int rc = producers_load(log->env->io, log->dir.fd, listing->offsets[i], log_producers_now_ms(log),
                                &log->producers, e);

        if (rc == 0) {
            *from = listing->offsets[i];
            log->producers_stored = *from;
            return 0;
        }
        if (rc != -EBADMSG && rc != -ENOENT) {
            return rc;
        }
        log_line(LOG_WARNING, "%s: %s: done without", log->name, e != NULL ? e->text : "producers");
    }
    return 0;
}

/* At a segment's beginning, where a truncation may have need of it; or behind the last one's, where it saves time. */
static bool is_of_use(const struct log *log, int64_t offset)
{
    for (uint32_t i = 0; i < log->segment_count; i++) {
        if (log->segments[i]->base.offset == offset) {
            return true;
        }
    }
    return offset > log->segments[log->segment_count - 1]->base.offset;
}

/* Those behind the end, durably, and those of no use. Leaves the others in the listing. */
static int drop_files(struct log *log, struct listing *listing, struct err *e)
{
    uint32_t kept = 0;
    bool behind = false;
    int rc = 0;

    for (uint32_t i = 0; i < listing->count && rc == 0; i++) {
        int64_t offset = listing->offsets[i];

        if (i > 0 && offset == listing->offsets[i - 1]) {
            continue; /* what is left of writing one has the same number */
        }
        if (offset <= log->end.offset && is_of_use(log, offset)) {
            listing->offsets[kept++] = offset;
        } else {
            behind = behind || offset > log->end.offset;
            rc = unlink_one(log, offset);
        }
    }
    listing->count = kept;
    if (rc == 0 && behind) {
        rc = log->env->io->fsync(log->env->io, log->dir.fd) < 0 ? -EIO : 0; /* likewise */
    }
    return rc < 0 ? err_sys(e, rc, "remove what was known of producers") : 0;
}

/* The directory is held. */
static int load(struct log *log, struct err *e)
{
    struct listing listing = {0};
    int64_t from = 0;
    int rc = log->env->io->list(log->env->io, log->dir.fd, list_one, &listing);

    producers_free(&log->producers);
    log->producers_stored = -1;
    if (rc < 0) {
        err_sys(e, rc, "list the directory");
        goto out;
    }
    if (listing.count > 0) {
        qsort(listing.offsets, listing.count, sizeof *listing.offsets, descending);
    }
    rc = drop_files(log, &listing, e);
    log->producers_files = listing.count > 0;
    if (rc == 0) {
        rc = take_file(log, &listing, &from, e);
    }
    if (rc == 0) {
        rc = replay(log, from, e);
    }
    if (rc == 0) {
        log->names_producers = log->producers.count > 0;
    }
out:
    if (rc < 0) {
        producers_free(&log->producers);
        log->producers_stored = -1;
        log->producers_files = true; /* there may be some, and what they say is to be looked at again */
    }
    free(listing.offsets);
    return rc;
}

int log_load_producers(struct log *log, struct err *e)
{
    int rc = dir_hold(&log->dir, e);

    if (rc == 0) {
        rc = load(log, e);
        dir_release(&log->dir);
    }
    return rc;
}
