#include "fs/tree/evictor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/base/limits.h"
#include "fs/base/outside.h"

/* A name that the kernel may know. */
struct name {
    struct name *next; /* in the queue */
    char path[];       /* from the mount point on */
};

struct evictor {
    struct session *session;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct name *known[LIMIT_ADDRESS_NAMES]; /* by hash */
    struct name *first, **last;              /* to be dropped, in order */
    size_t queued;
    bool ending;
};

static void *evictor_run(void *arg)
{
    struct evictor *evictor = arg;
    pthread_mutex_lock(&evictor->lock);
    while (!evictor->ending) {
        struct name *name = evictor->first;
        if (name == NULL) {
            pthread_cond_wait(&evictor->cond, &evictor->lock);
            continue;
        }
        evictor->first = name->next;
        if (evictor->first == NULL)
            evictor->last = &evictor->first;
        evictor->queued--;
        pthread_mutex_unlock(&evictor->lock);
        struct outside_act act = {.kind = OUTSIDE_LOOK, .path = name->path};
        (void)outside_act(evictor->session->outside, &act); /* ENOENT is what it is for */
        free(name);
        pthread_mutex_lock(&evictor->lock);
    }
    pthread_mutex_unlock(&evictor->lock);
    return NULL;
}

struct evictor *evictor_new(struct session *session)
{
    struct evictor *evictor = calloc(1, sizeof *evictor);
    if (evictor == NULL)
        return NULL;
    evictor->session = session;
    evictor->last = &evictor->first;
    pthread_mutex_init(&evictor->lock, NULL);
    pthread_cond_init(&evictor->cond, NULL);
    if (pthread_create(&evictor->thread, NULL, evictor_run, evictor) != 0) {
        pthread_cond_destroy(&evictor->cond);
        pthread_mutex_destroy(&evictor->lock);
        free(evictor);
        return NULL;
    }
    return evictor;
}

void evictor_free(struct evictor *evictor)
{
    pthread_mutex_lock(&evictor->lock);
    evictor->ending = true;
    pthread_cond_signal(&evictor->cond);
    pthread_mutex_unlock(&evictor->lock);
    pthread_join(evictor->thread, NULL);
    while (evictor->first != NULL) {
        struct name *name = evictor->first;
        evictor->first = name->next;
        free(name);
    }
    for (size_t i = 0; i < LIMIT_ADDRESS_NAMES; i++)
        free(evictor->known[i]);
    pthread_cond_destroy(&evictor->cond);
    pthread_mutex_destroy(&evictor->lock);
    free(evictor);
}

/* FNV-1a. */
static size_t slot_of(const char *path)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *path != '\0'; path++)
        h = (h ^ (uint8_t)*path) * 0x100000001b3;
    return (h ^ h >> 32) % LIMIT_ADDRESS_NAMES;
}

static const char *view_of(const struct vnode *vnode)
{
    return vnode->key.kind == VNODE_FOLLOW ? ".follow/" : vnode->key.kind == VNODE_JSON ? ".json/" : "";
}

void evictor_note(struct evictor *evictor, const struct vnode *vnode, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s%s/%s%s", topic_internal(vnode->topic) ? ".internal/" : "", topic_name(vnode->topic),
             view_of(vnode), name);
    struct name **known = &evictor->known[slot_of(path)];
    pthread_mutex_lock(&evictor->lock);
    if (*known != NULL && strcmp((*known)->path, path) == 0) {
        pthread_mutex_unlock(&evictor->lock);
        return;
    }
    struct name *fresh = malloc(sizeof *fresh + strlen(path) + 1);
    struct name *old = fresh != NULL ? *known : NULL;
    if (fresh != NULL) {
        fresh->next = NULL;
        strcpy(fresh->path, path);
        *known = fresh;
    }
    if (old != NULL && !evictor->ending && evictor->queued < LIMIT_EVICTIONS) {
        *evictor->last = old;
        evictor->last = &old->next;
        evictor->queued++;
        pthread_cond_signal(&evictor->cond);
        old = NULL;
    }
    pthread_mutex_unlock(&evictor->lock);
    free(old);
}
