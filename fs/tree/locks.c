/* fs/tree/locks.c: a list of the locks that are held and a queue of the requests that wait, for each partition.
 *
 * The happy path: a request that conflicts with no lock of another owner changes the list at once, and then the queue
 * is walked in order, for a lock that was dropped or weakened may let others in. A request that conflicts is queued
 * with the owner that it waits for. As in Linux, only held locks make a request wait, not those that are queued before
 * it.
 *
 * Deadlocks: every waiting POSIX request of all tables is also in one global hash by its owner. Before a request is
 * queued for the lock of B, the chain "B waits for C, C waits for …" is followed; if it comes back to the request's own
 * owner it fails with -EDEADLK. The same is done again when a waiting request finds itself behind another owner.
 *
 * Fails only for want of memory or with LIMIT_LOCKS locks held, and then no lock has changed but one that flock(2)
 * was to convert; unlocking all bytes needs no memory and cannot fail. Locks: the table's mutex, then the global one.
 */
#include "fs/tree/locks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fs/base/limits.h"

struct held {
    struct held *next;
    uint64_t owner;
    int64_t start, end;
    pid_t pid;
    int type;
};

struct locks {
    pthread_mutex_t mutex;
    struct held *held[2]; /* by enum locks_kind */
    size_t held_count;
    _Atomic bool any;                   /* are held, for who has not got the mutex */
    struct locks_request *first, *last; /* the queue */
};

/* ---- who waits for whom ---- */

enum { WAIT_BUCKETS = 256 };

static pthread_mutex_t waits_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct locks_request *waits[WAIT_BUCKETS];
static size_t waits_count;

static struct locks_request **waits_bucket(uint64_t owner)
{
    return &waits[(owner * UINT64_C(0x9e3779b97f4a7c15)) >> 56];
}

static const struct locks_request *waits_find(uint64_t owner)
{
    const struct locks_request *request = *waits_bucket(owner);

    while (request != NULL && request->owner != owner) {
        request = request->wait_next;
    }
    return request;
}

/* Would `owner` waiting for `blocker` close a circle? Each step is another waiting request, which bounds the walk. */
static bool waits_circular(uint64_t owner, uint64_t blocker)
{
    for (size_t steps = 0; steps <= waits_count; steps++) {
        const struct locks_request *request;

        if (blocker == owner) {
            return true;
        }
        request = waits_find(blocker);
        if (request == NULL) {
            return false;
        }
        blocker = request->blocker;
    }
    return false;
}

/* 0 or -EDEADLK. */
static int waits_enter(struct locks_request *request, uint64_t blocker)
{
    int rc = -EDEADLK;

    pthread_mutex_lock(&waits_mutex);
    if (!waits_circular(request->owner, blocker)) {
        struct locks_request **bucket = waits_bucket(request->owner);

        request->blocker = blocker;
        request->wait_next = *bucket;
        *bucket = request;
        waits_count++;
        rc = 0;
    }
    pthread_mutex_unlock(&waits_mutex);
    return rc;
}

static void waits_leave(struct locks_request *request)
{
    struct locks_request **at = waits_bucket(request->owner);

    pthread_mutex_lock(&waits_mutex);
    while (*at != request) {
        at = &(*at)->wait_next;
    }
    *at = request->wait_next;
    waits_count--;
    pthread_mutex_unlock(&waits_mutex);
}

/* ---- the queue; the table's mutex is held ---- */

static int queue_put(struct locks *locks, struct locks_request *request, uint64_t blocker)
{
    if (request->kind == LOCKS_POSIX) {
        int rc = waits_enter(request, blocker);

        if (rc < 0) {
            return rc;
        }
    }
    request->queued = true;
    request->next = NULL;
    request->prev = locks->last;
    *(locks->last != NULL ? &locks->last->next : &locks->first) = request;
    locks->last = request;
    return 0;
}

static void queue_unlink(struct locks *locks, struct locks_request *request)
{
    *(request->prev != NULL ? &request->prev->next : &locks->first) = request->next;
    *(request->next != NULL ? &request->next->prev : &locks->last) = request->prev;
    request->queued = false;
}

static void queue_remove(struct locks *locks, struct locks_request *request)
{
    queue_unlink(locks, request);
    if (request->kind == LOCKS_POSIX) {
        waits_leave(request);
    }
}

/* ---- the locks that are held; the table's mutex is held ---- */

