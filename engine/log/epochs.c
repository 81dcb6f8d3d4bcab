/* engine/log/epochs.c: the two lists, and their file: Kafka's LeaderEpochFileCache, and the cuts.
 *
 * The file is sealed (engine/base/seal.h). Version 2 has lines "epoch EPOCH OFFSET POSITION" and "cut NUMBER OFFSET
 * POSITION"; version 1 had "EPOCH OFFSET". A failure to store it leaves the old one. */
#include "engine/log/epochs.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/seal.h"

static const char magic[] = "logmnt leader-epochs 2";
static const char magic_1[] = "logmnt leader-epochs 1";
static const char file_name[] = "leader-epochs";

/* ---- the file ---- */

static bool is_rising(const struct epochs *epochs)
{
    for (uint32_t i = 1; i < epochs->count; i++) {
        const struct epochs_entry *a = &epochs->entries[i - 1], *b = &epochs->entries[i];

        if (b->epoch <= a->epoch || b->start.offset <= a->start.offset) {
            return false;
        }
    }
    for (uint32_t i = 1; i < epochs->cut_count; i++) {
        const struct epochs_cut *a = &epochs->cuts[i - 1], *b = &epochs->cuts[i];

        if (b->number <= a->number || b->to.offset <= a->to.offset) {
            return false;
        }
    }
    return true;
}

int epochs_store(struct io *io, int dirfd, const struct epochs *epochs, struct err *e)
{
    struct seal_text body = {0};
    int rc = 0;

    assert(is_rising(epochs)); /* REPLICATION.md, rule 2 */
    for (uint32_t i = 0; i < epochs->count && rc == 0; i++) {
        const struct epochs_entry *entry = &epochs->entries[i];

        rc = seal_printf(&body, "epoch %" PRId32 " %" PRId64 " %" PRId64 "\n", entry->epoch, entry->start.offset,
                         entry->start.position);
    }
    for (uint32_t i = 0; i < epochs->cut_count && rc == 0; i++) {
        const struct epochs_cut *cut = &epochs->cuts[i];

        rc = seal_printf(&body, "cut %" PRIu32 " %" PRId64 " %" PRId64 "\n", cut->number, cut->to.offset,
                         cut->to.position);
    }
    if (rc < 0) {
        err_sys(e, rc, "write %s", file_name);
    } else {
        rc = seal_write(io, dirfd, file_name, magic, &body, e);
    }
    free(body.text);
    return rc;
}

static bool parse_point(const char **at, struct log_point *out)
{
    return seal_number(at, ' ', 0, INT64_MAX, &out->offset) && seal_number(at, '\n', -1, INT64_MAX, &out->position);
}

static bool parse_line(const char **at, bool first_version, struct epochs *epochs)
{
    struct log_point point = {.position = -1};
    int64_t number;

    if (first_version) {
        if (!seal_number(at, ' ', 0, INT32_MAX, &number) || !seal_number(at, '\n', 0, INT64_MAX, &point.offset)) {
            return false;
        }
        epochs->entries[epochs->count++] = (struct epochs_entry){(int32_t)number, point};
        return true;
    }
    if (strncmp(*at, "epoch ", 6) == 0) {
        *at += 6;
        if (!seal_number(at, ' ', 0, INT32_MAX, &number) || !parse_point(at, &point)) {
            return false;
        }
        epochs->entries[epochs->count++] = (struct epochs_entry){(int32_t)number, point};
        return true;
    }
    if (strncmp(*at, "cut ", 4) == 0) {
        *at += 4;
        if (!seal_number(at, ' ', 1, UINT32_MAX, &number) || !parse_point(at, &point) || point.position < 0) {
            return false;
        }
        epochs->cuts[epochs->cut_count++] = (struct epochs_cut){(uint32_t)number, point};
        return true;
    }
    return false;
}

static int parse(const char *body, bool first_version, struct epochs *epochs)
{
    size_t lines = 0;

    for (const char *c = body; (c = strchr(c, '\n')) != NULL; c++) {
        lines++;
    }
    epochs->entries = calloc(lines + 1, sizeof *epochs->entries);
    epochs->cuts = calloc(lines + 1, sizeof *epochs->cuts);
    if (epochs->entries == NULL || epochs->cuts == NULL) {
        return -ENOMEM;
    }
    while (lines-- > 0) {
        if (!parse_line(&body, first_version, epochs)) {
            return -EBADMSG;
        }
    }
    return *body == '\0' && is_rising(epochs) ? 0 : -EBADMSG;
}

int epochs_load(struct io *io, int dirfd, struct epochs *epochs, struct err *e)
{
    char *body;
    bool first_version = false;
    int rc = seal_read(io, dirfd, file_name, magic, &body, e);

    *epochs = (struct epochs){0};
    if (rc == -EBADMSG) {
        rc = seal_read(io, dirfd, file_name, magic_1, &body, e);
        first_version = true;
    }
    if (rc < 0) {
        return rc == -ENOENT ? err_set(e, 0, "%s", "") : rc;
    }
    rc = parse(body, first_version, epochs);
    free(body);
    if (rc == 0) {
        return err_set(e, 0, "%s", "");
    }
    epochs_free(epochs);
    return rc == -ENOMEM ? err_sys(e, rc, "read %s", file_name)
                         : err_set(e, rc, "%s is damaged: its epochs do not rise", file_name);
}

