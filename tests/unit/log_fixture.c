/* tests/unit/log_fixture.c: see the header. Every step that is not what is tested asserts that it works. */
#include "tests/unit/log_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/crc32c.h"
#include "engine/base/limits.h"
#include "tests/unit/scratch.h"

static struct log_fixture *of_clock(struct clock *clock)
{
    return (struct log_fixture *)((char *)clock - offsetof(struct log_fixture, clock));
}

static int64_t now_ms(struct clock *clock)
{
    return atomic_load(&of_clock(clock)->now_ms);
}

static void note_report(void *arg, const char *name, const char *reason)
{
    struct log_fixture *f = arg;

    assert_string_equal(name, "t-0");
    atomic_fetch_add(&f->reports, 1);
    snprintf(f->report, sizeof f->report, "%s", reason);
}

static int no_sync(struct io *io, int fd)
{
    (void)io;
    (void)fd;
    return 0;
}

void log_fixture_init(struct log_fixture *f)
{
    memset(f, 0, sizeof *f);
    scratch_make(f->path, sizeof f->path, "log");
    f->clock = (struct clock){.wall_ms = now_ms, .mono_ms = now_ms};
    atomic_init(&f->now_ms, 1700000000000);
    f->posix = *io_posix();
    f->posix.fdatasync = no_sync;
    f->posix.fsync = no_sync;
    f->io = &f->posix;
    f->env = (struct log_env){.clock = &f->clock, .on_offline = note_report, .arg = f};
    atomic_init(&f->env.check_crcs, true);
    f->env.topics_dirfd = open(f->path, O_RDONLY | O_DIRECTORY);
    assert_true(f->env.topics_dirfd >= 0);
    f->config = (struct log_config){
        .retention_ms = 604800000,
        .retention_bytes = -1,
        .segment_bytes = 1 << 30,
        .segment_ms = 604800000,
        .segment_index_bytes = 10 << 20,
        .index_interval_bytes = 4096,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
        .delete_retention_ms = 86400000,
        .min_compaction_lag_ms = 0,
        .max_compaction_lag_ms = INT64_MAX,
        .min_cleanable_dirty_ratio = 0.5,
        .cleanup_policy = CLEANUP_DELETE,
        .framing = FRAMING_LINE,
    };
}

void log_fixture_destroy(struct log_fixture *f)
{
    char command[128];

    if (f->log != NULL) {
        log_close(f->log, NULL);
    }
    if (f->env.cache != NULL) {
        segment_cache_free(f->env.cache);
    }
    close(f->env.topics_dirfd);
    snprintf(command, sizeof command, "rm -rf %s", f->path);
    assert_int_equal(system(command), 0);
}

void log_fixture_open(struct log_fixture *f, const struct log_known *known)
{
    struct log_known nothing = {.clean_shutdown = true};

    f->env.io = f->io;
    if (f->env.cache == NULL) {
        f->env.cache = segment_cache_new(f->io, 4);
    }
    assert_non_null(f->env.cache);
    if (log_open(&f->env, "t-0", &f->config, known != NULL ? known : &nothing, &f->log, NULL, &f->e) != 0) {
        fail_msg("%s", f->e.text);
    }
    log_fixture_lead(f);
}

void log_fixture_lead(struct log_fixture *f)
{
    int32_t latest = log_latest_epoch(f->log);

    int rc;

    f->epoch = latest < 0 ? 0 : latest;
    while ((rc = log_lead(f->log, f->epoch, &f->e)) == -ESTALE) {
        f->epoch++;
    }
    if (rc != 0) {
        fail_msg("%s", f->e.text);
    }
}

void log_fixture_reopen(struct log_fixture *f, bool clean)
{
    struct log_known known = {
        .recovery_point = clean ? log_recovery_point(f->log) : 0,
        .start = log_start(f->log),
        .cleaner_offset = log_cleaner_offset(f->log),
        .clean_shutdown = clean,
    };

    assert_int_equal(log_close(f->log, &f->e), 0);
    f->log = NULL;
    log_fixture_open(f, &known);
}

