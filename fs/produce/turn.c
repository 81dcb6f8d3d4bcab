#include "fs/produce/turn.h"

#include <assert.h>

enum turn_state { TURN_FREE, TURN_TAKEN, TURN_QUEUED };

void turn_init(struct turn *turn)
{
    atomic_init(&turn->state, TURN_FREE);
    pthread_mutex_init(&turn->lock, NULL);
    turn->first = turn->last = NULL;
}

void turn_destroy(struct turn *turn)
{
    assert(atomic_load(&turn->state) == TURN_FREE && turn->first == NULL);
    pthread_mutex_destroy(&turn->lock);
}

static bool move(struct turn *turn, int from, int to)
{
    return atomic_compare_exchange_strong_explicit(&turn->state, &from, to, memory_order_acq_rel, memory_order_acquire);
}

bool turn_try(struct turn *turn)
{
    return move(turn, TURN_FREE, TURN_TAKEN);
}

/* Under the lock. */
static void append(struct turn *turn, struct turn_waiter *waiter)
{
    waiter->queued = true;
    waiter->next = NULL;
    waiter->prev = turn->last;
    if (turn->last != NULL) {
        turn->last->next = waiter;
    } else {
        turn->first = waiter;
    }
    turn->last = waiter;
}

/* Under the lock. */
static void take_out(struct turn *turn, struct turn_waiter *waiter)
{
    waiter->queued = false;
    if (waiter->prev != NULL) {
        waiter->prev->next = waiter->next;
    } else {
        turn->first = waiter->next;
    }
    if (waiter->next != NULL) {
        waiter->next->prev = waiter->prev;
    } else {
        turn->last = waiter->prev;
    }
}

bool turn_wait(struct turn *turn, struct turn_waiter *waiter)
{
    bool taken = false;

    pthread_mutex_lock(&turn->lock);
    /* Whoever has it may give it back right now, so that it is ours; once QUEUED it cannot without the lock. */
    while (atomic_load(&turn->state) != TURN_QUEUED && !move(turn, TURN_TAKEN, TURN_QUEUED)) {
        if (turn_try(turn)) {
            taken = true;
            break;
        }
    }
    if (!taken) {
        append(turn, waiter);
    }
    pthread_mutex_unlock(&turn->lock);
    return taken;
}

bool turn_cancel(struct turn *turn, struct turn_waiter *waiter)
{
    bool was;

    pthread_mutex_lock(&turn->lock);
    was = waiter->queued;
    if (was) {
        take_out(turn, waiter);
    }
    pthread_mutex_unlock(&turn->lock);
    return was;
}

void turn_give(struct turn *turn, struct executor *executor)
{
    struct turn_waiter *next;

    if (move(turn, TURN_TAKEN, TURN_FREE)) {
        return;
    }
    pthread_mutex_lock(&turn->lock);
    assert(atomic_load(&turn->state) == TURN_QUEUED);
    next = turn->first;
    if (next != NULL) {
        take_out(turn, next);
    }
    atomic_store(&turn->state, next == NULL ? TURN_FREE : turn->first == NULL ? TURN_TAKEN : TURN_QUEUED);
    pthread_mutex_unlock(&turn->lock);
    if (next != NULL) {
        executor_prompt(executor, &next->work);
    }
}
