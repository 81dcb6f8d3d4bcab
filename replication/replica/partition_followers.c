/* replication/replica/partition_followers.c: a leader's part in one partition: fetches of followers, and what they are
 * sent.
 *
 *     a fetch in a new round -> does its log agree? -> no: Diverging or Reset, and nothing else changes
 *                                                   -> yes: it counts (isr.h), and is served from there (follower.h)
 *     a further fetch of the round: an ack, and credit
 *     an append -> straight from its memory to each follower that is at the end, on the appender's thread
 *     everything else -> read from the log, in pieces: near the end by a turn of the session, further behind by the
 *                        bulk, and for who nobody waits for no more than catch_up.h lets
 *
 * Failure: what cannot be read or sent is tried again with the follower's next fetch or the next beat. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/bugs.h"
#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/wire/replica_message.h"

/* ---- followers ---- */

/* Under the lock. NULL: it is no replica, the topic is deleted (partition_followers_stop()), or there is no place. */
static struct follower *follower_of(struct partition *part, int32_t id)
{
    struct follower *unused = NULL;
    /* One that is none any more has kept its place. Should it be one again, by what this node has not applied yet, what
     * it says would count nowhere. */
    if (isr_find(&part->isr, id) == NULL || atomic_load(&part->topic->deleted))
        return NULL;
    for (int i = 0; i < PARTITION_FOLLOWERS && part->followers != NULL; i++) {
        struct follower *follower = &part->followers[i];
        if (follower->id == id)
            return follower;
        if (unused == NULL && follower->id == 0)
            unused = follower;
    }
    if (unused != NULL)
        *unused = (struct follower){.id = id, .part = part};
    return unused;
}

static struct serving *serving_of(const struct partition *part, const struct follower *follower)
{
    return &manager_peer(part->manager, follower->id)->serving; /* there is one: it has fetched */
}

/* What of this partition is under way to it has changed. Under the lock. */
static void count_catch_up(struct partition *part, struct follower *follower)
{
    int64_t now = follower_catching_up(follower);
    if (now != follower->counted)
        catch_up_count(&serving_of(part, follower)->catch_up, &follower->counted, now);
}

static void silence(struct partition *part, struct follower *follower)
{
    follower_silence(follower);
    count_catch_up(part, follower);
}

void partition_followers_stop(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    for (int i = 0; i < PARTITION_FOLLOWERS && part->followers != NULL; i++)
        silence(part, &part->followers[i]);
    pthread_mutex_unlock(&part->lock);
}

void partition_followers_free(struct partition *part)
{
    partition_followers_stop(part);
    free(atomic_load(&part->followers));
}

void partition_followers_reset(struct partition *part)
{
    for (int i = 0; i < PARTITION_FOLLOWERS && part->followers != NULL; i++) {
        struct follower *follower = &part->followers[i];
        silence(part, follower);
        /* One that a thread has in hand, or a session in one of its lists, keeps its place until the next time. */
        if (!follower->sending && !follower->queued && !follower->marked && isr_find(&part->isr, follower->id) == NULL)
            follower->id = 0;
    }
}

void partition_follower_silence(struct partition *part, int32_t id)
{
    pthread_mutex_lock(&part->lock);
    for (int i = 0; i < PARTITION_FOLLOWERS && part->followers != NULL; i++) {
        if (part->followers[i].id == id)
            silence(part, &part->followers[i]);
    }
    pthread_mutex_unlock(&part->lock);
}

static void set_key(const struct partition *part, int32_t epoch, uint64_t round, struct replica_key *key)
{
    memcpy(key->topic_id, part->topic->id, UUID_BYTES);
    key->index = part->index;
    key->leader_epoch = epoch;
    key->round = round;
}

/* ---- where it queues up ---- */

/* Somebody waits for what it is sent: it is in sync, or is to be, or too few are. Under the lock. */
static bool is_live(struct partition *part, const struct follower *follower)
{
    const struct isr_replica *replica = isr_find(&part->isr, follower->id);
    return replica != NULL && (replica->in_sync || replica->joins ||
                               isr_size(&part->isr) < atomic_load(&part->settings.min_insync_replicas));
}

