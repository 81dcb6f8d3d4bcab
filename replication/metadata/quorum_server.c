/* replication/metadata/quorum_server.c: this node's server of the quorum: raft.h's events from the log, its actions on
 * the log, the disk and the network.
 *
 *            an action finds no room                     its disk failed, or it holds what nobody decided
 *     WELL ─────────────────────────▶ STALLED      WELL, STALLED ─────────────────────────────▶ FAILED
 *          ◀───────────────────────── there is room
 *
 * The happy path of a start: the state that was persisted is read, the records that set voters are told, START. Alone,
 * the server persists a new epoch with its vote, appends the record that the epoch begins with, flushes it, and all
 * that lies below is decided. In a directory that is new, or of a version that had no voters, the record of the voters
 * comes first. One of several waits for its peers.
 *
 * An action is done before the next one begins, and all of them before the next event: so where one finds no room the
 * server stalls, with nothing half done, and tries it again once in LIMIT_STALL_MS and when a command comes; what its
 * peers say meanwhile is lost, as any message can be. A leader that has others to lead does not stall over a record of
 * its own: it resigns. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "engine/base/crc32c.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/metadata/quorum_state.h"

/* ---- the log as raft asks for it ---- */

static struct log *log_of(const struct raft_log *view)
{
    return CONTAINER_OF(view, struct quorum, view)->log;
}

static int64_t view_start(const struct raft_log *view)
{
    return log_start(log_of(view)).offset;
}

static int64_t view_end(const struct raft_log *view)
{
    return log_end(log_of(view)).offset;
}

static int64_t view_flushed(const struct raft_log *view)
{
    return log_recovery_point(log_of(view));
}

static int32_t view_end_epoch(const struct raft_log *view)
{
    return CONTAINER_OF(view, struct quorum, view)->end_epoch;
}

static uint32_t chance(void *arg, uint32_t below)
{
    struct quorum *quorum = arg;
    uint32_t number = 0;

    /* Without chance voters may stand at the same moment for longer; nothing else depends on it. */
    (void)executor_random(quorum->executor, &number, sizeof number);
    return number % below;
}

bool quorum_is_alone(const struct quorum *quorum)
{
    return raft_voters(&quorum->raft)->count <= 1;
}

/* ---- records ---- */

int quorum_append_record(struct quorum *quorum, const void *data, size_t len, int64_t time_ms,
                         struct log_append_result *out, struct err *e)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct append_batch batch = {.iov = &iov,
                                 .iovcnt = 1,
                                 .len = (uint32_t)len,
                                 .records = 1,
                                 .crc = crc32c(0, data, len),
                                 .first_timestamp_ms = time_ms,
                                 .last_timestamp_ms = time_ms,
                                 .producer_id = -1,
                                 .sequence = -1,
                                 .framing = FRAMING_MSGPACK};
    int32_t epoch = quorum->raft.state.epoch;
    int rc = log_append(quorum->log, &batch, epoch, out, e);

    if (rc == 0)
        quorum->end_epoch = epoch;
    return rc;
}

/* Of producers that those who are lost knew of batches may be in the logs that are left. */
static const int64_t skipped_producer_ids = (int64_t)1 << 32;

static int append_own(struct quorum *quorum, struct command *cmd, int32_t epoch, struct log_append_result *out,
                      struct err *e)
{
    void *data;
    size_t len;
    int rc;

    cmd->time_ms = quorum->clock->wall_ms(quorum->clock);
    rc = command_encode(cmd, &data, &len);
    if (rc != 0)
        return err_sys(e, rc, "a record of the quorum");
    /* That it leads in this epoch is on the disk before (REPLICATION.md, rules 1 and 2). */
    rc = log_lead(quorum->log, epoch, e);
    if (rc == 0)
        rc = quorum_append_record(quorum, data, len, cmd->time_ms, out, e);
    free(data);
    return rc;
}

/* ---- actions ---- */

