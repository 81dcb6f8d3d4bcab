/* engine/base/err.h: why something failed, in words.
 *
 * A function that can fail returns 0 (or a count) or a negative errno, and writes the reason into its trailing
 * `struct err *`. Each layer that passes a failure up may put its own words in front ("open orders-0: segment 345:
 * bad magic"). It is logged once, at the top. A NULL err is allowed everywhere and means that nobody will read it. */
#ifndef LOGMNT_ENGINE_BASE_ERR_H
#define LOGMNT_ENGINE_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

enum { ERR_TEXT_BYTES = 512 };

struct err {
    char text[ERR_TEXT_BYTES]; /* always NUL-terminated; "" when nothing was set */
};

/* Replaces the text. Returns rc, so that `return err_set(e, -EINVAL, "…")` reads well. */
int err_set(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "fmt: " in front of the text (which may be empty). Returns rc. */
int err_wrap(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Sets "fmt: strerror(-rc)". Returns rc. */
int err_sys(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Whose fault a failure is.
 *
 * Passing: no room (-ENOSPC, -EDQUOT), no descriptor (-EMFILE, -ENFILE), no memory (-ENOMEM). Nobody's: the disk is as
 * good as before, what was begun is taken back, and the same call may succeed a moment later. All else that a disk's
 * calls return is the disk's. Not to be asked about fsync(2): whatever that returns, pages may be gone (fsyncgate). */
bool err_is_passing(int rc);
bool err_is_full_disk(int rc); /* the first two of them: deleting helps */

/* The log of the daemon: one line an event. Level is a syslog(3) level. Before log_sink_set() lines go to stderr.
 * Any thread, no lock. */
void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_sink_set(void (*sink)(int level, const char *line));
/* A sink. */
void log_to_stderr(int level, const char *line);

#endif
