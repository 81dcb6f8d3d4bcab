/* replication/metadata/quorum_replay.c: the metadata log, record by record. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/record/framing.h"
#include "replication/base/limits.h"
#include "replication/metadata/quorum_internal.h"

/* Bytes read and not yet decoded. */
struct replay {
    struct quorum *quorum;
    int (*each)(struct quorum *quorum, const struct command *cmd, struct log_point end, struct err *e);
    char *data;
    size_t len;
    int64_t offset;   /* of the record at data */
    int64_t to;       /* the first offset that is not asked for */
    int64_t position; /* behind what was read */
};

/* Decodes the complete records in the buffer. */
static int replay_records(struct replay *replay, struct err *e)
{
    size_t at = 0;
    while (replay->offset < replay->to) {
        struct command cmd;
        size_t len = framing_record_len(FRAMING_MSGPACK, (const uint8_t *)replay->data + at, replay->len - at);
        if (len == 0)
            break;
        int rc = command_decode(replay->data + at, len, &cmd, e);
        if (rc == 0) {
            struct log_point end = {replay->offset + 1, replay->position - (int64_t)(replay->len - at - len)};
            rc = replay->each(replay->quorum, &cmd, end, e);
            command_free(&cmd);
        }
        if (rc != 0)
            return err_wrap(e, rc, "record %" PRId64, replay->offset);
        at += len;
        replay->offset++;
    }
    replay->len -= at;
    memmove(replay->data, replay->data + at, replay->len);
    if (replay->len >= LIMIT_COMMAND_BYTES && replay->offset < replay->to)
        return err_set(e, -EBADMSG, "record %" PRId64 ": longer than a command can be", replay->offset);
    return 0;
}

/* Reads the next bytes of the log behind those in the buffer. 1, 0 at the end, or a negative errno. */
static int replay_read(struct replay *replay, int64_t end, struct err *e)
{
    struct log_extent extent;
    struct io *io = replay->quorum->io;
    int rc = log_extent_at(replay->quorum->log, replay->position, end, LIMIT_COMMAND_BYTES, &extent, e);
    if (rc <= 0)
        return rc == -EIO && log_offline(replay->quorum->log) == 0 ? -EBADMSG : rc;
    rc = io_pread_all(io, extent.fd, replay->data + replay->len, extent.len, extent.place);
    log_extent_release(&extent);
    if (rc != 0)
        return err_sys(e, rc, "read");
    replay->len += extent.len;
    replay->position = extent.position + (int64_t)extent.len;
    return 1;
}

int quorum_each_record(struct quorum *quorum, int64_t from, int64_t to,
                       int (*each)(struct quorum *quorum, const struct command *cmd, struct log_point end,
                                   struct err *e),
                       struct err *e)
{
    struct log *log = quorum->log;
    struct log_point start = log_start(log), end = log_end(log), first;
    if (from < start.offset || from > end.offset) {
        return err_set(e, -EBADMSG, "holds records %" PRId64 " to %" PRId64 ", but the next one to apply is %" PRId64,
                       start.offset, end.offset, from);
    }
    int rc = log_lookup_offset(log, from, end, &first, e);
    if (rc != 0)
        return rc;
    struct replay replay = {.quorum = quorum, .each = each, .offset = first.offset, .to = to};
    replay.position = first.position;
    /* A command that was read in part, and what is read next; mostly there is much less. */
    int64_t left = end.position - first.position;
    replay.data = malloc(left < 2 * LIMIT_COMMAND_BYTES ? (size_t)left + 1 : 2 * LIMIT_COMMAND_BYTES);
    if (replay.data == NULL)
        return err_sys(e, -ENOMEM, "replay");
    while (replay.offset < to && (rc = replay_read(&replay, end.position, e)) > 0) {
        if ((rc = replay_records(&replay, e)) != 0)
            break;
    }
    if (rc >= 0 && replay.offset != to)
        rc = err_set(e, -EBADMSG, "ends at record %" PRId64 " instead of %" PRId64, replay.offset, to);
    free(replay.data);
    return rc < 0 ? rc : 0;
}

static int replay_one(struct quorum *quorum, const struct command *cmd, struct log_point end, struct err *e)
{
    int rc = metadata_apply(&quorum->meta, cmd, end.offset - 1, e);
    quorum->applied_point = end;
    if (rc == 0 && quorum->replayed(quorum->arg, cmd) != 0)
        rc = err_sys(e, -ENOMEM, "replay");
    /* REPLICATION.md, rule 10: one that lost a race was answered so when it was decided. */
    return rc == -ENOMEM || rc == -EBADMSG ? rc : 0;
}

int quorum_replay(struct quorum *quorum, struct err *e)
{
    struct log_point end = log_end(quorum->log);
    int rc = log_lookup_offset(quorum->log, quorum->meta.next_offset, end, &quorum->applied_point, e);
    if (rc == 0 && quorum->decided_offset > quorum->meta.next_offset)
        rc = quorum_each_record(quorum, quorum->meta.next_offset, quorum->decided_offset, replay_one, e);
    quorum->applied_offset = quorum->meta.next_offset;
    atomic_store(&quorum->acted_offset, quorum->meta.next_offset);
    return rc;
}
