/* replication/replica/checkpoints.c: from partitions to lines, and back. A partition whose log could not be opened
 * keeps the lines it had, and so does one whose topic the node has yet to hear of: without its recovery point, damage
 * would pass for a torn tail at the next start. */
#include "replication/replica/checkpoints.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "replication/replica/topic_internal.h"
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
        int rc =
            checkpoint_read(io, dirfd, files[kind], &out->entries[kind], &out->counts[kind], &out->by_name[kind], e);
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

static struct checkpoint_entry entry_of(const struct checkpoints *checkpoints, enum checkpoint_kind kind,
                                        const char *name, const char *key)
{
    const struct checkpoint_entry *entry =
        checkpoint_find(checkpoints->entries[kind], checkpoints->counts[kind], checkpoints->by_name[kind] ? name : key);
    return entry != NULL ? *entry : (struct checkpoint_entry){.offset = 0};
}

void checkpoints_known(const struct checkpoints *checkpoints, const char *name, const char *key,
                       struct log_known *known, struct checkpoint_entry *high_watermark)
{
    *known = (struct log_known){0};
    *high_watermark = (struct checkpoint_entry){.offset = 0};
    if (checkpoints == NULL)
        return;
    struct checkpoint_entry recovery = entry_of(checkpoints, CHECKPOINT_RECOVERY_POINT, name, key);
    struct checkpoint_entry start = entry_of(checkpoints, CHECKPOINT_LOG_START, name, key);
    struct checkpoint_entry cleaner = entry_of(checkpoints, CHECKPOINT_CLEANER, name, key);
    *known = (struct log_known){.recovery_point = recovery.offset,
                                .recovery_cuts = recovery.cuts,
                                .start = {start.offset, start.position},
                                .start_cuts = start.cuts,
                                .cleaner_offset = cleaner.offset,
                                .cleaner_cuts = cleaner.cuts,
                                .clean_shutdown = checkpoints->clean_shutdown};
    *high_watermark = entry_of(checkpoints, CHECKPOINT_HIGH_WATERMARK, name, key);
}

bool checkpoints_are_by_name(const struct checkpoints *checkpoints)
{
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) {
        if (checkpoints->by_name[kind])
            return true;
    }
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
        return (struct log_point){log_recovery_point(part->log), 0};
    case CHECKPOINT_LOG_START:
        return partition_checkpoint_start(part);
    case CHECKPOINT_HIGH_WATERMARK:
        return partition_own_high_watermark(part);
    default:
        return (struct log_point){log_cleaner_offset(part->log), 0};
    }
}

/* Of a log that could not be opened: what was known of it. */
static struct checkpoint_entry as_known(const struct partition *part, enum checkpoint_kind kind)
{
    const struct log_known *known = &part->disk.known;
    switch (kind) {
    case CHECKPOINT_RECOVERY_POINT:
        return (struct checkpoint_entry){.offset = known->recovery_point, .cuts = known->recovery_cuts};
    case CHECKPOINT_LOG_START:
        return (struct checkpoint_entry){
            .offset = known->start.offset, .position = known->start.position, .cuts = known->start_cuts};
    case CHECKPOINT_HIGH_WATERMARK:
        return part->disk.known_high_watermark;
    default:
        return (struct checkpoint_entry){.offset = known->cleaner_offset, .cuts = known->cleaner_cuts};
    }
}

static void add(struct collection *all, const struct checkpoint_entry *entry)
{
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
    all->entries[all->count++] = *entry;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct checkpoint_entry *)a)->key, ((const struct checkpoint_entry *)b)->key);
}

static void collect_one(struct partition *part, void *arg)
{
    struct collection *all = arg;
    struct checkpoint_entry now = {.offset = 0};
    if (partition_is_open(part)) {
        now.cuts = log_cuts(part->log); /* first: a cut in between makes it an old figure, not a wrong one */
        struct log_point point = current(part, all->kind);
        now.offset = point.offset;
        now.position = point.position;
    } else {
        now = as_known(part, all->kind);
    }
    memcpy(now.key, part->checkpoint_key, sizeof now.key);
    add(all, &now);
}

/* Of a topic that the node has not heard of since its start: it was there before, or it is deleted. */
static void collect_unseen(struct replica_manager *manager, struct collection *all)
{
    const struct checkpoints *known = &manager->known;
    size_t live = all->count;
    if (live > 0)
        qsort(all->entries, live, sizeof *all->entries, by_key);
    for (size_t i = 0; i < known->counts[all->kind] && !known->by_name[all->kind]; i++) {
        const struct checkpoint_entry *entry = &known->entries[all->kind][i];
        if (live == 0 || bsearch(entry, all->entries, live, sizeof *all->entries, by_key) == NULL)
            add(all, entry);
    }
}

/* What no line says is 0. */
static void drop_nothing(struct collection *all)
{
    size_t left = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (all->entries[i].offset != 0)
            all->entries[left++] = all->entries[i];
    }
    all->count = left;
}

int checkpoints_write(struct replica_manager *manager, enum checkpoint_kind kind, struct err *e)
{
    struct collection all = {.kind = kind};
    pthread_mutex_lock(&manager->checkpoint_lock);
    int rc = manager_each_partition(manager, collect_one, &all);
    if (!atomic_load(&manager->caught_up))
        collect_unseen(manager, &all);
    drop_nothing(&all);
    if (rc == 0)
        rc = all.rc;
    if (rc != 0) {
        err_sys(e, rc, "%s", files[kind]);
    } else {
        if (all.count > 0)
            qsort(all.entries, all.count, sizeof *all.entries, by_key);
        rc = checkpoint_write(manager->io, manager->data_dirfd, files[kind], all.entries, all.count, e);
    }
    pthread_mutex_unlock(&manager->checkpoint_lock);
    free(all.entries);
    return rc;
}

int checkpoints_write_all(struct replica_manager *manager, struct err *e)
{
    int first = 0;
    for (int kind = 0; kind < CHECKPOINT_KINDS; kind++) {
        struct err local = {0};
        int rc = checkpoints_write(manager, (enum checkpoint_kind)kind, &local);
        if (rc != 0 && first == 0)
            first = err_set(e, rc, "%s", local.text);
    }
    return first;
}
