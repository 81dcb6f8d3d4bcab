/* replication/replica/partition_wait.c: readers at the end of a partition.
 *
 * A list in no order, and the lowest position in it: an append that wakes none looks at one number. One that wakes some
 * goes through the list once, takes them out and calls them after the lock is given back. */
#include "replication/replica/partition.h"

#include "replication/replica/topic_internal.h"
#include "replication/replica/partition_internal.h"
#include "replication/replica/remote.h"

static void take_out(struct partition *part, struct partition_waiter *waiter)
{
    if (waiter->prev != NULL)
        waiter->prev->next = waiter->next;
    else
        part->waiters = waiter->next;
    if (waiter->next != NULL)
        waiter->next->prev = waiter->prev;
    waiter->queued = false;
}

bool partition_wait(struct partition *part, struct partition_waiter *waiter)
{
    bool elsewhere = atomic_load(&part->elsewhere);
    bool offline = !elsewhere && (part->log == NULL || log_offline(part->log) != 0);
    pthread_mutex_lock(&part->lock);
    bool wait = !offline && !atomic_load(&part->topic->deleted) &&
                part->isr.high_watermark.position <= waiter->position && part->shown.position <= waiter->position;
    waiter->queued = wait;
    if (wait) {
        waiter->prev = NULL;
        waiter->next = part->waiters;
        if (part->waiters != NULL)
            part->waiters->prev = waiter;
        part->waiters = waiter;
        if (waiter->position < part->lowest_position)
            part->lowest_position = waiter->position;
    }
    pthread_mutex_unlock(&part->lock);
    /* It went offline between the look and the queue: whoever told the others may have come before us. */
    if (wait && !elsewhere && log_offline(part->log) != 0 && partition_unwait(part, waiter))
        return false;
    if (wait && partition_listens(part)) /* it is growth on another node that is waited for */
        remote_listen(part);
    return wait;
}

bool partition_unwait(struct partition *part, struct partition_waiter *waiter)
{
    pthread_mutex_lock(&part->lock);
    bool queued = waiter->queued;
    if (queued)
        take_out(part, waiter);
    if (part->waiters == NULL)
        part->lowest_position = INT64_MAX;
    pthread_mutex_unlock(&part->lock);
    return queued;
}

struct partition_waiter *partition_collect(struct partition *part, int64_t position)
{
    struct partition_waiter *collected = NULL;
    if (part->lowest_position >= position)
        return NULL;
    int64_t lowest_position = INT64_MAX;
    for (struct partition_waiter *waiter = part->waiters, *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        if (waiter->position < position) {
            take_out(part, waiter);
            waiter->next = collected;
            collected = waiter;
        } else if (waiter->position < lowest_position) {
            lowest_position = waiter->position;
        }
    }
    part->lowest_position = lowest_position;
    return collected;
}

void partition_wake(struct partition_waiter *waiters, const struct partition_fresh *fresh)
{
    while (waiters != NULL) {
        struct partition_waiter *waiter = waiters;
        waiters = waiter->next; /* ready() may free it */
        waiter->fresh = fresh;
        waiter->ready(waiter);
    }
}
