/* fs/consume/group_stream.c: the member that an open file is, and its parts: the partitions that are its own.
 *
 * The coordinator's word comes as a call of changed(), which queues a work: that takes over the shares, gives up what
 * the reader is done with anyway, and wakes who waits. A part whose partition has no more records is armed: the next
 * one wakes likewise. What waits is always looked at anew; `stirs` tells a reading whether it has to before it waits.
 *
 * Where the member was put out, or its group or topic deleted, `over` says so from then on.
 */
#include "fs/consume/group_stream.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/consume/group_stream_internal.h"
#include "fs/consume/reader.h"

/* ---- looks at what the coordinator says ---- */

/* One is queued, or will be in a moment. */
static bool news_begin(struct group_stream *stream)
{
    bool begun = !atomic_exchange(&stream->news_queued, true);
    if (begun)
        handle_ref(stream->handle);
    return begun;
}

static void look_later(struct group_stream *stream, int64_t delay_ms)
{
    if (news_begin(stream))
        alarm_set(node_executor(stream->handle->session->node), &stream->again, delay_ms);
}

/* ---- who waits ---- */

/* Something may be there that was not: takes out who waits for that, to be woken without the lock. */
struct woken {
    struct group_reading *readings;
    struct fuse_pollhandle *poll_handle;
};

static struct woken stir(struct group_stream *stream)
{
    struct woken woken = {.readings = stream->waiting, .poll_handle = stream->poll_handle};
    for (struct group_reading *reading = stream->waiting; reading != NULL; reading = reading->next)
        reading->waits = false;
    stream->waiting = NULL;
    stream->poll_handle = NULL;
    stream->stirs++;
    return woken;
}

static void wake(struct woken *woken)
{
    stream_wake(woken->readings);
    if (woken->poll_handle != NULL) {
        fuse_lowlevel_notify_poll(woken->poll_handle);
        fuse_pollhandle_destroy(woken->poll_handle);
    }
}

void stream_polled(struct group_stream *stream, bool unread)
{
    stream->unread = unread;
    if (stream->member != NULL)
        group_member_polled(stream->member, unread);
}

/* ---- parts ---- */

static void part_free(struct group_part *part)
{
    partition_unref(part->part);
    free(part);
}

/* A call of it is over: news for who waits, if there are any. The lock is held, and given back. */
static void part_called(struct group_part *part, bool news)
{
    struct handle *handle = part->stream->handle;
    struct woken woken = {0};
    if (news)
        woken = stir(part->stream);
    bool last = part->dropped && !part->armed && !part->probing;
    pthread_mutex_unlock(&handle->lock);
    wake(&woken);
    if (last)
        part_free(part);
    handle_unref(handle);
}

/* One of its own that has records now. */
static void part_ready(struct partition_waiter *waiter)
{
    struct group_part *part = CONTAINER_OF(waiter, struct group_part, waiter);
    struct group_stream *stream = part->stream;
    pthread_mutex_lock(&stream->handle->lock);
    part->armed = false;
    part->failures = 0;
    if (!part->dropped && stream->waiting == NULL && !stream->unread)
        stream_polled(stream, true); /* nobody asks for them */
    part_called(part, true);
}

/* true: it is waited for. false: no need. */
static bool arm(struct group_part *part, int64_t position)
{
    if (part->armed)
        return true;
    part->waiter.ready = part_ready;
    part->waiter.position = position;
    part->armed = true;
    handle_ref(part->stream->handle);
    if (partition_wait(part->part, &part->waiter))
        return true;
    part->armed = false;
    handle_unref(part->stream->handle); /* the caller has one, too */
    return false;
}

static void part_drop(struct group_part *part)
{
    if (part->armed && partition_unwait(part->part, &part->waiter)) {
        part->armed = false;
        handle_unref(part->stream->handle); /* the caller has one, too */
    }
    part->dropped = part->armed || part->probing; /* it is being called, or will be */
    if (!part->dropped)
        part_free(part);
}

