#include "fs/tree/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fs/tree/pagecache.h"
#include "fs/tree/told.h"
#include "fs/tree/tree_internal.h"

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
    return h ^ (h >> 29);
}

static uint64_t key_hash(const struct vnode_key *key)
{
    uint64_t h = mix((uint64_t)key->kind + 1, (uint64_t)(uintptr_t)key->topic);
    h = mix(h, (uint64_t)(uintptr_t)key->group);
    h = mix(h, (uint64_t)(uint32_t)key->index);
    h = mix(h, (uint64_t)key->start);
    h = mix(h, (uint64_t)key->extra);
    return mix(h, key->generation);
}

static bool key_equal(const struct vnode_key *a, const struct vnode_key *b)
{
    return a->kind == b->kind && a->index == b->index && a->topic == b->topic && a->group == b->group &&
           a->start == b->start && a->extra == b->extra && a->generation == b->generation;
}

void vnode_key_ref(const struct vnode_key *key)
{
    if (key->topic != NULL)
        topic_ref(key->topic);
    if (key->group != NULL)
        node_group_ref(key->group);
}

void vnode_key_unref(const struct vnode_key *key)
{
    if (key->topic != NULL)
        topic_unref(key->topic);
    if (key->group != NULL)
        node_group_unref(key->group);
}

uint64_t tree_ino(const struct vnode_key *key)
{
    uint64_t topic = key->topic != NULL ? topic_number(key->topic) : 0;
    if (key->kind == VNODE_ROOT)
        return FUSE_ROOT_ID;
    /* Topics and partitions: readable in place, with bit 60 set (readdir(3) hides what has the number 0, and
     * __cluster_metadata's id is all zeros). All else: a hash, with bit 61. */
    if ((key->kind == VNODE_TOPIC || key->kind == VNODE_PARTITION) && key->extra == 0)
        return 1ULL << 60 | topic << 20 | (uint64_t)(key->kind == VNODE_TOPIC ? 0 : (uint32_t)key->index + 1);
    uint64_t h = mix((uint64_t)key->kind + 1, topic);
    h = mix(h, (uint64_t)(uint32_t)key->index);
    h = mix(h, (uint64_t)key->start);
    h = mix(h, (uint64_t)key->extra);
    h = mix(h, key->generation);
    if (key->group != NULL)
        h = mix(h, node_group_number(key->group));
    return (h >> 3) | 1ULL << 61;
}

/* ---- slots ---- */

static struct vnode *_Atomic *slot_of(struct tree *tree, uint32_t slot)
{
    struct vnode *_Atomic *chunk = atomic_load_explicit(&tree->chunks[slot / CHUNK_SLOTS], memory_order_acquire);
    return chunk != NULL ? &chunk[slot % CHUNK_SLOTS] : NULL;
}

struct vnode *tree_get(struct tree *tree, fuse_ino_t id)
{
    if (id == FUSE_ROOT_ID)
        return &tree->root;
    struct vnode *_Atomic *slot = slot_of(tree, (uint32_t)(id & ((1U << SLOT_BITS) - 1)));
    struct vnode *vnode = slot != NULL ? atomic_load_explicit(slot, memory_order_acquire) : NULL;
    return vnode != NULL && vnode->id == id ? vnode : NULL;
}

/* Under the lock. false: no memory, or 16 Mi vnodes. */
static bool slot_take(struct tree *tree, struct vnode *vnode)
{
    uint32_t slot;
    if (tree->free_count != 0) {
        slot = tree->free_slots[--tree->free_count];
    } else {
        slot = tree->slot_count;
        if (slot == 1U << SLOT_BITS)
            return false;
        if (slot % CHUNK_SLOTS == 0) {
            struct vnode *_Atomic *chunk = calloc(CHUNK_SLOTS, sizeof *chunk);
            uint32_t *slots = realloc(tree->free_slots, (tree->free_max + CHUNK_SLOTS) * sizeof *slots);
            if (slots != NULL)
                tree->free_slots = slots;
            if (chunk == NULL || slots == NULL) {
                free(chunk);
                return false;
            }
            tree->free_max += CHUNK_SLOTS;
            atomic_store_explicit(&tree->chunks[slot / CHUNK_SLOTS], chunk, memory_order_release);
        }
        tree->slot_count++;
    }
    vnode->id = ++tree->sequence << SLOT_BITS | slot;
    atomic_store_explicit(slot_of(tree, slot), vnode, memory_order_release);
    return true;
}

