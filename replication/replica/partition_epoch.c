/* replication/replica/partition_epoch.c: the epoch in which this node leads, and appends in it.
 *
 * The log leads in it from the first append on: that it begins there is on the disk before (log_lead(); REPLICATION.md,
 * rules 1 to 3). A failure is the append's: nothing was appended, and the next one tries again. */
#include <assert.h>
#include <errno.h>

#include "replication/node/node_internal.h"
#include "replication/node/topic.h"
#include "replication/replica/partition_internal.h"

static int begin_leading(struct partition *part, struct err *e)
{
    int rc = 0;

    pthread_mutex_lock(&part->life_lock);
    if (atomic_load(&part->life) == LIFE_RETIRED) {
        rc = err_set(e, -ESTALE, "topic %s was deleted", part->topic->name);
    } else if (!atomic_load(&part->epoch_assigned)) {
        rc = log_lead(part->log, atomic_load(&part->leader_epoch), e);
    }
    if (rc == 0) {
        atomic_store(&part->epoch_assigned, true);
    }
    pthread_mutex_unlock(&part->life_lock);
    return rc;
}

int partition_append_uncommitted(struct partition *part, const struct append_batch *batch,
                                 struct log_append_result *out, struct err *e)
{
    if (!atomic_load_explicit(&part->epoch_assigned, memory_order_acquire)) {
        int rc = begin_leading(part, e);
        if (rc != 0)
            return rc;
    }
    assert(atomic_load_explicit(&part->epoch_assigned, memory_order_relaxed)); /* REPLICATION.md, rules 1 and 2 */
    uint64_t wanted = flusher_wanted(&part->node->flusher);
    int rc = log_append(part->log, batch, atomic_load_explicit(&part->leader_epoch, memory_order_relaxed), out, e);
    if (flusher_wanted(&part->node->flusher) != wanted)
        flusher_request(&part->node->flusher, part);
    return rc;
}

void partition_lead(struct partition *part, int32_t epoch)
{
    pthread_mutex_lock(&part->life_lock);
    if (atomic_load(&part->leader_epoch) != epoch) {
        atomic_store(&part->epoch_assigned, false);
        atomic_store(&part->leader_epoch, epoch);
    }
    pthread_mutex_unlock(&part->life_lock);
}
