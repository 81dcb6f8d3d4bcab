/* replication/metadata/quorum_server.c: this node's server of the quorum: raft.h's events from the log, its actions on
 * the log and the disk.
 *
 * The happy path of a start: the state that was persisted is read, the records that set voters are told, START. Alone,
 * the server persists a new epoch with its vote, appends the record that the epoch begins with, flushes it, and all
 * that lies below is decided. In a directory that is new, or of a version that had no voters, the record of the voters
 * comes first. Then each turn's flush is told, and what it decides is the turn's to apply.
 *
 * Failing: a state that cannot be persisted, or a first record that cannot be appended, fails the start. But where the
 * disk is full the only voter shows what is there, and begins its epoch with the first command that finds room. Later
 * ones do not come, as long as this server is the only voter. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <syslog.h>

#include "engine/base/container.h"
#include "engine/base/crc32c.h"
#include "replication/metadata/quorum_internal.h"
#include "replication/metadata/quorum_state.h"
#include "replication/replica/partition_internal.h"

/* ---- the log as raft asks for it ---- */

static struct log *log_of(const struct raft_log *view)
{
    return CONTAINER_OF(view, struct quorum, view)->part->log;
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
    int rc = partition_append_uncommitted(quorum->part, &batch, out, e);
    if (rc == 0)
        quorum->end_epoch = atomic_load(&quorum->part->leader_epoch);
    return rc;
}

static int append_own(struct quorum *quorum, struct command *cmd, int32_t epoch, struct log_append_result *out,
                      struct err *e)
{
    void *data;
    size_t len;
    cmd->time_ms = quorum->clock->wall_ms(quorum->clock);
    int rc = command_encode(cmd, &data, &len);
    if (rc != 0)
        return err_sys(e, rc, "a record of the quorum");
    partition_lead(quorum->part, epoch);
    rc = quorum_append_record(quorum, data, len, cmd->time_ms, out, e);
    free(data);
    return rc;
}

/* ---- steps ---- */

/* A record that an action has appended: it is told once the actions before and behind it are done. */
struct told {
    struct raft_event event;
    struct raft_voters voters, target;
};

struct tellings {
    struct told told[RAFT_ACTIONS_MAX];
    int count;
};

static int append_leader(struct quorum *quorum, const struct raft_action *action, struct told *told, struct err *e)
{
    struct command cmd = {.type = COMMAND_BEGIN_EPOCH, .epoch = action->append.epoch, .leader = quorum->self};
    struct log_append_result at;
    int rc = append_own(quorum, &cmd, action->append.epoch, &at, e);
    told->event = (struct raft_event){.type = RAFT_EVENT_LEADER_RECORD};
    told->event.record.base_offset = at.base.offset;
    told->event.record.epoch = action->append.epoch;
    return rc;
}

/* Also the first record of all, which is on the disk before anybody stands by it. */
static int append_voters(struct quorum *quorum, const struct raft_action *action, struct told *told, struct err *e)
{
    struct command cmd = {.type = COMMAND_SET_VOTERS, .voters = action->append.voters, .target = action->append.target};
    struct log_append_result at;
    int rc = append_own(quorum, &cmd, action->append.epoch, &at, e);
    if (rc == 0 && action->type == RAFT_BOOTSTRAP)
        rc = log_flush_all(quorum->part->log);
    *told = (struct told){.voters = cmd.voters, .target = cmd.target, .event = {.type = RAFT_EVENT_VOTERS_RECORD}};
    told->event.record.base_offset = at.base.offset;
    told->event.record.epoch = action->append.epoch;
    told->event.record.voters = &told->voters;
    told->event.record.target = &told->target;
    return rc;
}

static int act(struct quorum *quorum, const struct raft_action *action, struct tellings *tellings, struct err *e)
{
    switch (action->type) {
    case RAFT_PERSIST:
        return quorum_state_write(quorum->io, quorum->dirfd, quorum->self, &action->state, e);
    case RAFT_APPEND_LEADER:
        return append_leader(quorum, action, &tellings->told[tellings->count++], e);
    case RAFT_APPEND_VOTERS:
    case RAFT_BOOTSTRAP:
        return append_voters(quorum, action, &tellings->told[tellings->count++], e);
    case RAFT_HIGH_WATERMARK:
        quorum->decided = action->offset;
        return 0;
    case RAFT_SEND: /* the only member has nobody to speak to */
    case RAFT_ROLE:
    case RAFT_RECOVERY_REFUSED:
        return 0;
    }
    return 0;
}

/* Tells one event and does all that follows from it, the records' events included. */
static int step(struct quorum *quorum, const struct raft_event *event, struct err *e)
{
    struct raft_actions actions;
    struct tellings tellings = {.count = 0};
    int rc = raft_step(&quorum->raft, quorum->clock->mono_ms(quorum->clock), event, &actions);
    if (rc != 0)
        return err_sys(e, rc, "the quorum's server");
    for (int i = 0; i < actions.count && rc == 0; i++)
        rc = act(quorum, &actions.actions[i], &tellings, e);
    for (int i = 0; i < tellings.count && rc == 0; i++)
        rc = step(quorum, &tellings.told[i].event, e);
    return rc;
}

/* ---- the start ---- */

static int tell_voters(struct quorum *quorum, const struct command *cmd, int64_t offset, struct err *e)
{
    struct raft_event event = {.type = RAFT_EVENT_VOTERS_RECORD};
    if (cmd->type != COMMAND_SET_VOTERS)
        return 0;
    event.record.base_offset = offset;
    event.record.voters = &cmd->voters;
    event.record.target = &cmd->target;
    return step(quorum, &event, e);
}

