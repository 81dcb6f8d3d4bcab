/* tests/unit/test_group_ends.c: a group, or its topic, is removed while somebody joins. */
#include "tests/unit/one_thread.h"

#include "replication/group/groups_internal.h"

static void on_changed(void *arg)
{
    (void)arg;
}

static int join(struct fixture *f, struct group_member **out)
{
    struct group_join join = {.group = "kitchen", .topic = "orders", .pid = 1, .changed = on_changed};
    return group_member_join(node_group_room(f->node), &join, out);
}

static enum group_member_state state_of(struct group_member *member)
{
    struct group_shares shares;
    assert_int_equal(group_member_shares(member, &shares), 0);
    free(shares.shares);
    return shares.state;
}

/* ---- it goes between a look and a join ---- */

/* What happens once, when a join has looked whether the topic is there. */
static struct {
    struct fixture *f;
    int (*topic_named)(void *arg, const char *name, uint8_t id[UUID_BYTES]);
    void (*happens)(struct fixture *f);
} between;

static int topic_named(void *arg, const char *name, uint8_t id[UUID_BYTES])
{
    int rc = between.topic_named(arg, name, id);
    void (*happens)(struct fixture *) = between.happens;
    between.happens = NULL;
    if (happens != NULL)
        happens(between.f);
    return rc;
}

static void group_goes(struct fixture *f)
{
    struct counted counted;
    assert_int_equal(end_of(&counted, node_delete_group(f->node, begin_of(&counted), "kitchen", NULL)), 0);
}

static void topic_goes(struct fixture *f)
{
    struct counted counted;
    assert_int_equal(end_of(&counted, node_delete_topic(f->node, begin_of(&counted), "orders")), 0);
}

static void it_goes_while_somebody_joins(struct fixture *f, void (*goes)(struct fixture *f))
{
    struct groups *groups = node_group_room(f->node);
    struct group_member *member;
    make(f, "orders");
    make_group(f);
    between.f = f;
    between.topic_named = groups->env.topic_named;
    between.happens = goes;
    groups->env.topic_named = topic_named;
    int rc = join(f, &member);
    assert_null(between.happens);
    if (rc == -ENOENT)
        return;
    assert_int_equal(rc, 0);
    pass_until(state_of(member) == GROUP_MEMBER_GONE);
    group_member_leave(member);
}

static void who_joins_as_the_group_goes_is_told(void **state)
{
    it_goes_while_somebody_joins(*state, group_goes);
}

static void who_joins_as_the_topic_goes_is_told(void **state)
{
    it_goes_while_somebody_joins(*state, topic_goes);
}

/* ---- between the look whether it is empty and its end ---- */

struct sealed {
    struct group_op op;
    int calls, rc;
};

static void on_sealed(struct group_op *op, int rc)
{
    struct sealed *sealed = CONTAINER_OF(op, struct sealed, op);
    sealed->calls++;
    sealed->rc = rc;
}

/* As rmdir does. Returns how many are in it. */
static int32_t seal(struct fixture *f, struct sealed *sealed)
{
    *sealed = (struct sealed){.op = {.groups = node_group_room(f->node),
                                     .ask = GROUP_SEAL,
                                     .group = "kitchen",
                                     .timeout_ms = 1000,
                                     .done = on_sealed}};
    assert_int_equal(group_op_submit(&sealed->op), 0);
    pass_until(sealed->calls == 1);
    assert_int_equal(sealed->rc, 0);
    assert_int_equal(sealed->op.described_count, 1);
    int32_t members = sealed->op.described[0].members;
    group_op_free(&sealed->op);
    return members;
}

static void nobody_joins_what_is_about_to_go(void **state)
{
    struct fixture *f = *state;
    struct group_member *member;
    struct sealed sealed;
    struct counted counted;
    make(f, "orders");
    make_group(f);
    assert_int_equal(seal(f, &sealed), 0);
    assert_int_equal(join(f, &member), 0);
    for (int i = 0; i < 50; i++) {
        executor_pause(&hand.executor, 100);
        assert_int_equal(state_of(member), GROUP_MEMBER_JOINING);
    }
    assert_int_equal(end_of(&counted, node_delete_group(f->node, begin_of(&counted), "kitchen", sealed.op.group_id)),
                     0);
    pass_until(state_of(member) == GROUP_MEMBER_GONE);
    group_member_leave(member);
}

/* Whoever wanted to remove it has gone, too. */
static void what_does_not_go_after_all_is_joined(void **state)
{
    struct fixture *f = *state;
    struct group_member *member;
    struct sealed sealed;
    make(f, "orders");
    make_group(f);
    assert_int_equal(seal(f, &sealed), 0);
    assert_int_equal(join(f, &member), 0);
    pass_until(state_of(member) == GROUP_MEMBER_STABLE);
    /* Who is in it stays. */
    assert_int_equal(seal(f, &sealed), 1);
    struct group_member *other;
    assert_int_equal(join(f, &other), 0);
    executor_pause(&hand.executor, 500);
    assert_int_equal(state_of(other), GROUP_MEMBER_STABLE);
    group_member_leave(member);
    group_member_leave(other);
}

/* One that was made anew meanwhile is another one. */
static void another_one_of_that_name_is_not_removed(void **state)
{
    struct fixture *f = *state;
    struct sealed sealed;
    struct counted counted;
    make_group(f);
    assert_int_equal(seal(f, &sealed), 0);
    group_goes(f);
    make_group(f);
    assert_int_equal(end_of(&counted, node_delete_group(f->node, begin_of(&counted), "kitchen", sealed.op.group_id)),
                     -ENOENT);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(who_joins_as_the_group_goes_is_told),     STORY(who_joins_as_the_topic_goes_is_told),
        STORY(nobody_joins_what_is_about_to_go),        STORY(what_does_not_go_after_all_is_joined),
        STORY(another_one_of_that_name_is_not_removed),
    };
    return cmocka_run_group_tests_name("group_ends", tests, NULL, NULL);
}
