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
        part->waiters.first = waiter->next;
    if (waiter->next != NULL)
        waiter->next->prev = waiter->prev;
    waiter->queued = false;
}

bool partition_wait(struct partition *part, struct partition_waiter *waiter)
{
    pthread_mutex_lock(&part->lock);
    /* Under the lock: whoever tells those that wait of a log that goes offline comes after this, and finds it. */
    bool offline =
        atomic_load(&part->replica) != REPLICA_ELSEWHERE && (part->log == NULL || log_offline(part->log) != 0);
    bool wait = !offline && !atomic_load(&part->topic->deleted) &&
                part->isr.high_watermark.position <= waiter->position && part->shown.point.position <= waiter->position;
    waiter->queued = wait;
    if (wait) {
        waiter->prev = NULL;
        waiter->next = part->waiters.first;
        if (part->waiters.first != NULL)
            part->waiters.first->prev = waiter;
        part->waiters.first = waiter;
        if (waiter->position < part->waiters.lowest_position)
            part->waiters.lowest_position = waiter->position;
        partition_ref(part); /* with the lock goes the waiter, and perhaps the last reference */
    }
    pthread_mutex_unlock(&part->lock);
    if (!wait)
        return false;
    partition_listen(part); /* it may be growth on another node that is waited for */
    partition_unref(part);
    return true;
}

bool partition_unwait(struct partition *part, struct partition_waiter *waiter)
{
    pthread_mutex_lock(&part->lock);
    bool queued = waiter->queued;
    if (queued)
        take_out(part, waiter);
    if (part->waiters.first == NULL)
        part->waiters.lowest_position = INT64_MAX;
    pthread_mutex_unlock(&part->lock);
    return queued;
}

struct partition_waiter *partition_collect(struct partition *part, int64_t position)
{
    struct partition_waiter *collected = NULL;
    if (part->waiters.lowest_position >= position)
        return NULL;
    int64_t lowest_position = INT64_MAX;
    for (struct partition_waiter *waiter = part->waiters.first, *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        if (waiter->position < position) {
            take_out(part, waiter);
            waiter->next = collected;
            collected = waiter;
        } else if (waiter->position < lowest_position) {
            lowest_position = waiter->position;
        }
    }
    part->waiters.lowest_position = lowest_position;
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
