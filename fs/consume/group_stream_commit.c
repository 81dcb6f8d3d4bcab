/* fs/consume/group_stream_commit.c: fsync(2) and user.group.commit: commits that are answered when they are decided.
 *
 * Asked for is, of each owner whose records are delivered before the position, how far; and of the present parts what
 * reading on has committed already, since that may still be on its way. What belongs to an owner that is none any more
 * is not asked for: the rest is, and ESTALE says so, once. What reading on committed of a part that is gone by now the
 * member knows: it waits for the coordinator's answer, and says ESTALE likewise.
 */
#include "fs/consume/group_stream.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "fs/consume/group_stream_internal.h"
#include "fs/consume/reader.h"

struct stream_commit {
    struct park park;
    struct group_commit_op op;
    struct handle *handle; /* referenced */
    int64_t pos;
    bool stale; /* some of it is another's by now */
};

static struct group_stream *stream_of(const struct stream_commit *commit)
{
    return commit->handle->reader->group;
}

/* ---- what is to be committed; under the handle's lock ---- */

static void add(struct stream_commit *commit, const struct group_part *part, int64_t offset)
{
    struct group_commit_op *op = &commit->op;
    for (size_t i = 0; i < op->count; i++) {
        if (op->commits[i].partition == part->owner.partition) {
            if (op->commits[i].offset < offset)
                op->commits[i].offset = offset;
            return;
        }
    }
    op->commits[op->count++] =
        (struct group_commit){.partition = part->owner.partition, .epoch = part->owner.epoch, .offset = offset};
}

/* 0 or a negative errno. */
static int plan(struct stream_commit *commit)
{
    struct group_stream *stream = stream_of(commit);
    struct group_offset *offsets;
    size_t count;
    int rc = stream_update(stream);
    if (rc == 0)
        rc = group_map_offsets(&stream->map, commit->pos, &offsets, &count);
    if (rc != 0)
        return rc;
    commit->op.commits = calloc(stream->count + 1, sizeof *commit->op.commits); /* 1: calloc(0) may be NULL */
    rc = commit->op.commits == NULL ? -ENOMEM : 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct group_part *part = stream_any_part(stream, offsets[i].owner);
        if (part != NULL)
            add(commit, part, offsets[i].offset);
        else
            commit->stale = true;
    }
    for (size_t i = 0; rc == 0 && i < stream->count; i++) {
        if (stream->parts[i]->committed != GROUP_OFFSET_NONE)
            add(commit, stream->parts[i], stream->parts[i]->committed);
    }
    free(offsets);
    return rc;
}

/* ---- its end ---- */

static void settle(struct stream_commit *commit, int rc)
{
    struct group_stream *stream = stream_of(commit);
    if (rc != 0 && rc != -ESTALE)
        return;
    pthread_mutex_lock(&commit->handle->lock);
    group_map_commit(&stream->map, commit->pos, stream_committed, stream);
    pthread_mutex_unlock(&commit->handle->lock);
}

static void over(struct stream_commit *commit, int rc)
{
    settle(commit, rc);
    park_answer(&commit->park);
    if (rc == 0 && commit->stale)
        rc = -ESTALE;
    fuse_reply_err(commit->park.req, -rc);
    park_unref(&commit->park);
}

static void done(struct group_commit_op *op, int rc)
{
    over(CONTAINER_OF(op, struct stream_commit, op), rc);
}

static bool cancel(struct park *park)
{
    return group_commit_cancel(&CONTAINER_OF(park, struct stream_commit, park)->op);
}

static void aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void commit_free(struct park *park)
{
    struct stream_commit *commit = CONTAINER_OF(park, struct stream_commit, park);
    stream_member_put(stream_of(commit));
    handle_unref(commit->handle);
    free(commit->op.commits);
    free(commit);
}

/* pos -1: all that has been given. */
static void begin(fuse_req_t req, struct handle *handle, int64_t pos)
{
    struct group_stream *stream = handle->reader->group;
    struct stream_commit *commit = calloc(1, sizeof *commit);
    if (commit == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    commit->handle = handle;
    pthread_mutex_lock(&handle->lock);
    commit->pos = pos >= 0 ? pos : stream->map.given_pos;
    int rc = plan(commit);
    commit->op.member = stream->member;
    bool asks = rc == 0 && stream->member != NULL; /* a stream that nobody has read has none */
    stream->member_refs += asks;
    pthread_mutex_unlock(&handle->lock);
    if (!asks) {
        fuse_reply_err(req, -rc);
        free(commit->op.commits);
        free(commit);
        return;
    }
    handle_ref(handle);
    commit->op.timeout_ms = handle->session->options->delivery_timeout_ms;
    commit->op.done = done;
    commit->park.fatal_only = true;
    commit->park.cancel = cancel;
    commit->park.aborted = aborted;
    commit->park.free = commit_free;
    park_begin(&commit->park, handle->session, req);
    rc = group_commit_submit(&commit->op);
    if (rc != 0)
        over(commit, rc < 0 ? rc : 0);
    park_settle(&commit->park);
}

void group_stream_fsync(fuse_req_t req, struct handle *handle)
{
    begin(req, handle, -1);
}

void group_stream_commit(fuse_req_t req, struct handle *handle, int64_t pos)
{
    begin(req, handle, pos);
}
