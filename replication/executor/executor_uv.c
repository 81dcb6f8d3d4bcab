/* replication/executor/executor_uv.c: the loop that keeps the time and serves the peers, and the pools.
 *
 * Alarms: one uv_timer_t is set to the earliest deadline; who brings an earlier one wakes the loop by the uv_async_t.
 * The loop only moves what is due to the queues. An idle loop sleeps until the earliest alarm.
 *
 * Pools: a queue for each kind, and threads that are made as they are needed, up to the kind's limit, and stay. The
 * first one of each is made at the start: that no further one can be made costs nothing but company. Of those that have
 * nothing to do the last one that worked is woken, as what it needs is in its processor's cache still; and by who has
 * given the lock back, or it would have to wait for that first.
 *
 * One lock guards all of it, for a few loads and stores; so an alarm that is due goes from the heap to its queue in one
 * step, and whoever silences and then settles has seen the last of them.
 *
 * Failing: only starting can fail. */
#include "replication/executor/executor_uv.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <uv.h>

#include "engine/base/container.h"
#include "replication/base/limits.h"
#include "replication/executor/alarms.h"

struct pool;

/* A thread of a pool. */
struct worker {
    struct pool *pool;
    pthread_t thread;
    sem_t wanted;        /* posted for each time that it was taken out of the list of idle ones */
    struct worker *next; /* idle, or woken */
};

struct pool {
    struct executor_uv *executor;
    struct work *first, **last;
    struct worker *idle; /* wait for something in the queue, the last one first */
    int limit, thread_count;
    struct worker workers[LIMIT_POOL_THREADS];
};

struct executor_uv {
    struct executor executor;
    struct clock *clock;
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t timer;
    pthread_t loop_thread;

    pthread_mutex_t lock;
    struct alarms alarms;
    bool silent; /* no alarm rings any more */
    bool ending;
    struct pool pools[WORK_KINDS];
    struct worker *woken; /* for who has the lock to wake, by unlock() */
    int unfinished;       /* works that are queued or under way, of all kinds */
    pthread_cond_t settled;
    struct loop_call *calls, **last_call; /* for the loop's thread */
    pthread_cond_t called;                /* one of them is over */
};

static const int pool_limits[WORK_KINDS] = {
    [WORK_PROMPT] = LIMIT_PROMPT_THREADS, [WORK_BULK] = LIMIT_BULK_THREADS, [WORK_URGENT] = LIMIT_URGENT_THREADS};

static struct executor_uv *of(struct executor *executor)
{
    return CONTAINER_OF(executor, struct executor_uv, executor);
}

