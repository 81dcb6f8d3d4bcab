#include "fs/base/fence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/base/park.h"
#include "fs/base/session.h"
#include "fs/base/workers.h"

/* One parked request. */
struct fence_call {
    struct park park;
    struct fence *fence;
    struct fence_request request;
    const struct fence *before; /* that it has waited for already; compared, never followed */
    struct workers_look look;   /* who may have had a RELEASE when it came. The fence's lock */
    uint64_t upto;              /* the last post that was up then */
    int64_t deadline_ms;
    bool queued; /* the fence's lock */
    struct fence_call *next;
};

_Atomic int fence_all_raised;

/* A request that has waited, while it runs again. */
static _Thread_local const struct fence_call *again;

static void expire(struct alarm *alarm);
static void look_again(struct alarm *alarm);

struct fence *fence_new(struct node *node)
{
    struct fence *fence = calloc(1, sizeof *fence);
    if (fence == NULL)
        return NULL;
    atomic_init(&fence->refs, 1);
    pthread_mutex_init(&fence->lock, NULL);
    fence->node = node;
    fence->patience_ms = LIMIT_FENCE_MS;
    alarm_init(&fence->alarm, WORK_PROMPT, expire);
    alarm_init(&fence->look, WORK_PROMPT, look_again);
    return fence;
}

