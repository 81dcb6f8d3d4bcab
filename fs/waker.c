#include "fs/waker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

#include "fs/limits.h"
#include "fs/outside.h"

struct wake {
    struct pfile *pfile; /* referenced */
    struct wake *next;
};

struct waker {
    struct session *session;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* CLOCK_MONOTONIC */
    struct wake *queue;
    bool ending;
};

static void wake_one(struct waker *waker, struct pfile *pfile)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/%s/%d", waker->session->mountpoint, topic_name(pfile->topic),
                     (int)partition_index(pfile->part));
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
    atomic_store(&pfile->wake_queued, false);
    if (n > 0 && (size_t)n < sizeof(path) && !topic_deleted(pfile->topic))
        (void)utimensat(AT_FDCWD, path, times, 0); /* nobody is there to tell if it fails */
    tree_pfile_put(waker->session->tree, pfile);
}

static void *waker_run(void *arg)
{
    struct waker *waker = arg;
    int rc = outside_enter();
    if (rc) {
        log_line(LOG_WARNING, "inotify watchers of contended partitions will not be told: %s", strerror(-rc));
        pthread_mutex_lock(&waker->lock);
        waker->ending = true;
        pthread_mutex_unlock(&waker->lock);
    }
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
            if (ending)
                tree_pfile_put(waker->session->tree, queue->pfile);
            else
                wake_one(waker, queue->pfile);
            free(queue);
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

void waker_appended(struct handle *handle, struct pfile *pfile)
{
    struct waker *waker = handle->session->waker;
    if (!handle->wakes || atomic_exchange(&pfile->wake_queued, true))
        return;
    struct wake *wake = malloc(sizeof(*wake));
    if (!wake) {
        atomic_store(&pfile->wake_queued, false);
        return;
    }
    wake->pfile = tree_pfile_ref(handle->session->tree, pfile);
    pthread_mutex_lock(&waker->lock);
    bool ending = waker->ending;
    if (!ending) {
        wake->next = waker->queue;
        waker->queue = wake;
        pthread_cond_signal(&waker->cond);
    }
    pthread_mutex_unlock(&waker->lock);
    if (ending) {
        tree_pfile_put(handle->session->tree, pfile);
        free(wake);
    }
}
