/* Retention and DeleteRecords: Kafka's rules on whole segments, and a random run against a naive list of records. */
#include "engine/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/log_fixture.h"

static struct log_fixture f;

static int setup(void **state)
{
    (void)state;
    log_fixture_init(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_fixture_destroy(&f);
    return 0;
}

static void expect_bytes(const char *want)
{
    size_t len;
    char *got = log_fixture_read(&f, &len);

    assert_string_equal(got, want);
    free(got);
}

static int retain(void)
{
    return log_retain(f.log, log_end(f.log), &f.e);
}

/* Three closed segments of ten bytes an hour apart, and an active one. */
static void open_with_segments(void)
{
    log_fixture_open(&f, NULL);
    for (int i = 0; i < 4; i++) {
        char line[32];

        snprintf(line, sizeof line, "segment %d\n", i);
        log_fixture_append(&f, line);
        if (i < 3) {
            assert_int_equal(log_roll(f.log, &f.e), 0);
        }
        f.now_ms += 3600000;
    }
    f.now_ms -= 3600000;
    assert_int_equal(log_fixture_segments(&f), 4);
}

static void young_segments_stay(void **state)
{
    (void)state;
    f.config.retention_ms = INT64_C(3) * 3600000;
    open_with_segments();
    assert_int_equal(retain(), 0);
    expect_bytes("segment 0\nsegment 1\nsegment 2\nsegment 3\n");
}

static void old_segments_go_by_their_last_record(void **state)
{
    (void)state;
    f.config.retention_ms = 2 * 3600000 - 1;
    open_with_segments();
    assert_int_equal(retain(), 2);
    expect_bytes("segment 2\nsegment 3\n");
    assert_int_equal(log_start(f.log).offset, 2);
    assert_int_equal(log_start(f.log).position, 20);
    assert_int_equal(log_fixture_count_files(&f, ".log"), 2);
    assert_int_equal(log_fixture_count_files(&f, ".deleted"), 0);
    assert_int_equal(retain(), 0);
}

static void exactly_retention_ms_old_is_kept(void **state)
{
    (void)state;
    f.config.retention_ms = INT64_C(3) * 3600000;
    open_with_segments();
    assert_int_equal(retain(), 0);
    f.now_ms++;
    assert_int_equal(retain(), 1);
}

static void an_idle_log_expires_too(void **state)
{
    struct log_append_result r;

    (void)state;
    f.config.retention_ms = 3600000;
    open_with_segments();
    f.now_ms += 3600001;
    assert_int_equal(retain(), 4);
    expect_bytes("");
    assert_int_equal(log_start(f.log).offset, 4);
    assert_int_equal(log_fixture_segments(&f), 1);
    assert_int_equal(retain(), 0);
    r = log_fixture_append(&f, "more\n");
    assert_int_equal(r.base.offset, 4);
    assert_int_equal(r.base.position, 40);
    log_fixture_reopen(&f, false);
    expect_bytes("more\n");
    assert_int_equal(log_start(f.log).offset, 4);
}

/* The clock of these tests is another one than that of the files. */
static void the_last_append_is_known_when_its_record_is_gone(void **state)
{
    int64_t last_ms;

    (void)state;
    f.config.retention_ms = 3600000;
    open_with_segments();
    last_ms = f.now_ms;
    assert_int_equal(log_last_append_ms(f.log), last_ms);
    f.now_ms += 3600001;
    assert_int_equal(retain(), 4);
    assert_int_equal(log_last_append_ms(f.log), last_ms);
    log_fixture_reopen(&f, true);
    assert_int_equal(log_last_append_ms(f.log), last_ms);
    log_fixture_reopen(&f, false);
    assert_int_equal(log_last_append_ms(f.log), last_ms);
    f.now_ms += 1000;
    log_fixture_append(&f, "more\n");
    assert_int_equal(log_last_append_ms(f.log), f.now_ms);
}

static void nothing_above_the_high_watermark_goes(void **state)
{
    (void)state;
    f.config.retention_ms = 1;
    open_with_segments();
    f.now_ms += 3600000;
    assert_int_equal(log_retain(f.log, (struct log_point){1, 10}, &f.e), 1);
    assert_int_equal(log_retain(f.log, (struct log_point){3, 30}, &f.e), 2);
    assert_int_equal(log_retain(f.log, (struct log_point){3, 30}, &f.e), 0);
    expect_bytes("segment 3\n");
}

/* Kafka: while size - segment >= retention.bytes. 40 bytes in four segments of 10. */
static void by_size(void **state)
{
    static const struct {
        int64_t retention_bytes;
        int deleted;
    } cases[] = {{40, 0}, {31, 0}, {30, 1}, {25, 1}, {20, 2}, {10, 3}, {9, 3}, {1, 3}, {0, 4}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f.config.retention_bytes = cases[i].retention_bytes;
        open_with_segments();
        assert_int_equal(retain(), cases[i].deleted);
        log_fixture_destroy(&f);
        log_fixture_init(&f);
    }
}

static void a_new_setting_works_at_once(void **state)
{
    (void)state;
    open_with_segments();
    assert_int_equal(retain(), 0);
    f.config.retention_ms = 1;
    log_set_config(f.log, &f.config);
    assert_int_equal(retain(), 3);
    expect_bytes("segment 3\n");
}

static void a_compacted_topic_keeps_what_is_old(void **state)
{
    (void)state;
    f.config.cleanup_policy = CLEANUP_COMPACT;
    f.config.retention_ms = 1;
    f.config.retention_bytes = 1;
    open_with_segments();
    f.now_ms += 3600000;
    assert_int_equal(retain(), 0);
    assert_int_equal(log_delete_records(f.log, (struct log_point){2, 20}, &f.e), 0);
    expect_bytes("segment 2\nsegment 3\n");
}

static void segment_ms_rolls_an_idle_segment(void **state)
{
    (void)state;
    f.config.segment_ms = 1000;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "a\n");
    f.now_ms += 1000;
    assert_int_equal(retain(), 0);
    assert_int_equal(log_fixture_segments(&f), 1);
    f.now_ms += 1;
    assert_int_equal(retain(), 0);
    assert_int_equal(log_fixture_segments(&f), 2);
    f.now_ms += 5000;
    assert_int_equal(retain(), 0);
    assert_int_equal(log_fixture_segments(&f), 2);
    expect_bytes("a\n");
}

