/* fs/serve/ops_lookup.c: LOOKUP: from a name to a node; and FORGET, its end.
 *
 * The happy path: what does the name mean (names.h)? → an address's place, which its partition is asked for, and may
 * not know at once: then the request is parked (asking.h) → the node, and what stat(2) says of it. A LOOKUP that must
 * not overtake a RELEASE waits for that first (fence.h). */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/container.h"
#include "fs/base/limits.h"
#include "fs/serve/ops.h"
#include "fs/tree/asking.h"
#include "fs/tree/evictor.h"
#include "fs/tree/names.h"
#include "fs/tree/status.h"
#include "fs/tree/told.h"

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);

static void run_lookup(const struct fence_request *request)
{
    do_lookup(request->req, request->ino, request->name);
}

static bool lookup_fenced(fuse_req_t req, struct vnode *dir, const char *name)
{
    if (atomic_load_explicit(&fence_all_raised, memory_order_acquire) == 0)
        return false;
    struct session *session = session_of(req);
    int32_t index = names_partition(dir, name);
    struct pfile *pfile = index >= 0 ? tree_pfile(session->tree, dir->topic, index) : NULL;
    if (pfile == NULL)
        return false;
    struct fence_request request = {.req = req, .ino = dir->id, .name = name, .run = run_lookup};
    bool fenced = ops_pfile_fenced(session, pfile, &request);
    tree_pfile_put(session->tree, pfile);
    return fenced;
}

/* The vnode, given out once; NULL: none, and rc says why. */
static void reply_lookup(fuse_req_t req, struct vnode *vnode, int rc)
{
    struct fuse_entry_param entry;
    if (rc == 0)
        rc = ops_entry(req, vnode, &entry);
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else if (fuse_reply_entry(req, &entry) == -ENOENT)
        tree_forget(session_of(req)->tree, entry.ino, 1); /* the caller was interrupted: it never got it */
}

/* The name means that; what key points to is given back. */
static void looked_up(fuse_req_t req, struct vnode *dir, const char *name, const struct vnode_key *key)
{
    struct session *session = session_of(req);
    if (key->kind == VNODE_STATUS && status_asks(key->start)) {
        status_ask(req, key, reply_lookup);
        return;
    }
    struct vnode *vnode = ops_vnode_of(session, key, fuse_req_ctx(req)->pid);
    vnode_key_unref(key);
    struct fence_request request = {.req = req, .ino = dir->id, .name = name, .run = run_lookup};
    if (vnode != NULL && (ops_status_asked(vnode, &request) || ops_look_fenced(vnode, &request))) {
        tree_forget(session->tree, vnode->id, 1);
        return;
    }
    if (vnode != NULL && key->kind == VNODE_SEGMENTS)
        told_begin(session->tree, vnode->pfile);
    if (vnode != NULL && vnode_addressed(vnode))
        evictor_note(session->evictor, vnode, name);
    reply_lookup(req, vnode, vnode != NULL ? 0 : -ENOMEM);
}

/* ---- an address's place ---- */

struct place {
    struct asking asking; /* first */
    struct vnode *dir;    /* alive until the request is answered */
    struct vnode_key key; /* its topic is referenced */
    ops_place_then *then;
    struct fuse_file_info fi;
    bool asked;
    char name[NAME_MAX + 1];
};

static enum asking_next place_tick(struct asking *asking)
{
    struct place *place = CONTAINER_OF(asking, struct place, asking);
    if (place->asked)
        return ASKING_OVER;
    place->asked = true;
    return ASKING_READ;
}

static void place_answer(struct asking *asking)
{
    struct place *place = CONTAINER_OF(asking, struct place, asking);
    int rc = asking->rc;
    if (rc == 0)
        rc = names_found(place->name, &asking->op, &place->key);
    if (rc == 0)
        topic_ref(place->key.topic);
    place->then(asking->req, place->dir, place->name, &place->fi, &place->key, rc);
}

static void place_free(struct asking *asking)
{
    struct place *place = CONTAINER_OF(asking, struct place, asking);
    topic_unref(place->key.topic);
    free(place);
}

static const struct asking_kind place_kind = {
    .tick = place_tick,
    .answer = place_answer,
    .free = place_free,
    .fatal_only = true,
};

void ops_ask_place(fuse_req_t req, struct vnode *dir, const char *name, const struct fuse_file_info *fi,
                   const struct vnode_key *key, ops_place_then *then)
{
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) {
        topic_unref(key->topic);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    place->asking.req = req;
    place->asking.session = session_of(req);
    place->asking.kind = &place_kind;
    place->asking.op.timeout_ms = LIMIT_ANSWER_MS;
    place->dir = dir;
    place->key = *key;
    place->then = then;
    if (fi != NULL)
        place->fi = *fi;
    strcpy(place->name, name); /* names_resolve() took it: no more than NAME_MAX */
    names_ask(place->asking.session, key, name, &place->asking.op);
    asking_go(&place->asking);
}

static void place_looked_up(fuse_req_t req, struct vnode *dir, const char *name, struct fuse_file_info *fi,
                            const struct vnode_key *key, int rc)
{
    (void)fi;
    if (rc != 0)
        fuse_reply_err(req, -rc);
    else
        looked_up(req, dir, name, key);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct vnode *dir = ops_vnode(req, parent);
    struct vnode_key key;
    if (dir == NULL || ops_outside_lookup(req, dir, name) || lookup_fenced(req, dir, name))
        return;
    struct fence_request request = {.req = req, .ino = parent, .name = name, .run = run_lookup};
    int rc = names_resolve(session_of(req), dir, name, &key);
    if (rc == -ENOENT && ops_past_awaited(dir, &request))
        return;
    if (rc < 0)
        fuse_reply_err(req, -rc);
    else if (rc == NAMES_ADDRESS)
        ops_ask_place(req, dir, name, NULL, &key, place_looked_up);
    else
        looked_up(req, dir, name, &key);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
    tree_forget(session_of(req)->tree, ino, lookups);
    fuse_reply_none(req);
}

static void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        tree_forget(session_of(req)->tree, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

void ops_lookup_register(struct fuse_lowlevel_ops *ops)
{
    ops->lookup = do_lookup;
    ops->forget = do_forget;
    ops->forget_multi = do_forget_multi;
}
