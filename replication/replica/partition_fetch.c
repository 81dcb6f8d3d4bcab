/* replication/replica/partition_fetch.c: a follower's part in one partition: what it asks its leader, and what becomes
 * of the answers (fetch.h has the states).
 *
 * Records: held against what is expected → log_append_copy() → the next fetch acks them. Diverging: cut back to where
 * the leader's epoch ends, or where the follower's own does, whichever is first, and asked again, until none is left
 * (KIP-101, KIP-279; REPLICATION.md, rule 42). Reset: the leader's log begins later, and this one begins anew there.
 *
 * By the turns of one fetcher; a change of role comes in between, and what is under way then is refused by the log, of
 * whose epoch it is no more. Failure: no room, memory or descriptors: the fetch pauses and is asked again, and the same
 * is not logged again; a log that went offline is not fetched for. What makes room is done on a full disk, too: a cut
 * with the reserve, and the leader's log start is followed whether its records find room or not. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "engine/base/limits.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/replica_message.h"

static int64_t now_ms(const struct partition *part)
{
    return manager_now_ms(part->manager);
}

/* ---- what is asked ---- */

/* Bytes have gone, for whoever keeps what was read. Calls back. */
static void changed_much(struct partition *part)
{
    partition_holes_made(part);
    partition_segments_changed(part);
}

/* The log follows in the epoch from here on: no append of ours is under way any more. -ESTALE: not this node's part any
 * more. */
static int begin_following(struct partition *part, int32_t epoch, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&part->life_lock);
    if (partition_role(part) != ROLE_FOLLOWER || atomic_load(&part->leader_epoch) != epoch)
        rc = err_set(e, -ESTALE, "%s is not followed in epoch %" PRId32, part->name, epoch);
    else if (!atomic_load(&part->epoch.assigned))
        rc = log_follow(part->log, epoch, e);
    if (rc == 0 && BUG(cuts_to_high_watermark) && !atomic_load(&part->epoch.assigned))
        rc = partition_cut(part, epoch, partition_own_high_watermark(part), e);
    bool drops = rc == 0 && atomic_load(&part->damage.resigned);
    if (drops)
        rc = partition_drop(part, epoch, e);
    if (rc == 0 && !atomic_exchange(&part->epoch.assigned, true))
        atomic_store(&part->refused.cut_rc, 0);
    pthread_mutex_unlock(&part->life_lock);
    if (drops && atomic_exchange(&part->refused.drop_rc, rc) != rc && rc != 0)
        log_line(LOG_ERR, "%s", e->text);
    if (drops && rc == 0)
        changed_much(part);
    return rc;
}

bool partition_fetch_session(struct partition *part, int32_t leader, uint64_t session)
{
    pthread_mutex_lock(&part->lock);
    bool is = part->fetch.leader == leader && leader != 0 && part->fetch.session != session;
    if (is)
        fetch_session(&part->fetch, session);
    pthread_mutex_unlock(&part->lock);
    return is;
}

static void fill(struct partition *part, struct replica_fetch *out)
{
    struct log_point end = log_end(part->log);
    memcpy(out->key.topic_id, part->topic->id, UUID_BYTES);
    out->key.index = part->index;
    out->end = end;
    out->last_epoch = log_latest_epoch(part->log);
    out->flushed = log_recovery_point(part->log);
    out->start = log_start(part->log).offset;
    out->credit = LIMIT_FETCH_CREDIT_BYTES;
}

bool partition_fetch(struct partition *part, int32_t leader, uint64_t session, struct replica_fetch *out)
{
    struct err e = {0};
    if (atomic_load(&part->forward.handing_over))
        return false; /* what waited is read from the log before it may be cut; then this is asked for again */
    (void)partition_fetch_session(part, leader, session);
    pthread_mutex_lock(&part->lock);
    bool due = part->fetch.leader == leader && part->fetch.state == FETCH_DUE;
    int32_t epoch = part->fetch.leader_epoch;
    pthread_mutex_unlock(&part->lock);
    /* A damaged log is offline, perhaps, until it has been dropped. */
    bool drops = due && atomic_load(&part->damage.resigned) && !atomic_load(&part->damage.failed);
    int rc = drops ? 0 : partition_reach(part, &e);
    if (rc == 0 && due && partition_hangs(part))
        rc = -EIO;
    if (rc == 0 && due)
        rc = begin_following(part, epoch, &e);
    if (rc == 0)
        fill(part, out);

    pthread_mutex_lock(&part->lock);
    struct fetch *fetch = &part->fetch;
    bool says = fetch->leader == leader && fetch->leader_epoch == epoch;
    if (says && rc != 0) {
        fetch_failed(fetch, false, now_ms(part));
        says = false;
    }
    says = says && fetch_say(fetch, manager_number(part->manager), out->end.offset, now_ms(part));
    if (says) {
        out->key.leader_epoch = epoch;
        out->key.round = fetch->round;
        out->high_watermark = part->isr.high_watermark.offset;
        out->full = fetch->full;
    }
    pthread_mutex_unlock(&part->lock);
    return says;
}

