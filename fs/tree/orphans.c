#include "fs/tree/orphans.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "fs/tree/tree.h"

enum { ORPHAN_NAME_BYTES = 40 };

/* The directory that a node lies in, and its name there. false: the topic's own, or an address, whose name the key does
 * not tell. */
static bool name_of(const struct vnode_key *key, struct vnode_key *dir, char name[ORPHAN_NAME_BYTES])
{
    static const char *const special[VNODE_KINDS] = {
        [VNODE_ANY] = ".any",
        [VNODE_FOLLOW_DIR] = ".follow",
        [VNODE_JSON_DIR] = ".json",
        [VNODE_SEGMENTS_DIR] = ".segments",
    };
    static const enum vnode_kind parents[VNODE_KINDS] = {
        [VNODE_PARTITION] = VNODE_TOPIC,       [VNODE_ANY] = VNODE_TOPIC,
        [VNODE_FOLLOW_DIR] = VNODE_TOPIC,      [VNODE_JSON_DIR] = VNODE_TOPIC,
        [VNODE_SEGMENTS_DIR] = VNODE_TOPIC,    [VNODE_FOLLOW] = VNODE_FOLLOW_DIR,
        [VNODE_JSON] = VNODE_JSON_DIR,         [VNODE_SEGMENTS] = VNODE_SEGMENTS_DIR,
        [VNODE_SEGMENT_FILE] = VNODE_SEGMENTS,
    };
    *dir = (struct vnode_key){.kind = parents[key->kind], .topic = key->topic};
    if (key->kind == VNODE_SEGMENT_FILE) {
        dir->index = key->index;
        log_file_name(key->start, (enum segment_file)key->extra, name);
    } else if (special[key->kind]) {
        strcpy(name, special[key->kind]);
    } else {
        snprintf(name, ORPHAN_NAME_BYTES, "%d", (int)key->index);
    }
    return dir->kind != VNODE_ROOT && (key->extra == 0 || key->kind == VNODE_SEGMENT_FILE);
}

static void drop_names(struct session *session, struct topic *topic)
{
    struct vnode_key *keys = NULL;
    size_t count = tree_keys(session->tree, topic, &keys);
    for (size_t i = 0; i < count; i++) {
        struct vnode_key dir;
        char name[ORPHAN_NAME_BYTES];
        fuse_ino_t parent = name_of(&keys[i], &dir, name) ? tree_find(session->tree, &dir) : 0;
        if (parent) /* an error says that it is not there any more */
            (void)fuse_lowlevel_notify_inval_entry(session->fuse, parent, name, strlen(name));
    }
    free(keys);
}

/* A topic whose turn has not come. */
struct orphaned {
    struct topic *topic; /* referenced */
    struct orphaned *next;
};

struct orphans {
    struct session *session;
    pthread_mutex_t lock;
    struct orphaned *first;
    bool busy; /* the work is queued or under way */
    struct work work;
};

static struct orphaned *next_in_line(struct orphans *orphans)
{
    pthread_mutex_lock(&orphans->lock);
    struct orphaned *next = orphans->first;
    if (next)
        orphans->first = next->next;
    else
        orphans->busy = false;
    pthread_mutex_unlock(&orphans->lock);
    return next;
}

static void drop_all(struct work *work)
{
    struct orphans *orphans = CONTAINER_OF(work, struct orphans, work);
    struct orphaned *orphaned;
    while ((orphaned = next_in_line(orphans))) {
        drop_names(orphans->session, orphaned->topic);
        topic_unref(orphaned->topic);
        free(orphaned);
    }
}

struct orphans *orphans_new(struct session *session)
{
    struct orphans *orphans = calloc(1, sizeof(*orphans));
    if (!orphans)
        return NULL;
    orphans->session = session;
    orphans->work.run = drop_all;
    pthread_mutex_init(&orphans->lock, NULL);
    return orphans;
}

void orphans_free(struct orphans *orphans)
{
    bool busy;
    do {
        pthread_mutex_lock(&orphans->lock);
        busy = orphans->busy;
        pthread_mutex_unlock(&orphans->lock);
        if (busy)
            executor_pause(node_executor(orphans->session->node), 1);
    } while (busy);
    pthread_mutex_destroy(&orphans->lock);
    free(orphans);
}

void orphans_drop(struct orphans *orphans, struct topic *topic)
{
    struct orphaned *orphaned = malloc(sizeof(*orphaned));
    if (!orphaned)
        return; /* they go when memory runs short, as it does */
    orphaned->topic = topic_ref(topic);
    pthread_mutex_lock(&orphans->lock);
    orphaned->next = orphans->first;
    orphans->first = orphaned;
    bool first = !orphans->busy;
    orphans->busy = true;
    pthread_mutex_unlock(&orphans->lock);
    if (first)
        executor_prompt(node_executor(orphans->session->node), &orphans->work);
}
