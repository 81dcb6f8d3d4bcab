/* tests/sim/reading.c: readers of all kinds. */
#include "tests/sim/reading.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "tests/sim/audit.h"
#include "tests/sim/chance.h"

int reading_find(struct partition *part, enum read_kind kind, int64_t at, struct log_point *out)
{
    struct read_op op = {.part = part, .kind = kind, .at = at, .limit = INT64_MAX, .max = 1};
    int rc = partition_read_submit(&op);
    if (rc == 0)
        (void)partition_read_cancel(&op);
    *out = op.point;
    return rc == 1 ? 0 : rc == 0 ? -ETIMEDOUT : rc;
}

/* ---- this node's replica ---- */

void reading_walk(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    struct err e = {""};
    struct partition *part = topic_partition(topic, index);
    struct audit audit = {.book = &host->world->book, .node = host->node, .place = host->id - 1};
    if (known->state != TOPIC_THERE || known->deleting || topic_deleted(topic))
        return;
    if (!(audit_holds(&audit, part) ? audit_partition(&audit, known, index, part, &e)
                                    : audit_size(&audit, known, index, part, &e)))
        world_fail(host->world, "node %d reads: %s", host->id, e.text);
}

/* What is found is where the books say, or the next that survives. */
void reading_look_up(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    struct partition *part = topic_partition(topic, index);
    struct log_point start = partition_log_start(part), hw = partition_high_watermark(part), found;
    struct book_partition *book = &known->parts[index];
    struct audit audit = {.book = &host->world->book, .node = host->node, .place = host->id - 1};
    if (book->count == 0 || topic_deleted(topic) || known->deleting || partition_state(part) != 0 ||
        !audit_holds(&audit, part))
        return;
    struct book_batch *batch = &book->batches[chance_below(&host->world->chance, (uint64_t)book->count)];
    int64_t offset = batch->base.offset;
    if (!batch->settled || batch->state != BATCH_IN || offset < start.offset || offset >= hw.offset)
        return;
    int rc = reading_find(part, FIND_OFFSET, offset, &found);
    if (rc == -ETIMEDOUT && !world_alone(host))
        return; /* what this mount was told of is not here yet: the leader is asked */
    if (rc != 0 || found.offset < offset || (found.offset == offset && found.position != batch->base.position) ||
        (!known->compacts && found.offset != offset)) {
        world_fail(host->world,
                   "node %d: %s-%d: offset %" PRId64 " is found at %" PRId64 "/%" PRId64 " (%d), batch %" PRId64
                   " is at %" PRId64 "/%" PRId64,
                   host->id, known->name, index, offset, found.offset, found.position, rc,
                   (int64_t)(batch - book->batches), batch->base.offset, batch->base.position);
    }
    rc = reading_find(part, FIND_LAST, hw.offset - offset, &found);
    if (rc != 0 || (!known->compacts && !book->may_go && found.offset != offset)) { /* records: holes are none */
        world_fail(host->world, "%s-%d: the last %" PRId64 " begin at %" PRId64 " (%d)", known->name, index,
                   hw.offset - offset, found.offset, rc);
    }
    rc = reading_find(part, FIND_POSITION, batch->base.position, &found);
    if (rc != 0 || (!known->compacts && found.offset != offset)) {
        world_fail(host->world, "%s-%d: position %" PRId64 " is found at %" PRId64 " (%d)", known->name, index,
                   batch->base.position, found.offset, rc);
    }
}

/* ---- at the end ---- */

/* Whoever follows reads at once what it was woken for. */
static void on_ready(struct partition_waiter *waiter)
{
    struct pending *p = CONTAINER_OF(waiter, struct pending, waiter);
    struct topic *topic = topic_ref(p->topic);
    struct log_point hw = partition_high_watermark(p->part);
    bool sound = partition_state(p->part) == 0;
    if (pending_over(p, "a reader", 0) && sound && hw.position <= waiter->position) {
        world_fail(p->host->world, "%s-%d: a reader at %" PRId64 " was woken for nothing", p->known->name, p->index,
                   waiter->position);
    } else if (sound && !p->host->disk.crashed && !p->host->in_call) {
        reading_walk(p->host, topic, p->known, p->index);
    }
    topic_unref(topic);
}

void reading_wait(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index)
{
    struct audit audit = {.book = &host->world->book, .node = host->node, .place = host->id - 1};
    if (!audit_holds(&audit, topic_partition(topic, index)))
        return;
    struct pending *p = pending_new(host, PENDING_WAIT, topic, known, index);
    p->waiter = (struct partition_waiter){.position = partition_high_watermark(p->part).position, .ready = on_ready};
    if (!partition_wait(p->part, &p->waiter))
        pending_over(p, "a reader", 0);
}

/* ---- wherever it is ---- */

/* Nobody may have lost or removed it, and this mount has shown it. */
static bool has_to_be_there(const struct pending *p, const struct book_batch *batch)
{
    const struct book_topic *known = p->known;
    return batch->settled && batch->state == BATCH_IN && !book_may_go(batch) && known->state == TOPIC_THERE &&
           !known->deleting && !known->delete_asked && !known->compacts && !known->retains && !known->unclean &&
           batch->base.offset >= known->parts[p->index].trim_asked.offset &&
           p->point.position >= batch->base.position + batch->len;
}

