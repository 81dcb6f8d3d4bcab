/* engine/recover/recover_dir.c: the names in a log's directory, and what an interrupted swap or deletion left of them.
 *
 * How a crash can be told from each step of a swap (log_list.c):
 *   some `.cleaned`            the new segment was not complete: it goes, with its `.swap` if any
 *   `.swap`, no `.cleaned`     it was complete: the old files that it stands for go, then it gets its names
 * Of a cut (truncate.c) likewise from `.cutting` and `.<n>.cut`, n being the number of the last cut: others were not
 * decided, and go. What is behind the new segment does not follow it, and is dropped by recover.c. A base that lacks a
 * file which is there as `.truncated` was being taken out: the rest of it goes.
 * Of a deletion: a base that has a file only as `.deleted` was being deleted, and so was all before it,
 * unless a compacted segment further down stands for it (then it is left over from a swap). */
#include "engine/recover/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/log/log_internal.h"

enum { BATCHES_BIT = 1 << SEGMENT_BATCHES };

/* By who makes them. */
static const char *const made_suffix[RECOVER_BUILDERS] = {".cleaned", ".cutting"};

/* ---- listing ---- */

static struct recover_files *find_or_add(struct recover_dir *dir, int64_t base_offset)
{
    uint32_t i;

    for (i = dir->count; i > 0; i--) {
        if (dir->files[i - 1].base_offset == base_offset) {
            return &dir->files[i - 1];
        }
    }
    if (dir->count == dir->max) {
        uint32_t max = dir->max == 0 ? 16 : dir->max * 2;
        struct recover_files *grown = realloc(dir->files, max * sizeof *grown);

        if (grown == NULL) {
            return NULL;
        }
        dir->files = grown;
        dir->max = max;
    }
    dir->files[dir->count] = (struct recover_files){.base_offset = base_offset};
    return &dir->files[dir->count++];
}

static bool ends_in(const char *suffix, const char *ending)
{
    size_t len = strlen(suffix), ending_len = strlen(ending);

    return len >= ending_len && strcmp(suffix + len - ending_len, ending) == 0;
}

static bool is_deleted(const char *suffix)
{
    return ends_in(suffix, ".deleted");
}

static bool is_truncated(const char *suffix)
{
    return ends_in(suffix, ".truncated");
}

/* `.<n>.cut`, of whatever cut. */
static bool is_cut(const char *suffix)
{
    return ends_in(suffix, ".cut");
}

/* Notes one file under a suffix that is known. */
static void note(const struct recover_dir *dir, struct recover_files *files, enum segment_file kind, const char *suffix)
{
    if (*suffix == '\0') {
        files->present |= 1u << kind;
    } else if (is_deleted(suffix)) {
        files->deleted |= 1u << kind;
    } else if (is_truncated(suffix)) {
        files->truncated = true;
    } else if (is_cut(suffix) && strcmp(suffix, dir->complete_suffix[RECOVER_CUT]) != 0) {
        files->stale = true;
    }
    for (int by = 0; by < RECOVER_BUILDERS; by++) {
        if (strcmp(suffix, made_suffix[by]) == 0) {
            files->made[by] |= 1u << kind;
        } else if (strcmp(suffix, dir->complete_suffix[by]) == 0) {
            files->complete[by] |= 1u << kind;
        }
    }
}

static bool is_known(const char *suffix)
{
    for (int by = 0; by < RECOVER_BUILDERS; by++) {
        if (strcmp(suffix, made_suffix[by]) == 0) {
            return true;
        }
    }
    if (strcmp(suffix, ".swap") == 0 || is_cut(suffix)) {
        return true;
    }
    return *suffix == '\0' || is_deleted(suffix) || is_truncated(suffix);
}