/* Where it belongs. Under the lock. */
static enum serving_lane lane_of(struct partition *part, const struct follower *follower)
{
    int64_t behind = part->log != NULL ? log_end(part->log).position - follower->sent.position : 0;
    if (behind <= 0)
        return LANE_NEAR;
    if (!is_live(part, follower))
        return LANE_BEHIND;
    return behind > LIMIT_NEAR_BYTES ? LANE_FAR : LANE_NEAR;
}

/* There may be something for it. Under the lock. */
static void want(struct partition *part, struct follower *follower)
{
    serving_want(serving_of(part, follower), follower, lane_of(part, follower));
}

void partition_followers_look(struct partition *part)
{
    for (int i = 0; i < PARTITION_FOLLOWERS && part->followers != NULL; i++) {
        struct follower *follower = &part->followers[i];
        /* What is on its way to one that is no replica any more is never acknowledged. */
        if (follower->state != FOLLOWER_SILENT && isr_find(&part->isr, follower->id) == NULL)
            silence(part, follower);
        else if (follower->state == FOLLOWER_SERVED)
            want(part, follower);
    }
}

/* ---- does a follower's log agree ---- */

/* Where a log begins that is made anew: a batch comes as a whole, also one within which the log start lies. */
static struct log_point where_to_begin(struct partition *part, struct log_point start, struct log_point end)
{
    struct log_run run;
    bool within =
        log_run_at(part->log, start.position, end.position, &run, NULL) == 1 && run.base.offset < start.offset;
    return within ? run.base : start;
}

/* Whether a batch begins there, or none is there yet. Who lost all of its log to a power cut begins anew at its log
 * start, which may lie within a batch. */
static bool batch_begins(struct partition *part, struct log_point at, struct log_point end)
{
    struct log_run run;
    return log_run_at(part->log, at.position, end.position, &run, NULL) != 1 || run.base.offset >= at.offset;
}

/* It ends where this log begins, and may be another one up to there: it ended elsewhere, or in an epoch of which
 * nothing is known here any more. */
static bool parts_in_front(struct partition *part, const struct replica_fetch *fetch, struct log_point start)
{
    bool has_some = fetch->start < fetch->end.offset;
    bool known = fetch->last_epoch < 0 || fetch->last_epoch >= log_earliest_epoch(part->log);
    return fetch->end.offset == start.offset && (fetch->end.position != start.position || (has_some && !known));
}

/* 0: it agrees up to its end. MESSAGE_DIVERGING, MESSAGE_RESET with what it is told. REPLICATION.md, rule 42. */
static int compare(struct partition *part, const struct replica_fetch *fetch, struct replica_answer *answer)
{
    struct log_point end = log_end(part->log), start = where_to_begin(part, log_start(part->log), end), there;
    if (fetch->last_epoch >= 0) {
        log_epoch_end(part->log, fetch->last_epoch, &answer->found_epoch, &answer->point);
        if (answer->point.offset < 0) { /* an epoch above all of this log's: nothing of it is here */
            answer->found_epoch = log_latest_epoch(part->log);
            answer->point = end;
        }
        if (answer->found_epoch < fetch->last_epoch || answer->point.offset < fetch->end.offset)
            return MESSAGE_DIVERGING;
    }
    answer->point = start;
    if (fetch->end.offset < start.offset || fetch->end.offset > end.offset || parts_in_front(part, fetch, start))
        return MESSAGE_RESET;
    /* Positions agree where epochs and offsets do; should they not, one of the two is damaged. */
    if (log_lookup_offset(part->log, fetch->end.offset, end, &there, NULL) != 0 ||
        there.position < fetch->end.position ||
        (there.offset == fetch->end.offset && there.position != fetch->end.position)) {
        log_line(LOG_ERR, "%s: a follower has offset %" PRId64 " at position %" PRId64 ": it is to begin anew",
                 part->name, fetch->end.offset, fetch->end.position);
        return MESSAGE_RESET;
    }
    return batch_begins(part, fetch->end, end) ? 0 : MESSAGE_RESET;
}