static void delete_records_moves_the_start(void **state)
{
    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\ntwo\nthree\n");
    assert_int_equal(log_delete_records(f.log, (struct log_point){1, 4}, &f.e), 0);
    expect_bytes("two\nthree\n");
    assert_int_equal(log_start(f.log).offset, 1);
    assert_int_equal(log_start(f.log).position, 4);
    /* Below the start: nothing. */
    assert_int_equal(log_delete_records(f.log, (struct log_point){0, 0}, &f.e), 0);
    assert_int_equal(log_start(f.log).offset, 1);
    /* Behind the end: refused. */
    assert_int_equal(log_delete_records(f.log, (struct log_point){4, 15}, &f.e), -EINVAL);
    expect_bytes("two\nthree\n");
    log_fixture_reopen(&f, false);
    expect_bytes("two\nthree\n");
}

/* Replicas take whole batches; one that lost all has to begin with the batch that holds the log start. */
static void a_run_within_which_the_log_starts_is_still_there_as_a_whole(void **state)
{
    struct log_run run;
    struct log_extent extent;
    char bytes[16] = "";

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\ntwo\nthree\n");
    assert_int_equal(log_delete_records(f.log, (struct log_point){1, 4}, &f.e), 0);
    assert_int_equal(log_run_at(f.log, 4, INT64_MAX, &run, &f.e), 1);
    assert_int_equal(run.base.offset, 0);
    assert_int_equal(log_run_extent_at(f.log, &run, 0, &extent, &f.e), 1);
    assert_int_equal(extent.position, 0);
    assert_int_equal(extent.len, 14);
    assert_int_equal(log_extent_read(&extent, bytes, &f.e), 0);
    assert_string_equal(bytes, "one\ntwo\nthree\n");
    log_extent_release(&extent);
}

static void delete_records_takes_whole_files(void **state)
{
    struct log_size size;

    (void)state;
    open_with_segments();
    assert_int_equal(log_delete_records(f.log, (struct log_point){2, 20}, &f.e), 0);
    assert_int_equal(log_fixture_count_files(&f, ".log"), 2);
    expect_bytes("segment 2\nsegment 3\n");
    /* All there is: the active segment's file goes as well. */
    assert_int_equal(log_delete_records(f.log, log_end(f.log), &f.e), 0);
    expect_bytes("");
    log_size(f.log, &size);
    assert_int_equal(size.retained_bytes, 0);
    assert_int_equal(size.segments, 1);
    assert_int_equal(log_start(f.log).offset, 4);
    assert_int_equal(log_fixture_append(&f, "more\n").base.position, 40);
    expect_bytes("more\n");
}

