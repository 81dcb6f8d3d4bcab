/* engine/segment/index.c: entries of `.index` and `.timeindex`, encoded, appended and found.
 *
 * A write goes through the descriptor and a read through the mapping: the kernel keeps both on the same pages. The
 * count is stored after the write, so a reader never sees an entry that is not whole. */
#include "engine/segment/index.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/limits.h"

void index_init(struct index *ix, uint32_t entry_bytes, int64_t capacity_bytes, uint32_t count)
{
    int64_t capacity = capacity_bytes / entry_bytes;

    assert(entry_bytes == INDEX_ENTRY_BYTES || entry_bytes == TIMEINDEX_ENTRY_BYTES);
    memset(ix, 0, sizeof *ix);
    ix->entry_bytes = entry_bytes;
    ix->capacity = capacity > INT32_MAX / TIMEINDEX_ENTRY_BYTES ? INT32_MAX / TIMEINDEX_ENTRY_BYTES
                                                                : (uint32_t)(capacity < 1 ? 1 : capacity);
    if (ix->capacity < count) {
        ix->capacity = count;
    }
    atomic_init(&ix->count, count);
}

int index_map(struct index *ix, struct io *io, int fd, bool exact, struct err *e)
{
    size_t bytes = (size_t)(exact ? index_count(ix) : ix->capacity) * ix->entry_bytes;
    const void *map = NULL;
    int rc;

    assert(ix->map == NULL);
    if (bytes > 0) {
        rc = io->map(io, fd, bytes, &map);
        if (rc < 0) {
            return err_sys(e, rc, "map index");
        }
    }
    ix->map = map;
    ix->map_bytes = bytes;
    return 0;
}

void index_unmap(struct index *ix, struct io *io)
{
    if (ix->map != NULL) {
        io->unmap(io, ix->map, ix->map_bytes);
    }
    ix->map = NULL;
    ix->map_bytes = 0;
}

uint32_t index_count(const struct index *ix)
{
    return atomic_load_explicit(&ix->count, memory_order_acquire);
}

bool index_full(const struct index *ix)
{
    return index_count(ix) >= ix->capacity;
}

int64_t index_bytes(const struct index *ix)
{
    return (int64_t)index_count(ix) * ix->entry_bytes;
}

void index_entry_encode(const struct index_entry *entry, uint8_t out[INDEX_ENTRY_BYTES])
{
    put32(out, entry->offset);
    put32(out + 4, entry->place);
}

struct index_entry index_entry_decode(const uint8_t in[INDEX_ENTRY_BYTES])
{
    return (struct index_entry){.offset = get32(in), .place = get32(in + 4)};
}

void timeindex_entry_encode(const struct timeindex_entry *entry, uint8_t out[TIMEINDEX_ENTRY_BYTES])
{
    put64(out, (uint64_t)entry->timestamp_ms);
    put32(out + 8, entry->offset);
}

struct timeindex_entry timeindex_entry_decode(const uint8_t in[TIMEINDEX_ENTRY_BYTES])
{
    return (struct timeindex_entry){.timestamp_ms = (int64_t)get64(in), .offset = get32(in + 8)};
}

int index_write(struct index *ix, struct io *io, int fd, const struct index_entry *entries, uint32_t n)
{
    uint8_t buf[(LIMIT_BATCH_MARKS + 1) * INDEX_ENTRY_BYTES];
    struct iovec iov = {.iov_base = buf, .iov_len = (size_t)n * INDEX_ENTRY_BYTES};
    uint32_t i;

    assert(ix->entry_bytes == INDEX_ENTRY_BYTES);
    assert(n <= LIMIT_BATCH_MARKS + 1 && n <= ix->capacity - index_count(ix));
    for (i = 0; i < n; i++) {
        index_entry_encode(&entries[i], buf + (size_t)i * INDEX_ENTRY_BYTES);
    }
    return io_pwritev_all(io, fd, &iov, 1, index_bytes(ix));
}

int timeindex_write(struct index *ix, struct io *io, int fd, const struct timeindex_entry *entry)
{
    uint8_t buf[TIMEINDEX_ENTRY_BYTES];
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof buf};

    assert(ix->entry_bytes == TIMEINDEX_ENTRY_BYTES && !index_full(ix));
    timeindex_entry_encode(entry, buf);
    return io_pwritev_all(io, fd, &iov, 1, index_bytes(ix));
}

void index_publish(struct index *ix, uint32_t n)
{
    atomic_store_explicit(&ix->count, index_count(ix) + n, memory_order_release);
}

static const uint8_t *entry_address(const struct index *ix, uint32_t i)
{
    size_t at = (size_t)i * ix->entry_bytes;

    assert(ix->map != NULL && at + ix->entry_bytes <= ix->map_bytes);
    return ix->map + at;
}

struct index_entry index_at(const struct index *ix, uint32_t i)
{
    return index_entry_decode(entry_address(ix, i));
}

struct timeindex_entry timeindex_at(const struct index *ix, uint32_t i)
{
    return timeindex_entry_decode(entry_address(ix, i));
}

/* The number of entries among the first `count` for which key(i) < limit, where key ascends. */
#define COUNT_BELOW(count, limit, key)                                                                                 \
    __extension__({                                                                                                    \
        uint32_t low_ = 0, high_ = (count);                                                                            \
        while (low_ < high_) {                                                                                         \
            uint32_t middle = low_ + (high_ - low_) / 2;                                                               \
            if ((key) < (limit)) {                                                                                     \
                low_ = middle + 1;                                                                                     \
            } else {                                                                                                   \
                high_ = middle;                                                                                        \
            }                                                                                                          \
        }                                                                                                              \
        low_;                                                                                                          \
    })

uint32_t index_below_offset(const struct index *ix, uint32_t count, uint64_t offset)
{
    return COUNT_BELOW(count, offset, index_at(ix, middle).offset);
}

uint32_t index_below_place(const struct index *ix, uint32_t count, uint64_t place)
{
    return COUNT_BELOW(count, place, index_at(ix, middle).place);
}

uint32_t timeindex_below_time(const struct index *ix, uint32_t count, int64_t timestamp_ms)
{
    return COUNT_BELOW(count, timestamp_ms, timeindex_at(ix, middle).timestamp_ms);
}

uint32_t timeindex_below_offset(const struct index *ix, uint32_t count, uint64_t offset)
{
    return COUNT_BELOW(count, offset, timeindex_at(ix, middle).offset);
}
