#include "fs/tree/retry.h"

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
    unsigned next; /* the oldest */
    struct retry all[LIMIT_RETRIES];
};

struct retries *retries_new(struct tree *tree)
{
    struct retries *retries = calloc(1, sizeof(*retries));
    if (!retries)
        return NULL;
    retries->tree = tree;
    pthread_mutex_init(&retries->lock, NULL);
    return retries;
}

/* Under the lock. */
static void clear(struct retries *retries, struct retry *retry)
{
    if (!retry->tid)
        return;
    if (retry->fresh)
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

/* Under the lock. */
static struct retry *find(struct retries *retries, pid_t tid, const struct vnode_key *key)
{
    for (int i = 0; i < LIMIT_RETRIES; i++) {
        struct retry *retry = &retries->all[i];
        if (retry->tid == tid && retry->topic == key->topic && retry->index == key->index)
            return retry;
    }
    return NULL;
}

struct vnode *retries_lookup(struct retries *retries, pid_t tid, const struct vnode_key *key)
{
    if (atomic_load(&retries->count) == 0 || tid == 0)
        return NULL;
    pthread_mutex_lock(&retries->lock);
    struct retry *retry = find(retries, tid, key);
    if (retry && !retry->fresh)
        retry->fresh = sharing_fresh(retries->tree, key, tid);
    struct vnode *fresh = retry ? retry->fresh : NULL;
    if (fresh)
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
    struct retry *retry = find(retries, tid, &vnode->key);
    bool again = contended && !retry;
    if (retry) {
        clear(retries, retry);
    } else if (again) {
        retry = &retries->all[retries->next++ % LIMIT_RETRIES];
        clear(retries, retry);
        *retry = (struct retry){.tid = tid, .topic = vnode->topic, .index = vnode->key.index};
        atomic_fetch_add(&retries->count, 1);
    }
    pthread_mutex_unlock(&retries->lock);
    return again;
}