void fence_unref(struct fence *fence)
{
    if (atomic_fetch_sub(&fence->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&fence->lock);
    free(fence);
}

/* Unless there is something to look for. Under the lock; true: the alarm's reference is the caller's to drop. */
static bool disarm(struct fence *fence, bool *on, struct alarm *alarm, bool needed)
{
    bool cancelled = *on && !needed && alarm_cancel(node_executor(fence->node), alarm);
    *on &= !cancelled;
    return cancelled;
}

void fence_free(struct fence *fence)
{
    pthread_mutex_lock(&fence->lock);
    bool alarm = disarm(fence, &fence->alarm_on, &fence->alarm, false);
    bool look = disarm(fence, &fence->look_on, &fence->look, fence->calls != NULL);
    pthread_mutex_unlock(&fence->lock);
    if (alarm)
        fence_unref(fence);
    if (look)
        fence_unref(fence);
    fence_unref(fence);
}

static int64_t now_ms(const struct fence *fence)
{
    struct clock *clock = node_clock(fence->node);
    return clock->mono_ms(clock);
}

/* Whether what raises it is sure to lower it: it is waited for, whatever the workers have in hand. */
static bool is_patient(const struct fence *fence)
{
    return fence->patience_ms > LIMIT_FENCE_MS;
}

static int64_t longest_ms(const struct fence *fence)
{
    return is_patient(fence) ? fence->patience_ms : LIMIT_FENCE_POST_MS;
}

/* Under the lock. */
static void take_down(struct fence *fence, struct fence_post *post)
{
    if (!post->raised)
        return;
    post->raised = false;
    if (post->prev != NULL)
        post->prev->next = post->next;
    else
        fence->posts = post->next;
    if (post->next != NULL)
        post->next->prev = post->prev;
    post->prev = post->next = NULL;
    atomic_fetch_sub(&fence->raised, 1);
    atomic_fetch_sub(&fence_all_raised, 1);
}

/* Whether a request must wait that came when the look was taken, before the posts behind `upto`. Under the lock. */
static bool must_wait(const struct fence *fence, struct workers_look *look, uint64_t upto, int64_t now)
{
    bool open = false;
    for (const struct fence_post *post = fence->posts; post != NULL; post = post->next) {
        if (post->number > upto)
            continue;
        if (post->certain && post->deadline_ms > now)
            return true;
        open |= !post->certain;
    }
    return open && !workers_done(look);
}

/* Takes the calls that need wait no longer out of the queue. Under the lock. */
static struct fence_call *take_calls(struct fence *fence, int64_t now)
{
    struct fence_call *taken = NULL, **tail = &taken;
    for (struct fence_call **link = &fence->calls; *link != NULL;) {
        struct fence_call *call = *link;
        if (call->deadline_ms > now && must_wait(fence, &call->look, call->upto, now)) {
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
    while (calls != NULL) {
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

/* Posts that no RELEASE has followed go after a while, so that nobody looks for them any more; calls look again soon.
 * Under the lock. */
static void arm(struct fence *fence)
{
    struct executor *executor = node_executor(fence->node);
    if (fence->posts != NULL && !fence->alarm_on) {
        fence->alarm_on = true;
        atomic_fetch_add(&fence->refs, 1);
        alarm_set(executor, &fence->alarm, LIMIT_FENCE_POST_MS);
    }
    if (fence->calls != NULL && !fence->look_on) {
        fence->look_on = true;
        atomic_fetch_add(&fence->refs, 1);
        alarm_set(executor, &fence->look, LIMIT_FENCE_LOOK_MS);
    }
}

static void expire(struct alarm *alarm)
{
    struct fence *fence = CONTAINER_OF(alarm, struct fence, alarm);
    int64_t now = now_ms(fence);
    pthread_mutex_lock(&fence->lock);
    fence->alarm_on = false;
    for (struct fence_post *post = fence->posts; post != NULL;) {
        struct fence_post *next = post->next;
        if (post->deadline_ms <= now)
            take_down(fence, post);
        post = next;
    }
    struct fence_call *calls = take_calls(fence, now);
    arm(fence);
    pthread_mutex_unlock(&fence->lock);
    run_calls(calls);
    fence_unref(fence); /* the alarm's */
}

static void look_again(struct alarm *alarm)
{
    struct fence *fence = CONTAINER_OF(alarm, struct fence, look);
    int64_t now = now_ms(fence);
    pthread_mutex_lock(&fence->lock);
    fence->look_on = false;
    struct fence_call *calls = take_calls(fence, now);
    arm(fence);
    pthread_mutex_unlock(&fence->lock);
    run_calls(calls);
    fence_unref(fence); /* the alarm's */
}

void fence_raise(struct fence *fence, struct fence_post *post)
{
    int64_t now = now_ms(fence);
    pthread_mutex_lock(&fence->lock);
    post->certain = is_patient(fence);
    post->deadline_ms = now + longest_ms(fence);
    if (!post->raised) {
        post->raised = true;
        post->number = ++fence->ever;
        post->prev = NULL;
        post->next = fence->posts;
        if (post->next != NULL)
            post->next->prev = post;
        fence->posts = post;
        atomic_fetch_add(&fence->raised, 1);
        atomic_fetch_add(&fence_all_raised, 1);
    }
    arm(fence);
    pthread_mutex_unlock(&fence->lock);
}

void fence_keep(struct fence *fence, struct fence_post *post)
{
    int64_t now = now_ms(fence);
    pthread_mutex_lock(&fence->lock);
    if (post->raised) {
        post->certain = true;
        post->deadline_ms = now + fence->patience_ms;
    }
    pthread_mutex_unlock(&fence->lock);
}

void fence_lower(struct fence *fence, struct fence_post *post)
{
    if (!fence_is_up(fence)) /* nor is this post: what raised it came before */
        return;
    int64_t now = now_ms(fence);
    pthread_mutex_lock(&fence->lock);
    take_down(fence, post);
    struct fence_call *calls = take_calls(fence, now);
    pthread_mutex_unlock(&fence->lock);
    run_calls(calls);
}

void fence_lower_soon(struct fence *fence, struct fence_post *post)
{
    pthread_mutex_lock(&fence->lock);
    take_down(fence, post);
    arm(fence); /* whoever waits looks again */
    pthread_mutex_unlock(&fence->lock);
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
    bool look = disarm(fence, &fence->look_on, &fence->look, fence->calls != NULL);
    pthread_mutex_unlock(&fence->lock);
    if (look)
        fence_unref(fence); /* not the last one: the call has its own */
    return was;
}

static void call_aborted(struct park *park, int rc)
{
    const struct fence_request *request = &CONTAINER_OF(park, struct fence_call, park)->request;
    if (request->aborted != NULL)
        request->aborted(request);
    fuse_reply_err(park->req, -rc);
}

static void call_free(struct park *park)
{
    struct fence_call *call = CONTAINER_OF(park, struct fence_call, park);
    fence_unref(call->fence);
    fence_request_free(&call->request);
    free(call);
}

static void *memdup(const char *data, size_t size)
{
    void *copy = malloc(size);
    if (copy != NULL)
        memcpy(copy, data, size);
    return copy;
}

bool fence_request_copy(struct fence_request *to, const struct fence_request *from)
{
    *to = *from;
    to->name = from->name != NULL ? strdup(from->name) : NULL;
    to->data = from->data != NULL ? memdup(from->data, from->size) : NULL;
    if ((from->name == NULL || to->name != NULL) && (from->data == NULL || to->data != NULL))
        return true;
    fence_request_free(to);
    return false;
}

void fence_request_free(struct fence_request *copy)
{
    free((char *)copy->name);
    free((char *)copy->data);
}

bool fence_wait(struct fence *fence, struct session *session, const struct fence_request *request)
{
    if (!fence_is_up(fence) || (again != NULL && (again->fence == fence || again->before == fence)))
        return false;
    int64_t now = now_ms(fence);
    bool short_wait = again != NULL && !is_patient(fence);
    int64_t deadline_ms = short_wait ? again->deadline_ms : now + longest_ms(fence);
    if (deadline_ms <= now)
        return false;
    struct workers_look look;
    workers_look(&look); /* who may have what was sent before this request */
    pthread_mutex_lock(&fence->lock);
    uint64_t upto = fence->ever;
    bool up = must_wait(fence, &look, upto, now);
    pthread_mutex_unlock(&fence->lock);
    if (!up)
        return false;
    struct fence_call *call = calloc(1, sizeof *call);
    if (call == NULL || !fence_request_copy(&call->request, request)) {
        free(call);
        return false;
    }
    call->fence = fence;
    call->before = again != NULL ? again->fence : NULL;
    call->deadline_ms = deadline_ms;
    call->look = look;
    call->upto = upto;
    atomic_fetch_add(&fence->refs, 1);
    call->park.cancel = call_cancel;
    call->park.aborted = call_aborted;
    call->park.free = call_free;
    call->park.fatal_only = true; /* it is short, and no stat(2) or open(2) is to fail for a timer's tick */
    park_begin(&call->park, session, request->req);
    pthread_mutex_lock(&fence->lock);
    up = must_wait(fence, &call->look, call->upto, now);
    if (up) {
        call->queued = true;
        struct fence_call **link = &fence->calls;
        while (*link != NULL)
            link = &(*link)->next;
        *link = call;
        arm(fence);
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
