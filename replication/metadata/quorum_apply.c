/* replication/metadata/quorum_apply.c: what is decided is applied, in order, by one work at a time; and the snapshots
 * that follow from it.
 *
 * The records are read from the log, on the node that leads as on all others: what a command does is the same
 * everywhere. For each: the metadata, then the node (`applied`), then readers of the log (`committed`), then whoever
 * submitted it here. A record that is decided is never cut off, so that the applier needs nothing of the turns but to
 * know how far it may go.
 *
 * A snapshot drops records. It waits until the node has acted on all that it holds, and for `keep`: what they said was
 * to be done and was not would be known to nobody.
 *
 * Failing: a read that fails for want of memory or descriptors is tried again; what cannot be applied ends the process
 * (REPLICATION.md, rule 10). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "replication/base/limits.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/metadata/snapshot.h"

/* ---- applying: the applier's ---- */

static int apply_one(struct quorum *quorum, const struct command *cmd, struct log_point end, struct err *reason)
{
    struct err e = {""};
    int rc;

    (void)reason;
    pthread_rwlock_wrlock(&quorum->meta_lock);
    rc = metadata_apply(&quorum->meta, cmd, end.offset - 1, &e);
    quorum->applied_point = end;
    pthread_rwlock_unlock(&quorum->meta_lock);
    if (rc == -EBADMSG || rc == -ENOMEM) { /* REPLICATION.md, rule 10 */
        log_line(LOG_CRIT, "%s: record %" PRId64 " was decided and cannot be applied: %s", quorum->name, end.offset - 1,
                 e.text);
        abort();
    }
    if (rc == 0)
        quorum->applied(quorum->arg, cmd);
    atomic_store(&quorum->acted_offset, end.offset);
    quorum->committed(quorum->arg, end, quorum->meta.epoch);
    if (cmd->type == COMMAND_BEGIN_EPOCH)
        quorum_ops_epoch(quorum, cmd->epoch);
    quorum_ops_applied(quorum, cmd, rc, &e);
    return 0;
}

static void snapshot_if_due(struct quorum *quorum)
{
    bool due = quorum->meta.next_offset >= quorum->snapshot_at && !atomic_load(&quorum->snapshotting);

    if (!due)
        return;
    quorum->snapshot_at = quorum->meta.next_offset + quorum->snapshot_commands;
    atomic_store(&quorum->snapshotting, true);
    executor_bulk(quorum->executor, &quorum->snapshot_work);
}

static void on_apply(struct work *work)
{
    struct quorum *quorum = CONTAINER_OF(work, struct quorum, apply_work);
    struct err e = {""};
    int64_t to;
    int rc;

    pthread_mutex_lock(&quorum->lock);
    to = quorum->decided_offset;
    pthread_mutex_unlock(&quorum->lock);
    /* REPLICATION.md, rule 9: nobody is the first to say that something is decided but a turn. */
    rc = quorum_each_record(quorum, quorum->meta.next_offset, to, apply_one, &e);
    if (rc == -EBADMSG) {
        log_line(LOG_CRIT, "%s: what was decided cannot be applied: %s", quorum->name, e.text);
        abort();
    }
    snapshot_if_due(quorum);
    if (err_is_passing(rc)) {
        alarm_set(quorum->executor, &quorum->apply_again, LIMIT_DECIDE_AGAIN_MS);
        return;
    }
    pthread_mutex_lock(&quorum->lock);
    quorum->applied_offset = quorum->meta.next_offset;
    quorum->apply_over = true;
    quorum->apply_rc = rc;
    pthread_mutex_unlock(&quorum->lock);
    mailbox_kick(&quorum->mailbox);
}

static void on_apply_again(struct alarm *alarm)
{
    on_apply(&CONTAINER_OF(alarm, struct quorum, apply_again)->apply_work);
}

/* ---- snapshots: bulk ---- */

/* It is encoded, or rc says why not. A failure costs nothing but the next attempt. */
static void put_snapshot(struct quorum *quorum, int rc, struct err *e)
{
    /* What is applied is on the disks of a majority, which this one may not be of: no snapshot of more than the log has
     * after a power cut. */
    if (rc == 0 && (rc = log_flush_all(quorum->log)) != 0)
        err_sys(e, rc, "flush the log");
    if (rc == 0)
        rc = quorum->keep(quorum->arg, e);
    if (rc == 0)
        rc = snapshot_write(quorum->io, quorum->dirfd, SNAPSHOT_FILE, &quorum->snapshot, e);
    snapshot_free(&quorum->snapshot);
    /* Before the log begins there: who is behind is told of it. */
    pthread_mutex_lock(&quorum->lock);
    if (rc == 0)
        quorum->snapshot_id = quorum->snapshot_next;
    pthread_mutex_unlock(&quorum->lock);
    if (rc == 0)
        rc = log_roll(quorum->log, e);
    if (rc == 0)
        rc = log_delete_records(quorum->log, quorum->snapshot_next.end, e);
    if (rc != 0)
        log_line(LOG_ERR, "snapshot of the metadata: %s", e->text);
    pthread_mutex_lock(&quorum->lock);
    quorum->trimmed = quorum->trimmed || rc == 0;
    pthread_mutex_unlock(&quorum->lock);
    atomic_store(&quorum->snapshotting, false);
    mailbox_kick(&quorum->mailbox);
}

