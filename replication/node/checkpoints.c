/* replication/node/checkpoints.c: from partitions to lines, and back. A partition whose log could not be opened keeps
 * the lines it had: without its recovery point, damage would pass for a torn tail at the next start. */
#include "replication/node/checkpoints.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/node/node_internal.h"
#include "replication/replica/partition_internal.h"

static const char *const files[CHECKPOINT_KINDS] = {
    [CHECKPOINT_RECOVERY_POINT] = "recovery-point-offset-checkpoint",
    [CHECKPOINT_LOG_START] = "log-start-offset-checkpoint",
    [CHECKPOINT_HIGH_WATERMARK] = "replication-offset-checkpoint",
    [CHECKPOINT_CLEANER] = "cleaner-offset-checkpoint",
};

int checkpoints_read(struct io *io, int dirfd, struct checkpoints *out, struct err *e)
{
    *out = (struct checkpoints){0};
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) {
        int rc = checkpoint_read(io, dirfd, files[kind], &out->entries[kind], &out->counts[kind], e);
        if (rc != 0) {
            checkpoints_free(out);
            return rc;
        }
    }
    return 0;
}

void checkpoints_free(struct checkpoints *checkpoints)
{
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++)
        free(checkpoints->entries[kind]);
    *checkpoints = (struct checkpoints){0};
}

static struct log_point point_of(const struct checkpoints *checkpoints, enum checkpoint_kind kind, const char *name)
{
    const struct checkpoint_entry *entry = checkpoint_find(checkpoints->entries[kind], checkpoints->counts[kind], name);
    return entry != NULL ? (struct log_point){entry->offset, entry->position} : (struct log_point){0, 0};
}

void checkpoints_known(const struct checkpoints *checkpoints, const char *name, struct log_known *known,
                       struct log_point *high_watermark)
{
    *known = (struct log_known){0};
    *high_watermark = (struct log_point){0, 0};
    if (checkpoints == NULL)
        return;
    known->recovery_point = point_of(checkpoints, CHECKPOINT_RECOVERY_POINT, name).offset;
    known->start = point_of(checkpoints, CHECKPOINT_LOG_START, name);
    known->cleaner_offset = point_of(checkpoints, CHECKPOINT_CLEANER, name).offset;
    known->clean_shutdown = checkpoints->clean_shutdown;
    *high_watermark = point_of(checkpoints, CHECKPOINT_HIGH_WATERMARK, name);
}

bool checkpoints_name_others(const struct checkpoints *checkpoints, struct node *node)
{
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++)
        for (size_t i = 0; i < checkpoints->counts[kind]; i++)
            if (!node_has_partition(node, checkpoints->entries[kind][i].name))
                return true;
    return false;
}

/* ---- writing ---- */

struct collection {
    enum checkpoint_kind kind;
    struct checkpoint_entry *entries;
    size_t count, room;
    int rc;
};

static struct log_point current(struct partition *part, enum checkpoint_kind kind)
{
    switch (kind) {
    case CHECKPOINT_RECOVERY_POINT:
        return (struct log_point){part->opened ? log_recovery_point(part->log) : part->known.recovery_point, 0};
    case CHECKPOINT_LOG_START:
        return part->opened ? partition_promised_start(part) : part->known.start;
    case CHECKPOINT_HIGH_WATERMARK:
        return part->opened ? partition_high_watermark(part) : part->known_high_watermark;
    default:
        return (struct log_point){part->opened ? log_cleaner_offset(part->log) : part->known.cleaner_offset, 0};
    }
}

static void collect_one(struct partition *part, void *arg)
{
    struct collection *all = arg;
    struct log_point point = current(part, all->kind);
    if (point.offset == 0) /* what no line says is 0 */
        return;
    if (all->count == all->room) {
        size_t room = all->room == 0 ? 64 : 2 * all->room;
        struct checkpoint_entry *entries = realloc(all->entries, room * sizeof *entries);
        if (entries == NULL) {
            all->rc = -ENOMEM;
            return;
        }
        all->entries = entries;
        all->room = room;
    }
    struct checkpoint_entry *entry = &all->entries[all->count++];
    *entry = (struct checkpoint_entry){.offset = point.offset, .position = point.position};
    memcpy(entry->name, part->name, sizeof entry->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct checkpoint_entry *)a)->name, ((const struct checkpoint_entry *)b)->name);
}

int checkpoints_write(struct node *node, enum checkpoint_kind kind, struct err *e)
{
    struct collection all = {.kind = kind};
    pthread_mutex_lock(&node->checkpoint_lock);
    int rc = node_each_partition(node, collect_one, &all);
    if (rc == 0)
        rc = all.rc;
    if (rc != 0) {
        err_sys(e, rc, "%s", files[kind]);
    } else {
        if (all.count > 0)
            qsort(all.entries, all.count, sizeof *all.entries, by_name);
        rc = checkpoint_write(node->io, node->data_dirfd, files[kind], all.entries, all.count, e);
    }
    pthread_mutex_unlock(&node->checkpoint_lock);
    free(all.entries);
    return rc;
}

int checkpoints_write_all(struct node *node, struct err *e)
{
    int first = 0;
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) {
        struct err local = {0};
        int rc = checkpoints_write(node, (enum checkpoint_kind)kind, &local);
        if (rc != 0 && first == 0)
            first = err_set(e, rc, "%s", local.text);
    }
    return first;
}
