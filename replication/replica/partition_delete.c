/* replication/replica/partition_delete.c: DeleteRecords and retention.
 *
 * DeleteRecords is an op that the deleter does (replication/replica/deleter.h), with those of other partitions: the new
 * log start is in its checkpoint, on the disk, before anything is hidden or deleted: a call that fails has changed
 * nothing. On a full disk both fall back on the reserve. With replicas elsewhere it is over when all in sync have the
 * new start (partition_insync.c), and where another node leads that one is asked (partition_ask.c): then what this node
 * keeps of it for its readers goes before the call returns. Only a leader retains; a follower takes its leader's start
 * over, and goes on with files that it had no room to do without. */
#include "replication/replica/partition.h"

#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"

void partition_watch(struct partition *part, struct partition_watch *watch)
{
    pthread_mutex_lock(&part->holes.lock);
    part->holes.watch = watch;
    pthread_mutex_unlock(&part->holes.lock);
}

void partition_holes_made(struct partition *part)
{
    pthread_mutex_lock(&part->holes.lock);
    if (part->holes.watch != NULL)
        part->holes.watch->holes_made(part->holes.watch);
    pthread_mutex_unlock(&part->holes.lock);
}

struct log_point partition_checkpoint_start(struct partition *part)
{
    struct log_point start = log_start(part->log);
    pthread_mutex_lock(&part->lock);
    if (part->deletes.checkpoint_start.offset > start.offset)
        start = part->deletes.checkpoint_start;
    pthread_mutex_unlock(&part->lock);
    return start;
}

static void set_checkpoint_start(struct partition *part, struct log_point point)
{
    pthread_mutex_lock(&part->lock);
    part->deletes.checkpoint_start = point;
    pthread_mutex_unlock(&part->lock);
}

/* log_retain(), or of who does not lead log_delete_rest(), with what follows from it. */
static int retain(struct partition *part, struct err *e)
{
    struct replica_manager *manager = part->manager;
    uint64_t wanted = flusher_wanted(&manager->flusher);
    int rc = partition_leads(part) ? log_retain(part->log, partition_own_high_watermark(part), e)
                                   : log_delete_rest(part->log, e);
    if (flusher_wanted(&manager->flusher) != wanted)
        flusher_request(&manager->flusher, part);
    if (rc > 0) {
        partition_holes_made(part);
        atomic_fetch_add(&manager->segments_deleted, (uint64_t)rc);
        partition_segments_changed(part);
        flusher_checkpoint_soon(&manager->flusher);
    } else if (rc < 0) {
        partition_fail_if_offline(part);
    }
    return rc;
}

int partition_retain(struct partition *part, struct err *e)
{
    struct reserve *reserve = part->manager->reserve;
    if (part->topic->own)
        return 0; /* the quorum says what goes */
    int rc = retain(part, e);
    if (reserve_begin(reserve, rc)) {
        rc = retain(part, e);
        reserve_end(reserve);
    } else if (rc > 0) {
        reserve_refill(reserve);
    }
    return rc < 0 ? rc : 0;
}

static void is_over(struct delete_records_op *op, int rc);

/* ---- the deleter's round ---- */

void partition_delete_begin(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    part->deletes.ops = part->deletes.first;
    part->deletes.first = NULL;
    pthread_mutex_unlock(&part->lock);
    part->deletes.point = (struct log_point){0, 0};
    for (struct delete_records_op *op = part->deletes.ops; op != NULL; op = op->next) {
        if (op->point.offset > part->deletes.point.offset)
            part->deletes.point = op->point;
    }
    part->deletes.rc = part->deletes.ops == NULL ? 0 : partition_usable(part, &part->deletes.ops->e);
    if (part->deletes.rc == 0)
        set_checkpoint_start(part, part->deletes.point);
}

int partition_delete_checkpointed(struct partition *part, int checkpoint_rc, const struct err *e)
{
    struct delete_records_op *op = part->deletes.ops; /* has the reason, for all */
    if (op == NULL || (part->deletes.rc != 0 && !err_is_full_disk(part->deletes.rc)))
        return 0;
    part->deletes.rc = checkpoint_rc;
    if (checkpoint_rc != 0)
        err_set(&op->e, checkpoint_rc, "%s", e->text);
    else
        part->deletes.rc = log_delete_records(part->log, part->deletes.point, &op->e);
    return part->deletes.rc;
}

void partition_delete_settle(struct partition *part)
{
    set_checkpoint_start(part, (struct log_point){0, 0});
    /* An active segment that is wholly deleted goes when the disk has room for the next one: now, or with a later look
     * of the retention. */
    if (part->deletes.ops != NULL && part->deletes.rc == 0) {
        partition_holes_made(part);
        (void)partition_retain(part, NULL);
        partition_segments_changed(part);
    }
}

