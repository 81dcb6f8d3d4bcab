/* tests/fuzz/log_sample.c: see the header. Every step that is not what is fuzzed must work. */
#include "tests/fuzz/log_sample.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/crc32c.h"
#include "tests/fuzz/fuzz.h"

enum { OPEN_SEGMENTS = 64 };

static struct sample samples[SAMPLE_KINDS];
static char topics_path[64];
static int topics_dirfd = -1;
static int64_t now_ms = 1700000000000;
static struct log_env env;

static int64_t read_clock(struct clock *clock)
{
    (void)clock;
    return now_ms;
}

static struct clock still_clock = {.wall_ms = read_clock, .mono_ms = read_clock};

static void ignore_line(int level, const char *line)
{
    (void)level;
    (void)line;
}

/* ---- the directory ---- */

static int log_dirfd(void)
{
    static int fd = -1;

    if (fd < 0) {
        FUZZ_CHECK(mkdirat(topics_dirfd, "t-0", 0700) == 0);
        fd = openat(topics_dirfd, "t-0", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        FUZZ_CHECK(fd >= 0);
    }
    return fd;
}

/* Calls each() for the names in it. */
static void list(void (*each)(void *arg, const char *name), void *arg)
{
    static DIR *dir;
    struct dirent *entry;

    if (dir == NULL) {
        dir = fdopendir(openat(log_dirfd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        FUZZ_CHECK(dir != NULL);
    }
    rewinddir(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            each(arg, entry->d_name);
        }
    }
}

static void remove_one(void *arg, const char *name)
{
    (void)arg;
    FUZZ_CHECK(unlinkat(log_dirfd(), name, 0) == 0);
}

static void remove_all(void)
{
    list(remove_one, NULL);
    unlinkat(topics_dirfd, "t-0", AT_REMOVEDIR);
    rmdir(topics_path);
}

static void set_up(void)
{
    snprintf(topics_path, sizeof topics_path, "/dev/shm/logmnt-fuzz-XXXXXX");
    FUZZ_CHECK(mkdtemp(topics_path) != NULL);
    topics_dirfd = open(topics_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_CHECK(topics_dirfd >= 0);
    atexit(remove_all);
    log_sink_set(ignore_line);
    env = (struct log_env){.io = io_posix(), .clock = &still_clock, .topics_dirfd = topics_dirfd};
    atomic_init(&env.check_crcs, true);
    env.cache = segment_cache_new(env.io, OPEN_SEGMENTS);
    FUZZ_CHECK(env.cache != NULL);
}

void sample_lay_out(const struct sample_file *files, size_t count)
{
    list(remove_one, NULL);
    for (size_t i = 0; i < count; i++) {
        int fd = openat(log_dirfd(), files[i].name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        FUZZ_CHECK(fd >= 0);
        FUZZ_CHECK(write(fd, files[i].data, files[i].len) == (ssize_t)files[i].len);
        close(fd);
    }
}

static void read_one(void *arg, const char *name)
{
    struct sample *sample = arg;
    struct sample_file *file = &sample->files[sample->file_count++];
    int fd = openat(log_dirfd(), name, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    FUZZ_CHECK(fd >= 0 && sample->file_count <= SAMPLE_FILES && strlen(name) < sizeof file->name);
    memcpy(file->name, name, strlen(name) + 1);
    n = read(fd, file->data, sizeof file->data);
    FUZZ_CHECK(n >= 0 && n < (ssize_t)sizeof file->data);
    file->len = (size_t)n;
    close(fd);
}

/* So that an input means the same wherever it runs. */
static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct sample_file *)a)->name, ((const struct sample_file *)b)->name);
}

struct hashing {
    unsigned kinds;
    uint64_t sum;
};

static void hash_one(void *arg, const char *name)
{
    static const char *const ends[] = {".log", ".batches", ".index", ".timeindex"};
    static uint8_t bytes[2 * SAMPLE_FILE_BYTES];
    struct hashing *hashing = arg;

    for (unsigned kind = 0; kind < SEGMENT_FILES; kind++) {
        const char *end = strchr(name, '.');

        if ((hashing->kinds & 1u << kind) != 0 && end != NULL && strcmp(end, ends[kind]) == 0) {
            int fd = openat(log_dirfd(), name, O_RDONLY | O_CLOEXEC);
            ssize_t n = read(fd, bytes, sizeof bytes);
            uint64_t crc = crc32c(crc32c(0, name, strlen(name)), bytes, n > 0 ? (size_t)n : 0);

            close(fd);
            hashing->sum += crc * UINT64_C(0x9e3779b97f4a7c15); /* in whatever order they are listed */
        }
    }
}

uint64_t sample_hash(unsigned kinds)
{
    struct hashing hashing = {.kinds = kinds};

    list(hash_one, &hashing);
    return hashing.sum;
}

int sample_open(const struct sample *sample, const struct log_known *known, struct log **out, struct err *e)
{
    return log_open(&env, "t-0", &sample->config, known, out, NULL, e);
}

/* ---- making them ---- */

/* Appends records as one batch with a time of its own. */
static void append(struct sample *sample, struct log *log, int64_t at_ms, const char *bytes, size_t len)
{
    struct framing_state state = {0};
    struct framing_result result;
    struct framing_mark marks[16];
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    struct append_batch batch = {.iov = &iov,
                                 .iovcnt = 1,
                                 .len = (uint32_t)len,
                                 .first_timestamp_ms = at_ms,
                                 .last_timestamp_ms = at_ms,
                                 .producer_id = -1,
                                 .sequence = -1,
                                 .marks = marks};
    struct log_append_result appended;

    FUZZ_CHECK(framing_scan(sample->config.framing, &state, (const uint8_t *)bytes, len, UINT64_MAX, &result,
                            &batch.crc, (uint32_t)sample->config.index_interval_bytes, marks, &batch.mark_count,
                            16) == 0);
    FUZZ_CHECK(result.end == len);
    batch.records = result.records;
    FUZZ_CHECK(log_append(log, &batch, 0, &appended, NULL) == 0);
    memcpy(sample->content + sample->end.position, bytes, len);
    for (size_t at = 0; at < len;) {
        size_t record = framing_record_len(sample->config.framing, (const uint8_t *)bytes + at, len - at);

        FUZZ_CHECK(record > 0 && sample->record_count < SAMPLE_RECORDS);
        sample->records[sample->record_count++] = (struct sample_record){sample->end, record, at_ms};
        sample->end.offset++;
        sample->end.position += (int64_t)record;
        at += record;
    }
}

static void append_text(struct sample *sample, struct log *log, int64_t at_ms, const char *text)
{
    append(sample, log, at_ms, text, strlen(text));
}

static void make_lines(struct sample *sample, struct log *log)
{
    append_text(sample, log, 1000, "one\ntwo\nthree\n");
    append_text(sample, log, 3000, "a line that is longer than the interval of the index, by far\n");
    append_text(sample, log, 2000, "\n\nshort\n");
    FUZZ_CHECK(log_roll(log, NULL) == 0);
    append_text(sample, log, 2500, "the second segment\nhas an earlier time\n");
    append_text(sample, log, 4000, "four\nfour and a half\nfour and three quarters\n");
    append_text(sample, log, 4000, "the same time\n");
    FUZZ_CHECK(log_roll(log, NULL) == 0);
    append_text(sample, log, 6000, "the third\n");
    append_text(sample, log, 5000, "goes back\nas well\n");
    append_text(sample, log, 7000, "and ends here, with a line that is once more longer than the interval\nend\n");
}

static void make_msgpack(struct sample *sample, struct log *log)
{
#define BYTES(literal) literal, sizeof(literal) - 1
    append(sample, log, 1000, BYTES("\x93\x01\xa3one\xc0\x01\x02\x81\xa1k\x90"));
    append(sample, log, 2000, BYTES("\xd9\x14twenty bytes of text\x92\xa1k\xc0"));
    FUZZ_CHECK(log_roll(log, NULL) == 0);
    append(sample, log, 3000, BYTES("\xdc\x00\x10\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"));
    append(sample, log, 4000, BYTES("\xc4\x03\n\n\n\xcb\x00\x00\x00\x00\x00\x00\x00\x00"));
}

static void make_compacted(struct sample *sample, struct log *log)
{
    static const _Atomic bool stop;

    append_text(sample, log, 1000, "a=1\nb=1\nc=1\n");
    append_text(sample, log, 2000, "a=2\nno key\nd=1\n");
    append_text(sample, log, 3000, "b=2\nb=3\nc=\n");
    FUZZ_CHECK(log_roll(log, NULL) == 0);
    append_text(sample, log, 4000, "a=3\ne=1\n");
    FUZZ_CHECK(log_roll(log, NULL) == 0);
    FUZZ_CHECK(log_compact(log, log_end(log), &stop, NULL) == 1);
    append_text(sample, log, 5000, "f=1\na=4\n");
}

/* One batch as another replica has it, behind a hole of so many records of three bytes. */
static void copy(struct sample *sample, struct log *log, int64_t hole, int32_t sequence, const char *text)
{
    struct log_append_result appended;
    struct log_copy copy = {.bytes = text};

    sample->end.offset += hole;
    sample->end.position += 3 * hole;
    copy.base = sample->end;
    copy.entry = (struct batch_entry){.len = (uint32_t)strlen(text),
                                      .leader_epoch = 1,
                                      .first_timestamp_ms = 8000,
                                      .last_timestamp_ms = 8000,
                                      .producer_id = sequence < 0 ? -1 : 7,
                                      .sequence = sequence,
                                      .crc = crc32c(0, text, strlen(text))};
    for (const char *c = text; *c != '\0'; c = strchr(c, '\n') + 1) {
        size_t record = (size_t)(strchr(c, '\n') + 1 - c);

        FUZZ_CHECK(sample->record_count < SAMPLE_RECORDS);
        memcpy(sample->content + sample->end.position, c, record);
        sample->records[sample->record_count++] = (struct sample_record){sample->end, record, 8000};
        sample->end.offset++;
        sample->end.position += (int64_t)record;
        copy.entry.records++;
    }
    FUZZ_CHECK(log_append_copy(log, 1, &copy, 1, &appended, NULL) == 1);
}

/* Forgets the records from one on, and cuts the log there. */
static void cut(struct sample *sample, struct log *log, size_t keep)
{
    sample->record_count = keep;
    sample->end = sample->records[keep - 1].point;
    sample->end.offset++;
    sample->end.position += (int64_t)sample->records[keep - 1].len;
    FUZZ_CHECK(log_truncate(log, 1, sample->end, NULL) == 0);
}

static void make_cut(struct sample *sample, struct log *log)
{
    struct log_file file;
    int fd;

    append_text(sample, log, 1000, "one\ntwo\n");
    append_text(sample, log, 2000, "three\nfour\n");
    append_text(sample, log, 3000, "five\n");
    FUZZ_CHECK(log_file_find(log, 0, SEGMENT_LOG, log_end(log), &file, NULL) == 0);
    FUZZ_CHECK(log_file_open(log, &file, &fd, NULL) == 0);
    close(fd);
    FUZZ_CHECK(log_follow(log, 1, NULL) == 0);
    cut(sample, log, 4);
    copy(sample, log, 5, 40, "a producer's\nthree\nlines\n");
    copy(sample, log, 0, -1, "nobody's, and longer than the interval of the index by some bytes\n");
    copy(sample, log, 20, 43, "a wide hole before\n");
    FUZZ_CHECK(log_roll(log, NULL) == 0);
    copy(sample, log, 0, 44, "in another segment\n");
    copy(sample, log, 2, 45, "to be cut in place\n");
    cut(sample, log, sample->record_count - 1);
    copy(sample, log, 3, 45, "the last\n");
}

static void make(struct sample *sample, enum sample_kind kind)
{
    static void (*const makers[])(struct sample *, struct log *) = {make_lines, make_msgpack, make_compacted, make_cut};
    struct log_known known = {.clean_shutdown = true};
    struct log *log;

    sample->config = (struct log_config){
        .retention_ms = -1,
        .retention_bytes = -1,
        .segment_bytes = 1 << 20,
        .segment_ms = INT64_MAX,
        .segment_index_bytes = 240,
        .index_interval_bytes = 16,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
        .max_compaction_lag_ms = INT64_MAX,
        .cleanup_policy = kind == SAMPLE_COMPACTED ? CLEANUP_COMPACT : CLEANUP_DELETE,
        .framing = kind == SAMPLE_MSGPACK ? FRAMING_MSGPACK : FRAMING_LINE,
        .key_separator = "=",
        .key_separator_len = 1,
    };
    sample_lay_out(NULL, 0);
    FUZZ_CHECK(sample_open(sample, &known, &log, NULL) == 0);
    FUZZ_CHECK(log_lead(log, 0, NULL) == 0);
    makers[kind](sample, log);
    FUZZ_CHECK(log_close(log, NULL) == 0);
    list(read_one, sample);
    qsort(sample->files, sample->file_count, sizeof sample->files[0], by_name);
}

const struct sample *sample_get(enum sample_kind kind)
{
    if (topics_dirfd < 0) {
        set_up();
        for (int i = 0; i < SAMPLE_KINDS; i++) {
            make(&samples[i], (enum sample_kind)i);
        }
    }
    return &samples[kind];
}