static void answer_once(struct partition *part, int32_t to, int kind, const struct replica_answer *answer)
{
    uint8_t out[REPLICA_ANSWER_BYTES];
    size_t len = replica_answer_encode(answer, out);
    (void)network_send(part->manager->network, to, CHANNEL_RECORDS, (enum message_kind)kind, out, len, NULL, 0);
}

/* ---- a fetch ---- */

/* Under the lock: it is of the epoch in which this node leads. */
static enum serve_verdict check_epoch(const struct partition *part, const struct replica_fetch *fetch)
{
    int32_t epoch = atomic_load(&part->leader_epoch);
    bool same = fetch->key.leader_epoch == epoch || BUG(fetches_not_fenced);
    if (!same && fetch->key.leader_epoch > epoch)
        return SERVE_LATER;
    return same && partition_leads(part) ? SERVE_DONE : SERVE_FENCED;
}

/* The round's first fetch. Returns 0: it is served; else what it was answered. */
static int begin_round(struct partition *part, struct serving *serving, int32_t from, const struct replica_fetch *fetch)
{
    struct replica_answer answer = {.session = atomic_load(&serving->id), .key = fetch->key};
    int kind = compare(part, fetch, &answer);
    if (kind == MESSAGE_RESET)
        replica_answer_set_last_append_ms(&answer, log_last_append_ms(part->log));
    pthread_mutex_lock(&part->lock);
    struct follower *follower = follower_of(part, from);
    if (kind == MESSAGE_DIVERGING && follower != NULL && follower->state == FOLLOWER_CUTTING && BUG(diverges_once))
        kind = 0;
    if (kind == MESSAGE_DIVERGING && BUG(mark_before_cut))
        answer.high_watermark = part->isr.high_watermark;
    bool leads = check_epoch(part, fetch) == SERVE_DONE;
    if (follower == NULL || !leads)
        kind = -1;
    else if (kind != 0)
        follower_cut(follower, answer.session, fetch->key.round);
    else
        follower_begin(follower, answer.session, fetch->key.round, fetch->end, fetch->credit);
    if (follower != NULL)
        count_catch_up(part, follower);
    pthread_mutex_unlock(&part->lock);
    if (kind > 0)
        answer_once(part, from, kind, &answer);
    return kind;
}

/* What the fetch says counts from here on. Under the lock. */
static void count_fetch(struct partition *part, int32_t from, int64_t node_epoch, const struct replica_fetch *fetch,
                        bool first)
{
    struct isr_fetch said = {.first = first,
                             .full = fetch->full,
                             .node_epoch = node_epoch,
                             .end = fetch->end,
                             .flushed = fetch->flushed,
                             .start = fetch->start};
    isr_fetched(&part->isr, from, &said, manager_now_ms(part->manager));
}

