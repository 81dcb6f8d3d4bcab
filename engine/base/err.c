/* engine/base/err.c: reasons in words, and the daemon's log.
 *
 * Texts are cut at ERR_TEXT_BYTES, never refused: a reason that is too long is still a reason. The log keeps no state
 * but the sink; a line is formatted on the caller's stack, made one line, and handed over. */
#include "engine/base/err.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { LOG_LINE_BYTES = 1024 };

typedef void sink_fn(int level, const char *line);

void log_to_stderr(int level, const char *line)
{
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static _Atomic(sink_fn *) sink = log_to_stderr;

int err_set(struct err *e, int rc, const char *fmt, ...)
{
    va_list ap;

    if (e == NULL) {
        return rc;
    }
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return rc;
}

/* Writes "front: back" into e; either part may be cut. */
static void set_joined(struct err *e, const char *front, const char *back)
{
    size_t front_len = strlen(front);
    size_t back_len = strlen(back);

    memcpy(e->text, front, front_len + 1);
    if (back_len == 0 || front_len + 2 >= sizeof e->text) {
        return;
    }
    memcpy(e->text + front_len, ": ", 2);
    front_len += 2;
    if (back_len >= sizeof e->text - front_len) {
        back_len = sizeof e->text - front_len - 1;
    }
    memcpy(e->text + front_len, back, back_len);
    e->text[front_len + back_len] = '\0';
}

int err_wrap(struct err *e, int rc, const char *fmt, ...)
{
    char front[ERR_TEXT_BYTES];
    char back[ERR_TEXT_BYTES];
    va_list ap;

    if (e == NULL) {
        return rc;
    }
    memcpy(back, e->text, sizeof back);
    va_start(ap, fmt);
    vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    set_joined(e, front, back);
    return rc;
}

int err_sys(struct err *e, int rc, const char *fmt, ...)
{
    char front[ERR_TEXT_BYTES];
    char reason[128];
    va_list ap;

    if (e == NULL) {
        return rc;
    }
    va_start(ap, fmt);
    vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    set_joined(e, front, strerror_r(-rc, reason, sizeof reason));
    return rc;
}

bool err_is_full_disk(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT;
}

bool err_is_passing(int rc)
{
    return err_is_full_disk(rc) || rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

void log_line(int level, const char *fmt, ...)
{
    char line[LOG_LINE_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    /* One event is one line, whatever a name or a peer's text brought along. */
    for (char *c = line; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\r') {
            *c = ' ';
        }
    }
    atomic_load (&sink)(level, line);
}

void log_sink_set(void (*to)(int level, const char *line))
{
    atomic_store(&sink, to != NULL ? to : log_to_stderr);
}
