/* replication/metadata/quorum.c: the life of the quorum's part in a node, and its turns.
 *
 * A turn takes what has come: a flush or an apply that has ended, links, frames, time. Then, each if there is reason
 * to: commands are given to the leader (appended, if that is this node), what is to be fetched is asked for, those who
 * fetch here are answered, a flush is begun, what is decided goes to the applier. In this order, so that a record is on
 * its way to the others while this node's own disk writes it.
 *
 *     submit ─▶ [queued] ─turn─▶ log ─┬─▶ serve ─▶ others' logs ─▶ their flushed offsets ─┐
 *                                     └─▶ flush work ─▶ own flushed offset ───────────────┴─turn─▶ decided
 *     decided ─▶ apply work: metadata, node, readers ─▶ the op is answered where it was submitted */
#include "replication/metadata/quorum.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "replication/base/limits.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/metadata/snapshot.h"

enum {
    RESIGN_MS = 2 * RAFT_LEAVE_MS, /* the turns that it takes come on a machine that may be busy */
    RESIGN_LOOK_MS = 1,
};

static int64_t now_ms(const struct quorum *quorum)
{
    return quorum->clock->mono_ms(quorum->clock);
}

/* ---- what comes: the transport's thread ---- */

static struct quorum_mail *new_mail(struct quorum *quorum, enum quorum_mail_type type, int32_t node)
{
    struct quorum_mail *mail = calloc(1, sizeof *mail);

    /* Without memory it is as if it had not come. A link that came or went unheard shows in what it carries. */
    (void)quorum;
    if (mail != NULL) {
        mail->type = type;
        mail->node = node;
    }
    return mail;
}

static void free_mail(struct quorum_mail *mail)
{
    frame_free(mail->frame);
    free(mail);
}

static void on_frame(void *arg, int32_t from, enum channel channel, struct frame *frame)
{
    struct quorum *quorum = arg;
    struct quorum_mail *mail = new_mail(quorum, QUORUM_MAIL_FRAME, from);

    (void)channel;
    if (mail == NULL) {
        frame_free(frame);
        return;
    }
    mail->frame = frame;
    mailbox_post(&quorum->mailbox, &mail->mail);
}

static void on_up(void *arg, int32_t node, const struct hello *hello)
{
    struct quorum *quorum = arg;
    struct quorum_mail *mail = new_mail(quorum, QUORUM_MAIL_UP, node);

    if (mail == NULL)
        return;
    mail->process = hello->process;
    mailbox_post(&quorum->mailbox, &mail->mail);
}

static void on_down(void *arg, int32_t node, bool goodbye)
{
    struct quorum *quorum = arg;
    struct quorum_mail *mail = new_mail(quorum, QUORUM_MAIL_DOWN, node);

    if (mail == NULL)
        return;
    mail->goodbye = goodbye;
    mailbox_post(&quorum->mailbox, &mail->mail);
}

void quorum_peer_gone(struct quorum *quorum, int32_t node)
{
    struct quorum_mail *mail = new_mail(quorum, QUORUM_MAIL_GONE, node);

    if (mail != NULL)
        mailbox_post(&quorum->mailbox, &mail->mail);
}

static void on_dead(void *arg, int32_t node, uint64_t process)
{
    (void)process;
    quorum_peer_gone(arg, node);
}

/* ---- links ---- */

/* Notes the process that a node is up as. true: it was up as another one before. */
static bool note_process(struct quorum *quorum, int32_t node, uint64_t process)
{
    int place = -1;
    bool other;

    for (int i = 0; i < LIMIT_NODES_MET && (place < 0 || quorum->nodes[place] != node); i++) {
        if (quorum->nodes[i] == node || (place < 0 && quorum->nodes[i] == 0))
            place = i;
    }
    if (place < 0)
        return false;
    other = quorum->nodes[place] == node && quorum->processes[place] != process;
    quorum->nodes[place] = node;
    quorum->processes[place] = process;
    return other;
}

static void step_node(struct quorum *quorum, enum raft_event_type type, int32_t node)
{
    struct raft_event event = {.type = type, .node = node};

    if (quorum->state == QUORUM_WELL)
        quorum_step(quorum, &event);
}

