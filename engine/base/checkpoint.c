/* engine/base/checkpoint.c: reads and replaces the checkpoint files.
 *
 * A line is "KEY OFFSET POSITION CUTS", of version 1 "NAME OFFSET POSITION". Reading parses all of it or refuses the
 * file by name; writing replaces it as a whole (engine/base/seal.h). */
#include "engine/base/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/seal.h"

static const char magic[] = "logmnt checkpoint 2";
static const char magic_1[] = "logmnt checkpoint 1";

static int by_key(const void *a, const void *b)
{
    const struct checkpoint_entry *left = a;
    const struct checkpoint_entry *right = b;

    return strcmp(left->key, right->key);
}

static bool parse_line(const char **at, bool first_version, struct checkpoint_entry *entry)
{
    char *space = strchr(*at, ' ');
    int64_t cuts = 0;
    size_t len;

    if (space == NULL) {
        return false;
    }
    len = (size_t)(space - *at);
    if (len == 0 || len >= sizeof entry->key || memchr(*at, '\n', len) != NULL) {
        return false;
    }
    memset(entry->key, 0, sizeof entry->key);
    memcpy(entry->key, *at, len);
    *at = space + 1;
    if (!seal_number(at, ' ', INT64_MIN, INT64_MAX, &entry->offset) ||
        !seal_number(at, first_version ? '\n' : ' ', INT64_MIN, INT64_MAX, &entry->position) ||
        (!first_version && !seal_number(at, '\n', 0, UINT32_MAX, &cuts))) {
        return false;
    }
    entry->cuts = (uint32_t)cuts;
    return true;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++) {
        lines++;
    }
    return lines;
}

/* Sorted, each key once. */
static bool parse(const char *body, bool first_version, struct checkpoint_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!parse_line(&body, first_version, &entries[i])) {
            return false;
        }
    }
    qsort(entries, count, sizeof *entries, by_key);
    for (size_t i = 1; i < count; i++) {
        if (by_key(&entries[i - 1], &entries[i]) == 0) {
            return false;
        }
    }
    return *body == '\0';
}

int checkpoint_read(struct io *io, int dirfd, const char *file, struct checkpoint_entry **out, size_t *count,
                    bool *by_name, struct err *e)
{
    char *body;
    size_t lines;
    int rc = seal_read(io, dirfd, file, magic, &body, e);

    *out = NULL;
    *count = 0;
    *by_name = rc == -EBADMSG;
    if (rc == -EBADMSG) {
        rc = seal_read(io, dirfd, file, magic_1, &body, e);
    }
    if (rc < 0) {
        return rc == -ENOENT ? err_set(e, 0, "%s", "") : rc;
    }
    lines = count_lines(body);
    *out = calloc(lines > 0 ? lines : 1, sizeof **out);
    if (*out == NULL) {
        rc = err_sys(e, -ENOMEM, "read %s", file);
    } else if (!parse(body, *by_name, *out, lines)) {
        free(*out);
        *out = NULL;
        rc = err_set(e, -EBADMSG, "%s is damaged: it holds a line that is no checkpoint", file);
    } else {
        err_set(e, 0, "%s", "");
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
        rc = seal_printf(&body, "%s %" PRId64 " %" PRId64 " %" PRIu32 "\n", entries[i].key, entries[i].offset,
                         entries[i].position, entries[i].cuts);
    }
    if (rc < 0) {
        err_sys(e, rc, "write %s", file);
    } else {
        rc = seal_write(io, dirfd, file, magic, &body, e);
    }
    free(body.text);
    return rc;
}

const struct checkpoint_entry *checkpoint_find(const struct checkpoint_entry *entries, size_t count, const char *key)
{
    size_t low = 0;
    size_t high = count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(entries[mid].key, key);

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