enum serve_verdict partition_serve(struct partition *part, struct serving *serving, int32_t from, int64_t node_epoch,
                                   const struct replica_fetch *fetch)
{
    uint64_t id = atomic_load(&serving->id);
    struct err e = {0};
    pthread_mutex_lock(&part->lock);
    enum serve_verdict verdict = check_epoch(part, fetch);
    struct follower *follower = verdict == SERVE_DONE ? follower_of(part, from) : NULL;
    bool served = follower != NULL && follower->session == id && follower->round == fetch->key.round;
    pthread_mutex_unlock(&part->lock);
    if (verdict != SERVE_DONE || follower == NULL)
        return verdict;
    if (partition_asks_shown(part))
        return SERVE_LATER;
    if (partition_usable(part, NULL) != 0 || partition_begin_leading(part, &e) != 0)
        return SERVE_DONE; /* it asks again, perhaps another leader */
    if (!served && begin_round(part, serving, from, fetch) != 0) {
        if (BUG(counts_diverging)) {
            pthread_mutex_lock(&part->lock);
            count_fetch(part, from, node_epoch, fetch, true);
            pthread_mutex_unlock(&part->lock);
            partition_recommit(part);
        }
        return SERVE_DONE;
    }

    partition_note_own(part);
    pthread_mutex_lock(&part->lock);
    bool counts = check_epoch(part, fetch) == SERVE_DONE &&
                  follower_ack(follower, id, fetch->key.round, fetch->end, fetch->credit);
    if (counts) {
        int64_t sent_us = follower_timed(follower);
        if (sent_us != 0)
            histogram_add(&serving->ack_times, clock_mono_us(part->manager->clock) - sent_us);
        count_catch_up(part, follower);
    }
    if (counts)
        count_fetch(part, from, node_epoch, fetch, !served);
    struct isr_rules rules;
    partition_isr_rules(part, &rules);
    if (counts)
        isr_prepare(&part->isr, &rules);
    bool asks = counts && isr_has_joiners(&part->isr);
    bool proposes = counts && !part->proposal.pending && isr_is_due(&part->isr, &rules);
    if (counts)
        want(part, follower);
    pthread_mutex_unlock(&part->lock);
    if (!counts)
        return SERVE_DONE;
    partition_recommit(part);
    if (asks)
        partition_insync_look(part, false);
    if (proposes)
        isr_changes_want(&part->manager->changes, part);
    return SERVE_DONE;
}

/* ---- sending ---- */

/* What goes with records, as of when the right to send them was taken. */
struct marks {
    uint64_t session, round;
    int32_t epoch;
    bool live;   /* somebody waits for it */
    bool behind; /* nobody does, and it is sent what it is behind by */
    struct log_point from, high_watermark;
};

/* Takes the right to send to the follower. near: its acknowledgement tells how long it takes. Under the lock. */
static bool take(struct partition *part, struct follower *follower, int64_t base, uint32_t bytes, bool near,
                 struct marks *marks)
{
    if (!partition_leads(part) || !follower_take(follower, base, bytes))
        return false;
    *marks = (struct marks){.session = follower->session,
                            .round = follower->round,
                            .epoch = atomic_load(&part->leader_epoch),
                            .live = is_live(part, follower),
                            .from = follower->sent,
                            .high_watermark = part->isr.high_watermark};
    if (marks->live && near && follower_times(follower))
        follower_time(follower, clock_mono_us(part->manager->clock));
    return true;
}

static int64_t bytes_of(const struct iovec *body, int count)
{
    int64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += (int64_t)body[i].iov_len;
    return bytes;
}

/* Sends batches that are encoded already, and gives the right back. end: behind the last of them, and behind a hole in
 * which the log ends, or another epoch begins. epoch: of what comes first, a batch or a hole; -1: nothing does. */
static int send_batches(struct partition *part, struct follower *follower, const struct marks *marks,
                        const uint8_t *batches, uint32_t count, const struct iovec *body, int body_count,
                        struct log_point end, int32_t epoch, uint8_t *out)
{
    struct log_point start = log_start(part->log);
    struct replica_answer answer = {.session = marks->session,
                                    .point = marks->from,
                                    .found_epoch = epoch,
                                    .high_watermark = marks->high_watermark,
                                    .start = start,
                                    .upto = end,
                                    .batch_count = count,
                                    .batches = batches};
    set_key(part, marks->epoch, marks->round, &answer.key);
    size_t len = replica_answer_encode(&answer, out);
    int rc = network_send(part->manager->network, follower->id, CHANNEL_RECORDS, MESSAGE_RECORDS, out, len, body,
                          body_count);
    int64_t bytes = bytes_of(body, body_count);
    if (rc == 0 && marks->live)
        live_traffic_sent(&part->manager->live, bytes);
    if (rc == 0 && marks->behind)
        catch_up_sent(&serving_of(part, follower)->catch_up, bytes);
    pthread_mutex_lock(&part->lock);
    if (rc == 0 && marks->behind)
        follower_catches_up(follower, marks->round, &end, bytes);
    follower_sent(follower, marks->round, rc == 0 ? &end : NULL, marks->high_watermark.offset, start.offset);
    count_catch_up(part, follower);
    pthread_mutex_unlock(&part->lock);
    return rc;
}