static void take_link(struct quorum *quorum, const struct quorum_mail *mail)
{
    switch (mail->type) {
    case QUORUM_MAIL_UP:
        /* A newer process says that the older one has ended. */
        if (note_process(quorum, mail->node, mail->process))
            step_node(quorum, RAFT_EVENT_GONE, mail->node);
        if (mail->node == quorum->fetcher.from.node)
            quorum->fetcher.at_ms = now_ms(quorum);
        step_node(quorum, RAFT_EVENT_CONNECTED, mail->node);
        return;
    case QUORUM_MAIL_DOWN:
        step_node(quorum, mail->goodbye ? RAFT_EVENT_GONE : RAFT_EVENT_LOST, mail->node);
        return;
    case QUORUM_MAIL_GONE:
        step_node(quorum, RAFT_EVENT_GONE, mail->node);
        return;
    case QUORUM_MAIL_FRAME:
        return;
    }
}

/* ---- frames ---- */

static void take_raft(struct quorum *quorum, int32_t from, const struct frame *frame)
{
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE};
    struct raft_message msg;
    struct err e = {""};
    int rc = raft_message_decode(frame->header, frame->header_bytes, &msg, &e);

    if (rc == 0 && msg.from.node != from)
        rc = err_set(&e, -EBADMSG, "a message of the quorum in the name of node %d", (int)msg.from.node);
    if (rc != 0) {
        log_line(LOG_ERR, "node %d: %s", (int)from, e.text);
        network_drop(quorum->network, from);
        return;
    }
    if (msg.to.node != quorum->self.node)
        return;
    quorum_recover_heard(quorum, msg.from);
    if (quorum->state != QUORUM_WELL)
        return;
    event.message = &msg;
    if (msg.type == RAFT_FETCH)
        quorum_on_fetch(quorum, &msg);
    else if (msg.type == RAFT_FETCH_ANSWER)
        quorum_on_fetch_answer(quorum, &msg, frame);
    else
        quorum_step(quorum, &event);
}

static void take_frame(struct quorum *quorum, const struct quorum_mail *mail)
{
    if (quorum->state != QUORUM_WELL)
        return;
    switch ((enum message_kind)mail->frame->kind) {
    case MESSAGE_RAFT:
        take_raft(quorum, mail->node, mail->frame);
        return;
    case MESSAGE_COMMAND:
        quorum_on_command(quorum, mail->node, mail->frame);
        return;
    case MESSAGE_COMMAND_ANSWER:
        quorum_on_command_answer(quorum, mail->node, mail->frame);
        return;
    case MESSAGE_CHANGE_VOTERS:
        quorum_on_change(quorum, mail->node, mail->frame);
        return;
    case MESSAGE_CHANGE_VOTERS_ANSWER:
        quorum_on_change_answer(quorum, mail->node, mail->frame);
        return;
    case MESSAGE_SNAPSHOT_FETCH:
        quorum_on_snapshot_fetch(quorum, mail->node, mail->frame);
        return;
    case MESSAGE_SNAPSHOT_ANSWER:
        quorum_on_snapshot_answer(quorum, mail->node, mail->frame);
        return;
    default:
        return;
    }
}

static void hold(struct quorum *quorum, struct quorum_mail *mail)
{
    mail->mail.next = NULL;
    *quorum->held_last = &mail->mail;
    quorum->held_last = &mail->mail.next;
}

static void take(struct quorum *quorum, struct mail *list)
{
    while (list != NULL) {
        struct quorum_mail *mail = CONTAINER_OF(list, struct quorum_mail, mail);

        list = list->next;
        if (mail->type == QUORUM_MAIL_FRAME) {
            take_frame(quorum, mail);
        } else if (quorum->state == QUORUM_STALLED) {
            hold(quorum, mail);
            continue;
        } else {
            take_link(quorum, mail);
        }
        free_mail(mail);
    }
}

/* ---- flushing ---- */

