/* tests/unit/cut_log.h: a log whose records have ten bytes each, and what is left of it when it was cut back or has
 * begun anew. */
#ifndef LOGMNT_TESTS_UNIT_CUT_LOG_H
#define LOGMNT_TESTS_UNIT_CUT_LOG_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/crc32c.h"
#include "engine/base/limits.h"
#include "tests/unit/faulty_log.h"

static int32_t follower_epoch;

static inline int setup(void **state)
{
    (void)state;
    faulty_log_init();
    f.config.index_interval_bytes = 20;
    log_fixture_open(&f, NULL);
    return 0;
}

static inline void follow(void)
{
    int rc;

    follower_epoch = log_latest_epoch(f.log) + 1;
    while ((rc = log_follow(f.log, follower_epoch, &f.e)) == -ESTALE) {
        follower_epoch++;
    }
    assert_int_equal(rc, 0);
}

static inline int truncate_to(int64_t offset, int64_t position)
{
    follow();
    return log_truncate(f.log, follower_epoch, (struct log_point){offset, position}, &f.e);
}

static inline void expect_truncate(int64_t offset, int64_t position)
{
    if (truncate_to(offset, position) != 0) {
        fail_msg("%s", f.e.text);
    }
}

static inline void expect_end(int64_t offset, int64_t position)
{
    assert_int_equal(log_end(f.log).offset, offset);
    assert_int_equal(log_end(f.log).position, position);
}

static inline void expect_bytes(const char *want)
{
    size_t len;
    char *got = log_fixture_read(&f, &len);

    assert_string_equal(got, want);
    free(got);
}

/* Opened again, by checkpoints that were written after `cuts` cuts. */
static inline void reopen_by(bool clean, int64_t recovery_point, uint32_t cuts)
{
    struct log_known known = {.recovery_point = recovery_point,
                              .recovery_cuts = cuts,
                              .start = log_start(f.log),
                              .start_cuts = log_cuts(f.log),
                              .clean_shutdown = clean};

    assert_int_equal(log_close(f.log, &f.e), 0);
    f.log = NULL;
    log_fixture_open(&f, &known);
}

/* ---- every point of logs of several shapes ---- */

enum { RECORDS = 24 };

/* Ten bytes each. */
static inline void text_of(int64_t offset, const char *what, char out[16])
{
    snprintf(out, 16, "%-6.6s%03d\n", what, (int)offset);
}

/* 24 records, in batches of so many, each a second later than the one before. */
static inline void append_records(int64_t from, int64_t to, int batch, const char *what)
{
    while (from < to) {
        char bytes[512] = "";

        for (int i = 0; i < batch && from < to; i++, from++) {
            text_of(from, what, bytes + strlen(bytes));
        }
        f.now_ms += 1000;
        log_fixture_append(&f, bytes);
    }
}

/* What was appended before `kept` is there, and then what was appended since, up to `end`. */
static inline void expect_records(int64_t start, int64_t kept, int64_t end)
{
    struct log_point got, limit = {end, end * 10};
    char want[RECORDS * 16] = "";

    for (int64_t i = start; i < end; i++) {
        text_of(i, i < kept ? "old" : "new", want + strlen(want));
    }
    expect_end(end, end * 10);
    expect_bytes(want);
    for (int64_t i = start; i <= end; i++) {
        assert_int_equal(log_lookup_offset(f.log, i, limit, &got, &f.e), 0);
        assert_int_equal(got.offset, i);
        assert_int_equal(got.position, i * 10);
        assert_int_equal(log_lookup_position(f.log, i * 10 + 9, limit, &got, &f.e), 0);
        assert_int_equal(got.offset, i);
        assert_int_equal(log_lookup_last(f.log, end - i, limit, &got, &f.e), 0);
        assert_int_equal(got.offset, i);
    }
    /* By time: a batch is found by the moment before it, and nothing behind the last one. */
    assert_int_equal(log_lookup_time(f.log, f.now_ms + 1, limit, &got, &f.e), 0);
    assert_int_equal(got.offset, end);
}

static inline void fresh_log(void)
{
    log_fixture_destroy(&f);
    log_fixture_init(&f);
    f.io = &faulty.io;
    f.config.index_interval_bytes = 20;
    log_fixture_open(&f, NULL);
}

#endif
