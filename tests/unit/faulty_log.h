/* tests/unit/faulty_log.h: the log of a test program, on a disk that can be made to fail. */
#ifndef LOGMNT_TESTS_UNIT_FAULTY_LOG_H
#define LOGMNT_TESTS_UNIT_FAULTY_LOG_H

#include "tests/unit/faulty_io.h"
#include "tests/unit/log_fixture.h"

static struct log_fixture f;
static struct faulty_io faulty;

/* A directory and an environment, and no log yet. */
static inline void faulty_log_init(void)
{
    log_fixture_init(&f);
    faulty_io_init(&faulty);
    f.io = &faulty.io;
}

static inline int teardown(void **state)
{
    (void)state;
    faulty_io_disarm(&faulty);
    log_fixture_destroy(&f);
    return 0;
}

#endif