void partition_delete_end(struct partition *part)
{
    struct delete_records_op *ops = part->deletes.ops;
    int rc = part->deletes.rc;
    struct err e = ops != NULL ? ops->e : (struct err){0};
    part->deletes.ops = NULL;
    partition_fail_if_offline(part);
    pthread_mutex_lock(&part->lock);
    part->deletes.busy = part->deletes.first != NULL;
    bool more = part->deletes.busy;
    pthread_mutex_unlock(&part->lock);
    if (more)
        deleter_request(&part->manager->deleter, part);
    while (ops != NULL) {
        struct delete_records_op *op = ops;
        ops = op->next;
        op->e = e;
        is_over(op, rc);
    }
    partition_unref(part);
}

/* ---- the op ---- */

/*     the leader ---> knows what was shown ---> the deleter's round ---> all in sync have the new log start on the disk
 * ---> over elsewhere ---> the leader is asked, over changes of leader ---> over */

static int delete_here(struct partition *part, struct delete_records_op *op);

void partition_removed(struct partition *part, struct log_point start, int32_t leader_epoch)
{
    pthread_mutex_lock(&part->lock);
    if (start.offset > part->deletes.removed.offset) {
        part->deletes.removed = start;
        part->deletes.removed_epoch = leader_epoch;
    }
    pthread_mutex_unlock(&part->lock);
    if (start.offset > 0) /* 0: an older build does not say up to where */
        (void)remote_show(part, start, leader_epoch, -1);
    remote_removed(part, start);
}

void partition_removal_heed(struct partition *part, struct log_point start, int32_t leader_epoch)
{
    if (start.offset < part->deletes.removed.offset && leader_epoch > part->deletes.removed_epoch)
        part->deletes.removed = (struct log_point){0, 0};
}

static void on_asked(struct ask *ask, int rc)
{
    struct delete_records_op *op = CONTAINER_OF(ask, struct delete_records_op, ask);

    if (rc == -EREMOTE) { /* this node has come to lead */
        rc = delete_here(op->part, op);
        if (rc == 0) {
            return;
        }
    } else if (rc < 0) {
        err_sys(&op->e, rc, "%s: its leader", op->part->name);
    } else {
        partition_removed(op->part, (struct log_point){ask->answer_upto, ask->answer_position}, ask->leader_epoch);
    }
    op->done(op, rc);
}

static void delete_elsewhere(struct delete_records_op *op)
{
    struct clock *clock = op->part->manager->clock;

    op->ask = (struct ask){.kind = MESSAGE_DELETE_RECORDS,
                           .epoch = -1,
                           .upto = op->position,
                           .deadline_ms = clock->mono_ms(clock) + LIMIT_ASK_MS,
                           .done = on_asked};
    partition_ask(op->part, &op->ask);
}

static void on_insync(struct insync_wait *wait, int rc)
{
    struct delete_records_op *op = CONTAINER_OF(wait, struct delete_records_op, wait);

    if (rc == -EREMOTE) { /* the next leader may not have heard of it */
        delete_elsewhere(op);
        return;
    }
    if (rc < 0) {
        err_sys(&op->e, rc, "%s: its replicas", op->part->name);
    }
    op->done(op, rc);
}

/* The deleter is through with it. */
static void is_over(struct delete_records_op *op, int rc)
{
    struct partition *part = op->part;
    struct clock *clock;

    if (rc != 0 || part == NULL || !atomic_load(&part->replicated)) { /* NULL: a follower's own */
        op->done(op, rc);
        return;
    }
    clock = part->manager->clock;
    op->wait = (struct insync_wait){
        .start = op->point.offset, .deadline_ms = clock->mono_ms(clock) + LIMIT_ASK_MS, .done = on_insync};
    partition_insync_wait(part, &op->wait);
}

/* For the deleter's next round. */
static void queue(struct partition *part, struct delete_records_op *op)
{
    bool first;

    partition_ref(part); /* who takes the op back has it once it is in the list, and perhaps the last reference */
    pthread_mutex_lock(&part->lock);
    op->next = part->deletes.first;
    part->deletes.first = op;
    first = !part->deletes.busy;
    part->deletes.busy = true;
    pthread_mutex_unlock(&part->lock);
    if (first) {
        deleter_request(&part->manager->deleter, part);
    }
    partition_unref(part);
}

