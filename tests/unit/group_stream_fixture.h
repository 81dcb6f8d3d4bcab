/* tests/unit/group_stream_fixture.h: an open file of a group's stream on a node, and requests of it. */
#ifndef LOGMNT_TESTS_UNIT_GROUP_STREAM_FIXTURE_H
#define LOGMNT_TESTS_UNIT_GROUP_STREAM_FIXTURE_H

#include "fs/consume/group_stream_internal.h"
#include "fs/consume/reader.h"
#include "fs/produce/produce_file.h"
#include "tests/unit/fake_fuse.h"
#include "tests/unit/node_fixture.h"

struct stream {
    struct options options;
    struct session session;
    struct vnode *vnode;
    struct handle *handle;
};

/* VNODE_GROUP_STREAM or VNODE_GROUP_JSON. */
static inline void open_stream_as(struct stream *s, struct node *node, const char *group_name, enum vnode_kind kind)
{
    memset(s, 0, sizeof *s);
    s->options.delivery_timeout_ms = 30000;
    s->session.node = node;
    s->session.options = &s->options;
    s->session.tree = tree_new(node, &produce_file_hooks);
    s->session.handles = handles_new(reader_free);
    parks_init(&s->session.parks);
    struct topic *topic = node_topic(node, "orders");
    struct node_group *group = node_group(node, group_name);
    struct vnode_key key = {.kind = kind, .topic = topic, .group = group};
    s->vnode = tree_vnode(s->session.tree, &key);
    topic_unref(topic);
    node_group_unref(group);
    s->handle = handle_new(&s->session, s->vnode);
    assert_int_equal(reader_open(s->handle), 0);
    assert_int_equal(group_stream_open(s->handle, getpid()), 0);
}

static inline void open_stream(struct stream *s, struct node *node, const char *group_name)
{
    open_stream_as(s, node, group_name, VNODE_GROUP_STREAM);
}

static inline void close_stream(struct stream *s)
{
    group_stream_release(s->handle);
    handle_close(s->handle);
    handles_free(s->session.handles, node_executor(s->session.node));
    tree_forget(s->session.tree, s->vnode->id, 1);
    tree_free(s->session.tree);
}

static inline void begin_read(struct stream *s, struct fuse_req *req, size_t size, int64_t pos)
{
    fake_fuse_request(req, getpid());
    group_stream_read(req, s->handle, size, pos, 1, false);
}

static inline void begin_fsync(struct stream *s, struct fuse_req *req)
{
    fake_fuse_request(req, getpid());
    group_stream_fsync(req, s->handle);
}

static inline bool is_answered(const struct fuse_req *req)
{
    return atomic_load(&req->answers) > 0;
}

/* What it was answered with. */
static inline void assert_given(struct fuse_req *req, const char *want)
{
    assert_int_equal(atomic_load(&req->err), 0);
    assert_string_equal(req->bytes, want);
    free(req->bytes);
}

#endif
