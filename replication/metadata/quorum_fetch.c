/* replication/metadata/quorum_fetch.c: the follower's side of a fetch of `__cluster_metadata` (KIP-595): voters and
 * observers alike.
 *
 * One fetch is under way, from the log's end; each says how far this log is on the disk, which is the voter's ack. It
 * is sent anew when it was answered, when more has been flushed, and every LIMIT_QUORUM_BEAT_MS. A session is with one
 * leader in one epoch: what answers a fetch of another one brings its epoch and no more.
 *
 * The answers: records (taken with the offsets, positions and epochs that they have), or none; a point of divergence,
 * to which the log is cut, so far as it is not decided (then the two do not belong to one cluster, and this server
 * takes no part any more); a snapshot, where the leader's log begins behind this one's end.
 *
 * Failing: with no room on the disk nothing is taken and nothing acknowledged; the next beat asks again. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <syslog.h>

#include "engine/record/framing.h"
#include "replication/base/limits.h"
#include "replication/base/reserve.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/metadata/quorum_records.h"

static int64_t now_ms(const struct quorum *quorum)
{
    return quorum->clock->mono_ms(quorum->clock);
}

/* ---- asking ---- */

/* A new session with whom there is to be fetched from; the log follows in that epoch. */
static void begin_session(struct quorum *quorum, struct raft_id from)
{
    struct err e = {""};
    int rc = 0;

    quorum->fetcher = (struct quorum_fetcher){.from = from,
                                              .epoch = quorum->raft.state.epoch,
                                              .session = ++quorum->next_session,
                                              .at_ms = now_ms(quorum),
                                              .told_flushed = -1};
    if (from.node != 0 && quorum->follows != quorum->raft.state.epoch) {
        rc = log_follow(quorum->log, quorum->raft.state.epoch, &e);
        quorum->follows = quorum->raft.state.epoch;
    }
    if (rc != 0)
        quorum_fail(quorum, rc, &e);
}

static void send_fetch(struct quorum *quorum)
{
    struct quorum_fetcher *fetcher = &quorum->fetcher;
    struct raft_message msg = {
        .type = RAFT_FETCH, .from = quorum->self, .to = fetcher->from, .epoch = quorum->raft.state.epoch};

    msg.fetch.offset = log_end(quorum->log).offset;
    msg.fetch.flushed = log_recovery_point(quorum->log);
    if (msg.fetch.flushed > msg.fetch.offset)
        msg.fetch.flushed = msg.fetch.offset;
    msg.fetch.high_watermark = quorum->raft.high_watermark;
    msg.fetch.last_epoch = quorum->end_epoch;
    msg.fetch.session = fetcher->session;
    msg.fetch.heard = fetcher->heard;
    fetcher->told_flushed = msg.fetch.flushed;
    fetcher->at_ms = now_ms(quorum) + LIMIT_QUORUM_BEAT_MS;
    quorum_send(quorum, &msg, NULL, 0);
}

void quorum_fetch_tend(struct quorum *quorum)
{
    struct quorum_fetcher *fetcher = &quorum->fetcher;
    struct raft_id from;

    if (quorum->state != QUORUM_WELL)
        return;
    from = raft_fetch_from(&quorum->raft);
    if (!raft_id_equal(from, fetcher->from) || fetcher->epoch != quorum->raft.state.epoch)
        begin_session(quorum, from);
    if (quorum->state == QUORUM_WELL && from.node != 0 &&
        (now_ms(quorum) >= fetcher->at_ms || log_recovery_point(quorum->log) > fetcher->told_flushed))
        send_fetch(quorum);
}

int64_t quorum_fetch_deadline_ms(const struct quorum *quorum)
{
    return quorum->fetcher.from.node == 0 ? INT64_MAX : quorum->fetcher.at_ms;
}

/* ---- what came: records ---- */

/* The voters that are set in a batch, in order. They are in force from the moment that it is in the log: they are read,
 * and there is room for them, before. */
struct voters_set {
    int32_t index;
    struct raft_voters voters, target;
};

static int add_voters(struct voters_set **sets, size_t count, int32_t index, const struct command *cmd)
{
    struct voters_set *grown = realloc(*sets, (count + 1) * sizeof *grown);

    if (grown == NULL)
        return -ENOMEM;
    grown[count] = (struct voters_set){.index = index, .voters = cmd->voters, .target = cmd->target};
    *sets = grown;
    return 0;
}

