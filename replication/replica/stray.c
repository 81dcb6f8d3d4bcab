/* replication/replica/stray.c: one look at DATA/topics, which gives directories of deleted topics their …-delete names,
 * and a work that removes all that bear one.
 *
 * Failure: what could not be looked at or renamed stays, and its topic in the list, for the next start. */
#include "replication/replica/stray.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "engine/base/seal.h"
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
    bool all;                 /* nothing was passed over for an error */
};

static const char file[] = "deleted-topics";
static const char magic[] = "logmnt deleted-topics 1";

/* ---- what was deleted ---- */

void stray_init(struct stray *stray)
{
    *stray = (struct stray){0};
    pthread_mutex_init(&stray->lock, NULL);
}

static void free_all(struct stray_topic *deleted)
{
    while (deleted != NULL) {
        struct stray_topic *next = deleted->next;
        free(deleted);
        deleted = next;
    }
}

void stray_free(struct stray *stray)
{
    free_all(stray->deleted);
    pthread_mutex_destroy(&stray->lock);
}

/* The lock is held. */
static bool has(const struct stray *stray, const uint8_t id[UUID_BYTES])
{
    const struct stray_topic *deleted = stray->deleted;
    while (deleted != NULL && memcmp(deleted->id, id, UUID_BYTES) != 0)
        deleted = deleted->next;
    return deleted != NULL;
}

int stray_note(struct stray *stray, const char *topic, const uint8_t id[UUID_BYTES])
{
    int rc = 0;
    pthread_mutex_lock(&stray->lock);
    if (!has(stray, id)) {
        struct stray_topic *deleted = calloc(1, sizeof *deleted);
        if (deleted != NULL) {
            memcpy(deleted->id, id, UUID_BYTES);
            memcpy(deleted->name, topic, strlen(topic) + 1);
            deleted->next = stray->deleted;
            stray->deleted = deleted;
            stray->changed = true;
        } else {
            stray->forgotten = true;
            rc = -ENOMEM;
        }
    }
    pthread_mutex_unlock(&stray->lock);
    return rc;
}

bool stray_has(struct stray *stray, const uint8_t id[UUID_BYTES])
{
    pthread_mutex_lock(&stray->lock);
    bool found = has(stray, id);
    pthread_mutex_unlock(&stray->lock);
    return found;
}

/* NAME-N of such a topic. */
static bool has_name(struct stray *stray, const char *name)
{
    const char *dash = strrchr(name, '-');
    size_t len = dash != NULL ? (size_t)(dash - name) : 0;
    if (dash == NULL || dash[1] == '\0' || strspn(dash + 1, "0123456789") != strlen(dash + 1))
        return false;
    pthread_mutex_lock(&stray->lock);
    const struct stray_topic *deleted = stray->deleted;
    while (deleted != NULL && !(strlen(deleted->name) == len && memcmp(deleted->name, name, len) == 0))
        deleted = deleted->next;
    pthread_mutex_unlock(&stray->lock);
    return deleted != NULL;
}

/* By the id that it says, or, where a power cut has taken that, by its name, which no topic has. 1, 0, or why it cannot
 * be told now. */