/* The node may be at the last command of it still. */
static void put_snapshot_when_acted(struct quorum *quorum)
{
    if (atomic_load(&quorum->acted_offset) >= quorum->snapshot_next.end.offset)
        put_snapshot(quorum, 0, &(struct err){""});
    else
        alarm_set(quorum->executor, &quorum->snapshot_again, LIMIT_DECIDE_AGAIN_MS);
}

static void on_snapshot_again(struct alarm *alarm)
{
    put_snapshot_when_acted(CONTAINER_OF(alarm, struct quorum, snapshot_again));
}

static void on_snapshot(struct work *work)
{
    struct quorum *quorum = CONTAINER_OF(work, struct quorum, snapshot_work);
    struct err e = {""};
    int rc;

    pthread_rwlock_rdlock(&quorum->meta_lock);
    rc = snapshot_encode(&quorum->meta, quorum->applied_point, &quorum->snapshot, &e);
    quorum->snapshot_next = (struct snapshot_id){.end = quorum->applied_point, .epoch = quorum->meta.epoch};
    pthread_rwlock_unlock(&quorum->meta_lock);
    if (rc != 0)
        put_snapshot(quorum, rc, &e);
    else
        put_snapshot_when_acted(quorum);
}

/* ---- a snapshot that is damaged: any thread ---- */

void quorum_snapshot_want(struct quorum *quorum)
{
    atomic_store(&quorum->snapshot_wanted, true);
    mailbox_kick(&quorum->mailbox);
}

int quorum_snapshot_check(struct quorum *quorum, struct err *e)
{
    int rc = snapshot_check(quorum->io, quorum->dirfd, e);
    bool there;

    pthread_mutex_lock(&quorum->lock);
    there = quorum->snapshot_id.end.offset > 0;
    pthread_mutex_unlock(&quorum->lock);
    if (rc == 0 || err_is_passing(rc) || !there)
        return rc;
    err_wrap(e, rc, "it is written anew");
    quorum_snapshot_want(quorum);
    return -EBADMSG;
}

/* ---- a turn's ---- */

/* Between two applies: no other snapshot takes the place of all that is applied meanwhile. */
static void snapshot_if_wanted(struct quorum *quorum)
{
    if (quorum->applying || atomic_load(&quorum->snapshotting) || !atomic_exchange(&quorum->snapshot_wanted, false))
        return;
    atomic_store(&quorum->snapshotting, true);
    executor_bulk(quorum->executor, &quorum->snapshot_work);
}

void quorum_apply_init(struct quorum *quorum)
{
    quorum->apply_work.run = on_apply;
    quorum->snapshot_work.run = on_snapshot;
    alarm_init(&quorum->apply_again, WORK_PROMPT, on_apply_again);
    alarm_init(&quorum->snapshot_again, WORK_BULK, on_snapshot_again);
}

void quorum_apply(struct quorum *quorum)
{
    struct raft_event event = {.type = RAFT_EVENT_TRIMMED};
    bool due, trimmed;

    pthread_mutex_lock(&quorum->lock);
    due = !quorum->applying && quorum->state != QUORUM_FAILED && quorum->applied_offset < quorum->decided_offset;
    trimmed = quorum->trimmed && quorum->state == QUORUM_WELL;
    quorum->trimmed = quorum->trimmed && !trimmed;
    pthread_mutex_unlock(&quorum->lock);
    event.offset = log_start(quorum->log).offset;
    if (trimmed)
        quorum_step(quorum, &event);
    snapshot_if_wanted(quorum);
    if (due) {
        quorum->applying = true;
        executor_prompt(quorum->executor, &quorum->apply_work);
    }
}

void quorum_apply_over(struct quorum *quorum)
{
    quorum->applying = false;
    quorum_ops_answered(quorum);
    if (quorum->apply_rc != 0)
        quorum_fail(quorum, -EIO, &(struct err){"what is decided cannot be read"});
}
