/* replication/metadata/quorum_install.c: a snapshot in place of records (KIP-630): for who ends where the leader's log
 * has not begun yet, or has something else there; and the pieces that are given to others.
 *
 *   NONE ─ a fetch is answered so ─▶ FETCHING ─ all pieces ─▶ KEEPING ─ read, on the disk ─▶ READY
 *    ▲            ▲                     │                                                     │ the applier rests
 *    │            └── another leader, or it has a newer one                                   ▼
 *    └──────────────────────── the metadata and the node are as it says ◀─────────────── REPLACING
 *
 * KEEPING is bulk work: it decodes the bytes and writes them beside the old snapshot, durably. Then a turn lets the log
 * begin anew behind it and gives it the old one's name, in this order; a start that finds the file under the new name
 * does both once more. REPLACING is the applier's. Before the log begins anew the owner is told which topics the
 * snapshot does not have any more: a process that ends in between leaves nothing else that says so.
 *
 * Meanwhile another may lead, whose log this one could follow: what lies behind the snapshot's end then may be decided
 * because this server has it on its disk, and must not go. What lies before is in the snapshot. So a log that ends
 * behind it keeps what it has, and the snapshot goes, here and at a start; unless it is still the same leader's, whose
 * log is another there: then that is cut off before.
 *
 * What becomes of commands that were given to a leader is not known: their records may be among those that are skipped.
 *
 * Failing: what does not come is asked for again; with no room on the disk it is fetched anew later. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "engine/base/limits.h"
#include "replication/base/limits.h"
#include "replication/base/reserve.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/wire/snapshot_message.h"

static int64_t now_ms(const struct quorum *quorum)
{
    return quorum->clock->mono_ms(quorum->clock);
}

/* ---- fetching ---- */

static void drop(struct quorum_install *install)
{
    snapshot_free(&install->snapshot);
    install->have = 0;
    install->state = INSTALL_NONE;
}

void quorum_install_begin(struct quorum *quorum, const struct raft_message *msg)
{
    struct quorum_install *install = &quorum->install;
    bool same = raft_id_equal(install->from, msg->from) && install->id.end.offset == msg->fetch_answer.end_offset &&
                install->id.epoch == msg->fetch_answer.end_epoch;

    if (install->state == INSTALL_FETCHING && same)
        install->epoch = msg->epoch;
    if (install->state > INSTALL_FETCHING || (install->state == INSTALL_FETCHING && same) ||
        now_ms(quorum) < install->not_before_ms)
        return;
    drop(install);
    install->state = INSTALL_FETCHING;
    install->from = msg->from;
    install->epoch = msg->epoch;
    install->id = (struct snapshot_id){.end = {msg->fetch_answer.end_offset, -1}, .epoch = msg->fetch_answer.end_epoch};
    install->session = ++quorum->next_session;
    install->at_ms = now_ms(quorum);
}

static void ask(struct quorum *quorum)
{
    struct quorum_install *install = &quorum->install;
    struct snapshot_message msg = {.session = install->session,
                                   .offset = install->id.end.offset,
                                   .epoch = install->id.epoch,
                                   .at = (int64_t)install->have};
    uint8_t header[SNAPSHOT_MESSAGE_BYTES];
    size_t len = snapshot_message_encode(&msg, header);

    install->at_ms = now_ms(quorum) + LIMIT_SNAPSHOT_AGAIN_MS;
    (void)network_send(quorum->network, install->from.node, CHANNEL_RECORDS, MESSAGE_SNAPSHOT_FETCH, header, len, NULL,
                       0);
}

int64_t quorum_install_deadline_ms(const struct quorum *quorum)
{
    return quorum->install.state == INSTALL_FETCHING ? quorum->install.at_ms : INT64_MAX;
}

static void on_keep(struct work *work);