static struct quorum_told *tell_later(struct quorum *quorum, enum raft_event_type type,
                                      const struct log_append_result *at, int32_t epoch)
{
    struct quorum_told *told = &quorum->told[quorum->told_count++];

    assert(quorum->told_count <= QUORUM_TOLD_MAX);
    *told = (struct quorum_told){.event = {.type = type}};
    if (at != NULL) {
        told->event.record.base_offset = at->base.offset;
        told->event.record.epoch = epoch;
    }
    return told;
}

static int append_leader(struct quorum *quorum, const struct raft_action *action, struct err *e)
{
    struct command cmd = {.type = COMMAND_BEGIN_EPOCH, .epoch = action->append.epoch, .leader = quorum->self};
    struct log_append_result at;
    int rc = 0;

    /* A log of a version that had no cluster's id in it, or this says what is known. */
    if (quorum_is_alone(quorum))
        rc = quorum->found_cluster(quorum->arg, cmd.cluster, e);
    if (rc == 0)
        rc = append_own(quorum, &cmd, action->append.epoch, &at, e);
    if (rc == 0)
        tell_later(quorum, RAFT_EVENT_LEADER_RECORD, &at, action->append.epoch);
    return rc;
}

/* A quorum that is made anew may not know of the last producer ids that the lost one has given: none of them is given
 * again (REPLICATION.md, rules 26 and 34). */
static int skip_producer_ids(struct quorum *quorum, int32_t epoch, struct err *e)
{
    struct command cmd = {.type = COMMAND_PRODUCER_IDS, .count = skipped_producer_ids};
    struct log_append_result at;

    return append_own(quorum, &cmd, epoch, &at, e);
}

/* Also the first record of all, which names the cluster and is on the disk before anybody stands by it. */
static int append_voters(struct quorum *quorum, const struct raft_action *action, struct err *e)
{
    struct command cmd = {.type = COMMAND_SET_VOTERS, .voters = action->append.voters, .target = action->append.target};
    struct log_append_result at;
    struct quorum_told *told;
    int rc = raft_make_room(&quorum->raft, (size_t)quorum->told_count + 1); /* those that wait to be told, and this */

    if (rc != 0)
        return err_sys(e, rc, "the quorum's voters");
    if (action->type == RAFT_BOOTSTRAP)
        rc = quorum->found_cluster(quorum->arg, cmd.cluster, e);
    if (rc == 0 && quorum->recovering)
        rc = skip_producer_ids(quorum, action->append.epoch, e);
    /* A log with several voters and no state would be of one that may have forgotten a vote. */
    if (rc == 0 && action->type == RAFT_BOOTSTRAP)
        rc = quorum_state_write(quorum->io, quorum->dirfd, quorum->self, &quorum->raft.state, e);
    if (rc == 0)
        rc = append_own(quorum, &cmd, action->append.epoch, &at, e);
    if (rc == 0 && action->type == RAFT_BOOTSTRAP)
        rc = log_flush_all(quorum->log);
    if (rc != 0)
        return rc;
    told = tell_later(quorum, RAFT_EVENT_VOTERS_RECORD, &at, action->append.epoch);
    told->voters = cmd.voters;
    told->target = cmd.target;
    told->event.record.voters = &told->voters;
    told->event.record.target = &told->target;
    return 0;
}

void quorum_send(struct quorum *quorum, const struct raft_message *msg, const struct iovec *body, int body_count)
{
    uint8_t header[LIMIT_RAFT_MESSAGE_BYTES];
    size_t len = raft_message_encode(msg, header);

    /* One that is lost is sent again when its time has come, as any other that is lost on the way. */
    (void)network_send(quorum->network, msg->to.node, CHANNEL_CONTROL, MESSAGE_RAFT, header, len, body, body_count);
}