void partition_fetch_unsaid(struct partition *part, uint64_t round)
{
    pthread_mutex_lock(&part->lock);
    fetch_unsaid(&part->fetch, round);
    pthread_mutex_unlock(&part->lock);
}

/* ---- the log start ---- */

/* A follower removes what its leader has removed, and nothing by itself. What it cannot now it can with the next
 * answer. */
static void follow_start(struct partition *part, struct log_point start)
{
    struct err e = {0};
    if (start.offset <= log_start(part->log).offset || start.offset > log_end(part->log).offset)
        return;
    if (partition_follow_start(part, start, &e) != 0)
        log_line(LOG_ERR, "%s", e.text);
}

/* ---- the high watermark ---- */

/* Whom it passes: readers, and appends of this node's own that their leader has acknowledged. */
struct marked {
    struct partition_waiter *waiters;
    struct append_op *shown;
    bool moved;
};

/* Under the lock; the log is known to agree with the leader's up to `end`. */
static void follow_mark(struct partition *part, struct log_point mark, struct log_point end, struct marked *marked)
{
    if (mark.offset > end.offset)
        mark = end;
    marked->moved = mark.offset > part->isr.high_watermark.offset;
    if (!marked->moved)
        return;
    part->isr.high_watermark = mark;
    partition_change(part, false);
    marked->waiters = partition_collect(part, mark.position);
    marked->shown = partition_collect_committed(part);
}

static void tell_mark(struct partition *part, const struct marked *marked)
{
    partition_wake(marked->waiters, NULL);
    partition_finish(marked->shown, 0);
    if (marked->moved)
        partition_tell(part, false);
}

/* Under the lock: the answer's epoch and round are still those that are followed. */
static bool is_current(const struct partition *part, uint64_t session, const struct replica_key *key)
{
    return fetch_judge(&part->fetch, session, key->leader_epoch, key->round, -1) == FETCH_TAKE;
}

bool partition_take_mark(struct partition *part, uint64_t session, const struct replica_mark *mark)
{
    struct marked marked = {NULL, NULL, false};
    if (part->log == NULL)
        return false;
    struct log_point end = log_end(part->log);
    pthread_mutex_lock(&part->lock);
    bool takes = is_current(part, session, &mark->key);
    if (takes) {
        fetch_took(&part->fetch, end.offset, false);
        partition_removal_heed(part, mark->start, mark->key.leader_epoch);
        follow_mark(part, mark->high_watermark, end, &marked);
    }
    pthread_mutex_unlock(&part->lock);
    tell_mark(part, &marked);
    if (takes)
        follow_start(part, mark->start);
    return false;
}

/* ---- records ---- */

/* Takes over as many as the log takes in one go. Returns how many, or a negative errno. */
static int copy_some(struct partition *part, const struct replica_answer *answer, uint32_t first, const uint8_t *bytes,
                     size_t len, size_t *used, struct err *e)
{
    struct log_copy copies[LIMIT_COPY_BATCHES];
    struct log_append_result result;
    uint32_t count = 0;
    size_t at = 0;
    for (; count < LIMIT_COPY_BATCHES && first + count < answer->batch_count; count++) {
        struct replica_batch batch;
        if (replica_batch_decode(answer->batches + (size_t)(first + count) * REPLICA_BATCH_BYTES, &batch) != 0 ||
            batch.entry.len > len - at)
            return err_set(e, -EBADMSG, "batches that are none");
        copies[count] = (struct log_copy){.base = batch.base, .entry = batch.entry, .bytes = bytes + at};
        at += batch.entry.len;
    }
    uint64_t wanted = flusher_wanted(&part->manager->flusher);
    int rc = log_append_copy(part->log, answer->key.leader_epoch, copies, count, &result, e);
    if (flusher_wanted(&part->manager->flusher) != wanted)
        flusher_request(&part->manager->flusher, part);
    *used = 0;
    for (int i = 0; i < rc; i++)
        *used += copies[i].entry.len;
    return rc;
}

static int copy_all(struct partition *part, const struct replica_answer *answer, const uint8_t *bytes, size_t len,
                    struct err *e)
{
    uint32_t done = 0;
    while (done < answer->batch_count) {
        size_t used;
        int rc = copy_some(part, answer, done, bytes, len, &used, e);
        if (rc < 0)
            return rc;
        done += (uint32_t)rc;
        bytes += used;
        len -= used;
    }
    return len == 0 ? 0 : err_set(e, -EBADMSG, "more bytes than batches");
}