static void slot_give(struct tree *tree, const struct vnode *vnode)
{
    uint32_t slot = (uint32_t)(vnode->id & ((1U << SLOT_BITS) - 1));
    atomic_store_explicit(slot_of(tree, slot), NULL, memory_order_release);
    tree->free_slots[tree->free_count++] = slot;
}

/* ---- pfiles; under the lock ---- */

static struct pfile **pfile_link(struct tree *tree, const struct topic *topic, int32_t index)
{
    uint64_t h = mix(mix(7, (uint64_t)(uintptr_t)topic), (uint64_t)(uint32_t)index);
    struct pfile **link = &tree->pfiles[h & (tree->pfiles_size - 1)];
    while (*link != NULL &&
           ((*link)->topic != topic || ((*link)->part != NULL ? partition_index((*link)->part) : -1) != index))
        link = &(*link)->hash_next;
    return link;
}

static void pfiles_grow(struct tree *tree)
{
    if (tree->pfiles_count < tree->pfiles_size)
        return;
    size_t size = tree->pfiles_size * 2;
    struct pfile **table = calloc(size, sizeof *table);
    if (table == NULL)
        return;
    struct pfile **old = tree->pfiles;
    size_t old_size = tree->pfiles_size;
    tree->pfiles = table;
    tree->pfiles_size = size;
    for (size_t i = 0; i < old_size; i++) {
        while (old[i] != NULL) {
            struct pfile *pfile = old[i];
            old[i] = pfile->hash_next;
            pfile->hash_next = NULL;
            *pfile_link(tree, pfile->topic, pfile->part != NULL ? partition_index(pfile->part) : -1) = pfile;
        }
    }
    free(old);
}

static void pfile_free(struct pfile *pfile)
{
    if (pfile->locks != NULL)
        locks_free(pfile->locks);
    if (pfile->fence != NULL)
        fence_free(pfile->fence);
    if (pfile->lock_fence != NULL)
        fence_free(pfile->lock_fence);
    told_free(pfile->told);
    if (pfile->part != NULL)
        partition_unref(pfile->part);
    topic_unref(pfile->topic);
    free(pfile);
}

static void pfile_put(struct tree *tree, struct pfile *pfile)
{
    if (--pfile->refs != 0)
        return;
    *pfile_link(tree, pfile->topic, pfile->part != NULL ? partition_index(pfile->part) : -1) = pfile->hash_next;
    tree->pfiles_count--;
    if (pfile->any != NULL)
        pfile_put(tree, pfile->any);
    tree->hooks->gone(pfile);
    pagecache_free(atomic_load(&pfile->pagecache));
    pfile_free(pfile);
}

static struct pfile *pfile_new(struct tree *tree, struct topic *topic, struct partition *part)
{
    struct pfile *pfile = calloc(1, sizeof *pfile);
    if (pfile == NULL)
        return NULL;
    pfile->topic = topic_ref(topic);
    pfile->part = part != NULL ? partition_ref(part) : NULL;
    pfile->refs = 1;
    pfile->locks = locks_new();
    pfile->fence = fence_new(tree->node);
    pfile->lock_fence = fence_new(tree->node);
    if (pfile->locks == NULL || pfile->fence == NULL || pfile->lock_fence == NULL || tree->hooks->made(pfile) != 0) {
        pfile_free(pfile);
        return NULL;
    }
    return pfile;
}