static bool overlaps(const struct held *held, const struct locks_request *request)
{
    return held->start <= request->end && request->start <= held->end;
}

/* The lock of another owner that stands in the way and starts first; NULL: none. */
static const struct held *conflict(const struct locks *locks, const struct locks_request *request)
{
    const struct held *found = NULL;

    for (const struct held *held = locks->held[request->kind]; held != NULL; held = held->next) {
        if (held->owner != request->owner && (held->type == F_WRLCK || request->type == F_WRLCK) &&
            overlaps(held, request) && (found == NULL || held->start < found->start)) {
            found = held;
        }
    }
    return found;
}

/* Two locks of one owner, of the same type, with nothing between them, are one. */
static bool joins(const struct held *held, const struct locks_request *request)
{
    return held->type == request->type && (held->end == INT64_MAX || held->end + 1 >= request->start) &&
           (request->end == INT64_MAX || request->end + 1 >= held->start);
}

static bool is_all(const struct locks_request *request)
{
    return request->start == 0 && request->end == INT64_MAX;
}

/* What applying a request can need at most: the lock itself, and the right part of one that it splits. */
enum { SPARES = 2 };

static int spares_get(const struct locks *locks, const struct locks_request *request, struct held *spares[SPARES])
{
    spares[0] = spares[1] = NULL;
    if (request->type == F_UNLCK && is_all(request)) {
        return 0;
    }
    if (locks->held_count + SPARES > LIMIT_LOCKS) {
        return -ENOLCK;
    }
    spares[0] = malloc(sizeof *spares[0]);
    spares[1] = malloc(sizeof *spares[1]);
    if (spares[0] == NULL || spares[1] == NULL) {
        free(spares[0]);
        free(spares[1]);
        return -ENOMEM;
    }
    return 0;
}

static void put(struct locks *locks, enum locks_kind kind, struct held *spare, struct held what)
{
    what.next = locks->held[kind];
    *spare = what;
    locks->held[kind] = spare;
    locks->held_count++;
}

/* Cuts [request->start, request->end] out of a lock. False: nothing is left of it. */
static bool cut(struct locks *locks, struct held *held, const struct locks_request *request, struct held **spare)
{
    bool left = held->start < request->start;
    bool right = held->end > request->end;

    if (left && right) {
        struct held rest = *held;

        rest.start = request->end + 1;
        put(locks, request->kind, *spare, rest);
        *spare = NULL;
    }
    if (left) {
        held->end = request->start - 1;
    } else if (right) {
        held->start = request->end + 1;
    }
    return left || right;
}

/* Makes the list what the request says, which conflicts with nothing. 0, -ENOMEM or -ENOLCK. */
static int apply(struct locks *locks, const struct locks_request *request)
{
    struct held new = {NULL, request->owner, request->start, request->end, request->pid, request->type};
    struct held *spares[SPARES];
    struct held **at = &locks->held[request->kind];
    int rc = spares_get(locks, request, spares);

    if (rc < 0) {
        return rc;
    }
    while (*at != NULL) {
        struct held *held = *at;

        if (held->owner == request->owner && joins(held, request)) {
            new.start = held->start < new.start ? held->start : new.start;
            new.end = held->end > new.end ? held->end : new.end;
        } else if (held->owner != request->owner || !overlaps(held, request) || cut(locks, held, request, &spares[1])) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        free(held);
        locks->held_count--;
    }
    if (request->type != F_UNLCK) {
        put(locks, request->kind, spares[0], new);
        spares[0] = NULL;
    }
    atomic_store_explicit(&locks->any, locks->held_count != 0, memory_order_release);
    free(spares[0]);
    free(spares[1]);
    return 0;
}

/* ---- granting ---- */

/* Must a request go on waiting? Otherwise it is out of the queue, with its rc. */
static bool still_waits(struct locks *locks, struct locks_request *request)
{
    const struct held *in_the_way = conflict(locks, request);

    if (in_the_way == NULL) {
        queue_remove(locks, request);
        request->rc = apply(locks, request);
        return false;
    }
    if (request->kind == LOCKS_POSIX && in_the_way->owner != request->blocker) {
        waits_leave(request);
        request->rc = waits_enter(request, in_the_way->owner);
        if (request->rc < 0) {
            queue_unlink(locks, request);
            return false;
        }
    }
    return true;
}

/* Takes all out of the queue that no longer have to wait, in order, as a list through next. The mutex is held. A read
 * lock that is granted may have weakened a write lock of its owner, so the queue is walked once more then. */
