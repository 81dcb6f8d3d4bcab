/* fs/tree/tree_internal.h: struct tree, for tree.c and sharing.c. All functions: under its lock. */
#ifndef LOGMNT_FS_TREE_TREE_INTERNAL_H
#define LOGMNT_FS_TREE_TREE_INTERNAL_H

#include "fs/tree/tree.h"

/* An id is a slot number and how often ids were given out: never the same twice, and found without a lock. */
enum { SLOT_BITS = 24, CHUNK_SLOTS = 4096, CHUNKS = (1 << SLOT_BITS) / CHUNK_SLOTS, HASH_MIN = 256 };

struct tree {
    struct node *node;
    const struct pfile_hooks *hooks;
    pthread_mutex_t lock;
    struct vnode *_Atomic *_Atomic chunks[CHUNKS]; /* written under the lock, read without */
    uint32_t *free_slots;
    uint32_t free_count, free_max, slot_count;
    uint32_t text_count; /* vnodes of status files */
    uint64_t sequence;
    struct vnode **hash;
    size_t hash_size, hash_count;
    struct pfile **pfiles;
    size_t pfiles_size, pfiles_count;
    struct vnode root;
};

/* A vnode that is not found by its key, given out once. NULL: no memory. */
struct vnode *tree_vnode_new(struct tree *tree, const struct vnode_key *key);
struct vnode *tree_vnode_find(struct tree *tree, const struct vnode_key *key);
struct pfile *tree_pfile_known(struct tree *tree, const struct topic *topic, int32_t index); /* NULL: none */
/* From here on (or: no more) it is the one that its key finds. */
void tree_vnode_hash(struct tree *tree, struct vnode *vnode);
void tree_vnode_unhash(struct tree *tree, struct vnode *vnode);

#endif
