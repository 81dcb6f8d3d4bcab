/* replication/metadata/quorum_records.c: batches ↔ bytes. */
#include "replication/metadata/quorum_records.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "replication/base/limits.h"

static int grow(struct quorum_records *records, size_t *room, size_t more)
{
    size_t size = *room == 0 ? 4096 : *room;
    uint8_t *grown;

    while (size - records->len < more)
        size *= 2;
    if (size == *room)
        return 0;
    grown = realloc(records->data, size);
    if (grown == NULL)
        return -ENOMEM;
    records->data = grown;
    *room = size;
    return 0;
}

static void put_head(const struct log_run *run, uint8_t out[QUORUM_BATCH_BYTES])
{
    struct batch_entry entry = run->entry;
    uint64_t offset = htole64((uint64_t)run->base.offset), position = htole64((uint64_t)run->base.position);

    /* Where it lies in this node's files is nobody else's business. */
    entry.offset = entry.position = entry.place = 0;
    memcpy(out, &offset, 8);
    memcpy(out + 8, &position, 8);
    batch_entry_encode(&entry, out + 16);
}

/* All bytes of the run, whatever extents they lie in. */
static int put_bytes(struct io *io, struct log *log, const struct log_run *run, uint8_t *out, struct err *e)
{
    int64_t at = run->base.position, end = run->base.position + run->len;

    while (at < end) {
        struct log_extent extent;
        int rc = log_extent_at(log, at, end, (size_t)(end - at), &extent, e);

        if (rc <= 0)
            return rc < 0 ? rc : err_set(e, -EIO, "the batch at offset %" PRId64 " is not there", run->base.offset);
        rc = extent.position == at ? io_pread_all(io, extent.fd, out, extent.len, extent.place) : -EIO;
        log_extent_release(&extent);
        if (rc != 0)
            return err_sys(e, rc, "read the batch at offset %" PRId64, run->base.offset);
        out += extent.len;
        at += (int64_t)extent.len;
    }
    return 0;
}

/* A batch as others take it over: they would refuse one that is damaged, and ask for it again and again. */
static int put_batch(struct io *io, struct log *log, const struct log_run *run, uint8_t *out, struct err *e)
{
    int rc;

    put_head(run, out);
    rc = put_bytes(io, log, run, out + QUORUM_BATCH_BYTES, e);
    if (rc == 0 && crc32c(0, out + QUORUM_BATCH_BYTES, run->len) != run->entry.crc)
        rc = err_set(e, -EBADMSG, "the batch at offset %" PRId64 " is damaged", run->base.offset);
    return rc;
}

int quorum_records_read(struct io *io, struct log *log, int64_t offset, struct quorum_records *out, struct err *e)
{
    struct log_point end = log_end(log), at;
    struct log_run run;
    size_t room = 0;
    int rc;

    *out = (struct quorum_records){0};
    if (offset >= end.offset)
        return 0;
    rc = log_lookup_offset(log, offset, end, &at, e);
    while (rc == 0 && at.position < end.position) {
        rc = log_run_at(log, at.position, end.position, &run, e);
        if (rc <= 0)
            break;
        if (out->len > 0 && out->len + QUORUM_BATCH_BYTES + run.len > LIMIT_QUORUM_FETCH_BYTES)
            return 0;
        rc = grow(out, &room, QUORUM_BATCH_BYTES + run.len);
        if (rc == 0)
            rc = put_batch(io, log, &run, out->data + out->len, e);
        if (rc == 0)
            out->len += QUORUM_BATCH_BYTES + run.len;
        at.position = run.base.position + run.len;
    }
    /* What lies before one that cannot be read goes first. */
    if (rc >= 0 || out->len > 0)
        return 0;
    free(out->data);
    *out = (struct quorum_records){0};
    return rc;
}

int quorum_records_next(const uint8_t **data, size_t *len, struct log_copy *out, struct err *e)
{
    uint64_t offset, position;

    if (*len == 0)
        return 0;
    if (*len < QUORUM_BATCH_BYTES)
        return err_set(e, -EBADMSG, "records that end within a batch's entry");
    memcpy(&offset, *data, 8);
    memcpy(&position, *data + 8, 8);
    *out = (struct log_copy){.base = {(int64_t)le64toh(offset), (int64_t)le64toh(position)}};
    if (batch_entry_decode(*data + 16, &out->entry) != 0 || out->base.offset < 0 || out->base.position < 0)
        return err_set(e, -EBADMSG, "records with a damaged entry");
    if (*len - QUORUM_BATCH_BYTES < out->entry.len)
        return err_set(e, -EBADMSG, "records that end within a batch");
    out->bytes = *data + QUORUM_BATCH_BYTES;
    *data += QUORUM_BATCH_BYTES + out->entry.len;
    *len -= QUORUM_BATCH_BYTES + out->entry.len;
    return 1;
}