void partition_send_fresh(struct append_op *op)
{
    struct partition *part = op->part;
    const struct append_batch *batch = &op->batch;
    uint8_t encoded[REPLICA_BATCH_BYTES], out[REPLICA_ANSWER_BYTES + REPLICA_BATCH_BYTES];
    struct replica_batch fresh = {.base = op->result.base,
                                  .entry = {.len = batch->len,
                                            .records = batch->records,
                                            .leader_epoch = op->leader_epoch,
                                            .first_timestamp_ms = batch->first_timestamp_ms,
                                            .last_timestamp_ms = batch->last_timestamp_ms,
                                            .producer_id = batch->producer_id,
                                            .producer_epoch = batch->producer_epoch,
                                            .attributes = batch->attributes,
                                            .sequence = batch->sequence,
                                            .crc = batch->crc}};
    bool ready = false;
    for (int i = 0; i < PARTITION_FOLLOWERS; i++) {
        struct follower *follower = &part->followers[i];
        struct marks marks;
        pthread_mutex_lock(&part->lock);
        bool turn = follower->id != 0 && op->leader_epoch == atomic_load(&part->leader_epoch) &&
                    take(part, follower, op->result.base.offset, batch->len, true, &marks);
        pthread_mutex_unlock(&part->lock);
        if (!turn)
            continue;
        if (!ready)
            replica_batch_encode(&fresh, encoded);
        ready = true;
        int rc = send_batches(part, follower, &marks, encoded, 1, batch->iov, batch->iovcnt, op->result.end,
                              op->leader_epoch, out);
        /* Whoever appended meanwhile found this thread sending, and left. */
        if (rc != 0 || log_end(part->log).offset <= op->result.end.offset)
            continue;
        pthread_mutex_lock(&part->lock);
        if (follower->id != 0) /* it may be none any more, and its place another's */
            want(part, follower);
        pthread_mutex_unlock(&part->lock);
    }
}

/* ---- from the log ---- */

/* Some batches, one behind the other. */
struct piece {
    uint8_t *out;     /* room for the header that holds them */
    uint8_t *batches; /* encoded */
    uint8_t *bytes;
    uint32_t count;
    size_t len, room;
    struct log_point end;
    int32_t epoch; /* of what comes first, a batch or a hole; -1: nothing does */
};

static void piece_free(struct piece *piece)
{
    free(piece->out);
    free(piece->batches);
    free(piece->bytes);
}

/* Room for a run more. -ENOMEM. */
static int piece_grow(struct piece *piece, uint32_t len)
{
    if (piece->len + len <= piece->room)
        return 0;
    uint8_t *grown = realloc(piece->bytes, piece->len + len);
    if (grown == NULL)
        return -ENOMEM;
    piece->bytes = grown;
    piece->room = piece->len + len;
    return 0;
}

static int read_bytes(struct partition *part, const struct log_run *run, uint8_t *to, struct err *e)
{
    int64_t position = run->base.position, end = position + run->len;
    while (position < end) {
        struct log_extent extent;
        int rc = log_run_extent_at(part->log, run, position, &extent, e);
        if (rc <= 0)
            return rc < 0 ? rc : err_set(e, -ENOENT, "the records have gone");
        size_t got = 0;
        while (rc > 0 && extent.position == position && got < extent.len) {
            ssize_t n =
                part->manager->io->pread(part->manager->io, extent.fd, to + (position - run->base.position) + got,
                                         extent.len - got, extent.place + (int64_t)got);
            rc = n > 0 ? 1 : n < 0 ? (int)n : -EIO;
            got += n > 0 ? (size_t)n : 0;
        }
        bool there = extent.position == position;
        log_extent_release(&extent);
        if (rc < 0 || !there)
            return rc < 0 ? rc : err_set(e, -ENOENT, "the records have gone");
        position += (int64_t)got;
    }
    return 0;
}

/* Whether the piece ends before the batch or the log's end at `to`, since another epoch begins in the hole between.
 * What comes first goes up to where that is. */