static void on_shown(struct insync_wait *wait, int rc)
{
    struct delete_records_op *op = CONTAINER_OF(wait, struct delete_records_op, wait);

    if (rc == -EREMOTE) {
        delete_elsewhere(op);
        return;
    }
    if (rc < 0) {
        err_sys(&op->e, rc, "%s: its replicas", op->part->name);
    } else {
        rc = delete_here(op->part, op);
    }
    if (rc != 0) {
        op->done(op, rc);
    }
}

/* A leader that has just come to lead may know of a lower high watermark than its predecessor has shown: what is meant
 * to go up to there would stay in part. Where its epoch began it knows of all of it. true: that is waited for. */
static bool waits_for_shown(struct partition *part, struct delete_records_op *op, const struct log_point *hw)
{
    struct clock *clock = part->manager->clock;
    int64_t end = log_end(part->log).offset, before;

    if (!atomic_load(&part->replicated) || op->position <= hw->position) {
        return false;
    }
    pthread_mutex_lock(&part->lock);
    before = atomic_load(&part->epoch.assigned) ? part->epoch.start : end;
    pthread_mutex_unlock(&part->lock);
    if (hw->offset >= before) {
        return false;
    }
    op->wait = (struct insync_wait){
        .committed = before, .deadline_ms = clock->mono_ms(clock) + LIMIT_ASK_MS, .done = on_shown};
    partition_insync_wait(part, &op->wait);
    return true;
}

static int delete_here(struct partition *part, struct delete_records_op *op)
{
    struct log_point hw = partition_own_high_watermark(part);
    int rc = partition_reach(part, &op->e);

    op->point = hw;
    if (rc == 0 && waits_for_shown(part, op, &hw)) {
        return 0;
    }
    if (rc == 0 && op->position < hw.position) {
        rc = log_lookup_position(part->log, op->position, hw, &op->point, &op->e);
    }
    if (rc != 0) {
        partition_fail_if_offline(part);
        return rc;
    }
    queue(part, op);
    return 0;
}

int partition_delete_records(struct partition *part, struct delete_records_op *op)
{
    op->part = part;
    if (part->topic->internal) {
        return err_set(&op->e, -EPERM, "%s is the cluster's own", part->name);
    }
    if (partition_leads(part)) {
        return delete_here(part, op);
    }
    if (atomic_load(&part->topic->deleted)) {
        return err_set(&op->e, -ESTALE, "topic %s was deleted", part->topic->name);
    }
    delete_elsewhere(op);
    return 0;
}

bool partition_delete_records_cancel(struct partition *part, struct delete_records_op *op)
{
    pthread_mutex_lock(&part->lock);
    struct delete_records_op **link = &part->deletes.first;
    while (*link != NULL && *link != op)
        link = &(*link)->next;
    bool taken = *link != NULL;
    if (taken)
        *link = op->next;
    pthread_mutex_unlock(&part->lock);
    return taken || partition_ask_cancel(part, &op->ask) || partition_insync_cancel(part, &op->wait);
}

/* ---- a follower's ---- */

/* With the partition's reference that it holds. */
struct follow_start {
    struct delete_records_op op;
    struct partition *part;
};

static void on_followed(struct delete_records_op *op, int rc)
{
    struct follow_start *follow = CONTAINER_OF(op, struct follow_start, op);
    struct partition *part = follow->part;
    struct replica_peer *peer;
    int32_t leader;

    if (rc != -ESTALE && atomic_exchange(&part->refused.start_rc, rc) != rc && rc != 0) {
        log_line(LOG_ERR, "%s: follow the log start: %s", part->name, op->e.text);
    }
    pthread_mutex_lock(&part->lock);
    part->deletes.follows_start = false;
    part->fetch.ack = part->fetch.ack || (rc == 0 && part->fetch.state == FETCH_FED);
    leader = part->fetch.leader;
    pthread_mutex_unlock(&part->lock);
    peer = leader != 0 && rc == 0 ? manager_peer(part->manager, leader) : NULL;
    if (peer != NULL) {
        fetcher_want(&peer->fetcher, part);
    }
    partition_unref(part);
    free(follow);
}

int partition_follow_start(struct partition *part, struct log_point start, struct err *e)
{
    struct follow_start *follow = malloc(sizeof *follow);
    bool under_way;

    if (follow == NULL) {
        return err_sys(e, -ENOMEM, "%s: follow the log start", part->name);
    }
    pthread_mutex_lock(&part->lock);
    under_way = part->deletes.follows_start;
    part->deletes.follows_start = true;
    pthread_mutex_unlock(&part->lock);
    if (under_way) {
        free(follow);
        return 0;
    }
    *follow = (struct follow_start){.op = {.done = on_followed, .point = start}, .part = partition_ref(part)};
    queue(part, &follow->op);
    return 0;
}
