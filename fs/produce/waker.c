#include "fs/produce/waker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/base/limits.h"
#include "fs/base/outside.h"
#include "fs/produce/produce_file.h"
#include "fs/produce/producer.h"

/* What is known of a partition here. Its pfile's and, while it is queued, the queue's: the thread must not hold a pfile
 * itself, since who drops the last one of a deleted topic needs descriptors. */
struct wake {
    _Atomic int refs;
    _Atomic bool queued;
    struct wake *next;
    char path[];
};

struct waker {
    struct session *session;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* CLOCK_MONOTONIC */
    struct wake *queue;
    bool ending;
};

static void wake_unref(struct wake *wake)
{
    if (atomic_fetch_sub(&wake->refs, 1) == 1)
        free(wake);
}

static void wake_one(const struct waker *waker, struct wake *wake)
{
    struct outside_act act = {.kind = OUTSIDE_TOUCH, .path = wake->path};
    atomic_store(&wake->queued, false);
    (void)outside_act(waker->session->outside, &act); /* nobody is there to tell if it fails */
}

static void *waker_run(void *arg)
{
    struct waker *waker = arg;
    pthread_mutex_lock(&waker->lock);
    for (;;) {
        while (!waker->queue && !waker->ending)
            pthread_cond_wait(&waker->cond, &waker->lock);
        struct wake *queue = waker->queue;
        waker->queue = NULL;
        if (!queue)
            break;
        bool ending = waker->ending;
        pthread_mutex_unlock(&waker->lock);
        while (queue) {
            struct wake *next = queue->next;
            if (!ending)
                wake_one(waker, queue);
            wake_unref(queue);
            queue = next;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LIMIT_WAKE_INTERVAL_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        pthread_mutex_lock(&waker->lock);
        while (!waker->ending && pthread_cond_timedwait(&waker->cond, &waker->lock, &until) == 0)
            ;
    }
    pthread_mutex_unlock(&waker->lock);
    return NULL;
}

struct waker *waker_new(struct session *session)
{
    struct waker *waker = calloc(1, sizeof(*waker));
    if (!waker)
        return NULL;
    waker->session = session;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&waker->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&waker->lock, NULL);
    if (pthread_create(&waker->thread, NULL, waker_run, waker)) {
        pthread_cond_destroy(&waker->cond);
        pthread_mutex_destroy(&waker->lock);
        free(waker);
        return NULL;
    }
    return waker;
}

void waker_free(struct waker *waker)
{
    pthread_mutex_lock(&waker->lock);
    waker->ending = true;
    pthread_cond_signal(&waker->cond);
    pthread_mutex_unlock(&waker->lock);
    pthread_join(waker->thread, NULL);
    pthread_cond_destroy(&waker->cond);
    pthread_mutex_destroy(&waker->lock);
    free(waker);
}

static struct wake *wake_new(const struct pfile *pfile)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/%d", topic_name(pfile->topic), (int)partition_index(pfile->part));
    struct wake *wake = n > 0 && (size_t)n < sizeof(path) ? malloc(sizeof(*wake) + (size_t)n + 1) : NULL;
    if (!wake)
        return NULL;
    atomic_init(&wake->refs, 1);
    atomic_init(&wake->queued, false);
    strcpy(wake->path, path);
    return wake;
}

/* The pfile's, made when it is first needed. NULL: no memory. */
static struct wake *wake_of(struct waker *waker, struct pfile *pfile)
{
    struct wake *wake = atomic_load(&pfile->produce->wake);
    if (wake)
        return wake;
    pthread_mutex_lock(&waker->lock);
    wake = atomic_load(&pfile->produce->wake);
    if (!wake) {
        wake = wake_new(pfile);
        atomic_store(&pfile->produce->wake, wake);
    }
    pthread_mutex_unlock(&waker->lock);
    return wake;
}

void waker_appended(struct handle *handle, struct pfile *pfile)
{
    struct waker *waker = handle->session->waker;
    struct wake *wake = handle->producer->wakes ? wake_of(waker, pfile) : NULL;
    if (!wake || atomic_exchange(&wake->queued, true))
        return;
    pthread_mutex_lock(&waker->lock);
    if (!waker->ending) {
        atomic_fetch_add(&wake->refs, 1);
        wake->next = waker->queue;
        waker->queue = wake;
        pthread_cond_signal(&waker->cond);
    }
    pthread_mutex_unlock(&waker->lock);
}

void waker_forget(struct pfile *pfile)
{
    struct wake *wake = atomic_load(&pfile->produce->wake);
    if (wake)
        wake_unref(wake);
}
