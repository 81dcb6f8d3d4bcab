/* fs/tree/address.h: names that say where to start reading: 0@5678, 0@-10, 0@2026-11-22T09:00:00Z, 0@-15m, 0@start,
 * 0@end; and Kafka's words for these two, 0@earliest, 0@latest. */
#ifndef LOGMNT_FS_TREE_ADDRESS_H
#define LOGMNT_FS_TREE_ADDRESS_H

#include <stdint.h>

#include "replication/replica/partition_read.h"

enum address_kind { ADDRESS_OFFSET, ADDRESS_LAST, ADDRESS_TIME, ADDRESS_AGO, ADDRESS_START, ADDRESS_END };

struct address {
    int32_t partition;
    enum address_kind kind;
    int64_t value; /* an offset; a number of records; ms since 1970; ms before now; 0 */
};

/* A partition's plain name: a number without sign or leading zeros. -1: it is none. */
int32_t address_partition(const char *name);

/* NAME@ADDRESS. 0, or -ENOENT: it fits none of the forms (so does what overflows). Times as docs/FILESYSTEM.md says: a
 * date, or date and time ('T', 't' or a space between; to the minute, second or fraction), with Z, ±hh:mm, ±hhmm or
 * ±hh, or nothing (then the host's own time zone). Impossible dates (2026-02-30) fit none of the forms. */
int address_parse(const char *name, struct address *out);

/* What a partition is asked for where it starts: kind and at of the op. now_ms is the wall clock. */
void address_ask(const struct address *address, int64_t now_ms, struct read_op *op);
/* Where that is, by the answer. 0, or -ENOENT: a record offset above the high watermark. */
int address_found(const struct address *address, const struct read_op *op, struct log_point *out);

#endif