static void size_counts_what_is_shown(void **state)
{
    struct log_size size;

    (void)state;
    log_fixture_open(&f, NULL);
    log_fixture_append(&f, "one\ntwo\nthree\n");
    assert_int_equal(log_delete_records(f.log, (struct log_point){1, 4}, &f.e), 0);
    log_size(f.log, &size);
    assert_int_equal(size.retained_bytes, 10);
}

static int no_room(struct io *io, int dirfd, const char *name, int flags, mode_t mode)
{
    if ((flags & O_CREAT) != 0) {
        return -ENOSPC;
    }
    return io_posix()->open(io, dirfd, name, flags, mode);
}

static void a_full_disk_can_be_emptied(void **state)
{
    static struct io io;

    (void)state;
    io = f.posix;
    f.io = &io;
    open_with_segments();
    io.open = no_room;
    assert_int_equal(log_delete_records(f.log, log_end(f.log), &f.e), 0);
    expect_bytes("");
    assert_int_equal(log_fixture_count_files(&f, ".log"), 1);
    assert_int_equal(log_offline(f.log), 0);
    /* With room again, the rest follows. */
    io = f.posix;
    assert_int_equal(retain(), 1);
    assert_int_equal(log_fixture_count_files(&f, ".log"), 1);
    assert_int_equal(log_fixture_segments(&f), 1);
    assert_int_equal(log_fixture_append(&f, "more\n").base.offset, 4);
}

/* What is to go may have gone already, by whatever hand. */
static void a_file_that_is_gone_is_no_failure(void **state)
{
    (void)state;
    for (int kind = 0; kind < SEGMENT_FILES; kind++) {
        f.config.retention_ms = 2 * 3600000 - 1;
        open_with_segments();
        log_fixture_unlink(&f, kind % 2, (enum segment_file)kind);
        assert_int_equal(retain(), 2);
        expect_bytes("segment 2\nsegment 3\n");
        assert_int_equal(log_offline(f.log), 0);
        log_fixture_unlink(&f, 2, (enum segment_file)kind);
        assert_int_equal(log_delete_records(f.log, (struct log_point){3, 30}, &f.e), 0);
        assert_int_equal(log_offline(f.log), 0);
        expect_bytes("segment 3\n");
        log_fixture_reopen(&f, false);
        expect_bytes("segment 3\n");
        assert_int_equal(log_fixture_count_files(&f, ".log"), 1);
        teardown(NULL);
        setup(NULL);
    }
}

static int no_memory_names; /* renames and unlinks that find no memory */

static int rename_without_memory(struct io *io, int from_dirfd, const char *from, int to_dirfd, const char *to)
{
    return no_memory_names-- > 0 ? -ENOMEM : io_posix()->rename(io, from_dirfd, from, to_dirfd, to);
}

static int unlink_without_memory(struct io *io, int dirfd, const char *name, int flags)
{
    return no_memory_names-- > 0 ? -ENOMEM : io_posix()->unlink(io, dirfd, name, flags);
}

/* The records are gone all the same; the files go one after the other, from the first on, with a later look or after
 * the next open: never one behind another that has to stay. */
static void deletion_without_memory(void **state)
{
    static struct io io;

    (void)state;
    for (int refused = 1; refused < 40; refused++) {
        io = f.posix;
        f.io = &io;
        open_with_segments();
        io.rename = rename_without_memory;
        io.unlink = unlink_without_memory;
        no_memory_names = refused;
        assert_int_equal(log_delete_records(f.log, log_end(f.log), &f.e), 0);
        expect_bytes("");
        assert_int_equal(log_offline(f.log), 0);
        assert_int_equal(log_fixture_append(&f, "more\n").base.offset, 4);
        if (refused % 3 > 0) {
            no_memory_names = refused % 3 == 1 ? 0 : no_memory_names;
            (void)retain();
        }
        no_memory_names = 0;
        log_fixture_reopen(&f, refused % 2 == 0);
        expect_bytes("more\n");
        assert_true(retain() >= 0);
        expect_bytes("more\n");
        assert_int_equal(log_fixture_count_files(&f, ".log"), 1);
        assert_int_equal(log_fixture_count_files(&f, ".deleted"), 0);
        teardown(NULL);
        setup(NULL);
    }
}

/* ---- against a naive model ---- */

enum { MODEL_MAX = 4000 };

struct model_record {
    int64_t position;
    int64_t timestamp_ms;
    int segment;
    char text[24];
};

static struct model_record model[MODEL_MAX];
static int model_count;
static int model_start;
static int model_segment; /* number of the active one */

