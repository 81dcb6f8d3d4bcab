/* tests/unit/test_sharing.c: an open for writing has its node for itself. Threads are numbers here. */
#include "tests/unit/node_fixture.h"

#include <signal.h>

#include "fs/base/limits.h"
#include "fs/produce/produce_file.h"
#include "fs/tree/retry.h"
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
    struct pfile *pfile = tree_pfile(s->tree, s->topic, 0);
    struct sharing_walk walk = {0};
    fuse_ino_t ids[SHARING_WALK_IDS];
    size_t all = 0, count;
    while ((count = sharing_watched(s->tree, pfile, &walk, ids)) > 0)
        all += count;
    tree_pfile_put(s->tree, pfile);
    return all;
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

/* Each of many once, in order; who comes meanwhile is for the next time. */
static void all_who_may_watch_are_met_once(void **state)
{
    enum { MANY = 5 * SHARING_WALK_IDS / 2 };
    struct story s = begin(state);
    struct pfile *pfile = tree_pfile(s.tree, s.topic, 0);
    struct sharing_walk walk = {0};
    fuse_ino_t ids[SHARING_WALK_IDS], known[MANY];
    size_t met = 0, count;
    for (size_t i = 0; i < MANY; i++) {
        known[i] = stat_it(&s, ANN)->id;
        assert_true(sharing_retire(s.tree, known[i]));
    }
    while ((count = sharing_watched(s.tree, pfile, &walk, ids)) > 0) {
        for (size_t i = 0; i < count && met < MANY; i++, met++)
            assert_int_equal(ids[i], known[met]);
        assert_true(sharing_retire(s.tree, stat_it(&s, BEN)->id));
    }
    assert_int_equal(met, MANY);
    tree_pfile_put(s.tree, pfile);
    end(&s);
}

/* ---- who is told of appends ---- */

struct heard {
    struct node_feed feed;
    int calls;
    struct partition_news *news; /* of orders-0 */
};

static void changed(struct node_feed *feed, struct partition_news *news)
{
    struct heard *heard = CONTAINER_OF(feed, struct heard, feed);
    if (topic_internal(partition_topic(news->part))) {
        partition_news_drop(news);
        return;
    }
    heard->news = news;
    heard->calls++;
}

static void topic_ignored(struct node_feed *feed, struct topic *topic)
{
    (void)feed, (void)topic;
}

static void listen_to(struct story *s, struct heard *heard)
{
    heard->feed =
        (struct node_feed){.topic_changed = topic_ignored, .topic_gone = topic_ignored, .partition_changed = changed};
    node_set_feed(s->f->node, &heard->feed);
}

/* As the kernel tells of: through a node of the partition's. */
static void append_told(struct story *s)
{
    struct append_op op = {.told = true};
    struct partition *part = get(s->f, "orders");
    assert_int_equal(append_to(s->f, part, "one\n", ACKS_ALL, &op, NULL), 1);
    partition_unref(part);
}

static void appends_to_what_nobody_else_has_are_told_to_nobody(void **state)
{
    struct story s = begin(state);
    struct heard heard = {0};
    listen_to(&s, &heard);
    struct vnode *ours = open_it(&s, ANN);
    append_told(&s);
    sharing_leave(ours);
    assert_ptr_equal(open_it(&s, BEN), ours);
    append_told(&s);
    assert_int_equal(heard.calls, 0);
    stat_it(&s, ANN); /* and watches it */
    append_told(&s);
    assert_int_equal(heard.calls, 1);
    partition_news_drop(heard.news);
    node_set_feed(s.f->node, NULL);
    end(&s);
}

static void appends_are_told_to_who_has_another_node(void **state)
{
    struct story s = begin(state);
    struct heard heard = {0};
    listen_to(&s, &heard);
    stat_it(&s, ANN); /* and watches it */
    struct vnode *ours = sharing_fresh(s.tree, &s.key, BEN);
    assert_true(sharing_take(s.tree, ours, BEN));
    append_told(&s);
    assert_int_equal(heard.calls, 1);
    partition_news_drop(heard.news);
    node_set_feed(s.f->node, NULL);
    end(&s);
}

/* ---- retries ---- */

enum { OPENERS = LIMIT_RETRIES + 50 };

static struct opener {
    pthread_t thread;
    _Atomic pid_t tid;
    bool sent_away[2]; /* by its first open, its retry */
} openers[OPENERS];