static struct pfile *pfile_get(struct tree *tree, struct topic *topic, int32_t index)
{
    struct pfile **link = pfile_link(tree, topic, index);
    if (*link != NULL) {
        (*link)->refs++;
        return *link;
    }
    struct partition *part = index < 0 ? NULL : topic_partition(topic, index);
    if (index >= 0 && part == NULL)
        return NULL;
    struct pfile *any = index < 0 ? NULL : pfile_get(tree, topic, -1);
    if (index >= 0 && any == NULL)
        return NULL;
    struct pfile *pfile = pfile_new(tree, topic, part);
    if (pfile == NULL) {
        if (any != NULL)
            pfile_put(tree, any);
        return NULL;
    }
    pfile->any = any;
    pfiles_grow(tree);
    *pfile_link(tree, topic, index) = pfile;
    tree->pfiles_count++;
    return pfile;
}

struct pfile *tree_pfile(struct tree *tree, struct topic *topic, int32_t index)
{
    pthread_mutex_lock(&tree->lock);
    struct pfile *pfile = pfile_get(tree, topic, index);
    pthread_mutex_unlock(&tree->lock);
    return pfile;
}

struct pfile *tree_pfile_known(struct tree *tree, const struct topic *topic, int32_t index)
{
    return *pfile_link(tree, topic, index);
}

struct pfile *tree_pfile_find(struct tree *tree, const struct topic *topic, int32_t index)
{
    pthread_mutex_lock(&tree->lock);
    struct pfile *pfile = *pfile_link(tree, topic, index);
    if (pfile != NULL)
        pfile->refs++;
    pthread_mutex_unlock(&tree->lock);
    return pfile;
}

struct pfile *tree_pfile_ref(struct tree *tree, struct pfile *pfile)
{
    pthread_mutex_lock(&tree->lock);
    pfile->refs++;
    pthread_mutex_unlock(&tree->lock);
    return pfile;
}

void tree_pfile_put(struct tree *tree, struct pfile *pfile)
{
    pthread_mutex_lock(&tree->lock);
    pfile_put(tree, pfile);
    pthread_mutex_unlock(&tree->lock);
}

/* ---- vnodes ---- */

static struct vnode **vnode_link(struct tree *tree, const struct vnode_key *key)
{
    struct vnode **link = &tree->hash[key_hash(key) & (tree->hash_size - 1)];
    while (*link != NULL && !key_equal(&(*link)->key, key))
        link = &(*link)->hash_next;
    return link;
}

static void hash_grow(struct tree *tree)
{
    if (tree->hash_count < tree->hash_size)
        return;
    size_t size = tree->hash_size * 2;
    struct vnode **table = calloc(size, sizeof *table);
    if (table == NULL)
        return;
    struct vnode **old = tree->hash;
    size_t old_size = tree->hash_size;
    tree->hash = table;
    tree->hash_size = size;
    for (size_t i = 0; i < old_size; i++) {
        while (old[i] != NULL) {
            struct vnode *vnode = old[i];
            old[i] = vnode->hash_next;
            vnode->hash_next = NULL;
            *vnode_link(tree, &vnode->key) = vnode;
        }
    }
    free(old);
}

/* What a partition's own name gives nodes of: sharing.h. */
static void pfile_add_node(struct vnode *vnode)
{
    struct pfile *pfile = vnode->pfile;
    vnode->pfile_next = pfile->nodes;
    if (pfile->nodes != NULL)
        pfile->nodes->pfile_link = &vnode->pfile_next;
    vnode->pfile_link = &pfile->nodes;
    pfile->nodes = vnode;
}

static void pfile_drop_node(struct vnode *vnode)
{
    if (vnode->pfile_link == NULL)
        return;
    *vnode->pfile_link = vnode->pfile_next;
    if (vnode->pfile_next != NULL)
        vnode->pfile_next->pfile_link = vnode->pfile_link;
}

