/* replication/metadata/quorum.c: ops, turns and snapshots.
 *
 *                   turn              flushed
 *   quorum_submit ──────→ APPENDED ─────────→ applied in order ──→ done(0, a race's errno)
 *      QUEUED │  │           │   └─ the flush failed ────────────→ done(-EIO)
 *             │  └ no room, or it fits no more ──────────────────→ done(…)
 *             └ cancelled         └ the deadline ────────────────→ done(-ETIMEDOUT); its record is applied all the same
 *
 * A turn takes what is queued, appends it record by record, flushes once, applies, and answers. It is one work after
 * the other: `busy` says that one is queued or under way, and whoever sets it owns the log's end and the metadata until
 * he gives it back. */
#include "replication/metadata/quorum.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "replication/base/limits.h"
#include "replication/executor/alarms.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/metadata/snapshot.h"
#include "replication/replica/partition_internal.h"

/* What the quorum keeps of an op: it may have to be applied when the op is over. */
struct proposal {
    struct quorum_op *op; /* the lock; NULL: nobody waits for it any more */
    int64_t deadline_ms;
    struct command cmd;
    void *data; /* cmd, encoded */
    size_t len;
    struct log_append_result at;
    bool appended; /* set by the turn, under the lock */
    int rc;
    struct err e;
    struct proposal *next;
};

static void on_turn(struct work *work);
static void on_flushed(struct log_flush *flush, int rc);
static void on_again(struct alarm *alarm);
static void on_deadline(struct alarm *alarm);

int quorum_open(struct quorum *quorum, const struct tree_attr *root, struct err *e)
{
    metadata_init(&quorum->meta, root);
    int rc = snapshot_read(quorum->io, quorum->dirfd, &quorum->meta, e);
    if (rc != 0)
        goto err_after_meta;
    quorum->snapshot_at = quorum->meta.next_offset + LIMIT_SNAPSHOT_COMMANDS;
    rc = quorum_server_start(quorum, e);
    quorum->leads = rc == 0;
    if (err_is_full_disk(rc))
        rc = quorum_server_wait(quorum, e);
    if (rc == 0)
        rc = quorum_replay(quorum, e);
    if (rc != 0) {
        err_wrap(e, rc, "%s", quorum->part->name);
        goto err_after_server;
    }
    partition_commit(quorum->part, log_end(quorum->part->log));
    pthread_mutex_init(&quorum->lock, NULL);
    pthread_rwlock_init(&quorum->meta_lock, NULL);
    quorum->last = &quorum->queue;
    quorum->work.run = on_turn;
    quorum->flush.done = on_flushed;
    alarm_init(&quorum->again, WORK_PROMPT, on_again);
    alarm_init(&quorum->deadline, WORK_PROMPT, on_deadline);
    return 0;

err_after_server:
    raft_free(&quorum->raft);
err_after_meta:
    metadata_free(&quorum->meta);
    return rc;
}

void quorum_close(struct quorum *quorum)
{
    assert(quorum->queue == NULL && quorum->turn == NULL);
    pthread_rwlock_destroy(&quorum->meta_lock);
    pthread_mutex_destroy(&quorum->lock);
    raft_free(&quorum->raft);
    metadata_free(&quorum->meta);
}

const struct metadata *quorum_acquire(struct quorum *quorum)
{
    pthread_rwlock_rdlock(&quorum->meta_lock);
    return &quorum->meta;
}

void quorum_release(struct quorum *quorum)
{
    pthread_rwlock_unlock(&quorum->meta_lock);
}

/* ---- proposals ---- */

static void free_proposal(struct proposal *proposal)
{
    command_free(&proposal->cmd);
    free(proposal->data);
    free(proposal);
}

/* Its op is over, and somebody else's to answer from here on; under the lock. NULL: it was over already. */
static struct quorum_op *detach(struct proposal *proposal)
{
    struct quorum_op *op = proposal->op;
    proposal->op = NULL;
    if (op != NULL)
        op->proposal = NULL;
    return op;
}

