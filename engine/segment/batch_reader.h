/* engine/segment/batch_reader.h: one batch at a time from a segment's files, its CRC checked, record by record. For
 * compaction. One thread. */
#ifndef LOGMNT_ENGINE_SEGMENT_BATCH_READER_H
#define LOGMNT_ENGINE_SEGMENT_BATCH_READER_H

#include "engine/segment/segment.h"

/* Zero-initialise but for framing. */
struct batch_reader {
    enum framing framing;
    uint8_t *buf; /* the batch's bytes; as large as the largest so far */
    size_t buf_bytes;
    struct batch_entry entry; /* of the batch that was loaded */
    uint32_t number;          /* of the next record in it */
    uint32_t place;           /* its first byte in buf */
};

struct batch_record {
    const uint8_t *data;
    uint32_t len;    /* with its newline */
    uint32_t number; /* in the batch */
    uint32_t place;  /* in the batch's bytes */
};

void batch_reader_free(struct batch_reader *reader);

/* Entry i of a pinned segment and its bytes. -EBADMSG: a CRC does not hold; -ENOMEM and errors of the disk. */
int batch_reader_load(struct batch_reader *reader, const struct segment_view *view, uint32_t i, struct err *e);

/* The next record of what was loaded: 1; 0: that was the last; -EBADMSG: the records are not those of the entry. */
int batch_reader_next(struct batch_reader *reader, struct batch_record *record, struct err *e);

#endif
