/* tests/unit/test_log_model.c: random operations on a log, compared with an array of records.
 *
 * The seed is printed; `LOGMNT_SEED=n build/tests/test_log_model` runs that one alone. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/log_fixture.h"

enum { RECORDS_MAX = 60000, BYTES_MAX = 16 << 20, SEEDS = 40, STEPS = 160 };

struct record {
    int64_t position;
    int64_t timestamp_ms;
    uint32_t len;
    bool begins_batch;
};

static struct model {
    struct record records[RECORDS_MAX];
    char bytes[BYTES_MAX];
    int64_t count;
    int64_t end_position;
    int64_t start; /* offset */
    int64_t flushed;
    int64_t noted; /* a recovery point as a checkpoint has it, from some time ago … */
    uint32_t noted_cuts;
} model;

static struct log_fixture f;

static long pick(long n)
{
    return random() % n;
}

static int64_t position_of(int64_t offset)
{
    return offset < model.count ? model.records[offset].position : model.end_position;
}

static struct log_point point_of(int64_t offset)
{
    return (struct log_point){.offset = offset, .position = position_of(offset)};
}

/* A high watermark: the end, or now and then some batch's start above the log start. */
static struct log_point pick_limit(void)
{
    int64_t offset = model.count;

    if (pick(4) == 0 && model.count > model.start) {
        offset = model.start + pick(model.count - model.start + 1);
        while (offset < model.count && !model.records[offset].begins_batch) {
            offset++;
        }
    }
    return point_of(offset);
}

static void expect_point(const char *what, int64_t asked, struct log_point got, struct log_point want)
{
    if (got.offset != want.offset || got.position != want.position) {
        fail_msg("%s %lld: offset %lld, position %lld; the model says %lld, %lld", what, (long long)asked,
                 (long long)got.offset, (long long)got.position, (long long)want.offset, (long long)want.position);
    }
}

/* ---- operations ---- */

static void append(void)
{
    static char batch[256 << 10];
    int64_t records = 1 + pick(pick(8) == 0 ? 400 : 8);
    size_t len = 0;
    int64_t i;

    if (model.count + records > RECORDS_MAX || model.end_position + (int64_t)sizeof batch > BYTES_MAX) {
        return;
    }
    /* Mostly forwards, now and then the same or back. */
    if (pick(3) != 0) {
        f.now_ms += pick(10) == 0 ? -pick(5000) : pick(1000);
    }
    for (i = 0; i < records; i++) {
        size_t bytes = (size_t)(pick(200) == 0 ? pick(30000) : pick(120));
        struct record *record = &model.records[model.count + i];

        if (len + bytes + 1 > sizeof batch) {
            bytes = 0;
        }
        if (len + 1 > sizeof batch) {
            break;
        }
        memset(batch + len, 'a' + (int)pick(26), bytes);
        batch[len + bytes] = '\n';
        *record = (struct record){.position = model.end_position + (int64_t)len,
                                  .timestamp_ms = f.now_ms,
                                  .len = (uint32_t)bytes + 1,
                                  .begins_batch = i == 0};
        len += bytes + 1;
    }
    struct log_append_result result = log_fixture_append_bytes(&f, batch, len);

    assert_int_equal(result.base.offset, model.count);
    assert_int_equal(result.base.position, model.end_position);
    memcpy(model.bytes + model.end_position, batch, len);
    model.count += i;
    model.end_position += (int64_t)len;
    assert_int_equal(result.end.offset, model.count);
    assert_int_equal(result.end.position, model.end_position);
}

static void delete_front(void)
{
    int64_t offset = model.start + pick(model.count - model.start + 1) / 4;

    assert_int_equal(log_delete_records(f.log, point_of(offset), &f.e), 0);
    model.start = offset > model.start ? offset : model.start;
}

static void flush(void)
{
    assert_int_equal(log_flush_all(f.log), 0);
    assert_int_equal(log_recovery_point(f.log), model.count);
    model.flushed = model.count;
}