/* Answers and frees a list of them, in order. */
static void answer_all(struct quorum *quorum, struct proposal *list)
{
    while (list != NULL) {
        struct proposal *proposal = list;
        list = proposal->next;
        pthread_mutex_lock(&quorum->lock);
        struct quorum_op *op = detach(proposal);
        pthread_mutex_unlock(&quorum->lock);
        if (op != NULL) {
            op->e = proposal->e;
            op->done(op, proposal->rc);
        }
        free_proposal(proposal);
    }
}

/* ---- a turn: appending ---- */

/* May only be judged on the state that it will be applied to: the rules about settings that contradict each other ask
 * for more than one setting. Under the lock. */
static bool has_to_wait(const struct proposal *proposal, const struct proposal *before)
{
    bool config = proposal->cmd.type == COMMAND_SET_CONFIG || proposal->cmd.type == COMMAND_REMOVE_CONFIG;
    for (; config && before != proposal; before = before->next) {
        const struct command *other = &before->cmd;
        if ((other->type == COMMAND_SET_CONFIG || other->type == COMMAND_REMOVE_CONFIG) &&
            (other->topic[0] == '\0' || proposal->cmd.topic[0] == '\0' ||
             strcmp(other->topic, proposal->cmd.topic) == 0))
            return true;
    }
    return false;
}

/* Moves what can be decided now from the queue to the turn. */
static void begin_turn(struct quorum *quorum)
{
    pthread_mutex_lock(&quorum->lock);
    struct proposal *first = quorum->queue, **last = &first;
    while (*last != NULL && !has_to_wait(*last, first)) {
        (*last)->appended = true;
        last = &(*last)->next;
    }
    quorum->queue = *last;
    if (quorum->queue == NULL)
        quorum->last = &quorum->queue;
    *last = NULL;
    quorum->turn = first;
    pthread_mutex_unlock(&quorum->lock);
}

/* The start found no room for what begins an epoch. What the epoch begins with is applied as any replay is. */
static int lead(struct quorum *quorum, struct err *e)
{
    if (quorum->leads)
        return 0;
    raft_free(&quorum->raft);
    int rc = quorum_server_start(quorum, e);
    if (rc != 0)
        return rc;
    pthread_rwlock_wrlock(&quorum->meta_lock);
    rc = quorum_replay(quorum, e);
    pthread_rwlock_unlock(&quorum->meta_lock);
    quorum->leads = rc == 0;
    return rc;
}

static int append(struct quorum *quorum, struct proposal *proposal)
{
    struct err *e = &proposal->e;
    int rc = partition_usable(quorum->part, e);
    if (rc == 0)
        rc = lead(quorum, e);
    if (rc == 0)
        rc = metadata_check(&quorum->meta, &proposal->cmd, e);
    if (rc == 0)
        rc = quorum->prepare(quorum->arg, &proposal->cmd, e);
    if (rc == 0)
        rc = quorum_append_record(quorum, proposal->data, proposal->len, proposal->cmd.time_ms, &proposal->at, e);
    return rc;
}

/* Appends all of the turn, and takes out what could not be. Returns those. */
static struct proposal *append_all(struct quorum *quorum)
{
    struct proposal *refused = NULL, **last_refused = &refused, **link = &quorum->turn;
    while (*link != NULL) {
        struct proposal *proposal = *link;
        proposal->rc = append(quorum, proposal);
        if (proposal->rc == 0) {
            quorum->flushing = proposal->at.end;
            link = &proposal->next;
            continue;
        }
        pthread_mutex_lock(&quorum->lock); /* on_deadline() goes through the turn */
        *link = proposal->next;
        pthread_mutex_unlock(&quorum->lock);
        proposal->next = NULL;
        *last_refused = proposal;
        last_refused = &proposal->next;
    }
    return refused;
}

static void end_turn(struct quorum *quorum);

static void flush_turn(struct quorum *quorum)
{
    quorum->flush.upto = quorum->flushing.offset;
    if (partition_flush(quorum->part, &quorum->flush) == 1)
        quorum->flush.done(&quorum->flush, 0);
}

static void on_turn(struct work *work)
{
    struct quorum *quorum = CONTAINER_OF(work, struct quorum, work);
    begin_turn(quorum);
    answer_all(quorum, append_all(quorum));
    if (quorum->turn != NULL)
        flush_turn(quorum);
    else
        end_turn(quorum);
}