/* 0 or -ENOMEM; *sets is malloc-ed. */
static int find_voters(struct quorum *quorum, const struct log_copy *copy, struct voters_set **sets, size_t *count)
{
    const uint8_t *data = copy->bytes;
    size_t left = copy->entry.len, len;
    int rc = 0;

    for (int32_t index = 0; left > 0 && rc == 0; index++, data += len, left -= len) {
        struct command cmd;

        len = framing_record_len(FRAMING_MSGPACK, data, left);
        if (len == 0)
            break;
        rc = command_decode(data, len, &cmd, NULL);
        if (rc != 0) /* what cannot be understood is found out when it is applied */
            break;
        if (cmd.type == COMMAND_SET_VOTERS && (rc = add_voters(sets, *count, index, &cmd)) == 0)
            *count += 1;
        command_free(&cmd);
    }
    return rc == -ENOMEM ? rc : raft_make_room(&quorum->raft, *count);
}

static void tell_voters(struct quorum *quorum, const struct log_copy *copy, const struct voters_set *sets, size_t count)
{
    for (size_t i = 0; i < count && quorum->state == QUORUM_WELL; i++) {
        struct raft_event event = {.type = RAFT_EVENT_VOTERS_RECORD};

        event.record.base_offset = copy->base.offset;
        event.record.index = sets[i].index;
        event.record.epoch = copy->entry.leader_epoch;
        event.record.voters = &sets[i].voters;
        event.record.target = &sets[i].target;
        quorum_step(quorum, &event);
    }
}

static int append_batch(struct quorum *quorum, const struct log_copy *copy, struct err *e)
{
    struct log_append_result at;
    struct voters_set *sets = NULL;
    size_t count = 0;
    int rc = find_voters(quorum, copy, &sets, &count);

    if (rc != 0)
        err_sys(e, rc, "the quorum's voters");
    else if ((rc = log_append_copy(quorum->log, quorum->raft.state.epoch, copy, 1, &at, e)) > 0)
        quorum->end_epoch = copy->entry.leader_epoch;
    if (rc > 0)
        tell_voters(quorum, copy, sets, count);
    free(sets);
    return rc;
}

/* An epoch that this server had begun to lead, and was stopped before its first record was in the log: nobody else
 * knows of it, and what others have appended there since may be of an earlier one (REPLICATION.md, rule 55). */
static int forget_own_epoch(struct quorum *quorum, struct err *e)
{
    if (log_latest_epoch(quorum->log) <= quorum->end_epoch)
        return 0;
    return log_truncate(quorum->log, quorum->raft.state.epoch, log_end(quorum->log), e);
}

/* Appends the batches in order, but for those that the log has already; what it does not take ends it. 0; -EBADMSG;
 * errnos of the log. */