/* A thread that no signal is delivered to: those are for the threads of fs/. */
static int make_thread(pthread_t *out, void *(*run)(void *), void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = -pthread_create(out, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

/* ---- the pools ---- */

/* Gives the lock back, and wakes for whom there is something since it was taken. */
static void unlock(struct executor_uv *executor)
{
    struct worker *worker = executor->woken;
    executor->woken = NULL;
    pthread_mutex_unlock(&executor->lock);
    for (struct worker *next; worker != NULL; worker = next) {
        next = worker->next;
        sem_post(&worker->wanted);
    }
}

/* Under the lock. */
static struct work *take(struct pool *pool)
{
    struct work *work = pool->first;
    pool->first = work->next;
    if (pool->first == NULL)
        pool->last = &pool->first;
    work->queued = false;
    return work;
}

/* Under the lock, which is given back meanwhile. Whoever was at work may have been faster. */
static void await_work(struct worker *worker)
{
    struct pool *pool = worker->pool;
    worker->next = pool->idle;
    pool->idle = worker;
    pthread_mutex_unlock(&pool->executor->lock);
    while (sem_wait(&worker->wanted) != 0)
        ; /* a signal */
    pthread_mutex_lock(&pool->executor->lock);
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;
    struct executor_uv *executor = pool->executor;
    pthread_mutex_lock(&executor->lock);
    for (;;) {
        while (pool->first == NULL && !executor->ending)
            await_work(worker);
        if (pool->first == NULL)
            break;
        struct work *work = take(pool);
        pthread_mutex_unlock(&executor->lock);
        work->run(work);
        pthread_mutex_lock(&executor->lock);
        if (--executor->unfinished == 0)
            pthread_cond_broadcast(&executor->settled);
    }
    pthread_mutex_unlock(&executor->lock);
    return NULL;
}

/* Under the lock. */
static int add_thread(struct pool *pool)
{
    struct worker *worker = &pool->workers[pool->thread_count];
    int rc = make_thread(&worker->thread, run_worker, worker);
    if (rc == 0)
        pool->thread_count++;
    return rc;
}

/* Under the lock, which unlock() gives back. */
static void queue(struct executor_uv *executor, enum work_kind kind, struct work *work)
{
    struct pool *pool = &executor->pools[kind];
    struct worker *worker = pool->idle;
    assert(!work->queued);
    work->queued = true;
    work->next = NULL;
    *pool->last = work;
    pool->last = &work->next;
    executor->unfinished++;
    if (worker != NULL) {
        pool->idle = worker->next;
        worker->next = executor->woken;
        executor->woken = worker;
    } else if (pool->thread_count < pool->limit) {
        (void)add_thread(pool);
    }
}

static void submit(struct executor *base, enum work_kind kind, struct work *work)
{
    struct executor_uv *executor = of(base);
    pthread_mutex_lock(&executor->lock);
    queue(executor, kind, work);
    unlock(executor);
}

static void settle(struct executor *base)
{
    struct executor_uv *executor = of(base);
    pthread_mutex_lock(&executor->lock);
    while (executor->unfinished > 0)
        pthread_cond_wait(&executor->settled, &executor->lock);
    pthread_mutex_unlock(&executor->lock);
}

/* ---- the alarms; under the lock ---- */

/* One whose last ring still waits in the queue rings once for both. */
static void ring(struct executor_uv *executor, struct alarm *alarm)
{
    if (!alarm->work.queued)
        queue(executor, alarm->kind, &alarm->work);
}

static void ring_due(struct executor_uv *executor)
{
    int64_t now_ms = executor->clock->mono_ms(executor->clock);
    struct alarm *alarm;
    while ((alarm = alarms_first(&executor->alarms)) != NULL && alarm->deadline_ms <= now_ms) {
        alarms_remove(&executor->alarms, alarm);
        ring(executor, alarm);
    }
}

/* ---- the loop thread ---- */

static void on_timer(uv_timer_t *timer);

/* Sets the one libuv timer to the earliest deadline. */
static void arm(struct executor_uv *executor, int64_t deadline_ms)
{
    if (deadline_ms == INT64_MAX) {
        uv_timer_stop(&executor->timer);
        return;
    }
    int64_t wait_ms = deadline_ms - executor->clock->mono_ms(executor->clock);
    uv_update_time(&executor->loop);
    uv_timer_start(&executor->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
}

/* Everything that a turn of the loop has to look at. */
static void look_around(struct executor_uv *executor)
{
    pthread_mutex_lock(&executor->lock);
    ring_due(executor);
    struct alarm *first = alarms_first(&executor->alarms);
    int64_t deadline_ms = first != NULL ? first->deadline_ms : INT64_MAX;
    bool ending = executor->ending;
    unlock(executor);
    if (!ending) {
        arm(executor, deadline_ms);
    } else if (!uv_is_closing((uv_handle_t *)&executor->wake)) {
        uv_close((uv_handle_t *)&executor->wake, NULL);
        uv_close((uv_handle_t *)&executor->timer, NULL);
    }
}

static void on_timer(uv_timer_t *timer)
{
    look_around(timer->data);
}

static struct loop_call *take_calls(struct executor_uv *executor)
{
    pthread_mutex_lock(&executor->lock);
    struct loop_call *calls = executor->calls;
    executor->calls = NULL;
    executor->last_call = &executor->calls;
    pthread_mutex_unlock(&executor->lock);
    return calls;
}

static void on_wake(uv_async_t *wake)
{
    struct executor_uv *executor = wake->data;
    for (struct loop_call *call = take_calls(executor), *next; call != NULL; call = next) {
        next = call->next; /* a call that is over is its caller's */
        call->run(call, &executor->loop);
    }
    look_around(executor);
}

static void *run_loop(void *arg)
{
    struct executor_uv *executor = arg;
    uv_run(&executor->loop, UV_RUN_DEFAULT);
    return NULL;
}

void executor_uv_call(struct executor *base, struct loop_call *call)
{
    struct executor_uv *executor = of(base);
    call->next = NULL;
    call->over = false;
    pthread_mutex_lock(&executor->lock);
    *executor->last_call = call;
    executor->last_call = &call->next;
    uv_async_send(&executor->wake);
    while (!call->over)
        pthread_cond_wait(&executor->called, &executor->lock);
    pthread_mutex_unlock(&executor->lock);
}

void executor_uv_called(struct executor *base, struct loop_call *call)
{
    struct executor_uv *executor = of(base);
    pthread_mutex_lock(&executor->lock);
    call->over = true;
    pthread_cond_broadcast(&executor->called);
    pthread_mutex_unlock(&executor->lock);
}

/* ---- alarms: the calls ---- */

static void set_alarm(struct executor *base, struct alarm *alarm, int64_t after_ms)
{
    struct executor_uv *executor = of(base);
    int64_t now_ms = executor->clock->mono_ms(executor->clock);
    bool earliest = false;
    pthread_mutex_lock(&executor->lock);
    if (alarms_hold(alarm))
        alarms_remove(&executor->alarms, alarm);
    alarm->deadline_ms = alarms_deadline_ms(now_ms, after_ms);
    if (!executor->silent && after_ms <= 0) {
        ring(executor, alarm);
    } else if (!executor->silent) {
        alarms_add(&executor->alarms, alarm);
        earliest = alarms_first(&executor->alarms) == alarm;
    }
    unlock(executor);
    if (earliest)
        uv_async_send(&executor->wake);
}

static bool cancel_alarm(struct executor *base, struct alarm *alarm)
{
    struct executor_uv *executor = of(base);
    pthread_mutex_lock(&executor->lock);
    bool was_set = alarms_hold(alarm);
    if (was_set)
        alarms_remove(&executor->alarms, alarm);
    pthread_mutex_unlock(&executor->lock);
    return was_set;
}

static void silence(struct executor *base)
{
    struct executor_uv *executor = of(base);
    pthread_mutex_lock(&executor->lock);
    executor->silent = true;
    alarms_clear(&executor->alarms);
    pthread_mutex_unlock(&executor->lock);
}

/* ---- the rest of the table ---- */

static int random_bytes(struct executor *base, void *out, size_t len)
{
    (void)base;
    assert(len <= 256); /* getrandom(2): then it is neither short nor interrupted */
    ssize_t got = getrandom(out, len, 0);
    if (got < 0)
        return -errno;
    return (size_t)got == len ? 0 : -EIO;
}

static void pause_ms(struct executor *base, int64_t ms)
{
    (void)base;
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* ---- start and stop ---- */

static void join_pools(struct executor_uv *executor)
{
    pthread_mutex_lock(&executor->lock);
    executor->ending = true;
    pthread_mutex_unlock(&executor->lock);
    for (int kind = 0; kind < WORK_KINDS; kind++) {
        struct pool *pool = &executor->pools[kind];
        for (int i = 0; i < pool->thread_count; i++) {
            sem_post(&pool->workers[i].wanted);
            pthread_join(pool->workers[i].thread, NULL);
        }
    }
}

static void destroy(struct executor_uv *executor)
{
    for (int kind = 0; kind < WORK_KINDS; kind++) {
        for (int i = 0; i < LIMIT_POOL_THREADS; i++)
            sem_destroy(&executor->pools[kind].workers[i].wanted);
    }
    pthread_cond_destroy(&executor->settled);
    pthread_cond_destroy(&executor->called);
    pthread_mutex_destroy(&executor->lock);
    alarms_free(&executor->alarms);
    free(executor);
}

static int start_pools(struct executor_uv *executor)
{
    int rc = 0;
    pthread_mutex_lock(&executor->lock);
    for (int kind = 0; kind < WORK_KINDS && rc == 0; kind++)
        rc = add_thread(&executor->pools[kind]);
    pthread_mutex_unlock(&executor->lock);
    return rc;
}

static struct executor_uv *new_executor(struct clock *clock)
{
    struct executor_uv *executor = calloc(1, sizeof *executor);
    if (executor == NULL)
        return NULL;
    executor->executor = (struct executor){.submit = submit,
                                           .alarm_set = set_alarm,
                                           .alarm_cancel = cancel_alarm,
                                           .random = random_bytes,
                                           .silence = silence,
                                           .settle = settle,
                                           .pause = pause_ms};
    executor->clock = clock;
    pthread_mutex_init(&executor->lock, NULL);
    pthread_cond_init(&executor->settled, NULL);
    pthread_cond_init(&executor->called, NULL);
    executor->last_call = &executor->calls;
    for (int kind = 0; kind < WORK_KINDS; kind++) {
        struct pool *pool = &executor->pools[kind];
        pool->executor = executor;
        pool->limit = pool_limits[kind];
        pool->last = &pool->first;
        for (int i = 0; i < LIMIT_POOL_THREADS; i++) {
            pool->workers[i].pool = pool;
            sem_init(&pool->workers[i].wanted, 0, 0);
        }
    }
    return executor;
}

int executor_uv_start(struct clock *clock, struct executor **out, struct err *e)
{
    struct executor_uv *executor = new_executor(clock);
    if (executor == NULL)
        return err_sys(e, -ENOMEM, "start the loop");
    int rc = uv_loop_init(&executor->loop);
    if (rc != 0)
        goto err_after_new;
    rc = uv_async_init(&executor->loop, &executor->wake, on_wake);
    if (rc != 0)
        goto err_after_loop;
    uv_timer_init(&executor->loop, &executor->timer);
    executor->wake.data = executor;
    executor->timer.data = executor;
    rc = start_pools(executor);
    if (rc == 0)
        rc = make_thread(&executor->loop_thread, run_loop, executor);
    if (rc != 0)
        goto err_after_handles;
    *out = &executor->executor;
    return 0;

err_after_handles:
    join_pools(executor);
    uv_close((uv_handle_t *)&executor->wake, NULL);
    uv_close((uv_handle_t *)&executor->timer, NULL);
    uv_run(&executor->loop, UV_RUN_DEFAULT);
err_after_loop:
    uv_loop_close(&executor->loop);
err_after_new:
    destroy(executor);
    return err_sys(e, rc, "start the loop");
}

void executor_uv_stop(struct executor *base)
{
    struct executor_uv *executor = of(base);
    silence(base);
    settle(base);
    join_pools(executor);
    uv_async_send(&executor->wake);
    pthread_join(executor->loop_thread, NULL);
    uv_loop_close(&executor->loop);
    destroy(executor);
}

void executor_uv_look(struct executor *base)
{
    uv_async_send(&of(base)->wake);
}

bool executor_uv_is_set(struct executor *base, struct alarm *alarm)
{
    struct executor_uv *executor = of(base);
    pthread_mutex_lock(&executor->lock);
    bool is_set = alarms_hold(alarm);
    pthread_mutex_unlock(&executor->lock);
    return is_set;
}
