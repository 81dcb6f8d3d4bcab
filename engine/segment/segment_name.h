/* engine/segment/segment_name.h: the four files of a segment and their names. */
#ifndef LOGMNT_ENGINE_SEGMENT_SEGMENT_NAME_H
#define LOGMNT_ENGINE_SEGMENT_SEGMENT_NAME_H

#include <stdbool.h>
#include <stdint.h>

enum segment_file { SEGMENT_LOG, SEGMENT_BATCHES, SEGMENT_INDEX, SEGMENT_TIMEINDEX, SEGMENT_FILES };

enum { SEGMENT_NAME_BYTES = 64, SEGMENT_SUFFIX_BYTES = 24 };

/* "%020d" + ".log" and the like + suffix. */
void segment_name(int64_t base_offset, enum segment_file kind, const char *suffix, char out[SEGMENT_NAME_BYTES]);
/* The reverse: false if name is no segment's file. *suffix points into name. */
bool segment_name_parse(const char *name, int64_t *base_offset, enum segment_file *kind, const char **suffix);

#endif
