/* engine/recover/recover.c: from a directory to a log.
 *
 * First what a crash interrupted is finished (recover_dir.c). Then everything is looked at, in the order of offsets:
 * each segment, where the log starts, what indexes will be made from; only when nothing can refuse the log any more are
 * files cut, later segments dropped, and indexes mended. So a log that is refused is left as it was found (an index
 * that was missing is there then, empty), and opening twice gives the same.
 *
 * A segment is trusted, and costs a few look-ups, if the shutdown was clean or the next segment begins below the
 * recovery point; that bounds the work by what was not flushed. */
#include "engine/recover/recover.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <syslog.h>

#include "engine/log/log_internal.h"

/* What was found, segment by segment: they join the log's list as they come. */
struct recovery {
    struct log *log;
    const struct log_known *known;
    struct recover_dir dir;
    uint32_t kept;    /* of dir.files */
    uint32_t trusted; /* of these, the first so many */
    bool trim_last;
    bool epochs_agree;
    struct log_point nothing;    /* where it begins if no segment holds */
    char reason[ERR_TEXT_BYTES]; /* why it ends where it does, "": at the end of the files */
};

static int load_one(struct recovery *r, uint32_t i, const struct log_point *expected, struct err *e)
{
    static const unsigned indexes = 1u << SEGMENT_INDEX | 1u << SEGMENT_TIMEINDEX;
    struct recover_files *files = &r->dir.files[i];
    bool whole = true;
    bool last = i + 1 == r->dir.count;
    struct recover_load load = {
        .recovery_point = r->known->recovery_point,
        .trusted = r->known->clean_shutdown || (!last && files[1].base_offset < r->known->recovery_point),
        .last = last,
        .epochs = &r->log->epochs,
        .expected = expected,
    };
    int rc = recover_segment(r->log, files, &load, e);

    if (rc < 0) {
        return rc;
    }
    snprintf(r->reason, sizeof r->reason, "%s", load.reason);
    if (load.seg == NULL) {
        return 0;
    }
    if (load.trusted) {
        rc = recover_index_look(load.seg, &whole, e);
        whole = whole && (files->present & indexes) == indexes;
        files->bad_indexes = !whole;
        if (rc == 0 && !whole) {
            log_line(LOG_WARNING, "%s: segment %020" PRId64 ": its indexes do not hold and are made again",
                     r->log->name, files->base_offset);
        }
    }
    if (load.seg->ranged) {
        segment_seal(load.seg); /* the last one too: the next append rolls */
    }
    segment_unpin(load.seg);
    if (rc == 0) {
        rc = log_list_push(r->log, load.seg, e);
    }
    if (rc < 0) {
        segment_unref(load.seg);
        return rc;
    }
    r->kept = i + 1;
    r->trim_last = load.trim;
    r->epochs_agree = r->epochs_agree && load.epochs_agree;
    r->trusted += load.trusted;
    return 0;
}

/* Loads until the end, or until one does not hold or does not reach to the next. */
static int load_all(struct recovery *r, struct err *e)
{
    struct log *log = r->log;
    uint32_t i;
    int rc;

    for (i = 0; i < r->dir.count; i++) {
        rc = load_one(r, i, i > 0 ? &log->end : NULL, e);
        if (rc < 0) {
            return rc;
        }
        if (r->kept <= i) {
            return 0;
        }
        if (i + 1 < r->dir.count && log->end.offset != r->dir.files[i + 1].base_offset) {
            if (r->reason[0] == '\0') {
                snprintf(r->reason, sizeof r->reason, "the segment before %020" PRId64 " ends at offset %" PRId64,
                         r->dir.files[i + 1].base_offset, log->end.offset);
            }
            return r->known->clean_shutdown ? err_set(e, -EBADMSG, "%s", r->reason) : 0;
        }
    }
    return 0;
}

/* Where a log without segments begins: a reset, or a cut of all there was, that a crash has broken off. */
static struct log_point last_cut(const struct log *log)
{
    const struct epochs *epochs = &log->epochs;

    return epochs->cut_count > 0 ? epochs->cuts[epochs->cut_count - 1].to : (struct log_point){0, 0};
}

/* Where a log of which no segment holds begins: at the last cut, or where its only segment did. Of a log's first
 * segment alone the header is not synced when it is made, if it is the very first: so that one is at 0, and a cut
 * within it may have been decided. */
static struct log_point without_segments(const struct recovery *r)
{
    return r->dir.count == 1 && r->dir.files[0].base_offset == 0 ? (struct log_point){0, 0} : last_cut(r->log);
}

/* Where it ends, as far as it was found. */
static int64_t found_end(const struct recovery *r)
{
    return r->log->segment_count > 0 ? r->log->end.offset : r->nothing.offset;
}

/* DeleteRecords had gone further than what a crash left: all of it was deleted. */
static bool is_wholly_deleted(const struct recovery *r)
{
    int64_t end = found_end(r);

    return !r->known->clean_shutdown && r->known->start.offset > end;
}

