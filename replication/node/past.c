#include "replication/node/past.h"

#include <assert.h>

#include "engine/base/container.h"
#include "replication/base/limits.h"

/* Behind past_heard(), too: that rings at once. */
static void on_ring(struct alarm *alarm)
{
    struct past *past = CONTAINER_OF(alarm, struct past, alarm);
    pthread_mutex_lock(&past->lock);
    struct past_waiter *list = past->waiters;
    past->waiters = NULL;
    for (struct past_waiter *waiter = list; waiter != NULL; waiter = waiter->next)
        waiter->queued = false;
    if (atomic_load(&past->state) == PAST_AWAITED)
        atomic_store(&past->state, PAST_GIVEN_UP);
    pthread_mutex_unlock(&past->lock);
    while (list != NULL) {
        struct past_waiter *waiter = list;
        list = waiter->next;
        waiter->done(waiter);
    }
}

void past_init(struct past *past)
{
    past->waiters = NULL;
    pthread_mutex_init(&past->lock, NULL);
    atomic_init(&past->state, PAST_UNKNOWN);
    alarm_init(&past->alarm, WORK_PROMPT, on_ring);
}

void past_free(struct past *past)
{
    assert(past->waiters == NULL);
    pthread_mutex_destroy(&past->lock);
}

void past_heard(struct past *past)
{
    pthread_mutex_lock(&past->lock);
    if (atomic_exchange(&past->state, PAST_KNOWN) == PAST_AWAITED)
        alarm_set(past->executor, &past->alarm, 0);
    pthread_mutex_unlock(&past->lock);
}

bool past_counts(const struct past *past)
{
    return atomic_load_explicit(&past->state, memory_order_acquire) >= PAST_KNOWN;
}

bool past_wait(struct past *past, struct past_waiter *waiter)
{
    pthread_mutex_lock(&past->lock);
    bool queued = waiter->queued = !past_counts(past);
    if (queued) {
        waiter->next = past->waiters;
        past->waiters = waiter;
    }
    if (queued && atomic_exchange(&past->state, PAST_AWAITED) == PAST_UNKNOWN)
        alarm_set(past->executor, &past->alarm, LIMIT_METADATA_MS);
    pthread_mutex_unlock(&past->lock);
    return queued;
}

bool past_cancel(struct past *past, struct past_waiter *waiter)
{
    pthread_mutex_lock(&past->lock);
    bool queued = waiter->queued;
    struct past_waiter **link = &past->waiters;
    while (queued && *link != waiter)
        link = &(*link)->next;
    if (queued)
        *link = waiter->next;
    waiter->queued = false;
    pthread_mutex_unlock(&past->lock);
    return queued;
}