/* The line at that position of the partition, which may be any batch's. */
static void check_line(struct pending *p, int64_t position, const char *line, uint32_t len)
{
    struct book_partition *part = &p->known->parts[p->index];
    int64_t serial;
    int number;
    struct book_batch *batch = book_identify(part, line, len, &serial, &number);
    uint32_t before = batch != NULL ? book_bytes_before(batch, number) : 0;
    if (batch == NULL || batch->lens[number] != len || memcmp(batch->bytes + before, line, len) != 0) {
        world_fail(p->host->world, "node %d: %s-%d: nobody wrote what is at position %" PRId64 " (rule 14): %.*s",
                   p->host->id, p->known->name, p->index, position, (int)len - 1, line);
    } else if (batch->settled && batch->base.position + before != position) {
        world_fail(p->host->world,
                   "node %d: %s-%d: line %" PRId64 ".%d is at position %" PRId64 ", and was at %" PRId64 " (rule 53)",
                   p->host->id, p->known->name, p->index, serial, number, position, batch->base.position + before);
    }
}

static void check_bytes(struct pending *p, int64_t position, const char *bytes, size_t len)
{
    const char *newline = memchr(bytes, '\n', len);
    if (newline != NULL && p->known->parts[p->index].may_go) { /* another line may lie across the place of a lost one */
        uint32_t skipped = (uint32_t)(newline + 1 - bytes);
        bytes += skipped;
        position += skipped;
        len -= skipped;
    }
    while ((newline = memchr(bytes, '\n', len)) != NULL) {
        uint32_t line_len = (uint32_t)(newline + 1 - bytes);
        check_line(p, position, bytes, line_len);
        bytes += line_len;
        position += line_len;
        len -= line_len;
    }
}

/* bytes: NULL where nothing was found, or not heard. */
static void check_read(struct pending *p, int64_t position, const char *bytes, size_t len)
{
    const struct book_batch *batch = &p->known->parts[p->index].batches[p->serial];
    bool must = has_to_be_there(p, batch);
    if (must && (bytes == NULL || position != p->read.at)) {
        world_fail(p->host->world,
                   "node %d: %s-%d: batch %" PRId64 " is not found at position %" PRId64
                   ", and was shown up to %" PRId64 " (rule 41)",
                   p->host->id, p->known->name, p->index, p->serial, p->read.at, p->point.position);
    } else if (bytes != NULL && position == p->read.at) { /* a line begins there */
        check_bytes(p, position, bytes, len);
    } else if (bytes == NULL && p->read.high_watermark.position < p->point.position) {
        world_fail(p->host->world,
                   "node %d: %s-%d: nothing is at position %" PRId64 " by a high watermark of %" PRId64
                   ", and was shown up to %" PRId64 " (rule 41)",
                   p->host->id, p->known->name, p->index, p->read.at, p->read.high_watermark.position,
                   p->point.position);
    }
}

static void read_over(struct pending *p, int rc)
{
    static const int allowed[] = {-ESTALE, 0};
    bool found = rc == 0 && p->read.found;
    int64_t position = found ? p->read.extent.position : 0;
    size_t len = found ? (size_t)p->read.extent.len : 0;
    char *bytes = found ? malloc(len + 1) : NULL;
    if (found && partition_read_copy(&p->read, bytes) != 0)
        rc = -EIO;
    if (found)
        partition_read_release(&p->read);
    if (pending_over(p, "a read", rc) && rc == 0)
        check_read(p, position, bytes, len);
    else if (!p->host->disk.crashed)
        pending_check_errno(p, "a read", rc, allowed);
    free(bytes);
}

static void on_read(struct read_op *op, int rc)
{
    read_over(CONTAINER_OF(op, struct pending, read), rc);
}

void reading_ask(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index, int64_t serial,
                 int64_t timeout_ms)
{
    const struct book_batch *batch = &known->parts[index].batches[serial];
    if (!batch->settled)
        return;
    struct pending *p = pending_new(host, PENDING_READ, topic, known, index);
    p->serial = serial;
    p->point = partition_high_watermark(p->part);
    p->read = (struct read_op){.part = p->part,
                               .kind = READ_BYTES,
                               .at = batch->base.position,
                               .limit = INT64_MAX,
                               .max = BOOK_LINE_BYTES,
                               .timeout_ms = timeout_ms,
                               .done = on_read};
    int rc = partition_read_submit(&p->read);
    if (rc != 0)
        read_over(p, rc < 0 ? rc : 0);
}

void reading_ask_last(struct sim_node *host, struct topic *topic, struct book_topic *known, int32_t index,
                      int64_t timeout_ms)
{
    const struct book_partition *part = &known->parts[index];
    for (int64_t i = part->placed_count; i-- > 0;) {
        if (!part->batches[part->by_offset[i]].settled)
            continue;
        reading_ask(host, topic, known, index, part->by_offset[i], timeout_ms);
        break;
    }
}
