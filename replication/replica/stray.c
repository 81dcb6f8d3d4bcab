/* replication/replica/stray.c: one look at DATA/topics, which gives directories of deleted topics their …-delete names,
 * and a work that removes all that bear one. */
#include "replication/replica/stray.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/replica/partition_metadata.h"
#include "replication/replica/topic_internal.h"

struct stray_topic {
    struct stray_topic *next;
    uint8_t id[UUID_BYTES];
    char name[TOPIC_NAME_BYTES];
};

struct leftover {
    struct leftover *next;
    char name[IO_NAME_BYTES];
};

/* A look, and then the removal of what it found. */
struct removal {
    struct work work;
    struct replica_manager *manager;
    struct leftover *unnamed; /* a deleted topic's, under the name that it had */
    struct leftover *first;   /* …-delete */
};

/* ---- what was deleted ---- */

void stray_note(struct stray *stray, const char *topic, const uint8_t id[UUID_BYTES])
{
    struct stray_topic *deleted = calloc(1, sizeof *deleted);
    if (deleted == NULL)
        return;
    memcpy(deleted->id, id, UUID_BYTES);
    memcpy(deleted->name, topic, strlen(topic) + 1);
    deleted->next = stray->deleted;
    stray->deleted = deleted;
}

void stray_free(struct stray *stray)
{
    while (stray->deleted != NULL) {
        struct stray_topic *deleted = stray->deleted;
        stray->deleted = deleted->next;
        free(deleted);
    }
}

bool stray_has(const struct stray *stray, const uint8_t id[UUID_BYTES])
{
    for (const struct stray_topic *deleted = stray->deleted; deleted != NULL; deleted = deleted->next) {
        if (memcmp(deleted->id, id, UUID_BYTES) == 0)
            return true;
    }
    return false;
}

/* NAME-N of such a topic. */
static bool has_name(const struct stray *stray, const char *name)
{
    const char *dash = strrchr(name, '-');
    size_t len = dash != NULL ? (size_t)(dash - name) : 0;
    if (dash == NULL || dash[1] == '\0' || strspn(dash + 1, "0123456789") != strlen(dash + 1))
        return false;
    for (const struct stray_topic *deleted = stray->deleted; deleted != NULL; deleted = deleted->next) {
        if (strlen(deleted->name) == len && memcmp(deleted->name, name, len) == 0)
            return true;
    }
    return false;
}

/* By the id that it says, or, where a power cut has taken that, by its name, which no topic has. */
static bool was_deleted(struct replica_manager *manager, const char *name)
{
    uint8_t id[UUID_BYTES];
    int dirfd = manager->io->open(manager->io, manager->topics_dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (dirfd < 0)
        return false;
    int rc = partition_metadata_read(manager->io, dirfd, id, NULL);
    manager->io->close(manager->io, dirfd);
    return rc == 0 ? stray_has(&manager->stray, id) : rc == -ENOENT && has_name(&manager->stray, name);
}

/* ---- removing ---- */

static struct leftover *pop(struct leftover **list)
{
    struct leftover *leftover = *list;
    if (leftover != NULL)
        *list = leftover->next;
    return leftover;
}

static int push(struct leftover **list, const char *name)
{
    struct leftover *leftover = calloc(1, sizeof *leftover);
    if (leftover == NULL)
        return -ENOMEM;
    memcpy(leftover->name, name, strnlen(name, sizeof leftover->name - 1));
    leftover->next = *list;
    *list = leftover;
    return 0;
}

static void on_work(struct work *work)
{
    struct removal *removal = CONTAINER_OF(work, struct removal, work);
    struct leftover *leftover;
    while ((leftover = pop(&removal->first)) != NULL) {
        /* What a stop leaves is found again by the next start. */
        struct replica_manager *manager = removal->manager;
        int rc =
            atomic_load(&manager->stopping) ? 0 : io_remove_dir(manager->io, manager->topics_dirfd, leftover->name);
        if (rc != 0)
            log_line(LOG_WARNING, "remove topics/%s: %s", leftover->name, strerror(-rc));
        free(leftover);
    }
    free(removal);
}

/* ---- looking ---- */

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

static int look_at(void *arg, const char *name)
{
    struct removal *removal = arg;
    if (ends_with(name, "-stray") || manager_has_partition(removal->manager, name))
        return 0;
    if (ends_with(name, "-delete"))
        return push(&removal->first, name);
    if (was_deleted(removal->manager, name))
        return push(&removal->unnamed, name);
    log_line(LOG_WARNING, "topics/%s belongs to no topic and is left alone", name);
    return 0;
}

/* One that keeps its name harms nobody until somebody else wants that; the next start tries again. */
static void rename_all(struct removal *removal)
{
    struct io *io = removal->manager->io;
    int dirfd = removal->manager->topics_dirfd, rc = 0;
    struct leftover *leftover;
    bool any = removal->unnamed != NULL;
    while ((leftover = pop(&removal->unnamed)) != NULL) {
        char stem[IO_NAME_BYTES], to[IO_NAME_BYTES];
        snprintf(stem, sizeof stem, "%.200s", leftover->name);
        rc = io_put_aside(io, dirfd, leftover->name, stem, "delete", to);
        if (rc != 0)
            log_line(LOG_WARNING, "topics/%s, of a deleted topic, keeps its name: %s", leftover->name, strerror(-rc));
        else
            (void)push(&removal->first, to);
        free(leftover);
    }
    if (any && (rc = io->fsync(io, dirfd)) != 0)
        log_line(LOG_WARNING, "fsync of topics: %s", strerror(-rc));
}

int stray_look(struct replica_manager *manager, struct err *e)
{
    struct removal *removal = calloc(1, sizeof *removal);
    if (removal == NULL)
        return err_sys(e, -ENOMEM, "look for stray directories");
    removal->manager = manager;
    removal->work.run = on_work;
    int rc = manager->io->list(manager->io, manager->topics_dirfd, look_at, removal);
    if (rc != 0)
        err_sys(e, rc, "list topics");
    rename_all(removal);
    /* It frees itself, with nothing to do too. */
    executor_bulk(manager->executor, &removal->work);
    return rc;
}
