/* engine/record/batch.h: the batch, in memory and as the 64 bytes that `.batches` keeps of it. docs/DISK_FORMAT.md lays
 * the bytes down. */
#ifndef LOGMNT_ENGINE_RECORD_BATCH_H
#define LOGMNT_ENGINE_RECORD_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/record/framing.h"

enum { BATCH_ENTRY_BYTES = 64, BATCH_HEADER_BYTES = 64, BATCH_FORMAT_VERSION = 2 };

enum batch_header_flag {
    /* Places and positions differ: between two entries there may be offsets and positions that no record has. Without
     * it every entry begins where the one before it ends. */
    BATCH_HEADER_GAPS = 1 << 0,
    BATCH_HEADER_PRODUCERS = 1 << 1, /* some entry names a producer */
};

/* The first 64 bytes of a `.batches` file. */
struct batch_header {
    int64_t base_offset;
    int64_t base_position;
    int64_t end_offset;   /* where the range ends that the segment stands for; -1: where its last entry does */
    int64_t end_position; /* likewise */
    uint32_t flags;       /* enum batch_header_flag */
};

/* One run of records that lie one behind the other in offset, position and place. As appended it is a batch; after
 * compaction a batch may be several such runs. */
struct batch_entry {
    uint32_t offset;   /* relative to the segment's base offset */
    uint32_t position; /* relative to the segment's base position */
    uint32_t place;    /* first byte in .log */
    uint32_t len;      /* bytes in .log */
    uint32_t records;
    int32_t leader_epoch;
    int64_t first_timestamp_ms;
    int64_t last_timestamp_ms;
    int64_t producer_id; /* -1: none */
    int16_t producer_epoch;
    uint8_t attributes; /* enum batch_attribute */
    int32_t sequence;   /* of the first record; -1: none */
    uint32_t crc;       /* CRC-32C of the bytes */
};

enum batch_attribute {
    BATCH_LOG_APPEND_TIME = 1 << 3, /* Kafka's bit for message.timestamp.type=LogAppendTime */
    /* Kafka's bit (KIP-534): compaction has passed over the tombstones in this run, and first_timestamp_ms is the time
     * from which on they may go. */
    BATCH_DELETE_HORIZON = 1 << 6,
};

void batch_header_encode(const struct batch_header *h, uint8_t out[BATCH_HEADER_BYTES]);
/* Of version 2, or of version 1, in which what has the end of a range has gaps, and no entry names a producer.
 * -EBADMSG: magic, version, flags or CRC do not hold. */
int batch_header_decode(const uint8_t in[BATCH_HEADER_BYTES], struct batch_header *h);
void batch_entry_encode(const struct batch_entry *b, uint8_t out[BATCH_ENTRY_BYTES]);
/* The same, for one that is appended: it says how many entries right before it are not known to be on the disk; all in
 * front of those are, and so are all segments before its own. BATCH_UNFLUSHED_MANY: it says nothing. */
void batch_entry_encode_appended(const struct batch_entry *b, uint32_t unflushed, uint8_t out[BATCH_ENTRY_BYTES]);
/* What it says; BATCH_UNFLUSHED_MANY also of one that is damaged. */
uint32_t batch_entry_unflushed(const uint8_t in[BATCH_ENTRY_BYTES]);
#define BATCH_UNFLUSHED_MANY 255u /* and all numbers above */
/* -EBADMSG: the entry's own CRC does not hold. */
int batch_entry_decode(const uint8_t in[BATCH_ENTRY_BYTES], struct batch_entry *b);

#define BATCH_GAP_ALL UINT32_MAX

/* What a caller appends: complete records, their count and CRC already known from the scan that found their ends. The
 * memory stays the caller's and is not touched after log_append() has returned. */
struct append_batch {
    const struct iovec *iov; /* one; or two, the first of which is a piece of the first record */
    int iovcnt;
    uint32_t len; /* bytes in iov, > 0 */
    uint32_t records;
    uint32_t crc;
    int64_t first_timestamp_ms;
    int64_t last_timestamp_ms;
    int64_t producer_id;
    int32_t sequence;
    int16_t producer_epoch;
    uint8_t attributes;
    uint32_t gap; /* so many sequences right before this one will not come any more; BATCH_GAP_ALL: none before it */
    const struct framing_mark *marks; /* from the start of the batch, ascending */
    uint32_t mark_count;
    enum framing framing; /* that it was cut into records by */
};

/* Of nobody (no producer id) and of one time; len is what iov holds. records, crc and marks are the caller's to fill in
 * from its scan. */
void append_batch_init(struct append_batch *batch, enum framing framing, const struct iovec *iov, int iovcnt,
                       int64_t timestamp_ms);
/* Likewise, of complete records that lie in one piece and were not scanned: counts, sums and, where marks is not NULL,
 * marks them, at most mark_max. Errors as of framing_scan(): they are none by that framing. */
int append_batch_scan(struct append_batch *batch, enum framing framing, const struct iovec *iov, int64_t timestamp_ms,
                      uint32_t mark_interval, struct framing_mark *marks, uint32_t mark_max);

#endif
