/* engine/segment/batch_reader.c: the bytes of a batch are read whole into one buffer, checked, and then walked through.
 *
 * A batch is at most LIMIT_BATCH_BYTES, an entry that says otherwise is damage, and so are bytes that do not hold as
 * many records as it says. */
#include "engine/segment/batch_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/base/crc32c.h"
#include "engine/base/limits.h"

void batch_reader_free(struct batch_reader *reader)
{
    free(reader->buf);
    reader->buf = NULL;
}

static int reserve(struct batch_reader *reader, size_t bytes, struct err *e)
{
    uint8_t *buf;

    if (bytes <= reader->buf_bytes) {
        return 0;
    }
    buf = realloc(reader->buf, bytes);
    if (buf == NULL) {
        return err_sys(e, -ENOMEM, "read a batch of %zu bytes", bytes);
    }
    reader->buf = buf;
    reader->buf_bytes = bytes;
    return 0;
}

int batch_reader_load(struct batch_reader *reader, const struct segment_view *view, uint32_t i, struct err *e)
{
    struct batch_entry *b = &reader->entry;
    int rc = segment_entry(view->seg, i, b, e);

    if (rc < 0) {
        return rc;
    }
    if (b->len > LIMIT_BATCH_BYTES || (uint64_t)b->place + b->len > view->log_bytes) {
        return err_set(e, -EBADMSG, "segment %" PRId64 ": entry %u of .batches is out of order", view->base.offset, i);
    }
    rc = reserve(reader, b->len, e);
    if (rc < 0) {
        return rc;
    }
    rc = io_pread_all(view->seg->io, view->seg->fd[SEGMENT_LOG], reader->buf, b->len, b->place);
    if (rc < 0) {
        return err_sys(e, rc, "%020" PRId64 ".log: read at %u", view->base.offset, b->place);
    }
    if (crc32c(0, reader->buf, b->len) != b->crc) {
        return err_set(e, -EBADMSG, "%020" PRId64 ".log: the bytes at offset %" PRId64 " do not match their CRC",
                       view->base.offset, view->base.offset + b->offset);
    }
    reader->number = 0;
    reader->place = 0;
    return 0;
}

int batch_reader_next(struct batch_reader *reader, struct batch_record *record, struct err *e)
{
    const struct batch_entry *b = &reader->entry;
    size_t left = b->len - reader->place;

    if (left == 0 && reader->number == b->records) {
        return 0;
    }
    record->data = reader->buf + reader->place;
    record->len = (uint32_t)framing_record_len(reader->framing, record->data, left);
    record->number = reader->number;
    record->place = reader->place;
    if (record->len == 0 || reader->number == b->records) {
        return err_set(e, -EBADMSG, "a batch of %u records does not hold so many", b->records);
    }
    reader->number++;
    reader->place += record->len;
    return 1;
}
