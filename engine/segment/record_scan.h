/* engine/segment/record_scan.h: where a record starts inside a batch: for log_lookup.c. */
#ifndef LOGMNT_ENGINE_SEGMENT_RECORD_SCAN_H
#define LOGMNT_ENGINE_SEGMENT_RECORD_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/segment/segment.h"

/* The record in batch b that has a relative offset, or with by_place holds a place of `.log`; the target lies in b, and
 * b's bytes have been checked. *out: its start. The sparse index shortens the way to about two of its intervals; an
 * entry of it that is wrong is met, told and done without. Pinned. -EBADMSG: the bytes do not hold the records that the
 * entry says; -ENOMEM; errors of the disk. */
int record_scan_find(const struct segment_view *view, enum framing framing, const struct batch_entry *b, bool by_place,
                     uint64_t target, struct index_entry *out, struct err *e);

#endif