/* What is to be cut must not have been on the disk, as what was appended behind it says. In a log that was cut back
 * that may be what an interrupted cut has left, and says nothing of what is there now. */
static int check_flushed(const struct recovery *r, struct err *e)
{
    struct log *log = r->log;
    bool cut = log->epochs.cut_count > 0;
    bool follows = r->kept == 0 || (r->kept < r->dir.count && log->end.offset == r->dir.files[r->kept].base_offset);
    uint32_t i;

    for (i = r->kept > 0 ? r->kept - 1 : 0; i < r->dir.count && r->reason[0] != '\0' && !cut; i++) {
        int64_t kept = i < r->kept ? log->segments[i]->batches : 0, entries;
        bool first_lost = i == r->kept && follows; /* all in front of it is there */
        int rc = recover_flushed(log, &r->dir.files[i], &entries, e);

        if (rc < 0) {
            return rc;
        }
        if (entries > kept || (entries == 0 && i >= r->kept && !first_lost)) {
            return err_set(e, -EBADMSG,
                           "it is damaged at offset %" PRId64 ", which was on the disk when segment %020" PRId64
                           " was appended to: %s",
                           found_end(r), r->dir.files[i].base_offset, r->reason);
        }
    }
    return 0;
}

/* Nothing that was flushed may be missing. */
static int check_reach(const struct recovery *r, struct err *e)
{
    const struct log_point *start = &r->known->start;
    int64_t end = found_end(r);

    if (is_wholly_deleted(r) && start->offset >= r->known->recovery_point) {
        return 0;
    }
    if (end < r->known->recovery_point || (r->known->clean_shutdown && end < r->known->start.offset)) {
        return err_set(e, -EBADMSG, "ends at offset %" PRId64 ", but had been flushed up to %" PRId64 "%s%s", end,
                       r->known->recovery_point > r->known->start.offset ? r->known->recovery_point
                                                                         : r->known->start.offset,
                       r->reason[0] != '\0' ? ": " : "", r->reason);
    }
    /* The first roll has synced the first header: only a lone first segment can have lost its own. */
    if (r->log->segment_count == 0 && r->dir.count > 0 &&
        (r->dir.files[0].base_offset != r->nothing.offset || r->dir.count > 1)) {
        return err_set(e, -EBADMSG, "its first segment does not hold: %s", r->reason);
    }
    if (r->log->segment_count > 0 && start->offset > r->log->segments[0]->base.offset && start->offset < end &&
        (start->position < r->log->segments[0]->base.position || start->position > r->log->end.position)) {
        return err_set(e, -EBADMSG, "the log start, offset %" PRId64 ", is said to be at position %" PRId64,
                       start->offset, start->position);
    }
    return 0;
}

/* Cuts what does not hold. */
static int apply_cut(struct recovery *r, struct err *e)
{
    struct log *log = r->log;
    int64_t end = found_end(r);
    int rc;

    assert(end >= r->known->recovery_point || is_wholly_deleted(r)); /* REPLICATION.md, rule 14 */
    if (r->reason[0] != '\0') {
        log_line(LOG_WARNING, "%s: cut at offset %" PRId64 ": %s", log->name, log->end.offset, r->reason);
    }
    rc = recover_dir_drop(log, &r->dir, r->kept, e);
    if (rc == 0 && log->segment_count > 0 && r->trim_last) {
        struct segment *seg = log->segments[log->segment_count - 1];

        rc = segment_pin(seg, e);
        if (rc == 0) {
            rc = recover_segment_trim(seg, e);
            segment_unpin(seg);
        }
    }
    if (rc == 0) {
        log_trim_segments(log);
    }
    return rc;
}

/* The very first segment goes, alone and with a cut within it behind it. When it has gone, the last cut alone says
 * where the log begins: so that is a cut of all of it before. */
static int note_nothing(struct recovery *r, struct err *e)
{
    struct log *log = r->log;
    struct epochs next;
    int rc;

    if (log->segment_count > 0 || r->nothing.offset == last_cut(log).offset) {
        return 0;
    }
    /* What an undecided cut has left has gone for good before there is another cut of its number. */
    rc = log->env->io->fsync(log->env->io, log->dir.fd);
    if (rc < 0) {
        return err_sys(e, rc, "fsync the directory");
    }
    if (epochs_copy(&log->epochs, &next) < 0) {
        return err_sys(e, -ENOMEM, "leader-epochs");
    }
    rc = epochs_cut(&next, r->nothing);
    /* An epoch that began with the log has begun. */
    if (rc == 0 && log->epochs.count > 0 && log->epochs.entries[0].start.offset == r->nothing.offset) {
        rc = epochs_assign(&next, log->epochs.entries[0].epoch, r->nothing);
    }
    if (rc < 0) {
        epochs_free(&next);
        return err_sys(e, rc, "leader-epochs");
    }
    return log_change_epochs(log, &next, NULL, NULL, e);
}

static int plan_indexes(struct recovery *r, struct segment *seg, bool anew, struct err *e)
{
    (void)r;
    return recover_index_plan(seg, anew, e);
}