static void on_flushed(struct log_flush *flush, int rc)
{
    struct quorum *quorum = CONTAINER_OF(flush, struct quorum, flush);

    pthread_mutex_lock(&quorum->lock);
    quorum->flush_over = true;
    quorum->flush_rc = rc;
    pthread_mutex_unlock(&quorum->lock);
    mailbox_kick(&quorum->mailbox);
}

static void on_flush(struct work *work)
{
    struct quorum *quorum = CONTAINER_OF(work, struct quorum, flush_work);

    quorum->flush.upto = log_end(quorum->log).offset;
    if (log_flush(quorum->log, &quorum->flush) == 1)
        quorum->flush.done(&quorum->flush, 0);
}

static void flush_if_due(struct quorum *quorum)
{
    if (quorum->flushing || quorum->state == QUORUM_FAILED ||
        log_recovery_point(quorum->log) >= log_end(quorum->log).offset)
        return;
    quorum->flushing = true;
    executor_prompt(quorum->executor, &quorum->flush_work);
}

/* false: it is to be tried again, when the alarm rings. */
static void take_flush(struct quorum *quorum, int rc)
{
    struct raft_event flushed = {.type = RAFT_EVENT_FLUSHED};
    struct err e = {""};

    /* The records are in the log and will be found by the next start: they cannot be refused. And what was cut off
     * meanwhile has not been flushed, which is no failure: what is there now is to be. */
    if (err_is_passing(rc) || (rc != 0 && log_offline(quorum->log) == 0)) {
        alarm_set(quorum->executor, &quorum->again, LIMIT_DECIDE_AGAIN_MS);
        return;
    }
    quorum->flushing = false;
    if (log_offline(quorum->log) != 0)
        quorum_fail(quorum, -EIO, (err_set(&e, -EIO, "its flush failed"), &e));
    else if (quorum->state == QUORUM_WELL)
        quorum_step(quorum, &flushed);
}

static void on_again(struct alarm *alarm)
{
    struct quorum *quorum = CONTAINER_OF(alarm, struct quorum, again);

    if (quorum->flushing)
        on_flush(&quorum->flush_work);
}

/* ---- time ---- */

static void on_tick(struct alarm *alarm)
{
    mailbox_kick(&CONTAINER_OF(alarm, struct quorum, tick)->mailbox);
}

static void set_tick(struct quorum *quorum)
{
    int64_t at = quorum->retry_at_ms, other;

    if (quorum->state == QUORUM_FAILED)
        return;
    if (quorum->state == QUORUM_WELL) {
        at = raft_deadline_ms(&quorum->raft);
        other = quorum_fetch_deadline_ms(quorum);
        if (other < at)
            at = other;
        other = quorum_install_deadline_ms(quorum);
        if (other < at)
            at = other;
        if (quorum->recover_at_ms < at)
            at = quorum->recover_at_ms;
    }
    other = quorum_change_deadline_ms(quorum);
    if (other < at)
        at = other;
    if (at != INT64_MAX)
        alarm_set(quorum->executor, &quorum->tick, at - now_ms(quorum));
}

static void take_time(struct quorum *quorum)
{
    struct raft_event tick = {.type = RAFT_EVENT_TICK};

    if (quorum->state == QUORUM_WELL && raft_deadline_ms(&quorum->raft) <= now_ms(quorum))
        quorum_step(quorum, &tick);
}

/* ---- what others may know ---- */