/* ---- in memory ---- */

void epochs_free(struct epochs *epochs)
{
    free(epochs->entries);
    free(epochs->cuts);
    *epochs = (struct epochs){0};
}

int epochs_copy(const struct epochs *from, struct epochs *to)
{
    *to = (struct epochs){.count = from->count, .cut_count = from->cut_count};
    to->entries = calloc((size_t)from->count + 1, sizeof *to->entries);
    to->cuts = calloc((size_t)from->cut_count + 1, sizeof *to->cuts);
    if (to->entries == NULL || to->cuts == NULL) {
        epochs_free(to);
        return -ENOMEM;
    }
    if (from->count > 0) {
        memcpy(to->entries, from->entries, from->count * sizeof *to->entries);
    }
    if (from->cut_count > 0) {
        memcpy(to->cuts, from->cuts, from->cut_count * sizeof *to->cuts);
    }
    return 0;
}

int32_t epochs_latest(const struct epochs *epochs)
{
    return epochs->count > 0 ? epochs->entries[epochs->count - 1].epoch : -1;
}

/* How many entries start below offset. */
static uint32_t count_below(const struct epochs *epochs, int64_t offset)
{
    uint32_t n = epochs->count;

    while (n > 0 && epochs->entries[n - 1].start.offset >= offset) {
        n--;
    }
    return n;
}

int epochs_assign(struct epochs *epochs, int32_t epoch, struct log_point start)
{
    uint32_t keep = count_below(epochs, start.offset);
    struct epochs_entry *grown;

    if (epoch <= epochs_latest(epochs)) {
        return 0;
    }
    grown = realloc(epochs->entries, ((size_t)epochs->count + 2) * sizeof *grown);
    if (grown == NULL) {
        return -ENOMEM;
    }
    epochs->entries = grown;
    epochs->entries[keep] = (struct epochs_entry){epoch, start};
    epochs->count = keep + 1;
    return 0;
}

struct log_point epochs_end(const struct epochs *epochs, int32_t epoch, struct log_point log_end, int32_t *found_epoch)
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
        return epochs->entries[higher].start;
    }
    return epochs->count > 0 && *found_epoch == epoch ? log_end : (struct log_point){-1, -1};
}

int32_t epochs_before(const struct epochs *epochs, int64_t offset)
{
    uint32_t n = count_below(epochs, offset);

    return n > 0 ? epochs->entries[n - 1].epoch : -1;
}

bool epochs_agree(const struct epochs *epochs, int64_t offset, int32_t epoch)
{
    uint32_t n = count_below(epochs, offset + 1);

    if (n > 0) {
        return epochs->entries[n - 1].epoch == epoch;
    }
    /* The first one known may have begun earlier: what lay before the log start was forgotten. */
    return epochs->count > 0 && epoch <= epochs->entries[0].epoch;
}

void epochs_truncate_end(struct epochs *epochs, int64_t end)
{
    epochs->count = count_below(epochs, end);
}

void epochs_truncate_start(struct epochs *epochs, struct log_point start)
{
    uint32_t below = count_below(epochs, start.offset);
    uint32_t from;

    if (below == 0) {
        return;
    }
    /* An entry right at start covers it; otherwise the last one below does, and now begins there. */
    from = below < epochs->count && epochs->entries[below].start.offset == start.offset ? below : below - 1;
    epochs->count -= from;
    memmove(epochs->entries, epochs->entries + from, epochs->count * sizeof *epochs->entries);
    epochs->entries[0].start = start;
}

/* ---- cuts ---- */

uint32_t epochs_cuts(const struct epochs *epochs)
{
    return epochs->cut_count > 0 ? epochs->cuts[epochs->cut_count - 1].number : 0;
}

int epochs_cut(struct epochs *epochs, struct log_point to)
{
    uint32_t number = epochs_cuts(epochs) + 1;
    struct epochs_cut *grown = realloc(epochs->cuts, ((size_t)epochs->cut_count + 2) * sizeof *grown);

    if (grown == NULL) {
        return -ENOMEM;
    }
    epochs->cuts = grown;
    /* Whoever has not seen an earlier one that ended here or further on has not seen this one either. */
    while (epochs->cut_count > 0 && epochs->cuts[epochs->cut_count - 1].to.offset >= to.offset) {
        epochs->cut_count--;
    }
    epochs->cuts[epochs->cut_count++] = (struct epochs_cut){number, to};
    epochs_truncate_end(epochs, to.offset);
    return 0;
}

struct log_point epochs_clip(const struct epochs *epochs, uint32_t cuts, struct log_point point)
{
    /* They end one behind the other, so the first one since then is the lowest. */
    for (uint32_t i = 0; i < epochs->cut_count; i++) {
        if (epochs->cuts[i].number > cuts) {
            return epochs->cuts[i].to.offset < point.offset ? epochs->cuts[i].to : point;
        }
    }
    return point;
}

void epochs_forget_cuts(struct epochs *epochs, int64_t base)
{
    uint32_t from = 0;

    while (from + 1 < epochs->cut_count && epochs->cuts[from + 1].to.offset <= base) {
        from++;
    }
    epochs->cut_count -= from;
    if (from > 0) {
        memmove(epochs->cuts, epochs->cuts + from, epochs->cut_count * sizeof *epochs->cuts);
    }
}