static struct group_part *part_new(struct group_stream *stream, const struct group_share *share)
{
    struct partition *partition = topic_partition(stream->handle->vnode->topic, share->partition);
    struct group_part *part = partition != NULL ? calloc(1, sizeof *part) : NULL;
    if (part == NULL)
        return NULL;
    part->stream = stream;
    part->owner = (struct group_owner){.partition = share->partition, .epoch = share->epoch};
    part->part = partition_ref(partition);
    part->next.offset = share->start;
    part->leader_epoch = share->leader_epoch;
    part->committed = GROUP_OFFSET_NONE;
    return part;
}

struct group_part *stream_any_part(struct group_stream *stream, struct group_owner owner)
{
    for (size_t i = 0; i < stream->count; i++) {
        if (group_owner_is(stream->parts[i]->owner, owner))
            return stream->parts[i];
    }
    return NULL;
}

struct group_part *stream_part(struct group_stream *stream, struct group_owner owner)
{
    struct group_part *part = stream_any_part(stream, owner);
    return part != NULL && !part->revoked ? part : NULL;
}

static void drop_all(struct group_stream *stream)
{
    for (size_t i = 0; i < stream->count; i++)
        part_drop(stream->parts[i]);
    free(stream->parts);
    stream->parts = NULL;
    stream->count = 0;
}

/* Whether it may have records; otherwise its high watermark, behind which they will come. */
static bool has_records(const struct group_part *part, struct log_point *high_watermark)
{
    int64_t from = part->next.offset > part->searched ? part->next.offset : part->searched;
    *high_watermark = partition_high_watermark(part->part);
    return high_watermark->offset > from;
}

/* ---- questions aside, of no READ ---- */

static int64_t now_ms(const struct group_stream *stream)
{
    struct clock *clock = node_clock(stream->handle->session->node);
    return clock->mono_ms(clock);
}

void stream_part_failed(struct group_part *part)
{
    part->failures++;
    part->probe_ms = now_ms(part->stream) + LIMIT_STREAM_PROBE_MS;
}

void stream_part_lost(struct group_part *part, int64_t offset)
{
    part->lost = true;
    group_member_lost(part->stream->member, part->owner.partition, part->owner.epoch, offset);
}

/* Whether the log has what is before `next` is known, or is asked again. */
static void take_epoch_end(struct group_part *part, int rc)
{
    if (part->dropped || part->revoked || part->lost)
        return;
    if (part->leader_epoch != part->probed_epoch) /* a READ has gone on meanwhile, and has asked itself */
        return;
    if (rc != 0 || !part->probe.found)
        look_later(part->stream, LIMIT_STREAM_PROBE_MS);
    else if (part->probe.point.offset < part->next.offset)
        stream_part_lost(part, part->probe.point.offset);
    else
        part->leader_epoch = part->probe.leader_epoch;
}

static void probed(struct group_part *part, int rc)
{
    bool answers = rc == 0 && part->probe.kind == FIND_OFFSET;
    pthread_mutex_lock(&part->stream->handle->lock);
    part->probing = false;
    part->probe_ms = now_ms(part->stream) + LIMIT_STREAM_PROBE_MS;
    if (part->probe.kind == FIND_EPOCH_END)
        take_epoch_end(part, rc);
    else if (answers)
        part->failures = 0;
    part_called(part, answers);
}

static void probe_done(struct read_op *op, int rc)
{
    probed(CONTAINER_OF(op, struct group_part, probe), rc);
}

static void probe(struct work *work)
{
    struct group_part *part = CONTAINER_OF(work, struct group_part, probe_work);
    int rc = partition_read_submit(&part->probe);
    if (rc != 0)
        probed(part, rc < 0 ? rc : 0);
}

static void ask_aside(struct group_part *part, enum read_kind kind, int64_t at)
{
    struct handle *handle = part->stream->handle;
    part->probing = true;
    part->probe = (struct read_op){.part = part->part,
                                   .kind = kind,
                                   .at = at,
                                   .limit = INT64_MAX,
                                   .max = 1,
                                   .timeout_ms = LIMIT_STREAM_ANSWER_MS,
                                   .done = probe_done};
    part->probe_work.run = probe;
    handle_ref(handle);
    executor_prompt(node_executor(handle->session->node), &part->probe_work);
}

/* It has no records, and another epoch by now than when it was read: they may be before `next`, in the place of those
 * that were read (record_fetch.c says how). */
