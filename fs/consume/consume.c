#include "fs/consume/consume.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "fs/base/fence.h"
#include "fs/base/limits.h"
#include "fs/consume/reader.h"
#include "fs/tree/pagecache.h"

/* From here on a splice beats a copy; above, data and header do not fit a pipe of 256 pages and libfuse copies twice
 * (measured: tests/bench). */
enum { SPLICE_MIN_BYTES = 32 << 10, SPLICE_MAX_BYTES = 900 << 10 };

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void make_buffer_key(void)
{
    pthread_key_create(&buffer_key, free);
}

uint8_t *consume_buffer(void)
{
    pthread_once(&buffer_once, make_buffer_key);
    uint8_t *buffer = pthread_getspecific(buffer_key);
    if (!buffer && (buffer = malloc(LIMIT_REQUEST_BYTES)))
        pthread_setspecific(buffer_key, buffer);
    return buffer;
}

void consume_answer(fuse_req_t req, struct handle *handle, int64_t pos, const uint8_t *bytes, int64_t got)
{
    if (got < 0) {
        fuse_reply_err(req, (int)-got);
        return;
    }
    rereads_given(&handle->rereads, fuse_req_ctx(req)->pid, pos, (size_t)got);
    fuse_reply_buf(req, (const char *)bytes, (size_t)got);
}

