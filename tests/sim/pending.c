/* tests/sim/pending.c: the list of a node's calls. */
#include "tests/sim/pending.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crc32c.h"
#include "engine/base/container.h"
#include "replication/replica/partition_read.h"
#include "tests/sim/audit.h"
#include "tests/sim/chance.h"
#include "tests/sim/faults.h"
#include "tests/sim/workload.h"

/* ---- pending calls ---- */

struct pending *pending_new(struct sim_node *host, enum pending_kind kind, struct topic *topic,
                            struct book_topic *known, int32_t index)
{
    struct pending *p = calloc(1, sizeof *p);
    assert(p != NULL);
    p->kind = kind;
    p->host = host;
    p->known = known;
    p->index = index;
    p->asked = ++host->world->book.asked;
    p->full = host->world->book.full;
    if (topic != NULL) {
        p->topic = topic_ref(topic);
        p->part = index >= 0 ? topic_partition(topic, index) : NULL;
    }
    p->next = host->pending;
    host->pending = p;
    host->pending_count++;
    return p;
}

void workload_sweep(struct sim_node *host)
{
    for (struct pending **at = &host->pending; *at != NULL;) {
        struct pending *p = *at;
        if (!p->over) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        free(p);
    }
}

/* It is over; true: somebody hears how it ended. */
bool pending_over(struct pending *p, const char *what, int rc)
{
    assert(!p->over);
    p->over = true;
    p->host->pending_count--;
    p->host->world->answers++;
    bool heard = !p->host->disk.crashed;
    world_note(p->host->world, "node %d: %s of %s-%d%s: %d (%lld)", p->host->id, what,
               p->known != NULL ? p->known->name : "MOUNT", p->index, heard ? "" : " (unheard)", rc,
               (long long)p->serial);
    if (p->topic != NULL)
        topic_unref(p->topic);
    p->topic = NULL;
    p->part = NULL;
    return heard;
}

/* An answer that no caller of a sound node gets. */
void pending_check_errno(struct pending *p, const char *what, int rc, const int *allowed)
{
    bool full = (p->full || p->host->world->book.full) && (rc == -ENOSPC || rc == -EDQUOT || rc == -EIO);
    if (!world_alone(p->host) && (rc == -EROFS || rc == -ETIMEDOUT || rc == -ESTALE))
        return;
    if (p->host->stops && rc == -EIO)
        return;
    for (; *allowed != 0; allowed++) {
        if (*allowed == rc)
            return;
    }
    if (rc != 0 && !full) {
        world_fail(p->host->world, "node %d: %s of %s-%d: %s", p->host->id, what,
                   p->known != NULL ? p->known->name : "MOUNT", p->index, strerror(-rc));
    }
}