static bool ends_in_hole(struct partition *part, struct piece *piece, int64_t to)
{
    struct log_point next;
    int32_t found;

    if (to <= piece->end.offset || log_epoch_before(part->log, to) == log_epoch_before(part->log, piece->end.offset))
        return false;
    if (piece->count > 0)
        return true;
    log_epoch_end(part->log, piece->epoch, &found, &next);
    if (next.position < 0 || next.offset <= piece->end.offset || next.offset >= to)
        return false;
    piece->end = next;
    return true;
}

/* Reads what lies behind `from`, up to about `room` bytes, one batch at least. 0: piece->count says how many. */
static int read_piece(struct partition *part, struct log_point from, uint32_t room, struct piece *piece, struct err *e)
{
    struct log_point limit = log_end(part->log);
    *piece = (struct piece){.out = malloc(REPLICA_ANSWER_BYTES + LIMIT_PIECE_BATCHES * REPLICA_BATCH_BYTES),
                            .batches = malloc(LIMIT_PIECE_BATCHES * REPLICA_BATCH_BYTES),
                            .end = from,
                            .epoch = from.offset < limit.offset ? log_epoch_before(part->log, from.offset + 1) : -1};
    if (piece->out == NULL || piece->batches == NULL)
        return -ENOMEM;
    while (piece->count < LIMIT_PIECE_BATCHES) {
        struct log_run run;
        int rc = log_run_at(part->log, piece->end.position, limit.position, &run, e);
        if (rc == 0 && !ends_in_hole(part, piece, limit.offset))
            piece->end = limit; /* what is left up to there, if anything, is a hole */
        if (rc <= 0)
            return rc;
        if ((piece->count > 0 && piece->len + run.len > room) || ends_in_hole(part, piece, run.base.offset))
            return 0;
        if (run.base.position < piece->end.position || run.base.offset < piece->end.offset)
            return err_set(e, -EBADMSG, "no batch begins at offset %" PRId64, piece->end.offset);
        rc = piece_grow(piece, run.len);
        if (rc == 0)
            rc = read_bytes(part, &run, piece->bytes + piece->len, e);
        if (rc != 0)
            return piece->count > 0 && rc != -EIO ? 0 : rc;
        struct replica_batch batch = {.base = run.base, .entry = run.entry};
        replica_batch_encode(&batch, piece->batches + (size_t)piece->count * REPLICA_BATCH_BYTES);
        piece->count++;
        piece->len += run.len;
        piece->end = (struct log_point){run.base.offset + run.records, run.base.position + run.len};
    }
    return 0;
}

/* One piece, by who has the right to send. 1: sent, there may be more; 0: nothing was there; or an errno. */
static int send_piece(struct partition *part, struct follower *follower, const struct marks *marks, uint32_t room)
{
    struct piece piece;
    struct err e = {0};
    int rc = read_piece(part, marks->from, room < LIMIT_PIECE_BYTES ? room : LIMIT_PIECE_BYTES, &piece, &e);
    if (rc == 0) {
        struct iovec body = {.iov_base = piece.bytes, .iov_len = piece.len};
        rc = send_batches(part, follower, marks, piece.batches, piece.count, &body, piece.len > 0, piece.end,
                          piece.epoch, piece.out);
        rc = rc == 0 ? piece.end.offset > marks->from.offset : rc;
    } else {
        if (!err_is_passing(rc) && rc != -ENOENT)
            log_line(LOG_ERR, "%s: for node %d: %s", part->name, (int)follower->id, e.text);
        pthread_mutex_lock(&part->lock);
        follower_sent(follower, marks->round, NULL, 0, 0);
        pthread_mutex_unlock(&part->lock);
    }
    piece_free(&piece);
    return rc;
}

/* A turn of that lane is good for one that belongs to the other now. */
static bool serves(enum serving_lane lane, enum serving_lane belongs)
{
    return lane == LANE_BEHIND || belongs == LANE_NEAR || lane == belongs;
}