static int each_name(void *arg, const char *name)
{
    struct recover_dir *dir = arg;
    struct recover_files *files;
    enum segment_file kind;
    const char *suffix;
    int64_t base_offset;

    if (!segment_name_parse(name, &base_offset, &kind, &suffix)) {
        return 0;
    }
    if (!is_known(suffix)) {
        return 0;
    }
    files = find_or_add(dir, base_offset);
    if (files == NULL) {
        return -ENOMEM;
    }
    note(dir, files, kind, suffix);
    return 0;
}

static int by_base(const void *a, const void *b)
{
    int64_t x = ((const struct recover_files *)a)->base_offset;
    int64_t y = ((const struct recover_files *)b)->base_offset;

    return x < y ? -1 : x > y;
}

/* ---- steps ---- */

static int sync_dir(struct log *log, struct err *e)
{
    int rc = log->env->io->fsync(log->env->io, log->dir.fd);

    return rc < 0 ? err_sys(e, rc, "fsync the directory") : 0;
}

static int unlink_kinds(struct log *log, int64_t base_offset, unsigned kinds, const char *suffix, struct err *e)
{
    char name[SEGMENT_NAME_BYTES];
    int i, rc;

    for (i = 0; i < SEGMENT_FILES; i++) {
        if ((kinds & 1u << i) == 0) {
            continue;
        }
        segment_name(base_offset, (enum segment_file)i, suffix, name);
        rc = log->env->io->unlink(log->env->io, log->dir.fd, name, 0);
        if (rc < 0 && rc != -ENOENT) {
            return err_sys(e, rc, "unlink %s", name);
        }
    }
    return 0;
}

/* Where the range of a segment under a suffix ends; its own base if it was never compacted. */
static int read_range_end(struct log *log, int64_t base_offset, const char *suffix, int64_t *end_offset, struct err *e)
{
    struct io *io = log->env->io;
    struct batch_header header = {0};
    uint8_t bytes[BATCH_HEADER_BYTES];
    char name[SEGMENT_NAME_BYTES];
    int fd, rc;

    segment_name(base_offset, SEGMENT_BATCHES, suffix, name);
    fd = io->open(io, log->dir.fd, name, O_RDONLY, 0);
    if (fd < 0) {
        return err_sys(e, fd, "open %s", name);
    }
    rc = io_pread_all(io, fd, bytes, sizeof bytes, 0);
    io->close(io, fd);
    if (rc == 0) {
        rc = batch_header_decode(bytes, &header);
    }
    /* A file that is too short says -EIO: it is as damaged as one whose header does not hold. */
    if (rc < 0) {
        return err_set(e, -EBADMSG, "%s: the header does not hold", name);
    }
    *end_offset = header.end_offset >= 0 ? header.end_offset : base_offset;
    return 0;
}

/* What was not complete. */
static int drop_made(struct log *log, struct recover_dir *dir, enum recover_builder by, struct err *e)
{
    uint32_t i;
    int rc = 0;

    for (i = 0; i < dir->count && rc == 0; i++) {
        struct recover_files *files = &dir->files[i];

        if (files->made[by] != 0) {
            rc = unlink_kinds(log, files->base_offset, files->complete[by], dir->complete_suffix[by], e);
            /* These alone would pass for complete. */
            if (rc == 0 && files->complete[by] != 0) {
                rc = sync_dir(log, e);
            }
            if (rc == 0) {
                rc = unlink_kinds(log, files->base_offset, files->made[by], made_suffix[by], e);
            }
            files->complete[by] = 0;
            files->made[by] = 0;
        }
    }
    return rc;
}

/* Removes the old segments that `files` stands for, other than the one of its own base. */
static int drop_swapped_out(struct log *log, struct recover_dir *dir, const struct recover_files *files,
                            enum recover_builder by, struct err *e)
{
    int64_t end_offset = 0;
    uint32_t i;
    int rc = read_range_end(log, files->base_offset, dir->complete_suffix[by], &end_offset, e);