static int act(struct quorum *quorum, const struct raft_action *action, struct err *e)
{
    switch (action->type) {
    case RAFT_PERSIST:
        return quorum_state_write(quorum->io, quorum->dirfd, quorum->self, &action->state, e);
    case RAFT_APPEND_LEADER:
        return append_leader(quorum, action, e);
    case RAFT_APPEND_VOTERS:
    case RAFT_BOOTSTRAP:
        return append_voters(quorum, action, e);
    case RAFT_SEND:
        if (action->message.type == RAFT_FETCH_ANSWER)
            quorum_serve_answer(quorum, &action->message);
        else
            quorum_send(quorum, &action->message, NULL, 0);
        return 0;
    case RAFT_HIGH_WATERMARK:
        pthread_mutex_lock(&quorum->lock);
        if (action->offset > quorum->decided_offset)
            quorum->decided_offset = action->offset;
        pthread_mutex_unlock(&quorum->lock);
        return 0;
    case RAFT_ROLE: /* whoever needs it looks at the end of the turn */
        return 0;
    }
    return 0;
}

static void stall(struct quorum *quorum, int rc, const struct err *e)
{
    if (quorum->state == QUORUM_WELL)
        log_line(LOG_WARNING, "%s: nothing can be decided here: %s", quorum->name, e->text);
    pthread_mutex_lock(&quorum->lock);
    quorum->tried_number = quorum->next_number;
    pthread_mutex_unlock(&quorum->lock);
    quorum->state = QUORUM_STALLED;
    quorum->stall_rc = rc;
    quorum->stall_e = *e;
    quorum->retry_at_ms = quorum->clock->mono_ms(quorum->clock) + LIMIT_STALL_MS;
}

void quorum_fail(struct quorum *quorum, int rc, const struct err *e)
{
    if (quorum->state == QUORUM_FAILED)
        return;
    if (quorum->recovering) {
        pthread_mutex_lock(&quorum->lock);
        quorum->recover_rc = rc;
        quorum->recover_e = *e;
        pthread_mutex_unlock(&quorum->lock);
    }
    log_line(LOG_CRIT, "%s: this node takes no part in the quorum any more: %s", quorum->name, e->text);
    quorum->state = QUORUM_FAILED;
    quorum->stall_rc = rc;
    quorum->stall_e = *e;
    if (quorum->started)
        quorum->failed(quorum->arg);
}

/* What to do when an action was not done. true: go on behind it. */
static bool survive(struct quorum *quorum, const struct raft_action *action, int rc, const struct err *e)
{
    bool appends = action->type == RAFT_APPEND_LEADER || action->type == RAFT_APPEND_VOTERS;

    if (!err_is_passing(rc)) {
        quorum_fail(quorum, log_offline(quorum->log) != 0 ? -EIO : rc, e);
        return false;
    }
    /* Who makes the quorum anew has nobody to let lead. */
    if (appends && !quorum_is_alone(quorum) && !quorum->recovering) {
        log_line(LOG_WARNING, "%s: this node does not lead the quorum: %s", quorum->name, e->text);
        tell_later(quorum, RAFT_EVENT_APPEND_FAILED, NULL, 0);
        return true;
    }
    stall(quorum, rc, e);
    return false;
}

/* Does the actions that are left, then tells what they have appended, and so on. */
static void go_on(struct quorum *quorum)
{
    while (quorum->state == QUORUM_WELL) {
        if (quorum->action_at < quorum->actions.count) {
            const struct raft_action *action = &quorum->actions.actions[quorum->action_at];
            struct err e = {""};
            int rc = act(quorum, action, &e);

            if (rc != 0 && !survive(quorum, action, rc, &e))
                return;
            quorum->action_at++;
            continue;
        }
        if (quorum->told_count == 0)
            return;
        struct quorum_told told = quorum->told[0];

        quorum->told_count--;
        for (int i = 0; i < quorum->told_count; i++)
            quorum->told[i] = quorum->told[i + 1];
        if (told.event.type == RAFT_EVENT_VOTERS_RECORD) {
            told.event.record.voters = &told.voters;
            told.event.record.target = &told.target;
        }
        quorum->action_at = 0;
        int rc = raft_step(&quorum->raft, quorum->clock->mono_ms(quorum->clock), &told.event, &quorum->actions);

        assert(rc == 0); /* append_voters() has made room */
    }
}

