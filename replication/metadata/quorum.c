/* replication/metadata/quorum.c: proposals, their flush, replay and snapshot.
 *
 * A proposal is a struct on its caller's stack: appended and queued under the lock, then flushed without it. Whichever
 * flush reaches a proposal first applies it and all before it; its caller goes on when it was decided and its own
 * flush has been answered, since until then the log knows its address. */
#include "replication/metadata/quorum.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/crc32c.h"
#include "engine/record/framing.h"
#include "replication/metadata/snapshot.h"
#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"

struct proposal {
    struct quorum *quorum;
    const struct command *cmd;
    struct log_append_result at;
    struct log_flush flush;
    struct proposal *next;
    bool applied, flushed;
    int rc;
    struct err e;
};

/* ---- replay ---- */

/* Bytes read and not yet decoded. */
struct replay {
    struct quorum *quorum;
    char *data;
    size_t len;
    int64_t offset;   /* of the record at data */
    int64_t position; /* behind what was read */
};

/* Decodes and applies the complete records in the buffer. */
static int replay_records(struct replay *replay, struct err *e)
{
    size_t at = 0;
    for (;;) {
        struct command cmd;
        size_t len = framing_record_len(FRAMING_MSGPACK, (const uint8_t *)replay->data + at, replay->len - at);
        if (len == 0)
            break;
        int rc = command_decode(replay->data + at, len, &cmd, e);
        if (rc != 0)
            return err_wrap(e, rc, "record %" PRId64, replay->offset);
        rc = metadata_apply(&replay->quorum->meta, &cmd, replay->offset, e);
        if (rc == 0)
            replay->quorum->replayed(replay->quorum->arg, &cmd);
        command_free(&cmd);
        /* REPLICATION.md, rule 10: one that lost a race was answered so when it was decided. */
        if (rc == -ENOMEM || rc == -EBADMSG)
            return err_wrap(e, rc, "record %" PRId64, replay->offset);
        at += len;
        replay->offset++;
    }
    replay->len -= at;
    memmove(replay->data, replay->data + at, replay->len);
    if (replay->len >= LIMIT_COMMAND_BYTES)
        return err_set(e, -EBADMSG, "record %" PRId64 ": longer than a command can be", replay->offset);
    return 0;
}

/* Reads the next bytes of the log behind those in the buffer. 1, 0 at the end, or a negative errno. */
static int replay_read(struct replay *replay, int64_t end, struct err *e)
{
    struct log_extent extent;
    struct io *io = replay->quorum->io;
    int rc = log_extent_at(replay->quorum->part->log, replay->position, end, LIMIT_COMMAND_BYTES, &extent, e);
    if (rc <= 0)
        return rc == -EIO && log_offline(replay->quorum->part->log) == 0 ? -EBADMSG : rc;
    rc = io_pread_all(io, extent.fd, replay->data + replay->len, extent.len, extent.place);
    log_extent_release(&extent);
    if (rc != 0)
        return err_sys(e, rc, "read");
    replay->len += extent.len;
    replay->position = extent.position + (int64_t)extent.len;
    return 1;
}

static int replay_log(struct quorum *quorum, struct err *e)
{
    struct log *log = quorum->part->log;
    struct log_point start = log_start(log), end = log_end(log), from;
    int64_t next_offset = quorum->meta.next_offset;
    if (next_offset < start.offset || next_offset > end.offset)
        return err_set(e, -EBADMSG, "holds records %" PRId64 " to %" PRId64 ", but the next one to apply is %" PRId64,
                       start.offset, end.offset, next_offset);
    int rc = log_lookup_offset(log, next_offset, end, &from, e);
    if (rc != 0)
        return rc;
    struct replay replay = {.quorum = quorum, .offset = from.offset, .position = from.position};
    replay.data = malloc(2 * LIMIT_COMMAND_BYTES);
    if (replay.data == NULL)
        return err_sys(e, -ENOMEM, "replay");
    while ((rc = replay_read(&replay, end.position, e)) > 0) {
        rc = replay_records(&replay, e);
        if (rc != 0)
            break;
    }
    if (rc == 0 && (replay.len != 0 || replay.offset != end.offset))
        rc = err_set(e, -EBADMSG, "ends at record %" PRId64 " instead of %" PRId64, replay.offset, end.offset);
    free(replay.data);
    return rc;
}

int quorum_open(struct quorum *quorum, const struct tree_attr *root, struct err *e)
{
    metadata_init(&quorum->meta, root);
    int rc = snapshot_read(quorum->io, quorum->dirfd, &quorum->meta, e);
    if (rc != 0)
        goto err_after_meta;
    quorum->snapshot_at = quorum->meta.next_offset + LIMIT_SNAPSHOT_COMMANDS;
    rc = replay_log(quorum, e);
    /* What kill -9 left in the page cache is replayed too, and must not be undone by a power cut later. */
    if (rc == 0)
        rc = log_flush_all(quorum->part->log);
    if (rc != 0) {
        err_wrap(e, rc, "%s", quorum->part->name);
        goto err_after_meta;
    }
    quorum->applied_end = log_end(quorum->part->log);
    pthread_mutex_init(&quorum->lock, NULL);
    pthread_cond_init(&quorum->decided, NULL);
    pthread_rwlock_init(&quorum->meta_lock, NULL);
    quorum->last = &quorum->first;
    return 0;

err_after_meta:
    metadata_free(&quorum->meta);
    return rc;
}