static void ask_lost(struct group_part *part)
{
    if (part->probing || part->leader_epoch < 0 || partition_leader_epoch(part->part) <= part->leader_epoch)
        return;
    if (now_ms(part->stream) < part->probe_ms) {
        look_later(part->stream, LIMIT_STREAM_PROBE_MS);
    } else {
        part->probed_epoch = part->leader_epoch;
        ask_aside(part, FIND_EPOCH_END, part->leader_epoch);
    }
}

/* ---- whose turn it is ---- */

/* Of those that fail, or do not, the first one behind whose turn it was. */
static struct group_part *first_with_records(struct group_stream *stream, bool failing)
{
    struct group_part *first = NULL;
    for (size_t i = 0; i < stream->count; i++) {
        struct group_part *part = stream->parts[i];
        struct log_point high_watermark;
        bool behind = part->owner.partition > stream->turn;
        if (part->revoked || part->lost || (part->failures > 0) != failing || (first != NULL && !behind))
            continue;
        bool has = has_records(part, &high_watermark);
        if (!has)
            ask_lost(part);
        if (!has && arm(part, high_watermark.position))
            continue;
        if (behind)
            return part;
        first = part;
    }
    return first;
}

/* Others have records, and are read: who fails is asked aside meanwhile, so that it has its turn again. */
static void probe_failing(struct group_stream *stream)
{
    for (size_t i = 0; i < stream->count; i++) {
        struct group_part *part = stream->parts[i];
        struct log_point high_watermark;
        if (part->failures == 0 || part->revoked || part->lost || part->probing || now_ms(stream) < part->probe_ms)
            continue;
        if (has_records(part, &high_watermark) || !arm(part, high_watermark.position))
            ask_aside(part, FIND_OFFSET, part->next.offset);
    }
}

struct group_part *stream_next_part(struct group_stream *stream)
{
    if (stream->silent)
        return NULL; /* the coordinator's word is waited for */
    struct group_part *part = first_with_records(stream, false);
    if (part == NULL)
        return first_with_records(stream, true);
    probe_failing(stream);
    return part;
}

/* ---- the member ---- */

/* The parts of these shares. 0; -EAGAIN: one is of a partition that this node has yet to hear of, and it is looked
 * again soon; -ENOMEM: nothing has changed. */
static int take_shares(struct group_stream *stream, const struct group_shares *shares)
{
    bool unknown = false;
    struct group_part **parts = calloc(shares->count + 1, sizeof(struct group_part *)); /* 1: calloc(0) may be NULL */
    size_t count = 0;
    if (parts == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < shares->count; i++) {
        const struct group_share *share = &shares->shares[i];
        struct group_owner owner = {.partition = share->partition, .epoch = share->epoch};
        struct group_part *part = stream_any_part(stream, owner);
        if (part == NULL && !share->revoked)
            part = part_new(stream, share);
        if (part == NULL && share->revoked)
            group_member_release(stream->member, share->partition, share->epoch);
        if (part == NULL) {
            unknown = unknown || !share->revoked;
            continue;
        }
        part->revoked = share->revoked;
        part->kept = true;
        parts[count++] = part;
    }
    for (size_t i = 0; i < stream->count; i++) {
        if (!stream->parts[i]->kept)
            part_drop(stream->parts[i]);
    }
    for (size_t i = 0; i < count; i++)
        parts[i]->kept = false;
    free(stream->parts);
    stream->parts = parts;
    stream->count = count;
    if (unknown)
        look_later(stream, LIMIT_LOOK_AGAIN_MS);
    return unknown ? -EAGAIN : 0;
}

int stream_update(struct group_stream *stream)
{
    struct group_shares shares;
    if (stream->over != 0 || stream->member == NULL)
        return stream->over;
    stream->silent =
        group_member_is_silent(stream->member); /* first: who is not has been told what is looked at next */
    if (group_member_version(stream->member) == stream->version)
        return 0;
    int rc = group_member_shares(stream->member, &shares);
    if (rc != 0)
        return rc;
    if (shares.state == GROUP_MEMBER_PUT_OUT || shares.state == GROUP_MEMBER_GONE) {
        drop_all(stream);
        rc = stream->over = -ESTALE;
    } else {
        stream->refused = shares.rc;
        rc = take_shares(stream, &shares);
    }
    if (rc == 0 || rc == -ESTALE)
        stream->version = shares.version;
    free(shares.shares);
    return rc == -EAGAIN ? 0 : rc;
}

