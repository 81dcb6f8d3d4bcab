/* replication/replica/partition_files.c: `.segments`: the files of this node's replica; where there is none, there are
 * none. What this mount has deleted is not among them, though a replica that is not in sync may have it still. */
#include <errno.h>
#include <stdlib.h>

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"

/* Without the segments of which this mount has deleted all. */
static void hide_files(struct partition *part, struct log_file *files, size_t *count)
{
    int64_t removed = partition_shown_start(part).offset, first = 0;
    size_t kept = 0;
    if (!partition_hides(part))
        return;
    for (size_t i = 0; i < *count && files[i].base_offset <= removed; i++)
        first = files[i].base_offset;
    for (size_t i = 0; i < *count; i++) {
        if (files[i].base_offset >= first)
            files[kept++] = files[i];
    }
    *count = kept;
}

int partition_files(struct partition *part, struct log_file **out, size_t *count, struct err *e)
{
    *out = NULL;
    *count = 0;
    if (atomic_load(&part->replica) == REPLICA_ELSEWHERE)
        return 0;
    int rc = partition_reach(part, e);
    if (rc == 0)
        rc = log_files(part->log, partition_own_high_watermark(part), out, count, e);
    if (rc == 0)
        hide_files(part, *out, count);
    return rc;
}

/* Whether it is a segment that partition_files() leaves out. */
static bool is_hidden(struct partition *part, int64_t base_offset)
{
    struct log_file *files;
    size_t count;
    bool hidden = true;
    if (!partition_hides(part) || partition_files(part, &files, &count, NULL) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        hidden = hidden && files[i].base_offset != base_offset;
    free(files);
    return hidden;
}

int partition_file_find(struct partition *part, int64_t base_offset, enum segment_file kind, struct log_file *out,
                        struct err *e)
{
    if (atomic_load(&part->replica) == REPLICA_ELSEWHERE)
        return err_set(e, -ENOENT, "%s has no replica here", part->name);
    int rc = partition_reach(part, e);
    if (rc == 0 && is_hidden(part, base_offset))
        return err_set(e, -ENOENT, "%s: all of that segment was deleted", part->name);
    return rc != 0 ? rc : log_file_find(part->log, base_offset, kind, partition_own_high_watermark(part), out, e);
}

int partition_file_open(struct partition *part, const struct log_file *file, int *fd, struct segment **unchecked,
                        struct err *e)
{
    int rc = partition_reach(part, e);
    *unchecked = NULL;
    if (rc != 0)
        return rc;
    struct log *log = part->log;
    *unchecked = log_file_unchecked(log, file); /* first: what goes in between is not there to be opened */
    rc = log_file_open(log, file, fd, e);
    if (rc != 0 && *unchecked != NULL) {
        log_file_checked(*unchecked);
        *unchecked = NULL;
    }
    return rc;
}
