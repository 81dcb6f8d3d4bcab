/* tests/unit/compact_fixture.h: a compacted log on a directory of its own, and the words of the stories about it. For
 * one test program each: the log is a static here. */
#ifndef LOGMNT_TESTS_UNIT_COMPACT_FIXTURE_H
#define LOGMNT_TESTS_UNIT_COMPACT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/log/log.h"
#include "tests/unit/log_fixture.h"

static struct log_fixture f;

static inline int setup(void **state)
{
    (void)state;
    log_fixture_init(&f);
    f.config.cleanup_policy = CLEANUP_COMPACT;
    f.config.min_cleanable_dirty_ratio = 0;
    f.config.key_separator[0] = '=';
    f.config.key_separator_len = 1;
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    log_fixture_destroy(&f);
    return 0;
}

static inline int compact(void)
{
    return log_compact(f.log, log_end(f.log), NULL, &f.e);
}

static inline void roll(void)
{
    assert_int_equal(log_roll(f.log, &f.e), 0);
}

static inline void expect_bytes(const char *want)
{
    size_t len;
    char *got = log_fixture_read(&f, &len);

    assert_string_equal(got, want);
    free(got);
}

static inline void expect_point(int64_t position, int64_t offset, int64_t at)
{
    struct log_point got;

    assert_int_equal(log_lookup_position(f.log, position, log_end(f.log), &got, &f.e), 0);
    assert_int_equal(got.offset, offset);
    assert_int_equal(got.position, at);
}

#endif
