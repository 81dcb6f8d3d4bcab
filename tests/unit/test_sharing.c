/* tests/unit/test_sharing.c: an open for writing has its node for itself. Threads are numbers here. */
#include "tests/unit/node_fixture.h"

#include "fs/produce/produce_file.h"
#include "fs/tree/sharing.h"

enum { ANN = 101, BEN = 102 };

struct story {
    struct fixture *f;
    struct tree *tree;
    struct topic *topic;
    struct vnode_key key;
};

static struct story begin(void **state)
{
    struct story s = {.f = *state};
    create(s.f, "orders");
    s.tree = tree_new(s.f->node, &produce_file_hooks);
    s.topic = node_topic(s.f->node, "orders");
    s.key = (struct vnode_key){.kind = VNODE_PARTITION, .topic = s.topic};
    return s;
}

static void end(struct story *s)
{
    tree_free(s->tree);
    topic_unref(s->topic);
}

static struct vnode *look_up(struct story *s, pid_t tid)
{
    struct vnode *vnode = sharing_lookup(s->tree, &s->key, tid);
    assert_non_null(vnode);
    return vnode;
}

/* As stat(2): LOOKUP, GETATTR. */
static struct vnode *stat_it(struct story *s, pid_t tid)
{
    struct vnode *vnode = look_up(s, tid);
    sharing_look(vnode);
    return vnode;
}

/* As open(2) for appending: LOOKUP, GETATTR, OPEN. NULL: ESTALE. */
static struct vnode *open_it(struct story *s, pid_t tid)
{
    struct vnode *vnode = stat_it(s, tid);
    return sharing_take(s->tree, vnode, tid) ? vnode : NULL;
}

static size_t watched(struct story *s)
{
    fuse_ino_t *ids;
    struct pfile *pfile = tree_pfile(s->tree, s->topic, 0);
    size_t count = sharing_watched(s->tree, pfile, &ids);
    free(ids);
    tree_pfile_put(s->tree, pfile);
    return count;
}

static void appends_one_after_the_other_have_one_node(void **state)
{
    struct story s = begin(state);
    struct vnode *first = open_it(&s, ANN);
    assert_non_null(first);
    sharing_leave(first);
    assert_ptr_equal(open_it(&s, BEN), first);
    sharing_leave(first);
    assert_int_equal(watched(&s), 0);
    end(&s);
}

static void while_one_writes_others_are_given_another_node(void **state)
{
    struct story s = begin(state);
    struct vnode *writers = open_it(&s, ANN), *others = stat_it(&s, BEN);
    assert_ptr_not_equal(others, writers);
    assert_ptr_equal(stat_it(&s, ANN), others);
    assert_int_equal(watched(&s), 1);
    end(&s);
}

static void what_another_was_shown_is_nobodys_to_write(void **state)
{
    struct story s = begin(state);
    stat_it(&s, BEN);
    assert_null(open_it(&s, ANN));
    end(&s);
}

static void what_the_same_thread_looked_at_before_is_not_either(void **state)
{
    struct story s = begin(state);
    stat_it(&s, ANN); /* or inotify_add_watch(2) */
    assert_null(open_it(&s, ANN));
    end(&s);
}

static void two_that_were_shown_it_at_once_are_both_sent_away(void **state)
{
    struct story s = begin(state);
    struct vnode *ann = look_up(&s, ANN), *ben = look_up(&s, BEN);
    assert_ptr_equal(ann, ben);
    assert_false(sharing_take(s.tree, ann, ANN));
    assert_false(sharing_take(s.tree, ben, BEN));
    struct vnode *fresh = sharing_fresh(s.tree, &s.key, ANN);
    assert_true(sharing_take(s.tree, fresh, ANN));
    end(&s);
}

/* Where a name gives another node than the kernel knows it asks again. */
static void the_kernels_second_question_is_no_other(void **state)
{
    struct story s = begin(state);
    look_up(&s, ANN);
    assert_non_null(open_it(&s, ANN));
    end(&s);
}

static void what_is_open_is_nobodys_to_write(void **state)
{
    struct story s = begin(state);
    struct vnode *vnode = look_up(&s, ANN);
    atomic_fetch_add(&vnode->opens, 1); /* through /proc/self/fd */
    assert_false(sharing_take(s.tree, vnode, ANN));
    end(&s);
}

static void a_thread_that_cannot_be_told_shares(void **state)
{
    struct story s = begin(state);
    struct vnode *vnode = look_up(&s, 0); /* of another pid namespace */
    assert_false(sharing_take(s.tree, vnode, 0));
    sharing_join(s.tree, vnode);
    assert_ptr_not_equal(look_up(&s, BEN), vnode);
    end(&s);
}

static void what_was_retired_is_given_no_more_and_reached_while_it_lives(void **state)
{
    struct story s = begin(state);
    struct vnode *vnode = stat_it(&s, ANN);
    fuse_ino_t id = vnode->id;
    assert_true(sharing_retire(s.tree, id));
    assert_ptr_not_equal(look_up(&s, ANN), vnode);
    assert_ptr_equal(sharing_reach(s.tree, id), vnode);
    tree_forget(s.tree, id, 2);
    assert_null(sharing_reach(s.tree, id));
    assert_int_equal(watched(&s), 1);
    end(&s);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(appends_one_after_the_other_have_one_node),
        STORY(while_one_writes_others_are_given_another_node),
        STORY(what_another_was_shown_is_nobodys_to_write),
        STORY(what_the_same_thread_looked_at_before_is_not_either),
        STORY(two_that_were_shown_it_at_once_are_both_sent_away),
        STORY(the_kernels_second_question_is_no_other),
        STORY(what_is_open_is_nobodys_to_write),
        STORY(a_thread_that_cannot_be_told_shares),
        STORY(what_was_retired_is_given_no_more_and_reached_while_it_lives),
    };
    return cmocka_run_group_tests_name("sharing", tests, NULL, NULL);
}
