#include "fs/tree/orphans.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "fs/base/notice.h"
#include "fs/tree/retry.h"
#include "fs/tree/tree.h"

enum { ORPHAN_NAME_BYTES = 256 };

/* The directory that a node lies in, and its name there. false: an address, whose name the key does not tell. */
static bool name_of(const struct vnode_key *key, struct vnode_key *dir, char name[ORPHAN_NAME_BYTES])
{
    static const char *const special[VNODE_KINDS] = {
        [VNODE_ANY] = ".any",
        [VNODE_FOLLOW_DIR] = ".follow",
        [VNODE_JSON_DIR] = ".json",
        [VNODE_SEGMENTS_DIR] = ".segments",
    };
    static const enum vnode_kind parents[VNODE_KINDS] = {
        [VNODE_PARTITION] = VNODE_TOPIC,
        [VNODE_ANY] = VNODE_TOPIC,
        [VNODE_FOLLOW_DIR] = VNODE_TOPIC,
        [VNODE_JSON_DIR] = VNODE_TOPIC,
        [VNODE_SEGMENTS_DIR] = VNODE_TOPIC,
        [VNODE_FOLLOW] = VNODE_FOLLOW_DIR,
        [VNODE_JSON] = VNODE_JSON_DIR,
        [VNODE_SEGMENTS] = VNODE_SEGMENTS_DIR,
        [VNODE_SEGMENT_FILE] = VNODE_SEGMENTS,
        [VNODE_GROUP_STREAM] = VNODE_GROUP,
        [VNODE_GROUP_JSON] = VNODE_GROUP_JSON_DIR,
    };
    *dir = (struct vnode_key){.kind = parents[key->kind], .topic = key->topic}; /* the topic's own: in the root */
    if (key->kind == VNODE_TOPIC || vnode_kind_is_stream(key->kind)) {
        dir->topic = NULL;
        dir->group = key->group;
        strcpy(name, topic_name(key->topic));
    } else if (key->kind == VNODE_SEGMENT_FILE) {
        dir->index = key->index;
        log_file_name(key->start, (enum segment_file)key->extra, name);
    } else if (special[key->kind] != NULL) {
        strcpy(name, special[key->kind]);
    } else {
        snprintf(name, ORPHAN_NAME_BYTES, "%d", (int)key->index);
    }
    return key->extra == 0 || key->kind == VNODE_SEGMENT_FILE;
}

/* 0: the kernel does not know it, or knows the name for another topic by now. */
static fuse_ino_t directory(struct session *session, const struct vnode_key *dir, const char *name)
{
    if (dir->kind != VNODE_ROOT)
        return tree_find(session->tree, dir);
    struct topic *topic = node_topic(session->node, name);
    struct vnode_key key = {.kind = VNODE_TOPIC, .topic = topic};
    bool another = topic != NULL && tree_find(session->tree, &key) != 0;
    if (topic != NULL)
        topic_unref(topic);
    return another ? 0 : FUSE_ROOT_ID;
}

static void drop_names(struct session *session, struct topic *topic)
{
    struct vnode_key *keys = NULL;
    size_t count = tree_keys(session->tree, topic, &keys);
    for (size_t i = 0; i < count; i++) {
        struct vnode_key dir;
        char name[ORPHAN_NAME_BYTES];
        fuse_ino_t parent = name_of(&keys[i], &dir, name) ? directory(session, &dir, name) : 0;
        if (parent == 0 || !notice_begin(session))
            continue;
        /* An error says that it is not there any more. */
        (void)fuse_lowlevel_notify_inval_entry(session->fuse, parent, name, strlen(name));
        notice_end(session);
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
    if (next != NULL)
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
    while ((orphaned = next_in_line(orphans)) != NULL) {
        retries_drop(orphans->session->retries, orphaned->topic);
        drop_names(orphans->session, orphaned->topic);
        topic_unref(orphaned->topic);
        free(orphaned);
    }
}

struct orphans *orphans_new(struct session *session)
{
    struct orphans *orphans = calloc(1, sizeof *orphans);
    if (orphans == NULL)
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
    struct orphaned *orphaned = malloc(sizeof *orphaned);
    if (orphaned == NULL)
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
