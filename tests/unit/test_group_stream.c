/* tests/unit/test_group_stream.c: an open file of a group's stream, with requests of many threads in an order that the
 * test says (interface.md, Consumer groups). */
#include "tests/unit/one_thread.h"

#include "fs/base/limits.h"
#include "fs/consume/group_stream_internal.h"
#include "fs/consume/reader.h"
#include "fs/produce/produce_file.h"
#include "tests/unit/fake_fuse.h"

/* ---- an open stream ---- */

struct stream {
    struct options options;
    struct session session;
    struct vnode *vnode;
    struct handle *handle;
};

static void open_stream(struct stream *s, struct fixture *f)
{
    memset(s, 0, sizeof *s);
    s->options.delivery_timeout_ms = 30000;
    s->session.node = f->node;
    s->session.options = &s->options;
    s->session.tree = tree_new(f->node, &produce_file_hooks);
    s->session.handles = handles_new(reader_free);
    parks_init(&s->session.parks);
    struct topic *topic = node_topic(f->node, "orders");
    struct node_group *group = node_group(f->node, "kitchen");
    struct vnode_key key = {.kind = VNODE_GROUP_STREAM, .topic = topic, .group = group};
    s->vnode = tree_vnode(s->session.tree, &key);
    topic_unref(topic);
    node_group_unref(group);
    s->handle = handle_new(&s->session, s->vnode);
    assert_int_equal(reader_open(s->handle), 0);
    assert_int_equal(group_stream_open(s->handle, getpid()), 0);
}

static void close_stream(struct stream *s)
{
    group_stream_release(s->handle);
    handle_close(s->handle);
    handles_free(s->session.handles, &hand.executor);
    tree_forget(s->session.tree, s->vnode->id, 1);
    tree_free(s->session.tree);
}

/* ---- requests ---- */

static void begin_read(struct stream *s, struct fuse_req *req, size_t size, int64_t pos)
{
    fake_fuse_request(req, getpid());
    group_stream_read(req, s->handle, size, pos, 1, false);
}

static bool is_answered(const struct fuse_req *req)
{
    return atomic_load(&req->answers) > 0;
}

/* How many bytes it was answered with. */
static size_t given(struct fuse_req *req)
{
    assert_true(is_answered(req));
    assert_int_equal(atomic_load(&req->err), 0);
    assert_non_null(req->bytes);
    free(req->bytes);
    return req->len;
}

/* A read at pos gets this, perhaps after a while. */
static void reads(struct stream *s, int64_t pos, const char *want)
{
    struct fuse_req req;
    begin_read(s, &req, 4096, pos);
    pass_until(is_answered(&req));
    assert_int_equal(atomic_load(&req.err), 0);
    assert_string_equal(req.bytes, want);
    free(req.bytes);
}

/* ---- another member ---- */

static void on_changed(void *arg)
{
    (void)arg;
}

static struct group_member *join_another(struct fixture *f)
{
    struct group_join join = {.group = "kitchen", .topic = "orders", .pid = getpid(), .changed = on_changed};
    struct group_member *member;
    assert_int_equal(group_member_join(node_group_room(f->node), &join, &member), 0);
    return member;
}

/* How many partitions the stream's member has, or is asked to give up. */
static size_t parts_of(struct stream *s, bool revoked)
{
    struct group_stream *stream = s->handle->reader->group;
    size_t count = 0;
    for (size_t i = 0; i < stream->count; i++)
        count += stream->parts[i]->revoked == revoked;
    return count;
}

/* ---- tests ---- */

/* Another member comes; the reader has its hands in a record of the partition that is to go to it, so that it is not
 * given up; the other one leaves. What was withdrawn meanwhile is delivered by who has the partition still. */
static void what_was_withdrawn_comes_again_if_the_partition_stays(void **state)
{
    struct fixture *f = *state;
    struct stream s;
    make(f, "orders");
    add_partitions(f, 2);
    make_group(f);
    append_at(f, 1, "a;b\nc\nd\n");
    open_stream(&s, f);
    reads(&s, 0, "a;b\nc\nd\n");
    struct group_member *other = join_another(f);
    pass_until(parts_of(&s, true) == 1);
    assert_int_equal(parts_of(&s, false), 1);
    reads(&s, 2, "b\n");
    group_member_leave(other);
    pass_until(parts_of(&s, false) == 2);
    reads(&s, 4, "c\nd\n");
    close_stream(&s);
}

