/* tests/fuzz/log_sample.h: small logs made by the engine, kept as files in memory, to be laid out damaged and opened.
 *
 * The directory is of this process, in /dev/shm, and removed at exit. One thread. */
#ifndef LOGMNT_TESTS_LOG_SAMPLE_H
#define LOGMNT_TESTS_LOG_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/recover/log_open.h"

enum {
    SAMPLE_FILES = 24,
    SAMPLE_NAME_BYTES = 64,
    SAMPLE_FILE_BYTES = 4096,
    SAMPLE_RECORDS = 64,
    SAMPLE_CONTENT_BYTES = 2048,
};

enum sample_kind {
    SAMPLE_LINES,     /* three segments of lines, times that also go back */
    SAMPLE_MSGPACK,   /* two segments of MessagePack */
    SAMPLE_COMPACTED, /* keyed lines: a compacted segment and an active one */
    SAMPLE_CUT,       /* lines of a follower: cut back and written anew, batches with holes before them, a producer */
    SAMPLE_KINDS,
};

struct sample_file {
    char name[SAMPLE_NAME_BYTES];
    uint8_t data[SAMPLE_FILE_BYTES];
    size_t len;
};

struct sample_record {
    struct log_point point;
    size_t len;
    int64_t timestamp_ms;
};

/* What was appended is by arithmetic, not by asking the engine. */
struct sample {
    struct log_config config;
    struct sample_file files[SAMPLE_FILES];
    size_t file_count;
    struct sample_record records[SAMPLE_RECORDS];
    size_t record_count;
    uint8_t content[SAMPLE_CONTENT_BYTES]; /* by position */
    struct log_point end;
};

/* Made at the first call. */
const struct sample *sample_get(enum sample_kind kind);

/* Makes the log's directory hold these files and nothing else. */
void sample_lay_out(const struct sample_file *files, size_t count);
/* What it holds now; `kinds` are bits 1 << enum segment_file of names that end so. Returns a hash. */
uint64_t sample_hash(unsigned kinds);

/* log_open() of it. */
int sample_open(const struct sample *sample, const struct log_known *known, struct log **out, struct err *e);

#endif
