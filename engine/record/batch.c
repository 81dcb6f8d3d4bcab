/* engine/record/batch.c: the bytes of `.batches`, little-endian, in the order of docs/DISK_FORMAT.md.
 *
 * Each piece of 64 bytes carries a CRC-32C of its other 60 in its last 4, so that a torn or rotten one is told by
 * itself. Pure functions. */
#include "engine/record/batch.h"

#include <errno.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/crc32c.h"

static const char header_magic[8] = {'L', 'O', 'G', 'M', 'N', 'T', 'B', '1'};

/* Where the fields are. */
enum {
    HEADER_MAGIC = 0,
    HEADER_VERSION = 8,
    HEADER_FLAGS = 12,
    HEADER_BASE_OFFSET = 16,
    HEADER_BASE_POSITION = 24,
    HEADER_END_OFFSET = 32,
    HEADER_END_POSITION = 40,
    HEADER_CRC = 60,

    ENTRY_OFFSET = 0,
    ENTRY_POSITION = 4,
    ENTRY_RECORDS = 8,
    ENTRY_PLACE = 12,
    ENTRY_LEN = 16,
    ENTRY_FIRST_TIMESTAMP = 20,
    ENTRY_LAST_TIMESTAMP = 28,
    ENTRY_LEADER_EPOCH = 36,
    ENTRY_PRODUCER_ID = 40,
    ENTRY_PRODUCER_EPOCH = 48,
    ENTRY_SEQUENCE = 50,
    ENTRY_ATTRIBUTES = 54,
    ENTRY_UNFLUSHED = 55, /* 0: nothing is said; or 1 + how many */
    ENTRY_CRC = 56,
    ENTRY_ENTRY_CRC = 60,
};

void batch_header_encode(const struct batch_header *h, uint8_t out[BATCH_HEADER_BYTES])
{
    memset(out, 0, BATCH_HEADER_BYTES);
    memcpy(out + HEADER_MAGIC, header_magic, sizeof header_magic);
    put32(out + HEADER_VERSION, BATCH_FORMAT_VERSION);
    put32(out + HEADER_FLAGS, h->flags);
    put64(out + HEADER_BASE_OFFSET, (uint64_t)h->base_offset);
    put64(out + HEADER_BASE_POSITION, (uint64_t)h->base_position);
    put64(out + HEADER_END_OFFSET, (uint64_t)h->end_offset);
    put64(out + HEADER_END_POSITION, (uint64_t)h->end_position);
    put32(out + HEADER_CRC, crc32c(0, out, HEADER_CRC));
}

int batch_header_decode(const uint8_t in[BATCH_HEADER_BYTES], struct batch_header *h)
{
    uint32_t version = get32(in + HEADER_VERSION);

    if (memcmp(in + HEADER_MAGIC, header_magic, sizeof header_magic) != 0 ||
        get32(in + HEADER_CRC) != crc32c(0, in, HEADER_CRC) || version < 1 || version > BATCH_FORMAT_VERSION) {
        return -EBADMSG;
    }
    h->base_offset = (int64_t)get64(in + HEADER_BASE_OFFSET);
    h->base_position = (int64_t)get64(in + HEADER_BASE_POSITION);
    h->end_offset = (int64_t)get64(in + HEADER_END_OFFSET);
    h->end_position = (int64_t)get64(in + HEADER_END_POSITION);
    h->flags = get32(in + HEADER_FLAGS);
    if (version == 1) {
        h->flags = h->end_offset >= 0 ? BATCH_HEADER_GAPS : 0;
    }
    if ((h->flags & ~(uint32_t)(BATCH_HEADER_GAPS | BATCH_HEADER_PRODUCERS)) != 0) {
        return -EBADMSG;
    }
    return 0;
}