static int was_deleted(struct replica_manager *manager, const char *name)
{
    uint8_t id[UUID_BYTES];
    int dirfd = manager->io->open(manager->io, manager->topics_dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    if (dirfd < 0)
        return dirfd == -ENOENT || dirfd == -ENOTDIR ? 0 : dirfd;
    int rc = partition_metadata_read(manager->io, dirfd, id, NULL);
    manager->io->close(manager->io, dirfd);
    if (rc == 0)
        return stray_has(&manager->stray, id);
    if (rc == -ENOENT)
        return has_name(&manager->stray, name);
    return rc == -EBADMSG ? 0 : rc;
}

/* ---- what is kept of it ---- */

/* ID NAME */
static int take_line(struct stray *stray, const char *line, size_t len)
{
    char id_text[UUID_TEXT_BYTES], name[TOPIC_NAME_BYTES];
    uint8_t id[UUID_BYTES];
    const char *space = memchr(line, ' ', len);
    if (space == NULL || space - line != UUID_TEXT_BYTES - 1 || len - UUID_TEXT_BYTES >= sizeof name)
        return -EBADMSG;
    snprintf(id_text, sizeof id_text, "%.*s", UUID_TEXT_BYTES - 1, line);
    snprintf(name, sizeof name, "%.*s", (int)(len - UUID_TEXT_BYTES), space + 1);
    return uuid_parse(id_text, id) != 0 ? -EBADMSG : stray_note(stray, name, id);
}

int stray_load(struct replica_manager *manager, struct err *e)
{
    struct err why = {""};
    char *body;
    int rc = seal_read(manager->io, manager->data_dirfd, file, magic, &body, &why);
    if (rc == 0) {
        size_t len;
        for (const char *line = body; *line != '\0' && rc == 0; line += len + 1) {
            len = strcspn(line, "\n");
            rc = take_line(&manager->stray, line, len);
        }
        free(body);
        if (rc != 0)
            err_sys(&why, rc, "%s", file);
    }
    manager->stray.changed = false;
    if (rc == -EBADMSG)
        log_line(LOG_WARNING, "%s: done without", why.text);
    return rc == 0 || rc == -ENOENT || rc == -EBADMSG ? 0 : err_set(e, rc, "%s", why.text);
}

/* The lock is held. */
static int print(const struct stray *stray, struct seal_text *body)
{
    int rc = 0;
    for (const struct stray_topic *deleted = stray->deleted; deleted != NULL && rc == 0; deleted = deleted->next) {
        char id_text[UUID_TEXT_BYTES];
        uuid_text(deleted->id, id_text);
        rc = seal_printf(body, "%s %s\n", id_text, deleted->name);
    }
    return rc;
}

int stray_keep(struct replica_manager *manager, struct err *e)
{
    struct stray *stray = &manager->stray;
    struct seal_text body = {0};
    pthread_mutex_lock(&stray->lock);
    int rc = stray->forgotten ? -ENOMEM : stray->changed ? print(stray, &body) : 1;
    if (rc == 0)
        stray->changed = false;
    pthread_mutex_unlock(&stray->lock);
    if (rc == 0 && body.len > 0) {
        rc = seal_write(manager->io, manager->data_dirfd, file, magic, &body, e);
    } else if (rc == 0) {
        rc = manager->io->unlink(manager->io, manager->data_dirfd, file, 0);
        rc = rc == -ENOENT ? 0 : rc;
    }
    free(body.text);
    if (rc >= 0)
        return 0;
    pthread_mutex_lock(&stray->lock);
    stray->changed = true;
    pthread_mutex_unlock(&stray->lock);
    return err_sys(e, rc, "keep %s", file);
}

/* A start has looked at all that is there. Not written down before there is something to keep: what it says of topics
 * that have gone does no harm. */
static void looked_at(struct stray *stray, struct stray_topic *upto)
{
    pthread_mutex_lock(&stray->lock);
    struct stray_topic **at = &stray->deleted;
    while (*at != upto)
        at = &(*at)->next;
    *at = NULL;
    stray->changed = true;
    pthread_mutex_unlock(&stray->lock);
    free_all(upto);
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
    int deleted = was_deleted(removal->manager, name);
    if (deleted > 0)
        return push(&removal->unnamed, name);
    removal->all = removal->all && deleted == 0;
    if (deleted < 0)
        log_line(LOG_WARNING, "topics/%s is left for the next start: %s", name, strerror(-deleted));
    else
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
        removal->all = removal->all && rc == 0;
        if (rc != 0)
            log_line(LOG_WARNING, "topics/%s, of a deleted topic, keeps its name: %s", leftover->name, strerror(-rc));
        else
            (void)push(&removal->first, to);
        free(leftover);
    }
    if (any && (rc = io->fsync(io, dirfd)) != 0) {
        removal->all = false;
        log_line(LOG_WARNING, "fsync of topics: %s", strerror(-rc));
    }
}

int stray_look(struct replica_manager *manager, struct err *e)
{
    struct removal *removal = calloc(1, sizeof *removal);
    if (removal == NULL)
        return err_sys(e, -ENOMEM, "look for stray directories");
    removal->manager = manager;
    removal->work.run = on_work;
    removal->all = true;
    pthread_mutex_lock(&manager->stray.lock);
    struct stray_topic *upto = manager->stray.deleted; /* what is noted later is in front of it */
    pthread_mutex_unlock(&manager->stray.lock);
    int rc = manager->io->list(manager->io, manager->topics_dirfd, look_at, removal);
    if (rc != 0)
        err_sys(e, rc, "list topics");
    rename_all(removal);
    if (rc == 0 && removal->all)
        looked_at(&manager->stray, upto);
    /* It frees itself, with nothing to do too. */
    executor_bulk(manager->executor, &removal->work);
    return rc;
}