/* It came to nothing. true: something is to be said. */
static bool copy_failed(struct partition *part, const struct replica_answer *answer, int rc, const struct err *e)
{
    bool full = err_is_full_disk(rc), takes, says;
    if (rc == -ESTALE)
        return false; /* another epoch has begun; its fetch is asked by itself */
    if (rc == -EBADMSG)
        log_line(LOG_ERR, "%s: from its leader: %s", part->name, e->text);
    partition_fail_if_offline(part);
    pthread_mutex_lock(&part->lock);
    takes = is_current(part, answer->session, &answer->key);
    if (takes) {
        fetch_failed(&part->fetch, full, now_ms(part));
        partition_removal_heed(part, answer->start, answer->key.leader_epoch);
    }
    says = takes && part->fetch.ack;
    pthread_mutex_unlock(&part->lock);
    /* Who is sent records has a log that agrees; and that may be what makes room for them. */
    if (takes && full)
        follow_start(part, answer->start);
    return says;
}

/* What the leader's log ends with, where it is a hole. */
static int skip_hole(struct partition *part, const struct replica_answer *answer, struct err *e)
{
    if (answer->upto.offset <= log_end(part->log).offset)
        return 0;
    int rc = log_skip(part->log, answer->key.leader_epoch, answer->upto, e);
    return rc == 0 ? partition_flush_now(part) : rc;
}

static bool take_records(struct partition *part, const struct replica_answer *answer, const uint8_t *bytes, size_t len)
{
    struct err e = {0};
    struct marked marked = {NULL, NULL, false};
    int rc = partition_usable(part, &e);
    if (rc == 0 && reserve_in_use(part->manager->reserve))
        rc = err_set(&e, -ENOSPC, "%s: the disk is full", part->name);
    /* A hole may come first, in which it began. */
    if (rc == 0 && answer->found_epoch > log_latest_epoch(part->log))
        rc = log_copy_epoch(part->log, answer->key.leader_epoch, answer->found_epoch, &e);
    if (rc == 0)
        rc = copy_all(part, answer, bytes, len, &e);
    if (rc == 0)
        rc = skip_hole(part, answer, &e);
    if (rc == 0 && answer->batch_count > 0 && partition_flush_due(part, log_end(part->log).offset))
        rc = partition_flush_now(part);
    if (rc != 0)
        return copy_failed(part, answer, rc, &e);

    struct log_point end = log_end(part->log);
    pthread_mutex_lock(&part->lock);
    bool takes = is_current(part, answer->session, &answer->key);
    if (takes) {
        fetch_took(&part->fetch, end.offset, end.offset > answer->point.offset);
        partition_removal_heed(part, answer->start, answer->key.leader_epoch);
        follow_mark(part, answer->high_watermark, end, &marked);
    }
    bool says = takes && part->fetch.ack;
    pthread_mutex_unlock(&part->lock);
    tell_mark(part, &marked);
    if (takes)
        follow_start(part, answer->start);
    if (answer->batch_count > 0) {
        partition_arm_flush(part);
        flusher_checkpoint_soon(&part->manager->flusher);
    }
    return says;
}

/* ---- cutting ---- */

/* Where the log is to be cut: *to, which is its end if there is nothing to cut. */
static void point_of_divergence(struct partition *part, const struct replica_answer *answer, struct log_point *to)
{
    int32_t found;
    struct log_point own;
    log_epoch_end(part->log, answer->found_epoch, &found, &own);
    if (own.offset < 0 || BUG(diverges_once))
        own = log_end(part->log);
    bool same = answer->point.offset < own.offset && (found == answer->found_epoch || BUG(diverges_once));
    *to = same ? answer->point : own;
}

void partition_lower_mark(struct partition *part, struct log_point end, struct log_point start)
{
    pthread_mutex_lock(&part->lock);
    if (part->isr.high_watermark.offset > end.offset)
        part->isr.high_watermark = end;
    if (part->isr.high_watermark.offset < start.offset)
        part->isr.high_watermark = start;
    pthread_mutex_unlock(&part->lock);
}

static int cut_log(struct partition *part, int32_t epoch, struct log_point to, bool keeps, int64_t last_append_ms,
                   struct err *e)
{
    return keeps ? log_truncate(part->log, epoch, to, e) : log_reset(part->log, epoch, to, last_append_ms, e);
}

/* On a full disk with the reserve. What failed for want of room may have gone half-way, and is gone on with by the next
 * answer. */
