/* tests/unit/session_fixture.h: a session without a mount: a node, the tree above it, an open `.any` of one topic, and
 * requests that the test makes itself (fake_fuse.h). */
#ifndef LOGMNT_TESTS_UNIT_SESSION_FIXTURE_H
#define LOGMNT_TESTS_UNIT_SESSION_FIXTURE_H

#include "tests/unit/node_fixture.h"

#include "fs/base/limits.h"
#include "fs/produce/accumulator.h"
#include "fs/produce/produce.h"
#include "fs/produce/produce_file.h"
#include "fs/produce/producer.h"
#include "fs/tree/handle.h"
#include "tests/unit/fake_fuse.h"

struct opened {
    struct fixture *f;
    struct options options;
    struct session session;
    struct vnode *vnode;
    struct handle *handle;
};

/* Opens `.any` of a topic for appending. */
static inline void open_any(struct opened *o, struct fixture *f, const char *name)
{
    memset(o, 0, sizeof *o);
    o->f = f;
    o->options = (struct options){
        .acks = ACKS_ALL,
        .delivery_timeout_ms = INT64_C(1) << 40,
        .linger_ms = INT64_C(1) << 40,
        .batch_size_bytes = 16384,
        .buffer_memory_bytes = 1 << 20,
    };
    o->session.node = f->node;
    o->session.options = &o->options;
    o->session.tree = tree_new(f->node, &produce_file_hooks);
    o->session.handles = handles_new(producer_free);
    o->session.accumulators = accumulators_new(node_executor(f->node), o->options.buffer_memory_bytes);
    parks_init(&o->session.parks);
    struct topic *topic = node_topic(f->node, name);
    struct vnode_key key = {.kind = VNODE_ANY, .index = -1, .topic = topic};
    o->vnode = tree_vnode(o->session.tree, &key);
    topic_unref(topic);
    o->handle = handle_new(&o->session, o->vnode);
    o->handle->appends = true;
    assert_int_equal(producer_open(o->handle), 0);
}

/* As do_write(). */
static inline void write_to(struct fuse_req *req, struct handle *handle, const char *bytes, size_t len, int flags)
{
    handle_write_begun(handle);
    produce_write(req, handle, bytes, len, flags);
}

/* Every request of it has been answered. */
static inline void close_any(struct opened *o)
{
    wait_until((pass_ms(o->f, LIMIT_LOOK_AGAIN_MS), atomic_load(&o->session.parks.alive) == 0));
    handle_close(o->handle);
    handles_free(o->session.handles, node_executor(o->f->node));
    tree_forget(o->session.tree, o->vnode->id, 1);
    tree_free(o->session.tree);
    accumulators_free(o->session.accumulators);
}

#endif