void batch_entry_encode_appended(const struct batch_entry *b, uint32_t unflushed, uint8_t out[BATCH_ENTRY_BYTES])
{
    put32(out + ENTRY_OFFSET, b->offset);
    put32(out + ENTRY_POSITION, b->position);
    put32(out + ENTRY_RECORDS, b->records);
    put32(out + ENTRY_PLACE, b->place);
    put32(out + ENTRY_LEN, b->len);
    put64(out + ENTRY_FIRST_TIMESTAMP, (uint64_t)b->first_timestamp_ms);
    put64(out + ENTRY_LAST_TIMESTAMP, (uint64_t)b->last_timestamp_ms);
    put32(out + ENTRY_LEADER_EPOCH, (uint32_t)b->leader_epoch);
    put64(out + ENTRY_PRODUCER_ID, (uint64_t)b->producer_id);
    put16(out + ENTRY_PRODUCER_EPOCH, (uint16_t)b->producer_epoch);
    put32(out + ENTRY_SEQUENCE, (uint32_t)b->sequence);
    out[ENTRY_ATTRIBUTES] = b->attributes;
    out[ENTRY_UNFLUSHED] = unflushed < BATCH_UNFLUSHED_MANY ? (uint8_t)(unflushed + 1) : 0;
    put32(out + ENTRY_CRC, b->crc);
    put32(out + ENTRY_ENTRY_CRC, crc32c(0, out, ENTRY_ENTRY_CRC));
}

void batch_entry_encode(const struct batch_entry *b, uint8_t out[BATCH_ENTRY_BYTES])
{
    batch_entry_encode_appended(b, BATCH_UNFLUSHED_MANY, out);
}

uint32_t batch_entry_unflushed(const uint8_t in[BATCH_ENTRY_BYTES])
{
    bool says = in[ENTRY_UNFLUSHED] != 0 && get32(in + ENTRY_ENTRY_CRC) == crc32c(0, in, ENTRY_ENTRY_CRC);

    return says ? in[ENTRY_UNFLUSHED] - 1u : BATCH_UNFLUSHED_MANY;
}

int batch_entry_decode(const uint8_t in[BATCH_ENTRY_BYTES], struct batch_entry *b)
{
    if (get32(in + ENTRY_ENTRY_CRC) != crc32c(0, in, ENTRY_ENTRY_CRC)) {
        return -EBADMSG;
    }
    b->offset = get32(in + ENTRY_OFFSET);
    b->position = get32(in + ENTRY_POSITION);
    b->records = get32(in + ENTRY_RECORDS);
    b->place = get32(in + ENTRY_PLACE);
    b->len = get32(in + ENTRY_LEN);
    b->first_timestamp_ms = (int64_t)get64(in + ENTRY_FIRST_TIMESTAMP);
    b->last_timestamp_ms = (int64_t)get64(in + ENTRY_LAST_TIMESTAMP);
    b->leader_epoch = (int32_t)get32(in + ENTRY_LEADER_EPOCH);
    b->producer_id = (int64_t)get64(in + ENTRY_PRODUCER_ID);
    b->producer_epoch = (int16_t)get16(in + ENTRY_PRODUCER_EPOCH);
    b->sequence = (int32_t)get32(in + ENTRY_SEQUENCE);
    b->attributes = in[ENTRY_ATTRIBUTES];
    b->crc = get32(in + ENTRY_CRC);
    return 0;
}

/* ---- what is appended ---- */

void append_batch_init(struct append_batch *batch, enum framing framing, const struct iovec *iov, int iovcnt,
                       int64_t timestamp_ms)
{
    size_t len = 0;

    for (int i = 0; i < iovcnt; i++) {
        len += iov[i].iov_len;
    }
    *batch = (struct append_batch){
        .iov = iov,
        .iovcnt = iovcnt,
        .len = (uint32_t)len,
        .first_timestamp_ms = timestamp_ms,
        .last_timestamp_ms = timestamp_ms,
        .producer_id = -1,
        .producer_epoch = -1,
        .sequence = -1,
        .framing = framing,
    };
}

int append_batch_scan(struct append_batch *batch, enum framing framing, const struct iovec *iov, int64_t timestamp_ms,
                      uint32_t mark_interval, struct framing_mark *marks, uint32_t mark_max)
{
    struct framing_state scan = {0};
    struct framing_result r;
    int rc;

    append_batch_init(batch, framing, iov, 1, timestamp_ms);
    batch->marks = marks;
    rc = framing_scan(framing, &scan, iov->iov_base, iov->iov_len, UINT64_MAX, &r, &batch->crc, mark_interval, marks,
                      &batch->mark_count, mark_max);
    batch->records = r.records;
    return rc;
}