static void model_append(void)
{
    char text[24 * 8];
    size_t len = 0;
    int records = 1 + (int)(random() % 8);
    int64_t position = log_end(f.log).position;
    struct log_append_result r;

    for (int i = 0; i < records; i++) {
        struct model_record *m = &model[model_count + i];

        snprintf(m->text, sizeof m->text, "%d:%0*ld\n", model_count + i, 1 + (int)(random() % 9), random() % 9);
        m->position = position;
        m->timestamp_ms = f.now_ms;
        m->segment = model_segment;
        position += (int64_t)strlen(m->text);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s", m->text);
    }
    r = log_fixture_append_bytes(&f, text, len);
    assert_int_equal(r.base.offset, model_count);
    assert_int_equal(r.base.position, model[model_count].position);
    model_count += records;
}

static bool model_active_is_empty(void)
{
    return model_count == 0 || model[model_count - 1].segment != model_segment;
}

static void model_roll(void)
{
    assert_int_equal(log_roll(f.log, &f.e), 0);
    model_segment += !model_active_is_empty();
}

/* Records stay until all of their segment has expired, and all before it. */
static void model_retain(void)
{
    int64_t ms = 1 + random() % 5000;
    int first = model_start;
    int deleted;

    f.config.retention_ms = ms;
    log_set_config(f.log, &f.config);
    while (first < model_count) {
        int64_t latest = 0;
        int next = first;

        while (next < model_count && model[next].segment == model[first].segment) {
            latest = model[next].timestamp_ms;
            next++;
        }
        if (f.now_ms - latest <= ms) {
            break;
        }
        first = next;
    }
    deleted = retain();
    if (deleted < 0) {
        fail_msg("%s", f.e.text);
    }
    if (first == model_count) {
        model_segment += !model_active_is_empty();
    }
    model_start = first;
}

static void model_delete(void)
{
    int to = model_start + (int)(random() % (model_count - model_start + 1));
    struct log_point point = {to, to < model_count ? model[to].position : log_end(f.log).position};

    if (random() % 4 != 0) {
        /* Rarely all. */
        to = model_start + (to - model_start) / 4;
        point = (struct log_point){to, to < model_count ? model[to].position : log_end(f.log).position};
    }
    assert_int_equal(log_delete_records(f.log, point, &f.e), 0);
    if (to == model_count && to > model_start) {
        model_segment += !model_active_is_empty();
    }
    model_start = to;
}

static void model_check(void)
{
    size_t len;
    char *got = log_fixture_read(&f, &len);
    size_t at = 0;
    struct log_size size;

    for (int i = model_start; i < model_count; i++) {
        size_t record_len = strlen(model[i].text);

        assert_true(at + record_len <= len);
        assert_memory_equal(got + at, model[i].text, record_len);
        at += record_len;
    }
    assert_int_equal(at, len);
    free(got);
    assert_int_equal(log_start(f.log).offset, model_start);
    assert_int_equal(log_start(f.log).position,
                     model_start < model_count ? model[model_start].position : log_end(f.log).position);
    log_size(f.log, &size);
    assert_int_equal(size.retained_bytes, len);
}

static void a_random_run_agrees_with_the_model(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 20; seed++) {
        printf("seed %u\n", seed);
        srandom(seed);
        model_count = model_start = model_segment = 0;
        log_fixture_open(&f, NULL);
        for (int step = 0; step < 200; step++) {
            long what = random() % 20;

            f.now_ms += random() % 200;
            if (what < 11) {
                model_append();
            } else if (what < 14) {
                model_roll();
            } else if (what < 16) {
                model_retain();
            } else if (what < 18) {
                model_delete();
            } else {
                log_fixture_reopen(&f, what == 18);
            }
            model_check();
        }
        log_fixture_destroy(&f);
        log_fixture_init(&f);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(young_segments_stay),
        TEST(old_segments_go_by_their_last_record),
        TEST(exactly_retention_ms_old_is_kept),
        TEST(an_idle_log_expires_too),
        TEST(the_last_append_is_known_when_its_record_is_gone),
        TEST(nothing_above_the_high_watermark_goes),
        TEST(by_size),
        TEST(a_new_setting_works_at_once),
        TEST(a_compacted_topic_keeps_what_is_old),
        TEST(segment_ms_rolls_an_idle_segment),
        TEST(delete_records_moves_the_start),
        TEST(a_run_within_which_the_log_starts_is_still_there_as_a_whole),
        TEST(delete_records_takes_whole_files),
        TEST(size_counts_what_is_shown),
        TEST(a_full_disk_can_be_emptied),
        TEST(a_file_that_is_gone_is_no_failure),
        TEST(deletion_without_memory),
        TEST(a_random_run_agrees_with_the_model),
    };

    return cmocka_run_group_tests_name("retain", tests, NULL, NULL);
}