/* A directory whose watchers hear of its partitions, wherever those are (waker.h), as long as the kernel knows it. */
static bool is_watchable(const struct vnode_key *key)
{
    return key->kind == VNODE_TOPIC && !topic_internal(key->topic);
}

struct vnode *tree_vnode_new(struct tree *tree, const struct vnode_key *key)
{
    struct vnode *vnode = calloc(1, sizeof *vnode);
    if (vnode == NULL)
        return NULL;
    vnode->key = *key;
    bool has_pfile = key->kind == VNODE_PARTITION || key->kind == VNODE_ANY || key->kind == VNODE_FOLLOW ||
                     key->kind == VNODE_JSON || key->kind == VNODE_SEGMENTS || key->kind == VNODE_SEGMENT_FILE;
    if (has_pfile && (vnode->pfile = pfile_get(tree, key->topic, key->kind == VNODE_ANY ? -1 : key->index)) == NULL) {
        free(vnode);
        return NULL;
    }
    if (!slot_take(tree, vnode)) {
        if (vnode->pfile != NULL)
            pfile_put(tree, vnode->pfile);
        free(vnode);
        return NULL;
    }
    vnode->topic = key->topic;
    vnode->group = key->group;
    vnode_key_ref(key);
    passthrough_init(&vnode->pass);
    if (vnode_addressed(vnode))
        vnode->start = (struct log_point){.offset = (int64_t)key->generation, .position = key->start};
    else if (key->kind == VNODE_PARTITION)
        pfile_add_node(vnode);
    else if (key->kind == VNODE_SEGMENTS_DIR)
        vnode->told = topic_partition_count(key->topic);
    if (is_watchable(key))
        topic_hear(key->topic);
    vnode->lookups = 1;
    vnode->fresh = true;
    return vnode;
}

struct vnode *tree_vnode_find(struct tree *tree, const struct vnode_key *key)
{
    return *vnode_link(tree, key);
}

void tree_vnode_hash(struct tree *tree, struct vnode *vnode)
{
    hash_grow(tree);
    struct vnode **link = vnode_link(tree, &vnode->key);
    assert(vnode->fresh && *link == NULL);
    vnode->fresh = false;
    vnode->hash_next = NULL;
    *link = vnode;
    tree->hash_count++;
}

void tree_vnode_unhash(struct tree *tree, struct vnode *vnode)
{
    assert(!vnode->fresh);
    *vnode_link(tree, &vnode->key) = vnode->hash_next;
    tree->hash_count--;
    vnode->fresh = true;
}

struct vnode *tree_vnode(struct tree *tree, const struct vnode_key *key)
{
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_vnode_find(tree, key);
    if (vnode != NULL)
        vnode->lookups++;
    else if ((vnode = tree_vnode_new(tree, key)) != NULL)
        tree_vnode_hash(tree, vnode);
    pthread_mutex_unlock(&tree->lock);
    return vnode;
}

struct vnode *tree_fresh_vnode(struct tree *tree, const struct vnode_key *key)
{
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_vnode_new(tree, key);
    pthread_mutex_unlock(&tree->lock);
    return vnode;
}

struct vnode *tree_text_vnode(struct tree *tree, const struct vnode_key *key, char *text, size_t len, int64_t now_ms)
{
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_vnode_new(tree, key);
    if (vnode != NULL) {
        vnode->text = text;
        vnode->text_len = len;
        vnode->made_ms = now_ms;
        tree->text_count++;
    }
    pthread_mutex_unlock(&tree->lock);
    return vnode;
}

/* Under the lock. */
static void vnode_free(struct tree *tree, struct vnode *vnode)
{
    if (!vnode->fresh)
        tree_vnode_unhash(tree, vnode);
    pfile_drop_node(vnode);
    slot_give(tree, vnode);
    if (vnode->pfile != NULL)
        pfile_put(tree, vnode->pfile);
    if (is_watchable(&vnode->key))
        topic_hear_no_more(vnode->topic);
    vnode_key_unref(&vnode->key);
    if (atomic_load(&vnode->locks) != NULL)
        locks_free(atomic_load(&vnode->locks));
    if (vnode->text != NULL)
        tree->text_count--;
    free(vnode->text);
    free(vnode);
}