static int append(struct quorum *quorum, const struct frame *frame, struct err *e)
{
    const uint8_t *data = frame->body;
    size_t len = frame->body_bytes;
    struct log_copy copy;
    int rc = len > 0 ? forget_own_epoch(quorum, e) : 0;

    if (rc != 0)
        return rc;
    while (quorum->state == QUORUM_WELL && (rc = quorum_records_next(&data, &len, &copy, e)) > 0) {
        if (copy.base.offset < log_end(quorum->log).offset)
            continue;
        rc = append_batch(quorum, &copy, e);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* 0: what it brought is in the log; as append(). */
static int take_records(struct quorum *quorum, const struct frame *frame)
{
    struct err e = {""};
    int rc = append(quorum, frame, &e);

    /* They may be what makes room: a topic deleted, a leadership that is another's. */
    if (reserve_begin(quorum->reserve, rc)) {
        rc = append(quorum, frame, &e);
        reserve_end(quorum->reserve);
    }
    if (rc == 0) {
        quorum->fetcher.told_why = false;
        return 0;
    }
    if (log_offline(quorum->log) != 0) {
        quorum_fail(quorum, -EIO, &e);
    } else if (!quorum->fetcher.told_why) {
        log_line(LOG_ERR, "%s: what node %" PRId32 " sent is not taken: %s", quorum->name, quorum->fetcher.from.node,
                 e.text);
    }
    quorum->fetcher.told_why = true;
    return rc;
}

/* ---- what came: divergence ---- */

int quorum_cut(struct quorum *quorum, int64_t offset, struct err *e)
{
    struct raft_event event = {.type = RAFT_EVENT_TRUNCATED};
    struct log_point end = log_end(quorum->log), to;
    int rc = log_lookup_offset(quorum->log, offset, end, &to, e);

    if (rc == 0)
        rc = log_truncate(quorum->log, quorum->follows, to, e);
    /* Also where it is to be called again: what went is gone. */
    if (rc == 0 || log_end(quorum->log).offset < end.offset) {
        int found = quorum_find_end_epoch(quorum, rc == 0 ? e : NULL);
        rc = rc == 0 ? found : rc;
    }
    event.offset = log_end(quorum->log).offset;
    if (event.offset < end.offset)
        quorum_step(quorum, &event);
    return rc;
}

/* To the end of the largest epoch that both have, or of what this log has of it (KIP-279). */
static void diverge(struct quorum *quorum, const struct raft_message *msg)
{
    struct log_point start = log_start(quorum->log), end = log_end(quorum->log), to;
    struct err e = {""};
    int64_t offset;
    int32_t epoch;
    int rc;

    log_epoch_end(quorum->log, msg->fetch_answer.end_epoch, &epoch, &to);
    if (to.offset < 0)
        to = end;
    offset = msg->fetch_answer.end_offset < to.offset ? msg->fetch_answer.end_offset : to.offset;
    if (offset < start.offset)
        offset = start.offset;
    if (offset < quorum->decided_offset) {
        err_set(&e, -EBADMSG,
                "node %" PRId32 ", which leads, holds something else from offset %" PRId64
                " on than what was decided here: take this node's data directory away and let it join as new",
                msg->from.node, offset);
        quorum_fail(quorum, -EBADMSG, &e);
        return;
    }
    rc = quorum_cut(quorum, offset, &e);
    if (rc != 0 && log_offline(quorum->log) != 0)
        quorum_fail(quorum, -EIO, &e);
    else if (rc != 0) /* the next beat asks again */
        log_line(LOG_ERR, "%s: %s", quorum->name, e.text);
}

/* ---- an answer ---- */

/* Of a fetch of this session, from where the log ends now: a late one can be of an earlier end. */
static bool is_ours(const struct quorum *quorum, const struct raft_message *msg)
{
    return raft_id_equal(msg->from, quorum->fetcher.from) && msg->epoch == quorum->raft.state.epoch &&
           quorum->fetcher.epoch == msg->epoch && msg->fetch_answer.session == quorum->fetcher.session;
}

void quorum_on_fetch_answer(struct quorum *quorum, const struct raft_message *msg, const struct frame *frame)
{
    struct raft_message heard = *msg;
    struct raft_event event = {.type = RAFT_EVENT_MESSAGE, .message = &heard};
    bool ours = is_ours(quorum, msg), soon = true;
    int rc = 0;

    if (!ours && msg->epoch == quorum->raft.state.epoch && msg->fetch_answer.outcome != RAFT_FETCH_NOT_LEADER)
        return;
    if (!ours && msg->epoch < quorum->raft.state.epoch)
        return;
    if (ours && msg->fetch_answer.outcome != RAFT_FETCH_NOT_LEADER &&
        msg->fetch_answer.offset != log_end(quorum->log).offset)
        return;
    if (ours && msg->fetch_answer.outcome == RAFT_FETCH_OK)
        rc = take_records(quorum, frame);
    else if (ours && msg->fetch_answer.outcome == RAFT_FETCH_DIVERGING)
        diverge(quorum, msg);
    if (ours && msg->fetch_answer.outcome == RAFT_FETCH_SNAPSHOT) {
        quorum_install_begin(quorum, msg);
        soon = false; /* its beats go on; more of the log is of no use before it */
    }
    if (quorum->state != QUORUM_WELL)
        return;
    /* What does not go on where this log ends says nothing of it. */
    if (rc == -EBADMSG)
        heard.fetch_answer.high_watermark = 0;
    if (ours && msg->fetch_answer.outcome != RAFT_FETCH_NOT_LEADER)
        quorum->fetcher.heard = msg->fetch_answer.sent;
    quorum_step(quorum, &event);
    if (ours && msg->fetch_answer.outcome == RAFT_FETCH_OK)
        quorum_ops_answered(quorum);
    if (ours && soon && rc == 0)
        quorum->fetcher.at_ms = now_ms(quorum);
}