    for (i = 0; i < dir->count && rc == 0; i++) {
        struct recover_files *old = &dir->files[i];

        if (old->base_offset > files->base_offset && old->base_offset < end_offset && old->present != 0) {
            rc = unlink_kinds(log, old->base_offset, old->present, "", e);
            old->present = 0;
        }
    }
    return rc < 0 ? rc : sync_dir(log, e);
}

static int give_names(struct log *log, const struct recover_dir *dir, struct recover_files *files,
                      enum recover_builder by, struct err *e)
{
    static const enum segment_file order[] = {SEGMENT_LOG, SEGMENT_INDEX, SEGMENT_TIMEINDEX, SEGMENT_BATCHES};
    char from[SEGMENT_NAME_BYTES];
    char to[SEGMENT_NAME_BYTES];
    int i, rc;

    for (i = 0; i < SEGMENT_FILES; i++) {
        if ((files->complete[by] & 1u << order[i]) == 0) {
            continue;
        }
        segment_name(files->base_offset, order[i], dir->complete_suffix[by], from);
        segment_name(files->base_offset, order[i], "", to);
        rc = log->env->io->rename(log->env->io, log->dir.fd, from, log->dir.fd, to);
        if (rc < 0) {
            return err_sys(e, rc, "rename %s", from);
        }
        files->present |= 1u << order[i];
    }
    files->complete[by] = 0;
    return sync_dir(log, e);
}

static int complete_swaps(struct log *log, struct recover_dir *dir, enum recover_builder by, struct err *e)
{
    uint32_t i;
    int rc = 0;

    for (i = 0; i < dir->count && rc == 0; i++) {
        struct recover_files *files = &dir->files[i];

        if (files->complete[by] == 0) {
            continue;
        }
        if ((files->complete[by] & BATCHES_BIT) != 0) {
            rc = drop_swapped_out(log, dir, files, by, e);
        }
        if (rc == 0) {
            rc = give_names(log, dir, files, by, e);
        }
    }
    return rc;
}

/* Whether a compacted segment further down stands for this base. */
static int is_covered(struct log *log, const struct recover_dir *dir, uint32_t i, bool *covered, struct err *e)
{
    int64_t base_offset = dir->files[i].base_offset;
    int64_t end_offset = 0;
    int rc;

    *covered = false;
    while (i > 0 && (dir->files[i - 1].present & BATCHES_BIT) == 0) {
        i--;
    }
    if (i == 0) {
        return 0;
    }
    rc = read_range_end(log, dir->files[i - 1].base_offset, "", &end_offset, e);
    if (rc == 0) {
        *covered = end_offset > base_offset;
    }
    return rc;
}

static int complete_deletions(struct log *log, struct recover_dir *dir, bool *changed, struct err *e)
{
    uint32_t i, first, last = 0;
    bool covered;
    int rc;

    for (i = dir->count; i > 0; i--) {
        struct recover_files *files = &dir->files[i - 1];

        if ((files->deleted & ~files->present) == 0) {
            continue;
        }
        rc = is_covered(log, dir, i - 1, &covered, e);
        if (rc < 0) {
            return rc;
        }
        first = covered ? i - 1 : 0;
        last = i;
        for (; first < last; first++) {
            *changed = *changed || dir->files[first].present != 0;
            rc = unlink_kinds(log, dir->files[first].base_offset, dir->files[first].present, "", e);
            if (rc < 0) {
                return rc;
            }
            dir->files[first].present = 0;
        }
    }
    return *changed ? sync_dir(log, e) : 0;
}

/* What a cut was taking out of the log, and had begun to. (One of that base which came in its place is whole.) */
static int complete_cuts(struct log *log, struct recover_dir *dir, struct err *e)
{
    unsigned needed = 1u << SEGMENT_LOG | 1u << SEGMENT_BATCHES;
    bool changed = false;
    int rc = 0;

    for (uint32_t i = 0; i < dir->count && rc == 0; i++) {
        struct recover_files *files = &dir->files[i];

        if (files->truncated && (files->present & needed) != needed) {
            changed = changed || files->present != 0;
            rc = unlink_kinds(log, files->base_offset, files->present, "", e);
            files->present = 0;
        }
    }
    /* Before what tells it goes, too. */
    return rc == 0 && changed ? sync_dir(log, e) : rc;
}

