#include "fs/consume/consume.h"

#include <errno.h>

#include "fs/base/fence.h"
#include "fs/base/limits.h"
#include "fs/consume/reader.h"
#include "fs/tree/pagecache.h"

/* From here on a splice beats a copy; above, data and header do not fit a pipe of 256 pages and libfuse copies twice
 * (measured: tests/bench). */
enum { SPLICE_MIN_BYTES = 32 << 10, SPLICE_MAX_BYTES = 900 << 10 };

int64_t consume_base(const struct handle *handle)
{
    return vnode_addressed(handle->vnode) ? handle->vnode->start.position : 0;
}

/* ---- bytes over holes ---- */

/* The size that is left to a read whose first byte was found at `found`: a read that began in a hole and reaches past
 * its end returns only what lies in the range asked for; one that lies wholly in it, or goes on where this open file
 * stopped reading, jumps. */
static size_t clip(size_t size, int64_t asked, int64_t found, bool known)
{
    if (known || found == asked || found - asked >= (int64_t)size)
        return size;
    return size - (size_t)(found - asked);
}

/* Whether a read that goes backwards has come to a hole. */
static bool stops_at_hole(const struct reading *reading)
{
    const struct copying *copy = &reading->copy;
    const struct log_extent *extent = &reading->asking.op.extent;
    if (!copy->backwards || copy->known)
        return false;
    if (reading->got > 0)
        return extent->position != copy->at;
    return extent->position - copy->at >= (int64_t)copy->size;
}

void consume_begin(struct reading *reading, bool backwards)
{
    struct copying *copy = &reading->copy;
    struct posmap *map = &reading->handle->reader->map;
    *copy = (struct copying){.base = consume_base(reading->handle), .size = reading->size, .backwards = backwards};
    copy->at = copy->base + posmap_translate(map, reading->pos, &copy->known);
    posmap_begin(map);
    copy->limit = INT64_MAX;
    copy->passing.edge = INT64_MAX;
    copy->plain = map->runs == NULL;
}

/* A piece was copied: what the open file's positions mean from here on. */
static int note_piece(struct reading *reading)
{
    const struct copying *copy = &reading->copy;
    const struct log_extent *extent = &reading->asking.op.extent;
    struct handle *handle = reading->handle;
    int64_t file_pos = reading->pos + reading->got;
    bool hole = extent->position != copy->base + file_pos;
    int rc = 0;
    pthread_mutex_lock(&handle->lock);
    if (hole || handle->reader->map.runs != NULL)
        rc = posmap_add(&handle->reader->map, file_pos, extent->position - copy->base, (int64_t)extent->len);
    pthread_mutex_unlock(&handle->lock);
    return rc;
}

/* Takes in a piece that was found. 0; 1: there is no more to be got; or a negative errno. */
static int take_piece(struct reading *reading)
{
    struct copying *copy = &reading->copy;
    struct read_op *op = &reading->asking.op;
    uint8_t *out = reading_bytes(reading);
    if (copy->limit == INT64_MAX)
        copy->limit = copy->filled ? partition_read_shown(op) : op->high_watermark.position;
    if (out == NULL)
        return -ENOMEM;
    if (stops_at_hole(reading)) {
        out[reading->got] = '\0';
        reading->got = reading->got != 0 ? reading->got : 1;
        return 1;
    }
    if (reading->got == 0) {
        copy->size = clip(copy->size, copy->at, op->extent.position, copy->known);
        if (op->extent.len > copy->size)
            op->extent.len = copy->size;
    }
    int rc = partition_read_copy(op, out + reading->got);
    if (rc == 0)
        rc = note_piece(reading);
    if (rc == 0) {
        passed_piece(reading);
        copy->at = op->extent.position + (int64_t)op->extent.len;
        reading->got += (int64_t)op->extent.len;
    }
    return rc;
}

enum asking_next consume_go(struct reading *reading)
{
    struct copying *copy = &reading->copy;
    struct read_op *op = &reading->asking.op;
    bool answered = copy->begun && reading->asking.rc == 0;
    int rc = copy->begun ? reading->asking.rc : 0;
    if (answered && !op->found)
        rc = 1;
    if (answered && op->found) {
        rc = reading->got < 0 ? (int)reading->got : take_piece(reading); /* it found no memory to be parked with */
        partition_read_release(op);
    }
    if (rc == 0 && reading->asking.parked)
        rc = reading_keep(reading);
    if (rc < 0 && reading->got <= 0)
        reading->got = rc;
    if (rc != 0 || (size_t)reading->got >= copy->size)
        return ASKING_OVER;
    op->kind = READ_BYTES;
    op->at = copy->at;
    op->limit = copy->limit;
    op->max = copy->size - (size_t)reading->got;
    op->more = reading->got > 0;
    copy->begun = true;
    return ASKING_READ;
}

/* ---- through the kernel's page cache ---- */

/* Whether there is no hole from base on. */
static bool is_whole(struct partition *part, int64_t base)
{
    struct log_size size;
    partition_size(part, &size);
    return size.start.position <= base && size.end.position - size.start.position == size.retained_bytes;
}

/* Whether a READ of [pos, pos + size) that comes through the page cache is answered, and up to where: *limit. Such
 * READs have one answer for an open file, whatever they ask for first (FILESYSTEM.md, read), until a hole is made. 0,
 * -EINVAL (most programs then read(2)) or -ENOMEM. */