static int pread_all(int fd, uint8_t *out, size_t len, int64_t at)
{
    while (len) {
        ssize_t n = pread(fd, out, len, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        out += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int copy_extent(struct log_extent *extent, uint8_t *out)
{
    int rc = pread_all(extent->fd, out, extent->len, extent->place);
    if (rc)
        log_line(LOG_ERR, "%s: reading %zu bytes at place %lld failed", log_name(extent->log), extent->len,
                 (long long)extent->place);
    return rc ? -EIO : 0;
}

/* The size that is left to a read whose first byte was found at `found`: a read that began in a hole and reaches past
 * its end returns only what lies in the range asked for; one that lies wholly in it, or goes on where this open file
 * stopped reading, jumps. */
static size_t clip(size_t size, int64_t asked, int64_t found, bool known)
{
    if (known || found == asked || found - asked >= (int64_t)size)
        return size;
    return size - (size_t)(found - asked);
}

/* Whether a read that goes backwards has come to a hole, `got` bytes from its start. */
static bool stops_at_hole(const struct consume_plan *plan, int64_t at, size_t got, const struct log_extent *extent)
{
    if (got > 0)
        return extent->position != at;
    return extent->position - at >= (int64_t)plan->size;
}

int64_t consume_copy(const struct consume_plan *plan, uint8_t *out)
{
    struct partition *part = plan->handle->pfile->part;
    struct posmap *map = &plan->handle->reader->map;
    bool known;
    int64_t at = plan->base + posmap_translate(map, plan->pos, &known);
    size_t size = plan->size, got = 0;
    for (int i = 0; got < size && i < LIMIT_READ_EXTENTS; i++) {
        struct log_extent extent;
        struct err e = {0};
        int rc = partition_extent_at(part, at, plan->limit, size - got, &extent, &e);
        if (rc <= 0) {
            if (rc < 0 && got == 0)
                return rc;
            break;
        }
        if (plan->backwards && !known && stops_at_hole(plan, at, got, &extent)) {
            log_extent_release(&extent);
            out[got] = '\0';
            return got ? (int64_t)got : 1;
        }
        if (got == 0) {
            size = clip(size, at, extent.position, known);
            if (extent.len > size)
                extent.len = size;
        }
        rc = copy_extent(&extent, out + got);
        bool hole = extent.position != plan->base + plan->pos + (int64_t)got;
        if (rc == 0 && (hole || map->runs))
            rc = posmap_add(map, plan->pos + (int64_t)got, extent.position - plan->base, (int64_t)extent.len);
        at = extent.position + (int64_t)extent.len;
        got += rc ? 0 : extent.len;
        log_extent_release(&extent);
        if (rc)
            return got ? (int64_t)got : rc;
    }
    return (int64_t)got;
}

/* Whether there is no hole from base on. What is appended meanwhile may make it look as if there were one. */
static bool is_whole(struct partition *part, int64_t base)
{
    struct log_point start = partition_log_start(part);
    struct log_size size;
    int64_t end, before;
    int tries = 0;
    do {
        before = partition_log_end(part).position;
        partition_size(part, &size);
        end = partition_log_end(part).position;
    } while (end != before && ++tries < 3);
    return start.position <= base && end - start.position == size.retained_bytes;
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

/* By position, as the page cache asks: no state. */
static void read_cached(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, int64_t base)
{
    struct partition *part = handle->pfile->part;
    uint8_t *buffer = consume_buffer();
    int64_t at = base + pos, limit = 0;
    size_t got = 0;
    int rc = buffer ? admit_cached(handle, size, pos, base, &limit) : -ENOMEM;
    int64_t end = at + (int64_t)size < limit ? at + (int64_t)size : limit;
    while (rc == 0 && at < end) {
        struct log_extent extent;
        struct err e = {0};
        rc = partition_extent_at(part, at, end, (size_t)(end - at), &extent, &e);
        if (rc <= 0) {
            rc = rc < 0 ? rc : -EINVAL; /* 0: a hole up to the end, made just now */
            break;
        }
        rc = extent.position == at ? copy_extent(&extent, buffer + got) : -EINVAL;
        got += extent.len;
        at += (int64_t)extent.len;
        log_extent_release(&extent);
    }
    if (rc)
        fuse_reply_err(req, -rc);
    else
        fuse_reply_buf(req, (const char *)buffer, got);
}

/* One extent of some size from where no hole was met: straight from the page cache to the reader. false: not so. Never
 * on a thread of the pool: libfuse gives each thread that splices a pipe, and takes back those of its own. */
static bool read_spliced(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, int64_t base, int64_t limit)
{
    int64_t at = base + pos;
    if (size < SPLICE_MIN_BYTES || size > SPLICE_MAX_BYTES || fence_runs_again())
        return false;
    struct log_extent extent;
    struct err e = {0};
    if (partition_extent_at(handle->pfile->part, at, limit, size, &extent, &e) <= 0)
        return false;
    bool fits = extent.position == at && (extent.len == size || extent.position + (int64_t)extent.len == limit) &&
                extent.len >= SPLICE_MIN_BYTES;
    if (fits) {
        struct fuse_bufvec data = FUSE_BUFVEC_INIT(extent.len);
        data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
        data.buf[0].fd = extent.fd;
        data.buf[0].pos = extent.place;
        rereads_given(&handle->rereads, fuse_req_ctx(req)->pid, pos, extent.len);
        fuse_reply_data(req, &data, 0);
    }
    log_extent_release(&extent);
    return fits;
}

void consume_read(fuse_req_t req, struct handle *handle, size_t size, int64_t pos, uint64_t owner)
{
    struct vnode *vnode = handle->vnode;
    int64_t base = vnode_addressed(vnode) ? vnode->start.position : 0;
    int64_t limit = partition_high_watermark(handle->pfile->part).position;
    int rc = partition_state(handle->pfile->part);
    if (rc) {
        fuse_reply_err(req, -rc);
        return;
    }
    if (size > LIMIT_REQUEST_BYTES)
        size = LIMIT_REQUEST_BYTES;
    if (owner == 0) {
        read_cached(req, handle, size, pos, base);
        return;
    }
    pthread_mutex_lock(&handle->lock);
    bool plain = handle->reader->map.runs == NULL,
         backwards = size > 0 && pos + (int64_t)size == handle->reader->read_pos;
    handle->reader->read_pos = pos;
    if (plain) {
        pthread_mutex_unlock(&handle->lock);
        if (read_spliced(req, handle, size, pos, base, limit))
            return;
        pthread_mutex_lock(&handle->lock);
    }
    struct consume_plan plan = {
        .handle = handle, .base = base, .pos = pos, .limit = limit, .size = size, .backwards = backwards};
    uint8_t *buffer = consume_buffer();
    int64_t got = buffer ? consume_copy(&plan, buffer) : -ENOMEM;
    pthread_mutex_unlock(&handle->lock);
    consume_answer(req, handle, pos, buffer, got);
}
