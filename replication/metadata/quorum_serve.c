/* replication/metadata/quorum_serve.c: the leader's side of a fetch of `__cluster_metadata` (KIP-595).
 *
 * Each follower has one fetch here at most, its last one. It is answered once there is something to say: records behind
 * its offset, a later high watermark, that its log diverges, or that the log begins behind it; or when the same fetch
 * comes a second time, which is a follower's beat: it wants to hear that this leader lives. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <syslog.h>

#include "replication/base/limits.h"

#include "replication/metadata/quorum_internal.h"
#include "replication/metadata/quorum_records.h"
#include "replication/metadata/raft_compare.h"

/* ---- where two logs part ---- */

/* What a follower whose log ends at offset, with a last record of last_epoch, is to be told. *epoch and *end:
 * DIVERGING: the largest epoch here that is not above the asked one, and where it ends; SNAPSHOT: the snapshot's. */
static enum raft_fetch_outcome compare(struct quorum *quorum, int64_t offset, int32_t last_epoch, int32_t *epoch,
                                       int64_t *end)
{
    struct raft_compared leader = {.start = log_start(quorum->log).offset};
    enum raft_fetch_outcome outcome;
    struct snapshot_id snapshot;
    struct log_point point;

    /* Behind the start: a snapshot is known before the log begins behind it. */
    pthread_mutex_lock(&quorum->lock);
    snapshot = quorum->snapshot_id;
    pthread_mutex_unlock(&quorum->lock);
    leader.snapshot_epoch = snapshot.epoch;
    log_epoch_end(quorum->log, last_epoch, &leader.epoch, &point);
    if (point.offset < 0) { /* above all that are known here */
        leader.epoch = log_latest_epoch(quorum->log);
        point = log_end(quorum->log);
    }
    leader.end = point.offset;
    outcome = raft_compare(&leader, offset, last_epoch);
    *epoch = outcome == RAFT_FETCH_SNAPSHOT ? snapshot.epoch : leader.epoch;
    *end = outcome == RAFT_FETCH_SNAPSHOT ? snapshot.end.offset : leader.end;
    return outcome;
}

/* ---- those who fetch ---- */

static struct quorum_pending *pending_of(struct quorum *quorum, int32_t node)
{
    struct quorum_pending *free_place = NULL;

    for (int i = 0; i < LIMIT_NODES; i++) {
        if (quorum->pending[i].from.node == node)
            return &quorum->pending[i];
        if (quorum->pending[i].from.node == 0 && free_place == NULL)
            free_place = &quorum->pending[i];
    }
    return free_place;
}

static bool is_again(const struct quorum_pending *pending, const struct raft_message *msg)
{
    return raft_id_equal(pending->from, msg->from) && pending->session == msg->fetch.session &&
           pending->offset == msg->fetch.offset && pending->flushed == msg->fetch.flushed &&
           pending->high_watermark == msg->fetch.high_watermark;
}

void quorum_on_fetch(struct quorum *quorum, const struct raft_message *msg)
{
    struct quorum_pending *pending = pending_of(quorum, msg->from.node);
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = msg};
    int32_t epoch;
    int64_t end;
    bool again;

    if (pending == NULL) /* there are no more nodes than places */
        return;
    again = is_again(pending, msg);
    event.diverging = compare(quorum, msg->fetch.offset, msg->fetch.last_epoch, &epoch, &end) != RAFT_FETCH_OK;
    *pending = (struct quorum_pending){.from = msg->from,
                                       .session = msg->fetch.session,
                                       .offset = msg->fetch.offset,
                                       .flushed = msg->fetch.flushed,
                                       .high_watermark = msg->fetch.high_watermark,
                                       .last_epoch = msg->fetch.last_epoch,
                                       .answer = event.diverging || again};
    quorum_step(quorum, &event);
}

void quorum_serve_answer(struct quorum *quorum, const struct raft_message *msg)
{
    struct quorum_pending *pending = pending_of(quorum, msg->to.node);
    struct raft_message answer = *msg;

    /* One that leads answers when there is something: quorum_serve(). */
    if (pending == NULL || msg->fetch_answer.outcome != RAFT_FETCH_NOT_LEADER)
        return;
    answer.fetch_answer.session = pending->session;
    answer.fetch_answer.offset = pending->offset;
    pending->from.node = 0;
    quorum_send(quorum, &answer, NULL, 0);
}

/* What a follower asks for cannot be read here. Others have it: with its next beat it asks one of those, who leads. */
static void unreadable(struct quorum *quorum, int32_t node, int rc, const struct err *e)
{
    struct raft_event event = {.type = RAFT_EVENT_UNREADABLE};
    int64_t now_ms = quorum->clock->mono_ms(quorum->clock);

    if (now_ms < quorum->unreadable_ms)
        return;
    quorum->unreadable_ms = now_ms + LIMIT_UNREADABLE_MS;
    log_line(LOG_ERR, "%s: what node %" PRId32 " asks for cannot be read: %s", quorum->name, node, e->text);
    if (err_is_passing(rc))
        return;
    quorum_snapshot_want(quorum); /* in the place of what is damaged */
    quorum_step(quorum, &event);
}

static void answer(struct quorum *quorum, const struct quorum_pending *pending)
{
    struct raft_message msg = {.type = RAFT_FETCH_ANSWER,
                               .from = quorum->self,
                               .to = pending->from,
                               .epoch = quorum->raft.state.epoch,
                               .leader = quorum->self};
    struct quorum_records records = {0};
    struct iovec body = {0};
    struct err e = {""};
    int rc;

    msg.fetch_answer.session = pending->session;
    msg.fetch_answer.offset = pending->offset;
    msg.fetch_answer.sent = (uint64_t)quorum->clock->mono_ms(quorum->clock);
    msg.fetch_answer.outcome = compare(quorum, pending->offset, pending->last_epoch, &msg.fetch_answer.end_epoch,
                                       &msg.fetch_answer.end_offset);
    if (msg.fetch_answer.outcome == RAFT_FETCH_OK) {
        msg.fetch_answer.high_watermark = quorum->raft.high_watermark;
        rc = quorum_records_read(quorum->io, quorum->log, pending->offset, &records, &e);
        if (rc != 0) {
            unreadable(quorum, pending->from.node, rc, &e);
            return;
        }
        body = (struct iovec){.iov_base = records.data, .iov_len = records.len};
    }
    quorum_send(quorum, &msg, &body, records.len > 0 ? 1 : 0);
    free(records.data);
}

void quorum_serve(struct quorum *quorum)
{
    int64_t end = log_end(quorum->log).offset;

    for (int i = 0; i < LIMIT_NODES; i++) {
        struct quorum_pending *pending = &quorum->pending[i];

        if (pending->from.node == 0)
            continue;
        if (quorum->state == QUORUM_WELL && quorum->raft.role == RAFT_LEADER) {
            if (!pending->answer && end <= pending->offset && quorum->raft.high_watermark <= pending->high_watermark)
                continue;
            answer(quorum, pending);
        }
        /* Whom a leader that is none any more kept waiting asks another. */
        pending->from.node = 0;
    }
}