static int admit_cached(struct handle *handle, size_t size, int64_t pos, int64_t base, int64_t *limit)
{
    struct pfile *pfile = handle->pfile;
    int before = CACHED_ASKED_NEVER;
    if (atomic_load(&handle->cached) == CACHED_REFUSED)
        return -EINVAL;
    bool grows = atomic_load(&pfile->appending) > 0 || atomic_load(&pfile->any->appending) > 0;
    if (atomic_load(&handle->cached) == CACHED_ASKED_NEVER && grows) {
        atomic_compare_exchange_strong(&handle->cached, &before, CACHED_REFUSED);
        return -EINVAL;
    }
    atomic_compare_exchange_strong(&handle->cached, &before, CACHED_SERVED);
    int rc = pagecache_fill(pfile, handle->session, handle->vnode->id, base + pos + (int64_t)size, limit);
    if (rc == 0 && !is_whole(pfile->part, base))
        rc = -EINVAL;
    /* Through this very node: the kernel will raise its size by itself. */
    if (rc == 0 && base + pos + (int64_t)size > *limit && atomic_load(&handle->vnode->appending) > 0)
        rc = -EINVAL;
    if (rc == -EINVAL)
        atomic_store(&handle->cached, CACHED_REFUSED);
    return rc;
}

/* By position, as the page cache asks: no state. All of copy.at … copy.limit, or EINVAL. */
static enum asking_next cached_tick(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    struct copying *copy = &reading->copy;
    struct read_op *op = &asking->op;
    int rc = reading->got < 0 ? (int)reading->got : copy->begun ? asking->rc : 0;
    if (copy->begun && asking->rc == 0 && op->found) {
        bool whole = rc == 0 && op->extent.position == copy->at;
        if (rc == 0)
            rc = whole ? partition_read_copy(op, reading_bytes(reading) + reading->got) : -EINVAL;
        copy->at += (int64_t)op->extent.len;
        if (rc == 0)
            reading->got += (int64_t)op->extent.len;
        partition_read_release(op);
    } else if (copy->begun && rc == 0) {
        rc = -EINVAL; /* a hole up to the end, made just now */
    }
    if (rc == 0 && asking->parked)
        rc = reading_keep(reading);
    if (rc == 0 && reading_bytes(reading) == NULL)
        rc = -ENOMEM;
    if (rc != 0)
        reading->got = rc;
    if (rc != 0 || copy->at >= copy->limit)
        return ASKING_OVER;
    op->kind = READ_BYTES;
    op->at = copy->at;
    op->limit = copy->limit;
    op->max = (size_t)(copy->limit - copy->at);
    copy->begun = true;
    return ASKING_READ;
}

static const struct asking_kind cached = {
    .tick = cached_tick,
    .parked = reading_parked,
    .answer = reading_answer,
    .free = reading_free,
    .fatal_only = true,
};

static void read_cached(fuse_req_t req, struct handle *handle, size_t size, int64_t pos)
{
    struct reading *reading = reading_new(req, handle, size, pos, &cached);
    if (reading == NULL)
        return;
    struct copying *copy = &reading->copy;
    int64_t base = consume_base(handle);
    *copy = (struct copying){.base = base, .at = base + pos};
    int rc = partition_state(handle->pfile->part);
    if (rc == 0)
        rc = admit_cached(handle, reading->size, pos, base, &copy->limit);
    if (copy->limit > copy->at + (int64_t)reading->size)
        copy->limit = copy->at + (int64_t)reading->size;
    reading->got = rc;
    asking_go(&reading->asking);
}

/* ---- read(2) ---- */

/* One extent of some size from where no hole was met: straight from the page cache to the reader. Never on a thread of
 * the pool: libfuse gives each thread that splices a pipe, and takes back those of its own. */
static bool can_splice(const struct reading *reading)
{
    const struct copying *copy = &reading->copy;
    const struct read_op *op = &reading->asking.op;
    const struct log_extent *extent = &op->extent;
    size_t size = reading->size;
    if (!copy->plain || !copy->begun || reading->got != 0 || reading->asking.parked || size < SPLICE_MIN_BYTES ||
        size > SPLICE_MAX_BYTES || fence_runs_again())
        return false;
    return reading->asking.rc == 0 && op->found && extent->fd >= 0 && extent->position == copy->at &&
           extent->len >= SPLICE_MIN_BYTES &&
           (extent->len == size || extent->position + (int64_t)extent->len == partition_read_shown(op));
}

static enum asking_next consume_tick(struct asking *asking)
{
    struct reading *reading = reading_of(asking);
    if (!can_splice(reading))
        return consume_go(reading);
    reading->spliced = true;
    return ASKING_OVER;
}

static const struct asking_kind consume = {
    .tick = consume_tick,
    .parked = reading_parked,
    .answer = reading_answer,
    .free = reading_free,
    .fatal_only = true,
};

void consume_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner)
{
    if (owner == 0) {
        read_cached(req, handle, size, pos);
        return;
    }
    struct reading *reading = reading_new(req, handle, size, pos, &consume);
    if (reading == NULL)
        return;
    struct reader *reader = handle->reader;
    pthread_mutex_lock(&handle->lock);
    bool backwards = reading->size > 0 && pos + (int64_t)reading->size == reader->read_pos;
    reader->read_pos = pos;
    consume_begin(reading, backwards);
    reading->copy.filled = true;
    pthread_mutex_unlock(&handle->lock);
    asking_go(&reading->asking);
}