/* Takes the right to send to one that was taken out of that lane; one that belongs to another goes there. */
static bool take_next(struct partition *part, struct follower *follower, enum serving_lane lane, struct marks *marks,
                      uint32_t *room)
{
    bool turn = false;
    pthread_mutex_lock(&part->lock);
    enum serving_lane belongs = lane_of(part, follower);
    int64_t behind = log_end(part->log).position - follower->sent.position;
    bool due = follower->state == FOLLOWER_SERVED && (behind > 0 || !follower->answered);
    *room = follower_room(follower);
    if (due && serves(lane, belongs))
        turn = take(part, follower, -1, 1, behind > 0 && behind <= LIMIT_NEAR_BYTES, marks);
    else if (due)
        want(part, follower);
    marks->behind = turn && belongs == LANE_BEHIND;
    pthread_mutex_unlock(&part->lock);
    return turn;
}

void partition_follower_next(struct partition *part, struct follower *follower, enum serving_lane lane, uint32_t most)
{
    struct marks marks;
    uint32_t room;
    int rc = 1;
    while (rc > 0 && partition_usable(part, NULL) == 0 && take_next(part, follower, lane, &marks, &room)) {
        rc = send_piece(part, follower, &marks, room < most ? room : most);
        if (rc <= 0 || lane == LANE_NEAR)
            continue;
        pthread_mutex_lock(&part->lock); /* the others' turn; near the end it is the session's */
        if (follower->id != 0)
            want(part, follower);
        pthread_mutex_unlock(&part->lock);
        return;
    }
}

bool partition_follower_mark(struct partition *part, struct follower *follower, struct replica_mark *mark)
{
    if (part->log == NULL)
        return false;
    struct log_point start = log_start(part->log);
    pthread_mutex_lock(&part->lock);
    bool tells = partition_leads(part) && follower->state == FOLLOWER_SERVED && follower->answered &&
                 !follower->sending &&
                 (follower->told_mark < part->isr.high_watermark.offset || follower->told_start < start.offset);
    if (tells) {
        set_key(part, atomic_load(&part->leader_epoch), follower->round, &mark->key);
        mark->high_watermark = part->isr.high_watermark;
        mark->start = start;
        follower->told_mark = mark->high_watermark.offset;
        follower->told_start = start.offset;
    }
    pthread_mutex_unlock(&part->lock);
    return tells;
}

void partition_follower_unmark(struct partition *part, int32_t id, uint64_t round)
{
    pthread_mutex_lock(&part->lock);
    for (int i = 0; i < PARTITION_FOLLOWERS && part->followers != NULL; i++) {
        struct follower *follower = &part->followers[i];
        if (follower->id == id && follower->round == round)
            follower->told_mark = follower->told_start = -1;
    }
    pthread_mutex_unlock(&part->lock);
}

void partition_mark_followers(struct partition *part)
{
    for (int i = 0; i < PARTITION_FOLLOWERS && part->followers != NULL; i++) {
        if (part->followers[i].state == FOLLOWER_SERVED)
            serving_mark(serving_of(part, &part->followers[i]), &part->followers[i]);
    }
}

void partition_isr_rules(struct partition *part, struct isr_rules *out)
{
    struct replica_manager *manager = part->manager;
    const struct isr_replica *self = isr_find(&part->isr, part->manager->id);
    *out = (struct isr_rules){.self = part->manager->id,
                              .leader_end = self != NULL ? self->end.offset : INT64_MAX,
                              .epoch_start = part->epoch.start,
                              .flushed = partition_promised(part),
                              .start = self != NULL ? self->start : INT64_MAX,
                              .lag_max_ms = manager_lag_max_ms(manager),
                              .now_ms = manager_now_ms(manager)};
}

void partition_look_at_eligible(struct partition *part)
{
    pthread_mutex_lock(&part->lock);
    bool wants = partition_leads(part) && !part->proposal.pending && partition_has_eligible(part) &&
                 isr_size(&part->isr) >= atomic_load(&part->settings.min_insync_replicas);
    pthread_mutex_unlock(&part->lock);
    if (wants)
        isr_changes_want(&part->manager->changes, part);
}

