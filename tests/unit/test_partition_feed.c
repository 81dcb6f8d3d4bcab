/* tests/unit/test_partition_feed.c: the layer above is told that a high watermark has moved, at the pace it sets. */
#include "tests/unit/node_fixture.h"

struct heard {
    struct node_feed feed;
    _Atomic int calls;
    struct partition_news *news;     /* of orders-0 */
    struct partition_news *internal; /* of __cluster_metadata: the test's own commands */
};

static void changed(struct node_feed *feed, struct partition_news *news)
{
    struct heard *heard = CONTAINER_OF(feed, struct heard, feed);
    if (topic_internal(partition_topic(news->part))) {
        heard->internal = news;
        return;
    }
    heard->news = news;
    atomic_fetch_add(&heard->calls, 1);
}

static void topic_ignored(struct node_feed *feed, struct topic *topic)
{
    (void)feed, (void)topic;
}

static void listen_to(struct fixture *f, struct heard *heard)
{
    heard->feed = (struct node_feed){.topic_changed = topic_ignored, .topic_gone = topic_ignored};
    heard->feed.partition_changed = changed;
    node_set_feed(f->node, &heard->feed);
}

static int append_told(struct fixture *f, const char *lines, bool told)
{
    struct append_op op = {.told = told};
    struct partition *part = get(f, "orders");
    int rc = append_to(f, part, lines, ACKS_ALL, &op, NULL);
    partition_unref(part);
    return rc;
}

static void one_news_is_on_its_way_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct heard heard = {0};
    create(f, "orders");
    listen_to(f, &heard);
    append(f, "orders", "one\n");
    append(f, "orders", "two\n");
    assert_int_equal(heard.calls, 1);
    assert_true(partition_news_seen(heard.news));
    assert_true(partition_news_return(heard.news, HEAR_UNTOLD));
    assert_int_equal(heard.calls, 1);
    append(f, "orders", "three\n");
    assert_int_equal(heard.calls, 2);
    partition_news_drop(heard.news);
    node_set_feed(f->node, NULL);
}

static void what_changes_after_the_look_is_not_given_back(void **state)
{
    struct fixture *f = *state;
    struct heard heard = {0};
    create(f, "orders");
    listen_to(f, &heard);
    append(f, "orders", "one\n");
    partition_news_seen(heard.news);
    append(f, "orders", "two\n");
    assert_false(partition_news_return(heard.news, HEAR_UNTOLD));
    partition_news_seen(heard.news);
    assert_true(partition_news_return(heard.news, HEAR_UNTOLD));
    assert_int_equal(heard.calls, 1);
    node_set_feed(f->node, NULL);
}

static void what_the_kernel_tells_is_heard_by_who_wants_all(void **state)
{
    struct fixture *f = *state;
    struct heard heard = {0};
    create(f, "orders");
    listen_to(f, &heard);
    assert_int_equal(append_told(f, "one\n", true), 1);
    assert_int_equal(heard.calls, 0);
    struct partition *part = get(f, "orders");
    partition_hear_all(part);
    assert_int_equal(append_told(f, "two\n", true), 1);
    assert_int_equal(heard.calls, 1);
    assert_false(partition_news_seen(heard.news));
    assert_int_equal(append_told(f, "three\n", true), 1);
    assert_false(partition_news_return(heard.news, HEAR_ALL));
    assert_true(partition_news_return(heard.news, HEAR_UNTOLD));
    assert_int_equal(append_told(f, "four\n", true), 1);
    assert_int_equal(heard.calls, 1);
    partition_unref(part);
    node_set_feed(f->node, NULL);
}

/* A parked append is news when it is committed, not when it is written. */
static void an_append_that_waits_is_none_yet(void **state)
{
    struct fixture *f = *state;
    struct heard heard = {0};
    struct append_op op = {0};
    create(f, "orders");
    set(f, "orders", "min.insync.replicas", "2");
    listen_to(f, &heard);
    struct partition *part = get(f, "orders");
    assert_int_equal(append_to(f, part, "one\n", ACKS_LEADER, &op, NULL), 1);
    assert_int_equal(heard.calls, 0);
    assert_int_equal(partition_high_watermark(part).position, 0);
    set(f, "orders", "min.insync.replicas", "1");
    assert_int_equal(partition_high_watermark(part).position, 4);
    assert_int_equal(heard.calls, 1);
    partition_unref(part);
    partition_news_drop(heard.news);
    partition_news_drop(heard.internal);
    node_set_feed(f->node, NULL);
}

static void deletions_are_news(void **state)
{
    struct fixture *f = *state;
    struct heard heard = {0};
    create(f, "orders");
    append(f, "orders", "one\n");
    struct partition *part = get(f, "orders");
    listen_to(f, &heard);
    uint64_t before = partition_segment_changes(part);
    assert_int_equal(delete_records(part, 4, NULL), 0);
    assert_int_equal(heard.calls, 1);
    assert_true(partition_segment_changes(part) > before);
    partition_unref(part);
    partition_news_drop(heard.news);
    node_set_feed(f->node, NULL);
}

#define STORY(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(one_news_is_on_its_way_at_a_time),
        STORY(what_changes_after_the_look_is_not_given_back),
        STORY(what_the_kernel_tells_is_heard_by_who_wants_all),
        STORY(an_append_that_waits_is_none_yet),
        STORY(deletions_are_news),
    };
    return cmocka_run_group_tests_name("partition_feed", tests, NULL, NULL);
}