static struct locks_request *take_grantable(struct locks *locks)
{
    struct locks_request *granted = NULL;
    struct locks_request **tail = &granted;
    struct locks_request *following;
    bool again;

    do {
        again = false;
        for (struct locks_request *request = locks->first; request != NULL; request = following) {
            following = request->next;
            if (still_waits(locks, request)) {
                continue;
            }
            again = again || (request->rc == 0 && request->type == F_RDLCK);
            request->next = NULL;
            *tail = request;
            tail = &request->next;
        }
    } while (again);
    return granted;
}

static void call_granted(struct locks_request *granted)
{
    while (granted != NULL) {
        struct locks_request *next = granted->next;

        granted->granted(granted, granted->rc);
        granted = next;
    }
}

/* ---- the interface ---- */

struct locks *locks_new(void)
{
    struct locks *locks = calloc(1, sizeof *locks);

    if (locks != NULL) {
        pthread_mutex_init(&locks->mutex, NULL);
    }
    return locks;
}

void locks_free(struct locks *locks)
{
    if (locks == NULL) {
        return;
    }
    assert(locks->first == NULL);
    for (int kind = LOCKS_POSIX; kind <= LOCKS_FLOCK; kind++) {
        while (locks->held[kind] != NULL) {
            struct held *held = locks->held[kind];

            locks->held[kind] = held->next;
            free(held);
        }
    }
    pthread_mutex_destroy(&locks->mutex);
    free(locks);
}

int locks_set(struct locks *locks, struct locks_request *request, bool wait)
{
    struct locks_request *granted;
    const struct held *in_the_way = NULL;
    int rc;

    assert(request->start >= 0 && request->start <= request->end);
    assert(request->kind == LOCKS_POSIX || is_all(request));
    request->table = locks;
    request->queued = false;
    pthread_mutex_lock(&locks->mutex);
    if (request->kind == LOCKS_FLOCK && request->type != F_UNLCK) {
        /* flock(2): a conversion first removes the lock that there is, and is an ordinary request then. */
        struct locks_request drop = *request;

        drop.type = F_UNLCK;
        (void)apply(locks, &drop); /* of all bytes: cannot fail */
    }
    if (request->type != F_UNLCK) {
        in_the_way = conflict(locks, request);
    }
    if (in_the_way == NULL) {
        rc = apply(locks, request);
        rc = rc == 0 ? 1 : rc;
    } else if (!wait) {
        rc = -EAGAIN;
    } else {
        rc = queue_put(locks, request, in_the_way->owner);
    }
    granted = take_grantable(locks);
    pthread_mutex_unlock(&locks->mutex);
    call_granted(granted);
    return rc;
}

void locks_get(struct locks *locks, struct locks_request *request)
{
    const struct held *in_the_way;

    pthread_mutex_lock(&locks->mutex);
    in_the_way = conflict(locks, request);
    if (in_the_way == NULL) {
        request->type = F_UNLCK;
    } else {
        request->type = in_the_way->type;
        request->owner = in_the_way->owner;
        request->pid = in_the_way->pid;
        request->start = in_the_way->start;
        request->end = in_the_way->end;
    }
    pthread_mutex_unlock(&locks->mutex);
}

bool locks_cancel(struct locks_request *request)
{
    struct locks *locks = request->table;
    bool waiting;

    pthread_mutex_lock(&locks->mutex);
    waiting = request->queued;
    if (waiting) {
        queue_remove(locks, request);
    }
    pthread_mutex_unlock(&locks->mutex);
    return waiting;
}

void locks_release_owner(struct locks *locks, enum locks_kind kind, uint64_t owner)
{
    struct locks_request all = {.kind = kind, .owner = owner, .type = F_UNLCK, .start = 0, .end = INT64_MAX};
    struct locks_request *granted;

    pthread_mutex_lock(&locks->mutex);
    (void)apply(locks, &all); /* cannot fail */
    granted = take_grantable(locks);
    pthread_mutex_unlock(&locks->mutex);
    call_granted(granted);
}

bool locks_any(struct locks *locks)
{
    return atomic_load_explicit(&locks->any, memory_order_acquire);
}

bool locks_empty(struct locks *locks)
{
    bool empty;

    pthread_mutex_lock(&locks->mutex);
    empty = locks->first == NULL && locks->held_count == 0;
    pthread_mutex_unlock(&locks->mutex);
    return empty;
}