static void publish(struct quorum *quorum)
{
    bool leads;
    int32_t leader = quorum->state == QUORUM_FAILED ? 0 : raft_leader(&quorum->raft).node, before;

    pthread_mutex_lock(&quorum->lock);
    /* Its metadata holds all that was decided before it led. */
    leads = quorum->state == QUORUM_WELL && raft_may_answer(&quorum->raft) && !raft_is_leaving(&quorum->raft) &&
            quorum->applied_offset > quorum->raft.epoch_start;
    before = quorum->leader;
    quorum->leader = leader;
    quorum->leader_epoch = quorum->raft.state.epoch;
    quorum->elections = quorum->raft.elections;
    quorum->voters = *raft_voters(&quorum->raft);
    quorum->leading = leads;
    quorum->majority_ms = leads ? raft_majority_heard_ms(&quorum->raft) : 0;
    quorum->resigned = quorum->stop_begun && !(quorum->state == QUORUM_WELL && raft_is_leaving(&quorum->raft));
    pthread_mutex_unlock(&quorum->lock);
    if (leader != before && leader != 0 && !quorum_is_alone(quorum)) {
        log_line(LOG_NOTICE, "node %d leads the metadata quorum in epoch %d", (int)leader,
                 (int)quorum->raft.state.epoch);
    }
    if (leads != quorum->leads && quorum->started) {
        quorum->leads = leads;
        quorum->recovering = quorum->recovering && !leads;
        if (leads)
            quorum_ops_answered(quorum);
        quorum->led(quorum->arg, leads);
    }
}

/* ---- a turn ---- */

static void take_ends(struct quorum *quorum)
{
    bool flushed, applied, resigning, kept;
    int flush_rc;
    struct raft_event stop = {.type = RAFT_EVENT_STOP};

    pthread_mutex_lock(&quorum->lock);
    flushed = quorum->flush_over;
    flush_rc = quorum->flush_rc;
    applied = quorum->apply_over;
    resigning = quorum->resigning;
    kept = quorum->kept;
    quorum->flush_over = quorum->apply_over = quorum->resigning = quorum->kept = false;
    pthread_mutex_unlock(&quorum->lock);
    if (flushed)
        take_flush(quorum, flush_rc);
    if (applied)
        quorum_apply_over(quorum);
    if (kept)
        quorum_install_kept(quorum);
    /* Alone there is nobody to hand over to. */
    if (resigning && quorum->state == QUORUM_WELL && !quorum_is_alone(quorum))
        quorum_step(quorum, &stop);
    quorum->stop_begun = quorum->stop_begun || resigning;
}

static void unstall_if_due(struct quorum *quorum)
{
    struct mail *held = quorum->held;
    bool wanted;

    if (quorum->state != QUORUM_STALLED)
        return;
    pthread_mutex_lock(&quorum->lock);
    wanted = quorum->queued != NULL;
    pthread_mutex_unlock(&quorum->lock);
    if (!wanted && now_ms(quorum) < quorum->retry_at_ms)
        return;
    quorum_unstall(quorum);
    if (quorum->state == QUORUM_STALLED)
        return;
    quorum->held = NULL;
    quorum->held_last = &quorum->held;
    take(quorum, held);
}

static void turn(struct mailbox *mailbox, struct mail *list)
{
    struct quorum *quorum = CONTAINER_OF(mailbox, struct quorum, mailbox);

    atomic_store(&quorum->turn_ms, now_ms(quorum));
    unstall_if_due(quorum);
    take_ends(quorum);
    take(quorum, list);
    quorum_recover_tend(quorum);
    take_time(quorum);
    publish(quorum);
    quorum_ops_give(quorum);
    quorum_change_tend(quorum);
    quorum_install_tend(quorum);
    quorum_fetch_tend(quorum);
    quorum_serve(quorum);
    flush_if_due(quorum);
    quorum_apply(quorum);
    publish(quorum);
    if (quorum->state != QUORUM_WELL) /* it may have come to that just now */
        quorum_ops_give(quorum);
    set_tick(quorum);
    atomic_store(&quorum->turn_ms, 0);
}

/* ---- life ---- */