/* ---- a disk that cannot read a partition ---- */

static const char *unreadable; /* a part of its path; NULL: none */

static ssize_t bad_pread(struct io *io, int fd, void *buf, size_t len, int64_t at)
{
    char link[64], path[4096] = "";
    (void)io;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (unreadable != NULL && readlink(link, path, sizeof path - 1) > 0 && strstr(path, unreadable) != NULL)
        return -EIO;
    return io_posix()->pread(io_posix(), fd, buf, len, at);
}

/* Whoever writes to the one is faster than the reader: it never comes to its end. */
static void a_partition_that_failed_once_has_its_turn_again(void **state)
{
    struct fixture *f = *state;
    struct stream s;
    int64_t pos = 0;
    f->disk.io.pread = bad_pread;
    make(f, "orders");
    add_partitions(f, 2);
    make_group(f);
    open_stream(&s, f);
    struct fuse_req req;
    begin_read(&s, &req, 4096, 0);
    pass_until(parts_of(&s, false) == 2);
    unreadable = "/orders-0/";
    append_at(f, 0, "zero\n");
    append_at(f, 1, "one\n");
    pass_until(is_answered(&req));
    unreadable = NULL;
    for (int rounds = 0;; rounds++) {
        bool zero = strcmp(req.bytes, "zero\n") == 0;
        pos += (int64_t)given(&req);
        if (zero)
            break;
        assert_in_range(rounds, 0, 60); /* of 100 ms each */
        append_at(f, 1, "one\n");
        executor_pause(&hand.executor, 100);
        begin_read(&s, &req, 4096, pos);
        assert_true(is_answered(&req));
    }
    assert_true(pos > 5); /* it did fail */
    close_stream(&s);
}

/* So many records of 1,000 bytes, by the batch. */
static void append_many(struct fixture *f, int batches)
{
    enum { RECORD = 1000, RECORDS = 500 };
    char *lines = malloc(RECORDS * RECORD + 1);
    for (int batch = 0; batch < batches; batch++) {
        for (int i = 0; i < RECORDS; i++)
            sprintf(lines + (ptrdiff_t)i * RECORD, "%0*d\n", RECORD - 1, batch * RECORDS + i);
        append(f, "orders", lines);
    }
    free(lines);
}

/* Threads read at one position, where records come: the one whose work is done first goes on to that position, and the
 * other one's work is done then. What it asked for is more than a MiB back. */
static void a_read_is_overtaken(struct fixture *f, int batches, int64_t upto)
{
    struct stream s;
    struct fuse_req first, second;
    make(f, "orders");
    make_group(f);
    open_stream(&s, f);
    begin_read(&s, &first, 128 << 10, 0);
    begin_read(&s, &second, 128 << 10, 0);
    executor_pause(&hand.executor, 1000);
    assert_false(is_answered(&first) || is_answered(&second));
    append_many(f, batches);
    while (!is_answered(&first) && !is_answered(&second))
        assert_true(hand_step(&hand));
    struct fuse_req *early = is_answered(&first) ? &first : &second, *late = early == &first ? &second : &first;
    int64_t pos = (int64_t)given(early);
    while (pos < upto) {
        struct fuse_req req;
        begin_read(&s, &req, 128 << 10, pos);
        pos += (int64_t)given(&req);
    }
    assert_false(is_answered(late));
    executor_settle(&hand.executor);
    assert_true(is_answered(late));
    assert_int_equal(atomic_load(&late->err), EINVAL);
    assert_null(late->bytes);
    close_stream(&s);
}

static void a_read_that_others_went_on_from_is_refused(void **state)
{
    a_read_is_overtaken(*state, 6, 2500000);
}

static void a_read_that_is_long_forgotten_is_refused(void **state)
{
    a_read_is_overtaken(*state, 14, 6500000);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(what_was_withdrawn_comes_again_if_the_partition_stays),
        STORY(a_partition_that_failed_once_has_its_turn_again),
        STORY(a_read_that_others_went_on_from_is_refused),
        STORY(a_read_that_is_long_forgotten_is_refused),
    };
    return cmocka_run_group_tests_name("group_stream", tests, NULL, NULL);
}