int quorum_step(struct quorum *quorum, const struct raft_event *event)
{
    int rc;

    assert(quorum->state == QUORUM_WELL && quorum->told_count == 0);
    quorum->action_at = 0;
    rc = raft_step(&quorum->raft, quorum->clock->mono_ms(quorum->clock), event, &quorum->actions);
    assert(rc != -ENOMEM); /* whoever tells of a record or a reset has made room */
    go_on(quorum);
    return rc;
}

void quorum_unstall(struct quorum *quorum)
{
    struct err e = {""};
    int rc;

    assert(quorum->state == QUORUM_STALLED);
    rc = act(quorum, &quorum->actions.actions[quorum->action_at], &e);
    if (rc != 0) {
        survive(quorum, &quorum->actions.actions[quorum->action_at], rc, &e);
        return;
    }
    quorum->state = QUORUM_WELL;
    quorum->action_at++;
    go_on(quorum);
}

/* ---- the start ---- */

/* And what they say of the cluster. */
static int tell_voters(struct quorum *quorum, const struct command *cmd, struct log_point end, struct err *e)
{
    struct raft_event event = {.type = RAFT_EVENT_VOTERS_RECORD};
    int rc;

    if (cmd->cluster[0] != '\0' && quorum->cluster_id[0] == '\0')
        memcpy(quorum->cluster_id, cmd->cluster, sizeof quorum->cluster_id);
    if (cmd->type != COMMAND_SET_VOTERS)
        return 0;
    event.record.base_offset = end.offset - 1;
    event.record.voters = &cmd->voters;
    event.record.target = &cmd->target;
    rc = raft_step(&quorum->raft, quorum->clock->mono_ms(quorum->clock), &event, &quorum->actions);
    return rc == 0 ? 0 : err_sys(e, rc, "the quorum's voters");
}

static int tell_voters_of_snapshot(struct quorum *quorum, struct err *e)
{
    const struct metadata_voters *known = &quorum->meta.voters;
    struct command cmd = {.type = COMMAND_SET_VOTERS, .voters = known->voters, .target = known->target};

    return known->offset < 0 ? 0 : tell_voters(quorum, &cmd, (struct log_point){.offset = known->offset + 1}, e);
}

int quorum_find_end_epoch(struct quorum *quorum, struct err *e)
{
    struct log_point start = log_start(quorum->log), end = log_end(quorum->log);
    struct log_run run;
    int rc;

    quorum->end_epoch = quorum->meta.next_offset > 0 ? quorum->meta.epoch : -1;
    if (start.offset == end.offset)
        return 0;
    rc = log_run_at(quorum->log, end.position - 1, end.position, &run, e);
    if (rc == 0)
        return err_set(e, -EBADMSG, "its last record is not there");
    if (rc == 1)
        quorum->end_epoch = run.entry.leader_epoch;
    return rc < 0 ? rc : 0;
}

static int init_server(struct quorum *quorum, struct err *e)
{
    struct raft_config config = {
        .self = quorum->self, .log = &quorum->view, .peers = quorum->peers, .random = chance, .random_arg = quorum};
    struct raft_state state;
    int rc;

    quorum->view =
        (struct raft_log){.start = view_start, .end = view_end, .flushed = view_flushed, .end_epoch = view_end_epoch};
    rc = quorum_state_read(quorum->io, quorum->dirfd, quorum->self, &state, e);
    /* A recovery that ended between the two files left that of the old incarnation; the log's epochs are known. */
    if (rc == -EBADMSG && quorum->recover)
        rc = -ENOENT;
    if (rc != 0 && rc != -ENOENT)
        return rc;
    quorum->state_lost = rc == -ENOENT || state.epoch < log_latest_epoch(quorum->log);
    raft_init(&quorum->raft, &config, &state);
    return 0;
}

/* No epoch in the log is above the one that was persisted: it came first. So there is no state of this directory, or
 * one of long ago. A log without voters is new, or of a version that kept no state. A lone voter asks nobody: far above
 * what it may have forgotten it can do no harm. One of several might vote a second time, and must not (REPLICATION.md,
 * rule 15). */