static void init(struct quorum *quorum)
{
    pthread_mutex_init(&quorum->lock, NULL);
    pthread_rwlock_init(&quorum->meta_lock, NULL);
    mailbox_init(&quorum->mailbox, quorum->executor, WORK_URGENT, turn);
    alarm_init(&quorum->tick, WORK_URGENT, on_tick);
    alarm_init(&quorum->again, WORK_URGENT, on_again);
    quorum->held_last = &quorum->held;
    quorum->flush_work.run = on_flush;
    quorum->flush.done = on_flushed;
    quorum->follows = -1;
    if (quorum->snapshot_commands == 0)
        quorum->snapshot_commands = LIMIT_SNAPSHOT_COMMANDS;
    quorum_ops_init(quorum);
    quorum_apply_init(quorum);
    quorum->listener = (struct network_listener){.up = on_up, .down = on_down, .dead = on_dead, .arg = quorum};
    network_listen(quorum->network, &quorum->listener);
    network_handle(quorum->network, MESSAGE_RAFT, on_frame, quorum);
    network_handle(quorum->network, MESSAGE_SNAPSHOT_FETCH, on_frame, quorum);
    network_handle(quorum->network, MESSAGE_SNAPSHOT_ANSWER, on_frame, quorum);
    network_handle(quorum->network, MESSAGE_CHANGE_VOTERS, on_frame, quorum);
    network_handle(quorum->network, MESSAGE_CHANGE_VOTERS_ANSWER, on_frame, quorum);
    network_handle(quorum->network, MESSAGE_COMMAND, on_frame, quorum);
    network_handle(quorum->network, MESSAGE_COMMAND_ANSWER, on_frame, quorum);
}

static void finish(struct quorum *quorum)
{
    raft_free(&quorum->raft);
    metadata_free(&quorum->meta);
    pthread_rwlock_destroy(&quorum->meta_lock);
    pthread_mutex_destroy(&quorum->lock);
}

#define TAKE_ITS_PLACE                                                                                                 \
    "put it back; or, where other nodes hold the metadata, take this node's data directory away and let it join as "   \
    "new"

static int open_snapshot(struct quorum *quorum, struct err *e)
{
    struct err why = {""};
    int rc = snapshot_read(quorum->io, quorum->dirfd, SNAPSHOT_FILE, &quorum->meta, &quorum->snapshot_id, &why);

    if (rc == -EBADMSG)
        return err_set(e, rc, "%s: " TAKE_ITS_PLACE, why.text);
    if (rc != 0 && rc != -ENOENT)
        return err_set(e, rc, "%s", why.text);
    if (quorum->snapshot_id.epoch < 0) /* of a version that did not say it */
        quorum->snapshot_id.epoch = quorum->meta.epoch;
    return 0;
}

/* REPLICATION.md, rule 16: who has lost its log, and not the directory's incarnation, must not vote as the server that
 * it was: it does not know what it has promised. A snapshot's end is on the disk in the log before the snapshot is, and
 * a record of the cluster before it is known to be of it. */
static int check_whole(struct quorum *quorum, struct err *e)
{
    int64_t end = log_end(quorum->log).offset, begins = quorum->meta.next_offset;

    if (end < begins) {
        return err_set(e, -EBADMSG,
                       "its log ends at offset %" PRId64 ", in front of where its snapshot does, %" PRId64
                       ": it was lost, or some of it: " TAKE_ITS_PLACE,
                       end, begins);
    }
    if (end == 0 && quorum->in_cluster) {
        return err_set(e, -EBADMSG,
                       "this node is of a cluster, but its log and its snapshot are gone: " TAKE_ITS_PLACE);
    }
    return 0;
}

int quorum_open(struct quorum *quorum, const struct tree_attr *root, struct err *e)
{
    struct log_point end;
    int rc;

    metadata_init(&quorum->meta, root);
    init(quorum);
    rc = executor_random(quorum->executor, &quorum->next_number, sizeof quorum->next_number);
    quorum->next_session = quorum->next_number;
    if (rc == 0)
        rc = quorum_install_resume(quorum, e);
    if (rc == 0)
        rc = open_snapshot(quorum, e);
    if (rc == 0)
        rc = check_whole(quorum, e);
    quorum->snapshot_at = quorum->meta.next_offset + quorum->snapshot_commands;
    if (rc == 0)
        rc = quorum_server_start(quorum, e);
    end = log_end(quorum->log);
    if (quorum->known_offset > quorum->decided_offset)
        quorum->decided_offset = quorum->known_offset < end.offset ? quorum->known_offset : end.offset;
    if (rc == 0)
        rc = quorum_replay(quorum, e);
    if (rc != 0) {
        err_wrap(e, rc, "%s", quorum->name);
        (void)mailbox_free(&quorum->mailbox);
        finish(quorum);
        return rc;
    }
    publish(quorum);
    return 0;
}

