/* replication/node/stray.c: one look at DATA/topics, and a work that removes what deletions left. */
#include "replication/node/stray.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "replication/node/node_internal.h"

struct leftover {
    struct leftover *next;
    char name[256];
};

struct removal {
    struct work work;
    struct node *node;
    struct leftover *first;
};

/* ---- removing ---- */

static void on_work(struct work *work)
{
    struct removal *removal = CONTAINER_OF(work, struct removal, work);
    while (removal->first != NULL) {
        struct leftover *leftover = removal->first;
        removal->first = leftover->next;
        /* What a stop leaves is found again by the next start. */
        struct node *node = removal->node;
        int rc = atomic_load(&node->stopping) ? 0 : io_remove_dir(node->io, node->topics_dirfd, leftover->name);
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
    if (ends_with(name, "-stray") || node_has_partition(removal->node, name))
        return 0;
    if (!ends_with(name, "-delete")) {
        log_line(LOG_WARNING, "topics/%s belongs to no topic and is left alone", name);
        return 0;
    }
    struct leftover *leftover = calloc(1, sizeof *leftover);
    if (leftover == NULL)
        return -ENOMEM;
    memcpy(leftover->name, name, strnlen(name, sizeof leftover->name - 1));
    leftover->next = removal->first;
    removal->first = leftover;
    return 0;
}

int stray_look(struct node *node, struct err *e)
{
    struct removal *removal = calloc(1, sizeof *removal);
    if (removal == NULL)
        return err_sys(e, -ENOMEM, "look for stray directories");
    removal->node = node;
    removal->work.run = on_work;
    int rc = node->io->list(node->io, node->topics_dirfd, look_at, removal);
    if (rc != 0)
        err_sys(e, rc, "list topics");
    /* It frees itself, with nothing to do too. */
    executor_bulk(node->executor, &removal->work);
    return rc;
}
