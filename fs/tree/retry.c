#include "fs/tree/retry.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "fs/base/limits.h"
#include "fs/tree/sharing.h"

struct retry {
    pid_t tid;           /* 0: free */
    struct topic *topic; /* compared, never followed */
    int32_t index;
    struct vnode *fresh; /* given out once to us; NULL: no LOOKUP came yet */
};

struct retries {
    struct tree *tree;
    pthread_mutex_t lock;
    _Atomic int count;
    unsigned next; /* to be looked at when all are taken */
    struct retry all[LIMIT_RETRIES];
};

struct retries *retries_new(struct tree *tree)
{
    struct retries *retries = calloc(1, sizeof *retries);
    if (retries == NULL)
        return NULL;
    retries->tree = tree;
    pthread_mutex_init(&retries->lock, NULL);
    return retries;
}

/* Under the lock. */
static void clear(struct retries *retries, struct retry *retry)
{
    if (retry->tid == 0)
        return;
    if (retry->fresh != NULL)
        tree_forget(retries->tree, retry->fresh->id, 1);
    *retry = (struct retry){0};
    atomic_fetch_sub(&retries->count, 1);
}

void retries_free(struct retries *retries)
{
    for (int i = 0; i < LIMIT_RETRIES; i++)
        clear(retries, &retries->all[i]);
    pthread_mutex_destroy(&retries->lock);
    free(retries);
}

/* A thread's; tid 0: one that is free. A thread opens one file at a time, so it has one at most. Under the lock. */
static struct retry *find(struct retries *retries, pid_t tid)
{
    for (int i = 0; i < LIMIT_RETRIES; i++) {
        if (retries->all[i].tid == tid)
            return &retries->all[i];
    }
    return NULL;
}

static bool is_of(const struct retry *retry, const struct vnode_key *key)
{
    return retry->topic == key->topic && retry->index == key->index;
}

/* A free one, or the next one whose thread has ended, looking at one each time. NULL: none; a living thread's is never
 * taken from it, since its retry would be answered ESTALE, which the kernel does not repeat. Under the lock. */
static struct retry *take(struct retries *retries)
{
    struct retry *retry = find(retries, 0);
    if (retry != NULL)
        return retry;
    retry = &retries->all[retries->next++ % LIMIT_RETRIES];
    if (kill(retry->tid, 0) == 0 || errno != ESRCH)
        return NULL;
    clear(retries, retry);
    return retry;
}

struct vnode *retries_lookup(struct retries *retries, pid_t tid, const struct vnode_key *key)
{
    if (atomic_load(&retries->count) == 0 || tid == 0)
        return NULL;
    pthread_mutex_lock(&retries->lock);
    struct retry *retry = find(retries, tid);
    if (retry != NULL && !is_of(retry, key))
        retry = NULL;
    if (retry != NULL && retry->fresh == NULL)
        retry->fresh = sharing_fresh(retries->tree, key, tid);
    struct vnode *fresh = retry != NULL ? retry->fresh : NULL;
    if (fresh != NULL)
        sharing_again(retries->tree, fresh, tid);
    pthread_mutex_unlock(&retries->lock);
    return fresh;
}

bool retries_open(struct retries *retries, pid_t tid, const struct vnode *vnode, bool alone)
{
    bool contended = !alone && tid != 0;
    if (!contended && atomic_load(&retries->count) == 0)
        return false;
    pthread_mutex_lock(&retries->lock);
    struct retry *retry = tid != 0 ? find(retries, tid) : NULL;
    bool is_retry = retry != NULL && is_of(retry, &vnode->key);
    if (retry != NULL)
        clear(retries, retry);
    retry = contended && !is_retry ? take(retries) : NULL;
    if (retry != NULL) {
        *retry = (struct retry){.tid = tid, .topic = vnode->topic, .index = vnode->key.index};
        atomic_fetch_add(&retries->count, 1);
    }
    pthread_mutex_unlock(&retries->lock);
    return retry != NULL;
}

void retries_drop(struct retries *retries, const struct topic *topic)
{
    pthread_mutex_lock(&retries->lock);
    for (int i = 0; i < LIMIT_RETRIES; i++) {
        if (retries->all[i].topic == topic)
            clear(retries, &retries->all[i]);
    }
    pthread_mutex_unlock(&retries->lock);
}
