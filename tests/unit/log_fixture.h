/* tests/unit/log_fixture.h: one log in a directory of its own, with a clock that the test turns. */
#ifndef LOGMNT_TESTS_LOG_FIXTURE_H
#define LOGMNT_TESTS_LOG_FIXTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/recover/log_open.h"

struct log_fixture {
    char path[64]; /* the directory that is DATA/topics */
    struct clock clock;
    _Atomic int64_t now_ms;
    struct io *io;   /* what the log uses: `posix` unless a test sets another before log_fixture_open() */
    struct io posix; /* the system's, but for syncs, which cost time and change nothing that a test here sees */
    struct log_env env;
    struct log_config config;
    struct log *log;
    int32_t epoch; /* that it is led in */
    struct err e;
    _Atomic int reports; /* calls of on_offline */
    char report[512];    /* the last one's reason */
};

/* A directory and Kafka's defaults; no log yet. */
void log_fixture_init(struct log_fixture *f);
/* Closes the log if it is open, and removes everything. */
void log_fixture_destroy(struct log_fixture *f);

/* Opens "t-0"; the test fails if that does. known may be NULL: nothing is known, the shutdown was clean. */
void log_fixture_open(struct log_fixture *f, const struct log_known *known);
/* Leads in the latest epoch there is, or in 0, or in the first one behind that in which it followed. Opening and
 * appending here do it, too. */
void log_fixture_lead(struct log_fixture *f);
/* Closes it and opens it again, as after a clean stop, or as after a crash that lost nothing. */
void log_fixture_reopen(struct log_fixture *f, bool clean);

/* Appends complete records as one batch with the clock's time; the test fails if that does. */
struct log_append_result log_fixture_append(struct log_fixture *f, const char *records);
struct log_append_result log_fixture_append_bytes(struct log_fixture *f, const void *records, size_t len);

/* Everything that a reader from position 0 up to the log's end gets, malloc-ed and NUL-terminated. */
char *log_fixture_read(struct log_fixture *f, size_t *len);

uint32_t log_fixture_segments(struct log_fixture *f);
/* How many files with this suffix are in the log's directory. */
int log_fixture_count_files(struct log_fixture *f, const char *suffix);
/* Takes a file of the log away, as by hand. */
void log_fixture_unlink(struct log_fixture *f, int64_t base_offset, enum segment_file kind);
/* Flips a bit of a file of the log. */
void log_fixture_damage(struct log_fixture *f, int64_t base_offset, enum segment_file kind, int64_t at);

#endif
