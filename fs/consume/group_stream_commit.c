/* fs/consume/group_stream_commit.c: fsync(2) and user.group.commit: commits that are answered when they are decided.
 *
 * Asked for is, of each owner whose records are delivered before the position, how far; and of the present parts what
 * reading on has committed already, since that may still be on its way. What belongs to an owner that is none any more
 * is not asked for: the rest is, and ESTALE says so. It stays ESTALE until something new was given, for the kernel
 * itself asks again: a setxattr(2) by path that is ESTALE is done anew, once (retry_estale() of linux/namei.h), and the
 * second answer is the caller's. */
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
    struct group_offset *offsets; /* of all owners that have delivered before pos; malloc-ed */
    size_t offset_count;
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
    op->commits[op->count++] = (struct group_commit){.partition = part->owner.partition,
                                                     .epoch = part->owner.epoch,
                                                     .offset = offset,
                                                     .leader_epoch = part->leader_epoch};
}

/* 0 or a negative errno. */
static int plan(struct stream_commit *commit)
{
    struct group_stream *stream = stream_of(commit);
    int rc = stream_update(stream);
    if (rc == 0)
        rc = group_map_offsets(&stream->map, commit->pos, &commit->offsets, &commit->offset_count);
    if (rc != 0)
        return rc;
    commit->op.commits = calloc(stream->count + 1, sizeof *commit->op.commits); /* 1: calloc(0) may be NULL */
    rc = commit->op.commits == NULL ? -ENOMEM : 0;
    for (size_t i = 0; rc == 0 && i < commit->offset_count; i++) {
        struct group_part *part = stream_any_part(stream, commit->offsets[i].owner);
        if (part != NULL)
            add(commit, part, commit->offsets[i].offset);
        else
            commit->stale = true;
    }
    for (size_t i = 0; rc == 0 && i < stream->count; i++) {
        if (stream->parts[i]->committed != GROUP_OFFSET_NONE)
            add(commit, stream->parts[i], stream->parts[i]->committed);
    }
    return rc;
}

/* ---- its end ---- */

/* All that was asked for, and what is another's by now, is done with. */
static void settle(struct stream_commit *commit, int rc)
{
    struct group_stream *stream = stream_of(commit);
    if (rc != 0 && rc != -ESTALE)
        return;
    pthread_mutex_lock(&commit->handle->lock);
    group_map_settle(&stream->map, commit->pos, commit->offsets, commit->offset_count, stream_committed, stream);
    if (rc == -ESTALE)
        stream->stale_pos = stream->map.committed_pos;
    if (stream->member != NULL)
        stream_give_up(stream); /* what was kept until it is committed */
    pthread_mutex_unlock(&commit->handle->lock);
}

static void over(struct stream_commit *commit, int rc)
{
    if (rc == 0 && commit->stale)
        rc = -ESTALE;
    settle(commit, rc);
    park_answer(&commit->park);
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

static void forget(struct stream_commit *commit)
{
    free(commit->offsets);
    free(commit->op.commits);
    free(commit);
}

static void commit_free(struct park *park)
{
    struct stream_commit *commit = CONTAINER_OF(park, struct stream_commit, park);
    stream_member_put(stream_of(commit));
    handle_unref(commit->handle);
    forget(commit);
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
    int rc = commit->pos <= stream->stale_pos ? -ESTALE : plan(commit);
    commit->op.member = stream->member;
    bool asks = rc == 0 && stream->member != NULL; /* a stream that nobody has read has none */
    stream->member_refs += asks;
    pthread_mutex_unlock(&handle->lock);
    if (!asks) {
        fuse_reply_err(req, -rc);
        forget(commit);
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
