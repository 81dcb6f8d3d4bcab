#include "fs/tree/told.h"

#include <stdio.h>
#include <stdlib.h>

#include "fs/base/outside.h"
#include "fs/tree/sharing.h"

struct told {
    struct log_file *files; /* as partition_files() lists them: by base offset, then kind */
    size_t count;
    uint64_t changes; /* partition_segment_changes() before the listing */
    int64_t position; /* of the high watermark when the active file was touched last */
};

static int list(struct partition *part, struct told *told)
{
    struct err e;
    told->changes = partition_segment_changes(part);
    return partition_files(part, &told->files, &told->count, &e);
}

void told_begin(struct tree *tree, struct pfile *pfile)
{
    struct told *told = calloc(1, sizeof *told);
    if (told == NULL)
        return;
    /* Listed before it is heard of: what changes in between was there, or was not, before anybody could watch. */
    told->position = partition_high_watermark(pfile->part).position;
    if (list(pfile->part, told) != 0 || !sharing_begin_told(tree, pfile, told))
        told_free(told);
}

void told_free(struct told *told)
{
    if (told != NULL)
        free(told->files);
    free(told);
}

static void act(struct session *session, enum outside_kind kind, const char *dir, const struct log_file *file)
{
    char name[40], path[1024];
    log_file_name(file->base_offset, file->kind, name);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    struct outside_act to_do = {.kind = kind, .path = path, .subject = file->generation};
    (void)outside_act(session->outside, &to_do); /* nobody is there to be told if it fails */
}

/* The place of a in the listing's order, against b. */
static int order(const struct log_file *a, const struct log_file *b)
{
    if (a->base_offset != b->base_offset)
        return a->base_offset < b->base_offset ? -1 : 1;
    return (a->kind > b->kind) - (a->kind < b->kind);
}

static void tell_files(struct session *session, const struct told *old, const struct told *new, const char *dir)
{
    size_t i = 0, j = 0;
    while (i < old->count || j < new->count) {
        int cmp = i == old->count ? 1 : j == new->count ? -1 : order(&old->files[i], &new->files[j]);
        bool rewritten = cmp == 0 && old->files[i].generation != new->files[j].generation;
        if (cmp < 0 || rewritten)
            act(session, OUTSIDE_REMOVE, dir, &old->files[i]);
        if (cmp > 0 || rewritten)
            act(session, OUTSIDE_MAKE, dir, &new->files[j]);
        /* Who had found it by itself has perhaps read it before it grew. */
        if (cmp > 0 && new->files[j].kind == SEGMENT_LOG)
            act(session, OUTSIDE_TOUCH, dir, &new->files[j]);
        i += cmp <= 0;
        j += cmp >= 0;
    }
}

/* The active file has grown, or is a closed one by now: what it grew by before that was not told either. */
static void tell_growth(struct session *session, const struct told *told, const char *dir)
{
    for (size_t i = 0; i < told->count; i++) {
        if (told->files[i].active && told->files[i].kind == SEGMENT_LOG)
            act(session, OUTSIDE_TOUCH, dir, &told->files[i]);
    }
}

bool told_update(struct session *session, struct pfile *pfile, const char *dir)
{
    struct told *told = pfile->told, now = {.position = partition_high_watermark(pfile->part).position};
    struct log_size size;
    bool grown = now.position != told->position;
    partition_size(pfile->part, &size);
    /* One that begins at the high watermark is counted, but not listed yet. */
    if (size.segments != told->count / SEGMENT_FILES || partition_segment_changes(pfile->part) != told->changes) {
        int rc = list(pfile->part, &now);
        if (rc != 0)
            return !err_is_passing(rc);
        tell_growth(session, told, dir);
        tell_files(session, told, &now, dir);
        free(told->files);
        *told = now;
    } else if (grown) {
        told->position = now.position;
        tell_growth(session, told, dir);
    }
    return true;
}