void tree_forget(struct tree *tree, fuse_ino_t id, uint64_t lookups)
{
    if (id == FUSE_ROOT_ID)
        return;
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = tree_get(tree, id);
    if (vnode != NULL) {
        assert(vnode->lookups >= lookups);
        vnode->lookups -= lookups;
        if (vnode->lookups == 0)
            vnode_free(tree, vnode);
    }
    pthread_mutex_unlock(&tree->lock);
}

int32_t tree_next_untold(struct tree *tree, struct topic *topic)
{
    struct vnode_key key = {.kind = VNODE_SEGMENTS_DIR, .topic = topic};
    int32_t next = -1;
    pthread_mutex_lock(&tree->lock);
    struct vnode *vnode = *vnode_link(tree, &key);
    if (vnode != NULL && vnode->told < topic_partition_count(topic))
        next = vnode->told++;
    pthread_mutex_unlock(&tree->lock);
    return next;
}

fuse_ino_t tree_find(struct tree *tree, const struct vnode_key *key)
{
    pthread_mutex_lock(&tree->lock);
    const struct vnode *vnode = *vnode_link(tree, key);
    fuse_ino_t id = vnode != NULL ? vnode->id : 0;
    pthread_mutex_unlock(&tree->lock);
    return id;
}

size_t tree_keys(struct tree *tree, const struct topic *topic, struct vnode_key **out)
{
    size_t count = 0, max = 0;
    *out = NULL;
    pthread_mutex_lock(&tree->lock);
    for (uint32_t slot = 0; slot < tree->slot_count; slot++) {
        const struct vnode *vnode = atomic_load(slot_of(tree, slot));
        if (vnode == NULL || vnode->topic != topic)
            continue;
        if (count == max) {
            max = max != 0 ? max * 2 : 16;
            struct vnode_key *keys = realloc(*out, max * sizeof *keys);
            if (keys == NULL)
                break;
            *out = keys;
        }
        (*out)[count++] = vnode->key;
    }
    pthread_mutex_unlock(&tree->lock);
    return count;
}

uint32_t tree_count(struct tree *tree)
{
    pthread_mutex_lock(&tree->lock);
    uint32_t count = tree->slot_count - tree->free_count - tree->text_count;
    pthread_mutex_unlock(&tree->lock);
    return count;
}

struct tree *tree_new(struct node *node, const struct pfile_hooks *hooks)
{
    struct tree *tree = calloc(1, sizeof *tree);
    if (tree == NULL)
        return NULL;
    tree->node = node;
    tree->hooks = hooks;
    pthread_mutex_init(&tree->lock, NULL);
    tree->hash_size = tree->pfiles_size = HASH_MIN;
    tree->hash = calloc(HASH_MIN, sizeof *tree->hash);
    tree->pfiles = calloc(HASH_MIN, sizeof *tree->pfiles);
    tree->sequence = 1;
    tree->root.id = FUSE_ROOT_ID;
    tree->root.key.kind = VNODE_ROOT;
    if (tree->hash == NULL || tree->pfiles == NULL) {
        tree_free(tree);
        return NULL;
    }
    return tree;
}

void tree_free(struct tree *tree)
{
    pthread_mutex_lock(&tree->lock);
    for (uint32_t slot = 0; slot < tree->slot_count; slot++) {
        struct vnode *vnode = atomic_load(slot_of(tree, slot));
        if (vnode != NULL)
            vnode_free(tree, vnode);
    }
    pthread_mutex_unlock(&tree->lock);
    for (uint32_t i = 0; i < CHUNKS; i++)
        free((void *)atomic_load(&tree->chunks[i]));
    free(tree->free_slots);
    free(tree->hash);
    free(tree->pfiles);
    pthread_mutex_destroy(&tree->lock);
    free(tree);
}
