/* fs/tree/tree.h: node ids: what the kernel knows of the tree.
 *
 * A vnode is one FUSE node id; it lives from the LOOKUP that gave it out until the kernel has forgotten it as often as
 * it was given out. Ids are never used twice. The same thing looked up again is the same vnode, found by its key, but
 * for a partition and `.any`, whose appenders have nodes of their own (sharing.h), for a status file, whose node has
 * the text of its look-up, and for a group's stream: each look-up gives another node, so that an attribute, which comes
 * without a file handle, finds its open file. What all vnodes of one partition share is its pfile.
 *
 * Locks: the tree's own mutex, inside. A vnode passed in by its id in a request stays while the request lasts. */
#ifndef LOGMNT_FS_TREE_TREE_H
#define LOGMNT_FS_TREE_TREE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/base/fence.h"
#include "fs/base/fuse.h"
#include "fs/base/passthrough.h"
#include "fs/tree/locks.h"
#include "replication/node/node.h"

struct pagecache;
struct produce_file;
struct told;
struct tree;

enum vnode_kind {
    VNODE_ROOT,
    VNODE_TOPIC,
    VNODE_PARTITION, /* 0 and 0@5678 */
    VNODE_ANY,
    VNODE_FOLLOW_DIR,
    VNODE_FOLLOW,
    VNODE_JSON_DIR,
    VNODE_JSON,
    VNODE_SEGMENTS_DIR,
    VNODE_SEGMENTS, /* .segments/0 */
    VNODE_SEGMENT_FILE,
    VNODE_INTERNAL_DIR,
    VNODE_CLUSTER_DIR,
    VNODE_STATUS, /* .cluster/nodes, … */
    /* A kind is part of some st_ino: new ones come last. */
    VNODE_GROUPS_DIR,     /* .groups */
    VNODE_GROUP,          /* .groups/kitchen */
    VNODE_GROUP_JSON_DIR, /* .groups/kitchen/.json */
    VNODE_GROUP_STREAM,   /* .groups/kitchen/orders */
    VNODE_GROUP_JSON,     /* .groups/kitchen/.json/orders */
    VNODE_KINDS
};

/* One partition as a file, or `.any` (part NULL): what all of its node ids share. Lives as long as one of them. */
struct pfile {
    struct topic *topic;
    struct partition *part;
    struct pfile *any; /* of the same topic: its fences count here too; NULL for itself */
    struct locks *locks;
    struct fence *fence;
    struct fence *lock_fence;            /* between the close of a file that holds locks and its RELEASE */
    _Atomic int followers;               /* parked readers of .follow */
    struct produce_file *produce;        /* produce_file.h */
    struct pagecache *_Atomic pagecache; /* NULL: nothing was ever read through the kernel's cache */
    _Atomic int appending;               /* open files that were written since they were last flushed */
    /* tree's lock */
    unsigned refs;
    struct vnode *nodes; /* of the partition's own name */
    struct told *told;   /* what watchers of its `.segments` were told of; NULL: there are none. Once set the waker's */
    struct pfile *hash_next;
};

/* What the floors above keep with a pfile: theirs to make, -ENOMEM, and to free. Under the tree's lock: neither waits
 * nor calls back. */
struct pfile_hooks {
    int (*made)(struct pfile *pfile);
    void (*gone)(struct pfile *pfile);
};

/* What tells one vnode from another. Zero what a kind has no use for. */
struct vnode_key {
    enum vnode_kind kind;
    int32_t index;            /* partition; -1: .any */
    struct topic *topic;      /* by address */
    struct node_group *group; /* likewise */
    int64_t start;            /* an addressed one's first position; a segment's base offset; which status file */
    int64_t extra;            /* 1: addressed; a segment's file kind */
    uint64_t generation;      /* a segment's; an addressed one's first offset */
};

