#include "fs/tree/orphans.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* One worker at a time, which does what others leave to it. */
static struct {
    pthread_mutex_t lock;
    struct orphaned *first;
    bool busy;
} line = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct orphaned *next_in_line(void)
{
    pthread_mutex_lock(&line.lock);
    struct orphaned *next = line.first;
    if (next)
        line.first = next->next;
    else
        line.busy = false;
    pthread_mutex_unlock(&line.lock);
    return next;
}

void orphans_drop(struct session *session, struct topic *topic)
{
    struct orphaned *orphaned = malloc(sizeof(*orphaned));
    if (!orphaned)
        return; /* they go when memory runs short, as it does */
    orphaned->topic = topic_ref(topic);
    pthread_mutex_lock(&line.lock);
    orphaned->next = line.first;
    line.first = orphaned;
    bool ours = !line.busy;
    line.busy = true;
    pthread_mutex_unlock(&line.lock);
    while (ours && (orphaned = next_in_line())) {
        drop_names(session, orphaned->topic);
        topic_unref(orphaned->topic);
        free(orphaned);
    }
}