bool quorum_knows_all(const struct quorum *quorum)
{
    return quorum->knows_all;
}

int quorum_recovered(struct quorum *quorum, struct err *e)
{
    int rc = 0;

    pthread_mutex_lock(&quorum->lock);
    if (quorum->recover_rc != 0)
        rc = err_set(e, quorum->recover_rc, "%s", quorum->recover_e.text);
    else if (!quorum->recover || quorum->leading)
        rc = 1;
    pthread_mutex_unlock(&quorum->lock);
    return rc;
}

void quorum_start(struct quorum *quorum)
{
    quorum->started = true;
    quorum->committed(quorum->arg, quorum->applied_point, quorum->meta.epoch);
    mailbox_kick(&quorum->mailbox);
}

static bool has_resigned(struct quorum *quorum)
{
    bool resigned;

    pthread_mutex_lock(&quorum->lock);
    resigned = quorum->resigned;
    pthread_mutex_unlock(&quorum->lock);
    return resigned;
}

void quorum_resign(struct quorum *quorum)
{
    pthread_mutex_lock(&quorum->lock);
    quorum->resigning = true;
    pthread_mutex_unlock(&quorum->lock);
    mailbox_kick(&quorum->mailbox);
    for (int waited_ms = 0; waited_ms < RESIGN_MS && !has_resigned(quorum); waited_ms += RESIGN_LOOK_MS)
        executor_pause(quorum->executor, RESIGN_LOOK_MS);
}

void quorum_stop(struct quorum *quorum)
{
    pthread_mutex_lock(&quorum->lock);
    quorum->stopped = true;
    pthread_mutex_unlock(&quorum->lock);
    quorum_ops_end(quorum, -EROFS, -ETIMEDOUT, "this node stops");
    quorum_change_end(quorum);
}

void quorum_close(struct quorum *quorum)
{
    struct mail *mail = mailbox_free(&quorum->mailbox), *next;

    assert(quorum->queued == NULL && mail == NULL);
    for (mail = quorum->held; mail != NULL; mail = next) {
        next = mail->next;
        free_mail(CONTAINER_OF(mail, struct quorum_mail, mail));
    }
    quorum_install_free(quorum);
    snapshot_free(&quorum->snapshot);
    finish(quorum);
}

/* ---- what there is to ask ---- */

const struct metadata *quorum_acquire(struct quorum *quorum)
{
    pthread_rwlock_rdlock(&quorum->meta_lock);
    return &quorum->meta;
}

void quorum_release(struct quorum *quorum)
{
    pthread_rwlock_unlock(&quorum->meta_lock);
}

void quorum_elections(struct quorum *quorum, int32_t *epoch, uint64_t *elections)
{
    pthread_mutex_lock(&quorum->lock);
    *epoch = quorum->leader_epoch;
    *elections = quorum->elections;
    pthread_mutex_unlock(&quorum->lock);
}

int32_t quorum_leader(struct quorum *quorum)
{
    int32_t leader;

    pthread_mutex_lock(&quorum->lock);
    leader = quorum->leader;
    pthread_mutex_unlock(&quorum->lock);
    return leader;
}

void quorum_voters(struct quorum *quorum, struct raft_voters *out)
{
    pthread_mutex_lock(&quorum->lock);
    *out = quorum->voters;
    pthread_mutex_unlock(&quorum->lock);
}

bool quorum_has_peers(struct quorum *quorum)
{
    struct raft_voters voters;

    quorum_voters(quorum, &voters);
    return voters.count > 1 || quorum->peers.count > 1 ||
           (voters.count == 1 && !raft_id_equal(voters.ids[0], quorum->self));
}

bool quorum_leads(struct quorum *quorum, int64_t *majority_heard_ms)
{
    bool leads;

    pthread_mutex_lock(&quorum->lock);
    leads = quorum->leading;
    if (majority_heard_ms != NULL)
        *majority_heard_ms = quorum->majority_ms;
    pthread_mutex_unlock(&quorum->lock);
    return leads;
}