/* Another piece, behind those that are here. false: no memory. */
static bool take_piece(struct quorum_install *install, const struct snapshot_message *msg, const struct frame *frame)
{
    if (install->have == 0) {
        snapshot_free(&install->snapshot);
        install->snapshot.data = malloc((size_t)msg->size);
        if (install->snapshot.data == NULL)
            return false;
        install->snapshot.len = (size_t)msg->size;
    }
    memcpy((uint8_t *)install->snapshot.data + install->have, frame->body, frame->body_bytes);
    install->have += frame->body_bytes;
    return true;
}

void quorum_on_snapshot_answer(struct quorum *quorum, int32_t from, const struct frame *frame)
{
    struct quorum_install *install = &quorum->install;
    struct snapshot_message msg;
    struct err e = {""};
    int rc = snapshot_message_decode(frame->header, frame->header_bytes, &msg, &e);

    if (rc == 0 && msg.size >= 0 &&
        (msg.size == 0 || msg.size > LIMIT_SMALL_FILE_BYTES || frame->body_bytes > msg.size - msg.at))
        rc = err_set(&e, -EBADMSG, "a snapshot of %" PRId64 " bytes", msg.size);
    if (rc != 0) {
        log_line(LOG_ERR, "node %" PRId32 ": %s", from, e.text);
        network_drop(quorum->network, from);
        return;
    }
    if (install->state != INSTALL_FETCHING || from != install->from.node || msg.session != install->session ||
        msg.at != (int64_t)install->have)
        return;
    /* A newer one has taken its place: the next fetch tells which. */
    if (msg.size < 0 || (install->have > 0 && (size_t)msg.size != install->snapshot.len)) {
        drop(install);
        return;
    }
    if (frame->body_bytes == 0 || !take_piece(install, &msg, frame))
        return;
    if (install->have < install->snapshot.len) {
        install->at_ms = now_ms(quorum);
        return;
    }
    install->state = INSTALL_KEEPING;
    install->work.run = on_keep;
    executor_bulk(quorum->executor, &install->work);
}

/* ---- keeping: bulk ---- */

static void on_keep(struct work *work)
{
    struct quorum *quorum = CONTAINER_OF(work, struct quorum, install.work);
    struct quorum_install *install = &quorum->install;
    struct tree_attr none = {0};
    int64_t offset = install->id.end.offset;

    metadata_init(&install->meta, &none);
    install->rc = snapshot_decode(&install->snapshot, &install->meta, &install->id, &install->e);
    if (install->rc == 0 && (install->id.end.offset != offset || install->id.end.position < 0))
        install->rc = err_set(&install->e, -EBADMSG, "a snapshot of offset %" PRId64, install->id.end.offset);
    if (install->rc == 0)
        install->rc = snapshot_write(quorum->io, quorum->dirfd, SNAPSHOT_NEW_FILE, &install->snapshot, &install->e);
    if (install->rc != 0)
        metadata_free(&install->meta);
    pthread_mutex_lock(&quorum->lock);
    quorum->kept = true;
    pthread_mutex_unlock(&quorum->lock);
    mailbox_kick(&quorum->mailbox);
}

void quorum_install_kept(struct quorum *quorum)
{
    struct quorum_install *install = &quorum->install;

    snapshot_free(&install->snapshot);
    install->have = 0;
    install->state = install->rc == 0 ? INSTALL_READY : INSTALL_NONE;
    if (install->rc == 0)
        return;
    log_line(LOG_ERR, "snapshot from node %" PRId32 ": %s", install->from.node, install->e.text);
    install->not_before_ms = now_ms(quorum) + LIMIT_STALL_MS;
}

/* ---- replacing ---- */

