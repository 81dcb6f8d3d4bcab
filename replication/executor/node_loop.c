/* replication/executor/node_loop.c: the heap, the queue of works, and the thread.
 *
 * Timers: a binary heap under the lock, the earliest at index 1. One uv_timer_t is set to the earliest deadline; who
 * brings an earlier one wakes the loop by the uv_async_t. An idle loop sleeps until the earliest timer.
 *
 * Works: a queue under the lock and LIMIT_POOL_THREADS runners, each a uv_work_t that takes works from the queue until
 * it is empty. So a work needs no memory of its own and nothing is allocated for a step.
 *
 * Failing: only starting can fail. A timer that finds no memory for its place in the heap aborts the process: the heap
 * doubles, so that this is a matter of some bytes. */
#include "replication/executor/node_loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "replication/base/limits.h"

struct runner {
    uv_work_t req;
    struct node_loop *loop;
    bool busy; /* the loop thread's */
};

struct node_loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t timer;
    struct clock *clock;
    pthread_t thread;
    struct runner runners[LIMIT_POOL_THREADS];

    pthread_mutex_t lock;
    struct node_timer **heap; /* 1 … heap_count */
    size_t heap_count, heap_room;
    struct node_work *first, **last;
    bool stopping;
};

/* ---- the heap; under the lock ---- */

static void heap_set(struct node_loop *loop, size_t index, struct node_timer *timer)
{
    loop->heap[index] = timer;
    timer->heap_index = index;
}

static void heap_up(struct node_loop *loop, size_t index)
{
    struct node_timer *timer = loop->heap[index];
    for (; index > 1 && loop->heap[index / 2]->deadline_ms > timer->deadline_ms; index /= 2)
        heap_set(loop, index, loop->heap[index / 2]);
    heap_set(loop, index, timer);
}

static void heap_down(struct node_loop *loop, size_t index)
{
    struct node_timer *timer = loop->heap[index];
    for (size_t child; (child = 2 * index) <= loop->heap_count; index = child) {
        if (child < loop->heap_count && loop->heap[child + 1]->deadline_ms < loop->heap[child]->deadline_ms)
            child++;
        if (loop->heap[child]->deadline_ms >= timer->deadline_ms)
            break;
        heap_set(loop, index, loop->heap[child]);
    }
    heap_set(loop, index, timer);
}

static void heap_add(struct node_loop *loop, struct node_timer *timer)
{
    if (loop->heap_count + 1 >= loop->heap_room) {
        size_t room = loop->heap_room == 0 ? 64 : 2 * loop->heap_room;
        struct node_timer **heap = realloc(loop->heap, room * sizeof(struct node_timer *));
        if (heap == NULL)
            abort();
        loop->heap = heap;
        loop->heap_room = room;
    }
    heap_set(loop, ++loop->heap_count, timer);
    heap_up(loop, loop->heap_count);
}

static void heap_remove(struct node_loop *loop, struct node_timer *timer)
{
    size_t index = timer->heap_index;
    struct node_timer *moved = loop->heap[loop->heap_count--];
    timer->heap_index = 0;
    if (moved == timer)
        return;
    heap_set(loop, index, moved);
    heap_up(loop, index);
    heap_down(loop, moved->heap_index);
}

/* ---- works ---- */

static struct node_work *take_work(struct node_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct node_work *work = loop->first;
    if (work != NULL) {
        loop->first = work->next;
        if (loop->first == NULL)
            loop->last = &loop->first;
    }
    pthread_mutex_unlock(&loop->lock);
    return work;
}

static void on_runner(uv_work_t *req)
{
    struct runner *runner = req->data;
    struct node_work *work;
    while ((work = take_work(runner->loop)) != NULL)
        work->run(work);
}

static void on_runner_done(uv_work_t *req, int status);

/* As many idle runners as there are works, and not one more. The loop thread. */
static void start_runners(struct node_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct node_work *waiting = loop->first;
    for (int i = 0; i < LIMIT_POOL_THREADS && waiting != NULL; i++) {
        struct runner *runner = &loop->runners[i];
        if (runner->busy)
            continue;
        runner->busy = true;
        runner->loop = loop;
        runner->req.data = runner;
        int rc = uv_queue_work(&loop->uv, &runner->req, on_runner, on_runner_done);
        assert(rc == 0);
        (void)rc;
        waiting = waiting->next;
    }
    pthread_mutex_unlock(&loop->lock);
}

static bool any_busy(const struct node_loop *loop)
{
    for (int i = 0; i < LIMIT_POOL_THREADS; i++)
        if (loop->runners[i].busy)
            return true;
    return false;
}

/* ---- the loop thread ---- */

static void on_timer(uv_timer_t *timer);

