/* engine/log/epochs.c: Kafka's LeaderEpochFileCache.
 *
 * Every change makes the new list first, writes it to `leader-epochs` (engine/base/seal.h), and only then uses it; a
 * failure leaves file and memory as they were. A line is "EPOCH START_OFFSET", both rising. */
#include "engine/log/epochs.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/seal.h"

static const char magic[] = "logmnt leader-epochs 1";
static const char file_name[] = "leader-epochs";

static bool is_rising(const struct epochs_entry *entries, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        if (entries[i].epoch <= entries[i - 1].epoch || entries[i].start_offset <= entries[i - 1].start_offset) {
            return false;
        }
    }
    return true;
}

static int store(struct io *io, int dirfd, const struct epochs_entry *entries, uint32_t count, struct err *e)
{
    struct seal_text body = {0};
    int rc = 0;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = seal_printf(&body, "%" PRId32 " %" PRId64 "\n", entries[i].epoch, entries[i].start_offset);
    }
    if (rc < 0) {
        err_sys(e, rc, "write %s", file_name);
    } else {
        rc = seal_write(io, dirfd, file_name, magic, &body, e);
    }
    free(body.text);
    return rc;
}

/* Stores the list and, once it is on disk, makes it the one in memory. Takes entries over. */
static int replace(struct io *io, int dirfd, struct epochs *epochs, struct epochs_entry *entries, uint32_t count,
                   struct err *e)
{
    int rc;

    assert(is_rising(entries, count)); /* REPLICATION.md, rule 2 */
    rc = store(io, dirfd, entries, count, e);
    if (rc < 0) {
        free(entries);
        return rc;
    }
    free(epochs->entries);
    epochs->entries = entries;
    epochs->count = count;
    return 0;
}

/* A malloc-ed copy of entries[from …], with room for one more. */
static struct epochs_entry *copy(const struct epochs *epochs, uint32_t from, uint32_t count, struct err *e)
{
    struct epochs_entry *entries = calloc((size_t)count + 1, sizeof *entries);

    if (entries == NULL) {
        err_sys(e, -ENOMEM, "change %s", file_name);
    } else if (count > 0) {
        memcpy(entries, epochs->entries + from, count * sizeof *entries);
    }
    return entries;
}

static bool parse_line(const char **at, struct epochs_entry *entry)
{
    char *behind;
    long long epoch;

    errno = 0;
    epoch = strtoll(*at, &behind, 10);
    if (errno != 0 || behind == *at || *behind != ' ' || epoch < 0 || epoch > INT32_MAX) {
        return false;
    }
    entry->epoch = (int32_t)epoch;
    *at = behind + 1;
    entry->start_offset = strtoll(*at, &behind, 10);
    if (errno != 0 || behind == *at || *behind != '\n' || entry->start_offset < 0) {
        return false;
    }
    *at = behind + 1;
    return true;
}

static bool parse(const char *body, struct epochs *epochs)
{
    uint32_t max = 0;

    for (const char *c = body; (c = strchr(c, '\n')) != NULL; c++) {
        max++;
    }
    epochs->entries = calloc((size_t)max + 1, sizeof *epochs->entries);
    for (uint32_t i = 0; i < max && epochs->entries != NULL; i++) {
        struct epochs_entry *entry = &epochs->entries[i];

        if (!parse_line(&body, entry)) {
            return false;
        }
        epochs->count++;
    }
    return *body == '\0' && is_rising(epochs->entries, epochs->count);
}

int epochs_load(struct io *io, int dirfd, struct epochs *epochs, struct err *e)
{
    char *body;
    int rc = seal_read(io, dirfd, file_name, magic, &body, e);

    *epochs = (struct epochs){0};
    if (rc < 0) {
        return rc == -ENOENT ? err_set(e, 0, "%s", "") : rc;
    }
    if (!parse(body, epochs)) {
        rc = epochs->entries == NULL ? err_sys(e, -ENOMEM, "read %s", file_name)
                                     : err_set(e, -EBADMSG, "%s is damaged: its epochs do not rise", file_name);
        epochs_free(epochs);
    }
    free(body);
    return rc;
}

void epochs_free(struct epochs *epochs)
{
    free(epochs->entries);
    *epochs = (struct epochs){0};
}

int32_t epochs_latest(const struct epochs *epochs)
{
    return epochs->count > 0 ? epochs->entries[epochs->count - 1].epoch : -1;
}

/* How many entries start below offset. */
static uint32_t count_below(const struct epochs *epochs, int64_t offset)
{
    uint32_t n = epochs->count;

    while (n > 0 && epochs->entries[n - 1].start_offset >= offset) {
        n--;
    }
    return n;
}

int epochs_assign(struct io *io, int dirfd, struct epochs *epochs, int32_t epoch, int64_t start_offset, struct err *e)
{
    uint32_t keep = count_below(epochs, start_offset);
    struct epochs_entry *entries;

    if (epoch <= epochs_latest(epochs)) {
        return 0;
    }
    entries = copy(epochs, 0, keep, e);
    if (entries == NULL) {
        return -ENOMEM;
    }
    entries[keep] = (struct epochs_entry){epoch, start_offset};
    return replace(io, dirfd, epochs, entries, keep + 1, e);
}

int64_t epochs_end_offset(const struct epochs *epochs, int32_t epoch, int64_t log_end, int32_t *found_epoch)
{
    uint32_t higher = 0;

    *found_epoch = -1;
    while (higher < epochs->count && epochs->entries[higher].epoch <= epoch) {
        *found_epoch = epochs->entries[higher].epoch;
        higher++;
    }
    if (higher < epochs->count) {
        /* Below all that is known, Kafka answers with the epoch as asked: it ended where the first known one starts. */
        if (higher == 0) {
            *found_epoch = epoch;
        }
        return epochs->entries[higher].start_offset;
    }
    return epochs->count > 0 && *found_epoch == epoch ? log_end : -1;
}

int epochs_truncate_end(struct io *io, int dirfd, struct epochs *epochs, int64_t end, struct err *e)
{
    uint32_t keep = count_below(epochs, end);
    struct epochs_entry *entries;

    if (keep == epochs->count) {
        return 0;
    }
    entries = copy(epochs, 0, keep, e);
    return entries == NULL ? -ENOMEM : replace(io, dirfd, epochs, entries, keep, e);
}

int epochs_truncate_start(struct io *io, int dirfd, struct epochs *epochs, int64_t start, struct err *e)
{
    uint32_t below = count_below(epochs, start);
    uint32_t from;
    struct epochs_entry *entries;

    if (below == 0) {
        return 0;
    }
    /* An entry right at start covers it; otherwise the last one below does, and now begins there. */
    from = below < epochs->count && epochs->entries[below].start_offset == start ? below : below - 1;
    entries = copy(epochs, from, epochs->count - from, e);
    if (entries == NULL) {
        return -ENOMEM;
    }
    entries[0].start_offset = start;
    return replace(io, dirfd, epochs, entries, epochs->count - from, e);
}
