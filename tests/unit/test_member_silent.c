/* tests/unit/test_member_silent.c: a member and its coordinator on one node, between which requests and answers
 * are lost: from when on it is taken for cut off, and until when (GROUPS.md, rule 14). */
#include "tests/unit/one_thread.h"

#include "replication/group/groups_internal.h"
#include "tests/unit/group_hands.h"

static void on_changed(void *arg)
{
    (void)arg;
}

static struct group_member *join(struct fixture *f)
{
    struct group_join join = {.group = "kitchen", .topic = "orders", .pid = getpid(), .changed = on_changed};
    struct group_member *member;
    assert_int_equal(group_member_join(node_group_room(f->node), &join, &member), 0);
    return member;
}

/* Who is not silent goes on, however long its coordinator is not ready for it. */
static void who_is_heard_goes_on_while_the_coordinator_cannot_write(void **state)
{
    struct fixture *f = *state;
    struct groups *groups = node_group_room(f->node);
    struct seat *seat = &groups->seats[group_index("kitchen")];
    make(f, "orders");
    make_group(f);
    struct group_member *member = join(f);
    pass_until(member->session == SESSION_INSIDE);
    atomic_store(&f->disk.pwritev_rc, -ENOSPC);
    struct group_op reset;
    group_hands_reset(groups, &reset);
    pass_until(seat->state == SEAT_STALLED);
    for (int beats = 0; beats < 60; beats++) {
        executor_pause(&hand.executor, LIMIT_GROUP_BEAT_MS);
        assert_false(group_member_is_silent(member));
    }
    atomic_store(&f->disk.pwritev_rc, 0);
    pass_until(seat->state == SEAT_READY);
    group_member_leave(member);
    pass_until(seat->core.readers.count == 0);
}

/* Its coordinator counts from when it was asked first: that answer was lost. */
static void silence_counts_from_when_it_asked_to_be_let_in(void **state)
{
    enum { LOST_MS = 1500 };
    struct fixture *f = *state;
    struct groups *groups = node_group_room(f->node);
    struct seat *seat = &groups->seats[group_index("kitchen")];
    make(f, "orders");
    make_group(f);
    pass_until(seat->state == SEAT_READY);
    struct group_member *first = join(f); /* so that beats go on */
    pass_until(first->session == SESSION_INSIDE);
    group_hands_lose(groups, false, true);
    int64_t asked_ms = groups_now_ms(groups);
    struct group_member *member = join(f);
    while (member->request != REQUEST_JOIN || seat->core.readers.count < 2)
        assert_true(hand_step(&hand));
    executor_pause(&hand.executor, LOST_MS);
    assert_int_equal(member->session, SESSION_OUTSIDE);
    group_hands_lose(groups, false, false);
    pass_until(member->session == SESSION_INSIDE);
    assert_in_range(groups_now_ms(groups) - asked_ms, LOST_MS, 10000);
    assert_int_equal(atomic_load(&member->inside_ms), asked_ms);
    group_member_leave(member);
    group_member_leave(first);
    pass_until(seat->core.readers.count == 0);
}

/* A turn was due when it read, and came when the node went on: all of what it stood still came behind that. */
static void who_read_before_the_node_stood_still_has_its_whole_time_again(void **state)
{
    enum { STOOD_STILL_MS = 400000, POLL_MS = 300000 /* max.poll.interval.ms */ };
    struct fixture *f = *state;
    struct groups *groups = node_group_room(f->node);
    make(f, "orders");
    make_group(f);
    struct group_member *member = join(f);
    pass_until(member->state == GROUP_MEMBER_STABLE);
    pass(f, LIMIT_GROUP_BEAT_MS);
    assert_true(groups_now_ms(groups) >= groups->beat_ms);
    group_member_polled(member, true);
    pass(f, STOOD_STILL_MS);
    executor_settle(&hand.executor);
    for (int64_t passed_ms = 0; passed_ms < POLL_MS; passed_ms += LIMIT_GROUP_BEAT_MS) {
        assert_int_equal(member->state, GROUP_MEMBER_STABLE);
        executor_pause(&hand.executor, LIMIT_GROUP_BEAT_MS);
    }
    executor_pause(&hand.executor, 2 * LIMIT_GROUP_BEAT_MS);
    assert_int_equal(member->state, GROUP_MEMBER_PUT_OUT);
    group_member_leave(member);
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(who_is_heard_goes_on_while_the_coordinator_cannot_write),
        STORY(silence_counts_from_when_it_asked_to_be_let_in),
        STORY(who_read_before_the_node_stood_still_has_its_whole_time_again),
    };
    return cmocka_run_group_tests_name("member_silent", tests, NULL, NULL);
}
