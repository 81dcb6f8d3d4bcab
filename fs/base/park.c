#include "fs/base/park.h"

#include <errno.h>
#include <stddef.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/base/process.h"
#include "fs/base/session.h"

/* With the lock of the list, like those that follow. */
static void put_last(struct parks *parks, struct park *park)
{
    park->prev = parks->last;
    park->next = NULL;
    if (park->prev != NULL)
        park->prev->next = park;
    else
        parks->first = park;
    parks->last = park;
    park->listed = true;
    parks->count++;
}

static void take_out(struct parks *parks, struct park *park)
{
    if (!park->listed)
        return;
    if (park->prev != NULL)
        park->prev->next = park->next;
    else
        parks->first = park->next;
    if (park->next != NULL)
        park->next->prev = park->prev;
    else
        parks->last = park->prev;
    park->listed = false;
    parks->count--;
}

/* The next one in turn, which is everybody's once before it is its own again. NULL: there is none. */
static struct park *take_turn(struct parks *parks)
{
    struct park *park = parks->first;
    if (park == NULL)
        return NULL;
    take_out(parks, park);
    put_last(parks, park);
    atomic_fetch_add(&park->refs, 1);
    return park;
}

static void unlink_park(struct park *park)
{
    struct parks *parks = &park->session->parks;
    pthread_mutex_lock(&parks->lock);
    take_out(parks, park);
    pthread_mutex_unlock(&parks->lock);
}

void parks_init(struct parks *parks)
{
    pthread_mutex_init(&parks->lock, NULL);
    parks->first = parks->last = NULL;
    parks->count = 0;
    atomic_init(&parks->alive, 0);
}

void park_unref(struct park *park)
{
    struct parks *parks = &park->session->parks;
    if (atomic_fetch_sub(&park->refs, 1) != 1)
        return;
    park->free(park);
    atomic_fetch_sub(&parks->alive, 1);
}

static bool abort_with(struct park *park, int rc)
{
    if (park->fatal_only && !atomic_load(&park->dying))
        return false;
    if (!park->cancel(park))
        return false;
    park_answer(park);
    park->aborted(park, rc);
    park_unref(park);
    return true;
}

/* An interrupt came. Owns one reference, which goes on to the alarm if the wait does: what it waited for may have come
 * just now, and may be gone again before it is looked at. */
static void interrupt(struct park *park)
{
    if (process_dying(atomic_load(&park->tid)))
        atomic_store(&park->dying, true);
    bool over = atomic_load(&park->answered) || (atomic_load(&park->settled) && abort_with(park, -EINTR));
    if (!over && !atomic_load(&park->answered))
        alarm_set(node_executor(park->session->node), &park->look_again, LIMIT_LOOK_AGAIN_MS);
    else
        park_unref(park);
}

static void on_interrupt(struct work *work)
{
    interrupt(CONTAINER_OF(work, struct park, work));
}

static void on_look_again(struct alarm *alarm)
{
    interrupt(CONTAINER_OF(alarm, struct park, look_again));
}

/* With the request's lock held: no more than queueing. */
static void interrupted(fuse_req_t req, void *arg)
{
    struct park *park = arg;
    (void)req;
    if (atomic_exchange(&park->interrupt_queued, true))
        return;
    atomic_fetch_add(&park->refs, 1);
    executor_prompt(node_executor(park->session->node), &park->work);
}

void park_begin(struct park *park, struct session *session, fuse_req_t req)
{
    park->req = req;
    park->session = session;
    park->work.run = on_interrupt;
    alarm_init(&park->look_again, WORK_PROMPT, on_look_again);
    atomic_store(&park->tid, fuse_req_ctx(req)->pid);
    atomic_store(&park->refs, 2); /* the answer's and park_settle()'s */
    atomic_fetch_add(&session->parks.alive, 1);
    pthread_mutex_lock(&session->parks.lock);
    put_last(&session->parks, park);
    pthread_mutex_unlock(&session->parks.lock);
    fuse_req_interrupt_func(req, interrupted, park);
}

void park_settle(struct park *park)
{
    atomic_store(&park->settled, true); /* of this and interrupted() one at least sees the other's */
    if (atomic_load(&park->interrupt_queued))
        abort_with(park, -EINTR);
    park_unref(park);
}

void park_answer(struct park *park)
{
    atomic_store(&park->answered, true);
    fuse_req_interrupt_func(park->req, NULL, NULL);
    unlink_park(park);
}

void parks_hold(struct session *session)
{
    atomic_fetch_add(&session->parks.alive, 1);
}

void parks_let_go(struct session *session)
{
    atomic_fetch_sub(&session->parks.alive, 1);
}

bool parks_abort_all(struct session *session)
{
    struct parks *parks = &session->parks;
    bool ended = false;
    pthread_mutex_lock(&parks->lock);
    for (size_t turns = parks->count; turns > 0; turns--) {
        struct park *park = take_turn(parks);
        if (park == NULL)
            break;
        pthread_mutex_unlock(&parks->lock);
        atomic_store(&park->dying, true);
        ended |= abort_with(park, -ENOTCONN);
        park_unref(park);
        pthread_mutex_lock(&parks->lock);
    }
    pthread_mutex_unlock(&parks->lock);
    return ended;
}

void parks_abort(struct session *session)
{
    while (atomic_load(&session->parks.alive) > 0) {
        if (!parks_abort_all(session))
            executor_pause(node_executor(session->node), 1);
    }
}