/* ---- a turn: deciding ---- */

/* Whoever proposed it has checked it on this state: an errno of a race comes from another command of the same turn. */
static void apply(struct quorum *quorum, struct proposal *proposal)
{
    pthread_rwlock_wrlock(&quorum->meta_lock);
    proposal->rc = metadata_apply(&quorum->meta, &proposal->cmd, proposal->at.base.offset, &proposal->e);
    pthread_rwlock_unlock(&quorum->meta_lock);
    if (proposal->rc == -EBADMSG || proposal->rc == -ENOMEM) { /* REPLICATION.md, rule 10 */
        log_line(LOG_CRIT, "%s: record %" PRId64 " was decided and cannot be applied: %s", quorum->part->name,
                 proposal->at.base.offset, proposal->e.text);
        abort();
    }
    if (proposal->rc == 0)
        quorum->applied(quorum->arg, &proposal->cmd);
}

/* Writes a snapshot and drops the log before it, if it is time. A failure costs nothing but the next attempt. */
static void snapshot_if_due(struct quorum *quorum)
{
    struct err e = {0};
    struct log *log = quorum->part->log;
    if (quorum->meta.next_offset < quorum->snapshot_at)
        return;
    quorum->snapshot_at = quorum->meta.next_offset + LIMIT_SNAPSHOT_COMMANDS;
    int rc = snapshot_write(quorum->io, quorum->dirfd, &quorum->meta, &e);
    if (rc == 0) {
        quorum_server_trimmed(quorum);
        rc = log_roll(log, &e);
    }
    if (rc == 0)
        rc = log_delete_records(log, quorum->flushing, &e);
    if (rc != 0)
        log_line(LOG_ERR, "snapshot of the metadata: %s", e.text);
}

/* The flush has ended: the turn is decided, or the log is offline. */
static void decide(struct quorum *quorum, int rc)
{
    if (rc == 0)
        quorum_server_flushed(quorum);
    /* REPLICATION.md, rule 9. A quorum of one has decided what its disk has. */
    assert(rc != 0 || (log_recovery_point(quorum->part->log) >= quorum->flushing.offset &&
                       quorum->decided >= quorum->flushing.offset));
    for (struct proposal *proposal = quorum->turn; proposal != NULL; proposal = proposal->next) {
        if (rc == 0)
            apply(quorum, proposal);
        else
            proposal->rc = err_set(&proposal->e, -EIO, "%s: its flush failed", quorum->part->name);
    }
    pthread_mutex_lock(&quorum->lock);
    struct proposal *decided = quorum->turn;
    quorum->turn = NULL;
    pthread_mutex_unlock(&quorum->lock);
    if (rc == 0)
        partition_commit(quorum->part, quorum->flushing);
    answer_all(quorum, decided);
    if (rc == 0)
        snapshot_if_due(quorum);
}

/* On a thread that flushes the log: this turn's own, or that of the background. */
static void on_flushed(struct log_flush *flush, int rc)
{
    struct quorum *quorum = CONTAINER_OF(flush, struct quorum, flush);
    /* The records are in the log and will be replayed: they cannot be refused. */
    if (err_is_passing(rc)) {
        alarm_set(quorum->executor, &quorum->again, LIMIT_DECIDE_AGAIN_MS);
        return;
    }
    decide(quorum, rc);
    end_turn(quorum);
}

static void on_again(struct alarm *alarm)
{
    flush_turn(CONTAINER_OF(alarm, struct quorum, again));
}

/* What came meanwhile has its own turn. */
static void end_turn(struct quorum *quorum)
{
    pthread_mutex_lock(&quorum->lock);
    quorum->busy = quorum->queue != NULL;
    bool next = quorum->busy;
    pthread_mutex_unlock(&quorum->lock);
    if (next)
        executor_prompt(quorum->executor, &quorum->work);
}

/* ---- ops ---- */