static int make_state(struct quorum *quorum, struct err *e)
{
    const struct raft_voters *voters = raft_voters(&quorum->raft);
    int32_t latest = log_latest_epoch(quorum->log);
    struct raft_state state = {.epoch = latest > 0 ? latest : 0};

    if (voters->count > 1) {
        return err_set(e, -EBADMSG,
                       QUORUM_STATE_FILE
                       " is missing, or older than the log: this node may have voted and not know it any more; "
                       "take its data directory away and let it join as new");
    }
    if (voters->count == 1) {
        state.epoch += RAFT_RECOVER_EPOCHS;
        log_line(LOG_WARNING,
                 QUORUM_STATE_FILE " is missing, or older than the log: the only voter goes on in epoch %" PRId32,
                 state.epoch + 1);
    }
    /* Whatever comes of it is persisted first, as always. */
    raft_set_state(&quorum->raft, &state);
    return 0;
}

/* ---- a quorum that is lost for good ---- */

static int note_registration(struct quorum *quorum, const struct command *cmd, struct log_point end, struct err *e)
{
    (void)end;
    (void)e;
    if (cmd->type == COMMAND_REGISTER_NODE && cmd->registration.id == quorum->self.node)
        quorum->registered = cmd->registration.incarnation;
    return 0;
}

/* As which server this node is registered once all of its log is decided. */
static int find_registration(struct quorum *quorum, struct err *e)
{
    const struct metadata *meta = quorum_acquire(quorum);
    const struct node_registration *node = metadata_node(meta, quorum->self.node);
    int64_t next = meta->next_offset;

    quorum->registered = node != NULL ? node->incarnation : 0;
    quorum_release(quorum);
    return quorum_each_record(quorum, next, log_end(quorum->log).offset, note_registration, e);
}

/* Another server of it from here on, which has promised nobody anything. The epochs that the old one knew still count:
 * the new ones are to be far above them. */
static int renew(struct quorum *quorum, const struct raft_state *known, struct err *e)
{
    struct raft_state state = {.epoch = known->epoch};
    int32_t latest = log_latest_epoch(quorum->log);
    int rc;

    if (latest > state.epoch)
        state.epoch = latest;
    rc = quorum->renew(quorum->arg, quorum->registered, &quorum->self.incarnation, e);
    if (rc == 0)
        rc = quorum_state_write(quorum->io, quorum->dirfd, quorum->self, &state, e);
    if (rc != 0)
        return rc;
    quorum->raft.config.self = quorum->self;
    quorum->state_lost = false;
    raft_set_state(&quorum->raft, &state);
    return 0;
}

/* It listens for an election timeout, some of it at a time: time for which this process stands still, at whose end
 * others have answered nothing yet that it was too late to ask, counts as one of them. */
enum { RECOVER_TIMES = 10, RECOVER_TIME_MS = RAFT_ELECTION_MAX_MS / RECOVER_TIMES };

/* At the start. As long as it listens it is the server that it was: if another voter is heard nothing has changed. */
static int listen_for_voters(struct quorum *quorum, struct err *e)
{
    const struct raft_voters *voters = raft_voters(&quorum->raft);

    quorum->recover_at_ms = INT64_MAX;
    if (!quorum->recover)
        return 0;
    if (voters->count == 0)
        return err_set(e, -EINVAL, "quorum.recover: this node holds no metadata to make a quorum of");
    if (voters->count == 1 && raft_is_voter(&quorum->raft)) {
        log_line(LOG_NOTICE, "quorum.recover: this node is the only voter already");
        return 0;
    }
    quorum->recovering = true;
    quorum->recover_times = RECOVER_TIMES - 1;
    quorum->recover_at_ms = quorum->clock->mono_ms(quorum->clock) + RECOVER_TIME_MS;
    return 0;
}

/* ---- alone ---- */

/* Nobody else decides: all that is in its log is, once it is on the disk. What kill -9 left in the page cache is
 * decided too, and must not be undone by a power cut later. */