struct vnode {
    fuse_ino_t id;
    struct vnode_key key;
    bool fresh;               /* not found by its key; tree's lock */
    struct topic *topic;      /* referenced; NULL above topics */
    struct node_group *group; /* referenced; of `.groups/G` and what is in it */
    struct pfile *pfile;      /* partitions, their views, .any */
    struct log_point start;   /* addressed */
    _Atomic int writers;      /* sharing.h: open for writing */
    _Atomic int appending;    /* of those: written since they were last flushed */
    _Atomic int opens;        /* likewise: open at all */
    _Atomic bool looked_at;   /* likewise: a request came for it since it was shown */
    struct passthrough pass;  /* VNODE_SEGMENT_FILE */
    char *text;               /* VNODE_STATUS: what it shows, from its look-up on; malloc-ed */
    size_t text_len;
    int64_t made_ms;             /* when that was */
    int32_t told;                /* VNODE_SEGMENTS_DIR: so many partitions are known to its watchers; tree's lock */
    struct locks *_Atomic locks; /* of what is not a partition's own file: made when first asked for */
    /* tree's lock */
    uint64_t lookups;
    pid_t shown_to; /* sharing.h */
    struct vnode *hash_next;
    struct vnode *pfile_next, **pfile_link; /* pfile->nodes */
};

struct tree *tree_new(struct node *node, const struct pfile_hooks *hooks);
/* All vnodes at once, at the end of the session. */
void tree_free(struct tree *tree);

struct vnode *tree_get(struct tree *tree, fuse_ino_t id);
/* For names that were resolved and listed: of what a key points to. */
void vnode_key_ref(const struct vnode_key *key);
void vnode_key_unref(const struct vnode_key *key);
/* The vnode of a key, made if it is not there, given out once more (lookups + 1). topic is referenced by it. NULL: no
 * memory. */
struct vnode *tree_vnode(struct tree *tree, const struct vnode_key *key);
/* A fresh vnode, given out once: it is not found by its key. NULL: no memory. */
struct vnode *tree_fresh_vnode(struct tree *tree, const struct vnode_key *key);
/* A fresh vnode of a status file; text, malloc-ed, is the vnode's then. NULL: no memory; text is the caller's. */
struct vnode *tree_text_vnode(struct tree *tree, const struct vnode_key *key, char *text, size_t len, int64_t now_ms);
void tree_forget(struct tree *tree, fuse_ino_t id, uint64_t lookups);
/* The next partition of which watchers of a topic's `.segments` are to be told, once: one that came since that
 * directory was shown. -1: there is none, or nobody can watch. */
int32_t tree_next_untold(struct tree *tree, struct topic *topic);

/* The id of the vnode that a key finds; 0: there is none. */
fuse_ino_t tree_find(struct tree *tree, const struct vnode_key *key);
/* The keys of all vnodes of a topic. *out is malloc-ed; no memory: none. */
size_t tree_keys(struct tree *tree, const struct topic *topic, struct vnode_key **out);
/* How many node ids the kernel knows, the root and those of status files not counted. */
uint32_t tree_count(struct tree *tree);

/* The pfile of a partition, referenced; NULL: no such partition, no memory. */
struct pfile *tree_pfile(struct tree *tree, struct topic *topic, int32_t index);
/* The same, if there is one already. */
struct pfile *tree_pfile_find(struct tree *tree, const struct topic *topic, int32_t index);
struct pfile *tree_pfile_ref(struct tree *tree, struct pfile *pfile);
void tree_pfile_put(struct tree *tree, struct pfile *pfile);

/* A group's stream, in either form. */
static inline bool vnode_kind_is_stream(enum vnode_kind kind)
{
    return kind == VNODE_GROUP_STREAM || kind == VNODE_GROUP_JSON;
}

/* What it is about was deleted. */
static inline bool vnode_deleted(const struct vnode *vnode)
{
    return (vnode->topic != NULL && topic_deleted(vnode->topic)) ||
           (vnode->group != NULL && node_group_deleted(vnode->group));
}

static inline bool vnode_addressed(const struct vnode *vnode)
{
    return vnode->key.extra == 1 && vnode->key.kind != VNODE_SEGMENT_FILE;
}

/* st_ino: the same on every host and after every restart. */
uint64_t tree_ino(const struct vnode_key *key);

#endif