/* Sets the alarm to the earliest deadline, if there is one; under the lock. */
static void set_deadline(struct quorum *quorum)
{
    int64_t earliest_ms = INT64_MAX;
    for (int i = 0; i < 2; i++)
        for (struct proposal *proposal = i == 0 ? quorum->queue : quorum->turn; proposal; proposal = proposal->next)
            if (proposal->op != NULL && proposal->deadline_ms < earliest_ms)
                earliest_ms = proposal->deadline_ms;
    if (earliest_ms != INT64_MAX)
        alarm_set(quorum->executor, &quorum->deadline, earliest_ms - quorum->clock->mono_ms(quorum->clock));
}

/* Takes a proposal that no turn has taken out of the queue; under the lock. */
static void dequeue(struct quorum *quorum, struct proposal *proposal)
{
    struct proposal **link = &quorum->queue;
    while (*link != proposal)
        link = &(*link)->next;
    *link = proposal->next;
    if (quorum->last == &proposal->next)
        quorum->last = link;
    proposal->next = NULL;
}

/* Those whose time is over: out of the queue, or, if a turn has them, without their op. */
static void on_deadline(struct alarm *alarm)
{
    struct quorum *quorum = CONTAINER_OF(alarm, struct quorum, deadline);
    int64_t now_ms = quorum->clock->mono_ms(quorum->clock);
    struct quorum_op *op;
    do {
        op = NULL;
        pthread_mutex_lock(&quorum->lock);
        for (int i = 0; i < 2 && op == NULL; i++) {
            struct proposal *proposal = i == 0 ? quorum->queue : quorum->turn;
            while (proposal != NULL && (proposal->op == NULL || proposal->deadline_ms > now_ms))
                proposal = proposal->next;
            if (proposal == NULL)
                continue;
            op = detach(proposal);
            if (!proposal->appended) {
                dequeue(quorum, proposal);
                free_proposal(proposal);
            }
        }
        if (op == NULL)
            set_deadline(quorum);
        pthread_mutex_unlock(&quorum->lock);
        if (op != NULL)
            op->done(op, err_set(&op->e, -ETIMEDOUT, "no decision in %" PRId64 " ms", op->timeout_ms));
    } while (op != NULL);
}

static struct proposal *new_proposal(struct quorum *quorum, struct quorum_op *op, const struct command *cmd)
{
    struct proposal *proposal = calloc(1, sizeof *proposal);
    if (proposal == NULL)
        goto err;
    if (command_encode(cmd, &proposal->data, &proposal->len) != 0)
        goto err_after_proposal;
    if (command_decode(proposal->data, proposal->len, &proposal->cmd, NULL) != 0)
        goto err_after_data;
    proposal->op = op;
    proposal->deadline_ms = alarms_deadline_ms(quorum->clock->mono_ms(quorum->clock), op->timeout_ms);
    return proposal;

err_after_data:
    free(proposal->data);
err_after_proposal:
    free(proposal);
err:
    err_sys(&op->e, -ENOMEM, "metadata command");
    return NULL;
}

int quorum_submit(struct quorum *quorum, struct quorum_op *op, const struct command *cmd)
{
    int rc = partition_usable(quorum->part, &op->e);
    if (rc == 0) {
        rc = metadata_check(quorum_acquire(quorum), cmd, &op->e);
        quorum_release(quorum);
    }
    if (rc != 0)
        return rc;
    struct proposal *proposal = new_proposal(quorum, op, cmd);
    if (proposal == NULL)
        return -ENOMEM;

    pthread_mutex_lock(&quorum->lock);
    op->proposal = proposal;
    *quorum->last = proposal;
    quorum->last = &proposal->next;
    bool first = !quorum->busy;
    quorum->busy = true;
    if (proposal->deadline_ms != INT64_MAX)
        set_deadline(quorum);
    pthread_mutex_unlock(&quorum->lock);
    if (first)
        executor_prompt(quorum->executor, &quorum->work);
    return 0;
}

bool quorum_cancel(struct quorum *quorum, struct quorum_op *op)
{
    pthread_mutex_lock(&quorum->lock);
    struct proposal *proposal = op->proposal;
    bool taken = proposal != NULL && !proposal->appended;
    if (taken) {
        detach(proposal);
        dequeue(quorum, proposal);
    }
    pthread_mutex_unlock(&quorum->lock);
    if (taken)
        free_proposal(proposal);
    return taken;
}