static int decide_alone(struct quorum *quorum, struct err *e)
{
    struct raft_event tick = {.type = RAFT_EVENT_TICK}, flushed = {.type = RAFT_EVENT_FLUSHED};
    int rc;

    /* A lone voter stands at once, and wins. */
    while (quorum->state == QUORUM_WELL && raft_deadline_ms(&quorum->raft) <= quorum->clock->mono_ms(quorum->clock))
        quorum_step(quorum, &tick);
    if (quorum->state == QUORUM_FAILED)
        return err_set(e, quorum->stall_rc, "%s", quorum->stall_e.text);
    rc = log_flush_all(quorum->log);
    if (rc != 0)
        return err_sys(e, rc, "flush");
    if (quorum->state == QUORUM_WELL)
        quorum_step(quorum, &flushed);
    else
        quorum->decided_offset = log_end(quorum->log).offset;
    quorum->knows_all = true;
    return 0;
}

/* State, and the voters that the log knows. */
static int read_server(struct quorum *quorum, struct err *e)
{
    int rc = quorum_find_end_epoch(quorum, e);

    if (rc == 0)
        rc = init_server(quorum, e);
    if (rc == 0)
        rc = tell_voters_of_snapshot(quorum, e);
    if (rc == 0)
        rc = quorum_each_record(quorum, quorum->meta.next_offset, log_end(quorum->log).offset, tell_voters, e);
    return rc;
}

int quorum_server_start(struct quorum *quorum, struct err *e)
{
    struct raft_event start = {.type = RAFT_EVENT_START};
    int rc = read_server(quorum, e);

    if (rc == 0)
        rc = listen_for_voters(quorum, e);
    if (rc == 0 && quorum->state_lost && !quorum->recovering)
        rc = make_state(quorum, e);
    if (rc != 0)
        return rc;
    quorum_step(quorum, &start);
    if (quorum->state == QUORUM_FAILED)
        return err_set(e, quorum->stall_rc, "%s", quorum->stall_e.text);
    /* A log without voters is new: its node is alone if it has no peers. */
    if (!quorum_is_alone(quorum) || !(raft_is_voter(&quorum->raft) || quorum->peers.count == 1))
        return 0;
    return decide_alone(quorum, e);
}

void quorum_recover_tend(struct quorum *quorum)
{
    struct raft_event start = {.type = RAFT_EVENT_START}, recover = {.type = RAFT_EVENT_RECOVER};
    struct raft_state known = quorum->raft.state;
    int64_t now_ms = quorum->clock->mono_ms(quorum->clock);
    struct err e = {""};
    int rc;

    if (quorum->state != QUORUM_WELL || now_ms < quorum->recover_at_ms)
        return;
    if (quorum->recover_times > 0) {
        quorum->recover_times--;
        quorum->recover_at_ms = now_ms + RECOVER_TIME_MS;
        return;
    }
    quorum->recover_at_ms = INT64_MAX;
    raft_free(&quorum->raft);
    rc = read_server(quorum, &e);
    if (rc == 0)
        rc = find_registration(quorum, &e);
    if (rc == 0)
        rc = renew(quorum, &known, &e);
    quorum->fetcher = (struct quorum_fetcher){.from = {0}};
    if (rc != 0) {
        err_wrap(&e, rc, "quorum.recover");
        quorum_fail(quorum, rc, &e);
        return;
    }
    log_line(LOG_WARNING, "quorum.recover: no other voter is heard: node %" PRId32 " makes the quorum anew, alone",
             quorum->self.node);
    quorum_step(quorum, &start);
    if (quorum->state == QUORUM_WELL)
        quorum_step(quorum, &recover);
}

void quorum_recover_heard(struct quorum *quorum, struct raft_id from)
{
    struct err e = {""};

    if (quorum->recover_at_ms == INT64_MAX || from.node == quorum->self.node ||
        raft_voters_find(raft_voters(&quorum->raft), from) < 0)
        return;
    quorum->recover_at_ms = INT64_MAX;
    err_set(&e, -EBUSY,
            "quorum.recover: node %" PRId32 ", a voter, is there: where voters are left, the quorum is not made anew",
            from.node);
    quorum_fail(quorum, -EBUSY, &e);
}