/* The applier's: nobody else changes the metadata. */
static void on_replace(struct work *work)
{
    struct quorum *quorum = CONTAINER_OF(work, struct quorum, install.work);
    struct quorum_install *install = &quorum->install;
    struct metadata old;

    pthread_rwlock_wrlock(&quorum->meta_lock);
    old = quorum->meta;
    quorum->meta = install->meta;
    quorum->applied_point = install->id.end;
    pthread_rwlock_unlock(&quorum->meta_lock);
    quorum->snapshot_at = quorum->meta.next_offset + quorum->snapshot_commands;
    quorum->replaced(quorum->arg, &old);
    atomic_store(&quorum->acted_offset, quorum->meta.next_offset);
    metadata_free(&old);
    quorum->committed(quorum->arg, install->id.end, install->id.epoch);
    quorum_ops_skipped(quorum);
    pthread_mutex_lock(&quorum->lock);
    quorum->applied_offset = quorum->meta.next_offset;
    quorum->apply_over = true;
    quorum->apply_rc = 0;
    pthread_mutex_unlock(&quorum->lock);
    mailbox_kick(&quorum->mailbox);
}

/* READY: it is not needed any more. */
static void discard(struct quorum *quorum)
{
    metadata_free(&quorum->install.meta);
    (void)quorum->io->unlink(quorum->io, quorum->dirfd, SNAPSHOT_NEW_FILE, 0);
    quorum->install.state = INSTALL_NONE;
}

/* What this node has learnt meanwhile counts for more. */
static bool is_outdated(const struct quorum *quorum)
{
    const struct quorum_install *install = &quorum->install;
    bool same = raft_id_equal(install->from, quorum->fetcher.from) && install->epoch == quorum->fetcher.epoch;

    return quorum->raft.role == RAFT_LEADER || install->id.end.offset <= quorum->decided_offset ||
           (!same && log_end(quorum->log).offset > install->id.end.offset);
}

/* The leader has something else there. It goes first, since a start keeps a log that ends behind the snapshot. */
static int cut_behind(struct quorum *quorum, struct err *e)
{
    int64_t start = log_start(quorum->log).offset;

    if (log_end(quorum->log).offset <= quorum->install.id.end.offset)
        return 0;
    return quorum_cut(quorum, quorum->decided_offset > start ? quorum->decided_offset : start, e);
}

static int tell_gone(struct quorum *quorum, const char *topic, const uint8_t id[UUID_BYTES], struct err *e)
{
    if (metadata_topic_by_id(&quorum->install.meta, id) != NULL || quorum->gone(quorum->arg, topic, id) == 0)
        return 0;
    return err_sys(e, -ENOMEM, "topic %s, which is no more", topic);
}

/* A topic that a record has made, whether that was decided or not. */
static int tell_made(struct quorum *quorum, const struct command *cmd, struct log_point end, struct err *e)
{
    (void)end;
    return cmd->type == COMMAND_CREATE_TOPIC ? tell_gone(quorum, cmd->topic, cmd->id, e) : 0;
}

/* old: what the log was applied to so far. It may have been applied further by a process that was killed, which nothing
 * says any more. What of it cannot be read had been told when the log began to go. */
static int tell_all_gone(struct quorum *quorum, const struct metadata *old, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < old->topic_count && rc == 0; i++)
        rc = tell_gone(quorum, old->topics[i]->name, old->topics[i]->id, e);
    if (rc == 0)
        rc = quorum_each_record(quorum, old->next_offset, log_end(quorum->log).offset, tell_made, e);
    return err_is_passing(rc) ? rc : 0;
}

static int begin_anew_once(struct quorum *quorum, int32_t epoch, struct log_point end, struct err *e)
{
    int rc = quorum->keep(quorum->arg, e);

    if (rc == 0)
        rc = log_reset(quorum->log, epoch, end, -1, e);
    return rc == 0 ? snapshot_adopt(quorum->io, quorum->dirfd, e) : rc;
}

/* The log begins behind the snapshot, which is on the disk under its new name and gets the old one's. A full node, too,
 * has to learn what was decided. */
static int begin_anew(struct quorum *quorum, int32_t epoch, struct log_point end, struct err *e)
{
    int rc = begin_anew_once(quorum, epoch, end, e);

    if (reserve_begin(quorum->reserve, rc)) {
        rc = begin_anew_once(quorum, epoch, end, e);
        reserve_end(quorum->reserve);
    }
    return rc;
}