static int tell_voters_of_snapshot(struct quorum *quorum, struct err *e)
{
    const struct metadata_voters *known = &quorum->meta.voters;
    struct raft_event event = {.type = RAFT_EVENT_VOTERS_RECORD};
    if (known->offset < 0)
        return 0;
    event.record.base_offset = known->offset;
    event.record.voters = &known->voters;
    event.record.target = &known->target;
    return step(quorum, &event, e);
}

/* The epoch of the log's last record; of an empty log, the snapshot's. */
static int find_end_epoch(struct quorum *quorum, struct err *e)
{
    struct log_point start = log_start(quorum->part->log), end = log_end(quorum->part->log);
    struct log_run run;
    quorum->end_epoch = quorum->meta.next_offset > 0 ? quorum->meta.epoch : -1;
    if (start.offset == end.offset)
        return 0;
    int rc = log_run_at(quorum->part->log, end.position - 1, end.position, &run, e);
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
    quorum->view =
        (struct raft_log){.start = view_start, .end = view_end, .flushed = view_flushed, .end_epoch = view_end_epoch};
    int rc = quorum_state_read(quorum->io, quorum->dirfd, quorum->self, &state, e);
    if (rc != 0 && rc != -ENOENT)
        return rc;
    quorum->state_lost = rc == -ENOENT || state.epoch < log_latest_epoch(quorum->part->log);
    raft_init(&quorum->raft, &config, &state);
    return 0;
}

/* No epoch in the log is above the one that was persisted: it came first. So there is no state of this directory, or
 * one of long ago. A log without voters is new, or of a version that kept no state. A lone voter asks nobody: far above
 * what it may have forgotten it can do no harm. One of several might vote a second time, and must not. */
static int make_state(struct quorum *quorum, struct err *e)
{
    const struct raft_voters *voters = raft_voters(&quorum->raft);
    int32_t latest = log_latest_epoch(quorum->part->log);
    struct raft_state state = {.epoch = latest > 0 ? latest : 0};
    if (voters->count > 1)
        return err_set(e, -EBADMSG,
                       QUORUM_STATE_FILE
                       " is missing, or older than the log: this node may have voted and not know it any more; "
                       "take its data directory away and let it join as new");
    if (voters->count == 1) {
        state.epoch += RAFT_RECOVER_EPOCHS;
        log_line(LOG_WARNING,
                 QUORUM_STATE_FILE " is missing, or older than the log: the only voter goes on in epoch %" PRId32,
                 state.epoch + 1);
    }
    raft_set_state(&quorum->raft, &state);
    return quorum_state_write(quorum->io, quorum->dirfd, quorum->self, &state, e);
}

int quorum_server_start(struct quorum *quorum, struct err *e)
{
    struct raft_event start = {.type = RAFT_EVENT_START}, tick = {.type = RAFT_EVENT_TICK};
    struct raft_event flushed = {.type = RAFT_EVENT_FLUSHED};
    struct log *log = quorum->part->log;
    int rc = find_end_epoch(quorum, e);
    if (rc == 0)
        rc = init_server(quorum, e);
    if (rc == 0)
        rc = tell_voters_of_snapshot(quorum, e);
    if (rc == 0)
        rc = quorum_each_record(quorum, quorum->meta.next_offset, log_end(log).offset, tell_voters, e);
    if (rc == 0 && quorum->state_lost)
        rc = make_state(quorum, e);
    if (rc == 0)
        rc = step(quorum, &start, e);
    /* A lone voter stands at once, and wins. */
    while (rc == 0 && raft_deadline_ms(&quorum->raft) <= quorum->clock->mono_ms(quorum->clock))
        rc = step(quorum, &tick, e);
    if (rc == 0 && quorum->raft.role != RAFT_LEADER)
        rc = err_set(e, -EROFS, "node %" PRId32 " is one of %" PRId32 " voters, or none, and can decide nothing alone",
                     quorum->self.node, raft_voters(&quorum->raft)->count);
    /* What kill -9 left in the page cache is decided too, and must not be undone by a power cut later. */
    if (rc == 0)
        rc = log_flush_all(log);
    return rc == 0 ? step(quorum, &flushed, e) : rc;
}

int quorum_server_wait(struct quorum *quorum, struct err *e)
{
    const struct raft_voters *voters = raft_voters(&quorum->raft);
    struct log *log = quorum->part->log;
    if (voters->count > 1 || (voters->count == 1 && !raft_is_voter(&quorum->raft)))
        return -ENOSPC;
    log_line(LOG_WARNING, "%s: nothing can be decided: %s", quorum->part->name, e->text);
    int rc = log_flush_all(log);
    if (rc != 0)
        return err_sys(e, rc, "flush");
    quorum->decided = log_end(log).offset;
    return 0;
}

void quorum_server_flushed(struct quorum *quorum)
{
    struct raft_event event = {.type = RAFT_EVENT_FLUSHED};
    struct err e = {""};
    int rc = step(quorum, &event, &e);
    assert(rc == 0); /* a flush makes nobody persist or append */
    (void)rc;
}

void quorum_server_trimmed(struct quorum *quorum)
{
    struct raft_event event = {.type = RAFT_EVENT_TRIMMED, .offset = quorum->meta.next_offset};
    struct err e = {""};
    int rc = step(quorum, &event, &e);
    assert(rc == 0); /* only the history of voters is made shorter */
    (void)rc;
}