static struct {
    struct retries *retries;
    const struct vnode *vnode;
    pthread_barrier_t barrier;
    bool ends_there; /* after its first open: it was killed */
} opening;

static void *open_at_once(void *arg)
{
    struct opener *self = arg;
    atomic_store(&self->tid, gettid());
    self->sent_away[0] = retries_open(opening.retries, gettid(), opening.vnode, false);
    pthread_barrier_wait(&opening.barrier);
    self->sent_away[1] =
        self->sent_away[0] && !opening.ends_there && retries_open(opening.retries, gettid(), opening.vnode, false);
    return NULL;
}

static void open_all_at_once(struct story *s, int count, bool ends_there)
{
    opening.retries = retries_new(s->tree);
    opening.vnode = look_up(s, ANN);
    opening.ends_there = ends_there;
    pthread_barrier_init(&opening.barrier, NULL, (unsigned)count);
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&openers[i].thread, NULL, open_at_once, &openers[i]), 0);
    for (int i = 0; i < count; i++)
        pthread_join(openers[i].thread, NULL);
    pthread_barrier_destroy(&opening.barrier);
}

static void however_many_open_at_once_none_is_sent_away_twice(void **state)
{
    struct story s = begin(state);
    int sent_away = 0;
    open_all_at_once(&s, OPENERS, false);
    for (int i = 0; i < OPENERS; i++) {
        sent_away += openers[i].sent_away[0];
        assert_false(openers[i].sent_away[1]);
    }
    assert_int_equal(sent_away, LIMIT_RETRIES);
    retries_free(opening.retries);
    end(&s);
}

static void who_ended_before_its_retry_makes_room_for_others(void **state)
{
    struct story s = begin(state);
    open_all_at_once(&s, LIMIT_RETRIES, true);
    for (int i = 0; i < LIMIT_RETRIES; i++) /* joined, it may still be on its way out */
        wait_until(kill(atomic_load(&openers[i].tid), 0) != 0);
    assert_true(retries_open(opening.retries, getpid(), opening.vnode, false));
    assert_false(retries_open(opening.retries, getpid(), opening.vnode, false));
    retries_free(opening.retries);
    end(&s);
}

static void an_open_of_another_file_is_the_end_of_a_retry(void **state)
{
    struct story s = begin(state);
    struct vnode_key any = {.kind = VNODE_ANY, .index = -1, .topic = s.topic};
    opening.retries = retries_new(s.tree);
    opening.vnode = look_up(&s, ANN);
    struct vnode *other = sharing_lookup(s.tree, &any, ANN);
    assert_true(retries_open(opening.retries, ANN, opening.vnode, false));
    assert_true(retries_open(opening.retries, ANN, other, false));
    assert_null(retries_lookup(opening.retries, ANN, &s.key));
    assert_non_null(retries_lookup(opening.retries, ANN, &any));
    retries_free(opening.retries);
    end(&s);
}

static void a_retry_in_a_deleted_topic_keeps_no_node_of_it(void **state)
{
    struct story s = begin(state);
    struct retries *retries = retries_new(s.tree);
    struct vnode *vnode = look_up(&s, BEN);
    assert_true(retries_open(retries, ANN, vnode, false));
    uint32_t before = tree_count(s.tree);
    struct vnode *fresh = retries_lookup(retries, ANN, &s.key);
    assert_int_equal(tree_count(s.tree), before + 1);
    tree_forget(s.tree, fresh->id, 1); /* the kernel has no use for it any more */
    assert_int_equal(tree_count(s.tree), before + 1);
    retries_drop(retries, s.topic);
    assert_int_equal(tree_count(s.tree), before);
    assert_null(retries_lookup(retries, ANN, &s.key));
    tree_forget(s.tree, vnode->id, 1);
    retries_free(retries);
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
        STORY(all_who_may_watch_are_met_once),
        STORY(appends_to_what_nobody_else_has_are_told_to_nobody),
        STORY(appends_are_told_to_who_has_another_node),
        STORY(however_many_open_at_once_none_is_sent_away_twice),
        STORY(who_ended_before_its_retry_makes_room_for_others),
        STORY(an_open_of_another_file_is_the_end_of_a_retry),
        STORY(a_retry_in_a_deleted_topic_keeps_no_node_of_it),
    };
    return cmocka_run_group_tests_name("sharing", tests, NULL, NULL);
}