void stream_give_up(struct group_stream *stream)
{
    size_t kept = 0;
    for (size_t i = 0; i < stream->count; i++) {
        struct group_part *part = stream->parts[i];
        if (!part->revoked || group_map_holds(&stream->map, part->owner) ||
            (stream->by_hand && group_map_owes(&stream->map, part->owner))) {
            stream->parts[kept++] = part;
            continue;
        }
        group_member_release(stream->member, part->owner.partition, part->owner.epoch);
        part_drop(part);
    }
    stream->count = kept;
}

void stream_committed(void *arg, const struct group_offset *upto)
{
    struct group_stream *stream = arg;
    struct group_part *part = stream_any_part(stream, upto->owner);
    if (part != NULL && part->committed < upto->offset)
        part->committed = upto->offset;
}

/* ---- the coordinator's word ---- */

static void take_news(struct work *work)
{
    struct group_stream *stream = CONTAINER_OF(work, struct group_stream, news);
    struct handle *handle = stream->handle;
    atomic_store(&stream->news_queued, false);
    pthread_mutex_lock(&handle->lock);
    if (stream->member != NULL && stream_update(stream) == 0) {
        stream_give_up(stream);
        if (stream->waiting == NULL && stream_next_part(stream) != NULL && !stream->unread)
            stream_polled(stream, true);
    }
    struct woken woken = stir(stream);
    pthread_mutex_unlock(&handle->lock);
    wake(&woken);
    handle_unref(handle);
}

static void look_again(struct alarm *alarm)
{
    take_news(&CONTAINER_OF(alarm, struct group_stream, again)->news);
}

static void changed(void *arg)
{
    struct group_stream *stream = arg;
    struct executor *executor = node_executor(stream->handle->session->node);
    if (news_begin(stream) || alarm_cancel(executor, &stream->again))
        executor_prompt(executor, &stream->news);
}

int stream_join(struct group_stream *stream)
{
    if (stream->over != 0 || stream->member != NULL)
        return stream->over;
    struct handle *handle = stream->handle;
    struct node_group *group = handle->vnode->group;
    struct topic *topic = handle->vnode->topic;
    struct group_join join = {
        .group = node_group_name(group),
        .topic = topic_name(topic),
        .group_id = node_group_id(group),
        .topic_id = topic_uuid(topic),
        .pid = stream->pid,
        .changed = changed,
        .arg = stream,
    };
    int rc = group_member_join(node_group_room(handle->session->node), &join, &stream->member);
    if (rc == -ENOENT) /* the group or the topic was deleted under the open file */
        rc = stream->over = -ESTALE;
    return rc;
}

/* ---- its life ---- */

int group_stream_open(struct handle *handle, pid_t pid)
{
    struct group_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return -ENOMEM;
    stream->handle = handle;
    stream->json = handle->vnode->key.kind == VNODE_GROUP_JSON;
    stream->pid = pid;
    stream->member_refs = 1;
    stream->turn = -1;
    stream->stale_pos = -1;
    stream->version = UINT64_MAX;
    stream->news.run = take_news;
    alarm_init(&stream->again, WORK_PROMPT, look_again);
    handle->reader->group = stream;
    return 0;
}

void stream_member_put(struct group_stream *stream)
{
    struct handle *handle = stream->handle;
    pthread_mutex_lock(&handle->lock);
    bool last = --stream->member_refs == 0;
    pthread_mutex_unlock(&handle->lock);
    if (last && stream->leaver != NULL)
        group_member_leave(stream->leaver);
}

void group_stream_release(struct handle *handle)
{
    struct group_stream *stream = handle->reader->group;
    pthread_mutex_lock(&handle->lock);
    stream->leaver = stream->member;
    stream->member = NULL;
    drop_all(stream);
    struct woken woken = stir(stream);
    pthread_mutex_unlock(&handle->lock);
    wake(&woken);
    stream_member_put(stream);
}

void group_stream_free(struct group_stream *stream)
{
    if (stream == NULL)
        return;
    group_map_free(&stream->map);
    free(stream);
}