/* The log begins anew behind the snapshot. */
static void replace(struct quorum *quorum)
{
    struct quorum_install *install = &quorum->install;
    struct raft_change change = {.offset = install->meta.voters.offset,
                                 .voters = install->meta.voters.voters,
                                 .target = install->meta.voters.target};
    struct raft_event event = {.type = RAFT_EVENT_RESET, .change = &change};
    struct err e = {""};
    int rc = tell_all_gone(quorum, &quorum->meta, &e); /* the applier rests */

    if (rc == 0 && (rc = raft_make_room(&quorum->raft, 1)) != 0)
        err_sys(&e, rc, "the quorum's voters");
    if (rc == 0)
        rc = cut_behind(quorum, &e);
    if (rc == 0 && quorum->state != QUORUM_WELL)
        return;
    if (rc == 0)
        rc = begin_anew(quorum, quorum->follows, install->id.end, &e);
    /* Where the log has begun anew already nothing may be fetched behind it before the snapshot is adopted: a start
     * does that. */
    if (err_is_passing(rc) && log_offline(quorum->log) == 0 &&
        log_start(quorum->log).offset != install->id.end.offset) {
        install->at_ms = now_ms(quorum) + LIMIT_STALL_MS;
        log_line(LOG_ERR, "%s: %s", quorum->name, e.text);
        return;
    }
    if (rc != 0) {
        quorum_fail(quorum, -EIO, &e);
        return;
    }
    quorum->end_epoch = install->id.epoch;
    pthread_mutex_lock(&quorum->lock);
    if (install->id.end.offset > quorum->decided_offset)
        quorum->decided_offset = install->id.end.offset;
    quorum->snapshot_id = install->id; /* of the file from here on, and of where the log begins */
    pthread_mutex_unlock(&quorum->lock);
    install->state = INSTALL_REPLACING;
    quorum->applying = true;
    install->work.run = on_replace;
    executor_prompt(quorum->executor, &install->work);
    quorum_step(quorum, &event);
    /* From the new end on. */
    quorum->fetcher.session = ++quorum->next_session;
    quorum->fetcher.at_ms = now_ms(quorum);
}

void quorum_install_tend(struct quorum *quorum)
{
    struct quorum_install *install = &quorum->install;

    if (quorum->state != QUORUM_WELL)
        return;
    switch (install->state) {
    case INSTALL_NONE:
    case INSTALL_KEEPING:
        return;
    case INSTALL_FETCHING:
        if (!raft_id_equal(install->from, quorum->fetcher.from))
            drop(install);
        else if (now_ms(quorum) >= install->at_ms)
            ask(quorum);
        return;
    case INSTALL_READY:
        if (is_outdated(quorum)) {
            discard(quorum);
        } else if (!quorum->applying && !atomic_load(&quorum->snapshotting) && now_ms(quorum) >= install->at_ms) {
            replace(quorum);
        }
        return;
    case INSTALL_REPLACING:
        if (!quorum->applying)
            install->state = INSTALL_NONE;
        return;
    }
}

void quorum_install_free(struct quorum *quorum)
{
    if (quorum->install.state == INSTALL_READY)
        metadata_free(&quorum->install.meta);
    snapshot_free(&quorum->install.snapshot);
}

/* ---- a start ---- */

/* Of the process that ended nothing says what it had: its own snapshot and its records do. */
static int tell_left(struct quorum *quorum, struct err *e)
{
    struct tree_attr none = {0};
    struct metadata old;
    struct snapshot_id id;
    int rc;

    metadata_init(&old, &none);
    rc = snapshot_read(quorum->io, quorum->dirfd, SNAPSHOT_FILE, &old, &id, e);
    if (rc == 0 || rc == -ENOENT)
        rc = tell_all_gone(quorum, &old, e);
    metadata_free(&old);
    return err_is_passing(rc) ? rc : 0;
}