/* Any point from the start on, also within a batch, which goes as a whole; also below what was flushed. */
static void cut(void)
{
    int64_t left = model.count - model.start, to;
    int32_t epoch = log_latest_epoch(f.log) + 1;

    to = model.count - (pick(3) == 0 ? pick(left + 1) : pick(left < 20 ? left + 1 : 20));
    while (log_follow(f.log, epoch, &f.e) != 0) {
        epoch++;
    }
    if (log_truncate(f.log, epoch, point_of(to), &f.e) != 0) {
        fail_msg("%s", f.e.text);
    }
    while (to < model.count && to > model.start && !model.records[to].begins_batch) {
        to--;
    }
    model.count = to;
    model.end_position = log_end(f.log).position;
    assert_int_equal(log_end(f.log).offset, model.count);
    assert_true(to == 0 || model.end_position == model.records[to - 1].position + model.records[to - 1].len);
    assert_true(log_recovery_point(f.log) <= model.count);
    /* What was cut was synced, and the rest is when the log is closed. */
    model.flushed = model.count;
}

/* Everything goes: it begins anew at its end, so that offsets stay those of the model. */
static void reset(void)
{
    int32_t epoch = log_latest_epoch(f.log) + 1;

    while (log_follow(f.log, epoch, &f.e) != 0) {
        epoch++;
    }
    if (log_reset(f.log, epoch, point_of(model.count), -1, &f.e) != 0) {
        fail_msg("%s", f.e.text);
    }
    model.start = model.flushed = model.count;
}

static void note(void)
{
    model.noted_cuts = log_cuts(f.log);
    model.noted = log_recovery_point(f.log);
}

static void change_config(void)
{
    f.config.index_interval_bytes = 1 + pick(1500);
    f.config.segment_bytes = 4000 + pick(100000);
    f.config.segment_index_bytes = pick(3) == 0 ? 200 : 100000;
    log_set_config(f.log, &f.config);
}

static void file_path(int64_t base_offset, enum segment_file kind, char *path, size_t bytes)
{
    char name[40];

    log_file_name(base_offset, kind, name);
    snprintf(path, bytes, "%s/t-0/%s", f.path, name);
}

/* What a crash or a careless hand does to the indexes of any segment. */
static void spoil_index(const struct log_file *file)
{
    static const uint8_t zeros[4096];
    char path[160];
    int fd;

    file_path(file->base_offset, file->kind, path, sizeof path);
    if (pick(3) == 0) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    if (file->size < 16) {
        return;
    }
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    if (pick(2) == 0) {
        assert_int_equal(ftruncate(fd, pick(file->size)), 0);
    } else {
        /* Sectors tear, and their ends are multiples of 8. */
        int64_t at = pick(file->size) / 8 * 8;
        size_t len = (size_t)(file->size - at < 4096 ? file->size - at : 4096);

        assert_int_equal(pwrite(fd, zeros, len, at), len);
    }
    close(fd);
}

/* Cuts or tears the last segment's files above what was flushed. Returns true if records may be gone. */
static bool tear(const struct log_file *log_bytes, const struct log_file *batches)
{
    const struct log_file *file = pick(2) == 0 ? log_bytes : batches;
    int64_t from = 0;
    char path[160];
    int fd;

    if (log_bytes->base_offset < model.flushed) {
        int64_t flushed_bytes = position_of(model.flushed) - position_of(log_bytes->base_offset);
        int64_t flushed_batches = 0;

        for (int64_t i = log_bytes->base_offset; i < model.flushed; i++) {
            flushed_batches += model.records[i].begins_batch;
        }
        from = file == log_bytes ? flushed_bytes : 64 + 64 * flushed_batches;
    } else if (file == batches) {
        from = 64;
    }
    if (file->size <= from) {
        return false;
    }
    file_path(file->base_offset, file->kind, path, sizeof path);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    from += pick(file->size - from);
    if (pick(2) == 0) {
        assert_int_equal(ftruncate(fd, from), 0);
    } else {
        uint8_t byte;

        assert_int_equal(pread(fd, &byte, 1, from), 1);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, from), 1);
    }
    close(fd);
    return true;
}

/* After a crash: the log is a prefix of the model, at a batch's end, with everything that was flushed. */
static void expect_prefix(void)
{
    struct log_point end = log_end(f.log);

    assert_true(end.offset >= model.flushed && end.offset <= model.count);
    assert_int_equal(end.position, position_of(end.offset));
    /* Where all that was shown is lost it begins anew at the start, which may lie within a batch. */
    assert_true(end.offset == model.count || model.records[end.offset].begins_batch ||
                end.offset == log_start(f.log).offset);
    model.count = end.offset;
    model.end_position = end.position;
    model.start = model.start < model.count ? model.start : model.count;
}

