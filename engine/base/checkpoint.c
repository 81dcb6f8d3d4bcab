/* engine/base/checkpoint.c: reads and replaces the checkpoint files.
 *
 * A line is "NAME OFFSET POSITION". Reading parses all of it or refuses the file by name; writing replaces it as a
 * whole (engine/base/seal.h). */
#include "engine/base/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/seal.h"

static const char magic[] = "logmnt checkpoint 1";

static int by_name(const void *a, const void *b)
{
    const struct checkpoint_entry *left = a;
    const struct checkpoint_entry *right = b;

    return strcmp(left->name, right->name);
}

/* A decimal number up to the character `end`, and *at moved behind that. */
static bool parse_number(char **at, char end, int64_t *out)
{
    char *behind;

    if (**at != '-' && (**at < '0' || **at > '9')) {
        return false;
    }
    errno = 0;
    *out = strtoll(*at, &behind, 10);
    if (errno != 0 || behind == *at || *behind != end) {
        return false;
    }
    *at = behind + 1;
    return true;
}

static bool parse_line(char **at, struct checkpoint_entry *entry)
{
    char *space = strchr(*at, ' ');
    size_t len;

    if (space == NULL) {
        return false;
    }
    len = (size_t)(space - *at);
    if (len == 0 || len >= sizeof entry->name || memchr(*at, '\n', len) != NULL) {
        return false;
    }
    memset(entry->name, 0, sizeof entry->name);
    memcpy(entry->name, *at, len);
    *at = space + 1;
    return parse_number(at, ' ', &entry->offset) && parse_number(at, '\n', &entry->position);
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++) {
        lines++;
    }
    return lines;
}

/* Sorted, each name once. */
static bool parse(char *body, struct checkpoint_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!parse_line(&body, &entries[i])) {
            return false;
        }
    }
    qsort(entries, count, sizeof *entries, by_name);
    for (size_t i = 1; i < count; i++) {
        if (by_name(&entries[i - 1], &entries[i]) == 0) {
            return false;
        }
    }
    return *body == '\0';
}

int checkpoint_read(struct io *io, int dirfd, const char *file, struct checkpoint_entry **out, size_t *count,
                    struct err *e)
{
    char *body;
    size_t lines;
    int rc = seal_read(io, dirfd, file, magic, &body, e);

    *out = NULL;
    *count = 0;
    if (rc < 0) {
        return rc == -ENOENT ? err_set(e, 0, "%s", "") : rc;
    }
    lines = count_lines(body);
    *out = calloc(lines > 0 ? lines : 1, sizeof **out);
    if (*out == NULL) {
        rc = err_sys(e, -ENOMEM, "read %s", file);
    } else if (!parse(body, *out, lines)) {
        free(*out);
        *out = NULL;
        rc = err_set(e, -EBADMSG, "%s is damaged: it holds a line that is no checkpoint", file);
    } else {
        *count = lines;
    }
    free(body);
    return rc;
}

int checkpoint_write(struct io *io, int dirfd, const char *file, const struct checkpoint_entry *entries, size_t count,
                     struct err *e)
{
    struct seal_text body = {0};
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc =
            seal_printf(&body, "%s %" PRId64 " %" PRId64 "\n", entries[i].name, entries[i].offset, entries[i].position);
    }
    if (rc < 0) {
        err_sys(e, rc, "write %s", file);
    } else {
        rc = seal_write(io, dirfd, file, magic, &body, e);
    }
    free(body.text);
    return rc;
}

const struct checkpoint_entry *checkpoint_find(const struct checkpoint_entry *entries, size_t count, const char *name)
{
    size_t low = 0;
    size_t high = count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(entries[mid].name, name);

        if (order == 0) {
            return &entries[mid];
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}
