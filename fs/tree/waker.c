#include "fs/tree/waker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/base/limits.h"
#include "fs/base/notice.h"
#include "fs/base/outside.h"
#include "fs/tree/sharing.h"
#include "fs/tree/told.h"

/* News in the order in which they came. */
struct queue {
    struct partition_news *first, **last;
};

struct waker {
    struct session *session;
    pthread_t thread;
    pthread_mutex_t lock; /* of queued and ending */
    pthread_cond_t cond;  /* CLOCK_MONOTONIC */
    struct queue queued;
    bool ending;
    struct partition_news *resting; /* the thread's */
};

static void push(struct queue *queue, struct partition_news *news)
{
    news->next = NULL;
    *queue->last = news;
    queue->last = &news->next;
}

static struct partition_news *take_all(struct queue *queue)
{
    struct partition_news *all = queue->first;
    queue->first = NULL;
    queue->last = &queue->first;
    return all;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- a visit ---- */

static int act(struct session *session, enum outside_kind kind, const char *path, fuse_ino_t subject)
{
    struct outside_act to_do = {.kind = kind, .path = path, .subject = subject};
    return outside_act(session->outside, &to_do); /* nobody is there to be told if it fails */
}

/* Watchers of the partition itself, each on a node of its own. false: there are none. */
static bool visit_nodes(struct session *session, const struct pfile *pfile, const char *path)
{
    fuse_ino_t ids[SHARING_WALK_IDS];
    struct sharing_walk walk = {0};
    size_t count;
    bool any = false;
    while (pfile != NULL && (count = sharing_watched(session->tree, pfile, &walk, ids)) > 0) {
        any = true;
        for (size_t i = 0; i < count; i++) {
            act(session, OUTSIDE_WRITE, path, ids[i]);
            if (sharing_retire(session->tree, ids[i]))
                act(session, OUTSIDE_LOOK, path, ids[i]);
        }
    }
    return any;
}

/* Watchers of the directory, which the kernel tells only of what is done to a name in it. */
static void visit_name(struct session *session, const char *path)
{
    act(session, OUTSIDE_WRITE, path, 0);
    act(session, OUTSIDE_LOOK, path, 0);
}

/* Watchers of `.segments` are told of partitions that came. Who has found one by itself has given the kernel its name,
 * and a name that is there is not made: so it goes before. */
static void visit_new(struct session *session, struct topic *topic, const char *above)
{
    enum { TRIED = 8 }; /* others may find it in between, again and again */
    struct vnode_key dir = {.kind = VNODE_SEGMENTS_DIR, .topic = topic};
    char name[16], path[512];
    int32_t index;
    while ((index = tree_next_untold(session->tree, topic)) >= 0) {
        int rc = -EEXIST;
        snprintf(name, sizeof name, "%d", (int)index);
        snprintf(path, sizeof path, "%s%s/.segments/%s", above, topic_name(topic), name);
        for (int tried = 0; tried < TRIED && rc == -EEXIST; tried++) {
            fuse_ino_t id = tree_find(session->tree, &dir);
            if (id != 0 && notice_begin(session)) {
                fuse_lowlevel_notify_inval_entry(session->fuse, id, name, strlen(name));
                notice_end(session);
            }
            rc = act(session, OUTSIDE_MKDIR, path, 0);
        }
    }
}

/* Returns how long the partition rests. */
static int64_t visit(struct session *session, struct partition_news *news)
{
    struct partition *part = news->part;
    struct topic *topic = partition_topic(part);
    int32_t index = partition_index(part);
    struct vnode_key dir = {.kind = VNODE_TOPIC, .topic = topic};
    const char *above = topic_internal(topic) ? ".internal/" : "";
    bool untold = partition_news_seen(news);
    int64_t rest_ms = LIMIT_WAKE_INTERVAL_MS;
    char path[512];
    news->again = false;
    if (topic_deleted(topic))
        return rest_ms;
    struct pfile *pfile = tree_pfile_find(session->tree, topic, index);
    snprintf(path, sizeof path, "%s%s/%d", above, topic_name(topic), (int)index);
    if (!visit_nodes(session, pfile, path) && untold && !topic_internal(topic) && tree_find(session->tree, &dir) != 0) {
        visit_name(session, path);
        rest_ms = LIMIT_WAKE_NAME_INTERVAL_MS;
    }
    visit_new(session, topic, above);
    if (pfile != NULL && pfile->told != NULL) {
        snprintf(path, sizeof path, "%s%s/.segments/%d", above, topic_name(topic), (int)index);
        news->again = !told_update(session, pfile, path);
    }
    if (pfile != NULL)
        tree_pfile_put(session->tree, pfile);
    return rest_ms;
}

/* ---- the thread ---- */

/* Those that have rested: back, or into the queue when something has changed meanwhile, or was not told. */
static void end_rests(struct waker *waker, struct queue *again)
{
    int64_t now = now_ms();
    struct partition_news *news = waker->resting;
    waker->resting = NULL;
    while (news != NULL) {
        struct partition_news *next = news->next;
        if (news->due_ms > now) {
            news->next = waker->resting;
            waker->resting = news;
        } else if (news->again || !sharing_return(waker->session->tree, news)) {
            push(again, news);
        }
        news = next;
    }
}

/* When the next one has rested; INT64_MAX: none rests. */
static int64_t next_due(const struct waker *waker)
{
    int64_t next_ms = INT64_MAX;
    for (const struct partition_news *news = waker->resting; news != NULL; news = news->next)
        next_ms = news->due_ms < next_ms ? news->due_ms : next_ms;
    return next_ms;
}

/* Waits for news, not before `from_ms` and not beyond `until_ms`. false: the end. */
static bool wait_for_news(struct waker *waker, int64_t from_ms, int64_t until_ms)
{
    pthread_mutex_lock(&waker->lock);
    for (;;) {
        int64_t now = now_ms();
        bool paused = now < from_ms;
        if (waker->ending || (!paused && (waker->queued.first != NULL || now >= until_ms)))
            break;
        int64_t wake_ms = paused ? from_ms : until_ms;
        struct timespec until = {.tv_sec = wake_ms / 1000, .tv_nsec = wake_ms % 1000 * 1000000};
        if (wake_ms == INT64_MAX)
            pthread_cond_wait(&waker->cond, &waker->lock);
        else
            pthread_cond_timedwait(&waker->cond, &waker->lock, &until);
    }
    bool ending = waker->ending;
    pthread_mutex_unlock(&waker->lock);
    return !ending;
}

static void visit_all(struct waker *waker, struct partition_news *news)
{
    while (news != NULL) {
        struct partition_news *next = news->next;
        int64_t rest_ms = visit(waker->session, news);
        news->due_ms = rest_ms + now_ms();
        news->next = waker->resting;
        waker->resting = news;
        news = next;
    }
}

static void *waker_run(void *arg)
{
    struct waker *waker = arg;
    int64_t from_ms = 0;
    while (wait_for_news(waker, from_ms, next_due(waker))) {
        struct queue now;
        int64_t begun_ms = now_ms();
        take_all(&now);
        end_rests(waker, &now);
        pthread_mutex_lock(&waker->lock);
        *now.last = take_all(&waker->queued);
        pthread_mutex_unlock(&waker->lock);
        visit_all(waker, now.first);
        int64_t pause_ms = (now_ms() - begun_ms) * 9;
        from_ms = now_ms() + (pause_ms < LIMIT_WAKE_PAUSE_MS ? pause_ms : LIMIT_WAKE_PAUSE_MS);
    }
    return NULL;
}

void waker_hear(struct waker *waker, struct partition_news *news)
{
    pthread_mutex_lock(&waker->lock);
    push(&waker->queued, news);
    pthread_cond_signal(&waker->cond);
    pthread_mutex_unlock(&waker->lock);
}

struct waker *waker_new(struct session *session)
{
    struct waker *waker = calloc(1, sizeof *waker);
    if (waker == NULL)
        return NULL;
    waker->session = session;
    take_all(&waker->queued);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&waker->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&waker->lock, NULL);
    if (pthread_create(&waker->thread, NULL, waker_run, waker) != 0) {
        pthread_cond_destroy(&waker->cond);
        pthread_mutex_destroy(&waker->lock);
        free(waker);
        return NULL;
    }
    return waker;
}

static void drop_all(struct partition_news *news)
{
    while (news != NULL) {
        struct partition_news *next = news->next;
        partition_news_drop(news);
        news = next;
    }
}

void waker_free(struct waker *waker)
{
    pthread_mutex_lock(&waker->lock);
    waker->ending = true;
    pthread_cond_signal(&waker->cond);
    pthread_mutex_unlock(&waker->lock);
    pthread_join(waker->thread, NULL);
    drop_all(take_all(&waker->queued));
    drop_all(waker->resting);
    pthread_cond_destroy(&waker->cond);
    pthread_mutex_destroy(&waker->lock);
    free(waker);
}
