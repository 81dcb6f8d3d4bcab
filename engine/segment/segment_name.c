#include "engine/segment/segment_name.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[SEGMENT_FILES] = {
    [SEGMENT_LOG] = ".log",
    [SEGMENT_BATCHES] = ".batches",
    [SEGMENT_INDEX] = ".index",
    [SEGMENT_TIMEINDEX] = ".timeindex",
};

void segment_name(int64_t base_offset, enum segment_file kind, const char *suffix, char out[SEGMENT_NAME_BYTES])
{
    int len = snprintf(out, SEGMENT_NAME_BYTES, "%020" PRId64 "%s%s", base_offset, kind_names[kind], suffix);

    assert(len > 0 && len < SEGMENT_NAME_BYTES);
}

bool segment_name_parse(const char *name, int64_t *base_offset, enum segment_file *kind, const char **suffix)
{
    int64_t offset = 0;
    int i;

    for (i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(offset, 10, &offset) ||
            __builtin_add_overflow(offset, name[i] - '0', &offset)) {
            return false;
        }
    }
    for (i = 0; i < SEGMENT_FILES; i++) {
        size_t len = strlen(kind_names[i]);

        if (strncmp(name + 20, kind_names[i], len) == 0 && (name[20 + len] == '\0' || name[20 + len] == '.')) {
            *base_offset = offset;
            *kind = (enum segment_file)i;
            *suffix = name + 20 + len;
            return true;
        }
    }
    return false;
}