void quorum_close(struct quorum *quorum)
{
    assert(quorum->first == NULL);
    pthread_rwlock_destroy(&quorum->meta_lock);
    pthread_cond_destroy(&quorum->decided);
    pthread_mutex_destroy(&quorum->lock);
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

/* Under the lock. */
static void apply_one(struct quorum *quorum, struct proposal *proposal)
{
    pthread_rwlock_wrlock(&quorum->meta_lock);
    proposal->rc = metadata_apply(&quorum->meta, proposal->cmd, proposal->at.base.offset, &proposal->e);
    pthread_rwlock_unlock(&quorum->meta_lock);
    quorum->applied_end = proposal->at.end;
    if (proposal->rc == 0)
        quorum->applied(quorum->arg, proposal->cmd);
}

/* Takes what lies below upto out of the queue, applied or, after a failed flush, failed. Under the lock. */
static void decide(struct quorum *quorum, int64_t upto, int rc)
{
    assert(rc != 0 || log_recovery_point(quorum->part->log) >= upto); /* REPLICATION.md, rule 9 */
    while (quorum->first != NULL && (rc != 0 || quorum->first->at.base.offset < upto)) {
        struct proposal *proposal = quorum->first;
        quorum->first = proposal->next;
        if (quorum->first == NULL)
            quorum->last = &quorum->first;
        if (rc == 0)
            apply_one(quorum, proposal);
        else
            proposal->rc = err_set(&proposal->e, -EIO, "%s: its flush failed", quorum->part->name);
        proposal->applied = true;
    }
}

static void on_flushed(struct log_flush *flush, int rc)
{
    struct proposal *proposal = CONTAINER_OF(flush, struct proposal, flush);
    struct quorum *quorum = proposal->quorum;
    struct log_point end = proposal->at.end;
    pthread_mutex_lock(&quorum->lock);
    decide(quorum, end.offset, rc);
    proposal->flushed = true;
    pthread_cond_broadcast(&quorum->decided);
    pthread_mutex_unlock(&quorum->lock);
    if (rc == 0)
        partition_commit(quorum->part, end);
}

/* Appends the command's record; under the lock. */
static int append(struct quorum *quorum, void *data, size_t len, struct proposal *proposal, struct err *e)
{
    struct iovec iov = {.iov_base = data, .iov_len = len};
    struct append_batch batch = {.iov = &iov,
                                 .iovcnt = 1,
                                 .len = (uint32_t)len,
                                 .records = 1,
                                 .crc = crc32c(0, data, len),
                                 .first_timestamp_ms = proposal->cmd->time_ms,
                                 .last_timestamp_ms = proposal->cmd->time_ms,
                                 .producer_id = -1,
                                 .sequence = -1};
    int rc = partition_usable(quorum->part, e);
    if (rc == 0)
        rc = metadata_check(&quorum->meta, proposal->cmd, e);
    if (rc == 0 && (rc = quorum->check(quorum->arg, proposal->cmd)) != 0)
        err_sys(e, rc, "metadata command");
    if (rc == 0)
        rc = partition_append_uncommitted(quorum->part, &batch, &proposal->at, e);
    return rc;
}

/* Writes a snapshot and drops the log before it, if it is time. A failure costs nothing but the next attempt. Under the
 * lock. */
static void snapshot_if_due(struct quorum *quorum)
{
    struct err e = {0};
    struct log *log = quorum->part->log;
    if (quorum->meta.next_offset < quorum->snapshot_at)
        return;
    quorum->snapshot_at = quorum->meta.next_offset + LIMIT_SNAPSHOT_COMMANDS;
    int rc = snapshot_write(quorum->io, quorum->dirfd, &quorum->meta, &e);
    if (rc == 0)
        rc = log_roll(log, &e);
    if (rc == 0)
        rc = log_delete_records(log, quorum->applied_end, &e);
    if (rc != 0)
        log_line(LOG_ERR, "snapshot of the metadata: %s", e.text);
}

int quorum_propose(struct quorum *quorum, const struct command *cmd, struct err *e)
{
    struct proposal proposal = {.quorum = quorum, .cmd = cmd};
    void *data;
    size_t len;
    int rc = command_encode(cmd, &data, &len);
    if (rc != 0)
        return err_sys(e, rc, "metadata command");

    pthread_mutex_lock(&quorum->lock);
    rc = append(quorum, data, len, &proposal, e);
    if (rc == 0) {
        *quorum->last = &proposal;
        quorum->last = &proposal.next;
    }
    pthread_mutex_unlock(&quorum->lock);
    free(data);
    if (rc != 0)
        return rc;

    proposal.flush = (struct log_flush){.upto = proposal.at.end.offset, .done = on_flushed};
    if (partition_flush(quorum->part, &proposal.flush) == 1)
        on_flushed(&proposal.flush, 0);

    pthread_mutex_lock(&quorum->lock);
    while (!proposal.applied || !proposal.flushed)
        pthread_cond_wait(&quorum->decided, &quorum->lock);
    snapshot_if_due(quorum);
    pthread_mutex_unlock(&quorum->lock);
    return proposal.rc != 0 ? err_set(e, proposal.rc, "%s", proposal.e.text) : 0;
}
