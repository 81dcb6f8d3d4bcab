/* engine/segment/index.h: the two sparse indexes of a segment, `.index` and `.timeindex`.
 *
 * A file of fixed little-endian entries in ascending order:
 *   `.index`      8 bytes: 4 offset relative to the segment's, 4 place in `.log`. It points at a record's start.
 *   `.timeindex` 12 bytes: 8 timestamp in ms, 4 relative offset. The batch that starts at
 *                this offset has this timestamp, and no batch up to the index point at which the entry was made has a
 *                later one.
 * Entries are appended with pwritev and read through a read-only shared mapping of the file's capacity; what lies
 * behind the count is never touched. The count lives on while the file is closed.
 *
 * Appending: under the log's append lock, the files pinned. Finding: any thread that has the files pinned. */
#ifndef LOGMNT_ENGINE_SEGMENT_INDEX_H
#define LOGMNT_ENGINE_SEGMENT_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"

enum { INDEX_ENTRY_BYTES = 8, TIMEINDEX_ENTRY_BYTES = 12 };

/* The timestamp of a segment without batches. */
#define INDEX_NO_TIMESTAMP INT64_MIN

struct index {
    uint32_t entry_bytes;
    uint32_t capacity;      /* entries */
    _Atomic uint32_t count; /* entries */
    const uint8_t *map;     /* NULL: closed, or nothing to map */
    size_t map_bytes;
};

struct index_entry {
    uint32_t offset; /* relative */
    uint32_t place;
};

struct timeindex_entry {
    int64_t timestamp_ms;
    uint32_t offset; /* relative: where the batch that has this timestamp starts */
};

/* entry_bytes is one of the two above; capacity_bytes: there is room for one entry at the least, or a closed segment's
 * largest time could be told nobody; count: what the file holds already. */
void index_init(struct index *ix, uint32_t entry_bytes, int64_t capacity_bytes, uint32_t count);
/* Maps fd: exactly what is there (a closed segment) or all of the capacity. */
int index_map(struct index *ix, struct io *io, int fd, bool exact, struct err *e);
void index_unmap(struct index *ix, struct io *io);

uint32_t index_count(const struct index *ix);
bool index_full(const struct index *ix);
int64_t index_bytes(const struct index *ix);

/* Writes entries behind the last one, without counting them: index_publish() does, once all files of the append are
 * written. The caller has checked that they fit. Errors: those of pwritev; what was half written lies behind the
 * count. */
int index_write(struct index *ix, struct io *io, int fd, const struct index_entry *entries, uint32_t n);
int timeindex_write(struct index *ix, struct io *io, int fd, const struct timeindex_entry *entry);
void index_publish(struct index *ix, uint32_t n);

/* Entry i < count. */
struct index_entry index_at(const struct index *ix, uint32_t i);
struct timeindex_entry timeindex_at(const struct index *ix, uint32_t i);

/* How many of the first `count` entries have an offset (place, timestamp) below the given one: binary search. */
uint32_t index_below_offset(const struct index *ix, uint32_t count, uint64_t offset);
uint32_t index_below_place(const struct index *ix, uint32_t count, uint64_t place);
uint32_t timeindex_below_time(const struct index *ix, uint32_t count, int64_t timestamp_ms);
uint32_t timeindex_below_offset(const struct index *ix, uint32_t count, uint64_t offset);

/* The bytes of one entry. */
void index_entry_encode(const struct index_entry *entry, uint8_t out[INDEX_ENTRY_BYTES]);
struct index_entry index_entry_decode(const uint8_t in[INDEX_ENTRY_BYTES]);
void timeindex_entry_encode(const struct timeindex_entry *entry, uint8_t out[TIMEINDEX_ENTRY_BYTES]);
struct timeindex_entry timeindex_entry_decode(const uint8_t in[TIMEINDEX_ENTRY_BYTES]);

#endif
