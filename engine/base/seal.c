/* engine/base/seal.c: writes and checks sealed text files.
 *
 * The last line is "crc32c xxxxxxxx" over everything before it. A file is good only if it is exactly what would have
 * been written: the first line, then the body, then that line and nothing behind it. */
#include "engine/base/seal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "engine/base/limits.h"

enum { CRC_LINE_LEN = 16 }; /* "crc32c xxxxxxxx\n" */

static void crc_line(char out[CRC_LINE_LEN + 1], const char *text, size_t len)
{
    snprintf(out, CRC_LINE_LEN + 1, "crc32c %08x\n", crc32c(0, text, len));
}

static int reserve(struct seal_text *t, size_t more)
{
    size_t size = t->size > 0 ? t->size : 4096;
    char *text;

    while (size - t->len < more) {
        size *= 2;
    }
    if (size == t->size) {
        return 0;
    }
    text = realloc(t->text, size);
    if (text == NULL) {
        return -ENOMEM;
    }
    t->text = text;
    t->size = size;
    return 0;
}

int seal_printf(struct seal_text *t, const char *fmt, ...)
{
    char *more;
    va_list ap;
    int len;
    int rc;

    va_start(ap, fmt);
    len = vasprintf(&more, fmt, ap);
    va_end(ap);
    if (len < 0) {
        return -ENOMEM;
    }
    rc = reserve(t, (size_t)len + 1);
    if (rc == 0) {
        memcpy(t->text + t->len, more, (size_t)len + 1);
        t->len += (size_t)len;
    }
    free(more);
    return rc;
}

int seal_write(struct io *io, int dirfd, const char *name, const char *magic, const struct seal_text *body,
               struct err *e)
{
    struct seal_text whole = {0};
    char last[CRC_LINE_LEN + 1];
    int rc;

    rc = seal_printf(&whole, "%s\n%.*s", magic, (int)body->len, body->len > 0 ? body->text : "");
    if (rc == 0) {
        crc_line(last, whole.text, whole.len);
        rc = seal_printf(&whole, "%s", last);
    }
    if (rc < 0) {
        err_sys(e, rc, "write %s", name);
    } else {
        rc = io_replace_file(io, dirfd, name, whole.text, whole.len, e);
    }
    free(whole.text);
    return rc;
}

static bool is_sealed(const char *text, size_t len, const char *magic)
{
    size_t magic_len = strlen(magic);
    char last[CRC_LINE_LEN + 1];

    if (len < magic_len + 1 + CRC_LINE_LEN || memcmp(text, magic, magic_len) != 0 || text[magic_len] != '\n' ||
        memchr(text, '\0', len) != NULL) {
        return false;
    }
    crc_line(last, text, len - CRC_LINE_LEN);
    return memcmp(text + len - CRC_LINE_LEN, last, CRC_LINE_LEN) == 0 && text[len - CRC_LINE_LEN - 1] == '\n';
}

int seal_read(struct io *io, int dirfd, const char *name, const char *magic, char **body, struct err *e)
{
    size_t first_len = strlen(magic) + 1;
    size_t len;
    int rc = io_read_file(io, dirfd, name, LIMIT_SMALL_FILE_BYTES, body, &len, e);

    if (rc < 0) {
        return rc;
    }
    if (!is_sealed(*body, len, magic)) {
        free(*body);
        *body = NULL;
        return err_set(e, -EBADMSG, "%s is damaged: its first line or its CRC-32C does not hold", name);
    }
    (*body)[len - CRC_LINE_LEN] = '\0';
    memmove(*body, *body + first_len, len - CRC_LINE_LEN - first_len + 1);
    return 0;
}

bool seal_number(const char **at, char end, int64_t min, int64_t max, int64_t *out)
{
    char *behind;

    if (**at != '-' && (**at < '0' || **at > '9')) {
        return false;
    }
    errno = 0;
    *out = strtoll(*at, &behind, 10);
    if (errno != 0 || behind == *at || *behind != end || *out < min || *out > max) {
        return false;
    }
    *at = behind + 1;
    return true;
}