/* Sets the one libuv timer to the earliest deadline. */
static void arm(struct node_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    int64_t deadline_ms = loop->heap_count > 0 ? loop->heap[1]->deadline_ms : INT64_MAX;
    pthread_mutex_unlock(&loop->lock);
    if (deadline_ms == INT64_MAX) {
        uv_timer_stop(&loop->timer);
        return;
    }
    int64_t wait_ms = deadline_ms - loop->clock->mono_ms(loop->clock);
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

/* Fires what is due, one after the other, each without the lock. */
static void fire_due(struct node_loop *loop)
{
    int64_t now_ms = loop->clock->mono_ms(loop->clock);
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        struct node_timer *timer = loop->heap_count > 0 && !loop->stopping ? loop->heap[1] : NULL;
        if (timer != NULL && timer->deadline_ms > now_ms)
            timer = NULL;
        if (timer != NULL)
            heap_remove(loop, timer);
        pthread_mutex_unlock(&loop->lock);
        if (timer == NULL)
            return;
        timer->fire(timer);
    }
}

/* Everything that a turn of the loop has to look at: timers, works, and whether it is over. */
static void turn(struct node_loop *loop)
{
    fire_due(loop);
    start_runners(loop);
    pthread_mutex_lock(&loop->lock);
    bool over = loop->stopping && loop->first == NULL;
    pthread_mutex_unlock(&loop->lock);
    if (!over || any_busy(loop)) {
        arm(loop);
        return;
    }
    if (!uv_is_closing((uv_handle_t *)&loop->wake)) {
        uv_close((uv_handle_t *)&loop->wake, NULL);
        uv_close((uv_handle_t *)&loop->timer, NULL);
    }
}

static void on_timer(uv_timer_t *timer)
{
    turn(timer->data);
}

static void on_wake(uv_async_t *wake)
{
    turn(wake->data);
}

static void on_runner_done(uv_work_t *req, int status)
{
    (void)status;
    struct runner *runner = req->data;
    runner->busy = false;
    turn(runner->loop);
}

static void *run(void *arg)
{
    struct node_loop *loop = arg;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    return NULL;
}

/* Signals are for the threads of fs/. */
static int start_thread(struct node_loop *loop)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = -pthread_create(&loop->thread, NULL, run, loop);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int node_loop_start(struct clock *clock, struct node_loop **out, struct err *e)
{
    struct node_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return err_sys(e, -ENOMEM, "start the loop");
    loop->clock = clock;
    loop->last = &loop->first;
    pthread_mutex_init(&loop->lock, NULL);
    int rc = uv_loop_init(&loop->uv);
    if (rc != 0)
        goto err_after_lock;
    rc = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (rc != 0)
        goto err_after_uv;
    uv_timer_init(&loop->uv, &loop->timer);
    loop->wake.data = loop;
    loop->timer.data = loop;
    rc = start_thread(loop);
    if (rc != 0)
        goto err_after_handles;
    *out = loop;
    return 0;

err_after_handles:
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
err_after_uv:
    uv_loop_close(&loop->uv);
err_after_lock:
    pthread_mutex_destroy(&loop->lock);
    free(loop);
    return err_sys(e, rc, "start the loop");
}

void node_loop_stop(struct node_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->stopping = true;
    for (size_t i = 1; i <= loop->heap_count; i++)
        loop->heap[i]->heap_index = 0;
    loop->heap_count = 0;
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
    pthread_join(loop->thread, NULL);
    uv_loop_close(&loop->uv);
    pthread_mutex_destroy(&loop->lock);
    free(loop->heap);
    free(loop);
}

void node_loop_wake(struct node_loop *loop)
{
    uv_async_send(&loop->wake);
}

void node_loop_timer_start(struct node_loop *loop, struct node_timer *timer, int64_t after_ms)
{
    int64_t now_ms = loop->clock->mono_ms(loop->clock);
    pthread_mutex_lock(&loop->lock);
    if (timer->heap_index != 0)
        heap_remove(loop, timer);
    timer->deadline_ms = after_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + after_ms;
    bool earliest = false;
    if (!loop->stopping) {
        heap_add(loop, timer);
        earliest = timer->heap_index == 1;
    }
    pthread_mutex_unlock(&loop->lock);
    if (earliest)
        uv_async_send(&loop->wake);
}

bool node_loop_timer_cancel(struct node_loop *loop, struct node_timer *timer)
{
    pthread_mutex_lock(&loop->lock);
    bool running = timer->heap_index != 0;
    if (running)
        heap_remove(loop, timer);
    pthread_mutex_unlock(&loop->lock);
    return running;
}

bool node_loop_timer_running(struct node_loop *loop, struct node_timer *timer)
{
    pthread_mutex_lock(&loop->lock);
    bool running = timer->heap_index != 0;
    pthread_mutex_unlock(&loop->lock);
    return running;
}

void node_loop_submit(struct node_loop *loop, struct node_work *work)
{
    pthread_mutex_lock(&loop->lock);
    work->next = NULL;
    *loop->last = work;
    loop->last = &work->next;
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
}