static void reopen(bool clean)
{
    struct log_known known = {
        .recovery_point = clean ? model.count : model.flushed,
        .recovery_cuts = log_cuts(f.log),
        .start = log_start(f.log),
        .start_cuts = log_cuts(f.log),
        .clean_shutdown = clean,
    };
    struct log_file *files;
    size_t count;
    struct log_size before, after;
    bool recovered;

    assert_int_equal(log_files(f.log, log_end(f.log), &files, &count, &f.e), 0);
    log_size(f.log, &before);
    if (!clean && pick(2) == 0) {
        known.recovery_point = model.noted;
        known.recovery_cuts = model.noted_cuts;
    }
    assert_int_equal(log_close(f.log, &f.e), 0);
    f.log = NULL;
    bool torn = !clean && pick(2) == 0 && tear(&files[count - 4], &files[count - 3]);

    for (size_t i = 0; i < count && !clean; i++) {
        /* Indexes of trusted segments are believed unless they are plainly wrong, so only those are spoiled that an
         * unclean stop makes suspect. */
        bool suspect = i + 4 >= count || files[i + 4].base_offset >= model.flushed;

        if (suspect && (files[i].kind == SEGMENT_INDEX || files[i].kind == SEGMENT_TIMEINDEX) && pick(4) == 0) {
            spoil_index(&files[i]);
        }
    }
    if (log_open(&f.env, "t-0", &f.config, &known, &f.log, &recovered, &f.e) != 0) {
        fail_msg("%s", f.e.text);
    }
    assert_int_equal(recovered, !clean);
    if (!torn) {
        assert_int_equal(log_end(f.log).offset, model.count);
    }
    expect_prefix();
    log_size(f.log, &after);
    assert_true(torn || after.retained_bytes == before.retained_bytes);
    /* Opening twice gives the same. */
    if (torn) {
        known.start = log_start(f.log);
        known.start_cuts = log_cuts(f.log);
        assert_int_equal(log_close(f.log, &f.e), 0);
        assert_int_equal(log_open(&f.env, "t-0", &f.config, &known, &f.log, NULL, &f.e), 0);
        assert_int_equal(log_end(f.log).offset, model.count);
    }
    if (clean) {
        model.flushed = model.count;
    }
    free(files);
}

/* ---- questions ---- */

static void ask_offset(void)
{
    struct log_point limit = pick_limit();
    struct log_point got;
    int64_t offset = pick(model.count + 20) - 10;
    int64_t want = offset > model.start ? offset : model.start;

    assert_int_equal(log_lookup_offset(f.log, offset, limit, &got, &f.e), 0);
    expect_point("offset", offset, got, point_of(want < limit.offset ? want : limit.offset));
}

static void ask_position(void)
{
    struct log_point limit = pick_limit();
    struct log_point got;
    int64_t position = pick(model.end_position + 200) - 100;
    int64_t want = model.start;

    while (want < limit.offset && model.records[want].position + model.records[want].len <= position) {
        want++;
    }
    assert_int_equal(log_lookup_position(f.log, position, limit, &got, &f.e), 0);
    expect_point("position", position, got, point_of(want));
}

static void ask_time(void)
{
    struct log_point limit = pick_limit();
    struct log_point got;
    int64_t ms = f.now_ms - 3000 + pick(4000);
    int64_t want = model.start;

    if (model.count > 0) {
        ms = model.records[pick(model.count)].timestamp_ms + pick(3) - 1;
    }
    while (want < limit.offset && model.records[want].timestamp_ms < ms) {
        want++;
    }
    assert_int_equal(log_lookup_time(f.log, ms, limit, &got, &f.e), 0);
    expect_point("time", ms, got, point_of(want));
}

static void ask_last(void)
{
    struct log_point limit = pick_limit();
    struct log_point got;
    int64_t n = pick(model.count + 10);
    int64_t want = limit.offset - n > model.start ? limit.offset - n : model.start;

    assert_int_equal(log_lookup_last(f.log, n, limit, &got, &f.e), 0);
    expect_point("last", n, got, point_of(want < limit.offset ? want : limit.offset));
}

