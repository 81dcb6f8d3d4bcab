#include "fs/tree/sharing.h"

#include "fs/tree/tree_internal.h"

/* Under the lock. A thread's LOOKUPs with nothing in between are one: the kernel asks twice where a name gives another
 * node than it did. */
static void show(struct vnode *vnode, pid_t tid)
{
    if (vnode->shown_to == 0) {
        vnode->shown_to = tid != 0 ? tid : SHARING_EVERYBODY;
        atomic_store_explicit(&vnode->looked_at, false, memory_order_relaxed);
    } else if (vnode->shown_to != tid || atomic_load_explicit(&vnode->looked_at, memory_order_relaxed)) {
        vnode->shown_to = SHARING_EVERYBODY;
    }
    if (vnode->pfile->part != NULL)
        partition_hear_all(vnode->pfile->part);
}

struct vnode *sharing_lookup(struct tree *tree, const struct vnode_key *key, pid_t tid)
{
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_vnode_find(tree, key);
    if (vnode != NULL && atomic_load(&vnode->writers) > 0) {
        tree_vnode_unhash(tree, vnode);
        vnode = NULL;
    }
    if (vnode != NULL)
        vnode->lookups++;
    else if ((vnode = tree_vnode_new(tree, key)) != NULL)
        tree_vnode_hash(tree, vnode);
    if (vnode != NULL)
        show(vnode, tid);
    pthread_mutex_unlock(&tree->lock);
    return vnode;
}

struct vnode *sharing_fresh(struct tree *tree, const struct vnode_key *key, pid_t tid)
{
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_vnode_new(tree, key);
    if (vnode != NULL)
        show(vnode, tid);
    pthread_mutex_unlock(&tree->lock);
    return vnode;
}

void sharing_again(struct tree *tree, struct vnode *vnode, pid_t tid)
{
    pthread_mutex_lock(&tree->lock);
    vnode->lookups++;
    show(vnode, tid);
    pthread_mutex_unlock(&tree->lock);
}

struct vnode *sharing_unseen(struct tree *tree, const struct vnode_key *key)
{
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_vnode_new(tree, key);
    pthread_mutex_unlock(&tree->lock);
    return vnode;
}

struct vnode *sharing_reach(struct tree *tree, fuse_ino_t id)
{
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_get(tree, id);
    if (vnode != NULL)
        vnode->lookups++;
    pthread_mutex_unlock(&tree->lock);
    return vnode;
}

/* Under the lock: from here on it is the one that its name gives, when its writer has gone. */
static void make_last(struct tree *tree, struct vnode *vnode)
{
    if (!vnode->fresh)
        return;
    struct vnode *last = tree_vnode_find(tree, &vnode->key);
    if (last != NULL)
        tree_vnode_unhash(tree, last);
    tree_vnode_hash(tree, vnode);
}

/* Under the lock: nobody else was shown it, and it is the only one of its partition; so nobody watches that, as show()
 * had to take for possible. What its own writers append the kernel tells. */
static void hear_no_more(const struct vnode *vnode)
{
    const struct pfile *pfile = vnode->pfile;
    if (pfile->part != NULL && pfile->nodes == vnode && vnode->pfile_next == NULL && pfile->told == NULL)
        partition_hear_untold(pfile->part);
}

bool sharing_take(struct tree *tree, struct vnode *vnode, pid_t tid)
{
    pthread_mutex_lock(&tree->lock);
    bool alone =
        tid != 0 && vnode->shown_to == tid && atomic_load(&vnode->writers) == 0 && atomic_load(&vnode->opens) == 0;
    if (alone) {
        vnode->shown_to = 0;
        atomic_fetch_add(&vnode->writers, 1);
        make_last(tree, vnode);
        hear_no_more(vnode);
    }
    pthread_mutex_unlock(&tree->lock);
    return alone;
}

void sharing_join(struct tree *tree, struct vnode *vnode)
{
    pthread_mutex_lock(&tree->lock);
    vnode->shown_to = SHARING_EVERYBODY;
    atomic_fetch_add(&vnode->writers, 1);
    pthread_mutex_unlock(&tree->lock);
}

void sharing_leave(struct vnode *vnode)
{
    atomic_fetch_sub(&vnode->writers, 1);
}

/* Into its place, where there is room or it is one of the lowest. */
static size_t put_in_order(fuse_ino_t ids[SHARING_WALK_IDS], size_t count, fuse_ino_t id)
{
    if (count == SHARING_WALK_IDS && ids[count - 1] < id)
        return count;
    size_t at = count < SHARING_WALK_IDS ? count++ : count - 1;
    for (; at > 0 && ids[at - 1] > id; at--)
        ids[at] = ids[at - 1];
    ids[at] = id;
    return count;
}

size_t sharing_watched(struct tree *tree, const struct pfile *pfile, struct sharing_walk *walk,
                       fuse_ino_t ids[SHARING_WALK_IDS])
{
    size_t count = 0;
    pthread_mutex_lock(&tree->lock);
    if (walk->end == 0)
        walk->end = (tree->sequence + 1) << SLOT_BITS;
    for (const struct vnode *vnode = pfile->nodes; vnode != NULL; vnode = vnode->pfile_next) {
        if (vnode->shown_to != 0 && vnode->id > walk->after && vnode->id < walk->end)
            count = put_in_order(ids, count, vnode->id);
    }
    pthread_mutex_unlock(&tree->lock);
    if (count > 0)
        walk->after = ids[count - 1];
    return count;
}

bool sharing_begin_told(struct tree *tree, struct pfile *pfile, struct told *told)
{
    pthread_mutex_lock(&tree->lock);
    bool first = pfile->told == NULL;
    if (first)
        pfile->told = told;
    partition_hear_all(pfile->part);
    pthread_mutex_unlock(&tree->lock);
    return first;
}

static bool any_watched(const struct pfile *pfile)
{
    if (pfile->told != NULL)
        return true;
    for (const struct vnode *vnode = pfile->nodes; vnode != NULL; vnode = vnode->pfile_next) {
        if (vnode->shown_to != 0)
            return true;
    }
    return false;
}

/* Under the tree's lock, as show() is: a LOOKUP that shows a node comes before, and is seen, or after, and is heard. */
bool sharing_return(struct tree *tree, struct partition_news *news)
{
    struct partition *part = partition_ref(news->part);
    pthread_mutex_lock(&tree->lock);
    const struct pfile *pfile = tree_pfile_known(tree, partition_topic(part), partition_index(part));
    bool returned = partition_news_return(news, pfile != NULL && any_watched(pfile) ? HEAR_ALL : HEAR_UNTOLD);
    pthread_mutex_unlock(&tree->lock);
    partition_unref(part);
    return returned;
}

bool sharing_retire(struct tree *tree, fuse_ino_t id)
{
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_get(tree, id);
    if (vnode != NULL && !vnode->fresh)
        tree_vnode_unhash(tree, vnode);
    bool closed = vnode != NULL && atomic_load(&vnode->opens) == 0;
    pthread_mutex_unlock(&tree->lock);
    return closed;
}
