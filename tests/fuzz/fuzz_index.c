/* tests/fuzz/fuzz_index.c: damaged `.index` and `.timeindex` of a good log.
 *
 * What a crash can do to them is to lose sectors that were not synced: they end early or have zeros in them. After that
 * each look-up must be right, and so must it be after a clean stop with one byte wrong in each. With more that is wrong
 * there, which no CRC would tell, a look-up may be wrong, but it succeeds and stays in the log.
 *
 * Input: 0 as a crash does it, unclean; 1 the same, clean; 2 any bytes, unclean; 3 any bytes, clean; 4 a wrong byte,
 * clean. For a crash: for each index file what is kept of it, how many zeros follow, the sectors where zeros begin in
 * it and end. Any bytes: for each a length and the bytes. A wrong byte: for each where it is, and what it differs by.
 */
#include <stdbool.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/log_sample.h"

static struct sample_file files[SAMPLE_FILES];

static bool is_index(const struct sample_file *file)
{
    const char *end = strchr(file->name, '.');

    return end != NULL && (strcmp(end, ".index") == 0 || strcmp(end, ".timeindex") == 0);
}

/* A disk writes sectors whole. The real ones hold many entries; these hold one and a bit, which is as hard. */
enum { SECTOR_BYTES = 16 };

static void lose_sectors(struct sample_file *file, struct fuzz_input *in)
{
    size_t kept = fuzz_take(in, 1);
    size_t zeros = fuzz_take(in, 1);
    size_t from = (size_t)fuzz_take(in, 1) * SECTOR_BYTES;
    size_t to = (size_t)fuzz_take(in, 1) * SECTOR_BYTES;

    kept = kept < file->len ? kept : file->len;
    to = to < kept ? to : kept;
    if (from < to) {
        memset(file->data + from, 0, to - from);
    }
    memset(file->data + kept, 0, zeros);
    file->len = kept + zeros;
}

static void set_bytes(struct sample_file *file, struct fuzz_input *in)
{
    file->len = fuzz_take(in, 1);
    for (size_t i = 0; i < file->len; i++) {
        file->data[i] = (uint8_t)fuzz_take(in, 1);
    }
}

static void set_byte(struct sample_file *file, struct fuzz_input *in)
{
    uint32_t at = fuzz_take(in, 1);

    if (file->len > 0) {
        file->data[at % file->len] ^= (uint8_t)fuzz_take(in, 1);
    }
}

static bool same(struct log_point a, struct log_point b)
{
    return a.offset == b.offset && a.position == b.position;
}

static void expect(const struct sample *sample, struct log_point got, size_t record, bool exact)
{
    struct log_point want = record < sample->record_count ? sample->records[record].point : sample->end;

    FUZZ_CHECK(got.offset >= 0 && got.offset <= sample->end.offset);
    FUZZ_CHECK(got.position >= 0 && got.position <= sample->end.position);
    FUZZ_CHECK(!exact || same(got, want));
}

static void look_up(const struct sample *sample, struct log *log, bool exact)
{
    struct log_point got;
    size_t count = sample->record_count;

    for (int64_t offset = -1; offset <= sample->end.offset + 1; offset++) {
        int64_t record = offset < 0 ? 0 : offset;

        FUZZ_CHECK(log_lookup_offset(log, offset, sample->end, &got, NULL) == 0);
        expect(sample, got, (size_t)record, exact);
        FUZZ_CHECK(log_lookup_last(log, offset, sample->end, &got, NULL) == 0);
        expect(sample, got, (size_t)record < count ? count - (size_t)record : 0, exact);
    }
    for (int64_t position = 0; position <= sample->end.position; position += 3) {
        size_t record = 0;

        while (record < count &&
               sample->records[record].point.position + (int64_t)sample->records[record].len <= position) {
            record++;
        }
        FUZZ_CHECK(log_lookup_position(log, position, sample->end, &got, NULL) == 0);
        expect(sample, got, record, exact);
    }
    for (int64_t ms = 500; ms <= 7500; ms += 500) {
        size_t record = 0;

        while (record < count && sample->records[record].timestamp_ms < ms) {
            record++;
        }
        FUZZ_CHECK(log_lookup_time(log, ms, sample->end, &got, NULL) == 0);
        expect(sample, got, record, exact);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input in = {data, len};
    static void (*const damages[])(struct sample_file *, struct fuzz_input *) = {lose_sectors, lose_sectors, set_bytes,
                                                                                 set_bytes, set_byte};
    uint32_t mode = fuzz_take(&in, 1) % 5;
    bool clean = mode == 1 || mode >= 3;
    const struct sample *sample = sample_get(SAMPLE_LINES);
    struct log_known known = {.clean_shutdown = clean, .recovery_point = clean ? sample->end.offset : 0};
    struct log *log;

    memcpy(files, sample->files, sizeof files);
    for (size_t i = 0; i < sample->file_count; i++) {
        if (is_index(&files[i])) {
            damages[mode](&files[i], &in);
        }
    }
    sample_lay_out(files, sample->file_count);
    FUZZ_CHECK(sample_open(sample, &known, &log, NULL) == 0);
    FUZZ_CHECK(same(log_end(log), sample->end));
    look_up(sample, log, mode == 0 || mode == 4);
    FUZZ_CHECK(log_close(log, NULL) == 0);
    return 0;
}