static void ask_extent(void)
{
    static char buf[1 << 20];
    int64_t limit = pick_limit().position;
    int64_t position = pick(model.end_position + 10);
    size_t max = 1 + (size_t)pick(sizeof buf);
    int64_t want = position > position_of(model.start) ? position : position_of(model.start);
    struct log_extent extent;
    int rc = log_extent_at(f.log, position, limit, max, &extent, &f.e);

    if (rc < 0) {
        fail_msg("%s", f.e.text);
    }
    assert_int_equal(rc, want < limit);
    if (rc == 1) {
        assert_int_equal(extent.position, want);
        assert_true(extent.len > 0 && extent.len <= max && extent.position + (int64_t)extent.len <= limit);
        assert_int_equal(pread(extent.fd, buf, extent.len, extent.place), extent.len);
        assert_memory_equal(buf, model.bytes + want, extent.len);
        log_extent_release(&extent);
    }
}

static void ask_run(void)
{
    int64_t position = pick(model.end_position + 10);
    int64_t want = position > position_of(model.start) ? position : position_of(model.start);
    struct log_run run;
    int rc = log_run_at(f.log, position, model.end_position, &run, &f.e);
    int64_t i;

    assert_int_equal(rc, want < model.end_position);
    if (rc != 1) {
        return;
    }
    assert_true(run.base.position <= want && want < run.base.position + run.len);
    assert_int_equal(position_of(run.base.offset), run.base.position);
    assert_int_equal(position_of(run.base.offset + run.records), run.base.position + run.len);
    for (i = 0; i < run.records; i++) {
        assert_int_equal(model.records[run.base.offset + i].begins_batch, i == 0);
        assert_int_equal(model.records[run.base.offset + i].timestamp_ms, run.timestamp_ms);
    }
}

static void ask_size(void)
{
    struct log_size size;
    struct log_file *files;
    size_t count;
    int64_t disk_bytes = 0;

    assert_int_equal(log_start(f.log).offset, model.start);
    assert_int_equal(log_end(f.log).offset, model.count);
    log_size(f.log, &size);
    assert_int_equal(size.retained_bytes, model.end_position - position_of(model.start));
    assert_int_equal(log_files(f.log, log_end(f.log), &files, &count, &f.e), 0);
    assert_int_equal(count, 4 * size.segments);
    for (size_t i = 0; i < count; i++) {
        disk_bytes += files[i].size;
    }
    assert_int_equal(size.disk_bytes, disk_bytes);
    free(files);
}

static void ask(void)
{
    for (int i = 0; i < 6; i++) {
        ask_offset();
        ask_position();
        ask_time();
        ask_last();
        ask_extent();
        ask_run();
    }
    ask_size();
}

static void step(void)
{
    long what = pick(100);

    if (what < 52) {
        append();
    } else if (what < 56) {
        cut();
    } else if (what < 57) {
        reset();
    } else if (what < 60) {
        note();
    } else if (what < 68) {
        flush();
    } else if (what < 74) {
        assert_int_equal(log_roll(f.log, &f.e), 0);
    } else if (what < 80) {
        change_config();
    } else if (what < 84) {
        delete_front();
    } else if (what < 92) {
        reopen(true);
    } else {
        reopen(false);
    }
}

static void run(unsigned seed)
{
    printf("seed %u\n", seed);
    fflush(stdout);
    srandom(seed);
    model.count = 0;
    model.end_position = 0;
    model.start = 0;
    model.flushed = 0;
    model.noted = 0;
    model.noted_cuts = 0;
    log_fixture_init(&f);
    f.config.segment_bytes = 20000;
    f.config.index_interval_bytes = 200;
    log_fixture_open(&f, NULL);
    for (int i = 0; i < STEPS; i++) {
        step();
        ask();
    }
    log_fixture_destroy(&f);
}

static void a_random_run_agrees_with_the_model(void **state)
{
    const char *chosen = getenv("LOGMNT_SEED");

    (void)state;
    if (chosen != NULL) {
        run((unsigned)strtoul(chosen, NULL, 10));
        return;
    }
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_random_run_agrees_with_the_model),
    };

    return cmocka_run_group_tests_name("log_model", tests, NULL, NULL);
}