struct log_append_result log_fixture_append(struct log_fixture *f, const char *records)
{
    return log_fixture_append_bytes(f, records, strlen(records));
}

struct log_append_result log_fixture_append_bytes(struct log_fixture *f, const void *records, size_t len)
{
    struct framing_mark marks[LIMIT_BATCH_MARKS];
    struct framing_state st = {0};
    struct framing_result scanned;
    struct iovec iov = {(void *)(uintptr_t)records, len};
    struct log_append_result result;
    struct append_batch batch = {
        .iov = &iov,
        .iovcnt = 1,
        .len = (uint32_t)len,
        .first_timestamp_ms = atomic_load(&f->now_ms),
        .last_timestamp_ms = atomic_load(&f->now_ms),
        .producer_id = -1,
        .sequence = -1,
        .producer_epoch = -1,
        .marks = marks,
    };
    struct err e = {""};
    int rc;

    assert_int_equal(framing_scan(f->config.framing, &st, records, len, UINT64_MAX, &scanned, &batch.crc,
                                  (uint32_t)f->config.index_interval_bytes, marks, &batch.mark_count,
                                  LIMIT_BATCH_MARKS),
                     0);
    assert_int_equal(scanned.end, len);
    batch.records = scanned.records;
    rc = log_append(f->log, &batch, f->epoch, &result, &e);
    if (rc == -ESTALE) { /* it has followed since; of threads that append side by side none has */
        log_fixture_lead(f);
        rc = log_append(f->log, &batch, f->epoch, &result, &e);
    }
    if (rc != 0) {
        fail_msg("%s", e.text);
    }
    return result;
}

char *log_fixture_read(struct log_fixture *f, size_t *len)
{
    int64_t end = log_end(f->log).position;
    struct log_extent extent;
    int64_t position = 0;
    char *bytes = malloc(1);
    int rc;

    assert_non_null(bytes);
    *len = 0;
    while ((rc = log_extent_at(f->log, position, end, 1 << 20, &extent, &f->e)) > 0) {
        bytes = realloc(bytes, *len + extent.len + 1);
        assert_non_null(bytes);
        assert_int_equal(pread(extent.fd, bytes + *len, extent.len, extent.place), extent.len);
        *len += extent.len;
        position = extent.position + (int64_t)extent.len;
        log_extent_release(&extent);
    }
    if (rc < 0) {
        fail_msg("%s", f->e.text);
    }
    bytes[*len] = '\0';
    return bytes;
}

uint32_t log_fixture_segments(struct log_fixture *f)
{
    struct log_size size;

    log_size(f->log, &size);
    return size.segments;
}

int log_fixture_count_files(struct log_fixture *f, const char *suffix)
{
    char path[128];
    struct dirent *entry;
    int count = 0;
    DIR *dir;

    snprintf(path, sizeof path, "%s/t-0", f->path);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);

        count += len >= strlen(suffix) && strcmp(entry->d_name + len - strlen(suffix), suffix) == 0;
    }
    closedir(dir);
    return count;
}

static void path_of(const struct log_fixture *f, int64_t base_offset, enum segment_file kind, char out[128])
{
    char name[40];

    log_file_name(base_offset, kind, name);
    snprintf(out, 128, "%s/t-0/%s", f->path, name);
}

void log_fixture_unlink(struct log_fixture *f, int64_t base_offset, enum segment_file kind)
{
    char path[128];

    path_of(f, base_offset, kind, path);
    assert_int_equal(unlink(path), 0);
}

void log_fixture_damage(struct log_fixture *f, int64_t base_offset, enum segment_file kind, int64_t at)
{
    char path[128];
    uint8_t byte;
    int fd;

    path_of(f, base_offset, kind, path);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}
