/* replication/group/seat_start.c: where a group begins on a partition: its log start or its high watermark, as that
 * partition's leader has it. Asked again until it is known, or need not be any more. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/container.h"
#include "replication/group/groups_internal.h"
#include "replication/replica/partition_read.h"

enum { FIND_TIMEOUT_MS = 5000, FIND_AGAIN_MS = 100 };

struct start_find {
    struct start_find *next;
    struct groups *groups;
    struct claim_start start;
    struct partition *part; /* referenced; NULL: nothing is asked */
    struct read_op op;
    _Atomic bool over;
    int rc;
    int64_t again_ms; /* it failed: until then */
    bool orphan;      /* nobody wants it any more */
};

static void on_found(struct read_op *op, int rc)
{
    struct start_find *find = CONTAINER_OF(op, struct start_find, op);
    struct groups *groups = find->groups;

    find->rc = rc;
    atomic_store(&find->over, true);
    mailbox_kick(&groups->mailbox);
}

static void ask(struct start_find *find)
{
    struct group_env *env = &find->groups->env;
    int rc;

    atomic_store(&find->over, false);
    find->part = env->partition(env->facts.arg, find->start.topic_id, find->start.partition);
    if (find->part == NULL) {
        find->rc = -ENOENT;
        atomic_store(&find->over, true);
        return;
    }
    find->op = (struct read_op){.part = find->part,
                                .kind = find->start.from_latest ? FIND_END : FIND_OFFSET,
                                .limit = INT64_MAX,
                                .max = 1,
                                .timeout_ms = FIND_TIMEOUT_MS,
                                .done = on_found};
    rc = partition_read_submit(&find->op);
    if (rc != 0) {
        find->rc = rc > 0 ? 0 : rc;
        atomic_store(&find->over, true);
    }
}

void seat_starts_begin(struct seat *seat)
{
    struct group_changes *changes = &seat->core.changes;
    bool found = false;

    for (size_t i = 0; i < changes->start_count; i++) {
        struct start_find *find = calloc(1, sizeof *find);
        if (find == NULL) {
            changes->failed = true; /* found out by the next turn, which reads all anew */
            break;
        }
        find->groups = seat->groups;
        find->start = changes->starts[i];
        find->next = seat->finds;
        seat->finds = find;
        ask(find);
        found = found || atomic_load(&find->over);
    }
    if (found || changes->failed)
        mailbox_kick(&seat->groups->mailbox);
}

static void release(struct start_find *find)
{
    if (find->part != NULL)
        partition_unref(find->part);
    find->part = NULL;
}

/* It is over: tells of it, or tries again. false: it is of no use any more. */
static bool goes_on(struct seat *seat, struct start_find *find)
{
    int64_t now_ms = seat->groups->now_ms;

    release(find);
    if (find->orphan || !coordinator_starts(&seat->core, &find->start))
        return false;
    if (find->rc == 0) {
        coordinator_started(&seat->core, &find->start, find->op.point.offset, find->op.leader_epoch);
        return false;
    }
    if (find->again_ms == 0)
        find->again_ms = now_ms + FIND_AGAIN_MS;
    if (now_ms >= find->again_ms) {
        find->again_ms = 0;
        ask(find);
    } else {
        groups_due(seat->groups, find->again_ms);
    }
    return true;
}

void seat_starts_take(struct seat *seat)
{
    struct start_find **at = &seat->finds;

    while (*at != NULL) {
        struct start_find *find = *at;
        if (!atomic_load(&find->over) || goes_on(seat, find)) {
            at = &find->next;
            continue;
        }
        *at = find->next;
        free(find);
    }
}

void seat_starts_cancel(struct seat *seat)
{
    struct start_find **at = &seat->finds;

    while (*at != NULL) {
        struct start_find *find = *at;
        find->orphan = true;
        if (!atomic_load(&find->over) && !partition_read_cancel(&find->op)) {
            at = &find->next; /* on_found() is being called */
            continue;
        }
        release(find);
        *at = find->next;
        free(find);
    }
}