/* ---- the beat ---- */

/* Under the lock: who is alive, and to whom something could not be sent. */
static void look_at_followers(struct partition *part, int64_t end, int64_t start)
{
    for (int i = 0; i < PARTITION_FOLLOWERS && part->followers != NULL; i++) {
        struct follower *follower = &part->followers[i];
        struct isr_replica *replica = follower->id != 0 ? isr_find(&part->isr, follower->id) : NULL;
        if (follower->state != FOLLOWER_SERVED || replica == NULL)
            continue;
        struct serving *serving = serving_of(part, follower);
        int64_t heard_ms = atomic_load(&serving->heard_ms);
        if (follower->session == atomic_load(&serving->id) && heard_ms > replica->heard_ms)
            replica->heard_ms = heard_ms;
        if (replica->start < start)
            follower->told_start = -1; /* it may have had no room for it */
        follower_beat(follower);
        count_catch_up(part, follower);
        if (follower->sent.offset < end || !follower->answered)
            want(part, follower);
        else if (follower->told_mark < part->isr.high_watermark.offset || follower->told_start < start)
            serving_mark(serving, follower);
    }
}

/* For how many beats the disk has not finished a write, or a flush: one that goes on while others end hangs, too. */
static void look_at_disk(struct partition *part)
{
    struct log_busy before = part->busy.last, *now = &part->busy.last;

    *now = (struct log_busy){.writes = false};
    if (part->log != NULL)
        log_busy(part->log, now);
    part->busy.write_beats = now->writes && now->written == before.written ? part->busy.write_beats + 1 : 0;
    part->busy.flush_beats = now->flushes && now->flushed == before.flushed ? part->busy.flush_beats + 1 : 0;
    atomic_store(&part->busy.beats,
                 part->busy.write_beats > part->busy.flush_beats ? part->busy.write_beats : part->busy.flush_beats);
}

static void tick_leading(struct partition *part)
{
    const struct manager_hooks *hooks = &part->manager->hooks;
    struct isr_rules rules;
    int64_t end = log_end(part->log).offset, start = log_start(part->log).offset;
    /* Not by what proposes else, whose threads the disk may hold up. */
    if (partition_hangs(part))
        (void)hooks->hand_over(hooks->arg, part);
    partition_note_own(part);
    pthread_mutex_lock(&part->lock);
    look_at_followers(part, end, start);
    partition_isr_rules(part, &rules);
    isr_look(&part->isr, &rules);
    if (atomic_load(&part->epoch.assigned))
        isr_prepare(&part->isr, &rules);
    bool proposes = !part->proposal.pending && isr_is_due(&part->isr, &rules);
    pthread_mutex_unlock(&part->lock);
    if (proposes)
        isr_changes_want(&part->manager->changes, part);
    partition_look_at_eligible(part);
    partition_insync_look(part, false); /* who could not flush is asked again */
    if (!atomic_load(&part->epoch.assigned))
        topic_resume(part->topic); /* that the epoch begins could not be written, or the cluster does not know it yet */
}

void partition_replica_tick(struct partition *part)
{
    struct replica_manager *manager = part->manager;
    look_at_disk(part);
    partition_damage_tick(part);
    switch (partition_role(part)) {
    case ROLE_LEADER:
        if (part->log != NULL)
            tick_leading(part);
        break;
    case ROLE_FOLLOWER:
        pthread_mutex_lock(&part->lock);
        /* A leader that hears later than this node that it has had no replica for a while, and has one again, forgets
         * what this one has said in between; an idle log would say no more. */
        if (atomic_load(&part->replica) == REPLICA_CATCHING_UP)
            fetch_repeat(&part->fetch);
        bool says = fetch_tick(&part->fetch, manager_now_ms(manager));
        int32_t leader = part->fetch.leader;
        pthread_mutex_unlock(&part->lock);
        struct replica_peer *peer = says ? manager_peer(manager, leader) : NULL;
        if (peer != NULL)
            fetcher_want(&peer->fetcher, part);
        break;
    case ROLE_NONE:
        break;
    }
}