/* And what a cut took, or would have taken. */
static int unlink_deleted(void *arg, const char *name)
{
    struct log *log = arg;
    enum segment_file kind;
    const char *suffix;
    int64_t base_offset;
    int rc;

    if (!segment_name_parse(name, &base_offset, &kind, &suffix) ||
        (!is_deleted(suffix) && !is_truncated(suffix) && !is_cut(suffix))) {
        return 0;
    }
    rc = log->env->io->unlink(log->env->io, log->dir.fd, name, 0);
    return rc == -ENOENT ? 0 : rc;
}

static void keep_present(struct recover_dir *dir)
{
    uint32_t i, kept = 0;

    for (i = 0; i < dir->count; i++) {
        if (dir->files[i].present != 0) {
            dir->files[kept++] = dir->files[i];
        }
    }
    dir->count = kept;
}

static bool has_leftovers(const struct recover_files *files)
{
    unsigned found = files->deleted | (unsigned)files->truncated | (unsigned)files->stale;

    for (int by = 0; by < RECOVER_BUILDERS; by++) {
        found |= files->made[by] | files->complete[by];
    }
    return found != 0;
}

int recover_dir_read(struct log *log, struct recover_dir *dir, struct err *e)
{
    bool changed = false;
    bool leftovers = false;
    uint32_t i;
    int rc;

    snprintf(dir->complete_suffix[RECOVER_COMPACTION], SEGMENT_SUFFIX_BYTES, ".swap");
    snprintf(dir->complete_suffix[RECOVER_CUT], SEGMENT_SUFFIX_BYTES, ".%" PRIu32 ".cut", epochs_cuts(&log->epochs));
    rc = log->env->io->list(log->env->io, log->dir.fd, each_name, dir);

    if (rc < 0) {
        return err_sys(e, rc, "list the directory");
    }
    if (dir->count == 0) {
        return 0;
    }
    qsort(dir->files, dir->count, sizeof *dir->files, by_base);
    for (i = 0; i < dir->count; i++) {
        leftovers = leftovers || has_leftovers(&dir->files[i]);
    }
    if (!leftovers) {
        return 0;
    }
    for (int by = 0; by < RECOVER_BUILDERS && rc == 0; by++) {
        rc = drop_made(log, dir, (enum recover_builder)by, e);
    }
    for (int by = 0; by < RECOVER_BUILDERS && rc == 0; by++) {
        rc = complete_swaps(log, dir, (enum recover_builder)by, e);
    }
    if (rc == 0) {
        rc = complete_deletions(log, dir, &changed, e);
    }
    if (rc == 0) {
        rc = complete_cuts(log, dir, e);
    }
    if (rc == 0) {
        rc = log->env->io->list(log->env->io, log->dir.fd, unlink_deleted, log);
        if (rc < 0) {
            err_sys(e, rc, "unlink deleted segments");
        }
    }
    keep_present(dir);
    return rc < 0 ? rc : sync_dir(log, e);
}

void recover_dir_free(struct recover_dir *dir)
{
    free(dir->files);
    *dir = (struct recover_dir){0};
}

int recover_dir_drop(struct log *log, const struct recover_dir *dir, uint32_t first, struct err *e)
{
    uint32_t i;
    int rc = 0;

    if (first >= dir->count) {
        return 0;
    }
    for (i = dir->count; i > first && rc == 0; i--) {
        rc = unlink_kinds(log, dir->files[i - 1].base_offset, (1u << SEGMENT_FILES) - 1, "", e);
    }
    return rc < 0 ? rc : sync_dir(log, e);
}
