/* engine/base/seal.h: the form of the small text files: a first line that names the format, lines of text, and a last
 * line with the CRC-32C of all before it, so that a damaged one is refused and never half believed. */
#ifndef LOGMNT_ENGINE_BASE_SEAL_H
#define LOGMNT_ENGINE_BASE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"
#include "engine/base/io.h"

/* Text that grows. Zero-initialise; free(text) when done. */
struct seal_text {
    char *text;
    size_t len;
    size_t size;
};

/* 0 or -ENOMEM; what was there stays. */
int seal_printf(struct seal_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Replaces dirfd/name by magic line, body and CRC line, atomically and durably. */
int seal_write(struct io *io, int dirfd, const char *name, const char *magic, const struct seal_text *body,
               struct err *e);

/* Reads it. *body is malloc-ed: the lines between the first and the last, each with its newline, NUL-terminated; the
 * caller frees it. -ENOENT: no file; -EBADMSG: magic or CRC do not hold; *body is NULL then. */
int seal_read(struct io *io, int dirfd, const char *name, const char *magic, char **body, struct err *e);

/* A decimal number, min to max, up to the character `end`, and *at moved behind that. false: there is none. */
bool seal_number(const char **at, char end, int64_t min, int64_t max, int64_t *out);

#endif
