#include "fs/base/fence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/base/park.h"
#include "fs/base/session.h"

/* One parked request. */
struct fence_call {
    struct park park;
    struct fence *fence;
    struct fence_request request;
    const struct fence *before; /* that it has waited for already; compared, never followed */
    int64_t deadline_ms;
    bool queued; /* the fence's lock */
    struct fence_call *next;
};

_Atomic int fence_all_raised;

/* A request that has waited, while it runs again. */
static _Thread_local const struct fence_call *again;

static void expire(struct alarm *alarm);

struct fence *fence_new(struct node *node)
{
    struct fence *fence = calloc(1, sizeof(*fence));
    if (!fence)
        return NULL;
    atomic_init(&fence->refs, 1);
    pthread_mutex_init(&fence->lock, NULL);
    fence->node = node;
    fence->patience_ms = LIMIT_FENCE_MS;
    alarm_init(&fence->alarm, WORK_PROMPT, expire);
    return fence;
}

void fence_unref(struct fence *fence)
{
    if (atomic_fetch_sub(&fence->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&fence->lock);
    free(fence);
}

void fence_free(struct fence *fence)
{
    pthread_mutex_lock(&fence->lock);
    bool cancelled = fence->alarm_on && alarm_cancel(node_executor(fence->node), &fence->alarm);
    if (cancelled)
        fence->alarm_on = false;
    pthread_mutex_unlock(&fence->lock);
    if (cancelled)
        fence_unref(fence); /* the alarm's */
    fence_unref(fence);
}

static int64_t now_ms(const struct fence *fence)
{
    struct clock *clock = node_clock(fence->node);
    return clock->mono_ms(clock);
}

/* Under the lock. */
static void take_down(struct fence *fence, struct fence_post *post)
{
    if (!post->raised)
        return;
    post->raised = false;
    if (post->prev)
        post->prev->next = post->next;
    else
        fence->posts = post->next;
    if (post->next)
        post->next->prev = post->prev;
    post->prev = post->next = NULL;
    atomic_fetch_sub(&fence->raised, 1);
    atomic_fetch_sub(&fence_all_raised, 1);
}

/* Takes the calls that need wait no longer out of the queue. Under the lock. */
static struct fence_call *take_calls(struct fence *fence, int64_t now)
{
    bool down = atomic_load(&fence->raised) == 0;
    struct fence_call *taken = NULL, **tail = &taken;
    for (struct fence_call **link = &fence->calls; *link;) {
        struct fence_call *call = *link;
        if (!down && call->deadline_ms > now) {
            link = &call->next;
            continue;
        }
        *link = call->next;
        call->next = NULL;
        call->queued = false;
        *tail = call;
        tail = &call->next;
    }
    return taken;
}

static void run_calls(struct fence_call *calls)
{
    while (calls) {
        struct fence_call *call = calls;
        calls = call->next;
        park_answer(&call->park);
        const struct fence_call *outer = again;
        again = call;
        call->request.run(&call->request);
        again = outer;
        park_unref(&call->park);
    }
}

/* The earliest moment at which somebody's patience ends; -1: nobody waits. Under the lock. */
static int64_t earliest(const struct fence *fence)
{
    int64_t at = -1;
    for (const struct fence_post *post = fence->posts; post; post = post->next)
        if (at < 0 || post->deadline_ms < at)
            at = post->deadline_ms;
    for (const struct fence_call *call = fence->calls; call; call = call->next)
        if (at < 0 || call->deadline_ms < at)
            at = call->deadline_ms;
    return at;
}

/* Under the lock. */
static void arm(struct fence *fence, int64_t now)
{
    int64_t at = earliest(fence);
    if (at < 0 || fence->alarm_on)
        return;
    fence->alarm_on = true;
    atomic_fetch_add(&fence->refs, 1);
    alarm_set(node_executor(fence->node), &fence->alarm, at > now ? at - now : 1);
}

static void expire(struct alarm *alarm)
{
    struct fence *fence = CONTAINER_OF(alarm, struct fence, alarm);
    int64_t now = now_ms(fence);
    pthread_mutex_lock(&fence->lock);
    fence->alarm_on = false;
    for (struct fence_post *post = fence->posts; post;) {
        struct fence_post *next = post->next;
        if (post->deadline_ms <= now)
            take_down(fence, post);
        post = next;
    }
    struct fence_call *calls = take_calls(fence, now);
    arm(fence, now);
    pthread_mutex_unlock(&fence->lock);
    run_calls(calls);
    fence_unref(fence); /* the alarm's */
}

void fence_raise(struct fence *fence, struct fence_post *post)
{
    int64_t now = now_ms(fence);
    pthread_mutex_lock(&fence->lock);
    post->deadline_ms = now + fence->patience_ms;
    if (!post->raised) {
        post->raised = true;
        post->prev = NULL;
        post->next = fence->posts;
        if (post->next)
            post->next->prev = post;
        fence->posts = post;
        atomic_fetch_add(&fence->raised, 1);
        atomic_fetch_add(&fence_all_raised, 1);
    }
    arm(fence, now);
    pthread_mutex_unlock(&fence->lock);
}

void fence_lower(struct fence *fence, struct fence_post *post)
{
    pthread_mutex_lock(&fence->lock);
    take_down(fence, post);
    struct fence_call *calls = atomic_load(&fence->raised) == 0 ? take_calls(fence, 0) : NULL;
    pthread_mutex_unlock(&fence->lock);
    run_calls(calls);
}

static bool call_cancel(struct park *park)
{
    struct fence_call *call = CONTAINER_OF(park, struct fence_call, park);
    struct fence *fence = call->fence;
    pthread_mutex_lock(&fence->lock);
    bool was = call->queued;
    if (was) {
        call->queued = false;
        struct fence_call **link = &fence->calls;
        while (*link != call)
            link = &(*link)->next;
        *link = call->next;
    }
    pthread_mutex_unlock(&fence->lock);
    return was;
}

static void call_aborted(struct park *park, int rc)
{
    fuse_reply_err(park->req, -rc);
}

static void call_free(struct park *park)
{
    struct fence_call *call = CONTAINER_OF(park, struct fence_call, park);
    fence_unref(call->fence);
    free((char *)call->request.name);
    free((char *)call->request.data);
    free(call);
}

static void *memdup(const char *data, size_t size)
{
    void *copy = malloc(size);
    if (copy)
        memcpy(copy, data, size);
    return copy;
}

bool fence_wait(struct fence *fence, struct session *session, const struct fence_request *request)
{
    if (!fence_is_up(fence) || (again && (again->fence == fence || again->before == fence)))
        return false;
    int64_t now = now_ms(fence);
    bool short_wait = again && fence->patience_ms <= LIMIT_FENCE_MS;
    int64_t deadline_ms = short_wait ? again->deadline_ms : now + fence->patience_ms;
    if (deadline_ms <= now)
        return false;
    struct fence_call *call = calloc(1, sizeof(*call));
    if (!call)
        return false;
    call->request = *request;
    call->request.name = request->name ? strdup(request->name) : NULL;
    call->request.data = request->data ? memdup(request->data, request->size) : NULL;
    if ((request->name && !call->request.name) || (request->data && !call->request.data)) {
        free((char *)call->request.name);
        free(call);
        return false;
    }
    call->fence = fence;
    call->before = again ? again->fence : NULL;
    call->deadline_ms = deadline_ms;
    atomic_fetch_add(&fence->refs, 1);
    call->park.cancel = call_cancel;
    call->park.aborted = call_aborted;
    call->park.free = call_free;
    call->park.fatal_only = true; /* it is short, and no stat(2) or open(2) is to fail for a timer's tick */
    park_begin(&call->park, session, request->req);
    pthread_mutex_lock(&fence->lock);
    bool up = atomic_load(&fence->raised) > 0;
    if (up) {
        call->queued = true;
        struct fence_call **link = &fence->calls;
        while (*link)
            link = &(*link)->next;
        *link = call;
        arm(fence, now);
    }
    pthread_mutex_unlock(&fence->lock);
    if (!up) {
        park_answer(&call->park);
        park_unref(&call->park);
    }
    park_settle(&call->park);
    return up;
}

bool fence_runs_again(void)
{
    return again != NULL;
}