static int resume(struct quorum *quorum, const struct snapshot_id *id, struct err *e)
{
    int rc = tell_left(quorum, e);

    if (rc == 0)
        rc = log_follow(quorum->log, id->epoch, e);
    return rc == 0 ? begin_anew(quorum, id->epoch, id->end, e) : rc;
}

int quorum_install_resume(struct quorum *quorum, struct err *e)
{
    struct tree_attr none = {0};
    struct metadata *meta = &quorum->install.meta;
    struct snapshot_id id;
    int rc;

    metadata_init(meta, &none);
    rc = snapshot_read(quorum->io, quorum->dirfd, SNAPSHOT_NEW_FILE, meta, &id, e);
    if (rc == -ENOENT) {
        rc = 0;
    } else if (rc == 0 && log_end(quorum->log).offset > id.end.offset) {
        /* The log went on: the snapshot was given up, or was to be. */
        (void)quorum->io->unlink(quorum->io, quorum->dirfd, SNAPSHOT_NEW_FILE, 0);
    } else if (rc == 0) {
        rc = resume(quorum, &id, e);
    }
    metadata_free(meta);
    return rc;
}

/* ---- pieces for others: bulk ---- */

struct piece {
    struct work work;
    struct quorum *quorum;
    int32_t to;
    struct snapshot_message msg;
};

/* The first one of a snapshot that is whole. Whoever fetches it finds out what was damaged since, and begins again. */
static int read_piece(struct piece *piece, uint8_t *data, size_t *got, struct err *e)
{
    struct quorum *quorum = piece->quorum;
    struct snapshot_id id = {.end = {piece->msg.offset, -1}, .epoch = piece->msg.epoch};
    int rc = piece->msg.at == 0 ? quorum_snapshot_check(quorum, e) : 0;

    return rc != 0 ? rc
                   : snapshot_read_piece(quorum->io, quorum->dirfd, &id, piece->msg.at, data,
                                         LIMIT_SNAPSHOT_PIECE_BYTES, got, &piece->msg.size, e);
}

static void on_piece(struct work *work)
{
    struct piece *piece = CONTAINER_OF(work, struct piece, work);
    struct quorum *quorum = piece->quorum;
    uint8_t header[SNAPSHOT_MESSAGE_BYTES], *data = malloc(LIMIT_SNAPSHOT_PIECE_BYTES);
    struct iovec body = {.iov_base = data};
    struct err e = {""};
    int rc = data == NULL ? -ENOMEM : read_piece(piece, data, &body.iov_len, &e);

    if (rc == -ENOENT)
        piece->msg.size = -1;
    else if (rc != 0)
        log_line(LOG_ERR, "%s", e.text);
    /* What is not answered is asked for again. */
    if (rc == 0 || rc == -ENOENT) {
        (void)network_send(quorum->network, piece->to, CHANNEL_RECORDS, MESSAGE_SNAPSHOT_ANSWER, header,
                           snapshot_message_encode(&piece->msg, header), &body, rc == 0 ? 1 : 0);
    }
    free(data);
    atomic_fetch_sub(&quorum->pieces, 1);
    free(piece);
}

void quorum_on_snapshot_fetch(struct quorum *quorum, int32_t from, const struct frame *frame)
{
    struct snapshot_message msg;
    struct piece *piece;
    struct err e = {""};

    if (snapshot_message_decode(frame->header, frame->header_bytes, &msg, &e) != 0) {
        log_line(LOG_ERR, "node %" PRId32 ": %s", from, e.text);
        network_drop(quorum->network, from);
        return;
    }
    piece = atomic_load(&quorum->pieces) < LIMIT_NODES ? calloc(1, sizeof *piece) : NULL;
    if (piece == NULL)
        return;
    atomic_fetch_add(&quorum->pieces, 1);
    *piece = (struct piece){.work.run = on_piece, .quorum = quorum, .to = from, .msg = msg};
    executor_bulk(quorum->executor, &piece->work);
}
