/* engine/segment/segment_build.h: a segment that is made to take the place of others. */
#ifndef LOGMNT_ENGINE_SEGMENT_SEGMENT_BUILD_H
#define LOGMNT_ENGINE_SEGMENT_SEGMENT_BUILD_H

#include "engine/segment/segment.h"

/* A segment under a suffix of its own (`.cleaned`: compaction's; `.cutting`: a truncation's), made beside the log's
 * list: no lock needed. Leftovers of that name are emptied. It has gaps, unless the caller says otherwise before it is
 * finished. */
int segment_build_begin(struct segment_env *env, struct log_point base, const char *suffix, struct segment **out,
                        struct err *e);
/* Adds a run of b->len bytes: b->offset and b->position relative to base, records, crc and the rest as it shall stay;
 * place is set here. marks as of framing_scan(), from the run's first byte. It is written by and by. Passing errnos
 * (err.h) and -EIO: segment_build_abort(). */
int segment_build_add(struct segment *seg, struct batch_entry *b, const void *bytes, const struct framing_mark *marks,
                      uint32_t mark_count, int64_t index_interval_bytes, struct err *e);
/* Writes the header with the end of the range it stands for, fsyncs all four files. Afterwards it is for log_replace().
 */
int segment_build_finish(struct segment *seg, struct log_point end, struct err *e);
/* Another generation, from `.log`'s time: later than that of any file that had the name before. Pinned. */
int segment_take_generation(struct segment *seg, struct err *e);
void segment_build_abort(struct segment *seg); /* unlinks the files, frees it; also after a failed finish */

#endif