static int cut_at(struct partition *part, int32_t epoch, struct log_point to, bool keeps, int64_t last_append_ms,
                  bool *changed, struct err *e)
{
    struct reserve *reserve = part->manager->reserve;
    struct log_point before = log_end(part->log);
    int32_t last = log_latest_epoch(part->log);
    int rc;

    partition_shown_keep(part);
    rc = cut_log(part, epoch, to, keeps, last_append_ms, e);
    if (reserve_begin(reserve, rc)) {
        rc = cut_log(part, epoch, to, keeps, last_append_ms, e);
        reserve_end(reserve);
    }
    struct log_point end = log_end(part->log);

    *changed = end.offset != before.offset || log_latest_epoch(part->log) != last;
    if (rc == 0 || *changed) {
        partition_lower_mark(part, end, log_start(part->log));
        changed_much(part);
    }
    return rc;
}

int partition_cut(struct partition *part, int32_t epoch, struct log_point to, struct err *e)
{
    bool changed;
    return cut_at(part, epoch, to, to.offset >= log_start(part->log).offset, -1, &changed, e);
}

static int cut(struct partition *part, int kind, const struct replica_answer *answer, bool *changed, struct err *e)
{
    struct log_point before = log_end(part->log), to = answer->point;
    if (kind == MESSAGE_DIVERGING)
        point_of_divergence(part, answer, &to);
    bool keeps = kind == MESSAGE_DIVERGING && to.offset >= log_start(part->log).offset;
    bool again = atomic_load(&part->refused.cut_rc) != 0;
    if (keeps && to.offset < before.offset && !again) { /* else nothing goes but an epoch without a record */
        log_line(LOG_NOTICE, "%s: cut from offset %" PRId64 " back to %" PRId64 ", where epoch %" PRId32 " ended",
                 part->name, before.offset, to.offset, answer->found_epoch);
    } else if (!keeps && !again) {
        log_line(LOG_NOTICE, "%s: begins anew at offset %" PRId64, part->name, to.offset);
    }
    int64_t last_append_ms = kind == MESSAGE_RESET ? replica_answer_last_append_ms(answer) : -1;
    return cut_at(part, answer->key.leader_epoch, to, keeps, last_append_ms, changed, e);
}

/* Only with BUG(mark_before_cut). */
static void take_mark_early(struct partition *part, int kind, const struct replica_answer *answer)
{
    struct marked marked = {NULL, NULL, false};
    struct log_point end = log_end(part->log);
    pthread_mutex_lock(&part->lock);
    if (kind == MESSAGE_DIVERGING && is_current(part, answer->session, &answer->key))
        follow_mark(part, answer->high_watermark, end, &marked);
    pthread_mutex_unlock(&part->lock);
    tell_mark(part, &marked);
}

static bool take_cut(struct partition *part, int kind, const struct replica_answer *answer)
{
    struct err e = {0};
    bool changed = false;
    int rc = partition_usable(part, &e);
    if (rc == 0 && BUG(mark_before_cut))
        take_mark_early(part, kind, answer);
    if (rc == 0)
        rc = cut(part, kind, answer, &changed, &e);
    if (rc != -ESTALE && atomic_exchange(&part->refused.cut_rc, rc) != rc && rc != 0)
        log_line(LOG_ERR, "%s", e.text);
    partition_fail_if_offline(part);
    pthread_mutex_lock(&part->lock);
    bool takes = is_current(part, answer->session, &answer->key);
    /* A leader that asks for nothing that changes anything is not asked again at once. */
    if (takes && (rc != 0 || !changed))
        fetch_failed(&part->fetch, false, now_ms(part));
    else if (takes)
        fetch_anew(&part->fetch);
    pthread_mutex_unlock(&part->lock);
    return takes && rc == 0 && changed;
}

/* ---- whatever comes ---- */

bool partition_take_answer(struct partition *part, int kind, const struct replica_answer *answer, const uint8_t *bytes,
                           size_t len)
{
    if (part->log == NULL)
        return false;
    pthread_mutex_lock(&part->lock);
    enum fetch_verdict verdict = fetch_judge(&part->fetch, answer->session, answer->key.leader_epoch, answer->key.round,
                                             kind == MESSAGE_RECORDS ? answer->point.offset : -1);
    if (verdict == FETCH_ANEW)
        fetch_anew(&part->fetch);
    pthread_mutex_unlock(&part->lock);
    if (verdict != FETCH_TAKE)
        return verdict == FETCH_ANEW;
    switch (kind) {
    case MESSAGE_RECORDS:
        return take_records(part, answer, bytes, len);
    case MESSAGE_DIVERGING:
    case MESSAGE_RESET:
        return take_cut(part, kind, answer);
    case MESSAGE_FENCED: /* the metadata will say who leads */
    default:
        return false;
    }
}