static int mend_indexes(struct recovery *r, struct segment *seg, bool anew, struct err *e)
{
    return recover_index_mend(seg, &r->log->config, anew, e);
}

/* A step for the indexes of the segments that were checked, and of trusted ones where the look was not enough. */
static int each_to_mend(struct recovery *r,
                        int (*step)(struct recovery *r, struct segment *seg, bool anew, struct err *e), struct err *e)
{
    struct log *log = r->log;
    uint32_t i;
    int rc = 0;

    for (i = 0; i < r->kept && rc == 0; i++) {
        struct segment *seg = log->segments[i];

        if (i < r->trusted && !r->dir.files[i].bad_indexes) {
            continue;
        }
        rc = segment_pin(seg, e);
        if (rc == 0) {
            if (i + 1 < log->segment_count) {
                segment_seal(seg);
            }
            rc = step(r, seg, i < r->trusted, e);
            segment_unpin(seg);
        }
    }
    return rc;
}

/* The last that could refuse the log: entries of which the start and the indexes will have need. */
static int check_needs(struct recovery *r, struct err *e)
{
    struct log *log = r->log;
    struct log_point start = r->known->start;
    int64_t bytes;
    int rc = 0;

    if (is_wholly_deleted(r) || log->segment_count == 0) {
        return 0;
    }
    if (start.offset > log->segments[0]->base.offset && start.offset < log->end.offset) {
        rc = log_bytes_before(log, start, &bytes, e);
    }
    return rc == 0 ? each_to_mend(r, plan_indexes, e) : rc;
}

/* For a new log, or one of which nothing was ever flushed; or at the log start, so that no offset and no position below
 * it is given out again (as Kafka's truncateFullyAndStartAt). */
static int make_first(struct log *log, struct log_point base, struct err *e)
{
    struct segment *seg = segment_new(&log->segment_env, base);
    int rc;

    if (seg == NULL) {
        return err_sys(e, -ENOMEM, "new segment");
    }
    /* A first segment that is not the very first must not lose its header. */
    rc = segment_create(seg, "", base.offset > 0, e);
    if (rc < 0) {
        segment_unref(seg);
        return rc;
    }
    segment_unpin(seg);
    rc = log_list_push(log, seg, e);
    if (rc < 0) {
        segment_unref(seg);
        return rc;
    }
    log->directory_dirty = true;
    return 0;
}

static int64_t between(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static int set_figures(struct recovery *r, struct err *e)
{
    struct log *log = r->log;
    struct log_point first = log->segments[0]->base;
    struct log_point start = r->known->start;

    if (start.offset <= first.offset) {
        start = first;
    } else if (start.offset >= log->end.offset) {
        start = log->end;
    }
    log_list_sum(log);
    log->start = first;
    log->recovery_point =
        r->known->clean_shutdown ? log->end.offset : between(r->known->recovery_point, first.offset, log->end.offset);
    log->cleaner_offset = between(r->known->cleaner_offset, first.offset, log->end.offset);
    log->last_append_ms = log_list_last_append_ms(log);
    return log_set_start(log, start, e);
}

/* Only then do the old ones go, as in any deletion: a crash on the way comes here again. */
static int begin_again(struct recovery *r, struct err *e)
{
    struct log *log = r->log;
    int rc;

    log_line(LOG_WARNING, "%s: begins anew at its start, offset %" PRId64, log->name, r->known->start.offset);
    rc = make_first(log, r->known->start, e);
    if (rc == 0) {
        log_lock(log);
        rc = log_delete_front(log, log->segment_count - 1, e);
        log_unlock(log);
    }
    r->kept = 0;
    return rc;
}

static int run(struct recovery *r, struct err *e)
{
    int rc = recover_dir_read(r->log, &r->dir, e);

    if (rc == 0) {
        r->nothing = without_segments(r);
        rc = load_all(r, e);
    }
    if (rc == 0) {
        rc = check_flushed(r, e);
    }
    if (rc == 0) {
        rc = check_reach(r, e);
    }
    if (rc == 0) {
        rc = check_needs(r, e);
    }
    if (rc == 0) {
        rc = note_nothing(r, e);
    }
    if (rc == 0) {
        rc = apply_cut(r, e);
    }
    if (rc == 0 && is_wholly_deleted(r)) {
        rc = begin_again(r, e);
    } else if (rc == 0 && r->log->segment_count == 0) {
        rc = make_first(r->log, r->nothing, e);
    }
    if (rc == 0) {
        rc = each_to_mend(r, mend_indexes, e);
    }
    /* A process that died may have made names that no fsync has covered yet. */
    r->log->directory_dirty = r->log->directory_dirty || !r->known->clean_shutdown;
    return rc == 0 ? set_figures(r, e) : rc;
}

int recover_log(struct log *log, const struct log_known *known, bool *recovered, bool *agree, struct err *e)
{
    struct recovery r = {.log = log, .known = known, .epochs_agree = true};
    int rc = run(&r, e);

    *agree = r.epochs_agree;
    *recovered = !known->clean_shutdown && r.dir.count > 0;
    recover_dir_free(&r.dir);
    return rc;
}
