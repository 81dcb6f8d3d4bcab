#include "fs/consume/passed.h"

#include "fs/consume/reader.h"
#include "fs/consume/reading.h"

void passed_open(struct handle *handle)
{
    struct vnode *vnode = handle->vnode;
    handle->reader->passed.next = vnode_addressed(vnode) ? vnode->start : partition_log_start(vnode->pfile->part);
}

void passed_begin(struct reading *reading)
{
    int64_t from = reading->handle->reader->passed.next.position;
    reading->copy.passing = (struct passing){.from = from, .edge = from, .new_at = -1, .hole_to = -1};
}

void passed_piece(struct reading *reading)
{
    struct passing *passing = &reading->copy.passing;
    const struct log_extent *extent = &reading->asking.op.extent;
    int64_t end = extent->position + (int64_t)extent->len;
    int64_t old = passing->edge - extent->position;
    if (end <= passing->edge)
        return;
    if (passing->new_at < 0)
        passing->new_at = reading->got + (old > 0 ? old : 0);
    if (old < 0) {
        passing->hole_from = passing->edge;
        passing->hole_to = extent->position;
        passing->hole_at = reading->got;
    }
    passing->edge = end;
}

/* The records that end in there. */
static int64_t count(struct handle *handle, const uint8_t *bytes, int64_t len)
{
    struct framing_result result = {0};
    struct topic_config config;
    topic_config(handle->vnode->topic, &config);
    if (len > 0) {
        (void)framing_scan(config.log.framing, &handle->reader->passed.scan, bytes, (size_t)len, UINT64_MAX, &result,
                           NULL, 0, NULL, NULL, 0);
    }
    return result.records;
}

/* What other threads have read of it meanwhile is not new any more. Under the lock. false: nothing is. */
static bool strike_off(struct reading *reading)
{
    struct passing *passing = &reading->copy.passing;
    int64_t position = reading->handle->reader->passed.next.position;
    if (passing->hole_to >= 0 && position >= passing->hole_to) {
        passing->new_at = passing->hole_at + (position - passing->hole_to);
        passing->hole_to = -1;
    } else {
        passing->new_at += position - passing->from;
    }
    passing->from = position;
    return passing->new_at < reading->got;
}

/* Counts what is new; behind: the record behind the hole, if there was one; -1: it is not known. Under the lock. */
static void take(struct reading *reading, int64_t behind)
{
    struct handle *handle = reading->handle;
    struct passed *passed = &handle->reader->passed;
    const struct passing *passing = &reading->copy.passing;
    const uint8_t *bytes = reading_bytes(reading);
    int64_t at = passing->new_at;
    if (passing->hole_to >= 0) {
        passed->next.offset += count(handle, bytes + at, passing->hole_at - at);
        passed->scan = (struct framing_state){0}; /* of a record that was read by half the rest is gone */
        if (behind > passed->next.offset) {
            atomic_fetch_add(&handle->skipped, behind - passed->next.offset);
            passed->next.offset = behind;
        }
        at = passing->hole_at;
    }
    passed->next.offset += count(handle, bytes + at, reading->got - at);
    passed->next.position = passing->edge;
}

bool passed_end(struct reading *reading, int64_t cut)
{
    struct passing *passing = &reading->copy.passing;
    struct handle *handle = reading->handle;
    bool asks = false;
    passing->edge -= cut;
    if (passing->hole_to >= 0 && passing->hole_at >= reading->got) { /* nothing behind it is given */
        passing->edge = passing->hole_from;
        passing->hole_to = -1;
    }
    if (passing->new_at < 0)
        return false;
    pthread_mutex_lock(&handle->lock);
    if (strike_off(reading)) {
        asks = passing->hole_to >= 0 && (!reading->asking.parked || reading_keep(reading) == 0);
        if (!asks)
            take(reading, -1);
    }
    pthread_mutex_unlock(&handle->lock);
    if (asks) {
        reading->asking.op.kind = FIND_POSITION;
        reading->asking.op.at = passing->hole_to;
        reading->asking.op.more = false; /* or the count would be wrong for good */
        passing->finding = true;
    }
    return asks;
}

void passed_found(struct reading *reading)
{
    const struct log_point *point = &reading->asking.op.point;
    struct handle *handle = reading->handle;
    bool known = reading->asking.rc == 0 && point->position == reading->copy.passing.hole_to;
    if (reading->got <= 0) /* it found no memory to be parked with */
        return;
    pthread_mutex_lock(&handle->lock);
    if (strike_off(reading))
        take(reading, known ? point->offset : -1);
    pthread_mutex_unlock(&handle->lock);
}

/* Who takes all of it, as one who keeps up does, need not count what its writer has counted. */
void passed_fresh(struct handle *handle, const struct partition_fresh *fresh, int64_t into, const uint8_t *bytes,
                  size_t len)
{
    struct passed *passed = &handle->reader->passed;
    if (passed->next.position != fresh->position + into)
        return;
    bool counted = len == fresh->len && passed->scan.partial_bytes == 0;
    passed->next.offset += counted ? fresh->records : count(handle, bytes, (int64_t)len);
    passed->next.position += (int64_t)len;
}
